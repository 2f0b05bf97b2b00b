"""Who plays what: artists with their line-ups, each clip's instruments, keys and titles, and the split by artist."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.corpora.pocket.clip import NAMES, PLAN, SPLIT, stream
from harness.corpora.pocket.instruments import CLASSES

#: Chances of one, two and three instruments in a clip.
ENSEMBLES = (0.45, 0.4, 0.15)
TEST_SHARE = 0.25

_FIRST_WORDS = (
    "Amber Autumn Blue Brass Copper Crooked Distant Double Drifting Early Empty Evening Fallow Glass Golden Grey "
    "Hollow Iron Ivory Late Little Lost Low Lucky Marble Midnight Northern Old Open Paper Pale Plain Quiet Red River "
    "Rolling Salt Scarlet Second Silver Slow Small Southern Spare Still Sunday Tall Velvet Western Wild Winter Wooden"
)
_SECOND_WORDS = (
    "Anchor Arcade Attic Bell Birch Bridge Candle Canyon Carousel Cedar Chapel Compass Corner Crane Creek Ember Fable "
    "Ferry Field Garden Gate Harbour Heron Hill House Kite Ladder Lantern Lark Meadow Mill Mirror Moth Orchard Parade "
    "Parlour Pier Pilot Quarry Road Rooster Sail Signal Sparrow Station Stone Tide Timber Tower Valley Wagon Willow"
)
_METADATA_HEADER = (
    "track_id,album_id,album_title,album_url,artist_id,artist_name,artist_url,artist_website,license_image_file,"
    "license_image_file_large,license_parent_id,license_title,license_url,tags,track_bit_rate,track_comments,"
    "track_composer,track_copyright_c,track_copyright_p,track_date_created,track_date_recorded,track_disc_number,"
    "track_duration,track_explicit,track_explicit_notes,track_favorites,track_file,track_genres,track_image_file,"
    "track_information,track_instrumental,track_interest,track_language_code,track_listens,track_lyricist,"
    "track_number,track_publisher,track_title,track_url,sample_key,start_time"
)


@dataclass(frozen=True)
class Clip:
    """A clip before it is rendered: its number (also its row, keys ascend), key, artist's number, and who plays."""

    number: int
    key: str
    artist: int
    instruments: tuple[str, ...]


def draw_clips(size: int, seed: int) -> list[Clip]:
    """Plan a corpus.

    Every artist has five to eight clips and a line-up of five or six classes, dealt from a shuffled deck of the twenty
    so that all classes are about equally frequent; a clip's one to three instruments are those of the line-up that the
    artist has used least.

    Parameters
    ----------
    size
        Number of clips.
    seed
        The corpus' seed.

    Returns
    -------
    list of Clip
        `size` of them in the order of their keys.
    """
    rng = stream(seed, PLAN)
    gap = min(250, 990_000 // size)  # track numbers have six digits
    clips, deck, artist, track = [], [], 0, 0
    while len(clips) < size:
        line_up: list[str] = []
        wanted = int(rng.integers(5, 7))
        while len(line_up) < wanted:
            deck = deck or [CLASSES[i] for i in rng.permutation(len(CLASSES))]
            card = next((name for name in deck if name not in line_up), None)
            if card is None:
                deck = deck + [CLASSES[i] for i in rng.permutation(len(CLASSES))]
                continue
            deck.remove(card)
            line_up.append(card)
        used = dict.fromkeys(line_up, 0)
        for _ in range(min(int(rng.integers(5, 9)), size - len(clips))):
            count = int(rng.choice([1, 2, 3], p=ENSEMBLES))
            order = [line_up[i] for i in rng.permutation(len(line_up))]
            chosen = sorted(order, key=used.__getitem__)[:count]
            for name in chosen:
                used[name] += 1
            track += int(rng.integers(1, gap + 1))
            key = f"{track:06d}_{960 * int(rng.integers(1, 250))}"
            clips.append(Clip(len(clips), key, artist, tuple(chosen)))
        artist += 1
    return clips


def labels_of(clips: list[Clip]) -> np.ndarray:
    """Which instruments sound in which clip.

    Parameters
    ----------
    clips
        From `draw_clips`.

    Returns
    -------
    ndarray, shape (n, 20), uint8
    """
    return np.array([[name in clip.instruments for name in CLASSES] for clip in clips], dtype=np.uint8)


def draw_test(clips: list[Clip], seed: int) -> np.ndarray:
    """Choose the test part: whole artists, about a quarter of the clips and of every class.

    Of 300 random choices the one whose least balanced class is balanced best, as the published split was made by
    repeated stratified draws.

    Parameters
    ----------
    clips
        From `draw_clips`.
    seed
        The corpus' seed.

    Returns
    -------
    ndarray, shape (n,), bool
        True for the clips of the test part.
    """
    rng, labels = stream(seed, SPLIT), labels_of(clips).astype(float)
    artists = np.array([clip.artist for clip in clips])
    per_artist = np.zeros((artists.max() + 1, labels.shape[1] + 1))
    np.add.at(per_artist, artists, np.column_stack([labels, np.ones(len(labels))]))
    total = np.maximum(per_artist.sum(axis=0), 1)
    best, best_error = None, np.inf
    for _ in range(300):
        order = rng.permutation(len(per_artist))
        shares = per_artist[order].cumsum(axis=0) / total
        count = int(np.argmin(np.abs(shares[:, -1] - TEST_SHARE))) + 1
        error = np.abs(shares[count - 1] - TEST_SHARE).max()
        if error < best_error:
            best, best_error = order[:count], error
    return np.isin(artists, best)


def draw_names(count: int, seed: int) -> list[str]:
    """Invent names of two words, all different.

    Parameters
    ----------
    count
        How many.
    seed
        The corpus' seed.

    Returns
    -------
    list of str
        Numbered from the second round on, once all pairs of words are used up.
    """
    pairs = [f"{first} {second}" for first in _FIRST_WORDS.split() for second in _SECOND_WORDS.split()]
    order = stream(seed, NAMES).permutation(len(pairs))
    rounds = (divmod(number, len(pairs)) for number in range(count))
    return [pairs[order[place]] + (f" {turn + 1}" if turn else "") for turn, place in rounds]


def draw_metadata(clips: list[Clip], seed: int) -> pd.DataFrame:
    """Invent the table of tracks: artists, albums, titles.

    Parameters
    ----------
    clips
        From `draw_clips`.
    seed
        The corpus' seed.

    Returns
    -------
    DataFrame
        One row per clip, with the columns of the published ``openmic-2018-metadata.csv``; those that a rendered
        track has no use for are empty.
    """
    names = draw_names(clips[-1].artist + 1 + len(clips), seed)
    artists, titles = names[: clips[-1].artist + 1], names[clips[-1].artist + 1 :]
    table = pd.DataFrame("", index=range(len(clips)), columns=_METADATA_HEADER.split(","), dtype=object)
    for column, values in {
        "track_id": [int(clip.key[:6]) for clip in clips],
        "album_id": [clip.artist + 1 for clip in clips],
        "album_title": [f"Pocket recordings of the {artists[clip.artist]}" for clip in clips],
        "artist_id": [clip.artist + 1 for clip in clips],
        "artist_name": [f"The {artists[clip.artist]}" for clip in clips],
        "track_number": [clip.number + 1 for clip in clips],
        "track_title": titles,
        "sample_key": [clip.key for clip in clips],
        "start_time": [int(clip.key[7:]) / 1000 for clip in clips],
    }.items():
        table[column] = values
    table["license_title"] = "rendered by Reprise, see license-cc-by.txt"
    table["tags"] = table["track_genres"] = "[]"
    return table
