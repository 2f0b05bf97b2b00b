"""Single notes for the pocket twin of NSynth: how one is played, and what is measured on it.

An instrument is a General MIDI program and what is done to its sound (`Design`). A note is held for 3 s and then let
go, as in NSynth. Of its ten qualities some are those of an effect that was applied, others are measured on the finished
note; `RULES` says which.
"""

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr
from scipy.signal import butter, lfilter, sosfilt

from harness.corpora.nsynth import QUALITIES, SAMPLE_RATE, SECONDS
from harness.corpora.pocket import soundfont

HELD = 3.0
SAMPLES = round(SECONDS * SAMPLE_RATE)
#: Largest amplitude at velocity 127, in dB re full scale; it falls in proportion to the velocity.
PEAK_DB = -3.0

#: Thresholds of what is measured.
OCTAVES, DECAY_DB, RELEASE_DB, TAIL_DB, BURST_DB, RISE_DB = 0.6, 20.0, 20.0, -45.0, 15.0, 9.0
#: What the depth of an effect is.
TREMOLO_DB, SWELL_DB = 24.0, 30.0

#: What gives a note each quality, with the names of the columns of ``ground_truth/notes.csv``.
RULES = {
    "bright": f"measured: octaves >= {OCTAVES}; octaves is log2 of the spectral centroid over the first second "
    "(magnitudes, frames of 1024 samples, Hann, hop 512) over 1 kHz * sqrt(f0 / 262 Hz), about the median of all "
    "programs at that pitch",
    "dark": f"measured: octaves <= -{OCTAVES}",
    "distortion": "applied: drive > 0, the gain in dB into a waveshaper (hyperbolic tangent) after a peak of 1",
    "fast_decay": f"measured: decay_db >= {DECAY_DB:g}; the loudest 50 ms over the mean of 2.5 to 3 s, just before the "
    "key is let go",
    "long_release": f"measured: release_db <= {RELEASE_DB:g} and tail_db >= {TAIL_DB:g}; the mean of 2.8 to 3 s over "
    "that of 3.5 to 4 s, and that over the loudest 50 ms",
    "multiphonic": "applied: chord, further keys that sound with the note, in semitones",
    "nonlinear_env": f"applied: swell > 0 (the level rises by {SWELL_DB:g} dB in so many seconds) or sweep > 0 (a "
    f"low-pass opens from the pitch up in so many seconds); or measured, where tempo is 0: rise_db >= {RISE_DB:g}, the "
    "loudest 100 ms of the held note over those from 0.1 s on",
    "percussive": "applied: burst < 0, the peak in dB re the note's of a noise of 30 ms at its onset; or measured: "
    f"burst_db >= {BURST_DB:g}, the level above 2 kHz (above 2 * f0 if that is higher) in the "
    "first 60 ms over that of 0.3 to 0.4 s",
    "reverb": "applied: room > 0, the reverberation time in s of a room in which the note is played",
    "tempo-synced": f"applied: tempo > 0, beats per minute whose eighths the level follows, {TREMOLO_DB:g} dB down and "
    "up",
}


@dataclass(frozen=True)
class Design:
    """An instrument: a program and what is done to its sound.

    Parameters
    ----------
    program
        General MIDI program, counted from 0.
    vibrato
        Depth in cents.
    chord
        Keys that sound beside the one played, in semitones.
    drive
        Gain into the waveshaper in dB; 0 for none.
    tone
        Change of what is above three times the pitch, in dB.
    sweep
        Seconds in which a low-pass opens from the pitch up; 0 for none.
    decay
        Seconds in which a held note falls by 60 dB, beside the fall it has of itself; 0 for none.
    swell
        Seconds in which the level rises by 30 dB; 0 for none.
    tempo
        Beats per minute whose eighths the level follows; 0 for none.
    release
        Seconds in which a note falls by 60 dB once it is let go.
    burst
        Peak of a noise of 30 ms at the onset in dB re the note's peak, negative; 0 for none.
    room, wet
        Reverberation time in seconds, 0 for none, and the level of the room's answer in dB beside the sound.
    seed
        Draws the room's reflections and the burst.
    """

    program: int
    vibrato: float = 0.0
    chord: tuple[int, ...] = ()
    drive: float = 0.0
    tone: float = 0.0
    sweep: float = 0.0
    decay: float = 0.0
    swell: float = 0.0
    tempo: float = 0.0
    release: float = 0.3
    burst: float = 0.0
    room: float = 0.0
    wet: float = 0.0
    seed: int = 0


def hertz(pitch: int) -> float:
    """Frequency of a MIDI key in Hz."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


def play(design: Design, pitch: int, velocity: int) -> np.ndarray:
    """Play one note.

    Parameters
    ----------
    design
        The instrument.
    pitch
        MIDI key; with the keys of the chord within 21 to 96.
    velocity
        1 to 127.

    Returns
    -------
    ndarray, shape (64000,), int16
        Mono, at 16 kHz. The peak is -3 dB re full scale at velocity 127 and in proportion to the velocity below.
    """
    f0 = hertz(pitch)
    sound = _sampled(design, pitch, velocity)
    if design.tone:
        sound = _shelf(sound, min(3 * f0, 5000.0), design.tone)
    if design.sweep:
        sound = _opened(sound, f0, design.sweep)
    sound = sound * _gain(design)
    if design.burst:
        sound = sound + _burst(design.seed) * np.float32(10 ** (design.burst / 20) * np.abs(sound).max())
    if design.room:
        size, spectrum = _response(design.seed, design.room, design.wet)
        sound = scipy.fft.irfft(scipy.fft.rfft(sound, size) * spectrum, size)[:SAMPLES]
    peak = 32767 * 10 ** (PEAK_DB / 20) * velocity / 127
    return np.round(sound * (peak / np.abs(sound).max())).astype(np.int16)


def measure(note: np.ndarray, pitch: int) -> dict[str, float]:
    """Measure what `RULES` go by.

    Parameters
    ----------
    note
        (64000,) int16, as `play` gives it.
    pitch
        Its MIDI key.

    Returns
    -------
    dict of str to float
        ``centroid_hz``, ``octaves``, ``decay_db``, ``release_db``, ``tail_db``, ``burst_db``, ``rise_db``, see
        `RULES`; and ``level_db``, the mean level of the held note in dB re full scale.
    """
    sound, f0 = note.astype(np.float64) / 32768, hertz(pitch)
    frames = np.lib.stride_tricks.sliding_window_view(sound[:SAMPLE_RATE], 1024)[::512] * np.hanning(1025)[:-1]
    magnitudes = np.abs(scipy.fft.rfft(frames)).mean(axis=0)
    centroid = float((scipy.fft.rfftfreq(1024, 1 / SAMPLE_RATE) * magnitudes).sum() / magnitudes.sum())
    power = sound**2
    tenths = _db(power[: round(HELD * SAMPLE_RATE)].reshape(-1, SAMPLE_RATE // 10).mean(axis=1))
    loudest = float(_db(power.reshape(-1, SAMPLE_RATE // 20).mean(axis=1)).max())
    high = butter(4, max(2000.0, 2 * f0), "highpass", fs=SAMPLE_RATE, output="sos")
    treble = sosfilt(high, sound[: SAMPLE_RATE // 2]) ** 2
    tail = _level(power, 3.5, 4.0)
    return {
        "centroid_hz": centroid,
        "octaves": float(np.log2(centroid / (1000 * np.sqrt(f0 / 262)))),
        "decay_db": loudest - _level(power, 2.5, 3.0),
        "release_db": _level(power, 2.8, 3.0) - tail,
        "tail_db": tail - loudest,
        "burst_db": _level(treble, 0.0, 0.06) - _level(treble, 0.3, 0.4),
        "rise_db": float(tenths[1:].max() - tenths[1]),
        "level_db": _level(power, 0.0, HELD),
    }


def qualities(design: Design, measured: dict[str, float]) -> tuple[int, ...]:
    """The ten qualities of a note, by `RULES`.

    Parameters
    ----------
    design
        The instrument.
    measured
        From `measure`.

    Returns
    -------
    tuple of int
        0 or 1 each, in the order of `harness.corpora.nsynth.QUALITIES`.
    """
    has = {
        "bright": measured["octaves"] >= OCTAVES,
        "dark": measured["octaves"] <= -OCTAVES,
        "distortion": design.drive > 0,
        "fast_decay": measured["decay_db"] >= DECAY_DB,
        "long_release": measured["release_db"] <= RELEASE_DB and measured["tail_db"] >= TAIL_DB,
        "multiphonic": bool(design.chord),
        "nonlinear_env": bool(design.swell or design.sweep) or (not design.tempo and measured["rise_db"] >= RISE_DB),
        "percussive": design.burst < 0 or measured["burst_db"] >= BURST_DB,
        "reverb": design.room > 0,
        "tempo-synced": design.tempo > 0,
    }
    return tuple(int(has[name]) for name in QUALITIES)


def _sampled(design: Design, pitch: int, velocity: int) -> np.ndarray:
    """The keys, held for 4 s and shaped, at 16 kHz."""
    samples = round(SECONDS * soundfont.SAMPLE_RATE)
    sound = np.zeros(samples, np.float32)
    for step in (0, *design.chord):
        sound += soundfont.held_note(
            (0, design.program), pitch + step, samples, velocity=velocity, vibrato=design.vibrato
        )
    if design.drive:  # before the rate is lowered, so that little of what it adds is folded back
        sound = np.tanh(sound * np.float32(10 ** (design.drive / 20) / np.abs(sound).max()))
    return soxr.resample(sound, soundfont.SAMPLE_RATE, SAMPLE_RATE)[:SAMPLES]


def _shelf(sound: np.ndarray, corner: float, change: float) -> np.ndarray:
    """Treble raised or lowered: two first-order shelves, each the sum of a low-pass and what it leaves."""
    b, a = butter(1, corner, fs=SAMPLE_RATE)
    for _ in range(2):
        low = lfilter(b, a, sound).astype(np.float32)
        sound = low + np.float32(10 ** (change / 40)) * (sound - low)
    return sound


def _opened(sound: np.ndarray, f0: float, seconds: float) -> np.ndarray:
    """A low-pass that opens from the pitch to 7 kHz: cross-faded between fixed ones, an octave or less apart."""
    cutoffs = np.geomspace(min(f0, 3500.0), 7000.0, 1 + int(np.ceil(np.log2(7000.0 / min(f0, 3500.0)))))
    place = np.clip(_time() / np.float32(seconds), 0, 1) * np.float32(len(cutoffs) - 1)
    opened = np.zeros_like(sound)
    for number, cutoff in enumerate(cutoffs):
        share = np.maximum(0, 1 - np.abs(place - np.float32(number)))
        opened += share * sosfilt(butter(2, cutoff, fs=SAMPLE_RATE, output="sos"), sound).astype(np.float32)
    return opened


def _gain(design: Design) -> np.ndarray:
    """The level over time, as a factor: decay, swell, tremolo and release, which add up in dB."""
    time = _time()
    level = np.zeros(SAMPLES, np.float32)
    if design.decay:
        level -= 60 / np.float32(design.decay) * time
    if design.swell:
        level -= np.float32(SWELL_DB) * np.maximum(0, 1 - time / np.float32(design.swell))
    if design.tempo:
        eighths = np.float32(2 * np.pi * 2 * design.tempo / 60)
        level -= np.float32(TREMOLO_DB / 2) * (1 - np.cos(eighths * time))
    level -= 60 / np.float32(design.release) * np.maximum(0, time - np.float32(HELD))
    return np.float32(10) ** (level / 20)


def _burst(seed: int) -> np.ndarray:
    """A hammer's or a pick's noise: 30 ms, falling, treble above all; peak 1."""
    noise = np.random.default_rng([seed, 1]).standard_normal(round(0.03 * SAMPLE_RATE) + 1)
    noise = np.diff(noise) * np.linspace(1, 0, len(noise) - 1) ** 2
    burst = np.zeros(SAMPLES, np.float32)
    burst[: len(noise)] = noise / np.abs(noise).max()
    return burst


@functools.lru_cache(maxsize=2)
def _response(seed: int, decay: float, wet: float) -> tuple[int, np.ndarray]:
    """Length of the transform, and spectrum of a room's impulse response: the sound, and 12 ms later the answer."""
    time = np.arange(round(min(1.5, 0.8 * decay) * SAMPLE_RATE)) / SAMPLE_RATE
    tail = np.random.default_rng([seed, 0]).standard_normal(len(time)) * 10 ** (-3 * time / decay)
    tail = lfilter([0.5], [1, -0.5], tail)
    tail *= 10 ** (wet / 20) / np.sqrt((tail**2).sum())
    response = np.concatenate([[1.0], np.zeros(round(0.012 * SAMPLE_RATE) - 1), tail]).astype(np.float32)
    size = scipy.fft.next_fast_len(SAMPLES + len(response), real=True)
    return size, scipy.fft.rfft(response, size)


@functools.cache
def _time() -> np.ndarray:
    return np.arange(SAMPLES, dtype=np.float32) / np.float32(SAMPLE_RATE)


def _db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-12))  # -120 dB, well below a 16-bit file's own floor


def _level(power: np.ndarray, start: float, stop: float) -> float:
    return float(_db(power[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)].mean()))
