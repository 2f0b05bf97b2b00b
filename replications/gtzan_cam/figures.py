"""Accuracies beside the write-up's, the leak, confusions and kernels as figures."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.study import Analysis
from harness.metrics.tally import ratio
from harness.report import orderings, plots
from harness.report.confusion_matrix import pooled_counts
from harness.report.style import CHANCE, MARKERS, SMALL, new_figure, palette, style, write_foot
from harness.report.tables import averages, interval_in_words, origin
from replications.gtzan_cam.tables import spread_in_words
from replications.gtzan_cam.trials import (
    PARTS,
    by_unit,
    conditions,
    explained_condition,
    is_released,
    kernel_arms,
    kernel_title,
    nets,
    of_seeds,
    segments_per_track,
    training_accuracies,
    trials_of,
)

#: How the write-up's values are marked.
WRITE_UP = {"color": "black", "linestyle": "", "marker": "|", "markersize": 14, "markeredgewidth": 1.6}


def figures(analysis: Analysis) -> dict[str, tuple[Figure, str]]:
    """All figures that the trials allow, by the stem of their files, each with a line on what it shows.

    Parameters
    ----------
    analysis
        Of the study's trials on one corpus under one profile.
    """
    found: dict[str, tuple[Figure, str]] = {}
    if all(map(is_released, analysis.records)):
        return found
    names, first, headline = conditions(analysis), analysis.base, explained_condition(analysis)
    if first in names:
        found["scores"] = scores(analysis), "Training, validation and test accuracy beside the write-up's"
    if nets(analysis) and len(names) > 1:
        found["leak"] = leak(analysis), "What the split is worth: test accuracy under each protocol"
    if first in names and (curves := plots.training_curves(analysis, condition=first, selected="the last update")):
        found["training_curves"] = curves, "Losses and validation accuracy by epoch"
    if headline:
        title = f"What each net takes each genre for, under “{analysis.study.condition(headline).title}”"
        found["confusion"] = confusions(analysis, headline), title
    if len(kernel_arms(analysis)) > 1:
        found["kernels"] = kernels(analysis), "Accuracy by the kernel's shape"
    return found | orderings.figures(analysis, "What the write-up says of its nets, judged")


def scores(analysis: Analysis) -> Figure:
    """Training, validation and test accuracy of every arm under the write-up's condition, with its own (Results)."""
    study, metric = analysis.study, analysis.study.metric
    arms = [arm for arm in study.arms if (analysis.base, arm.name) in analysis.cells()]
    places = {arm.name: place for place, arm in enumerate(arms)}
    printed = {(p["arm"], p["split"]): p["value"] for p in study.published if p["metric"] == metric}
    dots = {"color": "0.55", "linestyle": "", "marker": ".", "markersize": 4}
    (colour,) = palette(1)
    with mpl.rc_context(style()):
        figure = new_figure(1.35 + 0.3 * len(arms))
        panels = figure.subplots(1, len(PARTS), sharey=True)
        chance = averages(analysis, metrics=[metric])["chance"].max()
        for axes, (part, title) in zip(panels, PARTS.items(), strict=True):
            values = {
                arm: training_accuracies(analysis.select(arm)) if part == "train" else of_seeds(analysis, arm, part)
                for arm in places
            }
            for arm, place in places.items():
                axes.plot(values[arm], [place] * len(values[arm]), **dots)
            if part == "train":
                axes.plot([np.mean(v or [np.nan]) for v in values.values()], range(len(arms)), "o", color=colour)
            else:
                rows = averages(analysis, part, [metric])
                rows = rows[rows["condition"] == analysis.base]
                _estimates(axes, rows, rows["arm"].map(places), color=colour, marker="o")
            axes.plot([printed.get((arm, part), np.nan) for arm in places], range(len(arms)), **WRITE_UP)
            _across(axes, title, len(arms), chance)
            axes.grid(axis="y", color="0.92", linewidth=0.6)
        panels[0].set_yticks(range(len(arms)), [arm.title for arm in arms])
        mean = Line2D([], [], color=colour, marker="o", label="ours: mean")
        _legend(figure, [mean, Line2D([], [], label="each seed", **dots)])
        records = trials_of(analysis, places, [analysis.base])
        write_foot(
            figure,
            "Training: mean over the epochs, of the batches as they came. Lines: "
            f"{interval_in_words(analysis, records)}. Condition: {study.condition(analysis.base).title}. "
            f"{origin(analysis, records)}",
        )
    return figure


def leak(analysis: Analysis) -> Figure:
    """Test accuracy under every protocol: of segments, with the write-up's values, and of tracks."""
    study, names, arms = analysis.study, conditions(analysis), nets(analysis)
    places = {arm.name: place for place, arm in enumerate(arms)}
    records = trials_of(analysis, places, names)
    printed = {p["arm"]: p["value"] for p in study.published if (p["metric"], p["split"]) == (study.metric, "test")}
    found = by_unit(analysis, records)
    looks = list(
        zip(names, np.linspace(-0.22, 0.22, len(names)), palette(len(names)), MARKERS[: len(names)], strict=True)
    )
    with mpl.rc_context(style()):
        figure = new_figure(1.5 + 0.5 * len(arms))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (unit, of_unit) in zip(panels, found.groupby("unit", sort=False), strict=True):
            for name, offset, colour, marker in looks:
                rows = of_unit[of_unit["condition"] == name]
                _estimates(axes, rows, rows["arm"].map(places) + offset, color=colour, marker=marker)
            for place in range(1, len(arms)):
                axes.axhline(place - 0.5, color="0.92", linewidth=0.6)
            _across(axes, unit, len(arms), found["chance"].max())
        panels[0].plot([printed.get(arm, np.nan) for arm in places], range(len(arms)), **WRITE_UP | {"markersize": 20})
        panels[0].set_yticks(range(len(arms)), [arm.title for arm in arms])
        handles = [
            Line2D([], [], color=colour, marker=marker, label=study.condition(name).title)
            for name, _, colour, marker in looks
        ]
        _legend(figure, handles)
        counts = ", ".join(f"{study.condition(name).title} {segments_per_track(analysis, name):.1f}" for name in names)
        write_foot(
            figure,
            f"Lines: {interval_in_words(analysis, records)}. Tracks: mean of the probabilities of their segments in "
            f"the test part, on average {counts}. {origin(analysis, records)}",
        )
    return figure


def confusions(analysis: Analysis, condition: str) -> Figure:
    """In how many per cent of a genre's segments each of the write-up's nets names each genre, all seeds pooled."""
    study, arms = analysis.study, nets(analysis, condition)
    printed = {p["arm"] for p in study.published}
    arms = [arm for arm in arms if arm.name in printed] or arms
    genres = plots.readable(analysis.classes)
    places = np.arange(len(genres)) + 0.5
    with mpl.rc_context(style()):
        figure = new_figure(3.5)
        for axes, arm in zip(figure.subplots(1, len(arms), sharey=True, squeeze=False)[0], arms, strict=True):
            counts = pooled_counts(analysis, analysis.select(arm.name, condition))
            shares = 100 * ratio(counts, np.broadcast_to(counts.sum(axis=1)[:, None], counts.shape))
            axes.pcolormesh(shares, cmap="Greys", vmin=0, vmax=100, edgecolors="white", linewidth=0.6)
            for (i, j), share in np.ndenumerate(shares):
                if counts[i, j]:
                    colour, weight = "white" if share > 55 else "black", "bold" if i == j else "normal"
                    look = {"ha": "center", "va": "center", "color": colour, "weight": weight, "size": SMALL}
                    axes.text(j + 0.5, i + 0.5, f"{share:.0f}", **look)
            axes.set_title(arm.title)
            axes.set_xticks(places, genres, rotation=90)
            axes.set_yticks(places, genres)
            axes.tick_params(length=0)
            axes.set_aspect("equal")
            axes.set_xlabel("predicted")
        figure.axes[0].set_ylim(len(genres), 0)
        figure.axes[0].set_ylabel("labelled")
        write_foot(
            figure,
            f"Read a row: of all predictions for segments of this genre, one for each test segment and seed, how many "
            f"per cent name each genre; empty where none does. Condition: {study.condition(condition).title}. "
            f"{origin(analysis, trials_of(analysis, [arm.name for arm in arms], [condition]))}",
        )
    return figure


def kernels(analysis: Analysis) -> Figure:
    """Test accuracy by the kernel's shape, the seeds joined across the shapes (study 002, Challenges)."""
    arms = kernel_arms(analysis)
    places = {arm.name: place for place, arm in enumerate(arms)}
    records = trials_of(analysis, places, [analysis.base])
    rows = averages(analysis, metrics=[analysis.study.metric])
    rows = rows[(rows["condition"] == analysis.base) & rows["arm"].isin(places)]
    seeds = pd.DataFrame(
        {arm: pd.Series(of_seeds(analysis, arm, "test"), [r.seed for r in analysis.select(arm)]) for arm in places}
    )
    joined = {"color": "0.7", "linewidth": 0.8, "marker": ".", "markersize": 4}
    (colour,) = palette(1)
    with mpl.rc_context(style()):
        figure = new_figure(2.9)
        axes = figure.subplots()
        axes.plot(range(len(arms)), seeds.T, **joined)
        at = rows["arm"].map(places) + 0.08
        axes.vlines(at, rows["low"], rows["high"], color=colour)
        axes.plot(at, rows["mean"], color=colour, marker="o", markersize=5, linestyle="")
        sizes = [max(r.data["parameters"]["trainable"] for r in analysis.select(arm)) for arm in places]
        titles = [f"{kernel_title(arm)}\n{size:,} parameters" for arm, size in zip(arms, sizes, strict=True)]
        axes.set_xticks(range(len(arms)), titles)
        axes.set_xlim(-0.4, len(arms) - 0.6)
        axes.set_xlabel("kernel, bands x frames")
        axes.set_ylabel("test accuracy (segments)")
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        handles = [
            Line2D([], [], color=colour, marker="o", label="mean over the seeds"),
            Line2D([], [], label="each seed, with one split for all shapes", **joined),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        write_foot(
            figure,
            f"{spread_in_words(rows['mean'], rows['sd'])} Lines: {interval_in_words(analysis, records)}. The axis does "
            f"not begin at zero. Condition: {analysis.study.condition(analysis.base).title}. "
            f"{origin(analysis, records)}",
        )
    return figure


def _estimates(axes: Axes, rows: pd.DataFrame, at: pd.Series, *, color: object, marker: str) -> None:
    """Means with their intervals, at these heights."""
    axes.hlines(at, rows["low"], rows["high"], color=color)
    axes.plot(rows["mean"], at, color=color, marker=marker, linestyle="")


def _across(axes: Axes, title: str, rows: int, chance: float) -> None:
    """A panel of accuracies with a row per arm."""
    axes.set_title(title)
    axes.set_xlabel("accuracy")
    axes.set_xlim(0, 1)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.axvline(chance, **CHANCE)


def _legend(figure: Figure, handles: list[Line2D]) -> None:
    """What is ours, what is the write-up's, and chance."""
    handles = [
        *handles,
        Line2D([], [], label="write-up", **WRITE_UP | {"markersize": 9}),
        Line2D([], [], label="chance", **CHANCE),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
