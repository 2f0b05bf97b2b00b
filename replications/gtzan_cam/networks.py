"""The study's networks: three convolutions and a dense layer, the same with masks, and one that averages its last maps.

The write-up gives three convolutions, 32 filters in the first, and, for the CAM network, "additional conv2D layers and
max pooling layers, as well as a deconvolution layer", global average pooling and a single dense layer. Everything else
is our reading of it: 3 x 3 kernels, twice the filters in each next layer up to 128, and poolings by two.

The authors' own code, which is public, is not quite what the write-up says (two convolutions, for instance): its
networks are here, too, as `released_base` and `released_cam`.
"""

from collections import OrderedDict

import torch
from torch import nn

from harness.errors import RepriseError
from harness.models.masking import STEEPNESS, Mask
from harness.models.vggish import glorot_

#: Filters of the convolutions; filters "1, 8, 16, and 32" of the first are shown (study 002, Results).
FILTERS = (32, 64, 128)
#: The CAM network has one convolution more.
CAM_FILTERS = (*FILTERS, 128)
#: Of the CAM network in the authors' own code.
RELEASED_CAM_FILTERS = (32, 64, 64, 64, 64)


class Channel(nn.Module):
    """Spectrograms -> pictures of one channel."""

    def forward(self, segments: torch.Tensor) -> torch.Tensor:
        """Add the channel where there is none.

        Parameters
        ----------
        segments : Tensor (n, bands, frames) or (n, 1, bands, frames)
            Log-mel spectrograms in [0, 1].

        Returns
        -------
        Tensor (n, 1, bands, frames)
            The same values.
        """
        return segments.unsqueeze(1) if segments.dim() == 3 else segments


class Average(nn.Module):
    """Feature maps -> their means: the global average pooling that class activation maps rest on."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Average over all positions.

        Parameters
        ----------
        maps : Tensor (n, channels, h, w)
            Of the last layer.

        Returns
        -------
        Tensor (n, channels)
            Means.
        """
        return maps.mean(dim=(2, 3))


def base(classes: int, shape: tuple[int, int], kernel: tuple[int, int] = (3, 3)) -> nn.Sequential:
    """Build the base network, randomly initialised.

    Parameters
    ----------
    classes
        Number of outputs.
    shape
        Bands and frames of a segment.
    kernel
        Height (frequency) and width (time) of every kernel, odd; the layers' outputs keep their size.

    Returns
    -------
    nn.Sequential
        Takes ``(n, bands, frames)`` or ``(n, 1, bands, frames)``, gives logits ``(n, classes)``. Stages: channel,
        conv1, relu1, pool1, ..., pool3, flatten, fc. 420,362 parameters for ten classes and segments of 128 x 130.

    Raises
    ------
    RepriseError
        An even kernel, or a segment that the poolings leave nothing of.
    """
    return _flattening(classes, shape, kernel, None)


def masked(
    classes: int, shape: tuple[int, int], kernel: tuple[int, int] = (3, 3), template: float = STEEPNESS
) -> nn.Sequential:
    """Build the base network with masks behind its two upper convolutions, randomly initialised.

    The write-up does not say where its masks stand. Zhang, Wu and Zhu put them on the top convolution and on one that
    they add, so the first, whose filters hear single partials and onsets, goes without.

    Parameters
    ----------
    classes, shape, kernel
        As in `base`.
    template
        Steepness of the masks' templates, see `harness.models.masking.templates`.

    Returns
    -------
    nn.Sequential
        As `base`, and of as many parameters, with stages mask2 after relu2 and mask3 after relu3.

    Raises
    ------
    RepriseError
        As in `base`.
    """
    return _flattening(classes, shape, kernel, template)


def cam(classes: int, shape: tuple[int, int]) -> nn.Sequential:
    """Build the network of class activation maps, randomly initialised.

    Parameters
    ----------
    classes
        Number of outputs.
    shape
        Bands and frames of a segment.

    Returns
    -------
    nn.Sequential
        Takes what `base` takes. Stages: channel, conv1, relu1, pool1, ..., pool4, deconv, relu5, gap, fc. The
        transposed convolution doubles the last maps' size; 503,818 parameters for ten classes and any `shape`.

    Raises
    ------
    RepriseError
        A segment that the poolings leave nothing of.
    """
    pooled_size(shape, len(CAM_FILTERS))
    stages: OrderedDict[str, nn.Module] = OrderedDict(channel=Channel())
    _add_convolutions(stages, CAM_FILTERS, (3, 3), None)
    stages["deconv"] = nn.ConvTranspose2d(CAM_FILTERS[-1], CAM_FILTERS[-1], kernel_size=4, stride=2, padding=1)
    stages["relu5"] = nn.ReLU()
    stages["gap"] = Average()
    stages["fc"] = nn.Linear(CAM_FILTERS[-1], classes)
    return _initialised(stages)


def released_base(classes: int, shape: tuple[int, int], template: float | None = None) -> nn.Sequential:
    """Build the base network, or with a template the masked one, as the authors' own code has it.

    Two convolutions, a hidden layer of 1,024, and no dropout: their code names one of 0.4, and never turns it on.

    Parameters
    ----------
    classes, shape
        As in `base`.
    template
        Steepness of the mask behind the second convolution; None for no mask.

    Returns
    -------
    nn.Sequential
        Takes what `base` takes. Stages: channel, conv1, relu1, pool1, conv2, relu2, mask2 where there is one, pool2,
        flatten, fc1, relu3, fc. 67,138,954 parameters for ten classes and squares of 128.

    Raises
    ------
    RepriseError
        A segment that the poolings leave nothing of.
    """
    height, width = pooled_size(shape, 2)
    stages: OrderedDict[str, nn.Module] = OrderedDict(channel=Channel())
    _add_convolutions(stages, FILTERS[:2], (3, 3), template)
    stages["flatten"] = nn.Flatten()
    stages["fc1"] = nn.Linear(FILTERS[1] * height * width, 1024)
    stages["relu3"] = nn.ReLU()
    stages["fc"] = nn.Linear(1024, classes)
    return _initialised(stages)


def released_cam(classes: int, shape: tuple[int, int]) -> nn.Sequential:
    """Build the network of class activation maps as the authors' own code has it.

    Parameters
    ----------
    classes, shape
        As in `base`.

    Returns
    -------
    nn.Sequential
        Takes what `base` takes. Stages: channel, conv1, relu1, conv2, relu2, pool1 by two, conv3, relu3, conv4, relu4,
        pool2 of 2 x 2 at every cell, conv5, relu5, deconv, gap, fc. 163,786 parameters for ten classes; a sixth
        convolution, whose output their code does not use, is left out.

    Raises
    ------
    RepriseError
        A segment that the pooling leaves nothing of.
    """
    pooled_size(shape, 2)
    stages: OrderedDict[str, nn.Module] = OrderedDict(channel=Channel())
    before = 1
    for number, count in enumerate(RELEASED_CAM_FILTERS, start=1):
        stages[f"conv{number}"] = nn.Conv2d(before, count, 3, padding=1)
        stages[f"relu{number}"] = nn.ReLU()
        if number in (2, 4):
            stages[f"pool{number // 2}"] = nn.MaxPool2d(2, stride=2 if number == 2 else 1)
        before = count
    stages["deconv"] = nn.ConvTranspose2d(before, 128, kernel_size=2, stride=2)
    stages["gap"] = Average()
    stages["fc"] = nn.Linear(128, classes)
    return _initialised(stages)


def pooled_size(shape: tuple[int, int], times: int) -> tuple[int, int]:
    """Size of the maps behind some poolings by two, which drop an odd row or column.

    Parameters
    ----------
    shape
        Bands and frames of a segment.
    times
        Number of poolings.

    Returns
    -------
    tuple of int
        Height and width.

    Raises
    ------
    RepriseError
        Nothing is left.
    """
    height, width = (length // 2**times for length in shape)
    if not height or not width:
        raise RepriseError(
            f"segments of {shape[0]} x {shape[1]} vanish behind {times} poolings; take more bands, or longer segments"
        )
    return height, width


def _flattening(classes: int, shape: tuple[int, int], kernel: tuple[int, int], template: float | None) -> nn.Sequential:
    if any(length % 2 == 0 for length in kernel):
        raise RepriseError(f"a kernel of {kernel[0]} x {kernel[1]} has no middle; its sides must be odd")
    height, width = pooled_size(shape, len(FILTERS))
    stages: OrderedDict[str, nn.Module] = OrderedDict(channel=Channel())
    _add_convolutions(stages, FILTERS, kernel, template)
    stages["flatten"] = nn.Flatten()
    stages["fc"] = nn.Linear(FILTERS[-1] * height * width, classes)
    return _initialised(stages)


def _add_convolutions(
    stages: OrderedDict[str, nn.Module], filters: tuple[int, ...], kernel: tuple[int, int], template: float | None
) -> None:
    before = 1
    for number, count in enumerate(filters, start=1):
        stages[f"conv{number}"] = nn.Conv2d(before, count, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        stages[f"relu{number}"] = nn.ReLU()  # not in place: explanations read what goes in
        if template is not None and number > 1:
            stages[f"mask{number}"] = Mask(template)
        stages[f"pool{number}"] = nn.MaxPool2d(2)
        before = count


def _initialised(stages: OrderedDict[str, nn.Module]) -> nn.Sequential:
    """Start the weights as Keras does, which the study used: drawn uniformly by Glorot and Bengio, zero biases."""
    network = nn.Sequential(stages)
    glorot_(network)
    for module in network:
        if isinstance(module, nn.ConvTranspose2d):  # which `glorot_`, made for two other studies, passes over
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return network
