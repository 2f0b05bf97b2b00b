"""What the paper says in words, decided by measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import f, ncf

from harness.metrics.seeds import Replicates
from harness.report.contrasts import Scores, Side, rests_on
from harness.studies.claims import FAILS, HOLDS, ONE_SEED, UNDECIDED, Finding
from harness.studies.records import Record
from harness.studies.study import Study

#: Objectives that are trained on the same notes.
OBJECTIVES = ("textual", "den_add", "den_mul")
SIGNIFICANT = 0.05
#: Standard deviation between instruments that counts as none: what the paper itself calls marginal (6.2).
MARGIN = 0.02


def objectives_differ_by_class(
    study: Study, records: Sequence[Record], results: Path, *, replicates: int = 1000
) -> Finding:
    """Whether the differences between the objectives trained on NSynth are the same for all instruments.

    Each pair of objectives is tested by an F test of the squared differences (see `_unevenness`).

    Parameters
    ----------
    study, records, results
        As for every check.
    replicates
        Of the bootstrap.

    Returns
    -------
    Finding
        It holds if the smallest p of the pairs, times their number (Bonferroni), is significant. It does not if for
        every pair it is significant that the differences vary by less than `MARGIN`. One seed decides nothing.
    """
    scores, found, rested = Scores(study, records, replicates=replicates), [], []
    pairs = [(a, b) for n, a in enumerate(OBJECTIVES) for b in OBJECTIVES[n + 1 :]]
    for pair in pairs:
        contrasts = [
            scores.contrast(*(Side((arm,), (name,)) for arm in pair), study.metric)
            for name in records[0].data["classes"]
        ]
        gains = [c.replicates for c in contrasts if c.replicates is not None]
        if len(gains) < 2:
            return Finding("not judged: fewer than two instruments with records of the three", "")
        rested += [r for c in contrasts for r in c.records]
        found.append((*_unevenness(gains, MARGIN), len(gains), gains[0].seeds, pair))
    p, _, ratio, count, _, pair = min(found)
    p, even = min(1.0, p * len(pairs)), max(one[1] for one in found)
    verdict = HOLDS if p < SIGNIFICANT else FAILS if even < SIGNIFICANT else UNDECIDED
    if min(one[4] for one in found) == 1:
        verdict = ONE_SEED
    arms = " and ".join(study.arm(name).title for name in pair)
    evidence = (
        f"{arms} differ most unevenly: by {count} instruments they vary {ratio:.2f} times as much as seeds and clips "
        f"make them, p = {p:.2g} of {len(pairs)} pairs; that all vary by less than {MARGIN:g}, p = {even:.2g}"
    )
    return Finding(verdict, evidence, rests_on=rests_on(rested))


def _unevenness(gains: Sequence[Replicates], margin: float) -> tuple[float, float, float]:
    """Test whether several differences are one and the same.

    The squares of what each lies from their mean are summed, and so are the variances of that over seeds and clips; the
    ratio is compared with an F distribution, as Brown and Forsythe (1974) do where variances are not equal. Its degrees
    of freedom are Box's (1954) above and Satterthwaite's (1946) below, so that it counts that three seeds hardly know
    a variance. Cochran's Q, which takes variances as known, would find differences in 7 of 10 cases without any where
    it is the seeds that vary.

    Parameters
    ----------
    gains
        At least two, of the same seeds and draws.
    margin
        Standard deviation between the true ones, above 0.

    Returns
    -------
    p_differ, p_even : float
        How probable so large a ratio is if they are the same, and so small a one if they vary by the margin.
    ratio : float
        1, on average, if they are the same. Where nothing varies at all it is 0, and both probabilities are 1.
    """
    mean = Replicates(np.mean([g.scores for g in gains], axis=0), np.nanmean([g.drawn for g in gains], axis=0))
    apart = [g - mean for g in gains]
    variances, degrees = np.array([a.variance() for a in apart]).T
    total, most = variances.sum(), len(gains) - 1
    if not total > 0:
        return 1.0, 1.0, 0.0
    ratio = float(sum(a.score**2 for a in apart) / total)
    squares = variances**2 / (1 + 2 / degrees)  # that of a variance known by d degrees is too large by 1 + 2 / d
    above = min(most, most / len(gains) * total**2 / squares.sum())
    # Without any variance between seeds the degrees are infinite: so many are enough.
    below = total**2 / max((squares / degrees).sum(), 1e-9 * total**2)
    shift = above * most * margin**2 / total
    return float(f.sf(ratio, above, below)), float(ncf.cdf(ratio, above, below, shift)), ratio
