"""Deconvolution: against matrices, against PyTorch's unpooling and transposed convolutions, and known on paper."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.errors import RepriseError
from harness.explain import activations, deconvolve
from harness.models import resnet50
from harness.models.masking import templates
from replications.gtzan_cam.networks import base, cam, masked


def inputs_of(shape: tuple[int, int], count: int = 2) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    torch.manual_seed(1)
    return base(4, (128, 130))


@pytest.fixture(scope="module")
def masking_network() -> nn.Sequential:
    torch.manual_seed(2)
    return masked(4, (37, 43))


def test_one_linear_layer_goes_back_by_its_transpose() -> None:
    torch.manual_seed(3)
    conv = nn.Conv2d(1, 3, (3, 5), padding=(1, 2))
    model = nn.Sequential(OrderedDict(conv1=conv))
    inputs = inputs_of((6, 7), 1)[:, None]
    # The layer as a matrix, cell by cell, without its bias.
    cells = torch.eye(42).reshape(42, 1, 6, 7)
    matrix = (conv(cells) - conv.bias[:, None, None]).detach().reshape(42, 3, 42).numpy()
    maps = conv(inputs).detach().reshape(3, 42).numpy()
    pictures = deconvolve(model, inputs, "conv1", [2, 0])
    assert pictures.shape == (1, 2, 6, 7)
    for row, channel in enumerate((2, 0)):
        expected = (matrix[:, channel] @ maps[channel]).reshape(6, 7)
        np.testing.assert_allclose(pictures[0, row], expected, rtol=1e-4, atol=1e-5)


def test_second_layer_by_unpooling_and_flipped_kernels(network: nn.Sequential) -> None:
    inputs = inputs_of((128, 130))
    network.eval()
    with torch.no_grad():
        first = network.relu1(network.conv1(inputs[:, None]))
        pooled, switches = functional.max_pool2d(first, 2, return_indices=True)
        second = network.relu2(network.conv2(pooled))
        kept = torch.zeros_like(second)
        kept[:, 8] = second[:, 8]
        back = functional.conv_transpose2d(kept, network.conv2.weight, padding=1)
        back = functional.max_unpool2d(back, switches, 2, output_size=first.shape[2:]).relu()
        back = functional.conv_transpose2d(back, network.conv1.weight, padding=1)
    pictures = deconvolve(network, inputs, "relu2", [8])
    np.testing.assert_allclose(pictures, back.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stage", ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "relu3", "pool3"])
def test_pictures_have_the_inputs_size(network: nn.Sequential, stage: str) -> None:
    pictures = deconvolve(network, inputs_of((128, 130), 1), stage, [0, 8, 31])
    assert pictures.shape == (1, 3, 128, 130)
    assert pictures.dtype == np.float32
    assert np.isfinite(pictures).all()
    assert (np.abs(pictures).max((2, 3)) > 0).all()


@pytest.mark.parametrize("shape", [(37, 43), (9, 8), (16, 21)])
@pytest.mark.parametrize("kernel", [(3, 3), (3, 9), (9, 3), (5, 5)])
def test_odd_sizes_and_kernels(shape: tuple[int, int], kernel: tuple[int, int]) -> None:
    torch.manual_seed(4)
    model = base(3, shape, kernel)
    pictures = deconvolve(model, inputs_of(shape), "relu3", [1])
    assert pictures.shape == (2, 1, *shape)


def test_what_a_pooling_drops_gets_nothing_beyond_the_kernels_reach() -> None:
    torch.manual_seed(5)
    model = base(3, (17, 16), (1, 1))
    assert (deconvolve(model, inputs_of((17, 16)), "pool1", [0])[:, :, 16] == 0).all()


def test_switches_put_values_back_where_the_maxima_were() -> None:
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 1, 1), relu=nn.ReLU(), pool=nn.MaxPool2d(2)))
    with torch.no_grad():
        model.conv.weight[:] = 2
        model.conv.bias[:] = 1
    picture = torch.tensor([[[1.0, 2.0, 0.5, 0.0], [3.0, 0.0, 0.0, 0.7]]])
    expected = np.zeros((2, 4))
    expected[1, 0], expected[1, 3] = 14.0, 4.8  # twice what came out, 2 * (2 x + 1)
    np.testing.assert_allclose(deconvolve(model, picture[None], "pool", [0])[0, 0], expected, rtol=1e-6)


def test_rectifiers_act_on_what_comes_back_and_not_as_the_gradient_does() -> None:
    model = nn.Sequential(OrderedDict(one=nn.Conv2d(1, 1, 1), relu=nn.ReLU(), two=nn.Conv2d(1, 1, 1)))
    with torch.no_grad():
        model.one.weight[:], model.one.bias[:] = 1, 0
        model.two.weight[:], model.two.bias[:] = 1, 1
    # Left: the rectifier was shut on the way forth, and lets the positive 1 through on the way back.
    picture = torch.tensor([[[-2.0, 3.0]]])
    np.testing.assert_allclose(deconvolve(model, picture[None], "two", [0])[0, 0], [[1.0, 4.0]])
    with torch.no_grad():
        model.two.weight[:] = -1
    # Now -1 comes back from the left, and from the right -1 times -2.
    np.testing.assert_allclose(deconvolve(model, picture[None], "two", [0])[0, 0], [[0.0, 2.0]])


def test_mask_layers_let_back_what_their_template_let_through(masking_network: nn.Sequential) -> None:
    inputs = inputs_of((37, 43))
    kept = activations(masking_network, inputs, ["pool1", "relu2", "relu1", "pool2"])
    maps = {name: torch.from_numpy(values) for name, values in kept.items()}
    weight = masking_network.conv3.weight.detach()
    with torch.no_grad():
        signal = torch.zeros(2, 128, 9, 10)
        signal[:, 5] = masking_network.relu3(masking_network.conv3(maps["pool2"]))[:, 5]
        signal = functional.conv_transpose2d(signal, weight, padding=1)
        _, switches = functional.max_pool2d(masking_network.mask2(maps["relu2"]), 2, return_indices=True)
        signal = functional.max_unpool2d(signal, switches, 2, output_size=(18, 21))
        signal = (signal * templates(maps["relu2"]).clamp_min(0)).relu()
        signal = functional.conv_transpose2d(signal, masking_network.conv2.weight, padding=1)
        _, switches = functional.max_pool2d(maps["relu1"], 2, return_indices=True)
        signal = functional.max_unpool2d(signal, switches, 2, output_size=(37, 43)).relu()
        expected = functional.conv_transpose2d(signal, masking_network.conv1.weight, padding=1)
    pictures = deconvolve(masking_network, inputs, "relu3", [5])
    np.testing.assert_allclose(pictures, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_a_mask_at_the_stage_itself_acts_once(masking_network: nn.Sequential) -> None:
    inputs = inputs_of((37, 43))
    kept = activations(masking_network, inputs, ["relu1", "mask2"])
    with torch.no_grad():
        signal = torch.zeros(2, 64, 18, 21)
        signal[:, 3] = torch.from_numpy(kept["mask2"])[:, 3]
        signal = functional.conv_transpose2d(signal, masking_network.conv2.weight, padding=1)
        _, switches = functional.max_pool2d(torch.from_numpy(kept["relu1"]), 2, return_indices=True)
        signal = functional.max_unpool2d(signal, switches, 2, output_size=(37, 43)).relu()
        expected = functional.conv_transpose2d(signal, masking_network.conv1.weight, padding=1)
    pictures = deconvolve(masking_network, inputs, "mask2", [3])
    np.testing.assert_allclose(pictures, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_transposed_convolutions_go_back_too() -> None:
    torch.manual_seed(6)
    model = cam(3, (48, 50))
    assert deconvolve(model, inputs_of((48, 50)), "relu5", [0, 127]).shape == (2, 2, 48, 50)


def test_the_channels_do_not_mix_and_batches_change_nothing(network: nn.Sequential) -> None:
    inputs = inputs_of((128, 130), 3)
    both = deconvolve(network, inputs, "relu2", [3, 7])
    np.testing.assert_allclose(deconvolve(network, inputs, "relu2", [7])[:, 0], both[:, 1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        deconvolve(network, inputs[:, None].numpy(), "relu2", [3, 7], batch=2), both, rtol=1e-4, atol=1e-6
    )


def test_the_network_is_left_as_it_was(network: nn.Sequential) -> None:
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    deconvolve(network, inputs_of((128, 130), 1), "relu2", [0])
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_in_place_rectifiers_change_nothing() -> None:
    torch.manual_seed(7)
    conv = [nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)]
    plain, in_place = (
        nn.Sequential(nn.ReLU(here), conv[0], nn.ReLU(here), nn.MaxPool2d(2), conv[1], nn.ReLU(here))
        for here in (False, True)
    )
    inputs = inputs_of((12, 12))[:, None] - 0.5
    before = inputs.clone()
    np.testing.assert_array_equal(deconvolve(in_place, inputs, "5", [1]), deconvolve(plain, inputs, "5", [1]))
    assert torch.equal(inputs, before)


def test_what_cannot_be_done_is_said(network: nn.Sequential) -> None:
    inputs = inputs_of((128, 130), 1)
    with pytest.raises(RepriseError, match="no stage 'conv7' to go back from; its stages are channel, conv1"):
        deconvolve(network, inputs, "conv7", [0])
    with pytest.raises(RepriseError, match="'flatten' has no feature maps"):
        deconvolve(network, inputs, "flatten", [0])
    for channel in (-1, 64):
        with pytest.raises(RepriseError, match=rf"'relu2' has no channel {channel}; it has 0 to 63"):
            deconvolve(network, inputs, "relu2", [channel])
    with pytest.raises(RepriseError, match="no input"):
        deconvolve(network, inputs[:0], "relu2", [0])
    with pytest.raises(RepriseError, match=r"'layer1.0' is a block with rectifiers inside"):
        deconvolve(resnet50(3), inputs[:, None], "layer4.2", [0])
