"""What papers say in words: each check on planted trials and tables that it must accept, and refuse."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import CLASSES, write_trials

from harness.metrics.seeds import Replicates
from harness.report.contrasts import Contrast
from harness.storage import write_text
from harness.studies import study as studies
from harness.studies.claims import Finding
from replications.attention_embeddings import checks as attention
from replications.openmic_transfer import checks as transfer

OPENMIC = studies.load("openmic_transfer")
ATTENTION = studies.load("attention_embeddings")
AS_PUBLISHED = {"corpus": "openmic-2018", "profile": "paper", "weights": "published"}


def write_rows(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    write_text(folder / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))


# ResNet-50 and VGGish


def test_printed_counts_are_those_of_the_arms(tmp_path: Path) -> None:
    assert transfer.parameter_counts(OPENMIC, [], tmp_path).verdict == "holds"
    wrong = [replace(a, parameters=2_580) if a.name == "vggish_fc" else a for a in OPENMIC.arms]
    found = transfer.parameter_counts(replace(OPENMIC, arms=tuple(wrong)), [], tmp_path)
    assert (found.verdict, "2,580 for ~25k" in found.evidence) == ("does not hold", True)


@pytest.mark.parametrize(("skill", "verdict"), [(0.1, "holds"), (1.0, "does not hold")])
def test_the_state_of_the_art_is_another_score(tmp_path: Path, skill: float, verdict: str) -> None:
    found = write_trials(
        tmp_path, OPENMIC, arms=["vggish_full"], conditions=["paper"], skills={"vggish_full": skill}, seeds=3,
        sizes=(60, 300), **AS_PUBLISHED,
    )  # fmt: skip
    judged = transfer.below_state_of_the_art(OPENMIC, found, tmp_path)
    ours = np.mean([r.data["metrics"]["test"]["f1_macro2_masked"] for r in found])
    assert (judged.verdict, judged.value) == (verdict, pytest.approx(0.8 - ours))
    pocket = [replace(r, data={**r.data, "corpus": "pocket-openmic"}) for r in found]
    assert transfer.below_state_of_the_art(OPENMIC, pocket, tmp_path).verdict == "not applicable: pocket corpus"


@pytest.mark.parametrize(("untrained", "verdict"), [(0.05, "holds"), (0.9, "does not hold")])
def test_pre_training_explains_a_gap_that_goes_without_it(tmp_path: Path, untrained: float, verdict: str) -> None:
    arms, found = ["resnet_full", "vggish_full"], []
    for condition, skill in (("paper", 0.3), ("random-weights", untrained)):
        found += write_trials(
            tmp_path / condition, OPENMIC, arms=arms, conditions=[condition],
            skills={"resnet_full": 0.1, "vggish_full": skill}, seeds=4, sizes=(20, 200), **AS_PUBLISHED,
        )  # fmt: skip
    assert transfer.pretraining_explains(OPENMIC, found, tmp_path).verdict == verdict
    without = transfer.pretraining_explains(OPENMIC, [r for r in found if r.condition == "paper"], tmp_path)
    assert without.verdict.startswith("not judged: no record of vggish_full@random-weights")
    pocket = [replace(r, data={**r.data, "weights": {"kind": "random"}}) for r in found]
    assert transfer.pretraining_explains(OPENMIC, pocket, tmp_path).verdict.startswith("not judged: no trial here")


@pytest.mark.parametrize(("sign", "verdict"), [(1, "holds"), (-1, "does not hold")])
def test_size_explains_where_the_larger_scores_higher(tmp_path: Path, sign: int, verdict: str) -> None:
    order = sorted(OPENMIC.arms, key=lambda arm: sign * arm.parameters)
    skills = {arm.name: 0.1 + 0.12 * n for n, arm in enumerate(order)}
    found = write_trials(tmp_path, OPENMIC, conditions=["paper"], skills=skills, seeds=3, sizes=(20, 200))
    judged = transfer.size_explains(OPENMIC, found, tmp_path)
    assert (judged.verdict, judged.value) == (verdict, float(sign > 0))
    assert judged.evidence.endswith("by the paper's own scores in 8 of 12")


def test_arms_that_are_all_alike_say_nothing_of_size(tmp_path: Path) -> None:
    """Nor do they where all seeds of each arm happen to lie in the order of sizes, but close to each other."""
    verdicts, generator = [], np.random.default_rng(0)
    for _ in range(40):
        common, clips = generator.normal(size=200), generator.normal(size=(len(OPENMIC.arms), 200))
        of_arm = {
            arm.name: Replicates(s := 0.02 * generator.normal(size=3), s[:, None] + 0.01 * (common + own))
            for arm, own in zip(OPENMIC.arms, clips, strict=True)
        }
        verdicts.append(judged_by_size(of_arm, tmp_path).verdict)
    assert verdicts.count("undecided") >= 38  # without turning arm by arm it is 30 or fewer


def test_each_arm_deviates_by_seeds_of_its_own(tmp_path: Path) -> None:
    order = sorted(OPENMIC.arms, key=lambda arm: arm.parameters)
    scores = np.linspace(0.3, 0.6, len(order))
    of_arm = {
        arm.name: Replicates(s := score + np.array([-0.02, 0.0, 0.02]), np.repeat(s[:, None], 500, axis=1))
        for arm, score in zip(order, scores, strict=True)
    }
    found = judged_by_size(of_arm, tmp_path)
    assert (found.verdict, found.value) == ("holds", 1.0)
    assert 0.5 < found.low < 1  # one deviate for all would leave every difference as it is


def judged_by_size(of_arm: dict[str, Replicates], results: Path) -> Finding:
    """The claim of size, of given scores."""
    contrasts = {name: Contrast(replicates) for name, replicates in of_arm.items()}
    records = [SimpleNamespace(arm=a.name, data={"parameters": {"trainable": a.parameters}}) for a in OPENMIC.arms]
    fixed = SimpleNamespace(contrast=lambda above, below, metric: contrasts[above.arms[0]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "Scores", lambda study, records: fixed)
        return transfer.size_explains(OPENMIC, records, results)


@pytest.mark.parametrize(
    ("resnet", "vggish", "verdicts"),
    [
        ((0.10, 0.06, 0.14), (0.01, -0.02, 0.04), ("holds", "holds")),
        ((-0.10, -0.14, -0.06), (0.01, -0.02, 0.04), ("does not hold", "does not hold")),
        ((0.02, -0.02, 0.06), (0.01, -0.02, 0.04), ("undecided", "undecided")),
    ],
)
def test_maps_are_judged_where_stems_are_known(
    tmp_path: Path, resnet: tuple[float, ...], vggish: tuple[float, ...], verdicts: tuple[str, str]
) -> None:
    assert transfer.cams_point(OPENMIC, [], tmp_path).verdict.startswith("not judged")
    rows = [
        {
            "network": f"{name} (Full network)",
            "measure": measure,
            "against": against,
            "seeds": 3,
            **dict(zip(("difference", "difference_low", "difference_high"), numbers, strict=True)),
        }
        for name, numbers in (("ResNet-50", resnet), ("VGGish", vggish))
        for measure, against in (("when", "a uniform map"), ("where_and_when", "a uniform map"))
    ]
    write_rows(tmp_path, "explanations_test", rows)
    found = (transfer.cams_point(OPENMIC, [], tmp_path), transfer.resnet_maps_better(OPENMIC, [], tmp_path))
    assert tuple(f.verdict for f in found) == verdicts
    assert found[0].rests_on == ("explanations_test.csv",)
    write_rows(tmp_path, "explanations_test", [{**row, "seeds": 1} for row in rows])
    assert transfer.cams_point(OPENMIC, [], tmp_path).verdict == "undecided: one seed"
    assert transfer.resnet_maps_better(OPENMIC, [], tmp_path).verdict == "undecided: one seed"


def test_one_seed_settles_nothing_that_rests_on_training(tmp_path: Path) -> None:
    found = write_trials(
        tmp_path / "full", OPENMIC, arms=["vggish_full"], conditions=["paper"], skills={"vggish_full": 1.0},
        sizes=(60, 300), **AS_PUBLISHED,
    )  # fmt: skip
    assert transfer.below_state_of_the_art(OPENMIC, found, tmp_path).verdict == "undecided: one seed"
    skills = {arm.name: 0.1 + 0.12 * n for n, arm in enumerate(sorted(OPENMIC.arms, key=lambda a: a.parameters))}
    found = write_trials(tmp_path / "all", OPENMIC, conditions=["paper"], skills=skills, sizes=(20, 200))
    assert transfer.size_explains(OPENMIC, found, tmp_path).verdict == "undecided: one seed"


# Objectives


def differences(
    generator: np.random.Generator, *, spread: float = 0.0, seeds: int = 3, of_seeds: float = 1.0, of_clips: float = 1.0
) -> list[Replicates]:
    """Differences of 20 classes around 1: what seeds make of them, of all classes too, and what clips do."""
    truth = generator.normal(size=20)
    truth = 1 + spread * (truth - truth.mean()) / truth.std(ddof=1)
    clips = of_clips * generator.normal(size=(20, 1, 101))
    own = 0.5 * generator.normal(size=(20, seeds, 101))
    shift = of_seeds * (generator.normal(size=(20, seeds)) + generator.normal(size=seeds))
    sample = (truth[:, None] + shift)[..., None] + clips + own
    return [Replicates(s[:, 0], s[:, :1] + d[:, 1:]) for s, d in zip(sample, clips + own, strict=True)]


@pytest.mark.parametrize(("of_seeds", "of_clips"), [(1.0, 1.0), (2.0, 0.3), (0.3, 1.0)])
def test_even_differences_seem_uneven_in_one_case_of_twenty(of_seeds: float, of_clips: float) -> None:
    generator = np.random.default_rng(1)
    drawn = (differences(generator, of_seeds=of_seeds, of_clips=of_clips) for _ in range(300))
    assert 0.02 <= np.mean([attention._unevenness(gains, 1.0)[0] < 0.05 for gains in drawn]) <= 0.08


def test_uneven_differences_are_found_and_even_ones_shown_to_be() -> None:
    generator = np.random.default_rng(2)
    found = np.array([attention._unevenness(differences(generator, spread=2.0), 1.0)[:2] for _ in range(60)])
    assert np.mean(found[:, 0] < 0.05) > 0.9
    at_margin = [attention._unevenness(differences(generator, spread=2.0), 2.0)[1] for _ in range(300)]
    assert np.mean(np.array(at_margin) < 0.05) < 0.08
    even = [attention._unevenness(differences(generator), 2.0)[1] for _ in range(60)]
    assert np.mean(np.array(even) < 0.05) > 0.9
    still = [Replicates(np.ones(3), np.ones((3, 10)))] * 4
    assert attention._unevenness(still, 1.0) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(("uneven", "verdict"), [(True, "holds"), (False, "undecided")])
def test_objectives_that_differ_by_instrument_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uneven: bool, verdict: str
) -> None:
    half = np.arange(len(CLASSES)) % 2 == 0
    skills = {
        "textual": np.where(half, 0.5, 0.05) if uneven else np.full(len(CLASSES), 0.3),
        "den_add": np.where(half, 0.05, 0.5) if uneven else np.full(len(CLASSES), 0.3),
        "den_mul": np.full(len(CLASSES), 0.3),
    }
    found = write_trials(
        tmp_path, ATTENTION, arms=list(skills), conditions=["paper"], skills=skills, seeds=3, sizes=(20, 200)
    )
    judged = attention.objectives_differ_by_class(ATTENTION, found, tmp_path, replicates=200)
    assert judged.verdict == verdict
    lacking = [r for r in found if r.arm != "den_mul"]
    judged = attention.objectives_differ_by_class(ATTENTION, lacking, tmp_path, replicates=20)
    assert judged.verdict.startswith("not judged")
    monkeypatch.setattr(attention, "MARGIN", 0.5)
    judged = attention.objectives_differ_by_class(ATTENTION, found, tmp_path, replicates=50)
    assert judged.verdict == ("holds" if uneven else "does not hold")
    one = attention.objectives_differ_by_class(ATTENTION, [r for r in found if r.seed == 0], tmp_path, replicates=50)
    assert one.verdict == "undecided: one seed"
