"""Faithfulness: maps whose share is known, and comparisons whose outcome is planted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from harness.errors import RepriseError
from harness.explain import frames_sounding, randomised, shares, stem_mask

MASK = np.zeros((4, 10), bool)
MASK[1:3, 2:7] = True
SOUNDING = np.zeros(10, bool)
SOUNDING[2:8] = True


def test_a_map_equal_to_the_mask_gets_everything() -> None:
    got = shares(MASK.astype(float), MASK, SOUNDING)
    assert got == {"where_and_when": 1.0, "area": 0.25, "when": 1.0, "time": 0.6}


def test_a_map_beside_the_mask_gets_nothing() -> None:
    assert shares((~MASK).astype(float), MASK, SOUNDING)["where_and_when"] == 0
    late = np.zeros((4, 10))
    late[:, 8:] = 1
    assert shares(late, MASK, SOUNDING)["when"] == 0


def test_negative_values_do_not_count() -> None:
    heat = np.where(MASK, 2.0, -5.0)
    assert shares(heat, MASK, SOUNDING)["where_and_when"] == 1


@settings(max_examples=50, deadline=None)
@given(arrays(bool, (5, 7)), arrays(bool, 7), st.floats(1e-3, 1e3))
def test_a_uniform_map_gets_the_share_of_the_area(mask: np.ndarray, sounding: np.ndarray, level: float) -> None:
    got = shares(np.full((5, 7), level), mask, sounding)
    assert got["where_and_when"] == pytest.approx(got["area"], abs=1e-12)
    assert got["when"] == pytest.approx(got["time"], abs=1e-12)


def test_an_empty_map_has_no_share() -> None:
    got = shares(np.zeros((4, 10)), MASK, SOUNDING)
    assert np.isnan(got["where_and_when"])
    assert np.isnan(got["when"])
    assert got["area"] == 0.25


def test_shapes_must_fit() -> None:
    with pytest.raises(RepriseError, match="bring the map to the spectrogram's resolution"):
        shares(np.zeros((4, 9)), MASK, SOUNDING)


def test_stem_mask_by_hand() -> None:
    mix = np.array([[0.0, -10.0, -30.0, -70.0, -100.0]])
    stem = np.array([[-5.0, -17.0, -30.0, -70.0, -100.0]])
    # Near the mixture; too far below it; alone; too soft to matter; silence equals silence.
    assert stem_mask(stem, mix).tolist() == [[True, False, True, False, False]]
    assert stem_mask(stem, mix, within_db=8).tolist() == [[True, True, True, False, False]]
    assert stem_mask(stem, mix, floor_db=-20).tolist() == [[True, False, False, False, False]]
    silent = np.full((1, 3), -40.0)
    assert not stem_mask(silent, silent, floor_db=-34).any()


def test_activity_goes_to_the_frame_it_falls_in() -> None:
    activity = np.array([False, True, True, False])
    assert frames_sounding(activity, 0.1, 8, 0.05).tolist() == [False, False, True, True, True, True, False, False]
    assert frames_sounding(activity, 0.1, 2, 0.2).tolist() == [False, True]
    assert frames_sounding(np.array([False, True]), 0.1, 5, 0.1).tolist() == [False, True, True, True, True]


def test_randomised_weights_differ_by_seed_and_leave_the_network_alone() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    one, same, other = randomised(model, 1), randomised(model, 1), randomised(model, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(one[0].weight, same[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert not torch.equal(one[0].weight, model[0].weight)
    assert not torch.equal(one[4].weight, model[4].weight)
    assert not one.training


def test_randomised_statistics_fit_the_batch() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, momentum=0.3))
    batch = torch.randn(16, 1, 12, 12, generator=torch.Generator().manual_seed(0)) * 20 - 40
    copied = randomised(model, 0, batch.numpy())
    out = copied(batch)
    assert out.mean((0, 2, 3)).abs().max() < 1e-3
    assert (out.std((0, 2, 3)) - 1).abs().max() < 1e-2
    assert copied[3].momentum == 0.3
    assert randomised(model, 0)(batch).abs().max() > 5
