"""Class activation maps by global average pooling: the identity with the logit, and maps known on paper."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.errors import RepriseError
from harness.explain import class_maps, enlarge, gradcam
from harness.models import resnet50
from replications.gtzan_cam.networks import Average, base, cam


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    torch.manual_seed(1)
    model = cam(10, (128, 130))
    nn.init.normal_(model.fc.bias)
    return model


def test_the_mean_of_a_map_and_the_bias_are_the_logit(network: nn.Sequential) -> None:
    inputs = torch.rand(3, 128, 130, generator=torch.Generator().manual_seed(2))
    maps, logits = class_maps(network, inputs)
    with torch.no_grad():
        expected = network(inputs)
    assert maps.shape == (3, 10, 16, 16)
    assert maps.dtype == logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-5)
    bias = network.fc.bias.detach().numpy()
    np.testing.assert_allclose(maps.mean((2, 3)) + bias, logits, rtol=0, atol=1e-5)


def test_maps_known_on_paper() -> None:
    model = nn.Sequential(
        OrderedDict(conv=nn.Conv2d(1, 2, 1, bias=False), relu=nn.ReLU(), gap=Average(), fc=nn.Linear(2, 2))
    )
    with torch.no_grad():
        model.conv.weight[:] = torch.tensor([1.0, -1.0])[:, None, None, None]
        model.fc.weight[:] = torch.tensor([[2.0, -3.0], [0.0, 1.0]])
        model.fc.bias[:] = torch.tensor([0.5, -0.5])
    maps, logits = class_maps(model, torch.tensor([[[[1.0, -2.0, 0.0]]]]), "relu")
    np.testing.assert_allclose(maps[0, 0], [[2.0, -6.0, 0.0]])
    np.testing.assert_allclose(maps[0, 1], [[0.0, 2.0, 0.0]])
    np.testing.assert_allclose(logits, [[-4 / 3 + 0.5, 2 / 3 - 0.5]], rtol=1e-6)


def test_positive_maps_are_gradcams_up_to_the_size_of_the_map(network: nn.Sequential) -> None:
    inputs = torch.rand(1, 128, 130, generator=torch.Generator().manual_seed(3))
    maps, _ = class_maps(network, inputs)
    (gradients,) = gradcam(network, inputs, [list(range(10))], target="relu5")
    np.testing.assert_allclose(np.maximum(maps[0], 0) / maps[0, 0].size, gradients, rtol=1e-4, atol=1e-7)


def test_resnet_pools_and_flattens_in_two_stages() -> None:
    torch.manual_seed(4)
    model = resnet50(5)
    inputs = torch.randn(2, 1, 64, 96, generator=torch.Generator().manual_seed(5))
    maps, logits = class_maps(model, inputs, stage="layer4.2")
    np.testing.assert_allclose(maps.mean((2, 3)) + model.fc.bias.detach().numpy(), logits, rtol=1e-4, atol=1e-4)
    assert model.training  # as it was


@pytest.mark.parametrize("stage", ["relu4", "conv1", "gap", "fc"])
def test_other_endings_are_refused(network: nn.Sequential, stage: str) -> None:
    with pytest.raises(RepriseError, match=f"no class activation maps at '{stage}'.*use gradcam"):
        class_maps(network, torch.rand(1, 128, 130, generator=torch.Generator().manual_seed(1)), stage)
    with pytest.raises(RepriseError, match="no class activation maps at 'pool3'"):
        class_maps(base(10, (32, 32)), torch.rand(1, 32, 32), "pool3")


def test_maximum_pooling_is_refused() -> None:
    model = nn.Sequential(nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(RepriseError, match="global average pooling"):
        class_maps(model, torch.rand(2, 3, 4, 4), "0")


def test_an_unknown_stage_says_which_there_are(network: nn.Sequential) -> None:
    with pytest.raises(RepriseError, match="no stage 'relu9'"):
        class_maps(network, torch.zeros(1, 128, 130), "relu9")


def test_enlarging_interpolates_and_keeps_sign_and_ends() -> None:
    ramp = enlarge(np.array([[[-1.0, 1.0]]]), (3, 4))
    assert ramp.shape == (1, 3, 4)
    np.testing.assert_allclose(ramp[0], np.tile([-1.0, -0.5, 0.5, 1.0], (3, 1)))


@given(shape=st.tuples(*[st.integers(1, 9)] * 2), size=st.tuples(*[st.integers(1, 40)] * 2))
@settings(max_examples=20, deadline=None)
def test_enlarging_stays_within_the_maps_values(shape: tuple[int, int], size: tuple[int, int]) -> None:
    maps = np.random.default_rng(6).normal(size=(2, 3, *shape))
    enlarged = enlarge(maps, size)
    assert enlarged.shape == (2, 3, *size)
    assert enlarged.dtype == np.float32
    assert (enlarged <= maps.max((2, 3), keepdims=True) + 1e-5).all()
    assert (enlarged >= maps.min((2, 3), keepdims=True) - 1e-5).all()
    np.testing.assert_allclose(enlarge(maps, shape), maps, rtol=1e-5, atol=1e-6)
