"""What the thesis says in words: each check on planted trials that it must accept, refuse, or leave open."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_trials

from harness.analysis.study import Analysis
from harness.analysis.verdicts import verdicts
from harness.storage import write_text
from harness.studies import study as studies
from harness.studies.claims import Finding
from harness.studies.records import Record
from replications.single_notes import checks

NOTES = studies.load("single_notes")
Write = Callable[..., list[Record]]


@pytest.fixture
def set_ups(tmp_path: Path) -> Write:
    def write(skills: dict[str, float], condition: str = "paper", **how: Any) -> list[Record]:
        folder = tmp_path / f"runs-{len(list(tmp_path.iterdir()))}"
        how = {"corpus": "pocket-notes", "seeds": 4, "sizes": (20, 200), **how}
        return write_trials(
            folder, NOTES, arms=list(skills), conditions=[condition], classes="abcdefg", skills=skills, **how
        )

    return write


def judge(check: Callable[..., Finding], records: list[Record]) -> Finding:
    analysis = Analysis(NOTES, records, replicates=200)
    return check(analysis, level=analysis.check_level)


def test_every_set_up_must_be_above_chance(set_ups: Write) -> None:
    able = dict.fromkeys(checks.SET_UPS, 0.2)
    assert judge(checks.adaptable, set_ups(able)).verdict == "holds"
    guessing = judge(checks.adaptable, set_ups(able | {"setup_3": 0.0}))
    assert (guessing.verdict, "setup_3" in guessing.evidence) == ("undecided", True)
    worse = judge(checks.adaptable, set_ups(able | {"setup_2": -0.2, "setup_3": 0.0}))
    assert (worse.verdict, "setup_2" in worse.evidence) == ("does not hold", True)
    assert judge(checks.adaptable, set_ups(able, seeds=1)).verdict == "undecided: one seed"
    assert judge(checks.adaptable, set_ups({"setup_1": 0.3})).verdict == "not judged: no record of setup_2"


def test_four_set_ups_that_guess_are_seldom_decided(set_ups: Write) -> None:
    guessing = set_ups(dict.fromkeys(checks.SET_UPS, 0.0), seeds=30)
    words = [
        judge(checks.adaptable, [r for r in guessing if r.seed // 3 == number]).verdict.partition(":")[0]
        for number in range(10)
    ]
    assert words.count("undecided") >= 9


@pytest.mark.parametrize(("untrained", "verdict"), [(0.0, "holds"), (0.2, "undecided"), (0.4, "does not hold")])
def test_transfer_is_judged_against_a_base_without_it(set_ups: Write, untrained: float, verdict: str) -> None:
    here = set_ups({"setup_4": 0.2}, weights="published")
    assert judge(checks.transfer_helps, here).verdict == "not judged: no record of setup_4 under 'random weights'"
    both = [*here, *set_ups({"setup_4": untrained}, "random-weights")]
    found = judge(checks.transfer_helps, both)
    assert found.verdict == verdict
    analysis = Analysis(NOTES, both, replicates=200)
    row = analysis.contrasts[analysis.contrasts["above"] == "setup_4@random-weights"].iloc[0]
    assert (found.value, found.low, found.high) == (-row["difference"], -row["high_adjusted"], -row["low_adjusted"])
    one = judge(checks.transfer_helps, [r for r in both if r.seed == 0])
    assert one.verdict == "undecided: one seed"


def test_claims_on_pretraining_need_it(set_ups: Write) -> None:
    """The references, which no pre-training is asked of, do not stand in the way."""
    for weights, words in (("published", ("holds", "holds")), ("random", ("not applicable", "not applicable"))):
        records = set_ups(dict.fromkeys(checks.SET_UPS, 0.3), weights=weights)
        records += set_ups({"svm_mfcc": 0.3}, weights="none")
        records += set_ups({"setup_4": 0.0}, "random-weights")
        frame = verdicts(Analysis(NOTES, records, replicates=200)).set_index("claim")["verdict"]
        about = [c["text"] for c in NOTES.claims if c.get("about_pretraining")]
        assert tuple(frame[about]) == words


@pytest.mark.parametrize(
    ("high", "low", "verdict"),
    [
        (0.05, 0.3, "holds"),
        (0.9, 0.3, "holds"),  # for the better, too
        (None, 0.3, "not judged: no record of setup_4 under 'rate 0.1'"),
        (0.27, 0.3, "undecided"),
    ],
)
def test_a_rate_matters_if_either_does(set_ups: Write, high: float | None, low: float, verdict: str) -> None:
    found = set_ups({"setup_4": 0.3}) + set_ups({"setup_4": low}, "low-rate")
    found += set_ups({"setup_4": high}, "high-rate") if high is not None else []
    assert judge(checks.rate_matters, found).verdict == verdict


def test_a_rate_that_changes_little_does_not_matter(set_ups: Write) -> None:
    found = [r for name in ("paper", "low-rate", "high-rate") for r in set_ups({"setup_4": 0.9}, name, sizes=(20, 400))]
    assert judge(checks.rate_matters, found).verdict == "does not hold"
    assert judge(checks.rate_matters, [r for r in found if r.seed == 0]).verdict == "undecided: one seed"


@pytest.mark.parametrize(("late", "verdict"), [(0.1, "holds"), (-0.1, "does not hold"), (0.0, "undecided")])
def test_who_stagnates_gains_less_in_the_end(set_ups: Write, late: float, verdict: str) -> None:
    found = set_ups({"setup_1": 0.3, "setup_4": 0.3})
    assert judge(checks.stagnates, found).verdict == "not judged: no seed was trained beyond epoch 30"
    epochs = np.arange(1, 51)
    for r in found:
        gain = late * (epochs > 40) if r.arm == "setup_4" else 0.0
        accuracy = 0.5 + gain + 0.01 * np.random.default_rng([r.seed, r.arm == "setup_4"]).normal(size=50)
        lines = [json.dumps({"epoch": int(e), "accuracy": float(a)}) for e, a in zip(epochs, accuracy, strict=True)]
        write_text(r.folder / "history.jsonl", "\n".join(lines) + "\n")
    judged = judge(checks.stagnates, found)
    assert (judged.verdict, judged.value) == (verdict, pytest.approx(late, abs=0.02))
    assert judge(checks.stagnates, [r for r in found if r.seed == 1]).verdict == "undecided: one seed"
