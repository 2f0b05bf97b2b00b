"""Defects of a recording that can be measured without knowing what it should sound like: clipping, static, silence."""

import numpy as np
import scipy.fft

from harness.features.audio import DECODING

#: A plateau is three equal samples, entered or left by a step of 0.2 % of its height and of three steps of the
#: encoding or more, since the top of any slow or quiet wave is flat when it is rounded.
PLATEAU, PLATEAU_STEP, ROUNDING = 3, 2e-3, 3.0
#: Static is white and stops at once: for 20 ms the spectrum is flat, and 5 ms later the treble is 18 dB lower. Cymbals
#: and snares are as white but die away: they fall by at most 10 dB.
STATIC_DROP, STATIC_FRAME, STATIC_FRAMES = 18.0, 0.005, 4
#: What stops in the first 50 ms is the attack of a note, and what ends in silence, 40 dB down, an effect that was cut.
STATIC_AFTER, STATIC_END = 0.05, 40.0
#: Geometric over arithmetic mean of six bands' power up to 10 kHz: 1 for white noise.
STATIC_FLATNESS, STATIC_BANDS, STATIC_TOP = 0.5, 6, 10_000.0
#: Static is looked for where the treble is within 30 dB of the clip's loudest.
STATIC_RANGE = 30.0
#: Rate in Hz below which a frame has too few bins for the bands.
LOWEST_RATE = 8000
#: Seconds of a frame in which silence is looked for.
SILENCE_FRAME = 0.05


def clipped_share(waveform: np.ndarray, rounding: float = 2.0**-15) -> float:
    """Share of the samples that lie in plateaus at the waveform's largest or smallest value.

    Parameters
    ----------
    waveform : np.ndarray, shape (samples,)
        One channel as the file holds it. Resampling and lossy codecs smear plateaus: what was clipped before those is
        not seen.
    rounding
        Step of the encoding.

    Returns
    -------
    float
        0 to 1; 0 for what is rounded but not clipped, and for a constant.
    """
    clipped = 0
    for side in (waveform, -waveform):
        top = float(side.max(initial=0.0))
        edges = np.diff(np.concatenate([[False], side == top, [False]]).astype(np.int8))
        starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        long = stops - starts >= PLATEAU
        starts, stops = starts[long], stops[long]
        outside = np.concatenate([[np.float32(top)], side, [np.float32(top)]])  # one later than in `side`
        steps = top - np.minimum(outside[starts], outside[stops + 1])
        lengths = stops - starts
        # The crest of a wave is a parabola: where n samples differ by one step of the encoding at most, the next
        # differs by ((n + 1) / (n - 1))² at most, and one more by rounding.
        rounded = np.maximum(ROUNDING, 1 + ((lengths + 1) / (lengths - 1)) ** 2) * rounding
        clipped += int(lengths[steps >= np.maximum(PLATEAU_STEP * top, rounded)].sum())
    return clipped / max(1, len(waveform))


def static_bursts(waveform: np.ndarray, rate: int) -> tuple[int, float, float]:
    """Find bursts of white noise that stop at once, as bad contacts, broken files and failing converters make them.

    Parameters
    ----------
    waveform : np.ndarray, shape (samples,)
        Mono.
    rate
        In Hz; below 8,000 none are looked for.

    Returns
    -------
    bursts : int
        How many stop within the clip.
    end : float
        Second at which the first one stops; 0 without any.
    drop : float
        By how much the sharpest falls, in dB; 0 without any.
    """
    size = round(STATIC_FRAME * rate)
    frames = (len(waveform) - 2) // size
    gap = 1  # the frame in which it stops
    if frames < 2 * STATIC_FRAMES + gap or rate < LOWEST_RATE:
        return 0, 0.0, 0.0
    over = np.lib.stride_tricks.sliding_window_view
    # Second differences: the treble, where static stands out from music.
    treble = np.diff(waveform, 2)[: frames * size].reshape(frames, size)
    level = 10 * np.log10(np.maximum((treble**2).mean(axis=1), 1e-12))
    lowest, highest = over(level, STATIC_FRAMES).min(axis=1), over(level, STATIC_FRAMES - 1).max(axis=1)
    after = highest[STATIC_FRAMES + gap :]
    before = lowest[: len(after)]
    drop = before - after

    top = min(STATIC_TOP, 0.45 * rate)
    edges = np.round(np.linspace(0.03 * top, top, STATIC_BANDS + 1) / rate * size).astype(int)
    pieces = waveform[: frames * size].reshape(frames, size)
    power = np.abs(scipy.fft.rfft(pieces * np.hanning(size).astype(np.float32), axis=1)) ** 2
    bands = np.add.reduceat(power, edges, axis=1)[:, :-1] / np.diff(edges)
    bands = np.maximum(over(bands, STATIC_FRAMES, axis=0).sum(axis=-1)[: len(drop)], 1e-12)
    flatness = np.exp(np.log(bands).mean(axis=1)) / bands.mean(axis=1)

    energy = (pieces**2).mean(axis=1)
    during = over(energy, STATIC_FRAMES).mean(axis=1)[: len(drop)]
    goes_on = over(energy, STATIC_FRAMES - 1).mean(axis=1)[-len(drop) :] >= during * 10 ** (-STATIC_END / 10)
    loud = before >= level.max() - STATIC_RANGE
    stops = np.flatnonzero((drop >= STATIC_DROP) & (flatness >= STATIC_FLATNESS) & loud & goes_on)
    stops = stops[stops + STATIC_FRAMES > STATIC_AFTER / STATIC_FRAME]
    if not len(stops):
        return 0, 0.0, 0.0
    apart = np.concatenate([[True], np.diff(stops) > STATIC_FRAMES])  # one burst shows in neighbouring frames
    end = (int(stops[0]) + STATIC_FRAMES) * STATIC_FRAME
    return int(apart.sum()), round(end, 3), round(float(drop[stops].max()), 1)


def longest_silence(waveform: np.ndarray, rate: int) -> tuple[float, float]:
    """Find the longest stretch in which no sample rises above -80 dBFS.

    Parameters
    ----------
    waveform : np.ndarray, shape (samples,)
        Mono.
    rate
        In Hz.

    Returns
    -------
    seconds : float
        Its length, in steps of 50 ms.
    start : float
        Where it begins, in seconds.
    """
    size = round(SILENCE_FRAME * rate)
    frames = np.abs(waveform[: len(waveform) // size * size]).reshape(-1, size)
    quiet = frames.max(axis=1) < 10 ** (DECODING["silence_dbfs"] / 20)
    edges = np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(starts):
        return 0.0, 0.0
    longest = int(np.argmax(stops - starts))
    return float(stops[longest] - starts[longest]) * size / rate, float(starts[longest]) * size / rate
