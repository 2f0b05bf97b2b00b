"""A study's records as two long frames, from which every table, plot and verdict is a query.

``estimates``: a row per corpus, profile, condition, arm, part, metric and class.

===============  ======================================================================================================
study, corpus    names
profile          ``"paper"`` or ``"pocket"``
condition, arm   names in the study's ``study.toml``
part             ``"valid"`` or ``"test"``
metric, class    a name out of `harness.metrics.METRICS`; ``""`` is the average over classes
seeds            how many trained networks the mean is over
seeds_trained    how many of them were above chance on the validation part by the study's main score
clips, groups    clips, or segments, of the part, and the units that are resampled whole
positives        observed positives that the score rests on
mean, sd, iqm    over the seeds: mean, standard deviation, interquartile mean
low, high        interval of the mean over seeds and clips together, at ``level``; empty where none can be given
chance           the best score of a prediction that does not listen
published        the printed value, where there is one
note             why there is no interval, or no score
===============  ======================================================================================================

``contrasts``: a row per difference, above minus below. All rows of a frame are one family
(`harness.analysis.families`).

=========================  ============================================================================================
above, below               an arm, ``arm@condition``, or several with a plus between, whose mean counts
above_class, below_class   classes that count, separated by commas; ``""`` for all
kind                       ``"arms"`` (every pair under one condition), ``"conditions"``, or ``"claim"``
seeds, clips               as above; the seeds that both sides have
difference, sd             mean over the seeds, and standard deviation of one seed's difference
low, high, p               of this difference alone
low_adjusted,              simultaneous over the family: without 0 exactly where the difference is decided
high_adjusted, p_adjusted
decided                    ``"above"``, ``"below"`` or ``""``
note                       why nothing is decided
=========================  ============================================================================================
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import scoring
from harness.analysis.families import Difference, Family, SeedModel, difference, letters, scales_of
from harness.analysis.resampling import mean_of
from harness.analysis.scoring import Case, Scores
from harness.corpora.segments import clips_of
from harness.metrics import METRICS, metrics_of, validate
from harness.metrics.tally import mean_of_defined
from harness.studies.claims import ORDER, TEXT, VALUE, Claim
from harness.studies.claims import claims as claims_of
from harness.studies.records import Predictions, Record
from harness.studies.study import Study

ARMS, CONDITIONS, CLAIM = "arms", "conditions", "claim"
#: Of predictions of one part, others: on whole tracks in place of segments, for instance.
Transform = Callable[[Predictions], Predictions]


@dataclass(frozen=True)
class Side:
    """One side of a difference: the mean over these arms.

    Parameters
    ----------
    arms
        By name.
    classes
        The mean over these classes alone; all if empty.
    condition
        By name; the study's first if empty.
    """

    arms: tuple[str, ...]
    classes: tuple[str, ...] = ()
    condition: str = ""


@dataclass(frozen=True)
class Contrast:
    """A difference that is to be looked at.

    Parameters
    ----------
    above, below
        Its sides.
    metric, part
        Of both.
    kind
        `ARMS`, `CONDITIONS` or `CLAIM`.
    """

    above: Side
    below: Side
    metric: str
    part: str = "test"
    kind: str = CLAIM

    @property
    def reverse(self) -> "Contrast":
        """The same from the other side."""
        return Contrast(self.below, self.above, self.metric, self.part, self.kind)

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two contrasts the same."""
        return (self.above, self.below, self.metric, self.part)


class Analysis:
    """A study's trials on one corpus under one profile, read once.

    Parameters
    ----------
    study
        Theirs.
    records
        At least one.
    clips
        What the corpus says of every clip, with the columns ``key`` and ``group``; default: every clip is a unit of its
        own, a segment one with its clip.
    replicates, seed
        Of the bootstrap.
    level
        Of intervals, and one minus the probability that any difference is decided wrongly.
    """

    def __init__(
        self,
        study: Study,
        records: Sequence[Record],
        clips: pd.DataFrame | None = None,
        *,
        replicates: int = 1000,
        level: float = 0.95,
        seed: int = 0,
    ) -> None:
        arms = {arm.name: n for n, arm in enumerate(study.arms)}
        conditions = {condition.name: n for n, condition in enumerate(study.conditions)}
        self.study, self.clips = study, clips
        self.records = sorted(records, key=lambda r: (conditions[r.condition], arms[r.arm], r.seed))
        self.replicates, self.level, self.seed = replicates, level, seed
        self.base = study.conditions[0].name
        self.classes: tuple[str, ...] = tuple(self.records[0].data["classes"])
        self._parts: dict[Any, dict[str, Predictions]] = {}
        self._scores: dict[str, Scores] = {}
        self._models: dict[tuple[str, bool], SeedModel] = {}
        self._groups = None if clips is None else dict(zip(clips["key"], clips["group"].astype(str), strict=True))

    # What was predicted, and on what.

    def predictions(self, record: Record, part: str) -> Predictions:
        """A trial's predictions of a part; every file is read once."""
        if record.folder not in self._parts:
            self._parts[record.folder] = record.parts()
        return self._parts[record.folder][part]

    def select(self, arm: str, condition: str = "") -> list[Record]:
        """The trials of an arm under a condition (default: the study's first), by seed."""
        return [r for r in self.records if r.arm == arm and r.condition == (condition or self.base)]

    def units(self, keys: np.ndarray) -> np.ndarray:
        """What each clip is drawn with."""
        whole = clips_of(keys)
        if self._groups is None:
            return whole
        known = (self._groups.get(key, self._groups.get(clip, clip)) for key, clip in zip(keys, whole, strict=True))
        return np.array(list(known), dtype=object)

    @property
    def unit(self) -> str:
        """What is drawn whole, in the plural: clips, tracks, songs."""
        return self.study.units

    def case(
        self,
        record: Record,
        part: str = "test",
        *,
        transform: Transform | None = None,
        threshold: float | np.ndarray | None = None,
    ) -> Case:
        """What a trial said of a part, ready to be scored."""
        p = self.predictions(record, part)
        p = p if transform is None else transform(p)
        if threshold is None:
            threshold = record.data["protocol"].get("threshold", 0.5)
        found = validate(self.study.task, p.labels, p.probabilities, p.mask, threshold)
        return Case(found.labels, found.probabilities, found.mask, self.units(p.keys), found.threshold)

    # Scores.

    @cached_property
    def ranked(self) -> tuple[str, ...]:
        """Metrics by which arms are compared: the main one, those that are printed, and those of claimed orders."""
        names = [self.study.metric, *(row["metric"] for row in self.study.published)]
        names += [c.metric for c in self.claims if c.kind == ORDER]
        return tuple(name for name in dict.fromkeys(names) if name in metrics_of(self.study.task))

    @cached_property
    def claims(self) -> list[Claim]:
        """Everything that the paper claims."""
        return claims_of(self.study)

    def scores(self, part: str) -> Scores:
        """All metrics of all trials on a part: of the test part class by class as well."""
        if part not in self._scores:
            found = scoring.measure(
                [self.case(r, part) for r in self.records],
                task=self.study.task,
                metrics=list(metrics_of(self.study.task)),
                classes=self.classes,
                replicates=self.replicates,
                seed=self.seed,
                per_class=part == "test",
            )
            wanted = [
                (c.metric, side)
                for c in self.claims
                if c.kind in (ORDER, VALUE) and c.part == part and part == "test"
                for side in (c.classes, c.below_classes)
                if side and set(side) <= set(self.classes)
            ]
            self._scores[part] = _with_means(found, dict.fromkeys(wanted))
        return self._scores[part]

    def _model(self, part: str, paired: bool) -> SeedModel:
        """What seeds change."""
        if (part, paired) not in self._models:
            self._models[part, paired] = _seed_model(self.scores(part), self.records, paired)
        return self._models[part, paired]

    # The frame of estimates.

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Every score with its interval; columns as above."""
        published = {
            (row["arm"], row["split"], row["metric"]): row["value"]
            for row in self.study.published
            if not self.study.tables[row["table"]].get("history")
        }
        frames = []
        for part in ("valid", "test"):
            scores = self.scores(part)
            own = [k for k, (_, name) in enumerate(scores.cells) if "," not in name]
            for condition, arm in self.cells():
                trials = self._trials(arm, condition)
                spread = self._model(part, paired=False).spreads[condition, arm]
                rows = scoring.table(scores, trials, spread, level=self.level).iloc[own]
                frames.append(rows.assign(condition=condition, arm=arm, part=part, seeds=len(trials)))
        frame = pd.concat(frames, ignore_index=True)
        trained = {(c, a): sum(self.trained(r) for r in self.select(a, c)) for c, a in self.cells()}
        frame["seeds_trained"] = [trained[pair] for pair in zip(frame["condition"], frame["arm"], strict=True)]
        frame["groups"] = frame["part"].map({part: self.scores(part).found.units for part in ("valid", "test")})
        frame["published"] = [
            published.get((row.arm, row.part, row.metric), np.nan)
            if row.condition == self.base and not getattr(row, "class_", "")
            else np.nan
            for row in frame.rename(columns={"class": "class_"}).itertuples()
        ]
        return frame.assign(**self._about())[ESTIMATES]

    def cells(self) -> list[tuple[str, str]]:
        """Conditions and arms that have a trial, in the study's order."""
        return list(dict.fromkeys((r.condition, r.arm) for r in self.records))

    def trained(self, record: Record) -> bool:
        """Whether a seed learnt anything: above chance on the validation part, one-sidedly, by the main score."""
        return self._trained[self.records.index(record)]

    @cached_property
    def _trained(self) -> list[bool]:
        scores = self.scores("valid")
        k, about = scores.column(self.study.metric), METRICS[self.study.metric]
        found = []
        for t in range(len(self.records)):
            # Without an interval, for few positives, the score itself must do.
            row = scoring.table(_only(scores, [k]), [t], level=2 * self.level - 1).iloc[0]
            better = row["high"] < row["chance"] if not about.higher_is_better else row["low"] > row["chance"]
            beyond = row["mean"] < row["chance"] if not about.higher_is_better else row["mean"] > row["chance"]
            found.append(bool(better if np.isfinite(row["low"]) else beyond))
        return found

    def above_chance(self, arm: str, condition: str = "", metric: str = "", part: str = "test") -> bool:
        """Whether the whole interval of an arm is better than chance."""
        metric, frame = metric or self.study.metric, self.estimates
        rows = frame[(frame["arm"] == arm) & (frame["condition"] == (condition or self.base)) & (frame["part"] == part)]
        row = rows[(rows["metric"] == metric) & (rows["class"] == "")].iloc[0]
        if not METRICS[metric].higher_is_better:
            return bool(row["high"] < row["chance"])
        return bool(row["low"] > row["chance"])

    def estimate(
        self,
        records: Iterable[Record],
        *,
        part: str = "test",
        metrics: Sequence[str] | None = None,
        transform: Transform | None = None,
        threshold: Callable[[Record], float | np.ndarray] | None = None,
        per_class: bool = False,
    ) -> pd.DataFrame:
        """Scores of the same trials seen otherwise: on whole tracks, on some notes, at other thresholds.

        Parameters
        ----------
        records
            Any of the study's.
        part
            ``"test"``, ``"valid"``, or another that the trials have predictions of.
        metrics
            Default: the main one.
        transform
            Of the predictions of the part.
        threshold
            Of a trial.
        per_class
            Whether to score each class as well.

        Returns
        -------
        pd.DataFrame
            The columns of ``estimates``, as far as they apply, a row per condition, arm, metric and class.
        """
        wanted = {r.folder for r in records}
        records = [r for r in self.records if r.folder in wanted]
        scores = self.view(
            records, part=part, metrics=metrics, transform=transform, threshold=threshold, per_class=per_class
        )
        frames, model = [], _seed_model(scores, records, paired=False)
        for condition, arm in dict.fromkeys((r.condition, r.arm) for r in records):
            trials = [t for t, r in enumerate(records) if (r.condition, r.arm) == (condition, arm)]
            spread = model.spreads[condition, arm]
            rows = scoring.table(scores, trials, spread, level=self.level)
            frames.append(rows.assign(condition=condition, arm=arm, part=part, seeds=len(trials)))
        frame = pd.concat(frames, ignore_index=True).assign(groups=scores.found.units, **self._about())
        return frame[[name for name in ESTIMATES if name in frame]]

    def view(
        self,
        records: Sequence[Record],
        *,
        part: str = "test",
        metrics: Sequence[str] | None = None,
        transform: Transform | None = None,
        threshold: Callable[[Record], float | np.ndarray] | None = None,
        per_class: bool = False,
    ) -> Scores:
        """As `estimate`, the scores themselves: one case per record, in their order."""
        return scoring.measure(
            [
                self.case(r, part, transform=transform, threshold=None if threshold is None else threshold(r))
                for r in records
            ],
            task=self.study.task,
            metrics=list(metrics or [self.study.metric]),
            classes=self.classes,
            replicates=self.replicates,
            seed=self.seed,
            per_class=per_class,
        )

    # The frame of contrasts.

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """Every difference that the study's page shows, decided together; columns as above."""
        table = self.family.table(level=self.level)
        table = table.assign(**self._about()).reindex(columns=CONTRASTS)
        return table if len(table) else table.astype(object)  # none of a single arm

    @cached_property
    def family(self) -> Family:
        """The differences of ``contrasts``, in its order."""
        return Family([self.difference(c) for c in self.wanted], seed=self.seed, one_run=False)

    @cached_property
    def wanted(self) -> list[Contrast]:
        """Every pair of arms under each condition, every condition against the first, and what is claimed besides.

        A difference and its converse are one.
        """
        found: dict[tuple[Any, ...], Contrast] = {}

        def add(contrast: Contrast) -> None:
            if contrast.key not in found and contrast.reverse.key not in found:
                found[contrast.key] = contrast

        for condition in dict.fromkeys(c for c, _ in self.cells()):
            sides = [
                Side((a,), condition="" if condition == self.base else condition)
                for c, a in self.cells()
                if c == condition
            ]
            for metric in self.ranked if condition == self.base else (self.study.metric,):
                for above, below in combinations(sides, 2):
                    add(Contrast(above, below, metric, kind=ARMS))
        for condition, arm in self.cells():
            if condition != self.base and (self.base, arm) in self.cells():
                for metric in self.of_conditions:
                    add(Contrast(Side((arm,), condition=condition), Side((arm,)), metric, kind=CONDITIONS))
        for claim in self.claims:
            contrast = self.contrast_of(claim)
            if contrast is not None and not isinstance(self.trials_of(contrast), str):
                add(contrast)
        return list(found.values())

    @cached_property
    def of_conditions(self) -> tuple[str, ...]:
        """Metrics that tell what a condition is worth: the main one, and the usual ones beside it."""
        usual = (name for name, metric in metrics_of(self.study.task).items() if metric.usual)
        return tuple(dict.fromkeys((self.study.metric, *usual)))

    def contrast_of(self, claim: Claim) -> Contrast | None:
        """The difference that a claim is about; None for what is none, or is of a training curve."""
        if not claim.below or claim.history or claim.kind not in (ORDER, VALUE):
            return None
        above, below = (
            Side(claim.above, claim.classes),
            Side(claim.below, claim.below_classes or claim.classes),
        )
        return Contrast(above, below, claim.metric, claim.part)

    def found(self, contrast: Contrast) -> tuple[Difference, pd.Series, int] | None:
        """A contrast of the frame: the difference, its row, and -1 where the frame has its converse."""
        for number, known in enumerate(self.wanted):
            for sign, other in ((1, known), (-1, known.reverse)):
                if other.key == contrast.key:
                    return self.family.members[number], self.contrasts.iloc[number], sign
        return None

    def trials_of(self, contrast: Contrast) -> list[dict[str, list[int]]] | str:
        """The trials of either side by arm, of the seeds that all have; or what is missing."""
        of_sides = []
        for side in (contrast.above, contrast.below):
            of_arms = {arm: {self.records[t].seed: t for t in self._trials(arm, side.condition)} for arm in side.arms}
            if missing := [arm for arm, trials in of_arms.items() if not trials]:
                return f"no record of {', '.join(missing)}"
            if absent := [name for name in side.classes if name not in self.classes]:
                return f"the corpus has no class {', '.join(absent)}"
            of_sides.append(of_arms)
        seeds = sorted(set.intersection(*(set(t) for of_arms in of_sides for t in of_arms.values())))
        if not seeds:
            return f"{', '.join(contrast.above.arms + contrast.below.arms)} share no seed"
        return [{arm: [t[s] for s in seeds] for arm, t in of_arms.items()} for of_arms in of_sides]

    def difference(self, contrast: Contrast) -> Difference:
        """A contrast with its error and draws."""
        scores, of_sides = self.scores(contrast.part), self.trials_of(contrast)
        if isinstance(of_sides, str):
            raise ValueError(of_sides)
        sides = (contrast.above, contrast.below)
        columns = [scores.column(contrast.metric, ",".join(side.classes)) for side in sides]
        conditions = {side.condition or self.base for side in sides}
        paired = len(conditions) == 1
        resampled, spreads, drawn = [], [], np.zeros(self.replicates)
        for sign, side, of_arms, k in zip((1, -1), sides, of_sides, columns, strict=True):
            condition = side.condition or self.base
            model, share = self._model(contrast.part, paired), 1 / len(of_arms)
            resampled.append(mean_of([scores.found.of(trials, [k]) for trials in of_arms.values()]))
            for arm, trials in of_arms.items():
                spread, seeds = model.spreads[condition, arm], len(trials)
                if seeds > 1:
                    spreads.append((share**2 * float(spread.variance[k]) / seeds, float(spread.degrees[k])))
                    place = self.cells().index((condition, arm))
                    of_one = model.draws((condition, arm), k, place, self.replicates)
                    drawn = drawn + sign * share * of_one / np.sqrt(seeds)
        count = min(
            int(scores.counts[t, k])
            for of_arms, k in zip(of_sides, columns, strict=True)
            for trials in of_arms.values()
            for t in trials
        )
        labels = {
            "part": contrast.part,
            "metric": contrast.metric,
            "above": self.name_of(contrast.above),
            "below": self.name_of(contrast.below),
            "above_class": ",".join(contrast.above.classes),
            "below_class": ",".join(contrast.below.classes),
            "kind": contrast.kind,
            "clips": round(float(np.mean([scores.clips[t] for o in of_sides for ts in o.values() for t in ts]))),
        }
        return difference(*resampled, spreads, drawn, metric=contrast.metric, count=count, labels=labels)

    def name_of(self, side: Side) -> str:
        """As the frame of contrasts has it."""
        suffix = f"@{side.condition}" if side.condition and side.condition != self.base else ""
        return "+".join(f"{arm}{suffix}" for arm in side.arms)

    def letters(self, metric: str = "", condition: str = "") -> dict[str, str]:
        """Compact letter display of the arms under a condition on the test part, by the contrasts' decisions.

        Parameters
        ----------
        metric
            One of those compared by; default: the main one.
        condition
            By name; default: the study's first.

        Returns
        -------
        dict of str to str
            ``"a"`` is shared with the best arm. Empty where nothing was compared: a single arm, or a single seed.
        """
        metric, condition = metric or self.study.metric, condition or self.base
        frame, estimates = self.contrasts, self.estimates
        suffix = "" if condition == self.base else f"@{condition}"
        names = {f"{arm}{suffix}": arm for c, arm in self.cells() if c == condition}
        rows = frame[
            (frame["kind"] == ARMS)
            & (frame["metric"] == metric)
            & frame["above"].isin(names)
            & frame["below"].isin(names)
            & frame["p_adjusted"].notna()
        ]
        if rows.empty:
            return {}
        of = estimates[
            (estimates["condition"] == condition)
            & (estimates["part"] == "test")
            & (estimates["metric"] == metric)
            & (estimates["class"] == "")
        ]
        of = of[of["arm"].isin({names[n] for n in (*rows["above"], *rows["below"])})]
        order = of.sort_values("mean", ascending=not METRICS[metric].higher_is_better, kind="stable")["arm"]
        differ = {frozenset((names[row.above], names[row.below])): bool(row.decided) for row in rows.itertuples()}
        return letters(list(order), differ)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """What all of it says of the claims (`harness.analysis.verdicts.verdicts`), judged once."""
        from harness.analysis.verdicts import verdicts  # it stands on this module

        return verdicts(self)

    # What was measured of the networks.

    def measured(self, name: str) -> pd.DataFrame:
        """What the run measured of its networks under a name, of all trials that have it, one below the other.

        Returns
        -------
        pd.DataFrame
            ``condition``, ``arm`` and ``seed`` first; empty where no trial has it.
        """
        frames = []
        for r in self.records:
            found = r.measured(name)
            if isinstance(found, pd.DataFrame):
                frames.append(found.assign(condition=r.condition, arm=r.arm, seed=r.seed))
        if not frames:
            return pd.DataFrame(columns=["condition", "arm", "seed"])
        frame = pd.concat(frames, ignore_index=True)
        return frame[["condition", "arm", "seed", *(c for c in frame if c not in ("condition", "arm", "seed"))]]

    @cached_property
    def check_level(self) -> float:
        """Level of each statement that a check of its own decides: all of them together keep the page's."""
        count = sum(c.kind == TEXT for c in self.claims)
        return 1 - (1 - self.level) / max(1, count)

    def _trials(self, arm: str, condition: str = "") -> list[int]:
        wanted = (arm, condition or self.base)
        return [t for t, r in enumerate(self.records) if (r.arm, r.condition) == wanted]

    def _about(self) -> dict[str, str]:
        data = self.records[0].data
        return {"study": self.study.name, "corpus": data["corpus"], "profile": data["profile"]}


#: Columns of the two frames, in their order.
ESTIMATES = [
    "study", "corpus", "profile", "condition", "arm", "part", "metric", "class", "seeds", "seeds_trained", "clips",
    "groups", "positives", "mean", "sd", "iqm", "low", "high", "level", "chance", "published", "note",
]  # fmt: skip
CONTRASTS = [
    "study", "corpus", "profile", "part", "metric", "above", "below", "above_class", "below_class", "kind", "seeds",
    "clips", "difference", "sd", "low", "high", "low_adjusted", "high_adjusted", "level", "p", "p_adjusted", "decided",
    "note",
]  # fmt: skip


def _seed_model(scores: Scores, records: Sequence[Record], paired: bool) -> SeedModel:
    """What seeds change, from trials that are scored in the same order."""
    of_arms: dict[tuple[str, str], dict[int, int]] = {}
    for t, r in enumerate(records):
        of_arms.setdefault((r.condition, r.arm), {})[r.seed] = t
    plain = {arm: {seed: scores.found.plain[t] for seed, t in of_seed.items()} for arm, of_seed in of_arms.items()}
    scales = {arm: scales_of(scores, list(of_seed.values())) for arm, of_seed in of_arms.items()}
    return SeedModel(plain, scales, blocks={arm: arm[0] for arm in of_arms} if paired else None)


def _only(scores: Scores, columns: Sequence[int]) -> Scores:
    """Some of the cells."""
    columns = list(columns)
    return Scores(
        tuple(scores.cells[k] for k in columns),
        scores.found.of(range(len(scores.clips)), columns),
        scores.clips,
        scores.positives[:, columns],
        scores.counts[:, columns],
        tuple(tuple(notes[k] for k in columns) for notes in scores.too_few),
        scores.chance[:, columns],
    )


def _with_means(scores: Scores, wanted: Iterable[tuple[str, tuple[str, ...]]]) -> Scores:
    """The scores, and means over some classes as cells of their own, named by them with commas between."""
    for metric, names in wanted:
        if len(names) < 2 or (metric, ",".join(names)) in scores.cells:
            continue
        columns = [scores.column(metric, name) for name in names]

        def mean(values: np.ndarray, columns: list[int] = columns) -> np.ndarray:
            return np.concatenate([values, mean_of_defined(values[..., columns])[..., None]], axis=-1)

        few = [next((n[k] for k in columns if n[k]), "") for n in scores.too_few]
        scores = Scores(
            (*scores.cells, (metric, ",".join(names))),
            scores.found.over(mean),
            scores.clips,
            np.column_stack([scores.positives, scores.positives[:, columns].sum(axis=1)]),
            np.column_stack([scores.counts, scores.counts[:, columns].sum(axis=1)]),
            tuple((*notes, note) for notes, note in zip(scores.too_few, few, strict=True)),
            np.column_stack([scores.chance, scores.chance[:, columns].mean(axis=1)]),
        )
    return scores
