"""The players of the pocket twin of TinySOL: who they are, and how one of their notes sounds.

A player is a General MIDI program, the resonances of an instrument of its own, a habit of vibrato, and a session with
its room and its hiss. What differs from note to note, though pitch and dynamic be the same, is a `Take`. Lengths and
onsets do not depend on the class, so that nothing can be told from them.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.signal import butter, lfilter

from harness.corpora.orchestra import midi_key
from harness.corpora.pocket.soundfont import HIGHEST, SAMPLE_RATE, held_note, release

#: Of each class at least; one for each of its programs.
PLAYERS = 2
#: Peak of a note in dB re full scale, and its MIDI velocity, by dynamic.
LEVELS = {"pp": -31.0, "p": -24.0, "mf": -17.0, "f": -11.0, "ff": -6.0}
VELOCITIES = {"pp": 34, "p": 52, "mf": 76, "f": 100, "ff": 122}
#: How much brighter a note is for each dynamic above mezzo-forte, in dB per octave above 500 Hz.
BRIGHTER = 1.2
#: Where resonances are told, in Hz, and their standard deviations in dB: of what sets a player's instrument apart, and
#: each of its notes.
OCTAVES = 62.5 * 2.0 ** np.arange(9)
BODY, TAKE = 3.0, 1.5
#: Range of the hiss of a player's session in dB re full scale.
HISS = (-88.0, -76.0)
#: Samples before the room's answer, and of a transform that holds every note and the answer.
DELAY, TRANSFORM = round(0.008 * SAMPLE_RATE), 150_000
FADE = round(0.02 * SAMPLE_RATE)
LONGEST = 2.75  # seconds, so that a copy a semitone lower has less than 3
SHORTEST = 1.1


@dataclass(frozen=True)
class Voice:
    """What a class plays, and on what.

    Parameters
    ----------
    notes
        Its share of the corpus, as a number of 1,301 (thesis, Table 1).
    low, high
        Names of the lowest and the highest pitch (thesis, Table 1).
    dynamics
        From the softest to the loudest (thesis, Table 1).
    programs
        General MIDI programs, counted from 0, and the keys where each sounds like the instrument.
    vibrato
        Largest depth in cents.
    air
        The bow's or the breath's noise: level in dB beside the tone, lowest and highest frequency in Hz.
    """

    notes: int
    low: str
    high: str
    dynamics: tuple[str, ...]
    programs: dict[int, tuple[int, int]]
    vibrato: float
    air: tuple[float, float, float]

    @property
    def keys(self) -> range:
        """All pitches as MIDI keys."""
        return range(midi_key(self.low), midi_key(self.high) + 1)


#: Beside the violin the fiddle; beside the flute the piccolo, the recorder and the pan flute; beside the oboe the
#: English horn and the shanai; beside the trumpet the muted one. General MIDI has one cello, double bass and tuba.
VOICES = {
    "violin": Voice(200, "G3", "G#7", ("pp", "p", "mf", "f"), {40: (0, 127), 110: (0, 88)}, 20, (-38, 1500, 5000)),
    "cello": Voice(200, "C2", "C#6", ("pp", "p", "mf", "f"), {42: (0, 127)}, 15, (-38, 500, 2000)),
    "double_bass": Voice(185, "E1", "E4", ("pp", "p", "mf", "f", "ff"), {43: (0, 127)}, 10, (-36, 200, 1000)),
    "flute": Voice(
        156, "C4", "D7", ("p", "mf"), {73: (0, 127), 74: (67, 98), 72: (79, 98), 75: (60, 88)}, 15, (-32, 700, 5500)
    ),
    "oboe": Voice(
        170, "A#3", "G6", ("p", "mf", "f"), {68: (0, 127), 69: (0, 79), 111: (62, 86)}, 12, (-46, 2500, 5500)
    ),
    "trumpet": Voice(210, "F#3", "G#5", ("pp", "p", "mf", "f"), {56: (0, 127), 59: (0, 127)}, 8, (-44, 1000, 3000)),
    "tuba": Voice(180, "F1", "F4", ("p", "mf", "f", "ff"), {58: (0, 127)}, 6, (-42, 100, 600)),
}


@dataclass(frozen=True)
class Player:
    """Who plays.

    Parameters
    ----------
    program, low, high
        General MIDI program, and the keys it is used for.
    body
        Resonances of the instrument in dB at `OCTAVES`.
    vibrato
        Depth in cents.
    room, decay, wet
        Of the room: seed of its reflections, reverberation time (fall by 60 dB) in seconds, and level of its answer in
        dB beside the sound.
    noise, dull
        Of the hiss: RMS in dB re full scale, and coefficient of the low-pass on it, 0 to 1.
    """

    program: int
    low: int
    high: int
    body: tuple[float, ...]
    vibrato: float
    room: int
    decay: float
    wet: float
    noise: float
    dull: float


@dataclass(frozen=True)
class Take:
    """How a note was played and recorded.

    Parameters
    ----------
    player
        Which of its class.
    velocity
        1 to 127.
    level
        Peak in dB re full scale.
    detune, vibrato
        In cents.
    lead, attack, held
        Seconds of silence before the note, of its rise and until it is let go.
    seconds
        Length of the file.
    noise
        RMS of the hiss in dB re full scale.
    air
        How much louder bow or breath is than usual, in dB.
    body
        Change to the player's resonances in dB.
    seed
        Draws the hiss.
    """

    player: int
    velocity: int
    level: float
    detune: float
    vibrato: float
    lead: float
    attack: float
    held: float
    seconds: float
    noise: float
    air: float
    body: tuple[float, ...]
    seed: int


def draw_players(seed: int) -> dict[str, tuple[Player, ...]]:
    """Who plays.

    Parameters
    ----------
    seed
        The corpus' seed.

    Returns
    -------
    dict of str to tuple of Player
        By class: one for each of its programs, and at least `PLAYERS`.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    players = {}
    for instrument, voice in VOICES.items():
        programs = itertools.islice(itertools.cycle(voice.programs), max(PLAYERS, len(voice.programs)))
        players[instrument] = tuple(
            Player(
                *(program, *voice.programs[program]),
                body=_decibels(rng, BODY),
                vibrato=round(float(voice.vibrato * rng.uniform(0, 1)), 2),
                room=int(rng.integers(2**31)),
                decay=round(float(rng.uniform(0.15, 0.6)), 3),
                wet=round(float(rng.uniform(-24, -13)), 2),
                noise=round(float(rng.uniform(*HISS)), 2),
                dull=round(float(rng.uniform(0, 0.98)), 3),
            )
            for program in programs
        )
    return players


def draw_take(players: tuple[Player, ...], pitch: int, dynamic: str, rng: np.random.Generator) -> Take:
    """How a note is played: by one of those who can reach it.

    Parameters
    ----------
    players
        Those of its class.
    pitch
        MIDI key.
    dynamic
        One of `LEVELS`.
    rng
        What it is drawn with.

    Returns
    -------
    Take
    """

    def between(low: float, high: float, digits: int = 3) -> float:
        return round(float(rng.uniform(low, high)), digits)

    player = int(rng.choice([i for i, one in enumerate(players) if one.low <= pitch <= one.high]))
    lead, held = between(0.02, 0.3), between(0.25, 1.3)
    # Most files are short, as a corpus of some thousand notes is to be small.
    seconds = SHORTEST + (LONGEST - SHORTEST) * float(rng.random()) ** 3
    return Take(
        player=player,
        velocity=int(np.clip(VELOCITIES[dynamic] + rng.integers(-6, 7), 1, 127)),
        level=round(LEVELS[dynamic] + between(-2.5, 2.5), 2),
        detune=round(float(np.clip(rng.normal(0, 7), -20, 20)), 2),
        vibrato=round(players[player].vibrato * between(0.5, 1.5), 2),
        lead=lead,
        attack=round(float(np.exp(rng.uniform(np.log(0.003), np.log(0.09)))), 4),
        held=held,
        seconds=round(max(seconds, min(LONGEST, lead + held + 0.25)), 3),
        noise=round(players[player].noise + between(-1.5, 1.5), 2),
        air=between(-4, 4, 2),
        body=_decibels(rng, TAKE),
        seed=int(rng.integers(2**31)),
    )


def play(instrument: str, player: Player, take: Take, pitch: int, dynamic: str) -> np.ndarray:
    """Play and record one note.

    Parameters
    ----------
    instrument
        The class.
    player, take
        Who and how.
    pitch
        MIDI key.
    dynamic
        One of `LEVELS`.

    Returns
    -------
    ndarray, shape (samples,), float32
        Mono at 44.1 kHz, ``take.seconds`` long.
    """
    samples = round(take.seconds * SAMPLE_RATE)
    begin, held = round(take.lead * SAMPLE_RATE), round(take.held * SAMPLE_RATE)
    # The sampler's highest key is C7: what lies above is that key's sample, tuned up.
    key = min(pitch, HIGHEST)
    preset = (0, player.program)
    fade = release(preset, key)
    dry = held_note(
        preset,
        key,
        min(held + len(fade), samples - begin),
        velocity=take.velocity,
        detune=take.detune + 100.0 * (pitch - key),
        vibrato=take.vibrato,
    )
    dry += _air(instrument, take, len(dry)) * np.sqrt(np.square(dry).mean())
    dry[held:] *= fade[: max(0, len(dry) - held)]
    rising = round(take.attack * SAMPLE_RATE)
    dry[:rising] *= np.float32(0.5) - np.float32(0.5) * np.cos(np.linspace(0, np.pi, rising, dtype=np.float32))
    bright = BRIGHTER * (list(LEVELS).index(dynamic) - 2) * np.maximum(0, np.log2(OCTAVES / 500))
    decibels = np.add(player.body, take.body) + bright
    gain = np.interp(_places(), np.arange(len(OCTAVES)), decibels).astype(np.float32)
    spectrum = scipy.fft.rfft(dry, TRANSFORM) * np.float32(10) ** (gain / 20) * _room(player)
    note = np.zeros(samples, np.float32)
    note[begin:] = scipy.fft.irfft(spectrum, TRANSFORM)[: samples - begin]
    note *= np.float32(10 ** (take.level / 20) / np.abs(note).max())
    note += _hiss(player, take, samples)
    note[-FADE:] *= np.linspace(1, 0, FADE, dtype=np.float32)  # where a file is cut there is no click
    return note


def _decibels(rng: np.random.Generator, deviation: float) -> tuple[float, ...]:
    return tuple(rng.normal(0, deviation, len(OCTAVES)).round(2).tolist())


@functools.cache
def _places() -> np.ndarray:
    """Of each frequency of the transform its place among `OCTAVES`, in octaves."""
    frequency = np.maximum(scipy.fft.rfftfreq(TRANSFORM, 1 / SAMPLE_RATE), 1.0)
    return np.log2(frequency / OCTAVES[0])


@functools.cache
def _room(player: Player) -> np.ndarray:
    """Spectrum of a room's impulse response: the sound itself, and some milliseconds later the answer."""
    time = np.arange(round(0.8 * player.decay * SAMPLE_RATE)) / SAMPLE_RATE
    tail = np.random.default_rng(player.room).standard_normal(len(time)) * 10 ** (-3 * time / player.decay)
    tail = lfilter([0.5], [1, -0.5], tail)
    response = np.zeros(DELAY + len(tail), np.float32)
    response[0] = 1
    response[DELAY:] = tail * 10 ** (player.wet / 20) / np.sqrt((tail**2).sum())
    return scipy.fft.rfft(response, TRANSFORM)


def _air(instrument: str, take: Take, samples: int) -> np.ndarray:
    """The noise of bow or breath beside a tone whose RMS is 1."""
    level, low, high = VOICES[instrument].air
    noise = np.random.default_rng([take.seed, 1]).standard_normal(samples, dtype=np.float32)
    b, a = butter(1, (low, high), "bandpass", fs=SAMPLE_RATE)
    noise = lfilter(b.astype(np.float32), a.astype(np.float32), noise)
    return noise * (np.float32(10 ** ((level + take.air) / 20)) / np.sqrt(np.square(noise).mean()))


def _hiss(player: Player, take: Take, samples: int) -> np.ndarray:
    """A recording's noise, more or less falling towards the treble."""
    white = np.random.default_rng(take.seed).standard_normal(samples, dtype=np.float32)
    noise = lfilter(np.array([1], np.float32), np.array([1, -player.dull], np.float32), white)
    return noise * (np.float32(10 ** (take.noise / 20)) / np.sqrt(np.square(noise).mean()))
