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
#: Songs below which a group of excerpts is not compared: fewer tell little of other songs.
FEWEST = 6
#: Filters that are shown.
SHOWN = 10
PERMUTATIONS = 1000
#: Share of permutations in which a layer may pass by chance.
BY_CHANCE = 0.05


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
    alone : np.ndarray, shape (n,), bool
        Whether it is the only label. One that plays alone is recognised more often, and sounds different.
    means : dict of str to np.ndarray, shape (n, filters)
        By stage: the mean of each filter's map over the windows of the excerpt.
    """

    record: Record
    keys: np.ndarray
    songs: np.ndarray
    flute: np.ndarray
    right: np.ndarray
    alone: np.ndarray
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
    alone = p.labels[chosen].sum(axis=1) == 1
    return Answers(record, p.keys[chosen], songs, flute, right, alone, stacked)


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


def dealt_anew(labels: np.ndarray, songs: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Labels that say nothing: those of whole songs, shuffled.

    Excerpts of one song mostly have one label and sound alike. Labels dealt to each excerpt, or to runs of excerpts
    that break songs apart, are told apart less often by chance than those that a song has as a whole.

    Parameters
    ----------
    labels : np.ndarray, shape (n,) or (n, k)
        Of excerpts; k of each are kept together.
    songs : np.ndarray, shape (n,)
        Theirs.
    count
        How often.
    seed
        The same seed deals the same.

    Returns
    -------
    np.ndarray, shape (1 + count, n) or (1 + count, n, k)
        First the labels as they are. In each further row songs whose excerpts have one label exchange it, whatever
        their sizes; of the others those of one size exchange all theirs, which are shuffled within the song.
    """
    of_songs = [np.flatnonzero(songs == song) for song in np.unique(songs)]
    whole = [rows for rows in of_songs if (labels[rows] == labels[rows[0]]).all()]
    mixed = [rows for rows in of_songs if not (labels[rows] == labels[rows[0]]).all()]
    into, number = np.concatenate([[], *whole]).astype(int), np.repeat(np.arange(len(whole)), [len(r) for r in whole])
    firsts = np.array([rows[0] for rows in whole], int)
    rng = np.random.default_rng([seed, 0xF1])
    dealt = np.repeat(labels[None], 1 + count, axis=0)
    for row in dealt[1:]:
        row[into] = labels[rng.permutation(firsts)[number]]
        for size in sorted({len(rows) for rows in mixed}):
            alike = [rows for rows in mixed if len(rows) == size]
            for rows, place in zip(alike, rng.permutation(len(alike)), strict=True):
                row[rows] = labels[rng.permutation(alike[place])]
    return dealt


def bar(values: np.ndarray) -> np.ndarray:
    """What chance stays below or at in 95 % of the cases.

    Parameters
    ----------
    values : np.ndarray, shape (1 + permutations, ...)
        First of the labels as they are, which count as one case more: so they exceed the bar by chance in 5 % of the
        cases at most, however few ways there are to deal labels.

    Returns
    -------
    np.ndarray, shape (...)
        One of the values.
    """
    return np.quantile(values, 1 - BY_CHANCE, axis=0, method="higher")


@dataclass(frozen=True, eq=False)
class Bias:
    """Whether the layers of some trials tell two groups of excerpts apart, and how probable that is by chance.

    Parameters
    ----------
    found, bars : np.ndarray, shape (layers,)
        How far apart the groups are in each of `LAYERS`, the size of the mean over the trials, and the `bar` of it.
    able : np.ndarray, shape (layers,), bool
        Whether the bar leaves room: where chance tells few songs apart without fault, no layer could exceed it.
    count
        Layers beyond their bars.
    chance
        Share of the permutations in which as many are. The layers of one network are not independent of each other;
        labels are dealt to all of them at once, so that it allows for that.
    trials
        How many it rests on.
    """

    found: np.ndarray
    bars: np.ndarray
    able: np.ndarray
    count: int
    chance: float
    trials: int

    @classmethod
    def of(cls, values: np.ndarray, most: float = np.inf) -> "Bias":
        """Judge values (trials, layers, 1 + permutations), first of the labels as they are, `most` their greatest."""
        means = np.abs(np.mean(values, axis=0)).T.round(12)
        bars = bar(means)
        counts = (means > bars).sum(axis=1)
        return cls(means[0], bars, bars < most, int(counts[0]), float((counts >= counts[0]).mean()), len(values))


def class_bias(several: Sequence[Answers], *, permutations: int = PERMUTATIONS) -> Bias | None:
    """Whether layers have a filter that tells flutes from clarinets.

    Parameters
    ----------
    several
        Of trials on one corpus.
    permutations
        How many times labels are dealt anew, to all trials alike.

    Returns
    -------
    Bias or None
        Of the distance of the best filter's area under the ROC curve from 0.5. None where either instrument has fewer
        than `FEWEST` songs.
    """
    first = several[0]
    if min(len(np.unique(first.songs[side])) for side in (first.flute, ~first.flute)) < FEWEST:
        return None
    labels = dealt_anew(first.flute, first.songs, permutations)
    best = [[np.abs(auc(of.means[stage], labels) - 0.5).max(axis=1) for stage in LAYERS] for of in several]
    return Bias.of(np.array(best), most=0.5)


def right_bias(several: Sequence[Answers], flute: bool, *, permutations: int = PERMUTATIONS) -> Bias | None:
    """Whether the mean activation of layers differs between excerpts that are recognised and that are missed.

    Parameters
    ----------
    several
        Of trials on one corpus.
    flute
        Of flutes, or else of clarinets.
    permutations
        How many times songs exchange what is recognised of them, in all trials at once.

    Returns
    -------
    Bias or None
        Of the size of the difference, in its standard errors if excerpts were independent; see `apart`. None where no
        trial has `FEWEST` songs on both sides.
    """
    several = [of for of in several if enough(of, of.right & (of.flute == flute), ~of.right & (of.flute == flute))]
    if not several:
        return None
    rows = several[0].flute == flute
    dealt = dealt_anew(np.stack([of.right[rows] for of in several], axis=1), several[0].songs[rows], permutations)
    values = []
    for number, of in enumerate(several):
        right, alone = dealt[:, :, number], of.alone[rows]
        gaps, weights = zip(
            *(apart(standardised(of, stage)[rows], right, ~right, alone) for stage in LAYERS), strict=True
        )
        # Where a permutation has no two excerpts to compare, it tells nothing apart.
        values.append(np.nan_to_num(np.array(gaps)) * np.sqrt(weights))
    return Bias.of(np.array(values))


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
        Columns ``stage``, ``filter`` (from 0), ``auc``, ``bar``: the distance from 0.5 that the best filter of the
        stage does not exceed in 95 % of the permutations, and ``beyond``: whether the filter does. Rows by stage.
    """
    labels = dealt_anew(found.flute, found.songs, permutations)
    parts = []
    for stage, values in found.means.items():
        areas = auc(values, labels).round(12)
        distance = np.abs(areas - 0.5)
        highest = bar(distance.max(axis=1))
        parts.append(
            pd.DataFrame(
                {
                    "stage": stage,
                    "filter": np.arange(values.shape[1]),
                    "auc": areas[0],
                    "bar": highest,
                    "beyond": distance[0] > highest,
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


def apart(
    levels: np.ndarray, first: np.ndarray, second: np.ndarray, alone: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By how much one group of excerpts has more than another, among those with one label and among the others.

    A difference of the groups that is only one of how many of either play alone does not count.

    Parameters
    ----------
    levels, alone : np.ndarray, shape (n,)
        Of the excerpts.
    first, second : np.ndarray, shape (r, n)
        How often each counts in either group.

    Returns
    -------
    difference : np.ndarray, shape (r,)
        Mean of the differences in the two strata, each by its weight; NaN where neither has both groups.
    weight : np.ndarray, shape (r,)
        Sum of the strata's: ``a b / (a + b)`` of a and b excerpts, by which the variance of the difference falls.
    """
    total, weight = np.zeros(len(first)), np.zeros(len(first))
    for stratum in (alone, ~alone):
        ones, others = first[:, stratum].astype(float), second[:, stratum].astype(float)
        a, b = ones.sum(axis=1), others.sum(axis=1)
        counts = ratio(a * b, a + b)
        total += counts * (ratio(ones @ levels[stratum], a) - ratio(others @ levels[stratum], b))
        weight += counts
    return ratio(total, weight, zero_division=np.nan), weight


def enough(found: Answers, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two groups of excerpts can be compared.

    Parameters
    ----------
    found
        Of a trial.
    first, second : np.ndarray, shape (n,), bool
        The groups.

    Returns
    -------
    bool
        Whether both have `FEWEST` songs, not counting excerpts with one label where either group has none such, nor
        the others likewise.
    """
    strata = [s for s in (found.alone, ~found.alone) if (first & s).any() and (second & s).any()]
    comparable = np.any(strata, axis=0) if strata else np.zeros(len(first), bool)
    return min(len(np.unique(found.songs[side & comparable])) for side in (first, second)) >= FEWEST


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
        Of the bootstrap.

    Returns
    -------
    np.ndarray, shape (trials, 1 + replicates)
        As `apart`, in standard deviations, of the trials that have `enough` songs; one row of NaN where none has.
    """
    found = []
    for of_trial in several:
        of_song = dict(zip(of_trial.keys.tolist(), of_trial.songs.tolist(), strict=True))
        counted = scores.weights(of_trial.keys.tolist(), of_song, replicates).astype(float)
        levels, of_group = standardised(of_trial, stage), groups(of_trial)
        sides = [np.any([of_group[name] for name in names], axis=0) for names in (first, second)]
        if enough(of_trial, *sides):
            found.append(apart(levels, *(counted * side for side in sides), of_trial.alone)[0])
    return np.array(found) if found else np.full((1, 1 + replicates), np.nan)


def filter_contrast(found: Answers, stage: str, number: int, replicates: int) -> np.ndarray:
    """By how much a filter's activation is higher for flutes than for clarinets.

    Parameters
    ----------
    found
        Of a trial.
    stage, number
        The filter.
    replicates
        Of the bootstrap over songs.

    Returns
    -------
    np.ndarray, shape (1, 1 + replicates)
        In standard deviations over all these excerpts. It varies from song to song even where the two are told apart
        without fault, as the area under the ROC curve does not.
    """
    values = found.means[stage][:, number]
    levels = ratio(values - values.mean(), np.full(len(values), values.std()))
    of_song = dict(zip(found.keys.tolist(), found.songs.tolist(), strict=True))
    counted = scores.weights(found.keys.tolist(), of_song, replicates).astype(float)
    means = [
        ratio(counted @ (levels * side), counted @ side, zero_division=np.nan) for side in (found.flute, ~found.flute)
    ]
    return (means[0] - means[1])[None]


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
        `SHOWN` rows of `filters_of`: those first whose distance from 0.5 exceeds the bar of their layer most, as a
        layer of many filters has some far from 0.5 by chance; of equals those further from 0.5, and then the earlier.
    """
    ranked = filters_of(found, permutations=permutations)
    distance = (ranked["auc"] - 0.5).abs()
    order = np.lexsort([-distance.round(12), -(distance - ranked["bar"]).round(12)])
    return ranked.iloc[order[:SHOWN]].reset_index(drop=True)
