"""Audio files to mono waveforms, or the reason why a file cannot be used.

Whatever libsndfile reads is read: WAV, FLAC, Ogg Vorbis, MP3, AU and their kin. The resampler is soxr at quality HQ,
librosa's own default. resampy, which torchvggish calls, takes about a hundred times as long for a ten-second clip
(105 ms against 1.2 ms), more than decoding and every front end together, and would decide how long a corpus takes.
"""

import re
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from harness.errors import RepriseError

#: What decoding does to the samples: part of the key of everything computed from them.
DECODING = {"version": 1, "mono": "mean", "resampler": "soxr HQ", "length_tolerance": 0.1, "silence_dbfs": -80.0}

BLOCK = 1 << 20  # frames per read: a clip in one go, and a header that promises years takes no memory
UNKNOWN_LENGTH = 2**63 - 1  # what libsndfile says of a FLAC file that was written into a pipe
STREAMED = 0x7FFF0000  # sizes from here on are placeholders that encoders write into a pipe, not promises
OGG_PAGE = 65307  # bytes in the largest page
MP3_SLACK = 2 * 1152  # MP3 encoders disagree on whether their delay and padding count: two frames
HEADERS = (b"OggS", b"fLaC", b"RIFF", b"RIFX", b".snd", b"FORM", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")


class BadAudio(RepriseError):  # noqa: N818  (a verdict on a file, listed in reports under this name)
    """An audio file that cannot be used.

    Parameters
    ----------
    path
        The file.
    reason
        What is wrong with it, as the rest of a sentence: ``"is missing"``.
    """

    def __init__(self, path: Path | str, reason: str):
        super().__init__(str(path), reason)  # both as arguments, so that it travels between processes
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}; put a sound copy in its place"


def decode(path: Path | str, sample_rate: int, *, seconds: float | None = None) -> np.ndarray:
    """Decode an audio file to mono at `sample_rate`.

    The channels are averaged first and resampled then, as ``librosa.load`` does. How a cut file is told: an Ogg
    stream must end in a page that says so, WAV and AU files must hold the bytes their header promises, and the decoder
    must deliver as many frames as the file declares. An MP3 file without a Xing or Info header declares nothing, so
    only `seconds` tells there.

    Parameters
    ----------
    path
        The audio file.
    sample_rate
        Wanted rate in Hz.
    seconds
        Nominal length. A file within 0.1 s of it is trimmed, or padded with zeros, to exactly
        ``round(seconds * sample_rate)`` samples; default: any length, as it is.

    Returns
    -------
    np.ndarray, shape (samples,), float32
        The waveform, full scale +-1.

    Raises
    ------
    BadAudio
        The file is missing, empty, not audio, truncated or damaged, silent (peak below -80 dBFS), of another length
        than `seconds`, or holds samples that are NaN or infinite.
    RepriseError
        The file is there, but the system does not let it be read.
    """
    path = Path(path)
    head = _read_head(path)
    try:
        file = sf.SoundFile(path)
    except sf.LibsndfileError:
        damaged = "is truncated or damaged: its header cannot be read"
        raise BadAudio(path, damaged if head.startswith(HEADERS) else "is not audio") from None
    with file:
        if file.frames == UNKNOWN_LENGTH:
            raise BadAudio(path, "does not say how long it is, which libsndfile needs to know")
        rate, promised = file.samplerate, _promised_frames(file, head)
        try:
            mono = _read_mono(file)
        except sf.LibsndfileError:
            raise BadAudio(path, "is truncated or damaged: the decoder gives up midway") from None
        cut = _misses_its_end(path) if file.format == "OGG" else _misses_bytes(file.extra_info)

    duration = len(mono) / rate
    if cut:
        raise BadAudio(path, f"is truncated: it breaks off after {duration:.1f} s")
    if len(mono) < promised:
        raise BadAudio(path, f"is truncated or damaged: {duration:.1f} s can be decoded of {promised / rate:.1f} s")
    if len(mono) == 0:
        raise BadAudio(path, "is empty: it holds no samples")
    peak = max(mono.max(), -mono.min())  # NaN if any sample is
    if not np.isfinite(peak):
        raise BadAudio(path, "holds samples that are NaN or infinite")
    if peak < 10 ** (DECODING["silence_dbfs"] / 20):
        level = f"peak {20 * np.log10(peak):.0f} dBFS" if peak > 0 else "all samples are zero"
        raise BadAudio(path, f"is silent ({level})")
    if seconds is not None and abs(len(mono) - round(seconds * rate)) > round(DECODING["length_tolerance"] * rate):
        raise BadAudio(path, f"is {duration:.1f} s long, not {seconds:.1f} s")

    waveform = mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate, quality="HQ")
    if seconds is not None:
        samples = round(seconds * sample_rate)
        waveform = np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
    return waveform


def _read_head(path: Path) -> bytes:
    """First bytes of a file, an MP3's after its ID3 tag included: enough to tell what it claims to be."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            if head.startswith(b"ID3") and len(head) >= 10:
                size = 0
                for byte in head[6:10]:  # seven bits a byte
                    size = size << 7 | byte & 0x7F
                file.seek(10 + size)
                head += file.read(256)
    except (FileNotFoundError, NotADirectoryError):
        raise BadAudio(path, "is missing") from None
    except IsADirectoryError:
        raise BadAudio(path, "is not audio: it is a folder") from None
    except OSError as error:
        raise RepriseError(f"cannot read {path}: {error.strerror}; make it readable and try again") from error
    if not head:
        raise BadAudio(path, "is empty (0 bytes)")
    return head


def _promised_frames(file: sf.SoundFile, head: bytes) -> int:
    """How many frames a sound copy of this file is known to hold at least."""
    if file.format == "MP3":
        # Without one of these headers libsndfile's count is a guess from the first frame's bit rate.
        return max(0, file.frames - MP3_SLACK) if b"Xing" in head or b"Info" in head else 0
    return file.frames


def _read_mono(file: sf.SoundFile) -> np.ndarray:
    """Mean of the channels, float32."""
    # A product with the BLAS takes 0.15 ms for a stereo clip of 10 s, numpy's mean over the last axis 4.8 ms.
    weights = np.full(file.channels, 1 / file.channels, np.float32)
    blocks = []
    while True:
        blocks.append(file.read(BLOCK, dtype="float32", always_2d=True) @ weights)
        if len(blocks[-1]) < BLOCK:  # the end, or a hole: reading on would repeat what lies behind it
            return np.concatenate(blocks)


def _misses_its_end(path: Path) -> bool:
    """Whether an Ogg file lacks the end-of-stream page or a part of it; libsndfile reads what is there."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - OGG_PAGE))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:  # bytes of a page's header; the flag of the last page
        return True
    segments = page[26]
    return len(page) < 27 + segments + sum(page[27 : 27 + segments])


def _misses_bytes(log: str) -> bool:
    """Whether libsndfile notes that a WAV or AU file holds fewer bytes than its header says; it reads on regardless."""
    sizes = re.findall(r"\bdata(?: size)?\s*:\s*(\d+) \(should be (\d+)\)", log, re.IGNORECASE)
    return any(int(there) < int(declared) < STREAMED for declared, there in sizes)
