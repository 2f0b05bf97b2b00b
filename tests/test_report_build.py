"""A report shows what the study's own code offers, and clears away what its last page showed."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import write_trials
from rich.console import Console

from harness.errors import RepriseError
from harness.report import build, standard, style
from harness.report.arm_table import arm_table
from harness.studies import kept
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
        "curve_f1_macro2_masked.png", "curve_f1_macro2_masked.pdf", "verdicts.csv", "verdicts.md", "verdicts.tex",
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


@pytest.fixture
def asking(study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The study with a table and a figure that need the weights."""

    def figures(study, records):
        found = {"curve": (style.new_figure(1), "A curve [1]")}
        if all((r.folder / "best.safetensors").exists() for r in records):
            found = {"filters": (style.new_figure(1), "Filters"), **found}
        return found

    def explain(study, records, folder, *, jobs=None):
        assert (records[0].folder / "best.safetensors").exists()
        (folder / "player").mkdir(parents=True, exist_ok=True)
        (folder / "player" / "index.html").write_text("")
        table = arm_table(study, records, replicates=10)
        return [replace(table, name="layers_test", title="Of layers"), replace(table, name="a_test", title="Of a")]

    monkeypatch.setattr(study.code, "figures", figures)
    monkeypatch.setattr(study.code, "explain", explain)
    return study


def test_the_page_can_be_made_again_from_what_is_kept(asking: Study, tmp_path: Path) -> None:
    write_trials(tmp_path / "runs", asking, arms=["vggish_pp"], conditions=["paper"], seeds=2, sizes=(20, 20))
    out = tmp_path / "out"
    build.build(asking, tmp_path / "runs", out, console=Console(file=io.StringIO()))
    before = {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    assert (out / "records" / "vggish_pp@paper" / "seed-1" / "predictions.npz") in before
    assert not list(out.rglob("*.safetensors"))
    of_networks, _ = kept.vouched(out)
    assert set(of_networks) == {f"{name}_test{s}" for name in ("layers", "a") for s in (".csv", ".md", ".tex")}
    shutil.rmtree(tmp_path / "runs")
    console = Console(file=io.StringIO(), width=200)
    page = build.build(asking, out / "records", out, console=console)
    assert "which have no weights: gallery, player" in console.file.getvalue()
    text = page.read_text(encoding="utf-8")
    assert text.index("### F1") < text.index("### Of layers") < text.index("### Of a") < text.index("## Filters")
    assert {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()} == before


def test_a_stale_number_does_not_survive_a_report_from_what_is_kept(asking: Study, tmp_path: Path) -> None:
    write_trials(tmp_path / "runs", asking, arms=["vggish_pp"], conditions=["paper"], sizes=(20, 20))
    out = tmp_path / "out"
    build.build(asking, tmp_path / "runs", out, console=Console(file=io.StringIO()))
    path = out / "arms_test.csv"
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace("0.", "0.9"))
    (out / "README.md").write_text((out / "README.md").read_text().replace("0.", "0.9"))
    build.build(asking, out / "records", out, console=Console(file=io.StringIO()))
    assert path.read_text(encoding="utf-8") == sound
    (out / "records" / "vggish_pp@paper" / "seed-0" / "predictions.npz").write_bytes(b"")
    with pytest.raises(RepriseError, match="was changed after"):
        build.build(asking, out / "records", out, console=Console(file=io.StringIO()))


def test_tables_that_are_not_made_any_more_go(asking: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trials(tmp_path / "runs", asking, arms=["vggish_pp"], conditions=["paper"], sizes=(20, 20))
    out = tmp_path / "out"
    build.build(asking, tmp_path / "runs", out, console=Console(file=io.StringIO()))
    (out / "mine.md").write_text("Notes of mine")
    monkeypatch.setattr(asking.code, "explain", lambda *arguments, **options: [])
    page = build.build(asking, tmp_path / "runs", out, console=Console(file=io.StringIO()))
    assert "Of layers" not in page.read_text(encoding="utf-8")
    assert sorted(p.name for p in out.glob("*.md")) == ["README.md", "arms_test.md", "mine.md", "verdicts.md"]
    assert not list(out.glob("layers_test.*"))


def test_groups_that_nobody_knows_are_not_named_so(tmp_path: Path) -> None:
    genres = studies.load("gtzan_cam")
    (record,) = write_trials(
        tmp_path, genres, arms=["base"], conditions=["track"], sizes=(20, 20), classes="abcdefghij",
        corpus="pocket-gtzan",
    )  # fmt: skip
    for known, said in ((12, "Artists on both sides"), (0, "Tracks on both sides")):
        record.data["inputs"]["corpus"] = {"artists": known}
        page = build._page(genres, [record], [], {}, tmp_path)
        assert f"{said} of the split" in page
        assert ("the corpus does not know the artists." in page) == (not known)
