"""What the metrics are made of: counts of hits and misses, and rankings, under many weightings of the clips at once."""

from functools import cached_property

import numpy as np
from scipy.sparse import csr_array


class Tally:
    """One set of predictions, and how often each clip counts, in r weightings: what a `Metric` computes its score from.

    Every quantity is computed when it is first asked for, and once. With ``task="multilabel"`` a class is predicted
    where its probability reaches the threshold (``p >= threshold``); with ``"multiclass"`` the most probable class is,
    the first of them where several are.

    Parameters
    ----------
    task
        ``"multilabel"`` or ``"multiclass"``.
    labels, probabilities, mask : np.ndarray [shape=(n, c)]
        As `harness.metrics.inputs.validate` returns them.
    weights : np.ndarray [shape=(r, n)]
        How often each clip counts, per weighting.
    threshold : float or np.ndarray [shape=(c,)]
        One for all classes, or one for each.

    Attributes
    ----------
    predicted : np.ndarray [shape=(n, c), dtype=bool]
        The decisions.
    tp, fn, fp, tn : np.ndarray [shape=(r, c)]
        True positives, false negatives, false positives and true negatives per class, of observed labels.
    fp_unmasked : np.ndarray [shape=(r, c)]
        False positives if a label that was not observed counts as absent. (`tp` and `fn` are the same either way.)
    average_precision, roc_auc : np.ndarray [shape=(r, c)]
        Of observed labels; NaN for a class without a positive or without a negative.

    Examples
    --------
    >>> labels, mask = np.array([[True, False], [True, True]]), np.ones((2, 2), bool)
    >>> tally = Tally("multilabel", labels, np.array([[0.9, 0.2], [0.4, 0.5]]), mask, np.ones((1, 2)))
    >>> tally.tp.tolist(), tally.fn.tolist()
    ([[1.0, 1.0]], [[1.0, 0.0]])
    """

    def __init__(
        self,
        task: str,
        labels: np.ndarray,
        probabilities: np.ndarray,
        mask: np.ndarray,
        weights: np.ndarray,
        threshold: float | np.ndarray = 0.5,
    ) -> None:
        self.task, self.threshold = task, threshold
        self.labels, self.probabilities, self.mask = labels, probabilities, mask
        self.weights = weights.astype(np.float64)

    def count(self, where: np.ndarray) -> np.ndarray:
        """How often something is the case: (n, c) of bool to (r, c)."""
        return self.weights @ where

    def over_clips(self, of_clip: np.ndarray) -> np.ndarray:
        """Mean over the clips of one number for each: (n,) to (r,), NaN where no clip counts."""
        return ratio(self.weights @ of_clip, self.weights.sum(axis=1), zero_division=np.nan)

    def where_observed(self, values: np.ndarray) -> np.ndarray:
        """The values (r, c), NaN for classes without an observed label."""
        return np.where(self.tp + self.fn + self.fp + self.tn == 0, np.nan, values)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The decisions."""
        if self.task == "multiclass":
            return np.arange(self.probabilities.shape[1]) == self.probabilities.argmax(axis=1)[:, None]
        return self.probabilities >= self.threshold

    @cached_property
    def tp(self) -> np.ndarray:
        """True positives."""
        return self.count(self.labels & self.predicted)

    @cached_property
    def fn(self) -> np.ndarray:
        """False negatives."""
        return self.count(self.labels & ~self.predicted)

    @cached_property
    def fp(self) -> np.ndarray:
        """False positives among observed labels."""
        return self.count(self.mask & ~self.labels & self.predicted)

    @cached_property
    def tn(self) -> np.ndarray:
        """True negatives among observed labels."""
        return self.count(self.mask & ~self.labels & ~self.predicted)

    @cached_property
    def fp_unmasked(self) -> np.ndarray:
        """False positives if what was not observed is absent."""
        return self.count(~self.labels & self.predicted)

    @cached_property
    def _ranked(self) -> np.ndarray:
        by_clip = np.ascontiguousarray(self.weights.T)  # rows are gathered whole: several times faster
        columns = zip(self.labels.T, self.probabilities.T, self.mask.T, strict=True)
        return np.stack([ranking(*of_class, by_clip) for of_class in columns], axis=2)

    @property
    def average_precision(self) -> np.ndarray:
        """Average precision of observed labels."""
        return self._ranked[0]

    @property
    def roc_auc(self) -> np.ndarray:
        """Area under the ROC curve of observed labels."""
        return self._ranked[1]


def ratio(numerator: np.ndarray, denominator: np.ndarray, *, zero_division: float = 0.0) -> np.ndarray:
    """Quotient of two arrays of one shape, `zero_division` where the denominator is 0."""
    result = np.full(np.shape(denominator), zero_division)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) != 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over what is not NaN along the last axis, such as the classes of (r, c); NaN where nothing is."""
    return ratio(np.nansum(values, axis=-1), (~np.isnan(values)).sum(axis=-1), zero_division=np.nan)


def ranking(
    labels: np.ndarray, scores: np.ndarray, observed: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and ROC-AUC of one class under many weightings of the clips at once.

    The clips are sorted once for all weightings. Equal scores are one step of the curves, as in scikit-learn.

    Parameters
    ----------
    labels : np.ndarray [shape=(n,), dtype=bool]
        Whether the class is present; False where unobserved.
    scores : np.ndarray [shape=(n,)]
        The higher, the more likely present.
    observed : np.ndarray [shape=(n,), dtype=bool]
        Clips that count at all.
    weights : np.ndarray [shape=(n, r)]
        How often each clip counts, per weighting.

    Returns
    -------
    average_precision, roc_auc : np.ndarray [shape=(r,)]
        NaN where the positives or the negatives weigh nothing.
    """
    order = np.flatnonzero(observed)
    order = order[np.argsort(-scores[order], kind="stable")]
    positive = labels[order]
    # Both curves move only where a positive is met: a step takes in a run of equal scores that holds one, and the
    # negatives since the run before it that did. What ranks below the last positive is in no step.
    run = np.cumsum(np.diff(scores[order], prepend=np.nan) != 0)
    runs = np.unique(run[positive])
    step = np.searchsorted(runs, run)
    tied = ~positive & np.isin(run, runs)

    def of_steps(chosen: np.ndarray) -> np.ndarray:
        """Weight of the chosen clips, step by step: a sparse product gathers and adds in one pass over the weights."""
        starts = np.searchsorted(step[chosen], np.arange(len(runs) + 1))
        sums = csr_array((np.ones(starts[-1]), order[chosen], starts), shape=(len(runs), len(weights)))
        return sums @ weights

    gains = of_steps(positive)
    through = of_steps(step < len(runs))
    np.cumsum(through, axis=0, out=through)
    positives = np.cumsum(gains, axis=0)
    all_positives = gains.sum(axis=0)
    all_negatives = observed @ weights - all_positives
    undefined = (all_positives == 0) | (all_negatives == 0)
    precision = positives / np.maximum(through, np.finfo(float).tiny)
    precision_sum = (gains * precision).sum(axis=0)
    average_precision = ratio(precision_sum, np.where(undefined, 0, all_positives), zero_division=np.nan)
    # The negatives that rank higher than a positive, those of its own score by half.
    higher = (gains * (through - positives)).sum(axis=0)
    if tied.any():
        higher -= (gains * of_steps(tied)).sum(axis=0) / 2
    misplaced = ratio(higher, all_positives * all_negatives, zero_division=np.nan)
    return average_precision, 1 - misplaced
