"""Outputs of stages: against forward hooks and against the network itself."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import RepriseError
from harness.explain import activations, map_stages
from harness.models import vggish
from replications.gtzan_cam.networks import masked


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    torch.manual_seed(1)
    return masked(4, (32, 35))


def test_stages_are_what_hooks_see(network: nn.Sequential) -> None:
    inputs = torch.rand(5, 32, 35, generator=torch.Generator().manual_seed(2))
    names = ["mask2", "conv1", "relu3", "fc"]
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.update({name: output.detach()}))
        for name, module in network.named_children()
    ]
    network.eval()(inputs)
    for hook in hooks:
        hook.remove()
    outputs = activations(network, inputs, names)
    assert list(outputs) == names
    for name, output in outputs.items():
        assert output.dtype == np.float32
        np.testing.assert_allclose(output, seen[name].numpy(), rtol=1e-5, atol=1e-6)
    assert outputs["mask2"].shape == (5, 64, 16, 17)
    assert (outputs["conv1"] < 0).any()  # as it was before relu1


def test_batches_and_arrays_change_nothing(network: nn.Sequential) -> None:
    inputs = np.random.default_rng(3).random((7, 32, 35), np.float32)
    whole = activations(network, inputs, ["pool1", "fc"])
    parts = activations(network, torch.from_numpy(inputs), ["fc", "pool1"], batch=3)
    for name, output in whole.items():
        np.testing.assert_allclose(parts[name], output, rtol=1e-5, atol=1e-6)
    assert activations(network, inputs[:0], ["pool1"])["pool1"].shape == (0, 32, 16, 17)


def test_stages_that_write_in_place_leave_earlier_ones_and_the_input_alone() -> None:
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 1, 1), relu=nn.ReLU(inplace=True)))
    nn.init.constant_(model.conv.weight, -1)
    nn.init.zeros_(model.conv.bias)
    outputs = activations(model, torch.ones(1, 1, 2, 2), ["conv", "relu"])
    assert (outputs["conv"] == -1).all()
    assert (outputs["relu"] == 0).all()
    first = nn.Sequential(nn.ReLU(inplace=True))
    for inputs in (-np.ones((1, 1, 2, 2), np.float32), -torch.ones(1, 1, 2, 2)):
        activations(first, inputs, ["0"])
        assert (inputs == -1).all()


def test_the_network_runs_in_evaluation_mode_and_keeps_its_own() -> None:
    model = nn.Sequential(OrderedDict(drop=nn.Dropout(0.5), norm=nn.BatchNorm1d(3)))
    model.train()
    model.norm.eval()
    outputs = activations(model, torch.ones(4, 3), ["drop", "norm"])
    assert (outputs["drop"] == 1).all()
    assert model.drop.training
    assert not model.norm.training
    assert model.norm.num_batches_tracked == 0


def test_windows_become_rows() -> None:
    torch.manual_seed(4)
    model = vggish(20, patches=2)
    outputs = activations(model, torch.zeros(3, 2, 96, 64), ["features.0"])
    assert outputs["features.0"].shape == (6, 64, 96, 64)


def test_stages_with_maps_are_told_in_their_order(network: nn.Sequential) -> None:
    stages = map_stages(network, np.zeros((2, 32, 35), np.float32))
    assert list(stages)[:5] == ["channel", "conv1", "relu1", "pool1", "conv2"]
    assert list(stages)[-1] == "pool3"
    assert stages["mask3"] == (128, 8, 8)


def test_an_unknown_stage_says_which_there_are(network: nn.Sequential) -> None:
    with pytest.raises(RepriseError, match="no stage 'conv9' to look at; its stages are channel, conv1, relu1"):
        activations(network, torch.zeros(1, 32, 35), ["conv1", "conv9"])
