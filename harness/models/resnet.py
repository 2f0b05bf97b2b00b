"""ResNet-50 on one-channel spectrograms: torchvision's network as a chain of stages."""

from collections import OrderedDict

import torch
import torchvision
from torch import nn


class RepeatChannel(nn.Module):
    """Spectrogram -> picture of three equal channels, because the published weights expect RGB."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Repeat the channel.

        Parameters
        ----------
        pictures : Tensor (n, height, width) or (n, 1, height, width)
            Spectrograms.

        Returns
        -------
        Tensor (n, 3, height, width)
            The same picture three times.
        """
        return pictures.reshape(len(pictures), 1, *pictures.shape[-2:]).expand(-1, 3, -1, -1)


def resnet50(classes: int) -> nn.Sequential:
    """Build ResNet-50 (He et al. 2016) with a new classifier, randomly initialised as torchvision does it.

    Adaptive pooling before the classifier takes a picture of any size, so 128 x 431 mel spectrograms enter as they
    are (study 000, III.B); 23,508,032 parameters and 2,049 per class.

    Parameters
    ----------
    classes
        Number of outputs.

    Returns
    -------
    nn.Sequential
        Takes ``(n, height, width)``, gives logits ``(n, classes)``. Stages: rgb, conv1, bn1, relu, maxpool,
        layer1.0 ... layer4.2, avgpool, flatten, fc. Names below ``rgb`` are those of torchvision's weights.
    """
    network = torchvision.models.resnet50(weights=None, num_classes=classes)
    stages: OrderedDict[str, nn.Module] = OrderedDict(rgb=RepeatChannel())
    for name, module in network.named_children():
        if name == "fc":
            stages["flatten"] = nn.Flatten()
        stages[name] = module
    return nn.Sequential(stages)
