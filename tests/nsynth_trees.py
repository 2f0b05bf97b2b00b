"""A small tree in the published layout of NSynth, written by hand for the tests of its reader and of the download."""

import json
from pathlib import Path

import numpy as np
import soundfile

from harness.corpora.nsynth import QUALITIES

PARTS = {"train": 8, "valid": 4, "test": 2}


def make_note(number: int, instrument: int, part: str, qualities: list[int]) -> dict:
    """A note as examples.json describes it."""
    name = f"bass_synthetic_{instrument:03d}"
    pitch, velocity = 40 + number, 25 * (1 + number % 4)
    return {
        "note": number,
        "note_str": f"{name}-{pitch:03d}-{velocity:03d}",
        "instrument": instrument,
        "instrument_str": name,
        "pitch": pitch,
        "velocity": velocity,
        "sample_rate": 16000,
        "qualities": qualities,
        "qualities_str": [name for name, value in zip(QUALITIES, qualities, strict=True) if value],
        "instrument_family": 0,
        "instrument_family_str": "bass",
        "instrument_source": 2,
        "instrument_source_str": "synthetic",
    }


def make_nsynth_tree(root: Path, parts: dict[str, int] = PARTS, *, seed: int = 0) -> dict[str, dict]:
    """Write `parts` notes of 4 s, two to an instrument, and give them by their names."""
    rng = np.random.default_rng(seed)
    all_notes, number = {}, 0
    for part, count in parts.items():
        notes = {}
        for _ in range(count):
            note = make_note(number, number // 2, part, rng.integers(0, 2, 10).tolist() if number % 5 else [0] * 10)
            notes[note["note_str"]] = note
            number += 1
        folder = root / f"nsynth-{part}"
        (folder / "audio").mkdir(parents=True)
        for key in notes:
            samples = rng.normal(scale=3000, size=64000).astype(np.int16)
            soundfile.write(folder / "audio" / f"{key}.wav", samples, 16000, subtype="PCM_16")
        (folder / "examples.json").write_text(json.dumps(notes, indent=4, sort_keys=True))
        all_notes |= notes
    return all_notes
