"""Mel spectrograms of clips and of their segments against librosa."""

import librosa
import numpy as np
import pytest
from waveforms import signals

from harness.errors import RepriseError
from harness.features import decode, front_end


@pytest.mark.parametrize("kind", signals(100, 0.1))
def test_mel_equals_librosa(kind):
    waveform = signals(22050)[kind].astype(np.float32)
    expected = librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=22050))
    computed = front_end("mel").compute(waveform)
    assert computed.dtype == np.float32
    assert computed.flags.c_contiguous
    assert computed.shape == expected.shape == (128, 431)
    # the rounding of float32 shows in bands near the floor, 80 dB under the loudest, only
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-3)
    audible = expected > expected.max() - 60
    np.testing.assert_allclose(computed[audible], expected[audible], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_fft": 1024, "n_mels": 96},
        {"sample_rate": 16000, "hop_length": 160, "n_fft": 512, "n_mels": 40},
        {"n_fft": 1000, "hop_length": 333},
    ],
)
def test_mel_equals_librosa_with_other_parameters(parameters):
    front = front_end("mel", **parameters)
    waveform = signals(front.sample_rate, 3.0)["sweep"].astype(np.float32)
    picture = librosa.feature.melspectrogram(
        y=waveform, sr=front.sample_rate, **{k: v for k, v in parameters.items() if k != "sample_rate"}
    )
    np.testing.assert_allclose(front.compute(waveform), librosa.power_to_db(picture), rtol=0, atol=2e-3)
    assert front.compute(waveform).shape == front.shape(3.0)


def test_time_pool_averages_neighbouring_frames():
    waveform = signals(22050)["sweep"]
    plain, pooled = front_end("mel").compute(waveform), front_end("mel", time_pool=4).compute(waveform)
    assert pooled.shape == (128, 107)
    for column in (0, 50, 106):
        np.testing.assert_allclose(pooled[:, column], plain[:, 4 * column : 4 * column + 4].mean(axis=1), rtol=1e-5)


def test_real_clip(published_data):
    real_clip = published_data / "openmic-2018" / "sample" / "000046_3840.ogg"
    waveform = decode(real_clip, 22050, seconds=10.0)
    picture = front_end("mel").compute(waveform)
    assert picture.shape == (128, 431)
    assert np.isfinite(picture).all()
    expected = librosa.power_to_db(librosa.feature.melspectrogram(y=librosa.load(real_clip)[0]))
    np.testing.assert_allclose(picture, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", signals(100, 0.1))
def test_segments_equal_librosas(kind):
    front = front_end("mel_segments", segments=4, seconds=2.5)
    waveform = signals(22050)[kind].astype(np.float32)
    pictures = front.compute(waveform)
    assert pictures.dtype == np.float32
    assert pictures.flags.c_contiguous
    assert pictures.shape == front.shape(None) == (4, 128, 108)
    for number, picture in enumerate(pictures):
        piece = waveform[number * 55125 : (number + 1) * 55125]
        power = librosa.feature.melspectrogram(y=piece, sr=22050)
        if power.max() <= 1e-10:  # silence before the attack and around the click
            np.testing.assert_array_equal(picture, 0)
            continue
        expected = (librosa.power_to_db(power, ref=np.max, top_db=80) + 80) / 80
        np.testing.assert_allclose(picture, expected, rtol=0, atol=2e-5)
        assert picture.max() == pytest.approx(1, abs=1e-6)
        assert picture.min() >= 0


def test_segments_of_a_track_of_thirty_seconds():
    front = front_end("mel_segments")
    assert front.shape(None) == front.shape(30.0) == (10, 128, 130)
    track = np.random.default_rng(2).normal(0, 0.1, 675_808).astype(np.float32)  # the longest of the published set
    pictures = front.compute(track)
    np.testing.assert_array_equal(pictures, front.compute(track[:661_500]))  # what is over is dropped
    np.testing.assert_array_equal(front.cut(track).ravel(), track[:661_500])
    one = front_end("mel_segments", segments=1)
    np.testing.assert_array_equal(pictures[3:4], one.compute(track[3 * 66_150 : 4 * 66_150]))


def test_a_clip_slightly_too_short_ends_in_silence():
    front = front_end("mel_segments", segments=2, seconds=1.0)
    waveform = np.random.default_rng(3).normal(0, 0.1, 44_100).astype(np.float32)
    short = waveform[: 44_100 - 2_205]
    np.testing.assert_array_equal(front.compute(short), front.compute(np.pad(short, (0, 2_205))))
    with pytest.raises(RepriseError, match=r"clip of 1\.90 s is too short for 2 segments of 1 s; leave it out"):
        front.compute(waveform[: 44_100 - 2_206])
    with pytest.raises(RepriseError, match="too short"):
        front.compute(np.zeros(0))


def test_segments_of_silence_and_of_next_to_nothing_are_zeros():
    front = front_end("mel_segments", segments=3, seconds=1.0)
    waveform = np.zeros(66_150, np.float32)
    waveform[22_050:44_100] = 1e-8  # what a resampler leaves of silence
    waveform[50_000] = 0.5
    pictures = front.compute(waveform)
    np.testing.assert_array_equal(pictures[:2], 0)
    assert pictures[2].max() == 1


def test_the_level_of_a_segment_does_not_matter_and_pooling_averages():
    waveform = signals(22050, 3.0)["sweep"].astype(np.float32)
    front = front_end("mel_segments", segments=1)
    pictures = front.compute(waveform)
    np.testing.assert_allclose(front.compute(waveform / 8), pictures, atol=1e-5)
    pooled = front_end("mel_segments", segments=1, time_pool=4)
    assert pooled.shape(None) == (1, 128, 32)
    assert pooled.seconds_per_frame == 4 * front.seconds_per_frame
    means = pictures[:, :, :128].reshape(1, 128, 32, 4).mean(axis=3)
    np.testing.assert_allclose(pooled.compute(waveform), means, atol=1e-6)


def test_values_that_segments_cannot_have():
    with pytest.raises(RepriseError, match=r"mel_segments: segments is 0; give a whole number"):
        front_end("mel_segments", segments=0)
    with pytest.raises(RepriseError, match=r"mel_segments: seconds is -1; give a number above 0"):
        front_end("mel_segments", seconds=-1)
    with pytest.raises(RepriseError, match=r"0\.1 s have fewer frames than the time_pool of 6; give a smaller one"):
        front_end("mel_segments", seconds=0.1, time_pool=6)
