"""Whether trials that ran again lost more than another training would.

Where nothing is broken, a training in another environment is one more draw of the same trainings. How far two draws lie
apart is told by the kept seeds alone, never by the losses under test, which a regression would spread as well. The loss
of an arm is the mean over `S` seeds of kept less now, each pair on the same clips, and has the variance ``2 s²/S``,
where ``s²`` is that between the arm's kept seeds. The error of the clips is not in it: both sides answer for the same
ones, and the question is whether trainings changed, not what other clips would say. Where all seeds share their test
clips, ``s²`` is that of trainings alone. Where each seed has a split of its own, it also holds what splits change,
which a pair has in common: alarms are then rarer, and losses must be larger, than with ``s²`` of trainings alone.

Few seeds hardly tell ``s²``, so it is pooled over the arms of a study, with the degrees of freedom that Satterthwaite
(1946) gives where they differ. An arm's own is taken where it is larger; where an F test, corrected for the number of
arms, says that it varies more than the others, its own degrees of freedom are taken as well.

Two scores are tested. The study's main score falls where networks get worse. A score at a threshold cannot fall where
it is 0 already, so beside it stands, where three kept seeds or more share their clips, the `agreement` of today's
predictions with the kept ones, which needs neither labels nor threshold; it should be that of two kept seeds. The pairs
of `S` seeds vary by ``a + a' + e`` (two trainings, and the pair): their variance is at least that of a training and a
pair, so ``2 s²`` holds that of a new pair, and no more than S - 1 degrees of freedom are claimed.

The mean over all arms is tested, too: what is lost everywhere shows there long before it shows in one arm. Each study
on a corpus has an equal part of the stated probability of a false alarm; within a study all its tests, of arms and of
the mean, on both scores, are one family, by Holm (1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from harness.metrics import comparison

AGREEMENT = "agreement"
#: What stands for all arms of a study.
TOGETHER = "mean of all arms"
#: Chance of any alarm in a clean run is one minus this; and of finding the loss that is called detectable.
LEVEL, POWER = 0.99, 0.8
#: Chance that the F test takes no arm for one that varies more, if all vary alike.
ALIKE = 0.95


@dataclass(frozen=True)
class Scores:
    """One score of an arm.

    Parameters
    ----------
    kept : np.ndarray [shape=(k,)]
        What tells how far trainings lie apart: of all kept seeds, or of their pairs.
    degrees
        Degrees of freedom of its variance; 0 where it has none.
    before, now
        Of the seeds that ran again; none where the arm is not under test.
    floor
        What it would be without any skill.
    lower_is_better
        Whether to rise is to lose.
    """

    kept: np.ndarray
    degrees: int
    before: Sequence[float] = ()
    now: Sequence[float] = ()
    floor: float = 0.0
    lower_is_better: bool = False


@dataclass(frozen=True)
class Loss:
    """How much an arm lost of one score.

    Parameters
    ----------
    metric
        The score.
    before, now
        Mean over the seeds that were compared.
    loss
        How much worse it is now.
    error, degrees
        Its standard error were nothing broken, and the degrees of freedom of that.
    room
        How much it could lose until no skill is left.
    p_value
        Of the one-sided test; after `judge`, corrected for their number.
    detectable
        After `judge`: the loss that is found with probability `POWER`.
    """

    metric: str
    before: float
    now: float
    loss: float
    error: float
    degrees: float
    room: float
    p_value: float
    detectable: float | None = None

    @property
    def blind(self) -> bool:
        """Whether it could lose all skill and would hardly be found."""
        return self.detectable is not None and self.detectable >= self.room


class Spread(NamedTuple):
    """A variance from one training to the next, and its degrees of freedom."""

    variance: float
    degrees: float


def agreement(left: np.ndarray, right: np.ndarray) -> float:
    """How alike two trials rank the clips.

    Parameters
    ----------
    left, right : np.ndarray [shape=(n, c)]
        Their probabilities on the same clips.

    Returns
    -------
    float
        Spearman's rank correlation over clips, mean over classes; those in which either is constant are left out. NaN
        where all are.

    Examples
    --------
    >>> rising, falling = np.array([[0.1], [0.2], [0.9]]), np.array([[0.8], [0.5], [0.4]])
    >>> round(agreement(rising, rising**2), 6), round(agreement(rising, falling), 6)
    (1.0, -1.0)
    """
    left, right = (ranks - ranks.mean(axis=0) for ranks in (stats.rankdata(side, axis=0) for side in (left, right)))
    norm = np.sqrt((left**2).sum(axis=0) * (right**2).sum(axis=0))
    defined = norm > 0
    return float(np.mean((left * right).sum(axis=0)[defined] / norm[defined])) if defined.any() else np.nan


def losses(metric: str, arms: Mapping[str, Scores]) -> dict[str, Loss]:
    """Test one score of the arms of a study.

    Parameters
    ----------
    metric
        Its name.
    arms
        By label, those that are not under test as well: their kept seeds tell the spread.

    Returns
    -------
    dict of str to Loss
        By label, of the arms under test whose score is defined; and, where there are two of them or more, `TOGETHER`.
        None where no arm's kept seeds vary, for then nothing is known of training.
    """
    spreads = {
        label: Spread(float(np.var(of_arm.kept, ddof=1)), of_arm.degrees)
        for label, of_arm in arms.items()
        if of_arm.degrees and np.isfinite(of_arm.kept).all()
    }
    common = _pooled(list(spreads.values()))
    if not common.variance:
        return {}
    found, counts = {}, []
    for label, of_arm in arms.items():
        if len(of_arm.now) and np.isfinite([*of_arm.before, *of_arm.now]).all():
            spread = _spread_of(label, spreads, common)
            sign = -1 if of_arm.lower_is_better else 1
            before, now = float(np.mean(of_arm.before)), float(np.mean(of_arm.now))
            room = sign * (before - of_arm.floor)
            found[label] = _loss(metric, before, now, sign, 2 * spread.variance / len(of_arm.now), spread.degrees, room)
            counts.append(len(of_arm.now))
    if len(found) > 1:
        # The variance of the mean needs the mean of the arms' variances alone, however different they are.
        variance = 2 * common.variance * float(np.mean(1 / np.array(counts))) / len(found)
        mean = {name: float(np.mean([getattr(f, name) for f in found.values()])) for name in ("before", "now", "room")}
        found[TOGETHER] = _loss(metric, mean["before"], mean["now"], sign, variance, common.degrees, mean["room"])
    return found


def _loss(metric: str, before: float, now: float, sign: int, variance: float, degrees: float, room: float) -> Loss:
    loss, error = sign * (before - now), float(np.sqrt(variance))
    return Loss(metric, before, now, loss, error, degrees, room, float(stats.t.sf(loss / error, degrees)))


def _pooled(spreads: Sequence[Spread]) -> Spread:
    """One variance of several arms; no degrees of freedom where there is none."""
    variances, degrees = (np.array([spread[n] for spread in spreads], float) for n in (0, 1))
    squares = float((degrees * variances).sum())
    if not squares:
        return Spread(0.0, float(degrees.sum()))
    # s⁴ d/(d + 2) is the unbiased estimate of a squared variance.
    effective = squares**2 / float((degrees**2 * variances**2 / (degrees + 2)).sum())
    return Spread(squares / degrees.sum(), min(effective, float(degrees.sum())))


def _spread_of(label: str, spreads: Mapping[str, Spread], common: Spread) -> Spread:
    """What an arm is judged by: what all have in common, unless it varies more than the others."""
    if label not in spreads:
        return common
    own, others = spreads[label], _pooled([s for other, s in spreads.items() if other != label])
    tail = (1 - ALIKE) / len(spreads)
    if not others.degrees or own.variance > others.variance * stats.f.isf(tail, own.degrees, others.degrees):
        return own
    return Spread(max(common.variance, own.variance), common.degrees)


def judge(studies: Sequence[Sequence[Loss]], *, level: float = LEVEL) -> list[list[Loss]]:
    """Correct p values for the number of tests, and tell what would have been found.

    Parameters
    ----------
    studies
        For each study on a corpus all its losses.
    level
        Confidence: a clean run raises no alarm with this probability.

    Returns
    -------
    list of list of Loss
        In the same order; an alarm is a p value below ``1 - level``.
    """
    count = sum(map(bool, studies))
    result = []
    for of_study in studies:
        adjusted = np.minimum(1.0, comparison.holm([loss.p_value for loss in of_study]) * count)
        result.append(
            [
                replace(loss, p_value=float(p), detectable=detectable(loss, 1 - (1 - level) / (count * len(of_study))))
                for loss, p in zip(of_study, adjusted, strict=True)
            ]
        )
    return result


def detectable(loss: Loss, level: float, *, power: float = POWER) -> float:
    """The loss that one test finds with a given probability.

    Parameters
    ----------
    loss
        For its error and degrees of freedom.
    level
        Confidence of the test.
    power
        The probability.

    Returns
    -------
    float
        By the noncentral t distribution: with few degrees of freedom the error itself is uncertain.
    """
    bound = stats.t.ppf(level, loss.degrees)
    needed = brentq(lambda shift: stats.nct.sf(bound, loss.degrees, shift) - power, 0, 10 * (bound + 1))
    return float(needed * loss.error)
