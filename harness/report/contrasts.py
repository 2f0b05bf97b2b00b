"""Scores of arms, and differences between arms, over seeds and clips together: what claims are judged by.

Trials of one seed belong together, since they may share a split: a difference is taken seed by seed, of the seeds that
all its arms have, and clip by clip, of the same resampled clips. What seeds and clips then leave open is in
`harness.metrics.seeds`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from harness.metrics import comparison, uncertainty
from harness.metrics.multilabel import ratio
from harness.metrics.seeds import Replicates, Trial, joint
from harness.report import estimates
from harness.report.resampling import Draws, units_of
from harness.studies.records import KEPT, Predictions, Record, scoring
from harness.studies.study import Study


@dataclass(frozen=True)
class Side:
    """One side of a difference: the mean over these arms.

    Parameters
    ----------
    arms
        By name.
    classes
        The mean over these classes alone; all if empty.
    condition
        By name; the study's first if empty.
    """

    arms: tuple[str, ...]
    classes: tuple[str, ...] = ()
    condition: str = ""


@dataclass(frozen=True)
class Contrast:
    """A score, or a difference of two, of several seeds.

    Parameters
    ----------
    replicates
        By seed; None where it cannot be had.
    missing
        Why not.
    above, below
        Score of each side, mean over the seeds; None where there is none.
    records
        The trials that it rests on.
    bounds
        Lowest and highest possible value.
    """

    replicates: Replicates | None
    missing: str = ""
    above: float | None = None
    below: float | None = None
    records: tuple[Record, ...] = ()
    bounds: tuple[float, float] = (-np.inf, np.inf)
    _joint: list[np.ndarray] = field(default_factory=list, repr=False, compare=False)

    @property
    def draws(self) -> np.ndarray:
        """Replicates of the mean over seeds, in which seeds vary as well as clips, shape (replicates,)."""
        if not self._joint:
            self._joint.append(joint(self.replicates))
        return self._joint[0]

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Basic bootstrap interval over seeds and clips; None where undefined."""
        return uncertainty.interval(self.replicates.score, self.draws, level, bounds=self.bounds)


class Scores:
    """Scores of a study's trials on resampled clips, computed once.

    Parameters
    ----------
    study
        Theirs. What its clips are drawn by, if not by themselves, its ``checks.py`` says
        (`harness.studies.claims.checks`).
    records
        Its trials, of one corpus and profile.
    replicates
        Of the bootstrap.
    """

    def __init__(self, study: Study, records: Sequence[Record], *, replicates: int = 1000) -> None:
        self.study, self.records, self.replicates = study, list(records), replicates
        self.unit, self._units = units_of(study, records)
        self._draws: dict[tuple[str, frozenset[str]], Draws] = {}
        self._scored: dict[tuple[int, str, str, frozenset[str]], np.ndarray] = {}

    def contrast(self, above: Side, below: Side | None, metric: str, part: str = "test") -> Contrast:
        """One side, or the one minus the other.

        Parameters
        ----------
        above, below
            Sides.
        metric
            Out of the ``METRICS`` of the study's task; a mean over classes, where a side names some.
        part
            ``"valid"`` or ``"test"``.

        Returns
        -------
        Contrast
            Over the seeds that all arms have.
        """
        sides = [side for side in (above, below) if side is not None]
        found = self._trials(sides)
        if isinstance(found, str):
            return Contrast(None, found)
        trials, seeds = found
        classes = self.records[0].data["classes"]
        absent = [name for name in dict.fromkeys(chain(*(s.classes for s in sides))) if name not in classes]
        if absent:
            return Contrast(None, f"the corpus has no class {', '.join(absent)}")
        conditions = frozenset(self._condition(side) for side in sides)
        values = []
        for side in sides:
            columns = [classes.index(name) for name in side.classes] or slice(None)
            of_arms = []
            for arm in side.arms:
                of_seeds = trials[arm, self._condition(side)]
                scored = [self._scores(of_seeds[seed], metric, part, conditions) for seed in seeds]
                of_arms.append([_mean_over_classes(s[:, columns]) for s in scored])
            values.append(np.mean(of_arms, axis=0))
        rested = tuple(of_seed[seed] for of_seed in trials.values() for seed in seeds)
        result = _contrast(values, rested, uncertainty.bounds(metric))
        if result.replicates is None:
            named = ", ".join(dict.fromkeys(chain(*(s.classes for s in sides))))
            return Contrast(None, f"nobody was asked about {named}" if named else "nothing was observed")
        return result

    def permuted(self, above: Side, below: Side, metric: str, part: str = "test") -> float | None:
        """P value of the permutation test of two arms (`harness.metrics.comparison.permutation_test`), two-sided.

        Parameters
        ----------
        above, below, metric, part
            As for `contrast`.

        Returns
        -------
        float or None
            None where a side is several arms, the two are of different classes, or were not scored on the same clips.
        """
        found = self._trials((above, below))
        if isinstance(found, str) or len(above.arms) > 1 or len(below.arms) > 1 or above.classes != below.classes:
            return None
        trials, seeds = found
        names = self.records[0].data["classes"]
        columns = [names.index(name) for name in above.classes] or slice(None)
        record = next(iter(trials.values()))[seeds[0]]
        module, threshold = scoring(record.data), record.data["protocol"].get("threshold", 0.5)
        units = self._units

        def as_trial(p: Predictions) -> Trial:
            arrays = module.validate(p.labels, p.probabilities, p.mask)
            return Trial(*(array[:, columns] for array in arrays), units(p.keys))

        sides = [
            [as_trial(trials[side.arms[0], self._condition(side)][seed].predictions(part)) for seed in seeds]
            for side in (above, below)
        ]
        try:
            return comparison.permutation_test(*sides, metric, threshold=threshold, scoring=module)[0]
        except ValueError:
            return None

    def of_history(self, above: Side, below: Side | None, column: str, epochs: str) -> Contrast:
        """The same of a column of the trials' histories, over seeds alone.

        Parameters
        ----------
        above, below
            Sides.
        column
            Of the history.
        epochs
            ``"mean"`` over the epochs or the ``"last"``.

        Returns
        -------
        Contrast
            As `contrast`.
        """
        sides = [side for side in (above, below) if side is not None]
        found = self._trials(sides)
        if isinstance(found, str):
            return Contrast(None, found)
        trials, seeds = found

        def value(record: Record) -> float:
            history = record.history()
            if column not in history:
                return np.nan
            return float(history[column].mean() if epochs == "mean" else history[column].iloc[-1])

        values = [
            np.mean([[value(trials[arm, self._condition(s)][seed]) for seed in seeds] for arm in s.arms], axis=0)
            for s in sides
        ]
        repeated = [np.repeat(v[:, None], self.replicates + 1, axis=1) for v in values]
        rested = tuple(of_seed[seed] for of_seed in trials.values() for seed in seeds)
        result = _contrast(repeated, rested, (-np.inf, np.inf) if "loss" in column else (0.0, 1.0))
        return Contrast(None, f"no history of {column}") if result.replicates is None else result

    def _trials(self, sides: Sequence[Side]) -> tuple[dict[tuple[str, str], dict[int, Record]], list[int]] | str:
        """The trials of each arm and condition by seed, and the seeds that all have; or what is missing."""
        wanted = dict.fromkeys((arm, self._condition(side)) for side in sides for arm in side.arms)
        first = self.study.conditions[0].name
        trials = {key: {r.seed: r for r in estimates.select(self.records, *key)} for key in wanted}
        if missing := [f"{arm}@{c}" if c != first else arm for (arm, c), found in trials.items() if not found]:
            return f"no record of {', '.join(missing)}"
        seeds = sorted(set.intersection(*(set(found) for found in trials.values())))
        return (trials, seeds) if seeds else f"no seed that {', '.join(arm for arm, _ in wanted)} share"

    def _scores(self, record: Record, metric: str, part: str, conditions: frozenset[str]) -> np.ndarray:
        """Scores of the clips as they are, and of resampled ones, shape (1 + replicates, c).

        A column is a class, or, where the metric is no mean over classes, the only one is the metric.
        """
        key = (id(record), metric, part, conditions)
        if key not in self._scored:
            module, threshold = scoring(record.data), record.data["protocol"].get("threshold", 0.5)
            p = record.predictions(part)
            arrays = module.validate(p.labels, p.probabilities, p.mask)
            found = []
            draws = self._drawn(part, conditions).weights(p.keys)
            for weights in chain([np.ones((1, len(p.keys)))], draws):
                averages, per_class = module.weighted_scores(*arrays, weights, metrics=(metric,), threshold=threshold)
                of_classes = module.MEAN_OF.get(metric)
                found.append(per_class[of_classes] if of_classes else averages[metric][:, None])
            self._scored[key] = np.concatenate(found)
        return self._scored[key]

    def _drawn(self, part: str, conditions: frozenset[str]) -> Draws:
        """The draws of all trials under these conditions, so that all their differences are of the same clips."""
        key = (part, conditions)
        if key not in self._draws:
            sides = [
                [r.predictions(part).keys for r in found]
                for arm in self.study.arms
                for c in self.study.conditions
                if c.name in conditions and (found := estimates.select(self.records, arm.name, c.name))
            ]
            self._draws[key] = Draws(sides, self.replicates, self._units)
        return self._draws[key]

    def _condition(self, side: Side) -> str:
        return side.condition or self.study.conditions[0].name


def not_applicable(study: Study, records: Sequence[Record], part: str = "test") -> str:
    """Why a printed value cannot be judged by trials: they were not made as the printed one was.

    Parameters
    ----------
    study
        Theirs.
    records
        At least one.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    str
        Empty if it can be.
    """
    if all(r.data["corpus"].startswith("pocket-") for r in records):
        return "pocket corpus"
    if hidden := study.paper.get("unpublished"):
        return f"{hidden} are not public"
    departures = estimates.provenance(study, records, part).departures
    return f"not {', '.join(departures)}" if departures else ""


def rests_on(records: Iterable[Record]) -> tuple[str, ...]:
    """Where the trials are kept that something rests on (`harness.studies.kept`).

    Parameters
    ----------
    records
        Any.

    Returns
    -------
    tuple of str
        A folder for each arm and condition, relative to that of the results.
    """
    return tuple(dict.fromkeys(f"{KEPT}/{r.folder.parent.name}" for r in records))


def _contrast(values: Sequence[np.ndarray], records: tuple[Record, ...], bounds: tuple[float, float]) -> Contrast:
    """The first of the values, shape (seeds, 1 + replicates), or the first minus the second."""
    above, below = values[0], values[1] if len(values) > 1 else None
    combined = above if below is None else above - below
    if np.isnan(combined[:, 0]).any():
        return Contrast(None)
    return Contrast(
        replicates=Replicates(combined[:, 0], combined[:, 1:]),
        above=float(above[:, 0].mean()),
        below=None if below is None else float(below[:, 0].mean()),
        records=records,
        bounds=bounds if below is None else (bounds[0] - bounds[1], bounds[1] - bounds[0]),
    )


def _mean_over_classes(scores: np.ndarray) -> np.ndarray:
    """Mean of each row over the classes that are defined in it; NaN where none is."""
    return ratio(np.nansum(scores, axis=1), (~np.isnan(scores)).sum(axis=1), zero_division=np.nan)
