"""Scores of test excerpts at a threshold of one's choice, with intervals over seeds and songs together.

Excerpts of one song are not independent of each other, so that every interval here draws whole songs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.corpora import Corpus
from harness.metrics import multilabel, uncertainty
from harness.metrics.seeds import Replicates, joint
from harness.report import estimates
from harness.report.estimates import Estimate, Provenance
from harness.report.resampling import Draws
from harness.studies.records import Predictions, Record
from harness.studies.study import Study
from replications.irmas_activations.windows import GRIDS, Threshold, best_threshold, threshold_curve

#: Ways to come to a threshold.
CHOICES = {
    "fixed": "as published",
    "chosen": "chosen on validation mixtures",
    "oracle": "best on the test excerpts (oracle)",
}


def predictions(record: Record, part: str, how: str) -> Predictions:
    """Scores of a part by one of the two aggregations.

    Parameters
    ----------
    record
        Of a trial.
    part
        ``"valid"``, the mixtures of validation clips, or ``"test"``.
    how : {"s1", "s2"}
        Mean over the windows, or the sum divided by the largest class's.

    Returns
    -------
    Predictions
        Whose ``probabilities`` are the scores.
    """
    return record.predictions(part if how == "s2" else f"{part}_{how}")


def curve(record: Record, part: str, how: str) -> pd.DataFrame:
    """Micro- and macro-F1 at the thresholds that public code has tried.

    Parameters
    ----------
    record, part, how
        As in `predictions`.

    Returns
    -------
    pd.DataFrame
        As `replications.irmas_activations.windows.threshold_curve`.
    """
    p = predictions(record, part, how)
    return threshold_curve(p.labels, p.probabilities, GRIDS[how])


def threshold(record: Record, how: str, choice: str, *, by: str = "f1_micro_unmasked") -> Threshold | float:
    """A trial's threshold.

    Parameters
    ----------
    record, how
        As in `predictions`.
    choice
        One of `CHOICES`.
    by
        The score that is best there: ``"f1_micro_unmasked"`` or ``"f1_macro_unmasked"``.

    Returns
    -------
    Threshold or float
        A number where it is fixed, or chosen by macro F1.
    """
    if choice == "fixed":
        return float(record.data["protocol"]["threshold"])
    found = curve(record, "valid" if choice == "chosen" else "test", how)
    if by == "f1_macro_unmasked":
        return float(found["threshold"].iloc[found["f1_macro"].to_numpy().argmax()])
    return best_threshold(found)


def value_of(found: Threshold | float) -> float:
    """A threshold as a number."""
    return found.value if isinstance(found, Threshold) else found


def songs_of(corpus: Corpus) -> dict[str, str]:
    """Which song each clip is of.

    Parameters
    ----------
    corpus
        Any; a clip without a song is one of its own.

    Returns
    -------
    dict of str to str
        By key.
    """
    keys, groups = corpus.clips["key"], corpus.clips["group"]
    return dict(zip(keys, groups.where(groups.notna(), keys), strict=True))


def weights(keys: Sequence[str] | np.ndarray, songs: Mapping[str, str], replicates: int) -> np.ndarray:
    """How often each excerpt counts: once, and in resampled songs.

    Parameters
    ----------
    keys : sequence of str, shape (n,)
        Of excerpts.
    songs
        As `songs_of` gives them.
    replicates
        Of the bootstrap. The same keys give the same draws, which are those of verdicts.

    Returns
    -------
    np.ndarray, shape (1 + replicates, n)
        The first row is ones. Each further one draws as many songs as there are, each with all its excerpts.
    """
    keys = np.asarray(keys)
    draws = Draws([[keys]], replicates, lambda some: np.array([songs[key] for key in some.tolist()], str))
    return np.concatenate([np.ones((1, len(keys)), np.int64), *draws.weights(keys)])


def sampled(
    records: Sequence[Record],
    how: str,
    choice: str,
    songs: Mapping[str, str],
    *,
    metrics: Sequence[str] = ("f1_micro_unmasked", "f1_macro_unmasked"),
    by: str = "f1_micro_unmasked",
    replicates: int = 1000,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores of the test excerpts as they are, and of resampled songs.

    Parameters
    ----------
    records
        Of one condition; at least one. Each has a threshold of its own, which resampling does not change.
    how, choice, by
        As in `threshold`.
    songs, replicates
        As in `weights`.
    metrics
        Names out of `harness.metrics.multilabel.METRICS`.

    Returns
    -------
    averages : dict of str to np.ndarray, shape (seeds, 1 + replicates)
        By metric; the first of each row is of the excerpts as they are.
    per_class : dict of str to np.ndarray, shape (seeds, 1 + replicates, c)
        ``"precision"``, ``"recall"`` and ``"f1"``, likewise.
    """
    averages, per_class = [], []
    for record in records:
        p = predictions(record, "test", how)
        found = multilabel.weighted_scores(
            *multilabel.validate(p.labels, p.probabilities),
            weights(p.keys, songs, replicates),
            metrics=metrics,
            threshold=value_of(threshold(record, how, choice, by=by)),
        )
        averages.append(found[0])
        per_class.append(found[1])
    return (
        {name: np.stack([a[name] for a in averages]) for name in metrics},
        {name: np.stack([c[f"{name}_unmasked"] for c in per_class]) for name in ("precision", "recall", "f1")},
    )


def estimate(
    values: np.ndarray,
    *,
    chance: float | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """The mean of a score over seeds with its interval.

    Parameters
    ----------
    values : np.ndarray, shape (seeds, 1 + replicates)
        First in each row that of the excerpts as they are.
    chance
        What someone gets who does not listen.
    level
        Of the basic bootstrap interval over seeds and songs together; with one seed over songs alone.
    bounds
        Lowest and highest possible value.

    Returns
    -------
    Estimate
        Undefined where the first value of a seed is NaN.
    """
    if np.isnan(values[:, 0]).any():
        return Estimate(None, None, None, chance)
    found = Replicates(values[:, 0], values[:, 1:])
    ends = uncertainty.interval(found.score, joint(found), level, bounds=bounds) or (None, None)
    return Estimate(found.score, *ends, chance)


def ends(name: str, of: Estimate | None) -> dict[str, float | None]:
    """The three columns of one estimate in a table's frame.

    Parameters
    ----------
    name
        Of the first.
    of
        The estimate; None for an undefined one.

    Returns
    -------
    dict of str to float or None
        Value, lower and upper end.
    """
    of = of or Estimate(None, None, None)
    return {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}


def provenance(study: Study, records: Sequence[Record]) -> Provenance:
    """What scores of test excerpts stand on.

    Parameters
    ----------
    study, records
        The study, and its trials.

    Returns
    -------
    Provenance
        In excerpts.
    """
    return replace(estimates.provenance(study, records, "test"), unit="excerpts")


def found_conditions(study: Study, records: Sequence[Record]) -> list[str]:
    """Conditions that have a record, in the study's order.

    Parameters
    ----------
    study, records
        The study, and any of its trials.

    Returns
    -------
    list of str
        Names.
    """
    present = {r.condition for r in records}
    return [c.name for c in study.conditions if c.name in present]


def of_condition(records: Sequence[Record], condition: str) -> list[Record]:
    """Trials under a condition.

    Parameters
    ----------
    records
        Any.
    condition
        By name.

    Returns
    -------
    list of Record
        In the order of their seeds.
    """
    return sorted((r for r in records if r.condition == condition), key=lambda r: r.seed)
