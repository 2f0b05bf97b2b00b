"""Small trees of orchestral notes in the layouts of TinySOL and of the Philharmonia's samples, written by hand."""

import csv
import io
from pathlib import Path

import numpy as np
import soundfile

from harness.corpora.tinysol import COLUMNS, DYNAMICS, INSTRUMENTS, METADATA

FIELDS = {
    "violin": "violin",
    "cello": "cello",
    "double bass": "double-bass",
    "flute": "flute",
    "oboe": "oboe",
    "trumpet": "trumpet",
    "tuba": "tuba",
}


def tinysol_rows(notes: int = 6) -> list[dict[str, str]]:
    """Rows of the table: `notes` of each of the seven instruments, and two of the accordion."""
    rows = []
    for made in INSTRUMENTS.values():
        for number in range(notes):
            pitch, dynamic = ("A#4", "C4", "F#5")[number % 3], ("pp", "mf", "ff")[number // 3 % 3]
            change = "T7u" if number == 1 else "R100d" if number == 2 else "N"
            instance = number // 9
            token = f"alt{instance}" if instance else "N"
            rows.append(
                {
                    "Path": f"{made.folder}/ordinario/{made.abbreviation}-ord-{pitch}-{dynamic}-{token}-{change}.wav",
                    "Fold": str(number % 5),
                    "Family": made.folder.partition("/")[0],
                    "Instrument (abbr.)": made.abbreviation,
                    "Instrument (in full)": made.name,
                    "Technique (abbr.)": "ord",
                    "Technique (in full)": "ordinario",
                    "Pitch": pitch,
                    "Pitch ID": {"A#4": "70", "C4": "60", "F#5": "78"}[pitch],
                    "Dynamics": dynamic,
                    "Dynamics ID": str(DYNAMICS.index(dynamic)),
                    "Instance ID": str(instance),
                    "String ID (if applicable)": "",
                    "Needed digital retuning": "FALSE" if change == "N" else "TRUE",
                }
            )
    for pitch in ("C4", "D4"):
        path = f"Keyboards/Accordion/ordinario/Acc-ord-{pitch}-mf-N-N.wav"
        rows.append(
            rows[0]
            | {"Path": path, "Family": "Keyboards", "Instrument (abbr.)": "Acc", "Instrument (in full)": "Accordion"}
        )
    return rows


def write_table(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> None:
    """Write the table of TinySOL."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue())


def make_tinysol_tree(
    root: Path, rows: list[dict[str, str]] | None = None, *, table: str = METADATA, audio: str = "."
) -> list[dict[str, str]]:
    """Write a tree of TinySOL, one second of noise for each note; `table` and `audio` are where its parts go."""
    rows = tinysol_rows() if rows is None else rows
    rng = np.random.default_rng(0)
    write_table(root / table, rows)
    for row in rows:
        path = root / audio / row["Path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(scale=3000, size=44100).astype(np.int16), 44100, subtype="PCM_16")
    return rows


def write_mp3(path: Path, seed: int, seconds: float = 0.4) -> None:
    """Write an MP3 of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(scale=0.1, size=round(seconds * 44100))
    soundfile.write(path, noise, 44100, format="MP3")


def make_philharmonia_tree(root: Path, notes: int = 4) -> list[str]:
    """Write `notes` MP3 files of each of the seven instruments, two to a pitch, and give their names."""
    names = []
    for folder, field in FIELDS.items():
        for number in range(notes):
            style = "arco-normal" if field in ("violin", "cello", "double-bass") else "normal"
            name = f"{field}_{('As4', 'C4')[number // 2 % 2]}_{('025', '1')[number % 2]}_forte_{style}"
            write_mp3(root / folder / f"{name}.mp3", len(names))
            names.append(name)
    return names
