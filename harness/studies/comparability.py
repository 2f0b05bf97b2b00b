"""What two runs of one trial have in common: machine and packages, settings, clips."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.studies.records import PARTS, Record
from harness.studies.trial import flat

#: What of a record says how it came about, whatever the machine.
SETTINGS = ("options", "protocol", "bf16", "task", "classes")


def other_environment(ours: Record, theirs: Record) -> list[str]:
    """What of two trials' environments differs and can move a bit of a prediction.

    Parameters
    ----------
    ours, theirs
        Any.

    Returns
    -------
    list of str
        Names; none where predictions must be the same bit by bit. Commit and kernel are not among them.
    """
    left, right = (_environment(r.data["environment"]) for r in (ours, theirs))
    return sorted(name for name in {**left, **right} if left.get(name) != right.get(name))


def _environment(data: Mapping[str, Any]) -> dict[str, Any]:
    """Packages, Python, libc, processor, threads and device; a processor's number of cores does not matter."""
    chosen = {name: data.get(name) for name in ("python", "threads", "device", "gpu", "simd")}
    chosen["libc"] = str(data.get("os")).rpartition("-with-")[2]
    chosen["cpu"] = re.sub(r", \d+ cores$", "", str(data.get("cpu")))
    return chosen | dict(data["packages"])


def other_settings(ours: Record, theirs: Record) -> list[str]:
    """In which settings two trials differ.

    Parameters
    ----------
    ours, theirs
        Any.

    Returns
    -------
    list of str
        Dotted names, of the protocol, the split, the corpus and the front end.
    """
    left, right = (_settings(r.data) for r in (ours, theirs))
    return sorted(name for name in {**left, **right} if left.get(name) != right.get(name))


def _settings(data: Mapping[str, Any]) -> dict[str, Any]:
    inputs = data["inputs"]
    chosen = {name: data.get(name) for name in SETTINGS} | {"weights": data["weights"]["kind"]}
    chosen["split"] = {name: data["split"].get(name) for name in ("name", "seed", "checksum")}
    corpus, features = inputs.get("corpus") or {}, inputs.get("features") or {}
    chosen["corpus"] = {name: corpus.get(name) for name in ("parameters", "renderer_version")}
    chosen["front_end"] = features.get("parameters")
    return flat(chosen)


def same_clips(ours: Record, theirs: Record) -> bool:
    """Whether two trials were scored on the same clips with the same labels.

    Parameters
    ----------
    ours, theirs
        Any.

    Returns
    -------
    bool
    """
    for part in PARTS:
        left, right = ours.predictions(part), theirs.predictions(part)
        if not all(np.array_equal(getattr(left, name), getattr(right, name)) for name in ("keys", "labels", "mask")):
            return False
    return True
