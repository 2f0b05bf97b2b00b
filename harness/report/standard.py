"""What a report shows of a study unless that chooses otherwise: the paper's tables, every arm, and the usual plots."""

from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.metrics import METRICS
from harness.report import orderings, plots
from harness.report.tables import arm_table, best_arms, comparable, condition_table, score_table, usual_table
from harness.report.writers import Table


def tables(analysis: Analysis) -> list[Table]:
    """Ours beside each of the paper's tables, every arm by the usual scores, and what the conditions are worth.

    Of the paper's tables only those with a network that was trained, or of all networks; where the paper has none,
    every arm by the study's main score.
    """
    study = analysis.study
    networks = {study.arm(arm).network for _, arm in analysis.cells()}
    shown = [
        score_table(analysis, key)
        for key, about in study.tables.items()
        if about.get("network") in (None, *networks) and not about.get("history")
    ] or [arm_table(analysis)]
    shown.append(usual_table(analysis))
    if any(
        condition != analysis.base and (analysis.base, arm) in analysis.cells() for condition, arm in analysis.cells()
    ):
        shown.append(condition_table(analysis))
    return shown


def figures(analysis: Analysis) -> dict[str, tuple[Figure, str]]:
    """Labels, scores, orders judged, training curves, and the best arm of each network class by class.

    By the stem of its files each figure with a line on what it shows.
    """
    study, one = analysis.study, analysis.study.class_title
    found = {}
    if counts := plots.label_counts(analysis):
        found["label_counts"] = counts, "Labels: present, absent, and never asked about"
    found["scores"] = plots.scores(analysis), "Every arm with its interval, chance, and the paper's values"
    conditions = comparable(analysis)
    found |= orderings.figures(analysis, "What the paper says of its arms, judged")
    for condition in conditions:
        suffix = "" if condition == analysis.base else f"_{condition}"
        title = study.condition(condition).title
        if curves := plots.training_curves(analysis, condition=condition):
            what = f"Losses and validation {METRICS[study.metric].in_words} by epoch"
            found[f"training_curves{suffix}"] = curves, f"{what} ({title})"
        best = list(best_arms(analysis, condition).values())
        found[f"per_class_f1{suffix}"] = (
            plots.per_class_f1(analysis, arms=best, condition=condition),
            f"F1 of each {one}, the best arm of each network ({title})",
        )
        for arm in best:
            found[f"confusion_{arm}{suffix}"] = (
                plots.confusion(analysis, arm, condition=condition),
                f"What {arm} predicts for each {one} ({title})",
            )
    return found
