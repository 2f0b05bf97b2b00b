"""The guard: planted regressions are caught, clean runs raise no alarm, and it finds what it says it finds."""

import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
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
from harness.errors import RepriseError
from harness.features import frontends, transforms
from harness.metrics import multiclass
from harness.storage import cache_home, data_root
from harness.studies import executor, kept, networks, records, regression
from harness.studies import study as studies
from harness.studies.context import Context
from harness.studies.losses import AGREEMENT, TOGETHER
from harness.studies.records import Predictions, Record
from harness.studies.regression import (
    BLIND,
    CHANGED,
    FELL,
    IDENTICAL,
    METRIC,
    NO_LOSS,
    NOT_RUN,
    NOT_TESTED,
    OTHER,
    Finding,
)
from harness.studies.runner import run_trials
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
        contexts = [Context(t) for t in planned]
        study.code.prepare(contexts, jobs=1)
        return [run_trials([context])[0] for context in contexts]
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
    assert (found.verdict, found.note, found.seeds, found.losses) == (IDENTICAL, "", 2, ())
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
    (loss,) = found.losses
    assert (loss.metric, loss.before, loss.now) == ("accuracy", found.before, found.now)
    assert loss.detectable > 0


def test_a_constant_of_a_front_end_that_no_setting_names_is_caught(genres, rendered, baseline, tmp_path, monkeypatch):
    monkeypatch.setattr(transforms, "_hann", lambda length, dtype: np.hamming(length).astype(dtype))
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
    assert (found.verdict, found.sound, found.losses) == (OTHER, False, ())
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
    assert "gtzan_cam on pocket-gtzan-20 beside the records kept" in result.output
    assert "base: other settings: protocol.epochs." in result.output
    assert "1 of 1 rows are not as kept" in result.stderr
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
    shift: float = 0.0,
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
            logits = shift + luck * (2.0 * labels - 1) + hard + generator.normal(0, 0.5, labels.shape)
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


def test_ten_clean_runs_raise_no_alarm_and_a_fall_does(tmp_path):
    generator = np.random.default_rng(3)
    labels = [*LABELS[:4], TOGETHER]
    baseline = simulate(tmp_path / "kept", generator)
    for number in range(10):
        now = simulate(tmp_path / str(number), generator, torch_version="2.9")
        found = regression.judge(regression.compare(OPENMIC, baseline, now))
        assert {f.label: f.verdict for f in found} == dict.fromkeys(labels, NO_LOSS)
        assert all(f.sound and [loss.metric for loss in f.losses] == [OPENMIC.metric, AGREEMENT] for f in found)
        assert all(f.note.endswith("another environment: torch") for f in found if f.label != TOGETHER)
    fallen = simulate(tmp_path / "fallen", generator, skill=0.1, torch_version="2.9")
    found = regression.judge(regression.compare(OPENMIC, baseline, fallen))
    assert {f.label: f.verdict for f in found} == dict.fromkeys(labels, FELL)
    better = regression.judge(regression.compare(OPENMIC, fallen, baseline))
    assert all(f.losses[0].p_value == 1 for f in better)  # to rise is no loss of the main score


def test_one_arm_that_fell_among_others_is_named(tmp_path):
    generator = np.random.default_rng(5)
    baseline = simulate(tmp_path / "kept", generator)
    now = simulate(tmp_path / "now", generator, torch_version="2.9")
    fallen = simulate(tmp_path / "fallen", generator, skill=0.3, torch_version="2.9")
    mixed = [f if r.folder.parent.name == LABELS[2] else r for r, f in zip(now, fallen, strict=True)]
    found = regression.judge(regression.compare(OPENMIC, baseline, mixed))
    assert [f.label for f in found if not f.sound and f.label != TOGETHER] == [LABELS[2]]
    assert "fell" in told(found)


def test_what_is_lost_everywhere_shows_in_the_mean_of_all_arms_first(tmp_path):
    generator = np.random.default_rng(8)
    baseline = simulate(tmp_path / "kept", generator, LABELS)
    now = simulate(tmp_path / "now", generator, LABELS, skill=1.0, torch_version="2.9")
    found = regression.judge(regression.compare(OPENMIC, baseline, now))
    assert [f.label for f in found if not f.sound] == [TOGETHER]
    assert f"of {len(LABELS)} arms" in told(found)


def told(found: Sequence[Finding]) -> str:
    """The table, as the terminal has it."""
    shown = Console(file=io.StringIO(), width=250)
    shown.print(regression.shown(found))
    return shown.file.getvalue()


def test_one_kept_seed_tells_nothing_of_training_and_that_is_said(tmp_path):
    generator = np.random.default_rng(6)
    baseline, now = (simulate(tmp_path / name, generator, trainings=1) for name in ("kept", "now"))
    found = regression.judge(regression.compare(OPENMIC, baseline, elsewhere(now)))
    assert {(f.verdict, f.sound, f.losses) for f in found} == {(NOT_TESTED, True, ())}
    assert "one seed is kept, so nothing is known of training." in told(found)
    assert "0 of 4 arms predict the same bit by bit, 4 not tested." in told(found)


def test_an_arm_is_tested_by_the_kept_seeds_that_are_not_run_again(tmp_path):
    generator = np.random.default_rng(9)
    baseline = simulate(tmp_path / "kept", generator)
    good, bad = (simulate(tmp_path / str(skill), generator, trainings=1, skill=skill) for skill in (1.2, 0.1))
    for now, verdict in ((good, NO_LOSS), (bad, FELL)):
        found = regression.judge(regression.compare(OPENMIC, baseline, elsewhere(now)))
        assert {(f.verdict, f.seeds) for f in found} == {(verdict, 1)}


def test_what_could_fall_unseen_is_blind(tmp_path):
    """Nets without skill: there is nothing to lose in F1, and two seeds do not tell how well seeds agree."""
    generator = np.random.default_rng(4)
    baseline = simulate(tmp_path / "kept", generator, skill=0.0, trainings=2)
    now = simulate(tmp_path / "now", generator, skill=0.0, trainings=2, torch_version="2.9")
    found = regression.judge(regression.compare(OPENMIC, baseline, now))
    assert {(f.verdict, f.sound) for f in found} == {(BLIND, True)}
    assert "4 blind." in told(found)
    assert " none " in told(found)


def test_a_run_that_predicts_nothing_alike_falls_by_agreement_where_the_score_cannot(tmp_path):
    """No probability reaches 0.5, so that F1 is 0 before and after."""
    generator = np.random.default_rng(2)
    baseline = simulate(tmp_path / "kept", generator, LABELS[:2], shift=-9.0)
    found = regression.judge(regression.compare(OPENMIC, baseline, dealt(baseline, tmp_path / "dealt")))
    assert {f.verdict for f in found} == {FELL}
    assert all(f.before == f.now == 0 and [loss.metric for loss in f.losses] == [AGREEMENT] for f in found[:-1])


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("log_loss", -1)])
def test_of_a_score_where_lower_is_better_a_rise_is_the_loss(genres, baseline, tmp_path, monkeypatch, metric, sign):
    with monkeypatch.context() as patch:
        patch.setattr(networks.loop, "fit", shuffled(networks.loop.fit))
        now = play(tiny(), tmp_path)
    (loss,) = guard(replace(tiny(), metric=metric), baseline, now).losses
    assert loss.loss == pytest.approx(sign * (loss.before - loss.now), abs=1e-12)
    assert loss.error > 0


# The records kept with the results.

RESULTS = Path(__file__).parents[1] / "results"
KEPT = {
    (name, folder.name): found
    for name in studies.names()
    for folder, found in regression.baselines(studies.load(name), RESULTS).items()
}


def several(found: Sequence[Record]) -> bool:
    """Whether two seeds are kept of any arm."""
    return any(r.seed for r in found)


def copied(record: Record, folder: Path, parts: dict[str, Predictions]) -> Record:
    """The trial with other predictions, as if another environment had made them."""
    folder = folder / record.folder.parent.name / record.folder.name
    folder.mkdir(parents=True)
    records.write_predictions(folder, parts)
    return elsewhere([Record(folder, record.data)])[0]


def dealt(found: Sequence[Record], folder: Path) -> list[Record]:
    """Each clip is given another one's probabilities."""
    result = []
    for number, r in enumerate(found):
        parts = {part: r.predictions(part) for part in records.PARTS}
        order = np.random.default_rng(number)
        mixed = {n: replace(p, probabilities=order.permutation(p.probabilities)) for n, p in parts.items()}
        result.append(copied(r, folder, mixed))
    return result


@pytest.fixture
def quick(monkeypatch) -> None:
    """That kept scores come out again is not what these tests are about."""
    monkeypatch.setattr(records, "rescored", lambda record: [])


@pytest.mark.parametrize("most", [1, None])
def test_no_study_can_lose_all_skill_unseen(quick, tmp_path, most):
    """All studies in one run, as the command has them, so that each has its part of the probability of an alarm."""
    found = []
    for (name, corpus), kept_ones in KEPT.items():
        wrong = dealt([r for r in kept_ones if most is None or r.seed < most], tmp_path / name / corpus)
        found += regression.compare(studies.load(name), kept_ones, wrong)
    assert len({f.study for f in found}) == 5
    judged = regression.judge(found)
    for place, kept_ones in KEPT.items():
        of_study = [f for f in judged if (f.study, f"{f.corpus}-pocket") == place]
        verdicts = [f.verdict for f in of_study]
        if not several(kept_ones):
            assert set(verdicts) == {NOT_TESTED}
            continue
        assert of_study[-1].label == TOGETHER
        assert verdicts[-1] == FELL
        # By one seed the two arms of one study are told together only, and those without skill have none to lose.
        assert set(verdicts) <= {FELL, BLIND}
        assert verdicts.count(BLIND) <= (2 if len(verdicts) == 3 and most else len(verdicts) // 2)


def on_the_same_clips(found: Sequence[Record]) -> dict[str, dict[int, Record]]:
    """Trials by label and seed, of the arms whose seeds share the clips they are tested on."""
    by_label: dict[str, dict[int, Record]] = {}
    for r in found:
        by_label.setdefault(r.folder.parent.name, {})[r.seed] = r
    return {
        label: seeds
        for label, seeds in by_label.items()
        if len(seeds) > 2 and len({r.predictions("test").keys.tobytes() for r in seeds.values()}) == 1
    }


@pytest.mark.parametrize("place", [place for place, found in KEPT.items() if on_the_same_clips(found)], ids="-".join)
def test_another_kept_seed_in_the_place_of_one_raises_no_alarm(quick, tmp_path, place):
    """A clean run by construction; where seeds have clips of their own there is no second training on the same ones."""
    study, arms = studies.load(place[0]), on_the_same_clips(KEPT[place])
    for left, right in permutations(range(3), 2):
        now = []
        for seeds in arms.values():
            # Those of the validation part are of no matter here, and may be of other clips.
            parts = {"valid": seeds[left].predictions("valid"), "test": seeds[right].predictions("test")}
            now.append(copied(seeds[left], tmp_path / f"{left}{right}", parts))
        everything = [r for seeds in arms.values() for r in seeds.values()]
        # With the seed that stands for the new one among those that tell the spread, and without.
        for known in (everything, [r for r in everything if r.seed != right]):
            found = regression.judge(regression.compare(study, known, now))
            assert {f.label for f in found} == {*arms, TOGETHER}
            assert {f.verdict for f in found} <= {NO_LOSS, BLIND}, (left, right)
            assert all(f.losses for f in found)
