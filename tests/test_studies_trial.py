"""A trial, on real clips: its folder is its own, its frozen prefix changes nothing, and it goes on where it stopped."""

import dataclasses

import numpy as np
import pytest
import torch
from trials import CHEAP, CLIPS, cheap_trials

from harness.errors import RepriseError
from harness.studies import records
from harness.studies.context import Context
from harness.studies.runner import run_trials
from harness.training import loop


@pytest.fixture(autouse=True)
def _one_thread():
    """As in a worker: with more threads the last bits differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_label_names_the_condition_where_it_is_not_the_papers(tmp_path):
    (paper,) = cheap_trials(tmp_path, "resnet_fc")
    (masked,) = cheap_trials(tmp_path, "resnet_fc", conditions=["masked"])
    assert (paper.label, masked.label) == ("resnet_fc", "resnet_fc@masked")
    assert paper.corpus == CHEAP["corpus"]


def test_a_record_says_what_was_done(finished):
    record = records.verify(finished["resnet_fc"].folder)
    data = record.data
    assert (data["arm"], data["condition"], data["seed"], data["profile"]) == ("resnet_fc", "paper", 0, "pocket")
    assert data["protocol"] == finished["resnet_fc"].protocol
    assert data["weights"] == {"kind": "random"}
    assert data["parameters"] == {"trainable": 40_980, "total": 23_549_012}
    assert data["frozen_prefix"] == "flatten"
    assert data["split"]["sizes"] == {"train": 48, "valid": 3, "test": 9}
    assert data["split"]["leakage"]["groups_known"] > 0
    assert data["epochs"] == 2
    assert 1 <= data["best_epoch"] <= 2
    assert data["inputs"]["corpus"]["clips"] == CLIPS
    assert data["inputs"]["corpus"]["parameters"]["size"] == CLIPS
    assert data["inputs"]["features"]["parameters"]["time_pool"] == 12
    assert data["inputs"]["left_out"] == {}
    assert set(data["durations"]) == {"prepare", "train", "predict", "measure"}
    assert data["peak_memory_bytes"]["host"] > 10**8
    assert data["environment"]["threads"] == 1
    assert list(record.history()["epoch"]) == [1, 2]
    for part, size in (("valid", 3), ("test", 9)):
        predictions = record.predictions(part)
        assert predictions.probabilities.shape == (size, 20)
        assert len(set(predictions.keys)) == size
    assert {path.name for path in record.folder.iterdir()} == {
        *("trial.json", "record.json", "predictions.npz", "history.jsonl", "best.safetensors")
    }


def test_what_is_finished_is_not_run_again(finished, pocket):
    t = finished["resnet_fc"]
    before = {path.name: path.stat().st_mtime_ns for path in t.folder.iterdir()}
    assert t.finished()
    seen = []
    assert (
        run_trials([Context(t)], on_epoch=lambda _, entry: seen.append(entry))[0].data
        == records.read_record(t.folder).data
    )
    assert seen == []
    assert {path.name: path.stat().st_mtime_ns for path in t.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 3}, r"protocol\.epochs: 2, now 3"),
        ({"missing": "masked"}, r"protocol\.missing: 'negative', now 'masked'"),
        ({"front_ends": {"resnet50": {"time_pool": 9}}}, r"protocol\.front_ends\.resnet50\.time_pool: 12, now 9"),
        (
            {"weights": {"resnet50": "random", "vggish": "random"}},
            r"protocol\.weights: 'random', now None, protocol\.weights\.resnet50: None, now 'random'",
        ),
    ],
)
def test_a_folder_of_another_protocol_is_refused(finished, tmp_path, changes, said):
    t = finished["resnet_fc"]
    other = dataclasses.replace(t, protocol=t.study.resolve("pocket", "paper", {**CHEAP, **changes}))
    with pytest.raises(RepriseError, match=rf"holds a trial with another protocol \(.*{said}.*--runs, or remove it"):
        other.finished()


def test_a_setting_that_is_gone_counts_as_another_protocol(finished):
    t = finished["resnet_fc"]
    protocol = {key: value for key, value in t.protocol.items() if key != "patience"}
    with pytest.raises(RepriseError, match=rf"\(protocol\.patience: {t.protocol['patience']}, now None\)"):
        dataclasses.replace(t, protocol=protocol).finished()


def test_bfloat16_counts_as_another_protocol(finished):
    with pytest.raises(RepriseError, match="bf16: False, now True"):
        dataclasses.replace(finished["resnet_fc"], bf16=True).finished()


def test_bfloat16_runs_on_the_cpu_too(pocket, tmp_path):
    (t,) = cheap_trials(tmp_path, "resnet_fc", bf16=True, changes={"epochs": 1})
    record = run_trials([Context(t)])[0]
    assert record.data["bf16"] is True
    assert np.isfinite(record.predictions("test").probabilities).all()


def test_a_run_broken_off_before_its_record_only_writes_that(finished, pocket, tmp_path, monkeypatch):
    t = dataclasses.replace(finished["resnet_fc"], folder=tmp_path / "trial")
    with monkeypatch.context() as patch:
        patch.setattr(records, "write_predictions", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_trials([Context(t)])
    assert not t.finished()
    (t.folder / ".checkpoint.pt.abc.part").write_bytes(b"half")  # as a kill in the middle of a write leaves it
    history = (t.folder / "history.jsonl").read_bytes()
    seen = []
    record = run_trials([Context(t)], on_epoch=lambda _, entry: seen.append(entry))[0]
    assert seen == []
    assert (t.folder / "history.jsonl").read_bytes() == history
    assert not list(t.folder.glob("*checkpoint*"))
    np.testing.assert_array_equal(
        record.predictions("test").probabilities,
        records.read_record(finished["resnet_fc"].folder).predictions("test").probabilities,
    )


@pytest.mark.parametrize("broken_at", ["history.jsonl", "checkpoint.pt"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_kill_between_any_two_files_of_an_epoch_costs_nothing(
    finished, pocket, tmp_path, monkeypatch, broken_at, epoch
):
    """Everything before the file stands, the file and everything after it is not written."""
    t = dataclasses.replace(finished["resnet_fc"], folder=tmp_path / "trial")
    written = []

    def stop_before(path, original):
        written.append(path.name)
        if written.count(broken_at) == epoch and path.name == broken_at:
            raise KeyboardInterrupt
        return original(path)

    atomic_path, write_text = loop.atomic_path, loop.write_text
    with monkeypatch.context() as patch:
        patch.setattr(loop, "atomic_path", lambda path: stop_before(path, atomic_path))
        patch.setattr(loop, "write_text", lambda path, text: stop_before(path, lambda p: write_text(p, text)))
        with pytest.raises(KeyboardInterrupt):
            run_trials([Context(t)])
    record = run_trials([Context(t)])[0]
    whole = records.read_record(finished["resnet_fc"].folder)
    assert list(record.history()["epoch"]) == [1, 2]
    assert list(record.history()["valid_loss"]) == list(whole.history()["valid_loss"])
    for part in records.PARTS:
        np.testing.assert_array_equal(
            record.predictions(part).probabilities, whole.predictions(part).probabilities, strict=True
        )


def test_a_damaged_checkpoint_is_said(finished, pocket, tmp_path):
    t = dataclasses.replace(finished["resnet_fc"], folder=tmp_path / "trial")
    t.folder.mkdir()
    (t.folder / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(RepriseError, match=r"checkpoint\.pt is damaged; remove the trial's folder and run it again"):
        run_trials([Context(t)])


def test_a_learning_rate_too_high_stops_with_arm_epoch_and_batch(pocket, tmp_path):
    (t,) = cheap_trials(tmp_path, "resnet_fc", changes={"learning_rate_classifier": 1e38})
    with pytest.raises(RepriseError, match=r"^resnet_fc: the loss is (nan|inf) in epoch 1, batch [23]; lower the le"):
        run_trials([Context(t)])
    assert not t.finished()


def test_weights_with_a_nan_stop_with_arm_epoch_and_batch(finished, pocket, tmp_path):
    state = Context(finished["resnet_fc"]).spec.network.state_dict()
    state["conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    sources = {"resnet50": str(tmp_path / "nan.pth"), "vggish": "random"}
    (t,) = cheap_trials(tmp_path / "runs", "resnet_fc", conditions=["masked"], changes={"weights": sources})
    with pytest.raises(RepriseError, match=r"^resnet_fc@masked: the loss is nan in epoch 1, batch 1; "):
        run_trials([Context(t)])


def test_an_unknown_split_is_said(pocket, tmp_path):
    (t,) = cheap_trials(tmp_path, "resnet_fc", changes={"split": "random"})
    with pytest.raises(RepriseError, match=r"there is no split 'random': choose official, gururani, random-80-15-5"):
        run_trials([Context(t)])
