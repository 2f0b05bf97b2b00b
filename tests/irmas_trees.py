"""Small trees in the layout of IRMAS, written by hand."""

import os
from pathlib import Path

import numpy as np
import soundfile

from harness.corpora.irmas import CLASSES

#: Of the three archives of test mixtures: the folders inside.
PARTS = (
    "IRMAS-TestingData-Part1/Part1",
    "IRMAS-TestingData-Part2/IRTestingData-Part2",
    "IRMAS-TestingData-Part3/Part3",
)


def write_wav(path: Path, seconds: float = 3.0, *, channels: int = 2, rate: int = 44100, seed: int = 0) -> Path:
    """Write a WAV of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-3000, 3000, (round(seconds * rate), channels), dtype=np.int16)
    soundfile.write(path, noise, rate, subtype="PCM_16")
    return path


def link(source: Path, path: Path) -> None:
    """A further name for a file, which costs nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, path)


def add_mixture(root: Path, name: str, *codes: str, source: Path) -> Path:
    """Add a mixture (a path relative to `root`, without suffix) and its label file in the published form."""
    link(source, root / f"{name}.wav")
    text = root / f"{name}.txt"
    text.write_bytes("".join(f"{code}\t\n" for code in codes).encode())
    return text


def make_irmas_tree(root: Path, *, training: str = "IRMAS-TrainingData", parts: tuple[str, ...] = PARTS) -> Path:
    """Write two songs of two clips for each class, in the two styles of names, and two mixtures for each part.

    Returns the file that all clips are names of.
    """
    # Its name has another suffix, so that it is no clip itself.
    source = write_wav(root / "source.wav").rename(root / "source.bin")
    for number, code in enumerate(CLASSES):
        for take in (1, 2):
            link(source, root / training / code / f"0{number:02d}__[{code}][nod][cla]{2 * number + 1:04d}__{take}.wav")
            link(source, root / training / code / f"[{code}][jaz_blu]{2 * number + 2:04d}__{take}.wav")
    for number, part in enumerate(parts):
        add_mixture(root, f"{part}/0{number + 1} - So What-{number + 3}", "pia", "sax", source=source)
        add_mixture(root, f"{part}/0{number + 1} - So What-19", "gel", source=source)
    return source
