"""GTZAN, read from its published layout, whole or in part; the pocket twin is written in the same.

The layout, as unpacked from ``genres.tar.gz``::

    gtzan/
        genres/blues/blues.00000.wav     22,050 Hz, mono, 16 bit, about 30 s; 100 of each of ten genres; also .au
        artists.csv                      optional: key,artist
        train_filtered.txt ...           optional: another division than the built-in one, in three lists
        checksums                        MD5 of the audio files; of a pocket twin only

The copy on Kaggle has ``genres_original`` in place of ``genres`` and lacks a sound ``jazz.00054``, so that 999 tracks
are as normal as 1,000. What a folder holds beyond or short of that is read as far as it goes: a file that cannot be
used is left out and named, on standard error and in the corpus's facts.

Tzanetakis and Cook, Musical genre classification of audio signals, IEEE Transactions on Speech and Audio Processing,
2002. On its faults: Sturm, The state of the art ten years after a state of the art, 2013; on the division: Kereliuk,
Sturm and Larsen, Deep learning and music adversaries, 2015.
"""

import csv
import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd

from harness.corpora.archives import Archive
from harness.corpora.corpus import Corpus
from harness.corpora.gtzan_filtered import GENRES, PARTS, TRACKS, published_parts, read_lists, track_key
from harness.corpora.pocket_twin import rendering
from harness.corpora.published import Published
from harness.corpora.registry import Entry, Source
from harness.errors import RepriseError
from harness.terminal import tell_once

RATE = 22050
#: Seconds: published tracks have 660,000 to 675,808 samples (29.93 to 30.65 s). Whatever is of another length is no
#: such excerpt, or its header lies about its rate.
SHORTEST, LONGEST = 29.9, 31.0
#: Folders, relative to the corpus's, that may hold those of the genres: as published, on Kaggle, as mirdata puts them.
FOLDERS = ("genres", "genres_original", "Data/genres_original", "gtzan_genre/genres", ".")
ARTISTS = "artists.csv"
SUFFIXES = (".wav", ".au")
CONTENTS = tuple(f"**/{genre}/{genre}.?????.*" for genre in GENRES)
AUDIO = tuple(f"**/{genre}/{genre}.?????{suffix}" for genre in GENRES for suffix in SUFFIXES)
#: Lines on standard error before the rest is only counted.
TOLD = 10

OBTAIN = "run `reprise data fetch gtzan`, or set REPRISE_DATA to the folder that holds gtzan"


def read(root: Path | str, name: str) -> Corpus:
    """Read a tree in the layout of GTZAN, published or pocket, whole or in part.

    Of every audio file the header is read and nothing decoded. Left out are files that are no audio or hold less than
    their header promises, that are shorter than `SHORTEST` or longer than `LONGEST`, whose name does not fit their
    folder, or that lie in the folder of another genre than the ten. Tracks of several channels or another rate are
    kept, and noted: whoever decodes them averages and resamples. Of a track that is there as .wav and as .au the former
    is taken. What is not as published is told on standard error, except of a pocket twin, which must be as rendered.

    Parameters
    ----------
    root
        The corpus's folder, that of the genres' folders, or one that holds the latter under a name of `FOLDERS`.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        Classes are the ten genres, however few are there. ``clips["partition"]`` is the part in the fault-filtered
        division, missing for the faulty tracks; ``clips["group"]`` the artist where ``artists.csv`` knows one.
        ``facts``: ``tracks`` of each genre; ``complete``: whether 1,000 published tracks are there, or 999;
        ``left_out`` and ``noted``: reasons by file; ``filtered``: tracks of each part that are there;
        ``lists``: ``"built in"`` or ``"of the tree"``; ``audio_checksums``: see `fingerprint_of`, of a pocket
        twin the SHA-256 of its ``checksums``.

    Raises
    ------
    RepriseError
        There are no usable tracks, a list or ``artists.csv`` is not one, or a pocket twin is not as rendered.
    """
    root = Path(root).absolute()
    pocket = (root / "ground_truth").is_dir()
    folder = _genres_folder(root)
    kept, left_out, noted = _usable(folder)
    if pocket:
        _check_twin(root, len(kept), left_out | noted)
    if not kept:
        why = f" ({len(left_out):,} files were left out: {next(iter(left_out.items()))[1]})" if left_out else ""
        raise RepriseError(f"there are no usable tracks of gtzan in {folder}{why}: {OBTAIN}")
    beside = root if folder == root and folder.name not in FOLDERS else folder.parent
    artists, brought = _artists(beside / ARTISTS), read_lists(beside)
    parts = brought if brought is not None else published_parts()
    keys = sorted(kept)
    partition = [parts.get(key) for key in keys]
    genres = np.array([GENRES.index(key.partition(".")[0]) for key in keys])
    labels = np.eye(len(GENRES), dtype=np.uint8)[genres]
    made = rendering(root)
    published = sum(int(key.rpartition(".")[2]) < TRACKS for key in keys)
    facts = {
        "clips": len(keys),
        "tracks": {genre: int((genres == number).sum()) for number, genre in enumerate(GENRES)},
        "complete": published >= len(GENRES) * TRACKS - 1,
        "left_out": left_out,
        "noted": noted,
        "filtered": {part: partition.count(part) for part in PARTS},
        "lists": "built in" if brought is None else "of the tree",
        "artists": len({artists[key] for key in keys if key in artists}),
        **({} if "audio_checksums" in made else {"audio_checksums": fingerprint_of([kept[key] for key in keys])}),
    }
    if not pocket:
        _tell(name, folder, facts)
    known = pd.Series([artists.get(key) for key in keys], dtype=object)
    clips = pd.DataFrame(
        {
            "key": keys,
            "path": [str(kept[key]) for key in keys],
            "group": known,
            "title": [f"{key.partition('.')[0]} {int(key.rpartition('.')[2])}" for key in keys],
            "artist": known,
            "partition": pd.Series(partition, dtype=object),
        }
    )
    truth = root / "ground_truth"
    return Corpus(
        name=name,
        root=root,
        classes=GENRES,
        seconds=None,
        clips=clips,
        labels=labels,
        mask=np.ones(labels.shape, dtype=bool),
        facts=facts | made,
        pocket=pocket,
        ground_truth=truth if pocket else None,
    )


def fingerprint_of(paths: list[Path]) -> str:
    """Tell apart copies of the corpus without reading 1.3 GB at every start.

    Parameters
    ----------
    paths
        The tracks' files.

    Returns
    -------
    str
        SHA-256 over each file's name, its size, and 4 KiB from its beginning, its middle and its end. Two copies that
        differ only elsewhere within files are not told apart; ``reprise data audit`` reads everything.
    """
    digest = hashlib.sha256()
    block = 4096
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.parent.name}/{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            for start in (0, size // 2, max(0, size - block)):
                file.seek(start)
                digest.update(file.read(block))
    return digest.hexdigest()


def unsigned_audio(root: Path | str) -> dict[str, str | None]:
    """Audio files that a whole tree has; there are no published checksums of them.

    Parameters
    ----------
    root
        The corpus's folder.

    Returns
    -------
    dict of str to None
        By path relative to `root`: what is there, and of the 1,000 published tracks those that are not.
    """
    root = Path(root).absolute()
    folder = _genres_folder(root)
    files, _ = _files(folder)
    listed = {path for paths in files.values() for path in paths}
    for genre in GENRES:
        for number in range(TRACKS):
            if (key := track_key(genre, number)) not in files:
                listed.add(folder / genre / f"{key}.wav")
    return {path.relative_to(root).as_posix(): None for path in sorted(listed)}


def sounds_like_a_track(path: Path) -> bool:
    """Whether a file has the form of GTZAN's: WAV or AU, 22,050 Hz, mono, whole, about 30 s long.

    Parameters
    ----------
    path
        An audio file.

    Returns
    -------
    bool
    """
    return _probe(path) == ("", [])


def _genres_folder(root: Path) -> Path:
    """The folder that holds those of the genres; where there is none, the one that should."""
    candidates = [root if name == "." else root / name for name in FOLDERS]
    return next((folder for folder in candidates if any((folder / genre).is_dir() for genre in GENRES)), candidates[0])


def _files(folder: Path) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Files by the key they are named after, a .wav before an .au; and what is left out by its name alone."""
    files: dict[str, list[Path]] = {}
    left_out: dict[str, str] = {}
    for inside in sorted(path for path in folder.glob("*") if path.is_dir() and not path.name.startswith((".", "_"))):
        # Files that begin with a dot are those that macOS leaves in archives.
        audio = [p for p in sorted(inside.iterdir()) if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
        if inside.name not in GENRES:
            if audio:
                left_out[f"{inside.name}/"] = f"its {len(audio):,} audio files are of none of the ten genres"
            continue
        for path in sorted(audio, key=lambda path: (path.stem, SUFFIXES.index(path.suffix.lower()))):
            if re.fullmatch(rf"{inside.name}\.[0-9]{{5}}", path.stem):
                files.setdefault(path.stem, []).append(path)
            else:
                left_out[f"{inside.name}/{path.name}"] = f"its name is not {inside.name}.<five digits>, as its folder's"
    return files, left_out


def _usable(folder: Path) -> tuple[dict[str, Path], dict[str, str], dict[str, str]]:
    """The file of each track by key, why others are left out, and what there is to note of those that are kept."""
    files, left_out = _files(folder)
    kept: dict[str, Path] = {}
    notes: dict[str, list[str]] = {}
    for key, candidates in sorted(files.items()):
        for path in candidates:
            if key in kept:
                notes[key].append(f"{path.name} is there, too, and not used")
                continue
            reason, remarks = _probe(path)
            if reason:
                left_out[path.relative_to(folder).as_posix()] = reason
            else:
                kept[key], notes[key] = path, remarks
    noted = {kept[key].relative_to(folder).as_posix(): "; ".join(some) for key, some in notes.items() if some}
    return kept, left_out, noted


def _probe(path: Path) -> tuple[str, list[str]]:
    """Why a file cannot be used, empty of one that can; and what there is to note of that."""
    import soundfile  # here, as a list of corpora needs none

    if path.is_dir():
        return "it is a folder", []
    if not path.is_file():
        return "it is a link to nothing" if path.is_symlink() else "it is no file", []
    try:
        with soundfile.SoundFile(path) as file:
            frames, rate, channels = file.frames, file.samplerate, file.channels
            form, log = file.format, file.extra_info
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})", []
    except RuntimeError:
        if path.stat().st_size == 0:
            return "it is empty (0 bytes)", []
        try:
            with open(path, "rb") as file:
                known = file.read(4) in (b"RIFF", b".snd")
        except OSError as error:
            return f"it cannot be read ({error.strerror or error})", []
        return "its header is damaged" if known else f"it is no audio but named {path.suffix}", []
    # libsndfile reads on where the data are shorter than the header says, and only notes it. An AU file that was
    # written into a pipe says 2**32 - 1.
    for said, there in re.findall(r"\bdata(?: size)?\s*:\s*(\d+) \(should be (\d+)\)", log, re.IGNORECASE):
        if int(there) < int(said) < 0x7FFF0000:
            return f"it is cut short: {int(there):,} bytes of audio are there of {int(said):,}", []
    if form == "RAW":  # which libsndfile takes an .au file without a header for
        return f"it is no audio but named {path.suffix}", []
    if form not in ("WAV", "WAVEX", "AU"):
        return f"it is no {path.suffix} file but {form}", []
    if not SHORTEST * rate <= frames <= LONGEST * rate:
        return f"it is {frames / rate:.1f} s long at {rate:,} Hz, and tracks have 30 s", []
    remarks = []
    if channels != 1:
        remarks.append(f"it has {channels} channels, which are averaged")
    if rate != RATE:
        remarks.append(f"it has {rate:,} Hz and is resampled")
    return "", remarks


def _artists(path: Path) -> dict[str, str]:
    """Artist by key, of those that the tree knows."""
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise RepriseError(f"{path} cannot be read ({error}): put a sound copy in its place, or delete it") from None
    if any(row.get("key") is None or row.get("artist") is None for row in rows):
        raise RepriseError(f"{path} is no table with the columns key,artist: mend it, or delete it")
    return {row["key"]: row["artist"].strip() for row in rows if row["artist"].strip()}


def _check_twin(root: Path, tracks: int, odd: dict[str, str]) -> None:
    size = rendering(root)["parameters"].get("size")
    if odd or tracks != size:
        first = next((f", first {where}: {why}" for where, why in odd.items()), "")
        raise RepriseError(
            f"{root} has {tracks:,} sound tracks of the {size} that were rendered{first}: delete that folder and it "
            "will be rendered again"
        )


def _tell(name: str, folder: Path, facts: dict) -> None:
    """Say on standard error what is not as published, and what was done."""
    lines = []
    if not facts["complete"]:
        empty = [genre for genre, count in facts["tracks"].items() if not count]
        none = f", none of {', '.join(empty)}" if empty else ""
        lines.append(f"{facts['clips']:,} of {len(GENRES) * TRACKS:,} tracks are in {folder}{none}")
    lines += [f"left out {where}: {why}" for where, why in facts["left_out"].items()]
    lines += [f"kept {where}: {why}" for where, why in facts["noted"].items()]
    more = [f"and {len(lines) - TOLD:,} more, all in the corpus's facts"] if len(lines) > TOLD else []
    for line in lines[:TOLD] + more:
        tell_once(f"{name}: {line}")


def _holds(folder: Path) -> bool:
    return any((folder / name / genre).is_dir() for name in FOLDERS for genre in GENRES)


PUBLISHED = Published(
    read,
    holds=_holds,
    folders=("gtzan", "GTZAN", "gtzan_genre", "genres", "genres_original"),
    within=("gtzan", "GTZAN"),
)

CORPORA = (
    Entry(
        name="gtzan",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=unsigned_audio,
        audio=AUDIO,
        sound=sounds_like_a_track,
        source=Source(
            title="GTZAN: 1,000 tracks of 30 s, 100 of each of ten genres",
            archives=(
                Archive(
                    "https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz",
                    md5="5b3d6dddb579ab49814ab86dba69e7c7",
                ),
            ),
            licence="none is stated, and the recordings are commercial ones: for your own study, never to be passed on",
            doi="10.1109/TSA.2002.800560",
            citation="Tzanetakis and Cook, Musical genre classification of audio signals, IEEE Transactions on Speech "
            "and Audio Processing 10(5), 2002",
            download_bytes=1_230_000_000,
            unpacked_bytes=1_330_000_000,
            notes="the authors' own address is gone; this is the copy that people of their project, Marsyas, keep, and "
            "another is on Kaggle (andradaolteanu/gtzan-dataset-music-genre-classification). Some tracks are repeated, "
            "mislabelled or distorted (Sturm, 2013): the split published leaves those out",
        ),
    ),
)
