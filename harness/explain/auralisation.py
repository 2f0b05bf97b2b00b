"""Explanations made audible: a mask over the mel spectrogram, laid upon the sound that the network was given.

Choi, Fazekas and Sandler (2015) multiply a deconvolved feature map with the complex spectrum of the input and transform
back, so that the phase is the original's and nothing has to be invented. Their networks see a spectrum; ours see mel
bands, so the mask is first spread from the bands to the bins of the transform.
"""

import functools
from collections.abc import Sequence

import librosa
import numpy as np

from harness.errors import RepriseError
from harness.features import Mel, MelSegments

#: Highest peak of what is heard: encoders overshoot, and pages turn down what exceeds it (`harness.report.gallery`).
PEAK = 0.85
#: How far the common level of several sounds may lie below their original's, in dB.
FLOOR_DB = -12.0
#: What lies this far below its level, in dB, is rounding and not sound.
INAUDIBLE_DB = -100.0


def as_mask(heat: np.ndarray) -> np.ndarray:
    """Turn a heat map or a deconvolved picture into a mask.

    Parameters
    ----------
    heat : np.ndarray [shape=(..., bands, frames)]
        Any real values; each map is treated on its own.

    Returns
    -------
    np.ndarray [shape=(..., bands, frames), dtype=float32]
        From 0 to 1: negative values, which speak against, are 0, and the rest is divided by the map's maximum. Zero
        stays zero, so that what says nothing is not heard (`harness.explain.scale` would raise it where all else is
        negative). A map without positive values gives zeros.
    """
    heat = np.maximum(np.asarray(heat, np.float32), 0)
    strongest = heat.max(axis=(-2, -1), keepdims=True)
    return np.divide(heat, strongest, out=np.zeros_like(heat), where=strongest > 0)


def bin_mask(mask: np.ndarray, front_end: Mel | MelSegments, frames: int) -> np.ndarray:
    """Spread a mask from mel bands and pooled columns to the bins and frames of the transform.

    The weights are a non-negative inverse of the mel filter bank: a bin takes the mean of the bands that cover it,
    weighted by their filters there, so that a mask of ones is ones. Two bands at most cover a bin, so this
    interpolates between neighbours. (The pseudo-inverse proper, cut at zero, comes back to the bands no more exactly
    and lets a tenth of a band's weight fall upon bins outside its filter.) Bins without a filter, as 0 Hz and the
    Nyquist frequency, take the band next to them.

    Parameters
    ----------
    mask : np.ndarray [shape=(bands, columns)]
        Not negative.
    front_end
        What made the spectrogram.
    frames
        Frames of the transform; each column serves the `time_pool` frames it was averaged from, the last one also
        those that were left over.

    Returns
    -------
    np.ndarray [shape=(1 + n_fft // 2, frames), dtype=float32]
        Between the least and the greatest value of `mask`.
    """
    columns = np.minimum(np.arange(frames) // front_end.time_pool, mask.shape[1] - 1)
    return (_spread(front_end.sample_rate, front_end.n_fft, front_end.n_mels) @ np.asarray(mask, np.float32))[
        :, columns
    ]


@functools.lru_cache
def _spread(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Weights of the bands in each bin, shape (bins, n_mels); rows add up to 1."""
    weights = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels).T.astype(np.float64)
    centres = librosa.mel_frequencies(n_mels + 2, fmin=0.0, fmax=sample_rate / 2)[1:-1]
    for bare in np.flatnonzero(weights.sum(axis=1) <= 0):
        weights[bare, np.abs(centres - bare * sample_rate / n_fft).argmin()] = 1
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def auralise(mask: np.ndarray, waveform: np.ndarray, front_end: Mel | MelSegments) -> np.ndarray:
    """Let a mask through which a sound is heard act on the sound.

    Parameters
    ----------
    mask : np.ndarray [shape=(bands, frames)]
        Not negative, 1 = keep: `as_mask` of a map of the spectrogram's size (`harness.explain.enlarge`).
    waveform : np.ndarray [shape=(samples,)]
        What the spectrogram was made of, at the front end's rate; a single segment of `MelSegments`, see its `cut`.
    front_end
        What made the spectrogram.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float32]
        As long as the waveform, in its phase. A mask of ones returns the waveform but for rounding. See `at_level`
        before it is played.

    Raises
    ------
    RepriseError
        The mask is not of the spectrogram's size, or has values that are negative or no numbers.
    """
    waveform = np.asarray(waveform, np.float32)
    columns = (1 + len(waveform) // front_end.hop_length) // front_end.time_pool
    if mask.shape != (front_end.n_mels, columns):
        raise RepriseError(
            f"the mask has {' x '.join(map(str, mask.shape))} cells and the waveform's spectrogram "
            f"{front_end.n_mels} x {columns}; enlarge the mask, or give the segment it was made of"
        )
    if not (np.isfinite(mask).all() and (np.asarray(mask) >= 0).all()):
        raise RepriseError("the mask has values that are negative or no numbers; make it with as_mask")
    framing = {"n_fft": front_end.n_fft, "hop_length": front_end.hop_length}
    spectrum = librosa.stft(waveform, **framing)
    spectrum *= bin_mask(mask, front_end, spectrum.shape[1])
    return librosa.istft(spectrum, **framing, length=len(waveform))


def common_level(sounds: Sequence[np.ndarray], original: np.ndarray) -> float:
    """Loudest level at which an original and what masks let through of it can all be played, none of them clipped.

    Parameters
    ----------
    sounds : sequence of np.ndarray [shape=(samples,)]
        What masks let through; those of rounding errors alone do not count.
    original : np.ndarray [shape=(samples,)]
        What they were laid upon.

    Returns
    -------
    float
        A root mean square: the original's, or less where a sound's peak would otherwise exceed `PEAK`; but never less
        than `FLOOR_DB` below the original's, or one mask that lets a single click through would make all others
        inaudible. 0 of silence.
    """
    own, least = _level(original), _level(original) * 10 ** (INAUDIBLE_DB / 20)
    heard = [sound for sound in (original, *sounds) if _level(sound) > least]
    fitting = [PEAK * _level(sound) / np.abs(sound).max() for sound in heard]
    return max(min([own, *fitting]), own * 10 ** (FLOOR_DB / 20))


def at_level(waveform: np.ndarray, level: float) -> tuple[np.ndarray, float]:
    """Bring a sound to a level, so that it may be compared with others by ear.

    Parameters
    ----------
    waveform : np.ndarray [shape=(samples,)]
        What is heard.
    level
        Root mean square to have, see `common_level`.

    Returns
    -------
    waveform : np.ndarray [shape=(samples,), dtype=float32]
        With that root mean square, or less where its peak would then exceed `PEAK`: it is turned down rather than
        clipped.
    short : float
        By how many dB it is quieter than it should be; 0 of one that is not.

    Raises
    ------
    RepriseError
        The sound lies 100 dB below that level or more, which is rounding, or the level is no level.
    """
    waveform = np.asarray(waveform, np.float64)
    own = _level(waveform)
    if not level > 0 or not own > level * 10 ** (INAUDIBLE_DB / 20):
        raise RepriseError("the mask hears nothing in this sound; leave it out")
    gain = min(level / own, PEAK / np.abs(waveform).max())
    return (waveform * gain).astype(np.float32), float(20 * np.log10(level / (own * gain)))


def _level(waveform: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(np.asarray(waveform, np.float64))))) if len(waveform) else 0.0
