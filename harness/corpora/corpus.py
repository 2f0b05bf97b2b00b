"""The two things every study starts from: a corpus, and a split of it that says what leaks."""

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from harness.corpora import splits


@dataclass(frozen=True, eq=False)
class Split:
    """A named, seeded partition of a corpus.

    Parameters
    ----------
    name
        One of `harness.corpora.splits.names`.
    seed
        What it was drawn with; 0 where the split is published and has no seed.
    rows
        ``"train"``, ``"valid"``, ``"test"``: sorted int64 row numbers in the corpus's clips.
    leakage
        What the parts share, see `leakage`.
    checksum
        SHA-256 over the parts' names and keys: two trials with one checksum saw the same clips.
    """

    name: str
    seed: int
    rows: dict[str, np.ndarray]
    leakage: dict
    checksum: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """A data set on disk, with its labels.

    Parameters
    ----------
    name
        What the user called it.
    root
        Its folder.
    classes
        The c class names, in the order of the columns of `labels`.
    seconds
        A clip's nominal length in seconds; None where every clip has its own.
    clips
        One row per clip, sorted by key: ``key``, ``path`` (absolute, of the audio file), ``group`` (what a split
        must not cut through, missing where unknown), ``title``, ``artist``, and ``partition`` (the part of the
        published split) or ``fold`` (the number of the published fold), missing where none is published.
    labels
        (n, c) uint8, 0 where nobody was asked.
    mask
        (n, c) bool, False where nobody was asked.
    facts
        What was counted while reading, fit for JSON.
    pocket
        Whether it was rendered by us.
    ground_truth
        Folder with a pocket corpus's full labels and activity; None for a published one.
    relevance
        (n, c) float in [0, 1], how far those who were asked agreed on a class being present: a label is 1 from 0.5 on.
        0.5 where nobody was asked; None where the corpus has no such numbers.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    seconds: float | None
    clips: pd.DataFrame
    labels: np.ndarray
    mask: np.ndarray
    facts: dict
    pocket: bool = False
    ground_truth: Path | None = None
    relevance: np.ndarray | None = None

    @property
    def checksum(self) -> str:
        """SHA-256 over classes, keys, labels, mask and, where the corpus lists them, the audio files' checksums."""
        digest = hashlib.sha256("\n".join([*self.classes, "", *self.clips["key"]]).encode())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        digest.update(np.ascontiguousarray(self.mask).tobytes())
        digest.update(str(self.facts.get("audio_checksums")).encode())
        return digest.hexdigest()

    def split(self, name: str, seed: int = 0) -> Split:
        """Divide the clips into train, valid and test, and count what leaks between them.

        Parameters
        ----------
        name
            One of `harness.corpora.splits.names`, see there.
        seed
            For what the split draws; a split that is published whole takes no notice of it.

        Returns
        -------
        Split
            The same for the same corpus, name and seed, on every machine.

        Raises
        ------
        RepriseError
            The name is unknown, the corpus has no such split, or the keys differ from those kept last time.
        """
        seed = 0 if name in splits.SEEDLESS else seed
        rows = splits.draw(name, seed, self.clips, self.name, self.labels)
        return Split(name, seed, rows, leakage(self.clips["group"], rows), checksum(self.clips["key"], rows))


def leakage(groups: pd.Series, rows: dict[str, np.ndarray]) -> dict:
    """Count the groups that a split cuts through.

    Parameters
    ----------
    groups
        (n,) each clip's group (artist, song, note); missing where unknown.
    rows
        Row numbers of each part.

    Returns
    -------
    dict
        ``groups_known``: number of groups; ``clips_without_group``: clips of unknown group, which may leak unseen;
        and for each pair of parts, as ``"train-test"``: ``shared_groups``, the groups found in both, and
        ``clips_in_shared_groups``, the clips of the pair's second part whose group is in the first.
    """
    codes, known = pd.factorize(groups)  # -1 where missing
    present = {part: np.isin(np.arange(len(known)), codes[chosen]) for part, chosen in rows.items()}
    shared_groups, clips = {}, {}
    for first, second in itertools.combinations(rows, 2):
        shared = present[first] & present[second]
        of_second = codes[rows[second]]
        shared_groups[f"{first}-{second}"] = int(shared.sum())
        clips[f"{first}-{second}"] = int(shared[of_second[of_second >= 0]].sum())
    return {
        "groups_known": len(known),
        "clips_without_group": int((codes < 0).sum()),
        "shared_groups": shared_groups,
        "clips_in_shared_groups": clips,
    }


def checksum(keys: pd.Series, rows: dict[str, np.ndarray]) -> str:
    """Identify a split by what is in it.

    Parameters
    ----------
    keys
        (n,) the corpus's keys.
    rows
        Row numbers of each part.

    Returns
    -------
    str
        SHA-256 over each part's name and keys, one to a line.
    """
    lines = [line for part, chosen in rows.items() for line in (part, *keys.iloc[chosen])]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
