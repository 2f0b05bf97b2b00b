"""From records to numbers with intervals: what tables and plots have in common.

An arm is scored by its stored predictions alone, with the metrics of its study's task. With several seeds a score is
the mean over the seeds, and its interval is over seeds and clips together (`harness.metrics.seeds`): clips are
resampled, the same for all seeds in one replicate (`harness.report.resampling`). With one seed it is over clips alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import ModuleType

import numpy as np

from harness.corpora.segments import is_segment
from harness.metrics import multiclass, multilabel, uncertainty
from harness.metrics.seeds import Replicates, joint
from harness.report.resampling import Draws, distribution, units_of
from harness.studies import study as studies
from harness.studies.records import Predictions, Record, scoring
from harness.studies.study import Study

#: Short names of the scores for heads and axes.
METRIC_TITLES = {
    "f1_macro_unmasked": "Macro F1",
    "f1_micro_unmasked": "Micro F1",
    "jaccard_samples_unmasked": "Jaccard",
    "jaccard_macro_unmasked": "Macro Jaccard",
    "jaccard_micro_unmasked": "Micro Jaccard",
    "lrap_unmasked": "LRAP",
    "f1_macro2_masked": "F1 (2-class)",
    "f1_macro_pos_masked": "F1 (presence)",
    "map_masked": "mAP",
    "roc_auc_masked": "ROC-AUC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Accuracy (balanced)",
    "f1_macro": "Macro F1",
    "log_loss": "Log loss",
}
#: First words of those that begin small within a sentence.
COMMON_WORDS = ("Macro", "Micro", "Accuracy", "Log")


def in_words(metric: str) -> str:
    """Short name of a score within a sentence.

    Parameters
    ----------
    metric
        A key of `METRIC_TITLES`.

    Returns
    -------
    str
        For instance ``"macro F1"`` or ``"F1 (2-class)"``.
    """
    title = METRIC_TITLES[metric]
    return title[0].lower() + title[1:] if title.startswith(COMMON_WORDS) else title


#: Score of guessing each class as often as it occurs, where that beats every constant prediction.
GUESSING = {"f1_macro2_masked": 0.5}
#: What someone does who never listens, where that is not to give one answer every time.
CHANCE_IN_WORDS = {
    "f1_macro2_masked": "to guess each class as often as it occurs",
    "f1_macro": "to guess each class as often as it occurs",
    "log_loss": "to give each class its frequency as probability",
}


def not_above_chance(metrics: Iterable[str]) -> str:
    """What ``°`` beside a score says, for a caption.

    Parameters
    ----------
    metrics
        The scores that the table shows.

    Returns
    -------
    str
        Without a full stop.
    """
    word = "better than" if any(map(lower_is_better, metrics)) else "above"
    return f"not {word} chance, the best score of a prediction that does not listen"


def lower_is_better(metric: str) -> bool:
    """Whether a score is a loss.

    Parameters
    ----------
    metric
        A key of `METRIC_TITLES`.

    Returns
    -------
    bool
    """
    return metric in multiclass.LOSSES


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of scores, and how sure it is.

    Parameters
    ----------
    value
        Mean over the seeds; None where undefined, as are the others.
    low, high
        Ends of the interval over seeds and clips together; with one seed over clips alone.
    chance
        The best score of someone who never listens: `chance`; None for a difference.
    lower
        Whether lower is better.
    """

    value: float | None
    low: float | None
    high: float | None
    chance: float | None = None
    lower: bool = False

    @property
    def above_chance(self) -> bool:
        """Whether the whole interval is better than chance."""
        if self.low is None or self.chance is None:
            return False
        return self.high < self.chance if self.lower else self.low > self.chance


@dataclass(frozen=True)
class Provenance:
    """What a number of ours stands on: every table and figure says it.

    Parameters
    ----------
    corpus, profile, weights, split, part
        By name; several, where they differ between the records, are joined by a comma. For the weights see `start`.
    clips
        Number of clips, or segments of clips, scored, likewise.
    seeds
        Number of different seeds.
    departures
        What the published values come from and these records do not; empty if they can stand side by side.
    unit
        What is scored: ``"clips"``, or ``"segments"`` of clips.
    """

    corpus: str
    profile: str
    weights: str
    split: str
    part: str
    clips: str
    seeds: int
    departures: tuple[str, ...]
    unit: str = "clips"

    def sentence(self) -> str:
        """One or two sentences for a caption."""
        text = (
            f"Corpus {self.corpus}, profile {self.profile}, weights {self.weights}; split {self.split}, {self.part} "
            f"part, {self.clips} {self.unit}; {self.seeds} seed{'s' if self.seeds > 1 else ''}."
        )
        if self.departures:
            text += f" Not a replication of the published values: those come from {', '.join(self.departures)}."
        return text


def provenance(study: Study, records: Sequence[Record], part: str) -> Provenance:
    """Gather from the records what their scores stand on.

    Parameters
    ----------
    study
        Their study.
    records
        At least one.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    Provenance
        Of these records.
    """

    def names(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values))

    corpus = names(r.data["corpus"] for r in records)
    profile = names(r.data["profile"] for r in records)
    order = {arm.name: number for number, arm in enumerate(study.arms)}
    weights = names(start(r) for r in sorted(records, key=lambda r: order[r.arm]))
    departures = []
    if hidden := study.paper.get("unpublished"):  # no corpus that anybody has is theirs
        departures.append(f"{hidden} (not public)")
    elif corpus != study.protocol["corpus"]:
        departures.append(f"corpus {study.protocol['corpus']}")
    if profile != "paper":
        departures.append("profile paper")
    split = names(r.data["split"]["name"] for r in records)
    if split != study.protocol["split"]:
        departures.append(f"split {study.protocol['split']}")
    published = study.protocol["weights"]
    if isinstance(published, Mapping):  # a source for each of several
        used = [r.data["protocol"]["weights"] for r in records]
        changed = [name for name, source in published.items() if any(theirs[name] != source for theirs in used)]
        for source in dict.fromkeys(published[name] for name in changed):
            departures.append(f"{source} weights of {' and '.join(n for n in changed if published[n] == source)}")
    elif weights != published:
        departures.append(f"{published} weights")
    return Provenance(
        corpus=corpus,
        profile=profile,
        weights=weights,
        split=split,
        part=part,
        clips=names(r.data["split"]["sizes"][part] for r in records),
        seeds=len({r.seed for r in records}),
        departures=tuple(departures),
        unit="segments" if is_segment(records[0].predictions(part).keys[0]) else "clips",  # all trials of a study alike
    )


def start(record: Record) -> str:
    """Where a trial began: its network's weights, or those behind the representation that it was trained on.

    Parameters
    ----------
    record
        Any.

    Returns
    -------
    str
        The kind of weights, for instance ``"published"``; for a pre-training of ours its objective and corpus.
    """
    pretraining = record.data["inputs"].get("representation", {}).get("pretraining")
    return f"{pretraining['objective']} on {pretraining['corpus']}" if pretraining else record.data["weights"]["kind"]


def select(records: Iterable[Record], arm: str, condition: str) -> list[Record]:
    """The records of one arm under one condition.

    Parameters
    ----------
    records
        Any.
    arm, condition
        By name.

    Returns
    -------
    list of Record
        In the order of their seeds.
    """
    return sorted((r for r in records if r.arm == arm and r.condition == condition), key=lambda r: r.seed)


def conditions(study: Study, records: Sequence[Record]) -> list[str]:
    """Conditions that can stand side by side: those meant for every arm, on the same split as the first.

    Parameters
    ----------
    study
        Its conditions give the order.
    records
        Those at hand.

    Returns
    -------
    list of str
        Names; a condition without a record is not among them.
    """
    found: dict[str, frozenset[str]] = {}
    for condition in study.conditions:
        of_condition = [r for r in records if r.condition == condition.name]
        if of_condition and not condition.arms:
            found[condition.name] = frozenset(str(r.data["split"]["name"]) for r in of_condition)
    first = next(iter(found.values()), None)
    return [name for name, splits in found.items() if splits == first]


def interval_in_words(records: Iterable[Record], unit: str, replicates: int = 1000, level: float = 0.95) -> str:
    """What the intervals of means over seeds are, for a caption.

    Parameters
    ----------
    records
        Those that a table or figure shows.
    unit
        What replicates draw whole, in the plural: clips, songs.
    replicates, level
        Of the bootstrap.

    Returns
    -------
    str
        Without a full stop.
    """
    seeds = Counter((r.arm, r.condition) for r in records).values()
    kind, drawn = f"{level:.0%} basic bootstrap interval over", f"{replicates:,} replicates"
    if max(seeds) == 1:
        return f"{kind} {unit} ({drawn}); one seed, nothing is known of others"
    alone = f"; where there is one seed, over {unit} alone" if min(seeds) == 1 else ""
    return f"{kind} seeds and {unit} together ({drawn}{alone})"


def estimate(
    records: Sequence[Record],
    part: str,
    metrics: Sequence[str],
    *,
    units: Callable[[np.ndarray], np.ndarray] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Scores of one arm under one condition.

    Parameters
    ----------
    records
        One per seed; at least one.
    part
        ``"valid"`` or ``"test"``.
    metrics
        Names out of the ``METRICS`` of the study's task.
    units
        What is drawn whole, as `harness.report.resampling.units_of` gives it, which is asked if nothing is said.
    replicates, level
        Of the bootstrap over seeds and clips together; with one seed over clips alone.

    Returns
    -------
    dict of str to Estimate
        By metric.
    """
    predictions = [r.predictions(part) for r in records]
    draws = Draws([[p.keys for p in predictions]], replicates, units or _units(records))
    levels = [chance(p, scoring(r.data)) for r, p in zip(records, predictions, strict=True)]
    result = {}
    for name, found in replicated(records, predictions, metrics, draws).items():
        by_chance = _mean(c[name] for c in levels)
        result[name] = _estimate(found, level, uncertainty.bounds(name), by_chance, lower_is_better(name))
    return result


def replicated(
    records: Sequence[Record], predictions: Sequence[Predictions], metrics: Sequence[str], draws: Draws
) -> dict[str, Replicates | None]:
    """Scores by seed, of the clips as they are and of resampled ones.

    Parameters
    ----------
    records
        One per seed; at least one.
    predictions
        Theirs, of one part.
    metrics
        Names out of the ``METRICS`` of the study's task.
    draws
        Made for these clips.

    Returns
    -------
    dict of str to Replicates or None
        By metric; None where the score of a seed is undefined.
    """
    plain = [_scores(r, p) for r, p in zip(records, predictions, strict=True)]
    drawn = [distribution(r, p, metrics, draws) for r, p in zip(records, predictions, strict=True)]
    return {
        name: None
        if any(scores[name] is None for scores in plain)
        else Replicates(np.array([scores[name] for scores in plain]), np.stack([values[name] for values in drawn]))
        for name in metrics
    }


def chance(predictions: Predictions, metrics: ModuleType = multilabel) -> dict[str, float | None]:
    """The best that can be had without listening.

    Parameters
    ----------
    predictions
        Only their labels are looked at.
    metrics
        `multilabel` or `multiclass`.

    Returns
    -------
    dict of str to float or None
        By metric: what the ``chance`` of `metrics` gives, or `GUESSING` where that is higher; None where undefined.
    """
    levels = metrics.chance(predictions.labels, predictions.mask)
    return {name: None if level is None else max(level, GUESSING.get(name, level)) for name, level in levels.items()}


def mean_scores(records: Sequence[Record], part: str, metrics: Sequence[str]) -> dict[str, float | None]:
    """Scores of one arm under one condition, without intervals.

    Parameters
    ----------
    records
        One per seed; at least one.
    part
        ``"valid"`` or ``"test"``.
    metrics
        Names out of the ``METRICS`` of the study's task.

    Returns
    -------
    dict of str to float or None
        Mean over the seeds by metric; None where undefined.
    """
    scores = [_scores(record, record.predictions(part)) for record in records]
    return {name: _mean(s[name] for s in scores) for name in metrics}


def difference(
    records: Sequence[Record],
    base: Sequence[Record],
    part: str,
    metrics: Sequence[str],
    *,
    units: Callable[[np.ndarray], np.ndarray] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
) -> tuple[dict[str, Estimate], bool]:
    """How much higher one set of trials scores than another, seed by seed.

    Parameters
    ----------
    records, base
        One record per seed each; only seeds that both have are compared.
    part
        ``"valid"`` or ``"test"``.
    metrics
        Names out of the ``METRICS`` of the study's task.
    units, replicates, level
        As for `estimate`.

    Returns
    -------
    differences : dict of str to Estimate
        By metric; undefined where the two share no seed.
    paired : bool
        Whether both were scored on the same clips, so that each replicate compares like with like. Otherwise the
        clips are resampled on each side for itself, and the interval is wider for it; but for clips that trials of
        several seeds share (`harness.report.resampling`).
    """
    by_seed = {r.seed: r for r in base}
    pairs = [(r, by_seed[r.seed]) for r in records if r.seed in by_seed]
    if not pairs:
        return dict.fromkeys(metrics, Estimate(None, None, None)), False
    sides = list(zip(*pairs, strict=True))
    predictions = [[r.predictions(part) for r in side] for side in sides]
    draws = Draws([[p.keys for p in of_side] for of_side in predictions], replicates, units or _units(chain(*sides)))
    ours, theirs = (replicated(*side, metrics, draws) for side in zip(sides, predictions, strict=True))
    result = {}
    for name in metrics:
        gain = None if ours[name] is None or theirs[name] is None else ours[name] - theirs[name]
        most = uncertainty.bounds(name)[1]
        result[name] = _estimate(gain, level, (-most, most))
    paired = all(np.array_equal(p.keys, q.keys) for p, q in zip(*predictions, strict=True))
    return result, paired


def best_arms(study: Study, records: Sequence[Record], condition: str) -> dict[str, str]:
    """The best arm of each network, chosen on the validation part by the mean of the main score over the seeds.

    Parameters
    ----------
    study
        Its arms are compared by its ``metric``.
    records
        Those at hand.
    condition
        By name.

    Returns
    -------
    dict of str to str
        Network -> arm; a network without a record is left out.
    """
    best: dict[str, tuple[float, str]] = {}
    for arm in study.arms:
        of_arm = select(records, arm.name, condition)
        if of_arm:
            score = _mean(r.data["metrics"]["valid"][study.metric] for r in of_arm)
            score = -score if lower_is_better(study.metric) else score
            if arm.network not in best or score > best[arm.network][0]:
                best[arm.network] = (score, arm.name)
    return {network: name for network, (_, name) in best.items()}


def _estimate(
    found: Replicates | None,
    level: float,
    bounds: tuple[float, float],
    by_chance: float | None = None,
    lower: bool = False,
) -> Estimate:
    """Mean over seeds with its interval."""
    if found is None:
        return Estimate(None, None, None, by_chance, lower)
    ends = uncertainty.interval(found.score, joint(found), level, bounds=bounds) or (None, None)
    return Estimate(found.score, *ends, by_chance, lower)


def _scores(record: Record, predictions: Predictions) -> dict[str, float | None]:
    """All scores of a trial."""
    p, threshold = predictions, record.data["protocol"].get("threshold", 0.5)
    return scoring(record.data).evaluate(p.labels, p.probabilities, p.mask, threshold=threshold)


def _units(records: Iterable[Record]) -> Callable[[np.ndarray], np.ndarray]:
    """What is drawn whole in the study that trials are of."""
    records = list(records)
    return units_of(studies.load(records[0].data["study"]), records)[1]


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean, or None where any value is undefined."""
    values = list(values)
    return None if None in values else float(np.mean(values))
