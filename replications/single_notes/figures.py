"""The thesis' Figs. 13 and 14 from our trials, scores with their intervals, the splits, and confusion matrices."""

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.report import orderings, plots
from harness.report.confusion_matrix import confusion_matrix
from harness.report.style import LINES, new_figure, palette, style, write_foot
from harness.report.tables import best_arms, origin
from replications.single_notes.tables import SPLITS, tables

__all__ = ["curves", "figures", "tables"]


def figures(analysis: Analysis) -> dict[str, tuple[Figure, str]]:
    """Accuracies by epoch, scores, splits, confusion matrices, and orders judged: what there are trials of."""
    study, base, found = analysis.study, analysis.base, {}
    best, of_cells = list(best_arms(analysis).values()), {condition for condition, _ in analysis.cells()}
    if drawn := curves(analysis):
        found["fig13_14_accuracy"] = drawn, "Figs. 13 and 14: validation and training accuracy of the set-ups by epoch"
    if best:
        drawn = plots.scores(analysis, metrics=("accuracy", "log_loss"), conditions=[base])
        found["scores"] = drawn, "Every arm with its interval, chance, and the thesis' values"
    if base in of_cells and of_cells & set(SPLITS):
        under = [c.name for c in study.conditions if c.name in (base, *SPLITS)]
        drawn = plots.scores(analysis, metrics=(study.metric,), conditions=under)
        found["splits"] = drawn, "What the split is worth: accuracy of every arm under each"
    for arm in best:
        drawn = confusion_matrix(analysis, arm, clip="note", truth="played")
        found[f"confusion_{arm}"] = drawn, f"What {study.arm(arm).title} takes each instrument for"
    return found | orderings.figures(analysis, "What the thesis says of its set-ups, judged")


def curves(analysis: Analysis) -> Figure | None:
    """Accuracy of the set-ups by epoch, means over the seeds with their range; None where no set-up was trained."""
    study = analysis.study
    arms = dict.fromkeys(row["arm"] for row in study.published)
    records = [r for r in analysis.records if r.condition == analysis.base and r.arm in arms]
    if not records:
        return None
    frame = pd.concat([r.history().assign(arm=study.arm(r.arm).title) for r in records], ignore_index=True)
    titles = list(dict.fromkeys(frame["arm"]))
    dashes = ["" if line == "-" else line[1] for line in LINES[: len(titles)]]
    looks = {"hue": "arm", "style": "arm", "palette": palette(len(titles)), "dashes": dashes}
    with mpl.rc_context(style()):
        figure = new_figure(3.6)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, score, title in zip(panels, study.history, ("validation", "training"), strict=True):
            sns.lineplot(frame, x="epoch", y=score, errorbar=("pi", 100), err_kws={"alpha": 0.12}, ax=axes, **looks)
            axes.set_title(f"{title} accuracy")
            axes.set_ylabel("accuracy")
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=6, integer=True))
            axes.grid(axis="y", color="0.9", linewidth=0.6)
            handles, _ = axes.get_legend_handles_labels()
            axes.get_legend().remove()
        figure.legend(handles=handles, loc="outside upper center", ncols=len(titles), handlelength=3.5)
        write_foot(
            figure,
            "Lines: means over the seeds; shades: their range. Training accuracy: of the training notes as the batches "
            f"came, while the weights moved. Condition: {study.condition(analysis.base).title}. "
            f"{origin(analysis, records, 'valid')}",
        )
    return figure
