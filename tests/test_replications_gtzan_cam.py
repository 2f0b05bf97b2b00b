"""The genre study: the write-up to the last number; its protocols, arms and trials."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from rich.console import Console
from trials import reprise

from harness import corpora, features
from harness.corpora import splits
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.metrics import multiclass
from harness.models import count_parameters
from harness.studies import executor, networks, records, study
from harness.studies.context import Context
from harness.studies.trial import Trial
from replications.gtzan_cam.study import build

STUDY = study.load("gtzan-cam")
PAPER = STUDY.resolve("paper", "paper")
NETS = ("base", "masked", "cam")
POCKET = "pocket-gtzan-40"
#: What makes a trial a matter of seconds: few tracks, coarse pictures, two epochs.
CHEAP = {"corpus": POCKET, "epochs": 2, "front_end": {"n_mels": 32, "time_pool": 5}}


def cheap_trials(runs: Path, *arms: str, changes: dict | None = None, **settings) -> list[Trial]:
    settings = {"profile": "pocket", "conditions": ["paper"], **settings}
    return executor.plan(STUDY, runs=runs, arms=arms, changes={**CHEAP, **(changes or {})}, **settings)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A cache folder that the tests share."""
    return tmp_path_factory.mktemp("gtzan-home")


@pytest.fixture
def tracks(home, monkeypatch) -> str:
    """Name of the pocket corpus; what is computed of it is shared between tests."""
    monkeypatch.setenv("REPRISE_HOME", str(home))
    torch.set_num_threads(1)
    return POCKET


@pytest.fixture(scope="module")
def played(home, tmp_path_factory) -> dict[str, Trial]:
    """Every arm and condition that runs by default, by label."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(home))
        runs = tmp_path_factory.mktemp("runs")
        planned = cheap_trials(runs, conditions=[])
        executor.execute(planned, jobs=1, console=Console(file=io.StringIO()))
    return {t.label: t for t in planned}


# What the write-up states.


def test_the_result_line_is_the_write_ups():
    printed = {(entry["table"], entry["arm"]): entry["value"] for entry in STUDY.published}
    for table, values in (
        ("train", (0.7738, 0.8301, 0.5155)),
        ("valid", (0.6708, 0.6844, 0.6823)),
        ("test", (0.6823, 0.6990, 0.6812)),
    ):
        assert tuple(printed[table, net] for net in NETS) == values


def test_accuracies_of_validation_and_test_are_multiples_of_1_in_960_and_of_no_smaller_number():
    """Which tells that segments were counted: 150 tracks would step by 0.67 %."""
    printed = [100 * entry["value"] for entry in STUDY.published if entry["table"] != "train"]

    def attainable(items: int) -> bool:
        return all(
            any(round(100 * k / items, 2) == round(value, 2) for k in range(int(value * items / 100) - 1, items + 1))
            for value in printed
        )

    assert len(printed) == 6
    assert next(n for n in itertools.count(50) if attainable(n)) == 960
    assert not attainable(150)
    correct = [round(value * 960 / 100) for value in printed]
    assert sorted(correct) == [644, 654, 655, 655, 657, 671]


@pytest.mark.parametrize("tracks", [1000, 999])
@pytest.mark.parametrize("condition", ["paper", "track"])
def test_6400_segments_are_cut_70_15_15(tracks, condition, monkeypatch, tmp_path):
    """960 of 6,400 are 15 %, whole batches all of them; a copy without one track of jazz gives as many."""
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path))
    keys = [f"g{n // 100}.{n % 100:05d}" for n in range(1000)][-tracks:]
    clips = pd.DataFrame({"key": [f"{k}#{s}" for k in keys for s in range(10)], "clip": np.repeat(keys, 10)})
    labels = np.eye(10, dtype=np.uint8)[[int(key[1]) for key in clips["key"]]]
    clips["group"] = clips["clip"]
    rows = splits.draw(STUDY.resolve("paper", condition)["split"], 0, clips, "gtzan", labels)
    sizes = {part: len(chosen) for part, chosen in rows.items()}
    if condition == "paper":
        assert sizes == {"train": 4480, "valid": 960, "test": 960}
        assert {size % PAPER["batch_size"] for size in sizes.values()} == {0}
    assert sum(sizes.values()) == 6400
    assert sizes["test"] == pytest.approx(960, abs=40)
    assert np.bincount(labels.argmax(axis=1)[np.concatenate(list(rows.values()))]).tolist() == [640] * 10
    assert bool(set(clips["clip"][rows["train"]]) & set(clips["clip"][rows["test"]])) == (condition == "paper")


def test_the_paper_profile_is_our_reading_and_the_pocket_profile_differs_in_size_alone():
    stated = {"segments": 10, "epochs": 10, "batch_size": 64, "learning_rate": 1e-3, "steepness": 0.5}
    assert {key: PAPER[key] for key in stated} == stated
    assert features.front_end(**PAPER["front_end"]) == features.front_end("mel_segments")
    assert features.front_end(**PAPER["released_front_end"]) == features.front_end("mel_squares")
    pocket = STUDY.resolve("pocket", "paper")
    changed = {key for key in PAPER if PAPER[key] != pocket[key]}
    assert changed == {"corpus", "batch_size", "front_end", "released_front_end"}


@pytest.mark.parametrize("arm", STUDY.arms, ids=lambda arm: arm.name)
def test_arms_have_the_parameters_that_they_state(arm):
    """`build` itself refuses another number, and a wrong entry is refused."""
    released = arm.name.startswith("released")
    protocol = STUDY.resolve("paper", "released" if released else "paper")
    corpus = FakeCorpus(tuple("abcdefghij"))
    with torch.device("meta"):
        assert count_parameters(build(arm, corpus, protocol).network) == arm.parameters
        wrong = study.Arm(**{**vars(arm), "parameters": arm.parameters + 1})
        with pytest.raises(RepriseError, match="correct its entry"):
            build(wrong, corpus, protocol)


class FakeCorpus:
    """Classes are all that building an arm needs."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes


def test_a_front_end_of_other_segments_than_the_protocols_is_refused():
    protocol = {**PAPER, "front_end": {**PAPER["front_end"], "segments": 5}}
    with pytest.raises(RepriseError, match="cuts 5 segments and the protocol counts 10"):
        build(STUDY.arm("base"), FakeCorpus(("a", "b")), protocol)


def test_what_runs_by_default(tmp_path):
    planned = executor.plan(STUDY, profile="pocket", runs=tmp_path)
    by_condition = {c: {t.arm.name for t in planned if t.condition.name == c} for c in ("paper", "track", "filtered")}
    assert by_condition["track"] == by_condition["filtered"] == {"base", "masked", "masked_loss", "cam"}
    assert by_condition["paper"] == by_condition["track"] | {"base_5x5", "base_3x9", "base_9x3"}
    assert len(planned) == 15  # of one seed


# Protocols.


def test_segments_leak_tracks_leak_artists_and_the_lists_leak_nothing(tracks, tmp_path):
    parts = {}
    for condition in ("paper", "track", "filtered"):
        (planned,) = cheap_trials(tmp_path, "base", conditions=[condition])
        context = Context(planned)
        corpus, rows = context.corpus, context.split.rows
        keys = {part: clips_of(corpus.clips["key"].to_numpy(dtype=str)[chosen]) for part, chosen in rows.items()}
        artists = {part: set(corpus.clips["artist"].iloc[chosen]) for part, chosen in rows.items()}
        parts[condition] = (set(keys["train"]) & set(keys["test"]), artists["train"] & artists["test"])
    assert len(parts["paper"][0]) > 10
    assert not parts["track"][0]
    assert parts["track"][1]
    assert not parts["filtered"][0]
    assert not parts["filtered"][1]


# Trials.


def test_every_arm_leaves_a_sound_record(tracks, played):
    assert len(played) == 15
    corpus = corpora.load(tracks)
    for label, t in played.items():
        record = records.verify(t.folder)
        assert record.data["task"] == "multiclass"
        assert record.data["best_epoch"] == record.data["epochs"] == 2  # the last epoch's weights
        assert {"accuracy", "train_accuracy"} <= set(record.history().columns), label
        predictions = record.predictions("test")
        assert len(predictions.keys) == record.data["split"]["sizes"]["test"]
        assert set(clips_of(predictions.keys)) <= set(corpus.clips["key"])
        np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_tracks_accuracy_is_that_of_its_segments_mean(tracks, played):
    predictions = records.read_record(played["base@filtered"].folder).predictions("test")
    of_tracks = records.by_clip(predictions)
    assert len(of_tracks.keys) * 10 == len(predictions.keys)
    right = 0
    for key in of_tracks.keys:
        mine = clips_of(predictions.keys) == key
        right += predictions.probabilities[mine].mean(axis=0).argmax() == predictions.labels[mine][0].argmax()
    scores = multiclass.evaluate(of_tracks.labels, of_tracks.probabilities)
    assert scores["accuracy"] == pytest.approx(right / len(of_tracks.keys))


def test_a_segment_is_the_part_of_its_track_that_its_number_says(tracks, played):
    t = played["base"]
    context = Context(t)
    corpus, store = context.corpus, context.store
    row = corpus.clips["key"].tolist().index(corpus.clips["clip"].iloc[0] + "#7")
    waveform = features.decode(corpus.clips["path"].iloc[row], 22050)
    alone = features.front_end(**{**t.protocol["front_end"], "segments": 1}).compute(waveform[7 * 66150 : 8 * 66150])
    np.testing.assert_allclose(store.array[row], alone[0], atol=1e-6)


@pytest.mark.parametrize("label", ["base_3x9", "masked_loss@track", "cam@filtered"])
def test_a_restored_network_says_what_the_trial_said(label, tracks, played):
    record = records.read_record(played[label].folder)
    context = networks.restored(record, STUDY)
    inputs = torch.from_numpy(np.array(context.store.array[context.split.rows["test"]]))
    with torch.inference_mode():
        found = torch.softmax(context.spec.network(inputs), dim=-1).numpy()
    np.testing.assert_allclose(found, record.predictions("test").probabilities, atol=1e-4)


def test_a_run_that_was_killed_ends_as_one_that_was_not(tracks, home, tmp_path):
    """SIGKILL after an epoch: no handler, no farewell."""
    settings = {"changes": {"epochs": 4}, "arms": ("masked_loss",)}
    whole, resumed = (
        cheap_trials(tmp_path / name, *settings["arms"], changes=settings["changes"])[0] for name in ("whole", "killed")
    )
    executor.execute([whole], jobs=1, console=Console(file=io.StringIO()))
    code = (
        "import io, sys\n"
        "from pathlib import Path\n"
        "from rich.console import Console\n"
        "from harness.studies import executor, study\n"
        f"t = executor.plan(study.load('gtzan-cam'), runs=Path({str(tmp_path / 'killed')!r}), arms=['masked_loss'],"
        f" conditions=['paper'], profile='pocket', changes={ {**CHEAP, 'epochs': 4}!r})\n"
        "executor.execute(t, jobs=1, console=Console(file=io.StringIO()))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "REPRISE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    )
    history = resumed.folder / "history.jsonl"
    deadline = time.monotonic() + 240
    while not (resumed.folder / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 1 <= len(history.read_text().splitlines()) < 4
    assert not (resumed.folder / "record.json").exists()
    executor.execute([resumed], jobs=1, console=Console(file=io.StringIO()))
    for name in ("predictions.npz", "best.safetensors"):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes(), name


def test_as_released(tracks, tmp_path):
    planned = cheap_trials(
        tmp_path,
        conditions=["released"],
        changes={"released_front_end": {"n_mels": 32, "time_pool": 4}, "epochs": 1},
    )
    assert [t.arm.name for t in planned] == ["released_base", "released_masked", "released_cam"]
    executor.execute(planned, jobs=1, console=Console(file=io.StringIO()))
    sizes = records.read_record(planned[0].folder).data["split"]["sizes"]
    assert sizes == {"train": 320, "valid": 40, "test": 40}


# Part of the published tree, and bad files in it.


@pytest.fixture
def published(tracks, tmp_path, monkeypatch) -> Path:
    """A part of a tree as GTZAN comes: real lists, no artists, no truth; and every fault a user's copy may have."""
    twin = corpora.load(tracks)
    root = tmp_path / "data" / "gtzan"
    wanted = {"train": 2, "valid": 1, "test": 1}
    from harness.corpora.gtzan_filtered import published_parts

    lists = published_parts()
    for genre in twin.classes:
        sounds = sorted(path for path in twin.clips["path"] if f"/{genre}/" in path)
        numbers = [
            [key for key, part in lists.items() if part == name and key.startswith(f"{genre}.")][:count]
            for name, count in wanted.items()
        ]
        for key, sound in zip(itertools.chain(*numbers), sounds, strict=True):
            target = root / "genres" / genre / f"{key}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(sound)
    rock = root / "genres" / "rock"
    music, rate = soundfile.read(next(rock.glob("*.wav")), dtype="int16")
    (rock / "rock.00090.wav").write_text("not music at all")
    whole = io.BytesIO()
    soundfile.write(whole, music, rate, format="WAV")
    (rock / "rock.00089.wav").write_bytes(whole.getvalue()[:200_000])
    (rock / "rock.00088.au").write_bytes(b".snd" + bytes(40))
    soundfile.write(rock / "rock.00087.wav", music[: 5 * rate], rate)
    soundfile.write(rock / "rock.00086.wav", np.stack([music, music], axis=1), rate)
    (root / "genres" / "polka").mkdir()
    soundfile.write(root / "genres" / "polka" / "polka.00000.wav", music, rate)
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    return root


def test_a_part_of_the_published_tree_goes_all_the_way(published, tmp_path, capfd):
    result = reprise(
        "run", "gtzan-cam", "--corpus", "gtzan", "--arm", "base", "--arm", "cam", "--seeds", "1",
        "--runs", tmp_path / "runs", "--out", tmp_path / "results",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = capfd.readouterr().err + result.output
    for name in ("rock.00090", "rock.00089", "rock.00088", "rock.00087", "rock.00086", "polka"):
        assert name in told
    trials, found = (tmp_path / place / "gtzan_cam" / "gtzan-pocket" for place in ("runs", "results"))
    page = (found / "README.md").read_text()
    assert "Corpus gtzan, profile pocket" in page
    gallery = (trials / "explained" / "gallery" / "index.html").read_text()
    assert "data:image/png" in gallery
    assert "data:audio" not in gallery  # what is published is not ours to pass on
    for folder in (found, trials / "explained"):
        assert not {path.suffix for path in folder.rglob("*")} & {".flac", ".wav", ".mp3"}
    # It is heard on a page beside the trials, which the one that is passed on names.
    heard = trials / "listening" / "index.html"
    assert heard.read_text().count("data:audio/mpeg") > 10 * (1 + 5)
    assert "runs/gtzan_cam/gtzan-pocket/listening/index.html" in gallery
    assert str(tmp_path) not in gallery
    record = next((tmp_path / "runs").rglob("base/seed-0/record.json"))
    facts = json.loads(record.read_text())["inputs"]["corpus"]
    assert len(facts["left_out"]) == 5
    assert len(facts["noted"]) == 1
