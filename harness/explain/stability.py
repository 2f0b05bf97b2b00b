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
class Peaks:
    """Where each filter peaks in some clips.

    Parameters
    ----------
    frequency, time : np.ndarray [shape=(n, channels)]
        Of the strongest cell, the first of several: row and column as shares of the map's height and width.
    active : np.ndarray [shape=(n, channels), dtype=bool]
        Whether the map is not zero.
    shape
        Height and width of the maps.
    """

    frequency: np.ndarray
    time: np.ndarray
    active: np.ndarray
    shape: tuple[int, int]

    @property
    def live(self) -> int:
        """How many filters are active in two clips or more, so that they have a deviation."""
        return int((self.active.sum(axis=0) > 1).sum())


def find_peaks(maps: np.ndarray) -> Peaks:
    """Find the peak of every map.

    Parameters
    ----------
    maps : np.ndarray [shape=(n, channels, h, w)]
        Feature maps behind a ReLU, frequency x time (`harness.explain.activations`).

    Returns
    -------
    Peaks
        Of all of them.

    Raises
    ------
    RepriseError
        The maps are not (n, channels, h, w).
    """
    maps = np.asarray(maps)
    if maps.ndim != 4:
        raise RepriseError(f"feature maps of shape {maps.shape} have no places; give (n, channels, h, w)")
    n, channels, height, width = maps.shape
    flat = maps.reshape(n, channels, height * width)
    rows, columns = np.divmod(flat.argmax(axis=2), width)
    return Peaks(rows / height, columns / width, flat.max(axis=2) > 0, (height, width))


def joined(parts: Sequence[Peaks]) -> Peaks:
    """Put the peaks of several batches of clips together.

    Parameters
    ----------
    parts
        Of the same filters; at least one.

    Returns
    -------
    Peaks
        In the same order.
    """
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("frequency", "time", "active"))
    return Peaks(*arrays, parts[0].shape)


def deviation(places: np.ndarray, active: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Deviation of the filters' peaks along one axis, where clips may count several times.

    Parameters
    ----------
    places : np.ndarray [shape=(n, channels)]
        `Peaks.frequency` or `Peaks.time`.
    active : np.ndarray [shape=(n, channels), dtype=bool]
        Whether they count.
    weights : np.ndarray [shape=(replicates, n)], optional
        How often each clip is drawn; default: each once.

    Returns
    -------
    np.ndarray [shape=(replicates,)]
        Standard deviation (n - 1) of each filter's places over the clips in which it is active, mean over the filters
        that are active twice or more; NaN where none is. Small is steady; `chance` is what a filter without a place of
        its own has.
    """
    weights = np.ones((1, len(places))) if weights is None else weights.astype(float)
    counted = active.astype(float)
    n = weights @ counted
    mean = (weights @ (places * counted)) / np.maximum(n, 1)
    squares = (weights @ (np.square(places) * counted)) - n * np.square(mean)
    spread = np.where(n > 1, np.sqrt(np.maximum(squares, 0) / np.maximum(n - 1, 1)), 0)
    known = (n > 1).sum(axis=1)
    return np.where(known > 0, spread.sum(axis=1) / np.maximum(known, 1), np.nan)


def chance(length: int) -> float:
    """Deviation that a filter has whose peak falls on every cell of an axis with equal probability.

    Parameters
    ----------
    length
        Height or width of its maps.

    Returns
    -------
    float
        ``sqrt((1 - 1 / length**2) / 12)``, 0.29 for all but the smallest maps. A network with random weights may stay
        below it, as loud bands draw the peaks of any filter: compare with one as well.

    Examples
    --------
    >>> round(chance(2), 4), round(chance(64), 4)
    (0.25, 0.2886)
    """
    return float(np.sqrt((1 - 1 / length**2) / 12))
