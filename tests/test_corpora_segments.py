"""Clips cut into segments, and splits of them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.corpora import Corpus
from harness.corpora.segments import clips_of, segmented
from harness.errors import RepriseError


def tracks(per_class: list[int]) -> Corpus:
    """A corpus of that many clips of each class, without audio."""
    labels = np.repeat(np.eye(len(per_class), dtype=np.uint8), per_class, axis=0)
    keys = [f"c{number}.{i:05d}" for number, count in enumerate(per_class) for i in range(count)]
    clips = pd.DataFrame({"key": keys, "path": [f"/{key}.wav" for key in keys], "group": None, "partition": None})
    classes = tuple(f"c{number}" for number in range(len(per_class)))
    return Corpus("made-up", None, classes, None, clips, labels, np.ones(labels.shape, bool), {})


def test_a_segment_has_its_clips_labels_and_its_clip_for_a_group():
    whole = tracks([2, 1])
    cut = segmented(whole, 3)
    assert cut.clips["key"].tolist()[:4] == ["c0.00000#0", "c0.00000#1", "c0.00000#2", "c0.00001#0"]
    assert cut.clips["clip"].tolist() == list(whole.clips["key"].repeat(3))
    assert cut.clips["path"].tolist() == list(whole.clips["path"].repeat(3))
    np.testing.assert_array_equal(cut.labels, whole.labels[[0, 0, 0, 1, 1, 1, 2, 2, 2]])
    assert cut.mask.shape == cut.labels.shape
    assert cut.facts == {"segments_per_clip": 3}
    assert whole.facts == {}


def test_a_segments_group_is_its_clips_or_where_none_is_known_its_clip():
    whole = tracks([2])
    whole.clips["group"] = ["Ann", None]
    assert segmented(whole, 2).clips["group"].tolist() == ["Ann", "Ann", "c0.00001", "c0.00001"]


def test_keys_of_many_segments_sort_as_they_stand():
    keys = segmented(tracks([2]), 12).clips["key"].tolist()
    assert keys[9:11] == ["c0.00000#09", "c0.00000#10"]
    assert keys == sorted(keys)


def test_clips_of_segments_and_of_whole_clips():
    assert clips_of(np.array(["a#b#12", "a#b", "x"])).tolist() == ["a#b", "a#b", "x"]


def test_the_write_ups_counts_with_one_track_missing():
    """999 tracks of ten segments; the write-up's 6,400, of which its accuracies' steps of 1/960 come."""
    cut = segmented(tracks([100] * 5 + [99] + [100] * 4), 10)
    rows = cut.split("segments-70-15-15", seed=3).rows
    assert {part: len(chosen) for part, chosen in rows.items()} == {"train": 4480, "valid": 960, "test": 960}
    assert cut.labels[np.concatenate(list(rows.values()))].sum(axis=0).tolist() == [640] * 10


def test_the_counts_of_the_write_ups_own_code():
    """8,000, 1,000 and 990 of 9,990, of which 15 batches of 64 each were scored: 960."""
    cut = segmented(tracks([100] * 5 + [99] + [100] * 4), 10)
    rows = cut.split("segments-80-10-10", seed=0).rows
    assert {part: len(chosen) for part, chosen in rows.items()} == {"train": 8000, "valid": 1000, "test": 990}
    assert len(set(np.concatenate(list(rows.values())))) == 9990


def test_a_split_of_segments_leaks_and_one_of_tracks_does_not():
    cut = segmented(tracks([20] * 3), 10)
    leaky, sound = (cut.split(name, seed=1) for name in ("segments-70-15-15", "tracks-70-15-15"))
    assert leaky.leakage["shared_groups"]["train-test"] > 30
    assert set(sound.leakage["shared_groups"].values()) == {0}
    # Only what is drawn differs: the segments that take part are the same.
    assert set(np.concatenate(list(leaky.rows.values()))) == set(np.concatenate(list(sound.rows.values())))


@settings(deadline=None, max_examples=40)
@given(
    per_class=st.lists(st.integers(5, 30), min_size=2, max_size=6),  # of fewer, 64 % may be of fewer tracks than parts
    count=st.integers(2, 10),
    seed=st.integers(0, 5),
    name=st.sampled_from(["segments-70-15-15", "tracks-70-15-15"]),
)
def test_splits_of_segments_are_disjoint_and_even(per_class, count, seed, name):
    cut = segmented(tracks(per_class), count)
    rows = cut.split(name, seed).rows
    everything = np.concatenate(list(rows.values()))
    assert len(set(everything)) == len(everything)
    wanted = round(0.64 * np.median(per_class) * count)
    assert cut.labels[everything].sum(axis=0).tolist() == [min(wanted, n * count) for n in per_class]
    if name == "tracks-70-15-15":
        of_class = [cut.labels[chosen].any(axis=0).all() for chosen in rows.values()]
        assert all(of_class)


def test_the_published_lists_leave_faulty_tracks_out():
    whole = tracks([8])
    whole.clips["partition"] = pd.array(["train", "train", None, "valid", "test", None, "test", "train"], dtype=object)
    rows = segmented(whole, 2).split("published").rows
    assert {part: chosen.tolist() for part, chosen in rows.items()} == {
        "train": [0, 1, 2, 3, 14, 15],
        "valid": [6, 7],
        "test": [8, 9, 12, 13],
    }


def test_whole_clips_cannot_be_split_by_track():
    with pytest.raises(RepriseError, match="cut into segments"):
        tracks([9, 9]).split("tracks-70-15-15")


def test_splits_of_segments_need_one_class_for_each():
    cut = segmented(tracks([5, 5]), 2)
    cut.labels[0] = 1
    with pytest.raises(RepriseError, match="exactly one class"):
        cut.split("tracks-70-15-15")
