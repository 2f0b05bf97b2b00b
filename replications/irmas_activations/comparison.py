"""Flute against clarinet: their F1, what frequency has to do with it, and how frequent they are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from harness.corpora import Corpus, irmas
from harness.metrics import multilabel
from harness.report.estimates import Estimate, interval_in_words
from harness.report.writers import MINUS, UNDEFINED, Column, Table
from harness.studies.records import Record
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.scores import found_conditions, of_condition

#: The classes that the paper compares, the first of which its model hears better (section 3).
COMPARED = ("flu", "cla")


def comparison_table(
    study: Study, records: Sequence[Record], songs: Mapping[str, str], *, replicates: int = 1000, level: float = 0.95
) -> Table:
    """F1 of flute and clarinet, as they are and as if clarinets were as frequent as flutes (study 001, section 3).

    F1 falls with a class's frequency even if as many of its excerpts are found and as many others are mistaken for it.
    What is left of a difference when that is taken out is what the network hears.

    Parameters
    ----------
    study, records, songs, replicates, level
        As for `replications.irmas_activations.tables.fig1_table`.

    Returns
    -------
    Table
        Two rows per condition, with the difference and its interval.
    """
    classes = list(records[0].data["classes"])
    flute, clarinet = (classes.index(name) for name in COMPARED)
    rows = []
    for condition in found_conditions(study, records):
        plain, equal = [], []
        for record in of_condition(records, condition):
            p = record.predictions("test")
            counted = scores.weights(p.keys, songs, replicates).astype(float)
            predicted = p.probabilities >= scores.threshold(record, "s2", "fixed")
            share = counted @ p.labels[:, flute] / counted.sum(axis=1)
            f1 = {c: f1_at(p.labels[:, c], predicted[:, c], counted) for c in (flute, clarinet)}
            plain.append([f1[flute], f1[clarinet]])
            equal.append([f1[flute], f1_at(p.labels[:, clarinet], predicted[:, clarinet], counted, share)])
        for case, of_case in (("as they are", plain), ("clarinets as frequent as flutes", equal)):
            first, second = np.moveaxis(of_case, 1, 0)  # each (seeds, 1 + replicates)
            gain = scores.estimate(first - second, level=level, bounds=(-1.0, 1.0))
            row = {
                "condition": condition,
                "condition_title": study.condition(condition).title,
                "case": case,
                "metric": "f1",
                "flute": first[:, 0].mean(),
                "clarinet": second[:, 0].mean(),
                "verdict": _verdict(gain),
            }
            rows.append(row | scores.ends("difference", gain))
    origin = scores.provenance(study, records)
    numbers = ["flute", "clarinet", *scores.ends("difference", None)]
    return Table(
        name="flute_clarinet",
        title="Flute against clarinet: is the difference more than one of frequency?",
        caption=f"{origin.sentence()} S2, the threshold as published, as in the verdicts. Mean over the seeds; in "
        f"brackets the {interval_in_words(records, 'songs', replicates, level)}. As frequent: with "
        "the clarinet's own recall and rate of false alarms, at the flute's share of the excerpts. °: the interval "
        "holds zero. The paper: “performs significantly better on flute samples than on clarinet” (section 3).",
        notes="",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("condition_title", "Loss", "text"),
            Column("case", "Excerpts", "text"),
            Column("flute", "F1 flute", "score"),
            Column("clarinet", "F1 clarinet", "score"),
            Column("difference", f"Flute {MINUS} clarinet", "difference"),
            Column("verdict", "The paper's claim", "text"),
        ),
        group=("condition",),
        section="condition",
        provenance=origin,
    )


def f1_at(
    labels: np.ndarray, predicted: np.ndarray, counted: np.ndarray, share: np.ndarray | None = None
) -> np.ndarray:
    """F1 of a class, at its own frequency or at another with the same recall and rate of false alarms.

    Parameters
    ----------
    labels, predicted : np.ndarray, shape (n,)
        Of the class: 0 or 1.
    counted : np.ndarray, shape (r, n)
        How often each excerpt counts.
    share : np.ndarray, shape (r,), optional
        Share of the excerpts that have the class; default: what it is.

    Returns
    -------
    np.ndarray, shape (r,)
        0 where the class is neither there nor predicted; NaN where recall or the rate is undefined and a share given.
    """
    labels, predicted = labels.astype(bool), predicted.astype(bool)
    present, absent = counted @ labels, counted @ ~labels
    found, false = counted @ (labels & predicted), counted @ (~labels & predicted)
    if share is None:
        return multilabel.ratio(2 * found, found + false + present)
    recall = multilabel.ratio(found, present, zero_division=np.nan)
    alarms = multilabel.ratio(false, absent, zero_division=np.nan)
    return multilabel.ratio(2 * recall * share, recall * share + share + alarms * (1 - share))


def counts_table(study: Study, records: Sequence[Record], corpus: Corpus, *, level: float = 0.95) -> Table:
    """How many flutes and clarinets there are: the paper says similarly many in training and in testing.

    Parameters
    ----------
    study, records
        For what the table stands on.
    corpus
        The one at hand.
    level
        Of the intervals, which are Woolf's (1955) for a ratio of odds.

    Returns
    -------
    Table
        A row for the corpus as published and, where that is another, one for the one at hand.
    """
    at_hand = {
        part: [int(corpus.labels[chosen][:, corpus.classes.index(c)].sum()) for c in COMPARED]
        for part in ("train", "test")
        for chosen in [(corpus.clips["partition"] == part).to_numpy()]
    }
    published = {
        "train": [irmas.TRAINING[c] for c in COMPARED],
        "test": [irmas.TEST[c] for c in COMPARED],
    }
    named = {"IRMAS as published": published}
    if at_hand != published:
        named[corpus.name + (" (what is there of it)" if not corpus.pocket else "")] = at_hand
    rows = []
    for name, counts in named.items():
        (a, b), (c, d) = counts["test"], counts["train"]
        odds = odds_ratio(a, b, c, d, level=level)
        verdict = "not decided" if odds is None or odds[1] <= 1 <= odds[2] else "false"
        rows.append(
            {
                "corpus_title": name,
                "counted": name,
                "metric": "odds",
                "train_flutes": c,
                "train_clarinets": d,
                "train_title": f"{c:,} : {d:,}",
                "test_flutes": a,
                "test_clarinets": b,
                "test_title": f"{a:,} : {b:,}",
                "ratio_title": UNDEFINED if odds is None else f"{odds[0]:.2f} [{odds[1]:.2f}, {odds[2]:.2f}]",
                "ratio": None if odds is None else odds[0],
                "ratio_low": None if odds is None else odds[1],
                "ratio_high": None if odds is None else odds[2],
                "verdict": verdict,
            }
        )
    return Table(
        name="flute_clarinet_counts",
        title="Flutes and clarinets in training and in testing: “similar distributions”?",
        caption="Excerpts with the label, flutes : clarinets. Ratio: flutes for a clarinet in testing over the same in "
        f"training, with Woolf's {level:.0%} interval of a ratio of odds; 1 if the two are alike. The paper: “these "
        "classes have similar training and testing distributions” (section 3).",
        notes="",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(("ratio", "ratio_low", "ratio_high"), float)),
        columns=(
            Column("corpus_title", "Corpus", "text"),
            Column("train_title", "Training", "text"),
            Column("test_title", "Testing", "text"),
            Column("ratio_title", "Ratio", "text"),
            Column("verdict", "The paper's claim", "text"),
        ),
        group=("counted",),
        section="counted",
        provenance=scores.provenance(study, records),
    )


def odds_ratio(a: int, b: int, c: int, d: int, *, level: float = 0.95) -> tuple[float, float, float] | None:
    """Ratio of the odds ``a : b`` and ``c : d`` with Woolf's interval.

    Parameters
    ----------
    a, b, c, d
        Counts.
    level
        Confidence.

    Returns
    -------
    tuple of float or None
        Ratio, lower and upper end; None where a count is 0.
    """
    if 0 in (a, b, c, d):
        return None
    middle = np.log(a * d / (b * c))
    reach = norm.ppf((1 + level) / 2) * np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return tuple(float(np.exp(x)) for x in (middle, middle - reach, middle + reach))


def _verdict(gain: Estimate) -> str:
    if gain.low is None or gain.low <= 0 <= gain.high:
        return "undecided"
    return "holds" if gain.low > 0 else "reversed"
