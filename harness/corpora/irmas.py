"""IRMAS, read from its published layout; the pocket twin is written in the same and read by the same reader.

The layout, as the four archives (DOI 10.5281/zenodo.1290750) unpack; folders are found at whatever depth::

    irmas/
        IRMAS-TrainingData/cel/008__[cel][nod][cla]0058__1.wav      3 s; a folder for each of the eleven instruments
        IRMAS-TrainingData/org/[org][jaz_blu]0123__2.wav            the other style of names
        IRMAS-TestingData-Part1/Part1/NAME-7.wav                    5 to 20 s of a song, stereo, 44.1 kHz, 16 bit
        IRMAS-TestingData-Part1/Part1/NAME-7.txt                    its instruments, each on a line that ends in a tab
        IRMAS-TestingData-Part2/IRTestingData-Part2/...
        IRMAS-TestingData-Part3/Part3/...
        checksums                                                   MD5 of the audio files; of a pocket twin only

A training clip has one label, its predominant instrument: the folder, which the first bracket of its name repeats. The
others say whether there are drums (``[dru]``, ``[nod]``) and the genre, among which ``[cla]`` is classical music and
not the clarinet. ``0058`` numbers the song; three clips of it are usual, so that a split by clips leaks. A test
mixture has one to five labels, and the mixtures of a song differ in the number that ends their names.

Bosch, Janer, Fuhrmann and Herrera, A comparison of sound segregation techniques for predominant instrument
recognition in musical audio signals, ISMIR 2012.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.corpora.archives import Archive
from harness.corpora.corpus import Corpus
from harness.corpora.pocket_twin import rendering
from harness.corpora.published import Published
from harness.corpora.registry import Entry, Source
from harness.corpora.split_zip import unpack_zips
from harness.errors import RepriseError
from harness.storage import fingerprint
from harness.terminal import tell_once

#: The codes that folders and label files use, and what they stand for.
INSTRUMENTS = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "acoustic guitar",
    "gel": "electric guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
CLASSES = tuple(INSTRUMENTS)
#: Published training clips of each class, and test mixtures in which each is a label.
TRAINING = dict(zip(CLASSES, (388, 505, 451, 637, 760, 682, 721, 626, 577, 580, 778), strict=True))
TEST = dict(zip(CLASSES, (111, 62, 163, 535, 942, 361, 995, 326, 167, 211, 1044), strict=True))
MIXTURES = 2874
#: Test mixtures by their number of labels.
LABELS_PER_MIXTURE = {1: 1236, 2: 1278, 3: 318, 4: 39, 5: 3}
#: Songs that the training clips are of, by their names up to the number of the clip. Names that differ in nothing but
#: the running number which some begin with count as two here, and are one song's for the splits.
SONGS = 2273
RATE = 44100
#: Seconds below which a clip is no use: a training clip has 3.0, and of a mixture a window of one second is looked at.
LEAST = {"train": 2.9, "test": 1.0}
#: Lines on standard error about single files; what more there is only its number tells.
TOLD = 10

CONTENTS = (
    *(f"**/{code}/*.wav" for code in CLASSES),
    *(f"**/*Part{number}/*.{suffix}" for number in (1, 2, 3) for suffix in ("wav", "txt")),
)
AUDIO = ("**/*.wav",)
#: Folders one of which makes a folder this corpus's.
_FOLDERS = ("IRMAS-TrainingData", "IRMAS-TestingData*", "IRTestingData-Part*", "Part[123]", *CLASSES)
#: Running number of another list, brackets, song, number of the excerpt.
_TRAINING_NAME = re.compile(r"(?:[0-9]+__)?(?P<song>(?P<brackets>(?:\[[^\]]*\])*).*?)(?:__[0-9]+)?")


@dataclass(frozen=True)
class _Clip:
    """An audio file, what its place and name say, and what its header does."""

    path: Path
    key: str
    song: str
    partition: str
    codes: tuple[str, ...]
    seconds: float = 0.0
    bytes: int = 0


class _Unusable(Exception):  # noqa: N818  (never leaves this module)
    """Why a file is left out, in words that go on after its name."""


def read(root: Path | str, name: str) -> Corpus:
    """Read a tree in the layout of IRMAS, published or pocket, whole or in part.

    A WAV file in a folder that is called like a class is a training clip, any other a test mixture. What cannot be
    used is left out, what is unusual is noted, and both are told on standard error and in ``facts``, by file.

    Parameters
    ----------
    root
        The folder that holds the unpacked archives, or some of them.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        `CLASSES`; ``labels`` with one instrument for each training clip and up to five for each mixture. A key is the
        file's name without its suffix, followed by its folder's in brackets where a file in another folder has the
        same. ``clips["group"]`` is the song, ``clips["partition"]`` is ``"train"`` or ``"test"``, and
        ``clips["seconds"]`` is the length. Of ``facts``, ``training`` and ``test`` count labels; ``complete`` says
        whether the training clips of each class and the mixtures are as many as published; ``left_out`` and ``noted``
        give reasons by the files' paths. Published audio files have no checksums here (11 GB would have to be read):
        ``audio_checksums`` is made of their names and sizes.

    Raises
    ------
    RepriseError
        Nothing in there can be used, or a file is there twice.
    """
    root = Path(root).absolute()
    audio, texts = _files(root)
    left_out, noted, clips = {}, {}, []
    for path in audio:
        where = path.relative_to(root).as_posix()
        try:
            clip, remarks = _training_clip(path) if path.parent.name in CLASSES else _mixture(path, texts)
            clip, more = _measured(clip)
        except _Unusable as error:
            left_out[where] = str(error)
            continue
        clips.append(clip)
        if remarks + more:
            noted[where] = "; ".join(remarks + more)
    with_audio = {(path.parent, _plain(path.stem)) for path in audio}
    for place, path in texts.items():
        if place not in with_audio and not path.name.lower().startswith(("readme", "licen")):
            left_out[path.relative_to(root).as_posix()] = "there is no audio file with its name"
    pocket = (root / "ground_truth").is_dir()
    if not clips:
        raise RepriseError(
            f"{root} has no audio file that can be used ({len(left_out):,} cannot): "
            + ("delete that folder and it will be rendered again" if pocket else f"run `reprise data fetch {name}`")
        )
    clips = sorted(_with_keys(clips, root), key=lambda clip: clip.key)
    labels = np.array([[code in clip.codes for code in CLASSES] for clip in clips], dtype=np.uint8)
    facts = _counts(clips, labels) | {"left_out": dict(sorted(left_out.items())), "noted": dict(sorted(noted.items()))}
    facts["audio_checksums"] = fingerprint({clip.key: clip.bytes for clip in clips}, length=64)
    _tell(name, facts, pocket)
    return Corpus(
        name=name,
        root=root,
        classes=CLASSES,
        seconds=None,
        clips=pd.DataFrame(
            {
                "key": [clip.key for clip in clips],
                "path": [str(clip.path) for clip in clips],
                "group": [clip.song for clip in clips],
                "title": [clip.song for clip in clips],
                "artist": None,
                "partition": [clip.partition for clip in clips],
                "seconds": [clip.seconds for clip in clips],
            }
        ),
        labels=labels,
        mask=np.ones(labels.shape, dtype=bool),
        facts=facts | rendering(root),
        pocket=pocket,
        ground_truth=root / "ground_truth" if pocket else None,
    )


def unsigned_audio(root: Path | str) -> dict[str, str | None]:
    """Audio files that are there; no checksums of them are published.

    Parameters
    ----------
    root
        The corpus's folder.

    Returns
    -------
    dict of str to None
        By path relative to `root`.
    """
    root = Path(root)
    return {path.relative_to(root).as_posix(): None for path in _files(root)[0]}


def is_excerpt(path: Path) -> bool:
    """Whether a file has the form of these: WAV, 44.1 kHz, stereo, of a length that can be used.

    Parameters
    ----------
    path
        An audio file.

    Returns
    -------
    bool
    """
    import soundfile  # here, as whoever asks for the table of corpora looks into no audio file

    try:
        found = soundfile.info(path)
    except (OSError, RuntimeError):
        return False
    least = LEAST["train" if path.parent.name in CLASSES else "test"]
    return (found.format, found.samplerate, found.channels) == ("WAV", RATE, 2) and found.frames >= least * RATE


def _plain(text: str) -> str:
    """The composed form: some names have accents, which file systems store in two ways."""
    return unicodedata.normalize("NFC", text)


def _files(root: Path) -> tuple[list[Path], dict[tuple[Path, str], Path]]:
    """Audio files, and label files by folder and name; hidden ones, as some packers add them, are passed over."""
    audio, texts = [], {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if parts[0] in ("ground_truth", "__MACOSX") or any(part.startswith(".") for part in parts):
            continue
        if path.suffix.lower() == ".wav":
            audio.append(path)
        elif path.suffix.lower() == ".txt" and path.parent.name not in CLASSES:
            texts[path.parent, _plain(path.stem)] = path
    return audio, texts


def _training_clip(path: Path) -> tuple[_Clip, list[str]]:
    stem, folder, remarks = _plain(path.stem), path.parent.name, []
    found = _TRAINING_NAME.fullmatch(stem)
    stated = re.findall(r"\[([^\]]*)\]", found["brackets"])
    if not stated:
        remarks.append(f"its name has no brackets, its class {folder} is its folder's")
    elif stated[0] != folder:
        remarks.append(f"its name says {stated[0]}, its class {folder} is its folder's")
    return _Clip(path, stem, found["song"] or stem, "train", (folder,)), remarks


def _mixture(path: Path, texts: dict[tuple[Path, str], Path]) -> tuple[_Clip, list[str]]:
    stem = _plain(path.stem)
    text = texts.get((path.parent, stem))
    if text is None:
        raise _Unusable("there is no label file with its name, and its folder is no class's")
    try:
        lines = text.read_bytes().decode("utf-8", errors="replace").split("\n")
    except OSError as error:
        raise _Unusable(f"its label file cannot be read ({error.strerror})") from None
    codes = [line.strip()[:3] for line in lines if line.strip()]
    if not codes:
        raise _Unusable("its label file is empty")
    if unknown := sorted(set(codes) - set(CLASSES)):
        raise _Unusable(f"its label file has {' and '.join(map(repr, unknown))}, which is no instrument's code")
    return _Clip(path, stem, re.sub(r"-[0-9]+$", "", stem), "test", tuple(sorted(set(codes)))), []


def _measured(clip: _Clip) -> tuple[_Clip, list[str]]:
    import soundfile

    try:
        found = soundfile.info(clip.path)
    except (OSError, RuntimeError):
        raise _Unusable("it is no audio file, or a broken one") from None
    seconds = found.frames / found.samplerate
    if seconds < LEAST[clip.partition]:
        kind = "training clip" if clip.partition == "train" else "mixture"
        raise _Unusable(f"it lasts {seconds:.2f} s, and a {kind} is at least {LEAST[clip.partition]:g} s long")
    remarks = []
    if found.channels != 2:
        remarks.append("it is mono, which is kept" if found.channels == 1 else f"it has {found.channels} channels")
    if found.samplerate != RATE:
        remarks.append(f"its sample rate is {found.samplerate:,} Hz, from which it is resampled")
    return replace(clip, seconds=round(seconds, 3), bytes=clip.path.stat().st_size), remarks


def _with_keys(clips: list[_Clip], root: Path) -> list[_Clip]:
    """The clips, those of one name told apart by their folders."""
    names = Counter(clip.key for clip in clips)
    clips = [
        replace(clip, key=f"{clip.key} ({clip.path.parent.name})") if names[clip.key] > 1 else clip for clip in clips
    ]
    places = defaultdict(list)
    for clip in clips:
        places[clip.key].append(clip.path.relative_to(root).as_posix())
    for paths in places.values():
        if len(paths) > 1:
            raise RepriseError(f"{root} has both {paths[0]} and {paths[1]}: move one of the two copies away")
    return clips


def _counts(clips: list[_Clip], labels: np.ndarray) -> dict:
    train = np.array([clip.partition == "train" for clip in clips])
    training, test = (dict(zip(CLASSES, labels[rows].sum(axis=0).tolist(), strict=True)) for rows in (train, ~train))
    mixtures = int((~train).sum())
    return {
        "clips": len(clips),
        "observed": labels.size,
        "positives": int(labels.sum()),
        "training_clips": int(train.sum()),
        "test_mixtures": mixtures,
        "training": training,
        "test": test,
        "labels_per_mixture": {str(n): int(k) for n, k in sorted(Counter(labels[~train].sum(axis=1).tolist()).items())},
        "training_names": len(
            {re.sub(r"__[0-9]+$", "", _plain(clip.path.stem)) for clip in clips if clip.partition == "train"}
        ),
        "songs": {part: len({clip.song for clip in clips if clip.partition == part}) for part in ("train", "test")},
        "complete": training == TRAINING and mixtures == MIXTURES,
    }


def _tell(name: str, facts: dict, pocket: bool) -> None:
    """Say on standard error what the corpus lacks and what of it is left out or odd."""
    lines = [f"{name}: left out {path}: {why}" for path, why in facts["left_out"].items()]
    lines += [f"{name}: {path}: {what}" for path, what in facts["noted"].items()]
    if len(lines) > TOLD:
        lines[TOLD:] = [f"{name}: and {len(lines) - TOLD:,} more files, which facts['left_out'] and ['noted'] tell"]
    if not facts["complete"] and not pocket:
        here = f"{facts['training_clips']:,} of {sum(TRAINING.values()):,} training clips"
        absent = [INSTRUMENTS[code] for code in CLASSES if not facts["training"][code]]
        lines.append(
            f"{name}: {here} and {facts['test_mixtures']:,} of {MIXTURES:,} test mixtures are here"
            + (f", and no training clip of {', '.join(absent)}" if absent else "")
        )
    elif facts["complete"]:
        lines += [f"{name}: {what}" for what in _unlike_published(facts)]
    for line in lines:
        tell_once(line)


def _unlike_published(facts: dict) -> list[str]:
    """What of a complete corpus is not as published, beside the counts that make it complete."""
    said, per_mixture = [], {str(number): count for number, count in LABELS_PER_MIXTURE.items()}
    for counted, published, form in (
        (facts["test"], TEST, "{} of {}"),
        (facts["labels_per_mixture"], per_mixture, "{} mixtures with {} label(s)"),
    ):
        keys = [*published, *sorted(counted.keys() - published.keys())]
        pairs = [(key, counted.get(key, 0), published.get(key, 0)) for key in keys]
        odd = [f"{form.format(f'{here:,}', key)} and not {there:,}" for key, here, there in pairs if here != there]
        if odd:
            said.append(f"the label files give {', '.join(odd)}: they are not as published")
    if (names := facts["training_names"]) != SONGS:
        said.append(
            f"the training clips are of {names:,} songs by their names and not of {SONGS:,}: files were renamed"
        )
    return said


def _begun(folder: Path) -> bool:
    return any(path.is_dir() for pattern in _FOLDERS for path in folder.glob(pattern))


_RECORD = "https://zenodo.org/record/1290750/files"

PUBLISHED = Published(
    read, holds=_begun, folders=("irmas", "irmas/IRMAS", "IRMAS", "IRMAS/IRMAS"), within=("irmas", "IRMAS")
)

CORPORA = (
    Entry(
        name="irmas",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=unsigned_audio,
        audio=AUDIO,
        sound=is_excerpt,
        source=Source(
            title="IRMAS: 6,705 training clips of 3 s with one predominant instrument of eleven, and 2,874 mixtures of "
            "5 to 20 s with one to five",
            archives=(
                Archive(f"{_RECORD}/IRMAS-TrainingData.zip?download=1", None, "4fd9f5ed5a18d8e2687e6360b5f60afe"),
                Archive(f"{_RECORD}/IRMAS-TestingData-Part1.zip?download=1", None, "5a2e65520dcedada565dff2050bb2a56"),
                Archive(f"{_RECORD}/IRMAS-TestingData-Part2.zip?download=1", None, "afb0c8ea92f34ee653693106be95c895"),
                Archive(f"{_RECORD}/IRMAS-TestingData-Part3.zip?download=1", None, "9b3fb2d0c89cdc98037121c25bd5b556"),
            ),
            licence="CC BY-NC-SA 3.0, for use that is not commercial; it must not be passed on or changed",
            doi="10.5281/zenodo.1290750",
            citation="Bosch, Janer, Fuhrmann and Herrera, A comparison of sound segregation techniques for predominant "
            "instrument recognition in musical audio signals, ISMIR 2012",
            download_bytes=11_000_000_000,
            unpacked_bytes=12_000_000_000,
            notes="the sizes are estimated from the clips' lengths",
            unpack=unpack_zips,
        ),
    ),
)
