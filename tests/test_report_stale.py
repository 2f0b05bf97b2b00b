"""Stale numbers: planted in tables, traps, pages and records, each is named; where all is as recorded, nothing is."""

import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import write_trials
from rich.console import Console

from harness.errors import RepriseError
from harness.report import build, stale, style, summary, traps, writers
from harness.report.arm_table import arm_table
from harness.studies import study as studies
from harness.studies.study import Study

PLACE = "attention_embeddings/pocket-openmic-pocket"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study's results with the records that they were made from, and the page on all studies."""
    code = SimpleNamespace(
        tables=lambda study, records: [arm_table(study, records, replicates=20)],
        figures=lambda study, records: {"curve": (style.new_figure(1), "A curve")},
        explain=lambda study, records, folder, jobs=None: [
            replace(arm_table(study, records, replicates=10), name="explanations_test", title="What networks say")
        ],
    )
    study, folder = studies.load("attention_embeddings"), tmp_path_factory.mktemp("made")
    out, runs = folder / "results", folder / "runs"
    found = write_trials(runs, study, arms=["vggish_pp", "rf"], conditions=["paper"], seeds=2, sizes=(20, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRISE_HOME", str(folder / "home"))  # as every test has one of its own, which is empty, too
        patch.setattr(Study, "code", property(lambda self: code))
        writers.write(traps.table(study, traps.survey(study, found, arm="rf")), out / PLACE / "traps")
        build.build(study, runs, out / PLACE, console=Console(file=io.StringIO()))
        summary.write(out)
        yield out


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of these."""
    return Path(shutil.copytree(made, tmp_path / "results"))


def change(path: Path, row: int, column: str) -> tuple[str, str]:
    """Add a hundredth to a cell of a CSV file: what it was, and what it is."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    place = rows[0].index(column)
    old, rows[row][place] = rows[row][place], f"{float(rows[row][place]) + 0.01:.6f}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return old, rows[row][place]


def test_what_is_as_the_records_have_it_is_not_stale(results: Path) -> None:
    before = {p: p.read_bytes() for p in sorted(results.rglob("*")) if p.is_file()}
    assert stale.stale(results) == []
    assert {p: p.read_bytes() for p in sorted(results.rglob("*")) if p.is_file()} == before


def test_a_stale_number_is_named_with_its_cell(results: Path) -> None:
    old, new = change(results / PLACE / "arms_test.csv", 1, "ours")
    (found,) = stale.stale(results)
    assert found == f"{PLACE}/arms_test.csv, row 1, ours: “{new}”, the records give “{old}”"


def test_traps_are_made_again_of_the_arm_that_they_are_of(results: Path) -> None:
    old, new = change(results / PLACE / "traps" / "traps.csv", 2, "effect")
    (results / PLACE / "traps" / "traps.tex").unlink()
    assert stale.stale(results) == [
        f"{PLACE}/traps/traps.csv, row 2, effect: “{new}”, the records give “{old}”",
        f"{PLACE}/traps/traps.tex: is not there, though the records give it",
    ]


@pytest.mark.parametrize("other", ["vggish_pp", "nobody"])
def test_traps_said_to_be_of_another_arm_are_named(results: Path, other: str) -> None:
    path = results / PLACE / "traps" / "traps.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",rf,", f",{other},"), encoding="utf-8")
    assert any(line.startswith(f"{PLACE}/traps/traps.csv") for line in stale.stale(results))


@pytest.mark.parametrize("suffix", [".csv", ".md", ".tex"])
def test_a_table_made_from_networks_is_known_by_its_checksum(results: Path, suffix: str) -> None:
    assert stale.from_networks(results) == [f"{PLACE}/explanations_test"]
    path = results / PLACE / f"explanations_test{suffix}"
    again = "`reprise run attention_embeddings` makes it again"
    sound = path.read_text(encoding="utf-8")
    path.write_text(sound.replace("0.", "0.9", 1), encoding="utf-8")
    found = stale.stale(results)
    assert found[0] == f"{PLACE}/explanations_test{suffix}: made from networks, and was changed since; {again}"
    assert all("README.md" in line for line in found[1:])  # which shows the table as the run wrote it
    path.unlink()
    assert f"{PLACE}/explanations_test{suffix}: made from networks, and is not there; {again}" in stale.stale(results)


def test_tables_from_networks_without_checksums_are_not_vouched_for(results: Path) -> None:
    (results / PLACE / "records" / "SHA256SUMS").unlink()
    assert stale.stale(results) == [
        f"{PLACE}/records/SHA256SUMS: is not there to vouch for tables made from networks; "
        "`reprise run attention_embeddings` makes it again"
    ]


def test_tables_from_networks_of_other_records_are_named(results: Path) -> None:
    path = results / PLACE / "records" / "SHA256SUMS"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (number,) = (n for n, line in enumerate(lines) if "rf@paper/seed-1/record.json" in line)
    lines[number] = "0" * 64 + lines[number][64:]
    path.write_text("".join(lines), encoding="utf-8")
    (found,) = stale.stale(results)
    assert found.startswith(f"{PLACE}/records/SHA256SUMS: notes other records than those kept")


def test_a_table_that_nothing_gives_is_not_compared_with_itself(results: Path) -> None:
    (results / PLACE / "earlier_test.csv").write_text("score\n0.99\n")
    (found,) = stale.stale(results)
    assert found.startswith(f"{PLACE}/earlier_test.csv: neither the records nor the networks")


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
    path.write_text(path.read_text().replace('"epochs"', '"epoch"', 1))
    with pytest.raises(RepriseError, match=rf"^{path} was changed after it was written; restore it from git"):
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
