"""Whether a published value was replicated: two one-sided tests against a margin.

A value is replicated if ours differs from it by less than a margin that was set beforehand. Both "too low" and "too
high" must be rejected, each at ``1 - level``; that is so if the interval of confidence ``1 - 2 (1 - level)`` lies
within the margins (Schuirmann 1987): at a level of 95 % that of 90 %. If all of it lies outside, the value was not
replicated; otherwise our trials do not tell. An interval that merely holds the published value proves nothing: the
fewer the seeds and clips, the more values it holds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from harness.metrics import uncertainty
from harness.metrics.seeds import Replicates, joint

REPLICATED, NOT_REPLICATED, INCONCLUSIVE = "replicated", "not replicated", "inconclusive"


@dataclass(frozen=True)
class Equivalence:
    """What our trials say of a published value.

    Parameters
    ----------
    verdict
        `REPLICATED`, `NOT_REPLICATED` or `INCONCLUSIVE`.
    low, high
        Ends of the interval that decided.
    """

    verdict: str
    low: float
    high: float


def equivalence(
    score: float | None,
    values: np.ndarray,
    published: float,
    margin: float,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Equivalence | None:
    """Judge a published value.

    Parameters
    ----------
    score
        Ours.
    values : np.ndarray [shape=(replicates,)]
        Ours resampled: of seeds and clips (`harness.metrics.seeds.joint`).
    published
        As the paper has it.
    margin
        How far ours may be from it.
    level
        Confidence of each of the two tests.
    bounds
        Lowest and highest possible score.

    Returns
    -------
    Equivalence or None
        None where our score is undefined.

    Raises
    ------
    ValueError
        The margin is not positive, or the level not between 0.5 and 1.

    Examples
    --------
    >>> draws = np.linspace(0.60, 0.64, 1001)
    >>> equivalence(0.62, draws, 0.6104, 0.05).verdict, equivalence(0.62, draws, 0.6104, 0.02).verdict
    ('replicated', 'inconclusive')
    """
    _check(margin, level)
    ends = uncertainty.interval(score, values, 2 * level - 1, bounds=bounds)
    return None if ends is None else Equivalence(_verdict(*ends, published, margin), *ends)


def seeds_needed(
    replicates: Replicates,
    published: float,
    margin: float,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
    most: int = 1000,
) -> int | None:
    """How many more seeds would settle it, if the mean and the spread stay what they are.

    Parameters
    ----------
    replicates
        Ours.
    published, margin, level, bounds
        As for `equivalence`.
    most
        More seeds than that, in all, are not considered.

    Returns
    -------
    int or None
        0 where it is settled; None where no number of seeds is enough, because it is the clips that are too few, and
        where our score is undefined. A plan: its intervals are symmetric about the mean, as those of more seeds are
        not known better.

    Raises
    ------
    ValueError
        As `equivalence`; or there are fewer than two seeds, so that nothing is known of their spread.
    """
    _check(margin, level)
    if replicates.seeds < 2:
        raise ValueError("how many more seeds are needed cannot be told from one: run at least two")
    now = equivalence(replicates.score, joint(replicates), published, margin, level=level, bounds=bounds)
    if now is None or now.verdict != INCONCLUSIVE:
        return None if now is None else 0
    for seeds in range(replicates.seeds + 1, most + 1):
        variance, degrees = replicates.variance(seeds)
        half = t.ppf(level, degrees) * np.sqrt(variance)
        if _verdict(replicates.score - half, replicates.score + half, published, margin) != INCONCLUSIVE:
            return seeds - replicates.seeds
    return None


def _verdict(low: float, high: float, published: float, margin: float) -> str:
    """Where the interval lies."""
    if published - margin <= low and high <= published + margin:
        return REPLICATED
    return NOT_REPLICATED if high < published - margin or low > published + margin else INCONCLUSIVE


def _check(margin: float, level: float) -> None:
    """Refuse what is no margin and no level."""
    if not margin > 0:
        raise ValueError(f"a margin is positive, not {margin}")
    if not 0.5 < level < 1:
        raise ValueError(f"the level of a one-sided test lies between 0.5 and 1, not at {level}")
