"""The attention model of Gururani et al. (2019), on which study 003 puts its representations.

A clip is a few frames of numbers. Three 1x1 convolutions look at each frame by itself, the input is added to what they
give, and two more say per frame and class how much the frame matters (attention) and whether the class is heard
(activity). Attention is scaled to sum to one over the frames, and its mean of the activity is the class's probability.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from replications.attention_embeddings.batched import (
    BatchNorm,
    Dropout,
    Linear,
    apart,
    generators,
    norm_relu_dropout,
    product,
    side_by_side,
)

#: Attention is kept this far from 0 and 1, so that its sum over the frames can be divided by (AttentionMIC).
EPSILON = 1e-7
#: Groups of channels that `norm="group"` normalises apart; the paper gives no number.
GROUPS = 8


class Attention(nn.Module):
    """Networks of one shape, one per seed; see `attention`."""

    def __init__(
        self, seeds: Sequence[int], frame_size: int, hidden: int, classes: int, dropout: float, norm: str
    ) -> None:
        super().__init__()
        sources = generators(seeds)
        count = len(sources)
        self.classes = classes
        self.convolutions = nn.ModuleList(
            _uniform(sources, size, hidden, bias=False) for size in (frame_size, hidden, hidden)
        )
        sizes = (frame_size, hidden, hidden, hidden) if norm == "batch" else ()
        self.norms = nn.ModuleList(BatchNorm(count, size) for size in sizes)
        if norm == "group":
            self.group_weight = nn.Parameter(torch.ones(count, hidden))
            self.group_bias = nn.Parameter(torch.zeros(count, hidden))
        self.dropouts = nn.ModuleList(Dropout(dropout) for _ in self.convolutions)
        self.residual = None if frame_size == hidden else _uniform(sources, frame_size, hidden, bias=False)
        # Both heads are one product: attention first, then activity.
        self.heads = _uniform(sources, hidden, 2 * classes, bias=True)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Probabilities of the classes.

        Parameters
        ----------
        frames : Tensor (S, n, T, frame_size)
            Representation of n clips, in [0, 1]; without gradient.

        Returns
        -------
        Tensor (S, n, classes)
            In [0, 1].
        """
        return _Attend.apply(self.heads(self._hidden(frames)), self.classes)

    def weights(self, frames: torch.Tensor) -> torch.Tensor:
        """Attention of every frame, summing to one over the frames of a clip.

        Parameters
        ----------
        frames : Tensor (S, n, T, frame_size)
            As in `forward`.

        Returns
        -------
        Tensor (S, n, T, classes)
            How much each frame counts for each class.
        """
        logits = self.heads(self._hidden(frames))[..., : self.classes]
        attention = torch.sigmoid(logits).clamp(EPSILON, 1 - EPSILON)
        return attention / attention.sum(2, keepdim=True)

    def activity(self, frames: torch.Tensor) -> torch.Tensor:
        """Whether each class is heard in each frame, whatever attention makes of it.

        Parameters
        ----------
        frames : Tensor (S, n, T, frame_size)
            As in `forward`.

        Returns
        -------
        Tensor (S, n, T, classes)
            In [0, 1].
        """
        return torch.sigmoid(self.heads(self._hidden(frames))[..., self.classes :])

    def _hidden(self, frames: torch.Tensor) -> torch.Tensor:
        if not self.norms:
            hidden = self._group_normalised(frames)
        elif self.training:
            hidden = self._batch_normalised(frames)
        else:
            hidden = self._frozen(frames)
        return hidden + (frames if self.residual is None else self.residual(frames))

    def _batch_normalised(self, frames: torch.Tensor) -> torch.Tensor:
        """Training: the scale of the first normalisation goes into the first matrix.

        Its shift is left out: the second normalisation takes anything constant away again. So the shift's gradient is
        exactly 0, and it stays at the 0 it starts with.
        """
        first, *others = self.norms
        weight = self.convolutions[0].weight * first.weight.unsqueeze(1)
        hidden = apart(first.normalise(side_by_side(frames)), frames.shape)
        hidden = norm_relu_dropout(product(hidden, weight), others[0], self.dropouts[0])
        for layer in (1, 2):
            hidden = norm_relu_dropout(self.convolutions[layer](hidden), others[layer], self.dropouts[layer])
        return hidden

    def _frozen(self, frames: torch.Tensor) -> torch.Tensor:
        """Evaluation: running statistics stand still, so every normalisation goes into a matrix and its bias."""
        first, *others = self.norms
        scale, shift = first.frozen()
        hidden = frames
        for convolution, norm in zip(self.convolutions, others, strict=True):
            gain, bias = norm.frozen()
            weight = convolution.weight
            if hidden is frames:
                bias = bias + gain * product(shift.unsqueeze(1), weight).squeeze(1)
                weight = weight * scale.unsqueeze(1)
            hidden = torch.relu_(product(hidden, weight * gain.unsqueeze(2), bias))
        return hidden

    def _group_normalised(self, frames: torch.Tensor) -> torch.Tensor:
        hidden = frames
        for number, (convolution, dropout) in enumerate(zip(self.convolutions, self.dropouts, strict=True), start=1):
            hidden = convolution(hidden)
            if number == len(self.convolutions):
                pictures = hidden.flatten(0, 1).transpose(1, 2)  # the seeds' clips one after another
                hidden = F.group_norm(pictures, GROUPS).transpose(1, 2).view(hidden.shape)
                hidden = hidden * self.group_weight[:, None, None] + self.group_bias[:, None, None]
            hidden = dropout(torch.relu(hidden))
        return hidden


class _Attend(torch.autograd.Function):
    """Logits (S, n, T, 2 * classes), attention before activity -> probabilities (S, n, classes)."""

    @staticmethod
    def forward(ctx, logits, classes):
        both = torch.sigmoid(logits)
        attention = both[..., :classes].clamp(EPSILON, 1 - EPSILON)
        activity = both[..., classes:]
        total = attention.sum(2, keepdim=True)
        attention /= total
        mean = (attention * activity).sum(2, keepdim=True)
        ctx.save_for_backward(both, attention, total, mean)
        ctx.classes = classes
        return mean.squeeze(2).clamp(0, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        both, attention, total, mean = ctx.saved_tensors
        classes = ctx.classes
        # Rounding can take the mean out of (0, 1), where a hard tanh lets nothing through. The clamp of attention
        # needs no such care: where it acts, the slope of the sigmoid is below 1e-7.
        gradient = (gradient * ((mean > 0) & (mean < 1)).squeeze(2)).unsqueeze(2)
        into = torch.empty_like(both)
        torch.mul(both[..., classes:] - mean, gradient / total, out=into[..., :classes])
        torch.mul(attention, gradient, out=into[..., classes:])
        return torch.ops.aten.sigmoid_backward(into, both), None


def _uniform(sources: Sequence[torch.Generator], inputs: int, outputs: int, *, bias: bool) -> Linear:
    """Weights from +-sqrt(6 / inputs), biases 0 (AttentionMIC)."""
    bound = (6 / inputs) ** 0.5
    return Linear(sources, inputs, outputs, bias=bias, initialise=partial(nn.init.uniform_, a=-bound, b=bound))


def attention(
    seeds: Sequence[int],
    *,
    frame_size: int = 128,
    hidden: int = 128,
    classes: int = 20,
    dropout: float = 0.6,
    norm: str = "batch",
) -> Attention:
    """Build the attention model, one network per seed.

    Study 003, 2.3, and the code of the model it takes over (AttentionMIC). The two disagree about normalisation: the
    paper has one group normalisation after three convolutions, the code a batch normalisation of the input and one
    after each convolution. With 128 numbers a frame and 20 classes the code's network has 55,336 parameters.

    Parameters
    ----------
    seeds
        One network each; starting weights depend on the number alone.
    frame_size
        Numbers per frame. Where it is not `hidden`, the input cannot be added as it is and goes through a bias-free
        matrix of its own: log-mel frames of 64 bands make 47,016 parameters and 8,192 of that matrix, and 15,400
        with `hidden` 64.
    hidden
        Channels of the convolutions.
    classes
        Number of outputs.
    dropout
        Probability of zeroing an output of each convolution's ReLU, in training.
    norm
        ``"batch"``: as the code. ``"group"``: the paper's words: one group normalisation with `GROUPS` groups of
        channels after the third convolution and no batch normalisation. It normalises every clip by itself, over all
        its frames and the channels of a group together, as ``GroupNorm(8, 128)`` does with (clips, 128, frames, 1);
        order (normalisation, ReLU, dropout, input added) and dropout are as the code has them. 54,568 parameters.

    Returns
    -------
    Attention
        Takes frames (S, n, T, frame_size), gives probabilities (S, n, classes).
        `replications.attention_embeddings.batched.reseed` sets its dropout before training.

    Raises
    ------
    ValueError
        `norm` is neither of the two.
    """
    if norm not in ("batch", "group"):
        raise ValueError(f'norm is "batch" or "group", not {norm!r}')
    return Attention(seeds, frame_size, hidden, classes, dropout, norm)
