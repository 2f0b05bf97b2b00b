"""Clips cut into segments of equal length: the rows that some networks are trained on and tested with.

A segment goes by its clip's key, a ``#`` and its number.
"""

import dataclasses
import re

import numpy as np
import pandas as pd

from harness.corpora.corpus import Corpus

SEPARATOR = "#"
_NUMBER = re.compile(rf"{SEPARATOR}[0-9]+$")


def segmented(corpus: Corpus, count: int) -> Corpus:
    """Divide every clip of a corpus into segments.

    Parameters
    ----------
    corpus
        Of clips that all have so many segments.
    count
        Segments per clip.

    Returns
    -------
    Corpus
        ``count`` rows for each clip, in order, with all that is the clip's; its key is in the column ``clip``, and in
        ``group`` where no group is known, as the segments of one clip are one of sorts. The facts gain
        ``segments_per_clip``.

    Examples
    --------
    Of a corpus whose first clip is ``blues.00000`` the first rows are ``blues.00000#0``, ``blues.00000#1``, ...
    """
    clips = corpus.clips.loc[corpus.clips.index.repeat(count)].reset_index(drop=True)
    numbers = pd.Series(np.tile(np.arange(count), len(corpus.clips)).astype(str)).str.zfill(len(str(count - 1)))
    group = clips["group"].where(clips["group"].notna(), clips["key"])
    clips = clips.assign(clip=clips["key"], group=group, key=clips["key"] + SEPARATOR + numbers)
    return dataclasses.replace(
        corpus,
        clips=clips,
        labels=corpus.labels.repeat(count, axis=0),
        mask=corpus.mask.repeat(count, axis=0),
        facts={**corpus.facts, "segments_per_clip": count},
    )


def clips_of(keys: np.ndarray) -> np.ndarray:
    """Keys of the clips that segments are from.

    Parameters
    ----------
    keys : ndarray (n,) of str
        Of segments, or of whole clips, which are their own.

    Returns
    -------
    ndarray (n,) of str
        What stands before the last ``#`` and a number.

    Examples
    --------
    >>> clips_of(np.array(["blues.00000#3", "rock.00099"])).tolist()
    ['blues.00000', 'rock.00099']
    """
    return pd.Series(keys, dtype=str).str.replace(_NUMBER, "", regex=True).to_numpy(dtype=str)


def is_segment(key: str) -> bool:
    """Whether a key is a segment's.

    Parameters
    ----------
    key
        Of a segment or a clip.

    Returns
    -------
    bool
    """
    return _NUMBER.search(key) is not None
