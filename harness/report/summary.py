"""All studies at a glance: what was run, what replicated, and where to look further.

Everything on the page is from the tables of verdicts and the records that lie beside them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.report import verdicts
from harness.report.writers import UNDEFINED, escape_markdown
from harness.storage import write_text
from harness.studies import study as studies
from harness.studies.records import KEPT
from harness.studies.study import Study

#: Verdicts that say that a paper's claim did not come out.
CONTRARY = (verdicts.NOT_REPLICATED, verdicts.REVERSED, verdicts.FAILS)


@dataclass(frozen=True)
class Played:
    """A study's results on one corpus under one profile.

    Parameters
    ----------
    study
        Which.
    folder
        Of the results.
    frame
        Their table of verdicts.
    trials
        How many are kept beside it.
    """

    study: Study
    folder: Path
    frame: pd.DataFrame
    trials: int


def find(results: Path) -> list[Played]:
    """The results that have a table of verdicts.

    Parameters
    ----------
    results
        Folder of all results.

    Returns
    -------
    list of Played
        By study, published corpora first.
    """
    found = []
    for study in map(studies.load, studies.names()):
        paths = sorted((results / study.name).glob(f"*/{verdicts.NAME}.csv"))
        for path in sorted(paths, key=lambda p: p.parent.name.startswith("pocket-")):
            trials = len(list((path.parent / KEPT).glob("*/*/record.json")))
            found.append(Played(study, path.parent, pd.read_csv(path, dtype=str, keep_default_na=False), trials))
    return found


def write(results: Path) -> Path:
    """Write the page on all studies.

    Parameters
    ----------
    results
        Folder of all results.

    Returns
    -------
    Path
        ``README.md`` in it.
    """
    found = find(results)
    lines = [
        "# What replicated",
        "",
        "Each row is a study played on one corpus. A printed value is judged only by trials that were made as its own "
        "were, an order of arms on any corpus; nothing is decided by eye. What a pocket corpus says is said of music "
        "that we rendered. Each page has every claim with its interval, how it was judged, and what it rests on.",
        "",
        "| Study | Played on | Trials | Values | Orders | Other statements |",
        "| --- | --- | ---: | --- | --- | --- |",
        *(_row(played, results) for played in found),
        "",
    ]
    names = studies.names()
    kept = {p.parents[3] for name in names for p in (results / name).glob(f"*/{KEPT}/*/*/record.json")}
    if others := sorted(kept - {played.folder for played in found}):
        links = (f"[{escape_markdown(_link(f, results))}]({_link(f / 'README.md', results)})" for f in others)
        lines += [f"Played, with no claim to judge: {', '.join(links)}.", ""]
    missing = [name for name in names if name not in {f.parent.name for f in (*others, *(p.folder for p in found))}]
    if missing:
        lines += [f"Not played yet: {', '.join(map(escape_markdown, missing))}.", ""]
    for name in dict.fromkeys(p.study.name for p in found):
        lines += _section([p for p in found if p.study.name == name], results)
    page = results / "README.md"
    write_text(page, "\n".join(lines))
    return page


def _row(played: Played, results: Path) -> str:
    frame, link = played.frame, _link(played.folder / "README.md", results)
    kinds = (verdicts.SECTIONS[kind] for kind in (verdicts.VALUE, verdicts.ORDER, verdicts.TEXT))
    counts = [verdicts.tally(frame.loc[frame["kind"] == kind, "verdict"]) for kind in kinds]
    first = frame.iloc[0]
    on = f"{first['corpus']}, profile {first['profile']}, weights {first['weights']}"
    cells = (
        f"[{escape_markdown(played.study.name)}]({link})",
        escape_markdown(on),
        f"{played.trials:,}" if played.trials else UNDEFINED,
        *counts,
    )
    return f"| {' | '.join(cells)} |"


def _section(several: Sequence[Played], results: Path) -> list[str]:
    """What a study asks, one picture, and which of its claims did not come out."""
    study = several[0].study
    lines = [f"## {escape_markdown(study.title)}", "", escape_markdown(study.paper["summary"]), ""]
    picture = next((p for s in several if (p := s.folder / f"{study.paper.get('picture')}.png").exists()), None)
    if picture is not None:
        page = _link(picture.parent / "README.md", results)
        lines += [f"[![{escape_markdown(study.name)}]({_link(picture, results)})]({page})", ""]
    for played in several:
        frame = played.frame[played.frame["verdict"].isin(CONTRARY)]
        link = _link(played.folder / "README.md", results)
        lines += [f"[{escape_markdown(played.folder.name)}]({link}): {verdicts.tally(played.frame['verdict'])}.", ""]
        if len(frame):
            lines += ["Did not come out:", ""]
            lines += [
                f"- {escape_markdown(row.claim)} ({escape_markdown(row.where)}): {row.verdict}"
                for row in frame.itertuples()
            ]
            lines += [""]
    return lines


def _link(path: Path, results: Path) -> str:
    return Path(os.path.relpath(path, results)).as_posix()
