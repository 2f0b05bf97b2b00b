"""How stable the places of filters' peaks are: nets with masks beside those without, and all beside random weights.

The masks of Zhang, Wu and Zhu (2018) are meant to make a filter answer to one thing. Where a filter of the third layer
peaks is compared before the mask, which leaves every peak where it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from harness.analysis.measured import Gain, decided
from harness.analysis.resampling import resample
from harness.analysis.study import Analysis
from harness.explain import activations
from harness.explain.stability import deviation, find_peaks

#: Stage at which filters are compared.
STAGE = "relu3"
#: What a net is called before it is trained; it is measured with the net.
UNTRAINED = "untrained"
#: What each net is held against: the masks against a net without them, their loss also against the masks alone.
AGAINST = {"base": (UNTRAINED,), "masked": ("base",), "masked_loss": ("base", "masked")}
AXES = ("frequency", "time")


def find_cells(network: nn.Sequential, pictures: np.ndarray, batch: int = 32) -> tuple[np.ndarray, tuple[int, int]]:
    """Find where each filter of the third layer peaks, and the height and width of its maps.

    Gives the number of the strongest cell, row by row, and -1 where the filter is silent: (n, filters), int16.
    """
    found = []
    for start in range(0, len(pictures), batch):
        peaks = find_peaks(activations(network, pictures[start : start + batch], [STAGE])[STAGE])
        rows, columns = (np.rint(a * n) for a, n in zip((peaks.frequency, peaks.time), peaks.shape, strict=True))
        found.append(np.where(peaks.active, rows * peaks.shape[1] + columns, -1).astype(np.int16))
    return np.concatenate(found), peaks.shape


def measure_peaks(
    network: nn.Sequential, untrained: nn.Sequential, keys: np.ndarray, pictures: np.ndarray
) -> dict[str, np.ndarray]:
    """Peaks of a net and of the same before training: ``keys``, ``shape``, ``trained`` and ``untrained``."""
    cells, shape = find_cells(network, pictures)
    return {"keys": keys, "shape": np.array(shape), "trained": cells, UNTRAINED: find_cells(untrained, pictures)[0]}


@dataclass(frozen=True)
class PeakGain(Gain):
    """Deviation of a net's peaks minus that of another, in `live` filters of either, mean over the seeds."""

    live: tuple[float, float] = (np.nan, np.nan)


def peak_gain(analysis: Analysis, condition: str, arm: str, against: str, axis: str, level: float) -> PeakGain | None:
    """Compare how far filters' peaks deviate in two nets; None where they were not measured on one seed.

    Parameters
    ----------
    analysis, condition
        Of the study's trials, those under that condition.
    arm, against
        Names; `UNTRAINED` is the arm itself before training.
    axis
        One of `AXES`.
    level
        Of the interval.
    """
    sides = [_peaks(analysis, name, condition) for name in (arm, arm if against == UNTRAINED else against)]
    columns = ("trained", UNTRAINED if against == UNTRAINED else "trained")
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return None
    keys, pairs, live = [], [], []
    for seed in seeds:
        ours, theirs = sides[0][seed], sides[1][seed]
        shared, *rows = np.intersect1d(ours["keys"], theirs["keys"], return_indices=True)
        cells = [side[name][some] for side, name, some in zip((ours, theirs), columns, rows, strict=True)]
        keys.append(analysis.units(shared))
        pairs.append([(_places(c, ours["shape"], axis), c >= 0) for c in cells])
        live.append([int(((c >= 0).sum(axis=0) > 1).sum()) for c in cells])

    def score(number: int, weights: np.ndarray) -> np.ndarray:
        return np.stack([deviation(*side, weights) for side in pairs[number]], axis=1)

    both = resample(keys, score, replicates=analysis.replicates)
    found = both.over(lambda values: values[..., :1] - values[..., 1:])
    low, high, p = decided(found, level=level)
    value, reference = both.plain.mean(axis=0).tolist()
    return PeakGain(
        value, reference, value - reference, low, high, p, tuple(found.plain[:, 0].tolist()), sum(map(len, keys)),
        found.units, tuple(np.mean(live, axis=0).tolist()),
    )  # fmt: skip


def _peaks(analysis: Analysis, arm: str, condition: str) -> dict[int, Mapping[str, np.ndarray]]:
    """What was measured of an arm, by seed."""
    found = {r.seed: r.measured("peaks") for r in analysis.select(arm, condition)}
    return {seed: peaks for seed, peaks in found.items() if peaks is not None}


def _places(cells: np.ndarray, shape: np.ndarray, axis: str) -> np.ndarray:
    """Positions of peaks as shares of the map's height or width."""
    height, width = shape.tolist()
    rows, columns = np.divmod(cells, width)
    return rows / height if axis == "frequency" else columns / width
