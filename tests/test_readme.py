"""The README shows what is in the results, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
TABLES = [
    "openmic_transfer/pocket-openmic-pocket/table_III.md",
    "attention_embeddings/pocket-openmic-pocket/arms_test.md",
    "single_notes/philharmonia-pocket/splits_test.md",
    "gtzan_cam/pocket-gtzan-pocket/protocols.md",
    "irmas_activations/pocket-irmas-pocket/fig1.md",
]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "replications/*/README.md", "results/*/*/README.md")
    for path in ROOT.glob(pattern)
)


def tables(page: Path) -> list[str]:
    """The tables of a page, each from its head to its last row."""
    return re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("table", TABLES)
def test_its_tables_are_those_of_the_results(table):
    (expected,) = tables(RESULTS / table)
    head = expected.partition("\n")[0]
    (pasted,) = [found for found in tables(ROOT / "README.md") if found.startswith(head)]
    assert pasted == expected, "the README shows other numbers than the results: paste the table again"


def test_its_tally_of_claims_is_that_of_the_results():
    page = (RESULTS / "attention_embeddings/pocket-openmic-pocket/README.md").read_text(encoding="utf-8")
    tally = re.search(r"[0-9]+ hold, [0-9]+ reversed, [0-9]+ undecided", page)[0]
    assert f"Of its claims {tally}." in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_local_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    dead = [link for link in links if not (path.parent / link).exists()]
    assert not dead
