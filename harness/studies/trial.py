"""A trial: one arm under one condition with one seed, the unit of work that leaves a record."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.corpora import Split
from harness.errors import RepriseError
from harness.studies.records import Predictions, read_json
from harness.studies.study import Arm, Condition, Study


@dataclass(frozen=True)
class Trial:
    """The unit of work.

    Parameters
    ----------
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

    @property
    def network_seed(self) -> int:
        """Seed of a network's random weights: the protocol's ``base_seed``, which all seeds share, or the trial's."""
        return self.protocol.get("base_seed", self.seed)

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
            theirs, ours = flat(read_json(path)), flat(self.identity())
            if different := sorted(k for k in {**theirs, **ours} if theirs.get(k) != ours.get(k)):
                changes = ", ".join(f"{k}: {theirs.get(k)!r}, now {ours.get(k)!r}" for k in different)
                raise RepriseError(
                    f"{self.folder} holds a trial with another protocol ({changes}); "
                    "choose another folder with --runs, or remove it"
                )
        return (self.folder / "record.json").exists()


def trial_label(study: Study, arm: str, condition: str) -> str:
    """Name of an arm under a condition: the arm's, with ``@condition`` where it is not the paper's."""
    return arm if condition == study.conditions[0].name else f"{arm}@{condition}"


@dataclass(frozen=True)
class Trained:
    """What a study's ``train`` gives of a trial: the runner takes predictions and measures, and writes the record.

    Parameters
    ----------
    predict
        Called once for the predictions, ``"valid"`` and ``"test"`` among them.
    inputs
        What it was trained on, with checksums; ``left_out`` names clips that were.
    rows
        Row numbers by part, without clips that were left out.
    model
        Gives the trained model, in evaluation mode on the trial's device, for the study's ``measure``.
    weights
        Where the network started.
    parameters
        ``trainable`` and ``total``.
    best_epoch, epochs
        Whose weights were kept, and how many were run; None and 0 for what is not trained in epochs.
    details
        More entries for the record.
    split
        The split as the record is to describe it, where that is not the context's.
    files
        Names of the files in its folder that the record vouches for, beside predictions and measurements.
    """

    predict: Callable[[], Mapping[str, Predictions]]
    inputs: Mapping[str, Any]
    rows: Mapping[str, np.ndarray]
    model: Callable[[], Any] = lambda: None
    weights: Mapping[str, Any] = field(default_factory=lambda: {"kind": "none"})
    parameters: Mapping[str, int] = field(default_factory=lambda: {"trainable": 0, "total": 0})
    best_epoch: int | None = None
    epochs: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    split: Split | None = None
    files: tuple[str, ...] = ()


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


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted names below `prefix`."""
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
