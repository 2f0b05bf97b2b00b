"""What a feature map saw, projected back onto the spectrogram (Zeiler and Fergus 2014; for music Choi et al. 2015).

The network runs forward once and remembers: each pooling where its maxima were (the switches), each mask layer its
templates. Then one feature map is kept, all others are set to zero, and the chain runs backward: poolings put values
back where the switches say, rectifiers rectify what comes back, convolutions run with their kernels flipped and inputs
and outputs exchanged. What arrives has the size of the input and shows the pattern that made the feature map what it
is, at its places in time and frequency. Choi, Fazekas and Sandler multiply it with the spectrogram to hear it
("auralisation", as study 002 does); for that see `harness.explain.auralisation`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from harness.errors import RepriseError
from harness.explain.activations import copied
from harness.explain.cam import evaluating
from harness.models import chain
from harness.models.masking import Mask, templates

#: What acts on the signal that comes back as it does on the way forward.
RECTIFIERS = (nn.ReLU, nn.LeakyReLU)


def deconvolve(
    model: nn.Sequential, inputs: torch.Tensor | np.ndarray, stage: str, channels: Sequence[int], *, batch: int = 16
) -> np.ndarray:
    """Project single feature maps back onto the input.

    Parameters
    ----------
    model
        A chain of stages (`harness.models.chain`), left as it was. What lies before the stage may be convolutions,
        transposed ones, poolings, ReLUs, mask layers (`harness.models.masking.Mask`) and what only reshapes.
    inputs : Tensor or np.ndarray (n, bands, frames) or (n, 1, bands, frames)
        As the network takes them.
    stage
        Where the feature maps are taken: ``"relu2"`` for the second layer, as Choi et al. do, who take them rectified.
        At ``"conv2"`` negative values go back as well.
    channels
        Numbers of the feature maps, from 0.
    batch
        How many inputs go through at once. It bounds the memory and changes no number beyond rounding.

    Returns
    -------
    np.ndarray [shape=(n, k, bands, frames), dtype=float32]
        One picture per input and channel, of exactly the input's size, signed; zero where no value came back to: rows
        and columns that a pooling drops count for nothing. See `harness.explain.auralisation.as_mask`.

    Raises
    ------
    RepriseError
        The network has no such stage, its output there is not 2-d feature maps, it has no such channel, or the way to
        it leads through a stage that nobody knows how to go back through.
    """
    links = chain(model)
    names = [name for name, _ in links]
    if stage not in names:
        raise RepriseError(f"the network has no stage {stage!r} to go back from; its stages are {', '.join(names)}")
    links = links[: names.index(stage) + 1]
    for name, link in links:
        # Inside a block the way back cannot be told from the gradient's, which asks whether the way forth was open.
        if not isinstance(link, RECTIFIERS) and any(isinstance(module, RECTIFIERS) for module in link.modules()):
            raise RepriseError(f"stage {name!r} is a block with rectifiers inside; go back from a stage before it")
    with evaluating(model) as device:
        pictures = [
            _pictures([link for _, link in links], copied(inputs[start : start + batch], device), stage, channels)
            for start in range(0, len(inputs), batch)
        ]
    if not pictures:
        raise RepriseError("there is no input to deconvolve; give at least one")
    pictures = np.concatenate(pictures)
    return pictures[:, :, 0] if pictures.ndim == 5 and pictures.shape[2] == 1 else pictures


def _pictures(stages: list[nn.Module], inputs: torch.Tensor, stage: str, channels: Sequence[int]) -> np.ndarray:
    """Pictures of one batch, shape (n, k, ...) with the input's own shape behind."""
    entering = []
    values = inputs
    with torch.no_grad():
        for module in stages:
            entering.append(values)  # a rectifier in place may overwrite its own, which is not needed
            values = module(values)
    if values.ndim != 4:
        raise RepriseError(f"the stage {stage!r} has no feature maps over frequency and time; name an earlier one")
    for channel in channels:
        if not 0 <= channel < values.shape[1]:
            raise RepriseError(f"stage {stage!r} has no channel {channel}; it has 0 to {values.shape[1] - 1}")
    way = list(zip(stages, entering, strict=True))
    if isinstance(stages[-1], (*RECTIFIERS, Mask)):
        way.pop()  # it has acted on what sets out already
    pictures = []
    for channel in channels:
        signal = torch.zeros_like(values)
        signal[:, channel] = values[:, channel]
        for module, taken in reversed(way):
            signal = _back(module, taken, signal)
        pictures.append(signal.float().cpu().numpy())
    return np.stack(pictures, axis=1) if pictures else np.zeros((len(inputs), 0, *inputs.shape[1:]), np.float32)


def _back(module: nn.Module, taken: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
    """One stage backward: `signal` has the shape of what it put out, the result that of what it took in."""
    if isinstance(module, RECTIFIERS):
        return module(signal)
    if isinstance(module, Mask):
        # What the mask let through comes back through it; what it cut stays cut.
        return signal * templates(taken, module.steepness).clamp_min(0)
    # All others are linear once the switches are set, and the way back through a linear map is its transpose: flipped
    # kernels without bias for a convolution, whatever its padding and stride; for a pooling the places of its maxima.
    with torch.enable_grad():
        taken = taken.detach().requires_grad_()
        (back,) = torch.autograd.grad(module(taken), taken, signal)
    return back.detach()
