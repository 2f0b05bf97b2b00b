"""Word vectors of the ten note qualities, targets of the textual objective (study 003, 4.1).

The paper names Word2Vec, but the work it refers to is GloVe, whose 300-dimensional vectors are read here. Nobody may be
made to download a gigabyte for ten rows: who has the file names it once, and the ten vectors are kept.
"""

import contextlib
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.errors import RepriseError
from harness.storage import cache_home, sha256_of, write_json

#: One word per quality of NSynth, in its order: bright, dark, distortion, fast_decay, long_release, multiphonic,
#: nonlinear_env, percussive, reverb, tempo-synced. The paper renames four, since no vectors exist for them.
WORDS = (
    *("bright", "dark", "distortion", "decay", "presence"),
    *("multiphonic", "modulation", "percussive", "reverb", "rhythmic"),
)
DIMENSIONS = 300
SEED = 3
#: Longest line looked at, in characters; one of 300 numbers has about 3,000.
LONGEST_LINE = 1 << 16


def load(source: str) -> np.ndarray:
    """Vectors of the ten words.

    Parameters
    ----------
    source
        ``"seeded"``: unit vectors in random directions, always the same, which know nothing of what words mean.
        ``"published"``: those read from a file earlier. Else the path of a GloVe file, lines of a word and 300 numbers
        in plain text, packed as ``.gz`` or ``.zip`` or not.

    Returns
    -------
    ndarray (10, 300), float32
        In the order of `WORDS`.

    Raises
    ------
    RepriseError
        No file was read yet, or the one named is absent, not of this form, of another dimension, or without one of
        the words.
    """
    return _vectors(_open(source))


def describe(source: str) -> dict[str, Any]:
    """Say where the vectors come from.

    Parameters
    ----------
    source
        As for `load`.

    Returns
    -------
    dict
        ``kind``, ``"seeded"`` or ``"file"``; of a file also ``file``, its name, and ``sha256``.

    Raises
    ------
    RepriseError
        As `load`.
    """
    found = _open(source)
    return {key: found[key] for key in ("kind", "file", "sha256") if key in found}


def _vectors(found: dict[str, Any]) -> np.ndarray:
    return np.array([found["vectors"][word] for word in WORDS], np.float32)


def _open(source: str) -> dict[str, Any]:
    if source == "seeded":
        drawn = np.random.default_rng(SEED).normal(size=(len(WORDS), DIMENSIONS))
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return {"kind": "seeded", "vectors": dict(zip(WORDS, drawn.tolist(), strict=True))}
    cache = cache_home() / "word-vectors" / "words.json"
    kept = _kept(cache)
    if source == "published":
        if kept is None:
            raise RepriseError(
                "the word vectors of the qualities are not here: download glove.6B.zip from "
                "https://nlp.stanford.edu/projects/glove/ and name it once with --weights words=FILE"
            )
        return kept
    path = Path(source)
    try:
        status = path.stat()
    except OSError:
        raise RepriseError(f"there is no word-vector file {path}; check the path given with --weights words=") from None
    stamp = [str(path.absolute()), status.st_size, status.st_mtime_ns]
    if kept is None or kept["stamp"] != stamp:  # reading a gigabyte takes a while, and every trial would
        vectors = _read(path)
        kept = {"kind": "file", "file": path.name, "sha256": sha256_of(path), "stamp": stamp, "vectors": vectors}
        write_json(cache, kept)
    return kept


def _kept(cache: Path) -> dict[str, Any] | None:
    """What was read from a file earlier."""
    if not cache.exists():
        return None
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if _vectors(kept).shape == (len(WORDS), DIMENSIONS) and {"kind", "file", "sha256", "stamp"} <= kept.keys():
            return kept
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise RepriseError(f"{cache} is damaged; remove it and name the word-vector file again with --weights words=FILE")


def _read(path: Path) -> dict[str, list[float]]:
    """Search a file line by line for the ten words."""
    found: dict[str, list[float]] = {}
    try:
        with _text(path) as binary, io.TextIOWrapper(binary, encoding="utf-8", newline="\n") as lines:
            while len(found) < len(WORDS) and (line := lines.readline(LONGEST_LINE)):
                if len(line) == LONGEST_LINE:
                    raise RepriseError(f"{path} is not a list of word vectors: it has lines without end")
                word, _, numbers = line.partition(" ")
                if word in WORDS and word not in found:
                    found[word] = _numbers(path, word, numbers)
    except UnicodeDecodeError:
        raise RepriseError(f"{path} is not text in UTF-8; give the .txt, .gz or .zip file as published") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise RepriseError(f"{path} cannot be read ({error}); download it again") from None
    if missing := [word for word in WORDS if word not in found]:
        raise RepriseError(f"{path} has no vector for {', '.join(missing)}; give a larger list, such as glove.6B.zip")
    return found


@contextlib.contextmanager
def _text(path: Path) -> Iterator[BinaryIO]:
    """The bytes of the text, unpacked as they are read."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            texts = [name for name in archive.namelist() if name.endswith(".txt")]
            if len(texts) > 1:  # glove.6B.zip holds one for each of four dimensions
                texts = [name for name in texts if f"{DIMENSIONS}d" in name]
            if len(texts) != 1:
                raise RepriseError(
                    f"{path} holds {len(texts)} text files of {DIMENSIONS}-dimensional vectors; unpack it and name one"
                )
            with archive.open(texts[0]) as file:
                yield file
    else:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file


def _numbers(path: Path, word: str, text: str) -> list[float]:
    values = text.split()
    if len(values) != DIMENSIONS:
        raise RepriseError(
            f"{path} has {len(values)} numbers for {word!r}, not {DIMENSIONS}; give vectors of {DIMENSIONS} dimensions"
        )
    try:
        vector = np.array(values, np.float64)
    except ValueError:
        vector = np.zeros(DIMENSIONS)
    if not (np.isfinite(vector).all() and vector.any()):
        raise RepriseError(f"what {path} has for {word!r} is not a vector of numbers; download the file again")
    return vector.tolist()
