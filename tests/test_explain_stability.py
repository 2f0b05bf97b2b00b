"""Location stability of filters: cases known on paper, and what a filter without a place of its own gets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RepriseError
from harness.explain.stability import chance, deviation, deviation_per_class


def peaked(places: list[list[tuple[int, int] | None]], shape: tuple[int, int] = (10, 20)) -> np.ndarray:
    """Maps (clips, filters, h, w) with one cell of 1 each, or none."""
    maps = np.zeros((len(places), len(places[0]), *shape), np.float32)
    for clip, row in enumerate(places):
        for number, place in enumerate(row):
            if place is not None:
                maps[clip, number][place] = 1
    return maps


def test_deviations_known_on_paper() -> None:
    # Filter 0 always at one frequency, filter 1 at one time, filter 2 seldom active.
    maps = peaked([[(3, 0), (1, 5), None], [(3, 10), (5, 5), (9, 19)], [(3, 20 - 1), (9, 5), None]])
    result = deviation(maps)
    np.testing.assert_array_equal(result.clips, [3, 3, 1])
    np.testing.assert_allclose(result.frequency, [0, 0.4, np.nan])
    np.testing.assert_allclose(result.time, [np.std([0, 0.5, 0.95], ddof=1), 0, np.nan])
    assert result.mean_frequency == pytest.approx(0.2)
    assert result.mean_time == pytest.approx(result.time[0] / 2)


def test_deviations_of_each_class_on_paper() -> None:
    maps = peaked([[(0, 0)], [(2, 0)], [(7, 4)], [(7, 8)], [None]])
    result = deviation_per_class(maps, [0, 0, 1, 1, 2], 4)
    np.testing.assert_array_equal(result.clips[:, 0], [2, 2, 0, 0])
    np.testing.assert_allclose(result.frequency[:, 0], [np.sqrt(0.02), 0, np.nan, np.nan])
    np.testing.assert_allclose(result.time[:, 0], [0, np.sqrt(0.02), np.nan, np.nan])
    assert result.mean_frequency == pytest.approx(np.sqrt(0.02) / 2)
    # Over all clips the filter wanders although it is steady within each class.
    assert deviation(maps).frequency[0] > result.frequency[:2].max()


def test_the_first_of_several_peaks_and_the_level_do_not_matter() -> None:
    maps = np.zeros((2, 1, 4, 4), np.float32)
    maps[0, 0, 2, 1] = maps[0, 0, 2, 3] = 7
    maps[1, 0, 2, 1] = 0.1
    assert deviation(maps).frequency[0] == deviation(maps).time[0] == 0


def test_weak_maps_may_be_left_out() -> None:
    maps = peaked([[(0, 0)], [(0, 4)], [(9, 9)]])
    maps[2] *= 0.05
    assert deviation(maps).clips[0] == 3
    steady = deviation(maps, least=0.1)
    assert (steady.clips[0], steady.frequency[0]) == (2, 0)


def test_dead_filters_have_no_place() -> None:
    result = deviation(np.zeros((5, 2, 3, 3)))
    np.testing.assert_array_equal(result.clips, 0)
    assert np.isnan(result.frequency).all()
    assert np.isnan(result.mean_time)


@pytest.mark.parametrize("shape", [(8, 16), (1, 5), (32, 32)])
def test_filters_without_a_place_of_their_own_get_chance(shape: tuple[int, int]) -> None:
    maps = np.random.default_rng(1).random((3000, 2, *shape), np.float32)
    frequency, time = chance(*shape)
    result = deviation(maps)
    np.testing.assert_allclose(result.frequency, frequency, atol=0.01)
    np.testing.assert_allclose(result.time, time, atol=0.01)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 8))
@settings(max_examples=25, deadline=None)
def test_order_of_clips_and_transposition(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    maps = np.maximum(rng.normal(-1, 1, (n, 3, 4, 5)), 0)
    result, shuffled = deviation(maps), deviation(maps[rng.permutation(n)])
    turned = deviation(maps.transpose(0, 1, 3, 2))
    np.testing.assert_allclose(result.frequency, shuffled.frequency, atol=1e-12)
    np.testing.assert_allclose(result.frequency, turned.time, atol=1e-12)
    np.testing.assert_array_equal(result.clips, turned.clips)
    whole = deviation_per_class(maps, np.zeros(n, int), 1)
    np.testing.assert_array_equal(whole.frequency[0], result.frequency)


def test_what_has_no_places_is_refused() -> None:
    with pytest.raises(RepriseError, match=r"shape \(5, 3\) have no places"):
        deviation(np.zeros((5, 3)))
    with pytest.raises(RepriseError, match=r"2 clips came with labels of shape \(3,\)"):
        deviation_per_class(np.zeros((2, 1, 2, 2)), [0, 1, 1], 2)
