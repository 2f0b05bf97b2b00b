"""The splits that the studies use, drawn from a corpus's clip table.

``official``
    Train and test as published; of train, about 15 % of the clips, whole groups, are set aside for validation.
``gururani``
    Train and test as published; of train, the 15 % that Gururani et al. (2019) validate on, clip by clip, so that
    artists are shared between train and valid. No seed: it is theirs.
``random-80-15-5``
    80 % train, 15 % test, 5 % valid, clip by clip, the published partition ignored (study 000, section III.A): artists
    are shared between all parts.
``published``
    Train, valid and test as published, for corpora that come in these three parts (NSynth, FSD50K, AudioSet). No
    seed: nothing is drawn.

The keys of every split are kept under ``splits`` in the cache folder and compared when it is drawn again: a library
that one day draws otherwise is noticed, not believed.
"""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd

from harness.errors import RepriseError
from harness.storage import cache_home, fingerprint, write_json

VALID_SHARE = 0.15


def names() -> tuple[str, ...]:
    """Names of the splits.

    Returns
    -------
    tuple of str
        What `draw` accepts.
    """
    return tuple(_SPLITS)


def draw(name: str, seed: int, clips: pd.DataFrame, corpus: str) -> dict[str, np.ndarray]:
    """Divide clips into train, valid and test.

    Parameters
    ----------
    name
        One of `names`.
    seed
        For what is drawn.
    clips
        A corpus's clips, sorted by key: ``key``, ``group`` and ``partition`` are used.
    corpus
        The corpus's name, for messages and for the file that keeps the keys.

    Returns
    -------
    dict of str to np.ndarray
        ``train``, ``valid``, ``test``: sorted int64 row numbers, disjoint, together all clips.

    Raises
    ------
    RepriseError
        The name is unknown, the clips have no published partition, too few groups to draw from, or the keys differ
        from those kept when the split was first drawn.
    """
    if name not in _SPLITS:
        raise RepriseError(f"there is no split {name!r}: choose {', '.join(_SPLITS)}")
    rows = {part: np.sort(np.asarray(chosen, dtype=np.int64)) for part, chosen in _SPLITS[name](clips, seed).items()}
    empty = [part for part, chosen in rows.items() if not len(chosen)]
    if empty:
        raise RepriseError(
            f"the split {name} of {corpus} ({len(clips)} clips) leaves nothing for {' and '.join(empty)}: "
            "use a larger corpus or another split"
        )
    _keep(name, seed, clips, corpus, rows)
    return rows


def gururani_validation(train_clips: int) -> np.ndarray:
    """Rows that Gururani et al. (2019) set aside of the training clips.

    Parameters
    ----------
    train_clips
        Number of training clips; 14,915 in OpenMIC-2018.

    Returns
    -------
    np.ndarray
        (floor(0.15 * train_clips),) row numbers among the sorted training keys, in the order drawn. Equal to ``val``
        of the file ``data/train_val.split`` in the authors' repository AttentionMIC.
    """
    # The legacy generator, whose stream NumPy has frozen, is what the authors drew with.
    generator = np.random.RandomState(0)
    return generator.choice(train_clips, int(np.floor(VALID_SHARE * train_clips)), replace=False)


def _official(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    train, test = _published(clips)
    groups = clips["group"].iloc[train]
    # A clip of unknown group stands for itself.
    groups = groups.where(groups.notna(), "clip " + clips["key"].iloc[train])
    codes, sizes = np.unique(groups.to_numpy(dtype=str), return_inverse=True, return_counts=True)[1:]
    room = int(VALID_SHARE * len(train))
    chosen = np.zeros(len(sizes), dtype=bool)
    order = np.random.default_rng(seed).permutation(len(sizes))
    for group in order:
        if sizes[group] <= room:
            chosen[group] = True
            room -= sizes[group]
    if not chosen.any() and len(sizes) > 1:  # in a tiny corpus every group is more than 15 %
        chosen[order[np.argmin(sizes[order])]] = True
    return {"train": train[~chosen[codes]], "valid": train[chosen[codes]], "test": test}


def _gururani(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    train, test = _published(clips)
    valid = gururani_validation(len(train))
    return {"train": np.delete(train, valid), "valid": train[valid], "test": test}


def _random_80_15_5(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    import torch  # seconds to load, and no other split needs it
    from torch.utils.data import random_split

    # The paper gives the shares but neither the seed nor the order of the parts.
    parts = random_split(range(len(clips)), [0.80, 0.15, 0.05], torch.Generator().manual_seed(seed))
    train, test, valid = (part.indices for part in parts)
    return {"train": train, "valid": valid, "test": test}


def _three_parts(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    parts = ("train", "valid", "test")
    partition = _partition(clips)
    if absent := [part for part in parts if not (partition == part).any()]:
        raise RepriseError(
            f"this corpus's published partition has no {' and no '.join(absent)}, which the split published needs: "
            "use another split, or complete the corpus"
        )
    return {part: np.flatnonzero(partition == part) for part in parts}


def _published(clips: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    partition = _partition(clips)
    if (partition == "valid").any():
        raise RepriseError("this corpus is published in three parts, valid among them: use the split published")
    return np.flatnonzero(partition == "train"), np.flatnonzero(partition == "test")


def _partition(clips: pd.DataFrame) -> np.ndarray:
    if "partition" not in clips:
        raise RepriseError("this corpus has no published partition: use the split random-80-15-5")
    return clips["partition"].to_numpy()


def _keep(name: str, seed: int, clips: pd.DataFrame, corpus: str, rows: dict[str, np.ndarray]) -> None:
    # All that a split is drawn from names the file, so that only another way of drawing can find other keys in it.
    drawn_from = [clips[column].fillna("").tolist() for column in ("key", "group", "partition") if column in clips]
    path = cache_home() / "splits" / f"{corpus}-{fingerprint(drawn_from, length=8)}-{name}-seed-{seed}.json"
    drawn = {part: clips["key"].iloc[chosen].tolist() for part, chosen in rows.items()}
    if not path.exists():
        write_json(path, drawn)
        return
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        kept = None
    if kept != drawn:
        raise RepriseError(
            f"the split {name} (seed {seed}) of {corpus} differs from the keys kept in {path}: "
            "go back to the library versions it was drawn with, or delete that file and train all trials anew"
        )


_SPLITS: dict[str, Callable[[pd.DataFrame, int], dict[str, np.ndarray]]] = {
    "official": _official,
    "gururani": _gururani,
    "random-80-15-5": _random_80_15_5,
    "published": _three_parts,
}

#: Splits that are published whole.
SEEDLESS = frozenset({"gururani", "published"})
