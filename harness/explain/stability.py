"""How steadily a filter answers to one place: the location stability of feature maps.

Zhang, Wu and Zhu (CVPR 2018) call a filter interpretable that always fires at the same part of an object, and measure
the deviation of its peak from the object's landmarks. A spectrogram has no landmarks but its axes: a filter that
answers to one thing (a bass drum, a hi-hat, a voice's formants) peaks at one *frequency*, while *when* it peaks is the
music's business. So the deviation is taken of the peak's own position, for frequency and time apart, and the one over
frequency is what tells filters from each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import RepriseError


@dataclass(frozen=True)
class Deviation:
    """Deviations of filters' peaks.

    Attributes
    ----------
    frequency, time : np.ndarray [shape=(channels,) or (classes, channels)]
        Standard deviation (n - 1) of the peak's row over the maps' height and of its column over their width, over
        the clips in which the filter is active; NaN where these are fewer than two. Small is steady; `chance` is what
        a filter without a place of its own has.
    clips : np.ndarray [shape as above, dtype=int]
        In how many clips the filter is active.
    """

    frequency: np.ndarray
    time: np.ndarray
    clips: np.ndarray

    @property
    def mean_frequency(self) -> float:
        """Mean of `frequency` over all filters (and classes) that have one; NaN if none has."""
        return _mean(self.frequency)

    @property
    def mean_time(self) -> float:
        """Mean of `time` over all filters (and classes) that have one; NaN if none has."""
        return _mean(self.time)


def deviation(maps: np.ndarray, *, least: float = 0.0) -> Deviation:
    """Deviation of each filter's peak over all clips.

    Parameters
    ----------
    maps : np.ndarray [shape=(n, channels, h, w)]
        Feature maps behind a ReLU, frequency x time (`harness.explain.activations`).
    least
        A filter is active in a clip where its peak reaches this share of its strongest peak in all clips; 0 counts
        every map that is not zero.

    Returns
    -------
    Deviation
        One value per filter.

    Raises
    ------
    RepriseError
        The maps are not (n, channels, h, w).
    """
    return _deviation(*_peaks(maps, least))


def deviation_per_class(
    maps: np.ndarray, labels: Sequence[int] | np.ndarray, classes: int, *, least: float = 0.0
) -> Deviation:
    """Deviation of each filter's peak over the clips of each class.

    Parameters
    ----------
    maps, least
        As `deviation` takes them.
    labels : array-like [shape=(n,)]
        Each clip's class, from 0.
    classes
        Number of classes.

    Returns
    -------
    Deviation
        One value per class and filter, shape (classes, channels).

    Raises
    ------
    RepriseError
        The maps are not (n, channels, h, w), or there are not as many labels.
    """
    rows, columns, active = _peaks(maps, least)
    labels = np.asarray(labels)
    if labels.shape != (len(maps),):
        raise RepriseError(f"{len(maps)} clips came with labels of shape {labels.shape}; give one class per clip")
    parts = [
        _deviation(rows[own], columns[own], active[own]) for own in (labels == number for number in range(classes))
    ]
    return Deviation(*(np.stack([getattr(part, name) for part in parts]) for name in ("frequency", "time", "clips")))


def chance(height: int, width: int) -> tuple[float, float]:
    """Deviation that a filter has whose peak falls on every cell with equal probability.

    Parameters
    ----------
    height, width
        Of its maps.

    Returns
    -------
    frequency, time : float
        ``sqrt((1 - 1 / length**2) / 12)``, 0.29 for all but the smallest maps. A network with random weights may stay
        below it, as loud bands draw the peaks of any filter; compare with one (`harness.explain.randomised`) as well.

    Examples
    --------
    >>> [round(value, 4) for value in chance(2, 64)]
    [0.25, 0.2886]
    """
    frequency, time = (float(np.sqrt((1 - 1 / length**2) / 12)) for length in (height, width))
    return frequency, time


def _peaks(maps: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Relative row and column of each map's peak, the first of several, and whether the map is active: (n, c) each."""
    maps = np.asarray(maps)
    if maps.ndim != 4:
        raise RepriseError(f"feature maps of shape {maps.shape} have no places; give (n, channels, h, w)")
    n, channels, height, width = maps.shape
    flat = maps.reshape(n, channels, height * width)
    rows, columns = np.divmod(flat.argmax(axis=2), width)
    strengths = flat.max(axis=2)
    strongest = strengths.max(axis=0, initial=0)
    return rows / height, columns / width, (strengths > 0) & (strengths >= least * strongest)


def _deviation(rows: np.ndarray, columns: np.ndarray, active: np.ndarray) -> Deviation:
    clips = active.sum(axis=0)
    return Deviation(_spread(rows, active, clips), _spread(columns, active, clips), clips)


def _spread(places: np.ndarray, active: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Standard deviation of each column's active entries."""
    mean = (places * active).sum(axis=0) / np.maximum(clips, 1)
    squares = (np.square(places - mean) * active).sum(axis=0)
    return np.where(clips > 1, np.sqrt(squares / np.maximum(clips - 1, 1)), np.nan)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
