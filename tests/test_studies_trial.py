"""A trial, on real clips: its folder is its own, its frozen prefix changes nothing, and it goes on where it stopped."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from trials import CHEAP, CLIPS, cheap_trials

from harness.errors import RepriseError
from harness.models import chain
from harness.studies import executor, records, trial
from harness.training import loop

WITH_PREFIX = ("resnet_fc", "vggish_fc", "vggish_fc_2emb")


@pytest.fixture(autouse=True)
def _one_thread():
    """As in a worker: with more threads the last bits differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(pocket_home, tmp_path_factory) -> dict[str, trial.Trial]:
    """One trial of each kind, finished: by label."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(pocket_home))
        runs = tmp_path_factory.mktemp("runs")
        planned = cheap_trials(runs, *WITH_PREFIX)
        planned += cheap_trials(runs, "resnet_fc", conditions=["moving-statistics"])
        executor.execute(planned, jobs=2, console=Console(file=io.StringIO()))
    return {t.label: t for t in planned}


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
    assert set(data["durations"]) == {"prepare", "train", "predict"}
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


@pytest.mark.parametrize("label", [*WITH_PREFIX, "resnet_fc@moving-statistics"])
def test_a_restored_network_predicts_what_is_stored_without_the_prefix(finished, pocket, label):
    record = records.read_record(finished[label].folder)
    assert (record.data["frozen_prefix"] is None) == (label == "resnet_fc@moving-statistics")
    blueprint, of = trial.restore(record, finished[label].study)
    assert of.identity() == finished[label].identity()
    corpus = trial.load_corpus(of)
    inputs = trial.open_inputs(of, blueprint.front_end, corpus)
    for part in records.PARTS:
        with torch.no_grad():
            logits = blueprint.network(torch.from_numpy(np.array(inputs.store.array[inputs.rows[part]])))
        stored = record.predictions(part)
        np.testing.assert_allclose(torch.sigmoid(logits).numpy(), stored.probabilities, atol=1e-5)
        np.testing.assert_array_equal(stored.keys, corpus.clips["key"].to_numpy(str)[inputs.rows[part]])
        np.testing.assert_array_equal(stored.labels, corpus.labels[inputs.rows[part]])
        np.testing.assert_array_equal(stored.mask, corpus.mask[inputs.rows[part]])
    assert np.ptp(stored.probabilities, axis=0).max() > 1e-3  # clips are told apart at all


@pytest.mark.parametrize("label", ["resnet_fc", "vggish_fc_2emb"])
def test_training_without_the_prefix_gives_the_same_predictions(finished, pocket, tmp_path, monkeypatch, label):
    with_prefix = records.read_record(finished[label].folder)
    statistics = loop.read_learned(finished[label].folder / "best.safetensors")
    build = trial.build

    def build_with_statistics(*arguments):
        """As built; the frozen layers' statistics are those estimated once, which no plain loop has."""
        blueprint, start = build(*arguments)
        network = blueprint.network
        buffers = {name: statistics[name] for name, _ in network.named_buffers()}
        assert len(buffers) == (159 if label == "resnet_fc" else 0)
        network.load_state_dict(buffers, strict=False)
        return blueprint, start

    monkeypatch.setattr(trial, "build", build_with_statistics)
    monkeypatch.setattr(trial, "prefix_of", lambda *arguments: None)
    plain = trial.run(dataclasses.replace(finished[label], folder=tmp_path / "plain"))
    assert plain.data["frozen_prefix"] is None
    for part in records.PARTS:
        np.testing.assert_allclose(
            plain.predictions(part).probabilities, with_prefix.predictions(part).probabilities, atol=1e-4
        )
    np.testing.assert_allclose(plain.history()["valid_loss"], with_prefix.history()["valid_loss"], rtol=1e-4)


def test_frozen_layers_statistics_move_only_under_the_condition_that_says_so(finished):
    def statistics(label: str) -> list[np.ndarray]:
        state = loop.read_learned(finished[label].folder / "best.safetensors")
        return [value.numpy() for name, value in state.items() if name.endswith("num_batches_tracked")]

    batches = 3  # of 16 of 48 training clips
    best = records.read_record(finished["resnet_fc@moving-statistics"].folder).data["best_epoch"]
    assert {int(count) for count in statistics("resnet_fc@moving-statistics")} == {batches * best}
    assert {int(count) for count in statistics("resnet_fc")} == {1}  # estimated in one batch of all of them


def test_what_is_finished_is_not_run_again(finished, pocket):
    t = finished["resnet_fc"]
    before = {path.name: path.stat().st_mtime_ns for path in t.folder.iterdir()}
    assert t.finished()
    seen = []
    assert trial.run(t, on_epoch=seen.append).data == records.read_record(t.folder).data
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
    record = trial.run(t)
    assert record.data["bf16"] is True
    assert np.isfinite(record.predictions("test").probabilities).all()


def test_a_run_broken_off_before_its_record_only_writes_that(finished, pocket, tmp_path, monkeypatch):
    t = dataclasses.replace(finished["resnet_fc"], folder=tmp_path / "trial")
    with monkeypatch.context() as patch:
        patch.setattr(records, "write_predictions", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trial.run(t)
    assert not t.finished()
    (t.folder / ".checkpoint.pt.abc.part").write_bytes(b"half")  # as a kill in the middle of a write leaves it
    history = (t.folder / "history.jsonl").read_bytes()
    seen = []
    record = trial.run(t, on_epoch=seen.append)
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
            trial.run(t)
    record = trial.run(t)
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
        trial.run(t)


def test_a_learning_rate_too_high_stops_with_arm_epoch_and_batch(pocket, tmp_path):
    (t,) = cheap_trials(tmp_path, "resnet_fc", changes={"learning_rate_classifier": 1e38})
    with pytest.raises(RepriseError, match=r"^resnet_fc: the loss is (nan|inf) in epoch 1, batch [23]; lower the le"):
        trial.run(t)
    assert not t.finished()


def test_weights_with_a_nan_stop_with_arm_epoch_and_batch(finished, pocket, tmp_path):
    blueprint, _ = trial.build(finished["resnet_fc"], trial.load_corpus(finished["resnet_fc"]))
    state = blueprint.network.state_dict()
    state["conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    sources = {"resnet50": str(tmp_path / "nan.pth"), "vggish": "random"}
    (t,) = cheap_trials(tmp_path / "runs", "resnet_fc", conditions=["masked"], changes={"weights": sources})
    with pytest.raises(RepriseError, match=r"^resnet_fc@masked: the loss is nan in epoch 1, batch 1; "):
        trial.run(t)


def test_an_unknown_split_is_said(pocket, tmp_path):
    (t,) = cheap_trials(tmp_path, "resnet_fc", changes={"split": "random"})
    with pytest.raises(RepriseError, match=r"there is no split 'random': choose official, gururani, random-80-15-5"):
        trial.run(t)


def test_the_seed_makes_the_weights_and_all_arms_of_a_network_start_alike(pocket, tmp_path):
    corpus = trial.load_corpus(cheap_trials(tmp_path, "resnet_fc")[0])

    def start(arm: str, seed: int) -> dict[str, torch.Tensor]:
        t = next(t for t in cheap_trials(tmp_path, arm, seeds=2) if t.seed == seed)
        return trial.build(t, corpus)[0].network.state_dict()

    same, other = start("resnet_full", 0), start("resnet_fc", 1)
    for name, value in start("resnet_fc", 0).items():
        assert torch.equal(value, same[name])
    assert not torch.equal(same["conv1.weight"], other["conv1.weight"])


def test_frozen_stages_are_those_with_parameters_none_of_which_learns(finished, pocket):
    t = dataclasses.replace(finished["resnet_fc"], arm=finished["resnet_fc"].study.arm("resnet_fc_layer4"))
    network = trial.build(t, trial.load_corpus(t))[0].network
    names = {id(stage): name for name, stage in chain(network)}
    assert [names[id(stage)] for stage in trial.frozen_stages(network)] == [
        *("conv1", "bn1", "layer1.0", "layer1.1", "layer1.2"),
        *(f"layer2.{i}" for i in range(4)),
        *(f"layer3.{i}" for i in range(6)),
    ]


def test_the_prefix_is_shared_where_it_is_the_same_and_only_there(finished, pocket):
    def folder(label: str, **changes) -> Path:
        t = dataclasses.replace(finished[label], **changes)
        corpus = trial.load_corpus(t)
        blueprint, start = trial.build(t, corpus)
        prefix = trial.prefix_of(t, blueprint, start, trial.open_inputs(t, blueprint.front_end, corpus))
        return prefix.folder

    own = folder("resnet_fc")
    study, protocol = finished["resnet_fc"].study, finished["resnet_fc"].protocol
    assert folder("resnet_fc", condition=study.condition("masked"), protocol={**protocol, "missing": "masked"}) == own
    assert folder("resnet_fc", protocol={**protocol, "epochs": 7}) == own
    assert folder("resnet_fc", seed=1) != own
    assert folder("resnet_fc", protocol={**protocol, "split": "official"}) != own  # statistics of other clips
    assert folder("resnet_fc", arm=study.arm("resnet_fc_layer4")) != own
    manifest = json.loads((own / "manifest.json").read_text())
    assert manifest["stage"] == "flatten"
    assert manifest["shape"] == [CLIPS, 1, 2048]


def test_an_arm_whose_first_layer_learns_has_no_prefix(finished, pocket):
    t = dataclasses.replace(finished["vggish_fc"], arm=finished["vggish_fc"].study.arm("vggish_full"))
    corpus = trial.load_corpus(t)
    blueprint, start = trial.build(t, corpus)
    assert trial.prefix_of(t, blueprint, start, trial.open_inputs(t, blueprint.front_end, corpus)) is None
