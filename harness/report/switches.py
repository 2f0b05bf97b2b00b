"""Choices of protocol that move a score and are seldom printed, each switched on the same finished trials.

A choice is a function of the trials of one arm. It gives the other ways in which it is made in this field, each with
the study's main score before and after, on the same resampled clips; or it says why it does not arise. Most switch the
scoring of the stored predictions alone. Of what is chosen on the part that is scored (a threshold, a seed), each
replicate chooses anew, as whoever chooses so would on other clips.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness import corpora
from harness.corpora import download
from harness.corpora.segments import clips_of, is_segment
from harness.metrics import multilabel
from harness.metrics.multilabel import ratio
from harness.report.estimates import METRIC_TITLES, in_words
from harness.report.replay import CHOOSING, TRAINING, Arrays, Part, Switch, Trials, over_seeds
from harness.studies.records import by_clip

#: Scores that are called F1 for short, and what sets them apart.
F1 = {
    "f1_macro_unmasked": "macro",
    "f1_micro_unmasked": "micro",
    "f1_macro_pos_masked": "macro",
    "f1_macro2_masked": "2-class",
}
#: Scores of decisions, which a threshold makes.
OF_DECISIONS = (*F1, "jaccard_samples_unmasked", "jaccard_macro_unmasked", "jaccard_micro_unmasked")
#: The same score with the other reading of labels that nobody was asked for.
OTHER_READING = {"f1_macro_unmasked": "f1_macro_pos_masked", "f1_macro_pos_masked": "f1_macro_unmasked"}
#: Thresholds that are tried.
GRID = np.arange(1, 50) / 50
#: From where on a stricter reader calls a class present, by its relevance in [0, 1].
STRICT = 0.75
#: Entries of the protocol that conditions may differ in alone to be compared.
ENTRIES = {"split": "Split", "missing": "Missing labels in training"}


def which_average(trials: Trials) -> list[Switch] | str:
    """Which of the scores that go by one name: F1 of several labels, accuracy and F1 of one."""
    if trials.study.task == "multiclass":
        choice, usual = "Which average", in_words(trials.metric)
        others = [m for m in ("accuracy", "balanced_accuracy", "f1_macro") if m != trials.metric]
        found = [
            trials.switch(choice, usual, in_words(m), trials.replay(lambda p, w, m=m: p.score(w, metric=m)))
            for m in others
        ]
        weighted = trials.replay(lambda p, w: _weighted_f1(p, p.arrays, w))
        return [*found, trials.switch(choice, usual, "F1, classes by frequency", weighted)]
    if trials.metric not in F1:
        return f"the main score is no F1 but {METRIC_TITLES[trials.metric]}"
    choice, whole = "Which F1", trials.everything_observed

    def name(metric: str) -> str:
        tail = ", missing = absent" if metric.endswith("unmasked") else ", observed"
        return F1[metric] + ("" if whole else tail)

    # The other reading of missing labels is a choice of its own; without missing labels two go by one name.
    usual, apart = name(trials.metric), (trials.metric, OTHER_READING.get(trials.metric))
    others = {name(m): m for m in F1 if m not in apart and name(m) != usual}
    found = [
        trials.switch(choice, usual, other, trials.replay(lambda p, w, m=m: p.score(w, metric=m)))
        for other, m in others.items()
    ]
    for extra, scorer in (("classes by frequency", _weighted_f1), ("mean over clips", _clip_f1)):
        after = trials.replay(lambda p, w, scorer=scorer: scorer(p, _as_read(p), w))
        found.append(trials.switch(choice, usual, extra, after))
    return found


def missing_labels(trials: Trials) -> list[Switch] | str:
    """Whether a label that nobody was asked for counts as absent or not at all, in scoring."""
    if trials.everything_observed:
        return "every label was observed"
    if trials.metric not in OF_DECISIONS:
        return f"{METRIC_TITLES[trials.metric]} has one reading here"
    masked = trials.metric.endswith("_masked")
    readings = ["observed alone", "missing = absent"]
    usual, other = readings if masked else readings[::-1]
    after = trials.replay(lambda p, w: p.score(w, arrays=_everywhere(p.arrays) if masked else _observed(p.arrays)))
    return [trials.switch("Missing labels in scoring", usual, other, after)]


def undefined_classes(trials: Trials) -> list[Switch] | str:
    """Whether classes that cannot be scored count as 0 or are left out of the mean."""
    of_class = trials.parts[0].module.MEAN_OF.get(trials.metric)
    if of_class is None:
        return f"{in_words(trials.metric)} is no mean over classes"

    def classes(part: Part, weights: np.ndarray) -> np.ndarray:
        return part.averages_and_classes(weights)[1][of_class]

    def as_zero(part: Part, weights: np.ndarray) -> np.ndarray:
        return np.nan_to_num(classes(part, weights)).mean(axis=1)

    def left_out(part: Part, weights: np.ndarray) -> np.ndarray:
        return _mean_of_defined(_without_empty(part, weights))

    once = [(p, np.ones((1, len(p.keys)))) for p in trials.parts]
    found = []
    if any(np.isnan(classes(p, w)).any() for p, w in once):
        found.append(trials.switch("Undefined classes", "left out", "count as 0", trials.replay(as_zero)))
    if trials.metric in OF_DECISIONS and any(
        not np.array_equal(_without_empty(p, w), classes(p, w), equal_nan=True) for p, w in once
    ):
        after = trials.replay(left_out)
        found.append(trials.switch("Undefined classes", "0 / 0 counts as 0", "0 / 0 is left out", after))
    return found or "every class is defined"


def last_batch(trials: Trials) -> list[Switch] | str:
    """Whether the last batch is scored if it is smaller than the others (a loader's ``drop_last``).

    Study 002's code drops it: of 1,000 validation and 990 test segments 960 each are counted, as its accuracies show.
    """
    ours = trials.records[0].data
    size = ours.get("options", {}).get("batch_size") or ours["protocol"].get("batch_size")  # an arm may have its own
    if not size:
        return "nothing is batched"
    if not any(len(p.keys) % size for p in trials.parts):
        return f"the {len(trials.parts[0].keys):,} of the test part make whole batches of {size}"

    def dropped(part: Part, weights: np.ndarray) -> np.ndarray:
        kept = np.arange(len(part.keys)) < len(part.keys) // size * size
        return part.score(weights * kept)

    if any(len(p.keys) < size for p in trials.parts):
        return f"the {len(trials.parts[0].keys):,} of the test part do not fill one batch of {size}"
    after = trials.replay(dropped)
    lost = " or ".join(str(n) for n in sorted({len(p.keys) % size for p in trials.parts}))
    return [trials.switch("Last batch, if smaller", "scored", f"dropped: the last {lost} by key", after)]


def scored_unit(trials: Trials) -> list[Switch] | str:
    """Whether segments are scored, or whole clips by the mean of their segments' probabilities."""
    if not is_segment(trials.parts[0].keys[0]):
        return "whole clips are scored"

    def of_clips(part: Part, weights: np.ndarray) -> np.ndarray:
        whole = by_clip(part.predictions)
        first = np.unique(clips_of(part.keys), return_index=True)[1]
        arrays = part.module.validate(whole.labels, whole.probabilities, whole.mask)
        return part.score(weights[:, first], arrays=arrays)

    return [trials.switch("What is scored", "segments", "clips: mean of their segments", trials.replay(of_clips))]


def label_threshold(trials: Trials) -> list[Switch] | str:
    """From which relevance on a class counts as present, where the corpus says how sure its labels are.

    Of OpenMIC-2018 some code takes labels from 0.5 on, other code those above; a label may also be asked to be surer.
    """
    if trials.study.task == "multiclass":
        return "every clip has one class"
    name = trials.records[0].data["corpus"]
    if not download.status(name)["here"]:
        return f"{name} is not here to say how sure its labels are"
    corpus = corpora.load(name)
    if corpus.relevance is None:
        return f"{name} does not say how sure its labels are"
    rows = [corpus.clips.set_index("key").index.get_indexer(p.keys) for p in trials.parts]
    relevance = {id(p): corpus.relevance[at] for p, at in zip(trials.parts, rows, strict=True)}
    for p, at in zip(trials.parts, rows, strict=True):
        if (at < 0).any() or not np.array_equal((relevance[id(p)] >= 0.5) & p.arrays[2], p.arrays[0]):
            return f"the {name} that is here is not the one that was scored"

    def relabelled(present: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        def scorer(part: Part, weights: np.ndarray) -> np.ndarray:
            _, probabilities, mask = part.arrays
            return part.score(weights, arrays=(present(relevance[id(part)]) & mask, probabilities, mask))

        return trials.replay(scorer)

    # Any relevance between two thresholds is of a label that they read differently.
    seen = np.concatenate([relevance[id(p)][p.arrays[2]] for p in trials.parts])
    choice, usual, found = "Label threshold", "present from 0.5", []
    if (seen == 0.5).any():
        found.append(trials.switch(choice, usual, "present above 0.5", relabelled(lambda r: r > 0.5)))
    if ((seen >= 0.5) & (seen < STRICT)).any():
        found.append(trials.switch(choice, usual, f"present from {STRICT}", relabelled(lambda r: r >= STRICT)))
    return found or f"no label would change up to a threshold of {STRICT}"


def threshold(trials: Trials) -> list[Switch] | str:
    """Whether the threshold of decisions is fixed, or chosen on the validation part, or on what is scored.

    Public code for IRMAS takes the best of a grid on the test excerpts.
    """
    if trials.study.task == "multiclass":
        return "the most probable class is predicted"
    if trials.metric not in OF_DECISIONS:
        return f"{METRIC_TITLES[trials.metric]} needs no decisions"
    fixed = trials.parts[0].threshold
    grid = np.unique([*GRID, fixed])
    of_class = multilabel.MEAN_OF.get(trials.metric)

    def curves(part: Part, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores at every threshold, (grid, r), and those of the classes, (grid, r, c)."""
        found = [part.averages_and_classes(weights, threshold=t) for t in grid]
        return np.array([f[0] for f in found]), np.array([f[1][of_class] for f in found]) if of_class else np.empty(0)

    def best(of_grid: np.ndarray) -> np.ndarray:
        """Of equally good thresholds the one that is nearest to the fixed one."""
        order = np.argsort(np.abs(grid - fixed), kind="stable")
        return grid[order][np.nan_to_num(of_grid[order], nan=-1.0).argmax(axis=0)]

    chosen: dict[int, float] = {}
    per_class: dict[int, np.ndarray] = {}
    for valid, part in zip(trials.valid, trials.parts, strict=True):
        together, apart = curves(valid, np.ones((1, len(valid.keys))))
        chosen[id(part)] = float(best(together[:, 0]))
        if of_class:
            per_class[id(part)] = best(apart[:, 0])

    def oracles(part: Part, weights: np.ndarray) -> np.ndarray:
        together, apart = curves(part, weights)
        found = [together.max(axis=0)]
        if of_class:
            found.append(_mean_of_defined(apart.max(axis=0)))
        return np.stack(found, axis=1)

    def switched(other: str, after: np.ndarray, least: float = -1.0) -> Switch:
        return trials.switch("Threshold", f"{fixed:g}", other, after, kind=CHOOSING, least=least)

    best_on_test = trials.replay(oracles)
    found = [
        switched("chosen on validation", trials.replay(lambda p, w: p.score(w, threshold=chosen[id(p)]))),
        switched("best on test", best_on_test[..., 0], least=0.0),
    ]
    if of_class:
        after = trials.replay(lambda p, w: p.score(w, threshold=per_class[id(p)]))
        found.append(switched("per class, on validation", after))
        found.append(switched("per class, best on test", best_on_test[..., 1], least=0.0))
    return found


def kept_epoch(trials: Trials) -> list[Switch] | str:
    """Which epoch's weights are kept, of the validation part: it is what the history has scores of.

    The best epoch by the score itself is an optimist's here, as a reader would meet who keeps the epoch that is best on
    the part he reports. The interval is over seeds (Student's t), as histories hold no predictions of clips.
    """
    histories = [r.history() for r in trials.records]
    if any(trials.metric not in h or "valid_loss" not in h for h in histories):
        return f"histories do not have {in_words(trials.metric)}" if len(histories[0]) else "there are no epochs"
    rules = {
        "last": [len(h) - 1 for h in histories],
        "lowest loss": [int(h["valid_loss"].to_numpy().argmin()) for h in histories],
        "best score": [int(h[trials.metric].to_numpy().argmax()) for h in histories],
    }
    kept = [r.data["best_epoch"] - 1 for r in trials.records]
    usual = next((name for name, epochs in rules.items() if epochs == kept), "as the study keeps it")
    found = []
    for other, epochs in rules.items():
        if epochs == kept:
            continue
        before, after = (
            np.array([h[trials.metric].iloc[at] for h, at in zip(histories, chosen, strict=True)], dtype=float)
            for chosen in (kept, epochs)
        )
        effect = over_seeds(after - before, trials.level, least=0.0 if other == "best score" else -1.0)
        scores = float(before.mean()), float(after.mean())
        found.append(Switch("Epoch kept (validation part)", usual, other, *scores, effect, CHOOSING, "seeds"))
    return found or "all rules keep the same epochs"


def best_seed(trials: Trials) -> list[Switch] | str:
    """Whether the mean over seeds is reported or the best of them."""
    count = len(trials.parts)
    if count == 1:
        return "there is one seed"
    on_valid = int(np.argmax([p.score(np.ones((1, len(p.keys))))[0] for p in trials.valid]))

    mean = trials.usual.mean(axis=0, keepdims=True)  # a choice among these seeds, so that it has no value by seed

    def switched(other: str, after: np.ndarray, least: float = -1.0) -> Switch:
        return trials.switch("Seeds", f"mean of {count}", other, after, before=mean, kind=CHOOSING, least=least)

    return [
        switched(f"best of {count} on test", trials.usual.max(axis=0)[None], least=0.0),
        switched(f"best of {count} on validation", trials.usual[[on_valid]]),
    ]


def other_training(trials: Trials) -> list[Switch] | str:
    """Conditions of the study that differ from its first in the split alone, or in what a missing label is."""
    found = []
    for name, others in trials.others.items():
        by_seed = {r.seed: r for r in others}
        pairs = [(r, by_seed[r.seed]) for r in trials.records if r.seed in by_seed]
        changed = {entry for pair in pairs for entry in _changed(*(r.data["protocol"] for r in pair))}
        if len(changed) != 1 or not changed <= ENTRIES.keys():
            continue
        sides = [[Part(r, "test", trials.metric) for r in side] for side in zip(*pairs, strict=True)]
        draws = trials.draws_of(sides)
        before, after = (trials.replay(lambda p, w: p.score(w), side, draws) for side in sides)
        titles = trials.study.conditions[0].title, trials.study.condition(name).title
        choice = ENTRIES[changed.pop()]
        found.append(trials.switch(choice, *titles, after, before=before, kind=TRAINING))
    return found or "no condition that was run differs in the split or in missing labels alone"


#: All choices, by what to call them where they do not arise.
CHOICES: dict[str, Callable[[Trials], list[Switch] | str]] = {
    "which average": which_average,
    "missing labels": missing_labels,
    "undefined classes": undefined_classes,
    "last batch": last_batch,
    "what is scored": scored_unit,
    "label threshold": label_threshold,
    "threshold": threshold,
    "epoch kept": kept_epoch,
    "seeds": best_seed,
    "split": other_training,
}


def _everywhere(arrays: Arrays) -> Arrays:
    """As if every label had been observed: those that were not are absent."""
    labels, probabilities, mask = arrays
    return labels, probabilities, np.ones_like(mask)


def _observed(arrays: Arrays) -> Arrays:
    """As if nothing had been predicted where no label was observed: then no decision there is counted."""
    labels, probabilities, mask = arrays
    return labels, np.where(mask, probabilities, -1.0), mask


def _as_read(part: Part) -> Arrays:
    """Arrays of which unmasked scores read missing labels as the main score does."""
    return _observed(part.arrays) if part.metric.endswith("_masked") else part.arrays


def _weighted_f1(part: Part, arrays: Arrays, weights: np.ndarray) -> np.ndarray:
    """F1 of each class, weighted by how often it is present (scikit-learn's ``average="weighted"``)."""
    per_class = part.averages_and_classes(weights, arrays=arrays)[1]
    support = weights @ arrays[0]
    scores = per_class["f1"] if "f1" in per_class else per_class["f1_unmasked"]
    return ratio(np.nansum(support * scores, axis=1), support.sum(axis=1), zero_division=np.nan)


def _clip_f1(part: Part, arrays: Arrays, weights: np.ndarray) -> np.ndarray:
    """F1 of the classes of each clip, mean over clips (scikit-learn's ``average="samples"``)."""
    labels, predicted = arrays[0], arrays[1] >= part.threshold
    of_clip = ratio(2 * (labels & predicted).sum(axis=1), labels.sum(axis=1) + predicted.sum(axis=1))
    return ratio(weights @ of_clip, weights.sum(axis=1), zero_division=np.nan)


def _without_empty(part: Part, weights: np.ndarray) -> np.ndarray:
    """Scores of the classes, (r, c), NaN where nothing was to be found and nothing was, so that F1 is 0 / 0."""
    labels, probabilities, mask = part.arrays
    predicted = probabilities >= part.threshold
    per_class = part.averages_and_classes(weights)[1]

    def defined(name: str, counted: np.ndarray) -> np.ndarray:
        return np.where(weights @ counted == 0, np.nan, per_class[name])

    if part.metric == "f1_macro2_masked":
        presence = defined("f1_pos_masked", (labels | predicted) & mask)
        absence = defined("f1_neg_masked", ~(labels & predicted) & mask)
        return _mean_of_defined(np.stack([presence, absence], axis=-1))
    seen = mask if part.metric.endswith("_masked") else np.ones_like(mask)
    return defined(multilabel.MEAN_OF[part.metric], (labels | predicted) & seen)


def _mean_of_defined(scores: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    return ratio(np.nansum(scores, axis=-1), (~np.isnan(scores)).sum(axis=-1), zero_division=np.nan)


def _changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> set[str]:
    """Entries that two protocols differ in; how a split is drawn is part of it."""
    return {k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)} - {"split_per_seed"}
