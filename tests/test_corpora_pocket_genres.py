"""Rules of ten genres, the rhythms they name, and the artists that are drawn from them."""

import itertools

import numpy as np
import pytest

from harness.corpora.gtzan_filtered import GENRES
from harness.corpora.pocket import artists, music, patterns
from harness.corpora.pocket.artists import draw_artist, record
from harness.corpora.pocket.genres import MARKS, ROLES, RULES
from harness.corpora.pocket.instruments import Patch
from harness.corpora.pocket.soundfont import HIGHEST, LOWEST, held_note, load

FUNCTIONS = {*music.IDIOMS, "chant", "licks", "runs"}
BASS = Patch(32, 28, 50, ())


def tune(**changes):
    told = {"tempo": 120.0, "metre": 4, "tonic": 0, "scale": "major", "progression": (0,), "sevenths": False}
    return patterns.Tune(**told | {"swing": 0.5, "seconds": 8.0} | changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I IV V7", ((0, 4, 7), (5, 9, 12), (7, 11, 14, 17))),
        ("ii7 IM7", ((2, 5, 9, 12), (0, 4, 7, 11))),
        ("bVII bIII iio viio", ((10, 14, 17), (3, 7, 10), (2, 5, 8), (11, 14, 17))),
    ],
)
def test_chords_are_read(text, expected):
    assert patterns.chords(text) == expected


def test_the_blues_has_twelve_bars_on_three_chords():
    changes = [patterns.chords(text) for text, _ in RULES["blues"].changes[:2]]
    for bars in changes:
        assert len(bars) == 12
        assert {chord[0] for chord in bars} == {0, 5, 7}
        assert all(chord[3] - chord[0] == 10 for chord in bars)


def test_a_rhythm_strikes_what_it_says_when_it_says():
    song = tune(changes=((0, 4, 7), (7, 11, 14)), seconds=4.0)
    notes = patterns.played(song, BASS, ["r-f.o.t."], np.random.default_rng(0), legato=1.0)
    roots = [notes[0].pitch, notes[4].pitch]
    assert [root % 12 for root in roots] == [0, 7]
    assert [n.pitch - roots[i // 4] for i, n in enumerate(notes)] == [0, 7, 12, 4] * 2
    assert [n.start for n in notes[:4]] == pytest.approx([0, 0.5, 1.0, 1.5])
    assert [n.length for n in notes[:4]] == pytest.approx([0.5, 0.25, 0.25, 0.25])
    assert notes[4].start == pytest.approx(2.0)


def test_chords_and_their_tones_are_of_the_bar():
    song = tune(changes=((2, 5, 9, 12),), tonic=3, seconds=2.0)
    notes = patterns.played(song, Patch(0, 48, 79, ()), ["x...0.1."], np.random.default_rng(1), legato=0.5, voices=4)
    assert len(notes) == 6
    assert {note.pitch % 12 for note in notes} <= {(3 + step) % 12 for step in (2, 5, 9, 12)}
    powers = patterns.played(song, Patch(30, 38, 64, ()), ["P......."], np.random.default_rng(1), legato=0.5)
    assert [note.pitch - powers[0].pitch for note in powers] == [0, 7, 12]
    assert powers[0].pitch % 12 == 5


def test_swing_moves_the_eighths_between_the_beats_alone():
    groove = [{42: "xxxxxxxx"}]
    straight, swung = (
        patterns.drums(tune(swing=swing, seconds=2.0), groove, 0.0, np.random.default_rng(0)) for swing in (0.5, 2 / 3)
    )
    assert [n.start for n in straight] == pytest.approx(np.arange(8) / 4)
    assert [n.start for n in swung][::2] == pytest.approx(np.arange(4) / 2)
    assert [n.start for n in swung][1::2] == pytest.approx(np.arange(4) / 2 + 1 / 3)


def test_fills_take_the_place_of_the_last_beat():
    song = tune(seconds=8.0)
    notes = patterns.drums(song, [{36: "X...X...", 42: "xxxxxxxx"}], 1.0, np.random.default_rng(0))
    last = [n for n in notes if n.start >= 7.5]
    assert len(last) == 4
    assert not {n.pitch for n in last} & {36, 42}
    assert sum(n.pitch == 42 for n in notes) == 4 * 8 - 2


@pytest.mark.parametrize("name", sorted(patterns.GROOVES))
def test_grooves_fill_their_bars(name):
    metres = set()
    for groove in patterns.GROOVES[name]:
        for key, rhythm in groove.items():
            assert set(rhythm) <= set(".oxX")
            assert len(rhythm) in (6, 8, 12, 16)
            assert LOWEST <= key <= HIGHEST
            metres.add(len(rhythm) in (6, 12))
    assert len(metres) == 1


@pytest.mark.parametrize("genre", GENRES)
def test_every_genre_has_every_part_in_every_metre_it_may_have(genre):
    rules = RULES[genre]
    metres = [4, *([3] if rules.waltz else [])]
    for metre, role in itertools.product(metres, ROLES[1:]):
        assert any(artists._fitting(sound.patch.idioms, metre) for sound in getattr(rules, role)), (metre, role)
    assert set(rules.grooves) <= set(patterns.GROOVES)
    assert rules.grooves or rules.without["drums"] == 1.0
    assert set(rules.levels) == set(ROLES)
    for text, melodic in rules.changes:
        assert patterns.chords(text)
        assert set(melodic) <= set(range(12))


@pytest.mark.parametrize("genre", GENRES)
def test_every_sound_is_heard_over_its_range(genre):
    for role in ROLES[1:]:
        for sound in getattr(RULES[genre], role):
            patch = sound.patch
            assert LOWEST <= patch.low < patch.low + 12 <= patch.high <= HIGHEST
            for key in (patch.low, patch.high):
                assert np.abs(held_note((0, patch.program), key, 4410)).max() > 0.005, (role, patch)
            for name in patch.idioms:
                assert name in FUNCTIONS or set(name) <= {*patterns.STRUCK, ".", "-"}
                assert name in FUNCTIONS or len(name) in (6, 8, 12, 16)
    assert all((128, kit) in load().presets for kit in RULES[genre].kits)


def test_a_genre_is_never_without_its_mark():
    assert set(MARKS) == set(RULES) == set(GENRES)
    for genre, (part, why) in MARKS.items():
        assert part in ROLES
        assert len(why) > 20
        assert RULES[genre].without.get(part, 0.0) == 0.0


@pytest.mark.parametrize(("idiom", "least"), [(patterns.chant, 40), (patterns.runs, 60), (patterns.licks, 5)])
def test_leads_keep_to_scale_and_range(idiom, least):
    song = tune(melodic=(0, 3, 5, 6, 7, 10), tonic=4, seconds=12.0)
    patch = Patch(26, 52, 79, ())
    for seed in range(5):
        notes = idiom(song, patch, np.random.default_rng(seed))
        assert len(notes) >= least
        assert {(note.pitch - 4) % 12 for note in notes} <= {0, 3, 5, 6, 7, 10}
        assert all(52 <= note.pitch <= 79 and 0 < note.length < 3 and 1 <= note.velocity <= 127 for note in notes)


def test_licks_wait_for_an_answer():
    song = tune(seconds=40.0)
    starts = [note.start for note in patterns.licks(song, Patch(26, 52, 79, ()), np.random.default_rng(3))]
    assert max(np.diff(starts)) > 1.5  # half a bar longer than the longest note


def test_an_artist_is_drawn_from_the_rules_and_always_the_same():
    for genre in GENRES:
        rules, artist = RULES[genre], draw_artist(0, 5, genre)
        assert artist == draw_artist(0, 5, genre)
        assert artist != draw_artist(1, 5, genre)
        assert rules.tempo[0] <= artist.tempo <= rules.tempo[1]
        assert artist.kit in rules.kits
        for role in ROLES[1:]:
            assert 1 <= len(artist.sounds[role]) <= 2
            assert set(artist.sounds[role]) <= set(getattr(rules, role))
    names = [draw_artist(0, number, "pop").name for number in range(400)]
    assert len(set(names)) == 400


def test_no_two_recordings_of_an_artist_are_alike():
    artist = draw_artist(0, 1, "pop")
    one, two = (record(0, number, artist, first=0, samples=4 * 22050) for number in (1, 2))
    again = record(0, 1, artist, first=0, samples=4 * 22050)
    assert one[0] == again[0]
    assert np.array_equal(one[1], again[1])
    assert np.abs(np.corrcoef(one[1], two[1])[0, 1]) < 0.2
    assert one[0].score.parts != two[0].score.parts


@pytest.mark.parametrize("genre", GENRES)
def test_the_marking_part_plays_and_somebody_always_does(genre):
    marking = MARKS[genre][0]
    for number in range(20):
        rng = np.random.default_rng(number)
        present = [role for role in ROLES if role == marking or rng.random() < 0.7]
        stays = artists._stays(tune(seconds=artists.COMPOSED), present, marking, rng)
        assert set(stays) == set(present)
        times = np.arange(0, artists.COMPOSED - 0.1, 0.1)
        playing = {role: np.array([any(a <= t < b for a, b in stays[role]) for t in times]) for role in present}
        assert playing[marking].mean() > 0.8
        assert np.any(list(playing.values()), axis=0).all()


def test_guests_lend_a_part_that_is_not_the_marking_one():
    artist = draw_artist(0, 3, "jazz")
    told = [record(0, number, artist, first=0, samples=22050)[2] for number in range(30)]
    borrowed = [t["borrowed"] for t in told if t["borrowed"]]
    assert 3 <= len(borrowed) <= 20
    assert all("bass" not in lent and "jazz" not in lent.values() for lent in borrowed)
    assert all(t["parts"]["bass"] and t["marking"] == "bass" for t in told)
