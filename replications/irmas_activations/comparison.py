"""Flute against clarinet: their F1, what frequency has to do with it, and how frequent they are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from harness.analysis.measured import decided
from harness.analysis.resampling import Resampled, resample
from harness.analysis.study import Analysis
from harness.corpora import irmas
from harness.metrics.tally import ratio
from harness.report.tables import about, origin
from harness.report.writers import MINUS, Column, Number, Table
from harness.studies.claims import ORDER
from harness.studies.records import Record
from replications.irmas_activations.filter_activations import COMPARED


def f1_of_both(analysis: Analysis, records: Sequence[Record]) -> Resampled:
    """F1 of flutes, of clarinets, and of clarinets if these were as frequent as flutes; threshold as published.

    F1 falls with a class's frequency even if as many of its excerpts are found and as many others are mistaken for it.
    What is left of a difference when that is taken out is what the network hears.

    Parameters
    ----------
    analysis, records
        The study's, and trials of one condition.
    """
    flute, clarinet = (analysis.classes.index(name) for name in COMPARED)
    cases = [analysis.case(record) for record in records]

    def score(number: int, weights: np.ndarray) -> np.ndarray:
        labels, predicted = cases[number].labels, cases[number].probabilities >= cases[number].threshold
        share = weights @ labels[:, flute] / weights.sum(axis=1)
        both = [f1_at(labels[:, c], predicted[:, c], weights) for c in (flute, clarinet)]
        return np.stack([*both, f1_at(labels[:, clarinet], predicted[:, clarinet], weights, share)], axis=1)

    return resample([case.units for case in cases], score, replicates=analysis.replicates, seed=analysis.seed)


def f1_at(
    labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray, share: np.ndarray | None = None
) -> np.ndarray:
    """F1 of a class, at its own frequency or at another with the same recall and rate of false alarms.

    Parameters
    ----------
    labels, predicted : np.ndarray [shape=(n,)]
        Of the class: 0 or 1.
    weights : np.ndarray [shape=(r, n)]
        How often each excerpt counts.
    share : np.ndarray [shape=(r,)], optional
        Share of the excerpts that have the class; default: what it is.

    Returns
    -------
    np.ndarray [shape=(r,)]
        0 where the class is neither there nor predicted; NaN where recall or the rate is undefined and a share given.
    """
    labels, predicted = labels.astype(bool), predicted.astype(bool)
    present, absent = weights @ labels, weights @ ~labels
    found, false = weights @ (labels & predicted), weights @ (~labels & predicted)
    if share is None:
        return ratio(2 * found, found + false + present)
    recall = ratio(found, present, zero_division=np.nan)
    alarms = ratio(false, absent, zero_division=np.nan)
    return ratio(2 * recall * share, recall * share + share + alarms * (1 - share))


def comparison_table(analysis: Analysis) -> Table:
    """F1 of flute and clarinet, as they are and as if clarinets were as frequent as flutes (study 001, section 3)."""
    rows = []
    for condition, arm in analysis.cells():
        found = f1_of_both(analysis, analysis.select(arm, condition))
        means = found.plain.mean(axis=0)
        for case, other in (("as they are", 1), ("clarinets as frequent as flutes", 2)):
            gap = found.over(lambda f1, other=other: f1[..., [0]] - f1[..., [other]])
            low, high, _ = decided(gap, level=analysis.check_level)
            if other == 1 and condition == analysis.base:
                low, high = _as_judged(analysis, low, high)
            rows.append(
                {
                    "condition": condition,
                    "condition_title": analysis.study.condition(condition).title,
                    "case": case,
                    "flute": means[0],
                    "clarinet": means[other],
                    "difference": Number(means[0] - means[other], low, high, doubtful=not (low > 0 or high < 0)),
                }
            )
    return Table(
        name="flute_clarinet",
        title="Flute against clarinet: is the difference more than one of frequency?",
        caption=f"{origin(analysis)} S2, the threshold as published. Mean over the seeds; in brackets "
        f"the interval of the verdicts: of “{analysis.study.conditions[0].title}” and the excerpts as they are for all "
        f"differences of the page together, else the {analysis.check_level:.2%} interval over seeds and songs. As "
        "frequent: with the clarinet's own recall and rate of false alarms, at the flute's share of the excerpts. °: "
        "the interval holds zero. The paper: “performs significantly better on flute samples than on clarinet” "
        "(section 3).",
        frame=pd.DataFrame(rows),
        columns=(
            Column("condition_title", "Loss", "text"),
            Column("case", "Excerpts", "text"),
            Column("flute", "F1 flute", "score"),
            Column("clarinet", "F1 clarinet", "score"),
            Column("difference", f"Flute {MINUS} clarinet", "difference"),
        ),
        group=("condition",),
        section="condition",
        about=about(analysis),
    )


def _as_judged(analysis: Analysis, low: float, high: float) -> tuple[float, float]:
    """The interval by which the order of the two is judged, where the page judges it."""
    for claim in analysis.claims:
        contrast = analysis.contrast_of(claim) if claim.kind == ORDER else None
        if contrast is not None and (found := analysis.found(contrast)) is not None:
            _, row, sign = found
            ends = sorted(sign * row[name] for name in ("low_adjusted", "high_adjusted"))
            return ends[0], ends[1]
    return low, high


def counts_table(analysis: Analysis, *, level: float = 0.95) -> Table:
    """How many flutes and clarinets there are: the paper says similarly many in training and in testing.

    Parameters
    ----------
    analysis
        Whose records say how many the corpus at hand has.
    level
        Of the intervals, which are Woolf's (1955) for a ratio of odds.

    Returns
    -------
    Table
        A row for the corpus as published and, where that is another, one for the one at hand.
    """
    corpus = analysis.records[0].data["inputs"].get("corpus", {})
    counted = {"IRMAS as published": (irmas.TRAINING, irmas.TEST)}
    here = tuple(corpus.get(part, {}) for part in ("training", "test"))
    if all(set(COMPARED) <= set(part) for part in here):
        counted[f"{analysis.records[0].data['corpus']}, as it is here"] = here
    rows = []
    for name, (training, test) in counted.items():
        (c, d), (a, b) = ([part[code] for code in COMPARED] for part in (training, test))
        if rows and (a, b, c, d) == rows[0]["counts"]:
            continue
        odds = odds_ratio(a, b, c, d, level=level)
        rows.append(
            {
                "counted": name,
                "counts": (a, b, c, d),
                "train": f"{c:,} : {d:,}",
                "test": f"{a:,} : {b:,}",
                "ratio": Number(np.nan) if odds is None else Number(*odds, doubtful=odds[1] <= 1 <= odds[2]),
            }
        )
    return Table(
        name="flute_clarinet_counts",
        title="Are there as many flutes for a clarinet in testing as in training?",
        caption="Labelled excerpts, flutes : clarinets. Ratio: flutes for a clarinet in testing over the same in "
        f"training, with Woolf's {level:.0%} interval of a ratio of odds; 1 if the two are alike; °: the interval "
        "holds 1. The paper: “these classes have similar training and testing distributions” (section 3).",
        frame=pd.DataFrame(rows).drop(columns="counts"),
        columns=(
            Column("counted", "Corpus", "text"),
            Column("train", "Training", "text"),
            Column("test", "Testing", "text"),
            Column("ratio", "Ratio", "estimate"),
        ),
        group=("counted",),
        about=about(analysis),
    )


def odds_ratio(a: int, b: int, c: int, d: int, *, level: float = 0.95) -> tuple[float, float, float] | None:
    """Ratio of the odds ``a : b`` and ``c : d`` with Woolf's interval; None where a count is 0."""
    if 0 in (a, b, c, d):
        return None
    middle = np.log(a * d / (b * c))
    reach = norm.ppf((1 + level) / 2) * np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return tuple(float(np.exp(x)) for x in (middle, middle - reach, middle + reach))
