"""Tasks in processes of their own that report while they work."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from harness.errors import RepriseError
from harness.parallel import worker_context, workers

#: Called by a task with whatever it has to say.
Report = Callable[[Any], None]


def in_workers(task: Callable[[Any, Report], Any], items: Sequence[Any], jobs: int, show: Report) -> None:
    """Run a task on every item, each in a process of its own, and show what the workers report meanwhile.

    Parameters
    ----------
    task
        Called with an item and with a function to report by; of a module's top level.
    items
        What to work on, the longest first.
    jobs
        Number of processes at a time.
    show
        Called in this process with each report.

    Raises
    ------
    RepriseError
        Some items failed; a failure does not stop the others, and is raised when they are done.
    """
    queue = worker_context().Queue()
    queue.cancel_join_thread()  # a worker that was killed while it wrote may hold the queue's lock for ever
    listener = threading.Thread(target=_listen, args=(queue, show), daemon=True)
    listener.start()
    failures = []
    try:
        with workers(jobs, fresh=True, initializer=_receive_queue, arguments=(queue,)) as pool:
            for future in as_completed([pool.submit(_run, task, item) for item in items]):
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


def _run(task: Callable[[Any, Report], Any], item: Any) -> None:
    task(item, _reports.put)


def _receive_queue(queue: Any) -> None:
    """Give a worker the queue on which it reports."""
    global _reports
    _reports = queue


def _listen(queue: Any, show: Callable[[Any], None]) -> None:
    while (message := queue.get()) != _END:
        show(message)
