"""The pocket twin of OpenMIC-2018: a small corpus, rendered here, in the published layout, whose truth is known.

Beside the published files the tree has a folder ``ground_truth``::

    manifest.json       what it was rendered from and with, what was counted, SHA-256 of the tables
    full-labels.csv     which of the twenty instruments sound, nothing hidden
    activity.npz        activity: (n, 20, 100) bool, where each instrument sounds; seconds_per_frame: 0.1
    scores/000/KEY.json the notes, patches, gains and room of a clip, from which its stems are rendered again

The same size, density and seed give the same bytes on one machine, whatever the number of processes.
"""

import contextlib
import hashlib
import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import soundfile

from harness.corpora.pocket import features, labels, synth
from harness.corpora.pocket.clip import render_clip
from harness.corpora.pocket.clip import stem as render_stem
from harness.corpora.pocket.instruments import CLASSES
from harness.corpora.pocket.plan import Clip, draw_clips, draw_metadata, draw_test, labels_of
from harness.corpora.pocket.soundfont import SOUNDFONT
from harness.corpora.pocket_twin import TIMEOUT, check_parameters, make_tree, write_bytes
from harness.errors import RepriseError
from harness.parallel import parallel_map
from harness.storage import sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 1
DEFAULT_SIZE = 600
DEFAULT_DENSITY = 0.5
SMALLEST = 20
#: Clips per task of a worker process.
CHUNK = 10

ACKNOWLEDGEMENT = """\
# A pocket twin of OpenMIC-2018

This is NOT OpenMIC-2018. It has that corpus' layout, classes and kind of partial labels (Humphrey, Durand and McFee,
"OpenMIC-2018: an open dataset for multiple instrument recognition", ISMIR 2018), but every clip was composed and
rendered by the program Reprise, and every artist, title and crowd worker is invented.

- The sounds are samples of the General MIDI SoundFont TimGM6mb by Tim Brechbill, as the Python package pretty_midi
  carries it. Mandolin and ukulele, which General MIDI lacks, are derived from its guitars.
- The labels are what was composed; which of them are observed was drawn so that positives are observed more often than
  negatives, as in the published corpus.
- `X` in openmic-2018.npz and the files under vggish/ are NOT VGGish embeddings. They have their shape and range, (10,
  128) values of 8 bits, but hold per 0.96 s the mean (first 64 values) and the standard deviation (last 64) over time
  of 64 mel bands' levels in dB, from {mean[0]:g} to {mean[1]:g} dB and from {deviation[0]:g} to {deviation[1]:g} dB.
- ground_truth/ holds what no published corpus knows: all labels, where each instrument sounds, and every score.
"""

LICENCE = """\
The scores, labels and tables of this corpus are dedicated to the public under the Creative Commons Attribution 4.0
International licence (CC BY 4.0), https://creativecommons.org/licenses/by/4.0/legalcode, attribution: Reprise.

The audio is made from the samples of the SoundFont TimGM6mb, which its author published under the GNU General Public
License, version 2. It can be rendered again at any time; there is no need to distribute it.
"""


def folder_name(size: int = DEFAULT_SIZE, density: float = DEFAULT_DENSITY, seed: int = 0) -> str:
    """Name for a corpus' folder that no other corpus shares.

    Parameters
    ----------
    size, density, seed
        As in `render`.

    Returns
    -------
    str
        For instance ``pocket-openmic-600-density-0.5-seed-0-v1``.
    """
    return f"pocket-openmic-{size}-density-{density:g}-seed-{seed}-v{RENDERER_VERSION}"


def render(
    root: Path | str,
    *,
    size: int = DEFAULT_SIZE,
    density: float = DEFAULT_DENSITY,
    seed: int = 0,
    jobs: int | None = None,
) -> None:
    """Render a pocket twin of OpenMIC-2018, whole or not at all, with a progress bar.

    Parameters
    ----------
    root
        The folder to make. One that holds this very corpus already is left as it is.
    size
        Number of clips, 20 to 100,000.
    density
        Share of the ``size * 20`` labels that are observed, 0.05 to 1; the published corpus has 0.103.
    seed
        A whole number from 0 on.
    jobs
        Number of processes; default: one per core.

    Raises
    ------
    RepriseError
        A parameter is out of range, the folder holds something else, the disk is full, or a worker hung.
    """
    check_parameters(size, seed, smallest=SMALLEST)
    parameters = {"size": size, "density": density, "seed": seed}
    clips = draw_clips(size, seed)
    mask = labels.draw_mask(labels_of(clips), density, seed)
    make_tree(
        root,
        lambda folder: _write_tree(folder, clips, mask, parameters, jobs),
        parameters=parameters,
        version=RENDERER_VERSION,
    )


def activity(root: Path | str) -> tuple[np.ndarray, float]:
    """Where each instrument sounds.

    Parameters
    ----------
    root
        A rendered corpus.

    Returns
    -------
    active : ndarray, shape (n, 20, 100), bool
        In the order of the sorted keys and of the classes: whether the instrument's stem is within 30 dB of its own
        loud frames.
    seconds_per_frame : float
        0.1.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus.
    """
    with _ground_truth(root), np.load(Path(root) / "ground_truth" / "activity.npz", allow_pickle=False) as stored:
        return stored["activity"], float(stored["seconds_per_frame"])


def full_labels(root: Path | str) -> np.ndarray:
    """All labels, none hidden.

    Parameters
    ----------
    root
        A rendered corpus.

    Returns
    -------
    ndarray, shape (n, 20), uint8
        In the order of the sorted keys and of the classes.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus.
    """
    with _ground_truth(root):
        table = pd.read_csv(Path(root) / "ground_truth" / "full-labels.csv", dtype={"sample_key": str})
    return table[list(CLASSES)].to_numpy(dtype=np.uint8)


def stem(root: Path | str, key: str, instrument: str) -> tuple[np.ndarray, int]:
    """Render one instrument of a clip again, as it stands in the clip.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The clip's key.
    instrument
        One of the classes that sound in it.

    Returns
    -------
    audio : ndarray, shape (441000,), float32
        Mono, at the clip's gain and in its room: all stems and the noise add up to the clip (channels averaged), but
        for what the codec changes.
    sample_rate : int
        44,100 Hz.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, or the instrument does not sound in such a clip.
    """
    score = read_score(root, key)
    if instrument not in (playing := [part.instrument for part in score.parts]):
        raise RepriseError(f"no {instrument} plays in {key}: choose from {', '.join(playing)}")
    return render_stem(score, instrument), synth.SAMPLE_RATE


def read_score(root: Path | str, key: str) -> synth.Score:
    """Read what a clip was rendered from.

    Parameters
    ----------
    root
        A rendered corpus.
    key
        The clip's key.

    Returns
    -------
    Score
        Its parts, room and noise.

    Raises
    ------
    RepriseError
        The folder holds no pocket corpus, or no such clip.
    """
    folder = Path(root) / "ground_truth" / "scores"
    path = folder / key[:3] / f"{key}.json"
    with _ground_truth(root):
        if folder.is_dir() and not path.is_file():
            raise RepriseError(f"{root} has no clip {key}: see its partitions for the keys it has")
        return synth.Score.from_json(json.loads(path.read_text(encoding="utf-8")))


@contextlib.contextmanager
def _ground_truth(root: Path | str):
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise RepriseError(
            f"{root} has no readable ground truth ({error}): delete the folder and render the pocket corpus again"
        ) from error


def _write_chunk(task: tuple[Path, int, list[Clip]]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Render clips and write their files; give each one's MD5, activity (20, 100) and features (10, 128)."""
    folder, seed, clips = task
    results = []
    for clip in clips:
        score, audio, active = render_clip(seed, clip.number, clip.artist, clip.instruments)
        ogg = synth.encode(audio, clip.number + 1)
        described = features.describe(audio.mean(axis=1))
        embedding = {
            "time_points": [round(features.PATCH_SECONDS * patch, 2) for patch in range(features.PATCHES)],
            "features": described.tolist(),
        }
        compact = {"separators": (",", ":"), "allow_nan": False}
        write_bytes(
            folder,
            {
                f"audio/{clip.key[:3]}/{clip.key}.ogg": ogg,
                f"vggish/{clip.key[:3]}/{clip.key}.json": json.dumps(embedding).encode(),
                f"ground_truth/scores/{clip.key[:3]}/{clip.key}.json": json.dumps(score.to_json(), **compact).encode(),
            },
        )
        silent = np.zeros(synth.FRAMES, dtype=bool)
        frames = np.stack([active.get(name, silent) for name in CLASSES])
        results.append((hashlib.md5(ogg, usedforsecurity=False).hexdigest(), frames, described))
    return results


def _write_tree(folder: Path, clips: list[Clip], mask: np.ndarray, parameters: dict, jobs: int | None) -> None:
    seed, truth = parameters["seed"], labels_of(clips)
    keys = [clip.key for clip in clips]
    tasks = [(folder, seed, clips[start : start + CHUNK]) for start in range(0, len(clips), CHUNK)]
    sums = []
    active = np.empty((len(clips), len(CLASSES), synth.FRAMES), dtype=bool)
    described = np.empty((len(clips), features.PATCHES, 2 * features.BANDS), dtype=np.uint8)
    for results in parallel_map(
        _write_chunk, tasks, description=f"rendering {len(clips):,} clips", jobs=jobs, timeout=TIMEOUT
    ):
        for md5, frames, values in results:
            active[len(sums)], described[len(sums)] = frames, values
            sums.append(md5)
    _write_json(folder / "class-map.json", {name: number for number, name in enumerate(CLASSES)})
    aggregated, individual = labels.draw_responses(keys, truth, mask, seed)
    _write_csv(folder / "openmic-2018-aggregated-labels.csv", aggregated)
    _write_csv(folder / "openmic-2018-individual-responses.csv", individual)
    _write_csv(folder / "openmic-2018-metadata.csv", draw_metadata(clips, seed))
    relevance = np.full(mask.shape, 0.5)
    relevance[mask] = aggregated["relevance"]
    np.savez_compressed(
        folder / "openmic-2018.npz",
        X=described,
        Y_true=relevance,
        Y_mask=mask,
        sample_key=np.array(keys, dtype=object),
    )
    (folder / "partitions").mkdir()
    test = draw_test(clips, seed)
    for part, rows in (("train", ~test), ("test", test)):
        lines = "".join(f"{key}\n" for key, chosen in zip(keys, rows, strict=True) if chosen)
        _write_text(folder / "partitions" / f"split01_{part}.csv", lines)
    _write_text(folder / "checksums", ",md5\n" + "".join(f"{k},{m}\n" for k, m in zip(keys, sums, strict=True)))
    _write_text(
        folder / "acknowledgement.md",
        ACKNOWLEDGEMENT.format(mean=features.MEAN_RANGE, deviation=features.DEVIATION_RANGE),
    )
    _write_text(folder / "license-cc-by.txt", LICENCE)
    ground = folder / "ground_truth"
    table = pd.DataFrame(truth, columns=list(CLASSES))
    table.insert(0, "sample_key", keys)
    _write_csv(ground / "full-labels.csv", table)
    np.savez_compressed(ground / "activity.npz", activity=active, seconds_per_frame=synth.FRAME / synth.SAMPLE_RATE)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".csv", ".npz", ".md", ""))
    _write_json(
        ground / "manifest.json",
        {
            "renderer_version": RENDERER_VERSION,
            "parameters": parameters,
            "clips": len(clips),
            "artists": clips[-1].artist + 1,
            "test_clips": int(test.sum()),
            "instruments_per_clip": float(truth.sum() / len(clips)),
            "prevalence": {name: float(share) for name, share in zip(CLASSES, truth.mean(axis=0), strict=True)},
            "observed": int(mask.sum()),
            "observed_positives": int((mask & (truth == 1)).sum()),
            "seconds_per_frame": synth.FRAME / synth.SAMPLE_RATE,
            "active_within_db": synth.ACTIVE_DB,
            "soundfont": {"name": SOUNDFONT.name, "sha256": sha256_of(SOUNDFONT)},
            "versions": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "libsndfile": soundfile.__libsndfile_version__,
            },
            "sha256": {path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
        },
    )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_json(path: Path, value: dict) -> None:
    _write_text(path, json.dumps(value, indent=4, ensure_ascii=False, allow_nan=False) + "\n")


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, index=False, lineterminator="\n")
