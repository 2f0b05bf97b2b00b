"""Noises that the SoundFont lacks, synthesised: wind, hum, clicks, sweeps, sirens, and the answer of a room."""

from collections.abc import Callable

import numpy as np
import scipy.fft
from scipy.signal import butter, fftconvolve, sosfilt

from harness.corpora.pocket.soundfont import SAMPLE_RATE


def reverberate(audio: np.ndarray, sample_rate: int, decay: float, wet: float, seed: int) -> np.ndarray:
    """Put a sound into a room.

    Parameters
    ----------
    audio
        Shape (samples,), float32.
    sample_rate
        In Hz.
    decay
        Reverberation time (fall by 60 dB) in seconds.
    wet
        Level of the room's answer in dB beside the direct sound.
    seed
        Draws its reflections.

    Returns
    -------
    ndarray, shape (samples,), float32
        As long as before.
    """
    time = np.arange(round(min(decay, 1.5) * sample_rate), dtype=np.float32) / np.float32(sample_rate)
    tail = np.random.default_rng(seed).standard_normal(len(time), dtype=np.float32) * 10 ** (-3 * time / decay)
    tail *= np.float32(10 ** (wet / 20)) / np.sqrt((tail**2).sum())
    return audio + fftconvolve(audio, tail)[: len(audio)].astype(np.float32)


def _white(rng: np.random.Generator, samples: int) -> np.ndarray:
    return rng.standard_normal(samples, dtype=np.float32)


def _coloured(rng: np.random.Generator, samples: int) -> np.ndarray:
    slope = float(rng.uniform(2.5, 6.5))  # dB an octave: 3 is pink, 6 brown
    size = scipy.fft.next_fast_len(samples, real=True)
    spectrum = scipy.fft.rfft(_white(rng, size))
    frequency = np.maximum(np.arange(len(spectrum)) * (SAMPLE_RATE / size), 30.0)
    return scipy.fft.irfft(spectrum * (frequency ** (-slope / 6.02)).astype(np.float32), size)[:samples]


def _slowly(rng: np.random.Generator, samples: int, every: float, low: float, high: float) -> np.ndarray:
    """A curve through random values, one for every `every` seconds."""
    knots = int(np.ceil(samples / SAMPLE_RATE / every)) + 2
    values = rng.uniform(low, high, size=knots)
    return np.interp(np.arange(samples) / (every * SAMPLE_RATE), np.arange(knots), values).astype(np.float32)


def _wind(rng: np.random.Generator, samples: int) -> np.ndarray:
    gusts = np.zeros(samples, np.float32)
    for low, high in ((80, 400), (300, 900), (700, 2200)):
        band = sosfilt(butter(1, (low, high), "band", fs=SAMPLE_RATE, output="sos"), _white(rng, samples))
        gusts += band.astype(np.float32) * 10 ** _slowly(rng, samples, 0.7, -1.3, 0)
    return gusts


def _hum(rng: np.random.Generator, samples: int) -> np.ndarray:
    mains = int(rng.choice([50, 60]))  # both divide the sampling rate: a period is computed and repeated
    turn = np.arange(SAMPLE_RATE // mains) * (mains / SAMPLE_RATE)
    period = np.zeros(len(turn))
    for harmonic in range(1, 13):
        amplitude = rng.uniform(0.1, 1) / harmonic ** rng.uniform(0.3, 1.2)
        period += amplitude * np.sin(2 * np.pi * (harmonic * turn + rng.random()))
    return np.resize(period.astype(np.float32), samples) + np.float32(0.003) * _white(rng, samples)


def _clicks(rng: np.random.Generator, samples: int) -> np.ndarray:
    rate, audio = rng.uniform(2, 9), np.float32(1e-4) * _white(rng, samples)
    regular, tone, decay = rng.random() < 0.5, rng.uniform(900, 4500), rng.uniform(150, 900)
    time = np.arange(min(samples, round(0.04 * SAMPLE_RATE))) / SAMPLE_RATE
    click = (np.sin(2 * np.pi * tone * time) * np.exp(-decay * time)).astype(np.float32)
    at = 0.0
    while (start := round(at * SAMPLE_RATE)) < samples:
        piece = click[: samples - start] * np.float32(rng.uniform(0.5, 1))
        audio[start : start + len(piece)] += piece
        at += 1 / rate if regular else rng.exponential(1 / rate) + 0.03
    return audio


def _tone(frequency: np.ndarray, harmonics: np.ndarray) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    return sum(amplitude * np.sin(n * phase) for n, amplitude in enumerate(harmonics, 1)).astype(np.float32)


def _sweeps(rng: np.random.Generator, samples: int) -> np.ndarray:
    low, octaves = rng.uniform(150, 900), rng.uniform(1.5, 3.0)
    place = np.arange(samples) / (rng.uniform(0.3, 2.0) * SAMPLE_RATE) % 1
    place = [place, 1 - place, 1 - np.abs(2 * place - 1)][rng.integers(3)]
    return _tone(low * 2 ** (octaves * place), np.array([1.0, 0.1 * rng.random()]))


def _siren(rng: np.random.Generator, samples: int) -> np.ndarray:
    turn = 2 * np.pi * rng.uniform(0.2, 3.0) * np.arange(samples) / SAMPLE_RATE
    turn = np.sign(np.sin(turn)) if rng.random() < 0.3 else np.sin(turn)  # two tones, or a wail
    harmonics = rng.uniform(0.1, 0.6, size=4) ** np.arange(4)
    return _tone(rng.uniform(600, 1000) * 2 ** (rng.uniform(0.2, 0.7) * turn), harmonics)


NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "wind": _wind,
    "hum": _hum,
    "white noise": _white,
    "coloured noise": _coloured,
    "clicks": _clicks,
    "sweeps": _sweeps,
    "siren": _siren,
}
