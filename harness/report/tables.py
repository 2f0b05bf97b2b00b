"""Tables of a study: queries on the frames of `harness.analysis.study`, with the sentences that captions need.

A table of one's own takes rows of ``analysis.estimates`` or ``analysis.contrasts``, makes cells of them with `numbers`
or `differences`, lays them out with `pivot`, and says with `origin` what they stand on. Letters, marks, intervals of
differences and verdicts all come from the same contrasts, so that they cannot contradict each other.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.measured import Gain
from harness.analysis.study import CONDITIONS, Analysis
from harness.analysis.verdicts import departures
from harness.corpora.segments import is_segment
from harness.errors import RepriseError
from harness.metrics import METRICS
from harness.report.writers import UNDEFINED, Column, Number, Table
from harness.studies.records import Record
from harness.studies.study import Study

__all__ = [
    "about", "arm_table", "arm_title", "averages", "best_arms", "comparable", "condition_table", "differences",
    "doubtful_in_words", "failed_in_words", "gained", "interval_in_words", "numbers", "origin", "pivot", "score_table",
    "start", "tied_in_words", "usual_table",
]  # fmt: skip


# Cells.


def numbers(rows: pd.DataFrame, value: str = "mean") -> pd.Series:
    """Cells of scores.

    Parameters
    ----------
    rows
        Of ``analysis.estimates``.
    value
        Column that is shown.

    Returns
    -------
    pd.Series
        A `Number` per row, doubtful where the interval is not better than chance throughout.
    """
    cells = []
    for of, low, high, note, chance, metric in zip(
        *(rows[name] for name in (value, "low", "high", "note", "chance", "metric")), strict=True
    ):
        better = low > chance if METRICS[metric].higher_is_better else high < chance
        doubtful = bool(np.isfinite(low) and np.isfinite(chance) and not better)
        cells.append(Number(of, low, high, note, doubtful))
    return pd.Series(cells, rows.index, dtype=object)


def differences(rows: pd.DataFrame) -> pd.Series:
    """Cells of differences, with the simultaneous intervals.

    Parameters
    ----------
    rows
        Of ``analysis.contrasts``.

    Returns
    -------
    pd.Series
        A `Number` per row, doubtful where nothing is decided, which is where the interval holds 0. A single seed has
        the interval over clips alone, and decides nothing.
    """
    cells = []
    for row in rows.itertuples():
        adjusted = np.isfinite(row.low_adjusted)
        ends = (row.low_adjusted, row.high_adjusted) if adjusted else (row.low, row.high)
        cells.append(Number(row.difference, *ends, row.note, not row.decided))
    return pd.Series(cells, rows.index, dtype=object)


def gained(found: Gain, unit: str) -> Number:
    """The difference of something measured from its reference, doubtful where its own interval holds 0."""
    few = f"{found.units} {unit} are too few for an interval" if np.isnan(found.low) else ""
    return Number(found.difference, found.low, found.high, few, not found.low * found.high > 0)


def pivot(frame: pd.DataFrame, index: str | Sequence[str], columns: str, values: str) -> pd.DataFrame:
    """A long frame laid out: a row per `index`, a column per entry of `columns`, both in the order of appearance.

    Parameters
    ----------
    frame
        With one row for each pair.
    index, columns, values
        Columns of it; `values` may hold `Number`.

    Returns
    -------
    pd.DataFrame
        With the columns of `index` as columns again.

    Examples
    --------
    >>> long = pd.DataFrame({"arm": ["b", "b", "a"], "metric": ["f1", "map", "f1"], "mean": [1, 2, 3]})
    >>> pivot(long, "arm", "metric", "mean")["f1"].tolist()
    [1.0, 3.0]
    """
    index = [index] if isinstance(index, str) else list(index)
    rows = frame[index].drop_duplicates()
    wide = frame.set_index([*index, columns])[values].unstack(columns)
    wide = wide[list(dict.fromkeys(frame[columns]))].rename_axis(columns=None)
    return rows.merge(wide.reset_index(), on=index, how="left")


def averages(analysis: Analysis, part: str = "test", metrics: Iterable[str] | None = None) -> pd.DataFrame:
    """Rows of ``analysis.estimates`` that are averages over classes, on one part, by some metrics or all."""
    frame = analysis.estimates
    rows = frame[(frame["part"] == part) & (frame["class"] == "")]
    return rows if metrics is None else rows[rows["metric"].isin(list(metrics))]


# Sentences, and what else tables and figures say of arms.


def start(record: Record) -> str:
    """Where a trial began: its network's weights, or the pre-training of ours behind its representation."""
    pretraining = record.data["inputs"].get("representation", {}).get("pretraining")
    return f"{pretraining['objective']} on {pretraining['corpus']}" if pretraining else record.data["weights"]["kind"]


def arm_title(study: Study, arm: str) -> str:
    """Title of an arm, with its network where arms of several networks have the same title."""
    title = study.arm(arm).title
    alone = [a.title for a in study.arms].count(title) == 1
    return title if alone else f"{study.arm(arm).network}: {title}"


def comparable(analysis: Analysis) -> list[str]:
    """Conditions that can stand side by side: the study's first, and those for every arm that are on the same split."""
    splits: dict[str, set[str]] = {}
    for r in analysis.records:
        if r.condition == analysis.base or not analysis.study.condition(r.condition).arms:
            splits.setdefault(r.condition, set()).add(r.data["split"]["name"])
    first = next(iter(splits.values()), None)
    return [name for name, of in splits.items() if of == first]


def best_arms(analysis: Analysis, condition: str = "") -> dict[str, str]:
    """For each network its best arm, chosen on the validation part by the main score."""
    study, rows = analysis.study, averages(analysis, "valid", [analysis.study.metric])
    rows = rows[(rows["condition"] == (condition or analysis.base)) & rows["mean"].notna()]
    rows = rows.sort_values("mean", ascending=not METRICS[study.metric].higher_is_better, kind="stable")
    best = {study.arm(arm).network: arm for arm in reversed(rows["arm"].tolist())}
    return {network: best[network] for network in dict.fromkeys(arm.network for arm in study.arms) if network in best}


def about(analysis: Analysis, records: Sequence[Record] | None = None, part: str = "test") -> dict[str, Any]:
    """What numbers stand on, for the CSV file of a table: corpus, profile, weights, split, part, clips and seeds."""
    records = analysis.records if records is None else records

    def names(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values))

    return {
        "corpus": names(r.data["corpus"] for r in records),
        "profile": names(r.data["profile"] for r in records),
        "weights": names(start(r) for r in records),
        "split": names(r.data["split"]["name"] for r in records),
        "part": part,
        "clips": names(r.data["split"]["sizes"][part] for r in records),
        "seeds": len({r.seed for r in records}),
    }


def origin(analysis: Analysis, records: Sequence[Record] | None = None, part: str = "test") -> str:
    """What numbers stand on, for a caption: corpus, profile, weights, split, clips, seeds, and seeds that failed.

    Parameters
    ----------
    records
        Those that are shown; default: all.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    str
        In sentences. Where the records are not made as the published ones, the last says so.
    """
    records = analysis.records if records is None else list(records)
    of = about(analysis, records, part)
    segments = is_segment(analysis.predictions(records[0], part).keys[0])
    text = (
        f"Corpus {of['corpus']}, profile {of['profile']}, weights {of['weights']}; split {of['split']}, {part} part, "
        f"{of['clips']} {'segments' if segments else 'clips'}; {of['seeds']} seed{'s' if of['seeds'] > 1 else ''}."
    )
    if failed := failed_in_words(analysis, records):
        text += f" {failed}"
    if unlike := departures(analysis, records):
        text += f" Not a replication of the published values: {'; '.join(unlike)}."
    return text


def failed_in_words(analysis: Analysis, records: Sequence[Record]) -> str:
    """Which arms have seeds that did not learn; "" if all learnt.

    Where some of an arm's seeds learnt and others did not, the interquartile mean of the main score says more than the
    mean.
    """
    study, frame = analysis.study, averages(analysis, "test", [analysis.study.metric])
    frame = frame.set_index(["condition", "arm"])
    failed: dict[tuple[int, int], list[str]] = {}
    for condition, arm in dict.fromkeys((r.condition, r.arm) for r in records):
        row = frame.loc[(condition, arm)]
        trained, seeds = int(row["seeds_trained"]), int(row["seeds"])
        if trained < seeds:
            more = [] if condition == analysis.base else [study.condition(condition).title]
            more += [f"interquartile mean on the test part {row['iqm']:.3f}"] if trained else []
            name = f"“{arm_title(study, arm)}”" + (f" ({', '.join(more)})" if more else "")
            failed.setdefault((trained, seeds), []).append(name)
    if not failed:
        return ""
    counts = "; ".join(
        f"{trained} of {seeds} seeds of {'each of ' if len(of) > 1 else ''}{', '.join(of)}"
        for (trained, seeds), of in failed.items()
    )
    rest = "; else all" if sum(map(len, failed.values())) < len({(r.condition, r.arm) for r in records}) else ""
    return f"Above chance on the validation part by {METRICS[study.metric].in_words}: {counts}{rest}."


def interval_in_words(analysis: Analysis, records: Sequence[Record] | None = None) -> str:
    """What the intervals of means over seeds are, for a caption, without a full stop."""
    cells = [(r.condition, r.arm) for r in (analysis.records if records is None else records)]
    counts = [cells.count(cell) for cell in set(cells)]
    if max(counts) == 1:
        over = f"{analysis.unit} alone; one seed says nothing of others"
    else:
        alone = f"; where there is one seed, over {analysis.unit} alone" if min(counts) == 1 else ""
        over = f"seeds and {analysis.unit} together{alone}"
    return f"{analysis.level:.0%} interval over {over}"


def tied_in_words(analysis: Analysis) -> str:
    """What letters, decided differences and their intervals have in common, for a caption; "" where nothing is tested.

    Returns
    -------
    str
        How many differences are tested together, how, and what error rate that keeps.
    """
    count = analysis.family.tested
    if not count:
        return ""
    return (
        f"All {count:,} differences of scores on this page are tested together (smallest p of all, "
        f"{analysis.replicates:,} draws of seeds and {analysis.unit}), so that with a probability of "
        f"{analysis.level:.0%} none is decided wrongly."
    )


def doubtful_in_words(metrics: Iterable[str]) -> str:
    """What ``°`` beside a score says, and what chance is by each metric, for a caption."""
    metrics = list(dict.fromkeys(metrics))
    words: dict[str, list[str]] = {}
    for metric in metrics:
        words.setdefault(METRICS[metric].chance_in_words, []).append(METRICS[metric].in_words)
    better = "above" if all(METRICS[metric].higher_is_better for metric in metrics) else "better than"
    levels = "; ".join(f"by {', '.join(names)} the score of {what}" for what, names in words.items())
    chance = "Chance is the best score of a prediction that does not listen"
    return f"°: the interval is not {better} chance. {chance}: {levels}."


# The tables that every study may show.


def score_table(analysis: Analysis, table_id: str, *, conditions: Sequence[str] | None = None) -> Table:
    """One table of the paper beside ours.

    Parameters
    ----------
    table_id
        The paper's number, a key of ``study.tables``.
    conditions
        Names; default: those that are `comparable`.

    Returns
    -------
    Table
        One row per arm and published metric. Arms without a record keep their published values.

    Raises
    ------
    RepriseError
        The paper has no such table, or no record fits it.
    """
    study = analysis.study
    if table_id not in study.tables:
        raise RepriseError(f"{study.name} has no table {table_id!r}; it has {', '.join(study.tables)}")
    of = study.tables[table_id]
    published = {(row["arm"], row["metric"]): row["value"] for row in study.published if row["table"] == table_id}
    return _scores(
        analysis,
        name=f"table_{table_id}",
        title=f"Table {table_id}: {of['title']}, ours beside the paper's",
        where=f"In the paper: {of['where']}.",
        network=of.get("network"),
        part=of["split"],
        metrics=list(dict.fromkeys(metric for _, metric in published)),
        published=published,
        conditions=conditions,
    )


def usual_table(
    analysis: Analysis,
    *,
    part: str = "test",
    metrics: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
) -> Table:
    """All arms by the scores that are usual for the task (`harness.metrics.Metric.usual`), whatever the paper gives.

    Parameters
    ----------
    part
        ``"valid"`` or ``"test"``.
    metrics
        In place of the usual ones.
    conditions
        Names; default: those that are `comparable`.

    Returns
    -------
    Table
        One row per arm and metric.

    Raises
    ------
    RepriseError
        No record fits it.
    """
    metrics = [m for m in analysis.of_conditions if METRICS[m].usual] if metrics is None else list(metrics)
    return _scores(
        analysis,
        name=f"usual_{part}",
        title=f"All arms on the {part} part by {', '.join(METRICS[m].in_words for m in metrics)}",
        where="",
        network=None,
        part=part,
        metrics=metrics,
        published={},
        conditions=conditions,
    )


def _scores(
    analysis: Analysis,
    *,
    name: str,
    title: str,
    where: str,
    network: str | None,
    part: str,
    metrics: list[str],
    published: dict[tuple[str, str], float],
    conditions: Sequence[str] | None,
) -> Table:
    """Arms and metrics by conditions, with chance and, where there are any, published values."""
    study = analysis.study
    arms = [arm for arm in study.arms if network in (None, arm.network)]
    known = set(comparable(analysis) if conditions is None else conditions)
    records = [r for r in analysis.records if r.condition in known and r.arm in {arm.name for arm in arms}]
    if not records:
        raise RepriseError(f"there is no record of {study.name} for {title!r}; run the study first")
    found = averages(analysis, part, metrics)
    found = found[found["condition"].isin(known)]
    shown = [c.name for c in study.conditions if c.name in set(found["condition"])]
    sizes: dict[str, set[int]] = {}
    for r in records:
        sizes.setdefault(r.arm, set()).add(r.data["parameters"]["trainable"])
    ran = [arm for arm in arms if arm.name in sizes or any((arm.name, m) in published for m in metrics)]
    rows = []
    for arm in ran:
        size = " or ".join(f"{n:,}" for n in sorted(sizes.get(arm.name, ()))) or UNDEFINED
        for metric in metrics:
            row: dict[str, Any] = {"network": arm.network, "arm": arm.name, "title": arm.title, "metric": metric}
            row["parameters"] = (
                f"{size} ({arm.published_parameters})" if arm.published_parameters and published else size
            )
            row["score"] = METRICS[metric].title
            row["published"] = published.get((arm.name, metric), np.nan)
            rows.append(row | {"tied": analysis.letters(metric).get(arm.name, "") if part == "test" else ""})
    cells = pivot(found.assign(cell=numbers(found)), ["arm", "metric"], "condition", "cell")
    others = found.drop_duplicates(["arm", "metric"])[["arm", "metric", "chance", "seeds", "seeds_trained", "iqm"]]
    frame = pd.DataFrame(rows).merge(cells, "left", ["arm", "metric"]).merge(others, "left", ["arm", "metric"])
    frame = frame.astype({"seeds": "Int64", "seeds_trained": "Int64"})
    tied, stated = frame["tied"].any(), published and any(arm.published_parameters for arm in ran)
    caption = [
        where,
        origin(analysis, records, part),
        f"Mean over the seeds, in brackets the {interval_in_words(analysis, records)}.",
        doubtful_in_words(metrics),
    ]
    if tied:
        of = f", under “{study.condition(analysis.base).title}”" if len(shown) > 1 else ""
        caption.append(f"Tied: arms that share a letter cannot be told apart{of}. {tied_in_words(analysis)}")
    return Table(
        name=name,
        title=title,
        frame=frame.rename(columns={c: f"ours_{c}" for c in shown}),
        columns=(
            *([] if network else [Column("network", "Network", "text")]),
            Column("title", study.arm_title, "text"),
            Column("parameters", "Parameters (paper)" if stated else "Parameters", "text"),
            Column("score", "Metric", "text"),
            *([Column("published", "Paper", "published")] if published else []),
            *(Column(f"ours_{c}", f"Ours: {study.condition(c).title}", "estimate") for c in shown),
            *([Column("tied", "Tied", "text")] if tied else []),
            Column("chance", "Chance", "score"),
        ),
        group=("arm",),
        section="network",
        caption=" ".join(filter(None, caption)),
        notes=_notes(study, shown),
        best="best arm" if network else "best arm of its network",
        about={k: v for k, v in about(analysis, records, part).items() if k != "seeds"},
    )


def condition_table(
    analysis: Analysis, *, metrics: Sequence[str] | None = None, conditions: Sequence[str] | None = None
) -> Table:
    """What each change of the protocol is worth on the test part, arm by arm.

    Parameters
    ----------
    metrics
        Among those that conditions are compared by (``analysis.of_conditions``), which is the default.
    conditions
        Names; default: all.

    Returns
    -------
    Table
        One row per condition, arm and metric. The intervals are those that decide.

    Raises
    ------
    RepriseError
        No arm has records under the study's first condition and under another.
    """
    study = analysis.study
    base = study.condition(analysis.base)
    found = analysis.contrasts
    found = found[found["kind"] == CONDITIONS]
    found = found.assign(condition=found["above"].str.split("@").str[-1], arm=found["below"])
    found = found[found["metric"].isin(analysis.of_conditions if metrics is None else metrics)]
    found = found[found["condition"].isin([c.name for c in study.conditions] if conditions is None else conditions)]
    if found.empty:
        raise RepriseError(
            f"no arm of {study.name} has records under {base.name!r} and under another condition; "
            "run the study with both to see what the condition is worth"
        )
    means = averages(analysis).set_index(["condition", "arm", "metric"])["mean"]
    frame = pd.DataFrame(
        {
            "condition": found["condition"],
            "changed": [study.condition(c).title for c in found["condition"]],
            "network": [study.arm(arm).network for arm in found["arm"]],
            "arm": found["arm"],
            "title": [arm_title(study, arm) for arm in found["arm"]],
            "metric": found["metric"],
            "score": [METRICS[metric].title for metric in found["metric"]],
            "base": [means[base.name, arm, metric] for arm, metric in zip(found["arm"], found["metric"], strict=True)],
            "ours": [means[key] for key in zip(found["condition"], found["arm"], found["metric"], strict=True)],
            "difference": differences(found),
            "p_adjusted": found["p_adjusted"],
            "seeds": found["seeds"],
        }
    )
    used = [c.name for c in study.conditions if c.name in {base.name, *found["condition"]}]
    records = [r for r in analysis.records if r.condition in used and r.arm in set(found["arm"])]
    interval = f"simultaneous {analysis.level:.0%} interval over seeds and {analysis.unit}"
    if not analysis.family.tested:
        interval = interval_in_words(analysis, records)
    return Table(
        name="conditions_test",
        title="What the conditions are worth on the test part",
        frame=frame,
        columns=(
            Column("changed", "Condition", "text"),
            Column("title", study.arm_title, "text"),
            Column("score", "Metric", "text"),
            Column("base", base.title, "score"),
            Column("ours", "Changed", "score"),
            Column("difference", "Difference", "difference"),
        ),
        group=("condition", "arm"),
        section="condition",
        caption=" ".join(
            filter(
                None,
                [
                    origin(analysis, records),
                    f"Difference: the condition's score minus that under “{base.title}”, seed by seed, with the "
                    f"{interval}. °: nothing is decided.",
                    tied_in_words(analysis),
                ],
            )
        ),
        notes=_notes(study, used),
        about={k: v for k, v in about(analysis, records).items() if k != "seeds"},
    )


def arm_table(analysis: Analysis, *, part: str = "test", beside: Sequence[str] | None = None, digits: int = 3) -> Table:
    """All arms under the study's first condition by its main score, with the spread of the seeds.

    Parameters
    ----------
    part
        ``"valid"`` or ``"test"``.
    beside
        Other scores to show, without intervals; default: those that are usual.
    digits
        Decimals of the printed values.

    Returns
    -------
    Table
        Arms without a record are left out, unless a value is printed for them.

    Raises
    ------
    RepriseError
        No record was made under the first condition.
    """
    study, metric = analysis.study, analysis.study.metric
    records = [r for r in analysis.records if r.condition == analysis.base]
    if not records:
        raise RepriseError(f"no arm of {study.name} has a record under {analysis.base!r}; run it first")
    if beside is None:
        beside = [m for m in analysis.of_conditions if m != metric]
    printed = {p["arm"]: p for p in study.published if (p["split"], p["metric"]) == (part, metric)}
    found = averages(analysis, part)
    found = found[found["condition"] == analysis.base]
    ours = found[found["metric"] == metric]
    ours = ours.assign(ours=numbers(ours))[["arm", "ours", "iqm", "sd", "seeds", "seeds_trained", "chance"]]
    letters = analysis.letters() if part == "test" else {}
    rows = [
        {
            "condition": analysis.base,
            "network": arm.network,
            "arm": arm.name,
            "title": arm_title(study, arm.name),
            "metric": metric,
            "started_from": ", ".join(dict.fromkeys(start(r) for r in analysis.select(arm.name))),
            "parameters": max((r.data["parameters"]["trainable"] for r in analysis.select(arm.name)), default=None),
            "published": printed[arm.name]["value"] if arm.name in printed else np.nan,
            "tied": letters.get(arm.name, ""),
        }
        for arm in study.arms
        if arm.name in set(ours["arm"]) or arm.name in printed
    ]
    frame = pd.DataFrame(rows).merge(ours, "left", "arm")
    frame = frame.astype({"parameters": "Int64", "seeds": "Int64", "seeds_trained": "Int64"})
    if beside:
        frame = frame.merge(pivot(found[found["metric"].isin(beside)], "arm", "metric", "mean"), "left", "arm")
    frame["trained"] = [
        UNDEFINED if pd.isna(seeds) else f"{seeds}" if trained == seeds else f"{trained} of {seeds} trained"
        for seeds, trained in zip(frame["seeds"], frame["seeds_trained"], strict=True)
    ]
    about_metric = METRICS[metric]
    caption = [
        origin(analysis, records, part),
        f"{about_metric.title} ({metric}): mean over the seeds, in brackets the "
        f"{interval_in_words(analysis, records)}. SD: standard deviation over the seeds.",
        doubtful_in_words([metric]),
    ]
    if letters:
        caption.append(f"Tied: arms that share a letter cannot be told apart. {tied_in_words(analysis)}")
    if printed:
        where = dict.fromkeys(study.tables[p["table"]]["where"] for p in printed.values())
        caption.append(f"Printed: {'; '.join(where)}.")
    return Table(
        name=f"arms_{part}",
        title=f"{about_metric.title} of every arm on the {part} part",
        frame=frame,
        columns=(
            Column("title", study.arm_title, "text"),
            Column("started_from", "Pre-training", "text"),
            *([Column("published", "Printed", "published", digits)] if printed else []),
            Column("ours", about_metric.title, "estimate"),
            Column("sd", "SD", "score"),
            Column("trained", "Seeds", "text"),
            *([Column("tied", "Tied", "text")] if letters else []),
            *(Column(name, METRICS[name].title, "score") for name in beside),
            Column("chance", "Chance", "score"),
        ),
        group=("arm",),
        section="condition",
        caption=" ".join(caption),
        notes=f"Condition: {study.condition(analysis.base).title}.",
        best="best arm",
        about={k: v for k, v in about(analysis, records, part).items() if k not in ("seeds", "weights")},
    )


def _notes(study: Study, conditions: Sequence[str]) -> str:
    """What each condition changes."""
    return " ".join(f"“{study.condition(c).title}”: {study.condition(c).note}" for c in conditions)
