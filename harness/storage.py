"""Where files live, and how they are written: whole or not at all.

Caches go under ``$REPRISE_HOME`` (default: the user's cache folder), published data under ``$REPRISE_DATA``
(default: ``data`` under the former). Every file, and every folder that is made as a whole, is written beside its place
under a temporary name and renamed, so that a kill or a full disk never leaves half of it where the whole is expected.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.errors import RepriseError


def cache_home() -> Path:
    """Folder of everything that can be made again.

    Returns
    -------
    Path
        ``$REPRISE_HOME``, or ``reprise`` under the user's cache folder. It need not exist.
    """
    if home := os.environ.get("REPRISE_HOME"):
        return Path(home).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "reprise"


def data_root() -> Path:
    """Folder of the published data sets.

    Returns
    -------
    Path
        ``$REPRISE_DATA``, or ``data`` under `cache_home`. It need not exist.
    """
    if root := os.environ.get("REPRISE_DATA"):
        return Path(root).expanduser().absolute()
    return cache_home() / "data"


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block ends well.

    Parameters
    ----------
    path
        The file to write. Its folder is made if need be.

    Yields
    ------
    Path
        Where to write. It is removed if the block raises.

    Raises
    ------
    RepriseError
        The disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise RepriseError(_cannot_write(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> str:
    return f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path`, in which what shall take its place is made; see `swap`.

    Parameters
    ----------
    path
        The folder that will be replaced, if it exists. What an earlier call that was killed left is put right first.

    Yields
    ------
    Path
        A hidden folder. It is removed at the end, if it is still there.

    Raises
    ------
    RepriseError
        The disk is full or the folder cannot be written: `path` is as it was.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        recover(path)
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(parents=True)
        yield new
    except OSError as error:
        raise RepriseError(_cannot_write(path, error)) from error
    except RepriseError as error:  # the user knows nothing of the hidden folder
        raise RepriseError(str(error).replace(str(new), str(path))) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def swap(new: Path, path: Path) -> None:
    """Put a folder in the place of another, which is then removed.

    Parameters
    ----------
    new
        The folder that `beside` gave.
    path
        Its place. Where this fails, it holds what it held; after a kill between the two renames, `recover` puts that
        back.
    """
    old = path.with_name(f".{path.name}.old")
    if path.exists():
        path.replace(old)
    try:
        new.replace(path)
    except BaseException:
        recover(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(path: Path) -> None:
    """Put back a folder whose replacement by `swap` was killed between two renames.

    Parameters
    ----------
    path
        The folder's place.
    """
    old = path.with_name(f".{path.name}.old")
    if not old.exists():
        return
    if path.exists():  # killed after the swap
        shutil.rmtree(old)
    else:
        old.replace(path)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` as UTF-8 with Unix line ends, whole or not at all.

    Parameters
    ----------
    path
        The file to write.
    text
        What to write.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all.

    Parameters
    ----------
    path
        The file to write.
    value
        Anything JSON can hold; NaN and infinity are refused.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """What `write_json` writes.

    Parameters
    ----------
    value
        Anything JSON can hold; NaN and infinity are refused.

    Returns
    -------
    str
        Indented JSON and a line end.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file.

    Parameters
    ----------
    path
        The file to read.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any, *, length: int = 16) -> str:
    """Short, stable name for a JSON-like value: the key under which something derived from it is cached.

    Parameters
    ----------
    value
        Anything JSON can hold; the order of keys does not matter.
    length
        Number of hexadecimal digits.

    Returns
    -------
    str
        The first `length` digits of the SHA-256 of its canonical JSON.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def lock(path: Path | str) -> FileLock:
    """Lock between processes: ``with lock(path): ...`` waits until no other process holds it.

    Parameters
    ----------
    path
        The file or folder to guard; the lock is the file `path` + ``.lock`` beside it. A killed process lets go.

    Returns
    -------
    FileLock
        A context manager.

    Raises
    ------
    RepriseError
        The folder cannot be made.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RepriseError(_cannot_write(path.parent, error)) from error
    return FileLock(path.with_name(path.name + ".lock"))
