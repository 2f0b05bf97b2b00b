"""Pre-training runs: what they leave behind, and that interruptions and rivals do them no harm."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from harness import corpora
from harness.corpora import Corpus
from harness.errors import RepriseError
from harness.models.vggish import encoder
from replications.attention_embeddings import objectives, pretraining, word_vectors

WIDTH = 1 / 32
COMMON = {"width": WIDTH, "epochs": 3, "patience": 5, "batch_size": 8, "learning_rate": 1e-3}
SETTINGS = {
    "aed": {**COMMON, "corpus": "events"},
    "textual": {**COMMON, "corpus": "notes", "patch": "first", "margin": 0.5, "words": "seeded"},
    "den_add": {**COMMON, "corpus": "notes", "patch": "first", "noise": 0.1},
    "den_mul": {**COMMON, "corpus": "notes", "patch": "first", "keep": 0.5},
    "align": {
        **COMMON,
        "corpus": "sounds",
        "patch": "loudest",
        "temperature": 0.1,
        "optimizer": "sgd",
        "tags": 20,
        "least_uses": 2,
        "patience": 0,
    },
}
WORDS = ("dog", "rain", "bell", "engine", "voice")


def make_corpus(folder: Path, name: str) -> Corpus:
    """Thirty noisy tones in three parts; every fifth has no label and no tag."""
    seconds = {"notes": 1.0, "events": 2.0, "sounds": None}[name]
    classes = tuple(f"class {i}" for i in range(10 if name == "notes" else 4))
    rng = np.random.default_rng(5)
    labels, table = np.zeros((30, len(classes)), np.uint8), []
    (folder / name).mkdir()
    for i in range(30):
        path = folder / name / f"{i:02d}.wav"
        time = np.arange(round(16000 * (seconds or rng.uniform(0.3, 2.5)))) / 16000
        tone = np.sin(2 * np.pi * 200 * (1 + i % len(classes)) * time) * np.exp(-2 * time)
        sf.write(path, 0.5 * tone + rng.normal(0, 1e-3, len(time)), 16000)
        if i % 5:
            labels[i, i % len(classes)] = 1
        part = "valid" if i % 6 == 4 else "test" if i % 6 == 5 else "train"
        table.append({"key": path.stem, "path": str(path), "group": path.stem, "partition": part})
    clips = pd.DataFrame(table)
    return Corpus(name, folder / name, classes, seconds, clips, labels, np.ones(labels.shape, bool), facts={})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    return {name: make_corpus(folder, name) for name in ("notes", "events", "sounds")}


@pytest.fixture(autouse=True)
def _loaded(made, monkeypatch):
    monkeypatch.setattr(corpora, "load", lambda name, root=None, *, jobs=None: made[name])
    given = [() if i % 5 == 0 else (WORDS[i % 5], f"{WORDS[(i + 1) % 5]}s") for i in range(30)]
    monkeypatch.setattr(objectives.fsd50k, "tags", lambda corpus: given)


def weights_of(run):
    return pretraining.load_encoder(run).state_dict()


def run(objective, seed=0, settings=None, **others):
    return pretraining.run(objective, {**SETTINGS[objective], **(settings or {})}, seed=seed, jobs=1, **others)


@pytest.mark.parametrize("objective", SETTINGS)
def test_what_a_run_leaves_behind(objective):
    seen = []
    finished = run(objective, on_epoch=seen.append)
    names = {"best.safetensors", "encoder.safetensors", "history.jsonl", "pretraining.json"}
    assert {path.name for path in finished.folder.iterdir()} == names
    told = finished.description
    assert told == json.loads((finished.folder / "pretraining.json").read_text())
    assert told["objective"] == objective
    assert told["corpus"] == SETTINGS[objective]["corpus"]
    assert told["width"] == WIDTH
    assert told["epochs"] == len(told["history"]) == 3
    assert told["history"] == seen
    assert told["history"] == [json.loads(line) for line in (finished.folder / "history.jsonl").open()]
    losses = [entry["valid_loss"] for entry in told["history"]]
    assert told["best_epoch"] == 1 + int(np.argmin(losses))
    assert losses[-1] < losses[0]
    assert told["parameters"]["encoder"] == sum(p.numel() for p in encoder(WIDTH).parameters())
    assert told["parameters"]["total"] > told["parameters"]["encoder"]
    assert told["environment"]["device"] == "cpu"


@pytest.mark.parametrize(
    ("objective", "train", "valid"),
    [("aed", 40, 10), ("den_add", 20, 5), ("textual", 16, 4), ("align", 16, 4)],
)
def test_which_examples_count(objective, train, valid):
    """Both patches of a two-second clip; no note without a quality; no sound without a tag of the vocabulary."""
    assert pretraining.prepare(objective, SETTINGS[objective], jobs=1) == {"train": train, "valid": valid}
    assert pretraining.example_counts(objective, SETTINGS[objective]) == {"train": train, "valid": valid}
    assert run(objective).description["examples"] == {"train": train, "valid": valid}


def test_examples_have_the_labels_of_their_clips(made):
    settings = SETTINGS["aed"]
    inputs = pretraining._open("aed", settings, 1, False, None)
    examples, rows = pretraining._examples(inputs, settings)
    assert examples.inputs.shape == (60, 1, 96, 64)
    for clip in (0, 7, 29):
        for patch in range(2):
            np.testing.assert_array_equal(examples.inputs[2 * clip + patch, 0], inputs.store.array[clip, patch])
            np.testing.assert_array_equal(examples.labels[2 * clip + patch], made["events"].labels[clip])
    clips = made["events"].split("published").rows
    for part in ("train", "valid"):
        assert sorted(set(rows[part] // 2)) == clips[part].tolist()
        assert len(set(rows[part])) == 2 * len(clips[part])


@pytest.mark.parametrize("objective", ["textual", "den_add", "den_mul", "align"])
def test_interrupted_and_resumed_gives_the_same_bits(objective, tmp_path, monkeypatch):
    whole = weights_of(run(objective))
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "second-home"))

    def interrupt(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(objective, on_epoch=interrupt)
    assert not pretraining.finished(objective, SETTINGS[objective], seed=0)
    with pytest.raises(RepriseError, match=f"the pre-training {objective} on .* was not run to its end"):
        pretraining.find(objective, SETTINGS[objective], seed=0)
    resumed_at = []
    resumed = weights_of(run(objective, on_epoch=lambda entry: resumed_at.append(entry["epoch"])))
    assert resumed_at == [3]
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_interrupted_after_the_last_epoch(monkeypatch):
    """The manifest comes last: without it the run is not finished, and nothing is trained again for it."""
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "write_json", lambda path, value: pytest.fail("interrupted here"))
        with pytest.raises(pytest.fail.Exception, match="interrupted here"):
            run("den_add")
    assert not pretraining.finished("den_add", SETTINGS["den_add"], seed=0)
    finished = run("den_add", on_epoch=lambda entry: pytest.fail("trained again"))
    assert finished.description["epochs"] == 3
    assert not (finished.folder / "checkpoint.pt").exists()


def test_a_finished_run_is_found_and_not_run_again(monkeypatch):
    settings = SETTINGS["den_add"]
    assert not pretraining.finished("den_add", settings, seed=0)
    first = run("den_add")
    assert pretraining.finished("den_add", settings, seed=0)
    monkeypatch.setattr(pretraining.loop, "fit", lambda *args, **kwargs: pytest.fail("trained again"))
    assert run("den_add") == first
    assert pretraining.find("den_add", settings, seed=0) == first


def test_what_determines_the_weights_makes_another_run(made, monkeypatch):
    folders = [run("den_add").folder]
    folders.append(run("den_add", seed=1).folder)
    folders.append(run("den_add", settings={"noise": 0.2}).folder)
    folders.append(run("den_add", settings={"patch": "loudest", "epochs": 1}).folder)
    folders.append(run("den_mul").folder)
    assert len(set(folders)) == 5
    assert not pretraining.finished("den_add", SETTINGS["den_add"], seed=2)
    fewer = Corpus(**{**vars(made["notes"]), "clips": made["notes"].clips.assign(key=[f"x{i}" for i in range(30)])})
    monkeypatch.setattr(corpora, "load", lambda name, root=None, *, jobs=None: fewer)
    assert not pretraining.finished("den_add", SETTINGS["den_add"], seed=0)


def test_other_word_vectors_make_another_run(tmp_path):
    seeded = run("textual")
    vectors = np.random.default_rng(0).normal(size=(10, 300))
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in zip(word_vectors.WORDS, vectors, strict=True)]
    (tmp_path / "glove.txt").write_text("\n".join(lines))
    read = run("textual", settings={"words": str(tmp_path / "glove.txt")})
    assert read.folder != seeded.folder
    assert read.description["words"]["file"] == "glove.txt"
    assert seeded.description["words"] == {"kind": "seeded"}
    assert run("textual", settings={"words": "published"}).folder == read.folder  # as read from that file


def test_seeds_differ_and_repeat(tmp_path, monkeypatch):
    drawn = []
    for seed, home in ((0, "a"), (0, "b"), (1, "c")):
        monkeypatch.setenv("REPRISE_HOME", str(tmp_path / home))
        drawn.append(weights_of(run("align", seed=seed)))
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert not torch.equal(drawn[0]["features.0.weight"], drawn[2]["features.0.weight"])


def test_the_encoder_holds_the_weights_of_the_best_epoch():
    finished = run("aed", settings={"learning_rate": 0.05, "epochs": 6})
    best = pretraining.loop.read_learned(finished.folder / "best.safetensors")
    loaded = pretraining.load_encoder(finished.folder)
    assert not loaded.training
    assert list(loaded.state_dict()) == list(encoder(WIDTH).state_dict())
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, best[f"encoder.{name}"])


def test_two_that_want_the_same_run_train_once(monkeypatch):
    pretraining.prepare("den_add", SETTINGS["den_add"], jobs=1)
    epochs, results = [], []

    def train():
        results.append(run("den_add", on_epoch=epochs.append))

    rivals = [threading.Thread(target=train) for _ in range(2)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    assert results[0] == results[1]
    assert len(epochs) == 3


@pytest.mark.parametrize("fault", ["changed", "cut", "gone"])
def test_damaged_weights_are_refused(fault):
    finished = run("den_add", settings={"epochs": 1})
    path = finished.folder / "encoder.safetensors"
    if fault == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.unlink()
    with pytest.raises(RepriseError, match=r"encoder\.safetensors is not what the pre-training wrote; remove"):
        pretraining.load_encoder(finished)


def test_a_folder_without_a_finished_run(tmp_path):
    with pytest.raises(RepriseError, match="holds no finished pre-training"):
        pretraining.load_encoder(tmp_path)
    (tmp_path / "pretraining.json").write_text("{")
    with pytest.raises(RepriseError, match="holds no finished pre-training"):
        pretraining.read(tmp_path)


def test_patience_ends_training_and_zero_never_does():
    """At a rate of zero the first epoch stays the best."""
    still = {"learning_rate": 0.0, "epochs": 8}
    assert run("den_add", settings={**still, "patience": 2}).description["epochs"] == 3
    assert run("den_add", settings={**still, "patience": 0}).description["epochs"] == 8


def test_a_last_batch_of_one_is_no_obstacle():
    """Sixteen notes in batches of five: batch normalisation cannot work on the one that is left."""
    assert run("textual", settings={"batch_size": 5, "epochs": 1}).description["epochs"] == 1


@pytest.mark.parametrize(
    ("objective", "settings", "reason"),
    [
        ("den_add", {"margin": 0.5}, "pre-training den_add: margin missing or unknown; its settings are batch_size, "),
        ("align", {"optimizer": "lion"}, "there is no optimizer 'lion'; choose adam or sgd"),
        ("den_add", {"batch_size": 64}, "notes gives 20 examples to train and 5 to validate on, and a batch has 64"),
        ("align", {"least_uses": 30}, "none of the 5 tags of 25 clips is used by at least 30"),
        ("den_add", {"patch": "last"}, "which is 'last'; give 'first' or 'loudest'"),
        ("textual", {"words": "nowhere.txt"}, "there is no word-vector file nowhere.txt"),
        ("textual", {"corpus": "events"}, "needs the 10 qualities of NSynth"),
    ],
)
def test_settings_that_cannot_be(objective, settings, reason):
    with pytest.raises(RepriseError, match=reason):
        run(objective, settings=settings)


def test_missing_settings_and_unknown_objectives():
    without = {key: value for key, value in SETTINGS["aed"].items() if key != "epochs"}
    with pytest.raises(RepriseError, match="pre-training aed: epochs missing or unknown"):
        pretraining.prepare("aed", without)
    with pytest.raises(RepriseError, match=r"no pre-training objective 'colour'; there are: aed, textual, den_add"):
        pretraining.prepare("colour", without)


def test_bad_audio_can_be_left_out(made, tmp_path, monkeypatch):
    root = shutil.copytree(made["notes"].root, tmp_path / "notes")
    clips = made["notes"].clips.assign(path=[str(root / f"{i:02d}.wav") for i in range(30)])
    (root / "00.wav").unlink()
    broken = Corpus(**{**vars(made["notes"]), "root": root, "clips": clips})
    monkeypatch.setattr(corpora, "load", lambda name, root=None, *, jobs=None: broken)
    with pytest.raises(RepriseError, match="1 of 30 audio files of notes cannot be used"):
        run("den_add")
    assert pretraining.prepare("den_add", SETTINGS["den_add"], jobs=1, skip_bad=True)["train"] == 19
    assert run("den_add", skip_bad=True).description["left_out"] == {"00": "is missing"}


def test_operations_of_a_patch():
    assert pretraining.flops_per_example(1.0) == 2 * 863_895_552
    assert pretraining.flops_per_example(1 / 8) < pretraining.flops_per_example(1.0) / 40
