"""What intervals promise, simulated in small; ``benchmarks/simulations`` has the full tables."""

import numpy as np
import pytest
from worlds import POPULATION, multiclass, multilabel, true_scores

from harness.analysis.intervals import interval, moderate
from harness.analysis.scoring import measure, table

#: Runs of a simulation, and how rarely a rate that is kept may be missed by chance: about once in a thousand.
RUNS = 80


def held(task, metrics, clips, **world):
    """Share of intervals that hold the true score, by metric."""
    draw = multilabel if task == "multilabel" else multiclass
    truth = true_scores(draw(np.random.default_rng(99), POPULATION, **world), task, metrics)
    found = {name: [] for name in metrics}
    for run in range(RUNS):
        case = draw(np.random.default_rng([3, run]), clips, **world)
        classes = [str(k) for k in range(case.labels.shape[1])]
        scores = measure([case], task=task, metrics=metrics, classes=classes, replicates=200, per_class=False)
        for row in table(scores, [0]).itertuples():
            if np.isfinite(row.low):
                found[row.metric].append(row.low <= truth[row.metric] <= row.high)
    return {name: np.mean(of) for name, of in found.items() if of}


F1 = ["f1_macro_unmasked", "f1_macro2_masked", "f1_micro_unmasked"]


@pytest.mark.parametrize(
    ("metrics", "clips", "world"),
    [
        ([*F1, "map_masked"], 60, {"classes": 10, "prevalence": 0.05, "skill": 2.0}),
        ([*F1, "map_masked"], 60, {"classes": 10, "prevalence": 0.2, "skill": 1.0, "groups": True}),
        ([*F1, "map_masked"], 150, {"classes": 10, "prevalence": 0.1, "skill": 0.0}),
        (["f1_macro2_masked", "map_masked"], 150, {"classes": 10, "prevalence": 0.2, "observed": 0.12}),
        (F1, 60, {"classes": 10, "prevalence": 0.1, "skill": 1.0, "boldness": -1.6}),  # hardly ever says "present"
    ],
)
def test_intervals_of_scores_with_several_classes_per_clip_cover(metrics, clips, world):
    assert min(held("multilabel", metrics, clips, **world).values()) >= 0.95 - 4 * (0.05 * 0.95 / RUNS) ** 0.5


@pytest.mark.parametrize("groups", [False, True])
def test_intervals_of_scores_with_one_class_per_clip_cover(groups):
    found = held("multiclass", ["accuracy", "balanced_accuracy", "f1_macro"], 60, groups=groups)
    assert min(found.values()) >= 0.95 - 4 * (0.05 * 0.95 / RUNS) ** 0.5


def test_intervals_over_seeds_and_clips_cover_the_mean_over_seeds():
    generator = np.random.default_rng(0)
    inside = []
    for _ in range(150):
        labels = generator.random((100, 4)) < 0.3
        common = 1.5 * labels + generator.standard_normal((100, 4)) - 1
        cases = []
        for _ in range(3):
            case = multilabel(generator, 100, classes=4)
            logits = common + 0.5 * generator.standard_normal() + 0.5 * generator.standard_normal((100, 4))
            cases.append(type(case)(labels, 1 / (1 + np.exp(-2 * logits)), np.ones_like(labels), np.arange(100)))
        scores = measure(cases, task="multilabel", metrics=["f1_micro_unmasked"], classes=list("abcd"), replicates=150)
        inside.append(table(scores, [0, 1, 2]).iloc[0][["low", "high"]].to_numpy(float))
    # The truth: micro F1 averaged over seeds, on a large sample.
    big = np.random.default_rng(1)
    labels = big.random((60_000, 4)) < 0.3
    logits = 1.5 * labels + big.standard_normal(labels.shape) - 1 + 0.5 * big.standard_normal((60_000, 1))
    logits = logits + 0.5 * big.standard_normal(labels.shape)
    truths = []
    for seed_effect in 0.5 * np.random.default_rng(2).standard_normal(40):
        own = (
            1.5 * labels + big.standard_normal(labels.shape) - 1 + seed_effect + 0.5 * big.standard_normal(labels.shape)
        )
        predicted = own >= 0
        truths.append(2 * (labels & predicted).sum() / (labels.sum() + predicted.sum()))
    truth = np.mean(truths)
    rate = np.mean([low <= truth <= high for low, high in inside])
    assert rate >= 0.95 - 4 * (0.05 * 0.95 / 150) ** 0.5


def test_variances_that_are_alike_are_pooled_and_those_that_are_not_are_kept_apart():
    generator, degrees = np.random.default_rng(0), np.full(12, 2.0)
    draws = [generator.chisquare(2, 12) / 2 for _ in range(200)]
    found = [moderate(variances, degrees) for variances in draws]
    pooled = [
        np.allclose(f.variance, v.mean()) and np.allclose(f.degrees, 24) for f, v in zip(found, draws, strict=True)
    ]
    assert np.mean(pooled) > 0.9
    apart = [moderate(v * np.array([1e-4] * 6 + [1.0] * 6), degrees) for v in draws]
    assert np.mean([f.degrees.max() < 24 for f in apart]) > 0.9
    assert np.median([np.median(f.variance[:6]) / np.median(f.variance[6:]) for f in apart]) < 1e-2


def test_arms_that_do_not_vary_are_not_taken_for_certain():
    found = moderate(np.array([0.0, 1.0, 1.5, 0.7]), np.full(4, 2.0))
    assert found.variance[0] > 0.1
    lone = moderate(np.array([np.nan, 2.0]), np.array([0.0, 2.0]))
    assert lone.variance.tolist() == [2.0, 2.0]


def test_scale_of_log_odds_keeps_within_bounds():
    low, high = interval(0.97, 0.05, 20)
    assert 0 < low < 0.97 < high < 1
    assert 0.97 - low > high - 0.97
    assert interval(0.0, 0.1, 20, bounds=(-1, 1)) == pytest.approx((-0.2086, 0.2086), abs=1e-4)
    with pytest.raises(ValueError, match="level"):
        interval(0.5, 0.1, 5, level=95)
