"""Many trials: planned, spread over processes, none lost with another, and none the worse for a kill."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from trials import POCKET, Played, cheap_trials, reprise

from harness import corpora
from harness.errors import RepriseError
from harness.studies import executor, records, study
from harness.studies.trial import Trial


def execute(trials: list[Trial], jobs: int) -> tuple[list[records.Record], str]:
    console = Console(file=io.StringIO(), width=200)
    return executor.execute(trials, jobs=jobs, console=console), console.file.getvalue()


def assert_equal_predictions(ours: records.Record, theirs: records.Record) -> None:
    for part in records.PARTS:
        for name, value in vars(ours.predictions(part)).items():
            np.testing.assert_array_equal(value, getattr(theirs.predictions(part), name), strict=True)


def test_the_plan_is_conditions_by_arms_by_seeds(tmp_path):
    trials = executor.plan(study.load("openmic-transfer"), profile="pocket", runs=tmp_path, seeds=2)
    labels = list(dict.fromkeys(t.label for t in trials))
    arms = [arm.name for arm in study.load("openmic-transfer").arms]
    assert labels[: 2 * len(arms)] == [*arms, *(f"{arm}@masked" for arm in arms)]
    assert labels[2 * len(arms) :] == ["resnet_fc@moving-statistics"]  # for one arm only; two conditions on request
    assert [t.seed for t in trials] == [0, 1] * len(labels)
    corpus = trials[0].protocol["corpus"]
    assert trials[1].folder == tmp_path / "openmic_transfer" / f"{corpus}-pocket" / "resnet_fc" / "seed-1"
    assert len({t.folder for t in trials}) == len(trials)


def test_a_plan_follows_the_users_changes(tmp_path):
    trials = executor.plan(
        study.load("openmic-transfer"),
        profile="paper",
        runs=tmp_path,
        arms=["vggish_full", "resnet_fc"],
        conditions=["official-split"],
        changes={"corpus": "pocket-openmic-2000", "weights": "random"},
        device="cuda",
        bf16=True,
        skip_bad=True,
    )
    assert [t.arm.name for t in trials] == ["vggish_full", "resnet_fc"]
    for t in trials:
        assert t.folder.parts[-3] == "pocket-openmic-2000-paper"
        assert (t.device, t.bf16, t.skip_bad) == ("cuda", True, True)
        assert (t.protocol["weights"], t.protocol["split"], t.protocol["epochs"]) == ("random", "official", 30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arms": ["resnet"]}, "there is no arm of openmic_transfer named 'resnet'; there are resnet_fc, "),
        ({"conditions": ["mask"]}, "there is no condition of openmic_transfer named 'mask'; there are paper, "),
        ({"profile": "large"}, "openmic_transfer has no profile 'large'; choose one of paper, pocket"),
        ({"arms": ["vggish_fc"], "conditions": ["moving-statistics"]}, "nothing to run: the conditions chosen do not"),
        ({"changes": {"corpus": "gone"}}, "there is no corpus 'gone': choose audioset, "),
        (
            {"changes": {"corpus": "pocket-gtzan-100"}},
            "openmic_transfer cannot be played on pocket-gtzan-100: choose --corpus openmic-2018 or pocket-openmic",
        ),
    ],
)
def test_what_cannot_be_planned_is_said(tmp_path, settings, message):
    with pytest.raises(RepriseError, match=message):
        executor.plan(study.load("openmic-transfer"), **{"profile": "pocket", "runs": tmp_path, **settings})


def test_each_study_can_be_played_on_its_own_corpora(tmp_path):
    for chosen in map(study.load, study.names()):
        for profile in chosen.profiles:
            assert executor.plan(chosen, profile=profile, runs=tmp_path)
        for name in chosen.corpora:
            assert executor.plan(chosen, profile="paper", runs=tmp_path, changes={"corpus": name})


def test_a_claim_that_makes_no_sense_is_said_before_anything_runs(tmp_path):
    chosen = study.load("openmic-transfer")
    claim = {"kind": "order", "above": "resnet_fc", "below": "nobody", "metric": "map_masked", "text": "", "where": ""}
    with pytest.raises(RepriseError, match="there is no arm of openmic_transfer named 'nobody'"):
        executor.plan(replace(chosen, claims=(claim,)), profile="pocket", runs=tmp_path)
    published = tuple({k: v for k, v in row.items() if k != "margin"} for row in chosen.published)
    with pytest.raises(RepriseError, match="in table I needs a margin above 0; add it"):
        executor.plan(replace(chosen, published=published), profile="pocket", runs=tmp_path)


def test_weights_that_are_not_here_are_said_before_anything_is_rendered(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    home = tmp_path / "home"
    monkeypatch.setenv("REPRISE_HOME", str(home))
    for source, message in (
        ("published", "the published weights of resnet50 are not here"),
        ({"resnet50": str(tmp_path / "gone.pth"), "vggish": "random"}, r"there is no weights file .*gone\.pth; check"),
    ):
        trials = cheap_trials(tmp_path / "runs", "resnet_fc", changes={"weights": source})
        with pytest.raises(RepriseError, match=message):
            execute(trials, jobs=1)
    assert not home.exists()


def test_what_must_be_rendered_first_is_said_before_it_is(tmp_path, monkeypatch):
    console = Console(file=io.StringIO(), width=200)

    def stop(name: str, *rest: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpora, "load", stop)
    with pytest.raises(KeyboardInterrupt):
        executor.execute(cheap_trials(tmp_path, "resnet_fc"), jobs=1, console=console)
    assert console.file.getvalue() == "pocket-openmic-60 is not here yet: renders 60 clips first.\n"


def test_the_number_of_processes_does_not_show_in_the_predictions(pocket, tmp_path):
    def trials(folder: str) -> list[Trial]:
        # Of two arms, different seeds: what a run broken off may leave.
        planned = cheap_trials(tmp_path / folder, "resnet_fc", "vggish_fc", seeds=2)
        return [planned[0], planned[3]]

    one, said = execute(trials("one"), jobs=1)
    assert "openmic_transfer on pocket-openmic-60, profile pocket" in said
    assert "25,620" in said
    assert "2 trials to run; 1 at a time on cpu: about" in said
    two, _ = execute(trials("two"), jobs=2)
    assert [(r.arm, r.seed) for r in one] == [("resnet_fc", 0), ("vggish_fc", 1)]
    for ours, theirs in zip(one, two, strict=True):
        assert_equal_predictions(ours, theirs)
        assert ours.data["files"]["best.safetensors"] == theirs.data["files"]["best.safetensors"]
        assert ours.data["environment"]["threads"] == theirs.data["environment"]["threads"] == 1


def test_a_trial_that_fails_does_not_lose_the_others_nor_train_them_again(pocket, tmp_path):
    bad = cheap_trials(tmp_path, "resnet_fc", changes={"learning_rate_classifier": 1e38})
    good = cheap_trials(tmp_path, "vggish_fc") + cheap_trials(tmp_path, "resnet_fc", conditions=["masked"])
    with pytest.raises(RepriseError, match=r"^resnet_fc: the loss is \w+ in epoch 1, batch \d; lower the learning"):
        execute(bad + good, jobs=2)
    assert [t.finished() for t in bad + good] == [False, True, True]
    times = [(t.folder / "record.json").stat().st_mtime_ns for t in good]
    found, said = execute(good, jobs=2)
    assert said == "All 2 trials are finished; nothing to train.\n"
    assert [(t.folder / "record.json").stat().st_mtime_ns for t in good] == times
    assert [r.arm for r in found] == ["vggish_fc", "resnet_fc"]


def test_two_failures_are_both_said(pocket, tmp_path):
    bad = {"learning_rate_classifier": 1e38}
    trials = cheap_trials(tmp_path, "resnet_fc", "vggish_fc", changes=bad)
    with pytest.raises(RepriseError) as raised:
        execute(trials, jobs=2)
    assert sorted(line.partition(":")[0] for line in str(raised.value).splitlines()) == ["resnet_fc", "vggish_fc"]


def start(runs: Path) -> subprocess.Popen:
    """The command in a process group of its own, as a terminal starts it."""
    code = "from harness.cli import main; main()"
    settings = ["--corpus", POCKET, "--arm", "resnet_fc", "--condition", "paper", "--runs", str(runs), "--no-report"]
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", "openmic-transfer", *settings, "--jobs", "1"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop_after(process: subprocess.Popen, history: Path, epochs: int, number: int) -> str:
    """Send a signal to the whole group once so many epochs are in the history; what the command said."""
    try:
        while process.poll() is None and (not history.exists() or history.read_text().count("\n") < epochs):
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, number)
        return process.communicate(timeout=60)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_a_run_killed_and_interrupted_ends_bit_identical_to_one_never_stopped(pocket, tmp_path, played: Played):
    for attempt in range(3):  # an epoch takes milliseconds: the kill must come before the end to be one
        runs = tmp_path / f"runs-{attempt}"
        folder = runs / "openmic_transfer" / f"{POCKET}-pocket" / "resnet_fc" / "seed-0"
        killed = start(runs)
        stop_after(killed, folder / "history.jsonl", 1, signal.SIGKILL)
        if not (folder / "record.json").exists():
            break
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / "record.json").exists()
    first = (folder / "history.jsonl").read_text().splitlines()

    interrupted = start(runs)
    said = stop_after(interrupted, folder / "history.jsonl", len(first) + 1, signal.SIGINT)
    if not (folder / "record.json").exists():  # else it was quicker than the signal
        assert interrupted.returncode == 130, said
        assert said.endswith("reprise: stopped; the same command goes on from here\n")
    assert "Traceback" not in said

    result = reprise(
        *("run", "openmic-transfer", "--corpus", POCKET, "--arm", "resnet_fc", "--condition", "paper"),
        *("--runs", runs, "--no-report"),
    )
    assert result.exit_code == 0, result.output
    whole = records.verify(played.runs / folder.relative_to(runs))
    again = records.verify(folder)
    assert_equal_predictions(again, whole)
    assert again.data["files"]["best.safetensors"] == whole.data["files"]["best.safetensors"]
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert len(lines) == len(whole.history())
    # An epoch's line holds how long it took: that of a finished epoch stands, it was not run again. The last line
    # may be of an epoch whose checkpoint the kill prevented.
    assert lines[: len(first) - 1] == first[:-1]
    assert list(again.history()["valid_loss"]) == list(whole.history()["valid_loss"])
