"""What must be code in the attention study: pre-trainings first, then the attention model on what they give."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.models import trainable_parameters
from harness.studies import cost
from harness.studies.context import Context
from harness.studies.networks import OnEpoch, on_device
from harness.studies.records import LEARNT, PARTS, Predictions, Record
from harness.studies.study import Study
from harness.studies.trial import Expected, Trained
from harness.studies.work import Report, in_workers
from harness.terminal import progress
from replications.attention_embeddings import (
    attention_over_time,
    controls,
    pretraining,
    representations,
    side_by_side,
)
from replications.attention_embeddings.arms import build, one_seed
from replications.attention_embeddings.attention_over_time import measure
from replications.attention_embeddings.figures import figures, tables
from replications.attention_embeddings.representations import Representation, open_representation

__all__ = ["expected", "explain", "figures", "measure", "prepare", "tables", "train"]

#: Seconds per clip that growing the forests takes on one thread (measured at 600 and at 20,000 clips).
FOREST_SECONDS = 0.004


def expected(contexts: Sequence[Context]) -> Expected:
    """How long trials take on one thread, and the pre-trainings and embeddings that they need.

    Parameters
    ----------
    contexts
        Of trials of this study that are not finished yet.

    Returns
    -------
    Expected
        At most; pre-trainings may stop early.
    """
    rate = cost.measure_rate(torch.device(contexts[0].trial.device))
    seconds: dict[str, float] = {}
    for context in contexts:
        t = context.trial
        if t.label in seconds:
            continue
        sizes = {part: len(rows) for part, rows in context.split.rows.items()}
        if t.arm.network == "rf":
            seconds[t.label] = FOREST_SECONDS * (sizes["train"] + sizes["valid"])
            continue
        frames = 960 // t.protocol["log_mel_pool"] if t.arm.options["representation"] == "log_mel" else 10
        flops = 2 * t.arm.parameters * (1 if t.arm.network == "fc" else frames)
        seconds[t.label] = cost.training_seconds(
            (0, flops),
            t.arm.parameters,
            train_clips=sizes["train"],
            evaluation_clips=sizes["valid"],
            epochs=t.protocol["epochs"],
            batch_size=t.protocol["batch_size"],
            stored_prefix=False,
            rate=rate,
        )
    shared: dict[str, float] = {}
    for objective, settings, context in _pretrainings(contexts):
        seed = context.trial.protocol["pretraining_seed"]
        if pretraining.finished(objective, settings, seed=seed, opened=context.opened):
            continue
        examples = pretraining.example_counts(objective, settings, opened=context.opened)
        shared[f"pre-training {objective} on {settings['corpus']}"] = cost.training_seconds(
            (0, pretraining.flops_per_example(settings["width"])),
            0,
            train_clips=examples["train"],
            evaluation_clips=examples["valid"],
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            stored_prefix=False,
            rate=rate,
        )
    return Expected(seconds, shared)


def prepare(contexts: Sequence[Context], *, jobs: int) -> None:
    """Run the pre-trainings that trials need, and what they give for every clip.

    Parameters
    ----------
    contexts
        Of trials of this study that are not finished yet.
    jobs
        Number of processes.

    Raises
    ------
    RepriseError
        A corpus or weights are not here, audio cannot be used, or a loss is not finite.
    """
    needed = _pretrainings(contexts)
    for objective, settings, context in needed:  # features with all cores, before each pre-training gets one
        pretraining.prepare(objective, settings, jobs=jobs, opened=context.opened)
    for context in contexts:
        t = context.trial
        if representations.needs_audio(t.arm.options["representation"], t.protocol):
            context.features(representations.front_end(t.protocol), jobs=jobs)
    if needed:
        with progress() as bar:
            task = bar.add_task("pre-trainings", total=len(needed))

            def show(message: tuple[str, dict[str, Any] | None]) -> None:
                objective, entry = message
                if entry is None:
                    bar.advance(task)
                    return
                losses = f"loss {entry['train_loss']:.4f}, valid {entry['valid_loss']:.4f}"
                line = f"{'pre-training ' + objective:27} {entry['epoch']:>3}  {losses}  {entry['seconds']:.0f} s"
                bar.console.print(line, highlight=False, soft_wrap=True)

            in_workers(_pretrain, needed, jobs, show)
    # One trial for each store; a trial's own inputs say which store that is.
    embedded = {
        str(_inputs_key(context)): context
        for context in contexts
        if representations.needs_embeddings(context.trial.arm.options["representation"], context.trial.protocol)
    }
    if embedded:
        total = sum(len(context.corpus.clips) for context in embedded.values())
        with progress() as bar:
            task = bar.add_task("embeddings, once per clip", total=total)
            in_workers(_embed, list(embedded.values()), jobs, lambda rows: bar.advance(task, rows))
            bar.update(task, completed=total)


def _pretrainings(contexts: Sequence[Context]) -> list[tuple[str, dict[str, Any], Context]]:
    """The pre-trainings that trials need: objective, settings, and the context of one of the trials that do."""
    found: dict[str, tuple[str, dict[str, Any], Context]] = {}
    for context in contexts:
        protocol = context.trial.protocol
        objective = representations.objective_of(context.trial.arm.options["representation"], protocol)
        if objective is not None:
            settings = representations.settings_of(objective, protocol)
            found.setdefault(f"{objective} {settings} {protocol['pretraining_seed']}", (objective, settings, context))
    return list(found.values())


def _inputs_key(context: Context) -> list[Any]:
    """What a trial's embeddings depend on."""
    t = context.trial
    name = t.arm.options["representation"]
    name = "aed" if name == "codes" else name  # the codes are made of them
    keys = ("weights", "front_end", "pretraining", "pretraining_seed")
    return [name, t.corpus, *(t.protocol[key] for key in keys)]


def _pretrain(needed: tuple[str, dict[str, Any], Context], report: Report) -> None:
    objective, settings, context = needed
    pretraining.run(
        objective,
        settings,
        seed=context.trial.protocol["pretraining_seed"],
        device=context.trial.device,
        bf16=context.trial.bf16,
        on_epoch=lambda entry: report((objective, entry)),
        opened=context.opened,
    )
    report((objective, None))


def _embed(context: Context, report: Report) -> None:
    embeddings = representations.find_embeddings(context.trial.arm.options["representation"], context)
    representations.store_embeddings(embeddings, on_rows=report)


def train(contexts: Sequence[Context], on_epoch: OnEpoch) -> Iterator[Trained]:
    """Train an arm with one or more seeds side by side, or go on training it.

    Parameters
    ----------
    contexts
        Of trials of one arm and condition; they differ by their seeds.
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
    context, trials = contexts[0], [c.trial for c in contexts]
    first, corpus = trials[0], context.corpus
    inputs = open_representation(context)
    context.clock.lap("prepare")
    if first.arm.network == "rf":
        yield from _grow(contexts, inputs)
        return
    device = torch.device(first.device)
    network = build(
        first.arm,
        first.protocol,
        [t.seed for t in trials],
        frames=inputs.array.shape[1],
        frame_size=inputs.array.shape[2],
        classes=len(corpus.classes),
    ).to(device)
    optimizer = torch.optim.Adam(
        network.parameters(),
        lr=first.protocol["learning_rate"],
        weight_decay=first.protocol["weight_decay"],
        fused=True,
    )
    array = on_device(inputs.array, device)
    fits = side_by_side.fit(
        network,
        array,
        corpus.labels,
        corpus.mask,
        inputs.rows,
        seeds=[t.seed for t in trials],
        optimizer=optimizer,
        epochs=first.protocol["epochs"],
        batch_size=first.protocol["batch_size"],
        threshold=first.protocol["threshold"],
        folders=[t.folder for t in trials],
        names=[t.label for t in trials],
        on_epoch=lambda index, entry: on_epoch(trials[index], entry),
    )
    context.clock.lap("train", at_least=sum(entry["seconds"] for entry in fits[0].history))

    @cache
    def probabilities(part: str) -> np.ndarray:
        """Of all seeds."""
        return side_by_side.predict(network, array, inputs.rows[part])

    def predict(index: int) -> dict[str, Predictions]:
        return {part: context.predictions(inputs.rows[part], probabilities(part)[index]) for part in PARTS}

    count = trainable_parameters(network) // len(trials)
    for index, fit in enumerate(fits):
        yield Trained(
            predict=partial(predict, index),
            model=partial(one_seed, network, index, first, inputs),
            rows=inputs.rows,
            weights=inputs.weights,
            parameters={"trainable": count, "total": count},
            best_epoch=fit.best_epoch,
            epochs=len(fit.history),
            inputs={"representation": inputs.description, "left_out": dict(inputs.left_out)},
            details={"seeds_side_by_side": len(trials)},
            files=LEARNT,
        )


def _grow(contexts: Sequence[Context], inputs: Representation) -> Iterator[Trained]:
    """The data set's baseline: for the test part it learns from train and valid, which are one part there."""
    codes = np.rint(inputs.array * 255).astype(np.uint8)
    train, valid, test = (inputs.rows[part] for part in ("train", "valid", "test"))
    whole = np.sort(np.concatenate([train, valid]))

    def predict(context: Context) -> dict[str, Predictions]:
        labels, mask, seed = context.corpus.labels, context.corpus.mask, context.trial.seed
        return {
            part: context.predictions(rows, controls.random_forest(codes, labels, mask, learn, rows, seed=seed))
            for part, learn, rows in (("valid", train, valid), ("test", whole, test))
        }

    for context in contexts:
        yield Trained(
            predict=partial(predict, context),
            rows=inputs.rows,
            weights=inputs.weights,
            inputs={"representation": inputs.description, "left_out": dict(inputs.left_out)},
        )


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> dict[str, Any]:
    """Draw where the attention of the best arm lies; see `attention_over_time.explain`."""
    return attention_over_time.explain(study, records, folder)
