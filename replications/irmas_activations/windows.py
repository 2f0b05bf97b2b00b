"""How an excerpt of any length is heard a second at a time, and what is made of what was heard (study 001; Han et al.).

The network knows seconds. A test excerpt of 5 to 20 s is cut into windows that overlap, and the outputs for all its
windows become one score a class in one of two ways:

``s1``
    their mean;
``s2``
    their sum, divided by the largest of all classes' sums: the excerpt's strongest instrument always scores 1.

An instrument is predicted where its score reaches a threshold, one for all classes. Published results choose it on the
test excerpts themselves. Here it is chosen on mixtures of validation clips (`mixtures`), and what the best threshold
would have given on the test excerpts is told apart from it, as an oracle's.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from harness.errors import RepriseError
from harness.metrics import validate, weighted

#: Frames of a window.
FRAMES = 43
#: The thresholds that were tried in public code, by aggregation.
GRIDS = {
    "s1": tuple(round(0.10 + 0.02 * i, 2) for i in range(8)),
    "s2": tuple(round(0.25 + 0.05 * i, 2) for i in range(8)),
}


def starts(length: int, hop: float = 0.5, *, frames: int = FRAMES) -> np.ndarray:
    """First frames of the windows that cover a spectrogram.

    Parameters
    ----------
    length
        Frames of the spectrogram.
    hop
        From one window's start to the next, as a share of a window, rounded down to whole frames: 0.5 for an overlap
        of a half, 21 of 43 frames; 1 for none.
    frames
        Frames of a window.

    Returns
    -------
    np.ndarray, shape (windows,), int64
        Ascending from 0. The last window ends with the spectrogram, and so may overlap the one before it by more.

    Raises
    ------
    RepriseError
        The spectrogram is shorter than a window.
    ValueError
        Windows would not move on, or leave gaps.

    Examples
    --------
    >>> starts(130).tolist()
    [0, 21, 42, 63, 84, 87]
    """
    step = int(hop * frames)
    if not 1 <= step <= frames:
        raise ValueError(f"a hop of {hop} of {frames} frames is {step} frames; it must be from 1 to {frames}")
    if length < frames:
        raise RepriseError(
            f"a clip of {length} frames is shorter than a window of {frames}, about one second; leave it out"
        )
    last = length - frames
    return np.append(np.arange(0, last, step), last).astype(np.int64)


def windows(spectrogram: np.ndarray, hop: float = 0.5, *, frames: int = FRAMES) -> np.ndarray:
    """Windows that cover a spectrogram.

    Parameters
    ----------
    spectrogram : np.ndarray, shape (bands, length)
        Of a whole clip, as `harness.features.han.HanSegments.log_mel` gives it.
    hop, frames
        As in `starts`.

    Returns
    -------
    np.ndarray, shape (windows, bands, frames)
        A copy, in the order of `starts`.

    Raises
    ------
    RepriseError, ValueError
        As `starts`.
    """
    first = starts(spectrogram.shape[1], hop, frames=frames)
    pieces = np.lib.stride_tricks.sliding_window_view(spectrogram, frames, axis=1)[:, first]
    return np.ascontiguousarray(pieces.transpose(1, 0, 2))


@torch.inference_mode()
def window_outputs(
    network: nn.Module,
    spectrograms: Iterable[np.ndarray],
    hop: float = 0.5,
    *,
    frames: int = FRAMES,
    batch_size: int = 256,
) -> tuple[np.ndarray, np.ndarray]:
    """What a network says of every window of some clips.

    Parameters
    ----------
    network
        On any device; from windows to logits. It is put into evaluation mode.
    spectrograms : iterable of np.ndarray, shape (bands, length)
        One a clip; each is taken once, so a generator may compute them.
    hop, frames
        As in `starts`.
    batch_size
        Windows at a time; windows of several clips may share a batch.

    Returns
    -------
    outputs : np.ndarray, shape (windows of all clips, classes), float64
        Sigmoids, the windows of a clip together and in order.
    counts : np.ndarray, shape (clips,), int64
        How many windows each clip has.

    Raises
    ------
    RepriseError, ValueError
        As `starts`.
    """
    network.eval()
    device = next(network.parameters()).device
    outputs, counts, waiting = [], [], []

    def run(pieces: np.ndarray) -> None:
        outputs.append(torch.sigmoid(network(torch.from_numpy(pieces).to(device))).double().cpu().numpy())

    for spectrogram in spectrograms:
        pieces = windows(spectrogram, hop, frames=frames)
        counts.append(len(pieces))
        waiting.append(pieces)
        if sum(map(len, waiting)) >= batch_size:
            ready = np.concatenate(waiting)
            whole = len(ready) // batch_size * batch_size
            for start in range(0, whole, batch_size):
                run(ready[start : start + batch_size])
            waiting = [ready[whole:]]
    if rest := [pieces for pieces in waiting if len(pieces)]:
        run(np.concatenate(rest))
    return np.concatenate(outputs), np.array(counts, np.int64)


def aggregate(outputs: np.ndarray, counts: Sequence[int] | np.ndarray, how: str) -> np.ndarray:
    """Scores of clips from the outputs for their windows.

    Parameters
    ----------
    outputs : np.ndarray, shape (windows of all clips, classes)
        From 0 to 1, the windows of a clip together.
    counts : sequence of int, shape (clips,)
        How many windows each clip has, at least one.
    how : {"s1", "s2"}
        ``"s1"``: the mean; ``"s2"``: the sum divided by the clip's largest.

    Returns
    -------
    np.ndarray, shape (clips, classes), float64
        From 0 to 1. With ``"s2"`` a clip for which every output is 0 scores 0 throughout.

    Raises
    ------
    ValueError
        The counts do not add up to the outputs, one is 0, or there is no such aggregation.
    """
    counts = np.asarray(counts, np.int64)
    if counts.sum() != len(outputs) or (counts < 1).any():
        raise ValueError(f"counts must be at least 1 and add up to {len(outputs)}, not to {counts.sum()}")
    sums = np.add.reduceat(np.asarray(outputs, np.float64), np.cumsum(counts) - counts, axis=0)
    if how == "s1":
        return sums / counts[:, None]
    if how == "s2":
        largest = sums.max(axis=1, keepdims=True)
        return np.divide(sums, largest, out=np.zeros_like(sums), where=largest > 0)
    raise ValueError(f'windows are aggregated by "s1" or "s2", not {how!r}')


def threshold_curve(labels: np.ndarray, scores: np.ndarray, grid: Sequence[float]) -> pd.DataFrame:
    """Micro- and macro-F1 at every threshold of a grid.

    Parameters
    ----------
    labels : np.ndarray, shape (clips, classes)
        0 or 1.
    scores : np.ndarray, shape (clips, classes)
        From `aggregate`.
    grid
        Thresholds, such as those of `GRIDS`.

    Returns
    -------
    pd.DataFrame
        Columns ``threshold``, ``f1_micro`` and ``f1_macro``, a row for each threshold, ascending.
    """
    labels, scores, mask, _ = validate("multilabel", labels, scores)
    names, once = ("f1_micro_unmasked", "f1_macro_unmasked"), np.ones((1, len(labels)))
    rows = []
    for threshold in sorted(grid):
        values, _ = weighted("multilabel", labels, scores, mask, once, metrics=names, threshold=threshold)
        rows.append([float(threshold), *(float(values[name][0]) for name in names)])
    return pd.DataFrame(rows, columns=["threshold", "f1_micro", "f1_macro"])
