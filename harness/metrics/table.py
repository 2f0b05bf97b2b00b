"""The table of metrics: each is one entry, and nothing about a metric stands anywhere else.

Where the classes are averaged (`Metric.per_class`), the score of one class in metric m is the entry of that class in
``per_class[METRICS[m].per_class]``, of which m is the mean over the classes that are defined. So "metric m, class k"
names every number: class "" is the average itself, and a metric without `per_class` has no other.

A metric of one's own is an object `Metric` that an installed package names in the entry point group ``reprise.metrics``
(``my_metric = "my_package.scores:MY_METRIC"``), or that is given to `register`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

import numpy as np

from harness.metrics.tally import Tally, mean_of_defined

#: What the clips of a task have: any number of classes, or one.
TASKS = ("multilabel", "multiclass")
#: What counts as a label.
OBSERVED, MISSING_ARE_ABSENT = "observed labels", "all labels, missing ones as absent"
#: The entry point group in which other packages name theirs.
GROUP = "reprise.metrics"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One score of predictions: how it is computed, and all that tables, plots and verdicts need to know of it.

    Parameters
    ----------
    name
        Unique; what study files, records and frames call it.
    title
        Head of a column or an axis; unique within a task.
    task
        ``"multilabel"`` or ``"multiclass"``.
    score
        Computes it from a `Tally`: (r,), or (r, c) where `per_class` is named; NaN where undefined.
    chance_answers
        From labels and mask (n, c) to k constant answers (k, c), of which the one that scores best is the chance level.
        Each gives its probabilities to every clip. Where guessing at random is better than any constant answer: what
        it is expected to score, as a number.
    chance_in_words
        The same in words, to go on from "chance is the score of ...".
    per_class
        Name of the per-class score that it is the mean of; "" where it is no mean over classes.
    family
        What scores that are easily taken for each other are all called, for instance "F1".
    average
        How classes are averaged, which sets it apart within its family: "macro", "micro", "2-class", "clips".
    counts
        What counts as a label: `OBSERVED` or `MISSING_ARE_ABSENT`.
    other_reading
        Name of the same score with the other reading of missing labels; "" where there is none.
    bounds
        Lowest and highest possible value.
    of_decisions
        Whether it scores decisions that a threshold makes, not the probabilities.
    bias_factor
        How many times what the bootstrap sees of the bias of few positives is taken off an interval's centre
        (`harness.analysis.intervals`).
    usual
        Whether tables show it beside a study's own main score unless told otherwise.
    in_words, short
        The title within a sentence, and in a line of the terminal; default: the title, and what stands in sentences.

    Raises
    ------
    ValueError
        There is no such task, or the bounds are in the wrong order.

    Examples
    --------
    >>> hits = Metric(
    ...     name="any_hit", title="Any hit", task="multilabel",
    ...     score=lambda tally: tally.over_clips((tally.labels & tally.predicted).any(axis=1)),
    ...     chance_answers=lambda labels, mask: np.ones((1, labels.shape[1])), chance_in_words="naming every class",
    ... )
    >>> hits.chance([[1, 0], [0, 0]])
    0.5
    """

    name: str
    title: str
    task: Literal["multilabel", "multiclass"]
    score: Callable[[Tally], np.ndarray]
    chance_answers: Callable[[np.ndarray, np.ndarray], np.ndarray | float]
    chance_in_words: str
    per_class: str = ""
    family: str = ""
    average: str = ""
    counts: str = OBSERVED
    other_reading: str = ""
    bounds: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool = True
    of_decisions: bool = False
    bias_factor: float = 1.0
    usual: bool = False
    in_words: str = ""
    short: str = ""

    def __post_init__(self):
        if self.task not in TASKS:
            raise ValueError(f"the metric '{self.name}' is of the task {self.task!r}; choose {' or '.join(TASKS)}")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"the bounds of the metric '{self.name}' must be (lowest, highest), not {self.bounds}")
        object.__setattr__(self, "in_words", self.in_words or self.title)
        object.__setattr__(self, "short", self.short or self.in_words)

    def chance(self, labels: np.ndarray, mask: np.ndarray | None = None) -> float:
        """Best score of a prediction that does not listen but knows how frequent the classes are.

        Parameters
        ----------
        labels : np.ndarray [shape=(n, c)]
            0 or 1.
        mask : np.ndarray [shape=(n, c)], optional
            Where a label was observed; default: everywhere.

        Returns
        -------
        float
            What the best of the answers `chance_answers` scores on these labels; NaN where undefined.
        """
        labels = np.asarray(labels, dtype=bool)
        mask = np.ones_like(labels) if mask is None else np.asarray(mask, dtype=bool)
        labels = labels & mask
        answers = self.chance_answers(labels, mask)
        if np.ndim(answers) == 0:
            return float(answers)
        once = np.ones((1, len(labels)))
        scores = [self.of(Tally(self.task, labels, np.broadcast_to(a, labels.shape), mask, once))[0] for a in answers]
        best = np.fmax if self.higher_is_better else np.fmin
        return float(best.reduce(scores))

    def of(self, tally: Tally) -> np.ndarray:
        """The score itself, averaged over classes where it is a mean over them: (r,)."""
        values = self.score(tally)
        return mean_of_defined(values) if self.per_class else values


class _Table(Mapping[str, Metric]):
    """Metrics by name: ours, those registered, and those of other packages, which are looked for at the first use."""

    def __init__(self) -> None:
        self._known: dict[str, Metric] = {}
        self._sought = False

    def _all(self) -> dict[str, Metric]:
        if not self._sought:
            self._sought = True  # what is loaded may look at the table, and register others
            found: dict[str, Metric] = {}
            try:
                for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
                    _add(found, point.load(), f"the entry point '{point.name} = {point.value}'", self._known)
            except BaseException:
                self._sought = False
                raise
            self._known |= found
        return self._known

    def __getitem__(self, name: str) -> Metric:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


#: Every metric by its name.
METRICS: Mapping[str, Metric] = _Table()


def register(metric: Metric) -> Metric:
    """Put a metric into the table.

    Returns
    -------
    Metric
        The same.

    Raises
    ------
    ValueError
        It is no `Metric`, or its name is taken.
    """
    return _add(METRICS._known, metric, "register")


def _add(known: dict[str, Metric], metric: Metric, origin: str, others: Mapping[str, Metric] | None = None) -> Metric:
    if not isinstance(metric, Metric):
        raise ValueError(f"{origin} must give a harness.metrics.Metric, not {metric!r}")
    if metric.name in known or metric.name in (others or {}):
        raise ValueError(f"{origin} gives a metric '{metric.name}', but there is one of that name; give it another")
    known[metric.name] = metric
    return metric


def metrics_of(task: str) -> dict[str, Metric]:
    """The metrics of one task by name.

    Parameters
    ----------
    task
        ``"multilabel"`` or ``"multiclass"``.

    Returns
    -------
    dict of str to Metric

    Raises
    ------
    ValueError
        There is no such task.
    """
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}; choose {' or '.join(TASKS)}")
    return {name: metric for name, metric in METRICS.items() if metric.task == task}


def weighted(
    task: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    mask: np.ndarray,
    weights: np.ndarray,
    *,
    metrics: Iterable[str] | None = None,
    threshold: float | np.ndarray = 0.5,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scores under many weightings of the clips at once: what every estimate and every bootstrap stands on.

    Parameters
    ----------
    task, labels, probabilities, mask, weights, threshold
        As `Tally` takes them.
    metrics
        Names; default: all of the task.

    Returns
    -------
    averages : dict of str to np.ndarray [shape=(r,)]
        By metric, NaN where undefined.
    per_class : dict of str to np.ndarray [shape=(r, c)]
        By `Metric.per_class` of those that are means over classes, NaN where undefined.

    Raises
    ------
    ValueError
        The task has no such metric.

    Examples
    --------
    >>> labels, mask = np.array([[True, False], [True, True]]), np.ones((2, 2), bool)
    >>> probabilities, weights = np.array([[0.9, 0.2], [0.4, 0.5]]), np.array([[1, 1], [2, 0]])
    >>> name = "f1_macro_unmasked"
    >>> averages, per_class = weighted("multilabel", labels, probabilities, mask, weights, metrics=[name])
    >>> averages[name].round(3).tolist(), per_class[METRICS[name].per_class].shape
    ([0.833, 0.5], (2, 2))
    """
    return scores(Tally(task, labels, probabilities, mask, weights, threshold), metrics)


def scores(tally: Tally, metrics: Iterable[str] | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """As `weighted`, of a `Tally`."""
    known = metrics_of(tally.task)
    averages, per_class = {}, {}
    for name in known if metrics is None else metrics:
        if name not in known:
            raise ValueError(f"there is no metric '{name}'; choose from {', '.join(known)}")
        values = known[name].score(tally)
        if known[name].per_class:
            per_class[known[name].per_class] = values
            values = mean_of_defined(values)
        averages[name] = values
    return averages, per_class


def number(value: float) -> float | None:
    """A score as JSON can hold it: None for NaN."""
    return None if np.isnan(value) else float(value)


def summary(tally: Tally, classes: Sequence[str] | None, extra: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """All scores of one set of predictions, JSON-able.

    Parameters
    ----------
    tally
        With one weighting, of which every clip counts once.
    classes
        Their names; default "0", "1", ...
    extra : mapping of str to np.ndarray [shape=(1, c)]
        Further per-class scores, beside those that metrics are means of.

    Returns
    -------
    dict
        Every metric's name with its value or None; ``"undefined"``: metric -> classes left out of its mean;
        ``"per_class"``: class -> ``support`` (positives) and every per-class score or None.

    Raises
    ------
    ValueError
        There are not as many class names as classes, or the names repeat.
    """
    c = tally.labels.shape[1]
    classes = [str(i) for i in range(c)] if classes is None else [str(name) for name in classes]
    if len(classes) != c or len(set(classes)) != c:
        raise ValueError(f"classes must be {c} different names, one per column, not {classes}")
    averages, per_class = scores(tally)
    means = {name: metric.per_class for name, metric in metrics_of(tally.task).items() if metric.per_class}
    every = sorted((per_class | extra).items())
    return {
        **{name: number(values[0]) for name, values in averages.items()},
        "undefined": {
            name: [classes[i] for i in np.flatnonzero(np.isnan(per_class[of_class][0]))]
            for name, of_class in means.items()
        },
        "per_class": {
            name: {"support": int(tally.labels[:, i].sum())} | {score: number(values[0, i]) for score, values in every}
            for i, name in enumerate(classes)
        },
    }
