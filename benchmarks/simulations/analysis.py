"""Simulates what the statistics of `harness.analysis` promise; run it to write ``analysis.md`` beside it.

``python benchmarks/simulations/analysis.py [--runs N]``: the more runs, the closer the numbers; half an hour at 150.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
from worlds import POPULATION, SKILLS, equal_arms, multiclass, multilabel, true_scores

from harness.analysis.families import Family, SeedModel, difference, letters, scales_of
from harness.analysis.scoring import Scores, measure, table

#: Scores whose intervals are simulated, by task.
METRICS = {
    "multilabel": ("f1_macro_unmasked", "f1_macro2_masked", "f1_micro_unmasked", "map_masked"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro"),
}
REPLICATES = 300


def coverage(task: str, runs: int, clips: int, **world: object) -> dict[str, tuple[float, float, int]]:
    """How often 95 % intervals hold the true score, how long they are on average, and how often there is one."""
    draw = multilabel if task == "multilabel" else multiclass
    truth = true_scores(draw(np.random.default_rng(99), POPULATION, **world), task, METRICS[task])
    held: dict[str, list[bool]] = {name: [] for name in METRICS[task]}
    lengths: dict[str, list[float]] = {name: [] for name in METRICS[task]}
    for run in range(runs):
        case = draw(np.random.default_rng([1, run]), clips, **world)
        classes = [str(k) for k in range(case.labels.shape[1])]
        scores = measure(
            [case], task=task, metrics=METRICS[task], classes=classes, replicates=REPLICATES, per_class=False
        )
        for row in table(scores, [0]).itertuples():
            if np.isfinite(row.low):
                held[row.metric].append(row.low <= truth[row.metric] <= row.high)
                lengths[row.metric].append(row.high - row.low)
    return {
        name: (float(np.mean(held[name])), float(np.mean(lengths[name])), len(held[name]))
        if held[name]
        else (np.nan, np.nan, 0)
        for name in METRICS[task]
    }


def page(scores: Scores, arms: int, seeds: int, claims: list[tuple[int, int]]) -> tuple[bool, bool]:
    """Whether anything is decided among the claims of a page of arms, and whether any two letters differ."""
    trials = {a: [a * seeds + s for s in range(seeds)] for a in range(arms)}
    plain = {a: {s: scores.found.plain[t] for s, t in enumerate(trials[a])} for a in trials}
    scales = {a: scales_of(scores, trials[a]) for a in trials}
    model = SeedModel(plain, scales, blocks=dict.fromkeys(trials, 0))
    replicates = scores.found.drawn.shape[1]
    pairs = list(combinations(range(arms), 2))
    members = []
    for k, (metric, _) in enumerate(scores.cells):
        drawn = {a: model.draws(a, k, a, replicates) / np.sqrt(seeds) for a in trials}
        for a, b in pairs:
            spreads = [(model.spreads[x].variance[k] / seeds, model.spreads[x].degrees[k]) for x in (a, b)]
            sides = [scores.found.of(trials[x], [k]) for x in (a, b)]
            count = int(scores.counts[trials[a], k].min())
            members.append(difference(*sides, spreads, drawn[a] - drawn[b], metric=metric, count=count))
    decided = Family(members).table()["decided"].to_numpy() != ""
    of_first = dict(zip(map(frozenset, pairs), decided[: len(pairs)], strict=True))
    names = [str(a) for a in range(arms)]
    shown = letters(names, {frozenset(map(str, pair)): bool(d) for pair, d in of_first.items()})
    return any(of_first[frozenset(pair)] for pair in claims), not set.intersection(*map(set, shown.values()))


def alarms(runs: int, *, arms: int, seeds: int, clips: int, effect: float, claims: int = 40) -> tuple[float, float]:
    """How often a page on which nothing is true decides a claim, and how often its letters differ."""
    found = []
    for run in range(runs):
        generator = np.random.default_rng([2, run])
        cases = equal_arms(generator, arms, seeds, clips=clips, effect=effect)
        scores = measure(
            cases,
            task="multilabel",
            metrics=["f1_macro_unmasked", "f1_micro_unmasked"],
            classes=[str(k) for k in range(cases[0].labels.shape[1])],
            replicates=REPLICATES,
            per_class=False,
        )
        pairs = list(combinations(range(arms), 2))
        chosen = [pairs[i] for i in generator.choice(len(pairs), size=min(claims, len(pairs)), replace=False)]
        found.append(page(scores, arms, seeds, chosen))
    return tuple(float(x) for x in np.mean(found, axis=0))


def of_intervals(runs: int) -> Iterator[str]:
    """The table of coverage, line by line."""
    yield (
        "| Task | Clips | Prevalence | Observed | Groups of five | Skill | "
        + " | ".join(name for names in METRICS.values() for name in names)
        + " |"
    )
    yield "| --- | ---: | ---: | ---: | --- | --- |" + " ---: |" * sum(map(len, METRICS.values()))
    worlds = [
        *product((60, 150), (0.05, 0.2), (1.0,), (False,), SKILLS),
        *product((60, 150), (0.05, 0.2), (1.0,), (True,), ("weak", "middling")),
        *product((150,), (0.2,), (0.12,), (False,), SKILLS),
        *product((150,), (0.2, 0.4), (0.12,), (True,), ("weak", "middling")),
        *product((60,), (0.02,), (1.0,), (False,), ("middling",)),
    ]
    for clips, prevalence, observed, groups, skill in worlds:
        found = coverage(
            "multilabel", runs, clips, prevalence=prevalence, observed=observed, groups=groups, skill=SKILLS[skill]
        )
        yield _line("multilabel", clips, prevalence, observed, groups, skill, found, runs)
    for boldness in (-1.0, -1.6):
        found = coverage("multilabel", runs, 60, prevalence=0.1, skill=1.0, boldness=boldness)
        yield _line("multilabel", 60, 0.1, 1.0, False, f"weak, bold by {boldness:g}", found, runs)
    for clips, groups, skill in product((60, 150), (False, True), ("weak", "middling", "strong")):
        found = coverage("multiclass", runs, clips, groups=groups, skill=SKILLS[skill])
        yield _line("multiclass", clips, None, 1.0, groups, skill, found, runs)


def _line(task, clips, prevalence, observed, groups, skill, found, runs) -> str:
    def cell(name: str) -> str:
        if name not in found:
            return ""
        held, length, count = found[name]
        return f"none in {runs}" if not count else f"{held:.3f} ({length:.2f})" + (
            f", {runs - count} without" if count < runs else ""
        )  # fmt: skip

    cells = (cell(name) for names in METRICS.values() for name in names)
    share = "" if prevalence is None else f"{prevalence:g}"
    told = "yes" if groups else "no"
    return f"| {task} | {clips} | {share} | {observed:g} | {told} | {skill} | {' | '.join(cells)} |"


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    begun = time.perf_counter()
    lines = [
        "# What the statistics promise, simulated",
        "",
        f"`python benchmarks/simulations/analysis.py --runs {runs}`; every number is from that many simulated data "
        f"sets (standard error of a rate of 0.95: {np.sqrt(0.05 * 0.95 / runs):.3f}), {REPLICATES} replicates each.",
        "",
        "## 95 % intervals",
        "",
        "Share of intervals that hold the true score, and their mean length in brackets. Skill: standard deviations "
        "between clips with and without a class (none 0, weak 1, middling 2, strong 3). Bold: how readily a class is "
        "predicted. Without: data sets with too few positives for an interval.",
        "",
        *of_intervals(runs),
        "",
        "## Pages on which nothing is true",
        "",
        "Twelve equal arms on the same clips. A page claims 40 orders among them. Share of pages on which any claim is "
        "decided, and share on which the letters of any two arms differ; 5 % are promised.",
        "",
        "| Seeds | Effect of seeds (log odds) | Clips | Any claim decided | Letters differ |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for seeds, effect, clips in product((2, 3, 5), (0.0, 0.15, 0.4), (60,)):
        claim, letter = alarms(runs, arms=12, seeds=seeds, clips=clips, effect=effect)
        lines.append(f"| {seeds} | {effect:g} | {clips} | {claim:.3f} | {letter:.3f} |")
    lines += ["", f"Written in {(time.perf_counter() - begun) / 60:.0f} minutes on one core.", ""]
    Path(__file__).with_name("analysis.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
