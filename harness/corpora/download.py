"""Published corpora, fetched on demand: what is here, how to get the rest, and whether it arrived whole."""

import contextlib
import errno
import hashlib
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from pooch import file_hash
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from harness.corpora.registry import Entry, Source, find
from harness.errors import RepriseError
from harness.parallel import parallel_map
from harness.storage import lock

BLOCK = 1 << 16  # bytes; of a block that breaks off nothing is kept
FILES_PER_TASK = 200
TIMEOUT = (10, 60)  # seconds to connect, and between two blocks
PAUSE = 1.0  # seconds before a broken download goes on


def fetch(name: str, root: Path | str | None = None) -> Path:
    """Download a published corpus, check it and unpack it; a broken download goes on where it stopped.

    Parameters
    ----------
    name
        A published corpus.
    root
        Where to put it; default: ``harness.storage.data_root() / name``.

    Returns
    -------
    Path
        The corpus's folder, with everything in it.

    Raises
    ------
    RepriseError
        The corpus is rendered, not downloaded; there is no network or not enough room; the archive is not the
        published one; or there is something else in the folder.
    """
    entry, _ = find(name)
    if entry.source is None:
        raise RepriseError(f"{name} is not downloaded but rendered: run `reprise data make {name}`")
    folder = entry.folder(Path(root).expanduser() if root is not None else None, None).absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)  # the lock would, too, but could not name REPRISE_DATA
        with lock(folder):
            if entry.missing(folder):
                _fetch(name, entry, folder)
            else:
                print(f"{name} is already in {folder}")
    except OSError as error:
        raise RepriseError(
            f"cannot write in {folder.parent} ({error.strerror or error}): set REPRISE_DATA to a folder that is yours"
        ) from None
    return folder


def status(name: str, root: Path | str | None = None) -> dict:
    """Say whether a corpus is here and how to get it.

    Parameters
    ----------
    name
        Any corpus.
    root
        Its folder; default: where `harness.corpora.load` looks.

    Returns
    -------
    dict
        ``name``; ``folder``; ``here``: whether all its parts are; ``missing``: those that are not, as glob patterns;
        ``audio_files``: how many are there; ``downloaded_bytes``: of a broken download; ``how``: the command, and
        ``about``: what to know before it.
    """
    entry, size = find(name)
    folder = entry.folder(Path(root).expanduser() if root is not None else None, size).absolute()
    missing = entry.missing(folder)
    broken = folder.with_name(f"{name}.download")
    return {
        "name": name,
        "folder": str(folder),
        "here": not missing,
        "missing": missing,
        "audio_files": sum(1 for _ in folder.glob("audio/*/*")),
        "downloaded_bytes": broken.stat().st_size if broken.exists() else 0,
        "how": f"reprise data {'fetch' if entry.source else 'make'} {name}",
        "about": describe(name, entry.source, folder) if entry.source else "rendered on first use, nothing to download",
    }


def verify(name: str, root: Path | str | None = None, *, jobs: int | None = None) -> dict:
    """Compare every audio file of a corpus with the checksums the corpus came with.

    Parameters
    ----------
    name
        Any corpus.
    root
        Its folder; default: where `harness.corpora.load` looks.
    jobs
        Number of processes; default: one per core.

    Returns
    -------
    dict
        ``checked``: number of files listed; ``missing``, ``changed``: those that are not there or differ;
        ``unlisted``: audio files that the list does not name. All sorted, relative to the folder. The corpus is whole
        when the three lists are empty.

    Raises
    ------
    RepriseError
        The corpus or its list of checksums is not here.
    """
    entry, size = find(name)
    folder = entry.folder(Path(root).expanduser() if root is not None else None, size).absolute()
    if not folder.is_dir():
        verb = "fetch" if entry.source else "make"
        raise RepriseError(f"{name} is not in {folder}: run `reprise data {verb} {name}`")
    listed = dict(sorted(entry.checksums(folder).items()))
    paths = [folder / path for path in listed]
    tasks = [paths[start : start + FILES_PER_TASK] for start in range(0, len(paths), FILES_PER_TASK)]
    found = [md5 for part in parallel_map(_md5s, tasks, description=f"Checking {name}", jobs=jobs) for md5 in part]
    here = {path.relative_to(folder).as_posix() for path in folder.glob("audio/*/*") if path.is_file()}
    return {
        "checked": len(listed),
        "missing": [path for path, md5 in zip(listed, found, strict=True) if md5 is None],
        "changed": [path for path, md5 in zip(listed, found, strict=True) if md5 not in (None, listed[path])],
        "unlisted": sorted(here - set(listed)),
    }


def describe(name: str, source: Source, folder: Path) -> str:
    """Say what a download brings, before it starts.

    Parameters
    ----------
    name
        The corpus's name.
    source
        Where it comes from.
    folder
        Where it goes.

    Returns
    -------
    str
        Title, size, licence, address, checksum, destination and what to cite, a line each.
    """
    return "\n".join(
        [
            f"{name}: {source.title}",
            f"  size      about {_size(source.download_bytes)} to download, {_size(source.unpacked_bytes)} unpacked",
            f"  licence   {source.licence}",
            f"  from      {source.url}",
            f"  checksum  MD5 {source.md5}",
            f"  to        {folder}",
            f"  cite      {source.citation}, doi:{source.doi}",
        ]
    )


def download(url: str, path: Path) -> None:
    """Download a file, going on where an earlier attempt stopped.

    Parameters
    ----------
    url
        Its address, http or https.
    path
        Where to put it. What is there already is taken for the file's beginning; check the whole afterwards.

    Raises
    ------
    RepriseError
        The server cannot be reached, refuses, or breaks off without having sent more than the time before; what
        came stays in `path`.
    """
    # pooch starts a broken download anew, which at 2.6 GB is no help; hence the ranges by requests, which pooch brings.
    path.parent.mkdir(parents=True, exist_ok=True)
    most = path.stat().st_size if path.exists() else 0
    while True:
        try:
            _receive(url, path)
            return
        except requests.RequestException as error:
            here = path.stat().st_size if path.exists() else 0
            if here <= most:
                went = f"after {_size(here)} " if here else ""
                raise RepriseError(
                    f"the download from {url} failed {went}({_reason(error)}): check the network and run the same "
                    "command again, it goes on from there"
                ) from None
            most = here
            time.sleep(PAUSE)
        except OSError as error:
            room = ": free some space and" if error.errno == errno.ENOSPC else f" ({error.strerror}):"
            raise RepriseError(f"cannot write {path}{room} run the same command again, it goes on from there") from None


def _fetch(name: str, entry: Entry, folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise RepriseError(
            f"{folder} is not empty and lacks {', '.join(entry.missing(folder))}: move it away, then fetch again"
        )
    print(describe(name, entry.source, folder))
    archive = folder.with_name(f"{name}.download")
    _check_room(entry.source, archive)
    download(entry.source.url, archive)
    digest = hashlib.md5(usedforsecurity=False)
    with open(archive, "rb") as file, _progress("Checking", archive.stat().st_size, 0) as advance:
        while block := file.read(1 << 20):
            digest.update(block)
            advance(file.tell())
    if digest.hexdigest() != entry.source.md5:
        archive.unlink()
        raise RepriseError(
            f"what {entry.source.url} sent is not the published archive (its MD5 is not {entry.source.md5}) "
            "and was deleted: fetch again, or from another network"
        )
    _unpack(archive, entry, folder)
    archive.unlink()


def _receive(url: str, path: Path) -> None:
    start = path.stat().st_size if path.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # else a server may pack the archive once more
    if start:
        headers["Range"] = f"bytes={start}-"
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        stated = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
        if start and response.status_code == 416 and stated and int(stated[2]) == start:
            return  # nothing was missing
        continues = response.status_code == 206 and stated and stated[1] == str(start)
        if start and (response.status_code == 416 or (response.status_code == 206 and not continues)):
            path.unlink()  # it is not the beginning of what the server has
            _receive(url, path)
            return
        if not response.ok:
            raise RepriseError(f"{url} answered {response.status_code} {response.reason}: try again later")
        if not continues:
            start = 0  # a server that knows no ranges sends the whole again
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with open(path, "ab" if continues else "wb") as file, _progress("Downloading", total, start) as advance:
            for block in response.iter_content(BLOCK):
                file.write(block)
                advance(start := start + len(block))
        if total is not None and start < total:
            raise requests.ConnectionError(f"{_size(total - start)} are missing")


def _unpack(archive: Path, entry: Entry, folder: Path) -> None:
    for leftover in folder.parent.glob(f".{folder.name}.*.part"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part") as temporary:
        try:
            with (
                open(archive, "rb") as file,
                _progress("Unpacking", archive.stat().st_size, 0) as advance,
                tarfile.open(fileobj=file) as tar,
            ):
                for member in tar:
                    tar.extract(member, temporary, filter="data")
                    advance(file.tell())
        except (tarfile.TarError, EOFError) as error:
            archive.unlink()
            raise RepriseError(f"{archive} is no archive that is safe to unpack ({error}) and was deleted") from None
        except OSError as error:
            raise RepriseError(
                f"cannot unpack {archive} ({error.strerror or error}): free some space and run the same command again"
            ) from None
        unpacked = Path(temporary) / entry.source.folder
        if missing := entry.missing(unpacked):
            archive.unlink()
            raise RepriseError(
                f"the archive from {entry.source.url} lacks {', '.join(missing)}: see whether {entry.source.doi} "
                "has a newer version"
            )
        if folder.exists():
            folder.rmdir()  # empty, or fetch would not have come here
        unpacked.rename(folder)


def _check_room(source: Source, archive: Path) -> None:
    have = archive.stat().st_size if archive.exists() else 0
    need = max(0, source.download_bytes - have) + source.unpacked_bytes
    parent = next(folder for folder in archive.parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < need:
        raise RepriseError(
            f"{_size(need)} are needed under {parent} and {_size(free)} are free: make room, or set REPRISE_DATA to a "
            "folder on another disk"
        )


def _md5s(paths: list[Path]) -> list[str | None]:
    return [file_hash(str(path), alg="md5") if path.is_file() else None for path in paths]


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    if isinstance(error, requests.ConnectionError) and error.args and isinstance(error.args[0], str):
        return error.args[0]
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


@contextlib.contextmanager
def _progress(description: str, total: int | None, done: int) -> Iterator[Callable[[int], None]]:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda completed: bar.update(task, completed=completed)
