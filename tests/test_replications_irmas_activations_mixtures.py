"""Mixtures of validation clips: who is in them, how they are summed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RepriseError
from replications.irmas_activations.mixtures import draw_mixtures, labels_of, mix


def corpus(clips=60, classes=5, songs=15, seed=0):
    """Labels of clips of one class each, and their songs, some unknown."""
    rng = np.random.default_rng(seed)
    labels = np.eye(classes, dtype=np.uint8)[rng.integers(0, classes, clips)]
    groups = pd.Series([f"song {n}" for n in rng.integers(0, songs, clips)], dtype=object)
    groups[rng.random(clips) < 0.2] = None
    return labels, groups


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 20))
def test_one_to_three_clips_of_different_classes_and_songs(seed, classes, songs):
    labels, groups = corpus(classes=classes, songs=songs, seed=seed)
    rows = np.arange(10, 50)
    mixtures = draw_mixtures(labels, groups, rows, 9, seed=seed)
    assert len(mixtures) == 9
    for number, chosen in enumerate(mixtures):
        assert 1 <= len(chosen) <= 1 + number % 3
        assert np.isin(chosen, rows).all()
        assert (np.diff(chosen) > 0).all()
        assert labels[chosen].sum(axis=0).max() == 1
        known = groups.iloc[chosen].dropna()
        assert known.is_unique
        if len(chosen) < 1 + number % 3:  # only if no other clip would fit
            for row in np.setdiff1d(rows, chosen):
                assert (labels[row] & labels[chosen].max(axis=0)).any() or groups[row] in set(known)
    assert (labels_of(labels, mixtures).sum(axis=1) == [len(chosen) for chosen in mixtures]).all()


def test_the_seed_alone_decides():
    labels, groups = corpus()
    rows = np.arange(40)
    drawn = draw_mixtures(labels, groups, rows, 12, seed=1)
    again = draw_mixtures(labels, groups, rows[::-1], 12, seed=1)
    other = draw_mixtures(labels, groups, rows, 12, seed=2)
    assert [m.tolist() for m in drawn] == [m.tolist() for m in again]
    assert [m.tolist() for m in drawn] != [m.tolist() for m in other]
    assert [len(m) for m in drawn] == [1, 2, 3] * 4


def test_clips_of_unknown_songs_are_songs_of_their_own():
    labels = np.eye(3, dtype=np.uint8)
    for missing in (None, np.nan, pd.NA):
        drawn = draw_mixtures(labels, pd.Series([missing] * 3), np.arange(3), 3, seed=0)
        assert drawn[2].tolist() == [0, 1, 2]
    one_song = draw_mixtures(labels, pd.Series(["a"] * 3), np.arange(3), 3, seed=0)
    assert [len(m) for m in one_song] == [1, 1, 1]


def test_nothing_to_mix_is_told():
    with pytest.raises(RepriseError, match="no validation clips to mix"):
        draw_mixtures(*corpus(), np.arange(0), 3, seed=0)


def test_labels_by_hand():
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]], np.uint8)
    made = labels_of(labels, [np.array([0]), np.array([1, 2]), np.array([0, 2, 3])])
    np.testing.assert_array_equal(made, [[1, 0, 0], [0, 1, 1], [1, 1, 1]])
    assert made.dtype == np.uint8


def test_a_mixture_has_its_parts_at_equal_levels():
    rng = np.random.default_rng(0)
    loud, soft = rng.normal(0, 0.3, 5000), rng.normal(0, 0.001, 4000)
    mixed = mix([loud, soft])
    assert mixed.shape == (4000,)
    assert mixed.dtype == np.float32
    assert np.abs(mixed).max() == 1
    shares = np.linalg.lstsq(np.stack([loud[:4000] / loud[:4000].std(), soft / soft.std()], axis=1), mixed, rcond=None)
    assert shares[0][0] == pytest.approx(shares[0][1], rel=0.01)
    np.testing.assert_allclose(mix([10 * loud, soft]), mixed, atol=1e-6)
    np.testing.assert_allclose(mix([loud]), loud / np.abs(loud).max(), atol=1e-6)


def test_silence_adds_nothing():
    tone = np.sin(np.arange(1000) / 5)
    np.testing.assert_allclose(mix([tone, np.zeros(1000)]), mix([tone]), atol=1e-7)
    np.testing.assert_array_equal(mix([np.zeros(10), np.zeros(10)]), np.zeros(10))
