"""The unfreezing study's checks, on planted trials and measurements that they must accept, refuse, or not judge."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import write_trials

from harness.analysis.resampling import Resampled
from harness.analysis.scoring import Scores
from harness.analysis.study import Analysis
from harness.studies import study as studies
from harness.studies.records import Record, write_measured
from replications.openmic_transfer import checks, maps

STUDY = studies.load("openmic_transfer")
AS_PUBLISHED = {"corpus": "openmic-2018", "profile": "paper", "weights": "published"}
ORDER = sorted(STUDY.arms, key=lambda arm: arm.parameters)
LEVEL = 0.95


def analysis(records: list[Record], study: studies.Study = STUDY) -> Analysis:
    return Analysis(study, records, replicates=100)


def trials(folder: Path, skills: Mapping[str, float], seeds: int = 3, **how: object) -> list[Record]:
    settings = {"conditions": ["paper"], "sizes": (40, 150), **how}
    return write_trials(folder, STUDY, arms=list(skills), skills=skills, seeds=seeds, **settings)


def first_seed(records: list[Record]) -> list[Record]:
    return [r for r in records if r.seed == 0]


def test_printed_counts_are_those_of_the_arms(tmp_path: Path) -> None:
    found = trials(tmp_path, {"vggish_fc": 0.0}, seeds=1, sizes=(10, 10))
    assert checks.parameter_counts(analysis(found), level=LEVEL).verdict == "holds"
    wrong = [replace(a, parameters=2_580) if a.name == "vggish_fc" else a for a in STUDY.arms]
    judged = checks.parameter_counts(analysis(found, replace(STUDY, arms=tuple(wrong))), level=LEVEL)
    assert (judged.verdict, "2,580 for ~25k" in judged.evidence) == ("does not hold", True)


@pytest.mark.parametrize(("skill", "verdict"), [(0.1, "holds"), (1.0, "does not hold")])
def test_the_state_of_the_art_is_another_score(tmp_path: Path, skill: float, verdict: str) -> None:
    found = trials(tmp_path, {"vggish_full": skill, "resnet_fc": 0.0}, sizes=(60, 300), **AS_PUBLISHED)
    whole = {"corpus": {"clips": 20_000, "complete": True}, "left_out": {}}
    ours = [replace(r, data={**r.data, "inputs": whole}) for r in found]
    judged = checks.below_state_of_the_art(analysis(ours), level=LEVEL)
    scores = [r.data["metrics"]["test"]["f1_macro2_masked"] for r in found if r.arm == "vggish_full"]
    assert (judged.verdict, judged.value) == (verdict, pytest.approx(0.8 - np.mean(scores)))
    assert judged.low < judged.value < judged.high
    one = checks.below_state_of_the_art(analysis(first_seed(ours)), level=LEVEL)
    assert one.verdict == "undecided: one seed"
    part = checks.below_state_of_the_art(analysis(found), level=LEVEL)
    assert part.verdict == "not applicable: openmic-2018 is not here whole: part of it"


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        (((0.1, 0.4), (0.1, 0.15)), "holds"),
        (((0.1, 0.3), (0.1, 0.9)), "does not hold"),
        (((0.1, 0.4), (0.1, 0.4)), "undecided"),
        (((0.1, 0.4), (-0.2, -0.2)), "not applicable: under “random weights” neither network is above chance"),
    ],
)
def test_pre_training_explains_a_gap_that_goes_without_it(
    tmp_path: Path, gaps: tuple[tuple[float, float], ...], verdict: str
) -> None:
    found = []
    for condition, skills in zip(("paper", "random-weights"), gaps, strict=True):
        of_arms = dict(zip(("resnet_full", "vggish_full"), skills, strict=True))
        found += trials(tmp_path / condition, of_arms, seeds=4, conditions=[condition], **AS_PUBLISHED)
    assert checks.pretraining_explains(analysis(found), level=LEVEL).verdict == verdict


def test_pre_training_needs_networks_without_it_and_several_seeds(tmp_path: Path) -> None:
    found = trials(tmp_path, {"resnet_full": 0.3, "vggish_full": 0.4}, sizes=(20, 60))
    judged = checks.pretraining_explains(analysis(found), level=LEVEL)
    assert judged.verdict == "not judged: no record of vggish_full@random-weights, resnet_full@random-weights"
    again = [replace(r, data={**r.data, "condition": "random-weights"}) for r in found if r.seed == 0]
    judged = checks.pretraining_explains(analysis([*found, *again]), level=LEVEL)
    assert (judged.verdict, judged.value) == ("undecided: one seed", 0.0)
    apart = [replace(r, data={**r.data, "seed": 7}) for r in again]
    judged = checks.pretraining_explains(analysis([*found, *apart]), level=LEVEL)
    assert judged.verdict == "not judged: the two conditions share no seed"


@pytest.mark.parametrize(("sign", "verdict"), [(1, "holds"), (-1, "does not hold")])
def test_size_explains_where_the_larger_scores_higher(tmp_path: Path, sign: int, verdict: str) -> None:
    # No higher: above half, scores lie so near their limit that chance orders them.
    found = trials(tmp_path, {arm.name: 0.08 + 0.07 * n for n, arm in enumerate(ORDER[::sign])})
    judged = checks.size_explains(analysis(found), level=LEVEL)
    assert (judged.verdict, judged.value) == (verdict, float(sign > 0))
    assert judged.low <= judged.value <= judged.high
    assert judged.evidence.endswith("by the paper's own scores in 8 of 12")
    assert checks.size_explains(analysis(first_seed(found)), level=LEVEL).verdict == "undecided: one seed"


def with_scores(found: Analysis, of_seeds: np.ndarray, of_clips: np.ndarray) -> Analysis:
    """The same trials, whose main scores deviate so by seed, (trials,), and by clip, (trials, draws or blocks, 1)."""
    draws, blocks = of_clips[:, :100], of_clips[:, 100:] / np.sqrt(of_clips.shape[1] - 101)
    plain = (0.4 + of_seeds + of_clips[:, 0, 0])[:, None]
    ones = np.ones((len(plain), 1), int)
    found._scores["test"] = Scores(
        ((STUDY.metric, ""),), Resampled(plain, plain[:, None] + draws, plain[:, None] + blocks, 150),
        np.full(len(plain), 150), 100 * ones, 100 * ones, (("",),) * len(plain), 0.1 * ones,
    )  # fmt: skip
    found._models.clear()
    found.__dict__["above_chance"] = lambda arm: True
    return found


def test_arms_that_are_all_alike_say_nothing_of_size(tmp_path: Path) -> None:
    found = analysis(trials(tmp_path, dict.fromkeys((arm.name for arm in STUDY.arms), 0.4), sizes=(10, 20)))
    generator, decided = np.random.default_rng(0), 0
    for _ in range(100):
        shared = generator.normal(size=(1, 200, 1))
        of_arm = generator.normal(size=(len(STUDY.arms), 1, 200, 1)).repeat(3, axis=1).reshape(-1, 200, 1)
        alike = with_scores(found, 0.02 * generator.normal(size=21), 0.01 * (shared + of_arm))
        decided += checks.size_explains(alike, level=LEVEL).verdict != "undecided"
    assert decided <= 9


def test_pairs_at_chance_are_left_out(tmp_path: Path) -> None:
    able = {"vggish_full": 0.6, "resnet_full": 0.4}
    found = trials(tmp_path, {arm.name: able.get(arm.name, -0.3) for arm in STUDY.arms})
    judged = checks.size_explains(analysis(found), level=LEVEL)
    assert "share of 6 pairs in which it does, 6 left out as neither is above chance" in judged.evidence
    none = [r for r in found if r.arm not in able]
    assert checks.size_explains(analysis(none), level=LEVEL).verdict == "not applicable: no arm is above chance"
    of_one = [r for r in found if r.arm.startswith("vggish")]
    assert checks.size_explains(analysis(of_one), level=LEVEL).verdict.startswith("not judged: no arm of one of")


# What was measured of the maps.


def with_maps(folder: Path, gains: Mapping[str, Callable[[int], tuple[float, float]]], **how: object) -> list[Record]:
    """Trials with maps that gain so much over a uniform map, and over an untrained network's, by arm and seed."""
    found = trials(folder, {"resnet_full": 0.3, "vggish_full": 0.3}, sizes=(10, 40), **how)
    records = []
    for r in found:
        # What is hard of a clip is hard for both networks.
        of_clips = np.random.default_rng(5).normal(0, 0.1, 60)
        noise = np.random.default_rng([r.seed, len(r.arm)]).normal(0, 0.02, (3, 60))
        even, untrained = gains[r.arm](r.seed)
        share = 0.5 + of_clips + noise[0]
        frame = pd.DataFrame(
            {
                "key": np.repeat(r.predictions("test").keys[:30], 2),
                "instrument": np.tile(["violin", "flute"], 30),
                "where_and_when": np.where(np.arange(60) < 4, np.nan, share + even),
                "when": share,
                "area": 0.5 + of_clips + noise[1],
                "time": 0.5,
                "untrained_where_and_when": share + even - untrained,
                "untrained_when": share,
            }
        )
        files, columns = write_measured(r.folder, {"maps": frame})
        listed = {**r.data["files"], **dict.fromkeys(files, "")}
        records.append(Record(r.folder, {**r.data, "files": listed, "measured": columns}))
    return records


def same(even: float, untrained: float) -> Callable[[int], tuple[float, float]]:
    return lambda seed: (even, untrained)


@pytest.mark.parametrize(
    ("resnet", "vggish", "verdicts"),
    [
        (same(0.1, 0.1), same(0.02, 0.02), ("holds", "holds")),
        (same(-0.1, 0.1), same(0.02, 0.02), ("does not hold", "does not hold")),
        (same(0.1, 0.0), same(0.1, 0.1), ("undecided", "undecided")),  # as much as the untrained network
        (same(0.1, -0.1), same(0.02, 0.02), ("does not hold", "holds")),
        (lambda seed: (0.2 * seed - 0.1, 0.1), same(0.02, 0.02), ("undecided", "undecided")),
    ],
)
def test_maps_are_judged_where_stems_are_known(
    tmp_path: Path, resnet: Callable, vggish: Callable, verdicts: tuple[str, str]
) -> None:
    records = with_maps(tmp_path, {"resnet_full": resnet, "vggish_full": vggish})
    found = [check(analysis(records), level=LEVEL) for check in (checks.cams_point, checks.resnet_maps_better)]
    assert tuple(f.verdict for f in found) == verdicts
    assert "168 maps of 28 artists" in found[0].evidence  # maps that are zero everywhere are no maps
    assert found[0].rests_on == ("records/resnet_full@paper",)
    for check in (checks.cams_point, checks.resnet_maps_better):
        assert check(analysis(first_seed(records)), level=LEVEL).verdict == "undecided: one seed"
        few = analysis(records)
        few.__dict__["measured"] = lambda name: analysis(records).measured(name).groupby("seed").head(12)
        assert check(few, level=LEVEL).verdict.startswith("not judged: ")


def test_maps_are_compared_pair_by_pair(tmp_path: Path) -> None:
    """Clips on which maps differ far more than the networks do would hide the difference in unpaired intervals."""
    records = with_maps(tmp_path, {"resnet_full": same(0.05, 0.0), "vggish_full": same(0.03, 0.0)})
    judged = checks.resnet_maps_better(analysis(records), level=LEVEL)
    assert judged.value == pytest.approx(0.02, abs=0.01)
    assert judged.high - judged.low < 0.05
    assert judged.verdict == "holds"


def test_what_was_not_measured_is_not_judged_nor_shown(tmp_path: Path) -> None:
    found = analysis(trials(tmp_path, {"resnet_full": 0.3, "vggish_full": 0.3}, seeds=1, sizes=(10, 20)))
    for check in (checks.cams_point, checks.resnet_maps_better):
        assert check(found, level=LEVEL).verdict.startswith("not judged: no trial here has measured its maps")
    assert maps.table(found) is None


def test_the_table_of_maps_is_that_of_the_measurements(tmp_path: Path) -> None:
    records = with_maps(tmp_path, {"resnet_full": same(0.1, 0.1), "vggish_full": same(0.0, 0.02)})
    found = analysis(records)
    shown, measured = maps.table(found).frame, found.measured("maps")
    assert list(shown["network"]) == ["ResNet-50"] * 4 + ["VGGish"] * 4
    assert list(shown["against"]) == ["a uniform map", "random weights"] * 4
    ours = measured[measured["arm"] == "resnet_full"].dropna()
    assert shown["share"][0] == pytest.approx(ours["where_and_when"].mean())
    assert shown["reference"][0] == pytest.approx(ours["area"].mean())
    assert shown["difference"][0].value == pytest.approx(shown["share"][0] - shown["reference"][0])
    assert [cell.doubtful for cell in shown["difference"]][:2] == [False, False]
    assert shown["difference"][4].doubtful  # no more than a uniform map
