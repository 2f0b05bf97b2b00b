"""What all published corpora share: looked for in a few folders and read, or missed in a sentence with the way out.

``harness.corpora.NAME`` makes what it reads a corpus of the table with a `Published`::

    PUBLISHED = Published(
        read,
        holds=lambda folder: (folder / "class-map.json").is_file(),
        folders=("openmic-2018", "openmic2018"),
        within=("openmic-2018",),
    )
    CORPORA = (Entry(name="openmic-2018", load=PUBLISHED.load, folder=PUBLISHED.folder, ...),)
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.corpora.corpus import Corpus
from harness.errors import RepriseError
from harness.storage import data_root


@dataclass(frozen=True)
class Published:
    """Where a published corpus is looked for, and what reads it.

    Parameters
    ----------
    read
        ``read(root, name) -> Corpus``, the reader of the published layout.
    holds
        ``holds(folder) -> bool``: whether the corpus lies in that very folder.
    folders
        Folders that are looked in where the user names none, relative to `harness.storage.data_root`; of several that
        hold it the first counts, and where none does the first is where it belongs.
    within
        Folders that are looked in after the one that the user names, relative to that one.
    begun
        ``begun(folder) -> bool``: whether at least a part of the corpus lies there, so that `read` is to tell what is
        missing; default: `holds`.
    obtain
        How to get it: a clause that goes on after a colon; default: by ``reprise data fetch``.
    """

    read: Callable[[Path, str], Corpus]
    holds: Callable[[Path], bool]
    folders: tuple[str, ...]
    within: tuple[str, ...] = ()
    begun: Callable[[Path], bool] | None = None
    obtain: str = ""

    def folder(self, root: Path | None = None, size: int | None = None) -> Path:
        """Folder in which the corpus stands or will stand.

        Parameters
        ----------
        root
            What the user named; default: those of `folders`.
        size
            Not used: a published corpus has one size.

        Returns
        -------
        Path
            The first that holds it, or else the first of all.
        """
        if root is not None:
            candidates = [root, *(root / name for name in self.within)]
        else:
            candidates = [data_root() / name for name in self.folders]
        return next((folder for folder in candidates if self.holds(folder)), candidates[0])

    def load(self, name: str, root: Path | None = None, size: int | None = None, jobs: int | None = None) -> Corpus:
        """Read the corpus.

        Parameters
        ----------
        name
            What the user called it.
        root
            Its folder, see `folder`.
        size, jobs
            Not used: nothing is rendered.

        Returns
        -------
        Corpus
            As the reader gives it.

        Raises
        ------
        RepriseError
            It is not here, or not as published.
        """
        tree = self.folder(root)
        if not (self.begun or self.holds)(tree):
            fetch = f"run `reprise data fetch {name}`, or set REPRISE_DATA to the folder that holds it"
            raise RepriseError(f"{name} is not in {tree}: {self.obtain or fetch}")
        return self.read(tree, name)
