"""Layers of several networks of one shape that train side by side, one per seed: every tensor leads with the seed axis.

On a CPU a trial is one process and one thread and the axis has length 1; on a GPU all seeds of an arm share each
kernel. A seed's start and its dropout depend on its own number alone, so its run is the same (to rounding) whichever
seeds run beside it.

What is fast on one CPU thread was measured at batches of 128 clips x 10 frames x 128 numbers:

* a product over frames is written as a 1x1 convolution over channels-last pictures. PyTorch gives those to oneDNN,
  forward and backward, at 190 to 220 GFLOP/s, and ``mm`` to MKL, at 110 on the same AMD core;
* ReLU and dropout work in place and keep nothing but their output, whose sign says where the gradient passes; dropout's
  factor and, in evaluation, all of batch normalisation go into scales and matrices that are there anyway;
* dropout compares 16 random bits with the keep probability: 0.08 ms a mask, where ``torch.dropout`` takes 1.4 ms.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from harness.errors import RepriseError

#: Pictures of this height keep oneDNN busiest; it is only asked from 16 pictures on.
_HEIGHT, _PICTURES = 8, 16


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Sources of the starting weights.

    Parameters
    ----------
    seeds
        One per network.

    Returns
    -------
    list of torch.Generator
        To be passed from layer to layer, in a fixed order.
    """
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def product(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Multiply every vector by its seed's matrix.

    Parameters
    ----------
    inputs : Tensor (S, n, k) or (S, n, T, k)
        Vectors, of clips or of frames.
    weight : Tensor (S, c, k)
        One matrix per seed.
    bias : Tensor (S, c), optional
        Added to every product.

    Returns
    -------
    Tensor (S, n, c) or (S, n, T, c)
        The products.
    """
    if inputs.ndim == 4 and inputs.device.type == "cpu":
        if len(weight) == 1:  # squeezing costs nothing, also backwards
            one = None if bias is None else bias.squeeze(0)
            return _convolve(inputs.squeeze(0), weight.squeeze(0), one).unsqueeze(0)
        biases = [None] * len(weight) if bias is None else bias
        return torch.stack([_convolve(*each) for each in zip(inputs, weight, biases, strict=True)])
    vectors, matrices = inputs.flatten(1, -2), weight.transpose(1, 2)
    products = torch.bmm(vectors, matrices) if bias is None else torch.baddbmm(bias.unsqueeze(1), vectors, matrices)
    return products.unflatten(1, inputs.shape[1:-1])


def _convolve(frames: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """(n, T, k) times (c, k) -> (n, T, c): frames lie in memory as the pixels of channels-last pictures do."""
    clips = len(frames)
    height = _HEIGHT if clips % _HEIGHT == 0 and clips // _HEIGHT >= _PICTURES else 1
    pictures = frames.contiguous().unflatten(0, (clips // height, height)).permute(0, 3, 1, 2)
    products = F.conv2d(pictures, weight[:, :, None, None], bias)
    return products.permute(0, 2, 3, 1).reshape(*frames.shape[:2], len(weight))


class Linear(nn.Module):
    """One matrix per seed, over the vectors of clips or of frames.

    Parameters
    ----------
    sources : list of torch.Generator
        One per seed; see `generators`.
    inputs, outputs
        Lengths of the vectors.
    bias
        Whether to add one, at first 0.
    initialise
        Called as ``initialise(weight, generator=source)``; one of ``torch.nn.init``, with its parameters bound.
    """

    def __init__(
        self, sources: Sequence[torch.Generator], inputs: int, outputs: int, *, initialise: Any, bias: bool = True
    ) -> None:
        super().__init__()
        matrices = [initialise(torch.empty(outputs, inputs), generator=source) for source in sources]
        self.weight = nn.Parameter(torch.stack(matrices))
        self.bias = nn.Parameter(torch.zeros(len(matrices), outputs)) if bias else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As `product`."""
        return product(inputs, self.weight, self.bias)


def side_by_side(inputs: torch.Tensor) -> torch.Tensor:
    """(S, n, T, channels) -> (n * T, S * channels); with one seed nothing moves."""
    return inputs.flatten(1, 2).transpose(0, 1).flatten(1)


def apart(rows: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """What `side_by_side` had been given, of that shape."""
    return rows.unflatten(1, (shape[0], -1)).transpose(0, 1).unflatten(1, shape[1:3])


class BatchNorm(nn.Module):
    """Batch normalisation over clips and frames, as PyTorch does it.

    Parameters
    ----------
    seeds
        How many networks.
    channels
        Numbers per frame.
    """

    #: Weight of the newest batch in the running statistics, and what is added to the variance.
    momentum, eps = 0.1, 1e-5

    def __init__(self, seeds: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(seeds, channels))
        self.bias = nn.Parameter(torch.zeros(seeds, channels))
        self.register_buffer("running_mean", torch.zeros(seeds, channels))
        self.register_buffer("running_var", torch.ones(seeds, channels))

    def normalise(
        self, rows: torch.Tensor, scale: torch.Tensor | None = None, shift: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalise by the batch's statistics, which the running ones follow: a step of training.

        Parameters
        ----------
        rows : Tensor (n * T, S * channels)
            A batch as `side_by_side` lays it out: all seeds are one batch normalisation.
        scale, shift : Tensor (S, channels), optional
            Applied to what is normalised; the layer's own parameters are left to the caller.

        Returns
        -------
        Tensor (n * T, S * channels)
            Normalised.
        """
        scale, shift = (None if each is None else each.flatten() for each in (scale, shift))
        mean, variance = self.running_mean.flatten(), self.running_var.flatten()
        return F.batch_norm(rows, mean, variance, scale, shift, True, self.momentum, self.eps)

    def frozen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift (S, channels) that the running statistics amount to."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - scale * self.running_mean


class Dropout(nn.Module):
    """Zero numbers at random and scale up the others, by a stream of random numbers per seed.

    The streams are set by `reseed`; without that, training fails rather than drawing what nobody can draw again.

    Parameters
    ----------
    p
        Probability of being zeroed.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.streams: list[Any] = []

    @property
    def scale(self) -> float:
        """What the numbers kept are multiplied with."""
        return 1 / (1 - self.p)

    def mask(self, like: torch.Tensor) -> torch.Tensor | None:
        """Draw which numbers to keep.

        Parameters
        ----------
        like : Tensor (S, ...)
            What to mask.

        Returns
        -------
        Tensor (S, ...), uint8
            1 where kept, 0 with probability `p`, rounded to 1/65536; None where nothing is dropped.
        """
        if not self.training or self.p == 0:
            return None
        if len(self.streams) != len(like):
            raise ValueError(f"dropout needs a stream for each of {len(like)} seeds: call reseed before training")
        keep = round((1 - self.p) * 65536)
        return torch.stack([_keep(stream, like[0], keep) for stream in self.streams])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Mask (S, ...)."""
        mask = self.mask(inputs)
        return inputs if mask is None else inputs * (mask * self.scale)


def _keep(stream: np.random.SFC64 | torch.Generator, like: torch.Tensor, keep: int) -> torch.Tensor:
    """1 with probability `keep` / 65536, as uint8 in the shape and on the device of `like`."""
    if isinstance(stream, torch.Generator):
        bits = torch.randint(65536, like.shape, dtype=torch.int32, device=like.device, generator=stream)
        return (bits < keep).to(torch.uint8)
    bits = stream.random_raw(-(-like.numel() // 4)).view(np.uint16)[: like.numel()]
    return torch.from_numpy((bits < keep).view(np.uint8)).view(like.shape)


def reseed(network: nn.Module, keys: Sequence[Sequence[int]]) -> None:
    """Set the streams of all dropout in a network.

    Parameters
    ----------
    network
        Changed in place. Streams live where its parameters do, and differ between kinds of device.
    keys
        Per seed, non-negative integers that everything drawn from now on depends on, such as seed and epoch.
    """
    device = next(network.parameters()).device
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    for number, layer in enumerate(layers):
        sequences = [np.random.SeedSequence([*key, number]) for key in keys]
        if device.type == "cpu":
            layer.streams = [np.random.SFC64(sequence) for sequence in sequences]
        else:
            words = [int(sequence.generate_state(1, np.uint64)[0] >> 1) for sequence in sequences]
            layer.streams = [torch.Generator(device).manual_seed(word) for word in words]


class _ReluDropout(torch.autograd.Function):
    """ReLU and mask in place; an output is above 0 exactly where both let the gradient through."""

    @staticmethod
    def forward(ctx, inputs, mask):
        inputs.relu_()
        if mask is not None:
            inputs.mul_(mask)
        ctx.mark_dirty(inputs)
        ctx.save_for_backward(inputs)
        return inputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (outputs,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, outputs, 0), None


def norm_relu_dropout(inputs: torch.Tensor, norm: BatchNorm, dropout: Dropout) -> torch.Tensor:
    """Training step of batch normalisation, ReLU and dropout in a row.

    Parameters
    ----------
    inputs : Tensor (S, n, T, channels)
        Products of the layer before.
    norm
        Its running statistics follow the batch.
    dropout
        Draws the mask.

    Returns
    -------
    Tensor (S, n, T, channels)
        What is left.
    """
    # Dropout's factor rides on scale and shift, since ReLU lets a positive factor through.
    rows = norm.normalise(side_by_side(inputs), norm.weight * dropout.scale, norm.bias * dropout.scale)
    mask = dropout.mask(inputs)
    # Still as rows: what is changed in place must not be a view, or the backward pass copies it three times.
    return apart(_ReluDropout.apply(rows, None if mask is None else side_by_side(mask)), inputs.shape)


def state_of(network: nn.Module, index: int) -> dict[str, torch.Tensor]:
    """Weights and statistics of one seed.

    Parameters
    ----------
    network
        All of whose tensors lead with the seed axis.
    index
        Place of the seed on that axis.

    Returns
    -------
    dict of Tensor
        By name, without the seed axis: copies on the CPU.
    """
    # Without the clone a tensor on the CPU would change with the network.
    return {name: tensor[index].detach().cpu().clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def load_state(network: nn.Module, index: int, state: Mapping[str, torch.Tensor]) -> None:
    """Put back what `state_of` took.

    Parameters
    ----------
    network
        Changed in place at one seed.
    index
        Place of the seed.
    state
        By name, without the seed axis.

    Raises
    ------
    RepriseError
        Names or shapes are those of another network.
    """
    tensors = network.state_dict()
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    if shapes != {name: tuple(tensor.shape) for name, tensor in state.items()}:
        raise RepriseError("the stored weights are of another network; remove the trial's folder")
    for name, tensor in tensors.items():
        tensor[index].copy_(state[name])
