"""Orderings that a paper claims of its arms, judged by our trials.

An ordering is a ``[[claim]]`` of the kind ``"order"`` (`harness.studies.claims`). Unlike a value, it can be judged on
any corpus.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.metrics.seeds import probability
from harness.report import estimates
from harness.report.contrasts import Contrast, Scores, Side
from harness.report.estimates import Estimate, in_words
from harness.report.style import CHANCE, SMALL, new_figure, palette, style, write_foot
from harness.studies.claims import FAILS, ONE_SEED, Claim, orders
from harness.studies.records import Record
from harness.studies.study import Study

HOLDS, REVERSED, UNDECIDED = "holds", "reversed", "undecided"
#: Characters of a claim on one line of the figure: more would leave too little room for the differences.
LONGEST = 62


@dataclass(frozen=True)
class Judged:
    """A claimed ordering and what our trials say of it.

    Parameters
    ----------
    claim
        The ordering.
    contrast
        What it was judged by.
    difference
        Upper minus lower score, with its interval over seeds and clips; None where there is none.
    probability
        Of the ordering: share of the replicates, turned around the difference as the interval turns them, in which it
        is as claimed; None where there is none.
    p_value
        Of a permutation test that the two sides are alike (`harness.report.contrasts.Scores.permuted`); None where
        there is none.
    verdict
        ``"holds"``, ``"reversed"`` (of ``"equal"``: ``"does not hold"``), ``"undecided"``, perhaps with a colon and
        why, or ``"not judged: "`` and why.
    """

    claim: Claim
    contrast: Contrast
    difference: Estimate
    probability: float | None
    p_value: float | None
    verdict: str

    @property
    def range(self) -> tuple[float, float]:
        """Between what the difference must lie for the claim to hold."""
        margin = self.claim.margin or 0.0
        return {"above": (0.0, np.inf), "at least": (-margin, np.inf), "equal": (-margin, margin)}[self.claim.relation]


def judge(
    study: Study,
    records: Sequence[Record],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    scores: Scores | None = None,
) -> list[Judged]:
    """Judge every ordering that the study claims.

    Parameters
    ----------
    study
        Gives the claims.
    records
        Any of the study's, of one corpus and profile; those under the study's first condition count.
    replicates, level
        Of the bootstrap over seeds and clips together (`harness.metrics.seeds`): each replicate scores the same clips
        for both sides. With one seed it is over clips alone, and nothing is decided.
    scores
        Of these records, where there are some already.

    Returns
    -------
    list of Judged
        In the order of the claims. One holds if its whole interval lies above the bound, is reversed if the whole
        interval lies below it, and is undecided otherwise. “Equal” is judged as values are, by two one-sided tests: it
        holds if the interval lies within the margin, and does not hold if it lies outside.

    Raises
    ------
    RepriseError
        As `harness.studies.claims.claims`.
    """
    scores = scores or Scores(study, records, replicates=replicates)
    return [judge_one(claim, scores, level=level) for claim in orders(study)]


def judge_one(claim: Claim, scores: Scores, *, level: float = 0.95) -> Judged:
    """Judge one ordering.

    Parameters
    ----------
    claim
        An ordering.
    scores
        Of the study's trials.
    level
        As for `judge`.

    Returns
    -------
    Judged
        As `judge` has it.
    """
    above = Side(claim.above, claim.classes)
    below = Side(claim.below, claim.below_classes or claim.classes)
    found = scores.contrast(above, below, claim.metric, claim.part)
    if found.replicates is None:
        return Judged(claim, found, Estimate(None, None, None), None, None, f"not judged: {found.missing}")
    equal = claim.relation == "equal"
    gain, ends = found.replicates.score, found.interval(2 * level - 1 if equal else level)
    judged = Judged(claim, found, Estimate(gain, *(ends or (None, None))), None, None, UNDECIDED)
    if ends is None:
        return judged
    low, high = judged.range
    p_value = scores.permuted(above, below, claim.metric, claim.part)
    inside = probability(gain, found.draws, low) - (probability(gain, found.draws, high) if np.isfinite(high) else 0.0)
    verdict = UNDECIDED
    if found.replicates.seeds == 1:
        verdict = ONE_SEED
    elif low < ends[0] and ends[1] < high:
        verdict = HOLDS
    elif ends[1] < low or ends[0] > high:
        verdict = FAILS if equal else REVERSED
    return Judged(claim, found, judged.difference, inside, p_value, verdict)


def forest(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Figure:
    """Every judged claim as its difference with the interval.

    Parameters
    ----------
    study, records, replicates, level
        As for `judge`.

    Returns
    -------
    matplotlib.figure.Figure
        One row per claim; marker and shade tell the verdict. A claim that was not judged is an empty row.
    """
    scores = Scores(study, records, replicates=replicates)
    judged = judge(study, records, replicates=replicates, level=level, scores=scores)
    dark, middle, light = palette(3)
    marks = {HOLDS: ("o", dark), UNDECIDED: ("d", light), REVERSED: ("s", middle)}
    found = [REVERSED if j.verdict == FAILS else j.verdict.partition(":")[0] for j in judged]
    titles = {REVERSED: f"{REVERSED} or unequal"} if FAILS in {j.verdict for j in judged} else {}
    with mpl.rc_context(style()):
        names = [textwrap.fill(said(j.claim), LONGEST, break_on_hyphens=False) for j in judged]
        figure = new_figure(1.3 + (0.25 if any("\n" in name for name in names) else 0.165) * len(judged))
        axes = figure.subplots()
        axes.axvline(0, **CHANCE)
        for place, (j, word) in enumerate(zip(judged, found, strict=True)):
            if word not in marks:
                axes.annotate("not judged", (0, place), (3, 0), textcoords="offset points", va="center", size=SMALL)
                continue
            marker, colour = marks[word]
            hollow = {"markerfacecolor": "white"} if word == UNDECIDED else {}
            axes.plot([j.difference.low, j.difference.high], [place] * 2, color=colour, linewidth=1.4)
            axes.plot(j.difference.value, place, color=colour, marker=marker, markersize=4.5, **hollow)
            for bound in j.range:
                if bound and np.isfinite(bound):
                    axes.plot(bound, place, color="0.3", marker="|", markersize=7, markeredgewidth=1.2)
        for place in range(1, len(judged)):
            if _scope(judged[place]) != _scope(judged[place - 1]):
                axes.axhline(place - 0.5, color="0.6", linewidth=0.6)
        axes.set_yticks(range(len(judged)), names)
        axes.set_ylim(len(judged) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(nbins=6))
        equal = any(j.claim.relation == "equal" for j in judged)
        way = "equal: between the margins" if equal else "right of 0: as the paper says"
        axes.set_xlabel(f"difference of the scores ({way})")
        handles = [
            Line2D(
                [], [], color=colour, marker=marker, label=f"{titles.get(word, word)} ({found.count(word)})",
                **({"markerfacecolor": "white"} if word == UNDECIDED else {}),
            )
            for word, (marker, colour) in marks.items()
        ]  # fmt: skip
        if any(j.claim.margin for j in judged):
            handles.append(Line2D([], [], linestyle="", color="0.3", marker="|", label="margin"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        how = rule([(j.claim, j.contrast) for j in judged], replicates, level, scores.unit)
        write_foot(figure, f"{how} {_origin(study, records)}")
    return figure


def rule(judged: Sequence[tuple[Claim, Contrast]], replicates: int, level: float, unit: str = "clips") -> str:
    """How verdicts on orderings come about.

    Parameters
    ----------
    judged
        Each ordering and what it was judged by.
    replicates, level
        As for `judge`.
    unit
        What is drawn.

    Returns
    -------
    str
        In sentences.
    """
    one = any(contrast.replicates is not None and contrast.replicates.seeds == 1 for _, contrast in judged)
    equal, at_least = (any(claim.relation == name for claim, _ in judged) for name in ("equal", "at least"))
    return (
        f"Orders: upper minus lower score, mean over the seeds, with its {level:.0%} basic bootstrap interval over "
        f"seeds and {unit} together ({replicates:,} replicates, the same {unit} on both sides). "
        f"Holds: the whole interval lies above 0{', of “at least” above minus the margin' if at_least else ''}; "
        "reversed: all of it lies below; undecided: neither. "
        + (f"“Equal”: by the {2 * level - 1:.0%} interval, within the margin or outside. " if equal else "")
        + (f"With one seed the interval is over {unit} alone, and nothing is decided. " if one else "")
        + f"Of many such intervals {1 - level:.0%} miss, so some claims are decided wrongly."
    )


def said(claim: Claim) -> str:
    """A claim in words that tell it from the others.

    Parameters
    ----------
    claim
        Any.

    Returns
    -------
    str
        Its text, and where others differ from it in the metric alone, that.
    """
    return f"{claim.text} ({in_words(claim.metric)})" if claim.spelt else claim.text


def _origin(study: Study, records: Sequence[Record]) -> str:
    """What the records under the study's first condition stand on."""
    base = [r for r in records if r.condition == study.conditions[0].name]
    return estimates.provenance(study, base, "test").sentence()


def _scope(judged: Judged) -> str:
    """Whether a claim is about all classes or some."""
    return "some classes" if judged.claim.classes else "all classes"
