"""The networks and the forests that the attention model is compared with."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from replications.attention_embeddings import batched, controls
from replications.attention_embeddings.controls import (
    fully_connected,
    fully_connected_per_frame,
    random_forest,
    recurrent,
)

NETWORKS = [(fully_connected, 986_772), (fully_connected_per_frame, 52_116), (recurrent, 226_068)]


def frames(clips: int = 6) -> torch.Tensor:
    return torch.rand(clips, 10, 128, generator=torch.Generator().manual_seed(0))


def plain(build, state: dict[str, torch.Tensor]) -> nn.Module:
    """The same network of PyTorch's own layers, with these weights."""
    if build is recurrent:
        gru, head = nn.GRU(128, 64, 3, bidirectional=True, batch_first=True), nn.Linear(128, 20)
        names = [
            f"{kind}_l{layer}{direction}"
            for layer in range(3)
            for direction in ("", "_reverse")
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        gates = [state[f"gates.{layer}.{number}"] for layer in range(3) for number in range(8)]
        gru.load_state_dict(dict(zip(names, gates, strict=True)))
        head.load_state_dict({"weight": state["head_weight"], "bias": state["head_bias"]})
        return lambda inputs: torch.sigmoid(head(gru(inputs)[0][:, -1]))
    sizes = [1280, 512, 512, 128, 20] if build is fully_connected else [128, 128, 128, 128]
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    for number, layer in enumerate(layers):
        layer.load_state_dict({name: state[f"layers.{number}.{name}"] for name in ("weight", "bias")})
    if build is fully_connected:
        chain = nn.Sequential(nn.Flatten(), *(m for layer in layers for m in (layer, nn.LeakyReLU())))
        return lambda inputs: torch.sigmoid(chain[:-1](inputs))
    chain = nn.Sequential(*(m for layer in layers for m in (layer, nn.LeakyReLU())))
    head = nn.Linear(128, 20)
    head.load_state_dict({name: state[f"head.{name}"] for name in ("weight", "bias")})
    return lambda inputs: torch.sigmoid(head((chain(inputs) + inputs).mean(1)))


@pytest.mark.parametrize(("build", "count"), NETWORKS)
def test_parameters_of_a_seed(build, count):
    for seeds in ([0], [0, 7, 8]):
        assert sum(p.numel() for p in build(seeds).parameters()) == count * len(seeds)


@pytest.mark.parametrize("build", [build for build, _ in NETWORKS])
def test_outputs_are_those_of_the_plain_network(build):
    network, inputs = build([3, 4]).eval(), frames()
    with torch.no_grad():
        outputs = network(inputs.expand(2, -1, -1, -1))
        for index in range(2):
            expected = plain(build, batched.state_of(network, index))(inputs)
            torch.testing.assert_close(outputs[index], expected, atol=1e-6, rtol=1e-5)
    assert outputs.shape == (2, 6, 20)
    assert outputs.min() >= 0
    assert outputs.max() <= 1


@pytest.mark.parametrize("build", [build for build, _ in NETWORKS])
def test_a_seed_among_others_starts_and_learns_as_alone(build):
    states = []
    for seeds in ([3, 4], [4]):
        network = build(seeds)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        batched.reseed(network, [(seed, 1) for seed in seeds])
        for _ in range(3):
            optimizer.zero_grad()
            (network(frames().expand(len(seeds), -1, -1, -1)) - 0.3).square().mean((1, 2)).sum().backward()
            optimizer.step()
        states.append(batched.state_of(network, -1))
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", [build for build, _ in NETWORKS])
def test_dropout_is_on_in_training_alone(build):
    network, inputs = build([0]), frames()[None]
    batched.reseed(network, [(0, 1)])
    assert not torch.equal(network(inputs), network(inputs))
    network.eval()
    assert torch.equal(network(inputs), network(inputs))


@pytest.mark.parametrize("build", [fully_connected, fully_connected_per_frame])
def test_starting_weights_are_xavier_normal(build):
    for name, value in batched.state_of(build([0]), 0).items():
        if name.endswith("bias"):
            assert not value.any()
        else:
            assert value.std().item() == pytest.approx((2 / sum(value.shape)) ** 0.5, rel=0.05)


def test_the_recurrent_network_starts_as_pytorch_would():
    state = batched.state_of(recurrent([0]), 0)
    for name, value in state.items():
        bound = 128**-0.5 if name.startswith("head") else 64**-0.5
        assert 0.9 * bound < value.abs().max() <= bound


def test_other_shapes():
    inputs = torch.rand(1, 4, 7, 16)
    for network in (
        fully_connected([0], frames=7, frame_size=16, classes=3),
        fully_connected_per_frame([0], frame_size=16, classes=3),
        recurrent([0], frame_size=16, hidden=8, classes=3),
    ):
        assert network.eval()(inputs).shape == (1, 4, 3)


def forest_data(clips: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 256, (clips, 10, 8), dtype=np.uint8)
    labels = (codes[:, :, :4].mean(axis=1) > 127).astype(np.uint8)
    return codes, labels, generator.random((clips, 4)) < 0.6


def test_forests_are_those_of_a_plain_loop():
    codes, labels, mask = forest_data()
    train, test = np.arange(0, 80), np.arange(80, 120)[::-1]
    probabilities = random_forest(codes, labels, mask, train, test, seed=3)
    assert probabilities.dtype == np.float32
    x = np.mean(codes, axis=1)
    for c in range(4):
        rows = [i for i in train if mask[i, c]]
        forest = RandomForestClassifier(max_depth=8, n_estimators=100, random_state=3).fit(x[rows], labels[rows, c])
        np.testing.assert_allclose(probabilities[:, c], forest.predict_proba(x[test])[:, 1], atol=1e-6)
        np.testing.assert_array_equal(probabilities[:, c] >= 0.5, forest.predict(x[test]) == 1)
    np.testing.assert_array_equal(probabilities, random_forest(codes, labels, mask, train, test, seed=3))


def test_a_tie_of_the_trees_is_decided_as_predict_does(monkeypatch):
    """The same codes with both labels, and every tree sees all of them: leaves of one half each."""
    codes, rows = np.zeros((40, 10, 8), np.uint8), np.arange(40)
    labels = np.tile(np.array([[0], [1]], np.uint8), (20, 1))
    forest = partial(RandomForestClassifier, bootstrap=False)
    tied = forest(max_depth=8, n_estimators=100, random_state=0).fit(codes[:, 0], labels[:, 0])
    assert tied.predict_proba(codes[:1, 0]).tolist() == [[0.5, 0.5]]
    assert tied.predict(codes[:1, 0]) == [0]
    monkeypatch.setattr(controls, "RandomForestClassifier", forest)
    probability = random_forest(codes, labels, np.ones_like(labels, bool), rows, rows[:1])[0, 0]
    assert probability < 0.5
    assert probability == pytest.approx(0.5, abs=1e-7)


def test_a_class_of_one_label_or_none_is_constant():
    codes, labels, mask = forest_data()
    train, test = np.arange(0, 80), np.arange(80, 120)
    labels[:80, 0], labels[:80, 1], mask[:80, 2] = 1, 0, False
    probabilities = random_forest(codes, labels, mask, train, test)
    assert np.all(probabilities[:, 0] == 1)
    assert not probabilities[:, 1:3].any()
    assert len(np.unique(probabilities[:, 3])) > 1
