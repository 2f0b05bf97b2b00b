"""The twenty classes of OpenMIC-2018 as General MIDI instruments: programs, ranges, and how they are played.

General MIDI has neither mandolin nor ukulele; both are derived. The mandolin is the steel guitar's samples in the
mandolin's range, on doubled courses a few cents apart, played tremolo. The ukulele is the nylon guitar's samples in the
ukulele's range, on short strummed chords.

Left out of General MIDI's families, because they are or sound like something else: among the accordions 22 (harmonica),
among the guitars 28 and 31 (muted, harmonics), among the chromatic percussion celesta, music box and bells (8, 10, 14),
which are not struck with mallets or have no bars, and of the synthesizers those that imitate flutes, choirs or guitars
(82-85, 91, 99) or swell too slowly to be made out in ten seconds (89, 92-94).
"""

from dataclasses import dataclass

CLASSES = (
    "accordion",
    "banjo",
    "bass",
    "cello",
    "clarinet",
    "cymbals",
    "drums",
    "flute",
    "guitar",
    "mallet_percussion",
    "mandolin",
    "organ",
    "piano",
    "saxophone",
    "synthesizer",
    "trombone",
    "trumpet",
    "ukulele",
    "violin",
    "voice",
)

DRUM_BANK = 128


@dataclass(frozen=True)
class Patch:
    """A General MIDI program as one class plays it.

    Parameters
    ----------
    program
        General MIDI program, counted from 0; for cymbals and drums the number of the kit.
    low, high
        Range in MIDI keys that it is used in.
    idioms
        Names of the ways it is played (functions of `harness.corpora.pocket.music`).
    vibrato
        Depth in cents.
    courses
        Strings per note, a few cents apart.
    bank
        0, or `DRUM_BANK` for the kits.
    """

    program: int
    low: int
    high: int
    idioms: tuple[str, ...]
    vibrato: float = 0.0
    courses: int = 1
    bank: int = 0


def _patches(
    ranges: dict[int, tuple[int, int]], *idioms: str, vibrato: float = 0.0, courses: int = 1, bank: int = 0
) -> tuple[Patch, ...]:
    return tuple(Patch(program, *keys, idioms, vibrato, courses, bank) for program, keys in ranges.items())


#: Every class's patches. The ranges are those of the instruments, narrowed to where the SoundFont sounds like them.
CATALOGUE: dict[str, tuple[Patch, ...]] = {
    "accordion": _patches({21: (53, 86), 23: (53, 84)}, "melody_and_chords", "offbeat_chords", "melody"),
    "banjo": _patches({105: (50, 84)}, "roll"),
    "bass": _patches(dict.fromkeys(range(32, 40), (28, 50)), "bass_line", "walking_bass"),
    "cello": _patches({42: (36, 70)}, "slow_melody", "melody", vibrato=12),
    "clarinet": _patches({71: (50, 86)}, "melody", "arpeggio"),
    "cymbals": _patches(dict.fromkeys((0, 16, 24, 25, 40), (42, 59)), "cymbal_pattern", bank=DRUM_BANK),
    "drums": _patches(dict.fromkeys((0, 8, 16, 24, 25, 40), (35, 50)), "drum_pattern", bank=DRUM_BANK),
    "flute": _patches({72: (74, 96), 73: (60, 91), 74: (67, 91), 75: (62, 88)}, "melody", "fast_melody", vibrato=15),
    "guitar": (
        *_patches({24: (40, 66), 25: (40, 72), 26: (40, 72), 27: (40, 72)}, "strum", "arpeggio"),
        *_patches({29: (40, 72)}, "riff", "melody", vibrato=10),
    ),
    "mallet_percussion": _patches({9: (72, 96), 11: (55, 86), 12: (48, 84), 13: (65, 93)}, "fast_melody", "arpeggio"),
    "mandolin": _patches({25: (57, 88)}, "tremolo", courses=2),
    "organ": _patches(dict.fromkeys(range(16, 21), (40, 84)), "held_chords", "melody_and_chords"),
    "piano": _patches(dict.fromkeys(range(4), (36, 88)), "two_hands", "two_hands", "arpeggio"),
    "saxophone": _patches(
        {64: (58, 84), 65: (50, 79), 66: (46, 74), 67: (38, 66)}, "melody", "fast_melody", vibrato=12
    ),
    "synthesizer": (
        *_patches(dict.fromkeys((80, 81, 87), (45, 81)), "melody", "arpeggio", "fast_melody"),
        *_patches({90: (45, 81)}, "held_chords"),
    ),
    "trombone": _patches({57: (41, 69)}, "melody", "slow_melody"),
    "trumpet": _patches({56: (56, 84), 59: (56, 82)}, "melody", "fast_melody"),
    "ukulele": _patches({24: (60, 81)}, "short_strum"),
    "violin": _patches({40: (56, 93), 110: (56, 90)}, "melody", "fast_melody", "slow_melody", vibrato=18),
    "voice": _patches({52: (50, 79), 53: (50, 77), 54: (50, 77)}, "held_chords", "slow_melody", vibrato=12),
}
