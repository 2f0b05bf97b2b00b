"""The paper's figures from our trials, its table that was never printed, and how both stages were trained."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from harness.analysis.study import Analysis
from harness.metrics import METRICS
from harness.report import orderings
from harness.report.style import CHANCE, HATCHES, LINES, MARKERS, SMALL, new_figure, palette, style, write_foot
from harness.report.tables import arm_table, averages, condition_table, origin
from harness.report.writers import Table
from harness.studies.records import Record
from replications.attention_embeddings import attention_over_time

#: Arms of Fig. 2 and of Fig. 3, from left to right.
POST_PROCESSING = ("vggish_pp", "vggish_norm", "vggish_random", "log_mel")
OBJECTIVES = ("align", "textual", "den_add", "den_mul")
#: The same codes with and without attention.
CONTROLS = ("vggish_pp", "rf", "fc", "fc_t", "bigru")
PRETRAININGS = {
    "aed": "Sound events",
    "textual": "Textual description",
    "den_add": "Additive noise",
    "den_mul": "Multiplicative noise",
    "align": "Tag alignment",
}
TRAIN, VALID = palette(2)


def tables(analysis: Analysis) -> list[Table]:
    """Every arm with its spread over seeds, what the conditions are worth, and where the attention lies."""
    shown = [arm_table(analysis)]
    if len({condition for condition, _ in analysis.cells()}) > 1:
        shown.append(condition_table(analysis))
    attention = attention_over_time.table(analysis)
    return [*shown, *([attention] if attention else [])]


def figures(analysis: Analysis) -> dict[str, tuple[Figure, str]]:
    """The paper's Figs. 2 and 3, the controls, the verdicts, and the curves of both stages.

    By the stem of its files each figure with a line on what it shows, of the trials under the paper's condition. A
    figure none of whose arms has a record is left out.
    """
    records = [r for r in analysis.records if r.condition == analysis.base]
    trained = {r.arm for r in records}
    of_instruments = {
        "fig2_representations": (POST_PROCESSING, "Fig. 2: VGGish pre-trained on AudioSet, random VGGish, log-mel"),
        "fig3_objectives": (OBJECTIVES, "Fig. 3: VGGish pre-trained by other objectives"),
        "controls": (CONTROLS, "The same codes with and without attention"),
    }
    found = {
        name: (instruments(analysis, arms), text)
        for name, (arms, text) in of_instruments.items()
        if trained & set(arms)
    }
    found |= orderings.figures(analysis, "What the paper says of its arms, judged")
    if pretrainings(records):
        found["pretraining_curves"] = (pretraining_curves(records), "First stage: losses of the pre-trainings")
    if any(r.data["epochs"] for r in records):
        found["learning_curves"] = (learning_curves(analysis), "Second stage: validation score by epoch")
    return found


def instruments(analysis: Analysis, arms: Sequence[str]) -> Figure:
    """The main score of each instrument as bars, and over all instruments as boxes (paper, Figs. 2 and 3).

    Parameters
    ----------
    analysis
        Of the study's trials; those under the paper's condition are drawn, on the test part.
    arms
        At most five, by name; those without a record are named below.

    Returns
    -------
    matplotlib.figure.Figure
        Left, half of the instruments above the other half: means over the seeds, with the range over the seeds where
        there are several. Right: boxes over instruments and seeds, with the mean as a number.
    """
    study, found = analysis.study, analysis.scores("test")
    metric, about = study.metric, METRICS[study.metric]
    present = [name for name in arms if analysis.select(name)]
    absent = [study.arm(name).title for name in arms if name not in present]
    used = [r for name in present for r in analysis.select(name)]
    classes = analysis.classes
    columns = [found.column(metric, name) for name in classes]
    scores = {
        name: found.found.plain[[analysis.records.index(r) for r in analysis.select(name)]][:, columns]
        for name in present
    }  # (seeds, classes)
    looks = dict(zip(present, zip(palette(len(present)), HATCHES, strict=False), strict=True))
    chance = averages(analysis, "test", [metric])["chance"].iloc[0]
    half = (len(classes) + 1) // 2
    with mpl.rc_context(style()):
        figure = new_figure(5.6)
        panels = figure.subplot_mosaic([["first", "boxes"], ["second", "boxes"]], width_ratios=[3.5, 1])
        for panel, some in (("first", slice(half)), ("second", slice(half, None))):
            _bars(panels[panel], {name: v[:, some] for name, v in scores.items()}, looks, classes[some], half)
            panels[panel].set_ylabel(about.title)
        _boxes(panels["boxes"], scores, looks, [study.arm(name).title for name in present])
        for axes in panels.values():
            axes.set_ylim(0, 1)
            axes.set_yticks(np.linspace(0, 1, 6))
            axes.grid(axis="y", color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.axhline(chance, **CHANCE)
        handles = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=study.arm(name).title)
            for name, (colour, hatch) in looks.items()
        ]
        handles.append(Line2D([], [], label="chance", **CHANCE))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handleheight=1.2)
        several = len({r.seed for r in used}) > 1
        write_foot(
            figure,
            f"{about.title}: mean of the F1 of presence and of absence on observed labels. "
            f"Left: {'mean over the seeds, whiskers their range' if several else 'one seed'}. Right: instruments "
            f"{'and seeds' if several else ''} pooled; box: quartiles and median, whiskers: farthest value within 1.5 "
            f"of its height, white: mean, also as a number. Chance: the score of {about.chance_in_words}. "
            + (f"No record of {', '.join(absent)}. " if absent else "")
            + origin(analysis, used),
        )
    return figure


def _bars(
    axes: Axes,
    scores: Mapping[str, np.ndarray],
    looks: Mapping[str, tuple[Any, str]],
    classes: Sequence[str],
    slots: int,
) -> None:
    """Groups of bars, an instrument a group; `slots` groups wide, so that rows of panels line up."""
    places = np.arange(len(classes))
    width = 0.8 / len(scores)
    for number, (name, values) in enumerate(scores.items()):
        colour, hatch = looks[name]
        at = places - 0.4 + (number + 0.5) * width
        mean = values.mean(axis=0)
        axes.bar(at, mean, width, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4)
        if len(values) > 1:
            # Of equal values the mean may be off by a rounding, to either side.
            reach = np.maximum(0, [mean - values.min(axis=0), values.max(axis=0) - mean])
            axes.errorbar(at, mean, reach, fmt="none", ecolor="black", elinewidth=0.8, capsize=1.2, capthick=0.8)
    axes.set_xlim(-0.6, slots - 0.4)
    names = [name.replace("_", " ") for name in classes]
    axes.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)


def _boxes(
    axes: Axes, scores: Mapping[str, np.ndarray], looks: Mapping[str, tuple[Any, str]], titles: Sequence[str]
) -> None:
    """One box per arm over instruments and seeds."""
    pooled = [values[~np.isnan(values)] for values in scores.values()]
    drawn = axes.boxplot(
        pooled,
        widths=0.62,
        patch_artist=True,
        showmeans=True,
        medianprops={"color": "black", "linewidth": 1.4, "path_effects": [withStroke(linewidth=3, foreground="white")]},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 4},
        flierprops={"marker": "o", "markersize": 2.5, "markeredgecolor": "0.3"},
    )
    for box, (colour, hatch) in zip(drawn["boxes"], looks.values(), strict=True):
        box.set(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.6)
    for place, values in enumerate(pooled, 1):
        mean = f"{values.mean():.3f}".removeprefix("0")
        axes.annotate(mean, (place, 1), (0, 2), textcoords="offset points", ha="center", size=SMALL)
    axes.set_xticks(range(1, len(titles) + 1), titles, rotation=30, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)


def pretrainings(records: Iterable[Record]) -> dict[str, Mapping[str, Any]]:
    """The pre-trainings that trials stand on.

    Parameters
    ----------
    records
        Any of the study's.

    Returns
    -------
    dict
        What each says of itself, by objective, in the order of `PRETRAININGS`.
    """
    found = {p["objective"]: p for r in records if (p := r.data["inputs"]["representation"]["pretraining"])}
    return {objective: found[objective] for objective in PRETRAININGS if objective in found}


def pretraining_curves(records: Sequence[Record]) -> Figure:
    """Losses of the first stage by epoch, an objective a panel.

    Parameters
    ----------
    records
        Trials; at least one stands on a pre-training.

    Returns
    -------
    matplotlib.figure.Figure
        A marker at the epoch whose weights were kept.
    """
    found = pretrainings(records)
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    with mpl.rc_context(style()):
        figure = new_figure(1.2 + 1.7 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (objective, trained) in zip(panels, found.items(), strict=False):
            history = pd.DataFrame(trained["history"]).set_index("epoch")
            best = trained["best_epoch"]
            axes.plot(history.index, history["train_loss"], color=TRAIN, linestyle=LINES[0])
            axes.plot(history.index, history["valid_loss"], color=VALID, linestyle=LINES[1])
            axes.plot(best, history["valid_loss"][best], color=VALID, marker="o", markersize=6, mec="black")
            axes.set_title(f"{PRETRAININGS[objective]}\n{trained['corpus']}, width {trained['width']:g}")
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=5, integer=True))
            axes.set_xlabel("epoch")
        for axes in panels[::columns]:
            axes.set_ylabel("loss")
        for axes in panels[len(found) :]:
            axes.remove()
        handles = [
            Line2D([], [], color=TRAIN, linestyle=LINES[0], label="training"),
            Line2D([], [], color=VALID, linestyle=LINES[1], label="validation"),
            Line2D([], [], color=VALID, linestyle="", marker="o", markersize=6, mec="black", label="weights kept"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), handlelength=3.5)
        minutes = sum(trained["seconds"] for trained in found.values()) / 60
        write_foot(
            figure,
            "Losses on the training and the validation part of each panel's corpus. Every objective has a loss of its "
            "own, so heights compare within a panel alone. Width: of VGGish's layers, 1 as published. "
            f"Profile {records[0].data['profile']}; together {minutes:.0f} minutes of training.",
        )
    return figure


def learning_curves(analysis: Analysis) -> Figure:
    """The main score on the validation part by epoch, mean and range over the seeds.

    Parameters
    ----------
    analysis
        Of the study's trials; at least one under the paper's condition was trained in epochs.

    Returns
    -------
    matplotlib.figure.Figure
        Panels as in the figures of instruments. A marker for each seed at the epoch whose weights were kept.
    """
    study, metric = analysis.study, analysis.study.metric
    trained = [r for r in analysis.records if r.condition == analysis.base and r.data["epochs"]]
    histories = [
        r.history()[["epoch", metric]].assign(arm=r.arm, seed=r.seed, kept=r.data["best_epoch"]) for r in trained
    ]
    frame = pd.concat(histories, ignore_index=True)
    chance = averages(analysis, "valid", [metric])["chance"].iloc[0]
    with mpl.rc_context(style()):
        figure = new_figure(3.9)
        panels = figure.subplots(1, 3, sharey=True)
        for axes, arms, title in zip(
            panels, (POST_PROCESSING, OBJECTIVES, CONTROLS), ("as Fig. 2", "as Fig. 3", "controls"), strict=True
        ):
            handles = []
            for name, colour, line, marker in zip(arms, palette(len(arms)), LINES, MARKERS, strict=False):
                rows = frame[frame["arm"] == name]
                if rows.empty:
                    continue
                sns.lineplot(rows, x="epoch", y=metric, errorbar=("pi", 100), color=colour, linestyle=line, ax=axes)
                kept = rows[rows["epoch"] == rows["kept"]]
                axes.plot(kept["epoch"], kept[metric], color=colour, marker=marker, mec="white", mew=0.5, linestyle="")
                handles.append(Line2D([], [], color=colour, linestyle=line, marker=marker, label=study.arm(name).title))
            handles.append(axes.axhline(chance, label="chance", **CHANCE))
            axes.legend(handles=handles, title=title, loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=3.5)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=5, integer=True))
        panels[0].set_ylabel(f"validation {METRICS[metric].in_words}")
        write_foot(
            figure,
            "Lines: mean over the seeds; bands: their range. Markers: of each seed the epoch of the highest validation "
            f"score, whose weights were kept. {origin(analysis, trained, 'valid')}",
        )
    return figure
