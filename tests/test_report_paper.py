"""Figures and tables for a paper: all of them from the kept records, in a document that compiles without complaint."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers import assert_readable, write_trials
from matplotlib.figure import Figure
from trials import reprise

from harness.analysis.study import Analysis
from harness.report import paper, style
from harness.report.writers import MINUS, UNDEFINED, Column, Table, to_latex
from harness.storage import write_json
from harness.studies import kept, records
from harness.studies import study as studies
from harness.studies.study import Study

ARMS = ("rf", "fc", "vggish", "vggish_pp")
NAME, PLACE = "attention_embeddings", "pocket-openmic-pocket"
#: Signs that LaTeX does not take as they are.
SIGNS = f"± 5 % → ⊙ “q” ≥ ° {UNDEFINED} {MINUS} <_^~\\"
#: Points by which a line may stick out.
MOST_POINTS = 3
needs_latex = pytest.mark.skipif(
    not shutil.which("pdflatex")
    or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode != 0,
    reason="no pdflatex with booktabs here",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results that hold kept records, a picture that the run drew with the networks, and tables of earlier."""
    folder = tmp_path_factory.mktemp("paper")
    study = studies.load(NAME)
    write_trials(folder / "runs", study, arms=ARMS, conditions=["paper"], seeds=2, sizes=(20, 40))
    explained = folder / "runs" / "explained"
    style.save(curve(), explained / "attention_over_time")
    write_json(explained / "index.json", {"figures": {"attention_over_time.png": "Attention over time", "a.webp": "A"}})
    keep(study, folder / "runs", folder / "results" / NAME / PLACE)
    (folder / "results" / NAME / PLACE / "earlier.tex").write_text("earlier")
    return folder / "results"


def keep(study: Study, runs: Path, results: Path) -> None:
    """Keep trials without making pages of them."""
    kept.write(kept.merge(study, runs, results), results, results)


def curve() -> Figure:
    """A picture that nothing is printed in."""
    figure = style.new_figure(1)
    figure.subplots().plot([1, 2])
    figure.axes[0].set_axis_off()
    return figure


@pytest.fixture(scope="module")
def made(results: Path) -> tuple[Path, str]:
    """The study's figures, and what the command said."""
    out = results.parent / "figures"
    result = reprise("figures", NAME, "--results", results, "--out", out)
    assert result.exit_code == 0, result.output
    return out / NAME, " ".join(result.output.split())


def compiled(folder: Path, name: str = "all.tex") -> str:
    """Compile a document twice; the log of the second time."""
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name],
            cwd=folder, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-1500:].decode(errors="replace")
    return (folder / name).with_suffix(".log").read_text(errors="replace")


def complaints(log: str) -> list[str]:
    """What LaTeX complains of: references, floats, signs that are missing, and lines that stick out."""
    found = re.findall(r"LaTeX Warning: .*|Missing character.*", log)
    wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\).*", log)
    return found + [f"{points} pt too wide" for points in wide if float(points) > MOST_POINTS]


def table_of(rows: Sequence[dict[str, str]], columns: Sequence[Column], caption: str = "Any.") -> Table:
    frame = pd.DataFrame(rows).assign(number=range(len(rows)), section="all", metric="accuracy")
    return Table("t", "A table", frame, tuple(columns), group=("number",), section="section", caption=caption)


def document(tables: Sequence[str], packages: str) -> str:
    body = "\n".join(tables)
    return (
        "\\documentclass[10pt,twocolumn]{article}\n\\usepackage[a4paper,textwidth=6.9in,textheight=9.7in]{geometry}\n"
        f"{packages}\n\\begin{{document}}\nText~\\ref{{tab:t}}.\n{body}\n\\end{{document}}\n"
    )


def test_everything_is_there(made: tuple[Path, str], results: Path) -> None:
    folder, said = made
    study = studies.load(NAME)
    found = records.find_records(results / NAME / PLACE / "records")
    analysis = Analysis(study, found)
    figures = {*study.code.figures(analysis), "traps", "attention_over_time"}
    tables = {*(table.name for table in study.code.tables(analysis)), "verdicts", "traps"}
    written = {path.name for path in (folder / PLACE).iterdir()}
    assert written == {f"{n}{s}" for n in figures for s in (".pdf", ".png")} | {f"{n}.tex" for n in tables}
    text = (folder / "all.tex").read_text(encoding="utf-8")
    assert set(re.findall(r"\{[\w-]+/(\w+)\.pdf\}", text)) == figures
    assert set(re.findall(r"\\input\{[\w-]+/(\w+)\.tex\}", text)) == tables
    assert f"{len(figures)} figures, {len(tables)} tables" in said


def test_figures_are_as_wide_as_a_page_and_in_times(made: tuple[Path, str]) -> None:
    for path in (p for p in (made[0] / PLACE).glob("*.pdf") if p.stem != "attention_over_time"):  # which the run drew
        data = path.read_bytes()
        (width,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ", data)
        assert float(width) == pytest.approx(72 * style.WIDTH, abs=1)
        fonts = set(re.findall(rb"/BaseFont /(?:[A-Z]{6}\+)?(\w+)", data))
        assert b"STIXGeneral" in b" ".join(fonts)
        assert b"DejaVuSans" not in fonts, path  # no sign was taken from elsewhere


def test_type_stays_readable_in_times(results: Path) -> None:
    study = studies.load(NAME)
    found = records.find_records(results / NAME / PLACE / "records")
    for figure, _ in study.code.figures(Analysis(study, found)).values():
        assert_readable(paper.in_times(figure))


@needs_latex
def test_the_document_compiles_without_complaint(made: tuple[Path, str]) -> None:
    log = compiled(made[0])
    assert complaints(log) == []
    assert "Output written on all.pdf" in log


@needs_latex
def test_complaints_are_heard(tmp_path: Path) -> None:
    text = r"\noindent\rule{9in}{1pt}\cite{nobody} \ref{nowhere}\begin{figure}\rule{1pt}{20in}\end{figure}"
    (tmp_path / "bad.tex").write_text(document([text], ""))
    said = " ".join(complaints(compiled(tmp_path, "bad.tex")))
    for word in ("too wide", "nobody", "nowhere", "Float too large"):
        assert word in said


@needs_latex
@pytest.mark.parametrize(
    ("rows", "columns", "floats"),
    [
        pytest.param([{"a": "x", "b": "[1"}], [Column("a", "A", "text"), Column("b", "B", "text")], 1, id="narrow"),
        pytest.param(
            [{f"c{i}": "0.123 [0.100, 0.150]" for i in range(9)}] * 5,
            [Column(f"c{i}", f"Estimate {i}", "text") for i in range(9)], 1, id="wider than the page",
        ),
        pytest.param(
            [{"a": "Sentence with words. " * (i % 9 + 1), "b": f"{i} {SIGNS}"} for i in range(60)],
            [Column("a", "Words", "text", width=0.3), Column("b", "Signs", "text")], None, id="longer than pages",
        ),
        pytest.param([{"a": str(i)} for i in range(90)], [Column("a", "A", "text")], None, id="long and narrow"),
    ],
)  # fmt: skip
def test_a_table_compiles_where_it_is_pasted(rows, columns, floats, tmp_path: Path) -> None:
    text = to_latex(table_of(rows, columns, caption="Words of the caption. " * 60))
    packages = re.match(r"% Needs (\\usepackage\{[\w,]+\})\n", text)
    assert packages
    (tmp_path / "t.tex").write_text(document([text], packages[1]), encoding="utf-8")
    assert complaints(compiled(tmp_path, "t.tex")) == []
    number = len(re.findall(r"\\begin\{table\*?\}", text))
    assert number == floats if floats else number > 1
    assert text.count(r"\label{tab:t}") == 1
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == len(rows) + number  # every row once, and a head on each page


def test_a_table_spans_columns_only_where_it_must() -> None:
    narrow = to_latex(table_of([{"a": "x"}], [Column("a", "A", "text")]))
    wide = to_latex(table_of([{"a": "x" * 80}], [Column("a", "A", "text")]))
    assert r"\begin{table}" in narrow
    assert r"\begin{table*}" in wide


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study that draws little."""

    def figures(analysis: Analysis) -> dict:
        return {"curve": (curve(), "A curve of 5 %")}

    code = SimpleNamespace(tables=lambda analysis: [], figures=figures)
    monkeypatch.setattr(Study, "code", property(lambda self: code))
    monkeypatch.setattr(paper.build, "judge", lambda analysis, out: None)
    return studies.load(NAME)


def test_files_are_the_same_twice_and_labels_of_two_corpora_differ(small: Study, tmp_path: Path) -> None:
    folders = []
    for corpus in ("pocket-a", "pocket-b"):
        write_trials(tmp_path / corpus, small, arms=["rf"], conditions=["paper"], sizes=(20, 40), corpus=corpus)
        folders.append(tmp_path / "results" / small.name / f"{corpus}-pocket")
        keep(small, tmp_path / corpus, folders[-1])
    for name in ("one", "two"):
        paper.write(small, folders, tmp_path / name)
    one = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.*")}
    two = {path.relative_to(tmp_path / "two"): path.read_bytes() for path in (tmp_path / "two").rglob("*.*")}
    assert one == two
    labels = re.findall(r"\\label\{(.+)\}", (tmp_path / "one" / "all.tex").read_text())
    assert "fig:pocket-a-pocket-curve" in labels
    assert len(labels) == len(set(labels)) >= 2


def test_without_kept_records_one_sentence_names_the_way_out(tmp_path: Path) -> None:
    for arguments in ([], [NAME]):
        result = reprise("figures", *arguments, "--results", tmp_path, "--out", tmp_path / "figures")
        assert result.exit_code == 1
        assert re.match(r"reprise: nothing is kept under .*attention_embeddings.*; `reprise keep STUDY`", result.stderr)
    assert not (tmp_path / "figures").exists()
