"""Archives that a published corpus comes in: what is known of them, and how they are unpacked."""

import contextlib
import gzip
import lzma
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

#: What reading a broken tar archive raises; KeyError: of a link to nothing.
_BROKEN = (tarfile.TarError, EOFError, KeyError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)


@dataclass(frozen=True)
class Archive:
    """A file that a corpus, or a part of it, is published in.

    Parameters
    ----------
    url
        Its address.
    bytes
        Its exact size; None where it is not known.
    md5
        Its published checksum; None where there is none.
    """

    url: str
    bytes: int | None = None
    md5: str | None = None

    @property
    def name(self) -> str:
        """The file's name, as its address ends."""
        return Path(urlparse(self.url).path).name


class BadArchive(Exception):  # noqa: N818  (a verdict on a file, as BadAudio is)
    """An archive cannot be unpacked, or not safely.

    Parameters
    ----------
    path
        The archive, or the part of one, that is to blame.
    why
        What is wrong with it, in a few words.
    """

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path}: {why}")
        # tarfile says in many lines how it tried to open a file.
        self.path, self.why = path, next(iter(str(why).splitlines()), "").rstrip(":") or type(why).__name__


def unpack_tars(archives: Sequence[Path], folder: Path) -> None:
    """Unpack tar archives, packed or not, one after the other; nothing is written outside `folder`.

    Parameters
    ----------
    archives
        Their paths.
    folder
        Where to; it exists.

    Raises
    ------
    BadArchive
        One of them is no tar archive, is broken, or would write elsewhere.
    OSError
        The disk is full.
    """
    total = sum(path.stat().st_size for path in archives)
    done = 0
    with progress("Unpacking", total, 0) as advance:
        for path in archives:
            try:
                with open(path, "rb") as file, tarfile.open(fileobj=file) as tar:
                    for member in tar:
                        tar.extract(member, folder, filter="data")
                        tar.members.clear()  # else every member stays in memory, which counts at 300,000 files
                        advance(done + file.tell())
                    while tar.fileobj.read(1 << 20):  # behind the last member stands the sum that the packer checks
                        pass
            except _BROKEN as error:
                raise BadArchive(path, error) from None
            done += path.stat().st_size


def size_text(count: int) -> str:
    """A number of bytes as people say it, in GB or MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


@contextlib.contextmanager
def progress(description: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    """Progress bar over bytes on the terminal.

    Parameters
    ----------
    description
        What is being done.
    total, done
        Bytes in all, if known, and at the start.

    Yields
    ------
    callable
        ``advance(completed)``, to be called with the bytes done so far.
    """
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda completed: bar.update(task, completed=completed)
