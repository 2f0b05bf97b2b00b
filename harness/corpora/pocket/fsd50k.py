"""The pocket twin of FSD50K: single sounds with the tags of invented people, rendered here in the published layout.

A clip is one note, chord, phrase, loop, beat, drum hit, sound effect or noise of half a second to eight seconds. Its
tags say, as on Freesound, what is played and how (instrument, family, kind of sound, pitch, tempo, loudness, room,
effects), all taken from what is rendered; every uploader has habits, and leaves words out. Beside the published files
the tree has a folder ``ground_truth``::

    manifest.json   what it was rendered from and with, what was counted, SHA-256 of the tables
    sounds.csv      what every clip is: source, kind, preset, mean key, tempo, seconds, level, treatments

The same size and seed give the same bytes on one machine, whatever the number of processes.
"""

import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from scipy.signal import butter, sosfilt

from harness.corpora.pocket import events, words
from harness.corpora.pocket.noises import reverberate
from harness.corpora.pocket.plan import draw_names
from harness.corpora.pocket.soundfont import SAMPLE_RATE, SOUNDFONT
from harness.corpora.pocket.sources import CLASSES, SOURCES
from harness.corpora.pocket_twin import TIMEOUT, Renderer, write_bytes, write_checksums, write_manifest
from harness.parallel import parallel_map
from harness.storage import json_text, sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 1
DEFAULT_SIZE = 1000
SMALLEST = 40
CHUNK = 20  # clips per task
#: Shares of the clips that are for testing, and of the others for validation; about, as uploaders stay whole.
EVAL_SHARE, VALID_SHARE = 0.2, 0.1
HIGHEST_PEAK = 0.9
#: Chances of the kinds, by the manner in which a source is played.
_POLYPHONIC = {"note": 0.4, "chord": 0.15, "phrase": 0.2, "loop": 0.25}
_MELODIC = {"note": 0.5, "phrase": 0.25, "loop": 0.25}
KINDS = {
    **dict.fromkeys(("keys", "plucked", "pad", "reeds"), _POLYPHONIC),
    **dict.fromkeys(("bars", "bass", "sustained"), _MELODIC),
    "hits": {"hit": 0.6, "phrase": 0.15, "loop": 0.25},
    "beat": {"hit": 0.2, "beat": 0.8},
    "once": {"effect": 1.0},
    "again": {"effect": 1.0},
    "noise": {"noise": 1.0},
}
#: From how many to how many seconds the kinds last; short ones are more frequent (uniform in the logarithm).
SECONDS = {
    "note": (0.6, 3.0), "chord": (0.8, 4.0), "phrase": (1.5, 7.0), "loop": (1.5, 8.0),
    "hit": (0.5, 1.2), "beat": (1.5, 8.0), "effect": (0.8, 7.0), "noise": (0.8, 7.0),
}  # fmt: skip
#: First words of the seed sequences; no other corpus uses these numbers.
_PLAN, _CLIP, _SPLIT = 1801, 1802, 1803
_LICENCES = ("http://creativecommons.org/publicdomain/zero/1.0/", "http://creativecommons.org/licenses/by/3.0/")

README = """\
# A pocket twin of FSD50K

This is NOT FSD50K (Fonseca et al., "FSD50K: an open dataset of human-labeled sound events", IEEE/ACM TASLP 30, 2022).
It has that corpus' layout and {classes} labels of AudioSet's ontology, but every sound was made by the program Reprise,
and every uploader, title and number is invented. The sounds are samples of the General MIDI SoundFont TimGM6mb by Tim
Brechbill (GNU General Public License, version 2), as the Python package pretty_midi carries it, and synthesised noises.
The labels and tags say what was rendered.
"""


@dataclass(frozen=True)
class Uploader:
    """Somebody who puts sounds on Freesound.

    Parameters
    ----------
    name
        One word.
    thorough
        Chance that a fitting word is given as a tag.
    signature
        Words that all of the uploader's clips have.
    loudness
        Level in dB re full scale that the clips have, more or less.
    room
        Reverberation time in seconds and level in dB of the uploader's room; None for a dry one.
    effects
        Chance that a sound is treated in some way.
    licence
        Of all the clips.
    """

    name: str
    thorough: float
    signature: tuple[str, ...]
    loudness: float
    room: tuple[float, float] | None
    effects: float
    licence: str


@dataclass(frozen=True)
class Clip:
    """A clip before it is rendered: its number on Freesound, its uploader's place in the list, and what it is."""

    fname: int
    uploader: int
    source: str
    preset: tuple[int, int] | None
    kind: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes, as FSD50K writes their names."""
        return tuple(label_of(name) for name in SOURCES[self.source].classes)


def label_of(name: str) -> str:
    """FSD50K's spelling of a class.

    Parameters
    ----------
    name
        AudioSet's, as ``Gunshot, gunfire``.

    Returns
    -------
    str
        For instance ``Gunshot_and_gunfire``.
    """
    return name.replace(", ", "_and_").replace(" ", "_")


def draw_clips(size: int, seed: int) -> tuple[list[Uploader], list[Clip]]:
    """Plan a corpus: who uploads what.

    Every uploader has clips of three to seven sources, dealt so that all sources are about equally frequent.

    Parameters
    ----------
    size
        Number of clips.
    seed
        The corpus' seed.

    Returns
    -------
    uploaders : list of Uploader
        About one for 20 clips, and eight at least.
    clips : list of Clip
        `size` of them, numbered upwards.
    """
    rng = np.random.default_rng((_PLAN, seed))
    count = max(8, round(size / 20))
    uploaders = [_uploader(name, rng) for name in draw_names(count, seed)]
    shares = rng.uniform(0.5, 1.5, size=count)
    edges = np.round(np.cumsum(shares) / shares.sum() * size).astype(int)
    names, deck, presets = list(SOURCES), [], {name: [] for name in SOURCES}
    clips, fname = [], 0
    for number, clip_count in enumerate(np.diff(edges, prepend=0)):
        line_up: list[str] = []
        for _ in range(min(int(rng.integers(3, 8)), clip_count)):
            deck = deck or [names[i] for i in rng.permutation(len(names))]
            line_up.append(deck.pop())
        for place in range(clip_count):
            source = SOURCES[line_up[place % len(line_up)]]
            if source.presets and not presets[source.name]:
                presets[source.name] = [source.presets[i] for i in rng.permutation(len(source.presets))]
            preset = presets[source.name].pop() if source.presets else None
            chances = KINDS[source.manner]
            kind = str(rng.choice(list(chances), p=list(chances.values())))
            fname += int(rng.integers(1, max(2, min(500, 990_000 // size))))
            clips.append(Clip(fname, number, source.name, preset, kind))
    return uploaders, clips


def draw_partition(clips: list[Clip], seed: int) -> np.ndarray:
    """Divide the clips into ``"train"``, ``"val"`` and ``"eval"``, uploaders whole, as FSD50K keeps them apart.

    Of 300 random choices the one is taken whose parts have most nearly the sizes wanted, of all clips and of every
    class, and no class without training clips where that can be.

    Parameters
    ----------
    clips
        From `draw_clips`.
    seed
        The corpus' seed.

    Returns
    -------
    ndarray, shape (n,), str
    """
    rng = np.random.default_rng((_SPLIT, seed))
    uploader = np.array([clip.uploader for clip in clips])
    labels = np.array([[name in SOURCES[clip.source].classes for name in CLASSES] for clip in clips], dtype=float)
    counts = np.zeros((uploader.max() + 1, len(CLASSES) + 1))
    np.add.at(counts, uploader, np.column_stack([labels, np.ones(len(clips))]))
    total, best, best_error = np.maximum(counts.sum(axis=0), 1), None, np.inf
    wanted = (EVAL_SHARE, EVAL_SHARE + (1 - EVAL_SHARE) * VALID_SHARE)
    for _ in range(300):
        order = rng.permutation(len(counts))
        shares = counts[order].cumsum(axis=0) / total
        first, second = (int(np.argmin(np.abs(shares[:, -1] - share))) for share in wanted)
        second = max(second, first + 1)
        without = (1 - shares[second] < 1e-9).sum()
        error = without + sum(
            ((shares[at] - share) ** 2).mean() for at, share in zip((first, second), wanted, strict=True)
        )
        if error < best_error:
            best, best_error = np.full(len(counts), "train", dtype=object), error
            best[order[: first + 1]], best[order[first + 1 : second + 1]] = "eval", "val"
    return best[uploader].astype(str)


def render_clip(clip: Clip, uploader: Uploader, seed: int) -> tuple[np.ndarray, dict, list[str]]:
    """Draw and play a clip, and let its uploader tag it.

    Parameters
    ----------
    clip, uploader
        From `draw_clips`.
    seed
        The corpus' seed.

    Returns
    -------
    audio : ndarray, shape (samples,), float32
        Mono, at 44.1 kHz, with a largest amplitude of at most 0.9.
    told : dict
        What ``sounds.csv`` says of it.
    tags : list of str
        Five to twelve different words, in any order.
    """
    rng = np.random.default_rng((_CLIP, seed, clip.fname))
    source, mood = SOURCES[clip.source], events.draw_mood(rng)
    seconds = round(float(np.exp(rng.uniform(*np.log(SECONDS[clip.kind])))), 2)
    event = events.draw(rng, source, clip.kind, seconds, mood, clip.preset)
    audio, treatments = events.render(event), []
    if source.musical and rng.random() < uploader.effects:
        treatments.append(str(rng.choice(["distortion", "reverse", "lo-fi"])))
        audio = _treat(audio, treatments[0], rng)
    if uploader.room and rng.random() < 0.8:
        treatments.append("reverb")
        audio = reverberate(audio, SAMPLE_RATE, *uploader.room, int(rng.integers(2**31)))
    level = min(
        10 ** ((uploader.loudness + rng.uniform(-6, 6)) / 20) / events.loud_level(audio),
        HIGHEST_PEAK / float(np.abs(audio).max()),
    )
    audio = audio * np.float32(level)
    loudness = float(20 * np.log10(events.loud_level(audio)))
    tags = words.tags(event, mood, treatments, loudness, uploader.signature, uploader.thorough, rng)
    bank, program = event.preset or ("", "")
    mean_key = round(float(np.mean([note.pitch for note in event.notes])), 1) if source.musical else ""
    told = {
        "fname": clip.fname, "source": clip.source, "kind": event.kind, "bank": bank, "program": program,
        "mean_key": mean_key, "tempo": event.tempo or "", "seconds": event.seconds, "loud_db": round(loudness, 1),
        "treatments": " ".join(treatments),
    }  # fmt: skip
    return audio, told, tags


def _uploader(name: str, rng: np.random.Generator) -> Uploader:
    room = (float(rng.uniform(0.3, 1.8)), float(rng.uniform(-14, -4))) if rng.random() < 0.35 else None
    return Uploader(
        name=name.lower().replace(" ", "_"),
        thorough=float(rng.uniform(0.55, 0.95)),
        signature=tuple(
            str(word) for word in rng.choice(words.SIGNATURES, size=int(rng.integers(0, 3)), replace=False)
        ),
        loudness=float(rng.uniform(-26, -13)),
        room=room,
        effects=float(rng.choice([0.02, 0.1, 0.4], p=[0.5, 0.35, 0.15])),
        licence=str(rng.choice(_LICENCES)),
    )


def _treat(audio: np.ndarray, treatment: str, rng: np.random.Generator) -> np.ndarray:
    if treatment == "reverse":
        return audio[::-1].copy()
    if treatment == "distortion":
        return np.tanh(audio * np.float32(rng.uniform(2, 8)))
    cutoff = butter(2, rng.uniform(1500, 4000), fs=SAMPLE_RATE, output="sos")  # a bad old recorder
    hiss = np.float32(10 ** (rng.uniform(-40, -25) / 20))
    return sosfilt(cutoff, audio).astype(np.float32) + hiss * rng.standard_normal(len(audio), dtype=np.float32)


def _write_chunk(task: tuple) -> list[tuple[str, str, dict, list[str]]]:
    """Render clips and write their files; give each one's path, MD5, what it is, and tags."""
    folder, seed, clips = task
    results = []
    for clip, uploader, part in clips:
        audio, told, tags = render_clip(clip, uploader, seed)
        buffer = io.BytesIO()
        soundfile.write(buffer, audio, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        name, wav = f"FSD50K.{part}_audio/{clip.fname}.wav", buffer.getvalue()
        write_bytes(folder, {name: wav})
        results.append((name, hashlib.md5(wav, usedforsecurity=False).hexdigest(), told, tags))
    return results


def _write_tree(folder: Path, parameters: dict, jobs: int | None) -> None:
    size, seed = parameters["size"], parameters["seed"]
    uploaders, clips = draw_clips(size, seed)
    partition = draw_partition(clips, seed)
    planned = [
        (clip, uploaders[clip.uploader], "eval" if part == "eval" else "dev")
        for clip, part in zip(clips, partition, strict=True)
    ]
    tasks = [(folder, seed, planned[start : start + CHUNK]) for start in range(0, size, CHUNK)]
    done = parallel_map(_write_chunk, tasks, description=f"rendering {size:,} clips", jobs=jobs, timeout=TIMEOUT)
    results = [one for chunk in done for one in chunk]
    write_checksums(folder, {name: md5 for name, md5, _, _ in results})
    names = sorted(CLASSES, key=label_of)
    vocabulary = "".join(f"{number},{label_of(name)},{CLASSES[name]}\n" for number, name in enumerate(names))
    mids = {label_of(name): mid for name, mid in CLASSES.items()}
    tables = {"dev": "fname,labels,mids,split\n", "eval": "fname,labels,mids\n"}
    info: dict[str, dict] = {"dev": {}, "eval": {}}
    for (clip, uploader, part), split, (_, _, told, tags) in zip(planned, partition, results, strict=True):
        row = f'{clip.fname},"{",".join(clip.labels)}","{",".join(mids[label] for label in clip.labels)}"'
        tables[part] += f"{row},{split}\n" if part == "dev" else f"{row}\n"
        info[part][str(clip.fname)] = {
            "title": f"{clip.source} {told['kind']} {clip.fname}.wav",
            "description": f"A {told['kind']} of {told['seconds']:.1f} s ({clip.source}), rendered by Reprise.",
            "tags": tags,
            "license": uploader.licence,
            "uploader": uploader.name,
        }
    sounds = pd.DataFrame([told for _, _, told, _ in results])
    write_bytes(
        folder,
        {
            "FSD50K.ground_truth/vocabulary.csv": vocabulary.encode(),
            **{f"FSD50K.ground_truth/{part}.csv": table.encode() for part, table in tables.items()},
            **{f"FSD50K.metadata/{part}_clips_info_FSD50K.json": json_text(of).encode() for part, of in info.items()},
            "FSD50K.doc/README.md": README.format(classes=len(CLASSES)).encode(),
            "ground_truth/sounds.csv": sounds.to_csv(index=False, lineterminator="\n").encode(),
        },
    )
    tag_lists = [tags for *_, tags in results]
    write_manifest(
        folder,
        version=RENDERER_VERSION,
        parameters=parameters,
        suffixes=(".csv", ".json", ".md"),
        clips=size,
        partition=dict(sorted(Counter(partition.tolist()).items())),
        uploaders=len({clip.uploader for clip in clips}),
        kinds=dict(sorted(Counter(sounds["kind"]).items())),
        hours=float(sounds["seconds"].sum() / 3600),
        tags=len({tag for tags in tag_lists for tag in tags}),
        tags_per_clip=float(np.mean([len(tags) for tags in tag_lists])),
        soundfont={"name": SOUNDFONT.name, "sha256": sha256_of(SOUNDFONT)},
    )


RENDERER = Renderer("fsd50k", version=RENDERER_VERSION, default_size=DEFAULT_SIZE, smallest=SMALLEST, write=_write_tree)
folder_name, render = RENDERER.folder_name, RENDERER.render
