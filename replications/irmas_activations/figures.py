"""Fig. 1 by instrument, thresholds, confusions, learning curves, and flute against clarinet as figures."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness import corpora
from harness.metrics import multilabel
from harness.report import plots
from harness.report.confusion_matrix import confusion_matrix
from harness.report.estimates import interval_in_words
from harness.report.style import CHANCE, HATCHES, LINES, MARKERS, new_figure, palette, style, write_foot
from harness.studies.records import PARTS, Predictions, Record
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.answers import LAYERS, Answers, answers, groups, standardised, top_filters
from replications.irmas_activations.comparison import COMPARED
from replications.irmas_activations.scores import found_conditions, of_condition
from replications.irmas_activations.tables import title_of

#: Most filters that the panel of flute and clarinet shows.
FILTERS = 6
#: Markers of thresholds: the hollow one is larger, so that both are seen where the two ways give the same.
CHOSEN = {"chosen": {"markersize": 4}, "oracle": {"markersize": 8, "markerfacecolor": "none"}}


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
    songs = scores.songs_of(corpora.load(records[0].data["corpus"]))
    base = found_conditions(study, records)[0]
    of_base = of_condition(records, base)
    title = study.condition(base).title
    arm = of_base[0].arm
    found = {
        "fig1_instruments": (instruments(study, records, songs), "F1 of every instrument (Fig. 1 of the paper)"),
        "thresholds": (thresholds(study, records), "Micro F1 by threshold: chosen on mixtures, and an oracle's"),
    }
    if one := [record for record in map(predominant, of_base) if len(record.predictions("test").keys)]:
        figure = confusion_matrix(study, one, arm, condition=base, clip="excerpt", truth="the one label")
        found["confusion"] = (figure, f"What a single instrument is taken for ({title})")
    found["false_alarms"] = (
        plots.confusion(study, of_base, arm, condition=base),
        f"What else is heard when an instrument plays ({title}; S2, the threshold as published)",
    )
    found["learning_curves"] = (learning_curves(study, records), "Losses and LRAP by epoch")
    if set(COMPARED) <= set(of_base[0].data["classes"]):
        several = [a for record in of_base if (a := answers(record)) is not None]
        if several:
            found["flute_clarinet"] = (
                flute_and_clarinet(study, several),
                "Flute against clarinet, right against missed: what layers and filters answer",
            )
    return found


def instruments(
    study: Study, records: Sequence[Record], songs: dict[str, str], *, replicates: int = 1000, level: float = 0.95
) -> Figure:
    """F1 of every instrument with its interval (study 001, Fig. 1).

    Parameters
    ----------
    study, records, songs, replicates, level
        As for `replications.irmas_activations.tables.class_table`.

    Returns
    -------
    matplotlib.figure.Figure
        A bar per instrument and condition.
    """
    conditions, classes = found_conditions(study, records), records[0].data["classes"]
    labels = records[0].predictions("test").labels.astype(int)
    support = labels.sum(axis=0)
    places, height = np.arange(len(classes)), 0.8 / len(conditions)
    with mpl.rc_context(style()):
        figure = new_figure(1.5 + len(classes) * (0.14 + 0.1 * len(conditions)))
        axes = figure.subplots()
        for number, (name, colour) in enumerate(zip(conditions, palette(len(conditions)), strict=True)):
            f1 = scores.sampled(of_condition(records, name), "s2", "chosen", songs, replicates=replicates)[1]["f1"]
            found = [scores.estimate(f1[..., place], level=level) for place in places]
            where = places - 0.4 + (number + 0.5) * height
            axes.barh(
                where,
                [e.value for e in found],
                height,
                color=colour,
                hatch=HATCHES[number],
                edgecolor="white",
                linewidth=0.4,
                label=study.condition(name).title,
            )
            for place, e in zip(where, found, strict=True):
                for line in ({"color": "white", "linewidth": 2.6}, {"color": "0.1", "linewidth": 1.0}):
                    axes.plot([e.low, e.high], [place, place], solid_capstyle="butt", **line)
        by_chance = 2 * support / (support + len(labels))
        axes.vlines(by_chance, places - 0.46, places + 0.46, color="white", linewidth=3.5)
        axes.vlines(by_chance, places - 0.46, places + 0.46, color="black", linewidth=1.4, label="chance")
        axes.set_xlim(0, 1)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set_yticks(places, [f"{title_of(c)}: {n}" for c, n in zip(classes, support, strict=True)])
        for text, name in zip(axes.get_yticklabels(), classes, strict=True):
            text.set_fontweight("bold" if name in COMPARED else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("F1")
        handles, titles = axes.get_legend_handles_labels()
        figure.legend(
            handles[1:] + handles[:1], titles[1:] + titles[:1], loc="outside upper center", ncols=len(handles)
        )
        write_foot(
            figure,
            f"Beside each instrument its test excerpts. S2, the threshold chosen on validation mixtures; mean over the "
            f"seeds. Lines: {interval_in_words(records, 'songs', replicates, level)}. Chance: the "
            "F1 of calling the instrument present every time. The published model's F1 is not shown, as the paper's "
            "Fig. 1 has bars without numbers; of them the paper says that flute (bold) is above clarinet (bold). "
            f"{scores.provenance(study, records).sentence()}",
        )
    return figure


def thresholds(study: Study, records: Sequence[Record]) -> Figure:
    """Micro F1 by threshold, on validation mixtures and on test excerpts.

    Parameters
    ----------
    study, records
        The study, and its trials.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each aggregation; lines are means over the seeds, markers the trials' own thresholds.
    """
    conditions = found_conditions(study, records)
    with mpl.rc_context(style()):
        figure = new_figure(3.6)
        panels = figure.subplots(1, 2, sharey=True)
        handles = []
        for axes, how in zip(panels, ("s1", "s2"), strict=True):
            for name, colour, marker in zip(conditions, palette(len(conditions)), MARKERS, strict=False):
                some = of_condition(records, name)
                curves = {part: [scores.curve(r, part, how) for r in some] for part in ("valid", "test")}
                for part, line in (("valid", LINES[1]), ("test", LINES[0])):
                    mean = np.mean([c["f1_micro"] for c in curves[part]], axis=0)
                    axes.plot(curves[part][0]["threshold"], mean, color=colour, linestyle=line)
                for record, curve in zip(some, curves["test"], strict=True):
                    by_value = curve.set_index("threshold")["f1_micro"]
                    at = {c: scores.value_of(scores.threshold(record, how, c)) for c in CHOSEN}
                    axes.plot(at.values(), [by_value[value] for value in at.values()], color=colour, linewidth=0.6)
                    for choice, look in CHOSEN.items():
                        axes.plot(at[choice], by_value[at[choice]], marker=marker, color=colour, zorder=3, **look)
                if how == "s1":
                    handles.append(Line2D([], [], color=colour, marker=marker, label=study.condition(name).title))
            always = multilabel.chance(records[0].predictions("test").labels)["f1_micro_unmasked"]
            axes.axhline(always, **CHANCE)
            axes.set_title("S1: mean over the windows" if how == "s1" else "S2: sum, by the largest class's")
            axes.set_xlabel("threshold")
            axes.grid(axis="y", color="0.9", linewidth=0.6)
        panels[0].set_ylabel("micro F1")
        handles += [
            Line2D([], [], color="0.2", linestyle=LINES[0], label="test excerpts"),
            Line2D([], [], color="0.2", linestyle=LINES[1], label="validation mixtures"),
            Line2D([], [], color="0.2", linestyle="", marker="o", label="chosen on mixtures", **CHOSEN["chosen"]),
            Line2D([], [], color="0.2", linestyle="", marker="o", label="oracle", **CHOSEN["oracle"]),
            Line2D([], [], label="all present", **CHANCE),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=3)
        write_foot(
            figure,
            "Lines: means over the seeds, at the thresholds that public code has tried. Filled markers: what each "
            "trial gets on test excerpts with its threshold from validation mixtures; hollow, joined to it by a thin "
            f"line: with the best on the test excerpts, an oracle's. {scores.provenance(study, records).sentence()}",
        )
    return figure


class Predominant(Record):
    """A trial scored on excerpts of one label, by the largest of its scores."""

    def predictions(self, part: str) -> Predictions:
        """Predictions on excerpts of one label, by S1, made to add up to 1."""
        p = scores.predictions(Record(self.folder, self.data), part, "s1")
        one = p.labels.sum(axis=1) == 1
        # What is added keeps a row of zeros defined; it is below what float32 tells apart from 0 beside 1.
        outputs = p.probabilities[one].astype(np.float64) + 1e-12
        return Predictions(p.keys[one], p.labels[one], p.mask[one], outputs / outputs.sum(axis=1, keepdims=True))


def predominant(record: Record) -> Predominant:
    """A trial as one that names the predominant instrument of excerpts with one label.

    Parameters
    ----------
    record
        Of the trial.

    Returns
    -------
    Predominant
        For `harness.report.confusion_matrix`.
    """
    one = Predominant(record.folder, record.data)
    sizes = {part: len(one.predictions(part).keys) for part in PARTS}
    return Predominant(record.folder, {**record.data, "split": {**record.data["split"], "sizes": sizes}})


def learning_curves(study: Study, records: Sequence[Record]) -> Figure:
    """Losses and label-ranking average precision on validation segments by epoch.

    Parameters
    ----------
    study, records
        The study, and its trials.

    Returns
    -------
    matplotlib.figure.Figure
        A row per score, a column per condition, a line per seed; a marker at the epoch whose weights were kept.
    """
    conditions = found_conditions(study, records)
    shown = {
        "train_loss": "training loss",
        "valid_loss": "validation loss",
        "lrap_unmasked": "validation LRAP",
    }
    with mpl.rc_context(style()):
        figure = new_figure(4.8)
        grid = figure.subplots(len(shown), len(conditions), sharex="col", squeeze=False)
        for column, name in enumerate(conditions):
            some = of_condition(records, name)
            for record, colour, line, marker in zip(some, palette(len(some)), LINES, MARKERS, strict=False):
                history = record.history().set_index("epoch")
                for axes, score in zip(grid[:, column], shown, strict=True):
                    best = record.data["best_epoch"]
                    axes.plot(history.index, history[score], color=colour, linestyle=line, label=f"seed {record.seed}")
                    axes.plot(best, history[score][best], color=colour, marker=marker, markersize=6, mec="white")
            grid[0, column].set_title(study.condition(name).title)
            grid[-1, column].set_xlabel("epoch")
            grid[-1, column].xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        for axes, title in zip(grid[:, 0], shown.values(), strict=True):
            axes.set_ylabel(title)
        for axes in grid[-1]:
            axes.set_ylim(0, 1)
        figure.align_ylabels()
        handles, titles = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, titles, loc="outside upper center", ncols=len(handles), handlelength=3.5)
        write_foot(
            figure,
            "Of segments of the clips set aside for validation, each of one label. Markers: the epoch of the "
            "lowest validation loss, whose weights were kept. The two losses are not on one scale. "
            f"{scores.provenance(study, records).sentence()}",
        )
    return figure


def flute_and_clarinet(study: Study, several: Sequence[Answers]) -> Figure:
    """Mean activation of each layer for flutes and clarinets, right and missed, and the filters that tell them apart.

    Parameters
    ----------
    study
        Theirs.
    several
        Answers of trials of one condition; the filters are of the first.

    Returns
    -------
    matplotlib.figure.Figure
        Above: a line per group of excerpts. Below: every excerpt's mean activation of a few filters.
    """
    first = several[0]
    top = top_filters(first).iloc[:FILTERS]
    dark, light = palette(2)
    looks = {
        "flute, right": {"color": dark, "marker": "o", "linestyle": "-"},
        "flute, missed": {"color": dark, "marker": "o", "markerfacecolor": "white", "linestyle": LINES[1]},
        "clarinet, right": {"color": light, "marker": "s", "linestyle": "-"},
        "clarinet, missed": {"color": light, "marker": "s", "markerfacecolor": "white", "linestyle": LINES[1]},
    }
    with mpl.rc_context(style()):
        figure = new_figure(4.9)
        above, below = figure.subfigures(2, 1, height_ratios=[1.15, 1])
        axes = above.subplots()
        axes.axhline(0, **CHANCE)
        places = np.arange(len(LAYERS))
        for shift, (name, look) in zip((-0.09, -0.03, 0.03, 0.09), looks.items(), strict=True):
            levels = [
                [standardised(a, stage)[groups(a)[name]].mean() for a in several if groups(a)[name].any()]
                for stage in LAYERS
            ]
            count = sum(int(groups(a)[name].sum()) for a in several)
            if count:
                axes.plot(places + shift, [np.mean(of) for of in levels], label=f"{name} ({count})", **look)
                for place, of in zip(places + shift, levels, strict=True):
                    axes.plot([place, place], [min(of), max(of)], color=look["color"], linewidth=0.8)
        axes.set_xticks(places, LAYERS.values())
        axes.set_ylabel("mean activation,\nSD from the mean")
        axes.set_xlabel("layer, behind its non-linearity")
        above.legend(loc="outside upper center", ncols=4, handlelength=3)
        panels = below.subplots(1, len(top), squeeze=False)[0]
        rng = np.random.default_rng(0)
        for panel, of_filter in zip(panels, top.itertuples(), strict=True):
            values = first.means[of_filter.stage][:, of_filter.filter]
            for name, look in looks.items():
                chosen = groups(first)[name]
                column = 0 if name.startswith("flute") else 1
                spread = column + rng.uniform(-0.22, 0.22, chosen.sum())
                panel.plot(spread, values[chosen], **(look | {"linestyle": "", "markersize": 3.2}))
            for column, side in enumerate((first.flute, ~first.flute)):
                panel.plot([column - 0.33, column + 0.33], [values[side].mean()] * 2, color="0.1", linewidth=1.4)
            panel.set_xlim(-0.5, 1.5)
            panel.set_xticks([0, 1], ["flute", "clarinet"])
            star, area = "*" if of_filter.beyond else "", max(of_filter.auc, 1 - of_filter.auc)
            panel.set_title(f"{LAYERS[of_filter.stage]}, {of_filter.filter}{star}\narea {area:.2f}")
            panel.tick_params(axis="y", labelsize=6)
        panels[0].set_ylabel("mean activation")
        write_foot(
            figure,
            "Test excerpts with a flute or a clarinet, and not both; right: the instrument is predicted (S2, the "
            "threshold chosen on validation mixtures). Above: mean over the seeds, in standard deviations over these "
            "excerpts; thin lines: range of the seeds; in brackets the excerpts, one for each seed. Below: the filters "
            f"of seed {first.record.seed} that tell the two best, by excerpt, with means; area: under the ROC curve, "
            "for the instrument that a filter answers more to; *: greater than the layer's best has it in 95% of "
            "permutations of the songs' labels. Condition: "
            f"{study.condition(first.record.condition).title}. "
            f"{scores.provenance(study, [a.record for a in several]).sentence()}",
        )
    return figure
