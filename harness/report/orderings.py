"""Orders that a paper claims of its arms, drawn: each difference with the interval that decides it."""

import textwrap

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analysis.study import Analysis
from harness.analysis.verdicts import REVERSED
from harness.report.style import CHANCE, SMALL, new_figure, palette, style, write_foot
from harness.report.tables import origin
from harness.report.verdicts import how, said
from harness.studies.claims import FAILS, HOLDS, ORDER, UNDECIDED

#: Characters of a claim on one line of the figure: more would leave too little room for the differences.
LONGEST = 62


def figures(analysis: Analysis, text: str) -> dict[str, tuple[Figure, str]]:
    """The forest of orders and a line on what it shows, as a study's ``figures`` has it; empty where none is judged."""
    frame = analysis.verdicts
    judged = (frame["kind"] == ORDER) & frame["verdict"].isin([HOLDS, UNDECIDED, REVERSED, FAILS])
    return {"orderings": (forest(analysis), text)} if judged.any() else {}


def forest(analysis: Analysis) -> Figure:
    """Every claimed order as its difference with the simultaneous interval.

    Returns
    -------
    matplotlib.figure.Figure
        One row per claim; marker and shade tell the verdict. Of a claim that was not judged only that is said.
    """
    frame = analysis.verdicts
    orders = frame[frame["kind"] == ORDER]
    claims = [claim for claim in analysis.claims if claim.kind == ORDER]
    words = orders["verdict"].replace(FAILS, REVERSED).tolist()
    dark, middle, light = palette(3)
    marks = {HOLDS: ("o", dark), UNDECIDED: ("d", light), REVERSED: ("s", middle)}
    title = {REVERSED: f"{REVERSED} or unequal" if FAILS in set(orders["verdict"]) else REVERSED}
    with mpl.rc_context(style()):
        names = [textwrap.fill(said(claim), LONGEST, break_on_hyphens=False) for claim in claims]
        figure = new_figure(1.5 + (0.25 if any("\n" in name for name in names) else 0.165) * len(claims))
        axes = figure.subplots()
        axes.axvline(0, **CHANCE)
        for place, (claim, row, word) in enumerate(zip(claims, orders.itertuples(), words, strict=True)):
            if word not in marks:
                axes.annotate(word, (0, place), (3, 0), textcoords="offset points", va="center", size=SMALL)
                continue
            marker, colour = marks[word]
            axes.plot([row.low, row.high], [place] * 2, color=colour, linewidth=1.4)
            face = {"markerfacecolor": "white"} if word == UNDECIDED else {}
            axes.plot(row.ours, place, color=colour, marker=marker, markersize=4.5, **face)
            bounds = {"above": [], "at least": [-1], "equal": [-1, 1]}[claim.relation]
            axes.plot([sign * (claim.margin or 0) for sign in bounds], [place] * len(bounds), color="0.3", marker="|",
                      linestyle="", markersize=7, markeredgewidth=1.2)  # fmt: skip
        for place in range(1, len(claims)):
            if bool(claims[place].classes) != bool(claims[place - 1].classes):
                axes.axhline(place - 0.5, color="0.6", linewidth=0.6)
        axes.set_yticks(np.arange(len(claims)), names)
        axes.set_ylim(len(claims) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=6))
        way = (
            "equal: between the margins"
            if any(c.relation == "equal" for c in claims)
            else "right of 0: as the paper says"
        )
        axes.set_xlabel(f"difference of the scores ({way})")
        handles = [
            Line2D(
                [], [], color=colour, marker=marker, label=f"{title.get(word, word)} ({words.count(word)})",
                **({"markerfacecolor": "white"} if word == UNDECIDED else {}),
            )
            for word, (marker, colour) in marks.items()
        ]  # fmt: skip
        if any(claim.margin for claim in claims):
            handles.append(Line2D([], [], linestyle="", color="0.3", marker="|", label="margin"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        base = [r for r in analysis.records if r.condition == analysis.base]
        write_foot(figure, " ".join([*how(analysis, (ORDER,))[:-1], origin(analysis, base)]))
    return figure
