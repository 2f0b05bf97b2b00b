"""Pictures of notes against librosa and Pillow."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.errors import RepriseError
from harness.features import front_end


def librosas_note(waveform, **options):
    """Log-mel of a note's first second at 12 kHz, as librosa gives it."""
    seconds, offset = options.pop("seconds", 1.0), options.pop("offset", 1e-6)
    rate, onset_db = options.pop("sample_rate", 12000), options.pop("onset_db", 40.0)
    _, (start, _) = librosa.effects.trim(waveform, top_db=onset_db)
    note = librosa.util.fix_length(waveform[start:], size=round(seconds * rate))
    settings = {"n_fft": 2048, "hop_length": 1024, "n_mels": 128} | options
    return np.log(librosa.feature.melspectrogram(y=note, sr=rate, power=2.0, **settings) + offset)


def notes(rate=12000):
    """Notes at different places of their files."""
    rng = np.random.default_rng(3)
    time = np.arange(rate) / rate
    tone = sum(np.sin(2 * np.pi * 220 * n * time) / n for n in range(1, 9)) * np.exp(-2 * time)
    hiss = rng.normal(0, 1e-4, 3 * rate)
    made = {name: hiss.copy() for name in ("late", "soft", "short")}
    made["late"][rate : 2 * rate] += 0.4 * tone
    made["soft"][rate // 3 : rate // 3 + rate] += 0.02 * tone
    made["short"] = made["short"][: rate // 2]
    made["short"][1000:4000] += 0.3 * tone[:3000]
    made["at once"] = 0.5 * tone
    made["noise"] = rng.normal(0, 0.1, 2 * rate)
    made["swell"] = np.linspace(0, 0.5, 2 * rate) ** 3 * np.sin(2 * np.pi * 3000 * np.arange(2 * rate) / rate)
    return {name: note.astype(np.float32) for name, note in made.items()}


@pytest.mark.parametrize("kind", notes())
def test_the_notes_log_mel_is_librosas(kind):
    note = notes()[kind]
    front = front_end("note_picture")
    computed, expected = front.log_mel(note), librosas_note(note)
    assert computed.shape == expected.shape == (128, 12)
    assert computed.dtype == np.float32
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-4)
    assert front.onset(note) == librosa.effects.trim(note, top_db=40)[1][0]


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 0.5, "onset_db": 20.0},
        {"seconds": 1.5, "offset": 1e-3, "n_mels": 64},
        {"sample_rate": 22050, "n_fft": 1024, "hop_length": 300},
        {"onset_db": 1000.0},
    ],
)
def test_the_notes_log_mel_is_librosas_with_other_parameters(options):
    for note in notes(options.get("sample_rate", 12000)).values():
        computed = front_end("note_picture", **options).log_mel(note)
        np.testing.assert_allclose(computed, librosas_note(note, **options), rtol=0, atol=1e-4)


@given(lead=st.integers(0, 30000), length=st.integers(1, 15000), level=st.floats(-60, 0), db=st.floats(10, 60))
@settings(max_examples=60, deadline=None)
def test_the_onset_is_where_librosas_trim_has_it(lead, length, level, db):
    noise = np.random.default_rng(lead).normal(size=lead + length).astype(np.float32)
    noise[:lead] *= 1e-4
    noise *= np.float32(10 ** (level / 20) / np.abs(noise).max())
    assert front_end("note_picture", onset_db=db).onset(noise) == librosa.effects.trim(noise, top_db=db)[1][0]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [150, 299, 128])
def test_a_picture_is_resized_as_pillow_does(interpolation, size):
    note = notes()["late"]
    cells = librosas_note(note)
    cells = (cells - cells.min()) / np.ptp(cells)
    way = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}[interpolation]
    expected = np.asarray(Image.fromarray(cells.astype(np.float32)[::-1]).resize((size, size), way))
    picture = front_end("note_picture", interpolation=interpolation, size=size).compute(note)
    assert picture.shape == (size, size)
    assert picture.dtype == np.float32
    assert picture.flags.c_contiguous
    assert (picture.min(), picture.max()) == (0, 1) or interpolation == "bilinear"
    # What lies in the middle between two cells is of the one or the other, as the rounding has it.
    rows, columns = ((2 * np.arange(size) + 1) * count % (2 * size) != 0 for count in cells.shape)
    assert rows.mean() > 0.95
    assert columns.mean() > 0.95
    np.testing.assert_allclose(picture[rows][:, columns], expected[rows][:, columns], rtol=0, atol=1e-4)


def test_a_picture_has_low_frequencies_at_the_bottom_and_fills_its_range():
    time = np.arange(12000) / 12000
    low, high = (front_end("note_picture").compute(np.sin(2 * np.pi * hertz * time)) for hertz in (200, 4000))
    assert low.shape == high.shape == (150, 150)
    assert low[:, 75].argmax() > 120
    assert high[:, 75].argmax() < 40
    for picture in (low, high):
        assert (picture.min(), picture.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(
        front_end("note_picture", low="top").compute(np.sin(2 * np.pi * 200 * time)), low[::-1]
    )


def test_a_pictures_columns_are_its_time():
    """A click in the middle of the second lights the middle columns."""
    note = np.full(12000, 1e-3, np.float32)
    note[6000] = 1
    front = front_end("note_picture")
    loudest = front.compute(note).mean(axis=0).argmax() + 0.5
    assert loudest * front.seconds_per_frame == pytest.approx(0.5, abs=0.1)
    assert front.seconds_per_frame * 150 == pytest.approx(12 * 1024 / 12000)


def test_silence_and_very_short_notes_have_pictures_too():
    front = front_end("note_picture")
    for silent in (np.zeros(0), np.zeros(1), np.zeros(20000)):
        np.testing.assert_array_equal(front.compute(silent), np.zeros((150, 150)))
    for length in (1, 30, 600):
        note = np.random.default_rng(length).normal(0, 0.1, length)
        picture = front.compute(note)
        assert (picture.min(), picture.max()) == (0, 1)
        assert (picture[:, 60:] == 0).all()  # all that is sounded lies in the first frames
        np.testing.assert_allclose(front.log_mel(note), librosas_note(note.astype(np.float32)), rtol=0, atol=1e-4)
    assert front.shape(None) == front.shape(0.1) == (150, 150)


def test_a_picture_looks_at_one_second_from_the_onset_and_not_at_the_level():
    note = notes()["at once"]
    front = front_end("note_picture", offset=1e-12)
    alone = front.compute(note)
    np.testing.assert_array_equal(front.compute(np.concatenate([note, notes()["noise"]])), alone)
    late, later = (front.compute(np.concatenate([np.zeros(512 * frames), note])) for frames in (9, 40))
    np.testing.assert_array_equal(late, later)
    noise = notes()["noise"]
    np.testing.assert_allclose(front.compute(0.1 * noise), front.compute(noise), atol=1e-4)


def test_values_that_a_picture_cannot_have():
    for name in ("onset_db", "seconds", "offset"):
        for value in (0, -1.0, float("nan"), float("inf"), "1", True, None):
            with pytest.raises(RepriseError, match=f"note_picture: {name} is .*; give a number above 0"):
                front_end("note_picture", **{name: value})
    with pytest.raises(RepriseError, match="interpolation is 'cubic'; give 'nearest' or 'bilinear'"):
        front_end("note_picture", interpolation="cubic")
    with pytest.raises(RepriseError, match="low is 'left'; give 'bottom' or 'top'"):
        front_end("note_picture", low="left")
    with pytest.raises(RepriseError, match=r"0\.3 s have fewer frames than the time_pool of 5; give a smaller one"):
        front_end("note_picture", seconds=0.3, time_pool=5)
    assert front_end("note_picture", seconds=1).shape(None) == (150, 150)
