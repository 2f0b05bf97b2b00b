"""The tree that `harness.corpora.pocket.audioset` writes, as a whole."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness import corpora
from harness.corpora import audioset as reader
from harness.corpora import audioset_pocket, download
from harness.corpora.pocket import audioset
from harness.corpora.pocket.sources import CLASSES, SOURCES
from harness.errors import RepriseError
from harness.storage import sha256_of

SIZE = 40


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("pocket") / "twin"
    audioset.render(root, size=SIZE, jobs=1)
    return root


@pytest.fixture(scope="module")
def told(tree):
    return pd.read_csv(tree / "ground_truth/events.csv")


def sums(root):
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_bytes_with_any_number_of_processes(tree, tmp_path):
    audioset.render(tmp_path / "again", size=SIZE, jobs=2)
    assert sums(tmp_path / "again") == sums(tree)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_another_seed_is_another_corpus():
    (first, _), (second, _) = (audioset.render_clip(audioset.draw_clips(SIZE, seed)[3], seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_the_reader_of_the_published_layout_reads_it(tree, told):
    corpus = reader.read(tree, "pocket-audioset")
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.classes == tuple(CLASSES)
    assert corpus.seconds == 10.0
    assert len(corpus.clips) == SIZE
    assert corpus.facts["parameters"] == {"size": SIZE, "seed": 0}
    assert corpus.facts["segments_without_audio"] == 0
    assert corpus.clips["partition"].value_counts().to_dict() == {"train": 28, "valid": 6, "test": 6}
    # The labels are the classes of what was rendered, no more and no less.
    expected = {key: {one for name in of["source"] for one in SOURCES[name].classes} for key, of in told.groupby("key")}
    for key, row in zip(corpus.clips["key"], corpus.labels, strict=True):
        assert {name for name, there in zip(CLASSES, row, strict=True) if there} == expected[key]
    rows = corpus.split("published").rows
    assert corpus.labels[rows["train"]].sum(axis=0).min() >= 0.02 * len(rows["train"])


def test_the_tables_look_as_published(tree):
    lines = (tree / "balanced_train_segments.csv").read_text().splitlines()
    assert [line[0] for line in lines[:3]] == ["#"] * 3
    assert lines[1].startswith("# num_ytids=28, num_segs=28, num_unique_labels=40, num_positive_labels=")
    assert pd.Series(lines[3:]).str.fullmatch(r'pocket\d{5}, \d+\.000, \d+\.000, "/m/\w+(,/m/\w+)*"').all()
    classes = (tree / "class_labels_indices.csv").read_text()
    assert classes.startswith('index,mid,display_name\n0,/m/0lyf6,"Breathing"\n')
    assert "NOT AudioSet" in (tree / "README.md").read_text()


def test_every_clip_is_ten_seconds_of_sound_without_clipping(tree):
    files = sorted((tree / "audio").iterdir())
    assert len(files) == SIZE
    for path in files:
        audio, rate = soundfile.read(path)
        assert (rate, audio.shape) == (16000, (160_000,))
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() <= 0.95
        assert -55 < 20 * np.log10(np.sqrt((audio**2).mean())) < -10


def test_events_sound_where_the_table_says(tree, told):
    assert told.groupby("key").size().between(1, 4).all()
    assert told.groupby("key").size().nunique() == 4
    assert (told["end"] <= 10.0 + 1e-6).all()
    assert (told["end"] - told["start"] >= 1.4).all()
    silent = 0
    for key, of in told.groupby("key"):
        assert of["end"].min() - of["start"].max() > 0.99  # they meet
        audio, _ = soundfile.read(tree / "audio" / f"{key}.ogg")
        before = audio[: int(16000 * (of["start"].min() - 0.05))] if of["start"].min() > 0.2 else audio[:0]
        loudest = np.sqrt((audio[: 160_000 // 800 * 800].reshape(-1, 800) ** 2).mean(axis=1).max())
        if len(before):
            silent += 1
            assert np.sqrt((before**2).mean()) < 0.05 * loudest
        for event in of.itertuples():
            inside = audio[int(16000 * event.start) : int(16000 * event.end)]
            assert np.abs(inside).max() > 0.03 * loudest
    assert silent > SIZE / 2


@pytest.mark.parametrize("size", [40, 60, 200, 500])
def test_the_plan_keeps_its_promises_at_every_size(size):
    for seed in (0, 1, 2):
        clips = audioset.draw_clips(size, seed)
        evaluation = audioset.draw_eval(clips, seed)
        assert evaluation.sum() == round(0.3 * size)
        shares = {name: np.mean([name in clip.classes for clip in clips]) for name in CLASSES}
        train = [clip for clip, chosen in zip(clips, evaluation, strict=True) if not chosen]
        assert min(np.mean([name in clip.classes for clip in train]) for name in CLASSES) >= 0.02
        assert 0.7 < shares["Music"] < 0.97
        assert len({clip.key for clip in clips}) == size
        assert all(len({name for name, _ in clip.sounds}) == len(clip.sounds) for clip in clips)
        counts = pd.Series([name for clip in clips for name, _ in clip.sounds]).value_counts()
        assert counts.max() - counts.min() <= 2


def test_the_default_size_has_every_program_and_kit():
    presets = {preset for clip in audioset.draw_clips(audioset.DEFAULT_SIZE, 0) for _, preset in clip.sounds if preset}
    assert presets == {preset for source in SOURCES.values() for preset in source.presets}


def test_the_manifest_tells_what_was_made(tree):
    manifest = json.loads((tree / "ground_truth/manifest.json").read_text())
    assert manifest["parameters"] == {"size": SIZE, "seed": 0}
    assert manifest["renderer_version"] == audioset.RENDERER_VERSION
    assert manifest["events"] == len(pd.read_csv(tree / "ground_truth/events.csv"))
    assert min(manifest["share_of_train"].values()) >= 0.02
    assert {"checksums", "eval_segments.csv", "ground_truth/events.csv"} <= manifest["sha256"].keys()
    for name, value in manifest["sha256"].items():
        assert sha256_of(tree / name) == value


@pytest.mark.parametrize(
    ("parameters", "message"), [({"size": 39}, "40 to 100,000 clips"), ({"size": 40, "seed": -1}, "from 0 on")]
)
def test_parameters_out_of_range_are_refused(tmp_path, parameters, message):
    with pytest.raises(RepriseError, match=message):
        audioset.render(tmp_path / "twin", **parameters)
    assert not list(tmp_path.iterdir())


def test_a_killed_rendering_leaves_nothing_under_its_name_and_can_be_done_again(tmp_path):
    root = tmp_path / "twin"
    code = f"from harness.corpora.pocket import audioset; audioset.render({str(root)!r}, size=40, jobs=1)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob(".twin.*.part/audio/*.ogg")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not root.exists()
    assert list(tmp_path.glob(".twin.*.part"))
    audioset.render(root, size=40, jobs=1)
    assert len(list(root.glob("audio/*.ogg"))) == 40
    assert not list(tmp_path.glob(".twin.*.part"))


def test_the_corpus_by_its_name(tree):
    place = audioset_pocket.TWIN.folder(size=SIZE)
    assert place.name == "pocket-audioset-40-seed-0-v1"
    place.parent.mkdir(parents=True)
    place.symlink_to(tree)
    corpus = corpora.load("pocket-audioset-40")
    assert corpus.name == "pocket-audioset-40"
    whole = {"checked": SIZE, "by_form": 0, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("pocket-audioset-40", jobs=1) == whole
    assert download.status("pocket-audioset-40")["here"]
    assert download.status("pocket-audioset-40")["audio_files"] == SIZE
