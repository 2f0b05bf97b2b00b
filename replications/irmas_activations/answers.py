"""What filters answer to flutes and to clarinets, and when the network is right (study 001, section 3).

The paper sees "clear differences in activation bias on instrument class or prediction correctness" in its animations.
Here a filter's answer to a test excerpt is the mean of its map over all windows, and what is seen is put to the test:
against the excerpts of other songs that might have been drawn, and against labels dealt out anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from harness import corpora, features
from harness.explain import activations
from harness.metrics.multilabel import ratio
from harness.studies import networks, records
from harness.studies import study as studies
from harness.studies.records import Record
from replications.irmas_activations import scores
from replications.irmas_activations.comparison import COMPARED
from replications.irmas_activations.windows import windows

#: Stages looked at: behind every convolution and behind the hidden layer, each with its non-linearity.
LAYERS = {f"act{number}": f"conv{number}" for number in range(1, 9)} | {"act9": "fc1"}
#: Songs below which a group of excerpts is not compared: resampling fewer tells little of other songs.
FEWEST = 3
#: Filters that are shown.
SHOWN = 10
PERMUTATIONS = 1000


@dataclass(frozen=True, eq=False)
class Answers:
    """What a trial's filters answer to the test excerpts that have a flute or a clarinet, and not both.

    Parameters
    ----------
    record
        Of the trial.
    keys : np.ndarray, shape (n,)
        Of the excerpts, ordered by song.
    songs : np.ndarray, shape (n,)
        Theirs.
    flute : np.ndarray, shape (n,), bool
        Whether it is the flute.
    right : np.ndarray, shape (n,), bool
        Whether the instrument is predicted: S2, the threshold chosen on validation mixtures.
    means : dict of str to np.ndarray, shape (n, filters)
        By stage: the mean of each filter's map over the windows of the excerpt.
    """

    record: Record
    keys: np.ndarray
    songs: np.ndarray
    flute: np.ndarray
    right: np.ndarray
    means: Mapping[str, np.ndarray]


def answers(record: Record) -> Answers | None:
    """Let a trial's network hear the flutes and the clarinets of the test excerpts.

    Parameters
    ----------
    record
        Of the trial.

    Returns
    -------
    Answers or None
        None where there are not at least two excerpts of either, or the network's weights were not kept.
    """
    if not (record.folder / "best.safetensors").exists():
        return None
    return _answers(record.folder, record.data["checksum"])


@lru_cache(maxsize=32)
def _answers(folder: Path, checksum: str) -> Answers | None:
    """Tables and figures ask for the same; the checksum tells a trial from an earlier one in its folder."""
    record = records.read_record(folder)
    p = record.predictions("test")
    first, second = (list(record.data["classes"]).index(name) for name in COMPARED)
    chosen = np.flatnonzero(p.labels[:, first] != p.labels[:, second])
    flute = p.labels[chosen, first] == 1
    if min(flute.sum(), (~flute).sum()) < 2:
        return None
    corpus = corpora.load(record.data["corpus"])
    of_song = scores.songs_of(corpus)
    songs = np.array([of_song[key] for key in p.keys[chosen]], str)
    order = np.lexsort([p.keys[chosen], songs])
    chosen, flute, songs = chosen[order], flute[order], songs[order]
    threshold = scores.value_of(scores.threshold(record, "s2", "chosen"))
    right = p.probabilities[chosen, np.where(flute, first, second)] >= threshold

    blueprint, trial = networks.restore(record, studies.load(record.data["study"]))
    front_end, paths = blueprint.front_end, dict(zip(corpus.clips["key"], corpus.clips["path"], strict=True))
    means: dict[str, list[np.ndarray]] = {stage: [] for stage in LAYERS}
    for key in p.keys[chosen]:
        spectrogram = front_end.log_mel(features.decode(paths[key], front_end.sample_rate))
        pieces = windows(spectrogram, trial.protocol["hop"], frames=front_end.frames)
        for stage, maps in activations(blueprint.network, pieces, list(LAYERS)).items():
            means[stage].append(maps.mean(axis=0).reshape(maps.shape[1], -1).mean(axis=1))
    stacked = {stage: np.stack(rows).astype(np.float64) for stage, rows in means.items()}
    return Answers(record, p.keys[chosen], songs, flute, right, stacked)


def auc(values: np.ndarray, flute: np.ndarray) -> np.ndarray:
    """How well each filter tells flutes from clarinets: the area under its ROC curve.

    Parameters
    ----------
    values : np.ndarray, shape (n, filters)
        Of the excerpts.
    flute : np.ndarray, shape (n,) or (r, n), bool
        Which are flutes; several labellings at once.

    Returns
    -------
    np.ndarray, shape (filters,) or (r, filters)
        The share of pairs in which the flute has the higher value, ties counting half: 0.5 tells nothing, 0 as much
        as 1.
    """
    ranks = rankdata(values, axis=0)
    flutes = flute.sum(axis=-1, keepdims=True)
    return (flute.astype(np.float64) @ ranks - flutes * (flutes + 1) / 2) / (flutes * (flute.shape[-1] - flutes))


def sampled_auc(values: np.ndarray, flute: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The same where excerpts count several times or not at all.

    Parameters
    ----------
    values : np.ndarray, shape (n,)
        Of one filter.
    flute : np.ndarray, shape (n,), bool
        Which are flutes.
    counted : np.ndarray, shape (r, n)
        How often each excerpt counts.

    Returns
    -------
    np.ndarray, shape (r,)
        NaN where no flute or no clarinet counts.
    """
    first, second = values[flute][:, None], values[~flute]
    above = (first > second) + 0.5 * (first == second)
    ones, others = counted[:, flute].astype(np.float64), counted[:, ~flute].astype(np.float64)
    return ratio(((ones @ above) * others).sum(axis=1), ones.sum(axis=1) * others.sum(axis=1), zero_division=np.nan)


def dealt_anew(flute: np.ndarray, songs: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Labels that say nothing: those of whole songs, shuffled.

    Parameters
    ----------
    flute : np.ndarray, shape (n,), bool
        Of excerpts ordered by song.
    songs : np.ndarray, shape (n,)
        Theirs. Excerpts of one song mostly have one label and sound alike, so that labels dealt to each for itself
        would be told apart less often by chance than they are.
    count
        How often.
    seed
        The same seed deals the same.

    Returns
    -------
    np.ndarray, shape (count, n), bool
        In each row as many flutes as there are: the labels of song after song, in a random order of the songs.
    """
    _, starts = np.unique(songs, return_index=True)
    blocks = np.split(flute, np.sort(starts)[1:])
    rng = np.random.default_rng([seed, 0xF1])
    return np.stack([np.concatenate([blocks[i] for i in rng.permutation(len(blocks))]) for _ in range(count)])


def filters_of(found: Answers, *, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """Every filter of a trial with how well it tells flutes from clarinets.

    Parameters
    ----------
    found
        Of the trial.
    permutations
        How many times labels are dealt anew.

    Returns
    -------
    pd.DataFrame
        Columns ``stage``, ``filter`` (from 0), ``auc``, and ``bar``: the distance from 0.5 that the best filter of the
        stage stays below in 95 % of the permutations. Rows by stage.
    """
    labels = dealt_anew(found.flute, found.songs, permutations)
    parts = []
    for stage, values in found.means.items():
        best = np.abs(auc(values, labels) - 0.5).max(axis=1)
        parts.append(
            pd.DataFrame(
                {
                    "stage": stage,
                    "filter": np.arange(values.shape[1]),
                    "auc": auc(values, found.flute),
                    "bar": np.quantile(best, 0.95),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def standardised(found: Answers, stage: str) -> np.ndarray:
    """Mean activation of a layer for each excerpt, in standard deviations over the excerpts from their mean.

    Parameters
    ----------
    found
        Of a trial.
    stage
        One of `LAYERS`.

    Returns
    -------
    np.ndarray, shape (n,)
        Zeros where all excerpts have the same.
    """
    level = found.means[stage].mean(axis=1)
    return ratio(level - level.mean(), np.full(len(level), level.std()))


def groups(found: Answers) -> dict[str, np.ndarray]:
    """The excerpts that the paper compares.

    Parameters
    ----------
    found
        Of a trial.

    Returns
    -------
    dict of str to np.ndarray, shape (n,), bool
        Flutes and clarinets, those predicted and those missed.
    """
    return {
        "flute, right": found.flute & found.right,
        "flute, missed": found.flute & ~found.right,
        "clarinet, right": ~found.flute & found.right,
        "clarinet, missed": ~found.flute & ~found.right,
    }


def contrast(
    several: Sequence[Answers], stage: str, first: Sequence[str], second: Sequence[str], replicates: int
) -> np.ndarray:
    """By how much a layer's mean activation is higher for some groups of excerpts than for others.

    Parameters
    ----------
    several
        Of trials.
    stage
        One of `LAYERS`.
    first, second
        Names out of `groups`.
    replicates
        Of the bootstrap over songs.

    Returns
    -------
    np.ndarray, shape (1 + replicates,)
        In standard deviations, mean over the trials that have `FEWEST` songs on both sides; NaN where none has.
    """
    found = []
    for of_trial in several:
        of_song = dict(zip(of_trial.keys.tolist(), of_trial.songs.tolist(), strict=True))
        counted = scores.weights(of_trial.keys.tolist(), of_song, replicates).astype(float)
        levels, of_group = standardised(of_trial, stage), groups(of_trial)
        sides = [np.any([of_group[name] for name in names], axis=0) for names in (first, second)]
        if min(len(np.unique(of_trial.songs[side])) for side in sides) >= FEWEST:
            above, below = (ratio(counted @ (levels * side), counted @ side, zero_division=np.nan) for side in sides)
            found.append(above - below)
    return np.mean(found, axis=0) if found else np.full(1 + replicates, np.nan)


def top_filters(found: Answers, *, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """The filters of a trial that best tell flutes from clarinets.

    Parameters
    ----------
    found
        Of the trial.
    permutations
        As in `filters_of`.

    Returns
    -------
    pd.DataFrame
        `SHOWN` rows of `filters_of`, those furthest from 0.5 first, of equals the earlier.
    """
    ranked = filters_of(found, permutations=permutations)
    order = np.argsort(-(ranked["auc"] - 0.5).abs().round(12).to_numpy(), kind="stable")
    return ranked.iloc[order[:SHOWN]].reset_index(drop=True)
