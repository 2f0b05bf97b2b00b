"""A study's results folder, made from its records: tables, plots, explanations and a page that shows them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness import corpora
from harness.report import estimates, plots, style, tables
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
    networks = {study.arm(r.arm).network for r in records}
    shown = [
        tables.score_table(study, records, table)
        for table, about in study.tables.items()
        if about["network"] in networks
    ]
    shown.append(tables.masked_table(study, records))
    if len({r.condition for r in records}) > 1:
        shown.append(tables.condition_table(study, records))
    figures = _write_figures(study, records, out)
    shown += study.code.explain(study, records, out, jobs=jobs)
    for table in shown:
        tables.write(table, out)
        console.print(tables.to_terminal(table))
    page = out / "README.md"
    write_text(page, _page(study, records, shown, figures, out))
    console.print(f"Tables, plots and the gallery are in {out}; {page.name} there shows them together.", soft_wrap=True)
    return page


def _write_figures(study: Study, records: Sequence[Record], out: Path) -> dict[str, str]:
    """Write every plot; what each shows, by its file's stem."""
    base = study.conditions[0].name
    corpus = corpora.load(records[0].data["corpus"])
    figures = {
        "label_counts": (
            plots.label_counts(corpus),
            "Labels: present, absent, and never asked about",
        ),
        "scores": (plots.scores(study, records), "Every arm with its interval, chance, and the paper's values"),
    }
    for condition in estimates.conditions(study, records):
        suffix = "" if condition == base else f"_{condition}"
        title = study.condition(condition).title
        figures[f"training_curves{suffix}"] = (
            plots.training_curves(study, records, condition=condition),
            f"Losses and validation macro F1 by epoch ({title})",
        )
        best = list(estimates.best_arms(study, records, condition).values())
        figures[f"per_class_f1{suffix}"] = (
            plots.per_class_f1(study, records, arms=best, condition=condition),
            f"F1 of each instrument, the best arm of each network ({title})",
        )
        for arm in best:
            figures[f"confusion_{arm}{suffix}"] = (
                plots.confusion(study, records, arm, condition=condition),
                f"What {arm} hears when an instrument plays ({title})",
            )
    for earlier in out.glob("confusion_*"):  # of arms that were the best of earlier records
        earlier.unlink()
    for name, (figure, _) in figures.items():
        style.save(figure, out / name)
    return {name: text for name, (_, text) in figures.items()}


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
        "Groups (artists) on both sides of the split: "
        + ", ".join(f"{parts} {count}" for parts, count in leak["shared_groups"].items())
        + ".",
        "",
    ]
    if (out / "gallery" / "index.html").exists():
        lines += ["**[Gallery](gallery/index.html)**: clips with their class activation maps, to see and to hear.", ""]
    for table in shown:
        lines += [tables.to_markdown(table).strip(), ""]
    for name, text in figures.items():
        lines += [f"## {text}", "", f"![{text}]({name}.png)", ""]
    return "\n".join(lines)
