"""Which tracks the pocket twin of GTZAN has: whose, which faults are planted, and in which parts the sound ones are."""

from dataclasses import dataclass, replace

import numpy as np

from harness.corpora.gtzan_filtered import GENRES, PARTS, track_key
from harness.corpora.pocket.artists import FAULT, PLAN
from harness.corpora.pocket.clip import stream
from harness.corpora.pocket.studio import RATE

#: Share of the tracks that are faulty; from this size on every kind is there.
FAULTY, ALL_KINDS = 0.04, 100
#: Kinds of faults in the order in which they are planted. ``repetition``: the audio of the track `other` under another
#: number. ``distortion``: `other` is how, one of `DISTORTIONS`. ``conflict``: the audio of `other`, a track of another
#: genre. ``near_repetition``: the recording of `other` from another offset, at another level, with more noise.
#: ``mislabelling``: composed by the rules of the genre `other`.
KINDS = ("repetition", "distortion", "conflict", "near_repetition", "mislabelling")
DISTORTIONS = ("clipping", "static")
#: Of near repetitions: dB that they are louder, and their noise in dB beside the music.
WORSE = ((-6.0, -2.0), (-34.0, -26.0))
#: Tracks of an artist, more or less, and the parts' shares of the tracks (those of 443, 197 and 290 in 930).
PER_ARTIST = 4
SHARES = {"train": 0.48, "valid": 0.21, "test": 0.31}
#: Samples: the commonest published length, and the shortest and the longest.
LENGTH, LENGTHS = 661_794, (660_000, 675_808)


@dataclass(frozen=True)
class Clip:
    """A track of the plan.

    Parameters
    ----------
    key, genre
        Under which name, and in which genre's folder, it stands.
    artist, plays
        The number of who recorded it, and the genre whose rules they follow.
    recording
        Its number: tracks of one number are one recording.
    first, samples
        The excerpt, at 22,050 Hz.
    fault, other
        Kind and what it refers to, see `KINDS`; empty of a sound track.
    copied
        Of a near repetition, as of `harness.corpora.pocket.artists.record`.
    """

    key: str
    genre: str
    artist: int
    plays: str
    recording: int
    first: int
    samples: int
    fault: str = ""
    other: str = ""
    copied: tuple[float, float] | None = None


def draw_clips(size: int, seed: int) -> list[Clip]:
    """Plan a corpus: who records what, and which faults are planted.

    Parameters
    ----------
    size
        Number of tracks.
    seed
        Draws everything.

    Returns
    -------
    list of Clip
        Genre by genre, in the order of their numbers; an artist's tracks stand side by side.
    """
    rng = stream(seed, PLAN)
    clips, artists = [], 0
    for place, genre in enumerate(GENRES):
        count = size // len(GENRES) + (place < size % len(GENRES))
        # In a small corpus fewer tracks each, so that there is an artist or more for every part.
        who = max(min(count, 3), min(count // 2, 5), round(count / PER_ARTIST))
        cuts = np.sort(rng.choice(np.arange(1, count), who - 1, replace=False)) if who > 1 else []
        evenly = np.arange(1, who) * count / who
        # Halfway between even and random: artists have about four tracks, but not exactly.
        cuts = np.unique(np.round((np.asarray(cuts) + 3 * evenly) / 4)).astype(int)
        for number in range(count):
            samples = LENGTH if rng.random() < 0.75 else int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
            artist = artists + int(np.searchsorted(cuts, number, side="right"))
            first = int(rng.integers(0, 2 * RATE))
            clips.append(Clip(track_key(genre, number), genre, artist, genre, len(clips), first, samples))
        artists += len(cuts) + 1
    return _with_faults(clips, stream(seed, FAULT))


def draw_parts(clips: list[Clip], seed: int) -> dict[str, str]:
    """Divide the sound tracks so that no artist is in two parts, and every genre is in every part where it can be.

    Parameters
    ----------
    clips
        The plan.
    seed
        Draws which artists go where.

    Returns
    -------
    dict of str to str
        ``"train"``, ``"valid"`` or ``"test"`` by key; faulty tracks are in none.
    """
    rng = stream(seed, PLAN, 1)
    sound = [clip for clip in clips if not clip.fault]
    filled, parts = dict.fromkeys(PARTS, 0), {}
    for place, genre in enumerate(GENRES):
        artists = rng.permutation(np.unique([clip.artist for clip in sound if clip.genre == genre])).tolist()
        # Of two artists the second goes to valid and test in turn.
        wanted = ["train", *(("valid", "test") if place % 2 else ("test", "valid"))][: len(artists)]
        for artist in artists:
            short = {part: SHARES[part] * (sum(filled.values()) + 1) - count for part, count in filled.items()}
            part = wanted.pop(0) if wanted else max(PARTS, key=lambda part: short[part])
            keys = [clip.key for clip in sound if clip.artist == artist]
            filled[part] += len(keys)
            parts |= dict.fromkeys(keys, part)
    return parts


def _with_faults(clips: list[Clip], rng: np.random.Generator) -> list[Clip]:
    """The plan with faults; every artist keeps a sound track, and a track that another repeats stays sound."""
    count = round(FAULTY * len(clips))
    count = max(count, len(KINDS)) if len(clips) >= ALL_KINDS else count
    planned, spoken_for = list(clips), set()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        for i in rng.permutation(len(clips)).tolist():
            made = clips[i]
            own = [j for j, clip in enumerate(planned) if clip.artist == made.artist and j != i and not clip.fault]
            if i in spoken_for or not own:
                continue
            others = [j for j, clip in enumerate(planned) if clip.genre != made.genre and not clip.fault]
            j = int(rng.choice(own if kind.endswith("repetition") else others))
            source = planned[j]
            made = _faulty(made, source, kind, number // len(KINDS), rng)
            planned[i] = made
            # What others repeat, and what has been made faulty, is left alone from here on.
            spoken_for |= {i, j}
            break
    return planned


def _faulty(clip: Clip, source: Clip, kind: str, turn: int, rng: np.random.Generator) -> Clip:
    """A track with a fault; `source` is whom it repeats or whose music it is, where the kind has such a one."""
    made = replace(clip, fault=kind, other=source.key)
    if kind == "distortion":
        return replace(made, other=DISTORTIONS[turn % len(DISTORTIONS)])
    made = replace(made, artist=source.artist, plays=source.plays)
    if kind == "mislabelling":
        return replace(made, other=source.plays)
    made = replace(made, recording=source.recording)
    if kind == "near_repetition":
        first = source.first + round(rng.uniform(3, 6) * RATE)
        return replace(made, first=first, copied=tuple(round(float(rng.uniform(*limits)), 2) for limits in WORSE))
    return replace(made, first=source.first, samples=source.samples)
