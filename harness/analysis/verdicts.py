"""What our trials say of everything that a paper claims. Nothing is decided by eye.

===============  ======================================================================================================
value            ours minus the printed one, which is one run of theirs: a prediction interval that holds our own error,
                 the variance of one more run, and the error of their clips unless they scored the very same ones
                 (``same_clips`` under ``[published]``). *Replicated* if it lies within the margin, *not replicated* if
                 it lies outside, *inconclusive* otherwise; two one-sided tests, each at 95 % for all printed rows of
                 the page together (Bonferroni). With ``relation = "above"`` it is tested one-sidedly that ours is
                 higher.
order            by the family of all differences on the page (`harness.analysis.families`): *holds*, *reversed* or
                 *undecided*. An order "holds" exactly where the letters of the two arms differ.
text             by a function in the study's ``checks.py``, each at a level that keeps 95 % for all of them together
===============  ======================================================================================================

Before anything is judged it is asked whether it can be (`departures`, `gate`): a value needs the published corpus
whole, no clip left out, and every setting as in the protocol; a claim about pre-training needs networks that had it; an
order of arms that are both at chance is no order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from harness.analysis.families import Difference, difference
from harness.analysis.study import Analysis, Side
from harness.studies.claims import (
    FAILS,
    HOLDS,
    NOT_JUDGED,
    ORDER,
    TEXT,
    UNDECIDED,
    VALUE,
    Claim,
    check_of,
)
from harness.studies.records import KEPT, Record
from harness.studies.trial import flat

REPLICATED, NOT_REPLICATED, INCONCLUSIVE, REVERSED = "replicated", "not replicated", "inconclusive", "reversed"
NOT_APPLICABLE = "not applicable"
#: Verdicts in the order in which they are counted.
WORDS = (
    REPLICATED, NOT_REPLICATED, INCONCLUSIVE, HOLDS, REVERSED, FAILS, UNDECIDED, NOT_APPLICABLE, NOT_JUDGED,
)  # fmt: skip
#: What the frame has of a verdict, in its order.
COLUMNS = [
    "number", "kind", "claim", "where", "table", "above", "below", "metric", "part", "above_class", "below_class",
    "relation", "margin", "published", "ours_above", "ours_below", "ours", "low", "high", "p", "seeds", "verdict",
    "why", "detectable", "more_seeds", "evidence", "records",
]  # fmt: skip
#: Probability of finding what is called detectable.
POWER = 0.8
#: More seeds than that are not considered.
MOST_SEEDS = 1000
#: Settings of the protocol that say nothing of how a trial was made.
IGNORED = ("corpus", "weights", "split")


@dataclass(frozen=True)
class Verdict:
    """What our trials say of one claim; fields as the columns of the frame."""

    claim: Claim
    verdict: str
    why: str = ""
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    ours_above: float = np.nan
    ours_below: float = np.nan
    seeds: int | None = None
    detectable: float = np.nan
    more_seeds: int | None = None
    evidence: str = ""
    records: tuple[str, ...] = ()


def verdicts(analysis: Analysis) -> pd.DataFrame:
    """Judge everything that a paper claims.

    Parameters
    ----------
    analysis
        Of the study's trials on one corpus under one profile.

    Returns
    -------
    pd.DataFrame
        A row per claim in the order of `harness.studies.claims.claims`: ``number``, ``kind``, ``claim`` (its text),
        ``where`` (in the paper), ``table``, ``above``, ``below``, ``metric``, ``part``, ``above_class``,
        ``below_class``, ``relation``, ``margin``, ``published``; ``ours_above``, ``ours_below`` (scores of the sides),
        ``ours`` with ``low`` and ``high`` (what was judged: of a value ours and the range in which one more run is
        expected, of an order the simultaneous interval), ``p`` (adjusted, of the claim's own hypothesis), ``seeds``,
        ``verdict``, ``why``, ``detectable`` (the difference that would be found with a probability of 80 %),
        ``more_seeds`` (that would settle it, if mean and spread stay what they are), ``evidence``, ``records``.
    """
    printed = [c for c in analysis.claims if c.kind == VALUE]
    rows = len(dict.fromkeys((c.above, c.below, c.part) for c in printed))
    level = 1 - (1 - analysis.level) / max(1, rows)
    found = []
    for claim in analysis.claims:
        if claim.kind == VALUE:
            found.append(_value(claim, analysis, level))
        elif claim.kind == ORDER:
            found.append(_order(claim, analysis))
        elif claim.kind == TEXT:
            found.append(_text(claim, analysis))
        else:
            found.append(Verdict(claim, NOT_JUDGED, claim.why))
    return pd.DataFrame([_row(number, v, analysis) for number, v in enumerate(found, 1)], columns=COLUMNS)


def departures(analysis: Analysis, records: Iterable[Record]) -> list[str]:
    """Where trials are not made as the published ones were.

    Parameters
    ----------
    analysis
        Of the study.
    records
        At least one.

    Returns
    -------
    list of str
        For people; empty if the printed values can stand beside these trials'.
    """
    study, records = analysis.study, list(records)
    found: dict[str, None] = {}
    for r in records:
        corpus, about = r.data["corpus"], r.data["inputs"].get("corpus", {})
        if hidden := study.paper.get("unpublished"):
            found[f"{hidden} are not public"] = None
        elif corpus != study.protocol["corpus"]:
            found[f"corpus {corpus} in place of {study.protocol['corpus']}"] = None
        elif not about.get("complete", False):
            count = f"{about['clips']:,} clips of it" if "clips" in about else "part of it"
            found[f"{corpus} is not here whole: {count}"] = None
        if left := r.data["inputs"].get("left_out"):
            found[f"{len(left)} clips left out"] = None
        if r.data["profile"] != "paper":
            found[f"profile {r.data['profile']}"] = None
        if r.data["split"]["name"] != study.protocol["split"]:
            found[f"split {r.data['split']['name']} in place of {study.protocol['split']}"] = None
        if r.data.get("bf16"):
            found["forward passes in bfloat16"] = None
        network = study.arm(r.arm).network
        published = study.resolve(
            "paper" if "paper" in study.profiles else r.data["profile"], analysis.base, network=network
        )
        stated = flat(published)
        ours = flat(r.data["protocol"])
        for name in sorted(stated.keys() | ours.keys()):
            # Settings of another profile are said by its name.
            told = r.data["profile"] == "paper" and name.partition(".")[0] not in IGNORED
            if told and stated.get(name) != ours.get(name):
                found[f"{name} {ours.get(name)!r} in place of {stated.get(name)!r}"] = None
        if not pretrained(r, published["weights"]):
            found["other weights than published"] = None
    return list(found)


def pretrained(record: Record, stated: str | Mapping[str, str]) -> bool:
    """Whether a trial started from the weights that the protocol states."""
    if isinstance(stated, Mapping):
        used = record.data["protocol"]["weights"]
        return all(used.get(name) == source for name, source in stated.items())
    return stated == record.data["protocol"]["weights"] or stated == record.data["weights"]["kind"]


def own_pretraining(records: Iterable[Record]) -> str:
    """What to say where arms stand on one pre-training of ours each, as others may differ; "" otherwise."""
    found = [r.data["inputs"].get("representation", {}).get("pretraining") for r in records]
    return "of one pre-training per objective" if any(found) else ""


def gate(claim: Claim, analysis: Analysis, records: Sequence[Record]) -> str:
    """Why an order or a statement cannot be judged by these trials; "" if it can be."""
    if claim.about_pretraining:
        asked = records
        if claim.about_pretraining is not True:
            asked = [r for r in records if r.arm in claim.about_pretraining]
        unlike = [r for r in asked if not _had_pretraining(r)]
        if unlike:
            arms = dict.fromkeys(r.arm for r in unlike)
            return f"it is about pre-training, which {', '.join(arms)} did not have"
    return ""


def _had_pretraining(record: Record) -> bool:
    ours = record.data["inputs"].get("representation", {}).get("pretraining")
    return bool(ours) or record.data["weights"]["kind"] not in ("random", "none")


def _value(claim: Claim, analysis: Analysis, level: float) -> Verdict:
    """Judge a printed value; where it may not be judged, still say what ours is."""
    arms = (*claim.above, *claim.below)
    records = [r for arm in arms for r in analysis.select(arm)]
    if missing := [arm for arm in arms if not analysis.select(arm)]:
        return Verdict(claim, NOT_JUDGED, f"no record of {', '.join(dict.fromkeys(missing))}")
    found = _of_history(claim, analysis) if claim.history else _of_scores(claim, analysis)
    if isinstance(found, str):
        return Verdict(claim, NOT_JUDGED, found)
    seeds = found.seeds
    # One more run varies as ours do; a mean over as many as we have varies less.
    run = found.of_seeds * seeds
    clips = 0.0 if analysis.study.same_clips else found.of_clips
    least = found.error**2 - found.of_seeds - found.of_clips
    error = float(np.sqrt(found.of_seeds + run + 2 * clips + max(least, 0.0)))
    degrees = found.degrees
    reach = float(student.ppf(level, degrees)) if np.isfinite(degrees) else float(student.ppf(level, 1e6))
    ours = claim.value + found.value
    verdict = Verdict(
        claim,
        INCONCLUSIVE,
        value=ours,
        low=claim.value + found.centre - reach * error,
        high=claim.value + found.centre + reach * error,
        seeds=seeds,
        ours_above=ours,
        records=_places(records),
    )
    if why := departures(analysis, records):
        return replace(verdict, verdict=NOT_APPLICABLE, why="; ".join(why))
    if seeds == 1:
        return replace(verdict, why="one seed, so at least 1 more", more_seeds=1)
    if claim.relation == "above":
        one_sided = found.centre / found.error
        p = float(student.sf(one_sided, degrees))
        word = HOLDS if p < 1 - level else FAILS if p > level else UNDECIDED
        return replace(verdict, verdict=word, p=p)
    detectable = claim.margin + (reach + float(student.ppf(POWER, degrees))) * error
    word, p = replication(found.centre, error, degrees, claim.margin, level)
    verdict = replace(verdict, verdict=word, p=p, detectable=detectable)
    if word != INCONCLUSIVE:
        return verdict
    more = None
    for count in range(seeds + 1, MOST_SEEDS + 1):
        half = student.ppf(level, degrees * count / seeds) * np.sqrt(run / count + run + 2 * clips + max(least, 0.0))
        if abs(found.centre) + half < claim.margin or abs(found.centre) - half > claim.margin:
            more = count - seeds
            break
    why = f"about {more} more seeds would settle it" if more else "no number of seeds settles it"
    return replace(verdict, more_seeds=more, why=why)


def replication(centre: float, error: float, degrees: float, margin: float, level: float = 0.95) -> tuple[str, float]:
    """Whether two runs give the same within a margin.

    Parameters
    ----------
    centre
        Ours minus theirs.
    error, degrees
        Standard error of what one more run would give minus theirs, which is one run as well.
    margin
        How far they may lie apart.
    level
        One minus the probability of calling it replicated where they lie apart by the margin, or not replicated where
        they do not.

    Returns
    -------
    verdict : str
        `REPLICATED`, `NOT_REPLICATED` or `INCONCLUSIVE`.
    p : float
        Of the test that decided, or came closer.
    """
    inside = float(student.sf((margin - abs(centre)) / error, degrees))
    outside = min(1.0, 2 * float(student.sf((abs(centre) - margin) / error, degrees)))
    if inside < 1 - level:
        return REPLICATED, inside
    return (NOT_REPLICATED if outside < 1 - level else INCONCLUSIVE), min(inside, outside)


def _of_scores(claim: Claim, analysis: Analysis) -> Difference | str:
    """Ours minus the printed value, with the parts of its error."""
    above = Side(claim.above, claim.classes)
    if claim.below:
        contrast = analysis.contrast_of(claim)
        trials = analysis.trials_of(contrast)
        if isinstance(trials, str):
            return trials
        found = analysis.difference(contrast)
        if not np.isfinite(found.value):
            return "undefined"
        return replace(found, value=found.value - claim.value, centre=found.centre - claim.value)
    scores = analysis.scores(claim.part)
    (arm,) = claim.above
    if absent := [name for name in above.classes if name not in analysis.classes]:
        return f"the corpus has no class {', '.join(absent)}"
    k = scores.column(claim.metric, ",".join(above.classes))
    trials = analysis._trials(arm)
    spread = analysis._model(claim.part, paired=False).spreads[analysis.base, arm]
    spreads = [(float(spread.variance[k]) / len(trials), float(spread.degrees[k]))] if len(trials) > 1 else []
    found = difference(
        scores.found.of(trials, [k]),
        None,
        spreads,
        np.zeros(analysis.replicates),
        metric=claim.metric,
        count=int(scores.counts[trials, k].min()),
        bound=claim.value,
    )
    return found if np.isfinite(found.value) else "undefined"


def _of_history(claim: Claim, analysis: Analysis) -> Difference | str:
    """The same of a column of the trials' histories, over seeds alone."""

    def values(arms: Sequence[str]) -> dict[int, float]:
        of_seeds: dict[int, list[float]] = {}
        for arm in arms:
            for r in analysis.select(arm):
                history = r.history()
                if claim.history in history:
                    column = history[claim.history]
                    value = column.mean() if claim.epochs == "mean" else column.iloc[-1]
                    of_seeds.setdefault(r.seed, []).append(float(value))
        return {seed: float(np.mean(v)) for seed, v in of_seeds.items() if len(v) == len(arms)}

    above, below = values(claim.above), values(claim.below)
    seeds = sorted(above.keys() & below.keys()) if claim.below else sorted(above)
    if not seeds:
        return f"no history of {claim.history}"
    gains = np.array([above[s] - (below[s] if claim.below else 0.0) for s in seeds]) - claim.value
    of_seeds = float(gains.var(ddof=1)) / len(gains) if len(gains) > 1 else 0.0
    mean, error = float(gains.mean()), float(np.sqrt(max(of_seeds, 1e-12)))
    degrees = float(max(1, len(gains) - 1))
    return Difference(mean, mean, error, degrees, np.zeros(1), len(gains), of_seeds, 0.0, np.inf)


def _order(claim: Claim, analysis: Analysis) -> Verdict:
    """Judge an order by the family of differences."""
    contrast = analysis.contrast_of(claim)
    trials = analysis.trials_of(contrast)
    if isinstance(trials, str):
        return Verdict(claim, NOT_JUDGED, trials)
    records = [analysis.records[t] for of_arms in trials for ts in of_arms.values() for t in ts]
    m, row, sign = analysis.found(contrast)
    if not np.isfinite(m.value):
        asked = ", ".join(dict.fromkeys((*claim.classes, *claim.below_classes)))
        return Verdict(claim, NOT_JUDGED, f"nobody was asked about {asked}" if asked else "nothing was observed")
    family, level = analysis.family, analysis.level
    if m.seeds > 1:
        low, high = row["low_adjusted"], row["high_adjusted"]
        reach = family.reach(m, level)
    else:
        low, high = row["low"], row["high"]
        reach = float(student.ppf((1 + level) / 2, m.degrees))
    if sign < 0:
        low, high = -high, -low
    centre, margin = sign * m.centre, claim.margin or 0.0
    turned = replace(m, value=sign * m.value, centre=centre)
    sides = [_score_of(claim.metric, of_arms, side, analysis, claim.part)
             for of_arms, side in zip(trials, (contrast.above, contrast.below), strict=True)]  # fmt: skip
    bounds = {"above": (0.0,), "at least": (-margin,), "equal": (-margin, margin)}[claim.relation]
    # Of "equal" both one-sided tests must reject; the p of an interval test is the larger one.
    p = max(family.adjusted(family.p(turned, bound)) for bound in bounds) if m.seeds > 1 else np.nan
    verdict = Verdict(
        claim,
        UNDECIDED,
        value=turned.value,
        low=float(low),
        high=float(high),
        p=float(p),
        seeds=m.seeds,
        ours_above=sides[0],
        ours_below=sides[1],
        records=_places(records),
        detectable=margin * (claim.relation == "equal") + (reach + float(student.ppf(POWER, m.degrees))) * m.error,
    )
    if why := gate(claim, analysis, records):
        return replace(verdict, verdict=NOT_APPLICABLE, why=why, p=np.nan, detectable=np.nan)
    if not any(
        analysis.above_chance(arm, metric=claim.metric, part=claim.part) for arm in (*claim.above, *claim.below)
    ):
        return replace(verdict, verdict=NOT_APPLICABLE, why="neither side is above chance", p=np.nan, detectable=np.nan)
    scope = own_pretraining(records)
    if m.seeds == 1:
        return replace(verdict, verdict=UNDECIDED, why="one seed", more_seeds=1)
    equal = claim.relation == "equal"
    if (equal and low > -margin and high < margin) or (not equal and low > bounds[0]):
        return replace(verdict, verdict=HOLDS, why=scope)
    if equal and (low > margin or high < -margin):
        return replace(verdict, verdict=FAILS, why=scope)
    if not equal and high < bounds[0]:
        return replace(verdict, verdict=REVERSED, why=scope)
    more = _seeds_for(turned, bounds, reach, equal)
    said = f"about {more} more seeds would settle it" if more else "no number of seeds settles it, but more clips might"
    return replace(verdict, more_seeds=more, why=said)


def _seeds_for(m: Difference, bounds: Sequence[float], reach: float, equal: bool) -> int | None:
    """How many more seeds would settle an order, if mean and spread stay what they are."""
    rest = m.error**2 - m.of_seeds
    for count in range(m.seeds + 1, MOST_SEEDS + 1):
        half = reach * np.sqrt(max(rest, 0.0) + m.of_seeds * m.seeds / count)
        low, high = m.centre - half, m.centre + half
        settled = (low > bounds[0] or high < bounds[0]) if not equal else (
            (low > bounds[0] and high < bounds[1]) or low > bounds[1] or high < bounds[0]
        )  # fmt: skip
        if settled:
            return count - m.seeds
    return None


def _text(claim: Claim, analysis: Analysis) -> Verdict:
    """Have a statement decided by its check."""
    records = [r for r in analysis.records if r.condition == analysis.base]
    if records and (why := gate(claim, analysis, records)):
        return Verdict(claim, NOT_APPLICABLE, why)
    found = check_of(analysis.study, claim.check)(analysis, level=analysis.check_level)
    word, _, why = found.verdict.partition(": ")
    return Verdict(
        claim,
        word,
        why,
        value=_number(found.value),
        low=_number(found.low),
        high=_number(found.high),
        evidence=found.evidence,
        records=found.rests_on,
    )


def _score_of(metric: str, of_arms: Mapping[str, Sequence[int]], side: Side, analysis: Analysis, part: str) -> float:
    scores = analysis.scores(part)
    k = scores.column(metric, ",".join(side.classes))
    return float(np.mean([scores.found.plain[list(trials), k].mean() for trials in of_arms.values()]))


def _places(records: Iterable[Record]) -> tuple[str, ...]:
    """Where the trials are kept that something rests on, a folder for each arm and condition."""
    return tuple(dict.fromkeys(f"{KEPT}/{r.folder.parent.name}" for r in records))


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _row(number: int, v: Verdict, analysis: Analysis) -> dict[str, Any]:
    claim = v.claim
    return {
        "number": number,
        "kind": claim.kind,
        "claim": claim.text,
        "where": claim.where,
        "table": claim.table,
        "above": "+".join(claim.above),
        "below": "+".join(claim.below),
        "metric": claim.metric,
        "part": claim.part if claim.metric else "",
        "above_class": ",".join(claim.classes),
        "below_class": ",".join(claim.below_classes or claim.classes if claim.below else ()),
        "relation": claim.relation,
        "margin": _number(claim.margin),
        "published": _number(claim.value),
        "ours_above": v.ours_above,
        "ours_below": v.ours_below,
        "ours": v.value,
        "low": v.low,
        "high": v.high,
        "p": v.p,
        "seeds": v.seeds,
        "verdict": v.verdict,
        "why": v.why,
        "detectable": v.detectable,
        "more_seeds": v.more_seeds,
        "evidence": v.evidence,
        "records": " ".join(v.records),
    }


def findings(frame: pd.DataFrame) -> pd.Series:
    """Verdicts with each finding counted once.

    Parameters
    ----------
    frame
        From `verdicts`.

    Returns
    -------
    pd.Series
        A verdict per finding. Several scores of one order are one finding: it holds, or is reversed, if all of them
        are, and is undecided if they disagree. An order and its converse are one finding, the first of the two.
    """
    words: dict[Any, list[str]] = {}
    for row in frame.itertuples():
        if row.kind == ORDER:
            sides = frozenset({(row.above, row.above_class), (row.below, row.below_class)})
            key: Any = (sides, row.part, row.relation)
            first = words.setdefault((key, "first"), [row.above])
            if first[0] != row.above:
                continue
        else:
            key = row.number
        words.setdefault(key, []).append(row.verdict)
    merged = [
        found[0] if len(set(found)) == 1 else UNDECIDED
        for key, found in words.items()
        if not (isinstance(key, tuple) and key[-1] == "first")
    ]
    return pd.Series(merged, dtype=object)


def tally(words: Iterable[str]) -> str:
    """How many have which verdict, for instance ``"3 replicated, 2 hold, 1 not judged"``."""
    words = list(words)
    several = {HOLDS: "hold", FAILS: "do not hold"}
    return ", ".join(f"{words.count(w)} {several.get(w, w)}" for w in WORDS if w in words) or "no claim"
