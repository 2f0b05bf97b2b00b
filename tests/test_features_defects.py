"""Clipping, static and silence, by hand."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.features.defects import clipped_share, longest_silence, static_bursts

RATE = 22050


def rounded(samples: np.ndarray, bits: int = 16) -> np.ndarray:
    """As an encoding of so many bits holds it."""
    return (np.round(samples * 2 ** (bits - 1)) / 2 ** (bits - 1)).astype(np.float32)


def test_plateaus_are_counted_on_both_sides():
    samples = np.array([0, 0.5, 0.5, 0.5, 0, -0.7, -0.7, 0, -0.7, -0.7, -0.7, -0.7, 0.5, 0.3], np.float32)
    # Three at the top and four at the bottom; the pair and the single one are no plateaus.
    assert clipped_share(samples) == pytest.approx(7 / 14)
    assert clipped_share(-samples) == pytest.approx(7 / 14)


def test_a_plateau_at_either_end_of_the_file_counts():
    assert clipped_share(np.array([1, 1, 1, 0, 0.2], np.float32)) == pytest.approx(3 / 5)
    assert clipped_share(np.array([0, 0.2, 1, 1, 1], np.float32)) == pytest.approx(3 / 5)


@pytest.mark.parametrize("samples", [np.zeros(100), np.full(100, 0.5), np.zeros(0)])
def test_what_never_moves_is_not_clipped(samples):
    assert clipped_share(samples.astype(np.float32)) == 0


@settings(max_examples=300, deadline=None)
@example(hz=149.0, peak=0.02, seed=0)
@given(hz=st.floats(20, 5000), peak=st.floats(0.003, 1), seed=st.integers(0, 99))
def test_a_rounded_wave_is_not_clipped(hz, peak, seed):
    time = np.arange(RATE) / RATE
    wave = peak * np.sin(2 * np.pi * hz * time + seed)
    assert clipped_share(rounded(wave)) == 0
    assert clipped_share(rounded(wave, 8), 2.0**-7) == 0


@pytest.mark.parametrize("level", [1.0, 0.1])
def test_the_share_is_that_of_the_samples_cut_off(level):
    time = np.arange(10 * RATE) / RATE
    wave = np.sin(2 * np.pi * 110 * time) + 0.5 * np.sin(2 * np.pi * 277 * time)
    cut = rounded(level * np.clip(wave, -0.8, 0.8))
    assert clipped_share(cut) == pytest.approx((np.abs(wave) >= 0.8).mean(), abs=0.01)


def music(seconds: float, rate: int = RATE) -> np.ndarray:
    """Tones and cymbals that die away."""
    rng = np.random.default_rng(0)
    out = np.zeros(round(seconds * rate))
    for start in np.arange(0, seconds, 0.5):
        time = np.arange(min(rate, len(out) - round(start * rate))) / rate
        out[round(start * rate) :][: len(time)] += 0.2 * np.sin(2 * np.pi * rng.uniform(100, 900) * time) * np.exp(
            -3 * time
        ) + rng.normal(0, 0.2, len(time)) * np.exp(-8 * time)
    return out.astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_bursts_of_static_are_counted_and_cymbals_are_not(rate):
    samples = music(6, rate)
    assert static_bursts(samples, rate) == (0, 0.0, 0.0)
    rng = np.random.default_rng(1)
    for end in (1.4, 3.9):
        stop = round(end * rate)
        samples[stop - rate // 5 : stop] = rng.uniform(-0.8, 0.8, rate // 5)
    bursts, end, drop = static_bursts(samples, rate)
    assert bursts == 2
    assert end == pytest.approx(1.4, abs=0.01)
    assert drop > 18


def test_noise_all_along_or_dying_away_or_before_silence_is_no_burst():
    noise = np.random.default_rng(0).normal(0, 0.2, 4 * RATE).astype(np.float32)
    assert static_bursts(noise, RATE)[0] == 0
    assert static_bursts(noise * np.exp(-np.arange(len(noise)) / RATE).astype(np.float32), RATE)[0] == 0
    effect = noise.copy()
    effect[2 * RATE :] = 0
    assert static_bursts(effect, RATE)[0] == 0
    assert static_bursts(noise[:100], RATE)[0] == 0


def test_the_longest_silence():
    samples = np.full(4 * RATE, 0.1, np.float32)
    assert longest_silence(samples, RATE) == (0.0, 0.0)
    samples[RATE // 2 : RATE] = 0
    samples[2 * RATE : 3 * RATE] = 5e-5  # -86 dBFS
    samples[round(3.5 * RATE) :] = 2e-4  # -74 dBFS: low, but there
    seconds, start = longest_silence(samples, RATE)
    assert seconds == pytest.approx(1.0, abs=0.06)
    assert start == pytest.approx(2.0, abs=0.06)
    assert longest_silence(np.zeros(RATE, np.float32), RATE) == (pytest.approx(1.0, abs=0.06), 0.0)
    assert longest_silence(np.zeros(3, np.float32), RATE) == (0.0, 0.0)
