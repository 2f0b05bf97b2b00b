"""VGGish (Hershey et al. 2017) as a chain of stages: alone, and with a classifier over a clip's embeddings."""

from collections import OrderedDict

import torch
from torch import nn

from harness.errors import RepriseError

#: Numbers of 3 x 3 kernels of the convolutions, and whether a pooling by 2 x 2 follows.
CONVOLUTIONS = ((64, True), (128, True), (256, False), (256, True), (512, False), (512, True))
#: Units of the two hidden layers behind them.
HIDDEN = 4096
#: Length of an embedding.
EMBEDDING = 128


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
        maps : Tensor (n, channels, 6, 4)
            Output of the last pooling: channel x time x frequency; 512 channels at the published width.

        Returns
        -------
        Tensor (n, 24 * channels)
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


def encoder(width: float = 1.0) -> nn.Sequential:
    """Build VGGish without anything behind its embeddings, with PyTorch's own random weights.

    Four of its six convolutions are followed by a pooling, of stride 2: six poolings, as study 003 (2.2) words it,
    would leave one cell of a patch, and no weights were ever published for such a network. The final ReLU is kept, and
    there is no post-processing. ReLUs are not in place, since they would overwrite what explanations read.

    Parameters
    ----------
    width
        Factor on the number of all kernels and hidden units, rounded; the embeddings keep their length. 1 is the
        published network of 72,141,184 parameters.

    Returns
    -------
    nn.Sequential
        Takes patches ``(n, 1, 96, 64)``, time by mel band, and gives embeddings ``(n, 128)``, none of them negative.
        Stages: features.0 ... features.15, flatten, embeddings.0 ... embeddings.5, named as the published weights.

    Raises
    ------
    RepriseError
        `width` leaves no kernel in some layer.
    """
    kernels = [round(width * count) for count, _ in CONVOLUTIONS]
    if min(kernels) < 1:
        raise RepriseError(f"VGGish of width {width} has layers without kernels; give a width of at least 1/64")
    features: list[nn.Module] = []
    for before, count, (_, pooled) in zip([1, *kernels], kernels, CONVOLUTIONS, strict=False):
        features += [nn.Conv2d(before, count, kernel_size=3, padding=1), nn.ReLU()]
        if pooled:
            features.append(nn.MaxPool2d(kernel_size=2, stride=2))
    hidden = round(width * HIDDEN)
    embeddings = [
        *(nn.Linear(kernels[-1] * 6 * 4, hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden), nn.ReLU()),
        *(nn.Linear(hidden, EMBEDDING), nn.ReLU()),
    ]
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*features), flatten=FlattenTimeFirst(), embeddings=nn.Sequential(*embeddings)
        )
    )


def glorot_(network: nn.Module) -> None:
    """Random weights by Glorot and Bengio (2010), drawn uniformly, and zero biases (study 003, 4.1).

    Parameters
    ----------
    network
        Changed in place, from torch's global generator: its linear layers and its convolutions, transposed or not.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose1d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _he_(network: nn.Sequential) -> None:
    """Random weights by He et al. (2015), zero biases.

    PyTorch's own start shrinks a signal by more than half in every layer, and no batch normalisation brings it back:
    behind nine layers all clips would look the same, and frozen random layers would be of no use as a control.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)


def vggish(classes: int, patches: int = 10) -> nn.Sequential:
    """Build VGGish, randomly initialised, with one linear classifier on a clip's embeddings.

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
    network = encoder()
    _he_(network)
    return nn.Sequential(
        OrderedDict(
            windows=Windows(),
            **dict(network.named_children()),
            concat=Concatenate(patches),
            head=nn.Linear(EMBEDDING * patches, classes),
        )
    )
