"""The page on all studies: what it counts is what lies in the results, and its links lead there."""

import re
from pathlib import Path

import pytest

from harness.report import summary
from harness.storage import write_text

HEAD = "number,kind,claim,where,verdict,corpus,profile,weights,split,part,clips,seeds\n"
TAIL = "pocket-gtzan,pocket,random,segments-70-15-15,test,192,3\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two studies' results, one of them on two corpora."""
    rows = [
        "1,values,base,Results,not applicable: pocket corpus",
        "2,orders,Masks *help*,Results,reversed",
        "3,orders,All equal,Reflection,holds",
        "4,other statements,It is sensitive,Challenges,does not hold",
        "5,not judged,It is pretty,Reflection,not judged: taste",
    ]
    folder = tmp_path / "gtzan_cam" / "pocket-gtzan-pocket"
    write_text(folder / "verdicts.csv", HEAD + "".join(f"{row},{TAIL}" for row in rows))
    write_text(folder / "README.md", "")
    write_text(folder / "leak.png", "")
    for seed in (0, 1):
        write_text(folder / "records" / "base" / f"seed-{seed}" / "record.json", "{}")
    for name in ("pocket-notes-pocket", "philharmonia-pocket"):
        folder = tmp_path / "single_notes" / name
        write_text(folder / "verdicts.csv", HEAD + f"1,values,Set-up 1,Table 2,replicated,{TAIL}")
        write_text(folder / "README.md", "")
    return tmp_path


def test_every_study_is_counted(results: Path) -> None:
    page = summary.write(results).read_text(encoding="utf-8")
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


def test_a_study_whose_paper_claims_nothing_was_played_all_the_same(results: Path) -> None:
    folder = results / "irmas_activations" / "pocket-irmas-pocket"
    write_text(folder / "records" / "han" / "seed-0" / "record.json", "{}")
    page = summary.write(results).read_text(encoding="utf-8")
    place = "irmas_activations/pocket-irmas-pocket"
    assert f"Played, with no claim to judge: [{place.replace('_', chr(92) + '_')}]({place}/README.md)." in page
    assert "irmas" not in next(line for line in page.splitlines() if line.startswith("Not played yet: "))


def test_published_corpora_come_first(results: Path) -> None:
    assert [p.folder.name for p in summary.find(results)][1:] == ["philharmonia-pocket", "pocket-notes-pocket"]


def test_each_link_leads_somewhere(results: Path) -> None:
    page = summary.write(results)
    links = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert "gtzan_cam/pocket-gtzan-pocket/leak.png" in links
    assert len(links) >= 8
    assert all((results / link).exists() for link in links)


def test_a_changed_verdict_changes_the_page(results: Path) -> None:
    before = summary.write(results).read_bytes()
    assert summary.write(results).read_bytes() == before
    path = results / "gtzan_cam" / "pocket-gtzan-pocket" / "verdicts.csv"
    write_text(path, path.read_text().replace("Reflection,holds", "Reflection,undecided"))
    assert summary.write(results).read_bytes() != before
