"""VGGish alone: its widths, its names, its random weights."""

import pytest
import torch
from torch import nn
from torchvggish import torchvggish

from harness.errors import RepriseError
from harness.models import chain, count_parameters, vggish
from harness.models.vggish import encoder, glorot_


def test_the_published_width_is_torchvggishs_network():
    ours, theirs = encoder().eval(), torchvggish._vgg(postprocess=False).eval()
    assert count_parameters(ours) == 72_141_184
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, v.shape) for k, v in theirs.state_dict().items()
    ]
    theirs.load_state_dict(ours.state_dict())
    patches = torch.randn(3, 1, 96, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(patches), theirs(patches))
    names = [name for name, _ in chain(ours)]
    assert names == [*(f"features.{i}" for i in range(16)), "flatten", *(f"embeddings.{i}" for i in range(6))]


@pytest.mark.parametrize(("width", "kernels", "hidden"), [(1 / 8, 8, 512), (1 / 6, 11, 683), (1 / 4, 16, 1024)])
def test_a_narrow_network_has_fewer_kernels_and_the_same_embedding(width, kernels, hidden):
    network = encoder(width)
    assert network.features[0].out_channels == kernels
    assert network.features[13].out_channels == round(512 * width)
    assert network.embeddings[0].weight.shape == (hidden, 24 * round(512 * width))
    embeddings = network(torch.randn(2, 1, 96, 64))
    assert embeddings.shape == (2, 128)
    assert embeddings.min() >= 0


def test_a_width_without_kernels():
    assert encoder(1 / 64)(torch.zeros(1, 1, 96, 64)).shape == (1, 128)
    with pytest.raises(RepriseError, match=r"VGGish of width 0\.001 has layers without kernels"):
        encoder(0.001)


def test_vectors_run_through_time_first():
    """The order in which TensorFlow flattens, and so that of the published weights: time, frequency, channel."""
    maps = torch.arange(2 * 3 * 6 * 4.0).reshape(2, 3, 6, 4)
    vectors = encoder(1 / 64).flatten(maps)
    assert vectors.shape == (2, 72)
    assert vectors[1, (5 * 4 + 2) * 3 + 1] == maps[1, 1, 5, 2]


def test_glorot_draws_uniformly_within_its_bounds():
    torch.manual_seed(0)
    network = nn.Sequential(
        encoder(1 / 8), nn.Unflatten(1, (128, 1)), nn.ConvTranspose1d(128, 64, 10), nn.BatchNorm1d(64)
    )
    glorot_(network)
    bounds = {
        network[0].features[3]: (6 / (9 * 8 + 9 * 16)) ** 0.5,
        network[0].embeddings[0]: (6 / (64 * 24 + 512)) ** 0.5,
        network[2]: (6 / (10 * 128 + 10 * 64)) ** 0.5,
    }
    for layer, bound in bounds.items():
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not any(p.any() for name, p in network.named_parameters() if name.endswith("bias"))
    assert (network[3].weight == 1).all()


def test_glorot_depends_on_the_seed_alone():
    drawn = []
    for seed in (1, 1, 2):
        network = encoder(1 / 16)
        torch.manual_seed(seed)
        glorot_(network)
        drawn.append(network.features[0].weight.clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_classifiers_start_is_drawn_as_it_always_was():
    """Recorded trials know their random weights by the seed: torchvggish's network, built first, then He's weights."""
    torch.manual_seed(3)
    ours = vggish(20).state_dict()
    torch.manual_seed(3)
    theirs = torchvggish._vgg(postprocess=False)
    for layer in theirs.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    head = nn.Linear(1280, 20)
    for name, tensor in {**theirs.state_dict(), "head.weight": head.weight, "head.bias": head.bias}.items():
        assert torch.equal(ours.pop(name), tensor)
    assert not ours
