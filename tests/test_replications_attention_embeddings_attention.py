"""The attention model beside a plain network of PyTorch's own layers, and what must hold of it whatever its weights."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from replications.attention_embeddings import batched
from replications.attention_embeddings.attention import Attention, attention

CLIPS, FRAMES, CLASSES = 40, 10, 20


class Plain(nn.Module):
    """The model layer by layer, as anyone would write it down; masks stand in for dropout."""

    def __init__(self, frame_size: int, hidden: int, norm: str, dropout: float = 0.6) -> None:
        super().__init__()
        self.scale = 1 / (1 - dropout)
        sizes = (frame_size, hidden, hidden)
        self.convolutions = nn.ModuleList(nn.Conv2d(size, hidden, 1, bias=False) for size in sizes)
        self.norms = nn.ModuleList(
            [nn.BatchNorm2d(size) for size in (*sizes, hidden)] if norm == "batch" else [nn.GroupNorm(8, hidden)]
        )
        self.residual = None if frame_size == hidden else nn.Conv2d(frame_size, hidden, 1, bias=False)
        self.attention, self.activity = nn.Conv2d(hidden, CLASSES, 1), nn.Conv2d(hidden, CLASSES, 1)

    def forward(self, frames: torch.Tensor, masks: list[torch.Tensor] | None = None) -> torch.Tensor:
        """Frames (n, T, frame_size) and a mask for each layer -> probabilities (n, classes)."""
        pictures = frames.transpose(1, 2).unsqueeze(3)
        batch_norm = len(self.norms) == 4
        hidden = self.norms[0](pictures) if batch_norm else pictures
        for layer, convolution in enumerate(self.convolutions):
            hidden = convolution(hidden)
            if batch_norm:
                hidden = self.norms[layer + 1](hidden)
            elif layer == 2:
                hidden = self.norms[0](hidden)
            hidden = torch.relu(hidden)
            if masks is not None:
                hidden = hidden * masks[layer].transpose(1, 2).unsqueeze(3) * self.scale
        hidden = hidden + (pictures if self.residual is None else self.residual(pictures))
        weights = torch.sigmoid(self.attention(hidden)).clamp(1e-7, 1 - 1e-7)
        weights = weights / weights.sum(2, keepdim=True)
        return F.hardtanh((weights * torch.sigmoid(self.activity(hidden))).sum(2).squeeze(2), 0.0, 1.0)


def plain_state(network: Attention, index: int) -> dict[str, torch.Tensor]:
    """One seed's weights under the plain network's names, in double precision."""
    state = {}
    for name, value in batched.state_of(network, index).items():
        if name == "group_weight":
            name = "norms.0.weight"
        elif name == "group_bias":
            name = "norms.0.bias"
        if name in ("heads.weight", "heads.bias"):
            for head, half in zip(("attention", "activity"), value.chunk(2), strict=True):
                state[name.replace("heads", head)] = half
        else:
            state[name] = value
    matrices = {name for name in state if name.endswith("weight") and state[name].ndim == 2}
    return {name: (v[..., None, None] if name in matrices else v).double() for name, v in state.items()}


def plain(network: Attention, index: int, frame_size: int, hidden: int, norm: str) -> Plain:
    reference = Plain(frame_size, hidden, norm).double()
    missing, unexpected = reference.load_state_dict(plain_state(network, index), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return reference


def data(frame_size: int = 128, clips: int = CLIPS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    frames = torch.rand(clips, FRAMES, frame_size, generator=generator)
    labels = (torch.rand(clips, CLASSES, generator=generator) < 0.4).float()
    mask = (torch.rand(clips, CLASSES, generator=generator) < 0.1).float()
    mask[:, 0] = 1
    return frames, labels, mask


def trained(norm: str = "batch", frame_size: int = 128, hidden: int = 128, seeds: tuple[int, ...] = (1,)) -> Attention:
    """Three steps away from the start, so that running statistics and biases are no longer what they began as."""
    network = attention(seeds, norm=norm, frame_size=frame_size, hidden=hidden)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    frames, labels, _ = data(frame_size)
    batched.reseed(network, [(seed, 1) for seed in seeds])
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(network(frames.expand(len(seeds), *frames.shape)), labels.expand(len(seeds), -1, -1)).backward()
        optimizer.step()
    return network


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 55_336),
        ({"frame_size": 64}, 47_016 + 8_192),
        ({"frame_size": 64, "hidden": 64}, 15_400),
        ({"norm": "group"}, 54_568),
    ],
)
def test_parameters_of_a_seed(options, count):
    for seeds in ([0], [0, 7, 8]):
        assert sum(p.numel() for p in attention(seeds, **options).parameters()) == count * len(seeds)


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match="layer"):
        attention([0], norm="layer")


def test_starting_weights():
    network = attention([5])
    for name, parameter in network.named_parameters():
        if name.startswith(("convolutions", "heads.weight")):
            bound = (6 / 128) ** 0.5
            assert 0.98 * bound < parameter.abs().max() <= bound
            assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
        else:
            assert torch.all(parameter == (1 if name.endswith("weight") else 0)), name


def test_a_seeds_start_is_its_own():
    together, alone = attention([3, 4, 5]), attention([4])
    for name, value in batched.state_of(alone, 0).items():
        assert torch.equal(batched.state_of(together, 1)[name], value)
    assert not torch.equal(together.heads.weight[0], together.heads.weight[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("frame_size", "hidden", "norm"), [(128, 128, "batch"), (128, 128, "group"), (64, 128, "batch"), (64, 64, "batch")]
)
def test_training_equals_the_plain_network(frame_size, hidden, norm, dtype):
    """Same batches, same masks, Adam: after several steps outputs, losses and weights agree to 1e-5.

    Adam divides a gradient by its own size, so where one is next to 0 rounding decides which way the weight goes. In
    single precision there are fewer steps, therefore, and a few weights may differ by more.
    """
    single = dtype == torch.float32
    network = attention([1], frame_size=frame_size, hidden=hidden, norm=norm)
    reference = plain(network, 0, frame_size, hidden, norm)
    network.to(dtype)
    frames, labels, mask = data(frame_size, clips=300)
    settings = {"lr": 5e-4, "weight_decay": 1e-5}
    ours = torch.optim.Adam(network.parameters(), **settings, fused=True)
    theirs = torch.optim.Adam(reference.parameters(), **settings)
    batched.reseed(network, [(1, 1)])
    for rows in torch.arange(300).repeat(1 if single else 2).split(128):
        masks = record_masks(network)
        outputs = network(frames[rows][None].to(dtype))[0]
        expected = reference(frames[rows].double(), [m[0].double() for m in masks])
        torch.testing.assert_close(outputs.double(), expected, atol=1e-5, rtol=0)
        seen = mask[rows] > 0
        loss = F.binary_cross_entropy(outputs[seen], labels[rows][seen].to(dtype))
        expected_loss = F.binary_cross_entropy(expected[seen], labels[rows][seen].double())
        assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-5)
        for optimizer, value in ((ours, loss), (theirs, expected_loss)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    state = reference.state_dict()
    for name, value in plain_state(network, 0).items():
        difference = (value - state[name]).abs().flatten()
        assert torch.quantile(difference, 0.98 if single else 1.0) <= 1e-5, name
        assert difference.max() <= 1e-3, name
    network.eval(), reference.eval()
    with torch.no_grad():
        outputs = network(frames[None].to(dtype))[0].double()
        torch.testing.assert_close(outputs, reference(frames.double()), atol=1e-5, rtol=0)


def record_masks(network: Attention) -> list[torch.Tensor]:
    """Masks of the coming step, filled in as the network draws them."""
    masks: list[torch.Tensor] = []
    for layer in network.dropouts:

        def mask(like: torch.Tensor, layer=layer) -> torch.Tensor:
            masks.append(batched.Dropout.mask(layer, like))
            return masks[-1]

        layer.mask = mask
    return masks


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_gradients_equal_the_plain_networks(norm):
    """Every parameter's gradient, and exactly none where the first shift has no say."""
    network = trained(norm)
    for parameter in network.parameters():
        parameter.grad = None
    network.train()
    reference = plain(network, 0, 128, 128, norm)
    frames, labels, mask = data()
    masks = record_masks(network)
    F.binary_cross_entropy(network(frames[None])[0], labels, weight=mask).backward()
    loss = F.binary_cross_entropy(
        reference(frames.double(), [m[0].double() for m in masks]), labels.double(), weight=mask.double()
    )
    loss.backward()
    if norm == "batch":
        assert network.norms[0].bias.grad is None
        assert reference.norms[0].bias.grad.abs().max() < 1e-15
    expected = reference.convolutions[0].weight.grad[:, :, 0, 0]
    torch.testing.assert_close(
        network.convolutions[0].weight.grad[0].double(), expected, atol=1e-6 * float(expected.abs().max()), rtol=1e-4
    )


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_attention_sums_to_one_and_its_mean_of_the_activity_is_the_output(norm):
    network = trained(norm, seeds=(1, 2)).eval()
    frames = data()[0].expand(2, -1, -1, -1)
    with torch.no_grad():
        weights, activity, outputs = network.weights(frames), network.activity(frames), network(frames)
    assert weights.shape == activity.shape == (2, CLIPS, FRAMES, CLASSES)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, CLIPS, CLASSES), atol=1e-6, rtol=0)
    torch.testing.assert_close((weights * activity).sum(2), outputs, atol=1e-6, rtol=0)
    assert outputs.min() >= 0
    assert outputs.max() <= 1


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_order_of_frames_does_not_matter(norm):
    network = trained(norm).eval()
    frames = data()[0][None]
    order = torch.from_numpy(np.random.default_rng(0).permutation(FRAMES))
    with torch.no_grad():
        torch.testing.assert_close(network(frames[:, :, order]), network(frames), atol=1e-6, rtol=0)
        torch.testing.assert_close(
            network.weights(frames[:, :, order]), network.weights(frames)[:, :, order], atol=1e-6, rtol=0
        )


def test_outputs_stay_in_range_where_everything_saturates():
    """Logits of +-40: attention at its clamp, activity at 0 and 1; the gradient is finite."""
    network = trained().eval()
    for sign in (-1, 1):
        with torch.no_grad():
            network.heads.bias.fill_(40 * sign)
        outputs = network(data()[0][None])
        assert outputs.min() >= 0
        assert outputs.max() <= 1
        outputs.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_group_normalisation_is_over_all_frames_of_a_clip():
    """What one frame holds changes what another gives, with "group" and not, in evaluation, with "batch"."""
    frames = data()[0][None]
    other = frames.clone()
    other[:, :, 0] = 0
    for norm, reaches in (("group", True), ("batch", False)):
        network = trained(norm).eval()
        with torch.no_grad():
            same = torch.equal(network.activity(frames)[:, :, 1:], network.activity(other)[:, :, 1:])
        assert same is not reaches
