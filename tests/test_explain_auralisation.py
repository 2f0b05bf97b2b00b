"""Masks made audible: what a mask of ones returns, what a mask of one band lets through, levels."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RepriseError
from harness.explain import as_mask, at_level, auralise, common_level, enlarge
from harness.explain.auralisation import bin_mask
from harness.features import front_end

RATE = 22050
SEGMENT = front_end("mel_segments")


def tone(hz: float, seconds: float = 3.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def sound(samples: int = 66150) -> np.ndarray:
    """Noise, two tones and an attack at each end."""
    noise = np.random.default_rng(1).normal(0, 0.05, samples)
    noise[:50] = noise[-50:] = 0.5
    return (noise + tone(440)[:samples] + tone(3000)[:samples]).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "parameters", "samples", "columns"),
    [
        ("mel_segments", {}, 66150, 130),
        ("mel_segments", {"time_pool": 4}, 66150, 32),
        ("mel_segments", {"n_fft": 1024, "hop_length": 256, "n_mels": 40}, 66150, 259),
        ("mel", {}, 50001, 98),
        ("mel", {"time_pool": 3}, 50001, 32),
    ],
)
def test_a_mask_of_ones_returns_the_sound(name: str, parameters: dict, samples: int, columns: int) -> None:
    front = front_end(name, **parameters)
    waveform = sound(samples)
    heard = auralise(np.ones((front.n_mels, columns), np.float32), waveform, front)
    assert heard.shape == waveform.shape
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, waveform, rtol=0, atol=2e-6)


def test_the_mask_has_the_size_of_the_spectrogram() -> None:
    waveform = sound()
    for time_pool in (1, 2, 4, 5):
        front = front_end("mel_segments", segments=1, time_pool=time_pool)
        (picture,) = front.compute(waveform)
        auralise(np.ones_like(picture), waveform, front)
        with pytest.raises(RepriseError, match=rf"spectrogram 128 x {picture.shape[1]}; enlarge the mask"):
            auralise(np.ones((128, picture.shape[1] + 1)), waveform, front)
    with pytest.raises(RepriseError, match="the mask has 16 x 16 cells"):
        auralise(np.ones((16, 16)), waveform, SEGMENT)


def test_a_band_lets_its_tone_through_and_no_other() -> None:
    low, high = SEGMENT.band_hz[[40, 100]]
    mask = np.zeros((128, 130), np.float32)
    mask[38:43] = 1
    heard = auralise(mask, tone(low) + tone(high), SEGMENT)
    inner = slice(4096, -4096)
    np.testing.assert_allclose(heard[inner], tone(low)[inner], atol=0.01)
    error = heard[inner] - tone(low)[inner]
    assert np.square(error).mean() < 1e-3 * np.square(tone(low)).mean()


def test_a_column_lets_its_time_through_and_no_other() -> None:
    clicks = np.zeros(66150, np.float32)
    clicks[[20 * 512, 90 * 512]] = 1
    for time_pool, columns in ((1, slice(16, 25)), (4, slice(4, 7))):
        front = front_end("mel_segments", time_pool=time_pool)
        mask = np.zeros((128, 130 // time_pool), np.float32)
        mask[:, columns] = 1
        heard = auralise(mask, clicks, front)
        assert heard[20 * 512] == pytest.approx(1, abs=0.01)
        assert np.abs(heard[80 * 512 : 100 * 512]).max() < 1e-6


def test_the_columns_left_over_by_pooling_go_with_the_last() -> None:
    front = front_end("mel_segments", time_pool=4)
    mask = np.zeros((128, 32), np.float32)
    mask[:, -1] = 1
    np.testing.assert_array_equal(np.flatnonzero(bin_mask(mask, front, 130).any(axis=0)), np.arange(124, 130))


def test_masking_is_linear_in_the_mask() -> None:
    rng = np.random.default_rng(2)
    one, two = rng.random((2, 128, 130), np.float32)
    waveform = sound()
    total = auralise(one + two, waveform, SEGMENT)
    np.testing.assert_allclose(
        total, auralise(one, waveform, SEGMENT) + auralise(two, waveform, SEGMENT), rtol=0, atol=3e-6
    )


@given(
    n_fft=st.sampled_from([512, 1024, 2048]),
    bands=st.sampled_from([20, 40, 96, 128]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_bins_stay_within_the_masks_values(n_fft: int, bands: int, seed: int) -> None:
    front = front_end("mel", n_fft=n_fft, n_mels=bands)
    mask = np.random.default_rng(seed).random((bands, 7), np.float32)
    spread = bin_mask(mask, front, 7)
    assert spread.shape == (1 + n_fft // 2, 7)
    assert (spread <= mask.max(axis=0) + 1e-6).all()
    assert (spread >= mask.min(axis=0) - 1e-6).all()
    np.testing.assert_allclose(bin_mask(np.ones_like(mask), front, 7), 1, rtol=1e-6)


def test_bins_come_from_the_bands_that_cover_them() -> None:
    filters = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=128)
    for band in (0, 5, 64, 127):
        mask = np.zeros((128, 1))
        mask[band] = 1
        bins = bin_mask(mask, SEGMENT, 1)[:, 0]
        covered = np.flatnonzero(filters[band])
        wanted = set(covered) | ({0} if band == 0 else set()) | ({1024} if band == 127 else set())
        assert set(np.flatnonzero(bins)) == wanted
        assert bins[filters[band].argmax()] > 0.5


def test_masks_of_maps() -> None:
    heat = np.array([[[-4.0, 2.0], [0.0, 1.0]], [[-1.0, -2.0], [-3.0, -4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = as_mask(heat)
    np.testing.assert_array_equal(masks[0], [[0, 1], [0, 0.5]])
    np.testing.assert_array_equal(masks[1:], 0)
    assert masks.dtype == np.float32
    np.testing.assert_array_equal(as_mask(heat[0]), masks[0])


def test_a_small_map_is_enlarged_and_heard() -> None:
    heat = np.zeros((16, 16), np.float32)
    heat[4:6] = 1
    band = int(4.5 * 8 + 4)
    heard = auralise(as_mask(enlarge(heat, (128, 130))), tone(SEGMENT.band_hz[band]) + tone(8000), SEGMENT)
    spectrum = np.abs(np.fft.rfft(heard))
    assert spectrum.argmax() * RATE / len(heard) == pytest.approx(SEGMENT.band_hz[band], rel=0.01)


def level(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.square(waveform, dtype=np.float64).mean()))


def click(peak: float = 0.01) -> np.ndarray:
    waveform = np.zeros(66150, np.float32)
    waveform[100] = -peak
    return waveform


def burst(samples: int) -> np.ndarray:
    """Noise that short: the shorter, the higher its peak over its level."""
    waveform = np.zeros(66150, np.float32)
    waveform[:samples] = np.random.default_rng(0).uniform(-0.01, 0.01, samples)
    return waveform


def test_all_sounds_of_a_piece_get_one_level_at_which_none_is_clipped() -> None:
    original, sounds = 0.5 * sound(), [1e-3 * sound(), burst(2500), tone(440)]
    common = common_level(sounds, original)
    assert 0.3 * level(original) < common < level(original)  # the burst is what holds it down
    for waveform in (original, *sounds):
        matched, short = at_level(waveform, common)
        assert level(matched) == pytest.approx(common, rel=1e-4)
        assert np.abs(matched).max() <= 0.85 + 1e-6
        assert short == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(matched * level(waveform), waveform * common, atol=1e-6)
    assert common_level([tone(440)], 0.1 * tone(880)) == pytest.approx(level(0.1 * tone(880)))
    assert common_level([], 3 * tone(880)) == pytest.approx(0.85 / np.sqrt(2), rel=1e-3)  # the original's own peak


def test_a_click_does_not_silence_the_others_and_says_that_it_is_quieter() -> None:
    original = sound()
    common = common_level([click(), 1e-9 * burst(10)], original)
    assert 20 * np.log10(common / level(original)) == pytest.approx(-12)
    matched, short = at_level(click(), common)
    assert np.abs(matched).max() == pytest.approx(0.85)
    assert matched[100] < 0
    assert short == pytest.approx(20 * np.log10(common / level(matched)))
    assert short > 10
    # What is only rounding is not heard, and counts for nothing.
    assert common_level([1e-9 * click()], original) == common_level([], original)


@pytest.mark.parametrize("waveform", [np.zeros(100), np.zeros(0), np.full(100, 1e-9), np.full(100, np.nan)])
def test_a_mask_that_hears_nothing_is_said(waveform: np.ndarray) -> None:
    with pytest.raises(RepriseError, match="hears nothing"):
        at_level(waveform, 0.5)
    with pytest.raises(RepriseError, match="hears nothing"):
        at_level(np.ones(100), common_level([waveform], np.zeros(100)))


def test_masks_that_are_none_are_refused() -> None:
    mask = np.ones((128, 130), np.float32)
    for wrong in (-0.1, np.nan, np.inf):
        mask[3, 3] = wrong
        with pytest.raises(RepriseError, match="negative or no numbers; make it with as_mask"):
            auralise(mask, sound(), SEGMENT)
