"""Running trials: what is to be done, how long it will take, and doing it over all cores."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness import corpora
from harness.corpora import registry
from harness.errors import RepriseError
from harness.models import weights
from harness.studies import claims, records
from harness.studies.clips import write_clips
from harness.studies.context import Context, Opened
from harness.studies.runner import run_trials
from harness.studies.study import Study
from harness.studies.trial import Expected, Trial, trial_label
from harness.studies.work import Report, in_workers
from harness.terminal import progress

#: Seconds between two lines about one trial: some epochs take minutes, others a fraction of a second.
LINE_EVERY = 10.0


def plan(
    study: Study,
    *,
    profile: str,
    runs: Path,
    arms: Sequence[str] = (),
    conditions: Sequence[str] = (),
    seeds: int = 1,
    changes: Mapping[str, Any] | None = None,
    device: str = "cpu",
    bf16: bool = False,
    skip_bad: bool = False,
) -> list[Trial]:
    """List the trials a run consists of.

    Parameters
    ----------
    study
        Which.
    profile
        ``"paper"`` or ``"pocket"``.
    runs
        Folder under which trials live.
    arms
        Names of arms; those that run by default if empty.
    conditions
        Names of conditions; those that run by default and fit the corpus if empty.
    seeds
        Number of seeds: 0, 1, ...
    changes
        The user's changes to the protocol.
    device, bf16, skip_bad
        As in `Trial`.

    Returns
    -------
    list of Trial
        In the order of the study's conditions, arms and seeds.

    Raises
    ------
    RepriseError
        An unknown arm, condition, profile or corpus, an arm that the conditions leave out, or a corpus that the study
        is not for; or the study claims what makes no sense, or lacks code that a run comes to in the end.
    """
    chosen_arms = [study.arm(name) for name in arms] or [arm for arm in study.arms if arm.default]
    chosen = [study.condition(name) for name in conditions] or [c for c in study.conditions if c.default]
    trials = []
    for condition in chosen:
        for arm in chosen_arms:
            if condition.arms and arm.name not in condition.arms:
                continue
            protocol = study.resolve(profile, condition.name, changes, network=arm.network)
            _check_corpus(study, protocol["corpus"])
            if not conditions and not condition.fits(protocol["corpus"]):
                continue
            for seed in range(seeds):
                label = trial_label(study, arm.name, condition.name)
                folder = runs / study.name / f"{protocol['corpus']}-{profile}" / label / f"seed-{seed}"
                trials.append(Trial(study, arm, condition, profile, seed, protocol, folder, device, bf16, skip_bad))
    if not trials:
        raise RepriseError("nothing to run: the conditions chosen do not apply to the arms chosen; see `reprise list`")
    claims.claims(study)
    study.code  # noqa: B018
    return trials


def _check_corpus(study: Study, name: str) -> None:
    """Refuse a corpus that does not exist, or whose clips and labels are not what the study is about."""
    registry.find(name)
    if not study.fits(name):
        pockets = any(known.startswith("pocket-") for known in study.corpora)
        raise RepriseError(
            f"{study.name} cannot be played on {name}: choose --corpus {' or '.join(study.corpora)}"
            f"{', pocket ones of any size' if pockets else ''}"
        )


def execute(trials: Sequence[Trial], *, jobs: int, console: Console) -> list[records.Record]:
    """Run the trials that have no record yet: on the CPU one process and one thread each.

    On a GPU the seeds of an arm go to one process, which may train them side by side.

    Parameters
    ----------
    trials
        Of one study; see `plan`.
    jobs
        Number of processes.
    console
        Where the plan and each epoch's line are printed.

    Returns
    -------
    list of Record
        In the order of the trials.

    Raises
    ------
    RepriseError
        Weights or a published corpus are not here; or a trial failed: those that finished keep their records, and the
        same command goes on from there.
    """
    opened = Opened()
    waiting = [t for t in trials if not t.finished()]
    if waiting:
        code = waiting[0].study.code  # before the first worker is forked: all have imported what we have by then
        _check_inputs(waiting)
        for name in dict.fromkeys(t.corpus for t in waiting):
            if clips := registry.to_render(name):
                console.print(f"{name} is not here yet: renders {clips:,} clips first.", soft_wrap=True)
        contexts = [Context(t, opened) for t in waiting]
        expected = code.expected(contexts)
        _print_plan(trials, waiting, expected, jobs, console)
        code.prepare(contexts, jobs=jobs)
        _run(sorted(contexts, key=lambda c: -expected.trials[c.trial.label]), jobs)
    else:
        console.print(f"All {len(trials)} trials are finished; nothing to train.")
    for folder, study in {t.folder.parents[1]: t.study for t in trials}.items():
        write_clips(study, folder, opened, anew=bool(waiting))
    return [records.read_record(t.folder) for t in trials]


def _check_inputs(waiting: Sequence[Trial]) -> None:
    """Name what is not here before anything is rendered."""
    for name in dict.fromkeys(t.corpus for t in waiting):
        if registry.absent(name):
            corpora.load(name)  # says how to get it
    for t in waiting:
        source = t.protocol["weights"]
        source = source.get(t.arm.network, "random") if isinstance(source, Mapping) else source
        if source != "random":
            weights.locate(t.arm.network, source)


def _print_plan(
    trials: Sequence[Trial], waiting: Sequence[Trial], expected: Expected, jobs: int, console: Console
) -> None:
    """Say what will be done and how long it takes at most."""
    first = waiting[0]
    table = Table(title=f"{first.study.name} on {first.corpus}, profile {first.profile}", title_justify="left")
    table.add_column("trial")
    table.add_column("learning parameters", justify="right")
    table.add_column("seeds to run", justify="right")
    table.add_column("at most, one thread", justify="right")
    for what, seconds in expected.shared.items():
        table.add_row(what, "", "", _duration(seconds))
    for label in dict.fromkeys(t.label for t in waiting):
        those = [t for t in waiting if t.label == label]
        learning = f"{those[0].arm.parameters:,}" if those[0].arm.parameters else ""
        table.add_row(label, learning, str(len(those)), _duration(expected.trials[label] * len(those)))
    console.print(table)
    total = (sum(expected.trials[t.label] for t in waiting) + sum(expected.shared.values())) / jobs
    done = len(trials) - len(waiting)
    console.print(
        f"{len(waiting)} trials to run{f', {done} already done' if done else ''}; "
        f"{jobs} at a time on {first.device}: about {_duration(total)} if none stops early. "
        "Ctrl-C is safe: the same command goes on from the last epoch."
    )


def _duration(seconds: float) -> str:
    """For people: ``45 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _run(waiting: Sequence[Context], jobs: int) -> None:
    """Train, showing a line per epoch, or one every few seconds where epochs are short."""
    together: dict[tuple[str, int | None], list[Context]] = {}
    for c in waiting:
        together.setdefault((c.trial.label, None if c.trial.device == "cuda" else c.trial.seed), []).append(c)
    by_folder = {str(c.trial.folder): c.trial for c in waiting}
    said: dict[str, float] = {}
    with progress() as bar:
        task = bar.add_task("trials", total=len(waiting))

        def show(message: tuple[str, dict[str, Any] | records.Record]) -> None:
            folder, entry = message
            if isinstance(entry, records.Record):
                bar.advance(task)
                bar.console.print(_last_line(by_folder[folder], entry), highlight=False, soft_wrap=True)
            elif "epoch" not in entry:
                line = f"{_name(by_folder[folder]):27} frozen layers: {entry['clips']:,} of {entry['of']:,} clips"
                bar.console.print(line, highlight=False, soft_wrap=True)
            elif time.monotonic() - said.get(folder, 0.0) >= LINE_EVERY or entry["seconds"] >= LINE_EVERY:
                said[folder] = time.monotonic()
                bar.console.print(_epoch_line(by_folder[folder], entry), highlight=False, soft_wrap=True)

        in_workers(_train, list(together.values()), jobs, show)


def _train(contexts: list[Context], report: Report) -> None:
    for record in run_trials(contexts, on_epoch=lambda t, entry: report((str(t.folder), entry))):
        report((str(record.folder), record))


def _epoch_line(t: Trial, entry: Mapping[str, Any]) -> str:
    """One epoch for people, in 100 columns."""
    scores = "  ".join(f"{SHORT.get(key, key)} {entry[key]:.3f}" for key in t.study.history if entry[key] is not None)
    losses = f"loss {entry['train_loss']:.3f}, valid {entry['valid_loss']:.3f}"
    return f"{_name(t):27} {entry['epoch']:>3}  {losses}  {scores}  {entry['seconds']:.0f} s"


def _last_line(t: Trial, record: records.Record) -> str:
    """A finished trial for people."""
    score = record.data["metrics"]["valid"][t.study.metric]
    said = "" if score is None else f", validation {SHORT.get(t.study.metric, t.study.metric)} {score:.3f}"
    kept = f", epoch {record.data['best_epoch']} of {record.data['epochs']} kept" if record.data["epochs"] else ""
    return f"{_name(t):27} done{kept}{said}"


def _name(t: Trial) -> str:
    return f"{t.label}, seed {t.seed}" if t.seed else t.label


#: The scores' names in a line of the terminal.
SHORT = {
    "f1_macro_unmasked": "F1 macro",
    "f1_micro_unmasked": "micro",
    "jaccard_samples_unmasked": "Jaccard",
    "f1_macro2_masked": "F1 macro",
}
