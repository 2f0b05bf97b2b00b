"""What must be code in the single-notes study: which kind of arm is prepared, estimated and trained by what."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from harness import features
from harness.corpora import Corpus
from harness.errors import RepriseError
from harness.models import freeze, inception_resnet_v2, trainable_parameters
from harness.models.inception_resnet import head
from harness.studies import cost, networks
from harness.studies.context import Context, context_of
from harness.studies.networks import ModelSpec
from harness.studies.records import Record
from harness.studies.study import Arm, Study
from harness.studies.trial import Expected, Trained, Trial
from harness.training.losses import cross_entropy
from replications.single_notes import base, heads, references
from replications.single_notes.clips import clips
from replications.single_notes.explanations import explain
from replications.single_notes.figures import figures, tables

__all__ = ["build", "clips", "expected", "explain", "figures", "prepare", "restore", "tables", "train"]


def kind_of(trial: Trial) -> str:
    """How its arm is trained: ``"reference"``, ``"head"`` (the base is frozen) or ``"unfrozen"``."""
    if trial.arm.network in references.SECONDS:
        return "reference"
    return "head" if trial.arm.trainable == ("head",) else "unfrozen"


def build(arm: Arm, corpus: Corpus, protocol: Mapping[str, Any]) -> ModelSpec:
    """Build an arm's whole network, for those whose base learns, too.

    Parameters
    ----------
    arm
        Which layers learn.
    corpus
        For its classes.
    protocol
        From `harness.studies.networks`: resolved settings; the arm's own come on top.

    Returns
    -------
    ModelSpec
        Network, front end, loss, optimiser and schedule.

    Raises
    ------
    RepriseError
        The arm has not the number of learning parameters that ``study.toml`` states.
    """
    settings, classes = heads.settings(arm, protocol), len(corpus.classes)
    network = inception_resnet_v2(
        classes, hidden=settings["hidden"], dropout=settings["dropout"], pixels=settings["pixels"]
    )
    if "head_seed" in settings:  # a base that all seeds share, but not its head
        torch.manual_seed(settings["head_seed"])
        network.head = head(classes, settings["hidden"], settings["dropout"])
    freeze(network, arm.trainable)
    heads.check_parameters(arm, trainable_parameters(network), classes)
    return ModelSpec(
        network=network,
        front_end=features.front_end(**settings["front_end"]),
        optimizer=partial(heads.make_optimizer, protocol=settings),
        scheduler=heads.make_schedule(settings),
        loss=cross_entropy,
        activation=heads.softmax,
        keep=settings["keep"],
        score_training=True,
    )


def _for_networks(contexts: Sequence[Context]) -> list[Context]:
    """Contexts of the trials of unfrozen arms as `harness.studies.networks` takes them."""
    return [
        c.changed(batch_size=c.trial.arm.options["batch_size"], patience=None, head_seed=c.trial.seed)
        for c in contexts
        if kind_of(c.trial) == "unfrozen"
    ]


def expected(contexts: Sequence[Context]) -> Expected:
    """How long trials take on one thread, and the base's pass over the notes.

    Parameters
    ----------
    contexts
        Of trials of this study that are not finished yet.

    Returns
    -------
    Expected
        Set-ups are trained in the dual form, which is what is counted.
    """
    rate = cost.measure_rate(torch.device(contexts[0].trial.device))
    seconds: dict[str, float] = {}
    for context in contexts:
        t = context.trial
        if t.label in seconds or kind_of(t) == "unfrozen":
            continue
        if kind_of(t) == "reference":
            seconds[t.label] = references.SECONDS[t.arm.network]
            continue
        sizes = {part: len(rows) for part, rows in context.split.rows.items()}
        first, *hidden = t.arm.options["hidden"]
        dense = sum(a * b for a, b in zip([first, *hidden], [*hidden, 7], strict=True))
        seconds[t.label] = cost.training_seconds(
            (0, 2 * (sizes["train"] * first + dense)),
            sizes["train"] * first + dense,
            train_clips=sizes["train"],
            evaluation_clips=sizes["valid"],
            epochs=t.protocol["epochs"],
            batch_size=t.arm.options["batch_size"],
            stored_prefix=True,
            rate=rate,
        )
    shared: dict[str, float] = {}
    for used in {str(b): b for b in _bases(contexts)}.values():
        if not used.finished():
            notes = len(used.opened.corpus(used.corpus).clips)
            notes += used.protocol["statistics_notes"] if used.statistics_folder else 0
            with torch.device("meta"):
                network = inception_resnet_v2(7)
            flops = cost.flops_per_clip(
                network, ("head",), features.front_end(**used.protocol["front_end"]).shape(None)
            )
            name = f"the base over {used.corpus}, once"
            shared[name] = shared.get(name, 0.0) + notes * flops[0] / rate.flops
    if unfrozen := _for_networks(contexts):
        theirs = networks.expected(unfrozen)
        seconds |= theirs.trials
        shared |= theirs.shared
    return Expected(seconds, shared)


def _bases(contexts: Sequence[Context]) -> list[base.Base]:
    """What trials need of the frozen base: on their own corpus, and on the one they are tested on."""
    found = []
    for context in contexts:
        if kind_of(context.trial) == "head":
            found.append(base.of_context(context))
            if other := context.trial.protocol["test_corpus"]:
                found.append(base.of_context(context, other))
    return found


def prepare(contexts: Sequence[Context], *, jobs: int) -> None:
    """Compute what trials share: spectrograms, and what the frozen base gives for every note.

    Parameters
    ----------
    contexts
        Of trials of this study that are not finished yet.
    jobs
        Number of processes.

    Raises
    ------
    RepriseError
        A corpus or weights are not here, audio cannot be used, or a trial would be tested on what it is trained on.
    """
    for context in {c.trial.label: c for c in contexts}.values():
        other = heads.test_corpus(context)
        if kind_of(context.trial) == "reference":
            for corpus in (context.corpus, other):
                if corpus is not None:
                    references.open_log_mel(context, corpus, jobs=jobs)
    base.prepare(_bases(contexts), jobs=jobs)
    if unfrozen := _for_networks(contexts):
        networks.prepare(unfrozen, jobs=jobs)


def train(contexts: Sequence[Context], on_epoch: networks.OnEpoch) -> Iterator[Trained]:
    """Train arms, or go on training them, one after another.

    Parameters
    ----------
    contexts
        Of trials that are not finished yet.
    on_epoch
        Called after every epoch with the trial and the entry of its history.

    Yields
    ------
    Trained
        Of each trial, in their order.

    Raises
    ------
    RepriseError
        The loss is not finite, a file cannot be written, inputs are absent.
    """
    for context in contexts:
        trial, kind = context.trial, kind_of(context.trial)
        if kind == "reference":
            yield references.train(context)
        elif kind == "head":
            yield heads.train(context, partial(on_epoch, trial))
        else:
            for trained in networks.train(_for_networks([context]), on_epoch):
                details = {**trained.details, "settings": dict(trial.arm.options), "device": trial.device}
                yield dataclasses.replace(trained, details=details)


def restore(record: Record, study: Study) -> tuple[ModelSpec, Trial]:
    """Rebuild a finished trial's whole network, on the CPU, in evaluation mode.

    Parameters
    ----------
    record
        Of the trial.
    study
        This study.

    Returns
    -------
    spec : ModelSpec
        With the trained network.
    trial : Trial
        The trial.

    Raises
    ------
    RepriseError
        The arm is a reference and no network.
    """
    context = context_of(record, study)
    kind = kind_of(context.trial)
    if kind == "reference":
        raise RepriseError(f"{record.arm} is no network, so it has no filter maps; choose another arm")
    if kind == "unfrozen":
        context = networks.restored(record, study)
        return context.spec, context.trial
    network, _ = heads.restore(record, study)
    return dataclasses.replace(context.outline, network=network), context.trial
