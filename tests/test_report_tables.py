"""Tables of a study: what they show is what the frames hold, and what they say of it."""

import doctest
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers import CLASSES, write_trials
from sklearn.metrics import f1_score

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.report import tables, writers
from harness.report.writers import Number
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study

ARMS = ("resnet_fc", "resnet_full", "vggish_fc", "vggish_full")
SKILLS = {"resnet_fc": 0.0, "resnet_full": 0.3, "vggish_fc": 0.1, "vggish_full": 0.45}


@pytest.fixture(scope="module")
def study() -> Study:
    """The unfreezing study without what it claims in words, so that no check is called."""
    return replace(studies.load("openmic_transfer"), claims=())


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    return write_trials(tmp_path_factory.mktemp("runs"), study, arms=ARMS, skills=SKILLS, seeds=3, classes=CLASSES[:6])


@pytest.fixture(scope="module")
def analysis(study: Study, records: list[Record]) -> Analysis:
    return Analysis(study, records, replicates=100)


def row_of(frame, **wanted):
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_examples_run() -> None:
    assert doctest.testmod(tables).failed == 0


def test_a_cell_has_the_estimate_and_is_doubtful_unless_above_chance(analysis: Analysis) -> None:
    rows = tables.averages(analysis)
    cells = tables.numbers(rows)
    assert len(cells) == len(rows)
    for cell, row in zip(cells, rows.itertuples(), strict=True):
        assert cell[:3] == (row.mean, row.low, row.high)
    for arm in ARMS:
        row = row_of(rows, arm=arm, condition="paper", metric="f1_macro_unmasked")
        assert cells[row.name].doubtful != analysis.above_chance(arm)
    assert {cell.doubtful for cell in cells} == {True, False}


def test_a_difference_is_doubtful_exactly_where_its_interval_holds_0(analysis: Analysis) -> None:
    cells = tables.differences(analysis.contrasts)
    assert {cell.doubtful for cell in cells} == {True, False}
    for cell, decided in zip(cells, analysis.contrasts["decided"], strict=True):
        assert cell.doubtful == (not decided) == (cell.low <= 0 <= cell.high)


def test_score_table_holds_the_papers_values_and_ours(analysis: Analysis, study: Study) -> None:
    table = tables.score_table(analysis, "IV")
    published = {(p["arm"], p["metric"]): p["value"] for p in study.published if p["table"] == "IV"}
    assert len(table.frame) == len(published)  # arms without a record keep theirs
    estimates = tables.averages(analysis)
    for row in table.frame.to_dict("records"):
        assert row["published"] == published[row["arm"], row["metric"]]
        if row["arm"] not in ARMS:
            assert isinstance(row["ours_paper"], float)
            assert math.isnan(row["ours_paper"])
            continue
        ours = row_of(estimates, arm=row["arm"], condition="paper", metric=row["metric"])
        assert row["ours_paper"].value == ours["mean"]
        assert row["chance"] == ours["chance"]
        assert row["tied"] == analysis.letters(row["metric"])[row["arm"]]
    heads = [column.title for column in table.columns]
    assert heads == ["Layers trained", "Parameters (paper)", "Metric", "Paper", "Ours: missing = absent",
                     "Ours: masked", "Tied", "Chance"]  # fmt: skip


def test_a_caption_says_what_the_numbers_stand_on(analysis: Analysis) -> None:
    caption = tables.score_table(analysis, "IV").caption
    for part in ("Corpus pocket-openmic", "profile pocket", "weights random", "test part, 120 clips", "3 seeds",
                 "Not a replication of the published values", f"All {analysis.family.tested} differences",
                 "the score of naming every class"):  # fmt: skip
        assert part in caption


def test_made_as_published_nothing_is_said_against_it(study: Study, records: list[Record]) -> None:
    def published(record: Record) -> Record:
        network = study.arm(record.arm).network
        data = dict(record.data) | {
            "corpus": "openmic-2018", "profile": "paper", "weights": {"kind": "published"},
            "protocol": study.resolve("paper", "paper", network=network),
            "split": record.data["split"] | {"name": study.protocol["split"]},
            "inputs": {"corpus": {"complete": True, "clips": 20_000}},
        }  # fmt: skip
        return replace(record, data=data)

    found = Analysis(study, [published(r) for r in records if r.condition == "paper"], replicates=100)
    assert "Not a replication" not in tables.origin(found)


def test_seeds_that_did_not_learn_are_told_with_the_interquartile_mean(study: Study, tmp_path) -> None:
    found = write_trials(tmp_path, study, arms=ARMS, conditions=["paper"], skills=SKILLS, seeds=3, classes=CLASSES[:6])
    failed = next(r for r in found if r.arm == "vggish_full" and r.seed == 2)
    analysis = Analysis(study, found, replicates=100)
    for part in ("valid", "test"):
        p = analysis.predictions(failed, part)
        p.probabilities[:] = 0.01
    row = row_of(tables.arm_table(analysis).frame, arm="vggish_full")
    assert row["trained"] == "2 of 3 trained"
    assert row["iqm"] > row["ours"].value
    words = tables.failed_in_words(analysis, analysis.select("vggish_full"))
    assert words.startswith("Above chance on the validation part by macro F1: 2 of 3 seeds of ")
    assert "else all" not in words  # there is no other arm
    assert f"interquartile mean on the test part {row['iqm']:.3f}" in words


def test_usual_table_has_every_arm_by_the_usual_scores(analysis: Analysis) -> None:
    frame = tables.usual_table(analysis).frame
    assert set(frame["arm"]) == set(ARMS)
    assert set(frame["metric"]) == {"f1_macro2_masked", "f1_macro_pos_masked", "map_masked"}


def test_condition_table_shows_the_intervals_that_decide(analysis: Analysis) -> None:
    frame = tables.condition_table(analysis).frame
    contrasts = analysis.contrasts[analysis.contrasts["kind"] == "conditions"]
    assert len(frame) == len(contrasts)
    for row in frame.to_dict("records"):
        one = row_of(contrasts, above=f"{row['arm']}@masked", metric=row["metric"])
        assert row["difference"][:3] == (one["difference"], one["low_adjusted"], one["high_adjusted"])
        assert row["ours"] - row["base"] == pytest.approx(one["difference"])


def test_arm_table_has_mean_spread_and_letters(analysis: Analysis) -> None:
    table = tables.arm_table(analysis)
    row = row_of(table.frame, arm="vggish_full")
    parts = [analysis.predictions(r, "test") for r in analysis.select("vggish_full")]
    ours = [f1_score(p.labels * p.mask, p.probabilities >= 0.5, average="macro") for p in parts]
    assert row["ours"].value == pytest.approx(np.mean(ours))
    assert row["sd"] == pytest.approx(np.std(ours, ddof=1))
    letters = analysis.letters()
    assert row["tied"] == letters["vggish_full"]
    assert any(column.name == "tied" for column in table.columns)


def test_one_seed_has_no_letters_and_decides_nothing(study: Study, records: list[Record]) -> None:
    analysis = Analysis(study, [r for r in records if r.seed == 0], replicates=100)
    for table in (tables.arm_table(analysis), tables.score_table(analysis, "IV")):
        assert "tied" not in [column.name for column in table.columns]
        assert "one seed says nothing of others" in table.caption
    assert all(cell.doubtful for cell in tables.condition_table(analysis).frame["difference"])
    assert tables.tied_in_words(analysis) == ""


def test_missing_trials_leave_gaps(study: Study, records: list[Record]) -> None:
    some = [r for r in records if (r.arm, r.condition) != ("vggish_fc", "masked")]
    frame = tables.score_table(Analysis(study, some, replicates=100), "IV").frame
    gap = frame[frame["arm"] == "vggish_fc"]
    assert all(isinstance(cell, Number) for cell in gap["ours_paper"])
    assert not any(isinstance(cell, Number) for cell in gap["ours_masked"])


def test_what_cannot_be_shown_is_an_error(study: Study, records: list[Record], analysis: Analysis) -> None:
    with pytest.raises(RepriseError, match="has no table 'V'; it has I, II, III, IV"):
        tables.score_table(analysis, "V")
    masked = Analysis(study, [r for r in records if r.condition == "masked"], replicates=100)
    with pytest.raises(RepriseError, match="under 'paper'; run it first"):
        tables.arm_table(masked)
    with pytest.raises(RepriseError, match="run the study with both"):
        tables.condition_table(masked)
    one = Analysis(study, [r for r in records if r.arm == "resnet_fc"], replicates=100)
    with pytest.raises(RepriseError, match="run the study first"):
        tables.score_table(one, "IV")


def test_files_say_the_corpus_in_every_row(analysis: Analysis) -> None:
    text = writers.to_csv(tables.score_table(analysis, "IV"))
    assert all("pocket-openmic,pocket,random," in line for line in text.splitlines()[1:])


def test_arms_of_two_networks_with_one_title_are_told_apart(study: Study) -> None:
    assert tables.arm_title(study, "resnet_full") != tables.arm_title(study, "vggish_full")
