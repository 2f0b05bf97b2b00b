"""A study's results folder, made from its records: tables, plots, explanations and a page that shows them.

What is shown is the study's own choice. Its code module offers

``tables(study, records) -> list[Table]``
    For instance `harness.report.standard.tables`.
``figures(study, records) -> dict[str, tuple[Figure, str]]``
    By the stem of its files each figure with a line on what it shows; for instance `harness.report.standard.figures`.
``explain(study, records, folder, jobs=) -> list[Table]``
    Writes what is neither, such as a gallery, into the folder, and gives the tables that go with it.

After these comes what our trials say of the paper's claims (`harness.report.verdicts`).

The records that a page was made from are kept beside it, without the weights (`harness.studies.kept`). From these it
can be made again, but for what asks the networks: what ``explain`` wrote, and figures that ``figures`` leaves out
where there are no weights, stay as they are. Checksums of the tables among it are kept with the records.
"""

import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from rich.console import Console

from harness.report import estimates, style, tables, verdicts
from harness.report.resampling import units_of
from harness.storage import write_text
from harness.studies import claims, kept
from harness.studies import records as trial_records
from harness.studies.records import Record
from harness.studies.study import Study


def build(study: Study, runs: Path, out: Path, *, console: Console, jobs: int | None = None, reason: str = "") -> Path:
    """Write everything a study shows, and print its tables.

    Parameters
    ----------
    study
        Which.
    runs
        Folder of its trials on one corpus under one profile; or where they are kept, ``records`` in `out`.
    out
        Folder of the results.
    console
        Where the tables are printed.
    jobs
        Processes for what takes long.
    reason
        Why predictions are others than those kept, if they are.

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
    from_kept = any(trial_records.is_kept(r.folder) for r in records)
    page = out / "README.md"
    earlier = page.read_text(encoding="utf-8") if page.exists() else ""
    shown_earlier = _figures_on(earlier)
    own = study.code.tables(study, records)
    figures = study.code.figures(study, records)
    texts = {name: text for name, (_, text) in figures.items()}
    if from_kept:
        left = {name: text for name, text in shown_earlier.items() if (out / name).with_suffix(".png").exists()}
        texts = {name: texts.get(name, text) for name, text in left.items()} | texts
    else:
        # For instance of an arm that was the best of earlier records.
        for name in shown_earlier.keys() - figures.keys():
            for suffix in style.SUFFIXES:
                (out / name).with_suffix(suffix).unlink(missing_ok=True)
    for name, (figure, _) in figures.items():
        style.save(figure, out / name)
    explained = [] if from_kept else study.code.explain(study, records, out, jobs=jobs)
    shown = [*own, *explained]
    written = {table.name: tables.write(table, out) for table in shown}
    for table in shown:
        console.print(tables.to_terminal(table))
    sections = [tables.to_markdown(table).strip() for table in shown]
    others = _other_tables(out, earlier, {verdicts.NAME, *(table.name for table in shown)})
    if from_kept:
        sections[len(own) : len(own)] = others.values()
        console.print(
            f"Made from the records kept in {runs}, which have no weights: gallery, player and what else asks the "
            "networks are left as they are.",
            soft_wrap=True,
        )
    else:
        for name in others:
            for suffix in (".csv", ".md", ".tex"):
                (out / name).with_suffix(suffix).unlink(missing_ok=True)
        kept.keep(records, out, reason=reason)
        kept.vouch((path for table in explained for path in written[table.name]), out)
    if claims.claims(study):  # last, since some are judged by the tables above
        judged = verdicts.table(study, records, out)
        tables.write(judged, out)
        console.print(tables.to_terminal(judged))
        sections.append(tables.to_markdown(judged).strip())
    write_text(page, _page(study, records, sections, texts, out))
    console.print(f"Tables, plots and the gallery are in {out}; {page.name} there shows them together.", soft_wrap=True)
    return page


def _figures_on(page: str) -> dict[str, str]:
    """Names of the figures that a page shows, each with its line."""
    return {name: text for text, name in re.findall(r"^!\[(.*)\]\(([\w-]+)\.png\)$", page, flags=re.MULTILINE)}


def _other_tables(out: Path, page: str, made: Set[str]) -> dict[str, str]:
    """Tables that an earlier page shows and that were not made again: in its order, by name, in Markdown."""
    texts = {p.stem: p.read_text(encoding="utf-8").strip() for p in out.glob("*.md") if p.stem not in {*made, "README"}}
    shown = {name: text for name, text in texts.items() if text and text in page}
    return {name: shown[name] for name in sorted(shown, key=lambda name: page.index(shown[name]))}


def _page(
    study: Study, records: Sequence[Record], sections: Sequence[str], figures: Mapping[str, str], out: Path
) -> str:
    """The page that shows all of it, in Markdown."""
    origin = estimates.provenance(study, records, "test")
    leak = records[0].data["split"]["leakage"]
    groups, unknown = study.groups, "."
    if records[0].data["inputs"].get("corpus", {}).get(study.groups) == 0:  # a clip stands for its group then
        groups, unknown = units_of(study, records)[0], f"; the corpus does not know the {study.groups}."
    environment = records[0].data["environment"]
    seconds = sum(sum(r.data["durations"].values()) for r in records)
    lines = [
        f"# {study.title}",
        "",
        origin.sentence(),
        "",
        f"{len(records)} trials, {seconds / 60:.0f} minutes of one thread each on {environment['cpu']}"
        f"{', ' + environment['gpu'] if environment['gpu'] else ''}; torch {environment['packages']['torch']}; "
        f"{kept.commit_of(environment['git'])}.",
        "",
        f"{groups.capitalize()} on both sides of the split {records[0].data['split']['name']}: "
        + ", ".join(f"{parts} {count}" for parts, count in leak["shared_groups"].items())
        + unknown,
        "",
    ]
    gallery = out / "gallery" / "index.html"
    if gallery.exists():
        sound = "" if "not ours to pass on" in gallery.read_text(encoding="utf-8") else " and to hear"
        lines += [f"**[Gallery](gallery/index.html)**: clips with their class activation maps, to see{sound}.", ""]
    if (out / "player" / "index.html").exists():
        lines += ["**[Player](player/index.html)**: a clip, and what every filter answers while it plays.", ""]
    if (out / "traps" / "traps.md").exists():
        lines += ["**[Traps](traps/traps.md)**: what choices of protocol are worth on these very predictions.", ""]
    if (out / "animation.webp").exists():
        lines += ["![A network listening, filter by filter](animation.webp)", ""]
    for section in sections:
        lines += [section, ""]
    for name, text in figures.items():
        lines += [f"## {text}", "", f"![{text}]({name}.png)", ""]
    return "\n".join(lines)
