"""From a score to audio: parts, room, mix, and an Ogg Vorbis file whose bytes depend on nothing but the samples.

Everything between a part and the mix is linear (gain, pan, a room's impulse response), so that the stems of a clip and
its noise add up to the clip.
"""

import dataclasses
import functools
import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import scipy.fft
import soundfile
from scipy.signal import lfilter

from harness.corpora.pocket import soundfont
from harness.corpora.pocket.song import SECONDS, Note

SAMPLE_RATE = soundfont.SAMPLE_RATE
SAMPLES = round(SECONDS * SAMPLE_RATE)
#: Activity is told per frame of a tenth of a second.
FRAME = SAMPLE_RATE // 10
FRAMES = SAMPLES // FRAME
#: A stem sounds in a frame that is at most this far below its own loud frames (their 95th percentile).
ACTIVE_DB = 30.0
#: Velocities are brightened or dulled in steps of this size.
LAYER = 16


@dataclass(frozen=True)
class Room:
    """Where a clip is recorded.

    Parameters
    ----------
    seed
        Draws its reflections.
    decay
        Reverberation time (fall by 60 dB) in seconds.
    wet
        Level of its answer in dB beside the direct sound.
    dull
        Coefficient of the low-pass on its answer, 0 to 1.
    """

    seed: int
    decay: float
    wet: float
    dull: float


@dataclass(frozen=True)
class Part:
    """What one instrument plays, on which patch, and how it stands in the mix.

    Parameters
    ----------
    instrument
        One of the twenty classes.
    preset
        Bank and program.
    vibrato, courses
        As in `harness.corpora.pocket.instruments.Patch`.
    gain
        Factor on the sampled sound.
    pan
        0 left, 0.5 centre, 1 right.
    notes
        In the order of their onsets.
    """

    instrument: str
    preset: tuple[int, int]
    vibrato: float
    courses: int
    gain: float
    pan: float
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Score:
    """All that is needed to render a clip: its parts, the room, and the noise (seed and RMS amplitude)."""

    parts: tuple[Part, ...]
    room: Room
    noise_seed: int
    noise: float

    def to_json(self) -> dict:
        """The score as JSON can hold it; notes are ``[onset ms, length ms, key, velocity]``."""
        value = dataclasses.asdict(self)
        for part in value["parts"]:
            part["notes"] = [[round(1000 * a), round(1000 * n), key, v] for a, n, key, v in part["notes"]]
        return value

    @classmethod
    def from_json(cls, value: dict) -> "Score":
        """Inverse of `to_json`, for notes that lie on whole milliseconds."""
        parts = tuple(
            Part(
                **part
                | {
                    "preset": tuple(part["preset"]),
                    "notes": tuple(Note(a / 1000, n / 1000, key, v) for a, n, key, v in part["notes"]),
                }
            )
            for part in value["parts"]
        )
        return cls(parts, Room(**value["room"]), value["noise_seed"], value["noise"])


def on_milliseconds(notes: list[Note]) -> tuple[Note, ...]:
    """Notes moved to whole milliseconds, so that a stored score renders to the same samples."""
    return tuple(Note(round(1000 * n.start) / 1000, round(1000 * n.length) / 1000, n.pitch, n.velocity) for n in notes)


def play(part: Part, samples: int = SAMPLES) -> np.ndarray:
    """A part's notes at gain 1, without room.

    Parameters
    ----------
    part
        Its `gain` and `pan` are not applied.
    samples
        Length of the excerpt, in which every note begins.

    Returns
    -------
    ndarray, shape (samples,), float32
        Mono.
    """
    audio = np.zeros(samples, np.float32)
    # Two strings of a course are never quite in tune, nor struck at once.
    strings = [(0.0, 0)] if part.courses == 1 else [(-6.0, 0), (6.0, round(0.007 * SAMPLE_RATE))]
    # A key struck often is computed once, as long as its longest note and in steps of brightness.
    strokes, longest = [], {}
    for note in part.notes:
        begin, held = round(note.start * SAMPLE_RATE), round(note.length * SAMPLE_RATE)
        sound = (note.pitch, min(127, LAYER * round(note.velocity / LAYER)))
        fade = soundfont.release(part.preset, note.pitch)
        total = min(held + len(fade), samples - begin)
        longest[sound] = max(longest.get(sound, 0), total)
        strokes.append((begin, held, total, sound, fade, np.float32(soundfont.loudness(note.velocity))))
    for detune, late in strings:
        sounds = {
            (pitch, layer): soundfont.held_note(
                part.preset, pitch, total, velocity=layer, detune=detune, vibrato=part.vibrato
            )
            for (pitch, layer), total in longest.items()
        }
        for begin, held, total, sound, fade, gain in strokes:
            begin += late
            wave = sounds[sound][: min(total, samples - begin)] * gain
            wave[held:] *= fade[: max(0, len(wave) - held)]
            audio[begin : begin + len(wave)] += wave
    return audio


@functools.lru_cache(maxsize=2)
def _response(room: Room, samples: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Length of the transform and spectra of the room's left and right impulse responses."""
    rng = np.random.default_rng(room.seed)
    length = round(min(1.0, 0.8 * room.decay) * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    tail = rng.standard_normal((2, length)) * 10 ** (-3 * time / room.decay)
    tail = lfilter([1 - room.dull], [1, -room.dull], tail)
    tail *= 10 ** (room.wet / 20) / np.sqrt((tail**2).sum(axis=1, keepdims=True))
    delayed = np.concatenate([np.zeros((2, round(0.012 * SAMPLE_RATE))), tail], axis=1).astype(np.float32)
    size = scipy.fft.next_fast_len(samples + delayed.shape[1], real=True)
    left, right = scipy.fft.rfft(delayed, size)
    return size, left, right


def place(dry: np.ndarray, part: Part, room: Room) -> np.ndarray:
    """A part in its place: gain, constant-power pan, and the room's answer.

    Parameters
    ----------
    dry
        Shape (n,), from `play`.
    part, room
        Whose gain and pan, and where.

    Returns
    -------
    ndarray, shape (2, n), float32
        Left and right.
    """
    size, left, right = _response(room, len(dry))
    spectrum = scipy.fft.rfft(dry * np.float32(part.gain), size)
    angle = np.pi / 2 * part.pan
    sides = (np.cos(angle) + left, np.sin(angle) + right)
    return np.stack([scipy.fft.irfft(spectrum * side.astype(np.complex64), size)[: len(dry)] for side in sides])


def noise(score: Score, samples: int = SAMPLES) -> np.ndarray:
    """The clip's noise floor: a recording's hiss, falling towards the treble.

    Parameters
    ----------
    score
        Whose `noise_seed` and `noise` (RMS amplitude).
    samples
        Length of the clip.

    Returns
    -------
    ndarray, shape (samples,), float32
        The same in both channels.
    """
    white = np.random.default_rng(score.noise_seed).standard_normal(samples + 1, dtype=np.float32)
    # The mean of neighbours falls with the cosine of the frequency, to nothing at 22 kHz.
    return (white[1:] + white[:-1]) * np.float32(score.noise / np.sqrt(2))


def frame_levels(audio: np.ndarray) -> np.ndarray:
    """RMS per tenth of a second.

    Parameters
    ----------
    audio
        Shape (n,).

    Returns
    -------
    ndarray, shape (n // FRAME,), float64
        Amplitudes; what is left over at the end is not looked at.
    """
    frames = len(audio) // FRAME
    return np.sqrt((audio[: frames * FRAME].reshape(frames, FRAME).astype(np.float64) ** 2).mean(axis=1))


def active_frames(audio: np.ndarray) -> np.ndarray:
    """Where a stem sounds.

    Parameters
    ----------
    audio
        Shape (n,), mono.

    Returns
    -------
    ndarray, shape (n // FRAME,), bool
        Per tenth of a second: at most `ACTIVE_DB` below the stem's own loud frames.
    """
    levels = frame_levels(audio)
    return levels > max(1e-6, np.percentile(levels, 95) * 10 ** (-ACTIVE_DB / 20))


#: Bit-reversed bytes: Ogg's checksum is zlib's with the bits of every byte, and of the sum, in the other order.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_crc(page: bytes) -> int:
    """CRC of an Ogg page (RFC 3533, section 6): polynomial 0x04c11db7, no reflection, start and final value 0."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The same Ogg stream under another serial number.

    Parameters
    ----------
    ogg
        A whole Ogg file with one stream.
    serial
        The stream's new number; libsndfile draws one from the clock, which would make equal audio unequal files.

    Returns
    -------
    bytes
        Every page renumbered and its checksum made anew.
    """
    pages, start = bytearray(ogg), 0
    while start < len(ogg):
        segments = ogg[start + 26]
        end = start + 27 + segments + sum(ogg[start + 27 : start + 27 + segments])
        struct.pack_into("<I", pages, start + 14, serial)
        struct.pack_into("<I", pages, start + 22, 0)
        struct.pack_into("<I", pages, start + 22, _ogg_crc(bytes(pages[start:end])))
        start = end
    return bytes(pages)


def encode(audio: np.ndarray, serial: int) -> bytes:
    """Ogg Vorbis file of a clip.

    Parameters
    ----------
    audio
        Shape (samples, 2), float32 at 44,100 Hz.
    serial
        The stream's serial number.

    Returns
    -------
    bytes
        The file, at libsndfile's default quality (about the published corpus' bit rate).
    """
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", SAMPLE_RATE, audio.shape[1], format="OGG", subtype="VORBIS") as file:
        for start in range(0, len(audio), SAMPLE_RATE):  # libsndfile is known to crash on long Vorbis writes
            file.write(audio[start : start + SAMPLE_RATE])
    return with_serial(buffer.getvalue(), serial)
