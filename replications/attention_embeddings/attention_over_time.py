"""What the paper never shows: where in time the attention lies, and whether the instrument sounds there.

The model's probability of a class is a sum over frames of two things that it learns: the attention, which adds up to
one over time, and the activity, which says how sure it is of the class in that frame (paper, 2.3). Their products,
scaled to add up to one as well, are called contributions here: what the decision is made of.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from harness import features
from harness.analysis.measured import gain
from harness.analysis.study import Analysis
from harness.corpora import Corpus
from harness.corpora.pocket import openmic as pocket
from harness.report.style import SMALL, new_figure, palette, save, style, write_foot
from harness.report.tables import gained, interval_in_words, origin
from harness.report.writers import Column, Table
from harness.studies.context import Context, context_of
from harness.studies.records import Record
from harness.studies.study import Study
from replications.attention_embeddings import representations
from replications.attention_embeddings.arms import build, restore
from replications.attention_embeddings.representations import open_representation

#: Clips and instruments of a clip that are drawn.
SHOWN_CLIPS, SHOWN_INSTRUMENTS = 6, 2
#: What the frames of a representation cover: ten patches of VGGish.
CLIP_SECONDS = 9.6
#: Added to a trial's seed for the weights of the network that never learnt.
BLIND = 10_000
#: Decimals of what is measured: more than any table shows, and the same on machines that round differently.
DECIMALS = 6
#: What stands beside a share, and how it is called.
REFERENCES = {"time": "even attention", "untrained": "random weights"}


def contributions(network: nn.Module, clips: np.ndarray) -> dict[str, np.ndarray]:
    """Where in time the attention lies, and where the decision comes from.

    Parameters
    ----------
    network
        One copy of the attention model.
    clips : ndarray (n, frames, size)
        Representations.

    Returns
    -------
    dict of ndarray (n, frames, classes)
        ``attention`` and ``contribution``, each adding up to one over time.
    """
    with torch.no_grad():
        inputs = torch.from_numpy(np.ascontiguousarray(clips))[None].to(next(network.parameters()).device)
        attention = network.weights(inputs)[0].cpu().numpy()
        product = attention * network.activity(inputs)[0].cpu().numpy()
    return {"attention": attention, "contribution": product / product.sum(axis=1, keepdims=True)}


def sounding(corpus: Corpus, rows: Sequence[int], frames: int, seconds: float) -> np.ndarray:
    """How much of every frame an instrument sounds.

    Parameters
    ----------
    corpus
        A pocket corpus.
    rows
        Its clips.
    frames
        Of a representation.
    seconds
        From one of its frames to the next.

    Returns
    -------
    ndarray (n, frames, classes)
        Shares in [0, 1].
    """
    active, step = pocket.activity(corpus.root)
    active = active[np.asarray(rows)].astype(float)  # (n, classes, entries)
    # The integral of the activity at the frames' edges; between entries it grows evenly.
    integral = np.concatenate([np.zeros((*active.shape[:2], 1)), np.cumsum(active, axis=2) * step], axis=2)
    place = np.minimum(np.arange(frames + 1) * seconds / step, active.shape[2])
    below = np.minimum(place.astype(int), active.shape[2] - 1)
    at_edges = integral[..., below] + (place - below) * (integral[..., below + 1] - integral[..., below])
    return np.moveaxis(np.diff(at_edges, axis=2) / seconds, 2, 1)


def measure(context: Context, network: nn.Module) -> dict[str, pd.DataFrame]:
    """Score where a trial's attention lies on its test part.

    Parameters
    ----------
    context
        Of the trial.
    network
        One copy of its trained network.

    Returns
    -------
    dict
        ``attention``: a row per clip and instrument that sounds during a part of the clip only, with ``key``,
        ``instrument``; the shares of ``attention`` and ``contribution`` that fall when it sounds; ``time``, what even
        attention gets; and the same shares of a network that never learnt (``untrained_attention``,
        ``untrained_contribution``). Empty for networks without attention, for other conditions than the paper's, and
        on a published corpus, where nobody knows what sounds when.
    """
    trial, corpus = context.trial, context.corpus
    base = trial.condition.name == trial.study.conditions[0].name
    if not base or trial.arm.network != "attention" or corpus.ground_truth is None:
        return {}
    inputs = open_representation(context)
    rows = inputs.rows["test"]
    clips = inputs.array[rows]
    frames, frame_size = clips.shape[1:]
    classes, seeds = len(corpus.classes), [BLIND + trial.seed]
    untrained = build(trial.arm, trial.protocol, seeds, frames=frames, frame_size=frame_size, classes=classes).eval()
    ours, theirs = contributions(network, clips), contributions(untrained, clips)
    active = sounding(corpus, rows, frames, CLIP_SECONDS / frames)
    time = active.mean(axis=1)
    table = []
    for clip, column in zip(*np.nonzero((time > 0) & (time < 1 - 1e-9)), strict=True):
        when = active[clip, :, column]
        table.append(
            {
                "key": corpus.clips["key"].iloc[rows[clip]],
                "instrument": corpus.classes[column],
                **{name: float(values[clip, :, column] @ when) for name, values in ours.items()},
                **{f"untrained_{name}": float(values[clip, :, column] @ when) for name, values in theirs.items()},
                "time": float(when.mean()),
            }
        )
    return {"attention": pd.DataFrame(table).round(DECIMALS)}


def table(analysis: Analysis) -> Table | None:
    """Summarise what was measured of every arm with attention; None where nothing was.

    Parameters
    ----------
    analysis
        Of the study's trials.

    Returns
    -------
    Table or None
        Mean shares, and their differences to even attention and to random weights with intervals over seeds and clips.
    """
    measured = analysis.measured("attention")
    if measured.empty:
        return None
    measured = measured.assign(unit=analysis.units(measured["key"].to_numpy()))
    rows = []
    for arm, of_arm in measured.groupby("arm", sort=False):
        for measure in ("attention", "contribution"):
            for name, words in REFERENCES.items():
                of = name if name == "time" else f"{name}_{measure}"
                found = gain(of_arm, measure, of, level=analysis.level, replicates=analysis.replicates)
                rows.append(
                    {
                        "arm": arm,
                        "title": analysis.study.arm(arm).title,
                        "measure": measure,
                        "pairs": str(found.pairs),
                        "seeds": found.seeds,
                        "share": found.value,
                        "against": words,
                        "reference": found.reference,
                        "difference": gained(found, analysis.unit),
                    }
                )
    records = [r for arm in dict.fromkeys(measured["arm"]) for r in analysis.select(arm)]
    caption = (
        f"{origin(analysis, records)} Share of the attention, and of the contributions (attention times activity), "
        "that falls when the instrument sounds by the score; mean over all instruments that sound during a part of a "
        f"clip. Difference with the {interval_in_words(analysis, records)}, of each difference alone: of many such "
        "intervals some miss. °: the interval holds zero."
    )
    return Table(
        name="attention_over_time_test",
        title="Does the attention lie where the instrument sounds?",
        frame=pd.DataFrame(rows),
        columns=(
            Column("title", "Arm", "text"),
            Column("measure", "Of the", "text"),
            Column("pairs", "Pairs", "text"),
            Column("share", "Share", "score"),
            Column("against", "Against", "text"),
            Column("reference", "Its share", "score"),
            Column("difference", "Difference", "difference"),
        ),
        group=("arm", "measure"),
        section="arm",
        caption=caption,
    )


def explain(study: Study, records: Sequence[Record], folder: Path) -> dict[str, Any]:
    """Draw the attention of one trial over some clips: of the arm that is best on the validation part the first seed.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.
    folder
        Where the picture goes.

    Returns
    -------
    dict
        How a page shows it, see `harness.report.build`.
    """
    of_arms: dict[str, list[Record]] = {}
    for r in records:
        if r.condition == study.conditions[0].name and study.arm(r.arm).network == "attention":
            of_arms.setdefault(r.arm, []).append(r)
    if not of_arms:
        return {"figures": {}, "links": []}
    best = max(of_arms.values(), key=lambda some: np.mean([r.data["metrics"]["valid"][study.metric] for r in some]))
    record = min(best, key=lambda r: r.seed)
    save(figure(study, record), folder / "attention_over_time")
    text = f"Where the attention of {study.arm(record.arm).title} lies in some test clips, and when instruments sound"
    return {"figures": {"attention_over_time.png": text}, "links": []}


def figure(study: Study, record: Record) -> Figure:
    """Draw the attention of some test clips over their spectrograms.

    Parameters
    ----------
    study
        This one.
    record
        Of a trial with attention.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per clip: log-mel spectrogram, attention of the instruments labelled present as lines over it, and on
        a pocket corpus bars where they sound.
    """
    network, inputs = restore(record, study)
    corpus = context_of(record, study).corpus
    predictions = record.predictions("test")
    rows = inputs.rows["test"]
    frames = inputs.array.shape[1]
    seconds = CLIP_SECONDS / frames
    active = sounding(corpus, rows, frames, seconds) if corpus.ground_truth is not None else None
    chosen = _choose(predictions.labels, predictions.mask, predictions.probabilities, active)
    attention = contributions(network, inputs.array[rows[list(chosen)]])["attention"]
    front_end = representations.front_end(record.data["protocol"])
    with mpl.rc_context(style()):
        drawing = new_figure(1.9 * -(-len(chosen) // 2) + 0.9)
        panels = drawing.subplots(-(-len(chosen) // 2), 2, sharex=True, squeeze=False)
        for axes in panels.flat[len(chosen) :]:
            axes.set_visible(False)
        for axes, (clip, columns), weights in zip(panels.flat, chosen.items(), attention, strict=False):
            row = rows[clip]
            path = Path(corpus.clips["path"].iloc[row])
            if path.is_file():
                waveform = features.decode(path, front_end.sample_rate, seconds=corpus.seconds)
                picture = front_end.compute(waveform).reshape(-1, front_end.band_hz.size)
                extent = (0, len(picture) * front_end.seconds_per_frame, 0, front_end.band_hz.size)
                axes.imshow(picture.T, origin="lower", aspect="auto", cmap="Greys", extent=extent, alpha=0.75)
                axes.set_yticks([])
                axes.set_ylabel(f"{front_end.band_hz[0]:.0f} Hz to {front_end.band_hz[-1] / 1000:.1f} kHz\n(mel)")
            _draw_lines(
                axes.twinx(),
                weights[:, columns],
                seconds,
                [_readable(corpus.classes[c]) for c in columns],
                predictions.probabilities[clip, columns],
                active[clip][:, columns] if active is not None else None,
            )
            axes.set_title(f"clip {corpus.clips['key'].iloc[row]}", loc="left", pad=18)
        for axes in panels[-1]:
            axes.set_xlabel("time (s)")
        bars = "Bars below zero: when the instrument sounds. " if active is not None else ""
        write_foot(
            drawing,
            f"{study.arm(record.arm).title}, seed {record.seed}. Lines: attention of the model, which adds up to one "
            f"over a clip's {frames} frames (dotted: even attention); p: its probability of the instrument. {bars}"
            "Shown: clips with instruments labelled present, first those that the model finds and that come and go. "
            f"Corpus {corpus.name}, profile {record.data['profile']}, split {record.data['split']['name']}, test part.",
        )
    return drawing


def _draw_lines(
    axes: Axes,
    weights: np.ndarray,
    seconds: float,
    names: Sequence[str],
    probabilities: Sequence[float],
    active: np.ndarray | None,
) -> None:
    """Attention as steps, and under them bars where the instruments sound."""
    top = max(3 / len(weights), 1.15 * float(weights.max()))
    edges = np.arange(len(weights) + 1) * seconds
    axes.axhline(1 / len(weights), color="0.2", linestyle=":", linewidth=0.8)
    for number, (name, probability, colour, line) in enumerate(
        zip(names, probabilities, palette(SHOWN_INSTRUMENTS), ("-", (0, (4, 1.5))), strict=False)
    ):
        label = f"{name} (p {probability:.2f})"
        # A white rim keeps a line legible on a dark spectrogram.
        axes.stairs(weights[:, number], edges, baseline=None, color="white", linewidth=3)
        axes.stairs(weights[:, number], edges, baseline=None, color=colour, linewidth=1.6, linestyle=line, label=label)
        if active is not None:
            low, height = -top * (0.1 + 0.1 * number), 0.07 * top
            for start, share in zip(edges, active[:, number], strict=False):
                axes.add_patch(
                    mpl.patches.Rectangle((start, low), seconds * share, height, facecolor=colour, linewidth=0)
                )
    axes.set_ylim(-0.25 * top if active is not None else 0, top)
    axes.set_yticks([tick for tick in mpl.ticker.MaxNLocator(4).tick_values(0, top) if -1e-9 <= tick <= top])
    axes.set_ylabel("attention")
    axes.spines["right"].set_visible(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2, fontsize=SMALL, handlelength=2.5)


def _choose(
    labels: np.ndarray, mask: np.ndarray, probabilities: np.ndarray, active: np.ndarray | None
) -> dict[int, list[int]]:
    """Clips to draw with their classes: present; found before missed, and those that come and go the most first."""
    present = (labels * mask).astype(bool)
    change = np.zeros(present.shape) if active is None else active.std(axis=1)  # at most a half
    worth = np.where(present, (probabilities >= 0.5) + change + 1e-3 * probabilities, -1)
    order = np.argsort(-worth.max(axis=1), kind="stable")[:SHOWN_CLIPS]
    return {
        int(clip): [int(c) for c in np.argsort(-worth[clip], kind="stable")[:SHOWN_INSTRUMENTS] if present[clip, c]]
        for clip in order
        if present[clip].any()
    }


def _readable(name: str) -> str:
    return name.replace("_", " ")
