"""The bootstrap over clips against scikit-learn in a loop, scipy, and known sampling distributions."""

import time

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy import stats

from harness.metrics import multilabel, uncertainty


def predictions(clips: int, classes: int, density: float, *, ties: bool = False, seed: int = 0) -> tuple:
    """Labels, probabilities a little better than chance, and a mask."""
    generator = np.random.default_rng(seed)
    labels = generator.random((clips, classes)) < 0.4
    probabilities = np.clip(generator.random((clips, classes)) * 0.8 + 0.2 * labels, 0, 1)
    if ties:
        probabilities = np.round(probabilities, 1)
    return labels, probabilities.astype(np.float32), generator.random((clips, classes)) < density


@pytest.mark.parametrize("ties", [False, True])
def test_replicates_equal_weighted_sklearn(ties: bool) -> None:
    labels, probabilities, mask = predictions(60, 5, 0.5, ties=ties)
    labels[:, 0] &= np.arange(60) < 2  # so rare that some replicates never draw it
    drawn = uncertainty.distribution(labels, probabilities, mask, replicates=60, seed=4)
    weights = np.concatenate(list(uncertainty.resample(60, 60, 4)))
    undefined = 0
    for replicate, weight in enumerate(weights):
        precisions, areas, f1_both = [], [], []
        for c in range(5):
            seen = mask[:, c] & (weight > 0)
            y, p, w = labels[seen, c], probabilities[seen, c], weight[seen]
            f1_both.append(sk.f1_score(y, p >= 0.5, average="macro", labels=[0, 1], sample_weight=w, zero_division=0))
            if len(np.unique(y)) < 2:
                undefined += 1
                continue
            precisions.append(sk.average_precision_score(y, p, sample_weight=w))
            areas.append(sk.roc_auc_score(y, p, sample_weight=w))
        predicted, known = probabilities >= 0.5, labels & mask
        weighted = {"sample_weight": weight, "zero_division": 0}
        expected = {
            "map_masked": np.mean(precisions),
            "roc_auc_masked": np.mean(areas),
            "f1_macro2_masked": np.mean(f1_both),
            "f1_macro_unmasked": sk.f1_score(known, predicted, average="macro", **weighted),
            "f1_micro_unmasked": sk.f1_score(known, predicted, average="micro", **weighted),
            "jaccard_samples_unmasked": sk.jaccard_score(known, predicted, average="samples", **weighted),
            "jaccard_macro_unmasked": sk.jaccard_score(known, predicted, average="macro", **weighted),
        }
        for name, value in expected.items():
            assert drawn[name][replicate] == pytest.approx(value, abs=1e-7), name
    assert undefined > 0


def test_draws_are_whole_seeded_and_the_same_in_any_number_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    many = np.concatenate(list(uncertainty.resample(17, 250, 5)))
    assert many.shape == (250, 17)
    assert (many.sum(axis=1) == 17).all()
    assert not np.array_equal(many, np.concatenate(list(uncertainty.resample(17, 250, 6))))
    monkeypatch.setattr(uncertainty, "CHUNK", 17 * 40)
    parts = list(uncertainty.resample(17, 100, 5))
    assert [len(part) for part in parts] == [40, 40, 20]
    np.testing.assert_array_equal(np.concatenate(parts), many[:100])


def test_interval_of_a_proportion() -> None:
    """Micro recall-like score of one class: its bootstrap is binomial, whose quantiles are known."""
    clips, hits = 400, 300
    labels = np.ones((clips, 1), int)
    probabilities = (np.arange(clips) < hits)[:, None].astype(float)
    low, high = uncertainty.bootstrap(
        labels, probabilities, metrics=["jaccard_samples_unmasked"], replicates=4000, seed=1
    )["jaccard_samples_unmasked"]
    half = 1.96 * np.sqrt(0.75 * 0.25 / clips)
    assert low == pytest.approx(0.75 - half, abs=0.005)
    assert high == pytest.approx(0.75 + half, abs=0.005)


def test_intervals_hold_the_score_and_shrink_with_clips() -> None:
    widths = []
    for clips in (100, 1600):
        case = predictions(clips, 4, 1.0)
        scores = multilabel.evaluate(*case)
        intervals = uncertainty.bootstrap(*case, replicates=300)
        for name, (low, high) in intervals.items():
            assert low <= scores[name] <= high, name
        low, high = intervals["map_masked"]
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize("skill", [0.0, 0.3])
def test_coverage_of_the_true_score(skill: float) -> None:
    """Over fresh samples of clips, a 90 % interval holds the score of a huge sample about nine times in ten."""
    generator = np.random.default_rng(9)
    labels = generator.random((40_000, 3)) < 0.3
    probabilities = np.clip(generator.random(labels.shape) * (1 - skill) + skill * labels, 0, 1)
    names = ["map_masked", "f1_macro_unmasked"]
    truth = multilabel.evaluate(labels, probabilities)
    held = dict.fromkeys(names, 0)
    for start in range(0, 40_000, 200):
        part = slice(start, start + 200)
        intervals = uncertainty.bootstrap(labels[part], probabilities[part], metrics=names, replicates=200, level=0.9)
        for name, (low, high) in intervals.items():
            held[name] += low <= truth[name] <= high
    for name in names:
        assert 0.84 <= held[name] / 200 <= 0.97, name


def test_a_guesser_is_seldom_above_chance() -> None:
    """Average precision flatters few positives, resampled clips once more; the interval must not add the two."""
    generator = np.random.default_rng(2)
    above, above_percentile = 0, 0
    for sample in range(100):
        labels = generator.random((120, 10)) < 0.15
        probabilities = generator.random(labels.shape)
        chance = multilabel.chance(labels)["map_masked"]
        drawn = uncertainty.distribution(labels, probabilities, metrics=["map_masked"], replicates=200, seed=sample)
        score = multilabel.evaluate(labels, probabilities)["map_masked"]
        above += uncertainty.interval(score, drawn["map_masked"])[0] > chance
        above_percentile += np.quantile(drawn["map_masked"], 0.025) > chance
    assert above <= 12
    assert above_percentile > 50  # the fault that the basic interval is there for


def test_basic_interval_by_hand() -> None:
    values = np.append(np.linspace(0.5, 0.7, 201), np.nan)
    low, high = uncertainty.interval(0.58, values, 0.9)
    assert (low, high) == (pytest.approx(2 * 0.58 - 0.69), pytest.approx(2 * 0.58 - 0.51))
    assert uncertainty.interval(0.45, values, 0.9) == (pytest.approx(0.21), 0.45)  # widened to the score
    assert uncertainty.interval(0.95, values, 0.9)[1] == 1
    assert uncertainty.interval(-0.6, values - 1, 0.9, bounds=(-1, 1)) == (pytest.approx(-0.89), pytest.approx(-0.6))
    assert uncertainty.interval(0.5, np.array([np.nan])) is None
    assert uncertainty.interval(None, values) is None


def test_undefined_is_none() -> None:
    labels, probabilities, mask = predictions(20, 2, 1.0)
    result = uncertainty.bootstrap(labels & False, probabilities, mask, replicates=20)
    assert result["map_masked"] is None
    assert result["f1_macro_unmasked"] == (0.0, 0.0)


def test_threshold_and_level_are_used() -> None:
    case = predictions(80, 3, 1.0)
    wide = uncertainty.bootstrap(*case, metrics=["f1_micro_unmasked"], replicates=200, level=0.99)
    narrow = uncertainty.bootstrap(*case, metrics=["f1_micro_unmasked"], replicates=200, level=0.5)
    other = uncertainty.bootstrap(*case, metrics=["f1_micro_unmasked"], replicates=200, level=0.5, threshold=0.9)
    assert wide["f1_micro_unmasked"][0] < narrow["f1_micro_unmasked"][0]
    assert narrow["f1_micro_unmasked"][1] < wide["f1_micro_unmasked"][1]
    assert other["f1_micro_unmasked"][1] < narrow["f1_micro_unmasked"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"metrics": ["f1"]}, "no metric 'f1'"), ({"replicates": 0}, "at least one replicate"), ({"level": 95}, "level")],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        uncertainty.bootstrap([[1, 0]], [[0.2, 0.3]], **options)


def test_a_thousand_replicates_of_masked_map_take_about_a_second() -> None:
    case = predictions(5085, 20, 0.1)
    start = time.process_time()
    uncertainty.bootstrap(*case, metrics=["map_masked"], replicates=1000)
    assert time.process_time() - start < 6  # scikit-learn in a loop: 13 s; alone on a core this takes 0.2 s


def test_percentile_and_bca_equal_scipy_on_a_skewed_mean() -> None:
    values = np.random.default_rng(3).beta(0.5, 3, size=40)
    without = (values.sum() - values) / 39
    for kind in ("percentile", "bca"):
        peer = stats.bootstrap((values,), np.mean, n_resamples=999, method=kind, confidence_level=0.9, rng=1)
        ours = uncertainty.interval(values.mean(), peer.bootstrap_distribution, 0.9, kind=kind, jackknife=without)
        np.testing.assert_allclose(ours, peer.confidence_interval, atol=1e-12)
    plain = uncertainty.interval(values.mean(), peer.bootstrap_distribution, 0.9, kind="percentile")
    assert ours[0] > plain[0]  # moved up, as a long upper tail demands
    assert ours[1] > plain[1]


@pytest.mark.parametrize("grouped", [False, True])
def test_jackknife_leaves_out_each_unit_once(grouped: bool) -> None:
    labels, probabilities, mask = predictions(30, 4, 0.6)
    labels[:, 0] = np.arange(30) == 7  # without its only positive, the class is undefined
    mask[7, 0] = True
    groups = np.array(list("cab"))[np.arange(30) % 3] if grouped else None
    found = uncertainty.jackknife(labels, probabilities, mask, groups=groups)
    for unit, name in enumerate("abc" if grouped else range(30)):
        kept = groups != name if grouped else np.arange(30) != name
        expected = multilabel.evaluate(labels[kept], probabilities[kept], mask[kept])
        for metric, values in found.items():
            assert values[unit] == pytest.approx(expected[metric], abs=1e-12), metric
    assert len(found["map_masked"]) == (3 if grouped else 30)


def test_jackknife_in_any_number_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = predictions(23, 3, 1.0)
    whole = uncertainty.jackknife(*case, metrics=["map_masked"])
    monkeypatch.setattr(uncertainty, "CHUNK", 23 * 5)
    np.testing.assert_array_equal(
        uncertainty.jackknife(*case, metrics=["map_masked"])["map_masked"], whole["map_masked"]
    )


def test_bca_of_a_score_equals_scipy_drawing_clips() -> None:
    labels, probabilities, _ = predictions(80, 3, 1.0)

    def score(clips: np.ndarray) -> float:
        return sk.f1_score(labels[clips], probabilities[clips] >= 0.5, average="micro")

    options = {"n_resamples": 999, "method": "BCa", "vectorized": False, "rng": 2}
    peer = stats.bootstrap((np.arange(80),), score, **options).confidence_interval
    ours = uncertainty.bootstrap(labels, probabilities, metrics=["f1_micro_unmasked"], replicates=2000, kind="bca")
    np.testing.assert_allclose(ours["f1_micro_unmasked"], peer, atol=0.012)


def test_bca_survives_replicates_all_on_one_side() -> None:
    values, without = np.linspace(0.6, 0.7, 101), np.array([0.5, 0.5, 0.8])
    for jackknife in (without, np.full(3, 0.5)):
        low, high = uncertainty.interval(0.5, values, kind="bca", jackknife=jackknife)
        assert (low, high) == (0.5, pytest.approx(0.61, abs=0.02))


def test_few_groups_make_intervals_too_narrow_as_the_module_says() -> None:
    generator = np.random.default_rng(5)
    weights = np.concatenate(list(uncertainty.resample(10, 400, seed=0))) / 10
    samples = generator.normal(0.5, 0.1, size=(1500, 10))
    held = 0
    for sample in samples:
        low, high = uncertainty.interval(sample.mean(), weights @ sample)
        held += low <= 0.5 <= high
    assert held / 1500 == pytest.approx(0.9, abs=0.025)


def test_unknown_kinds_and_a_missing_jackknife_are_refused() -> None:
    with pytest.raises(ValueError, match="no interval 'normal'; choose from basic, percentile, bca"):
        uncertainty.bootstrap([[1, 0]], [[0.2, 0.3]], kind="normal")
    with pytest.raises(ValueError, match="left out"):
        uncertainty.interval(0.5, np.array([0.4, 0.6]), kind="bca")
