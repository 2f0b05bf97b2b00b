"""Which corpora there are. A module of this package that has a table ``CORPORA`` adds its entries by being there."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness.corpora
from harness.corpora.archives import Archive, unpack_tars
from harness.corpora.corpus import Corpus
from harness.errors import RepriseError


@dataclass(frozen=True)
class Source:
    """Where a published corpus comes from, and what a user should know before fetching it.

    Parameters
    ----------
    title, licence, doi, citation
        As the publisher states them.
    archives
        The files it is published in; their names differ.
    download_bytes, unpacked_bytes
        Size of the archives and of what they hold; approximate.
    folder
        The top-level folder that the archives hold; empty where their contents belong into the corpus's folder
        itself.
    notes
        What else to know, such as how sure one can be of the files; a sentence.
    unpack
        ``unpack(archives, folder)``: unpack them all into an empty folder. `archives` are their paths, under the
        names of their addresses and in the order of `archives`; every one is whole. It raises
        `harness.corpora.archives.BadArchive` for one that cannot be unpacked safely and lets OSError through.
    check
        ``check(folder)``: look through the unpacked corpus before it gets its place, and raise
        `harness.errors.RepriseError` where it is not what was published; None where `Entry.contents` says enough.
    """

    title: str
    archives: tuple[Archive, ...]
    licence: str
    doi: str
    citation: str
    download_bytes: int
    unpacked_bytes: int
    folder: str = ""
    notes: str = ""
    unpack: Callable[[Sequence[Path], Path], None] = unpack_tars
    check: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Entry:
    """One corpus of the table.

    Parameters
    ----------
    name
        What a user calls it. A name that begins with ``pocket-`` also takes a size: ``pocket-openmic-2000``.
    load
        ``load(name, root, size, jobs) -> Corpus``.
    folder
        ``folder(root, size) -> Path``: where the corpus stands, or will stand.
    contents
        Glob patterns, each of which matches something in a whole tree.
    checksums
        ``checksums(root) -> {path relative to root: md5}`` of the audio files; None instead of an MD5 where the
        publisher gives none.
    source
        Where to fetch it; None for a corpus that is rendered, or that nobody may pass on.
    audio
        Glob patterns of the audio files.
    sound
        ``sound(path) -> bool``: whether an audio file without a published checksum has the form it should have. A
        function of a module, as it travels to other processes; needed where `checksums` gives None.
    obtain
        How to get a published corpus that has no `source`: a clause that goes on after a colon.
    default_size
        ``default_size() -> int``: number of clips of a pocket corpus whose name says none.
    """

    name: str
    load: Callable[[str, Path | None, int | None, int | None], Corpus]
    folder: Callable[[Path | None, int | None], Path]
    contents: tuple[str, ...]
    checksums: Callable[[Path], dict[str, str | None]]
    source: Source | None = None
    audio: tuple[str, ...] = ("audio/*/*",)
    sound: Callable[[Path], bool] | None = None
    obtain: str = ""
    default_size: Callable[[], int] | None = None

    def missing(self, root: Path) -> list[str]:
        """Patterns of `contents` that match nothing under `root`."""
        return [pattern for pattern in self.contents if next(root.glob(pattern), None) is None]

    def audio_files(self, root: Path) -> Iterator[Path]:
        """Files under `root` that a pattern of `audio` matches."""
        return (path for pattern in self.audio for path in root.glob(pattern))


def entries() -> dict[str, Entry]:
    """All corpora, by name.

    Returns
    -------
    dict of str to Entry
        Sorted by name.
    """
    found: dict[str, Entry] = {}
    for module in pkgutil.iter_modules(harness.corpora.__path__):
        if not module.ispkg:
            table = getattr(importlib.import_module(f"harness.corpora.{module.name}"), "CORPORA", ())
            found.update({entry.name: entry for entry in table})
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Names of the corpora that `load` knows.

    Returns
    -------
    tuple of str
        Sorted. A pocket corpus also goes by its name and a number of clips, as ``pocket-openmic-2000``.
    """
    return tuple(entries())


def find(name: str) -> tuple[Entry, int | None]:
    """Look up a corpus.

    Parameters
    ----------
    name
        One of `names`, or a pocket corpus's name with a number of clips.

    Returns
    -------
    entry : Entry
        What is known of the corpus.
    size : int or None
        The number of clips that the name asks for, if it does.

    Raises
    ------
    RepriseError
        There is no such corpus.
    """
    known = entries()
    if name in known:
        return known[name], None
    sized = re.fullmatch(r"(pocket-.+)-([1-9][0-9]*)", name)
    if sized and sized[1] in known:
        return known[sized[1]], int(sized[2])
    raise RepriseError(
        f"there is no corpus {name!r}: choose {', '.join(known)}, or any pocket name with -N for a corpus of N clips"
    )


def absent(name: str) -> str:
    """Why a corpus cannot be read.

    Parameters
    ----------
    name
        As for `find`.

    Returns
    -------
    str
        That a published corpus is not here; empty for one that is, and for a pocket corpus, which is rendered.

    Raises
    ------
    RepriseError
        There is no such corpus.
    """
    entry, size = find(name)
    folder = entry.folder(None, size)
    published = not name.startswith("pocket-")
    return f"{name} is not in {folder}" if published and entry.missing(folder) else ""


def to_render(name: str) -> int:
    """How many clips must be rendered before a corpus can be read.

    Parameters
    ----------
    name
        As for `find`.

    Returns
    -------
    int
        0 for a published corpus, for a pocket corpus that is here, and where nobody knows.

    Raises
    ------
    RepriseError
        There is no such corpus.
    """
    entry, size = find(name)
    if not name.startswith("pocket-") or not entry.missing(entry.folder(None, size)):
        return 0
    return size or (entry.default_size() if entry.default_size else 0)


def load(name: str, root: Path | str | None = None, *, jobs: int | None = None) -> Corpus:
    """Read a corpus; a pocket corpus that is not there yet is rendered first.

    Parameters
    ----------
    name
        One of `names`, or a pocket corpus's name with a number of clips, as ``pocket-openmic-2000``.
    root
        The corpus's folder. Default: under `harness.storage.data_root` for a published corpus, under
        `harness.storage.cache_home` for a pocket one.
    jobs
        Number of processes that render; default: one per core.

    Returns
    -------
    Corpus
        Clips, labels and mask, in the order of the keys.

    Raises
    ------
    RepriseError
        The name is unknown, a published corpus is not here, or a file of it is not as published.
    """
    entry, size = find(name)
    return entry.load(name, Path(root).expanduser() if root is not None else None, size, jobs)
