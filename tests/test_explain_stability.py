"""Location stability of filters: cases known on paper, and what a filter without a place of its own gets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RepriseError
from harness.explain.stability import chance, deviation, find_peaks, joined


def peaked(places: list[list[tuple[int, int] | None]], shape: tuple[int, int] = (10, 20)) -> np.ndarray:
    """Maps (clips, filters, h, w) with one cell of 1 each, or none."""
    maps = np.zeros((len(places), len(places[0]), *shape), np.float32)
    for clip, row in enumerate(places):
        for number, place in enumerate(row):
            if place is not None:
                maps[clip, number][place] = 1
    return maps


def deviations(maps: np.ndarray, **weights: np.ndarray) -> tuple[float, float]:
    """Over frequency and over time."""
    found = find_peaks(maps)
    return tuple(float(deviation(places, found.active, **weights)[0]) for places in (found.frequency, found.time))


def test_deviations_known_on_paper() -> None:
    # Filter 0 always at one frequency, filter 1 at one time, filter 2 seldom active.
    maps = peaked([[(3, 0), (1, 5), None], [(3, 10), (5, 5), (9, 19)], [(3, 20 - 1), (9, 5), None]])
    found = find_peaks(maps)
    assert found.shape == (10, 20)
    assert found.live == 2
    np.testing.assert_array_equal(found.active.sum(axis=0), [3, 3, 1])
    frequency, time = deviations(maps)
    assert frequency == pytest.approx((0 + 0.4) / 2)
    assert time == pytest.approx((np.std([0, 0.5, 0.95], ddof=1) + 0) / 2)


def test_the_first_of_several_peaks_and_the_level_do_not_matter() -> None:
    maps = np.zeros((2, 1, 4, 4), np.float32)
    maps[0, 0, 2, 1] = maps[0, 0, 2, 3] = 7
    maps[1, 0, 2, 1] = 0.1
    assert deviations(maps) == (0, 0)


def test_dead_filters_have_no_place() -> None:
    maps = np.zeros((5, 2, 3, 3))
    assert find_peaks(maps).live == 0
    assert np.isnan(deviations(maps)).all()


def test_a_clip_drawn_twice_counts_as_two() -> None:
    maps = np.maximum(np.random.default_rng(0).normal(-1, 1, (7, 3, 4, 5)), 0)
    weights = np.array([[2, 1, 1, 0, 1, 3, 1]])
    repeated = maps.repeat(weights[0], axis=0)
    assert deviations(maps, weights=weights) == pytest.approx(deviations(repeated))


@pytest.mark.parametrize("shape", [(8, 16), (1, 5), (32, 32)])
def test_filters_without_a_place_of_their_own_get_chance(shape: tuple[int, int]) -> None:
    maps = np.random.default_rng(1).random((3000, 2, *shape), np.float32)
    np.testing.assert_allclose(deviations(maps), [chance(length) for length in shape], atol=0.01)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 8))
@settings(max_examples=25, deadline=None)
def test_order_of_clips_transposition_and_batches(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    maps = np.maximum(rng.normal(-1, 1, (n, 3, 4, 5)), 0)
    frequency, time = deviations(maps)
    np.testing.assert_allclose(deviations(maps[rng.permutation(n)]), (frequency, time), atol=1e-12)
    np.testing.assert_allclose(deviations(maps.transpose(0, 1, 3, 2)), (time, frequency), atol=1e-12)
    whole, parts = find_peaks(maps), joined([find_peaks(maps[:1]), find_peaks(maps[1:])])
    for name in ("frequency", "time", "active", "shape"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_what_has_no_places_is_refused() -> None:
    with pytest.raises(RepriseError, match=r"shape \(5, 3\) have no places"):
        find_peaks(np.zeros((5, 3)))
