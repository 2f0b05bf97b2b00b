"""Writers of tables: cells of every kind, names that mean something to a format, and LaTeX that compiles."""

import doctest
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.report import writers
from harness.report.writers import (
    MINUS,
    UNDEFINED,
    Column,
    Number,
    Table,
    escape_latex,
    escape_markdown,
    in_points,
    shown,
)

#: Names of classes and arms that mean something to CSV, Markdown, HTML or LaTeX.
HOSTILE = (
    'a "quoted", comma', "a|pipe *bold* _it_ `code`", "<script>alert(1)</script>", r"\input{x} 50% & $x^2$ #1 ~{}",
    "[not] optional", "Den ⊙ ≥ → “x” \u22121°",
)  # fmt: skip


def table(names: tuple[str, ...] = HOSTILE, best: str = "best arm") -> Table:
    """A row per name, with the highest score last."""
    rows = [
        {
            "arm": name,
            "metric": "map_masked",
            "published": 0.5 + number / 100,
            "ours": Number(number / 10, number / 10 - 0.05, number / 10 + 0.05, doubtful=number == 0),
            "gain": Number(-0.01 * number, -0.05, 0.01, doubtful=True),
            "p": 10.0**-number,
            "records": "records/a records/b",
        }
        for number, name in enumerate(names)
    ]
    columns = (
        Column("arm", "Arm", "text"),
        Column("published", "Paper", "published"),
        Column("ours", "Ours", "estimate"),
        Column("gain", "Points", "points"),
        Column("p", "p", "p"),
        Column("records", "Records", "links"),
    )
    return Table("some", "Some arms", pd.DataFrame(rows), columns, ("arm",), caption="Corpus x_y.", best=best)


def cells(of: Table) -> list[list[str]]:
    """Cells of the Markdown, with what is escaped as it was."""
    body = writers.to_markdown(of).splitlines()[4:]
    rows = [line.replace(r"\|", "\0")[2:-2].split(" | ") for line in body if line.startswith("| ")]
    return [[cell.replace("\0", "|") for cell in row] for row in rows]


def test_examples_run() -> None:
    assert doctest.testmod(writers).failed == 0


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (Number(0.64, 0.6, 0.68), "estimate", "0.640 [0.600, 0.680]"),
        (Number(0.33, note="3 positives are too few for an interval"), "estimate", "0.330, 3 positives"),
        (Number(np.nan, note="undefined in 1 of 3 seeds"), "estimate", "undefined in 1 of 3 seeds"),
        (Number(np.nan), "score", UNDEFINED),
        (Number(0.33, 0.1, 0.5), "score", "0.330"),
        (Number(-0.0204, -0.05, 0.0004), "difference", f"{MINUS}0.020 [{MINUS}0.050, +0.000]"),
        (Number(-0.00001), "difference", "+0.000"),
        (Number(0.0123, -0.0005, 0.02), "points", f"+1.2 [{MINUS}0.1, +2.0]"),
        (Number(0.0004), "p", "< 0.001"),
        (Number(0.0404), "p", "0.040"),
        (Number(0.2861), "published", "0.2861"),
    ],
)
def test_numbers_are_shown_by_their_kind(number: Number, kind: str, text: str) -> None:
    assert shown(number, kind) == text


@pytest.mark.parametrize(("difference", "text"), [(0.0123, "+1.2"), (-0.0004, "+0.0"), (-0.02, f"{MINUS}2.0")])
def test_points_have_one_decimal_and_no_negative_zero(difference: float, text: str) -> None:
    assert in_points(difference) == text


def test_csv_gives_back_every_name_and_number() -> None:
    frame = pd.read_csv(io.StringIO(writers.to_csv(table())))
    assert frame["arm"].tolist() == list(HOSTILE)
    assert list(frame)[3:7] == ["ours", "ours_low", "ours_high", "ours_note"]
    np.testing.assert_allclose(frame["ours"], np.arange(len(HOSTILE)) / 10)
    np.testing.assert_allclose(frame["ours_high"] - frame["ours_low"], 0.1)
    assert frame["published"].astype(str).tolist()[0] == "0.5"


def test_the_note_is_whole_in_csv_and_short_in_the_cell() -> None:
    note = "3 positives are too few for an interval"
    frame = pd.DataFrame({"arm": ["a"], "ours": [Number(0.33, note=note)]})
    columns = (Column("arm", "Arm", "text"), Column("ours", "Ours", "estimate"))
    of = Table("t", "T", frame, columns, ("arm",))
    assert cells(of)[-1][1] == "0.330, 3 positives"
    assert note in writers.to_csv(of)


def test_markdown_shows_names_as_they_are_and_its_columns_hold() -> None:
    rows = cells(table())
    assert {len(row) for row in rows} == {6}
    assert [row[0] for row in rows] == [escape_markdown(name).replace(r"\|", "|") for name in HOSTILE]
    assert "<script>" not in writers.to_markdown(table()).replace(r"\<script", "")


def test_the_best_of_a_section_is_marked_where_the_table_says_of_what_it_is_the_best() -> None:
    rows = cells(table())
    assert [row[2].startswith("**") for row in rows] == [False] * 5 + [True]
    assert "Bold: best arm. Corpus x" in writers.to_markdown(table())
    plain = writers.to_markdown(table(best=""))
    assert "**" not in plain.replace(escape_markdown("*bold*"), "")
    assert "Bold" not in plain


def test_the_mark_is_not_made_by_replacing_text_of_the_caption() -> None:
    of = Table(**{**vars(table()), "caption": "Said *: best of all"})
    assert r"\*: best of all" in writers.to_markdown(of)
    assert "*: best of all" in writers.to_latex(of)


def test_a_lower_loss_is_the_better_one_and_a_row_alone_is_no_best() -> None:
    rows = {"arm": ["a", "b", "c"], "metric": ["log_loss", "log_loss", "accuracy"], "x": [0.4, 0.9, 0.1]}
    columns = (Column("arm", "Arm", "text"), Column("x", "X", "estimate"))
    of = Table("t", "T", pd.DataFrame(rows), columns, ("arm",), best="best arm")
    assert [row[1] for row in cells(of)] == ["**0.400**", "0.900", "0.100"]


def test_doubtful_numbers_are_marked() -> None:
    rows = cells(table())
    assert rows[0][2].endswith("°")
    assert not rows[1][2].endswith("°")


def test_terminal_fits_and_marks_without_colour() -> None:
    console = Console(width=writers.SCREEN, record=True, file=io.StringIO())
    console.print(writers.to_terminal(table(("first", "second", "third"))))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= writers.SCREEN
    assert "0.200* [0.150, 0.250]" in text
    assert f"0.000° [{MINUS}0.050, 0.050]" in text
    assert "*: best arm." in text


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30))
def test_no_name_breaks_a_row(name: str) -> None:
    of = table((name, "other"))
    assert {len(row) for row in cells(of)} == {6}
    assert writers.to_latex(of).count(r" \\") == 3
    assert len(pd.read_csv(io.StringIO(writers.to_csv(of)), keep_default_na=False)) == 2


def test_long_tables_are_several_in_latex() -> None:
    of = table(tuple(f"arm {n}" for n in range(150)))
    latex = writers.to_latex(of, prefix="x_")
    assert latex.count(r"\begin{table") == latex.count(r"\end{table") > 1
    assert r"\label{tab:x-some-2}" in latex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(tmp_path: Path) -> None:
    body = writers.to_latex(table(HOSTILE[:5]))
    head = "\\documentclass[twocolumn]{article}\\usepackage{array,booktabs,graphicx}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(head + body + "\\end{document}\n", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_latex_has_no_sign_that_means_something_left() -> None:
    assert escape_latex(r"50% & $x_1$ #~^\{}") == (
        r"50\% \& \$x\_1\$ \#\textasciitilde{}\textasciicircum{}\textbackslash{}\{\}"
    )


def test_files_are_written_and_the_same_twice(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert [p.name for p in writers.write(table(), tmp_path / folder)] == ["some.csv", "some.md", "some.tex"]
    for suffix in (".csv", ".md", ".tex"):
        assert (tmp_path / "a" / f"some{suffix}").read_bytes() == (tmp_path / "b" / f"some{suffix}").read_bytes()
