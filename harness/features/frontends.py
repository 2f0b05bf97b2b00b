"""Front ends: a waveform in, the spectrogram that a network sees out.

Adding one means a subclass of `FrontEnd` and its entry in `FRONT_ENDS`. The transforms run on one thread, a
cache-sized block of frames at a time, and each group of mel bands is multiplied with the few bins it covers.
"""

import abc
import functools
import math
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import numpy as np
import scipy.fft
import soxr

from harness.errors import RepriseError

#: Frames per block: their spectra stay in the second-level cache.
BLOCK = 128
#: Bands per matrix product: few enough that a group covers a narrow range of bins.
GROUP = 8


@dataclass(frozen=True, kw_only=True)
class FrontEnd(abc.ABC):
    """What turns waveforms into spectrograms; its fields are the parameters a user may set.

    Parameters
    ----------
    time_pool
        Number of neighbouring frames averaged into one; the frames left over at the end are dropped.
    """

    name: ClassVar[str]
    sample_rate: ClassVar[int]  # these two are fields where the user may set them
    hop_length: ClassVar[int]
    #: Values of the fields that are no numbers.
    CHOICES: ClassVar[dict[str, tuple]] = {}
    #: Fields that are real numbers greater than 0; all others are whole ones of at least 1.
    REAL: ClassVar[frozenset[str]] = frozenset()
    time_pool: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if choices := self.CHOICES.get(field.name):
                if not any(type(value) is type(choice) and value == choice for choice in choices):
                    wanted = " or ".join(map(repr, choices))
                    raise RepriseError(f"front end {self.name}: {field.name} is {value!r}; give {wanted}")
            elif field.name in self.REAL:
                if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
                    raise RepriseError(f"front end {self.name}: {field.name} is {value!r}; give a number above 0")
            elif not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RepriseError(
                    f"front end {self.name}: {field.name} is {value!r}; give a whole number of at least 1"
                )

    @property
    @abc.abstractmethod
    def parameters(self) -> dict:
        """Every constant that determines the output, ready for JSON."""

    @property
    def seconds_per_frame(self) -> float:
        """Seconds from one output frame to the next."""
        return self.hop_length * self.time_pool / self.sample_rate

    @property
    @abc.abstractmethod
    def band_hz(self) -> np.ndarray:
        """Centre frequencies of the bands in Hz, low to high."""

    @abc.abstractmethod
    def shape(self, seconds: float | None) -> tuple[int, ...]:
        """Shape of the output for a waveform of `seconds`; of None seconds if all lengths give the same."""

    @abc.abstractmethod
    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Spectrogram of a waveform of shape (n,) at `sample_rate`, as a C-contiguous float32 array."""


@dataclass(frozen=True, kw_only=True)
class Mel(FrontEnd):
    """Mel spectrogram in decibels, as librosa's defaults give it (study 000, III.B).

    The same as ``power_to_db(melspectrogram(y=waveform, sr=sample_rate))``: centred frames with zeros at both ends,
    Hann window, power, Slaney's mel scale and area normalisation from 0 Hz to the Nyquist frequency, decibels over 1,
    floor at 80 dB under the clip's maximum. librosa transforms in float64; float32 halves the time and departs from
    it by less than 0.002 dB, and that only in bands far below the frame's loudest.

    Parameters
    ----------
    sample_rate
        In Hz.
    n_fft
        Window and transform length in samples.
    hop_length
        Samples from one frame to the next.
    n_mels
        Number of mel bands.
    time_pool
        Number of neighbouring columns of the decibel picture averaged into one.
    """

    name: ClassVar[str] = "mel"
    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128

    AMIN: ClassVar[float] = 1e-10
    TOP_DB: ClassVar[float] = 80.0

    @property
    def parameters(self) -> dict:
        """Every constant that determines the output, ready for JSON."""
        constants = {
            "version": 1,
            "window": "hann",
            "center": True,
            "pad_mode": "constant",
            "power": 2.0,
            "mel_scale": "slaney",
            "norm": "slaney",
            "fmin": 0.0,
            "fmax": self.sample_rate / 2,
            "ref": 1.0,
            "amin": self.AMIN,
            "top_db": self.TOP_DB,
        }
        return asdict(self) | constants

    @property
    def band_hz(self) -> np.ndarray:
        """Centre frequencies of the bands in Hz, low to high, shape (n_mels,)."""
        return slaney_edges(self.sample_rate, self.n_mels)[1:-1]

    def shape(self, seconds: float | None) -> tuple[int, int]:
        """Shape of the output: (bands, frames), (128, 431) for 10 s by default."""
        seconds = _known(seconds, self.name)
        return self.n_mels, (1 + round(seconds * self.sample_rate) // self.hop_length) // self.time_pool

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Mel spectrogram in dB.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At `sample_rate`.

        Returns
        -------
        np.ndarray, shape (n_mels, frames), float32
            Decibels, lowest band first.
        """
        padded = np.pad(np.asarray(waveform, np.float32), self.n_fft // 2)
        weights = _slaney_weights(self.sample_rate, self.n_fft, self.n_mels)
        bands = _project(padded, _hann(self.n_fft, np.float32), self.n_fft, self.hop_length, weights, power=2)
        np.maximum(bands, np.float32(self.AMIN), out=bands)
        decibels = np.log10(bands, out=bands)
        decibels *= np.float32(10)
        np.maximum(decibels, decibels.max() - np.float32(self.TOP_DB), out=decibels)
        return np.ascontiguousarray(_pool(decibels, self.time_pool).T)


@dataclass(frozen=True, kw_only=True)
class Vggish(FrontEnd):
    """Log-mel patches, the input of VGGish (Hershey et al. 2017; torchvggish's and AudioSet's reference code).

    16 kHz, frames of 400 samples every 160 without padding, periodic Hann window, magnitude of the 512-point spectrum,
    64 bands of the HTK mel scale from 125 to 7,500 Hz (triangles in mel, first bin left out, no normalisation),
    ``log(mel + 0.01)``, cut into patches of 96 frames that do not overlap; what is left at the end is dropped. The
    transform runs in float64: in float32 the rounding of a loud tone shows in the other bands, 0.0006 off at worst.

    Parameters
    ----------
    time_pool
        Number of neighbouring log-mel frames averaged into one before the patches are cut.
    peak_normalise
        Whether the waveform is divided by its largest absolute sample first, as OpenMIC's authors did before they
        computed the embeddings that come with their data; torchvggish does not.
    """

    name: ClassVar[str] = "vggish"
    sample_rate: ClassVar[int] = 16000
    hop_length: ClassVar[int] = 160
    CHOICES: ClassVar[dict[str, tuple]] = {"peak_normalise": (False, True)}
    peak_normalise: bool = False

    WINDOW: ClassVar[int] = 400
    N_FFT: ClassVar[int] = 512
    BANDS: ClassVar[int] = 64
    FMIN: ClassVar[float] = 125.0
    FMAX: ClassVar[float] = 7500.0
    LOG_OFFSET: ClassVar[float] = 0.01
    PATCH: ClassVar[int] = 96

    @property
    def parameters(self) -> dict:
        """Every constant that determines the output, ready for JSON."""
        constants = {
            "version": 1,
            "sample_rate": self.sample_rate,
            "hop_length": self.hop_length,
            "window": "periodic hann",
            "window_length": self.WINDOW,
            "n_fft": self.N_FFT,
            "power": 1.0,
            "mel_scale": "htk",
            "n_mels": self.BANDS,
            "fmin": self.FMIN,
            "fmax": self.FMAX,
            "log_offset": self.LOG_OFFSET,
            "frames_per_patch": self.PATCH,
        }
        return asdict(self) | constants

    @property
    def band_hz(self) -> np.ndarray:
        """Centre frequencies of the bands in Hz, low to high, shape (64,)."""
        return 700 * np.expm1(_htk_edges(self.BANDS, self.FMIN, self.FMAX)[1:-1] / 1127)

    def shape(self, seconds: float | None) -> tuple[int, int, int]:
        """Shape of the output: (patches, 96 frames, 64 bands), (10, 96, 64) for 10 s by default."""
        seconds = _known(seconds, self.name)
        frames = max(0, 1 + (round(seconds * self.sample_rate) - self.WINDOW) // self.hop_length)
        return frames // self.time_pool // self.PATCH, self.PATCH, self.BANDS

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Log-mel patches.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At 16 kHz.

        Returns
        -------
        np.ndarray, shape (patches, 96, 64), float32
            Natural logarithms; frames by bands within a patch. No patch if the waveform is shorter than 0.975 s.
        """
        frames = self._frames(waveform)
        patches = len(frames) // self.PATCH
        return frames[: patches * self.PATCH].reshape(patches, self.PATCH, self.BANDS)

    def _frames(self, waveform: np.ndarray) -> np.ndarray:
        """Log-mel frames of the whole waveform, shape (frames, 64)."""
        waveform = np.asarray(waveform, np.float32)
        if self.peak_normalise and (peak := np.abs(waveform).max(initial=0)) > 0:
            waveform = waveform / peak
        weights = _htk_weights(self.sample_rate, self.N_FFT, self.BANDS, self.FMIN, self.FMAX)
        bands = _project(waveform, _hann(self.WINDOW, np.float64), self.N_FFT, self.hop_length, weights, power=1)
        bands += np.float32(self.LOG_OFFSET)
        return _pool(np.log(bands, out=bands), self.time_pool)


@dataclass(frozen=True, kw_only=True)
class VggishPatch(Vggish):
    """One log-mel patch of a clip of any length: one input of VGGish where a clip is one example (study 003, 4.1).

    A clip shorter than a patch is padded with silence at its end.

    Parameters
    ----------
    time_pool, peak_normalise
        As those of `Vggish`; what is normalised is the whole clip.
    which
        ``"first"``: the patch from the clip's start, where a note has its attack. ``"loudest"``: of all windows of 96
        frames the one whose log-mel values have the greatest sum, the first of several; COALA takes its patches so,
        but looks at every twelfth frame only.
    """

    name: ClassVar[str] = "vggish_patch"
    CHOICES: ClassVar[dict[str, tuple]] = {**Vggish.CHOICES, "which": ("first", "loudest")}
    which: str = "first"

    def shape(self, seconds: float | None) -> tuple[int, int, int]:
        """Shape of the output: (1, 96 frames, 64 bands), whatever the length."""
        return 1, self.PATCH, self.BANDS

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """One log-mel patch.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At 16 kHz.

        Returns
        -------
        np.ndarray, shape (1, 96, 64), float32
            Natural logarithms; frames by bands.
        """
        needed = self.WINDOW + self.hop_length * (self.PATCH * self.time_pool - 1)
        waveform = np.asarray(waveform, np.float32)
        frames = self._frames(np.pad(waveform, (0, max(0, needed - len(waveform)))))
        start = 0
        if self.which == "loudest":
            sums = np.cumsum(np.concatenate([[0.0], frames.sum(axis=1, dtype=np.float64)]))
            start = int(np.argmax(sums[self.PATCH :] - sums[: -self.PATCH]))
        return np.ascontiguousarray(frames[None, start : start + self.PATCH])


@dataclass(frozen=True, kw_only=True)
class NotePicture(FrontEnd):
    """Log-mel picture of a note's first second, the input of an image network (study 004, section 6).

    12 kHz, one second from the onset, mel power spectrogram as `Mel` has it, natural logarithm, the picture's own range
    stretched to 0 to 1, and resized to a square. The thesis gives rate, length, bands, window, hop and logarithm; the
    other defaults are ours: where the second starts, what is added before the logarithm, the range, which end is up,
    and how it is resized.

    The onset is where the RMS level (frames of 2048 samples every 512, zeros at both ends) first comes within
    `onset_db` of its maximum, as ``librosa.effects.trim`` finds it: up to 85 ms before the note is heard. What is
    missing of the second is silence.

    Parameters
    ----------
    sample_rate
        In Hz.
    onset_db
        How far below the loudest frame a note begins, in dB; an enormous number keeps the file's own beginning.
    seconds
        Length that is pictured.
    n_fft
        Window and transform length in samples.
    hop_length
        Samples from one frame to the next.
    n_mels
        Number of mel bands.
    offset
        Added to the mel power before the logarithm.
    size
        Height and width of the picture.
    interpolation
        ``"nearest"``: the value of the nearest cell, as Keras' generator takes it; ``"bilinear"``: between the four
        cells around.
    low
        ``"bottom"``: low frequencies in the last row, as pictures are looked at; ``"top"``: in the first.
    time_pool
        Number of neighbouring frames averaged into one before the picture is stretched and resized.
    """

    name: ClassVar[str] = "note_picture"
    CHOICES: ClassVar[dict[str, tuple]] = {"interpolation": ("nearest", "bilinear"), "low": ("bottom", "top")}
    REAL: ClassVar[frozenset[str]] = frozenset({"onset_db", "seconds", "offset"})
    sample_rate: int = 12000
    onset_db: float = 40.0
    seconds: float = 1.0
    n_fft: int = 2048
    hop_length: int = 1024
    n_mels: int = 128
    offset: float = 1e-6
    size: int = 150
    interpolation: str = "nearest"
    low: str = "bottom"

    ONSET_WINDOW: ClassVar[int] = 2048
    ONSET_HOP: ClassVar[int] = 512
    AMIN: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._frames < 1:
            raise RepriseError(
                f"front end {self.name}: {self.seconds:g} s have fewer frames than the time_pool of {self.time_pool}; "
                "give a smaller one"
            )

    @property
    def parameters(self) -> dict:
        """Every constant that determines the output, ready for JSON."""
        constants = {
            "version": 1,
            "window": "hann",
            "center": True,
            "pad_mode": "constant",
            "power": 2.0,
            "mel_scale": "slaney",
            "norm": "slaney",
            "fmin": 0.0,
            "fmax": self.sample_rate / 2,
            "range": "minimum to maximum",
            "onset_window": self.ONSET_WINDOW,
            "onset_hop": self.ONSET_HOP,
            "onset_amin": self.AMIN,
        }
        return asdict(self) | constants

    @property
    def seconds_per_frame(self) -> float:
        """Seconds from one column of the picture to the next."""
        return self._frames * self.time_pool * self.hop_length / self.sample_rate / self.size

    @property
    def band_hz(self) -> np.ndarray:
        """Frequencies of the picture's rows in Hz, low to high, shape (size,)."""
        return self._resized(slaney_edges(self.sample_rate, self.n_mels)[1:-1], 0)

    def shape(self, seconds: float | None) -> tuple[int, int]:
        """Shape of the output: (size, size), (150, 150) by default, whatever the length."""
        return self.size, self.size

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Picture of a note.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At `sample_rate`.

        Returns
        -------
        np.ndarray, shape (size, size), float32
            From 0 to 1, rows by columns; zeros throughout where every cell is the same, as in silence.
        """
        cells = self.log_mel(waveform)
        low, high = cells.min(), cells.max()
        cells = (cells - low) / (high - low) if high > low else np.zeros_like(cells)
        picture = self._resized(self._resized(cells, 0), 1)
        if self.low == "bottom":
            picture = picture[::-1]
        return np.ascontiguousarray(picture, np.float32)

    def log_mel(self, waveform: np.ndarray) -> np.ndarray:
        """Log-mel spectrogram of the note's beginning, before it becomes a picture.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At `sample_rate`.

        Returns
        -------
        np.ndarray, shape (n_mels, frames), float32
            Natural logarithms, lowest band first; (128, 12) by default.
        """
        note = np.asarray(waveform, np.float32)[self.onset(waveform) :][: self._samples]
        note = np.pad(note, (self.n_fft // 2, self.n_fft // 2 + self._samples - len(note)))
        weights = _slaney_weights(self.sample_rate, self.n_fft, self.n_mels)
        # In float64, as what the rounding of a loud partial leaves in the other bands is not small beside the offset.
        bands = _project(note, _hann(self.n_fft, np.float64), self.n_fft, self.hop_length, weights, power=2)
        bands += np.float32(self.offset)
        return _pool(np.log(bands, out=bands), self.time_pool).T

    def onset(self, waveform: np.ndarray) -> int:
        """Sample at which a note begins.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At `sample_rate`.

        Returns
        -------
        int
            A multiple of 512; 0 where all is silent.
        """
        padded = np.pad(np.asarray(waveform, np.float32), self.ONSET_WINDOW // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.ONSET_WINDOW)[:: self.ONSET_HOP]
        levels = np.maximum(np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1)), self.AMIN)
        return int(np.argmax(levels > levels.max() * 10 ** (-self.onset_db / 20))) * self.ONSET_HOP

    @property
    def _samples(self) -> int:
        return round(self.seconds * self.sample_rate)

    @property
    def _frames(self) -> int:
        return (1 + self._samples // self.hop_length) // self.time_pool

    def _resized(self, cells: np.ndarray, axis: int) -> np.ndarray:
        """Cells along an axis resized to `size`, centres on centres."""
        count = cells.shape[axis]
        if self.interpolation == "nearest":
            return np.take(cells, (2 * np.arange(self.size) + 1) * count // (2 * self.size), axis)
        places = np.clip((np.arange(self.size) + 0.5) * count / self.size - 0.5, 0, count - 1)
        below = np.floor(places).astype(int)
        part = (places - below).reshape(-1, *[1] * (cells.ndim - 1 - axis))
        return np.take(cells, below, axis) * (1 - part) + np.take(cells, np.minimum(below + 1, count - 1), axis) * part


@dataclass(frozen=True, kw_only=True)
class MelSegments(FrontEnd):
    """Mel spectrograms of a clip's segments, the input of networks that are trained on segments (study 002).

    The waveform is cut into `segments` pieces of `seconds`, and each is pictured on its own: `Mel`'s power spectrogram
    in decibels under the segment's loudest cell, floor at 80 dB below it, scaled to the range from 0 to 1 by
    ``(decibels + 80) / 80``. The write-up says nothing of its front end; all of this is our reading, but for ten
    segments a track, which its accuracies in steps of 1/960 imply.

    What a clip has over is dropped. One that is too short by up to 0.1 s, as some tracks of the published set are, ends
    in silence. A segment without a cell above 1e-10, as silence, gives zeros.

    Parameters
    ----------
    sample_rate
        In Hz.
    segments
        Number of segments of a clip.
    seconds
        Length of a segment.
    n_fft
        Window and transform length in samples.
    hop_length
        Samples from one frame to the next.
    n_mels
        Number of mel bands.
    time_pool
        Number of neighbouring columns of the decibel picture averaged into one.
    """

    name: ClassVar[str] = "mel_segments"
    REAL: ClassVar[frozenset[str]] = frozenset({"seconds"})
    sample_rate: int = 22050
    segments: int = 10
    seconds: float = 3.0
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128

    AMIN: ClassVar[float] = 1e-10
    TOP_DB: ClassVar[float] = 80.0
    #: By how many seconds a clip may be too short.
    TOLERANCE: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._frames < 1:
            raise RepriseError(
                f"front end {self.name}: {self.seconds:g} s have fewer frames than the time_pool of {self.time_pool}; "
                "give a smaller one"
            )

    @property
    def parameters(self) -> dict:
        """Every constant that determines the output, ready for JSON."""
        constants = {
            "version": 1,
            "window": "hann",
            "center": True,
            "pad_mode": "constant",
            "power": 2.0,
            "mel_scale": "slaney",
            "norm": "slaney",
            "fmin": 0.0,
            "fmax": self.sample_rate / 2,
            "ref": "maximum of the segment",
            "amin": self.AMIN,
            "top_db": self.TOP_DB,
            "tolerance": self.TOLERANCE,
        }
        return asdict(self) | constants

    @property
    def band_hz(self) -> np.ndarray:
        """Centre frequencies of the bands in Hz, low to high, shape (n_mels,)."""
        return slaney_edges(self.sample_rate, self.n_mels)[1:-1]

    @property
    def samples(self) -> int:
        """Number of samples of a segment."""
        return round(self.seconds * self.sample_rate)

    def shape(self, seconds: float | None) -> tuple[int, int, int]:
        """Shape of the output: (segments, bands, frames), (10, 128, 130) by default, whatever the length."""
        return self.segments, self.n_mels, self._frames

    def cut(self, waveform: np.ndarray) -> np.ndarray:
        """Segments of a waveform.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At `sample_rate`.

        Returns
        -------
        np.ndarray, shape (segments, samples), float32
            Segment ``i`` begins at second ``i * seconds``.

        Raises
        ------
        RepriseError
            The waveform is too short by more than 0.1 s.
        """
        waveform = np.asarray(waveform, np.float32)
        needed = self.segments * self.samples
        missing = needed - len(waveform)
        if missing > self.TOLERANCE * self.sample_rate:
            raise RepriseError(
                f"front end {self.name}: a clip of {len(waveform) / self.sample_rate:.2f} s is too short for "
                f"{self.segments} segments of {self.seconds:g} s; leave it out or give fewer or shorter segments"
            )
        return np.pad(waveform[:needed], (0, max(0, missing))).reshape(self.segments, self.samples)

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Mel spectrograms of a clip's segments.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At `sample_rate`.

        Returns
        -------
        np.ndarray, shape (segments, n_mels, frames), float32
            From 0 to 1, lowest band first.

        Raises
        ------
        RepriseError
            The waveform is too short by more than 0.1 s.
        """
        pictures = np.empty(self.shape(None), np.float32)
        for row, segment in zip(pictures, self.cut(waveform), strict=True):
            row[:] = self._picture(segment)
        return pictures

    def _picture(self, segment: np.ndarray) -> np.ndarray:
        """Picture of one segment, shape (n_mels, frames)."""
        padded = np.pad(segment, self.n_fft // 2)
        weights = _slaney_weights(self.sample_rate, self.n_fft, self.n_mels)
        bands = _project(padded, _hann(self.n_fft, np.float32), self.n_fft, self.hop_length, weights, power=2)
        loudest = bands.max()
        if loudest <= self.AMIN:  # else silence, being its own maximum, would be 1 throughout
            return np.zeros((self.n_mels, self._frames), np.float32)
        np.maximum(bands, np.float32(self.AMIN), out=bands)
        decibels = 10 * np.log10(bands / loudest)
        np.maximum(decibels, np.float32(-self.TOP_DB), out=decibels)
        return (_pool(decibels, self.time_pool).T + np.float32(self.TOP_DB)) / np.float32(self.TOP_DB)

    @property
    def _frames(self) -> int:
        return (1 + self.samples // self.hop_length) // self.time_pool


#: Every front end by name.
FRONT_ENDS: dict[str, type[FrontEnd]] = {
    kind.name: kind for kind in (Mel, Vggish, VggishPatch, NotePicture, MelSegments)
}


def names() -> list[str]:
    """Names of all front ends.

    Returns
    -------
    list of str
        What `front_end` takes.
    """
    return list(FRONT_ENDS)


def front_end(name: str, **parameters: float | bool | str) -> FrontEnd:
    """Make a front end.

    Parameters
    ----------
    name
        One of `names`: "mel", "vggish", "vggish_patch", "note_picture", "mel_segments" or "han_segments".
    **parameters
        Those of its class: `Mel`, `Vggish`, `VggishPatch`, `NotePicture`, `MelSegments` or `HanSegments`; defaults are
        the published ones.

    Returns
    -------
    FrontEnd
        The front end, ready to compute.

    Raises
    ------
    RepriseError
        No such front end, no such parameter, or a value that it cannot have.

    Examples
    --------
    >>> front_end("mel").shape(10.0)
    (128, 431)
    >>> front_end("vggish").shape(10.0)
    (10, 96, 64)
    """
    if name not in FRONT_ENDS:
        raise RepriseError(f"no front end is called {name!r}; there are: {', '.join(FRONT_ENDS)}")
    kind = FRONT_ENDS[name]
    known = [field.name for field in fields(kind)]
    for parameter in parameters:
        if parameter not in known:
            raise RepriseError(f"front end {name} has no parameter {parameter!r}; it has: {', '.join(known)}")
    return kind(**parameters)


def vggish_examples(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Input of VGGish for a mono waveform at any rate.

    With soxr in place of resampy the log-mel of OpenMIC's clip 000046_3840 differs by less than 0.001 in the 62 bands
    up to 6.7 kHz, and by 0.02 and 0.30 on average in the two above, where the resamplers' low-passes set in (natural
    logarithms that span 8.1).

    Parameters
    ----------
    waveform : np.ndarray, shape (n,)
        Mono, full scale +-1.
    sample_rate
        Its rate in Hz; resampled to 16 kHz by soxr where it differs (torchvggish: by resampy).

    Returns
    -------
    np.ndarray, shape (patches, 96, 64), float32
        Log-mel patches, see `Vggish`.
    """
    waveform = np.asarray(waveform, np.float32)
    if sample_rate != Vggish.sample_rate:
        waveform = soxr.resample(waveform, sample_rate, Vggish.sample_rate, quality="HQ")
    return Vggish().compute(waveform)


def _known(seconds: float | None, name: str) -> float:
    """The length itself, which a front end needs whose output grows with it."""
    if seconds is None:
        raise RepriseError(
            f"front end {name} needs clips of one length, and these have lengths of their own; use vggish_patch"
        )
    return seconds


def slaney_edges(sample_rate: int, n_mels: int) -> np.ndarray:
    """Band edges on Slaney's mel scale (Auditory Toolbox, 1998), 0 Hz to Nyquist.

    Parameters
    ----------
    sample_rate
        In Hz.
    n_mels
        Number of bands.

    Returns
    -------
    np.ndarray, shape (n_mels + 2,)
        Hz; band ``i`` rises from edge ``i`` to ``i + 1`` and falls to ``i + 2``.
    """
    # Linear to 1 kHz at 200/3 Hz a mel, from there on 27 mels for each factor of 6.4.
    knee, top = 15.0, sample_rate / 2
    top_mel = top * 3 / 200 if top < 1000 else knee + np.log(top / 1000) * 27 / np.log(6.4)
    mel = np.linspace(0, top_mel, n_mels + 2)
    return np.where(mel < knee, mel * 200 / 3, 1000 * 6.4 ** ((mel - knee) / 27))


def _htk_edges(bands: int, fmin: float, fmax: float) -> np.ndarray:
    """Band edges in HTK mels, shape (bands + 2,)."""
    return np.linspace(_htk_mel(fmin), _htk_mel(fmax), bands + 2)


def _htk_mel(hz: np.ndarray | float) -> np.ndarray | float:
    return 1127 * np.log1p(np.asarray(hz) / 700)


def _triangles(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Triangular filters with peak 1, shape (points, bands), straight on the scale that both arguments are in."""
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    points = points[:, None]
    return np.maximum(0, np.minimum((points - low) / (centre - low), (high - points) / (high - centre)))


@functools.lru_cache
def _slaney_weights(sample_rate: int, n_fft: int, n_mels: int) -> list:
    edges = slaney_edges(sample_rate, n_mels)
    area = 2 / (edges[2:] - edges[:-2])
    return _groups(_triangles(np.fft.rfftfreq(n_fft, 1 / sample_rate), edges) * area)


@functools.lru_cache
def _htk_weights(sample_rate: int, n_fft: int, bands: int, fmin: float, fmax: float) -> list:
    weights = _triangles(_htk_mel(np.fft.rfftfreq(n_fft, 1 / sample_rate)), _htk_edges(bands, fmin, fmax))
    weights[0] = 0
    return _groups(weights)


def _groups(weights: np.ndarray) -> list[tuple[slice, slice, np.ndarray]]:
    """Cut a (bins, bands) matrix into groups of bands, each with the bins where it is not zero."""
    groups = []
    for first in range(0, weights.shape[1], GROUP):
        bands = slice(first, first + GROUP)
        used = np.flatnonzero(weights[:, bands].any(axis=1))
        bins = slice(used[0], used[-1] + 1) if len(used) else slice(0, 0)
        groups.append((bands, bins, np.ascontiguousarray(weights[bins, bands], np.float32)))
    return groups


@functools.lru_cache
def _hann(length: int, dtype: type) -> np.ndarray:
    """Periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi / length * np.arange(length))).astype(dtype)


def _project(signal: np.ndarray, window: np.ndarray, n_fft: int, hop: int, groups: list, *, power: int) -> np.ndarray:
    """Band energies of all whole frames of a signal, (frames, bands) float32, from |spectrum| ** `power`.

    The transform runs in the window's precision.
    """
    n_bands = sum(weights.shape[1] for _, _, weights in groups)
    if len(signal) < len(window):
        return np.zeros((0, n_bands), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(signal, len(window))[::hop]
    energies = np.empty((len(frames), n_bands), np.float32)
    for start in range(0, len(frames), BLOCK):
        rows = slice(start, start + BLOCK)
        spectrum = np.abs(scipy.fft.rfft(frames[rows] * window, n_fft)).astype(np.float32, copy=False)
        if power == 2:
            np.square(spectrum, out=spectrum)
        for bands, bins, weights in groups:
            np.matmul(spectrum[:, bins], weights, out=energies[rows, bands])
    return energies


def _pool(frames: np.ndarray, time_pool: int) -> np.ndarray:
    """Mean over each `time_pool` neighbouring rows."""
    if time_pool == 1:
        return frames
    count = len(frames) // time_pool
    return frames[: count * time_pool].reshape(count, time_pool, -1).mean(axis=1)
