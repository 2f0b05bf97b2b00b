"""How steadily filters answer to one place: nets with masks beside those without, and these beside random weights.

The masks of Zhang, Wu and Zhu (2018) are meant to make a filter answer to one thing. Where a filter of the third layer
peaks is compared before the mask, which leaves every peak where it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from harness.corpora.segments import clips_of
from harness.explain import activations
from harness.explain.stability import Peaks, deviation, find_peaks, joined
from harness.metrics.seeds import Replicates, joint
from harness.metrics.uncertainty import interval
from harness.report.resampling import Draws
from replications.gtzan_cam.nets import Net, pictures_of, untrained

#: Stage at which filters are compared.
STAGE = "relu3"
#: Test segments of a trial that are looked at.
SEGMENTS = 240
#: What a net is called before it is trained.
RANDOM = "random weights"
#: What each net is held against: the masks against a net without them, their loss also against the masks alone.
AGAINST = {"base": (RANDOM,), "masked": ("base",), "masked_loss": ("base", "masked")}


def stability_rows(nets: Sequence[Net]) -> list[dict[str, Any]]:
    """Deviation of filters' peaks, of each net against those of `AGAINST`.

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
    titles = {RANDOM: RANDOM} | {arm: next(iter(of_seeds.values())).title for arm, of_seeds in by_arm.items()}
    keys: dict[int, np.ndarray] = {}
    found: dict[tuple[str, int], Peaks] = {}
    for arm, of_seeds in by_arm.items():
        for seed, net in of_seeds.items():
            keys[seed], pictures = segments_to_test(net)
            found[arm, seed] = peaks_of(net.network, pictures)
            if RANDOM in AGAINST[arm]:
                found[RANDOM, seed] = peaks_of(untrained(net), pictures)
    rows = []
    for arm, of_seeds in by_arm.items():
        for against in AGAINST[arm]:
            pairs = [(seed, found[arm, seed], found[against, seed]) for seed in of_seeds if (against, seed) in found]
            if not pairs:
                continue
            for axis in ("frequency", "time"):
                names = {
                    "measure": f"steadiness_{axis}",
                    "measure_title": f"peak's deviation in {axis}",
                    "arm": arm,
                    "net_title": titles[arm],
                    "against": titles[against],
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


def peaks_of(network: nn.Sequential, pictures: np.ndarray, batch: int = 32) -> Peaks:
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
    starts = range(0, len(pictures), batch)
    return joined([find_peaks(activations(network, pictures[s : s + batch], [STAGE])[STAGE]) for s in starts])


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
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    dict
        Means over the seeds, their difference with its interval, and the seeds' differences; how many seeds, tracks
        and live filters it rests on.
    """
    draws = Draws([[keys[seed] for seed, _, _ in pairs]], replicates)
    values, drawn = [], []
    for seed, ours, theirs in pairs:
        sides = [(getattr(p, axis), p.active) for p in (ours, theirs)]
        values.append([float(deviation(*side)[0]) for side in sides])
        blocks = [
            deviation(*sides[0], weights) - deviation(*sides[1], weights) for weights in draws.weights(keys[seed])
        ]
        drawn.append(np.concatenate(blocks))
    live = np.mean([[side.live for side in sides] for _, *sides in pairs], axis=0)
    return _row(values, np.array(drawn), level) | {
        "seeds": len(pairs),
        "tracks": len(np.unique(clips_of(np.concatenate([keys[seed] for seed, _, _ in pairs])))),
        "filters": " / ".join(f"{count:.0f}" for count in live),
    }


def _row(values: Sequence[Sequence[float]], drawn: np.ndarray, level: float) -> dict[str, Any]:
    """What a row says of value and reference of each seed, and of resampled differences, (seeds, replicates)."""
    value, reference = np.mean(values, axis=0)
    gain = Replicates(np.array([a - b for a, b in values]), drawn)
    ends = interval(gain.score, joint(gain), level, bounds=(-1, 1)) or (None, None)
    return {
        "value": value,
        "reference": reference,
        "difference": value - reference,
        "difference_low": ends[0],
        "difference_high": ends[1],
        "of_seeds": " ".join(f"{a - b:+.4f}" for a, b in values),
        "seeds_title": ", ".join(f"{a - b:+.3f}" for a, b in values).replace("-", "\u2212"),
    }
