"""Finished trials scored again in other ways, on the same resampled clips: what switches of protocol stand on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from types import ModuleType

import numpy as np
from scipy import stats

from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.metrics import uncertainty
from harness.metrics.seeds import Replicates, joint
from harness.report import estimates
from harness.report.estimates import Estimate
from harness.report.resampling import Draws
from harness.studies.records import Record, scoring
from harness.studies.study import Study

#: What a choice is about: how is scored, what is chosen on which part, or what was trained on.
SCORING, CHOOSING, TRAINING = "scoring", "choosing", "training"
#: Labels, probabilities and mask, as ``validate`` of the task's metrics gives them.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Switch:
    """One choice made otherwise.

    Parameters
    ----------
    choice
        What is chosen.
    usual, other
        How the study chooses, and how else.
    before, after
        The main score either way, mean over the seeds.
    effect
        The one after minus the one before, with its interval.
    kind
        `SCORING`, `CHOOSING` or `TRAINING`.
    over
        What the interval is over: ``"seeds"``, clips or what the study groups them by, or both together.
    """

    choice: str
    usual: str
    other: str
    before: float
    after: float
    effect: Estimate
    kind: str
    over: str


class Part:
    """What one trial predicted of one part, ready to be scored in several ways.

    Parameters
    ----------
    record
        The trial's.
    part
        ``"valid"`` or ``"test"``.
    metric
        The study's main score.
    """

    def __init__(self, record: Record, part: str, metric: str) -> None:
        self.record, self.metric = record, metric
        self.predictions = record.predictions(part)
        self.module: ModuleType = scoring(record.data)
        self.threshold: float = record.data["protocol"].get("threshold", 0.5)
        p = self.predictions
        self.arrays: Arrays = self.module.validate(p.labels, p.probabilities, p.mask)

    @property
    def keys(self) -> np.ndarray:
        """The clips, or segments, (n,)."""
        return self.predictions.keys

    def score(
        self,
        weights: np.ndarray,
        *,
        arrays: Arrays | None = None,
        metric: str | None = None,
        threshold: float | np.ndarray | None = None,
    ) -> np.ndarray:
        """A score under many weightings of the clips.

        Parameters
        ----------
        weights : np.ndarray [shape=(r, n)]
            How often each clip counts.
        arrays, metric, threshold
            Where they are not the trial's own; a threshold may be one for each class.

        Returns
        -------
        np.ndarray [shape=(r,)]
            NaN where undefined.
        """
        return self.averages_and_classes(weights, arrays=arrays, metric=metric, threshold=threshold)[0]

    def averages_and_classes(
        self,
        weights: np.ndarray,
        *,
        arrays: Arrays | None = None,
        metric: str | None = None,
        threshold: float | np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """As `score`, and the scores of the classes, (r, c) by name."""
        name = metric or self.metric
        averages, per_class = self.module.weighted_scores(
            *(arrays or self.arrays),
            weights,
            metrics=(name,),
            threshold=self.threshold if threshold is None else threshold,
        )
        return averages[name], per_class


#: From a part and weights (r, n) to scores (r,).
Scorer = Callable[[Part, np.ndarray], np.ndarray]


class Trials:
    """The trials of one arm, and how clips are drawn for all of them.

    Parameters
    ----------
    study
        Gives the main score and the conditions.
    records
        Any of the study's, of one corpus and profile.
    arm
        By name.
    replicates, level
        Of the bootstrap. Without replicates there are no intervals.
    unit, units
        What replicates draw whole: its name in the plural, and from keys (n,) the names of what each belongs to (n,).

    Raises
    ------
    RepriseError
        The arm has no trial under the study's first condition.
    """

    def __init__(
        self,
        study: Study,
        records: Sequence[Record],
        arm: str,
        *,
        replicates: int = 1000,
        level: float = 0.95,
        unit: str = "clips",
        units: Callable[[np.ndarray], np.ndarray] = clips_of,
    ) -> None:
        self.study, self.replicates, self.level, self.unit, self.units = study, replicates, level, unit, units
        self.title = study.arm(arm).title
        if [a.title for a in study.arms].count(self.title) > 1:
            self.title += f" ({study.arm(arm).network})"
        self.metric = study.metric
        first, *others = (c.name for c in study.conditions)
        self.records = estimates.select(records, arm, first)
        self.others = {name: estimates.select(records, arm, name) for name in others}
        if not self.records:
            raise RepriseError(f"arm {arm} of {study.name} has no trial under {first!r}; run it first")
        self.parts = [Part(r, "test", self.metric) for r in self.records]

    @cached_property
    def valid(self) -> list[Part]:
        """The validation parts, in the order of the seeds."""
        return [Part(r, "valid", self.metric) for r in self.records]

    @cached_property
    def draws(self) -> Draws:
        """Of the test parts."""
        return self.draws_of([self.parts])

    @cached_property
    def usual(self) -> np.ndarray:
        """Main score of every seed as the study takes it, (seeds, 1 + replicates)."""
        return self.replay(lambda part, weights: part.score(weights))

    def draws_of(self, sides: Sequence[Sequence[Part]]) -> Draws:
        """Draws for parts that are compared with each other, a sequence for each side."""
        return Draws([[p.keys for p in side] for side in sides], self.replicates, self.units)

    @property
    def everything_observed(self) -> bool:
        """Whether no label is missing from the test parts."""
        return all(p.arrays[2].all() for p in self.parts)

    def replay(self, scorer: Scorer, parts: Sequence[Part] | None = None, draws: Draws | None = None) -> np.ndarray:
        """Scores of the clips as they are, and of resampled ones.

        Parameters
        ----------
        scorer
            What is computed of each part.
        parts, draws
            Default: the test parts under the study's first condition.

        Returns
        -------
        np.ndarray [shape=(seeds, 1 + replicates)]
            Each row begins with the score of the clips as they are. If the scorer gives several, (r, k), they are
            behind: (seeds, 1 + replicates, k).
        """
        draws = draws or self.draws
        return np.array(
            [
                np.concatenate([scorer(p, w) for w in chain([np.ones((1, len(p.keys)))], draws.weights(p.keys))])
                for p in (self.parts if parts is None else parts)
            ]
        )

    def switch(
        self,
        choice: str,
        usual: str,
        other: str,
        after: np.ndarray,
        *,
        before: np.ndarray | None = None,
        kind: str = SCORING,
        least: float = -1.0,
    ) -> Switch:
        """Put a switch together.

        Parameters
        ----------
        choice, usual, other, kind
            As in `Switch`.
        after, before : np.ndarray [shape=(seeds, 1 + replicates)]
            Scores either way, from `replay`; default of `before`: as the study scores. What is one number of all
            seeds is one row.
        least
            The least effect that is possible: 0 where the best is taken of ways among which the usual is.

        Returns
        -------
        Switch
            Of the means over the seeds; the interval is over seeds and clips together, as the effect on the
            predictions of another seed would be another one. Of one row it is over clips alone.
        """
        before = self.usual if before is None else before
        scores = float(before[:, 0].mean()), float(after[:, 0].mean())
        gains = after - before
        over = self.unit if len(gains) == 1 else f"seeds and {self.unit}"
        if np.isnan(gains[:, 0]).any():
            return Switch(choice, usual, other, *scores, Estimate(None, None, None), kind, over)
        found = Replicates(gains[:, 0], gains[:, 1:])
        ends = uncertainty.interval(found.score, joint(found), self.level, bounds=(least, 1.0)) or (None, None)
        return Switch(choice, usual, other, *scores, Estimate(found.score, *ends), kind, over)


def over_seeds(gains: np.ndarray, level: float, *, least: float = -1.0) -> Estimate:
    """Mean of an effect that is known of whole trials alone.

    Parameters
    ----------
    gains : np.ndarray [shape=(seeds,)]
        One per trial.
    level
        Of the interval, Student's t over the seeds.
    least
        The least effect that is possible.

    Returns
    -------
    Estimate
        Without interval where there is one seed.
    """
    mean = float(gains.mean())
    if len(gains) == 1:
        return Estimate(mean, None, None)
    half = float(stats.t.ppf((1 + level) / 2, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
    return Estimate(mean, max(mean - half, least), min(mean + half, 1.0))
