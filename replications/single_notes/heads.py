"""The classifier behind the frozen base: trained in the span of its training notes, put back into the whole network."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from harness import features
from harness.corpora import Corpus, Split
from harness.errors import RepriseError
from harness.features import Store
from harness.models import count_parameters
from harness.models.inception_resnet import head
from harness.studies import networks, records
from harness.studies.context import Context, context_of, predictions_of
from harness.studies.study import Arm, Study
from harness.studies.trial import Trained
from harness.training import loop
from harness.training.losses import cross_entropy
from replications.single_notes import base
from replications.single_notes.dual import in_dual, materialise
from replications.single_notes.optimizers import KerasSGD, szegedy

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


def test_corpus(context: Context) -> Corpus | None:
    """The corpus that a trial is tested on, where that is not the one it is trained on.

    Raises
    ------
    RepriseError
        It is the same, or its classes are others.
    """
    trial, name = context.trial, context.trial.protocol["test_corpus"]
    if not name:
        return None
    if name == trial.corpus:
        raise RepriseError(
            f"the condition {trial.condition.name} tests on {name}, which {trial.label} is trained on; "
            "train on another with --corpus, or choose another condition"
        )
    other = context.opened.corpus(name)
    if other.classes != context.corpus.classes:
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


def train(context: Context, on_epoch: Callable[[dict[str, Any]], None]) -> Trained:
    """Train a classifier behind the frozen base, or go on training it.

    Parameters
    ----------
    context
        Of a trial of an arm whose base is frozen.
    on_epoch
        Called after every epoch with its entry of the history.

    Returns
    -------
    Trained
        ``best.safetensors`` holds what was learnt as coefficients of the training notes, which are a tenth of the
        weights; `restore` gives the whole network.
    """
    trial, corpus, other = context.trial, context.corpus, test_corpus(context)
    protocol, device = settings(trial.arm, trial.protocol), torch.device(trial.device)
    store = context.features(features.front_end(**protocol["front_end"]))
    rows = context.usable(store.ok)
    used = base.of_context(context)
    numbers = base.read(used)
    layers = build_head(trial.arm, protocol, len(corpus.classes), trial.seed)
    dual = in_dual(layers, numbers.array, rows["train"]).to(device)
    context.clock.lap("prepare")

    optimizer, schedule = make_optimizer(dual, protocol), make_schedule(protocol)
    examples = loop.Examples(np.arange(len(corpus.clips)), corpus.labels, corpus.mask)
    fit = loop.fit(
        dual,
        dual,
        examples,
        rows,
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
    context.clock.lap("train", at_least=sum(entry["seconds"] for entry in fit.history))

    @cache
    def learnt() -> nn.Sequential:
        materialise(dual, layers)
        return layers.to(device)

    def predict() -> dict[str, records.Predictions]:
        predictions = {
            part: context.predictions(rows[part], loop.predict(dual, dual, examples, rows[part], activation=softmax)[1])
            for part in records.PARTS
            if part != "test" or other is None
        }
        if other is not None:
            theirs = base.of_context(context, other.name)
            usable = np.flatnonzero(theirs.pictures(other.name).ok)
            of_others = loop.Examples(base.read(theirs).array, other.labels, other.mask)
            probabilities = loop.predict(learnt(), learnt(), of_others, usable, activation=softmax)[1]
            predictions["test"] = predictions_of(other, usable, probabilities)
        return predictions

    learning = count_parameters(layers)
    return Trained(
        predict=predict,
        model=lambda: _whole(trial.arm, protocol, used, learnt()).to(device),
        rows=rows,
        weights=numbers.manifest["weights"],
        parameters={"trainable": learning, "total": learning + numbers.manifest["parameters"]},
        best_epoch=fit.best_epoch,
        epochs=len(fit.history),
        inputs={"features": dict(store.manifest), "base": dict(numbers.manifest), "left_out": dict(store.bad)},
        details={"frozen_prefix": base.CUT, "settings": dict(trial.arm.options), "device": trial.device},
        split=without_test(context.split) if other is not None else None,
        files=records.LEARNT,
    )


def _whole(arm: Arm, protocol: Mapping[str, Any], used: base.Base, layers: nn.Sequential) -> nn.Sequential:
    """The whole network, pictures to logits, in evaluation mode; its head are these layers, trained."""
    network, _ = base.build(protocol, layers[-1].out_features, arm.options["hidden"], protocol["dropout"])
    base.load_statistics(network, used)
    network.head = layers
    return network.eval()


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
    context = context_of(record, study)
    arm, protocol = context.trial.arm, settings(context.trial.arm, context.trial.protocol)
    if arm.trainable != ("head",):
        context = networks.restored(record, study)
        return context.spec.network, context.store
    device = record.data["device"] if torch.cuda.is_available() else "cpu"  # whose numbers the coefficients belong to
    used = dataclasses.replace(base.of_context(context), device=device)
    pictures = used.pictures(used.corpus)
    layers = build_head(arm, protocol, len(context.corpus.classes), record.seed)
    dual = in_dual(layers, base.read(used).array, context.usable(pictures.ok)["train"])
    loop.load_learned(dual, loop.read_learned(record.folder / "best.safetensors"))
    materialise(dual, layers)
    return _whole(arm, protocol, used, layers), pictures
