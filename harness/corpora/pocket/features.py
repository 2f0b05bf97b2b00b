"""The pocket twin's stand-in for VGGish embeddings: cheap statistics of a log-mel spectrogram in the same shape."""

import functools

import numpy as np
import scipy.fft
import soxr

from harness.corpora.pocket.synth import SAMPLE_RATE

PATCH_SECONDS = 0.96
PATCHES = 10
BANDS = 64
_RATE, _WINDOW, _HOP = 16000, 512, 320
#: dB ranges (0 dB: a full-scale sine) that 0 to 255 stand for: of a band's mean level, of its standard deviation.
MEAN_RANGE = (-90.0, 0.0)
DEVIATION_RANGE = (0.0, 25.0)


@functools.cache
def _filters() -> np.ndarray:
    """(257, 64) triangles on the HTK mel scale, 60 Hz to 7.8 kHz."""
    edges = 700 * np.expm1(np.linspace(np.log1p(60 / 700), np.log1p(7800 / 700), BANDS + 2))
    hertz = np.linspace(0, _RATE / 2, _WINDOW // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    triangles[0] = 0
    # The lowest triangles are narrower than a bin: the nearest bin stands for them.
    empty = np.flatnonzero(triangles.sum(axis=0) == 0)
    triangles[np.abs(hertz - edges[1:-1][empty]).argmin(axis=0), empty] = 1
    return triangles.astype(np.float32)


def describe(waveform: np.ndarray) -> np.ndarray:
    """Describe a clip in the shape of OpenMIC's ``X``.

    Parameters
    ----------
    waveform
        Mono, at 44,100 Hz.

    Returns
    -------
    ndarray, shape (10, 128), uint8
        Per patch of 0.96 s: mean, then standard deviation over time of 64 mel bands' levels in dB.
    """
    audio = soxr.resample(waveform, SAMPLE_RATE, _RATE, quality="LQ")
    frames = np.lib.stride_tricks.sliding_window_view(audio, _WINDOW)[::_HOP]
    window = np.hanning(_WINDOW)
    spectrum = scipy.fft.rfft(frames * (2 * window / window.sum()).astype(np.float32), axis=1)
    levels = 10 * np.log10(np.maximum((spectrum.real**2 + spectrum.imag**2) @ _filters(), 1e-9))
    per_patch = round(PATCH_SECONDS * _RATE / _HOP)
    patches = levels[: PATCHES * per_patch].reshape(PATCHES, per_patch, BANDS)
    scaled = [
        (value - low) / (high - low)
        for value, (low, high) in ((patches.mean(axis=1), MEAN_RANGE), (patches.std(axis=1), DEVIATION_RANGE))
    ]
    return np.round(255 * np.clip(np.concatenate(scaled, axis=1), 0, 1)).astype(np.uint8)
