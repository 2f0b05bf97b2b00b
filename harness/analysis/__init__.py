"""Records -> frames: estimates, contrasts, verdicts. Knows no plot and no file format.

`score` and `compare` take arrays of anybody's predictions and need no file of ours. What studies are reported by is
built from the same functions in `harness.analysis.study`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import scoring
from harness.analysis.families import Family, differences
from harness.analysis.scoring import Case
from harness.metrics import metrics_of, validate

__all__ = ["compare", "score"]

#: What a function that is given no metric compares by.
MAIN = {"multilabel": "map_masked", "multiclass": "accuracy"}


def score(
    labels: Any,
    probabilities: Any,
    mask: Any | None = None,
    *,
    groups: Any | None = None,
    task: str = "multilabel",
    metrics: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    threshold: Any = 0.5,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score predictions with intervals.

    Parameters
    ----------
    labels : array-like [shape=(n, c)]
        0 or 1; for ``task="multiclass"`` also (n,) class numbers.
    probabilities : array-like [shape=(n, c) or (seeds, n, c)]
        In [0, 1]; of several runs on the same clips the first axis is the run.
    mask : array-like [shape=(n, c)], optional
        1 where a label was observed; default: everywhere.
    groups : array-like [shape=(n,)], optional
        Which clips belong together (songs, artists, notes) and are resampled whole; default: each by itself.
    task
        ``"multilabel"`` or ``"multiclass"``.
    metrics
        Names out of `harness.metrics.metrics_of`; default: all of the task.
    classes
        Their names; default ``"0"``, ``"1"``, ...
    threshold : float or array-like [shape=(c,)]
        From which a class is predicted.
    level
        Of the intervals: over clips, or with several runs over runs and clips together.
    replicates, seed
        Of the bootstrap.

    Returns
    -------
    pd.DataFrame
        A row per metric and, of those that are means over classes, one per class: ``metric``, ``class`` ("" for the
        average), ``value`` (mean over the runs), ``low``, ``high``, ``level``, ``chance`` (the best score of a
        prediction that does not listen), ``clips``, ``positives``, ``note`` (why there is no interval, or no value).

    Raises
    ------
    ValueError
        The arrays do not fit each other or the task, there is no such metric, or the level is not between 0 and 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.random((200, 3)) < 0.3
    >>> probabilities = np.clip(0.5 * labels + 0.5 * rng.random((200, 3)), 0, 1)
    >>> found = score(labels, probabilities, metrics=["map_masked"], classes=["flute", "violin", "voice"])
    >>> found["class"].tolist(), bool((found["low"] < found["high"]).all())
    (['', 'flute', 'violin', 'voice'], True)
    """
    cases, names = _cases(labels, probabilities, mask, groups, task, classes, threshold, "probabilities")
    chosen = _metrics(task, metrics)
    _check(level, replicates)
    found = scoring.measure(cases, task=task, metrics=chosen, classes=names, replicates=replicates, seed=seed)
    rows = scoring.table(found, range(len(cases)), level=level).rename(columns={"mean": "value"})
    if len(cases) > 1:
        rows.loc[rows["note"] == "", "note"] = f"over {len(cases)} runs and clips together"
    return rows[["metric", "class", "value", "low", "high", "level", "chance", "clips", "positives", "note"]]


def compare(
    labels: Any,
    above: Any,
    below: Any,
    mask: Any | None = None,
    *,
    groups: Any | None = None,
    task: str = "multilabel",
    metric: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    threshold: Any = 0.5,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare two sets of predictions on the same clips.

    Parameters
    ----------
    labels, mask, groups, task, classes, threshold, replicates, seed
        As for `score`.
    above, below : array-like [shape=(n, c) or (seeds, n, c)]
        Probabilities of either side, of one run or of several; not necessarily as many on both sides.
    metric
        One or several; default: mAP, or accuracy for ``task="multiclass"``.
    level
        One minus the probability of deciding anything where all differences are 0.

    Returns
    -------
    pd.DataFrame
        A row per metric and class ("" for the average): ``metric``, ``class``, ``difference`` (above minus below),
        ``low``, ``high``, ``p`` and ``decided`` (``"above"``, ``"below"`` or ``""``). The averages are one family and
        the classes another: interval, p and decision are adjusted for all rows of the family, so that an interval
        without 0 is a p below ``1 - level`` and a decision. With one run on either side they speak of these
        predictions, since what other runs would have given is not known.

    Raises
    ------
    ValueError
        As `score`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.random((300, 2)) < 0.4
    >>> good, poor = (np.clip(w * labels + (1 - w) * rng.random((300, 2)), 0, 1) for w in (0.6, 0.2))
    >>> compare(labels, good, poor, metric="map_masked")["decided"].tolist()
    ['above', 'above', 'above']
    """
    sides = [
        _cases(labels, side, mask, groups, task, classes, threshold, name)
        for side, name in ((above, "above"), (below, "below"))
    ]
    chosen = _metrics(task, [metric] if isinstance(metric, str) else metric or [MAIN[task]])
    _check(level, replicates)
    cases, names = [case for of_side, _ in sides for case in of_side], sides[0][1]
    found = scoring.measure(cases, task=task, metrics=chosen, classes=names, replicates=replicates, seed=seed)
    first = len(sides[0][0])
    both = differences(found, list(range(first)), list(range(first, len(cases))))
    frames = []
    for of_classes in (False, True):
        family = [d for d in both if bool(d.labels["class"]) == of_classes]
        frames.append(Family(family, seed=seed).table(level=level))
    frame = pd.concat(frames).assign(low=lambda f: f["low_adjusted"], high=lambda f: f["high_adjusted"])
    frame = frame.assign(p=frame["p_adjusted"]).set_index(["metric", "class"]).loc[list(found.cells)].reset_index()
    return frame[["metric", "class", "difference", "low", "high", "p", "decided"]]


def _cases(
    labels: Any, probabilities: Any, mask: Any, groups: Any, task: str, classes: Any, threshold: Any, name: str
) -> tuple[list[Case], list[str]]:
    """The runs of one side, checked, and the names of the classes."""
    runs = probabilities if np.ndim(probabilities) == 3 else [probabilities]
    if not len(runs):
        raise ValueError(f"{name} holds no run: its shape is {np.shape(probabilities)}")
    cases = []
    for run in runs:
        found = validate(task, labels, run, mask, threshold)
        n = len(found.labels)
        units = np.arange(n) if groups is None else np.asarray(groups)
        if units.shape != (n,):
            raise ValueError(f"groups must name the group of each of the {n} clips, not have the shape {units.shape}")
        cases.append(Case(found.labels, found.probabilities, found.mask, units, found.threshold))
    c = cases[0].labels.shape[1]
    names = [str(k) for k in range(c)] if classes is None else [str(k) for k in classes]
    if len(names) != c or len(set(names)) != c or "" in names:
        raise ValueError(f"classes must be {c} different names, one per column, not {names}")
    return cases, names


def _metrics(task: str, wanted: Sequence[str] | None) -> list[str]:
    known = metrics_of(task)
    chosen = list(known) if wanted is None else list(wanted)
    if unknown := [name for name in chosen if name not in known]:
        raise ValueError(f"there is no {task} metric '{unknown[0]}'; choose from {', '.join(known)}")
    return chosen


def _check(level: float, replicates: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not at {level}")
    if replicates < 100:
        raise ValueError(f"an interval needs at least 100 replicates, not {replicates}")
