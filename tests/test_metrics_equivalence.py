"""Two one-sided tests: against scipy's t tests, their rate of errors, and how many seeds would settle it."""

import numpy as np
import pytest
from scipy import stats

from harness.metrics.equivalence import INCONCLUSIVE, NOT_REPLICATED, REPLICATED, equivalence, seeds_needed
from harness.metrics.seeds import Replicates, joint


def of_seeds(scores: np.ndarray, *, clip_error: float = 0.0, draws: int = 1000) -> Replicates:
    """Scores of seeds whose clips all have the same error."""
    shared = clip_error * np.random.default_rng(0).normal(size=draws)
    return Replicates(np.asarray(scores), np.asarray(scores)[:, None] + shared)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.56, 0.64, REPLICATED),
        (0.54, 0.64, INCONCLUSIVE),
        (0.58, 0.66, INCONCLUSIVE),
        (0.50, 0.70, INCONCLUSIVE),
        (0.66, 0.70, NOT_REPLICATED),
        (0.40, 0.54, NOT_REPLICATED),
    ],
)
def test_verdict_by_where_the_interval_lies(low: float, high: float, verdict: str) -> None:
    middle, half = (low + high) / 2, (high - low) / 2
    found = equivalence(middle, middle + half * np.linspace(-1, 1, 2001) / 0.9, 0.6, 0.05)  # its middle 90 %
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert found.verdict == verdict


def test_replicated_where_scipy_rejects_both_sides() -> None:
    generator, agreed, verdicts = np.random.default_rng(1), 0, []
    for _ in range(300):
        scores = generator.normal(0.6 + generator.choice([0, 0.05, 0.12]), 0.015, size=4)
        above = stats.ttest_1samp(scores, 0.55, alternative="greater").pvalue
        below = stats.ttest_1samp(scores, 0.65, alternative="less").pvalue
        found = equivalence(scores.mean(), joint(of_seeds(scores)), 0.6, 0.05).verdict
        agreed += (found == REPLICATED) == (max(above, below) < 0.05)
        verdicts.append(found)
    assert agreed >= 297  # resampled ends are as fine as their number
    assert set(verdicts) == {REPLICATED, NOT_REPLICATED, INCONCLUSIVE}


def test_a_value_just_outside_the_margin_is_seldom_replicated() -> None:
    generator, wrong = np.random.default_rng(2), 0
    for _ in range(600):
        shift = generator.normal(0, 0.01)
        scores = 0.65 + shift + generator.normal(0, 0.01, size=3)
        wrong += equivalence(scores.mean(), joint(of_seeds(scores, clip_error=0.01)), 0.6, 0.05).verdict == REPLICATED
    assert wrong / 600 <= 0.05 + 3 * 0.009  # three binomial standard deviations


def test_an_undefined_score_has_no_verdict() -> None:
    never = Replicates(np.array([np.nan, 0.5]), np.full((2, 20), np.nan))
    assert equivalence(never.score, joint(never), 0.6, 0.05) is None
    assert equivalence(None, joint(never), 0.6, 0.05) is None
    assert seeds_needed(never, 0.6, 0.05) is None


def test_seeds_needed_by_hand() -> None:
    scores = np.array([0.57, 0.60, 0.63])
    needed = seeds_needed(of_seeds(scores), 0.6, 0.02)
    halves = {count: stats.t.ppf(0.95, count - 1) * 0.03 / np.sqrt(count) for count in range(4, 40)}
    assert needed == min(count for count, half in halves.items() if half <= 0.02) - 3
    assert seeds_needed(of_seeds(scores), 0.6, 0.2) == 0
    assert seeds_needed(of_seeds(scores), 0.9, 0.02) == 0  # not replicated is settled as well


def test_seeds_needed_rises_with_the_error_of_clips_up_to_never() -> None:
    scores = np.array([0.57, 0.60, 0.63])
    needed = [seeds_needed(of_seeds(scores, clip_error=error), 0.6, 0.02) for error in (0, 0.005, 0.01)]
    assert needed == sorted(needed)
    assert needed[0] < needed[2]
    # z times the error of the clips alone is wider than the margin: no number of seeds takes that away.
    assert seeds_needed(of_seeds(scores, clip_error=0.015), 0.6, 0.02) is None
    assert seeds_needed(of_seeds(scores), 0.62, 0.02, most=50) is None  # at the margin itself


def test_as_many_seeds_as_it_says_do_settle_it() -> None:
    scores = np.array([0.57, 0.60, 0.63])
    needed = seeds_needed(of_seeds(scores), 0.6, 0.02)
    more = stats.norm.ppf((np.arange(3 + needed) + 0.5) / (3 + needed))
    more = 0.6 + 0.03 * more / more.std(ddof=1)  # the same mean and spread
    assert equivalence(0.6, joint(of_seeds(more)), 0.6, 0.0205).verdict == REPLICATED
    fewer = more[1:-2]
    fewer = 0.6 + 0.03 * (fewer - fewer.mean()) / fewer.std(ddof=1)
    assert equivalence(0.6, joint(of_seeds(fewer)), 0.6, 0.0195).verdict == INCONCLUSIVE


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="margin is positive, not 0"):
        equivalence(0.6, np.array([0.6]), 0.6, 0)
    with pytest.raises(ValueError, match="one-sided test"):
        equivalence(0.6, np.array([0.6]), 0.6, 0.1, level=0.4)
    with pytest.raises(ValueError, match="run at least two"):
        seeds_needed(of_seeds([0.6]), 0.6, 0.1)
