"""A frozen part is a function: run it once per clip, keep what it gives, and train only what follows.

Frozen layers are read as standing still in every respect, batch-normalisation statistics included. Published weights
bring their statistics along; for random weights they are estimated once, on the training clips.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from harness.errors import RepriseError
from harness.models.chain import chain
from harness.storage import atomic_path, lock, write_json

#: Clips per pass: on one thread ResNet-50 takes a sixth longer for each of 64.
BATCH = 32
#: Clips per batch whose statistics are averaged.
STATISTICS_BATCH = 64


def apply(stages: Sequence[tuple[str, nn.Module]], inputs: torch.Tensor) -> torch.Tensor:
    """Run part of a chain.

    Parameters
    ----------
    stages
        Names and stages, in order.
    inputs
        What the first of them takes.

    Returns
    -------
    Tensor
        What the last of them gives.
    """
    for _, stage in stages:
        inputs = stage(inputs)
    return inputs


@torch.no_grad()
def estimate_statistics(
    stages: Sequence[tuple[str, nn.Module]], inputs: np.ndarray, rows: np.ndarray, *, device: torch.device
) -> None:
    """Set batch-normalisation statistics to their mean over batches of the given clips, in one pass.

    Parameters
    ----------
    stages
        The frozen part of a chain; changed in place.
    inputs : ndarray (n, ...)
        What the first stage takes.
    rows
        The clips to use: the training part.
    device
        Where to compute.
    """
    norms = [m for _, stage in stages for m in stage.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for batch in np.array_split(rows, max(1, round(len(rows) / STATISTICS_BATCH))):
        apply(stages, torch.from_numpy(np.ascontiguousarray(inputs[batch])).to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def open_activations(
    network: nn.Sequential,
    cuts: Mapping[str, Path],
    inputs: np.ndarray,
    *,
    statistics_rows: np.ndarray | None,
    device: torch.device,
    manifest: Mapping[str, Any],
    on_rows: Callable[[int], None] = lambda rows: None,
) -> None:
    """Compute and store what a network's frozen part gives for every clip, at one or more stages, in one pass.

    Stores that are there already are left as they are. Work that was killed goes on where it stopped; a second process
    that wants the same waits.

    Parameters
    ----------
    network
        Its weights in place; batch-normalisation statistics are changed if `statistics_rows` is given.
    cuts
        Folder of the store, by the name of the stage after which it is taken.
    inputs : ndarray (n, ...)
        Front-end output of all clips; may be memory-mapped.
    statistics_rows
        Clips on which to estimate batch-normalisation statistics first; None to keep the network's own.
    device
        Where to compute.
    manifest
        What the stores were made from.
    on_rows
        Called with the number of clips done since the last call.

    Raises
    ------
    RepriseError
        Too little space on the disk.
    """
    folders = sorted(cuts.values())
    locks = [lock(folder) for folder in folders]
    for held in locks:
        held.acquire()
    try:
        missing = {name: folder for name, folder in cuts.items() if not (folder / "manifest.json").exists()}
        if missing:
            _compute(network, missing, inputs, statistics_rows, device, manifest, on_rows)
    finally:
        for held in locks:
            held.release()


@torch.no_grad()
def _compute(
    network: nn.Sequential,
    cuts: Mapping[str, Path],
    inputs: np.ndarray,
    statistics_rows: np.ndarray | None,
    device: torch.device,
    manifest: Mapping[str, Any],
    on_rows: Callable[[int], None],
) -> None:
    stages = chain(network)
    names = [name for name, _ in stages]
    ends = sorted(names.index(name) + 1 for name in cuts)
    network.to(device, memory_format=torch.channels_last).eval()
    if statistics_rows is not None:
        estimate_statistics(stages[: ends[-1]], inputs, statistics_rows, device=device)

    def outputs(rows: slice) -> dict[str, np.ndarray]:
        values, start, taken = torch.from_numpy(np.array(inputs[rows])).to(device), 0, {}
        for end in ends:
            values, start = apply(stages[start:end], values), end
            # Activations of one clip stand together even where a stage works on its patches one by one.
            taken[names[end - 1]] = values.reshape(rows.stop - rows.start, -1, *values.shape[1:]).cpu().numpy()
        return taken

    count = len(inputs)
    shapes = {name: (count, *array.shape[1:]) for name, array in outputs(slice(0, 1)).items()}
    partial = {name: folder.with_name(folder.name + ".partial") for name, folder in cuts.items()}
    needed = sum(4 * int(np.prod(shape)) for name, shape in shapes.items() if not partial[name].exists())
    place = next(iter(cuts.values())).parent
    if (free := shutil.disk_usage(place).free) < needed:
        raise RepriseError(
            f"activations need {needed / 1e9:.1f} GB under {place}, where {free / 1e9:.1f} GB are free; "
            "make room or set REPRISE_HOME to another disk"
        )
    arrays, done = {}, count
    for name, folder in partial.items():
        path, progress = folder / "activations.npy", folder / "rows_done"
        if progress.exists():
            arrays[name] = np.lib.format.open_memmap(path, mode="r+")
            done = min(done, int(progress.read_text()))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shapes[name])
            done = 0
    on_rows(done)
    for start in range(done, count, BATCH):
        rows = slice(start, min(start + BATCH, count))
        for name, values in outputs(rows).items():
            arrays[name][rows] = values
        for name, folder in partial.items():
            arrays[name].flush()
            with atomic_path(folder / "rows_done") as temporary:
                temporary.write_text(str(rows.stop))
        on_rows(rows.stop - rows.start)
    for name, folder in partial.items():
        prefix = tuple(f"{stage}." for stage in names[: names.index(name) + 1])
        buffers = {key: value.cpu() for key, value in network.named_buffers() if key.startswith(prefix)}
        with atomic_path(folder / "statistics.safetensors") as temporary:
            temporary.write_bytes(save_safetensors(buffers))
        write_json(folder / "manifest.json", {**manifest, "stage": name, "shape": list(shapes[name])})
        folder.rename(cuts[name])


def read_activations(folder: Path) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """Open what `open_activations` stored.

    Parameters
    ----------
    folder
        The store.

    Returns
    -------
    activations : memmap (n, parts, ...)
        Per clip; ``parts`` is the number of patches where the stage works on patches one by one, else 1.
    statistics : dict of Tensor
        Batch-normalisation buffers of the frozen part, by name.
    """
    statistics = load_safetensors((folder / "statistics.safetensors").read_bytes())
    return np.load(folder / "activations.npy", mmap_mode="r", allow_pickle=False), statistics


def after(network: nn.Sequential, stage: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The rest of a network, fed with stored activations.

    Parameters
    ----------
    network
        The whole chain.
    stage
        Name of the stage the activations were taken after.

    Returns
    -------
    callable
        Activations ``(n, parts, ...)`` -> logits ``(n, classes)``.
    """
    stages = chain(network)
    start = [name for name, _ in stages].index(stage) + 1
    return lambda activations: apply(stages[start:], activations.flatten(0, 1))
