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
`f1_macro_unmasked`          F1 per class, mean over classes (in papers: "Macro F1")
`f1_micro_unmasked`          F1 over all entries pooled (in papers: "Micro F1")
`jaccard_samples_unmasked`   Jaccard index per clip, mean over clips (in papers: "Jaccard Score")
`jaccard_macro_unmasked`     Jaccard index per class, mean over classes
`jaccard_micro_unmasked`     Jaccard index over all entries pooled; always F1 / (2 - F1)
`lrap_unmasked`              label-ranking average precision per clip, mean over clips: see `lrap`
===========================  ==========================================================================================

Precision, recall, F1 and Jaccard index are 0 where their denominator is 0. What cannot be scored at all is undefined,
which is None and never NaN: the ranking scores (average precision, ROC-AUC) of a class without a positive or without
a negative, and every masked score of a class that was never observed. Undefined classes are left out of the mean.

To add a metric, write one more entry below: see `harness.metrics.table.Metric`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.metrics import inputs, table
from harness.metrics.table import MISSING_ARE_ABSENT, OBSERVED, Metric, register
from harness.metrics.tally import Tally, ratio


def _f1(tally: Tally) -> np.ndarray:
    return ratio(2 * tally.tp, 2 * tally.tp + tally.fp_unmasked + tally.fn)


def _f1_presence(tally: Tally) -> np.ndarray:
    return tally.where_observed(ratio(2 * tally.tp, 2 * tally.tp + tally.fp + tally.fn))


def _f1_absence(tally: Tally) -> np.ndarray:
    return tally.where_observed(ratio(2 * tally.tn, 2 * tally.tn + tally.fp + tally.fn))


def _f1_two_classes(tally: Tally) -> np.ndarray:
    return (_f1_presence(tally) + _f1_absence(tally)) / 2


def _jaccard(tally: Tally) -> np.ndarray:
    return ratio(tally.tp, tally.tp + tally.fp_unmasked + tally.fn)


def _pooled(tally: Tally) -> tuple[np.ndarray, np.ndarray]:
    """True positives and mistakes over all classes."""
    return tally.tp.sum(axis=1), (tally.fp_unmasked + tally.fn).sum(axis=1)


def _micro_f1(tally: Tally) -> np.ndarray:
    tp, mistakes = _pooled(tally)
    return ratio(2 * tp, 2 * tp + mistakes)


def _micro_jaccard(tally: Tally) -> np.ndarray:
    tp, mistakes = _pooled(tally)
    return ratio(tp, tp + mistakes)


def _jaccard_of_clips(tally: Tally) -> np.ndarray:
    found, either = (tally.labels & tally.predicted).sum(axis=1), (tally.labels | tally.predicted).sum(axis=1)
    return tally.over_clips(ratio(found, either))


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


def _lrap_of_clips(tally: Tally) -> np.ndarray:
    return tally.over_clips(lrap(tally.labels, tally.probabilities))


def _all_present(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The answer that every class is there."""
    return np.ones((1, labels.shape[1]))


def _most_frequent_of_all(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The answer that so many of the most frequent classes are there as have the best F1 of all entries pooled."""
    hits, answered = np.sort(labels.sum(axis=0))[::-1].cumsum(), len(labels) * (1 + np.arange(labels.shape[1]))
    return _most_frequent(labels, np.argmax(hits / (answered + hits[-1])))


def _most_frequent_of_clips(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The same by the mean Jaccard index of the clips."""
    hits = labels[:, _by_rank(labels)].cumsum(axis=1)
    either = 1 + np.arange(labels.shape[1]) + hits[:, -1:] - hits
    return _most_frequent(labels, np.argmax((hits / either).mean(axis=0)))


def _most_frequent(labels: np.ndarray, last: int) -> np.ndarray:
    return np.isin(np.arange(labels.shape[1]), _by_rank(labels)[: last + 1])[None].astype(float)


def _by_rank(labels: np.ndarray) -> np.ndarray:
    return np.argsort(-labels.sum(axis=0), kind="stable")


def _by_frequency(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The answer that a class is as probable as it is frequent."""
    return labels.mean(axis=0)[None]


def _guessing(labels: np.ndarray, mask: np.ndarray) -> float:
    """Of a share p of the clips, guessed at random: F1 of presence p, of absence 1 - p, whose mean is 1/2."""
    return 0.5 if mask.any() else np.nan


_ENTRIES = (
    Metric(
        name="f1_macro2_masked",
        title="F1 (2-class)",
        task="multilabel",
        score=_f1_two_classes,
        per_class="f1_macro2_masked",
        family="F1",
        average="2-class",
        counts=OBSERVED,
        of_decisions=True,
        usual=True,
        chance_answers=_guessing,
        chance_in_words="guessing each class as often as it occurs",
    ),
    Metric(
        name="f1_macro_pos_masked",
        title="F1 (presence)",
        task="multilabel",
        score=_f1_presence,
        per_class="f1_pos_masked",
        family="F1",
        average="macro",
        counts=OBSERVED,
        other_reading="f1_macro_unmasked",
        of_decisions=True,
        usual=True,
        chance_answers=_all_present,
        chance_in_words="naming every class",
    ),
    Metric(
        name="map_masked",
        title="mAP",
        task="multilabel",
        score=lambda tally: tally.average_precision,
        per_class="average_precision_masked",
        family="mAP",
        average="macro",
        counts=OBSERVED,
        bias_factor=1.5,
        usual=True,
        chance_answers=_all_present,
        chance_in_words="giving every clip the same probabilities",
    ),
    Metric(
        name="roc_auc_masked",
        title="ROC-AUC",
        task="multilabel",
        score=lambda tally: tally.roc_auc,
        per_class="roc_auc_masked",
        family="ROC-AUC",
        average="macro",
        counts=OBSERVED,
        chance_answers=_all_present,
        chance_in_words="giving every clip the same probabilities",
    ),
    Metric(
        name="f1_macro_unmasked",
        title="Macro F1",
        in_words="macro F1",
        task="multilabel",
        score=_f1,
        per_class="f1_unmasked",
        family="F1",
        average="macro",
        counts=MISSING_ARE_ABSENT,
        other_reading="f1_macro_pos_masked",
        of_decisions=True,
        chance_answers=_all_present,
        chance_in_words="naming every class",
    ),
    Metric(
        name="f1_micro_unmasked",
        title="Micro F1",
        in_words="micro F1",
        task="multilabel",
        score=_micro_f1,
        family="F1",
        average="micro",
        counts=MISSING_ARE_ABSENT,
        of_decisions=True,
        chance_answers=_most_frequent_of_all,
        chance_in_words="naming the most frequent classes, as many as score best",
    ),
    Metric(
        name="jaccard_samples_unmasked",
        title="Jaccard",
        task="multilabel",
        score=_jaccard_of_clips,
        family="Jaccard",
        average="clips",
        counts=MISSING_ARE_ABSENT,
        of_decisions=True,
        chance_answers=_most_frequent_of_clips,
        chance_in_words="naming the most frequent classes, as many as score best",
    ),
    Metric(
        name="jaccard_macro_unmasked",
        title="Macro Jaccard",
        in_words="macro Jaccard",
        task="multilabel",
        score=_jaccard,
        per_class="jaccard_unmasked",
        family="Jaccard",
        average="macro",
        counts=MISSING_ARE_ABSENT,
        of_decisions=True,
        chance_answers=_all_present,
        chance_in_words="naming every class",
    ),
    Metric(
        name="jaccard_micro_unmasked",
        title="Micro Jaccard",
        in_words="micro Jaccard",
        task="multilabel",
        score=_micro_jaccard,
        family="Jaccard",
        average="micro",
        counts=MISSING_ARE_ABSENT,
        of_decisions=True,
        chance_answers=_most_frequent_of_all,
        chance_in_words="naming the most frequent classes, as many as score best",
    ),
    Metric(
        name="lrap_unmasked",
        title="LRAP",
        task="multilabel",
        score=_lrap_of_clips,
        family="LRAP",
        average="clips",
        counts=MISSING_ARE_ABSENT,
        chance_answers=_by_frequency,
        chance_in_words="ranking the classes by how often they are present",
    ),
)
for _entry in _ENTRIES:
    register(_entry)

#: Further per-class scores, of which no metric is the mean.
EXTRA = {
    "precision_masked": lambda tally: tally.where_observed(ratio(tally.tp, tally.tp + tally.fp)),
    "recall_masked": lambda tally: tally.where_observed(ratio(tally.tp, tally.tp + tally.fn)),
    "f1_neg_masked": _f1_absence,
    "precision_unmasked": lambda tally: ratio(tally.tp, tally.tp + tally.fp_unmasked),
    "recall_unmasked": lambda tally: ratio(tally.tp, tally.tp + tally.fn),
}


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    threshold: float | np.ndarray = 0.5,
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
    threshold : float or np.ndarray [shape=(c,)]
        A class is predicted where ``p >= threshold``.
    classes
        Names of the classes; default "0", "1", ...

    Returns
    -------
    dict
        JSON-able. Every multi-label metric's name with its value or None; ``"undefined"``: metric -> classes left out
        of its mean; ``"per_class"``: class -> ``support`` (positives), ``observed`` (entries), and precision, recall,
        F1, Jaccard index, average precision and ROC-AUC with the suffix that says what was scored, or None.

    Raises
    ------
    ValueError
        As `harness.metrics.inputs.validate`; or there are not as many class names as classes, or the names repeat.

    Examples
    --------
    >>> scores = evaluate([[1, 0], [0, 1], [1, 1]], [[0.9, 0.2], [0.6, 0.7], [0.8, 0.5]], classes=["flute", "voice"])
    >>> round(scores["f1_macro_unmasked"], 4), scores["per_class"]["voice"]["precision_unmasked"]
    (0.9, 1.0)
    """
    given = inputs.validate("multilabel", labels, probabilities, mask, threshold)
    once = np.ones((1, len(given.labels)))
    tally = Tally("multilabel", given.labels, given.probabilities, given.mask, once, given.threshold)
    everywhere = Tally("multilabel", given.labels, given.probabilities, np.ones_like(given.mask), once)
    extra = {name: of_class(tally) for name, of_class in EXTRA.items()} | {
        "average_precision_unmasked": everywhere.average_precision,
        "roc_auc_unmasked": everywhere.roc_auc,
    }
    result = table.summary(tally, classes, extra)
    for entry, observed in zip(result["per_class"].values(), given.mask.sum(axis=0), strict=True):
        entry["observed"] = int(observed)
    return result
