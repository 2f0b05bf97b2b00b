"""Fig. 1 as a table, and precision, recall and F1 of every instrument."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness import corpora
from harness.corpora import irmas
from harness.metrics import multilabel
from harness.report.estimates import METRIC_TITLES, in_words, interval_in_words
from harness.report.writers import Column, Table
from harness.studies.records import Record
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.comparison import COMPARED, comparison_table, counts_table
from replications.irmas_activations.scores import CHOICES, found_conditions, of_condition
from replications.irmas_activations.windows import GRIDS, Threshold

#: Rows of the first table: aggregation, and how its threshold is come to.
ROWS = (("s2", "fixed"), ("s2", "chosen"), ("s2", "oracle"), ("s1", "chosen"), ("s1", "oracle"))
#: Scores of the first table that take a threshold.
METRICS = ("f1_micro_unmasked", "f1_macro_unmasked")


def tables(study: Study, records: Sequence[Record]) -> list[Table]:
    """Micro and macro F1, every instrument, flute against clarinet, and the counts behind it.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    list of Table
        All of them; a condition without a record has no column.
    """
    corpus = corpora.load(records[0].data["corpus"])
    songs = scores.songs_of(corpus)
    shown = [fig1_table(study, records, songs), class_table(study, records, songs)]
    if set(COMPARED) <= set(records[0].data["classes"]):
        shown += [comparison_table(study, records, songs), counts_table(study, records, corpus)]
    return shown


def fig1_table(
    study: Study, records: Sequence[Record], songs: Mapping[str, str], *, replicates: int = 1000, level: float = 0.95
) -> Table:
    """Micro and macro F1 of the test excerpts by aggregation and threshold (study 001, Fig. 1).

    Parameters
    ----------
    study
        Gives the conditions and the published values.
    records
        Of one corpus and profile.
    songs
        Of the excerpts.
    replicates, level
        Of the bootstrap over seeds and songs together.

    Returns
    -------
    Table
        One row per aggregation, way to come to a threshold, and score; one estimate per condition.
    """
    conditions = found_conditions(study, records)
    printed = {row["metric"]: row for row in study.published if row["table"] == "fig1"}
    chances = multilabel.chance(records[0].predictions("test").labels)
    rows, used = [], {}
    for how, choice in ROWS:
        if choice != "fixed":
            for name in conditions:
                used[how, choice, name] = [scores.threshold(r, how, choice) for r in of_condition(records, name)]
        for metric in METRICS:
            # Others' runs choose by micro F1; the oracle of a score is the best that it can be.
            by = metric if choice == "oracle" else METRICS[0]
            drawn = {
                name: scores.sampled(
                    of_condition(records, name), how, choice, songs, metrics=(metric,), by=by, replicates=replicates
                )[0]
                for name in conditions
            }
            known = printed[metric] if (how, choice) == ("s2", "fixed") else {}
            row = {
                "aggregation": how.upper(),
                "choice": choice,
                "compared": choice if choice != "fixed" else None,  # with a single row there is no best
                "choice_title": CHOICES[choice] if choice != "fixed" else f"{CHOICES[choice]}, {_fixed(records)}",
                "metric": metric,
                "metric_title": METRIC_TITLES[metric],
                "published": known.get("value"),
                "band_low": known["value"] - known["margin"] if known else None,
                "band_high": known["value"] + known["margin"] if known else None,
                "chance": chances[metric],
            }
            rows.append(row | _columns(drawn, metric, chances[metric], level))
    # The second aggregation ranks the classes of an excerpt as the first does.
    drawn = {
        name: scores.sampled(
            of_condition(records, name), "s2", "fixed", songs, metrics=("lrap_unmasked",), replicates=replicates
        )[0]
        for name in conditions
    }
    row = {
        "aggregation": "either",
        "choice": "none",
        "compared": None,
        "choice_title": "none: ranking",
        "metric": "lrap_unmasked",
        "metric_title": METRIC_TITLES["lrap_unmasked"],
        "published": None,
        "band_low": None,
        "band_high": None,
        "chance": chances["lrap_unmasked"],
    }
    rows.append(row | _columns(drawn, "lrap_unmasked", chances["lrap_unmasked"], level))
    origin = scores.provenance(study, records)
    band = " and ".join(
        f"{row['value'] - row['margin']:.2f} to {row['value'] + row['margin']:.2f} ({in_words(metric)})"
        for metric, row in printed.items()
    )
    caption = (
        f"{origin.sentence()} Mean over the seeds; in brackets the "
        f"{interval_in_words(records, 'songs', replicates, level)}. S1: mean over windows of a second; S2: their sum, "
        "divided by the largest class's. Oracle: no score that could have been had, but what public code reports that "
        f"shows how it found its threshold; that of a row is best in its own score. {_thresholds(study, used)} "
        "Published: the network's own paper, first version, of the same layers; Fig. 1 of this paper has bars without "
        "numbers. Runs of it by others: 0.60 and 0.50, or 0.64 and 0.55 (implied by Reghunath and Rajan, 2022); "
        f"margins of the verdicts: {band}. LRAP: label-ranking average precision. *: best of its column and way to "
        "come to a threshold; °: not above chance, to call every instrument present every time, or in LRAP to rank "
        "them by how often they are."
    )
    numbers = [c for c in rows[0] if c in ("published", "chance") or c.startswith(("ours_", "band_"))]
    return Table(
        name="fig1",
        title="Fig. 1: micro and macro F1 of the test excerpts",
        caption=caption,
        notes=" ".join(f"“{study.condition(name).title}”: {study.condition(name).note}" for name in conditions),
        frame=pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("aggregation", "Scores", "text"),
            Column("choice_title", "Threshold", "text"),
            Column("metric_title", "Score", "text"),
            Column("published", "Published", "published", 3),
            *(Column(f"ours_{name}", f"Ours: {study.condition(name).title}", "estimate") for name in conditions),
            Column("chance", "Chance", "score"),
        ),
        group=("aggregation", "choice"),
        section="compared",
        provenance=origin,
    )


def class_table(
    study: Study, records: Sequence[Record], songs: Mapping[str, str], *, replicates: int = 1000, level: float = 0.95
) -> Table:
    """Precision, recall and F1 of each instrument, by S2 with the threshold chosen on validation mixtures.

    Parameters
    ----------
    study, records, songs, replicates, level
        As for `fig1_table`.

    Returns
    -------
    Table
        One row per instrument, one F1 per condition.
    """
    conditions, classes = found_conditions(study, records), records[0].data["classes"]
    p = records[0].predictions("test")
    support = p.labels.astype(int).sum(axis=0)
    chances = [2 * n / (n + len(p.labels)) for n in support]  # precision is the share, recall 1
    drawn = {
        name: scores.sampled(of_condition(records, name), "s2", "chosen", songs, replicates=replicates)[1]
        for name in conditions
    }
    rows = []
    for number, name in enumerate(classes):
        row = {
            "instrument": name,
            "instrument_title": title_of(name),
            "excerpts": str(support[number]),
            "section": "all",
            "metric": "f1",
            "chance": chances[number],
        }
        for condition in conditions:
            found = scores.estimate(drawn[condition]["f1"][..., number], chance=chances[number], level=level)
            row |= {
                f"precision_{condition}": drawn[condition]["precision"][:, 0, number].mean(),
                f"recall_{condition}": drawn[condition]["recall"][:, 0, number].mean(),
                **scores.ends(f"ours_{condition}", found),
            }
        rows.append(row)
    origin = scores.provenance(study, records)
    base = conditions[0]
    numbers = [c for c in rows[0] if c.startswith(("precision_", "recall_", "ours_", "chance"))]
    return Table(
        name="instruments",
        title="Every instrument: precision, recall and F1",
        caption=f"{origin.sentence()} S2, the threshold chosen on validation mixtures, one for all instruments. Mean "
        f"over the seeds; in brackets the {interval_in_words(records, 'songs', replicates, level)}. "
        f"Precision and recall: “{study.condition(base).title}”; for other conditions they are in the CSV file. The "
        "published model's are bars in Fig. 1 without numbers. *: best of its column; °: not above chance, the F1 of "
        "calling the instrument present every time.",
        notes="",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("instrument_title", "Instrument", "text"),
            Column("excerpts", "Excerpts", "text"),
            Column(f"precision_{base}", "Precision", "score"),
            Column(f"recall_{base}", "Recall", "score"),
            *(Column(f"ours_{name}", f"F1: {study.condition(name).title}", "estimate") for name in conditions),
            Column("chance", "Chance", "score"),
        ),
        group=("instrument",),
        section="section",
        provenance=origin,
    )


def title_of(code: str) -> str:
    """What a class is called in full.

    Parameters
    ----------
    code
        As files have it.

    Returns
    -------
    str
        For instance ``"clarinet (cla)"``; an unknown code as it is.
    """
    return f"{irmas.INSTRUMENTS[code]} ({code})" if code in irmas.INSTRUMENTS else code


def _fixed(records: Sequence[Record]) -> str:
    return " or ".join(sorted({f"{r.data['protocol']['threshold']:g}" for r in records}))


def _columns(
    drawn: Mapping[str, Mapping[str, np.ndarray]], metric: str, chance: float | None, level: float
) -> dict[str, float | None]:
    columns: dict[str, float | None] = {}
    for name, values in drawn.items():
        columns |= scores.ends(f"ours_{name}", scores.estimate(values[metric], chance=chance, level=level))
    return columns


def _thresholds(study: Study, used: Mapping[tuple[str, str, str], Sequence[Threshold]]) -> str:
    """Which thresholds the trials have, in a sentence."""
    said = []
    for (how, choice, name), found in used.items():
        if choice == "chosen":
            values = sorted(t.value for t in found)
            span = f"{values[0]:.2f}" + (f" to {values[-1]:.2f}" if values[-1] > values[0] else "")
            edge = sum(t.at_edge for t in found)
            at_edge = f", {edge} of {len(found)} at the edge of the grid" if edge else ""
            said.append(f"{how.upper()}, {study.condition(name).title} {span}{at_edge}")
    grids = " and ".join(f"{how.upper()} from {grid[0]:.2f} to {grid[-1]:.2f}" for how, grid in GRIDS.items())
    return f"Chosen by micro F1 ({grids}): {'; '.join(said)}."
