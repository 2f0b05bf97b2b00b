"""Stored activations of a frozen part: the same predictions, statistics estimated once, resumable."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.models import chain, frozen, resnet50, vggish

CPU = torch.device("cpu")


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def pictures(n: int = 150) -> np.ndarray:
    return np.random.default_rng(0).normal(2.0, 3.0, (n, 1, 12, 12)).astype(np.float32)


def test_statistics_are_those_of_the_training_clips():
    network, inputs = small_network(), pictures()
    rows = np.arange(0, 128, 2)  # one batch: the statistics can be computed by hand
    frozen.estimate_statistics(chain(network)[:6], inputs, rows, device=CPU)
    with torch.no_grad():
        first = network[0][0](torch.from_numpy(inputs[rows]))
    norm = network[0][1]
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, first.var((0, 2, 3)))
    assert norm.momentum == 0.1
    assert not norm.training


@pytest.mark.parametrize(
    ("network", "shape", "cuts"),
    [(resnet50, (1, 48, 40), ["layer3.5", "flatten"]), (vggish, (2, 96, 64), ["flatten", "embeddings.1", "concat"])],
)
def test_predictions_with_and_without_the_store_are_the_same(network, shape, cuts, tmp_path):
    torch.manual_seed(3)
    model = network(20) if network is resnet50 else network(20, patches=2)
    inputs = np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32)
    folders = {cut: tmp_path / cut for cut in cuts}
    rows = np.array([0, 2, 3]) if network is resnet50 else None
    frozen.open_activations(model, folders, inputs, statistics_rows=rows, device=CPU, manifest={})
    with torch.no_grad():
        whole = model.eval()(torch.from_numpy(inputs))
        fresh_state = model.state_dict()
        for cut in cuts:
            activations, statistics = frozen.read_activations(folders[cut])
            again = network(20) if network is resnet50 else network(20, patches=2)
            again.load_state_dict(fresh_state | statistics)
            again.eval()
            logits = frozen.after(again, cut)(torch.from_numpy(activations.copy()))
            torch.testing.assert_close(logits, whole, rtol=1e-5, atol=1e-5)


def test_what_was_begun_is_finished_and_equal(tmp_path):
    inputs = pictures()

    class StopError(Exception):
        pass

    calls = []

    def stop_after_two(rows):
        calls.append(rows)
        if len(calls) == 3:  # the first call says how much was there
            raise StopError

    arguments = {"statistics_rows": np.arange(100), "device": CPU, "manifest": {"of": "a test"}}
    with pytest.raises(StopError):
        frozen.open_activations(small_network(), {"3": tmp_path / "a"}, inputs, **arguments, on_rows=stop_after_two)
    done = []
    frozen.open_activations(small_network(), {"3": tmp_path / "a"}, inputs, **arguments, on_rows=done.append)
    frozen.open_activations(small_network(), {"3": tmp_path / "b"}, inputs, **arguments)
    assert done[0] == 2 * frozen.BATCH
    assert sum(done) == len(inputs)
    for name in ("activations.npy", "statistics.safetensors", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_finished_store_is_not_computed_again(tmp_path):
    arguments = {"statistics_rows": None, "device": CPU, "manifest": {}}
    frozen.open_activations(small_network(), {"3": tmp_path / "a"}, pictures(), **arguments)
    done = []
    frozen.open_activations(small_network(), {"3": tmp_path / "a"}, pictures(), **arguments, on_rows=done.append)
    assert done == []
