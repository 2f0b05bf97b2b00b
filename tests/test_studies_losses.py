"""What another training may lose, by the kept seeds alone; alarms are as rare, and losses as detectable, as stated."""

from collections.abc import Sequence

import numpy as np
import pytest

from harness.studies import losses
from harness.studies.losses import TOGETHER, Loss, Scores, Spread, agreement


def arm(kept: Sequence[float], now: Sequence[float] = (), **more) -> Scores:
    """Whose first seeds ran again."""
    return Scores(np.array(kept, float), len(kept) - 1, list(kept[: len(now)]), now, **more)


def test_the_error_is_that_of_kept_seeds_whatever_is_lost():
    kept = [0.5, 0.6, 0.7]
    small, large = (losses.losses("f", {"a": arm(kept, [now])})["a"] for now in (0.45, 0.0))
    assert small.error == large.error == pytest.approx(np.sqrt(2 * 0.01))
    assert (small.degrees, small.loss, large.loss) == (2, pytest.approx(0.05), 0.5)
    assert large.p_value < small.p_value < 0.5
    three = losses.losses("f", {"a": arm(kept, [0.5, 0.6, 0.7])})["a"]
    assert three.error == pytest.approx(np.sqrt(2 * 0.01 / 3))
    assert three.p_value == 0.5


def test_arms_that_are_not_under_test_tell_the_spread_as_well():
    found = losses.losses("f", {"a": arm([0.5], [0.4]), "b": arm([0.1, 0.3]), "c": arm([0.2, 0.4])})
    assert found.keys() == {"a"}
    assert (found["a"].error, found["a"].degrees) == (pytest.approx(np.sqrt(2 * 0.02)), 2)


@pytest.mark.parametrize("kept", [[0.5], [0.5, 0.5, 0.5], [np.nan, 0.5]])
def test_nothing_is_tested_where_nothing_is_known_of_training(kept):
    assert losses.losses("f", {"a": arm(kept, [0.1])}) == {}


def test_an_undefined_score_is_not_tested():
    arms = {"a": arm([0.5, 0.6], [np.nan]), "b": arm([0.5, 0.6], [0.5]), "c": arm([np.nan, 0.5], [0.5])}
    assert losses.losses("f", arms).keys() == {"b"}


def test_where_lower_is_better_to_rise_is_to_lose():
    found = losses.losses("loss", {"a": arm([1.0, 1.2], [1.5], floor=2.5, lower_is_better=True)})["a"]
    assert (found.loss, found.room) == (pytest.approx(0.5), pytest.approx(1.5))


def test_trainings_are_pooled_with_the_degrees_of_freedom_that_their_difference_leaves():
    assert losses._pooled([Spread(1.0, 2), Spread(4.0, 4)]).variance == pytest.approx((2 + 16) / 6)
    assert losses._pooled([Spread(1.0, 30)] * 4).degrees == 120
    assert losses._pooled([Spread(1.0, 30)] * 3 + [Spread(1000.0, 30)]).degrees == pytest.approx(32, abs=0.3)


def test_an_arm_that_varies_more_than_the_others_is_judged_by_its_own_seeds():
    alike = {str(n): Spread(1.0, 2) for n in range(10)}
    for variance, told in ((0.1, None), (2.0, 2.0), (100.0, 100.0)):
        spreads = {**alike, "x": Spread(variance, 2)}
        common = losses._pooled(list(spreads.values()))
        found = losses._spread_of("x", spreads, common)
        assert found == Spread(told or common.variance, 2 if variance == 100 else common.degrees)
    assert losses._spread_of("new", alike, Spread(1.0, 20)) == Spread(1.0, 20)


def test_agreement_needs_no_level_and_leaves_constants_out():
    generator = np.random.default_rng(0)
    left = generator.random((50, 3))
    assert agreement(left, left**3 / 9) == pytest.approx(1)
    assert agreement(left, 1 - left) == pytest.approx(-1)
    assert abs(agreement(left, generator.permutation(left))) < 0.3
    right = left.copy()
    right[:, 0] = 0.5
    assert agreement(left, right) == pytest.approx(1)
    assert np.isnan(agreement(left, np.full_like(left, 0.5)))


def test_each_study_has_its_part_of_the_alarms():
    one = Loss("f", 0.5, 0.4, 0.1, 0.01, 20.0, 0.5, 0.001)
    (first, second), (other,), nothing = losses.judge([[one, one], [one], []])
    assert (first.p_value, second.p_value, other.p_value) == pytest.approx((0.004, 0.004, 0.002))
    assert first.detectable > other.detectable
    assert nothing == []


def test_what_would_be_lost_unseen_is_blind():
    few, many = (Loss("f", 0.5, 0.5, 0.0, 0.02, degrees, 0.4, 0.5) for degrees in (1, 50))
    ((few, many),) = losses.judge([[few, many]])
    assert (few.blind, many.blind) == (True, False)


def runs(generator: np.random.Generator, spread: Sequence[float], loss: Sequence[float], seeds: int, again: int):
    """A study's kept and new scores: each seed has clips of its own, on which kept and new are equally good."""
    arms = {}
    for number, deviation in enumerate(spread):
        clips = generator.normal(0, 0.01, seeds)
        kept = clips + generator.normal(0, deviation, seeds)
        arms[str(number)] = arm(kept, clips[:again] + generator.normal(0, deviation, again) - loss[number])
    return losses.losses("f", arms)


@pytest.mark.parametrize("spread", [[0.02] * 6, [0.002] * 3 + [0.04] * 3, [0.02] * 5 + [0.1]])
@pytest.mark.parametrize("again", [1, 3])
def test_alarms_are_as_rare_as_stated(spread, again):
    """Where arms vary alike and where they do not."""
    generator, count, alarms = np.random.default_rng(0), 300, 0
    for _ in range(count):
        (judged,) = losses.judge([list(runs(generator, spread, [0.0] * 6, 3, again).values())], level=0.95)
        alarms += any(loss.p_value < 0.05 for loss in judged)
    assert alarms <= 0.05 * count + 3 * np.sqrt(0.05 * 0.95 * count)


@pytest.mark.parametrize("degrees", [2, 4, 24])
def test_the_detectable_loss_is_found_as_often_as_stated(degrees):
    generator, count = np.random.default_rng(0), 4000
    needed = losses.detectable(Loss("f", 0, 0, 0, 0.03, degrees, 1, 0.5), 0.999)
    errors = 0.03 * np.sqrt(generator.chisquare(degrees, count) / degrees)
    found = generator.normal(needed, 0.03, count) / errors > losses.stats.t.ppf(0.999, degrees)
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)


def test_the_mean_of_all_arms_finds_what_no_arm_shows():
    generator = np.random.default_rng(0)
    found = [runs(generator, [0.02] * 12, [0.025] * 12, 3, 3) for _ in range(50)]
    judged = [dict(zip(of_run, *losses.judge([list(of_run.values())]), strict=True)) for of_run in found]
    together = sum(of_run[TOGETHER].p_value < 0.01 for of_run in judged)
    assert together > 40 > 20 > np.mean([sum(of_run[str(n)].p_value < 0.01 for of_run in judged) for n in range(12)])
