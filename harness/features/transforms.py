"""From waveforms to mel bands: the windows, filter banks, projection and pooling that all front ends share.

The transforms run on one thread, a cache-sized block of frames at a time, and each group of mel bands is multiplied
with the few bins it covers.
"""

import functools

import numpy as np
import scipy.fft

#: Frames per block: their spectra stay in the second-level cache.
BLOCK = 128
#: Bands per matrix product: few enough that a group covers a narrow range of bins.
GROUP = 8


def slaney_edges(sample_rate: int, n_mels: int) -> np.ndarray:
    """Band edges on Slaney's mel scale (Auditory Toolbox, 1998), 0 Hz to Nyquist.

    Parameters
    ----------
    sample_rate
        In Hz.
    n_mels
        Number of bands.

    Returns
    -------
    np.ndarray, shape (n_mels + 2,)
        Hz; band ``i`` rises from edge ``i`` to ``i + 1`` and falls to ``i + 2``.
    """
    # Linear to 1 kHz at 200/3 Hz a mel, from there on 27 mels for each factor of 6.4.
    knee, top = 15.0, sample_rate / 2
    top_mel = top * 3 / 200 if top < 1000 else knee + np.log(top / 1000) * 27 / np.log(6.4)
    mel = np.linspace(0, top_mel, n_mels + 2)
    return np.where(mel < knee, mel * 200 / 3, 1000 * 6.4 ** ((mel - knee) / 27))


def htk_edges(n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Band edges on the mel scale of HTK.

    Parameters
    ----------
    n_mels
        Number of bands.
    fmin, fmax
        Lowest and highest edge in Hz.

    Returns
    -------
    np.ndarray, shape (n_mels + 2,)
        HTK mels, of which a frequency in Hz has ``1127 * log(1 + hz / 700)``.
    """
    return np.linspace(_htk_mel(fmin), _htk_mel(fmax), n_mels + 2)


def slaney_bands(
    signal: np.ndarray,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    *,
    power: int,
    dtype: type = np.float32,
) -> np.ndarray:
    """Energies in the bands of `slaney_edges`: periodic Hann window, triangles of equal area.

    Parameters
    ----------
    signal : np.ndarray, shape (n,)
        Already padded: the first frame begins at its first sample, and what is left at its end is dropped.
    sample_rate
        In Hz.
    n_fft
        Window and transform length in samples.
    hop_length
        Samples from one frame to the next.
    n_mels
        Number of bands.
    power
        1: magnitudes are added up; 2: their squares.
    dtype
        Precision of the transform, ``np.float32`` or ``np.float64``.

    Returns
    -------
    np.ndarray, shape (frames, n_mels), float32
        No frame if the signal is shorter than the window.
    """
    weights = _slaney_weights(sample_rate, n_fft, n_mels)
    return _project(signal, _hann(n_fft, dtype), n_fft, hop_length, weights, power=power)


def htk_bands(
    signal: np.ndarray,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    n_mels: int,
    fmin: float,
    fmax: float,
    *,
    window: int,
) -> np.ndarray:
    """Magnitudes in the bands of `htk_edges`, transformed in float64: triangles in mel with peak 1, first bin left out.

    Parameters
    ----------
    signal : np.ndarray, shape (n,)
        As in `slaney_bands`.
    sample_rate
        In Hz.
    n_fft
        Transform length in samples.
    hop_length
        Samples from one frame to the next.
    n_mels, fmin, fmax
        As in `htk_edges`.
    window
        Length of the periodic Hann window in samples, `n_fft` at most.

    Returns
    -------
    np.ndarray, shape (frames, n_mels), float32
        No frame if the signal is shorter than the window.
    """
    weights = _htk_weights(sample_rate, n_fft, n_mels, fmin, fmax)
    return _project(signal, _hann(window, np.float64), n_fft, hop_length, weights, power=1)


def pool(frames: np.ndarray, time_pool: int) -> np.ndarray:
    """Mean over neighbouring frames.

    Parameters
    ----------
    frames : np.ndarray, shape (n, bands)
        Frame by frame.
    time_pool
        Number of neighbours averaged into one; those left over at the end are dropped.

    Returns
    -------
    np.ndarray, shape (n // time_pool, bands)
        `frames` itself where `time_pool` is 1.
    """
    if time_pool == 1:
        return frames
    count = len(frames) // time_pool
    return frames[: count * time_pool].reshape(count, time_pool, frames.shape[1]).mean(axis=1)


def _htk_mel(hz: np.ndarray | float) -> np.ndarray | float:
    return 1127 * np.log1p(np.asarray(hz) / 700)


def _triangles(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Triangular filters with peak 1, shape (points, bands), straight on the scale that both arguments are in."""
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    points = points[:, None]
    return np.maximum(0, np.minimum((points - low) / (centre - low), (high - points) / (high - centre)))


@functools.lru_cache
def _slaney_weights(sample_rate: int, n_fft: int, n_mels: int) -> list:
    edges = slaney_edges(sample_rate, n_mels)
    area = 2 / (edges[2:] - edges[:-2])
    return _groups(_triangles(np.fft.rfftfreq(n_fft, 1 / sample_rate), edges) * area)


@functools.lru_cache
def _htk_weights(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> list:
    weights = _triangles(_htk_mel(np.fft.rfftfreq(n_fft, 1 / sample_rate)), htk_edges(n_mels, fmin, fmax))
    weights[0] = 0
    return _groups(weights)


def _groups(weights: np.ndarray) -> list[tuple[slice, slice, np.ndarray]]:
    """Cut a (bins, bands) matrix into groups of bands, each with the bins where it is not zero."""
    groups = []
    for first in range(0, weights.shape[1], GROUP):
        bands = slice(first, first + GROUP)
        used = np.flatnonzero(weights[:, bands].any(axis=1))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
        groups.append((bands, bins, np.ascontiguousarray(weights[bins, bands], np.float32)))
    return groups


@functools.lru_cache
def _hann(length: int, dtype: type) -> np.ndarray:
    """Periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi / length * np.arange(length))).astype(dtype)


def _project(signal: np.ndarray, window: np.ndarray, n_fft: int, hop: int, groups: list, *, power: int) -> np.ndarray:
    """Band energies of all whole frames of a signal, (frames, bands) float32, from |spectrum| ** `power`.

    The transform runs in the window's precision.
    """
    n_bands = sum(weights.shape[1] for _, _, weights in groups)
    if len(signal) < len(window):
        return np.zeros((0, n_bands), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(signal, len(window))[::hop]
    energies = np.empty((len(frames), n_bands), np.float32)
    for start in range(0, len(frames), BLOCK):
        rows = slice(start, start + BLOCK)
        spectrum = np.abs(scipy.fft.rfft(frames[rows] * window, n_fft)).astype(np.float32, copy=False)
        if power == 2:
            np.square(spectrum, out=spectrum)
        for bands, bins, weights in groups:
            np.matmul(spectrum[:, bins], weights, out=energies[rows, bands])
    return energies
