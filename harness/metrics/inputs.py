"""Arrays as people have them, brought into the one form that the metrics take, or refused in one sentence.

Anything that NumPy makes an array of will do: nested lists, arrays of any number type, frames and series of pandas,
tensors, sparse matrices. What must be decided by whoever calls (masked entries, missing labels, logits) is refused, and
the message names the way out.
"""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from harness.metrics.table import TASKS

#: How far from 1 a clip's probabilities may add up where it has one class.
SUM_TOLERANCE = 1e-3
#: How far beyond 0 and 1 rounding may carry a probability.
ROUNDING = 1e-6

#: What to do about entries that are no numbers.
_WAYS = {
    "labels": "give 0 or 1 for each class and no other column, or the number of each clip's class",
    "probabilities": "give one probability for each class and no other column",
    "mask": "give 1 where a label was observed, else 0",
    "threshold": "give a number in [0, 1]",
}


class Inputs(NamedTuple):
    """What `validate` returns."""

    labels: np.ndarray
    probabilities: np.ndarray
    mask: np.ndarray
    threshold: float | np.ndarray


def validate(task: str, labels: Any, probabilities: Any, mask: Any | None = None, threshold: Any = 0.5) -> Inputs:
    """Check labels and predictions and bring them into one form.

    Parameters
    ----------
    task
        ``"multilabel"``: a clip has any number of classes; ``"multiclass"``: every clip has one, and it is known.
    labels : array-like [shape=(n, c)]
        0 or 1, of any type; of a single class per clip also (n,) class numbers, from 0 to c - 1.
    probabilities : array-like [shape=(n, c)]
        In [0, 1]; decisions (bool) count as 0 and 1. Of a single class per clip each row adds up to 1.
    mask : array-like [shape=(n, c)], optional
        1 where a label was observed, else 0, of any type; default: everything was.
    threshold : float or array-like [shape=(c,)]
        One for all classes, or one for each, in [0, 1].

    Returns
    -------
    labels : np.ndarray [shape=(n, c), dtype=bool]
        False where unobserved.
    probabilities : np.ndarray [shape=(n, c), dtype=float64]
        Those given.
    mask : np.ndarray [shape=(n, c), dtype=bool]
        True where observed.
    threshold : float or np.ndarray [shape=(c,), dtype=float64]
        That given.

    Raises
    ------
    ValueError
        Anything else than the above. The message says what is wrong and how to put it right.

    Examples
    --------
    >>> validate("multiclass", [1, 0], [[0.3, 0.7], [0.6, 0.4]]).labels.astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}; choose {' or '.join(TASKS)}")
    for name, given in (("probabilities", probabilities), ("mask", mask)):
        _same_order(name, given, labels)
    labels, probabilities = _numbers("labels", labels), _numbers("probabilities", probabilities)
    mask = np.ones(labels.shape, dtype=bool) if mask is None else _numbers("mask", mask)
    if labels.size == 0:
        raise ValueError(f"there is nothing to score: the labels have the shape {labels.shape}")
    if task == "multiclass" and labels.ndim == 1 and probabilities.ndim == 2:
        labels = _one_hot(labels, probabilities.shape[1])
        mask = np.broadcast_to(mask[:, None], (len(mask), labels.shape[1])) if mask.ndim == 1 else mask
    if labels.ndim != 2:
        way = "; of one class alone give labels[:, None]" if task == "multilabel" and labels.ndim == 1 else ""
        raise ValueError(f"labels must have the shape (clips, classes), not {labels.shape}{way}")
    for name, array in (("probabilities", probabilities), ("mask", mask)):
        if array.shape != labels.shape:
            raise ValueError(f"{name} must have the shape of the labels, {labels.shape}, not {array.shape}")
    _zeros_and_ones("labels", labels, "where a label is missing give 0, and a mask that is 0 there")
    _zeros_and_ones("mask", mask, "give 1 where a label was observed")
    mask = mask.astype(bool)
    labels = labels.astype(bool) & mask
    probabilities = _probabilities(probabilities, "sigmoid" if task == "multilabel" else "softmax")
    if task == "multiclass":
        _one_class_each(labels, probabilities, mask)
    return Inputs(labels, probabilities, mask, _threshold(threshold, labels.shape[1]))


def _same_order(name: str, given: Any, labels: Any) -> None:
    """Refuse two frames whose rows or columns are the same but stand in different orders."""
    if not (hasattr(given, "columns") and hasattr(labels, "columns")):
        return
    for axis, way in (("columns", "[labels.columns]"), ("index", ".loc[labels.index]")):
        one, other = list(getattr(given, axis, ())), list(getattr(labels, axis, ()))
        if one != other and set(one) == set(other):
            raise ValueError(f"{name} and labels have their {axis} in different orders; give {name}{way}")


def _numbers(name: str, given: Any) -> np.ndarray:
    """An array of bool, int or float."""
    if isinstance(given, np.ma.MaskedArray):
        way = "give labels.filled(0), and mask=~numpy.ma.getmaskarray(labels)" if name == "labels" else "give its .data"
        raise ValueError(f"{name} must not be a masked array; {way}")
    try:
        array = given.toarray() if issparse(given) else np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"{name} must have rows of one length, one number for each class") from error
        raise ValueError(f"{name} cannot be read as an array: {error}") from error
    if array.dtype.kind == "O":  # as frames of mixed columns have it
        odd = [entry for entry in array.flat if not isinstance(entry, Real | np.bool_)]
        if odd:
            raise ValueError(f"{name} must be numbers, but hold {odd[0]!r}; {_WAYS[name]}")
        return array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        what = "text" if array.dtype.kind in "US" else str(array.dtype)
        raise ValueError(f"{name} must be real numbers, not {what}; {_WAYS[name]}")
    return array


def _one_hot(numbers: np.ndarray, c: int) -> np.ndarray:
    """Class numbers (n,) as labels (n, c)."""
    wrong = ~np.isin(numbers, np.arange(c))
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(f"class numbers must be whole and from 0 to {c - 1}, but row {row} holds {numbers[row]}")
    return numbers[:, None] == np.arange(c)


def _zeros_and_ones(name: str, array: np.ndarray, way: str) -> None:
    wrong = ~np.isin(array, (0, 1))
    if wrong.any():
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        raise ValueError(f"{name} must hold only 0 and 1, but row {row} holds {array[row, column]}; {way}")


def _probabilities(array: np.ndarray, function: str) -> np.ndarray:
    array = array.astype(np.float64)
    if np.isnan(array).any():
        raise ValueError(
            f"probabilities must be numbers, but {np.isnan(array).sum()} are NaN; predict those clips again, or leave "
            "them out"
        )
    if array.min() < -ROUNDING or array.max() > 1 + ROUNDING:
        raise ValueError(
            f"probabilities must lie in [0, 1], but they reach from {array.min():.4g} to {array.max():.4g}; these look "
            f"like logits: apply a {function} first"
        )
    return np.clip(array, 0, 1)


def _one_class_each(labels: np.ndarray, probabilities: np.ndarray, mask: np.ndarray) -> None:
    if not mask.all():
        raise ValueError(f"every label must be observed, but {(~mask).sum()} are masked; leave those clips out")
    classes = labels.sum(axis=1)
    if (classes != 1).any():
        row = (classes != 1).argmax()
        raise ValueError(
            f"every clip must have one class, but row {row} has {classes[row]}; with any number of them the task is "
            "multilabel"
        )
    sums = probabilities.sum(axis=1)
    row = np.abs(sums - 1).argmax()
    if abs(sums[row] - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"the probabilities of a clip must add up to 1, but those of row {row} give {sums[row]:.4g}; apply a "
            "softmax, or divide each row by its sum"
        )


def _threshold(given: Any, c: int) -> float | np.ndarray:
    threshold = _numbers("threshold", given).astype(np.float64)
    if threshold.shape not in ((), (c,)):
        raise ValueError(f"threshold must be one number, or {c}, one for each class, not of shape {threshold.shape}")
    wrong = ~((threshold >= 0) & (threshold <= 1))
    if wrong.any():
        raise ValueError(f"threshold must lie in [0, 1], not {threshold[wrong].flat[0]}; {_WAYS['threshold']}")
    return float(threshold) if threshold.ndim == 0 else threshold
