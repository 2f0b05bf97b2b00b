"""The pocket twin of OpenMIC-2018: rendered where it is missing, then read as any tree of the published layout."""

from pathlib import Path
from types import ModuleType

from harness.corpora import openmic
from harness.corpora.corpus import Corpus
from harness.corpora.registry import Entry
from harness.errors import RepriseError
from harness.storage import cache_home


def folder(root: Path | None = None, size: int | None = None, *, density: float | None = None, seed: int = 0) -> Path:
    """Folder in which a pocket corpus stands or will stand.

    Parameters
    ----------
    root
        What the user named, taken as it is.
    size
        Number of clips; default: the renderer's, 600.
    density
        Share of the labels that are observed; default: the renderer's.
    seed
        What it is rendered from.

    Returns
    -------
    Path
        By default one under `harness.storage.cache_home` that is named after all of these and the renderer's
        version, so that no two of them mix.
    """
    if root is not None:
        return root
    renderer = _renderer()
    size, density = size or renderer.DEFAULT_SIZE, renderer.DEFAULT_DENSITY if density is None else density
    return cache_home() / "corpora" / renderer.folder_name(size, density, seed)


def load(
    name: str,
    root: Path | None = None,
    size: int | None = None,
    jobs: int | None = None,
    *,
    density: float | None = None,
    seed: int = 0,
) -> Corpus:
    """Read the pocket twin, after rendering it if it is not there.

    Parameters
    ----------
    name
        What the user called it.
    root
        Its folder, see `folder`.
    size
        Number of clips; default: the renderer's, 600.
    jobs
        Number of processes that render; default: one per core.
    density
        Share of the labels that are observed; default: the renderer's.
    seed
        What it is rendered from.

    Returns
    -------
    Corpus
        As `harness.corpora.openmic.read` gives it. Of a corpus that was there already only the size is compared with
        what is asked for.

    Raises
    ------
    RepriseError
        It cannot be rendered there, is not as rendered, or has another size.
    """
    tree = folder(root, size, density=density, seed=seed)
    if not (tree / openmic.CLASS_MAP).is_file():
        renderer = _renderer()
        renderer.render(  # a second process waits for the first and then finds the corpus there
            tree,
            size=size or renderer.DEFAULT_SIZE,
            density=renderer.DEFAULT_DENSITY if density is None else density,
            seed=seed,
            jobs=jobs,
        )
    corpus = openmic.read(tree, name)
    if size is not None and len(corpus.clips) != size:
        raise RepriseError(
            f"{tree} holds {len(corpus.clips)} clips and not the {size} of {name}: name another folder for it"
        )
    return corpus


def _renderer() -> ModuleType:
    from harness.corpora.pocket import openmic as renderer  # here, as reading a corpus needs no synthesizer

    return renderer


CORPORA = (
    Entry(
        name="pocket-openmic",
        load=load,
        folder=folder,
        contents=openmic.CONTENTS,
        checksums=openmic.audio_checksums,
    ),
)
