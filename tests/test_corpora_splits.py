import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.corpora import splits
from harness.errors import RepriseError
from harness.storage import cache_home

#: Of the sorted validation rows as little-endian int64, computed from the file in the authors' repository.
GURURANI_SHA256 = "b072f8e03964a7ba323eea35d480f11d8ca253ed30d1320ad1270750f62973aa"


def make_clips(groups: list, train: int) -> pd.DataFrame:
    n = len(groups)
    return pd.DataFrame(
        {
            "key": [f"{i:06d}_0" for i in range(n)],
            "group": pd.Series(groups, dtype=object),
            "partition": ["train"] * train + ["test"] * (n - train),
        }
    )


def published_clips(folder) -> pd.DataFrame:
    parts = {part: (folder / f"split01_{part}.csv").read_text().split() for part in ("train", "test")}
    clips = pd.concat([pd.DataFrame({"key": keys, "partition": part}) for part, keys in parts.items()])
    return clips.sort_values("key", ignore_index=True).assign(group=None)


def test_gururani_validation_is_the_authors():
    rows = splits.gururani_validation(14_915)
    assert rows[:5].tolist() == [1078, 3865, 10183, 10284, 9947]
    assert hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest() == GURURANI_SHA256


def test_gururani_on_the_published_partitions(published_data):
    folder = published_data / "openmic-2018"
    clips = published_clips(folder)
    rows = splits.draw("gururani", 0, clips, "openmic-2018")
    train_keys = (folder / "split01_train.csv").read_text().split()
    with np.load(folder / "attentionmic_train_val.split.npz", allow_pickle=False) as authors:
        for part, theirs in (("train", "train"), ("valid", "val")):
            expected = sorted(train_keys[i] for i in authors[theirs])
            assert clips["key"].iloc[rows[part]].tolist() == expected
    assert clips["key"].iloc[rows["test"]].tolist() == (folder / "split01_test.csv").read_text().split()
    among_train = np.searchsorted(np.flatnonzero(clips["partition"] == "train"), rows["valid"])
    assert hashlib.sha256(among_train.astype("<i8").tobytes()).hexdigest() == GURURANI_SHA256


@pytest.mark.parametrize(("n", "seed"), [(20_000, 0), (20_000, 1), (603, 7), (21, 3)])
def test_random_split_is_torchs_permutation_cut_at_80_and_95_percent(n, seed):
    rows = splits.draw("random-80-15-5", seed, make_clips([None] * n, n), "corpus")
    # torch hands what the rounded-down shares leave over to the parts in turn
    sizes = [int(n * 0.80), int(n * 0.15), int(n * 0.05)]
    for i in range(n - sum(sizes)):
        sizes[i] += 1
    permutation = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()
    train, test, valid = np.split(permutation, np.cumsum(sizes)[:-1])
    for part, expected in (("train", train), ("valid", valid), ("test", test)):
        np.testing.assert_array_equal(rows[part], np.sort(expected))


def test_random_split_has_the_papers_sizes():
    rows = splits.draw("random-80-15-5", 0, make_clips([None] * 20_000, 20_000), "openmic-2018")
    assert {part: len(chosen) for part, chosen in rows.items()} == {"train": 16_000, "valid": 1_000, "test": 3_000}
    # drawn once and written down here, against a generator that changes without telling
    assert {15558, 16044, 2137} <= set(rows["train"])
    assert {15370, 10051, 200} <= set(rows["test"])
    assert {17438, 10283, 14640} <= set(rows["valid"])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(st.sampled_from([None, *"abcdefghijkl"]), min_size=60, max_size=200),
    name=st.sampled_from(["official", "gururani", "random-80-15-5"]),
    seed=st.integers(0, 3),
)
def test_every_split_uses_every_clip_once(groups, name, seed):
    clips = make_clips(groups, len(groups) * 3 // 4)
    rows = splits.draw(name, seed, clips, "corpus")
    assert list(rows) == ["train", "valid", "test"]
    assert all(chosen.dtype == np.int64 and (np.diff(chosen) > 0).all() for chosen in rows.values())
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(groups)))
    if name != "random-80-15-5":
        assert (clips["partition"].iloc[rows["test"]] == "test").all()
        assert (clips["partition"].iloc[[*rows["train"], *rows["valid"]]] == "train").all()
    if name == "official":
        known = {part: set(clips["group"].iloc[chosen].dropna()) for part, chosen in rows.items()}
        assert not known["train"] & known["valid"]
        assert 0 < len(rows["valid"]) < len(groups) * 3 // 4


def test_official_validation_is_15_percent_of_the_training_clips():
    groups = [str(i // 7) for i in range(600)]
    first, second = (splits.draw("official", seed, make_clips(groups, 450), "corpus")["valid"] for seed in (0, 1))
    assert 450 * 0.15 - 7 < len(first) <= 450 * 0.15
    assert first.tolist() != second.tolist()


def test_official_validation_of_a_tiny_corpus_is_its_smallest_group():
    clips = make_clips([*"aaaaabbbbbbccc", *"xyz"], 14)
    assert clips["group"].iloc[splits.draw("official", 0, clips, "corpus")["valid"]].tolist() == ["c", "c", "c"]


def test_unknown_split():
    with pytest.raises(RepriseError, match="no split 'offical': choose official, gururani, random-80-15-5"):
        splits.draw("offical", 0, make_clips([None] * 30, 20), "corpus")


def test_corpus_without_published_partition():
    clips = make_clips([None] * 30, 20).drop(columns="partition")
    with pytest.raises(RepriseError, match="use the split random-80-15-5"):
        splits.draw("official", 0, clips, "corpus")
    assert len(splits.draw("random-80-15-5", 0, clips, "corpus")["train"]) == 25


def three_parts(n: int) -> pd.DataFrame:
    clips = make_clips([str(i // 3) for i in range(n)], n // 2)
    return clips.assign(partition=[("train", "valid", "train", "test")[i % 4] for i in range(n)])


def test_the_published_split_is_the_column_and_has_no_seed():
    clips = three_parts(40)
    rows = splits.draw("published", 0, clips, "corpus")
    assert list(rows) == ["train", "valid", "test"]
    for part, chosen in rows.items():
        assert (clips["partition"].iloc[chosen] == part).all()
        assert (np.diff(chosen) > 0).all()
    assert sum(map(len, rows.values())) == 40
    assert "published" in splits.SEEDLESS
    for seed in (1, 7):
        again = splits.draw("published", seed, clips, "corpus")
        assert all((again[part] == rows[part]).all() for part in rows)


@pytest.mark.parametrize(
    ("present", "message"),
    [
        (["train", "test"], "has no valid, which the split published needs"),
        (["valid"], "has no train and no test, which the split published needs"),
    ],
)
def test_the_published_split_needs_all_three_parts(present, message):
    clips = three_parts(40)
    clips = clips[clips["partition"].isin(present)].reset_index(drop=True)
    with pytest.raises(RepriseError, match=message):
        splits.draw("published", 0, clips, "corpus")
    with pytest.raises(RepriseError, match="use the split random-80-15-5"):
        splits.draw("published", 0, clips.drop(columns="partition"), "corpus")


@pytest.mark.parametrize("name", ["official", "gururani"])
def test_splits_of_two_parts_do_not_lose_a_third(name):
    with pytest.raises(RepriseError, match="three parts, valid among them: use the split published"):
        splits.draw(name, 0, three_parts(40), "corpus")


def test_one_artist_cannot_be_divided():
    with pytest.raises(RepriseError, match=r"the split official of corpus \(30 clips\) leaves nothing for valid"):
        splits.draw("official", 0, make_clips(["one"] * 30, 20), "corpus")


@pytest.mark.parametrize("name", ["official", "random-80-15-5"])
def test_a_split_that_is_drawn_otherwise_than_before_is_refused(name):
    clips = make_clips([None] * 60, 40)
    first = splits.draw(name, 0, clips, "corpus")
    (path,) = (cache_home() / "splits").iterdir()
    kept = json.loads(path.read_text())
    assert kept["valid"] == clips["key"].iloc[first["valid"]].tolist()
    splits.draw(name, 0, clips, "corpus")
    for spoilt in (json.dumps(kept | {"valid": kept["valid"][1:]}), "{"):
        path.write_text(spoilt)
        with pytest.raises(RepriseError, match=f"split {name} .seed 0. of corpus differs .*{path.name}"):
            splits.draw(name, 0, clips, "corpus")
    assert splits.draw(name, 1, clips, "corpus").keys() == first.keys()


def test_corpora_of_one_name_with_other_groups_are_kept_apart():
    splits.draw("official", 0, make_clips([str(i) for i in range(60)], 40), "corpus")
    splits.draw("official", 0, make_clips([str(i // 2) for i in range(60)], 40), "corpus")
    assert len(list((cache_home() / "splits").iterdir())) == 2


def test_another_process_draws_the_same():
    groups = [str(i // 4) for i in range(120)]
    code = (
        "import pandas as pd\n"
        "from harness.corpora import splits\n"
        "clips = pd.DataFrame({'key': [f'{i:06d}_0' for i in range(120)]})\n"
        "clips['group'] = [str(i // 4) for i in range(120)]\n"
        "clips['partition'] = ['train'] * 90 + ['test'] * 30\n"
        "print(splits.draw('official', 5, clips, 'elsewhere')['valid'].tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == splits.draw("official", 5, make_clips(groups, 90), "here")["valid"].tolist()


def make_notes(counts: list[int], *, per_pitch: int = 5, folds: int | None = 5) -> tuple[pd.DataFrame, np.ndarray]:
    """Clips of as many classes as there are counts, their keys in any order of classes, and the labels."""
    classes = np.repeat(np.arange(len(counts)), counts)
    order = np.random.default_rng(len(classes)).permutation(len(classes))
    number = np.concatenate([np.arange(count) for count in counts])
    clips = pd.DataFrame(
        {
            "key": [f"note-{i:05d}" for i in range(len(classes))],
            "group": [f"{c} {n // per_pitch}" for c, n in zip(classes[order], number[order], strict=True)],
            "partition": None,
            "fold": pd.array(number[order] % folds if folds else [pd.NA] * len(classes), dtype="Int64"),
        }
    )
    return clips, np.eye(len(counts), dtype=np.uint8)[classes[order]]


BY_CLASS = ("folds", "stratified-80-20", "by-pitch")
THESIS = [200, 200, 185, 156, 170, 210, 180]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=7),
    per_pitch=st.integers(1, 3),
    name=st.sampled_from(BY_CLASS),
    seed=st.integers(0, 9),
)
def test_splits_by_class_use_every_clip_once_and_keep_the_shares(counts, per_pitch, name, seed):
    clips, labels = make_notes(counts, per_pitch=per_pitch)
    rows = splits.draw(name, seed, clips, "corpus", labels)
    assert list(rows) == ["train", "valid", "test"]
    assert all(chosen.dtype == np.int64 and (np.diff(chosen) > 0).all() for chosen in rows.values())
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(clips)))
    of_class = {part: labels[chosen].sum(axis=0).astype(int) for part, chosen in rows.items()}
    rest = of_class["train"] + of_class["valid"]
    near = 1 if name == "stratified-80-20" else 1 + per_pitch
    if name == "folds":
        assert set(clips["fold"].iloc[rows["test"]]) == {seed % 5}
        near = 1
    else:
        assert (np.abs(of_class["test"] - 0.2 * np.array(counts)) < near).all()
    assert (np.abs(of_class["valid"] - 0.2 * rest) < near).all()
    assert all((some > 0).all() for some in of_class.values())
    groups = {part: set(clips["group"].iloc[chosen]) for part, chosen in rows.items()}
    if name == "by-pitch":
        assert not groups["train"] & groups["valid"]
        assert not groups["train"] & groups["test"]
        assert not groups["valid"] & groups["test"]
    again = splits.draw(name, seed, clips, "corpus", labels)
    assert all((again[part] == rows[part]).all() for part in rows)


def test_the_thesis_counts_are_met_within_three_notes():
    """829, 212 and 260 (study 004, section 6); how its 212 came about is not known: 20 % of 1,041 are 208."""
    clips, labels = make_notes(THESIS)
    for seed in range(5):
        rows = splits.draw("stratified-80-20", seed, clips, "corpus", labels)
        assert [len(chosen) for chosen in rows.values()] == [832, 209, 260]
        assert labels[rows["test"]].sum(axis=0).tolist() == [40, 40, 37, 31, 34, 42, 36]
    other = splits.draw("stratified-80-20", 1, clips, "corpus", labels)
    assert other["test"].tolist() != rows["test"].tolist()


def test_every_fold_is_tested_once_and_further_seeds_draw_other_validation_clips():
    clips, labels = make_notes(THESIS)
    drawn = [splits.draw("folds", seed, clips, "corpus", labels) for seed in range(6)]
    assert sorted(np.concatenate([rows["test"] for rows in drawn[:5]])) == list(range(len(clips)))
    assert (drawn[5]["test"] == drawn[0]["test"]).all()
    assert drawn[5]["valid"].tolist() != drawn[0]["valid"].tolist()


def test_few_large_groups_are_divided_as_well_as_they_can_be():
    clips, labels = make_notes([30, 30], per_pitch=10)
    rows = splits.draw("by-pitch", 0, clips, "corpus", labels)
    assert [len(chosen) for chosen in rows.values()] == [20, 20, 20]
    clips, labels = make_notes([30, 20], per_pitch=10)  # two pitches of a class cannot be in three parts
    rows = splits.draw("by-pitch", 0, clips, "corpus", labels)
    assert labels[rows["test"]].sum(axis=0).tolist() == [10, 10]
    assert labels[rows["valid"]].sum(axis=0).tolist() == [10, 0]
    clips, labels = make_notes([30, 30], per_pitch=30)
    with pytest.raises(RepriseError, match="leaves nothing for valid and test: use a larger corpus or another split"):
        splits.draw("by-pitch", 0, clips, "corpus", labels)


def test_clips_of_unknown_group_stand_for_themselves_in_a_grouped_split():
    clips, labels = make_notes([20, 20])
    clips["group"] = None
    rows = splits.draw("by-pitch", 0, clips, "corpus", labels)
    assert [len(chosen) for chosen in rows.values()] == [26, 6, 8]


@pytest.mark.parametrize("name", BY_CLASS)
def test_splits_by_class_need_one_class_for_each_clip(name):
    clips, labels = make_notes([20, 20])
    labels[3] = 1
    for given_labels in (labels, np.zeros_like(labels), None):
        with pytest.raises(RepriseError, match=f"split {name} needs clips of exactly one class each, which this corp"):
            splits.draw(name, 0, clips, "corpus", given_labels)


def test_a_corpus_without_folds_names_its_splits():
    clips, labels = make_notes([20, 20], folds=None)
    for some in (clips, clips.drop(columns=["fold", "partition"])):
        with pytest.raises(
            RepriseError, match="no published folds: use one of the splits stratified-80-20, by-pitch, r"
        ):
            splits.draw("folds", 0, some, "corpus", labels)
        for name in ("official", "gururani", "published"):
            with pytest.raises(RepriseError, match="no published partition: use the split random-80-15-5"):
                splits.draw(name, 0, some, "corpus", labels)
    with pytest.raises(RepriseError, match="no published partition: use the split folds or random-80-15-5"):
        splits.draw("official", 0, make_notes([20, 20])[0], "corpus", labels)


def test_corpora_of_one_name_with_other_folds_or_classes_are_kept_apart():
    clips, labels = make_notes([20, 20])
    splits.draw("folds", 0, clips, "corpus", labels)
    splits.draw("folds", 0, clips.assign(fold=(clips["fold"] + 1) % 5), "corpus", labels)
    splits.draw("folds", 0, clips, "corpus", labels[::-1])
    assert len(list((cache_home() / "splits").iterdir())) == 3


@pytest.mark.parametrize("name", ["stratified-80-20", "by-pitch"])
def test_another_process_draws_the_same_by_class(name):
    code = (
        "import numpy as np, pandas as pd\n"
        "from harness.corpora import splits\n"
        "clips = pd.DataFrame({'key': [f'{i:03d}' for i in range(90)]})\n"
        "clips['group'] = [f'{i % 3} {i // 9}' for i in range(90)]\n"
        f"print(splits.draw({name!r}, 5, clips, 'elsewhere', np.eye(3)[np.arange(90) % 3])['test'].tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    clips = pd.DataFrame({"key": [f"{i:03d}" for i in range(90)], "group": [f"{i % 3} {i // 9}" for i in range(90)]})
    here = splits.draw(name, 5, clips, "here", np.eye(3)[np.arange(90) % 3])
    assert json.loads(run.stdout) == here["test"].tolist()
