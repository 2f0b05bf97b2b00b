"""Where reports go: beside the trials that they are made from, or among the results, which ``reprise keep`` changes.

Whatever is written is made whole in a hidden folder beside its place, what that changes is said, and only then it is
swapped in: a kill or a full disk leaves what was there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import RepriseError
from harness.report import build
from harness.report.build import PAGE, Report
from harness.storage import beside, swap
from harness.studies import kept
from harness.studies.kept import EXPLAINED, listed
from harness.studies.records import KEPT
from harness.studies.study import Study

REPORT = "report"


def report(study: Study, trials: Path, *, out: Path | None = None, say: Callable[[str], None] = print) -> Report:
    """Make the report of a study's trials on one corpus under one profile.

    Parameters
    ----------
    study
        Whose it is.
    trials
        ``runs/<study>/<corpus>-<profile>``.
    out
        Where the report goes, with a copy of what the run explained; default: ``report`` beside the trials.
    say
        Called with a line on files of an earlier report that are not made any more, before they go.

    Returns
    -------
    Report
        As it was written.

    Raises
    ------
    RepriseError
        A record does not agree with its files, `out` holds something else than a report, or a file cannot be written.
    """
    target = trials / REPORT if out is None else out
    if target.exists() and any(target.rglob("record.json")):
        raise RepriseError(f"{target} holds trials, which a report would replace; choose another folder with --out")
    if target.exists() and any(target.iterdir()) and not (target / PAGE).exists():
        raise RepriseError(f"{target} holds something else than a report; choose another folder with --out")
    inputs = build.read(trials, trials / EXPLAINED)
    with beside(target) as new:
        explained = inputs.explained
        if out is not None and explained is not None:
            kept.copy_tree(explained, new / EXPLAINED)
            explained = new / EXPLAINED
        made = build.build(study, inputs.records, inputs.clips, explained, new)
        if gone := _differences(target, new)["gone"]:
            say(f"Not made any more, removed from {target}: {listed(gone)}.")
        swap(new, target)
    return replace(made, folder=target)


def keep(
    study: Study,
    trials: Path | None,
    results: Path,
    *,
    drop: Sequence[str] = (),
    reason: str = "",
    dry_run: bool = False,
    say: Callable[[str], None] = print,
) -> Report:
    """Merge trials into those that are kept, and make the results from all of them.

    Parameters
    ----------
    study
        Theirs.
    trials
        ``runs/<study>/<corpus>-<profile>``; None to make the results again from what is kept.
    results
        ``results/<study>/<corpus>-<profile>``.
    drop, reason
        As in `harness.studies.kept`.
    dry_run
        Whether to change nothing.
    say
        Called with lines on what will change, before it does.

    Returns
    -------
    Report
        As it was, or would be, written.

    Raises
    ------
    RepriseError
        As `harness.studies.kept.merge`; or a file cannot be written: the results are then as they were.
    """
    merged = kept.merge(study, trials, results, drop=drop)
    say(f"{study.name}/{results.name}: {len(merged.trials)} trials")
    for line in merged.lines():
        say(f"  {line}")
    with beside(results) as new:
        kept.write(merged, results, new, reason=reason)
        inputs = build.read(new / KEPT, new / EXPLAINED)
        made = build.build(study, inputs.records, inputs.clips, inputs.explained, new)
        changes = {what: names for what, names in _differences(results, new).items() if names}
        for what, names in changes.items():
            say(f"  files {what}: {listed(names)}")
        if not changes:
            say("  nothing changes")
        elif not dry_run:
            swap(new, results)
    return replace(made, folder=results)


def _differences(old: Path, new: Path) -> Mapping[str, list[str]]:
    """Names of the files that come, are replaced, or go, if one folder takes the place of another."""
    before, after = ({p.relative_to(f).as_posix(): p for p in sorted(f.rglob("*")) if p.is_file()} for f in (old, new))
    shared = [name for name in after if name in before]
    return {
        "new": [name for name in after if name not in before],
        "replaced": [name for name in shared if after[name].read_bytes() != before[name].read_bytes()],
        "gone": [name for name in before if name not in after],
    }
