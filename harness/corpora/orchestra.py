"""The seven orchestral instruments of study 004, and what corpora of their single notes have in common."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from harness.corpora.corpus import Corpus
from harness.corpora.pocket_twin import rendering

#: In the order of the thesis' Table 1.
CLASSES = ("violin", "cello", "double_bass", "flute", "oboe", "trumpet", "tuba")

_STEPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def midi_key(name: str) -> int | None:
    """Number of the MIDI key that a pitch's name stands for.

    Parameters
    ----------
    name
        A letter, ``#`` where it is sharp, and the octave; C4 is middle C, as in all corpora of this package.

    Returns
    -------
    int or None
        0 to 127; None if that is no name of a key.

    Examples
    --------
    >>> midi_key("A#4")
    70
    """
    found = re.fullmatch(r"([A-G]#?)(-?[0-9])", name)
    if not found or found[1] not in _STEPS:
        return None
    key = 12 * (int(found[2]) + 1) + _STEPS.index(found[1])
    return key if 0 <= key <= 127 else None


def pitch_name(key: int) -> str:
    """Name of a MIDI key, the inverse of `midi_key`.

    Parameters
    ----------
    key
        0 to 127.

    Returns
    -------
    str
        For instance ``"A#4"``.
    """
    return f"{_STEPS[key % 12]}{key // 12 - 1}"


def make_corpus(
    name: str, root: Path, instruments: list[str], notes: Mapping[str, list], facts: dict, *, artist: str
) -> Corpus:
    """Make a corpus of single notes, sorted by key.

    Parameters
    ----------
    name, root
        As of `harness.corpora.corpus.Corpus`.
    instruments
        (n,) each note's class.
    notes
        Columns ``key``, ``path``, ``pitch`` (MIDI key), ``dynamic`` (as written), ``retuned`` (whether the recording's
        pitch was changed) and, where folds are published, ``fold``: (n,) each.
    facts
        What was counted while reading, beside what is counted here.
    artist
        Who plays.

    Returns
    -------
    Corpus
        Labels are one-hot and all observed; a group is an instrument and a pitch, as ``"violin A#4"``, because the
        notes of one pitch, in other dynamics, lengths or takes, are the likest to each other.
    """
    order = np.argsort(np.array(notes["key"], dtype=str), kind="stable")
    clips = pd.DataFrame({column: list(values) for column, values in notes.items()}).iloc[order]
    clips = clips.reset_index(drop=True)
    classes = np.array([CLASSES.index(instrument) for instrument in instruments])[order]
    pitches = [pitch_name(key) for key in clips["pitch"]]
    titles = [CLASSES[c].replace("_", " ") for c in classes]
    clips.insert(2, "group", [f"{CLASSES[c]} {pitch}" for c, pitch in zip(classes, pitches, strict=True)])
    clips.insert(
        3,
        "title",
        [f"{title} {pitch} {dynamic}" for title, pitch, dynamic in zip(titles, pitches, clips["dynamic"], strict=True)],
    )
    clips.insert(4, "artist", artist)
    clips["partition"] = None
    folds = clips["fold"] if "fold" in clips else pd.Series(pd.NA, index=clips.index)
    clips["fold"] = folds.astype("Int64")
    labels = np.eye(len(CLASSES), dtype=np.uint8)[classes]
    truth = root / "ground_truth"
    counted = {
        "clips": len(clips),
        "observed": labels.size,
        "positives": len(clips),
        "notes": {instrument: int(count) for instrument, count in zip(CLASSES, labels.sum(axis=0), strict=True)},
        "pitches": int(clips["group"].nunique()),
        "retuned": int(clips["retuned"].sum()),
    }
    return Corpus(
        name=name,
        root=root,
        classes=CLASSES,
        seconds=None,
        clips=clips,
        labels=labels,
        mask=np.ones(labels.shape, dtype=bool),
        facts=counted | facts | rendering(root),
        pocket=truth.is_dir(),
        ground_truth=truth if truth.is_dir() else None,
    )


def empty_classes(instruments: list[str]) -> list[str]:
    """Classes that none of the notes has, in words.

    Parameters
    ----------
    instruments
        Each note's class.

    Returns
    -------
    list of str
        In the order of `CLASSES`.
    """
    return [name.replace("_", " ") for name in CLASSES if name not in set(instruments)]
