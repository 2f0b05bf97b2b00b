"""What all pocket twins share: rendered where they are missing, whole or not at all, and then read as any other corpus.

A twin has two modules. ``harness.corpora.pocket.NAME`` renders it and gives ``DEFAULT_SIZE``, ``folder_name(size,
**parameters) -> str`` and ``render(root, *, size, jobs, **parameters)``, whose parameters have defaults, ``seed`` among
them. ``harness.corpora.NAME_pocket`` makes it a corpus of the table with a `Twin`::

    TWIN = Twin("nsynth", reader.read, marker="nsynth-train/examples.json")
    CORPORA = (TWIN.entry("pocket-nsynth", contents=..., audio=...),)

Of a twin that has no parameters but size and seed, a `Renderer` gives both functions. What writes the tree uses
`write_checksums` and `write_manifest`; the reader of the published layout, which reads twins too, takes what they wrote
from `rendering`::

    RENDERER = Renderer("nsynth", version=1, default_size=1200, smallest=40, write=_write_tree)
    folder_name, render = RENDERER.folder_name, RENDERER.render
"""

import importlib
import json
import multiprocessing
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.corpora.corpus import Corpus
from harness.corpora.registry import Entry
from harness.errors import RepriseError
from harness.storage import cache_home, json_text, lock, sha256_of

CHECKSUMS = "checksums"
MANIFEST = "ground_truth/manifest.json"
LARGEST = 100_000
#: Seconds that a task of a few clips may take before its worker is taken for hung.
TIMEOUT = 300.0


@dataclass(frozen=True)
class Twin:
    """A pocket twin as a corpus of the table.

    Parameters
    ----------
    renderer
        Name of its module in `harness.corpora.pocket`, which is imported only where something is rendered.
    read
        ``read(root, name) -> Corpus``, the reader of the published layout.
    marker
        A file that a rendered tree has, relative to its folder.
    """

    renderer: str
    read: Callable[[Path, str], Corpus]
    marker: str

    def entry(self, name: str, **rest: Any) -> Entry:
        """The twin's line in a table ``CORPORA``.

        Parameters
        ----------
        name
            What a user calls it, beginning with ``pocket-``.
        **rest
            ``contents``, ``audio`` and whatever else `harness.corpora.registry.Entry` takes. ``checksums`` is
            `read_checksums` unless given.

        Returns
        -------
        Entry
        """
        defaults = {"checksums": read_checksums, "default_size": self.default_size}
        return Entry(name=name, load=self.load, folder=self.folder, **defaults | rest)

    def default_size(self) -> int:
        """Number of clips where nobody says another."""
        return self._renderer().DEFAULT_SIZE

    def folder(self, root: Path | None = None, size: int | None = None, **parameters: Any) -> Path:
        """Folder in which the corpus stands or will stand.

        Parameters
        ----------
        root
            What the user named, taken as it is.
        size
            Number of clips; default: the renderer's.
        **parameters
            Of the renderer, such as ``seed``; default: the renderer's.

        Returns
        -------
        Path
            By default one under `harness.storage.cache_home` that is named after all of these and the renderer's
            version, so that no two of them mix.
        """
        if root is not None:
            return root
        renderer = self._renderer()
        return cache_home() / "corpora" / renderer.folder_name(size or self.default_size(), **parameters)

    def load(
        self, name: str, root: Path | None = None, size: int | None = None, jobs: int | None = None, **parameters: Any
    ) -> Corpus:
        """Read the corpus, after rendering it if it is not there.

        Parameters
        ----------
        name
            What the user called it.
        root
            Its folder, see `folder`.
        size
            Number of clips; default: the renderer's.
        jobs
            Number of processes that render; default: one per core.
        **parameters
            Of the renderer, such as ``seed``; default: the renderer's.

        Returns
        -------
        Corpus
            As the reader gives it. Of a corpus that was there already only the size is compared with what is asked
            for.

        Raises
        ------
        RepriseError
            It cannot be rendered there, is not as rendered, or has another size.
        """
        tree = self.folder(root, size, **parameters)
        if not (tree / self.marker).is_file():
            renderer = self._renderer()
            # A second process waits for the first and then finds the corpus there.
            renderer.render(tree, size=size or self.default_size(), jobs=jobs, **parameters)
        corpus = self.read(tree, name)
        if size is not None and len(corpus.clips) != size:
            raise RepriseError(
                f"{tree} holds {len(corpus.clips)} clips and not the {size} of {name}: name another folder for it"
            )
        return corpus

    def _renderer(self) -> ModuleType:
        # Here, as reading a corpus needs no synthesizer.
        return importlib.import_module(f"harness.corpora.pocket.{self.renderer}")


@dataclass(frozen=True)
class Renderer:
    """How a twin is rendered whose only parameters are its size and a seed.

    Parameters
    ----------
    name
        Of the corpus, without ``pocket-``.
    version
        As in `make_tree`.
    default_size, smallest
        Number of clips unless told, and the least that a corpus can be made of.
    write
        ``write(folder, parameters, jobs)``: as in `make_tree`; with ``parameters["size"]``, ``parameters["seed"]`` and
        the number of processes.
    """

    name: str
    _: KW_ONLY
    version: int
    default_size: int
    smallest: int
    write: Callable[[Path, dict[str, int], int | None], None]

    def folder_name(self, size: int | None = None, seed: int = 0) -> str:
        """Name for a corpus' folder that no other corpus shares.

        Parameters
        ----------
        size, seed
            As in `render`.

        Returns
        -------
        str
            For instance ``pocket-nsynth-1200-seed-0-v1``.
        """
        return f"pocket-{self.name}-{size or self.default_size}-seed-{seed}-v{self.version}"

    def render(self, root: Path | str, *, size: int | None = None, seed: int = 0, jobs: int | None = None) -> None:
        """Render the corpus, whole or not at all, with a progress bar.

        Parameters
        ----------
        root
            The folder to make. One that holds this very corpus already is left as it is.
        size
            Number of clips, `smallest` to 100,000.
        seed
            A whole number from 0 on.
        jobs
            Number of processes; default: one per core.

        Raises
        ------
        RepriseError
            A parameter is out of range, the folder holds something else, the disk is full, or a worker hung.
        """
        size = self.default_size if size is None else size
        check_parameters(size, seed, smallest=self.smallest)
        parameters = {"size": size, "seed": seed}
        make_tree(
            root, lambda folder: self.write(folder, parameters, jobs), parameters=parameters, version=self.version
        )


def check_parameters(size: int, seed: int, *, smallest: int) -> None:
    """Refuse a size or a seed that no twin can have.

    Parameters
    ----------
    size
        Number of clips, `smallest` to 100,000.
    seed
        A whole number from 0 on.
    smallest
        The least number of clips that the renderer can make a corpus of.

    Raises
    ------
    RepriseError
        One of them is out of range.
    """
    if not smallest <= size <= LARGEST:
        raise RepriseError(f"a pocket corpus of this kind has {smallest} to {LARGEST:,} clips, not {size}")
    if seed < 0:
        raise RepriseError(f"the seed of a pocket corpus is a whole number from 0 on, not {seed}")


def make_tree(root: Path | str, write: Callable[[Path], None], *, parameters: Mapping[str, Any], version: int) -> None:
    """Have a tree written whole or not at all; of two processes that want the same tree one waits for the other.

    Parameters
    ----------
    root
        The folder to make. One that holds a tree of these parameters and this version is left as it is.
    write
        ``write(folder)``: write everything, `write_manifest` included, into an empty folder beside `root`.
    parameters
        What the tree is rendered from, fit for JSON.
    version
        Of the renderer; changes whenever the same parameters would give other bytes.

    Raises
    ------
    RepriseError
        The folder holds something else, or the disk is full.
    """
    root = Path(root).absolute()
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker that imports the user's script again would wait here for the process that waits for it.
        raise RepriseError('a script that renders a corpus must do so under `if __name__ == "__main__":`')
    try:
        # Beside the folder and not its own lock, which a caller may hold.
        with lock(root.with_name(f".{root.name}.render")):
            if root.exists() and any(root.iterdir()):
                if _is_made(root, parameters, version):
                    return
                raise RepriseError(f"{root} is not empty: delete it, or choose another folder for the pocket corpus")
            for leftover in root.parent.glob(f".{root.name}.*.part"):  # of a run that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".part", dir=root.parent))
            try:
                write(folder)
                folder.chmod(0o755)
                if root.exists():
                    root.rmdir()
                folder.rename(root)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise cannot_write(root, error) from error


def write_bytes(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files of a tree, in a worker process or not.

    Parameters
    ----------
    folder
        The tree's.
    files
        Contents by path relative to `folder`; folders are made.

    Raises
    ------
    RepriseError
        The disk is full. (An OSError of a worker would not say what to do.)
    """
    try:
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> RepriseError:
    """The error that says that a folder cannot be written, and what to do."""
    return RepriseError(f"cannot write {path}: {error.strerror or error}; free some space or choose another folder")


def write_checksums(folder: Path, checksums: Mapping[str, str]) -> None:
    """Write ``checksums``, in the form of ``md5sum``.

    Parameters
    ----------
    folder
        The tree's.
    checksums
        MD5 of every audio file by path relative to `folder`.
    """
    lines = [f"{checksums[name]}  {name}\n" for name in sorted(checksums)]
    write_bytes(folder, {CHECKSUMS: "".join(lines).encode()})


def read_checksums(root: Path | str) -> dict[str, str]:
    """Read what `write_checksums` has written.

    Parameters
    ----------
    root
        The folder that holds ``checksums``.

    Returns
    -------
    dict of str to str
        MD5 by path relative to `root`.

    Raises
    ------
    RepriseError
        There is no such list, or it is not as written.
    """
    path = Path(root) / CHECKSUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = [""]
    if not all(re.fullmatch(r"[0-9a-f]{32}  \S.*", line) for line in lines) or not lines:
        raise RepriseError(f"{path} does not list the audio files: delete the folder {root} and render it again")
    return {line[34:]: line[:32] for line in lines}


def write_manifest(
    folder: Path, *, version: int, parameters: Mapping[str, Any], suffixes: tuple[str, ...], **told: Any
) -> None:
    """Write ``ground_truth/manifest.json``, last of all files.

    Parameters
    ----------
    folder
        The tree's.
    version, parameters
        As in `make_tree`.
    suffixes
        Of the tables whose SHA-256 is told, as ``(".json", ".csv")``; `CHECKSUMS`, which speaks for the audio
        files, is told in any case.
    **told
        What else to tell: what was counted, by which rules, the SoundFont.
    """
    import scipy
    import soundfile
    import soxr

    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in ("", *suffixes))
    manifest = {
        "renderer_version": version,
        "parameters": dict(parameters),
        **told,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "soxr": soxr.__version__,
            "libsndfile": soundfile.__libsndfile_version__,
        },
        "sha256": {path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
    }
    write_bytes(folder, {MANIFEST: json_text(manifest).encode()})


def rendering(root: Path) -> dict[str, Any]:
    """What a reader is to know of how a tree came about, for `harness.corpora.corpus.Corpus.facts`.

    Parameters
    ----------
    root
        Any corpus's folder.

    Returns
    -------
    dict
        Of a pocket corpus ``parameters`` and ``renderer_version``; of any corpus with a list ``checksums`` its
        SHA-256 as ``audio_checksums``, which tells apart corpora that differ in their audio alone.

    Raises
    ------
    RepriseError
        It is a pocket corpus whose manifest cannot be read.
    """
    facts = {}
    if (root / CHECKSUMS).is_file():
        facts["audio_checksums"] = sha256_of(root / CHECKSUMS)
    if (root / MANIFEST).parent.is_dir():
        try:
            made = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
            facts |= {"parameters": made["parameters"], "renderer_version": made["renderer_version"]}
        except (OSError, ValueError, KeyError, TypeError):
            raise RepriseError(
                f"{root / MANIFEST} does not say how the corpus was rendered: delete the folder {root} and it will be "
                "rendered again"
            ) from None
    return facts


def _is_made(root: Path, parameters: Mapping[str, Any], version: int) -> bool:
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        return manifest["parameters"] == dict(parameters) and manifest["renderer_version"] == version
    except (OSError, ValueError, KeyError, TypeError):
        return False
