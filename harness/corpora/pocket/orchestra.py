"""The pocket twin of TinySOL: single notes of seven orchestral instruments, rendered here, in the published layout.

Counts, pitch ranges and dynamics are those of the thesis' Table 1 (study 004), whose recordings are not public: of a
class of n notes every pitch is played at every dynamic level, and what is left over are further takes. Beside the
published files the tree has ``checksums`` (MD5 of the audio files) and a folder ``ground_truth``::

    manifest.json   what it was rendered from and with, and what was counted
    notes.csv       a row for each note: its player, program, and everything that was drawn for it

Each class has several players: a General MIDI program, the resonances of an instrument of its own, a habit of vibrato
and a room. Lengths, onsets and noise do not depend on the class. The same size and seed give the same bytes on one
machine, whatever the number of processes.
"""

import dataclasses
import functools
import hashlib
import io
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.fft
import soundfile
import soxr
from scipy.signal import lfilter

from harness.corpora.orchestra import CLASSES, midi_key, pitch_name
from harness.corpora.pocket.soundfont import HIGHEST, SAMPLE_RATE, SOUNDFONT, held_note, release
from harness.corpora.pocket_twin import (
    TIMEOUT,
    check_parameters,
    make_tree,
    write_bytes,
    write_checksums,
    write_manifest,
)
from harness.corpora.tinysol import COLUMNS, DYNAMICS, FOLDS, INSTRUMENTS, METADATA
from harness.parallel import parallel_map
from harness.storage import sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 1
DEFAULT_SIZE = 1301
#: Fewer notes would leave a class without one in each fold.
SMALLEST = 70
#: Shares of the notes whose pitch was corrected by some cents, and that are copies of a neighbour, a semitone off.
TUNED, COPIED = 0.20, 0.05
PLAYERS = 4
#: Peak of a note in dB re full scale, and its MIDI velocity, by dynamic.
LEVELS = {"pp": -31.0, "p": -24.0, "mf": -17.0, "f": -11.0, "ff": -6.0}
VELOCITIES = {"pp": 34, "p": 52, "mf": 76, "f": 100, "ff": 122}
#: How much brighter a note is for each dynamic above mezzo-forte, in dB per octave above 500 Hz.
BRIGHTER = 1.2
#: Standard deviations in dB, at the octaves `OCTAVES`, of what sets a player's instrument apart, and each take of it.
BODY, TAKE = 5.0, 2.0
OCTAVES = 62.5 * 2.0 ** np.arange(9)
#: Samples before the room's answer, and of a transform that holds every note and the answer.
DELAY, TRANSFORM = round(0.008 * SAMPLE_RATE), 150_000
LONGEST = 2.75  # seconds, so that a copy a semitone lower has less than 3
SHORTEST = 1.1
#: Notes per task of a worker process.
CHUNK = 30

ACKNOWLEDGEMENT = """\
# A pocket twin of TinySOL

This is NOT TinySOL. It has that corpus' layout and columns (Cella et al., "OrchideaSOL: a dataset of extended
instrumental techniques for computer-aided orchestration", ICMC 2020), but every note was rendered by the program
Reprise from the samples of the General MIDI SoundFont TimGM6mb by Tim Brechbill, as the Python package pretty_midi
carries it.

The tables of this corpus are dedicated to the public under CC BY 4.0 (attribution: Reprise). The audio is made from
samples that their author published under the GNU General Public License, version 2; it can be rendered again at any
time, and there is no need to distribute it.
"""


@dataclass(frozen=True)
class Voice:
    """What a class plays, and on what.

    Parameters
    ----------
    notes
        Its share of the corpus, as a number of 1,301 (thesis, Table 1).
    low, high
        Names of the lowest and the highest pitch (thesis, Table 1).
    dynamics
        From the softest to the loudest (thesis, Table 1).
    programs
        General MIDI programs, counted from 0, and the keys where each sounds like the instrument.
    vibrato
        Largest depth in cents.
    """

    notes: int
    low: str
    high: str
    dynamics: tuple[str, ...]
    programs: dict[int, tuple[int, int]]
    vibrato: float

    @property
    def keys(self) -> range:
        """All pitches as MIDI keys."""
        return range(midi_key(self.low), midi_key(self.high) + 1)


#: Beside the violin the fiddle; beside the flute the piccolo, the recorder and the pan flute; beside the oboe the
#: English horn and the shanai; beside the trumpet the muted one. General MIDI has one cello, double bass and tuba.
VOICES = {
    "violin": Voice(200, "G3", "G#7", ("pp", "p", "mf", "f"), {40: (0, 127), 110: (0, 88)}, 20),
    "cello": Voice(200, "C2", "C#6", ("pp", "p", "mf", "f"), {42: (0, 127)}, 15),
    "double_bass": Voice(185, "E1", "E4", ("pp", "p", "mf", "f", "ff"), {43: (0, 127)}, 10),
    "flute": Voice(156, "C4", "D7", ("p", "mf"), {73: (0, 127), 74: (67, 98), 72: (79, 98), 75: (60, 88)}, 15),
    "oboe": Voice(170, "A#3", "G6", ("p", "mf", "f"), {68: (0, 127), 69: (0, 79), 111: (62, 86)}, 12),
    "trumpet": Voice(210, "F#3", "G#5", ("pp", "p", "mf", "f"), {56: (0, 127), 59: (0, 127)}, 8),
    "tuba": Voice(180, "F1", "F4", ("p", "mf", "f", "ff"), {58: (0, 127)}, 6),
}


@dataclass(frozen=True)
class Player:
    """A player: the program, resonances in dB at `OCTAVES`, depth of vibrato in cents, and the room.

    A room is told by the seed of its reflections, its reverberation time (fall by 60 dB) in seconds and the level of
    its answer in dB beside the sound.
    """

    program: int
    body: tuple[float, ...]
    vibrato: float
    room: int
    decay: float
    wet: float


@dataclass(frozen=True)
class Take:
    """How a note was played and recorded.

    Parameters
    ----------
    player
        Which of its class.
    velocity
        1 to 127.
    level
        Peak in dB re full scale.
    detune, vibrato
        In cents.
    lead, attack, held
        Seconds of silence before the note, of its rise and until it is let go.
    seconds
        Length of the file.
    noise
        RMS of the hiss in dB beside the peak.
    body
        Change to the player's resonances in dB.
    seed
        Draws the hiss.
    """

    player: int
    velocity: int
    level: float
    detune: float
    vibrato: float
    lead: float
    attack: float
    held: float
    seconds: float
    noise: float
    body: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class Note:
    """A note of the plan.

    Parameters
    ----------
    instrument, pitch, dynamic, instance
        Class, MIDI key, dynamic, and number among the takes of these three.
    fold
        0 to 4.
    take
        How it is played; of a copy, how its source is.
    change
        What was done to its pitch, as the file's name says it: ``"N"`` for nothing, ``"T12u"`` for 12 cents up,
        ``"R100d"`` for a copy of the note above.
    """

    instrument: str
    pitch: int
    dynamic: str
    instance: int
    fold: int
    take: Take
    change: str = "N"

    @property
    def path(self) -> str:
        """Its file, relative to the corpus' folder."""
        made = INSTRUMENTS[self.instrument]
        name = "-".join(
            [made.abbreviation, "ord", pitch_name(self.pitch), self.dynamic, self.instance_name, self.change]
        )
        return f"{made.folder}/ordinario/{name}.wav"

    @property
    def instance_name(self) -> str:
        """The take's number as the file's name says it."""
        return f"alt{self.instance}" if self.instance else "N"

    @property
    def steps(self) -> int:
        """Semitones by which it lies above the note it is a copy of; 0 if it is none."""
        return {"R100u": 1, "R100d": -1}.get(self.change, 0)


def folder_name(size: int = DEFAULT_SIZE, seed: int = 0) -> str:
    """Name for a corpus' folder that no other corpus shares.

    Parameters
    ----------
    size, seed
        As in `render`.

    Returns
    -------
    str
        For instance ``pocket-notes-1301-seed-0-v1``.
    """
    return f"pocket-notes-{size}-seed-{seed}-v{RENDERER_VERSION}"


def render(root: Path | str, *, size: int = DEFAULT_SIZE, seed: int = 0, jobs: int | None = None) -> None:
    """Render a pocket twin of TinySOL, whole or not at all, with a progress bar.

    Parameters
    ----------
    root
        The folder to make. One that holds this very corpus already is left as it is.
    size
        Number of notes, 70 to 100,000; 1,301 as in the thesis by default.
    seed
        A whole number from 0 on.
    jobs
        Number of processes; default: one per core.

    Raises
    ------
    RepriseError
        A parameter is out of range, the folder holds something else, the disk is full, or a worker hung.
    """
    check_parameters(size, seed, smallest=SMALLEST)
    parameters = {"size": size, "seed": seed}
    make_tree(
        root, lambda folder: _write_tree(folder, parameters, jobs), parameters=parameters, version=RENDERER_VERSION
    )


def draw_players(seed: int) -> dict[str, tuple[Player, ...]]:
    """Who plays: `PLAYERS` of each class, and of its programs each at least once.

    Parameters
    ----------
    seed
        The corpus' seed.

    Returns
    -------
    dict of str to tuple of Player
        By class.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    players = {}
    for instrument, voice in VOICES.items():
        programs = itertools.islice(itertools.cycle(voice.programs), PLAYERS)
        players[instrument] = tuple(
            Player(
                program=program,
                body=_decibels(rng, BODY),
                vibrato=round(float(voice.vibrato * rng.uniform(0, 1)), 2),
                room=int(rng.integers(2**31)),
                decay=round(float(rng.uniform(0.15, 0.6)), 3),
                wet=round(float(rng.uniform(-24, -13)), 2),
            )
            for program in programs
        )
    return players


def draw_notes(size: int, seed: int) -> list[Note]:
    """Plan a corpus: which notes, in which folds, by whom, and how.

    Parameters
    ----------
    size
        Number of notes.
    seed
        Draws everything.

    Returns
    -------
    list of Note
        Class by class; within one by pitch, dynamic and take. The folds of a class differ by one note at most, and
        any five neighbours of this order lie in different ones, as far as the classes' counts allow.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    players = draw_players(seed)
    counts = _counts(size)
    in_folds = np.zeros(FOLDS, dtype=int)
    notes: list[Note] = []
    for instrument in CLASSES:
        cells = _cells(VOICES[instrument], counts[instrument], rng)
        some = [
            Note(instrument, pitch, dynamic, instance, fold, _take(players[instrument], pitch, dynamic, rng))
            for (pitch, dynamic, instance), fold in zip(cells, _folds(len(cells), in_folds, rng), strict=True)
        ]
        notes += _retuned(some, rng)
    return notes


def play(player: Player, take: Take, pitch: int, dynamic: str) -> np.ndarray:
    """Play and record one note.

    Parameters
    ----------
    player, take
        Who and how.
    pitch
        MIDI key.
    dynamic
        One of `LEVELS`.

    Returns
    -------
    ndarray, shape (samples,), float32
        Mono at 44.1 kHz, ``take.seconds`` long.
    """
    samples = round(take.seconds * SAMPLE_RATE)
    begin, held = round(take.lead * SAMPLE_RATE), round(take.held * SAMPLE_RATE)
    # The sampler's highest key is C7: what lies above is that key's sample, tuned up.
    key = min(pitch, HIGHEST)
    preset = (0, player.program)
    fade = release(preset, key)
    dry = held_note(
        preset,
        key,
        min(held + len(fade), samples - begin),
        velocity=take.velocity,
        detune=take.detune + 100.0 * (pitch - key),
        vibrato=take.vibrato,
    )
    dry[held:] *= fade[: max(0, len(dry) - held)]
    rising = round(take.attack * SAMPLE_RATE)
    dry[:rising] *= np.float32(0.5) - np.float32(0.5) * np.cos(np.linspace(0, np.pi, rising, dtype=np.float32))
    bright = BRIGHTER * (list(LEVELS).index(dynamic) - 2) * np.maximum(0, np.log2(OCTAVES / 500))
    decibels = np.add(player.body, take.body) + bright
    gain = np.interp(_places(), np.arange(len(OCTAVES)), decibels).astype(np.float32)
    spectrum = scipy.fft.rfft(dry, TRANSFORM) * np.float32(10) ** (gain / 20) * _room(player)
    note = np.zeros(samples, np.float32)
    note[begin:] = scipy.fft.irfft(spectrum, TRANSFORM)[: samples - begin]
    note *= np.float32(10 ** (take.level / 20) / np.abs(note).max())
    return note + _hiss(take, samples)


def _decibels(rng: np.random.Generator, deviation: float) -> tuple[float, ...]:
    return tuple(rng.normal(0, deviation, len(OCTAVES)).round(2).tolist())


def _counts(size: int) -> dict[str, int]:
    """Notes of each class, in the thesis' proportions; what rounding leaves over goes to the largest remainders."""
    shares = np.array([VOICES[instrument].notes for instrument in CLASSES]) * size / DEFAULT_SIZE
    counts = np.floor(shares).astype(int)
    most = np.argsort(counts - shares, kind="stable")[: size - counts.sum()]
    counts[most] += 1
    return dict(zip(CLASSES, counts.tolist(), strict=True))


def _cells(voice: Voice, count: int, rng: np.random.Generator) -> list[tuple[int, str, int]]:
    """Pitch, dynamic and number of take of `count` notes: every pair of the first two as often as any other, or once
    more.
    """
    grid = list(itertools.product(voice.keys, voice.dynamics))
    times, rest = divmod(count, len(grid))
    more = set(rng.permutation(len(grid))[:rest].tolist())
    return [(*cell, instance) for i, cell in enumerate(grid) for instance in range(times + (i in more))]


def _folds(count: int, in_folds: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Folds of a class's notes: in every five each one once. `in_folds` counts over all classes, and is updated."""
    folds = [int(fold) for _ in range(count // FOLDS) for fold in rng.permutation(FOLDS)]
    # What is left over goes where the fewest are.
    order = rng.permutation(FOLDS)
    folds += order[np.argsort(in_folds[order], kind="stable")][: count % FOLDS].tolist()
    in_folds += np.bincount(folds, minlength=FOLDS)
    return folds


def _take(players: tuple[Player, ...], pitch: int, dynamic: str, rng: np.random.Generator) -> Take:
    def between(low: float, high: float, digits: int = 3) -> float:
        return round(float(rng.uniform(low, high)), digits)

    programs = {player.program for player in players}
    ranges = {program: keys for voice in VOICES.values() for program, keys in voice.programs.items()}
    able = [i for i, p in enumerate(players) if ranges[p.program][0] <= pitch <= ranges[p.program][1]]
    assert programs <= ranges.keys()
    player = int(rng.choice(able))
    lead, held = between(0.02, 0.3), between(0.25, 1.5)
    # Most files are short, as a corpus of some thousand notes is to be small.
    seconds = SHORTEST + (LONGEST - SHORTEST) * float(rng.random()) ** 3
    return Take(
        player=player,
        velocity=int(np.clip(VELOCITIES[dynamic] + rng.integers(-6, 7), 1, 127)),
        level=round(LEVELS[dynamic] + between(-2.5, 2.5), 2),
        detune=round(float(np.clip(rng.normal(0, 7), -20, 20)), 2),
        vibrato=round(players[player].vibrato * between(0.5, 1.5), 2),
        lead=lead,
        attack=round(float(np.exp(rng.uniform(np.log(0.003), np.log(0.09)))), 4),
        held=held,
        seconds=round(max(seconds, min(LONGEST, lead + held + 0.1)), 3),
        noise=between(-70, -54, 2),
        body=_decibels(rng, TAKE),
        seed=int(rng.integers(2**31)),
    )


def _retuned(notes: list[Note], rng: np.random.Generator) -> list[Note]:
    """A class's notes, some of them tuned by cents, and others made copies of the note a semitone below or above."""
    place = {(note.pitch, note.dynamic, note.instance): i for i, note in enumerate(notes)}
    copies, sources = {}, set()
    for i in rng.permutation(len(notes)).tolist():
        step = int(rng.choice([-1, 1]))
        note = notes[i]
        source = place.get((note.pitch - step, note.dynamic, note.instance))
        if len(copies) < round(COPIED * len(notes)) and i not in sources and source not in (None, *copies):
            copies[i] = step
            sources.add(source)
    changed = list(notes)
    for i, step in copies.items():
        note = notes[i]
        source = notes[place[note.pitch - step, note.dynamic, note.instance]]
        changed[i] = dataclasses.replace(note, take=source.take, change="R100u" if step > 0 else "R100d")
    natural = [i for i in rng.permutation(len(notes)).tolist() if i not in copies and i not in sources]
    for i in natural[: round(TUNED * len(notes))]:
        cents = round(notes[i].take.detune) or 1
        take = dataclasses.replace(notes[i].take, detune=0.0)
        changed[i] = dataclasses.replace(notes[i], take=take, change=f"T{abs(cents)}{'d' if cents > 0 else 'u'}")
    return changed


@functools.cache
def _places() -> np.ndarray:
    """Of each frequency of the transform its place among `OCTAVES`, in octaves."""
    frequency = np.maximum(scipy.fft.rfftfreq(TRANSFORM, 1 / SAMPLE_RATE), 1.0)
    return np.log2(frequency / OCTAVES[0])


@functools.cache
def _room(player: Player) -> np.ndarray:
    """Spectrum of a room's impulse response: the sound itself, and some milliseconds later the answer."""
    time = np.arange(round(0.8 * player.decay * SAMPLE_RATE)) / SAMPLE_RATE
    tail = np.random.default_rng(player.room).standard_normal(len(time)) * 10 ** (-3 * time / player.decay)
    tail = lfilter([0.5], [1, -0.5], tail)
    response = np.zeros(DELAY + len(tail), np.float32)
    response[0] = 1
    response[DELAY:] = tail * 10 ** (player.wet / 20) / np.sqrt((tail**2).sum())
    return scipy.fft.rfft(response, TRANSFORM)


def _hiss(take: Take, samples: int) -> np.ndarray:
    """A recording's noise, falling towards the treble."""
    white = np.random.default_rng(take.seed).standard_normal(samples + 1, dtype=np.float32)
    return (white[1:] + white[:-1]) * np.float32(10 ** ((take.level + take.noise) / 20) / np.sqrt(2))


def _write_chunk(task: tuple[Path, int, list[Note]]) -> list[tuple[str, int]]:
    """Play notes and write their files; give each one's MD5 and number of samples."""
    folder, seed, notes = task
    players = draw_players(seed)
    written = []
    for note in notes:
        sound = play(players[note.instrument][note.take.player], note.take, note.pitch - note.steps, note.dynamic)
        if note.steps:
            sound = soxr.resample(sound, SAMPLE_RATE * 2 ** (note.steps / 12), SAMPLE_RATE)
        samples = np.round(32767 * np.clip(sound, -1, 1)).astype(np.int16)
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        write_bytes(folder, {note.path: file.getvalue()})
        written.append((hashlib.md5(file.getvalue(), usedforsecurity=False).hexdigest(), len(samples)))
    return written


def _write_tree(folder: Path, parameters: dict, jobs: int | None) -> None:
    notes = draw_notes(**parameters)
    players = draw_players(parameters["seed"])
    tasks = [(folder, parameters["seed"], notes[start : start + CHUNK]) for start in range(0, len(notes), CHUNK)]
    description = f"rendering {len(notes):,} notes"
    written = [
        result
        for results in parallel_map(_write_chunk, tasks, description=description, jobs=jobs, timeout=TIMEOUT)
        for result in results
    ]
    metadata = pd.DataFrame([_row(note) for note in sorted(notes, key=lambda note: note.path)], columns=COLUMNS)
    truth = [
        {
            "path": note.path,
            "program": players[note.instrument][note.take.player].program,
            **dataclasses.asdict(note.take),
            "body": " ".join(map(str, note.take.body)),
            "seconds": round(samples / SAMPLE_RATE, 4),
            "semitones": note.steps,
        }
        for note, (_, samples) in zip(notes, written, strict=True)
    ]
    tables = {
        METADATA: metadata,
        "ground_truth/notes.csv": pd.DataFrame(truth).sort_values("path"),
    }
    write_bytes(
        folder, {name: table.to_csv(index=False, lineterminator="\n").encode() for name, table in tables.items()}
    )
    write_bytes(folder, {"acknowledgement.md": ACKNOWLEDGEMENT.encode()})
    write_checksums(folder, {note.path: md5 for note, (md5, _) in zip(notes, written, strict=True)})
    write_manifest(
        folder,
        version=RENDERER_VERSION,
        parameters=parameters,
        suffixes=(".csv", ".md"),
        notes={instrument: sum(note.instrument == instrument for note in notes) for instrument in CLASSES},
        folds=[sum(note.fold == fold for note in notes) for fold in range(FOLDS)],
        tuned=sum(note.change.startswith("T") for note in notes),
        copies=sum(note.steps != 0 for note in notes),
        players={name: [dataclasses.asdict(player) for player in some] for name, some in players.items()},
        soundfont={"name": SOUNDFONT.name, "sha256": sha256_of(SOUNDFONT)},
    )


def _row(note: Note) -> dict[str, object]:
    """A note as the published table describes it; no string is told, as the samples know none."""
    made = INSTRUMENTS[note.instrument]
    values = (
        note.path,
        note.fold,
        made.folder.partition("/")[0],
        made.abbreviation,
        made.name,
        "ord",
        "ordinario",
        pitch_name(note.pitch),
        note.pitch,
        note.dynamic,
        DYNAMICS.index(note.dynamic),
        note.instance,
        "",
        "FALSE" if note.change == "N" else "TRUE",
    )
    return dict(zip(COLUMNS, values, strict=True))
