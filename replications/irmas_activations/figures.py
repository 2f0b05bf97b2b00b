"""Fig. 1 by instrument, thresholds, false alarms, training curves, and flute against clarinet as figures."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.study import Analysis
from harness.metrics import METRICS
from harness.report import plots
from harness.report.style import CHANCE, HATCHES, LINES, MARKERS, new_figure, palette, style, write_foot
from harness.report.tables import interval_in_words, origin
from replications.irmas_activations import filter_activations
from replications.irmas_activations.filter_activations import COMPARED, LAYERS, FilterActivations, filters_of
from replications.irmas_activations.tables import MICRO, class_scores, title_of
from replications.irmas_activations.thresholds import curve, threshold

#: Most filters that the panel of flute and clarinet shows.
FILTERS = 6
#: Markers of thresholds: the hollow one is larger, so that both are seen where the two ways give the same.
CHOSEN = {"chosen": {"markersize": 4}, "oracle": {"markersize": 8, "markerfacecolor": "none"}}


def figures(analysis: Analysis) -> dict[str, tuple[Figure, str]]:
    """All figures that the records allow: by the stem of its files each with a line on what it shows."""
    study = analysis.study
    found = {
        "fig1_instruments": (instruments(analysis), "F1 of every instrument (Fig. 1 of the paper)"),
        "thresholds": (thresholds(analysis), "Micro F1 by threshold: chosen on mixtures, and an oracle's"),
    }
    for number, (condition, arm) in enumerate(analysis.cells()):
        suffix, title = f"_{condition}" if number else "", study.condition(condition).title
        found[f"false_alarms{suffix}"] = (
            plots.confusion(analysis, arm, condition=condition),
            f"What else is heard when an instrument plays ({title}; S2, the threshold as published)",
        )
        curves = plots.training_curves(analysis, condition=condition)
        found[f"training_curves{suffix}"] = (curves, f"Losses on segments, each of one label, by epoch ({title})")
    if set(COMPARED) <= set(analysis.classes) and (several := filter_activations.read(analysis)):
        found["flute_clarinet"] = (
            flute_and_clarinet(analysis, several),
            "Flute against clarinet, right against missed: what layers and filters answer",
        )
    return found


def instruments(analysis: Analysis) -> Figure:
    """F1 of every instrument with its interval, a bar for each condition (study 001, Fig. 1)."""
    study, classes, found = analysis.study, list(analysis.classes), class_scores(analysis)
    conditions = [condition for condition, _ in analysis.cells()]
    places, height = np.arange(len(classes)), 0.8 / len(conditions)
    with mpl.rc_context(style()):
        figure = new_figure(1.5 + len(classes) * (0.14 + 0.1 * len(conditions)))
        axes = figure.subplots()
        for number, (name, colour) in enumerate(zip(conditions, palette(len(conditions)), strict=True)):
            rows = found[found["condition"] == name].set_index("class").loc[classes]
            at, look = places - 0.4 + (number + 0.5) * height, {"color": colour, "hatch": HATCHES[number]}
            title = study.condition(name).title
            axes.barh(at, rows["mean"], height, edgecolor="white", linewidth=0.4, label=title, **look)
            for line in ({"color": "white", "linewidth": 2.6}, {"color": "0.1", "linewidth": 1.0}):
                axes.hlines(at, rows["low"], rows["high"], **line)
        axes.vlines(rows["chance"], places - 0.46, places + 0.46, color="white", linewidth=3.5)
        axes.vlines(rows["chance"], places - 0.46, places + 0.46, color="black", linewidth=1.4, label="chance")
        axes.set_xlim(0, 1)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set_yticks(places, [f"{title_of(c)}: {n}" for c, n in zip(classes, rows["positives"], strict=True)])
        for text, name in zip(axes.get_yticklabels(), classes, strict=True):
            text.set_fontweight("bold" if name in COMPARED else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("F1")
        figure.legend(loc="outside upper center", ncols=len(conditions) + 1)
        write_foot(
            figure,
            f"Beside each instrument its test excerpts. S2, the threshold chosen on validation mixtures; mean over the "
            f"seeds. Lines: {interval_in_words(analysis)}, where there are positives enough. Chance: the F1 of calling "
            "the instrument present every time. The published model's F1 is not shown, as the paper's Fig. 1 has bars "
            "without numbers; of them the paper says that flute (bold) is above clarinet (bold). "
            f"{origin(analysis)}",
        )
    return figure


def thresholds(analysis: Analysis) -> Figure:
    """Micro F1 by threshold, on validation mixtures and on test excerpts.

    A panel for each aggregation; lines are means over the seeds, markers the trials' own thresholds.
    """
    study = analysis.study
    with mpl.rc_context(style()):
        figure = new_figure(3.6)
        panels = figure.subplots(1, 2, sharey=True)
        handles = []
        looks = list(zip(analysis.cells(), palette(len(analysis.cells())), MARKERS, strict=False))
        for axes, how in zip(panels, ("s1", "s2"), strict=True):
            for (condition, arm), colour, marker in looks:
                some = analysis.select(arm, condition)
                curves = {part: [curve(analysis, r, part, how) for r in some] for part in ("valid", "test")}
                for part, line in (("valid", LINES[1]), ("test", LINES[0])):
                    mean = np.mean([c["f1_micro"] for c in curves[part]], axis=0)
                    axes.plot(curves[part][0]["threshold"], mean, color=colour, linestyle=line)
                for record, of_test in zip(some, curves["test"], strict=True):
                    by_value = of_test.set_index("threshold")["f1_micro"]
                    at = {choice: threshold(analysis, record, how, choice) for choice in CHOSEN}
                    axes.plot(at.values(), [by_value[value] for value in at.values()], color=colour, linewidth=0.6)
                    for choice, look in CHOSEN.items():
                        axes.plot(at[choice], by_value[at[choice]], marker=marker, color=colour, zorder=3, **look)
            p = analysis.predictions(analysis.records[0], "test")
            axes.axhline(METRICS[MICRO].chance(p.labels, p.mask), **CHANCE)
            axes.set_title("S1: mean over the windows" if how == "s1" else "S2: sum, by the largest class's")
            axes.set_xlabel("threshold")
            axes.grid(axis="y", color="0.9", linewidth=0.6)
        panels[0].set_ylabel("micro F1")
        handles = [
            *(
                Line2D([], [], color=colour, marker=marker, label=study.condition(condition).title)
                for (condition, _), colour, marker in looks
            ),
            Line2D([], [], color="0.2", linestyle=LINES[0], label="test excerpts"),
            Line2D([], [], color="0.2", linestyle=LINES[1], label="validation mixtures"),
            Line2D([], [], color="0.2", linestyle="", marker="o", label="chosen on mixtures", **CHOSEN["chosen"]),
            Line2D([], [], color="0.2", linestyle="", marker="o", label="oracle", **CHOSEN["oracle"]),
            Line2D([], [], label="chance", **CHANCE),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=3)
        write_foot(
            figure,
            "Lines: means over the seeds, at the thresholds that public code has tried. Filled markers: what each "
            "trial gets on test excerpts with its threshold from validation mixtures; hollow, joined to it by a thin "
            "line: with the best on the test excerpts, an oracle's. Chance: the micro F1 of "
            f"{METRICS[MICRO].chance_in_words}, on the test excerpts. {origin(analysis)}",
        )
    return figure


def flute_and_clarinet(analysis: Analysis, several: Sequence[FilterActivations]) -> Figure:
    """Mean activation of each layer for flutes and clarinets, right and missed, and the filters that tell them apart.

    Above a line per group of excerpts; below every excerpt's mean activation of a few filters of the first trial.
    """
    first, level = several[0], analysis.check_level
    top = filters_of(first, level=level).iloc[:FILTERS]
    missed = {"markerfacecolor": "white", "linestyle": LINES[1]}
    looks = {
        f"{name}, {said}": {"color": colour, "marker": marker, "linestyle": "-"} | (missed if said == "missed" else {})
        for (name, marker), colour in zip((("flute", "o"), ("clarinet", "s")), palette(2), strict=True)
        for said in ("right", "missed")
    }
    with mpl.rc_context(style()):
        figure = new_figure(4.9)
        above, below = figure.subfigures(2, 1, height_ratios=[1.15, 1])
        axes = above.subplots()
        axes.axhline(0, **CHANCE)
        places = np.arange(len(LAYERS))
        for shift, (name, look) in zip((-0.09, -0.03, 0.03, 0.09), looks.items(), strict=True):
            having = [a for a in several if a.groups()[name].any()]
            if not having:
                continue
            levels = np.array([[a.standardised(stage)[a.groups()[name]].mean() for stage in LAYERS] for a in having])
            count = sum(int(a.groups()[name].sum()) for a in having)
            axes.plot(places + shift, levels.mean(axis=0), label=f"{name} ({count})", **look)
            axes.vlines(places + shift, levels.min(axis=0), levels.max(axis=0), color=look["color"], linewidth=0.8)
        axes.set_xticks(places, LAYERS.values())
        axes.set_ylabel("mean activation,\nSD from the mean")
        axes.set_xlabel("layer, behind its non-linearity")
        above.legend(loc="outside upper center", ncols=4, handlelength=3)
        panels = below.subplots(1, len(top), squeeze=False)[0]
        rng = np.random.default_rng(0)
        for panel, of_filter in zip(panels, top.itertuples(), strict=True):
            values = first.means[of_filter.stage][:, of_filter.filter]
            for name, look in looks.items():
                chosen = first.groups()[name]
                spread = ("clarinet" in name) + rng.uniform(-0.22, 0.22, chosen.sum())
                panel.plot(spread, values[chosen], **(look | {"linestyle": "", "markersize": 3.2}))
            for column, side in enumerate((first.flute, ~first.flute)):
                panel.plot([column - 0.33, column + 0.33], [values[side].mean()] * 2, color="0.1", linewidth=1.4)
            panel.set_xlim(-0.5, 1.5)
            panel.set_xticks([0, 1], ["flute", "clarinet"])
            star = "*" if of_filter.beyond else ""
            panel.set_title(f"{LAYERS[of_filter.stage]}, {of_filter.filter}{star}\narea {of_filter.area:.2f}")
            panel.tick_params(axis="y", labelsize=6)
        panels[0].set_ylabel("mean activation")
        write_foot(
            figure,
            "Test excerpts with a flute or a clarinet, and not both; right: the instrument is predicted (S2, the "
            "threshold chosen on validation mixtures). Above: mean over the seeds, in standard deviations over these "
            "excerpts; thin lines: range of the seeds; in brackets the excerpts, one for each seed. Below: the filters "
            f"of seed {first.record.seed} that tell the two best, by excerpt, with means; area: under the ROC curve, "
            f"for the instrument that a filter answers more to; *: beyond what any filter of the network has in "
            f"{level:.2%} of permutations of the songs' labels. Condition: "
            f"{analysis.study.condition(first.record.condition).title}. "
            f"{origin(analysis, [a.record for a in several])}",
        )
    return figure
