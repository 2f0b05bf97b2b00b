"""How much the shape of the base net's kernels matters, beside what the seeds do.

The write-up found accuracy "extremely sensitive to filter size" (study 002, Challenges) and gives no numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from harness.report import estimates, ties
from harness.report.resampling import units_of
from harness.report.writers import UNDEFINED, Column, Table
from harness.studies.records import Record
from harness.studies.study import Arm, Study
from replications.gtzan_cam.trials import KERNEL_NETWORK, deviation, training_accuracy

#: Below this the shapes are told apart from chance.
SIGNIFICANT = 0.05


def kernel_arms(study: Study, records: Sequence[Record]) -> list[Arm]:
    """Arms that differ in the kernel's shape alone and have a record under the write-up's condition.

    Parameters
    ----------
    study, records
        The study, and any of its trials.

    Returns
    -------
    list of Arm
        In the study's order, so that 3 x 3 comes first.
    """
    first = study.conditions[0].name
    present = {r.arm for r in records if r.condition == first}
    return [arm for arm in study.arms if arm.network == KERNEL_NETWORK and arm.name in present]


@dataclass(frozen=True)
class Sensitivity:
    """How much a choice matters beside what the seeds do.

    Parameters
    ----------
    span
        Highest minus lowest mean over the seeds.
    of_choices
        Standard deviation of these means.
    of_seeds
        Standard deviation of a choice's seeds about its mean, those of all choices pooled; None with one seed.
    unexplained
        Standard deviation of what neither the choice nor the seed (its split and first weights) explains.
    f, p
        Of the analysis of variance in choices and seeds without repetition; None with one seed.
    """

    span: float
    of_choices: float
    of_seeds: float | None
    unexplained: float | None
    f: float | None
    p: float | None


def sensitivity(scores: np.ndarray) -> Sensitivity:
    """Compare the spread over choices with that over seeds.

    Parameters
    ----------
    scores : np.ndarray [shape=(choices, seeds)]
        One score each; at least two choices.

    Returns
    -------
    Sensitivity
        Seeds are blocks: all choices share a seed's split.
    """
    choices, seeds = scores.shape
    means = scores.mean(axis=1)
    span, of_choices = float(np.ptp(means)), float(means.std(ddof=1))
    if seeds < 2:
        return Sensitivity(span, of_choices, None, None, None, None)
    of_seeds = float(np.sqrt(scores.var(axis=1, ddof=1).mean()))
    rest = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
    freedom = (choices - 1) * (seeds - 1)
    unexplained = np.square(rest).sum() / freedom
    between = seeds * means.var(ddof=1)
    # Scores of few segments can agree exactly, but for rounding.
    f = float(between / unexplained) if unexplained > 1e-20 else 0.0 if between < 1e-20 else np.inf
    p = float(stats.f.sf(f, choices - 1, freedom))
    return Sensitivity(span, of_choices, of_seeds, float(np.sqrt(unexplained)), f, p)


def in_words(found: Sensitivity, *, choices: int, seeds: int) -> str:
    """Say whether accuracy is sensitive to the kernel's shape.

    Parameters
    ----------
    found
        Of test accuracies.
    choices, seeds
        How many shapes, and seeds of each.

    Returns
    -------
    str
        Two sentences.
    """
    text = (
        f"The {choices} shapes span {found.span:.3f} of accuracy; their means have a standard deviation of "
        f"{found.of_choices:.3f}"
    )
    if found.p is None:
        return f"{text}. With one seed nobody can say whether that is the shape or chance."
    verdict = "is told apart from" if found.p < SIGNIFICANT else "cannot be told from"
    return (
        f"{text}, the {seeds} seeds of one shape one of {found.of_seeds:.3f}. The shape's effect {verdict} chance "
        f"(variance ratio {found.f:.1f}, p = {found.p:.2g}; seeds, each with its own split, are blocks, and leave "
        f"{found.unexplained:.3f} unexplained)."
    )


def kernel_scores(study: Study, records: Sequence[Record], arms: Sequence[Arm], part: str = "test") -> np.ndarray:
    """Scores of the seeds that all arms have.

    Parameters
    ----------
    study
        Gives the score.
    records
        Any of the study's, of one corpus and profile.
    arms
        As `kernel_arms` gives them.
    part
        ``"valid"`` or ``"test"``.

    Returns
    -------
    np.ndarray [shape=(arms, seeds)]
        Under the write-up's condition; perhaps no column.
    """
    first = study.conditions[0].name
    by_seed = [
        {r.seed: r.data["metrics"][part][study.metric] for r in estimates.select(records, arm.name, first)}
        for arm in arms
    ]
    shared = sorted(set.intersection(*map(set, by_seed)))
    return np.array([[of_arm[seed] for seed in shared] for of_arm in by_seed], float).reshape(len(arms), len(shared))


def kernel_table(study: Study, records: Sequence[Record], *, replicates: int = 1000, level: float = 0.95) -> Table:
    """Accuracy by the kernel's shape, which the write-up found it "extremely sensitive" to (study 002, Challenges).

    Parameters
    ----------
    study
        Gives the arms.
    records
        Any of the study's, of one corpus and profile; those under the write-up's condition count.
    replicates, level
        Of the bootstrap over seeds and tracks together.

    Returns
    -------
    Table
        One row per shape; the caption compares their spread with that of the seeds.
    """
    first, metric = study.conditions[0].name, study.metric
    arms = kernel_arms(study, records)
    of_arms = {arm.name: estimates.select(records, arm.name, first) for arm in arms}
    every = [r for some in of_arms.values() for r in some]
    tied = ties.ties(study, every, [metric], arms="shapes", replicates=replicates, level=level)
    unit, units = units_of(study, every)
    drawn = {"units": units, "replicates": replicates, "level": level}
    rows = []
    for arm in arms:
        some = of_arms[arm.name]
        found = estimates.estimate(some, "test", [metric], **drawn)[metric]
        values = [r.data["metrics"]["test"][metric] for r in some]
        training = [training_accuracy(r) for r in some]
        row = {
            "arm": arm.name,
            "kernel": " x ".join(map(str, arm.options["kernel"])),
            "parameters": arm.parameters,
            "parameters_title": f"{max(r.data['parameters']['trainable'] for r in some):,}",
            "metric": metric,
            "section": "all",
            "train": None if None in training else float(np.mean(training)),
            "ours": found.value,
            "ours_low": found.low,
            "ours_high": found.high,
            "chance": found.chance,
            "sd": deviation(values),
            "gain": None,
            "gain_low": None,
            "gain_high": None,
            **tied.columns(metric, arm.name),
        }
        row["spread_title"] = f"{UNDEFINED if row['sd'] is None else format(row['sd'], '.3f')} ({len(some)})"
        if arm != arms[0]:
            gains, _ = estimates.difference(some, of_arms[arms[0].name], "test", [metric], **drawn)
            row |= {"gain": gains[metric].value, "gain_low": gains[metric].low, "gain_high": gains[metric].high}
        rows.append(row)
    origin = estimates.provenance(study, every, "test")
    scores = kernel_scores(study, records, arms)
    verdict = in_words(sensitivity(scores), choices=len(arms), seeds=scores.shape[1]) if scores.size else ""
    numbers = [c for c in rows[0] if c in ("train", "chance", "sd") or c.startswith(("ours", "gain"))]
    return Table(
        name="kernels",
        title="Is accuracy “extremely sensitive to filter size”? Kernels of the base net",
        caption=f"{origin.sentence()} {verdict} Kernels: bands x frames, in all three layers. Segments; mean "
        f"over the seeds, in brackets the {estimates.interval_in_words(every, unit, replicates, level)}. Difference: "
        f"to the first shape, seed by seed and on the same segments. {tied.caption} *: best shape; °: not above "
        "chance, or an interval that holds zero.",
        notes=f"Condition: {study.condition(first).title}. The write-up names neither the sizes it tried nor their "
        "accuracies.",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("kernel", "Kernel", "text"),
            Column("parameters_title", "Parameters", "text"),
            Column("train", "Training", "score"),
            Column("ours", "Test accuracy", "estimate"),
            *([ties.COLUMN] if tied.letters else []),
            Column("spread_title", "SD (seeds)", "text"),
            Column("gain", f"Difference to {rows[0]['kernel']}", "difference"),
        ),
        group=("arm",),
        section="section",
        provenance=origin,
    )
