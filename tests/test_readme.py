"""The README shows what is in the results, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "openmic_transfer" / "pocket-openmic-pocket"
PAGES = ["README.md", "CONTRIBUTING.md", "replications/openmic_transfer/README.md", str(RESULTS / "README.md")]


@pytest.mark.parametrize("table", ["table_III.md", "table_IV.md"])
def test_its_tables_are_those_of_the_results(table):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in (RESULTS / table).read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 5
    missing = [row for row in rows if row not in readme]
    assert not missing, "the README shows other numbers than the results: paste the table again"


@pytest.mark.parametrize("page", PAGES)
def test_local_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    dead = [link for link in links if not (path.parent / link).exists()]
    assert not dead
