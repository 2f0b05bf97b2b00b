"""What the paper never shows: where in time the attention lies, and whether the instrument sounds there.

The model's probability of a class is a sum over frames of two things that it learns: the attention, which adds up to
one over time, and the activity, which says how sure it is of the class in that frame (study 003, 2.3). Their products,
scaled to add up to one as well, are called contributions here: what the decision is made of.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from harness import corpora, features
from harness.corpora import Corpus
from harness.corpora.pocket import openmic as pocket
from harness.report import estimates
from harness.report.resampling import compare_by_seed
from harness.report.style import SMALL, new_figure, palette, style, write_foot
from harness.report.writers import Column, Table
from harness.studies.records import Record
from harness.studies.study import Study
from replications.attention_embeddings import representations
from replications.attention_embeddings.arms import build, restore

#: Clips and instruments of a clip that are drawn.
SHOWN_CLIPS, SHOWN_INSTRUMENTS = 6, 2
#: What the frames of a representation cover: ten patches of VGGish.
CLIP_SECONDS = 9.6
#: Seed of the networks that know nothing.
BLIND = 10_000


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
        inputs = torch.from_numpy(np.ascontiguousarray(clips))[None]
        attention = network.weights(inputs)[0].numpy()
        product = attention * network.activity(inputs)[0].numpy()
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


def score(study: Study, records: Sequence[Record]) -> pd.DataFrame:
    """Score where the attention lies on test clips of a pocket corpus.

    Parameters
    ----------
    study
        This one.
    records
        Of one arm with attention; one per seed.

    Returns
    -------
    DataFrame
        One row per seed, clip and instrument that sounds during a part of the clip only: ``seed``, ``key``,
        ``instrument``; the shares of ``attention`` and ``contribution`` that fall when it sounds; ``time``, what even
        attention gets; and the same of a network with random weights (``blind_attention``, ``blind_contribution``).
    """
    table = []
    for record in records:
        network, inputs = restore(record, study)
        corpus = corpora.load(record.data["corpus"])
        rows = inputs.rows["test"]
        clips = inputs.array[rows]
        blind = _blind(study, record, clips.shape[1:], len(corpus.classes))
        ours, theirs = contributions(network, clips), contributions(blind, clips)
        active = sounding(corpus, rows, clips.shape[1], CLIP_SECONDS / clips.shape[1])
        time = active.mean(axis=1)
        for clip, column in zip(*np.nonzero((time > 0) & (time < 1 - 1e-9)), strict=True):
            when = active[clip, :, column]
            table.append(
                {
                    "seed": record.seed,
                    "key": corpus.clips["key"].iloc[rows[clip]],
                    "instrument": corpus.classes[column],
                    **{name: float(values[clip, :, column] @ when) for name, values in ours.items()},
                    **{f"blind_{name}": float(values[clip, :, column] @ when) for name, values in theirs.items()},
                    "time": float(when.mean()),
                }
            )
    return pd.DataFrame(table)


def score_table(study: Study, records: Sequence[Record], condition: str) -> Table:
    """Summarise `score` for every arm with attention.

    Parameters
    ----------
    study
        This one.
    records
        Its trials on a pocket corpus.
    condition
        Under which.

    Returns
    -------
    Table
        Mean shares, and their differences to even attention and to random weights with intervals over seeds and clips.
    """
    rows, used = [], []
    for arm in study.arms:
        of_arm = estimates.select(records, arm.name, condition)
        if arm.network != "attention" or not of_arm:
            continue
        used += of_arm
        shares = score(study, of_arm)
        for measure in ("attention", "contribution"):
            for reference, name in (("time", "even attention"), (f"blind_{measure}", "random weights")):
                found = compare_by_seed(
                    shares[measure].to_numpy(), shares[reference].to_numpy(), list(shares["key"]), list(shares["seed"])
                )
                low, high = found["interval"] or (None, None)
                rows.append(
                    {
                        "arm": arm.name,
                        "title": arm.title,
                        "measure": measure,
                        "against": name,
                        "share": found["mean"],
                        "reference": found["reference"],
                        "difference": found["difference"],
                        "difference_low": low,
                        "difference_high": high,
                        "pairs": str(found["n"]),
                        "clips": str(found["clips"]),
                    }
                )
    origin = estimates.provenance(study, used, "test")
    caption = (
        f"{origin.sentence()} Share of the attention, and of the contributions (attention times activity), that falls "
        "when the instrument sounds by the score; mean over all instruments that sound during a part of a clip. "
        f"Difference with the {estimates.interval_in_words(used, 'clips')}. °: the interval holds zero."
    )
    return Table(
        name="attention_over_time_test",
        title="Does the attention lie where the instrument sounds?",
        caption=caption,
        notes="",
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
        provenance=origin,
    )


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
    corpus = corpora.load(record.data["corpus"])
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
            f"{estimates.provenance(study, [record], 'test').sentence()}",
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


def _blind(study: Study, record: Record, shape: tuple[int, int], classes: int) -> nn.Module:
    """The same network as it is before it learns anything."""
    frames, frame_size = shape
    seeds = [BLIND + record.seed]
    network = build(
        study.arm(record.arm), record.data["protocol"], seeds, frames=frames, frame_size=frame_size, classes=classes
    )
    return network.eval()


def _readable(name: str) -> str:
    return name.replace("_", " ")
