"""What the trained networks listened to: the paper's GradCAM and Deep Feature Factorization, seen, heard and scored.

Heat maps are the paper's (IV.H): GradCAM at ResNet-50's last block and at VGGish's last convolution, and concepts by
Deep Feature Factorization, for VGGish too, where the paper could not. On a pocket corpus, where every instrument's
stem is known, each map is scored against where and when its instrument really sounds.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
import torch
from torch import nn

from harness import explain, features
from harness.corpora import Corpus
from harness.corpora.pocket import openmic as pocket
from harness.features import FrontEnd
from harness.parallel import parallel_map
from harness.report import estimates, gallery
from harness.report.writers import Column, Table
from harness.studies import networks
from harness.studies.records import Predictions, Record
from harness.studies.study import Study

#: Clips in the gallery, and clips of the test part on which maps are scored.
GALLERY_CLIPS, SCORED_CLIPS = 8, 120
#: Training clips that class means are taken over: enough for a mean, soon done on any corpus.
MEAN_CLIPS = 500
CONCEPTS = 5
#: Of the sound in the gallery, in Hz.
SOUND_RATE = 44_100


@dataclass(frozen=True)
class Explained:
    """A trained network, ready to be explained.

    Parameters
    ----------
    title
        For people.
    record
        Of its trial.
    network
        With its best weights.
    front_end
        Its own.
    inputs : ndarray (n, ...)
        Features of the whole corpus, as the network takes them.
    train
        Rows of its training part.
    """

    title: str
    record: Record
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
    mask : ndarray (bands, frames), bool
        Bins that its stem fills.
    sounding : ndarray (frames,), bool
        Frames in which it sounds.
    """

    mask: np.ndarray
    sounding: np.ndarray


def as_picture(features_of_clip: np.ndarray) -> np.ndarray:
    """Lay out what a network takes as one spectrogram.

    Parameters
    ----------
    features_of_clip : ndarray (bands, frames) or (patches, frames, bands)
        One clip of a store.

    Returns
    -------
    ndarray (bands, frames)
        Frequency x time, patches end to end.
    """
    return np.array(features_of_clip) if features_of_clip.ndim == 2 else np.concatenate(list(features_of_clip)).T


def open_explained(study: Study, record: Record, corpus: Corpus) -> Explained:
    """Rebuild a trained network and open its features.

    Parameters
    ----------
    study, record, corpus
        The study, one of its trials, and the corpus of that trial.

    Returns
    -------
    Explained
        On the CPU.
    """
    blueprint, of = networks.restore(record, study)
    inputs = networks.open_inputs(of, blueprint.front_end, corpus)
    title = {"resnet50": "ResNet-50", "vggish": "VGGish"}[of.arm.network]
    return Explained(
        title=f"{title} ({of.arm.title})",
        record=record,
        network=blueprint.network,
        front_end=blueprint.front_end,
        inputs=inputs.store.array,
        train=inputs.rows["train"],
    )


def choose_clips(predictions: Sequence[Predictions], threshold: float, count: int) -> list[int]:
    """Pick clips for the gallery: several instruments, right and wrong, and as many different classes as may be.

    Parameters
    ----------
    predictions
        Of each network, on the same clips.
    threshold
        From which a class is predicted.
    count
        How many, or all if there are fewer.

    Returns
    -------
    list of int
        Rows of the predictions: in turn a clip that all networks got right, one that some got wrong, and one of
        several instruments; the same for the same predictions.
    """
    first = predictions[0]
    known = [(p.probabilities >= threshold) & p.mask for p in predictions]
    right = np.all([(k == (p.labels & p.mask)).all(1) for k, p in zip(known, predictions, strict=True)], axis=0)
    right &= first.labels.any(1)
    wrong = np.any([(k & (p.labels == 0)).any(1) for k, p in zip(known, predictions, strict=True)], axis=0)
    several = (first.labels.sum(1) >= 2) & np.any([k.any(1) for k in known], axis=0)
    chosen: list[int] = []
    shown = np.zeros(first.labels.shape[1], int)
    kinds = [np.flatnonzero(kind) for kind in (right, wrong, several)] + [np.arange(len(first.keys))]
    for turn in range(min(count, len(first.keys))):
        for kind in kinds[turn % 3 :]:
            candidates = [row for row in kind if row not in chosen]
            if candidates:
                break
        # Classes not yet shown first; the key decides between equals.
        best = min(candidates, key=lambda row: (shown @ first.labels[row] / max(1, first.labels[row].sum()), row))
        chosen.append(int(best))
        shown += first.labels[best]
    return chosen


def view(
    explained: Explained,
    row: int,
    outcomes: Sequence[gallery.Outcome],
    means: np.ndarray | None,
    truth: Mapping[str, Truth],
) -> gallery.View:
    """One clip as one network takes it, with its maps and concepts.

    Parameters
    ----------
    explained
        The network.
    row
        The clip.
    outcomes
        Every class.
    means
        Class means for naming VGGish's concepts; None for ResNet-50, whose classifier names them.
    truth
        By class, where the stems are known.

    Returns
    -------
    View
        For the gallery.
    """
    shown = [i for i, outcome in enumerate(outcomes) if outcome.predicted or outcome.true]
    classes = [outcome.name for outcome in outcomes]
    (maps,) = explained.maps([row], [shown])
    heat_maps = []
    for number, heat in zip(shown, maps, strict=True):
        known = truth.get(classes[number])
        # A map that is zero everywhere points nowhere: it has no share.
        share = explain.shares(heat, known.mask, known.sounding) if known and heat.any() else {}
        heat_maps.append(
            gallery.HeatMap(
                classes[number],
                heat,
                sounding=known.sounding if known else None,
                share=share.get("where_and_when"),
                uniform=share.get("area"),
            )
        )
    if explained.windows:
        concepts = explain.factorize_windows(
            explained.network, explained.batch([row]), means, target="features.15", concepts=CONCEPTS
        )
    else:
        concepts = explain.factorize(
            explained.network, explained.batch([row]), target=explained.target, concepts=CONCEPTS
        )
    return gallery.View(
        network=explained.title,
        spectrogram=explained.picture(row),
        frame_seconds=explained.front_end.seconds_per_frame,
        band_hz=explained.front_end.band_hz,
        outcomes=outcomes,
        maps=heat_maps,
        concepts=concepts.maps,
        concept_names=explain.concept_names(concepts.scores, classes),
    )


def write_gallery(
    explained: Sequence[Explained],
    truths: Sequence[Mapping[tuple[int, str], Truth]],
    corpus: Corpus,
    folder: Path,
    *,
    caption: Mapping[str, str],
) -> Path:
    """Write the gallery of explained test clips.

    Parameters
    ----------
    explained
        The networks, trained on the same split.
    truths
        As `find_truths` gives them.
    corpus
        Theirs.
    folder
        Where the page and the pictures go.
    caption
        What was run, by name.

    Returns
    -------
    Path
        The page.
    """
    threshold = explained[0].record.data["protocol"]["threshold"]
    predictions = [e.record.predictions("test") for e in explained]
    means = [_class_means(e, corpus) if e.windows else None for e in explained]
    position = {key: i for i, key in enumerate(predictions[0].keys)}
    entries = []
    for row in _gallery_rows(explained, corpus):
        clip = corpus.clips.iloc[row]
        views = []
        for e, p, mean, truth in zip(explained, predictions, means, truths, strict=True):
            i = position[clip["key"]]
            columns = zip(corpus.classes, p.probabilities[i], p.labels[i], p.mask[i], strict=True)
            outcomes = [
                gallery.Outcome(name, float(probability), bool(true), bool(observed), bool(probability >= threshold))
                for name, probability, true, observed in columns
            ]
            views.append(view(e, row, outcomes, mean, {name: t for (r, name), t in truth.items() if r == row}))
        labels = [name for name, present in zip(corpus.classes, corpus.labels[row], strict=True) if present]
        title = ", ".join(labels).replace("_", " ") or "no instrument known"
        waveform = features.decode(clip["path"], SOUND_RATE, seconds=corpus.seconds)
        entries.append(gallery.Entry(str(clip["key"]), title, waveform, SOUND_RATE, views))
    title = "What the networks listened to"
    return gallery.write_gallery(entries, folder, title=title, caption=caption, audio=corpus.pocket)


def _class_means(explained: Explained, corpus: Corpus) -> np.ndarray:
    rows = explained.train[:: max(1, len(explained.train) // MEAN_CLIPS)][:MEAN_CLIPS]
    vectors = explain.pooled(explained.network, explained.inputs[rows], target="features.15")
    return explain.class_means(vectors, corpus.labels[rows], corpus.mask[rows])


def find_truths(
    explained: Sequence[Explained], corpus: Corpus, *, jobs: int | None = None
) -> list[dict[tuple[int, str], Truth]]:
    """Where each instrument can be heard in the test clips, from its stem through each network's front end.

    Parameters
    ----------
    explained
        The networks, trained on the same split.
    corpus
        Theirs.
    jobs
        Processes for rendering stems.

    Returns
    -------
    list of dict
        Per network, by row of the clip and class: every instrument that sounds in the clips of the gallery and in
        those that maps are scored on. Empty on a published corpus, where nobody knows.
    """
    if corpus.ground_truth is None:
        return [{} for _ in explained]
    rows = sorted({*_scored_rows(explained, corpus), *_gallery_rows(explained, corpus)})
    labels = pocket.full_labels(corpus.root)
    instruments = [(row, corpus.classes[c]) for row in rows for c in np.flatnonzero(labels[row])]
    front_ends = tuple(e.front_end for e in explained)
    clips = corpus.clips
    tasks = [
        (corpus.root, clips["key"].iloc[row], clips["path"].iloc[row], name, corpus.seconds, front_ends)
        for row, name in instruments
    ]
    activity, step = pocket.activity(corpus.root)
    truths: list[dict[tuple[int, str], Truth]] = [{} for _ in explained]
    found = parallel_map(_stem_masks, tasks, description="stems of the test clips", jobs=jobs)
    for (row, name), masks in zip(instruments, found, strict=True):
        active = activity[row, corpus.classes.index(name)]
        for truth, front_end, mask in zip(truths, front_ends, masks, strict=True):
            sounding = explain.frames_sounding(active, step, mask.shape[1], front_end.seconds_per_frame)
            truth[row, name] = Truth(mask, sounding)
    return truths


def _stem_masks(task: tuple[Path, str, str, str, float, tuple[FrontEnd, ...]]) -> list[np.ndarray]:
    """Bins that one stem fills, for each front end; runs in a worker."""
    root, key, path, name, seconds, front_ends = task
    waveform, rate = pocket.stem(root, key, name)
    masks = []
    for front_end in front_ends:
        stem = as_picture(front_end.compute(soxr.resample(waveform, rate, front_end.sample_rate)))
        mix = as_picture(front_end.compute(features.decode(path, front_end.sample_rate, seconds=seconds)))
        if front_end.name == "vggish":
            decibels = 20 / np.log(10)  # its magnitudes are natural logarithms, above a constant of 0.01
            masks.append(explain.stem_mask(stem * decibels, mix * decibels, floor_db=-34))
        else:
            masks.append(explain.stem_mask(stem, mix))
    return masks


def _gallery_rows(explained: Sequence[Explained], corpus: Corpus) -> list[int]:
    """Rows of the corpus that the gallery shows."""
    predictions = [e.record.predictions("test") for e in explained]
    chosen = choose_clips(predictions, explained[0].record.data["protocol"]["threshold"], GALLERY_CLIPS)
    return _rows(corpus, predictions[0].keys[chosen])


def _scored_rows(explained: Sequence[Explained], corpus: Corpus) -> list[int]:
    """Rows of the corpus on which maps are scored: the test part, or an even sample of a large one."""
    keys = explained[0].record.predictions("test").keys
    return _rows(corpus, keys[:: -(-len(keys) // SCORED_CLIPS)])


def _rows(corpus: Corpus, keys: np.ndarray) -> list[int]:
    row_of = {key: row for row, key in enumerate(corpus.clips["key"])}
    return [row_of[key] for key in keys]


def score_maps(
    explained: Sequence[Explained], truths: Sequence[Mapping[tuple[int, str], Truth]], corpus: Corpus
) -> pd.DataFrame:
    """Score every map of a sounding instrument on test clips of a pocket corpus.

    Parameters
    ----------
    explained
        The networks.
    truths
        As `find_truths` gives them.
    corpus
        A pocket corpus.

    Returns
    -------
    DataFrame
        One row per network, clip and sounding instrument: ``network``, ``key``, ``instrument``; shares of the map's
        energy ``where_and_when`` and ``when`` it sounds; what a uniform map gets (``area``, ``time``); and the shares
        of the same network with random weights (``random_where_and_when``, ``random_when``).
    """
    table = []
    rows = _scored_rows(explained, corpus)
    for e, truth in zip(explained, truths, strict=True):
        some = np.array(e.inputs[e.train[:64]], np.float32)
        blind = dataclasses.replace(e, network=explain.randomised(e.network, 0, some))
        names = {row: [name for r, name in truth if r == row] for row in rows}
        for start in range(0, len(rows), 8):
            batch = rows[start : start + 8]
            classes = [[corpus.classes.index(name) for name in names[row]] for row in batch]
            for row, ours, theirs in zip(batch, e.maps(batch, classes), blind.maps(batch, classes), strict=True):
                for name, heat, other in zip(names[row], ours, theirs, strict=True):
                    known = truth[row, name]
                    random = explain.shares(other, known.mask, known.sounding)
                    table.append(
                        {
                            "network": e.title,
                            "key": corpus.clips["key"].iloc[row],
                            "instrument": name,
                            **explain.shares(heat, known.mask, known.sounding),
                            "random_where_and_when": random["where_and_when"],
                            "random_when": random["when"],
                        }
                    )
    return pd.DataFrame(table)


def score_table(scores: pd.DataFrame, origin: estimates.Provenance) -> Table:
    """Summarise `score_maps` per network.

    Parameters
    ----------
    scores
        As `score_maps` gives them.
    origin
        What they stand on.

    Returns
    -------
    Table
        Mean shares, and their differences to a uniform map and to random weights with intervals over clips.
    """
    rows = []
    for network, maps in scores.groupby("network", sort=False):
        for measure, title, uniform in (
            ("where_and_when", "where and when it sounds", "area"),
            ("when", "when it sounds", "time"),
        ):
            for reference, name in ((uniform, "a uniform map"), (f"random_{measure}", "random weights")):
                result = explain.compare(maps[measure].to_numpy(), maps[reference].to_numpy(), list(maps["key"]))
                low, high = result["interval"] or (None, None)
                rows.append(
                    {
                        "network": network,
                        "measure": measure,
                        "measure_title": title,
                        "against": name,
                        "share": result["mean"],
                        "reference": result["reference"],
                        "difference": result["difference"],
                        "difference_low": low,
                        "difference_high": high,
                        "maps": str(result["n"]),
                        "clips": str(result["clips"]),
                    }
                )
    caption = (
        f"{origin.sentence()} Share of the energy of each GradCAM map that falls where, or when, the instrument it "
        "explains can be heard, by its stem; mean over all instruments that sound in the clips. Difference with the "
        "95% basic bootstrap interval over clips (1,000 replicates); one seed, nothing is known of others. °: the "
        "interval holds zero."
    )
    return Table(
        name="explanations_test",
        title="Do the maps point at the instrument?",
        caption=caption,
        notes="",
        frame=pd.DataFrame(rows),
        columns=(
            Column("network", "Network", "text"),
            Column("measure_title", "Energy", "text"),
            Column("maps", "Maps", "text"),
            Column("share", "Share", "score"),
            Column("against", "Against", "text"),
            Column("reference", "Its share", "score"),
            Column("difference", "Difference", "difference"),
        ),
        group=("network", "measure"),
        section="network",
        provenance=origin,
    )
