"""The runner: each thing is opened once, measurements become files of the trial, clips are described beside."""

import dataclasses
import pickle
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from trials import CLIPS, cheap_trials

from harness import corpora, features
from harness.corpora import Corpus
from harness.corpora.segments import segmented
from harness.errors import RepriseError
from harness.models import weights
from harness.studies import records
from harness.studies.clips import read_clips, write_clips
from harness.studies.context import Context, Opened
from harness.studies.runner import describe_corpus, run_trials
from replications.openmic_transfer import study as openmic


@pytest.fixture
def opens(monkeypatch) -> Counter:
    """How often corpora, splits, stores and networks are made; all of them are the real ones."""
    counts: Counter = Counter()

    def count(owner, name: str, what: str) -> None:
        real = getattr(owner, name)

        def counted(*arguments, **more):
            counts[what] += 1
            return real(*arguments, **more)

        monkeypatch.setattr(owner, name, counted)

    count(corpora, "load", "corpus")
    count(Corpus, "split", "split")
    count(features, "open_store", "store")
    count(weights, "load", "network with weights")
    count(openmic, "build", "network")
    return counts


def test_one_trial_opens_each_thing_once_in_each_process(pocket, tmp_path, opens):
    (t,) = cheap_trials(tmp_path, "vggish_fc", changes={"epochs": 1, "batch_size": 17})
    contexts = [Context(t)]
    t.study.code.expected(contexts)
    t.study.code.prepare(contexts, jobs=1)
    run_trials(pickle.loads(pickle.dumps(contexts)))  # as a worker gets them
    write_clips(t.study, t.folder.parents[1], contexts[0].opened)
    assert opens == {"corpus": 2, "split": 2, "store": 2, "network with weights": 1, "network": 3}


def test_trials_share_what_they_have_in_common(pocket, tmp_path):
    opened = Opened()
    one, two, official = (
        Context(t, opened)
        for conditions in (["paper", "masked"], ["official-split"])
        for t in cheap_trials(tmp_path, "resnet_fc", conditions=conditions)
    )
    assert one.corpus is two.corpus is official.corpus
    assert one.split is two.split is not official.split
    assert one.store is two.store
    sent = pickle.loads(pickle.dumps([one, two]))
    assert sent[0].opened is sent[1].opened is not opened
    assert "corpus" not in vars(sent[0])


def test_what_is_measured_is_read_back_bit_by_bit(finished, pocket, tmp_path, monkeypatch):
    values = np.array([1 / 3, np.nan, 5e-324, -1e308])
    frame = pd.DataFrame(
        {
            "key": ["0001", "NA", "", 'with "quotes", and\nlines'],
            "double": values,
            "single": np.array([0.1, 1 / 3, np.nan, 7e-46], np.float32),
            "count": [1, -(2**53) - 1, 3, 4],
            "right": [True, False, True, False],
        }
    )
    seen = []

    def measure(context, model):
        keys = context.corpus.clips["key"].to_numpy(str)
        with torch.no_grad():
            logits = model(torch.from_numpy(np.array(context.store.array[context.rows["test"]])))
        seen.append((model.training, keys[context.rows["test"]], torch.sigmoid(logits).numpy()))
        return {"table": frame, "arrays": {"values": values, "names": np.array(["a", "é"])}}

    monkeypatch.setattr(openmic, "measure", measure, raising=False)
    t = dataclasses.replace(finished["resnet_fc"], folder=tmp_path / "trial")
    run_trials([Context(t)])
    record = records.verify(t.folder)
    ((training, keys, said),) = seen
    assert not training
    np.testing.assert_array_equal(keys, record.predictions("test").keys)
    np.testing.assert_allclose(said, record.predictions("test").probabilities, atol=1e-5)
    pd.testing.assert_frame_equal(record.measured("table"), frame, check_exact=True)
    assert record.measured("arrays").keys() == {"values", "names"}
    assert record.measured("arrays")["values"].tobytes() == values.tobytes()
    assert record.measured("arrays")["names"].tolist() == ["a", "é"]
    assert record.measured("nothing") is record.measured("predictions") is None
    assert b"\r" not in (t.folder / "table.csv").read_bytes()
    records.write_measured(tmp_path, {"table": frame, "arrays": record.measured("arrays")})
    for name in ("table.csv", "arrays.npz"):
        assert (tmp_path / name).read_bytes() == (t.folder / name).read_bytes()
    (t.folder / "arrays.npz").write_bytes((tmp_path / "arrays.npz").read_bytes()[:-1])
    with pytest.raises(RepriseError, match=r"arrays\.npz was changed"):
        records.verify(t.folder)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"predictions": {"a": np.zeros(2)}}, "'predictions' cannot be the name"),
        ({"../outside": {"a": np.zeros(2)}}, "cannot be the name"),
        ({"maps": {"a": np.array([{}])}}, "the array 'a' of maps holds objects"),
    ],
)
def test_a_measurement_that_cannot_be_kept_is_said(tmp_path, measured, message):
    with pytest.raises(ValueError, match=message):
        records.write_measured(tmp_path, measured)
    assert not list(tmp_path.iterdir())


def test_a_study_that_measures_nothing_writes_nothing(finished):
    assert {path.suffix for path in finished["resnet_fc"].folder.iterdir()} == {
        *(".json", ".npz", ".jsonl", ".safetensors")
    }
    assert records.read_record(finished["resnet_fc"].folder).data["measured"] == {}


def test_labels_of_the_corpus_are_counted(finished, pocket):
    told = records.read_record(finished["resnet_fc"].folder).data["inputs"]["corpus"]
    corpus = corpora.load(pocket)
    assert told["clips"] == CLIPS
    for c, name in enumerate(corpus.classes):
        labels, asked = corpus.labels[:, c], corpus.mask[:, c]
        expected = [(labels[asked] == 1).sum(), (labels[asked] == 0).sum(), (~asked).sum()]
        assert list(told["labels"][name].values()) == expected
    assert describe_corpus(corpus)["labels"] == told["labels"]


def test_clips_are_those_scored_with_their_groups_and_relevance(finished, pocket):
    t = finished["resnet_fc"]
    place = t.folder.parents[1]
    frame = read_clips(place)
    scored = np.unique(np.concatenate([p.keys for p in records.read_record(t.folder).parts().values()]))
    assert set(scored) <= set(frame["key"])
    assert frame["key"].is_monotonic_increasing
    assert frame["key"].is_unique
    corpus = corpora.load(pocket)
    rows = corpus.clips.set_index("key").index.get_indexer(frame["key"])
    group = corpus.clips["group"].iloc[rows].astype(str)
    assert frame["group"].tolist() == group.tolist()
    np.testing.assert_array_equal(frame.filter(like="relevance_").to_numpy(), corpus.relevance[rows])
    before = (place / "clips.csv").read_bytes()
    (place / "clips.csv").unlink()
    write_clips(t.study, place)
    assert (place / "clips.csv").read_bytes() == before
    (place / "clips.csv").write_text("key,group\nother,other\n")
    write_clips(t.study, place, anew=False)  # it lacks what was scored
    assert (place / "clips.csv").read_bytes() == before


def test_a_study_says_what_else_is_known_of_a_clip_and_what_is_drawn_whole(finished, pocket, monkeypatch):
    def clips(contexts):
        keys = contexts[0].whole.clips["key"]
        return pd.DataFrame({"key": keys, "group": [f"song {i // 2}" for i in range(len(keys))], "bars": 4})

    t = finished["resnet_fc"]
    place = t.folder.parents[1]
    before = (place / "clips.csv").read_bytes()
    monkeypatch.setattr(openmic, "clips", clips, raising=False)
    write_clips(t.study, place)
    frame = read_clips(place)
    (place / "clips.csv").write_bytes(before)
    assert set(frame["bars"]) == {4}
    assert frame["group"].str.startswith("song ").all()
    assert frame.columns[:2].tolist() == ["key", "group"]


def test_a_key_that_no_corpus_has_is_its_own_group_and_a_segment_is_its_clips():
    clips = pd.DataFrame({"key": ["a", "b"], "path": "", "group": [None, "x"]})
    corpus = Corpus("c", None, ("k",), 1.0, clips, np.zeros((2, 1), np.uint8), np.ones((2, 1), bool), {})
    assert segmented(corpus, 2).clips["group"].tolist() == ["a", "a", "x", "x"]


def test_an_empty_part_is_said(pocket, tmp_path):
    (t,) = cheap_trials(tmp_path, "resnet_fc")
    context = Context(t)
    with pytest.raises(RepriseError, match="the train part of random-80-15-5 on pocket-openmic-60 is empty; use a lar"):
        context.usable(np.zeros(CLIPS, bool))
