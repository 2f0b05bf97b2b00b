"""The attention study: its arms are the sources' to the last parameter, and both stages run, stop and go on."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from corpora_trees import write_arrays
from helpers import CLASSES
from rich.console import Console
from trials import reprise

from harness import corpora
from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.models import trainable_parameters
from harness.studies import executor, records, study
from harness.studies.context import Context, context_of
from harness.studies.runner import run_trials
from harness.studies.trial import Trial
from replications.attention_embeddings import attention_over_time, representations
from replications.attention_embeddings.arms import build, restore
from replications.attention_embeddings.attention import attention
from replications.attention_embeddings.representations import open_representation

STUDY = study.load("attention-embeddings")
#: Both stages in seconds: small corpora, a VGGish a sixteenth as wide.
CHEAP = {
    "corpus": "pocket-openmic-60",
    "epochs": 3,
    "pretraining": {
        "aed": {"corpus": "pocket-audioset-60", "width": 0.0625, "epochs": 1, "batch_size": 16},
        "textual": {"corpus": "pocket-nsynth-60", "width": 0.0625, "epochs": 2, "batch_size": 16},
        "den_add": {"corpus": "pocket-nsynth-60", "width": 0.0625, "epochs": 1, "batch_size": 16},
        "den_mul": {"corpus": "pocket-nsynth-60", "width": 0.0625, "epochs": 1, "batch_size": 16},
        "align": {
            "corpus": "pocket-fsd50k-60", "width": 0.0625, "epochs": 1, "batch_size": 8, "least_uses": 2,
        },
    },
}  # fmt: skip


def plan(runs: Path, *arms: str, **settings) -> list[Trial]:
    settings = {"profile": "pocket", "conditions": ["paper"], "changes": CHEAP, **settings}
    return executor.plan(STUDY, runs=runs, arms=arms, **settings)


def execute(trials: list[Trial], jobs: int = 2) -> list[records.Record]:
    return executor.execute(trials, jobs=jobs, console=Console(file=io.StringIO(), width=200))


def assert_equal_predictions(ours: records.Record, theirs: records.Record) -> None:
    for part in records.PARTS:
        for name, value in vars(ours.predictions(part)).items():
            np.testing.assert_array_equal(value, getattr(theirs.predictions(part), name), strict=True)


@pytest.fixture(autouse=True)
def _shared_home(pocket_home, monkeypatch):
    """Corpora, features and pre-trainings are made once for all tests."""
    monkeypatch.setenv("REPRISE_HOME", str(pocket_home))


@pytest.fixture(scope="module")
def played(pocket_home, tmp_path_factory) -> dict[str, records.Record]:
    """Every arm once, and one with another seed: by label and seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(pocket_home))
        runs = tmp_path_factory.mktemp("runs")
        found = execute([*plan(runs), *plan(runs, "textual", seeds=2)[1:]])
    return {f"{r.arm} {r.seed}": r for r in found}


@pytest.mark.parametrize(
    ("arm", "parameters"),
    [("vggish_pp", 55_336), ("textual", 55_336), ("fc", 986_772), ("fc_t", 52_116), ("bigru", 226_068)],
)
def test_parameters_are_those_of_the_sources(arm, parameters):
    protocol = STUDY.resolve("paper", "paper", network=STUDY.arm(arm).network)
    network = build(STUDY.arm(arm), protocol, [0], frames=10, frame_size=128, classes=20)
    assert trainable_parameters(network) == STUDY.arm(arm).parameters == parameters


def test_log_mel_goes_through_a_projection_or_is_as_narrow_as_its_bands():
    arm = STUDY.arm("log_mel")
    for condition, parameters in (("paper", 47_016 + 8_192), ("log-mel-64", 15_400)):
        protocol = STUDY.resolve("paper", condition)
        network = build(arm, protocol, [0], frames=960, frame_size=64, classes=20)
        assert trainable_parameters(network) == parameters
    assert arm.parameters == 47_016 + 8_192


def test_a_wrong_parameter_count_is_said():
    arm = dataclasses.replace(STUDY.arm("fc"), parameters=1)
    with pytest.raises(RepriseError, match=r"fc has 986,772 learning parameters, not 1; correct its entry"):
        build(arm, STUDY.resolve("paper", "paper"), [0], frames=10, frame_size=128, classes=20)


def test_every_setting_is_as_published():
    settings = STUDY.resolve("paper", "paper")
    assert (settings["batch_size"], settings["epochs"], settings["learning_rate"]) == (128, 350, 5e-4)
    assert (settings["dropout"], settings["weight_decay"], settings["norm"]) == (0.6, 1e-5, "batch")
    assert STUDY.resolve("paper", "group-norm")["norm"] == "group"
    assert STUDY.resolve("paper", "paper", network="fc")["learning_rate"] == 1e-4
    for objective in ("aed", "textual", "den_add", "den_mul"):
        shared = {"epochs": 50, "patience": 5, "batch_size": 64, "learning_rate": 1e-4, "width": 1.0}
        assert shared.items() <= settings["pretraining"][objective].items()
    align = settings["pretraining"]["align"]
    assert (align["optimizer"], align["learning_rate"], align["batch_size"], align["epochs"]) == ("sgd", 5e-3, 128, 200)


def test_all_arms_leave_sound_records(played):
    assert {r.arm for r in played.values()} == {arm.name for arm in STUDY.arms}
    for record in played.values():
        data = records.verify(record.folder).data
        made = data["inputs"]["representation"]
        assert made["shape"] == ([60, 96, 64] if record.arm == "log_mel" else [60, 10, 128])
        objective = {"vggish_norm": "aed", "vggish_random": None, "log_mel": None}.get(record.arm, record.arm)
        objective = "aed" if made["name"] == "codes" else objective
        assert (made["pretraining"] or {}).get("objective") == objective
        assert record.predictions("test").probabilities.min() >= 0
    assert played["textual 0"].data["epochs"] == 3
    assert played["rf 0"].data["epochs"] == 0
    assert len(played["textual 0"].data["inputs"]["representation"]["pretraining"]["history"]) == 2


def test_seeds_differ_and_stand_on_one_pretraining(played):
    one, two = played["textual 0"], played["textual 1"]
    assert one.data["inputs"]["representation"]["sha256"] == two.data["inputs"]["representation"]["sha256"]
    assert not np.array_equal(one.predictions("test").probabilities, two.predictions("test").probabilities)


def test_the_same_seed_gives_the_same_bits_even_after_a_stop(played, tmp_path):
    again, stopped = plan(tmp_path / "again", "textual"), plan(tmp_path / "stopped", "textual")
    assert_equal_predictions(execute(again)[0], played["textual 0"])

    def stop(_, entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trials([Context(t) for t in stopped], on_epoch=stop)
    assert not stopped[0].finished()
    assert_equal_predictions(execute(stopped)[0], played["textual 0"])


def test_a_restored_network_predicts_what_is_stored(played):
    record = played["align 0"]
    network, inputs = restore(record, STUDY)
    with torch.no_grad():
        found = network(torch.from_numpy(inputs.array[inputs.rows["test"]])[None])[0].numpy()
    np.testing.assert_allclose(found, record.predictions("test").probabilities, atol=1e-6)


def test_scaling_knows_the_training_part_only(played):
    record = played["vggish_random 0"]
    for scaling, axis in (("global", None), ("dimension", (0, 1))):
        context = context_of(record, STUDY).changed(scaling=scaling)
        representation = open_representation(context)
        train = representation.array[context.split.rows["train"]]
        low, high = train.min(axis=axis), train.max(axis=axis)
        assert np.all(low == 0)
        assert np.all((high == 1) | (high == 0))  # a dimension that never changes stays at 0
        assert representation.array.max() <= 1
    # Not by the range of all clips: another training part gives another range.
    first, second = context_of(record, STUDY), context_of(record, STUDY)
    rows = first.split.rows
    second.__dict__["split"] = dataclasses.replace(first.split, rows={**rows, "train": rows["test"]})
    assert open_representation(first).description["scaled"] != open_representation(second).description["scaled"]


def test_computed_codes_are_whitened_and_in_steps_of_one_in_255(played):
    codes = open_representation(context_of(played["vggish_pp 0"], STUDY)).array
    np.testing.assert_allclose(codes * 255, np.rint(codes * 255), atol=1e-4)
    assert 0.2 < codes.mean() < 0.8


def test_a_pretraining_that_is_not_there_is_said():
    protocol = STUDY.resolve("pocket", "paper", {**CHEAP, "pretraining_seed": 99})
    with pytest.raises(RepriseError, match="the pre-training textual on pocket-nsynth-60 was not run to its end"):
        representations.load_encoder("textual", protocol)


def test_attention_over_time_is_measured_with_the_trial(played):
    found = {name: records.read_record(r.folder).measured("attention") for name, r in played.items()}
    attending = {arm.name for arm in STUDY.arms if arm.network == "attention"}
    assert {name.partition(" ")[0] for name, frame in found.items() if frame is not None} == attending
    scores = found["log_mel 0"]
    shares = ["attention", "contribution", "untrained_attention", "untrained_contribution", "time"]
    assert list(scores) == ["key", "instrument", *shares[:4], "time"]
    assert scores[shares].stack().between(0, 1).all()
    assert scores["time"].between(0, 1, inclusive="neither").all()
    assert set(scores["key"]) <= set(played["log_mel 0"].predictions("test").keys)
    one, two = found["textual 0"], found["textual 1"]
    assert one[["key", "instrument", "time"]].equals(two[["key", "instrument", "time"]])
    for name in shares[:4]:
        assert not one[name].equals(two[name])
    analysis = Analysis(STUDY, list(played.values()), replicates=100)
    shown = attention_over_time.table(analysis).frame
    assert set(shown["arm"]) == attending
    measured = analysis.measured("attention")
    ours = measured[measured["arm"] == "log_mel"]
    row = shown[(shown["arm"] == "log_mel") & (shown["measure"] == "contribution")].iloc[0]
    assert row["share"] == pytest.approx(ours["contribution"].mean())
    assert row["difference"].value == pytest.approx((ours["contribution"] - ours["time"]).mean())


def test_measuring_again_gives_the_same_and_nothing_where_it_is_not_known(played):
    record = played["log_mel 0"]
    context, (network, _) = context_of(record, STUDY), restore(record, STUDY)
    again = attention_over_time.measure(context, network)["attention"]
    pd.testing.assert_frame_equal(again, record.measured("attention"), check_dtype=False, atol=2e-6, rtol=0)
    pd.testing.assert_frame_equal(attention_over_time.measure(context, network)["attention"], again)
    scaled = dataclasses.replace(context.trial, condition=STUDY.condition("per-dimension"))
    assert attention_over_time.measure(Context(scaled, context.opened), network) == {}
    context.__dict__["corpus"] = dataclasses.replace(context.corpus, ground_truth=None)
    assert attention_over_time.measure(context, network) == {}


def test_contributions_are_what_the_decision_is_made_of():
    network = attention([0], frame_size=8, hidden=8, classes=3, dropout=0.0, norm="batch").eval()
    clips = np.random.default_rng(0).random((5, 4, 8), np.float32)
    found = attention_over_time.contributions(network, clips)
    for shares in found.values():
        assert shares.shape == (5, 4, 3)
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    with torch.no_grad():
        inputs = torch.from_numpy(clips)[None]
        activity, said = network.activity(inputs)[0].numpy(), network(inputs)[0].numpy()
    np.testing.assert_allclose(found["contribution"] * said[:, None], found["attention"] * activity, atol=1e-5)


def test_sounding_is_the_share_of_each_frame():
    corpus = corpora.load("pocket-openmic-60")
    rows = np.arange(5)
    fine = attention_over_time.sounding(corpus, rows, 96, 0.1)
    coarse = attention_over_time.sounding(corpus, rows, 10, 0.96)
    assert fine.shape == (5, 96, 20)
    assert set(np.unique(fine.round(9))) <= {0.0, 1.0}  # the truth's own frames
    np.testing.assert_allclose(coarse.mean(axis=1), fine.mean(axis=1), atol=1e-9)


def test_the_command_plays_arms_and_reports(played, tmp_path):
    result = reprise(
        "run", "attention-embeddings", "--corpus", "pocket-openmic-60", "--arm", "nobody", "--runs", tmp_path
    )
    assert result.exit_code == 1
    assert "there is no arm of attention_embeddings named 'nobody'" in result.output
    found = reprise("report", "attention-embeddings", "--runs", played["rf 0"].folder.parents[3], "--out", tmp_path)
    assert found.exit_code == 0, found.output
    page = tmp_path / "attention_embeddings" / "pocket-openmic-60-pocket"
    for name in ("fig2_representations.png", "fig3_objectives.png", "attention_over_time_test.csv", "README.md"):
        assert (page / name).stat().st_size > 1000


def test_the_attention_of_the_best_arm_is_drawn_after_training(played, tmp_path):
    found = list(played.values())
    shown = attention_over_time.explain(STUDY, found, tmp_path)
    (name,) = shown["figures"]
    assert (tmp_path / name).stat().st_size > 1000
    valid: dict[str, list[float]] = {}
    for r in found:
        if STUDY.arm(r.arm).network == "attention":
            valid.setdefault(r.arm, []).append(r.data["metrics"]["valid"][STUDY.metric])
    best = max(valid, key=lambda arm: np.mean(valid[arm]))
    assert STUDY.arm(best).title in shown["figures"][name]
    forest = [played["rf 0"]]
    assert attention_over_time.explain(STUDY, forest, tmp_path) == {"figures": {}, "links": []}


def test_the_released_arrays_alone_are_enough(monkeypatch, tmp_path):
    """As published: 20,000 rows, 64-bit codes, keys as objects; no audio, no table of labels."""
    generator = np.random.default_rng(0)
    keys = [f"{i:06d}_{3840 * (i % 7)}" for i in range(20_000)]
    root = tmp_path / "data" / "openmic-2018"
    (root / "partitions").mkdir(parents=True)
    (root / "class-map.json").write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}))
    test = np.sort(generator.choice(20_000, 5_085, replace=False))
    train = np.setdiff1d(np.arange(20_000), test)
    for name, rows in (("train", train), ("test", test)):
        (root / "partitions" / f"split01_{name}.csv").write_text("\n".join(keys[i] for i in rows) + "\n")
    codes = generator.integers(0, 256, (20_000, 10, 128))
    mask = generator.random((20_000, 20)) < 0.1
    present = codes[:, :, :20].mean(axis=1) > 127  # something to learn
    write_arrays(root, keys, np.where(present, 0.9, 0.1), mask, codes)
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    arms = ("vggish_pp", "rf", "fc", "fc_t", "bigru")
    trials = executor.plan(
        STUDY, profile="paper", runs=tmp_path / "runs", arms=arms, changes={"epochs": 1}, conditions=["paper"]
    )
    for record in execute(trials):
        data = records.verify(record.folder).data
        assert data["split"]["sizes"] == {"train": 12_678, "valid": 2_237, "test": 5_085}
        assert data["weights"]["kind"] == "published"
        assert "features" not in data["inputs"]["representation"]
        assert data["parameters"]["trainable"] == STUDY.arm(record.arm).parameters
