"""COALA's tag vocabulary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RepriseError
from replications.attention_embeddings.tags import STOP_WORDS, clean, multi_hot, singular, vocabulary


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        *(("drums", "drum"), ("voices", "voice"), ("cities", "city"), ("movies", "movie"), ("noises", "noise")),
        *(("boxes", "box"), ("churches", "church"), ("glasses", "glass"), ("potatoes", "potato"), ("buses", "bus")),
        *(("waves", "wave"), ("wolves", "wolf"), ("women", "woman"), ("people", "person"), ("keys", "key")),
        *(("photos", "photo"), ("pianos", "piano"), ("horses", "horse"), ("brushes", "brush"), ("buzzes", "buzz")),
    ],
)
def test_plurals(plural, expected):
    assert singular(plural) == expected


@pytest.mark.parametrize("word", ["bass", "brass", "bus", "chorus", "tennis", "gas", "series", "drum", "as", "blues"])
def test_words_that_are_no_plurals(word):
    assert singular(word) == word


def test_tags_that_count():
    given = ["Birds", "bird", "field-recording", "the", "The", "a", "x", "808", "Dogs", "café", "multi word", ""]
    assert clean(given) == ("bird", "café", "dog")


def test_stop_words_are_words():
    assert all(word.isalpha() and word.islower() for word in STOP_WORDS)
    assert {"the", "and", "yourself", "about"} <= STOP_WORDS


def test_vocabulary_by_hand():
    clips = [["dogs", "bark", "sound"], ["dog", "Sounds", "park"], ["cat", "sound", "park"], ["cat", "sounds", "the"]]
    # dog 2, bark 1, sound 4 of 4 clips, park 2, cat 2
    assert vocabulary(clips, least_uses=2) == ("cat", "dog", "park")
    assert vocabulary(clips, least_uses=2, greatest_share=1.0) == ("sound", "cat", "dog", "park")
    assert vocabulary(clips, least_uses=1, greatest_share=1.0, size=2) == ("sound", "cat")
    marks = multi_hot(clips, ("cat", "dog", "park"))
    assert marks.dtype == np.uint8
    assert marks.tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 1], [1, 0, 0]]
    assert not multi_hot([["bark"], []], ("cat", "dog")).any()


def test_a_tag_given_twice_to_a_clip_is_used_once():
    assert vocabulary([["dog", "dogs", "Dog"], ["cat"], ["cat"]], least_uses=2) == ("cat",)


def test_no_tag_left():
    with pytest.raises(
        RepriseError, match=r"none of the 1 tags of 3 clips is used by at least 10 .* smaller least_uses"
    ):
        vocabulary([["dog"], ["dogs"], []])


words = st.lists(st.sampled_from(["dog", "cat", "hums", "rain", "Wind", "the", "x1"]), max_size=5)


@given(st.lists(words, min_size=1, max_size=12), st.randoms())
def test_neither_the_order_of_clips_nor_that_of_tags_matters(clips, random):
    clips = [*clips, ["hum"]]
    chosen = vocabulary(clips, least_uses=1, greatest_share=1.0, size=3)
    shuffled = [random.sample(clip, len(clip)) for clip in random.sample(clips, len(clips))]
    assert vocabulary(shuffled, least_uses=1, greatest_share=1.0, size=3) == chosen
    counts = multi_hot(clips, chosen).sum(axis=0).tolist()
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= 1
