"""The table of claims and the forest of orders: they say what was judged, and never contradict the letters."""

import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import CLASSES, assert_readable, write_trials
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.analysis.verdicts import COLUMNS, NOT_APPLICABLE, departures
from harness.report import orderings, tables, writers
from harness.report import verdicts as shown
from harness.report.writers import MINUS, Table
from harness.studies import study as studies

ARMS = ("resnet_fc", "resnet_full", "vggish_fc", "vggish_full")
SKILLS = {"resnet_fc": 0.0, "resnet_full": 0.25, "vggish_fc": 0.15, "vggish_full": 0.45}
METRIC = "f1_macro_unmasked"


def order(above: str, below: str, relation: str = "above", **others) -> dict:
    text = f"{above} {relation} {below}"
    return {"kind": "order", "above": above, "below": below, "relation": relation, "metric": METRIC, "where": "7",
            "text": text, **others}  # fmt: skip


CLAIMS = (
    order("vggish_full", "vggish_fc", text="Unfreezing <all> | gains", reading="gains is more"),
    order("vggish_fc", "vggish_full", relation="at least", margin=0.02),
    order("resnet_full", "vggish_fc", relation="equal", margin=0.01),
    order("resnet_fc", "vggish_fc", about_pretraining=True),
    {"kind": "value", "arm": "vggish_full", "metric": METRIC, "value": 0.6, "margin": 0.05, "margin_why": "planted",
     "where": "8", "text": "It has 0.6"},
    {"kind": "not judged", "where": "9", "text": "It is nice", "why": "taste"},
)  # fmt: skip


def analysed(folder: Path, claims=CLAIMS, *, seeds: int = 3, skills=SKILLS, sizes=(30, 90), arms=ARMS) -> Analysis:
    study = replace(studies.load("openmic_transfer"), claims=claims, published=())
    records = write_trials(
        folder, study, arms=arms, conditions=["paper"], skills=skills, seeds=seeds, classes=CLASSES[:4], sizes=sizes
    )
    return Analysis(study, records, replicates=200)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return analysed(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def judged(analysis: Analysis) -> pd.DataFrame:
    return analysis.verdicts


@pytest.fixture(scope="module")
def table(analysis: Analysis) -> Table:
    return shown.table(analysis)


@pytest.fixture(scope="module")
def forest(analysis: Analysis) -> Figure:
    return orderings.forest(analysis)


def test_a_row_for_every_claim_with_what_was_judged(table: Table, judged: pd.DataFrame) -> None:
    assert set(COLUMNS) <= set(table.frame)
    pd.testing.assert_frame_equal(
        table.frame[COLUMNS].drop(columns=["kind", "seeds", "more_seeds"]),
        judged.drop(columns=["kind", "seeds", "more_seeds"]),
    )
    first = table.frame.iloc[0]
    assert first["verdict_said"] == "holds"
    assert first["ours_said"] == f"{first['ours']:+.3f} [{first['low']:+.3f}, {first['high']:+.3f}]"
    assert table.frame["published_said"].tolist() == [
        "above", "not lower by more than 0.02", "equal within 0.01", "above", "0.60 ± 0.05", writers.UNDEFINED
    ]  # fmt: skip
    reverse = table.frame.iloc[1]
    assert reverse["verdict"] == "reversed"
    assert reverse["ours_said"].startswith(MINUS)
    assert table.frame.iloc[-1]["verdict_said"] == "not judged: taste"


def test_what_cannot_be_judged_says_why_in_few_words_and_in_full(table: Table, analysis: Analysis) -> None:
    value = table.frame.iloc[4]
    whole = departures(analysis, analysis.select("vggish_full"))
    assert len(whole) > 2
    assert value["why"] == "; ".join(whole)
    assert value["verdict_said"] == f"{NOT_APPLICABLE}: {whole[0]}, and {len(whole) - 1} more"
    about_pretraining = table.frame.iloc[3]
    assert about_pretraining["verdict"] == NOT_APPLICABLE
    assert np.isnan(about_pretraining["p"])


def test_the_caption_says_how_many_were_tested_and_what_error_rate_that_keeps(table: Table, analysis: Analysis) -> None:
    assert f"All {analysis.family.tested} differences of scores on this page are tested together" in table.caption
    assert "95%" in table.caption
    assert table.title.endswith(" not applicable, 1 not judged")
    assert table.notes.startswith("Margins: 0.05, planted. Our readings: “Unfreezing <all> | gains”: gains is more.")


def test_files_hold_every_claim_and_every_reason(table: Table, tmp_path: Path) -> None:
    writers.write(table, tmp_path)
    frame = pd.read_csv(tmp_path / "verdicts.csv")
    assert frame["claim"].tolist() == table.frame["claim"].tolist()
    assert frame["corpus"].eq("pocket-openmic").all()
    text = (tmp_path / "verdicts.md").read_text(encoding="utf-8")
    assert r"Unfreezing \<all\> \| gains" in text
    assert "(records/vggish_full@paper)" in text
    assert "nan" not in text.lower()
    assert "records/" not in (tmp_path / "verdicts.tex").read_text(encoding="utf-8")


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    made = shown.table(analysed(tmp_path, seeds=1))
    assert set(made.frame["verdict"]) <= {"undecided", "not applicable", "not judged"}
    assert "tested together" not in made.caption


def test_the_forest_shows_the_intervals_that_decide(forest: Figure, judged: pd.DataFrame) -> None:
    assert_readable(forest)
    orders = judged[judged["kind"] == "order"]
    axes = forest.axes[0]
    lines = {tuple(line.get_xdata()): line for line in axes.lines if len(line.get_xdata()) == 2}
    drawn = orders[orders["verdict"] != NOT_APPLICABLE]
    for row in drawn.itertuples():
        assert (row.low, row.high) in lines
    assert any("not applicable" in text.get_text() for text in axes.texts)
    labels = [text.get_text() for text in forest.legends[0].get_texts()]
    assert labels[:3] == [
        f"{word} ({(drawn['verdict'].replace('does not hold', 'reversed') == key).sum()})"
        for word, key in (
            ("holds", "holds"),
            ("undecided", "undecided"),
            ("reversed or unequal" if "does not hold" in set(drawn["verdict"]) else "reversed", "reversed"),
        )
    ]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.sampled_from((0.0, 0.1, 0.2, 0.3, 0.5)), min_size=4, max_size=4),
    st.integers(2, 3),
    st.integers(30, 100),
)
def test_letters_claims_and_differences_of_a_page_never_contradict(
    tmp_path_factory: pytest.TempPathFactory, skills: list[float], seeds: int, clips: int
) -> None:
    claims = tuple(order(above, below) for above, below in permutations(ARMS, 2))
    folder = tmp_path_factory.mktemp("runs")
    analysis = analysed(folder, claims, seeds=seeds, skills=dict(zip(ARMS, skills, strict=True)), sizes=(20, clips))
    frame = shown.table(analysis).frame
    letters = tables.arm_table(analysis).frame.set_index("arm")["tied"]
    for row in frame.itertuples():
        share_none = set(letters[row.above]).isdisjoint(letters[row.below])
        if row.verdict in ("holds", "reversed"):
            assert share_none
            assert row.low > 0 or row.high < 0
            assert row.p <= 0.05
        elif row.verdict == "undecided":
            assert not share_none
            assert row.low <= 0 <= row.high
            assert row.p > 0.05
    verdict_of = {(row.above, row.below): row.verdict for row in frame.itertuples()}
    turned = {"holds": "reversed", "reversed": "holds"}
    for (above, below), verdict in verdict_of.items():
        assert verdict_of[below, above] == turned.get(verdict, verdict)
    shutil.rmtree(folder)
