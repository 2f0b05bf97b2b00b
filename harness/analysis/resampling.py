"""The one loop over draws in the project: whatever is measured on clips is measured again on resampled ones.

Units are drawn, not entries: a clip with all its labels, a track with its segments, a song with its excerpts, a pitch
of an instrument with its takes. All trials that are resampled together share the draws, so that differences between
them are of the same clips. Where trials were tested on different clips, units are drawn from all that any trial was
tested on, and a unit that is drawn counts in every trial that has it.

Beside the bootstrap's draws stand those of the jackknife, in which one unit (or, of very many, one block of units) is
left out at a time. The two tell the same variance in different ways, and where positives are few either may be far too
small: `harness.analysis.intervals` takes the larger.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

#: Clips times draws that are scored at a time, which bounds the memory.
CHUNK = 500_000
#: Parts that are left out one at a time, at most.
BLOCKS = 200
#: From the number of a trial and weights of its rows (r, n) to what is measured (r, k).
Scorer = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Resampled:
    """What was measured of several trials, as it is and on resampled units.

    Parameters
    ----------
    plain : np.ndarray [shape=(trials, k)]
        On the clips as they are; NaN where undefined.
    drawn : np.ndarray [shape=(trials, replicates, k)]
        On resampled units, the same for all trials.
    left_out : np.ndarray [shape=(trials, blocks, k)]
        Without one block of units at a time, the same for all trials.
    units
        How many units there are.
    """

    plain: np.ndarray
    drawn: np.ndarray
    left_out: np.ndarray
    units: int

    def of(self, trials: Sequence[int], cells: Sequence[int] | slice = slice(None)) -> "Resampled":
        """The same of some trials, and of some of what was measured."""
        rows = list(trials)
        plain, drawn, left_out = self.plain[rows], self.drawn[rows], self.left_out[rows]
        return Resampled(plain[..., cells], drawn[..., cells], left_out[..., cells], self.units)

    def __sub__(self, other: "Resampled") -> "Resampled":
        """Trial by trial and draw by draw."""
        if self.drawn.shape != other.drawn.shape:
            raise ValueError(
                "a difference needs the same draws on both sides, "
                f"not the shapes {self.drawn.shape} and {other.drawn.shape}"
            )
        arrays = ((getattr(self, name), getattr(other, name)) for name in ("plain", "drawn", "left_out"))
        return Resampled(*(a - b for a, b in arrays), self.units)

    def over(self, combine: Callable[[np.ndarray], np.ndarray]) -> "Resampled":
        """The same after a function of the last axis, (..., k) to (..., j), such as a mean over classes."""
        return Resampled(combine(self.plain), combine(self.drawn), combine(self.left_out), self.units)


def mean_of(sides: Sequence[Resampled]) -> Resampled:
    """Mean of several, trial by trial and draw by draw."""
    names = ("plain", "drawn", "left_out")
    return Resampled(*(np.mean([getattr(s, n) for s in sides], axis=0) for n in names), sides[0].units)


def resample(
    units: Sequence[np.ndarray], score: Scorer, *, replicates: int = 1000, seed: int = 0, blocks: int = BLOCKS
) -> Resampled:
    """Measure trials on their clips as they are, on resampled units, and without one block of units at a time.

    Parameters
    ----------
    units : sequence of np.ndarray [shape=(n,)]
        For each trial the name of the unit that each row belongs to; equal names in several trials mean the same unit.
    score
        Called with a trial's number and weights of its rows (r, n), how often each counts; gives (r, k).
    replicates
        Number of draws of the bootstrap.
    seed
        Of the draws: the same units and seed give the same draws.
    blocks
        How many parts are left out one at a time, at most.

    Returns
    -------
    Resampled
        Of the trials in their order.

    Raises
    ------
    ValueError
        There is no trial, a trial without a row, or not one replicate.
    """
    if not len(units) or min(map(len, units)) == 0 or replicates < 1:
        raise ValueError(f"nothing to resample: {len(units)} trials, {replicates} replicates, or a trial without clips")
    # By first appearance, so that the same clips give the same draws whatever their names are.
    codes, names = pd.factorize(np.concatenate([np.asarray(of_trial, dtype=object) for of_trial in units]))
    places = np.split(codes, np.cumsum([len(of_trial) for of_trial in units])[:-1])
    count = len(names)
    found: list[list[np.ndarray]] = [[] for _ in units]
    for weights in chain([np.ones((1, count))], _draws(count, replicates, seed), _without(count, blocks, seed)):
        for number, place in enumerate(places):
            found[number].append(score(number, weights[:, place]))
    values = np.stack([np.concatenate(of_trial) for of_trial in found])
    return Resampled(values[:, 0], values[:, 1 : 1 + replicates], values[:, 1 + replicates :], count)


def _draws(units: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """How often each replicate draws each unit, some replicates at a time; every row sums to the number of units."""
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK // units)
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = generator.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(float)


def _without(units: int, blocks: int, seed: int) -> Iterator[np.ndarray]:
    """Ones, with a zero for the units of one block, some blocks at a time."""
    blocks = min(units, blocks)
    order = np.random.default_rng([seed, 1]).permutation(units) if blocks < units else np.arange(units)
    block_of = np.empty(units, int)
    block_of[order] = np.arange(units) * blocks // units
    step = max(1, CHUNK // units)
    for start in range(0, blocks, step):
        yield (block_of != np.arange(start, min(start + step, blocks))[:, None]).astype(float)
