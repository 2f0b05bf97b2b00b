"""Means of what was measured of networks, beside a reference: by hand, and their intervals by simulation."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis.measured import gain, of_seeds_alone


def pairs(rng: np.random.Generator, *, seeds: int, units: int, each: int, difference: float) -> pd.DataFrame:
    """Shares of maps and of a reference, with what units, seeds and single clips add to their difference."""
    of_units, of_seeds = rng.normal(0, 0.1, units), rng.normal(0, 0.03, seeds)
    rows = []
    for seed in range(seeds):
        for unit in range(units):
            reference = rng.uniform(0.3, 0.6, each)
            added = difference + of_units[unit] + of_seeds[seed] + rng.normal(0, 0.1, each)
            rows.append(
                pd.DataFrame({"seed": seed, "unit": f"u{unit}", "ours": reference + added, "theirs": reference})
            )
    return pd.concat(rows, ignore_index=True)


def test_means_are_those_of_the_seeds_and_undefined_pairs_are_left_out():
    frame = pd.DataFrame(
        {
            "seed": [1, 1, 1, 2, 2],
            "unit": ["a", "b", "c", "a", "b"],
            "ours": [0.5, 0.7, np.nan, 0.2, 0.4],
            "theirs": [0.4, 0.4, 0.1, 0.3, 0.3],
        }
    )
    found = gain(frame, "ours", "theirs")
    assert (found.value, found.reference) == pytest.approx(((0.6 + 0.3) / 2, (0.4 + 0.3) / 2))
    assert found.difference == pytest.approx((0.2 + 0.0) / 2)
    assert found.of_seeds == pytest.approx((0.2, 0.0))
    assert (found.seeds, found.pairs, found.units) == (2, 4, 2)
    assert np.isnan([found.low, found.high, found.p]).all()  # two units tell no error


def test_a_number_may_be_the_reference_and_nothing_left_gives_nothing():
    frame = pd.DataFrame({"seed": 1, "unit": [str(n) for n in range(12)], "ours": 0.75})
    assert gain(frame, "ours", 0.5).difference == pytest.approx(0.25)
    assert gain(frame.assign(ours=np.nan), "ours", 0.5) is None


@pytest.mark.parametrize(("seeds", "units", "each"), [(3, 40, 3), (3, 15, 1)])
def test_intervals_cover_and_null_differences_are_rarely_decided(seeds, units, each):
    rng = np.random.default_rng(1)
    null = [pairs(rng, seeds=seeds, units=units, each=each, difference=0.0) for _ in range(100)]
    found = [gain(frame, "ours", "theirs", replicates=200) for frame in null]
    assert np.mean([f.low <= 0 <= f.high for f in found]) >= 0.9
    assert all((f.p < 0.05) == (not f.low <= 0 <= f.high) for f in found)


def test_a_planted_difference_is_found():
    rng = np.random.default_rng(2)
    found = [gain(pairs(rng, seeds=3, units=40, each=2, difference=0.2), "ours", "theirs") for _ in range(10)]
    assert all(f.low > 0 and f.p < 0.05 for f in found)


def test_seeds_alone_are_students_t():
    mean, low, high, p = of_seeds_alone([0.1, 0.2, 0.3])
    reach = 4.302653 * 0.1 / np.sqrt(3)
    assert (mean, low, high) == pytest.approx((0.2, 0.2 - reach, 0.2 + reach), abs=1e-6)
    assert p == pytest.approx(0.0741799, abs=1e-6)
    assert np.isnan(of_seeds_alone([0.1])[1:]).all()
