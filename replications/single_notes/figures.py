"""The thesis' Figs. 12 to 14 from our corpora and trials, confusion matrices, and scores with their intervals."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness import corpora, features
from harness.corpora import Corpus
from harness.corpora.orchestra import pitch_name
from harness.features import FrontEnd
from harness.report import estimates, orderings, plots
from harness.report.confusion_matrix import confusion_matrix
from harness.report.style import LINES, MARKERS, SMALL, new_figure, palette, style, write_foot
from harness.studies import claims
from harness.studies.records import Record
from harness.studies.study import Arm, Study
from replications.single_notes.tables import SPLITS, best_of_each_kind, tables

__all__ = ["figures", "learning_curves", "note_pictures", "tables"]

#: Of the picture's frequency axis, in Hz.
TICKS = (250, 500, 1000, 2000, 4000)


def figures(study: Study, records: Sequence[Record]) -> dict[str, tuple[Figure, str]]:
    """One picture of each class, accuracies by epoch, confusion matrices, scores, and orderings judged.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    dict
        By the stem of its files each figure with a line on what it shows; without those that need trials which are
        not there.
    """
    base = study.conditions[0].name
    of_thesis = [r for r in records if r.condition == base]
    corpus = corpora.load(records[0].data["corpus"])
    front_end = features.front_end(**records[0].data["protocol"]["front_end"])
    found = {"fig12_log_mel": (note_pictures(corpus, front_end), "Fig. 12: a log-mel picture of each instrument")}
    set_ups = [arm for arm in study.arms if arm.name in {p["arm"] for p in study.published}]
    trained = [r for r in of_thesis if study.arm(r.arm) in set_ups]
    if trained:
        for number, score, title in (
            (13, study.metric, f"validation {estimates.in_words(study.metric)}"),
            (14, f"train_{study.metric}", f"training {estimates.in_words(study.metric)}"),
        ):
            figure = learning_curves(study, trained, set_ups, score, title)
            name = f"fig{number}_{title.replace(' ', '_')}"
            found[name] = (figure, f"Fig. {number}: {title} of the set-ups by epoch")
    if of_thesis:
        figure = plots.scores(study, of_thesis, metrics=("accuracy", "log_loss"), conditions=[base], networks=False)
        found["scores"] = (figure, "Every arm with its interval, chance, and the thesis' values")
    under = [
        c.name for c in study.conditions if c.name in (base, *SPLITS) and any(r.condition == c.name for r in records)
    ]
    if len(under) > 1:
        figure = plots.scores(study, records, metrics=(study.metric,), conditions=under, networks=False)
        found["splits"] = (figure, "What the split is worth: accuracy of every arm under each")
    for arm in best_of_each_kind(study, of_thesis):
        found[f"confusion_{arm}"] = (
            confusion_matrix(study, of_thesis, arm),
            f"What {study.arm(arm).title} takes each instrument for",
        )
    if of_thesis and claims.orders(study):
        figure = orderings.forest(study, of_thesis)
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.3)  # many claims of two lines over a long foot
        found["orderings"] = (figure, "What the thesis says of its set-ups, judged")
    return found


def note_pictures(corpus: Corpus, front_end: FrontEnd) -> Figure:
    """One picture of each class, as the network is given it (thesis, Fig. 12).

    Parameters
    ----------
    corpus
        Of single notes.
    front_end
        ``note_picture``, as the trials used it.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each class: the first of the notes nearest to the middle of its pitches; axes in seconds and Hz.
    """
    columns = 4
    rows = -(-len(corpus.classes) // columns)
    with mpl.rc_context(style()):
        figure = new_figure(0.75 + 1.9 * rows)
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for number, axes in enumerate(grid.ravel()):
            if number >= len(corpus.classes):
                axes.remove()
                continue
            clip = typical_note(corpus, number)
            picture = front_end.compute(features.decode(clip["path"], front_end.sample_rate))
            image = show_picture(axes, upright(picture, front_end), front_end)
            dynamic = f", {clip['dynamic']}" if isinstance(clip["dynamic"], str) else ""
            axes.set_title(f"{corpus.classes[number].replace('_', ' ')}, {pitch_name(int(clip['pitch']))}{dynamic}")
            if number // columns == rows - 1:
                axes.set_xlabel("seconds from the onset")
        for axes in grid[:, 0]:
            axes.set_ylabel("Hz (mel scale)")
        bar = figure.colorbar(image, ax=grid[0], fraction=0.02, pad=0.01, label="log energy of the note")
        bar.set_ticks([0, 1], labels=["least", "most"])
        bar.outline.set_visible(False)
        write_foot(
            figure,
            f"Corpus {corpus.name}: of each instrument the first of the notes nearest to the middle of its pitches. "
            f"{front_end.n_mels} mel bands to {front_end.sample_rate // 2:,} Hz, window {front_end.n_fft}, hop "
            f"{front_end.hop_length}, natural logarithm, resized to {front_end.size} x {front_end.size}; the network "
            "is given it in these colours.",
        )
    return figure


def typical_note(corpus: Corpus, number: int) -> pd.Series:
    """A note to show of a class: the first of those nearest to the median of its pitches.

    Parameters
    ----------
    corpus
        Of single notes.
    number
        Of the class.

    Returns
    -------
    pd.Series
        Its row of ``clips``.
    """
    clips = corpus.clips[corpus.labels[:, number].astype(bool)]
    pitch = clips["pitch"].astype(float)
    return clips.loc[(pitch - pitch.median()).abs().idxmin()]


def upright(picture: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """A picture, or a map at its resolution, with the lowest band in the first row.

    Parameters
    ----------
    picture : np.ndarray [shape=(..., size, size)]
        As the front end gives it.
    front_end
        ``note_picture``.

    Returns
    -------
    np.ndarray [shape=(..., size, size)]
        Bands upwards.
    """
    return picture[..., ::-1, :] if front_end.low == "bottom" else picture


def show_picture(axes: Axes, picture: np.ndarray, front_end: FrontEnd) -> mpl.image.AxesImage:
    """Draw a picture, lowest band first, with its bands named in Hz."""
    bands, frames = picture.shape
    image = axes.imshow(
        picture,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=0,
        vmax=1,
        extent=(0, frames * front_end.seconds_per_frame, -0.5, bands - 0.5),
    )
    hz = [tick for tick in TICKS if front_end.band_hz[0] <= tick <= front_end.band_hz[-1]]
    axes.set_yticks(np.interp(hz, front_end.band_hz, np.arange(bands)), [f"{tick:,}" for tick in hz])
    axes.set_xticks(np.arange(0, frames * front_end.seconds_per_frame, 0.25))
    return image


def learning_curves(study: Study, records: Sequence[Record], arms: Sequence[Arm], score: str, title: str) -> Figure:
    """A score by epoch: the mean of every set-up together, and each set-up with its seeds (thesis, Figs. 13 and 14).

    Parameters
    ----------
    study
        Theirs.
    records
        Of one condition, trained in epochs.
    arms
        Four at most, those without a record are left out.
    score
        Of the history.
    title
        What it is called.

    Returns
    -------
    matplotlib.figure.Figure
        Left: means over the seeds. Right, one panel each: the mean, the middle half of the seeds, and their range.
    """
    curves = []
    for arm in arms:
        of_arm = [r.history().set_index("epoch")[score] for r in records if r.arm == arm.name]
        if of_arm:
            curves.append((arm, pd.concat(of_arm, axis=1)))
    seeds = len({r.seed for r in records})
    with mpl.rc_context(style()):
        figure = new_figure(3.9)
        panels = figure.subplot_mosaic([["all", "0", "1"], ["all", "2", "3"]], width_ratios=[1.7, 1, 1])
        handles = []
        for number, ((arm, curve), colour, line, marker) in enumerate(
            zip(curves, palette(len(curves)), LINES, MARKERS, strict=False)
        ):
            epochs, mean = curve.index, curve.mean(axis=1)
            every = max(1, len(epochs) // 8)
            look = {"color": colour, "linestyle": line, "marker": marker, "markevery": (every - 1, every)}
            panels["all"].plot(epochs, mean, markersize=3.5, **look)
            axes = panels[str(number)]
            axes.fill_between(epochs, curve.min(axis=1), curve.max(axis=1), color=colour, alpha=0.18, lw=0)
            quartiles = curve.quantile([0.25, 0.75], axis=1)
            axes.fill_between(epochs, quartiles.loc[0.25], quartiles.loc[0.75], color=colour, alpha=0.35, lw=0)
            axes.plot(epochs, mean, color=colour, linestyle=line)
            axes.set_title(f"{arm.title}\nlast epoch {mean.iloc[-1]:.3f}", size=SMALL)
            handles.append(Line2D([], [], label=arm.title, **{**look, "markevery": None}))
        for axes in panels.values():
            axes.grid(axis="y", color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
        low = min(curve.min(axis=None) for _, curve in curves)
        for name, axes in panels.items():
            axes.set_ylim(max(0, np.floor(20 * low) / 20), 1.005)
            if name in ("1", "3"):
                axes.tick_params(labelleft=False)
            if name.isdecimal() and int(name) >= len(curves):
                axes.remove()
            elif name == "all" or int(name) + 2 >= len(curves):
                axes.set_xlabel("epoch")
            else:
                axes.tick_params(labelbottom=False)
        panels["all"].set_ylabel(title)
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handlelength=3.5)
        spread = "Left: means over the seeds. Right: mean, middle half (dark) and range (pale) of the seeds."
        training = (
            " Of the training notes as the batches came, while the weights moved." if score[:6] == "train_" else ""
        )
        condition = study.condition(records[0].condition).title
        write_foot(
            figure,
            f"{spread if seeds > 1 else 'One seed.'}{training} Condition: {condition}. "
            f"{estimates.provenance(study, records, 'valid').sentence()}",
        )
    return figure
