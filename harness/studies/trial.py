"""A trial: one arm under one condition with one seed, from stored features to a record."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import corpora, features
from harness.corpora import Corpus, Split
from harness.errors import RepriseError
from harness.features import FrontEnd, Store
from harness.models import chain, count_parameters, freeze, frozen, split_frozen, trainable_parameters, weights
from harness.storage import cache_home, fingerprint, lock, write_json
from harness.studies import environment, records
from harness.studies.study import Arm, Condition, Study
from harness.training import loop


@dataclass(frozen=True)
class Blueprint:
    """What a study's ``build`` gives the harness for one arm.

    Parameters
    ----------
    network
        Randomly initialised from torch's global generator; a chain of stages.
    front_end
        What turns audio into its input.
    optimizer
        Called with the network once its learning parameters are chosen.
    scheduler
        Called with the optimiser; stepped once per epoch.
    loss
        Sum and count of the losses of a batch.
    scores
        What to report of the validation part after each epoch.
    """

    network: nn.Sequential
    front_end: FrontEnd
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
    loss: loop.Loss
    scores: loop.Scores


@dataclass(frozen=True)
class Trial:
    """The unit of work.

    Parameters
    ----------
    study, arm, condition, profile, seed
        Which.
    protocol
        Every setting, resolved.
    folder
        Where its files go.
    device
        ``"cpu"`` or ``"cuda"``.
    bf16
        Whether forward passes run in bfloat16.
    skip_bad
        Whether clips whose audio cannot be used are left out.
    """

    study: Study
    arm: Arm
    condition: Condition
    profile: str
    seed: int
    protocol: Mapping[str, Any]
    folder: Path
    device: str = "cpu"
    bf16: bool = False
    skip_bad: bool = False

    @property
    def label(self) -> str:
        """Arm, and the condition where it is not the paper's."""
        return trial_label(self.study, self.arm.name, self.condition.name)

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.protocol["corpus"]

    def identity(self) -> dict[str, Any]:
        """What must be equal for a folder's checkpoint or record to be this trial's."""
        return {
            "study": self.study.name,
            "arm": self.arm.name,
            "condition": self.condition.name,
            "profile": self.profile,
            "seed": self.seed,
            "protocol": dict(self.protocol),
            "bf16": self.bf16,
        }

    def finished(self) -> bool:
        """Whether its record is there.

        Raises
        ------
        RepriseError
            The folder holds a trial of another protocol.
        """
        path = self.folder / "trial.json"
        if path.exists():
            theirs, ours = _flat(records.read_json(path)), _flat(self.identity())
            if different := sorted(k for k in {**theirs, **ours} if theirs.get(k) != ours.get(k)):
                changes = ", ".join(f"{k}: {theirs.get(k)!r}, now {ours.get(k)!r}" for k in different)
                raise RepriseError(
                    f"{self.folder} holds a trial with another protocol ({changes}); "
                    "choose another folder with --runs, or remove it"
                )
        return (self.folder / "record.json").exists()


def trial_label(study: Study, arm: str, condition: str) -> str:
    """Name of an arm under a condition: the arm's, with ``@condition`` where it is not the paper's.

    Parameters
    ----------
    study, arm, condition
        Which.

    Returns
    -------
    str
        For instance ``resnet_fc@masked``.
    """
    return arm if condition == study.conditions[0].name else f"{arm}@{condition}"


@dataclass(frozen=True)
class Inputs:
    """What a trial starts from.

    Parameters
    ----------
    corpus, split, store
        The clips, their parts, their features.
    rows
        Row numbers by part, without clips that were left out.
    """

    corpus: Corpus
    split: Split
    store: Store
    rows: Mapping[str, np.ndarray]


def open_inputs(trial: Trial, front_end: FrontEnd, corpus: Corpus, *, jobs: int | None = None) -> Inputs:
    """Split and features of a trial; builds what is missing.

    Parameters
    ----------
    trial
        Which.
    front_end
        The arm's.
    corpus
        The trial's.
    jobs
        Processes for building features.

    Returns
    -------
    Inputs
        Ready to train on.
    """
    split = corpus.split(trial.protocol["split"])
    store = features.open_store(corpus, front_end, jobs=jobs, skip_bad=trial.skip_bad)
    rows = {part: numbers[store.ok[numbers]] for part, numbers in split.rows.items()}
    for part, numbers in rows.items():
        if not len(numbers):
            raise RepriseError(f"the {part} part of {split.name} on {corpus.name} is empty; use a larger corpus")
    return Inputs(corpus, split, store, rows)


def build(trial: Trial, corpus: Corpus) -> tuple[Blueprint, dict[str, Any]]:
    """Build an arm's network with its starting weights and its learning parameters chosen.

    Parameters
    ----------
    trial
        Which; its seed makes the random weights, the same for all arms of a network.
    corpus
        The trial's.

    Returns
    -------
    blueprint : Blueprint
        Network on the CPU.
    weights : dict
        Where they came from.
    """
    torch.manual_seed(trial.seed)
    blueprint = trial.study.code.build(trial.arm, corpus, trial.protocol)
    source = trial.protocol["weights"]
    if isinstance(source, Mapping):
        source = source[trial.arm.network]
    description = weights.load(blueprint.network, trial.arm.network, source)
    freeze(blueprint.network, trial.arm.trainable)
    return blueprint, description


@dataclass(frozen=True)
class Prefix:
    """The frozen part of one or more trials' network: same weights, same inputs, stored after the stage `cut`.

    Parameters
    ----------
    trial
        One of those that need it.
    cut
        Name of the last frozen stage.
    folder
        Its store.
    """

    trial: Trial
    cut: str
    folder: Path


def prefix_of(trial: Trial, blueprint: Blueprint, start: Mapping[str, Any], inputs: Inputs) -> Prefix | None:
    """The frozen part of a trial's network that can be run once per clip.

    Parameters
    ----------
    trial, blueprint, start, inputs
        The trial, its network, where its weights came from, what it starts from.

    Returns
    -------
    Prefix or None
        None if the first layers learn, or the condition lets the statistics of frozen layers move.
    """
    names, _ = split_frozen(blueprint.network, trial.arm.trainable)
    if not names or trial.protocol["batch_norm"] == "moving":
        return None
    weights_sha256 = _checksum(blueprint.network, names)
    key = fingerprint({**_prefix_key(trial, start, inputs), "cut": names[-1], "weights_sha256": weights_sha256})
    folder = cache_home() / "activations" / inputs.corpus.name / f"{trial.arm.network}-{names[-1]}-{key}"
    return Prefix(trial, names[-1], folder)


def _prefix_key(trial: Trial, start: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """What the activations of a network's frozen part depend on."""
    random = start["kind"] == "random"
    return {
        "network": trial.arm.network,
        "weights": {k: v for k, v in start.items() if k in ("kind", "sha256")},
        "seed": trial.seed if random else None,
        "statistics": inputs.split.checksum if random else None,
        "features": inputs.store.manifest["array_sha256"],
        "device": trial.device,
    }


def _checksum(network: nn.Sequential, stages: Sequence[str]) -> str:
    """SHA-256 of some stages' parameters: random ones change with torch's generator and our initialisation."""
    digest = hashlib.sha256()
    prefixes = tuple(f"{stage}." for stage in stages)
    for name, parameter in network.named_parameters():
        if name.startswith(prefixes):
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def store_prefixes(trials: Sequence[Trial], *, on_rows: Callable[[int], None] = lambda rows: None) -> None:
    """Compute the frozen parts that several trials of one network and seed need, in one pass over the clips.

    Parameters
    ----------
    trials
        Of the same network, weights, seed, split, corpus and front end.
    on_rows
        Called with the number of clips done since the last call.
    """
    corpus = load_corpus(trials[0])
    cuts: dict[str, Path] = {}
    for trial in trials:
        blueprint, start = build(trial, corpus)
        inputs = open_inputs(trial, blueprint.front_end, corpus)
        if prefix := prefix_of(trial, blueprint, start, inputs):
            cuts[prefix.cut] = prefix.folder
    if cuts:
        frozen.open_activations(
            blueprint.network,
            cuts,
            inputs.store.array,
            statistics_rows=inputs.rows["train"] if start["kind"] == "random" else None,
            device=torch.device(trials[0].device),
            manifest=_prefix_key(trials[0], start, inputs),
            on_rows=on_rows,
        )


def load_corpus(trial: Trial) -> Corpus:
    """The corpus a trial works on.

    Parameters
    ----------
    trial
        Which.

    Returns
    -------
    Corpus
        As `harness.corpora.load` gives it.
    """
    return corpora.load(trial.corpus)


def run(trial: Trial, *, on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None) -> records.Record:
    """Train an arm, or go on training it, and write its record.

    Parameters
    ----------
    trial
        Which; if its record is there already, it is returned as it is.
    on_epoch
        Called after every epoch with its entry of the history.

    Returns
    -------
    Record
        The finished trial.

    Raises
    ------
    RepriseError
        The loss is not finite, the folder holds another trial, a file cannot be written, weights are absent.
    """
    with lock(trial.folder):  # a second process that wants the same trial waits, and finds it finished
        if trial.finished():
            return records.read_record(trial.folder)
        for leftover in trial.folder.glob(".*.part"):  # of a run that was killed while it wrote
            leftover.unlink()
        return _run(trial, on_epoch)


def _run(trial: Trial, on_epoch: Callable[[dict[str, Any]], None]) -> records.Record:
    device = torch.device(trial.device)
    clock = _Clock()
    corpus = load_corpus(trial)
    blueprint, start = build(trial, corpus)
    network = blueprint.network
    inputs = open_inputs(trial, blueprint.front_end, corpus)
    prefix = prefix_of(trial, blueprint, start, inputs)
    if prefix is not None:
        if not prefix.folder.exists():
            store_prefixes([trial])
        array, statistics = frozen.read_activations(prefix.folder)
        network.load_state_dict(statistics, strict=False)
        forward = frozen.after(network, prefix.cut)
    else:
        array, forward = inputs.store.array, network
    clock.lap("prepare")

    write_json(trial.folder / "trial.json", trial.identity())
    network.to(device, memory_format=torch.channels_last)
    still = trial.protocol["batch_norm"] == "fixed"
    optimizer = blueprint.optimizer(network)
    examples = loop.Examples(_resident(array, device), corpus.labels, corpus.mask)
    fit = loop.fit(
        network,
        forward,
        examples,
        inputs.rows,
        loss=blueprint.loss,
        scores=blueprint.scores,
        optimizer=optimizer,
        scheduler=blueprint.scheduler(optimizer),
        epochs=trial.protocol["epochs"],
        patience=trial.protocol["patience"],
        batch_size=trial.protocol["batch_size"],
        seed=trial.seed,
        folder=trial.folder,
        name=trial.label,
        frozen_statistics=frozen_stages(network) if still else (),
        bf16=trial.bf16,
        on_epoch=on_epoch,
    )
    clock.lap("train")
    # After a resume, what earlier sessions spent on their epochs counts too.
    clock.seconds["train"] = max(clock.seconds["train"], round(sum(entry["seconds"] for entry in fit.history), 3))
    parts = {}
    for part in records.PARTS:
        rows = inputs.rows[part]
        _, probabilities = loop.predict(network, forward, examples, rows, bf16=trial.bf16)
        keys = corpus.clips["key"].to_numpy(dtype=str)[rows]
        parts[part] = records.Predictions(keys, corpus.labels[rows], corpus.mask[rows], probabilities)
    records.write_predictions(trial.folder, parts)
    clock.lap("predict")
    record = records.write_record(
        trial.folder,
        {
            "format": 1,
            **trial.identity(),
            "corpus": corpus.name,
            "weights": start,
            "split": {
                "name": inputs.split.name,
                "seed": inputs.split.seed,
                "sizes": {part: len(rows) for part, rows in inputs.rows.items()},
                "checksum": inputs.split.checksum,
                "leakage": inputs.split.leakage,
            },
            "classes": list(corpus.classes),
            "parameters": {"trainable": trainable_parameters(network), "total": count_parameters(network)},
            "frozen_prefix": prefix.cut if prefix else None,
            "best_epoch": fit.best_epoch,
            "epochs": len(fit.history),
            "durations": clock.seconds,
            "peak_memory_bytes": environment.peak_memory(device),
            "environment": environment.describe(device),
            "inputs": {
                "corpus": {"clips": len(corpus.clips), **corpus.facts},
                "features": dict(inputs.store.manifest),
                "left_out": dict(inputs.store.bad),
            },
        },
    )
    (trial.folder / "checkpoint.pt").unlink()
    return record


def frozen_stages(network: nn.Sequential) -> list[nn.Module]:
    """Stages in which nothing learns.

    Parameters
    ----------
    network
        With its learning parameters chosen.

    Returns
    -------
    list of nn.Module
        Those with parameters, none of which learns.
    """
    stages = [stage for _, stage in chain(network)]
    return [s for s in stages if (p := list(s.parameters())) and not any(x.requires_grad for x in p)]


def restore(record: records.Record, study: Study) -> tuple[Blueprint, Trial]:
    """Rebuild a finished trial's network with its best weights, on the CPU, in evaluation mode.

    Parameters
    ----------
    record
        Of the trial.
    study
        The study it belongs to.

    Returns
    -------
    blueprint : Blueprint
        With the trained network.
    trial : Trial
        The trial.
    """
    data = record.data
    trial = Trial(
        study=study,
        arm=study.arm(data["arm"]),
        condition=study.condition(data["condition"]),
        profile=data["profile"],
        seed=data["seed"],
        protocol=data["protocol"],
        folder=record.folder,
        skip_bad=bool(data["inputs"]["left_out"]),
    )
    blueprint, _ = build(trial, load_corpus(trial))
    loop.load_learned(blueprint.network, loop.read_learned(record.folder / "best.safetensors"))
    blueprint.network.eval()
    return blueprint, trial


def _resident(array: np.ndarray, device: torch.device) -> np.ndarray | torch.Tensor:
    """The array on the device, if that is a GPU with room for it and as much again; else as it is."""
    if device.type != "cuda" or 2 * array.nbytes > torch.cuda.mem_get_info(device)[0]:
        return array
    resident = torch.empty(array.shape, dtype=torch.float32, device=device)
    for start in range(0, len(array), 256):
        resident[start : start + 256] = torch.from_numpy(np.array(array[start : start + 256]))
    return resident


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted keys."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}".lstrip(".")).items()}


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 3), now
