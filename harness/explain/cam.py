"""Gradient-weighted class activation maps (Selvaraju et al. 2017) of all classes of a clip at once.

A map is the sum of the target stage's channels, each weighted by the mean gradient of the class's logit over that
channel, and clipped at zero. Because our networks are chains, nothing needs to be hooked: the chain runs up to the
target once, without a graph; from there to the logits once, with one; and one batched backward pass through that
short graph serves every class. The ``grad-cam`` package, which study 000 used, runs the whole network forward and
backward once per class for the same numbers.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import nn

from harness.errors import RepriseError
from harness.models import chain


def divide(model: nn.Sequential, target: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a network behind one of its stages.

    Parameters
    ----------
    model
        A chain of stages, see `harness.models.chain`.
    target
        Name of the last stage of the first part, such as ``"layer4.2"``.

    Returns
    -------
    head, tail : nn.Sequential
        The stages up to and including the target, and the later ones; they share the network's weights.

    Raises
    ------
    RepriseError
        The network has no stage of that name.
    """
    stages = chain(model)
    names = [name for name, _ in stages]
    if target not in names:
        raise RepriseError(f"the network has no stage {target!r} to explain; its stages are {', '.join(names)}")
    modules = [module for _, module in stages]
    cut = names.index(target) + 1
    return nn.Sequential(*modules[:cut]), nn.Sequential(*modules[cut:])


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Hold a network in evaluation mode for a while.

    Parameters
    ----------
    model
        Every module gets its own mode back in the end.

    Yields
    ------
    torch.device
        Where the network's weights are.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield next((p.device for p in model.parameters()), torch.device("cpu"))
    finally:
        for module, mode in modes.items():
            module.training = mode


def as_spectrogram(maps: np.ndarray) -> np.ndarray:
    """Lay the maps of a clip's windows end to end along time, as study 000 did (IV.H).

    Parameters
    ----------
    maps : np.ndarray [shape=(k, windows, frames, bands)]
        Maps of windows, each time x frequency, as VGGish sees them.

    Returns
    -------
    np.ndarray [shape=(k, bands, windows * frames)]
        Frequency x time.
    """
    k, windows, frames, bands = maps.shape
    return maps.reshape(k, windows * frames, bands).transpose(0, 2, 1)


def gradcam(
    model: nn.Sequential, inputs: torch.Tensor, classes: Sequence[Sequence[int]], *, target: str
) -> list[np.ndarray]:
    """Class activation maps at the resolution of the target stage.

    Parameters
    ----------
    model
        A chain of stages (`harness.models.chain`). It runs in evaluation mode and is left as it was.
    inputs : Tensor (n, 1, bands, frames), or (n, patches, frames, bands) where the chain starts with ``windows``
        Clips as the network takes them.
    classes
        For each of the n clips, the numbers of the classes to explain.
    target
        The stage to explain at, with 2-d feature maps: ``"layer4.2"`` of ResNet-50, ``"features.14"`` (the ReLU
        after the last convolution) of VGGish, as study 000 did.

    Returns
    -------
    list of np.ndarray [shape=(k, bands', frames'), dtype=float32]
        For each clip one non-negative map per class asked for, frequency x time, in the units of the logit; see
        `scale` for maps to look at. The windows of VGGish are laid end to end; they add up in one linear classifier,
        so their maps have one unit and may be compared.

    Raises
    ------
    RepriseError
        The network has no such stage, its output there is not 2-d feature maps, or there are not as many lists of
        classes as clips.
    """
    if len(classes) != len(inputs):
        raise RepriseError(f"{len(inputs)} clips came with {len(classes)} lists of classes; give one list per clip")
    head, tail = divide(model, target)
    with evaluating(model) as device:
        with torch.no_grad():
            activations = head(inputs.to(device))
        if activations.ndim != 4:
            raise RepriseError(f"the stage {target!r} has no feature maps over frequency and time; name an earlier one")
        with torch.enable_grad():
            logits = tail(activations.requires_grad_())
            # One row of seeds per class asked for; clips that ask for fewer than the most leave rows of zeros.
            seeds = logits.new_zeros(max([1, *map(len, classes)]), *logits.shape)
            for clip, wanted in enumerate(classes):
                for row, number in enumerate(wanted):
                    seeds[row, clip, number] = 1
            # The graph ends at the activations, so no gradient of a weight is ever computed, frozen or not.
            (gradients,) = torch.autograd.grad(logits, activations, seeds, is_grads_batched=True)
    maps = torch.einsum("krc,rchw->krhw", gradients.mean((3, 4)), activations.detach()).relu()
    maps = maps.unflatten(1, (len(inputs), -1)).cpu().numpy()
    per_clip = [maps[: len(wanted), clip] for clip, wanted in enumerate(classes)]
    return [as_spectrogram(m) if chain(model)[0][0] == "windows" else m[:, 0] for m in per_clip]


def scale(maps: np.ndarray, shape: tuple[int, int], *, windows: int = 1) -> np.ndarray:
    """Bring maps to the resolution of the spectrogram and to the range from 0 to 1, as ``grad-cam`` does.

    Parameters
    ----------
    maps : np.ndarray [shape=(k, bands', frames')]
        Maps as `gradcam` gives them.
    shape
        Bands and frames of the spectrogram.
    windows
        Into how many windows the time axis is cut, each of them scaled and interpolated on its own. The number of
        patches makes the overlays of study 000, discontinuous at every edge, in which the strongest cell of each
        window is 1 however weak its evidence; 1 keeps the clip whole, so that windows may be compared.

    Returns
    -------
    np.ndarray [shape=(k, bands, frames), dtype=float32]
        From 0 to 1; all zero where the map is constant.
    """
    bands, frames = shape
    if not len(maps):
        return np.zeros((0, bands, frames), np.float32)
    # The package scales both before and after it interpolates; two calls do the same.
    pieces = [
        scale_cam_image(scale_cam_image(piece, (frames // windows, bands)))
        for piece in np.split(np.asarray(maps, np.float32), windows, axis=2)
    ]
    return np.concatenate(pieces, axis=2)
