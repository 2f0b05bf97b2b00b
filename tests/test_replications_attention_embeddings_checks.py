"""The attention study's check, on planted trials that it must accept, refuse, or not judge."""

from pathlib import Path

import numpy as np
import pytest
from helpers import CLASSES, write_trials

from harness.analysis.resampling import Resampled
from harness.analysis.study import Analysis
from harness.studies import study as studies
from harness.studies.claims import Finding
from harness.studies.records import Record
from replications.attention_embeddings import checks

STUDY = studies.load("attention_embeddings")
HALF = np.arange(len(CLASSES)) % 2 == 0


def differences(
    generator: np.random.Generator, *, spread: float = 0.0, seeds: int = 3, of_seeds: float = 1.0, of_clips: float = 1.0
) -> Resampled:
    """Differences of 20 classes around 1: what seeds make of them, of all classes too, and what clips do."""
    truth = generator.normal(size=20)
    truth = 1 + spread * (truth - truth.mean()) / truth.std(ddof=1)
    shift = of_seeds * (generator.normal(size=(seeds, 20)) + generator.normal(size=(seeds, 1)))

    def clips(count: int) -> np.ndarray:
        """What all seeds share, and what is each one's own."""
        return of_clips * generator.normal(size=(1, count, 20)) + 0.5 * generator.normal(size=(seeds, count, 20))

    plain = truth + shift + clips(1)[:, 0]
    left_out = clips(100) / np.sqrt(99)
    return Resampled(plain, plain[:, None] + clips(100), plain[:, None] + left_out, 200)


@pytest.mark.parametrize(("of_seeds", "of_clips"), [(1.0, 1.0), (2.0, 0.3), (0.3, 1.0)])
def test_even_differences_seem_uneven_in_one_case_of_twenty_at_most(of_seeds: float, of_clips: float) -> None:
    generator = np.random.default_rng(1)
    drawn = (differences(generator, of_seeds=of_seeds, of_clips=of_clips) for _ in range(300))
    assert 0.005 <= np.mean([checks._unevenness(gains, 1.0)[0] < 0.05 for gains in drawn]) <= 0.08


def test_uneven_differences_are_found_and_even_ones_shown_to_be() -> None:
    generator = np.random.default_rng(2)
    found = np.array([checks._unevenness(differences(generator, spread=2.0), 1.0)[0] for _ in range(60)])
    assert np.mean(found < 0.05) > 0.9
    at_margin = np.array([checks._unevenness(differences(generator, spread=2.0), 2.0)[1] for _ in range(300)])
    assert np.mean(at_margin < 0.05) < 0.08
    even = np.array([checks._unevenness(differences(generator), 2.0)[1] for _ in range(60)])
    assert np.mean(even < 0.05) > 0.9
    still = Resampled(np.ones((3, 4)), np.ones((3, 10, 4)), np.ones((3, 5, 4)), 20)
    assert checks._unevenness(still, 1.0) == (1.0, 1.0, 0.0)


def judged(records: list[Record]) -> Finding:
    return checks.objectives_differ_by_class(Analysis(STUDY, records, replicates=200), level=0.95)


@pytest.mark.parametrize(("uneven", "verdict"), [(True, "holds"), (False, "undecided")])
def test_objectives_that_differ_by_instrument_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uneven: bool, verdict: str
) -> None:
    skills = dict.fromkeys(checks.OBJECTIVES, np.full(len(CLASSES), 0.3))
    if uneven:
        skills |= {"textual": np.where(HALF, 0.5, 0.05), "den_add": np.where(HALF, 0.05, 0.5)}
    found = write_trials(
        tmp_path, STUDY, arms=list(skills), conditions=["paper"], skills=skills, seeds=3, sizes=(40, 220)
    )
    finding = judged(found)
    assert finding.verdict == verdict
    assert finding.evidence.endswith("of one pre-training per objective")
    assert judged([r for r in found if r.arm != "den_mul"]).verdict == "not judged: no record of den_mul"
    assert judged([r for r in found if r.seed == 0]).verdict == "undecided: one seed"
    apart = [r for r in found if (r.seed == 0) == (r.arm == "textual")]
    assert judged(apart).verdict.startswith("not judged: textual and den_add share no seed")
    monkeypatch.setattr(checks, "MARGIN", 0.5)
    assert judged(found).verdict == ("holds" if uneven else "does not hold")


def test_objectives_at_chance_are_no_evidence(tmp_path: Path) -> None:
    skills = dict.fromkeys(checks.OBJECTIVES, 0.0)
    found = write_trials(
        tmp_path, STUDY, arms=list(skills), conditions=["paper"], skills=skills, seeds=3, sizes=(40, 200)
    )
    assert judged(found).verdict == "not applicable: none of the three is above chance"
