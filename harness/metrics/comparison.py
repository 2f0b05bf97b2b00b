"""Whether one arm is better than another, and which of many cannot be told apart.

Two arms, same clips
    `compare`: the difference with its interval over seeds and clips together, and the p value of `permutation_test`.
Many arms, few seeds (a ranked table of a study)
    `told_apart`: all pairs by the error of their difference over seeds and clips together, Holm-corrected.
Many arms, measured on blocks (groups, classes, corpora, or seeds alone)
    `rank`: Friedman's test, then Holm-corrected paired tests, or Nemenyi's critical difference. With few blocks the
    former, for which differences must be about normal: on ranks, five blocks can hardly ever tell two arms apart. With
    ten blocks or more, and scores on different scales, the latter (Demšar 2006), which looks at ranks alone; but there
    whether two arms differ also hangs on the other arms (Benavoli et al. 2016).

`tie_groups` and `letters` turn either into what stands beside a ranked table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters
from types import ModuleType

import numpy as np
from scipy.special import ndtri
from scipy.stats import friedmanchisquare, rankdata, studentized_range, t, ttest_1samp

from harness.metrics import multilabel, uncertainty
from harness.metrics.seeds import Replicates, Trial, distributions, joint, pooled_units

#: Differences that are closer than this are the same: sums of the same numbers in another order.
SAME = 1e-12


@dataclass(frozen=True)
class Comparison:
    """One arm beside another on the same clips.

    Parameters
    ----------
    difference
        Ours minus theirs, mean over the seeds; None where undefined, as are the others.
    low, high
        Ends of the interval over seeds and clips together; with one seed over clips alone.
    p_value
        Of the permutation test.
    units
        How many swap for themselves: clips or groups.
    null : np.ndarray [shape=(permutations,)]
        Differences under swapped predictions.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    units: int
    null: np.ndarray


def compare(
    ours: Sequence[Trial],
    theirs: Sequence[Trial],
    metric: str,
    *,
    alternative: str = "two-sided",
    replicates: int = 1000,
    permutations: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    threshold: float = 0.5,
    scoring: ModuleType = multilabel,
) -> Comparison:
    """Compare two arms that were scored on the same clips.

    Parameters
    ----------
    ours, theirs, metric, alternative, permutations, threshold, scoring
        As for `permutation_test`.
    replicates, level
        Of the interval.
    seed
        Of all draws.

    Returns
    -------
    Comparison
        The difference, its interval, and the p value.

    Raises
    ------
    ValueError
        As `permutation_test`, or as `distributions`.
    """
    _check_pairs(ours, theirs)
    drawn = {"metrics": [metric], "replicates": replicates, "seed": seed, "threshold": threshold, "scoring": scoring}
    both = distributions(ours, **drawn)[metric] - distributions(theirs, **drawn)[metric]
    most = uncertainty.bounds(metric)[1]
    ends = uncertainty.interval(both.score, joint(both, seed=seed), level, bounds=(-most, most))
    units, _ = pooled_units(ours)
    if ends is None:
        return Comparison(None, None, None, None, units, np.array([]))
    asked = {"alternative": alternative, "permutations": permutations, "seed": seed}
    p_value, null = permutation_test(ours, theirs, metric, threshold=threshold, scoring=scoring, **asked)
    return Comparison(both.score, *ends, p_value, units, null)


def permutation_test(
    ours: Sequence[Trial],
    theirs: Sequence[Trial],
    metric: str,
    *,
    alternative: str = "two-sided",
    permutations: int = 2000,
    seed: int = 0,
    threshold: float = 0.5,
    scoring: ModuleType = multilabel,
) -> tuple[float, np.ndarray]:
    """Test whether two arms could have swapped their predictions.

    They swap those of each unit (clip, group) with probability one half, for all its rows and all seeds at once, and
    the difference of the mean scores is taken again. For a score that is a mean over clips, such as accuracy, that is
    to flip the sign of each unit's contribution. The test speaks of the networks as they were trained, not of other
    seeds.

    Parameters
    ----------
    ours, theirs
        One trial per seed on each side, in the same order: those of a pair have the same rows, labels and units.
    metric
        Name out of the ``METRICS`` of `scoring`.
    alternative
        ``"two-sided"``; ``"less"``: whether ours is lower than theirs; ``"greater"``: whether it is higher.
    permutations
        How many swaps are drawn; where there are no more different ones, each is made once and the p value is exact.
    seed
        Of the draws.
    threshold, scoring
        As for `uncertainty.distribution`.

    Returns
    -------
    p_value : float
        Share of swaps whose difference is at least as far out, counting the one that was observed (Phipson and Smyth
        2010).
    null : np.ndarray [shape=(permutations,)]
        Differences under swapped predictions, without the undefined ones.

    Raises
    ------
    ValueError
        The two sides were not scored on the same clips, or the alternative is unknown.
    """
    if alternative not in ("two-sided", "less", "greater"):
        raise ValueError(f"there is no alternative '{alternative}'; choose from two-sided, less, greater")
    _check_pairs(ours, theirs)
    units, places = pooled_units(ours)
    pairs = list(zip(ours, theirs, places, strict=True))
    exact = 2**units <= permutations
    step = max(1, uncertainty.CHUNK // (2 * max(map(len, places))))
    null = np.concatenate(
        [
            np.mean([_swapped(*pair, swaps[:, place], metric, threshold, scoring) for *pair, place in pairs], axis=0)
            for swaps in _swaps(units, None if exact else permutations, seed, step)
        ]
    )
    null = null[~np.isnan(null)]
    unswapped = [
        _swapped(*pair, np.zeros((1, len(place)), bool), metric, threshold, scoring)[0] for *pair, place in pairs
    ]
    score = np.mean(unswapped)
    far = {"two-sided": abs(null) >= abs(score) - SAME, "less": null <= score + SAME, "greater": null >= score - SAME}
    count = np.count_nonzero(far[alternative])
    return float(count / len(null) if exact else (count + 1) / (len(null) + 1)), null


def detectable(comparison: Comparison, *, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true drop that the one-sided permutation test finds with a given power.

    Parameters
    ----------
    comparison
        Tells how far swapped predictions scatter, and over how many units.
    level
        Confidence of the test.
    power
        How often it must find the drop.

    Returns
    -------
    float
        In points of the score, positive. By the normal distribution; the drop is taken to come from units that lose
        all that they give to the score, which widens the scatter by the drop over the number of units. Without that,
        two arms that agree on every clip would seem to reveal any drop, but no test rejects at 95 % before five units
        have fallen.
    """
    both, variance = ndtri(level) + ndtri(power), comparison.null.var()
    of_units = both**2 / comparison.units
    return float((of_units + np.sqrt(of_units**2 + 4 * both**2 * variance)) / 2)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Correct p values for their number (Holm 1979).

    Parameters
    ----------
    p_values
        Of several tests.

    Returns
    -------
    np.ndarray [shape=(tests,)]
        In the order given. To reject those below a level keeps the probability of even one false rejection below it.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)).clip(max=1)
    return adjusted


@dataclass(frozen=True)
class Ranking:
    """Many arms on the same blocks.

    Parameters
    ----------
    mean_ranks : np.ndarray [shape=(arms,)]
        1 is the best.
    p_value
        Of Friedman's test that no arm is better than another.
    critical_difference
        Of mean ranks, by Nemenyi; None with Holm's correction.
    different : np.ndarray [shape=(arms, arms), dtype=bool]
        Which pairs can be told apart. Both procedures hold their level without Friedman's test before them.
    """

    mean_ranks: np.ndarray
    p_value: float
    critical_difference: float | None
    different: np.ndarray


def rank(scores: np.ndarray, *, level: float = 0.95, posthoc: str = "holm", lower_is_better: bool = False) -> Ranking:
    """Rank many arms over blocks, and say which differ.

    Parameters
    ----------
    scores : np.ndarray [shape=(blocks, arms)]
        One row per seed, group, class or corpus: at least two, and at least three arms.
    level
        One minus the probability that any pair of equal arms is told apart.
    posthoc
        ``"holm"``: paired t tests of all pairs, Holm-corrected; ``"nemenyi"``: the critical difference of mean ranks.
    lower_is_better
        Whether the score is a loss.

    Returns
    -------
    Ranking
        In the order of the columns.

    Raises
    ------
    ValueError
        Too few blocks or arms, an undefined score, or an unknown procedure.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or scores.shape[0] < 2 or scores.shape[1] < 3:
        raise ValueError(f"a ranking needs at least 2 blocks of at least 3 arms, not the shape {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError("a ranking needs a score of every arm on every block, but some are undefined")
    if posthoc not in ("holm", "nemenyi"):
        raise ValueError(f"there is no procedure '{posthoc}'; choose from holm, nemenyi")
    blocks, arms = scores.shape
    mean_ranks = rankdata(scores if lower_is_better else -scores, axis=1).mean(axis=0)
    # Friedman's statistic is undefined where all arms are alike in all blocks.
    p_value = 1.0 if (scores == scores[:, :1]).all() else float(friedmanchisquare(*scores.T).pvalue)
    if posthoc == "nemenyi":
        quantile = studentized_range.ppf(level, arms, np.inf) / np.sqrt(2)
        critical = float(quantile * np.sqrt(arms * (arms + 1) / (6 * blocks)))
        return Ranking(mean_ranks, p_value, critical, abs(mean_ranks[:, None] - mean_ranks) > critical)
    pairs = list(combinations(range(arms), 2))
    p_values = [_paired_t(scores[:, i] - scores[:, j]) for i, j in pairs]
    return Ranking(mean_ranks, p_value, None, _matrix(arms, pairs, holm(p_values) <= 1 - level))


def told_apart(arms: Sequence[Replicates], *, level: float = 0.95) -> np.ndarray:
    """Which of many arms differ, seeds and clips together.

    Parameters
    ----------
    arms
        The same seeds and draws for all (`harness.metrics.seeds.distributions`).
    level
        One minus the probability that any pair of equal arms is told apart, over all pairs (Holm).

    Returns
    -------
    np.ndarray [shape=(arms, arms), dtype=bool]
        An arm whose score is undefined is told apart from none.
    """
    pairs = list(combinations(range(len(arms)), 2))
    p_values = []
    for i, j in pairs:
        both = arms[i] - arms[j]
        if np.isnan(both.score) or abs(both.score) <= SAME:
            p_values.append(1.0)
            continue
        variance, degrees = both.variance()
        p_values.append(2 * t.sf(abs(both.score) / np.sqrt(variance), degrees) if variance > 0 else 0.0)
    return _matrix(len(arms), pairs, holm(p_values) <= 1 - level)


def tie_groups(names: Sequence[str], different: np.ndarray) -> list[list[str]]:
    """Arms that cannot be told apart.

    Parameters
    ----------
    names
        Of the arms, best first.
    different : np.ndarray [shape=(arms, arms), dtype=bool]
        Which pairs can be told apart, in the same order.

    Returns
    -------
    list of list of str
        The largest groups in which no pair differs, by their best arms (Piepho 2004). An arm may be in several: of
        three, the first and the last can differ while neither differs from the middle one.

    Examples
    --------
    >>> tie_groups(["a", "b", "c"], np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], bool))
    [['a', 'b'], ['b', 'c']]
    """
    groups = [frozenset(range(len(names)))]
    for i, j in combinations(range(len(names)), 2):
        if different[i, j]:
            parts = {part for group in groups for part in ([group - {i}, group - {j}] if {i, j} <= group else [group])}
            groups = [part for part in parts if not any(part < other for other in parts)]
    return [[names[i] for i in group] for group in sorted(map(sorted, groups))]


def letters(names: Sequence[str], different: np.ndarray) -> dict[str, str]:
    """What stands beside each arm of a ranked table: arms that share a letter cannot be told apart.

    Parameters
    ----------
    names, different
        As for `tie_groups`.

    Returns
    -------
    dict of str to str
        For instance ``{"vggish": "a", "resnet": "ab", "forest": "b"}``.
    """
    groups = tie_groups(names, different)
    return {name: "".join(ascii_letters[k] for k, group in enumerate(groups) if name in group) for name in names}


def _check_pairs(ours: Sequence[Trial], theirs: Sequence[Trial]) -> None:
    """Refuse sides that were not scored on the same clips."""
    if len(ours) != len(theirs):
        raise ValueError(f"a paired comparison needs as many seeds on both sides, not {len(ours)} and {len(theirs)}")
    for number, pair in enumerate(zip(ours, theirs, strict=True)):
        for name in ("labels", "mask", "units"):
            one, other = (getattr(trial, name) for trial in pair)
            if (one is None) != (other is None) or not np.array_equal(one, other):
                raise ValueError(
                    f"a paired comparison needs the same {name} on both sides; those of pair {number} differ"
                )


def _swaps(units: int, permutations: int | None, seed: int, step: int) -> Iterator[np.ndarray]:
    """Which units swap their predictions, `step` swaps at a time; all ways there are if no number is given."""
    generator = np.random.default_rng([seed, 1])  # not the numbers that draw the clips
    for start in range(0, 2**units if permutations is None else permutations, step):
        if permutations is None:
            yield np.arange(start, min(start + step, 2**units))[:, None] >> np.arange(units) & 1 == 1
        else:
            yield generator.random((min(step, permutations - start), units)) < 0.5


def _swapped(
    ours: Trial, theirs: Trial, swaps: np.ndarray, metric: str, threshold: float, scoring: ModuleType
) -> np.ndarray:
    """Differences of one pair's scores after each swap: both sides' rows under each other, weighted by 0 or 1."""
    sides = [scoring.validate(trial.labels, trial.probabilities, trial.mask) for trial in (ours, theirs)]
    arrays = [np.concatenate(of_both) for of_both in zip(*sides, strict=True)]
    one, other = (
        scoring.weighted_scores(*arrays, np.hstack(weights), metrics=[metric], threshold=threshold)[0][metric]
        for weights in ((~swaps, swaps), (swaps, ~swaps))
    )
    return one - other


def _paired_t(differences: np.ndarray) -> float:
    """The p value of a t test of differences; those that do not vary at all are either nothing or certain."""
    if np.ptp(differences) <= SAME:
        return 1.0 if abs(differences[0]) <= SAME else 0.0
    return float(ttest_1samp(differences, 0).pvalue)


def _matrix(arms: int, pairs: Sequence[tuple[int, int]], rejected: np.ndarray) -> np.ndarray:
    """Pairs that differ, as a symmetric matrix."""
    different = np.zeros((arms, arms), dtype=bool)
    for (i, j), differ in zip(pairs, rejected, strict=True):
        different[i, j] = different[j, i] = differ
    return different
