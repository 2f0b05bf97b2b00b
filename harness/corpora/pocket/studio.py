"""From the parts of a recording to its sound: amplifier, mix, room, band, compressor and level.

All parts go through one room and one equaliser, which are linear, and then through a compressor whose gain over time
depends on the mix alone: given that gain, stems and noise add up to the recording. Parts are played at 44.1 kHz and
mixed in the frequency domain, of which the lower half is kept: the sound comes out at 22,050 Hz.
"""

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.signal import lfilter

from harness.corpora.pocket import synth
from harness.corpora.pocket.synth import Part, Room, Score

RATE = synth.SAMPLE_RATE // 2
#: Hz; above it nothing is left, so that halving the rate folds nothing back.
HIGHEST = 10_950.0
#: The compressor looks at blocks of 256 samples (12 ms) and forgets with this time constant.
BLOCK, RELEASE = 256, 0.15
#: Largest amplitude of a recording; planted clipping alone goes beyond.
PEAK = 0.95


@dataclass(frozen=True)
class Production:
    """How a recording is made of its parts.

    Parameters
    ----------
    low_cut, high_cut
        Hz at which the band begins and ends, 3 dB down.
    tilt
        dB by which bass is raised above treble.
    echo
        Seconds and dB of a repeating echo.
    ratio
        Of the compressor: dB in for a dB out.
    threshold
        dB re full scale above which it works.
    level
        Factor on everything, at last.
    """

    low_cut: float
    high_cut: float
    tilt: float
    echo: tuple[float, float]
    ratio: float
    threshold: float = 0.0
    level: float = 1.0


@dataclass(frozen=True)
class Recording:
    """All that is needed to hear a recording again, whole or part by part.

    Parameters
    ----------
    score
        Its parts, whose `instrument` is their role (drums, bass, chords, lead) and whose `pan` is not used; room and
        noise.
    drives
        How hard an amplifier distorts each part; 0 for not at all.
    production
        What the mix goes through.
    first, samples
        Where the excerpt begins in the recording, and how long it is, at 22,050 Hz.
    """

    score: Score
    drives: tuple[float, ...]
    production: Production
    first: int
    samples: int

    def to_json(self) -> dict:
        """The recording as JSON can hold it."""
        return {
            "score": self.score.to_json(),
            "drives": list(self.drives),
            "production": dataclasses.asdict(self.production),
            "first": self.first,
            "samples": self.samples,
        }

    @classmethod
    def from_json(cls, value: dict) -> "Recording":
        """Inverse of `to_json`."""
        production = Production(**value["production"] | {"echo": tuple(value["production"]["echo"])})
        score = Score.from_json(value["score"])
        return cls(score, tuple(value["drives"]), production, value["first"], value["samples"])


def dry(part: Part, drive: float, samples: int) -> np.ndarray:
    """A part as it leaves its amplifier, at gain 1.

    Parameters
    ----------
    part
        What is played.
    drive
        0 for a clean sound; otherwise its loud moments reach this far into tanh.
    samples
        Length at 44.1 kHz.

    Returns
    -------
    ndarray, shape (samples,), float32
    """
    played = synth.play(part, samples)
    if drive:
        played = np.tanh(np.float32(drive / max(loudness(played), 1e-9)) * played)
    return played


def loudness(audio: np.ndarray) -> float:
    """RMS of the frames in which a part sounds; 0 of silence."""
    levels = synth.frame_levels(audio)
    loud = levels[synth.active_frames(audio)]
    return float(np.sqrt((loud**2).mean())) if len(loud) else 0.0


def mixed(recording: Recording, roles: tuple[str, ...]) -> np.ndarray:
    """Some of the parts, beside one another.

    Parameters
    ----------
    recording
        Whose parts.
    roles
        Which of them.

    Returns
    -------
    ndarray, shape (2 * (first + samples),), float32
        From the recording's beginning to the excerpt's end, at 44.1 kHz, for `produced`.
    """
    length = 2 * (recording.first + recording.samples)
    mix = np.zeros(length, np.float32)
    for part, drive in zip(recording.score.parts, recording.drives, strict=True):
        if part.instrument in roles:
            mix += np.float32(part.gain) * dry(part, drive, length)
    return mix


def produced(mix: np.ndarray, room: Room, production: Production) -> np.ndarray:
    """A mix in its room, echo and band.

    Parameters
    ----------
    mix
        Shape (2 n,), at 44.1 kHz.
    room, production
        What it goes through.

    Returns
    -------
    ndarray, shape (n,), float32
        At 22,050 Hz.
    """
    half = scipy.fft.next_fast_len((len(mix) + synth.SAMPLE_RATE) // 2 + 1, real=True)
    kept = half // 2 + 1
    spectrum = scipy.fft.rfft(mix, 2 * half)[:kept] * _response(room, production, half)
    return 0.5 * scipy.fft.irfft(spectrum, half)[: len(mix) // 2]


@functools.lru_cache(maxsize=2)
def _response(room: Room, production: Production, half: int) -> np.ndarray:
    """What a mix is multiplied with: the kept half of a spectrum of ``2 * half`` samples at 44.1 kHz."""
    rng = np.random.default_rng(room.seed)
    rate, kept = synth.SAMPLE_RATE, half // 2 + 1
    length = round(min(0.9, 0.8 * room.decay) * rate)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / rate / room.decay)
    tail = lfilter([1 - room.dull], [1, -room.dull], tail)
    tail *= 10 ** (room.wet / 20) / np.sqrt((tail**2).sum())
    delayed = np.concatenate([np.zeros(round(0.012 * rate)), tail]).astype(np.float32)
    hertz = np.arange(kept) * (rate / 2 / half)
    seconds, decibels = production.echo
    turn, level = np.exp(-2j * np.pi * hertz * seconds), 10 ** (decibels / 20)
    echo = sum((level * turn) ** repeat for repeat in (1, 2, 3))
    with np.errstate(divide="ignore"):
        band = 1 / np.sqrt(1 + (production.low_cut / hertz) ** 4) / np.sqrt(1 + (hertz / production.high_cut) ** 8)
        tilt = 10 ** (-production.tilt / 40 * np.tanh(np.log2(hertz / 900) / 1.5))
    band *= tilt * np.clip((HIGHEST - hertz) / 300, 0, 1)
    return ((1 + scipy.fft.rfft(delayed, 2 * half)[:kept] + echo) * band).astype(np.complex64)


def gain(mix: np.ndarray, production: Production) -> np.ndarray:
    """The compressor's and the level's gain at every moment.

    Parameters
    ----------
    mix
        Shape (n,), all parts.
    production
        Ratio, threshold and level.

    Returns
    -------
    ndarray, shape (n,), float32
    """
    blocks = -(-len(mix) // BLOCK)
    squares = np.square(np.pad(mix, (0, blocks * BLOCK - len(mix)))).reshape(blocks, BLOCK).mean(axis=1)
    decibels = 10 * np.log10(np.maximum(squares, 1e-12))
    over = (1 - 1 / production.ratio) * np.maximum(0, decibels - production.threshold)
    keep = np.exp(-BLOCK / RATE / RELEASE)
    slow = lfilter([1 - keep], [1, -keep], over)
    turned = 10 ** (-slow / 20) * production.level
    return np.interp(np.arange(len(mix)), (np.arange(blocks) + 0.5) * BLOCK, turned).astype(np.float32)


def levelled(recording: Recording, mix: np.ndarray, decibels: float, hiss: float) -> tuple[Recording, np.ndarray]:
    """Set a recording's threshold, level and noise by what it sounds like, and give its sound.

    Parameters
    ----------
    recording
        Its compressor is to work on what is louder than 6 dB below the mean.
    mix
        All its parts, as `mixed` gives them.
    decibels
        RMS re full scale to aim at; less where the peaks would pass `PEAK`.
    hiss
        Noise in dB beside the music.

    Returns
    -------
    recording : Recording
        With threshold, level and noise.
    audio : ndarray, shape (samples,), float32
        The excerpt.
    """
    mix = produced(mix, recording.score.room, recording.production)
    mean = 10 * np.log10(np.mean(np.square(mix, dtype=np.float64)))
    production = dataclasses.replace(recording.production, threshold=round(float(mean) - 6, 3), level=1.0)
    excerpt = (mix * gain(mix, production))[recording.first :]
    level = 10 ** (decibels / 20) / np.sqrt(np.mean(np.square(excerpt, dtype=np.float64)))
    # Room for the noise's own peaks.
    highest = PEAK / (1 + 5 * 10 ** (hiss / 20)) / np.abs(excerpt).max()
    production = dataclasses.replace(production, level=float(min(level, highest)))
    quiet = float(10 ** (hiss / 20) * production.level * np.sqrt(np.mean(np.square(excerpt, dtype=np.float64))))
    finished = dataclasses.replace(
        recording, production=production, score=dataclasses.replace(recording.score, noise=quiet)
    )
    return finished, np.float32(production.level) * excerpt + noise(finished)


def noise(recording: Recording) -> np.ndarray:
    """The noise of a recording's excerpt.

    Parameters
    ----------
    recording
        Whose.

    Returns
    -------
    ndarray, shape (samples,), float32
    """
    return synth.noise(recording.score, recording.first + recording.samples)[recording.first :]


def stem(recording: Recording, role: str) -> np.ndarray:
    """The parts of one role, as they stand in the excerpt.

    Parameters
    ----------
    recording
        As `levelled` gave it.
    role
        One of those of its parts.

    Returns
    -------
    ndarray, shape (samples,), float32
        The stems of all roles and `noise` add up to the excerpt.
    """
    room, production = recording.score.room, recording.production
    own = mixed(recording, (role,))
    rest = mixed(recording, tuple({part.instrument for part in recording.score.parts} - {role}))
    turned = gain(produced(own + rest, room, production), production)
    return (produced(own, room, production) * turned)[recording.first :]
