"""Stale numbers: planted in tables, pages and records, each is named; where all is as recorded, nothing is."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import write_trials
from rich.console import Console

from harness.errors import RepriseError
from harness.report import build, stale, style, summary
from harness.report.arm_table import arm_table
from harness.studies import study as studies
from harness.studies.study import Study

PLACE = "attention_embeddings/pocket-openmic-pocket"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A study's results with the records that they were made from, and the page on all studies."""
    code = SimpleNamespace(
        tables=lambda study, records: [arm_table(study, records, replicates=20)],
        figures=lambda study, records: {"curve": (style.new_figure(1), "A curve")},
        explain=lambda study, records, folder, jobs=None: [],
    )
    monkeypatch.setattr(Study, "code", property(lambda self: code))
    study, out = studies.load("attention_embeddings"), tmp_path / "results"
    write_trials(tmp_path / "runs", study, arms=["vggish_pp", "rf"], conditions=["paper"], seeds=2, sizes=(20, 40))
    build.build(study, tmp_path / "runs", out / PLACE, console=Console(file=io.StringIO()))
    summary.write(out)
    return out


def test_what_is_as_the_records_have_it_is_not_stale(results: Path) -> None:
    before = {p: p.read_bytes() for p in sorted(results.rglob("*")) if p.is_file()}
    assert stale.stale(results) == []
    assert {p: p.read_bytes() for p in sorted(results.rglob("*")) if p.is_file()} == before


def test_a_stale_number_is_named_with_its_cell(results: Path) -> None:
    path = results / PLACE / "arms_test.csv"
    head, first, *rest = path.read_text().splitlines(keepends=True)
    column = head.strip().split(",").index("ours")
    cells = first.split(",")
    old, cells[column] = cells[column], f"{float(cells[column]) + 0.01:.6f}"
    path.write_text("".join([head, ",".join(cells), *rest]))
    (found,) = stale.stale(results)
    assert found == f"{PLACE}/arms_test.csv, row 1, ours: “{cells[column]}”, the records give “{old}”"


def test_a_stale_verdict_line_and_page_are_named(results: Path) -> None:
    for name, a, b in ((f"{PLACE}/verdicts.md", "undecided", "holds"), ("README.md", "not applicable", "replicated")):
        text = (results / name).read_text(encoding="utf-8")
        assert a in text
        (results / name).write_text(text.replace(a, b, 1), encoding="utf-8")
    found = stale.stale(results)
    assert [line.partition(",")[0] for line in found] == [f"{PLACE}/verdicts.md", "README.md"]


def test_a_table_that_is_gone_is_named(results: Path) -> None:
    (results / PLACE / "arms_test.tex").unlink()
    assert stale.stale(results) == [f"{PLACE}/arms_test.tex: is not there, though the records give it"]


def test_a_page_without_records_cannot_be_checked(results: Path) -> None:
    other = results / "gtzan_cam" / "pocket-gtzan-pocket"
    other.mkdir(parents=True)
    (other / "README.md").write_text("0.99")
    found = stale.stale(results)
    assert found == ["gtzan_cam/pocket-gtzan-pocket/README.md: no record is kept that it could be made from"]


def test_a_changed_record_is_an_error(results: Path) -> None:
    path = next(results.rglob("record.json"))
    path.write_text(path.read_text().replace('"seed"', '"seeds"', 1))
    with pytest.raises(RepriseError, match="was changed after it was written"):
        stale.stale(results)


@pytest.mark.parametrize(
    ("here", "again", "count"),
    [
        ("a,b\n1,0.123456\n", "a,b\n1,0.123457\n", 0),  # a sum that is rounded otherwise
        ("a,b\n1,0.123456\n", "a,b\n1,0.123458\n", 1),
        ("a,b\n1,0.123\n", "a,b\n1,0.124\n", 1),
        ("a,b\n1,2\n", "a,b\n1,3\n", 1),
        ("a,b\n1,x\n", "a,b\n1,y\n2,z\n", 3),
        ("a,b\n1,x\n2,z\n", "a,b\n1,x\n", 2),
        ("a\n" + "1\n" * 9, "a\n" + "2\n" * 9, 4),  # three, and how many more
    ],
)
def test_cells_are_compared(here: str, again: str, count: int) -> None:
    assert len(stale.compare("x.csv", here, again)) == count
