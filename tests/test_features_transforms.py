"""Filter banks, projection and pooling against librosa and torchvggish."""

import librosa
import numpy as np
import pytest
from torchvggish import mel_features
from waveforms import signals

from harness.features import front_end
from harness.features.transforms import htk_bands, htk_edges, pool, slaney_bands, slaney_edges


@pytest.mark.parametrize(("rate", "bands"), [(22050, 128), (44100, 96), (1600, 20)])
def test_mel_bands_are_librosas(rate, bands):
    expected = librosa.mel_frequencies(bands + 2, fmin=0, fmax=rate / 2)
    np.testing.assert_allclose(slaney_edges(rate, bands), expected, rtol=1e-12, atol=1e-9)
    front = front_end("mel", sample_rate=rate, n_mels=bands)
    np.testing.assert_allclose(front.band_hz, expected[1:-1], rtol=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_slaney_bands_are_librosas(power):
    signal = signals(22050, 1.0)["sweep"]
    found = slaney_bands(signal, 22050, 1000, 333, 40, power=power, dtype=np.float64)
    expected = librosa.feature.melspectrogram(
        y=signal, sr=22050, n_fft=1000, hop_length=333, n_mels=40, power=power, center=False
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.T, rtol=1e-5, atol=1e-6 * expected.max())


def test_htk_bands_are_torchvggishs():
    signal = signals(16000, 1.0)["sweep"]
    found = htk_bands(signal, 16000, 512, 160, 64, 125.0, 7500.0, window=400)
    expected = np.exp(
        mel_features.log_mel_spectrogram(
            signal,
            audio_sample_rate=16000,
            log_offset=0.0,
            window_length_secs=0.025,
            hop_length_secs=0.010,
            num_mel_bins=64,
            lower_edge_hertz=125.0,
            upper_edge_hertz=7500.0,
        )
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * expected.max())
    edges = mel_features.hertz_to_mel(np.array([125.0, 7500.0]))
    np.testing.assert_allclose(htk_edges(64, 125.0, 7500.0)[[0, -1]], edges, rtol=1e-9)


def test_a_signal_shorter_than_a_window_has_no_frame():
    assert slaney_bands(np.ones(511, np.float32), 16000, 512, 160, 40, power=2).shape == (0, 40)
    assert htk_bands(np.ones(399, np.float32), 16000, 512, 160, 64, 125.0, 7500.0, window=400).shape == (0, 64)


def test_pooling_averages_neighbours_and_drops_what_is_left():
    frames = np.arange(14.0).reshape(7, 2)
    np.testing.assert_array_equal(pool(frames, 3), [[2, 3], [8, 9]])
    assert pool(frames, 1) is frames
    assert pool(frames, 8).shape == (0, 2)
