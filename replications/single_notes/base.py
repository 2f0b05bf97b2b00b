"""The frozen base as a function: 13,824 numbers of every note, computed once, over all cores.

Published weights bring the statistics of their batch normalisations along. For random ones they are estimated on notes
of the corpus that is trained on, without their labels: a few of every instrument, the same for all seeds and splits. So
one pass serves all trials on a corpus; that the notes of a test part may be among them is the price, and as each
statistic is a mean over millions of cells, a small one.

A corpus's numbers lie in blocks, each a store of `harness.models.frozen`, so that several processes can work at once
and go on after a kill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn

from harness import features
from harness.features import Store
from harness.models import chain, count_parameters, frozen, inception_resnet_v2, weights
from harness.parallel import cores
from harness.storage import atomic_path, cache_home, fingerprint, lock, sha256_of, write_json
from harness.studies import records
from harness.studies.context import Context, Opened
from harness.studies.work import Report, in_workers
from harness.terminal import progress

NETWORK = "inception_resnet_v2"
#: The last frozen stage.
CUT = "flatten"
#: Notes per block: a few seconds of work.
BLOCK = 64
#: Notes per batch whose statistics are averaged.
BATCH = 64


@dataclass(frozen=True)
class Base:
    """The base that some trials share, applied to one corpus.

    Parameters
    ----------
    protocol
        Resolved settings; those of the front end, the weights and the colours are used.
    trained_on, corpus
        Names of the corpus that random weights get their statistics from, and of the one whose notes go through.
    device
        Where to compute.
    skip_bad
        Whether notes whose audio cannot be used are left out.
    opened
        What this process has opened.
    """

    protocol: Mapping[str, Any]
    trained_on: str
    corpus: str
    device: str = "cpu"
    skip_bad: bool = False
    opened: Opened = field(default_factory=Opened, compare=False, repr=False)

    def pictures(self, corpus: str, *, jobs: int | None = None) -> Store:
        """The log-mel pictures of a corpus."""
        front_end = features.front_end(**self.protocol["front_end"])
        return self.opened.store(self.opened.corpus(corpus), front_end, jobs=jobs, skip_bad=self.skip_bad)

    @cached_property
    def _network_key(self) -> dict[str, Any]:
        """What the base's parameters and colours depend on."""
        start = _identify_weights(self.protocol)
        if start["kind"] == "random":
            versions = {name: metadata.version(name) for name in ("torch", "timm")}
            start |= {"seed": self.protocol["base_seed"], **versions}
        return {"network": NETWORK, "weights": start, "pixels": self.protocol["pixels"], "device": self.device}

    @cached_property
    def statistics_folder(self) -> Path | None:
        """Where the statistics of random weights are kept; None for other weights, which have their own."""
        if self._network_key["weights"]["kind"] != "random":
            return None
        pictures = self.pictures(self.trained_on).manifest["array_sha256"]
        key = self._network_key | {"pictures": pictures, "notes": self.protocol["statistics_notes"], "batch": BATCH}
        return cache_home() / "activations" / self.trained_on / f"{NETWORK}-statistics-{fingerprint(key)}"

    @cached_property
    def folder(self) -> Path:
        """Where the corpus's numbers are kept."""
        statistics = self.statistics_folder
        key = self._network_key | {
            "pictures": self.pictures(self.corpus).manifest["array_sha256"],
            "statistics": statistics.name if statistics else None,
            "block": BLOCK,
        }
        return cache_home() / "activations" / self.corpus / f"{NETWORK}-{CUT}-{fingerprint(key)}"

    def finished(self) -> bool:
        """Whether the numbers are there."""
        return (self.folder / "manifest.json").exists()


@dataclass(frozen=True)
class Numbers:
    """What the base gives for a corpus's notes.

    Parameters
    ----------
    array : ndarray (n, 13824), float32
        In the order of the corpus's clips.
    manifest
        Where the base's weights came from, and more.
    """

    array: np.ndarray
    manifest: Mapping[str, Any]


def of_context(context: Context, corpus: str | None = None) -> Base:
    """The base of a trial with a frozen one, applied to its own corpus or to another; equal for all that share it."""
    trial = context.trial
    return Base(
        settings_of(trial.protocol), trial.corpus, corpus or trial.corpus, trial.device, trial.skip_bad, context.opened
    )


def settings_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the base depends on.

    Parameters
    ----------
    protocol
        Resolved settings.

    Returns
    -------
    dict
        Some of them.
    """
    return {key: protocol[key] for key in ("front_end", "weights", "base_seed", "statistics_notes", "pixels")}


def build(
    protocol: Mapping[str, Any], classes: int, hidden: Sequence[int], dropout: float = 0.0
) -> tuple[nn.Sequential, dict[str, Any]]:
    """Build the whole network with the base's weights; statistics are not estimated.

    Parameters
    ----------
    protocol
        Resolved settings.
    classes, hidden, dropout
        See `harness.models.inception_resnet_v2`.

    Returns
    -------
    network : nn.Sequential
        In evaluation mode; its head is random.
    weights : dict
        Where the base's came from.

    Raises
    ------
    RepriseError
        The weights are absent, or not of this network.
    """
    torch.manual_seed(protocol["base_seed"])
    network = inception_resnet_v2(classes, hidden=hidden, dropout=dropout, pixels=protocol["pixels"])
    start = weights.load(network, NETWORK, _source(protocol))
    return network.eval(), start


def load_statistics(network: nn.Sequential, base: Base) -> None:
    """Put the statistics of random weights in place; others have theirs.

    Parameters
    ----------
    network
        From `build`; changed in place.
    base
        Which; its statistics have been estimated.
    """
    if folder := base.statistics_folder:
        network.load_state_dict(load_safetensors((folder / "statistics.safetensors").read_bytes()), strict=False)


def prepare(bases: Sequence[Base], *, jobs: int | None = None) -> None:
    """Compute what is not there yet: pictures, statistics, and every note's numbers.

    Parameters
    ----------
    bases
        As trials need them, with repetitions.
    jobs
        Number of processes; the numbers do not depend on it.

    Raises
    ------
    RepriseError
        Audio cannot be used, weights are absent, too little space.
    """
    jobs = jobs or cores()
    unique = {str(base): base for base in bases}.values()
    for base in {_source(b.protocol): b for b in unique if not b.finished()}.values():
        if _source(base.protocol) != "random":
            build(base.protocol, 7, (1,))  # weights that do not fit are told before the pictures are made
    for base in unique:
        for corpus in dict.fromkeys((base.trained_on, base.corpus)):
            base.pictures(corpus, jobs=jobs)
        if not base.finished():
            with lock(base.folder):  # a second process that wants the same waits
                _compute(base, jobs)


def read(base: Base) -> Numbers:
    """Open what `prepare` computed; computes it if it is not there.

    Parameters
    ----------
    base
        Which.

    Returns
    -------
    Numbers
        Of all notes of its corpus.
    """
    if not base.finished():
        prepare([base], jobs=1)
    folder = base.folder
    manifest = records.read_json(folder / "manifest.json")
    blocks = [frozen.read_activations(folder / name)[0][:, 0] for name in manifest["blocks"]]
    return Numbers(np.concatenate(blocks), manifest)


def _source(protocol: Mapping[str, Any]) -> str:
    source = protocol["weights"]
    return source[NETWORK] if isinstance(source, Mapping) else source


def _identify_weights(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Kind and checksum of the weights, without building the network."""
    source = _source(protocol)
    if source == "random":
        return {"kind": "random"}
    path = weights.PUBLISHED[NETWORK].path if source == "published" else Path(source)
    if not path.is_file():
        build(protocol, 7, (1,))  # it says what to do
    return {"kind": "published" if source == "published" else "file", "sha256": sha256_of(path)}


def _compute(base: Base, jobs: int) -> None:
    """Statistics first, then the blocks, both over all processes."""
    if base.finished():
        return
    folder, statistics = base.folder, base.statistics_folder
    network, start = build(base.protocol, 7, (1,))
    parameters = count_parameters(network) - count_parameters(network.head)
    notes = len(base.pictures(base.corpus).array)
    batches = _statistics_batches(base) if statistics and not (statistics / "statistics.safetensors").exists() else []
    with progress() as bar:
        task = bar.add_task(f"base on {base.corpus}", total=notes + sum(len(batch) for batch in batches))

        def show(rows: int) -> None:
            bar.advance(task, rows)

        if batches:
            with lock(statistics):
                shares = [list(range(first, len(batches), jobs)) for first in range(min(jobs, len(batches)))]
                in_workers(_estimate, [(base, share) for share in shares], jobs, show)
                _average(statistics, len(batches))
        starts = list(range(0, notes, BLOCK))
        shares = [starts[first::jobs] for first in range(min(jobs, len(starts)))]
        in_workers(_run_blocks, [(base, share) for share in shares], jobs, show)
    write_json(
        folder / "manifest.json",
        {
            "weights": start,
            "statistics": str(statistics.name) if statistics else None,
            "statistics_notes": sum(len(batch) for batch in _statistics_batches(base)) if statistics else 0,
            "blocks": [_block_name(first) for first in starts],
            "notes": notes,
            "parameters": parameters,
            "pixels": base.protocol["pixels"],
            "pictures_sha256": base.pictures(base.corpus).manifest["array_sha256"],
        },
    )


def _block_name(start: int) -> str:
    return f"block-{start:06d}"


def _statistics_batches(base: Base) -> list[np.ndarray]:
    """Rows of the notes that statistics are estimated on, evenly spaced over the sorted keys: some of every class."""
    rows = np.flatnonzero(base.pictures(base.trained_on).ok)
    count = min(base.protocol["statistics_notes"], len(rows))
    rows = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    # Every so many-th of them, so that each batch has all classes as well.
    number = max(1, round(count / BATCH))
    return [rows[first::number] for first in range(number)]


def _frozen_network(base: Base) -> nn.Sequential:
    network, _ = build(base.protocol, 7, (1,))
    return network.to(base.device, memory_format=torch.channels_last)


def _estimate(work: tuple[Base, list[int]], report: Report) -> None:
    """Statistics of some batches, each for itself: what a batch gives depends on no other."""
    base, numbers = work
    network, folder = _frozen_network(base), base.statistics_folder
    stages = chain(network)
    stages = stages[: [name for name, _ in stages].index(CUT) + 1]
    batches, pictures = _statistics_batches(base), base.pictures(base.trained_on).array
    for number in numbers:
        path = folder / f"batch-{number:04d}.safetensors"
        if not path.exists():
            frozen.estimate_statistics(stages, pictures, batches[number], device=torch.device(base.device))
            with atomic_path(path) as temporary:
                temporary.write_bytes(save_safetensors(_statistics(network)))
        report(len(batches[number]))


def _statistics(network: nn.Sequential) -> dict[str, torch.Tensor]:
    return {name: value.cpu().contiguous() for name, value in network.named_buffers() if "running_" in name}


def _average(folder: Path, count: int) -> None:
    batches = [load_safetensors((folder / f"batch-{i:04d}.safetensors").read_bytes()) for i in range(count)]
    mean = {name: torch.stack([batch[name] for batch in batches]).mean(dim=0) for name in batches[0]}
    with atomic_path(folder / "statistics.safetensors") as temporary:
        temporary.write_bytes(save_safetensors(mean))


def _run_blocks(work: tuple[Base, list[int]], report: Report) -> None:
    base, starts = work
    network, folder = _frozen_network(base), base.folder
    load_statistics(network, base)
    pictures = base.pictures(base.corpus).array
    for start in starts:
        rows = pictures[start : start + BLOCK]
        if (folder / _block_name(start) / "manifest.json").exists():
            report(len(rows))
            continue
        frozen.open_activations(
            network,
            {CUT: folder / _block_name(start)},
            rows,
            statistics_rows=None,
            device=torch.device(base.device),
            manifest={"first": start},
            on_rows=report,
        )
