import numpy as np
import pytest

from harness.corpora.pocket import features


def tone(hertz, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(441000) / 44100)).astype(np.float32)


def test_shape_and_range_of_the_published_array():
    described = features.describe(tone(1000))
    assert described.shape == (10, 128)
    assert described.dtype == np.uint8


def test_silence_is_the_bottom_of_the_range():
    assert not features.describe(np.zeros(441000, np.float32)).any()


@pytest.mark.parametrize("hertz", [150, 440, 1000, 3000, 6000])
def test_a_tone_is_loudest_in_its_band(hertz):
    edges = 700 * np.expm1(np.linspace(np.log1p(60 / 700), np.log1p(7800 / 700), 66))
    band = int(np.argmax(features.describe(tone(hertz))[5, :64]))
    assert edges[band] - 16 <= hertz <= edges[band + 2] + 16  # half a bin of the transform


def test_ten_db_are_ten_db():
    loud, soft = (features.describe(tone(1000, level))[5, :64].max() for level in (0.5, 0.5 / 10**0.5))
    assert (int(loud) - int(soft)) * 90 / 255 == pytest.approx(10, abs=0.5)
    full_scale = features.describe(tone(1000, 1.0))[5, :64].max()
    assert 225 < full_scale < 255


def test_the_second_half_tells_change_from_steadiness():
    steady = tone(1000)
    pulsed = steady * (np.arange(441000) // 4410 % 2)
    band = int(np.argmax(features.describe(steady)[5, :64]))
    assert features.describe(pulsed)[5, 64 + band] > 100 + features.describe(steady)[5, 64 + band]
