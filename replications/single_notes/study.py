"""What must be code in the single-notes study: which kind of arm is prepared, estimated and played by what."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from harness import corpora, features
from harness.corpora import Corpus
from harness.errors import RepriseError
from harness.models import freeze, inception_resnet_v2, trainable_parameters
from harness.models.inception_resnet import head
from harness.studies import cost, networks
from harness.studies.networks import Blueprint
from harness.studies.records import Record
from harness.studies.study import Arm, Study
from harness.studies.trial import Expected, Outcome, Trial, draw_split, load_corpus
from harness.training.losses import cross_entropy
from replications.single_notes import base, heads, references
from replications.single_notes.explanations import explain
from replications.single_notes.figures import figures, tables

__all__ = ["build", "expected", "explain", "figures", "play", "prepare", "restore", "tables"]


def kind_of(trial: Trial) -> str:
    """How an arm is trained.

    Parameters
    ----------
    trial
        One of its trials.

    Returns
    -------
    str
        ``"reference"``, ``"head"`` (the base is frozen) or ``"unfrozen"``.
    """
    if trial.arm.network in references.SECONDS:
        return "reference"
    return "head" if trial.arm.trainable == ("head",) else "unfrozen"


def build(arm: Arm, corpus: Corpus, protocol: Mapping[str, Any]) -> Blueprint:
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
    Blueprint
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
    return Blueprint(
        network=network,
        front_end=features.front_end(**settings["front_end"]),
        optimizer=partial(heads.make_optimizer, protocol=settings),
        scheduler=heads.make_schedule(settings),
        loss=cross_entropy,
        activation=heads.softmax,
        keep=settings["keep"],
        score_training=True,
    )


def _for_networks(trial: Trial) -> Trial:
    """A trial of an unfrozen arm as `harness.studies.networks` takes it."""
    own = {"batch_size": trial.arm.options["batch_size"], "patience": None, "head_seed": trial.seed}
    return dataclasses.replace(trial, protocol={**trial.protocol, **own})


def expected(trials: Sequence[Trial]) -> Expected:
    """How long trials take on one thread, and the base's pass over the notes.

    Parameters
    ----------
    trials
        Of this study, not finished yet.

    Returns
    -------
    Expected
        Set-ups are trained in the span of their training notes, which is what is counted.
    """
    rate = cost.measure_rate(torch.device(trials[0].device))
    seconds: dict[str, float] = {}
    for t in trials:
        if t.label in seconds or kind_of(t) == "unfrozen":
            continue
        if kind_of(t) == "reference":
            seconds[t.label] = references.SECONDS[t.arm.network]
            continue
        sizes = {part: len(rows) for part, rows in draw_split(t, load_corpus(t)).rows.items()}
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
    for used in {str(b): b for b in _bases(trials)}.values():
        if not used.finished():
            notes = len(corpora.load(used.corpus).clips)
            notes += used.protocol["statistics_notes"] if used.statistics_folder else 0
            with torch.device("meta"):
                network = inception_resnet_v2(7)
            flops = cost.flops_per_clip(
                network, ("head",), features.front_end(**used.protocol["front_end"]).shape(None)
            )
            name = f"the base over {used.corpus}, once"
            shared[name] = shared.get(name, 0.0) + notes * flops[0] / rate.flops
    if unfrozen := [_for_networks(t) for t in trials if kind_of(t) == "unfrozen"]:
        theirs = networks.expected(unfrozen)
        seconds |= theirs.trials
        shared |= theirs.shared
    return Expected(seconds, shared)


def _bases(trials: Sequence[Trial]) -> list[base.Base]:
    """What trials need of the frozen base: on their own corpus, and on the one they are tested on."""
    found = []
    for t in trials:
        if kind_of(t) == "head":
            found.append(base.of_trial(t))
            if t.protocol["test_corpus"]:
                found.append(base.of_trial(t, t.protocol["test_corpus"]))
    return found


def prepare(trials: Sequence[Trial], *, jobs: int) -> None:
    """Compute what trials share: spectrograms, and what the frozen base gives for every note.

    Parameters
    ----------
    trials
        Of this study, not finished yet.
    jobs
        Number of processes.

    Raises
    ------
    RepriseError
        A corpus or weights are not here, audio cannot be used, or a trial would be tested on what it is trained on.
    """
    for t in {t.label: t for t in trials}.values():
        other = heads.test_corpus(t)
        if kind_of(t) == "reference":
            for corpus in (load_corpus(t), other):
                if corpus is not None:
                    references.open_log_mel(t, corpus, jobs=jobs)
    base.prepare(_bases(trials), jobs=jobs)
    if unfrozen := [_for_networks(t) for t in trials if kind_of(t) == "unfrozen"]:
        networks.prepare(unfrozen, jobs=jobs)


def play(trials: Sequence[Trial], on_epoch: Callable[[Trial, dict[str, Any]], None]) -> Iterator[tuple[Trial, Outcome]]:
    """Train arms, or go on training them, one after another.

    Parameters
    ----------
    trials
        Not finished yet.
    on_epoch
        Called after every epoch with its entry of the history.

    Yields
    ------
    trial : Trial
        One of them.
    outcome : Outcome
        What came of it.

    Raises
    ------
    RepriseError
        The loss is not finite, a file cannot be written, inputs are absent.
    """
    for trial in trials:
        kind, say = kind_of(trial), partial(on_epoch, trial)
        if kind == "reference":
            yield trial, references.play(trial)
        elif kind == "head":
            yield trial, heads.play(trial, say)
        else:
            for _, outcome in networks.play([_for_networks(trial)], lambda _, entry, say=say: say(entry)):
                details = {**outcome.details, "settings": dict(trial.arm.options), "device": trial.device}
                yield trial, dataclasses.replace(outcome, details=details)


def restore(record: Record, study: Study) -> tuple[Blueprint, Trial]:
    """Rebuild a finished trial's whole network, on the CPU, in evaluation mode.

    Parameters
    ----------
    record
        Of the trial.
    study
        This study.

    Returns
    -------
    blueprint : Blueprint
        With the trained network.
    trial : Trial
        The trial.

    Raises
    ------
    RepriseError
        The arm is a reference and no network.
    """
    trial = networks.trial_of(record, study)
    kind = kind_of(trial)
    if kind == "reference":
        raise RepriseError(f"{trial.arm.name} is no network, so it has no filter maps; choose another arm")
    if kind == "unfrozen":
        return networks.restore(record, study)
    network, _ = heads.restore(record, study)
    blueprint = build(trial.arm, load_corpus(trial), trial.protocol)
    return dataclasses.replace(blueprint, network=network), trial
