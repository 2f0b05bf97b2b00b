"""Windows that cover a clip, two ways to make one score of them, and how a threshold is chosen."""

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.errors import RepriseError
from harness.features.han import HanSegments
from replications.irmas_activations import windows as w
from replications.irmas_activations.networks import han


@settings(max_examples=200, deadline=None)
@given(length=st.integers(43, 900), hop=st.floats(0.03, 1.0))
def test_windows_cover_the_clip(length, hop):
    first = w.starts(length, hop)
    assert first[0] == 0
    assert first[-1] == length - 43
    assert (np.diff(first) >= 1).all()
    assert (np.diff(first) <= int(hop * 43)).all()
    covered = np.zeros(length, bool)
    for start in first:
        covered[start : start + 43] = True
    assert covered.all()


@pytest.mark.parametrize(
    ("length", "hop", "expected"),
    [
        (43, 0.5, [0]),
        (44, 0.5, [0, 1]),
        (64, 0.5, [0, 21]),
        (65, 0.5, [0, 21, 22]),
        (130, 0.5, [0, 21, 42, 63, 84, 87]),
        (130, 1.0, [0, 43, 86, 87]),
        (129, 1.0, [0, 43, 86]),
    ],
)
def test_starts_by_hand(length, hop, expected):
    assert w.starts(length, hop).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(length=st.integers(5, 60), hop=st.floats(0.2, 1.0))
def test_a_window_is_what_stands_at_its_start(length, hop):
    picture = np.random.default_rng(length).normal(size=(3, length)).astype(np.float32)
    pieces, first = w.windows(picture, hop, frames=5), w.starts(length, hop, frames=5)
    assert pieces.shape == (len(first), 3, 5)
    assert pieces.flags.c_contiguous
    for piece, start in zip(pieces, first, strict=True):
        np.testing.assert_array_equal(piece, picture[:, start : start + 5])


def test_a_clip_shorter_than_a_window_is_refused():
    with pytest.raises(RepriseError, match="a clip of 42 frames is shorter than a window of 43, about one second"):
        w.windows(np.zeros((128, 42)))


@pytest.mark.parametrize("hop", [0.0, 0.02, 1.1, -0.5])
def test_hops_that_stand_still_or_leave_gaps_are_refused(hop):
    with pytest.raises(ValueError, match="it must be from 1 to 43"):
        w.starts(100, hop)


def test_a_second_of_sound_is_enough():
    front = HanSegments()
    assert front.FRAMES == w.FRAMES
    one = front.log_mel(np.random.default_rng(0).normal(size=22050))
    assert w.windows(one).shape == (2, 128, 43)


OUTPUTS = np.array(
    [
        *([0.2, 0.4, 0.0], [0.4, 0.4, 0.2], [0.0, 0.1, 0.1]),  # a clip of three windows
        [0.9, 0.3, 0.6],  # of one
        *([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),  # of two that hear nothing
    ]
)


def test_aggregations_by_hand():
    mean, normalised = w.aggregate(OUTPUTS, [3, 1, 2], "s1"), w.aggregate(OUTPUTS, [3, 1, 2], "s2")
    np.testing.assert_allclose(mean, [[0.2, 0.3, 0.1], [0.9, 0.3, 0.6], [0, 0, 0]], atol=1e-15)
    np.testing.assert_allclose(normalised, [[2 / 3, 1, 1 / 3], [1, 1 / 3, 2 / 3], [0, 0, 0]], atol=1e-15)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_aggregations_against_a_loop(counts, seed, scale):
    outputs = np.random.default_rng(seed).random((sum(counts), 4))
    pieces = np.split(outputs, np.cumsum(counts)[:-1])
    np.testing.assert_allclose(w.aggregate(outputs, counts, "s1"), [p.mean(axis=0) for p in pieces], rtol=1e-12)
    normalised = w.aggregate(outputs, counts, "s2")
    np.testing.assert_allclose(normalised, [p.sum(axis=0) / p.sum(axis=0).max() for p in pieces], rtol=1e-12)
    assert (normalised.max(axis=1) == 1).all()
    # how loud the outputs are as a whole, which the normalised loss does not fix, is all the same to it
    np.testing.assert_allclose(w.aggregate(scale * outputs, counts, "s2"), normalised, rtol=1e-12)


@pytest.mark.parametrize("counts", [[3, 1, 1], [3, 1, 2, 1], [6, 0], [7, -1]])
def test_counts_that_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="counts must be at least 1 and add up to 6"):
        w.aggregate(OUTPUTS, counts, "s1")


def test_an_unknown_aggregation_is_named():
    with pytest.raises(ValueError, match="not 'max'"):
        w.aggregate(OUTPUTS, [3, 1, 2], "max")


def test_the_grids_are_the_published_ones():
    assert w.GRIDS["s1"] == (0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.24)
    assert w.GRIDS["s2"] == (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


def test_the_curve_is_sklearns():
    rng = np.random.default_rng(0)
    labels = rng.random((60, 11)) < 0.2
    scores = np.clip(0.25 * labels + rng.random((60, 11)) * 0.5, 0, 1)
    curve = w.threshold_curve(labels, scores, reversed(w.GRIDS["s2"]))
    assert curve["threshold"].tolist() == list(w.GRIDS["s2"])
    for row in curve.itertuples():
        predicted = scores >= row.threshold
        for average in ("micro", "macro"):
            expected = sk.f1_score(labels, predicted, average=average, zero_division=0)
            assert getattr(row, f"f1_{average}") == pytest.approx(expected, abs=1e-12)


def test_a_threshold_is_reached_by_a_score_that_equals_it():
    curve = w.threshold_curve(np.array([[1, 0]]), np.array([[0.5, 0.4]]), [0.5])
    assert curve["f1_micro"].tolist() == [1.0]


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_outputs_stand_clip_by_clip_whatever_the_batches(batch_size):
    torch.manual_seed(0)
    network = han(3).train()
    rng = np.random.default_rng(1)
    clips = [rng.normal(size=(16, length)).astype(np.float32) for length in (5, 12, 30, 5, 9)]
    outputs, counts = w.window_outputs(network, iter(clips), frames=5, batch_size=batch_size)
    assert counts.tolist() == [len(w.starts(clip.shape[1], frames=5)) for clip in clips]
    assert not network.training
    with torch.inference_mode():
        alone = [torch.sigmoid(network(torch.from_numpy(w.windows(clip, frames=5)))).numpy() for clip in clips]
    np.testing.assert_allclose(outputs, np.concatenate(alone), rtol=1e-5)
    assert outputs.dtype == np.float64


def test_no_batch_is_larger_than_it_may_be():
    sizes = []

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, pieces):
            sizes.append(len(pieces))
            return pieces.mean(dim=(1, 2))[:, None] + self.weight

    _, counts = w.window_outputs(Counting(), [np.zeros((2, 60), np.float32)] * 3, frames=5, batch_size=10)
    assert len(w.starts(60, frames=5)) == 29
    assert counts.tolist() == [29, 29, 29]
    assert sizes == [10] * 8 + [7]
