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
    Train, valid and test as published, for corpora that come in these three parts (NSynth, FSD50K, AudioSet), or whose
    faults others have filtered out (GTZAN); a clip that is in no part is left out. No seed: nothing is drawn.
``folds``
    Test is the published fold `seed` modulo their number; of the rest, 20 % of each class are valid, clip by clip.
    For corpora that come in folds (TinySOL).
``stratified-80-20``
    20 % of each class are test, 20 % of what is left are valid, clip by clip (study 004, section 6): groups are shared
    between all parts.
``by-pitch``
    The same shares of each class, as nearly as whole groups allow: the notes of one instrument and pitch stay
    together. For corpora of clips of one class each, as the two above.
``segments-70-15-15``
    Of segments (`harness.corpora.segments`), the same number of each class, 64 of 100, which of GTZAN's are 6,400:
    70 % train, 15 % valid, 15 % test, segment by segment (study 002): tracks are shared between all parts.
``tracks-70-15-15``
    The very same segments, but of each class whole tracks go to one part.
``segments-80-10-10``
    Of each class's segments 80 % train, 10 % valid, and what is left test, segment by segment, all of them: as the code
    of study 002 has it.

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
#: Of test, and then of valid, in the splits that look at classes.
SHARE = 0.20
#: Of a class's segments, in the splits of segments: study 002 took 6,400 of the ten thousand that GTZAN has of 3 s.
SEGMENT_SHARE = 0.64
PARTS = ("train", "valid", "test")


def names() -> tuple[str, ...]:
    """Names of the splits.

    Returns
    -------
    tuple of str
        What `draw` accepts.
    """
    return tuple(_SPLITS)


def draw(
    name: str, seed: int, clips: pd.DataFrame, corpus: str, labels: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Divide clips into train, valid and test.

    Parameters
    ----------
    name
        One of `names`.
    seed
        For what is drawn.
    clips
        A corpus's clips, sorted by key: ``key``, ``group``, ``partition`` and ``fold`` are used.
    corpus
        The corpus's name, for messages and for the file that keeps the keys.
    labels
        (n, c) the corpus's labels; used by the splits that look at classes.

    Returns
    -------
    dict of str to np.ndarray
        ``train``, ``valid``, ``test``: sorted int64 row numbers, disjoint; together all clips but for those that the
        split leaves out.

    Raises
    ------
    RepriseError
        The name is unknown, the clips have no published partition or folds, or several classes each where the split
        needs one; too few groups to draw from; or the keys differ from those kept when the split was first drawn.
    """
    if name not in _SPLITS:
        raise RepriseError(f"there is no split {name!r}: choose {', '.join(_SPLITS)}")
    if name == "tracks-70-15-15" and "clip" not in clips:
        raise RepriseError(f"the split {name} is for clips cut into segments: use another split for {corpus}")
    if name in _BY_CLASS:
        clips = clips.assign(stratum=_strata(name, clips, labels))
    rows = {part: np.sort(np.asarray(chosen, dtype=np.int64)) for part, chosen in _SPLITS[name](clips, seed).items()}
    empty = [part for part, chosen in rows.items() if not len(chosen)]
    if empty:
        whole = clips["clip"].nunique() if "clip" in clips else len(clips)
        parts = set(clips["partition"]) if name == "official" and "partition" in clips else {"train", "test"}
        if absent := [part for part in ("train", "test") if part not in parts]:
            raise RepriseError(
                f"{corpus} ({whole:,} clips) has nothing of its published {' and '.join(absent)} part: get what is "
                f"missing by `reprise data fetch {corpus}`"
            )
        raise RepriseError(
            f"the split {name} of {corpus} ({whole:,} clips) leaves nothing for {' and '.join(empty)}: "
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
    codes, sizes = np.unique(_groups(clips)[train], return_inverse=True, return_counts=True)[1:]
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
    partition = _partition(clips)
    if absent := [part for part in PARTS if not (partition == part).any()]:
        raise RepriseError(
            f"this corpus's published partition has no {' and no '.join(absent)}, which the split published needs: "
            "complete the corpus, or choose with --condition those whose split draws its parts at random"
        )
    return {part: np.flatnonzero(partition == part) for part in PARTS}


def _folds(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    if "fold" not in clips or clips["fold"].isna().any():
        raise RepriseError(
            "this corpus has no published folds: use one of the splits stratified-80-20, by-pitch, random-80-15-5"
        )
    folds = clips["fold"].to_numpy(dtype=np.int64)
    numbers = np.unique(folds)
    test = np.flatnonzero(folds == numbers[seed % len(numbers)])
    return _with_test(test, clips, np.arange(len(clips)), np.random.default_rng(seed))


def _stratified(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    every, rng = np.arange(len(clips)), np.random.default_rng(seed)
    return _with_test(_share_of_each(every, clips, every, rng), clips, every, rng)


def _by_pitch(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.unique(_groups(clips), return_inverse=True)[1]
    return _with_test(_share_of_each(np.arange(len(clips)), clips, groups, rng), clips, groups, rng)


def _with_test(
    test: np.ndarray, clips: pd.DataFrame, units: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """A split with these rows as its test part: of the others a share of each class is valid, by whole units."""
    rest = np.setdiff1d(np.arange(len(clips)), test)
    valid = _share_of_each(rest, clips, units, rng)
    return {"train": np.setdiff1d(rest, valid), "valid": valid, "test": test}


def _share_of_each(rows: np.ndarray, clips: pd.DataFrame, units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of `rows` the share of each class that comes nearest to `SHARE`, by whole units (numbers, one for each clip).

    A unit belongs to the class of its first clip. A class of two or more units gives at least one.
    """
    numbers, first, sizes = np.unique(units[rows], return_index=True, return_counts=True)
    strata = clips["stratum"].to_numpy()[rows][first]
    chosen: list[int] = []
    for stratum in np.unique(strata):
        order = rng.permutation(np.flatnonzero(strata == stratum))
        room, taken = SHARE * sizes[order].sum(), []
        for unit in order:
            if sizes[unit] <= 2 * room:  # with it the share is as near to its aim as without, or nearer
                taken.append(unit)
                room -= sizes[unit]
        if not taken and len(order) > 1:
            taken = [order[np.argmin(sizes[order])]]
        chosen += taken
    return rows[np.isin(units[rows], numbers[chosen])]


def _published(clips: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    partition = _partition(clips)
    if (partition == "valid").any():
        raise RepriseError("this corpus is published in three parts, valid among them: use the split published")
    return np.flatnonzero(partition == "train"), np.flatnonzero(partition == "test")


def _partition(clips: pd.DataFrame) -> np.ndarray:
    if "partition" not in clips or clips["partition"].isna().all():
        folds = "fold" in clips and clips["fold"].notna().all()
        raise RepriseError(
            f"this corpus has no published partition: use the split {'folds or ' if folds else ''}random-80-15-5"
        )
    return clips["partition"].to_numpy()


def _groups(clips: pd.DataFrame) -> np.ndarray:
    """Each clip's group; a clip of unknown group stands for itself."""
    return clips["group"].where(clips["group"].notna(), "clip " + clips["key"]).to_numpy(dtype=str)


def _strata(name: str, clips: pd.DataFrame, labels: np.ndarray | None) -> np.ndarray:
    if labels is None or (np.count_nonzero(labels, axis=1) != 1).any():
        raise RepriseError(
            f"the split {name} needs clips of exactly one class each, which this corpus's are not: use another split"
        )
    return np.argmax(labels, axis=1)


def _segments(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    sample = _sample(clips, seed)
    return _cut(np.random.default_rng([seed, 1]).permutation(sample))


def _segments_80_10_10(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    classes, rng = clips["stratum"].to_numpy(), np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    of_class = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    # Their code counts by a whole class; one that lacks a track has fewer test segments, not fewer of each part.
    usual = float(np.median([len(rows) for rows in of_class]))
    train, valid = round(0.8 * usual), round(0.1 * usual)
    for rows in of_class:
        shuffled = rng.permutation(rows)
        for part, chosen in zip(PARTS, np.split(shuffled, [train, train + valid]), strict=True):
            parts[part].append(chosen)
    return {part: np.concatenate(chosen) for part, chosen in parts.items()}


def _tracks(clips: pd.DataFrame, seed: int) -> dict[str, np.ndarray]:
    sample, rng = _sample(clips, seed), np.random.default_rng([seed, 1])
    tracks, classes = clips["clip"].to_numpy(dtype=str)[sample], clips["stratum"].to_numpy()[sample]
    parts: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    for number in np.unique(classes):
        for part, chosen in _cut(rng.permutation(np.unique(tracks[classes == number]))).items():
            parts[part].append(chosen)
    return {part: sample[np.isin(tracks, np.concatenate(chosen))] for part, chosen in parts.items()}


def _sample(clips: pd.DataFrame, seed: int) -> np.ndarray:
    """Rows of the segments that take part: of each class as many as of the usual one, or all that there are."""
    classes, rng = clips["stratum"].to_numpy(), np.random.default_rng([seed, 0])
    members = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    wanted = round(SEGMENT_SHARE * float(np.median([len(rows) for rows in members])))
    return np.sort(np.concatenate([rng.permutation(rows)[:wanted] for rows in members]))


def _cut(shuffled: np.ndarray) -> dict[str, np.ndarray]:
    """70 %, 15 % and 15 % of what is in random order; of a few at least one is left for each part."""
    held = max(1, round(0.15 * len(shuffled)))
    return {"train": shuffled[2 * held :], "valid": shuffled[:held], "test": shuffled[held : 2 * held]}


def _keep(name: str, seed: int, clips: pd.DataFrame, corpus: str, rows: dict[str, np.ndarray]) -> None:
    # All that a split is drawn from names the file, so that only another way of drawing can find other keys in it.
    known = ("key", "group", "clip", "partition", *(("fold", "stratum") if "stratum" in clips else ()))
    drawn_from = [clips[column].astype(object).fillna("").tolist() for column in known if column in clips]
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
    "folds": _folds,
    "stratified-80-20": _stratified,
    "by-pitch": _by_pitch,
    "segments-70-15-15": _segments,
    "tracks-70-15-15": _tracks,
    "segments-80-10-10": _segments_80_10_10,
}

#: Splits that take a share of each class.
_BY_CLASS = ("folds", "stratified-80-20", "by-pitch", "segments-70-15-15", "tracks-70-15-15", "segments-80-10-10")

#: Splits that are published whole.
SEEDLESS = frozenset({"gururani", "published"})
