"""Stale results: planted in tables, frames, traps, pages, pictures, records and explanations, each is named."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import write_trials

from harness.errors import RepriseError
from harness.report import build, publish, stale, style, summary
from harness.report.tables import arm_table
from harness.storage import write_text
from harness.studies import records
from harness.studies import study as studies
from harness.studies.study import Study

#: A published corpus, which is not here.
PLACE = "attention_embeddings/openmic-2018-pocket"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study's results with the records that they were made from, and the page on all studies."""

    def explain(study: Study, found: list, folder: Path, *, jobs: int | None = None) -> dict:
        write_text(folder / "gallery" / "index.html", "a page")
        write_text(folder / "film.pdf", "for print")
        return {"figures": {"film.webp": "A film"}}

    code = SimpleNamespace(
        tables=lambda analysis: [arm_table(analysis)],
        figures=lambda analysis: {"curve": (style.new_figure(1), "A curve")},
        explain=explain,
    )
    study, folder = studies.load("attention_embeddings"), tmp_path_factory.mktemp("made")
    runs, results = (folder / name / PLACE for name in ("runs", "results"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(folder / "home"))  # as every test has one of its own, which is empty, too
        patch.setattr(Study, "code", property(lambda self: code))
        found = write_trials(
            runs, study, arms=["vggish_pp", "rf"], conditions=["paper"], seeds=2, sizes=(20, 40), corpus="openmic-2018"
        )
        for record in found:
            write_text(record.folder / "layers.csv", "layer,score\nconv1,0.123456\n")
            files = tuple(name for name in record.data["files"] if name != "predictions.npz")
            records.write_record(
                record.folder, {k: v for k, v in record.data.items() if k != "checksum"}, (*files, "layers.csv")
            )
        write_text(runs / "clips.csv", "key,group\na,1\n")
        build.explain(study, found, runs / "explained")
        report = publish.keep(study, runs, results, say=lambda line: None)
        summary.write(folder / "results", [report])
        yield folder / "results"


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of these."""
    return Path(shutil.copytree(made, tmp_path / "results"))


def change(path: Path, column: str) -> str:
    """Add a hundredth to the first number in a column of a CSV file; what a check will say of it."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    place = rows[0].index(column)
    row = next(number for number, cells in enumerate(rows) if number and cells[place])
    old, rows[row][place] = rows[row][place], f"{float(rows[row][place]) + 0.01:.6f}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return f"row {row}, {column}: “{rows[row][place]}”, the records give “{old}”"


def test_what_is_as_the_records_have_it_is_not_stale(results: Path) -> None:
    before = {p: p.read_bytes() for p in sorted(results.rglob("*")) if p.is_file()}
    assert stale.stale(results) == []
    assert {p: p.read_bytes() for p in sorted(results.rglob("*")) if p.is_file()} == before


def test_files_for_print_need_not_be_there(results: Path) -> None:
    pages = list(results.rglob("*.pdf"))
    assert results / PLACE / "explained" / "film.pdf" in pages
    for page in pages:  # as on a fresh clone
        page.unlink()
    assert stale.stale(results) == []


def test_a_stale_number_is_named_with_its_cell(results: Path) -> None:
    """On a published corpus, too, which nobody has to have for it."""
    cells = {
        "contrasts.csv": "difference",
        "estimates.csv": "mean",
        "traps/traps.csv": "effect",
        "verdicts.csv": "ours",
    }
    said = [f"{PLACE}/{name}, {change(results / PLACE / name, column)}" for name, column in cells.items()]
    assert sorted(stale.stale(results)) == said


def test_a_stale_line_of_every_kind_of_page_is_named(results: Path) -> None:
    names = [f"{PLACE}/{name}" for name in ("README.md", "arms_test.tex", "verdicts.md", "traps/traps.tex")]
    names.append("README.md")
    for name in names:
        lines = (results / name).read_text(encoding="utf-8").splitlines(keepends=True)
        lines[len(lines) // 2] = "0.99\n"
        (results / name).write_text("".join(lines), encoding="utf-8")
    assert sorted(line.partition(",")[0] for line in stale.stale(results)) == sorted(names)


def test_files_that_are_gone_are_named(results: Path) -> None:
    names = ["arms_test.tex", "records/REASONS.md", "traps/traps.md", "verdicts.csv"]
    for name in names:
        (results / PLACE / name).unlink()
    assert stale.stale(results) == [f"{PLACE}/{name}: is not there, though the records give it" for name in names]


def test_files_that_nothing_gives_are_named(results: Path) -> None:
    names = [
        f"{PLACE}/{name}" for name in ("earlier.csv", "earlier.png", "records/SHA256SUMS", "records/rf@paper/m.csv")
    ]
    names.append("gtzan_cam/pocket-gtzan-pocket/README.md")  # without a record
    for name in names:
        write_text(results / name, "0.99\n")
    assert stale.stale(results) == [f"{name}: no kept record gives it; remove it" for name in sorted(names)]


@pytest.mark.parametrize("name", ["layers.csv", "predictions.npz", "record.json"])
def test_an_edited_file_of_a_trial_is_named(results: Path, name: str) -> None:
    path = results / PLACE / "records" / "rf@paper" / "seed-1" / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0.1", b"0.2", 1) if b"0.1" in content else content + b"\n")
    (found,) = stale.stale(results)
    assert found.startswith(f"{PLACE}/records/rf@paper/seed-1/{name} was changed after ")
    path.unlink()
    if name != "record.json":  # without one it is no trial
        (found,) = stale.stale(results)
        assert found.startswith(f"{PLACE}/records/rf@paper/seed-1/{name} is missing")


def test_an_edited_file_of_the_explanations_is_named(results: Path) -> None:
    folder = results / PLACE / "explained"
    (folder / "gallery" / "index.html").write_text("another page")
    (folder / "mine.png").touch()
    assert stale.stale(results) == [
        f"{PLACE}/explained/gallery/index.html: was changed after the run made it",
        f"{PLACE}/explained/mine.png: the run did not make it; remove it",
    ]
    (folder / "mine.png").unlink()
    (folder / "gallery" / "index.html").unlink()
    assert stale.stale(results) == [f"{PLACE}/explained/gallery/index.html: is not there, though the run made it"]
    (folder / "index.json").write_text("")
    assert stale.stale(results)[0].startswith(f"{PLACE}/explained/index.json is damaged")


def test_nothing_kept_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "attention_embeddings").mkdir()
    with pytest.raises(RepriseError, match=rf"^nothing is kept under {tmp_path}; `reprise keep STUDY` does it$"):
        stale.stale(tmp_path)


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
