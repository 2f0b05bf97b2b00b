"""VGGish's input against torchvggish itself."""

import numpy as np
import pytest
import soundfile as sf
from torchvggish import mel_features, vggish_input
from waveforms import signals

from harness.features import decode, front_end, vggish_examples


@pytest.mark.parametrize("kind", signals(100, 0.1))
def test_vggish_equals_torchvggish(kind):
    waveform = signals(16000)[kind].astype(np.float32)
    expected = vggish_input.waveform_to_examples(waveform.astype(np.float64), 16000, return_tensor=False)
    computed = front_end("vggish").compute(waveform)
    assert computed.dtype == np.float32
    assert computed.flags.c_contiguous
    assert computed.shape == expected.shape == (10, 96, 64)
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(vggish_examples(waveform, 16000), computed)


def test_vggish_bands_peak_where_torchvggishs_do():
    band_hz = front_end("vggish").band_hz
    assert band_hz.shape == (64,)
    mel = mel_features.hertz_to_mel(band_hz)
    np.testing.assert_allclose(np.diff(mel), (mel[-1] - mel[0]) / 63, rtol=1e-9)
    edges = mel_features.hertz_to_mel(np.array([125.0, 7500.0]))
    np.testing.assert_allclose([2 * mel[0] - mel[1], 2 * mel[-1] - mel[-2]], edges, rtol=1e-9)


def test_time_pool_averages_neighbouring_frames():
    waveform = signals(16000)["sweep"]
    plain, pooled = front_end("vggish").compute(waveform), front_end("vggish", time_pool=2).compute(waveform)
    assert pooled.shape == (5, 96, 64)
    frames = plain.reshape(-1, 64)
    np.testing.assert_allclose(pooled.reshape(-1, 64), frames.reshape(480, 2, 64).mean(axis=1), rtol=1e-5, atol=1e-6)


def test_peak_normalisation_makes_the_level_irrelevant():
    """As OpenMIC's authors did: the same features as torchvggish gives for the waveform divided by its peak."""
    waveform = signals(16000)["sweep"].astype(np.float32)
    normalised = (waveform / np.abs(waveform).max()).astype(np.float64)
    expected = vggish_input.waveform_to_examples(normalised, 16000, return_tensor=False)
    for level in (1.0, 0.01, 20.0):
        computed = front_end("vggish", peak_normalise=True).compute(level * waveform)
        np.testing.assert_allclose(computed, expected, rtol=0, atol=5e-4)  # the levels round the samples differently
    assert np.abs(front_end("vggish").compute(0.01 * waveform) - expected).max() > 1
    silence = front_end("vggish", peak_normalise=True).compute(np.zeros(16000))
    np.testing.assert_allclose(silence, np.log(0.01), rtol=1e-6)


def test_the_first_patch_is_vggishs_first():
    waveform = signals(16000)["noise"]
    patch = front_end("vggish_patch").compute(waveform)
    np.testing.assert_array_equal(patch, front_end("vggish").compute(waveform)[:1])
    assert patch.flags.c_contiguous
    louder = front_end("vggish_patch", peak_normalise=True).compute(waveform)
    np.testing.assert_array_equal(louder, front_end("vggish", peak_normalise=True).compute(waveform)[:1])


@pytest.mark.parametrize("time_pool", [1, 2])
@pytest.mark.parametrize("onset", [0.0, 1.3, 2.71, 6.5])
def test_the_loudest_patch_is_the_window_of_greatest_sum(onset, time_pool):
    """Against a search through all windows; the burst of 0.9 s is louder than the noise around it."""
    waveform = np.random.default_rng(2).normal(0, 1e-3, 8 * 16000)
    burst = slice(round(onset * 16000), round((onset + 0.9) * 16000))
    waveform[burst] += signals(16000)["noise"][burst]
    frames = front_end("vggish", time_pool=time_pool)._frames(waveform)
    windows = np.stack([frames[start : start + 96] for start in range(len(frames) - 95)])
    best = int(windows.sum(axis=(1, 2), dtype=np.float64).argmax())
    patch = front_end("vggish_patch", which="loudest", time_pool=time_pool).compute(waveform)
    np.testing.assert_array_equal(patch[0], windows[best])
    first, last = best * 0.01 * time_pool, (best + 96) * 0.01 * time_pool
    assert first <= onset + 0.02
    assert last >= min(onset + 0.88, len(frames) * 0.01 * time_pool)


@pytest.mark.parametrize("which", ["first", "loudest"])
def test_a_clip_shorter_than_a_patch_ends_in_silence(which):
    front = front_end("vggish_patch", which=which)
    short = signals(16000)["noise"][:4000]
    expected = front_end("vggish").compute(np.pad(short, (0, 12000)))
    np.testing.assert_array_equal(front.compute(short), expected)
    np.testing.assert_allclose(front.compute(short)[0, 30:], np.log(0.01), rtol=1e-6)
    assert front.shape(None) == front.shape(0.1) == front.shape(30.0) == front.compute(np.zeros(0)).shape == (1, 96, 64)


@pytest.fixture(scope="module")
def real_clip(published_data):
    return published_data / "openmic-2018" / "sample" / "000046_3840.ogg"


def test_real_clip(real_clip):
    waveform = decode(real_clip, 16000, seconds=10.0)
    patches = front_end("vggish").compute(waveform)
    assert patches.shape == (10, 96, 64)
    assert np.isfinite(patches).all()
    expected = vggish_input.waveform_to_examples(waveform.astype(np.float64), 16000, return_tensor=False)
    np.testing.assert_allclose(patches, expected, rtol=0, atol=1e-4)


def test_soxr_in_place_of_resampy_on_the_real_clip(real_clip):
    """How far soxr's log-mel is from the one torchvggish makes of the same file with resampy."""
    samples, rate = sf.read(real_clip)
    expected = vggish_input.waveform_to_examples(samples, rate, return_tensor=False)
    difference = np.abs(vggish_examples(samples.mean(axis=1), rate) - expected)
    assert difference[..., :62].max() < 1e-3
    assert difference[..., 62:].mean(axis=(0, 1)) == pytest.approx([0.02, 0.30], abs=0.01)
    assert np.ptp(expected) == pytest.approx(8.1, abs=0.05)
