"""One song of the pocket twin of IRMAS, from (seed, song) to samples: composition, balance, mix."""

from dataclasses import replace

import numpy as np

from harness.corpora.pocket import music, synth
from harness.corpora.pocket.clip import HIGHEST_PEAK, OFFSETS, stream
from harness.corpora.pocket.irmas_plan import GENRES, MUSIC, PARTS, PATCHES, Song
from harness.corpora.pocket.song import draw_song

#: An instrument that is a label of an excerpt sounds in at least this share of its frames, or all is composed anew.
LEAST_ACTIVE = 0.5
#: So it is where a label is more than so many dB below another in the same excerpt, or what accompanies is not at
#: least so many dB below every label.
FAINT, SOFTER = 12.0, 3.0
#: How often a song is composed at most; the last attempt is taken as it is.
ATTEMPTS = 20
#: Level in dB beside the loudest: of further labels; of what accompanies, in training and in test; of the rhythm.
EQUAL, UNDER, FAR_UNDER, RHYTHM = (-5.0, 0.0), (-15.0, -8.0), (-20.0, -14.0), (-9.0, -3.0)
#: Chance that an instrument of a mixture enters late or leaves early, and the share that it then plays.
PARTIAL, STAY = 0.35, (0.6, 0.9)


def _stays(song: Song, code: str, rng: np.random.Generator) -> list[tuple[float, float]]:
    """When one of the leads plays, in seconds: in a training song throughout, else where an excerpt has its label."""
    if song.partition == "train":
        return [(0.0, song.tenths / 10)]
    stays = []
    for excerpt in song.excerpts:
        if code in excerpt.labels:
            begin, end = excerpt.start / 10, (excerpt.start + excerpt.length) / 10
            # The first label plays throughout, so that no excerpt falls silent.
            if code != excerpt.labels[0] and rng.random() < PARTIAL:
                played = rng.uniform(*STAY) * (end - begin)
                stays.append((begin - 0.4, begin + played) if rng.random() < 0.5 else (end - played, end + 0.4))
            else:
                stays.append((begin - 0.4, end + 0.4))
    return stays


def compose(song: Song, rng: np.random.Generator) -> tuple[synth.Score, list[np.ndarray], np.ndarray]:
    """Compose a song and play its parts.

    Parameters
    ----------
    song
        Who plays where.
    rng
        Draws everything.

    Returns
    -------
    score : Score
        With every part's gain at its place in the mix; the RMS of the loudest is 1.
    dries : list of ndarray, shape (samples,), float32
        The parts as played, at gain 1 and without room.
    active : ndarray, shape (14, tenths), bool
        Where each sounds, in the order of `harness.corpora.pocket.irmas_plan.PARTS`.
    """
    genre, seconds = GENRES[song.genre], song.tenths / 10
    tune = draw_song(
        rng,
        tempo=float(rng.uniform(*genre.tempo)),
        waltz=0.15 if song.genre in ("cla", "cou_fol") else 0.0,
        minor=float(rng.choice([0.2, 0.5])),
        swing=genre.swing,
    )
    tune = replace(tune, seconds=seconds)
    written, dries, active = [], [], np.zeros((len(PARTS), song.tenths), dtype=bool)
    loudest = song.leads[rng.integers(len(song.leads))]
    far = UNDER if song.partition == "train" else FAR_UNDER
    for name in (*song.leads, *song.backing, *song.rhythm):
        patch = PATCHES[name][rng.integers(len(PATCHES[name]))]
        notes = music.IDIOMS[patch.idioms[rng.integers(len(patch.idioms))]](tune, patch, rng)
        stays = _stays(song, name, rng) if name in song.leads else [(0.0, seconds)]
        kept = [
            note._replace(
                start=max(0.0, note.start + rng.normal(0.004, 0.003)),
                length=max(0.05, min(note.length, end - note.start)),
            )
            for note in notes
            for begin, end in stays
            if begin <= note.start < end - 0.05 and note.start < seconds - 0.1
        ]
        part = synth.Part(
            instrument=name,
            preset=(patch.bank, patch.program),
            vibrato=patch.vibrato,
            courses=patch.courses,
            gain=1.0,
            pan=round(float(rng.uniform(0.3, 0.7) if name == loudest else rng.uniform(0.15, 0.85)), 3),
            notes=synth.on_milliseconds(sorted(kept)),
        )
        dry = synth.play(part, song.tenths * synth.FRAME)
        active[PARTS.index(name)] = synth.active_frames(dry)
        loud = np.sqrt((synth.frame_levels(dry)[active[PARTS.index(name)]] ** 2).mean()) if dry.any() else 1.0
        below = rng.uniform(*(EQUAL if name in song.leads else far if name in song.backing else RHYTHM))
        decibels = (0.0 if name == loudest else below) + OFFSETS.get(name, 0.0)
        written.append(replace(part, gain=float(10 ** (decibels / 20) / loud)))
        dries.append(dry)
    room = synth.Room(
        seed=int(rng.integers(2**31)),
        decay=round(float(rng.uniform(0.2, 1.2)), 3),
        wet=round(float(rng.uniform(-24, -12)), 2),
        dull=round(float(rng.uniform(0.2, 0.8)), 3),
    )
    return synth.Score(tuple(written), room, int(rng.integers(2**31)), 0.0), dries, active


def mix_parts(score: synth.Score, dries: list[np.ndarray]) -> np.ndarray:
    """Sum of what `harness.corpora.pocket.synth.place` makes of the parts.

    As all parts are in one room, its answer is that to their sum, which saves most of the transforms.

    Parameters
    ----------
    score, dries
        From `compose`.

    Returns
    -------
    ndarray, shape (2, samples), float32
        Left and right.
    """
    scaled = [dry * np.float32(part.gain) for dry, part in zip(dries, score.parts, strict=True)]
    together = np.sum(scaled, axis=0)
    mix = synth.place(together, replace(score.parts[0], gain=1.0, pan=0.0), score.room)
    mix[0] -= together  # of a part that stands on the far left
    for dry, part in zip(scaled, score.parts, strict=True):
        angle = np.pi / 2 * part.pan
        mix[0] += np.float32(np.cos(angle)) * dry
        mix[1] += np.float32(np.sin(angle)) * dry
    return mix


def is_as_labelled(song: Song, score: synth.Score, dries: list[np.ndarray], active: np.ndarray) -> bool:
    """Whether one hears in every excerpt what its labels say.

    Parameters
    ----------
    song
        Whose excerpts and labels.
    score, dries, active
        From `compose`.

    Returns
    -------
    bool
        Whether all labels sound for `LEAST_ACTIVE` of it, none is `FAINT` dB below another, and what accompanies is
        `SOFTER` dB below them all.
    """
    levels = {
        part.instrument: (np.float64(part.gain) * synth.frame_levels(dry)) ** 2
        for part, dry in zip(score.parts, dries, strict=True)
    }
    for excerpt in song.excerpts:
        frames = slice(excerpt.start, excerpt.start + excerpt.length)
        here = {name: 10 * np.log10(some[frames].mean() + 1e-12) for name, some in levels.items()}
        faintest, loudest = (choose(here[code] for code in excerpt.labels) for choose in (min, max))
        if faintest < loudest - FAINT or any(here[code] > faintest - SOFTER for code in song.backing):
            return False
        if min(active[PARTS.index(code), frames].mean() for code in excerpt.labels) < LEAST_ACTIVE:
            return False
    return True


def render_song(seed: int, song: Song) -> tuple[synth.Score, np.ndarray, np.ndarray]:
    """Compose, play and mix a song.

    Parameters
    ----------
    seed
        The corpus' seed; with the song it determines everything.
    song
        From `harness.corpora.pocket.irmas_plan.draw_songs`.

    Returns
    -------
    score : Score
        From which `stem` renders its parts again.
    audio : ndarray, shape (samples, 2), float32
        Peak at most about 0.85.
    active : ndarray, shape (14, tenths), bool
        Where each part sounds.
    """
    for attempt in range(ATTEMPTS):
        rng = stream(seed, MUSIC, song.number, attempt)
        score, dries, active = compose(song, rng)
        if is_as_labelled(song, score, dries, active):
            break
    mix = mix_parts(score, dries)
    level, peak = float(np.sqrt((mix**2).mean())), float(np.abs(mix).max())
    master = min(10 ** (rng.uniform(-24, -15) / 20) / level, HIGHEST_PEAK / peak)
    score = replace(
        score,
        parts=tuple(replace(part, gain=part.gain * master) for part in score.parts),
        noise=float(level * master * 10 ** (rng.uniform(-60, -44) / 20)),
    )
    return score, (mix * np.float32(master) + synth.noise(score, mix.shape[1])).T, active
