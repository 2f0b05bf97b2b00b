"""Squares of a track's log-mel spectrogram: librosa's, cut as study 002's own code cuts them."""

import librosa
import numpy as np
import pytest

from harness import features
from harness.errors import RepriseError

#: Samples of most published tracks, and of the shortest.
USUAL, SHORTEST = 661_794, 660_000


@pytest.fixture(scope="module")
def track() -> np.ndarray:
    rng = np.random.default_rng(3)
    time = np.arange(USUAL) / 22050
    return (0.3 * np.sin(2 * np.pi * 440 * time) * (time % 1) + 0.01 * rng.standard_normal(USUAL)).astype(np.float32)


def librosas(waveform: np.ndarray, bands: int = 128) -> np.ndarray:
    whole = np.log(librosa.feature.melspectrogram(y=waveform, sr=22050, n_mels=bands) + 1e-9)
    return np.stack(np.split(whole[:, :1280], 10, axis=1))


def test_squares_are_librosas(track):
    found = features.front_end("mel_squares").compute(track)
    assert found.shape == features.front_end("mel_squares").shape(None) == (10, 128, 128)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, librosas(track), atol=2e-3)


def test_neighbouring_frames_are_averaged_within_each_square(track):
    found = features.front_end("mel_squares", n_mels=64, time_pool=3).compute(track)
    expected = librosas(track, 64)[:, :, :126].reshape(10, 64, 42, 3).mean(axis=3)
    assert found.shape == (10, 64, 42)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_shortest_published_track_has_all_its_squares(track):
    assert np.isfinite(features.front_end("mel_squares").compute(track[:SHORTEST])).all()


def test_a_track_that_lacks_a_little_ends_in_silence(track):
    found = features.front_end("mel_squares").compute(track[: 1279 * 512 - 2000])
    np.testing.assert_allclose(found[-1, :, -1], np.log(1e-9), atol=1e-3)


def test_a_short_track_is_refused(track):
    with pytest.raises(RepriseError, match=r"5\.00 s is too short for 10 squares"):
        features.front_end("mel_squares").compute(track[: 5 * 22050])
