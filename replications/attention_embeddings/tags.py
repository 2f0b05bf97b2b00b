"""The tag vocabulary of the alignment objective, by COALA's rules (Favory et al. 2020, and their script for tags).

A tag counts if it consists of letters alone, is longer than one letter and is no stop-word; it is put in lower case and
in the singular. Of these the vocabulary holds the most frequent that enough clips have and not nearly all. COALA takes
its stop-words from NLTK and its singulars from the package inflect; the list and the few rules here are our own, which
matters little for one-word tags, and they need no dependency.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from harness.errors import RepriseError

_STOP_WORDS = """
    about above after again against all also am an and any are as at be because been before being below between both
    but by can could did do does doing don down during each else ever few for from further get got had has have having
    he her here hers herself him himself his how if in into is it its itself just let like may me might more most much
    must my myself no nor not now of off on once only or other our ours ourselves out over own same shall she should so
    some such than that the their theirs them themselves then there these they this those through to too under until up
    us very was we were what when where which while who whom whose why will with within without would yes yet you your
    yours yourself
"""
#: English words that say nothing about a sound.
STOP_WORDS = frozenset(_STOP_WORDS.split())

#: Plurals that no rule gives back.
IRREGULAR = {
    **{"children": "child", "feet": "foot", "geese": "goose", "men": "man", "mice": "mouse", "oxen": "ox"},
    **{"people": "person", "teeth": "tooth", "women": "woman"},
    **{"calves": "calf", "elves": "elf", "halves": "half", "hooves": "hoof", "knives": "knife", "leaves": "leaf"},
    **{"lives": "life", "loaves": "loaf", "scarves": "scarf", "shelves": "shelf", "thieves": "thief"},
    **{"wives": "wife", "wolves": "wolf"},
    **{"cookies": "cookie", "movies": "movie", "zombies": "zombie", "pies": "pie", "ties": "tie"},
    **{"aches": "ache", "headaches": "headache", "axes": "axe", "shoes": "shoe", "toes": "toe"},
    **{"buses": "bus", "choruses": "chorus", "gases": "gas", "lenses": "lens", "viruses": "virus"},
}
#: Words that end as plurals do and are none.
SINGULAR = {
    *("always", "atlas", "bias", "blues", "canvas", "chaos", "christmas", "gas", "jeans", "lens", "mathematics"),
    *("news", "pants", "scissors", "series", "species", "texas"),
}


def singular(word: str) -> str:
    """Put an English noun into the singular.

    Parameters
    ----------
    word
        In lower case.

    Returns
    -------
    str
        The word itself if it does not look like a plural.

    Examples
    --------
    >>> [singular(word) for word in ("drums", "voices", "birds", "cities", "bass", "women")]
    ['drum', 'voice', 'bird', 'city', 'bass', 'woman']
    """
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in SINGULAR or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]


def clean(tags: Iterable[str]) -> tuple[str, ...]:
    """Bring a clip's tags into the vocabulary's form.

    Parameters
    ----------
    tags
        As its uploader gave them.

    Returns
    -------
    tuple of str
        Sorted, each once, without those that do not count.
    """
    words = (tag.lower() for tag in tags if tag.isalpha() and len(tag) > 1)
    return tuple(sorted({singular(word) for word in words if word not in STOP_WORDS}))


def vocabulary(
    tags: Sequence[Iterable[str]], *, size: int = 1000, least_uses: int = 10, greatest_share: float = 0.7
) -> tuple[str, ...]:
    """Choose the tags to tell clips apart by; the defaults are COALA's.

    Parameters
    ----------
    tags
        Of each clip, in any form.
    size
        Most tags to choose.
    least_uses
        Clips that must have a tag.
    greatest_share
        Largest share of the clips that may have it.

    Returns
    -------
    tuple of str
        The most frequent first, tags of equal frequency by alphabet.

    Raises
    ------
    RepriseError
        No tag is left.
    """
    uses = Counter(tag for clip in tags for tag in clean(clip))
    kept = [tag for tag, count in uses.items() if least_uses <= count <= greatest_share * len(tags)]
    if not kept:
        raise RepriseError(
            f"none of the {len(uses)} tags of {len(tags)} clips is used by at least {least_uses} of them and at most "
            f"{greatest_share:.0%}; use a larger corpus or a smaller least_uses"
        )
    return tuple(sorted(kept, key=lambda tag: (-uses[tag], tag))[:size])


def multi_hot(tags: Sequence[Iterable[str]], words: Sequence[str]) -> np.ndarray:
    """Mark the tags that each clip has.

    Parameters
    ----------
    tags
        Of each clip, in any form.
    words
        The vocabulary.

    Returns
    -------
    ndarray (clips, len(words)), uint8
        1 where a clip has a tag. Rows of zeros are clips without a tag of the vocabulary, which COALA leaves out.
    """
    columns = {word: column for column, word in enumerate(words)}
    marks = np.zeros((len(tags), len(words)), np.uint8)
    for row, clip in zip(marks, tags, strict=True):
        row[[columns[tag] for tag in clean(clip) if tag in columns]] = 1
    return marks
