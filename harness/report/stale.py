"""Whether what lies in the results still is what the kept records give.

First every file of a kept trial is held against the checksums of its record, and every file of ``explained`` against
those of its index. Then all reports are made again elsewhere, and compared file by file: tables, pages, traps and
frames cell by cell or line by line, and of pictures whether they are there: they are not drawn again, as their bytes
differ between versions of what draws them. A file that nothing gives is named, and so is one that is missing.
"""

import csv
import io
import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from harness.errors import RepriseError
from harness.parallel import parallel_map
from harness.report import build, summary
from harness.report.build import INDEX, PAGE, Report
from harness.storage import sha256_of
from harness.studies import kept
from harness.studies import study as studies
from harness.studies.clips import CLIPS
from harness.studies.kept import EXPLAINED, REASONS
from harness.studies.records import KEPT, WEIGHTS, find_records, intact

#: Files whose text is compared.
SUFFIXES = (".csv", ".md", ".tex")
#: Differences of one file that are named.
NAMED = 3
#: Decimals of a score in a CSV file.
DIGITS = 6
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def stale(results: Path, *, jobs: int | None = None) -> list[str]:
    """Make every report again from the kept records, and compare.

    Parameters
    ----------
    results
        Folder of all results; it is left as it is.
    jobs
        Processes, one for each study and corpus at a time.

    Returns
    -------
    list of str
        What differs, each with its file and cell or line; empty if everything is as the records have it. A number
        may be off by one in the last of six digits of a CSV file, as sums are rounded otherwise on other machines.

    Raises
    ------
    RepriseError
        Nothing is kept there, or there is no room for what is made again.
    """
    folders = [folder for name in studies.names() for folder in kept.folders(name, results)]
    if not folders:
        raise RepriseError(f"nothing is kept under {results}; `reprise keep STUDY` does it")
    # No long one is left for the end.
    folders.sort(key=lambda folder: len(list((folder / KEPT).glob("*/*/record.json"))), reverse=True)
    found: list[str] = []
    reports: list[Report] = []
    expected = {PAGE}
    for folder, (lines, names, report) in zip(
        folders, parallel_map(_check, folders, description="made again", jobs=jobs), strict=True
    ):
        place = folder.relative_to(results).as_posix()
        found += [f"{place}/{line}" for line in lines]
        expected |= {f"{place}/{name}" for name in names}
        reports += [report] if report else []
    actual = set(_files(results))
    unknown = [f"{r.relative_to(results).as_posix()}/" for r in folders if r not in {x.folder for x in reports}]
    found += [
        f"{name}: no kept record gives it; remove it"
        for name in sorted(actual - expected)
        if not name.startswith(tuple(unknown))
    ]
    found += [f"{name}: is not there, though the records give it" for name in sorted(expected - actual)]
    if not unknown and PAGE in actual:
        text = summary.to_markdown(sorted(reports, key=_order), results)
        found += compare(PAGE, (results / PAGE).read_text(encoding="utf-8"), text)
    return found


def _order(report: Report) -> tuple[str, bool, Path]:
    """As `harness.report.summary.find` orders them."""
    return report.study.name, report.folder.name.startswith("pocket-"), report.folder


def _check(folder: Path) -> tuple[list[str], list[str], Report | None]:
    """What is wrong with the results of a study on one corpus, which files there should be, and what a report says.

    Where a record is damaged no report is made.
    """
    study = studies.load(folder.parent.name)
    found = _damaged(folder / KEPT) + _not_as_explained(folder / EXPLAINED)
    if found:
        return found, [], None
    names = [f"{KEPT}/{name}" for name in _files_of_trials(folder / KEPT)]
    names += [f"{EXPLAINED}/{name}" for name in _files(folder / EXPLAINED)]
    with tempfile.TemporaryDirectory() as temporary:
        again = Path(temporary) / folder.parent.name / folder.name
        again.mkdir(parents=True)
        for name in (KEPT, EXPLAINED):  # links lead there, as they do from the results
            if (folder / name).exists():
                (again / name).symlink_to((folder / name).absolute())
        inputs = build.read(again / KEPT, again / EXPLAINED)
        made = build.build(study, inputs.records, inputs.clips, inputs.explained, again, save=_undrawn)
        written = [n for n in _files(again) if n.split("/")[0] not in (KEPT, EXPLAINED)]
        for name in written:
            if name.endswith(SUFFIXES) and (folder / name).exists():
                found += compare(name, *((f / name).read_text(encoding="utf-8") for f in (folder, again)))
    return found, names + written, replace(made, folder=folder, tables=())


def _undrawn(figure: Figure, path: Path) -> list[Path]:
    """An empty file in a figure's place: drawing takes most of a report's time, and the bytes are not compared."""
    picture = path.with_name(f"{path.name}.png")
    picture.touch()
    return [picture]


def _files(folder: Path) -> list[str]:
    """Files of a folder; those for print, which `reprise figures` makes, need not be there."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".pdf")


def _files_of_trials(folder: Path) -> Iterable[str]:
    """Files that kept trials have; weights need not be there."""
    for record in find_records(folder):
        yield f"{kept.name_of(record)}/record.json"
        yield from (f"{kept.name_of(record)}/{n}" for n in record.data["files"] if not n.endswith(WEIGHTS))
    yield REASONS
    yield from (CLIPS,) if (folder / CLIPS).exists() else ()


def _damaged(folder: Path) -> list[str]:
    """Trials whose files are not as their record says."""
    found = []
    for record in find_records(folder):
        try:
            intact(record.folder)
        except RepriseError as error:
            found.append(str(error).replace(f"{folder}/", f"{KEPT}/"))
    return found


def _not_as_explained(folder: Path) -> list[str]:
    """Files of ``explained`` that are not as its index says; those for print, which nobody commits, may be absent."""
    if not folder.is_dir():
        return []
    try:
        files = build.index_of(folder).get("files", {})
    except RepriseError as error:
        return [str(error).replace(f"{folder}/", f"{EXPLAINED}/")]
    for_print = {name for name in files if name.endswith(".pdf") and not (folder / name).exists()}
    return [
        f"{EXPLAINED}/{name}: {why}"
        for name in sorted({*files, *_files(folder)} - {INDEX} - for_print)
        if (
            why := "is not there, though the run made it"
            if not (folder / name).exists()
            else "the run did not make it; remove it"
            if name not in files
            else "was changed after the run made it"
            if sha256_of(folder / name) != files[name]
            else ""
        )
    ]


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
