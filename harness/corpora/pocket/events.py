"""Sounds of every kind, to make general-purpose audio from: notes, phrases, drum beats, sound effects, noises.

All sources of `harness.corpora.pocket.sources` are played on the SoundFont or, where it lacks them, synthesised.

The music has nothing to do with `harness.corpora.pocket.music`: it is made of short figures (walks, ostinati, runs,
trills, held and stabbed chords) on other scales, so that a network trained on it has not heard the other twin.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.corpora.pocket import synth
from harness.corpora.pocket.noises import NOISES
from harness.corpora.pocket.song import Note
from harness.corpora.pocket.soundfont import SAMPLE_RATE
from harness.corpora.pocket.sources import KIT, SOURCES, Source
from harness.corpora.pocket.synth import Part

#: Longest event in seconds, as `harness.corpora.pocket.synth` plays no longer parts.
LONGEST = 10.0

#: Scales as steps above the tonic.
SCALES = {
    "major": (0, 2, 4, 7, 9),
    "minor": (0, 3, 5, 7, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
    "whole-tone": (0, 2, 4, 6, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}


@dataclass(frozen=True)
class Mood:
    """What the musical events of a clip agree on: beats per minute, tonic (0 = C) and a name in `SCALES`."""

    tempo: float
    tonic: int
    scale: str


@dataclass(frozen=True)
class Event:
    """A sound and everything that it is rendered from.

    Parameters
    ----------
    source
        A name in `SOURCES`.
    kind
        ``"note"``, ``"chord"``, ``"phrase"``, ``"loop"``, ``"hit"``, ``"beat"``, ``"effect"`` or ``"noise"``.
    seconds
        Its length, at most `LONGEST`.
    preset
        (bank, program); None for a noise.
    notes
        In the order of their onsets; empty for a noise.
    tempo
        Beats per minute of a phrase, loop or beat; 0 for the others.
    seed
        Of a noise.
    """

    source: str
    kind: str
    seconds: float
    preset: tuple[int, int] | None = None
    notes: tuple[Note, ...] = ()
    tempo: float = 0.0
    seed: int = 0


def draw_mood(rng: np.random.Generator) -> Mood:
    """Draw what the musical events of a clip agree on.

    Parameters
    ----------
    rng
        Source of randomness.

    Returns
    -------
    Mood
        66 to 160 whole beats per minute, any tonic, any scale.
    """
    return Mood(float(rng.integers(66, 161)), int(rng.integers(12)), str(rng.choice(list(SCALES))))


# Figures: (beat, length in beats, MIDI key, accent), of `beats` beats on the ascending `keys` of a scale.
Figure = Callable[[np.random.Generator, list[int], float], list[tuple[float, float, int, bool]]]


def _walk(rng, keys, beats):
    place, beat, notes = int(rng.integers(len(keys))), 0.0, []
    lengths = rng.choice([[0.5, 1.0], [1.0, 2.0], [0.25, 0.5, 1.5]][rng.integers(3)], size=64)
    for length in lengths:
        if beat >= beats:
            break
        if not notes or rng.random() < 0.9:
            notes.append((beat, float(length) * 0.95, keys[place], beat % 2 == 0))
        place = int(np.clip(place + rng.integers(-2, 3), 0, len(keys) - 1))
        beat += float(length)
    return notes


def _ostinato(rng, keys, beats):
    step = float(rng.choice([0.25, 0.5]))
    motif = rng.integers(0, 6, size=int(rng.integers(3, 9)))
    base, ring = int(rng.integers(max(1, len(keys) - 6))), rng.uniform(0.6, 1.6)
    count = min(int(beats / step), 48)
    shifts = rng.integers(-2, 3, size=count // len(motif) + 1)
    places = [base + motif[i % len(motif)] + shifts[i // len(motif)] for i in range(count)]
    return [
        (i * step, step * ring, keys[int(np.clip(place, 0, len(keys) - 1))], i % len(motif) == 0)
        for i, place in enumerate(places)
    ]


def _run(rng, keys, beats):
    step, span = float(rng.choice([0.125, 0.25])), min(len(keys), int(rng.integers(6, 15)))
    base = int(rng.integers(len(keys) - span + 1))
    there = keys[base : base + span]
    ways = [there, there[::-1], there + there[-2:0:-1]][rng.integers(3)]
    pause = int(rng.integers(0, 7))
    order = [*ways, *([None] * pause)]
    return [
        (i * step, step * 1.3, order[i % len(order)], i % len(order) == 0)
        for i in range(min(int(beats / step), 64))
        if order[i % len(order)] is not None
    ]


def _trill(rng, keys, beats):
    place, away = int(rng.integers(len(keys) - 2)), int(rng.integers(0, 3))
    pair, step = (keys[place], keys[place + away]), float(rng.choice([0.125, 0.167, 0.25]))
    every = int(rng.integers(8, 17))
    return [
        (i * step, step * 1.1, pair[i % 2], i % every == 0)
        for i in range(min(int(beats / step), 72))
        if i // every % 3 < 2
    ]


def _stack(keys, place, voices):
    return keys[place : place + 2 * voices : 2]


def _chords(rng, keys, beats, lengths, legato):
    voices, beat, notes = int(rng.integers(3, 5)), 0.0, []
    room = max(1, len(keys) - 2 * voices + 1)
    while beat < beats:
        length = float(rng.choice(lengths))
        for key in _stack(keys, int(rng.integers(room)), voices):
            notes.append((beat, length * legato, key, beat % 4 == 0))
        beat += length
    return notes


def _held(rng, keys, beats):
    return _chords(rng, keys, beats, [2.0, 4.0, 8.0], 1.0)


def _stabs(rng, keys, beats):
    return _chords(rng, keys, beats, [0.5, 1.0, 1.5], float(rng.uniform(0.2, 0.7)))


def _broken(rng, keys, beats):
    notes, step = [], float(rng.choice([0.25, 0.333, 0.5]))
    room = max(1, len(keys) - 7)
    for bar in range(int(np.ceil(beats / 4))):
        chord = _stack(keys, int(rng.integers(room)), 4)
        up_and_down = chord + chord[-2:0:-1]
        notes += [
            (4 * bar + i * step, 1.5 * step, up_and_down[i % len(up_and_down)], i == 0) for i in range(int(4 / step))
        ]
    return notes


def _slow(rng, keys, beats):
    place, notes = int(rng.integers(len(keys))), []
    for beat in np.arange(0, beats, float(rng.choice([2.0, 3.0, 4.0]))):
        notes.append((float(beat), 3.0, keys[place], True))
        place = int(np.clip(place + rng.integers(-3, 4), 0, len(keys) - 1))
    return notes


def _hits(rng, keys, beats):
    struck, step = rng.random(16) < rng.uniform(0.2, 0.6), float(rng.choice([0.25, 0.5]))
    struck[0] = True
    chosen = rng.choice(keys, size=min(len(keys), int(rng.integers(1, 4))), replace=False)
    order = rng.choice(chosen, size=16)
    return [(i * step, 2.0, int(order[i % 16]), i % 16 == 0) for i in range(int(beats / step)) if struck[i % 16]]


FIGURES: dict[str, tuple[Figure, ...]] = {
    "keys": (_walk, _stabs, _broken, _ostinato, _held),
    "plucked": (_broken, _ostinato, _walk, _trill),
    "bars": (_run, _ostinato, _trill, _walk),
    "pad": (_held, _held, _stabs),
    "reeds": (_held, _walk, _slow, _stabs),
    "bass": (_ostinato, _walk),
    "sustained": (_walk, _slow, _run, _trill, _ostinato),
    "hits": (_hits,),
}


def _beat(rng: np.random.Generator, beats: float) -> list[tuple[float, float, int, bool]]:
    """Bass drum, snare and cymbal on sixteenths that repeat after a bar."""
    kick, snare = int(rng.choice([35, 36])), int(rng.choice([37, 38, 39, 40]))
    keeper, tom = int(rng.choice([42, 44, 46, 51, 54])), int(rng.choice([41, 45, 48, 50]))
    grid = np.zeros((4, 16), bool)
    grid[0, [0, 8] if rng.random() < 0.5 else [0, 4, 8, 12]] = True
    grid[0] |= rng.random(16) < 0.1
    grid[1, [4, 12]] = True
    grid[1] |= rng.random(16) < 0.06
    grid[2, :: int(rng.choice([1, 2, 4]))] = True
    grid[3] = rng.random(16) < 0.08
    return [
        (i / 4, 0.5, key, i % 4 == 0)
        for i in range(int(4 * beats))
        for row, key in zip(grid, (kick, snare, keeper, tom), strict=True)
        if row[i % 16]
    ]


def draw(
    rng: np.random.Generator,
    source: Source,
    kind: str,
    seconds: float,
    mood: Mood,
    preset: tuple[int, int] | None = None,
) -> Event:
    """Draw an event.

    Parameters
    ----------
    rng
        Source of randomness.
    source
        What sounds.
    kind
        See `Event`; a source that is no instrument has its only kind whatever is asked for.
    seconds
        How long, at most `LONGEST`; a loop or beat has as many whole bars of four as fit in, one at least.
    mood
        Tempo, tonic and scale of the music.
    preset
        One of the source's; default: any of them.

    Returns
    -------
    Event
        Its notes lie on whole milliseconds.
    """
    if source.manner == "noise":
        return Event(source.name, "noise", seconds, seed=int(rng.integers(2**31)))
    preset = preset or source.presets[rng.integers(len(source.presets))]
    level = int(rng.integers(58, 112))
    if source.manner in ("once", "again"):
        return Event(source.name, "effect", seconds, preset, _effect(rng, source, seconds, level))
    if kind in ("note", "hit", "chord"):
        keys = _scale(source, mood)
        place = int(rng.integers(len(keys)))
        chosen = _stack(keys, min(place, max(0, len(keys) - 5)), 3) if kind == "chord" else [keys[place]]
        held = max(0.2, seconds * float(rng.uniform(0.5, 0.9)))
        notes = [Note(0.0, held, key, level) for key in chosen]
        return Event(source.name, kind, seconds, preset, synth.on_milliseconds(notes))
    beat = 60 / mood.tempo
    if kind in ("loop", "beat"):
        seconds = round(max(1, int(seconds / (4 * beat))) * 4 * beat, 6)
    if source.manner == "beat":
        figure = _beat(rng, seconds / beat)
    else:
        figures = FIGURES[source.manner]
        figure = figures[rng.integers(len(figures))](rng, _scale(source, mood), seconds / beat)
    notes = [
        Note(
            at * beat,
            max(0.06, min(length * beat, seconds - at * beat)),
            key,
            int(np.clip(level + (10 if accent else 0) + rng.normal(0, 5), 40, 124)),
        )
        for at, length, key, accent in figure
        if at * beat < seconds - 0.08
    ]
    return Event(source.name, kind, seconds, preset, synth.on_milliseconds(sorted(notes)), mood.tempo)


def render(event: Event) -> np.ndarray:
    """Render an event.

    Parameters
    ----------
    event
        From `draw`.

    Returns
    -------
    ndarray, shape (round(44100 * seconds),), float32
        Mono, at 44,100 Hz; `loud_level` of it is 1. Its last hundredth of a second fades out.
    """
    samples, source = round(event.seconds * SAMPLE_RATE), SOURCES[event.source]
    if event.preset is None:
        audio = NOISES[event.source](np.random.default_rng(event.seed), samples)
    else:
        audio = synth.play(Part(event.source, event.preset, source.vibrato, 1, 1.0, 0.5, event.notes))[:samples]
    fade = min(samples, SAMPLE_RATE // 100)
    audio[samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return audio / np.float32(loud_level(audio))


def loud_level(audio: np.ndarray) -> float:
    """RMS amplitude of the loud parts: of the 50-ms frames that are at most 20 dB below the loudest one.

    Parameters
    ----------
    audio
        Shape (samples,), not silent, and at least 50 ms long.

    Returns
    -------
    float
        How loud a sound is while it sounds, however long it pauses.
    """
    frame = SAMPLE_RATE // 20
    powers = (audio[: len(audio) // frame * frame].reshape(-1, frame).astype(np.float64) ** 2).mean(axis=1)
    return float(np.sqrt(powers[powers >= powers.max() / 100].mean()))


def _scale(source: Source, mood: Mood) -> list[int]:
    if source.manner in ("hits", "beat") or source.presets[0][0] == KIT:
        return list(source.keys)
    steps = {(mood.tonic + step) % 12 for step in SCALES[mood.scale]}
    return [key for key in source.keys if key % 12 in steps]


def _effect(rng: np.random.Generator, source: Source, seconds: float, level: int) -> tuple[Note, ...]:
    key = int(rng.choice(source.keys))
    if source.manner == "once":
        return synth.on_milliseconds([Note(0.0, seconds, key, level)])
    notes, start = [], 0.0
    pause = float(rng.uniform(0.4, 1.6))
    while start < seconds - 0.1:
        length = min(3.0, seconds - start)
        notes.append(
            Note(start, length, key + int(rng.integers(-1, 2)), int(np.clip(level + rng.normal(0, 6), 40, 124)))
        )
        start += pause * float(rng.uniform(0.7, 1.5))
    return synth.on_milliseconds(notes)
