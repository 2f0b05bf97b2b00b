"""Multi-label scores against scikit-learn, hand-computed cases and published tables."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.metrics import metrics_of, multilabel

EXACT = {"rel": 0, "abs": 1e-12}


def chance_levels(labels: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """Chance of every metric by name."""
    return {name: metric.chance(labels, mask) for name, metric in metrics_of("multilabel").items()}


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities with many ties and at the threshold, and a mask: degenerate classes are common."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 4)))
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))
    grid = st.sampled_from([0.0, 0.25, 0.49999, 0.5, 0.75, 1.0])
    probabilities = draw(hnp.arrays(np.float64, shape, elements=grid | st.floats(0, 1)))
    mask = draw(hnp.arrays(bool, shape))
    return labels, probabilities, mask


def lrap_by_sklearn(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """scikit-learn's label-ranking average precision, which refuses a single column: there every clip scores 1."""
    return 1.0 if labels.shape[1] == 1 else sk.label_ranking_average_precision_score(labels, probabilities)


def by_sklearn(labels: np.ndarray, probabilities: np.ndarray, mask: np.ndarray) -> dict:
    """The same scores, put together from scikit-learn class by class."""
    labels = labels * mask
    predicted = (probabilities >= 0.5).astype(int)
    quiet = {"zero_division": 0}
    # scikit-learn takes a single column for a binary problem: a second, empty class keeps it multi-label there.
    scores = {
        "f1_macro_unmasked": np.mean([sk.f1_score(y, p, **quiet) for y, p in zip(labels.T, predicted.T, strict=True)]),
        "f1_micro_unmasked": sk.f1_score(labels.ravel(), predicted.ravel(), **quiet),
        "jaccard_micro_unmasked": sk.jaccard_score(labels.ravel(), predicted.ravel(), **quiet),
        "jaccard_macro_unmasked": np.mean(
            [sk.jaccard_score(y, p, **quiet) for y, p in zip(labels.T, predicted.T, strict=True)]
        ),
        "jaccard_samples_unmasked": sk.jaccard_score(
            np.pad(labels, ((0, 0), (0, 1))), np.pad(predicted, ((0, 0), (0, 1))), average="samples", **quiet
        ),
        "lrap_unmasked": lrap_by_sklearn(labels, probabilities),
    }
    per_class = {}
    for c in range(labels.shape[1]):
        seen = mask[:, c]
        entry = {"support": labels[:, c].sum(), "observed": seen.sum()}
        for suffix, rows in (("unmasked", np.ones_like(seen)), ("masked", seen)):
            y, p, binary = labels[rows, c], probabilities[rows, c], predicted[rows, c]
            both = len(np.unique(y)) == 2
            entry[f"average_precision_{suffix}"] = sk.average_precision_score(y, p) if both else None
            entry[f"roc_auc_{suffix}"] = sk.roc_auc_score(y, p) if both else None
            if len(y):
                f1 = {label: sk.f1_score(y, binary, pos_label=label, **quiet) for label in (0, 1)}
                entry[f"precision_{suffix}"] = sk.precision_score(y, binary, **quiet)
                entry[f"recall_{suffix}"] = sk.recall_score(y, binary, **quiet)
            else:
                f1 = {0: None, 1: None}
                entry[f"precision_{suffix}"] = entry[f"recall_{suffix}"] = None
            if suffix == "unmasked":
                entry["f1_unmasked"] = f1[1]
                entry["jaccard_unmasked"] = sk.jaccard_score(y, binary, **quiet)
            else:
                entry["f1_pos_masked"], entry["f1_neg_masked"] = f1[1], f1[0]
                entry["f1_macro2_masked"] = None if f1[0] is None else (f1[0] + f1[1]) / 2
        per_class[str(c)] = entry
    for name, of_class in ((m.name, m.per_class) for m in metrics_of("multilabel").values() if m.per_class):
        values = [entry[of_class] for entry in per_class.values() if entry[of_class] is not None]
        scores[name] = np.mean(values) if values else None
    return scores | {"per_class": per_class}


def assert_same(ours: dict, oracle: dict) -> None:
    for name in metrics_of("multilabel"):
        assert ours[name] == (None if oracle[name] is None else pytest.approx(oracle[name], **EXACT)), name
    for name, entry in oracle["per_class"].items():
        assert ours["per_class"][name].keys() == entry.keys()
        for score, value in entry.items():
            expected = None if value is None else pytest.approx(value, **EXACT)
            assert ours["per_class"][name][score] == expected, (name, score)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_equals_sklearn(case: tuple) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = multilabel.evaluate(*case)
        oracle = by_sklearn(*case)
    assert_same(ours, oracle)
    json.dumps(ours, allow_nan=False)


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_equals_sklearn_at_the_size_of_a_test_split(density: float) -> None:
    generator = np.random.default_rng(3)
    shape = (5085, 20)
    labels, mask = generator.random(shape) < 0.4, generator.random(shape) < density
    probabilities = generator.random(shape).astype(np.float32)
    assert_same(multilabel.evaluate(labels, probabilities, mask), by_sklearn(labels, probabilities, mask))


def test_hand_computed() -> None:
    labels = [[1, 0], [1, 0], [0, 1], [0, 0]]
    probabilities = [[0.9, 0.6], [0.4, 0.1], [0.5, 0.7], [0.2, 0.8]]
    mask = [[1, 1], [1, 0], [1, 1], [0, 1]]
    scores = multilabel.evaluate(labels, probabilities, mask, classes=["flute", "voice"])
    # flute: tp 1, fn 1, fp 1 (p = 0.5 is a prediction), tn 1 of which unobserved 1; voice: tp 1, fp 2, tn 1 unobserved
    flute, voice = scores["per_class"]["flute"], scores["per_class"]["voice"]
    assert (flute["support"], flute["observed"], voice["support"], voice["observed"]) == (2, 3, 1, 3)
    assert flute["f1_pos_masked"] == pytest.approx(0.5)
    assert flute["f1_neg_masked"] == 0
    assert flute["f1_macro2_masked"] == pytest.approx(0.25)
    assert voice["precision_masked"] == pytest.approx(1 / 3)
    assert voice["f1_unmasked"] == pytest.approx(0.5)
    assert flute["average_precision_masked"] == pytest.approx((1 + 2 / 3) / 2)
    assert flute["roc_auc_masked"] == pytest.approx(0.5)
    assert voice["average_precision_masked"] == pytest.approx(0.5)
    assert scores["map_masked"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert scores["f1_micro_unmasked"] == pytest.approx(4 / 8)
    assert scores["jaccard_micro_unmasked"] == pytest.approx(2 / 6)
    assert scores["jaccard_samples_unmasked"] == pytest.approx((1 / 2 + 0 + 1 / 2 + 0) / 4)


def test_label_ranking_by_hand() -> None:
    labels = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    probabilities = np.array(
        [[0.9, 0.8, 0.3, 0.1], [0.4, 0.4, 0.4, 0.1], [0.2, 0.1, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]
    )
    expected = [(1 / 1 + 2 / 3) / 2, 1 / 3, (1 / 3 + 2 / 4) / 2, 1, 1]
    np.testing.assert_allclose(multilabel.lrap(labels, probabilities), expected, rtol=1e-12)
    assert multilabel.evaluate(labels, probabilities)["lrap_unmasked"] == pytest.approx(np.mean(expected), **EXACT)


@settings(deadline=None)
@given(cases(), st.sampled_from([np.sqrt, lambda p: p / 2, lambda p: (p + 1) / 4]))
def test_label_ranking_hangs_on_the_order_alone(case: tuple, rescale: object) -> None:
    labels, probabilities, _ = case
    ordered = np.round(probabilities, 3)  # so far apart that rescaling makes no ties
    np.testing.assert_array_equal(multilabel.lrap(labels, rescale(ordered)), multilabel.lrap(labels, ordered))


@settings(deadline=None)
@given(cases())
def test_micro_jaccard_follows_from_micro_f1(case: tuple) -> None:
    scores = multilabel.evaluate(*case)
    f1 = scores["f1_micro_unmasked"]
    assert scores["jaccard_micro_unmasked"] == pytest.approx(f1 / (2 - f1), **EXACT)


def test_undefined_classes_are_named_and_left_out_of_the_mean() -> None:
    labels = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [1, 0, 1, 0]])
    probabilities = np.array([[0.9, 0.1, 0.6, 0.2], [0.1, 0.8, 0.7, 0.2], [0.6, 0.3, 0.8, 0.2]])
    mask = np.ones_like(labels)
    mask[:, 3] = 0
    scores = multilabel.evaluate(labels, probabilities, mask, classes=["good", "absent", "present", "unseen"])
    assert scores["undefined"]["map_masked"] == ["absent", "present", "unseen"]
    assert scores["undefined"]["roc_auc_masked"] == ["absent", "present", "unseen"]
    assert scores["undefined"]["f1_macro2_masked"] == ["unseen"]
    assert scores["map_masked"] == 1
    assert scores["per_class"]["absent"]["average_precision_masked"] is None
    # F1 of presence is 1, 0 (nothing to find, one found) and 1; the class that nobody was asked about does not count.
    assert scores["f1_macro_pos_masked"] == pytest.approx(2 / 3)


def test_all_undefined_is_none() -> None:
    scores = multilabel.evaluate([[0, 0]], [[0.3, 0.6]], [[0, 0]])
    assert [scores[name] for name in ("map_masked", "roc_auc_masked", "f1_macro2_masked")] == [None] * 3
    assert scores["f1_macro_unmasked"] == 0


def read_random_forest_table() -> list[dict]:
    """Observed labels per class on split01 and the random forest's F1 (two decimals), from the OpenMIC notebook."""
    with open(Path(__file__).parent / "fixtures" / "openmic_random_forest.csv", newline="") as file:
        return [{k: v if k == "class" else float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def official_test_split() -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """Labels and mask of 5,085 clips with the published number of observed positives and negatives per class."""
    table = read_random_forest_table()
    labels, mask = np.zeros((5085, 20), np.uint8), np.zeros((5085, 20), bool)
    for c, row in enumerate(table):
        positives, negatives = int(row["test_positive"]), int(row["test_negative"])
        labels[:positives, c] = 1
        mask[: positives + negatives, c] = True
    return labels, mask, table


def test_chance_levels_of_the_official_test_split() -> None:
    labels, mask, table = official_test_split()
    assert sum(row["test_positive"] for row in table) / 5085 == pytest.approx(0.888, abs=5e-4)
    more_present = 2 * labels.sum(axis=0) >= mask.sum(axis=0)
    constant = multilabel.evaluate(labels, np.tile(more_present, (5085, 1)), mask)
    assert constant["f1_macro2_masked"] == pytest.approx(0.3978, abs=5e-5)
    levels = chance_levels(labels, mask)
    assert levels["f1_macro2_masked"] == 0.5
    assert levels["f1_macro_pos_masked"] == pytest.approx(0.5988, abs=5e-5)
    assert levels["map_masked"] == pytest.approx(0.4470, abs=5e-5)
    assert levels["f1_macro_unmasked"] == pytest.approx(0.0847, abs=5e-5)
    assert levels["roc_auc_masked"] == pytest.approx(0.5, **EXACT)
    assert levels["jaccard_macro_unmasked"] == pytest.approx(4517 / 5085 / 20, **EXACT)
    # The seven most frequent classes; all twenty score 0.0850.
    frequent = sorted((row["test_positive"] for row in table), reverse=True)[:7]
    assert levels["f1_micro_unmasked"] == pytest.approx(2 * sum(frequent) / (4517 + 5085 * 7), **EXACT)


def test_random_forest_baseline() -> None:
    """Predictions with the published supports and per-class F1 score the published mean."""
    labels, mask, table = official_test_split()
    probabilities = np.zeros(labels.shape)
    for c, row in enumerate(table):
        positives, negatives = int(row["test_positive"]), int(row["test_negative"])
        hits, alarms = np.meshgrid(np.arange(positives + 1), np.arange(negatives + 1), indexing="ij")
        f1_positive = 2 * hits / (hits + positives + alarms)
        f1_negative = 2 * (negatives - alarms) / (2 * negatives - alarms + positives - hits)
        error = np.abs(f1_positive - row["f1_positive"]) + np.abs(f1_negative - row["f1_negative"])
        hit, alarm = np.unravel_index(error.argmin(), error.shape)
        assert error[hit, alarm] < 0.01
        probabilities[:hit, c] = 1
        probabilities[positives : positives + alarm, c] = 1
    scores = multilabel.evaluate(labels, probabilities, mask, classes=[row["class"] for row in table])
    assert scores["f1_macro2_masked"] == pytest.approx(0.784, abs=1e-3)
    assert scores["f1_macro_pos_masked"] == pytest.approx(0.705, abs=1e-3)
    for row in table:
        entry = scores["per_class"][row["class"]]
        assert entry["f1_macro2_masked"] == pytest.approx((row["f1_positive"] + row["f1_negative"]) / 2, abs=0.005)


def test_class_names_must_fit() -> None:
    with pytest.raises(ValueError, match="2 different names"):
        multilabel.evaluate([[1, 0]], [[0.1, 0.2]], classes=["flute", "flute"])
