"""The fit loop: epochs over shuffled batches, selection on the validation part, a checkpoint after every epoch.

A run that is killed at any moment and started again ends with the very same weights as one never killed: all that is
random in an epoch depends on the seed and the epoch alone, and the checkpoint holds the whole state between two epochs.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from harness.errors import RepriseError
from harness.storage import atomic_path, write_text

#: inputs -> logits
Forward = Callable[[torch.Tensor], torch.Tensor]
#: (logits, labels, mask) -> (sum of the losses that count, how many count)
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
#: logits -> probabilities
Activation = Callable[[torch.Tensor], torch.Tensor]
#: (labels, probabilities, mask) -> scores by name
Scores = Callable[[np.ndarray, np.ndarray, np.ndarray], Mapping[str, float | None]]


@dataclass(frozen=True)
class Examples:
    """What the network sees and should say, row by row.

    Parameters
    ----------
    inputs : ndarray or Tensor (n, ...)
        Front-end output or activations of a frozen prefix; may be memory-mapped, or lie on the device.
    labels : ndarray (n, c)
        0 or 1.
    mask : ndarray (n, c)
        Where a label was observed.
    """

    inputs: np.ndarray | torch.Tensor
    labels: np.ndarray
    mask: np.ndarray

    def batch(self, rows: np.ndarray, device: torch.device) -> torch.Tensor:
        """Inputs of some rows on the device, in float32."""
        if isinstance(self.inputs, torch.Tensor):
            return self.inputs[torch.as_tensor(rows, device=self.inputs.device)].to(device, torch.float32)
        return torch.from_numpy(np.ascontiguousarray(self.inputs[rows], dtype=np.float32)).to(device)

    def targets(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels and mask of some rows on the device, in float32."""
        labels, mask = (torch.from_numpy(a[rows].astype(np.float32)).to(device) for a in (self.labels, self.mask))
        return labels, mask


@dataclass(frozen=True)
class Fit:
    """What a finished fit says of itself.

    Parameters
    ----------
    best_epoch
        Epoch (from 1) with the best validation result; the network holds its weights.
    history
        One dict per epoch run.
    """

    best_epoch: int
    history: list[dict[str, Any]]


def fit(
    network: nn.Module,
    forward: Forward,
    examples: Examples,
    rows: Mapping[str, np.ndarray],
    *,
    loss: Loss,
    scores: Scores | None,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    epochs: int,
    patience: int | None,
    batch_size: int,
    seed: int,
    folder: Path,
    name: str,
    drop_last: bool = False,
    keep: str = "best",
    activation: Activation = torch.sigmoid,
    score_training: bool = False,
    frozen_statistics: Sequence[nn.Module] = (),
    bf16: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> Fit:
    """Train until the epochs or the patience run out, then put back the weights of the best epoch, or the last.

    Parameters
    ----------
    network
        On its device; changed in place. Only parameters with ``requires_grad`` and buffers are saved.
    forward
        From the examples' inputs to logits: the network itself, or what follows its frozen part.
    examples
        Inputs, labels and mask of all rows.
    rows
        Row numbers of the parts ``"train"`` and ``"valid"``.
    loss
        Sum and count of the losses of a batch.
    scores
        What to report of the validation part after each epoch; None for the loss alone.
    optimizer, scheduler
        Over the network's learning parameters; the scheduler, if there is one, is stepped once per epoch.
    epochs
        Most epochs to run.
    patience
        Epochs without a lower validation loss after which training stops; None never to stop early.
    batch_size
        Clips per step; the last, smaller batch of an epoch is used too.
    drop_last
        Whether it is left out instead: for losses that compare the clips of a batch with each other.
    keep
        Which epoch's weights are put back at the end: ``"best"``, that of the lowest validation loss, or ``"last"``.
    activation
        From logits to probabilities.
    score_training
        Whether the scores of the training part are reported, too, as ``train_...``: of the outputs in training mode,
        while the network learns, as Keras prints them.
    seed
        Of the shuffling and of anything random in the network.
    folder
        Where ``history.jsonl``, ``best.safetensors`` and ``checkpoint.pt`` go; a checkpoint found there is continued.
    name
        What to call this fit in messages.
    frozen_statistics
        Modules kept in evaluation mode, so that their batch-normalisation statistics stand still.
    bf16
        Run the forward pass in bfloat16 where autocast finds it safe.
    on_epoch
        Called with each epoch's entry of the history.

    Returns
    -------
    Fit
        Best epoch and history.

    Raises
    ------
    RepriseError
        The loss is not finite, no label counts, the checkpoint found is damaged, or a file cannot be written.
    """
    checkpoint_path, best_path = folder / "checkpoint.pt", folder / "best.safetensors"
    history: list[dict[str, Any]] = []
    best = {"epoch": 0, "loss": float("inf")}

    if checkpoint_path.exists():
        state = read_checkpoint(checkpoint_path)
        load_learned(network, state["network"])
        optimizer.load_state_dict(state["optimizer"])
        if scheduler is not None:
            scheduler.load_state_dict(state["scheduler"])
        history, best = state["history"], state["best"]

    for epoch in range(len(history) + 1, epochs + 1):
        if patience is not None and best["epoch"] and epoch - 1 - best["epoch"] >= patience:
            break
        started = time.perf_counter()
        rates = [group["lr"] for group in optimizer.param_groups]
        outputs: list[tuple[np.ndarray, torch.Tensor]] = []
        train_loss = _train_epoch(
            network,
            forward,
            examples,
            rows["train"],
            loss,
            optimizer,
            batch_size,
            drop_last,
            (seed, epoch),
            frozen_statistics,
            bf16,
            name,
            outputs if score_training else None,
        )
        if scheduler is not None:
            scheduler.step()
        if scores is None:
            valid_loss, reported = _evaluate(network, forward, examples, rows["valid"], loss, batch_size, bf16), {}
        else:
            valid_loss, probabilities = predict(
                network, forward, examples, rows["valid"], loss=loss, activation=activation, bf16=bf16
            )
            reported = scores(examples.labels[rows["valid"]], probabilities, examples.mask[rows["valid"]])
            if score_training:
                order = np.concatenate([batch for batch, _ in outputs])
                logits = torch.cat([values for _, values in outputs])
                theirs = scores(examples.labels[order], activation(logits).numpy(), examples.mask[order])
                reported = {**reported, **{f"train_{name}": value for name, value in theirs.items()}}
        if not np.isfinite(valid_loss):
            raise RepriseError(
                f"{name}: the validation loss is {valid_loss} after epoch {epoch}; lower the learning rate"
            )
        entry = {
            "epoch": epoch,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            **reported,
            "learning_rate": rates,
            "seconds": round(time.perf_counter() - started, 3),
        }
        history.append(entry)
        learned = learned_state(network)
        if valid_loss < best["loss"] or keep == "last":
            best = {"epoch": epoch, "loss": valid_loss}
            with atomic_path(best_path) as temporary:
                temporary.write_bytes(save_safetensors(learned))
        state = {
            "network": learned,
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict() if scheduler is not None else None,
            "history": history,
            "best": best,
        }
        # The checkpoint comes last: whatever a kill leaves undone before it, the same epoch does again.
        write_text(folder / "history.jsonl", "".join(json.dumps(e, allow_nan=False) + "\n" for e in history))
        write_checkpoint(checkpoint_path, state)
        on_epoch(entry)

    load_learned(network, read_learned(best_path))
    return Fit(best["epoch"], history)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state between two epochs, whole or not at all.

    Parameters
    ----------
    path
        Where to.
    state
        Tensors and plain values, nested.
    """
    torch.serialization.set_crc32_options(False)  # two thirds of the time of writing; being whole is the rename's task
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:  # torch's word for a write that failed
            raise OSError("not all of it could be written") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote.

    Parameters
    ----------
    path
        Of the checkpoint.

    Returns
    -------
    dict
        The state, tensors on the CPU.

    Raises
    ------
    RepriseError
        The file is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch raise a dozen kinds of their own
        raise RepriseError(f"{path} is damaged; remove the trial's folder and run it again") from error


def _train_epoch(
    network: nn.Module,
    forward: Forward,
    examples: Examples,
    rows: np.ndarray,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    drop_last: bool,
    seed: tuple[int, int],
    frozen_statistics: Sequence[nn.Module],
    bf16: bool,
    name: str,
    outputs: list[tuple[np.ndarray, torch.Tensor]] | None,
) -> float:
    """One pass over the training rows; the mean loss over all entries that count. Logits go to `outputs`, if wanted."""
    device = next(network.parameters()).device
    order = np.random.default_rng(seed).permutation(rows)
    torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))  # for dropout
    network.train()
    for module in frozen_statistics:
        module.eval()
    total, count = 0.0, 0.0
    end = len(order) - (len(order) % batch_size if drop_last else 0)
    for number, start in enumerate(range(0, end, batch_size), start=1):
        batch = order[start : start + batch_size]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = forward(examples.batch(batch, device))
        batch_total, batch_count = loss(logits.float(), *examples.targets(batch, device))
        if outputs is not None:
            outputs.append((batch, logits.detach().float().cpu()))
        value = batch_total.item()
        if not np.isfinite(value):
            raise RepriseError(
                f"{name}: the loss is {value} in epoch {seed[1]}, batch {number}; "
                "lower the learning rate, or look for broken features with `reprise data verify`"
            )
        total, count = total + value, count + batch_count.item()
        if not batch_count:  # nobody was asked about any clip of this batch: nothing to learn from
            continue
        optimizer.zero_grad(set_to_none=True)
        (batch_total / batch_count).backward()
        optimizer.step()
    if not count:
        raise RepriseError(
            f"{name}: no label of the training part counted in epoch {seed[1]}: this loss leaves out clips with labels "
            "that nobody observed, and the rest is less than a batch; use a larger corpus, or one with whole labels"
        )
    return total / count


@torch.no_grad()
def _evaluate(
    network: nn.Module,
    forward: Forward,
    examples: Examples,
    rows: np.ndarray,
    loss: Loss,
    batch_size: int,
    bf16: bool,
) -> float:
    """Mean loss over some rows in evaluation mode, in batches of training's size: some losses depend on it."""
    device = next(network.parameters()).device
    network.eval()
    total, count = 0.0, 0.0
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            outputs = forward(examples.batch(batch, device))
        batch_total, batch_count = loss(outputs.float(), *examples.targets(batch, device))
        total, count = total + batch_total.item(), count + batch_count.item()
    return total / max(count, 1.0)


@torch.no_grad()
def predict(
    network: nn.Module,
    forward: Forward,
    examples: Examples,
    rows: np.ndarray,
    *,
    loss: Loss | None = None,
    activation: Activation = torch.sigmoid,
    batch_size: int = 32,
    bf16: bool = False,
) -> tuple[float, np.ndarray]:
    """Class probabilities of some rows, in evaluation mode.

    Parameters
    ----------
    network
        On its device.
    forward
        As in `fit`.
    examples
        Inputs, labels and mask of all rows.
    rows
        Which rows, in the order wanted.
    loss
        Sum and count of the losses of a batch; without it the loss returned is 0.
    activation
        From logits to probabilities.
    batch_size
        Clips per forward pass.
    bf16
        As in `fit`.

    Returns
    -------
    mean_loss : float
        Over all entries that count.
    probabilities : ndarray (len(rows), c)
        What `activation` makes of the logits, float32.
    """
    device = next(network.parameters()).device
    network.eval()
    total, count, probabilities = 0.0, 0.0, []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = forward(examples.batch(batch, device))
        logits = logits.float()
        if loss is not None:
            batch_total, batch_count = loss(logits, *examples.targets(batch, device))
            total, count = total + batch_total.item(), count + batch_count.item()
        probabilities.append(activation(logits).cpu().numpy())
    empty = np.zeros((0, examples.labels.shape[1]), np.float32)
    return total / max(count, 1.0), np.concatenate([empty, *probabilities])


def learned_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """What training changes: learning parameters and all buffers, on the CPU."""
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    buffers = {name for name, _ in network.named_buffers()}
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if name in learning or name in buffers
    }


def load_learned(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Put back what `learned_state` took; anything missing or left over is an error."""
    expected = set(learned_state(network))
    if expected != set(state):
        raise RepriseError(
            "the stored weights are of another network or another choice of trained layers; remove the trial's folder"
        )
    network.load_state_dict(dict(state), strict=False)


def read_learned(path: Path) -> dict[str, torch.Tensor]:
    """Read what `fit` wrote as ``best.safetensors``."""
    if not path.exists():
        raise RepriseError(
            f"the weights {path} are not here (records kept with results have none); "
            "give the trial's own folder under runs/, or run it again"
        )
    return load_safetensors(path.read_bytes())
