"""The single-notes study: the thesis to the last number; its networks are whole, repeatable and resumable."""

import dataclasses
import io
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import torch
from orchestra_trees import make_philharmonia_tree
from rich.console import Console
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from harness import corpora, features
from harness.errors import RepriseError
from harness.models import chain, frozen, trainable_parameters
from harness.studies import executor, records, study
from harness.studies.context import Context
from harness.studies.runner import run_trials
from harness.studies.trial import Trial
from replications.single_notes import base, heads, references
from replications.single_notes import study as single_notes
from replications.single_notes.optimizers import KerasSGD
from replications.single_notes.study import build, expected

STUDY = study.load("single-notes")
PAPER = STUDY.resolve("paper", "paper")
SET_UPS = ("setup_1", "setup_2", "setup_3", "setup_4")
CLIPS = 70
POCKET = f"pocket-notes-{CLIPS}"
#: What makes a trial a matter of seconds: few notes, two epochs.
CHEAP = {"corpus": POCKET, "epochs": 2, "statistics_notes": 16}


def cheap_trials(runs: Path, *arms: str, changes: dict | None = None, **settings) -> list[Trial]:
    settings = {"profile": "pocket", "conditions": ["paper"], **settings}
    return executor.plan(STUDY, runs=runs, arms=arms, changes={**CHEAP, **(changes or {})}, **settings)


def base_of(t: Trial, corpus: str | None = None) -> base.Base:
    return base.of_context(Context(t), corpus)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Cache and data folders with a pocket corpus, and a few notes of noise that stand for the Philharmonia's."""
    folder = tmp_path_factory.mktemp("notes-home")
    make_philharmonia_tree(folder / "data" / "philharmonia", notes=2)
    return folder


@pytest.fixture
def notes(home, monkeypatch) -> str:
    """Name of the pocket corpus; what is computed of it is shared between tests."""
    monkeypatch.setenv("REPRISE_HOME", str(home))
    torch.set_num_threads(1)
    return POCKET


@pytest.fixture(scope="module")
def played(home, tmp_path_factory) -> dict[str, Trial]:
    """Every arm that runs by default, some on notes of another corpus, and one whose last block learns: by label."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(home))
        runs = tmp_path_factory.mktemp("runs")
        planned = cheap_trials(runs)
        planned += cheap_trials(runs, "setup_3", "logreg_logmel", conditions=["on-philharmonia"])
        planned += cheap_trials(runs, "unfrozen_last", changes={"epochs": 1})
        executor.execute(planned, jobs=1, console=Console(file=io.StringIO()))
    return {t.label: t for t in planned}


# What the thesis states.


def test_the_protocol_is_the_thesis():
    stated = {
        "split": "stratified-80-20", "epochs": 50, "learning_rate": 0.045, "decay": 0.9, "momentum": 0.9,
        "schedule": "none", "dropout": 0.0, "keep": "last", "weights": {"inception_resnet_v2": "published"},
    }  # fmt: skip
    assert {key: PAPER[key] for key in stated} == stated
    pictures = {"sample_rate": 12000, "seconds": 1.0, "n_mels": 128, "n_fft": 2048, "hop_length": 1024, "size": 150}
    assert {key: PAPER["front_end"][key] for key in pictures} == pictures
    assert features.front_end(**PAPER["front_end"]) == features.front_end("note_picture")


def test_the_pocket_profile_changes_nothing_but_notes_and_weights():
    pocket = STUDY.resolve("pocket", "paper")
    assert {key for key in PAPER if PAPER[key] != pocket[key]} == {"corpus", "weights"}


@pytest.mark.parametrize(
    ("arm", "hidden", "nesterov", "batch_size", "parameters"),
    [
        ("setup_1", [512], False, 20, 7_081_991),
        ("setup_2", [512], True, 20, 7_081_991),
        ("setup_3", [1024, 512], False, 30, 14_685_191),
        ("setup_4", [1024, 512], True, 30, 14_685_191),
    ],
)
def test_the_set_ups_are_those_of_table_2(arm, hidden, nesterov, batch_size, parameters):
    arm = STUDY.arm(arm)
    assert arm.options == {"hidden": hidden, "nesterov": nesterov, "batch_size": batch_size}
    layers = heads.build_head(arm, PAPER, 7, 0)
    assert trainable_parameters(layers) == parameters == arm.parameters
    group = heads.make_optimizer(layers, heads.settings(arm, PAPER)).param_groups[0]
    assert {key: group[key] for key in ("lr", "decay", "momentum", "nesterov")} == {
        "lr": 0.045, "decay": 0.9, "momentum": 0.9, "nesterov": nesterov,
    }  # fmt: skip


def test_table_2_is_the_thesis():
    printed = {(entry["arm"], entry["metric"]): entry["value"] for entry in STUDY.published}
    assert [printed[arm, "log_loss"] for arm in SET_UPS] == [0.69, 0.89, 0.83, 0.75]
    assert [printed[arm, "accuracy"] for arm in SET_UPS] == [0.77, 0.74, 0.77, 0.80]
    assert {(entry["table"], entry["split"]) for entry in STUDY.published} == {("2", "test")}


def test_every_order_is_true_of_the_thesis_own_numbers():
    printed = {(entry["arm"], entry["metric"]): entry["value"] for entry in STUDY.published}
    orders = [claim for claim in STUDY.claims if claim["kind"] == "order" and claim.get("part", "test") == "test"]
    judged = 0
    for claim in orders:
        sides = [[side] if isinstance(side, str) else side for side in (claim["above"], claim["below"])]
        if any((arm, claim["metric"]) not in printed for side in sides for arm in side):
            continue
        above, below = (np.mean([printed[arm, claim["metric"]] for arm in side]) for side in sides)
        if "has the same" in claim.get("reading", ""):  # the text says more than the table
            assert above == below
        else:
            assert above > below - claim.get("margin", 0.0), claim["text"]
        judged += 1
    assert judged >= 9


@pytest.mark.parametrize("arm", [arm.name for arm in STUDY.arms if arm.parameters])
def test_an_arm_learns_what_it_should(arm):
    with torch.device("meta"):
        made = build(STUDY.arm(arm), SimpleNamespace(classes=tuple("abcdefg")), PAPER)
    learning = {name.partition(".")[0] for name, p in made.network.named_parameters() if p.requires_grad}
    if arm == "unfrozen_all":
        assert trainable_parameters(made.network) == 54_306_464 + 14_685_191
        assert all(p.requires_grad for p in made.network.parameters())
    else:
        assert learning == ({"head", "conv2d_7b", "block8"} if arm == "unfrozen_last" else {"head"})
    assert (made.keep, made.score_training) == ("last", True)
    assert type(made.optimizer(made.network)) is KerasSGD
    assert made.scheduler is None


def test_a_wrong_number_in_the_studys_file_is_refused():
    arm = dataclasses.replace(STUDY.arm("setup_1"), parameters=787_463)  # of global average pooling
    with pytest.raises(RepriseError, match="setup_1 has 7,081,991 learning parameters, not 787,463; correct"):
        heads.build_head(arm, PAPER, 7, 0)
    assert trainable_parameters(heads.build_head(arm, PAPER, 8, 0)) == 7_081_991 + 513  # nothing is said of eight


def test_dropout_and_schedule_are_the_conditions():
    layers = heads.build_head(STUDY.arm("setup_4"), STUDY.resolve("paper", "dropout"), 7, 0)
    assert [m.p for m in layers if isinstance(m, torch.nn.Dropout)] == [0.5, 0.5]
    protocol = heads.settings(STUDY.arm("setup_4"), STUDY.resolve("paper", "szegedy"))
    optimizer = heads.make_optimizer(torch.nn.Linear(2, 2), protocol)
    scheduler = heads.make_schedule(protocol)(optimizer)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.045, 0.045, 0.045 * 0.94, 0.045 * 0.94, 0.045 * 0.94**2])
    assert optimizer.param_groups[0]["decay"] == 0.0
    with pytest.raises(RepriseError, match="schedule is none or szegedy, not 'cosine'"):
        heads.make_schedule({"schedule": "cosine"})


def test_what_runs_by_default(tmp_path):
    labels = Counter(t.label for t in executor.plan(STUDY, profile="paper", runs=tmp_path, seeds=2))
    arms = (*SET_UPS, "svm_mfcc", "logreg_logmel")
    assert labels == dict.fromkeys([*arms, *(f"{a}@by-pitch" for a in arms), *(f"{a}@folds" for a in arms)], 2)
    planned = executor.plan(STUDY, profile="paper", runs=tmp_path, changes={"corpus": "philharmonia"})
    assert {t.condition.name for t in planned} == {"paper", "by-pitch"}  # the samples come in no folds


def test_every_condition_is_one_line_of_difference():
    for condition in STUDY.conditions:
        changed = {key for key, value in STUDY.resolve("paper", condition.name).items() if value != PAPER[key]}
        assert changed == set(condition.changes)
        assert len(changed) <= (2 if condition.name == "szegedy" else 1)


def test_the_page_names_every_condition_that_runs_on_request():
    text = (STUDY.folder / "README.md").read_text(encoding="utf-8")
    for condition in STUDY.conditions:
        assert condition.default or re.search(rf"[` ]{condition.name}`", text), condition.name
    assert set(re.findall(r"\]\((\w+\.(?:py|toml))\)", text)) <= {p.name for p in STUDY.folder.iterdir()}


# Splits.


def test_a_seed_tests_on_its_fold_and_draws_the_rest(notes):
    corpus = corpora.load(notes)
    planned = cheap_trials(Path("runs"), "setup_1", conditions=["folds"], seeds=7)
    drawn = [Context(t).split for t in planned]
    folds = corpus.clips["fold"].to_numpy(dtype=int)
    for t, split in zip(planned, drawn, strict=True):
        assert set(folds[split.rows["test"]]) == {t.seed % 5}
        assert split.seed == t.seed
    np.testing.assert_array_equal(drawn[0].rows["test"], drawn[5].rows["test"])
    assert drawn[0].rows["valid"].tolist() != drawn[5].rows["valid"].tolist()
    every = np.concatenate([split.rows["test"] for split in drawn[:5]])
    np.testing.assert_array_equal(np.sort(every), np.arange(CLIPS))


def test_only_the_random_split_has_a_pitch_on_both_sides(notes):
    (random,) = cheap_trials(Path("runs"), "setup_1")
    (grouped,) = cheap_trials(Path("runs"), "setup_1", conditions=["by-pitch"])
    shared = [Context(t).split.leakage["shared_groups"]["train-test"] for t in (random, grouped)]
    assert shared[0] > 0 == shared[1]


# The frozen base.


def test_stored_numbers_are_those_of_a_direct_pass(notes, played):
    used = base_of(played["setup_1"])
    network, start = base.build(played["setup_1"].protocol, 7, (8,))
    base.load_statistics(network, used)
    names = [name for name, _ in chain(network)]
    rows = np.array([0, 13, CLIPS - 1])
    with torch.no_grad():
        direct = frozen.apply(
            chain(network)[: names.index("flatten") + 1], torch.from_numpy(used.pictures(notes).array[rows])
        )
    stored = base.read(used)
    assert stored.array.shape == (CLIPS, 13_824)
    np.testing.assert_allclose(stored.array[rows], direct, rtol=1e-4, atol=1e-4)
    assert stored.manifest["weights"] == start == {"kind": "random"}
    assert stored.manifest["parameters"] == 54_306_464


def test_statistics_are_the_mean_over_batches_of_spread_notes(notes, played):
    used = base_of(played["setup_1"])
    (rows,) = base._statistics_batches(used)
    assert len(rows) == 16
    assert corpora.load(notes).labels[rows].any(axis=0).all()  # of every instrument
    several = base._statistics_batches(dataclasses.replace(used, protocol={**used.protocol, "statistics_notes": 10**6}))
    assert sorted(np.concatenate(several)) == list(range(CLIPS))
    network, _ = base.build(played["setup_1"].protocol, 7, (8,))
    stages = chain(network)
    stages = stages[: [name for name, _ in stages].index("conv2d_2b") + 1]
    network.to(memory_format=torch.channels_last)
    frozen.estimate_statistics(stages, used.pictures(notes).array, rows, device=torch.device("cpu"))
    expected_mean = network.conv2d_2b.bn.running_mean.clone()
    base.load_statistics(network, used)
    torch.testing.assert_close(network.conv2d_2b.bn.running_mean, expected_mean)


def test_all_seeds_and_splits_share_one_pass_and_other_pictures_need_another(notes, tmp_path):
    planned = cheap_trials(tmp_path, "setup_1", "setup_4", conditions=["paper", "by-pitch", "dropout"], seeds=3)
    assert len({base_of(t).folder for t in planned}) == 1
    assert base_of(planned[0]).finished()
    (other,) = cheap_trials(tmp_path, "setup_1", conditions=["symmetric-pixels"])
    assert base_of(other).folder != base_of(planned[0]).folder
    theirs = base_of(planned[0], "philharmonia")
    assert theirs.statistics_folder == base_of(planned[0]).statistics_folder  # those of the notes trained on


def test_published_weights_that_are_not_here_are_asked_for(notes, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    planned = cheap_trials(tmp_path, "setup_1", changes={"weights": "published"})
    with pytest.raises(RepriseError, match="run `reprise data fetch inception_resnet_v2`"):
        expected([Context(t) for t in planned])


# Trials.


def test_every_arm_leaves_a_sound_record(notes, played):
    for label, t in played.items():
        record = records.verify(t.folder)
        assert record.data["task"] == "multiclass"
        assert record.data["parameters"]["trainable"] == t.arm.parameters
        assert record.data["metrics"]["test"].keys() >= {"accuracy", "balanced_accuracy", "f1_macro", "log_loss"}
        np.testing.assert_allclose(record.predictions("test").probabilities.sum(axis=1), 1, atol=1e-4)
        assert record.data["settings"] == t.arm.options, label
    networks = [t for t in played.values() if t.arm.parameters]
    for t in networks:
        record = records.read_record(t.folder)
        assert record.data["best_epoch"] == record.data["epochs"] == t.protocol["epochs"]  # the last is kept
        assert {"accuracy", "train_accuracy", "train_loss", "valid_loss"} <= set(record.history())
    assert records.read_record(played["setup_4"].folder).data["parameters"]["total"] == 54_306_464 + 14_685_191


def outputs(network: torch.nn.Module, pictures: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.softmax(network(torch.from_numpy(np.array(pictures))), dim=-1).numpy()


@pytest.mark.parametrize("label", ["setup_2", "setup_3@on-philharmonia", "unfrozen_last"])
def test_the_whole_network_says_what_the_trial_said(label, notes, played):
    record = records.read_record(played[label].folder)
    network, pictures = heads.restore(record, STUDY)
    assert not network.training
    assert [name for name, _ in network.named_children()][-3:] == ["conv2d_7b", "flatten", "head"]
    said = record.predictions("test")
    if label.endswith("philharmonia"):
        corpus = corpora.load("philharmonia")
        pictures = base_of(played[label]).pictures("philharmonia")
    else:
        corpus = corpora.load(notes)
    rows = np.flatnonzero(np.isin(corpus.clips["key"], said.keys))[:6]
    order = {key: i for i, key in enumerate(said.keys)}
    stored = said.probabilities[[order[key] for key in corpus.clips["key"][rows]]]
    np.testing.assert_allclose(outputs(network, pictures.array[rows]), stored, rtol=1e-3, atol=1e-3)


def test_a_set_up_can_be_visualised_and_a_reference_says_that_it_cannot(notes, played):
    spec, t = single_notes.restore(records.read_record(played["setup_1"].folder), STUDY)
    network, _ = heads.restore(records.read_record(played["setup_1"].folder), STUDY)
    picture = torch.rand(1, *spec.front_end.shape(None))
    with torch.inference_mode():
        torch.testing.assert_close(spec.network(picture), network(picture))
    assert t.label == "setup_1"
    assert not spec.network.training
    with pytest.raises(RepriseError, match="svm_mfcc is no network"):
        single_notes.restore(records.read_record(played["svm_mfcc"].folder), STUDY)


def learnt(t: Trial) -> tuple[bytes, list[dict]]:
    lines = (t.folder / "history.jsonl").read_text().splitlines()
    history = [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
    return (t.folder / "best.safetensors").read_bytes(), history


def test_a_trial_comes_out_the_same_to_the_last_bit_killed_or_not(notes, played, tmp_path):
    (again,) = cheap_trials(tmp_path / "again", "setup_4")
    run_trials([Context(again)])
    assert learnt(again) == learnt(played["setup_4"])

    class Killed(BaseException):
        pass

    def kill(t, entry):
        raise Killed

    (killed,) = cheap_trials(tmp_path / "killed", "setup_4")
    with pytest.raises(Killed):
        run_trials([Context(killed)], on_epoch=kill)
    seen = []
    run_trials([Context(killed)], on_epoch=lambda t, entry: seen.append(entry["epoch"]))
    assert seen == [2]
    assert learnt(killed) == learnt(played["setup_4"])
    same, theirs = (records.read_record(t.folder).predictions("test") for t in (killed, played["setup_4"]))
    np.testing.assert_array_equal(same.probabilities, theirs.probabilities)


def test_seeds_differ_in_their_notes_and_weights(notes, tmp_path):
    first, second = cheap_trials(tmp_path, "setup_1", seeds=2)
    a, b = (heads.build_head(t.arm, t.protocol, 7, t.seed) for t in (first, second))
    assert not torch.equal(a[0].weight, b[0].weight)
    assert Context(first).split.checksum != Context(second).split.checksum


# Another corpus's notes.


def test_the_test_part_is_all_of_the_other_corpus(notes, played):
    theirs = corpora.load("philharmonia")
    for label in ("setup_3@on-philharmonia", "logreg_logmel@on-philharmonia"):
        record = records.read_record(played[label].folder)
        said = record.predictions("test")
        assert said.keys.tolist() == theirs.clips["key"].tolist()
        np.testing.assert_array_equal(said.labels, theirs.labels)
        assert record.data["split"]["sizes"]["test"] == len(theirs.clips) == 14
        assert set(record.data["split"]["leakage"]["shared_groups"]) == {"train-valid"}
    # What is learnt and validated is as under the thesis' condition.
    own, other = (records.read_record(played[label].folder) for label in ("setup_3", "setup_3@on-philharmonia"))
    np.testing.assert_array_equal(own.predictions("valid").probabilities, other.predictions("valid").probabilities)


def test_a_corpus_is_not_tested_on_itself(notes, tmp_path):
    planned = cheap_trials(tmp_path, "setup_1", changes={"test_corpus": POCKET})
    with pytest.raises(RepriseError, match="tests on pocket-notes-70, which setup_1 is trained on; train on another"):
        heads.test_corpus(Context(planned[0]))


# References.


def log_mel(t: Trial) -> np.ndarray:
    context = Context(t)
    return np.array(references.open_log_mel(context, context.corpus).array)


def test_references_hear_the_second_that_the_pictures_show(notes, played):
    t = played["svm_mfcc"]
    cells, front_end = log_mel(t), features.front_end("note_picture")
    assert cells.shape == (CLIPS, 128, 12)
    picture = Context(t).features(front_end).array[5]
    low, high = cells[5].min(), cells[5].max()
    stretched = (cells[5] - low) / (high - low)
    columns = (2 * np.arange(150) + 1) * 12 // 300
    np.testing.assert_allclose(picture[149], stretched[0][columns], atol=1e-6)  # the lowest band is the last row


def test_cepstra_are_librosas(notes, played):
    cells = log_mel(played["svm_mfcc"])
    ours = references.mfcc_statistics(cells, coefficients=20)
    theirs = np.stack([librosa.feature.mfcc(S=note.astype(np.float64), n_mfcc=20) for note in cells])
    np.testing.assert_allclose(ours, np.hstack([theirs.mean(axis=2), theirs.std(axis=2)]), atol=1e-9)


def test_references_are_plain_pipelines(notes, played):
    cells = log_mel(played["svm_mfcc"]).astype(np.float64)
    corpus = corpora.load(notes)
    truth = corpus.labels.argmax(axis=1)
    mfcc = np.stack([librosa.feature.mfcc(S=note, n_mfcc=20) for note in cells])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    plain = {
        "svm_mfcc": (
            np.hstack([mfcc.mean(axis=2), mfcc.std(axis=2)]),
            CalibratedClassifierCV(SVC(C=10), cv=folds, ensemble=False),
        ),
        "logreg_logmel": (cells.mean(axis=2), LogisticRegression(max_iter=2000)),
    }
    for label, (values, classifier) in plain.items():
        rows = Context(played[label]).split.rows
        pipeline = make_pipeline(StandardScaler(), classifier).fit(values[rows["train"]], truth[rows["train"]])
        said = records.read_record(played[label].folder).predictions("test")
        np.testing.assert_allclose(said.probabilities, pipeline.predict_proba(values[rows["test"]]), atol=1e-5)


def test_a_class_of_one_note_is_a_clear_message():
    with pytest.raises(RepriseError, match="a single note to train on; use a larger corpus"):
        references.make_classifier("svm", np.array([0, 0, 1]), {"C": 1.0}, seed=0)
