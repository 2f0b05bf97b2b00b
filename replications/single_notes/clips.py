"""What the corpus says of each note that was scored, for tables by register and by dynamic."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.corpora import Corpus
from harness.studies.clips import is_here
from harness.studies.context import Context

REGISTERS = ("low", "middle", "high")


def clips(contexts: Sequence[Context]) -> pd.DataFrame:
    """Pitch, register and dynamic of every note; takes of one pitch of an instrument are drawn together.

    Parameters
    ----------
    contexts
        Of trials; those tested on another corpus have its notes, too, if it is here.

    Returns
    -------
    DataFrame
        ``key``, ``group``, ``pitch``, ``register`` and ``dynamic``.
    """
    found = {context.whole.name: context.whole for context in contexts}
    others = dict.fromkeys(context.trial.protocol["test_corpus"] for context in contexts)
    found |= {name: contexts[0].opened.corpus(name) for name in others if name and is_here(name)}
    columns = ["key", "group", "pitch", "register", "dynamic"]
    return pd.concat([corpus.clips.assign(register=registers(corpus))[columns] for corpus in found.values()])


def registers(corpus: Corpus) -> list[str]:
    """Whether each note is in the low, the middle or the high third of its instrument's pitches.

    Parameters
    ----------
    corpus
        Of single notes: ``clips`` has ``pitch``, labels are one per note.

    Returns
    -------
    list of str
        Out of `REGISTERS`; of pitches that do not divide by three the lower registers have one more.
    """
    instrument, pitch = corpus.labels.argmax(axis=1), corpus.clips["pitch"].to_numpy(dtype=int)
    register: dict[tuple[int, int], str] = {}
    for number in np.unique(instrument):
        for name, some in zip(REGISTERS, np.array_split(np.unique(pitch[instrument == number]), 3), strict=True):
            register |= {(int(number), int(key)): name for key in some}
    return [register[int(number), int(key)] for number, key in zip(instrument, pitch, strict=True)]
