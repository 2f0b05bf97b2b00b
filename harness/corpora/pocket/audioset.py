"""The pocket twin of AudioSet: general-purpose audio, rendered here in the published layout, labelled by what sounds.

A clip has one to four events (music of any General MIDI program, drum beats, sound effects, noises) that come and go
over its ten seconds. Beside the published files the tree has a folder ``ground_truth``::

    manifest.json   what it was rendered from and with, what was counted, SHA-256 of the tables
    events.csv      which source sounds when in which clip, on which preset, how loud

The same size and seed give the same bytes on one machine, whatever the number of processes.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from harness.corpora.pocket import events, synth
from harness.corpora.pocket.noises import reverberate
from harness.corpora.pocket.soundfont import SAMPLE_RATE as PLAYED_RATE
from harness.corpora.pocket.soundfont import SOUNDFONT
from harness.corpora.pocket.sources import CLASSES, SOURCES
from harness.corpora.pocket_twin import TIMEOUT, Renderer, write_bytes, write_checksums, write_manifest
from harness.parallel import parallel_map
from harness.storage import sha256_of

#: Changes whenever the same parameters would give other bytes.
RENDERER_VERSION = 1
DEFAULT_SIZE = 500
SMALLEST = 40
CHUNK = 10  # clips per task
SECONDS = 10.0
SAMPLE_RATE = 16_000  # that of the VGGish front end, for which the corpus is made
#: Share of the clips in ``eval_segments.csv``, and of the training clips that every class has at least.
EVAL_SHARE, LEAST_SHARE = 0.3, 0.02
#: Chances of one, two, three and four events in a clip.
EVENTS = (0.3, 0.35, 0.22, 0.13)
#: How much quieter sounds that last are than others.
BACKGROUND_DB = 8.0
#: Largest amplitude; leaves room for what the codec adds.
HIGHEST_PEAK = 0.8
#: First words of the seed sequences; no other corpus uses these numbers.
_PLAN, _CLIP, _EVAL = 1701, 1702, 1703

README = """\
# A pocket twin of AudioSet

This is NOT AudioSet (Gemmeke et al., "Audio Set: an ontology and human-labeled dataset for audio events", ICASSP 2017).
It has that corpus' layout and {classes} of its classes, but every clip was made by the program Reprise, and no video
has its ids. The sounds are samples of the General MIDI SoundFont TimGM6mb by Tim Brechbill (GNU General Public License,
version 2), as the Python package pretty_midi carries it, and synthesised noises. The labels say what was rendered.
"""


@dataclass(frozen=True)
class Clip:
    """A clip before it is rendered: its number, start in its imaginary video, and (source, preset) of its events."""

    number: int
    start: int
    sounds: tuple[tuple[str, tuple[int, int] | None], ...]

    @property
    def ytid(self) -> str:
        """Eleven characters, as a video's id has."""
        return f"pocket{self.number:05d}"

    @property
    def key(self) -> str:
        """Name of its audio file."""
        return f"{self.ytid}_{1000 * self.start}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of all that sounds, in the order of `CLASSES`."""
        present = {one for source, _ in self.sounds for one in SOURCES[source].classes}
        return tuple(name for name in CLASSES if name in present)


def draw_clips(size: int, seed: int) -> list[Clip]:
    """Plan a corpus: all sources are about equally frequent, and so are the presets of each.

    Parameters
    ----------
    size
        Number of clips.
    seed
        The corpus' seed.

    Returns
    -------
    list of Clip
        No source sounds twice in a clip.
    """
    rng = np.random.default_rng((_PLAN, seed))
    names, deck, presets = list(SOURCES), [], {name: [] for name in SOURCES}
    clips = []
    for number in range(size):
        chosen: list[str] = []
        count = int(rng.choice([1, 2, 3, 4], p=EVENTS))
        while len(chosen) < count:
            card = next((name for name in deck if name not in chosen), None)
            if card is None:
                deck += [names[i] for i in rng.permutation(len(names))]
                continue
            deck.remove(card)
            chosen.append(card)
        sounds = []
        for name in chosen:
            of_source = SOURCES[name].presets
            if of_source and not presets[name]:
                presets[name] = [of_source[i] for i in rng.permutation(len(of_source))]
            sounds.append((name, presets[name].pop() if of_source else None))
        clips.append(Clip(number, 10 * int(rng.integers(60)), tuple(sounds)))
    return clips


def draw_eval(clips: list[Clip], seed: int) -> np.ndarray:
    """Choose the evaluation part so that every class keeps its share of the training clips.

    Parameters
    ----------
    clips
        From `draw_clips`.
    seed
        The corpus' seed.

    Returns
    -------
    ndarray, shape (n,), bool
        True for 30 % of the clips; every class has at least 2 % of the others, and more than half of its own clips
        among them where that can be.
    """
    labels = np.array([[name in clip.classes for name in CLASSES] for clip in clips])
    wanted = round(EVAL_SHARE * len(clips))
    least = np.ceil(LEAST_SHARE * (len(clips) - wanted))
    left, chosen = labels.sum(axis=0), np.zeros(len(clips), bool)
    order = np.random.default_rng((_EVAL, seed)).permutation(len(clips))
    for share in (0.65, 0.5, 0.0):  # stricter first, so that the classes are balanced as well as they can be
        keep = np.maximum(least, share * labels.sum(axis=0))
        for row in order:
            if chosen.sum() < wanted and not chosen[row] and (left - labels[row] >= keep)[labels[row]].all():
                chosen[row] = True
                left = left - labels[row]
    return chosen


def render_clip(clip: Clip, seed: int) -> tuple[np.ndarray, list[dict]]:
    """Draw, play and mix a clip.

    Parameters
    ----------
    clip
        What sounds in it.
    seed
        The corpus' seed.

    Returns
    -------
    audio : ndarray, shape (160000,), float32
        Mono, at 16 kHz, with a largest amplitude of at most 0.8.
    told : list of dict
        Of each event what ``events.csv`` says of it.
    """
    rng = np.random.default_rng((_CLIP, seed, clip.number))
    mood, mix, told = events.draw_mood(rng), np.zeros(round(SECONDS * PLAYED_RATE), np.float32), []
    alone, meeting = len(clip.sounds) == 1, float(rng.uniform(3.0, 7.0))
    for place, (name, preset) in enumerate(clip.sounds):
        source = SOURCES[name]
        lasting = source.manner in ("pad", "sustained", "keys", "reeds")
        kind = str(rng.choice(["note", "chord"])) if lasting and rng.random() < 0.15 else "phrase"
        kind = "beat" if source.manner == "beat" else kind
        seconds = round(float(rng.uniform(4.0, 10.0) if alone else rng.uniform(3.0, 9.0)), 2)
        event = events.draw(rng, source, kind, seconds, mood, preset)
        audio = _come_and_go(events.render(event), rng)
        level = 0.0 if place == 0 else float(rng.uniform(-10, 0))
        if not alone and source.manner in ("noise", "once"):
            level -= BACKGROUND_DB  # else a noise that lasts would drown what else sounds
        # They come and go, but all sound in one second, as the sounds of a scene do.
        earliest, latest = max(0.0, meeting + 0.5 - event.seconds), min(meeting - 0.5, SECONDS - event.seconds)
        start = round(float(rng.uniform(earliest, latest)), 3)
        first = round(start * PLAYED_RATE)
        audio = audio[: len(mix) - first] * np.float32(10 ** (level / 20))
        mix[first : first + len(audio)] += audio
        bank, program = event.preset or ("", "")
        told.append(
            {
                "key": clip.key, "source": name, "kind": event.kind, "bank": bank, "program": program,
                "start": start, "end": round(start + event.seconds, 3), "level_db": round(level, 1),
            }
        )  # fmt: skip
    mixed = soxr.resample(mix, PLAYED_RATE, SAMPLE_RATE)
    if rng.random() < 0.5:
        mixed = reverberate(mixed, SAMPLE_RATE, rng.uniform(0.2, 1.4), rng.uniform(-20, -6), int(rng.integers(2**31)))
    gain = min(10 ** (rng.uniform(-30, -16) / 20), HIGHEST_PEAK / float(np.abs(mixed).max()))
    hiss = np.float32(gain * 10 ** (rng.uniform(-60, -40) / 20))
    return mixed * np.float32(gain) + hiss * rng.standard_normal(len(mixed), dtype=np.float32), told


def encode(audio: np.ndarray, serial: int) -> bytes:
    """Ogg Vorbis file of a clip, whose bytes depend on nothing but the samples.

    Parameters
    ----------
    audio
        Shape (160000,), float32 at 16 kHz.
    serial
        The stream's serial number.

    Returns
    -------
    bytes
        The file.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    return synth.with_serial(buffer.getvalue(), serial)


def _come_and_go(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Faded in over up to a tenth of a second, or a second now and then, and out over up to half a second."""
    rise = round(float(rng.choice([0.0, rng.uniform(0, 0.1), rng.uniform(0, 1.0)], p=[0.5, 0.3, 0.2])) * PLAYED_RATE)
    fall = round(float(rng.uniform(0.01, 0.5)) * PLAYED_RATE)
    audio[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    audio[len(audio) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return audio


def _write_chunk(task: tuple[Path, int, list[Clip]]) -> list[tuple[str, str, list[dict]]]:
    """Render clips and write their files; give each one's path, MD5 and events."""
    folder, seed, clips = task
    results = []
    for clip in clips:
        audio, told = render_clip(clip, seed)
        name, ogg = f"audio/{clip.key}.ogg", encode(audio, clip.number + 1)
        write_bytes(folder, {name: ogg})
        results.append((name, hashlib.md5(ogg, usedforsecurity=False).hexdigest(), told))
    return results


def _write_tree(folder: Path, parameters: dict, jobs: int | None) -> None:
    size, seed = parameters["size"], parameters["seed"]
    clips = draw_clips(size, seed)
    evaluation = draw_eval(clips, seed)
    tasks = [(folder, seed, clips[start : start + CHUNK]) for start in range(0, size, CHUNK)]
    done = parallel_map(_write_chunk, tasks, description=f"rendering {size:,} clips", jobs=jobs, timeout=TIMEOUT)
    results = [one for chunk in done for one in chunk]
    write_checksums(folder, {name: md5 for name, md5, _ in results})
    rows = "".join(f'{number},{mid},"{name}"\n' for number, (name, mid) in enumerate(CLASSES.items()))
    table = pd.DataFrame([event for _, _, told in results for event in told])
    train = [clip for clip, chosen in zip(clips, evaluation, strict=True) if not chosen]
    write_bytes(
        folder,
        {
            "class_labels_indices.csv": f"index,mid,display_name\n{rows}".encode(),
            "balanced_train_segments.csv": _segments(train),
            "eval_segments.csv": _segments([clips[row] for row in np.flatnonzero(evaluation)]),
            "README.md": README.format(classes=len(CLASSES)).encode(),
            "ground_truth/events.csv": table.to_csv(index=False, lineterminator="\n").encode(),
        },
    )
    write_manifest(
        folder,
        version=RENDERER_VERSION,
        parameters=parameters,
        suffixes=(".csv", ".md"),
        clips=size,
        train_clips=len(train),
        events=len(table),
        events_per_clip=len(table) / size,
        clips_without_music=sum("Music" not in clip.classes for clip in clips),
        share_of_train={name: sum(name in clip.classes for clip in train) / len(train) for name in CLASSES},
        sample_rate=SAMPLE_RATE,
        soundfont={"name": SOUNDFONT.name, "sha256": sha256_of(SOUNDFONT)},
    )


def _segments(clips: list[Clip]) -> bytes:
    """A table of segments as AudioSet publishes it."""
    labels = sum(len(clip.classes) for clip in clips)
    unique = len({name for clip in clips for name in clip.classes})
    lines = [
        "# Segments csv created by Reprise",
        f"# num_ytids={len(clips)}, num_segs={len(clips)}, num_unique_labels={unique}, num_positive_labels={labels}",
        "# YTID, start_seconds, end_seconds, positive_labels",
    ]
    for clip in clips:
        mids = ",".join(CLASSES[name] for name in clip.classes)
        lines.append(f'{clip.ytid}, {clip.start}.000, {clip.start + 10}.000, "{mids}"')
    return ("\n".join(lines) + "\n").encode()


RENDERER = Renderer(
    "audioset", version=RENDERER_VERSION, default_size=DEFAULT_SIZE, smallest=SMALLEST, write=_write_tree
)
folder_name, render = RENDERER.folder_name, RENDERER.render
