"""Scores for predictions of one class out of several.

Conventions
-----------
Arrays have one row per clip and one column per class: `labels` (n, c) hold a single 1 in each row, `probabilities`
(n, c) lie in [0, 1] and add up to 1 in each row. The class predicted is the most probable one, the first of them where
several are. Functions take and return what those of `multilabel` do, so that callers can be given either module; since
every clip has one class and it is known, a `mask` may only be True everywhere, and a `threshold` plays no part.

=====================  ================================================================================================
`accuracy`             share of clips whose class is predicted (study 004: "accuracy")
`balanced_accuracy`    recall per class, mean over classes: accuracy if all classes were equally frequent
`f1_macro`             F1 per class, mean over classes
`log_loss`             mean cross-entropy in nats, lower is better; probabilities below 1e-7 count as 1e-7 and those
                       above 1 - 1e-7 as that, as Keras has it (study 004: "loss")
=====================  ================================================================================================

Precision is 0 where the class is never predicted. Recall and F1 of a class without clips are undefined, which is None
and never NaN, and such a class is left out of the means.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.metrics import multilabel
from harness.metrics.multilabel import ratio

#: Names of the averaged scores.
METRICS = ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")

#: Averaged score -> the per-class score that it is the mean of. The others are no means over classes.
MEAN_OF = {"balanced_accuracy": "recall", "f1_macro": "f1"}

#: Those of which lower is better; they have no highest value.
LOSSES = ("log_loss",)

#: Distance from 0 and 1 that a probability keeps in the logarithm.
EPSILON = 1e-7
#: How far from 1 a clip's probabilities may add up.
TOLERANCE = 1e-3


def validate(
    labels: np.ndarray, probabilities: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check the arrays of this module and bring them into one form.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, c)]
        0 or 1, of any type, a single 1 per row.
    probabilities : np.ndarray [shape=(n, c)]
        In [0, 1]; each row adds up to 1.
    mask : np.ndarray [shape=(n, c)], optional
        1 everywhere, of any type.

    Returns
    -------
    labels : np.ndarray [shape=(n, c), dtype=bool]
        As given.
    probabilities : np.ndarray [shape=(n, c), dtype=float64]
        As given.
    mask : np.ndarray [shape=(n, c), dtype=bool]
        True everywhere.

    Raises
    ------
    ValueError
        As `multilabel.validate`; or a label is unobserved, a clip has not exactly one class, or its probabilities do
        not add up to 1.
    """
    labels, probabilities, mask = multilabel.validate(labels, probabilities, mask)
    if not mask.all():
        raise ValueError(f"every label must be observed, but {(~mask).sum()} are masked")
    if (several := labels.sum(axis=1) != 1).any():
        row = np.flatnonzero(several)[0]
        raise ValueError(f"every clip must have one class, but row {row} has {labels[row].sum()}")
    sums = probabilities.sum(axis=1)
    row = np.abs(sums - 1).argmax()
    if abs(sums[row] - 1) > TOLERANCE:
        raise ValueError(f"the probabilities of a clip must add up to 1, but those of row {row} give {sums[row]:.4g}")
    return labels, probabilities, mask


def weighted_scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    mask: np.ndarray,
    weights: np.ndarray,
    *,
    metrics: Sequence[str] = METRICS,
    threshold: float = 0.5,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All scores under many weightings of the clips at once: what `evaluate` and the bootstrap stand on.

    Parameters
    ----------
    labels, probabilities, mask : np.ndarray [shape=(n, c)]
        As `validate` returns them.
    weights : np.ndarray [shape=(r, n)]
        How often each clip counts, per weighting.
    metrics
        The averaged scores wanted, out of `METRICS`.
    threshold
        Not used.

    Returns
    -------
    averages : dict of str to np.ndarray [shape=(r,)]
        One entry per metric, NaN where undefined.
    per_class : dict of str to np.ndarray [shape=(r, c)]
        Precision, recall and F1, NaN where undefined.
    """
    weights = weights.astype(np.float64)
    predicted = _one_hot(probabilities)
    hits, support, predictions = (weights @ counted for counted in (labels & predicted, labels, predicted))
    per_class = {
        "precision": ratio(hits, predictions),
        "recall": ratio(hits, support, zero_division=np.nan),
        "f1": np.where(support == 0, np.nan, ratio(2 * hits, support + predictions)),
    }
    of_clip = {
        "accuracy": (labels & predicted).any(axis=1),
        "log_loss": -np.log(np.clip(probabilities[labels], EPSILON, 1 - EPSILON)),
    }
    averages = {}
    for name in metrics:
        if name in MEAN_OF:
            values = per_class[MEAN_OF[name]]
            defined = ~np.isnan(values)
            averages[name] = ratio(np.nansum(values, axis=1), defined.sum(axis=1), zero_division=np.nan)
        elif name in of_clip:
            averages[name] = ratio(weights @ of_clip[name], weights.sum(axis=1), zero_division=np.nan)
        else:
            raise ValueError(f"there is no metric '{name}'; choose from {', '.join(METRICS)}")
    return averages, per_class


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All scores of one set of predictions.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, c)]
        0 or 1, a single 1 per row.
    probabilities : np.ndarray [shape=(n, c)]
        In [0, 1]; each row adds up to 1.
    mask : np.ndarray [shape=(n, c)], optional
        1 everywhere.
    threshold
        Not used.
    classes
        Names of the classes; default "0", "1", ...

    Returns
    -------
    dict
        JSON-able. Every name of `METRICS` with its value; ``"undefined"``: metric -> classes left out of its mean;
        ``"per_class"``: class -> ``support`` (clips), ``precision``, ``recall`` and ``f1``, or None; ``"confusion"``:
        for each class the clips of it that were predicted to be of each class (c lists of c numbers).

    Raises
    ------
    ValueError
        As `validate`; or there are not as many class names as classes, or the names repeat.

    Examples
    --------
    >>> scores = evaluate([[1, 0], [0, 1], [0, 1]], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], classes=["flute", "tuba"])
    >>> scores["balanced_accuracy"], scores["per_class"]["tuba"]["recall"], scores["confusion"]
    (0.75, 0.5, [[1, 0], [1, 1]])
    """
    labels, probabilities, mask = validate(labels, probabilities, mask)
    n, c = labels.shape
    classes = [str(i) for i in range(c)] if classes is None else [str(name) for name in classes]
    if len(classes) != c or len(set(classes)) != c:
        raise ValueError(f"classes must be {c} different names, one per column, not {classes}")
    averages, per_class = weighted_scores(labels, probabilities, mask, np.ones((1, n)))
    return {
        **{name: _number(values[0]) for name, values in averages.items()},
        "undefined": {
            name: [classes[i] for i in np.flatnonzero(np.isnan(per_class[of_class][0]))]
            for name, of_class in MEAN_OF.items()
        },
        "per_class": {
            name: {"support": int(labels[:, i].sum())}
            | {score: _number(values[0, i]) for score, values in per_class.items()}
            for i, name in enumerate(classes)
        },
        "confusion": (labels.astype(np.int64).T @ _one_hot(probabilities)).tolist(),
    }


def chance(labels: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float | None]:
    """The best score of someone who never listens but knows how frequent the classes are.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, c)]
        0 or 1, a single 1 per row.
    mask : np.ndarray [shape=(n, c)], optional
        1 everywhere.

    Returns
    -------
    dict
        Every name of `METRICS`: `accuracy` and `balanced_accuracy` of predicting the most frequent class every time;
        `log_loss` of giving every class its frequency as probability; `f1_macro` of guessing each class as often as it
        occurs, whose precision and recall are then expected to be its frequency, in the mean one over the number of
        classes. No constant class is better by that.

    Raises
    ------
    ValueError
        As `validate`.
    """
    prevalence = np.mean(np.asarray(labels, dtype=np.float64), axis=0)
    labels, probabilities, mask = validate(labels, np.broadcast_to(prevalence, np.shape(labels)), mask)
    averages, _ = weighted_scores(labels, probabilities, mask, np.ones((1, len(labels))))
    levels = {name: _number(values[0]) for name, values in averages.items()}
    return levels | {"f1_macro": 1 / int(labels.any(axis=0).sum())}


def _one_hot(probabilities: np.ndarray) -> np.ndarray:
    """Where each clip's most probable class is, as a boolean array of the same shape."""
    return np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]


def _number(value: float) -> float | None:
    """A score as JSON can hold it."""
    return None if np.isnan(value) else float(value)
