"""Published corpora, fetched on demand: what is here, how to get the rest, and whether it arrived whole."""

import errno
import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests
from pooch import file_hash

from harness.corpora.archives import Archive, BadArchive, progress, size_text
from harness.corpora.registry import Entry, Source, find
from harness.errors import RepriseError
from harness.parallel import parallel_map
from harness.storage import lock, write_json

BLOCK = 1 << 16  # bytes; of a block that breaks off nothing is kept
FILES_PER_TASK = 200
TIMEOUT = (10, 60)  # seconds to connect, and between two blocks
PAUSE = 1.0  # seconds before a broken download goes on
#: What came from where: beside the archives while they come, then beside the data.
RECEIPT = "downloads.json"


def fetch(name: str, root: Path | str | None = None) -> Path:
    """Download a published corpus, check it and unpack it; a broken download goes on where it stopped.

    Beside the data, in ``downloads.json``, stand the addresses and sizes of the archives and their MD5 and SHA-256 as
    they came, to be compared with what another machine gets.

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
        The corpus is not downloaded but rendered, or cannot be; there is no network or not enough room; an archive is
        not the published one, or holds something else; or there is something else in the folder.
    """
    entry, _ = find(name)
    if entry.source is None and entry.obtain:
        raise RepriseError(f"{name} cannot be downloaded as a whole: {entry.obtain}")
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
        ``audio_files``: how many are there; ``downloaded_bytes``: of a download that is not complete; ``how``: the
        command, None where there is none; ``about``: what to know before it.
    """
    entry, size = find(name)
    folder = entry.folder(Path(root).expanduser() if root is not None else None, size).absolute()
    missing = entry.missing(folder)
    about = describe(name, entry.source, folder) if entry.source else "rendered on first use, nothing to download"
    return {
        "name": name,
        "folder": str(folder),
        "here": not missing,
        "missing": missing,
        "audio_files": sum(1 for _ in entry.audio_files(folder)),
        "downloaded_bytes": sum(path.stat().st_size for path in _downloads(name, folder).glob("*") if path.is_file()),
        "how": None if entry.obtain else f"reprise data {'fetch' if entry.source else 'make'} {name}",
        "about": entry.obtain or about,
    }


def verify(name: str, root: Path | str | None = None, *, jobs: int | None = None) -> dict:
    """Compare every audio file of a corpus with the checksums the corpus came with.

    Where none is published, look whether the file has the form it should have.

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
        ``checked``: number of files listed; ``by_form``: how many of them have no published checksum, so that only
        their form was looked at; ``missing``, ``changed``: those that are not there or differ; ``unlisted``: audio
        files that the list does not name. All sorted, relative to the folder. The corpus is whole when the three
        lists are empty.

    Raises
    ------
    RepriseError
        The corpus or its list of checksums is not here.
    """
    entry, size = find(name)
    folder = entry.folder(Path(root).expanduser() if root is not None else None, size).absolute()
    if not folder.is_dir():
        raise RepriseError(
            f"{name} is not in {folder}: "
            + (entry.obtain or f"run `reprise data {'fetch' if entry.source else 'make'} {name}`")
        )
    listed = dict(sorted(entry.checksums(folder).items()))
    files = [(folder / path, md5, entry.sound) for path, md5 in listed.items()]
    tasks = [files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)]
    found = [
        state for part in parallel_map(_states, tasks, description=f"Checking {name}", jobs=jobs) for state in part
    ]
    here = {path.relative_to(folder).as_posix() for path in entry.audio_files(folder) if path.is_file()}
    return {
        "checked": len(listed),
        "by_form": sum(md5 is None for md5 in listed.values()),
        "missing": [path for path, state in zip(listed, found, strict=True) if state == "missing"],
        "changed": [path for path, state in zip(listed, found, strict=True) if state == "changed"],
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
        Title, size, licence, addresses and checksums, destination and what to cite, a line each.
    """
    size = f"about {size_text(source.download_bytes)} to download, {size_text(source.unpacked_bytes)} unpacked"
    lines = [f"{name}: {source.title}", f"  size      {size}", f"  licence   {source.licence}"]
    for archive in source.archives:
        lines.append(f"  from      {archive.url}")
        exact = [f"{archive.bytes:,} bytes"] if archive.bytes else []
        lines.append(f"  checksum  {', '.join([*exact, f'MD5 {archive.md5}' if archive.md5 else 'none is published'])}")
    if source.notes:
        lines.append(f"  note      {source.notes}")
    return "\n".join([*lines, f"  to        {folder}", f"  cite      {source.citation}, doi:{source.doi}"])


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
                went = f"after {size_text(here)} " if here else ""
                raise RepriseError(
                    f"the download from {url} failed {went}({_reason(error)}): check the network and run the same "
                    "command again, it goes on from there"
                ) from None
            most = here
            time.sleep(PAUSE)
        except OSError as error:
            room = ": free some space and" if error.errno == errno.ENOSPC else f" ({error.strerror}):"
            raise RepriseError(f"cannot write {path}{room} run the same command again, it goes on from there") from None


def _downloads(name: str, folder: Path) -> Path:
    """Folder of the archives while they come: beside the corpus's, on the same disk."""
    return folder.with_name(f"{name}.downloads")


def _fetch(name: str, entry: Entry, folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise RepriseError(
            f"{folder} is not empty and lacks {', '.join(entry.missing(folder))}: move it away, then fetch again"
        )
    print(describe(name, entry.source, folder))
    downloads = _downloads(name, folder)
    _check_room(entry.source, downloads)
    received = _received(downloads)
    try:
        for archive in entry.source.archives:
            received[archive.name] = _get(archive, downloads / archive.name, received.get(archive.name))
            write_json(downloads / RECEIPT, received)
        _unpack(downloads, entry, folder, received)
        shutil.rmtree(downloads)
    finally:
        if all(path.name == RECEIPT for path in downloads.glob("*")):  # nothing is left to go on from
            shutil.rmtree(downloads, ignore_errors=True)


def _received(downloads: Path) -> dict[str, dict]:
    """What an earlier attempt has downloaded whole and checked, by the archives' names."""
    try:
        received = json.loads((downloads / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return received if isinstance(received, dict) else {}


def _get(archive: Archive, path: Path, receipt: dict | None) -> dict:
    """Download an archive and check it, unless that has been done; give what is known of it."""
    if receipt and receipt.get("url") == archive.url and path.is_file() and path.stat().st_size == receipt.get("bytes"):
        return receipt
    part = path.with_name(f"{path.name}.part")
    download(archive.url, part)
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = part.stat().st_size
    with open(part, "rb") as file, progress("Checking", size, 0) as advance:
        while block := file.read(1 << 20):
            md5.update(block)
            sha256.update(block)
            advance(file.tell())
    wrong = None
    if archive.bytes is not None and size != archive.bytes:
        wrong = f"it has {size:,} bytes and not {archive.bytes:,}"
    elif archive.md5 is not None and md5.hexdigest() != archive.md5:
        wrong = f"its MD5 is not {archive.md5}"
    if wrong:
        part.unlink()
        raise RepriseError(
            f"what {archive.url} sent is not the published archive ({wrong}) and was deleted: fetch again, or from "
            "another network"
        )
    part.replace(path)
    return {"url": archive.url, "bytes": size, "md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


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
        with open(path, "ab" if continues else "wb") as file, progress("Downloading", total, start) as advance:
            for block in response.iter_content(BLOCK):
                file.write(block)
                advance(start := start + len(block))
        if total is not None and start < total:
            raise requests.ConnectionError(f"{size_text(total - start)} are missing")


def _unpack(downloads: Path, entry: Entry, folder: Path, received: dict[str, dict]) -> None:
    source = entry.source
    for leftover in folder.parent.glob(f".{folder.name}.*.part"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part") as temporary:
        unpacked = Path(temporary) / "corpus"
        unpacked.mkdir()
        try:
            source.unpack([downloads / archive.name for archive in source.archives], unpacked)
        except BadArchive as error:
            error.path.unlink()
            raise RepriseError(
                f"{error.path} is no archive that is safe to unpack ({error.why}) and was deleted"
            ) from None
        except OSError as error:
            raise RepriseError(
                f"cannot unpack {downloads} ({error.strerror or error}): free some space and run the same command again"
            ) from None
        unpacked /= source.folder
        try:
            if missing := entry.missing(unpacked):
                raise RepriseError(
                    f"what came from {source.archives[0].url} lacks {', '.join(missing)}: see whether {source.doi} "
                    "has a newer version"
                )
            if source.check is not None:
                source.check(unpacked)
        except RepriseError:
            shutil.rmtree(downloads)  # they are whole and yet not what they should be: no use in unpacking them again
            raise
        write_json(unpacked / RECEIPT, received)
        if folder.exists():
            folder.rmdir()  # empty, or fetch would not have come here
        unpacked.rename(folder)


def _check_room(source: Source, downloads: Path) -> None:
    have = sum(path.stat().st_size for path in downloads.glob("*"))
    need = max(0, source.download_bytes - have) + source.unpacked_bytes
    parent = next(folder for folder in downloads.parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < need:
        raise RepriseError(
            f"{size_text(need)} are needed under {parent} and {size_text(free)} are free: make room, or set "
            "REPRISE_DATA to a folder on another disk"
        )


def _states(files: list[tuple[Path, str | None, Callable[[Path], bool] | None]]) -> list[str]:
    """``missing``, ``changed`` or ``same`` for each audio file."""
    states = []
    for path, md5, sound in files:
        if not path.is_file():
            states.append("missing")
        else:
            same = file_hash(str(path), alg="md5") == md5 if md5 is not None else sound(path)
            states.append("same" if same else "changed")
    return states


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
