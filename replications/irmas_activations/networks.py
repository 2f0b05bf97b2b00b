"""The network of Han, Kim and Lee (2017) for the predominant instruments of a second of music.

The paper's own code was not published; that of three others who built it again was read, and agrees on the layers.
"""

from collections import OrderedDict

import torch
from torch import nn

from harness.models.vggish import glorot_

#: Kernels of the four pairs of convolutions.
CHANNELS = (32, 64, 128, 256)
#: Units of the hidden layer behind them.
HIDDEN = 1024
#: Slope of the leaky ReLUs below zero.
SLOPE = 0.33
#: Rates of dropout behind the poolings and behind the hidden layer.
DROPOUT, HIDDEN_DROPOUT = 0.25, 0.5


class GlobalMax(nn.Module):
    """Maps -> the largest value of each."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Take the maxima.

        Parameters
        ----------
        maps : Tensor (n, channels, h, w)
            Of any size.

        Returns
        -------
        Tensor (n, channels)
            Of each map its maximum, wherever it stands.
        """
        return maps.amax(dim=(2, 3))


def han(classes: int) -> nn.Sequential:
    """Build the network with random weights by Glorot and Bengio, drawn uniformly, and zero biases.

    Eight convolutions of 3 x 3 in pairs, the first three pairs followed by a max-pooling of 3 x 3, the last by the
    maximum of each map. A border of one zero is laid around the maps before a convolution that itself keeps their
    size, so that **maps grow** by two rows and two columns a convolution. Without that the last pair of a picture of
    43 frames would see a single column.

    Parameters
    ----------
    classes
        Number of outputs; 11 for IRMAS, which makes 1,446,123 parameters.

    Returns
    -------
    nn.Sequential
        Takes ``(n, bands, frames)`` of any size from (1, 1) on, (128, 43) as published, and gives logits
        ``(n, classes)``; the published outputs are their sigmoids, one by one. Stages: channel, conv1, act1, conv2,
        act2, pool1, drop1, conv3, act3, ... pool3, drop3, conv7, act7, conv8, act8, globalpool, fc1, act9, drop4, fc2.
        Nothing is overwritten in place, since explanations read every stage.
    """
    stages: OrderedDict[str, nn.Module] = OrderedDict(channel=nn.Unflatten(1, (1, -1)))
    before = 1
    for pair, count in enumerate(CHANNELS, start=1):
        for number in (2 * pair - 1, 2 * pair):
            stages[f"conv{number}"] = nn.Conv2d(before, count, kernel_size=3, padding=2)
            stages[f"act{number}"] = nn.LeakyReLU(SLOPE)
            before = count
        if pair < len(CHANNELS):
            stages[f"pool{pair}"] = nn.MaxPool2d(kernel_size=3)
            stages[f"drop{pair}"] = nn.Dropout(DROPOUT)
    stages["globalpool"] = GlobalMax()
    stages["fc1"] = nn.Linear(before, HIDDEN)
    stages["act9"] = nn.LeakyReLU(SLOPE)
    stages["drop4"] = nn.Dropout(HIDDEN_DROPOUT)
    stages["fc2"] = nn.Linear(HIDDEN, classes)
    network = nn.Sequential(stages)
    glorot_(network)
    return network
