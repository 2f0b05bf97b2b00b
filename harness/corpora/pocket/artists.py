"""Artists of ten genres, and what they record: drawn from a genre's rules, each with a sound of their own."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from harness.corpora.gtzan_filtered import GENRES
from harness.corpora.pocket import music, patterns, studio, synth
from harness.corpora.pocket.clip import stream
from harness.corpora.pocket.genres import MARKS, ROLES, RULES, Sound
from harness.corpora.pocket.instruments import DRUM_BANK
from harness.corpora.pocket.song import Note
from harness.corpora.pocket.studio import Production, Recording
from harness.corpora.pocket.synth import Part, Room, Score

#: First words of the seed sequences, so that no two purposes share a stream.
PLAN, ARTIST, TRACK, FAULT = range(20, 24)
#: Seconds that are composed: an excerpt may begin late in a recording.
COMPOSED = 40.0
#: Probabilities that a track borrows a part, and its production, from another genre; and that chords have two layers.
BORROWED, ELSEWHERE, LAYERED = 0.2, 0.12, 0.25
#: dB by which the roles of a track and of an artist may stray from the genre's balance.
BALANCE = 2.0

_FIRST = ("Amber", "Bram", "Cleo", "Dario", "Edda", "Floyd", "Greta", "Hollis", "Ines", "Jonah", "Kaya", "Lyle", "Mona")
_LAST = ("Ashby", "Brandt", "Corso", "Dunne", "Ekholm", "Falk", "Grove", "Harrow", "Imber", "Jansen", "Kerr", "Lund")


@dataclass(frozen=True)
class Artist:
    """What the tracks of one artist have in common.

    Parameters
    ----------
    number
        Tells artists apart; with the corpus's seed it determines the rest.
    name, genre
        Who, and of which genre.
    tempo, swing, metre
        Usual beats per minute, and what they always keep.
    kit, grooves
        Their drummer's.
    sounds
        By role the one or two instruments that they own.
    balance
        By role, dB beside the genre's.
    room, production
        Where and how they record; `production` is without threshold and level.
    hiss, loudness
        dB beside the music, and re full scale.
    """

    number: int
    name: str
    genre: str
    tempo: float
    swing: float
    metre: int
    kit: int
    grooves: tuple[str, ...]
    sounds: dict[str, tuple[Sound, ...]]
    balance: dict[str, float]
    room: Room
    production: Production
    hiss: float
    loudness: float


def draw_artist(seed: int, number: int, genre: str) -> Artist:
    """Draw an artist.

    Parameters
    ----------
    seed
        The corpus's seed.
    number
        The artist's, from 0.
    genre
        Whose rules.

    Returns
    -------
    Artist
    """
    rng, rules = stream(seed, ARTIST, number), RULES[genre]
    metre = 3 if rng.random() < rules.waltz else 4
    sounds = {}
    for role in ROLES[1:]:
        fitting = [s for s in getattr(rules, role) if _fitting(s.patch.idioms, metre)]
        sounds[role] = tuple(fitting[i] for i in rng.permutation(len(fitting))[:2])
    grooves = [name for name in rules.grooves if _metre(next(iter(patterns.GROOVES[name][0].values()))) == metre]
    room = Room(
        seed=int(rng.integers(2**31)),
        decay=_between(rng, rules.room[0]),
        wet=_between(rng, rules.room[1]),
        dull=round(float(rng.uniform(0.2, 0.8)), 3),
    )
    production = Production(
        low_cut=_between(rng, rules.band[0]),
        high_cut=_between(rng, rules.band[1]),
        tilt=_between(rng, rules.tilt),
        echo=(round(float(rng.uniform(0.12, 0.45)), 3), round(float(rng.uniform(-40, -12)), 2)),
        ratio=_between(rng, rules.squash),
    )
    return Artist(
        number=number,
        # Two words and a number: there may be more artists than names.
        name=f"{_FIRST[number % len(_FIRST)]} {_LAST[number // 13 % len(_LAST)]}"
        + (f" {number // 156 + 1}" if number >= 156 else ""),
        genre=genre,
        tempo=_between(rng, rules.tempo),
        swing=_between(rng, rules.swing),
        metre=metre,
        kit=int(rng.choice(rules.kits)),
        grooves=tuple(str(name) for name in rng.permutation(grooves)[:2]),
        sounds=sounds,
        balance={role: float(rng.normal(0, BALANCE)) for role in ROLES},
        room=room,
        production=production,
        hiss=_between(rng, rules.hiss),
        loudness=_between(rng, rules.loudness),
    )


def record(
    seed: int, number: int, artist: Artist, *, first: int, samples: int, copied: tuple[float, float] | None = None
) -> tuple[Recording, np.ndarray, dict]:
    """Compose a track and record it.

    Parameters
    ----------
    seed
        The corpus's seed.
    number
        The recording's; with the seed and the artist it determines what is played.
    artist
        Whose.
    first, samples
        Where the excerpt begins, and how long it is, at 22,050 Hz.
    copied
        Of a bad copy: dB that it is louder, and its noise in dB beside the music.

    Returns
    -------
    recording : Recording
        From which parts can be heard again.
    audio : ndarray, shape (samples,), float32
        The excerpt.
    told : dict
        ``tempo``, ``metre``, ``parts`` (by role the presets), ``marking`` (the genre's marking part) and what was
        ``borrowed`` from which genre, by role; fit for JSON.
    """
    rng = stream(seed, TRACK, number)
    genre = RULES[artist.genre]
    marking = MARKS[artist.genre][0]
    song = _song(artist, rng)
    guest, borrowed = _guest(seed, number, artist, marking, rng)
    present = [
        role for role in ROLES if role == marking or role in borrowed or rng.random() >= genre.without.get(role, 0.0)
    ]
    if not artist.grooves and "drums" not in borrowed:
        present = [role for role in present if role != "drums"]
    stays = _stays(song, present, marking, rng)
    parts, drives, until = [], [], (first + samples) / studio.RATE
    mix = np.zeros(2 * (first + samples), np.float32)
    for role in present:
        player = guest if role in borrowed else artist
        for layer, (sound, preset, notes) in enumerate(_parts(song, role, player, rng)):
            heard = _heard(notes, stays[role], until, rng)
            if not heard:
                continue
            vibrato = sound.patch.vibrato if sound else 0.0
            part = Part(role, preset, vibrato, 1, 1.0, 0.5, synth.on_milliseconds(heard))
            level = genre.levels[role] + artist.balance[role] + rng.normal(0, BALANCE) - 5.0 * layer
            drive = sound.drive if sound else 0.0
            dry = studio.dry(part, drive, len(mix))
            gain = float(0.1 * 10 ** (level / 20) / max(studio.loudness(dry), 1e-9))
            parts.append(dataclasses.replace(part, gain=gain))
            drives.append(drive)
            mix += np.float32(gain) * dry
    made = guest if "production" in borrowed else artist
    noise, louder = int(rng.integers(2**31)), float(rng.normal(0, 1.0))
    hiss = made.hiss
    if copied:
        noise, louder, hiss = noise ^ 1, louder + copied[0], copied[1]
    recording = Recording(Score(tuple(parts), made.room, noise, 0.0), tuple(drives), made.production, first, samples)
    recording, audio = studio.levelled(recording, mix, made.loudness + louder, hiss)
    told = {
        "tempo": song.tempo,
        "metre": song.metre,
        "parts": {role: [list(p.preset) for p in parts if p.instrument == role] for role in ROLES},
        "marking": marking,
        "borrowed": borrowed,
    }
    return recording, audio, told


def _between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return round(float(rng.uniform(*limits)), 3)


def _metre(rhythm: str) -> int:
    """Beats of the bar that a rhythm fills."""
    return 3 if len(rhythm) in (6, 12) else 4


def _idiom(name: str):
    """The function of this name; None of a rhythm."""
    return {"chant": patterns.chant, "runs": patterns.runs, "licks": patterns.licks}.get(name) or music.IDIOMS.get(name)


def _fitting(idioms: tuple[str, ...], metre: int) -> list[str]:
    return [name for name in idioms if _idiom(name) or _metre(name) == metre]


def _song(artist: Artist, rng: np.random.Generator) -> patterns.Tune:
    changes, melodic = RULES[artist.genre].changes[rng.integers(len(RULES[artist.genre].changes))]
    return patterns.Tune(
        tempo=round(float(artist.tempo * rng.uniform(0.9, 1.1)), 1),
        metre=artist.metre,
        tonic=int(rng.integers(12)),
        scale="major",
        progression=(0,),
        sevenths=False,
        swing=artist.swing,
        seconds=COMPOSED,
        changes=patterns.chords(changes),
        melodic=melodic,
    )


def _guest(
    seed: int, number: int, artist: Artist, marking: str, rng: np.random.Generator
) -> tuple[Artist | None, dict[str, str]]:
    """Someone of another genre and the same metre, and what of theirs is used: a role, or ``production``."""
    part, elsewhere = rng.random() < BORROWED, rng.random() < ELSEWHERE
    other = str(rng.choice([name for name in GENRES if name != artist.genre]))
    guest = draw_artist(seed, 1_000_000 + number, other)
    role = str(rng.choice([role for role in ROLES if role != marking]))
    borrowed = {}
    if part and guest.metre == artist.metre and (role != "drums" or guest.grooves):
        borrowed[role] = other
    if elsewhere:
        borrowed["production"] = other
    return guest, borrowed


def _parts(
    song: patterns.Tune, role: str, player: Artist, rng: np.random.Generator
) -> list[tuple[Sound | None, tuple[int, int], list[Note]]]:
    """Instrument, preset and notes of each layer of a role."""
    if role == "drums":
        grooves = patterns.GROOVES[player.grooves[rng.integers(len(player.grooves))]]
        return [(None, (DRUM_BANK, player.kit), patterns.drums(song, list(grooves), float(rng.uniform(0.2, 0.9)), rng))]
    owned = list(player.sounds[role])
    chosen = [owned.pop(int(rng.integers(len(owned))))]
    if role == "chords" and owned and rng.random() < LAYERED:
        chosen += owned
    found = []
    for sound in chosen:
        names = _fitting(sound.patch.idioms, song.metre)
        name = names[rng.integers(len(names))]
        if idiom := _idiom(name):
            notes = idiom(song, sound.patch, rng)
        else:
            turn = names[rng.integers(len(names))]
            rhythms = [name, name if _idiom(turn) else turn]
            notes = patterns.played(
                song, sound.patch, rhythms, rng, legato=sound.legato, voices=int(rng.integers(3, 5))
            )
        found.append((sound, (0, sound.patch.program), notes))
    return found


def _stays(
    song: patterns.Tune, present: list[str], marking: str, rng: np.random.Generator
) -> dict[str, list[tuple[float, float]]]:
    """When each role plays, in seconds; somebody always does.

    The marking part rests for two bars at most; while it does, all others play. Of these one, drawn, never rests.
    """
    bar, whole = song.metre * 60 / song.tempo, [(0.0, COMPOSED)]
    others = [role for role in present if role != marking]
    stays = dict.fromkeys(present, whole)
    if not others:
        return stays
    if rng.random() < 0.4:
        begin = bar * round(rng.uniform(4, 20) / bar)
        stays[marking] = [(0.0, begin), (begin + min(2 * bar, 6.0), COMPOSED)]
        return stays
    anchor = others[rng.integers(len(others))]
    for role in others:
        kind = rng.random()
        if role == anchor or kind < 0.4:
            continue
        at = bar * round(rng.uniform(3, 12) / bar)
        if kind < 0.65:
            stays[role] = [(at, COMPOSED)]
        elif kind < 0.8:
            stays[role] = [(0.0, at + 14.0)]
        else:
            stays[role] = [(0.0, at), (at + max(bar, 4.0), COMPOSED)]
    return stays


def _heard(notes: list[Note], stays: list[tuple[float, float]], until: float, rng: np.random.Generator) -> list[Note]:
    """Notes that begin while their part plays, a little early or late, as people play."""
    found = []
    for note in notes:
        start = max(0.0, note.start + rng.normal(0.002, 0.004))
        if start < until - 0.1 and any(a - 0.02 <= note.start < b - 0.02 for a, b in stays):
            found.append(note._replace(start=start))
    return sorted(found)
