import dataclasses
import hashlib

import numpy as np
import pandas as pd
import pytest
from corpora_trees import make_tree
from hypothesis import given
from hypothesis import strategies as st

from harness.corpora import openmic
from harness.corpora.corpus import checksum, leakage


def test_leakage_of_a_case_done_by_hand():
    groups = pd.Series(["a", "a", "b", None, "b", "c", "a", None, "d", "b"])
    rows = {"train": np.array([0, 2, 3, 8]), "valid": np.array([1, 5]), "test": np.array([4, 6, 7, 9])}
    assert leakage(groups, rows) == {
        "groups_known": 4,
        "clips_without_group": 2,
        "shared_groups": {"train-valid": 1, "train-test": 2, "valid-test": 1},
        "clips_in_shared_groups": {"train-valid": 1, "train-test": 3, "valid-test": 1},
    }


@given(st.lists(st.tuples(st.sampled_from([None, *"abcdef"]), st.sampled_from(["train", "valid", "test"])), min_size=1))
def test_leakage_is_what_sets_say(clips):
    groups = pd.Series([group for group, _ in clips], dtype=object)
    rows = {
        part: np.array([i for i, clip in enumerate(clips) if clip[1] == part], dtype=int)
        for part in ("train", "valid", "test")
    }
    found = leakage(groups, rows)
    sets = {part: {clips[i][0] for i in chosen} - {None} for part, chosen in rows.items()}
    for pair, count in found["shared_groups"].items():
        first, second = pair.split("-")
        shared = sets[first] & sets[second]
        assert count == len(shared)
        assert found["clips_in_shared_groups"][pair] == sum(clips[i][0] in shared for i in rows[second])
    assert found["clips_without_group"] == sum(group is None for group, _ in clips)


def test_leakage_where_no_group_is_known():
    found = leakage(pd.Series([None, None, None], dtype=object), {"train": np.array([0]), "test": np.array([1, 2])})
    assert found["groups_known"] == 0
    assert found["clips_without_group"] == 3
    assert found["shared_groups"] == {"train-test": 0}


def test_checksum_is_over_part_names_and_keys():
    keys = pd.Series(["a", "b", "c"])
    rows = {"train": np.array([0, 2]), "test": np.array([1])}
    assert checksum(keys, rows) == hashlib.sha256(b"train\na\nc\ntest\nb").hexdigest()
    assert checksum(keys, {"train": np.array([0, 1]), "test": np.array([2])}) != checksum(keys, rows)


@pytest.fixture
def corpus(tmp_path):
    return openmic.read(make_tree(tmp_path / "openmic-2018", clips=60).root, "openmic-2018")


def test_official_split_cuts_through_no_artist(corpus):
    split = corpus.split("official", seed=3)
    assert (split.name, split.seed) == ("official", 3)
    assert {part: len(chosen) for part, chosen in split.rows.items()} == {"train": 39, "valid": 6, "test": 15}
    assert split.leakage["groups_known"] == 20
    assert split.leakage["shared_groups"] == {"train-valid": 0, "train-test": 0, "valid-test": 0}
    assert split.checksum == corpus.split("official", seed=3).checksum != corpus.split("official", seed=4).checksum


def test_other_splits_leak_and_say_so(corpus):
    gururani = corpus.split("gururani").leakage["shared_groups"]
    assert gururani["train-valid"] > 0
    assert gururani["train-test"] == gururani["valid-test"] == 0
    random = corpus.split("random-80-15-5").leakage
    assert random["shared_groups"]["train-test"] > 0
    assert random["clips_in_shared_groups"]["train-test"] > 0


def test_a_published_split_has_no_seed(corpus):
    assert corpus.split("gururani", seed=5).seed == 0
    assert corpus.split("gururani", seed=5).checksum == corpus.split("gururani").checksum


def test_clips_may_each_have_their_own_length(corpus):
    parts = np.resize(["train", "valid", "test"], len(corpus.clips))
    uneven = dataclasses.replace(corpus, seconds=None, clips=corpus.clips.assign(partition=parts))
    assert uneven.checksum == corpus.checksum
    assert {part: len(rows) for part, rows in uneven.split("published").rows.items()} == {
        "train": 20,
        "valid": 20,
        "test": 20,
    }
