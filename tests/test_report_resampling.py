"""Which clips replicates draw: the same for the same clips, and all together where each seed has its own."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import write_trials

from harness import explain
from harness.corpora.segments import clips_of
from harness.metrics import multiclass, uncertainty
from harness.report import estimates, resampling
from harness.report.resampling import Draws
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study

A, B = np.array(["a", "b", "c"]), np.array(["b", "c", "d", "e"])


def drawn(draws: Draws, keys: np.ndarray) -> np.ndarray:
    return np.concatenate(list(draws.weights(keys)))


def test_one_list_is_drawn_as_ever() -> None:
    expected = np.concatenate(list(uncertainty.resample(3, 40, seed=0)))
    np.testing.assert_array_equal(drawn(Draws([[A, A], [A]], 40), A), expected)


def test_arms_on_different_lists_draw_each_for_itself() -> None:
    draws = Draws([[A, A], [B, B]], 40)
    np.testing.assert_array_equal(drawn(draws, A), np.concatenate(list(uncertainty.resample(3, 40, seed=0))))
    np.testing.assert_array_equal(drawn(draws, B), np.concatenate(list(uncertainty.resample(4, 40, seed=1))))


def test_a_clip_of_several_seeds_counts_alike_in_each() -> None:
    draws = Draws([[A, B]], 500)
    of_a, of_b = drawn(draws, A), drawn(draws, B)
    np.testing.assert_array_equal(of_a[:, 1:], of_b[:, :2])  # b and c are in both
    assert not np.array_equal(of_a[:, 0], of_b[:, 2])
    together = of_a[:, 0] + of_a[:, 1:].sum(axis=1) + of_b[:, 2:].sum(axis=1)
    assert (together == 5).all()  # as many as there are clips in all
    assert of_a.sum(axis=1).std() > 0  # so a part may get more or fewer
    assert of_a.mean() == pytest.approx(1, abs=0.1)


def test_segments_of_one_clip_are_drawn_together() -> None:
    one, other = np.array(["a#0", "b#0", "a#1", "c#0"]), np.array(["b#1", "a#2"])
    alone = drawn(Draws([[one]], 30), one)
    np.testing.assert_array_equal(alone[:, 0], alone[:, 2])
    np.testing.assert_array_equal(alone[:, [0, 1, 3]], np.concatenate(list(uncertainty.resample(3, 30, seed=0))))
    both = Draws([[one, other]], 30)
    np.testing.assert_array_equal(drawn(both, one)[:, [1, 0]], drawn(both, other))


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("single_notes")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    folder = tmp_path_factory.mktemp("runs")
    arms = ["setup_1", "svm_mfcc"]
    skills = {"setup_1": 0.2, "svm_mfcc": 0.35}
    return write_trials(
        folder, study, arms=arms, conditions=["paper"], seeds=12, sizes=(20, 60), classes="abcdefg", skills=skills
    )


def test_seeds_that_share_clips_tell_less_than_as_many_clips_would(study: Study, records: list[Record]) -> None:
    """720 predictions of 300 clips: the interval is that of 300 clips, not of 720."""
    of_arm = estimates.select(records, "setup_1", "paper")
    lists = {tuple(r.predictions("test").keys) for r in of_arm}
    assert len(lists) == 12  # each seed draws its own
    found = estimates.estimate(of_arm, "test", ["accuracy"], units=clips_of, replicates=2000)["accuracy"]
    p = [r.predictions("test") for r in of_arm]
    keys, labels, probabilities = (
        np.concatenate([getattr(x, name) for x in p]) for name in ("keys", "labels", "probabilities")
    )
    pooled = uncertainty.bootstrap(
        labels, probabilities, metrics=["accuracy"], replicates=2000, scoring=multiclass, groups=keys
    )["accuracy"]
    # What the seeds do comes on top, of which the pooled predictions know as well: two ways to much the same.
    assert (found.low, found.high) == pytest.approx(pooled, abs=0.012)
    assert found.value == pytest.approx(multiclass.evaluate(labels, probabilities)["accuracy"])


def test_arms_on_the_same_split_are_paired(study: Study, records: list[Record]) -> None:
    ours, theirs = (estimates.select(records, name, "paper") for name in ("svm_mfcc", "setup_1"))
    gains, paired = estimates.difference(ours, theirs, "test", ["accuracy", "log_loss"], units=clips_of, replicates=300)
    assert paired
    assert gains["accuracy"].low > 0 > gains["log_loss"].high
    same, _ = estimates.difference(ours, ours, "test", ["accuracy"], units=clips_of, replicates=50)
    assert (same["accuracy"].low, same["accuracy"].high) == (0, 0)


def test_losses_are_better_below_chance(records: list[Record]) -> None:
    of_arm = estimates.select(records, "svm_mfcc", "paper")
    found = estimates.estimate(of_arm, "test", ["log_loss", "accuracy"], units=clips_of, replicates=100)
    chance = [multiclass.chance(r.predictions("test").labels) for r in of_arm]
    assert found["log_loss"].chance == pytest.approx(np.mean([c["log_loss"] for c in chance]))
    assert found["log_loss"].lower
    assert found["log_loss"].above_chance
    assert found["accuracy"].above_chance
    worse = estimates.Estimate(2.0, 1.9, 2.1, chance=1.95, lower=True)
    assert not worse.above_chance
    assert not estimates.Estimate(1.97, 1.96, 1.99, chance=1.95, lower=True).above_chance


def test_what_was_drawn_is_computed_once(study: Study, records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = estimates.select(records, "setup_1", "paper")[:2]
    p, calls = first.predictions("test"), []
    scored = multiclass.weighted_scores
    monkeypatch.setattr(multiclass, "weighted_scores", lambda *a, **k: calls.append(k["metrics"]) or scored(*a, **k))

    def ask(metrics: list[str], keys: list[np.ndarray], replicates: int = 37) -> dict[str, np.ndarray]:
        return resampling.distribution(first, p, metrics, Draws([keys], replicates))

    accuracy = ask(["accuracy"], [p.keys])
    both = ask(["accuracy", "f1_macro"], [p.keys])
    assert calls == [["accuracy"], ["f1_macro"]]
    np.testing.assert_array_equal(both["accuracy"], accuracy["accuracy"])
    ask(["accuracy"], [p.keys, other.predictions("test").keys])  # drawn from the clips of both
    ask(["accuracy"], [p.keys], 38)
    assert len(calls) == 4
    flipped = replace(p, probabilities=p.probabilities[::-1])
    assert not np.array_equal(
        resampling.distribution(first, flipped, ["accuracy"], Draws([[p.keys]], 37))["accuracy"], accuracy["accuracy"]
    )


def test_shares_of_several_seeds_are_compared_over_seeds_and_clips() -> None:
    rng = np.random.default_rng(3)
    clips = np.repeat([f"clip-{i}" for i in range(30)], 2)
    reference = rng.uniform(0.2, 0.4, 60)
    gains = rng.normal(0.05, 0.02, 60)
    one = resampling.compare_by_seed(reference + gains, reference, clips, [0] * 60, replicates=500)
    alone = explain.compare(reference + gains, reference, list(clips), replicates=500)
    for name in ("mean", "reference", "difference", "n", "clips"):
        assert one[name] == pytest.approx(alone[name])
    assert one["interval"] == pytest.approx(alone["interval"])
    # The second seed of the same clips is better by a constant: the clips alone would not know of it.
    scores = np.concatenate([reference + gains, reference + gains + 0.1])
    pair = np.tile(reference, 2), np.tile(clips, 2), np.repeat([0, 1], 60)
    two = resampling.compare_by_seed(scores, *pair, replicates=500)
    assert two["of_seeds"] == pytest.approx([one["difference"], one["difference"] + 0.1])
    assert two["difference"] == pytest.approx(one["difference"] + 0.05)
    assert two["interval"][0] < 0 < one["interval"][0]
    scores[:60] = np.nan
    assert resampling.compare_by_seed(scores, *pair, replicates=50)["of_seeds"] == pytest.approx(two["of_seeds"][1:])
    none = resampling.compare_by_seed(np.full(120, np.nan), *pair)
    assert (none["interval"], none["of_seeds"], none["n"]) == (None, [], 0)
