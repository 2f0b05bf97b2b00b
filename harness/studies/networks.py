"""Arms that are networks on spectrograms: features, frozen layers run once per clip, and the fit of what learns.

A study whose arms are of this kind gives `build` and takes `prepare`, `expected` and `play` from here.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from harness.storage import cache_home, fingerprint
from harness.studies import cost, records
from harness.studies.study import Study
from harness.studies.trial import Clock, Expected, Outcome, Trial, draw_split, load_corpus, predictions_of
from harness.studies.work import in_workers
from harness.terminal import progress
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


def open_store(trial: Trial, front_end: FrontEnd, *, jobs: int | None = None) -> Store:
    """Features of a trial's corpus; builds what is missing.

    Parameters
    ----------
    trial
        Which.
    front_end
        The arm's.
    jobs
        Number of processes.

    Returns
    -------
    Store
        A row for each row of `harness.studies.trial.load_corpus`: for each segment where clips are cut into such.
    """
    store = features.open_store(corpora.load(trial.corpus), front_end, jobs=jobs, skip_bad=trial.skip_bad)
    if count := trial.protocol.get("segments"):
        array = store.array.reshape(-1, *store.array.shape[2:])
        store = dataclasses.replace(store, array=array, ok=store.ok.repeat(count))
    return store


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
    split = draw_split(trial, corpus)
    store = open_store(trial, front_end, jobs=jobs)
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
    torch.manual_seed(base_seed(trial))
    blueprint = trial.study.code.build(trial.arm, corpus, trial.protocol)
    source = trial.protocol["weights"]
    if isinstance(source, Mapping):
        if trial.arm.network not in source:
            raise RepriseError(
                f"{trial.study.folder / 'study.toml'} names no weights for {trial.arm.network}; "
                "add them to [protocol.weights]"
            )
        source = source[trial.arm.network]
    description = weights.load(blueprint.network, trial.arm.network, source)
    freeze(blueprint.network, trial.arm.trainable)
    return blueprint, description


def base_seed(trial: Trial) -> int:
    """Seed of a network's random weights: the trial's, or the protocol's ``base_seed`` where it has one.

    Parameters
    ----------
    trial
        Which.

    Returns
    -------
    int
        With a ``base_seed``, all seeds of an arm share the frozen part, as they would share published weights.
    """
    return trial.protocol.get("base_seed", trial.seed)


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
    if not names or trial.protocol.get("batch_norm") == "moving":
        return None
    weights_sha256 = _checksum(blueprint.network, names)
    key = fingerprint({**_prefix_key(trial, start, inputs), "cut": names[-1], "weights_sha256": weights_sha256})
    folder = cache_home() / "activations" / inputs.corpus.name / f"{trial.arm.network}-{names[-1]}-{key}"
    return Prefix(trial, names[-1], folder)


def _stands_still(trial: Trial) -> bool:
    """Whether statistics of frozen layers stand still, as they do unless the protocol says otherwise."""
    return trial.protocol.get("batch_norm", "fixed") == "fixed"


def _prefix_key(trial: Trial, start: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
    """What the activations of a network's frozen part depend on."""
    random = start["kind"] == "random"
    return {
        "network": trial.arm.network,
        "weights": {k: v for k, v in start.items() if k in ("kind", "sha256")},
        "seed": base_seed(trial) if random else None,
        "statistics": inputs.split.checksum if random else None,
        "features": inputs.store.manifest["array_sha256"],
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


def prepare(trials: Sequence[Trial], *, jobs: int) -> None:
    """Compute what several trials share: features, and the frozen parts of networks, each network's in one pass.

    Parameters
    ----------
    trials
        Of one study, not finished yet.
    jobs
        Number of processes.

    Raises
    ------
    RepriseError
        Audio cannot be used, weights are absent, too little space.
    """
    groups: dict[tuple, list[Trial]] = {}
    built: dict[str, FrontEnd] = {}
    for t in trials:
        if t.label not in built:
            corpus = load_corpus(t)
            with torch.device("meta"):  # the front end is wanted, not another set of random weights
                built[t.label] = t.study.code.build(t.arm, corpus, t.protocol).front_end
            open_store(t, built[t.label], jobs=jobs)
        if _stands_still(t):
            front_end = built[t.label]
            inputs = (t.corpus, t.protocol["split"], front_end.name, str(front_end.parameters))
            groups.setdefault((t.arm.network, t.seed, str(t.protocol["weights"]), *inputs), []).append(t)
    if not groups:
        return
    total = sum(len(load_corpus(group[0]).clips) for group in groups.values())
    with progress() as bar:
        task = bar.add_task("frozen layers, once per clip", total=total)
        in_workers(_store_prefixes, list(groups.values()), jobs, lambda rows: bar.advance(task, rows))
        bar.update(task, completed=total)


def _store_prefixes(trials: Sequence[Trial], report: Callable[[int], None]) -> None:
    store_prefixes(trials, on_rows=report)


def expected(trials: Sequence[Trial]) -> Expected:
    """How long trials take on one thread if none stops early.

    Parameters
    ----------
    trials
        Of one study, not finished yet.

    Returns
    -------
    Expected
        Each label's trial, and the pass through the frozen parts.
    """
    rate = cost.measure_rate(torch.device(trials[0].device))
    seconds: dict[str, float] = {}
    passes: dict[str, float] = {}
    for t in trials:
        if t.label in seconds:
            continue
        corpus = load_corpus(t)
        blueprint, _ = build(t, corpus)
        sizes = {part: len(rows) for part, rows in draw_split(t, corpus).rows.items()}
        stored = _stands_still(t)
        shape = blueprint.front_end.shape(corpus.seconds)[1 if t.protocol.get("segments") else 0 :]
        flops = cost.flops_per_clip(blueprint.network, t.arm.trainable, shape)
        if stored:  # the arms of a network share one pass, as long as the longest of them
            one_pass = flops[0] * len(corpus.clips) / rate.flops
            passes[t.arm.network] = max(one_pass, passes.get(t.arm.network, 0.0))
        seconds[t.label] = cost.training_seconds(
            flops,
            t.arm.parameters,
            train_clips=sizes["train"],
            evaluation_clips=sizes["valid"],
            epochs=t.protocol["epochs"],
            batch_size=t.protocol["batch_size"],
            stored_prefix=stored,
            rate=rate,
        )
    return Expected(seconds, {"frozen layers, once per clip": sum(passes.values()) * len({t.seed for t in trials})})


#: What a trial's trained network, on its device, says of the clips: trial, blueprint, inputs, and a function that gives
#: the probabilities of some rows -> predictions by part.
Predict = Callable[[Trial, Blueprint, Inputs, Callable[[np.ndarray], np.ndarray]], Mapping[str, records.Predictions]]


def predict_parts(
    trial: Trial, blueprint: Blueprint, inputs: Inputs, probabilities: Callable[[np.ndarray], np.ndarray]
) -> dict[str, records.Predictions]:
    """Predictions on the validation and the test part, row by row.

    Parameters
    ----------
    trial, blueprint
        Not used.
    inputs
        Gives the rows.
    probabilities
        Of some rows.

    Returns
    -------
    dict of str to Predictions
        By part.
    """
    return {
        part: predictions_of(inputs.corpus, inputs.rows[part], probabilities(inputs.rows[part]))
        for part in records.PARTS
    }


def play(
    trials: Sequence[Trial],
    on_epoch: Callable[[Trial, dict[str, Any]], None],
    *,
    predict: Predict = predict_parts,
) -> Iterator[tuple[Trial, Outcome]]:
    """Train arms, or go on training them, one after another.

    Parameters
    ----------
    trials
        Not finished yet.
    on_epoch
        Called after every epoch with its entry of the history.
    predict
        What is predicted in the end.

    Yields
    ------
    trial : Trial
        One of them.
    outcome : Outcome
        What came of it.

    Raises
    ------
    RepriseError
        The loss is not finite, a file cannot be written, weights are absent.
    """
    for trial in trials:
        yield trial, _play(trial, lambda entry, trial=trial: on_epoch(trial, entry), predict)


def _play(trial: Trial, on_epoch: Callable[[dict[str, Any]], None], predict: Predict) -> Outcome:
    device = torch.device(trial.device)
    clock = Clock()
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

    network.to(device, memory_format=torch.channels_last)
    optimizer = blueprint.optimizer(network)
    examples = loop.Examples(resident(array, device), corpus.labels, corpus.mask)
    fit = loop.fit(
        network,
        forward,
        examples,
        inputs.rows,
        loss=blueprint.loss,
        scores=history_scores(trial),
        optimizer=optimizer,
        scheduler=blueprint.scheduler(optimizer) if blueprint.scheduler else None,
        epochs=trial.protocol["epochs"],
        patience=trial.protocol.get("patience"),
        batch_size=trial.protocol["batch_size"],
        seed=trial.seed,
        folder=trial.folder,
        name=trial.label,
        keep=blueprint.keep,
        activation=blueprint.activation,
        score_training=blueprint.score_training,
        frozen_statistics=frozen_stages(network) if _stands_still(trial) else (),
        bf16=trial.bf16,
        on_epoch=on_epoch,
    )
    clock.lap("train", at_least=sum(entry["seconds"] for entry in fit.history))

    def probabilities(rows: np.ndarray) -> np.ndarray:
        return loop.predict(network, forward, examples, rows, activation=blueprint.activation, bf16=trial.bf16)[1]

    predictions = predict(trial, blueprint, inputs, probabilities)
    clock.lap("predict")
    return Outcome(
        split=inputs.split,
        rows=inputs.rows,
        predictions=predictions,
        weights=start,
        parameters={"trainable": trainable_parameters(network), "total": count_parameters(network)},
        best_epoch=fit.best_epoch,
        epochs=len(fit.history),
        inputs={"features": dict(inputs.store.manifest), "left_out": dict(inputs.store.bad)},
        details={"frozen_prefix": prefix.cut if prefix else None},
        durations=clock.seconds,
    )


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
    trial = trial_of(record, study)
    blueprint, _ = build(trial, load_corpus(trial))
    loop.load_learned(blueprint.network, loop.read_learned(record.folder / "best.safetensors"))
    blueprint.network.eval()
    return blueprint, trial


def trial_of(record: records.Record, study: Study) -> Trial:
    """The trial that left a record.

    Parameters
    ----------
    record
        Of the trial.
    study
        The study it belongs to.

    Returns
    -------
    Trial
        On the CPU, wherever it ran.
    """
    data = record.data
    return Trial(
        study=study,
        arm=study.arm(data["arm"]),
        condition=study.condition(data["condition"]),
        profile=data["profile"],
        seed=data["seed"],
        protocol=data["protocol"],
        folder=record.folder,
        skip_bad=bool(data["inputs"]["left_out"]),
    )


def resident(array: np.ndarray, device: torch.device) -> np.ndarray | torch.Tensor:
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
    resident = torch.empty(array.shape, dtype=torch.float32, device=device)
    for start in range(0, len(array), 256):
        resident[start : start + 256] = torch.from_numpy(np.array(array[start : start + 256]))
    return resident
