"""Optimisers and schedules that PyTorch does not have, or not under the name a paper gives them."""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class KerasSGD(torch.optim.Optimizer):
    """Stochastic gradient descent as Keras 2.2.4 does it, rule for rule.

    Keras keeps the learning rate inside the velocity, PyTorch multiplies by it afterwards, so that the two part as soon
    as the rate changes. With the number t of updates made before, counted from 0, and the gradient g::

        rate = lr / (1 + decay * t)
        v = momentum * v - rate * g
        p = p + v                                 # or, with Nesterov's look ahead:
        p = p + momentum * v - rate * g

    Parameters
    ----------
    params
        Parameters, or groups of them as any PyTorch optimiser takes them.
    lr
        Learning rate of the first update. A scheduler may change it; the decay comes on top.
    decay
        By how much the divisor of the rate grows with every update, that is with every batch.
    momentum
        Share of the velocity that is kept.
    nesterov
        Whether to look ahead.

    Raises
    ------
    ValueError
        A number is negative.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        decay: float = 0.0,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        for name, value in (("lr", lr), ("decay", decay), ("momentum", momentum)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, but is {value}")
        defaults = {"lr": lr, "decay": decay, "momentum": momentum, "nesterov": nesterov, "updates": 0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the parameters that have a gradient.

        Parameters
        ----------
        closure
            Computes the loss and its gradients once more; not needed here.

        Returns
        -------
        float or None
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate, momentum = group["lr"] / (1 + group["decay"] * group["updates"]), group["momentum"]
            group["updates"] += 1
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(parameter)
                velocity = state["velocity"].mul_(momentum).add_(gradient, alpha=-rate)
                if group["nesterov"]:
                    parameter.add_(velocity, alpha=momentum).add_(gradient, alpha=-rate)
                else:
                    parameter.add_(velocity)
        return loss


def szegedy(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.StepLR:
    """Schedule of Szegedy et al. (2017, section 4): the learning rate times 0.94 every two epochs.

    Parameters
    ----------
    optimizer
        Whose rate is changed.

    Returns
    -------
    StepLR
        To be stepped once per epoch.
    """
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.94)
