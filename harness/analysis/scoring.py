"""Metrics and classes measured of several sets of predictions on the same resampled units."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.intervals import (
    LEAST_OF_CLASS,
    LEAST_POSITIVES,
    LEAST_UNITS,
    Error,
    Spread,
    error_of,
    interval,
    least_error,
    within,
)
from harness.analysis.resampling import Resampled, resample
from harness.metrics import METRICS, weighted


@dataclass(frozen=True)
class Case:
    """What one trial said of the clips that it is scored on, as `harness.metrics.validate` gives it.

    Parameters
    ----------
    labels, probabilities, mask : np.ndarray [shape=(n, c)]
        Of the clips.
    units : np.ndarray [shape=(n,)]
        Name of the unit that each clip is drawn with.
    threshold : float or np.ndarray [shape=(c,)]
        From which a class is predicted.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    mask: np.ndarray
    units: np.ndarray
    threshold: float | np.ndarray = 0.5


@dataclass(frozen=True)
class Scores:
    """Scores of several cases, cell by cell: a cell is a metric and a class, ``""`` for its average.

    Parameters
    ----------
    cells
        Metric and class of each.
    found
        The scores.
    clips : np.ndarray [shape=(trials,)]
        How many each case has.
    positives : np.ndarray [shape=(trials, k)]
        Observed positives that a cell's score rests on; of a task with one class per clip its clips.
    counts : np.ndarray [shape=(trials, k)]
        What an error is measured against: the geometric mean of these and of the units that they are in.
    too_few
        Why a cell has no interval; "" where it has one.
    chance : np.ndarray [shape=(trials, k)]
        `harness.metrics.Metric.chance`; NaN where it is not known of one class.
    """

    cells: tuple[tuple[str, str], ...]
    found: Resampled
    clips: np.ndarray
    positives: np.ndarray
    counts: np.ndarray
    too_few: tuple[tuple[str, ...], ...]
    chance: np.ndarray

    def column(self, metric: str, name: str = "") -> int:
        """Number of a cell."""
        return self.cells.index((metric, name))


def measure(
    cases: Sequence[Case],
    *,
    task: str,
    metrics: Sequence[str],
    classes: Sequence[str],
    replicates: int = 1000,
    seed: int = 0,
    per_class: bool = True,
) -> Scores:
    """Score several cases, as they are and resampled.

    Parameters
    ----------
    cases
        At least one; of the same classes.
    task
        ``"multilabel"`` or ``"multiclass"``.
    metrics
        Names out of `harness.metrics.METRICS`.
    classes
        Their names.
    replicates, seed
        As for `harness.analysis.resampling.resample`.
    per_class
        Whether each class is a cell as well, of metrics that are means over classes.

    Returns
    -------
    Scores
        Cells metric by metric, the average first.
    """
    of_classes = {name: METRICS[name].per_class if per_class else "" for name in metrics}
    cells = [(name, c) for name in metrics for c in ("", *(classes if of_classes[name] else ()))]

    def score(number: int, weights: np.ndarray) -> np.ndarray:
        case = cases[number]
        averages, of_class = weighted(
            task, case.labels, case.probabilities, case.mask, weights, metrics=metrics, threshold=case.threshold
        )
        columns = []
        for name in metrics:
            columns.append(averages[name][:, None])
            if of_classes[name]:
                columns.append(of_class[of_classes[name]])
        return np.concatenate(columns, axis=1)

    found = resample([case.units for case in cases], score, replicates=replicates, seed=seed)
    support = {}  # many trials are tested on the same clips, and count alike
    rows = []
    for case in cases:
        key = (case.labels.tobytes(), case.mask.tobytes(), tuple(case.units.tolist()))
        if key not in support:
            support[key] = _support(case, task, cells, classes)
        rows.append(support[key])
    positives, counts, too_few, chance = zip(*rows, strict=True)
    return Scores(
        tuple(cells),
        found,
        np.array([len(case.labels) for case in cases]),
        np.array(positives),
        np.array(counts),
        tuple(map(tuple, too_few)),
        np.array(chance),
    )


def _support(
    case: Case, task: str, cells: Sequence[tuple[str, str]], classes: Sequence[str]
) -> tuple[list[int], list[int], list[str], list[float]]:
    """Positives, the same in units, why there is no interval, and chance, cell by cell."""
    codes, names = pd.factorize(np.asarray(case.units, dtype=object))
    units = len(names)
    shape = (units, case.labels.shape[1])
    present, absent = np.zeros(shape, bool), np.zeros(shape, bool)
    np.logical_or.at(present, codes, case.labels & case.mask)
    np.logical_or.at(absent, codes, ~case.labels & case.mask)
    of_class, units_with, units_without = case.labels.sum(axis=0), present.sum(axis=0), absent.sum(axis=0)
    place = {name: number for number, name in enumerate(classes)}
    positives, counts, notes, chances = [], [], [], []
    for metric, name in cells:
        about = METRICS[metric]
        note = f"{units} units are too few for an interval" if units < LEAST_UNITS else ""
        if name:
            k = place[name]
            positives.append(int(of_class[k]))
            counts.append(_between(units_with[k], of_class[k]))
            if not note and min(units_with[k], units_without[k]) < LEAST_OF_CLASS:
                few = "positives" if units_with[k] <= units_without[k] else "negatives"
                note = f"{min(units_with[k], units_without[k])} {few} are too few for an interval"
            alone = slice(k, k + 1)
            known = task == "multilabel"
            chances.append(about.chance(case.labels[:, alone], case.mask[:, alone]) if known else np.nan)
        else:
            total = int(of_class.sum())
            positives.append(total)
            over_clips = task == "multiclass" or about.average == "clips"
            counts.append(_between(units, len(case.labels)) if over_clips else _between(units_with.sum(), total))
            if not note and (
                (about.per_class and units_with.mean() < LEAST_POSITIVES) or units_with.sum() < LEAST_UNITS
            ):
                note = f"{total} positives of {len(classes)} classes are too few for an interval"
            chances.append(about.chance(case.labels, case.mask))
        notes.append(note)
    return positives, counts, notes, chances


def _between(units: int, entries: int) -> int:
    """What an error is measured against: entries of one unit resemble each other, but are not the same."""
    return round(float(units * entries) ** 0.5)


def errors(scores: Scores, trials: Sequence[int], spread: Spread | None = None) -> Error:
    """The mean of some trials, one per seed, with its error in every cell."""
    factors = np.array([METRICS[metric].bias_factor for metric, _ in scores.cells])
    return error_of(scores.found.of(trials), spread, bias_factor=factors)


def table(scores: Scores, trials: Sequence[int], spread: Spread | None = None, *, level: float = 0.95) -> pd.DataFrame:
    """Scores of one arm with intervals, a row per cell.

    Parameters
    ----------
    scores
        From `measure`.
    trials
        Numbers of its cases, one per seed.
    spread
        Variance between seeds; default: of these alone.
    level
        Of the intervals.

    Returns
    -------
    pd.DataFrame
        ``metric``, ``class``, ``clips``, ``groups`` (units), ``positives``, ``mean``, ``sd`` and ``iqm`` over the
        seeds, ``low``, ``high``, ``level``, ``chance``, ``note``.
    """
    trials = list(trials)
    found = errors(scores, trials, spread)
    plain = scores.found.plain[trials]
    rows = []
    for k, (metric, name) in enumerate(scores.cells):
        values, bounds = plain[:, k], METRICS[metric].bounds
        note = next((scores.too_few[t][k] for t in trials if scores.too_few[t][k]), "")
        low = high = np.nan
        if np.isnan(values).any():
            undefined = int(np.isnan(values).sum())
            note = "undefined" if undefined == len(values) else f"undefined in {undefined} of {len(values)} seeds"
        elif not note:
            count = max(1, int(scores.counts[trials, k].min()))
            low, high = ends(
                found.value[k], found.centre[k], found.error[k], found.degrees[k], count, level=level, bounds=bounds
            )
        rows.append(
            {
                "metric": metric,
                "class": name,
                "clips": round(scores.clips[trials].mean()),
                "positives": round(scores.positives[trials, k].mean()),
                "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan,
                "iqm": interquartile_mean(values),
                "low": low,
                "high": high,
                "level": level,
                "chance": float(np.mean(scores.chance[trials, k])),
                "note": note,
            }
        )
    return pd.DataFrame(rows)


def ends(
    value: float,
    centre: float,
    error: float,
    degrees: float,
    count: int,
    *,
    level: float,
    bounds: tuple[float, float],
) -> tuple[float, float]:
    """Interval of a score: never without width, never at its own estimate."""
    if bounds == (0.0, 1.0):
        value, centre = (float(within(np.float64(x), count, bounds)) for x in (value, centre))
        error = max(error, float(least_error(np.float64(value), count)))
        return interval(centre, error, degrees, level=level, bounds=bounds, value=value)
    if bounds[0] == 0.0:
        centre = max(centre, 1e-6)
        error = max(error, 1e-6)
    return interval(centre, error, degrees, level=level, bounds=bounds)


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the middle half of the values, those at its edges counted in part: one failed seed hardly moves it.

    Examples
    --------
    >>> round(interquartile_mean(np.array([0.1, 0.7, 0.8])), 4)
    0.6167
    """
    values = np.sort(np.asarray(values, float))
    edges = np.arange(len(values) + 1) / len(values)
    share = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return float((share * values).sum() / share.sum())
