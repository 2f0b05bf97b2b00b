"""Whether what lies in the results still is what the kept records give.

Everything that a report makes from kept records (`harness.studies.kept`) is made again in a copy of the results, and
compared cell by cell. What takes the networks themselves is not made again, so that it cannot be checked so.
"""

import csv
import io
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from harness.corpora import registry
from harness.report import summary
from harness.report.build import build
from harness.studies import kept
from harness.studies import study as studies
from harness.studies.records import KEPT, find_records
from harness.terminal import tell_once

#: Files that are compared; pictures differ between versions of what draws them.
SUFFIXES = (".csv", ".md", ".tex")
#: Differences of one file that are named.
NAMED = 3
#: Decimals of a score in a CSV file.
DIGITS = 6
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def stale(results: Path, *, jobs: int | None = None) -> list[str]:
    """Make every table and page again from the kept records, and compare.

    Parameters
    ----------
    results
        Folder of all results; it is left as it is. What needs a published corpus that is not here is passed over, and
        told on standard error.
    jobs
        Processes for what takes long.

    Returns
    -------
    list of str
        What differs, each with its file and cell or line; empty if everything is as the records have it. A number
        may be off by one in the last of six digits of a CSV file, as sums are rounded otherwise on other machines.

    Raises
    ------
    RepriseError
        A record does not agree with its files.
    """
    found: list[str] = []
    quiet = Console(file=io.StringIO())
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "results"
        shutil.copytree(results, copy)
        for study in map(studies.load, studies.names()):
            checked = {path.name for path in kept.folders(study.name, copy)}
            for page in sorted((results / study.name).glob("*/README.md")):
                if page.parent.name not in checked:
                    found.append(f"{page.relative_to(results)}: no record is kept that it could be made from")
            for name in sorted(checked):
                folder = copy / study.name / name
                if absent := registry.absent(find_records(folder / KEPT)[0].data["corpus"]):
                    tell_once(f"{study.name}/{name} cannot be checked: {absent}")
                    continue
                build(study, folder / KEPT, folder, console=quiet, jobs=jobs)
                found += _compare(results / study.name / name, folder, results)
        if (results / "README.md").exists():
            summary.write(copy)
            found += compare("README.md", *((r / "README.md").read_text(encoding="utf-8") for r in (results, copy)))
    return found


def _compare(here: Path, again: Path, results: Path) -> list[str]:
    found = []
    for path in sorted(p for p in again.iterdir() if p.suffix in SUFFIXES):
        name = (here / path.name).relative_to(results).as_posix()
        if (here / path.name).exists():
            found += compare(name, (here / path.name).read_text(encoding="utf-8"), path.read_text(encoding="utf-8"))
        else:
            found.append(f"{name}: is not there, though the records give it")
    return found


def compare(name: str, here: str, again: str) -> list[str]:
    """Where two versions of a file differ.

    Parameters
    ----------
    name
        Of the file.
    here, again
        Its text, and what the records give.

    Returns
    -------
    list of str
        A few of the differences, by cell or line, and how many more there are.
    """
    rows = _cells if name.endswith(".csv") else _lines
    ours, theirs = rows(here), rows(again)
    places = [*theirs, *(place for place in ours if place not in theirs)]
    wrong = [place for place in places if not _same(ours.get(place), theirs.get(place))]
    found = [
        f"{name}, {place}: {_said(ours.get(place))}, the records give {_said(theirs.get(place))}" for place in wrong
    ]
    return found if len(found) <= NAMED else [*found[:NAMED], f"{name}: and {len(found) - NAMED} more"]


def _cells(text: str) -> dict[str, str]:
    """The cells of a CSV file by row and column."""
    head, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    return {
        f"row {n}, {column}": cell for n, row in enumerate(rows, 1) for column, cell in zip(head, row, strict=False)
    }


def _lines(text: str) -> dict[str, str]:
    return {f"line {number}": line for number, line in enumerate(text.splitlines(), 1)}


def _same(ours: str | None, theirs: str | None) -> bool:
    """Whether two texts are the same, but for the last digit of scores in CSV files."""
    if ours == theirs:
        return True
    if ours is None or theirs is None or NUMBER.sub("0", ours) != NUMBER.sub("0", theirs):
        return False
    pairs = zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True)
    return all(a == b or _close(a, b) for a, b in pairs)


def _close(a: str, b: str) -> bool:
    """Whether two decimals of six digits differ by one in the last at most."""
    digits = {len(x.partition(".")[2]) for x in (a, b)}
    return digits == {DIGITS} and abs(round(float(a) * 10**DIGITS) - round(float(b) * 10**DIGITS)) <= 1


def _said(text: str | None) -> str:
    if text is None:
        return "nothing"
    return f"“{text if len(text) <= 80 else text[:77] + '...'}”"
