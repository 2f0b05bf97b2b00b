"""Fig. 1 as a table, and precision, recall and F1 of every instrument."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from harness.analysis.study import Analysis
from harness.corpora import irmas
from harness.metrics import METRICS, Tally
from harness.metrics.tally import ratio
from harness.report.tables import about, doubtful_in_words, interval_in_words, numbers, origin, pivot
from harness.report.writers import Column, Table
from harness.studies.records import Record
from replications.irmas_activations import filter_activations
from replications.irmas_activations.comparison import comparison_table, counts_table
from replications.irmas_activations.filter_activations import COMPARED
from replications.irmas_activations.layer_tables import filter_table, layer_table
from replications.irmas_activations.thresholds import CHOICES, part_of, threshold
from replications.irmas_activations.windows import GRIDS

#: Rows of the first table: aggregation, and how its threshold is come to.
ROWS = (("s2", "fixed"), ("s2", "chosen"), ("s2", "oracle"), ("s1", "chosen"), ("s1", "oracle"))
MICRO, MACRO, RANKING = "f1_micro_unmasked", "f1_macro_unmasked", "lrap_unmasked"


def tables(analysis: Analysis) -> list[Table]:
    """Micro and macro F1, every instrument, flute against clarinet, and what filters answer to the two."""
    shown = [fig1_table(analysis), class_table(analysis)]
    if set(COMPARED) <= set(analysis.classes):
        shown += [comparison_table(analysis), counts_table(analysis)]
        if several := filter_activations.read(analysis):
            shown += [layer_table(analysis, several), filter_table(analysis, several[0])]
    return shown


def fig1_scores(analysis: Analysis) -> pd.DataFrame:
    """Micro and macro F1 of the test excerpts by aggregation and threshold, as ``analysis.estimates``.

    Returns
    -------
    pd.DataFrame
        With the columns ``aggregation`` and ``choice``. Thresholds are chosen by micro F1, as in others' runs; the
        oracle of a score is the best that it can be.
    """
    frames = []
    for how, choice in ROWS:
        for metrics in ([MICRO], [MACRO]) if choice == "oracle" else ([MICRO, MACRO],):
            of_trial = partial(_threshold, analysis, how, choice, metrics[0])
            found = analysis.estimate(analysis.records, part=part_of("test", how), metrics=metrics, threshold=of_trial)
            frames.append(found.assign(aggregation=how.upper(), choice=choice))
    # The second aggregation ranks the classes of an excerpt as the first does.
    ranked = analysis.estimate(analysis.records, metrics=[RANKING])
    return pd.concat([*frames, ranked.assign(aggregation="either", choice="none")], ignore_index=True)


def _threshold(analysis: Analysis, how: str, choice: str, by: str, record: Record) -> float:
    return threshold(analysis, record, how, choice, by=by)


def fig1_table(analysis: Analysis) -> Table:
    """Micro and macro F1 of the test excerpts by aggregation and threshold (study 001, Fig. 1)."""
    study, found = analysis.study, fig1_scores(analysis)
    keys = ["aggregation", "choice", "metric"]
    frame = pivot(found.assign(cell=numbers(found)), keys, "condition", "cell")
    frame = frame.merge(found.drop_duplicates(keys)[[*keys, "chance"]], on=keys)
    printed = {("S2", "fixed", row["metric"]): row["value"] for row in study.published}
    frame["published"] = [printed.get(key, np.nan) for key in frame[keys].itertuples(index=False, name=None)]
    fixed = " or ".join(sorted({f"{r.data['protocol']['threshold']:g}" for r in analysis.records}))
    titles = CHOICES | {"fixed": f"{CHOICES['fixed']}, {fixed}", "none": "none: ranking"}
    frame["threshold"], frame["score"] = frame["choice"].map(titles), [METRICS[m].title for m in frame["metric"]]
    conditions = [c for c in study.conditions if c.name in frame]
    return Table(
        name="fig1",
        title="Fig. 1: micro and macro F1 of the test excerpts",
        caption=f"{origin(analysis)} Mean over the seeds, in brackets the {interval_in_words(analysis)}. S1: mean over "
        "windows of a second; S2: their sum, divided by the largest class's. Oracle: no score that could have been "
        "had, but what public code reports that shows how it found its threshold; that of a row is best in its own "
        f"score. {_thresholds(analysis)} Published: the network's own paper, first version, of the same layers; Fig. 1 "
        "of this paper has bars without numbers. Runs of it by others: 0.60 and 0.50, or 0.64 and 0.55 (implied by "
        "Reghunath and Rajan, 2022). LRAP: label-ranking average precision. "
        f"{doubtful_in_words([MICRO, MACRO, RANKING])}",
        notes=" ".join(f"“{c.title}”: {c.note}" for c in conditions),
        frame=frame.rename(columns={c.name: f"ours_{c.name}" for c in conditions}),
        columns=(
            Column("aggregation", "Scores", "text"),
            Column("threshold", "Threshold", "text"),
            Column("score", "Score", "text"),
            Column("published", "Published", "published", 3),
            *(Column(f"ours_{c.name}", f"Ours: {c.title}", "estimate") for c in conditions),
            Column("chance", "Chance", "score"),
        ),
        group=("aggregation", "choice"),
        section="choice",
        about=about(analysis),
    )


def class_scores(analysis: Analysis) -> pd.DataFrame:
    """F1 of each instrument by S2 at the threshold chosen on mixtures, as ``analysis.estimates``."""
    of_trial = partial(_threshold, analysis, "s2", "chosen", MICRO)
    found = analysis.estimate(analysis.records, metrics=[MACRO], threshold=of_trial, per_class=True)
    return found[found["class"] != ""]


def class_table(analysis: Analysis) -> Table:
    """Precision, recall and F1 of each instrument, by S2 with the threshold chosen on validation mixtures."""
    study, found = analysis.study, class_scores(analysis)
    frame = pivot(found.assign(cell=numbers(found)), "class", "condition", "cell")
    frame = frame.merge(found.drop_duplicates("class")[["class", "positives", "chance"]], on="class")
    frame["instrument"], frame["excerpts"] = frame["class"].map(title_of), frame["positives"].astype(str)
    conditions = [c for c in study.conditions if c.name in frame]
    for condition, arm in analysis.cells():
        rates = precision_and_recall(analysis, analysis.select(arm, condition))
        frame[f"precision_{condition}"], frame[f"recall_{condition}"] = rates
    first = conditions[0]
    return Table(
        name="instruments",
        title="Every instrument: precision, recall and F1",
        caption=f"{origin(analysis)} S2, the threshold chosen on validation mixtures, one for all instruments. Mean "
        f"over the seeds, in brackets the {interval_in_words(analysis)}. Precision and recall: “{first.title}”; for "
        "other conditions they are in the CSV file. The published model's are bars in Fig. 1 without numbers. °: the "
        "interval is not above chance, the F1 of calling the instrument present every time.",
        frame=frame.rename(columns={c.name: f"ours_{c.name}" for c in conditions}),
        columns=(
            Column("instrument", "Instrument", "text"),
            Column("excerpts", "Excerpts", "text"),
            Column(f"precision_{first.name}", "Precision", "score"),
            Column(f"recall_{first.name}", "Recall", "score"),
            *(Column(f"ours_{c.name}", f"F1: {c.title}", "estimate") for c in conditions),
            Column("chance", "Chance", "score"),
        ),
        group=("class",),
        about=about(analysis),
    )


def precision_and_recall(analysis: Analysis, records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Of each class, means over some trials, at the thresholds chosen on mixtures; 0 where nothing is predicted."""
    found = []
    for record in records:
        case = analysis.case(record, threshold=threshold(analysis, record, "s2", "chosen"))
        once = np.ones((1, len(case.labels)))
        tally = Tally("multilabel", case.labels, case.probabilities, case.mask, once, case.threshold)
        found.append([ratio(tally.tp, tally.tp + tally.fp)[0], ratio(tally.tp, tally.tp + tally.fn)[0]])
    precision, recall = np.mean(found, axis=0)
    return precision, recall


def title_of(code: str) -> str:
    """What a class is called in full, for instance ``"clarinet (cla)"``; an unknown code as it is."""
    return f"{irmas.INSTRUMENTS[code]} ({code})" if code in irmas.INSTRUMENTS else code


def _thresholds(analysis: Analysis) -> str:
    """Which thresholds the trials have, in a sentence."""
    said = []
    for how in ("s2", "s1"):
        for condition, arm in analysis.cells():
            found = sorted(threshold(analysis, r, how, "chosen") for r in analysis.select(arm, condition))
            span = f"{found[0]:.2f}" + (f" to {found[-1]:.2f}" if found[-1] > found[0] else "")
            edge = sum(value in (GRIDS[how][0], GRIDS[how][-1]) for value in found)
            at_edge = f", {edge} of {len(found)} at the edge of the grid" if edge else ""
            said.append(f"{how.upper()}, {analysis.study.condition(condition).title} {span}{at_edge}")
    grids = " and ".join(f"{how.upper()} from {grid[0]:.2f} to {grid[-1]:.2f}" for how, grid in GRIDS.items())
    return f"Chosen by micro F1 ({grids}): {'; '.join(said)}."
