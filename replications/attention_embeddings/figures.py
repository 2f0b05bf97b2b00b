"""The paper's figures from our trials, its table that was never printed, and how both stages were trained."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from harness.report import estimates, orderings
from harness.report.arm_table import arm_table
from harness.report.estimates import METRIC_TITLES
from harness.report.style import CHANCE, HATCHES, LINES, MARKERS, SMALL, new_figure, palette, style, write_foot
from harness.report.tables import condition_table
from harness.report.writers import Table
from harness.studies import claims
from harness.studies.records import Record
from harness.studies.study import Study

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


def tables(study: Study, records: Sequence[Record]) -> list[Table]:
    """Every arm with its spread over seeds, and what the conditions are worth.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    list of Table
        The last only where there is more than one condition.
    """
    shown = [arm_table(study, records)]
    if len({r.condition for r in records}) > 1:
        shown.append(condition_table(study, records, arms=("arm_title", "Arm")))
    return shown


def figures(study: Study, records: Sequence[Record]) -> dict[str, tuple[Figure, str]]:
    """The paper's Figs. 2 and 3, the controls, the verdicts, and the curves of both stages.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile; those under the paper's condition are drawn.

    Returns
    -------
    dict
        By the stem of its files each figure with a line on what it shows. A figure none of whose arms has a record
        is left out.
    """
    records = [r for r in records if r.condition == study.conditions[0].name]
    trained = {r.arm for r in records}
    of_instruments = {
        "fig2_representations": (POST_PROCESSING, "Fig. 2: VGGish pre-trained on AudioSet, random VGGish, log-mel"),
        "fig3_objectives": (OBJECTIVES, "Fig. 3: VGGish pre-trained by other objectives"),
        "controls": (CONTROLS, "The same codes with and without attention"),
    }
    found = {
        name: (instruments(study, records, arms), text)
        for name, (arms, text) in of_instruments.items()
        if trained & set(arms)
    }
    if claims.orders(study) and records:
        found["orderings"] = (orderings.forest(study, records), "What the paper says of its arms, judged")
    if pretrainings(records):
        found["pretraining_curves"] = (pretraining_curves(study, records), "First stage: losses of the pre-trainings")
    if any(r.data["epochs"] for r in records):
        found["learning_curves"] = (learning_curves(study, records), "Second stage: validation score by epoch")
    return found


def instruments(study: Study, records: Sequence[Record], arms: Sequence[str], *, part: str = "test") -> Figure:
    """The main score of each instrument as bars, and over all instruments as boxes (study 003, Figs. 2 and 3).

    Parameters
    ----------
    study
        Gives titles and the main score.
    records
        Of one condition.
    arms
        At most five, by name; those without a record are named below.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    matplotlib.figure.Figure
        Left, half of the instruments above the other half: means over the seeds, with the range over the seeds where
        there are several. Right: boxes over instruments and seeds, with the mean as a number.
    """
    present = [name for name in arms if any(r.arm == name for r in records)]
    absent = [study.arm(name).title for name in arms if name not in present]
    used = [r for r in records if r.arm in present]
    classes = used[0].data["classes"]
    scores = {
        name: np.array([_of_classes(r, part, study.metric) for r in used if r.arm == name]) for name in present
    }  # (seeds, classes)
    looks = dict(zip(present, zip(palette(len(present)), HATCHES, strict=False), strict=True))
    chance = estimates.chance(used[0].predictions(part))[study.metric]
    half = (len(classes) + 1) // 2
    with mpl.rc_context(style()):
        figure = new_figure(5.6)
        panels = figure.subplot_mosaic([["first", "boxes"], ["second", "boxes"]], width_ratios=[3.5, 1])
        for panel, columns in (("first", slice(half)), ("second", slice(half, None))):
            some = {name: values[:, columns] for name, values in scores.items()}
            _bars(panels[panel], some, looks, classes[columns], half)
            panels[panel].set_ylabel(METRIC_TITLES[study.metric])
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
            f"{METRIC_TITLES[study.metric]}: mean of the F1 of presence and of absence on observed labels. "
            f"Left: {'mean over the seeds, whiskers their range' if several else 'one seed'}. Right: instruments "
            f"{'and seeds' if several else ''} pooled; box: quartiles and median, whiskers: farthest value within 1.5 "
            "of its height, white: mean, also as a number. Chance: to guess each instrument as often as it occurs. "
            + (f"No record of {', '.join(absent)}. " if absent else "")
            + estimates.provenance(study, used, part).sentence(),
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


def _of_classes(record: Record, part: str, metric: str) -> list[float]:
    """A score of every class; NaN where undefined."""
    scores = record.data["metrics"][part]["per_class"].values()
    return [np.nan if entry[metric] is None else entry[metric] for entry in scores]


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


def pretraining_curves(study: Study, records: Sequence[Record]) -> Figure:
    """Losses of the first stage by epoch, an objective a panel.

    Parameters
    ----------
    study, records
        The study and its trials; at least one stands on a pre-training.

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


def learning_curves(study: Study, records: Sequence[Record]) -> Figure:
    """The main score on the validation part by epoch, mean and range over the seeds.

    Parameters
    ----------
    study, records
        The study and its trials under one condition; at least one was trained in epochs.

    Returns
    -------
    matplotlib.figure.Figure
        Panels as in the figures of instruments. A marker for each seed at the epoch whose weights were kept.
    """
    metric = study.metric
    trained = [r for r in records if r.data["epochs"]]
    with mpl.rc_context(style()):
        figure = new_figure(3.9)
        panels = figure.subplots(1, 3, sharey=True)
        for axes, arms, title in zip(
            panels, (POST_PROCESSING, OBJECTIVES, CONTROLS), ("as Fig. 2", "as Fig. 3", "controls"), strict=True
        ):
            handles = []
            for name, colour, line, marker in zip(arms, palette(len(arms)), LINES, MARKERS, strict=False):
                of_arm = [r for r in trained if r.arm == name]
                if not of_arm:
                    continue
                curves = pd.concat([r.history().set_index("epoch")[metric] for r in of_arm], axis=1)
                axes.fill_between(curves.index, curves.min(axis=1), curves.max(axis=1), color=colour, alpha=0.2, lw=0)
                axes.plot(curves.index, curves.mean(axis=1), color=colour, linestyle=line)
                for number, r in enumerate(of_arm):
                    best = r.data["best_epoch"]
                    axes.plot(best, curves.iloc[:, number][best], color=colour, marker=marker, mec="white", mew=0.5)
                handles.append(Line2D([], [], color=colour, linestyle=line, marker=marker, label=study.arm(name).title))
            chance = estimates.chance(trained[0].predictions("valid"))[metric]
            handles.append(axes.axhline(chance, label="chance", **CHANCE))
            axes.legend(handles=handles, title=title, loc="lower center", bbox_to_anchor=(0.5, 1), handlelength=3.5)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=5, integer=True))
        panels[0].set_ylabel(f"validation {estimates.in_words(metric)}")
        write_foot(
            figure,
            "Lines: mean over the seeds; bands: their range. Markers: of each seed the epoch of the highest validation "
            f"score, whose weights were kept. {estimates.provenance(study, trained, 'valid').sentence()}",
        )
    return figure
