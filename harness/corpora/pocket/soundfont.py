"""A small SoundFont 2 sampler: sampled notes with their tuning, loops, envelopes and filters.

It reads what the SoundFont that comes with ``pretty_midi`` (TimGM6mb.sf2) uses of the SoundFont 2.01 specification:
key ranges, root keys and tuning (8.1.2, generators 43, 58, 52, 56), loops (54, 2, 3), attenuation (48), the volume
envelope (34-38, 40) and the initial low-pass filter (8, 11 in part). Velocity acts as in the specification's default
modulators (8.4.1, 8.4.2): quieter and darker.

Why not a synthesiser from a library: those that pip can install without a system library either ignore velocity,
envelopes and fine tuning and loop for ever on very high notes (symusic 0.5.8, measured), or need an audio driver's
headers to install (tinysoundfont). Ours has no unbounded loop: the number of output samples is known beforehand.
"""

import functools
import importlib.util
import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

SAMPLE_RATE = 44100
#: Found without importing the package, which every worker would pay for.
SOUNDFONT = Path(importlib.util.find_spec("pretty_midi").origin).parent / "TimGM6mb.sf2"

#: Keys that are played: sampled notes transposed further sound like nothing real.
LOWEST, HIGHEST = 21, 96

#: Generator numbers (SoundFont 2.01, 8.1.2) and their default values where we need one.
LOOP_START_OFFSET, LOOP_END_OFFSET, FILTER_CUTOFF, ENVELOPE_TO_FILTER = 2, 3, 8, 11
ATTACK, HOLD, DECAY, SUSTAIN, RELEASE, KEY_TO_DECAY = 34, 35, 36, 37, 38, 40
INSTRUMENT, KEY_RANGE, ATTENUATION, FINE_TUNE, SAMPLE, LOOP_MODE, SCALE_TUNING, ROOT_KEY = (
    41,
    43,
    48,
    52,
    53,
    54,
    56,
    58,
)
DEFAULTS = {FILTER_CUTOFF: 13500, ATTACK: -12000, HOLD: -12000, DECAY: -12000, RELEASE: -12000, SCALE_TUNING: 100}


@dataclass(frozen=True)
class Zone:
    """One sample and how it is played over a range of keys.

    Parameters
    ----------
    keys
        Lowest and highest MIDI key.
    first, last, loop_first, loop_last
        Places in the SoundFont's sample data; `last` and `loop_last` are exclusive.
    looped
        Whether the loop sounds as long as the note is held.
    root, tuning, scale
        MIDI key at which the sample sounds as recorded, correction in cents, cents per key.
    sample_rate
        Of the sample, in Hz.
    attenuation
        In dB.
    attack, hold, decay, sustain, release
        Volume envelope: seconds, but `sustain` in dB below the peak. `decay` and `release` are the times of a fall
        by 100 dB.
    decay_per_key
        Factor by which hold and decay shorten per key above 60.
    cutoff
        Of the low-pass filter, in Hz.
    """

    keys: tuple[int, int]
    first: int
    last: int
    loop_first: int
    loop_last: int
    looped: bool
    root: float
    tuning: float
    scale: float
    sample_rate: int
    attenuation: float
    attack: float
    hold: float
    decay: float
    sustain: float
    release: float
    decay_per_key: float
    cutoff: float


@dataclass(frozen=True)
class SoundFont:
    """Sample data (float32 in -1..1) and, by (bank, program), the zones of every preset."""

    samples: np.ndarray
    presets: dict[tuple[int, int], tuple[Zone, ...]]


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """Sub-chunks of a RIFF file, lists opened."""
    found, stack = {}, [(12, len(data))]
    while stack:
        start, stop = stack.pop()
        while start + 8 <= stop:
            name, size = data[start : start + 4], struct.unpack_from("<I", data, start + 4)[0]
            if name == b"LIST":
                stack.append((start + 12, start + 8 + size))
            else:
                found[name] = data[start + 8 : start + 8 + size]
            start += 8 + size + size % 2
    return found


def _seconds(timecents: float) -> float:
    return 0.0 if timecents <= -12000 else 2.0 ** (timecents / 1200)


def _zone(generators: dict[int, int], header: tuple) -> Zone:
    value = DEFAULTS | generators
    first, last, loop_first, loop_last, rate, key, correction = header
    root = value.get(ROOT_KEY, key)
    keys = value.get(KEY_RANGE, 127 << 8) & 0xFFFF
    # The filter follows the modulation envelope; we keep it at three quarters of the way, as a constant.
    cutoff = 8.176 * 2 ** (min(13500, value[FILTER_CUTOFF] + 0.75 * value.get(ENVELOPE_TO_FILTER, 0)) / 1200)
    return Zone(
        keys=(keys & 0xFF, keys >> 8),
        first=first,
        last=last,
        loop_first=loop_first + value.get(LOOP_START_OFFSET, 0),
        loop_last=loop_last + value.get(LOOP_END_OFFSET, 0),
        looped=bool(value.get(LOOP_MODE, 0) & 1),
        root=root,
        tuning=value.get(FINE_TUNE, 0) + correction,
        scale=value[SCALE_TUNING],
        sample_rate=rate,
        attenuation=0.4 * value.get(ATTENUATION, 0) / 10,  # the 0.4 of the EMU hardware, which SoundFonts are made for
        attack=_seconds(value[ATTACK]),
        hold=_seconds(value[HOLD]),
        decay=_seconds(value[DECAY]),
        sustain=min(100.0, max(0, value.get(SUSTAIN, 0)) / 10),
        release=_seconds(value[RELEASE]),
        decay_per_key=2 ** (-value.get(KEY_TO_DECAY, 0) / 1200),
        cutoff=cutoff,
    )


@functools.cache
def load(path: Path = SOUNDFONT) -> SoundFont:
    """Read a SoundFont.

    Parameters
    ----------
    path
        A ``.sf2`` file.

    Returns
    -------
    SoundFont
        Cached: read once per process.
    """
    chunks = _chunks(Path(path).read_bytes())

    def records(name: bytes, form: str) -> list[tuple]:
        return list(struct.iter_unpack("<" + form, chunks[name]))

    def bags(bag: bytes, generator: bytes) -> list[dict[int, int]]:
        edges = [first for first, _ in records(bag, "HH")]
        entries = records(generator, "Hh")
        return [dict(entries[a:b]) for a, b in itertools.pairwise(edges)]

    headers = [(*row[1:6], row[6], row[7]) for row in records(b"shdr", "20sIIIIIBbHH")]
    instrument_rows, instrument_bags = records(b"inst", "20sH"), bags(b"ibag", b"igen")
    instruments = []
    for (_, a), (_, b) in itertools.pairwise(instrument_rows):
        zones, common = [], {}
        for generators in instrument_bags[a:b]:
            if SAMPLE in generators:
                zones.append(_zone(common | generators, headers[generators[SAMPLE]]))
            else:
                common = generators
        instruments.append(zones)
    preset_rows, preset_bags = records(b"phdr", "20sHHHIII"), bags(b"pbag", b"pgen")
    presets = {}
    for row, following in itertools.pairwise(preset_rows):
        used = [bag[INSTRUMENT] for bag in preset_bags[row[3] : following[3]] if INSTRUMENT in bag]
        presets[row[2], row[1]] = tuple(zone for number in used for zone in instruments[number])
    samples = np.frombuffer(chunks[b"smpl"], "<i2").astype(np.float32) / 32768
    return SoundFont(samples, presets)


def _envelope(zone: Zone, pitch: int, total: int) -> np.ndarray:
    """Gain over `total` samples of a note that is held throughout (SoundFont 2.01, 9.1.6)."""
    shortening = zone.decay_per_key ** (pitch - 60)
    attack = max(zone.attack, 0.001)
    time = np.arange(total, dtype=np.float32) / np.float32(SAMPLE_RATE)
    fall = np.maximum(time - np.float32(attack + zone.hold * shortening), 0)
    fall *= np.float32(100.0 / max(zone.decay * shortening, 0.001))
    gain = np.exp(np.float32(-np.log(10) / 20) * np.minimum(fall, np.float32(zone.sustain)))
    rising = round(attack * SAMPLE_RATE)
    gain[:rising] *= time[:rising] / np.float32(attack)
    return gain


def _wave(zone: Zone, samples: np.ndarray, pitch: int, total: int, detune: float, vibrato: float) -> np.ndarray:
    """`total` samples of the zone's sound at `pitch`, linearly interpolated, without its envelope."""
    cents = (pitch - zone.root) * zone.scale + zone.tuning + detune
    step = zone.sample_rate / SAMPLE_RATE * 2 ** (cents / 1200)
    position = np.arange(total) * step
    if vibrato:
        # A 5.5-Hz vibrato of `vibrato` cents that grows over the first half second, as players do.
        time = np.arange(total) / SAMPLE_RATE
        depth = vibrato / 1200 * np.log(2) * np.clip((time - 0.15) / 0.4, 0, 1)
        position += step * SAMPLE_RATE * depth * (1 - np.cos(2 * np.pi * 5.5 * time)) / (2 * np.pi * 5.5)
    length, loop = zone.last - zone.first, zone.loop_last - zone.loop_first
    if zone.looped and loop > 0:
        loop_end = zone.loop_last - zone.first
        beyond = int(np.searchsorted(position, loop_end))
        turns = np.floor((position[beyond:] - (loop_end - loop)) / loop)
        position[beyond:] -= turns * loop
    else:
        position = position[: int(np.searchsorted(position, length - 1))]
    whole = position.astype(np.int64)
    part = (position - whole).astype(np.float32)
    whole += zone.first
    low, high = samples[whole], samples[np.minimum(whole + 1, len(samples) - 1)]
    return low + part * (high - low)


def _low_pass(cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Second-order Butterworth low-pass (bilinear transform); by hand, as scipy's general design costs more than it."""
    k = np.tan(np.pi * cutoff / SAMPLE_RATE)
    scale = 1 / (1 + np.sqrt(2) * k + k * k)
    b = np.array([1, 2, 1]) * k * k * scale
    a = np.array([1, 2 * (k * k - 1) * scale, (1 - np.sqrt(2) * k + k * k) * scale])
    return b.astype(np.float32), a.astype(np.float32)


def _zones(preset: tuple[int, int], pitch: int) -> list[Zone]:
    if not LOWEST <= pitch <= HIGHEST:
        raise ValueError(f"MIDI key {pitch} is outside {LOWEST}..{HIGHEST}")
    # A few presets have gaps between their zones: the nearest zone plays there.
    zones = load().presets[preset]
    away = [max(zone.keys[0] - pitch, pitch - zone.keys[1], 0) for zone in zones]
    return [zone for zone, distance in zip(zones, away, strict=True) if distance == min(away)]


def held_note(
    preset: tuple[int, int], pitch: int, samples: int, *, velocity: int = 100, detune: float = 0.0, vibrato: float = 0.0
) -> np.ndarray:
    """Sound of a key that is never let go: a shorter note is its beginning, faded out by `release`.

    Parameters
    ----------
    preset
        (bank, program) counted from 0; bank 128 holds the drum kits.
    pitch
        MIDI key, 21 to 96.
    samples
        Length to compute.
    velocity
        1 to 127; here it only sets the brightness, see `loudness`.
    detune
        In cents.
    vibrato
        Depth in cents, 0 for none.

    Returns
    -------
    ndarray, shape (samples,), float32
        Mono, at 44,100 Hz; a SoundFont's left and right samples are averaged.

    Raises
    ------
    ValueError
        The pitch is outside 21..96.
    KeyError
        There is no such preset.
    """
    font, zones = load(), _zones(preset, pitch)
    mixed = np.zeros(samples, np.float32)
    for zone in zones:
        wave = _wave(zone, font.samples, pitch, samples, detune, vibrato)
        wave = wave * _envelope(zone, pitch, len(wave))
        # Velocity closes the filter by up to an octave, half of 8.4.2, as music here is rarely played at 127.
        cutoff = zone.cutoff * 2 ** (-(127 - velocity) / 127)
        if cutoff < 12000:
            wave = lfilter(*_low_pass(cutoff), wave)
        mixed[: len(wave)] += wave * np.float32(10 ** (-zone.attenuation / 20) / len(zones))
    return mixed


@functools.lru_cache(maxsize=64)
def release(preset: tuple[int, int], pitch: int) -> np.ndarray:
    """How a note fades once its key is let go.

    Parameters
    ----------
    preset, pitch
        As in `held_note`.

    Returns
    -------
    ndarray, shape (samples,), float32
        Gain (not to be written to) falling from 1 by 100 dB in the release time, cut off after 60 dB. The release
        time is taken as at least 50 ms, so that no note ends in a click, and at most 1.5 s, so that music stays
        articulate.
    """
    seconds = min(max(0.05, *(zone.release for zone in _zones(preset, pitch))), 1.5)
    return np.float32(10) ** (-5 * np.arange(0, 0.6, 1 / (seconds * SAMPLE_RATE), dtype=np.float32))


def loudness(velocity: int) -> float:
    """Gain of a MIDI velocity (SoundFont 2.01, 8.4.1): 1 at 127, 40 dB less at a tenth of that."""
    return (velocity / 127) ** 2
