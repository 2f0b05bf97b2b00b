"""How steadily filters answer to one place: masked nets beside the base net, and that beside random weights.

The masks of Zhang, Wu and Zhu (2018) are meant to make a filter answer to one thing. Where a filter of the third layer
peaks is compared before the mask, which leaves every peak where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.explain import activations, randomised
from harness.metrics.uncertainty import interval
from harness.models.masking import peaks
from harness.report.resampling import Draws
from replications.gtzan_cam.nets import Net, pictures_of

#: Stage at which filters are compared.
STAGE = "relu3"
#: Test segments of a trial that are looked at.
SEGMENTS = 240
#: What the base net is held against.
RANDOM = "random weights"


@dataclass(frozen=True)
class Peaks:
    """Where each filter of a net peaks in some segments.

    Parameters
    ----------
    frequency, time : np.ndarray [shape=(n, channels)]
        Of the strongest cell, as shares of the map's height and width.
    active : np.ndarray [shape=(n, channels), dtype=bool]
        Whether the map is not zero.
    """

    frequency: np.ndarray
    time: np.ndarray
    active: np.ndarray


def stability_rows(nets: Sequence[Net]) -> list[dict[str, Any]]:
    """Deviation of filters' peaks: of masked nets against the base net, and of the base net against random weights.

    Parameters
    ----------
    nets
        Of one condition.

    Returns
    -------
    list of dict
        Two rows per net and reference, for frequency and time; seeds that both have.
    """
    by_arm: dict[str, dict[int, Net]] = {}
    for net in nets:
        if not net.averages:
            by_arm.setdefault(net.record.arm, {})[net.record.seed] = net
    keys: dict[int, np.ndarray] = {}
    found: dict[tuple[str, int], Peaks] = {}
    for arm, of_seeds in by_arm.items():
        for seed, net in of_seeds.items():
            keys[seed], pictures = segments_to_test(net)
            found[arm, seed] = find_peaks(net.network, pictures)
            if arm == "base":
                found[RANDOM, seed] = find_peaks(randomised(net.network, seed), pictures)
    rows = []
    for arm, of_seeds in by_arm.items():
        against = RANDOM if arm == "base" else "base"
        pairs = [(seed, found[arm, seed], found[against, seed]) for seed in of_seeds if (against, seed) in found]
        if not pairs:
            continue
        title = RANDOM if against == RANDOM else by_arm["base"][pairs[0][0]].title
        for axis in ("frequency", "time"):
            names = {
                "measure": f"steadiness_{axis}",
                "measure_title": f"peak's deviation in {axis}",
                "arm": arm,
                "net_title": next(iter(of_seeds.values())).title,
                "against": title,
            }
            rows.append(names | compare_peaks(pairs, axis, keys))
    return rows


def segments_to_test(net: Net) -> tuple[np.ndarray, np.ndarray]:
    """Test segments of a trial, or an even sample of many.

    Parameters
    ----------
    net
        Of the trial.

    Returns
    -------
    keys : np.ndarray [shape=(n,)]
        Of segments.
    pictures : np.ndarray [shape=(n, bands, frames)]
        As the net takes them.
    """
    keys = net.record.predictions("test").keys
    keys = keys[:: -(-len(keys) // SEGMENTS)]
    return keys, pictures_of(net, keys)


def find_peaks(network: nn.Sequential, pictures: np.ndarray, batch: int = 32) -> Peaks:
    """Where each filter of the third layer peaks.

    Parameters
    ----------
    network
        With a stage `STAGE`.
    pictures : np.ndarray [shape=(n, bands, frames)]
        Its inputs.
    batch
        How many go through at once.

    Returns
    -------
    Peaks
        Of all segments.
    """
    parts = []
    for start in range(0, len(pictures), batch):
        maps = torch.from_numpy(activations(network, pictures[start : start + batch], [STAGE])[STAGE])
        rows, columns = peaks(maps)
        parts.append((rows / maps.shape[2], columns / maps.shape[3], maps.amax(dim=(2, 3)) > 0))
    return Peaks(*(torch.cat(part).numpy() for part in zip(*parts, strict=True)))


def weighted_deviation(places: np.ndarray, active: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Deviation of `harness.explain.stability`, mean over the filters, where segments count several times.

    Parameters
    ----------
    places : np.ndarray [shape=(n, channels)]
        Of peaks.
    active : np.ndarray [shape=(n, channels), dtype=bool]
        Whether they count.
    weights : np.ndarray [shape=(replicates, n)]
        How often each segment is drawn.

    Returns
    -------
    np.ndarray [shape=(replicates,)]
        NaN where no filter is active twice.
    """
    weights, counted = weights.astype(float), active.astype(float)
    n = weights @ counted
    mean = (weights @ (places * counted)) / np.maximum(n, 1)
    squares = (weights @ (np.square(places) * counted)) - n * np.square(mean)
    spread = np.where(n > 1, np.sqrt(np.maximum(squares, 0) / np.maximum(n - 1, 1)), np.nan)
    known = ~np.isnan(spread)
    return np.where(known.any(axis=1), np.nansum(spread, axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)


def compare_peaks(
    pairs: Sequence[tuple[int, Peaks, Peaks]],
    axis: str,
    keys: Mapping[int, np.ndarray],
    *,
    replicates: int = 1000,
    level: float = 0.95,
) -> dict[str, Any]:
    """How much steadier the filters of one net are than those of another.

    Parameters
    ----------
    pairs
        Seed, and peaks of the net and of its reference on the same segments.
    axis
        ``"frequency"`` or ``"time"``.
    keys
        Of the segments, by seed.
    replicates, level
        Of the bootstrap over tracks.

    Returns
    -------
    dict
        Means over the seeds, their difference with its interval, and the seeds' differences.
    """
    draws = Draws([[keys[seed] for seed, _, _ in pairs]], replicates)
    values, drawn = [], []
    for seed, ours, theirs in pairs:
        sides = [(getattr(p, axis), p.active) for p in (ours, theirs)]
        values.append([float(weighted_deviation(*side, np.ones((1, len(keys[seed]))))[0]) for side in sides])
        blocks = [
            weighted_deviation(*sides[0], weights) - weighted_deviation(*sides[1], weights)
            for weights in draws.weights(keys[seed])
        ]
        drawn.append(np.concatenate(blocks))
    return _row(values, np.mean(drawn, axis=0), level)


def _row(values: Sequence[Sequence[float]], drawn: np.ndarray, level: float) -> dict[str, Any]:
    """What a row says of value and reference of each seed, and of resampled differences."""
    value, reference = np.mean(values, axis=0)
    ends = interval(float(value - reference), drawn, level, bounds=(-1, 1)) or (None, None)
    return {
        "value": value,
        "reference": reference,
        "difference": value - reference,
        "difference_low": ends[0],
        "difference_high": ends[1],
        "of_seeds": " ".join(f"{a - b:+.4f}" for a, b in values),
        "seeds_title": ", ".join(f"{a - b:+.3f}" for a, b in values).replace("-", "\u2212"),
    }
