"""Scores of one class out of several against scikit-learn, hand-computed cases and known levels."""

import json
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.metrics import multiclass, multilabel, uncertainty

EXACT = {"rel": 0, "abs": 1e-12}


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities, with many ties, absent classes and classes that are never predicted."""
    n, c = draw(st.tuples(st.integers(1, 15), st.integers(1, 5)))
    labels = np.eye(c, dtype=np.uint8)[draw(hnp.arrays(np.int64, n, elements=st.integers(0, c - 1)))]
    scores = draw(hnp.arrays(np.float64, (n, c), elements=st.sampled_from([0.0, 0.25, 1.0]) | st.floats(0, 1)))
    return labels, (scores + 1e-3) / (scores + 1e-3).sum(axis=1, keepdims=True)


def by_sklearn(labels: np.ndarray, probabilities: np.ndarray, weight: np.ndarray | None = None) -> dict:
    """The same scores from scikit-learn."""
    c = labels.shape[1]
    truth, predicted = labels.argmax(axis=1), probabilities.argmax(axis=1)
    there = np.unique(truth if weight is None else truth[weight > 0])
    common = {"sample_weight": weight}
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        truth, predicted, labels=range(c), zero_division=0, **common
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that are predicted but absent
        clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
        log_loss = -np.average(np.log(clipped[np.arange(len(truth)), truth]), weights=weight)
        if c > 1 and clipped.sum(axis=1) == pytest.approx(1, abs=1e-9):
            assert log_loss == pytest.approx(sk.log_loss(truth, clipped, labels=range(c), **common), **EXACT)
        return {
            "accuracy": sk.accuracy_score(truth, predicted, **common),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted, **common),
            "f1_macro": sk.f1_score(truth, predicted, labels=there, average="macro", zero_division=0, **common),
            "log_loss": log_loss,
            "per_class": {
                str(k): {
                    "support": int((truth == k).sum()),
                    "precision": precision[k],
                    "recall": recall[k] if k in there else None,
                    "f1": f1[k] if k in there else None,
                }
                for k in range(c)
            },
            "confusion": sk.confusion_matrix(truth, predicted, labels=range(c)).tolist(),
        }


def assert_same(ours: dict, oracle: dict) -> None:
    for name in multiclass.METRICS:
        assert ours[name] == pytest.approx(oracle[name], **EXACT), name
    for name, entry in oracle["per_class"].items():
        assert ours["per_class"][name].keys() == entry.keys()
        for score, value in entry.items():
            expected = None if value is None else pytest.approx(value, **EXACT)
            assert ours["per_class"][name][score] == expected, (name, score)
    assert ours["confusion"] == oracle["confusion"]


@settings(max_examples=150, deadline=None)
@given(cases())
def test_equals_sklearn(case: tuple) -> None:
    ours = multiclass.evaluate(*case)
    assert_same(ours, by_sklearn(*case))
    json.dumps(ours, allow_nan=False)


def predictions(clips: int, *, classes: int = 7, skill: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.choice(classes, clips, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    labels = np.eye(classes, dtype=np.uint8)[truth]
    exponentials = np.exp(generator.normal(size=labels.shape) + skill * labels)
    return labels, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def test_equals_sklearn_at_the_size_of_a_test_part() -> None:
    labels, probabilities = predictions(260)
    assert_same(multiclass.evaluate(labels, probabilities), by_sklearn(labels, probabilities.astype(np.float64)))


def test_hand_computed() -> None:
    labels = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    probabilities = [[0.5, 0.25, 0.25], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]]
    scores = multiclass.evaluate(labels, probabilities, classes=["flute", "oboe", "tuba"])
    # The third row is a tie, which the first class wins: flute has tp 1, fn 1, fp 1; oboe fn 1, fp 1; tuba tp 1.
    assert scores["confusion"] == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert scores["accuracy"] == 0.5
    assert scores["balanced_accuracy"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert scores["per_class"]["flute"] == {"support": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert scores["f1_macro"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert scores["log_loss"] == pytest.approx(-(np.log(0.5) + np.log(0.2) + np.log(0.4) + np.log(1 - 1e-7)) / 4)


def test_a_certain_mistake_costs_what_it_costs_in_keras() -> None:
    assert multiclass.evaluate([[1, 0]], [[0.0, 1.0]])["log_loss"] == pytest.approx(-np.log(1e-7), **EXACT)


def test_classes_without_clips_are_named_and_left_out_of_the_means() -> None:
    scores = multiclass.evaluate([[1, 0, 0], [1, 0, 0]], [[0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], classes=["a", "b", "c"])
    assert scores["undefined"] == {"balanced_accuracy": ["b", "c"], "f1_macro": ["b", "c"]}
    assert scores["per_class"]["b"] == {"support": 0, "precision": 0.0, "recall": None, "f1": None}
    assert scores["balanced_accuracy"] == 0.5
    assert scores["f1_macro"] == pytest.approx(2 / 3)


@settings(deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_classes_and_clips_is_of_no_matter(case: tuple, random) -> None:
    labels, probabilities = case
    order = list(range(labels.shape[1]))
    random.shuffle(order)
    rows = list(range(len(labels)))
    random.shuffle(rows)
    assume(((probabilities == probabilities.max(axis=1, keepdims=True)).sum(axis=1) == 1).all())
    ours = multiclass.evaluate(labels, probabilities)
    shuffled = multiclass.evaluate(labels[rows][:, order], probabilities[rows][:, order])
    for name in multiclass.METRICS:
        assert shuffled[name] == pytest.approx(ours[name], **EXACT)


@settings(deadline=None)
@given(cases())
def test_whole_weights_count_a_clip_so_many_times(case: tuple) -> None:
    labels, probabilities = case
    weights = np.arange(len(labels)) % 3
    assume(weights.any())
    averages, _ = multiclass.weighted_scores(*multiclass.validate(labels, probabilities), weights[None])
    repeated = multiclass.evaluate(np.repeat(labels, weights, axis=0), np.repeat(probabilities, weights, axis=0))
    for name in multiclass.METRICS:
        assert averages[name][0] == pytest.approx(repeated[name], **EXACT)


def test_weights_that_are_all_zero_leave_everything_undefined() -> None:
    labels, probabilities = predictions(5)
    averages, per_class = multiclass.weighted_scores(*multiclass.validate(labels, probabilities), np.zeros((1, 5)))
    assert all(np.isnan(values).all() for values in averages.values())
    assert np.isnan(per_class["recall"]).all()


def test_chance_levels() -> None:
    """The test part of study 004's size and classes: the most frequent of them is no seventh."""
    supports = [40, 40, 37, 31, 34, 42, 36]
    labels = np.eye(7, dtype=int)[np.repeat(range(7), supports)]
    levels = multiclass.chance(labels)
    shares = np.array(supports) / 260
    assert levels["accuracy"] == pytest.approx(42 / 260)
    assert levels["balanced_accuracy"] == pytest.approx(1 / 7)
    assert levels["f1_macro"] == pytest.approx(1 / 7)
    assert levels["log_loss"] == pytest.approx(-(shares * np.log(shares)).sum(), **EXACT)
    assert multiclass.chance(labels[:, [6, 0, 1, 2, 3, 4, 5]]) == pytest.approx(levels)


@settings(deadline=None)
@given(cases())
def test_no_constant_class_is_above_chance(case: tuple) -> None:
    labels, _ = case
    levels = multiclass.chance(labels)
    constants = [multiclass.evaluate(labels, np.broadcast_to(row, labels.shape)) for row in np.eye(labels.shape[1])]
    for name in ("accuracy", "balanced_accuracy"):
        assert max(scores[name] for scores in constants) == pytest.approx(levels[name], **EXACT)
    assert max(scores["f1_macro"] for scores in constants) <= levels["f1_macro"] + 1e-12
    assert min(scores["log_loss"] for scores in constants) >= levels["log_loss"] - 1e-12


def test_guessing_as_often_as_a_class_occurs_scores_one_over_the_classes_by_macro_f1() -> None:
    generator = np.random.default_rng(0)
    labels, guesses = (np.eye(3)[generator.choice(3, 200_000, p=[0.1, 0.2, 0.7])] for _ in range(2))
    assert multiclass.evaluate(labels, guesses)["f1_macro"] == pytest.approx(1 / 3, abs=0.005)


def test_bootstrap_replicates_equal_weighted_sklearn() -> None:
    labels, probabilities = predictions(40)
    drawn = uncertainty.distribution(labels, probabilities, replicates=50, seed=4, scoring=multiclass)
    absent = 0
    for replicate, weight in enumerate(np.concatenate(list(uncertainty.resample(40, 50, 4)))):
        oracle = by_sklearn(labels, probabilities.astype(np.float64), weight)
        absent += len(np.unique(labels[weight > 0].argmax(axis=1))) < 7
        for name in multiclass.METRICS:
            assert drawn[name][replicate] == pytest.approx(oracle[name], **EXACT)
    assert absent > 0


def test_a_published_accuracy_and_its_interval() -> None:
    """With 260 notes an accuracy of 0.77 reaches from 0.72 to 0.82, and a loss is not held below 1."""
    labels = np.eye(7)[np.arange(260) % 7]
    probabilities = np.where(np.arange(260)[:, None] < 200, labels, np.roll(labels, 1, axis=1))
    intervals = uncertainty.bootstrap(labels, probabilities, replicates=2000, scoring=multiclass)
    assert intervals["accuracy"] == pytest.approx((200 / 260 - 0.051, 200 / 260 + 0.051), abs=0.008)
    low, high = intervals["log_loss"]
    assert 1 < low < high


def test_groups_are_drawn_whole() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    drawn = np.concatenate(list(uncertainty.resample(6, 300, 1, groups)))
    for name in "abc":
        of_group = drawn[:, groups == name]
        assert (of_group == of_group[:, :1]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()
    # Clips that repeat each other say no more than one: the interval of 20 groups is that of 20 clips, not of 400.
    labels, probabilities = predictions(20, skill=0.5)
    repeated = [np.repeat(array, 20, axis=0) for array in (labels, probabilities)]
    options = {"metrics": ["accuracy"], "replicates": 500, "scoring": multiclass}
    few = uncertainty.distribution(labels, probabilities, **options)["accuracy"].std()
    grouped = uncertainty.distribution(*repeated, **options, groups=np.repeat(np.arange(20), 20))["accuracy"].std()
    alone = uncertainty.distribution(*repeated, **options)["accuracy"].std()
    assert grouped == pytest.approx(few, rel=1e-9)
    assert alone < grouped / 3


@pytest.mark.parametrize(
    ("labels", "probabilities", "mask", "message"),
    [
        ([[1, 0]], [[0.3, 0.7]], [[1, 0]], "every label must be observed, but 1 are masked"),
        ([[1, 0], [1, 1]], [[0.3, 0.7]] * 2, None, "every clip must have one class, but row 1 has 2"),
        ([[1, 0], [0, 0]], [[0.3, 0.7]] * 2, None, "every clip must have one class, but row 1 has 0"),
        ([[1, 0], [1, 0]], [[0.3, 0.7], [0.9, 0.7]], None, "must add up to 1, but those of row 1 give 1.6"),
        ([[1, 0]], [[0.3, np.nan]], None, "probabilities must be numbers"),
        (np.zeros((0, 2)), np.zeros((0, 2)), None, "nothing to score"),
    ],
)
def test_bad_input_is_refused(labels: object, probabilities: object, mask: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multiclass.evaluate(labels, probabilities, mask)


def test_class_names_and_metrics_must_fit() -> None:
    with pytest.raises(ValueError, match="2 different names"):
        multiclass.evaluate([[1, 0]], [[0.3, 0.7]], classes=["flute"])
    with pytest.raises(ValueError, match="no metric 'map_masked'; choose from accuracy"):
        uncertainty.distribution([[1, 0]], [[0.3, 0.7]], metrics=["map_masked"], scoring=multiclass)


def test_both_modules_can_be_called_alike() -> None:
    for module in (multilabel, multiclass):
        arrays = module.validate([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]], np.ones((2, 2)))
        averages, per_class = module.weighted_scores(
            *arrays, np.ones((3, 2)), metrics=module.METRICS[:2], threshold=0.4
        )
        assert list(averages) == list(module.METRICS[:2])
        assert {values.shape for values in per_class.values()} == {(3, 2)}
        assert set(module.METRICS) < set(module.evaluate(*arrays, threshold=0.4, classes=["a", "b"]))
        assert set(module.chance(arrays[0], arrays[2])) == set(module.METRICS)
        assert set(module.MEAN_OF) < set(module.METRICS)
