"""All arms by the study's main score: mean over the seeds with its interval, and spread of the seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.errors import RepriseError
from harness.report import estimates, ties
from harness.report.estimates import METRIC_TITLES
from harness.report.resampling import units_of
from harness.report.writers import UNDEFINED, Column, Table
from harness.studies.records import Record, scoring
from harness.studies.study import Study

#: Scores beside the main one.
BESIDE = {"multilabel": ("f1_macro_pos_masked", "map_masked"), "multiclass": ("balanced_accuracy", "f1_macro")}


def arm_table(
    study: Study,
    records: Sequence[Record],
    *,
    part: str = "test",
    beside: Sequence[str] | None = None,
    digits: int = 3,
    replicates: int = 1000,
    level: float = 0.95,
) -> Table:
    """One row per arm under the study's first condition.

    Parameters
    ----------
    study
        Gives the arms, the main score and what is printed of it.
    records
        Any of the study's, of one corpus and profile.
    part
        ``"valid"`` or ``"test"``.
    beside
        Other scores to show, without intervals; default: two that go with the study's task.
    digits
        Decimals of the printed values.
    replicates, level
        Of the bootstrap over seeds and clips together (`estimates.estimate`), and of the letters of tied arms
        (`harness.report.ties`).

    Returns
    -------
    Table
        Arms without a record are left out, unless a value is printed for them.

    Raises
    ------
    RepriseError
        No record was made under the first condition.
    """
    condition, metric = study.conditions[0].name, study.metric
    beside = BESIDE[study.task] if beside is None else beside
    records = [r for r in records if r.condition == condition]
    if not records:
        raise RepriseError(f"no arm of {study.name} has a record under {condition!r}; run it first")
    printed = {p["arm"]: p for p in study.published if (p["split"], p["metric"]) == (part, metric)}
    tied = ties.ties(study, records, (metric,), part, replicates=replicates, level=level)
    unit, units = units_of(study, records)
    rows = []
    for arm in study.arms:
        of_arm = estimates.select(records, arm.name, condition)
        if not of_arm and arm.name not in printed:
            continue
        row = {
            "condition": condition,
            "arm": arm.name,
            "arm_title": arm.title,
            "network": arm.network,
            "started_from": ", ".join(dict.fromkeys(map(estimates.start, of_arm))),
            "parameters": max((r.data["parameters"]["trainable"] for r in of_arm), default=None),
            "metric": metric,
            "published": printed[arm.name]["value"] if arm.name in printed else None,
            "seeds_of_arm": len(of_arm),
        }
        if of_arm:
            of_seeds = [r.data["metrics"][part][metric] for r in of_arm]
            deviation = np.std(of_seeds, ddof=1) if len(of_seeds) > 1 and None not in of_seeds else None
            found = estimates.estimate(of_arm, part, (metric,), units=units, replicates=replicates, level=level)[metric]
            p = of_arm[0].predictions(part)
            row |= {
                "ours": found.value,
                "ours_low": found.low,
                "ours_high": found.high,
                "deviation": deviation,
                "spread_title": f"{UNDEFINED if deviation is None else format(deviation, '.3f')} ({len(of_arm)})",
                **tied.columns(metric, arm.name),
                **estimates.mean_scores(of_arm, part, beside),
                "constant": scoring(of_arm[0].data).chance(p.labels, p.mask)[metric],
                "chance": found.chance,
            }
        rows.append(row)
    scores = ("published", "ours", "ours_low", "ours_high", "deviation", *beside, "constant", "chance")
    frame = pd.DataFrame(rows).astype({**dict.fromkeys(scores, float), "parameters": "Int64"})
    guessed = metric in estimates.GUESSING
    origin = estimates.provenance(study, records, part)
    caption = [
        origin.sentence(),
        f"{METRIC_TITLES[metric]} ({metric}): mean over the seeds, in brackets the "
        f"{estimates.interval_in_words(records, unit, replicates, level)}. SD: standard deviation over the seeds.",
        f"*: best arm; °: {estimates.not_above_chance([metric])}"
        + (f": {estimates.CHANCE_IN_WORDS[metric]}." if metric in estimates.CHANCE_IN_WORDS else "."),
    ]
    if tied.caption:
        caption.append(tied.caption)
    if guessed:
        constant = next(row["constant"] for row in rows if "constant" in row)
        caption.append(f"A constant answer, of each class the more frequent, scores {constant:.4f}.")
    if printed:
        where = dict.fromkeys(study.tables[p["table"]]["where"] for p in printed.values())
        caption.append(f"Printed: {'; '.join(where)}.")
    columns = [
        Column("arm_title", "Arm", "text"),
        Column("started_from", "Pre-training", "text"),
        *([Column("published", "Printed", "published", digits)] if printed else []),
        Column("ours", METRIC_TITLES[metric], "estimate"),
        Column("spread_title", "SD (seeds)", "text"),
        *([ties.COLUMN] if tied.letters else []),
        *(Column(name, METRIC_TITLES[name], "score") for name in beside),
        Column("chance", "Chance", "score"),
    ]
    return Table(
        name=f"arms_{part}",
        title=f"{METRIC_TITLES[metric]} of every arm on the {part} part",
        caption=" ".join(caption),
        notes=f"Condition: {study.condition(condition).title}.",
        frame=frame,
        columns=tuple(columns),
        group=("arm",),
        section="condition",
        provenance=origin,
    )
