"""What all instruments of a clip agree on: tempo, metre, key and chords."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

#: Length of an excerpt unless another is asked for.
SECONDS = 10.0

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "dorian": (0, 2, 3, 5, 7, 9, 10)}

#: Chord progressions as scale degrees (0 = tonic), one chord a bar.
PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (0, 3, 4, 0),
    (5, 3, 0, 4),
    (0, 3, 0, 4),
    (1, 4, 0, 0),
    (0, 6, 3, 0),
    (0, 2, 3, 4),
)


class Note(NamedTuple):
    """Onset and length in seconds, MIDI key and velocity."""

    start: float
    length: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Song:
    """What all instruments of a clip agree on.

    Parameters
    ----------
    tempo
        Beats per minute.
    metre
        Beats per bar: 3 or 4.
    tonic
        Pitch class of the key, 0 = C.
    scale
        A name in `SCALES`.
    progression
        Scale degree of each bar's chord, repeated.
    sevenths
        Whether chords have four notes.
    swing
        Where the off-beat eighth falls in its beat: 0.5 straight, 0.67 swung.
    seconds
        Length of the excerpt.
    """

    tempo: float
    metre: int
    tonic: int
    scale: str
    progression: tuple[int, ...]
    sevenths: bool
    swing: float
    seconds: float = SECONDS

    @property
    def bars(self) -> int:
        """Number of bars begun in an excerpt."""
        return int(np.ceil(self.seconds / (self.metre * 60 / self.tempo)))

    def time(self, beat: float) -> float:
        """Seconds at which a beat (counted from 0, fractions allowed) falls, swing included."""
        whole, part = divmod(beat, 1.0)
        part = part * self.swing / 0.5 if part <= 0.5 else self.swing + (part - 0.5) * (1 - self.swing) / 0.5
        return (whole + part) * 60 / self.tempo

    def scale_keys(self, low: int, high: int) -> list[int]:
        """MIDI keys of the scale from `low` to `high`."""
        classes = {(self.tonic + step) % 12 for step in SCALES[self.scale]}
        return [key for key in range(low, high + 1) if key % 12 in classes]

    def chord(self, bar: int) -> list[int]:
        """Pitch classes of a bar's chord, root first."""
        degree, scale = self.progression[bar % len(self.progression)], SCALES[self.scale]
        return [(self.tonic + scale[(degree + third) % 7]) % 12 for third in (0, 2, 4, 6)[: 4 if self.sevenths else 3]]

    def chord_keys(self, bar: int, low: int, high: int) -> list[int]:
        """MIDI keys of a bar's chord from `low` to `high`."""
        classes = self.chord(bar)
        return [key for key in range(low, high + 1) if key % 12 in classes]


def draw_song(rng: np.random.Generator, *, tempo: float, waltz: float, minor: float, swing: float) -> Song:
    """Draw a song to an artist's taste.

    Parameters
    ----------
    rng
        Source of randomness.
    tempo
        The artist's usual beats per minute; a song's is within 12 % of it.
    waltz, minor
        Probabilities of three beats to the bar and of a minor key.
    swing
        As in `Song`.

    Returns
    -------
    Song
    """
    scale = str(rng.choice(["minor", "dorian"], p=[0.7, 0.3])) if rng.random() < minor else "major"
    return Song(
        tempo=round(float(tempo * rng.uniform(0.88, 1.12)), 1),
        metre=3 if rng.random() < waltz else 4,
        tonic=int(rng.integers(12)),
        scale=scale,
        progression=PROGRESSIONS[rng.integers(len(PROGRESSIONS))],
        sevenths=bool(rng.random() < 0.3),
        swing=swing,
    )
