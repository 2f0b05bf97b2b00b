"""VGGish (Hershey et al. 2017) as a chain of stages, with a classifier over the embeddings of a clip's patches."""

from collections import OrderedDict

import torch
from torch import nn
from torchvggish import torchvggish


class Windows(nn.Module):
    """Clips of patches -> one batch of one-channel patches."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Fold the patches of every clip into the batch.

        Parameters
        ----------
        clips : Tensor (n, patches, 96, 64)
            Log-mel patches: time x mel band.

        Returns
        -------
        Tensor (n * patches, 1, 96, 64)
            Patches of one clip stay together.
        """
        return clips.flatten(0, 1).unsqueeze(1)


class FlattenTimeFirst(nn.Module):
    """Feature maps -> vectors in TensorFlow's order (time, frequency, channel), which the published weights expect."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Flatten.

        Parameters
        ----------
        maps : Tensor (n, 512, 6, 4)
            Output of the last pooling: channel x time x frequency.

        Returns
        -------
        Tensor (n, 12288)
            One vector per patch.
        """
        return maps.permute(0, 2, 3, 1).flatten(1)


class Concatenate(nn.Module):
    """Embeddings of a clip's patches -> one vector per clip."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.patches = patches

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Lay a clip's embeddings end to end.

        Parameters
        ----------
        embeddings : Tensor (n * patches, d)
            Patches of one clip stand together.

        Returns
        -------
        Tensor (n, patches * d)
            One vector per clip.
        """
        return embeddings.unflatten(0, (-1, self.patches)).flatten(1)


def _out_of_place(modules: nn.Sequential) -> nn.Sequential:
    """Replace the package's in-place ReLUs: they overwrite the tensors that explanations read."""
    return nn.Sequential(*(nn.ReLU() if isinstance(m, nn.ReLU) else m for m in modules))


def _initialise(network: nn.Sequential) -> None:
    """Random weights by He et al. (2015), zero biases.

    PyTorch's own start shrinks a signal by more than half in every layer, and no batch normalisation brings it back:
    behind nine layers all clips would look the same, and frozen random layers would be of no use as a control.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def vggish(classes: int, patches: int = 10) -> nn.Sequential:
    """Build torchvggish's network, randomly initialised, with one linear classifier on a clip's embeddings.

    72,141,184 parameters of VGGish (its final ReLU kept, no post-processing, which would stop gradients) and
    ``128 * patches + 1`` per class: the only reading of study 000 that gives the parameter counts it states.

    Parameters
    ----------
    classes
        Number of outputs.
    patches
        Patches per clip; ten for a 10-s clip.

    Returns
    -------
    nn.Sequential
        Takes ``(n, patches, 96, 64)``, gives logits ``(n, classes)``. Stages: windows, features.0 ... features.15,
        flatten, embeddings.0 ... embeddings.5, concat, head. Names of features and embeddings are those of the
        published weights.
    """
    network = torchvggish._vgg(postprocess=False)
    _initialise(network)
    return nn.Sequential(
        OrderedDict(
            windows=Windows(),
            features=_out_of_place(network.features),
            flatten=FlattenTimeFirst(),
            embeddings=_out_of_place(network.embeddings),
            concat=Concatenate(patches),
            head=nn.Linear(128 * patches, classes),
        )
    )
