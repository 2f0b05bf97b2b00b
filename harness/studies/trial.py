"""A trial: one arm under one condition with one seed, the unit of work that leaves a record."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import corpora
from harness.corpora import Corpus, Split
from harness.corpora.segments import segmented
from harness.errors import RepriseError
from harness.storage import lock, write_json
from harness.studies import environment, records
from harness.studies.study import Arm, Condition, Study


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
            "options": dict(self.arm.options),
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
        begun = any((self.folder / name).exists() for name in ("record.json", "checkpoint.pt"))
        if begun and path.exists():
            theirs, ours = flat(records.read_json(path)), flat(self.identity())
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
class Outcome:
    """What came of a trial: what a study's ``play`` gives, and its record is made of.

    Parameters
    ----------
    split
        The split it was trained on.
    rows
        Row numbers by part, without clips that were left out.
    predictions
        On ``"valid"`` and ``"test"``, see `predictions_of`.
    weights
        Where the network started.
    parameters
        ``trainable`` and ``total``.
    best_epoch, epochs
        Whose weights were kept, and how many were run; None and 0 for what is not trained in epochs.
    inputs
        What it was trained on, with checksums; ``left_out`` names clips that were.
    details
        More entries for the record.
    durations
        Seconds by stage.
    files
        Names of the files in its folder that the record vouches for, beside the predictions.
    """

    split: Split
    rows: Mapping[str, np.ndarray]
    predictions: Mapping[str, records.Predictions]
    weights: Mapping[str, Any]
    parameters: Mapping[str, int]
    best_epoch: int | None
    epochs: int
    inputs: Mapping[str, Any]
    durations: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ("history.jsonl", "best.safetensors")


@dataclass(frozen=True)
class Expected:
    """How long work will take on one thread, in seconds.

    Parameters
    ----------
    trials
        One trial, by label.
    shared
        What is done once for several trials, by what it is.
    """

    trials: Mapping[str, float]
    shared: Mapping[str, float]


def load_corpus(trial: Trial) -> Corpus:
    """The corpus a trial works on.

    Parameters
    ----------
    trial
        Which.

    Returns
    -------
    Corpus
        As `harness.corpora.load` gives it; where the protocol says ``segments``, every clip as so many segments.
    """
    corpus = corpora.load(trial.corpus)
    return segmented(corpus, count) if (count := trial.protocol.get("segments")) else corpus


def predictions_of(corpus: Corpus, rows: np.ndarray, probabilities: np.ndarray) -> records.Predictions:
    """Predictions on some clips of a corpus, with their labels.

    Parameters
    ----------
    corpus
        Whose clips.
    rows
        Row numbers.
    probabilities : ndarray (len(rows), c)
        Of the classes.

    Returns
    -------
    Predictions
        Of these clips.
    """
    keys = corpus.clips["key"].to_numpy(dtype=str)
    return records.Predictions(keys[rows], corpus.labels[rows], corpus.mask[rows], probabilities)


def draw_split(trial: Trial, corpus: Corpus) -> Split:
    """The split of a trial: one for all seeds, or where the protocol says ``split_per_seed`` one for each.

    Parameters
    ----------
    trial
        Which.
    corpus
        The trial's.

    Returns
    -------
    Split
        Of that corpus.
    """
    return corpus.split(trial.protocol["split"], trial.seed if trial.protocol.get("split_per_seed") else 0)


def run(
    trials: Sequence[Trial], *, on_epoch: Callable[[Trial, dict[str, Any]], None] = lambda trial, entry: None
) -> list[records.Record]:
    """Train trials, or go on training them, and write a record of each.

    Parameters
    ----------
    trials
        One, or several of one arm and condition that differ by their seeds; those whose record is there are not run.
    on_epoch
        Called after every epoch with its entry of the history.

    Returns
    -------
    list of Record
        In the order of the trials.

    Raises
    ------
    RepriseError
        The loss is not finite, a folder holds another trial, a file cannot be written, weights are absent.
    """
    with ExitStack() as stack:
        for trial in sorted(trials, key=lambda t: t.folder):
            stack.enter_context(lock(trial.folder))  # a second process that wants it waits, and finds it finished
        waiting = [t for t in trials if not t.finished()]
        for trial in waiting:
            for leftover in trial.folder.glob(".*.part"):  # of a run that was killed while it wrote
                leftover.unlink()
            write_json(trial.folder / "trial.json", trial.identity())
        if waiting:
            for trial, outcome in waiting[0].study.code.play(waiting, on_epoch):
                _write(trial, outcome)
    return [records.read_record(t.folder) for t in trials]


def _write(trial: Trial, outcome: Outcome) -> None:
    """Predictions and record of a trial; its checkpoints are not needed any more."""
    corpus, split = load_corpus(trial), outcome.split
    records.write_predictions(trial.folder, outcome.predictions)
    device = torch.device(trial.device)
    records.write_record(
        trial.folder,
        {
            **trial.identity(),
            "task": trial.study.task,
            "corpus": corpus.name,
            "weights": dict(outcome.weights),
            "split": {
                "name": split.name,
                "seed": split.seed,
                "sizes": {part: len(rows) for part, rows in outcome.rows.items()}
                | {part: len(outcome.predictions[part].keys) for part in records.PARTS},
                "checksum": split.checksum,
                "leakage": split.leakage,
            },
            "classes": list(corpus.classes),
            "parameters": dict(outcome.parameters),
            **outcome.details,
            "best_epoch": outcome.best_epoch,
            "epochs": outcome.epochs,
            "durations": dict(outcome.durations),
            "peak_memory_bytes": environment.peak_memory(device),
            "environment": environment.describe(device),
            "inputs": {"corpus": {"clips": len(corpus.clips), **corpus.facts}, **outcome.inputs},
        },
        files=outcome.files,
    )
    for checkpoint in trial.folder.glob("checkpoint*.pt"):
        checkpoint.unlink()


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as one.

    Parameters
    ----------
    value
        A table, or an entry of one.
    prefix
        The entry's name.

    Returns
    -------
    dict
        With dotted names.
    """
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}".lstrip(".")).items()}


class Clock:
    """Seconds per stage of a trial, in ``seconds``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str, *, at_least: float = 0.0) -> None:
        """Note the time since the last lap.

        Parameters
        ----------
        name
            Of the stage that ends here.
        at_least
            What is known to have been spent on it: after a resume, earlier sessions' epochs count too.
        """
        now = time.perf_counter()
        self.seconds[name], self._last = round(max(now - self._last, at_least), 3), now
