"""Work spread over processes, one thread each, with a progress bar and a watch on every worker."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from harness.errors import RepriseError
from harness.terminal import progress

#: What a worker's libraries read once, when they load: one thread each; and glibc is to keep the memory it has got,
#: which saves a tenth of a training step, instead of returning every large tensor and asking for the next.
WORKER_VARIABLES = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
}


def cores() -> int:
    """Number of cores this process may use.

    Returns
    -------
    int
        At least 1; what the scheduler grants, not what the machine has.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def worker_context() -> multiprocessing.context.BaseContext:
    """Start method of all workers: forked from a server that has imported what we have, where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    ours = [name for name in sys.modules if name.startswith(("harness.", "replications."))]
    context.set_forkserver_preload(["torch", "torchvision", *sorted(ours)])
    return context


def _start_worker(
    environment: dict[str, str], initializer: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    """First thing a worker does."""
    import torch  # not needed by the parent of a purely numerical map

    os.environ.clear()  # the server it was forked from has the variables of its own start, such as REPRISE_HOME
    os.environ.update(environment)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it stops its workers itself
    torch.set_num_threads(1)
    if initializer is not None:
        initializer(*arguments)


def _leave_with_parent() -> None:
    """End this worker when its parent is gone, even if that was killed and could not say so."""
    multiprocessing.parent_process().join()
    os._exit(1)


@contextlib.contextmanager
def workers(
    jobs: int,
    *,
    fresh: bool = False,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[ProcessPoolExecutor]:
    """Pool of worker processes, one thread each, stopped at once when the block raises (Ctrl-C included).

    Parameters
    ----------
    jobs
        Number of processes.
    fresh
        Whether each task gets a new process, so that its peak memory is its own.
    initializer, arguments
        Called first in every worker.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
        Submit to it; leaving the block waits for what was submitted.
    """
    # Libraries read their number of threads once, when they load: in the server that the workers are forked from.
    saved = {name: os.environ.get(name) for name in WORKER_VARIABLES}
    os.environ.update(WORKER_VARIABLES)
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=worker_context(),
        initializer=_start_worker,
        initargs=(dict(os.environ), initializer, arguments),
        max_tasks_per_child=1 if fresh else None,
    )
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        for process in list((pool._processes or {}).values()):  # no public way to stop a busy worker before 3.14
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def parallel_map(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    description: str,
    jobs: int | None = None,
    timeout: float | None = None,
) -> Iterator[Any]:
    """Apply `function` to every item in worker processes and yield the results in the items' order.

    Parameters
    ----------
    function
        A module-level function of one argument.
    items
        Its arguments; they and the results travel by pickle.
    description
        What the progress bar says.
    jobs
        Number of processes; default: one per core. With 1 the work runs in this process.
    timeout
        Seconds to wait for any one result before the work is given up; only with more than one process.

    Yields
    ------
    Any
        ``function(item)``.

    Raises
    ------
    RepriseError
        A worker died or took longer than `timeout`.
    """
    items = list(items)
    jobs = min(jobs or cores(), max(1, len(items)))
    with progress() as bar:
        task = bar.add_task(description, total=len(items))
        if jobs == 1:
            for item in items:
                yield function(item)
                bar.advance(task)
            return
        try:
            with workers(jobs) as pool:
                for future in [pool.submit(function, item) for item in items]:
                    yield future.result(timeout)
                    bar.advance(task)
        except TimeoutError:
            raise RepriseError(f"{description}: a worker gave no answer in {timeout:.0f} s; run it again") from None
        except BrokenProcessPool:
            raise RepriseError(
                f"{description}: a worker process died (out of memory?); try again with fewer processes (--jobs)"
            ) from None
