"""OpenMIC-2018, read from its published layout; the pocket twin is written in the same and read by the same reader.

The layout of v1.0.0 (DOI 10.5281/zenodo.1432913)::

    openmic-2018/
        class-map.json                          {"accordion": 0, ...}
        openmic-2018-aggregated-labels.csv      sample_key, instrument, relevance, num_responses: the observed labels
        openmic-2018-metadata.csv               track_id, artist_id, artist_name, track_title, ...
        openmic-2018.npz                        X, Y_true, Y_mask, sample_key; rows in the order of the sorted keys
        partitions/split01_train.csv            one key per line, no header; the paper's README says train01.txt
        partitions/split01_test.csv
        audio/000/000046_3840.ogg               10 s; the folder is the key's first three digits
        checksums                               MD5 of the files

A key is the track's number in the Free Music Archive, six digits, and where the clip starts in it. A label is the
relevance in [0, 1] that the crowd's answers came to; a pair of clip and class that nobody was asked about has none.
"""

import json
import pickletools
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from harness.corpora.archives import Archive
from harness.corpora.corpus import Corpus
from harness.corpora.published import Published
from harness.corpora.registry import Entry, Source
from harness.errors import RepriseError
from harness.storage import sha256_of

SECONDS = 10.0
CLASS_MAP = "class-map.json"
LABELS = "openmic-2018-aggregated-labels.csv"
METADATA = "openmic-2018-metadata.csv"
ARRAYS = "openmic-2018.npz"
CHECKSUMS = "checksums"
CONTENTS = (CLASS_MAP, LABELS, METADATA, ARRAYS, "partitions/*train*", "partitions/*test*", "audio/*/*.ogg")
KEY = re.compile(r"[0-9]{6}_[0-9]+")


def read(root: Path | str, name: str) -> Corpus:
    """Read a tree in the layout of OpenMIC-2018, published or pocket.

    A label is 1 where the relevance is at least 0.5, as in the OpenMIC paper's own baseline; relevances of exactly
    0.5, which other code calls absent, are counted in ``facts["exact_halves"]``. Where both the table of labels and
    the arrays are there they must agree; one of them is enough. Audio files are not looked at.

    Parameters
    ----------
    root
        The folder that holds ``class-map.json``.
    name
        The corpus's name.

    Returns
    -------
    Corpus
        Groups are artists; without ``openmic-2018-metadata.csv`` no group is known.

    Raises
    ------
    RepriseError
        A file is missing or is not as published.
    """
    root = Path(root).absolute()
    classes = _classes(root)
    clips = _partitions(root)
    labels, mask, relevance, facts = _labels(root, classes, clips["key"])
    clips["path"] = [str(root / "audio" / key[:3] / f"{key}.ogg") for key in clips["key"]]
    clips = clips.join(_metadata(root, clips["key"]))
    truth = root / "ground_truth"
    if (root / CHECKSUMS).is_file():
        facts["audio_checksums"] = sha256_of(root / CHECKSUMS)
    if truth.is_dir():
        facts |= _rendering(root, truth / "manifest.json")
    return Corpus(
        name=name,
        root=root,
        classes=classes,
        seconds=SECONDS,
        clips=clips[["key", "path", "group", "title", "artist", "partition"]],
        labels=labels,
        mask=mask,
        facts=facts,
        pocket=truth.is_dir(),
        ground_truth=truth if truth.is_dir() else None,
        relevance=relevance,
    )


def embeddings(corpus: Corpus) -> np.ndarray:
    """VGGish embeddings that come with the corpus, as AudioSet publishes them: PCA, then 8 bits.

    Parameters
    ----------
    corpus
        A corpus that `read` has read.

    Returns
    -------
    np.ndarray
        (n, 10, 128) uint8, one row per clip in the order of ``corpus.clips``, one embedding per 0.96 s. A pocket
        corpus has other features of this shape and range there, see its ``acknowledgement.md``.

    Raises
    ------
    RepriseError
        ``openmic-2018.npz`` is not there, or ``X`` in it is not as published.
    """
    array = _array(corpus.root, "X", (len(corpus.clips), 10, 128), "iu")  # published as int64
    if array.size and (array.min() < 0 or array.max() > 255):
        raise _not_as_published(corpus.root, f"X in {ARRAYS} has values outside 0 to 255")
    return array.astype(np.uint8)


def audio_checksums(root: Path | str) -> dict[str, str]:
    """Checksums of the audio files, as the tree lists them.

    Parameters
    ----------
    root
        The folder that holds ``checksums``.

    Returns
    -------
    dict of str to str
        MD5 by path relative to `root`.

    Raises
    ------
    RepriseError
        There is no such list, or it names no audio file.
    """
    root = Path(root)
    # That the archive carries "checksums" is known, its form is not documented. The authors' own check reads one CSV
    # for the audio and one for the embeddings, key and MD5 under the header ",md5"; md5sum's lines are the other
    # form a user may have. Key and MD5 are found in the lines of either.
    path = root / CHECKSUMS
    if path.is_dir():
        path = min(path.glob("*audio*"), default=path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        raise _not_as_published(root, f"the list of checksums {path} cannot be read") from None
    listed = {}
    for line in lines:
        key, md5 = KEY.search(line), re.search(r"\b[0-9a-f]{32}\b", line)
        if key and md5 and not line.rstrip().endswith(".json"):
            listed[f"audio/{key[0][:3]}/{key[0]}.ogg"] = md5[0]
    if not listed:
        raise _not_as_published(root, f"{path} lists no audio file")
    return listed


def _rendering(root: Path, manifest: Path) -> dict:
    try:
        made = json.loads(manifest.read_text(encoding="utf-8"))
        return {"parameters": made["parameters"], "renderer_version": made["renderer_version"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise _not_as_published(root, f"{manifest} does not say how the corpus was rendered") from None


def _not_as_published(root: Path, what: str) -> RepriseError:
    if (root / "ground_truth").is_dir():
        return RepriseError(f"{what}: delete the folder {root} and it will be rendered again")
    return RepriseError(f"{what}: move {root} away and run `reprise data fetch openmic-2018`")


def _classes(root: Path) -> tuple[str, ...]:
    path = root / CLASS_MAP
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        classes = sorted(numbers, key=numbers.get)
        if not classes or [numbers[name] for name in classes] != list(range(len(classes))):
            raise ValueError
    except (OSError, ValueError, TypeError, AttributeError):
        raise _not_as_published(root, f"{path} does not number the classes from 0 without a gap") from None
    return tuple(classes)


def _partitions(root: Path) -> pd.DataFrame:
    frames = []
    for part in ("train", "test"):
        paths = sorted((root / "partitions").glob(f"*{part}*"))
        paths = [path for path in paths if path.suffix in (".csv", ".txt")]
        if not paths:
            raise _not_as_published(root, f"{root / 'partitions'} has no file of the {part} keys")
        lists = {path: path.read_text(encoding="utf-8-sig", errors="replace").split() for path in paths}
        keys = lists[paths[0]]
        if any(sorted(other) != sorted(keys) for other in lists.values()):
            raise _not_as_published(root, f"the files {', '.join(path.name for path in paths)} differ")
        odd = next((key for key in keys if not KEY.fullmatch(key)), None)
        if odd is not None:
            raise _not_as_published(root, f"{paths[0]} names {odd!r}, which is no key like 000046_3840")
        frames.append(pd.DataFrame({"key": keys, "partition": part}, dtype=str))
    clips = pd.concat(frames).sort_values("key", ignore_index=True)
    twice = clips["key"][clips["key"].duplicated()]
    if len(twice):
        raise _not_as_published(
            root, f"the partitions name {len(twice)} clips twice, first {twice.iloc[0]}, so train and test overlap"
        )
    if clips.empty:
        raise _not_as_published(root, f"{root / 'partitions'} names no clip")
    return clips


def _labels(root: Path, classes: tuple[str, ...], keys: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    shape = (len(keys), len(classes))
    repeated = 0
    table, arrays = (root / LABELS).is_file(), (root / ARRAYS).is_file()
    if not table and not arrays:
        raise _not_as_published(root, f"{root} has neither {LABELS} nor {ARRAYS}")
    if arrays:
        _check_rows(root, keys)
        relevance, mask = _label_arrays(root, shape)
    if table:
        array_labels = np.where(mask, relevance >= 0.5, -1) if arrays else None
        relevance, mask, repeated = _label_table(root, classes, keys)
        if arrays:
            _check_agreement(root, classes, keys, np.where(mask, relevance >= 0.5, -1), array_labels)
    labels = ((relevance >= 0.5) & mask).astype(np.uint8)
    facts = {
        "clips": len(keys),
        "observed": int(mask.sum()),
        "positives": int(labels.sum()),
        "density": float(mask.mean()),
        "exact_halves": int((mask & (relevance == 0.5)).sum()),
        "repeated_labels": repeated,
        "clips_without_label": int((~mask.any(axis=1)).sum()),
    }
    return labels, mask, np.where(mask, relevance, 0.5), facts


def _label_table(root: Path, classes: tuple[str, ...], keys: pd.Series) -> tuple[np.ndarray, np.ndarray, int]:
    table = _read_csv(root, LABELS, ["sample_key", "instrument", "relevance"])
    row = pd.Index(keys).get_indexer(table["sample_key"])
    column = pd.Index(classes).get_indexer(table["instrument"])
    for found, what in ((row, "sample_key"), (column, "instrument")):
        if (found < 0).any():
            unknown = table[what].iloc[int(np.argmax(found < 0))]
            raise _not_as_published(root, f"{root / LABELS} has the {what} {unknown!r}, which is in no other file")
    value = pd.to_numeric(table["relevance"], errors="coerce").to_numpy(dtype=float)
    if not ((value >= 0) & (value <= 1)).all():
        line = int(np.argmin((value >= 0) & (value <= 1))) + 2
        raise _not_as_published(root, f"line {line} of {root / LABELS} has no relevance between 0 and 1")
    relevance, mask = np.full((len(keys), len(classes)), 0.5), np.zeros((len(keys), len(classes)), dtype=bool)
    # The script that made the published arrays goes through the rows one by one, so that of a pair's rows the last
    # one counts; the same is made sure of here.
    pair = row * len(classes) + column
    last = len(pair) - 1 - np.unique(pair[::-1], return_index=True)[1]
    relevance[row[last], column[last]] = value[last]
    mask[row[last], column[last]] = True
    return relevance, mask, len(pair) - len(last)


def _label_arrays(root: Path, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    relevance, mask = _array(root, "Y_true", shape, "f"), _array(root, "Y_mask", shape, "b")
    observed = relevance[mask]
    if not ((observed >= 0) & (observed <= 1)).all():
        raise _not_as_published(root, f"Y_true in {ARRAYS} has values outside 0 to 1")
    return relevance, mask


def _check_agreement(
    root: Path, classes: tuple[str, ...], keys: pd.Series, table: np.ndarray, arrays: np.ndarray
) -> None:
    differ = np.argwhere(table != arrays)
    if len(differ):
        row, column = differ[0]
        raise _not_as_published(
            root,
            f"{LABELS} and {ARRAYS} differ in {len(differ)} labels, first {classes[column]} in {keys.iloc[row]} "
            f"(delete {ARRAYS} to go by the table alone)",
        )


def _check_rows(root: Path, keys: pd.Series) -> None:
    """The arrays have one row per clip, in the order of the sorted keys, by what they say themselves."""
    path = root / ARRAYS
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip file")
        with zipfile.ZipFile(path) as archive, archive.open("sample_key.npy") as member:
            np.lib.format.read_magic(member)
            _, _, dtype = np.lib.format.read_array_header_1_0(member)
            stored = member.read()
        if dtype.hasobject:
            # Published as pickled objects, which could run anything when loaded. So the pickle is not loaded but read:
            # its texts stand in it one after another.
            texts = [value for _, value, _ in pickletools.genops(stored) if isinstance(value, str)]
            found = [text for text in texts if KEY.fullmatch(text)]
        else:
            found = [str(key) for key in np.frombuffer(stored, dtype)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _not_as_published(root, f"sample_key cannot be read from {path} ({error})") from None
    if len(found) != len(keys):
        raise _not_as_published(root, f"{path} has the keys of {len(found)} clips, the partitions name {len(keys)}")
    differ = np.flatnonzero(np.array(found) != keys.to_numpy(dtype=str))
    if len(differ):
        raise _not_as_published(
            root, f"row {differ[0]} of {path} is clip {found[differ[0]]} where {keys.iloc[differ[0]]} is due"
        )


def _array(root: Path, member: str, shape: tuple[int, ...], kinds: str) -> np.ndarray:
    path = root / ARRAYS
    if not path.is_file():
        raise _not_as_published(root, f"there is no {path}")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip file")
        # Members are read one by one, on demand: the keys are pickled objects, see `_check_rows`.
        with np.load(path, allow_pickle=False) as archive:
            array = archive[member]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _not_as_published(root, f"{member} cannot be read from {path} ({error})") from None
    if array.shape != shape or array.dtype.kind not in kinds:
        raise _not_as_published(
            root, f"{member} in {path} is {array.dtype} {array.shape} where {shape} is due, a row for each key"
        )
    return array


def _metadata(root: Path, keys: pd.Series) -> pd.DataFrame:
    tracks = keys.str[:6].astype(int)
    if not (root / METADATA).is_file():
        known = pd.DataFrame("", index=keys.index, columns=["artist_id", "artist_name", "track_title"], dtype=str)
    else:
        table = _read_csv(root, METADATA, ["track_id", "artist_id", "artist_name", "track_title"])
        table["track_id"] = pd.to_numeric(table["track_id"], errors="coerce")
        table = table.dropna(subset="track_id").astype({"track_id": int}).drop_duplicates("track_id")
        known = table.set_index("track_id").reindex(tracks).fillna("").set_axis(keys.index)
    group = known["artist_id"].str.removesuffix(".0")  # a column with gaps is written as floats
    return pd.DataFrame(
        {"group": group.where(group != ""), "title": known["track_title"], "artist": known["artist_name"]}
    )


def _read_csv(root: Path, name: str, columns: list[str]) -> pd.DataFrame:
    try:
        # Without keep_default_na an artist called "NA" or "None" would have no name.
        return pd.read_csv(root / name, usecols=columns, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        reason = " ".join(str(error).split())
        raise _not_as_published(root, f"{root / name} cannot be read ({reason})") from None


PUBLISHED = Published(
    read,
    holds=lambda folder: (folder / CLASS_MAP).is_file(),
    # mirdata makes openmic2018.
    folders=("openmic-2018", "openmic-2018/openmic-2018", "openmic2018", "openmic2018/openmic-2018"),
    within=("openmic-2018",),
)

CORPORA = (
    Entry(
        name="openmic-2018",
        load=PUBLISHED.load,
        folder=PUBLISHED.folder,
        contents=CONTENTS,
        checksums=audio_checksums,
        source=Source(
            title="OpenMIC-2018 v1.0.0: 20,000 clips of 10 s, 20 instruments, partly labelled",
            archives=(
                Archive(
                    "https://zenodo.org/record/1432913/files/openmic-2018-v1.0.0.tgz?download=1",
                    md5="e4ccf187e2bb5ab2e115416e8aafe7f4",
                ),
            ),
            licence="CC BY 4.0; each recording under its own Creative Commons or public-domain terms",
            doi="10.5281/zenodo.1432913",
            citation="Humphrey, Durand and McFee, OpenMIC-2018: an open dataset for multiple instrument recognition, "
            "ISMIR 2018",
            folder="openmic-2018",
            download_bytes=2_620_000_000,
            unpacked_bytes=3_000_000_000,
        ),
    ),
)
