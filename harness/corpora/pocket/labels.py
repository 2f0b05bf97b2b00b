"""Partial labels as a crowd gives them: which entries are observed, who answered what, and what it comes to."""

import numpy as np
import pandas as pd

from harness.corpora.pocket.clip import LABELS, stream
from harness.corpora.pocket.instruments import CLASSES
from harness.errors import RepriseError

#: Share of positives among the observed labels of OpenMIC-2018: 17,614 of 41,268.
POSITIVE_SHARE = 0.43
#: Share of the positives that are observed where labels are plenty.
POSITIVES_OBSERVED = 0.9


def draw_mask(labels: np.ndarray, density: float, seed: int) -> np.ndarray:
    """Choose the entries that somebody was asked about.

    The published corpus asked about instruments that a model expected in the clip, so positives are observed far more
    often than negatives. Here, of the ``density * n * 20`` observed entries, 43 % are positives as there, unless that
    is more than 90 % of all positives (or more than `density` of them, if that is higher still).

    Parameters
    ----------
    labels
        (n, 20) what sounds.
    density
        Share of observed entries, 0.05 to 1; the published corpus has 0.103.
    seed
        The corpus' seed.

    Returns
    -------
    ndarray, shape (n, 20), bool
        With exactly ``round(density * n * 20)`` observed entries, at least one per clip.

    Raises
    ------
    RepriseError
        The density is outside its range.
    """
    if not 1 / len(CLASSES) <= density <= 1:
        raise RepriseError(f"the share of observed labels must be between {1 / len(CLASSES):g} and 1, not {density:g}")
    rng = stream(seed, LABELS)
    positive = labels.astype(bool)
    observed = round(density * labels.size)
    positives = round(min(POSITIVE_SHARE * observed, max(POSITIVES_OBSERVED, density) * positive.sum()))
    mask = np.zeros(labels.shape, dtype=bool)
    for kind, count in ((positive, positives), (~positive, observed - positives)):
        mask.flat[rng.choice(np.flatnonzero(kind), size=count, replace=False)] = True
    # A clip of which nothing is known would be no clip: it gets an entry, and one with several gives one of that kind.
    for row in np.flatnonzero(~mask.any(axis=1)):
        kind = positive if rng.random() < positives / observed else ~positive
        several = mask & (mask.sum(axis=1, keepdims=True) > 1)
        givers = np.flatnonzero(several & kind)
        mask.flat[rng.choice(givers if len(givers) else np.flatnonzero(several))] = False
        mask[row, rng.choice(np.flatnonzero(kind[row]))] = True
    return mask


def draw_responses(
    keys: list[str], labels: np.ndarray, mask: np.ndarray, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let an invented crowd answer.

    Three workers answer each observed entry; in one of eight cases one of them is mistaken, never the majority. As in
    the published tables, confidence is the trust of those who agree with the majority over the trust of all, and
    relevance is 0.5 plus or minus half the confidence.

    Parameters
    ----------
    keys
        n sample keys, ascending.
    labels, mask
        (n, 20) what sounds, and which entries are observed.
    seed
        The corpus' seed.

    Returns
    -------
    aggregated : DataFrame
        ``sample_key, instrument, relevance, num_responses``; one row per observed entry.
    individual : DataFrame
        ``sample_key, worker_id, worker_trust, channel, instrument, response``; three rows per observed entry.
    """
    rng = stream(seed, LABELS, 1)
    crowd = min(2500, 40 + len(keys) // 8)
    workers = np.array([f"{number:08x}" for number in rng.choice(2**32, size=crowd, replace=False)])
    trust = np.round(rng.uniform(0.67, 1.0, crowd), 4)
    channels = np.array([f"{number:04x}" for number in rng.choice(2**16, size=4, replace=False)])
    channel = rng.integers(4, size=crowd)
    rows, columns = np.nonzero(mask)
    # Three different workers: two steps of less than half the round never lead back to the first.
    steps = rng.integers(1, crowd // 2, size=(len(rows), 2))
    asked = np.cumsum(np.column_stack([rng.integers(crowd, size=len(rows)), steps]), axis=1) % crowd
    truth = labels[rows, columns].astype(float)
    answers = np.repeat(truth[:, None], 3, axis=1)
    mistaken = np.flatnonzero(rng.random(len(rows)) < 1 / 8)
    who = rng.integers(3, size=len(mistaken))
    answers[mistaken, who] = 1 - answers[mistaken, who]
    weights = trust[asked]
    confidence = (weights * (answers == truth[:, None])).sum(axis=1) / weights.sum(axis=1)
    names, instruments = np.array(keys)[rows], np.array(CLASSES)[columns]
    aggregated = pd.DataFrame(
        {
            "sample_key": names,
            "instrument": instruments,
            "relevance": np.where(truth == 1, 0.5 + confidence / 2, 0.5 - confidence / 2),
            "num_responses": 3,
        }
    )
    individual = pd.DataFrame(
        {
            "sample_key": np.repeat(names, 3),
            "worker_id": workers[asked].ravel(),
            "worker_trust": weights.ravel(),
            "channel": channels[channel[asked]].ravel(),
            "instrument": np.repeat(instruments, 3),
            "response": answers.ravel(),
        }
    )
    return aggregated, individual
