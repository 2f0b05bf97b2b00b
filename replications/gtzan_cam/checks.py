"""What the write-up says in words, decided by measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.report.contrasts import Scores, Side, rests_on
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, decide, table_rows
from harness.studies.records import Record
from harness.studies.study import Study
from replications.gtzan_cam.kernels import kernel_arms, kernel_scores

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
    return decide(evidence, found.replicates.score, low, high, bound=EXTREMELY, rests_on=rests_on(found.records))


def country_drums(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether the deconvolved second layer of both nets lies on the drums of country more than an even map does.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only on a rendered corpus, whose parts are known.
    """
    return _of_table(results, {"share_deconvolved": ("base", "masked")}, "an even map", "share of the map on the drums")


def cam_points(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether class activation maps lie on the part that marks the genre more than an even map does.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only on a rendered corpus, whose parts are known.
    """
    return _of_table(results, {"share_cam": ("cam",)}, "an even map", "share of the map on the marking part")


def masks_steady(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether masked filters peak in steadier places than those of the base net.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        It holds if they do in time and in frequency.
    """
    measures = dict.fromkeys(("steadiness_frequency", "steadiness_time"), ("masked",))
    return _of_table(results, measures, "baseCNN", "deviation of the peak saved", sign=-1)


def _of_table(
    results: Path, measures: dict[str, Sequence[str]], against: str, evidence: str, *, sign: int = 1
) -> Finding:
    """Decide by rows of the table of interpretability: all must be above 0, once turned by the sign."""
    rows = table_rows(results, TABLE)
    pairs = [(measure, arm) for measure, arms in measures.items() for arm in arms]
    found = [] if rows is None else [_row(rows, *pair, against) for pair in pairs]
    if not found or any(row is None for row in found):
        return Finding("not judged: the nets were not compared so here", "")
    findings = []
    for row in found:
        ends = sorted(sign * row[end] for end in ("difference_low", "difference_high"))
        findings.append(decide(f"{row['arm']}{IN_WORDS[row['measure']]}", sign * row["difference"], *ends))
    verdicts = [f.verdict for f in findings]
    verdict = FAILS if FAILS in verdicts else HOLDS if set(verdicts) == {HOLDS} else UNDECIDED
    said = f"{evidence}: {'; '.join(f.evidence for f in findings)}"
    numbers = (findings[0].value, findings[0].low, findings[0].high) if len(findings) == 1 else (None, None, None)
    return Finding(verdict, said, *numbers, (f"{TABLE}.csv",))


def _row(rows: pd.DataFrame, measure: str, arm: str, against: str) -> pd.Series | None:
    some = rows[(rows["measure"] == measure) & (rows["arm"] == arm) & (rows["against"] == against)]
    return some.iloc[0] if len(some) else None
