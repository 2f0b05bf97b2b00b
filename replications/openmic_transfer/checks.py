"""What the paper says in words, decided by counting and measuring."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import chi2

from harness.analysis import scoring
from harness.analysis.measured import Gain, decided, gain
from harness.analysis.study import Analysis, Contrast, Side
from harness.analysis.verdicts import departures
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, decide, of_seeds
from harness.studies.records import KEPT, Record

#: What the paper calls the state of the art (IV.G), by the score that its sources use.
STATE_OF_THE_ART = 0.8
SOURCES_SCORE = "f1_macro2_masked"
IN_SHORT = {"k": 1_000, "m": 1_000_000}
RESNET, VGGISH, UNTRAINED = "resnet_full", "vggish_full", "random-weights"


def parameter_counts(analysis: Analysis, *, level: float) -> Finding:
    """Whether the arms learn as many parameters as Tables I and II print, to less than one unit of the last digit."""
    wrong, said = [], []
    for arm in analysis.study.arms:
        number, unit = arm.published_parameters.strip("~")[:-1], IN_SHORT[arm.published_parameters[-1]]
        said.append(f"{arm.parameters:,} for {arm.published_parameters}")
        if abs(arm.parameters - int(number) * unit) >= unit:
            wrong.append(arm.name)
    return Finding(FAILS if wrong else HOLDS, f"under profile paper: {'; '.join(said)}")


def below_state_of_the_art(analysis: Analysis, *, level: float) -> Finding:
    """Whether the arm that is best on the validation part stays below the state of the art, by the score of that.

    It is asked only of trials made as the published ones were.
    """
    rows = analysis.estimates
    rows = rows[(rows["condition"] == analysis.base) & (rows["part"] == "valid") & (rows["class"] == "")]
    rows = rows[(rows["metric"] == analysis.study.metric) & rows["mean"].notna()]
    if rows.empty:
        return Finding("not judged: no record under the paper's condition", "")
    arm = rows.loc[rows["mean"].idxmax(), "arm"]
    records = analysis.select(arm)
    if why := departures(analysis, records):
        return Finding(f"not applicable: {'; '.join(why)}", "")
    scores = analysis.view(records, metrics=[SOURCES_SCORE])
    row = scoring.table(scores, range(len(records)), level=level).iloc[0]
    finding = decide(
        f"{STATE_OF_THE_ART} minus the F1 of presence and of absence of {arm}",
        *(STATE_OF_THE_ART - row[["mean", "high", "low"]]),
        rests_on=_folders(records),
    )
    return of_seeds(finding, len(records))


def pretraining_explains(analysis: Analysis, *, level: float) -> Finding:
    """Whether the gap between the full networks is smaller where neither is pre-trained."""
    sides = [(condition, arm) for condition in (analysis.base, UNTRAINED) for arm in (VGGISH, RESNET)]
    found = {side: {r.seed: r for r in analysis.select(side[1], side[0])} for side in sides}
    if missing := [arm if c == analysis.base else f"{arm}@{c}" for c, arm in sides if not found[c, arm]]:
        return Finding(f"not judged: no record of {', '.join(missing)}", "")
    seeds = sorted(set.intersection(*(set(of_seed) for of_seed in found.values())))
    if not seeds:
        return Finding("not judged: the two conditions share no seed", "")
    for condition in (analysis.base, UNTRAINED):
        if not any(analysis.above_chance(arm, condition) for arm in (VGGISH, RESNET)):
            title = analysis.study.condition(condition).title
            return Finding(f"not applicable: under “{title}” neither network is above chance", "")
    scores = analysis.scores("test")
    column = scores.column(analysis.study.metric)
    ours, theirs, *untrained = (
        scores.found.of([analysis.records.index(found[side][seed]) for seed in seeds], [column]) for side in sides
    )
    change = (ours - theirs) - (untrained[0] - untrained[1])
    low, high, _ = decided(change, level=level, bounds=(-2.0, 2.0))
    if np.isnan(low):
        return Finding(f"not judged: {change.units} {analysis.unit} are too few for an interval", "")
    finding = decide(
        "macro F1, gap between the networks with pre-training minus that without",
        float(change.plain.mean()),
        low,
        high,
        rests_on=_folders(r for of_seed in found.values() for r in of_seed.values()),
    )
    return of_seeds(finding, len(seeds))


def size_explains(analysis: Analysis, *, level: float) -> Finding:
    """Whether of two arms of different networks the one with more learning parameters scores higher.

    Pairs of which neither is above chance are left out. It holds if the larger one is higher in more than half of the
    pairs, by the interval of that share over draws of seeds and clips in which every difference deviates from what was
    found as it may from the truth. Such draws of one pair after another deviate together, as the pairs share their
    arms and clips.
    """
    study, sizes = analysis.study, {r.arm: r.data["parameters"]["trainable"] for r in analysis.records}
    present = [arm for arm in study.arms if analysis.select(arm.name)]
    pairs = [
        sorted((a.name, b.name), key=lambda name: -sizes[name])
        for a in present
        for b in present
        if (a.network, b.network) == ("vggish", "resnet50")
    ]
    if not pairs:
        return Finding("not judged: no arm of one of the networks has a record", "")
    shown = [pair for pair in pairs if any(analysis.above_chance(arm) for arm in pair)]
    if not shown:
        return Finding("not applicable: no arm is above chance", "")
    contrasts = [Contrast(Side((larger,)), Side((smaller,)), study.metric) for larger, smaller in shown]
    if any(isinstance(analysis.trials_of(contrast), str) for contrast in contrasts):
        return Finding("not judged: arms share no seed", "")
    members = [analysis.difference(contrast) for contrast in contrasts]
    # Student's t: an error that is known from few seeds may be larger than it seems, of all differences at once.
    count = len(members[0].draws)
    quantile = (np.random.default_rng(0).permutation(count) + 0.5) / count
    drawn = [m.centre - m.draws * np.sqrt(m.degrees / chi2.ppf(quantile, m.degrees)) for m in members]
    shares = np.mean(np.array(drawn) > 0, axis=0)
    share = float(np.mean([m.value > 0 for m in members]))
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    left = f", {len(pairs) - len(shown)} left out as neither is above chance" if len(shown) < len(pairs) else ""
    finding = decide(
        f"share of {len(shown)} pairs in which it does{left}",
        share,
        float(low),
        float(high),
        bound=0.5,
        rests_on=_folders(r for pair in shown for arm in pair for r in analysis.select(arm)),
    )
    finding = of_seeds(finding, min(m.seeds for m in members))
    printed = {(row["arm"], row["metric"]): row["value"] for row in study.published if row["split"] == "test"}
    theirs = sum(printed[larger, study.metric] > printed[smaller, study.metric] for larger, smaller in pairs)
    return replace(finding, evidence=f"{finding.evidence}; by the paper's own scores in {theirs} of {len(pairs)}")


def cams_point(analysis: Analysis, *, level: float) -> Finding:
    """Whether maps of ResNet-50 lie more on the instrument than a uniform map and than those of an untrained network.

    Both are asked at a level that keeps the one given for the two together.
    """
    maps = _maps(analysis, RESNET)
    alone = 1 - (1 - level) / 2
    found = [
        gain(maps, "where_and_when", of, level=alone, replicates=analysis.replicates)
        for of in ("area", "untrained_where_and_when")
    ]
    if why := next(filter(None, (_why_not(g, analysis) for g in found)), ""):
        return Finding(why, "")
    findings = [
        decide(f"share of the maps on the instrument beyond {words}", g.difference, g.low, g.high)
        for g, words in zip(found, ("a uniform map's", "the untrained network's"), strict=True)
    ]
    words = [f.verdict for f in findings]
    verdict = HOLDS if words == [HOLDS, HOLDS] else FAILS if FAILS in words else UNDECIDED
    least = min(findings, key=lambda f: f.low)
    evidence = f"{'; '.join(f.evidence for f in findings)}; {_counted(found[0].pairs, found[0].units, analysis)}"
    finding = replace(least, verdict=verdict, evidence=evidence, rests_on=_folders(analysis.select(RESNET)))
    return of_seeds(finding, min(g.seeds for g in found))


def resnet_maps_better(analysis: Analysis, *, level: float) -> Finding:
    """Whether maps of ResNet-50 gain more over a uniform map than those of VGGish, pair by pair.

    A pair is of one instrument in one clip and of the same seed of both networks; where either map is zero everywhere
    there is none.
    """
    ours, theirs = (_maps(analysis, arm) for arm in (RESNET, VGGISH))
    on = ["seed", "key", "instrument"]
    pairs = ours.merge(theirs, on=on, suffixes=("", "_of_vggish"))
    found = None
    if len(pairs):
        pairs["resnet"] = pairs["where_and_when"] - pairs["area"]
        pairs["vggish"] = pairs["where_and_when_of_vggish"] - pairs["area_of_vggish"]
        found = gain(pairs, "resnet", "vggish", level=level, replicates=analysis.replicates, bounds=(-2.0, 2.0))
    if why := _why_not(found, analysis):
        return Finding(why, "")
    finding = decide(
        "share of the maps on the instrument beyond a uniform map's, ResNet-50 minus VGGish, "
        f"{_counted(found.pairs, found.units, analysis)}",
        found.difference,
        found.low,
        found.high,
        rests_on=_folders([*analysis.select(RESNET), *analysis.select(VGGISH)]),
    )
    return of_seeds(finding, found.seeds)


def _maps(analysis: Analysis, arm: str) -> pd.DataFrame:
    """What was measured of an arm's maps under the paper's condition, with the unit of each row's clip."""
    columns = ["seed", "key", "instrument", "where_and_when", "area", "untrained_where_and_when", "unit"]
    maps = analysis.measured("maps")
    maps = maps[(maps["arm"] == arm) & (maps["condition"] == analysis.base)]
    if maps.empty:
        return pd.DataFrame(columns=columns)
    return maps.assign(unit=analysis.units(maps["key"].to_numpy()))[columns]


def _why_not(found: Gain | None, analysis: Analysis) -> str:
    """Why nothing can be said of maps; "" where something can."""
    if found is None:
        if analysis.records[0].data["corpus"].startswith("pocket-"):
            return "not judged: no trial here has measured its maps; run the full networks again"
        return "not judged: where instruments sound is known of rendered music alone"
    return f"not judged: {found.units} {analysis.unit} are too few for an interval" if np.isnan(found.low) else ""


def _counted(pairs: int, units: int, analysis: Analysis) -> str:
    return f"{pairs} maps of {units} {analysis.unit}"


def _folders(records: Iterable[Record]) -> tuple[str, ...]:
    """Where the trials are kept that something rests on, a folder for each arm and condition."""
    return tuple(dict.fromkeys(f"{KEPT}/{r.folder.parent.name}" for r in records))
