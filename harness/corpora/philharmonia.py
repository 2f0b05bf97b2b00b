"""The Philharmonia Orchestra's sound samples: single notes of its players, as its site gives them to download.

The layout, whether of the whole download or of a part::

    philharmonia/
        violin/violin_A4_1_fortissimo_arco-normal.mp3       44.1 kHz, mono; a length of 1 is one second
        double bass/double-bass_As1_025_piano_arco-normal.mp3       A#1, a quarter of a second
        ...

A file's name says instrument, pitch (``s`` is sharp), length (``025``, ``05``, ``1``, ``15``, ``long``,
``very-long``, ``phrase``), dynamic and style. Kept are single notes of the seven instruments of study 004, played in
the ordinary way; phrases and other styles, as pizzicato, are left out, and so are other instruments. No folds are
published and no player is named, so that nothing but the pitch can be grouped by: the notes of one pitch differ in
length and dynamic alone.

The pitch is the name's, which is not always what sounds: some takes of the tuba, for one, are a semitone sharp.
"""

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from harness.corpora.corpus import Corpus
from harness.corpora.orchestra import CLASSES, empty_classes, make_corpus, midi_key
from harness.corpora.published import Published
from harness.corpora.registry import Entry
from harness.errors import RepriseError
from harness.storage import fingerprint
from harness.terminal import tell_once

#: Played in the ordinary way.
STYLES = ("normal", "arco-normal", "non-vibrato")
#: Abbreviations of the dynamics; what changes on the way, as ``cresc-decresc``, is kept as it is written.
DYNAMICS = {
    "molto-pianissimo": "ppp",
    "pianissimo": "pp",
    "piano": "p",
    "mezzo-piano": "mp",
    "mezzo-forte": "mf",
    "forte": "f",
    "fortissimo": "ff",
}
#: Folder and file names have a space or a hyphen where classes have an underscore: one pattern for both.
CONTENTS = tuple(f"{instrument.replace('_', '?')}/*.mp3" for instrument in CLASSES)
AUDIO = ("*/*.mp3",)
RATE = 44100

OBTAIN = (
    "the samples are free to use in work of any kind but must not be passed on as samples, so that only the orchestra "
    "gives them out: get them from https://philharmonia.co.uk/resources/sound-samples/ and put the folders of the "
    f"instruments ({', '.join(name.replace('_', ' ') for name in CLASSES)}) into this folder, or set REPRISE_DATA to "
    "the folder that holds philharmonia"
)

_NAME = re.compile(
    r"(?P<instrument>[a-z-]+)_(?P<pitch>[A-G]s?[0-9])_(?P<length>[a-z0-9-]+)_(?P<dynamic>[a-z-]+)_(?P<style>[a-z-]+)"
)


@dataclass(frozen=True)
class Mislabelled:
    """A file whose very content is also published under another label.

    Parameters
    ----------
    sha256
        Of the content, or its beginning.
    other
        The name that it has there.
    why
        Why it is left out.
    """

    sha256: str
    other: str
    why: str


#: Two files of the seven instruments, by name. The other name is of an instrument that is not among them, and need not
#: be there. The first was measured: partials at every 82.3 Hz. The second is known from others' lists of checksums.
MISLABELLED = {
    "oboe_E6_15_mezzo-forte_normal": Mislabelled(
        "7ae666730485641e839d492371f1cc7dd60ff657b9b424f2f96230c7aab71557",
        "french-horn_E2_1_fortissimo_normal",
        "it sounds E2, an octave and a half below an oboe's lowest note",
    ),
    "cello_Ds5_05_forte_arco-normal": Mislabelled(
        "75c5dbcf", "viola_G6_05_fortissimo_arco-normal", "which of the two names is right is not known"
    ),
}


class _Odd(Exception):  # noqa: N818  (never leaves this module)
    """What of a tree is not as published, in words that go on after the tree's name."""


@dataclass(frozen=True)
class _Note:
    """A file of one of the seven instruments, and what its name says."""

    path: Path
    instrument: str
    pitch: int
    length: str
    dynamic: str
    style: str

    @property
    def label(self) -> tuple[str, int]:
        return self.instrument, self.pitch


def read(root: Path | str, name: str) -> Corpus:
    """Read a folder of the samples.

    Every file is read for its SHA-256, none is decoded. Files of one content and several labels (instrument and
    pitch), among which those of other instruments count, are left out, all of them: ``facts["contradictions"]``.
    Of files of one content and one label the first is kept: ``facts["repeated"]``. Two files that are known to be
    mislabelled are left out even where their likes are not there: ``facts["mislabelled"]``. What else is left out is
    counted in ``facts["left_out"]``. Folders of other instruments, and contradictions, are told on standard error.

    Parameters
    ----------
    root
        The folder that holds a folder for each instrument.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        Beside the usual columns ``clips`` has ``length`` and ``style`` as the names say them. ``dynamic`` is
        abbreviated, from ``"ppp"`` to ``"ff"``; ``retuned`` is false throughout.

    Raises
    ------
    RepriseError
        A file's name does not parse or contradicts its folder, a file is empty, or a class has no notes.
    """
    root = Path(root).absolute()
    try:
        files, others = _files(root)
        notes, left_out = _ordinary([_note(path) for path in files])
        facts = {"left_out": left_out, "other_instruments": {folder: len(some) for folder, some in others.items()}}
        checksums = {path: _sha256(path) for path in [*files, *(path for some in others.values() for path in some)]}
    except _Odd as error:
        raise RepriseError(f"{error} in {root}: put a sound copy in its place, or move it away") from None
    notes, found = _trustworthy(notes, checksums, root)
    facts |= found
    if empty := empty_classes([note.instrument for note in notes]):
        raise RepriseError(
            f"{root} has no notes of {' and none of '.join(empty)}: get the missing from "
            "https://philharmonia.co.uk/resources/sound-samples/"
        )
    if others:
        counts = ", ".join(f"{folder} ({count:,} files)" for folder, count in facts["other_instruments"].items())
        tell_once(f"{name}: left out {counts}, which the seven classes do not have")
    for names in facts["contradictions"]:
        tell_once(f"{name}: left out {' and '.join(names)}, one content under several labels")
    keys = [note.path.stem for note in notes]
    facts["audio_checksums"] = fingerprint({note.path.stem: checksums[note.path] for note in notes}, length=64)
    columns = {
        "key": keys,
        "path": [str(note.path) for note in notes],
        "pitch": [note.pitch for note in notes],
        "dynamic": [DYNAMICS.get(note.dynamic, note.dynamic) for note in notes],
        "retuned": [False] * len(notes),
        "length": [note.length for note in notes],
        "style": [note.style for note in notes],
    }
    instruments = [note.instrument for note in notes]
    return make_corpus(name, root, instruments, columns, facts, artist="Philharmonia Orchestra")


def unsigned_audio(root: Path | str) -> dict[str, str | None]:
    """Audio files that are there; which should be, nobody tells.

    Parameters
    ----------
    root
        The folder that holds a folder for each instrument.

    Returns
    -------
    dict of str to None
        By path relative to `root`.
    """
    root = Path(root)
    return {path.relative_to(root).as_posix(): None for pattern in AUDIO for path in sorted(root.glob(pattern))}


def sounds_like_a_note(path: Path) -> bool:
    """Whether a file can be decoded and has the form of these: MP3, 44.1 kHz, mono, a tenth of a second or longer.

    How long a file should be it does not say.

    Parameters
    ----------
    path
        An audio file.

    Returns
    -------
    bool
    """
    import soundfile  # here, as reading the corpus decodes nothing

    try:
        with soundfile.SoundFile(path) as file:
            form, frames = (file.format, file.samplerate, file.channels), len(file.read(dtype="float32"))
    except (OSError, RuntimeError):
        return False
    return form == ("MP3", RATE, 1) and frames >= RATE // 10


def _has_instruments(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in CONTENTS)


def _files(root: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """MP3 files of the seven instruments, and those of other folders by the folders' names."""
    ours, others = [], {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.glob("*.mp3") if not path.name.startswith("."))
        if _class(folder.name) in CLASSES:
            ours += files
        elif files:
            others[folder.name] = files
    return ours, others


def _class(text: str) -> str:
    return text.lower().replace(" ", "_").replace("-", "_")


def _note(path: Path) -> _Note:
    where = f"{path.parent.name}/{path.name}"
    found = _NAME.fullmatch(path.stem)
    pitch = midi_key(found["pitch"].replace("s", "#")) if found else None
    if pitch is None:
        raise _Odd(
            f"{where} is not named <instrument>_<pitch>_<length>_<dynamic>_<style>.mp3, as violin_As4_1_piano_..., "
        )
    instrument = _class(found["instrument"])
    if instrument != _class(path.parent.name):
        raise _Odd(f"{where} is in the folder of another instrument than its name says")
    return _Note(path, instrument, pitch, found["length"], found["dynamic"], found["style"])


def _ordinary(notes: list[_Note]) -> tuple[list[_Note], dict[str, int]]:
    """The single notes that are played in the ordinary way, and how many others there are, by what sets them apart."""
    kept, left_out = [], Counter()
    for note in notes:
        if note.length == "phrase":
            left_out["phrase"] += 1
        elif note.style not in STYLES:
            left_out[note.style] += 1
        else:
            kept.append(note)
    return kept, dict(sorted(left_out.items()))


def _sha256(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _Odd(f"{path.parent.name}/{path.name} cannot be read ({error.strerror})") from None
    if not data:
        raise _Odd(f"{path.parent.name}/{path.name} is empty (0 bytes)")
    return hashlib.sha256(data).hexdigest()


def _trustworthy(notes: list[_Note], checksums: dict[Path, str], root: Path) -> tuple[list[_Note], dict]:
    """The notes whose labels no other file contradicts, each content once; and what was left out."""
    same = defaultdict(list)
    for path, checksum in checksums.items():
        same[checksum].append(path)
    ours = {note.path: note for note in notes}
    kept, mislabelled, contradictions, repeated = [], {}, [], 0
    for note in notes:
        known = MISLABELLED.get(note.path.stem)
        checksum = checksums[note.path]
        if known and checksum.startswith(known.sha256):
            mislabelled[note.path.stem] = f"it is also published as {known.other}: {known.why}"
            continue
        # Files that are left out for their style or instrument may contradict, too: their labels are their names.
        labels = {_label(path, ours) for path in same[checksum]}
        if len(labels) > 1:
            names = sorted(path.relative_to(root).as_posix() for path in same[checksum])
            if names not in contradictions:
                contradictions.append(names)
        elif note.path == min(path for path in same[checksum] if path in ours):
            kept.append(note)
        else:
            repeated += 1
    return kept, {"mislabelled": mislabelled, "contradictions": contradictions, "repeated": repeated}


def _label(path: Path, ours: dict[Path, _Note]) -> tuple[str, int | str]:
    """Instrument and pitch; of a file that is not ours as far as its name gives them."""
    if path in ours:
        return ours[path].label
    found = _NAME.fullmatch(path.stem)
    if not found:
        return _class(path.parent.name), path.stem
    key = midi_key(found["pitch"].replace("s", "#"))
    return _class(found["instrument"]), found["pitch"] if key is None else key


PUBLISHED = Published(
    read,
    holds=_has_instruments,
    folders=("philharmonia", "philharmonia/philharmonia", "philharmonia/all-samples"),
    within=("philharmonia", "all-samples"),
    obtain=OBTAIN,
)

CORPORA = (
    Entry(
        name="philharmonia",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=unsigned_audio,
        audio=AUDIO,
        sound=sounds_like_a_note,
        obtain=OBTAIN,
    ),
)
