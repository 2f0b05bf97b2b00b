"""A study's results folder, made from its records: tables, plots, explanations and a page that shows them.

What is shown is the study's own choice. Its code module offers

``tables(study, records) -> list[Table]``
    For instance `harness.report.standard.tables`.
``figures(study, records) -> dict[str, tuple[Figure, str]]``
    By the stem of its files each figure with a line on what it shows; for instance `harness.report.standard.figures`.
``explain(study, records, folder, jobs=) -> list[Table]``
    Writes what is neither, such as a gallery, into the folder, and gives the tables that go with it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.report import estimates, style, tables
from harness.report.writers import Table
from harness.storage import write_text
from harness.studies import records as trial_records
from harness.studies.records import Record
from harness.studies.study import Study


def build(study: Study, runs: Path, out: Path, *, console: Console, jobs: int | None = None) -> Path:
    """Write everything a study shows, and print its tables.

    Parameters
    ----------
    study
        Which.
    runs
        Folder of its trials on one corpus under one profile.
    out
        Folder of the results.
    console
        Where the tables are printed.
    jobs
        Processes for what takes long.

    Returns
    -------
    Path
        The page, ``README.md`` in `out`.

    Raises
    ------
    RepriseError
        A record does not agree with its files, or a file cannot be written.
    """
    records = [trial_records.verify(r.folder) for r in trial_records.find_records(runs)]
    shown = [*study.code.tables(study, records)]
    figures = study.code.figures(study, records)
    for name in _shown_earlier(out) - set(figures):  # for instance of an arm that was the best of earlier records
        for suffix in style.SUFFIXES:
            (out / name).with_suffix(suffix).unlink(missing_ok=True)
    for name, (figure, _) in figures.items():
        style.save(figure, out / name)
    shown += study.code.explain(study, records, out, jobs=jobs)
    for table in shown:
        tables.write(table, out)
        console.print(tables.to_terminal(table))
    page = out / "README.md"
    write_text(page, _page(study, records, shown, {name: text for name, (_, text) in figures.items()}, out))
    console.print(f"Tables, plots and the gallery are in {out}; {page.name} there shows them together.", soft_wrap=True)
    return page


def _shown_earlier(out: Path) -> set[str]:
    """Names of the figures that the page of an earlier report shows."""
    page = out / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return set(re.findall(r"^!\[.*\]\(([\w-]+)\.png\)$", text, flags=re.MULTILINE))


def _page(study: Study, records: Sequence[Record], shown: Sequence[Table], figures: dict[str, str], out: Path) -> str:
    """The page that shows all of it, in Markdown."""
    origin = estimates.provenance(study, records, "test")
    leak = records[0].data["split"]["leakage"]
    environment = records[0].data["environment"]
    seconds = sum(sum(r.data["durations"].values()) for r in records)
    commit = environment["git"]
    lines = [
        f"# {study.title}",
        "",
        origin.sentence(),
        "",
        f"{len(records)} trials, {seconds / 60:.0f} minutes of one thread each on {environment['cpu']}"
        f"{', ' + environment['gpu'] if environment['gpu'] else ''}; torch {environment['packages']['torch']}; "
        + (
            f"commit {commit['commit'][:12]}{'' if commit['clean'] else ' with changes'}." if commit else "no checkout."
        ),
        "",
        f"{study.groups.capitalize()} on both sides of the split {records[0].data['split']['name']}: "
        + ", ".join(f"{parts} {count}" for parts, count in leak["shared_groups"].items())
        + ".",
        "",
    ]
    gallery = out / "gallery" / "index.html"
    if gallery.exists():
        sound = "" if "not ours to pass on" in gallery.read_text(encoding="utf-8") else " and to hear"
        lines += [f"**[Gallery](gallery/index.html)**: clips with their class activation maps, to see{sound}.", ""]
    if (out / "player" / "index.html").exists():
        lines += ["**[Player](player/index.html)**: a clip, and what every filter answers while it plays.", ""]
    if (out / "animation.webp").exists():
        lines += ["![A network listening, filter by filter](animation.webp)", ""]
    for table in shown:
        lines += [tables.to_markdown(table).strip(), ""]
    for name, text in figures.items():
        lines += [f"## {text}", "", f"![{text}]({name}.png)", ""]
    return "\n".join(lines)
