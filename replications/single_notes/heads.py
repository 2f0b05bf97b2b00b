"""The classifier behind the frozen base: trained in the span of its training notes, put back into the whole network."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import corpora, features
from harness.corpora import Corpus, Split
from harness.errors import RepriseError
from harness.features import Store
from harness.models import count_parameters
from harness.models.inception_resnet import head
from harness.models.span import in_span, materialise
from harness.studies import networks, records
from harness.studies.study import Arm, Study
from harness.studies.trial import Clock, Outcome, Trial, load_corpus, predictions_of
from harness.training import loop
from harness.training.losses import cross_entropy
from harness.training.optimizers import KerasSGD, szegedy
from replications.single_notes import base

softmax = partial(torch.softmax, dim=-1)


def settings(arm: Arm, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol with what an arm has of its own: hidden layers, look-ahead, batch size.

    Parameters
    ----------
    arm
        One of the networks.
    protocol
        Resolved settings.

    Returns
    -------
    dict
        Every setting.
    """
    return {**protocol, **arm.options}


def make_optimizer(network: nn.Module, protocol: Mapping[str, Any]) -> KerasSGD:
    """Keras' SGD over what learns (section 6).

    Parameters
    ----------
    network
        Its learning parameters chosen.
    protocol
        From `settings`.

    Returns
    -------
    KerasSGD
        With momentum, and look-ahead where the set-up has it.
    """
    return KerasSGD(
        [p for p in network.parameters() if p.requires_grad],
        protocol["learning_rate"],
        decay=protocol["decay"],
        momentum=protocol["momentum"],
        nesterov=protocol["nesterov"],
    )


def make_schedule(protocol: Mapping[str, Any]) -> Callable[[torch.optim.Optimizer], Any] | None:
    """What changes the rate from epoch to epoch, beside the optimiser's own decay.

    Parameters
    ----------
    protocol
        Resolved settings.

    Returns
    -------
    callable or None
        Takes the optimiser; None where nothing does.

    Raises
    ------
    RepriseError
        There is no such schedule.
    """
    schedules = {"none": None, "szegedy": szegedy}
    if protocol["schedule"] not in schedules:
        raise RepriseError(f"the schedule is {' or '.join(schedules)}, not {protocol['schedule']!r}")
    return schedules[protocol["schedule"]]


def build_head(arm: Arm, protocol: Mapping[str, Any], classes: int, seed: int) -> nn.Sequential:
    """Build a set-up's dense layers with their starting weights.

    Parameters
    ----------
    arm, protocol
        Which, and its resolved settings.
    classes
        Number of outputs.
    seed
        The trial's: set-ups of the same layers start alike.

    Returns
    -------
    nn.Sequential
        Takes the base's numbers.

    Raises
    ------
    RepriseError
        It has not the number of parameters that ``study.toml`` states.
    """
    torch.manual_seed(seed)
    layers = head(classes, arm.options["hidden"], protocol["dropout"])
    check_parameters(arm, count_parameters(layers), classes)
    return layers


def check_parameters(arm: Arm, count: int, classes: int) -> None:
    """Make sure that an arm learns as many parameters as ``study.toml`` states.

    Parameters
    ----------
    arm
        Which.
    count
        How many it does.
    classes
        Number of outputs; with another than seven nothing is stated.

    Raises
    ------
    RepriseError
        It does not.
    """
    if classes == 7 and count != arm.parameters:
        raise RepriseError(
            f"{arm.name} has {count:,} learning parameters, not {arm.parameters:,}; correct its entry in study.toml"
        )


def test_corpus(trial: Trial) -> Corpus | None:
    """The corpus that a trial is tested on, where that is not the one it is trained on.

    Parameters
    ----------
    trial
        Which.

    Returns
    -------
    Corpus or None
        Read.

    Raises
    ------
    RepriseError
        It is the same, or its classes are others.
    """
    name = trial.protocol["test_corpus"]
    if not name:
        return None
    if name == trial.corpus:
        raise RepriseError(
            f"the condition {trial.condition.name} tests on {name}, which {trial.label} is trained on; "
            "train on another with --corpus, or choose another condition"
        )
    other, own = corpora.load(name), load_corpus(trial)
    if other.classes != own.classes:
        raise RepriseError(f"{name} has other classes than {trial.corpus}; test on a corpus of the same instruments")
    return other


def without_test(split: Split) -> Split:
    """A split whose test part nobody uses: it leaks nothing there.

    Parameters
    ----------
    split
        Of the corpus that is trained on.

    Returns
    -------
    Split
        Its counts are those of train and valid alone.
    """
    counts = {
        name: {pair: n for pair, n in value.items() if "test" not in pair} if isinstance(value, dict) else value
        for name, value in split.leakage.items()
    }
    return dataclasses.replace(split, leakage=counts)


def play(trial: Trial, on_epoch: Callable[[dict[str, Any]], None]) -> Outcome:
    """Train a classifier behind the frozen base, or go on training it.

    Parameters
    ----------
    trial
        Of an arm whose base is frozen.
    on_epoch
        Called after every epoch with its entry of the history.

    Returns
    -------
    Outcome
        ``best.safetensors`` holds what was learnt as coefficients of the training notes, which are a tenth of the
        weights; `restore` gives the whole network.
    """
    clock = Clock()
    protocol, device = settings(trial.arm, trial.protocol), torch.device(trial.device)
    corpus, other = load_corpus(trial), test_corpus(trial)
    inputs = networks.open_inputs(trial, features.front_end(**protocol["front_end"]), corpus)
    numbers = base.read(base.of_trial(trial))
    layers = build_head(trial.arm, protocol, len(corpus.classes), trial.seed)
    spanned = in_span(layers, numbers.array, inputs.rows["train"]).to(device)
    clock.lap("prepare")

    optimizer, schedule = make_optimizer(spanned, protocol), make_schedule(protocol)
    examples = loop.Examples(np.arange(len(corpus.clips)), corpus.labels, corpus.mask)
    fit = loop.fit(
        spanned,
        spanned,
        examples,
        inputs.rows,
        loss=cross_entropy,
        scores=networks.history_scores(trial),
        optimizer=optimizer,
        scheduler=schedule(optimizer) if schedule else None,
        epochs=protocol["epochs"],
        patience=None,
        batch_size=protocol["batch_size"],
        seed=trial.seed,
        folder=trial.folder,
        name=trial.label,
        keep=protocol["keep"],
        activation=softmax,
        score_training=True,
        bf16=trial.bf16,
        on_epoch=on_epoch,
    )
    clock.lap("train", at_least=sum(entry["seconds"] for entry in fit.history))

    rows, split = dict(inputs.rows), inputs.split
    predictions = {
        part: predictions_of(
            corpus, rows[part], loop.predict(spanned, spanned, examples, rows[part], activation=softmax)[1]
        )
        for part in records.PARTS
        if part != "test" or other is None
    }
    if other is not None:
        materialise(spanned, layers)
        theirs = base.of_trial(trial, other.name)
        rows["test"], split = np.flatnonzero(theirs.pictures(other.name).ok), without_test(split)
        of_others = loop.Examples(base.read(theirs).array, other.labels, other.mask)
        probabilities = loop.predict(layers, layers, of_others, rows["test"], activation=softmax)[1]
        predictions["test"] = predictions_of(other, rows["test"], probabilities)
    clock.lap("predict")
    learning = count_parameters(layers)
    return Outcome(
        split=split,
        rows=rows,
        predictions=predictions,
        weights=numbers.manifest["weights"],
        parameters={"trainable": learning, "total": learning + numbers.manifest["parameters"]},
        best_epoch=fit.best_epoch,
        epochs=len(fit.history),
        inputs={
            "features": dict(inputs.store.manifest),
            "base": dict(numbers.manifest),
            "left_out": dict(inputs.store.bad),
        },
        details={"frozen_prefix": base.CUT, "settings": dict(trial.arm.options), "device": trial.device},
        durations=clock.seconds,
    )


def restore(record: records.Record, study: Study) -> tuple[nn.Sequential, Store]:
    """Rebuild a finished trial's whole network, pictures to logits, on the CPU, in evaluation mode.

    Parameters
    ----------
    record
        Of a trial of an arm that is a network.
    study
        This study.

    Returns
    -------
    network : nn.Sequential
        With the weights that were kept; its stages are those of `harness.models.inception_resnet_v2`.
    pictures : Store
        What it takes, for every note of the corpus it was trained on.
    """
    data, arm = record.data, study.arm(record.arm)
    protocol, skip_bad = settings(arm, data["protocol"]), bool(data["inputs"]["left_out"])
    corpus = corpora.load(data["corpus"])
    if arm.trainable != ("head",):
        blueprint, _ = networks.restore(record, study)
        return blueprint.network, features.open_store(corpus, blueprint.front_end, skip_bad=skip_bad)
    device = data["device"] if torch.cuda.is_available() else "cpu"  # whose numbers the coefficients belong to
    used = base.Base(base.settings_of(protocol), corpus.name, corpus.name, device, skip_bad)
    pictures = used.pictures(corpus.name)
    rows = corpus.split(data["split"]["name"], data["split"]["seed"]).rows["train"]
    layers = build_head(arm, protocol, len(corpus.classes), record.seed)
    spanned = in_span(layers, base.read(used).array, rows[pictures.ok[rows]])
    loop.load_learned(spanned, loop.read_learned(record.folder / "best.safetensors"))
    materialise(spanned, layers)
    network, _ = base.build(protocol, len(corpus.classes), arm.options["hidden"], protocol["dropout"])
    base.load_statistics(network, used)
    network.head = layers
    return network.eval(), pictures
