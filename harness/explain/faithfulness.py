"""How far a heat map points at the instrument it claims to explain.

Where the stem of an instrument is known, so is where it can be heard: in the time-frequency bins that it fills. A map
is scored by the share of its energy that falls there. A map that knows nothing spreads evenly, and its share is the
share of the area; a map of the same network with random weights (`randomised`) shows what the architecture alone does
to a spectrogram (the sanity check of Adebayo et al. 2018). `harness.analysis.measured.gain` compares
both pair by pair on the same clips.
"""

import copy

import numpy as np
import torch
from torch import nn

from harness.errors import RepriseError
from harness.models import chain
from harness.models.frozen import estimate_statistics


def stem_mask(
    stem: np.ndarray, mix: np.ndarray, *, within_db: float = 6.0, range_db: float = 60.0, floor_db: float = -np.inf
) -> np.ndarray:
    """Bins in which an instrument can be heard: an ideal mask of its stem.

    A bin belongs to the instrument if its stem is at most `within_db` below the mixture there (6 dB: it gives at
    least a quarter of the power), and if it is loud enough to matter at all. Several instruments may own one bin.

    Parameters
    ----------
    stem, mix : np.ndarray [shape=(bands, frames)]
        The stem and the whole clip through the same front end, in dB (natural logarithms of magnitudes, as VGGish
        takes them, times ``20 / ln 10``).
    within_db
        How far the stem may lie below the mixture.
    range_db
        How far it may lie below the clip's loudest bin.
    floor_db
        Value that the stem must exceed, for front ends that add a constant: silence then equals silence. With the
        0.01 of VGGish, -34 is where the sound outweighs the constant.

    Returns
    -------
    np.ndarray [shape=(bands, frames), dtype=bool]
        Where the instrument can be heard.
    """
    threshold = np.maximum(mix - within_db, max(mix.max() - range_db, floor_db))
    return (stem >= threshold) & (stem > floor_db)


def frames_sounding(activity: np.ndarray, activity_seconds: float, frames: int, frame_seconds: float) -> np.ndarray:
    """Put an instrument's activity on the frames of a front end.

    Parameters
    ----------
    activity : np.ndarray [shape=(m,), dtype=bool]
        Whether the instrument sounds, at its own rate.
    activity_seconds
        Seconds from one of its entries to the next.
    frames
        Number of frames of the front end.
    frame_seconds
        Seconds from one of its frames to the next.

    Returns
    -------
    np.ndarray [shape=(frames,), dtype=bool]
        The entry in which each frame's first instant falls; the last one beyond the end.
    """
    index = (np.arange(frames) * frame_seconds / activity_seconds + 1e-9).astype(int)
    return np.asarray(activity, bool)[np.minimum(index, len(activity) - 1)]


def shares(heat: np.ndarray, mask: np.ndarray, sounding: np.ndarray) -> dict[str, float]:
    """Shares of a map's energy that fall where, and when, the instrument sounds.

    Parameters
    ----------
    heat : np.ndarray [shape=(bands, frames)]
        A map; what is negative counts as zero.
    mask : np.ndarray [shape=(bands, frames), dtype=bool]
        Where the instrument can be heard, see `stem_mask`.
    sounding : np.ndarray [shape=(frames,), dtype=bool]
        When it sounds, see `frames_sounding`.

    Returns
    -------
    dict of str to float
        ``where_and_when`` and ``when``: the map's shares inside the mask and inside the frames, NaN for a map that is
        zero everywhere; ``area`` and ``time``: what a uniform map gets, the shares of all bins and of all frames.

    Raises
    ------
    RepriseError
        The shapes do not fit.
    """
    if heat.shape != mask.shape or heat.shape[1:] != sounding.shape:
        raise RepriseError(
            f"map {heat.shape}, mask {mask.shape} and frames {sounding.shape} differ in shape; "
            "bring the map to the spectrogram's resolution first"
        )
    energy = np.maximum(heat, 0).astype(np.float64)
    total = energy.sum()
    inside, during = (energy[mask].sum() / total, energy[:, sounding].sum() / total) if total else (np.nan, np.nan)
    return {
        "where_and_when": float(inside),
        "area": float(mask.mean()),
        "when": float(during),
        "time": float(sounding.mean()),
    }


def randomised(model: nn.Sequential, seed: int, inputs: np.ndarray | None = None) -> nn.Sequential:
    """Copy of a network whose weights know nothing.

    Parameters
    ----------
    model
        A chain of stages (`harness.models.chain`); it is left as it is.
    seed
        Of the new weights, which every module draws as it does when it is built.
    inputs : np.ndarray [shape=(n, ...)]
        Clips to estimate the statistics of batch normalisation on. Without them they are those of a fresh module
        (mean 0, variance 1), with which a spectrogram in dB saturates a deep network.

    Returns
    -------
    nn.Sequential
        On the same device, in evaluation mode.
    """
    copied = copy.deepcopy(model).eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in copied.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    if inputs is not None:
        device = next(copied.parameters()).device
        estimate_statistics(chain(copied), inputs, np.arange(len(inputs)), device=device)
    return copied
