"""The front end of study 004: a picture of a note's first second, for networks that were made for images."""

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from harness.errors import RepriseError
from harness.features.frontends import FRONT_ENDS, FrontEnd
from harness.features.transforms import pool, slaney_bands, slaney_edges


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
        # In float64, as what the rounding of a loud partial leaves in the other bands is not small beside the offset.
        bands = slaney_bands(
            note, self.sample_rate, self.n_fft, self.hop_length, self.n_mels, power=2, dtype=np.float64
        )
        bands += np.float32(self.offset)
        return pool(np.log(bands, out=bands), self.time_pool).T

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


FRONT_ENDS[NotePicture.name] = NotePicture
