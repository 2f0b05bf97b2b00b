"""What is kept of trials with a study's results: all but the weights, so that everything can be made again from it.

A trial ``runs/<study>/<corpus>-<profile>/<label>/seed-<n>`` is kept as
``results/<study>/<corpus>-<profile>/records/<label>/seed-<n>``, byte by byte, so that its record still vouches for
each file. ``clips.csv`` there says what the corpus knows of the clips, and ``REASONS.md`` when and why predictions
changed. Trials that are run later are merged with those that are kept; none goes unless one says so.
"""

import csv
import datetime
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import RepriseError
from harness.storage import recover, write_text
from harness.studies import records
from harness.studies.clips import CLIPS
from harness.studies.comparability import other_settings
from harness.studies.records import KEPT, WEIGHTS, Record
from harness.studies.study import Study

EXPLAINED, REASONS = "explained", "REASONS.md"
HEAD = """# Why the predictions kept here changed

| Date | Code | Trials | Reason |
| --- | --- | --- | --- |
"""
#: For ``drop``: every kept trial that was not run again.
ALL = "all"
#: What can become of a trial that was run, and names that are told of each at most.
CHANGES, NAMED = ("new", "changed", "scored anew", "measured anew", "unchanged"), 10


@dataclass(frozen=True)
class Merged:
    """Trials that were run, merged with those that are kept.

    Parameters
    ----------
    trials
        What will be kept, by `name_of`.
    changes
        What becomes of each trial that was run: one of `CHANGES`.
    stay, gone
        Names of kept trials that were not run again, and of those that are dropped.
    clips
        Text of the merged ``clips.csv``; None where there is none.
    explained
        Folder of what explains the networks; None where there is none.
    """

    trials: Mapping[str, Record]
    changes: Mapping[str, str]
    stay: tuple[str, ...]
    gone: tuple[str, ...]
    clips: str | None
    explained: Path | None

    def lines(self) -> list[str]:
        """What becomes of the trials, in words."""
        of = {change: [name for name, how in self.changes.items() if how == change] for change in CHANGES}
        of |= {"kept, not run again": list(self.stay), "gone": list(self.gone)}
        return [f"{what}: {listed(names)}" for what, names in of.items() if names]


def merge(study: Study, source: Path | None, results: Path, *, drop: Sequence[str] = ()) -> Merged:
    """Merge the trials of a run with those that are kept.

    Parameters
    ----------
    study
        Theirs.
    source
        Folder of the run, ``runs/<study>/<corpus>-<profile>``; None for what is kept alone.
    results
        Folder of the results, ``results/<study>/<corpus>-<profile>``; it need not exist.
    drop
        Kept trials to drop, each as ``<label>/seed-<n>``; or `ALL`.

    Returns
    -------
    Merged
        Nothing is written.

    Raises
    ------
    RepriseError
        There is nothing to keep; a record does not agree with its files; a kept trial cannot stand beside those that
        were run and was not dropped, or one to drop is not kept or was run again; or two files of clips contradict
        each other.
    """
    now, earlier = (
        {name_of(r): records.intact(r.folder) for r in (records.find_records(folder) if folder else ())}
        for folder in (source, results / KEPT)
    )
    if not now and (source or not earlier):
        raise RepriseError(f"there is no finished trial in {source or results}; make some: `reprise run {study.name}`")
    alone = {name: record for name, record in earlier.items() if name not in now}
    if wrong := [name for name in drop if name != ALL and name not in alone]:
        why = f"was run again and lies in {source}" if wrong[0] in now else f"is not kept in {results}"
        raise RepriseError(f"{wrong[0]} cannot be dropped, as it {why}")
    gone = tuple(alone) if ALL in drop else tuple(name for name in alone if name in drop)
    stay = {name: record for name, record in alone.items() if name not in gone}
    if misfits := {name: why for name, record in stay.items() if (why := _misfit(study, record, now))}:
        reasons = "; ".join(dict.fromkeys(misfits.values()))
        raise RepriseError(
            f"{len(misfits)} kept trials of {results} would go, as they fit the others no more ({reasons}): "
            f"{listed(list(misfits))}; run them again too, or give them up with --drop LABEL/seed-N or --drop {ALL}"
        )
    if not stay and not now:
        raise RepriseError(f"nothing would be left of {results}; remove the folder if that is what you want")
    return Merged(
        trials=dict(sorted({**stay, **now}.items())),
        changes={name: _change(earlier.get(name), record) for name, record in now.items()},
        stay=tuple(stay),
        gone=gone,
        clips=_merge_clips(source / CLIPS if source else None, results / KEPT / CLIPS, replace=not stay),
        explained=next((f / EXPLAINED for f in (source, results) if f and (f / EXPLAINED).is_dir()), None),
    )


def write(merged: Merged, results: Path, folder: Path, *, reason: str = "") -> None:
    """Write what is kept into a fresh folder.

    Parameters
    ----------
    merged
        As `merge` gives it.
    results
        Folder of the results as they are; of what is kept there only the reasons are read.
    folder
        The fresh folder, which will take their place.
    reason
        Why predictions, scores or measurements changed, if they did.

    Raises
    ------
    OSError
        A file cannot be read or written.
    """
    for name, record in merged.trials.items():
        for file in (*(n for n in record.data["files"] if not n.endswith(WEIGHTS)), "record.json"):
            _copy(record.folder / file, folder / KEPT / name / file)
    if merged.clips is not None:
        write_text(folder / KEPT / CLIPS, merged.clips)
    if merged.explained is not None:
        copy_tree(merged.explained, folder / EXPLAINED)
    path = results / KEPT / REASONS
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    counts = {how: list(merged.changes.values()).count(how) for how in CHANGES[:-1]} | {"gone": len(merged.gone)}
    if any(counts.values()):
        changed = [merged.trials[name] for name, how in merged.changes.items() if how != "unchanged"]
        code = ", ".join(dict.fromkeys(commit_of(r.data["environment"]["git"]) for r in changed))
        said = " ".join(reason.split()).replace("|", "\\|") or ("none given" if text else "First kept")
        trials = ", ".join(f"{n} {how}" for how, n in counts.items() if n)
        text = f"{text or HEAD}| {datetime.datetime.now(datetime.UTC):%Y-%m-%d} | {code} | {trials} | {said} |\n"
    write_text(folder / KEPT / REASONS, text or HEAD)


def copy_tree(source: Path, target: Path) -> None:
    """Copy all files below a folder.

    Parameters
    ----------
    source, target
        Folders; the second is made.

    Raises
    ------
    OSError
        A file cannot be read or written.
    """
    for path in sorted(source.rglob("*")):
        if path.is_file():
            _copy(path, target / path.relative_to(source))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def listed(names: Sequence[str]) -> str:
    """Names for people: the first ten, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def name_of(record: Record) -> str:
    """A trial's name within its study, corpus and profile: ``<label>/seed-<n>``."""
    return f"{record.folder.parent.name}/{record.folder.name}"


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
    return f"{KEPT}/{name_of(record)}"


def folders(study: str, results: Path) -> list[Path]:
    """Folders of a study's results that trials are kept in.

    Parameters
    ----------
    study
        Its name.
    results
        Folder of all results. What a `reprise keep` that was killed left half renamed is put right.

    Returns
    -------
    list of Path
        ``<study>/<corpus>-<profile>``, ordered by path.
    """
    for path in (results / study).glob(".*.old"):
        recover(path.with_name(path.name[1:].removesuffix(".old")))
    found = sorted(p.parent for p in (results / study).glob(f"*/{KEPT}") if not p.parent.name.startswith("."))
    return [folder for folder in found if records.find_records(folder / KEPT)]


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


def _change(earlier: Record | None, now: Record) -> str:
    """What becomes of a trial that was run: one of `CHANGES`."""
    if earlier is None:
        return "new"
    if not same_predictions(earlier, now):
        return "changed"
    if earlier.data["metrics"] != now.data["metrics"]:
        return "scored anew"
    return "unchanged" if _measured(earlier) == _measured(now) else "measured anew"


def _measured(record: Record) -> dict[str, str]:
    """Checksums of what was measured of a trial's network."""
    own = ("predictions.npz", "history.jsonl")
    return {name: sha for name, sha in record.data["files"].items() if name not in own and not name.endswith(WEIGHTS)}


def _misfit(study: Study, kept: Record, now: Mapping[str, Record]) -> str:
    """Why a kept trial cannot stand on one page with those that were run; empty where it can."""
    if kept.arm not in {a.name for a in study.arms} or kept.condition not in {c.name for c in study.conditions}:
        return "the study has no such arm or condition any more"
    different: set[str] = set()
    for record in now.values():
        names = set(other_settings(kept, record)) - {"split.seed", "split.checksum"}  # which may go with the seed
        same_arm = (record.arm, record.condition) == (kept.arm, kept.condition)
        different |= names if same_arm else {name for name in names if name.startswith("corpus.")}
    return f"another {', '.join(sorted(different)[:3])}" if different else ""


def _merge_clips(ours: Path | None, theirs: Path, *, replace: bool) -> str | None:
    """The clips of both files, by key; where no kept trial stays that was not run, those of the run alone."""
    texts = [path.read_text(encoding="utf-8") if path and path.exists() else None for path in (ours, theirs)]
    if texts[1] is None or (replace and texts[0] is not None):
        return texts[0]
    if texts[0] is None:
        return texts[1]
    new, old = ({row["key"]: row for row in csv.DictReader(io.StringIO(text))} for text in texts)
    differing = [key for key in old.keys() & new.keys() if any(new[key].get(k, v) != v for k, v in old[key].items())]
    if differing:
        raise RepriseError(
            f"{ours} and {theirs} contradict each other on {len(differing)} clips ({listed(sorted(differing))}); run "
            f"all kept trials again on the corpus as it is now, or give them up with --drop {ALL}"
        )
    if old.keys() <= new.keys():
        return texts[0]
    rows = [{**old.get(key, {}), **new.get(key, {})} for key in sorted({**old, **new})]
    columns = list(dict.fromkeys(name for found in (new, old) for row in found.values() for name in row))
    merged = io.StringIO()
    writer = csv.DictWriter(merged, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return merged.getvalue()


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
