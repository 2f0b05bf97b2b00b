"""What the paper says in words, decided by measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from harness.metrics.seeds import joint
from harness.report.contrasts import Scores, Side, rests_on
from harness.studies.claims import HOLDS, UNDECIDED, Finding
from harness.studies.records import Record
from harness.studies.study import Study

#: Objectives that are trained on the same notes.
OBJECTIVES = ("textual", "den_add", "den_mul")
SIGNIFICANT = 0.05


def objectives_differ_by_class(
    study: Study, records: Sequence[Record], results: Path, *, replicates: int = 1000
) -> Finding:
    """Whether the differences between the objectives trained on NSynth are the same for all instruments.

    For each pair of objectives the differences of the instruments are compared with their weighted mean by Cochran's Q
    (1954), their variances from the bootstrap over seeds and clips; the smallest p of the pairs, times their number
    (Bonferroni), decides.

    Parameters
    ----------
    study, records, results
        As for every check.
    replicates
        Of the bootstrap.

    Returns
    -------
    Finding
        It holds, or is undecided: that they are the same cannot be shown so.
    """
    scores, found, rested = Scores(study, records, replicates=replicates), [], []
    pairs = [(a, b) for n, a in enumerate(OBJECTIVES) for b in OBJECTIVES[n + 1 :]]
    for pair in pairs:
        gains, variances = [], []
        for name in records[0].data["classes"]:
            c = scores.contrast(*(Side((arm,), (name,)) for arm in pair), study.metric)
            if c.replicates is not None and np.var(drawn := joint(c.replicates)) > 0:
                gains.append(c.replicates.score)
                variances.append(np.var(drawn, ddof=1))
                rested += c.records
        if len(gains) < 2:
            return Finding("not judged: fewer than two instruments with records of the three", "")
        weights = 1 / np.array(variances)
        q = float(weights @ (np.array(gains) - weights @ gains / weights.sum()) ** 2)
        found.append((float(chi2.sf(q, len(gains) - 1)), q, len(gains), pair))
    p, q, count, pair = min(found)
    p = min(1.0, p * len(pairs))
    arms = " and ".join(study.arm(name).title for name in pair)
    evidence = f"{arms} differ most unevenly: Q = {q:.1f} of {count} instruments, p = {p:.2g} of {len(pairs)} pairs"
    return Finding(HOLDS if p < SIGNIFICANT else UNDECIDED, evidence, rests_on=rests_on(rested))
