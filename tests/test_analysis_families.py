"""Differences that are decided together."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from worlds import equal_arms

from harness.analysis.families import Family, SeedModel, difference, letters, scales_of
from harness.analysis.scoring import Case, measure

METRIC = "f1_micro_unmasked"


def family(cases, arms, seeds, replicates=200):
    """All pairs of arms by one score."""
    classes = [str(k) for k in range(cases[0].labels.shape[1])]
    scores = measure(
        cases, task="multilabel", metrics=[METRIC], classes=classes, replicates=replicates, per_class=False
    )
    trials = {a: [a * seeds + s for s in range(seeds)] for a in range(arms)}
    plain = {a: {s: scores.found.plain[t] for s, t in enumerate(of)} for a, of in trials.items()}
    model = SeedModel(plain, {a: scales_of(scores, of) for a, of in trials.items()}, blocks=dict.fromkeys(trials, 0))
    drawn = {a: model.draws(a, 0, a, replicates) / np.sqrt(seeds) for a in trials}
    members = []
    for a, b in combinations(range(arms), 2):
        spreads = [(model.spreads[x].variance[0] / seeds, model.spreads[x].degrees[0]) for x in (a, b)]
        sides = [scores.found.of(trials[x]) for x in (a, b)]
        members.append(difference(*sides, spreads, drawn[a] - drawn[b], metric=METRIC, count=int(scores.counts[0, 0])))
    return Family(members)


@pytest.mark.parametrize(("seeds", "effect"), [(3, 0.0), (3, 0.4), (2, 0.15)])
def test_a_page_of_equal_arms_decides_hardly_anything(seeds, effect):
    runs, wrong = 50, 0
    for run in range(runs):
        cases = equal_arms(np.random.default_rng([5, run]), 8, seeds, clips=60, effect=effect, classes=6)
        wrong += (family(cases, 8, seeds).table()["decided"] != "").any()
    # Five per cent are promised; more than this happens to a page that keeps it once in a thousand times.
    assert wrong <= 8


def better(generator, gain, seeds=3, arms=4, clips=150):
    """Arms of which the first is better."""
    labels = generator.random((clips, 6)) < 0.3
    common = generator.standard_normal((clips, 6)) - 1
    cases = []
    for arm in range(arms):
        for _ in range(seeds):
            logits = common + (1.5 + gain * (arm == 0)) * labels + 0.4 * generator.standard_normal((clips, 6))
            cases.append(Case(labels, expit(2 * logits), np.ones_like(labels), np.arange(clips)))
    return cases


def test_an_arm_that_is_better_is_found():
    found = family(better(np.random.default_rng(0), 1.0), 4, 3).table()
    assert found["decided"].tolist() == ["above"] * 3 + [""] * 3


@pytest.mark.parametrize("gain", [0.0, 0.3, 0.6])
def test_interval_p_and_decision_never_contradict(gain):
    found = family(better(np.random.default_rng(1), gain), 4, 3).table()
    decided = found["decided"] != ""
    assert ((found["p_adjusted"] <= 0.05) == decided).all()
    assert (((found["low_adjusted"] > 0) | (found["high_adjusted"] < 0)) == decided).all()
    # Adjusting never makes anything more certain.
    assert (found["p_adjusted"] >= found["p"] - 0.01).all()
    assert (found["low_adjusted"] <= found["low"] + 1e-9).all()


def test_three_scores_of_one_difference_cost_less_than_three_differences():
    cases = equal_arms(np.random.default_rng(2), 4, 3, clips=80, effect=0.15, classes=6)
    one = family(cases, 4, 3)
    thrice = Family(one.members * 3)
    assert thrice.critical(0.95) == pytest.approx(one.critical(0.95))


def test_one_seed_is_decided_over_clips_alone_only_where_that_is_asked_for():
    cases = better(np.random.default_rng(3), 1.5, seeds=1)
    members = family(cases, 4, 1).members
    assert (Family(members).table()["decided"] != "").any()
    silent = Family(members, one_run=False).table()
    assert (silent["decided"] == "").all()
    assert silent["p_adjusted"].isna().all()
    assert "over clips alone" in silent["note"][0]


def test_seeds_that_move_all_arms_alike_are_taken_out_of_paired_differences():
    generator = np.random.default_rng(4)
    shared = generator.normal(0, 1.0, 3)
    plain = {arm: {s: np.array([shared[s] + 0.01 * generator.normal()]) for s in range(3)} for arm in "abcd"}
    scales = {arm: np.ones(1) for arm in "abcd"}
    paired = SeedModel(plain, scales, blocks=dict.fromkeys("abcd", 0))
    alone = SeedModel(plain, scales)
    assert paired.spreads["a"].variance[0] < 1e-3 < alone.spreads["a"].variance[0]
    assert paired.degrees == 6
    assert alone.degrees == 8


@given(st.integers(2, 9), st.integers(0, 10**6))
def test_letters_differ_exactly_where_a_pair_is_decided(count, seed):
    names = [f"arm {k}" for k in range(count)]
    generator = np.random.default_rng(seed)
    differ = {frozenset(pair): bool(generator.random() < 0.5) for pair in combinations(names, 2)}
    shown = letters(names, differ)
    for pair, decided in differ.items():
        one, other = (set(shown[name]) for name in pair)
        assert decided == one.isdisjoint(other)
