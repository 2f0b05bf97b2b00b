"""What every metric of the table must keep, whichever it is: a new one is held to it without a line here.

That each of our own is what it says it is: `test_metrics_multilabel` and `test_metrics_multiclass` hold all scores of a
task against scikit-learn at once.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_metrics_multiclass
import test_metrics_multilabel
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import METRICS, Metric, metrics_of, register, validate, weighted
from harness.metrics.table import MISSING_ARE_ABSENT, OBSERVED, TASKS

EXACT = {"rtol": 0, "atol": 1e-12}
by_task = pytest.mark.parametrize("task", TASKS)
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
#: What `Metric.chance_in_words` may say, and the answers meant: from the frequencies of the classes to rows of
#: probabilities, each given to all clips. What guesses at random is simulated instead.
STATED = {
    "multilabel": {
        "naming every class": lambda f: [np.ones(len(f))],
        "giving every clip the same probabilities": lambda f: [np.full(len(f), 0.3)],
        "naming the most frequent classes, as many as score best": lambda f: [
            np.isin(range(len(f)), sorted(range(len(f)), key=lambda k: -f[k])[: n + 1]) for n in range(len(f))
        ],
        "ranking the classes by how often they are present": lambda f: [f],
    },
    "multiclass": {
        "naming the most frequent class": lambda f: [np.eye(len(f))[f.argmax()]],
        "naming one class every time": lambda f: np.eye(len(f))[f > 0],
        "giving each class its frequency as probability": lambda f: [f],
    },
}
GUESSING = "guessing each class as often as it occurs"


def draw(task: str, seed: int, clips: int = 40, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Validated labels, probabilities without ties and a mask; no clip without a class, no class with all or none."""
    generator = np.random.default_rng(seed)
    mask = np.ones((clips, classes), bool)
    if task == "multiclass":
        labels = np.eye(classes)[np.arange(clips) % 7 % classes]
        probabilities = generator.dirichlet(np.ones(classes), clips)
    else:
        labels = generator.random((clips, classes)) < np.linspace(0.2, 0.6, classes)
        labels[~labels.any(axis=1), 0] = True
        mask = generator.random((clips, classes)) < 0.7
        mask |= ~(labels & mask).any(axis=1, keepdims=True)
        probabilities = generator.random((clips, classes))
    return validate(task, labels, probabilities, mask)[:3]


@st.composite
def cases(draw: st.DrawFn, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Validated arrays with ties, masks, absent, universal and unobserved classes."""
    if task == "multilabel":
        return validate(task, *draw(test_metrics_multilabel.cases()))[:3]
    return validate(task, *draw(test_metrics_multiclass.cases()))[:3]


def once(metric: Metric, arrays: tuple, **options: object) -> tuple[float, np.ndarray | None]:
    """The score, and that of each class where it is a mean over them."""
    weights = np.ones((1, len(arrays[0])))
    averages, per_class = weighted(metric.task, *arrays, weights, metrics=[metric.name], **options)
    return averages[metric.name][0], per_class[metric.per_class][0] if metric.per_class else None


@by_task
def test_names_set_the_metrics_of_a_task_apart(task: str) -> None:
    known = metrics_of(task).values()
    for names in ("title", "in_words", "short", "name"):
        assert len({getattr(m, names) for m in known}) == len(known)
    kinds = [(m.family, m.average, m.counts) for m in known if m.family]
    assert len(set(kinds)) == len(kinds)
    for m in known:
        assert m.in_words.lower() == m.title.lower()
        if m.other_reading:
            other = METRICS[m.other_reading]
            assert other.other_reading == m.name
            assert {m.counts, other.counts} == {OBSERVED, MISSING_ARE_ABSENT}
    per_class = [m.per_class for m in known if m.per_class]
    assert len(set(per_class)) == len(per_class)


@by_task
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_an_average_is_the_mean_of_its_classes_and_within_the_bounds(task: str, data: st.DataObject) -> None:
    arrays = data.draw(cases(task))
    for metric in metrics_of(task).values():
        value, classes = once(metric, arrays)
        assert np.isnan(value) or metric.bounds[0] <= value <= metric.bounds[1]
        if metric.per_class:
            assert classes.shape == arrays[0].shape[1:]
            assert np.isnan(value) == np.isnan(classes).all()
            assert np.isnan(value) or np.nanmean(classes) == pytest.approx(value, abs=1e-12)


@by_task
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_whole_weights_count_a_clip_so_many_times(task: str, data: st.DataObject) -> None:
    arrays = data.draw(cases(task))
    times = (1 + np.arange(len(arrays[0]))) % 3
    for metric in metrics_of(task).values():
        for counts in (times, np.full(len(times), 2)):
            # Only their proportions matter.
            averages, per_class = weighted(task, *arrays, np.stack([counts, counts * 5]), metrics=[metric.name])
            value, classes = once(metric, [np.repeat(array, counts, axis=0) for array in arrays])
            np.testing.assert_allclose(averages[metric.name], [value] * 2, **EXACT)
            for found in per_class.values():
                np.testing.assert_allclose(found, [classes] * 2, **EXACT)


@by_task
def test_weights_that_are_all_zero_leave_clips_and_rankings_undefined(task: str) -> None:
    averages, _ = weighted(task, *draw(task, 0), np.zeros((1, 40)))
    pooled = {m.name for m in metrics_of(task).values() if m.counts == MISSING_ARE_ABSENT and m.average != "clips"}
    assert {name for name, values in averages.items() if not np.isnan(values[0])} == pooled


@every_metric
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_clips_and_of_classes_changes_nothing(metric: Metric, seed: int) -> None:
    arrays = draw(metric.task, seed)
    generator = np.random.default_rng(seed)
    clips, order = generator.permutation(len(arrays[0])), generator.permutation(arrays[0].shape[1])
    value, classes = once(metric, arrays)
    shuffled, of_classes = once(metric, [array[clips][:, order] for array in arrays])
    np.testing.assert_allclose(shuffled, value, **EXACT)
    if metric.per_class:
        np.testing.assert_allclose(of_classes, classes[order], **EXACT)


@every_metric
def test_perfect_predictions_reach_the_better_bound_and_opposite_ones_are_worse_than_random(metric: Metric) -> None:
    labels, probabilities, mask = draw(metric.task, 0)
    best = metric.bounds[1 if metric.higher_is_better else 0]
    perfect, classes = once(metric, (labels, labels * 1.0, mask))
    assert perfect == pytest.approx(best, abs=1e-6)
    assert classes is None or classes == pytest.approx(best, abs=1e-6)
    opposed = ~labels / (1 if metric.task == "multilabel" else labels.shape[1] - 1)
    opposite, _ = once(metric, (labels, opposed, mask))
    at_random, _ = once(metric, (labels, probabilities, mask))
    assert (opposite < at_random < perfect) if metric.higher_is_better else (opposite > at_random > perfect)


@by_task
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_threshold_is_all_that_decisions_see_and_nothing_else_sees_it(task: str, data: st.DataObject) -> None:
    labels, probabilities, mask = data.draw(cases(task))
    thresholds = np.linspace(0.3, 0.7, labels.shape[1])
    for metric, threshold in itertools.product(metrics_of(task).values(), (0.4, thresholds)):
        value, _ = once(metric, (labels, probabilities, mask), threshold=threshold)
        if metric.of_decisions:
            decided = (probabilities >= threshold) * 1.0
            moved = np.where(decided, (1 + probabilities) / 2, probabilities / 2)
            np.testing.assert_equal(once(metric, (labels, moved, mask), threshold=threshold)[0], value)
            np.testing.assert_equal(once(metric, (labels, decided, mask))[0], value)
        else:
            np.testing.assert_equal(once(metric, (labels, probabilities, mask))[0], value)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_missing_labels_are_read_as_the_entry_says(data: st.DataObject) -> None:
    labels, probabilities, mask = data.draw(cases("multilabel"))
    for metric in metrics_of("multilabel").values():
        value, _ = once(metric, (labels, probabilities, mask))
        if metric.counts == OBSERVED:
            other, _ = once(metric, (labels, np.where(mask, probabilities, 1 - probabilities), mask))
        else:
            assert metric.counts == MISSING_ARE_ABSENT
            other, _ = once(metric, (labels, probabilities, np.ones_like(mask)))
        np.testing.assert_equal(other, value)


@by_task
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_chance_is_what_the_stated_answer_scores(task: str, data: st.DataObject) -> None:
    labels, _, mask = data.draw(cases(task))
    for metric in metrics_of(task).values():
        level = metric.chance(labels, mask)
        assert np.isnan(level) or metric.bounds[0] <= level <= metric.bounds[1]
        if metric.chance_in_words != GUESSING:
            answers = STATED[task][metric.chance_in_words](labels.mean(axis=0))
            scores = [once(metric, (labels, np.broadcast_to(a, labels.shape) * 1.0, mask))[0] for a in answers]
            np.testing.assert_allclose(max(scores) if metric.higher_is_better else min(scores), level, **EXACT)


@pytest.mark.parametrize("name", [m.name for m in METRICS.values() if m.chance_in_words == GUESSING])
def test_guessing_each_class_as_often_as_it_occurs_scores_chance(name: str) -> None:
    metric, generator = METRICS[name], np.random.default_rng(0)
    labels, _, mask = (np.tile(array, (5000, 1)) for array in draw(metric.task, 1))
    if metric.task == "multiclass":
        guesses = np.eye(labels.shape[1])[generator.permutation(labels.argmax(axis=1))]
    else:
        guesses = generator.random(labels.shape) < labels.sum(axis=0) / mask.sum(axis=0)
    assert once(metric, (labels, guesses * 1.0, mask))[0] == pytest.approx(metric.chance(labels, mask), abs=0.005)


@by_task
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_constant_answer_is_better_than_chance(task: str, data: st.DataObject) -> None:
    labels, _, mask = data.draw(cases(task))
    c = labels.shape[1]
    answers = np.eye(c) if task == "multiclass" else list(itertools.product([0.0, 1.0], repeat=c))
    for metric in metrics_of(task).values():
        if metric.average == "clips":
            continue  # the best constant answer could only be found by trying all; chance is that of the entry's words
        level = metric.chance(labels, mask)
        for answer in answers:
            score, _ = once(metric, (labels, np.broadcast_to(answer, labels.shape), mask))
            assert np.isnan(score) == np.isnan(level)
            assert not (score > level + 1e-12 if metric.higher_is_better else score < level - 1e-12)


def test_a_name_that_is_taken_and_what_is_no_metric_are_refused() -> None:
    with pytest.raises(ValueError, match="a metric 'accuracy', but there is one of that name; give it another"):
        register(METRICS["accuracy"])
    with pytest.raises(ValueError, match=r"must give a harness.metrics.Metric, not 3"):
        register(3)
    with pytest.raises(ValueError, match="the task 'regression'; choose multilabel or multiclass"):
        Metric(name="r2", title="R2", task="regression", score=None, chance_answers=None, chance_in_words="")
    with pytest.raises(ValueError, match="no metric 'map_masked'; choose from accuracy"):
        weighted("multiclass", *draw("multiclass", 0), np.ones((1, 40)), metrics=["map_masked"])
    with pytest.raises(ValueError, match="no task 'regression'; choose"):
        metrics_of("regression")


SCORES_OF_ANOTHER_PACKAGE = """
import numpy as np
from harness.metrics import METRICS, Metric

assert "accuracy" in METRICS  # looking at the table while it is filled does no harm
EXACT_MATCH = Metric(
    name={name!r}, title="Exact match", in_words="exact match", task="multilabel",
    score=lambda tally: tally.over_clips((tally.labels == tally.predicted).all(axis=1)),
    chance_answers=lambda labels, mask: np.zeros((1, labels.shape[1])), chance_in_words="naming no class",
)
"""


@pytest.mark.parametrize("name", ["exact_match", "map_masked"])
def test_another_package_brings_a_metric_by_an_entry_point(name: str, tmp_path: Path) -> None:
    (tmp_path / "others.py").write_text(SCORES_OF_ANOTHER_PACKAGE.format(name=name))
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reprise.metrics]\nexact = others:EXACT_MATCH\n")
    code = (
        "from harness.metrics import METRICS, metrics_of, multilabel\n"
        "print(METRICS['exact_match'].chance([[0, 0], [1, 0]]), list(metrics_of('multilabel'))[-1],"
        "multilabel.evaluate([[1, 0], [1, 1]], [[0.9, 0.1], [0.2, 0.9]])['exact_match'])"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if name == "exact_match":
        assert run.stdout.split() == ["0.5", "exact_match", "0.5"], run.stderr
    else:
        assert (
            "ValueError: the entry point 'exact = others:EXACT_MATCH' gives a metric 'map_masked', but there is one of "
            "that name; give it another"
        ) in run.stderr
