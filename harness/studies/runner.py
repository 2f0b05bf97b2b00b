"""Trials of any kind, run: the study trains, and what is the same for all of them happens here.

A study's ``study.py`` gives ``train(contexts, on_epoch)``, which yields a `harness.studies.trial.Trained` for each
context, in their order, and may train several side by side. It may give ``measure(context, model)``: called right after
training, it names data frames and mappings of arrays that take the network to make. They become files of the trial,
``<name>.csv`` and ``<name>.npz``, which the record vouches for.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from harness.corpora import Corpus
from harness.storage import lock, write_json
from harness.studies import environment, records
from harness.studies.context import Context
from harness.studies.trial import Clock, Trained, Trial


def run_trials(
    contexts: Sequence[Context], *, on_epoch: Callable[[Trial, dict[str, Any]], None] = lambda trial, entry: None
) -> list[records.Record]:
    """Train trials, or go on training them, and write a record of each.

    Parameters
    ----------
    contexts
        Of one trial, or of several of one arm and condition that differ by their seeds; trials whose record is there
        are not run.
    on_epoch
        Called after every epoch with its entry of the history.

    Returns
    -------
    list of Record
        In the order of the contexts.

    Raises
    ------
    RepriseError
        The loss is not finite, a folder holds another trial, a file cannot be written, weights are absent.
    """
    with ExitStack() as stack:
        for context in sorted(contexts, key=lambda c: c.trial.folder):
            stack.enter_context(lock(context.trial.folder))  # a second process waits, and finds the trial finished
        waiting = [context for context in contexts if not context.trial.finished()]
        for trial in (context.trial for context in waiting):
            for leftover in trial.folder.glob(".*.part"):  # of a run that was killed while it wrote
                leftover.unlink()
            write_json(trial.folder / "trial.json", trial.identity())
        if waiting:
            code, clock = waiting[0].trial.study.code, Clock()
            for context in waiting:
                context.opened.clock = clock
            for context, trained in zip(waiting, code.train(waiting, on_epoch), strict=True):
                predictions = trained.predict()
                clock.lap("predict")
                measured = code.measure(context, trained.model()) if hasattr(code, "measure") else {}
                clock.lap("measure")
                _write(context, trained, predictions, measured)
                context.release()
    return [records.read_record(context.trial.folder) for context in contexts]


def _write(
    context: Context,
    trained: Trained,
    predictions: Mapping[str, records.Predictions],
    measured: Mapping[str, records.Measured],
) -> None:
    """All files of a trial, its record last; its checkpoints are not needed any more."""
    trial, corpus = context.trial, context.corpus
    split, device = trained.split or context.split, torch.device(trial.device)
    records.write_predictions(trial.folder, predictions)
    files, columns = records.write_measured(trial.folder, measured)
    records.write_record(
        trial.folder,
        {
            **trial.identity(),
            "task": trial.study.task,
            "corpus": corpus.name,
            "weights": dict(trained.weights),
            "split": {
                "name": split.name,
                "seed": split.seed,
                "sizes": {part: len(rows) for part, rows in trained.rows.items()}
                | {part: len(predictions[part].keys) for part in records.PARTS},
                "checksum": split.checksum,
                "leakage": split.leakage,
            },
            "classes": list(corpus.classes),
            "parameters": dict(trained.parameters),
            **trained.details,
            "best_epoch": trained.best_epoch,
            "epochs": trained.epochs,
            "durations": dict(context.clock.seconds),
            "peak_memory_bytes": environment.peak_memory(device),
            "environment": environment.describe(device),
            "inputs": {"corpus": {**corpus.facts, **describe_corpus(context.whole)}, **trained.inputs},
            "measured": columns,
        },
        files=(*trained.files, *files),
    )
    for checkpoint in trial.folder.glob("checkpoint*.pt"):
        checkpoint.unlink()


def describe_corpus(corpus: Corpus) -> dict[str, Any]:
    """How many clips a corpus has, and for how many each class is present, absent or was never asked.

    Parameters
    ----------
    corpus
        Of whole clips.

    Returns
    -------
    dict
        ``clips``, and ``labels`` by class. What the reader says of the corpus, such as whether it is ``complete``, is
        among its facts.
    """
    present = (corpus.labels.astype(bool) & corpus.mask).sum(axis=0)
    asked = corpus.mask.sum(axis=0)
    counts = np.stack([present, asked - present, len(corpus.clips) - asked], axis=1).tolist()
    labels = {
        name: dict(zip(("present", "absent", "never_asked"), row, strict=True))
        for name, row in zip(corpus.classes, counts, strict=True)
    }
    return {"clips": len(corpus.clips), "labels": labels}
