"""Sources, noises, events and the words for them: what the twins of AudioSet and FSD50K are made of."""

import re

import numpy as np
import pytest
import scipy.signal

from harness.corpora.pocket import events, noises, words
from harness.corpora.pocket.events import Event, Mood
from harness.corpora.pocket.sources import CLASSES, KIT, SOURCES
from harness.corpora.pocket.synth import Note

RATE = 44100
KINDS = ("note", "chord", "phrase", "loop", "hit", "beat")


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(name, seconds, seed=0):
    return events.render(Event(name, "noise", seconds, seed=seed))


def spectrum(audio):
    """Frequencies and power per Hz."""
    return scipy.signal.welch(audio.astype(float), RATE, nperseg=16384)


def test_every_program_of_general_midi_is_in_one_source_and_the_kits_are_there():
    presets = [preset for source in SOURCES.values() for preset in source.presets]
    assert sorted(program for bank, program in presets if bank == 0) == list(range(128))
    assert {program for bank, program in presets if bank == KIT} == {0, 8, 16, 24, 25, 32, 40, 48}


def test_every_class_is_heard_and_has_its_own_id():
    assert {name for source in SOURCES.values() for name in source.classes} == set(CLASSES)
    assert len(set(CLASSES.values())) == len(CLASSES) == 40
    assert all(re.fullmatch(r"/m/0[0-9a-z_]+", mid) for mid in CLASSES.values())
    assert {"piano", "drum kit", "telephone", "wind", "hum"} <= SOURCES.keys()
    assert not SOURCES["helicopter"].musical
    assert SOURCES["drum kit"].musical


@pytest.mark.parametrize("name", SOURCES)
def test_every_preset_sounds_in_every_kind(name):
    source, random = SOURCES[name], rng(1)
    for preset in source.presets or (None,):
        for kind in random.choice(KINDS, size=2, replace=False):
            kind = "beat" if source.manner == "beat" else str(kind)
            seconds = float(random.uniform(0.5, 4))
            event = events.draw(random, source, kind, seconds, events.draw_mood(random), preset)
            audio = events.render(event)
            assert event.preset == preset
            assert audio.dtype == np.float32
            assert len(audio) == round(event.seconds * RATE)
            assert np.isfinite(audio).all()
            assert events.loud_level(audio) == pytest.approx(1, rel=1e-3)
            assert np.abs(audio).max() < 40
            assert abs(audio[-1]) < 0.01
            assert {note.pitch for note in event.notes} <= set(range(min(source.keys, default=0) - 1, 97))
            assert all(0 <= note.start < event.seconds for note in event.notes)


def test_an_event_depends_on_nothing_but_what_it_is_drawn_from():
    for name in ("piano", "bird", "drum kit", "wind", "sweeps"):
        mood = Mood(100.0, 2, "minor")
        first, second = (events.draw(rng(5), SOURCES[name], "phrase", 2.0, mood) for _ in range(2))
        assert first == second
        np.testing.assert_array_equal(events.render(first), events.render(second))
        third = events.draw(rng(6), SOURCES[name], "phrase", 2.0, mood)
        assert not np.array_equal(events.render(first), events.render(third))


def test_music_keeps_to_its_scale_and_key_range():
    mood, steps = Mood(120.0, 7, "harmonic"), {(7 + step) % 12 for step in events.SCALES["harmonic"]}
    for name in ("flute", "organ", "bass guitar", "bells"):
        for seed in range(5):
            event = events.draw(rng(seed), SOURCES[name], "phrase", 6.0, mood)
            assert {note.pitch % 12 for note in event.notes} <= steps
            assert {note.pitch for note in event.notes} <= set(SOURCES[name].keys)


@pytest.mark.parametrize("tempo", [66.0, 97.0, 160.0])
def test_loops_and_beats_have_whole_bars(tempo):
    for name, kind in (("guitar", "loop"), ("drum machine", "beat")):
        for seconds in (0.5, 3.0, 8.0):
            event = events.draw(rng(), SOURCES[name], kind, seconds, Mood(tempo, 0, "major"))
            bars = event.seconds / (4 * 60 / tempo)
            assert bars == pytest.approx(round(bars), abs=1e-4)
            assert bars > 0.9
            assert bars < 1.1 or event.seconds <= seconds
            assert event.tempo == tempo
            onset_in_beats = np.array([note.start for note in event.notes]) * tempo / 60
            if kind == "beat":  # on sixteenths
                np.testing.assert_allclose(onset_in_beats * 4, np.round(onset_in_beats * 4), atol=0.02)


@pytest.mark.parametrize("key", [62, 69, 81])
def test_a_note_has_its_pitch(key):
    event = Event("flute", "note", 1.5, (0, 73), (Note(0.0, 1.4, key, 100),))
    frequencies, power = spectrum(events.render(event))
    pitch = 440 * 2 ** ((key - 69) / 12)
    peaks = frequencies[scipy.signal.find_peaks(power, height=power.max() / 100)[0]]
    assert min(peaks) == pytest.approx(pitch, abs=6)  # the transform's bins are 2.7 Hz apart
    np.testing.assert_allclose(peaks / pitch, np.round(peaks / pitch), rtol=0.025)  # it has a vibrato


def test_the_loud_level_counts_what_sounds_and_not_the_pauses():
    audio = np.zeros(RATE * 2, np.float32)
    audio[: RATE // 10] = 0.5
    audio[RATE : RATE + RATE // 20] = 0.01  # 34 dB below
    assert events.loud_level(audio) == pytest.approx(0.5)


def test_white_noise_is_flat_and_coloured_noise_falls():
    frequencies, power = spectrum(noise("white noise", 4.0))
    bands = [power[(frequencies > low) & (frequencies < 2 * low)].mean() for low in (100, 1000, 8000)]
    np.testing.assert_allclose(bands, bands[0], rtol=0.15)
    for seed in range(3):
        frequencies, power = spectrum(noise("coloured noise", 4.0, seed))
        between = (frequencies > 100) & (frequencies < 10_000)
        slope = np.polyfit(np.log2(frequencies[between]), 10 * np.log10(power[between]), 1)[0]
        assert -7 < slope < -2


def test_hum_is_harmonics_of_the_mains():
    seen = set()
    for seed in range(6):
        audio = noise("hum", 2.0, seed).astype(float)
        lines = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
        hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
        shares = {}
        for mains in (50, 60):
            near = np.min(np.abs(hertz[:, None] - mains * np.arange(1, 13)), axis=1) < 2
            shares[mains] = lines[near].sum() / lines.sum()
        assert max(shares.values()) > 0.98
        seen.add(max(shares, key=shares.get))
    assert seen == {50, 60}


def test_wind_changes_slowly_and_clicks_are_short():
    wind, clicks = noise("wind", 6.0), noise("clicks", 6.0)
    frame = RATE // 20
    levels = [np.sqrt((audio[: 120 * frame].reshape(120, frame) ** 2).mean(axis=1)) for audio in (wind, clicks)]
    steps = [np.abs(np.diff(20 * np.log10(level + 1e-9))) for level in levels]
    assert np.median(steps[0]) < 4
    assert np.abs(clicks).max() > 8 * np.sqrt((clicks**2).mean())
    assert np.abs(wind).max() < 8 * np.sqrt((wind**2).mean())


@pytest.mark.parametrize("name", ["sweeps", "siren"])
def test_tones_that_move(name):
    audio = noise(name, 4.0, 3)
    frequencies, _, picture = scipy.signal.spectrogram(audio.astype(float), RATE, nperseg=2048)
    loudest = frequencies[picture.argmax(axis=0)]
    assert 100 < loudest.min() < loudest.max() < 9000
    assert loudest.max() > 1.15 * loudest.min()


def test_a_room_rings_for_its_decay():
    click = np.zeros(RATE, np.float32)
    click[0] = 1
    for decay in (0.4, 1.2):
        answer = noises.reverberate(click, RATE, decay, -6.0, 3)
        assert len(answer) == RATE
        assert (answer[1:] ** 2).sum() == pytest.approx(10 ** (-6 / 10), rel=0.05)
        energy = np.cumsum(answer[1:][::-1] ** 2)[::-1]
        fall = 10 * np.log10(energy / energy[0] + 1e-12)
        at5, at25 = (int(np.argmax(fall < -db)) for db in (5, 25))
        assert (at25 - at5) / RATE == pytest.approx(decay / 3, rel=0.2)


def test_there_are_words_for_everything():
    assert words.SOURCE_WORDS.keys() == SOURCES.keys()
    assert len(words.PROGRAMS) == 128
    everything = {word for group in (*words.SOURCE_WORDS.values(), *words.PROGRAMS) for word in group}
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", word) for word in everything)


def test_the_words_follow_what_is_rendered():
    mood = Mood(142.0, 9, "minor")
    note = Event("piano", "note", 0.8, (0, 0), (Note(0.0, 0.5, 33, 90),))
    given = words.fitting(note, mood, ["reverb"], -30.0)
    assert given[0] == "piano"
    assert {"keyboard", "grand-piano", "note", "one-shot", "low", "a", "short", "quiet", "reverb"} <= set(given)
    assert not {"loud", "high", "loop", "minor", "dry", "long"} & set(given)
    loop = Event("electric guitar", "loop", 6.76, (0, 30), (Note(0.0, 0.5, 60, 90), Note(1, 1, 64, 90)), 142.0)
    given = set(words.fitting(loop, mood, [], -12.0))
    assert {"guitar", "metal", "loop", "bpm", "142bpm", "fast", "minor", "loud", "long"} <= given
    assert not {"note", "one-shot", "quiet", "short", "reverb"} & given
    hit = Event("cymbal", "hit", 0.7, (KIT, 0), (Note(0.0, 0.5, 42, 90),))
    assert {"cymbal", "hi-hat", "hit", "dry"} <= set(words.fitting(hit, mood, [], -20.0))
    effect = Event("bird", "effect", 3.0, (0, 123), (Note(0.0, 1, 60, 90),))
    assert {"bird", "field-recording", "chirp"} <= set(words.fitting(effect, mood, [], -20.0))
    assert "wind" in words.fitting(Event("wind", "noise", 3.0), mood, [], -20.0)


@pytest.mark.parametrize("thorough", [0.0, 0.5, 1.0])
def test_people_give_five_to_twelve_tags_and_leave_some_out(thorough):
    mood, random, firsts, counts = Mood(100.0, 0, "major"), rng(2), [], []
    for _ in range(300):
        source = SOURCES[str(random.choice(list(SOURCES)))]
        event = events.draw(random, source, "phrase", 3.0, mood)
        given = words.tags(event, mood, [], -20.0, ("studio", "zoom"), thorough, random)
        fitting = words.fitting(event, mood, [], -20.0)
        assert 5 <= len(given) <= 12
        assert len(set(given)) == len(given)
        assert set(given) <= {*fitting, *words.SIGNATURES}
        firsts.append(fitting[0] in given)
        counts.append(len(set(given) & set(fitting)) / len(fitting))
    assert 0.85 < np.mean(firsts) < 1
    assert np.mean(counts) == pytest.approx({0.0: 0.45, 0.5: 0.6, 1.0: 0.98}[thorough], abs=0.1)
