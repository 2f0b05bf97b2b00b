"""Ten genres by rule: tempo, metre, swing, harmony, drums, bass, chords, lead and production of each, as data.

They are caricatures, drawn from what textbooks say of each genre, and they overlap: instruments and tempi are shared,
and an artist's sound differs more from another's than some genres do. What a genre cannot do without is its *marking
part*, see `MARKS`.
"""

from dataclasses import dataclass

from harness.corpora.gtzan_filtered import GENRES
from harness.corpora.pocket.instruments import Patch

ROLES = ("drums", "bass", "chords", "lead")

#: The part that marks a genre, and why. It plays in every track of the genre, through most of it.
MARKS = {
    "blues": ("lead", "phrases of the blues scale that call and wait for their own answer"),
    "classical": ("chords", "broken or held chords of strings, harp or keyboard, where others have a rhythm section"),
    "country": ("chords", "bass note and strum in turn, or a banjo's rolls"),
    "disco": ("drums", "a bass drum on every beat and an open hi-hat between them"),
    "hiphop": ("drums", "a sparse, heavy beat of bass drum and snare at a slow tempo"),
    "jazz": ("bass", "a bass that walks, a note on every beat"),
    "metal": ("chords", "distorted power chords, damped and driven in sixteenths"),
    "pop": ("lead", "a sung hook above everything else"),
    "reggae": ("chords", "short chords on the off-beats alone"),
    "rock": ("chords", "overdriven guitars in power chords or struck eighths"),
}

_BLUES12 = "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7"
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_DORIAN, _MIXOLYDIAN = (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 10)
_BLUE, _PENTATONIC, _PHRYGIAN = (0, 3, 5, 6, 7, 10), (0, 2, 4, 7, 9), (0, 1, 3, 5, 7, 8, 10)
_MINOR_PENTATONIC, _HARMONIC = (0, 3, 5, 7, 10), (0, 2, 3, 5, 7, 8, 11)


@dataclass(frozen=True)
class Sound:
    """An instrument in a role of a genre, and what it plays there.

    Parameters
    ----------
    patch
        Its program and range. ``patch.idioms`` are names of functions in `harness.corpora.pocket.music` or
        `harness.corpora.pocket.patterns`, or rhythms for `harness.corpora.pocket.patterns.played`; two rhythms with a
        space between are played in turn.
    legato
        Share of its time that a note of a rhythm is held.
    drive
        How hard an amplifier distorts it; 0 for not at all.
    """

    patch: Patch
    legato: float = 0.9
    drive: float = 0.0


def _sounds(
    programs: tuple[int, ...],
    low: int,
    high: int,
    idioms: tuple[str, ...],
    *,
    legato: float = 0.9,
    drive: float = 0.0,
    vibrato: float = 0.0,
) -> tuple[Sound, ...]:
    return tuple(Sound(Patch(program, low, high, idioms, vibrato), legato, drive) for program in programs)


@dataclass(frozen=True)
class Genre:
    """What the tracks of a genre are drawn from.

    Parameters
    ----------
    tempo, swing
        Ranges of the artists' beats per minute and of where the off-beat eighth falls.
    waltz
        Probability that an artist's tracks have three beats to a bar.
    changes
        Chord progressions, as `harness.corpora.pocket.patterns.chords` reads them, with the scale of the melody.
    kits
        Programs of the drum bank.
    grooves
        Names in `harness.corpora.pocket.patterns.GROOVES`.
    bass, chords, lead
        Instruments.
    without
        Probability, by role, that a track does without it.
    levels
        dB of each role in the mix.
    room
        Ranges of reverberation time in seconds and of the room's level in dB.
    band
        Ranges of the lowest and of the highest frequency in Hz that the production lets through.
    tilt
        Range in dB by which it raises the bass and lowers the treble.
    hiss, squash, loudness
        Ranges: noise in dB beside the music, ratio of the compressor, RMS level in dB re full scale.
    """

    tempo: tuple[float, float]
    swing: tuple[float, float]
    waltz: float
    changes: tuple[tuple[str, tuple[int, ...]], ...]
    kits: tuple[int, ...]
    grooves: tuple[str, ...]
    bass: tuple[Sound, ...]
    chords: tuple[Sound, ...]
    lead: tuple[Sound, ...]
    without: dict[str, float]
    levels: dict[str, float]
    room: tuple[tuple[float, float], tuple[float, float]]
    band: tuple[tuple[float, float], tuple[float, float]]
    tilt: tuple[float, float]
    hiss: tuple[float, float]
    squash: tuple[float, float]
    loudness: tuple[float, float]


_VOICE = (52, 53, 54)

RULES: dict[str, Genre] = {
    "blues": Genre(
        tempo=(62, 124),
        swing=(0.6, 0.68),
        waltz=0.0,
        changes=((_BLUES12, _BLUE), ("I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 I7", _BLUE), ("i7 i7 iv7 i7", _BLUE)),
        kits=(0, 8, 40),
        grooves=("shuffle", "slow_ride", "shuffle"),
        bass=(
            *_sounds((32, 33, 34), 28, 50, ("r.r.f.f.", "rrffssff", "r.f.s.o.")),
            *_sounds((32,), 28, 48, ("walking_bass",)),
        ),
        chords=(
            *_sounds((25, 26, 27), 40, 72, ("ddeeddee", "..x...x.", "d.e.d.e."), legato=0.7),
            *_sounds((0, 3), 48, 79, ("x..xx..x", "ddeeddee")),
            *_sounds((16, 18), 48, 76, ("x-------", "x---x---")),
        ),
        lead=(
            *_sounds((26, 27), 52, 79, ("licks",), vibrato=18),
            *_sounds((29,), 52, 79, ("licks",), vibrato=22),
            *_sounds((22,), 60, 84, ("licks",), vibrato=12),
            *_sounds((25, 65), 52, 77, ("licks",), vibrato=10),
        ),
        without={"drums": 0.25, "chords": 0.1, "bass": 0.1},
        levels={"drums": -5, "bass": -3, "chords": -5, "lead": 0},
        room=((0.3, 1.0), (-22, -12)),
        band=((60, 160), (4200, 9500)),
        tilt=(-2, 4),
        hiss=(-52, -32),
        squash=(1.0, 2.2),
        loudness=(-24, -15),
    ),
    "classical": Genre(
        tempo=(58, 132),
        swing=(0.5, 0.5),
        waltz=0.4,
        changes=(
            ("I V7 I IV ii V7 I I", _MAJOR),
            ("I vi ii V7", _MAJOR),
            ("i iv V7 i", _HARMONIC),
            ("i iio V7 i bVI iv V7 V7", _HARMONIC),
            ("I IV viio iii vi ii V7 I", _MAJOR),
        ),
        kits=(48,),
        grooves=(),
        bass=_sounds((42, 43, 48, 32), 33, 57, ("r-------", "r---f---", "r---o---", "r-----", "r---f-"), legato=0.97),
        chords=(
            *_sounds((48, 49), 48, 79, ("x-------", "x---x---", "x-----", "x---x-"), legato=0.98),
            *_sounds((46, 0, 6, 24), 48, 84, ("01210121", "0213021302130213", "01234321", "012121", "012343")),
            *_sounds((40, 71, 60), 52, 81, ("x---x---", "02120212", "x---x-", "021212")),
        ),
        lead=(
            *_sounds((40, 41, 110), 58, 91, ("slow_melody", "melody"), vibrato=20),
            *_sounds((68, 71, 73), 60, 86, ("melody", "slow_melody", "fast_melody"), vibrato=10),
            *_sounds((0, 6), 60, 91, ("fast_melody", "melody")),
            *_sounds((52, 48), 57, 79, ("slow_melody",), vibrato=10),
        ),
        without={"drums": 1.0, "bass": 0.25, "lead": 0.15},
        levels={"drums": -6, "bass": -4, "chords": -4, "lead": 0},
        room=((0.9, 1.25), (-14, -5)),
        band=((40, 110), (5500, 10500)),
        tilt=(-3, 3),
        hiss=(-50, -34),
        squash=(1.0, 1.3),
        loudness=(-30, -20),
    ),
    "country": Genre(
        tempo=(84, 138),
        swing=(0.5, 0.58),
        waltz=0.2,
        changes=(
            ("I I IV I V7 V7 I I", _PENTATONIC),
            ("I IV V7 I", _MAJOR),
            ("I V7 V7 I IV I V7 I", _PENTATONIC),
            ("vi IV I V7", _MAJOR),
        ),
        kits=(0, 8, 40),
        grooves=("train", "two_beat", "waltz"),
        bass=_sounds((32, 33, 34), 28, 50, ("r---f---", "r---f-f-", "r-----", "r---f-")),
        chords=(
            *_sounds((25, 25, 24), 40, 74, ("r.x.f.x.", "r.xxf.xx", "r.x.x.", "r.xxxx"), legato=0.8),
            *_sounds((105,), 50, 84, ("roll",)),
            *_sounds((25, 27), 40, 72, ("strum",)),
        ),
        lead=(
            *_sounds((110, 40), 58, 88, ("fast_melody", "melody"), vibrato=14),
            *_sounds((26, 27), 55, 84, ("melody", "licks"), vibrato=25),
            *_sounds((22, 105), 60, 84, ("melody",)),
            *_sounds(_VOICE, 52, 74, ("melody",), vibrato=12),
        ),
        without={"drums": 0.25, "bass": 0.1, "lead": 0.1},
        levels={"drums": -6, "bass": -3, "chords": -2, "lead": 0},
        room=((0.25, 0.7), (-24, -15)),
        band=((50, 130), (6500, 10500)),
        tilt=(-4, 2),
        hiss=(-58, -40),
        squash=(1.0, 2.5),
        loudness=(-22, -14),
    ),
    "disco": Genre(
        tempo=(108, 132),
        swing=(0.5, 0.5),
        waltz=0.0,
        changes=(
            ("i7 bVII bVIM7 V7", _MINOR),
            ("ii7 V7 ii7 V7", _DORIAN),
            ("i7 iv7 bVII bIII", _MINOR),
            ("IM7 vi7 ii7 V7", _MAJOR),
        ),
        kits=(0, 16, 24),
        grooves=("disco", "disco_clap", "disco"),
        bass=_sounds((33, 36, 38, 34), 28, 52, ("rorororo", "r.ro.ro.r.ro.rof", "ror.rorf"), legato=0.7),
        chords=(
            *_sounds((28, 27), 48, 76, ("x.xx.xx.x.xx.xx.", "..xx..x...xx..x."), legato=0.5),
            *_sounds((48, 50), 55, 86, ("x-------", "x--x--x-")),
            *_sounds((4, 5, 0), 48, 76, ("x..x..x.", ".x.x.x.x"), legato=0.7),
        ),
        lead=(
            *_sounds((48, 50), 60, 88, ("melody", "fast_melody")),
            *_sounds((61, 56), 55, 80, ("licks", "melody")),
            *_sounds((81, 80), 60, 84, ("fast_melody",)),
            *_sounds(_VOICE, 55, 77, ("melody",), vibrato=12),
        ),
        without={"bass": 0.05, "chords": 0.1, "lead": 0.15},
        levels={"drums": 0, "bass": -2, "chords": -4, "lead": -2},
        room=((0.2, 0.7), (-24, -14)),
        band=((40, 90), (6500, 10500)),
        tilt=(-2, 4),
        hiss=(-60, -44),
        squash=(1.5, 3.0),
        loudness=(-20, -12),
    ),
    "hiphop": Genre(
        tempo=(76, 104),
        swing=(0.5, 0.58),
        waltz=0.0,
        changes=(
            ("i7 i7", _MINOR),
            ("i7 iv7", _MINOR),
            ("i bVI", _MINOR),
            ("ii7 V7", _DORIAN),
            ("i i bVII bVII", _MINOR),
        ),
        kits=(25, 24, 0, 8),
        grooves=("boom_bap", "half_time", "boom_bap"),
        bass=_sounds((38, 39, 33, 35), 28, 46, ("r-----r-..f-....", "r-----.r..r-....", "r-------o---f---")),
        chords=(
            *_sounds((4, 5, 0), 48, 76, ("x---..x-....x-..", "x-------..x-....", "..x-..x-")),
            *_sounds((48, 45, 88), 52, 79, ("x-..x-..", "x-------", "0.1.2.1.")),
            *_sounds((11, 46, 24), 55, 84, ("0.2.1.3.", "0..1..2.0..1..2.")),
        ),
        lead=(
            *_sounds((*_VOICE, 85), 45, 64, ("chant",)),
            *_sounds((53, 54), 43, 60, ("chant",)),
            *_sounds((73, 80, 87), 57, 81, ("licks",)),
        ),
        without={"bass": 0.1, "chords": 0.15, "lead": 0.1},
        levels={"drums": 0, "bass": -1, "chords": -7, "lead": -3},
        room=((0.2, 0.5), (-28, -18)),
        band=((30, 60), (5000, 10500)),
        tilt=(0, 8),
        hiss=(-54, -34),
        squash=(2.0, 4.0),
        loudness=(-18, -11),
    ),
    "jazz": Genre(
        tempo=(96, 216),
        swing=(0.58, 0.67),
        waltz=0.15,
        changes=(
            ("ii7 V7 IM7 IM7", _MAJOR),
            ("IM7 vi7 ii7 V7", _MAJOR),
            ("i7 i7 iv7 i7 iio7 V7 i7 i7", _DORIAN),
            (_BLUES12, _MIXOLYDIAN),
            ("iii7 vi7 ii7 V7", _MAJOR),
        ),
        kits=(32, 40, 0),
        grooves=("ride", "brushes", "ride", "jazz_waltz"),
        bass=_sounds((32, 32, 35, 43), 28, 52, ("walking_bass",)),
        chords=(
            *_sounds((0, 1), 48, 79, ("x..x....", "...x..x.", "x.....x.", "x..x..", "..x..."), legato=0.6),
            *_sounds((26,), 45, 74, ("x.x.x.x.", "x..x....", "x.x.x."), legato=0.6),
            *_sounds((11, 16), 50, 79, ("x-------", "x..x....", "x-----"), legato=0.8),
        ),
        lead=(
            *_sounds((64, 65, 66), 52, 82, ("fast_melody", "licks", "melody"), vibrato=14),
            *_sounds((56, 59, 57), 52, 80, ("fast_melody", "licks", "melody")),
            *_sounds((71, 11, 0, 26), 55, 86, ("fast_melody", "licks")),
        ),
        without={"drums": 0.2, "chords": 0.15, "lead": 0.05},
        levels={"drums": -7, "bass": -2, "chords": -6, "lead": 0},
        room=((0.4, 1.1), (-22, -12)),
        band=((45, 130), (4500, 10500)),
        tilt=(-1, 4),
        hiss=(-54, -34),
        squash=(1.0, 1.8),
        loudness=(-26, -17),
    ),
    "metal": Genre(
        tempo=(96, 190),
        swing=(0.5, 0.5),
        waltz=0.0,
        changes=(
            ("i i bVI bVII", _MINOR),
            ("i bII i bII", _PHRYGIAN),
            ("i bIII bVII bVI", _MINOR),
            ("i i i bII", _PHRYGIAN),
        ),
        kits=(16, 0, 8),
        grooves=("double_kick", "thrash", "breakdown", "rock"),
        bass=_sounds((34, 34, 33), 28, 47, ("rrrrrrrrrrrrrrrr", "rrrrrrrr", "r.rr..r.r.rr..r."), legato=0.8),
        chords=(
            *_sounds((30, 30, 29), 38, 64, ("PpppPpppPpppPppp", "P.ppP.ppP.ppP.pp"), legato=0.45, drive=3.0),
            *_sounds((30, 29), 38, 64, ("P---P-P-", "P..P..P...PP...."), legato=0.9, drive=2.5),
        ),
        lead=(
            *_sounds((30, 29), 57, 88, ("runs", "licks"), drive=1.5, vibrato=18),
            *_sounds((30, 54), 45, 69, ("melody", "chant"), drive=2.0),
        ),
        without={"bass": 0.05, "lead": 0.3},
        levels={"drums": -2, "bass": -4, "chords": 0, "lead": -4},
        room=((0.2, 0.6), (-28, -18)),
        band=((40, 90), (7000, 10800)),
        tilt=(-4, 3),
        hiss=(-58, -44),
        squash=(2.0, 5.0),
        loudness=(-18, -10),
    ),
    "pop": Genre(
        tempo=(88, 134),
        swing=(0.5, 0.52),
        waltz=0.0,
        changes=(
            ("I V vi IV", _MAJOR),
            ("vi IV I V", _MAJOR),
            ("I vi IV V", _MAJOR),
            ("IV V iii vi", _MAJOR),
            ("i bVI bIII bVII", _MINOR),
        ),
        kits=(0, 24, 25, 8),
        grooves=("pop", "pop_floor", "pop"),
        bass=_sounds((33, 38, 39, 34), 28, 50, ("rrrrrrrr", "r--r--r-", "r-----r-r-----f-"), legato=0.85),
        chords=(
            *_sounds((0, 1, 4, 5), 48, 79, ("x-x-x-x-", "x--x--x-", "01210121")),
            *_sounds((88, 89, 90, 50), 50, 79, ("x-------",)),
            *_sounds((25, 27), 40, 74, ("strum",)),
        ),
        lead=(
            *_sounds((*_VOICE, 53, 54), 55, 77, ("melody", "melody", "fast_melody"), vibrato=14),
            *_sounds((85, 80, 81), 57, 81, ("melody", "fast_melody")),
        ),
        without={"drums": 0.1, "bass": 0.1, "chords": 0.05},
        levels={"drums": -2, "bass": -4, "chords": -5, "lead": 0},
        room=((0.3, 1.0), (-24, -13)),
        band=((35, 80), (8000, 10800)),
        tilt=(-3, 3),
        hiss=(-66, -50),
        squash=(2.0, 4.0),
        loudness=(-18, -11),
    ),
    "reggae": Genre(
        tempo=(62, 92),
        swing=(0.5, 0.62),
        waltz=0.0,
        changes=(
            ("I IV", _MAJOR),
            ("i iv", _MINOR),
            ("I ii I ii", _MAJOR),
            ("i bVII bVI bVII", _MINOR),
            ("I V vi IV", _MAJOR),
        ),
        kits=(0, 8, 25),
        grooves=("one_drop", "steppers", "rockers", "one_drop"),
        bass=_sounds((33, 34, 38, 35), 28, 46, ("r-.rf-.o", "..rrf-r.", "r.rt.f..", "r--rf-t-")),
        chords=(
            *_sounds((27, 28, 26), 50, 79, ("..x...x.", ".x.x.x.x"), legato=0.35),
            *_sounds((16, 17, 18), 52, 79, (".x.x.x.x", ".xx..xx."), legato=0.4),
            *_sounds((0, 3), 50, 79, ("..x...x.", ".x.x.x.x"), legato=0.4),
        ),
        lead=(
            *_sounds(_VOICE, 52, 74, ("melody", "licks"), vibrato=10),
            *_sounds((22, 21), 60, 81, ("melody", "licks")),
            *_sounds((57, 61, 56), 50, 76, ("licks",)),
            *_sounds((16, 80), 55, 79, ("licks",)),
        ),
        without={"drums": 0.05, "bass": 0.05, "lead": 0.15},
        levels={"drums": -3, "bass": 0, "chords": -3, "lead": -3},
        room=((0.4, 1.2), (-20, -9)),
        band=((35, 90), (4500, 10000)),
        tilt=(0, 7),
        hiss=(-56, -36),
        squash=(1.3, 3.0),
        loudness=(-21, -13),
    ),
    "rock": Genre(
        tempo=(96, 164),
        swing=(0.5, 0.54),
        waltz=0.0,
        changes=(
            ("I bVII IV I", _MIXOLYDIAN),
            ("i bVI bVII i", _MINOR),
            ("I IV V IV", _MIXOLYDIAN),
            ("i bIII IV i", _MINOR_PENTATONIC),
            ("I V vi IV", _MAJOR),
        ),
        kits=(0, 16, 8),
        grooves=("rock", "rock_ride", "rock", "pop"),
        bass=_sounds((33, 34), 28, 50, ("rrrrrrrr", "r-rr-rff", "r.rrr.rr"), legato=0.85),
        chords=(
            *_sounds((29, 29), 40, 69, ("PpppPppp", "P-.P..PP", "riff"), drive=1.2),
            *_sounds((29, 27, 30), 40, 72, ("XxxxXxxx", "X--xX-x-"), drive=1.0),
            *_sounds((27,), 40, 72, ("strum",), drive=1.2),
        ),
        lead=(
            *_sounds((29, 30), 55, 84, ("licks", "melody", "runs"), drive=1.0, vibrato=22),
            *_sounds(_VOICE, 52, 74, ("melody",), vibrato=14),
            *_sounds((18, 27), 55, 81, ("melody", "licks")),
        ),
        without={"bass": 0.05, "drums": 0.08, "lead": 0.2},
        levels={"drums": -2, "bass": -3, "chords": -1, "lead": -1},
        room=((0.25, 0.9), (-25, -14)),
        band=((45, 100), (6000, 10500)),
        tilt=(-3, 3),
        hiss=(-58, -40),
        squash=(1.3, 3.5),
        loudness=(-20, -12),
    ),
}

if set(RULES) != set(GENRES) or set(MARKS) != set(GENRES):
    raise AssertionError("every genre needs its rules and its mark")
