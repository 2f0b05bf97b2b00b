"""Arms that are networks on spectrograms: features, a frozen backbone run once per clip, and the fit of what learns.

A study whose arms are of this kind gives ``build(arm, corpus, protocol)``, which returns a `ModelSpec`, and takes
`expected`, `prepare` and `train` from here.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.features import FrontEnd
from harness.models import chain, count_parameters, frozen, split_frozen, trainable_parameters
from harness.storage import cache_home, fingerprint
from harness.studies import cost, records
from harness.studies.context import Context, Opened, context_of
from harness.studies.study import Study
from harness.studies.trial import Expected, Trained, Trial
from harness.studies.work import in_workers
from harness.terminal import progress
from harness.training import loop

#: Seconds between two reports on a pass through a frozen backbone.
REPORT_EVERY = 10.0
#: Called after every epoch with the trial and the epoch's entry of its history; and in a long pass through a frozen
#: backbone with the number of ``clips`` done and how many there are, ``of``.
OnEpoch = Callable[[Trial, dict[str, Any]], None]


@dataclass(frozen=True)
class ModelSpec:
    """What a study's ``build`` gives of one arm: its network and how that is trained.

    Parameters
    ----------
    network
        Randomly initialised from torch's global generator; a chain of stages.
    front_end
        What turns audio into its input.
    optimizer
        Called with the network once its learning parameters are chosen.
    scheduler
        Called with the optimiser; stepped once per epoch. None for a constant rate.
    loss
        Sum and count of the losses of a batch.
    activation
        From logits to probabilities.
    keep
        Which epoch's weights are kept: ``"best"``, that of the lowest validation loss, or ``"last"``.
    score_training
        Whether the history scores the training part, too.
    """

    network: nn.Sequential
    front_end: FrontEnd
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None
    loss: loop.Loss
    activation: loop.Activation = torch.sigmoid
    keep: str = "best"
    score_training: bool = False


@dataclass(frozen=True)
class FrozenBackbone:
    """The frozen part of a network, run once per clip: its last stage, and the folder of what that gives."""

    cut: str
    folder: Path


def frozen_backbone(context: Context, owner: Context | None = None) -> FrozenBackbone | None:
    """The frozen part of a trial's network that can be run once per clip.

    Parameters
    ----------
    context
        Of the trial.
    owner
        Of a trial whose network has the same frozen part, at least as long, with the same weights; default: its own.

    Returns
    -------
    FrozenBackbone or None
        None if the first layers learn, or the condition lets the statistics of frozen layers move.
    """
    names, owner = _frozen_names(context), owner or context
    if not names or not _stands_still(context.trial):
        return None
    weights_sha256 = _checksum(owner.spec.network, names)
    key = fingerprint({**_backbone_key(owner), "cut": names[-1], "weights_sha256": weights_sha256})
    folder = cache_home() / "activations" / context.corpus.name / f"{context.trial.arm.network}-{names[-1]}-{key}"
    return FrozenBackbone(names[-1], folder)


def _frozen_names(context: Context) -> list[str]:
    return split_frozen(context.outline.network, context.trial.arm.trainable)[0]


def _stands_still(trial: Trial) -> bool:
    """Whether statistics of frozen layers stand still, as they do unless the protocol says otherwise."""
    return trial.protocol.get("batch_norm", "fixed") == "fixed"


def _backbone_key(context: Context) -> dict[str, Any]:
    """What the activations of a network's frozen part depend on; trials that share it share the starting weights."""
    start, trial = context.weights, context.trial
    random = start["kind"] == "random"
    return {
        "network": trial.arm.network,
        "weights": {k: v for k, v in start.items() if k in ("kind", "sha256")},
        "seed": trial.network_seed if random else None,
        "statistics": context.split.checksum if random else None,
        "features": context.store.manifest["array_sha256"],
        "device": trial.device,
    }


def _checksum(network: nn.Sequential, stages: Sequence[str]) -> str:
    """SHA-256 of some stages' parameters: random ones change with torch's generator and our initialisation."""
    digest = hashlib.sha256()
    for name, stage in chain(network):
        if name in stages:  # what is not in parameters: strides, ranges, the table of colours
            digest.update(f"{name} {stage!r}".encode())
    prefixes = tuple(f"{stage}." for stage in stages)
    for name, parameter in network.named_parameters():
        if name.startswith(prefixes):
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def store_backbones(contexts: Sequence[Context], *, on_clips: Callable[[int], None] = lambda clips: None) -> None:
    """Compute the frozen parts that several trials need, in one pass over the clips by the network of one of them.

    Parameters
    ----------
    contexts
        Of trials of the same network, weights, seed, split, corpus and front end.
    on_clips
        Called with the number of clips done since the last call.
    """
    owner = max(contexts, key=lambda context: len(_frozen_names(context)))
    found = [frozen_backbone(context, owner) for context in contexts]
    if folders := {backbone.cut: backbone.folder for backbone in found if backbone}:
        frozen.open_activations(
            owner.spec.network,
            folders,
            owner.store.array,
            statistics_rows=owner.rows["train"] if owner.weights["kind"] == "random" else None,
            device=torch.device(owner.trial.device),
            manifest=_backbone_key(owner),
            on_rows=on_clips,
        )


def expected(contexts: Sequence[Context]) -> Expected:
    """How long trials take on one thread if none stops early.

    Parameters
    ----------
    contexts
        Of trials of one study that are not finished yet.

    Returns
    -------
    Expected
        Each label's trial, and the pass through the frozen backbones.
    """
    rate = cost.measure_rate(torch.device(contexts[0].trial.device))
    seconds: dict[str, float] = {}
    passes: dict[str, float] = {}
    for context in contexts:
        trial = context.trial
        if trial.label in seconds:
            continue
        stored = _stands_still(trial)
        shape = context.front_end.shape(context.corpus.seconds)[1 if trial.protocol.get("segments") else 0 :]
        flops = cost.flops_per_clip(context.outline.network, trial.arm.trainable, shape)
        if stored:  # the arms of a network share one pass, as long as the longest of them
            one_pass = flops[0] * len(context.corpus.clips) / rate.flops
            passes[trial.arm.network] = max(one_pass, passes.get(trial.arm.network, 0.0))
        seconds[trial.label] = cost.training_seconds(
            flops,
            trial.arm.parameters,
            train_clips=len(context.split.rows["train"]),
            evaluation_clips=len(context.split.rows["valid"]),
            epochs=trial.protocol["epochs"],
            batch_size=trial.protocol["batch_size"],
            stored_prefix=stored,
            rate=rate,
        )
    seeds = {context.trial.seed for context in contexts}
    return Expected(seconds, {"frozen layers, once per clip": sum(passes.values()) * len(seeds)})


def prepare(contexts: Sequence[Context], *, jobs: int) -> None:
    """Compute what several trials share: features, and the frozen parts of networks, each network's in one pass.

    A trial that shares its frozen part with no other runs it when it is trained.

    Parameters
    ----------
    contexts
        Of trials of one study that are not finished yet.
    jobs
        Number of processes.

    Raises
    ------
    RepriseError
        Audio cannot be used, weights are absent, too little space.
    """
    groups: dict[tuple, list[Context]] = {}
    firsts = {c.trial.label: c for c in contexts}.values()
    for context in {(c.trial.arm.network, str(c.trial.protocol["weights"])): c for c in firsts}.values():
        context.check_weights()
    for context in firsts:
        context.features(context.front_end, jobs=jobs)
    for context in contexts:
        trial, front_end = context.trial, context.front_end
        if _stands_still(trial) and _frozen_names(context):
            inputs = (trial.corpus, trial.protocol["split"], front_end.name, str(front_end.parameters))
            groups.setdefault((trial.arm.network, trial.seed, str(trial.protocol["weights"]), *inputs), []).append(
                context
            )
    shared = [group for group in groups.values() if len(group) > 1]
    if shared:
        total = sum(len(group[0].corpus.clips) for group in shared)
        with progress() as bar:
            task = bar.add_task("frozen layers, once per clip", total=total)
            in_workers(_store_backbones, shared, jobs, lambda clips: bar.advance(task, clips))
            bar.update(task, completed=total)


def _store_backbones(contexts: Sequence[Context], report: Callable[[int], None]) -> None:
    store_backbones(contexts, on_clips=report)


#: What a trained network, on its device, says of the clips: from the trial's context and a function that gives the
#: probabilities of some rows to predictions by part.
Predict = Callable[[Context, Callable[[np.ndarray], np.ndarray]], Mapping[str, records.Predictions]]


def predict_parts(
    context: Context, probabilities: Callable[[np.ndarray], np.ndarray]
) -> dict[str, records.Predictions]:
    """Predictions on the validation and the test part, row by row."""
    return {part: context.predictions(context.rows[part], probabilities(context.rows[part])) for part in records.PARTS}


def train(contexts: Sequence[Context], on_epoch: OnEpoch, *, predict: Predict = predict_parts) -> Iterator[Trained]:
    """Train arms, or go on training them, one after another.

    Parameters
    ----------
    contexts
        Of trials that are not finished yet.
    on_epoch
        See `OnEpoch`.
    predict
        What is predicted in the end.

    Yields
    ------
    Trained
        Of each trial, in their order.

    Raises
    ------
    RepriseError
        The loss is not finite, a file cannot be written, weights are absent.
    """
    for context in contexts:
        yield _train(context, partial(on_epoch, context.trial), predict)


def _train(context: Context, on_epoch: Callable[[dict[str, Any]], None], predict: Predict) -> Trained:
    trial, spec, device = context.trial, context.spec, torch.device(context.trial.device)
    network = spec.network
    backbone = frozen_backbone(context)
    if backbone is not None:
        if not backbone.folder.exists():
            store_backbones([context], on_clips=_told(on_epoch, len(context.corpus.clips)))
        array, statistics = frozen.read_activations(backbone.folder)
        network.load_state_dict(statistics, strict=False)
        forward = frozen.after(network, backbone.cut)
    else:
        array, forward = context.store.array, network
    context.clock.lap("prepare")

    network.to(device, memory_format=torch.channels_last)
    optimizer = spec.optimizer(network)
    examples = loop.Examples(on_device(array, device), context.corpus.labels, context.corpus.mask)
    fit = loop.fit(
        network,
        forward,
        examples,
        context.rows,
        loss=spec.loss,
        scores=history_scores(trial),
        optimizer=optimizer,
        scheduler=spec.scheduler(optimizer) if spec.scheduler else None,
        epochs=trial.protocol["epochs"],
        patience=trial.protocol.get("patience"),
        batch_size=trial.protocol["batch_size"],
        seed=trial.seed,
        folder=trial.folder,
        name=trial.label,
        keep=spec.keep,
        activation=spec.activation,
        score_training=spec.score_training,
        frozen_statistics=frozen_stages(network) if _stands_still(trial) else (),
        bf16=trial.bf16,
        on_epoch=on_epoch,
    )
    context.clock.lap("train", at_least=sum(entry["seconds"] for entry in fit.history))

    def probabilities(rows: np.ndarray) -> np.ndarray:
        return loop.predict(network, forward, examples, rows, activation=spec.activation, bf16=trial.bf16)[1]

    return Trained(
        predict=partial(predict, context, probabilities),
        model=network.eval,
        rows=context.rows,
        weights=context.weights,
        parameters={"trainable": trainable_parameters(network), "total": count_parameters(network)},
        best_epoch=fit.best_epoch,
        epochs=len(fit.history),
        inputs={"features": dict(context.store.manifest), "left_out": dict(context.store.bad)},
        details={"frozen_prefix": backbone.cut if backbone else None},
        files=records.LEARNT,
    )


def _told(on_epoch: Callable[[dict[str, Any]], None], clips: int) -> Callable[[int], None]:
    """Reports of a long pass, every few seconds."""
    done, said = 0, time.monotonic()

    def tell(more: int) -> None:
        nonlocal done, said
        done += more
        if time.monotonic() - said >= REPORT_EVERY:
            said = time.monotonic()
            on_epoch({"clips": done, "of": clips})

    return tell


def history_scores(trial: Trial) -> loop.Scores:
    """What a trial reports after every epoch, by its study's metrics.

    Parameters
    ----------
    trial
        Which.

    Returns
    -------
    callable
        For `harness.training.loop.fit`. The study's ``history`` may name scores of the training part as
        ``train_...``; those the loop takes itself.
    """
    names = [name for name in trial.study.history if not name.startswith("train_")]
    evaluate, threshold = records.TASKS[trial.study.task].evaluate, trial.protocol.get("threshold", 0.5)

    def scores(labels: np.ndarray, probabilities: np.ndarray, mask: np.ndarray) -> dict[str, float | None]:
        values = evaluate(labels, probabilities, mask, threshold=threshold)
        return {name: values[name] for name in names}

    return scores


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


def restored(record: records.Record, study: Study, opened: Opened | None = None) -> Context:
    """The context of a finished trial, its network rebuilt with its best weights, on the CPU, in evaluation mode.

    Parameters
    ----------
    record
        Of the trial.
    study
        The study it belongs to.
    opened
        What this process has opened.

    Returns
    -------
    Context
        ``context.spec.network`` is the trained network.
    """
    context = context_of(record, study, opened)
    loop.load_learned(context.spec.network, loop.read_learned(record.folder / "best.safetensors"))
    context.spec.network.eval()
    return context


def on_device(array: np.ndarray, device: torch.device) -> np.ndarray | torch.Tensor:
    """Move inputs to a GPU that has room for them and as much again.

    Parameters
    ----------
    array : ndarray (n, ...)
        Inputs of all clips; may be memory-mapped.
    device
        Where the network is.

    Returns
    -------
    Tensor or ndarray
        On the device, in float32; the array as it is where that is no GPU or has no room.
    """
    if device.type != "cuda" or 2 * array.nbytes > torch.cuda.mem_get_info(device)[0]:
        return array
    moved = torch.empty(array.shape, dtype=torch.float32, device=device)
    for start in range(0, len(array), 256):
        moved[start : start + 256] = torch.from_numpy(np.array(array[start : start + 256]))
    return moved
