"""Whether maps point at what marks a genre, on corpora whose stems are known.

A class activation map is scored by the share of its energy on the bins in which the part that marks its genre is heard;
and so is one of the write-up's examples, that the deconvolved signal of country "primarily picks up the underlying drum
beat" (study 002, Results).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
from torch import nn

from harness import explain, features
from harness.analysis.measured import Gain, gain
from harness.analysis.study import Analysis
from harness.corpora.pocket import gtzan as pocket
from harness.corpora.segments import SEPARATOR, clips_of
from harness.features import FrontEnd
from harness.studies.context import Context

#: Tracks of a trial whose stems are rendered.
TRACKS = 30
#: Genre and part of the write-up's example.
COUNTRY, DRUMS = "country", "drums"
#: What maps are held against, by the column of the shares.
REFERENCES = {"even": "an even map", "untrained": "random weights"}
COLUMNS = ["key", "class", "part", "share", *REFERENCES]
#: Decimals of a share.
DIGITS = 6


def measure_shares(context: Context, network: nn.Sequential, untrained: nn.Sequential) -> pd.DataFrame:
    """Shares of maps' energy where a part is heard.

    Parameters
    ----------
    context
        Of a trial on a pocket corpus.
    network, untrained
        The trial's, and the same before training.

    Returns
    -------
    DataFrame
        A row per segment that has not been trained on: ``key``, ``class``, ``part``, ``share``, and ``even`` and
        ``untrained``, the shares of an even map and of the net before it was trained. A net with class activation maps
        is asked for that of the segment's genre, on as many tracks of every genre; another for its strongest filter of
        the second layer, deconvolved, on tracks of country with drums. A map that is empty has no share (NaN).
    """
    averages, corpus, root = hasattr(network, "gap"), context.corpus, context.whole.root
    tasks: list[tuple[int, str, np.ndarray]] = []
    for track, rows in choose_tracks(context, corpus.classes if averages else [COUNTRY]).items():
        part = pocket.marking_part(root, track) if averages else DRUMS
        if part in pocket.parts(root, track):
            masks = stem_masks(root, track, corpus.clips["path"].iloc[rows[0]], part, context.front_end)
            numbers = [int(key.rpartition(SEPARATOR)[2]) for key in corpus.clips["key"].iloc[rows]]
            tasks += [(row, part, masks[n]) for row, n in zip(rows, numbers, strict=True) if masks[n].any()]
    if not tasks:
        return pd.DataFrame(columns=COLUMNS)
    chosen = [row for row, _, _ in tasks]
    pictures, classes = np.array(context.store.array[chosen], np.float32), corpus.labels[chosen].argmax(axis=1)
    ours, theirs = (cams(n, pictures, classes) if averages else deconvolved(n, pictures) for n in (network, untrained))
    found = []
    for (row, part, mask), label, heat, other in zip(tasks, classes, ours, theirs, strict=True):
        share, random = (explain.shares(h, mask, mask.any(axis=0)) for h in (heat, other))
        shares = (share["where_and_when"], share["area"], random["where_and_when"])
        found.append((corpus.clips["key"].iloc[row], corpus.classes[label], part, *np.round(shares, DIGITS)))
    return pd.DataFrame(found, columns=COLUMNS)


def choose_tracks(context: Context, classes: Sequence[str]) -> dict[str, list[int]]:
    """Row numbers of segments by track: as many sound tracks of each class, which the net has not learnt from.

    Those of the validation part are among them, for the last epoch's weights are kept, so that nothing is chosen by it.
    """
    corpus = context.corpus
    rows = np.concatenate([context.rows["test"], context.rows["valid"]])
    tracks = clips_of(corpus.clips["key"].to_numpy(dtype=str)[rows])
    labels = corpus.labels[rows].argmax(axis=1)
    sound = ~np.isin(tracks, pocket.faults(context.whole.root)["key"].to_numpy(dtype=str))
    each = max(1, TRACKS // len(classes))
    chosen = set()
    for name in classes:
        chosen |= set(pd.unique(tracks[sound & (labels == corpus.classes.index(name))])[:each])
    found: dict[str, list[int]] = {}
    for row, track in zip(rows.tolist(), tracks.tolist(), strict=True):
        if track in chosen:
            found.setdefault(track, []).append(row)
    return found


def stem_masks(root: Path, track: str, path: str, part: str, front_end: FrontEnd) -> list[np.ndarray]:
    """Bins, (bands, frames), in which a part is heard, of every segment of a track."""
    waveform, rate = pocket.stem(root, track, part)
    if rate != front_end.sample_rate:
        waveform = soxr.resample(waveform, rate, front_end.sample_rate)
    # The same bands and frames, but not each segment under its own loudest cell: stem and mixture stand on one scale.
    names = ("sample_rate", "n_fft", "hop_length", "n_mels", "time_pool")
    scale = features.front_end("mel", **{name: getattr(front_end, name) for name in names})
    sounds = (front_end.cut(waveform), front_end.cut(features.decode(path, front_end.sample_rate)))
    return [explain.stem_mask(scale.compute(stem), scale.compute(mix)) for stem, mix in zip(*sounds, strict=True)]


def cams(network: nn.Sequential, pictures: np.ndarray, classes: np.ndarray, batch: int = 32) -> list[np.ndarray]:
    """Maps of each segment's own class at the spectrogram's resolution, what speaks against it cut."""
    found: list[np.ndarray] = []
    for start in range(0, len(pictures), batch):
        maps, _ = explain.class_maps(network, pictures[start : start + batch])
        own = maps[np.arange(len(maps)), classes[start : start + batch]]
        found += list(explain.as_mask(explain.enlarge(own, pictures.shape[1:])))
    return found


def deconvolved(network: nn.Sequential, pictures: np.ndarray) -> list[np.ndarray]:
    """The deconvolved strongest filter of the second layer, each segment's own."""
    best = explain.activations(network, pictures, ["relu2"])["relu2"].mean(axis=(2, 3)).argmax(axis=1)
    found: list[np.ndarray] = [np.zeros(0)] * len(pictures)
    for number in np.unique(best):
        some = np.flatnonzero(best == number)
        maps = explain.deconvolve(network, pictures[some], "relu2", [int(number)])[:, 0]
        for place, heat in zip(some, maps, strict=True):
            found[place] = explain.as_mask(heat)
    return found


def share_gain(analysis: Analysis, condition: str, arm: str, reference: str, level: float) -> Gain | None:
    """The share of a net's maps beside one of `REFERENCES`; None where it was not measured."""
    frame = analysis.measured("shares")
    frame = frame[(frame["condition"] == condition) & (frame["arm"] == arm)]
    if frame.empty:
        return None
    units = frame.assign(unit=analysis.units(frame["key"].to_numpy(dtype=str)))
    return gain(units, "share", reference, level=level, replicates=analysis.replicates)
