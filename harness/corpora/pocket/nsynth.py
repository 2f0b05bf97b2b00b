"""The pocket twin of NSynth: a small corpus of notes, rendered here, in the published layout, whose truth is known.

Beside the published files the tree has ``checksums`` (MD5 of the audio files) and a folder ``ground_truth``::

    manifest.json   what it was rendered from and with, what was counted, and by which rule a note has a quality
    notes.csv       a row for each note: its program, what was done to its sound, and what was measured on it

The same size and seed give the same bytes on one machine, whatever the number of processes. No program of the training
part plays in the other two, so that they hold instruments that were never heard before, as NSynth's do.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from harness.corpora.nsynth import FAMILIES, QUALITIES, SAMPLE_RATE, SOURCES
from harness.corpora.pocket.notes import RULES, Design, measure, play, qualities
from harness.corpora.pocket.soundfont import HIGHEST, SOUNDFONT
from harness.corpora.pocket_twin import TIMEOUT, Renderer, write_bytes, write_checksums, write_manifest
from harness.parallel import parallel_map
from harness.storage import sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 1
DEFAULT_SIZE = 1200
#: Fewer notes would leave the test part without one for each instrument that it needs.
SMALLEST = 40
#: Shares of the notes; NSynth has 4.1 % and 1.3 %, of which a small corpus would have too few to say anything.
VALID_SHARE, TEST_SHARE = 0.15, 0.10
VELOCITIES = (25, 50, 75, 100, 127)
#: Share of the programs of each family that only the valid and test parts play.
HELD_OUT = 0.3
#: Share of the instruments of each part that have an effect. What needs a sound that lasts is applied to such alone.
SHARES = {
    "tempo": 0.10,
    "swell": 0.06,
    "sweep": 0.06,
    "decay": 0.10,
    "drive": 0.12,
    "chord": 0.10,
    "room": 0.18,
    "release": 0.15,
    "burst": 0.08,
    "bright": 0.10,
    "dark": 0.10,
}
NEEDS_SUSTAIN = frozenset({"tempo", "swell", "sweep", "decay"})
CHORDS = ((7,), (5,), (3,), (4, 7), (3, 7))
#: Notes per task of a worker process.
CHUNK = 40


@dataclass(frozen=True)
class Family:
    """The programs that a family is made of.

    Parameters
    ----------
    keys
        Range in MIDI keys.
    vibrato
        Depth in cents that half of its instruments have.
    programs
        General MIDI programs by source.
    """

    keys: tuple[int, int]
    vibrato: float
    programs: dict[str, tuple[int, ...]]


#: Left out are programs that are no instrument (55, 115-127), that sound several notes of themselves (86) or whose
#: samples have a tremolo (44), and drums.
CATALOGUE = {
    "bass": Family((26, 57), 0, {"acoustic": (32,), "electronic": (33, 34, 35, 36, 37), "synthetic": (38, 39, 87)}),
    "brass": Family((41, 84), 8, {"acoustic": (56, 57, 58, 59, 60, 61), "synthetic": (62, 63)}),
    "flute": Family((60, 96), 15, {"acoustic": (72, 73, 74, 75, 76, 77, 78, 79), "synthetic": (82,)}),
    "guitar": Family((40, 84), 0, {"acoustic": (24, 25, 104, 105, 106, 107), "electronic": (26, 27, 28, 29, 30, 31)}),
    "keyboard": Family((28, 93), 0, {"acoustic": (0, 1, 3, 6, 8), "electronic": (2, 4, 5, 7)}),
    "mallet": Family((48, 96), 0, {"acoustic": (9, 10, 11, 12, 13, 14, 15, 47, 108, 112, 114)}),
    "organ": Family((36, 93), 0, {"acoustic": (19, 20), "electronic": (16, 17, 18)}),
    "reed": Family((46, 88), 10, {"acoustic": (21, 22, 23, 64, 65, 66, 67, 68, 69, 70, 71, 109, 111)}),
    "string": Family((36, 91), 15, {"acoustic": (40, 41, 42, 43, 45, 46, 48, 49, 110), "synthetic": (50, 51)}),
    "synth_lead": Family((36, 91), 0, {"synthetic": (80, 81, 83, 84, 88, 89, 90, 93, 95, 98, 99, 100, 102)}),
    "vocal": Family((41, 81), 12, {"acoustic": (52, 53), "synthetic": (54, 85, 91)}),
}
#: Programs whose held notes die away: those of plucked and struck strings and bars.
DYING = frozenset({*range(16), *range(24, 29), *range(31, 40), 45, 46, 47, 98, 99, 100, *range(104, 109), 112, 114})

ACKNOWLEDGEMENT = """\
# A pocket twin of NSynth

This is NOT NSynth. It has that corpus' layout, families, sources and qualities (Engel et al., "Neural audio synthesis
of musical notes with WaveNet autoencoders", ICML 2017), but every note was rendered by the program Reprise from the
samples of the General MIDI SoundFont TimGM6mb by Tim Brechbill, as the Python package pretty_midi carries it.

A note's qualities were not judged by people: some of them say what was done to its sound, others were measured on it,
by the rules in ground_truth/manifest.json.

The tables of this corpus are dedicated to the public under CC BY 4.0 (attribution: Reprise). The audio is made from
samples that their author published under the GNU General Public License, version 2; it can be rendered again at any
time, and there is no need to distribute it.
"""


@dataclass(frozen=True)
class Note:
    """One note of the plan: where it belongs, who plays it, and what."""

    part: str
    instrument: int
    instrument_name: str
    family: str
    source: str
    design: Design
    pitch: int
    velocity: int

    @property
    def key(self) -> str:
        """Its name, as NSynth names notes."""
        return f"{self.instrument_name}-{self.pitch:03d}-{self.velocity:03d}"


def draw_notes(size: int, seed: int) -> list[Note]:
    """Plan a corpus: instruments, what is done to their sounds, and the notes they play.

    Parameters
    ----------
    size
        Number of notes.
    seed
        Draws everything.

    Returns
    -------
    list of Note
        Part by part. An instrument plays five notes, one at each velocity, spread over its range; no instrument plays
        in two parts, and no program of the training part in another.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    learnt, held_out = _divide(rng)
    valid, test = round(VALID_SHARE * size), round(TEST_SHARE * size)
    counts = {"train": size - valid - test, "valid": valid, "test": test}
    instruments = {part: math.ceil(count / len(VELOCITIES)) for part, count in counts.items()}
    # One list for valid and test, so that the test part begins with the programs that valid had least of.
    unheard = _programs(held_out, instruments["valid"] + instruments["test"], rng)
    chosen = {
        "train": _programs(learnt, instruments["train"], rng),
        "valid": unheard[: instruments["valid"]],
        "test": unheard[instruments["valid"] :],
    }
    notes: list[Note] = []
    names: Counter[tuple[str, str]] = Counter()
    for part, count in counts.items():
        for number, (program, design) in enumerate(zip(chosen[part], _designs(chosen[part], rng), strict=True)):
            family, source, _ = program
            if source == "acoustic" and (design.drive or design.tempo or design.sweep):
                source = "electronic"
            name = f"{family}_{source}_{names[family, source]:03d}"
            here = min(len(VELOCITIES), count - len(VELOCITIES) * number)
            pitches = _pitches(CATALOGUE[family].keys, design, here, rng)
            for pitch, velocity in zip(pitches, rng.permutation(VELOCITIES), strict=False):
                notes.append(Note(part, names.total(), name, family, source, design, pitch, int(velocity)))
            names[family, source] += 1
    return notes


Program = tuple[str, str, int]


def _divide(rng: np.random.Generator) -> tuple[dict[str, list[Program]], dict[str, list[Program]]]:
    """Each family's programs for training, and those held out."""
    learnt, held_out = {}, {}
    for name, family in CATALOGUE.items():
        programs = [(name, source, program) for source, some in family.programs.items() for program in some]
        programs = [programs[i] for i in rng.permutation(len(programs))]
        kept_back = max(1, round(HELD_OUT * len(programs)))
        learnt[name], held_out[name] = programs[kept_back:], programs[:kept_back]
    return learnt, held_out


def _programs(of_family: dict[str, list[Program]], count: int, rng: np.random.Generator) -> list[Program]:
    """`count` programs, the families in turn, and within each its programs in turn."""
    families = [FAMILIES[i] for i in rng.permutation(len(FAMILIES))]
    taken = dict.fromkeys(families, 0)
    chosen = []
    for number in range(count):
        family = families[number % len(families)]
        chosen.append(of_family[family][taken[family] % len(of_family[family])])
        taken[family] += 1
    return chosen


def _pitches(keys: tuple[int, int], design: Design, count: int, rng: np.random.Generator) -> list[int]:
    """Keys from equal parts of the range, in any order."""
    highest = min(keys[1], HIGHEST - max(design.chord, default=0))
    edges = np.linspace(keys[0], highest + 1, count + 1).round().astype(int)
    pitches = [int(rng.integers(low, high)) for low, high in itertools.pairwise(edges)]
    return [pitches[i] for i in rng.permutation(count)]


def _designs(programs: list[Program], rng: np.random.Generator) -> list[Design]:
    """What is done to the sound of each instrument: every effect to its share of them, drawn effect by effect."""
    changes = [{} for _ in programs]
    for effect, share in SHARES.items():
        able = [i for i, (_, _, program) in enumerate(programs) if effect not in NEEDS_SUSTAIN or program not in DYING]
        # One thing at a time is done to the level, and brightness is only moved one way.
        rivals = NEEDS_SUSTAIN if effect in NEEDS_SUSTAIN else {"tone"} if effect in ("bright", "dark") else set()
        able = [i for i in able if not rivals & changes[i].keys()]
        for i in rng.permutation(able)[: max(1, round(share * len(programs)))]:
            changes[i] |= _effect(effect, rng)
    return [
        Design(
            program,
            vibrato=float(CATALOGUE[family].vibrato * rng.integers(2)),
            seed=int(rng.integers(2**31)),
            **change,
        )
        for (family, _, program), change in zip(programs, changes, strict=True)
    ]


def _effect(effect: str, rng: np.random.Generator) -> dict:
    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 2)

    match effect:
        case "chord":
            return {"chord": CHORDS[rng.integers(len(CHORDS))]}
        case "room":
            return {"room": between(0.8, 1.8), "wet": between(-6, 0)}
        case "bright":
            return {"tone": between(14, 22)}
        case "dark":
            return {"tone": between(-36, -24)}
    ranges = {
        "tempo": (90, 150),
        "swell": (0.8, 1.6),
        "sweep": (0.6, 1.5),
        "decay": (0.8, 2.0),
        "drive": (18, 32),
        "release": (3.5, 8.0),
        "burst": (-6, -1),
    }
    return {effect: between(*ranges[effect])}


def _write_chunk(task: tuple[Path, list[Note]]) -> list[tuple[str, tuple[int, ...], dict[str, float]]]:
    """Play notes and write their files; give each one's MD5, qualities and what was measured on it."""
    folder, notes = task
    results = []
    for note in notes:
        samples = play(note.design, note.pitch, note.velocity)
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        write_bytes(folder, {_audio(note): file.getvalue()})
        measured = measure(samples, note.pitch)
        md5 = hashlib.md5(file.getvalue(), usedforsecurity=False).hexdigest()
        results.append((md5, qualities(note.design, measured), measured))
    return results


def _audio(note: Note) -> str:
    return f"nsynth-{note.part}/audio/{note.key}.wav"


def _write_tree(folder: Path, parameters: dict, jobs: int | None) -> None:
    notes = draw_notes(**parameters)
    tasks = [(folder, notes[start : start + CHUNK]) for start in range(0, len(notes), CHUNK)]
    description = f"rendering {len(notes):,} notes"
    found = [
        result
        for results in parallel_map(_write_chunk, tasks, description=description, jobs=jobs, timeout=TIMEOUT)
        for result in results
    ]
    examples, rows = {"train": {}, "valid": {}, "test": {}}, []
    for number, (note, (_, has, measured)) in enumerate(zip(notes, found, strict=True)):
        words = [name for name, value in zip(QUALITIES, has, strict=True) if value]
        examples[note.part][note.key] = {
            "note": number,
            "note_str": note.key,
            "instrument": note.instrument,
            "instrument_str": note.instrument_name,
            "pitch": note.pitch,
            "velocity": note.velocity,
            "sample_rate": SAMPLE_RATE,
            "qualities": list(has),
            "qualities_str": words,
            "instrument_family": FAMILIES.index(note.family),
            "instrument_family_str": note.family,
            "instrument_source": SOURCES.index(note.source),
            "instrument_source_str": note.source,
        }
        design = dataclasses.asdict(note.design) | {"chord": " ".join(map(str, note.design.chord))}
        rows.append({"key": note.key, "partition": note.part} | design | measured | {"qualities": " ".join(words)})
    for part, some in examples.items():
        text = json.dumps(some, indent=4, sort_keys=True) + "\n"  # as published
        write_bytes(folder, {f"nsynth-{part}/examples.json": text.encode()})
    table = pd.DataFrame(rows).sort_values("key").to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_bytes(folder, {"ground_truth/notes.csv": table.encode(), "acknowledgement.md": ACKNOWLEDGEMENT.encode()})
    write_checksums(folder, {_audio(note): md5 for note, (md5, _, _) in zip(notes, found, strict=True)})
    has = pd.DataFrame([result[1] for result in found], columns=list(QUALITIES))
    parts = pd.Series([note.part for note in notes])
    write_manifest(
        folder,
        version=RENDERER_VERSION,
        parameters=parameters,
        suffixes=(".json", ".csv", ".md"),
        notes={part: int((parts == part).sum()) for part in examples},
        instruments={part: len({note.instrument for note in notes if note.part == part}) for part in examples},
        prevalence={part: {name: float(has[name][parts == part].mean()) for name in QUALITIES} for part in examples},
        notes_without_quality=int((has.sum(axis=1) == 0).sum()),
        rules=RULES,
        soundfont={"name": SOUNDFONT.name, "sha256": sha256_of(SOUNDFONT)},
    )


RENDERER = Renderer("nsynth", version=RENDERER_VERSION, default_size=DEFAULT_SIZE, smallest=SMALLEST, write=_write_tree)
folder_name, render = RENDERER.folder_name, RENDERER.render
