"""Corpora that we render ourselves, in the layout of published ones, with the truth about every clip."""
