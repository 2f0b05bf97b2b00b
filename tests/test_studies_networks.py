"""An arm that is a network, on real clips: its frozen prefix changes nothing, and its weights are its seed's."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from trials import CLIPS, WITH_PREFIX, cheap_trials

from harness.models import chain
from harness.studies import networks, records
from harness.studies.context import Context, Opened
from harness.studies.runner import run_trials
from harness.training import loop


@pytest.fixture(autouse=True)
def _one_thread():
    """As in a worker: with more threads the last bits differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("label", [*WITH_PREFIX, "resnet_fc@moving-statistics"])
def test_a_restored_network_predicts_what_is_stored_without_the_backbone(finished, pocket, label):
    record = records.read_record(finished[label].folder)
    assert (record.data["frozen_prefix"] is None) == (label == "resnet_fc@moving-statistics")
    context = networks.restored(record, finished[label].study)
    assert context.trial.identity() == finished[label].identity()
    corpus, rows = context.corpus, context.rows
    for part in records.PARTS:
        with torch.no_grad():
            logits = context.spec.network(torch.from_numpy(np.array(context.store.array[rows[part]])))
        stored = record.predictions(part)
        np.testing.assert_allclose(torch.sigmoid(logits).numpy(), stored.probabilities, atol=1e-5)
        np.testing.assert_array_equal(stored.keys, corpus.clips["key"].to_numpy(str)[rows[part]])
        np.testing.assert_array_equal(stored.labels, corpus.labels[rows[part]])
        np.testing.assert_array_equal(stored.mask, corpus.mask[rows[part]])
    assert np.ptp(stored.probabilities, axis=0).max() > 1e-3  # clips are told apart at all


@pytest.mark.parametrize("label", ["resnet_fc", "vggish_fc_2emb"])
def test_training_without_the_backbone_gives_the_same_predictions(finished, pocket, tmp_path, monkeypatch, label):
    with_prefix = records.read_record(finished[label].folder)
    statistics = loop.read_learned(finished[label].folder / "best.safetensors")
    context = Context(dataclasses.replace(finished[label], folder=tmp_path / "plain"))
    network = context.spec.network
    # As built; the frozen layers' statistics are those estimated once, which no plain loop has.
    buffers = {name: statistics[name] for name, _ in network.named_buffers()}
    assert len(buffers) == (159 if label == "resnet_fc" else 0)
    network.load_state_dict(buffers, strict=False)
    monkeypatch.setattr(networks, "frozen_backbone", lambda *arguments: None)
    plain = run_trials([context])[0]
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


def test_the_seed_makes_the_weights_and_all_arms_of_a_network_start_alike(pocket, tmp_path):
    opened = Opened()

    def start(arm: str, seed: int) -> dict[str, torch.Tensor]:
        t = next(t for t in cheap_trials(tmp_path, arm, seeds=2) if t.seed == seed)
        return Context(t, opened).spec.network.state_dict()

    same, other = start("resnet_full", 0), start("resnet_fc", 1)
    for name, value in start("resnet_fc", 0).items():
        assert torch.equal(value, same[name])
    assert not torch.equal(same["conv1.weight"], other["conv1.weight"])


def test_frozen_stages_are_those_with_parameters_none_of_which_learns(finished, pocket):
    t = dataclasses.replace(finished["resnet_fc"], arm=finished["resnet_fc"].study.arm("resnet_fc_layer4"))
    network = Context(t).spec.network
    names = {id(stage): name for name, stage in chain(network)}
    assert [names[id(stage)] for stage in networks.frozen_stages(network)] == [
        *("conv1", "bn1", "layer1.0", "layer1.1", "layer1.2"),
        *(f"layer2.{i}" for i in range(4)),
        *(f"layer3.{i}" for i in range(6)),
    ]


def test_the_backbone_is_shared_where_it_is_the_same_and_only_there(finished, pocket):
    def folder(label: str, **changes) -> Path:
        return networks.frozen_backbone(Context(dataclasses.replace(finished[label], **changes))).folder

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


def test_an_arm_whose_first_layer_learns_has_no_frozen_backbone(finished, pocket):
    t = dataclasses.replace(finished["vggish_fc"], arm=finished["vggish_fc"].study.arm("vggish_full"))
    assert networks.frozen_backbone(Context(t)) is None
