"""Rhythms written as text, and the parts that are played from them: what tells one rhythm section from another.

A rhythm is a bar of characters of equal length: eight or sixteen in four beats, six or twelve in three. ``.`` is a rest
and ``-`` holds what sounds. Of drums ``X``, ``x`` and ``o`` are an accent, a stroke and a ghost note. Of pitched parts
the characters name what of the bar's chord is struck, see `STRUCK`.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.corpora.pocket.instruments import Patch
from harness.corpora.pocket.song import Note, Song

#: Semitones above the root of `SIXTH`, whatever the chord, as a boogie has it.
FIFTH, SIXTH = 7, 9
#: What a character strikes: the root (r); the third, fifth, sixth and octave above it (t, f, s, o); the chord (x, X);
#: a power chord (p, P); the root with its fifth and with its sixth (d, e); and tones of the chord from below (0 to 4).
STRUCK = "rfsotxXpPde01234"
ACCENTED = "XPr"

_NUMERALS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_THIRDS = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6)}


#: Rhythm by key of the kit: 36 bass drum, 38 and 40 snare, 37 rim, 39 clap, 42, 44 and 46 hi-hat (closed, by foot,
#: open), 49 crash, 51 ride, 70 shaker. Those of a name are played in turn.
GROOVES: dict[str, tuple[dict[int, str], ...]] = {
    "shuffle": (
        {42: "XxXxXxXx", 38: "..X...X.", 36: "X...X..."},
        {42: "XxXxXxXx", 38: "..X...Xo", 36: "X...X..x"},
    ),
    "slow_ride": ({51: "X.XxX.Xx", 38: "..X...X.", 36: "X..xX..."},),
    "train": (
        {38: "oxoXoxoXoxoXoxoX", 36: "X...X...X...X..."},
        {38: "oxoXoxoXoxoXoxXX", 36: "X...X...X...X..."},
    ),
    "two_beat": ({42: "xxxxxxxx", 38: "..X...X.", 36: "X...X..."},),
    "waltz": ({42: "x.x.x.", 38: "..x.x.", 36: "X....."}, {42: "x.x.xx", 38: "..x.x.", 36: "X....."}),
    "disco": (
        {36: "X...X...X...X...", 46: "..X...X...X...X.", 38: "....X.......X...", 42: "x.......x......."},
        {36: "X...X...X...X...", 46: "..X...X...X...X.", 38: "....X.......X.xx", 42: "x.......x......."},
    ),
    "disco_clap": ({36: "X...X...X...X...", 46: "..x...x...x...x.", 39: "....X.......X...", 42: "xx.xxx.xxx.xxx.x"},),
    "boom_bap": (
        {36: "X.....x...X.....", 38: "....X.......X...", 42: "x.x.x.x.x.x.x.x."},
        {36: "X..x......X..x..", 38: "....X..o....X...", 42: "x.x.x.x.x.x.x.xx"},
    ),
    "half_time": (
        {36: "X......x..x.....", 39: "........X.......", 42: "x.xxx.x.x.x.xxx."},
        {36: "X......x..x...x.", 39: "........X.......", 42: "x.x.xxx.x.x.x.xx"},
    ),
    "ride": (
        {51: "X.XxX.Xx", 44: "..x...x.", 36: "o...o...", 38: "...o...."},
        {51: "X.XxX.Xx", 44: "..x...x.", 36: "o..o....", 38: ".....o.x"},
    ),
    "brushes": ({38: "xoXoxoXo", 44: "..x...x.", 36: "o......."},),
    "jazz_waltz": ({51: "X.XxX.", 44: "..x...", 36: "o.....", 38: "...o.."},),
    "bossa": ({42: "xxxxxxxx", 37: "x..x..x...x..x..", 36: "x..xx..x"},),
    "double_kick": (
        {36: "xxxxxxxxxxxxxxxx", 38: "....X.......X...", 51: "X.X.X.X.X.X.X.X.", 49: "X..............."},
        {36: "xxxxxxxxxxxxxxxx", 38: "....X.......X.xx", 51: "X.X.X.X.X.X.X.X."},
    ),
    "thrash": (
        {36: "X.xx..x.X.xx..x.", 38: "..X...X...X...X.", 46: "X.x.X.x.X.x.X.x."},
        {36: "X.xx..x.X.xx..xx", 38: "..X...X...X...X.", 49: "X.......X......."},
    ),
    "breakdown": ({36: "X..X..X...XX....", 38: "........X.......", 52: "X...X...X...X..."},),
    "pop": (
        {36: "X.....x.X.......", 38: "....X.......X...", 42: "x.x.x.x.x.x.x.x."},
        {36: "X.....x.X.x.....", 38: "....X.......X...", 42: "x.x.x.x.x.x.x.x."},
    ),
    "pop_floor": ({36: "X...X...X...X...", 39: "....X.......X...", 42: "..x...x...x...x.", 70: "xoxoxoxoxoxoxoxo"},),
    "one_drop": (
        {42: "XxXxXxXx", 36: "....X...", 37: "....X..."},
        {42: "XxXxXxXo", 36: "....X...", 37: "....X.x."},
    ),
    "steppers": ({42: "x.xxx.xxx.xxx.xx", 36: "X...X...X...X...", 37: "........X......."},),
    "rockers": ({42: "XxXxXxXx", 36: "X...X...", 37: "....X.x."},),
    "rock": (
        {36: "X...XX..", 38: "..X...X.", 46: "X.x.X.x."},
        {36: "X..xXX..", 38: "..X...X.", 46: "X.x.X.x.", 49: "X......."},
    ),
    "rock_ride": ({36: "X..xX.x.", 38: "..X...X.", 51: "XxXxXxXx", 49: "X......."},),
}


@dataclass(frozen=True)
class Tune(Song):
    """A song over chords that need not be those of its scale.

    Parameters
    ----------
    changes
        Chord of each bar, repeated: semitones above the tonic, root first.
    melodic
        Semitones above the tonic that melodies are made of.
    """

    changes: tuple[tuple[int, ...], ...] = ((0, 4, 7),)
    melodic: tuple[int, ...] = (0, 2, 4, 5, 7, 9, 11)

    def scale_keys(self, low: int, high: int) -> list[int]:
        """MIDI keys that melodies are made of, from `low` to `high`."""
        classes = {(self.tonic + step) % 12 for step in self.melodic}
        return [key for key in range(low, high + 1) if key % 12 in classes]

    def chord(self, bar: int) -> list[int]:
        """Pitch classes of a bar's chord, root first."""
        return [(self.tonic + step) % 12 for step in self.changes[bar % len(self.changes)]]


def chords(text: str) -> tuple[tuple[int, ...], ...]:
    """Read a chord progression, one chord a bar.

    Parameters
    ----------
    text
        Roman numerals: upper case is major, lower case minor, ``b`` before one lowers it, ``7`` adds the minor seventh,
        ``M7`` the major one, ``o`` makes it diminished.

    Returns
    -------
    tuple of tuple of int
        Semitones above the tonic, root first.

    Examples
    --------
    >>> chords("I bVII ii7")
    ((0, 4, 7), (10, 14, 17), (2, 5, 9, 12))
    """
    found = []
    for name in text.split():
        flat = name.startswith("b")
        numeral = name.removeprefix("b").rstrip("Mo7")
        root = _NUMERALS[numeral.lower()] - flat
        kind = "diminished" if "o" in name else "major" if numeral.isupper() else "minor"
        seventh = (11,) if name.endswith("M7") else (10,) if name.endswith("7") else ()
        found.append(tuple(root + step for step in (*_THIRDS[kind], *seventh)))
    return tuple(found)


def drums(song: Song, grooves: list[Mapping[int, str]], fills: float, rng: np.random.Generator) -> list[Note]:
    """A drum kit: one groove for most bars, another now and then, and a fill at the end of a phrase.

    Parameters
    ----------
    song
        Tempo, metre and swing.
    grooves
        Rhythm by key of the kit; the last of them is played in every fourth bar.
    fills
        Probability of a fill at the end of four bars.
    rng
        Draws velocities and fills.

    Returns
    -------
    list of Note
    """
    base, notes = int(rng.integers(88, 110)), []
    for bar in range(song.bars):
        groove = grooves[-1] if bar % 4 == 3 else grooves[0]
        filled = bar % 4 == 3 and rng.random() < fills
        for key, rhythm in groove.items():
            step = song.metre / len(rhythm)
            for place, stroke in enumerate(rhythm):
                if stroke == "." or (filled and place * step >= song.metre - 1 and key not in (35, 36)):
                    continue
                weight = {"X": 12, "x": 0, "o": -26}[stroke]
                velocity = int(np.clip(base + weight + rng.normal(0, 4), 40, 124))
                notes.append(Note(song.time(bar * song.metre + place * step), 0.6, key, velocity))
        if filled:
            toms = ((50, 48, 47, 45), (38, 38, 48, 45), (50, 50, 45, 43))[rng.integers(3)]
            for number, key in enumerate(toms):
                notes.append(Note(song.time((bar + 1) * song.metre - 1 + number / 4), 0.4, key, base))
    return notes


def played(
    song: Song, patch: Patch, rhythms: list[str], rng: np.random.Generator, *, legato: float, voices: int = 3
) -> list[Note]:
    """A pitched part over the chords of a song.

    Parameters
    ----------
    song
        Tempo, metre, swing and chords.
    patch
        Its range.
    rhythms
        One of them for most bars, the last in every fourth.
    rng
        Draws the register and velocities.
    legato
        Share of its time that a note is held.
    voices
        Notes of a chord.

    Returns
    -------
    list of Note
    """
    base, notes = int(rng.integers(80, 104)), []
    floor = patch.low + int(rng.integers(0, 5))
    for bar in range(song.bars):
        rhythm = rhythms[-1] if bar % 4 == 3 else rhythms[0]
        step = song.metre / len(rhythm)
        struck = [place for place, what in enumerate(rhythm) if what not in "-"]
        for place, following in itertools.pairwise([*struck, len(rhythm)]):
            if (what := rhythm[place]) == ".":
                continue
            begin, end = (song.time(bar * song.metre + at * step) for at in (place, following))
            for key in _keys(song, bar, what, floor, patch.high, voices):
                velocity = int(np.clip(base + (10 if what in ACCENTED else 0) + rng.normal(0, 4), 40, 124))
                notes.append(Note(begin, max(0.05, (end - begin) * legato), key, velocity))
    return notes


def _keys(song: Song, bar: int, what: str, floor: int, high: int, voices: int) -> list[int]:
    """MIDI keys that a character of `STRUCK` stands for."""
    chord = song.chord(bar)
    root = next(key for key in range(floor, floor + 12) if key % 12 == chord[0])
    third = (chord[1] - chord[0]) % 12
    above = {"r": (0,), "f": (FIFTH,), "s": (SIXTH,), "o": (12,), "t": (third,), "d": (0, FIFTH), "e": (0, SIXTH)}
    if what in above:
        keys = [root + step for step in above[what]]
    elif what in "pP":
        keys = [root, root + FIFTH, root + 12]
    else:
        tones = song.chord_keys(bar, floor, high)
        keys = tones[:voices] if what in "xX" else [tones[int(what) % len(tones)]]
    return [key if key <= high else key - 12 for key in keys]


def chant(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Fast syllables near one pitch, in the rhythm of speech, with a breath at the end of two bars.

    Parameters
    ----------
    song, patch, rng
        As of the idioms in `harness.corpora.pocket.music`.

    Returns
    -------
    list of Note
    """
    scale = song.scale_keys(patch.low, patch.high)
    centre, base, notes = len(scale) // 2, int(rng.integers(84, 106)), []
    for bar in range(song.bars):
        for place in range(4 * song.metre - (3 if bar % 2 else 0)):
            if rng.random() < (0.85 if place % 2 == 0 else 0.5):
                key = scale[int(np.clip(centre + rng.choice([-1, 0, 0, 0, 1]), 0, len(scale) - 1))]
                begin = song.time(bar * song.metre + place / 4)
                velocity = int(np.clip(base + rng.normal(0, 7), 40, 124))
                notes.append(Note(begin, 0.16 * 60 / song.tempo + 0.04, key, velocity))
    return notes


def runs(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Scales in sixteenths up and down, now and then a long note.

    Parameters
    ----------
    song, patch, rng
        As of the idioms in `harness.corpora.pocket.music`.

    Returns
    -------
    list of Note
    """
    scale = song.scale_keys(patch.low, patch.high)
    at, way, base, notes = len(scale) // 2, 1, int(rng.integers(90, 108)), []
    for beat in range(song.bars * song.metre):
        if rng.random() < 0.15:
            notes.append(Note(song.time(beat), 60 / song.tempo * 0.95, scale[at], base))
            continue
        for quarter in range(4):
            if not 0 <= at + way < len(scale) or rng.random() < 0.12:
                way = -way
            at = int(np.clip(at + way, 0, len(scale) - 1))
            velocity = int(np.clip(base + rng.normal(0, 4), 40, 124))
            notes.append(Note(song.time(beat + quarter / 4), 15 / song.tempo * 0.9, scale[at], velocity))
    return notes


def licks(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Call and response: a short phrase over two bars, then a rest of a bar or two.

    Parameters
    ----------
    song, patch, rng
        As of the idioms in `harness.corpora.pocket.music`.

    Returns
    -------
    list of Note
    """
    scale = song.scale_keys(patch.low, patch.high)
    base, notes, bar = int(rng.integers(84, 106)), [], int(rng.integers(2))
    while bar < song.bars:
        at = int(rng.integers(len(scale) // 3, max(len(scale) // 3 + 1, 2 * len(scale) // 3)))
        beat = bar * song.metre + float(rng.choice([0, 0.5, 1]))
        end = (bar + 2) * song.metre - 1
        while beat < end:
            length = float(rng.choice([0.5, 0.5, 1, 1.5], p=[0.35, 0.3, 0.25, 0.1]))
            at = int(np.clip(at + rng.choice([-2, -1, -1, 1, 1, 2]), 0, len(scale) - 1))
            start = song.time(beat)
            velocity = int(np.clip(base + rng.normal(0, 6), 40, 124))
            notes.append(Note(start, (song.time(beat + length) - start) * 0.95, scale[at], velocity))
            beat += length
        bar += int(rng.choice([2, 3, 4]))
    return notes
