"""All studies at a glance: what was run, what replicated, and where to look further.

Everything on the page comes from verdicts on the records that are kept, as reports have just given them.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from harness.analysis.verdicts import NOT_REPLICATED, REVERSED, tally
from harness.report import build
from harness.report.build import Report
from harness.report.verdicts import SECTIONS, findings_of
from harness.report.writers import escape_markdown
from harness.storage import write_text
from harness.studies import kept
from harness.studies import study as studies
from harness.studies.claims import FAILS, ORDER, TEXT, VALUE
from harness.studies.kept import EXPLAINED

PAGE = "README.md"
#: Verdicts that say that a paper's claim did not come out.
CONTRARY = (NOT_REPLICATED, REVERSED, FAILS)


def find(results: Path, reports: Sequence[Report] = ()) -> list[Report]:
    """The reports of all that is kept.

    Parameters
    ----------
    results
        Folder of all results.
    reports
        Those of some of its folders, which have just been made; of the others the claims are judged here.

    Returns
    -------
    list of Report
        By study, published corpora first.
    """
    known = {report.folder: report for report in reports}
    found = []
    for study in map(studies.load, studies.names()):
        folders = kept.folders(study.name, results)
        for folder in sorted(folders, key=lambda f: f.name.startswith("pocket-")):
            found.append(known.get(folder) or build.judged(study, folder))
    return found


def write(results: Path, reports: Sequence[Report] = ()) -> Path:
    """Write the page on all studies.

    Parameters
    ----------
    results, reports
        As in `find`.

    Returns
    -------
    Path
        ``README.md`` in `results`.
    """
    page = results / PAGE
    text = to_markdown(find(results, reports), results)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        write_text(page, text)
    return page


def to_markdown(reports: Sequence[Report], results: Path) -> str:
    """The page on all studies.

    Parameters
    ----------
    reports
        As `find` gives them.
    results
        Folder that links are relative to.

    Returns
    -------
    str
        Markdown.
    """
    found = [r for r in reports if r.verdicts is not None]
    lines = [
        "# What replicated",
        "",
        "Each row is a study played on one corpus. A printed value is judged only by trials that were made as its own "
        "were, an order of arms on any corpus; nothing is decided by eye. What a pocket corpus says is said of music "
        "that we rendered. Each page has every claim with its interval, how it was judged, and what it rests on. An "
        "order and its converse count once, and so does one order by several scores.",
        "",
        "| Study | Played on | Trials | Values | Orders | Other statements |",
        "| --- | --- | ---: | --- | --- | --- |",
        *(_row(report, results) for report in found),
        "",
    ]
    if others := [r.folder for r in reports if r.verdicts is None]:
        links = (f"[{escape_markdown(_link(f, results))}]({_link(f / PAGE, results)})" for f in others)
        lines += [f"Played, with no claim to judge: {', '.join(links)}.", ""]
    if missing := [name for name in studies.names() if name not in {r.study.name for r in reports}]:
        lines += [f"Not played yet: {', '.join(map(escape_markdown, missing))}.", ""]
    for name in dict.fromkeys(r.study.name for r in found):
        lines += _section([r for r in found if r.study.name == name], results)
    return "\n".join(lines)


def _row(report: Report, results: Path) -> str:
    frame, about = report.verdicts.frame, report.verdicts.about
    cells = (
        f"[{escape_markdown(report.study.name)}]({_link(report.folder / PAGE, results)})",
        escape_markdown(f"{about['corpus']}, profile {about['profile']}, weights {about['weights']}"),
        f"{report.trials:,}",
        *(tally(findings_of(frame[frame["kind"] == SECTIONS[kind]])) for kind in (VALUE, ORDER, TEXT)),
    )
    return f"| {' | '.join(cells)} |"


def _section(several: Sequence[Report], results: Path) -> list[str]:
    """What a study asks, one picture, and which of its claims did not come out."""
    study = several[0].study
    lines = [f"## {escape_markdown(study.title)}", "", escape_markdown(study.paper["summary"]), ""]
    name = f"{study.paper.get('picture')}.png"
    places = [f / name for r in several for f in (r.folder, r.folder / EXPLAINED)]
    picture = next((path for path in places if path.exists()), None)
    if picture is not None:
        page = _link(next(r.folder for r in several if r.folder in picture.parents) / PAGE, results)
        lines += [f"[![{escape_markdown(study.name)}]({_link(picture, results)})]({page})", ""]
    for report in several:
        frame = report.verdicts.frame
        link = _link(report.folder / PAGE, results)
        lines += [f"[{escape_markdown(report.folder.name)}]({link}): {tally(findings_of(frame))}.", ""]
        if len(contrary := frame[frame["verdict"].isin(CONTRARY)]):
            lines += ["Did not come out:", ""]
            lines += [
                f"- {escape_markdown(row.said)} ({escape_markdown(row.where)}): {row.verdict}"
                for row in contrary.itertuples()
            ]
            lines += [""]
    return lines


def _link(path: Path, results: Path) -> str:
    return Path(os.path.relpath(path, results)).as_posix()
