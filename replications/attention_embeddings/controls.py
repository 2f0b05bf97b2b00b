"""What the attention model is compared with: no attention (networks), and no network (random forests).

The networks are those of the attention model's authors (AttentionMIC), the forests the baseline that the authors of
OpenMIC-2018 published with it.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn
from torch.nn import functional as F

from replications.attention_embeddings.batched import Dropout, Linear, generators


class FullyConnected(nn.Module):
    """Networks of one shape, one per seed; see `fully_connected`."""

    def __init__(self, seeds: Sequence[int], sizes: Sequence[int], dropout: float) -> None:
        super().__init__()
        sources = generators(seeds)
        self.layers = nn.ModuleList(_xavier(sources, *pair) for pair in itertools.pairwise(sizes))
        self.dropouts = nn.ModuleList(Dropout(dropout) for _ in sizes[2:])

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Probabilities (S, n, classes) from the frames (S, n, T, frame_size) of n clips, laid end to end."""
        *layers, last = self.layers
        hidden = frames.flatten(2)
        for layer, dropout in zip(layers, self.dropouts, strict=True):
            hidden = F.leaky_relu(dropout(layer(hidden)))
        return torch.sigmoid(last(hidden))


class FullyConnectedPerFrame(nn.Module):
    """Networks of one shape, one per seed; see `fully_connected_per_frame`."""

    def __init__(self, seeds: Sequence[int], frame_size: int, classes: int, dropout: float) -> None:
        super().__init__()
        sources = generators(seeds)
        self.layers = nn.ModuleList(_xavier(sources, frame_size, frame_size) for _ in range(3))
        self.dropouts = nn.ModuleList(Dropout(dropout) for _ in self.layers)
        self.head = _xavier(sources, frame_size, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Probabilities (S, n, classes) from the frames (S, n, T, frame_size) of n clips."""
        hidden = frames
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            hidden = F.leaky_relu(dropout(layer(hidden)))
        return torch.sigmoid(self.head((hidden + frames).mean(2)))


class Recurrent(nn.Module):
    """Networks of one shape, one per seed; see `recurrent`."""

    def __init__(self, seeds: Sequence[int], frame_size: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        sources = generators(seeds)
        bound = hidden**-0.5
        self.gates = nn.ModuleList()
        for size in (frame_size, 2 * hidden, 2 * hidden):
            # Forwards and backwards, each: input and hidden weights, input and hidden biases, of three gates.
            shapes = [(3 * hidden, size), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,)] * 2
            self.gates.append(nn.ParameterList(_uniform(sources, shape, bound) for shape in shapes))
        self.dropouts = nn.ModuleList(Dropout(dropout) for _ in self.gates[1:])
        bound = (2 * hidden) ** -0.5
        self.head_weight = _uniform(sources, (classes, 2 * hidden), bound)
        self.head_bias = _uniform(sources, (classes,), bound)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Probabilities (S, n, classes) from the frames (S, n, T, frame_size) of n clips."""
        hidden = frames
        for layer, weights in enumerate(self.gates):
            if layer:
                hidden = self.dropouts[layer - 1](hidden)
            hidden = torch.stack([_gru(inputs, each) for inputs, *each in zip(hidden, *weights, strict=True)])
        logits = torch.baddbmm(self.head_bias.unsqueeze(1), hidden[:, :, -1], self.head_weight.transpose(1, 2))
        return torch.sigmoid(logits)


def _gru(inputs: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """One layer over (n, T, k), forwards and backwards: (n, T, 2 * hidden)."""
    start = inputs.new_zeros(2, len(inputs), weights[1].shape[1])
    # What nn.GRU calls: weights as an argument, so that they may be slices of stacked ones.
    return torch.gru(inputs, start, weights, True, 1, 0.0, False, True, True)[0]


def _uniform(sources: Sequence[torch.Generator], shape: tuple[int, ...], bound: float) -> nn.Parameter:
    return nn.Parameter(torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=s) for s in sources]))


def _xavier(sources: Sequence[torch.Generator], inputs: int, outputs: int) -> Linear:
    return Linear(sources, inputs, outputs, initialise=nn.init.xavier_normal_)


def fully_connected(
    seeds: Sequence[int], *, frames: int = 10, frame_size: int = 128, classes: int = 20, dropout: float = 0.5
) -> FullyConnected:
    """Build the network over all frames at once: 512, 512 and 128 units with leaky ReLU (AttentionMIC, "FC").

    Parameters
    ----------
    seeds
        One network each; starting weights (Xavier normal, biases 0) depend on the number alone.
    frames, frame_size
        Shape of a clip's representation.
    classes
        Number of outputs.
    dropout
        Probability of zeroing a hidden unit, in training.

    Returns
    -------
    FullyConnected
        Takes frames (S, n, T, frame_size), gives probabilities (S, n, classes). 986,772 parameters a seed.
    """
    return FullyConnected(seeds, (frames * frame_size, 512, 512, 128, classes), dropout)


def fully_connected_per_frame(
    seeds: Sequence[int], *, frame_size: int = 128, classes: int = 20, dropout: float = 0.5
) -> FullyConnectedPerFrame:
    """Build the network that sees each frame by itself: three layers, the frame added, a mean over time, one layer.

    It is the attention model without attention (AttentionMIC, "FC_T").

    Parameters
    ----------
    seeds
        One network each; starting weights (Xavier normal, biases 0) depend on the number alone.
    frame_size
        Numbers per frame and units per layer.
    classes
        Number of outputs.
    dropout
        Probability of zeroing a hidden unit, in training.

    Returns
    -------
    FullyConnectedPerFrame
        Takes frames (S, n, T, frame_size), gives probabilities (S, n, classes). 52,116 parameters a seed.
    """
    return FullyConnectedPerFrame(seeds, frame_size, classes, dropout)


def recurrent(
    seeds: Sequence[int], *, frame_size: int = 128, hidden: int = 64, classes: int = 20, dropout: float = 0.5
) -> Recurrent:
    """Build the network that reads the frames in order: three bidirectional GRU layers, one layer on the last step.

    "BaselineRNN_2" of AttentionMIC, which leaves its weights as PyTorch starts them, unlike its other networks.

    Parameters
    ----------
    seeds
        One network each; starting weights depend on the number alone.
    frame_size
        Numbers per frame.
    hidden
        Units per layer and direction.
    classes
        Number of outputs.
    dropout
        Probability of zeroing a unit between two GRU layers, in training.

    Returns
    -------
    Recurrent
        Takes frames (S, n, T, frame_size), gives probabilities (S, n, classes). 226,068 parameters a seed.
    """
    return Recurrent(seeds, frame_size, hidden, classes, dropout)


def random_forest(
    codes: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    train_rows: np.ndarray,
    predict_rows: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Predict by the baseline published with OpenMIC-2018: a forest per class on a clip's mean codes.

    A hundred trees of depth at most 8, learnt on the clips whose label of the class was observed.

    Parameters
    ----------
    codes : ndarray (n, T, D)
        The released 8-bit embeddings, 0 to 255, of all clips.
    labels : ndarray (n, c)
        0 or 1.
    mask : ndarray (n, c)
        Where a label was observed.
    train_rows
        Clips to learn from.
    predict_rows
        Clips to predict, in the order wanted.
    seed
        Of every class's forest; 0 is the published one.

    Returns
    -------
    ndarray (len(predict_rows), c)
        Probabilities, in float32, at least 0.5 exactly where the forest's own ``predict`` says "present": it decides a
        tie for absence, so a tie lies just below. A class of which only one label was observed always gets that one, a
        class never observed 0.
    """
    means = codes.mean(axis=1)
    probabilities = np.zeros((len(predict_rows), labels.shape[1]), np.float32)
    below = np.nextafter(np.float32(0.5), np.float32(0))
    for c in range(labels.shape[1]):
        rows = train_rows[mask[train_rows, c].astype(bool)]
        known = labels[rows, c].astype(bool)
        if known.all() or not known.any():
            probabilities[:, c] = bool(len(known)) and known.all()
            continue
        forest = RandomForestClassifier(max_depth=8, n_estimators=100, random_state=seed).fit(means[rows], known)
        absent, present = forest.predict_proba(means[predict_rows]).T
        rounded = present.astype(np.float32)
        probabilities[:, c] = np.where(present > absent, np.maximum(rounded, 0.5), np.minimum(rounded, below))
    return probabilities
