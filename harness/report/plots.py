"""Figures on the frames of `harness.analysis.study`. A line below each says what its numbers stand on."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.metrics import METRICS
from harness.metrics.tally import ratio
from harness.report.confusion_matrix import confusion_matrix
from harness.report.style import (
    CHANCE,
    HATCHES,
    LINES,
    MARKERS,
    SMALL,
    UNDEFINED,
    new_figure,
    palette,
    save,
    style,
    write_foot,
)
from harness.report.tables import averages, best_arms, comparable, interval_in_words, origin
from harness.studies.records import Record

__all__ = ["confusion", "false_alarms", "label_counts", "per_class_f1", "save", "scores", "style", "training_curves"]

#: The mean of whose per-class scores is F1, by task.
F1 = {"multilabel": "f1_macro_unmasked", "multiclass": "f1_macro"}


def label_counts(analysis: Analysis) -> Figure | None:
    """Clips with each class present and absent, and how many were asked about it.

    Returns
    -------
    matplotlib.figure.Figure or None
        Two panels: counts of observed labels; share of clips in which the label was observed. None where the records
        do not say what the corpus holds, as older ones do not.
    """
    data = analysis.records[0].data
    corpus = data["inputs"].get("corpus", {})
    if not corpus.get("labels"):
        return None
    frame = pd.DataFrame.from_dict(corpus["labels"], orient="index")
    asked = frame["present"] + frame["absent"]
    whole = asked + frame["never_asked"]
    dark, light = palette(2)
    places = np.arange(len(frame))
    with mpl.rc_context(style()):
        figure = new_figure(1.1 + 0.22 * len(places))
        counts, share = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
        looks: dict[str, dict[str, Any]] = {
            "present": {"color": dark}, "absent": {"color": light, "hatch": HATCHES[1], "edgecolor": "white"},
        }  # fmt: skip
        for offset, (name, look) in zip((-0.2, 0.2), looks.items(), strict=True):
            counts.barh(places + offset, frame[name], 0.4, label=name, **look)
            _write_beside(counts, frame[name], places + offset, [f"{number:,}" for number in frame[name]])
        counts.set_xlabel("clips with an observed label")
        counts.margins(x=0.1)
        counts.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        observed = 100 * asked / whole
        share.barh(places, observed, 0.6, color="0.5")
        _write_beside(share, observed, places, [f"{number:.0f}" for number in observed])
        share.set_xlim(0, 115)
        share.set_xticks([0, 50, 100])
        share.set_xlabel("observed, % of clips")
        share.tick_params(axis="y", length=0)
        _class_axis(counts, readable(frame.index))
        write_foot(
            figure,
            f"Corpus {data['corpus']}: {corpus['clips']:,} clips, {asked.sum():,} of {whole.sum():,} labels observed.",
        )
    return figure


def training_curves(
    analysis: Analysis, *, condition: str = "", selected: str = "the lowest validation loss"
) -> Figure | None:
    """Losses and, if the history has it, the main score on the validation part by epoch: a network a column.

    Parameters
    ----------
    condition
        By name; default: the study's first.
    selected
        What distinguishes the epoch whose weights were kept.

    Returns
    -------
    matplotlib.figure.Figure or None
        One line per seed; a marker at the epoch whose weights were kept. None where nothing is trained in epochs.
    """
    study, condition, records = analysis.study, *_under(analysis, condition)
    rows = [("train_loss", "training loss"), ("valid_loss", "validation loss")]
    if study.metric in study.history:
        rows.append((study.metric, f"validation {METRICS[study.metric].in_words}"))
    trained = {r.arm for r in records if r.data["epochs"]}
    networks = list(dict.fromkeys(arm.network for arm in study.arms if arm.name in trained))
    if not networks:
        return None
    valid = averages(analysis, "valid", [study.metric])
    chance = valid.loc[valid["condition"] == condition, "chance"].mean()
    with mpl.rc_context(style()):
        figure = new_figure(5.6)
        grid = figure.subplots(len(rows), len(networks), sharex="col", sharey="row", squeeze=False)
        for column, network in enumerate(networks):
            arms = [arm for arm in study.arms if arm.network == network and arm.name in trained]
            handles = []
            looks = zip(arms, palette(len(arms)), _cycle(MARKERS, arms), _cycle(LINES, arms), strict=True)
            for arm, colour, marker, line in looks:
                for record in analysis.select(arm.name, condition):
                    history, best = record.history().set_index("epoch"), record.data["best_epoch"]
                    for axes, (name, _) in zip(grid[:, column], rows, strict=True):
                        axes.plot(history.index, history[name], color=colour, linestyle=line)
                        axes.plot(best, history[name][best], color=colour, marker=marker, markersize=6, mec="white")
                handles.append(Line2D([], [], color=colour, linestyle=line, marker=marker, label=arm.title))
            if study.metric in study.history and np.isfinite(chance):
                handles.append(grid[-1, column].axhline(chance, label="chance", **CHANCE))
            grid[0, column].legend(
                handles=handles, title=network, loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=3.5
            )
            grid[-1, column].set_xlabel("epoch")
            grid[-1, column].xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        for axes, (_, title) in zip(grid[:, 0], rows, strict=True):
            axes.set_ylabel(title)
        figure.align_ylabels()
        write_foot(
            figure,
            f"Markers: the epoch of {selected}, whose weights were kept. "
            f"Condition: {study.condition(condition).title}. {origin(analysis, records, 'valid')}",
        )
    return figure


def per_class_f1(analysis: Analysis, *, arms: Sequence[str] | None = None, condition: str = "") -> Figure:
    """F1 of each class on the test part, arms side by side, with the F1 of saying "present" everywhere.

    Parameters
    ----------
    arms
        At most five, by name; default: the best of each network on the validation part.
    condition
        By name; default: the study's first.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are means over the seeds, with their intervals where there are any.
    """
    study, condition, records = analysis.study, *_under(analysis, condition)
    arms = list(best_arms(analysis, condition).values()) if arms is None else list(arms)
    frame, metric = analysis.estimates, F1[study.task]
    frame = frame[(frame["metric"] == metric) & (frame["class"] != "") & (frame["part"] == "test")]
    frame = frame[(frame["condition"] == condition) & frame["arm"].isin(arms)]
    height, places = 0.8 / len(arms), np.arange(len(analysis.classes))
    with mpl.rc_context(style()):
        figure = new_figure(1.3 + len(places) * (0.1 + 0.07 * len(arms)))
        axes = figure.subplots()
        looks = zip(arms, palette(len(arms)), _cycle(HATCHES, arms), strict=True)
        for number, (arm, colour, hatch) in enumerate(looks):
            rows = frame[frame["arm"] == arm].set_index("class").loc[list(analysis.classes)]
            at = places - 0.4 + (number + 0.5) * height
            axes.barh(at, rows["mean"], height, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4,
                      label=_name(analysis, arm))  # fmt: skip
            axes.hlines(at, rows["low"], rows["high"], color="0.35", linewidth=0.7)
        by_chance = 2 * rows["positives"] / (rows["clips"] + rows["positives"])
        axes.vlines(by_chance, places - 0.46, places + 0.46, color="white", linewidth=3.5)
        axes.vlines(by_chance, places - 0.46, places + 0.46, color="black", linewidth=1.4, label="chance")
        axes.set_xlim(0, 1)
        axes.set_xlabel("F1")
        names = zip(readable(analysis.classes), rows["positives"], strict=True)
        _class_axis(axes, [f"{name} ({count})" for name, count in names])
        handles, titles = axes.get_legend_handles_labels()
        order = sorted(range(len(titles)), key=lambda i: titles[i] == "chance")
        axes.legend([handles[i] for i in order], [titles[i] for i in order], loc="lower center",
                    bbox_to_anchor=(0.5, 1), ncols=2)  # fmt: skip
        shown = [r for r in records if r.arm in arms]
        missing = "; unobserved labels count as absent" if study.task == "multilabel" else ""
        write_foot(
            figure,
            f"In brackets: clips of the {study.class_title}{missing}. Lines: {interval_in_words(analysis, shown)}, "
            f"where there are positives enough. Chance: the F1 of predicting the {study.class_title} everywhere. "
            f"Condition: {study.condition(condition).title}. {origin(analysis, shown)}",
        )
    return figure


def confusion(analysis: Analysis, arm: str, *, condition: str = "", part: str = "test") -> Figure:
    """What an arm hears when a class is there: co-occurring predictions as a heat map.

    Parameters
    ----------
    arm
        By name.
    condition
        By name; default: the study's first.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    matplotlib.figure.Figure
        Row: a class labelled present. Its diagonal cell is the recall; the others are the share of its clips without
        the column's class in which that is predicted all the same. Clips of all seeds are pooled. Where a clip has one
        class: `harness.report.confusion_matrix`.

    Raises
    ------
    RepriseError
        The arm has no record under that condition.
    """
    study = analysis.study
    if study.task == "multiclass":
        return confusion_matrix(analysis, arm, condition=condition, part=part)
    condition, _ = _under(analysis, condition)
    records = analysis.select(arm, condition)
    if not records:
        raise RepriseError(f"{arm} has no record under {condition!r}; run it first")
    rates, names, one = 100 * false_alarms(analysis, records, part), readable(analysis.classes), study.class_title
    with mpl.rc_context(style()):
        figure = new_figure(1.6 + 0.27 * len(names))
        axes = figure.subplots()
        axes.set_facecolor(UNDEFINED)
        sns.heatmap(
            rates,
            ax=axes,
            cmap="Greys",
            vmin=0,
            vmax=100,
            mask=np.isnan(rates),
            annot=True,
            fmt=".0f",
            annot_kws={"size": SMALL},
            xticklabels=names,
            yticklabels=names,
            linewidths=0.4,
            cbar_kws={"label": "% of the row's clips", "shrink": 0.6, "pad": 0.02},
        )
        for i in range(len(names)):
            axes.add_patch(Rectangle((i, i), 1, 1, fill=False, edgecolor="black", linewidth=1.2))
        axes.tick_params(length=0)
        axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel("predicted")
        axes.set_ylabel("labelled present")
        axes.set_title(_name(analysis, arm))
        write_foot(
            figure,
            f"Read a row: of the clips in which its {one} is labelled present, in how many per cent is each {one} "
            f"predicted? Framed: the {one} itself (recall). Others: only clips in which the column's {one} is not "
            f"labelled present, so a high number is a confusion, or a {one} that nobody was asked about. Grey: no such "
            f"clip. Condition: {study.condition(condition).title}. {origin(analysis, records, part)}",
        )
    return figure


def false_alarms(analysis: Analysis, records: Sequence[Record], part: str = "test") -> np.ndarray:
    """How often one class's presence goes with the prediction of another.

    Parameters
    ----------
    records
        Of one arm and condition; their clips are pooled.

    Returns
    -------
    np.ndarray [shape=(c, c)]
        Entry (i, j): among clips labelled i and not j, the share in which j is predicted; on the diagonal the recall.
        NaN where there is no such clip.
    """
    alarms = chances = hits = present = 0
    for record in records:
        case = analysis.case(record, part)
        labels, predicted = case.labels.astype(float), (case.probabilities >= case.threshold).astype(float)
        alarms += labels.T @ (predicted * (1 - labels))
        chances += labels.T @ (1 - labels)
        hits += (labels * predicted).sum(axis=0)
        present += labels.sum(axis=0)
    np.fill_diagonal(alarms, hits)
    np.fill_diagonal(chances, present)
    return ratio(alarms, chances, zero_division=np.nan)


def scores(
    analysis: Analysis,
    *,
    part: str = "test",
    metrics: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
) -> Figure:
    """Scores of all arms with their intervals, chance and the paper's values.

    Parameters
    ----------
    part
        ``"valid"`` or ``"test"``.
    metrics
        A panel each; default: those that the paper prints, or else the main score.
    conditions
        Names; default: those that can stand side by side (`harness.report.tables.comparable`).

    Returns
    -------
    matplotlib.figure.Figure
        One row per arm; those that run only where they are asked for need a record.

    Raises
    ------
    RepriseError
        There is no record.
    """
    study = analysis.study
    conditions = comparable(analysis) if conditions is None else list(conditions)
    records = [r for r in analysis.records if r.condition in conditions]
    if not records:
        raise RepriseError(f"there is no record of {study.name}; run the study first")
    conditions = list(dict.fromkeys(r.condition for r in records))
    published = {(row["arm"], row["metric"]): row["value"] for row in study.published if row["split"] == part}
    if metrics is None:
        metrics = list(dict.fromkeys(metric for _, metric in published)) or [study.metric]
    arms = [arm.name for arm in study.arms if arm.default or any(r.arm == arm.name for r in records)]
    place = {arm: number for number, arm in enumerate(arms)}
    offsets = np.linspace(-0.2, 0.2, len(conditions)) if len(conditions) > 1 else [0]
    frame = averages(analysis, part, metrics)
    printed = {"linestyle": "", "marker": "|", "markersize": 9, "color": "black", "markeredgewidth": 1.6}
    with mpl.rc_context(style()):
        figure = new_figure(1.4 + 0.36 * len(arms))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        looks = list(zip(conditions, offsets, palette(len(conditions)), _cycle(MARKERS, conditions), strict=True))
        for axes, metric in zip(panels, metrics, strict=True):
            for condition, offset, colour, marker in looks:
                rows = frame[(frame["metric"] == metric) & (frame["condition"] == condition)]
                at = rows["arm"].map(place) + offset
                axes.hlines(at, rows["low"], rows["high"], color=colour, linewidth=1.1)
                axes.plot(rows["mean"], at, color=colour, marker=marker, linestyle="")
            axes.plot([published.get((arm, metric), np.nan) for arm in arms], range(len(arms)), **printed)
            chance = frame.loc[(frame["metric"] == metric) & frame["condition"].isin(conditions), "chance"].mean()
            if np.isfinite(chance):
                axes.axvline(chance, **CHANCE)
            better = METRICS[metric].higher_is_better
            axes.set_title(METRICS[metric].title)
            axes.set_xlim(0, 1 if METRICS[metric].bounds[1] == 1 else None)
            axes.set_xlabel("score" if better else "lower is better")
            axes.grid(axis="y", color="0.92", linewidth=0.6)
            axes.tick_params(axis="y", length=0)
        handles = [
            Line2D([], [], color=colour, marker=marker, label=f"ours: {study.condition(condition).title}")
            for condition, _, colour, marker in looks
        ]
        if any((arm, metric) in published for arm in arms for metric in metrics):
            handles.append(Line2D([], [], label="paper", **printed))
        handles.append(Line2D([], [], label="chance", **CHANCE))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        _class_axis(panels[0], [_name(analysis, arm) for arm in arms])
        write_foot(figure, f"Lines: {interval_in_words(analysis, records)}. {origin(analysis, records, part)}")
    return figure


def readable(classes: Iterable[str]) -> list[str]:
    """Class names as words."""
    return [name.replace("_", " ") for name in classes]


def _write_beside(axes: Axes, widths: np.ndarray, places: np.ndarray, texts: Sequence[str]) -> None:
    """Write a number at the end of each horizontal bar."""
    for width, place, text in zip(widths, places, texts, strict=True):
        axes.annotate(text, (width, place), (2, 0), textcoords="offset points", va="center", size=SMALL)


def _class_axis(axes: Axes, names: Sequence[str]) -> None:
    """Names from top to bottom."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _cycle(marks: Sequence[Any], items: Sequence[Any]) -> list[Any]:
    """As many marks as items."""
    return [marks[i % len(marks)] for i in range(len(items))]


def _name(analysis: Analysis, arm: str) -> str:
    """An arm's title, with its network where the study has several whose arms have the same titles."""
    of, titles = analysis.study.arm(arm), [a.title for a in analysis.study.arms]
    return f"{of.network}: {of.title}" if len(set(titles)) < len(titles) else of.title


def _under(analysis: Analysis, condition: str) -> tuple[str, list[Record]]:
    """A condition's name and its records."""
    name = analysis.study.condition(condition or analysis.base).name
    found = [r for r in analysis.records if r.condition == name]
    if not found:
        raise RepriseError(f"no arm of {analysis.study.name} has a record under {name!r}; run it first")
    return name, found
