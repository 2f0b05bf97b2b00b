"""What the paper says in words, decided by counting and measuring."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from math import hypot
from pathlib import Path

import numpy as np
import pandas as pd

from harness.metrics import uncertainty
from harness.metrics.seeds import Replicates, joint
from harness.report import estimates
from harness.report.contrasts import Scores, Side, not_applicable, rests_on
from harness.studies.claims import FAILS, HOLDS, Finding, decide, of_seeds, table_rows
from harness.studies.records import Record
from harness.studies.study import Study

#: What the paper calls the state of the art (IV.G), by the score that its sources use.
STATE_OF_THE_ART = 0.8
SOURCES_SCORE = "f1_macro2_masked"
IN_SHORT = {"k": 1_000, "m": 1_000_000}
#: The table that takes the networks themselves to make.
MAPS = "explanations_test"
FULL = {"vggish": "vggish_full", "resnet50": "resnet_full"}


def parameter_counts(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether the arms learn as many parameters as Tables I and II print.

    Parameters
    ----------
    study, records, results
        As for every check; nothing but the arms is looked at, whose counts are checked whenever one is built as
        published.

    Returns
    -------
    Finding
        It holds if each differs by less than one unit of the last digit printed.
    """
    wrong, said = [], []
    for arm in study.arms:
        number, unit = arm.published_parameters.strip("~")[:-1], IN_SHORT[arm.published_parameters[-1]]
        said.append(f"{arm.parameters:,} for {arm.published_parameters}")
        if abs(arm.parameters - int(number) * unit) >= unit:
            wrong.append(arm.name)
    return Finding(FAILS if wrong else HOLDS, "; ".join(said))


def below_state_of_the_art(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether the best arm stays below what the paper calls the state of the art, by the score of that.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only of trials made as the published ones were.
    """
    base = study.conditions[0].name
    of_base = [r for r in records if r.condition == base]
    best = estimates.best_arms(study, of_base, base)
    if not best:
        return Finding("not judged: no record under the paper's condition", "")
    arm = max(best.values(), key=lambda name: _mean_score(study, of_base, name))
    if why := not_applicable(study, [r for r in of_base if r.arm == arm]):
        return Finding(f"not applicable: {why}", "")
    found = Scores(study, of_base).contrast(Side((arm,)), None, SOURCES_SCORE)
    below = Replicates(STATE_OF_THE_ART - found.replicates.scores, STATE_OF_THE_ART - found.replicates.drawn)
    low, high = uncertainty.interval(below.score, joint(below), bounds=(-1.0, 1.0))
    finding = decide(
        f"{STATE_OF_THE_ART} minus the F1 of presence and of absence of {arm}",
        below.score,
        low,
        high,
        rests_on=rests_on(found.records),
    )
    return of_seeds(finding, below.seeds)


def pretraining_explains(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether the gap between the full networks is smaller where neither is pre-trained.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only where there are trials with pre-training and without.
    """
    base = [r for r in records if r.condition == study.conditions[0].name and r.arm in FULL.values()]
    if not base or any(r.data["weights"]["kind"] == "random" for r in base):
        return Finding("not judged: no trial here starts from published weights", "")
    scores = Scores(study, records)
    sides = [Side((FULL[network],), condition=c) for c in ("", "random-weights") for network in ("vggish", "resnet50")]
    gaps = [scores.contrast(above, below, study.metric) for above, below in (sides[:2], sides[2:])]
    for gap in gaps:
        if gap.replicates is None:
            return Finding(f"not judged: {gap.missing}", "")
    if gaps[0].replicates.seeds != gaps[1].replicates.seeds:
        return Finding("not judged: the conditions have other seeds", "")
    rested = [r for gap in gaps for r in gap.records]
    change = gaps[0].replicates - gaps[1].replicates
    low, high = uncertainty.interval(change.score, joint(change), bounds=(-2.0, 2.0))
    finding = decide(
        "macro F1, gap between the networks with pre-training minus that without",
        change.score,
        low,
        high,
        rests_on=rests_on(rested),
    )
    return of_seeds(finding, change.seeds)


def size_explains(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether of two arms of different networks the one with more learning parameters scores higher.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        It holds if that is so of more than half of the pairs, by an interval over seeds and clips.

    Notes
    -----
    Every arm's replicates are turned around its score, as the basic interval turns them, and each arm deviates by seeds
    of its own; the interval is of the shares of pairs that these give. A share cannot be turned itself: replicates of
    one that is 1 are all lower, turned all higher, so that it would seem certain. Of arms that are all alike, one in
    four would so be said to follow their sizes, or to go against them.
    """
    scores = Scores(study, records)
    sizes = {r.arm: r.data["parameters"]["trainable"] for r in records}
    pairs = [
        sorted((a.name, b.name), key=lambda name: -sizes[name])
        for a in study.arms
        for b in study.arms
        if (a.network, b.network) == ("vggish", "resnet50") and {a.name, b.name} <= set(sizes)
    ]
    found = {name: scores.contrast(Side((name,)), None, study.metric) for name in dict.fromkeys(chain(*pairs))}
    of_arms = {name: c.replicates for name, c in found.items() if c.replicates is not None}
    seeds = {r.seeds for r in of_arms.values()}
    if not pairs or len(of_arms) < len(found) or len(seeds) > 1:
        return Finding("not judged: arms of one network, or seeds, are missing", "")
    turned = {name: 2 * r.score - joint(r, seed=number) for number, (name, r) in enumerate(of_arms.items())}
    share = float(np.mean([of_arms[larger].score > of_arms[smaller].score for larger, smaller in pairs]))
    shares = np.mean([turned[larger] > turned[smaller] for larger, smaller in pairs], axis=0)
    low, high = uncertainty.interval(share, shares, kind="percentile")  # as turned already
    finding = decide(
        f"share of {len(pairs)} pairs in which it does",
        share,
        low,
        high,
        bound=0.5,
        rests_on=rests_on(r for c in found.values() for r in c.records),
    )
    finding = of_seeds(finding, min(seeds))
    printed = {(row["arm"], row["metric"]): row["value"] for row in study.published if row["split"] == "test"}
    theirs = sum(printed[larger, study.metric] > printed[smaller, study.metric] for larger, smaller in pairs)
    return replace(finding, evidence=f"{finding.evidence}; by the paper's own scores in {theirs} of {len(pairs)}")


def cams_point(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether more of a map of ResNet-50 lies where and when the instrument sounds than a uniform map has there.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only on a rendered corpus, whose stems are known.
    """
    found = _map_gains(results)
    if found is None or "ResNet-50" not in found.index:
        return Finding("not judged: where instruments sound is known of rendered music alone", "")
    row = found.loc["ResNet-50"]
    finding = decide(
        "share of the map on the instrument beyond a uniform map's", *_numbers(row), rests_on=(f"{MAPS}.csv",)
    )
    return of_seeds(finding, int(row["seeds"]))


def resnet_maps_better(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether maps of ResNet-50 gain more over a uniform map than those of VGGish.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        The two networks' intervals are taken as independent, which makes that of the difference too wide.
    """
    found = _map_gains(results)
    if found is None or not {"ResNet-50", "VGGish"} <= set(found.index):
        return Finding("not judged: where instruments sound is known of rendered music alone", "")
    (a, a_low, a_high), (b, b_low, b_high) = (_numbers(found.loc[name]) for name in ("ResNet-50", "VGGish"))
    gain = a - b
    low, high = gain - hypot(a - a_low, b_high - b), gain + hypot(a_high - a, b - b_low)
    finding = decide(
        "share of the map on the instrument, ResNet-50 minus VGGish", gain, low, high, rests_on=(f"{MAPS}.csv",)
    )
    return of_seeds(finding, int(found["seeds"].min()))


def _map_gains(results: Path) -> pd.DataFrame | None:
    """By network, what its maps have on the instrument beyond a uniform map."""
    rows = table_rows(results, MAPS)
    if rows is None:
        return None
    rows = rows[(rows["measure"] == "where_and_when") & (rows["against"] == "a uniform map")]
    return rows.set_index(rows["network"].str.partition(" ")[0])


def _numbers(row: pd.Series) -> tuple[float, float, float]:
    return tuple(float(row[name]) for name in ("difference", "difference_low", "difference_high"))


def _mean_score(study: Study, records: Sequence[Record], arm: str) -> float:
    return float(np.mean([r.data["metrics"]["valid"][study.metric] for r in records if r.arm == arm]))
