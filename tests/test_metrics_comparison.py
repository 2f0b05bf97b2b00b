"""Two arms and many: against scipy, by hand, and by how often equal arms are told apart."""

import warnings
from itertools import chain, combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.metrics import comparison, multiclass, multilabel
from harness.metrics.comparison import compare, detectable, holm, letters, rank, tie_groups, told_apart
from harness.metrics.seeds import Replicates, Trial


def one_class(right: np.ndarray, units: np.ndarray | None = None) -> Trial:
    """Predictions of one of two classes that are right where told."""
    labels = np.tile([True, False], (len(right), 1))
    return Trial(labels, np.where(right[:, None], [0.9, 0.1], [0.2, 0.8]), units=units)


def many_classes(clips: int, seed: int, skill: float = 0.2, units: np.ndarray | None = None) -> Trial:
    generator = np.random.default_rng(5)
    labels, mask = generator.random((clips, 3)) < 0.4, generator.random((clips, 3)) < 0.7
    probabilities = np.random.default_rng(seed).random((clips, 3)) * (1 - skill) + skill * labels
    return Trial(labels, probabilities, mask, units)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_exact_p_value_of_accuracy_is_that_of_flipped_signs(alternative: str) -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.random(11) < 0.4, generator.random(11) < 0.7
    found = compare(
        [one_class(ours)],
        [one_class(theirs)],
        "accuracy",
        alternative=alternative,
        permutations=3000,
        scoring=multiclass,
    )
    peer = stats.permutation_test(
        (ours * 1.0, theirs * 1.0), lambda x, y: (x - y).mean(), permutation_type="samples", alternative=alternative
    )
    assert len(found.null) == 2**11
    assert found.difference == pytest.approx(peer.statistic)
    assert found.p_value == pytest.approx(peer.pvalue, abs=1e-12)
    np.testing.assert_allclose(np.sort(found.null), np.sort(peer.null_distribution), atol=1e-12)


@pytest.mark.parametrize("metric", ["map_masked", "f1_macro_unmasked", "jaccard_micro_unmasked"])
def test_scores_that_are_no_means_swap_the_predictions_of_groups_and_seeds_together(metric: str) -> None:
    units = np.array(list("aabbccddee") * 4)
    ours = [many_classes(40, seed, 0.3, units) for seed in (1, 2)]
    theirs = [many_classes(40, seed, 0.1, units) for seed in (3, 4)]
    found = compare(ours, theirs, metric, permutations=32)
    expected = []
    for swap in product([False, True], repeat=5):
        swapped = np.isin(units, np.array(list("abcde"))[list(swap)])[:, None]
        differences = [
            multilabel.evaluate(one.labels, np.where(swapped, other.probabilities, one.probabilities), one.mask)[metric]
            - multilabel.evaluate(one.labels, np.where(swapped, one.probabilities, other.probabilities), one.mask)[
                metric
            ]
            for one, other in zip(ours, theirs, strict=True)
        ]
        expected.append(np.mean(differences))
    np.testing.assert_allclose(np.sort(found.null), np.sort(expected), atol=1e-12)
    assert found.difference == pytest.approx(expected[0])
    assert found.p_value == pytest.approx(np.mean(np.abs(expected) >= abs(expected[0]) - 1e-12))
    assert found.low <= found.difference <= found.high


def test_drawn_swaps_approach_the_exact_p_value_and_never_give_zero() -> None:
    generator = np.random.default_rng(4)
    ours, theirs = one_class(generator.random(12) < 0.5), one_class(generator.random(12) < 0.8)
    exact = compare([ours], [theirs], "accuracy", permutations=2**12, scoring=multiclass)
    drawn = compare([ours], [theirs], "accuracy", permutations=2**12 - 1, scoring=multiclass)
    assert drawn.p_value == pytest.approx(exact.p_value, abs=0.03)
    better, worse = one_class(np.ones(60, bool)), one_class(np.zeros(60, bool))
    assert compare([better], [worse], "accuracy", permutations=99, scoring=multiclass).p_value == 0.01


def test_the_number_of_swaps_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = [many_classes(30, 1)], [many_classes(30, 2)]
    whole = compare(ours, theirs, "map_masked", permutations=70)
    monkeypatch.setattr(comparison.uncertainty, "CHUNK", 60 * 9)
    np.testing.assert_array_equal(compare(ours, theirs, "map_masked", permutations=70).null, whole.null)


def test_the_same_predictions_are_no_difference() -> None:
    trial = many_classes(30, 1)
    found = compare([trial], [trial], "map_masked", alternative="less", permutations=50)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_an_undefined_score_has_no_p_value() -> None:
    trial = many_classes(12, 1)
    silent = Trial(trial.labels & False, trial.probabilities, trial.mask)
    found = compare([silent], [silent], "map_masked")
    assert (found.difference, found.low, found.p_value, len(found.null)) == (None, None, None, 0)


def test_a_single_seed_far_off_widens_the_interval_but_not_the_p_value() -> None:
    theirs = [many_classes(80, seed, 0.2) for seed in (1, 2, 3)]
    ours = [many_classes(80, seed, 0.5) for seed in (4, 5)]
    alike = compare([*ours, many_classes(80, 6, 0.5)], theirs, "map_masked", permutations=200)
    broken = compare([*ours, many_classes(80, 6, 0.0)], theirs, "map_masked", permutations=200)
    assert broken.high - broken.low > 2 * (alike.high - alike.low)
    assert alike.low > 0 > broken.low
    assert alike.p_value < broken.p_value < 0.05  # the networks as they are do differ


@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_equal_arms_are_seldom_rejected_and_a_detectable_drop_is_found_four_times_in_five(noise: float) -> None:
    generator, clips = np.random.default_rng(7), 120
    options = {"alternative": "less", "replicates": 10, "permutations": 200, "scoring": multiclass}

    def p_and_detectable(drop: float) -> tuple[float, float]:
        hard = generator.random(clips)  # clips that are hard for one arm are hard for the other
        ours, theirs = (hard + noise * generator.random(clips) < 0.8 for _ in range(2))
        ours &= generator.random(clips) >= drop / np.mean(ours)  # some that were right are not any more
        found = compare([one_class(ours)], [one_class(theirs)], "accuracy", **options)
        return found.p_value, detectable(found)

    equal = [p_and_detectable(0.0) for _ in range(300)]
    # Binomial: 300 tests at 5 % reject 15, and 2.5 standard deviations are 9; ties make the test reject less often.
    assert sum(p <= 0.05 for p, _ in equal) <= 24
    drop = float(np.mean([smallest for _, smallest in equal]))
    assert drop > 5 / clips  # four units that fall, and none that rises, still have a p value of 1/16
    found = np.mean([p_and_detectable(drop)[0] <= 0.05 for _ in range(200)])
    assert found == pytest.approx(0.8, abs=0.1)


def test_sides_that_do_not_belong_together_are_refused() -> None:
    trial = many_classes(10, 1)
    with pytest.raises(ValueError, match="as many seeds"):
        compare([trial, trial], [trial], "map_masked")
    for change in ({"labels": ~trial.labels}, {"mask": None}, {"units": np.arange(10)}):
        (name,) = change
        with pytest.raises(ValueError, match=f"the same {name} on both sides"):
            compare([trial], [Trial(**{**vars(trial), **change})], "map_masked")
    with pytest.raises(ValueError, match="no alternative 'lower'"):
        compare([trial], [trial], "map_masked", alternative="lower")


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, len(p_values) * np.array(p_values))).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_friedman_is_scipys_and_nemenyi_that_of_a_published_example() -> None:
    scores = np.random.default_rng(1).random((14, 4)) + np.array([0, 0.2, 0.4, 1.0])
    found = rank(scores, level=0.95, posthoc="nemenyi")
    assert found.p_value == stats.friedmanchisquare(*scores.T).pvalue
    # Demšar 2006, section 3.2.3: four algorithms on 14 data sets; at 10 % 1.12, at 5 % by the same formula 1.25.
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert rank(scores, level=0.9, posthoc="nemenyi").critical_difference == pytest.approx(1.12, abs=0.005)
    np.testing.assert_allclose(found.mean_ranks, stats.rankdata(-scores, axis=1).mean(axis=0))
    assert found.mean_ranks[3] < found.mean_ranks[0]
    assert found.different[0, 3]
    assert not found.different.diagonal().any()
    gaps = abs(found.mean_ranks[:, None] - found.mean_ranks)
    np.testing.assert_array_equal(found.different, gaps > found.critical_difference)


def test_few_blocks_settle_by_paired_tests_what_ranks_cannot() -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(0, 0.05, size=(4, 1)) + generator.normal(0, 0.012, size=(4, 3))
    scores += np.array([0.5, 0.505, 0.7])
    by_tests, by_ranks = rank(scores), rank(scores, posthoc="nemenyi")
    assert by_tests.different.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    assert not by_ranks.different[1, 2]
    pairs = [stats.ttest_rel(scores[:, i], scores[:, j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert (holm(pairs) <= 0.05).tolist() == [False, True, True]
    once = [[0.5, 0.6, 0.7], [0.4, 0.5, 0.6]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rank(np.array(once)).different[0, 2]  # always by as much: no spread at all


def test_losses_rank_the_other_way_and_equal_arms_share_a_rank() -> None:
    scores = np.array([[0.1, 0.2, 0.2], [0.1, 0.3, 0.3], [0.2, 0.4, 0.4]])
    assert rank(scores).mean_ranks.tolist() == [3, 1.5, 1.5]
    assert rank(scores, lower_is_better=True).mean_ranks.tolist() == [1, 2.5, 2.5]
    assert not rank(scores).different[1, 2]
    alike = rank(np.ones((3, 3)))
    assert alike.p_value == 1
    assert not alike.different.any()


@pytest.mark.parametrize(
    ("scores", "posthoc", "message"),
    [
        (np.ones((1, 3)), "holm", "at least 2 blocks of at least 3 arms"),
        (np.ones((5, 2)), "holm", "at least 2 blocks of at least 3 arms"),
        (np.full((3, 3), np.nan), "holm", "undefined"),
        (np.ones((3, 3)), "tukey", "no procedure 'tukey'"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores: np.ndarray, posthoc: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank(scores, posthoc=posthoc)


def arms(generator: np.random.Generator, means: list[float], seeds: int = 3, draws: int = 200) -> list[Replicates]:
    """Arms whose seeds vary, on clips whose error they share but for a part of each seed's own."""
    shared, own = generator.normal(0, 0.01, size=draws + 1), 0.005
    made = []
    for mean in means:
        values = mean + generator.normal(0, 0.02, size=(seeds, 1)) + generator.normal(0, own, size=(seeds, draws + 1))
        made.append(Replicates((values + shared)[:, 0], values + shared))
    return made


def test_equal_arms_are_seldom_told_apart_and_different_ones_often() -> None:
    generator = np.random.default_rng(6)
    wrong = [told_apart(arms(generator, [0.5] * 4, seeds=seeds)).any() for seeds in (3, 5) for _ in range(300)]
    assert np.mean(wrong) <= 0.05 + 3 * 0.009
    right = [told_apart(arms(generator, [0.5, 0.5, 0.7], seeds=5)) for _ in range(60)]
    assert np.mean([found[0, 2] and found[1, 2] for found in right]) > 0.9
    assert np.mean([found[0, 1] for found in right]) < 0.15


def test_arms_without_a_score_or_with_the_same_one_are_not_told_apart() -> None:
    one, other = arms(np.random.default_rng(2), [0.2, 0.8], seeds=1)
    undefined = Replicates(np.array([np.nan]), np.full((1, 201), np.nan))
    found = told_apart([one, one, other, undefined])
    assert found.tolist() == [
        [False, False, True, False],
        [False, False, True, False],
        [True, True, False, False],
        [False, False, False, False],
    ]


@st.composite
def differences(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 6))
    upper = np.triu(np.array(draw(st.lists(st.booleans(), min_size=size**2, max_size=size**2))).reshape(size, size), 1)
    return upper | upper.T


@given(differences())
def test_tie_groups_are_the_largest_without_a_difference(different: np.ndarray) -> None:
    size = len(different)
    names = [f"arm {number}" for number in range(size)]
    subsets = chain.from_iterable(combinations(range(size), length) for length in range(1, size + 1))
    tied = [set(subset) for subset in subsets if not any(different[i, j] for i, j in combinations(subset, 2))]
    expected = [subset for subset in tied if not any(subset < other for other in tied)]
    found = tie_groups(names, different)
    assert {tuple(group) for group in found} == {tuple(names[i] for i in sorted(subset)) for subset in expected}
    assert found == sorted(found)
    marks = letters(names, different)
    for i, j in combinations(range(size), 2):
        assert bool(set(marks[names[i]]) & set(marks[names[j]])) != different[i, j]


def test_letters_of_a_ranked_table() -> None:
    different = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]], dtype=bool)
    assert letters(["w", "x", "y", "z"], different) == {"w": "a", "x": "ab", "y": "b", "z": "c"}
