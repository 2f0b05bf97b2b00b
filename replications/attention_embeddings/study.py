"""What must be code in the attention study: pre-trainings first, then the attention model on what they give."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import corpora, features
from harness.corpora import Corpus, Split
from harness.errors import RepriseError
from harness.models import trainable_parameters
from harness.report import estimates
from harness.report.style import save
from harness.report.writers import Table
from harness.studies import cost
from harness.studies.networks import resident
from harness.studies.records import PARTS, Record
from harness.studies.study import Study
from harness.studies.trial import Clock, Expected, Outcome, Trial, load_corpus, predictions_of
from harness.studies.work import Report, in_workers
from harness.terminal import progress
from harness.training import batched
from replications.attention_embeddings import attention_over_time, controls, pretraining, representations
from replications.attention_embeddings.arms import build
from replications.attention_embeddings.figures import figures, tables
from replications.attention_embeddings.representations import Representation, open_representation

__all__ = ["expected", "explain", "figures", "play", "prepare", "tables"]

#: Seconds per clip that growing the forests takes on one thread (measured at 600 and at 20,000 clips).
FOREST_SECONDS = 0.004


def expected(trials: Sequence[Trial]) -> Expected:
    """How long trials take on one thread, and the pre-trainings and embeddings that they need.

    Parameters
    ----------
    trials
        Of this study, not finished yet.

    Returns
    -------
    Expected
        At most; pre-trainings may stop early.
    """
    rate = cost.measure_rate(torch.device(trials[0].device))
    seconds: dict[str, float] = {}
    for t in trials:
        if t.label in seconds:
            continue
        corpus = load_corpus(t)
        sizes = {part: len(rows) for part, rows in corpus.split(t.protocol["split"]).rows.items()}
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
    for objective, settings, t in _pretrainings(trials):
        if pretraining.finished(objective, settings, seed=t.protocol["pretraining_seed"]):
            continue
        examples = pretraining.example_counts(objective, settings)
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


def prepare(trials: Sequence[Trial], *, jobs: int) -> None:
    """Run the pre-trainings that trials need, and what they give for every clip.

    Parameters
    ----------
    trials
        Of this study, not finished yet.
    jobs
        Number of processes.

    Raises
    ------
    RepriseError
        A corpus or weights are not here, audio cannot be used, or a loss is not finite.
    """
    needed = _pretrainings(trials)
    for objective, settings, _ in needed:  # features with all cores, before each pre-training gets one
        pretraining.prepare(objective, settings, jobs=jobs)
    for t in trials:
        if representations.needs_audio(t.arm.options["representation"], t.protocol):
            front_end = representations.front_end(t.protocol)
            features.open_store(load_corpus(t), front_end, jobs=jobs, skip_bad=t.skip_bad)
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
    networks = [t for t in trials if representations.needs_embeddings(t.arm.options["representation"], t.protocol)]
    # One trial for each store; a trial's own inputs say which store that is.
    networks = list({str(_inputs_key(t)): t for t in networks}.values())
    if networks:
        total = sum(len(load_corpus(t).clips) for t in networks)
        with progress() as bar:
            task = bar.add_task("embeddings, once per clip", total=total)
            in_workers(_embed, networks, jobs, lambda rows: bar.advance(task, rows))
            bar.update(task, completed=total)


def _pretrainings(trials: Sequence[Trial]) -> list[tuple[str, dict[str, Any], Trial]]:
    """The pre-trainings that trials need: objective, settings, and one of the trials that do."""
    found: dict[str, tuple[str, dict[str, Any], Trial]] = {}
    for t in trials:
        objective = representations.objective_of(t.arm.options["representation"], t.protocol)
        if objective is not None:
            settings = representations.settings_of(objective, t.protocol)
            found.setdefault(f"{objective} {settings} {t.protocol['pretraining_seed']}", (objective, settings, t))
    return list(found.values())


def _inputs_key(t: Trial) -> list[Any]:
    """What a trial's embeddings depend on."""
    name = t.arm.options["representation"]
    name = "aed" if name == "codes" else name  # the codes are made of them
    keys = ("weights", "front_end", "pretraining", "pretraining_seed")
    return [name, t.corpus, *(t.protocol[key] for key in keys)]


def _pretrain(needed: tuple[str, dict[str, Any], Trial], report: Report) -> None:
    objective, settings, t = needed
    pretraining.run(
        objective,
        settings,
        seed=t.protocol["pretraining_seed"],
        device=t.device,
        bf16=t.bf16,
        on_epoch=lambda entry: report((objective, entry)),
    )
    report((objective, None))


def _embed(t: Trial, report: Report) -> None:
    corpus = load_corpus(t)
    store = features.open_store(corpus, representations.front_end(t.protocol), skip_bad=t.skip_bad)
    name = t.arm.options["representation"]
    embeddings = representations.find_embeddings(name, t.protocol, corpus, store, t.device)
    representations.store_embeddings(embeddings, on_rows=report)


def play(trials: Sequence[Trial], on_epoch: Callable[[Trial, dict[str, Any]], None]) -> Iterator[tuple[Trial, Outcome]]:
    """Train an arm with one or more seeds side by side, or go on training it.

    Parameters
    ----------
    trials
        Of one arm and condition; they differ by their seeds.
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
    clock, first = Clock(), trials[0]
    corpus = load_corpus(first)
    split = corpus.split(first.protocol["split"])
    inputs = open_representation(
        first.arm.options["representation"],
        first.protocol,
        corpus,
        split,
        device=first.device,
        skip_bad=first.skip_bad,
    )
    for part, numbers in inputs.rows.items():
        if not len(numbers):
            raise RepriseError(f"the {part} part of {split.name} on {corpus.name} is empty; use a larger corpus")
    clock.lap("prepare")
    if first.arm.network == "rf":
        yield from _grow(trials, corpus, split, inputs, clock)
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
    array = resident(inputs.array, device)
    fits = batched.fit(
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
    clock.lap("train", at_least=sum(entry["seconds"] for entry in fits[0].history))
    probabilities = {part: batched.predict(network, array, inputs.rows[part]) for part in PARTS}
    clock.lap("predict")
    count = trainable_parameters(network) // len(trials)
    for index, (trial, fit) in enumerate(zip(trials, fits, strict=True)):
        yield (
            trial,
            Outcome(
                split=split,
                rows=inputs.rows,
                predictions={
                    part: predictions_of(corpus, inputs.rows[part], values[index])
                    for part, values in probabilities.items()
                },
                weights=inputs.weights,
                parameters={"trainable": count, "total": count},
                best_epoch=fit.best_epoch,
                epochs=len(fit.history),
                inputs={"representation": inputs.description, "left_out": dict(inputs.left_out)},
                details={"seeds_side_by_side": len(trials)},
                durations=clock.seconds,
            ),
        )


def _grow(
    trials: Sequence[Trial], corpus: Corpus, split: Split, inputs: Representation, clock: Clock
) -> Iterator[tuple[Trial, Outcome]]:
    """The data set's baseline: for the test part it learns from train and valid, which are one part there."""
    codes = np.rint(inputs.array * 255).astype(np.uint8)
    train, valid, test = (inputs.rows[part] for part in ("train", "valid", "test"))
    whole = np.sort(np.concatenate([train, valid]))
    for trial in trials:
        predictions = {
            part: predictions_of(
                corpus,
                predict,
                controls.random_forest(codes, corpus.labels, corpus.mask, learn, predict, seed=trial.seed),
            )
            for part, learn, predict in (("valid", train, valid), ("test", whole, test))
        }
        clock.lap("train")
        yield (
            trial,
            Outcome(
                split=split,
                rows=inputs.rows,
                predictions=predictions,
                weights=inputs.weights,
                parameters={"trainable": 0, "total": 0},
                best_epoch=None,
                epochs=0,
                inputs={"representation": inputs.description, "left_out": dict(inputs.left_out)},
                durations=dict(clock.seconds),
                files=(),
            ),
        )


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> list[Table]:
    """Draw the attention of the best arm over some clips, and score all arms' where the truth is known.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.
    folder
        Results; the figure goes there as ``attention_over_time``.
    jobs
        Not used.

    Returns
    -------
    list of Table
        Whether the attention lies where the instruments sound; none on a published corpus, where nobody knows.
    """
    base = study.conditions[0].name
    attending = [r for r in records if r.condition == base and study.arm(r.arm).network == "attention"]
    if not attending:
        return []
    best = estimates.best_arms(study, attending, base)["attention"]
    record = estimates.select(attending, best, base)[0]
    save(attention_over_time.figure(study, record), folder / "attention_over_time")
    if corpora.load(record.data["corpus"]).ground_truth is None:
        return []
    return [attention_over_time.score_table(study, attending, base)]
