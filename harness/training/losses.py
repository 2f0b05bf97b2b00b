"""Losses, as sums with their weights, so that a mean over batches of unequal size is the mean over entries."""

import math

import torch
from torch.nn import functional as F

#: Probabilities are kept this far from 0 and 1 before their logarithm, as Keras keeps them.
KERAS_EPSILON = 1e-7


def masked_bce(
    logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, *, missing: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Binary cross-entropy under one of the two readings of a missing label.

    Parameters
    ----------
    logits : Tensor (n, c)
        The network's outputs.
    labels : Tensor (n, c)
        1 where a class is known to be present, else 0.
    mask : Tensor (n, c)
        1 where a label was observed.
    missing : {"negative", "masked"}
        ``"negative"``: an unobserved label counts as absent, and the loss is PyTorch's ``BCEWithLogitsLoss`` over all
        entries (study 000, IV.E.3). ``"masked"``: only observed entries count; the gradient at the others is exactly 0.

    Returns
    -------
    total : Tensor ()
        Sum of the losses of the entries that count.
    count : Tensor ()
        Number of the entries that count; ``total / count`` is the mean to minimise.

    Raises
    ------
    ValueError
        `missing` is neither of the two.
    """
    if missing == "negative":
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum"), labels.new_tensor(labels.numel())
    if missing == "masked":
        return F.binary_cross_entropy_with_logits(logits, labels, weight=mask, reduction="sum"), mask.sum()
    raise ValueError(f'missing labels are read as "negative" or "masked", not {missing!r}')


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the softmax, for clips of one class each.

    Parameters
    ----------
    logits : Tensor (n, c)
        The network's outputs.
    labels : Tensor (n, c)
        A single 1 per row, else 0.
    mask : Tensor (n, c)
        1 where a label was observed; a clip with an unobserved one does not count.

    Returns
    -------
    total : Tensor ()
        Sum of the losses of the clips that count, in nats.
    count : Tensor ()
        Number of the clips that count; ``total / count`` is the mean to minimise.
    """
    counts = mask.amin(dim=1)
    return (F.cross_entropy(logits, labels, reduction="none") * counts).sum(), counts.sum()


def normalised_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of sigmoids divided by their sum, for clips of one class each.

    What Keras makes of ``categorical_crossentropy`` behind a layer of sigmoids, as public re-implementations of the
    network of Han, Kim and Lee (2017) have it, which study 001 looks into: the outputs are divided by their sum over
    the classes and kept within 1e-7 of 0 and 1, and beyond that the gradient is 0. Only ratios of sigmoids are
    learnt: the loss is the same for small sigmoids as for large ones.

    Parameters
    ----------
    logits : Tensor (n, c)
        The network's outputs before the sigmoid.
    labels : Tensor (n, c)
        A single 1 per row, else 0.
    mask : Tensor (n, c)
        1 where a label was observed; a clip with an unobserved one does not count.

    Returns
    -------
    total : Tensor ()
        Sum of the losses of the clips that count, in nats.
    count : Tensor ()
        Number of the clips that count; ``total / count`` is the mean to minimise.
    """
    counts = mask.amin(dim=1)
    # In logarithms, so that very small sigmoids have a sum, too: their softmax is the quotient by the sum.
    shares = F.log_softmax(F.logsigmoid(logits), dim=1)
    shares = shares.clamp(math.log(KERAS_EPSILON), math.log1p(-KERAS_EPSILON))
    return (-(labels * shares).sum(dim=1) * counts).sum(), counts.sum()
