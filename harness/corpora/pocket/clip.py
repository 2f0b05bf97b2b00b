"""One clip of the pocket twin, from (seed, clip number) to samples: taste, composition, balance."""

from dataclasses import dataclass, replace

import numpy as np

from harness.corpora.pocket import music, synth
from harness.corpora.pocket.instruments import CATALOGUE, Patch
from harness.corpora.pocket.song import draw_song
from harness.corpora.pocket.synth import Part, Room, Score

#: First words of the seed sequences, so that no two purposes share a stream.
PLAN, TASTE, CLIP, LABELS, SPLIT, NAMES = range(6)
#: An instrument that sounds in fewer than this share of a clip's frames is composed anew.
LEAST_ACTIVE = 0.4
#: Largest amplitude of the music: leaves room for the noise and for what the codec adds.
HIGHEST_PEAK = 0.83
#: Equal RMS is not equal prominence: dB beside the other instruments.
OFFSETS = {"cymbals": -4.0, "drums": -2.0, "bass": 1.0}


def stream(*words: int) -> np.random.Generator:
    """Independent random stream named by whole numbers: the seed, the purpose, and what else distinguishes it."""
    return np.random.default_rng(np.random.SeedSequence(words))


@dataclass(frozen=True)
class Taste:
    """What the clips of one artist have in common.

    Parameters
    ----------
    tempo, waltz, minor, swing
        As in `harness.corpora.pocket.song.draw_song`.
    room
        Where they record.
    loudness
        RMS level in dB re full scale they aim at.
    noise
        Level of the noise in dB beside the music.
    patches
        The patches they own per class: one or two.
    """

    tempo: float
    waltz: float
    minor: float
    swing: float
    room: Room
    loudness: float
    noise: float
    patches: dict[str, tuple[Patch, ...]]


def taste(seed: int, artist: int) -> Taste:
    """Draw an artist's taste.

    Parameters
    ----------
    seed
        The corpus' seed.
    artist
        The artist's number, from 0.

    Returns
    -------
    Taste
    """
    rng = stream(seed, TASTE, artist)
    return Taste(
        tempo=float(rng.uniform(72, 148)),
        waltz=float(rng.choice([0.0, 0.2, 0.7], p=[0.5, 0.35, 0.15])),
        minor=float(rng.uniform(0.1, 0.8)),
        swing=float(rng.choice([0.5, 0.6, 0.66], p=[0.7, 0.15, 0.15])),
        room=Room(
            seed=int(rng.integers(2**31)),
            decay=round(float(rng.uniform(0.2, 1.2)), 3),
            wet=round(float(rng.uniform(-24, -12)), 2),
            dull=round(float(rng.uniform(0.2, 0.8)), 3),
        ),
        loudness=float(rng.uniform(-24, -17)),
        noise=float(rng.uniform(-58, -44)),
        patches={
            name: tuple(patches[i] for i in rng.permutation(len(patches))[:2]) for name, patches in CATALOGUE.items()
        },
    )


def _compose(liking: Taste, instruments: tuple[str, ...], rng: np.random.Generator) -> tuple[Score, list[np.ndarray]]:
    """A score with every part's gain at its place in the mix (the loudest RMS is 1), and the parts as played."""
    song = draw_song(rng, tempo=liking.tempo, waltz=liking.waltz, minor=liking.minor, swing=liking.swing)
    patches = [liking.patches[name][rng.integers(len(liking.patches[name]))] for name in instruments]
    parts, dries = [], []
    for order, (name, patch, notes) in enumerate(
        zip(instruments, patches, music.arrange(song, patches, rng), strict=True)
    ):
        part = Part(
            instrument=name,
            preset=(patch.bank, patch.program),
            vibrato=patch.vibrato,
            courses=patch.courses,
            gain=1.0,
            pan=round(float(rng.uniform(0.35, 0.65) if len(instruments) == 1 else rng.uniform(0.15, 0.85)), 3),
            notes=synth.on_milliseconds(notes),
        )
        dry = synth.play(part)
        levels = synth.frame_levels(dry)
        loud = np.sqrt((levels[synth.active_frames(dry)] ** 2).mean())
        below = 0.0 if order == 0 else rng.uniform(-6, 0)
        parts.append(replace(part, gain=float(10 ** ((below + OFFSETS.get(name, 0.0)) / 20) / loud)))
        dries.append(dry)
    return Score(tuple(parts), liking.room, int(rng.integers(2**31)), 0.0), dries


def render_clip(
    seed: int, number: int, artist: int, instruments: tuple[str, ...]
) -> tuple[Score, np.ndarray, dict[str, np.ndarray]]:
    """Compose, play and mix a clip.

    Parameters
    ----------
    seed
        The corpus' seed.
    number
        The clip's number; with the seed it determines everything but who plays.
    artist
        Whose taste.
    instruments
        Classes that sound; the order matters little (the first is the loudest).

    Returns
    -------
    score : Score
        From which `stem` and this clip can be rendered again.
    audio : ndarray, shape (441000, 2), float32
        Peak at most about 0.85.
    active : dict of str to ndarray, shape (100,), bool
        Where each instrument sounds, per tenth of a second.
    """
    liking = taste(seed, artist)
    for attempt in range(20):  # the second attempt is rarely needed, the third hardly ever
        rng = stream(seed, CLIP, number, attempt)
        score, dries = _compose(liking, instruments, rng)
        placed = [synth.place(dry, part, score.room) for dry, part in zip(dries, score.parts, strict=True)]
        active = {
            part.instrument: synth.active_frames(stereo.mean(axis=0))
            for part, stereo in zip(score.parts, placed, strict=True)
        }
        if min(frames.mean() for frames in active.values()) >= LEAST_ACTIVE:
            break
    mix = np.sum(placed, axis=0)
    loudness = 10 ** ((liking.loudness + rng.uniform(-3, 3)) / 20)
    level, peak = float(np.sqrt((mix**2).mean())), float(np.abs(mix).max())
    master = min(loudness / level, HIGHEST_PEAK / peak)
    score = replace(
        score,
        parts=tuple(replace(part, gain=part.gain * master) for part in score.parts),
        noise=float(level * master * 10 ** ((liking.noise + rng.uniform(-3, 3)) / 20)),
    )
    return score, (mix * np.float32(master) + synth.noise(score)).T, active


def stem(score: Score, instrument: str) -> np.ndarray:
    """One instrument as it stands in the clip, channels averaged.

    Parameters
    ----------
    score
        From `render_clip`.
    instrument
        One that plays in it.

    Returns
    -------
    ndarray, shape (441000,), float32
        The stems of all instruments and `synth.noise` add up to the channels' mean before encoding.
    """
    part = next(part for part in score.parts if part.instrument == instrument)
    return synth.place(synth.play(part), part, score.room).mean(axis=0)
