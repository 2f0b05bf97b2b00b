"""Inception-ResNet-v2: its size and shapes, timm's own output, its colours, its dense layers, its stored features."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from timm.models.inception_resnet_v2 import InceptionResnetV2
from torch import nn

from harness.errors import RepriseError
from harness.explain.cam import gradcam
from harness.models import chain, count_parameters, freeze, frozen, inception_resnet_v2, split_frozen
from harness.models.inception_resnet import Colours, head

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return inception_resnet_v2(7, hidden=(32,)).eval()


def pictures(n: int) -> np.ndarray:
    """Harmonics that fade, at a different pitch in each picture, as a note's log-mel spectrogram has them."""
    rows, columns = np.mgrid[149:-1:-1, 0:150] / 150
    pitch = np.linspace(5, 20, n)[:, None, None]
    return (np.cos(2 * np.pi * pitch * rows) ** 8 * np.exp(-2 * columns)).astype(np.float32)


@pytest.mark.parametrize(("hidden", "parameters"), [((512,), 7_081_991), ((1024, 512), 14_685_191)])
def test_parameters_of_the_four_set_ups(hidden, parameters):
    with torch.device("meta"):
        whole = inception_resnet_v2(7, hidden=hidden)
    assert count_parameters(whole.head) == parameters
    assert count_parameters(whole) - parameters == 54_306_464


def test_a_picture_becomes_nine_cells_of_1536_kernels():
    with torch.device("meta"):
        whole = inception_resnet_v2(7)
        shapes, values = {}, torch.zeros(2, 150, 150)
        for name, stage in chain(whole):
            shapes[name] = tuple((values := stage(values)).shape)
    assert shapes["colours"] == (2, 3, 150, 150)
    assert shapes["repeat_1.19"] == (2, 1088, 7, 7)
    assert shapes["conv2d_7b"] == (2, 1536, 3, 3)
    assert shapes["flatten"] == (2, 13_824)
    assert values.shape == (2, 7)


def test_the_base_is_timms(network):
    theirs = InceptionResnetV2(num_classes=0).eval()
    own = {k: v for k, v in network.state_dict().items() if not k.startswith("head.")}
    theirs.load_state_dict(own)  # every tensor, by timm's names
    inputs = torch.from_numpy(pictures(2))
    with torch.no_grad():
        expected = theirs.forward_features(network.colours(inputs)).flatten(1)
        ours = frozen.apply(chain(network)[: [name for name, _ in chain(network)].index("flatten") + 1], inputs)
        torch.testing.assert_close(ours, expected)
        torch.testing.assert_close(network(inputs), network.head(expected))


def test_colours_are_matplotlibs_magma():
    values = np.random.default_rng(0).random((2, 30, 40)).astype(np.float32)
    values[0, 0, :4] = 0, 1, 1 / 256, np.nextafter(np.float32(1), 0)
    expected = colormaps["magma"](values, bytes=True)[..., :3].transpose(0, 3, 1, 2) / 255
    unit, symmetric = (Colours(low, 1.0)(torch.from_numpy(values)).numpy() for low in (0.0, -1.0))
    np.testing.assert_allclose(unit, expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(symmetric, 2 * expected - 1, rtol=0, atol=2e-7)


def test_the_range_of_the_colours_is_an_option():
    with torch.device("meta"):
        assert (inception_resnet_v2(7).colours.low, inception_resnet_v2(7, pixels="symmetric").colours.low) == (0, -1)
    with pytest.raises(RepriseError, match="range unit or symmetric, not 'bytes'"):
        inception_resnet_v2(7, pixels="bytes")


def test_dense_layers_start_as_keras_starts_them():
    torch.manual_seed(1)
    layers = head(7, (1024, 512), dropout=0.5)
    assert [type(layer) for layer in layers] == 2 * [nn.Linear, nn.ReLU, nn.Dropout] + [nn.Linear]
    for layer, bound in ((layers[0], (6 / (13_824 + 1024)) ** 0.5), (layers[3], (6 / (1024 + 512)) ** 0.5)):
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not any(p.any() for name, p in layers.named_parameters() if name.endswith("bias"))
    torch.manual_seed(1)
    again = head(7, (1024, 512))
    assert not any(isinstance(layer, nn.Dropout) for layer in again)
    assert torch.equal(again[0].weight, layers[0].weight)


def test_what_is_frozen_ends_where_it_should(network):
    for trainable, last in (
        (["head"], "flatten"),
        (["conv2d_7b", "head"], "block8"),
        (["repeat_2", "head"], "mixed_7a"),
    ):
        freeze(network, trainable)
        assert split_frozen(network, trainable)[0][-1] == last
    freeze(network, [""])
    assert split_frozen(network, [""])[0] == []


def test_stored_features_are_those_of_a_direct_pass(tmp_path, network):
    inputs, rows = pictures(6), np.arange(4)
    frozen.open_activations(
        network, {"flatten": tmp_path / "flatten"}, inputs, statistics_rows=rows, device=CPU, manifest={}
    )
    activations, statistics = frozen.read_activations(tmp_path / "flatten")
    assert activations.shape == (6, 1, 13_824)
    torch.manual_seed(0)
    again = inception_resnet_v2(7, hidden=(32,)).eval()
    untrained = again.conv2d_7b.bn.running_mean.clone()
    again.load_state_dict(statistics, strict=False)
    assert not torch.equal(again.conv2d_7b.bn.running_mean, untrained)
    norms = [m for m in again.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 204
    assert all(m.num_batches_tracked == 1 for m in norms)
    with torch.no_grad():
        direct = again(torch.from_numpy(inputs))
        logits = frozen.after(again, "flatten")(torch.from_numpy(np.array(activations)))
    torch.testing.assert_close(logits, direct, rtol=1e-4, atol=1e-4)
    # Frozen random layers still tell pictures apart: features of unit size, and not the same for all.
    features = activations[:, 0]
    assert 0.1 < features.std(axis=0).mean() < 2


def test_gradcam_explains_at_the_last_convolution(network):
    maps = gradcam(network, torch.from_numpy(pictures(2)), [[0, 3], [6]], target="conv2d_7b")
    assert [m.shape for m in maps] == [(2, 3, 3), (1, 3, 3)]
    assert all((m >= 0).all() and np.isfinite(m).all() for m in maps)
