"""Letters of tied arms: what shares them, over which seeds and units, and what the sentence says."""

from pathlib import Path

import numpy as np
import pytest
from helpers import write_trials
from scipy import stats

from harness.corpora.segments import clips_of
from harness.metrics import multilabel
from harness.metrics.comparison import letters, told_apart
from harness.metrics.seeds import Trial, distributions
from harness.report import estimates, resampling, ties, writers
from harness.report.arm_table import arm_table
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study

ARMS = ("vggish_pp", "vggish_norm", "vggish_random", "log_mel")
METRICS = ("f1_macro2_masked", "map_masked")


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("attention_embeddings")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    """Two arms as good as each other, one better, one that guesses."""
    skills = dict(zip(ARMS, (0.2, 0.2, 0.4, 0.0), strict=True))
    return write_trials(tmp_path_factory.mktemp("runs"), study, arms=ARMS, conditions=["paper"], seeds=3, skills=skills)


def test_equal_arms_share_a_letter_and_others_do_not(study: Study, records: list[Record]) -> None:
    found = ties.ties(study, records, METRICS, replicates=300)
    for metric in METRICS:
        assert found.letters[metric] == {"vggish_random": "a", "vggish_pp": "b", "vggish_norm": "b", "log_mel": "c"}
    assert found.of("map_masked", "log_mel") == "c"
    assert found.of("map_masked", "rf") is None
    tests = []
    for metric in METRICS:
        scores = [[r.data["metrics"]["test"][metric] for r in records if r.arm == arm] for arm in ARMS]
        tests.append(f"{stats.friedmanchisquare(*scores).pvalue:.3f} by {estimates.in_words(metric)}")
    assert found.caption == (
        "Tied: arms that share a letter cannot be told apart at 95% (all pairs, Holm), by 3 seeds and resampled clips "
        f"together. Friedman's test of all arms at once, the seeds as blocks: p = {', '.join(tests)}."
    )


def test_letters_agree_with_those_of_the_predictions(study: Study, records: list[Record]) -> None:
    """Another way to the same: trials as the metrics see them, without records."""
    arms = {}
    for arm in ARMS:
        parts = [r.predictions("test") for r in records if r.arm == arm]
        trials = [Trial(p.labels, p.probabilities, p.mask, clips_of(p.keys)) for p in parts]
        arms[arm] = distributions(trials, metrics=["map_masked"], replicates=300, scoring=multilabel)["map_masked"]
    ranked = sorted(arms, key=lambda arm: -arms[arm].score)
    expected = letters(ranked, told_apart([arms[arm] for arm in ranked], level=0.9))
    assert ties.ties(study, records, ["map_masked"], replicates=300, level=0.9).letters["map_masked"] == expected


def test_order_of_records_does_not_matter(study: Study, records: list[Record]) -> None:
    assert ties.ties(study, records[::-1], METRICS, replicates=50) == ties.ties(study, records, METRICS, replicates=50)


def test_seeds_that_not_all_have_do_not_count(study: Study, records: list[Record]) -> None:
    fewer = [r for r in records if r.arm != "log_mel" or r.seed != 1]
    found = ties.ties(study, fewer, METRICS, replicates=100)
    without = ties.ties(study, [r for r in records if r.seed != 1], METRICS, replicates=100)
    assert found.letters == without.letters
    assert "by the 2 seeds that all arms have and resampled clips together. Friedman" in found.caption
    alone = ties.ties(study, [r for r in records if r.arm != "log_mel" or r.seed == 2], METRICS, replicates=100)
    assert "by seed 2, which alone all arms have, on resampled clips; only clips were drawn" in alone.caption
    none = ties.ties(study, [r for r in records if (r.arm == "log_mel") == (r.seed == 2)], METRICS)
    assert (none.letters, none.caption) == ({}, "Tied: nothing is said, since there is no seed that all arms have.")


def test_one_seed_draws_only_clips_and_says_so(study: Study, records: list[Record]) -> None:
    found = ties.ties(study, [r for r in records if r.seed == 0], METRICS, arms="nets", replicates=100)
    assert "nets that share a letter" in found.caption
    assert found.caption.endswith(
        "by the one seed on resampled clips; only clips were drawn, and other seeds may differ."
    )
    assert found.of("map_masked", "vggish_random") == "a"


def test_one_arm_is_tied_with_none(study: Study, records: list[Record]) -> None:
    assert ties.ties(study, [r for r in records if r.arm == "log_mel"], METRICS) == ties.Ties({}, "")
    table = arm_table(study, [r for r in records if r.arm == "log_mel"], replicates=10)
    assert ties.COLUMN not in table.columns
    assert "Tied" not in table.caption


def test_a_loss_is_ranked_upside_down_and_units_are_drawn_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = studies.load("single_notes")
    skills = {"setup_1": 0.2, "setup_2": 0.8}
    found = write_trials(
        tmp_path, notes, arms=list(skills), conditions=["paper"], seeds=2, sizes=(20, 90), classes="abc", skills=skills
    )
    pitch: dict[str, str] = {}
    monkeypatch.setattr("replications.single_notes.checks.units", lambda records: pitch)
    apart = ties.ties(notes, found, ["log_loss", "accuracy"], replicates=200)
    assert apart.letters["log_loss"] == apart.letters["accuracy"] == {"setup_2": "a", "setup_1": "b"}
    assert "resampled pitches of an instrument together" in apart.caption
    # Were all notes of one pitch there would be nothing to resample: each replicate is the part itself.
    keys = found[0].predictions("test").keys
    pitch |= dict.fromkeys(np.concatenate([r.predictions("test").keys for r in found]).tolist(), "c4")
    _, units = resampling.units_of(notes, found)
    assert set(units(keys).tolist()) == {"c4"}
    drawn = resampling.Draws([[keys]], 5, units)
    assert all((w == 1).all() for w in drawn.weights(keys))


@pytest.mark.parametrize(
    ("full", "short"), [("a", "a"), ("ab", "ab"), ("abc", "a-c"), ("acdefh", "ac-fh"), ("", ""), (None, None)]
)
def test_runs_are_shown_by_their_ends(full: str | None, short: str | None) -> None:
    assert ties.in_short(full) == (short and short.replace("-", writers.UNDEFINED))


def test_tables_show_them_and_files_have_them_in_full(study: Study, records: list[Record]) -> None:
    table = arm_table(study, records, replicates=100)
    assert table.frame.set_index("arm")["tied"].dropna().to_dict() == dict(zip(ARMS, "bbac", strict=True))
    assert ",tied," in writers.to_csv(table).splitlines()[0]
    assert "| Tied |" in writers.to_markdown(table)
    assert "cannot be told apart at 95\\%" in writers.to_latex(table)
