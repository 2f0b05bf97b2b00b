import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpora_trees import CLASSES, Tree, make_tree, write_arrays
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import corpora
from harness.corpora import openmic
from harness.errors import RepriseError

LABELS = "openmic-2018-aggregated-labels.csv"
METADATA = "openmic-2018-metadata.csv"
ARRAYS = "openmic-2018.npz"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path / "openmic-2018")


def test_read_gives_what_was_written(tree):
    corpus = openmic.read(tree.root, "openmic-2018")
    assert corpus.classes == CLASSES
    assert corpus.seconds == 10.0
    assert corpus.clips["key"].tolist() == sorted(tree.keys)
    assert list(corpus.clips.index) == list(range(12))
    assert corpus.clips["partition"].tolist() == ["train"] * 9 + ["test"] * 3
    assert corpus.clips["group"].tolist() == [str(artist) for artist in tree.artists]
    assert corpus.clips["artist"].tolist() == [f"Artist {artist}" for artist in tree.artists]
    assert corpus.clips["title"].tolist() == [f"Title {key}" for key in tree.keys]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in corpus.clips["path"])
    np.testing.assert_array_equal(corpus.mask, tree.mask)
    np.testing.assert_array_equal(corpus.labels, tree.mask & (tree.relevance >= 0.5))
    assert corpus.labels.dtype == np.uint8
    assert corpus.mask.dtype == bool
    assert corpus.facts["observed"] == tree.mask.sum()
    assert corpus.facts["positives"] == corpus.labels.sum()
    assert corpus.facts["density"] == pytest.approx(tree.mask.mean())
    json.dumps(corpus.facts, allow_nan=False)
    assert not corpus.pocket
    assert corpus.ground_truth is None


def test_classes_follow_the_class_map_and_not_the_alphabet(tree):
    (tree.root / "class-map.json").write_text(json.dumps({name: 3 - i for i, name in enumerate(CLASSES)}))
    (tree.root / ARRAYS).unlink()
    corpus = openmic.read(tree.root, "openmic-2018")
    assert corpus.classes == CLASSES[::-1]
    np.testing.assert_array_equal(corpus.mask, tree.mask[:, ::-1])


@pytest.mark.parametrize("absent", [LABELS, ARRAYS])
def test_table_and_arrays_each_suffice(tree, absent):
    both = openmic.read(tree.root, "openmic-2018")
    (tree.root / absent).unlink()
    one = openmic.read(tree.root, "openmic-2018")
    np.testing.assert_array_equal(one.labels, both.labels)
    np.testing.assert_array_equal(one.mask, both.mask)
    assert one.facts == both.facts
    assert one.checksum == both.checksum


def test_partitions_under_the_name_of_the_readme_with_windows_line_ends(tree):
    expected = openmic.read(tree.root, "openmic-2018")
    for part in ("train", "test"):
        old = tree.root / "partitions" / f"split01_{part}.csv"
        text = "\ufeff" + "\r\n".join(reversed(old.read_text().split()))
        (tree.root / "partitions" / f"{part}01.txt").write_text(text, encoding="utf-8", newline="")
        old.unlink()
    pd.testing.assert_frame_equal(openmic.read(tree.root, "openmic-2018").clips, expected.clips)


def test_exact_halves_are_positive_and_counted(tree):
    i, c = np.argwhere(tree.mask)[0]
    table = pd.read_csv(tree.root / LABELS)
    table.loc[0, "relevance"] = 0.5
    table.to_csv(tree.root / LABELS, index=False)
    (tree.root / ARRAYS).unlink()
    corpus = openmic.read(tree.root, "openmic-2018")
    assert corpus.facts["exact_halves"] == 1
    assert corpus.labels[i, c] == 1


def test_of_repeated_rows_the_last_counts_as_in_the_published_arrays(tree):
    i, c = np.argwhere(tree.mask)[0]
    table = pd.read_csv(tree.root / LABELS)
    opposite = 1.0 if tree.relevance[i, c] < 0.5 else 0.0
    again = table.iloc[[0]].assign(relevance=opposite)
    pd.concat([table, again]).to_csv(tree.root / LABELS, index=False)
    tree.relevance[i, c] = opposite
    write_arrays(tree.root, tree.keys, tree.relevance, tree.mask, tree.embeddings)
    corpus = openmic.read(tree.root, "openmic-2018")
    assert corpus.labels[i, c] == opposite
    assert corpus.facts["repeated_labels"] == 1


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(tree, random):
    expected = openmic.read(tree.root, "openmic-2018")
    for name in (LABELS, METADATA, "partitions/split01_train.csv"):
        path = tree.root / name
        first, *rest = path.read_text().splitlines()
        random.shuffle(rest)
        path.write_text("\n".join([first, *rest]) + "\n")
    shuffled = openmic.read(tree.root, "openmic-2018")
    pd.testing.assert_frame_equal(shuffled.clips, expected.clips)
    assert shuffled.checksum == expected.checksum


class _Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.mark,))


def test_nothing_is_ever_unpickled(tree, tmp_path):
    write_arrays(tree.root, [_Trap(tmp_path / "mark")] * 12, tree.relevance, tree.mask, tree.embeddings)
    with pytest.raises(RepriseError, match="has the keys of 0 clips, the partitions name 12"):
        openmic.read(tree.root, "openmic-2018")
    assert not (tmp_path / "mark").exists()
    np.load(tree.root / ARRAYS, allow_pickle=True)["sample_key"]
    assert (tmp_path / "mark").exists(), "the trap does not work, so this test proves nothing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda keys: None, "sample_key cannot be read"),
        (lambda keys: keys[:-1], "has the keys of 11 clips, the partitions name 12"),
        (lambda keys: keys[::-1], r"row 0 of .* is clip 001644_42240 where 000137_0 is due"),
        (lambda keys: keys[::-1].astype(str), r"row 0 of .* is clip 001644_42240 where 000137_0 is due"),
    ],
)
def test_rows_that_do_not_match_the_partitions(tree, change, message):
    _arrays(sample_key=change)(tree)
    with pytest.raises(RepriseError, match=message):
        openmic.read(tree.root, "openmic-2018")


def test_keys_stored_as_plain_text_do_as_well(tree):
    _arrays(sample_key=lambda keys: keys.astype(str))(tree)
    openmic.read(tree.root, "openmic-2018")


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_embeddings(tree, dtype):
    write_arrays(tree.root, tree.keys, tree.relevance, tree.mask, tree.embeddings.astype(dtype))
    read = openmic.embeddings(openmic.read(tree.root, "openmic-2018"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, tree.embeddings)


def test_missing_audio_is_not_the_readers_business(tree):
    shutil.rmtree(tree.root / "audio")
    assert len(openmic.read(tree.root, "openmic-2018").clips) == 12


def test_without_metadata_no_group_is_known(tree):
    (tree.root / METADATA).unlink()
    clips = openmic.read(tree.root, "openmic-2018").clips
    assert clips["group"].isna().all()
    assert (clips["artist"] == "").all()
    assert (clips["title"] == "").all()


def test_metadata_with_gaps_and_odd_names(tree):
    table = pd.read_csv(tree.root / METADATA, dtype=str)
    table["artist_id"] += ".0"
    table.loc[0, ["artist_id", "artist_name"]] = ["", "NA"]
    table.loc[1, ["artist_name", "track_title"]] = ['Motörhead "live"', "two\nlines"]
    table.loc[12] = ["not a number", "1", "x", "y", ""]
    table.drop(index=2).to_csv(tree.root / METADATA, index=False)
    clips = openmic.read(tree.root, "openmic-2018").clips
    assert clips["group"].isna().tolist() == [True, False, True] + [False] * 9
    assert clips["group"][3] == "1"
    assert clips["artist"][:3].tolist() == ["NA", 'Motörhead "live"', ""]
    assert clips["title"][1] == "two\nlines"


def _edit(name, function):
    def spoil(tree):
        path = tree.root / name
        path.write_text(function(path.read_text()))

    return spoil


def _arrays(**changes):
    def spoil(tree):
        with np.load(tree.root / ARRAYS, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("X", "Y_true", "Y_mask")}
        arrays["sample_key"] = np.array(tree.keys, dtype=object)
        arrays |= {name: change(arrays[name]) for name, change in changes.items()}
        np.savez(tree.root / ARRAYS, **{name: array for name, array in arrays.items() if array is not None})

    return spoil


def _flip(mask):
    mask = mask.copy()
    mask[4, 2] = ~mask[4, 2]
    return mask


FAULTS = {
    "class map not JSON": (_edit("class-map.json", lambda text: text[:-5]), "class-map.json does not number"),
    "class map with a gap": (_edit("class-map.json", lambda text: text.replace("3", "4")), "without a gap"),
    "class map a list": (_edit("class-map.json", lambda text: "[1, 2]"), "without a gap"),
    "class map with one number twice": (_edit("class-map.json", lambda text: text.replace("3", "2")), "without a gap"),
    "no training partition": (
        lambda tree: (tree.root / "partitions/split01_train.csv").unlink(),
        "no file of the train keys",
    ),
    "empty partitions": (
        lambda tree: [path.write_text("") for path in (tree.root / "partitions").iterdir()],
        "names no clip",
    ),
    "two partitions that differ": (
        lambda tree: (tree.root / "partitions/test01.txt").write_text("000137_0\n"),
        "split01_test.csv, test01.txt differ",
    ),
    "overlapping partitions": (
        _edit("partitions/split01_test.csv", lambda text: text + "000137_0\n"),
        "name 1 clips twice, first 000137_0, so train and test overlap",
    ),
    "partition with a header": (_edit("partitions/split01_test.csv", lambda text: "key\n" + text), "names 'key'"),
    "key that leaves the tree": (
        _edit("partitions/split01_test.csv", lambda text: text + "../../../etc/passwd\n"),
        "which is no key",
    ),
    "no labels at all": (
        lambda tree: [(tree.root / name).unlink() for name in (LABELS, ARRAYS)],
        "has neither openmic-2018-aggregated-labels.csv nor openmic-2018.npz",
    ),
    "unknown class in the table": (
        _edit(LABELS, lambda text: text + "000137_0,theremin,1.0,3\n"),
        "the instrument 'theremin', which is in no other file",
    ),
    "unknown key in the table": (
        _edit(LABELS, lambda text: text + "999999_0,cello,1.0,3\n"),
        "the sample_key '999999_0', which is in no other file",
    ),
    "relevance above 1": (_edit(LABELS, lambda text: text + "000137_0,cello,1.5,3\n"), "no relevance between 0 and 1"),
    "relevance empty": (_edit(LABELS, lambda text: text + "000137_0,cello,,3\n"), "line [0-9]+ of .* no relevance"),
    "table without its columns": (_edit(LABELS, lambda text: text.replace("instrument", "class")), "cannot be read"),
    "table empty": (_edit(LABELS, lambda text: ""), "cannot be read"),
    "table not text": (lambda tree: (tree.root / LABELS).write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "metadata without artists": (_edit(METADATA, lambda text: text.replace("artist_id", "id")), "artist_id"),
    "metadata cut short": (_edit(METADATA, lambda text: text[:-3]), "cannot be read .*EOF inside string"),
    "arrays not a zip": (lambda tree: (tree.root / ARRAYS).write_bytes(b"\x80\x04"), "it is no zip file"),
    "arrays cut short": (
        lambda tree: (tree.root / ARRAYS).write_bytes((tree.root / ARRAYS).read_bytes()[:-900]),
        "cannot be read",
    ),
    "arrays without the mask": (_arrays(Y_mask=lambda array: None), "Y_mask cannot be read"),
    "labels pickled": (_arrays(Y_true=lambda array: array.astype(object)), "Y_true cannot be read .*Object arrays"),
    "a row too few": (_arrays(Y_true=lambda array: array[1:]), r"Y_true .* float64 \(11, 4\) where \(12, 4\) is due"),
    "a class too many": (_arrays(Y_mask=lambda array: np.pad(array, ((0, 0), (0, 1)))), r"Y_mask .* bool \(12, 5\)"),
    "mask not boolean": (_arrays(Y_mask=lambda array: array.astype(int)), "Y_mask .* is int64"),
    "relevance in the arrays not a number": (_arrays(Y_true=lambda array: array * np.nan), "outside 0 to 1"),
    "table and arrays differ": (
        _arrays(Y_mask=_flip),
        "differ in 1 labels, first flute in 000685_15360 .delete openmic-2018.npz",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_in_one_sentence(tree, fault):
    spoil, message = FAULTS[fault]
    spoil(tree)
    with pytest.raises(RepriseError, match=message) as caught:
        openmic.read(tree.root, "openmic-2018")
    assert "reprise data fetch openmic-2018" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array[:, :9], r"X .* int64 \(12, 9, 128\)"),
        (lambda array: array / 255, "X .* is float64"),
        (lambda array: array + 1, "outside 0 to 255"),
        (lambda array: None, "X cannot be read"),
    ],
)
def test_faulty_embeddings(tree, change, message):
    tree.embeddings[0, 0, 0] = 255
    write_arrays(tree.root, tree.keys, tree.relevance, tree.mask, tree.embeddings)
    _arrays(X=change)(tree)
    corpus = openmic.read(tree.root, "openmic-2018")
    with pytest.raises(RepriseError, match=message):
        openmic.embeddings(corpus)


def test_embeddings_without_arrays(tree):
    (tree.root / ARRAYS).unlink()
    with pytest.raises(RepriseError, match=r"there is no .*openmic-2018\.npz"):
        openmic.embeddings(openmic.read(tree.root, "openmic-2018"))


@pytest.mark.parametrize("name", ["class-map.json", "ground_truth/manifest.json"])
def test_a_spoilt_pocket_corpus_is_to_be_deleted_not_fetched(tree, name):
    (tree.root / "ground_truth").mkdir()
    (tree.root / "ground_truth/manifest.json").write_text('{"parameters": {"size": 12}, "renderer_version": 1}')
    corpus = openmic.read(tree.root, "pocket-openmic")
    assert corpus.pocket
    assert corpus.facts["parameters"] == {"size": 12}
    (tree.root / name).write_text("{}")
    with pytest.raises(RepriseError, match=r"delete the folder .* rendered again"):
        openmic.read(tree.root, "pocket-openmic")


def test_the_checksum_follows_labels_keys_and_audio(tree):
    first = openmic.read(tree.root, "openmic-2018").checksum
    assert openmic.read(tree.root, "another name").checksum == first
    sums = (tree.root / "checksums").read_text()
    (tree.root / "checksums").write_text(sums.replace("0", "1"))
    second = openmic.read(tree.root, "openmic-2018").checksum
    (tree.root / ARRAYS).unlink()
    table = (tree.root / LABELS).read_text().splitlines()
    (tree.root / LABELS).write_text("\n".join(table[:-1]))
    assert len({first, second, openmic.read(tree.root, "openmic-2018").checksum}) == 3


def test_published_corpus_where_the_environment_says(tree, monkeypatch):
    with pytest.raises(RepriseError, match=r"not in .*reprise-home/data/openmic-2018: run `reprise data fetch openmic"):
        corpora.load("openmic-2018")
    monkeypatch.setenv("REPRISE_DATA", str(tree.root.parent))
    assert corpora.load("openmic-2018").root == tree.root


@pytest.mark.parametrize("nested", ["openmic2018", "openmic2018/openmic-2018", "openmic-2018/openmic-2018"])
def test_published_corpus_in_the_folders_that_mirdata_and_tar_make(tree, tmp_path, monkeypatch, nested):
    (tmp_path / "mir" / nested).parent.mkdir(parents=True)
    tree.root.rename(tmp_path / "mir" / nested)
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "mir"))
    assert corpora.load("openmic-2018").root == tmp_path / "mir" / nested
    assert corpora.load("openmic-2018", tmp_path / "mir" / nested.split("/")[0]).root == tmp_path / "mir" / nested


def _as_folder(root):
    sums = (root / "checksums").read_text()
    (root / "checksums").unlink()
    (root / "checksums").mkdir()
    (root / "checksums" / "openmic-2018-audio.csv").write_text(sums)
    (root / "checksums" / "openmic-2018-vggish.csv").write_text(sums.replace("a", "b"))


def _as_md5sum(root):
    lines = [line.split(",") for line in (root / "checksums").read_text().splitlines()[1:]]
    audio = [f"{md5}  ./audio/{key[:3]}/{key}.ogg\n" for key, md5 in lines]
    other = [f"{md5[::-1]}  ./vggish/{key[:3]}/{key}.json\n" for key, md5 in lines]
    (root / "checksums").write_text("".join(audio + other + ["0" * 32 + "  ./class-map.json\n"]))


@pytest.mark.parametrize("rewrite", [lambda root: None, _as_folder, _as_md5sum])
def test_audio_checksums_in_each_form(tree, rewrite):
    rewrite(tree.root)
    sums = openmic.audio_checksums(tree.root)
    assert len(sums) == 12
    for path, md5 in sums.items():
        assert hashlib.md5((tree.root / path).read_bytes()).hexdigest() == md5


def test_audio_checksums_absent_or_of_something_else(tree):
    (tree.root / "checksums").write_text("nothing\n")
    with pytest.raises(RepriseError, match="lists no audio file"):
        openmic.audio_checksums(tree.root)
    (tree.root / "checksums").unlink()
    with pytest.raises(RepriseError, match="cannot be read"):
        openmic.audio_checksums(tree.root)


@pytest.fixture
def real_tree(published_data, tmp_path) -> Path:
    """The published files that are at hand, put where the archive has them."""
    source, root = published_data / "openmic-2018", tmp_path / "openmic-2018"
    for folder in ("partitions", "audio/000", "vggish/000"):
        (root / folder).mkdir(parents=True)
    shutil.copy(source / "class-map.json", root)
    shutil.copy(source / "openmic-2018-audio.checksums.csv", root / "checksums")
    for part in ("train", "test"):
        shutil.copy(source / f"split01_{part}.csv", root / "partitions")
    for path in (source / "sample").glob("openmic-2018-*.csv"):
        shutil.copy(path, root)
    shutil.copy(source / "sample" / "000046_3840.ogg", root / "audio" / "000")
    shutil.copy(source / "sample" / "000046_3840.json", root / "vggish" / "000")
    return root


def test_the_real_files(real_tree):
    corpus = corpora.load("openmic-2018", real_tree)
    assert len(corpus.clips) == 20_000
    assert corpus.clips["partition"].value_counts().to_dict() == {"train": 14_915, "test": 5_085}
    assert len(corpus.classes) == 20
    assert corpus.classes[0] == "accordion"
    assert corpus.classes[9] == "mallet_percussion"
    assert corpus.classes[19] == "voice"
    first = corpus.clips.iloc[0]
    assert (first["key"], first["group"]) == ("000046_3840", "4")
    assert (first["artist"], first["title"]) == ("Nicky Cook", "Yosemite")
    # Three answers, all "no": clarinet 0.17, flute 0, trumpet 0.
    assert [corpus.classes[c] for c in np.flatnonzero(corpus.mask[0])] == ["clarinet", "flute", "trumpet"]
    assert corpus.facts["observed"] == 3
    assert corpus.facts["positives"] == corpus.labels.sum() == 0
    assert corpus.facts["clips_without_label"] == 19_999
    sums = openmic.audio_checksums(real_tree)
    assert sorted(sums) == [str(Path(path).relative_to(real_tree)) for path in corpus.clips["path"]]
    assert hashlib.md5(Path(first["path"]).read_bytes()).hexdigest() == sums["audio/000/000046_3840.ogg"]
