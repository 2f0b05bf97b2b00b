import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpora.pocket import music
from harness.corpora.pocket.instruments import CATALOGUE, CLASSES
from harness.corpora.pocket.song import SECONDS, draw_song

PATCHES = [(name, patch) for name in CLASSES for patch in CATALOGUE[name]]


def some_song(rng):
    return draw_song(rng, tempo=rng.uniform(72, 148), waltz=0.3, minor=0.4, swing=float(rng.choice([0.5, 0.66])))


@given(st.integers(0, 2**32), st.integers(0, len(PATCHES) - 1))
@settings(max_examples=150, deadline=None)
def test_every_part_keeps_to_the_excerpt_and_the_instruments_range(seed, number):
    rng = np.random.default_rng(seed)
    _, patch = PATCHES[number]
    (notes,) = music.arrange(some_song(rng), [patch], rng)
    assert len(notes) >= 3
    assert notes == sorted(notes)
    for note in notes:
        assert patch.low <= note.pitch <= patch.high
        assert 0 <= note.start < SECONDS
        assert 0 < note.length <= SECONDS
        assert 1 <= note.velocity <= 127


def test_every_idiom_is_played_by_somebody_and_known():
    used = {idiom for _, patch in PATCHES for idiom in patch.idioms}
    assert used == set(music.IDIOMS)


@pytest.mark.parametrize("name", ["piano", "flute", "guitar", "bass", "ukulele", "voice"])
def test_tonal_parts_keep_to_the_songs_scale_and_chords(name):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        song, patch = some_song(rng), CATALOGUE[name][0]
        (notes,) = music.arrange(song, [patch], rng)
        scale = {key % 12 for key in song.scale_keys(0, 127)}
        # Fifths of power chords and bass lines may leave the scale: at most a few notes.
        assert np.mean([note.pitch % 12 in scale for note in notes]) > 0.85
        bar = song.metre * 60 / song.tempo
        on_chord = [note.pitch % 12 in song.chord(int((note.start + 0.02) / bar)) for note in notes]
        assert np.mean(on_chord) > 0.35


def test_the_same_stream_gives_the_same_music_and_another_gives_other_music():
    def compose(seed):
        rng = np.random.default_rng(seed)
        return music.arrange(some_song(rng), [CATALOGUE["piano"][0], CATALOGUE["violin"][0]], rng)

    assert compose(3) == compose(3)
    assert compose(3) != compose(4)


def test_the_mandolin_plays_tremolo_and_the_ukulele_short_chords():
    rng = np.random.default_rng(0)
    song = some_song(rng)
    mandolin = music.tremolo(song, CATALOGUE["mandolin"][0], rng)
    strokes = np.diff(sorted({note.start for note in mandolin}))
    assert 1 / 16 < np.median(strokes) < 1 / 9
    ukulele = music.short_strum(song, CATALOGUE["ukulele"][0], rng)
    assert max(note.length for note in ukulele) < 0.5 * 60 / song.tempo
    assert len({note.pitch for note in ukulele if note.start < 0.1}) == 4


def test_instruments_enter_and_leave():
    whole, spans = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        song = some_song(rng)
        parts = music.arrange(song, [CATALOGUE["organ"][0], CATALOGUE["flute"][1]], rng)
        for notes in parts:
            begin, end = notes[0].start, max(note.start + note.length for note in notes)
            spans.append(min(end, SECONDS) - begin)
            whole += begin < 0.7 and end > 9.3
    assert 0.15 < whole / len(spans) < 0.7
    assert min(spans) > 4
