"""Layers with a seed axis beside PyTorch's own, seed by seed, and the randomness each seed has to itself."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from harness.errors import RepriseError
from replications.attention_embeddings import batched


def network(seeds: tuple[int, ...] = (0, 1, 2)) -> nn.Sequential:
    sources = batched.generators(seeds)
    return nn.Sequential(
        batched.Linear(sources, 6, 5, initialise=nn.init.xavier_normal_),
        batched.BatchNorm(len(seeds), 5),
        batched.Dropout(0.5),
    )


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("clips", [1, 7, 128])  # 128 clips are laid out in their own way
@pytest.mark.parametrize("shape", [(), (10,)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_product_and_its_gradients(seeds, clips, shape, with_bias):
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator)
    inputs, weight = draw(seeds, clips, *shape, 12).requires_grad_(), draw(seeds, 7, 12).requires_grad_()
    bias = draw(seeds, 7).requires_grad_() if with_bias else None
    wanted = [inputs, weight] + ([bias] if with_bias else [])
    outputs = batched.product(inputs, weight, bias)
    expected = torch.stack([F.linear(inputs[s], weight[s], None if bias is None else bias[s]) for s in range(seeds)])
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
    slope = draw(*outputs.shape)
    ours, theirs = (torch.autograd.grad(value, wanted, slope) for value in (outputs, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_product_of_inputs_shared_by_all_seeds():
    inputs, weight = torch.randn(1, 16, 10, 12).expand(3, -1, -1, -1), torch.randn(3, 7, 12)
    torch.testing.assert_close(batched.product(inputs, weight)[2], inputs[0] @ weight[2].T, atol=1e-5, rtol=1e-5)


def test_linear_starts_as_told_with_biases_at_zero():
    layer = batched.Linear(batched.generators([4, 5]), 6, 5, initialise=nn.init.xavier_normal_)
    alone = nn.init.xavier_normal_(torch.empty(5, 6), generator=torch.Generator().manual_seed(5))
    assert torch.equal(layer.weight[1], alone)
    assert not layer.bias.any()
    assert batched.Linear(batched.generators([4]), 6, 5, initialise=nn.init.xavier_normal_, bias=False).bias is None


@pytest.mark.parametrize("seeds", [1, 3])
def test_batch_norm_as_pytorch_has_it(seeds):
    """Outputs, gradients and, after two batches, running statistics; biased to normalise, unbiased to run."""
    ours, theirs = batched.BatchNorm(seeds, 5), [nn.BatchNorm2d(5) for _ in range(seeds)]
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2), ours.bias.uniform_(-1, 1)
        for index, norm in enumerate(theirs):
            norm.weight.copy_(ours.weight[index]), norm.bias.copy_(ours.bias[index])
    dropout = batched.Dropout(0.5)
    for epoch in (1, 2):
        inputs = (torch.randn(seeds, 9, 10, 5) * 3 + 2).requires_grad_()
        masks = []
        for _ in range(2):  # twice the same stream: once to look at
            dropout.streams = [np.random.SFC64([s, epoch]) for s in range(seeds)]
            masks.append(dropout.mask(inputs))
        assert torch.equal(*masks)
        dropout.streams = [np.random.SFC64([s, epoch]) for s in range(seeds)]
        outputs = batched.norm_relu_dropout(inputs, ours, dropout)
        expected = torch.stack(
            [
                torch.relu(norm(inputs[s].permute(0, 2, 1).unsqueeze(3))).squeeze(3).permute(0, 2, 1) * masks[0][s] * 2
                for s, norm in enumerate(theirs)
            ]
        )
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
        slope = torch.randn(outputs.shape)
        wanted = [inputs, ours.weight, ours.bias]
        mine = torch.autograd.grad(outputs, wanted, slope)
        reference = torch.autograd.grad(
            expected, [inputs, *(n.weight for n in theirs), *(n.bias for n in theirs)], slope
        )
        reference = reference[0], torch.stack(reference[1 : 1 + seeds]), torch.stack(reference[1 + seeds :])
        torch.testing.assert_close(mine, reference, atol=1e-4, rtol=1e-4)
    for index, norm in enumerate(theirs):
        torch.testing.assert_close(ours.running_mean[index], norm.running_mean)
        torch.testing.assert_close(ours.running_var[index], norm.running_var)
    scale, shift = ours.frozen()
    inputs = torch.randn(9, 5, 10, 1)
    expected = theirs[-1].eval()(inputs).squeeze(3)
    torch.testing.assert_close(
        inputs.squeeze(3) * scale[-1, :, None] + shift[-1, :, None], expected, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("p", [0.6, 0.5, 0.1])
def test_dropout_keeps_the_right_share_independently(p):
    layer = batched.Dropout(p)
    holder = nn.ModuleList([nn.Linear(1, 1), layer])
    batched.reseed(holder, [(7, 1)])
    inputs = torch.ones(1, 500, 10, 64)
    first, second = layer(inputs), layer(inputs)
    for outputs in (first, second):
        assert outputs.unique().tolist() == [0.0, pytest.approx(1 / (1 - p))]
        kept = int((outputs > 0).sum())
        assert stats.binomtest(kept, inputs.numel(), 1 - p).pvalue > 1e-4
    both = int(((first > 0) & (second > 0)).sum())
    assert stats.binomtest(both, inputs.numel(), (1 - p) ** 2).pvalue > 1e-4
    neighbours = int(((first[..., 1:] > 0) & (first[..., :-1] > 0)).sum())
    assert neighbours / first[..., 1:].numel() == pytest.approx((1 - p) ** 2, abs=0.01)


def test_dropout_of_an_odd_number_of_entries():
    layer = batched.Dropout(0.5)
    batched.reseed(nn.ModuleList([nn.Linear(1, 1), layer]), [(0, 1)])
    assert layer.mask(torch.ones(1, 3, 5)).shape == (1, 3, 5)


def test_dropout_does_nothing_in_evaluation_or_at_probability_zero():
    inputs = torch.randn(2, 4, 5)
    assert batched.Dropout(0.5).eval()(inputs) is inputs
    assert batched.Dropout(0.0)(inputs) is inputs
    with pytest.raises(ValueError, match="reseed"):
        batched.Dropout(0.5)(inputs)


def test_masks_of_a_seed_depend_on_its_key_and_layer_alone():
    like = torch.ones(3, 8, 10, 16)

    def masks(*keys: tuple[int, int]) -> list[torch.Tensor]:
        layers = nn.ModuleList([nn.Linear(1, 1), batched.Dropout(0.5), batched.Dropout(0.5)])
        batched.reseed(layers, keys)
        return [layer.mask(like[: len(keys)]) for layer in layers[1:]]

    together, alone = masks((1, 1), (2, 1), (3, 1)), masks((2, 1))
    for many, one in zip(together, alone, strict=True):
        assert torch.equal(many[1], one[0])
    different = [together[0][0], together[0][1], together[1][1], masks((2, 2))[0][0]]
    assert len({tuple(mask.flatten().tolist()) for mask in different}) == 4


def test_a_state_goes_out_and_in_again():
    source, target = network((0, 1, 2)), network((5, 6))
    before = batched.state_of(target, 1)
    state = batched.state_of(source, 2)
    assert {name: tuple(v.shape) for name, v in state.items()} == {
        "0.weight": (5, 6),
        "0.bias": (5,),
        **{f"1.{name}": (5,) for name in ("weight", "bias", "running_mean", "running_var")},
    }
    batched.load_state(target, 0, state)
    for name, value in state.items():
        assert torch.equal(batched.state_of(target, 0)[name], value)
        assert torch.equal(batched.state_of(target, 1)[name], before[name])
    with torch.no_grad():
        source[0].weight.zero_()
    assert state["0.weight"].any()  # a copy


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_a_state_of_another_network_is_refused(change):
    target, state = network(), batched.state_of(network(), 0)
    if change == "missing":
        del state["0.bias"]
    elif change == "extra":
        state["2.weight"] = torch.zeros(5)
    else:
        state["0.weight"] = torch.zeros(5, 7)
    with pytest.raises(RepriseError, match="another network"):
        batched.load_state(target, 0, state)
