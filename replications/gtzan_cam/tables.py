"""The write-up's result line beside ours, what a random split of segments leaks, kernels, and what nets were asked."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.analysis.study import CONDITIONS, Analysis
from harness.report.tables import (
    about,
    averages,
    differences,
    doubtful_in_words,
    interval_in_words,
    numbers,
    origin,
    pivot,
    tied_in_words,
)
from harness.report.writers import MINUS, Column, Number, Table
from harness.studies.records import Record
from harness.studies.study import Arm
from replications.gtzan_cam.interpretability import interpretability_table
from replications.gtzan_cam.trials import (
    PARTS,
    by_unit,
    conditions,
    is_released,
    kernel_arms,
    kernel_pairs,
    kernel_title,
    nets,
    segments_per_track,
    shared_groups,
    training_accuracies,
    trials_of,
)


def tables(analysis: Analysis) -> list[Table]:
    """The result line, the leak, the kernels, the nets as released, and interpretability, as far as there are trials.

    Parameters
    ----------
    analysis
        Of the study's trials on one corpus under one profile.
    """
    found = [result_table(analysis), protocol_table(analysis)] if nets(analysis) else []
    found += [kernel_table(analysis)] if len(kernel_arms(analysis)) > 1 else []
    found += [released_table(analysis)] if any(map(is_released, analysis.records)) else []
    measured = interpretability_table(analysis)
    return found + ([measured] if measured is not None else [])


def result_table(analysis: Analysis) -> Table:
    """Training, validation and test accuracy of the nets (study 002, Results), ours beside the write-up's."""
    return _line(
        analysis,
        nets(analysis),
        conditions(analysis),
        "results",
        "The write-up's result line beside ours: accuracy on segments",
        "The write-up's validation and test accuracies are whole numbers of 960ths, so that it counted segments.",
    )


def released_table(analysis: Analysis) -> Table:
    """The nets as the authors' code has them, beside the write-up's line."""
    records = [r for r in analysis.records if is_released(r)]
    arms = [a for a in analysis.study.arms if a.name in {r.arm for r in records}]
    names = list(dict.fromkeys(r.condition for r in records))
    return _line(analysis, arms, names, "results_released", "The nets as the authors' code has them", "")


def _line(analysis: Analysis, arms: Sequence[Arm], names: Sequence[str], name: str, title: str, remark: str) -> Table:
    """A row per net and part of the result line, an estimate per condition."""
    study, metric = analysis.study, analysis.study.metric
    of_arms = [arm.name for arm in arms]
    records = trials_of(analysis, of_arms, names)
    found = analysis.estimates
    found = found[(found["metric"] == metric) & (found["class"] == "")]
    found = found[found["condition"].isin(names) & found["arm"].isin(of_arms)]
    found = found.assign(cell=numbers(found))[["condition", "arm", "part", "cell", "sd"]]
    training = []
    for condition, arm in dict.fromkeys((r.condition, r.arm) for r in records):
        values = training_accuracies(analysis.select(arm, condition))
        sd = np.std(values, ddof=1) if len(values) > 1 else np.nan
        training.append((condition, arm, "train", Number(np.mean(values) if values else np.nan), sd))
    found = pd.concat([found, pd.DataFrame(training, columns=found.columns)])
    printed = {(p["arm"], p["split"]): p["value"] for p in study.published if p["metric"] == metric}
    letters = {condition: analysis.letters(condition=condition) for condition in names}
    rows = [
        {
            "arm": arm.name,
            "title": arm.title,
            "part_of_line": part,
            "accuracy": words,
            "metric": metric,
            "published": printed.get((arm.name.removeprefix("released_"), part), np.nan),
            "tied": _in_one(letters, arm.name) if part == "test" else "",
        }
        for arm in arms
        for part, words in PARTS.items()
    ]
    found, keys = found.rename(columns={"part": "part_of_line"}), ["arm", "part_of_line"]
    cells = pivot(found.assign(condition="ours_" + found["condition"]), keys, "condition", "cell")
    spreads = pivot(found.assign(condition="sd_" + found["condition"]), keys, "condition", "sd")
    frame = pd.DataFrame(rows).merge(cells, "left", keys).merge(spreads, "left", keys)
    titles = {condition: study.condition(condition).title for condition in names}
    tied = frame["tied"].any()
    caption = [
        origin(analysis, records),
        f"Mean over the seeds, in brackets the {interval_in_words(analysis, records)}. A track is drawn with all its "
        f"segments. SD: standard deviation over the seeds, {titles[names[0]]}. Training accuracy: mean over the "
        "epochs, of the batches as they came.",
        remark,
        doubtful_in_words([metric]),
        _letters_in_words(analysis, names) if tied else "",
    ]
    return Table(
        name=name,
        title=title,
        frame=frame,
        columns=(
            Column("title", "Net", "text"),
            Column("accuracy", "Accuracy", "text"),
            Column("published", "Write-up", "published"),
            *(Column(f"ours_{condition}", f"Ours: {titles[condition]}", "estimate") for condition in names),
            *([Column("tied", "Tied", "text")] if tied else []),
            Column(f"sd_{names[0]}", "SD", "score"),
        ),
        group=("arm",),
        section="part_of_line",
        caption=" ".join(filter(None, caption)),
        notes=_notes(analysis, names),
        best="best net of its part and column",
        about=_about(analysis, records),
    )


def protocol_table(analysis: Analysis) -> Table:
    """Test accuracy of segments and of tracks under each protocol, and what the random split of segments leaks."""
    study, metric = analysis.study, analysis.study.metric
    names, arms = conditions(analysis), [arm.name for arm in nets(analysis)]
    records = trials_of(analysis, arms, names)
    found = by_unit(analysis, records)
    found = found.assign(cell=numbers(found), ours="ours_" + found["condition"])
    letters = {condition: analysis.letters(condition=condition) for condition in names}
    rows = [
        {"arm": arm, "title": study.arm(arm).title, "unit": unit, "metric": metric}
        | {"tied": _in_one(letters, arm) if unit == "segments" else ""}
        for arm in arms
        for unit in ("segments", "tracks")
    ]
    frame = pd.DataFrame(rows).merge(pivot(found, ["arm", "unit"], "ours", "cell"), "left", ["arm", "unit"])
    leaks = _leaks(analysis, arms)
    if len(leaks):
        frame = frame.merge(leaks, "left", ["arm", "unit"])
    titles = {condition: study.condition(condition).title for condition in names}
    per_track = ", ".join(f"{titles[c]} {segments_per_track(analysis, c):.1f}" for c in names)
    tied = frame["tied"].any()
    caption = [
        origin(analysis, records),
        f"Mean over the seeds, in brackets the {interval_in_words(analysis, records)}. Tracks: mean of the "
        f"probabilities of their segments in the test part, which are on average: {per_track}.",
        doubtful_in_words([metric]),
    ]
    if len(leaks):
        known = ", ".join(f"{titles[c]} {shared_groups(analysis, c):.0%}" for c in names)
        caption.append(
            f"Leak: accuracy on segments under “{titles[analysis.base]}” minus that under the other, with the interval "
            "that decides; °: nothing is decided. The test parts differ. Part of this difference may be no leak: "
            "segments drawn one by one are of nearly all tracks, so that as many of them are more different music to "
            "learn from. "
            f"Test segments of an artist, or where none is known of a track, that is trained on, too: {known}."
        )
    caption += [_letters_in_words(analysis, names)] if tied else []
    shown = [column for column in leaks if column.startswith("leak_")][:1]
    return Table(
        name="protocols",
        title="What the leak is worth: test accuracy under each protocol" if shown else "Test accuracy by unit",
        frame=frame,
        columns=(
            Column("title", "Net", "text"),
            Column("unit", "Of", "text"),
            *(Column(f"ours_{c}", titles[c].capitalize(), "estimate") for c in names),
            *([Column("tied", "Tied", "text")] if tied else []),
            *(
                Column(c, f"Leak ({titles[analysis.base]} {MINUS} {titles[c.removeprefix('leak_')]})", "difference")
                for c in shown
            ),
        ),
        group=("arm",),
        section="unit",
        caption=" ".join(caption),
        notes=_notes(analysis, names),
        best="best net of its unit and column",
        about=_about(analysis, records),
    )


def _leaks(analysis: Analysis, arms: Sequence[str]) -> pd.DataFrame:
    """What the first condition has beyond each other one, by arm: the contrasts are the others minus the first."""
    found = analysis.contrasts
    found = found[(found["kind"] == CONDITIONS) & (found["metric"] == analysis.study.metric)]
    found = found[found["below"].isin(arms)]
    if found.empty:
        return pd.DataFrame()
    found = found.assign(
        arm=found["below"],
        unit="segments",
        leak="leak_" + found["above"].str.rpartition("@")[2],
        cell=differences(found).map(turned),
    )
    return pivot(found, ["arm", "unit"], "leak", "cell")


def kernel_table(analysis: Analysis) -> Table:
    """Accuracy by the kernel's shape, which the write-up found it "extremely sensitive" to (study 002, Challenges)."""
    study, metric, arms = analysis.study, analysis.study.metric, kernel_arms(analysis)
    names = [arm.name for arm in arms]
    records = trials_of(analysis, names, [analysis.base])
    found = averages(analysis, metrics=[metric])
    found = found[(found["condition"] == analysis.base) & found["arm"].isin(names)]
    found = found.assign(ours=numbers(found)).set_index("arm").loc[names]
    pairs = kernel_pairs(analysis)
    pairs = pairs.assign(cell=differences(pairs))
    first = pairs["above"] == names[0]
    gains = dict(zip(pairs["below"][first], pairs["cell"][first].map(turned), strict=True))
    letters = analysis.letters()
    frame = pd.DataFrame(
        {
            "arm": names,
            "kernel": [kernel_title(arm) for arm in arms],
            "parameters": [max(r.data["parameters"]["trainable"] for r in analysis.select(name)) for name in names],
            "metric": metric,
            "train": [np.mean(training_accuracies(analysis.select(name)) or [np.nan]) for name in names],
            "ours": found["ours"].tolist(),
            "chance": found["chance"].tolist(),
            "sd": found["sd"].tolist(),
            "seeds": found["seeds"].tolist(),
            "tied": [letters.get(name, "") for name in names],
            "gain": [gains.get(name, np.nan) for name in names],
        }
    )
    frame["size"] = frame["parameters"].map("{:,}".format)
    caption = [
        origin(analysis, records),
        spread_in_words(found["mean"], found["sd"]),
        "Kernels: bands x frames, in all three layers. Segments; mean over the seeds, in brackets the "
        f"{interval_in_words(analysis, records)}. SD: standard deviation over the seeds. Difference: to the first "
        "shape, on the same segments, with the interval that decides; °: nothing is decided, or a score is not above "
        "chance.",
        _letters_in_words(analysis, [analysis.base]) if letters else "",
    ]
    return Table(
        name="kernels",
        title="Is accuracy “extremely sensitive to filter size”? Kernels of the base net",
        frame=frame,
        columns=(
            Column("kernel", "Kernel", "text"),
            Column("size", "Parameters", "text"),
            Column("train", "Training", "score"),
            Column("ours", "Test accuracy", "estimate"),
            *([Column("tied", "Tied", "text")] if letters else []),
            Column("sd", "SD", "score"),
            Column("gain", f"Difference to {kernel_title(arms[0])}", "difference"),
        ),
        group=("arm",),
        caption=" ".join(filter(None, caption)),
        notes=f"Condition: {study.condition(analysis.base).title}. The write-up names neither the sizes it tried nor "
        "their accuracies.",
        best="best shape",
        about=_about(analysis, records),
    )


def spread_in_words(means: pd.Series, spreads: pd.Series) -> str:
    """How far the shapes' means lie apart, and how far the seeds of one shape do."""
    of_seeds = np.sqrt(np.mean(np.square(spreads)))
    text = f"The {len(means)} shapes span {np.ptp(means):.3f} of accuracy"
    more = "" if np.isnan(of_seeds) else f"; the seeds of one shape have a standard deviation of {of_seeds:.3f}"
    return f"{text}{more}."


def turned(number: Number) -> Number:
    """The same difference from the other side."""
    return number._replace(value=-number.value, low=-number.high, high=-number.low)


def _in_one(letters: dict[str, dict[str, str]], arm: str) -> str:
    """Letters of a net under each condition in one text; "" where there are none."""
    return "/".join(of.get(arm, "") or "\u2013" for of in letters.values()) if any(letters.values()) else ""


def _letters_in_words(analysis: Analysis, names: Sequence[str]) -> str:
    order = ", one protocol after the other in the order of the columns" if len(names) > 1 else ""
    return f"Tied: nets that share a letter cannot be told apart{order}. {tied_in_words(analysis)}"


def _notes(analysis: Analysis, names: Sequence[str]) -> str:
    shown = [analysis.study.condition(name) for name in names]
    return " ".join(f"“{condition.title}”: {condition.note}" for condition in shown)


def _about(analysis: Analysis, records: Sequence[Record]) -> dict[str, object]:
    return {k: v for k, v in about(analysis, records).items() if k not in ("part", "seeds")}
