"""Where published corpora are looked for: in general on one that is a single file, then those of the table."""

import inspect

import pytest

from harness.corpora import audioset, fsd50k, irmas, nsynth, openmic, philharmonia, published, tinysol
from harness.errors import RepriseError

MARKER = "clips.csv"

#: Of each reader: files that one alone makes a folder its corpus's, the folders of the data folder in the order in
#: which they are looked in, and those of a folder that the user names.
PLACES = {
    openmic: (
        ["class-map.json"],
        ["openmic-2018", "openmic-2018/openmic-2018", "openmic2018", "openmic2018/openmic-2018"],
        [".", "openmic-2018"],
    ),
    nsynth: (["nsynth-train/examples.json"], ["nsynth", "."], [".", "nsynth"]),
    fsd50k: (
        ["FSD50K.ground_truth/vocabulary.csv"],
        ["fsd50k", "fsd50k/fsd50k", "fsd50k/FSD50K", "FSD50K", "FSD50K/fsd50k", "FSD50K/FSD50K"],
        [".", "fsd50k", "FSD50K"],
    ),
    audioset: (["class_labels_indices.csv"], ["audioset"], ["."]),
    tinysol: (
        ["TinySOL_metadata.csv", "annotation/TinySOL_metadata.csv"],
        ["tinysol", "TinySOL"],
        [".", "tinysol", "TinySOL"],
    ),
    philharmonia: (
        ["violin/violin_A4_1_forte_arco-normal.mp3", "double bass/a.mp3", "double-bass/a.mp3"],
        ["philharmonia", "philharmonia/philharmonia", "philharmonia/all-samples"],
        [".", "philharmonia", "all-samples"],
    ),
    irmas: (
        [
            "IRMAS-TrainingData/a",
            "IRMAS-TestingData-Part1/a",
            "Part1/a",
            "IRTestingData-Part2/a",
            "cel/a",
        ],
        ["irmas", "irmas/IRMAS", "IRMAS", "IRMAS/IRMAS"],
        [".", "irmas", "IRMAS"],
    ),
}
readers = pytest.mark.parametrize("reader", PLACES, ids=lambda reader: reader.__name__.rpartition(".")[2])


def holds(folder):
    return (folder / MARKER).is_file()


def read(root, name):
    return name, root


NOTES = published.Published(read, holds, folders=("notes", "."), within=("notes", "NOTES"))


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_first_folder_that_holds_it_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    assert NOTES.folder() == tmp_path / "notes"
    put(tmp_path / MARKER)
    assert NOTES.folder() == tmp_path
    put(tmp_path / "notes" / MARKER)
    assert NOTES.folder() == tmp_path / "notes"
    assert NOTES.load("one") == ("one", tmp_path / "notes")


def test_of_a_folder_that_is_named_no_other_is_looked_in(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    put(tmp_path / "notes" / MARKER)
    mine = tmp_path / "mine"
    assert NOTES.folder(mine) == mine
    put(mine / "NOTES" / MARKER)
    assert NOTES.folder(mine) == mine / "NOTES"
    put(mine / "notes" / MARKER)
    assert NOTES.folder(mine, 12) == mine / "notes"
    put(mine / MARKER)
    assert NOTES.load("one", mine, 12, 1) == ("one", mine)


def test_what_is_not_here_is_told_with_the_way_out(tmp_path):
    with pytest.raises(RepriseError) as caught:
        NOTES.load("one", tmp_path)
    assert str(caught.value) == (
        f"one is not in {tmp_path}: run `reprise data fetch one`, or set REPRISE_DATA to the folder that holds it"
    )
    asked = published.Published(read, holds, folders=("notes",), obtain="ask the orchestra")
    with pytest.raises(RepriseError) as caught:
        asked.load("one", tmp_path)
    assert str(caught.value) == f"one is not in {tmp_path}: ask the orchestra"


def test_the_reader_tells_what_a_part_of_the_corpus_lacks(tmp_path):
    parts = published.Published(read, holds, folders=("notes",), begun=lambda folder: (folder / "audio").is_dir())
    with pytest.raises(RepriseError, match="one is not in"):
        parts.load("one", tmp_path)
    (tmp_path / "audio").mkdir()
    assert parts.load("one", tmp_path) == ("one", tmp_path)


@readers
@pytest.mark.parametrize("named", [False, True], ids=["data folder", "named"])
def test_folders_of_the_table_are_looked_in_in_this_order(reader, named, tmp_path, monkeypatch):
    markers, default, of_root = PLACES[reader]
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "elsewhere" if named else tmp_path))
    places, root = (of_root, tmp_path) if named else (default, None)
    assert reader.PUBLISHED.folder(root) == tmp_path / places[0]
    # From the last to the first: each is found before all that were filled before it.
    for number, place in enumerate(reversed(places)):
        put(tmp_path / place / markers[number % len(markers)])
        assert reader.PUBLISHED.folder(root) == tmp_path / place


@readers
def test_each_of_the_files_makes_a_folder_the_corpus_s(reader, tmp_path):
    for marker in PLACES[reader][0]:
        folder = tmp_path / marker.replace("/", "-")
        assert not reader.PUBLISHED.holds(folder)
        put(folder / marker)
        assert reader.PUBLISHED.holds(folder)


@readers
def test_corpora_of_the_table_that_are_not_here_say_so_in_a_sentence(reader, tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    entry = reader.CORPORA[0]
    assert list(inspect.signature(entry.load).parameters) == ["name", "root", "size", "jobs"]
    with pytest.raises(RepriseError) as caught:
        entry.load(entry.name, None, None, None)
    sentence = str(caught.value)
    assert sentence.startswith(f"{entry.name} is not in {entry.folder(None, None)}: ")
    assert "\n" not in sentence
    assert ("`reprise data fetch" in sentence) == (entry.source is not None)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_part_of_nsynth_is_not_taken_for_nothing(part, tmp_path):
    (tmp_path / f"nsynth-{part}").mkdir()
    with pytest.raises(RepriseError, match=r"^there is no .* in .*: move that folder away"):
        nsynth.PUBLISHED.load("nsynth", tmp_path)
