"""The mask layer of interpretable convolutional networks (Zhang, Wu and Zhu, CVPR 2018).

Every feature map is multiplied by a template: a pyramid that is 1 where the map is strongest, falls with the distance
from there, and is negative far away; what comes out negative is cut. A filter is heard around one place only, and so
is urged to answer to one thing.

The paper measures distances in cells of a square map. On maps that are not square we follow Zhang's released code:
each axis runs from -1 to 1, so that a distance is a share of the map's own height and width. A map's strongest position
is its largest cell, as in the paper; the released code takes its centre of gravity.
"""

import torch
from torch import nn
from torch.nn import functional as F

from harness.errors import RepriseError

#: Fall per half of an axis at which the released code starts, before it learns one for every filter. A template is then
#: 0 a quarter of the map's height or width away, and -1 from half of it on, as with the paper's beta of 4, our reading.
STEEPNESS = 2.0


def peaks(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each map is strongest.

    Parameters
    ----------
    maps : Tensor (n, channels, h, w)
        In any memory format.

    Returns
    -------
    rows, columns : Tensor (n, channels), int64
        Of the largest cell; of several as large, the first from top to bottom, then from left to right. Cell (0, 0) of
        a map of zeros.
    """
    # A pooling over the whole map: with channels innermost ten times as fast as torch's arg-max.
    _, cells = F.max_pool2d(maps, kernel_size=maps.shape[2:], return_indices=True)
    cells = cells.flatten(1)
    return cells // maps.shape[3], cells % maps.shape[3]


def coordinates(length: int, like: torch.Tensor) -> torch.Tensor:
    """Positions of the cells along one axis of a map.

    Parameters
    ----------
    length
        Number of cells.
    like
        Gives dtype and device.

    Returns
    -------
    Tensor (length,)
        From -1 to 1; a single cell lies at -1.
    """
    return torch.linspace(-1, 1, length, dtype=like.dtype, device=like.device)


@torch.no_grad()
def templates(maps: torch.Tensor, steepness: float = STEEPNESS) -> torch.Tensor:
    """Draw each map's template, ``max(1 - steepness * (|dy| + |dx|), -1)`` around its strongest position.

    Parameters
    ----------
    maps : Tensor (n, channels, h, w)
        Not negative.
    steepness
        Fall per half of an axis; not negative.

    Returns
    -------
    Tensor (n, channels, h, w)
        In [-1, 1], exactly 1 at the strongest position; constants to autograd. In the memory format of `maps`.

    Raises
    ------
    RepriseError
        The steepness is negative.
    """
    if steepness < 0:
        raise RepriseError(f"a template falls with the distance; its steepness is 0 or more, not {steepness}")
    vertical, horizontal = (
        steepness * (cells - cells[positions][:, :, None]).abs()
        for cells, positions in zip((coordinates(length, maps) for length in maps.shape[2:]), peaks(maps), strict=True)
    )
    drawn = torch.empty_like(maps)  # of its own memory format, for the one pass over all cells runs along memory
    torch.sub((1 - vertical)[:, :, :, None], horizontal[:, :, None, :], out=drawn)
    return drawn.clamp_min_(-1)


class Mask(nn.Module):
    """Feature maps -> the same around their strongest positions, and zero elsewhere.

    Parameters
    ----------
    steepness
        As in `templates`.
    """

    def __init__(self, steepness: float = STEEPNESS) -> None:
        super().__init__()
        self.steepness = steepness

    def extra_repr(self) -> str:
        """Show what the layer does beside its name."""
        return f"steepness={self.steepness}"

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Multiply by the templates and cut what is negative.

        Parameters
        ----------
        maps : Tensor (n, channels, h, w)
            Not negative: what follows a ReLU.

        Returns
        -------
        Tensor (n, channels, h, w)
            ``max(maps * templates, 0)``. As no map is negative, it is the templates that are cut, as the released code
            does on its way back: that saves two passes over the maps. The gradient flows through the maps alone, as
            if the templates were constants.
        """
        return maps * templates(maps, self.steepness).clamp_min_(0)
