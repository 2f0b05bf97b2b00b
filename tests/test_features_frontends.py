"""What every front end promises."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RepriseError
from harness.features import front_end, names
from harness.features.frontends import FRONT_ENDS

#: Ends of the names of front ends that cut a clip.
IN_PIECES = ("_segments", "_squares")


def of_one_segment(name, **parameters):
    """A front end; one that cuts clips into segments makes do with a short clip."""
    return front_end(name, **parameters, **({"segments": 1} if name.endswith(IN_PIECES) else {}))


@pytest.mark.parametrize("name", names())
def test_a_tone_lights_the_band_of_its_frequency(name):
    front = of_one_segment(name)
    time = np.arange(3 * front.sample_rate) / front.sample_rate
    for band in (20, 40, 60):
        picture = front.compute(np.sin(2 * np.pi * front.band_hz[band] * time))
        if name == "note_picture":  # from the top row down
            picture = picture[::-1]
        if name.endswith(IN_PIECES):
            (picture,) = picture
        energy = picture.mean(axis=(0, 1)) if name.startswith("vggish") else picture.mean(axis=1)
        assert abs(int(energy.argmax()) - band) <= 1


@given(seconds=st.floats(0.2, 4.0), time_pool=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("name", names())
def test_shape_foretells_the_output(name, seconds, time_pool):
    front = of_one_segment(name, time_pool=time_pool)
    seconds += 3 * name.endswith(IN_PIECES)
    waveform = np.random.default_rng(0).normal(0, 0.1, round(seconds * front.sample_rate))
    assert front.compute(waveform).shape == front.shape(seconds)


def test_frames_are_where_seconds_per_frame_says():
    for name in ("mel", "vggish"):
        front = front_end(name, time_pool=2)
        waveform = np.zeros(10 * front.sample_rate)
        waveform[6 * front.sample_rate] = 1
        frames = front.compute(waveform)
        frames = frames.T if name == "mel" else frames.reshape(-1, 64)
        loudest = frames.mean(axis=1).argmax()
        assert loudest * front.seconds_per_frame == pytest.approx(6.0, abs=2 * front.seconds_per_frame)


@pytest.mark.parametrize("name", names())
def test_parameters_are_complete_and_fit_for_json(name):
    front = front_end(name)
    assert json.loads(json.dumps(front.parameters)) == front.parameters
    assert {"version", "sample_rate", "n_fft", "hop_length", "n_mels", "time_pool"} <= front.parameters.keys()
    assert front_end(name, time_pool=3).parameters != front.parameters
    copy = pickle.loads(pickle.dumps(front))  # as it travels to a worker
    assert copy == front
    assert copy.parameters == front.parameters


def test_unknown_names_and_values_say_what_there_is():
    assert names() == sorted(FRONT_ENDS)
    with pytest.raises(RepriseError, match=r"no front end is called 'cqt'; there are: han_segments, mel, "):
        front_end("cqt")
    with pytest.raises(RepriseError, match=r"front end mel has no parameter 'bands'; it has: .*n_mels"):
        front_end("mel", bands=96)
    with pytest.raises(RepriseError, match=r"front end vggish has no parameter 'sample_rate'; it has: time_pool"):
        front_end("vggish", sample_rate=22050)
    for value in (0, -1, 1.5, "2", True):
        with pytest.raises(RepriseError, match=r"time_pool is .*; give a whole number of at least 1"):
            front_end("mel", time_pool=value)
    for value in (1, "yes", None):
        with pytest.raises(RepriseError, match=r"vggish: peak_normalise is .*; give False or True"):
            front_end("vggish", peak_normalise=value)
    with pytest.raises(RepriseError, match=r"vggish_patch: which is 'last'; give 'first' or 'loudest'"):
        front_end("vggish_patch", which="last")


@pytest.mark.parametrize("name", ["mel", "vggish"])
def test_outputs_that_grow_need_clips_of_one_length(name):
    with pytest.raises(RepriseError, match=f"front end {name} needs clips of one length"):
        front_end(name).shape(None)


def test_waveform_shorter_than_a_window():
    assert front_end("vggish").compute(np.ones(399)).shape == (0, 96, 64)
    assert front_end("mel").compute(np.ones(1)).shape == (128, 1)
