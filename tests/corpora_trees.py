"""A small tree in the published layout of OpenMIC-2018, written by hand for the tests of its reader."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

CLASSES = ("cello", "drums", "flute", "voice")


@dataclass
class Tree:
    """What was written, to compare with what is read."""

    root: Path
    keys: list[str]
    artists: list[int]
    relevance: np.ndarray
    mask: np.ndarray
    embeddings: np.ndarray


def make_tree(root: Path, *, clips: int = 12, seed: int = 0) -> Tree:
    """Write a tree of `clips` clips of 0.1 s by clips // 3 artists, the last quarter of them for testing."""
    rng = np.random.default_rng(seed)
    keys = [f"{137 * (i + 1):06d}_{3840 * i}" for i in range(clips)]
    artists = [i // 3 for i in range(clips)]
    relevance = rng.uniform(size=(clips, len(CLASSES))).round(3)
    mask = rng.uniform(size=relevance.shape) < 0.5
    mask[np.arange(clips), rng.integers(len(CLASSES), size=clips)] = True
    embeddings = rng.integers(0, 256, size=(clips, 10, 128))
    root.mkdir(parents=True)
    (root / "class-map.json").write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}))
    (root / "partitions").mkdir()
    train = clips * 3 // 4
    (root / "partitions" / "split01_train.csv").write_text("\n".join(keys[:train]) + "\n")
    (root / "partitions" / "split01_test.csv").write_text("\n".join(keys[train:]) + "\n")
    pd.DataFrame(
        [(keys[i], CLASSES[c], relevance[i, c], 3) for i, c in np.argwhere(mask)],
        columns=["sample_key", "instrument", "relevance", "num_responses"],
    ).to_csv(root / "openmic-2018-aggregated-labels.csv", index=False)
    pd.DataFrame(
        {
            "track_id": [int(key[:6]) for key in keys],
            "artist_id": artists,
            "artist_name": [f"Artist {artist}" for artist in artists],
            "track_title": [f"Title {key}" for key in keys],
            "tags": "['a, b']",
        }
    ).to_csv(root / "openmic-2018-metadata.csv", index=False)
    write_arrays(root, keys, relevance, mask, embeddings)
    sums = {}
    for key in keys:
        path = root / "audio" / key[:3] / f"{key}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(scale=0.1, size=4410), 44100, format="OGG", subtype="VORBIS")
        sums[key] = hashlib.md5(path.read_bytes()).hexdigest()
    pd.Series(sums, name="md5").to_csv(root / "checksums")
    return Tree(root, keys, artists, relevance, mask, embeddings)


def write_arrays(root: Path, keys: list, relevance: np.ndarray, mask: np.ndarray, embeddings: np.ndarray) -> None:
    """Write openmic-2018.npz as published: 0.5 where unobserved, and the keys as pickled objects."""
    np.savez(
        root / "openmic-2018.npz",
        X=embeddings,
        Y_true=np.where(mask, relevance, 0.5),
        Y_mask=mask,
        sample_key=np.array(keys, dtype=object),
    )
