"""Front ends: a waveform in, the spectrogram that a network sees out.

Adding one means a subclass of `FrontEnd` and its entry in `FRONT_ENDS`, in a module that `harness.features` imports.
"""

import abc
import math
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from harness.errors import RepriseError


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

    def _known(self, seconds: float | None) -> float:
        """The length itself, which a front end needs whose output grows with it."""
        if seconds is None:
            raise RepriseError(
                f"front end {self.name} needs clips of one length, and these have lengths of their own; "
                "use vggish_patch"
            )
        return seconds


#: Every front end by name; the modules of the classes put them in.
FRONT_ENDS: dict[str, type[FrontEnd]] = {}


def names() -> list[str]:
    """Names of all front ends, sorted.

    Returns
    -------
    list of str
        What `front_end` takes.
    """
    return sorted(FRONT_ENDS)


def front_end(name: str, **parameters: float | bool | str) -> FrontEnd:
    """Make a front end.

    Parameters
    ----------
    name
        One of `names`, such as ``"mel"``.
    **parameters
        Those of its class in `FRONT_ENDS`; defaults are the published ones.

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
        raise RepriseError(f"no front end is called {name!r}; there are: {', '.join(names())}")
    kind = FRONT_ENDS[name]
    known = [field.name for field in fields(kind)]
    for parameter in parameters:
        if parameter not in known:
            raise RepriseError(f"front end {name} has no parameter {parameter!r}; it has: {', '.join(known)}")
    return kind(**parameters)
