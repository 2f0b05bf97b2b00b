"""What the paper says in words, decided by measuring."""

from itertools import combinations

import numpy as np
from scipy.stats import f, ncf

from harness.analysis.intervals import error_of
from harness.analysis.resampling import Resampled
from harness.analysis.study import Analysis
from harness.analysis.verdicts import own_pretraining
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, of_seeds
from harness.studies.records import KEPT

#: Objectives that are trained on the same notes.
OBJECTIVES = ("textual", "den_add", "den_mul")
#: Standard deviation between instruments that counts as none: what the paper itself calls marginal (6.2).
MARGIN = 0.02


def objectives_differ_by_class(analysis: Analysis, *, level: float) -> Finding:
    """Whether the differences between the objectives trained on NSynth are the same for all instruments.

    Each pair of objectives is tested by an F test of the squared differences (see `_unevenness`); pairs of which
    neither is above chance are left out. It holds if the smallest p of the pairs, times their number (Bonferroni), is
    significant. It does not if for every pair it is significant that the differences vary by less than `MARGIN`.
    """
    study = analysis.study
    if missing := [arm for arm in OBJECTIVES if not analysis.select(arm)]:
        return Finding(f"not judged: no record of {', '.join(missing)}", "")
    able = {arm for arm in OBJECTIVES if analysis.above_chance(arm)}
    pairs = [pair for pair in combinations(OBJECTIVES, 2) if able & set(pair)]
    if not pairs:
        return Finding("not applicable: none of the three is above chance", "")
    scores, found = analysis.scores("test"), []
    columns = [scores.column(study.metric, name) for name in analysis.classes]
    for pair in pairs:
        by_seed = [{r.seed: analysis.records.index(r) for r in analysis.select(arm)} for arm in pair]
        seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
        if not seeds:
            return Finding(f"not judged: {' and '.join(pair)} share no seed", "")
        above, below = (scores.found.of([of_seed[s] for s in seeds], columns) for of_seed in by_seed)
        gains = above - below
        known = np.flatnonzero(~np.isnan(gains.plain).any(axis=0))
        if len(known) < 2:
            return Finding("not judged: fewer than two instruments were asked about", "")
        found.append((*_unevenness(gains.of(range(len(seeds)), known), MARGIN), len(known), len(seeds), pair))
    p, _, ratio, count, _, pair = min(found)
    p, even = min(1.0, p * len(pairs)), max(one[1] for one in found)
    verdict = HOLDS if p < 1 - level else FAILS if even < 1 - level else UNDECIDED
    records = [r for arm in OBJECTIVES for r in analysis.select(arm)]
    scope = own_pretraining(records)
    evidence = (
        f"{' and '.join(study.arm(name).title for name in pair)} differ most unevenly: by {count} instruments they "
        f"vary {ratio:.2f} times as much as seeds and clips make them, p = {p:.2g} of {len(pairs)} pairs; that all "
        f"vary by less than {MARGIN:g}, p = {even:.2g}{f'; {scope}' if scope else ''}"
    )
    folders = dict.fromkeys(f"{KEPT}/{r.folder.parent.name}" for r in records)
    return of_seeds(Finding(verdict, evidence, rests_on=tuple(folders)), min(one[4] for one in found))


def _unevenness(gains: Resampled, margin: float) -> tuple[float, float, float]:
    """Test whether several differences are one and the same.

    The squares of what each lies from their mean are summed, and so are the variances of that over seeds and clips; the
    ratio is compared with an F distribution, as Brown and Forsythe (1974) do where variances are not equal. Its degrees
    of freedom are Box's (1954) above and Satterthwaite's (1946) below, so that it counts that three seeds hardly know
    a variance. Cochran's Q, which takes variances as known, would find differences in 7 of 10 cases without any where
    it is the seeds that vary.

    Parameters
    ----------
    gains
        By seed; at least two differences.
    margin
        Standard deviation between the true ones, above 0.

    Returns
    -------
    p_differ, p_even : float
        How probable so large a ratio is if they are the same, and so small a one if they vary by the margin.
    ratio : float
        1, on average, if they are the same. Where nothing varies at all it is 0, and both probabilities are 1.
    """
    apart = error_of(gains.over(lambda values: values - np.nanmean(values, axis=-1, keepdims=True)))
    variances, degrees = apart.of_clips + apart.of_seeds, apart.degrees
    count = len(variances)
    total, most = variances.sum(), count - 1
    if not total > 0:
        return 1.0, 1.0, 0.0
    ratio = float((apart.value**2).sum() / total)
    squares = variances**2 / (1 + 2 / degrees)  # that of a variance known by d degrees is too large by 1 + 2 / d
    above = min(most, most / count * total**2 / squares.sum())
    below = total**2 / max((squares / degrees).sum(), 1e-9 * total**2)
    shift = above * most * margin**2 / total
    return float(f.sf(ratio, above, below)), float(ncf.cdf(ratio, above, below, shift)), ratio
