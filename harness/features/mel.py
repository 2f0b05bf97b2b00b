"""Mel spectrograms in decibels: of a whole clip as librosa's defaults give it, and of a clip's segments."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from harness.errors import RepriseError
from harness.features.frontends import FRONT_ENDS, FrontEnd
from harness.features.transforms import pool, slaney_bands, slaney_edges


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
        seconds = self._known(seconds)
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
        bands = slaney_bands(padded, self.sample_rate, self.n_fft, self.hop_length, self.n_mels, power=2)
        np.maximum(bands, np.float32(self.AMIN), out=bands)
        decibels = np.log10(bands, out=bands)
        decibels *= np.float32(10)
        np.maximum(decibels, decibels.max() - np.float32(self.TOP_DB), out=decibels)
        return np.ascontiguousarray(pool(decibels, self.time_pool).T)


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
        bands = slaney_bands(padded, self.sample_rate, self.n_fft, self.hop_length, self.n_mels, power=2)
        loudest = bands.max()
        if loudest <= self.AMIN:  # else silence, being its own maximum, would be 1 throughout
            return np.zeros((self.n_mels, self._frames), np.float32)
        np.maximum(bands, np.float32(self.AMIN), out=bands)
        decibels = 10 * np.log10(bands / loudest)
        np.maximum(decibels, np.float32(-self.TOP_DB), out=decibels)
        return (pool(decibels, self.time_pool).T + np.float32(self.TOP_DB)) / np.float32(self.TOP_DB)

    @property
    def _frames(self) -> int:
        return (1 + self.samples // self.hop_length) // self.time_pool


FRONT_ENDS[Mel.name] = Mel
FRONT_ENDS[MelSegments.name] = MelSegments
