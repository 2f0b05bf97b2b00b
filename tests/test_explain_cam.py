"""Class activation maps: against the grad-cam package, and against maps known on paper."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from harness.errors import RepriseError
from harness.explain import gradcam, scale
from harness.models import freeze, resnet50, vggish

CLASSES = [0, 3, 11, 19]


def package_maps(model: nn.Module, inputs: torch.Tensor, target: str) -> np.ndarray:
    """The grad-cam package, label by label, as study 000 called it."""
    layer = dict(model.named_modules())[target]
    with GradCAM(model, [layer]) as cam:
        return np.stack([cam(inputs, [ClassifierOutputTarget(number)]) for number in CLASSES])


def tiny(weights: np.ndarray) -> nn.Sequential:
    """Two channels (the picture and its negative), global mean, linear classifier."""
    model = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 2, 1, bias=False),
            norm=nn.BatchNorm2d(2, eps=1e-12),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(2, len(weights), bias=False),
        )
    )
    with torch.no_grad():
        model.conv.weight[:] = torch.tensor([1.0, -1.0])[:, None, None, None]
        model.fc.weight[:] = torch.tensor(weights, dtype=torch.float32)
    return model


@pytest.fixture(scope="module")
def resnet() -> nn.Sequential:
    torch.manual_seed(1)
    return resnet50(20).eval()


@pytest.fixture(scope="module")
def windows_network() -> nn.Sequential:
    torch.manual_seed(2)
    return vggish(20, patches=3).eval()


def test_resnet_equals_the_package(resnet: nn.Sequential) -> None:
    inputs = torch.randn(1, 1, 128, 150, generator=torch.Generator().manual_seed(3))
    theirs = package_maps(resnet, inputs, "layer4.2")[:, 0]
    (maps,) = gradcam(resnet, inputs, [CLASSES], target="layer4.2")
    ours = scale(maps, (128, 150))
    assert maps.shape == (4, 4, 5)
    assert ours.std() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_vggish_equals_the_package_window_by_window(windows_network: nn.Sequential) -> None:
    inputs = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(4))
    theirs = package_maps(windows_network, inputs, "features.14")  # (classes, windows, time, frequency)
    laid_out = np.concatenate(list(theirs.transpose(1, 0, 3, 2)), axis=2)
    (maps,) = gradcam(windows_network, inputs, [CLASSES], target="features.14")
    ours = scale(maps, (64, 288), windows=3)
    assert maps.shape == (4, 8, 36)
    np.testing.assert_allclose(ours, laid_out, atol=1e-4)
    assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ours, laid_out, strict=True)) >= 0.999


def test_frozen_weights_change_nothing(resnet: nn.Sequential) -> None:
    inputs = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(5))
    (free,) = gradcam(resnet, inputs, [CLASSES], target="layer4.2")
    freeze(resnet, [])
    (frozen,) = gradcam(resnet, inputs, [CLASSES], target="layer4.2")
    freeze(resnet, [""])
    np.testing.assert_array_equal(free, frozen)


def test_tiny_chain_by_hand() -> None:
    weights = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    picture = torch.tensor([[1.0, -2.0, 0.0], [3.0, 0.5, -1.0]])[None, None]
    (maps,) = gradcam(tiny(weights), picture, [[0, 1, 2]], target="norm")
    values = picture[0, 0].numpy()
    # The mean's gradient is w / 6 everywhere, so the map of class k is relu(w0 - w1) times the picture, over 6.
    expected = np.maximum(np.stack([values, -2 * values, 0 * values]), 0) / 6
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_several_clips_at_once_and_as_many_classes_as_each_asks_for() -> None:
    model = tiny(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, -1.0]]))
    inputs = torch.randn(3, 1, 4, 6, generator=torch.Generator().manual_seed(6))
    wanted = [[2], [], [1, 0]]
    together = gradcam(model, inputs, wanted, target="norm")
    assert [m.shape for m in together] == [(1, 4, 6), (0, 4, 6), (2, 4, 6)]
    for clip, numbers in enumerate(wanted):
        alone = gradcam(model, inputs[clip : clip + 1], [numbers], target="norm")[0]
        np.testing.assert_allclose(together[clip], alone, atol=1e-7)
    assert gradcam(model, inputs, [[], [], []], target="norm")[0].shape == (0, 4, 6)


def test_no_gradient_gives_an_empty_map_and_no_nan() -> None:
    model = tiny(np.zeros((2, 2)))
    (maps,) = gradcam(model, torch.randn(1, 1, 4, 6), [[0, 1]], target="norm")
    assert not maps.any()
    scaled = scale(maps, (16, 24), windows=2)
    assert scaled.shape == (2, 16, 24)
    assert not scaled.any()  # NaN would count as true


def test_leaves_the_network_as_it_was() -> None:
    model = tiny(np.eye(2)).train()
    model.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradcam(model, torch.randn(2, 1, 4, 6), [[0], [1]], target="norm")
    assert model.training
    assert not model.norm.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("target", "classes", "message"),
    [
        ("layer9", [[0]], "no stage 'layer9' to explain; its stages are conv, norm, pool, flatten, fc"),
        ("flatten", [[0]], "'flatten' has no feature maps"),
        ("norm", [[0], [1]], "1 clips came with 2 lists of classes"),
    ],
)
def test_mistakes_are_named(target: str, classes: list, message: str) -> None:
    with pytest.raises(RepriseError, match=message):
        gradcam(tiny(np.eye(2)), torch.randn(1, 1, 4, 6), classes, target=target)


def test_windows_are_scaled_alone_or_together() -> None:
    maps = np.ones((1, 2, 6), np.float32)
    maps[0, 0] = [0, 10, 0, 0, 1, 0]  # strong evidence in the first window, weak in the second
    maps[0, 1] = 0
    alone, together = scale(maps, (8, 24), windows=2), scale(maps, (8, 24))
    assert alone[:, :, :12].max() == alone[:, :, 12:].max() == pytest.approx(1, abs=1e-5)
    assert together[:, :, 16:].max() == pytest.approx(0.1, abs=0.02)
    assert scale(maps[:0], (8, 24), windows=2).shape == (0, 8, 24)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1e6, width=32)), st.sampled_from([1, 2, 4]))
def test_scaled_maps_stay_between_0_and_1(maps: np.ndarray, windows: int) -> None:
    scaled = scale(maps, (12, 32), windows=windows)
    assert scaled.shape == (2, 12, 32)
    assert scaled.min() >= 0
    assert scaled.max() <= 1
