"""Orderings that a paper claims of its arms, judged by our trials.

An ordering is a ``[[claim]]`` of ``study.toml``::

    [[claim]]
    kind = "order"
    above = "textual"                # an arm, or several whose mean counts; it has the higher number, of a loss too
    below = ["den_add", "den_mul"]
    metric = "f1_macro2_masked"
    classes = ["organ"]              # optional: the mean over these alone, of a metric that is a mean over classes
    relation = "above"               # or "at least": not lower by more than the margin
    margin = 0.02                    # for "at least"
    where = "6.2"
    text = "..."                     # what the paper says, in our words
    reading = "..."                  # optional: what we take it to mean

Unlike a value, an ordering can be judged on any corpus; the table says on which.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.errors import RepriseError
from harness.metrics import uncertainty
from harness.metrics.multilabel import ratio
from harness.report import estimates
from harness.report.estimates import METRIC_TITLES, Estimate
from harness.report.resampling import Draws
from harness.report.style import CHANCE, SMALL, new_figure, palette, style, write_foot
from harness.report.writers import Column, Table
from harness.studies.records import TASKS, Predictions, Record, scoring
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
        As in ``study.toml``.
    above, below
        Score of each side; None where it has none, or one arm of it has no record.
    difference
        The one minus the other.
    verdict
        ``"holds"``, ``"reversed"``, ``"undecided"``, or ``"not judged: "`` and why.
    """

    claim: Mapping[str, Any]
    above: float | None
    below: float | None
    difference: Estimate
    verdict: str

    @property
    def bound(self) -> float:
        """What the difference must exceed: 0, or the margin below it for ``"at least"``."""
        return -self.claim["margin"] if self.claim["relation"] == "at least" else 0.0


def judge(
    study: Study, records: Sequence[Record], *, part: str = "test", replicates: int = 1000, level: float = 0.95
) -> list[Judged]:
    """Judge every ordering that the study claims.

    Parameters
    ----------
    study
        Gives the claims.
    records
        Any of the study's, of one corpus and profile; those under the study's first condition count.
    part
        ``"valid"`` or ``"test"``.
    replicates, level
        Of the bootstrap over clips: each replicate scores the same clips for both sides, as the mean over the seeds.
        Sides that were scored on different clips are resampled as `harness.report.resampling` has it.

    Returns
    -------
    list of Judged
        In the order of the claims. One holds if its whole interval lies above the bound, is reversed if the whole
        interval lies below it, and is undecided otherwise.

    Raises
    ------
    RepriseError
        As `orders`.
    """
    condition = study.conditions[0].name
    claims = [(claim, (_names(claim["above"]), _names(claim["below"]))) for claim in orders(study)]
    arms = dict.fromkeys(name for _, sides in claims for name in chain(*sides))
    trials = {name: [(r, r.predictions(part)) for r in estimates.select(records, name, condition)] for name in arms}
    draws = Draws([[p.keys for _, p in found] for found in trials.values()], replicates)
    drawn: dict[tuple[str, str], np.ndarray] = {}
    result = []
    for claim, sides in claims:
        metric = claim["metric"]
        for name in chain(*sides):
            if (name, metric) not in drawn and trials[name]:
                drawn[name, metric] = np.mean([_scores(r, p, metric, draws) for r, p in trials[name]], axis=0)
        result.append(_judge(claim, sides, drawn, records, level))
    return result


def orders(study: Study) -> list[Mapping[str, Any]]:
    """The claims of a study that are orderings, checked.

    Parameters
    ----------
    study
        Gives the claims.

    Returns
    -------
    list of Mapping
        In their order.

    Raises
    ------
    RepriseError
        A claim names an unknown arm, relation or metric, or classes where the metric is no mean over classes.
    """
    metrics = TASKS[study.task]
    found = [claim for claim in study.claims if claim["kind"] == "order"]
    for claim in found:
        for name in (*_names(claim["above"]), *_names(claim["below"])):
            study.arm(name)
        choices = metrics.MEAN_OF if "classes" in claim else metrics.METRICS
        if claim["metric"] not in choices:
            kind = "metric that is a mean over classes" if "classes" in claim else f"{study.task} metric"
            raise RepriseError(
                f"the claim “{claim['text']}” needs a {kind}, not {claim['metric']!r}: "
                f"choose one of {', '.join(choices)} in {study.folder / 'study.toml'}"
            )
        if claim["relation"] not in ("above", "at least"):
            raise RepriseError(
                f"the claim “{claim['text']}” has the relation {claim['relation']!r}; "
                f"write 'above' or 'at least' in {study.folder / 'study.toml'}"
            )
    return found


def table(
    study: Study, records: Sequence[Record], *, part: str = "test", replicates: int = 1000, level: float = 0.95
) -> Table:
    """The claims with both scores, their difference and the verdict.

    Parameters
    ----------
    study, records, part, replicates, level
        As for `judge`.

    Returns
    -------
    Table
        One row per claim.
    """
    judged = judge(study, records, part=part, replicates=replicates, level=level)
    origin = estimates.provenance(study, _base(study, records), part)
    rows = [
        {
            "number": number,
            "claim": j.claim["text"],
            "where": j.claim["where"],
            "above": " ".join(_names(j.claim["above"])),
            "below": " ".join(_names(j.claim["below"])),
            "classes": " ".join(j.claim.get("classes", ())),
            "metric": j.claim["metric"],
            "relation": j.claim["relation"],
            "margin": j.claim.get("margin"),
            "ours_above": j.above,
            "ours_below": j.below,
            "difference": j.difference.value,
            "difference_low": j.difference.low,
            "difference_high": j.difference.high,
            "verdict": j.verdict,
            "scope": _scope(j),
        }
        for number, j in enumerate(judged, 1)
    ]
    scores = ("margin", "ours_above", "ours_below", "difference", "difference_low", "difference_high")
    metrics = " and ".join(dict.fromkeys(METRIC_TITLES[j.claim["metric"]] for j in judged))
    readings = dict.fromkeys(j.claim["reading"] for j in judged if "reading" in j.claim)
    return Table(
        name=f"orderings_{part}",
        title=f"Orderings the paper claims, judged on {origin.corpus}: {tally(judged)}",
        caption=f"{origin.sentence()} Scores: {metrics}, mean over the seeds. {_rule(judged, replicates, level)} "
        "°: the interval holds zero.",
        notes=" ".join(["Our readings:", *(f"{reading}." for reading in readings)]) if readings else "",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(scores, float)),
        columns=(
            Column("claim", "The paper's claim", "text"),
            Column("where", "Where", "text"),
            Column("ours_above", "Upper", "score"),
            Column("ours_below", "Lower", "score"),
            Column("difference", "Difference", "difference"),
            Column("verdict", "Verdict", "text"),
        ),
        group=("number",),
        section="scope",
        provenance=origin,
    )


def forest(
    study: Study, records: Sequence[Record], *, part: str = "test", replicates: int = 1000, level: float = 0.95
) -> Figure:
    """Every judged claim as its difference with the interval.

    Parameters
    ----------
    study, records, part, replicates, level
        As for `judge`.

    Returns
    -------
    matplotlib.figure.Figure
        One row per claim; marker and shade tell the verdict. A claim that was not judged is an empty row.
    """
    judged = judge(study, records, part=part, replicates=replicates, level=level)
    dark, middle, light = palette(3)
    marks = {HOLDS: ("o", dark), UNDECIDED: ("d", light), REVERSED: ("s", middle)}
    with mpl.rc_context(style()):
        names = [textwrap.fill(j.claim["text"], LONGEST) for j in judged]
        figure = new_figure(1.3 + (0.23 if any("\n" in name for name in names) else 0.165) * len(judged))
        axes = figure.subplots()
        axes.axvline(0, **CHANCE)
        for place, j in enumerate(judged):
            if j.verdict not in marks:
                axes.annotate("not judged", (0, place), (3, 0), textcoords="offset points", va="center", size=SMALL)
                continue
            marker, colour = marks[j.verdict]
            hollow = {"markerfacecolor": "white"} if j.verdict == UNDECIDED else {}
            axes.plot([j.difference.low, j.difference.high], [place] * 2, color=colour, linewidth=1.4)
            axes.plot(j.difference.value, place, color=colour, marker=marker, markersize=4.5, **hollow)
            if j.bound:
                axes.plot(j.bound, place, color="0.3", marker="|", markersize=7, markeredgewidth=1.2)
        for place in range(1, len(judged)):
            if _scope(judged[place]) != _scope(judged[place - 1]):
                axes.axhline(place - 0.5, color="0.6", linewidth=0.6)
        axes.set_yticks(range(len(judged)), names)
        axes.set_ylim(len(judged) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("difference of the scores (right of 0: as the paper says)")
        handles = [
            Line2D(
                [], [], color=colour, marker=marker, label=f"{word} ({sum(j.verdict == word for j in judged)})",
                **({"markerfacecolor": "white"} if word == UNDECIDED else {}),
            )
            for word, (marker, colour) in marks.items()
        ]  # fmt: skip
        if any(j.bound for j in judged):
            handles.append(Line2D([], [], linestyle="", color="0.3", marker="|", label="margin of “at least”"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
        write_foot(
            figure,
            f"{_rule(judged, replicates, level)} {estimates.provenance(study, _base(study, records), part).sentence()}",
        )
    return figure


def tally(judged: Sequence[Judged]) -> str:
    """How many claims hold and how many do not.

    Parameters
    ----------
    judged
        As `judge` gives them.

    Returns
    -------
    str
        For instance ``"12 hold, 3 reversed, 5 undecided, 1 not judged"``.
    """
    verdicts = [j.verdict.partition(":")[0] for j in judged]
    words = {HOLDS: "hold", REVERSED: REVERSED, UNDECIDED: UNDECIDED, "not judged": "not judged"}
    counts = {words[verdict]: verdicts.count(verdict) for verdict in words}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count or word != "not judged")


def _judge(
    claim: Mapping[str, Any],
    sides: tuple[tuple[str, ...], tuple[str, ...]],
    drawn: Mapping[tuple[str, str], np.ndarray],
    records: Sequence[Record],
    level: float,
) -> Judged:
    missing = [name for name in dict.fromkeys(chain(*sides)) if (name, claim["metric"]) not in drawn]
    classes = records[0].data["classes"] if records else []
    wanted = claim.get("classes", ())
    absent = [name for name in wanted if name not in classes]
    if missing or absent:
        why = f"no record of {', '.join(missing)}" if missing else f"the corpus has no class {', '.join(absent)}"
        return Judged(claim, None, None, Estimate(None, None, None), f"not judged: {why}")
    columns = [classes.index(name) for name in wanted] or slice(None)
    upper, lower = (
        np.mean([_mean_over_classes(drawn[name, claim["metric"]][:, columns]) for name in side], axis=0)
        for side in sides
    )
    if np.isnan(upper[0] - lower[0]):
        why = f"nobody was asked about {', '.join(wanted)}" if wanted else "nothing was observed"
        return Judged(claim, None, None, Estimate(None, None, None), f"not judged: {why}")
    gain, most = float(upper[0] - lower[0]), uncertainty.bounds(claim["metric"])[1]
    ends = uncertainty.interval(gain, upper[1:] - lower[1:], level, bounds=(-most, most))
    judged = Judged(claim, float(upper[0]), float(lower[0]), Estimate(gain, *(ends or (None, None))), UNDECIDED)
    if ends is None:
        return judged
    verdict = HOLDS if ends[0] > judged.bound else REVERSED if ends[1] < judged.bound else UNDECIDED
    return Judged(claim, judged.above, judged.below, judged.difference, verdict)


def _scores(record: Record, p: Predictions, metric: str, draws: Draws) -> np.ndarray:
    """Scores of the clips as they are, and of resampled ones, (1 + replicates, c).

    A column is a class, or, where the metric is no mean over classes, the only one is the metric.
    """
    module, threshold = scoring(record.data), record.data["protocol"].get("threshold", 0.5)
    arrays = module.validate(p.labels, p.probabilities, p.mask)
    found = []
    for weights in chain([np.ones((1, len(p.keys)))], draws.weights(p.keys)):
        averages, per_class = module.weighted_scores(*arrays, weights, metrics=(metric,), threshold=threshold)
        found.append(per_class[module.MEAN_OF[metric]] if metric in module.MEAN_OF else averages[metric][:, None])
    return np.concatenate(found)


def _mean_over_classes(scores: np.ndarray) -> np.ndarray:
    """Mean of each row over the classes that are defined in it; NaN where none is."""
    return ratio(np.nansum(scores, axis=1), (~np.isnan(scores)).sum(axis=1), zero_division=np.nan)


def _rule(judged: Sequence[Judged], replicates: int, level: float) -> str:
    """How verdicts come about, in sentences."""
    margins = sorted({j.claim["margin"] for j in judged if j.claim["relation"] == "at least"})
    at_least = f" (“at least”: above minus {' or '.join(f'{m:g}' for m in margins)})" if margins else ""
    return (
        f"Difference: upper minus lower score with its {level:.0%} basic bootstrap interval over clips "
        f"({replicates:,} replicates, the same clips on both sides); it says what other clips would change, not what "
        f"other seeds would. Holds: the whole interval lies above 0{at_least}; reversed: all of it lies below; "
        f"undecided: neither. Of many such intervals {1 - level:.0%} miss, so some claims are decided wrongly."
    )


def _base(study: Study, records: Sequence[Record]) -> list[Record]:
    """Records under the study's first condition."""
    return [r for r in records if r.condition == study.conditions[0].name]


def _scope(judged: Judged) -> str:
    """Whether a claim is about all classes or some."""
    return "some classes" if "classes" in judged.claim else "all classes"


def _names(arms: str | Sequence[str]) -> tuple[str, ...]:
    return (arms,) if isinstance(arms, str) else tuple(arms)
