"""Scores of one class out of several against scikit-learn, hand-computed cases and known levels."""

import json
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.metrics import metrics_of, multiclass, validate, weighted

EXACT = {"rel": 0, "abs": 1e-12}


def chance_levels(labels: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """Chance of every metric by name."""
    return {name: metric.chance(labels, mask) for name, metric in metrics_of("multiclass").items()}


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
    for name in metrics_of("multiclass"):
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


def test_chance_levels() -> None:
    """A test part of 260 notes of seven classes: the most frequent of them is no seventh."""
    supports = [40, 40, 37, 31, 34, 42, 36]
    labels = np.eye(7, dtype=int)[np.repeat(range(7), supports)]
    levels = chance_levels(labels)
    shares = np.array(supports) / 260
    assert levels["accuracy"] == pytest.approx(42 / 260)
    assert levels["balanced_accuracy"] == pytest.approx(1 / 7)
    assert levels["f1_macro"] == pytest.approx(1 / 7)
    assert levels["log_loss"] == pytest.approx(-(shares * np.log(shares)).sum(), **EXACT)
    assert chance_levels(labels[:, [6, 0, 1, 2, 3, 4, 5]]) == pytest.approx(levels)


def test_weightings_equal_those_of_sklearn() -> None:
    labels, probabilities = predictions(40)
    weights = np.random.default_rng(4).multinomial(40, np.full(40, 1 / 40), 50)
    averages, _ = weighted("multiclass", *validate("multiclass", labels, probabilities)[:3], weights)
    absent = 0
    for replicate, weight in enumerate(weights):
        oracle = by_sklearn(labels, probabilities.astype(np.float64), weight)
        absent += len(np.unique(labels[weight > 0].argmax(axis=1))) < 7
        for name, values in averages.items():
            assert values[replicate] == pytest.approx(oracle[name], **EXACT)
    assert absent > 0


def test_class_names_must_fit() -> None:
    with pytest.raises(ValueError, match="2 different names"):
        multiclass.evaluate([[1, 0]], [[0.3, 0.7]], classes=["flute"])
