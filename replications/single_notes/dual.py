"""A dense layer behind a frozen part, trained in its dual form: the same weights for far less work.

Let X be the layer's inputs over the training part, one row of length d per clip, N rows, and W (d x units) its weight.
A batch B gives W the gradient ``X[B].T @ dZ``, dZ being the gradient of the layer's outputs. That is ``X.T @ G``, with
G the matrix of N rows that holds dZ in the rows of B and zero elsewhere. An optimiser whose step is a linear
combination of the gradients so far (SGD with any momentum, look-ahead and rates, without weight decay) therefore keeps
``W = W0 + X.T @ A``, where A (N x units, zero at the start) takes the steps that the same optimiser makes of the G.

So A is trained instead of W, with G as its gradient, and the layer's outputs are ``X @ W0 + (X @ X.T) @ A``, of which
all but A is computed once. At 829 notes and 13,824 features that is a sixteenth of the arithmetic and of the memory
passed through per step. The trajectories are equal but for rounding: behind random convolutions on real notes, the
outputs were 1e-6 apart after three epochs, as far as either was from the layer itself in float64, and less than 1e-4
after the fifty of the study. Optimisers that scale each entry by its own history (RMSProp, Adam) or shrink weights
leave the span of the inputs, and have no dual.
"""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

#: Inputs converted to float64 at a time: bounds the memory.
CHUNK = 256


class _Products(torch.autograd.Function):
    """Rows of the Gram matrix times the coefficients; gives the coefficients the gradient of the outputs themselves."""

    @staticmethod
    def forward(ctx, gram: torch.Tensor, coefficients: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(columns)
        ctx.count = len(coefficients)
        return gram @ coefficients

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[None, torch.Tensor, None]:
        (columns,) = ctx.saved_tensors
        scattered = gradient.new_zeros(ctx.count, gradient.shape[1])
        return None, scattered.index_add_(0, columns, gradient), None


class Dual(nn.Module):
    """A linear layer for a fixed set of inputs, trained by coefficients of its training inputs.

    Its parameters are ``coefficients`` (N, units) and ``bias``, which is the layer's own. What is computed once stays
    out of checkpoints.

    Parameters
    ----------
    linear
        The layer to train, at its start; its weight is left alone.
    inputs : ndarray (n, d)
        What the layer gets of every clip, of whatever part; may be memory-mapped.
    train : ndarray (N,)
        Rows of the clips it is trained on, each once.
    """

    def __init__(self, linear: nn.Linear, inputs: np.ndarray, train: np.ndarray) -> None:
        super().__init__()
        self.bias = linear.bias
        self.coefficients = nn.Parameter(torch.zeros(len(train), linear.out_features))
        # In a tuple, since a module would count the weight among its own parameters.
        self._origin = (linear, inputs, np.asarray(train))
        weight = linear.weight.detach().cpu().double()
        support = torch.from_numpy(np.asarray(inputs[train], dtype=np.float64))
        gram = torch.empty(len(inputs), len(train))
        start = torch.empty(len(inputs), linear.out_features)
        for first in range(0, len(inputs), CHUNK):
            rows = slice(first, first + CHUNK)
            block = torch.from_numpy(np.asarray(inputs[rows], dtype=np.float64))
            gram[rows], start[rows] = block @ support.T, block @ weight.T
        columns = torch.full((len(inputs),), -1)
        columns[torch.from_numpy(np.asarray(train))] = torch.arange(len(train))
        for name, buffer in (("gram", gram), ("start", start), ("columns", columns)):
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Outputs of the layer for some clips.

        Parameters
        ----------
        rows : Tensor (n,)
            Row numbers among the inputs, whole numbers of any type; with gradients, of training clips only.

        Returns
        -------
        Tensor (n, units)
            As of the linear layer.

        Raises
        ------
        ValueError
            A gradient is wanted, and a row is none of the training part.
        """
        rows = rows.long()
        columns = self.columns[rows]
        if torch.is_grad_enabled() and (columns < 0).any():
            raise ValueError("a layer in the span of its training inputs learns from these alone, not from other clips")
        with torch.autocast(rows.device.type, enabled=False):  # the sums are long and of large terms
            products = _Products.apply(self.gram[rows], self.coefficients, columns)
        return self.start[rows] + products + self.bias

    @torch.no_grad()
    def materialise(self) -> torch.Tensor:
        """Weight of the linear layer after this training.

        Returns
        -------
        Tensor (units, d)
            In float32, where the linear layer is.
        """
        linear, inputs, train = self._origin
        weight = linear.weight.detach().cpu().double()
        for first in range(0, len(train), CHUNK):
            rows = slice(first, first + CHUNK)
            block = torch.from_numpy(np.asarray(inputs[train[rows]], dtype=np.float64))
            weight += self.coefficients[rows].cpu().double().T @ block
        return weight.to(linear.weight)


def in_dual(head: nn.Sequential, inputs: np.ndarray, train: np.ndarray) -> nn.Sequential:
    """Put a head's first layer into its dual form; all later layers stay the head's own.

    It is trained on row numbers instead of inputs (``np.arange(n)`` as the loop's `Examples.inputs`). Afterwards
    `materialise` gives the head what was learnt. It is built on the CPU and moved like any module.

    Parameters
    ----------
    head
        Layers behind a frozen part, at their start, the first of them linear.
    inputs : ndarray (n, d)
        What the head gets of every clip.
    train : ndarray (N,)
        Rows of the clips it is trained on.

    Returns
    -------
    nn.Sequential
        Takes row numbers ``(n,)``, gives what the head gives for these clips.

    Raises
    ------
    ValueError
        The first layer is not linear.
    """
    (name, first), *rest = head.named_children()
    if not isinstance(first, nn.Linear):
        raise ValueError(f"only a linear layer can be trained in the span of its inputs, not {type(first).__name__}")
    return nn.Sequential(OrderedDict([(name, Dual(first, inputs, train)), *rest]))


@torch.no_grad()
def materialise(dual: nn.Sequential, head: nn.Sequential) -> None:
    """Give a head the weight that its dual form has learnt; do it once, when training is over.

    Parameters
    ----------
    dual
        What `in_dual` made of it, trained.
    head
        The head; the weight of its first layer is set, all others it shares already.
    """
    head[0].weight.copy_(dual[0].materialise())
