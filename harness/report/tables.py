"""Published tables beside ours, computed from records.

A table is built once, as numbers with what they stand on; `harness.report.writers`, whose functions are also found
here, dresses it as CSV, Markdown, LaTeX or for the terminal.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.errors import RepriseError
from harness.report import estimates, ties
from harness.report.estimates import METRIC_TITLES, Estimate
from harness.report.resampling import units_of
from harness.report.writers import UNDEFINED, Column, Table, to_csv, to_latex, to_markdown, to_terminal, write
from harness.studies.records import Record
from harness.studies.study import Study

__all__ = [
    "Table",
    "condition_table",
    "masked_table",
    "score_table",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_terminal",
    "write",
]

#: Scores on observed labels alone.
MASKED_METRICS = ("f1_macro2_masked", "map_masked", "roc_auc_masked")
#: Scores that tell what a condition is worth, beside the main one.
USUAL = {"multilabel": MASKED_METRICS[:2], "multiclass": ("balanced_accuracy",)}


def score_table(
    study: Study,
    records: Sequence[Record],
    table_id: str,
    *,
    conditions: Sequence[str] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
) -> Table:
    """One table of the paper beside ours.

    Parameters
    ----------
    study
        Gives the arms, the published values and what the table shows.
    records
        Any of the study's, of one corpus and profile.
    table_id
        The paper's number, a key of ``study.tables``.
    conditions
        Names; default: those that `estimates.conditions` finds comparable.
    replicates, level
        Of the bootstrap over seeds and clips together (`estimates.estimate`).

    Returns
    -------
    Table
        One row per arm and published metric. Arms without a record keep their published values.

    Raises
    ------
    RepriseError
        The paper has no such table, no record fits it, or the conditions were scored on different clips.
    """
    if table_id not in study.tables:
        raise RepriseError(f"{study.name} has no table {table_id!r}; it has {', '.join(study.tables)}")
    about = study.tables[table_id]
    published = {(row["arm"], row["metric"]): row["value"] for row in study.published if row["table"] == table_id}
    metrics = tuple(dict.fromkeys(metric for _, metric in published))
    return _scores(
        study,
        records,
        name=f"table_{table_id}",
        title=f"Table {table_id}: {about['title']}, ours beside the paper's",
        where=about["where"],
        network=about.get("network"),
        part=about["split"],
        metrics=metrics,
        published=published,
        conditions=conditions,
        replicates=replicates,
        level=level,
    )


def masked_table(
    study: Study,
    records: Sequence[Record],
    *,
    part: str = "test",
    metrics: Sequence[str] = MASKED_METRICS,
    conditions: Sequence[str] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
) -> Table:
    """All arms by the scores that count observed labels only, which the paper does not give.

    Parameters
    ----------
    study
        Gives the arms.
    records
        Any of the study's, of one corpus and profile.
    part
        ``"valid"`` or ``"test"``.
    metrics
        Names out of `harness.metrics.multilabel.METRICS`.
    conditions
        Names; default: those that `estimates.conditions` finds comparable.
    replicates, level
        Of the bootstrap over seeds and clips together (`estimates.estimate`).

    Returns
    -------
    Table
        One row per arm and metric.

    Raises
    ------
    RepriseError
        There is no record, or the conditions were scored on different clips.
    """
    return _scores(
        study,
        records,
        name=f"masked_{part}",
        title=f"All arms on the {part} part, observed labels only",
        where=None,
        network=None,
        part=part,
        metrics=tuple(metrics),
        published={},
        conditions=conditions,
        replicates=replicates,
        level=level,
    )


def condition_table(
    study: Study,
    records: Sequence[Record],
    *,
    base: str | None = None,
    part: str = "test",
    metrics: Sequence[str] | None = None,
    arms: tuple[str, str] = ("layers", "Layers trained"),
    networks: bool = True,
    replicates: int = 1000,
    level: float = 0.95,
) -> Table:
    """What each change of the protocol is worth, arm by arm.

    Parameters
    ----------
    study
        Gives the arms and conditions.
    records
        Any of the study's, of one corpus and profile.
    base
        Name of the condition that the others are compared with; default: the study's first.
    part
        ``"valid"`` or ``"test"``.
    metrics
        Names out of the ``METRICS`` of the study's task; default: its main score and the usual ones beside it.
    arms
        Name and head of the column with the arms' titles.
    networks
        Whether to show which network an arm is.
    replicates, level
        Of the bootstrap over seeds and clips together (`estimates.estimate`).

    Returns
    -------
    Table
        One row per condition, arm and metric; column ``paired`` says whether both scored the same clips.

    Raises
    ------
    RepriseError
        No arm has records under the base and under another condition.
    """
    base = study.condition(base or study.conditions[0].name).name
    metrics = list(dict.fromkeys((study.metric, *USUAL[study.task]))) if metrics is None else metrics
    unit, units = units_of(study, records)
    drawn = {"units": units, "replicates": replicates, "level": level}
    rows = []
    for condition in study.conditions:
        for arm in study.arms:
            ours = estimates.select(records, arm.name, condition.name)
            theirs = estimates.select(records, arm.name, base)
            if condition.name == base or not ours or not theirs:
                continue
            gains, paired = estimates.difference(ours, theirs, part, metrics, **drawn)
            scores, base_scores = (estimates.mean_scores(side, part, metrics) for side in (ours, theirs))
            for metric in metrics:
                rows.append(
                    {
                        "condition": condition.name,
                        "condition_title": condition.title,
                        "network": arm.network,
                        "arm": arm.name,
                        arms[0]: arm.title,
                        "metric": metric,
                        "metric_title": METRIC_TITLES[metric],
                        "base": base_scores[metric],
                        "score": scores[metric],
                        **_ends("difference", gains[metric]),
                        "paired": paired,
                    }
                )
    if not rows:
        raise RepriseError(
            f"no arm of {study.name} has records under {base!r} and under another condition; "
            "run the study with both to see what the condition is worth"
        )
    used = [c for c in study.conditions if c.name in {base} | {row["condition"] for row in rows}]
    shown = [r for r in records if r.condition in {c.name for c in used}]
    origin = estimates.provenance(study, shown, part)
    compared = [r for r in shown if r.arm in {row["arm"] for row in rows}]
    caption = " ".join(
        [
            origin.sentence(),
            f"Difference: the condition's score minus that under “{study.condition(base).title}”, seed by seed and "
            + ("on the same clips" if all(row["paired"] for row in rows) else "on the same clips where both have them")
            + f"; with the {estimates.interval_in_words(compared, unit, replicates, level)}.",
            "°: the interval holds zero.",
        ]
    )
    return Table(
        name=f"conditions_{part}",
        title=f"What the conditions are worth on the {part} part",
        caption=caption,
        notes=_notes(study, [c.name for c in used]),
        frame=_frame(rows, "base", "score", *_ends("difference", None)),
        columns=(
            Column("condition_title", "Condition", "text"),
            *([Column("network", "Network", "text")] if networks else []),
            Column(*arms, "text"),
            Column("metric_title", "Metric", "text"),
            Column("base", study.condition(base).title, "score"),
            Column("score", "Changed", "score"),
            Column("difference", "Difference", "difference"),
        ),
        group=("condition", "arm"),
        section="condition",
        provenance=origin,
    )


def _scores(
    study: Study,
    records: Sequence[Record],
    *,
    name: str,
    title: str,
    where: str | None,
    network: str | None,
    part: str,
    metrics: tuple[str, ...],
    published: dict[tuple[str, str], float],
    conditions: Sequence[str] | None,
    replicates: int,
    level: float,
) -> Table:
    """Arms by conditions, with chance and, where there are any, published values."""
    arms = [arm for arm in study.arms if network in (None, arm.network)]
    records = [r for r in records if r.arm in {arm.name for arm in arms}]
    if conditions is None:
        conditions = estimates.conditions(study, records)
    records = [r for r in records if r.condition in conditions]
    if not records:
        raise RepriseError(f"there is no record of {study.name} for {title!r}; run the study first")
    first = next(c for c in conditions if any(r.condition == c for r in records))
    ranked = [r for r in records if r.condition == first]
    tied = ties.ties(study, ranked, metrics, part, replicates=replicates, level=level)
    unit, units = units_of(study, records)
    rows = []
    for arm in arms:
        of_arm = {c: estimates.select(records, arm.name, c) for c in conditions}
        scores = {
            c: estimates.estimate(found, part, metrics, units=units, replicates=replicates, level=level)
            for c, found in of_arm.items()
            if found
        }
        sizes = {r.data["parameters"]["trainable"] for found in of_arm.values() for r in found}
        size = " or ".join(f"{n:,}" for n in sorted(sizes)) or UNDEFINED
        for metric in metrics:
            row = {
                "network": arm.network,
                "arm": arm.name,
                "layers": arm.title,
                "parameters_published": arm.published_parameters,
                "parameters": max(sizes, default=None),
                "parameters_title": f"{size} ({arm.published_parameters})" if published else size,
                "metric": metric,
                "metric_title": METRIC_TITLES[metric],
                "published": published.get((arm.name, metric)),
            }
            for condition in conditions:
                row |= _ends(f"ours_{condition}", scores[condition][metric] if condition in scores else None)
            levels = [s[metric].chance for s in scores.values()]
            if len(set(levels)) > 1:
                raise RepriseError(
                    f"{' and '.join(scores)} scored different clips, so they have different levels of chance; "
                    "make one table for each"
                )
            row |= tied.columns(metric, arm.name)
            rows.append(row | {"chance": levels[0] if levels else None})
    origin = estimates.provenance(study, records, part)
    best = "best arm of its network" if network is None else "best arm"
    caption = [
        origin.sentence(),
        f"{'Mean over the seeds; brackets' if origin.seeds > 1 else 'Brackets'}: "
        f"{estimates.interval_in_words(records, unit, replicates, level)}.",
        f"*: {best}; °: {estimates.not_above_chance(metrics)}.",
    ]
    if tied.caption:
        caption.append(f"{tied.caption} Letters are for “{study.condition(first).title}”.")
    caption += [
        f"Chance of {METRIC_TITLES[metric]}: {estimates.CHANCE_IN_WORDS[metric]}."
        for metric in metrics
        if metric in estimates.CHANCE_IN_WORDS
    ]
    if where:
        caption.insert(0, f"In the paper: {where}.")
    columns = [
        *([] if network else [Column("network", "Network", "text")]),
        Column("layers", "Layers trained", "text"),
        Column("parameters_title", "Parameters (paper)" if published else "Parameters", "text"),
        Column("metric_title", "Metric", "text"),
        *([Column("published", "Paper", "published")] if published else []),
        *(Column(f"ours_{c}", f"Ours: {study.condition(c).title}", "estimate") for c in conditions),
        *([ties.COLUMN] if tied.letters else []),
        Column("chance", "Chance", "score"),
    ]
    estimated = [end for c in conditions for end in _ends(f"ours_{c}", None)]
    frame = _frame(rows, "published", "chance", *estimated)
    notes = _notes(study, conditions)
    return Table(name, title, " ".join(caption), notes, frame, tuple(columns), ("arm",), "network", origin)


def _frame(rows: Sequence[dict[str, Any]], *scores: str) -> pd.DataFrame:
    """Rows with NaN where a score is undefined."""
    frame = pd.DataFrame(rows).astype(dict.fromkeys(scores, float))
    return frame.astype({"parameters": "Int64"}) if "parameters" in frame else frame


def _notes(study: Study, conditions: Sequence[str]) -> str:
    """What each condition changes."""
    return " ".join(f"“{study.condition(c).title}”: {study.condition(c).note}" for c in conditions)


def _ends(name: str, of: Estimate | None) -> dict[str, float | None]:
    """The three columns of one estimate."""
    of = of or Estimate(None, None, None)
    return {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}
