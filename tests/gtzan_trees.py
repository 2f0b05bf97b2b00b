"""Small trees in the layout of GTZAN, written by hand."""

import functools
import io
from pathlib import Path

import numpy as np
import soundfile

from harness.corpora.gtzan_filtered import track_key


@functools.cache
def sound(samples: int = 661_794, rate: int = 22050, channels: int = 1, form: str = "WAV") -> bytes:
    """A file that a reader of headers takes for music."""
    ramp = np.arange(samples, dtype=np.int16)
    file = io.BytesIO()
    soundfile.write(file, np.stack([ramp] * channels, axis=1), rate, format=form, subtype="PCM_16")
    return file.getvalue()


def write_track(folder: Path, genre: str, number: int, data: bytes | None = None, *, suffix: str = ".wav") -> Path:
    """Write a track; default: a sound one."""
    path = folder / genre / f"{track_key(genre, number)}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound(form=suffix[1:].upper()) if data is None else data)
    return path


def make_gtzan_tree(root: Path, *, genres: str = "genres", tracks: dict[str, list[int]] | None = None) -> Path:
    """Write a partial tree and give the folder that holds those of the genres."""
    tracks = {"blues": [0, 12, 29], "jazz": [0, 2, 73, 40], "rock": [38]} if tracks is None else tracks
    for genre, numbers in tracks.items():
        for number in numbers:
            write_track(root / genres, genre, number)
    return root / genres
