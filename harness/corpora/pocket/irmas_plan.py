"""What the pocket twin of IRMAS holds: songs, their genres and line-ups, and the excerpts that are cut from them.

A song of the training part has one predominant instrument, which plays throughout; two to four clips of 3 s are cut
from it. A song of the test part has up to six of equal rank, and each of its excerpts says which of them play in it.
Under them other instruments of the eleven may play, much softer, and bass and drums, which are no classes.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from harness.corpora.irmas import CLASSES, LABELS_PER_MIXTURE, TEST, TRAINING
from harness.corpora.pocket.clip import stream
from harness.corpora.pocket.instruments import CATALOGUE, Patch
from harness.corpora.pocket.plan import draw_names

#: Second words of the seed sequences, none of which `harness.corpora.pocket.clip` uses.
PLAN, MUSIC = 20, 21
#: Of 600 clips 160, which have several labels each: enough to choose a threshold on a part of them.
TEST_SHARE = 4 / 15
#: Published counts of the test labels are raised to this power before they are shared out: of 160 mixtures three would
#: else have a clarinet, and nothing could be said of it. Rare stays rare: nine flutes to five clarinets, and not 13.
TEMPER = 0.6
#: Excerpts begin and end on tenths of a second, so that activity is told of whole frames.
TENTHS = 10
CLIP_TENTHS = 30
MIXTURE_TENTHS = (50, 200)
#: Between two excerpts of a song: long enough for what sounded in one to have died away in the next.
GAP_TENTHS = (16, 30)

#: The instruments' patches. The guitars are told apart by their programs: nylon and steel strings, or jazz, clean,
#: overdriven and distorted.
PATCHES: dict[str, tuple[Patch, ...]] = {
    "cel": CATALOGUE["cello"],
    "cla": CATALOGUE["clarinet"],
    "flu": CATALOGUE["flute"],
    "gac": tuple(patch for patch in CATALOGUE["guitar"] if patch.program in (24, 25)),
    "gel": (
        *(patch for patch in CATALOGUE["guitar"] if patch.program in (26, 27, 29)),
        Patch(30, 40, 72, ("riff", "melody"), 10.0),
    ),
    "org": CATALOGUE["organ"],
    "pia": CATALOGUE["piano"],
    "sax": CATALOGUE["saxophone"],
    "tru": CATALOGUE["trumpet"],
    "vio": CATALOGUE["violin"],
    "voi": CATALOGUE["voice"],
    "bass": CATALOGUE["bass"],
    "drums": CATALOGUE["drums"],
    "cymbals": CATALOGUE["cymbals"],
}
#: All that may sound: the classes, and what is none.
PARTS = tuple(PATCHES)

FOLDERS = (
    "IRMAS-TestingData-Part1/Part1",
    "IRMAS-TestingData-Part2/IRTestingData-Part2",
    "IRMAS-TestingData-Part3/Part3",
)


@dataclass(frozen=True)
class Genre:
    """A genre of the file names.

    Parameters
    ----------
    tempo
        Range in beats per minute.
    swing
        Where the off-beat eighth falls in its beat.
    drums, bass
        Chances of having them.
    backing
        Instruments that accompany.
    strange
        Instruments that do not play it.
    """

    tempo: tuple[float, float]
    swing: float
    drums: float
    bass: float
    backing: tuple[str, ...]
    strange: tuple[str, ...] = ()


GENRES = {
    "cla": Genre((60, 110), 0.5, 0.0, 0.0, ("pia", "vio", "cel", "org", "flu", "cla"), ("gel", "sax")),
    "cou_fol": Genre((80, 132), 0.5, 0.5, 0.8, ("gac", "vio", "pia", "voi")),
    "jaz_blu": Genre((84, 168), 0.64, 0.7, 0.9, ("pia", "org", "gel", "gac", "sax", "tru")),
    "lat_sou": Genre((88, 132), 0.5, 0.85, 0.9, ("gac", "pia", "tru", "org", "flu")),
    "pop_roc": Genre((88, 150), 0.5, 0.9, 0.95, ("gel", "gac", "org", "pia", "voi")),
}


@dataclass(frozen=True)
class Excerpt:
    """A clip: its file (relative to the tree, without suffix), its place in the song in tenths of a second, its labels.

    `labels` are the codes of the instruments that predominate in it, in the order of the classes.
    """

    path: str
    start: int
    length: int
    labels: tuple[str, ...]

    @property
    def key(self) -> str:
        """The file's name, by which the reader knows it."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Song:
    """What is composed as a whole: see the module.

    Parameters
    ----------
    number
        Counted over the corpus; with the seed it determines the music.
    partition
        ``"train"`` or ``"test"``.
    genre
        A name in `GENRES`.
    leads
        Codes of the instruments that are labels somewhere in it.
    backing
        Codes of those that accompany.
    rhythm
        Of ``"bass"``, ``"drums"``, ``"cymbals"`` those that it has.
    excerpts
        In the order of time.
    """

    number: int
    partition: str
    genre: str
    leads: tuple[str, ...]
    backing: tuple[str, ...]
    rhythm: tuple[str, ...]
    excerpts: tuple[Excerpt, ...]

    @property
    def tenths(self) -> int:
        """Its length in tenths of a second: to the end of its last excerpt."""
        return self.excerpts[-1].start + self.excerpts[-1].length


def draw_songs(size: int, seed: int) -> list[Song]:
    """Plan a corpus.

    Parameters
    ----------
    size
        Number of clips, training and test.
    seed
        The corpus' seed.

    Returns
    -------
    list of Song
        Those of the training part, in an order that tells nothing of their classes, and then those of the test part.
        Classes are as frequent in training as in the published corpus, and in test nearly so, see `TEMPER`; so are
        numbers of labels.
    """
    rng = stream(seed, PLAN)
    mixtures = round(TEST_SHARE * size)
    sizes = [
        (code, int(clips))
        for code, count in zip(CLASSES, shares(list(TRAINING.values()), size - mixtures), strict=True)
        for clips in _song_sizes(count, rng)
    ]
    songs = [_training_song(number, *sizes[place], rng) for number, place in enumerate(rng.permutation(len(sizes)))]
    return songs + _test_songs(mixtures, len(songs), seed, rng)


def shares(weights: list[float], total: int) -> list[int]:
    """Share `total` out in whole numbers; what rounding leaves over goes to the largest remainders.

    Parameters
    ----------
    weights
        What the shares are proportional to.
    total
        Their sum.

    Returns
    -------
    list of int
        As long as `weights`.
    """
    exact = np.array(weights, dtype=float) * total / np.sum(weights)
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()


def _song_sizes(clips: int, rng: np.random.Generator) -> list[int]:
    """Numbers of clips of a class's songs: three as a rule; two songs at least, or no split by song had both parts."""
    songs = max(2, round(clips / 3))
    sizes = [len(part) for part in np.array_split(np.arange(clips), songs)]
    for first, second in zip(sizes[::2], sizes[1::2], strict=False):
        place = sizes.index(first)
        if first == second == 3 and rng.random() < 0.4:
            sizes[place], sizes[sizes.index(second, place + 1)] = 2, 4
    return sizes


def _genre(leads: tuple[str, ...], rng: np.random.Generator) -> str:
    fitting = [name for name, genre in GENRES.items() if not set(leads) & set(genre.strange)]
    return fitting[rng.integers(len(fitting))]


def _rhythm(genre: Genre, rng: np.random.Generator) -> tuple[str, ...]:
    drums, bass = rng.random() < genre.drums, rng.random() < genre.bass
    return (("bass",) if bass else ()) + (("drums", "cymbals") if drums else ())


def _backing(genre: Genre, leads: tuple[str, ...], chances: list[float], rng: np.random.Generator) -> tuple[str, ...]:
    able = [code for code in genre.backing if code not in leads]
    count = int(rng.choice(len(chances), p=chances))
    return tuple(sorted(able[place] for place in rng.permutation(len(able))[:count]))


def _places(lengths: list[int], rng: np.random.Generator) -> list[int]:
    """Beginnings of excerpts of these lengths, in tenths of a second."""
    gaps = rng.integers(GAP_TENTHS[0], GAP_TENTHS[1] + 1, len(lengths))
    ends = itertools.accumulate(length + gap for length, gap in zip(lengths, gaps.tolist(), strict=True))
    # Before the first excerpt the music has begun, too.
    return [5 + place for place in (0, *ends)][: len(lengths)]


def _training_song(number: int, code: str, clips: int, rng: np.random.Generator) -> Song:
    name = _genre((code,), rng)
    genre = GENRES[name]
    alone = rng.random() < 0.2
    rhythm = () if alone else _rhythm(genre, rng)
    backing = () if alone else _backing(genre, (code,), [0.25, 0.5, 0.25], rng)
    # Both styles of the published names.
    drums = f"[{'dru' if 'drums' in rhythm else 'nod'}]"
    stem = f"[{code}]{drums}[{name}]{number + 1:04d}" if rng.random() < 0.5 else f"[{code}][{name}]{number + 1:04d}"
    stem = f"{int(rng.integers(1, 1000)):03d}__{stem}" if drums in stem else stem
    excerpts = tuple(
        Excerpt(f"IRMAS-TrainingData/{code}/{stem}__{take + 1}", start, CLIP_TENTHS, (code,))
        for take, start in enumerate(_places([CLIP_TENTHS] * clips, rng))
    )
    return Song(number, "train", name, (code,), backing, rhythm, excerpts)


def _test_songs(mixtures: int, first: int, seed: int, rng: np.random.Generator) -> list[Song]:
    """Songs of two to five mixtures; line-ups and labels go to the classes that are furthest behind their aims.

    A class has the same share of the excerpts with one label as of the others: if one were never alone, whatever
    differs between it and another could be that.
    """
    numbers = [
        n
        for n, k in zip(LABELS_PER_MIXTURE, shares(list(LABELS_PER_MIXTURE.values()), mixtures), strict=True)
        for _ in range(k)
    ]
    numbers = [numbers[place] for place in rng.permutation(mixtures)]
    per_song = []
    while sum(per_song) < mixtures:
        per_song.append(min(int(rng.integers(2, 6)), mixtures - sum(per_song)))
    weights = np.array([count**TEMPER for count in TEST.values()])
    alone = numbers.count(1)
    # Rows: excerpts with one label, and the others.
    aims = np.outer([alone, sum(numbers) - alone], weights / weights.sum())
    given = np.zeros(aims.shape)

    def choose(among: list[int], count: int, wanted: list[int]) -> list[int]:
        """Pick classes for excerpts with so many labels each."""
        singles = wanted.count(1)
        behind = np.average(1 - given / aims, axis=0, weights=[singles, sum(wanted) - singles])[among]
        behind *= rng.uniform(0.7, 1.0, len(among))
        behind += given.sum(axis=0)[among] == 0  # so that a small corpus has most classes, too
        return [among[place] for place in np.argsort(-behind, kind="stable")[:count]]

    titles, songs = draw_names(2 * len(per_song), seed), []
    for place, (count, end) in enumerate(zip(per_song, itertools.accumulate(per_song), strict=True)):
        here = numbers[end - count : end]
        # With more than play at once, instruments may pause: so the few excerpts of a rare one are of several songs.
        line_up = choose(list(range(len(CLASSES))), min(max(here) + int(rng.integers(2, 4)), 6), here)
        labels = []
        for wanted in here:
            chosen = choose(line_up, wanted, [wanted])
            given[int(wanted > 1), chosen] += 1
            labels.append(tuple(CLASSES[c] for c in sorted(chosen)))
        leads = tuple(code for code in CLASSES if any(code in some for some in labels))
        name = _genre(leads, rng)
        lengths = rng.integers(MIXTURE_TENTHS[0], MIXTURE_TENTHS[1] + 1, count).tolist()
        title = f"{int(rng.integers(1, 16)):02d} - {titles[2 * place]}"
        if rng.random() < 0.4:
            title = f"The {titles[2 * place + 1]} - {titles[2 * place]}"
        # The published numbers have gaps: not every excerpt of a song was kept.
        takes = np.sort(rng.choice(np.arange(1, 4 * count), count, replace=False)).tolist()
        folder = FOLDERS[place * len(FOLDERS) // len(per_song)]
        excerpts = tuple(
            Excerpt(f"{folder}/{title}-{take}", start, length, some)
            for take, start, length, some in zip(takes, _places(lengths, rng), lengths, labels, strict=True)
        )
        backing = _backing(GENRES[name], leads, [0.7, 0.3], rng)
        songs.append(Song(first + place, "test", name, leads, backing, _rhythm(GENRES[name], rng), excerpts))
    return songs
