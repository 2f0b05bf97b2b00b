"""Choices of protocol that move a score and are seldom printed, each switched on the same finished trials.

A choice is a function of the trials of one arm. It gives the other ways in which it is made in this field, each with
the study's main score before and after, on the same resampled clips; or it says why it does not arise. Most switch the
scoring of the stored predictions alone. Of what is chosen on the part that is scored (a threshold, a seed), each
replicate chooses anew, as whoever chooses so would on other clips.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.analysis.measured import of_seeds_alone
from harness.analysis.resampling import Resampled
from harness.corpora.segments import clips_of, is_segment
from harness.metrics import METRICS, metrics_of, validate
from harness.metrics.table import OBSERVED
from harness.metrics.tally import mean_of_defined, ratio
from harness.report.plots import F1
from harness.report.replay import CHOOSING, TRAINING, Arrays, Part, Switch, Trials, across, effect_of
from harness.studies.records import by_clip

#: Thresholds that are tried.
GRID = np.arange(1, 50) / 50
#: From where on a stricter reader calls a class present, by its relevance in [0, 1].
STRICT = 0.75
#: Entries of the protocol that conditions may differ in alone to be compared.
ENTRIES = {"split": "Split", "missing": "Missing labels in training"}


def which_average(trials: Trials) -> list[Switch] | str:
    """Which of the scores that go by one name: F1 of several labels, accuracy and F1 of one."""
    usual, known = METRICS[trials.metric], metrics_of(trials.study.task)
    if trials.study.task == "multiclass":
        choice, name = "Which average", usual.in_words
        found = [
            trials.switch(choice, name, m.in_words, trials.replay(lambda p, w, m=m: p.score(w, metric=m.name)))
            for m in known.values()
            if m.bounds == (0.0, 1.0) and m.name != usual.name
        ]
        weighted = trials.replay(lambda p, w: _weighted_f1(p, p.arrays, w))
        return [*found, trials.switch(choice, name, "F1, classes by frequency", weighted)]
    if usual.family != "F1":
        return f"the main score is no F1 but {usual.title}"
    choice, whole = "Which F1", trials.everything_observed

    def tail(counts: str) -> str:
        return "" if whole else ", observed" if counts == OBSERVED else ", missing = absent"

    # The other reading of missing labels is a choice of its own; without missing labels two go by one name.
    name, apart = usual.average + tail(usual.counts), (usual.name, usual.other_reading)
    others = {m.average + tail(m.counts): m.name for m in known.values() if m.family == "F1" and m.name not in apart}
    others.pop(name, None)
    found = [
        trials.switch(choice, name, other, trials.replay(lambda p, w, m=m: p.score(w, metric=m)))
        for other, m in others.items()
    ]
    for extra, scorer in (("classes by frequency", _weighted_f1), ("mean over clips", _clip_f1)):
        after = trials.replay(lambda p, w, scorer=scorer: scorer(p, _as_read(p), w))
        found.append(trials.switch(choice, name, extra, after))
    return found


def missing_labels(trials: Trials) -> list[Switch] | str:
    """Whether a label that nobody was asked for counts as absent or not at all, in scoring."""
    if trials.everything_observed:
        return "every label was observed"
    if not METRICS[trials.metric].of_decisions:
        return f"{METRICS[trials.metric].title} has one reading here"
    masked = METRICS[trials.metric].counts == OBSERVED
    readings = ["observed alone", "missing = absent"]
    usual, other = readings if masked else readings[::-1]
    after = trials.replay(lambda p, w: p.score(w, arrays=_everywhere(p.arrays) if masked else _observed(p.arrays)))
    return [trials.switch("Missing labels in scoring", usual, other, after)]


def undefined_classes(trials: Trials) -> list[Switch] | str:
    """Whether classes that cannot be scored count as 0 or are left out of the mean."""
    if not METRICS[trials.metric].per_class:
        return f"{METRICS[trials.metric].in_words} is no mean over classes"

    def as_zero(part: Part, weights: np.ndarray) -> np.ndarray:
        return np.nan_to_num(part.classes(weights)).mean(axis=1)

    def left_out(part: Part, weights: np.ndarray) -> np.ndarray:
        return mean_of_defined(_without_empty(part, weights))

    once = [(p, np.ones((1, len(p.keys)))) for p in trials.parts]
    found = []
    if any(np.isnan(p.classes(w)).any() for p, w in once):
        found.append(trials.switch("Undefined classes", "left out", "count as 0", trials.replay(as_zero)))
    if (
        trials.study.task == "multilabel"
        and METRICS[trials.metric].of_decisions
        and any(not np.array_equal(_without_empty(p, w), p.classes(w), equal_nan=True) for p, w in once)
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
        found = validate(part.task, whole.labels, whole.probabilities, whole.mask, part.threshold)
        return part.score(weights[:, first], arrays=(found.labels, found.probabilities, found.mask))

    return [trials.switch("What is scored", "segments", "clips: mean of their segments", trials.replay(of_clips))]


def label_threshold(trials: Trials) -> list[Switch] | str:
    """From which relevance on a class counts as present, where the corpus says how sure its labels are.

    Of OpenMIC-2018 some code takes labels from 0.5 on, other code those above; a label may also be asked to be surer.
    """
    if trials.study.task == "multiclass":
        return "every clip has one class"
    clips = trials.analysis.clips
    columns = [f"relevance_{name}" for name in trials.analysis.classes]
    if clips is None or not set(columns) <= set(clips):
        return "nothing here says how sure the labels are"
    known = clips.set_index("key")[columns]
    relevance = {id(p): known.reindex(p.keys).to_numpy(float) for p in trials.parts}
    if any(not np.array_equal((relevance[id(p)] >= 0.5) & p.arrays[2], p.arrays[0]) for p in trials.parts):
        return "what is said of the labels is not of those that were scored"

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
    about = METRICS[trials.metric]
    if not about.of_decisions:
        return f"{about.title} needs no decisions"
    fixed = trials.parts[0].threshold
    grid = np.unique([*GRID, fixed])

    def curves(part: Part, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores at every threshold, (grid, r), and those of the classes, (grid, r, c)."""
        together, apart = zip(*(part.both(weights, threshold=t) for t in grid), strict=True)
        return np.array(together), np.array(apart)

    def best(of_grid: np.ndarray) -> np.ndarray:
        """Of equally good thresholds the one that is nearest to the fixed one."""
        order = np.argsort(np.abs(grid - fixed), kind="stable")
        return grid[order][np.nan_to_num(of_grid[order], nan=-1.0).argmax(axis=0)]

    chosen: dict[int, float] = {}
    per_class: dict[int, np.ndarray] = {}
    for valid, part in zip(trials.valid, trials.parts, strict=True):
        together, apart = curves(valid, np.ones((1, len(valid.keys))))
        chosen[id(part)] = float(best(together[:, 0]))
        if about.per_class:
            per_class[id(part)] = best(apart[:, 0])

    def oracles(part: Part, weights: np.ndarray) -> np.ndarray:
        together, apart = curves(part, weights)
        found = [together.max(axis=0)]
        if about.per_class:
            found.append(mean_of_defined(apart.max(axis=0)))
        return np.stack(found, axis=1)

    def switched(other: str, after: Resampled, least: float = -1.0) -> Switch:
        return trials.switch("Threshold", f"{fixed:g}", other, after, kind=CHOOSING, least=least)

    best_on_test = trials.replay(oracles)

    def oracle(column: int) -> Resampled:
        return best_on_test.of(range(len(trials.parts)), [column])

    found = [
        switched("chosen on validation", trials.replay(lambda p, w: p.score(w, threshold=chosen[id(p)]))),
        switched("best on test", oracle(0), least=0.0),
    ]
    if about.per_class:
        after = trials.replay(lambda p, w: p.score(w, threshold=per_class[id(p)]))
        found.append(switched("per class, on validation", after))
        found.append(switched("per class, best on test", oracle(1), least=0.0))
    return found


def kept_epoch(trials: Trials) -> list[Switch] | str:
    """Which epoch's weights are kept, of the validation part: it is what the history has scores of.

    The best epoch by the score itself is an optimist's here, as a reader would meet who keeps the epoch that is best on
    the part he reports. The interval is over seeds (Student's t), as histories hold no predictions of clips.
    """
    histories = [r.history() for r in trials.records]
    if any(trials.metric not in h or "valid_loss" not in h for h in histories):
        return (
            f"histories do not have {METRICS[trials.metric].in_words}" if len(histories[0]) else "there are no epochs"
        )
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
        least = 0.0 if other == "best score" else -1.0
        mean, low, high, _ = of_seeds_alone(after - before, level=trials.level)
        effect = effect_of(mean, low, high, least)
        scores = float(before.mean()), float(after.mean())
        found.append(Switch("Epoch kept (validation part)", usual, other, *scores, effect, CHOOSING, "seeds"))
    return found or "all rules keep the same epochs"


def best_seed(trials: Trials) -> list[Switch] | str:
    """Whether the mean over seeds is reported or the best of them."""
    count = len(trials.parts)
    if count == 1:
        return "there is one seed"
    on_valid = int(np.argmax([p.score(np.ones((1, len(p.keys))))[0] for p in trials.valid]))

    # A choice among these seeds, so that it has no value by seed.
    mean = across(trials.usual, lambda scores: scores.mean(axis=0))

    def switched(other: str, after: Resampled, least: float = -1.0) -> Switch:
        return trials.switch("Seeds", f"mean of {count}", other, after, before=mean, kind=CHOOSING, least=least)

    return [
        switched(f"best of {count} on test", across(trials.usual, lambda scores: scores.max(axis=0)), least=0.0),
        switched(f"best of {count} on validation", trials.usual.of([on_valid])),
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
        parts = [Part(trials.analysis, r) for side in zip(*pairs, strict=True) for r in side]
        both, count = trials.replay(lambda p, w: p.score(w), parts), len(pairs)
        before, after = both.of(range(count)), both.of(range(count, 2 * count))
        titles = trials.study.conditions[0].title, trials.study.condition(name).title
        choice = ENTRIES[changed.pop()]
        found.append(trials.switch(choice, *titles, after, before=before, kind=TRAINING))
    return found or "this arm was run under no condition that differs in the split or in missing labels alone"


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
    return _observed(part.arrays) if METRICS[part.metric].counts == OBSERVED else part.arrays


def _weighted_f1(part: Part, arrays: Arrays, weights: np.ndarray) -> np.ndarray:
    """F1 of each class, weighted by how often it is present (scikit-learn's ``average="weighted"``)."""
    scores, support = part.classes(weights, arrays=arrays, metric=F1[part.task]), weights @ arrays[0]
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
    about = METRICS[part.metric]

    def defined(scores: np.ndarray, counted: np.ndarray) -> np.ndarray:
        return np.where(weights @ counted == 0, np.nan, scores)

    scores = part.classes(weights)
    if about.average == "2-class":  # the mean of the F1 of presence and of the F1 of absence
        of_presence = part.classes(weights, metric="f1_macro_pos_masked")
        presence = defined(of_presence, (labels | predicted) & mask)
        absence = defined(2 * scores - of_presence, ~(labels & predicted) & mask)
        defined_of = ~np.isnan([presence, absence])
        sums = np.nansum([presence, absence], axis=0)
        return ratio(sums, defined_of.sum(axis=0), zero_division=np.nan)
    return defined(scores, (labels | predicted) & (mask if about.counts == OBSERVED else True))


def _changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> set[str]:
    """Entries that two protocols differ in; how a split is drawn is part of it."""
    return {k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)} - {"split_per_seed"}
