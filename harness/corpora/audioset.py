"""AudioSet, read from its published tables with audio that the user has; the pocket twin has the same layout.

AudioSet's publisher gives labels of excerpts of videos, but no audio::

    audioset/
        class_labels_indices.csv            index, mid, display_name
        balanced_train_segments.csv         three lines of comment, then: YTID, start_seconds, end_seconds,
        eval_segments.csv                       positive_labels ("mid,mid", blanks after the commas between fields)
        audio/--PJHxphWEs_30000.wav         10 s: the video's id and where in it the excerpt starts, in milliseconds;
                                                .wav, .flac or .ogg, at any sampling rate
        checksums                           MD5 of the audio files; of a pocket twin only

Whoever gathers the audio never gets all of it, as videos vanish: excerpts without audio are left out and counted.
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.corpora.corpus import Corpus
from harness.corpora.pocket_twin import CHECKSUMS, read_checksums, rendering
from harness.corpora.published import Published
from harness.corpora.registry import Entry
from harness.errors import RepriseError

SECONDS = 10.0
CLASSES = "class_labels_indices.csv"
TRAIN, EVAL = "balanced_train_segments.csv", "eval_segments.csv"
SUFFIXES = (".wav", ".flac", ".ogg")
AUDIO = tuple(f"audio/*{suffix}" for suffix in SUFFIXES)
TABLES = (CLASSES, TRAIN, EVAL)
CONTENTS = (*TABLES, "audio/*")
YTID = re.compile(r"[A-Za-z0-9_-]{11}")


class Segment(NamedTuple):
    """An excerpt: the video's id, where it starts and ends in seconds, and its labels' mids."""

    ytid: str
    start: float
    end: float
    mids: list[str]

    @property
    def key(self) -> str:
        """Name of its audio file without the ending."""
        return f"{self.ytid}_{round(1000 * self.start)}"


def read(root: Path | str, name: str) -> Corpus:
    """Read a tree in the layout of AudioSet, with audio of the user's own or rendered.

    Every label is observed: the mask is true throughout. Excerpts without audio, and those that end with their video
    before the tenth second, are left out and counted in ``facts``.

    Parameters
    ----------
    root
        The folder that holds ``class_labels_indices.csv``.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        ``partition``: the balanced training part is train; of the evaluation part every second video in the order of
        the ids, all of the table counted, is valid and the others are test. Groups are videos.

    Raises
    ------
    RepriseError
        A table is missing or is not as published, or there is no audio at all.
    """
    root = Path(root).absolute()
    classes, mids = _classes(root)
    train, evaluation = (_segments(root, table, mids) for table in (TRAIN, EVAL))
    valid = set(sorted({segment.ytid for segment in evaluation})[::2])
    segments = {segment.key: (segment, "train") for segment in train}
    for segment in evaluation:
        if segment.key in segments:
            raise _not_as_published(root, f"{EVAL} names {segment.key}, which is in {TRAIN}")
        segments[segment.key] = (segment, "valid" if segment.ytid in valid else "test")
    files = _audio(root)
    whole = {key for key, (segment, _) in segments.items() if segment.end - segment.start >= SECONDS - 0.01}
    keys = sorted(whole & files.keys())
    if not keys:
        raise RepriseError(
            f"none of the {len(segments)} segments of {name} has audio: put files as audio/{next(iter(segments))}.wav "
            f"into {root}, or use pocket-audioset"
        )
    labels = np.zeros((len(keys), len(classes)), np.uint8)
    for row, key in enumerate(keys):
        labels[row, [mids[mid] for mid in segments[key][0].mids]] = 1
    clips = pd.DataFrame(
        {
            "key": keys,
            "path": [str(files[key]) for key in keys],
            "group": [segments[key][0].ytid for key in keys],
            "title": "",
            "artist": "",
            "partition": [segments[key][1] for key in keys],
        }
    )
    truth = root / "ground_truth"
    return Corpus(
        name=name,
        root=root,
        classes=classes,
        seconds=SECONDS,
        clips=clips,
        labels=labels,
        mask=np.ones(labels.shape, dtype=bool),
        facts={
            "clips": len(clips),
            "segments": len(segments),
            "segments_without_audio": len(whole - files.keys()),
            "segments_too_short": len(segments) - len(whole),
            "observed": labels.size,
            "positives": int(labels.sum()),
            "density": 1.0,
            "labels_per_clip": float(labels.sum() / len(clips)),
            **rendering(root),
        },
        pocket=truth.is_dir(),
        ground_truth=truth if truth.is_dir() else None,
    )


def audio_checksums(root: Path | str) -> dict[str, str | None]:
    """Checksums of the audio files, where the tree lists them.

    Parameters
    ----------
    root
        The corpus's folder.

    Returns
    -------
    dict of str to str or None
        MD5 by path relative to `root`. None for every file of a user's own.

    Raises
    ------
    RepriseError
        A pocket twin's list cannot be read.
    """
    root = Path(root)
    if (root / CHECKSUMS).is_file() or (root / "ground_truth").is_dir():
        return dict(read_checksums(root))
    return {path.relative_to(root).as_posix(): None for path in _audio(root).values()}


def is_sound(path: Path) -> bool:
    """Whether a file is audio of about ten seconds.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    bool
        By its header; nothing is decoded.
    """
    import soundfile  # here, as reading the tables needs no audio library

    try:
        return abs(soundfile.info(path).duration - SECONDS) < 0.5
    except soundfile.LibsndfileError:
        return False


def _not_as_published(root: Path, what: str) -> RepriseError:
    if (root / "ground_truth").is_dir():
        return RepriseError(f"{what}: delete the folder {root} and it will be rendered again")
    return RepriseError(f"{what}: put the tables as published (research.google.com/audioset) into {root}")


def _rows(root: Path, name: str) -> list[tuple[int, list[str]]]:
    """Number and fields of every line that is neither empty nor a comment."""
    try:
        lines = (root / name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:  # a bad encoding is a ValueError
        raise _not_as_published(root, f"{root / name} cannot be read ({error})") from None
    # Line by line, so that a quotation mark that is never closed spoils one line and not all that follow.
    try:
        return [
            (number, next(csv.reader([line], skipinitialspace=True)))
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("#")
        ]
    except csv.Error as error:
        raise _not_as_published(root, f"{root / name} cannot be read ({error})") from None


def _classes(root: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    rows = _rows(root, CLASSES)
    if not rows or rows[0][1] != ["index", "mid", "display_name"]:
        raise _not_as_published(root, f"{root / CLASSES} has not the columns index, mid, display_name")
    rows = rows[1:]
    if not rows or [row[0] for _, row in rows] != [str(number) for number in range(len(rows))]:
        raise _not_as_published(root, f"{root / CLASSES} does not number the classes from 0 without a gap")
    if odd := next((number for number, row in rows if len(row) != 3 or not row[1] or not row[2]), None):
        raise _not_as_published(root, f"line {odd} of {root / CLASSES} has no mid or no name")
    names, mids = [row[2] for _, row in rows], {row[1]: place for place, (_, row) in enumerate(rows)}
    if len(set(names)) < len(names) or len(mids) < len(rows):
        raise _not_as_published(root, f"{root / CLASSES} has a name or a mid twice")
    return tuple(names), mids


def _segments(root: Path, name: str, mids: dict[str, int]) -> list[Segment]:
    segments, keys = [], set()
    for line, row in _rows(root, name):
        where = f"line {line} of {root / name}"
        if len(row) != 4:
            raise _not_as_published(
                root, f"{where} has {len(row)} fields and not YTID, start_seconds, end_seconds, positive_labels"
            )
        try:
            segment = Segment(row[0], float(row[1]), float(row[2]), row[3].split(","))
        except ValueError:
            segment = None
        if segment is None or not 0 <= segment.start < segment.end < 10**6:
            raise _not_as_published(root, f"{where} has no start and end in seconds")
        if not YTID.fullmatch(segment.ytid):
            raise _not_as_published(root, f"{where} names {segment.ytid!r}, which is no id of a video")
        if (unknown := next((mid for mid in segment.mids if mid not in mids), None)) is not None:
            raise _not_as_published(root, f"{where} has the mid {unknown!r}, which {CLASSES} lacks")
        if segment.key in keys:
            raise _not_as_published(root, f"{where} names {segment.key} for the second time")
        keys.add(segment.key)
        segments.append(segment)
    if not segments:
        raise _not_as_published(root, f"{root / name} names no segment")
    return segments


def _audio(root: Path) -> dict[str, Path]:
    """Audio files by key; of a clip in several formats the first of `SUFFIXES` counts."""
    return {path.stem: path for pattern in reversed(AUDIO) for path in sorted(root.glob(pattern))}


PUBLISHED = Published(
    read,
    holds=lambda folder: (folder / CLASSES).is_file(),
    folders=("audioset",),
    obtain="it is published without audio, so use the released weights or pocket-audioset, or see "
    "`reprise data status audioset` for where audio of your own goes",
)

CORPORA = (
    Entry(
        name="audioset",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=audio_checksums,
        audio=AUDIO,
        sound=is_sound,
        obtain="AudioSet is published as ids of videos with labels, without audio, and the released VGGish weights, "
        "which were trained on such videos, stand for it here; to train on audio of your own, put the tables "
        f"{', '.join(TABLES)} and 10-s files audio/<YTID>_<start in ms>.wav (or .flac, .ogg) into this folder",
    ),
)
