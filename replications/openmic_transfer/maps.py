"""How far the networks' GradCAM maps point at the instruments that they name, where the stems are known.

The maps are the paper's (IV.H): GradCAM at ResNet-50's last block and at VGGish's last convolution. On a pocket corpus
each is scored by the share of its energy that falls where, or when, its instrument really sounds. The run measures that
beside each trial that ``[measured]`` in ``study.toml`` names, with the same of a network that never learnt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
import torch
from torch import nn

from harness import explain, features
from harness.analysis.measured import gain
from harness.analysis.study import Analysis
from harness.corpora import Corpus
from harness.corpora.pocket import openmic as pocket
from harness.features import FrontEnd
from harness.parallel import parallel_map
from harness.report.tables import gained, interval_in_words, origin
from harness.report.writers import Column, Table
from harness.studies.context import Context

#: Networks by the names of `study.toml`, for people.
TITLES = {"resnet50": "ResNet-50", "vggish": "VGGish"}
#: What is measured of a map, for people, and the column of what a uniform map gets.
MEASURES = (("where_and_when", "where and when it sounds", "area"), ("when", "when it sounds", "time"))
#: Added to a trial's seed for the weights of the network that never learnt.
BLIND = 10_000
#: Training clips on which that network's batch normalisation is estimated.
STATISTICS_CLIPS = 64
#: Decimals of what is measured: more than any table shows, and the same on machines that round differently.
DECIMALS = 6


@dataclass(frozen=True)
class Explained:
    """A trained network, ready to be explained.

    Parameters
    ----------
    title
        For people.
    network
        With its best weights.
    front_end
        Its own.
    inputs : np.ndarray [shape=(n, ...)]
        Features of the whole corpus, as the network takes them.
    train
        Rows of its training part.
    """

    title: str
    network: nn.Sequential
    front_end: FrontEnd
    inputs: np.ndarray
    train: np.ndarray

    @property
    def windows(self) -> bool:
        """Whether it takes a clip as patches (VGGish) rather than as one picture (ResNet-50)."""
        return self.front_end.name == "vggish"

    @property
    def target(self) -> str:
        """Stage whose activations GradCAM weighs (paper, IV.H: the last convolutional layer)."""
        return "features.14" if self.windows else "layer4.2"

    def batch(self, rows: Sequence[int]) -> torch.Tensor:
        """Inputs of some clips."""
        return torch.from_numpy(np.array(self.inputs[np.asarray(rows)], np.float32))

    def picture(self, row: int) -> np.ndarray:
        """A clip's spectrogram, frequency x time."""
        return as_picture(self.inputs[row])

    def maps(self, rows: Sequence[int], classes: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """GradCAM at the spectrogram's resolution, on one scale for a clip's windows."""
        shape = self.picture(rows[0]).shape
        raw = explain.gradcam(self.network, self.batch(rows), classes, target=self.target)
        return [explain.scale(maps, shape) if len(maps) else np.zeros((0, *shape), np.float32) for maps in raw]


@dataclass(frozen=True)
class Truth:
    """Where an instrument can be heard in a clip.

    Parameters
    ----------
    mask : np.ndarray [shape=(bands, frames), dtype=bool]
        Bins that its stem fills.
    sounding : np.ndarray [shape=(frames,), dtype=bool]
        Frames in which it sounds.
    """

    mask: np.ndarray
    sounding: np.ndarray


def explained(context: Context, network: nn.Sequential) -> Explained:
    """A trial's trained network with what it was trained on.

    Parameters
    ----------
    context
        Of the trial.
    network
        Trained.
    """
    arm = context.trial.arm
    title = f"{TITLES[arm.network]} ({arm.title})"
    return Explained(title, network, context.front_end, context.store.array, context.rows["train"])


def as_picture(features_of_clip: np.ndarray) -> np.ndarray:
    """Lay out what a network takes as one spectrogram.

    Parameters
    ----------
    features_of_clip : np.ndarray [shape=(bands, frames) or (patches, frames, bands)]
        One clip of a store.

    Returns
    -------
    np.ndarray [shape=(bands, frames)]
        Frequency x time, patches end to end.
    """
    return np.array(features_of_clip) if features_of_clip.ndim == 2 else np.concatenate(list(features_of_clip)).T


def find_truths(
    front_ends: Sequence[FrontEnd], corpus: Corpus, rows: Iterable[int], *, jobs: int | None = None
) -> list[dict[tuple[int, str], Truth]]:
    """Where each instrument can be heard in some clips, from its stem through each front end.

    Parameters
    ----------
    front_ends
        Of the networks.
    corpus
        Theirs.
    rows
        Clips.
    jobs
        Processes for rendering stems; 1 renders them here, without a progress bar.

    Returns
    -------
    list of dict
        Per front end, by row of the clip and class: every instrument that sounds there. Empty on a published corpus,
        where nobody knows.
    """
    if corpus.ground_truth is None:
        return [{} for _ in front_ends]
    labels, rows = pocket.full_labels(corpus.root), sorted(rows)
    names = {row: [corpus.classes[c] for c in np.flatnonzero(labels[row])] for row in rows}
    keys, paths = corpus.clips["key"], corpus.clips["path"]
    tasks = [
        (corpus.root, keys.iloc[row], paths.iloc[row], names[row], corpus.seconds, tuple(front_ends)) for row in rows
    ]
    activity, step = pocket.activity(corpus.root)
    truths: list[dict[tuple[int, str], Truth]] = [{} for _ in front_ends]
    found = (
        map(_stem_masks, tasks)
        if jobs == 1
        else parallel_map(_stem_masks, tasks, description="stems of the clips shown", jobs=jobs)
    )
    for row, of_clip in zip(rows, found, strict=True):
        for name, masks in zip(names[row], of_clip, strict=True):
            active = activity[row, corpus.classes.index(name)]
            for truth, front_end, mask in zip(truths, front_ends, masks, strict=True):
                sounding = explain.frames_sounding(active, step, mask.shape[1], front_end.seconds_per_frame)
                truth[row, name] = Truth(mask, sounding)
    return truths


def _stem_masks(task: tuple[Path, str, str, list[str], float, tuple[FrontEnd, ...]]) -> list[list[np.ndarray]]:
    """Bins that each stem of a clip fills, for each front end; runs in a worker."""
    root, key, path, names, seconds, front_ends = task
    mixes = [as_picture(f.compute(features.decode(path, f.sample_rate, seconds=seconds))) for f in front_ends]
    found = []
    for name in names:
        waveform, rate = pocket.stem(root, key, name)
        masks = []
        for front_end, mix in zip(front_ends, mixes, strict=True):
            stem = as_picture(front_end.compute(soxr.resample(waveform, rate, front_end.sample_rate)))
            if front_end.name == "vggish":
                decibels = 20 / np.log(10)  # its magnitudes are natural logarithms, above a constant of 0.01
                masks.append(explain.stem_mask(stem * decibels, mix * decibels, floor_db=-34))
            else:
                masks.append(explain.stem_mask(stem, mix))
        found.append(masks)
    return found


def measure(context: Context, network: nn.Sequential) -> dict[str, pd.DataFrame]:
    """Score a trial's maps on its test part, or on an even sample of a large one.

    Parameters
    ----------
    context
        Of the trial.
    network
        Trained.

    Returns
    -------
    dict
        ``maps``, as `score` gives it. Empty for arms and conditions that ``[measured]`` does not name, and on a
        published corpus, where nobody knows what sounds when.
    """
    trial = context.trial
    wanted = trial.study.measured
    base = trial.condition.name == trial.study.conditions[0].name
    if not base or trial.arm.name not in wanted["maps"] or context.corpus.ground_truth is None:
        return {}
    rows = context.rows["test"]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), wanted["clips"])).round().astype(int))]
    ours = explained(context, network)
    (truth,) = find_truths([ours.front_end], context.corpus, rows, jobs=1)
    return {"maps": score(ours, truth, context.corpus, rows, seed=BLIND + trial.seed)}


def score(
    ours: Explained, truth: Mapping[tuple[int, str], Truth], corpus: Corpus, rows: Sequence[int], *, seed: int
) -> pd.DataFrame:
    """Score every map of a sounding instrument.

    Parameters
    ----------
    ours
        The network.
    truth
        As `find_truths` gives it.
    corpus
        A pocket corpus.
    rows
        Clips.
    seed
        Of the network that never learnt.

    Returns
    -------
    pd.DataFrame
        One row per clip and sounding instrument: ``key``, ``instrument``; shares of the map's energy
        ``where_and_when`` and ``when`` it sounds; what a uniform map gets (``area``, ``time``); and the shares of the
        same network with random weights (``untrained_where_and_when``, ``untrained_when``). NaN where a map is zero
        everywhere.
    """
    some = np.array(ours.inputs[ours.train[:STATISTICS_CLIPS]], np.float32)
    untrained = replace(ours, network=explain.randomised(ours.network, seed, some))
    names = {row: [name for r, name in truth if r == row] for row in rows}
    table = []
    for start in range(0, len(rows), 8):
        batch = rows[start : start + 8]
        classes = [[corpus.classes.index(name) for name in names[row]] for row in batch]
        for row, maps, others in zip(batch, ours.maps(batch, classes), untrained.maps(batch, classes), strict=True):
            for name, heat, other in zip(names[row], maps, others, strict=True):
                known = truth[row, name]
                theirs = explain.shares(other, known.mask, known.sounding)
                table.append(
                    {"key": corpus.clips["key"].iloc[row], "instrument": name}
                    | explain.shares(heat, known.mask, known.sounding)
                    | {f"untrained_{measure}": theirs[measure] for measure in ("where_and_when", "when")}
                )
    return pd.DataFrame(table).round(DECIMALS)


def table(analysis: Analysis) -> Table | None:
    """Summarise what was measured of the maps; None where nothing was.

    Parameters
    ----------
    analysis
        Of the study's trials.

    Returns
    -------
    Table or None
        Mean shares, and their differences to a uniform map and to random weights with intervals over seeds and clips.
    """
    measured = analysis.measured("maps")
    if measured.empty:
        return None
    measured = measured.assign(unit=analysis.units(measured["key"].to_numpy()))
    rows = []
    for arm, of_arm in measured.groupby("arm", sort=False):
        for measure, title, uniform in MEASURES:
            for reference, name in ((uniform, "a uniform map"), (f"untrained_{measure}", "random weights")):
                found = gain(of_arm, measure, reference, level=analysis.level, replicates=analysis.replicates)
                if found is None:  # every map is zero everywhere
                    continue
                rows.append(
                    {
                        "arm": arm,
                        "network": TITLES[analysis.study.arm(arm).network],
                        "measure": measure,
                        "measured": title,
                        "maps": str(found.pairs),
                        "seeds": found.seeds,
                        "share": found.value,
                        "against": name,
                        "reference": found.reference,
                        "difference": gained(found, analysis.unit),
                    }
                )
    if not rows:
        return None
    records = [r for arm in dict.fromkeys(measured["arm"]) for r in analysis.select(arm)]
    caption = (
        f"{origin(analysis, records)} Share of the energy of each GradCAM map of the full networks that falls where, "
        "or when, the instrument it explains can be heard, by its stem; mean over all instruments that sound in the "
        "clips, without maps that are zero everywhere. "
        f"Difference with the {interval_in_words(analysis, records)}, of each difference alone; the claims about maps "
        "are decided at a stricter level. °: the interval holds zero."
    )
    return Table(
        name="explanations_test",
        title="Do the maps point at the instrument?",
        frame=pd.DataFrame(rows),
        columns=(
            Column("network", "Network", "text"),
            Column("measured", "Energy", "text"),
            Column("maps", "Maps", "text"),
            Column("share", "Share", "score"),
            Column("against", "Against", "text"),
            Column("reference", "Its share", "score"),
            Column("difference", "Difference", "difference"),
        ),
        group=("network", "measure"),
        section="network",
        caption=caption,
    )
