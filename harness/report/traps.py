"""What the silent choices of protocol are worth in a study: a table and a plot, by size.

Two papers that name the same score may have chosen otherwise in ways that neither prints (`harness.report.switches`).
Each such choice is switched on the same finished trials. The effect is shown for one arm, and for all others how far it
goes and how many pairs of arms change places: a choice that moves all alike spoils no comparison within a paper, only
those between papers.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.metrics import METRICS
from harness.report import style, writers
from harness.report.replay import CHOOSING, SCORING, TRAINING, Switch, Trials
from harness.report.switches import CHOICES
from harness.report.tables import about, averages, interval_in_words, origin
from harness.report.writers import UNDEFINED, Column, Table, in_points

#: Stem of the files.
NAME = "traps"
#: Characters of a switch on one line of the figure.
LONGEST = 62
BAND = {"color": "0.9", "linewidth": 0}
KINDS = {
    SCORING: "how the same predictions are scored",
    CHOOSING: "what is chosen, and on which part",
    TRAINING: "trained again under another condition",
}


@dataclass(frozen=True)
class Traps:
    """What switching each choice does to the main score of one arm, and of the others.

    Parameters
    ----------
    arm
        Name of the one arm.
    switches
        Its effects, the greatest first.
    others
        For each of these the scores before and after of all arms that it could be made of, by name.
    silent
        Choices that do not arise, with the reason.
    gap
        By how much the best arm is above the second best, on what the switches start from; None for a single arm.
    trials
        The arm's.
    """

    arm: str
    switches: tuple[Switch, ...]
    others: tuple[Mapping[str, tuple[float, float]], ...]
    silent: Mapping[str, str]
    gap: float | None
    trials: Trials

    def swapped(self, number: int) -> tuple[int, int]:
        """Pairs of arms that change places by a switch, and pairs in all."""
        pairs = [np.subtract(a, b) for a, b in combinations(self.others[number].values(), 2)]
        return sum(before * after < 0 for before, after in pairs), len(pairs)


def survey(analysis: Analysis, *, arm: str | None = None) -> Traps:
    """Switch every choice that arises.

    Parameters
    ----------
    arm
        Which arm is shown; default: of those that learn in epochs, if there are any, the one with the best main score
        on the validation part.

    Returns
    -------
    Traps
        Of trials under the study's first condition, and of those that differ from them in one thing.

    Raises
    ------
    RepriseError
        No arm, or not the one asked for, has a trial under the study's first condition; or the main score is a loss.
    """
    study = analysis.study
    if not METRICS[study.metric].higher_is_better:
        raise RepriseError(f"the main score of {study.name} is a loss, which has no points; name a score in study.toml")
    played = [a for c, a in analysis.cells() if c == analysis.base]
    if not played:
        raise RepriseError(f"no arm of {study.name} has a trial under {analysis.base!r}; run it first")
    if arm is None:
        valid = averages(analysis, "valid", [study.metric])
        valid = valid[valid["condition"] == analysis.base].set_index("arm")["mean"].fillna(-np.inf)
        learning = [name for name in played if study.arm(name).parameters] or played
        arm = max(learning, key=lambda name: valid[name])
    trials = {name: Trials(analysis, name, intervals=name == arm) for name in dict.fromkeys([arm, *played])}
    switches, silent = _switch_all(trials[arm])
    switches.sort(key=lambda s: -np.nan_to_num(abs(s.effect.value)))
    effects: dict[tuple[str, str], dict[str, tuple[float, float]]] = {(s.choice, s.other): {} for s in switches}
    for name, of_arm in trials.items():
        for s in switches if name == arm else _switch_all(of_arm)[0]:
            if (s.choice, s.other) in effects and not np.isnan(s.effect.value):
                effects[s.choice, s.other][name] = (s.before, s.after)
    scores = np.sort([of_arm.usual.plain.mean() for of_arm in trials.values()])
    gap = float(scores[-1] - scores[-2]) if len(scores) > 1 else None
    return Traps(arm, tuple(switches), tuple(effects.values()), silent, gap, trials[arm])


def table(traps: Traps) -> Table:
    """The switches with the main score before and after, one row per switch, the greatest effect first."""
    trials, rows = traps.trials, []
    corpus = trials.records[0].data["corpus"]
    for number, s in enumerate(traps.switches):
        effects = [after - before for before, after in traps.others[number].values()]
        swapped, pairs = traps.swapped(number)
        rows.append(
            {
                "number": number + 1,
                "arm": traps.arm,
                "metric": trials.metric,
                "kind": s.kind,
                "choice": s.choice,
                "usual": s.usual,
                "other": s.other,
                "score": s.before,
                "switched": s.after,
                "effect": s.effect,
                "interval_over": s.over,
                "least_of_arms": min(effects, default=None),
                "greatest_of_arms": max(effects, default=None),
                "range": _points_range(effects) if pairs else UNDEFINED,
                "pairs_swapped": swapped,
                "pairs": pairs,
                "swapped": f"{swapped} of {pairs}" if pairs else UNDEFINED,
            }
        )
    several = Column("range", "All arms", "text"), Column("swapped", "Swapped", "text")
    silent = "; ".join(f"{name}: {why}" for name, why in traps.silent.items())
    compared = []
    if traps.gap is not None:
        compared = [
            "All arms: least and greatest effect of any arm; swapped: pairs of arms that change places. For "
            f"comparison: the best arm is {100 * traps.gap:.1f} points above the second best."
        ]
    return Table(
        name=NAME,
        title=f"What silent choices of protocol are worth on {corpus}: {trials.title.rstrip('.')}",
        caption=" ".join(
            [origin(trials.analysis, trials.records), _rule(traps), *compared, "°: the interval holds zero."]
        ),
        notes=f"Does not arise here: {silent}." if silent else "",
        frame=pd.DataFrame(rows),
        columns=(
            Column("choice", "Choice", "text", width=0.16),
            Column("usual", "Here", "text", width=0.16),
            Column("other", "Switched to", "text", width=0.22),
            Column("switched", "Score", "score"),
            Column("effect", "Points", "points"),
            *(() if traps.gap is None else several),
        ),
        group=("number",),
        section="arm",
        about=about(trials.analysis, trials.records),
    )


def forest(traps: Traps) -> Figure:
    """Every switch as its effect with the interval, the greatest on top.

    Returns
    -------
    matplotlib.figure.Figure
        Marker and shade tell what kind of choice it is; small strokes are the other arms.
    """
    marks = dict(zip(KINDS, zip("osD", style.palette(3), strict=True), strict=True))
    with mpl.rc_context(style.style()):
        names = [textwrap.fill(f"{s.choice}: {s.usual} → {s.other}", LONGEST) for s in traps.switches]
        lines = sum(1 + name.count("\n") for name in names)
        figure = style.new_figure(1.4 + 0.07 * len(names) + 0.125 * lines)
        axes = figure.subplots()
        if traps.gap is not None:
            axes.axvspan(-100 * traps.gap, 100 * traps.gap, **BAND)
        axes.axvline(0, **style.CHANCE)
        for place, (s, others) in enumerate(zip(traps.switches, traps.others, strict=True)):
            marker, colour = marks[s.kind]
            strokes = [100 * (after - before) for name, (before, after) in others.items() if name != traps.arm]
            axes.plot(strokes, [place] * len(strokes), linestyle="", marker="|", markersize=6, color="0.45", alpha=0.8)
            axes.plot([100 * s.effect.low, 100 * s.effect.high], [place] * 2, color=colour, linewidth=1.4)
            axes.plot(100 * s.effect.value, place, color=colour, marker=marker, markersize=4.5)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"change of {METRICS[traps.trials.metric].in_words}, in points")
        found = {s.kind for s in traps.switches}
        handles = [
            Line2D([], [], color=colour, marker=marker, label=KINDS[kind])
            for kind, (marker, colour) in marks.items()
            if kind in found
        ]
        if traps.gap is not None:
            handles.append(Line2D([], [], linestyle="", color="0.45", marker="|", label="another arm"))
            handles.append(Patch(**BAND, label="less than from the best arm to the second best"))
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
        arm, stands_on = traps.trials.title.rstrip("."), origin(traps.trials.analysis, traps.trials.records)
        style.write_foot(figure, f"Arm shown: {arm}. {_rule(traps)} {stands_on}")
    return figure


def write(traps: Traps, folder: Path, *, save: Callable[[Figure, Path], list[Path]] = style.save) -> list[Path]:
    """Write the table and the plot: ``traps`` as CSV, Markdown, LaTeX, PNG and PDF."""
    return writers.write(table(traps), folder) + save(forest(traps), folder / NAME)


def _switch_all(trials: Trials) -> tuple[list[Switch], dict[str, str]]:
    """Every switch of an arm, and why some choices do not arise."""
    switches: list[Switch] = []
    silent = {}
    for name, choice in CHOICES.items():
        found = choice(trials)
        if isinstance(found, str):
            silent[name] = found
        else:
            switches += found
    return switches, silent


def _points_range(effects: Sequence[float]) -> str:
    return f"{in_points(min(effects))} to {in_points(max(effects))}"


def _rule(traps: Traps) -> str:
    """How to read the numbers, in sentences."""
    trials = traps.trials
    text = (
        f"Here: {trials.usual.plain.mean():.3f} by {METRICS[trials.metric].in_words}, mean over the seeds. Points: "
        f"hundredths of it, switched minus here, each with its own "
        f"{interval_in_words(trials.analysis, trials.records)}."
    )
    if any(s.choice == "Seeds" for s in traps.switches):
        text += f" Of the choice of a seed the interval is over {trials.unit} alone."
    if any("on test" in s.other for s in traps.switches):
        text += (
            " What is chosen on test is chosen anew in each replicate; such a gain is partly chance, and its interval "
            f"is of what more seeds and {trials.unit} would leave of it."
        )
    if any(s.over == "seeds" for s in traps.switches):
        text += " Of the epoch kept both scores are of the validation part, and the interval is Student's t over seeds."
    return text
