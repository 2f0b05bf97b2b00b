"""What a re-run may lose: alarms are as rare as stated in every kind of clean run, and what is called seen is seen.

The drawn trainings and the planted faults are those of ``benchmarks/simulations/guard.py``, which has the full tables.
"""

from collections.abc import Callable
from itertools import permutations

import guard as simulation
import numpy as np
import pytest

from harness.analysis import score_drop
from harness.analysis.score_drop import AGREEMENT, ARM, CELL, CLASS, ERROR, LEVEL, RANKING, STUDY, Drop, Kept
from harness.studies.records import Predictions

KEPT = {name: networks for name, _, networks in simulation.kept_networks()}


def made_up(generator: np.random.Generator, *, arms: int = 4, seeds: int = 3, clips: int = 90) -> simulation.Networks:
    """A study of four classes, half of whose labels are observed; networks differ from clip to clip and as wholes."""
    truth = np.random.default_rng(7)
    labels = (truth.random((clips, 4)) < 0.4).astype(np.uint8)
    mask, hard = truth.random(labels.shape) < 0.5, truth.normal(0, 1, labels.shape)
    keys = np.array([f"{n:03}" for n in range(clips)])
    found = {}
    for arm in range(arms):
        for seed in range(seeds):
            skill = 1.2 + generator.normal(0, 0.15, 4)
            values = skill * (2.0 * labels - 1) + hard + generator.normal(0, 0.7, labels.shape)
            found[f"arm {arm}", seed] = Predictions(keys, labels, mask, 1 / (1 + np.exp(-values)))
    return found


def alarms(tests: list[Drop], tail: str = "fall") -> set[tuple[str, str, int]]:
    return {(d.level, d.arm, d.name) for d in tests if getattr(d, tail) < 1 - LEVEL}


def rate(clean: Callable[[], list[Drop]], runs: int) -> float:
    return float(np.mean([simulation.alarm(clean()) for _ in range(runs)]))


@pytest.mark.parametrize(
    ("world", "again"), [("trained anew", 1), ("trained anew", 3), ("rounding", 3), ("a small step", 3)]
)
def test_a_clean_run_raises_an_alarm_as_rarely_as_stated(world, again):
    generator, runs = np.random.default_rng(again), 80

    def clean() -> list[Drop]:
        kept = made_up(generator)
        if world == "trained anew":
            now = made_up(generator)
        else:
            draw = simulation.WORLDS[world]
            kept, now = draw(kept, generator), draw(kept, generator)
        return simulation.judged(Kept(kept), {place: p for place, p in now.items() if place[1] < again})

    assert rate(clean, runs) <= 0.07 + 2 * np.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("level", [STUDY, CLASS, ARM])
def test_what_is_called_seen_is_seen(level):
    generator, found = np.random.default_rng(1), []
    for _ in range(40):
        kept, now = Kept(made_up(generator)), made_up(generator)
        able = [d for d in simulation.judged(kept, now) if d.level == level and d.seen < 1]
        place = able[generator.integers(len(able))]
        share = min(d.seen for d in able if (d.arm, d.name) == (place.arm, place.name))
        columns = slice(None) if place.name < 0 else slice(place.name, place.name + 1)
        wrong = {
            where: simulation.mixed_up(p, generator, share, columns) if place.arm in ("", where[0]) else p
            for where, p in now.items()
        }
        found.append((level, place.arm, place.name) in alarms(simulation.judged(kept, wrong)))
    assert np.mean(found) >= 0.65


def test_a_class_of_one_arm_that_is_mixed_up_is_named():
    generator = np.random.default_rng(2)
    now = made_up(generator)
    wrong = {w: simulation.one_class(p, generator) if w[0] == "arm 2" else p for w, p in now.items()}
    found = alarms(simulation.judged(Kept(made_up(generator)), wrong))
    assert (CELL, "arm 2", 0) in found
    assert {arm for _, arm, _ in found} <= {"", "arm 2"}


def test_better_networks_rise_and_do_not_fall():
    generator = np.random.default_rng(3)
    kept = made_up(generator)
    better = {w: simulation.with_logits(p, simulation.logits(p) + 1.5 * (2.0 * p.labels - 1)) for w, p in kept.items()}
    tests = simulation.judged(Kept(kept), better)
    assert {(STUDY, "", -1), *((ARM, f"arm {n}", -1) for n in range(4))} <= alarms(tests, "rise")
    assert not alarms([d for d in tests if d.score in score_drop.LABELLED])


def test_a_shift_that_leaves_the_ranks_alone_is_seen_by_the_error():
    generator = np.random.default_rng(4)
    kept = made_up(generator)
    shifted = {w: simulation.with_logits(p, simulation.logits(p) - 3) for w, p in made_up(generator).items()}
    fell = {d.score for d in simulation.judged(Kept(kept), shifted) if d.fall < 1 - LEVEL}
    assert fell == {ERROR}


def test_bits_that_are_the_same_change_nothing():
    kept = made_up(np.random.default_rng(5))
    paired = [d for d in Kept(kept).tests(kept) if d.score != AGREEMENT]
    assert {d.change for d in paired} == {0.0}


def test_the_change_of_the_ranking_is_that_of_the_area_under_the_curve():
    """A rank correlation with labels is linear in the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(6)
    kept, now = made_up(generator, arms=1), made_up(generator, arms=1)
    place = ("arm 0", 0)
    (drop,) = [d for d in Kept(kept).tests({place: now[place]}) if (d.level, d.name, d.score) == (CELL, 1, RANKING)]
    rows = kept[place].mask[:, 1]
    y = kept[place].labels[rows, 1]
    before, after = (roc_auc_score(y, networks[place].probabilities[rows, 1]) for networks in (kept, now))
    share, n = y.mean(), rows.sum()
    slope = n * np.sqrt(share * (1 - share)) / np.sqrt((n**2 - 1) / 12)
    assert drop.change == pytest.approx(slope * (after - before), abs=1e-12)


@pytest.mark.parametrize("seeds", [1, 3])
def test_nothing_is_known_where_no_two_seeds_differ(seeds):
    first = made_up(np.random.default_rng(7), seeds=1)
    kept = Kept({(arm, seed): p for (arm, _), p in first.items() for seed in range(seeds)})
    assert not kept.known
    assert kept.tests(first) == []


def test_seeds_with_clips_of_their_own_tell_by_those_they_share():
    generator = np.random.default_rng(8)
    kept, now = made_up(generator, clips=240), made_up(generator, clips=240)

    def part(p: Predictions, seed: int) -> Predictions:
        rows = np.sort(np.random.default_rng(seed).choice(240, 120, replace=False))
        return Predictions(p.keys[rows], p.labels[rows], p.mask[rows], p.probabilities[rows])

    kept, now = ({w: part(p, w[1]) for w, p in networks.items()} for networks in (kept, now))
    tests = simulation.judged(Kept(kept), now)
    assert AGREEMENT not in {d.score for d in tests}
    assert not alarms(tests)
    assert (STUDY, "", -1) in alarms(
        simulation.judged(Kept(kept), {w: simulation.mixed_up(p, generator, 0.5) for w, p in now.items()})
    )


def test_each_level_and_each_study_has_its_part_of_the_alarms():
    one = Drop(ARM, "a", -1, RANKING, -0.1, 0.01, 16, -0.4, 0.0, fall=0.001, rise=0.999)
    (alone,) = score_drop.judge([[one]])
    (first, second), (other,), nothing = score_drop.judge([[one, one], [one], []])
    assert [alone[0].fall, first.fall, second.fall, other.fall] == pytest.approx([0.002, 0.008, 0.008, 0.004])
    assert nothing == []
    assert first.seen > other.seen > alone[0].seen > 0


# The records kept with the results.


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("fault", simulation.FAULTS)
def test_a_fault_in_all_arms_is_seen(name, fault):
    """In a run of all five studies, in networks that are as far from the kept ones as another seed."""
    generator = np.random.default_rng(2)
    kept, now = (simulation.another_seed(KEPT[name], generator) for _ in range(2))
    wrong = {place: simulation.FAULTS[fault](p, generator) for place, p in now.items()}
    found = alarms(simulation.judged(Kept(kept), wrong, studies=5))
    assert found
    if fault.startswith("one class"):
        assert (CLASS, "", 0) in found
        assert {n for level, _, n in found if level in (CLASS, CELL)} == {0}


@pytest.mark.parametrize("name", KEPT)
def test_another_kept_seed_in_the_place_of_one_raises_no_alarm(name):
    """A clean run by construction; where seeds have clips of their own there is no second training on the same ones."""
    networks = KEPT[name]
    kept = Kept(networks)
    for left, right in permutations(sorted({seed for _, seed in networks}), 2):
        now = {
            (arm, left): networks[arm, right]
            for arm, seed in networks
            if seed == left
            and (arm, right) in networks
            and np.array_equal(networks[arm, left].keys, networks[arm, right].keys)
        }
        if now:
            assert not simulation.alarm(simulation.judged(kept, now)), (left, right)
