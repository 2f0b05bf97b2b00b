"""Accuracies beside the write-up's, the leak, learning curves, confusions, kernels, masks and filters as figures."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness import features
from harness.metrics.multilabel import ratio
from harness.report import estimates, orderings
from harness.report.confusion_matrix import pooled_counts
from harness.report.resampling import units_of
from harness.report.style import CHANCE, LINES, MARKERS, SMALL, new_figure, palette, style, write_foot
from harness.studies import claims
from harness.studies.records import Record
from harness.studies.study import Arm, Study
from replications.gtzan_cam.filter_figures import first_layer, kernels_of_first_layer, mask_templates
from replications.gtzan_cam.kernels import kernel_arms, kernel_scores, sensitivity
from replications.gtzan_cam.trials import (
    HEADLINE,
    PARTS,
    found_conditions,
    in_order,
    of_tracks,
    released,
    result_arms,
    segments_per_track,
    training_accuracy,
)

__all__ = ["confusions", "figures", "kernels", "leak", "learning_curves", "mask_templates", "scores"]

#: How the write-up's values are marked.
WRITE_UP = {"color": "black", "linestyle": "", "marker": "|", "markersize": 9, "markeredgewidth": 1.6}


def figures(study: Study, records: Sequence[Record]) -> dict[str, tuple[Figure, str]]:
    """All figures that the records allow.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    dict
        By the stem of its files each figure with a line on what it shows.
    """
    found: dict[str, tuple[Figure, str]] = {}
    records = [r for r in records if not released(r)]
    if not records:
        return found
    conditions, first = found_conditions(study, records), study.conditions[0].name
    of_first = [r for r in records if r.condition == first]
    arms = result_arms(study, records)
    if of_first:
        found["scores"] = (scores(study, of_first), "Training, validation and test accuracy beside the write-up's")
    if arms and len(conditions) > 1:
        found["leak"] = (leak(study, records), "What the split is worth: test accuracy under each protocol")
    if of_first and result_arms(study, of_first):
        found["learning_curves"] = (learning_curves(study, of_first), "Accuracy by epoch")
    headline = next((name for name in HEADLINE if name in conditions), None)
    if arms and headline:
        title = f"What each net takes each genre for, {titled(study, headline)}"
        found["confusion"] = (confusions(study, records, headline), title)
    if len(kernel_arms(study, records)) > 1:
        found["kernels"] = (kernels(study, records), "Accuracy by the kernel's shape")
    if of_first and claims.orders(study):
        figure = orderings.forest(study, of_first)
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.4)  # few claims over a long foot
        found["orderings"] = (figure, "What the write-up says of its nets, judged")
    settings = records[0].data["protocol"]
    front_end = features.front_end(**settings["front_end"])
    found["mask_templates"] = (
        mask_templates(front_end, settings["steepness"]),
        "What the masks let through, by where a filter is strongest",
    )
    if kernels_of_first_layer(records) is not None:
        found["first_layer"] = (first_layer(study, records), "Kernels of the base net's first layer")
    return found


def titled(study: Study, condition: str) -> str:
    """A condition's title within a sentence.

    Parameters
    ----------
    study, condition
        The study, and the condition by name.

    Returns
    -------
    str
        In quotation marks.
    """
    return f"under “{study.condition(condition).title}”"


def scores(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Figure:
    """Training, validation and test accuracy of every arm, with the write-up's (study 002, Results).

    Parameters
    ----------
    study
        Gives the arms and the printed values.
    records
        Of the write-up's condition.
    replicates, level
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per part, one row per arm; every seed as a dot, the mean with its interval.
    """
    metric = study.metric
    printed = {(p["arm"], p["split"]): p["value"] for p in study.published if p["metric"] == metric}
    arms = [arm for arm in study.arms if any(r.arm == arm.name for r in records)]
    unit, units = units_of(study, records)
    drawn = {"units": units, "replicates": replicates, "level": level}
    (colour,) = palette(1)
    with mpl.rc_context(style()):
        figure = new_figure(1.35 + 0.3 * len(arms))
        panels = figure.subplots(1, len(PARTS), sharey=True)
        chances = []
        for axes, (part, title) in zip(panels, PARTS.items(), strict=True):
            for place, arm in enumerate(arms):
                some = [r for r in records if r.arm == arm.name]
                if part == "train":
                    values = [v for r in some if (v := training_accuracy(r)) is not None]
                else:
                    values = [r.data["metrics"][part][metric] for r in some]
                    found = estimates.estimate(some, part, [metric], **drawn)[metric]
                    axes.plot([found.low, found.high], [place] * 2, color=colour)
                    chances.append(found.chance)
                if values:
                    axes.plot(values, [place] * len(values), linestyle="", marker=".", markersize=4, color="0.55")
                    axes.plot(np.mean(values), place, color=colour, marker="o", markersize=4.5)
                value = printed.get((arm.name, part))
                if value is not None:
                    axes.plot(value, place, marker="|", markersize=11, markeredgewidth=1.6, color="black")
            axes.set_title(title)
            axes.set_xlabel("accuracy")
            axes.set_xlim(0, 1)
            axes.grid(axis="y", color="0.92", linewidth=0.6)
            axes.tick_params(axis="y", length=0)
        for axes in panels:
            axes.axvline(max(chances), **CHANCE)
        panels[0].set_yticks(range(len(arms)), [arm.title for arm in arms])
        panels[0].set_ylim(len(arms) - 0.5, -0.5)
        handles = [
            Line2D([], [], color=colour, marker="o", label="ours: mean"),
            Line2D([], [], color="0.55", linestyle="", marker=".", label="each seed"),
            Line2D(
                [], [], color="black", linestyle="", marker="|", markersize=9, markeredgewidth=1.6, label="write-up"
            ),
            Line2D([], [], label="chance", **CHANCE),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        write_foot(
            figure,
            "Training: mean over the epochs, of the batches as they came. Lines: "
            f"{estimates.interval_in_words(records, unit, replicates, level)}. Condition: {study.conditions[0].title}. "
            f"{foot(study, records)}",
        )
    return figure


def leak(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Figure:
    """Test accuracy of segments and of tracks under every protocol.

    Parameters
    ----------
    study
        Gives the arms, the conditions and the printed values.
    records
        Any of the study's, of one corpus and profile.
    replicates, level
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    matplotlib.figure.Figure
        Left: segments, with the write-up's values; right: tracks.
    """
    metric, conditions, arms = study.metric, found_conditions(study, records), result_arms(study, records)
    records = in_order(study, records, arms)
    printed = {p["arm"]: p["value"] for p in study.published if (p["metric"], p["split"]) == (metric, "test")}
    offsets = np.linspace(-0.22, 0.22, len(conditions))
    looks = list(zip(palette(len(conditions)), MARKERS, strict=False))
    unit, units = units_of(study, records)
    drawn = {"units": units, "replicates": replicates, "level": level}
    with mpl.rc_context(style()):
        figure = new_figure(1.5 + 0.5 * len(arms))
        panels = figure.subplots(1, 2, sharey=True)
        chances = []
        for axes, (unit, convert) in zip(panels, (("segments", list), ("tracks", of_tracks)), strict=True):
            for place, arm in enumerate(arms):
                for name, offset, (colour, marker) in zip(conditions, offsets, looks, strict=True):
                    some = convert(estimates.select(records, arm.name, name))
                    if some:
                        found = estimates.estimate(some, "test", [metric], **drawn)[metric]
                        axes.plot([found.low, found.high], [place + offset] * 2, color=colour)
                        axes.plot(found.value, place + offset, color=colour, marker=marker)
                        chances.append(found.chance)
            axes.set_title(unit)
            axes.set_xlabel("test accuracy")
            axes.set_xlim(0, 1)
            for place in range(1, len(arms)):
                axes.axhline(place - 0.5, color="0.92", linewidth=0.6)
            axes.tick_params(axis="y", length=0)
        for axes in panels:
            axes.axvline(max(chances), **CHANCE)
        values = [printed.get(arm.name, np.nan) for arm in arms]
        panels[0].plot(
            values, range(len(arms)), linestyle="", marker="|", markersize=20, markeredgewidth=1.4, color="black"
        )
        panels[0].set_yticks(range(len(arms)), [arm.title for arm in arms])
        panels[0].set_ylim(len(arms) - 0.5, -0.5)
        handles = [
            Line2D([], [], color=colour, marker=marker, label=study.condition(name).title)
            for name, (colour, marker) in zip(conditions, looks, strict=True)
        ]
        handles.append(Line2D([], [], label="write-up", **WRITE_UP))
        handles.append(Line2D([], [], label="chance", **CHANCE))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        counts = ", ".join(
            f"{study.condition(name).title} {segments_per_track(records, name):.1f}" for name in conditions
        )
        write_foot(
            figure,
            f"Lines: {estimates.interval_in_words(records, unit, replicates, level)}. Tracks: mean of the "
            f"probabilities of their segments in the test part, on average {counts}. {foot(study, records)}",
        )
    return figure


def learning_curves(study: Study, records: Sequence[Record]) -> Figure:
    """Training and validation accuracy by epoch.

    Parameters
    ----------
    study
        Gives the arms and their titles.
    records
        Of one condition.

    Returns
    -------
    matplotlib.figure.Figure
        Lines: means over the seeds; bands: all seeds.
    """
    arms = result_arms(study, records)
    records = in_order(study, records, arms)
    with mpl.rc_context(style()):
        figure = new_figure(3.2)
        panels = figure.subplots(1, 2, sharey=True)
        handles = []
        for number, (arm, colour, line, marker) in enumerate(
            zip(arms, palette(len(arms)), LINES, MARKERS, strict=False)
        ):
            look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 3.5}
            handles.append(Line2D([], [], label=arm.title, **look))
            histories = [r.history().set_index("epoch") for r in records if r.arm == arm.name]
            for axes, score in zip(panels, (f"train_{study.metric}", study.metric), strict=True):
                of_seeds = [history[score] for history in histories if score in history]
                if not of_seeds:
                    continue
                curve = pd.concat(of_seeds, axis=1)
                every = max(1, len(curve) // 5)
                axes.fill_between(curve.index, curve.min(axis=1), curve.max(axis=1), color=colour, alpha=0.18, lw=0)
                axes.plot(curve.index, curve.mean(axis=1), markevery=(number % every, every), **look)
        for axes, title in zip(panels, ("training", "validation"), strict=True):
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.grid(axis="y", color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=6, integer=True))
        panels[0].set_ylabel("accuracy")
        panels[0].set_ylim(0, 1.005)
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handlelength=3.5)
        spread = "Means over the seeds, and their range." if len({r.seed for r in records}) > 1 else "One seed."
        write_foot(
            figure,
            f"{spread} Training: of the batches as they came, while the weights moved. Condition: "
            f"{study.condition(records[0].condition).title}. {foot(study, records, 'valid')}",
        )
    return figure


def confusions(study: Study, records: Sequence[Record], condition: str) -> Figure:
    """Confusion matrices of the write-up's nets under a condition, segments of all seeds pooled.

    Parameters
    ----------
    study, records, condition
        The study, any of its trials, and a condition that has some.

    Returns
    -------
    matplotlib.figure.Figure
        A panel per net; in each row how many per cent of a genre's segments are taken for each genre.
    """
    of_condition = [r for r in records if r.condition == condition]
    printed = {p["arm"] for p in study.published}
    arms = result_arms(study, of_condition)
    arms = [arm for arm in arms if arm.name in printed] or arms
    genres = [name.replace("_", " ") for name in of_condition[0].data["classes"]]
    places = np.arange(len(genres)) + 0.5
    with mpl.rc_context(style()):
        figure = new_figure(3.5)
        for axes, arm in zip(figure.subplots(1, len(arms), sharey=True, squeeze=False)[0], arms, strict=True):
            counts = pooled_counts([r for r in of_condition if r.arm == arm.name], "test")
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
            f"{foot(study, [r for r in of_condition if study.arm(r.arm) in arms])}",
        )
    return figure


def kernels(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Figure:
    """Test accuracy by the kernel's shape, the seeds joined across the shapes (study 002, Challenges).

    Parameters
    ----------
    study
        Gives the arms.
    records
        Any of the study's, of one corpus and profile; those under the write-up's condition count.
    replicates, level
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    matplotlib.figure.Figure
        One column per shape.
    """
    metric, arms = study.metric, kernel_arms(study, records)
    of_seeds = kernel_scores(study, records, arms)
    unit, units = units_of(study, records)
    drawn = {"units": units, "replicates": replicates, "level": level}
    (colour,) = palette(1)
    with mpl.rc_context(style()):
        figure = new_figure(2.9)
        axes = figure.subplots()
        axes.plot(range(len(arms)), of_seeds, color="0.7", linewidth=0.8, marker=".", markersize=4)
        shown = []
        for place, arm in enumerate(arms):
            some = estimates.select(records, arm.name, study.conditions[0].name)
            found = estimates.estimate(some, "test", [metric], **drawn)[metric]
            axes.plot([place + 0.08] * 2, [found.low, found.high], color=colour)
            axes.plot(place + 0.08, found.value, color=colour, marker="o", markersize=5)
            shown += some
        axes.set_xticks(range(len(arms)), [_kernel_title(arm, shown) for arm in arms])
        axes.set_xlim(-0.4, len(arms) - 0.6)
        axes.set_xlabel("kernel")
        axes.set_ylabel("test accuracy (segments)")
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        handles = [
            Line2D([], [], color=colour, marker="o", label="mean over the seeds"),
            Line2D([], [], color="0.7", linewidth=0.8, marker=".", label="each seed, with one split for all shapes"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        spread = ""
        if of_seeds.shape[1]:
            found = sensitivity(of_seeds)
            spread = f"The shapes' means span {found.span:.3f}"
            spread += f"; the seeds of one shape have an SD of {found.of_seeds:.3f}. " if found.of_seeds else ". "
        write_foot(
            figure,
            f"{spread}Lines: {estimates.interval_in_words(shown, unit, replicates, level)}. The axis does not begin at "
            f"zero. Condition: {study.conditions[0].title}. {foot(study, shown)}",
        )
    return figure


def foot(study: Study, records: Sequence[Record], part: str = "test") -> str:
    """What a figure stands on.

    Parameters
    ----------
    study, records, part
        As for `harness.report.estimates.provenance`.

    Returns
    -------
    str
        In sentences.
    """
    return estimates.provenance(study, records, part).sentence()


def _kernel_title(arm: Arm, records: Sequence[Record]) -> str:
    bands, frames = arm.options["kernel"]
    count = max(r.data["parameters"]["trainable"] for r in records if r.arm == arm.name)
    return f"{bands} bands x {frames} frames\n{count:,} parameters"
