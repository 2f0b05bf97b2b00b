"""The thesis' Table 2 beside ours, what a random split leaks, and where the notes that are missed lie."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from harness.analysis.study import CONDITIONS, Analysis
from harness.metrics import METRICS
from harness.report.tables import (
    about,
    arm_table,
    arm_title,
    averages,
    best_arms,
    condition_table,
    differences,
    doubtful_in_words,
    interval_in_words,
    numbers,
    origin,
    pivot,
    score_table,
    tied_in_words,
)
from harness.report.writers import MINUS, Column, Table
from harness.studies.records import Predictions
from replications.single_notes.clips import REGISTERS

#: Test notes of the thesis (section 6).
THESIS_NOTES = 260
#: Conditions that differ from the thesis' in the split alone, and heads for them.
SPLITS = {"by-pitch": "By pitch", "folds": "Folds"}
#: From soft to loud.
DYNAMICS = ("ppp", "pp", "p", "mp", "mf", "f", "ff", "fff")


def tables(analysis: Analysis) -> list[Table]:
    """Table 2, the splits, all arms, registers and dynamics, the thesis' future work: what there are trials of."""
    shown, changed = [], set(_of_conditions(analysis)["condition"])
    if any(analysis.select(row["arm"]) for row in analysis.study.published):
        shown.append(table_2(analysis))
    if changed & set(SPLITS):
        shown.append(split_table(analysis))
    if best_arms(analysis):
        shown.append(arm_table(analysis))
        if analysis.clips is not None:
            shown.append(note_table(analysis))
    if others := changed - set(SPLITS):
        shown.append(condition_table(analysis, conditions=list(others)))
    return shown


def table_2(analysis: Analysis) -> Table:
    """Test loss and test accuracy of the four set-ups, ours beside the thesis'; a row for each score."""
    study = analysis.study
    table = score_table(analysis, "2", conditions=[analysis.base])
    title, *others = (replace(c, digits=2) if c.kind == "published" else c for c in table.columns)
    printed = [row["value"] for row in study.published if row["metric"] == "accuracy"]
    settings = [{**study.protocol, **study.arm(arm).options} for arm in table.frame["arm"]]
    optimisers = [f"{'Nesterov' if s['nesterov'] else 'momentum'}, batch {s['batch_size']}" for s in settings]
    return replace(
        table,
        frame=table.frame.assign(optimiser=optimisers),
        columns=(title, Column("optimiser", "Optimiser", "text"), *others),
        caption=f"{table.caption} {too_few_notes(printed, level=analysis.level)}",
    )


def too_few_notes(accuracies: Sequence[float], notes: int = THESIS_NOTES, *, level: float = 0.95) -> str:
    """Say whether so many test notes can tell the lowest accuracy from the highest.

    The interval is Newcombe's for the difference of two shares. It takes the two for measured on different notes, as
    nothing is known of which notes each missed.
    """
    low, high = min(accuracies), max(accuracies)
    least, most = newcombe(high, low, notes, level=level)
    verdict = "cannot tell" if least <= 0 else "can tell"
    numbers = f"{high - low:.2f} apart, with a {level:.0%} interval from {least:+.2f} to {most:+.2f} (Newcombe)"
    return f"{notes} test notes {verdict} {low:.2f} from {high:.2f}: the two are {numbers}.".replace("-", MINUS)


def newcombe(first: float, second: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Newcombe's (1998, method 10) interval of the difference of two shares of `n` cases, from Wilson's for each."""
    (a, a_low, a_high), (b, b_low, b_high) = (
        (k / n, *binomtest(k, n).proportion_ci(level, method="wilson")) for k in (round(first * n), round(second * n))
    )
    return a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def split_table(analysis: Analysis) -> Table:
    """Accuracy of every arm under the splits, and by how much the random one flatters it: random minus the other."""
    study, metric = analysis.study, analysis.study.metric
    found = _of_conditions(analysis)
    found = found[(found["metric"] == metric) & found["condition"].isin(SPLITS)]
    turned = found.assign(difference=-found["difference"])
    for low, high in (("low", "high"), ("low_adjusted", "high_adjusted")):
        turned[low], turned[high] = -found[high], -found[low]
    others = list(dict.fromkeys(found["condition"]))
    means = averages(analysis, metrics=[metric])
    means = means[means["condition"].isin([analysis.base, *others]) & means["arm"].isin(found["arm"])]
    scores = pivot(means, "arm", "condition", "mean").add_prefix("score_")
    leaks = pivot(turned.assign(cell=differences(turned)), "arm", "condition", "cell").add_prefix("leak_")
    frame = scores.merge(leaks, left_on="score_arm", right_on="leak_arm").rename(columns={"score_arm": "arm"})
    frame["title"] = [arm_title(study, arm) for arm in frame["arm"]]
    titles = {name: study.condition(name).title for name in (analysis.base, *others)}
    shown = [r for r in analysis.records if r.condition in titles and r.arm in set(found["arm"])]
    interval = "simultaneous interval" if analysis.family.tested else interval_in_words(analysis, shown)
    known = "; ".join(f"{title} {_known(analysis, name)}" for name, title in titles.items())
    return Table(
        name="splits_test",
        title=f"{METRICS[metric].title} under each split, and what the random one leaks",
        frame=frame.drop(columns="leak_arm"),
        columns=(
            Column("title", study.arm_title, "text"),
            Column(f"score_{analysis.base}", "Random", "score"),
            *(Column(f"score_{name}", SPLITS[name], "score") for name in others),
            *(Column(f"leak_{c}", f"Leaks (random {MINUS} {SPLITS[c].lower()})", "difference") for c in others),
        ),
        group=("arm",),
        caption=f"{origin(analysis, shown)} Mean over the seeds, each of which draws its own split. Leaks: accuracy "
        f"under “{titles[analysis.base]}” minus that under the other split, with the {interval}. °: nothing "
        f"is decided. {tied_in_words(analysis)} Test notes of an instrument and pitch that are in the training part, "
        f"too: {known}.",
        notes=" ".join(f"“{title}”: {study.condition(name).note}" for name, title in titles.items()),
        about=about(analysis, shown),
    )


def note_table(analysis: Analysis) -> Table:
    """Accuracy by pitch register and by dynamic, of the best set-up and of the references."""
    arms, rows = list(best_arms(analysis).values()), []
    records = [r for arm in arms for r in analysis.select(arm)]
    for kind, order in (("register", REGISTERS), ("dynamic", DYNAMICS)):
        of_value = {value: of["key"].to_numpy(str) for value, of in analysis.clips.groupby(kind)}
        for value in sorted(of_value, key=lambda v: (order.index(v) if v in order else len(order), v)):
            tested = {r.folder: _some(analysis.predictions(r, "test"), of_value[value]).keys for r in records}
            some = [r for r in records if len(tested[r.folder])]
            if some:
                found = analysis.estimate(some, transform=partial(_some, keys=of_value[value]))
                notes = len(np.unique(np.concatenate(list(tested.values()))))
                row = {"kind": kind, "value": value, "notes": notes, "chance": found["chance"].mean()}
                rows.append(row | dict(zip("ours_" + found["arm"], numbers(found), strict=True)))
    return Table(
        name="notes_test",
        title="Accuracy by register and by dynamic",
        frame=pd.DataFrame(rows),
        columns=(
            Column("kind", "By", "text"),
            Column("value", "", "text"),
            Column("notes", "Notes", "text"),
            *(Column(f"ours_{arm}", arm_title(analysis.study, arm), "estimate") for arm in arms),
            Column("chance", "Chance", "score"),
        ),
        group=("kind",),
        section="kind",
        caption=f"{origin(analysis, records)} Of the set-up that is best on the validation part, and of the "
        "references. Register: thirds of the pitches that the corpus has of each instrument. Dynamic: as the file "
        f"says. Mean over the seeds that tested such notes, with the {interval_in_words(analysis, records)}. Notes: of "
        f"all seeds. {doubtful_in_words([analysis.study.metric])}",
        about=about(analysis, records),
    )


def _some(p: Predictions, keys: np.ndarray) -> Predictions:
    """Predictions on those of the clips that are among the keys."""
    chosen = np.isin(p.keys.astype(str), keys)
    return Predictions(*(array[chosen] for array in vars(p).values()))


def _of_conditions(analysis: Analysis) -> pd.DataFrame:
    """Contrasts of conditions with the thesis', with the condition and the arm in columns."""
    found = analysis.contrasts
    found = found[found["kind"] == CONDITIONS]
    return found.assign(condition=[above.rpartition("@")[2] for above in found["above"]], arm=found["below"])


def _known(analysis: Analysis, condition: str) -> str:
    """Share of test notes whose group is in the training part, mean over the trials under a condition."""
    splits = [r.data["split"] for r in analysis.records if r.condition == condition]
    return f"{np.mean([s['leakage']['clips_in_shared_groups']['train-test'] / s['sizes']['test'] for s in splits]):.0%}"
