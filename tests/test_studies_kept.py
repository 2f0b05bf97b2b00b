"""What is kept of trials: all but the weights, as it was, and why it changed."""

import datetime
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import write_trials

from harness.errors import RepriseError
from harness.storage import fingerprint, sha256_of, write_json
from harness.studies import kept, records, study
from harness.studies.records import Predictions, Record
from harness.training.loop import read_learned

STUDY = study.load("openmic-transfer")
ARMS = ("resnet_fc", "vggish_fc")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two arms with two seeds each."""
    folder = tmp_path / "runs" / "openmic_transfer" / "pocket-openmic-pocket"
    write_trials(folder, STUDY, arms=ARMS, conditions=["paper"], seeds=2, sizes=(12, 20))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results" / "openmic_transfer" / "pocket-openmic-pocket"


def other_predictions(record: Record) -> None:
    """Have a trial say the opposite on the test part, and score it."""
    test = record.predictions("test")
    flipped = Predictions(test.keys, test.labels, test.mask, 1 - test.probabilities)
    records.write_predictions(record.folder, {"valid": record.predictions("valid"), "test": flipped})
    records.write_record(record.folder, {k: v for k, v in record.data.items() if k != "checksum"})


def reasons(results: Path) -> list[list[str]]:
    """Cells of the reasons' rows."""
    lines = (results / "records" / "REASONS.md").read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[4:]]


def test_all_but_the_weights_is_kept_byte_by_byte(runs, results):
    found = records.find_records(runs)
    folder = kept.keep(found, results)
    assert folder == results / "records"
    copies = records.find_records(folder)
    assert [kept.place(r) for r in copies] == [kept.place(r) for r in found]
    assert kept.place(found[0]) == "records/resnet_fc@paper/seed-0"
    for record, copy in zip(found, copies, strict=True):
        assert sorted(p.name for p in copy.folder.iterdir()) == ["history.jsonl", "predictions.npz", "record.json"]
        for path in copy.folder.iterdir():
            assert path.read_bytes() == (record.folder / path.name).read_bytes()
        assert records.verify(copy.folder).data == record.data
        assert kept.same_predictions(record, copy)
        assert copy.history().equals(record.history())


def test_weights_may_be_absent_only_where_a_trial_is_kept(runs, results):
    found = records.find_records(runs)
    kept.keep(found, results)
    (found[0].folder / "best.safetensors").unlink()
    with pytest.raises(RepriseError, match=r"best\.safetensors is missing"):
        records.verify(found[0].folder)
    assert [records.is_kept(r.folder) for r in (found[0], records.find_records(results)[0])] == [False, True]


def test_who_asks_for_weights_that_are_not_kept_is_told(runs, results):
    kept.keep(records.find_records(runs), results)
    with pytest.raises(RepriseError, match=r"the weights .*best\.safetensors are not here .*or run it again"):
        read_learned(records.find_records(results)[0].folder / "best.safetensors")


@pytest.mark.parametrize("name", ["record.json", "predictions.npz", "history.jsonl"])
def test_one_changed_byte_of_what_is_kept_shows(runs, results, name):
    kept.keep(records.find_records(runs), results)
    path = next(results.rglob(name))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RepriseError, match=rf"{name}.*(changed|damaged)"):
        records.verify(path.parent)
    path.unlink()
    with pytest.raises(RepriseError, match=name):
        records.verify(path.parent)


def test_what_is_kept_is_what_the_page_was_made_from(runs, results):
    found = records.find_records(runs)
    kept.keep(found, results)
    (results / "records" / "mine.txt").touch()
    (results / "table.csv").touch()
    kept.keep([r for r in found if r.arm == "vggish_fc" and r.seed == 1], results)
    assert [kept.place(r) for r in records.find_records(results)] == ["records/vggish_fc@paper/seed-1"]
    assert sorted(p.name for p in (results / "records").iterdir()) == ["REASONS.md", "mine.txt", "vggish_fc@paper"]
    assert (results / "table.csv").exists()


def test_reasons_say_when_and_why_predictions_changed(runs, results):
    found = records.find_records(runs)
    kept.keep(found, results)
    kept.keep(found, results, reason="nothing did")
    shutil.rmtree(found[3].folder)
    other_predictions(found[0])
    kept.keep(records.find_records(runs), results, reason="a | b\nand c")
    other_predictions(found[1])
    kept.keep(records.find_records(runs), results)
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    assert reasons(results) == [
        [today, "no checkout", "4 new", "First kept"],
        [today, "no checkout", "1 changed, 1 gone", r"a \| b and c"],
        [today, "no checkout", "1 changed", "none given"],
    ]


def test_a_score_that_changed_alone_is_a_change(runs, results):
    found = records.find_records(runs)
    kept.keep(found, results)
    data = {k: v for k, v in found[0].data.items() if k != "checksum"}
    data["metrics"]["test"]["f1_macro_unmasked"] += 0.1
    write_json(found[0].folder / "record.json", {**data, "checksum": fingerprint(data, length=64)})
    kept.keep(records.find_records(runs), results, reason="F1 mended")
    assert reasons(results)[-1][2:] == ["1 scored anew", "F1 mended"]


def test_checksums_are_noted_of_what_networks_were_asked_for(runs, results):
    kept.keep(records.find_records(runs), results)
    assert kept.vouched(results) is None
    for name in ("maps_test.csv", "maps_test.md"):
        (results / name).write_text(name)
    noted = kept.vouch([results / "maps_test.md", results / "maps_test.csv"], results)
    assert noted == results / "records" / "SHA256SUMS"
    made, of_records = kept.vouched(results)
    assert made == {name: sha256_of(results / name) for name in ("maps_test.csv", "maps_test.md")}
    assert of_records == {
        f"{kept.place(r)}/record.json": sha256_of(r.folder / "record.json") for r in records.find_records(runs)
    }
    checked = subprocess.run(["sha256sum", "-c", "records/SHA256SUMS"], cwd=results, capture_output=True)
    assert checked.returncode == 0
    noted.write_text("nonsense\n")
    with pytest.raises(RepriseError, match="SHA256SUMS is damaged"):
        kept.vouched(results)


def test_an_interrupted_copy_shows(runs, results, monkeypatch):
    found = records.find_records(runs)
    kept.keep(found, results)
    other_predictions(found[0])
    copy = shutil.copyfile

    def full_disk(source, target):
        if Path(source).name == "record.json":
            raise OSError("No space left on device")
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", full_disk)
    with pytest.raises(RepriseError, match=r"cannot write .*record\.json"):
        kept.keep(records.find_records(runs), results)
    with pytest.raises(RepriseError, match=r"predictions\.npz was changed after"):
        records.verify(results / kept.place(found[0]))


def test_predictions_are_the_same_only_bit_by_bit(runs):
    ours, theirs = records.find_records(runs)[:2]
    assert kept.same_predictions(ours, ours)
    assert not kept.same_predictions(ours, theirs)
    parts = {part: ours.predictions(part) for part in records.PARTS}
    records.write_predictions(theirs.folder, parts)
    assert kept.same_predictions(ours, theirs)
    p = parts["test"]
    p.probabilities[3, 4] = np.nextafter(p.probabilities[3, 4], np.float32(1))
    records.write_predictions(theirs.folder, parts)
    assert not kept.same_predictions(ours, theirs)
    records.write_predictions(theirs.folder, {**parts, "test_s1": parts["test"]})
    assert not kept.same_predictions(ours, theirs)


def test_folders_with_kept_trials_are_found(runs, results, tmp_path):
    assert kept.folders("openmic_transfer", tmp_path / "results") == []
    kept.keep(records.find_records(runs), results)
    (results.parent / "other-pocket" / "records").mkdir(parents=True)
    assert kept.folders("openmic_transfer", tmp_path / "results") == [results]
    assert kept.folders("gtzan_cam", tmp_path / "results") == []


@pytest.mark.parametrize(
    ("git", "said"),
    [
        (None, "no checkout"),
        ({"commit": "a" * 40, "clean": True}, "commit aaaaaaaaaaaa"),
        ({"commit": "a" * 40, "clean": False}, "commit aaaaaaaaaaaa with changes"),
    ],
)
def test_the_checkout_in_words(git, said):
    assert kept.commit_of(git) == said
