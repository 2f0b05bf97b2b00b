"""Corpora on disk in their published layouts: reading, splitting, fetching, and rendering the pocket twins.

Examples
--------
>>> from harness import corpora
>>> {"openmic-2018", "pocket-openmic"} <= set(corpora.names())
True
>>> corpus = corpora.load("pocket-openmic")  # doctest: +SKIP
>>> corpus.split("official").leakage["shared_groups"]["train-test"]  # doctest: +SKIP
0
"""

from harness.corpora.corpus import Corpus, Split
from harness.corpora.registry import load, names

__all__ = ["Corpus", "Split", "load", "names"]
