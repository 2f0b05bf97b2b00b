"""The input of VGGish: log-mel patches of a clip, or one of them, and of a waveform at any rate."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import soxr

from harness.features.frontends import FRONT_ENDS, FrontEnd
from harness.features.transforms import htk_bands, htk_edges, pool


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
        return 700 * np.expm1(htk_edges(self.BANDS, self.FMIN, self.FMAX)[1:-1] / 1127)

    def shape(self, seconds: float | None) -> tuple[int, int, int]:
        """Shape of the output: (patches, 96 frames, 64 bands), (10, 96, 64) for 10 s by default."""
        seconds = self._known(seconds)
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
        mel = (self.BANDS, self.FMIN, self.FMAX)
        bands = htk_bands(waveform, self.sample_rate, self.N_FFT, self.hop_length, *mel, window=self.WINDOW)
        bands += np.float32(self.LOG_OFFSET)
        return pool(np.log(bands, out=bands), self.time_pool)


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


FRONT_ENDS[Vggish.name] = Vggish
FRONT_ENDS[VggishPatch.name] = VggishPatch


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
