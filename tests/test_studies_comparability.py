"""What two runs of one trial have in common, and what they must not differ in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.studies import comparability, records
from harness.studies.records import Predictions, Record

ENVIRONMENT = {
    "packages": {"torch": "2.15.0", "numpy": "2.4.6"},
    "git": {"commit": "a", "clean": True},
    "python": "3.11.7",
    "os": "Linux-6.18.44-x86_64-with-glibc2.36",
    "cpu": "AMD EPYC, 2 cores",
    "simd": "AVX2",
    "threads": 1,
    "device": "cpu",
    "gpu": None,
}
SETTINGS: dict[str, Any] = {
    "options": {"kernel": [3, 3]},
    "protocol": {"epochs": 10, "front_end": {"n_mels": 64}},
    "bf16": False,
    "task": "multiclass",
    "classes": ["a", "b"],
    "weights": {"kind": "random"},
    "split": {"name": "s", "seed": 0, "checksum": "c"},
    "inputs": {"corpus": {"parameters": {"size": 9}, "renderer_version": 1}, "features": {"parameters": {"fmin": 0}}},
}


def changed(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The same with another entry at a dotted path."""
    name, _, rest = path.partition(".")
    return {**data, name: changed(data[name], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("packages.torch", "2.16.0", ["torch"]),
        ("python", "3.12.1", ["python"]),
        ("os", "Linux-6.18.44-x86_64-with-glibc2.41", ["libc"]),
        ("cpu", "Intel Xeon, 2 cores", ["cpu"]),
        ("simd", "AVX512", ["simd"]),
        ("threads", 2, ["threads"]),
        ("gpu", "NVIDIA H200", ["gpu"]),
        ("packages.extra", "1", ["extra"]),
        ("os", "Linux-7.0.1-x86_64-with-glibc2.36", []),
        ("cpu", "AMD EPYC, 64 cores", []),
        ("git", None, []),
    ],
)
def test_what_can_move_a_bit_is_the_environment(path, value, named):
    ours = Record(Path(), {"environment": ENVIRONMENT})
    theirs = Record(Path(), {"environment": changed(ENVIRONMENT, path, value)})
    assert comparability.other_environment(ours, theirs) == comparability.other_environment(theirs, ours) == named


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("protocol.epochs", 9, "protocol.epochs"),
        ("protocol.front_end.n_mels", 32, "protocol.front_end.n_mels"),
        ("protocol.extra", 1, "protocol.extra"),
        ("options.kernel", [5, 5], "options.kernel"),
        ("classes", ["b", "a"], "classes"),
        ("weights.kind", "published", "weights"),
        ("split.checksum", "d", "split.checksum"),
        ("inputs.corpus.renderer_version", 2, "corpus.renderer_version"),
        ("inputs.features.parameters.fmin", 20, "front_end.fmin"),
    ],
)
def test_settings_are_named_where_they_differ(path, value, named):
    ours, theirs = Record(Path(), SETTINGS), Record(Path(), changed(SETTINGS, path, value))
    assert comparability.other_settings(ours, theirs) == [named]
    assert comparability.other_settings(ours, ours) == []


def test_inputs_without_features_can_be_compared():
    bare = Record(Path(), {**SETTINGS, "inputs": {}})
    assert comparability.other_settings(bare, bare) == []
    assert "front_end.fmin" in comparability.other_settings(bare, Record(Path(), SETTINGS))


@pytest.mark.parametrize("name", ["keys", "labels", "mask", "probabilities"])
def test_clips_are_the_same_by_key_label_and_mask(tmp_path, name):
    def write(folder: Path, change: str = "") -> Record:
        p = {
            "keys": np.array(["a", "b"]),
            "labels": np.eye(2, dtype=np.uint8),
            "mask": np.ones((2, 2), bool),
            "probabilities": np.full((2, 2), 0.5, np.float32),
        }
        if change:
            p[change] = p[change][::-1].copy() if change == "keys" else 1 - p[change]
        p["probabilities"] = p["probabilities"] * (0.5 if change == "probabilities" else 1)
        valid = Predictions(np.array(["c"]), np.ones((1, 2), np.uint8), np.ones((1, 2), bool), np.ones((1, 2)))
        records.write_predictions(folder, {"valid": valid, "test": Predictions(**p)})
        return Record(folder, {})

    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours, theirs = write(tmp_path / "ours"), write(tmp_path / "theirs", name)
    assert comparability.same_clips(ours, theirs) == (name == "probabilities")
