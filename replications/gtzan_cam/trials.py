"""What the study's records are asked for: arms and conditions that are there, scores of whole tracks, and leaks.

Segments of one track are not independent of each other: every interval is over seeds and tracks together, each track
drawn with all its segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.corpora.segments import clips_of
from harness.studies.records import Predictions, Record, by_clip
from harness.studies.study import Arm, Study

#: Parts of the write-up's result line.
PARTS = {"train": "training", "valid": "validation", "test": "test"}
#: Arms that differ from the first in the kernel's shape alone are of its network.
KERNEL_NETWORK = "base"
#: Conditions under which confusions are shown and nets explained: of these the first that was run.
HEADLINE = ("track", "filtered", "paper")
#: Filters of the first layer that the write-up shows (study 002, Results), counted from 1 as there.
SHOWN_FILTERS = (1, 8, 16, 32)


@dataclass(frozen=True)
class OfTracks(Record):
    """A trial whose predictions are on tracks, each the mean over its segments in the part."""

    def predictions(self, part: str) -> Predictions:
        """Predictions on ``"valid"`` or ``"test"``."""
        return by_clip(super().predictions(part))


def of_tracks(records: Sequence[Record]) -> list[OfTracks]:
    """The same trials, to be scored on tracks.

    Parameters
    ----------
    records
        With predictions on segments.

    Returns
    -------
    list of OfTracks
        In the same order.
    """
    return [OfTracks(r.folder, r.data) for r in records]


def released(record: Record) -> bool:
    """Whether a trial is of a net and segments as the authors' code has them, which is not what the write-up says.

    Parameters
    ----------
    record
        Any.

    Returns
    -------
    bool
        Such trials stand in a table of their own.
    """
    return bool(record.data["protocol"].get("as_released"))


def found_conditions(study: Study, records: Sequence[Record]) -> list[str]:
    """Conditions that have a record, in the study's order.

    Parameters
    ----------
    study, records
        The study, and any of its trials.

    Returns
    -------
    list of str
        Names, without that of the authors' released code (`released`).
    """
    present = {r.condition for r in records if not released(r)}
    return [c.name for c in study.conditions if c.name in present]


def result_arms(study: Study, records: Sequence[Record]) -> list[Arm]:
    """Arms of the result line: those the write-up prints values of, and the one it could not finish.

    Parameters
    ----------
    study, records
        The study, and any of its trials.

    Returns
    -------
    list of Arm
        Those with a record; the same network with other kernels is not among them.
    """
    first = {arm.network: arm for arm in reversed(study.arms)}
    return [
        arm
        for arm in study.arms
        if any(r.arm == arm.name and not released(r) for r in records)
        and (arm.network != KERNEL_NETWORK or arm == first[KERNEL_NETWORK])
    ]


def in_order(study: Study, records: Sequence[Record], arms: Sequence[Arm]) -> list[Record]:
    """The trials of some arms, by the study's conditions.

    Parameters
    ----------
    study, records, arms
        The study, any of its trials, and the arms wanted.

    Returns
    -------
    list of Record
        The write-up's condition first.
    """
    order = {condition.name: number for number, condition in enumerate(study.conditions)}
    return sorted((r for r in records if study.arm(r.arm) in arms), key=lambda r: order[r.condition])


def training_accuracy(record: Record) -> float | None:
    """Training accuracy as the write-up states it: the mean over the epochs, weights moving all the while.

    Parameters
    ----------
    record
        Of a trial.

    Returns
    -------
    float or None
        None where the history does not have it.
    """
    history = record.history()
    return float(history["train_accuracy"].mean()) if "train_accuracy" in history else None


def segments_per_track(records: Sequence[Record], condition: str) -> float:
    """Segments in the test part of each track that is in it, on average.

    Parameters
    ----------
    records
        With predictions on segments.
    condition
        By name; some of the records are under it.

    Returns
    -------
    float
        At least 1.
    """
    keys = [r.predictions("test").keys for r in records if r.condition == condition]
    return float(np.mean([len(k) / len(np.unique(clips_of(k))) for k in keys]))


def shared_groups(records: Sequence[Record], condition: str) -> float:
    """Share of the test segments whose artist, or where none is known whose track, is in the training part.

    Parameters
    ----------
    records
        Any.
    condition
        By name; some of the records are under it.

    Returns
    -------
    float
        Mean over the trials.
    """
    splits = [r.data["split"] for r in records if r.condition == condition]
    return float(np.mean([s["leakage"]["clips_in_shared_groups"]["train-test"] / s["sizes"]["test"] for s in splits]))


def deviation(values: Sequence[float | None]) -> float | None:
    """Standard deviation over the seeds.

    Parameters
    ----------
    values
        One per seed.

    Returns
    -------
    float or None
        None for a single seed, or where a value is undefined.
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 and None not in values else None
