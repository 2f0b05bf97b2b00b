"""What was measured of networks on clips, such as shares of maps, beside a reference: means over seeds and clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from harness.analysis.intervals import LEAST_UNITS, Spread, error_of, interval, own_spread
from harness.analysis.resampling import Resampled, resample


@dataclass(frozen=True)
class Gain:
    """A mean of something measured, minus that of a reference.

    Parameters
    ----------
    value, reference, difference
        Means over the seeds.
    low, high
        Interval of the difference over seeds and clips together; NaN where none can be given.
    p
        Two-sided, of a difference of 0; NaN likewise.
    of_seeds
        The seeds' differences.
    pairs, units
        How many pairs, and different units, it rests on.
    """

    value: float
    reference: float
    difference: float
    low: float
    high: float
    p: float
    of_seeds: tuple[float, ...]
    pairs: int
    units: int

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.of_seeds)


def gain(
    frame: pd.DataFrame,
    value: str,
    reference: str | float,
    *,
    unit: str = "unit",
    level: float = 0.95,
    replicates: int = 1000,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Gain | None:
    """Mean of a column minus that of another.

    Parameters
    ----------
    frame
        A row per pair, with the columns ``seed``, `unit` (what is drawn whole), `value` and, by name, `reference`. A
        pair with NaN is left out.
    value, reference
        Columns; the reference may be a number.
    unit
        Column of what is drawn whole; every unit is drawn with all its pairs, the same for all seeds.
    level, replicates
        Of the interval.
    bounds
        Lowest and highest possible difference.

    Returns
    -------
    Gain or None
        None where no pair is left.
    """
    theirs = frame[reference] if isinstance(reference, str) else pd.Series(float(reference), frame.index)
    pairs = pd.DataFrame({"seed": frame["seed"], "unit": frame[unit], "ours": frame[value], "theirs": theirs}).dropna()
    if pairs.empty:
        return None
    of_seeds = [rows for _, rows in pairs.groupby("seed")]
    gains = [(rows["ours"] - rows["theirs"]).to_numpy(float) for rows in of_seeds]

    def mean(number: int, weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        sums = weights @ gains[number]
        return np.where(total > 0, sums / np.where(total > 0, total, 1), np.nan)[:, None]

    found = resample([rows["unit"].to_numpy(object) for rows in of_seeds], mean, replicates=replicates)
    low, high, p = decided(found, level=level, bounds=bounds)
    ours, reference_mean = (float(np.mean([rows[name].mean() for rows in of_seeds])) for name in ("ours", "theirs"))
    return Gain(
        ours, reference_mean, ours - reference_mean, low, high, p, tuple(float(g.mean()) for g in gains), len(pairs),
        found.units,
    )  # fmt: skip


def decided(
    found: Resampled,
    *,
    spread: Spread | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] = (-1.0, 1.0),
    bound: float = 0.0,
) -> tuple[float, float, float]:
    """Interval of a difference that was resampled in any way, and the p value against a bound.

    Parameters
    ----------
    found
        A trial per seed, of one difference (k = 1).
    spread
        Between seeds; default: of these.
    level, bounds
        Of the interval.
    bound
        What the p value is against.

    Returns
    -------
    low, high, p : float
        NaN where it is undefined, or rests on fewer than `LEAST_UNITS` units.
    """
    if found.units < LEAST_UNITS or np.isnan(found.plain).any():
        return np.nan, np.nan, np.nan
    e = error_of(found, spread or own_spread(found.plain))
    centre, error, degrees = float(e.centre[0]), float(max(e.error[0], 1e-9)), float(e.degrees[0])
    low, high = interval(centre, error, degrees, level=level, bounds=bounds)
    return low, high, float(2 * student.sf(abs(centre - bound) / error, degrees))


def of_seeds_alone(
    gains: Sequence[float], *, level: float = 0.95, bounds: tuple[float, float] = (-1.0, 1.0)
) -> tuple[float, float, float, float]:
    """Mean of what is known of whole trials alone, with Student's t interval over seeds and the p value against 0.

    Returns
    -------
    mean, low, high, p : float
        Without interval and p (NaN) where there is one seed.
    """
    values = np.asarray(gains, float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, np.nan, np.nan, np.nan
    error = max(float(values.std(ddof=1)) / np.sqrt(len(values)), 1e-9)
    low, high = interval(mean, error, len(values) - 1, level=level, bounds=bounds)
    return mean, low, high, float(2 * student.sf(abs(mean) / error, len(values) - 1))
