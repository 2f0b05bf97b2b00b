"""The README shows what is in the results, says no more than the verdicts carry, and its links lead somewhere."""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
README = ROOT / "README.md"
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
PLACES = sorted(path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.glob("*/*/verdicts.csv"))
#: A sentence on a result is followed by the claims that carry it: ``<!-- PLACE: CLAIM = VERDICT; CLAIM = VERDICT -->``.
CARRIED = re.compile(r"<!-- (?P<place>\S+): (?P<claims>[^>]*) -->")
#: Words by which a sentence compares results.
COMPARING = re.compile(
    r"\b(beats?|better|worse|best of|higher|lower|exceeds?|outperforms?|costs?|gains?|loses?|improves?|steadier|louder"
    r"|as good as|reversed|holds?|do not hold|undecided|replicated)\b"
)


def tables(page: Path) -> list[str]:
    """The tables of a page, each from its head to its last row."""
    return re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def verdicts(place: str) -> pd.DataFrame:
    """The claims of a page of results."""
    return pd.read_csv(RESULTS / place / "verdicts.csv", dtype=str, keep_default_na=False)


def uncarried(text: str) -> list[str]:
    """Paragraphs that compare results and name no claim that carries them."""
    return [
        paragraph
        for paragraph in re.split(r"\n\s*\n", text)
        if not paragraph.startswith(("|", "**", "#", "`", "-"))
        and COMPARING.search(CARRIED.sub("", paragraph))
        and not CARRIED.search(paragraph)
    ]


@pytest.mark.parametrize("table", TABLES)
def test_its_tables_are_those_of_the_results(table):
    (expected,) = tables(RESULTS / table)
    head = expected.partition("\n")[0]
    (pasted,) = [found for found in tables(README) if found.startswith(head)]
    assert pasted == expected, "the README shows other numbers than the results: paste the table again"


def test_its_sentences_on_results_are_carried_by_verdicts():
    text = README.read_text(encoding="utf-8")
    found = list(CARRIED.finditer(text))
    assert found
    for match in found:
        known = verdicts(match["place"]).groupby("claim")["verdict"].agg(set).to_dict()
        for claim in match["claims"].split("; "):
            name, _, verdict = claim.rpartition(" = ")
            assert known.get(name) == {verdict}, f"{match['place']}: {claim}"


def test_no_sentence_on_results_goes_without():
    results = README.read_text(encoding="utf-8").partition("## The other studies")[2].partition("## Reading")[0]
    assert not uncarried(results)


def test_a_sentence_that_nothing_carries_is_found():
    assert uncarried("Masks cost accuracy.")
    assert not uncarried("Masks cost accuracy. <!-- gtzan_cam/pocket-gtzan-pocket: a = reversed -->")
    assert not uncarried("Mean over three seeds.")


@pytest.mark.parametrize("place", PLACES)
def test_no_page_contradicts_itself(place):
    claims, letters = verdicts(place), contrasts(place)
    for row in claims[claims["kind"] == "order"].itertuples():
        if row.verdict not in ("holds", "reversed") or row.relation != "above":
            continue
        assert "chance" not in row.why
        pair = letters.get((row.part, row.metric, row.above, row.below, row.above_class, row.below_class))
        assert pair is not None
        assert pair == {"holds": "above", "reversed": "below"}[row.verdict]
    values = claims[(claims["kind"] == "value") & claims["verdict"].isin(["replicated", "not replicated"])]
    assert not values["why"].str.contains("in place of|not here whole|left out|profile").any()


def contrasts(place: str) -> dict[tuple[str, ...], str]:
    """What is decided of each pair, from either side."""
    frame = pd.read_csv(RESULTS / place / "contrasts.csv", dtype=str, keep_default_na=False)
    turned = {"above": "below", "below": "above", "": ""}
    found = {}
    for row in frame.itertuples():
        found[row.part, row.metric, row.above, row.below, row.above_class, row.below_class] = row.decided
        found[row.part, row.metric, row.below, row.above, row.below_class, row.above_class] = turned[row.decided]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_local_links_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    dead = [link for link in links if not (path.parent / link).exists()]
    assert not dead
