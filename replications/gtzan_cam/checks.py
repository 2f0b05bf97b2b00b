"""What the write-up says in words, decided by measuring."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.analysis.measured import Gain
from harness.analysis.study import Analysis
from harness.studies.claims import FAILS, HOLDS, ONE_SEED, UNDECIDED, Finding, decide
from harness.studies.records import KEPT
from harness.studies.trial import trial_label
from replications.gtzan_cam.class_stems import REFERENCES, share_gain
from replications.gtzan_cam.peak_stability import AXES, peak_gain
from replications.gtzan_cam.trials import (
    explained_condition,
    kernel_arms,
    kernel_pairs,
    kernel_title,
    level_of_one,
)

#: Our reading of "extremely": three times what lies between the masked and the base net, 0.0167 (study 002, Results).
EXTREMELY = 0.05
NOT_ASKED = "not judged: the nets were not asked {}when they were trained"


def sensitive_to_filter_size(analysis: Analysis, *, level: float) -> Finding:
    """Whether any two shapes of kernels differ by much, by the simultaneous intervals of all differences on the page.

    Parameters
    ----------
    analysis
        Of the study's trials.
    level
        Not used: the intervals are the page's.

    Returns
    -------
    Finding
        Holds if two shapes differ by more than `EXTREMELY`, does not hold if every pair differs by less.
    """
    pairs, arms = kernel_pairs(analysis), {arm.name: arm for arm in kernel_arms(analysis)}
    if pairs.empty:
        return Finding("not judged: fewer than two shapes of kernels", "")
    if not any(analysis.above_chance(name) for name in arms):
        return Finding("not applicable: no shape is above chance", "")
    low, high = pairs["low_adjusted"], pairs["high_adjusted"]
    beyond = (low > EXTREMELY) | (high < -EXTREMELY)
    within = (low > -EXTREMELY) & (high < EXTREMELY)
    verdict = ONE_SEED if low.isna().all() else HOLDS if beyond.any() else FAILS if within.all() else UNDECIDED
    row = pairs.loc[pairs["difference"].abs().where(beyond | ~beyond.any()).idxmax()]
    sides, sign = [row["above"], row["below"]], 1 if row["difference"] >= 0 else -1
    shapes = [kernel_title(arms[name]) for name in sides[::sign]]
    # One seed has no simultaneous interval; that over tracks alone is told.
    names = ("low", "high") if verdict == ONE_SEED else ("low_adjusted", "high_adjusted")
    ends = sorted(sign * row[name] for name in names)
    said = f"accuracy of {len(arms)} shapes, {len(pairs)} pairs; farthest apart {' minus '.join(shapes)}"
    found = decide(said, sign * row["difference"], *ends)
    return replace(found, verdict=verdict, rests_on=tuple(f"{KEPT}/{name}" for name in arms))


def country_drums(analysis: Analysis, *, level: float) -> Finding:
    """Whether the deconvolved second layer of both nets lies on the drums of country more than what knows nothing does.

    Parameters
    ----------
    analysis, level
        As for every check.

    Returns
    -------
    Finding
        Only on a rendered corpus, whose parts are known.
    """
    return _on_parts(analysis, ("base", "masked"), "share of the map on the drums", level)


def cam_points(analysis: Analysis, *, level: float) -> Finding:
    """Whether class activation maps lie on the part that marks the genre more than what knows nothing does.

    Parameters
    ----------
    analysis, level
        As for every check.

    Returns
    -------
    Finding
        Only on a rendered corpus, whose parts are known.
    """
    return _on_parts(analysis, ("cam",), "share of the map on the marking part", level)


def masks_steady(analysis: Analysis, *, level: float) -> Finding:
    """Whether masked filters peak in steadier places than those of the base net.

    Parameters
    ----------
    analysis, level
        As for every check.

    Returns
    -------
    Finding
        It holds if they do in frequency; time is told beside it, for when a filter peaks is the music's business
        (`harness.explain.stability`).
    """
    condition, found = explained_condition(analysis), []
    for axis in AXES:
        gain = peak_gain(analysis, condition, "masked", "base", axis, level_of_one(level))
        if gain is None:
            return Finding(NOT_ASKED.format(""), "")
        live = " / ".join(f"{count:.0f}" for count in gain.live)
        found.append(_judged(f"in {axis} (live filters {live})", gain, sign=-1))
    said = f"deviation of the peak saved by the masks: {'; '.join(f.evidence for f in found)}"
    return replace(found[0], evidence=said, rests_on=_places(analysis, ("masked", "base"), condition))


def _on_parts(analysis: Analysis, arms: Sequence[str], evidence: str, level: float) -> Finding:
    """Decide whether maps of all these nets beat all references; as strictly as all that was measured."""
    condition, found = explained_condition(analysis), []
    level = level_of_one(level)
    for arm in arms:
        for reference, title in REFERENCES.items():
            gain = share_gain(analysis, condition, arm, reference, level)
            if gain is None:
                return Finding(NOT_ASKED.format("about stems, which only a rendered corpus has, "), "")
            found.append(_judged(f"{arm}, against {title}", gain))
    words = [f.verdict for f in found]
    # One that cannot be judged, or that fails, settles it; else all must hold.
    other = [word for word in words if word not in (HOLDS, UNDECIDED, FAILS)]
    verdict = other[0] if other else FAILS if FAILS in words else UNDECIDED if UNDECIDED in words else HOLDS
    said = f"{evidence}: {'; '.join(f.evidence for f in found)}"
    return Finding(verdict, said, rests_on=_places(analysis, arms, condition))


def _judged(evidence: str, gain: Gain, sign: int = 1) -> Finding:
    """Whether a gain, turned by its sign, is above 0."""
    if np.isnan(gain.low):
        return Finding(f"not judged: {gain.units} tracks", f"{evidence}: {sign * gain.difference:+.3f}")
    found = decide(evidence, sign * gain.difference, *sorted((sign * gain.low, sign * gain.high)))
    return replace(found, verdict=ONE_SEED) if gain.seeds == 1 else found


def _places(analysis: Analysis, arms: Sequence[str], condition: str) -> tuple[str, ...]:
    """Where the trials are kept."""
    return tuple(f"{KEPT}/{trial_label(analysis.study, arm, condition)}" for arm in arms)
