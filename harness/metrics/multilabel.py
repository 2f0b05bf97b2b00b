"""Scores for multi-label predictions whose labels are only partly observed.

Conventions
-----------
Arrays have one row per clip and one column per class: `labels` (n, c) hold 0 or 1, `probabilities` (n, c) lie in
[0, 1], `mask` (n, c) says where a label was observed. Without a mask every label was. A class is predicted where its
probability reaches the threshold (``p >= threshold``).

Published scores on OpenMIC-2018 that are all called "F1" are incompatible, so every name here ends in what was scored:

``_masked``
    Only observed entries.
``_unmasked``
    All entries; one that was not observed counts as negative, whatever its label says.

===========================  ==========================================================================================
`f1_macro2_masked`           per class the mean of the F1 of presence and the F1 of absence, then the mean over classes
                             (Gururani et al. 2019; random-forest baseline of the OpenMIC paper's notebook)
`f1_macro_pos_masked`        F1 of presence per class, mean over classes (bars of the same notebook)
`map_masked`                 average precision per class, mean over classes (all audio-tagging papers)
`roc_auc_masked`             area under the ROC curve per class, mean over classes
`f1_macro_unmasked`          F1 per class, mean over classes (study 000, tables I-IV: "Macro F1")
`f1_micro_unmasked`          F1 over all entries pooled (study 000: "Micro F1")
`jaccard_samples_unmasked`   Jaccard index per clip, mean over clips (study 000: "Jaccard Score")
`jaccard_macro_unmasked`     Jaccard index per class, mean over classes
`jaccard_micro_unmasked`     Jaccard index over all entries pooled; always F1 / (2 - F1)
`lrap_unmasked`              label-ranking average precision per clip, mean over clips: see `lrap`
===========================  ==========================================================================================

Precision, recall, F1 and Jaccard index are 0 where their denominator is 0. What cannot be scored at all is undefined,
which is None and never NaN: the ranking scores (average precision, ROC-AUC) of a class without a positive or without
a negative, and every masked score of a class that was never observed. Undefined classes are left out of the mean.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

#: Names of the averaged scores.
METRICS = (
    "f1_macro2_masked",
    "f1_macro_pos_masked",
    "map_masked",
    "roc_auc_masked",
    "f1_macro_unmasked",
    "f1_micro_unmasked",
    "jaccard_samples_unmasked",
    "jaccard_macro_unmasked",
    "jaccard_micro_unmasked",
    "lrap_unmasked",
)

#: Averaged score -> the per-class score that it is the mean of. The others are no means over classes.
MEAN_OF = {
    "f1_macro2_masked": "f1_macro2_masked",
    "f1_macro_pos_masked": "f1_pos_masked",
    "map_masked": "average_precision_masked",
    "roc_auc_masked": "roc_auc_masked",
    "f1_macro_unmasked": "f1_unmasked",
    "jaccard_macro_unmasked": "jaccard_unmasked",
}


def validate(
    labels: np.ndarray, probabilities: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Check the arrays of this module and bring them into one form.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, c)]
        0 or 1, of any type.
    probabilities : np.ndarray [shape=(n, c)]
        In [0, 1].
    mask : np.ndarray [shape=(n, c)], optional
        0 or 1, of any type; default: everything was observed.

    Returns
    -------
    labels : np.ndarray [shape=(n, c), dtype=bool]
        False where unobserved.
    probabilities : np.ndarray [shape=(n, c), dtype=float64]
        As given.
    mask : np.ndarray [shape=(n, c), dtype=bool]
        True where observed.

    Raises
    ------
    ValueError
        Shapes differ or are not (clips, classes), there is no clip or no class, a label or a mask entry is neither 0
        nor 1, or a probability is not a number in [0, 1].
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    mask = np.ones(labels.shape, dtype=bool) if mask is None else np.asarray(mask)
    if labels.ndim != 2:
        raise ValueError(f"labels must have the shape (clips, classes), not {labels.shape}")
    for name, array in (("probabilities", probabilities), ("mask", mask)):
        if array.shape != labels.shape:
            raise ValueError(f"{name} must have the shape of the labels, {labels.shape}, not {array.shape}")
    if labels.size == 0:
        raise ValueError(f"there is nothing to score: the arrays have the shape {labels.shape}")
    for name, array in (("labels", labels), ("mask", mask)):
        if not np.isin(array, (0, 1)).all():
            raise ValueError(f"{name} must hold only 0 and 1")
    if np.isnan(probabilities).any():
        raise ValueError(f"probabilities must be numbers, but {np.isnan(probabilities).sum()} are NaN")
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError(
            "probabilities must lie in [0, 1], "
            f"but they reach from {probabilities.min():.4g} to {probabilities.max():.4g}"
        )
    mask = mask.astype(bool)
    return labels.astype(bool) & mask, probabilities, mask


def ratio(numerator: np.ndarray, denominator: np.ndarray, *, zero_division: float = 0.0) -> np.ndarray:
    """Quotient of two arrays of one shape.

    Parameters
    ----------
    numerator, denominator : np.ndarray
        Arrays of one shape.
    zero_division
        The result where the denominator is 0.

    Returns
    -------
    np.ndarray
        As many quotients.
    """
    result = np.full(np.shape(denominator), zero_division)
    return np.divide(numerator, denominator, out=result, where=np.asarray(denominator) != 0)


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


def lrap(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Label-ranking average precision of each clip: how far up its classes are among all, whatever the threshold.

    Of every class that is present, the share of present ones among those with at least its probability; of these
    shares the mean. The ordinary average precision ranks the clips of a class, this the classes of a clip.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, c), dtype=bool]
        Whether the class is present.
    probabilities : np.ndarray [shape=(n, c)]
        The higher, the more likely present.

    Returns
    -------
    np.ndarray [shape=(n,)]
        In (0, 1]; 1 where no class is present or all are, as in scikit-learn.

    Examples
    --------
    >>> lrap(np.array([[True, False, True]]), np.array([[0.2, 0.9, 0.9]])).round(4).tolist()
    [0.5833]
    """
    labels = np.asarray(labels, bool)
    total = np.zeros(len(labels))
    for of_class, present in zip(probabilities.T, labels.T, strict=True):
        as_high = probabilities >= of_class[:, None]
        total += present * (as_high & labels).sum(axis=1) / as_high.sum(axis=1)
    count = labels.sum(axis=1)
    return ratio(total, count, zero_division=1.0)


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
        A class is predicted where ``p >= threshold``.

    Returns
    -------
    averages : dict of str to np.ndarray [shape=(r,)]
        One entry per metric, NaN where undefined.
    per_class : dict of str to np.ndarray [shape=(r, c)]
        The per-class scores met on the way, NaN where undefined.
    """
    weights = weights.astype(np.float64)
    predicted = probabilities >= threshold
    true_positives = weights @ (labels & predicted)
    false_negatives = weights @ (labels & ~predicted)
    false_positives = weights @ (~labels & predicted)
    observed_false_positives = weights @ (mask & ~labels & predicted)
    observed_true_negatives = weights @ (mask & ~labels & ~predicted)
    observed = true_positives + false_negatives + observed_false_positives + observed_true_negatives
    never_observed = observed == 0

    per_class = {
        "precision_unmasked": ratio(true_positives, true_positives + false_positives),
        "recall_unmasked": ratio(true_positives, true_positives + false_negatives),
        "f1_unmasked": ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives),
        "jaccard_unmasked": ratio(true_positives, true_positives + false_positives + false_negatives),
        "precision_masked": ratio(true_positives, true_positives + observed_false_positives),
        "recall_masked": ratio(true_positives, true_positives + false_negatives),
        "f1_pos_masked": ratio(2 * true_positives, 2 * true_positives + observed_false_positives + false_negatives),
        "f1_neg_masked": ratio(
            2 * observed_true_negatives, 2 * observed_true_negatives + observed_false_positives + false_negatives
        ),
    }
    per_class["f1_macro2_masked"] = (per_class["f1_pos_masked"] + per_class["f1_neg_masked"]) / 2
    for name in ("precision_masked", "recall_masked", "f1_pos_masked", "f1_neg_masked", "f1_macro2_masked"):
        per_class[name][never_observed] = np.nan
    if {"map_masked", "roc_auc_masked"} & set(metrics):
        by_clip = np.ascontiguousarray(weights.T)  # rows are gathered whole: several times faster
        ranked = [ranking(*columns, by_clip) for columns in zip(labels.T, probabilities.T, mask.T, strict=True)]
        per_class["average_precision_masked"], per_class["roc_auc_masked"] = np.stack(ranked, axis=2)

    tp, fp, fn = (counts.sum(axis=1) for counts in (true_positives, false_positives, false_negatives))
    averages = {}
    for name in metrics:
        if name in MEAN_OF:
            values = per_class[MEAN_OF[name]]
            defined = ~np.isnan(values)
            averages[name] = ratio(np.nansum(values, axis=1), defined.sum(axis=1), zero_division=np.nan)
        elif name == "f1_micro_unmasked":
            averages[name] = ratio(2 * tp, 2 * tp + fp + fn)
        elif name == "jaccard_micro_unmasked":
            averages[name] = ratio(tp, tp + fp + fn)
        elif name == "jaccard_samples_unmasked":
            of_clip = ratio((labels & predicted).sum(axis=1), (labels | predicted).sum(axis=1))
            averages[name] = ratio(weights @ of_clip, weights.sum(axis=1))
        elif name == "lrap_unmasked":
            averages[name] = ratio(weights @ lrap(labels, probabilities), weights.sum(axis=1))
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
        0 or 1.
    probabilities : np.ndarray [shape=(n, c)]
        In [0, 1].
    mask : np.ndarray [shape=(n, c)], optional
        Where a label was observed; default: everywhere.
    threshold
        A class is predicted where ``p >= threshold``.
    classes
        Names of the classes; default "0", "1", ...

    Returns
    -------
    dict
        JSON-able. Every name of `METRICS` with its value or None; ``"undefined"``: metric -> classes left out of its
        mean; ``"per_class"``: class -> ``support`` (positives), ``observed`` (entries), and precision, recall, F1,
        Jaccard index, average precision and ROC-AUC with the suffix that says what was scored, or None.

    Raises
    ------
    ValueError
        As `validate`; or there are not as many class names as classes, or the names repeat.

    Examples
    --------
    >>> scores = evaluate([[1, 0], [0, 1], [1, 1]], [[0.9, 0.2], [0.6, 0.7], [0.8, 0.5]], classes=["flute", "voice"])
    >>> round(scores["f1_macro_unmasked"], 4), scores["per_class"]["voice"]["precision_unmasked"]
    (0.9, 1.0)
    """
    labels, probabilities, mask = validate(labels, probabilities, mask)
    n, c = labels.shape
    classes = [str(i) for i in range(c)] if classes is None else [str(name) for name in classes]
    if len(classes) != c or len(set(classes)) != c:
        raise ValueError(f"classes must be {c} different names, one per column, not {classes}")
    averages, per_class = weighted_scores(labels, probabilities, mask, np.ones((1, n)), threshold=threshold)
    everywhere = np.ones(n, bool)
    ranked = [ranking(*columns, everywhere, np.ones((n, 1))) for columns in zip(labels.T, probabilities.T, strict=True)]
    per_class["average_precision_unmasked"], per_class["roc_auc_unmasked"] = np.stack(ranked, axis=2)

    result: dict[str, Any] = {name: _number(values[0]) for name, values in averages.items()}
    result["undefined"] = {
        name: [classes[i] for i in np.flatnonzero(np.isnan(per_class[of_class][0]))]
        for name, of_class in MEAN_OF.items()
    }
    result["per_class"] = {
        name: {"support": int(labels[:, i].sum()), "observed": int(mask[:, i].sum())}
        | {score: _number(values[0, i]) for score, values in sorted(per_class.items())}
        for i, name in enumerate(classes)
    }
    return result


def chance(labels: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float | None]:
    """Score of a constant prediction: what each metric gives to someone who never listens.

    Only of `f1_macro2_masked` is there a better one that does not listen either: to guess a class as often as it
    occurs is expected to score 0.5, whatever its prevalence.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, c)]
        0 or 1.
    mask : np.ndarray [shape=(n, c)], optional
        Where a label was observed; default: everywhere.

    Returns
    -------
    dict
        Every name of `METRICS` with the score of a constant prediction: `f1_macro2_masked` of the one that gives every
        class its more frequent observed label; `map_masked` of equal scores, which is the mean prevalence among the
        observed; `roc_auc_masked` of equal scores, 0.5; `lrap_unmasked` of classes ranked by how often they are
        present; all others of the one that says "present" everywhere. None where undefined.

    Raises
    ------
    ValueError
        As `validate`.
    """
    everything = np.ones(np.shape(labels))
    labels, everything, mask = validate(labels, everything, mask)
    more_present = labels.sum(axis=0) >= (mask & ~labels).sum(axis=0)
    once = np.ones((1, len(labels)))
    levels, _ = weighted_scores(labels, everything, mask, once)
    majority, _ = weighted_scores(labels, everything * more_present, mask, once, metrics=("f1_macro2_masked",))
    frequent, _ = weighted_scores(labels, everything * labels.mean(axis=0), mask, once, metrics=("lrap_unmasked",))
    return {name: _number(values[0]) for name, values in {**levels, **majority, **frequent}.items()}


def _number(value: float) -> float | None:
    """A score as JSON can hold it."""
    return None if np.isnan(value) else float(value)
