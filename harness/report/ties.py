"""Letters beside the arms of a ranked table: those that share one cannot be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_letters

import numpy as np

from harness.metrics.comparison import letters, rank, told_apart
from harness.metrics.seeds import Replicates
from harness.report import estimates
from harness.report.resampling import Draws, units_of
from harness.report.writers import UNDEFINED, Column
from harness.studies.records import Record
from harness.studies.study import Study

#: As tables show it; files of numbers have the letters in full, in ``tied``.
COLUMN = Column("tied_title", "Tied", "text")
#: Letters in a row that are shown as the first and the last.
RUN = 3


@dataclass(frozen=True)
class Ties:
    """Which arms cannot be told apart by each score.

    Parameters
    ----------
    letters
        For each metric those of each arm, by name; ``"a"`` is shared with the best arm. An arm whose score is undefined
        has none.
    sentence
        What the letters mean and what they stand on. Empty if there is nothing to compare.
    test
        A sentence on Friedman's test of all arms at once. Empty where there are too few arms or seeds.
    """

    letters: Mapping[str, Mapping[str, str]]
    sentence: str
    test: str = ""

    @property
    def caption(self) -> str:
        """Both sentences."""
        return " ".join(filter(None, (self.sentence, self.test)))

    def of(self, metric: str, arm: str) -> str | None:
        """Letters of an arm; None if it has none."""
        return self.letters.get(metric, {}).get(arm)

    def columns(self, metric: str, arm: str) -> dict[str, str | None]:
        """What a row of a table has of them: ``tied`` in full, ``tied_title`` to be shown."""
        found = self.of(metric, arm)
        return {"tied": found, "tied_title": in_short(found)}


def in_short(letters: str | None) -> str | None:
    """Letters with each long run shown as the first and the last.

    Parameters
    ----------
    letters
        In their order; None if there are none.

    Returns
    -------
    str or None
        Likewise.

    Notes
    -----
    ``"acdef"`` becomes ``"a"``, and c to f with a dash between.
    """
    if letters is None:
        return None
    runs = [""]
    for letter in letters:
        if runs[-1] and ascii_letters.index(letter) == ascii_letters.index(runs[-1][-1]) + 1:
            runs[-1] += letter
        else:
            runs.append(letter)
    return "".join(f"{run[0]}{UNDEFINED}{run[-1]}" if len(run) >= RUN else run for run in runs)


def ties(
    study: Study,
    records: Sequence[Record],
    metrics: Sequence[str],
    part: str = "test",
    *,
    arms: str = "arms",
    replicates: int = 1000,
    level: float = 0.95,
) -> Ties:
    """Tell arms apart by the differences of their scores, seed by seed and on the same resampled clips.

    Parameters
    ----------
    study
        Theirs. What is drawn whole is as `harness.report.resampling.units_of` says.
    records
        Of the arms that are ranked, all under one condition.
    metrics
        Names out of the ``METRICS`` of the study's task; each is a ranking of its own.
    part
        ``"valid"`` or ``"test"``.
    arms
        What the sentence calls the arms.
    replicates
        Of the bootstrap.
    level
        One minus the probability that any two equal arms are told apart by one score.

    Returns
    -------
    Ties
        Over the seeds that all arms have.

    See Also
    --------
    harness.metrics.comparison.told_apart : How.
    """
    by_arm: dict[str, dict[int, Record]] = {}
    for record in sorted(records, key=lambda r: r.seed):
        by_arm.setdefault(record.arm, {})[record.seed] = record
    if len(by_arm) < 2:
        return Ties({}, "")
    seeds = sorted(set.intersection(*map(set, by_arm.values())))
    if not seeds:
        return Ties({}, f"Tied: nothing is said, since there is no seed that all {arms} have.")
    unit, units = units_of(study, records)
    predictions = {arm: [of_seed[seed].predictions(part) for seed in seeds] for arm, of_seed in by_arm.items()}
    draws = Draws([[p.keys for p in of_arm] for of_arm in predictions.values()], replicates, units)
    found: dict[str, dict[str, Replicates]] = {metric: {} for metric in metrics}
    for arm, of_seed in by_arm.items():
        of_metrics = estimates.replicated([of_seed[seed] for seed in seeds], predictions[arm], metrics, draws)
        for metric, replicated in of_metrics.items():
            if replicated is not None:
                found[metric][arm] = replicated
    named = {metric: _letters(of_arms, metric, level) for metric, of_arms in found.items()}
    cut = any(len(of_seed) > len(seeds) for of_seed in by_arm.values())
    return Ties(named, _sentence(arms, unit, seeds, cut, level), _of_all(arms, found, seeds))


def _letters(of_arms: Mapping[str, Replicates], metric: str, level: float) -> dict[str, str]:
    """Letters by one score, the best arms first."""
    upward = -1 if estimates.lower_is_better(metric) else 1
    ranked = sorted(of_arms, key=lambda arm: -upward * of_arms[arm].score)
    return letters(ranked, told_apart([of_arms[arm] for arm in ranked], level=level))


def _sentence(arms: str, unit: str, seeds: Sequence[int], cut: bool, level: float) -> str:
    """What the letters mean, how they were found, and what they cannot know."""
    start = f"Tied: {arms} that share a letter cannot be told apart at {level:.0%} (all pairs, Holm), "
    if len(seeds) == 1:
        which = f"seed {seeds[0]}, which alone all {arms} have," if cut else "the one seed"
        return f"{start}by {which} on resampled {unit}; only {unit} were drawn, and other seeds may differ."
    which = f"the {len(seeds)} seeds that all {arms} have" if cut else f"{len(seeds)} seeds"
    return f"{start}by {which} and resampled {unit} together."


def _of_all(arms: str, found: Mapping[str, Mapping[str, Replicates]], seeds: Sequence[int]) -> str:
    """Friedman's test by each score, with the seeds as blocks; nothing where there are too few arms or seeds."""
    if len(seeds) < 2 or min(map(len, found.values())) < 3:
        return ""
    p_values = [
        f"{rank(np.stack([r.scores for r in of_arms.values()], axis=1)).p_value:.3f} by {estimates.in_words(metric)}"
        for metric, of_arms in found.items()
    ]
    return f"Friedman's test of all {arms} at once, the seeds as blocks: p = {', '.join(p_values)}."
