"""The pocket twin of TinySOL: single notes of seven orchestral instruments, rendered here, in the published layout.

Counts, pitch ranges and dynamics are those of the thesis' Table 1 (study 004), whose recordings are not public: of a
class of n notes every pitch is played at every dynamic level, and what is left over are further takes. Beside the
published files the tree has ``checksums`` (MD5 of the audio files) and a folder ``ground_truth``::

    manifest.json   what it was rendered from and with, and what was counted
    notes.csv       a row for each note: its player, program, and everything that was drawn for it

The same size and seed give the same bytes on one machine, whatever the number of processes.
"""

import dataclasses
import hashlib
import io
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from harness.corpora.orchestra import CLASSES, pitch_name
from harness.corpora.pocket.players import VOICES, Take, Voice, draw_players, draw_take, play
from harness.corpora.pocket.soundfont import SAMPLE_RATE, SOUNDFONT
from harness.corpora.pocket_twin import TIMEOUT, Renderer, write_bytes, write_checksums, write_manifest
from harness.corpora.tinysol import COLUMNS, DYNAMICS, FOLDS, INSTRUMENTS, METADATA
from harness.parallel import parallel_map
from harness.storage import sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 2
DEFAULT_SIZE = 1301  # as in the thesis
#: Fewer notes would leave a class without one in each fold.
SMALLEST = 70
#: Shares of the notes whose pitch was corrected by some cents, and that are copies of a neighbour, a semitone off.
TUNED, COPIED = 0.20, 0.05
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
        Class by class; within one by pitch, dynamic and take. The folds of a class differ by one note at most, those
        of a class's dynamic by two.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    players = draw_players(seed)
    counts = _counts(size)
    in_folds = np.zeros(FOLDS, dtype=int)
    notes: list[Note] = []
    for instrument in CLASSES:
        cells = _cells(VOICES[instrument], counts[instrument], rng)
        folds = _folds(cells, in_folds, rng)
        some = [
            Note(instrument, pitch, dynamic, instance, fold, draw_take(players[instrument], pitch, dynamic, rng))
            for (pitch, dynamic, instance), fold in zip(cells, folds, strict=True)
        ]
        notes += _retuned(some, rng)
    return notes


def _counts(size: int) -> dict[str, int]:
    """Notes of each class, in the thesis' proportions; what rounding leaves over goes to the largest remainders."""
    shares = np.array([VOICES[instrument].notes for instrument in CLASSES]) * size / DEFAULT_SIZE
    counts = np.floor(shares).astype(int)
    most = np.argsort(counts - shares, kind="stable")[: size - counts.sum()]
    counts[most] += 1
    return dict(zip(CLASSES, counts.tolist(), strict=True))


def _cells(voice: Voice, count: int, rng: np.random.Generator) -> list[tuple[int, str, int]]:
    """Pitch, dynamic and number of take of `count` notes: every pair of the first two equally often, or once more."""
    grid = list(itertools.product(voice.keys, voice.dynamics))
    times, rest = divmod(count, len(grid))
    more = set(rng.permutation(len(grid))[:rest].tolist())
    return [(*cell, instance) for i, cell in enumerate(grid) for instance in range(times + (i in more))]


def _folds(cells: list[tuple[int, str, int]], in_folds: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Folds of a class's notes: of every five neighbours in pitch at one dynamic one each.

    `in_folds` counts over all classes, and is updated.
    """
    count = len(cells)
    drawn = [fold for _ in range(count // FOLDS) for fold in rng.permutation(FOLDS)]
    # What is left over goes where the fewest are.
    order = rng.permutation(FOLDS)
    drawn += list(order[np.argsort(in_folds[order], kind="stable")][: count % FOLDS])
    in_folds += np.bincount(drawn, minlength=FOLDS)
    folds = [0] * count
    for i, fold in zip(sorted(range(count), key=lambda i: (DYNAMICS.index(cells[i][1]), i)), drawn, strict=True):
        folds[i] = int(fold)
    return folds


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


def _write_chunk(task: tuple[Path, int, list[Note]]) -> list[tuple[str, int]]:
    """Play notes and write their files; give each one's MD5 and number of samples."""
    folder, seed, notes = task
    players = draw_players(seed)
    written = []
    for note in notes:
        player = players[note.instrument][note.take.player]
        sound = play(note.instrument, player, note.take, note.pitch - note.steps, note.dynamic)
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


RENDERER = Renderer("notes", version=RENDERER_VERSION, default_size=DEFAULT_SIZE, smallest=SMALLEST, write=_write_tree)
folder_name, render = RENDERER.folder_name, RENDERER.render
