"""The tree that `harness.corpora.pocket.openmic` writes, as a whole."""

import json
import resource
import signal
import subprocess
import sys
import time

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from harness.corpora import openmic as reader
from harness.corpora.pocket import openmic, synth
from harness.corpora.pocket.instruments import CLASSES
from harness.errors import RepriseError
from harness.storage import sha256_of

SIZE = 30


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("pocket") / "twin"
    openmic.render(root, size=SIZE, jobs=1)
    return root


def sums(root):
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(root.rglob("*")) if path.is_file()}


def keys_of(root):
    return pd.read_csv(root / "ground_truth" / "full-labels.csv")["sample_key"].tolist()


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_same_bytes_with_any_number_of_processes(tree, tmp_path, jobs):
    openmic.render(tmp_path / "again", size=SIZE, jobs=jobs)
    assert sums(tmp_path / "again") == sums(tree)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_another_seed_is_another_corpus(tree, tmp_path):
    openmic.render(tmp_path / "other", size=20, seed=1, jobs=1)
    assert not set(sums(tmp_path / "other").values()) & {
        value for name, value in sums(tree).items() if name.startswith("audio/")
    }


def test_the_reader_of_the_published_layout_reads_it(tree):
    corpus = reader.read(tree, "pocket-openmic")
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.classes == CLASSES
    assert corpus.clips["key"].tolist() == keys_of(tree)
    assert corpus.mask.mean() == 0.5
    truth = openmic.full_labels(tree)
    np.testing.assert_array_equal(corpus.labels[corpus.mask], truth[corpus.mask])
    parts = corpus.clips.groupby("group")["partition"].nunique()
    assert (parts == 1).all()
    assert set(corpus.clips["partition"]) == {"train", "test"}
    assert reader.embeddings(corpus).shape == (SIZE, 10, 128)
    assert reader.audio_checksums(tree).keys() == {f"audio/{k[:3]}/{k}.ogg" for k in keys_of(tree)}


def test_the_arrays_agree_with_the_tables_and_the_embeddings(tree):
    with np.load(tree / "openmic-2018.npz", allow_pickle=True) as arrays:  # our own file; keys are objects as published
        assert {name: arrays[name].dtype.kind for name in arrays} == {
            "X": "u", "Y_true": "f", "Y_mask": "b", "sample_key": "O"
        }  # fmt: skip
        features, relevance, mask, keys = (arrays[name] for name in ("X", "Y_true", "Y_mask", "sample_key"))
    assert keys.tolist() == keys_of(tree)
    assert (relevance[~mask] == 0.5).all()
    table = pd.read_csv(tree / "openmic-2018-aggregated-labels.csv")
    rows = [keys.tolist().index(key) for key in table["sample_key"]]
    columns = [CLASSES.index(name) for name in table["instrument"]]
    np.testing.assert_array_equal(relevance[rows, columns], table["relevance"])
    for row in (0, SIZE - 1):
        stored = json.loads((tree / "vggish" / keys[row][:3] / f"{keys[row]}.json").read_text())
        np.testing.assert_array_equal(stored["features"], features[row])
        assert stored["time_points"] == [0.0, 0.96, 1.92, 2.88, 3.84, 4.8, 5.76, 6.72, 7.68, 8.64]


def test_every_clip_is_ten_seconds_of_sound_without_clipping(tree):
    for key in keys_of(tree):
        audio, rate = soundfile.read(tree / "audio" / key[:3] / f"{key}.ogg")
        assert (rate, audio.shape) == (44100, (441000, 2))
        assert np.abs(audio).max() <= 0.95
        assert -40 < 20 * np.log10(np.sqrt((audio**2).mean())) < -12


def test_stems_add_up_to_the_decoded_clip_and_sound_where_the_activity_says(tree):
    active, seconds = openmic.activity(tree)
    assert active.shape == (SIZE, 20, 100)
    assert seconds == pytest.approx(0.1)
    truth = openmic.full_labels(tree)
    np.testing.assert_array_equal(active.any(axis=2), truth == 1)
    assert active.mean(axis=2)[truth == 1].min() >= 0.35
    assert active.mean(axis=2)[truth == 1].max() <= 1
    for row in np.flatnonzero(truth.sum(axis=1) > 1)[:6]:
        key = keys_of(tree)[row]
        decoded = soundfile.read(tree / "audio" / key[:3] / f"{key}.ogg")[0].mean(axis=1)
        names = [CLASSES[c] for c in np.flatnonzero(truth[row])]
        stems = {name: openmic.stem(tree, key, name)[0] for name in names}
        assert np.corrcoef(sum(stems.values()), decoded)[0, 1] > 0.98
        levels = []
        for name, audio in stems.items():
            assert audio.shape == (441000,)
            assert audio.dtype == np.float32
            there = active[row, CLASSES.index(name)]
            # librosa's frames as the oracle: sounding frames are louder than the others, and none is far down.
            energy = librosa.feature.rms(y=audio, frame_length=4410, hop_length=4410, center=False)[0]
            assert energy[there].min() > energy[~there].max(initial=0)
            levels.append(20 * np.log10(np.sqrt((energy[there] ** 2).mean())))
        assert max(levels) - min(levels) < 12


def test_the_manifest_tells_what_was_made(tree):
    manifest = json.loads((tree / "ground_truth" / "manifest.json").read_text())
    assert manifest["parameters"] == {"size": SIZE, "density": 0.5, "seed": 0}
    assert manifest["renderer_version"] == openmic.RENDERER_VERSION
    for name, value in manifest["sha256"].items():
        assert sha256_of(tree / name) == value
    assert {"checksums", "openmic-2018.npz", "ground_truth/activity.npz"} <= manifest["sha256"].keys()
    assert "NOT VGGish" in (tree / "acknowledgement.md").read_text()


def test_a_corpus_that_is_there_is_left_and_anything_else_is_not_overwritten(tree, tmp_path):
    before = (tree / "checksums").stat().st_mtime_ns
    openmic.render(tree, size=SIZE, jobs=1)
    assert (tree / "checksums").stat().st_mtime_ns == before
    with pytest.raises(RepriseError, match="is not empty: delete it"):
        openmic.render(tree, size=SIZE + 1, jobs=1)
    assert (tree / "checksums").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"size": 19}, "20 to 100,000 clips"), ({"size": 20, "seed": -1}, "from 0 on"), ({"density": 2}, "between 0.05")],
)
def test_parameters_out_of_range_are_refused(tmp_path, parameters, message):
    with pytest.raises(RepriseError, match=message):
        openmic.render(tmp_path / "twin", **parameters)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_so_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))  # no clip fits
    try:
        with pytest.raises(RepriseError, match=r"cannot write .*; free some space or choose another folder"):
            openmic.render(tmp_path / "twin", size=20, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "twin").exists()
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))


def test_a_killed_rendering_leaves_nothing_under_its_name_and_can_be_done_again(tmp_path):
    root = tmp_path / "twin"
    code = f"from harness.corpora.pocket import openmic; openmic.render({str(root)!r}, size=20, jobs=1)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob(".twin.*.part/audio/*/*.ogg")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not root.exists()
    assert list(tmp_path.glob(".twin.*.part"))
    openmic.render(root, size=20, jobs=1)
    assert len(list(root.glob("audio/*/*.ogg"))) == 20
    assert not list(tmp_path.glob(".twin.*.part"))


def test_questions_about_what_is_not_there(tree, tmp_path):
    key = keys_of(tree)[0]
    silent = CLASSES[int(np.flatnonzero(openmic.full_labels(tree)[0] == 0)[0])]
    with pytest.raises(RepriseError, match=f"no {silent} plays in {key}: choose from"):
        openmic.stem(tree, key, silent)
    with pytest.raises(RepriseError, match="has no clip 999999_0"):
        openmic.stem(tree, "999999_0", "piano")
    for question in (openmic.activity, openmic.full_labels, lambda root: openmic.stem(root, key, "piano")):
        with pytest.raises(RepriseError, match="no readable ground truth"):
            question(tmp_path)


def test_names_of_folders_tell_corpora_apart():
    names = {openmic.folder_name(*some) for some in ((600, 0.5, 0), (601, 0.5, 0), (600, 0.103, 0), (600, 0.5, 1))}
    assert len(names) == 4
    assert openmic.folder_name() == f"pocket-openmic-600-density-0.5-seed-0-v{openmic.RENDERER_VERSION}"
    assert synth.SAMPLES == 441000
