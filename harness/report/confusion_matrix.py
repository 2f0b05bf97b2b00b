"""What an arm takes each class for, where a clip has one class."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.metrics import multiclass
from harness.metrics.tally import ratio
from harness.report.style import SMALL, UNDEFINED, new_figure, style, write_foot
from harness.report.tables import origin
from harness.studies.records import Record


def confusion_matrix(
    analysis: Analysis, arm: str, *, condition: str = "", part: str = "test", clip: str = "clip", truth: str = ""
) -> Figure:
    """Confusion matrix of an arm, clips of all seeds pooled.

    Parameters
    ----------
    arm
        By name.
    condition
        By name; default: the study's first.
    part
        ``"valid"`` or ``"test"``.
    clip
        What the study calls a clip.
    truth
        Head of the axis of the true classes; default: what the study calls a class.

    Returns
    -------
    matplotlib.figure.Figure
        Row: a class. Each cell has the share of the row's predictions in per cent, by which it is shaded, and below it
        their number; where there is none it is empty.

    Raises
    ------
    RepriseError
        The arm has no record under that condition.
    """
    study, condition = analysis.study, condition or analysis.base
    records = analysis.select(arm, condition)
    if not records:
        raise RepriseError(f"{arm} has no record under {condition!r}; run it first")
    classes = [name.replace("_", " ") for name in analysis.classes]
    counts = pooled_counts(analysis, records, part)
    sums = counts.sum(axis=1, keepdims=True)
    shares = 100 * ratio(counts, np.broadcast_to(sums, counts.shape), zero_division=np.nan)
    with mpl.rc_context(style()):
        figure = new_figure(1.5 + 0.44 * len(classes))
        axes = figure.subplots()
        axes.set_facecolor(UNDEFINED)
        mesh = axes.pcolormesh(shares, cmap="Greys", vmin=0, vmax=100, edgecolors="white", linewidth=0.8)
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[i, j] > 55 else "black"
                weight = "bold" if i == j else "normal"
                axes.text(
                    j + 0.5, i + 0.38, f"{shares[i, j]:.1f}", ha="center", va="center", color=colour, weight=weight
                )
                axes.text(j + 0.5, i + 0.72, f"{count:,}", ha="center", va="center", color=colour, size=SMALL)
        for i in range(len(classes)):
            axes.add_patch(Rectangle((i, i), 1, 1, fill=False, edgecolor="black", linewidth=1.2, clip_on=False))
        axes.set_xticks(np.arange(len(classes)) + 0.5, classes)
        axes.set_yticks(
            np.arange(len(classes)) + 0.5, [f"{c} ({n:,})" for c, n in zip(classes, sums[:, 0], strict=True)]
        )
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel(truth or study.class_title)
        axes.set_title(study.arm(arm).title)
        bar = figure.colorbar(mesh, ax=axes, shrink=0.6, pad=0.02, label="% of the row")
        bar.outline.set_visible(False)
        write_foot(
            figure,
            f"Read a row: of all predictions for {clip}s of this {study.class_title}, how many per cent name each, and "
            f"below how many they are. In brackets: the row's predictions, one for each test {clip} and seed. Framed: "
            f"right ones. Condition: {study.condition(condition).title}. "
            f"{origin(analysis, records, part)}",
        )
    return figure


def pooled_counts(analysis: Analysis, records: Sequence[Record], part: str = "test") -> np.ndarray:
    """How often clips of each class (row) were predicted to be of each class (column), summed over records: (c, c)."""
    cases = (analysis.case(record, part) for record in records)
    return np.sum([multiclass.evaluate(c.labels, c.probabilities, c.mask)["confusion"] for c in cases], axis=0)
