"""The command ``reprise``.

What is heavy to import (PyTorch, plotting) is imported where it is used, so that help and mistakes answer at once.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from harness import __version__
from harness.errors import RepriseError
from harness.parallel import cores
from harness.studies import study as studies
from harness.terminal import open_console


class _Command(TyperGroup):
    """Ends in one sentence, not in a traceback, on a user's mistake and on Ctrl-C."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RepriseError as error:
            print(f"reprise: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print("reprise: stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="reprise",
    cls=_Command,
    help="Published studies of musical-instrument recognition, played again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Corpora and published weights: what is here, and how to get what is not.", no_args_is_help=True
)
app.add_typer(data_app, name="data")
console = open_console()

#: What ``--weights`` takes in place of a file.
WORDS_FOR_WEIGHTS = ("published", "random", "pretrained", "seeded")

#: Rows of one kind of finding that an audit prints.
ROWS_SHOWN = 20

RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of the trials.", file_okay=False)]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the reports; default: with the trials, in report/.", file_okay=False),
]
ResultsOption = Annotated[
    Path, typer.Option("--results", help="Folder of the results, with the records kept there.", file_okay=False)
]
KeptOption = Annotated[bool, typer.Option("--kept", help="Of the records kept with the results, not of those in runs.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes at a time; default: one per core.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"reprise {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_all() -> None:
    """Studies with their arms and conditions, and corpora: what is here, what is missing, how to get it."""
    from harness import corpora
    from harness.models import weights as model_weights

    for name in studies.names():
        study = studies.load(name)
        table = Table(title=f"{name}: {study.title} ({study.paper['year']})", title_justify="left")
        for head in ("arm", "network", "title", "learning parameters"):
            table.add_column(head, justify="right" if head.endswith("parameters") else "left")
        for arm in study.arms:
            table.add_row(arm.name, arm.network, arm.title, f"{arm.parameters:,}" if arm.parameters else "")
        console.print(table)
        for condition in study.conditions:
            default = "" if condition.default else " (only on request: --condition)"
            console.print(f"  condition {condition.name}{default}: {condition.note}", highlight=False)
        console.print()
    for name in corpora.names():
        first, *_ = _corpus_status(name).splitlines()
        console.print(f"corpus {name}: {first}", highlight=False, soft_wrap=True)
    for name in model_weights.PUBLISHED:
        console.print(f"weights {name}: {_weights_status(name)}", highlight=False, soft_wrap=True)


def _corpus_status(name: str) -> str:
    from harness.corpora import download

    status = download.status(name)
    if status["here"]:
        return f"here ({status['folder']}, {status['audio_files']:,} audio files)"
    missing = "" if len(status["missing"]) > 3 else f", of which only {', '.join(status['missing'])} is missing"
    begun = f", {status['downloaded_bytes'] / 1e6:.0f} MB downloaded" if status["downloaded_bytes"] else ""
    way = f"`{status['how']}`; " if status["how"] else ""
    return f"not here ({status['folder']}{missing}{begun}): {way}{status['about']}"


def _weights_status(name: str) -> str:
    from harness.models import weights as model_weights

    published = model_weights.PUBLISHED[name]
    if published.path.exists():
        return f"{published.title}, here ({published.path})"
    return f"{published.title}, not here: `reprise data fetch {name}` ({published.megabytes} MB, {published.licence})"


@data_app.command("status")
def data_status(name: Annotated[str, typer.Argument(help="A corpus or a network.")]) -> None:
    """Say what of a corpus, or of a network's published weights, is here and how to get the rest."""
    print(_weights_status(name) if _is_network(name) else _corpus_status(name))


def _is_network(name: str) -> bool:
    """Whether a name is that of a network with published weights, and not of a corpus."""
    from harness.corpora import registry
    from harness.models import weights as model_weights

    if name in model_weights.PUBLISHED:
        return True
    try:
        registry.find(name)
    except RepriseError as error:
        raise RepriseError(
            f"{error}; networks with published weights are {', '.join(model_weights.PUBLISHED)}"
        ) from None
    return False


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="A published corpus, or a network for its weights.")]) -> None:
    """Download a published corpus or weights; size and licence first, and a broken download goes on."""
    from harness.corpora import download
    from harness.models import weights as model_weights

    if _is_network(name):
        published = model_weights.PUBLISHED[name]
        print(f"{published.title}\n  from {published.url}\n  to {published.path}")
        print(f"  {published.megabytes} MB, {published.licence}; SHA-256 starts {published.hash_prefix}")
        model_weights.fetch(name)
    else:
        download.fetch(name)


@data_app.command("make")
def data_make(
    name: Annotated[str, typer.Argument(help="A pocket corpus, such as pocket-openmic.")],
    size: Annotated[int | None, typer.Option(min=20, help="Number of clips; each corpus has its own default.")] = None,
    jobs: JobsOption = None,
) -> None:
    """Render a pocket corpus now rather than on first use."""
    from harness import corpora

    if _is_network(name) or not name.startswith("pocket-"):
        raise RepriseError(f"{name} is not rendered but fetched: `reprise data fetch {name}`")
    corpus = corpora.load(_sized(name, size), jobs=jobs)
    print(f"{corpus.name}: {len(corpus.clips)} clips in {corpus.root}")


@data_app.command("verify")
def data_verify(name: Annotated[str, typer.Argument(help="A corpus.")]) -> None:
    """Check every audio file of a corpus against its published checksum, or by its form where none is published."""
    from harness.corpora import download

    result = download.verify(name)
    for kind in ("missing", "changed", "unlisted"):
        for path in result[kind]:
            print(f"{kind}: {path}")
    bad = sum(len(result[kind]) for kind in ("missing", "changed", "unlisted"))
    if bad:
        raise RepriseError(f"{bad} audio files of {name} are not as published; get sound copies and verify again")
    if result["by_form"]:
        print(
            f"{name}: all {result['checked']:,} audio files are there and have the form they should have "
            f"({result['by_form']:,} of them have no published checksum)"
        )
    else:
        print(f"{name}: all {result['checked']:,} audio files are as published")


@data_app.command("audit")
def data_audit(
    name: Annotated[str, typer.Argument(help="A corpus.")],
    out: Annotated[Path | None, typer.Option(help="CSV file for all findings.", dir_okay=False)] = None,
    jobs: JobsOption = None,
) -> None:
    """Listen for duplicates, contradicting labels, clipping, static, silence and files that cannot be used."""
    from rich.markup import escape

    from harness import corpora
    from harness.features.audit import audit, tidy
    from harness.storage import write_text

    report = audit(corpora.load(name, jobs=jobs), jobs=jobs)
    found = []
    for kind, rows in report.tables().items():
        if rows.empty:
            continue
        found.append(f"{kind}: {len(rows):,}")
        table = Table(title=f"{kind} ({len(rows):,})", title_justify="left")
        for column in rows.columns:
            table.add_column(column.replace("_", " "))
        for row in rows.head(ROWS_SHOWN).itertuples(index=False):
            table.add_row(*(escape(tidy(value)) for value in row))
        console.print(table)
        if len(rows) > ROWS_SHOWN:
            console.print(f"and {len(rows) - ROWS_SHOWN:,} more; --out FILE.csv writes them all", highlight=False)
    if out is not None:
        write_text(out, report.findings().to_csv(index=False, lineterminator="\n"))
    print(
        f"{name}: {report.clips:,} clips, {report.searched:,} of them searched for near duplicates; "
        f"{', '.join(found) or 'nothing found'}"
    )


def _sized(name: str, size: int | None) -> str:
    """Name of a pocket corpus of a certain size."""
    if size is None:
        return name
    if not name.startswith("pocket-"):
        raise RepriseError(f"--size belongs to pocket corpora; {name} has the size it was published with")
    return f"{name}-{size}"


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="Folder name of a study; see `reprise list`.")],
    corpus: Annotated[str | None, typer.Option(help="Corpus; default: the profile's.")] = None,
    size: Annotated[int | None, typer.Option(min=20, help="Clips of the pocket corpus; default: its own.")] = None,
    profile: Annotated[
        str, typer.Option(help="paper: every setting as published. pocket: minutes on two cores.")
    ] = "pocket",
    arm: Annotated[list[str] | None, typer.Option(help="Arm to run; repeat for several. Default: all.")] = None,
    condition: Annotated[list[str] | None, typer.Option(help="Condition to run under; repeat for several.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds; default: the study's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    bf16: Annotated[bool, typer.Option("--bf16", help="Forward passes in bfloat16.")] = False,
    jobs: JobsOption = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="published, random, or FILE; NAME=FILE where a study has several networks. In attention-embeddings "
            "also vggish=pretrained (on its AudioSet) and words=seeded (unit vectors that know no words)."
        ),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out clips whose audio cannot be used.")] = False,
    runs: RunsOption = Path("runs"),
    out: OutOption = None,
    report: Annotated[bool, typer.Option(help="Explain the networks, and write tables and plots, at the end.")] = True,
) -> None:
    """Train a study's arms, and end with the paper's tables beside ours; only `reprise keep` changes the results."""
    from harness.report import build, writers
    from harness.studies import executor
    from harness.studies import records as trial_records
    from harness.studies.kept import EXPLAINED

    chosen = studies.load(study)
    changes: dict[str, Any] = {}
    if corpus or size:
        changes["corpus"] = _sized(corpus or chosen.resolve(profile, chosen.conditions[0].name)["corpus"], size)
    if weights:
        base = chosen.conditions[0].name
        defaults = chosen.resolve(profile, base)["weights"]
        if isinstance(defaults, Mapping) and weights in (["published"], ["random"]):
            weights = [f"{network}={weights[0]}" for network in defaults]
        if not isinstance(defaults, Mapping):  # one source for all networks
            defaults = {a.network: chosen.resolve(profile, base, network=a.network)["weights"] for a in chosen.arms}
        changes["weights"] = _weights(weights, defaults)
    where = _device(device)
    trials = executor.plan(
        chosen,
        profile=profile,
        runs=runs,
        arms=arm or (),
        conditions=condition or (),
        seeds=seeds or chosen.seeds.get(profile, 1),
        changes=changes,
        device=where,
        bf16=bf16,
        skip_bad=skip_bad,
    )
    executor.execute(trials, jobs=jobs or (1 if where == "cuda" else cores()), console=console)
    if report:
        for folder in dict.fromkeys(t.folder.parents[1] for t in trials):
            found = trial_records.find_records(folder)
            if not build.explain(chosen, found, folder / EXPLAINED, jobs=jobs):
                print(f"{folder / EXPLAINED} is of these trials already; remove it to have it made again.")
            for table in _report(chosen, folder, out):
                console.print(writers.to_terminal(table))


def _report(study: studies.Study, trials: Path, out: Path | None) -> tuple[Any, ...]:
    """Make the report of one folder of trials, beside them or under `out`; its tables."""
    from harness.report import publish

    with console.status(f"{study.name} on {trials.name}: tables and plots"):
        made = publish.report(study, trials, out=out and out / study.name / trials.name)
    print(f"Tables and plots are in {made.folder}; {made.folder / 'README.md'} shows them together.")
    return made.tables


def _weights(given: list[str], defaults: Mapping[str, str]) -> str | dict[str, str]:
    """``--weights`` as the protocol holds it: one source for all networks, or one for each."""
    if given in (["published"], ["random"]):
        return given[0]
    from harness.models import weights as model_weights

    sources = dict(defaults)
    for item in given:
        network, equals, file = item.partition("=")
        if network not in sources and len(sources) == 1:
            network, equals, file = next(iter(sources)), "=", item
        if network not in sources or not equals:
            raise RepriseError(
                f"--weights {item}: say for which network, as in --weights {next(iter(sources))}=FILE "
                f"(this study has {', '.join(sources)})"
            )
        if file not in WORDS_FOR_WEIGHTS:
            file = str(model_weights.locate(network, str(Path(file).absolute())))
        sources[network] = file
    return sources


def _device(name: str) -> str:
    """The device's name, checked."""
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise RepriseError(f"there is no device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise RepriseError("PyTorch finds no CUDA device here; run on the CPU with --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


@app.command()
def report(
    study: Annotated[list[str] | None, typer.Argument(help="Studies; default: all that have trials in runs.")] = None,
    runs: RunsOption = Path("runs"),
    out: OutOption = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Make the results again from their own records, elsewhere; name what differs."),
    ] = False,
    results: ResultsOption = Path("results"),
    jobs: JobsOption = None,
) -> None:
    """Make the reports of finished trials again, from the records in runs alone; never trains, never changes results.

    `reprise keep --again` makes the pages among the results again.
    """
    if check:
        from harness.report.stale import stale

        if study:
            raise RepriseError("--check is of all results at once; leave the studies out")
        for line in (found := stale(results, jobs=jobs)):
            print(line)
        if found:
            raise RepriseError(
                f"{len(found)} places in {results} are not what the records give; `reprise keep --again` writes what "
                "they give"
            )
        print(f"{results}: every table and page is what the kept records give, and every picture is there")
        return
    for chosen, folder in _trials(study, runs):
        _report(chosen, folder, out)


def _trials(names: list[str] | None, runs: Path) -> list[tuple[studies.Study, Path]]:
    """Folders of finished trials with their study; an error where a study that was named has none, or none has."""
    from harness.studies import records

    found = []
    for chosen in map(studies.load, names or studies.names()):
        folders = [f for f in sorted((runs / chosen.name).glob("*")) if records.find_records(f)]
        found += [(chosen, folder) for folder in folders]
        if names and not folders:
            raise RepriseError(
                f"there is no finished trial under {runs / chosen.name}; make some with `reprise run {chosen.name}`"
            )
    if not found:
        raise RepriseError(f"there is no finished trial under {runs}; make some with `reprise run STUDY`")
    return found


@app.command()
def keep(
    study: Annotated[list[str] | None, typer.Argument(help="Studies; with --again by default all.")] = None,
    source: Annotated[Path, typer.Option("--from", help="Folder of the trials.", file_okay=False)] = Path("runs"),
    results: ResultsOption = Path("results"),
    reason: Annotated[str, typer.Option(help="Why predictions changed; it goes into REASONS.md.")] = "",
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL/seed-N", help="Give up a kept trial; repeat, or `all` that was not run again."),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(metavar="CORPUS-PROFILE", help="Only trials on this corpus; default: all of the study."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Keep no trial; make pages again from what is kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
) -> None:
    """Merge finished trials into the results, and make their pages; the one command that changes results.

    Says first which trials and files are new, replaced or gone. A kept trial goes only by --drop.
    """
    from harness.report import publish, summary
    from harness.studies import kept

    if again:
        found = [(c, f) for c in map(studies.load, study or studies.names()) for f in kept.folders(c.name, results)]
    elif study:
        found = _trials(study, source)
    else:
        raise RepriseError("say which study to keep, as in `reprise keep STUDY`; --again makes all pages again")
    places = [(chosen, folder) for chosen, folder in found if not place or folder.name in place]
    if not places:
        raise RepriseError(
            f"nothing is found of {', '.join(place)}; choose --place among {', '.join(f.name for _, f in found)}"
            if found
            else f"nothing is kept under {results}; `reprise keep STUDY` does it"
        )
    if len(places) > 1 and set(drop or ()) - {kept.ALL}:
        raise RepriseError(
            f"--drop of single trials takes one --place, such as {places[0][1].name}, and one study; there are "
            f"{len(places)}"
        )
    reports = [
        publish.keep(
            chosen,
            None if again else folder,
            results / chosen.name / folder.name,
            drop=drop or (),
            reason=reason,
            dry_run=dry_run,
        )
        for chosen, folder in places
    ]
    print("Nothing was changed." if dry_run else f"All studies at a glance: {summary.write(results, reports)}")


@app.command()
def regression(
    study: Annotated[list[str] | None, typer.Argument(help="Studies; default: all whose records are kept.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of each arm; default: all that are kept.")] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Compare these trials, which today's code has run, and run none.", file_okay=False),
    ] = None,
    results: ResultsOption = Path("results"),
    condition: Annotated[
        list[str] | None, typer.Option(help="Only trials under this condition; repeat for several.")
    ] = None,
    jobs: JobsOption = None,
) -> None:
    """Run the pocket studies again and compare them, clip by clip, with the records kept with the results.

    Ends with 0 where nothing changed that a clean run would not change, with 1 where something fell, changed or is
    missing, and with 3 where something became better and nothing that changed was found to fall.
    """
    import contextlib
    import tempfile

    from harness.analysis import guard
    from harness.studies import records

    chosen_ones = map(studies.load, study or studies.names())
    baselines = [(chosen, guard.baselines(chosen, results, condition or ())) for chosen in chosen_ones]
    some, under = any(kept for _, kept in baselines), f" under {', '.join(condition)}" if condition else ""
    if missing := [chosen.name for chosen, kept in baselines if not kept and (study or not some)]:
        raise RepriseError(
            f"nothing is kept under {results} of {', '.join(missing)} on a pocket corpus{under}; "
            "`reprise keep STUDY` does it"
        )
    with contextlib.ExitStack() as stack:
        if anew := runs is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reprise-regression-")))
            stack.enter_context(guard.fresh_caches(work / "home"))
            runs = work / "runs"
        found = []
        for chosen, folder, baseline in ((c, f, b) for c, kept in baselines for f, b in kept.items()):
            if anew:
                guard.run_again(chosen, baseline, runs, console=console, jobs=jobs or cores(), most=seeds)
            now = records.find_records(runs / chosen.name / folder.name)
            found += guard.compare(chosen, baseline if anew else guard.expected(chosen, baseline, now), now)
        found = guard.judge(found)
        console.print(guard.shown(found), highlight=False)
        code, wrong = guard.exit_code(found), [f for f in found if not f.sound]
        way = "`reprise run STUDY`, then `reprise keep STUDY --reason TEXT`"
        if code == guard.IMPROVED:
            better = ", ".join(f.label for f in wrong if f.verdict == guard.BETTER)
            print(f"Better than kept, and nothing fell: {better}. Keep it: {way}.")
        elif code:
            raise RepriseError(
                f"{len(wrong)} of {len(found)} rows are not as kept (see the table); mend what did it, "
                f"or keep what comes out: {way}"
            )
        raise typer.Exit(code)


@app.command()
def visualise(
    trial: Annotated[
        Path, typer.Argument(metavar="RUN", help="A finished trial's folder, under runs/.", file_okay=False)
    ],
    clip: Annotated[str, typer.Argument(help="A key of the trial's corpus, or an audio file.")],
    layers: Annotated[
        str | None,
        typer.Option(help="Layers to show, such as conv1,pool1. Default: all in the page, the first one as a film."),
    ] = None,
    filters: Annotated[int, typer.Option(min=1, help="Filters of a layer: those that move most over the clip.")] = 64,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Show only so much from the clip's start.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.5, max=60, help="Frames a second of films; default: 25, or 8 without sound.")
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="html, mp4 (needs ffmpeg), webp, png or gif; repeat for several. Default: html, and mp4 or webp.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the files.", file_okay=False)] = Path("visualised"),
) -> None:
    """Show what every filter of a trained network answers while a clip plays: a page, and films."""
    from harness.report.visualise import visualise as write

    names = [name.strip() for name in layers.split(",") if name.strip()] if layers else None
    for path in write(trial, clip, out, layers=names, filters=filters, seconds=seconds, fps=fps, formats=form or None):
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command()
def traps(
    study: Annotated[str, typer.Argument(help="Folder name of a study; see `reprise list`.")],
    arm: Annotated[
        str | None, typer.Option(help="Arm to show; default: the trained one with the best validation score.")
    ] = None,
    runs: RunsOption = Path("runs"),
    kept_ones: KeptOption = False,
    results: ResultsOption = Path("results"),
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of tables and plots; default: that of --runs.", file_okay=False)
    ] = None,
) -> None:
    """Switch the protocol choices that silently move a score on the same finished trials: by how many points each."""
    from harness.report import build, writers
    from harness.report import traps as switched
    from harness.studies import kept
    from harness.studies.kept import EXPLAINED
    from harness.studies.records import KEPT

    chosen = studies.load(study)
    folders = kept.folders(chosen.name, results) if kept_ones else [folder for _, folder in _trials([study], runs)]
    if not folders:
        raise _nothing_kept([chosen.name], results)
    for folder in folders:
        inputs = build.read(folder / KEPT if kept_ones else folder, folder / EXPLAINED)
        with console.status(f"{chosen.name} on {folder.name}: switching"):
            survey = switched.survey(inputs.analysed(chosen), arm=arm)
            target = (out or runs) / chosen.name / folder.name / switched.NAME / survey.arm
            paths = switched.write(survey, target)
        console.print(writers.to_terminal(switched.table(survey)))
        console.print(f"Table and plot are in {paths[0].parent}.", soft_wrap=True)


def _nothing_kept(names: list[str], results: Path) -> RepriseError:
    return RepriseError(f"nothing is kept under {results} of {', '.join(names)}; `reprise keep STUDY` does it")


@app.command()
def figures(
    study: Annotated[list[str] | None, typer.Argument(help="Studies; default: all whose records are kept.")] = None,
    results: ResultsOption = Path("results"),
    out: Annotated[Path, typer.Option("--out", help="Folder of the figures and tables.", file_okay=False)] = Path(
        "figures"
    ),
) -> None:
    """Make all figures and tables for a two-column paper, PDF and LaTeX, from the kept records alone."""
    from harness.report import paper
    from harness.studies import kept

    chosen_ones = list(map(studies.load, study or studies.names()))
    kept_of = {chosen.name: kept.folders(chosen.name, results) for chosen in chosen_ones}
    missing = [name for name, folders in kept_of.items() if not folders]
    if missing and (study or len(missing) == len(kept_of)):
        raise _nothing_kept(missing, results)
    for chosen in chosen_ones:
        with console.status(f"{chosen.name}: drawing"):
            found = paper.write(chosen, kept_of[chosen.name], out / chosen.name)
        for shown in found:
            print(f"{out / chosen.name / shown.place}: {len(shown.figures)} figures, {len(shown.tables)} tables")


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="A trial's folder, or any folder above trials.")]) -> None:
    """Check every stored file against its record and compute the metrics again from the predictions."""
    from harness.studies import records

    found = sorted(path.parent for path in folder.rglob("record.json"))
    if not found:
        raise RepriseError(f"{folder} holds no finished trial (no record.json); run it to its end first")
    for path in found:
        record = records.verify(path)
        metric = studies.load(record.data["study"]).metric
        without = " without its weights" if records.is_kept(path) else ""
        print(f"sound{without}: {path}  (test {metric} {record.data['metrics']['test'][metric]:.4f})")


def main() -> None:
    """Run the command."""
    app()
