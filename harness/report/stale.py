"""Whether what lies in the results still is what the kept records give.

Everything that a report makes from kept records (`harness.studies.kept`), the traps too, is made again in a copy of the
results, and compared cell by cell. Tables that take the networks themselves cannot be made again: the checksums that
the run noted which made them vouch for them. A table that neither gives is named. Pictures, galleries and players are
not looked at: they differ between versions of what draws them, and no verdict rests on them.
"""

import csv
import io
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.corpora import registry
from harness.errors import RepriseError
from harness.report import summary, traps, writers
from harness.report.build import build
from harness.storage import sha256_of
from harness.studies import kept
from harness.studies import study as studies
from harness.studies.records import KEPT, Record, find_records, intact
from harness.studies.study import Study
from harness.terminal import tell_once

#: Files that are compared.
SUFFIXES = (".csv", ".md", ".tex")
PAGE = "README.md"
#: Differences of one file that are named.
NAMED = 3
#: Decimals of a score in a CSV file.
DIGITS = 6
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def stale(results: Path, *, jobs: int | None = None) -> list[str]:
    """Make every table and page again from the kept records, and compare; of the others compare the checksums.

    Parameters
    ----------
    results
        Folder of all results; it is left as it is. What needs a published corpus that is not here is passed over but
        for checksums, and told on standard error.
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
        Nothing is kept there; a record does not agree with its files, or a list of checksums is damaged; or there is
        no room for a copy.
    """
    if not any(kept.folders(name, results) for name in studies.names()) and not any(results.glob(f"*/*/{PAGE}")):
        raise RepriseError(f"nothing is kept under {results}; `reprise run STUDY` keeps it")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "results"
        try:
            shutil.copytree(results, copy)
        except OSError as error:  # shutil's own is one, too, and lists every file
            raise RepriseError(
                f"{results} cannot be copied to {temporary}, most likely for want of room; "
                "set TMPDIR to a folder that has more"
            ) from error
        try:
            return _make_again(results, copy, jobs)
        except RepriseError as error:  # what is wrong with the copy is wrong with the results
            raise RepriseError(str(error).replace(str(copy), str(results))) from error


def _make_again(results: Path, copy: Path, jobs: int | None) -> list[str]:
    """Make everything in the copy again, and compare."""
    found: list[str] = []
    quiet = Console(file=io.StringIO())
    for study in map(studies.load, studies.names()):
        checked = {path.name for path in kept.folders(study.name, copy)}
        for page in sorted((results / study.name).glob(f"*/{PAGE}")):
            if page.parent.name not in checked:
                found.append(f"{page.relative_to(results)}: no record is kept that it could be made from")
        for name in sorted(checked):
            here, again = (r / study.name / name for r in (results, copy))
            records = [intact(r.folder) for r in find_records(again / KEPT)]
            found += _not_as_made(study, here, records, results)
            if absent := registry.absent(records[0].data["corpus"]):
                tell_once(f"{study.name}/{name} cannot be checked: {absent}")
                continue
            arm = _arm_of_traps(again)
            _clear(again)
            if arm is not None:
                _make_traps(study, records, arm, again / traps.NAME)
            build(study, again / KEPT, again, console=quiet, jobs=jobs)
            found += _compare(here, again, results)
    if (results / PAGE).exists():
        summary.write(copy)
        found += compare(PAGE, *((r / PAGE).read_text(encoding="utf-8") for r in (results, copy)))
    return found


def from_networks(results: Path) -> list[str]:
    """What `stale` knows by checksum alone.

    Parameters
    ----------
    results
        Folder of all results.

    Returns
    -------
    list of str
        Tables that networks were asked for, ``<study>/<corpus>-<profile>/<table>``.

    Raises
    ------
    RepriseError
        A list of checksums is damaged.
    """
    found = []
    for name in studies.names():
        for folder in kept.folders(name, results):
            made, _ = kept.vouched(folder) or ({}, {})
            found += [(folder.relative_to(results) / table).with_suffix("").as_posix() for table in made]
    return list(dict.fromkeys(found))


def _not_as_made(study: Study, here: Path, records: Sequence[Record], results: Path) -> list[str]:
    """What is not as the run left it that asked the networks."""
    name, again = here.relative_to(results).as_posix(), f"`reprise run {study.name}` makes it again"
    noted = kept.vouched(here)
    if noted is None:
        return [f"{name}/{KEPT}/{kept.SUMS}: is not there to vouch for tables made from networks; {again}"]
    made, of_records = noted
    found = []
    if of_records != {f"{kept.place(r)}/record.json": sha256_of(r.folder / "record.json") for r in records}:
        found.append(f"{name}/{KEPT}/{kept.SUMS}: notes other records than those kept; {again}")
    for table, digest in made.items():
        if not (here / table).exists():
            found.append(f"{name}/{table}: made from networks, and is not there; {again}")
        elif sha256_of(here / table) != digest:
            found.append(f"{name}/{table}: made from networks, and was changed since; {again}")
    return found


def _clear(folder: Path) -> None:
    """Take away what must be made again, so that nothing is compared with its own copy."""
    noted = kept.vouched(folder)
    for name in _texts(folder):
        # Without a list any table may be one that took networks.
        from_network = name in noted[0] if noted else "/" not in name
        if name != PAGE and not from_network:
            (folder / name).unlink()


def _texts(folder: Path) -> set[str]:
    """Tables and pages of a study's results, by path; not what is kept with them."""
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.suffix in SUFFIXES)
    return {path.as_posix() for path in paths if path.parts[0] != KEPT}


def _arm_of_traps(folder: Path) -> str | None:
    """The arm that a study's traps are of; None where it has none."""
    path = folder / traps.NAME / f"{traps.NAME}.csv"
    if not path.exists():
        return None
    return next(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))), {}).get("arm") or ""


def _make_traps(study: Study, records: Sequence[Record], arm: str, folder: Path) -> None:
    """Write the table of traps; of an arm that nobody played, as a fault may have it, those of the usual one."""
    survey = traps.survey(study, records, arm=arm if arm in {r.arm for r in records} else None)
    writers.write(traps.table(study, survey), folder)


def _compare(here: Path, again: Path, results: Path) -> list[str]:
    found, place = [], here.relative_to(results).as_posix()
    ours, theirs = _texts(here), _texts(again)
    for name in sorted(ours | theirs):
        if name not in ours:
            found.append(f"{place}/{name}: is not there, though the records give it")
        elif name not in theirs:
            found.append(f"{place}/{name}: neither the records nor the networks that a run asked give it; remove it")
        else:
            texts = ((folder / name).read_text(encoding="utf-8") for folder in (here, again))
            found += compare(f"{place}/{name}", *texts)
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
