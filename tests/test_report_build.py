"""A report shows what the study's own code offers, and clears away what its last page showed."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import write_trials
from rich.console import Console

from harness.report import build, standard, style
from harness.report.arm_table import arm_table
from harness.studies import study as studies
from harness.studies.study import Study


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study whose code draws one empty figure, named by its metric."""

    def explain(study, records, folder, *, jobs=None):
        (folder / "gallery").mkdir(parents=True, exist_ok=True)
        (folder / "gallery" / "index.html").write_text("")
        return []

    code = SimpleNamespace(
        tables=lambda study, records: [arm_table(study, records, replicates=10)],
        figures=lambda study, records: {f"curve_{study.metric}": (style.new_figure(1), "A curve")},
        explain=explain,
    )
    monkeypatch.setattr(Study, "code", property(lambda self: code))
    return studies.load("attention_embeddings")


def test_the_page_shows_what_the_studys_code_offers(study: Study, tmp_path: Path) -> None:
    write_trials(tmp_path / "runs", study, arms=["vggish_pp", "rf"], conditions=["paper"], sizes=(20, 20))
    out = tmp_path / "out"
    console = Console(width=100, file=io.StringIO())
    page = build.build(study, tmp_path / "runs", out, console=console)
    text = page.read_text(encoding="utf-8")
    assert "### F1 (2-class) of every arm on the test part" in text
    assert "![A curve](curve_f1_macro2_masked.png)" in text
    assert "gallery/index.html" in text
    assert "of every arm" in console.file.getvalue()
    found = {p.name for p in out.iterdir() if p.is_file()}
    assert found == {
        "README.md", "arms_test.csv", "arms_test.md", "arms_test.tex",
        "curve_f1_macro2_masked.png", "curve_f1_macro2_masked.pdf",
    }  # fmt: skip


def test_figures_of_an_earlier_report_go_and_nothing_else(study: Study, tmp_path: Path) -> None:
    write_trials(tmp_path / "runs", study, arms=["vggish_pp"], conditions=["paper"], sizes=(20, 20))
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "above.png").touch()
    for name in ("earlier.png", "earlier.pdf", "mine.png"):
        (out / name).touch()
    (out / "README.md").write_text("![Earlier](earlier.png)\n\n![Elsewhere](../above.png)\n\n![No file](gone.png)\n")
    build.build(study, tmp_path / "runs", out, console=Console(file=io.StringIO()))
    assert not (out / "earlier.png").exists()
    assert not (out / "earlier.pdf").exists()
    assert (out / "mine.png").exists()
    assert (tmp_path / "above.png").exists()


def test_the_first_study_shows_the_standard(tmp_path: Path) -> None:
    study = studies.load("openmic_transfer")
    assert (study.code.tables, study.code.figures) == (standard.tables, standard.figures)
    found = write_trials(tmp_path, study, arms=["vggish_fc"], sizes=(12, 12))
    names = [table.name for table in standard.tables(study, found)]
    assert names == ["table_II", "table_IV", "masked_test", "conditions_test"]
    names = [table.name for table in standard.tables(study, [r for r in found if r.condition == "paper"])]
    assert names == ["table_II", "table_IV", "masked_test"]
