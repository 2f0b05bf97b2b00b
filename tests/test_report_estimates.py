"""Scores from records: means over seeds, intervals, differences, provenance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import write_trials

from harness.metrics import multilabel, seeds, uncertainty
from harness.report import estimates
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study

METRICS = ("f1_macro_unmasked", "map_masked", "f1_macro2_masked")


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("openmic_transfer")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    names = ("paper", "masked", "moving-statistics", "official-split")
    return write_trials(tmp_path_factory.mktemp("runs"), study, conditions=names, seeds=2)


def test_one_seed_is_the_bootstrap_of_its_predictions(records: list[Record]) -> None:
    record = estimates.select(records, "vggish_fc", "paper")[0]
    p = record.predictions("test")
    found = estimates.estimate([record], "test", METRICS, replicates=200, level=0.9)
    scores = multilabel.evaluate(p.labels, p.probabilities, p.mask)
    intervals = uncertainty.bootstrap(p.labels, p.probabilities, p.mask, metrics=METRICS, replicates=200, level=0.9)
    for name in METRICS:
        assert found[name].value == pytest.approx(scores[name], abs=1e-12)
        assert (found[name].low, found[name].high) == pytest.approx(intervals[name], abs=1e-12)
    assert found["map_masked"].chance == pytest.approx(multilabel.chance(p.labels, p.mask)["map_masked"])


def test_chance_is_the_best_that_can_be_had_without_listening(records: list[Record]) -> None:
    found = estimates.estimate(estimates.select(records, "vggish_full", "paper"), "test", METRICS, replicates=50)
    p = records[0].predictions("test")
    assert multilabel.chance(p.labels, p.mask)["f1_macro2_masked"] < 0.5 == found["f1_macro2_masked"].chance
    assert found["map_masked"].above_chance
    guesser = estimates.estimate(estimates.select(records, "resnet_fc", "paper"), "test", METRICS, replicates=50)
    assert not guesser["map_masked"].above_chance


def test_intervals_are_over_seeds_and_the_same_resampled_clips(records: list[Record]) -> None:
    of_arm = estimates.select(records, "resnet_full", "paper")
    assert [r.seed for r in of_arm] == [0, 1]
    found = estimates.estimate(of_arm, "test", METRICS, replicates=300)
    drawn, scores = [], []
    for p in (r.predictions("test") for r in of_arm):
        scores.append(multilabel.evaluate(p.labels, p.probabilities, p.mask))
        drawn.append(uncertainty.distribution(p.labels, p.probabilities, p.mask, metrics=METRICS, replicates=300))
    for name in METRICS:
        mean = np.mean([s[name] for s in scores])
        replicates = seeds.Replicates(np.array([s[name] for s in scores]), np.stack([d[name] for d in drawn]))
        expected = uncertainty.interval(mean, seeds.joint(replicates))
        assert (found[name].value, found[name].low, found[name].high) == pytest.approx((mean, *expected), abs=1e-12)


def test_difference_to_itself_is_zero_and_pairing_narrows(records: list[Record]) -> None:
    base, masked, official = (
        estimates.select(records, "vggish_full", c) for c in ("paper", "masked", "official-split")
    )
    same, paired = estimates.difference(base, base, "test", METRICS, replicates=100)
    assert paired
    assert all((e.value, e.low, e.high) == (0, 0, 0) for e in same.values())
    gain, paired = estimates.difference(masked, base, "test", METRICS, replicates=300)
    loss, _ = estimates.difference(base, masked, "test", METRICS, replicates=300)
    assert paired
    for name in METRICS:
        assert gain[name].value == pytest.approx(-loss[name].value)
        # The deviations of seeds are drawn alike for both, the clips' are turned around.
        assert (gain[name].low, gain[name].high) == pytest.approx((-loss[name].high, -loss[name].low), abs=0.02)
        assert gain[name].chance is None
    gain, _ = estimates.difference(masked[:1], base, "test", METRICS, replicates=300)
    apart, paired = estimates.difference(official[:1], base, "test", METRICS, replicates=300)
    assert not paired
    widths = [e["f1_macro_unmasked"].high - e["f1_macro_unmasked"].low for e in (gain, apart)]
    assert widths[0] < widths[1]


def test_only_common_seeds_are_compared(records: list[Record]) -> None:
    base, masked = (estimates.select(records, "vggish_fc", c) for c in ("paper", "masked"))
    one, _ = estimates.difference(masked[:1], base, "test", METRICS, replicates=50)
    expected, _ = estimates.difference(masked[:1], base[:1], "test", METRICS, replicates=50)
    assert one == expected
    none, _ = estimates.difference(masked[:1], base[1:], "test", METRICS, replicates=50)
    assert none["map_masked"] == estimates.Estimate(None, None, None)


def test_conditions_side_by_side_are_for_all_arms_and_on_the_same_clips(study: Study, records: list[Record]) -> None:
    assert estimates.conditions(study, records) == ["paper", "masked"]
    assert estimates.conditions(study, [r for r in records if r.condition == "official-split"]) == ["official-split"]
    assert estimates.conditions(study, []) == []


def test_best_arms_are_chosen_on_the_validation_part(study: Study, records: list[Record]) -> None:
    assert estimates.best_arms(study, records, "paper") == {"resnet50": "resnet_full", "vggish": "vggish_full"}
    changed = []
    for r in records:
        part = {"vggish_fc_2emb": "valid", "vggish_fc_3emb": "test"}.get(r.arm)
        metrics = {**r.data["metrics"], **({part: {"f1_macro_unmasked": 0.99}} if part else {})}
        changed.append(replace(r, data={**r.data, "metrics": metrics}))
    assert estimates.best_arms(study, changed, "paper")["vggish"] == "vggish_fc_2emb"


def test_undefined_scores_stay_undefined(tmp_path: Path, study: Study) -> None:
    """Two clips whose classes are all present or all absent: nothing can be ranked."""
    records = write_trials(tmp_path, study, conditions=("paper",), sizes=(1, 1))
    found = estimates.estimate(records[:1], "test", METRICS, replicates=20)
    assert (found["map_masked"].value, found["map_masked"].low, found["map_masked"].chance) == (None, None, None)
    assert not found["map_masked"].above_chance


@pytest.mark.parametrize(
    ("corpus", "profile", "weights", "said"),
    [
        ("openmic-2018", "paper", "published", None),
        ("pocket-openmic", "pocket", "random", "those come from corpus openmic-2018, profile paper, published weights"),
        ("openmic-2018", "paper", "random", "those come from published weights"),
    ],
)
def test_what_is_no_replication_says_so(
    tmp_path: Path, study: Study, corpus: str, profile: str, weights: str, said: str | None
) -> None:
    records = write_trials(
        tmp_path, study, conditions=("paper",), corpus=corpus, profile=profile, weights=weights, sizes=(2, 3)
    )
    sentence = estimates.provenance(study, records, "test").sentence()
    assert f"Corpus {corpus}, profile {profile}, weights {weights}" in sentence
    assert "split random-80-15-5, test part, 3 clips; 1 seed." in sentence
    if said is None:
        assert "Not a replication" not in sentence
    else:
        assert f"Not a replication of the published values: {said}." in sentence


def test_trials_on_stand_in_notes_are_never_side_by_side_with_unpublished_ones(tmp_path: Path) -> None:
    """As published in all that can be: the printed values are of notes that nobody else has."""
    notes = studies.load("single_notes")
    found = write_trials(
        tmp_path, notes, arms=["setup_1"], conditions=["paper"], sizes=(4, 8), classes="abcdefg",
        corpus="tinysol", profile="paper", weights="published",
    )  # fmt: skip
    hidden = f"{notes.paper['unpublished']} (not public)"
    for r in found:
        r.data["protocol"]["weights"] = notes.protocol["weights"]
    origin = estimates.provenance(notes, found, "test")
    assert origin.departures == (hidden,)
    assert f"Not a replication of the published values: those come from {hidden}." in origin.sentence()


def test_captions_say_what_intervals_are_over(records: list[Record]) -> None:
    several, one = estimates.select(records, "vggish_fc", "paper"), estimates.select(records, "resnet_fc", "paper")[:1]
    say = estimates.interval_in_words
    assert say(several, "songs", 300, 0.9) == (
        "90% basic bootstrap interval over seeds and songs together (300 replicates)"
    )
    assert say(one, "clips") == (
        "95% basic bootstrap interval over clips (1,000 replicates); one seed, nothing is known of others"
    )
    assert say([*several, *one], "clips").endswith(
        "together (1,000 replicates; where there is one seed, over clips alone)"
    )


def test_another_split_is_no_replication_either(study: Study, records: list[Record]) -> None:
    official = [r for r in records if r.condition == "official-split"]
    assert "split random-80-15-5" in estimates.provenance(study, official, "test").departures
