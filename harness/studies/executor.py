"""Running trials: what is to be done, how long it will take, and doing it over all cores."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from harness import features
from harness.errors import RepriseError
from harness.parallel import worker_context, workers
from harness.studies import cost, records, trial
from harness.studies.study import Study
from harness.studies.trial import Trial
from harness.terminal import progress


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
        Names of arms; all if empty.
    conditions
        Names of conditions; those that run by default if empty.
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
        An unknown arm, condition or profile, or an arm that the conditions leave out.
    """
    chosen_arms = [study.arm(name) for name in arms] or list(study.arms)
    chosen = [study.condition(name) for name in conditions] or [c for c in study.conditions if c.default]
    trials = []
    for condition in chosen:
        for arm in chosen_arms:
            if condition.arms and arm.name not in condition.arms:
                continue
            protocol = study.resolve(profile, condition.name, changes, network=arm.network)
            for seed in range(seeds):
                label = trial.trial_label(study, arm.name, condition.name)
                folder = runs / study.name / f"{protocol['corpus']}-{profile}" / label / f"seed-{seed}"
                trials.append(Trial(study, arm, condition, profile, seed, protocol, folder, device, bf16, skip_bad))
    if not trials:
        raise RepriseError("nothing to run: the conditions chosen do not apply to the arms chosen; see `reprise list`")
    return trials


def execute(trials: Sequence[Trial], *, jobs: int, console: Console) -> list[records.Record]:
    """Run the trials that have no record yet, one process and one thread each.

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
        A trial failed; those that finished keep their records, and the same command goes on from there.
    """
    waiting = [t for t in trials if not t.finished()]
    if waiting:
        _ = waiting[0].study.code  # before the first worker is forked: all of them have imported what we have by then
        blueprints: dict[str, trial.Blueprint] = {}
        for t in waiting:  # features first, with all cores: every trial of a front end reads the same store
            if t.label in blueprints:
                continue
            corpus = trial.load_corpus(t)
            blueprints[t.label], _ = trial.build(t, corpus)
            blueprints[t.label].network.to("meta")  # its shapes are enough here, and all arms' weights fill gigabytes
            features.open_store(corpus, blueprints[t.label].front_end, jobs=jobs, skip_bad=t.skip_bad)
        seconds, prefix_seconds = _expected_seconds(waiting, blueprints)
        _print_plan(trials, waiting, seconds, prefix_seconds, jobs, console)
        _store_prefixes(waiting, blueprints, jobs)
        _run(sorted(waiting, key=lambda t: -seconds[t.label]), jobs)
    else:
        console.print(f"All {len(trials)} trials are finished; nothing to train.")
    return [records.read_record(t.folder) for t in trials]


def _expected_seconds(
    waiting: Sequence[Trial], blueprints: Mapping[str, trial.Blueprint]
) -> tuple[dict[str, float], float]:
    """Expected time of each kind of trial, by label, and of all frozen parts that are to be stored first."""
    rate = cost.measure_rate(torch.device(waiting[0].device))
    seconds: dict[str, float] = {}
    passes: dict[str, float] = {}
    for t in waiting:
        if t.label in seconds:
            continue
        corpus = trial.load_corpus(t)
        sizes = {part: len(rows) for part, rows in corpus.split(t.protocol["split"]).rows.items()}
        blueprint = blueprints[t.label]
        stored = t.protocol["batch_norm"] == "fixed"
        flops = cost.flops_per_clip(blueprint.network, t.arm.trainable, blueprint.front_end.shape(corpus.seconds))
        if stored:  # the arms of a network share one pass, as long as the longest of them
            one_pass = flops[0] * len(corpus.clips) / rate.flops
            passes[t.arm.network] = max(one_pass, passes.get(t.arm.network, 0.0))
        seconds[t.label] = cost.training_seconds(
            flops,
            t.arm.parameters,
            train_clips=sizes["train"],
            evaluation_clips=sizes["valid"],
            epochs=t.protocol["epochs"],
            batch_size=t.protocol["batch_size"],
            stored_prefix=stored,
            rate=rate,
        )
    return seconds, sum(passes.values()) * len({t.seed for t in waiting})


def _print_plan(
    trials: Sequence[Trial],
    waiting: Sequence[Trial],
    seconds: Mapping[str, float],
    prefix_seconds: float,
    jobs: int,
    console: Console,
) -> None:
    """Say what will be done and how long it takes at most."""
    first = waiting[0]
    table = Table(title=f"{first.study.name} on {first.corpus}, profile {first.profile}", title_justify="left")
    table.add_column("trial")
    table.add_column("learning parameters", justify="right")
    table.add_column("seeds to run", justify="right")
    table.add_column("at most, one thread", justify="right")
    for label in dict.fromkeys(t.label for t in waiting):
        those = [t for t in waiting if t.label == label]
        table.add_row(label, f"{those[0].arm.parameters:,}", str(len(those)), _duration(seconds[label] * len(those)))
    table.add_row("frozen layers, once per clip", "", "", _duration(prefix_seconds))
    console.print(table)
    total = (sum(seconds[t.label] for t in waiting) + prefix_seconds) / jobs
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


def _store_prefixes(waiting: Sequence[Trial], blueprints: Mapping[str, trial.Blueprint], jobs: int) -> None:
    """Compute every frozen part that the trials need, each network's in one pass."""
    groups: dict[tuple, list[Trial]] = {}
    for t in waiting:
        if t.protocol["batch_norm"] == "fixed":
            front_end, protocol = blueprints[t.label].front_end, t.protocol
            inputs = (t.corpus, protocol["split"], front_end.name, str(front_end.parameters))
            groups.setdefault((t.arm.network, t.seed, str(protocol["weights"]), *inputs), []).append(t)
    if not groups:
        return
    total = sum(len(trial.load_corpus(group[0]).clips) for group in groups.values())
    with progress() as bar:
        task = bar.add_task("frozen layers, once per clip", total=total)
        _in_workers(_prefix_task, list(groups.values()), jobs, lambda rows: bar.advance(task, rows))
        bar.update(task, completed=total)


def _run(waiting: Sequence[Trial], jobs: int) -> None:
    """Train, showing a line per epoch."""
    with progress() as bar:
        task = bar.add_task("trials", total=len(waiting))

        def show(message: tuple[str, dict[str, Any] | None]) -> None:
            label, entry = message
            if entry is None:
                bar.advance(task)
            else:
                bar.console.print(_epoch_line(label, entry), highlight=False, soft_wrap=True)

        _in_workers(_trial_task, waiting, jobs, show)


def _epoch_line(label: str, entry: Mapping[str, Any]) -> str:
    """One epoch for people, in 100 columns."""
    names = {"f1_macro_unmasked": "F1 macro", "f1_micro_unmasked": "micro", "jaccard_samples_unmasked": "Jaccard"}
    scores = "  ".join(f"{title} {entry[key]:.3f}" for key, title in names.items() if entry.get(key) is not None)
    losses = f"loss {entry['train_loss']:.3f}, valid {entry['valid_loss']:.3f}"
    return f"{label:27} {entry['epoch']:>2}  {losses}  {scores}  {entry['seconds']:.0f} s"


def _in_workers(task: Callable[[Any], Any], items: Sequence[Any], jobs: int, show: Callable[[Any], None]) -> None:
    """Run `task` on every item, each in a process of its own, and show what the workers report meanwhile.

    A failure does not stop the others; it is raised when they are done.
    """
    queue = worker_context().Queue()
    queue.cancel_join_thread()  # a worker that was killed while it wrote may hold the queue's lock for ever
    listener = threading.Thread(target=_listen, args=(queue, show), daemon=True)
    listener.start()
    failures = []
    try:
        with workers(jobs, fresh=True, initializer=_receive_queue, arguments=(queue,)) as pool:
            for future in as_completed([pool.submit(task, item) for item in items]):
                try:
                    future.result()
                except RepriseError as error:
                    failures.append(str(error))
    except BrokenProcessPool:
        raise RepriseError(
            "a training process died, most likely for want of memory; "
            "run the same command with fewer processes (--jobs 1), it goes on from the last epoch"
        ) from None
    finally:
        queue.put(_END)
        listener.join(timeout=5)
    if failures:
        raise RepriseError("\n".join(dict.fromkeys(failures)))


_END = "end of messages"
_reports: Any = None


def _receive_queue(queue: Any) -> None:
    """Give a worker the queue on which it reports."""
    global _reports
    _reports = queue


def _listen(queue: Any, show: Callable[[Any], None]) -> None:
    while (message := queue.get()) != _END:
        show(message)


def _prefix_task(trials: list[Trial]) -> None:
    trial.store_prefixes(trials, on_rows=_reports.put)


def _trial_task(t: Trial) -> None:
    trial.run(t, on_epoch=lambda entry: _reports.put((t.label, entry)))
    _reports.put((t.label, None))
