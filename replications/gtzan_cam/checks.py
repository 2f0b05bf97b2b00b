"""What the write-up says in words, decided by measuring."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.report.contrasts import Scores, Side, rests_on
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, decide, of_seeds, table_rows
from harness.studies.records import Record
from harness.studies.study import Study
from replications.gtzan_cam.kernels import kernel_arms, kernel_scores
from replications.gtzan_cam.marking_parts import EVEN
from replications.gtzan_cam.steadiness import RANDOM

#: What a clip is called here; segments are drawn with theirs.
UNITS = "tracks"
#: Our reading of "extremely": three times what the masks are said to bring, 0.0167 (study 002, Results).
EXTREMELY = 0.05
#: The table that takes the nets themselves to make, and what its measures add to the name of an arm.
TABLE = "interpretability"
IN_WORDS = {
    "steadiness_frequency": ", in frequency",
    "steadiness_time": ", in time",
    "share_deconvolved": "",
    "share_cam": "",
}


def sensitive_to_filter_size(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether much lies between the best and the worst shape of kernels, which are picked by validation accuracy.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Of the difference of the two on the test part.
    """
    arms = kernel_arms(study, records)
    if len(arms) < 2:
        return Finding("not judged: fewer than two shapes of kernels", "")
    valid = kernel_scores(study, records, arms, "valid")
    if not valid.size:
        return Finding("not judged: the shapes share no seed", "")
    order = np.argsort(valid.mean(axis=1), kind="stable")
    worst, best = arms[order[0]], arms[order[-1]]
    found = Scores(study, records).contrast(Side((best.name,)), Side((worst.name,)), study.metric)
    low, high = found.interval()
    shapes = [" x ".join(map(str, arm.options["kernel"])) for arm in (best, worst)]
    evidence = f"accuracy, {shapes[0]} minus {shapes[1]}"
    rested = rests_on(found.records)
    finding = decide(evidence, found.replicates.score, low, high, bound=EXTREMELY, rests_on=rested)
    return of_seeds(finding, found.replicates.seeds)


def country_drums(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether the deconvolved second layer of both nets lies on the drums of country more than what knows nothing does.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only on a rendered corpus, whose parts are known.
    """
    pairs = [("share_deconvolved", arm) for arm in ("base", "masked")]
    return _of_table(results, pairs, (EVEN, RANDOM), "share of the map on the drums")


def cam_points(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether class activation maps lie on the part that marks the genre more than what knows nothing does.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only on a rendered corpus, whose parts are known.
    """
    return _of_table(results, [("share_cam", "cam")], (EVEN, RANDOM), "share of the map on the marking part")


def masks_steady(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether masked filters peak in steadier places than those of the base net.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        It holds if they do in frequency; time is told beside it, for when a filter peaks is the music's business
        (`harness.explain.stability`).
    """
    judged, beside = (("steadiness_frequency", "masked"),), (("steadiness_time", "masked"),)
    return _of_table(results, judged, ("baseCNN",), "deviation of the peak saved", sign=-1, beside=beside)


def _of_table(
    results: Path,
    pairs: Sequence[tuple[str, str]],
    references: Sequence[str],
    evidence: str,
    *,
    sign: int = 1,
    beside: Sequence[tuple[str, str]] = (),
) -> Finding:
    """Decide by rows of the table of interpretability, of these measures and arms.

    Against every reference each must be above 0, once turned by the sign; those of `beside` are told, and decide
    nothing.
    """
    rows = table_rows(results, TABLE)
    found = [] if rows is None else [_row(rows, *pair, against) for pair in pairs for against in references]
    if not found or any(row is None for row in found):
        return Finding("not judged: the nets were not compared so here", "")
    if any(pd.isna(row["difference_low"]) for row in found):
        return Finding(f"not judged: {min(row['tracks'] for row in found)} tracks", "")
    told = [row for pair in beside for against in references if (row := _row(rows, *pair, against)) is not None]
    findings = []
    for row in (*found, *told):
        ends = sorted(sign * row[end] for end in ("difference_low", "difference_high"))
        against = f", against {row['against']}" if len(references) > 1 else ""
        finding = decide(f"{row['arm']}{IN_WORDS[row['measure']]}{against}", sign * row["difference"], *ends)
        filters = "" if pd.isna(row.get("filters")) else f", live filters {row['filters']}"
        findings.append(replace(finding, evidence=finding.evidence + filters))
    judged = findings[: len(found)]
    verdicts = [f.verdict for f in judged]
    verdict = FAILS if FAILS in verdicts else HOLDS if set(verdicts) == {HOLDS} else UNDECIDED
    said = f"{evidence}: {'; '.join(f.evidence for f in findings)}"
    numbers = (judged[0].value, judged[0].low, judged[0].high) if len(judged) == 1 else (None, None, None)
    return of_seeds(Finding(verdict, said, *numbers, (f"{TABLE}.csv",)), int(min(row["seeds"] for row in found)))


def _row(rows: pd.DataFrame, measure: str, arm: str, against: str) -> pd.Series | None:
    some = rows[(rows["measure"] == measure) & (rows["arm"] == arm) & (rows["against"] == against)]
    return some.iloc[0] if len(some) else None
