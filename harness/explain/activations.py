"""What a network's stages put out: the feature maps that filter pictures, animations and auralisations are made of."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from harness.errors import RepriseError
from harness.explain.cam import evaluating
from harness.models import chain


def activations(
    model: nn.Sequential, inputs: torch.Tensor | np.ndarray, stages: Sequence[str], *, batch: int = 64
) -> dict[str, np.ndarray]:
    """Outputs of the named stages in evaluation mode.

    Nothing is hooked: the chain runs stage by stage up to the last one asked for, and what is asked for is kept.

    Parameters
    ----------
    model
        A chain of stages (`harness.models.chain`), left as it was.
    inputs : Tensor or np.ndarray (n, ...)
        Clips or segments as the network takes them.
    stages
        Names of stages, such as ``["relu1", "relu2"]``; any order.
    batch
        How many inputs go through the network at once. It bounds the memory and changes no number beyond rounding.

    Returns
    -------
    dict of str to np.ndarray [dtype=float32]
        In the order of `stages`. A stage with feature maps gives (n, channels, bands', frames') where the network's
        inputs are frequency x time; a fully connected one (n, features). Where the chain starts with ``windows``, rows
        are windows.

    Raises
    ------
    RepriseError
        The network has no stage of one of these names.

    Examples
    --------
    >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
    >>> activations(model, torch.tensor([[[-1.0, 2.0]]]), ["0"])["0"].tolist()
    [[[0.0, 2.0]]]
    """
    links = chain(model)
    names = [name for name, _ in links]
    for stage in stages:
        if stage not in names:
            raise RepriseError(f"the network has no stage {stage!r} to look at; its stages are {', '.join(names)}")
    last = max((names.index(stage) for stage in stages), default=-1)
    kept: dict[str, list[np.ndarray]] = {stage: [] for stage in stages}
    with evaluating(model) as device, torch.no_grad():
        # An empty set of inputs goes through once too, so that its outputs have their shape.
        for start in range(0, max(1, len(inputs)), batch):
            values = copied(inputs[start : start + batch], device)
            for name, stage in links[: last + 1]:
                values = stage(values)
                if name in kept:
                    # A copy, as a later stage may write in place.
                    kept[name].append(values.float().cpu().numpy().copy())
    return {stage: np.concatenate(parts) for stage, parts in kept.items()}


def map_stages(model: nn.Sequential, example: torch.Tensor | np.ndarray) -> dict[str, tuple[int, int, int]]:
    """Stages of a network that put out feature maps, in the order in which they run.

    Parameters
    ----------
    model
        A chain of stages.
    example : Tensor or np.ndarray (n, ...)
        Inputs as the network takes them; one is looked at.

    Returns
    -------
    dict of str to (int, int, int)
        Name of the stage: channels, height and width of its output, frequency x time where the inputs are.
    """
    outputs = activations(model, example[:1], [name for name, _ in chain(model)])
    return {name: output.shape[1:] for name, output in outputs.items() if output.ndim == 4}


def copied(inputs: torch.Tensor | np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy inputs to a device: a network may write into them, and those of a feature store may not be written to.

    Parameters
    ----------
    inputs : Tensor or np.ndarray
        As the network takes them.
    device
        Where the network is.

    Returns
    -------
    Tensor
        The same values.
    """
    return torch.tensor(inputs, device=device) if isinstance(inputs, np.ndarray) else inputs.to(device, copy=True)
