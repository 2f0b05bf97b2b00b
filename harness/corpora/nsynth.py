"""NSynth, read from its published layout; the pocket twin is written in the same and read by the same reader.

The layout of the ``jsonwav`` archives::

    nsynth/
        nsynth-train/examples.json              {"bass_synthetic_068-049-025": {"note": 201034, ...}, ...}
        nsynth-train/audio/bass_synthetic_068-049-025.wav   16 kHz, mono, 4 s: held for 3 s, then let go
        nsynth-valid/...
        nsynth-test/...

A note has the fields ``note``, ``note_str``, ``instrument``, ``instrument_str``, ``pitch``, ``velocity``,
``sample_rate``, ``qualities`` (ten times 0 or 1), ``qualities_str`` (the names of those that are 1),
``instrument_family``, ``instrument_family_str``, ``instrument_source`` and ``instrument_source_str``. Its name is its
instrument's, its MIDI key and its velocity. No instrument of the training part plays in the other two.

Engel et al., Neural audio synthesis of musical notes with WaveNet autoencoders, ICML 2017.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.corpora.archives import Archive
from harness.corpora.corpus import Corpus
from harness.corpora.pocket_twin import rendering
from harness.corpora.published import Published
from harness.corpora.registry import Entry, Source
from harness.errors import RepriseError

SECONDS = 4.0
SAMPLE_RATE = 16_000
#: In the order of the published vectors.
QUALITIES = (
    "bright",
    "dark",
    "distortion",
    "fast_decay",
    "long_release",
    "multiphonic",
    "nonlinear_env",
    "percussive",
    "reverb",
    "tempo-synced",
)
#: Numbered from 0, as ``instrument_family`` and ``instrument_source`` number them.
FAMILIES = (
    "bass",
    "brass",
    "flute",
    "guitar",
    "keyboard",
    "mallet",
    "organ",
    "reed",
    "string",
    "synth_lead",
    "vocal",
)
SOURCES = ("acoustic", "electronic", "synthetic")
#: Notes in each part as published.
COUNTS = {"train": 289_205, "valid": 12_678, "test": 4_096}
#: A study needs the first two; the third may be left out.
CONTENTS = tuple(f"nsynth-{part}/{name}" for part in ("train", "valid") for name in ("examples.json", "audio/*.wav"))
AUDIO = ("nsynth-*/audio/*.wav",)

_BUCKET = "https://storage.googleapis.com/download.magenta.tensorflow.org/datasets/nsynth"
_FIELDS = (
    "note_str",
    "instrument_str",
    "pitch",
    "velocity",
    "sample_rate",
    "instrument_family_str",
    "instrument_source_str",
)


class _Odd(Exception):  # noqa: N818  (never leaves this module)
    """What of a tree is not as published, in words that go on after the tree's name."""


def read(root: Path | str, name: str) -> Corpus:
    """Read a tree in the layout of NSynth, published or pocket.

    Parameters
    ----------
    root
        The folder that holds ``nsynth-train`` and ``nsynth-valid``; ``nsynth-test`` may be missing.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        Classes are the ten qualities, all of which are known of every note; groups are instruments. Beside the usual
        columns ``clips`` has ``pitch`` (MIDI key), ``velocity`` (1 to 127), ``family`` and ``source``.

    Raises
    ------
    RepriseError
        A part or an audio file is missing, or something is not as published.
    """
    root = Path(root).absolute()
    truth = root / "ground_truth"
    try:
        clips, labels = _notes(root)
    except _Odd as error:
        raise RepriseError(
            f"{error} in {root}: "
            + (
                "delete that folder and it will be rendered again"
                if truth.is_dir()
                else "move that folder away and run `reprise data fetch nsynth`"
            )
        ) from None
    facts = {
        "clips": len(clips),
        "observed": labels.size,
        "positives": int(labels.sum()),
        "density": 1.0,
        "instruments": int(clips["group"].nunique()),
        "notes": {part: int((clips["partition"] == part).sum()) for part in COUNTS},
        "notes_without_quality": int((labels.sum(axis=1) == 0).sum()),
    }
    return Corpus(
        name=name,
        root=root,
        classes=QUALITIES,
        seconds=SECONDS,
        clips=clips,
        labels=labels,
        mask=np.ones(labels.shape, dtype=bool),
        facts=facts | rendering(root),
        pocket=truth.is_dir(),
        ground_truth=truth if truth.is_dir() else None,
    )


def check_published(folder: Path) -> None:
    """Make sure that what the archives held is all of NSynth.

    Parameters
    ----------
    folder
        Where they were unpacked.

    Raises
    ------
    RepriseError
        A part has another number of notes, an audio file is missing, or something is not as published.
    """
    try:
        partition = _notes(folder)[0]["partition"]
        for part, count in COUNTS.items():
            if (found := int((partition == part).sum())) != count:
                raise _Odd(f"nsynth-{part} has {found:,} notes and not {count:,}")
    except _Odd as error:
        raise RepriseError(
            f"what {_BUCKET} sent is not NSynth as published ({error}) and was deleted: see "
            "https://magenta.tensorflow.org/datasets/nsynth whether there is a newer version"
        ) from None


def unsigned_audio(root: Path | str) -> dict[str, str | None]:
    """Audio files that a tree should have; NSynth has no checksums of them.

    Parameters
    ----------
    root
        The folder that holds ``nsynth-train``.

    Returns
    -------
    dict of str to None
        By path relative to `root`.

    Raises
    ------
    RepriseError
        An ``examples.json`` cannot be read.
    """
    try:
        return {
            f"nsynth-{part}/audio/{key}.wav": None
            for part in COUNTS
            if part != "test" or (Path(root) / f"nsynth-{part}").is_dir()
            for key in _examples(Path(root), part)
        }
    except _Odd as error:
        raise RepriseError(f"{error} in {root}: move that folder away and run `reprise data fetch nsynth`") from None


def sounds_like_a_note(path: Path) -> bool:
    """Whether a file has the form of NSynth's: WAV, 16 kHz, mono, 4 s, none of it cut off.

    Parameters
    ----------
    path
        An audio file.

    Returns
    -------
    bool
    """
    import soundfile  # here, as reading the corpus looks into no audio file

    try:
        found = soundfile.info(path)
    except (OSError, RuntimeError):
        return False
    samples = round(SECONDS * SAMPLE_RATE)
    # Of a file that was cut off libsndfile counts the samples that are left.
    return (found.format, found.samplerate, found.channels, found.frames) == ("WAV", SAMPLE_RATE, 1, samples)


def _notes(root: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Clips and labels of all parts, sorted by key."""
    here = [part for part in COUNTS if (root / f"nsynth-{part}").is_dir()]
    if absent := [part for part in ("train", "valid") if part not in here]:
        raise _Odd(f"there is no {' and no '.join(f'nsynth-{part}' for part in absent)}")
    tables, qualities = zip(*(_part(root, part) for part in here), strict=True)
    clips, labels = pd.concat(tables, ignore_index=True), np.concatenate(qualities)
    order = np.argsort(clips["key"].to_numpy(dtype=str), kind="stable")
    clips, labels = clips.iloc[order].reset_index(drop=True), labels[order]
    twice = clips["key"].duplicated(keep=False)
    if twice.any():
        parts = clips[clips["key"] == clips["key"][twice].iloc[0]]["partition"].unique()
        raise _Odd(
            f"{int(twice.sum()) // 2:,} notes are in two parts, first {clips['key'][twice].iloc[0]} in "
            f"{' and '.join(f'nsynth-{part}' for part in parts)},"
        )
    return clips, labels


def _part(root: Path, part: str) -> tuple[pd.DataFrame, np.ndarray]:
    notes = _examples(root, part)
    where = f"nsynth-{part}/examples.json"
    try:
        values = {field: [note[field] for note in notes.values()] for field in _FIELDS}
    except (KeyError, TypeError):
        key, field = _first_without(notes, (*_FIELDS, "qualities"))
        raise _Odd(f"{where} gives no {field} for {key}") from None
    keys = values["note_str"]
    for key, stated in zip(notes, keys, strict=True):
        if key != stated:
            raise _Odd(f"{where} has the note {stated} under the name {key}")
    labels = _qualities(notes, where)
    for rate, key in zip(values["sample_rate"], keys, strict=True):
        if rate != SAMPLE_RATE:
            raise _Odd(f"{where} gives {key} a sample rate of {rate} and not of {SAMPLE_RATE} Hz")
    for field in ("pitch", "velocity"):
        for value, key in zip(values[field], keys, strict=True):
            if type(value) is not int or not 0 <= value <= 127:
                raise _Odd(f"{where} gives {key} the {field} {value!r}, which is no number from 0 to 127")
    # One listing instead of 289,205 questions, which take minutes on a network drive.
    folder = root / f"nsynth-{part}" / "audio"
    files = set()
    if folder.is_dir():
        with os.scandir(folder) as entries:
            files = {entry.name for entry in entries}
    if absent := [key for key in keys if f"{key}.wav" not in files]:
        raise _Odd(f"nsynth-{part}/audio lacks {len(absent):,} files that {where} names, first {absent[0]}.wav,")
    clips = pd.DataFrame(
        {
            "key": keys,
            "path": [f"{folder}{os.sep}{key}.wav" for key in keys],
            "group": values["instrument_str"],
            "title": keys,
            "artist": "",
            "partition": part,
            "pitch": values["pitch"],
            "velocity": values["velocity"],
            "family": values["instrument_family_str"],
            "source": values["instrument_source_str"],
        }
    )
    return clips, labels


def _examples(root: Path, part: str) -> dict[str, Any]:
    path = root / f"nsynth-{part}" / "examples.json"
    try:
        notes = json.loads(path.read_bytes())
    except OSError:
        raise _Odd(f"there is no readable nsynth-{part}/examples.json") from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise _Odd(f"nsynth-{part}/examples.json is not JSON ({error})") from None
    if not isinstance(notes, dict) or not notes:
        raise _Odd(f"nsynth-{part}/examples.json does not give notes by their names")
    return notes


def _qualities(notes: dict[str, dict], where: str) -> np.ndarray:
    try:
        rows = [tuple(note["qualities"]) for note in notes.values()]
    except (KeyError, TypeError):
        key, _ = _first_without(notes, ("qualities",))
        raise _Odd(f"{where} gives no qualities for {key}") from None
    # 289,205 notes have a few hundred different sets of qualities, so each set is looked at once.
    named = {}
    for (key, note), row in zip(notes.items(), rows, strict=True):
        words = note.get("qualities_str")
        words = None if words is None else tuple(words) if isinstance(words, list) else (words,)
        named.setdefault((row, words), key)
    for (row, words), key in named.items():
        if len(row) != len(QUALITIES) or any(type(value) is not int or value not in (0, 1) for value in row):
            raise _Odd(f"{where} gives {key} qualities that are not ten times 0 or 1")
        if words is None:
            continue
        if unknown := [word for word in words if word not in QUALITIES]:
            raise _Odd(f"{where} gives {key} the quality {unknown[0]!r}, which NSynth does not have")
        if set(words) != {name for name, value in zip(QUALITIES, row, strict=True) if value}:
            raise _Odd(f"{where} contradicts itself on the qualities of {key} (qualities and qualities_str)")
    return np.array(rows, dtype=np.uint8)


def _first_without(notes: dict[str, Any], fields: tuple[str, ...]) -> tuple[str, str]:
    """The first note that lacks one of the fields, or has what is none, and the field."""
    missing: Iterator[tuple[str, str]] = (
        (key, field)
        for key, note in notes.items()
        for field in fields
        if not isinstance(note, dict) or field not in note or (field == "qualities" and type(note[field]) is not list)
    )
    return next(missing)


PUBLISHED = Published(
    read,
    holds=lambda folder: (folder / CONTENTS[0]).is_file(),
    folders=("nsynth", "."),  # the three parts may lie in the data folder itself
    within=("nsynth",),
    begun=lambda folder: any((folder / f"nsynth-{part}").is_dir() for part in COUNTS),
)

CORPORA = (
    Entry(
        name="nsynth",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=unsigned_audio,
        audio=AUDIO,
        sound=sounds_like_a_note,
        source=Source(
            title="NSynth: 305,979 notes of 4 s by 1,006 instruments, ten qualities",
            # The page gives no checksums. Sizes and MD5 are those that the server itself states of its files; they
            # are listed by others too (the HEAR benchmark's hearpreprocess).
            archives=(
                Archive(f"{_BUCKET}/nsynth-train.jsonwav.tar.gz", 23_815_298_079, "fde6665a93865503ba598b9fac388660"),
                Archive(f"{_BUCKET}/nsynth-valid.jsonwav.tar.gz", 1_068_767_009, "87e94a00a19b6dbc99cf6d4c0c0cae87"),
                Archive(f"{_BUCKET}/nsynth-test.jsonwav.tar.gz", 349_501_546, "5e6f8719bf7e16ad0a00d518b78af77d"),
            ),
            licence="CC BY 4.0",
            doi="10.48550/arXiv.1704.01279",
            citation="Engel et al., Neural audio synthesis of musical notes with WaveNet autoencoders, ICML 2017",
            download_bytes=25_233_566_634,
            unpacked_bytes=40_000_000_000,
            notes="the data set's page gives no checksums: these MD5 are the server's own and the HEAR benchmark's; "
            "what arrives is checked by its contents, too, every note with its audio file "
            "(289,205 + 12,678 + 4,096)",
            check=check_published,
        ),
    ),
)
