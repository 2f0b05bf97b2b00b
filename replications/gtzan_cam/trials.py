"""Which of the study's arms and conditions a table, a figure or a check is about, and what their records say."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from harness.analysis.study import ARMS, Analysis
from harness.corpora.segments import clips_of
from harness.studies.records import Record, by_clip
from harness.studies.study import Arm, Study

#: Parts of the write-up's result line.
PARTS = {"train": "training", "valid": "validation", "test": "test"}
#: Arms that differ from the first in the kernel's shape alone are of its network.
KERNEL_NETWORK = "base"
#: Statements in the claim with the most of them, of country's drums: two nets, each against two references.
STATEMENTS = 4
#: Filters of the first layer that the write-up shows (study 002, Results), counted from 1 as there.
SHOWN_FILTERS = (1, 8, 16, 32)


def is_released(record: Record) -> bool:
    """Whether a trial is of a net and segments as the authors' code has them, which is not what the write-up says."""
    return bool(record.data["protocol"].get("as_released"))


def conditions(analysis: Analysis) -> list[str]:
    """Conditions that have a trial, in the study's order, without that of the authors' code."""
    return list(dict.fromkeys(r.condition for r in analysis.records if not is_released(r)))


def nets(analysis: Analysis, condition: str | None = None) -> list[Arm]:
    """Arms of the result line that have a trial, under a condition or under any.

    They are those the write-up prints values of, and the one that it could not finish; the base net with other kernels
    is not among them.
    """
    present = {arm for name, arm in analysis.cells() if condition in (None, name)}
    return [a for a in analysis.study.arms if a.name in analysis.study.measured["arms"] and a.name in present]


def explained_condition(analysis: Analysis) -> str:
    """The condition under which nets are explained; "" where no such trial is there."""
    return first_explained(analysis.study, analysis.records)


def first_explained(study: Study, records: Sequence[Record]) -> str:
    """The first of the conditions that are measured of which there is a trial; "" where there is none."""
    present = {r.condition for r in records if r.arm in study.measured["arms"]}
    return next((name for name in study.measured["conditions"] if name in present), "")


def kernel_arms(analysis: Analysis) -> list[Arm]:
    """Arms that differ in the kernel's shape alone and have a trial under the write-up's condition; 3 x 3 first."""
    cells = analysis.cells()
    return [a for a in analysis.study.arms if a.network == KERNEL_NETWORK and (analysis.base, a.name) in cells]


def kernel_pairs(analysis: Analysis) -> pd.DataFrame:
    """Rows of the contrasts between shapes of kernels."""
    names, frame = [arm.name for arm in kernel_arms(analysis)], analysis.contrasts
    chosen = (frame["kind"] == ARMS) & (frame["metric"] == analysis.study.metric)
    return frame[chosen & frame["above"].isin(names) & frame["below"].isin(names)]


def kernel_title(arm: Arm) -> str:
    """Bands x frames."""
    return " x ".join(map(str, arm.options["kernel"]))


def trials_of(analysis: Analysis, arms: Collection[str], names: Collection[str]) -> list[Record]:
    """The trials of some arms under some conditions."""
    return [r for r in analysis.records if r.arm in arms and r.condition in names]


def of_seeds(analysis: Analysis, arm: str, part: str) -> list[float]:
    """The main score of every seed of an arm under the write-up's condition."""
    scores, trials = analysis.scores(part), analysis.select(arm)
    places = [place for place, r in enumerate(analysis.records) if r in trials]
    return scores.found.plain[places, scores.column(analysis.study.metric)].tolist()


def by_unit(analysis: Analysis, records: Sequence[Record]) -> pd.DataFrame:
    """The main score on the test part, of some trials: on segments and on tracks, by the column ``unit``.

    A track is predicted by the mean of its segments' probabilities.
    """
    cells, frame = {(r.condition, r.arm) for r in records}, analysis.estimates
    frame = frame[(frame["part"] == "test") & (frame["metric"] == analysis.study.metric) & (frame["class"] == "")]
    segments = frame[[cell in cells for cell in zip(frame["condition"], frame["arm"], strict=True)]]
    tracks = analysis.estimate(records, transform=by_clip)
    return pd.concat([segments.assign(unit="segments"), tracks.assign(unit="tracks")], ignore_index=True)


def training_accuracies(records: Sequence[Record]) -> list[float]:
    """Training accuracy as the write-up states it: the mean over the epochs, weights moving all the while."""
    histories = [record.history() for record in records]
    return [float(history["train_accuracy"].mean()) for history in histories if "train_accuracy" in history]


def segments_per_track(analysis: Analysis, condition: str) -> float:
    """Segments in the test part of each track that is in it, on average."""
    keys = [analysis.predictions(r, "test").keys for r in analysis.records if r.condition == condition]
    return float(np.mean([len(k) / len(np.unique(clips_of(k))) for k in keys]))


def shared_groups(analysis: Analysis, condition: str) -> float:
    """Share of the test segments whose artist, or where none is known whose track, is in the training part."""
    splits = [r.data["split"] for r in analysis.records if r.condition == condition]
    return float(np.mean([s["leakage"]["clips_in_shared_groups"]["train-test"] / s["sizes"]["test"] for s in splits]))


def level_of_one(level: float) -> float:
    """Level of every interval of what was measured of the nets, in tables and claims alike (Bonferroni)."""
    return 1 - (1 - level) / STATEMENTS
