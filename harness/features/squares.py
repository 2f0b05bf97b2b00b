"""The front end of study 002's own code: the log-mel spectrogram of a whole track, cut into squares."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from harness.errors import RepriseError
from harness.features.frontends import FRONT_ENDS, FrontEnd
from harness.features.transforms import pool, slaney_bands, slaney_edges


@dataclass(frozen=True, kw_only=True)
class MelSquares(FrontEnd):
    """Squares of a track's log-mel spectrogram, as the code that study 002's authors published makes them.

    22,050 Hz, librosa's mel power spectrogram of the whole track (window 2,048, hop 512, centred), natural logarithm of
    it plus 1e-9, cut into squares of as many frames as bands, side by side from the track's start; what is left is
    dropped. Nothing is scaled. A track that lacks up to 0.1 s of its squares ends in silence.

    Parameters
    ----------
    segments
        Number of squares of a track.
    n_mels
        Number of mel bands.
    time_pool
        Number of neighbouring log-mel frames averaged into one, of ``128 // time_pool`` in a square then.
    """

    name: ClassVar[str] = "mel_squares"
    sample_rate: ClassVar[int] = 22050
    hop_length: ClassVar[int] = 512
    segments: int = 10
    n_mels: int = 128

    N_FFT: ClassVar[int] = 2048
    OFFSET: ClassVar[float] = 1e-9
    #: Frames of a square before any are averaged.
    FRAMES: ClassVar[int] = 128
    #: By how many seconds a track may be too short.
    TOLERANCE: ClassVar[float] = 0.1

    @property
    def parameters(self) -> dict:
        """Every constant that determines the output, ready for JSON."""
        constants = {
            "version": 1,
            "sample_rate": self.sample_rate,
            "hop_length": self.hop_length,
            "n_fft": self.N_FFT,
            "window": "hann",
            "center": True,
            "pad_mode": "constant",
            "power": 2.0,
            "mel_scale": "slaney",
            "norm": "slaney",
            "fmin": 0.0,
            "fmax": self.sample_rate / 2,
            "offset": self.OFFSET,
            "frames": self.FRAMES,
            "tolerance": self.TOLERANCE,
        }
        return asdict(self) | constants

    @property
    def band_hz(self) -> np.ndarray:
        """Centre frequencies of the bands in Hz, low to high, shape (n_mels,)."""
        return slaney_edges(self.sample_rate, self.n_mels)[1:-1]

    def shape(self, seconds: float | None) -> tuple[int, int, int]:
        """Shape of the output: (segments, bands, frames), (10, 128, 128) by default, whatever the length."""
        return self.segments, self.n_mels, self.FRAMES // self.time_pool

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Log-mel squares of a track.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At 22,050 Hz.

        Returns
        -------
        np.ndarray, shape (segments, n_mels, frames), float32
            Natural logarithms, lowest band first.

        Raises
        ------
        RepriseError
            The track is too short by more than 0.1 s.
        """
        frames = self.segments * self.FRAMES
        missing = (frames - 1) * self.hop_length - len(waveform)
        if missing > self.TOLERANCE * self.sample_rate:
            raise RepriseError(
                f"front end {self.name}: a track of {len(waveform) / self.sample_rate:.2f} s is too short for "
                f"{self.segments} squares of {self.FRAMES} frames; leave it out or give fewer segments"
            )
        padded = np.pad(np.asarray(waveform, np.float32), (self.N_FFT // 2, self.N_FFT // 2 + max(0, missing)))
        bands = slaney_bands(padded, self.sample_rate, self.N_FFT, self.hop_length, self.n_mels, power=2)[:frames]
        squares = np.log(bands + np.float32(self.OFFSET)).reshape(self.segments, self.FRAMES, self.n_mels)
        return np.ascontiguousarray(np.stack([pool(square, self.time_pool).T for square in squares]))


FRONT_ENDS[MelSquares.name] = MelSquares
