"""Scores for predictions of one class out of several.

Conventions
-----------
Arrays have one row per clip and one column per class: `labels` (n, c) hold a single 1 in each row, `probabilities`
(n, c) lie in [0, 1] and add up to 1 in each row. The class predicted is the most probable one, the first of them where
several are. Functions take and return what those of `multilabel` do, so that callers can be given either module; since
every clip has one class and it is known, a `mask` may only be True everywhere, and a `threshold` plays no part.

=====================  ================================================================================================
`accuracy`             share of clips whose class is predicted
`balanced_accuracy`    recall per class, mean over classes: accuracy if all classes were equally frequent
`f1_macro`             F1 per class, mean over classes
`log_loss`             mean cross-entropy in nats, lower is better; probabilities below 1e-7 count as 1e-7 and those
                       above 1 - 1e-7 as that, as Keras has it
=====================  ================================================================================================

Precision is 0 where the class is never predicted. Recall and F1 of a class without clips are undefined, which is None
and never NaN, and such a class is left out of the means.

To add a metric, write one more entry below: see `harness.metrics.table.Metric`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.metrics import inputs, table
from harness.metrics.table import Metric, register
from harness.metrics.tally import Tally, ratio

#: Distance from 0 and 1 that a probability keeps in the logarithm.
EPSILON = 1e-7
#: What counts as a label.
EVERY_CLIP = "every clip's class"


def _recall(tally: Tally) -> np.ndarray:
    return ratio(tally.tp, tally.tp + tally.fn, zero_division=np.nan)


def _f1(tally: Tally) -> np.ndarray:
    there = tally.tp + tally.fn
    return ratio(2 * tally.tp, np.where(there == 0, 0, there + tally.tp + tally.fp), zero_division=np.nan)


def _accuracy(tally: Tally) -> np.ndarray:
    return tally.over_clips((tally.labels & tally.predicted).any(axis=1))


def _log_loss(tally: Tally) -> np.ndarray:
    return tally.over_clips(-np.log(np.clip(tally.probabilities[tally.labels], EPSILON, 1 - EPSILON)))


def _frequencies(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The answer that a class is as probable as it is frequent; the class predicted is then the most frequent one."""
    return labels.mean(axis=0)[None]


def _guessing(labels: np.ndarray, mask: np.ndarray) -> float:
    """Guessed at random, a class's precision, recall and F1 are its share of the clips; the shares add up to 1."""
    return 1 / int(labels.any(axis=0).sum())


_ENTRIES = (
    Metric(
        name="accuracy",
        title="Accuracy",
        in_words="accuracy",
        task="multiclass",
        score=_accuracy,
        family="accuracy",
        average="micro",
        counts=EVERY_CLIP,
        chance_answers=_frequencies,
        chance_in_words="naming the most frequent class",
    ),
    Metric(
        name="balanced_accuracy",
        title="Accuracy (balanced)",
        in_words="accuracy (balanced)",
        task="multiclass",
        score=_recall,
        per_class="recall",
        family="accuracy",
        average="macro",
        counts=EVERY_CLIP,
        usual=True,
        chance_answers=_frequencies,
        chance_in_words="naming one class every time",
    ),
    Metric(
        name="f1_macro",
        title="Macro F1",
        in_words="macro F1",
        task="multiclass",
        score=_f1,
        per_class="f1",
        family="F1",
        average="macro",
        counts=EVERY_CLIP,
        usual=True,
        chance_answers=_guessing,
        chance_in_words="guessing each class as often as it occurs",
    ),
    Metric(
        name="log_loss",
        title="Log loss",
        in_words="log loss",
        task="multiclass",
        score=_log_loss,
        family="log loss",
        average="micro",
        counts=EVERY_CLIP,
        bounds=(0.0, np.inf),
        higher_is_better=False,
        chance_answers=_frequencies,
        chance_in_words="giving each class its frequency as probability",
    ),
)
for _entry in _ENTRIES:
    register(_entry)


def _precision(tally: Tally) -> np.ndarray:
    return ratio(tally.tp, tally.tp + tally.fp)


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
        0 or 1, a single 1 per row; or (n,) class numbers.
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
        JSON-able. Every multi-class metric's name with its value; ``"undefined"``: metric -> classes left out of its
        mean; ``"per_class"``: class -> ``support`` (clips), ``precision``, ``recall`` and ``f1``, or None;
        ``"confusion"``: for each class the clips of it that were predicted to be of each class (c lists of c numbers).

    Raises
    ------
    ValueError
        As `harness.metrics.inputs.validate`; or there are not as many class names as classes, or the names repeat.

    Examples
    --------
    >>> scores = evaluate([[1, 0], [0, 1], [0, 1]], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], classes=["flute", "tuba"])
    >>> scores["balanced_accuracy"], scores["per_class"]["tuba"]["recall"], scores["confusion"]
    (0.75, 0.5, [[1, 0], [1, 1]])
    """
    given = inputs.validate("multiclass", labels, probabilities, mask, threshold)
    tally = Tally("multiclass", *given[:3], np.ones((1, len(given.labels))))
    return table.summary(tally, classes, {"precision": _precision(tally)}) | {
        "confusion": (tally.labels.astype(np.int64).T @ tally.predicted).tolist()
    }
