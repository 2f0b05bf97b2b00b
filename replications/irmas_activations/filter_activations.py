"""What filters answer to flutes and clarinets, and when the network is right (study 001, section 3).

The paper sees “clear differences in activation bias on instrument class or prediction correctness” in its animations.
Here a filter's activation for a test excerpt is the mean of its map over all windows, and what is seen is put to the
test: against the excerpts of other songs that might have been drawn, and against labels dealt out anew.

The activations are a file of the trial, ``filter_activations.npz``: the excerpts' ``keys``, and of each of `LAYERS` an
array (excerpts, filters) in float32. The network has 1,984 filters, so that an excerpt takes 8 kB.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from torch import nn

from harness.analysis.measured import decided
from harness.analysis.resampling import Resampled, resample
from harness.analysis.study import Analysis
from harness.explain import activations
from harness.metrics.tally import ratio
from harness.studies.records import Record
from replications.irmas_activations.thresholds import threshold
from replications.irmas_activations.windows import windows

#: Of the trial's file.
NAME = "filter_activations"
#: The classes that the paper compares, the first of which its model hears better (section 3).
COMPARED = ("flu", "cla")
#: Stages looked at: behind every convolution and behind the hidden layer, each with its non-linearity.
LAYERS = {f"act{number}": f"conv{number}" for number in range(1, 9)} | {"act9": "fc1"}
#: Songs below which groups of excerpts are not compared: fewer tell little of other songs.
FEWEST = 6
#: Filters that are shown.
SHOWN = 10
PERMUTATIONS = 1000


def has_one(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Which excerpts have a flute or a clarinet, and not both."""
    first, second = (list(classes).index(name) for name in COMPARED)
    return labels[:, first] != labels[:, second]


def mean_activations(
    network: nn.Sequential, spectrograms: Iterable[np.ndarray], hop: float, *, frames: int
) -> dict[str, np.ndarray]:
    """What each filter answers to excerpts.

    Parameters
    ----------
    network
        Trained, on any device.
    spectrograms : iterable of np.ndarray [shape=(bands, length)]
        One an excerpt.
    hop, frames
        Of the windows, as in `windows.starts`.

    Returns
    -------
    dict of str to np.ndarray [shape=(excerpts, filters), dtype=float32]
        By stage, one of `LAYERS`: the mean of each filter's map over the windows.
    """
    means: dict[str, list[np.ndarray]] = {stage: [] for stage in LAYERS}
    for spectrogram in spectrograms:
        maps = activations(network, windows(spectrogram, hop, frames=frames), list(LAYERS))
        for stage, of_stage in maps.items():
            means[stage].append(of_stage.mean(axis=(0, *range(2, of_stage.ndim)), dtype=np.float64))
    return {stage: np.array(rows, np.float32) for stage, rows in means.items()}


@dataclass(frozen=True, eq=False)
class FilterActivations:
    """What a trial's filters answer to the test excerpts that have a flute or a clarinet, and not both.

    Parameters
    ----------
    record
        Of the trial.
    songs : np.ndarray [shape=(n,)]
        Of the excerpts.
    flute : np.ndarray [shape=(n,), dtype=bool]
        Whether it is the flute.
    right : np.ndarray [shape=(n,), dtype=bool]
        Whether the instrument is predicted: S2, the threshold chosen on validation mixtures.
    alone : np.ndarray [shape=(n,), dtype=bool]
        Whether it is the only label. One that plays alone is recognised more often, and sounds different.
    means : dict of str to np.ndarray [shape=(n, filters)]
        As `mean_activations`.
    """

    record: Record
    songs: np.ndarray
    flute: np.ndarray
    right: np.ndarray
    alone: np.ndarray
    means: Mapping[str, np.ndarray]

    def groups(self) -> dict[str, np.ndarray]:
        """The excerpts that the paper compares: flutes and clarinets, those predicted and those missed."""
        return {
            f"{name}, {said}": side & outcome
            for name, side in (("flute", self.flute), ("clarinet", ~self.flute))
            for said, outcome in (("right", self.right), ("missed", ~self.right))
        }

    def standardised(self, stage: str, number: int | None = None) -> np.ndarray:
        """Mean activation of a layer, or one of its filters, in standard deviations over the excerpts from their mean.

        Zeros where all excerpts have the same.
        """
        values = self.means[stage]
        level = values.mean(axis=1) if number is None else values[:, number]
        return ratio(level - level.mean(), np.full(len(level), level.std()))


def read(analysis: Analysis) -> list[FilterActivations]:
    """What was measured of the trials under the first condition; without those that have not two excerpts of either."""
    found = []
    for record in (r for r in analysis.records if r.condition == analysis.base):
        if (arrays := record.measured(NAME)) is None:
            continue
        p = analysis.predictions(record, "test")
        place = {key: row for row, key in enumerate(p.keys.tolist())}
        rows = np.array([place[key] for key in arrays["keys"].tolist()], int)
        first, second = (analysis.classes.index(name) for name in COMPARED)
        flute, alone = p.labels[rows, first] == 1, p.labels[rows].sum(axis=1) == 1
        if min(flute.sum(), (~flute).sum()) < 2:
            continue
        score = p.probabilities[rows, np.where(flute, first, second)]
        right = score >= threshold(analysis, record, "s2", "chosen")
        means = {stage: arrays[stage].astype(np.float64) for stage in LAYERS}
        found.append(FilterActivations(record, analysis.units(p.keys[rows]).astype(str), flute, right, alone, means))
    return found


# Filters that tell the two apart.


def auc(values: np.ndarray, flute: np.ndarray) -> np.ndarray:
    """How well each filter tells flutes from clarinets: the area under its ROC curve.

    Parameters
    ----------
    values : np.ndarray [shape=(n, filters)]
        Of the excerpts.
    flute : np.ndarray [shape=(r, n), dtype=bool]
        Which are flutes; several labellings at once.

    Returns
    -------
    np.ndarray [shape=(r, filters)]
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
    labels, songs : np.ndarray [shape=(n,)]
        Of excerpts.
    count
        How often.
    seed
        The same seed deals the same.

    Returns
    -------
    np.ndarray [shape=(1 + count, n)]
        First the labels as they are. In each further row songs whose excerpts have one label exchange it, whatever
        their sizes; of the others those of one size exchange all theirs, which are shuffled within the song.
    """
    of_songs = [np.flatnonzero(songs == song) for song in np.unique(songs)]
    whole = [rows for rows in of_songs if len(set(labels[rows].tolist())) == 1]
    mixed = [rows for rows in of_songs if len(set(labels[rows].tolist())) > 1]
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


def filters_of(found: FilterActivations, *, level: float = 0.95, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """Every filter of a network with how well it tells flutes from clarinets, beside what chance gives.

    Labels are dealt to all layers at once, so that what is said allows for how many filters a network has, and for how
    much they depend on each other. It holds for this network alone.

    Parameters
    ----------
    found
        Of the trial.
    level
        One minus the probability that any filter is beyond chance where none tells anything.
    permutations
        How many times labels are dealt anew.

    Returns
    -------
    pd.DataFrame
        Best filters first: ``stage``, ``filter`` (from 0), ``auc``; ``area``, the same for the instrument that it
        answers more to; ``z``, the area in standard deviations of that of the best filter of its layer, dealt anew,
        from the mean of these; ``p``, the share of permutations in which any filter has as high a z; ``bar``, the area
        above which a filter of that layer is ``beyond`` chance.
    """
    labels = dealt_anew(found.flute, found.songs, permutations)
    frames, scales, highest = [], {}, np.full(len(labels), -np.inf)
    for stage, values in found.means.items():
        areas = auc(values, labels).round(12)
        best = np.maximum(areas.max(axis=1), 1 - areas.min(axis=1))
        middle, spread = best.mean(), best.std()
        spread = spread if spread > 1e-9 else np.inf  # where chance tells so few songs apart without fault each time
        scales[stage] = middle, spread
        highest = np.maximum(highest, ((best - middle) / spread).round(9))
        area = np.maximum(areas[0], 1 - areas[0])
        of_layer = {"stage": stage, "filter": np.arange(len(area)), "auc": areas[0], "area": area}
        frames.append(pd.DataFrame({**of_layer, "z": ((area - middle) / spread).round(9)}))
    beyond = np.quantile(highest, level, method="higher")
    frame = pd.concat(frames, ignore_index=True)
    frame["p"] = 1 - np.searchsorted(np.sort(highest), frame["z"], side="left") / len(highest)
    bars = {stage: np.clip(middle + beyond * spread, middle, 1.0) for stage, (middle, spread) in scales.items()}
    frame["bar"], frame["beyond"] = frame["stage"].map(bars), frame["z"] > beyond
    return frame.sort_values(["z", "area"], ascending=False, kind="stable", ignore_index=True)


def filter_contrasts(found: FilterActivations, filters: pd.DataFrame, *, level: float, replicates: int) -> np.ndarray:
    """By how many standard deviations filters answer more to flutes than to clarinets, with the interval over songs.

    Parameters
    ----------
    found
        Of the trial.
    filters
        Rows of `filters_of`.
    level, replicates
        Of the intervals. Activations vary from song to song even where the two are told apart without fault, as the
        area under the ROC curve does not.

    Returns
    -------
    np.ndarray [shape=(filters, 3)]
        Difference, lower and upper end; these are NaN where there are too few songs.
    """
    levels = np.stack([found.standardised(f.stage, f.filter) for f in filters.itertuples()], axis=1)

    def gap(number: int, weights: np.ndarray) -> np.ndarray:
        def mean(side: np.ndarray) -> np.ndarray:
            total = np.broadcast_to((weights @ side)[:, None], (len(weights), levels.shape[1]))
            return ratio((weights * side) @ levels, total, zero_division=np.nan)

        return mean(found.flute) - mean(~found.flute)

    return differences(resample([found.songs], gap, replicates=replicates), level=level)


# Layers that answer to one group of excerpts more than to another.


def apart(levels: np.ndarray, first: np.ndarray, second: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """By how much one group of excerpts has more than another, among those with one label and among the others.

    A difference of the groups that is only one of how many of either play alone does not count.

    Parameters
    ----------
    levels : np.ndarray [shape=(n, k)]
        Of the excerpts.
    first, second : np.ndarray [shape=(r, n)]
        How often each counts in either group.
    alone : np.ndarray [shape=(n,), dtype=bool]
        Whether an excerpt has one label.

    Returns
    -------
    np.ndarray [shape=(r, k)]
        Mean of the differences in the two strata, each by the excerpts ``a b / (a + b)`` of a and b; NaN where neither
        stratum has both groups.
    """
    total, weight = np.zeros((len(first), levels.shape[1])), np.zeros((len(first), 1))
    for stratum in (alone, ~alone):
        ones, others = first[:, stratum].astype(float), second[:, stratum].astype(float)
        a, b = ones.sum(axis=1, keepdims=True), others.sum(axis=1, keepdims=True)
        counts = ratio(a * b, a + b)
        gap = (ones @ levels[stratum]) / np.maximum(a, 1e-9) - (others @ levels[stratum]) / np.maximum(b, 1e-9)
        total += counts * gap
        weight += counts
    return np.where(weight > 0, total / np.maximum(weight, 1e-9), np.nan)


def enough(found: FilterActivations, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two groups of excerpts have `FEWEST` songs each.

    Excerpts with one label do not count where either group has none such, nor do the others likewise.
    """
    strata = [s for s in (found.alone, ~found.alone) if (first & s).any() and (second & s).any()]
    comparable = np.any(strata, axis=0) if strata else np.zeros(len(first), bool)
    return min(len(np.unique(found.songs[side & comparable])) for side in (first, second)) >= FEWEST


def contrast(
    several: Sequence[FilterActivations], first: Sequence[str], second: Sequence[str], *, replicates: int = 1000
) -> Resampled | None:
    """By how many standard deviations layers answer more to some groups of excerpts than to others.

    Parameters
    ----------
    several
        Of trials of one condition.
    first, second
        Names out of `FilterActivations.groups`.
    replicates
        Of the bootstrap.

    Returns
    -------
    Resampled or None
        Of the trials that have `enough` songs, a difference for each of `LAYERS` (see `apart`); None where none has.
    """
    sides = [[np.any([f.groups()[n] for n in names], axis=0) for names in (first, second)] for f in several]
    able = [(f, *of_groups) for f, of_groups in zip(several, sides, strict=True) if enough(f, *of_groups)]
    levels = [np.stack([f.standardised(stage) for stage in LAYERS], axis=1) for f, *_ in able]

    def score(number: int, weights: np.ndarray) -> np.ndarray:
        found, ones, others = able[number]
        return apart(levels[number], weights * ones, weights * others, found.alone)

    return resample([f.songs for f, *_ in able], score, replicates=replicates) if able else None


def differences(found: Resampled, *, level: float) -> np.ndarray:
    """Means over the trials with their intervals over seeds and songs: (k, 3), each interval at `level` by itself."""
    trials = range(len(found.plain))
    ends = [
        decided(found.of(trials, [k]), level=level, bounds=(-np.inf, np.inf))[:2] for k in range(found.plain.shape[1])
    ]
    return np.column_stack([found.plain.mean(axis=0), np.array(ends)])
