"""Whether maps point at what marks a genre, on corpora whose stems are known.

A class activation map is scored by the share of its energy on the bins in which the part that marks its genre is heard;
and so is one of the write-up's examples, that the deconvolved signal of country "primarily picks up the underlying drum
beat" (study 002, Results).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soxr
from torch import nn

from harness import explain, features
from harness.corpora import Corpus
from harness.corpora.pocket import gtzan as pocket
from harness.corpora.segments import SEPARATOR, clips_of
from harness.explain import activations, as_mask, class_maps, deconvolve, enlarge
from harness.features import FrontEnd
from harness.parallel import parallel_map
from harness.report.resampling import compare_by_seed
from replications.gtzan_cam.nets import Net, pictures_of, untrained
from replications.gtzan_cam.steadiness import RANDOM

#: Tracks of a trial whose stems are rendered.
TRACKS = 30
#: With fewer tracks an interval says nothing.
LEAST_TRACKS = 8
#: Genre and part of the write-up's example.
EXAMPLE = ("country", "drums")
EVEN = "an even map"


def share_scores(nets: Sequence[Net], corpus: Corpus, *, jobs: int | None = None) -> pd.DataFrame:
    """Shares of maps' energy where a part is heard.

    Parameters
    ----------
    nets
        Of one condition.
    corpus
        Of segments; a pocket corpus.
    jobs
        Processes for rendering stems.

    Returns
    -------
    DataFrame
        One row per map: ``measure``, ``arm``, ``seed``, ``track``, ``genre``, ``part``, ``share``, and ``even`` and
        ``random``, those of an even map and of the net before it was trained.
    """
    wanted = [(net, *choose_segments(net, corpus)) for net in nets]
    classes = corpus.classes
    stems: dict[tuple[str, str], set[int]] = {}
    plans = []
    for net, keys, genres in wanted:
        tasks = []
        for key, genre in zip(keys, genres, strict=True):
            track, _, number = key.rpartition(SEPARATOR)
            if net.averages:
                tasks.append((key, genre, pocket.marking_part(corpus.root, track)))
            elif EXAMPLE[1] in pocket.parts(corpus.root, track):
                tasks.append((key, genre, EXAMPLE[1]))
            else:
                continue
            stems.setdefault((track, tasks[-1][2]), set()).add(int(number))
        plans.append((net, tasks))
    front_end = nets[0].front_end
    masks = stem_masks(corpus, stems, front_end, jobs=jobs)
    rows = []
    for net, tasks in plans:
        tasks = [t for t in tasks if masks[t[0], t[2]].any()]
        if tasks:
            rows += _shares_of(net, tasks, masks, classes)
    return pd.DataFrame(rows)


def choose_segments(net: Net, corpus: Corpus) -> tuple[list[str], list[int]]:
    """Segments that the net has not learnt and whose stems are known, of sound tracks.

    Those of the validation part are among them, for the last epoch's weights are kept, so that nothing is chosen by it.

    Parameters
    ----------
    net
        Of the trial.
    corpus
        Of segments.

    Returns
    -------
    keys : list of str
        Of segments: of a net with class activation maps as many tracks of every genre, of another those of `EXAMPLE`.
    genres : list of int
        Their classes.
    """
    parts = [net.record.predictions(part) for part in ("test", "valid")]
    keys = np.concatenate([p.keys for p in parts])
    tracks, genres = clips_of(keys), np.concatenate([p.labels for p in parts]).argmax(axis=1)
    faulty = set(pocket.faults(corpus.root)["key"])
    wanted = range(len(corpus.classes)) if net.averages else [corpus.classes.index(EXAMPLE[0])]
    each = max(1, TRACKS // len(wanted))
    chosen = set()
    for number in wanted:
        chosen |= set([t for t in dict.fromkeys(tracks[genres == number].tolist()) if t not in faulty][:each])
    rows = [row for row, track in enumerate(tracks) if track in chosen]
    return keys[rows].tolist(), genres[rows].tolist()


def stem_masks(
    corpus: Corpus, stems: Mapping[tuple[str, str], set[int]], front_end: FrontEnd, *, jobs: int | None = None
) -> dict[tuple[str, str], np.ndarray]:
    """Bins in which parts are heard.

    Parameters
    ----------
    corpus
        Of segments; a pocket corpus.
    stems
        By track and part the numbers of the segments wanted.
    front_end
        ``mel_segments``.
    jobs
        Number of processes.

    Returns
    -------
    dict of (str, str) to np.ndarray [shape=(bands, frames), dtype=bool]
        By key of the segment and part.
    """
    keys = corpus.clips["key"].to_numpy(dtype=str)
    tracks = clips_of(keys).tolist()
    path_of = dict(zip(tracks, corpus.clips["path"], strict=True))
    tasks = [
        (corpus.root, track, path_of[track], part, tuple(sorted(numbers)), front_end)
        for (track, part), numbers in stems.items()
    ]
    key_of = {(track, int(key.rpartition(SEPARATOR)[2])): key for track, key in zip(tracks, keys.tolist(), strict=True)}
    found = {}
    for task, masks in zip(
        tasks, parallel_map(_masks_of_track, tasks, description="stems of tracks", jobs=jobs), strict=True
    ):
        _, track, _, part, numbers, _ = task
        found |= {(key_of[track, number], part): mask for number, mask in zip(numbers, masks, strict=True)}
    return found


def _masks_of_track(task: tuple[Path, str, str, str, tuple[int, ...], FrontEnd]) -> list[np.ndarray]:
    """Bins that one part fills in some segments of a track; runs in a worker."""
    root, track, path, part, numbers, front_end = task
    waveform, rate = pocket.stem(root, track, part)
    if rate != front_end.sample_rate:
        waveform = soxr.resample(waveform, rate, front_end.sample_rate)
    # The same bands and frames, but not each segment under its own loudest cell: stem and mixture stand on one scale.
    settings = {
        name: getattr(front_end, name) for name in ("sample_rate", "n_fft", "hop_length", "n_mels", "time_pool")
    }
    scale = features.front_end("mel", **settings)
    stem, mix = front_end.cut(waveform), front_end.cut(features.decode(path, front_end.sample_rate))
    return [explain.stem_mask(scale.compute(stem[number]), scale.compute(mix[number])) for number in numbers]


def _shares_of(
    net: Net, tasks: Sequence[tuple[str, int, str]], masks: Mapping[tuple[str, str], np.ndarray], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of `share_scores` of one net; tasks are keys, genres and parts."""
    pictures = pictures_of(net, [key for key, _, _ in tasks])
    genres = [genre for _, genre, _ in tasks]
    blank = untrained(net)
    if net.averages:
        measure, ours, theirs = "cam", *(_cams(n, pictures, genres) for n in (net.network, blank))
    else:
        measure, ours, theirs = "deconvolved", *(_deconvolved(n, pictures) for n in (net.network, blank))
    rows = []
    for (key, genre, part), heat, other in zip(tasks, ours, theirs, strict=True):
        mask = masks[key, part]
        share = explain.shares(heat, mask, mask.any(axis=0))
        rows.append(
            {
                "measure": measure,
                "arm": net.record.arm,
                "seed": net.record.seed,
                "track": str(clips_of(np.array([key]))[0]),
                "genre": classes[genre],
                "part": part,
                "share": share["where_and_when"],
                "even": share["area"],
                "random": explain.shares(other, mask, mask.any(axis=0))["where_and_when"],
            }
        )
    return rows


def _cams(network: nn.Sequential, pictures: np.ndarray, classes: Sequence[int], batch: int = 32) -> list[np.ndarray]:
    """Maps of each segment's own class at the spectrogram's resolution, what speaks against it cut."""
    found = []
    for start in range(0, len(pictures), batch):
        maps, _ = class_maps(network, pictures[start : start + batch])
        own = [m[c] for m, c in zip(maps, classes[start : start + batch], strict=True)]
        found += list(as_mask(enlarge(np.stack(own), pictures.shape[1:])))
    return found


def _deconvolved(network: nn.Sequential, pictures: np.ndarray) -> list[np.ndarray]:
    """The deconvolved strongest filter of the second layer, each segment's own."""
    outputs = activations(network, pictures, ["relu2"])["relu2"]
    best = outputs.mean(axis=(2, 3)).argmax(axis=1)
    found: list[np.ndarray] = [np.zeros(0)] * len(pictures)
    for number in np.unique(best):
        some = np.flatnonzero(best == number)
        for place, heat in zip(some, deconvolve(network, pictures[some], "relu2", [int(number)])[:, 0], strict=True):
            found[place] = as_mask(heat)
    return found


def share_rows(scores: pd.DataFrame, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Summarise `share_scores`: each net against an even map and against random weights.

    Parameters
    ----------
    scores
        As `share_scores` gives them.
    titles
        Of the arms.

    Returns
    -------
    list of dict
        Rows as `stability_rows` gives them; without an interval where there are fewer than `LEAST_TRACKS`.
    """
    rows = []
    kinds = {"cam": "CAM on the marking part", "deconvolved": f"{EXAMPLE[0]}, layer 2 on the {EXAMPLE[1]}"}
    ordered = scores.sort_values("measure", kind="stable") if len(scores) else scores
    for (measure, arm), maps in ordered.groupby(["measure", "arm"], sort=False) if len(scores) else []:
        for reference, title in (("even", EVEN), ("random", RANDOM)):
            result = compare_by_seed(
                maps["share"].to_numpy(), maps[reference].to_numpy(), list(maps["track"]), list(maps["seed"])
            )
            of_seeds = result["of_seeds"]
            judged = result["interval"] is not None and result["clips"] >= LEAST_TRACKS
            low, high = result["interval"] if judged else (None, None)
            rows.append(
                {
                    "measure": f"share_{measure}",
                    "measure_title": kinds[measure],
                    "arm": arm,
                    "net_title": titles[arm],
                    "against": title,
                    "value": result["mean"],
                    "reference": result["reference"],
                    "difference": result["difference"],
                    "difference_low": low,
                    "difference_high": high,
                    "of_seeds": " ".join(f"{gain:+.4f}" for gain in of_seeds),
                    "seeds_title": ", ".join(f"{gain:+.3f}" for gain in of_seeds).replace("-", "\u2212"),
                    "seeds": len(of_seeds),
                    "maps": result["n"],
                    "tracks": result["clips"],
                    "filters": None,
                }
            )
    return rows
