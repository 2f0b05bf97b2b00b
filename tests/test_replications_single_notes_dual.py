"""Dense layers in the span of their training inputs: the same trajectories as of the layers themselves."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.models.inception_resnet import head
from harness.training import loop
from harness.training.losses import cross_entropy
from replications.single_notes.dual import Dual, in_dual, materialise
from replications.single_notes.optimizers import KerasSGD, szegedy

CLASSES = 7


def clips(n: int = 150, d: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Features as after a ReLU, a little larger in places that depend on the class, and one-hot labels."""
    generator = np.random.default_rng(0)
    truth = generator.integers(CLASSES, size=n)
    features = generator.normal(size=(n, d)) + generator.normal(scale=0.3, size=(CLASSES, d))[truth]
    return np.maximum(features, 0).astype(np.float32), np.eye(CLASSES, dtype=np.uint8)[truth]


def small_head(hidden: tuple[int, ...], d: int, *, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(2)
    layers, before = [], d
    for units in hidden:
        layers += [nn.Linear(before, units), nn.ReLU(), nn.Dropout(dropout)]
        before = units
    return nn.Sequential(*layers, nn.Linear(before, CLASSES))


def train(network, inputs, labels, rows, make, *, epochs=4, batch=20) -> None:
    """Epochs over shuffled batches, the last one smaller; a rate that changes by epoch, too."""
    optimizer = make(network.parameters())
    scheduler = szegedy(optimizer)
    network.train()
    for epoch in range(epochs):
        torch.manual_seed(epoch)  # the same units drop out
        order = np.random.default_rng(epoch).permutation(rows)
        for start in range(0, len(order), batch):
            taken = order[start : start + batch]
            optimizer.zero_grad()
            F.cross_entropy(network(inputs[taken]), torch.from_numpy(labels[taken].argmax(1))).backward()
            optimizer.step()
        scheduler.step()
    network.eval()


def both_ways(layers: nn.Sequential, make, *, features, labels, rows, **options) -> tuple[nn.Sequential, nn.Sequential]:
    """The head trained itself, and its copy trained in the span and written back."""
    direct = copy.deepcopy(layers)
    train(direct, torch.from_numpy(features), labels, rows, make, **options)
    dual = in_dual(layers, features, rows)
    train(dual, torch.arange(len(features)), labels, rows, make, **options)
    with torch.no_grad():
        outputs = dual(torch.arange(len(features)))
        materialise(dual, layers)
        torch.testing.assert_close(layers(torch.from_numpy(features)), outputs, rtol=1e-4, atol=1e-4)
    return direct, layers


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize("hidden", [(32,), (48, 24)])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_trajectories_are_the_same(hidden, nesterov, dropout):
    features, labels = clips()
    rows = np.random.default_rng(1).permutation(150)[:110]
    layers = small_head(hidden, 600, dropout=dropout)
    start = copy.deepcopy(layers).state_dict()

    def make(parameters):
        return KerasSGD(parameters, 0.045, decay=0.1, momentum=0.9, nesterov=nesterov)

    direct, dual = both_ways(layers, make, features=features, labels=labels, rows=rows)
    for name, weight in direct.state_dict().items():
        assert distance(weight, start[name]) > 1e-3  # it did learn
        assert distance(dual.state_dict()[name] - start[name], weight - start[name]) < 1e-4, name


def test_trajectories_are_the_same_at_full_size():
    features, labels = clips(60, 13_824)
    torch.manual_seed(0)
    direct, dual = both_ways(
        head(CLASSES, (512,)),
        lambda parameters: KerasSGD(parameters, 0.045, decay=0.9, momentum=0.9, nesterov=True),
        features=features,
        labels=labels,
        rows=np.arange(0, 60, 2),
        epochs=3,
        batch=10,
    )
    inputs = torch.from_numpy(features)
    with torch.no_grad():
        assert distance(dual(inputs), direct(inputs)) < 1e-4
    assert distance(dual[0].weight, direct[0].weight) < 1e-4


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.Adam(parameters, 0.01),
        lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9, weight_decay=0.1),
    ],
)
def test_optimisers_that_leave_the_span_come_out_elsewhere(make):
    features, labels = clips()
    direct, dual = both_ways(small_head((32,), 600), make, features=features, labels=labels, rows=np.arange(100))
    assert distance(dual[0].weight, direct[0].weight) > 1e-2


def test_the_gradient_is_that_of_the_outputs():
    features, _ = clips(12, 40)
    layer = Dual(nn.Linear(40, 3), features, np.array([7, 2, 9, 4]))
    upstream = torch.randn(3, 3)
    (layer(torch.tensor([9.0, 7.0, 9.0])) * upstream).sum().backward()  # row numbers as the loop gives them
    expected = torch.stack([upstream[1], torch.zeros(3), upstream[0] + upstream[2], torch.zeros(3)])
    torch.testing.assert_close(layer.coefficients.grad, expected)
    torch.testing.assert_close(layer.bias.grad, upstream.sum(0))


def test_before_training_it_is_the_linear_layer():
    features, _ = clips(50, 200)
    linear = nn.Linear(200, 8)
    layer = Dual(linear, features, np.arange(30))
    with torch.no_grad():
        torch.testing.assert_close(layer(torch.arange(50)), linear(torch.from_numpy(features)))
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(torch.arange(50)).dtype == torch.float32
        assert torch.equal(layer.materialise(), linear.weight)


def test_checkpoints_hold_what_is_learnt_alone():
    features, _ = clips(50, 200)
    dual = in_dual(small_head((8,), 200), features, np.arange(30))
    shapes = {name: tuple(tensor.shape) for name, tensor in loop.learned_state(dual).items()}
    assert shapes == {"0.coefficients": (30, 8), "0.bias": (8,), "3.weight": (7, 8), "3.bias": (7,)}


def test_through_the_loop_resumed_and_beside_the_head_itself(tmp_path):
    features, labels = clips()
    rows = {"train": np.arange(0, 100), "valid": np.arange(100, 150)}
    inputs = {"span": np.arange(150, dtype=np.float32), "direct": features}

    def play(way: str, folder: str, epochs: int) -> tuple[nn.Sequential, nn.Sequential, loop.Fit]:
        layers = small_head((32, 16), 600, dropout=0.3)
        network = in_dual(layers, features, rows["train"]) if way == "span" else layers
        fit = loop.fit(
            network,
            network,
            loop.Examples(inputs[way], labels, np.ones_like(labels)),
            rows,
            loss=cross_entropy,
            scores=None,
            optimizer=KerasSGD(network.parameters(), 0.045, decay=0.1, momentum=0.9),
            scheduler=None,
            epochs=epochs,
            patience=None,
            batch_size=20,
            seed=5,
            folder=tmp_path / folder,
            name=way,
        )
        return layers, network, fit

    for folder in ("whole", "resumed", "direct"):
        (tmp_path / folder).mkdir()
    layers, network, fit = play("span", "whole", 5)
    _, _, by_itself = play("direct", "direct", 5)
    for entry, expected in zip(fit.history, by_itself.history, strict=True):
        assert entry["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)
        assert entry["valid_loss"] == pytest.approx(expected["valid_loss"], rel=1e-4)
    play("span", "resumed", 2)
    _, resumed, _ = play("span", "resumed", 5)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), resumed.parameters(), strict=True))

    # What the head says in the end is what its copy in the span says, for clips of every part.
    numbers = loop.Examples(inputs["span"], labels, np.ones_like(labels))
    _, said = loop.predict(network, network, numbers, np.arange(150))
    materialise(network, layers)
    _, says = loop.predict(layers, layers, loop.Examples(features, labels, np.ones_like(labels)), np.arange(150))
    np.testing.assert_allclose(says, said, atol=1e-5)


def test_other_clips_are_no_training_clips():
    features, _ = clips(50, 200)
    dual = in_dual(small_head((8,), 200), features, np.arange(30))
    with pytest.raises(ValueError, match="learns from these alone"):
        dual(torch.tensor([29, 30]))
    with torch.no_grad():
        assert dual(torch.tensor([29, 30])).shape == (2, 7)


def test_only_a_linear_layer_can_come_first():
    with pytest.raises(ValueError, match="only a linear layer can be trained in the span of its inputs, not Dropout"):
        in_dual(nn.Sequential(nn.Dropout(0.5), nn.Linear(200, 7)), clips(50, 200)[0], np.arange(30))
