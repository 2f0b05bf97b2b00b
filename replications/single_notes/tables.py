"""The thesis' Table 2 beside ours, what a random split leaks, and where the notes that are missed lie."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from harness import corpora
from harness.corpora import Corpus
from harness.report import estimates, ties
from harness.report.arm_table import arm_table
from harness.report.estimates import METRIC_TITLES
from harness.report.resampling import units_of
from harness.report.tables import condition_table
from harness.report.writers import MINUS, UNDEFINED, Column, Table
from harness.studies.records import Predictions, Record
from harness.studies.study import Study

#: Test notes of the thesis (section 6).
THESIS_NOTES = 260
#: Conditions that differ from the thesis' in the split alone, and heads for them.
SPLITS = {"folds": "Folds", "by-pitch": "By pitch"}
#: From soft to loud.
DYNAMICS = ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")
REGISTERS = ("low", "middle", "high")


def tables(study: Study, records: Sequence[Record]) -> list[Table]:
    """Table 2, all arms, the three splits, registers and dynamics, the thesis' future work.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile.

    Returns
    -------
    list of Table
        Without those that need trials which are not there.
    """
    base = study.conditions[0].name
    shown = []
    if any(r.condition == base for r in records):
        shown += [table_2(study, records), arm_table(study, records), note_table(study, records)]
    if len({r.condition for r in records} & {base, *SPLITS}) > 1:
        shown.insert(1, split_table(study, records))
    others = [r for r in records if r.condition not in SPLITS]
    if _comparable(others, base):
        shown.append(condition_table(study, others, arms=("arm_title", "Arm"), networks=False))
    return shown


def table_2(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Table:
    """Test loss and test accuracy of the four set-ups (thesis, Table 2), ours beside the thesis'.

    Parameters
    ----------
    study
        Gives the set-ups and the printed values.
    records
        Any of the study's, of one corpus and profile; those under the thesis' condition count.
    replicates, level
        Of the bootstrap over seeds and pitches of an instrument together (`checks.units`).

    Returns
    -------
    Table
        One row per set-up and score.
    """
    base, about = study.conditions[0].name, study.tables["2"]
    records = [r for r in records if r.condition == base]
    printed = {(p["arm"], p["metric"]): p["value"] for p in study.published if p["table"] == "2"}
    metrics = list(dict.fromkeys(metric for _, metric in printed))
    ours = [r for r in records if (r.arm, metrics[0]) in printed]
    tied = ties.ties(study, ours, metrics, arms="set-ups", replicates=replicates, level=level)
    unit, units = units_of(study, records)
    drawn = {"units": units, "replicates": replicates, "level": level}
    rows = []
    for arm in (study.arm(name) for name in dict.fromkeys(name for name, _ in printed)):
        of_arm = estimates.select(records, arm.name, base)
        found = estimates.estimate(of_arm, "test", metrics, **drawn) if of_arm else {}
        for metric in metrics:
            row = {
                "arm": arm.name,
                "arm_title": arm.title,
                "parameters": arm.parameters,
                "parameters_title": f"{arm.parameters:,}",
                "optimiser_title": optimiser(study, arm.name),
                "metric": metric,
                "metric_title": METRIC_TITLES[metric],
                "published": printed[arm.name, metric],
                "seeds_of_arm": len(of_arm),
                "spread_title": UNDEFINED,
                **tied.columns(metric, arm.name),
            }
            if of_arm:
                deviation = _deviation([r.data["metrics"]["test"][metric] for r in of_arm])
                row |= {
                    "ours": found[metric].value,
                    "ours_low": found[metric].low,
                    "ours_high": found[metric].high,
                    "deviation": deviation,
                    "spread_title": f"{UNDEFINED if deviation is None else format(deviation, '.3f')} ({len(of_arm)})",
                    "chance": found[metric].chance,
                }
            rows.append({"condition": base} | row)
    origin = estimates.provenance(study, records, "test")
    caption = [
        f"In the thesis: {about['where']}; {origin.corpus} stands for its notes. {origin.sentence()}",
        f"Mean over the seeds; brackets: {estimates.interval_in_words(ours or records, unit, replicates, level)}. SD: "
        "standard deviation over the seeds.",
        *([tied.caption] if tied.caption else []),
        f"*: best set-up; °: {estimates.not_above_chance(metrics)}.",
        too_few_notes([value for (_, metric), value in printed.items() if metric == "accuracy"], level=level),
    ]
    if ours:
        caption.append(_one_trial(ours, unit, **drawn))
    scores = ("published", "ours", "ours_low", "ours_high", "deviation", "chance")
    columns = [*rows[0], *(name for name in scores if name not in rows[0])]
    frame = pd.DataFrame(rows).reindex(columns=list(dict.fromkeys(columns))).astype(dict.fromkeys(scores, float))
    return Table(
        name="table_2",
        title=f"Table 2: {about['title']}, ours beside the thesis'",
        caption=" ".join(caption),
        notes=f"Condition: {study.condition(base).title}.",
        frame=frame,
        columns=(
            Column("arm_title", "Set-up", "text"),
            Column("optimiser_title", "Optimiser", "text"),
            Column("parameters_title", "Parameters", "text"),
            Column("metric_title", "Score", "text"),
            Column("published", "Thesis", "published", 2),
            Column("ours", "Ours", "estimate"),
            *([ties.COLUMN] if tied.letters else []),
            Column("spread_title", "SD (seeds)", "text"),
            Column("chance", "Chance", "score"),
        ),
        group=("arm",),
        section="condition",
        provenance=origin,
    )


def optimiser(study: Study, arm: str) -> str:
    """How a set-up learns, in short.

    Parameters
    ----------
    study, arm
        The study, and the set-up by name.

    Returns
    -------
    str
        For instance ``"Nesterov, batch 30"``.
    """
    settings = {**study.protocol, **study.arm(arm).options}
    return f"{'Nesterov' if settings['nesterov'] else 'momentum'}, batch {settings['batch_size']}"


def too_few_notes(accuracies: Sequence[float], notes: int = THESIS_NOTES, *, level: float = 0.95) -> str:
    """Say whether so many test notes can tell the lowest accuracy from the highest.

    Parameters
    ----------
    accuracies
        As printed.
    notes
        Test notes that each was measured on.
    level
        Of the interval, which is Newcombe's (1998, method 10) for the difference of two shares: from Wilson's for each.

    Returns
    -------
    str
        One sentence. The interval takes the two for measured on different notes, as nothing is known of which notes
        each missed.
    """
    low, high = min(accuracies), max(accuracies)
    gap, (least, most) = high - low, newcombe(high, low, notes, level=level)
    verdict = "cannot tell" if least <= 0 else "can tell"
    numbers = f"{gap:.2f} apart, with a {level:.0%} interval from {least:+.2f} to {most:+.2f} (Newcombe)"
    return f"{notes} test notes {verdict} {low:.2f} from {high:.2f}: the two are {numbers}.".replace("-", MINUS)


def newcombe(first: float, second: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two shares, each of `n` cases.

    Parameters
    ----------
    first, second
        Shares; they are rounded to whole cases.
    n
        Cases of each.
    level
        Confidence.

    Returns
    -------
    tuple of float
        Lower and upper end of ``first - second``.
    """
    (a, a_low, a_high), (b, b_low, b_high) = (
        (k / n, *binomtest(k, n).proportion_ci(level, method="wilson")) for k in (round(first * n), round(second * n))
    )
    return a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def _one_trial(records: Sequence[Record], unit: str, **drawn: Any) -> str:
    """How sure the accuracy of one trial of ours is, as a mean over trials."""
    found = [estimates.estimate([r], "test", ["accuracy"], **drawn)["accuracy"] for r in records]
    reach = np.mean([(e.high - e.low) / 2 for e in found])
    notes = " or ".join(str(n) for n in sorted({r.data["split"]["sizes"]["test"] for r in records}))
    return (
        f"The accuracy of one trial of ours, on {notes} test notes, has an interval over {unit} of ±{reach:.3f} "
        "in the mean."
    )


def split_table(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Table:
    """Accuracy of every arm under the splits, and by how much the random one flatters it.

    Parameters
    ----------
    study
        Gives the arms and the conditions.
    records
        Any of the study's, of one corpus and profile.
    replicates, level
        Of the bootstrap over seeds and pitches of an instrument together (`checks.units`).

    Returns
    -------
    Table
        One row per arm; differences are the random split's accuracy minus the other's.
    """
    base, metric = study.conditions[0].name, study.metric
    found = {c.name for c in study.conditions} & {r.condition for r in records}
    others = [name for name in SPLITS if name in found]
    records = [r for r in records if r.condition in (base, *others)]
    unit, units = units_of(study, records)
    rows = []
    for arm in study.arms:
        of_arm = {name: estimates.select(records, arm.name, name) for name in (base, *others)}
        if not of_arm[base] or not any(of_arm[name] for name in others):
            continue
        row = {"arm": arm.name, "arm_title": arm.title, "metric": metric, "section": "all"}
        for name in (base, *others):
            score = estimates.mean_scores(of_arm[name], "test", [metric])[metric] if of_arm[name] else None
            row[f"score_{name}"] = score
        for name in others:
            gain = estimates.Estimate(None, None, None)
            if of_arm[name]:
                gains, _ = estimates.difference(
                    of_arm[base],
                    of_arm[name],
                    "test",
                    [metric],
                    units=units,
                    replicates=replicates,
                    level=level,
                )
                gain = gains[metric]
            row |= {f"leak_{name}": gain.value, f"leak_{name}_low": gain.low, f"leak_{name}_high": gain.high}
        rows.append(row)
    origin = estimates.provenance(study, records, "test")
    frame = pd.DataFrame(rows)
    compared = [r for r in records if r.arm in set(frame["arm"])]
    numbers = [name for name in frame if name.startswith(("score_", "leak_"))]
    known = "; ".join(f"{study.condition(name).title} {_known(records, name)}" for name in (base, *others))
    titles = {name: study.condition(name).title for name in (base, *others)}
    return Table(
        name="splits_test",
        title=f"{METRIC_TITLES[metric]} under each split, and what the random one leaks",
        caption=f"{origin.sentence()} Mean over the seeds, each of which draws its own split. Leaks: accuracy under "
        f"“{titles[base]}” minus that under the other split, seed by seed, with the "
        f"{estimates.interval_in_words(compared, unit, replicates, level)}; what is drawn counts alike in every test "
        "part that has it. °: the interval holds zero. Test notes of an instrument and pitch that are in the training "
        f"part, too: {known}.",
        notes=" ".join(f"“{titles[name]}”: {study.condition(name).note}" for name in (base, *others)),
        frame=frame.astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("arm_title", "Arm", "text"),
            Column(f"score_{base}", "Random", "score"),
            *(Column(f"score_{name}", SPLITS[name], "score") for name in others),
            *(
                Column(f"leak_{name}", f"Leaks (random {MINUS} {SPLITS[name].lower()})", "difference")
                for name in others
            ),
        ),
        group=("arm",),
        section="section",
        provenance=origin,
    )


def _known(records: Sequence[Record], condition: str) -> str:
    """Share of test notes whose group is in the training part, mean over the trials under a condition."""
    splits = [r.data["split"] for r in records if r.condition == condition]
    return f"{np.mean([s['leakage']['clips_in_shared_groups']['train-test'] / s['sizes']['test'] for s in splits]):.0%}"


def note_table(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Table:
    """Accuracy by pitch register and by dynamic, of the best set-up and the best reference.

    Parameters
    ----------
    study
        Gives the arms.
    records
        Any of the study's, of one corpus and profile; those under the thesis' condition count.
    replicates, level
        As for `table_2`.

    Returns
    -------
    Table
        One row per register and dynamic.
    """
    base = study.conditions[0].name
    records = [r for r in records if r.condition == base]
    corpus = corpora.load(records[0].data["corpus"])
    arms = best_of_each_kind(study, records)
    unit, units = units_of(study, records)
    drawn = {"units": units, "replicates": replicates, "level": level}
    rows = []
    for kind, values in (("register", registers(corpus)), ("dynamic", corpus.clips["dynamic"])):
        value_of = dict(zip(corpus.clips["key"], values, strict=True))
        order = REGISTERS if kind == "register" else [d for d in DYNAMICS if d in set(values)]
        for value in (*order, *sorted(set(values) - set(order))):
            row: dict[str, Any] = {"kind": kind, "value": value, "metric": "accuracy"}
            wanted = frozenset(key for key, theirs in value_of.items() if theirs == value)
            for name in arms:
                row |= _accuracy(name, estimates.select(records, name, base), wanted, drawn)
            if "notes" in row:
                rows.append(row)
    shown = [r for r in records if r.arm in arms]
    origin = estimates.provenance(study, shown, "test")
    frame = pd.DataFrame(rows)
    numbers = [name for name in frame if name.startswith("ours_")]
    return Table(
        name="notes_test",
        title="Accuracy by register and by dynamic",
        caption=f"{origin.sentence()} Of the best set-up and the best reference on the validation part. Register: "
        "thirds of the pitches that the corpus has of each instrument. Dynamic: as the file says. Mean over the "
        f"seeds that tested such notes, with the {estimates.interval_in_words(shown, unit, replicates, level)}. Notes: "
        "of all seeds. *: highest of its kind; °: not above chance, to name the most frequent instrument of the row "
        "every time.",
        notes="",
        frame=frame.astype(dict.fromkeys(numbers, float)).astype({"notes": str}),
        columns=(
            Column("kind", "By", "text"),
            Column("value", "", "text"),
            Column("notes", "Notes", "text"),
            *(Column(f"ours_{name}", study.arm(name).title, "estimate") for name in arms),
            Column("chance", "Chance", "score"),
        ),
        group=("kind",),
        section="kind",
        provenance=origin,
    )


def best_of_each_kind(study: Study, records: Sequence[Record]) -> list[str]:
    """The best network and the best reference on the validation part.

    Parameters
    ----------
    study
        Gives the arms.
    records
        Of one condition.

    Returns
    -------
    list of str
        Names of arms: of those that are trained in epochs, and of those that are not; one or both.
    """
    scores: dict[bool, tuple[float, str]] = {}
    for arm in study.arms:
        of_arm = [r for r in records if r.arm == arm.name]
        if of_arm:
            score = float(np.mean([r.data["metrics"]["valid"][study.metric] for r in of_arm]))
            kind = bool(arm.parameters)
            if kind not in scores or score > scores[kind][0]:
                scores[kind] = (score, arm.name)
    return [scores[kind][1] for kind in (True, False) if kind in scores]


def registers(corpus: Corpus) -> list[str]:
    """Whether each note is in the low, the middle or the high third of its instrument's pitches.

    Parameters
    ----------
    corpus
        Of single notes: ``clips`` has ``pitch``, labels are one per note.

    Returns
    -------
    list of str
        Out of `REGISTERS`; of pitches that do not divide by three the lower registers have one more.
    """
    instrument, pitch = corpus.labels.argmax(axis=1), corpus.clips["pitch"].to_numpy(dtype=int)
    register: dict[tuple[int, int], str] = {}
    for number in np.unique(instrument):
        for name, some in zip(REGISTERS, np.array_split(np.unique(pitch[instrument == number]), 3), strict=True):
            register |= {(int(number), int(key)): name for key in some}
    return [register[int(number), int(key)] for number, key in zip(instrument, pitch, strict=True)]


@dataclass(frozen=True)
class _OfNotes(Record):
    """A trial scored on some notes."""

    notes: frozenset[str] = frozenset()

    def predictions(self, part: str) -> Predictions:
        """Predictions on those of the part."""
        p = super().predictions(part)
        chosen = np.array([key in self.notes for key in p.keys.tolist()], bool)
        return Predictions(*(getattr(p, name)[chosen] for name in vars(p)))


def _accuracy(
    name: str, records: Sequence[Record], notes: frozenset[str], drawn: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Of an arm, on some notes; nothing where no trial tested them."""
    some = [_OfNotes(r.folder, r.data, notes) for r in records]
    tested = {r.seed: r.predictions("test").keys for r in some}
    some = [r for r in some if len(tested[r.seed])]
    if not some:
        return {}
    found = estimates.estimate(some, "test", ["accuracy"], **drawn)["accuracy"]
    return {
        "notes": len(np.unique(np.concatenate(list(tested.values())))),
        "chance": found.chance,
        f"ours_{name}": found.value,
        f"ours_{name}_low": found.low,
        f"ours_{name}_high": found.high,
    }


def _deviation(values: Sequence[float | None]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 and None not in values else None


def _comparable(records: Sequence[Record], base: str) -> bool:
    """Whether an arm has trials under the thesis' condition and under another."""
    thesis = {r.arm for r in records if r.condition == base}
    return any(r.condition != base and r.arm in thesis for r in records)
