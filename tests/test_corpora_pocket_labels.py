import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpora.pocket import labels
from harness.corpora.pocket.plan import draw_clips, labels_of
from harness.errors import RepriseError

KEYS = [clip.key for clip in draw_clips(600, 0)]
TRUTH = labels_of(draw_clips(600, 0))


@given(st.floats(0.05, 1.0), st.integers(0, 1000), st.integers(20, 600))
@settings(max_examples=40, deadline=None)
def test_as_many_entries_as_asked_for_are_observed_and_some_of_every_clip(density, seed, size):
    truth = TRUTH[:size]
    mask = labels.draw_mask(truth, density, seed)
    assert mask.sum() == round(density * truth.size)
    assert mask.any(axis=1).all()
    np.testing.assert_array_equal(mask, labels.draw_mask(truth, density, seed))


def test_positives_are_observed_more_often_than_negatives():
    positive = TRUTH == 1
    mask = labels.draw_mask(TRUTH, 0.5, 0)
    assert mask[positive].mean() == pytest.approx(0.9, abs=0.01)
    assert mask[~positive].mean() < 0.5
    # At the published density the published share of positives, and about the published 0.888 of them per clip.
    sparse = labels.draw_mask(TRUTH, 41268 / 400000, 0)
    assert TRUTH[sparse].mean() == pytest.approx(0.43, abs=0.01)
    assert (sparse & positive).sum() / len(TRUTH) == pytest.approx(0.888, abs=0.03)
    assert labels.draw_mask(TRUTH, 1.0, 0).all()


@pytest.mark.parametrize("density", [0.0, 0.049, 1.01, -1, float("nan")])
def test_densities_out_of_range_are_refused(density):
    with pytest.raises(RepriseError, match=r"between 0\.05 and 1"):
        labels.draw_mask(TRUTH, density, 0)


def relevance_of(responses):
    """Trust-weighted majority and its confidence, as the published tables have it, recomputed row by row."""
    found = {}
    for pair, rows in responses.groupby(["sample_key", "instrument"]):
        yes = rows.worker_trust[rows.response == 1].sum()
        no = rows.worker_trust[rows.response == 0].sum()
        confidence = max(yes, no) / (yes + no)
        found[pair] = 0.5 + confidence / 2 if yes > no else 0.5 - confidence / 2
    return found


def test_responses_come_to_the_aggregated_labels():
    mask = labels.draw_mask(TRUTH[:60], 0.3, 0)
    aggregated, individual = labels.draw_responses(KEYS[:60], TRUTH[:60], mask, 0)
    recomputed = relevance_of(individual)
    assert len(aggregated) == len(recomputed) == mask.sum()
    for row in aggregated.itertuples():
        assert row.relevance == pytest.approx(recomputed[row.sample_key, row.instrument], abs=1e-12)
    rows, columns = np.nonzero(mask)
    np.testing.assert_array_equal(aggregated.relevance >= 0.5, TRUTH[rows, columns] == 1)
    counts = individual.groupby(["sample_key", "instrument"]).worker_id.nunique()
    assert (counts == 3).all()
    assert (aggregated.num_responses == 3).all()
    dissent = ((aggregated.relevance > 0) & (aggregated.relevance < 1)).mean()
    assert 0.05 < dissent < 0.25
    assert (individual.groupby("worker_id").worker_trust.nunique() == 1).all()


def test_the_published_clip_follows_the_same_rule(published_data):
    folder = published_data / "openmic-2018" / "sample"
    recomputed = relevance_of(pd.read_csv(folder / "openmic-2018-individual-responses.csv"))
    published = pd.read_csv(folder / "openmic-2018-aggregated-labels.csv")
    for row in published.itertuples():
        assert row.relevance == pytest.approx(recomputed[row.sample_key, row.instrument], abs=1e-4)
