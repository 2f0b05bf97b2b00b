"""The one loop over draws."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from harness.analysis.resampling import mean_of, resample


def mean(values):
    """A scorer: the weighted mean of each trial's values."""

    def score(number, weights):
        total = weights.sum(axis=1, keepdims=True)
        return np.where(total > 0, (weights @ values[number][:, None]) / np.where(total > 0, total, 1), np.nan)

    return score


def test_plain_is_the_score_and_draws_scatter_as_scipys_bootstrap():
    values = np.random.default_rng(0).exponential(size=80)
    found = resample([np.arange(80)], mean([values]), replicates=4000)
    assert found.plain[0, 0] == pytest.approx(values.mean())
    theirs = bootstrap((values,), np.mean, n_resamples=4000, rng=0).standard_error
    assert found.drawn[0, :, 0].std() == pytest.approx(theirs, rel=0.06)


def test_leaving_out_is_the_jackknife():
    values = np.random.default_rng(1).normal(size=30)
    found = resample([np.arange(30)], mean([values]))
    by_hand = [np.delete(values, k).mean() for k in range(30)]
    np.testing.assert_allclose(found.left_out[0, :, 0], by_hand)
    # The jackknife's variance of a mean is exactly s²/n.
    assert 29 / 30 * ((found.left_out - found.left_out.mean()) ** 2).sum() == pytest.approx(values.var(ddof=1) / 30)


def test_very_many_units_are_left_out_in_blocks():
    values = np.random.default_rng(2).normal(size=1000)
    found = resample([np.arange(1000)], mean([values]), replicates=10, blocks=100)
    assert found.left_out.shape[1] == 100
    variance = 99 / 100 * ((found.left_out - found.left_out.mean()) ** 2).sum()
    assert variance == pytest.approx(values.var() / 1000, rel=0.4)


def test_units_are_drawn_whole():
    units = np.repeat(np.arange(12), 4)
    seen = []

    def score(number, weights):
        seen.append(weights)
        return weights[:, :1]

    resample([units], score, replicates=50)
    for weights in seen:
        by_unit = weights.reshape(len(weights), 12, 4)
        assert (by_unit == by_unit[..., :1]).all()
        assert (weights.sum(axis=1) <= 48).all()
    assert all((w.sum(axis=1) == 48).all() for w in seen[1:2])


def test_trials_on_overlapping_clips_share_their_draws():
    seen = {}

    def score(number, weights):
        seen.setdefault(number, []).append(weights)
        return weights[:, :1]

    resample([np.array(["a", "b", "c"]), np.array(["c", "d"])], score, replicates=20)
    first, second = (np.concatenate(seen[number]) for number in (0, 1))
    np.testing.assert_array_equal(first[:, 2], second[:, 0])  # "c"
    assert (first[1:21].sum(axis=1) + second[1:21, 1] == 4).all()


def test_names_of_units_do_not_matter():
    values = np.random.default_rng(3).normal(size=25)
    numbers = resample([np.arange(25)], mean([values]), replicates=50)
    names = resample([np.array([f"clip {25 - k}" for k in range(25)])], mean([values]), replicates=50)
    np.testing.assert_array_equal(numbers.drawn, names.drawn)


def test_differences_and_means_go_draw_by_draw():
    values = np.random.default_rng(4).normal(size=(2, 20))
    found = resample([np.arange(20)] * 2, mean(values), replicates=30)
    gain = found.of([0]) - found.of([1])
    direct = resample([np.arange(20)], mean([values[0] - values[1]]), replicates=30)
    np.testing.assert_allclose(gain.drawn, direct.drawn, atol=1e-12)
    np.testing.assert_allclose(mean_of([found.of([0]), found.of([1])]).plain[0], values.mean())


def test_nothing_to_resample_is_told():
    for units in ([], [np.array([])]):
        with pytest.raises(ValueError, match="nothing to resample"):
            resample(units, mean([np.ones(3)]))
