"""The pocket twin of GTZAN: tracks of ten genres, composed and rendered here, in the published layout, faults included.

Beside the tracks and lists in the published form the tree has ``artists.csv`` (key,artist), ``checksums`` (MD5 of the
audio files) and a folder ``ground_truth``::

    manifest.json                   what it was rendered from and with, and what was counted
    faults.csv                      key,kind,other: what was planted, see `harness.corpora.pocket.gtzan_plan.KINDS`
    parts.json                      by key: the genre whose rules were followed, tempo, programs by part, marking part
    scores/blues/blues.00000.json   notes, gains, room and production of a track, from which its stems are made again

The same size and seed give the same bytes on one machine, whatever the number of processes.
"""

import contextlib
import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from harness.corpora.gtzan import ARTISTS
from harness.corpora.gtzan_filtered import GENRES, PARTS, list_name, list_text
from harness.corpora.pocket import studio
from harness.corpora.pocket.artists import FAULT, draw_artist, record
from harness.corpora.pocket.clip import stream
from harness.corpora.pocket.genres import MARKS, ROLES
from harness.corpora.pocket.gtzan_plan import KINDS, Clip, draw_clips, draw_parts
from harness.corpora.pocket.soundfont import SOUNDFONT
from harness.corpora.pocket_twin import TIMEOUT, Renderer, write_bytes, write_checksums, write_manifest
from harness.errors import RepriseError
from harness.parallel import parallel_map
from harness.storage import json_text, sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 2
DEFAULT_SIZE = 200
SMALLEST = 20
#: Tracks per task of a worker process.
CHUNK = 4

ACKNOWLEDGEMENT = """\
# A pocket twin of GTZAN

This is NOT GTZAN. It has that corpus' layout, genres and kinds of faults (Tzanetakis and Cook, "Musical genre
classification of audio signals", 2002; Sturm, "The state of the art ten years after a state of the art", 2013;
Kereliuk, Sturm and Larsen, "Deep learning and music adversaries", 2015), but every track was composed by rule and
rendered by the program Reprise, and every artist is invented. The sounds are samples of the General MIDI SoundFont
TimGM6mb by Tim Brechbill, as the Python package pretty_midi carries it.

The tables of this corpus are dedicated to the public under CC BY 4.0 (attribution: Reprise). The audio is made from
samples that their author published under the GNU General Public License, version 2; it can be rendered again at any
time, and there is no need to distribute it.
"""


def faults(root: Path | str) -> pd.DataFrame:
    """What was planted.

    Parameters
    ----------
    root
        A rendered corpus.

    Returns
    -------
    DataFrame
        ``key``, ``kind`` (one of `KINDS`) and ``other`` (a key, a genre or how, see `KINDS`), sorted by key.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus.
    """
    with _ground_truth(root):
        return pd.read_csv(Path(root) / "ground_truth" / "faults.csv", dtype=str)


def parts(root: Path | str, key: str) -> tuple[str, ...]:
    """The parts that sound in a track.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The track's key.

    Returns
    -------
    tuple of str
        Of drums, bass, chords and lead.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, or no such track.
    """
    told = _told(root, key)["parts"]
    return tuple(role for role in ROLES if told[role])


def marking_part(root: Path | str, key: str) -> str:
    """The part that marks a track's genre.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The track's key.

    Returns
    -------
    str
        One of drums, bass, chords and lead; it sounds in the track. Of a track under a wrong genre's name it is that of
        the genre whose rules it follows. See `harness.corpora.pocket.genres.MARKS` for the reasons.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, or no such track.
    """
    return _told(root, key)["marking"]


def stem(root: Path | str, key: str, part: str) -> tuple[np.ndarray, int]:
    """Render one part of a track again, as it stands in the file.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The track's key.
    part
        One of `parts`.

    Returns
    -------
    audio : ndarray, shape (samples,), float32
        Mono, in the track's room and band, under the gain that its compressor had on the whole mix: all stems and the
        noise add up to the file, but for the rounding to 16 bits. An amplifier's distortion belongs to its part; a
        planted distortion is not in the stems.
    sample_rate : int
        22,050 Hz.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, no such track, or nobody plays that part in it.
    """
    if part not in (playing := parts(root, key)):
        raise RepriseError(f"no {part} in {key}: choose from {', '.join(playing)}")
    return studio.stem(read_recording(root, key), part), studio.RATE


def read_recording(root: Path | str, key: str) -> studio.Recording:
    """Read what a track was rendered from.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The track's key.

    Returns
    -------
    Recording
        Its parts, room, production and noise.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, or no such track.
    """
    _told(root, key)
    with _ground_truth(root):
        path = Path(root) / "ground_truth" / "scores" / key.partition(".")[0] / f"{key}.json"
        return studio.Recording.from_json(json.loads(path.read_text(encoding="utf-8")))


def _told(root: Path | str, key: str) -> dict:
    with _ground_truth(root):
        told = json.loads((Path(root) / "ground_truth" / "parts.json").read_text(encoding="utf-8"))
    if key not in told:
        raise RepriseError(f"{root} has no track {key}: see ground_truth/parts.json for those it has")
    return told[key]


@contextlib.contextmanager
def _ground_truth(root: Path | str):
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RepriseError(
            f"{root} has no readable ground truth ({error}): delete the folder and render the pocket corpus again"
        ) from error


def _distorted(audio: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """Hard clipping, as of a recorder set too loud, or bursts of static, as of a broken cable."""
    if how == "clipping":
        ceiling = 1.1 * np.sqrt(np.mean(np.square(audio)))
        return np.clip(audio / ceiling, -1, 1) * np.float32(0.98)
    audio = audio.copy()
    for begin in rng.integers(0, len(audio) - studio.RATE, int(rng.integers(6, 10))):
        length = round(rng.uniform(0.15, 0.6) * studio.RATE)
        audio[begin : begin + length] = rng.uniform(-0.95, 0.95, length)
    return audio


def _write_chunk(task: tuple[Path, int, list[Clip]]) -> list[tuple[str, dict, dict]]:
    """Render tracks and write their files; give each one's MD5, what is told of it, and who recorded it."""
    folder, seed, clips = task
    written = []
    for clip in clips:
        artist = draw_artist(seed, clip.artist, clip.plays)
        recording, audio, told = record(
            seed, clip.recording, artist, first=clip.first, samples=clip.samples, copied=clip.copied
        )
        if clip.fault == "distortion":
            audio = _distorted(audio, clip.other, stream(seed, FAULT, clip.recording))
        file = io.BytesIO()
        samples = np.round(32767 * np.clip(audio, -1, 1)).astype(np.int16)
        soundfile.write(file, samples, studio.RATE, format="WAV", subtype="PCM_16")
        score = json.dumps(recording.to_json(), separators=(",", ":"), allow_nan=False)
        name = f"{clip.genre}/{clip.key}"
        write_bytes(
            folder,
            {f"genres/{name}.wav": file.getvalue(), f"ground_truth/scores/{name}.json": score.encode()},
        )
        written.append((hashlib.md5(file.getvalue(), usedforsecurity=False).hexdigest(), told, artist.name))
    return written


def _write_tree(folder: Path, parameters: dict, jobs: int | None) -> None:
    size, seed = parameters["size"], parameters["seed"]
    clips = draw_clips(size, seed)
    tasks = [(folder, seed, clips[start : start + CHUNK]) for start in range(0, size, CHUNK)]
    written = [
        row
        for rows in parallel_map(
            _write_chunk, tasks, description=f"rendering {size:,} tracks", jobs=jobs, timeout=TIMEOUT
        )
        for row in rows
    ]
    divided = draw_parts(clips, seed)
    faulty = [(clip.key, clip.fault, clip.other) for clip in clips if clip.fault]
    told = {
        clip.key: {"plays": clip.plays, "artist": name, **told}
        for clip, (_, told, name) in zip(clips, written, strict=True)
    }
    write_bytes(
        folder,
        {
            ARTISTS: _table(("key", "artist"), [(key, row["artist"]) for key, row in told.items()]),
            **{list_name(part): list_text(divided, part).encode() for part in PARTS},
            "ground_truth/faults.csv": _table(("key", "kind", "other"), sorted(faulty)),
            "ground_truth/parts.json": json_text(told).encode(),
            "acknowledgement.md": ACKNOWLEDGEMENT.encode(),
        },
    )
    sums = {f"genres/{clip.genre}/{clip.key}.wav": md5 for clip, (md5, *_) in zip(clips, written, strict=True)}
    write_checksums(folder, sums)
    write_manifest(
        folder,
        version=RENDERER_VERSION,
        parameters=parameters,
        suffixes=(".csv", ".txt", ".md", ".json"),
        tracks={genre: sum(clip.genre == genre for clip in clips) for genre in GENRES},
        artists=len({clip.artist for clip in clips}),
        filtered={part: list(divided.values()).count(part) for part in PARTS},
        faults={kind: sum(clip.fault == kind for clip in clips) for kind in KINDS},
        marks={genre: {"part": part, "why": why} for genre, (part, why) in MARKS.items()},
        soundfont={"name": SOUNDFONT.name, "sha256": sha256_of(SOUNDFONT)},
    )


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


RENDERER = Renderer("gtzan", version=RENDERER_VERSION, default_size=DEFAULT_SIZE, smallest=SMALLEST, write=_write_tree)
folder_name, render = RENDERER.folder_name, RENDERER.render
