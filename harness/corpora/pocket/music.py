"""Seeded composition: what each instrument plays over a song's chords, and when it plays.

An idiom is a function ``(song, patch, rng) -> list[Note]`` that fills the whole excerpt; `arrange` then lets the
instruments enter and leave.
"""

import itertools
from collections.abc import Callable

import numpy as np

from harness.corpora.pocket.instruments import Patch
from harness.corpora.pocket.song import SECONDS, Note, Song

Idiom = Callable[[Song, Patch, np.random.Generator], list[Note]]


def _velocity(rng: np.random.Generator, base: int, *, accent: bool = False) -> int:
    return int(np.clip(base + (12 if accent else 0) + rng.normal(0, 5), 40, 124))


def _near(keys: list[int], target: float) -> int:
    """The key nearest to `target`."""
    return min(keys, key=lambda key: (abs(key - target), key))


def _rhythm(rng: np.random.Generator, metre: int, lengths: list[float], weights: list[float]) -> list[float]:
    """Lengths in beats that fill a bar; eighths come in pairs, so that the beat stays clear."""
    bar: list[float] = []
    while (left := metre - sum(bar)) > 0:
        fitting = [(n, w) for n, w in zip(lengths, weights, strict=True) if n <= left]
        chances = np.array([w for _, w in fitting])
        length = fitting[rng.choice(len(fitting), p=chances / chances.sum())][0]
        bar += [length, length] if length == 0.5 and left >= 1 else [length]
    return bar


def _line(
    song: Song, patch: Patch, rng: np.random.Generator, *, lengths: list[float], weights: list[float], legato: float
) -> list[Note]:
    """A melody: two bars of rhythm in the form AABA, chord tones on the beat, steps between, now and then a leap."""
    span = min(17, patch.high - patch.low)
    low = int(rng.integers(patch.low, patch.high - span + 1))
    scale = song.scale_keys(low, low + span)
    patterns = [_rhythm(rng, song.metre, lengths, weights) for _ in range(2)]
    base, key, notes = int(rng.integers(78, 104)), low + span / 2, []
    for bar in range(song.bars):
        chord = song.chord_keys(bar, low, low + span)
        beat = float(bar * song.metre)
        for length in patterns[bar % 4 == 2]:
            leap = rng.choice([-4, -3, -2, -1, 0, 1, 2, 3, 4], p=[0.04, 0.06, 0.16, 0.22, 0.04, 0.22, 0.16, 0.06, 0.04])
            aim = scale[int(np.clip(scale.index(_near(scale, key)) + leap, 0, len(scale) - 1))]
            if (strong := beat % 1 == 0 and (length >= 1 or rng.random() < 0.5)) and chord:
                aim = _near(chord, aim)
            if aim == key and rng.random() < 0.6:
                aim = _near([k for k in scale if k != key], key + rng.choice([-1.5, 1.5]))
            key = aim
            start = song.time(beat)
            sounding = (song.time(beat + length) - start) * legato
            notes.append(Note(start, sounding, key, _velocity(rng, base, accent=bool(strong))))
            beat += length
    return notes


def melody(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """A singable line in quarters and eighths."""
    return _line(
        song, patch, rng, lengths=[0.5, 1, 1.5, 2], weights=[0.4, 0.4, 0.1, 0.1], legato=rng.uniform(0.8, 0.98)
    )


def slow_melody(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Long notes."""
    return _line(song, patch, rng, lengths=[1, 2, 3], weights=[0.4, 0.45, 0.15], legato=0.98)


def fast_melody(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """A lively line, eighths throughout."""
    return _line(song, patch, rng, lengths=[0.5, 1], weights=[0.75, 0.25], legato=rng.uniform(0.6, 0.95))


def tremolo(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """A melody whose every note is struck about twelve times a second."""
    rate, notes = rng.uniform(11, 14), []
    for note in _line(song, patch, rng, lengths=[0.5, 1, 2], weights=[0.3, 0.5, 0.2], legato=1.0):
        strokes = max(1, round(note.length * rate))
        for stroke in range(strokes):
            velocity = int(np.clip(note.velocity - 12 * (stroke % 2) + rng.normal(0, 3), 40, 124))
            notes.append(Note(note.start + note.length * stroke / strokes, note.length / strokes, note.pitch, velocity))
    return notes


def arpeggio(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Broken chords in eighths or triplets, up, down or up and down."""
    span = min(19, patch.high - patch.low)
    low = int(rng.integers(patch.low, patch.high - span + 1))
    step = float(rng.choice([0.5, 0.5, 1 / 3, 0.25])) if song.tempo < 105 else 0.5
    shape, ring, base, notes = int(rng.integers(3)), rng.uniform(1.0, 2.5), int(rng.integers(78, 104)), []
    for bar in range(song.bars):
        keys = song.chord_keys(bar, low, low + span)[:6]
        order = [keys, keys[::-1], keys + keys[-2:0:-1]][shape]
        for number in range(round(song.metre / step)):
            start = song.time(bar * song.metre + number * step)
            accent = number * step % 1 == 0
            notes.append(
                Note(
                    start,
                    step * 60 / song.tempo * ring,
                    order[number % len(order)],
                    _velocity(rng, base, accent=accent),
                )
            )
    return notes


def _voicing(song: Song, bar: int, low: int, high: int, voices: int, start: int) -> list[int]:
    """A chord of neighbouring chord tones whose lowest is nearest to `start`."""
    keys = song.chord_keys(bar, low, high)
    first = keys.index(_near(keys[: max(1, len(keys) - voices + 1)], start))
    return keys[first : first + voices]


def held_chords(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """A chord a bar (or every half bar), held."""
    start = int(rng.integers(max(patch.low, 48), max(patch.low, 48) + 8))
    voices, base, notes = int(rng.integers(3, 5)), int(rng.integers(78, 100)), []
    cuts = [0, song.metre] if rng.random() < 0.6 else [0, 2, song.metre]
    for bar in range(song.bars):
        keys = _voicing(song, bar, max(patch.low, start - 4), patch.high, voices, start)
        for a, b in itertools.pairwise(cuts):
            begin, end = song.time(bar * song.metre + a), song.time(bar * song.metre + b)
            notes += [Note(begin, (end - begin) * 0.98, key, _velocity(rng, base)) for key in keys]
    return notes


def offbeat_chords(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Bass note on the one, short chords on the other beats."""
    start, base, notes = patch.low + int(rng.integers(8, 14)), int(rng.integers(80, 100)), []
    for bar in range(song.bars):
        root = next(key for key in range(patch.low, patch.low + 12) if key % 12 == song.chord(bar)[0])
        keys = _voicing(song, bar, patch.low + 7, patch.high, 3, start)
        for beat in range(song.metre):
            begin, length = song.time(bar * song.metre + beat), 60 / song.tempo * 0.75
            chosen = [root] if beat == 0 else keys
            notes += [Note(begin, length, key, _velocity(rng, base, accent=beat == 0)) for key in chosen]
    return notes


def melody_and_chords(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """A melody in the right hand over held chords in the left."""
    middle = (patch.low + patch.high) // 2
    left = Patch(patch.program, patch.low, middle, patch.idioms)
    right = Patch(patch.program, middle, patch.high, patch.idioms)
    chords = [note._replace(velocity=note.velocity - 18) for note in held_chords(song, left, rng)]
    return chords + melody(song, right, rng)


def two_hands(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Piano: a broken or struck accompaniment under a melody, some notes of it doubled in thirds or octaves."""
    left = Patch(patch.program, max(patch.low, 40), 60, patch.idioms)
    right = Patch(patch.program, 62, patch.high, patch.idioms)
    under = [arpeggio, offbeat_chords, held_chords][rng.integers(3)](song, left, rng)
    top = melody(song, right, rng)
    doubled = [n._replace(pitch=n.pitch - 12, velocity=n.velocity - 10) for n in top if rng.random() < 0.3]
    return [n._replace(velocity=max(45, n.velocity - 14)) for n in under] + top + doubled


def _strokes(
    song: Song, patch: Patch, rng: np.random.Generator, *, voices: int, ring: float, spread: float
) -> list[Note]:
    """Strummed chords, down on the beat and up between, on a rhythm that repeats every bar."""
    start, base, notes = patch.low + int(rng.integers(0, 8)), int(rng.integers(80, 104)), []
    struck = [i for i in range(song.metre * 2) if i % 2 == 0 or rng.random() < 0.6]
    for bar in range(song.bars):
        keys = _voicing(song, bar, patch.low, patch.high, voices, start)
        for place in struck:
            up = place % 2 == 1
            begin = song.time(bar * song.metre + place / 2)
            for order, key in enumerate(keys[::-1] if up else keys):
                velocity = _velocity(rng, base - (14 if up else 0), accent=place == 0)
                notes.append(Note(begin + order * spread, 60 / song.tempo * ring, key, velocity))
    return notes


def strum(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Guitar: five strings, ringing."""
    return _strokes(song, patch, rng, voices=5, ring=rng.uniform(0.8, 1.4), spread=rng.uniform(0.010, 0.022))


def short_strum(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Ukulele: four strings, short."""
    return _strokes(song, patch, rng, voices=4, ring=rng.uniform(0.25, 0.45), spread=rng.uniform(0.008, 0.016))


def riff(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Distorted guitar: power chords (root, fifth, octave) in driving eighths."""
    struck = [i for i in range(song.metre * 2) if i == 0 or rng.random() < 0.75]
    base, legato, notes = int(rng.integers(85, 108)), rng.uniform(0.6, 0.98), []
    for bar in range(song.bars):
        root = next(key for key in range(patch.low, patch.low + 12) if key % 12 == song.chord(bar)[0])
        for place, following in zip(struck, [*struck[1:], song.metre * 2], strict=True):
            begin, end = (song.time(bar * song.metre + p / 2) for p in (place, following))
            length = (end - begin) * legato
            notes += [Note(begin, length, root + k, _velocity(rng, base, accent=place == 0)) for k in (0, 7, 12)]
    return notes


def roll(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Banjo: three-finger rolls in sixteenths, the short fifth string (G4) as a drone."""
    step = 0.25 if song.tempo < 125 else 0.5
    pattern = [(0, 1, 3, 0, 1, 3, 0, 3), (2, 1, 0, 3, 2, 1, 0, 3), (0, 3, 1, 2, 0, 3, 1, 3)][rng.integers(3)]
    start, base, notes = int(rng.integers(52, 62)), int(rng.integers(84, 106)), []
    for bar in range(song.bars):
        strings = [*_voicing(song, bar, patch.low, patch.high, 3, start), _near(song.chord_keys(bar, 64, 76), 69)]
        for number in range(round(song.metre / step)):
            begin = song.time(bar * song.metre + number * step)
            accent = number % 4 == 0
            key = strings[pattern[number % 8]]
            notes.append(Note(begin, step * 60 / song.tempo * 1.8, key, _velocity(rng, base, accent=accent)))
    return notes


def bass_line(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Roots and fifths on a rhythm that repeats every bar."""
    rhythm = _rhythm(rng, song.metre, [0.5, 1, 1.5, 2], [0.35, 0.4, 0.1, 0.15])
    steps = [0] + [int(rng.choice([0, 0, 7, 12])) for _ in rhythm[1:]]
    base, legato, notes = int(rng.integers(84, 110)), rng.uniform(0.7, 0.97), []
    for bar in range(song.bars):
        root = next(key for key in range(patch.low, patch.low + 12) if key % 12 == song.chord(bar)[0])
        beat = float(bar * song.metre)
        for length, step in zip(rhythm, steps, strict=True):
            key = root + step if root + step <= patch.high else root
            start = song.time(beat)
            notes.append(
                Note(start, (song.time(beat + length) - start) * legato, key, _velocity(rng, base, accent=step == 0))
            )
            beat += length
    return notes


def walking_bass(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """A quarter note on every beat: the root, then towards the next root."""
    base, key, notes = int(rng.integers(84, 108)), (patch.low + patch.high) / 2, []
    for beat in range(song.bars * song.metre):
        bar, place = divmod(beat, song.metre)
        root = song.chord(bar)[0]
        if place == 0:
            keys = [k for k in range(patch.low, patch.high + 1) if k % 12 == root]
        else:
            keys = [k for k in song.scale_keys(patch.low, patch.high) if k != key]
        key = _near(keys, key + rng.choice([-2, 2, 3, -3]))
        notes.append(Note(song.time(beat), 60 / song.tempo * 0.92, key, _velocity(rng, base, accent=place == 0)))
    return notes


def drum_pattern(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Kick, snare and toms: a two-bar groove, a fill on the toms at the end of every fourth bar."""
    kick, snare = int(rng.choice([35, 36])), int(rng.choice([38, 40]))
    places, base, notes = song.metre * 2, int(rng.integers(88, 112)), []
    grooves = []
    for _ in range(2):
        hits = [(0, kick)] + [(p, kick) for p in range(2, places) if rng.random() < 0.3]
        hits += [(p, snare) for p in (range(2, places, 4) if song.metre == 4 else (2, 4))]
        hits += [(p, int(rng.choice([45, 47, 50]))) for p in range(1, places) if rng.random() < 0.15]
        grooves.append(hits)
    for bar in range(song.bars):
        for place, key in grooves[bar % 2]:
            if bar % 4 == 3 and place >= places - 4:
                continue
            begin = song.time(bar * song.metre + place / 2)
            notes.append(Note(begin, 0.5, key, _velocity(rng, base, accent=place % 4 == 0)))
        if bar % 4 == 3:
            for number, key in enumerate((50, 50, 48, 47, 45, 45, 43, 41)):
                begin = song.time((bar + 1) * song.metre - 2 + number / 4)
                notes.append(Note(begin, 0.4, key, _velocity(rng, base)))
    return notes


def cymbal_pattern(song: Song, patch: Patch, rng: np.random.Generator) -> list[Note]:
    """Hi-hat or ride in eighths or sixteenths, opened now and then, crashes on first beats."""
    keeper = int(rng.choice([42, 42, 51, 59, 46]))
    step = 0.25 if song.tempo < 100 and rng.random() < 0.5 else 0.5
    crash, every = int(rng.choice([49, 57, 52, 55])), int(rng.choice([1, 2, 2]))
    other, base, notes = int(rng.choice([44, 46, 53])), int(rng.integers(92, 116)), []
    for bar in range(song.bars):
        if bar % every == 0:
            notes.append(Note(song.time(bar * song.metre), 2.0, crash, _velocity(rng, base // 2 + 8)))
        for number in range(round(song.metre / step)):
            begin = song.time(bar * song.metre + number * step)
            key = other if number * step % 2 == 1.5 and rng.random() < 0.6 else keeper
            notes.append(Note(begin, 0.8, key, _velocity(rng, base, accent=number * step % 1 == 0)))
    return notes


IDIOMS: dict[str, Idiom] = {
    function.__name__: function
    for function in (
        arpeggio,
        bass_line,
        cymbal_pattern,
        drum_pattern,
        fast_melody,
        held_chords,
        melody,
        melody_and_chords,
        offbeat_chords,
        riff,
        roll,
        short_strum,
        slow_melody,
        strum,
        tremolo,
        two_hands,
        walking_bass,
    )
}


def _stay(rng: np.random.Generator, alone: bool) -> list[tuple[float, float]]:
    """When an instrument plays in ten seconds: intervals that cover at least half of them."""
    kind = rng.random()
    if kind < (0.55 if alone else 0.3):
        return [(0.0, SECONDS)]
    if kind < 0.65:
        return [(rng.uniform(1.0, 3.0 if alone else 4.5), SECONDS)]
    if kind < 0.85:
        return [(0.0, rng.uniform(7.0 if alone else 5.5, 9.0))]
    pause = rng.uniform(3.0, 6.0)
    return [(0.0, pause), (pause + rng.uniform(1.0, 2.5), SECONDS)]


def arrange(song: Song, patches: list[Patch], rng: np.random.Generator) -> list[list[Note]]:
    """Compose a part for every instrument and let them enter and leave on the beat.

    Parameters
    ----------
    song
        Harmony and metre.
    patches
        One per instrument; the first carries the clip and sounds through it if others pause.
    rng
        Source of randomness.

    Returns
    -------
    list of list of Note
        One list per patch, sorted by onset, all within the excerpt and the patch's range (drum keys within the kit).
    """
    parts = []
    for patch in patches:
        notes = IDIOMS[patch.idioms[rng.integers(len(patch.idioms))]](song, patch, rng)
        beat, stretch = 60 / song.tempo, song.seconds / SECONDS
        stays = [
            (round(a * stretch / beat) * beat, round(b * stretch / beat) * beat if b < SECONDS else song.seconds)
            for a, b in _stay(rng, len(patches) == 1)
        ]
        kept = []
        for note in notes:
            start = note.start + max(0.0, rng.normal(0.004, 0.003))
            for a, b in stays:
                if a - 0.01 <= note.start < b - 0.05:
                    kept.append(note._replace(start=start, length=max(0.05, min(note.length, b + 0.3 - start))))
        parts.append(sorted(note for note in kept if note.start < song.seconds - 0.1))
    return parts
