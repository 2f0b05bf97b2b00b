"""The networks of genre: sizes, stages, kernels, and what they do with segments of any shape."""

import pytest
import torch
from torch import nn

from harness.errors import RepriseError
from harness.models import chain, count_parameters
from harness.models.masking import Mask
from replications.gtzan_cam import networks
from replications.gtzan_cam.networks import Average, base, cam, masked, pooled_size

PAPER = (128, 130)
BASE = ["channel", *(f"{kind}{n}" for n in (1, 2, 3) for kind in ("conv", "relu", "pool")), "flatten", "fc"]


def by_hand(kernel: int, filters=(32, 64, 128), inputs=128 * 16 * 16) -> int:
    """Weights and biases of convolutions with `kernel` cells and of the dense layer."""
    before, total = 1, 0
    for count in filters:
        total += before * count * kernel + count
        before = count
    return total + inputs * 10 + 10


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (base(10, PAPER), 420_362),
        (masked(10, PAPER), 420_362),
        (cam(10, PAPER), 503_818),
        (base(10, PAPER, (5, 5)), 584_714),
        (base(10, PAPER, (3, 9)), 605_258),
        (base(10, PAPER, (9, 3)), 605_258),
    ],
)
def test_numbers_of_parameters(network, count):
    assert count_parameters(network) == count


def test_numbers_of_parameters_by_hand():
    assert by_hand(9) == 420_362
    assert by_hand(25) == 584_714
    assert by_hand(27) == 605_258
    convolutions = by_hand(9, (32, 64, 128, 128), inputs=128)
    assert convolutions + 128 * 128 * 16 + 128 == 503_818


def test_stages_of_the_base_network_and_of_the_masked():
    assert [name for name, _ in chain(base(10, PAPER))] == BASE
    names = BASE.copy()
    for number in (2, 3):
        names.insert(names.index(f"relu{number}") + 1, f"mask{number}")
    network = masked(10, PAPER)
    assert [name for name, _ in chain(network)] == names
    assert all(isinstance(network.get_submodule(f"mask{n}"), Mask) for n in (2, 3))


def test_stages_of_the_cam_network():
    names = [name for name, _ in chain(cam(10, PAPER))]
    assert names == [
        "channel",
        *(f"{kind}{n}" for n in (1, 2, 3, 4) for kind in ("conv", "relu", "pool")),
        *("deconv", "relu5", "gap", "fc"),
    ]


def test_shapes_through_the_cam_network():
    values, shapes = torch.rand(2, *PAPER), {}
    for name, stage in chain(cam(10, PAPER)):
        values = stage(values)
        shapes[name] = tuple(values.shape[1:])
    assert shapes["channel"] == (1, 128, 130)
    assert [shapes[f"pool{n}"] for n in (1, 2, 3, 4)] == [(32, 64, 65), (64, 32, 32), (128, 16, 16), (128, 8, 8)]
    assert shapes["deconv"] == (128, 16, 16)
    assert shapes["gap"] == (128,)
    assert shapes["fc"] == (10,)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (3, 9), (9, 3), (1, 7)])
@pytest.mark.parametrize("build", [base, masked])
def test_convolutions_keep_the_size_whatever_the_kernel(build, kernel):
    network = build(4, (32, 30), kernel)
    values = torch.rand(2, 32, 30)
    for name, stage in chain(network):
        before, values = values, stage(values)
        if name.startswith("conv"):
            assert stage.kernel_size == kernel
            assert values.shape[2:] == before.shape[2:]
    assert values.shape == (2, 4)


def test_a_kernel_s_first_side_is_frequency():
    network = base(4, (32, 30), (9, 1))
    clips = torch.rand(1, 32, 30)
    other = clips.clone()
    other[:, :, 20:] = 0  # 9 x 1 kernels cannot see it from frame 10
    first, second = (network.relu1(network.conv1(network.channel(x)))[..., 10] for x in (clips, other))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    other = clips.clone()
    other[:, 12:16] = 0  # but rows at a distance of four
    third = network.relu1(network.conv1(network.channel(other)))[..., 10]
    assert (first[0, :, 8] != third[0, :, 8]).any()


@pytest.mark.parametrize("build", [base, masked, cam])
def test_segments_with_and_without_a_channel_are_the_same(build):
    network, segments = build(3, (16, 17)), torch.rand(2, 16, 17)
    torch.testing.assert_close(network(segments), network(segments.unsqueeze(1)), rtol=0, atol=0)


@pytest.mark.parametrize("build", [base, masked, cam])
def test_weights_start_as_in_keras(build):
    torch.manual_seed(5)
    network = build(10, PAPER)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert not module.bias.any()
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    torch.manual_seed(5)
    again = build(10, PAPER)
    for first, second in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)


def test_the_masks_change_what_the_network_hears():
    torch.manual_seed(0)
    with_masks = masked(3, (32, 32))
    without = base(3, (32, 32))
    without.load_state_dict(with_masks.state_dict())
    segments = torch.rand(2, 32, 32)
    assert not torch.allclose(with_masks(segments), without(segments))
    open_masks = masked(3, (32, 32), template=0.0)
    open_masks.load_state_dict(with_masks.state_dict())
    torch.testing.assert_close(open_masks(segments), without(segments))


def test_average_is_the_mean_of_each_map():
    maps = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(Average()(maps), maps.flatten(2).mean(2))


def test_sizes_behind_poolings():
    assert pooled_size((128, 130), 3) == (16, 16)
    assert pooled_size((128, 130), 4) == (8, 8)
    assert pooled_size((64, 65), 1) == (32, 32)


def test_even_kernels_and_tiny_segments_are_refused():
    with pytest.raises(RepriseError, match="4 x 3 has no middle"):
        base(10, PAPER, (4, 3))
    with pytest.raises(RepriseError, match="vanish behind 3 poolings"):
        masked(10, (128, 7))
    with pytest.raises(RepriseError, match="vanish behind 4 poolings"):
        cam(10, (8, 130))


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: networks.released_base(10, (128, 128)), 67_138_954),
        (lambda: networks.released_base(10, (128, 128), 0.5), 67_138_954),
        (lambda: networks.released_cam(10, (128, 128)), 163_786),
    ],
)
def test_networks_as_released(make, parameters):
    with torch.device("meta"):
        network = make()
        assert count_parameters(network) == parameters
        assert network(torch.zeros(2, 128, 128)).shape == (2, 10)


def test_the_released_mask_stands_behind_the_second_convolution_alone():
    names = [name for name, _ in networks.released_base(10, (32, 32), 0.5).named_children()]
    assert [name for name in names if name.startswith("mask")] == ["mask2"]
    assert names.index("mask2") == names.index("relu2") + 1


def test_the_released_cam_network_pools_once_by_two_and_once_in_place():
    network = networks.released_cam(10, (32, 32))
    sizes = {}
    x = torch.zeros(1, 32, 32)
    for name, stage in network.named_children():
        x = stage(x)
        sizes[name] = tuple(x.shape[1:])
    assert sizes["pool1"] == (64, 16, 16)
    assert sizes["pool2"] == (64, 15, 15)
    assert sizes["deconv"] == (128, 30, 30)
    assert sizes["gap"] == (128,)
