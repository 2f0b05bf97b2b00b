"""What is wrong with the audio of a corpus, as far as a program can hear it.

Sturm ("The GTZAN dataset: its contents, its faults", 2013) found repetitions, mislabellings and distortions in a data
set that a decade of papers had been measured on. The audit looks for what needs no expert: recordings that are there
twice, exactly or nearly; labels that contradict each other between the two; clipped and silent audio, bursts of static,
and files that cannot be used. What it reports are observations with a number each, not verdicts: a velocity layer of a
sampler is the same recording at another level, a saturated synthesiser has plateaus, and a cymbal played backwards
stops at once.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import soundfile as sf
import soxr

from harness.features.audio import BadAudio, decode
from harness.features.defects import clipped_share, longest_silence, static_bursts
from harness.features.landmarks import HOP, RATE, Landmarks, Proposal, compare, landmarks, propose
from harness.parallel import parallel_map

if TYPE_CHECKING:
    from harness.corpora import Corpus

#: Clips per task of a worker, and first clips of comparisons.
CHUNK = 16
#: Landmarks below which a clip is too plain to be searched for: a tone that goes on and on is like any other.
FEWEST_LANDMARKS = 20
#: Share of the samples in plateaus at the file's largest or smallest value from which it counts as clipped: 22 ms of
#: every 22 s. A limiter that touches the top now and then stays below.
CLIPPED_SHARE = 1e-3
#: Encodings of 8 bits; all others are taken to have 16 at least.
EIGHT_BITS = ("PCM_U8", "PCM_S8", "ULAW", "ALAW")
#: Codecs that smear plateaus, so that the channels need not be read one by one.
LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
#: Seconds of silence that are told of.
LONG_SILENCE = 2.0


@dataclass(frozen=True, eq=False)
class Report:
    """What an audit found.

    Parameters
    ----------
    corpus
        Its name.
    clips, searched
        How many clips it has, and how many of them were searched for near duplicates; the others are exact
        duplicates, cannot be used, or hold too little.
    exact
        ``key, other, seconds, same_group``: clips of the same samples; each but the first with the first.
    near
        ``key, other, similarity, offset, overlap, level, drift, same_group``: the same recording; both hold `overlap`
        seconds of it, the other begins at second `offset` of the first, is `level` dB louder, and falls behind by
        `drift` ms a second.
    conflicts
        ``key, other, differing, labels, other_labels``: duplicates of which `differing` classes were observed in both
        and differ; those that only the first has, and those that only the other has.
    clipped
        ``key, share, peak``: share of the samples in plateaus at the file's extremes; peak, 1 is full scale.
    static
        ``key, bursts, end, drop``: bursts of white noise that stop at once; where the first one ends, in seconds, and
        by how many dB the sharpest falls.
    silent
        ``key, seconds, start, share``: the longest silence where it is long, and wholly silent files (share 1).
    unusable
        ``key, reason``: files that cannot be used for another reason, and those that the reader left out, by the names
        it gives them.
    """

    corpus: str
    clips: int
    searched: int
    exact: pd.DataFrame
    near: pd.DataFrame
    conflicts: pd.DataFrame
    clipped: pd.DataFrame
    static: pd.DataFrame
    silent: pd.DataFrame
    unusable: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table under the name of what it lists."""
        return {
            "exact duplicates": self.exact,
            "near duplicates": self.near,
            "label conflicts": self.conflicts,
            "clipped files": self.clipped,
            "files with static": self.static,
            "long silences": self.silent,
            "unusable files": self.unusable,
        }

    def findings(self) -> pd.DataFrame:
        """All tables in one: ``kind, key, other, value, details``.

        Returns
        -------
        pd.DataFrame
            One row per finding. `value` is the number that its table has first, `details` all that is there by name.
        """
        rows = []
        for kind, table in self.tables().items():
            rest = [name for name in table.columns if name not in ("key", "other")]
            for row in table.to_dict("records"):
                details = "; ".join(f"{name} {tidy(row[name])}" for name in rest if tidy(row[name]))
                value = row[rest[0]] if pd.api.types.is_numeric_dtype(table[rest[0]]) else None
                rows.append((kind, row["key"], row.get("other", ""), value, details))
        return pd.DataFrame(rows, columns=["kind", "key", "other", "value", "details"])


def tidy(value: object) -> str:
    """A table's cell as text.

    Parameters
    ----------
    value
        Of any kind.

    Returns
    -------
    str
        Numbers with four digits, truth as yes or no, and nothing for what is unknown.
    """
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


@dataclass(frozen=True)
class _Heard:
    """What one look at a clip leaves."""

    seconds: float = 0.0
    samples: str = ""  # SHA-256
    prints: Landmarks | None = None
    peak: float = 0.0
    clipped: float = 0.0
    static: tuple[int, float, float] = (0, 0.0, 0.0)
    silence: tuple[float, float] = (0.0, 0.0)  # seconds, start
    unusable: str = ""


def audit(corpus: "Corpus", *, jobs: int | None = None) -> Report:
    """Listen to every clip of a corpus once, and to those that seem to be the same recording once more.

    Parameters
    ----------
    corpus
        Of it, `name`, `clips`, `classes`, `labels`, `mask`, `seconds` and `facts` are used.
    jobs
        Number of processes; default: one per core. The report does not depend on it.

    Returns
    -------
    Report
        Rows in the order of the keys.

    Raises
    ------
    RepriseError
        A file is there, but the system does not let it be read, or a worker died.
    """
    keys, paths = corpus.clips["key"].astype(str).tolist(), corpus.clips["path"].astype(str).tolist()
    chunks = [(paths[start : start + CHUNK], corpus.seconds) for start in range(0, len(paths), CHUNK)]
    label = f"audit of {corpus.name}"
    heard = [one for chunk in parallel_map(_listen, chunks, description=f"{label}: listening", jobs=jobs)
             for one in chunk]  # fmt: skip

    same = _same_samples(heard)
    searched = [rows[0] for rows in same if len(heard[rows[0]].prints.names) >= FEWEST_LANDMARKS]
    near = list(_near(searched, heard, paths, corpus.seconds, label, jobs))
    copies = {rows[0]: rows for rows in same}
    clusters = [*same, *(copies[first] + copies[second] for first, second, _ in near)]
    groups = corpus.clips["group"].to_numpy(dtype=object, na_value=None)

    def same_group(first: int, second: int) -> bool | None:
        known = groups[first] is not None and groups[second] is not None
        return bool(groups[first] == groups[second]) if known else None

    left_out = {name: why for name, why in corpus.facts.get("left_out", {}).items() if isinstance(why, str)}
    exact, alike, clipped, static, silent, unusable = [], [], [], [], [], []
    for first, *others in same:
        exact += [(keys[first], keys[b], round(heard[first].seconds, 3), same_group(first, b)) for b in others]
    for first, second, found in near:
        numbers = (found.similarity, found.offset, found.overlap, found.level, found.drift)
        alike.append((keys[first], keys[second], *(round(one, 3) for one in numbers), same_group(first, second)))
    for key, one in zip(keys, heard, strict=True):
        if one.clipped >= CLIPPED_SHARE:
            clipped.append((key, round(one.clipped, 5), round(one.peak, 4)))
        if one.static[0]:
            static.append((key, *one.static))
        seconds, start = one.silence
        if seconds >= LONG_SILENCE or 0 < one.seconds <= seconds:
            silent.append((key, round(seconds, 2), round(start, 2), round(seconds / one.seconds, 3)))
        if one.unusable:
            unusable.append((key, one.unusable))
    unusable += [(name, f"left out by the reader: {why}") for name, why in sorted(left_out.items())]
    return Report(
        corpus=corpus.name,
        clips=len(keys),
        searched=len(searched),
        exact=_table("key other seconds same_group", exact),
        near=_table("key other similarity offset overlap level drift same_group", alike),
        conflicts=_table("key other differing labels other_labels", _conflicts(clusters, keys, corpus)),
        clipped=_table("key share peak", clipped),
        static=_table("key bursts end drop", static),
        silent=_table("key seconds start share", silent),
        unusable=_table("key reason", unusable),
    )


def _table(columns: str, rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns.split())
    return table.astype({"same_group": "boolean"}) if "same_group" in table else table


def _listen(task: tuple[list[str], float | None]) -> list[_Heard]:
    """Look at the clips of one task."""
    paths, seconds = task
    return [_hear(Path(path), seconds) for path in paths]


def _hear(path: Path, seconds: float | None) -> _Heard:
    """Look at one clip."""
    try:
        info = sf.info(path)
    except sf.LibsndfileError:
        info = None
    rate = info.samplerate if info else RATE
    try:
        waveform = decode(path, rate, seconds=seconds)
    except BadAudio as bad:
        if bad.reason.startswith("is silent"):
            return _Heard(seconds=info.duration, silence=(info.duration, 0.0))
        return _Heard(unusable=bad.reason)
    channels = waveform[None]
    if info.channels > 1 and info.subtype not in LOSSY:
        channels = sf.read(path, dtype="float32", always_2d=True)[0].T
    rounding = 2.0**-7 if info.subtype in EIGHT_BITS else 2.0**-15
    digest = hashlib.sha256(f"{rate} ".encode() + np.ascontiguousarray(waveform).tobytes())
    return _Heard(
        seconds=len(waveform) / rate,
        samples=digest.hexdigest(),
        prints=landmarks(_at_common_rate(waveform, rate)),
        peak=float(np.abs(channels).max()),
        clipped=max(clipped_share(channel, rounding) for channel in channels),
        static=static_bursts(waveform, rate),
        silence=longest_silence(waveform, rate),
    )


def _at_common_rate(waveform: np.ndarray, rate: int) -> np.ndarray:
    return waveform if rate == RATE else soxr.resample(waveform, rate, RATE, quality="HQ")


def _same_samples(heard: Sequence[_Heard]) -> list[list[int]]:
    """Rows of clips with the same samples, one list for each, by its first row."""
    rows = defaultdict(list)
    for row, one in enumerate(heard):
        if one.samples:
            rows[one.samples].append(row)
    return list(rows.values())


def _near(
    searched: Sequence[int],
    heard: Sequence[_Heard],
    paths: Sequence[str],
    seconds: float | None,
    label: str,
    jobs: int | None,
) -> Iterator[tuple]:
    """Rows of clips that hold the same recording, and how they compare, in order."""
    proposals: dict[int, list[Proposal]] = defaultdict(list)
    for proposal in propose([heard[row].prints for row in searched]):
        proposals[proposal.first].append(proposal)
    tasks = [
        (paths[searched[first]], [(paths[searched[p.second]], p.lag * HOP) for p in several], seconds)
        for first, several in proposals.items()
    ]
    compared = parallel_map(_compare, tasks, description=f"{label}: comparing", jobs=jobs) if tasks else ()
    for (first, several), comparisons in zip(proposals.items(), compared, strict=True):
        alike = [
            (searched[proposal.second], comparison)
            for proposal, comparison in zip(several, comparisons, strict=True)
            if comparison is not None and comparison.same_recording
        ]
        for second, comparison in sorted(alike, key=lambda pair: pair[0]):
            yield searched[first], second, comparison


def _compare(task: tuple[str, list[tuple[str, int]], float | None]) -> list:
    """Compare one clip with others."""
    path, others, seconds = task
    first = decode(path, RATE, seconds=seconds)
    return [compare(first, decode(other, RATE, seconds=seconds), lag) for other, lag in others]


def _conflicts(clusters: Sequence[Sequence[int]], keys: Sequence[str], corpus: "Corpus") -> list[tuple]:
    """Duplicates whose labels differ where both were observed: each clip with the first that says otherwise."""
    labels, mask = corpus.labels.astype(bool), corpus.mask
    differing: dict[tuple[int, int], set[int]] = defaultdict(set)
    for rows in clusters:
        rows = np.array(rows)
        for column in np.flatnonzero((labels & mask)[rows].any(axis=0) & (~labels & mask)[rows].any(axis=0)):
            observed = rows[mask[rows, column]]
            for row in observed[labels[observed, column] != labels[observed[0], column]]:
                differing[tuple(sorted((int(observed[0]), int(row))))].add(int(column))
    return [
        (
            keys[first],
            keys[second],
            len(columns),
            ", ".join(corpus.classes[c] for c in sorted(columns) if labels[first, c]),
            ", ".join(corpus.classes[c] for c in sorted(columns) if labels[second, c]),
        )
        for (first, second), columns in sorted(differing.items())
    ]
