"""The guard: planted regressions are caught, clean runs raise no alarm, and it finds what it says it finds."""

import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import write_trials
from rich.console import Console
from trials import reprise

from harness import cli
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.features import frontends
from harness.metrics import multiclass, seeds
from harness.storage import cache_home, data_root
from harness.studies import executor, kept, networks, records, regression, trial
from harness.studies import study as studies
from harness.studies.records import Predictions, Record
from harness.studies.regression import CHANGED, FELL, IDENTICAL, METRIC, NO_LOSS, NOT_RUN, OTHER, Finding
from harness.studies.study import Study

GENRES = studies.load("gtzan-cam")
#: What makes a trial a matter of a second or two.
CHEAP = {"corpus": "pocket-gtzan-20", "epochs": 2, "batch_size": 16, "front_end": {"n_mels": 16, "time_pool": 10}}
QUIET = Console(file=io.StringIO())


def tiny(**changes: Any) -> Study:
    """The study of genres with a pocket profile for tests."""
    return replace(GENRES, profiles={**GENRES.profiles, "pocket": {**CHEAP, **changes}})


def play(study: Study, runs: Path, count: int = 2) -> list[Record]:
    """Run its base net here, not in a worker, so that faults can be planted."""
    planned = executor.plan(study, profile="pocket", runs=runs, arms=["base"], conditions=["paper"], seeds=count)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        study.code.prepare(planned, jobs=1)
        return [trial.run([t])[0] for t in planned]
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("guard-home")


@pytest.fixture
def genres(home, monkeypatch) -> None:
    """The pocket corpus, rendered once."""
    monkeypatch.setenv("REPRISE_HOME", str(home))


@pytest.fixture
def rendered(genres, home, tmp_path) -> Path:
    """A cache folder with the corpus and nothing computed from it."""
    copy = shutil.copytree(home, tmp_path / "home")
    shutil.rmtree(copy / "features")
    return copy


@pytest.fixture(scope="module")
def committed(home, tmp_path_factory) -> Path:
    """Folder of all results, with what is kept of two seeds of one arm."""
    folder = tmp_path_factory.mktemp("guard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(home))
        kept.keep(play(tiny(), folder / "runs"), folder / "results" / "gtzan_cam" / "pocket-gtzan-20-pocket")
    return folder / "results"


@pytest.fixture
def baseline(committed) -> list[Record]:
    (found,) = regression.baselines(GENRES, committed).values()
    return found


def elsewhere(found: Sequence[Record]) -> list[Record]:
    """The same trials, as if they had been run with another torch."""
    return [
        Record(r.folder, {**r.data, "environment": {**r.data["environment"], "packages": {"torch": "1.0"}}})
        for r in found
    ]


def guard(study: Study, baseline: Sequence[Record], now: Sequence[Record]) -> Finding:
    (found,) = regression.judge(regression.compare(study, baseline, now))
    return found


# Real training, the same environment.


def test_the_same_code_gives_the_same_bits(genres, baseline, tmp_path):
    found = guard(tiny(), baseline, play(tiny(), tmp_path))
    assert (found.verdict, found.note, found.seeds, found.p_value) == (IDENTICAL, "", 2, None)
    assert found.sound
    assert found.before == found.now == np.mean([r.data["metrics"]["test"]["accuracy"] for r in baseline])


def shuffled(fit: Callable) -> Callable:
    """Fit with the labels of the training clips shuffled."""

    def changed(network, forward, examples, rows, **settings):
        labels = examples.labels.copy()
        labels[rows["train"]] = np.random.default_rng(0).permutation(labels[rows["train"]])
        return fit(network, forward, replace(examples, labels=labels), rows, **settings)

    return changed


def one_epoch_fewer(fit: Callable) -> Callable:
    def changed(*arguments, epochs, **settings):
        return fit(*arguments, epochs=epochs - 1, **settings)

    return changed


@pytest.mark.parametrize("fault", [shuffled, one_epoch_fewer])
def test_a_fault_in_training_is_caught(genres, baseline, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(networks.loop, "fit", fault(networks.loop.fit))
    found = guard(tiny(), baseline, play(tiny(), tmp_path))
    assert not found.sound
    assert found.verdict in (CHANGED, FELL)
    assert found.note == ""
    assert found.p_value is not None
    assert found.detectable > 0


def test_a_constant_of_a_front_end_that_no_setting_names_is_caught(genres, rendered, baseline, tmp_path, monkeypatch):
    monkeypatch.setattr(frontends, "_hann", lambda length, dtype: np.hamming(length).astype(dtype))
    assert guard(tiny(), baseline, play(tiny(), tmp_path / "cached")).verdict == IDENTICAL  # spectrograms were stored
    with regression.fresh_caches(rendered):
        found = guard(tiny(), baseline, play(tiny(), tmp_path / "runs"))
    assert not found.sound
    assert found.verdict in (CHANGED, FELL)


def test_a_constant_that_settings_name_is_caught_anywhere(genres, baseline, tmp_path, monkeypatch):
    monkeypatch.setattr(frontends.FRONT_ENDS["mel_segments"], "TOP_DB", 60.0)
    found = guard(tiny(), baseline, elsewhere(play(tiny(), tmp_path)))
    assert not found.sound
    assert "other settings: front_end.top_db; another environment: " in found.note


def test_an_epoch_fewer_by_the_settings_is_caught_anywhere(genres, baseline, tmp_path):
    found = guard(tiny(epochs=1), baseline, elsewhere(play(tiny(epochs=1), tmp_path)))
    assert not found.sound
    assert found.verdict in (OTHER, FELL)
    assert "other settings: protocol.epochs" in found.note


def test_a_metric_with_a_bug_is_caught_where_predictions_are_the_same(genres, baseline, monkeypatch):
    evaluate = multiclass.evaluate

    def wrong(*arguments, **settings):
        found = evaluate(*arguments, **settings)
        return {**found, "accuracy": found["balanced_accuracy"]}

    monkeypatch.setattr(multiclass, "evaluate", wrong)
    found = guard(tiny(), baseline, baseline)
    assert (found.verdict, found.sound) == (METRIC, False)
    assert found.note == "metrics not as recorded: accuracy (test), accuracy (valid)"


def test_another_rendering_is_caught_anywhere(genres, baseline, tmp_path):
    other = []
    for r in baseline:
        folder = tmp_path / r.folder.parent.name / r.folder.name
        shutil.copytree(r.folder, folder)
        parts = {part: r.predictions(part) for part in records.PARTS}
        p = parts["test"]
        parts["test"] = Predictions(p.keys, np.roll(p.labels, 1, axis=0), p.mask, p.probabilities)
        records.write_predictions(folder, parts)
        other.append(Record(folder, r.data))
    found = guard(tiny(), baseline, elsewhere(other))
    assert (found.verdict, found.sound, found.p_value) == (OTHER, False, None)
    assert found.note.startswith("other clips or labels")


def test_a_trial_that_is_not_run_any_more_is_caught(baseline):
    found = guard(tiny(), baseline, [])
    assert (found.verdict, found.sound, found.seeds) == (NOT_RUN, False, 0)


def test_what_runs_on_request_alone_is_not_missed(tmp_path):
    gtzan = studies.load("gtzan_cam")
    skills = {"base": 0.3, "released_base": 0.3}
    (default,) = write_trials(
        tmp_path / "a", gtzan, arms=["base"], conditions=["paper"], classes="abcdefghij", skills=skills
    )
    (request,) = write_trials(
        tmp_path / "b", gtzan, arms=["released_base"], conditions=["released"], classes="abcdefghij", skills=skills
    )
    assert regression.expected(gtzan, [default, request], []) == [default]
    assert regression.expected(gtzan, [default, request], [request]) == [default, request]


def test_seeds_left_out_are_not_compared(genres, baseline):
    found = guard(tiny(), baseline, baseline[:1])
    assert (found.verdict, found.seeds) == (IDENTICAL, 1)


def test_a_damaged_baseline_is_said(genres, baseline, tmp_path):
    folder = shutil.copytree(baseline[0].folder, tmp_path / "records" / "base" / "seed-0")
    (folder / "predictions.npz").write_bytes(b"")
    with pytest.raises(RepriseError, match=r"predictions\.npz was changed after"):
        regression.compare(tiny(), [records.read_record(folder)], baseline)


def test_fresh_caches_leave_published_data_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "mine"))
    with regression.fresh_caches(tmp_path / "fresh"):
        assert cache_home() == tmp_path / "fresh"
        assert data_root() == tmp_path / "mine" / "data"
    assert os.environ["REPRISE_HOME"] == str(tmp_path / "mine")
    assert "REPRISE_DATA" not in os.environ


def test_only_pocket_trials_are_baselines(committed, tmp_path):
    (folder,) = regression.baselines(GENRES, committed)
    assert folder == committed / "gtzan_cam" / "pocket-gtzan-20-pocket"
    found = records.find_records(folder)
    data = {k: v for k, v in found[0].data.items() if k != "checksum"}
    for name, change in (("gtzan-pocket", {"corpus": "gtzan"}), ("pocket-gtzan-paper", {"profile": "paper"})):
        place = tmp_path / "gtzan_cam" / name / "records" / "base" / "seed-0"
        shutil.copytree(found[0].folder, place)
        records.write_record(place, {**data, **change}, files=("history.jsonl",))
    assert regression.baselines(GENRES, tmp_path) == {}


# The command, in processes of its own.


def test_the_command_says_what_changed_and_keeps_it_for_a_reason(rendered, committed, tmp_path, monkeypatch):
    fresh = regression.fresh_caches
    monkeypatch.setattr(regression, "fresh_caches", lambda folder: fresh(rendered))
    results = shutil.copytree(committed, tmp_path / "results")
    code = SimpleNamespace(
        **{name: getattr(GENRES.code, name) for name in ("build", "expected", "prepare", "play")},
        tables=lambda study, records: [],
        figures=lambda study, records: {},
        explain=lambda study, records, folder, *, jobs=None: [],
    )
    monkeypatch.setattr(Study, "code", property(lambda self: code))
    monkeypatch.setattr(cli.studies, "load", lambda name: tiny())
    result = reprise("regression", "gtzan-cam", "--out", results, "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert "1 of 1 arms predict the same bit by bit." in result.output

    runs = tmp_path / "runs"
    play(tiny(epochs=1), runs)
    arguments = ("regression", "gtzan-cam", "--out", results, "--runs", runs)
    result = reprise(*arguments)
    assert result.exit_code == 1
    assert "gtzan_cam on pocket-gtzan-20 beside the records kept: accuracy" in result.output
    assert "base: other settings: protocol.epochs." in result.output
    assert "1 of 1 arms are not as kept" in result.stderr
    assert reprise(*arguments, "--accept", " ").exit_code == 1
    assert reprise(*arguments, "--accept", "one epoch is enough").exit_code == 0
    reasons = next(results.rglob("REASONS.md")).read_text(encoding="utf-8").splitlines()
    assert len(reasons) == 6
    assert reasons[-1].endswith("| 2 changed | one epoch is enough |")
    assert reprise(*arguments).exit_code == 0


def test_nothing_kept_is_said(tmp_path):
    result = reprise("regression", "gtzan-cam", "--out", tmp_path)
    assert result.exit_code == 1
    assert "of gtzan_cam on a pocket corpus; `reprise run STUDY` keeps it" in result.stderr


# Another environment: simulated trainings.

OPENMIC = studies.load("openmic-transfer")
LABELS = [f"{arm.name}{condition}" for arm in OPENMIC.arms for condition in ("", "@masked")]
ENVIRONMENT = {"packages": {"torch": "2.15.0"}, "os": "", "cpu": "", "git": None}


def simulate(
    folder: Path,
    generator: np.random.Generator,
    trials: Sequence[str] = LABELS[:4],
    *,
    skill: float = 1.2,
    trainings: int = 3,
    torch_version: str = "2.8",
) -> list[Record]:
    """Trials whose networks are as good as each other but for chance, on clips some of which are hard for all."""
    truth = np.random.default_rng(7)
    clips, classes = 180, 4
    labels = (truth.random((clips, classes)) < 0.4).astype(np.uint8)
    hard = truth.normal(0, 1, (clips, classes))
    keys = np.array([f"{n // 3:03}-{n % 3}" for n in range(clips)])
    for label in trials:
        arm, _, condition = label.partition("@")
        for seed in range(trainings):
            luck = skill + generator.normal(0, 0.15)
            logits = luck * (2.0 * labels - 1) + hard + generator.normal(0, 0.5, labels.shape)
            p = Predictions(keys, labels, np.ones(labels.shape, bool), (1 / (1 + np.exp(-logits))).astype(np.float32))
            place = folder / "records" / label / f"seed-{seed}"
            place.mkdir(parents=True)
            records.write_predictions(place, {"valid": p, "test": p})
            data = {
                "study": "openmic_transfer", "arm": arm, "condition": condition or "paper", "seed": seed,
                "corpus": "pocket-openmic", "profile": "pocket", "protocol": {}, "classes": list("abcd"),
                "weights": {"kind": "random"}, "split": {}, "inputs": {},
                "environment": {**ENVIRONMENT, "packages": {"torch": torch_version}},
            }  # fmt: skip
            records.write_record(place, data, files=())
    return records.find_records(folder)


@pytest.fixture
def grouped(monkeypatch) -> None:
    """Three clips of a group each."""
    monkeypatch.setattr(
        regression, "_groups", lambda corpus, home: {f"{n // 3:03}-{n % 3}": n // 3 for n in range(180)}
    )
    monkeypatch.setattr(regression, "REPLICATES", 100)


@pytest.mark.parametrize(("trainings", "labels"), [(3, LABELS[:4]), (1, LABELS)])
def test_ten_clean_runs_raise_no_alarm_and_a_fall_does(grouped, tmp_path, trainings, labels):
    """With one seed the two conditions of an arm stand for two trainings."""
    generator = np.random.default_rng(trainings)
    baseline = simulate(tmp_path / "kept", generator, labels, trainings=trainings)
    for number in range(10):
        now = simulate(tmp_path / str(number), generator, labels, trainings=trainings, torch_version="2.9")
        found = regression.judge(regression.compare(OPENMIC, baseline, now))
        assert {f.label: f.verdict for f in found} == dict.fromkeys(labels, NO_LOSS)
        assert all(f.note.endswith("another environment: torch") and f.sound for f in found)
        assert all(f.detectable > 0 for f in found)
    fallen = simulate(tmp_path / "fallen", generator, labels, skill=0.1, trainings=trainings, torch_version="2.9")
    found = regression.judge(regression.compare(OPENMIC, baseline, fallen))
    assert {f.label: f.verdict for f in found} == dict.fromkeys(labels, FELL)
    better = regression.judge(regression.compare(OPENMIC, fallen, baseline))
    assert {f.verdict for f in better} == {NO_LOSS}  # to rise is no alarm


def test_one_arm_that_fell_among_others_is_named(grouped, tmp_path):
    generator = np.random.default_rng(5)
    baseline = simulate(tmp_path / "kept", generator)
    now = simulate(tmp_path / "now", generator, torch_version="2.9")
    fallen = simulate(tmp_path / "fallen", generator, skill=0.4, torch_version="2.9")
    mixed = [f if r.folder.parent.name == LABELS[2] else r for r, f in zip(now, fallen, strict=True)]
    found = regression.judge(regression.compare(OPENMIC, baseline, mixed))
    assert [f.label for f in found if not f.sound] == [LABELS[2]]
    shown = Console(file=io.StringIO(), width=200)
    shown.print(regression.shown(found))
    assert "fell" in shown.file.getvalue()


def test_what_one_training_of_one_arm_cannot_tell_is_said(grouped, tmp_path):
    generator = np.random.default_rng(6)
    baseline, now = (simulate(tmp_path / name, generator, trainings=1) for name in ("kept", "now"))
    found = regression.judge(regression.compare(OPENMIC, baseline[-1:], elsewhere(now[-1:])))
    assert np.isinf(found[0].degrees)
    shown = Console(file=io.StringIO(), width=250)
    shown.print(regression.shown(found))
    assert "one training each: clips alone vary" in shown.file.getvalue()


def invented(
    generator: np.random.Generator, arms: int, count: int, *, between: Sequence[float], loss: Sequence[float]
) -> dict[str, seeds.Replicates]:
    """Losses whose error is known: of trainings as given, of clips 0.01 for all seeds alike."""
    result = {}
    for arm in range(arms):
        shared = generator.normal(0, 0.01)
        scores = loss[arm] + shared + generator.normal(0, between[arm], count)
        result[f"arm{arm}"] = seeds.Replicates(scores, np.tile(generator.normal(0, 0.01, 400), (count, 1)))
    return result


def test_alarms_are_as_rare_and_losses_as_detectable_as_stated(monkeypatch):
    generator = np.random.default_rng(0)
    arms, runs = 6, 400
    places = {f"arm{n}": [(Record(Path(), {"arm": str(n)}), None)] for n in range(arms)}
    drawn: dict[str, seeds.Replicates] = {}
    monkeypatch.setattr(regression, "_losses", lambda study, pairs, part: drawn[f"arm{pairs[0][0].arm}"])

    def judged(between: Sequence[float], loss: Sequence[float]) -> list[Finding]:
        drawn.update(invented(generator, arms, 3, between=between, loss=loss))
        tested = regression._test(OPENMIC, places, "test")
        return regression.judge([replace(Finding("s", "c", n, 3, NO_LOSS), **tested[n]) for n in places], level=0.95)

    for between in ([0.02] * arms, [0.002] * 3 + [0.04] * 3):  # alike, and not
        alarms = sum(any(not f.sound for f in judged(between, [0.0] * arms)) for _ in range(runs))
        assert alarms <= 0.05 * runs + 3 * np.sqrt(0.05 * 0.95 * runs)
    stated = np.mean([judged([0.02] * arms, [0.0] * arms)[0].detectable for _ in range(50)])
    caught = sum(not judged([0.02] * arms, [stated] + [0.0] * (arms - 1))[0].sound for _ in range(runs))
    # Its own spread counts where it is the larger, which makes the statement a little too hopeful or careful.
    assert 0.72 * runs < caught < 0.9 * runs


def test_trainings_are_pooled_within_arms_and_conditions():
    values = [np.array([0.0, 2.0]), np.array([10.0, 14.0]), np.array([3.0])]
    assert regression._between_trainings(values, ["a", "b", "c"]) == ((2.0 + 8.0) / 2, 2)
    single = [np.array([0.0]), np.array([2.0]), np.array([5.0])]
    assert regression._between_trainings(single, ["a", "a", "b"]) == (2.0, 1)
    assert regression._between_trainings(single, ["a", "b", "c"]) == (0.0, 0)


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_of_a_score_where_lower_is_better_a_rise_is_the_loss(genres, baseline, tmp_path, monkeypatch, metric, sign):
    with monkeypatch.context() as patch:
        patch.setattr(networks.loop, "fit", shuffled(networks.loop.fit))
        now = play(tiny(), tmp_path)
    found = guard(replace(tiny(), metric=metric), baseline, now)
    assert found.loss == pytest.approx(sign * (found.before - found.now), abs=1e-12)
    assert found.error > 0


def test_groups_of_segments_are_those_of_their_clips(genres, baseline):
    units = regression._as_trial(baseline[0], "test").units
    keys = baseline[0].predictions("test").keys
    clips = dict(zip(clips_of(keys).tolist(), units.tolist(), strict=True))
    assert len(clips) < len(keys)
    assert all(unit.startswith("group ") for unit in units)
