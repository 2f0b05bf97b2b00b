"""The page on all studies: what it counts is what the reports say, and its links lead there."""

import re
from pathlib import Path

import pandas as pd
import pytest

from harness.report import summary
from harness.report.build import Report
from harness.report.writers import Table
from harness.storage import write_text
from harness.studies import study as studies

ABOUT = {"corpus": "pocket-gtzan", "profile": "pocket", "weights": "random"}


def report(results: Path, study: str, place: str, rows: list[tuple[str, str, str, str]] | None, trials: int) -> Report:
    """A report with these verdicts, and its page."""
    folder = results / study / place
    write_text(folder / "README.md", "")
    table = None
    if rows is not None:
        frame = pd.DataFrame(rows, columns=["kind", "said", "where", "verdict"])
        sides = {"above": [f"arm {n}" for n in range(len(rows))], "below": "base", "above_class": "", "below_class": ""}
        frame = frame.assign(**sides, number=range(len(rows)), part="test", relation="above")
        table = Table("verdicts", "", frame, (), group=("number",), about=ABOUT)
    return Report(studies.load(study), folder, trials, (), table)


@pytest.fixture
def reports(tmp_path: Path) -> list[Report]:
    """Two studies' reports, one of them on two corpora."""
    rows = [
        ("values", "base", "Results", "not applicable"),
        ("orders", "Masks *help*", "Results", "reversed"),
        ("orders", "All equal", "Reflection", "holds"),
        ("other statements", "It is sensitive", "Challenges", "does not hold"),
        ("not judged", "It is pretty", "Reflection", "not judged"),
    ]
    write_text(tmp_path / "gtzan_cam" / "pocket-gtzan-pocket" / "leak.png", "")
    one = [("values", "Set-up 1", "Table 2", "replicated")]
    return [
        report(tmp_path, "gtzan_cam", "pocket-gtzan-pocket", rows, 2),
        *(report(tmp_path, "single_notes", name, one, 0) for name in ("philharmonia-pocket", "pocket-notes-pocket")),
    ]


def test_every_study_is_counted(reports: list[Report], tmp_path: Path) -> None:
    page = summary.to_markdown(reports, tmp_path)
    (row,) = [line for line in page.splitlines() if line.startswith(r"| [gtzan\_cam]")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [
        "pocket-gtzan, profile pocket, weights random", "2", "1 not applicable", "1 hold, 1 reversed", "1 do not hold",
    ]  # fmt: skip
    (missing,) = [line for line in page.splitlines() if line.startswith("Not played yet: ")]
    assert {r"attention\_embeddings", r"irmas\_activations", r"openmic\_transfer"} <= set(
        re.findall(r"[a-z\\_]+", missing)
    )
    assert "gtzan" not in missing
    assert r"- Masks \*help\* (Results): reversed" in page
    assert "- It is sensitive (Challenges): does not hold" in page
    assert "- All equal" not in page


def test_a_study_whose_paper_claims_nothing_was_played_all_the_same(reports: list[Report], tmp_path: Path) -> None:
    place = "irmas_activations/pocket-irmas-pocket"
    page = summary.to_markdown([*reports, report(tmp_path, *place.split("/"), None, 1)], tmp_path)
    assert f"Played, with no claim to judge: [{place.replace('_', chr(92) + '_')}]({place}/README.md)." in page
    assert "irmas" not in next(line for line in page.splitlines() if line.startswith("Not played yet: "))


def test_each_link_leads_somewhere(reports: list[Report], tmp_path: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", summary.to_markdown(reports, tmp_path))
    assert "gtzan_cam/pocket-gtzan-pocket/leak.png" in links
    assert len(links) >= 8
    assert all((tmp_path / link).exists() for link in links)


def test_what_is_kept_is_found_published_corpora_first(reports: list[Report], tmp_path: Path, monkeypatch) -> None:
    for one in reports:
        (one.folder / "records").mkdir()
    monkeypatch.setattr(summary.kept.records, "find_records", lambda folder: [object()])
    assert [r.folder.name for r in summary.find(tmp_path, reports)][1:] == [
        "philharmonia-pocket",
        "pocket-notes-pocket",
    ]
    page = summary.write(tmp_path, reports[::-1])
    assert page.read_text(encoding="utf-8") == summary.to_markdown(reports, tmp_path)
