"""The table of claims: what our trials say of everything that a paper claims (`harness.analysis.verdicts`)."""

import pandas as pd

from harness.analysis.study import Analysis
from harness.analysis.verdicts import NOT_APPLICABLE, POWER, findings, tally
from harness.metrics import METRICS
from harness.report.tables import about, interval_in_words, origin, tied_in_words
from harness.report.writers import UNDEFINED, Column, Number, Table, shown
from harness.studies.claims import NOT_JUDGED, ORDER, TEXT, VALUE, Claim
from harness.studies.study import Study

NAME = "verdicts"
#: Titles of the sections.
SECTIONS = {VALUE: "values", ORDER: "orders", TEXT: "other statements", NOT_JUDGED: "not judged"}
#: Of an order, beside what is published.
RELATIONS = {"above": "above", "at least": "not lower by more than", "equal": "equal within"}


def table(analysis: Analysis) -> Table:
    """Every claim, what is published, ours with its interval, p, the seeds, the verdict, and what it rests on.

    Returns
    -------
    Table
        One row per claim; its frame has all columns of `harness.analysis.verdicts.COLUMNS`, and so has the CSV file.
    """
    study = analysis.study
    frame = analysis.verdicts
    digits = max((len(repr(float(row["value"])).partition(".")[2]) for row in study.published), default=2)
    rows = list(zip(analysis.claims, frame.to_dict("records"), strict=True))
    frame = frame.assign(
        kind=[SECTIONS[kind] for kind in frame["kind"]],
        said=[_in_table(claim, study) + said(claim) for claim, _ in rows],
        part_said=["curve" if claim.history else claim.part if claim.metric else UNDEFINED for claim, _ in rows],
        published_said=[_published(claim, digits) for claim, _ in rows],
        ours_said=[_ours(row) for _, row in rows],
        verdict_said=[_verdict(row) for _, row in rows],
    ).astype({"seeds": "Int64", "more_seeds": "Int64"})
    base = [r for r in analysis.records if r.condition == analysis.base] or analysis.records
    return Table(
        name=NAME,
        title=f"What replicated: the paper's claims, judged on {base[0].data['corpus']}: {tally(findings_of(frame))}",
        frame=frame,
        columns=(
            Column("said", "Claim", "text", width=0.24),
            Column("where", "Where", "text", width=0.08),
            Column("part_said", "Part", "text"),
            Column("published_said", "Published", "text", width=0.1),
            Column("ours_said", "Ours", "text", width=0.2),
            Column("p", "p (adjusted)", "p"),
            Column("seeds", "Seeds", "text"),
            Column("verdict_said", "Verdict", "text", width=0.18),
            Column("detectable", "Detectable", "score"),
            Column("records", "Records", "links"),
        ),
        group=("number",),
        section="kind",
        caption=" ".join([origin(analysis, base), *how(analysis)]),
        notes=" ".join(_notes(analysis.claims)),
        about={k: v for k, v in about(analysis, base).items() if k not in ("seeds", "part")},
    )


def findings_of(frame: pd.DataFrame) -> pd.Series:
    """Verdicts of the table's frame with each finding counted once."""
    kinds = {title: kind for kind, title in SECTIONS.items()}
    return findings(frame.assign(kind=frame["kind"].map(kinds)))


def how(analysis: Analysis, kinds: tuple[str, ...] = (VALUE, ORDER, TEXT)) -> list[str]:
    """How verdicts of some kinds come about, in sentences; of kinds that are claimed alone."""
    kinds = tuple(kind for kind in kinds if any(claim.kind == kind for claim in analysis.claims))
    level, unit = analysis.level, analysis.unit
    text = []
    if VALUE in kinds:
        text.append(
            "Values: the printed number is one run. In brackets is the range in which one more run of ours is "
            "expected. Replicated: the range lies within the margin; not replicated: it lies outside; inconclusive: "
            "neither. "
            "A value is judged only by trials on the whole published corpus with every setting as published. "
            f"All printed rows together keep {level:.0%} (Bonferroni)."
        )
    if ORDER in kinds:
        tied = tied_in_words(analysis)
        interval = (
            f"the simultaneous {level:.0%} interval over seeds and {unit}" if tied else interval_in_words(analysis)
        )
        text.append(
            f"Orders: upper minus lower score with {interval}. Holds: the interval lies above 0 (of “not lower "
            "by more than” above minus the margin, of “equal” within it); reversed, or does not hold: it lies on the "
            "other side; undecided: neither. One seed decides nothing, and arms that are at chance have no order."
        )
        if tied:
            text.append(f"{tied} Letters of tied arms come from the same differences: a decided order is one of arms "
                        "that share no letter.")  # fmt: skip
    if TEXT in kinds:
        text.append(f"Other statements: each is tested by itself; all of them together keep {level:.0%} (Bonferroni).")
    if VALUE in kinds or ORDER in kinds:
        text.append(
            "p: adjusted, of the claim's own hypothesis. Detectable: the difference that would have been found with a "
            f"probability of {POWER:.0%}."
        )
    return text


def said(claim: Claim) -> str:
    """A claim in words that tell it from the others: its text, with the metric where others differ in that alone."""
    return f"{claim.text} ({METRICS[claim.metric].in_words})" if claim.spelt else claim.text


def short(why: str) -> str:
    """The first of several reasons, and how many more there are."""
    first, *others = why.split("; ")
    return f"{first}, and {len(others)} more" if len(others) > 1 else "; ".join([first, *others])


def _in_table(claim: Claim, study: Study) -> str:
    return f"{study.tables[claim.table]['title']}: " if claim.table and len(study.tables) > 1 else ""


def _published(claim: Claim, digits: int) -> str:
    if claim.kind == VALUE:
        value = f"{claim.value:{'+' if claim.below else ''}.{max(digits, 2) if claim.table else 2}f}"
        return f"over {value}" if claim.relation == "above" else f"{value} ± {claim.margin:g}"
    if claim.kind != ORDER:
        return UNDEFINED
    return RELATIONS[claim.relation] + (f" {claim.margin:g}" if claim.relation != "above" else "")


def _ours(row: dict) -> str:
    if row["evidence"]:
        return row["evidence"]
    return shown(Number(row["ours"], row["low"], row["high"]), "difference" if row["below"] else "estimate")


def _verdict(row: dict) -> str:
    why = short(row["why"]) if row["verdict"] == NOT_APPLICABLE else row["why"]
    return f"{row['verdict']}: {why}" if why else row["verdict"]


def _notes(claims: list[Claim]) -> list[str]:
    """Why the margins are what they are, and what we take claims to mean: each reason once."""
    margins: dict[str, list[str]] = {}
    readings: dict[str, dict[str, None]] = {}
    for claim in claims:
        if claim.margin_why and claim.margin is not None:
            margins.setdefault(claim.margin_why, []).append(f"{claim.margin:g}")
        if claim.reading:
            readings.setdefault(claim.reading, {})[claim.text] = None
    notes = []
    if margins:
        reasons = (f"{' and '.join(dict.fromkeys(of))}, {why}" for why, of in margins.items())
        notes.append(f"Margins: {'; '.join(reasons)}.")
    if readings:
        meant = (reading if len(of) > 1 else f"“{next(iter(of))}”: {reading}" for reading, of in readings.items())
        notes.append(f"Our readings: {'; '.join(meant)}.")
    return notes
