"""Expected times: operations counted as the literature counts them, at a rate that this machine gives."""

import pytest
import torch
from torch import nn

from harness.models import resnet50, vggish
from harness.studies.cost import Rate, flops_per_clip, measure_rate, training_seconds


def test_resnet50s_operations_are_those_that_torchvision_states():
    frozen, learning = flops_per_clip(resnet50(1000), ("",), (1, 224, 224))
    assert frozen == 0
    assert learning == pytest.approx(2 * 4.089e9, rel=0.002)  # torchvision: 4.09 GFLOPS, a multiplication with its add


def test_vggishs_operations_are_those_of_its_layers():
    # By hand: 3x3 convolutions at 96x64, 48x32, 24x16 (2), 12x8 (2) outputs, then three linear layers.
    convolutions = (
        (96 * 64, 1, 64), (48 * 32, 64, 128), (24 * 16, 128, 256), (24 * 16, 256, 256), (12 * 8, 256, 512),
        (12 * 8, 512, 512),
    )  # fmt: skip
    patch = sum(area * 9 * before * after for area, before, after in convolutions)
    patch += 12_288 * 4096 + 4096 * 4096 + 4096 * 128
    assert patch == pytest.approx(0.864e9, rel=0.001)
    assert sum(flops_per_clip(vggish(20), ("head",), (10, 96, 64))) == 2 * (10 * patch + 1280 * 20)


@pytest.mark.parametrize(
    ("trainable", "learning"), [(("head",), 1280 * 20), (("head", "embeddings.4"), 1280 * 20 + 10 * 4096 * 128)]
)
def test_operations_are_divided_before_the_first_layer_that_learns(trainable, learning):
    whole = sum(flops_per_clip(vggish(20), ("",), (10, 96, 64)))
    before, after = flops_per_clip(vggish(20), trainable, (10, 96, 64))
    assert after == 2 * learning
    assert before + after == whole


def test_a_stored_prefix_costs_nothing_per_epoch_and_learning_costs_three_passes():
    settings = {
        "train_clips": 100, "evaluation_clips": 10, "epochs": 4, "batch_size": 16, "rate": Rate(flops=1e9, bytes=1e12)
    }  # fmt: skip
    stored = training_seconds((10**9, 10**6), 0, stored_prefix=True, **settings)
    plain = training_seconds((10**9, 10**6), 0, stored_prefix=False, **settings)
    assert stored == pytest.approx(4 * (3 * 100 + 10) * 1e6 / 1e9)
    assert plain == pytest.approx(stored + 4 * 110 * 1.0)
    # Seven steps an epoch, each moving 32 bytes a parameter.
    assert training_seconds((0, 0), 10**9, stored_prefix=True, **settings) == pytest.approx(4 * 7 * 32e9 / 1e12)


def test_threads_are_left_as_they_were():
    threads = torch.get_num_threads()
    measure_rate(torch.device("cpu"))
    assert torch.get_num_threads() == threads


def test_counting_computes_nothing():
    network = nn.Sequential(nn.Linear(10, 10))
    flops_per_clip(network, ("",), (10,))
    assert next(network.parameters()).is_meta
