"""The guard against regressions: trials run again, clip by clip beside those kept with the results.

Where packages and machine are the same, predictions must be the same bit by bit, and any other is a change that wants
a reason. Elsewhere rounding differs, and training makes as much of that as of another seed. There each arm's loss of
the main score is tested, one-sided, over seeds and groups of clips together, as `harness.metrics.seeds` has it:
``s²/S`` for what differs from one training to the next, and what all seeds share of the error of resampled groups. Few
seeds hardly tell ``s²``, so it is pooled over the arms, but for an arm that varies more than that. P values are Holm's
(1979) over all arms, so that a clean run raises any alarm at all with the stated probability only. No tolerance is set
by hand, and the table says what loss would have been found.

What does not depend on rounding is compared everywhere: settings, front ends, clips and their labels, and the metrics,
which today's code computes again from the predictions that are kept.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from scipy import stats

from harness import corpora
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.metrics import comparison, multiclass, seeds
from harness.storage import cache_home, data_root
from harness.studies import executor, kept, records
from harness.studies.likeness import other_environment, other_settings, same_clips
from harness.studies.records import Record, scoring
from harness.studies.study import Study

#: Chance of any alarm in a clean run is one minus this; and of finding the loss that the table calls detectable.
LEVEL, POWER = 0.99, 0.8
REPLICATES = 1000
IDENTICAL, NO_LOSS = "identical", "no loss found"
CHANGED, FELL, OTHER, NOT_RUN, METRIC = "changed", "fell", "other settings", "not run", "metric"
#: A trial that is kept, and the same by today's code.
Pair = tuple[Record, Record]


@dataclass(frozen=True)
class Finding:
    """What became of an arm under a condition.

    Parameters
    ----------
    study, corpus, label
        Which.
    seeds
        How many seeds were compared.
    verdict
        ``"identical"`` or ``"no loss found"``; or ``"changed"`` (where the environment is the same), ``"fell"``,
        ``"other settings"``, ``"not run"``, ``"metric"`` (one comes out otherwise than recorded).
    note
        What differs.
    metric
        The main score.
    before, now
        Mean over these seeds.
    loss
        Mean over the seeds of how much worse it is now; None where not computed, as are the others.
    error, degrees
        Standard error of that, and its degrees of freedom; infinite where clips alone are known to vary.
    p_value
        Of the one-sided test; after `judge`, by Holm.
    detectable
        After `judge`: the loss that the test finds with probability `POWER`.
    """

    study: str
    corpus: str
    label: str
    seeds: int
    verdict: str
    note: str = ""
    metric: str = ""
    before: float | None = None
    now: float | None = None
    loss: float | None = None
    error: float | None = None
    degrees: float | None = None
    p_value: float | None = None
    detectable: float | None = None

    @property
    def sound(self) -> bool:
        """Whether there is nothing to accept or mend."""
        return self.verdict in (IDENTICAL, NO_LOSS)


def baselines(study: Study, results: Path) -> dict[Path, list[Record]]:
    """Trials of the pocket profile on pocket corpora that are kept with the results.

    Parameters
    ----------
    study
        Whose.
    results
        Folder of all results.

    Returns
    -------
    dict of Path to list of Record
        By the folder of the results; none is verified.
    """
    found = {folder: records.find_records(folder / records.KEPT) for folder in kept.folders(study.name, results)}
    return {
        folder: of_folder
        for folder, of_folder in found.items()
        if of_folder[0].data["profile"] == "pocket" and of_folder[0].data["corpus"].startswith("pocket-")
    }


@contextlib.contextmanager
def fresh_caches(folder: Path) -> Iterator[None]:
    """Have everything computed anew: a change of code that no cache knows of would not show otherwise.

    Parameters
    ----------
    folder
        Where caches go meanwhile; published data stay where they are.

    Yields
    ------
    None
    """
    names = ("REPRISE_HOME", "REPRISE_DATA")
    saved = {name: os.environ.get(name) for name in names}
    os.environ.update(REPRISE_DATA=str(data_root()), REPRISE_HOME=str(folder))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_again(
    study: Study, baseline: Sequence[Record], runs: Path, *, console: Console, jobs: int, most: int | None = None
) -> list[Record]:
    """Run the baseline's trials by today's code and settings.

    Parameters
    ----------
    study
        Whose.
    baseline
        Of one corpus.
    runs
        Folder of the trials, as `harness.studies.executor.plan` has it.
    console
        For the plan.
    jobs
        Processes.
    most
        How many seeds of each arm; default: all.

    Returns
    -------
    list of Record
        Without arms and conditions that the study has no more.

    Raises
    ------
    RepriseError
        A trial failed, or none of them is one of the study's.
    """
    arms = {r.arm for r in baseline} & {arm.name for arm in study.arms}
    conditions = {r.condition for r in baseline} & {condition.name for condition in study.conditions}
    if not arms or not conditions:
        raise RepriseError(f"{study.name} has none of the arms or conditions kept; make a baseline with `reprise run`")
    planned = executor.plan(
        study,
        profile="pocket",
        runs=runs,
        arms=[arm.name for arm in study.arms if arm.name in arms],
        conditions=[condition.name for condition in study.conditions if condition.name in conditions],
        seeds=min(most or 10**6, 1 + max(r.seed for r in baseline)),
        changes={"corpus": baseline[0].data["corpus"]},
    )
    wanted = {(r.arm, r.condition, r.seed) for r in baseline}
    chosen = [t for t in planned if (t.arm.name, t.condition.name, t.seed) in wanted]
    return executor.execute(chosen, jobs=jobs, console=console)


def compare(study: Study, baseline: Sequence[Record], now: Sequence[Record], *, part: str = "test") -> list[Finding]:
    """Compare trials with those kept, arm by arm.

    Parameters
    ----------
    study
        Whose.
    baseline
        Kept trials of one corpus; their files are checked first.
    now
        The same trials by today's code; seeds that are left out are not compared.
    part
        Whose main score is tested; predictions on all parts must be the same.

    Returns
    -------
    list of Finding
        One for each arm and condition of the baseline; give all to `judge`.

    Raises
    ------
    RepriseError
        A file of the baseline was changed.
    """
    by_place = {kept.place(r): r for r in now}
    order = {arm.name: number for number, arm in enumerate(study.arms)}
    ordered = sorted(baseline, key=lambda r: (order.get(r.arm, len(order)), kept.place(r)))
    found, pairs = [], {}
    for label, of_label in groupby(ordered, key=lambda r: r.folder.parent.name):
        old = [records.intact(r.folder) for r in of_label]
        pairs[label] = [(r, by_place[kept.place(r)]) for r in old if kept.place(r) in by_place]
        blank = Finding(study.name, old[0].data["corpus"], label, len(pairs[label]), NOT_RUN, metric=study.metric)
        found.append(_look(blank, pairs[label], part) if pairs[label] else blank)
    differing = {f.label: pairs[f.label] for f in found if f.verdict != NOT_RUN and _comparable(pairs[f.label])}
    tested = _test(study, differing, part)
    return [replace(f, **tested.get(f.label, {})) for f in found]


def expected(study: Study, baseline: Sequence[Record], now: Sequence[Record]) -> list[Record]:
    """Kept trials that finished ones can be held against: what runs by default, and whatever was run on request.

    Parameters
    ----------
    study
        Theirs.
    baseline
        Kept trials.
    now
        Finished ones.

    Returns
    -------
    list of Record
        Of the baseline; an arm that runs by default and was not run is among them, and so will be missed.
    """
    there = {kept.place(r) for r in now}
    default = {r.folder: study.arm(r.arm).default and study.condition(r.condition).default for r in baseline}
    return [r for r in baseline if default[r.folder] or kept.place(r) in there]


def _look(blank: Finding, pairs: Sequence[Pair], part: str) -> Finding:
    """All but the test."""
    metrics = sorted({f"{metric} ({where})" for old, _ in pairs for where, metric, *_ in records.rescored(old)})
    settings = sorted({name for old, new in pairs for name in other_settings(old, new)})
    elsewhere = sorted({name for old, new in pairs for name in other_environment(old, new)})
    clips = not all(same_clips(old, new) for old, new in pairs)
    notes = [
        f"metrics not as recorded: {_list(metrics)}" if metrics else "",
        f"other settings: {_list(settings)}" if settings else "",
        "other clips or labels" if clips else "",
        f"another environment: {_list(elsewhere)}" if elsewhere else "",
    ]
    if metrics:
        verdict = METRIC
    elif all(kept.same_predictions(old, new) for old, new in pairs):
        verdict = IDENTICAL
    elif settings or clips:
        verdict = OTHER
    else:
        verdict = NO_LOSS if elsewhere else CHANGED
    before, now = (float(np.mean([_score(r, blank.metric, part) for r in side])) for side in zip(*pairs, strict=True))
    return replace(blank, verdict=verdict, note="; ".join(filter(None, notes)), before=before, now=now)


def _comparable(pairs: Sequence[Pair]) -> bool:
    """Whether the clips are the same and the predictions are not."""
    return all(same_clips(*pair) for pair in pairs) and not all(kept.same_predictions(*pair) for pair in pairs)


def _test(study: Study, pairs: Mapping[str, Sequence[Pair]], part: str) -> dict[str, dict[str, Any]]:
    """Loss of the main score, its standard error and p value, by label."""
    losses = {label: _losses(study, of_label, part) for label, of_label in pairs.items()}
    losses = {label: loss for label, loss in losses.items() if np.isfinite(loss.scores).all()}
    arms = [pairs[label][0][0].arm for label in losses]
    between, freedom = _between_trainings([loss.scores for loss in losses.values()], arms)
    result = {}
    for label, loss in losses.items():
        # An arm that varies more than the others is not to be judged by them.
        own = loss.seed_variance if loss.seeds > 1 else 0.0
        of_training = max(between, own) / loss.seeds
        total = of_training + loss.clip_variance
        degrees = freedom * total / of_training if of_training else np.inf
        error = float(np.sqrt(total))
        p = float(stats.t.sf(loss.score / error, degrees)) if error else float(loss.score <= 0)
        result[label] = {"loss": loss.score, "error": error, "degrees": degrees, "p_value": p}
    return result


def _losses(study: Study, pairs: Sequence[Pair], part: str) -> seeds.Replicates:
    """How much worse the main score is now, by seed, and on resampled groups."""
    sides = [
        seeds.distributions(
            [_as_trial(r, part) for r in side],
            metrics=[study.metric],
            replicates=REPLICATES,
            threshold=pairs[0][0].data["protocol"].get("threshold", 0.5),
            scoring=scoring(pairs[0][0].data),
        )[study.metric]
        for side in zip(*pairs, strict=True)
    ]
    return sides[1] - sides[0] if study.metric in multiclass.LOSSES else sides[0] - sides[1]


def _between_trainings(losses: Sequence[np.ndarray], arms: Sequence[str]) -> tuple[float, int]:
    """Variance of a loss from one training to the next, and its degrees of freedom.

    Pooled within arms and conditions; where none has two seeds, within arms, whose conditions then stand for seeds.
    """
    several = [values for values in losses if len(values) > 1]
    if not several:
        several = [np.concatenate([v for v, a in zip(losses, arms, strict=True) if a == arm]) for arm in set(arms)]
    freedom = sum(len(values) - 1 for values in several)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in several)
    return (squares / freedom if freedom else 0.0), freedom


def judge(found: Sequence[Finding], *, level: float = LEVEL) -> list[Finding]:
    """Judge all arms as one family.

    Parameters
    ----------
    found
        Of every study and corpus that was run.
    level
        Confidence: a clean run raises no alarm with this probability.

    Returns
    -------
    list of Finding
        With p values by Holm, and what loss would have been found.
    """
    tested = [f for f in found if f.p_value is not None]
    adjusted = comparison.holm([f.p_value for f in tested]) if tested else []
    result = {}
    for finding, p in zip(tested, adjusted, strict=True):
        quantiles = stats.t.ppf([1 - (1 - level) / len(tested), POWER], finding.degrees)
        verdict = FELL if p < 1 - level and finding.verdict != METRIC else finding.verdict
        detectable = float(quantiles.sum() * finding.error)
        result[id(finding)] = replace(finding, p_value=float(p), detectable=detectable, verdict=verdict)
    return [result.get(id(f), f) for f in found]


@lru_cache(maxsize=1)
def _groups(corpus: str, home: Path) -> dict[str, str]:
    """Group of each clip that has one."""
    clips = corpora.load(corpus).clips
    known = clips["group"].notna()
    return dict(zip(clips.loc[known, "key"], clips.loc[known, "group"].astype(str), strict=True))


def _as_trial(record: Record, part: str) -> seeds.Trial:
    p, groups = record.predictions(part), _groups(record.data["corpus"], cache_home())
    units = np.array([f"group {groups[key]}" if key in groups else key for key in clips_of(p.keys).tolist()])
    return seeds.Trial(p.labels, p.probabilities, p.mask, units)


def _score(record: Record, metric: str, part: str) -> float:
    """A trial's score by today's metrics."""
    p, threshold = record.predictions(part), record.data["protocol"].get("threshold", 0.5)
    value = scoring(record.data).evaluate(p.labels, p.probabilities, p.mask, threshold=threshold)[metric]
    return np.nan if value is None else value


def _list(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def shown(found: Sequence[Finding], *, level: float = LEVEL) -> Group:
    """For the terminal: what is not as it was, and what would have been found.

    Parameters
    ----------
    found
        As `judge` gives them.
    level
        As there.

    Returns
    -------
    rich.console.Group
        A row for each arm and condition that does not predict the same bits, why below, and how many do.
    """
    parts: list[Table | str] = []
    differing = [f for f in found if f.verdict != IDENTICAL or f.note]
    for (name, corpus, metric), of_study in groupby(differing, key=lambda f: (f.study, f.corpus, f.metric)):
        table = Table(title=f"{name} on {corpus} beside the records kept: {metric}", title_justify="left")
        for head in ("arm", "seeds", "kept", "now", "loss", "p (Holm)", "detectable", "verdict"):
            table.add_column(head, justify="left" if head in ("arm", "verdict") else "right")
        for f in of_study:
            values = (f.before, f.now, f.loss, f.p_value, f.detectable)
            numbers = ["" if value is None else f"{value:.4f}" for value in values]
            table.add_row(f.label, str(f.seeds), *numbers, f.verdict, style=None if f.sound else "bold")
        parts.append(table)
    notes: dict[str, list[str]] = {}
    for f in differing:
        alone = "one training each: clips alone vary" if f.seeds == 1 and f.error and np.isinf(f.degrees) else ""
        notes.setdefault("; ".join(filter(None, [f.note, alone])), []).append(f.label)
    parts += [f"{_list(labels)}: {note}." for note, labels in notes.items() if note]
    if any(f.p_value is not None for f in found):
        parts.append(
            f"One-sided, over seeds and groups of clips; p by Holm: {1 - level:.0%} for any false alarm at all. "
            f"Detectable: the loss that is found with {POWER:.0%}."
        )
    same = sum(f.verdict == IDENTICAL for f in found)
    return Group(*parts, f"{same} of {len(found)} arms predict the same bit by bit.")
