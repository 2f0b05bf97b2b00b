"""Front ends against librosa and torchvggish themselves."""

import json
import pickle

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvggish import mel_features, vggish_input

from harness.errors import RepriseError
from harness.features import decode, front_end, names, vggish_examples
from harness.features.frontends import FRONT_ENDS, slaney_edges


def signals(rate, seconds=10.0):
    """Waveforms that are hard in different ways."""
    rng = np.random.default_rng(1)
    time = np.arange(round(rate * seconds)) / rate
    noise = rng.normal(0, 0.1, len(time))
    return {
        "noise": noise,
        "tone": 0.9 * np.sin(2 * np.pi * 440 * time),
        "quiet": 2e-4 * np.sin(2 * np.pi * 1000 * time),
        "sweep": 0.5 * np.sin(2 * np.pi * (50 + 200 * time) * time),
        "attack": np.where(time < 5, 0, noise),
        "click": np.eye(1, len(time), len(time) // 2)[0],
    }


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


@pytest.mark.parametrize(("rate", "bands"), [(22050, 128), (44100, 96), (1600, 20)])
def test_mel_bands_are_librosas(rate, bands):
    expected = librosa.mel_frequencies(bands + 2, fmin=0, fmax=rate / 2)
    np.testing.assert_allclose(slaney_edges(rate, bands), expected, rtol=1e-12, atol=1e-9)
    front = front_end("mel", sample_rate=rate, n_mels=bands)
    np.testing.assert_allclose(front.band_hz, expected[1:-1], rtol=1e-12)


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


def test_time_pool_averages_neighbouring_frames():
    waveform = signals(22050)["sweep"]
    plain, pooled = front_end("mel").compute(waveform), front_end("mel", time_pool=4).compute(waveform)
    assert pooled.shape == (128, 107)
    for column in (0, 50, 106):
        np.testing.assert_allclose(pooled[:, column], plain[:, 4 * column : 4 * column + 4].mean(axis=1), rtol=1e-5)

    waveform = signals(16000)["sweep"]
    plain, pooled = front_end("vggish").compute(waveform), front_end("vggish", time_pool=2).compute(waveform)
    assert pooled.shape == (5, 96, 64)
    frames = plain.reshape(-1, 64)
    np.testing.assert_allclose(pooled.reshape(-1, 64), frames.reshape(480, 2, 64).mean(axis=1), rtol=1e-5, atol=1e-6)


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
    assert names() == list(FRONT_ENDS)
    with pytest.raises(RepriseError, match=r"no front end is called 'cqt'; there are: mel, vggish"):
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


@pytest.mark.parametrize("name", ["mel", "vggish"])
def test_outputs_that_grow_need_clips_of_one_length(name):
    with pytest.raises(RepriseError, match=f"front end {name} needs clips of one length"):
        front_end(name).shape(None)


def test_waveform_shorter_than_a_window():
    assert front_end("vggish").compute(np.ones(399)).shape == (0, 96, 64)
    assert front_end("mel").compute(np.ones(1)).shape == (128, 1)


@pytest.fixture(scope="module")
def real_clip(published_data):
    return published_data / "openmic-2018" / "sample" / "000046_3840.ogg"


def test_real_clip(real_clip):
    waveform = decode(real_clip, 22050, seconds=10.0)
    picture = front_end("mel").compute(waveform)
    assert picture.shape == (128, 431)
    assert np.isfinite(picture).all()
    expected = librosa.power_to_db(librosa.feature.melspectrogram(y=librosa.load(real_clip)[0]))
    np.testing.assert_allclose(picture, expected, rtol=0, atol=1e-3)

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
