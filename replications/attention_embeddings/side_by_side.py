"""The fit loop of small networks that train side by side, one per seed (`replications.attention_embeddings.batched`).

An epoch takes a fraction of a second, so a checkpoint is written every few seconds instead of after every epoch; what
a kill undoes is done again, the same to the last bit, since all that is random in an epoch depends on the seed and the
epoch alone. Every seed has its own folder with its own files. Seeds that train together write one after another, so a
kill may leave them one checkpoint apart: each keeps the one before, too, and all go on from the newest epoch that all
have. Where they have none in common (seeds that were trained apart before), all start over, which costs time alone.
"""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from torch import nn

from harness.errors import RepriseError
from harness.metrics import weighted
from harness.storage import atomic_path, write_text
from harness.training.loop import Fit, read_checkpoint, write_checkpoint
from replications.attention_embeddings.batched import load_state, reseed, state_of

#: A checkpoint is written when the last one is this old, and at the end.
CHECKPOINT_SECONDS = 5.0
#: Files of a seed's folder: the state now and, of seeds that train together, the one written before.
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint-before.pt"
#: The score that selects the weights to keep.
SCORE = "f1_macro2_masked"
#: Clips per pass where nothing is learnt: so many frames stay in a core's cache.
BATCH = 128


@dataclass
class _Run:
    """What one seed has behind it."""

    folder: Path
    name: str
    history: list[dict[str, Any]]
    best: dict[str, Any]  # epoch and score
    weights: dict[str, torch.Tensor]  # of that epoch


class _MaskedBCE(torch.autograd.Function):
    """Sum over what was observed of -log of the probability given to the label, per seed; as ``BCELoss``, log >= -100.

    PyTorch's own refuses NaN with an error of its own, on a GPU with one that nothing recovers from.
    """

    @staticmethod
    def forward(ctx, probabilities, labels, mask):
        ctx.save_for_backward(probabilities, labels, mask)
        negative, positive = torch.log1p(-probabilities).clamp_(min=-100), torch.log(probabilities).clamp_(min=-100)
        return -(negative.lerp_(positive, labels) * mask).sum((1, 2))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        probabilities, labels, mask = ctx.saved_tensors
        slope = (probabilities - labels) / (probabilities * (1 - probabilities)).clamp_(min=1e-12)
        return slope * mask * gradient[:, None, None], None, None


def masked_bce(
    probabilities: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Binary cross-entropy of probabilities over the observed entries of each seed's batch.

    Parameters
    ----------
    probabilities : Tensor (S, n, c)
        What a network gives.
    labels : Tensor (S, n, c)
        0 or 1, in float32.
    mask : Tensor (S, n, c)
        1 where a label was observed, in float32. The gradient at the others is exactly 0.

    Returns
    -------
    total : Tensor (S,)
        Sum of the losses of the observed entries.
    count : Tensor (S,)
        Number of the observed entries; ``total / count`` is the mean to minimise.
    """
    return _MaskedBCE.apply(probabilities, labels, mask), mask.sum((1, 2))


def fit(
    network: nn.Module,
    inputs: np.ndarray | torch.Tensor,
    labels: np.ndarray,
    mask: np.ndarray,
    rows: Mapping[str, np.ndarray],
    *,
    seeds: Sequence[int],
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int,
    folders: Sequence[Path],
    names: Sequence[str],
    threshold: float = 0.5,
    on_epoch: Callable[[int, dict[str, Any]], None] = lambda index, entry: None,
) -> list[Fit]:
    """Train a network's seeds side by side, then put back the weights of each one's best validation `SCORE`.

    The loss is the mean binary cross-entropy over the observed entries of a batch. Clips of which nothing was observed
    teach nothing and are left out of the training part, so there is no batch without a loss. Among epochs of equal
    score the first is the best.

    Parameters
    ----------
    network
        On its device, its tensors leading with the seed axis; changed in place. Takes (S, n, T, D), gives
        probabilities (S, n, c).
    inputs : ndarray or Tensor (n, T, D)
        Representation of all clips. Moved to the network's device as a whole, in float32.
    labels : ndarray (n, c)
        0 or 1.
    mask : ndarray (n, c)
        Where a label was observed.
    rows
        Row numbers of the parts ``"train"`` and ``"valid"``.
    seeds
        Of the shuffling and the dropout; as many as the network has.
    optimizer
        Over the network's parameters; ``torch.optim.Adam(..., fused=True)`` is the fastest.
    epochs
        How many to run.
    batch_size
        Clips per step and seed; the last, smaller batch of an epoch is used, not dropped.
    folders
        Per seed, where ``history.jsonl``, ``best.safetensors`` and ``checkpoint.pt`` go; checkpoints found there are
        continued.
    names
        Per seed, what to call it in messages.
    threshold
        A class is predicted where its probability reaches this.
    on_epoch
        Called with a seed's place and its entry of the history, after each epoch. The seconds are those of all seeds
        together.

    Returns
    -------
    list of Fit
        Best epoch and history, per seed.

    Raises
    ------
    RepriseError
        Nothing was observed in a part, a loss is not finite, a checkpoint found is damaged or of another network, or a
        file cannot be written.
    """
    device = next(network.parameters()).device
    inputs, targets = _on_device(inputs, device), _targets(labels, mask, device)
    learn = rows["train"][mask[rows["train"]].any(axis=1)]
    valid = torch.as_tensor(rows["valid"], device=device)
    truth, observed = labels[rows["valid"]].astype(bool), mask[rows["valid"]].astype(bool)
    for part, seen in (("training", len(learn)), ("validation", observed.any())):
        if not seen:
            raise RepriseError(f"{names[0]}: no label was observed in the {part} part; use a larger or denser corpus")

    runs = _resume(network, optimizer, folders, names)
    written = time.monotonic()
    for epoch in range(len(runs[0].history) + 1, epochs + 1):
        started = time.perf_counter()
        rates = [group["lr"] for group in optimizer.param_groups]
        order = np.stack([np.random.default_rng((seed, epoch)).permutation(learn) for seed in seeds])
        reseed(network, [(seed, epoch) for seed in seeds])
        train_losses = _train_epoch(
            network, inputs, targets, torch.as_tensor(order, device=device), optimizer, batch_size
        )
        _check(train_losses, runs, "loss", epoch)
        probabilities = _probabilities(network, inputs, valid, BATCH)
        total, count = masked_bce(probabilities, *_gather(targets, valid[None]).unbind(2))
        valid_losses = (total / count).tolist()
        _check(valid_losses, runs, "validation loss", epoch)
        scores = [_score(truth, each, observed, threshold) for each in probabilities.cpu().numpy()]
        seconds = round(time.perf_counter() - started, 3)
        for index, run in enumerate(runs):
            entry = {"epoch": epoch, "train_loss": train_losses[index], "valid_loss": valid_losses[index]}
            run.history.append(entry | {SCORE: scores[index], "learning_rate": rates, "seconds": seconds})
            if scores[index] > run.best["score"]:
                run.best = {"epoch": epoch, "score": scores[index]}
                run.weights = state_of(network, index)
        if epoch == epochs or time.monotonic() - written >= CHECKPOINT_SECONDS:
            for index, run in enumerate(runs):
                _write(run, network, optimizer, index, keep_previous=len(runs) > 1)
            written = time.monotonic()
        for index, run in enumerate(runs):
            on_epoch(index, run.history[-1])

    for index, run in enumerate(runs):
        load_state(network, index, run.weights)
    return [Fit(run.best["epoch"], run.history) for run in runs]


def predict(
    network: nn.Module, inputs: np.ndarray | torch.Tensor, rows: np.ndarray, *, batch_size: int = BATCH
) -> np.ndarray:
    """Class probabilities of some rows by every seed's network, in evaluation mode.

    Parameters
    ----------
    network
        On its device.
    inputs : ndarray or Tensor (n, T, D)
        Representation of all clips; only the rows wanted are moved to the device, batch by batch.
    rows
        Which rows, in the order wanted.
    batch_size
        Clips per forward pass.

    Returns
    -------
    ndarray (S, len(rows), c)
        In float32.
    """
    inputs = inputs if isinstance(inputs, torch.Tensor) else _as_tensor(inputs)
    return _probabilities(network, inputs, torch.as_tensor(rows, device=inputs.device), batch_size).cpu().numpy()


@torch.no_grad()
def _probabilities(network: nn.Module, inputs: torch.Tensor, rows: torch.Tensor, batch_size: int) -> torch.Tensor:
    parameter = next(network.parameters())
    network.eval()
    parts = []
    for batch in rows.split(batch_size):
        frames = inputs.index_select(0, batch).to(parameter.device, torch.float32)
        parts.append(network(frames.expand(len(parameter), *frames.shape)))
    return torch.cat(parts, dim=1)


def _train_epoch(
    network: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    order: torch.Tensor,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
) -> list[float]:
    """One pass over each seed's order of the training part; the mean losses over all entries observed."""
    network.train()
    totals = torch.zeros(len(order), dtype=torch.float64, device=order.device)
    counts = torch.zeros_like(totals)
    for batch in order.split(batch_size, dim=1):
        labels, mask = _gather(targets, batch).unbind(2)
        total, count = masked_bce(network(_gather(inputs, batch)), labels, mask)
        optimizer.zero_grad(set_to_none=True)
        (total / count).sum().backward()
        optimizer.step()
        totals += total.detach()
        counts += count
    return (totals / counts).tolist()


def _gather(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(n, ...) at rows (S, b) -> (S, b, ...)."""
    return values.index_select(0, rows.flatten()).unflatten(0, rows.shape)


def _as_tensor(inputs: np.ndarray) -> torch.Tensor:
    """Without a copy where there need not be one."""
    with warnings.catch_warnings():
        # Nothing is ever written to it, so it may be a read-only map of a file.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(inputs, dtype=np.float32))


def _on_device(inputs: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    return (inputs if isinstance(inputs, torch.Tensor) else _as_tensor(inputs)).to(device, torch.float32)


def _targets(labels: np.ndarray, mask: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, 2, c): labels and mask, so that one gather fetches both."""
    mask = mask.astype(np.float32)
    return torch.from_numpy(np.stack([labels * mask, mask], axis=1)).to(device)


def _check(losses: Sequence[float], runs: Sequence[_Run], kind: str, epoch: int) -> None:
    for run, value in zip(runs, losses, strict=True):
        if not np.isfinite(value):
            raise RepriseError(
                f"{run.name}: the {kind} is {value} in epoch {epoch}; "
                "lower the learning rate, or look for broken features with `reprise data verify`"
            )


def _score(labels: np.ndarray, probabilities: np.ndarray, mask: np.ndarray, threshold: float) -> float:
    """As `multilabel.evaluate` has it, without the scores that rank: a hundred times faster."""
    once = np.ones((1, len(labels)))
    values, _ = weighted(
        "multilabel",
        labels & mask,
        probabilities.astype(np.float64),
        mask,
        once,
        metrics=(SCORE,),
        threshold=threshold,
    )
    return float(values[SCORE][0])


def _write(run: _Run, network: nn.Module, optimizer: torch.optim.Optimizer, index: int, *, keep_previous: bool) -> None:
    """Write a seed's files. The checkpoint comes last: whatever a kill leaves undone before it is done again."""
    with atomic_path(run.folder / "best.safetensors") as temporary:
        temporary.write_bytes(save_safetensors(run.weights))
    lines = (json.dumps(entry, allow_nan=False) + "\n" for entry in run.history)
    write_text(run.folder / "history.jsonl", "".join(lines))
    state = {
        "network": state_of(network, index),
        "optimizer": _optimizer_state(optimizer, index),
        "history": run.history,
        "best": run.best,
        "weights": run.weights,
    }
    path = run.folder / CHECKPOINT
    if keep_previous and path.exists():
        path.replace(run.folder / PREVIOUS)
    write_checkpoint(path, state)


def _optimizer_state(optimizer: torch.optim.Optimizer, index: int) -> dict[str, Any]:
    """One seed's part of an optimiser's state; only counters of steps have no seed axis."""
    state = optimizer.state_dict()
    moments = {
        number: {name: value[index].cpu().clone() if value.ndim else value.cpu() for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {"state": moments, "param_groups": state["param_groups"]}


def _resume(
    network: nn.Module, optimizer: torch.optim.Optimizer, folders: Sequence[Path], names: Sequence[str]
) -> list[_Run]:
    """Go back to the newest epoch of which every seed has a checkpoint, or to the start."""
    found = []
    for folder in folders:
        paths = [folder / name for name in ((CHECKPOINT, PREVIOUS) if len(folders) > 1 else (CHECKPOINT,))]
        states = [read_checkpoint(path) for path in paths if path.exists()]
        found.append({len(state["history"]): state for state in states})
    common = set.intersection(*(set(states) for states in found))
    if not common:
        return [
            _Run(folder, name, [], {"epoch": 0, "score": -1.0}, state_of(network, index))
            for index, (folder, name) in enumerate(zip(folders, names, strict=True))
        ]
    states = [each[max(common)] for each in found]
    for index, state in enumerate(states):
        load_state(network, index, state["network"])
    numbers = states[0]["optimizer"]["state"]
    each = [state["optimizer"]["state"] for state in states]
    moments = {
        number: {
            name: torch.stack([moments[number][name] for moments in each]) if value.ndim else value
            for name, value in values.items()
        }
        for number, values in numbers.items()
    }
    optimizer.load_state_dict({"state": moments, "param_groups": states[0]["optimizer"]["param_groups"]})
    return [
        _Run(folder, name, state["history"], state["best"], state["weights"])
        for folder, name, state in zip(folders, names, states, strict=True)
    ]
