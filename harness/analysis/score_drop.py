"""Whether trials that ran again are worse, or better, than another training of the same would be.

A kept trial and the same trial run again are a pair of networks on the same clips. If nothing is broken, they are two
draws of one training: another machine rounds otherwise, and training makes anything between nothing and another seed
out of that. So both nulls of a clean re-run, "as near as rounding leaves it" and "as far as another seed", must raise
no alarm. Four scores are compared, each for every class and for all classes together:

- `RANKING`: the correlation of a class's labels with the ranks of the clips by its probability. It is a linear
  function of the area under the ROC curve, knows no threshold, and falls where a class is mixed up.
- `ERROR`: the squared error of the probabilities against the labels, relative to that of always answering the class's
  share. It falls where probabilities are shifted, squeezed or given to the wrong class, and ranks may be as before.
- `CONSENSUS`: the correlation of the ranks with the mean ranks of all *other* kept networks on the same clips. It needs
  no label, so that it uses every clip and speaks of networks without skill as well.
- `AGREEMENT`: the rank correlation of today's predictions with the kept ones (as Fisher's z), which is to be no lower
  than that of two kept seeds. It needs three kept seeds on the same clips.

**The statistic** of the first three is a paired test on clips. The change of the score is a sum over clips, `D`, and
`V` is the sum of the squares of its terms. Clips alone would give it the variance `V`; but two trainings differ as
wholes, and every clip shares in that, so the variance is ``k V``. How many times more, `k`, is measured on the pairs of
kept seeds of an arm: it is their mean ``D² / V``. Pairs that share some of their clips only (splits drawn by seed) tell
it for these; it grows as ``1 + r n`` with the number of clips. `V` is that of the re-run, which is small where the
re-run is near, or `MARGIN` times that of the kept pairs, whichever is smaller: a fault cannot hide by scattering. Clips
of one song need no groups of their own, since `k` holds what they have in common. **The statistic** of the agreement is
its difference from the mean over kept pairs, with the variance ``2 s²`` of the pairs (the pairs of `S` seeds vary by
``a + a' + e``, two trainings and the pair; ``2 s²`` holds that of a new pair).

Both variances are pooled over arms and classes; an arm or a class that varies more than the others has its excess
added. **Assumptions**: given the clips, trainings of different arms and seeds are independent, so that their sums make
the tests of a class over all arms, and of the study; and what a re-run changes goes through its clips as what a seed
changes does, or less. Statistics are held against Student's t with the degrees of freedom of the pooled variance,
``sum(K - 1)`` over arms (of single classes a third of that for each class), never more than `MOST`.

**The family.** Tests are of four levels: the study, each class over all arms, each arm, and each class of each arm.
Each level has a quarter of the stated probability of a false alarm and is corrected by Holm (1979) over its tests and
scores; a fall and a rise have half each; several studies of one run share equally. So a clean run raises any alarm, of
whatever kind, with probability ``1 - LEVEL`` at most. `MOST` and `MARGIN` were set by measurement, with 40 clean runs,
as far as another seed, of each of three kept studies: any alarm in 2.5 % on average and 5 % at most with 16 and 1.5,
in 15 % and 30 % with 24 and 1; the same draws chose them. ``python benchmarks/simulations/guard.py`` measures all
studies and other clean runs (``guard.md`` beside it). One kind breaks the assumption: where each network moves as a
whole by a small step, which is neither rounding nor another seed, two of five studies raised an alarm in 4 of 15 runs.

**What would be seen** is said in one unit for all scores: the share of clips that, had they been given each other's
predictions, would raise the alarm with probability `POWER`. It is computed from what mixing all clips does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import rankdata

from harness.analysis.families import holm
from harness.metrics.tally import mean_of_defined
from harness.studies.records import Predictions

RANKING, ERROR, CONSENSUS, AGREEMENT = "ranking", "squared error", "consensus", "agreement"
#: By clips, in the order of `_changes`; the agreement is apart.
PAIRED = (RANKING, ERROR, CONSENSUS)
#: Scores that know the labels: only these can become better.
LABELLED = (RANKING, ERROR)
STUDY, CLASS, ARM, CELL = "study", "class", "arm", "class of an arm"
#: A clean run raises any alarm with probability one minus this; and what is called seen is seen with that.
LEVEL, POWER = 0.95, 0.8
#: Fewest clips that two seeds must share to tell how far trainings lie apart.
LEAST = 20
#: Most degrees of freedom of a test: arms and classes differ, so that tails are longer than a pooled variance says.
MOST = 16.0
#: How many times the squares of two kept seeds those of a re-run may count: few pairs tell them.
MARGIN = 1.5
#: Highest correlation that Fisher's z is taken of.
HIGHEST = 0.999
#: Arm and seed.
Place = tuple[str, int]


@dataclass(frozen=True)
class Drop:
    """One test.

    Parameters
    ----------
    level
        `STUDY`, `CLASS`, `ARM` or `CELL`.
    arm, name
        The arm, and the number of the class; "" and -1 where it is over all.
    score
        One of the four.
    change
        Now less kept, mean over trials; for all classes together, of the sum over classes.
    error, degrees
        Its standard error were nothing broken, and the degrees of freedom of that.
    mixed, mixed_error
        What it would change by if all clips had each other's predictions, and what standard error that adds.
    fall, rise
        One-sided p values; after `judge` corrected, so that below ``1 - level`` is an alarm.
    seen
        After `judge`: share of clips whose mixing-up would be seen; above 1 where not even that of all.
    """

    level: str
    arm: str
    name: int
    score: str
    change: float
    error: float
    degrees: float
    mixed: float
    mixed_error: float
    fall: float = 1.0
    rise: float = 1.0
    seen: float = np.inf


class _Side(NamedTuple):
    """Predictions of one network: probabilities, and standardised ranks among observed and among all clips."""

    probabilities: np.ndarray
    observed: np.ndarray
    ranks: np.ndarray


def _side(p: Predictions, rows: np.ndarray | slice = slice(None)) -> _Side:
    probabilities, mask = np.asarray(p.probabilities[rows], float), np.asarray(p.mask[rows], bool)
    everywhere = np.ones_like(mask)
    ranks = standardised(rankdata(probabilities, axis=0), everywhere)
    if mask.all():
        return _Side(probabilities, ranks, ranks)
    observed = rankdata(np.where(mask, probabilities, np.inf), axis=0)
    return _Side(probabilities, standardised(observed, mask), ranks)


def standardised(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1 where observed, and 0 elsewhere; a column that is constant becomes 0."""
    count = np.maximum(mask.sum(axis=0), 1)
    centred = np.where(mask, values - np.where(mask, values, 0).sum(axis=0) / count, 0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-9)


def _changes(
    p: Predictions, rows: np.ndarray | slice, before: _Side, now: _Side, consensus: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What each clip adds to the change of each score of each class: (n, c), positive where better."""
    labels, mask = np.asarray(p.labels[rows], float), np.asarray(p.mask[rows], bool)
    count = np.maximum(mask.sum(axis=0), 1)
    share = np.where(mask, labels, 0).sum(axis=0) / count
    usual = np.where(share * (1 - share) > 0, share * (1 - share), np.inf)
    errors = np.where(mask, (before.probabilities - labels) ** 2 - (now.probabilities - labels) ** 2, 0)
    found = {
        RANKING: standardised(labels, mask) * (now.observed - before.observed) / count,
        ERROR: errors / usual / count,
    }
    if consensus is not None:
        found[CONSENSUS] = consensus * (now.ranks - before.ranks) / len(labels)
    return found


def _with_all(values: np.ndarray) -> np.ndarray:
    """Sums over clips: of each class, and of all classes together as the last."""
    return np.append(values.sum(axis=0), values.sum())


def _squares(values: np.ndarray) -> np.ndarray:
    return np.append((values**2).sum(axis=0), (values.sum(axis=1) ** 2).sum())


class Kept:
    """Kept networks of a study on a corpus, and what they tell of how far two trainings lie apart.

    Parameters
    ----------
    predictions
        On one part, by arm and seed; trials need not share their clips.
    """

    def __init__(self, predictions: Mapping[Place, Predictions]):
        self.predictions = predictions
        self._sides = {place: _side(p) for place, p in predictions.items()}
        self._clips = {place: tuple(p.keys.tolist()) for place, p in predictions.items()}
        self._sums: dict[tuple[str, ...], tuple[int, np.ndarray]] = {}
        for place, clips in self._clips.items():
            count, total = self._sums.get(clips, (0, 0))
            self._sums[clips] = count + 1, total + self._sides[place].ranks
        self.arms: dict[str, list[Place]] = {}
        for place in predictions:
            self.arms.setdefault(place[0], []).append(place)
        self._spreads = {score: spread for score in (*PAIRED, AGREEMENT) if (spread := self._spread(score))}

    @property
    def known(self) -> bool:
        """Whether anything is known of how far trainings lie apart."""
        return bool(self._spreads)

    def _consensus(self, *without: Place, rows: np.ndarray | slice = slice(None)) -> np.ndarray | None:
        """Mean ranks of the other networks on the clips of the first of `without`, standardised; None if none."""
        clips = self._clips[without[0]]
        out = [self._sides[p].ranks for p in without if self._clips[p] == clips]
        count, total = self._sums[clips]
        if count <= len(out):
            return None
        others = (total - sum(out))[rows]
        return standardised(others, np.ones(others.shape, bool))

    @cached_property
    def _pairs(self) -> dict[str, list[dict[str, tuple[np.ndarray, np.ndarray]]]]:
        """By arm, of two seeds with clips in common: of each score ``(D²/V - 1) / n``, and `V` of all their clips."""
        found: dict[str, list[dict[str, tuple[np.ndarray, np.ndarray]]]] = {}
        for arm, places in self.arms.items():
            for a, b in combinations(places, 2):
                one, other = self.predictions[a], self.predictions[b]
                if self._clips[a] == self._clips[b]:
                    rows, whole, sides = slice(None), 1.0, (self._sides[a], self._sides[b])
                else:
                    _, rows, rows_b = np.intersect1d(one.keys, other.keys, return_indices=True)
                    if len(rows) < LEAST:
                        continue
                    whole = (len(one.keys) + len(other.keys)) / 2 / len(rows)
                    sides = (_side(one, rows), _side(other, rows_b))
                changes = _changes(one, rows, *sides, self._consensus(a, b, rows=rows))
                of_pair = {}
                for score, values in changes.items():
                    square = _squares(values)
                    ratio = np.divide(
                        _with_all(values) ** 2, square, out=np.full_like(square, np.nan), where=square > 0
                    )
                    of_pair[score] = ((ratio - 1) / len(values), square / whole)
                if whole == 1.0 and len(places) > 2:
                    z = _fisher(sides[0], sides[1])
                    of_pair[AGREEMENT] = (z, z)
                found.setdefault(arm, []).append(of_pair)
        return found

    def _spread(self, score: str) -> "_Spread | None":
        """How far trainings lie apart by one score."""
        of_arms = {arm: [p[score] for p in pairs if score in p] for arm, pairs in self._pairs.items()}
        of_arms = {arm: found for arm, found in of_arms.items() if len(found) > (score == AGREEMENT)}
        if not of_arms:
            return None
        first = {arm: np.array([f[0] for f in found]) for arm, found in of_arms.items()}
        if score == AGREEMENT:
            raw = {arm: np.var(values, axis=0, ddof=1) for arm, values in first.items()}
            level = {arm: values.mean(axis=0) for arm, values in first.items()}
        else:
            raw = {arm: _mean(values) for arm, values in first.items()}
            # Of a single class this varies so much that the mean over classes is the least.
            level = {arm: _mean(np.array([f[1] for f in found])) for arm, found in of_arms.items()}
            level = {arm: np.append(np.fmax(v[:-1], _mean(v[:-1])), v[-1]) for arm, v in level.items()}
        weights = np.array([len(self.arms[arm]) - 1 for arm in raw], float)
        if not np.nansum(np.abs(list(raw.values()))):
            return None  # no two seeds differ
        factors = _pooled(raw, weights)
        degrees, classes = weights.sum(), len(next(iter(raw.values()))) - 1
        return _Spread(factors, level, min(degrees, MOST), min(degrees * max(1.0, classes / 3), MOST))

    def tests(self, now: Mapping[Place, Predictions]) -> list[Drop]:
        """Compare trials that ran again with the kept ones.

        Parameters
        ----------
        now
            By arm and seed, on the clips of the kept ones.

        Returns
        -------
        list of Drop
            Of all levels, not corrected yet; empty where nothing is known of training.
        """
        totals: dict[str, dict[str, list[np.ndarray]]] = {score: {} for score in self._spreads}
        for place, p in now.items():
            kept, before, arm = self.predictions[place], self._sides[place], place[0]
            consensus, mask = self._consensus(place), np.asarray(kept.mask, bool)
            order = np.random.default_rng(len(mask)).permutation(len(mask))
            dealt = _Side(before.probabilities[order], standardised(before.ranks[order], mask), before.ranks[order])
            sides = _side(replace(kept, probabilities=p.probabilities)), dealt
            found, mixed = (_changes(kept, slice(None), before, side, consensus) for side in sides)
            for score, spread in self._spreads.items():
                if score in found:
                    factor, near = 1 + len(mask) * spread.factor(arm), _squares(found[score])
                    of_seeds = MARGIN * spread.levels.get(arm, np.zeros_like(near))
                    far = np.where(of_seeds > 0, of_seeds, near)
                    row = [_with_all(found[score]), factor * near, factor * far]
                    row += [_with_all(mixed[score]), _squares(mixed[score])]
                elif score == AGREEMENT and arm in spread.levels:
                    usual, variance = spread.levels[arm], 2 * spread.factor(arm)
                    z = [_fisher(before, side) - usual for side in sides]
                    row = [z[0], variance, variance, z[1], np.zeros_like(variance)]
                else:
                    continue
                totals[score].setdefault(arm, []).append(np.array(row))
        return [drop for score, of_arms in totals.items() if of_arms for drop in self._drops(score, of_arms)]

    def _drops(self, score: str, of_arms: Mapping[str, Sequence[np.ndarray]]) -> Iterable[Drop]:
        spread = self._spreads[score]
        every = [row for rows in of_arms.values() for row in rows]
        for arm, rows in {"": every, **of_arms}.items():
            total, count = np.sum(rows, axis=0), len(rows)
            for number in range(-1, total.shape[1] - 1):
                change, near, far, mixed, more = total[:, number]
                level = (CELL if arm else CLASS) if number >= 0 else (ARM if arm else STUDY)
                if (level, score) == (CELL, ERROR):
                    continue  # how far it varies differs from class to class of an arm by more than seeds can tell
                degrees = spread.degrees if number < 0 else spread.degrees_of_classes
                error = float(np.sqrt(min(near, far))) / count
                t = change / count / error if error > 0 else 0.0
                yield Drop(
                    level, arm, number, score, float(change / count), error, degrees,
                    float(mixed / count), float(np.sqrt(more)) / count,
                    float(stdtr(degrees, t)), float(stdtr(degrees, -t)),
                )  # fmt: skip


@dataclass(frozen=True)
class _Spread:
    """Of one score: by arm the factor of each class and of all together, and what it is a factor of."""

    factors: Mapping[str, np.ndarray]
    levels: Mapping[str, np.ndarray]
    degrees: float
    degrees_of_classes: float

    def factor(self, arm: str) -> np.ndarray:
        """Of arms of which nothing is known, what all have in common."""
        return self.factors.get(arm, self.factors[""])


def _pooled(of_arms: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """By arm: what all have in common, and the excess of an arm or a class over it; "" has no arm's own."""
    values = np.array(list(of_arms.values()))
    known = np.isfinite(values) * weights[:, None]
    of_columns = np.divide(
        (np.nan_to_num(values) * known).sum(axis=0), known.sum(axis=0),
        out=np.full(values.shape[1], np.nan), where=known.sum(axis=0) > 0,
    )  # fmt: skip
    common = max(0.0, float(_mean(of_columns[:-1])))
    by_class = np.fmax(0, of_columns[:-1] - common)
    whole = np.fmax(0.0, of_columns[-1])
    result = {"": np.append(common + by_class, whole)}
    for arm, own in of_arms.items():
        excess = np.fmax(0, _mean(own[:-1]) - common)
        result[arm] = np.append(common + by_class + excess, np.fmax(whole, own[-1]))
    return result


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of what is defined along the first axis."""
    return mean_of_defined(np.moveaxis(values, 0, -1))


def _fisher(left: _Side, right: _Side) -> np.ndarray:
    """Fisher's z of the agreement of each class, and their mean."""
    z = np.arctanh(np.clip((left.ranks * right.ranks).mean(axis=0), -HIGHEST, HIGHEST))
    return np.append(z, z.mean())


def judge(studies: Sequence[Sequence[Drop]], *, level: float = LEVEL) -> list[list[Drop]]:
    """Correct p values for the number of tests, and tell what would have been seen.

    Parameters
    ----------
    studies
        For each study on a corpus all its tests.
    level
        Confidence: a clean run raises no alarm with this probability.

    Returns
    -------
    list of list of Drop
        In the same order.
    """
    count = sum(map(bool, studies))
    result = []
    for tests in studies:
        done = list(tests)
        levels = dict.fromkeys(test.level for test in tests)
        for of_level in levels:
            places = [n for n, test in enumerate(tests) if test.level == of_level]
            times = 2 * len(levels) * count
            for tail, able in (("fall", (*PAIRED, AGREEMENT)), ("rise", LABELLED)):
                those = [n for n in places if tests[n].score in able]
                adjusted = np.minimum(1, holm([getattr(tests[n], tail) for n in those]) * times)
                for n, p in zip(those, adjusted, strict=True):
                    done[n] = replace(done[n], **{tail: float(p)})
            bound = (1 - level) / times / len(places)
            for n in places:
                rise = done[n].rise if tests[n].score in LABELLED else 1.0
                done[n] = replace(done[n], seen=_seen(tests[n], bound), rise=rise)
        result.append(done)
    return result


def _seen(drop: Drop, bound: float) -> float:
    """Share of mixed-up clips that is seen with probability `POWER`."""
    if not drop.mixed < 0:
        return np.inf
    if not drop.error > 0:
        return 0.0
    power = stdtrit(drop.degrees, POWER)
    # A share f changes the score by f mixed, and must reach what the test asks for; what mixing itself scatters, too,
    # f mixed_error², is of no matter for the test and of some for its power.
    least, scatter = (power - stdtrit(drop.degrees, bound)) * drop.error, power * drop.mixed_error
    root = (scatter + np.sqrt(scatter**2 + 4 * -drop.mixed * least)) / (2 * -drop.mixed)
    return float(root**2)
