"""What filters answer to flutes and clarinets, and when the network is right (study 001, section 3).

The paper sees “clear differences in activation bias on instrument class or prediction correctness” in its animations.
Here a filter's activation for a test excerpt is the mean of its map over all windows, and what is seen is put to the
test against labels dealt out anew to the songs.

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
from harness.analysis.resampling import resample
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

    def sides(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What is compared: flutes with clarinets, and of either those that are predicted with those missed."""
        of = self.groups()
        return {"class": (self.flute, ~self.flute)} | {
            name: (of[f"{name}, right"], of[f"{name}, missed"]) for name in ("flute", "clarinet")
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


def _beside_chance(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of values of layers (1 + permutations, layers) mean, standard deviation, and each row's highest in these.

    All layers have had their labels dealt anew at once, so that the highest allows for how many layers there are, and
    for how much they depend on each other.
    """
    middle, spread = values.mean(axis=0), values.std(axis=0)
    spread = np.where(spread > 1e-9, spread, np.inf)  # what never changes is as by chance
    return middle, spread, ((values - middle) / spread).round(9).max(axis=1)


def _p(z: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Share of the permutations, the labels as they are among them, in which any layer is as high."""
    return 1 - np.searchsorted(np.sort(highest), z, side="left") / len(highest)


def filters_of(found: FilterActivations, *, level: float = 0.95, permutations: int = PERMUTATIONS) -> pd.DataFrame:
    """Every filter of a network with how well it tells flutes from clarinets, beside what chance gives.

    Parameters
    ----------
    found
        Of the trial. What is found holds for its network alone.
    level
        One minus the probability that any filter of the network is beyond chance where none tells anything.
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
    areas = {stage: auc(values, labels).round(12) for stage, values in found.means.items()}
    best = np.stack([np.maximum(a.max(axis=1), 1 - a.min(axis=1)) for a in areas.values()], axis=1)
    middle, spread, highest = _beside_chance(best)
    beyond = np.quantile(highest, level, method="higher")
    frames = []
    for (stage, of_stage), centre, width in zip(areas.items(), middle, spread, strict=True):
        area = np.maximum(of_stage[0], 1 - of_stage[0])
        frame = pd.DataFrame({"stage": stage, "filter": np.arange(len(area)), "auc": of_stage[0], "area": area})
        bar = min(1.0, float(centre + beyond * width)) if np.isfinite(width) else 1.0
        frames.append(frame.assign(z=((area - centre) / width).round(9), bar=bar))
    frame = pd.concat(frames, ignore_index=True)
    frame["p"], frame["beyond"] = _p(frame["z"].to_numpy(), highest), frame["z"] > beyond
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
        flutes, clarinets = weights * found.flute, weights * ~found.flute
        return mean_of(levels, flutes) - mean_of(levels, clarinets)

    drawn = resample([found.songs], gap, replicates=replicates)
    ends = [decided(drawn.of([0], [k]), level=level, bounds=(-np.inf, np.inf))[:2] for k in range(levels.shape[1])]
    return np.column_stack([drawn.plain[0], np.array(ends)])


def mean_of(levels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means of levels (n, k) under weights (r, n): (r, k), NaN where nothing counts."""
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, (weights @ levels) / np.where(total > 0, total, 1), np.nan)


# Layers that answer to one group of excerpts more than to another.


def apart(
    levels: np.ndarray, first: np.ndarray, second: np.ndarray, alone: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By how much one group of excerpts has more than another, among those with one label and among the others.

    A difference of the groups that is only one of how many of either play alone does not count.

    Parameters
    ----------
    levels : np.ndarray [shape=(n, k)]
        Of the excerpts.
    first, second : np.ndarray [shape=(r, n)]
        Which belong to either group, under several labellings.
    alone : np.ndarray [shape=(n,), dtype=bool]
        Whether an excerpt has one label.

    Returns
    -------
    difference : np.ndarray [shape=(r, k)]
        Mean of the differences in the two strata, each by its weight; 0 where neither has both groups.
    weight : np.ndarray [shape=(r, 1)]
        Sum of the strata's: ``a b / (a + b)`` of a and b excerpts, by which the variance of the difference falls.
    """
    total, weight = np.zeros((len(first), levels.shape[1])), np.zeros((len(first), 1))
    for stratum in (alone, ~alone):
        ones, others = first[:, stratum].astype(float), second[:, stratum].astype(float)
        a, b = ones.sum(axis=1, keepdims=True), others.sum(axis=1, keepdims=True)
        counts = ratio(a * b, a + b)
        gap = mean_of(levels[stratum], ones) - mean_of(levels[stratum], others)
        total += np.where(counts > 0, counts * gap, 0.0)
        weight += counts
    return total / np.where(weight > 0, weight, 1), weight


def enough(found: FilterActivations, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two groups of excerpts have `FEWEST` songs each.

    Excerpts with one label do not count where either group has none such, nor do the others likewise.
    """
    strata = [s for s in (found.alone, ~found.alone) if (first & s).any() and (second & s).any()]
    comparable = np.any(strata, axis=0) if strata else np.zeros(len(first), bool)
    return min(len(np.unique(found.songs[side & comparable])) for side in (first, second)) >= FEWEST


def layers_of(
    found: FilterActivations, side: str, *, level: float = 0.95, permutations: int = PERMUTATIONS
) -> pd.DataFrame | None:
    """Every layer of a network with how much more it answers to some excerpts than to others, beside what chance gives.

    Parameters
    ----------
    found
        Of the trial. What is found holds for its network alone.
    side
        One of `FilterActivations.sides`: songs exchange on which side their excerpts are.
    level, permutations
        As in `filters_of`, of all layers together.

    Returns
    -------
    pd.DataFrame or None
        By stage ``difference``, in standard deviations (see `apart`), ``p`` and ``beyond``; None where there are not
        `enough` songs.
    """
    first, second = found.sides()[side]
    if not enough(found, first, second):
        return None
    rows = first | second
    dealt = dealt_anew(first[rows], found.songs[rows], permutations)
    levels = np.stack([found.standardised(stage) for stage in found.means], axis=1)[rows]
    gap, weight = apart(levels, dealt, ~dealt, found.alone[rows])
    values = (np.abs(gap) * np.sqrt(weight)).round(12)  # in standard errors, if excerpts were independent
    middle, spread, highest = _beside_chance(values)
    z = ((values[0] - middle) / spread).round(9)
    beyond = z > np.quantile(highest, level, method="higher")
    return pd.DataFrame({"difference": gap[0], "p": _p(z, highest), "beyond": beyond}, index=list(found.means))
