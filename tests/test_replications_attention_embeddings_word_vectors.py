"""Word vectors: read from GloVe files of every kind, kept, and refused with a reason."""

import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.errors import RepriseError
from replications.attention_embeddings.word_vectors import DIMENSIONS, WORDS, describe, load

RNG = np.random.default_rng(0)
VECTORS = {word: RNG.normal(size=DIMENSIONS) for word in ("the", "of", *reversed(WORDS), "zither")}


def text(vectors=VECTORS):
    lines = [" ".join([word, *(f"{value:.5f}" for value in vector)]) for word, vector in vectors.items()]
    return ("\n".join(lines) + "\n").encode()


def write(folder: Path, kind: str) -> Path:
    path = folder / {"txt": "glove.txt", "gz": "glove.txt.gz", "zip": "one.zip", "glove": "glove.6B.zip"}[kind]
    if kind == "txt":
        path.write_bytes(text())
    elif kind == "gz":
        path.write_bytes(gzip.compress(text()))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            if kind == "glove":  # as published: one file for each of four dimensions
                archive.writestr("glove.6B.50d.txt", text({"bright": np.ones(50)}))
            archive.writestr("glove.6B.300d.txt", text())
    return path


@pytest.mark.parametrize("kind", ["txt", "gz", "zip", "glove"])
def test_files_of_every_kind(tmp_path, kind):
    path = write(tmp_path, kind)
    vectors = load(str(path))
    assert vectors.dtype == np.float32
    assert vectors.shape == (10, 300)
    np.testing.assert_allclose(vectors, [VECTORS[word] for word in WORDS], atol=1e-5)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert describe(str(path)) == {"kind": "file", "file": path.name, "sha256": sha256}


def test_what_was_read_once_is_published_from_then_on(tmp_path):
    with pytest.raises(RepriseError, match=r"not here: download glove\.6B\.zip .* --weights words=FILE"):
        load("published")
    path = write(tmp_path, "gz")
    vectors = load(str(path))
    path.rename(tmp_path / "elsewhere.gz")
    np.testing.assert_array_equal(load("published"), vectors)
    assert describe("published")["file"] == "glove.txt.gz"


def test_an_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    path = write(tmp_path, "txt")
    first = load(str(path))
    with monkeypatch.context() as patch:
        patch.setattr("replications.attention_embeddings.word_vectors._read", lambda path: pytest.fail("read again"))
        np.testing.assert_array_equal(load(str(path)), first)
    path.write_bytes(text({**VECTORS, "bright": 2 * VECTORS["bright"]}) + b"\n")
    np.testing.assert_allclose(load(str(path))[0], 2 * first[0], atol=1e-4)


def test_the_file_is_not_read_beyond_the_last_word(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_bytes(text() + b"\xff" * 100_000)
    assert load(str(path)).shape == (10, 300)


def test_seeded_vectors_have_length_one_and_never_change():
    vectors = load("seeded")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(load("seeded"), vectors)
    cosines = vectors @ vectors.T
    assert np.abs(cosines - np.eye(10)).max() < 0.25  # directions that have nothing to do with each other
    assert describe("seeded") == {"kind": "seeded"}


FAULTS = {
    "no word": (
        text({word: VECTORS[word] for word in WORDS if word not in ("dark", "reverb")}),
        "no vector for dark, reverb",
    ),
    "dimension": (
        text({word: vector[:200] for word, vector in VECTORS.items()}),
        "200 numbers for 'rhythmic', not 300",
    ),
    "numbers": (text().replace(b"dark ", b"dark x", 1), "has for 'dark' is not a vector of numbers"),
    "infinite": (text({**VECTORS, "dark": np.full(DIMENSIONS, np.inf)}), "has for 'dark' is not a vector of numbers"),
    "utf-8": (b"caf\xe9 1 2\n" + text(), "is not text in UTF-8"),
    "endless": (b"1 " * 50_000, "it has lines without end"),
    "empty": (b"", "no vector for bright, dark, distortion"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_not_what_it_should_be(tmp_path, fault):
    content, reason = FAULTS[fault]
    path = tmp_path / "glove.txt"
    path.write_bytes(content)
    with pytest.raises(RepriseError, match=reason) as caught:
        load(str(path))
    assert str(path) in str(caught.value)
    with pytest.raises(RepriseError, match="are not here"):  # nothing of it was kept
        load("published")


@pytest.mark.parametrize("suffix", ["gz", "zip"])
def test_packed_files_that_cannot_be_unpacked(tmp_path, suffix):
    path = tmp_path / f"glove.{suffix}"
    path.write_bytes(b"neither")
    with pytest.raises(RepriseError, match=r"cannot be read .* download it again"):
        load(str(path))
    whole = write(tmp_path, suffix)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(RepriseError, match=r"cannot be read .* download it again"):
        load(str(path))


def test_an_archive_without_vectors_of_300_dimensions(tmp_path):
    path = tmp_path / "glove.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("glove.50d.txt", "")
        archive.writestr("glove.100d.txt", "")
    with pytest.raises(RepriseError, match="holds 0 text files of 300-dimensional vectors; unpack it and name one"):
        load(str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RepriseError, match=r"there is no word-vector file .*nowhere\.txt; check the path"):
        load(str(tmp_path / "nowhere.txt"))


def test_a_damaged_cache(tmp_path):
    load(str(write(tmp_path, "txt")))
    cache = tmp_path / "reprise-home" / "word-vectors" / "words.json"
    kept = json.loads(cache.read_text())
    for damaged in ("{", "[]", json.dumps({**kept, "vectors": {}})):
        cache.write_text(damaged)
        with pytest.raises(RepriseError, match="is damaged; remove it and name the word-vector file again"):
            load("published")
