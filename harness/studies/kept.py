"""What is kept of trials with a study's results: all but the weights, so that every table can be made again from it.

A trial ``runs/<study>/<corpus>-<profile>/<label>/seed-<n>`` is kept as
``results/<study>/<corpus>-<profile>/records/<label>/seed-<n>``, byte by byte, so that its record still vouches for
each file. What is kept is always what the page beside it was made from; ``REASONS.md`` there says when and why
predictions changed. Tables that ask the networks cannot be made again without weights: ``SHA256SUMS`` there, which
``sha256sum -c records/SHA256SUMS`` reads, too, vouches for them.
"""

import datetime
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import RepriseError
from harness.storage import atomic_path, sha256_of, write_text
from harness.studies import records
from harness.studies.records import KEPT, WEIGHTS, Record

REASONS, SUMS = "REASONS.md", "SHA256SUMS"
HEAD = """# Why the predictions kept here changed

| Date | Code | Trials | Reason |
| --- | --- | --- | --- |
"""


def keep(found: Sequence[Record], results: Path, *, reason: str = "") -> Path:
    """Keep these trials with the results of their study, and no others.

    Parameters
    ----------
    found
        All trials that the results are made from, each with its files.
    results
        Folder of the results, ``<study>/<corpus>-<profile>``.
    reason
        Why predictions or their scores changed, if they did; it goes into ``REASONS.md``.

    Returns
    -------
    Path
        The folder of what is kept.

    Raises
    ------
    RepriseError
        A file cannot be written.
    """
    folder = results / KEPT
    earlier = {place(r): r for r in records.find_records(folder)}
    now = {place(r): r for r in found}
    changed = {name: _change(earlier.get(name), now.get(name)) for name in {**earlier, **now}}
    if changes := {name: how for name, how in changed.items() if how}:
        _note(folder / REASONS, found, changes, reason or ("" if earlier else "First kept"))
    for name in earlier.keys() - now.keys():
        shutil.rmtree(results / name)
        if not any((results / name).parent.iterdir()):
            (results / name).parent.rmdir()
    for name, record in now.items():
        # The record last: an interrupted copy is one whose files its record does not vouch for.
        for file in (*(n for n in record.data["files"] if not n.endswith(WEIGHTS)), "record.json"):
            with atomic_path(results / name / file) as temporary:
                shutil.copyfile(record.folder / file, temporary)
    return folder


def vouch(made: Iterable[Path], results: Path) -> Path:
    """Note the checksums of what networks were asked for, and of the records of all that is kept with it.

    Parameters
    ----------
    made
        Files of the tables that a run made from networks, in `results`.
    results
        Folder of the results, where the trials are kept already.

    Returns
    -------
    Path
        ``records/SHA256SUMS``: a checksum and a path relative to `results` on each line.

    Raises
    ------
    RepriseError
        The file cannot be written.
    """
    kept_records = (results / place(r) / "record.json" for r in records.find_records(results / KEPT))
    names = sorted(path.relative_to(results).as_posix() for path in (*made, *kept_records))
    path = results / KEPT / SUMS
    write_text(path, "".join(f"{sha256_of(results / name)}  {name}\n" for name in names))
    return path


def vouched(results: Path) -> tuple[dict[str, str], dict[str, str]] | None:
    """The checksums that `vouch` noted.

    Parameters
    ----------
    results
        Folder of the results.

    Returns
    -------
    tables, records : dict of str to str
        Checksums by path relative to `results`: of the tables made from networks, and of the records of all trials at
        that time. None where nothing was noted.

    Raises
    ------
    RepriseError
        The file is damaged.
    """
    path = results / KEPT / SUMS
    if not path.exists():
        return None
    lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    if any(len(line) < 2 for line in lines):
        raise RepriseError(f"{path} is damaged; take it from where you have the results from, or run the study again")
    of_records = {name: digest for digest, name in lines if name.startswith(f"{KEPT}/")}
    return {name: digest for digest, name in lines if name not in of_records}, of_records


def place(record: Record) -> str:
    """Where a trial is kept, relative to the folder of its study's results.

    Parameters
    ----------
    record
        Kept or not.

    Returns
    -------
    str
        ``records/<label>/seed-<n>``.
    """
    return f"{KEPT}/{record.folder.parent.name}/{record.folder.name}"


def folders(study: str, results: Path) -> list[Path]:
    """Folders of a study's results that trials are kept in.

    Parameters
    ----------
    study
        Its name.
    results
        Folder of all results.

    Returns
    -------
    list of Path
        ``<study>/<corpus>-<profile>``, ordered by path.
    """
    found = sorted((results / study).glob(f"*/{KEPT}"))
    return [path.parent for path in found if records.find_records(path)]


def same_predictions(ours: Record, theirs: Record) -> bool:
    """Whether two trials predicted the same of the same clips, bit by bit.

    Parameters
    ----------
    ours, theirs
        Any.

    Returns
    -------
    bool
        Labels and masks count, too; how the files were compressed does not.
    """
    left, right = (_arrays(record) for record in (ours, theirs))
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in left
    )


def _arrays(record: Record) -> dict[str, np.ndarray]:
    with np.load(record.folder / "predictions.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _change(earlier: Record | None, now: Record | None) -> str:
    """What becomes of a trial: ``"new"``, ``"gone"``, ``"changed"``, ``"scored anew"`` or nothing."""
    if earlier is None or now is None:
        return "new" if earlier is None else "gone"
    if not same_predictions(earlier, now):
        return "changed"
    return "scored anew" if earlier.data["metrics"] != now.data["metrics"] else ""


def _note(path: Path, found: Iterable[Record], changes: Mapping[str, str], reason: str) -> None:
    """Add a line to the reasons."""
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    counts = [
        f"{n} {how}" for how in ("new", "changed", "scored anew", "gone") if (n := list(changes.values()).count(how))
    ]
    code = ", ".join(dict.fromkeys(commit_of(r.data["environment"]["git"]) for r in found))
    said = " ".join(reason.split()).replace("|", "\\|") or "none given"
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    write_text(path, f"{text}| {today} | {code} | {', '.join(counts)} | {said} |\n")


def commit_of(git: Mapping[str, Any] | None) -> str:
    """The checkout that a trial ran from, for people.

    Parameters
    ----------
    git
        As the record's environment has it.

    Returns
    -------
    str
        Twelve digits of the commit, and whether there were changes.
    """
    if not git:
        return "no checkout"
    return f"commit {git['commit'][:12]}{'' if git['clean'] else ' with changes'}"
