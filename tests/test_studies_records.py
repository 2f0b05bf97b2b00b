"""Records: what was written is read, and one changed byte shows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import CLASSES, write_trials

from harness.errors import RepriseError
from harness.metrics import multilabel
from harness.storage import fingerprint, write_json
from harness.studies import records, study
from harness.studies.records import Predictions, Record

FILES = ("record.json", "predictions.npz", "history.jsonl", "best.safetensors")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Record:
    folder = tmp_path_factory.mktemp("trials")
    return write_trials(folder, study.load("openmic-transfer"), conditions=["paper"], sizes=(12, 20))[0]


@pytest.fixture
def record(written: Record, tmp_path: Path) -> Record:
    """A copy that a test may damage."""
    return records.read_record(Path(shutil.copytree(written.folder, tmp_path / "trial")))


def rewrite(record: Record, data: dict) -> None:
    """Change a record as somebody would who knows how its checksum is made."""
    data = {key: value for key, value in data.items() if key != "checksum"}
    write_json(record.folder / "record.json", {**data, "checksum": fingerprint(data, length=64)})


def test_what_was_written_is_read(tmp_path):
    generator = np.random.default_rng(0)
    parts = {
        part: Predictions(
            keys=np.array([f"{part}-{i}" for i in range(n)]),
            labels=generator.integers(0, 2, (n, 3)).astype(np.uint8),
            mask=generator.random((n, 3)) < 0.7,
            probabilities=generator.random((n, 3)).astype(np.float32),
        )
        for part, n in (("valid", 6), ("test", 9))
    }
    records.write_predictions(tmp_path, parts)
    (tmp_path / "history.jsonl").write_text('{"epoch": 1, "train_loss": 0.5}\n{"epoch": 2, "train_loss": 0.25}\n')
    (tmp_path / "best.safetensors").write_bytes(b"weights")
    data = dict.fromkeys(records.NEEDED) | {
        "arm": "a", "condition": "paper", "seed": 3, "classes": ["x", "y", "z"], "protocol": {"threshold": 0.4},
    }  # fmt: skip
    del data["checksum"]
    records.write_record(tmp_path, data)
    record = records.verify(tmp_path)
    assert (record.arm, record.condition, record.seed) == ("a", "paper", 3)
    assert set(record.data["files"]) == {"predictions.npz", "history.jsonl", "best.safetensors"}
    for part, predictions in parts.items():
        for name, value in vars(predictions).items():
            stored = getattr(record.predictions(part), name)
            assert stored.dtype == value.dtype
            np.testing.assert_array_equal(stored, value)
        expected = multilabel.evaluate(
            predictions.labels, predictions.probabilities, predictions.mask, threshold=0.4, classes=["x", "y", "z"]
        )
        assert record.data["metrics"][part] == expected
    assert record.history().to_dict("list") == {"epoch": [1, 2], "train_loss": [0.5, 0.25]}


def test_a_clips_prediction_is_the_mean_of_its_segments():
    labels = np.eye(2, dtype=np.uint8)[[1, 0, 1, 1]]
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.6, 0.4], [0.1, 0.9]], np.float32)
    of_segments = records.Predictions(
        np.array(["b#1", "a#0", "b#0", "b#2"]), labels, np.ones((4, 2), bool), probabilities
    )
    of_clips = records.by_clip(of_segments)
    assert of_clips.keys.tolist() == ["a", "b"]
    np.testing.assert_array_equal(of_clips.labels, [[1, 0], [0, 1]])
    np.testing.assert_allclose(of_clips.probabilities, [[0.9, 0.1], [0.3, 0.7]], atol=1e-7)
    assert of_clips.mask.all()


def test_a_sound_trial_is_found_sound(record):
    assert records.verify(record.folder).data == record.data
    assert record.data["classes"] == list(CLASSES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.13, 0.5, 0.87, 1.0], ids=lambda place: f"at {place:.0%}")
def test_one_changed_byte_shows(record, name, place):
    path = record.folder / name
    content = bytearray(path.read_bytes())
    index = round(place * (len(content) - 1))
    content[index] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(RepriseError, match=rf"{name}.*(changed after|damaged).*run it again"):
        records.verify(record.folder)


def test_bytes_all_over_a_record_count(record):
    path = record.folder / "record.json"
    content = path.read_bytes()
    head = content[: content.index(b'"metrics"')] + b"\n"  # the longest part repeats itself
    for index in range(0, len(head), 5):
        for other in (b" ", b"0"):
            if content[index : index + 1] != other:
                path.write_bytes(content[:index] + other + content[index + 1 :])
                with pytest.raises(RepriseError):
                    records.verify(record.folder)


@pytest.mark.parametrize("change", [lambda text: text.rstrip("\n"), lambda text: text.replace("\n", "\r\n")])
def test_blanks_count_too(record, change):
    path = record.folder / "record.json"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8", newline="")
    with pytest.raises(RepriseError, match="changed after it was written"):
        records.verify(record.folder)


def test_a_number_out_of_range_shows(record):
    path = record.folder / "record.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"threshold": 0.5', '"threshold": 1e999'), encoding="utf-8")
    with pytest.raises(RepriseError, match="changed after it was written"):
        records.verify(record.folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_shows(record, name):
    (record.folder / name).unlink()
    with pytest.raises(RepriseError, match=rf"{name}.*run (it again|it to its end first)"):
        records.verify(record.folder)


@pytest.mark.parametrize("name", FILES[1:])
def test_an_empty_file_shows(record, name):
    (record.folder / name).write_bytes(b"")
    with pytest.raises(RepriseError, match=f"{name} was changed after"):
        records.verify(record.folder)


def test_an_edited_metric_shows_even_where_the_checksum_was_repaired(record):
    data = json.loads((record.folder / "record.json").read_text(encoding="utf-8"))
    true = data["metrics"]["test"]["f1_macro_unmasked"]
    data["metrics"]["test"]["f1_macro_unmasked"] = true + 1e-6
    rewrite(record, data)
    with pytest.raises(RepriseError, match=rf"f1_macro_unmasked on test is recorded as .* but comes out as {true}"):
        records.verify(record.folder)


def test_an_edited_score_of_one_class_shows(record):
    data = json.loads((record.folder / "record.json").read_text(encoding="utf-8"))
    data["metrics"]["valid"]["per_class"]["banjo"]["support"] += 1
    rewrite(record, data)
    with pytest.raises(RepriseError, match="per_class on valid"):
        records.verify(record.folder)


def test_an_invented_metric_shows(record):
    data = json.loads((record.folder / "record.json").read_text(encoding="utf-8"))
    data["metrics"]["test"]["f1_of_my_dreams"] = 0.99
    rewrite(record, data)
    with pytest.raises(RepriseError, match=r"f1_of_my_dreams on test is recorded as 0\.99 but comes out as None"):
        records.verify(record.folder)


def test_other_predictions_show_even_where_all_checksums_were_repaired(record):
    test = record.predictions("test")
    flipped = Predictions(test.keys, test.labels, test.mask, 1 - test.probabilities)
    records.write_predictions(record.folder, {"valid": record.predictions("valid"), "test": flipped})
    data = json.loads((record.folder / "record.json").read_text(encoding="utf-8"))
    data["files"]["predictions.npz"] = records.sha256_of(record.folder / "predictions.npz")
    rewrite(record, data)
    with pytest.raises(RepriseError, match="on test is recorded as"):
        records.verify(record.folder)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"arm": NaN', "\x00"])
def test_a_damaged_record_is_said(record, content):
    (record.folder / "record.json").write_text(content)
    with pytest.raises(RepriseError, match=r"record\.json is damaged \(.*\); remove the trial's folder and run it"):
        records.read_record(record.folder)


@pytest.mark.parametrize("key", ["format", "corpus", "protocol", "metrics"])
def test_a_record_that_lacks_something_is_said(record, key):
    rewrite(record, {name: value for name, value in record.data.items() if name != key})
    with pytest.raises(RepriseError, match=rf"record\.json is damaged \(it lacks '?{key}'?\); remove the trial's fold"):
        records.find_records(record.folder)


def test_a_record_of_another_format_is_said(record):
    rewrite(record, {**record.data, "format": 2})
    with pytest.raises(RepriseError, match=r"record\.json has the format 2, and this version reads 1; update Reprise"):
        records.read_record(record.folder)


def test_what_is_kept_with_results_is_not_run_again_but_restored(record, tmp_path):
    kept = tmp_path / "pocket-openmic-pocket" / records.KEPT / "resnet_fc" / "seed-0"
    shutil.copytree(record.folder, kept)
    (kept / "predictions.npz").write_bytes(b"")
    with pytest.raises(RepriseError, match=r"predictions\.npz was changed .*; restore it from git"):
        records.intact(kept)
    (kept / "record.json").write_text("{}")
    with pytest.raises(
        RepriseError, match=r"record\.json is damaged \(it lacks format\); restore it from git"
    ) as raised:
        records.find_records(tmp_path / "pocket-openmic-pocket")
    assert "run it again" not in str(raised.value)
    assert not records.is_kept(Path("/trial"))


def test_an_undefined_score_of_an_epoch_is_a_number_that_is_none(record):
    lines = [{"epoch": n, "map_masked": None, "learning_rate": [0.1]} for n in (1, 2)]
    (record.folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    history = record.history()
    assert history["map_masked"].dtype == float
    assert history["map_masked"].isna().all()


def test_no_record_is_said(tmp_path):
    with pytest.raises(RepriseError, match=r"holds no finished trial \(no record\.json\); run it to its end first"):
        records.read_record(tmp_path)


def test_records_are_found_in_the_order_of_their_paths(written):
    found = records.find_records(written.folder.parents[1])
    assert len(found) == 7
    assert [r.folder for r in found] == sorted(r.folder for r in found)
    assert records.find_records(written.folder / "nowhere") == []


def test_predictions_are_never_unpickled(record):
    np.savez(record.folder / "predictions.npz", keys_test=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        record.predictions("test")
