"""What an arm takes each class for, where a clip has one class."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.errors import RepriseError
from harness.metrics import multiclass
from harness.metrics.multilabel import ratio
from harness.report import estimates
from harness.report.style import SMALL, UNDEFINED, new_figure, style, write_foot
from harness.studies.records import Record
from harness.studies.study import Study


def confusion_matrix(
    study: Study,
    records: Sequence[Record],
    arm: str,
    *,
    condition: str | None = None,
    part: str = "test",
    clip: str = "note",
    truth: str = "played",
) -> Figure:
    """Confusion matrix of an arm, clips of all seeds pooled.

    Parameters
    ----------
    study
        Gives the arms; its clips have one class each.
    records
        Any of the study's, of one corpus and profile.
    arm
        By name.
    condition
        By name; default: the study's first.
    part
        ``"valid"`` or ``"test"``.
    clip, truth
        What the study calls a clip, and the axis of the true classes.

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
    condition = condition or study.conditions[0].name
    records = estimates.select(records, arm, condition)
    if not records:
        raise RepriseError(f"{arm} has no record under {condition!r}; run it first")
    classes = [name.replace("_", " ") for name in records[0].data["classes"]]
    counts = pooled_counts(records, part)
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
        axes.set_ylabel(truth)
        axes.set_title(study.arm(arm).title)
        bar = figure.colorbar(mesh, ax=axes, shrink=0.6, pad=0.02, label="% of the row")
        bar.outline.set_visible(False)
        write_foot(
            figure,
            f"Read a row: of all predictions for {clip}s of this instrument, how many per cent name each, and "
            f"below how many they are. In brackets: the row's predictions, one for each test {clip} and seed. Framed: "
            f"right ones. Condition: {study.condition(condition).title}. "
            f"{estimates.provenance(study, records, part).sentence()}",
        )
    return figure


def pooled_counts(records: Sequence[Record], part: str) -> np.ndarray:
    """How often clips of each class were predicted to be of each class.

    Parameters
    ----------
    records
        Of one arm and condition; at least one.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    np.ndarray [shape=(c, c), dtype=int64]
        Row: the class; column: the prediction; summed over the records.
    """
    found = []
    for record in records:
        p = record.predictions(part)
        found.append(multiclass.evaluate(p.labels, p.probabilities, p.mask)["confusion"])
    return np.sum(found, axis=0)
