"""The paper's tables beside ours, as numbers and as text."""

import csv
import io
import re
import shutil
import subprocess
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
from harness.report.tables import Table
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("openmic_transfer")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    names = ("paper", "masked", "moving-statistics", "official-split")
    return write_trials(tmp_path_factory.mktemp("runs"), study, conditions=names, sizes=(30, 60))


@pytest.fixture(scope="module")
def table_iv(study: Study, records: list[Record]) -> Table:
    return tables.score_table(study, records, "IV", replicates=100)


def in_terminal(table: Table, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(tables.to_terminal(table))
    return console.file.getvalue()


def test_score_table_holds_the_papers_values_and_ours(study: Study, records: list[Record], table_iv: Table) -> None:
    frame = table_iv.frame.set_index(["arm", "metric"])
    assert len(frame) == 4 * 3
    assert frame.loc[("vggish_full", "jaccard_samples_unmasked"), "published"] == 0.5443
    assert frame.loc[("vggish_fc", "f1_macro_unmasked"), "parameters_published"] == "~25k"
    assert frame.loc[("vggish_fc", "f1_macro_unmasked"), "parameters"] == 25_620
    assert not any("moving" in column or "official" in column for column in frame)
    for condition in ("paper", "masked"):
        record = estimates.select(records, "vggish_fc_2emb", condition)[0]
        p = record.predictions("test")
        row = frame.loc[("vggish_fc_2emb", "f1_micro_unmasked")]
        assert row[f"ours_{condition}"] == pytest.approx(record.data["metrics"]["test"]["f1_micro_unmasked"])
        assert row[f"ours_{condition}_low"] <= row[f"ours_{condition}"] <= row[f"ours_{condition}_high"]
        assert row["chance"] == pytest.approx(multilabel.chance(p.labels, p.mask)["f1_micro_unmasked"])


@pytest.mark.parametrize("table_id", ["I", "II", "III", "IV"])
def test_every_published_value_is_in_its_table(study: Study, records: list[Record], table_id: str) -> None:
    frame = tables.score_table(study, records, table_id, replicates=10).frame
    ours = {(row.arm, row.metric): row.published for row in frame.itertuples()}
    assert ours == {(p["arm"], p["metric"]): p["value"] for p in study.published if p["table"] == table_id}
    part = study.tables[table_id]["split"]
    record = estimates.select(records, frame["arm"][0], "paper")[0]
    assert frame["ours_paper"][0] == pytest.approx(record.data["metrics"][part]["f1_macro_unmasked"])


def test_caption_says_what_the_numbers_stand_on(table_iv: Table) -> None:
    for part in (
        "Corpus pocket-openmic",
        "profile pocket",
        "weights random",
        "60 clips",
        "1 seed",
        "95% basic bootstrap",
    ):
        assert part in table_iv.caption
    assert "Not a replication of the published values" in table_iv.caption
    assert "Table IV (its column heads say validation: a slip)" in table_iv.caption


def test_masked_table_has_every_arm(study: Study, records: list[Record]) -> None:
    table = tables.masked_table(study, records, replicates=50)
    frame = table.frame
    assert "Chance of F1 (2-class): to guess each class as often as it occurs." in table.caption
    assert list(dict.fromkeys(frame["arm"])) == [arm.name for arm in study.arms]
    assert set(frame["metric"]) == {"f1_macro2_masked", "map_masked", "roc_auc_masked"}
    assert (frame.loc[frame["metric"] == "roc_auc_masked", "chance"] == 0.5).all()
    assert frame["published"].isna().all()


def test_condition_table_gives_differences(study: Study, records: list[Record]) -> None:
    table = tables.condition_table(study, records, replicates=50)
    frame = table.frame
    np.testing.assert_allclose(frame["score"] - frame["base"], frame["difference"])
    assert set(frame.loc[frame["condition"] == "moving-statistics", "arm"]) == {"resnet_fc"}
    assert not frame.loc[frame["condition"] == "official-split", "paired"].any()
    assert frame.loc[frame["condition"] == "masked", "paired"].all()
    assert "seed by seed and on the same clips where both have them; with the 95% basic" in table.caption
    assert "split random-80-15-5, official" in table.caption


def test_missing_trials_leave_gaps(study: Study, records: list[Record]) -> None:
    some = [r for r in records if r.arm == "vggish_fc"]
    table = tables.score_table(study, some, "IV", replicates=10)
    row = table.frame.set_index(["arm", "metric"]).loc[("vggish_full", "f1_macro_unmasked")]
    assert row["published"] == 0.6405
    assert row[["ours_paper", "chance", "parameters"]].isna().all()
    assert "nan" not in (tables.to_csv(table) + tables.to_markdown(table) + tables.to_latex(table)).lower()
    assert "25620" in tables.to_csv(table)


def test_what_cannot_be_shown_is_an_error(study: Study, records: list[Record]) -> None:
    with pytest.raises(RepriseError, match="no table 'V'; it has I, II, III, IV"):
        tables.score_table(study, records, "V")
    with pytest.raises(RepriseError, match="run the study first"):
        tables.score_table(study, [r for r in records if r.arm == "resnet_fc"], "IV")
    with pytest.raises(RepriseError, match="scored different clips"):
        tables.score_table(study, records, "IV", conditions=["paper", "official-split"], replicates=5)
    with pytest.raises(RepriseError, match="run the study with both"):
        tables.condition_table(study, [r for r in records if r.condition == "paper"])


def test_csv_can_be_read_back(table_iv: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(tables.to_csv(table_iv))))
    assert len(rows) == len(table_iv.frame)
    assert rows[0]["published"] == "0.5665"
    assert rows[0]["parameters"] == "25620"
    assert float(rows[3]["ours_masked_low"]) == pytest.approx(table_iv.frame["ours_masked_low"][3], abs=1e-6)
    context = [rows[0][name] for name in ("corpus", "profile", "weights", "split", "part", "clips", "seeds")]
    assert context == ["pocket-openmic", "pocket", "random", "random-80-15-5", "test", "60", "1"]


def test_markdown_is_a_table_with_the_best_in_bold(table_iv: Table) -> None:
    text = tables.to_markdown(table_iv)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {9}
    assert "**0.6405**" in text
    assert len(lines) == 2 + 12
    assert sum("FC + all embedding layers" in line for line in lines) == 1
    best = table_iv.frame.loc[table_iv.frame["metric"] == "f1_micro_unmasked", "ours_paper"].max()
    assert f"**{best:.3f} [" in text
    assert "Bold: best arm" in text
    assert "“masked”: The loss counts only" in text


def test_doubtful_scores_are_marked(table_iv: Table) -> None:
    frame = table_iv.frame.copy()
    frame["chance"] = frame["ours_paper_low"]
    frame.loc[0, "chance"] -= 1e-6
    marks = re.findall(r"\][°]?(?=\*\* \||\s\|)", tables.to_markdown(replace(table_iv, frame=frame)))
    ours_paper = marks[::2]
    assert ours_paper == ["]"] + ["]°"] * 11


def test_terminal_fits_and_marks_without_colour(study: Study, records: list[Record], table_iv: Table) -> None:
    for table in (table_iv, tables.masked_table(study, records, replicates=10)):
        text = in_terminal(table)
        assert max(map(len, text.splitlines())) <= 100
        assert "…" not in text
    text = in_terminal(table_iv)
    for word in ("72,166,804", "(~72m)", "embedding", "Chance", "0.6405*", "Not a replication"):
        assert word in text
    row = next(line for line in text.splitlines() if "Macro F1" in line)
    frame = table_iv.frame
    assert f"{frame['ours_paper'][0]:.3f}" in row
    assert "0.5665" in row
    assert "best arm" in " ".join(text.split())


def test_terminal_shows_more_than_two_conditions_in_turn(study: Study, records: list[Record]) -> None:
    extra = [replace(r, data={**r.data, "condition": "random-weights"}) for r in records if r.condition == "masked"]
    table = tables.score_table(study, [*records, *extra], "IV", replicates=10)
    text = in_terminal(table)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("Table IV: ") == 2
    assert "random weights" in text


def strange_study(study: Study) -> Study:
    """A study whose titles hold everything that markup trips over."""
    arms = tuple(replace(arm, title=f"[50 % & {arm.name}_#1 | ~2^3 {{x}} \\ <5$*") for arm in study.arms)
    return replace(study, arms=arms)


def test_latex_escapes_and_balances(study: Study, records: list[Record]) -> None:
    text = tables.to_latex(tables.score_table(strange_study(study), records, "IV", replicates=10))
    assert r"{}[50 \% \& vggish\_fc\_\#1 | \textasciitilde{}2\textasciicircum{}3 \{x\} \textbackslash{} $<$5\$*" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {7}
    assert r"\textbf{0.6405}" in text


def test_markdown_escapes(study: Study, records: list[Record]) -> None:
    text = tables.to_markdown(tables.score_table(strange_study(study), records, "IV", replicates=10))
    assert r"[50 % & vggish\_fc\_#1 \| \~2^3 {x} \\ \<5$\*" in text


def test_latex_compiles(study: Study, records: list[Record], tmp_path: Path) -> None:
    if not shutil.which("pdflatex") or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode:
        pytest.skip("no pdflatex with booktabs here")
    built = [
        tables.score_table(strange_study(study), records, "III", replicates=10),
        tables.condition_table(study, records, replicates=10),
    ]
    body = "\n".join(map(tables.to_latex, built))
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n" + body + "\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-1500:]


def test_files_are_written_whole_and_the_same_twice(study: Study, records: list[Record], tmp_path: Path) -> None:
    first, second = (
        tables.write(tables.score_table(study, order, "IV", replicates=20), tmp_path / name)
        for name, order in (("a", records), ("b", records[::-1]))
    )
    assert [path.name for path in first] == ["table_IV.csv", "table_IV.md", "table_IV.tex"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert b"\r" not in a.read_bytes()


def test_tables_know_no_study_by_name(study: Study, tmp_path: Path) -> None:
    """Another study, with one network, one arm and one published score."""
    arm = replace(study.arms[0], name="only", title="Only arm", network="tiny", parameters=12)
    other = replace(
        study,
        name="other",
        folder=tmp_path,
        arms=(arm,),
        tables={
            "2": {"title": "the tiny network on the test part", "network": "tiny", "split": "test", "where": "p. 3"}
        },
        published=({"table": "2", "arm": "only", "split": "test", "metric": "map_masked", "value": 0.75},),
    )
    found = write_trials(tmp_path, other, conditions=("paper",), classes=("a", "b"), skills=[0.3])
    frame = tables.score_table(other, found, "2", replicates=20).frame
    assert isinstance(frame, pd.DataFrame)
    assert frame[["arm", "metric", "published", "parameters"]].values.tolist() == [["only", "map_masked", 0.75, 12]]
