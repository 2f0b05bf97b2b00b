"""The pocket twin of IRMAS: excerpts of songs, rendered here, in the published layout, whose truth is known.

Beside the published files the tree has ``checksums`` (MD5 of the audio files) and a folder ``ground_truth``::

    manifest.json     what it was rendered from and with, and what was counted
    clips.csv         a row for each clip: its file, its song, where in it, its labels, and all that plays in it
    activity.npz      one array (parts, tenths of a second) bool for each clip: where each part sounds
    scores/0001.json  the notes, patches, gains and room of a song, from which stems are rendered again

Parts are the eleven instruments, and bass, drums and cymbals, which are no classes. The same size and seed give the
same bytes on one machine, whatever the number of processes.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from harness.corpora.irmas import CLASSES
from harness.corpora.pocket import synth
from harness.corpora.pocket.irmas_plan import GENRES, PARTS, Excerpt, Song, draw_songs
from harness.corpora.pocket.irmas_song import render_song
from harness.corpora.pocket.soundfont import SOUNDFONT
from harness.corpora.pocket_twin import TIMEOUT, Renderer, write_bytes, write_checksums, write_manifest
from harness.errors import RepriseError
from harness.parallel import parallel_map
from harness.storage import sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 2
DEFAULT_SIZE = 600
#: Fewer clips, of which eleven in fifteen are for training, would leave a class without two songs to learn from.
SMALLEST = 66
#: Songs per task of a worker process.
CHUNK = 3

ACKNOWLEDGEMENT = """\
# A pocket twin of IRMAS

This is NOT IRMAS. It has that corpus' layout, classes and form of names (Bosch, Janer, Fuhrmann and Herrera, "A
comparison of sound segregation techniques for predominant instrument recognition in musical audio signals", ISMIR
2012), but every song was composed and rendered by the program Reprise, and every title is invented. The sounds are
samples of the General MIDI SoundFont TimGM6mb by Tim Brechbill, as the Python package pretty_midi carries it.

The tables of this corpus are dedicated to the public under CC BY 4.0 (attribution: Reprise). The audio is made from
samples that their author published under the GNU General Public License, version 2; it can be rendered again at any
time, and there is no need to distribute it.
"""


def activity(root: Path | str) -> tuple[dict[str, np.ndarray], float]:
    """Where each part sounds.

    Parameters
    ----------
    root
        A rendered corpus.

    Returns
    -------
    active : dict of str to ndarray, shape (14, tenths of the clip), bool
        By key, in the order of `harness.corpora.pocket.irmas_plan.PARTS`, which begins with the classes: whether the
        part is within 30 dB of its own loud frames in the song.
    seconds_per_frame : float
        0.1.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus.
    """
    with _ground_truth(root), np.load(Path(root) / "ground_truth" / "activity.npz", allow_pickle=False) as stored:
        active, ends = stored["activity"], stored["ends"]
    keys = _clips(root).index
    return dict(zip(keys, np.split(active, ends[:-1], axis=1), strict=True)), synth.FRAME / synth.SAMPLE_RATE


def parts(root: Path | str, key: str) -> tuple[str, ...]:
    """What plays in a clip.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The clip's key.

    Returns
    -------
    tuple of str
        The labels, and what accompanies them, in the order of `harness.corpora.pocket.irmas_plan.PARTS`.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, or no such clip.
    """
    return tuple(_clip(root, key)["parts"].split())


def stem(root: Path | str, key: str, part: str) -> tuple[np.ndarray, int]:
    """Render one part of a clip again, as it stands in the clip.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The clip's key.
    part
        One of `parts`.

    Returns
    -------
    audio : ndarray, shape (samples,), float32
        Mono, at the song's gain and in its room: all stems and the noise add up to the clip (channels averaged), but
        for its rounding to 16 bits.
    sample_rate : int
        44,100 Hz.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, or the part does not play in such a clip.
    """
    clip = _clip(root, key)
    if part not in (playing := clip["parts"].split()):
        raise RepriseError(f"no {part} plays in {key}: choose from {', '.join(playing)}")
    with _ground_truth(root):
        path = Path(root) / "ground_truth" / "scores" / f"{clip['song']:04d}.json"
        score = synth.Score.from_json(json.loads(path.read_text(encoding="utf-8")))
    found = next(one for one in score.parts if one.instrument == part)
    begin, samples = clip["start_tenths"] * synth.FRAME, clip["tenths"] * synth.FRAME
    # All of the song up to there, as what began before may still sound; and its whole length, on which the room's
    # transform depends.
    placed = synth.place(synth.play(found, clip["song_tenths"] * synth.FRAME), found, score.room)
    return placed[:, begin : begin + samples].mean(axis=0), synth.SAMPLE_RATE


@contextlib.contextmanager
def _ground_truth(root: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise RepriseError(
            f"{root} has no readable ground truth ({error}): delete the folder and render the pocket corpus again"
        ) from error


def _clips(root: Path | str) -> pd.DataFrame:
    with _ground_truth(root):
        return pd.read_csv(Path(root) / "ground_truth" / "clips.csv", dtype={"key": str}).set_index("key")


def _clip(root: Path | str, key: str) -> pd.Series:
    clips = _clips(root)
    if key not in clips.index:
        raise RepriseError(f"{root} has no clip {key}: see its ground_truth/clips.csv for the keys it has")
    return clips.loc[key]


def _playing(song: Song, excerpt: Excerpt) -> list[str]:
    return [name for name in PARTS if name in (*excerpt.labels, *song.backing, *song.rhythm)]


def _write_chunk(task: tuple[Path, int, list[Song]]) -> list[tuple[str, np.ndarray]]:
    """Render songs and write their excerpts; give each one's MD5 and activity (14, tenths)."""
    folder, seed, songs = task
    results = []
    for song in songs:
        score, audio, active = render_song(seed, song)
        text = json.dumps(score.to_json(), separators=(",", ":"), allow_nan=False)
        files = {f"ground_truth/scores/{song.number:04d}.json": text.encode()}
        for excerpt in song.excerpts:
            frames = slice(excerpt.start, excerpt.start + excerpt.length)
            cut = audio[frames.start * synth.FRAME : frames.stop * synth.FRAME]
            file = io.BytesIO()
            samples = np.round(32767 * np.clip(cut, -1, 1)).astype(np.int16)
            soundfile.write(file, samples, synth.SAMPLE_RATE, format="WAV", subtype="PCM_16")
            files[f"{excerpt.path}.wav"] = file.getvalue()
            if song.partition == "test":
                files[f"{excerpt.path}.txt"] = "".join(f"{code}\t\n" for code in excerpt.labels).encode()
            # What ends or rings on before an excerpt in which it does not play is no activity of it.
            heard = active[:, frames] & np.isin(PARTS, _playing(song, excerpt))[:, None]
            results.append((hashlib.md5(file.getvalue(), usedforsecurity=False).hexdigest(), heard))
        write_bytes(folder, files)
    return results


def _write_tree(folder: Path, parameters: dict, jobs: int | None) -> None:
    songs = draw_songs(**parameters)
    tasks = [(folder, parameters["seed"], songs[start : start + CHUNK]) for start in range(0, len(songs), CHUNK)]
    description = f"rendering {parameters['size']:,} clips"
    results = [
        result
        for some in parallel_map(_write_chunk, tasks, description=description, jobs=jobs, timeout=TIMEOUT)
        for result in some
    ]
    rows = [
        {
            "key": excerpt.key,
            "path": f"{excerpt.path}.wav",
            "partition": song.partition,
            "song": song.number,
            "song_tenths": song.tenths,
            "start_tenths": excerpt.start,
            "tenths": excerpt.length,
            "genre": song.genre,
            "labels": " ".join(excerpt.labels),
            "parts": " ".join(_playing(song, excerpt)),
            "order": order,
        }
        for order, (song, excerpt) in enumerate((song, excerpt) for song in songs for excerpt in song.excerpts)
    ]
    table = pd.DataFrame(rows).sort_values("key")  # as the reader sorts its clips
    active = [results[order][1] for order in table.pop("order")]
    write_bytes(
        folder,
        {
            "ground_truth/clips.csv": table.to_csv(index=False, lineterminator="\n").encode(),
            "acknowledgement.md": ACKNOWLEDGEMENT.encode(),
        },
    )
    np.savez_compressed(
        folder / "ground_truth" / "activity.npz",
        activity=np.concatenate(active, axis=1),
        ends=np.cumsum([frames.shape[1] for frames in active]),
    )
    write_checksums(folder, {row["path"]: md5 for row, (md5, _) in zip(rows, results, strict=True)})
    labels = {
        part: Counter(code for row in rows if row["partition"] == part for code in row["labels"].split())
        for part in ("train", "test")
    }
    write_manifest(
        folder,
        version=RENDERER_VERSION,
        parameters=parameters,
        suffixes=(".csv", ".md", ".npz"),
        songs={part: sum(song.partition == part for song in songs) for part in labels},
        clips={part: sum(row["partition"] == part for row in rows) for part in labels},
        labels={part: {code: counts[code] for code in CLASSES} for part, counts in labels.items()},
        parts=PARTS,
        genres={name: dataclasses.asdict(genre) for name, genre in GENRES.items()},
        seconds_per_frame=synth.FRAME / synth.SAMPLE_RATE,
        active_within_db=synth.ACTIVE_DB,
        soundfont={"name": SOUNDFONT.name, "sha256": sha256_of(SOUNDFONT)},
    )


RENDERER = Renderer("irmas", version=RENDERER_VERSION, default_size=DEFAULT_SIZE, smallest=SMALLEST, write=_write_tree)
folder_name, render = RENDERER.folder_name, RENDERER.render
