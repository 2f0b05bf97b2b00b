"""What is kept of trials: all but the weights, as it was, merged with what is kept already, and why it changed."""

import datetime
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import write_trials

from harness.errors import RepriseError
from harness.storage import fingerprint, write_json, write_text
from harness.studies import kept, records, study
from harness.studies.records import Predictions, Record
from harness.training.loop import read_learned

STUDY = study.load("openmic-transfer")
ARMS = ("resnet_fc", "vggish_fc")
NAMES = [f"{arm}@paper/seed-{seed}" for arm in ARMS for seed in (0, 1)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two arms with two seeds each."""
    folder = tmp_path / "runs" / "openmic_transfer" / "pocket-openmic-pocket"
    write_trials(folder, STUDY, arms=ARMS, conditions=["paper"], seeds=2, sizes=(12, 20))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results" / "openmic_transfer" / "pocket-openmic-pocket"


def keep(runs: Path, results: Path, *, reason: str = "", drop: tuple[str, ...] = ()) -> kept.Merged:
    """Merge, and write what comes of it in place of what was kept."""
    merged = kept.merge(STUDY, runs, results, drop=drop)
    fresh = results.with_name("fresh")
    kept.write(merged, results, fresh, reason=reason)
    shutil.rmtree(results, ignore_errors=True)
    fresh.rename(results)
    return merged


def rewrite(record: Record, **changes: object) -> None:
    """Change entries of a record, so that it agrees with itself again."""
    data = {**{k: v for k, v in record.data.items() if k != "checksum"}, **changes}
    write_json(record.folder / "record.json", {**data, "checksum": fingerprint(data, length=64)})


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


def names_in(results: Path) -> list[str]:
    return [kept.name_of(r) for r in records.find_records(results / "records")]


def test_all_but_the_weights_is_kept_byte_by_byte(runs, results):
    keep(runs, results)
    assert names_in(results) == NAMES
    for record in records.find_records(runs):
        copy = records.verify(results / kept.place(record))
        assert sorted(p.name for p in copy.folder.iterdir()) == ["history.jsonl", "predictions.npz", "record.json"]
        for path in copy.folder.iterdir():
            assert path.read_bytes() == (record.folder / path.name).read_bytes()
        assert kept.same_predictions(record, copy)


def test_what_was_measured_is_kept_and_one_changed_byte_shows(runs, results):
    first = records.find_records(runs)[0]
    write_text(first.folder / "layers.csv", "layer,score\nconv1,0.5\n")
    data = {k: v for k, v in first.data.items() if k != "checksum"}
    records.write_record(first.folder, data, ("history.jsonl", "best.safetensors", "layers.csv"))
    merged = keep(runs, results)
    assert merged.changes == dict.fromkeys(NAMES, "new")
    path = results / kept.place(first) / "layers.csv"
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(RepriseError, match=r"layers\.csv was changed after"):
        kept.merge(STUDY, None, results)
    write_text(first.folder / "layers.csv", "layer,score\nconv1,0.7\n")
    records.write_record(first.folder, data, ("history.jsonl", "best.safetensors", "layers.csv"))
    path.write_text("layer,score\nconv1,0.5\n")
    assert keep(runs, results).lines() == [f"measured anew: {NAMES[0]}", f"unchanged: {', '.join(NAMES[1:])}"]


def test_weights_may_be_absent_only_where_a_trial_is_kept(runs, results):
    keep(runs, results)
    found = records.find_records(runs)
    (found[0].folder / "best.safetensors").unlink()
    with pytest.raises(RepriseError, match=r"best\.safetensors is missing"):
        records.verify(found[0].folder)
    assert [records.is_kept(r.folder) for r in (found[0], records.find_records(results)[0])] == [False, True]


def test_who_asks_for_weights_that_are_not_kept_is_told(runs, results):
    keep(runs, results)
    with pytest.raises(RepriseError, match=r"the weights .*best\.safetensors are not here .*or run it again"):
        read_learned(records.find_records(results)[0].folder / "best.safetensors")


@pytest.mark.parametrize("name", ["record.json", "predictions.npz", "history.jsonl"])
def test_one_changed_byte_of_what_is_kept_shows(runs, results, name):
    keep(runs, results)
    path = next(results.rglob(name))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RepriseError, match=rf"{name}.*(changed|damaged)"):
        records.verify(path.parent)
    path.unlink()
    with pytest.raises(RepriseError, match=name):
        records.verify(path.parent)


def test_a_run_of_one_trial_loses_no_other(runs, results):
    keep(runs, results)
    before = {p: p.read_bytes() for p in results.rglob("*") if p.is_file() and "resnet_fc@paper/seed-1" not in str(p)}
    for record in records.find_records(runs):
        if kept.name_of(record) != "resnet_fc@paper/seed-1":
            shutil.rmtree(record.folder)
    other_predictions(records.find_records(runs)[0])
    merged = keep(runs, results, reason="another optimiser")
    stay = [name for name in NAMES if name != "resnet_fc@paper/seed-1"]
    assert merged.lines() == ["changed: resnet_fc@paper/seed-1", f"kept, not run again: {', '.join(stay)}"]
    assert names_in(results) == NAMES
    assert all(p.read_bytes() == content for p, content in before.items() if p.name != "REASONS.md")
    assert reasons(results)[-1][2:] == ["1 changed", "another optimiser"]


def test_a_kept_trial_goes_only_if_it_is_told(runs, results):
    keep(runs, results)
    shutil.rmtree(runs / "resnet_fc@paper" / "seed-1")
    shutil.rmtree(runs / "vggish_fc@paper")
    assert keep(runs, results, drop=("vggish_fc@paper/seed-0",)).gone == ("vggish_fc@paper/seed-0",)
    assert names_in(results) == [NAMES[0], NAMES[1], NAMES[3]]
    assert keep(runs, results, drop=("all",)).gone == (NAMES[1], NAMES[3])
    assert names_in(results) == NAMES[:1]
    assert [row[2] for row in reasons(results)] == ["4 new", "1 gone", "2 gone"]
    for name, why in ((NAMES[0], "was run again"), ("nobody/seed-0", "is not kept")):
        with pytest.raises(RepriseError, match=f"^{name} cannot be dropped, as it {why}"):
            kept.merge(STUDY, runs, results, drop=[name])
    with pytest.raises(RepriseError, match="nothing would be left"):
        kept.merge(STUDY, None, results, drop=["all"])


def test_seeds_of_other_settings_do_not_stand_side_by_side(runs, results):
    keep(runs, results)
    shutil.rmtree(runs / "resnet_fc@paper" / "seed-1")
    (first, *_) = records.find_records(runs)
    rewrite(first, protocol={**first.data["protocol"], "epochs": 99})
    said = rf"1 kept trials of .* fit the others no more \(another protocol\.epochs\): {NAMES[1]}; .*--drop"
    with pytest.raises(RepriseError, match=said):
        kept.merge(STUDY, runs, results)
    keep(runs, results, drop=(NAMES[1],))
    assert names_in(results) == [NAMES[0], *NAMES[2:]]


def test_an_arm_that_the_study_has_no_more_is_named(runs, results):
    other = records.find_records(runs)[0]
    (runs / "old_arm").mkdir()
    other.folder.rename(runs / "old_arm" / "seed-0")
    rewrite(Record(runs / "old_arm" / "seed-0", other.data), arm="old_arm")
    keep(runs, results)
    shutil.rmtree(runs / "old_arm")
    with pytest.raises(RepriseError, match=r"\(the study has no such arm or condition any more\): old_arm/seed-0; "):
        kept.merge(STUDY, runs, results)


def test_at_most_ten_names_are_told(runs, results):
    assert kept.listed(list("abcdefghij")) == "a, b, c, d, e, f, g, h, i, j"
    assert kept.listed(list("abcdefghijklm")) == "a, b, c, d, e, f, g, h, i, j and 3 more"


def test_clips_are_merged_by_key_and_a_contradiction_is_named(runs, results):
    write_text(runs / "clips.csv", 'key,group,pitch\nb,2,60\na,"1, one",61.50\n')
    keep(runs, results)
    path = results / "records" / "clips.csv"
    assert path.read_bytes() == (runs / "clips.csv").read_bytes()
    shutil.rmtree(runs / "vggish_fc@paper")  # so that some stay that were not run again
    write_text(runs / "clips.csv", "key,group,pitch,fold\nb,2,60,4\nc,3,62,5\n")
    keep(runs, results)
    assert path.read_text() == 'key,group,pitch,fold\na,"1, one",61.50,\nb,2,60,4\nc,3,62,5\n'
    write_text(runs / "clips.csv", "key,group,pitch,fold\nb,7,60,4\nc,3,62,5\n")
    with pytest.raises(RepriseError, match=r"contradict each other on 1 clips \(b\); .*--drop all"):
        kept.merge(STUDY, runs, results)
    keep(runs, results, drop=("all",))  # nothing rests on the old ones any more
    assert path.read_bytes() == (runs / "clips.csv").read_bytes()


def test_explanations_are_replaced_only_by_others(runs, results):
    write_text(runs / "explained" / "gallery" / "index.html", "first")
    keep(runs, results)
    shutil.rmtree(runs / "explained")
    keep(runs, results)
    assert (results / "explained" / "gallery" / "index.html").read_text() == "first"
    write_text(runs / "explained" / "index.json", "{}")
    keep(runs, results)
    assert [p.name for p in (results / "explained").iterdir()] == ["index.json"]


def test_reasons_say_when_and_why_predictions_changed(runs, results):
    found = records.find_records(runs)
    keep(runs, results)
    keep(runs, results, reason="nothing did")
    shutil.rmtree(found[3].folder)
    other_predictions(found[0])
    keep(runs, results, reason="a | b\nand c", drop=(NAMES[3],))
    other_predictions(found[1])
    keep(runs, results)
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    assert reasons(results) == [
        [today, "no checkout", "4 new", "First kept"],
        [today, "no checkout", "1 changed, 1 gone", r"a \| b and c"],
        [today, "no checkout", "1 changed", "none given"],
    ]


def test_a_score_that_changed_alone_is_a_change(runs, results):
    keep(runs, results)
    (first, *_) = records.find_records(runs)
    first.data["metrics"]["test"]["f1_macro_unmasked"] += 0.1
    rewrite(first)
    keep(runs, results, reason="F1 mended")
    assert reasons(results)[-1][2:] == ["1 scored anew", "F1 mended"]


def test_nothing_to_keep_is_said(runs, results):
    for source in (runs.parent / "nowhere", None):
        with pytest.raises(RepriseError, match=r"no finished trial in .*; make some: `reprise run openmic_transfer`"):
            kept.merge(STUDY, source, results)


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
    keep(runs, results)
    (results.parent / "other-pocket" / "records").mkdir(parents=True)
    shutil.copytree(results, results.parent / ".half-pocket.new")
    assert kept.folders("openmic_transfer", tmp_path / "results") == [results]
    assert kept.folders("gtzan_cam", tmp_path / "results") == []
    results.rename(results.with_name(f".{results.name}.old"))  # as a kill between two renames leaves it
    assert kept.folders("openmic_transfer", tmp_path / "results") == [results]


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
