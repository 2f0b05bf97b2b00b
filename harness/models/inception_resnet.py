"""Inception-ResNet-v2 on log-mel pictures: timm's convolutional base as a chain of stages, dense layers behind it."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from harness.errors import RepriseError
from harness.models.vggish import glorot_

#: Kernels of the base's last convolution, and the height and width of what it gives for such a picture.
KERNELS, CELLS = 1536, 3
#: Lowest and highest value of a colour channel: bytes divided by 255, or what the published weights were trained on.
PIXELS = {"unit": (0.0, 1.0), "symmetric": (-1.0, 1.0)}


class Colours(nn.Module):
    """Picture of one value per cell -> picture in the 256 colours of matplotlib's magma, librosa's own choice.

    Parameters
    ----------
    low, high
        Value of a colour channel that is dark, and of one that is full.
    """

    def __init__(self, low: float, high: float) -> None:
        from matplotlib import colormaps  # like timm below, imported where it is needed: it takes its time

        super().__init__()
        self.low, self.high = low, high
        # In bytes, as a picture saved to a file would have them.
        table = torch.tensor(colormaps["magma"](range(256), bytes=True)[:, :3] / 255, dtype=torch.float32)
        self.register_buffer("table", low + (high - low) * table, persistent=False)

    def extra_repr(self) -> str:
        """Name the range."""
        return f"low={self.low}, high={self.high}"

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Colour the pictures.

        Parameters
        ----------
        pictures : Tensor (n, height, width)
            In [0, 1]; cut into 256 steps of equal width.

        Returns
        -------
        Tensor (n, 3, height, width)
            Red, green and blue.
        """
        steps = (pictures * 256).long().clamp(0, 255)
        return self.table[steps].permute(0, 3, 1, 2)


def head(classes: int, hidden: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Build the dense layers that study 004 trained, with Glorot's uniform weights and zero biases, as Keras has them.

    Parameters
    ----------
    classes
        Number of outputs.
    hidden
        Units of the layers before it, each followed by a ReLU: ``(512,)`` in set-ups 1 and 2, ``(1024, 512)`` in 3 and
        4, which are 7,081,991 and 14,685,191 parameters at seven classes.
    dropout
        Share of hidden units left out in each training step; the study names it as future work.

    Returns
    -------
    nn.Sequential
        Takes ``(n, 13824)``, gives logits ``(n, classes)``.
    """
    sizes = [KERNELS * CELLS**2, *hidden]
    layers: list[nn.Module] = []
    for before, units in pairwise(sizes):
        layers += [nn.Linear(before, units), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))
    glorot_(network)
    return network


def inception_resnet_v2(
    classes: int, *, hidden: Sequence[int] = (512,), dropout: float = 0.0, pixels: str = "unit"
) -> nn.Sequential:
    """Build Inception-ResNet-v2 (Szegedy et al. 2017) without its classifier, and dense layers behind it.

    The base has 54,306,464 parameters and makes 3 x 3 x 1536 of a picture of 150 x 150, as Keras' does. GradCAM's
    target is ``"conv2d_7b"``, the last of its convolutions with the ReLU; ``"repeat_1.19"`` has finer maps, 7 x 7.

    Random weights are timm's, that is PyTorch's. They serve as frozen ones too, once the statistics of the batch
    normalisations are known (`harness.models.frozen.estimate_statistics`): all convolutions but the last of a residual
    block are normalised, and that one's output is added at a tenth to a fifth of its size, so that a signal neither
    fades nor grows on its way. On 1,301 notes of the Philharmonia a linear classifier of such features was right for
    92 % of held-out ones, with He's weights, which make the residual blocks count for more, for 88 %.

    Parameters
    ----------
    classes
        Number of outputs.
    hidden, dropout
        See `head`.
    pixels : {"unit", "symmetric"}
        Range of a colour channel: [0, 1], as in the book that study 004 followed, or [-1, 1], as the published weights
        expect.

    Returns
    -------
    nn.Sequential
        Takes pictures ``(n, 150, 150)`` in [0, 1], gives logits ``(n, classes)``. Stages: colours, those of timm
        (conv2d_1a ... repeat_2.8, block8, conv2d_7b, named as in its published weights), flatten, head.0 ... The
        features are flattened channel by channel; Keras has the channels last, which is the same network with the
        columns of its first dense layer in another order.

    Raises
    ------
    RepriseError
        There is no such range.
    """
    from timm.models.inception_resnet_v2 import InceptionResnetV2  # a second of imports that no other network needs

    if pixels not in PIXELS:
        raise RepriseError(f"a colour channel has the range {' or '.join(PIXELS)}, not {pixels!r}")
    base = InceptionResnetV2(num_classes=0)
    stages: OrderedDict[str, nn.Module] = OrderedDict(colours=Colours(*PIXELS[pixels]))
    for name, module in base.named_children():
        if name not in ("global_pool", "head_drop", "classif"):
            stages[name] = module
    stages |= {"flatten": nn.Flatten(), "head": head(classes, hidden, dropout)}
    return nn.Sequential(stages)
