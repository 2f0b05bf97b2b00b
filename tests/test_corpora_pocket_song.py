import numpy as np
import pytest

from harness.corpora.pocket.song import SCALES, SECONDS, Song, draw_song


def song(**changes):
    usual = {
        "tempo": 120.0, "metre": 4, "tonic": 0, "scale": "major",
        "progression": (0, 4, 5, 3), "sevenths": False, "swing": 0.5,
    }  # fmt: skip
    return Song(**usual | changes)


def test_chords_of_c_major():
    names = dict(zip(SCALES["major"], "CDEFGAB", strict=True))
    chords = ["".join(names[pitch_class] for pitch_class in song().chord(bar)) for bar in range(5)]
    assert chords == ["CEG", "GBD", "ACE", "FAC", "CEG"]
    assert song(sevenths=True).chord(1) == [7, 11, 2, 5]
    assert song(tonic=9, scale="minor").chord(0) == [9, 0, 4]


def test_keys_of_scale_and_chord():
    assert song().scale_keys(60, 72) == [60, 62, 64, 65, 67, 69, 71, 72]
    assert song().chord_keys(0, 60, 76) == [60, 64, 67, 72, 76]


def test_time_with_and_without_swing():
    assert song().time(3.5) == pytest.approx(1.75)
    swung = song(swing=0.66)
    assert swung.time(1.0) == pytest.approx(0.5)
    assert swung.time(1.5) == pytest.approx(0.83)
    times = [swung.time(beat / 12) for beat in range(48)]
    assert (np.diff(times) > 0).all()


def test_bars_cover_the_excerpt():
    for tempo in (60.0, 97.3, 150.0):
        for metre in (3, 4):
            some = song(tempo=tempo, metre=metre)
            assert some.time(some.bars * metre) >= SECONDS > some.time((some.bars - 1) * metre)


def test_songs_follow_an_artists_taste():
    rng = np.random.default_rng(0)
    songs = [draw_song(rng, tempo=100, waltz=0.3, minor=0.0, swing=0.6) for _ in range(400)]
    assert all(88 <= s.tempo <= 112 and s.scale == "major" and s.swing == 0.6 for s in songs)
    assert np.mean([s.metre == 3 for s in songs]) == pytest.approx(0.3, abs=0.1)
    assert len({s.tonic for s in songs}) == 12
