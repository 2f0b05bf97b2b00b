"""The README shows what is in the results, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
TABLES = [
    "openmic_transfer/pocket-openmic-pocket/table_III.md",
    "openmic_transfer/pocket-openmic-pocket/table_IV.md",
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


@pytest.mark.parametrize("table", TABLES)
def test_its_tables_are_those_of_the_results(table):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in (RESULTS / table).read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 5
    missing = [row for row in rows if row not in readme]
    assert not missing, "the README shows other numbers than the results: paste the table again"


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
