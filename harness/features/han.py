"""The front end of Han, Kim and Lee's network for predominant instruments: a clip as blocks of a second."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from harness.errors import RepriseError
from harness.features.frontends import FRONT_ENDS, FrontEnd
from harness.features.transforms import pool, slaney_bands, slaney_edges


@dataclass(frozen=True, kw_only=True)
class HanSegments(FrontEnd):
    """Log-mel blocks of about a second, the input of the network of Han, Kim and Lee (2017; study 001).

    22,050 Hz, divided by the clip's largest absolute sample, magnitude of a centred transform of 1,024 samples every
    512 (periodic Hann window, zeros at both ends), 128 bands on Slaney's mel scale with area normalisation, natural
    logarithm. A second has 43.07 frames, so the whole clip is transformed and cut into blocks of 43 frames that do not
    overlap, three from a training clip of 3 s, which has 130; what is left is dropped. A clip that lacks up to 0.1 s
    of its blocks ends in silence.

    What is added before the logarithm is not published. Of two public re-implementations one adds 1e-6, as we do, which
    lies under the noise of a 16-bit file; the other the rounding unit of a float64, which makes digital silence an
    outlier 22 further down.

    Parameters
    ----------
    segments
        Number of blocks of a clip.
    n_mels
        Number of mel bands.
    offset
        Added to the mel magnitudes before the logarithm.
    time_pool
        Number of neighbouring log-mel frames averaged into one before the blocks are cut, of ``43 // time_pool`` then.
    """

    name: ClassVar[str] = "han_segments"
    sample_rate: ClassVar[int] = 22050
    hop_length: ClassVar[int] = 512
    REAL: ClassVar[frozenset[str]] = frozenset({"offset"})
    segments: int = 3
    n_mels: int = 128
    offset: float = 1e-6

    N_FFT: ClassVar[int] = 1024
    #: Frames of the second that the network was designed for.
    FRAMES: ClassVar[int] = 43
    #: By how many seconds a clip may be too short.
    TOLERANCE: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 1:
            raise RepriseError(
                f"front end {self.name}: a block of {self.FRAMES} frames is shorter than the time_pool of "
                f"{self.time_pool}; give a smaller one"
            )

    @property
    def parameters(self) -> dict:
        """Every constant that determines the output, ready for JSON."""
        constants = {
            "version": 1,
            "sample_rate": self.sample_rate,
            "hop_length": self.hop_length,
            "n_fft": self.N_FFT,
            "window": "periodic hann",
            "center": True,
            "pad_mode": "constant",
            "power": 1.0,
            "mel_scale": "slaney",
            "norm": "slaney",
            "fmin": 0.0,
            "fmax": self.sample_rate / 2,
            "level": "divided by the largest absolute sample",
            "frames": self.FRAMES,
            "tolerance": self.TOLERANCE,
        }
        return asdict(self) | constants

    @property
    def band_hz(self) -> np.ndarray:
        """Centre frequencies of the bands in Hz, low to high, shape (n_mels,)."""
        return slaney_edges(self.sample_rate, self.n_mels)[1:-1]

    @property
    def frames(self) -> int:
        """Frames of a block: 43 by default."""
        return self.FRAMES // self.time_pool

    def shape(self, seconds: float | None) -> tuple[int, int, int]:
        """Shape of the output: (segments, bands, frames), (3, 128, 43) by default, whatever the length."""
        return self.segments, self.n_mels, self.frames

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Log-mel blocks from a clip's start.

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
            The waveform is too short by more than 0.1 s.
        """
        frames = self.segments * self.frames
        missing = (frames * self.time_pool - 1) * self.hop_length - len(waveform)
        if missing > self.TOLERANCE * self.sample_rate:
            raise RepriseError(
                f"front end {self.name}: a clip of {len(waveform) / self.sample_rate:.2f} s is too short for "
                f"{self.segments} blocks of a second; leave it out or give fewer segments"
            )
        picture = self.log_mel(np.pad(waveform, (0, max(0, missing))))[:, :frames]
        blocks = picture.reshape(self.n_mels, self.segments, self.frames).transpose(1, 0, 2)
        return np.ascontiguousarray(blocks)

    def log_mel(self, waveform: np.ndarray) -> np.ndarray:
        """Log-mel spectrogram of a whole clip of any length, from which windows are cut when a network is tested.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At 22,050 Hz.

        Returns
        -------
        np.ndarray, shape (n_mels, frames), float32
            Natural logarithms, lowest band first; ``log(offset)`` throughout where all is silent.
        """
        waveform = np.asarray(waveform, np.float32)
        if (peak := np.abs(waveform).max(initial=0)) > 0:
            waveform = waveform / peak
        padded = np.pad(waveform, self.N_FFT // 2)
        # In float64, as what the rounding of a loud partial leaves in the other bands is not small beside the offset.
        bands = slaney_bands(
            padded, self.sample_rate, self.N_FFT, self.hop_length, self.n_mels, power=1, dtype=np.float64
        )
        bands += np.float32(self.offset)
        return np.ascontiguousarray(pool(np.log(bands, out=bands), self.time_pool).T)


FRONT_ENDS[HanSegments.name] = HanSegments
