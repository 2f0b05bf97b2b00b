"""Seeds and clips together: coverage on synthetic truth, known variances, draws that trials share."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from harness.metrics import multiclass, uncertainty
from harness.metrics.seeds import Replicates, Trial, distributions, joint, probability

CLIPS, DRAWS = 100, 500
TRUTH = 0.5


def shared_part(generator: np.random.Generator, seeds: int, spread: tuple[float, float, float]) -> tuple:
    """Contribution of each clip for each seed, around the truth: seeds, clips and their interplay all vary."""
    of_seeds, of_clips, own = spread
    values = TRUTH + of_seeds * generator.normal(size=(seeds, 1)) + of_clips * generator.normal(size=(1, CLIPS))
    return values + own * generator.normal(size=(seeds, CLIPS)), np.ones((seeds, CLIPS))


def own_parts(generator: np.random.Generator, seeds: int, spread: tuple[float, float, float]) -> tuple:
    """The same with a test part of its own for each seed: four clips in ten out of one pool."""
    values, counted = shared_part(generator, seeds, spread)
    for row in counted:
        row[generator.permutation(CLIPS)[: 6 * CLIPS // 10]] = 0
    return values, counted


def experiments(part: Callable, seeds: int, spread: tuple[float, float, float], count: int) -> list[Replicates]:
    generator = np.random.default_rng(1)
    weights = np.concatenate(list(uncertainty.resample(CLIPS, DRAWS, seed=0)))
    found = []
    for _ in range(count):
        values, counted = part(generator, seeds, spread)
        drawn = (values * counted) @ weights.T / (counted @ weights.T)
        found.append(Replicates((values * counted).sum(axis=1) / counted.sum(axis=1), drawn))
    return found


def coverage(made: list[Replicates], resampled: Callable[[Replicates], np.ndarray]) -> float:
    """How often the 95 % interval holds the truth."""
    no_bounds = (-np.inf, np.inf)
    held = 0
    for number, one in enumerate(made):
        low, high = uncertainty.interval(one.score, resampled(one, seed=number), bounds=no_bounds)
        held += low <= TRUTH <= high
    return held / len(made)


def nested(one: Replicates, *, seed: int) -> np.ndarray:
    """What does not do: seeds drawn with replacement, as clips are."""
    chosen = np.random.default_rng(seed).integers(one.seeds, size=(one.seeds, DRAWS))
    return np.take_along_axis(one.drawn, chosen, axis=0).mean(axis=0)


def clips_only(one: Replicates, *, seed: int) -> np.ndarray:
    return one.drawn.mean(axis=0)


# Standard deviations of seeds, clips (of one: a tenth remains of a hundred) and of what is a seed's own in each clip.
@pytest.mark.parametrize(
    ("part", "seeds", "spread"),
    [
        (shared_part, 3, (0.05, 0.2, 0.1)),  # seeds matter more than clips
        (shared_part, 3, (0.02, 0.2, 0.1)),  # alike
        (shared_part, 3, (0.005, 0.2, 0.2)),  # clips matter more
        (shared_part, 5, (0.05, 0.2, 0.1)),
        (shared_part, 5, (0.01, 0.2, 0.2)),
        (own_parts, 5, (0.02, 0.2, 0.1)),
    ],
)
def test_intervals_called_95_percent_hold_the_truth_93_to_97_percent_of_the_time(
    part: Callable, seeds: int, spread: tuple[float, float, float]
) -> None:
    # 2,000 experiments: the share that holds it is known to 0.49 points (one binomial standard deviation at 95 %).
    assert 0.93 <= coverage(experiments(part, seeds, spread, 2000), joint) <= 0.97


def test_seeds_drawn_with_replacement_or_not_at_all_cover_too_little() -> None:
    made = experiments(shared_part, 3, (0.05, 0.2, 0.1), 600)
    assert coverage(made, nested) < 0.9
    assert coverage(made, clips_only) < 0.75


def test_two_seeds_cover_nine_times_in_ten_at_least() -> None:
    for spread in ((0.05, 0.2, 0.1), (0.1, 0.2, 0.1)):
        assert coverage(experiments(shared_part, 2, spread, 600), joint) > 0.9 - 3 * 0.0122


@pytest.mark.parametrize("part", [shared_part, own_parts])
def test_variances_are_those_that_made_the_scores(part: Callable) -> None:
    made = experiments(part, 4, (0.03, 0.2, 0.3), 1500)
    scores = np.array([one.score for one in made])
    estimated = np.mean([one.variance()[0] for one in made])
    assert estimated == pytest.approx(scores.var(), rel=0.1)
    if part is shared_part:
        assert np.mean([one.clip_variance for one in made]) == pytest.approx(0.2**2 / CLIPS, rel=0.1)
        assert np.mean([one.seed_variance for one in made]) == pytest.approx(0.03**2 + 0.3**2 / CLIPS, rel=0.1)


def test_where_seeds_make_all_of_the_error_it_is_students_t() -> None:
    scores = np.array([0.5, 0.53, 0.58])
    one = Replicates(scores, np.repeat(scores[:, None], 1000, axis=1))
    assert (one.clip_variance, one.variance()[1]) == (0, 2)
    for level in (0.5, 0.9, 0.95):
        ends = uncertainty.interval(one.score, joint(one), level, bounds=(-9, 9))
        expected = stats.t.interval(level, 2, scores.mean(), stats.sem(scores))
        np.testing.assert_allclose(ends, expected, atol=0.02 * np.ptp(expected))


def test_where_seeds_do_not_vary_it_is_the_clips() -> None:
    drawn = np.random.default_rng(0).normal(0.5, 0.02, size=700)
    drawn[5] = np.nan
    for seeds in (1, 4):
        one = Replicates(np.full(seeds, 0.51), np.tile(drawn, (seeds, 1)))
        values = joint(one)
        np.testing.assert_allclose(values, drawn[~np.isnan(drawn)], atol=1e-12)
        assert one.variance() == (pytest.approx(np.nanvar(drawn, ddof=1)), np.inf)


def test_the_bias_of_resampled_clips_is_kept() -> None:
    generator = np.random.default_rng(2)
    drawn = generator.normal(0.55, 0.02, size=(3, 2000))  # the scores are 0.5: resampled clips flatter by 0.05
    one = Replicates(np.array([0.49, 0.5, 0.51]), drawn)
    assert np.median(joint(one)) == pytest.approx(0.55, abs=0.002)


def test_joint_is_seeded_and_undefined_where_a_seed_is() -> None:
    one = experiments(shared_part, 3, (0.05, 0.2, 0.1), 1)[0]
    np.testing.assert_array_equal(joint(one, seed=4), joint(one, seed=4))
    assert not np.array_equal(joint(one, seed=4), joint(one, seed=5))
    broken = Replicates(np.array([np.nan, *one.scores[1:]]), one.drawn)
    assert uncertainty.interval(broken.score, joint(broken)) is None
    never = Replicates(one.scores, np.full((3, 10), np.nan))
    assert uncertainty.interval(never.score, joint(never)) is None


def trials(seeds: int, clips: int, *, units: bool, task: str = "multilabel") -> list[Trial]:
    generator = np.random.default_rng(8)
    labels = generator.random((clips, 4)) < 0.4
    if task == "multiclass":
        labels = np.eye(4, dtype=bool)[generator.integers(4, size=clips)]
    mask = np.ones_like(labels) if task == "multiclass" else generator.random((clips, 4)) < 0.5
    names = np.array([f"artist {number}" for number in generator.integers(clips // 3, size=clips)]) if units else None
    made = []
    for _ in range(seeds):
        probabilities = np.clip(generator.random((clips, 4)) * 0.8 + 0.2 * labels, 0, 1)
        if task == "multiclass":
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        made.append(Trial(labels, probabilities, mask, names))
    return made


@pytest.mark.parametrize("units", [False, True])
def test_trials_of_one_test_part_draw_what_each_would_alone(units: bool) -> None:
    of_seeds = trials(2, 50, units=units)
    found = distributions(of_seeds, replicates=60, seed=3)
    for number, trial in enumerate(of_seeds):
        case = (trial.labels, trial.probabilities, trial.mask)
        alone = uncertainty.distribution(*case, replicates=60, seed=3, groups=trial.units)
        for metric, values in alone.items():
            np.testing.assert_allclose(found[metric].drawn[number], values, atol=1e-12)


def test_parts_that_overlap_share_the_draws_of_their_units() -> None:
    (trial,) = trials(1, 60, units=False, task="multiclass")
    names = np.array([f"clip {number:02}" for number in range(60)])
    rows = [np.arange(0, 40), np.arange(20, 60)]
    parts = [Trial(trial.labels[r], trial.probabilities[r], units=names[r]) for r in rows]
    found = distributions(parts, metrics=["accuracy"], replicates=80, scoring=multiclass)["accuracy"]
    weights = np.concatenate(list(uncertainty.resample(60, 80, 0)))
    right = (trial.labels & (trial.probabilities == trial.probabilities.max(axis=1, keepdims=True))).any(axis=1)
    for number, row in enumerate(rows):
        expected = weights[:, row] @ right[row] / weights[:, row].sum(axis=1)
        np.testing.assert_allclose(found.drawn[number], expected, atol=1e-12)
        assert found.scores[number] == pytest.approx(right[row].mean())
    assert found.clip_variance > 0


def test_the_number_of_draws_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    of_seeds = trials(2, 30, units=True)
    whole = distributions(of_seeds, metrics=["map_masked"], replicates=50)["map_masked"]
    monkeypatch.setattr(uncertainty, "CHUNK", 70)
    np.testing.assert_array_equal(
        distributions(of_seeds, metrics=["map_masked"], replicates=50)["map_masked"].drawn, whole.drawn
    )


def test_difference_goes_seed_by_seed() -> None:
    one, other = experiments(shared_part, 3, (0.05, 0.2, 0.1), 2)
    both = one - other
    np.testing.assert_array_equal(both.drawn, one.drawn - other.drawn)
    assert both.score == pytest.approx(one.score - other.score)
    with pytest.raises(ValueError, match="same seeds and draws"):
        one - Replicates(one.scores[:2], one.drawn[:2])


def test_probability_turns_the_replicates_as_the_basic_interval_does() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, np.nan])
    assert probability(0.2, values) == pytest.approx((3 + 0.5) / 4)  # turned: 0.3, 0.2, 0.1, 0
    assert probability(0.2, values, bound=0.15) == 0.5
    assert np.isnan(probability(np.nan, np.array([np.nan])))
    low, high = uncertainty.interval(0.2, values, 0.5, bounds=(-1, 1))
    assert probability(0.2, values, low) >= 0.75
    assert probability(0.2, values, high) <= 0.25


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="one score and one row per seed"):
        Replicates(np.zeros(2), np.zeros((3, 5)))
    with pytest.raises(ValueError, match="nothing to resample: 0 trials"):
        distributions([])
