"""The write-up's result line beside ours, and what a random split of segments leaks.

Segments of one track are not independent of each other: every interval here is over seeds and tracks together, each
track drawn with all its segments.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.report import estimates, ties
from harness.report.resampling import units_of
from harness.report.writers import MINUS, UNDEFINED, Column, Table
from harness.studies.records import Record
from harness.studies.study import Study
from replications.gtzan_cam.kernels import kernel_arms, kernel_table
from replications.gtzan_cam.trials import (
    PARTS,
    deviation,
    found_conditions,
    in_order,
    of_tracks,
    released,
    result_arms,
    segments_per_track,
    shared_groups,
    training_accuracy,
)


def tables(study: Study, records: Sequence[Record]) -> list[Table]:
    """The result line, the leak, and the kernels.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    list of Table
        Without those that need trials which are not there.
    """
    as_released = [r for r in records if released(r)]
    records = [r for r in records if not released(r)]
    shown = []
    if result_arms(study, records):
        shown.append(result_table(study, records))
        shown.append(protocol_table(study, records))
    if len(kernel_arms(study, records)) > 1:
        shown.append(kernel_table(study, records))
    if as_released:
        shown.append(released_table(study, as_released))
    return shown


def result_table(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Table:
    """Training, validation and test accuracy of the nets (study 002, Results), ours beside the write-up's.

    Parameters
    ----------
    study
        Gives the arms and the printed values.
    records
        Any of the study's, of one corpus and profile.
    replicates, level
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    Table
        One row per net and part, one estimate per condition; of segments.
    """
    conditions, metric = found_conditions(study, records), study.metric
    printed = {(p["arm"], p["split"]): p["value"] for p in study.published if p["metric"] == metric}
    arms = result_arms(study, records)
    shown = in_order(study, records, arms)
    tied = {part: _Tied(study, shown, part, replicates, level) for part in PARTS if part != "train"}
    unit, units = units_of(study, records)
    rows = []
    for arm in arms:
        of_arm = {name: estimates.select(records, arm.name, name) for name in conditions}
        for part, part_title in PARTS.items():
            row = {
                "arm": arm.name,
                "arm_title": arm.title,
                "part_of_line": part,
                "part_title": part_title,
                "metric": metric,
                "published": printed.get((arm.name, part)),
            }
            chances = []
            for name, some in of_arm.items():
                row |= dict.fromkeys((f"ours_{name}", f"ours_{name}_low", f"ours_{name}_high", f"sd_{name}"))
                if some:
                    found = _scores(some, part, metric, f"ours_{name}", units=units, replicates=replicates, level=level)
                    chances.append(found.pop("chance"))
                    row |= {f"sd_{name}": found.pop("sd"), **found}
            base_sd, seeds = row[f"sd_{conditions[0]}"], len(of_arm[conditions[0]])
            row["spread_title"] = f"{UNDEFINED if base_sd is None else format(base_sd, '.3f')} ({seeds})"
            row["chance"] = None if part == "train" else max(chances)
            rows.append(row | (tied[part].columns(arm.name) if part in tied else {}))
    origin = estimates.provenance(study, shown, "test")
    scores = [c for c in rows[-1] if c == "published" or c.startswith(("ours_", "sd_", "chance"))]
    titles = {name: study.condition(name).title for name in conditions}
    return Table(
        name="results",
        title="The write-up's result line beside ours: accuracy on segments",
        caption=f"{origin.sentence()} Mean over the seeds; in brackets the "
        f"{estimates.interval_in_words(shown, unit, replicates, level)}, a track with all its segments. SD: standard "
        f"deviation over the seeds (their number), {titles[conditions[0]]}. Training accuracy: mean over the epochs, "
        "of the batches as they came. The write-up's validation and test accuracies are whole numbers of 960ths, so "
        "that it counted segments. *: best of its part and column; °: not above chance, to name the most frequent "
        "genre every time."
        f"{tied['test'].caption}",
        notes=" ".join(f"“{titles[name]}”: {study.condition(name).note}" for name in conditions),
        frame=pd.DataFrame(rows).astype(dict.fromkeys(scores, float)),
        columns=(
            Column("arm_title", "Net", "text"),
            Column("part_title", "Accuracy", "text"),
            Column("published", "Write-up", "published"),
            *(Column(f"ours_{name}", f"Ours: {titles[name]}", "estimate") for name in conditions),
            *tied["test"].column,
            Column("spread_title", "SD (seeds)", "text"),
        ),
        group=("arm",),
        section="part_of_line",
        provenance=origin,
    )


def released_table(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Table:
    """The nets as the authors' code has them, beside the write-up's line.

    Parameters
    ----------
    study
        Gives the arms and the printed values.
    records
        Of trials as released.
    replicates, level
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    Table
        One row per net and part.
    """
    condition, metric = study.condition(records[0].condition), study.metric
    printed = {(p["arm"], p["split"]): p["value"] for p in study.published if p["metric"] == metric}
    of_condition = [r for r in records if r.condition == condition.name]
    tied = {part: _Tied(study, of_condition, part, replicates, level) for part in PARTS if part != "train"}
    unit, units = units_of(study, records)
    rows = []
    for arm in study.arms:
        some = estimates.select(records, arm.name, condition.name)
        for part, part_title in PARTS.items() if some else ():
            row = {
                "arm": arm.name,
                "arm_title": arm.title,
                "part_of_line": part,
                "part_title": part_title,
                "metric": metric,
                "published": printed.get((arm.name.removeprefix("released_"), part)),
                **_scores(some, part, metric, "ours", units=units, replicates=replicates, level=level),
            }
            row["spread_title"] = f"{UNDEFINED if row['sd'] is None else format(row['sd'], '.3f')} ({len(some)})"
            rows.append(row | (tied[part].columns(arm.name) if part in tied else {}))
    origin = estimates.provenance(study, records, "test")
    numbers = ["published", "ours", "ours_low", "ours_high", "sd", "chance"]
    return Table(
        name="results_released",
        title="The nets as the authors' code has them",
        caption=f"{origin.sentence()} Accuracy on segments, mean over the seeds; in brackets the "
        f"{estimates.interval_in_words(records, unit, replicates, level)}. *: best of its part; °: not above chance."
        f"{tied['test'].caption}",
        notes=f"“{condition.title}”: {condition.note}",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("arm_title", "Net", "text"),
            Column("part_title", "Accuracy", "text"),
            Column("published", "Write-up", "published"),
            Column("ours", "Ours", "estimate"),
            *tied["test"].column,
            Column("spread_title", "SD (seeds)", "text"),
        ),
        group=("arm",),
        section="part_of_line",
        provenance=origin,
    )


class _Tied:
    """Letters of the nets under each condition: nets trained on another split are not ranked against each other."""

    def __init__(self, study: Study, records: Sequence[Record], part: str, replicates: int, level: float) -> None:
        metric = study.metric
        self.of_conditions = {}
        for condition in study.conditions:
            if some := [r for r in records if r.condition == condition.name]:
                found = ties.ties(study, some, [metric], part, arms="nets", replicates=replicates, level=level)
                self.of_conditions[condition.name] = found
        self._metric, self._titles = metric, {c.name: c.title for c in study.conditions}

    @property
    def column(self) -> list[Column]:
        """How it is shown, if there is anything to show."""
        return [Column("tied_title", "Tied", "text")] if any(t.letters for t in self.of_conditions.values()) else []

    @property
    def caption(self) -> str:
        """What the letters mean, after a space; where that differs between conditions, of each."""
        said = {name: t.sentence for name, t in self.of_conditions.items() if t.sentence}
        if len(set(said.values())) > 1:
            text = "".join(f" {text[:-1]} (“{self._titles[name]}”)." for name, text in said.items())
        else:
            order = " One protocol after the other, in the order of the columns." if len(self.of_conditions) > 1 else ""
            text = "".join(f" {text}{order}" for text in set(said.values()))
        tests = {name: t.test for name, t in self.of_conditions.items() if t.test}
        if len(tests) == 1:
            return f"{text} {next(iter(tests.values()))}"
        return text + "".join(f" {test[:-1]} (“{self._titles[name]}”)." for name, test in tests.items())

    def columns(self, arm: str) -> dict[str, str | None]:
        """Letters of a net, for each condition and in one."""
        found = {name: t.of(self._metric, arm) for name, t in self.of_conditions.items()}
        return {f"tied_{name}": text for name, text in found.items()} | {
            "tied_title": "/".join(ties.in_short(text) or UNDEFINED for text in found.values())
        }


def _scores(records: Sequence[Record], part: str, metric: str, name: str, **drawn: Any) -> dict[str, float | None]:
    """Mean over the seeds with its interval, deviation over the seeds, chance; training accuracy has the first two."""
    if part == "train":
        values = [training_accuracy(r) for r in records]
        mean = None if None in values else float(np.mean(values))
        return {name: mean, f"{name}_low": None, f"{name}_high": None, "sd": deviation(values), "chance": None}
    values = [r.data["metrics"][part][metric] for r in records]
    found = estimates.estimate(records, part, [metric], **drawn)[metric]
    ends = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {**ends, "sd": deviation(values), "chance": found.chance}


def protocol_table(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Table:
    """Test accuracy of segments and of tracks under each protocol, and what the random split of segments leaks.

    Parameters
    ----------
    study
        Gives the arms and the conditions.
    records
        Any of the study's, of one corpus and profile.
    replicates, level
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    Table
        One row per arm and unit (segments, tracks). The leak is the accuracy under the write-up's random segments
        minus that under the second condition, whole tracks.
    """
    conditions, metric = found_conditions(study, records), study.metric
    against = [name for name in conditions[1:] if conditions[0] == study.conditions[0].name]
    rows, arms = [], result_arms(study, records)
    shown = in_order(study, records, arms)
    unit, units = units_of(study, records)
    drawn = {"units": units, "replicates": replicates, "level": level}
    scored = {"segments": list, "tracks": of_tracks}
    tied = {unit: _Tied(study, convert(shown), "test", replicates, level) for unit, convert in scored.items()}
    for arm in arms:
        for unit, convert in scored.items():
            row = {"arm": arm.name, "arm_title": arm.title, "unit": unit, "metric": metric}
            of_arm = {name: convert(estimates.select(records, arm.name, name)) for name in conditions}
            chances = []
            for name, some in of_arm.items():
                row |= dict.fromkeys((f"ours_{name}", f"ours_{name}_low", f"ours_{name}_high"))
                if some:
                    found = estimates.estimate(some, "test", [metric], **drawn)[metric]
                    row |= {f"ours_{name}": found.value, f"ours_{name}_low": found.low, f"ours_{name}_high": found.high}
                    chances.append(found.chance)
            row["chance"] = max(chances)
            for name in against:
                gains, _ = estimates.difference(of_arm[conditions[0]], of_arm[name], "test", [metric], **drawn)
                gain = gains[metric]
                row |= {f"leak_{name}": gain.value, f"leak_{name}_low": gain.low, f"leak_{name}_high": gain.high}
            rows.append(row | tied[unit].columns(arm.name))
    frame = pd.DataFrame(rows)
    scores = [c for c in frame if c.startswith(("ours_", "leak_", "chance"))]
    origin = estimates.provenance(study, shown, "test")
    titles = {name: study.condition(name).title for name in conditions}
    per_track = ", ".join(f"{titles[name]} {segments_per_track(shown, name):.1f}" for name in conditions)
    caption = (
        f"{origin.sentence()} Mean over the seeds; in brackets the "
        f"{estimates.interval_in_words(shown, unit, replicates, level)}. Tracks: mean of the probabilities of their "
        f"segments in the test part, which are on average: {per_track}. *: best arm of its unit and column; °: not "
        f"above chance, or an interval that holds zero.{tied['segments'].caption}"
    )
    if against:
        known = ", ".join(f"{titles[name]} {shared_groups(shown, name):.0%}" for name in conditions)
        caption += (
            f" Leak: accuracy under “{titles[conditions[0]]}” minus that under the other, seed by seed; the test parts "
            "differ, so that only a track in both counts alike on both sides of a replicate, and all others are drawn "
            "independently. Not all of it is one: segments drawn one by one are of nearly all tracks, so that as many "
            "of them are more different music to learn from. "
            "Test segments of an artist, or where none is known of a track, that is trained on, too: "
            f"{known}."
        )
    return Table(
        name="protocols",
        title="What the leak is worth: test accuracy under each protocol" if against else "Test accuracy by unit",
        caption=caption,
        notes=" ".join(f"“{titles[name]}”: {study.condition(name).note}" for name in conditions),
        frame=frame.astype(dict.fromkeys(scores, float)),
        columns=(
            Column("arm_title", "Net", "text"),
            Column("unit", "Of", "text"),
            *(Column(f"ours_{name}", titles[name].capitalize(), "estimate") for name in conditions),
            *tied["segments"].column,
            *(
                Column(f"leak_{name}", f"Leak ({titles[conditions[0]]} {MINUS} {titles[name]})", "difference")
                for name in against[:1]
            ),
        ),
        group=("arm",),
        section="unit",
        provenance=origin,
    )
