"""The front end of Han, Kim and Lee's network against librosa."""

import json
import pickle

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RepriseError
from harness.features import front_end, names
from harness.features.han import HanSegments

RATE = 22050


def music(seconds, level=0.3):
    """A harmonic tone with vibrato that fades, over noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (330 * time + np.sin(2 * np.pi * 5 * time))
    tone = sum(np.sin(n * phase) / n for n in range(1, 12)) * np.exp(-time)
    return (level * (tone + np.random.default_rng(0).normal(0, 0.003, len(time)))).astype(np.float32)


def librosas(waveform, n_mels=128):
    """The published steps, by librosa, in float64."""
    waveform = waveform.astype(np.float64) / np.abs(waveform).max()
    magnitudes = np.abs(librosa.stft(waveform, n_fft=1024, hop_length=512))
    return np.log(librosa.feature.melspectrogram(S=magnitudes, sr=RATE, n_mels=n_mels) + 1e-6)


@pytest.mark.parametrize("seconds", [1.0, 3.0, 7.31])
@pytest.mark.parametrize("n_mels", [128, 64])
def test_log_mel_equals_librosa(seconds, n_mels):
    waveform = music(seconds)
    computed, expected = HanSegments(n_mels=n_mels).log_mel(waveform), librosas(waveform, n_mels)
    assert computed.dtype == np.float32
    assert computed.flags.c_contiguous
    assert computed.shape == expected.shape == (n_mels, 1 + round(seconds * RATE) // 512)
    np.testing.assert_allclose(computed, expected, rtol=0, atol=2e-5)


def test_three_blocks_of_43_frames_from_a_clip_of_three_seconds():
    front, waveform = front_end("han_segments"), music(3.0)
    assert isinstance(front, HanSegments)
    assert names().count("han_segments") == 1
    blocks, picture = front.compute(waveform), front.log_mel(waveform)
    assert picture.shape == (128, 130)
    assert blocks.shape == front.shape(3.0) == front.shape(None) == (3, 128, 43)
    assert blocks.dtype == np.float32
    assert blocks.flags.c_contiguous
    np.testing.assert_array_equal(np.concatenate(list(blocks), axis=1), picture[:, :129])


def test_a_click_in_the_second_second_lights_the_second_block():
    waveform = np.zeros(3 * RATE, np.float32)
    waveform[round(1.6 * RATE)] = 1
    front = HanSegments()
    blocks = front.compute(waveform)
    block, frame = np.unravel_index(blocks.mean(axis=1).argmax(), (3, 43))
    assert block == 1
    assert (43 + frame) * front.seconds_per_frame == pytest.approx(1.6, abs=front.seconds_per_frame)


@pytest.mark.parametrize("band", [5, 40, 80, 120])
def test_a_tone_lights_the_band_of_its_frequency(band):
    front = HanSegments()
    tone = np.sin(2 * np.pi * front.band_hz[band] * np.arange(3 * RATE) / RATE)
    assert abs(int(front.compute(tone).mean(axis=(0, 2)).argmax()) - band) <= 1


def test_the_level_does_not_matter_and_silence_has_a_floor():
    front, waveform = HanSegments(), music(3.0)
    for level in (1e-3, 0.5, 100.0):
        np.testing.assert_allclose(front.compute(level * waveform), front.compute(waveform), rtol=0, atol=1e-4)
    np.testing.assert_allclose(front.compute(np.zeros(3 * RATE)), np.log(1e-6), rtol=1e-6)
    np.testing.assert_allclose(HanSegments(offset=0.01).compute(np.zeros(3 * RATE)), np.log(0.01), rtol=1e-6)


def test_the_floor_lies_under_the_noise_of_a_16_bit_file():
    rng = np.random.default_rng(0)
    waveform = rng.uniform(-0.5, 0.5, 3 * RATE) / 2**15
    waveform[0] = 1
    assert HanSegments().log_mel(waveform)[:, 10:].mean() - np.log(1e-6) > 1.5


@given(seconds=st.floats(2.9, 6.0), time_pool=st.integers(1, 43), segments=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_shape_foretells_the_output(seconds, time_pool, segments):
    front = HanSegments(time_pool=time_pool, segments=segments, n_mels=16)
    blocks = front.compute(music(seconds))
    assert blocks.shape == front.shape(seconds) == (segments, 16, 43 // time_pool)
    assert np.isfinite(blocks).all()


def test_time_pool_averages_neighbouring_frames():
    waveform = music(3.0)
    picture, pooled = HanSegments().log_mel(waveform), HanSegments(time_pool=2)
    expected = picture.reshape(128, 65, 2).mean(axis=2)
    np.testing.assert_allclose(pooled.log_mel(waveform), expected, rtol=1e-5)
    np.testing.assert_allclose(pooled.compute(waveform)[2], expected[:, 42:63], rtol=1e-5)
    assert pooled.seconds_per_frame == 2 * 512 / RATE


def test_a_clip_a_little_too_short_ends_in_silence_and_a_shorter_one_is_refused():
    front, needed = HanSegments(), 128 * 512  # whose centred transform has 129 frames
    whole = music(3.0)[:needed]
    assert front.log_mel(whole).shape == (128, 129)
    np.testing.assert_array_equal(front.compute(music(3.0)[: needed - 2205]).shape, (3, 128, 43))
    cut = front.compute(whole[: needed - 2205])[2]
    np.testing.assert_allclose(cut[:, -2:], np.log(1e-6), rtol=1e-6)
    assert cut[:, :30].mean() > np.log(1e-6) + 2
    with pytest.raises(RepriseError, match=r"a clip of 2\.87 s is too short for 3 blocks of a second; leave it out"):
        front.compute(whole[: needed - 2206])
    with pytest.raises(RepriseError, match=r"a clip of 0\.00 s is too short for 1 blocks"):
        HanSegments(segments=1).compute(np.zeros(0, np.float32))


def test_parameters_are_complete_and_fit_for_json():
    front = HanSegments()
    assert json.loads(json.dumps(front.parameters)) == front.parameters
    assert front.parameters["n_fft"] == 1024
    assert front.parameters["segments"] == 3
    for field, value in (("segments", 2), ("n_mels", 64), ("offset", 1e-5), ("time_pool", 3)):
        assert HanSegments(**{field: value}).parameters != front.parameters
    assert pickle.loads(pickle.dumps(front)) == front  # as it travels to a worker


def test_values_that_it_cannot_have():
    with pytest.raises(RepriseError, match="a block of 43 frames is shorter than the time_pool of 44"):
        HanSegments(time_pool=44)
    with pytest.raises(RepriseError, match="offset is 0; give a number above 0"):
        HanSegments(offset=0)
    with pytest.raises(RepriseError, match="segments is 0; give a whole number"):
        HanSegments(segments=0)
