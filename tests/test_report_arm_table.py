"""The table of arms: means and spreads over seeds with their intervals, chance, and what is printed."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import write_trials
from rich.console import Console

from harness.errors import RepriseError
from harness.metrics import multilabel
from harness.report import estimates, tables
from harness.report.arm_table import arm_table
from harness.report.writers import UNDEFINED, Table
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study

METRIC = "f1_macro2_masked"
ARMS = ["vggish_pp", "vggish_random", "log_mel", "textual", "rf"]


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("attention_embeddings")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    skills = dict(zip(ARMS, (0.4, 0.0, 0.1, 0.2, 0.3), strict=True))
    folder = tmp_path_factory.mktemp("runs")
    found = write_trials(folder, study, arms=ARMS, conditions=["paper"], seeds=3, skills=skills)
    return [r for r in found if r.arm != "rf" or r.seed == 0]


@pytest.fixture(scope="module")
def table(study: Study, records: list[Record]) -> Table:
    return arm_table(study, records, replicates=100)


def test_one_row_per_arm_with_mean_spread_and_interval(table: Table, records: list[Record]) -> None:
    frame = table.frame.set_index("arm")
    assert list(frame.index) == [*ARMS, "fc_t"]  # for the last a value is printed
    of_arm = estimates.select(records, "textual", "paper")
    values = [r.data["metrics"]["test"][METRIC] for r in of_arm]
    row = frame.loc["textual"]
    assert row["seeds_of_arm"] == 3
    assert row["ours"] == pytest.approx(np.mean(values))
    assert row["deviation"] == pytest.approx(np.sqrt(np.sum((values - np.mean(values)) ** 2) / 2))
    found = estimates.estimate(of_arm, "test", [METRIC], replicates=100)[METRIC]
    assert (row["ours_low"], row["ours_high"]) == (found.low, found.high)
    for name in ("f1_macro_pos_masked", "map_masked"):
        assert row[name] == pytest.approx(np.mean([r.data["metrics"]["test"][name] for r in of_arm]))
    assert row["started_from"] == "textual on pocket-nsynth"
    assert frame.loc["log_mel", "started_from"] == "none"


def test_chance_is_computed_from_the_labels(table: Table, records: list[Record]) -> None:
    p = records[0].predictions("test")
    constant = multilabel.chance(p.labels, p.mask)[METRIC]
    assert (table.frame["constant"].dropna() == constant).all()
    assert (table.frame["chance"].dropna() == 0.5).all()
    assert f"A constant answer, of each class the more frequent, scores {constant:.4f}." in table.caption


def test_printed_values_keep_their_digits_and_source(table: Table, study: Study) -> None:
    frame = table.frame.set_index("arm")
    assert frame["published"].dropna().to_dict() == {"rf": 0.784, "fc_t": 0.797}
    for text in (tables.to_markdown(table), tables.to_csv(table)):
        assert "0.784" in text
        assert "0.7840" not in text
    assert study.tables["controls"]["where"] in table.caption


def test_seeds_are_counted_arm_by_arm(table: Table, tmp_path: Path) -> None:
    tables.write(table, tmp_path)
    frame = pd.read_csv(tmp_path / "arms_test.csv").set_index("arm")
    assert frame["seeds_of_arm"].to_dict() == {**dict.fromkeys(ARMS[:4], 3), "rf": 1, "fc_t": 0}
    assert pd.isna(frame.loc["rf", "deviation"])
    assert (frame["seeds"] == 3).all()  # of the whole table
    text = tables.to_markdown(table)
    assert f"{UNDEFINED} (1)" in text
    assert "nan" not in text


def test_what_is_no_better_than_chance_is_marked(table: Table) -> None:
    lines = {line.split(" | ")[0][2:]: line for line in tables.to_markdown(table).splitlines() if line[:2] == "| "}
    assert "]°" in lines["VGGish random"]
    assert "**" in lines["VGGish PP"]
    assert "]°" not in lines["VGGish PP"]


def test_caption_says_what_the_numbers_stand_on(table: Table) -> None:
    for part in (
        "Corpus pocket-openmic, profile pocket",
        "weights aed on pocket-audioset, random, none, textual on pocket-nsynth",
        "split gururani, test part, 120 clips; 3 seeds",
        "those come from corpus openmic-2018, profile paper, published weights of vggish and words.",
    ):
        assert part in table.caption


def test_terminal_fits(study: Study, tmp_path: Path) -> None:
    everything = arm_table(study, write_trials(tmp_path, study, conditions=["paper"], seeds=2), replicates=10)
    console = Console(width=100, file=io.StringIO())
    console.print(tables.to_terminal(everything))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    head = text.split("──")[0]
    assert all(word in head for word in ("Arm", "Pre-training", "Printed", "SD", "(presence)", "mAP", "Chance"))


def test_published_corpus_and_weights_are_no_departure(study: Study, tmp_path: Path) -> None:
    found = write_trials(
        tmp_path, study, conditions=["paper"], corpus="openmic-2018", profile="paper", weights="published"
    )
    origin = estimates.provenance(study, found, "test")
    assert origin.departures == ()
    assert origin.weights.startswith("published, random, none, textual on nsynth, den_add on nsynth")
    changed = [
        replace(
            r, data={**r.data, "protocol": {**r.data["protocol"], "weights": {"vggish": "published", "words": "x"}}}
        )
        for r in found
    ]
    assert estimates.provenance(study, changed, "test").departures == ("published weights of words",)


def test_another_condition_is_not_shown(study: Study, records: list[Record]) -> None:
    changed = [replace(r, data={**r.data, "condition": "group-norm"}) for r in records]
    with pytest.raises(RepriseError, match="no arm of attention_embeddings has a record under 'paper'; run it first"):
        arm_table(study, changed)


def test_clips_of_one_class_have_their_own_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replications.single_notes.checks.units", lambda records: {})  # invented notes have no pitch
    notes = studies.load("single_notes")
    skills = {"setup_1": 0.4, "svm_mfcc": 0.5, "logreg_logmel": 0.0}
    found = write_trials(
        tmp_path,
        notes,
        arms=list(skills),
        conditions=["paper"],
        seeds=2,
        sizes=(20, 70),
        classes="abcdefg",
        skills=skills,
    )
    made = arm_table(notes, found, replicates=100)
    frame = made.frame.set_index("arm")
    for name in ("balanced_accuracy", "f1_macro"):
        values = [r.data["metrics"]["test"][name] for r in found if r.arm == "setup_1"]
        assert frame.loc["setup_1", name] == pytest.approx(np.mean(values))
    assert 0.15 < frame.loc["svm_mfcc", "chance"] < 0.25
    assert frame["published"].dropna().to_dict() == {"setup_1": 0.77, "setup_2": 0.74, "setup_3": 0.77, "setup_4": 0.8}
    lines = tables.to_markdown(made)
    assert "]°" in next(line for line in lines.splitlines() if "logistic" in line)
    assert "Accuracy (balanced)" in lines
    console = Console(width=100, file=io.StringIO())
    console.print(tables.to_terminal(made))
    assert max(map(len, console.file.getvalue().splitlines())) <= 100
    assert "Chance" in console.file.getvalue().split("──")[0]
