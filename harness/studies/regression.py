"""The guard against regressions: trials run again, clip by clip beside those kept with the results.

Where packages and machine are the same, predictions must be the same bit by bit, and any other is a change that wants
a reason. Elsewhere rounding differs, and training makes as much of that as of another seed. There it is tested whether
an arm, or the mean of all arms, lost more than another training would (`harness.studies.losses`), and a clean run
raises any alarm at all with the stated probability only. No tolerance is set by hand, and the table says what loss
would have been found. An arm that could lose all its skill unseen is called blind; where one seed is kept of every
arm, nothing is known of training and nothing is tested. Neither is an alarm, and the last line says how many there are.

What does not depend on rounding is compared everywhere: settings, front ends, clips and their labels, and the metrics,
which today's code computes again from the predictions that are kept.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.table import Table

from harness.errors import RepriseError
from harness.metrics import multiclass
from harness.storage import data_root
from harness.studies import executor, kept, losses, records
from harness.studies.likeness import other_environment, other_settings, same_clips
from harness.studies.losses import AGREEMENT, LEVEL, POWER, TOGETHER, Loss, Scores, agreement
from harness.studies.records import Predictions, Record, scoring
from harness.studies.study import Study

IDENTICAL, NO_LOSS = "identical", "no loss found"
BLIND, NOT_TESTED = "blind", "not tested"
ONE_SEED = "one seed is kept, so nothing is known of training"
UNDEFINED = "a score is undefined, or the same for all kept seeds"
CHANGED, FELL, OTHER, NOT_RUN, METRIC = "changed", "fell", "other settings", "not run", "metric"
#: How often predictions are dealt out among the clips to see what no skill scores.
DEALS = 10
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
        ``"other settings"``, ``"not run"``, ``"metric"`` (one comes out otherwise than recorded); or ``"not tested"``
        or, after `judge`, ``"blind"`` (all skill could be lost unseen), which say nothing either way.
    note
        What differs.
    metric
        The main score.
    before, now
        Mean over these seeds; None where not computed.
    losses
        What was tested.
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
    losses: tuple[Loss, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether there is nothing to accept or mend."""
        return self.verdict in (IDENTICAL, NO_LOSS, BLIND, NOT_TESTED)


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
        Kept trials of one corpus; their files are checked first. All tell how far trainings lie apart.
    now
        The same trials by today's code; seeds that are left out are not compared.
    part
        Whose scores are tested; predictions on all parts must be the same.

    Returns
    -------
    list of Finding
        One for each arm and condition of the baseline, and one for the mean where several were tested; give all to
        `judge`.

    Raises
    ------
    RepriseError
        A file of the baseline was changed.
    """
    by_place = {kept.place(r): r for r in now}
    order = {arm.name: number for number, arm in enumerate(study.arms)}
    ordered = sorted(baseline, key=lambda r: (order.get(r.arm, len(order)), kept.place(r)))
    found, pairs, old = [], {}, {}
    for label, of_label in groupby(ordered, key=lambda r: r.folder.parent.name):
        old[label] = [records.intact(r.folder) for r in of_label]
        pairs[label] = [(r, by_place[kept.place(r)]) for r in old[label] if kept.place(r) in by_place]
        corpus = old[label][0].data["corpus"]
        blank = Finding(study.name, corpus, label, len(pairs[label]), NOT_RUN, metric=study.metric)
        found.append(_look(blank, pairs[label], part) if pairs[label] else blank)
    differing = {f.label: pairs[f.label] for f in found if f.verdict != NOT_RUN and _comparable(pairs[f.label])}
    tested = _test(study, old, differing, part) if differing else {}
    why = UNDEFINED if any(len(of_label) > 1 for of_label in old.values()) else ONE_SEED
    found = [
        replace(f, verdict=NOT_TESTED, note=f"{f.note}; {why}")
        if f.verdict == NO_LOSS and f.label not in tested
        else replace(f, losses=tested.get(f.label, ()))
        for f in found
    ]
    if TOGETHER in tested:
        seeds = max(map(len, differing.values()))
        found.append(Finding(study.name, corpus, TOGETHER, seeds, NO_LOSS, losses=tested[TOGETHER]))
    return found


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


def _test(
    study: Study, old: Mapping[str, Sequence[Record]], pairs: Mapping[str, Sequence[Pair]], part: str
) -> dict[str, tuple[Loss, ...]]:
    """Losses by label: of the main score, and of the agreement where it can be had."""
    scores: dict[str, dict[str, Scores]] = {study.metric: {}, AGREEMENT: {}}
    for label, of_label in old.items():
        scores[study.metric][label] = _main_scores(study.metric, of_label, pairs.get(label, ()), part)
        if agreeing := _agreements(of_label, pairs.get(label, ()), part):
            scores[AGREEMENT][label] = agreeing
    found = [losses.losses(metric, arms) for metric, arms in scores.items()]
    labels = dict.fromkeys(label for of_metric in found for label in of_metric)
    return {label: tuple(of_metric[label] for of_metric in found if label in of_metric) for label in labels}


def _main_scores(metric: str, old: Sequence[Record], pairs: Sequence[Pair], part: str) -> Scores:
    values = {r.folder: _score(r, metric, part) for r in old}
    return Scores(
        np.array(list(values.values())),
        len(old) - 1,
        [values[before.folder] for before, _ in pairs],
        [_score(now, metric, part) for _, now in pairs],
        floor=float(np.mean([_without_skill(before, metric, part) for before, _ in pairs])) if pairs else np.nan,
        lower_is_better=metric in multiclass.LOSSES,
    )


def _agreements(old: Sequence[Record], pairs: Sequence[Pair], part: str) -> Scores | None:
    """How the predictions of two kept seeds agree, and those of kept and now; none without three seeds on one part."""
    of_kept = [r.predictions(part) for r in old]
    if len(old) < 3 or not all(np.array_equal(p.keys, of_kept[0].keys) for p in of_kept):
        return None
    alike = np.array([agreement(a.probabilities, b.probabilities) for a, b in combinations(of_kept, 2)])
    now = [agreement(*(r.predictions(part).probabilities for r in pair)) for pair in pairs]
    return Scores(alike, len(old) - 1, [alike.mean()] * len(now), now)


def judge(found: Sequence[Finding], *, level: float = LEVEL) -> list[Finding]:
    """Judge all tests together.

    Parameters
    ----------
    found
        Of every study and corpus that was run.
    level
        Confidence: a clean run raises no alarm with this probability.

    Returns
    -------
    list of Finding
        With corrected p values, and what loss would have been found.
    """
    places = {(f.study, f.corpus): [] for f in found if f.losses}
    for number, f in enumerate(found):
        for loss in f.losses:
            places[f.study, f.corpus].append((number, loss))
    judged: dict[int, list[Loss]] = {}
    for of_study, after in zip(
        places.values(), losses.judge([[loss for _, loss in p] for p in places.values()], level=level), strict=True
    ):
        for (number, _), loss in zip(of_study, after, strict=True):
            judged.setdefault(number, []).append(loss)
    return [_judged(f, judged[n], level) if n in judged else f for n, f in enumerate(found)]


def _judged(finding: Finding, tested: Sequence[Loss], level: float) -> Finding:
    verdict = finding.verdict
    if verdict != METRIC and any(loss.p_value < 1 - level for loss in tested):
        verdict = FELL
    elif verdict == NO_LOSS and all(loss.blind for loss in tested):
        verdict = BLIND
    return replace(finding, verdict=verdict, losses=tuple(tested))


def _score(record: Record, metric: str, part: str) -> float:
    """A trial's score by today's metrics."""
    return _scored(record, record.predictions(part), metric)


def _without_skill(record: Record, metric: str, part: str) -> float:
    """What a trial would score had each clip another one's predictions: mean over random deals."""
    p, generator = record.predictions(part), np.random.default_rng(0)
    dealt = [replace(p, probabilities=generator.permutation(p.probabilities)) for _ in range(DEALS)]
    return float(np.mean([_scored(record, of_deal, metric) for of_deal in dealt]))


def _scored(record: Record, p: Predictions, metric: str) -> float:
    """NaN where undefined."""
    arrays = scoring(record.data).validate(p.labels, p.probabilities, p.mask)
    settings = {"metrics": [metric], "threshold": record.data["protocol"].get("threshold", 0.5)}
    return float(scoring(record.data).weighted_scores(*arrays, np.ones((1, len(p.keys))), **settings)[0][metric][0])


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
    for (name, corpus), of_study in groupby(differing, key=lambda f: (f.study, f.corpus)):
        table = Table(title=f"{name} on {corpus} beside the records kept", title_justify="left")
        for head in ("arm", "seeds", "score", "kept", "now", "loss", "p (Holm)", "detectable", "verdict"):
            table.add_column(head, justify="left" if head in ("arm", "score", "verdict") else "right")
        for f in of_study:
            rows = [_row(loss) for loss in f.losses] or [(f.metric, *_numbers(f.before, f.now), "", "", "")]
            for number, row in enumerate(rows):
                label, count, verdict = ("", "", "") if number else (f.label, str(f.seeds), f.verdict)
                table.add_row(label, count, *row, verdict, style=None if f.sound else "bold")
        parts.append(table)
    notes: dict[str, list[str]] = {}
    for f in differing:
        notes.setdefault(f.note, []).append(f.label)
    parts += [f"{_list(labels)}: {note}." for note, labels in notes.items() if note]
    if any(f.losses for f in found):
        parts.append(
            f"One-sided, over trainings as the kept seeds vary; p by Holm: {1 - level:.0%} for any false alarm at all. "
            f"Detectable: the loss that is found with {POWER:.0%}; none where not even that of all skill is."
        )
    arms = [f.verdict for f in found if f.label != TOGETHER]
    unsaid = "".join(f", {arms.count(verdict)} {verdict}" for verdict in (NOT_TESTED, BLIND) if verdict in arms)
    return Group(*parts, f"{arms.count(IDENTICAL)} of {len(arms)} arms predict the same bit by bit{unsaid}.")


def _row(loss: Loss) -> tuple[str, ...]:
    told = "none" if loss.blind else f"{loss.detectable:.4f}"
    return (loss.metric, *_numbers(loss.before, loss.now, loss.loss, loss.p_value), told)


def _numbers(*values: float | None) -> list[str]:
    return ["" if value is None else f"{value:.4f}" for value in values]
