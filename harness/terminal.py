"""How Reprise speaks in a terminal."""

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

#: Columns to write for where there is no terminal to ask (a pipe, a CI log).
WIDTH = 100


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
