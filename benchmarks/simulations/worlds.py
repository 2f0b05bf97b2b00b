"""Populations that simulations draw clips and trained networks from, whose true scores are known."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, ndtri

from harness.analysis.scoring import Case
from harness.metrics import weighted

#: Clips that a true score is taken over.
POPULATION = 60_000
#: Clips of a group: excerpts of a song.
GROUP = 5
#: How well classes are told apart: standard deviations between present and absent.
SKILLS = {"none": 0.0, "weak": 1.0, "middling": 2.0, "strong": 3.0}


def multilabel(
    generator: np.random.Generator,
    clips: int,
    *,
    classes: int = 20,
    prevalence: float = 0.1,
    observed: float = 1.0,
    groups: bool = False,
    skill: float = 2.0,
    boldness: float = 0.0,
) -> Case:
    """Clips with labels and one network's predictions of them.

    Parameters
    ----------
    generator
        Of all draws.
    clips, classes, prevalence, observed
        How many, how often a class is present, and what share of the labels somebody was asked for.
    groups
        Whether every `GROUP` clips belong together and resemble each other, in labels and in errors.
    skill
        Standard deviations between present and absent; classes lie about it, always the same.
    boldness
        How much more readily a class is predicted, in standard deviations.

    Returns
    -------
    Case
        As `harness.analysis.scoring` takes it.
    """
    shape = (clips, classes)
    of_class = np.random.default_rng(5).standard_normal(classes)
    groups_of = np.repeat(np.arange(-(-clips // GROUP)), GROUP)[:clips] if groups else np.arange(clips)

    def noise() -> np.ndarray:
        own = generator.standard_normal(shape)
        if not groups:
            return own
        return np.sqrt(0.5) * generator.standard_normal((groups_of[-1] + 1, classes))[groups_of] + np.sqrt(0.5) * own

    labels = noise() > ndtri(1 - prevalence)
    separation = skill + 0.3 * skill * of_class
    margin = separation * labels + noise() - 0.5 * separation - ndtri(1 - prevalence) * 0.5 + boldness
    mask = generator.random(shape) < observed if observed < 1 else np.ones(shape, bool)
    return Case(labels & mask, expit(2 * margin), mask, groups_of)


def multiclass(
    generator: np.random.Generator, clips: int, *, classes: int = 8, groups: bool = False, skill: float = 2.0
) -> Case:
    """The same of clips with one class each; classes are not equally frequent."""
    frequency = np.linspace(1, 2, classes) / np.linspace(1, 2, classes).sum()
    groups_of = np.repeat(np.arange(-(-clips // GROUP)), GROUP)[:clips] if groups else np.arange(clips)
    of_group = generator.choice(classes, size=groups_of[-1] + 1, p=frequency)
    own = generator.choice(classes, size=clips, p=frequency)
    truth = np.where(generator.random(clips) < 0.5, of_group[groups_of], own) if groups else own
    scores = generator.standard_normal((clips, classes))
    if groups:
        scores = np.sqrt(0.5) * (scores + generator.standard_normal((groups_of[-1] + 1, classes))[groups_of])
    scores[np.arange(clips), truth] += skill
    probabilities = np.exp(2 * scores)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = np.arange(classes) == truth[:, None]
    return Case(labels, probabilities, np.ones_like(labels), groups_of)


def true_scores(case: Case, task: str, metrics: Sequence[str]) -> dict[str, float]:
    """Scores of a whole population."""
    once = np.ones((1, len(case.labels)))
    averages, _ = weighted(task, case.labels, case.probabilities, case.mask, once, metrics=metrics)
    return {name: float(values[0]) for name, values in averages.items()}


def equal_arms(
    generator: np.random.Generator, arms: int, seeds: int, *, clips: int, effect: float, classes: int = 10
) -> list[Case]:
    """Arms that are equally good, several seeds of each on the same clips, arm by arm.

    Parameters
    ----------
    effect
        Standard deviation of what a seed changes on the scale of log odds: of its skill, and of each class's boldness.
    """
    shape = (clips, classes)
    labels = generator.random(shape) < 0.2
    common = 1.5 * labels + generator.standard_normal(shape) - 1.2
    cases = []
    for _ in range(arms * seeds):
        own = common + 0.6 * generator.standard_normal(shape)
        own = (
            own + effect * generator.standard_normal() * (2 * labels - 1) + effect * generator.standard_normal(classes)
        )
        cases.append(Case(labels, expit(2 * own), np.ones(shape, bool), np.arange(clips)))
    return cases
