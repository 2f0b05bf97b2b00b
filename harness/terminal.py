"""How Reprise speaks in a terminal."""

import multiprocessing
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Columns to write for where there is no terminal to ask (a pipe, a CI log).
WIDTH = 100
#: What `tell_once` has told.
_told: set[str] = set()


def tell_once(line: str) -> None:
    """Print a remark to standard error, the first time that it is made and not from a worker process.

    Parameters
    ----------
    line
        What to tell. A corpus is read many times in a run, and each time its reader finds the same.
    """
    if line not in _told and multiprocessing.parent_process() is None:
        _told.add(line)
        print(line, file=sys.stderr)


def open_console(*, errors: bool = False) -> Console:
    """Console on standard output, or on standard error.

    Parameters
    ----------
    errors
        Whether to write to standard error.

    Returns
    -------
    rich.console.Console
        As wide as the terminal, or 100 columns where there is none.
    """
    stream = sys.stderr if errors else sys.stdout
    return Console(stderr=errors, width=None if stream.isatty() else WIDTH)


def progress() -> Progress:
    """Progress bars in the one style of this project, on standard error.

    Returns
    -------
    rich.progress.Progress
        Use it as a context manager. Where standard error is no terminal, only the finished bars are printed.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=open_console(errors=True),
    )
