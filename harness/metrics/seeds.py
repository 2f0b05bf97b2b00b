"""How sure a score is over training seeds and clips together.

Another seed would have given another network, and another sample of clips another score of the same network. The score
of an arm is the mean over its seeds; the variance of that is estimated as ``s²/S + c``:

- ``s²`` is the variance between the scores of the `S` seeds on the clips as they are. It holds what seeds change, and
  the part of the clips' error that is each seed's own.
- ``c`` is the part of the clips' error that all seeds share, which no number of seeds takes away: the mean covariance
  of two seeds' scores over resampled clips, the same clips for both.

The two do not overlap, whether seeds share one test part, have some clips in common, or none.

Drawing seeds with replacement, as one draws clips, fails with the three to five seeds one has: the variance comes out
too small by one part in `S`, and there are too few values for tails; intervals of three seeds called 95 % held the
truth 75 to 89 % of the time where seeds matter most, and 97 to 98 % where each seed errs on clips of its own, which is
then counted twice. So the deviation of the seeds is drawn from a normal distribution of variance ``s²/S``, and
since ``s²`` is itself hardly known, all deviations are stretched as Student's t has it. Its degrees of freedom are
``(S - 1) (s²/S + c) / (s²/S)``: S - 1 if the seeds make all of the error, the more the less they do. That lies between
Satterthwaite (1946), with whom 95 % intervals of three seeds cover 92 % at worst, and a convolution of Student's t with
the error of the clips, with which they cover 98 %. As it stands they cover 94 to 96 % with three seeds or more; with
two, 90 % at worst.

What it cannot see: seeds that are trained on much the same clips resemble each other for it, and what training on other
clips would have changed is in no test of theirs (Bengio and Grandvalet 2004).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2

from harness.metrics import multilabel, uncertainty

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Trial:
    """What one trial said of the clips that it is scored on.

    Parameters
    ----------
    labels, probabilities, mask : np.ndarray [shape=(n, c)]
        As for the ``evaluate`` of `multilabel` or `multiclass`.
    units : np.ndarray [shape=(n,)], optional
        For each row the name of what is drawn whole: the clip that a segment is of, the artist, song or note. Equal
        names in trials of several seeds mean the same. Default: each row by itself, the same in all trials.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    mask: np.ndarray | None = None
    units: np.ndarray | None = None


@dataclass(frozen=True)
class Replicates:
    """One score of an arm, or a difference between two, by seed: as it is, and for resampled clips.

    Parameters
    ----------
    scores : np.ndarray [shape=(seeds,)]
        On the clips as they are.
    drawn : np.ndarray [shape=(seeds, replicates)]
        On resampled clips, the same ones for all seeds in one column. A column with NaN counts for nothing.

    Raises
    ------
    ValueError
        The shapes do not fit each other.
    """

    scores: np.ndarray
    drawn: np.ndarray

    def __post_init__(self) -> None:
        if np.ndim(self.scores) != 1 or np.ndim(self.drawn) != 2 or len(self.drawn) != len(self.scores):
            raise ValueError(
                "replicates need one score and one row per seed, not the shapes "
                f"{np.shape(self.scores)} and {np.shape(self.drawn)}"
            )

    def __sub__(self, other: "Replicates") -> "Replicates":
        """Seed by seed and draw by draw."""
        if self.drawn.shape != other.drawn.shape:
            raise ValueError(
                "a difference needs the same seeds and draws on both sides, "
                f"not the shapes {self.drawn.shape} and {other.drawn.shape}"
            )
        return Replicates(self.scores - other.scores, self.drawn - other.drawn)

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.scores)

    @property
    def score(self) -> float:
        """Mean over the seeds; NaN where one is undefined."""
        return float(np.mean(self.scores))

    @property
    def seed_variance(self) -> float:
        """Variance between the seeds; NaN where there is one."""
        return float(np.var(self.scores, ddof=1)) if self.seeds > 1 else np.nan

    @property
    def clip_variance(self) -> float:
        """Variance of the clips' error as far as all seeds share it; with one seed, of all of it."""
        drawn = self._complete()
        own = np.var(drawn, axis=1, ddof=1)
        if self.seeds == 1:
            return float(own[0])
        shared = np.var(drawn.sum(axis=0), ddof=1) - own.sum()
        return max(0.0, float(shared / (self.seeds * (self.seeds - 1))))

    def variance(self, seeds: int | None = None) -> tuple[float, float]:
        """Variance of the mean over seeds, and the degrees of freedom that it is known by.

        Parameters
        ----------
        seeds
            Of how many the mean would be; default: as many as there are.

        Returns
        -------
        variance, degrees_of_freedom : float
            The degrees are infinite where the seeds do not vary or there is one, which tells nothing of others.
        """
        seeds = self.seeds if seeds is None else seeds
        of_seeds = self.seed_variance / seeds if self.seeds > 1 else 0.0
        total = of_seeds + self.clip_variance
        return total, (seeds - 1) * total / of_seeds if of_seeds > 0 else np.inf

    def _complete(self) -> np.ndarray:
        """The draws in which the score is defined for all seeds."""
        return self.drawn[:, ~np.isnan(self.drawn).any(axis=0)]


def distributions(
    trials: Sequence[Trial],
    *,
    metrics: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    threshold: float = 0.5,
    scoring: ModuleType = multilabel,
) -> dict[str, Replicates]:
    """Scores of an arm's trials, the same units resampled for all.

    Units are drawn from all that any trial was scored on; one that is drawn counts in every trial that has it.

    Parameters
    ----------
    trials
        One per seed; at least one.
    metrics, replicates, seed, threshold, scoring
        As for `uncertainty.distribution`.

    Returns
    -------
    dict of str to Replicates
        One entry per metric. Two calls with the same units and seed draw the same.

    Raises
    ------
    ValueError
        As `uncertainty.distribution`; or there is no trial.
    """
    if not trials or replicates < 1:
        raise ValueError(f"nothing to resample: {len(trials)} trials, {replicates} replicates")
    metrics = scoring.METRICS if metrics is None else metrics
    arrays = [scoring.validate(trial.labels, trial.probabilities, trial.mask) for trial in trials]
    pool, places = pooled_units(trials)
    rows: list[list[dict[str, np.ndarray]]] = [[] for _ in trials]
    for drawn in uncertainty.resample(pool, replicates, seed):
        for row, case, place in zip(rows, arrays, places, strict=True):
            scored = scoring.weighted_scores(*case, drawn[:, place], metrics=metrics, threshold=threshold)
            row.append(scored[0])
    plain = [
        scoring.weighted_scores(*case, np.ones((1, len(case[0]))), metrics=metrics, threshold=threshold)[0]
        for case in arrays
    ]
    return {
        name: Replicates(
            np.array([scores[name][0] for scores in plain]),
            np.stack([np.concatenate([part[name] for part in row]) for row in rows]),
        )
        for name in metrics
    }


def pooled_units(trials: Sequence[Trial]) -> tuple[int, list[np.ndarray]]:
    """Number the units of several trials.

    Parameters
    ----------
    trials
        At least one.

    Returns
    -------
    units : int
        How many different ones there are.
    places : list of np.ndarray [shape=(n,)]
        For each trial the number of each row's unit, in the order of the names.
    """
    names = [np.arange(len(t.labels)) if t.units is None else np.asarray(t.units) for t in trials]
    pool, places = np.unique(np.concatenate(names), return_inverse=True)
    return len(pool), np.split(places, np.cumsum([len(of_trial) for of_trial in names])[:-1])


def joint(replicates: Replicates, *, seed: int = 0) -> np.ndarray:
    """Replicates of the mean over seeds, in which seeds vary as well as clips.

    Parameters
    ----------
    replicates
        Of one arm, or of a difference.
    seed
        Of the deviations of the seeds.

    Returns
    -------
    np.ndarray [shape=(replicates,)]
        To be used as those of clips alone, by `uncertainty.interval` for instance; fewer where draws are undefined.
        With one seed they are those of clips alone.

    Notes
    -----
    The bias of resampled clips is kept as it is, so that the basic interval takes it away.
    """
    drawn = replicates._complete()
    if replicates.seeds == 1 or drawn.shape[1] < 2:
        return drawn.mean(axis=0)
    generator, count = np.random.default_rng(seed), drawn.shape[1]
    _, degrees = replicates.variance()
    mean = drawn.mean(axis=0)
    centre, spread = mean.mean(), mean.std(ddof=1)
    # The mean over seeds also holds each seed's own error of the clips, which the variance between seeds has already.
    of_clips = (mean - centre) * (np.sqrt(replicates.clip_variance) / spread if spread > 0 else 0.0)
    # Evenly spread pairs of probabilities (a lattice by the golden ratio) in random order, not random pairs: the tails
    # of few degrees of freedom would be rough otherwise.
    place = generator.permutation(count)
    of_seeds = np.sqrt(replicates.seed_variance / replicates.seeds) * ndtri((place + 0.5) / count)
    stretch = 1.0 if np.isinf(degrees) else np.sqrt(degrees / chi2.ppf((place + 0.5) * GOLDEN % 1, degrees))
    return centre + (of_clips + of_seeds) * stretch


def probability(score: float, values: np.ndarray, bound: float = 0.0) -> float:
    """How probable it is that a score, or a difference of scores, exceeds a bound.

    Parameters
    ----------
    score
        As it is.
    values : np.ndarray [shape=(replicates,)]
        For instance from `joint`; NaN are left out.
    bound
        To be exceeded.

    Returns
    -------
    float
        Share of the replicates above the bound once they are turned around the score, as the basic interval turns
        them; those at the bound count half. NaN where undefined.
    """
    turned = 2 * score - values[~np.isnan(values)]
    return float(np.mean((np.sign(turned - bound) + 1) / 2)) if len(turned) else np.nan
