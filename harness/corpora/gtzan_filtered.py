"""The fault-filtered division of GTZAN, and the lists of a tree that brings its own.

Sturm (2013) listened to all 1,000 tracks and found repetitions, mislabellings, distortions, and artists all over the
place. Kereliuk, Sturm and Larsen (2015) left out 70 tracks and divided the other 930 so that no artist is in two parts.
Below are the tracks that they name, as numbers per genre; written out as they published them, one
``blues/blues.00029.wav`` to a line, they have the MD5 of the published files.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.errors import RepriseError

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
PARTS = ("train", "valid", "test")
#: Tracks of a genre, as published.
TRACKS = 100

_NUMBERS = {
    "train": {
        "blues": "29-49 73-97",
        "classical": "30-33 43-48 50-67 80-99",
        "country": "19-26 28-29 65-99",
        "disco": "5 15-20 22-37 39-45 47 49 53-54 56-57 59 61 70 73-74 89",
        "hiphop": "2-25 28-29 31-38 41-42 55-61 77-80",
        "jazz": "0-1 11-24 41 47-72",
        "metal": "2-3 5 21 24 35 46-57 59-66 69 71-72 79-80 84 86 89-99",
        "pop": "2-9 11-12 16-20 23-29 31-36 38-42 44 46 49-50 80 97-99",
        "reggae": "0-2 4 6 9 11-12 14-32 42-45 49-51 54-60 63 69",
        "rock": "0-9 16-26 57-70 91-99",
    },
    "valid": {
        "blues": "0-11 50-60",
        "classical": "0-10 68-76",
        "country": "0-7 9-18 27 41-42 45 49",
        "disco": "0 2-4 6-14 46 48 52 67-68 72 75 90 95",
        "hiphop": "81-98",
        "jazz": "2-10 25-32",
        "metal": "0-1 6-11 16-20 36-37 68 76-77 81-82",
        "pop": "10 53 55 58-62 81 83-86",
        "reggae": "61-62 70 72 74 76-78 85 92-99",
        "rock": "38 49-56 71-85",
    },
    "test": {
        "blues": "12-28 61-72 98-99",
        "classical": "11-29 34-41 49 77-79",
        "country": "30-40 43-44 46-48 50-51 53-64",
        "disco": "1 21 58 62-66 69 76-88 91-94 96-97 99",
        "hiphop": "0 26-27 30 40 43-45 51-54 62-75 99",
        "jazz": "73-99",
        "metal": "12-15 22-23 25-33 38-39 67 70 73-75 78 83 85 87-88",
        "pop": "0-1 13-14 43 63-66 69-79 82 88-96",
        "reggae": "34-40 46-48 52-53 64-68 71 79 82-84 87-90",
        "rock": "10-15 27-37 39-48 86-90",
    },
}


def track_key(genre: str, number: int) -> str:
    """Key of a track.

    Parameters
    ----------
    genre
        One of `GENRES`.
    number
        Counted from 0.

    Returns
    -------
    str
        As its file is named, without the ending.

    Examples
    --------
    >>> track_key("blues", 29)
    'blues.00029'
    """
    return f"{genre}.{number:05d}"


def published_parts() -> dict[str, str]:
    """The published division.

    Returns
    -------
    dict of str to str
        ``"train"``, ``"valid"`` or ``"test"`` by key, for 443, 197 and 290 tracks.
    """
    return {
        track_key(genre, number): part
        for part, genres in _NUMBERS.items()
        for genre, text in genres.items()
        for number in _numbers(text)
    }


def faulty() -> list[str]:
    """The tracks that are in no part.

    Returns
    -------
    list of str
        70 keys, sorted.
    """
    sound = published_parts()
    keys = (track_key(genre, number) for genre in GENRES for number in range(TRACKS))
    return sorted(key for key in keys if key not in sound)


def list_name(part: str) -> str:
    """Name of the file that lists a part, as published."""
    return f"{part}_filtered.txt"


def list_text(parts: Mapping[str, str], part: str) -> str:
    """A part in the published form.

    Parameters
    ----------
    parts
        Part by key.
    part
        One of `PARTS`.

    Returns
    -------
    str
        ``<genre>/<key>.wav`` to a line, sorted.
    """
    return "".join(f"{key.partition('.')[0]}/{key}.wav\n" for key in sorted(parts) if parts[key] == part)


def read_lists(folder: Path) -> dict[str, str] | None:
    """Read the lists that a tree brings.

    Parameters
    ----------
    folder
        Where ``train_filtered.txt``, ``valid_filtered.txt`` and ``test_filtered.txt`` are looked for.

    Returns
    -------
    dict of str to str or None
        Part by key; None if there is none of the three files.

    Raises
    ------
    RepriseError
        Only some of them are there, one cannot be read, or one track is listed twice.
    """
    files = {part: folder / list_name(part) for part in PARTS}
    absent = [path.name for path in files.values() if not path.is_file()]
    if len(absent) == len(PARTS):
        return None
    if absent:
        raise RepriseError(
            f"{folder} lacks {' and '.join(absent)} beside the other lists: put all three there, or none of them, for "
            "the division of Kereliuk, Sturm and Larsen"
        )
    parts: dict[str, str] = {}
    for part, path in files.items():
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise RepriseError(f"{path} cannot be read ({error}): put a sound copy in its place") from None
        for number, line in enumerate((line.strip() for line in lines), start=1):
            if not line:
                continue
            key = PurePosixPath(line).name.removesuffix(".wav").removesuffix(".au")
            if key in parts:
                raise RepriseError(
                    f"line {number} of {path} lists {key}, which is in the part {parts[key]} already: a track belongs "
                    "to one part and stands there once"
                )
            parts[key] = part
    return parts


def _numbers(text: str) -> list[int]:
    found: list[int] = []
    for piece in text.split():
        first, _, last = piece.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
