"""What our trials say of everything that a paper claims: one table, in every study's report.

=====================  ================================================================================================
value                  two one-sided tests against the margin (`harness.metrics.equivalence`): replicated, not
                       replicated, or inconclusive; only by trials made as the published ones were
order                  by the interval of the difference (`harness.report.orderings`): holds, reversed, or undecided;
                       on any corpus
text                   by a function in the study's ``checks.py``: holds, does not hold, or undecided
=====================  ================================================================================================

Values and orders are judged over seeds and clips together. Nothing is decided by eye.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.metrics.equivalence import INCONCLUSIVE, NOT_REPLICATED, REPLICATED, equivalence, seeds_needed
from harness.report import estimates, orderings
from harness.report.contrasts import Contrast, Scores, Side, not_applicable, rests_on
from harness.report.orderings import HOLDS, REVERSED, UNDECIDED, said
from harness.report.writers import MINUS, UNDEFINED, Column, Table
from harness.studies import claims
from harness.studies.claims import FAILS, NOT_JUDGED, ORDER, TEXT, VALUE, Claim
from harness.studies.records import Record
from harness.studies.study import Study

NAME = "verdicts"
#: Verdicts in the order in which they are counted.
WORDS = (
    REPLICATED, NOT_REPLICATED, INCONCLUSIVE, HOLDS, REVERSED, FAILS, UNDECIDED, "not applicable", "not judged",
)  # fmt: skip
#: What several claims do.
SEVERAL = {HOLDS: "hold", FAILS: "do not hold"}
#: Titles of the sections.
SECTIONS = {VALUE: "values", ORDER: "orders", TEXT: "other statements", NOT_JUDGED: "not judged"}


@dataclass(frozen=True)
class Verdict:
    """A claim and what our trials say of it.

    Parameters
    ----------
    claim
        What the paper says.
    verdict
        One of `WORDS`; the last two with a colon and why.
    contrast
        Scores that it rests on.
    value, low, high
        Ours, with its interval; None where there is none.
    probability, p_value
        Of an order: as in `harness.report.orderings.Judged`.
    more_seeds
        Of an inconclusive value: how many more seeds would settle it.
    evidence, rests_on
        Of a text: as in its finding.
    """

    claim: Claim
    verdict: str
    contrast: Contrast = field(default_factory=lambda: Contrast(None))
    value: float | None = None
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    p_value: float | None = None
    more_seeds: int | None = None
    evidence: str = ""
    rests_on: tuple[str, ...] = ()


def judge(
    study: Study,
    records: Sequence[Record],
    results: Path,
    *,
    replicates: int = 1000,
    level: float = 0.95,
    scores: Scores | None = None,
) -> list[Verdict]:
    """Judge everything that a paper claims.

    Parameters
    ----------
    study
        Gives the claims.
    records
        Its trials on one corpus under one profile.
    results
        Folder of their results, where checks find tables that take the networks themselves to make.
    replicates, level
        Of the bootstrap over seeds and clips; each of the two one-sided tests of a value has this level.
    scores
        Of these records, where there are some already.

    Returns
    -------
    list of Verdict
        In the order of `harness.studies.claims.claims`.

    Raises
    ------
    RepriseError
        As `harness.studies.claims.claims`.
    """
    scores = scores or Scores(study, records, replicates=replicates)
    found = []
    for claim in claims.claims(study):
        if claim.kind == VALUE:
            found.append(_value(claim, scores, level))
        elif claim.kind == ORDER:
            j = orderings.judge_one(claim, scores, level=level)
            d = j.difference
            found.append(Verdict(claim, j.verdict, j.contrast, d.value, d.low, d.high, j.probability, j.p_value))
        elif claim.kind == TEXT:
            finding = claims.check_of(study, claim.check)(study, records, results)
            numbers = (finding.value, finding.low, finding.high)
            found.append(
                Verdict(
                    claim,
                    finding.verdict,
                    Contrast(None),
                    *numbers,
                    evidence=finding.evidence,
                    rests_on=finding.rests_on,
                )
            )
        else:
            found.append(Verdict(claim, f"{NOT_JUDGED}: {claim.why}"))
    return found


def table(
    study: Study, records: Sequence[Record], results: Path, *, replicates: int = 1000, level: float = 0.95
) -> Table:
    """Every claim, what is published, ours with its interval, the seeds, the verdict, and what it rests on.

    Parameters
    ----------
    study, records, results, replicates, level
        As for `judge`.

    Returns
    -------
    Table
        One row per claim.
    """
    scores = Scores(study, records, replicates=replicates)
    found = judge(study, records, results, replicates=replicates, level=level, scores=scores)
    digits = _digits(study)
    rows = [_row(number, v, digits, study) for number, v in enumerate(found, 1)]
    base = [r for r in records if r.condition == study.conditions[0].name] or list(records)
    origin = estimates.provenance(study, base, "test")
    ordered = [(v.claim, v.contrast) for v in found if v.claim.kind == ORDER]
    unit = scores.unit
    notes = [f"Margins: {_margins(found)}."] if any(v.claim.margin_why for v in found) else []
    if readings := _readings(found):
        notes.append(f"Our readings: {'; '.join(readings)}.")
    caption = [
        origin.sentence(),
        f"Values: two one-sided tests at {level:.0%} against the margin, which stands beside what is published; in "
        f"brackets the {2 * level - 1:.0%} interval over seeds and {unit} together ({replicates:,} replicates), of "
        f"training curves over seeds, with one seed over {unit}. It decides: replicated, if it lies within the "
        "margins, not replicated, if it lies outside, and inconclusive otherwise. They are judged by trials alone that "
        "were made as the published ones were.",
        *([orderings.rule(ordered, replicates, level, unit)] if ordered else []),
        f"P: probability of the order, by the same replicates; p: of a two-sided permutation test that swaps what the "
        f"two arms predict for whole {unit}, which speaks of these networks, not of other seeds.",
    ]
    ours = ("ours_above", "ours_below", "ours", "ours_low", "ours_high")
    numbers = ("margin", "published", *ours, "probability", "p_value")
    return Table(
        name=NAME,
        title=f"What replicated: the paper's claims, judged on {origin.corpus}: {tally(v.verdict for v in found)}",
        caption=" ".join(caption),
        notes=" ".join(notes),
        frame=pd.DataFrame(rows).astype({**dict.fromkeys(numbers, float), "more_seeds": "Int64"}),
        columns=(
            Column("claim", "Claim", "text", width=0.26),
            Column("where", "Where", "text", width=0.1),
            Column("part_title", "Part", "text"),
            Column("published_title", "Published", "text", width=0.1),
            Column("ours_title", "Ours", "text", width=0.22),
            Column("seeds_title", "Seeds", "text"),
            Column("verdict_title", "Verdict", "text", width=0.2),
            Column("records", "Records", "links"),
        ),
        group=("number",),
        section="kind",
        provenance=origin,
    )


def tally(verdicts: Iterable[str]) -> str:
    """How many claims have which verdict.

    Parameters
    ----------
    verdicts
        Each one of `WORDS`, perhaps with a colon and why.

    Returns
    -------
    str
        For instance ``"3 replicated, 2 hold, 1 not judged"``; without those that do not occur.
    """
    words = [verdict.partition(":")[0] for verdict in verdicts]
    counts = {SEVERAL.get(word, word): words.count(word) for word in WORDS}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no claim"


def _value(claim: Claim, scores: Scores, level: float) -> Verdict:
    """Judge a value; where it may not be judged, still say what ours is."""
    below = Side(claim.below, claim.below_classes or claim.classes) if claim.below else None
    above = Side(claim.above, claim.classes)
    if claim.history:
        found = scores.of_history(above, below, claim.history, claim.epochs)
    else:
        found = scores.contrast(above, below, claim.metric, claim.part)
    if found.replicates is None:
        return Verdict(claim, f"{NOT_JUDGED}: {found.missing}")
    score, seeds = found.replicates.score, found.replicates.seeds
    equal = equivalence(score, found.draws, claim.value, claim.margin, level=level, bounds=found.bounds)
    if equal is None:
        return Verdict(claim, f"{NOT_JUDGED}: undefined in every replicate", found, score)
    verdict = Verdict(claim, equal.verdict, found, score, equal.low, equal.high)
    if why := not_applicable(scores.study, found.records, "valid" if claim.part == "valid" else "test"):
        return replace(verdict, verdict=f"not applicable: {why}")
    if seeds == 1:  # what other seeds would have given is not known, so that nothing is settled
        return replace(verdict, verdict=INCONCLUSIVE, more_seeds=1)
    if equal.verdict == INCONCLUSIVE:
        more = seeds_needed(found.replicates, claim.value, claim.margin, level=level, bounds=found.bounds)
        return replace(verdict, more_seeds=more)
    return verdict


def _row(number: int, v: Verdict, digits: int, study: Study) -> dict[str, Any]:
    claim, rested = v.claim, v.contrast
    seeds = rested.replicates.seeds if rested.replicates is not None else None
    in_table = f"{study.tables[claim.table]['title']}: " if claim.table and len(study.tables) > 1 else ""
    return {
        "number": number,
        "kind": SECTIONS[claim.kind],
        "claim": in_table + said(claim),
        "where": claim.where,
        "table": claim.table,
        "above": " ".join(claim.above),
        "below": " ".join(claim.below),
        "metric": claim.metric,
        "part_of_claim": claim.part if claim.metric else "",
        "part_title": "curve" if claim.history else claim.part if claim.metric else UNDEFINED,
        "classes": " ".join(claim.classes),
        "below_classes": " ".join(claim.below_classes),
        "relation": claim.relation,
        "margin": claim.margin,
        "published": claim.value,
        "published_title": _published(claim, digits),
        "ours_above": rested.above,
        "ours_below": rested.below,
        "ours": v.value,
        "ours_low": v.low,
        "ours_high": v.high,
        "ours_title": _ours(v),
        "seeds_of_claim": seeds,
        "seeds_title": UNDEFINED if seeds is None else str(seeds),
        "verdict": v.verdict,
        "probability": v.probability,
        "p_value": v.p_value,
        "more_seeds": v.more_seeds,
        "verdict_title": _verdict(v),
        "evidence": v.evidence,
        "records": " ".join(rests_on(rested.records) or v.rests_on),
    }


def _published(claim: Claim, digits: int) -> str:
    if claim.kind == VALUE:
        sign = "+" if claim.below else ""
        return f"{claim.value:{sign}.{max(digits, 2) if claim.table else 2}f} ± {claim.margin:g}"
    if claim.kind != ORDER:
        return UNDEFINED
    words = {"above": "above", "at least": "not lower by more than", "equal": "equal within"}
    return words[claim.relation] + (f" {claim.margin:g}" if claim.relation != "above" else "")


def _ours(v: Verdict) -> str:
    if v.evidence:
        return v.evidence
    if v.value is None:
        return UNDEFINED
    sign = "+" if v.claim.below else ""
    text = f"{v.value:{sign}.3f}"
    if v.low is not None:
        text += f" [{v.low:{sign}.3f}, {v.high:{sign}.3f}]"
    return text.replace("-", MINUS)


def _verdict(v: Verdict) -> str:
    if v.probability is not None:
        verdict, colon, why = v.verdict.partition(":")
        p = "" if v.p_value is None else ", p < 0.001" if v.p_value < 0.001 else f", p {v.p_value:.3f}"
        return f"{verdict} (P {v.probability:.2f}{p}){colon}{why}"
    if v.verdict != INCONCLUSIVE:
        return v.verdict
    if v.contrast.replicates.seeds == 1:
        return f"{v.verdict}: one seed, so at least 1 more"
    if v.more_seeds is None:
        return f"{v.verdict}: no number of seeds settles it, but more clips"
    return f"{v.verdict}: about {v.more_seeds} more seeds would settle it"


def _margins(found: Sequence[Verdict]) -> str:
    """Why the margins are what they are, each reason once."""
    reasons: dict[str, list[str]] = {}
    for v in found:
        if v.claim.margin_why:
            margins = reasons.setdefault(v.claim.margin_why, [])
            if f"{v.claim.margin:g}" not in margins:
                margins.append(f"{v.claim.margin:g}")
    return "; ".join(f"{' and '.join(margins)}, {why}" for why, margins in reasons.items())


def _readings(found: Sequence[Verdict]) -> list[str]:
    """What we take claims to mean: each reading once, and of which claim it is unless it is of several."""
    texts: dict[str, dict[str, None]] = {}
    for v in found:
        if v.claim.reading:
            texts.setdefault(v.claim.reading, {})[v.claim.text] = None
    return [reading if len(of) > 1 else f"“{next(iter(of))}”: {reading}" for reading, of in texts.items()]


def _digits(study: Study) -> int:
    """Decimals that the paper prints."""
    values = [repr(float(row["value"])) for row in study.published]
    return max((len(value.partition(".")[2]) for value in values), default=2)
