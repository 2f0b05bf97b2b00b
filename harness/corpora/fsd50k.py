"""FSD50K, read from its published layout; the pocket twin is written in the same and read by the same reader.

The layout of version 1.0 (DOI 10.5281/zenodo.4060432)::

    fsd50k/
        FSD50K.dev_audio/64760.wav                           0.3 to 30 s, mono, 44.1 kHz; the name is Freesound's number
        FSD50K.eval_audio/37199.wav
        FSD50K.ground_truth/dev.csv                          fname, labels, mids, split (train or val)
        FSD50K.ground_truth/eval.csv                         fname, labels, mids
        FSD50K.ground_truth/vocabulary.csv                   index, label, mid; no header
        FSD50K.metadata/dev_clips_info_FSD50K.json           {"64760": {"title", "description", "tags", "license",
        FSD50K.metadata/eval_clips_info_FSD50K.json              "uploader"}}
        checksums                                            MD5 of the audio files; of a pocket twin only

A clip's labels hold their ancestors in AudioSet's ontology too: a guitar is also a musical instrument and music. The
tags are free words of the people who put the sounds on Freesound.
"""

import functools
import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from harness.corpora.archives import Archive
from harness.corpora.corpus import Corpus
from harness.corpora.pocket_twin import CHECKSUMS, read_checksums, rendering
from harness.corpora.published import Published
from harness.corpora.registry import Entry, Source
from harness.corpora.split_zip import unpack_zips
from harness.errors import RepriseError

TRUTH = "FSD50K.ground_truth"
VOCABULARY = f"{TRUTH}/vocabulary.csv"
PARTS = ("dev", "eval")
PARTITIONS = {"train": "train", "val": "valid"}  # by the column ``split`` of dev.csv
AUDIO = tuple(f"FSD50K.{part}_audio/*.wav" for part in PARTS)
CONTENTS = (
    VOCABULARY,
    *(f"{TRUTH}/{part}.csv" for part in PARTS),
    *(f"FSD50K.metadata/{part}_clips_info_FSD50K.json" for part in PARTS),
    *AUDIO,
)
NAME = re.compile(r"[0-9]+")


def read(root: Path | str, name: str) -> Corpus:
    """Read a tree in the layout of FSD50K, published or pocket.

    Every label is observed: the mask is true throughout. A folder with the development part alone is read, too; it has
    no clip for testing, and standard error says so.

    Parameters
    ----------
    root
        The folder that holds ``FSD50K.ground_truth``.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        ``seconds`` is None: clips have any length. ``partition``: the development part's own split gives train and
        valid, the evaluation part is test. Groups are uploaders; without ``FSD50K.metadata`` none is known.

    Raises
    ------
    RepriseError
        A file is missing or is not as published, or a clip has no audio.
    """
    root = Path(root).absolute()
    classes, mids = _vocabulary(root)
    parts = ["dev"]
    if (root / TRUTH / "eval.csv").is_file() and (root / "FSD50K.eval_audio").is_dir():
        parts.append("eval")
    else:
        _say_once(f"{name}: {root} holds the development part only, so that no clip is for testing")
    tables = [_table(root, part, set(classes), set(mids)) for part in parts]
    table = pd.concat(tables).sort_values("fname", ignore_index=True)
    twice = table["fname"][table["fname"].duplicated()]
    if len(twice):
        raise _not_as_published(
            root, f"{TRUTH} names {len(twice)} clips twice, first {twice.iloc[0]}, so that its parts overlap"
        )
    _check_audio(root, table)
    labels = np.zeros((len(table), len(classes)), np.uint8)
    numbers = {label: number for number, label in enumerate(classes)}
    for row, of_clip in enumerate(table["labels"]):
        labels[row, [numbers[label] for label in of_clip.split(",")]] = 1
    told = {part: _clips_info(root, part) for part in parts}
    known = [_info(root, part, key, told[part]) for part, key in zip(table["part"], table["fname"], strict=True)]
    clips = pd.DataFrame(
        {
            "key": table["fname"],
            "path": [str(_audio(root, part, key)) for part, key in zip(table["part"], table["fname"], strict=True)],
            "group": pd.Series([one["uploader"] or None for one in known], dtype=object),
            "title": [one["title"] for one in known],
            "artist": [one["uploader"] for one in known],
            "partition": table["partition"],
        }
    )
    truth = root / "ground_truth"
    return Corpus(
        name=name,
        root=root,
        classes=classes,
        seconds=None,
        clips=clips,
        labels=labels,
        mask=np.ones(labels.shape, dtype=bool),
        facts={
            "clips": len(clips),
            "parts": parts,
            "observed": labels.size,
            "positives": int(labels.sum()),
            "density": 1.0,
            "labels_per_clip": float(labels.sum() / len(clips)),
            "uploaders": int(clips["group"].nunique()),
            **rendering(root),
        },
        pocket=truth.is_dir(),
        ground_truth=truth if truth.is_dir() else None,
    )


def tags(corpus: Corpus) -> list[tuple[str, ...]]:
    """Words that the people who put the sounds on Freesound gave them, as they wrote them.

    Parameters
    ----------
    corpus
        A corpus that `read` has read.

    Returns
    -------
    list of tuple of str
        One tuple per clip, in the order of ``corpus.clips``; it may be empty.

    Raises
    ------
    RepriseError
        ``FSD50K.metadata`` is missing or is not as published.
    """
    part_of = np.where(corpus.clips["partition"] == "test", "eval", "dev")
    told = {part: _clips_info(corpus.root, part) for part in sorted(set(part_of))}
    if absent := next((part for part, info in told.items() if info is None), None):
        raise _not_as_published(
            corpus.root, f"the tags of {corpus.name} are in {_info_path(corpus.root, absent)}, which is not there"
        )
    return [
        tuple(_info(corpus.root, part, key, told[part])["tags"])
        for part, key in zip(part_of, corpus.clips["key"], strict=True)
    ]


def audio_checksums(root: Path | str) -> dict[str, str | None]:
    """Checksums of the audio files, where the tree lists them.

    Parameters
    ----------
    root
        The corpus's folder.

    Returns
    -------
    dict of str to str or None
        MD5 by path relative to `root`. None for every clip of the published corpus: its publisher gives checksums of
        the archives alone, which are compared when they are fetched.

    Raises
    ------
    RepriseError
        The tables cannot be read.
    """
    root = Path(root)
    if (root / CHECKSUMS).is_file() or (root / "ground_truth").is_dir():
        return dict(read_checksums(root))
    classes, mids = _vocabulary(root)
    parts = [part for part in PARTS if (root / TRUTH / f"{part}.csv").is_file()]
    return {
        _audio(root, part, key).relative_to(root).as_posix(): None
        for part in parts
        for key in _table(root, part, set(classes), set(mids))["fname"]
    }


def is_sound(path: Path) -> bool:
    """Whether a file has the form of FSD50K's audio: a whole WAV file, 16 bits, mono, 44.1 kHz.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    bool
        False also where it has been cut off.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(36)
    except OSError:  # a folder, or a link to nothing
        return False
    if len(header) < 36 or header[:4] != b"RIFF" or header[8:12] != b"WAVE":
        return False
    if struct.unpack_from("<I", header, 4)[0] + 8 > path.stat().st_size:
        return False
    import soundfile  # here, as reading the tables needs no audio library

    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return False
    return (info.samplerate, info.channels, info.subtype) == (44100, 1, "PCM_16") and info.frames > 0


def check_published(folder: Path) -> None:
    """Look through an unpacked corpus.

    Parameters
    ----------
    folder
        Its folder.

    Raises
    ------
    RepriseError
        A table is not as published, or a clip has no audio.
    """
    read(folder, "fsd50k")


def _not_as_published(root: Path, what: str) -> RepriseError:
    if (root / "ground_truth").is_dir():
        return RepriseError(f"{what}: delete the folder {root} and it will be rendered again")
    return RepriseError(f"{what}: move {root} away and run `reprise data fetch fsd50k`")


@functools.cache
def _say_once(message: str) -> None:
    print(message, file=sys.stderr)


def _audio(root: Path, part: str, key: str) -> Path:
    return root / f"FSD50K.{part}_audio" / f"{key}.wav"


def _read_csv(root: Path, name: str, columns: list[str], **how) -> pd.DataFrame:
    try:
        table = pd.read_csv(root / name, dtype=str, keep_default_na=False, encoding="utf-8-sig", **how)
        if absent := [column for column in columns if column not in table]:
            raise ValueError(f"it has no column {' and no column '.join(absent)}")
        if table.empty:
            raise ValueError("it names nothing")
    except (OSError, ValueError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        reason = " ".join(str(error).split())
        raise _not_as_published(root, f"{root / name} cannot be read ({reason})") from None
    return table


def _vocabulary(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    columns = ["index", "label", "mid"]
    table = _read_csv(root, VOCABULARY, columns, header=None, names=columns, index_col=False)
    numbers = pd.to_numeric(table["index"], errors="coerce")
    table = table.assign(index=numbers).sort_values("index")
    if table["index"].tolist() != list(range(len(table))):
        raise _not_as_published(root, f"{root / VOCABULARY} does not number the labels from 0 without a gap")
    for column in ("label", "mid"):
        odd = table[column][table[column].duplicated() | (table[column] == "")]
        if len(odd):
            raise _not_as_published(root, f"{root / VOCABULARY} has the {column} {odd.iloc[0]!r} twice or empty")
    return tuple(table["label"]), tuple(table["mid"])


def _table(root: Path, part: str, classes: set[str], mids: set[str]) -> pd.DataFrame:
    name = f"{TRUTH}/{part}.csv"
    columns = ["fname", "labels", "mids", *(["split"] if part == "dev" else [])]
    table = _read_csv(root, name, columns)[columns]
    for line, row in enumerate(table.itertuples(index=False), 2):
        where = f"line {line} of {root / name}"
        if not NAME.fullmatch(row.fname):
            raise _not_as_published(root, f"{where} names {row.fname!r}, which is no number of a sound on Freesound")
        for what, values, known in (("label", row.labels, classes), ("mid", row.mids, mids)):
            unknown = next((value for value in values.split(",") if value not in known), None)
            if unknown is not None:
                raise _not_as_published(root, f"{where} has the {what} {unknown!r}, which {VOCABULARY} lacks")
        if part == "dev" and row.split not in PARTITIONS:
            raise _not_as_published(root, f"{where} has the split {row.split!r}, which is neither train nor val")
    partition = table["split"].map(PARTITIONS) if part == "dev" else "test"
    return table.assign(part=part, partition=partition)


def _check_audio(root: Path, table: pd.DataFrame) -> None:
    here = {
        (part, path.stem) for part in table["part"].unique() for path in (root / f"FSD50K.{part}_audio").glob("*.wav")
    }
    absent = [pair for pair in zip(table["part"], table["fname"], strict=True) if pair not in here]
    if absent:
        first = _audio(root, *absent[0]).relative_to(root)
        raise _not_as_published(
            root, f"{len(absent)} of the {len(table)} clips in {TRUTH} have no audio, first {first}"
        )


def _info_path(root: Path, part: str) -> Path:
    return root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json"


def _clips_info(root: Path, part: str) -> dict | None:
    path = _info_path(root, part)
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # broken JSON and bad encodings are ValueErrors
        raise _not_as_published(root, f"{path} cannot be read ({error})") from None
    if not isinstance(told, dict):
        raise _not_as_published(root, f"{path} does not tell of clips by their numbers")
    return told


def _info(root: Path, part: str, key: str, told: dict | None) -> dict:
    if told is None:
        return {"title": "", "uploader": "", "tags": []}
    if key not in told:
        raise _not_as_published(root, f"{_info_path(root, part)} tells nothing of the clip {key}")
    info = told[key]
    of_text = isinstance(info, dict) and all(isinstance(info.get(word), str) for word in ("title", "uploader"))
    words = info.get("tags") if of_text else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _not_as_published(
            root, f"{_info_path(root, part)} lacks title, uploader or a list of tags of the clip {key}"
        )
    return info


#: Sizes and MD5s as record 4060432 of Zenodo states them.
_ARCHIVES = (
    ("dev_audio.z01", 3_221_225_472, "faa7cf4cc076fc34a44a479a5ed862a3"),
    ("dev_audio.z02", 3_221_225_472, "8f9b66153e68571164fb1315d00bc7bc"),
    ("dev_audio.z03", 3_221_225_472, "1196ef47d267a993d30fa98af54b7159"),
    ("dev_audio.z04", 3_221_225_472, "d088ac4e11ba53daf9f7574c11cccac9"),
    ("dev_audio.z05", 3_221_225_472, "81356521aa159accd3c35de22da28c7f"),
    ("dev_audio.zip", 2_306_663_327, "c480d119b8f7a7e32fdb58f3ea4d6c5a"),
    ("eval_audio.z01", 3_221_225_472, "3090670eaeecc013ca1ff84fe4442aeb"),
    ("eval_audio.zip", 3_037_675_767, "6fa47636c3a3ad5c7dfeba99f2637982"),
    ("ground_truth.zip", 334_701, "ca27382c195e37d2269c4c866dd73485"),
    ("metadata.zip", 6_700_838, "b9ea0c829a411c1d42adb9da539ed237"),
    ("doc.zip", 6_984, "3516162b82dc2945d3e7feba0904e800"),
)

PUBLISHED = Published(
    read,
    holds=lambda folder: (folder / VOCABULARY).is_file(),
    folders=tuple(f"{folder}{inner}" for folder in ("fsd50k", "FSD50K") for inner in ("", "/fsd50k", "/FSD50K")),
    within=("fsd50k", "FSD50K"),
)

CORPORA = (
    Entry(
        name="fsd50k",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=audio_checksums,
        audio=AUDIO,
        sound=is_sound,
        source=Source(
            title="FSD50K 1.0: 51,197 sounds from Freesound, 0.3 to 30 s, 200 labels of AudioSet's ontology, and tags",
            archives=tuple(
                Archive(f"https://zenodo.org/records/4060432/files/FSD50K.{name}?download=1", size, md5)
                for name, size, md5 in _ARCHIVES
            ),
            licence="CC BY 4.0 as a whole; each clip under its own licence (CC0, CC BY, CC BY-NC or CC Sampling+), "
            "which FSD50K.metadata tells",
            doi="10.5281/zenodo.4060432",
            citation="Fonseca, Favory, Pons, Font and Serra, FSD50K: an open dataset of human-labeled sound events, "
            "IEEE/ACM TASLP 30, 2022",
            download_bytes=sum(size for _, size, _ in _ARCHIVES),
            unpacked_bytes=35_000_000_000,
            unpack=unpack_zips,
            check=check_published,
        ),
    ),
)
