"""Figures from records. A line below each says what its numbers stand on."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from harness.corpora import Corpus
from harness.errors import RepriseError
from harness.metrics import multilabel
from harness.report import estimates
from harness.report.confusion_matrix import confusion_matrix
from harness.report.estimates import METRIC_TITLES, in_words, lower_is_better
from harness.report.resampling import units_of
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
from harness.studies.records import Record, scoring
from harness.studies.study import Study

__all__ = ["confusion", "false_alarms", "label_counts", "per_class_f1", "save", "scores", "style", "training_curves"]


def label_counts(corpus: Corpus) -> Figure:
    """Clips with each instrument present and absent, and how many were asked about it (study 000, Fig. 1).

    Parameters
    ----------
    corpus
        Any.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels: counts of observed labels; share of clips in which the label was observed.
    """
    labels, mask = corpus.labels.astype(bool) & corpus.mask, corpus.mask.astype(bool)
    present, absent = labels.sum(axis=0), (mask & ~labels).sum(axis=0)
    dark, light = palette(2)
    places = np.arange(len(corpus.classes))
    with mpl.rc_context(style()):
        figure = new_figure(1.1 + 0.22 * len(places))
        counts, share = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
        counts.barh(places - 0.2, present, 0.4, color=dark, label="present")
        counts.barh(places + 0.2, absent, 0.4, color=light, hatch=HATCHES[1], edgecolor="white", label="absent")
        for offset, numbers in ((-0.2, present), (0.2, absent)):
            _write_beside(counts, numbers, places + offset, [f"{number:,}" for number in numbers])
        counts.set_xlabel("clips with an observed label")
        counts.margins(x=0.1)
        counts.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
        observed = 100 * mask.mean(axis=0)
        share.barh(places, observed, 0.6, color="0.5")
        _write_beside(share, observed, places, [f"{number:.0f}" for number in observed])
        share.set_xlim(0, 115)
        share.set_xticks([0, 50, 100])
        share.set_xlabel("observed, % of clips")
        share.tick_params(axis="y", length=0)
        _class_axis(counts, _readable(corpus.classes))
        write_foot(
            figure,
            f"Corpus {corpus.name}: {len(corpus.clips):,} clips, {mask.sum():,} of {mask.size:,} labels observed.",
        )
    return figure


def training_curves(
    study: Study,
    records: Sequence[Record],
    *,
    condition: str | None = None,
    selected: str = "the lowest validation loss",
) -> Figure:
    """Losses and, if the history has it, the main score on the validation part by epoch: a network a column.

    Parameters
    ----------
    study
        Gives the arms.
    records
        Any of the study's, of one corpus and profile.
    condition
        By name; default: the study's first.
    selected
        What distinguishes the epoch whose weights were kept.

    Returns
    -------
    matplotlib.figure.Figure
        One line per seed; a marker at the epoch whose weights were kept. What is not trained in epochs has none, nor
        has chance where the score is undefined.

    Raises
    ------
    RepriseError
        No record was made under that condition.
    """
    condition, records = _under(study, records, condition)
    rows = [("train_loss", "training loss"), ("valid_loss", "validation loss")]
    if study.metric in study.history:
        rows.append((study.metric, f"validation {in_words(study.metric)}"))
    trained = {r.arm for r in records if r.data["epochs"]}
    networks = list(dict.fromkeys(arm.network for arm in study.arms if arm.name in trained))
    with mpl.rc_context(style()):
        figure = new_figure(5.6)
        grid = figure.subplots(len(rows), len(networks), sharex="col", sharey="row", squeeze=False)
        for column, network in enumerate(networks):
            arms = [arm for arm in study.arms if arm.network == network]
            handles = []
            for arm, colour, marker, line in zip(
                arms, palette(len(arms)), _cycle(MARKERS, arms), _cycle(LINES, arms), strict=True
            ):
                for record in estimates.select(records, arm.name, condition):
                    history = record.history().set_index("epoch")
                    best = record.data["best_epoch"]
                    for axes, (name, _) in zip(grid[:, column], rows, strict=True):
                        axes.plot(history.index, history[name], color=colour, linestyle=line)
                        axes.plot(best, history[name][best], color=colour, marker=marker, markersize=6, mec="white")
                handles.append(Line2D([], [], color=colour, linestyle=line, marker=marker, label=arm.title))
            chance = estimates.chance(records[0].predictions("valid"), scoring(records[0].data))[study.metric]
            if study.metric in study.history and chance is not None:
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
            f"Markers: the epoch of {selected}, whose weights were kept. Condition: "
            f"{study.condition(condition).title}. {estimates.provenance(study, records, 'valid').sentence()}",
        )
    return figure


def per_class_f1(
    study: Study,
    records: Sequence[Record],
    *,
    arms: Sequence[str] | None = None,
    condition: str | None = None,
    part: str = "test",
) -> Figure:
    """F1 of each class, arms side by side, with the F1 of saying "present" everywhere.

    Parameters
    ----------
    study
        Gives the arms.
    records
        Any of the study's, of one corpus and profile.
    arms
        At most four, by name; default: the best of each network on the validation part.
    condition
        By name; default: the study's first.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are means over the seeds of `f1_unmasked`, of `f1` where a clip has one class.

    Raises
    ------
    RepriseError
        No record was made under that condition.
    """
    condition, records = _under(study, records, condition)
    if arms is None:
        arms = list(estimates.best_arms(study, records, condition).values())
    records = [r for r in records if r.arm in arms]
    classes = records[0].data["classes"]
    places = np.arange(len(classes))
    height = 0.8 / len(arms)
    with mpl.rc_context(style()):
        figure = new_figure(1.3 + len(classes) * (0.1 + 0.07 * len(arms)))
        axes = figure.subplots()
        for number, (name, colour, hatch) in enumerate(
            zip(arms, palette(len(arms)), _cycle(HATCHES, arms), strict=True)
        ):
            scores = [_f1_of_classes(r, part) for r in estimates.select(records, name, condition)]
            arm = study.arm(name)
            axes.barh(
                places - 0.4 + (number + 0.5) * height,
                np.mean(scores, axis=0),
                height,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.4,
                label=f"{arm.network}: {arm.title}",
            )
        p = records[0].predictions(part)
        # What follows is the same for clips of one class: the mask is True everywhere.
        always = multilabel.evaluate(p.labels, np.ones(p.labels.shape), p.mask)["per_class"].values()
        by_chance = [entry["f1_unmasked"] for entry in always]
        axes.vlines(by_chance, places - 0.46, places + 0.46, color="white", linewidth=3.5)
        axes.vlines(by_chance, places - 0.46, places + 0.46, color="black", linewidth=1.4, label="chance")
        axes.set_xlim(0, 1)
        axes.set_xlabel("F1")
        _class_axis(axes, [f"{c} ({entry['support']})" for c, entry in zip(_readable(classes), always, strict=True)])
        handles, titles = axes.get_legend_handles_labels()
        axes.legend(
            handles[1:] + handles[:1], titles[1:] + titles[:1], loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2
        )
        write_foot(
            figure,
            "In brackets: clips in which the instrument is labelled present; unobserved labels count as absent. "
            "Chance: the F1 of predicting it everywhere. "
            f"Condition: {study.condition(condition).title}. {estimates.provenance(study, records, part).sentence()}",
        )
    return figure


def confusion(
    study: Study, records: Sequence[Record], arm: str, *, condition: str | None = None, part: str = "test"
) -> Figure:
    """What an arm hears when an instrument plays: co-occurring predictions as a heat map.

    Parameters
    ----------
    study
        Gives the arms.
    records
        Any of the study's, of one corpus and profile.
    arm
        By name.
    condition
        By name; default: the study's first.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    matplotlib.figure.Figure
        Row: an instrument labelled present. Its diagonal cell is the recall; the others are the share of its clips
        without the column's instrument in which that is predicted all the same. Clips of all seeds are pooled. Where a
        clip has one class: `harness.report.confusion_matrix`.

    Raises
    ------
    RepriseError
        The arm has no record under that condition.
    """
    if study.task == "multiclass":
        return confusion_matrix(study, records, arm, condition=condition, part=part)
    condition, records = _under(study, records, condition)
    records = estimates.select(records, arm, condition)
    if not records:
        raise RepriseError(f"{arm} has no record under {condition!r}; run it first")
    rates = 100 * false_alarms(records, part)
    classes = records[0].data["classes"]
    with mpl.rc_context(style()):
        figure = new_figure(1.6 + 0.27 * len(classes))
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
            xticklabels=_readable(classes),
            yticklabels=_readable(classes),
            linewidths=0.4,
            cbar_kws={"label": "% of the row's clips", "shrink": 0.6, "pad": 0.02},
        )
        for i in range(len(classes)):
            axes.add_patch(Rectangle((i, i), 1, 1, fill=False, edgecolor="black", linewidth=1.2))
        axes.tick_params(length=0)
        axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel("predicted")
        axes.set_ylabel("labelled present")
        axes.set_title(f"{study.arm(arm).network}: {study.arm(arm).title}")
        write_foot(
            figure,
            "Read a row: of the clips in which its instrument is labelled present, in how many per cent is each "
            "instrument predicted? Framed: the instrument itself (recall). Others: only clips in which the column's "
            "instrument is not labelled present, so a high number is a confusion, or an instrument that nobody was "
            f"asked about. Grey: no such clip. Condition: {study.condition(condition).title}. "
            f"{estimates.provenance(study, records, part).sentence()}",
        )
    return figure


def false_alarms(records: Sequence[Record], part: str) -> np.ndarray:
    """How often one instrument's presence goes with the prediction of another.

    Parameters
    ----------
    records
        Of one arm and condition; their clips are pooled.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    np.ndarray [shape=(c, c)]
        Entry (i, j): among clips labelled i and not j, the share in which j is predicted; on the diagonal the recall.
        NaN where there is no such clip.
    """
    alarms = chances = hits = present = 0
    for record in records:
        p = record.predictions(part)
        labels = p.labels.astype(float) * p.mask
        predicted = (p.probabilities >= record.data["protocol"].get("threshold", 0.5)).astype(float)
        alarms += labels.T @ (predicted * (1 - labels))
        chances += labels.T @ (1 - labels)
        hits += (labels * predicted).sum(axis=0)
        present += labels.sum(axis=0)
    np.fill_diagonal(alarms, hits)
    np.fill_diagonal(chances, present)
    return multilabel.ratio(alarms, chances, zero_division=np.nan)


def scores(
    study: Study,
    records: Sequence[Record],
    *,
    part: str = "test",
    metrics: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
    networks: bool = True,
    replicates: int = 1000,
    level: float = 0.95,
) -> Figure:
    """Scores of all arms with their intervals, chance and the paper's values.

    Parameters
    ----------
    study
        Gives the arms and the published values.
    records
        Any of the study's, of one corpus and profile.
    part
        ``"valid"`` or ``"test"``.
    metrics
        A panel each; default: those that the paper prints, or else the main score.
    conditions
        Names; default: those that `estimates.conditions` finds comparable.
    networks
        Whether to say which network an arm is.
    replicates, level
        Of the bootstrap over seeds and clips together (`estimates.estimate`).

    Returns
    -------
    matplotlib.figure.Figure
        One row per arm; those that run only where they are asked for need a record.

    Raises
    ------
    RepriseError
        There is no record.
    """
    conditions = estimates.conditions(study, records) if conditions is None else conditions
    records = [r for r in records if r.condition in conditions]
    if not records:
        raise RepriseError(f"there is no record of {study.name}; run the study first")
    published = {(row["arm"], row["metric"]): row["value"] for row in study.published if row["split"] == part}
    if metrics is None:
        metrics = list(dict.fromkeys(metric for _, metric in published)) or [study.metric]
    arms = [arm for arm in study.arms if arm.default or any(r.arm == arm.name for r in records)]
    places = np.arange(len(arms))
    offsets = np.linspace(-0.2, 0.2, len(conditions)) if len(conditions) > 1 else [0]
    chance: dict[str, float] = {}
    unit, units = units_of(study, records)
    with mpl.rc_context(style()):
        figure = new_figure(1.4 + 0.36 * len(places))
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for condition, offset, colour, marker in zip(
            conditions, offsets, palette(len(conditions)), _cycle(MARKERS, conditions), strict=True
        ):
            for place, arm in zip(places, arms, strict=True):
                of_arm = estimates.select(records, arm.name, condition)
                if not of_arm:
                    continue
                found = estimates.estimate(of_arm, part, metrics, units=units, replicates=replicates, level=level)
                for axes, metric in zip(panels, metrics, strict=True):
                    score = found[metric]
                    if score.value is None:
                        continue
                    if score.chance is not None:
                        chance.setdefault(metric, score.chance)
                    axes.plot([score.low, score.high], [place + offset] * 2, color=colour)
                    axes.plot(score.value, place + offset, color=colour, marker=marker)
        for axes, metric in zip(panels, metrics, strict=True):
            values = [published.get((arm.name, metric), np.nan) for arm in arms]
            axes.plot(values, places, linestyle="", marker="|", markersize=9, color="black", markeredgewidth=1.6)
            if metric in chance:
                axes.axvline(chance[metric], **CHANCE)
            axes.set_title(METRIC_TITLES[metric])
            axes.set_xlim(0, None if lower_is_better(metric) else 1)
            axes.set_xlabel("lower is better" if lower_is_better(metric) else "score")
            axes.grid(axis="y", color="0.92", linewidth=0.6)
            axes.tick_params(axis="y", length=0)
        handles = [
            Line2D([], [], color=colour, marker=marker, label=f"ours: {study.condition(condition).title}")
            for condition, colour, marker in zip(
                conditions, palette(len(conditions)), _cycle(MARKERS, conditions), strict=True
            )
        ]
        if published:
            handles.append(
                Line2D(
                    [], [], linestyle="", marker="|", markersize=9, color="black", markeredgewidth=1.6, label="paper"
                )
            )
        handles.append(Line2D([], [], label="chance", **CHANCE))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        _class_axis(panels[0], [f"{arm.network}: {arm.title}" if networks else arm.title for arm in arms])
        write_foot(
            figure,
            f"Lines: {estimates.interval_in_words(records, unit, replicates, level)}. "
            f"{estimates.provenance(study, records, part).sentence()}",
        )
    return figure


def _readable(classes: Sequence[str]) -> list[str]:
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


def _under(study: Study, records: Sequence[Record], condition: str | None) -> tuple[str, list[Record]]:
    """A condition's name and its records."""
    name = study.condition(condition or study.conditions[0].name).name
    found = [r for r in records if r.condition == name]
    if not found:
        raise RepriseError(f"no arm of {study.name} has a record under {name!r}; run it first")
    return name, found


def _f1_of_classes(record: Record, part: str) -> list[float]:
    """F1 of every class, from the stored predictions; NaN where undefined."""
    module, p = scoring(record.data), record.predictions(part)
    threshold = record.data["protocol"].get("threshold", 0.5)
    result = module.evaluate(p.labels, p.probabilities, p.mask, threshold=threshold)["per_class"].values()
    scores = [entry["f1_unmasked" if module is multilabel else "f1"] for entry in result]
    return [np.nan if score is None else score for score in scores]
