"""Chains: parameter counts of all seven arms, and where their frozen part ends."""

import pytest
import torch
from torch import nn
from torchvggish import torchvggish

from harness.errors import RepriseError
from harness.models import chain, count_parameters, freeze, resnet50, split_frozen, trainable_parameters, vggish
from harness.studies import study


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Sequential]:
    return {"resnet50": resnet50(20), "vggish": vggish(20)}


@pytest.mark.parametrize(
    ("arm", "parameters", "last_frozen"),
    [
        ("resnet_fc", 40_980, "flatten"),
        ("resnet_fc_layer4", 15_005_716, "layer3.5"),
        ("resnet_full", 23_549_012, None),
        ("vggish_fc", 25_620, "concat"),
        ("vggish_fc_2emb", 17_331_348, "embeddings.1"),
        ("vggish_fc_3emb", 67_667_092, "flatten"),
        ("vggish_full", 72_166_804, None),
    ],
)
def test_each_arm_learns_the_published_number_of_parameters(networks, arm, parameters, last_frozen):
    described = study.load("openmic_transfer").arm(arm)
    network = networks[described.network]
    freeze(network, described.trainable)
    assert trainable_parameters(network) == parameters == described.parameters
    prefix, rest = split_frozen(network, described.trainable)
    assert (prefix[-1] if prefix else None) == last_frozen
    assert prefix + rest == [name for name, _ in chain(network)]


def test_totals(networks):
    assert count_parameters(networks["vggish"]) == 72_141_184 + 25_620
    assert count_parameters(networks["resnet50"]) == 23_549_012


def test_resnet_is_torchvision_s_on_three_equal_channels():
    torch.manual_seed(0)
    ours = resnet50(20).eval()
    import torchvision

    theirs = torchvision.models.resnet50(weights=None, num_classes=20).eval()
    theirs.load_state_dict(ours.state_dict())
    pictures = torch.randn(2, 1, 64, 72)
    with torch.no_grad():
        assert torch.equal(ours(pictures), theirs(pictures.repeat(1, 3, 1, 1)))


def test_vggish_is_torchvggish_s_patch_by_patch():
    ours = vggish(20, patches=3).eval()
    theirs = torchvggish._vgg(postprocess=False).eval()
    state = {k: v for k, v in ours.state_dict().items() if not k.startswith("head.")}
    theirs.load_state_dict(state)
    clips = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        embeddings = theirs(clips.reshape(6, 1, 96, 64)).reshape(2, 3 * 128)
        torch.testing.assert_close(ours(clips), ours.head(embeddings))


def test_no_relu_of_vggish_overwrites_its_input(networks):
    assert not any(m.inplace for m in networks["vggish"].modules() if isinstance(m, nn.ReLU))


def test_unknown_module_is_named(networks):
    with pytest.raises(RepriseError, match=r"no module 'layer5'.*layer4\.2"):
        freeze(networks["resnet50"], ["layer5"])


def test_a_chain_applied_stage_by_stage_is_the_network(networks):
    inputs = torch.randn(1, 10, 96, 64)
    values = inputs
    with torch.no_grad():
        for _, stage in chain(networks["vggish"]):
            values = stage(values)
        assert torch.equal(values, networks["vggish"](inputs))
