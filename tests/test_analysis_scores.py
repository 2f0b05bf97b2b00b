"""The public face of the analysis: `score` and `compare`."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

import harness.analysis
from harness.analysis import compare, score, scoring
from harness.analysis.scoring import interquartile_mean
from harness.metrics import metrics_of

CLASSES = ["flute", "violin", "voice"]


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.random((150, 3)) < 0.3
    runs = np.clip(0.35 * labels + 0.65 * generator.random((3, 150, 3)), 0, 1)
    return labels, runs, generator.random((150, 3)) < 0.8


def test_examples_run():
    for module in (harness.analysis, scoring, harness.analysis.families):
        assert doctest.testmod(module).failed == 0


def test_values_are_those_of_scikit_learn(predictions):
    labels, runs, mask = predictions
    found = score(labels, runs[0], mask, classes=CLASSES).set_index(["metric", "class"])["value"]
    of_classes = [average_precision_score(labels[m, k], runs[0][m, k]) for k, m in enumerate(mask.T)]
    assert found["map_masked", ""] == pytest.approx(np.mean(of_classes))
    assert [found["map_masked", name] for name in CLASSES] == pytest.approx(of_classes)
    full = score(labels, runs[0], classes=CLASSES).set_index(["metric", "class"])["value"]
    assert full["f1_macro_unmasked", ""] == pytest.approx(f1_score(labels, runs[0] >= 0.5, average="macro"))


def test_every_metric_has_a_row_and_every_class_of_a_mean_over_classes(predictions):
    labels, runs, _ = predictions
    found = score(labels, runs[0], classes=CLASSES)
    assert list(found.columns) == [
        "metric", "class", "value", "low", "high", "level", "chance", "clips", "positives", "note"
    ]  # fmt: skip
    for name, metric in metrics_of("multilabel").items():
        assert found[found["metric"] == name]["class"].tolist() == ["", *(CLASSES if metric.per_class else ())]


def test_one_class_per_clip_takes_class_numbers(predictions):
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 4, 80)
    probabilities = generator.random((80, 4)) + np.eye(4)[truth]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = score(truth, probabilities, task="multiclass").set_index(["metric", "class"])
    assert found.loc[("accuracy", ""), "value"] == pytest.approx(accuracy_score(truth, probabilities.argmax(axis=1)))


def test_several_runs_are_a_mean_with_a_longer_interval(predictions):
    labels, runs, _ = predictions
    several = score(labels, runs, metrics=["map_masked"])
    each = [score(labels, run, metrics=["map_masked"])["value"][0] for run in runs]
    assert several["value"][0] == pytest.approx(np.mean(each))
    assert "3 runs" in several["note"][0]
    apart = np.stack([runs[0], np.clip(1.6 * runs[1] - 0.6 * labels, 0, 1)])  # runs that differ widely
    alike = np.stack([runs[0], runs[0]])

    def length(which):
        row = score(labels, which, metrics=["map_masked"]).iloc[0]
        return row["high"] - row["low"]

    assert length(apart) > 1.5 * length(alike)


def test_groups_make_intervals_longer():
    generator = np.random.default_rng(2)
    labels = np.repeat(generator.random((40, 2)) < 0.4, 5, axis=0)
    probabilities = np.repeat(np.clip(0.3 * labels[::5] + 0.7 * generator.random((40, 2)), 0, 1), 5, axis=0)
    alone, grouped = (
        score(labels, probabilities, groups=groups, metrics=["f1_micro_unmasked"]).iloc[0]
        for groups in (None, np.repeat(np.arange(40), 5))
    )
    assert grouped["value"] == alone["value"]
    # Copies are no more evidence than one: the error is that of 40, not of 200.
    assert (grouped["high"] - grouped["low"]) / (alone["high"] - alone["low"]) == pytest.approx(5**0.5, rel=0.25)


def test_same_seed_same_table_and_order_of_classes_does_not_matter(predictions):
    labels, runs, mask = predictions
    first = score(labels, runs, mask, classes=CLASSES, metrics=["f1_macro_unmasked"])
    assert first.equals(score(labels, runs, mask, classes=CLASSES, metrics=["f1_macro_unmasked"]))
    turned = score(
        labels[:, ::-1], runs[..., ::-1], mask[:, ::-1], classes=CLASSES[::-1], metrics=["f1_macro_unmasked"]
    )
    a, b = (frame.set_index("class")[["low", "high"]].sort_index() for frame in (first, turned))
    np.testing.assert_allclose(a, b, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    clips=st.integers(12, 40),
    prevalence=st.floats(0.0, 1.0),
    skill=st.floats(0.0, 1.0),
    runs=st.integers(1, 3),
)
def test_no_interval_is_without_width_or_ends_at_its_own_estimate(seed, clips, prevalence, skill, runs):
    generator = np.random.default_rng(seed)
    labels = generator.random((clips, 3)) < prevalence
    probabilities = skill * labels + (1 - skill) * generator.random((runs, clips, 3))
    found = score(labels, probabilities, replicates=100)
    given_ = found.dropna(subset=["low"])
    assert (given_["high"] - given_["low"] > 1e-6).all()
    inside = given_[(given_["value"] > 0) & (given_["value"] < 1)]
    assert (inside["low"] != inside["value"]).all()
    assert (inside["high"] != inside["value"]).all()
    assert ((given_["low"] >= 0) & (given_["high"] <= 1)).all()
    # Whoever gets no interval is told why.
    assert (found[found["low"].isna()]["note"] != "").all()


def test_few_positives_have_no_interval_and_the_count_is_told():
    generator = np.random.default_rng(3)
    labels = np.zeros((60, 2), bool)
    labels[:3, 0], labels[:30, 1] = True, True
    found = score(labels, generator.random((60, 2)), metrics=["map_masked"], classes=["rare", "common"])
    rare = found[found["class"] == "rare"].iloc[0]
    assert np.isnan(rare["low"])
    assert rare["positives"] == 3
    assert "3 positives" in rare["note"]
    assert np.isfinite(found[found["class"] == "common"]["low"]).all()


def test_a_score_that_is_0_or_1_has_an_interval_as_a_count_has():
    labels = np.zeros((100, 1), bool)
    labels[:50] = True
    never, always = (score(labels, np.full((100, 1), p), metrics=["f1_macro_unmasked"]).iloc[0] for p in (0.0, 1.0))
    assert never["value"] == 0
    # The rule of three: of 50 positives none was found, so that up to 3.7 of 50 may be.
    assert 0.03 < never["high"] < 0.15
    perfect = score(labels, labels.astype(float), metrics=["f1_macro_unmasked"]).iloc[0]
    assert perfect["value"] == 1
    assert 0.85 < perfect["low"] < 0.97
    assert always["low"] < always["value"] < always["high"]


def test_interquartile_mean_is_not_moved_by_one_failure():
    assert interquartile_mean(np.array([0.0, 0.7, 0.7, 0.7, 0.7])) == pytest.approx(0.7)
    assert interquartile_mean(np.array([0.2, 0.4])) == pytest.approx(0.3)


def test_compare_finds_the_better_one_and_is_antisymmetric(predictions):
    labels, runs, _ = predictions
    poor = np.clip(0.1 * labels + 0.9 * np.random.default_rng(5).random((3, 150, 3)), 0, 1)
    found, turned = compare(labels, runs, poor), compare(labels, poor, runs)
    assert found["decided"][0] == "above"
    assert turned["decided"][0] == "below"
    np.testing.assert_allclose(found["difference"], -turned["difference"])
    np.testing.assert_allclose(found["low"], -turned["high"], atol=0.02)


def test_compare_of_the_same_decides_nothing_and_has_width(predictions):
    labels, runs, _ = predictions
    found = compare(labels, runs[0], runs[0], metric=["map_masked", "f1_micro_unmasked"])
    assert (found["difference"] == 0).all()
    assert (found["decided"] == "").all()
    assert (found["low"] < 0).all()
    assert (found["high"] > 0).all()


@pytest.mark.parametrize(("first", "second"), [(3, 1), (1, 3), (2, 3), (1, 1)])
def test_compare_takes_any_number_of_runs(predictions, first, second):
    labels, runs, _ = predictions
    found = compare(labels, runs[:first], runs[:second] if second > 1 else runs[2])
    assert np.isfinite(found[["low", "high", "p"]]).all(axis=None)
    assert list(found.columns) == ["metric", "class", "difference", "low", "high", "p", "decided"]
    assert (found["high"] - found["low"]).max() < 2


def test_decided_interval_and_p_say_the_same(predictions):
    labels, runs, _ = predictions
    for shift in (0.0, 0.1, 0.3):
        found = compare(labels, np.clip(runs + shift * labels, 0, 1), runs[::-1], metric=["map_masked"])
        without_zero = (found["low"] > 0) | (found["high"] < 0)
        assert (without_zero == (found["decided"] != "")).all()
        assert ((found["p"] <= 0.05) == (found["decided"] != "")).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"metrics": ["f2"]}, "no multilabel metric 'f2'"),
        ({"groups": np.zeros(3)}, "groups"),
        ({"classes": ["a", "a", "b"]}, "classes"),
        ({"level": 1.5}, "level"),
        ({"replicates": 5}, "replicates"),
        ({"threshold": np.nan}, "threshold"),
        ({"threshold": 1.5}, "threshold"),
        ({"task": "regression"}, "task"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(predictions, arguments, words):
    labels, runs, _ = predictions
    with pytest.raises(ValueError, match=words):
        score(labels, runs, **arguments)


def test_no_run_is_told():
    with pytest.raises(ValueError, match="no run"):
        score(np.ones((3, 2)), np.ones((0, 3, 2)))
