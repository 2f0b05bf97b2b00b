"""The tree that `harness.corpora.pocket.fsd50k` writes, as a whole."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness import corpora
from harness.corpora import download, fsd50k_pocket
from harness.corpora import fsd50k as reader
from harness.corpora.pocket import fsd50k, words
from harness.corpora.pocket.sources import CLASSES, SOURCES
from harness.errors import RepriseError
from harness.storage import sha256_of

SIZE = 120


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("pocket") / "twin"
    fsd50k.render(root, size=SIZE, jobs=1)
    return root


@pytest.fixture(scope="module")
def corpus(tree):
    return reader.read(tree, "pocket-fsd50k")


@pytest.fixture(scope="module")
def told(tree):
    table = pd.read_csv(tree / "ground_truth/sounds.csv", dtype={"fname": str}, keep_default_na=False)
    return table.set_index("fname")


def sums(root):
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_bytes_with_any_number_of_processes(tree, tmp_path):
    fsd50k.render(tmp_path / "again", size=SIZE, jobs=2)
    assert sums(tmp_path / "again") == sums(tree)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_another_seed_is_another_corpus(tree, tmp_path):
    fsd50k.render(tmp_path / "other", size=SIZE, seed=1, jobs=1)
    audio = [{value for name, value in sums(root).items() if ".wav" in name} for root in (tree, tmp_path / "other")]
    assert not audio[0] & audio[1]


def test_the_reader_of_the_published_layout_reads_it(tree, corpus, told):
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.seconds is None
    assert len(corpus.clips) == SIZE
    assert set(corpus.classes) == {fsd50k.label_of(name) for name in CLASSES}
    assert {"Gunshot_and_gunfire", "Keyboard_(musical)", "Wind_instrument_and_woodwind_instrument"} <= set(
        corpus.classes
    )
    assert list(corpus.classes) == sorted(corpus.classes)
    assert corpus.facts["parameters"] == {"size": SIZE, "seed": 0}
    for key, row in zip(corpus.clips["key"], corpus.labels, strict=True):
        expected = {fsd50k.label_of(name) for name in SOURCES[told.loc[key, "source"]].classes}
        assert {name for name, there in zip(corpus.classes, row, strict=True) if there} == expected
    assert corpus.clips.groupby("group")["partition"].nunique().eq(1).all()
    shares = corpus.clips["partition"].value_counts(normalize=True)
    assert 0.55 < shares["train"] < 0.85
    assert shares["test"] > 0.1
    assert shares["valid"] > 0.01


def test_the_tables_look_as_published(tree):
    dev = (tree / "FSD50K.ground_truth/dev.csv").read_text().splitlines()
    assert dev[0] == "fname,labels,mids,split"
    assert pd.Series(dev[1:]).str.fullmatch(r'\d+,"[\w()-]+(,[\w()-]+)*","/m/\w+(,/m/\w+)*",(train|val)').all()
    assert (tree / "FSD50K.ground_truth/eval.csv").read_text().startswith("fname,labels,mids\n")
    assert (tree / "FSD50K.ground_truth/vocabulary.csv").read_text().startswith("0,Accordion,/m/0mkg\n1,Applause,")
    info = json.loads((tree / "FSD50K.metadata/dev_clips_info_FSD50K.json").read_text())
    assert all(set(one) == {"title", "description", "tags", "license", "uploader"} for one in info.values())
    assert "NOT FSD50K" in (tree / "FSD50K.doc/README.md").read_text()


def test_every_clip_is_a_sound_of_its_length_without_clipping(corpus, told):
    for key, path in zip(corpus.clips["key"], corpus.clips["path"], strict=True):
        audio, rate = soundfile.read(path)
        assert rate == 44100
        assert audio.ndim == 1
        assert len(audio) == round(float(told.loc[key, "seconds"]) * rate)
        assert 0.5 <= len(audio) / rate <= 8.0
        assert np.isfinite(audio).all()
        assert 0.005 < np.abs(audio).max() <= 0.901
        assert reader.is_sound(Path(path))
        frame = audio[: len(audio) // 2205 * 2205].reshape(-1, 2205)
        powers = (frame**2).mean(axis=1)
        level = 10 * np.log10(powers[powers >= powers.max() / 100].mean())
        assert level == pytest.approx(told.loc[key, "loud_db"], abs=0.1)


def test_the_tags_say_what_was_rendered(corpus, told):
    tags = reader.tags(corpus)
    assert all(5 <= len(given) <= 12 and len(set(given)) == len(given) for given in tags)
    uttered = Counter(word for given in tags for word in given)
    assert len(uttered) > 100
    agree = {"loop": [], "reverb": [], "note": [], "source": []}
    for key, given in zip(corpus.clips["key"], tags, strict=True):
        clip = told.loc[key]
        assert "loud" not in given or clip["loud_db"] > -15.1
        assert "quiet" not in given or clip["loud_db"] < -26.9
        assert "short" not in given or clip["seconds"] < 1
        assert "reverb" not in given or "reverb" in clip["treatments"]
        assert not {"loop", "bpm"} & set(given) or clip["kind"] in ("loop", "beat")
        assert all(word == f"{float(clip['tempo']):.0f}bpm" for word in given if word[0].isdigit())
        if clip["kind"] in ("note", "loop"):
            agree[clip["kind"]].append(clip["kind"] in given)
        agree["source"].append(words.SOURCE_WORDS[clip["source"]][0] in given)
        if "reverb" in clip["treatments"]:
            agree["reverb"].append("reverb" in given)
    assert 0.85 < np.mean(agree["source"]) < 1
    for kind in ("loop", "note", "reverb"):
        assert 0.4 < np.mean(agree[kind]) < 1  # people leave words out


def test_the_plan_at_the_default_size():
    uploaders, clips = fsd50k.draw_clips(fsd50k.DEFAULT_SIZE, 0)
    assert len(clips) == 1000
    assert len(uploaders) == 50
    assert len({clip.fname for clip in clips}) == 1000
    assert max(clip.fname for clip in clips) < 10**6
    assert {clip.preset for clip in clips if clip.preset} == {
        preset for source in SOURCES.values() for preset in source.presets
    }
    partition = fsd50k.draw_partition(clips, 0)
    trained = {name for clip, part in zip(clips, partition, strict=True) if part == "train" for name in clip.labels}
    assert trained == {fsd50k.label_of(name) for name in CLASSES}
    shares = pd.Series(partition).value_counts(normalize=True)
    assert shares["eval"] == pytest.approx(0.2, abs=0.03)
    assert shares["val"] == pytest.approx(0.08, abs=0.03)


def test_the_manifest_tells_what_was_made(tree):
    manifest = json.loads((tree / "ground_truth/manifest.json").read_text())
    assert manifest["parameters"] == {"size": SIZE, "seed": 0}
    assert manifest["renderer_version"] == fsd50k.RENDERER_VERSION
    assert sum(manifest["kinds"].values()) == SIZE
    assert 5 <= manifest["tags_per_clip"] <= 12
    assert {"checksums", "FSD50K.ground_truth/dev.csv", "ground_truth/sounds.csv"} <= manifest["sha256"].keys()
    for name, value in manifest["sha256"].items():
        assert sha256_of(tree / name) == value


@pytest.mark.parametrize(
    ("parameters", "message"), [({"size": 39}, "40 to 100,000 clips"), ({"size": 40, "seed": -1}, "from 0 on")]
)
def test_parameters_out_of_range_are_refused(tmp_path, parameters, message):
    with pytest.raises(RepriseError, match=message):
        fsd50k.render(tmp_path / "twin", **parameters)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [40, 41, 60])
def test_small_sizes_have_all_parts(size):
    for seed in range(3):
        uploaders, clips = fsd50k.draw_clips(size, seed)
        assert len(clips) == size
        assert len(uploaders) == 8
        assert set(fsd50k.draw_partition(clips, seed)) == {"train", "val", "eval"}


def test_a_killed_rendering_leaves_nothing_under_its_name_and_can_be_done_again(tmp_path):
    root = tmp_path / "twin"
    code = f"from harness.corpora.pocket import fsd50k; fsd50k.render({str(root)!r}, size=400, jobs=1)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob(".twin.*.part/FSD50K.*_audio/*.wav")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not root.exists()
    assert list(tmp_path.glob(".twin.*.part"))
    fsd50k.render(root, size=40, jobs=1)
    assert len(list(root.glob("FSD50K.*_audio/*.wav"))) == 40
    assert not list(tmp_path.glob(".twin.*.part"))


def test_the_corpus_by_its_name(tree):
    place = fsd50k_pocket.TWIN.folder(size=SIZE)
    assert place.name == "pocket-fsd50k-120-seed-0-v1"
    place.parent.mkdir(parents=True)
    place.symlink_to(tree)
    corpus = corpora.load("pocket-fsd50k-120")
    assert corpus.name == "pocket-fsd50k-120"
    whole = {"checked": SIZE, "by_form": 0, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("pocket-fsd50k-120", jobs=1) == whole
    assert download.status("pocket-fsd50k-120")["here"]
    assert download.status("pocket-fsd50k-120")["audio_files"] == SIZE
