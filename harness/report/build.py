"""A study's report, made from its records: tables, plots and a page that shows them.

A report is made from four things and nothing else: the study, its trials on one corpus under one profile, what the
corpus says of their clips (``clips.csv``), and the folder ``explained``, which the run wrote when it asked the
networks. It opens no corpus and no network, and reads no file of an earlier report. What is shown is the study's own
choice. Its code module offers

``tables(analysis) -> list[Table]``
    For instance `harness.report.standard.tables`.
``figures(analysis) -> dict[str, tuple[Figure, str]]``
    By the stem of its files each figure with a line on what it shows; for instance `harness.report.standard.figures`.
``explain(study, records, folder, jobs=) -> dict``
    Called by the run. It writes what is neither table nor number, such as a gallery, into the folder, and says how the
    page shows it: ``{"figures": {"animation.webp": "A network listening"}, "links": [{"path": "gallery/index.html",
    "title": "Gallery", "text": "clips with their maps, to see and to hear"}]}``.

After these come what our trials say of the paper's claims (`harness.report.verdicts`), and what choices of protocol are
worth on the same predictions (`harness.report.traps`). ``estimates.csv`` and ``contrasts.csv`` are the two frames of
`harness.analysis.study` that all of it is a query on.
"""

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.report import style, tables, traps, verdicts, writers
from harness.report.writers import Table, escape_markdown
from harness.storage import beside, fingerprint, sha256_of, swap, write_json, write_text
from harness.studies import records as trial_records
from harness.studies.clips import read_clips
from harness.studies.kept import EXPLAINED, commit_of
from harness.studies.records import KEPT, Record
from harness.studies.study import Study

PAGE, INDEX = "README.md", "index.json"


@dataclass(frozen=True)
class Inputs:
    """What a report is made from.

    Parameters
    ----------
    records
        Trials on one corpus under one profile, each as it was written.
    clips
        A row for every clip that a trial was scored on; None where no file says anything of them.
    explained
        Folder of what the run explained; None where there is none.
    """

    records: Sequence[Record]
    clips: pd.DataFrame | None = None
    explained: Path | None = None

    def analysed(self, study: Study) -> Analysis:
        """The trials, ready to be asked."""
        return Analysis(study, self.records, self.clips)


@dataclass(frozen=True)
class Report:
    """What a report says.

    Parameters
    ----------
    study
        Whose it is.
    folder
        Where it lies.
    trials
        How many it is made from.
    tables
        In the order of the page.
    verdicts
        The table of claims, which is the last of these; None where the paper claims nothing.
    """

    study: Study
    folder: Path
    trials: int
    tables: tuple[Table, ...]
    verdicts: Table | None


def read(trials: Path, explained: Path) -> Inputs:
    """Read what a report is made from.

    Parameters
    ----------
    trials
        ``runs/<study>/<corpus>-<profile>``, or ``records`` among the results.
    explained
        Folder that the run's explanations are in, if it exists.

    Returns
    -------
    Inputs
        Every file of a trial is as its record says.

    Raises
    ------
    RepriseError
        A record does not agree with its files.
    """
    found = [trial_records.intact(r.folder) for r in trial_records.find_records(trials)]
    return Inputs(found, read_clips(trials), explained if explained.is_dir() else None)


def build(
    study: Study,
    records: Sequence[Record],
    clips: pd.DataFrame | None,
    explained: Path | None,
    out: Path,
    *,
    save: Callable[[Figure, Path], list[Path]] = style.save,
) -> Report:
    """Write everything a study shows.

    Parameters
    ----------
    study
        Whose report it is.
    records, clips, explained
        As in `Inputs`.
    out
        A folder without an earlier report.
    save
        Writes a figure to a path without suffix.

    Returns
    -------
    Report
        Its page is ``README.md`` in `out`.

    Raises
    ------
    RepriseError
        A file cannot be written, or ``explained`` is damaged.
    """
    analysis = Inputs(records, clips, explained).analysed(study)
    shown, figures = shown_by(analysis)
    judged = judge(analysis, out)
    shown += [judged] if judged else []
    for name, (figure, _) in figures.items():
        save(figure, out / name)
    for table in shown:
        writers.write(table, out)
    for name, frame in (("estimates", analysis.estimates), ("contrasts", analysis.contrasts)):
        write_text(out / f"{name}.csv", frame.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    switched = survey(analysis)
    if switched is not None:
        traps.write(switched, out / traps.NAME, save=save)
    lines = _head(analysis) + _links(explained, out)
    if switched is not None:
        lines += [f"**[Traps]({traps.NAME}/{traps.NAME}.md)**: what choices of protocol are worth on these very "
                  "predictions.", ""]  # fmt: skip
    for name, text in _pictures(explained, out).items():
        lines += [f"![{text}]({name})", ""]
    for table in shown:
        lines += [writers.to_markdown(table).strip(), ""]
    for name, (_, text) in figures.items():
        lines += [f"## {text}", "", f"![{text}]({name}.png)", ""]
    write_text(out / PAGE, "\n".join(lines))
    return Report(study, out, len(records), tuple(shown), judged)


def shown_by(analysis: Analysis) -> tuple[list[Table], dict[str, tuple[Figure, str]]]:
    """The study's own tables and figures."""
    code = analysis.study.code
    return list(code.tables(analysis)), dict(code.figures(analysis))


def judged(study: Study, results: Path) -> Report:
    """What a report of kept trials would say of the claims; nothing is written.

    Parameters
    ----------
    study
        Theirs.
    results
        ``results/<study>/<corpus>-<profile>``.

    Returns
    -------
    Report
        Without its tables.
    """
    inputs = read(results / KEPT, results / EXPLAINED)
    return Report(study, results, len(inputs.records), (), judge(inputs.analysed(study), results))


def judge(analysis: Analysis, out: Path) -> Table | None:
    """The table of claims, with links from `out` to the trials; None where the paper claims nothing."""
    if not analysis.claims:
        return None
    table, root = verdicts.table(analysis), analysis.records[0].folder.parents[1]
    return replace(table, frame=table.frame.assign(records=[_from(out, root, r) for r in table.frame["records"]]))


def _from(out: Path, root: Path, links: str) -> str:
    """Links to folders of trials as they are from the folder of the report."""
    return " ".join(_relative(root / link.rpartition("/")[2], out) for link in links.split())


def _relative(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path, out)).as_posix()


def survey(analysis: Analysis) -> traps.Traps | None:
    """What choices of protocol are worth; None where the main score has no points, or the paper's own was not run."""
    try:
        return traps.survey(analysis)
    except RepriseError:
        return None


def explain(study: Study, records: Sequence[Record], folder: Path, *, jobs: int | None = None) -> bool:
    """Ask the networks what cannot be told from their predictions, and swap in what comes of it.

    Parameters
    ----------
    study, records
        The study, and its trials on one corpus under one profile, with their weights.
    folder
        ``explained`` beside them. ``index.json`` there says how a page shows it, has the checksums of all other files,
        and names the trials by a fingerprint.
    jobs
        Processes for what takes long.

    Returns
    -------
    bool
        Whether anything was done: what explains these very trials already is left as it is.

    Raises
    ------
    RepriseError
        A file cannot be written, or the study's code cannot explain a trial.
    """
    trials = fingerprint(sorted(r.data["checksum"] for r in records))
    with contextlib.suppress(RepriseError):  # no index: nothing is explained yet
        if index_of(folder).get("trials") == trials:
            return False
    with beside(folder) as new:
        shown = study.code.explain(study, records, new, jobs=jobs)
        files = {p.relative_to(new).as_posix(): sha256_of(p) for p in sorted(new.rglob("*")) if p.is_file()}
        write_json(new / INDEX, {"figures": {}, "links": [], **shown, "trials": trials, "files": files})
        swap(new, folder)
    return True


def index_of(explained: Path | None) -> dict[str, Any]:
    """What ``index.json`` says of a folder of explanations.

    Parameters
    ----------
    explained
        The folder, or None.

    Returns
    -------
    dict
        Empty where there is no folder.

    Raises
    ------
    RepriseError
        The file is damaged or absent.
    """
    if explained is None:
        return {}
    path = explained / INDEX
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RepriseError(
            f"{path} is damaged or not there; restore it, or remove {explained} and run the study again"
        ) from error


def _links(explained: Path | None, out: Path) -> list[str]:
    lines = []
    for link in index_of(explained).get("links", []):
        path = _relative(explained / link["path"], out)
        lines += [f"**[{escape_markdown(link['title'])}]({path})**: {escape_markdown(link['text'])}.", ""]
    return lines


def _pictures(explained: Path | None, out: Path) -> dict[str, str]:
    figures = index_of(explained).get("figures", {})
    return {_relative(explained / (n if Path(n).suffix else f"{n}.png"), out): text for n, text in figures.items()}


def _head(analysis: Analysis) -> list[str]:
    """What the page stands on."""
    study, records = analysis.study, analysis.records
    leak = records[0].data["split"]["leakage"]
    groups, unknown = study.groups, "."
    if records[0].data["inputs"].get("corpus", {}).get(study.groups) == 0:  # a clip stands for its group then
        groups, unknown = analysis.unit, f"; the corpus does not know the {study.groups}."
    environment = records[0].data["environment"]
    seconds = sum(sum(r.data["durations"].values()) for r in records)
    return [
        f"# {study.title}",
        "",
        tables.origin(analysis),
        "",
        f"{len(records)} trials, {seconds / 60:.0f} minutes in all, each trial on one thread of {environment['cpu']}"
        f"{', ' + environment['gpu'] if environment['gpu'] else ''}; torch {environment['packages']['torch']}; "
        f"{commit_of(environment['git'])}.",
        "",
        f"{groups.capitalize()} on both sides of the split {records[0].data['split']['name']}: "
        + ", ".join(f"{parts} {count}" for parts, count in leak["shared_groups"].items())
        + unknown,
        "",
    ]
