"""Explanations made audible: a mask over the mel spectrogram, laid upon the sound that the network was given.

Choi, Fazekas and Sandler (2015) multiply a deconvolved feature map with the complex spectrum of the input and transform
back, so that the phase is the original's and nothing has to be invented. Their networks see a spectrum; ours see mel
bands, so the mask is first spread from the bands to the bins of the transform.
"""

import functools
from pathlib import Path

import librosa
import numpy as np
import soundfile

from harness.errors import RepriseError
from harness.features.frontends import Mel, MelSegments
from harness.storage import atomic_path

#: Highest peak of what is written, 1 dB under full scale.
PEAK = 0.89
#: What lies this far below its reference, in dB, is rounding and not sound.
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
        As long as the waveform, in its phase. A mask of ones returns the waveform but for rounding. See `level_match`
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


def level_match(waveform: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Bring what a mask let through to the level of the original, that both may be compared by ear.

    Parameters
    ----------
    waveform, reference : np.ndarray [shape=(samples,)]
        What is heard, and the original.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float32]
        With the root mean square of the reference, or less where its peak would then exceed 0.89: it is turned down
        rather than clipped.

    Raises
    ------
    RepriseError
        The mask lets nothing through (100 dB below the reference or less), or the reference is silent.
    """
    waveform, reference = np.asarray(waveform, np.float64), np.asarray(reference, np.float64)
    level, wanted = (np.sqrt(np.mean(np.square(x))) if len(x) else 0.0 for x in (waveform, reference))
    if not wanted > 0 or not level > wanted * 10 ** (INAUDIBLE_DB / 20):
        raise RepriseError("the mask hears nothing in this sound; leave it out")
    return (waveform * min(wanted / level, PEAK / np.abs(waveform).max())).astype(np.float32)


def from_spectrogram(decibels: np.ndarray, front_end: Mel | MelSegments, *, rounds: int = 32) -> np.ndarray:
    """Make a mel spectrogram audible where there is no sound to take the phase from, such as a mean of several.

    The bands are spread to bins by non-negative least squares, and Griffin and Lim's algorithm (1984) finds a phase,
    both as librosa has them. It sounds rougher than the original; take `auralise` wherever there is one.

    Parameters
    ----------
    decibels : np.ndarray [shape=(bands, frames)]
        Over any reference. A picture of `MelSegments` is ``80 * (picture - 1)`` decibels below its maximum.
    front_end
        What such spectrograms are made by. Pooled columns are repeated.
    rounds
        Of the algorithm.

    Returns
    -------
    np.ndarray [shape=((frames * time_pool - 1) * hop_length,), dtype=float32]
        With a peak of 0.89; the same each time.

    Raises
    ------
    RepriseError
        The spectrogram has not as many bands as the front end, or fewer than two frames.
    """
    decibels = np.repeat(np.asarray(decibels, np.float32), front_end.time_pool, axis=1)
    if len(decibels) != front_end.n_mels or decibels.shape[1] < 2:
        raise RepriseError(
            f"the spectrogram has {decibels.shape[0]} x {decibels.shape[1]} cells; give {front_end.n_mels} bands and "
            "at least two frames"
        )
    power = librosa.db_to_power(decibels - decibels.max())
    magnitude = librosa.feature.inverse.mel_to_stft(power, sr=front_end.sample_rate, n_fft=front_end.n_fft)
    # From zero phase, as librosa's other beginning is random.
    waveform = librosa.griffinlim(magnitude, n_iter=rounds, hop_length=front_end.hop_length, init=None)
    return (waveform * (PEAK / np.abs(waveform).max())).astype(np.float32)


def write_wav(path: Path | str, waveform: np.ndarray, sample_rate: int) -> None:
    """Write a sound as a 16-bit WAV file, complete or not at all.

    Parameters
    ----------
    path
        Of the file; the folder is made where it is not there.
    waveform : np.ndarray [shape=(samples,) or (samples, channels)]
        Full scale +-1.
    sample_rate
        In Hz.

    Raises
    ------
    RepriseError
        The waveform exceeds full scale and would be clipped, or has values that are no numbers.
    """
    peak = float(np.abs(waveform).max(initial=0))
    if not peak <= 1:
        raise RepriseError(f"the sound for {Path(path).name} has a peak of {peak:.2f}; bring it below 1 by level_match")
    with atomic_path(path) as file:
        soundfile.write(file, np.asarray(waveform, np.float32), sample_rate, format="WAV", subtype="PCM_16")
