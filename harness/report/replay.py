"""Finished trials scored again in other ways, on the same resampled clips: what switches of protocol stand on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.analysis.measured import decided
from harness.analysis.resampling import BLOCKS, Resampled, resample
from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.metrics import METRICS, weighted
from harness.report.tables import arm_title
from harness.report.writers import Number
from harness.studies.records import Record

#: What a choice is about: how is scored, what is chosen on which part, or what was trained on.
SCORING, CHOOSING, TRAINING = "scoring", "choosing", "training"
#: Labels, probabilities and mask, as `harness.metrics.validate` gives them.
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
        What the interval is over: ``"seeds"``, clips or what is drawn whole, or both together.
    """

    choice: str
    usual: str
    other: str
    before: float
    after: float
    effect: Number
    kind: str
    over: str


class Part:
    """What one trial predicted of one part, ready to be scored in several ways."""

    def __init__(self, analysis: Analysis, record: Record, part: str = "test") -> None:
        case = analysis.case(record, part)
        self.task, self.metric = analysis.study.task, analysis.study.metric
        self.predictions, self.units = analysis.predictions(record, part), case.units
        self.keys, self.threshold = self.predictions.keys, case.threshold
        self.arrays: Arrays = (case.labels, case.probabilities, case.mask)

    def score(self, weights: np.ndarray, **how: object) -> np.ndarray:
        """A score under many weightings of the clips, (r,), NaN where undefined; `how` as for `both`."""
        return self.both(weights, **how)[0]

    def classes(self, weights: np.ndarray, **how: object) -> np.ndarray:
        """The same of every class, (r, c), of a score that is a mean over them."""
        return self.both(weights, **how)[1]

    def both(
        self,
        weights: np.ndarray,
        *,
        arrays: Arrays | None = None,
        metric: str = "",
        threshold: float | np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The score and those of the classes; arrays, metric and threshold where they are not the trial's own."""
        name = metric or self.metric
        averages, per_class = weighted(
            self.task,
            *(arrays or self.arrays),
            weights,
            metrics=(name,),
            threshold=self.threshold if threshold is None else threshold,
        )
        return averages[name], per_class.get(METRICS[name].per_class, np.empty((len(weights), 0)))


#: From a part and weights (r, n) to scores (r,), or to several (r, k).
Scorer = Callable[[Part, np.ndarray], np.ndarray]


class Trials:
    """The trials of one arm, and how clips are drawn for all of them.

    Parameters
    ----------
    arm
        By name.
    intervals
        Whether clips are resampled at all; without, the effects are known alone.

    Raises
    ------
    RepriseError
        The arm has no trial under the study's first condition.
    """

    def __init__(self, analysis: Analysis, arm: str, *, intervals: bool = True) -> None:
        self.analysis, self.study, self.metric = analysis, analysis.study, analysis.study.metric
        self.title, self.unit, self.level = arm_title(analysis.study, arm), analysis.unit, analysis.level
        self.draws = {"replicates": analysis.replicates if intervals else 1, "blocks": BLOCKS if intervals else 1}
        self.records = analysis.select(arm)
        self.others = {c.name: analysis.select(arm, c.name) for c in analysis.study.conditions[1:]}
        if not self.records:
            raise RepriseError(f"arm {arm} of {self.study.name} has no trial under {analysis.base!r}; run it first")
        self.parts = [Part(analysis, r) for r in self.records]

    @cached_property
    def valid(self) -> list[Part]:
        """The validation parts, in the order of the seeds."""
        return [Part(self.analysis, r, "valid") for r in self.records]

    @cached_property
    def usual(self) -> Resampled:
        """Main score of every seed as the study takes it."""
        return self.replay(lambda part, weights: part.score(weights))

    @property
    def everything_observed(self) -> bool:
        """Whether no label is missing from the test parts."""
        return all(p.arrays[2].all() for p in self.parts)

    def replay(self, scorer: Scorer, parts: Sequence[Part] | None = None) -> Resampled:
        """Scores of parts (default: the test parts) on the clips as they are and on resampled ones, a trial each."""
        parts = self.parts if parts is None else parts

        def score(number: int, weights: np.ndarray) -> np.ndarray:
            found = scorer(parts[number], weights)
            return found[:, None] if found.ndim == 1 else found

        return resample([p.units for p in parts], score, seed=self.analysis.seed, **self.draws)

    def switch(
        self,
        choice: str,
        usual: str,
        other: str,
        after: Resampled,
        *,
        before: Resampled | None = None,
        kind: str = SCORING,
        least: float = -1.0,
    ) -> Switch:
        """Put a switch together.

        Parameters
        ----------
        choice, usual, other, kind
            As in `Switch`.
        after, before
            Scores either way, from `replay`; default of `before`: as the study scores. What is one number of all seeds
            is one trial.
        least
            The least effect that is possible: 0 where the best is taken of ways among which the usual is.

        Returns
        -------
        Switch
            Of the means over the seeds; the interval is over seeds and clips together, as the effect on the
            predictions of another seed would be another one. Of one trial it is over clips alone.
        """
        before = self.usual if before is None else before
        gains = after - before
        low, high = np.nan, np.nan
        if self.draws["blocks"] > 1:
            low, high, _ = decided(gains, level=self.level)
        over = self.unit if len(gains.plain) == 1 else f"seeds and {self.unit}"
        effect = effect_of(float(gains.plain.mean()), low, high, least)
        return Switch(
            choice, usual, other, float(before.plain.mean()), float(after.plain.mean()), effect, kind, over
        )  # fmt: skip


def effect_of(value: float, low: float, high: float, least: float) -> Number:
    """An effect with its interval, which goes no lower than the least that is possible."""
    low, high = max(low, least), max(high, least)
    return Number(value, low, high, doubtful=bool(low <= 0 <= high))


def across(found: Resampled, combine: Callable[[np.ndarray], np.ndarray]) -> Resampled:
    """One trial out of several: a function of the first axis, (trials, ...) to (...), such as a mean over seeds."""
    return Resampled(
        combine(found.plain)[None], combine(found.drawn)[None], combine(found.left_out)[None], found.units
    )  # fmt: skip
