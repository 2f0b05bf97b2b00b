"""The network of Han, Kim and Lee: sizes, parameters, start, and what its stages do."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.models import chain, count_parameters
from replications.irmas_activations.networks import han

#: Channels, bands and frames behind each stage for a picture of (128, 43): the published table, transposed.
SHAPES = {
    "channel": (1, 128, 43),
    "conv1": (32, 130, 45),
    "conv2": (32, 132, 47),
    "pool1": (32, 44, 15),
    "conv3": (64, 46, 17),
    "conv4": (64, 48, 19),
    "pool2": (64, 16, 6),
    "conv5": (128, 18, 8),
    "conv6": (128, 20, 10),
    "pool3": (128, 6, 3),
    "conv7": (256, 8, 5),
    "conv8": (256, 10, 7),
    "globalpool": (256,),
    "fc1": (1024,),
    "fc2": (11,),
}
PARAMETERS = {
    "conv1": 320,
    "conv2": 9_248,
    "conv3": 18_496,
    "conv4": 36_928,
    "conv5": 73_856,
    "conv6": 147_584,
    "conv7": 295_168,
    "conv8": 590_080,
    "fc1": 263_168,
    "fc2": 11_275,
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return han(11).eval()


@pytest.fixture(scope="module")
def pictures():
    return torch.randn(2, 128, 43, generator=torch.Generator().manual_seed(0))


def test_parameters_are_those_of_the_published_table(network):
    counts = {name: count_parameters(stage) for name, stage in chain(network)}
    assert {name: count for name, count in counts.items() if count} == PARAMETERS
    assert count_parameters(network) == sum(PARAMETERS.values()) == 1_446_123
    assert count_parameters(han(5)) == 1_446_123 - 6 * 1025


@torch.inference_mode()
def test_every_stage_has_its_published_size(network, pictures):
    x, sizes = pictures, {}
    for name, stage in chain(network):
        x = stage(x)
        sizes[name] = tuple(x.shape[1:])
    assert {name: sizes[name] for name in SHAPES} == SHAPES
    for number in range(1, 9):
        assert sizes[f"act{number}"] == sizes[f"conv{number}"]
    torch.testing.assert_close(network(pictures), x)


def test_the_stages_by_name(network):
    names = [name for name, _ in chain(network)]
    assert names[:7] == ["channel", "conv1", "act1", "conv2", "act2", "pool1", "drop1"]
    assert names[-9:] == ["conv7", "act7", "conv8", "act8", "globalpool", "fc1", "act9", "drop4", "fc2"]
    assert len(names) == len(set(names)) == 1 + 8 * 2 + 3 * 2 + 1 + 4
    rates = {name: stage.p for name, stage in chain(network) if isinstance(stage, nn.Dropout)}
    assert rates == {"drop1": 0.25, "drop2": 0.25, "drop3": 0.25, "drop4": 0.5}
    slopes = {stage.negative_slope for _, stage in chain(network) if isinstance(stage, nn.LeakyReLU)}
    assert slopes == {0.33}


@torch.inference_mode()
def test_a_border_of_one_before_a_convolution_that_keeps_the_size(network, pictures):
    """Padding by two is the public re-implementations' zero border, then a convolution with padding "same"."""
    conv = network.conv1
    bordered = nn.functional.pad(pictures[:, None], (1, 1, 1, 1))
    same = nn.functional.conv2d(bordered, conv.weight, conv.bias, padding="same")
    torch.testing.assert_close(conv(pictures[:, None]), same)


@torch.inference_mode()
def test_the_last_pooling_is_the_maximum_wherever_it_stands(network):
    maps = torch.randn(3, 256, 10, 7, generator=torch.Generator().manual_seed(1))
    expected = maps.numpy().reshape(3, 256, 70).max(axis=2)
    np.testing.assert_array_equal(network.globalpool(maps).numpy(), expected)
    np.testing.assert_array_equal(network.globalpool(maps.flip(2, 3)).numpy(), expected)


def test_weights_start_as_glorot_and_bengio_draw_them(network):
    for name, stage in chain(network):
        if not isinstance(stage, nn.Conv2d | nn.Linear):
            continue
        cells = stage.weight[0, 0].numel()
        bound = (6 / (cells * (stage.weight.shape[0] + stage.weight.shape[1]))) ** 0.5
        assert stage.weight.abs().max() <= bound, name
        assert stage.weight.abs().max() > 0.9 * bound, name
        assert (stage.bias == 0).all()


def test_the_same_seed_builds_the_same_network():
    torch.manual_seed(3)
    first = han(4).state_dict()
    torch.manual_seed(3)
    second = han(4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@torch.inference_mode()
def test_pictures_of_other_sizes(network):
    for shape in ((64, 21), (96, 43), (1, 1)):
        assert network(torch.zeros(2, *shape)).shape == (2, 11)


def test_it_learns_what_is_plain():
    """A band of its own for each of three classes, from a handful of pictures."""
    torch.manual_seed(0)
    network = han(3)
    truth = torch.arange(18) % 3
    pictures = torch.randn(18, 32, 21) * 0.3
    for row, number in enumerate(truth):
        pictures[row, 4 + 10 * number : 8 + 10 * number] += 2
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(pictures), truth).backward()
        optimizer.step()
    assert (network.eval()(pictures).argmax(dim=1) == truth).float().mean() > 0.9
