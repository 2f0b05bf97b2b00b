"""How sure a score is, over clips and over training seeds.

Of a score, or a difference of scores, that is the mean over `S` seeds, the error has two parts that do not overlap:

- ``c``, the error of the clips that all seeds share, which no number of seeds takes away: the covariance of two seeds'
  scores over resampled clips. With one seed it is all of the clips' error. The bootstrap and the jackknife each give
  one, and the larger is taken: where a class has three positives, either may be half of what it should be.
- ``s²/S``, where ``s²`` is the variance between seeds on the clips as they are. It holds what seeds change and the part
  of the clips' error that is each seed's own. Three seeds hardly tell a variance, so that it is moderated over the arms
  of a study (`moderate`): shrunk towards what the arms have in common, by as much as the arms are alike in it.

Few positives make a score wrong in the mean, too: a macro F1 too low, an average precision too high. The bootstrap
tells that bias, and it is taken off the centre of the interval, for average precision one and a half times
(`Metric.bias_factor`), since its bias falls more slowly than the number of clips grows, so that the bootstrap sees two
thirds of it. Three quarters of the bias are added to the standard error, for it is itself an estimate.

The interval is Student's t about that centre, for a score in [0, 1] on the scale of log odds, for a loss on that of
logarithms, so that it keeps within bounds and is as long on either side as it should be. Its standard error is never
below that of a count of two in as many positives as there are (`least_error`): clips that all agree are no proof.

Where there are fewer than `LEAST_POSITIVES` positives of a class on average, or fewer than `LEAST_UNITS` units, no
method that was tried holds its level, and none is given. What 95 % intervals cover was simulated for macro F1,
two-class F1, micro F1, mAP, accuracy and balanced accuracy (``benchmarks/simulations/analysis.md``).

What an interval cannot know: a seed that fails to learn now and then. If one training in five fails, three seeds show
none in half of the cases, and an interval of these covers what such trainings give in the mean in two cases of three.
How many seeds learnt anything is therefore told beside every mean (``seeds_trained`` in `harness.analysis.study`), with
the interquartile mean, which one failure among many does not move. Nor can it see what training on other clips would
have changed: seeds that are trained on much the same clips resemble each other for it (Bengio and Grandvalet 2004).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit, logit, polygamma
from scipy.stats import t as student

from harness.analysis.resampling import Resampled
from harness.metrics.tally import mean_of_defined

#: Positives of a class, on average, below which a mean over classes has no interval; positives of one class below which
#: its own score has none; and units below which nothing has.
LEAST_POSITIVES, LEAST_OF_CLASS, LEAST_UNITS = 2.0, 5, 10
#: Share of the bias that is added to the standard error.
BIAS_ERROR = 0.75
#: A variance that is smaller than this share of the largest is taken for none: such arms give the same every time.
NO_VARIANCE = 1e-9


@dataclass(frozen=True)
class Spread:
    """A variance between seeds, and the degrees of freedom that it is known by.

    Parameters
    ----------
    variance : np.ndarray [shape=(k,)]
        NaN where a single seed tells nothing of it.
    degrees : np.ndarray [shape=(k,)]
        Infinite where it is known.
    """

    variance: np.ndarray
    degrees: np.ndarray


@dataclass(frozen=True)
class Error:
    """A mean over seeds and how far it may be off.

    Parameters
    ----------
    value : np.ndarray [shape=(k,)]
        As it is.
    centre : np.ndarray [shape=(k,)]
        Without the bias of few positives.
    error : np.ndarray [shape=(k,)]
        Standard error of the centre.
    degrees : np.ndarray [shape=(k,)]
        Degrees of freedom of that.
    of_clips, of_seeds : np.ndarray [shape=(k,)]
        The variances that it is made of.
    """

    value: np.ndarray
    centre: np.ndarray
    error: np.ndarray
    degrees: np.ndarray
    of_clips: np.ndarray
    of_seeds: np.ndarray


def error_of(found: Resampled, spread: Spread | None = None, *, bias_factor: np.ndarray | float = 1.0) -> Error:
    """Mean over seeds, and its standard error over seeds and clips together.

    Parameters
    ----------
    found
        Of the seeds: a trial each.
    spread
        Between seeds; default: between these (`own_spread`). With one seed the error is of clips alone.
    bias_factor : float or np.ndarray [shape=(k,)]
        How many times the bootstrap's bias is taken off.

    Returns
    -------
    Error
        Of each of the k that were measured.
    """
    seeds = len(found.plain)
    spread = own_spread(found.plain) if spread is None else spread
    value = found.plain.mean(axis=0)
    with np.errstate(invalid="ignore"):
        bias = bias_factor * (of_draws(found.drawn).mean(axis=0) - value)
    both = [shared_variance(getattr(found, name), scale)[0] for name, scale in to_variances(found).items()]
    of_clips = np.maximum(0.0, np.maximum(*both))
    of_seeds = np.nan_to_num(spread.variance) / seeds if seeds > 1 else np.zeros_like(value)
    total = of_clips + of_seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = of_seeds**2 / spread.degrees + of_clips**2 / max(1, found.units - 1)
        satterthwaite = np.where(parts > 0, total**2 / parts, max(1, found.units - 1))
        # Of few seeds Satterthwaite's degrees are too many while the clips have a share; these lie below them.
        linear = np.where(of_seeds > 0, spread.degrees * total / of_seeds, np.inf)
    degrees = np.minimum(satterthwaite, linear)
    return Error(value, value - bias, np.sqrt(total + (BIAS_ERROR * bias) ** 2), degrees, of_clips, of_seeds)


def own_spread(plain: np.ndarray) -> Spread:
    """The variance between the seeds of one arm, (seeds, k), by itself."""
    seeds = len(plain)
    if seeds < 2:
        nothing = np.full(plain.shape[1], np.nan)
        return Spread(nothing, np.full(plain.shape[1], np.inf))
    return Spread(plain.var(axis=0, ddof=1), np.full(plain.shape[1], seeds - 1.0))


def moderate(variances: np.ndarray, degrees: np.ndarray) -> Spread:
    """Shrink the variances of several arms towards what they have in common.

    Parameters
    ----------
    variances, degrees : np.ndarray [shape=(arms,)]
        Each arm's variance between its seeds, and its degrees of freedom.

    Returns
    -------
    Spread
        One of each arm. Where the arms' variances differ no more than such few seeds make them, all are the pooled one
        with the sum of the degrees.

    Notes
    -----
    The empirical Bayes estimate of Smyth (2004), which is made for many small groups. Arms that do not vary at all do
    not tell what arms have in common, but are shrunk towards it as well, which makes their intervals too wide rather
    than too narrow.
    """
    variances, degrees = np.asarray(variances, float), np.asarray(degrees, float)
    moving = (degrees > 0) & (variances > NO_VARIANCE * np.nanmax(variances, initial=0.0)) & np.isfinite(variances)
    if not moving.any():
        return Spread(np.zeros(len(variances)), np.full(len(variances), np.inf))
    v, d = variances[moving], degrees[moving]
    pooled = float((d * v).sum() / d.sum())
    if moving.sum() < 2:  # arms of one seed are given what is known of the other
        return Spread(np.where(degrees > 0, np.nan_to_num(variances), pooled), np.full(len(variances), d.sum()))
    logs = np.log(v) - digamma(d / 2) + np.log(d / 2)
    expected = float(polygamma(1, d / 2).mean())
    excess = float(logs.var(ddof=1) - expected)
    # What so few arms that vary alike show by chance: two standard errors of the variance of logarithms.
    chance = 2 * np.sqrt(2 / (len(v) - 1) * expected**2 + float(polygamma(3, d / 2).mean()) / len(v))
    if excess <= chance:
        return Spread(np.full(len(variances), pooled), np.full(len(variances), float(degrees[degrees > 0].sum())))
    prior = 2 * _trigamma_inverse(excess)
    common = float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2)))
    own = np.where(degrees > 0, np.nan_to_num(variances), 0.0)
    # No more degrees are claimed than all arms together have.
    claimed = np.minimum(prior + degrees, degrees[degrees > 0].sum())
    return Spread((prior * common + degrees * own) / (prior + degrees), claimed)


def interval(
    centre: float,
    error: float,
    degrees: float,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
    value: float | None = None,
) -> tuple[float, float]:
    """Student's t interval that keeps within bounds.

    Parameters
    ----------
    centre, error, degrees
        As in `Error`; a centre within bounds that are 0 and 1 lies between them, see `within`.
    level
        Confidence.
    bounds
        Lowest and highest possible value. Between 0 and 1 it is symmetric in log odds, from 0 up without an end in
        logarithms, otherwise (a difference) as it is, cut at the bounds.
    value
        Where the error was measured, if not at the centre: there the scale of log odds is taken.

    Returns
    -------
    tuple of float
        Lower and upper end.

    Raises
    ------
    ValueError
        The level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not at {level}")
    reach = float(student.ppf((1 + level) / 2, degrees)) * error
    if bounds == (0.0, 1.0):
        steep = centre if value is None else value
        middle, half = logit(centre), reach / (steep * (1 - steep))
        return float(expit(middle - half)), float(expit(middle + half))
    if bounds[0] == 0.0 and np.isinf(bounds[1]):
        return float(centre * np.exp(-reach / centre)), float(centre * np.exp(reach / centre))
    return float(max(bounds[0], centre - reach)), float(min(bounds[1], centre + reach))


def within(centre: np.ndarray, positives: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """A centre that is no closer to its bounds than half a count in as many positives."""
    edge = 0.5 / np.maximum(positives, 1)
    return np.clip(centre, bounds[0] + edge, bounds[1] - edge)


def least_error(centre: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """The standard error of a score in [0, 1] that no clips can fall below: of a count of at most two."""
    positives = np.maximum(positives, 1)
    count = np.minimum(np.minimum(centre, 1 - centre) * positives, 2)
    return np.minimum(count, np.sqrt(count)) / positives


def of_draws(values: np.ndarray) -> np.ndarray:
    """Mean over the draws in which it is defined: (seeds, draws, k) to (seeds, k)."""
    return mean_of_defined(np.moveaxis(values, 1, -1))


def shared_variance(values: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """How far all seeds deviate together.

    Parameters
    ----------
    values : np.ndarray [shape=(seeds, draws, k)]
        By seed, of the bootstrap or of the jackknife.
    scale
        From a sum of squares over the draws to a variance.

    Returns
    -------
    variance : np.ndarray [shape=(k,)]
        The covariance between two seeds, which may come out below 0; of one seed its variance.
    mean : np.ndarray [shape=(draws, k)]
        Mean of the seeds, about its own mean.
    """
    centred = np.nan_to_num(values - of_draws(values)[:, None])
    seeds, mean = len(values), centred.mean(axis=0)
    own = scale * (centred**2).sum(axis=1)
    if seeds == 1:
        return own[0], mean
    together = scale * ((seeds * mean) ** 2).sum(axis=0)
    return (together - own.sum(axis=0)) / (seeds * (seeds - 1)), mean


def to_variances(found: Resampled) -> dict[str, float]:
    """From sums of squares to variances, of the bootstrap's draws and of the jackknife's."""
    draws, blocks = found.drawn.shape[1], found.left_out.shape[1]
    return {"drawn": 1 / max(1, draws - 1), "left_out": (blocks - 1) / max(1, blocks)}


def _trigamma_inverse(x: float) -> float:
    """Where the trigamma function is `x`, by Newton's method as in Smyth (2004, appendix)."""
    if x > 1e7:
        return 1 / np.sqrt(x)
    if x < 1e-6:
        return 1 / x
    y = 0.5 + 1 / x
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / x) / float(polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y
