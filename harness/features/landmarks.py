"""The same recording found again: landmarks of a spectrogram to propose pairs of clips, coherence to decide on them.

A landmark is a pair of spectral peaks, named by their two frequencies and the time between them (Wang, "An
industrial-strength audio search algorithm", ISMIR 2003). Clips that share many landmarks at one offset in time are
proposed. Music that shares instruments and tempo shares landmarks too, so that a proposal proves nothing. What decides
is the coherence of the two waveforms once they are aligned: near 1 for two copies of one recording whatever their
level, equaliser, codec or polarity, and near 0 for two performances, or renderings, of however similar music. Steady
tones of one pitch are coherent whoever plays them, but they stay so when one is moved in time, which tells them apart.
Two transfers of a recording run apart, as no two clocks agree: a steady drift is made good, always if it is 0.1 ms a
second, and mostly if it is 1. Copies at another speed or pitch than that are not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import soxr
from scipy.ndimage import maximum_filter

#: Rate in Hz at which recordings are compared: what sound copies of any codec have in common lies below 4 kHz.
RATE = 8000
#: Window and hop of the spectrogram in samples (128 and 32 ms).
WINDOW, HOP = 1024, 256
#: A peak is the largest of its neighbourhood: so many frames and bins to either side (160 ms, 78 Hz).
REACH_FRAMES, REACH_BINS = 5, 10
#: Peaks that are kept of each second, the largest: bounds what a clip costs, whatever it holds.
PEAKS_PER_SECOND = 20
#: Peaks this far below the clip's largest are not looked at, in dB, nor the bins below 16 Hz.
PEAK_RANGE, LOWEST_BIN = 60.0, 3
#: Each peak is paired with the next few that come 2 to 63 frames (64 ms to 2 s) after it.
FAN, NEAREST, FARTHEST = 6, 2, 63
#: Clips in which one landmark is followed up, per occurrence: what is common to many clips, such as a drum machine's
#: beat, costs no more than that, and the neighbours still link the copies of one clip, be they a thousand.
FOLLOWED = 20
#: Landmarks aligned that make a proposal. A recording under white noise at a signal-to-noise ratio of 5 dB keeps 17 or
#: more of 1,100 in ten seconds; other music reaches 8 about once in two clips, which costs one comparison.
LEAST_ALIGNED = 8
#: Proposals compared per clip, the best.
COMPARED = 10
#: Pairs of landmarks counted at a time: bounds the memory.
BLOCK = 4_000_000
#: Two clips are compared over what they have in common: at least 3 s of it, or most of the shorter clip, if that is
#: at least 1 s. Less is no evidence: over few windows anything is coherent.
LEAST_OVERLAP, LEAST_SHARE, LEAST_SECONDS = 3.0, 0.8, 1.0
#: Bands from 62 Hz to 4 kHz, half an octave each; those within 30 dB of the strongest count, and four at least.
EDGES = np.unique(np.round(np.geomspace(8, WINDOW // 2, 13)).astype(int))
BAND_RANGE, LEAST_BANDS = 30.0, 4
#: Frames by which the clips are moved against each other to learn how coherent they are when they are not aligned.
MOVED = (8, 12)
#: Coherence from which two clips count as one recording. Of copies under white noise at a signal-to-noise ratio of
#: 20 dB all have 0.92 and more, at 10 dB 19 of 20 have 0.77; other music, even from one sampler and one drum machine,
#: has 0.2 at most, and single notes of one pitch 0.8, to which the next number speaks.
SIMILARITY = 0.7
#: What is missing to 1 is at most this part of what is missing when they are not aligned.
UNEXPLAINED = 0.5
#: Drift is looked for in pieces of 1 s, if there are so many: half of their lags must lie on a line, to within so many
#: samples at the first attempt and, with the drift found so far made good, at the next ones.
FEWEST_PIECES, ON_LINE = 5, (64, 16, 4)
#: Most drift, per second.
MOST_DRIFT = 2e-3
#: Lags tried around a proposal's, in samples: two hops.
TRIED = 2 * HOP


@dataclass(frozen=True)
class Landmarks:
    """What a clip is recognised by.

    Parameters
    ----------
    names : np.ndarray, shape (n,), int32
        Both frequencies (9 bits each) and the time between them (6 bits).
    frames : np.ndarray, shape (n,), int32
        Where the earlier peak lies, in hops; ascending.
    """

    names: np.ndarray
    frames: np.ndarray


@dataclass(frozen=True)
class Proposal:
    """Two clips that may hold the same recording: `aligned` landmarks lie `lag` frames later in the `second`."""

    first: int
    second: int
    lag: int
    aligned: int


@dataclass(frozen=True)
class Comparison:
    """How alike two clips are where they overlap.

    Parameters
    ----------
    offset
        Second of the first clip at which the second one begins; negative where it begins before.
    overlap
        Seconds they have in common.
    similarity
        Median over the bands of the coherence, 0 to 1.
    elsewhere
        The same when they are not aligned: how much of it their being steady explains.
    level
        RMS level of the second in dB beside the first's.
    drift
        Milliseconds by which the second falls behind the first in a second; 0 where that need not be made good.
    """

    offset: float
    overlap: float
    similarity: float
    elsewhere: float
    level: float
    drift: float = 0.0

    @property
    def same_recording(self) -> bool:
        """Whether this is enough to call it one recording."""
        missing, expected = 1 - self.similarity, 1 - self.elsewhere
        return self.similarity >= SIMILARITY and missing <= UNEXPLAINED * expected


def landmarks(waveform: np.ndarray) -> Landmarks:
    """Find the landmarks of a clip.

    Parameters
    ----------
    waveform : np.ndarray, shape (samples,)
        At `RATE`.

    Returns
    -------
    Landmarks
        None for silence, at most 120 for each second; the same at any level.
    """
    frames, bins = _peaks(waveform)
    found, used = [], np.zeros(len(frames), int)
    # The peaks that may come between one and the last of its partners are bounded, and so is this loop.
    for step in range(1, PEAKS_PER_SECOND * (2 + FARTHEST * HOP // RATE)):
        if step >= len(frames):
            break
        apart = frames[step:] - frames[:-step]
        fits = (apart >= NEAREST) & (apart <= FARTHEST) & (used[:-step] < FAN)
        used[:-step] += fits
        found.append(np.stack([(bins[:-step] << 15 | bins[step:] << 6 | apart)[fits], frames[:-step][fits]]))
    names, places = np.concatenate(found, axis=1) if found else np.zeros((2, 0), int)
    order = np.argsort(places, kind="stable")
    return Landmarks(names[order].astype(np.int32), places[order].astype(np.int32))


def _spectra(waveform: np.ndarray) -> np.ndarray:
    """Complex spectra, shape (frames, bins)."""
    waveform = np.pad(waveform, (0, max(0, WINDOW - len(waveform))))
    pieces = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW)[::HOP]
    return scipy.fft.rfft(pieces * np.hanning(WINDOW + 1)[:-1].astype(np.float32), axis=1)


def _peaks(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and bins of the peaks, in the order of time."""
    levels = np.abs(_spectra(waveform))[:, : WINDOW // 2]
    largest = maximum_filter(levels, size=(2 * REACH_FRAMES + 1, 2 * REACH_BINS + 1), mode="constant")
    floor = max(levels.max() * 10 ** (-PEAK_RANGE / 20), np.finfo(np.float32).tiny)
    frames, bins = np.nonzero((levels == largest) & (levels > floor))
    frames, bins = frames[bins >= LOWEST_BIN], bins[bins >= LOWEST_BIN]
    seconds = frames * HOP // RATE
    order = np.lexsort((-levels[frames, bins], seconds))
    rank = np.arange(len(order)) - np.searchsorted(seconds[order], seconds[order])
    kept = np.sort(order[rank < PEAKS_PER_SECOND])
    return frames[kept], bins[kept]


def propose(prints: Sequence[Landmarks]) -> list[Proposal]:
    """Find the pairs of clips that share landmarks at one offset; the work grows with the clips, not with the pairs.

    Parameters
    ----------
    prints
        Of each clip.

    Returns
    -------
    list of Proposal
        By first clip; of each pair the offset at which most landmarks agree, of each first clip the best `COMPARED`.
    """
    counts = np.array([len(one.names) for one in prints], int)
    if not counts.sum():
        return []
    names = np.concatenate([one.names for one in prints])
    order = np.argsort(names, kind="stable")  # so that clips ascend within a name
    names = names[order]
    clips = np.repeat(np.arange(len(prints), dtype=np.int32), counts)[order]
    frames = np.concatenate([one.frames for one in prints])[order]
    last = np.searchsorted(names, names, side="right")
    followers = np.minimum(last - np.arange(len(names)) - 1, FOLLOWED)
    place = np.empty(len(order), int)  # among the sorted, of each landmark as the clips come
    place[order] = np.arange(len(order))

    begins = np.concatenate([[0], np.cumsum(counts)])
    work = np.concatenate([[0], np.cumsum(followers[place])])[begins]  # pairs before each clip
    found, clip = [], 0
    while clip < len(prints):
        stop = max(clip + 1, int(np.searchsorted(work, work[clip] + BLOCK, side="right")) - 1)
        mine = place[begins[clip] : begins[stop]]
        first = np.repeat(mine, followers[mine])
        nth = np.arange(len(first)) - np.repeat(np.cumsum(followers[mine]) - followers[mine], followers[mine])
        second = first + 1 + nth
        other = clips[first] != clips[second]
        found += _aligned(clips, frames, first[other], second[other])
        clip = stop
    return found


def _aligned(clips: np.ndarray, frames: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[Proposal]:
    """Proposals from pairs of equal landmarks, all those of their first clips."""
    # Pair of clips and lag in one number, 20 + 21 + 22 bits: neighbours differ by one frame of lag.
    middle = 1 << 21
    lags = frames[second].astype(np.int64) - frames[first] + middle
    keys, counts = np.unique(clips[first].astype(np.int64) << 43 | clips[second].astype(np.int64) << 22 | lags,
                             return_counts=True)  # fmt: skip
    near = np.flatnonzero(np.diff(keys) == 1)  # an offset between two frames spreads over both
    both = counts.copy()
    both[near] += counts[near + 1]
    keys, both, counts = keys[both >= LEAST_ALIGNED], both[both >= LEAST_ALIGNED], counts[both >= LEAST_ALIGNED]
    order = np.lexsort((-counts, -both, keys >> 22))
    best = order[np.concatenate([[True], np.diff(keys[order] >> 22) > 0])[: len(order)]]
    proposals: dict[int, list[Proposal]] = {}
    for key, count in zip(keys[best].tolist(), both[best].tolist(), strict=True):
        proposal = Proposal(key >> 43, key >> 22 & (1 << 21) - 1, (key & (1 << 22) - 1) - middle, count)
        proposals.setdefault(proposal.first, []).append(proposal)
    return [
        proposal for several in proposals.values() for proposal in sorted(several, key=lambda p: -p.aligned)[:COMPARED]
    ]


def compare(first: np.ndarray, second: np.ndarray, lag: int) -> Comparison | None:
    """Align two clips and measure how alike they are.

    Parameters
    ----------
    first, second : np.ndarray, shape (samples,), float32
        At `RATE`.
    lag
        Samples by which a moment lies later in the second clip than in the first, known to within `TRIED`.

    Returns
    -------
    Comparison or None
        None where they have too little in common to tell: less than 3 s, or, of clips of which the shorter is shorter
        than 3.75 s, less than 80 % of that or less than 1 s.

    Notes
    -----
    The coherence of a bin is the sum over time of the cross-spectrum, as a magnitude, over the root of the product of
    the two power spectra's sums; that of a band takes the sums over its bins.
    """
    found = _measure(first, second, lag)
    if found is None or found.same_recording:
        return found
    speed, copy = 1.0, second
    for tolerance in ON_LINE:
        drift = _drift(first, copy, lag, tolerance)
        if drift is None:
            return found
        speed *= 1 + drift[0]
        if abs(speed - 1) > MOST_DRIFT:
            return found
        copy, lag = soxr.resample(second, RATE * speed, RATE, quality="HQ"), round(drift[1] / (1 + drift[0]))
    again = _measure(first, copy, lag)
    return replace(again, drift=1000 * (speed - 1)) if again is not None and again.same_recording else found


def _measure(first: np.ndarray, second: np.ndarray, lag: int) -> Comparison | None:
    """Compare two clips of one speed."""
    if _overlap(first, second, lag) is None:
        return None
    lag += _shift(*_overlap(first, second, lag))
    pieces = _overlap(first, second, lag)
    shorter = min(len(first), len(second)) / RATE
    if pieces is None or len(pieces[0]) / RATE < max(LEAST_SECONDS, min(LEAST_OVERLAP, LEAST_SHARE * shorter)):
        return None
    spectra = [_spectra(piece) for piece in pieces]
    energies = [float((piece.astype(np.float64) ** 2).sum()) for piece in pieces]
    if not min(energies):
        return None
    moved = [_coherence(spectra[i][:-by], spectra[1 - i][by:]) for by in MOVED for i in (0, 1)]
    return Comparison(
        offset=-lag / RATE,
        overlap=len(pieces[0]) / RATE,
        similarity=_coherence(*spectra),
        elsewhere=max(moved),
        level=10 * float(np.log10(energies[1] / energies[0])),
    )


def _coherence(first: np.ndarray, second: np.ndarray) -> float:
    """Median over the bands of the coherence of two spectrograms, shape (frames, bins)."""

    def in_bands(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values.sum(axis=0).astype(np.float64)[: EDGES[-1]], EDGES[:-1])

    power = np.sqrt(in_bands(np.abs(first) ** 2) * in_bands(np.abs(second) ** 2))
    shared = np.abs((first * second.conj()).sum(axis=0, keepdims=True))
    strong = np.argsort(-power)[: max(LEAST_BANDS, int((power >= power.max() * 10 ** (-BAND_RANGE / 10)).sum()))]
    return min(1.0, float(np.median(in_bands(shared)[strong] / np.maximum(power[strong], np.finfo(np.float64).tiny))))


def _overlap(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray] | None:
    """What two clips have in common; None where they do not meet."""
    start = max(0, -lag)
    length = min(len(first) - start, len(second) - start - lag)
    return (first[start : start + length], second[start + lag : start + lag + length]) if length > 0 else None


def _drift(first: np.ndarray, second: np.ndarray, lag: int, tolerance: int) -> tuple[float, float] | None:
    """Samples by which the second falls behind per sample, and its lag at the first's begin; None if not steadily."""
    pieces = _overlap(first, second, lag)
    count = len(pieces[0]) // RATE if pieces else 0
    if count < FEWEST_PIECES:
        return None
    starts = RATE * np.arange(count)
    lags = np.array([_shift(*(piece[start : start + RATE] for piece in pieces)) for start in starts])
    # The median of the slopes between any two of them, which a quarter of wrong ones does not sway (Theil and Sen).
    before, after = np.triu_indices(count, 1)
    slope = float(np.median((lags[after] - lags[before]) / (starts[after] - starts[before])))
    begin = float(np.median(lags - slope * (starts + RATE / 2)))
    on_line = np.abs(lags - slope * (starts + RATE / 2) - begin) <= tolerance
    return (slope, lag + begin - slope * max(0, -lag)) if on_line.mean() >= 0.5 else None


def _shift(first: np.ndarray, second: np.ndarray) -> int:
    """Samples by which the second lies later than the first, at most `TRIED` either way."""
    size = scipy.fft.next_fast_len(len(first) + TRIED, real=True)
    # Differences of neighbours, as a bass would otherwise blur the maximum.
    spectra = [scipy.fft.rfft(np.diff(piece, prepend=piece[:1]), size) for piece in (first, second)]
    correlation = np.abs(scipy.fft.irfft(spectra[0].conj() * spectra[1], size))
    near = np.concatenate([correlation[-TRIED:], correlation[: TRIED + 1]])
    return int(np.argmax(near)) - TRIED
