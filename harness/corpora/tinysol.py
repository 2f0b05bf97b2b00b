"""TinySOL, read from its published layout; the pocket twin is written in the same and read by the same reader.

The layout of version 6.0 (DOI 10.5281/zenodo.3685367)::

    tinysol/
        TinySOL_metadata.csv                                 a row for each note; or in annotation/
        Brass/Bass_Tuba/ordinario/BTb-ord-F#1-pp-N-N.wav     44.1 kHz, mono, 16 bit, 2 to 10 s; or in audio/, or in
        Keyboards/... Strings/... Winds/...                      another folder that the archive was unpacked into
        checksums                                            MD5 of the audio files; of a pocket twin only

A file's name says instrument, technique, pitch, dynamic, take (``2c``: on the second string; ``alt1``: another one; N:
the only one) and what was done to its pitch: N is nothing, ``T12u`` tuned up by 12 cents, ``R100d`` made from the note
a semitone above. The column "Needed digital retuning" is TRUE wherever that is not N. The five folds are balanced over
instruments, pitches and dynamics.

Cella et al., OrchideaSOL: a dataset of extended instrumental techniques for computer-aided orchestration, ICMC 2020.
Only the seven instruments of study 004 are kept of its fourteen.
"""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.corpora.archives import Archive, unpack_tars
from harness.corpora.corpus import Corpus
from harness.corpora.orchestra import empty_classes, make_corpus, midi_key
from harness.corpora.published import Published
from harness.corpora.registry import Entry, Source
from harness.errors import RepriseError

METADATA = "TinySOL_metadata.csv"
COLUMNS = (
    "Path",
    "Fold",
    "Family",
    "Instrument (abbr.)",
    "Instrument (in full)",
    "Technique (abbr.)",
    "Technique (in full)",
    "Pitch",
    "Pitch ID",
    "Dynamics",
    "Dynamics ID",
    "Instance ID",
    "String ID (if applicable)",
    "Needed digital retuning",
)
#: Those that are read.
NEEDED = ("Path", "Fold", "Instrument (abbr.)", "Pitch", "Dynamics", "Needed digital retuning")
FOLDS = 5
#: Numbered from 0, as the column "Dynamics ID" numbers them.
DYNAMICS = ("pp", "p", "mf", "f", "ff")
RATE = 44100


@dataclass(frozen=True)
class Instrument:
    """How TinySOL calls a class: abbreviation, name and folder; and how many notes it has of it."""

    abbreviation: str
    name: str
    folder: str
    notes: int


INSTRUMENTS = {
    "violin": Instrument("Vn", "Violin", "Strings/Violin", 284),
    "cello": Instrument("Vc", "Violoncello", "Strings/Violoncello", 291),
    "double_bass": Instrument("Cb", "Contrabass", "Strings/Contrabass", 309),
    "flute": Instrument("Fl", "Flute", "Winds/Flute", 118),
    "oboe": Instrument("Ob", "Oboe", "Winds/Oboe", 107),
    "trumpet": Instrument("TpC", "Trumpet in C", "Brass/Trumpet_C", 96),
    "tuba": Instrument("BTb", "Bass Tuba", "Brass/Bass_Tuba", 108),
}
#: All instruments together.
NOTES = 2913
#: At whatever depth, as the archive may have been unpacked into a folder of its own.
CONTENTS = (f"**/{METADATA}", *(f"**/{made.folder}/ordinario/*.wav" for made in INSTRUMENTS.values()))
AUDIO = ("**/ordinario/*.wav",)

_RECORD = "https://zenodo.org/record/3685367/files"


class _Odd(Exception):  # noqa: N818  (never leaves this module)
    """What of a tree is not as published, in words that go on after the tree's name."""


def read(root: Path | str, name: str) -> Corpus:
    """Read a tree in the layout of TinySOL, published or pocket.

    Parameters
    ----------
    root
        The folder that holds ``TinySOL_metadata.csv``, or ``annotation`` with it.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        The notes of `harness.corpora.orchestra.CLASSES`; those of other instruments are counted in
        ``facts["left_out"]``. ``clips["fold"]`` is the published fold, ``clips["retuned"]`` the column "Needed digital
        retuning"; ``facts["semitone_copies"]`` counts the notes made from a neighbour, which folds and grouped splits
        may part from it.

    Raises
    ------
    RepriseError
        A file is missing, a class has no notes, or something is not as published.
    """
    root = Path(root).absolute()
    pocket = (root / "ground_truth").is_dir()
    try:
        rows = _rows(root)
        notes, instruments, left_out = _notes(root, rows)
    except _Odd as error:
        raise RepriseError(
            f"{error} in {root}: "
            + (
                "delete that folder and it will be rendered again"
                if pocket
                else "move that folder away and run `reprise data fetch tinysol`"
            )
        ) from None
    facts = {
        "left_out": left_out,
        "folds": [notes["fold"].count(fold) for fold in range(FOLDS)],
        "semitone_copies": sum("R100" in key.rpartition("-")[2] for key in notes["key"]),
    }
    return make_corpus(name, root, instruments, notes, facts, artist="" if pocket else "Ircam, Studio On Line")


def check_published(folder: Path) -> None:
    """Make sure that what was downloaded is all of TinySOL.

    Parameters
    ----------
    folder
        Where it was unpacked.

    Raises
    ------
    RepriseError
        An instrument has another number of notes, an audio file is missing, or something is not as published.
    """
    try:
        rows = _rows(folder)
        _, instruments, _ = _notes(folder, rows)
        found = Counter(instruments)
        for instrument, made in INSTRUMENTS.items():
            if found[instrument] != made.notes:
                raise _Odd(f"{found[instrument]:,} and not {made.notes:,} notes of {made.name}")
        if len(rows) != NOTES:
            raise _Odd(f"{len(rows):,} and not {NOTES:,} notes")
    except _Odd as error:
        raise RepriseError(
            f"what {_RECORD} sent is not TinySOL as published ({error}) and was deleted: see "
            "https://doi.org/10.5281/zenodo.3685367 whether there is a newer version"
        ) from None


def unpack(archives: Sequence[Path], folder: Path) -> None:
    """Unpack the archive of the audio, and put the table beside it.

    Parameters
    ----------
    archives
        ``TinySOL.tar.gz`` and ``TinySOL_metadata.csv``.
    folder
        Where to; it exists.

    Raises
    ------
    harness.corpora.archives.BadArchive
        The archive is broken, or would write elsewhere.
    OSError
        The disk is full.
    """
    unpack_tars([path for path in archives if path.name != METADATA], folder)
    for path in archives:
        if path.name == METADATA:
            shutil.copyfile(path, folder / METADATA)


def unsigned_audio(root: Path | str) -> dict[str, str | None]:
    """Audio files that a tree should have, those of other instruments included; there are no checksums of them.

    Parameters
    ----------
    root
        The corpus's folder.

    Returns
    -------
    dict of str to None
        By path relative to `root`.

    Raises
    ------
    RepriseError
        The table cannot be read.
    """
    root = Path(root)
    try:
        rows = _rows(root)
        within = _audio_folder(root, rows).relative_to(root)
        return {(within / row["Path"]).as_posix(): None for row in rows}
    except _Odd as error:
        raise RepriseError(f"{error} in {root}: move that folder away and run `reprise data fetch tinysol`") from None


def sounds_like_a_note(path: Path) -> bool:
    """Whether a file has the form of TinySOL's: WAV, 44.1 kHz, mono, 1 s or longer.

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
    return (found.format, found.samplerate, found.channels) == ("WAV", RATE, 1) and found.frames >= RATE


def _table(root: Path) -> Path | None:
    """The table, where mirdata puts it or where the download does."""
    return next((path for path in (root / METADATA, root / "annotation" / METADATA) if path.is_file()), None)


def _rows(root: Path) -> list[dict[str, str]]:
    """All rows of the table, of whatever instrument, with paths that lead nowhere else."""
    path = _table(root)
    if path is None:
        raise _Odd(f"there is no {METADATA}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows = list(reader)
    except OSError:
        raise _Odd(f"{METADATA} cannot be read") from None
    except (ValueError, csv.Error) as error:  # not UTF-8, or not CSV
        raise _Odd(f"{METADATA} is not a table ({error})") from None
    if absent := [column for column in NEEDED if column not in columns]:
        raise _Odd(f"{METADATA} has no column {' and no column '.join(absent)}")
    seen = set()
    for number, row in enumerate(rows, start=2):
        if any(row[column] is None for column in NEEDED):
            raise _Odd(f"line {number} of {METADATA} is cut short")
        parts = PurePosixPath(row["Path"]).parts
        if len(parts) != 4 or ".." in parts or not row["Path"].endswith(".wav"):
            raise _Odd(f"{METADATA} names {row['Path']!r}, which is not <family>/<instrument>/<technique>/<name>.wav,")
        if row["Path"] in seen:
            raise _Odd(f"{METADATA} names {row['Path']} twice")
        seen.add(row["Path"])
    return rows


def _notes(root: Path, rows: list[dict[str, str]]) -> tuple[dict[str, list], list[str], dict[str, int]]:
    """Columns of the clip table, each note's class, and how many notes there are of other instruments."""
    classes = {made.abbreviation: instrument for instrument, made in INSTRUMENTS.items()}
    of_folder = {made.folder: made.abbreviation for made in INSTRUMENTS.values()}
    kept, instruments, left_out = [], [], Counter()
    for row in rows:
        path, stated = row["Path"], row["Instrument (abbr.)"]
        folder = path.rpartition("/")[0].rpartition("/")[0]
        if of_folder.get(folder, stated) != stated or (stated in classes and folder not in of_folder):
            raise _Odd(f"{path} is in the folder of another instrument than {stated}, which {METADATA} says it is,")
        if stated in classes:
            kept.append(row)
            instruments.append(classes[stated])
        else:
            left_out[row.get("Instrument (in full)") or stated] += 1
    if empty := empty_classes(instruments):
        raise _Odd(f"{METADATA} has no notes of {' and none of '.join(empty)}")
    audio = _audio_folder(root, rows)
    paths = [audio / row["Path"] for row in kept]
    if absent := [path for path in paths if not path.is_file()]:
        raise _Odd(f"{len(absent):,} audio files that {METADATA} names are missing, first {absent[0].name},")
    notes = {
        "key": [path.stem for path in paths],
        "path": [str(path) for path in paths],
        "fold": [_fold(row) for row in kept],
        "pitch": [_pitch(row) for row in kept],
        "dynamic": [row["Dynamics"] for row in kept],
        "retuned": [_retuned(row) for row in kept],
    }
    return notes, instruments, dict(sorted(left_out.items()))


def _audio_folder(root: Path, rows: list[dict[str, str]]) -> Path:
    """The folder that the paths of the table start from: the corpus's own, or one in it."""
    families = {row["Path"].partition("/")[0] for row in rows}
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return next((path for path in folders if any((path / family).is_dir() for family in families)), root)


def _fold(row: dict[str, str]) -> int:
    if row["Fold"] not in map(str, range(FOLDS)):
        raise _Odd(f"{METADATA} puts {row['Path']} in the fold {row['Fold']!r}, and folds are 0 to {FOLDS - 1},")
    return int(row["Fold"])


def _pitch(row: dict[str, str]) -> int:
    key = midi_key(row["Pitch"])
    if key is None:
        raise _Odd(f"{METADATA} gives {row['Path']} the pitch {row['Pitch']!r}, which is none such as F#1,")
    return key


def _retuned(row: dict[str, str]) -> bool:
    stated = row["Needed digital retuning"]
    if stated.upper() not in ("TRUE", "FALSE"):
        raise _Odd(f"{METADATA} says neither TRUE nor FALSE but {stated!r} on the retuning of {row['Path']}")
    return stated.upper() == "TRUE"


PUBLISHED = Published(
    read,
    holds=lambda folder: _table(folder) is not None,
    folders=("tinysol", "TinySOL"),
    within=("tinysol", "TinySOL"),
)

CORPORA = (
    Entry(
        name="tinysol",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=unsigned_audio,
        audio=AUDIO,
        sound=sounds_like_a_note,
        source=Source(
            title="TinySOL: 2,913 single notes of 14 orchestral instruments, 1,313 of them of the seven of study 004",
            archives=(
                Archive(f"{_RECORD}/TinySOL.tar.gz?download=1", 1_026_917_185, "36030a7fe389da86c3419e5ee48e3b7f"),
                Archive(f"{_RECORD}/{METADATA}?download=1", 317_576, "a86c9bb115f69e61f2f25872e397fc4a"),
            ),
            licence="CC BY 4.0",
            doi="10.5281/zenodo.3685367",
            citation="Cella et al., OrchideaSOL: a dataset of extended instrumental techniques for computer-aided "
            "orchestration, ICMC 2020",
            download_bytes=1_027_234_761,
            unpacked_bytes=1_700_000_000,
            unpack=unpack,
            check=check_published,
        ),
    ),
)
