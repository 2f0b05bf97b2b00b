"""The guard against regressions: trials run again, clip by clip beside those kept with the results.

Where packages and machine are the same, predictions must be the same bit by bit, and any other is a change that wants
a reason. Elsewhere rounding differs, and training makes anything from that to another seed's network out of it. There
it is tested whether the study, a class in all arms, an arm, or a class of an arm fell or rose by more than another
training would (`harness.analysis.score_drop`, which has the statistic, its nulls and the measured rates); a clean run
raises any alarm at all with the stated probability only. No tolerance is set by hand, and the table says what would
have been seen: the share of clips that had to be mixed up. An arm whose clips could all be mixed up unseen is called
blind; where one seed is kept of every arm, nothing is known of training and nothing is tested. Neither is an alarm,
and the last line says how many there are.

What became better and lost nothing is no regression: it has a verdict and an exit code of its own.

What does not depend on rounding is compared everywhere: settings, front ends, clips and their labels, and the metrics,
which today's code computes again from the predictions that are kept.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.table import Table

from harness.analysis import score_drop
from harness.analysis.score_drop import ARM, CELL, CLASS, LABELLED, LEVEL, POWER, STUDY, Drop, Kept
from harness.errors import RepriseError
from harness.metrics import weighted
from harness.storage import data_root
from harness.studies import executor, kept, records
from harness.studies.comparability import other_environment, other_settings, same_clips
from harness.studies.records import Predictions, Record
from harness.studies.study import Study

IDENTICAL, NO_LOSS = "identical", "no loss found"
BLIND, NOT_TESTED = "blind", "not tested"
ONE_SEED = "one seed is kept, so nothing is known of training"
APART = "no other kept network is there to compare it with"
BETTER = "changed: better"
CHANGED, FELL, OTHER, NOT_RUN, METRIC = "changed", "fell", "other settings", "not run", "metric"
#: What stands for all arms of a study.
TOGETHER = "all arms together"
#: Exit codes: nothing changed that a clean run would not change; something to mend; better, and nothing worse.
SAME, WORSE, IMPROVED = 0, 1, 3
#: How often predictions are dealt out among the clips to see what no skill scores.
DEALS = 10
#: A trial that is kept, and the same by today's code.
Pair = tuple[Record, Record]


@dataclass(frozen=True)
class Finding:
    """What became of an arm under a condition, of all arms together, or of a class in all arms.

    Parameters
    ----------
    label
        The arm and its condition, `TOGETHER`, or the class.
    seeds
        How many seeds were compared.
    verdict
        ``"identical"`` or ``"no loss found"``; or ``"changed"`` (where the environment is the same), ``"fell"``,
        ``"changed: better"``, ``"other settings"``, ``"not run"``, ``"metric"`` (one comes out otherwise than
        recorded); or ``"not tested"`` or, after `judge`, ``"blind"`` (all clips could be mixed up unseen), which say
        nothing either way.
    note
        What differs.
    metric
        The main score.
    before, now
        Mean of it over these seeds; None where not computed.
    room
        How much of it is lost if all clips are mixed up.
    drops
        What was tested: of an arm, the arm and each of its classes.
    level
        `harness.analysis.score_drop.ARM`, `STUDY` or `CLASS`.
    classes
        Names of the classes, as numbered by `drops`.
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
    room: float | None = None
    drops: tuple[Drop, ...] = ()
    level: str = ARM
    classes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether there is nothing to accept or mend."""
        return self.verdict in (IDENTICAL, NO_LOSS, BLIND, NOT_TESTED)

    @property
    def whole(self) -> list[Drop]:
        """The tests of it as a whole, without its classes."""
        return [drop for drop in self.drops if drop.level == self.level]


def baselines(study: Study, results: Path, conditions: Sequence[str] = ()) -> dict[Path, list[Record]]:
    """Trials of the pocket profile on pocket corpora that are kept with the results.

    Parameters
    ----------
    results
        Folder of all results.
    conditions
        Only trials under these; default: all.

    Returns
    -------
    dict of Path to list of Record
        By the folder of the results; none is verified.
    """
    found = {folder: records.find_records(folder / records.KEPT) for folder in kept.folders(study.name, results)}
    pocket = {
        folder: [r for r in of_folder if not conditions or r.condition in conditions]
        for folder, of_folder in found.items()
        if of_folder[0].data["profile"] == "pocket" and of_folder[0].data["corpus"].startswith("pocket-")
    }
    return {folder: of_folder for folder, of_folder in pocket.items() if of_folder}


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
    baseline
        Of one corpus.
    runs
        Folder of the trials, as `harness.studies.executor.plan` has it.
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
        raise RepriseError(f"{study.name} has none of the arms or conditions kept; make a baseline with `reprise keep`")
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
    baseline
        Kept trials of one corpus; their files are checked first. All tell how far trainings lie apart.
    now
        The same trials by today's code; seeds that are left out are not compared.
    part
        Whose scores are tested; predictions on all parts must be the same.

    Returns
    -------
    list of Finding
        One for each arm and condition of the baseline; and where predictions differ, one for all arms together and one
        for each class. Give all to `judge`.

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
        first = old[label][0].data
        blank = Finding(study.name, first["corpus"], label, len(pairs[label]), NOT_RUN, metric=study.metric)
        found.append(_look(blank, pairs[label], part) if pairs[label] else blank)
    differing = {f.label: pairs[f.label] for f in found if f.verdict != NOT_RUN and _comparable(pairs[f.label])}
    if not differing:
        return found
    classes = tuple(old[next(iter(differing))][0].data["classes"])
    same = {label: of_label for label, of_label in old.items() if tuple(of_label[0].data["classes"]) == classes}
    known = Kept({(label, r.seed): r.predictions(part) for label, of_label in same.items() for r in of_label})
    again = {(label, r.seed): r.predictions(part) for label in differing if label in same for _, r in differing[label]}
    drops: dict[tuple[str, str], list[Drop]] = {}
    for drop in known.tests(again):
        name = classes[drop.name] if drop.level == CLASS else TOGETHER if drop.level == STUDY else drop.arm
        drops.setdefault((ARM if drop.level == CELL else drop.level, name), []).append(drop)
    why = APART if known.known else ONE_SEED
    found = [
        replace(f, verdict=NOT_TESTED, note=f"{f.note}; {why}")
        if f.verdict == NO_LOSS and (ARM, f.label) not in drops
        else replace(f, drops=tuple(drops.get((ARM, f.label), ())), classes=classes)
        for f in found
    ]
    tested = [f for f in found if f.drops]
    for (level, name), of_name in drops.items():
        if level != ARM:
            more = Finding(study.name, found[0].corpus, name, max(f.seeds for f in tested), NO_LOSS, level=level)
            if level == STUDY:
                means = {n: float(np.mean([getattr(f, n) for f in tested])) for n in ("before", "now", "room")}
                more = replace(more, metric=study.metric, **means)
            found.append(replace(more, drops=tuple(of_name), classes=classes))
    return found


def expected(study: Study, baseline: Sequence[Record], now: Sequence[Record]) -> list[Record]:
    """Kept trials that finished ones can be held against: what runs by default, and whatever was run on request.

    Parameters
    ----------
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
    floor = (
        float(np.mean([_without_skill(old, blank.metric, part) for old, _ in pairs])) if verdict != IDENTICAL else now
    )
    note = "; ".join(filter(None, notes))
    return replace(blank, verdict=verdict, note=note, before=before, now=now, room=abs(before - floor))


def _comparable(pairs: Sequence[Pair]) -> bool:
    """Whether the clips are the same and the predictions are not."""
    return all(same_clips(*pair) for pair in pairs) and not all(kept.same_predictions(*pair) for pair in pairs)


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
        With corrected p values, and what would have been seen.
    """
    places: dict[tuple[str, str], list[tuple[int, Drop]]] = {}
    for number, f in enumerate(found):
        places.setdefault((f.study, f.corpus), []).extend((number, drop) for drop in f.drops)
    tested = [of_study for of_study in places.values() if of_study]
    judged: dict[int, list[Drop]] = {}
    after = score_drop.judge([[drop for _, drop in of_study] for of_study in tested], level=level)
    for of_study, drops in zip(tested, after, strict=True):
        for (number, _), drop in zip(of_study, drops, strict=True):
            judged.setdefault(number, []).append(drop)
    return [_judged(f, judged[n], level) if n in judged else f for n, f in enumerate(found)]


def _judged(finding: Finding, drops: Sequence[Drop], level: float) -> Finding:
    finding = replace(finding, drops=tuple(drops))
    fell = [drop for drop in drops if drop.fall < 1 - level]
    rose = [drop for drop in drops if drop.rise < 1 - level]
    # Networks that became better agree less with the kept ones: that alone is no fall.
    if rose and not any(drop.score in LABELLED for drop in fell):
        fell = []
    verdict, told = finding.verdict, [_told(drop, "fall", finding.classes) for drop in fell]
    told = told or [_told(drop, "rise", finding.classes) for drop in rose]
    if verdict != METRIC and (fell or rose):
        verdict = FELL if fell else BETTER
    elif verdict == NO_LOSS and min(drop.seen for drop in finding.whole) >= 1:
        verdict = BLIND
    notes = [finding.note, f"{_list(told, 2)}" if told else ""]
    return replace(finding, verdict=verdict, note="; ".join(filter(None, notes)))


def _told(drop: Drop, tail: str, classes: Sequence[str]) -> str:
    """A finding of a test in words."""
    of = f" of class {classes[drop.name]!r}" if drop.level == CELL else ""
    how = (
        f"fell as if {_share(drop)} of the clips were mixed up"
        if tail == "fall"
        else f"rose by {_share(drop)} of itself"
    )
    return f"{drop.score}{of} {how} (p {max(getattr(drop, tail), 0.001):.3f})"


def _share(drop: Drop) -> str:
    return f"{abs(drop.change / drop.mixed):.0%}" if drop.mixed else "all"


def exit_code(found: Sequence[Finding]) -> int:
    """What a run of the guard ends with.

    Parameters
    ----------
    found
        As `judge` gives them.

    Returns
    -------
    int
        `SAME` where nothing changed that a clean run would not change, `IMPROVED` where something became better and
        all else that changed lost nothing that was found, `WORSE` otherwise.
    """
    verdicts = {f.verdict for f in found if not f.sound}
    if not verdicts:
        return SAME
    return IMPROVED if BETTER in verdicts and verdicts <= {BETTER, CHANGED} else WORSE


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
    task, mask = record.data.get("task", "multilabel"), np.asarray(p.mask, bool)
    arrays = np.asarray(p.labels, bool) & mask, np.asarray(p.probabilities, float), mask
    threshold = record.data["protocol"].get("threshold", 0.5)
    averages, _ = weighted(task, *arrays, np.ones((1, len(p.keys))), metrics=[metric], threshold=threshold)
    return float(averages[metric][0])


def _list(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def shown(found: Sequence[Finding], *, level: float = LEVEL) -> Group:
    """For the terminal: what is not as it was, what would have been seen, and what would not.

    Parameters
    ----------
    found
        As `judge` gives them.
    level
        As there.

    Returns
    -------
    rich.console.Group
        For each study a row for each arm and condition that does not predict the same bits and for each class that
        fell or rose, why below, and what could be lost unseen; last how many arms predict the same.
    """
    parts: list[Table | str] = []
    differing = [f for f in found if f.verdict != IDENTICAL or f.note]
    for (name, corpus), of_study in groupby(differing, key=lambda f: (f.study, f.corpus)):
        rows = list(of_study)
        table = Table(title=f"{name} on {corpus} beside the records kept", title_justify="left")
        for head in ("", "seeds", "score", "kept", "now", "seen from", "verdict"):
            table.add_column(head, justify="left" if head in ("", "score", "verdict") else "right")
        for f in rows:
            if f.level != CLASS or not f.sound:
                label = f"class {f.label}, all arms" if f.level == CLASS else f.label
                numbers = ("" if value is None else f"{value:.4f}" for value in (f.before, f.now))
                table.add_row(
                    label, str(f.seeds), f.metric, *numbers, _seen(f), f.verdict, style=None if f.sound else "bold"
                )
        parts.append(table)
        notes: dict[str, list[str]] = {}
        for f in rows:
            notes.setdefault(f.note, []).append(f.label)
        parts += [f"{_list(labels)}: {note}." for note, labels in notes.items() if note]
        parts += limits(rows)
    if any(f.drops for f in found):
        parts.append(
            "A clean run, as far off as another seed or by rounding, raises any alarm with probability "
            f"{1 - level:.0%} at most. Seen from: the share of clips that, given each other's predictions, are found "
            f"with {POWER:.0%}, and the points of the score that this costs, in a re-run as near to the kept one as "
            "this."
        )
    arms = [f.verdict for f in found if f.level == ARM]
    unsaid = "".join(f", {arms.count(verdict)} {verdict}" for verdict in (NOT_TESTED, BLIND) if verdict in arms)
    return Group(*parts, f"{arms.count(IDENTICAL)} of {len(arms)} arms predict the same bit by bit{unsaid}.")


def _least(drops: Sequence[Drop]) -> float:
    return min((drop.seen for drop in drops), default=np.inf)


def _seen(f: Finding) -> str:
    """The least share of clips that is seen, and what it costs."""
    if not f.drops:
        return ""
    if (share := _least(f.whole)) >= 1:
        return "never"
    points = f" ({share * f.room:.4f})" if f.room is not None else ""
    return f"{share:.1%}{points}"


def limits(found: Sequence[Finding]) -> list[str]:
    """What the guard is blind to on one study, in sentences.

    Parameters
    ----------
    found
        Findings of the study, as `judge` gives them.

    Returns
    -------
    list of str
        None where nothing was tested.
    """
    said = []
    if classes := [_least(f.whole) for f in found if f.level == CLASS]:
        hidden = sum(share >= 1 for share in classes)
        unseen = f"; {hidden} of {len(classes)} classes could be mixed up in all arms unseen" if hidden else ""
        said.append(f"A class in all arms is seen to be mixed up from {_range(classes)} of its clips on{unseen}.")
    cells = [
        _least([d for d in f.drops if d.name == n])
        for f in found
        for n in {d.name for d in f.drops}
        if n >= 0 and f.level == ARM
    ]
    if cells:
        hidden = sum(share >= 1 for share in cells)
        said.append(f"A class of one arm alone could be mixed up altogether unseen in {hidden} of {len(cells)} cases.")
    if blind := [f.label for f in found if f.level == ARM and f.drops and _least(f.whole) >= 1]:
        said.append(f"All clips of one arm alone could be mixed up unseen in: {_list(blind, 20)}.")
    if said:
        said.append(
            "Not seen at all: what the kept predictions have wrong as well, what moves the validation part alone, "
            "what a trial measures beside its predictions, and time."
        )
    return said


def _range(shares: Sequence[float]) -> str:
    """The lowest and the highest share below 1."""
    seen = [share for share in shares if share < 1]
    if not seen:
        return "no share"
    low, high = (f"{share:.0%}" for share in (min(seen), max(seen)))
    return low if low == high else f"{low} to {high}"
