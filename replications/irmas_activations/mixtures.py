"""Mixtures of validation clips, on which the threshold of the test protocol is chosen (study 001).

Training clips of IRMAS have one label and test excerpts up to five, so that no threshold for several instruments can
be learnt from clips as they are. Sums of one to three clips of different classes and songs stand in for the excerpts.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.errors import RepriseError

#: Clips in a mixture at most. Of the published test excerpts 98.5 % have as many labels or fewer.
LARGEST = 3


def draw_mixtures(
    labels: np.ndarray, groups: pd.Series, rows: np.ndarray, count: int, *, seed: int
) -> list[np.ndarray]:
    """Choose the clips of mixtures at random: of one, two and three clips in turn.

    Parameters
    ----------
    labels : np.ndarray, shape (clips, classes)
        Of the whole corpus; of a mixture's clips no two have a class in common.
    groups : pd.Series, shape (clips,)
        Songs; no two clips of a mixture are from one. A clip whose song is missing is one of its own.
    rows : np.ndarray, shape (n,)
        The clips to draw from, a split's validation part.
    count
        Number of mixtures.
    seed
        The same seed draws the same.

    Returns
    -------
    list of np.ndarray
        Row numbers, ascending within a mixture. The i-th has ``1 + i % 3`` clips, or as many as there are of different
        classes and songs.

    Raises
    ------
    RepriseError
        There is no clip to draw from.
    """
    if not len(rows):
        raise RepriseError("there are no validation clips to mix; use a larger corpus")
    rng = np.random.default_rng([seed, 0x315])
    songs = pd.Series(groups).reset_index(drop=True)
    songs = songs.where(songs.notna(), [f"clip {row}" for row in range(len(songs))]).to_numpy(dtype=str)
    ordered = np.sort(np.asarray(rows, np.int64))  # what is drawn must not hang on the order in which rows are given
    mixtures = []
    for number in range(count):
        chosen: list[int] = []
        present = np.zeros(labels.shape[1], bool)
        for row in rng.permutation(ordered):
            if not (present & (labels[row] > 0)).any() and songs[row] not in songs[chosen]:
                chosen.append(int(row))
                present |= labels[row] > 0
            if len(chosen) == 1 + number % LARGEST:
                break
        mixtures.append(np.sort(np.array(chosen)))
    return mixtures


def mix(waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Sum waveforms at equal levels.

    Parameters
    ----------
    waveforms : sequence of np.ndarray, shape (n,)
        At one rate; each has the length of its own.

    Returns
    -------
    np.ndarray, shape (shortest n,), float32
        Every waveform with the same RMS level, the sum scaled to a peak of 1; silence where all are silent.
    """
    length = min(map(len, waveforms))
    total = np.zeros(length)
    for waveform in waveforms:
        part = np.asarray(waveform[:length], np.float64)
        level = np.sqrt(np.mean(part**2))
        total += part / level if level > 0 else part
    peak = np.abs(total).max(initial=0)
    return (total / peak if peak > 0 else total).astype(np.float32)


def labels_of(labels: np.ndarray, mixtures: Sequence[np.ndarray]) -> np.ndarray:
    """What sounds in mixtures.

    Parameters
    ----------
    labels : np.ndarray, shape (clips, classes)
        Of the corpus.
    mixtures
        From `draw_mixtures`.

    Returns
    -------
    np.ndarray, shape (mixtures, classes), uint8
        1 where any clip of the mixture has the class.
    """
    return np.stack([labels[rows].max(axis=0) for rows in mixtures]).astype(np.uint8)
