"""Differences that are decided together, so that claims, letters and p values never contradict each other.

Each difference of a family has a p value by Student's t, and each p value is compared with the smallest of all of them
under draws in which no difference is there (min-p; Westfall and Young 1993). That keeps the probability of
deciding even one of them wrongly at ``1 - level``, whatever part of them is 0, and costs little for differences that
nearly say the same, such as three scores of one pair of arms, since their draws move together. The interval of a
difference is about as long as that: it is simultaneous, and without 0 exactly where the difference is decided.

A draw holds both parts of the error (`harness.analysis.intervals`): resampled clips, the same for all differences, and
deviations of the seeds, drawn from the residuals of all arms so that the scores of one arm deviate together. Each
difference is stretched as Student's t of its own degrees of freedom has it.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2
from scipy.stats import t as student

from harness.analysis.intervals import BIAS_ERROR, Spread, moderate, of_draws, shared_variance, to_variances, within
from harness.analysis.resampling import Resampled
from harness.analysis.scoring import Scores
from harness.metrics import METRICS

#: Differences that are closer than this are the same: sums of the same numbers in another order.
SAME = 1e-12
ABOVE, BELOW = "above", "below"


@dataclass(frozen=True)
class Difference:
    """One score minus another, with its error and draws of that.

    Parameters
    ----------
    value
        Above minus below, mean over the seeds; NaN where undefined.
    centre, error, degrees
        As in `harness.analysis.intervals.Error`.
    draws : np.ndarray [shape=(replicates,)]
        Deviations of the centre where there is no difference.
    seeds
        How many the side with fewer has.
    of_seeds, of_clips
        Variance of the seeds (of one seed each, both sides together) and of the clips.
    most
        Highest possible value.
    note
        Why it is undefined.
    labels
        What tables say of it.
    """

    value: float
    centre: float
    error: float
    degrees: float
    draws: np.ndarray
    seeds: int
    of_seeds: float
    of_clips: float
    most: float
    note: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def t(self) -> float:
        """The centre in standard errors; 0 for what is the same on both sides."""
        return 0.0 if abs(self.value) <= SAME else self.centre / self.error


class SeedModel:
    """What seeds change, from the scores of several arms.

    Parameters
    ----------
    scores : mapping of Hashable to mapping of int to np.ndarray [shape=(k,)]
        By arm and seed.
    scales : mapping of Hashable to np.ndarray [shape=(k,)]
        What an arm's deviations are measured in (`scales_of`): what arms have in common is sought in these, since an
        arm that is never right varies less than one that is right half of the time.
    blocks : mapping of Hashable to Hashable, optional
        The condition of each arm: what a seed does to all arms of a condition alike, such as the split that it draws,
        is taken out. Right for differences of arms that share their seeds. Default: it is part of the variance.

    Notes
    -----
    With arms as fixed effects and seeds within conditions as blocks this is the analysis of variance of a mixed model
    of arm, seed and what is left; the variance of what is left is moderated over the arms
    (`harness.analysis.intervals.moderate`).
    """

    def __init__(
        self,
        scores: Mapping[Hashable, Mapping[int, np.ndarray]],
        scales: Mapping[Hashable, np.ndarray],
        *,
        blocks: Mapping[Hashable, Hashable] | None = None,
    ) -> None:
        rows = [(arm, seed) for arm, of_seed in scores.items() for seed in of_seed]
        arms = list(scores)
        of_block = {} if blocks is None else {(blocks[arm], seed): 0 for arm, seed in rows}
        columns = {key: number for number, key in enumerate([*arms, *of_block])}
        values = np.nan_to_num(np.stack([np.asarray(scores[arm][seed]) for arm, seed in rows]))
        design = np.zeros((len(rows), len(columns)))
        for i, (arm, seed) in enumerate(rows):
            design[i, columns[arm]] = 1
            if blocks is not None:
                design[i, columns[blocks[arm], seed]] = 1
        residuals = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        residuals[abs(residuals) < SAME] = 0.0
        self.degrees = len(rows) - int(np.linalg.matrix_rank(design))
        self.residuals = residuals / np.stack([scales[arm] for arm, _ in rows])
        of_arm = {arm: [i for i, (a, _) in enumerate(rows) if a == arm] for arm in arms}
        several = sum(len(some) for some in of_arm.values() if len(some) > 1)
        degrees = np.array([self.degrees * len(some) / several if len(some) > 1 else 0.0 for some in of_arm.values()])
        squares = np.stack([(self.residuals[some] ** 2).sum(axis=0) for some in of_arm.values()])
        k = values.shape[1]
        self.spreads = {arm: Spread(np.zeros(k), np.full(k, np.inf)) for arm in arms}
        if self.degrees > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                variances = np.where(degrees[:, None] > 0, squares / degrees[:, None], np.nan)
            for column in range(k):
                found = moderate(variances[:, column], degrees)
                for number, arm in enumerate(arms):
                    self.spreads[arm].variance[column] = found.variance[number] * scales[arm][column] ** 2
                    self.spreads[arm].degrees[column] = found.degrees[number]

    def draws(self, arm: Hashable, column: int, generator_seed: int, count: int) -> np.ndarray:
        """Deviations of one seed of an arm in one cell, (count,); all cells of an arm deviate together."""
        if not self.degrees:
            return np.zeros(count)
        of_all = np.sqrt((self.residuals[:, column] ** 2).sum() / self.degrees)
        if not of_all:
            return np.zeros(count)
        noise = np.random.default_rng([7, generator_seed]).standard_normal((count, len(self.residuals)))
        scale = np.sqrt(self.spreads[arm].variance[column]) / of_all
        return noise @ self.residuals[:, column] / np.sqrt(self.degrees) * scale


def scales_of(scores: Scores, trials: Sequence[int]) -> np.ndarray:
    """What the deviations of an arm's seeds are measured in, (k,).

    Of a score in [0, 1] the standard deviation of a share, ``sqrt(p (1 - p))``, no closer to 0 and 1 than half a count;
    of a loss its mean.
    """
    mean, counts = scores.found.plain[list(trials)].mean(axis=0), scores.counts[list(trials)].min(axis=0)
    scales = np.ones(len(mean))
    for k, (metric, _) in enumerate(scores.cells):
        bounds = METRICS[metric].bounds
        if np.isfinite(mean[k]):
            share = float(within(np.float64(mean[k]), counts[k], bounds)) if bounds == (0.0, 1.0) else np.nan
            scales[k] = np.sqrt(share * (1 - share)) if np.isfinite(share) else max(abs(mean[k]), SAME)
    return scales


def shared_error(above: Resampled, below: Resampled | None) -> tuple[np.ndarray, np.ndarray]:
    """Variance of a difference over clips as far as all seeds share it, (k,), and its draws about their mean."""
    variances, draws = [], None
    for name, scale in to_variances(above).items():
        variance, centred = shared_variance(getattr(above, name), scale)
        if below is not None:
            other, against = shared_variance(getattr(below, name), scale)
            variance = variance + other - 2 * scale * (centred * against).sum(axis=0)
            centred = centred - against
        variances.append(variance)
        draws = centred if draws is None else draws
    return np.maximum(0.0, np.maximum(*variances)), draws


def difference(
    above: Resampled,
    below: Resampled | None,
    spreads: Sequence[tuple[float, float]],
    seed_draws: np.ndarray,
    *,
    metric: str,
    count: int,
    labels: Mapping[str, Any] | None = None,
    bound: float = 0.0,
) -> Difference:
    """Put one difference together.

    Parameters
    ----------
    above, below
        Each side by seed, of one cell (k = 1); without the second the first minus `bound`.
    spreads
        Of each arm on either side the variance of its mean over seeds, and the degrees of freedom of that.
    seed_draws : np.ndarray [shape=(replicates,)]
        Deviations of the difference that the seeds make.
    metric
        Of both sides.
    count
        Units with positives: what the least error is measured against.
    labels
        What tables say of it.
    bound
        What a single side is held against.

    Returns
    -------
    Difference
        With NaN where a side is undefined for a seed.
    """
    about, labels = METRICS[metric], labels or {}
    sides = [above] if below is None else [above, below]
    plain = [side.plain[:, 0] for side in sides]
    seeds = min(map(len, plain))
    most = about.bounds[1] - about.bounds[0]
    none = np.zeros(above.drawn.shape[1])
    if any(np.isnan(p).any() for p in plain):
        return Difference(np.nan, np.nan, np.nan, np.nan, none, seeds, np.nan, np.nan, most, "undefined", labels)
    value = plain[0].mean() - (bound if below is None else plain[1].mean())
    drawn = [of_draws(side.drawn).mean() for side in sides]
    bias = about.bias_factor * (drawn[0] - (bound if below is None else drawn[1]) - value)
    of_clips, centred = shared_error(above, below)
    of_clips, centred = float(of_clips[0]), centred[:, 0]
    of_seeds = float(sum(variance for variance, _ in spreads))
    total = of_clips + of_seeds
    least = 1 / max(1, count) if np.isfinite(most) else 1e-9
    error = float(np.sqrt(max(total + (BIAS_ERROR * bias) ** 2, least**2)))
    known = max(1, above.units - 1)
    parts = of_clips**2 / known + sum(v**2 / d for v, d in spreads if v > 0)
    degrees = total**2 / parts if parts > 0 else known
    if of_seeds > 0:
        degrees = min(degrees, min(d for v, d in spreads if v > 0) * total / of_seeds)
    spread = centred.std()
    clips = centred * (np.sqrt(of_clips) / spread) if spread > 0 else none
    draws = clips + seed_draws
    # What the least error or the bias adds is drawn as well: the statistic is studentised by the whole error.
    rest = error**2 - total
    if rest > 0:
        draws = draws + np.sqrt(rest) * np.random.default_rng([11, count]).standard_normal(len(draws))
    return Difference(
        float(value), float(value - bias), error, float(degrees), draws, seeds, of_seeds, of_clips, most, "", labels
    )


class Family:
    """Differences that are decided together.

    Parameters
    ----------
    members
        Those that are undefined are carried along and decide nothing.
    seed
        Of the stretch by Student's t.
    one_run
        Whether differences of a single run on a side are decided, over clips alone: they then speak of these
        predictions. Otherwise they decide nothing, either.
    """

    def __init__(self, members: Sequence[Difference], *, seed: int = 0, one_run: bool = True) -> None:
        self.members = list(members)
        self.decides = [bool(np.isfinite(m.value)) and (m.seeds > 1 or one_run) for m in self.members]
        tested = [m for m, yes in zip(self.members, self.decides, strict=True) if yes]
        self.tested = len(tested)
        if not tested:
            self.smallest = np.zeros(1)
            return
        count = 2 * len(tested[0].draws)
        quantile = (np.random.default_rng([13, seed]).permutation(count) + 0.5) / count
        smallest = np.ones(count)
        by_degrees: dict[float, np.ndarray] = {}
        for m in tested:
            degrees = float(f"{m.degrees:.2g}")
            t = np.abs(m.draws) / m.error
            by_degrees[degrees] = np.maximum(by_degrees.get(degrees, 0.0), t)
        for degrees, t in by_degrees.items():
            stretch = np.sqrt(degrees / chi2.ppf(quantile, degrees))
            # A draw and its mirror image are alike, so each is stretched twice.
            smallest = np.minimum(smallest, 2 * student.sf(np.concatenate([t, t]) * stretch, degrees))
        self.smallest = np.sort(smallest)

    def critical(self, level: float) -> float:
        """The p value of a single test that must be undercut for a difference to be decided."""
        if not self.tested:
            return 0.0
        rank = int(np.floor((1 - level) * (len(self.smallest) + 1)))
        return float(self.smallest[rank - 1]) if rank else 0.0

    def adjusted(self, p: float) -> float:
        """A p value adjusted for all that are decided together."""
        return float((np.searchsorted(self.smallest, p, side="right") + 1) / (len(self.smallest) + 1))

    def reach(self, m: Difference, level: float) -> float:
        """How many standard errors a difference must lie from 0 to be decided."""
        return float(student.isf(max(self.critical(level), 1e-300) / 2, m.degrees))

    def p(self, m: Difference, bound: float = 0.0) -> float:
        """The p value of one difference against a bound, alone and two-sided."""
        t = m.t if bound == 0 else (m.centre - bound) / m.error
        return float(2 * student.sf(abs(t), m.degrees))

    def table(self, *, level: float = 0.95) -> pd.DataFrame:
        """A row per member, in their order: the columns of ``contrasts.csv`` that are numbers, and the labels."""
        critical = self.critical(level)
        rows = []
        for m, decides in zip(self.members, self.decides, strict=True):
            row = dict(m.labels) | {
                "seeds": m.seeds,
                "difference": m.value,
                "sd": np.sqrt(m.of_seeds) if m.seeds > 1 else np.nan,
                "level": level,
                "decided": "",
                "note": m.note,
            }
            ends = ("low", "high", "low_adjusted", "high_adjusted", "p", "p_adjusted")
            row |= dict.fromkeys(ends, np.nan)
            if np.isfinite(m.value):
                row["low"], row["high"] = _cut(m, float(student.ppf((1 + level) / 2, m.degrees)))
                row["p"] = self.p(m)
                if m.seeds == 1 and not row["note"]:
                    row["note"] = "one run: over clips alone"
                if decides:
                    row["low_adjusted"], row["high_adjusted"] = _cut(m, self.reach(m, level))
                    row["p_adjusted"] = self.adjusted(row["p"])
                    if row["p"] < critical:
                        row["decided"] = ABOVE if m.t > 0 else BELOW
            rows.append(row)
        return pd.DataFrame(rows)


def _cut(m: Difference, reach: float) -> tuple[float, float]:
    """The interval of so many standard errors, within what is possible."""
    centre = m.centre if abs(m.value) > SAME else 0.0
    return max(-m.most, centre - reach * m.error), min(m.most, centre + reach * m.error)


def differences(scores: Scores, above: Sequence[int], below: Sequence[int]) -> list[Difference]:
    """Every cell of some trials minus that of others, one per run and not necessarily as many on either side."""
    replicates, sides = scores.found.drawn.shape[1], {"above": list(above), "below": list(below)}
    plain = {name: {t: scores.found.plain[t] for t in trials} for name, trials in sides.items()}
    model = SeedModel(plain, {name: scales_of(scores, trials) for name, trials in sides.items()})
    found = []
    for k, (metric, name) in enumerate(scores.cells):
        known, drawn = [], np.zeros(replicates)
        if model.degrees:  # where one side is a single run, it is taken to vary as the other does
            for sign, (side, trials) in zip((1, -1), sides.items(), strict=True):
                spread = model.spreads[side]
                known.append((float(spread.variance[k]) / len(trials), float(spread.degrees[k])))
                drawn = drawn + sign * model.draws(side, k, len(drawn) + sign, replicates) / np.sqrt(len(trials))
        count = int(min(scores.counts[t, k] for trials in sides.values() for t in trials))
        of_sides = [scores.found.of(trials, [k]) for trials in sides.values()]
        labels = {"metric": metric, "class": name}
        found.append(difference(*of_sides, known, drawn, metric=metric, count=count, labels=labels))
    return found


def letters(names: Sequence[str], differ: Mapping[frozenset[str], bool]) -> dict[str, str]:
    """Compact letter display: arms that share a letter cannot be told apart (Piepho 2004).

    Parameters
    ----------
    names
        Of the arms, best first.
    differ
        For each pair whether it is decided.

    Returns
    -------
    dict of str to str
        Letters of each, in alphabetical order.

    Examples
    --------
    >>> letters(["first", "second", "third"], {frozenset(("first", "third")): True})
    {'first': 'a', 'second': 'ab', 'third': 'b'}
    """
    groups = [frozenset(names)]
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if differ.get(frozenset((first, second))):
                pair = {first, second}
                parts = {p for g in groups for p in ([g - {first}, g - {second}] if pair <= g else [g])}
                groups = [p for p in parts if not any(p < other for other in parts)]
    order = {name: number for number, name in enumerate(names)}
    ranked = sorted(groups, key=lambda g: sorted(order[name] for name in g))
    signs = [chr(97 + n) if n < 26 else chr(65 + n - 26) for n in range(len(ranked))]
    return {name: "".join(s for s, g in zip(signs, ranked, strict=True) if name in g) for name in names}


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p values of several tests for their number, whatever they have to do with each other (Holm 1979).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)).clip(max=1)
    return adjusted
