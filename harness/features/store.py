"""The feature store: a front end's output for every clip of a corpus, in one memory-mapped array.

A store is a folder ``features/<corpus>/<front end>-<key>/`` under the cache: ``array.npy``, ``manifest.json`` and,
where files could not be used, ``bad-files.csv``. Its key is made of the front end's parameters and of the name, size
and time of change of every audio file, so that opening costs one look at each file and reads none.

It is built in a folder ``....partial`` beside its place, a chunk of clips at a time: a chunk's rows are on the disk
before the flag that says so. Whoever builds after a kill computes the chunks without a flag, and the finished folder
is renamed into place. One process builds, others that want the same store wait for it.
"""

import csv
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from filelock import Timeout
from threadpoolctl import threadpool_limits

from harness.errors import RepriseError
from harness.features.audio import DECODING, BadAudio, decode
from harness.features.frontends import FrontEnd
from harness.parallel import cores, parallel_map
from harness.storage import atomic_path, cache_home, fingerprint, lock, sha256_of, write_json

if TYPE_CHECKING:
    from harness.corpora import Corpus

FORMAT = 1  # of the folder
CHUNK = 32  # clips: a fraction of a second of work, 7 MB of mel spectrograms
LISTED = 20  # bad files named in the error itself


@dataclass
class Store:
    """A front end's output for every clip of a corpus.

    Parameters
    ----------
    array : np.memmap, shape (clips, ...), float32
        What the front end gives for each clip, in the order of ``corpus.clips``; zeros where `ok` is False. Read-only.
    ok : np.ndarray, shape (clips,), bool
        Whether the clip's file could be used.
    bad
        Reason by key of every file that could not.
    manifest
        What the store was made from, with checksums.
    folder
        Where it lies.
    """

    array: np.memmap
    ok: np.ndarray
    bad: dict[str, str]
    manifest: dict
    folder: Path


@dataclass(frozen=True)
class _Chunk:
    """Rows `start` to `stop` of the store being built in `folder`: what one worker does in one go."""

    folder: Path
    start: int
    stop: int
    paths: tuple[str, ...]
    front_end: FrontEnd
    seconds: float | None

    @property
    def flag(self) -> Path:
        return self.folder / "done" / f"{self.start:07d}-{self.stop:07d}.json"


def open_store(corpus: "Corpus", front_end: FrontEnd, *, jobs: int | None = None, skip_bad: bool = False) -> Store:
    """Features of a corpus, computed if they are not there yet.

    Parameters
    ----------
    corpus
        Of it, `name`, `root`, `clips` (columns key and path) and `seconds` are used. Where `seconds` is None every
        clip may have a length of its own, which is not checked.
    front_end
        What computes them.
    jobs
        Number of processes; default: one per core. The array's bytes do not depend on it.
    skip_bad
        Whether to go on without the files that cannot be used.

    Returns
    -------
    Store
        The whole corpus, memory-mapped.

    Raises
    ------
    RepriseError
        Some audio files cannot be used and `skip_bad` is False, or none can; the disk is too small; clips are too
        short for the front end, or of many lengths where it needs one; files changed meanwhile; or the stored array is
        damaged.
    """
    keys, paths = [str(key) for key in corpus.clips["key"]], [str(path) for path in corpus.clips["path"]]
    signature = _signature(corpus.root, keys, paths)
    key = {
        "format": FORMAT,
        "front_end": front_end.name,
        "parameters": front_end.parameters,
        "decoding": DECODING,
        "seconds": corpus.seconds,
        "signature": signature,
    }
    folder = cache_home() / "features" / corpus.name / f"{front_end.name}-{fingerprint(key)}"
    if not folder.exists():
        guard = lock(folder)
        try:
            guard.acquire(timeout=0)
        except Timeout:
            print(f"another process is computing {front_end.name} features of {corpus.name}; waiting", file=sys.stderr)
            guard.acquire()
        try:
            if not folder.exists():
                _build(folder, corpus, keys, paths, key, front_end, jobs or cores())
        finally:
            guard.release()
    store = _open(folder, keys)
    if store.bad and not (skip_bad and store.ok.any()):
        raise RepriseError(_complaint(store, corpus.name, skip_bad))
    return store


def _signature(root: Path | str, keys: list[str], paths: list[str]) -> str:
    """SHA-256 over key, relative path, size and time of change of every file; size -1 where there is none."""
    digest = hashlib.sha256()
    for key, path in zip(keys, paths, strict=True):
        try:
            status = os.stat(path)  # noqa: PTH116  (three times as fast as Path.stat, and there are 20,000)
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:  # decoding will say what is the matter
            size = changed = -1
        relative = os.path.relpath(path, root).replace(os.sep, "/")
        digest.update(json.dumps([key, relative, size, changed]).encode())
    return digest.hexdigest()


def _build(
    folder: Path, corpus: "Corpus", keys: list[str], paths: list[str], key: dict, front_end: FrontEnd, jobs: int
) -> None:
    """Compute a store and rename it into place; the caller holds its lock."""
    started = time.perf_counter()
    row_shape = front_end.shape(corpus.seconds)
    if min(row_shape) < 1:
        raise RepriseError(
            f"clips of {corpus.seconds:g} s are too short for front end {front_end.name} with time_pool "
            f"{front_end.time_pool}; use a smaller time_pool or another front end"
        )
    partial = folder.with_name(folder.name + ".partial")
    shape = (len(keys), *row_shape)
    try:
        _prepare(partial, shape)
        chunks = [
            _Chunk(partial, start, start + len(part), tuple(part), front_end, corpus.seconds)
            for start in range(0, len(paths), CHUNK)
            for part in [paths[start : start + CHUNK]]
        ]
        todo = [chunk for chunk in chunks if not chunk.flag.exists()]
        label = f"{front_end.name} features of {corpus.name}"
        for _ in parallel_map(_compute, todo, description=label, jobs=jobs):
            pass
        if _signature(corpus.root, keys, paths) != key["signature"]:
            shutil.rmtree(partial)  # rows of the old and of the new files are mixed
            raise RepriseError(
                f"audio files of {corpus.name} changed while features were computed; run it again when they are settled"
            )
        done = [json.loads(chunk.flag.read_text(encoding="utf-8")) for chunk in chunks]
        checksums = [checksum for part in done for checksum in part["sha256"]]
        bad = {keys[int(row)]: reason for part in done for row, reason in part["bad"].items()}
        if bad:
            _write_report(partial / "bad-files.csv", bad, dict(zip(keys, paths, strict=True)))
        content = "".join(f"{key} {checksum}\n" for key, checksum in zip(keys, checksums, strict=True))
        manifest = {
            **key,
            "corpus": corpus.name,
            "shape": list(shape),
            "clips": len(keys),
            "clips_bad": len(bad),
            "bad": bad,
            "content_sha256": hashlib.sha256(content.encode()).hexdigest(),
            "array_sha256": sha256_of(partial / "array.npy"),
            "packages": _packages(),
            "processes": jobs,
            "clips_resumed": len(keys) - sum(len(chunk.paths) for chunk in todo),
            "wall_seconds": round(time.perf_counter() - started, 3),
            "worker_seconds": round(sum(part["seconds"] for part in done), 3),
        }
        write_json(partial / "manifest.json", manifest)
        shutil.rmtree(partial / "done")
        partial.rename(folder)
    except OSError as error:
        raise RepriseError(
            f"cannot write features under {folder.parent}: {error.strerror or error}; "
            "free some space or set REPRISE_HOME to another folder"
        ) from error


def _prepare(partial: Path, shape: tuple[int, ...]) -> None:
    """Make the folder of an unfinished store, or take up the one that is there, if the disk can hold the rest."""
    array = partial / "array.npy"
    needed = int(np.prod(shape, dtype=np.int64)) * 4
    if not array.exists():
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "done").mkdir(parents=True)
    written = array.stat().st_blocks * 512 if array.exists() and hasattr(os.stat_result, "st_blocks") else 0
    free = shutil.disk_usage(partial).free + written
    if needed > free:
        raise RepriseError(
            f"features need {needed / 1e9:.1f} GB under {partial.parent}, where {free / 1e9:.1f} GB are free; "
            "free some space or set REPRISE_HOME to a folder on a larger disk"
        )
    if not array.exists():
        with atomic_path(array) as temporary, open(temporary, "wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + needed)  # takes no space until rows are written


def _compute(chunk: _Chunk) -> None:
    """Write the rows of a chunk and then its flag; runs in a worker."""
    started = time.perf_counter()
    rows = np.zeros((len(chunk.paths), *chunk.front_end.shape(chunk.seconds)), np.float32)
    checksums, bad = [], {}
    # One thread everywhere: the array's bytes must not depend on whether the work ran in a worker or in the caller.
    with threadpool_limits(1), np.errstate(all="ignore"):
        for i, path in enumerate(chunk.paths):
            try:
                waveform = decode(path, chunk.front_end.sample_rate, seconds=chunk.seconds)
                rows[i] = chunk.front_end.compute(waveform)
                if not np.isfinite(rows[i]).all():
                    raise BadAudio(path, "has NaN or infinite features: its samples are too large")
            except BadAudio as fault:
                rows[i] = 0
                bad[str(chunk.start + i)] = fault.reason
            checksums.append(sha256_of(path) if Path(path).is_file() else "none")
    with open(chunk.folder / "array.npy", "r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(chunk.start * rows[0].nbytes, os.SEEK_CUR)
        file.write(rows.data)
        file.flush()
        os.fsync(file.fileno())
    # Not `write_json`: it would make the folder again, after a finished build, for a worker that outlived its caller.
    temporary = chunk.flag.with_suffix(f".{os.getpid()}.part")
    state = {"sha256": checksums, "bad": bad, "seconds": time.perf_counter() - started}
    temporary.write_text(json.dumps(state), encoding="utf-8")
    temporary.replace(chunk.flag)


def _open(folder: Path, keys: list[str]) -> Store:
    """Map a finished store."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        array = np.load(folder / "array.npy", mmap_mode="r", allow_pickle=False)
        if list(array.shape) != manifest["shape"] or array.dtype != np.float32 or len(array) != len(keys):
            raise ValueError
    except (OSError, ValueError, KeyError):
        raise RepriseError(f"the feature store {folder} is damaged; delete that folder and run it again") from None
    bad = manifest["bad"]
    return Store(array, np.array([key not in bad for key in keys]), bad, manifest, folder)


def _write_report(path: Path, bad: dict[str, str], paths: dict[str, str]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "reason", "path"])
        writer.writerows([key, reason, paths[key]] for key, reason in bad.items())


def _complaint(store: Store, corpus: str, skip_bad: bool) -> str:
    """Every bad file with its reason, and what to do."""
    way_out = "put sound copies in their place" if skip_bad else "put sound copies in their place, or use --skip-bad"
    lines = [
        f"{len(store.bad)} of {len(store.ok)} audio files of {corpus} cannot be used; {way_out} "
        f"(full list: {store.folder / 'bad-files.csv'}):"
    ]
    lines += [f"  {key} {reason}" for key, reason in list(store.bad.items())[:LISTED]]
    if len(store.bad) > LISTED:
        lines.append(f"  and {len(store.bad) - LISTED} more")
    return "\n".join(lines)


def _packages() -> dict[str, str]:
    """Versions of everything that has a say in the numbers."""
    versions = {name: metadata.version(name) for name in ("numpy", "scipy", "soundfile", "soxr")}
    return {"python": platform.python_version(), "libsndfile": soundfile.__libsndfile_version__, **versions}
