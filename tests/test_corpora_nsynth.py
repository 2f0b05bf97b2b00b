import json
import time

import numpy as np
import pytest
import soundfile
from nsynth_trees import PARTS, make_nsynth_tree

from harness import corpora
from harness.corpora import download, nsynth
from harness.errors import RepriseError


@pytest.fixture
def root(tmp_path):
    make_nsynth_tree(tmp_path / "data" / "nsynth")
    return tmp_path / "data" / "nsynth"


def edit(root, part, change):
    """Change what examples.json says, in place."""
    path = root / f"nsynth-{part}" / "examples.json"
    notes = json.loads(path.read_text())
    change(notes)
    path.write_text(json.dumps(notes))


def test_a_published_tree_as_it_was_written(tmp_path):
    notes = make_nsynth_tree(tmp_path / "nsynth")
    corpus = nsynth.read(tmp_path / "nsynth", "nsynth")
    assert corpus.classes == nsynth.QUALITIES
    assert corpus.clips["key"].tolist() == sorted(notes)
    assert corpus.seconds == 4.0
    assert corpus.mask.all()
    assert corpus.labels.dtype == np.uint8
    assert not corpus.pocket
    for row, clip in corpus.clips.iterrows():
        note = notes[clip["key"]]
        assert corpus.labels[row].tolist() == note["qualities"]
        assert clip["group"] == note["instrument_str"]
        assert (clip["pitch"], clip["velocity"]) == (note["pitch"], note["velocity"])
        assert (clip["family"], clip["source"]) == ("bass", "synthetic")
        assert soundfile.info(clip["path"]).frames == 64000
        assert f"nsynth-{clip['partition']}" in clip["path"]
    assert corpus.facts["notes"] == PARTS
    assert corpus.facts["positives"] == sum(sum(note["qualities"]) for note in notes.values())
    assert corpus.facts["notes_without_quality"] == sum(not any(note["qualities"]) for note in notes.values()) > 0
    assert corpus.facts["instruments"] == 7
    split = corpus.split("published", seed=3)
    assert split.seed == 0
    assert {part: len(rows) for part, rows in split.rows.items()} == PARTS
    assert split.leakage["shared_groups"] == {"train-valid": 0, "train-test": 0, "valid-test": 0}


@pytest.mark.parametrize("where", ["nsynth", "."])
def test_the_published_corpus_is_found_in_the_data_folder(tmp_path, monkeypatch, where):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    make_nsynth_tree(tmp_path / where)
    corpus = corpora.load("nsynth")
    assert corpus.root == (tmp_path / where).absolute()
    assert len(corpus.clips) == 14
    assert download.status("nsynth")["audio_files"] == 14
    assert download.status("nsynth")["here"]


def test_a_folder_around_the_corpus_is_enough(root):
    assert corpora.load("nsynth", root.parent).root == root


def test_what_is_not_here_names_the_command(tmp_path):
    with pytest.raises(RepriseError, match=r"nsynth is not in .*: run `reprise data fetch nsynth`, or set REPRISE_DAT"):
        corpora.load("nsynth")


def test_the_test_part_may_be_missing_and_the_others_not(tmp_path):
    make_nsynth_tree(tmp_path / "two", {"train": 4, "valid": 2})
    corpus = nsynth.read(tmp_path / "two", "nsynth")
    assert corpus.facts["notes"] == {"train": 4, "valid": 2, "test": 0}
    with pytest.raises(RepriseError, match="published partition has no test, which the split published needs"):
        corpus.split("published")
    make_nsynth_tree(tmp_path / "one", {"test": 2})
    with pytest.raises(RepriseError, match=r"there is no nsynth-train and no nsynth-valid in .*one: move that folder"):
        nsynth.read(tmp_path / "one", "nsynth")


FIRST = "bass_synthetic_000-040-025"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda notes: notes[FIRST].pop("qualities"), f"gives no qualities for {FIRST}"),
        (lambda notes: notes[FIRST].update(qualities=5), f"gives no qualities for {FIRST}"),
        (lambda notes: notes[FIRST].update(qualities=[0] * 9), f"gives {FIRST} qualities that are not ten times 0"),
        (lambda notes: notes[FIRST].update(qualities=[0] * 9 + [2]), "that are not ten times 0 or 1"),
        (lambda notes: notes[FIRST].update(qualities=[0] * 9 + [0.5]), "that are not ten times 0 or 1"),
        (lambda notes: notes[FIRST].update(qualities=[0] * 9 + ["1"]), "that are not ten times 0 or 1"),
        (lambda notes: notes[FIRST].update(qualities_str=["muddy"]), f"gives {FIRST} the quality 'muddy', which"),
        (
            lambda notes: notes[FIRST].update(qualities_str=["bright"]),
            f"contradicts itself on the qualities of {FIRST}",
        ),
        (
            lambda notes: notes[FIRST].update(sample_rate=44100),
            f"gives {FIRST} a sample rate of 44100 and not of 16000",
        ),
        (lambda notes: notes[FIRST].update(pitch="C4"), f"gives {FIRST} the pitch 'C4', which is no number from 0 to"),
        (lambda notes: notes[FIRST].update(velocity=128), f"gives {FIRST} the velocity 128, which is no number"),
        (lambda notes: notes[FIRST].pop("instrument_str"), f"gives no instrument_str for {FIRST}"),
        (lambda notes: notes.update({FIRST: "a note"}), f"gives no note_str for {FIRST}"),
        (lambda notes: notes.update(other=notes.pop(FIRST)), f"has the note {FIRST} under the name other"),
        (lambda notes: notes.clear(), "does not give notes by their names"),
    ],
)
def test_a_note_that_is_not_as_published(root, change, message):
    edit(root, "train", change)
    with pytest.raises(RepriseError, match=f"nsynth-train/examples.json .*{message}.*move that folder away") as caught:
        nsynth.read(root, "nsynth")
    assert "\n" not in str(caught.value)


def test_notes_without_the_names_of_their_qualities_are_read(root):
    labels = nsynth.read(root, "nsynth").labels
    edit(root, "train", lambda notes: [note.pop("qualities_str") for note in notes.values()])
    np.testing.assert_array_equal(nsynth.read(root, "nsynth").labels, labels)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "\xff"])
def test_what_is_not_json(root, text):
    (root / "nsynth-valid" / "examples.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RepriseError, match=r"nsynth-valid/examples\.json (is not JSON|does not give notes)"):
        nsynth.read(root, "nsynth")


def test_a_part_without_its_table(root):
    (root / "nsynth-valid" / "examples.json").unlink()
    with pytest.raises(RepriseError, match=r"there is no readable nsynth-valid/examples\.json in"):
        nsynth.read(root, "nsynth")


def test_absent_files_are_counted_and_the_first_is_named(root):
    for path in sorted((root / "nsynth-train" / "audio").iterdir())[2:5]:
        path.unlink()
    with pytest.raises(
        RepriseError, match=r"nsynth-train/audio lacks 3 files that .* names, first bass_synthetic_001-0"
    ):
        nsynth.read(root, "nsynth")


def test_a_note_in_two_parts(root):
    note = json.loads((root / "nsynth-train" / "examples.json").read_text())[FIRST]
    edit(root, "valid", lambda notes: notes.update({FIRST: note}))
    (root / "nsynth-valid" / "audio" / f"{FIRST}.wav").write_bytes(b"")
    with pytest.raises(RepriseError, match=f"1 notes are in two parts, first {FIRST} in nsynth-train and nsynth-valid"):
        nsynth.read(root, "nsynth")


def test_verify_by_form_finds_each_kind_of_damage(root):
    whole = {"checked": 14, "by_form": 14, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("nsynth", root, jobs=1) == whole
    audio = root / "nsynth-train" / "audio"
    gone, cut, slow, stereo, text, *_ = sorted(audio.iterdir())
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1000])
    soundfile.write(slow, np.zeros(64000), 8000)
    soundfile.write(stereo, np.zeros((64000, 2)), 16000)
    text.write_text("no sound")
    (audio / "new.wav").write_bytes(b"")
    found = download.verify("nsynth", root, jobs=1)
    assert found["missing"] == [gone.relative_to(root).as_posix()]
    assert found["changed"] == [path.relative_to(root).as_posix() for path in (cut, slow, stereo, text)]
    assert found["unlisted"] == ["nsynth-train/audio/new.wav"]


def test_reading_is_quick_and_asks_the_disk_once_per_part(tmp_path, monkeypatch):
    """20,000 notes here; 305,979 were measured to take 4 s."""
    notes = make_nsynth_tree(tmp_path, {"train": 1, "valid": 1})
    template = notes[FIRST]
    many = {}
    for number in range(20_000):
        key = f"bass_synthetic_{number:05d}-040-025"
        many[key] = template | {"note_str": key, "instrument_str": key[:20]}
        (tmp_path / "nsynth-train" / "audio" / f"{key}.wav").touch()
    (tmp_path / "nsynth-train" / "examples.json").write_text(json.dumps(many))
    started = time.process_time()
    assert len(nsynth.read(tmp_path, "nsynth").clips) == 20_001
    assert time.process_time() - started < 3  # measured: 0.3 s


def test_the_sizes_of_the_archives_add_up():
    source = nsynth.CORPORA[0].source
    assert sum(archive.bytes for archive in source.archives) == source.download_bytes == 25_233_566_634
    assert sum(nsynth.COUNTS.values()) == 305_979
    about = download.status("nsynth")["about"]
    assert "CC BY 4.0" in about
    assert "gives no checksums" in about
    assert "289,205 + 12,678 + 4,096" in about
