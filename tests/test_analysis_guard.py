"""The guard: planted faults are caught, clean runs raise no alarm, what is better is called so, and limits are said."""

import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import guard as simulation
import numpy as np
import pytest
import torch
from helpers import write_trials
from rich.console import Console
from trials import reprise

from harness import cli
from harness.analysis import guard
from harness.analysis.guard import (
    BETTER,
    BLIND,
    CHANGED,
    FELL,
    IDENTICAL,
    IMPROVED,
    METRIC,
    NO_LOSS,
    NOT_RUN,
    NOT_TESTED,
    OTHER,
    SAME,
    TOGETHER,
    WORSE,
    Finding,
)
from harness.analysis.score_drop import ARM, CLASS, Place
from harness.errors import RepriseError
from harness.features import frontends, transforms
from harness.metrics import multiclass
from harness.storage import cache_home, data_root
from harness.studies import executor, networks, records
from harness.studies import study as studies
from harness.studies.context import Context, Opened
from harness.studies.records import Predictions, Record
from harness.studies.runner import run_trials
from harness.studies.study import Study

GENRES = studies.load("gtzan-cam")
#: What makes a trial a matter of a second or two.
CHEAP = {"corpus": "pocket-gtzan-20", "epochs": 2, "batch_size": 16, "front_end": {"n_mels": 16, "time_pool": 10}}


def tiny(**changes: Any) -> Study:
    """The study of genres with a pocket profile for tests."""
    return replace(GENRES, profiles={**GENRES.profiles, "pocket": {**CHEAP, **changes}})


def train(study: Study, runs: Path, count: int = 2) -> list[Record]:
    """Run its base net here, not in a worker, so that faults can be planted."""
    opened = Opened()
    planned = executor.plan(study, profile="pocket", runs=runs, arms=["base"], conditions=["paper"], seeds=count)
    contexts = [Context(t, opened) for t in planned]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        study.code.prepare(contexts, jobs=1)
        return [run_trials([context])[0] for context in contexts]
    finally:
        torch.set_num_threads(threads)


def keep(found: Sequence[Record], folder: Path) -> None:
    """As `reprise keep` does, all but the pages."""
    for r in found:
        shutil.copytree(
            r.folder,
            folder / records.KEPT / r.folder.parent.name / r.folder.name,
            ignore=shutil.ignore_patterns("*.safetensors"),
        )


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
        keep(train(tiny(), folder / "runs"), folder / "results" / "gtzan_cam" / "pocket-gtzan-20-pocket")
    return folder / "results"


@pytest.fixture
def baseline(committed) -> list[Record]:
    (found,) = guard.baselines(GENRES, committed).values()
    return found


def elsewhere(found: Sequence[Record]) -> list[Record]:
    """The same trials, as if they had been run with another torch than they say."""
    environments = [r.data["environment"] for r in found]
    return [
        Record(r.folder, {**r.data, "environment": {**e, "packages": {"torch": f"not {e['packages']['torch']}"}}})
        for r, e in zip(found, environments, strict=True)
    ]


def judged(study: Study, baseline: Sequence[Record], now: Sequence[Record]) -> dict[str, Finding]:
    """Findings by label: of arms, of all together, and of the classes."""
    return {f.label: f for f in guard.judge(guard.compare(study, baseline, now))}


def of_base(study: Study, baseline: Sequence[Record], now: Sequence[Record]) -> Finding:
    return judged(study, baseline, now)["base"]


# Real training, the same environment.


def test_the_same_code_gives_the_same_bits(genres, baseline, tmp_path):
    found = of_base(tiny(), baseline, train(tiny(), tmp_path))
    assert (found.verdict, found.note, found.seeds, found.drops) == (IDENTICAL, "", 2, ())
    assert found.before == found.now == np.mean([r.data["metrics"]["test"]["accuracy"] for r in baseline])
    assert guard.exit_code([found]) == SAME


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
    found = of_base(tiny(), baseline, train(tiny(), tmp_path))
    assert found.verdict in (CHANGED, FELL)
    assert guard.exit_code([found]) == WORSE


def test_a_constant_of_a_front_end_that_no_setting_names_is_caught(genres, rendered, baseline, tmp_path, monkeypatch):
    monkeypatch.setattr(transforms, "_hann", lambda length, dtype: np.hamming(length).astype(dtype))
    cached = train(tiny(), tmp_path / "cached")
    assert of_base(tiny(), baseline, cached).verdict == IDENTICAL  # spectrograms were stored
    with guard.fresh_caches(rendered):
        found = of_base(tiny(), baseline, train(tiny(), tmp_path / "runs"))
    assert found.verdict in (CHANGED, FELL)


def test_a_constant_that_settings_name_is_caught_anywhere(genres, baseline, tmp_path, monkeypatch):
    monkeypatch.setattr(frontends.FRONT_ENDS["mel_segments"], "TOP_DB", 60.0)
    found = of_base(tiny(), baseline, elsewhere(train(tiny(), tmp_path)))
    assert not found.sound
    assert "other settings: front_end.top_db; another environment: " in found.note


def test_a_metric_with_a_bug_is_caught_where_predictions_are_the_same(genres, baseline, monkeypatch):
    evaluate = multiclass.evaluate

    def wrong(*arguments, **settings):
        found = evaluate(*arguments, **settings)
        return {**found, "accuracy": found["balanced_accuracy"]}

    monkeypatch.setattr(multiclass, "evaluate", wrong)
    found = of_base(tiny(), baseline, baseline)
    assert (found.verdict, found.sound) == (METRIC, False)
    assert found.note == "metrics not as recorded: accuracy (test), accuracy (valid)"


def test_another_rendering_is_caught_anywhere(genres, baseline, tmp_path):
    other = []
    for r in baseline:
        p = r.predictions("test")
        other.append(copied(r, tmp_path, replace(p, labels=np.roll(p.labels, 1, axis=0))))
    found = of_base(tiny(), baseline, other)
    assert (found.verdict, found.drops) == (OTHER, ())
    assert found.note.startswith("other clips or labels")


def test_a_trial_that_is_not_run_any_more_is_caught(baseline):
    found = of_base(tiny(), baseline, [])
    assert (found.verdict, found.sound, found.seeds) == (NOT_RUN, False, 0)


def test_what_runs_on_request_alone_is_not_missed(tmp_path):
    skills = {"base": 0.3, "released_base": 0.3}
    (default,) = write_trials(
        tmp_path / "a", GENRES, arms=["base"], conditions=["paper"], classes="abcdefghij", skills=skills
    )
    (request,) = write_trials(
        tmp_path / "b", GENRES, arms=["released_base"], conditions=["released"], classes="abcdefghij", skills=skills
    )
    assert guard.expected(GENRES, [default, request], []) == [default]
    assert guard.expected(GENRES, [default, request], [request]) == [default, request]


def test_seeds_left_out_are_not_compared(genres, baseline):
    found = of_base(tiny(), baseline, baseline[:1])
    assert (found.verdict, found.seeds) == (IDENTICAL, 1)


def test_a_damaged_baseline_is_said(genres, baseline, tmp_path):
    folder = shutil.copytree(baseline[0].folder, tmp_path / "records" / "base" / "seed-0")
    (folder / "predictions.npz").write_bytes(b"")
    with pytest.raises(RepriseError, match=r"predictions\.npz was changed after"):
        guard.compare(tiny(), [records.read_record(folder)], baseline)


def test_fresh_caches_leave_published_data_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "mine"))
    with guard.fresh_caches(tmp_path / "fresh"):
        assert cache_home() == tmp_path / "fresh"
        assert data_root() == tmp_path / "mine" / "data"
    assert os.environ["REPRISE_HOME"] == str(tmp_path / "mine")
    assert "REPRISE_DATA" not in os.environ


def test_only_pocket_trials_are_baselines(committed, tmp_path):
    (folder,) = guard.baselines(GENRES, committed)
    assert folder == committed / "gtzan_cam" / "pocket-gtzan-20-pocket"
    found = records.find_records(folder)
    data = {k: v for k, v in found[0].data.items() if k != "checksum"}
    for name, change in (("gtzan-pocket", {"corpus": "gtzan"}), ("pocket-gtzan-paper", {"profile": "paper"})):
        place = tmp_path / "gtzan_cam" / name / "records" / "base" / "seed-0"
        shutil.copytree(found[0].folder, place)
        records.write_record(place, {**data, **change}, files=("history.jsonl",))
    assert guard.baselines(GENRES, tmp_path) == {}


# The command, in processes of its own.


def test_the_command_says_what_changed(rendered, committed, tmp_path, monkeypatch):
    fresh = guard.fresh_caches
    monkeypatch.setattr(guard, "fresh_caches", lambda folder: fresh(rendered))
    monkeypatch.setattr(cli.studies, "load", lambda name: tiny())
    result = reprise("regression", "gtzan-cam", "--results", committed, "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert "1 of 1 arms predict the same bit by bit." in result.output
    train(tiny(epochs=1), tmp_path)
    result = reprise("regression", "gtzan-cam", "--results", committed, "--runs", tmp_path)
    assert result.exit_code == 1
    assert "gtzan_cam on pocket-gtzan-20 beside the records kept" in result.output
    assert "other settings: protocol.epochs" in result.output
    assert "not as kept (see the table); mend what did it" in result.stderr


def test_nothing_kept_is_said(tmp_path):
    result = reprise("regression", "gtzan-cam", "--results", tmp_path)
    assert result.exit_code == 1
    assert "of gtzan_cam on a pocket corpus; `reprise keep STUDY` does it" in result.stderr
    result = reprise("regression", "gtzan-cam", "--results", RESULTS, "--condition", "papr")
    assert result.exit_code == 1
    assert "on a pocket corpus under papr; `reprise keep STUDY` does it" in result.stderr


def test_trials_of_one_condition_can_be_compared_alone():
    (found,) = guard.baselines(GENRES, RESULTS, ["track"]).values()
    assert found
    assert {r.condition for r in found} == {"track"}


def test_the_command_has_an_exit_code_for_what_became_better(quick, tmp_path):
    baseline = KEPT["irmas_activations"]
    better = changed(baseline, tmp_path / "irmas_activations" / "pocket-irmas-pocket", improved)
    assert len(better) == len(baseline)
    result = reprise("regression", "irmas-activations", "--results", RESULTS, "--runs", tmp_path)
    assert result.exit_code == IMPROVED == 3, result.output
    assert "changed: better" in result.output
    assert "Better than kept, and nothing fell: " in result.output
    assert "reprise keep STUDY --reason" in result.output


# The records kept with the results.

RESULTS = Path(__file__).parents[1] / "results"
KEPT = {name: found for name in studies.names() for found in guard.baselines(studies.load(name), RESULTS).values()}


@pytest.fixture
def quick(monkeypatch) -> None:
    """That kept scores come out again is not what these tests are about."""
    monkeypatch.setattr(records, "rescored", lambda record: [])


def copied(record: Record, folder: Path, test: Predictions) -> Record:
    """The trial with other predictions on the test part, as if another environment had made them."""
    place = folder / record.folder.parent.name / record.folder.name
    place.mkdir(parents=True)
    records.write_predictions(place, {"valid": record.predictions("valid"), "test": test})
    data = {k: v for k, v in elsewhere([record])[0].data.items() if k not in ("checksum", "format", "files", "metrics")}
    return records.write_record(place, data, files=())


def changed(
    found: Sequence[Record], folder: Path, change: Callable, arms: Sequence[str] = (), seed: int = 0
) -> list[Record]:
    """Kept trials as rounding elsewhere leaves them, those of some arms, or of all, with a change on top."""
    generator = np.random.default_rng(seed)
    near: Mapping[Place, Predictions] = simulation.rounding(
        {(r.folder.parent.name, r.seed): r.predictions("test") for r in found}, generator
    )
    result = []
    for r in found:
        p = near[r.folder.parent.name, r.seed]
        if not arms or r.folder.parent.name in arms:
            p = change(p, generator)
        result.append(copied(r, folder, p))
    return result


def as_it_is(p: Predictions, generator: np.random.Generator) -> Predictions:
    return p


def improved(p: Predictions, generator: np.random.Generator) -> Predictions:
    return simulation.with_logits(p, simulation.logits(p) + 1.0 * (2.0 * p.labels - 1))


def told(found: Sequence[Finding]) -> str:
    """What the terminal has."""
    shown = Console(file=io.StringIO(), width=250)
    shown.print(guard.shown(found))
    return shown.file.getvalue()


def test_rounding_elsewhere_raises_no_alarm_and_the_limits_are_said(quick, tmp_path):
    study, baseline = studies.load("openmic_transfer"), KEPT["openmic_transfer"]
    found = guard.judge(guard.compare(study, baseline, changed(baseline, tmp_path, as_it_is)))
    assert {f.verdict for f in found} <= {NO_LOSS, BLIND}
    assert guard.exit_code(found) == SAME
    labels = [f.label for f in found]
    assert labels[: len(labels) - 21] == list(dict.fromkeys(f.label for f in found if f.level == ARM))
    assert labels.count(TOGETHER) == 1
    text = told(found)
    assert "A class in all arms is seen to be mixed up from " in text
    assert "Not seen at all: what the kept predictions have wrong as well" in text
    assert (
        "A clean run, as far off as another seed or by rounding, raises any alarm with probability 5% at most." in text
    )
    assert "0 of 15 arms predict the same bit by bit" in text


@pytest.mark.parametrize("fault", [simulation.one_class, simulation.swapped])
def test_a_class_that_is_broken_in_all_arms_is_named(quick, tmp_path, fault):
    study, baseline = studies.load("attention_embeddings"), KEPT["attention_embeddings"]
    found = judged(study, baseline, changed(baseline, tmp_path, fault))
    classes = baseline[0].data["classes"]
    fell = [f.label for f in found.values() if f.level == CLASS and f.verdict == FELL]
    assert fell == classes[:1] if fault is simulation.one_class else set(classes[:2]) <= set(fell)
    assert f"class {classes[0]}, all arms" in told(list(found.values()))
    assert "as if" in found[classes[0]].note
    assert guard.exit_code(list(found.values())) == WORSE


def test_a_loss_of_three_points_in_one_arm_is_seen_where_the_rest_is_near(quick, tmp_path):
    """By rounding alone; in a re-run as far as another seed one arm must lose what guard.md says."""
    study, baseline, arm = studies.load("attention_embeddings"), KEPT["attention_embeddings"], "vggish_pp"

    def fault(p: Predictions, generator: np.random.Generator) -> Predictions:
        return simulation.mixed_up(p, generator, 0.1)

    found = judged(study, baseline, changed(baseline, tmp_path, fault, [arm]))
    assert 0.015 < found[arm].before - found[arm].now < 0.045
    assert found[arm].verdict == FELL
    assert {f.label for f in found.values() if f.level == ARM and not f.sound} == {arm}


def test_what_becomes_better_is_called_better_and_a_fall_beside_it_a_fall(quick, tmp_path):
    study, baseline = studies.load("attention_embeddings"), KEPT["attention_embeddings"]
    found = judged(study, baseline, changed(baseline, tmp_path / "better", improved, ["fc", "rf"]))
    assert {f.label for f in found.values() if f.level == ARM and f.verdict == BETTER} == {"fc", "rf"}
    assert "rose by" in found["fc"].note
    assert found["fc"].now > found["fc"].before
    assert guard.exit_code(list(found.values())) == IMPROVED
    worse = replace(found["align"], verdict=FELL)
    assert guard.exit_code([*found.values(), worse]) == WORSE


def test_in_the_same_environment_an_insignificant_change_beside_a_better_one_is_no_fall():
    better = Finding("s", "c", "a", 1, BETTER)
    assert guard.exit_code([better, replace(better, verdict=CHANGED)]) == IMPROVED
    assert guard.exit_code([replace(better, verdict=CHANGED)]) == WORSE
    assert guard.exit_code([better, replace(better, verdict=OTHER)]) == WORSE


def test_one_kept_seed_tells_nothing_of_training_and_that_is_said(quick, tmp_path):
    study, baseline = studies.load("irmas_activations"), [r for r in KEPT["irmas_activations"] if r.seed == 0]
    found = guard.judge(guard.compare(study, baseline, changed(baseline, tmp_path, as_it_is)))
    assert {(f.verdict, f.sound, f.drops) for f in found} == {(NOT_TESTED, True, ())}
    assert "one seed is kept, so nothing is known of training." in told(found)
    assert "0 of 2 arms predict the same bit by bit, 2 not tested." in told(found)


def test_what_could_be_mixed_up_unseen_is_blind(quick, tmp_path):
    """Nothing is left to lose: the kept predictions are dealt out among the clips already, each trial's by itself."""
    study = studies.load("irmas_activations")
    kept_ones = changed(KEPT["irmas_activations"], tmp_path / "kept", simulation.mixed_up, seed=1)
    now = changed(kept_ones, tmp_path / "now", simulation.mixed_up, seed=2)
    found = judged(study, kept_ones, elsewhere(now))
    assert {f.verdict for f in found.values() if f.level == ARM} == {BLIND}
    assert "All clips of one arm alone could be mixed up unseen in: han, han@bce." in told(list(found.values()))
