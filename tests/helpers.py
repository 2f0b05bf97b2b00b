"""Finished trials written by hand: real folders, invented predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

from harness.storage import write_json, write_text
from harness.studies.records import Predictions, Record, find_records, write_predictions, write_record
from harness.studies.study import Study

CLASSES = (
    "accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar", "mallet_percussion",
    "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone", "trumpet", "ukulele", "violin", "voice",
)  # fmt: skip


def write_trials(
    folder: Path,
    study: Study,
    *,
    conditions: Sequence[str] = ("paper", "masked"),
    seeds: int = 1,
    sizes: tuple[int, int] = (45, 120),
    classes: Sequence[str] = CLASSES,
    skills: Sequence[float] | None = None,
    corpus: str = "pocket-openmic",
    profile: str = "pocket",
    weights: str = "random",
) -> list[Record]:
    """Write a record for every arm, condition and seed, as a finished trial would leave it.

    Parameters
    ----------
    folder
        Where the trials' folders go.
    study
        Gives arms and conditions.
    conditions
        Names; a condition that is for some arms only gets those.
    seeds
        How many.
    sizes
        Clips of the valid and the test part.
    classes
        Names.
    skills
        Per arm, how far probabilities of present classes lie above the others; 0 is guessing.
    corpus, profile, weights
        As the record will say.

    Returns
    -------
    list of Record
        Ordered by path.
    """
    skills = np.linspace(0, 0.45, len(study.arms)) if skills is None else skills
    for number, arm in enumerate(study.arms):
        for condition in map(study.condition, conditions):
            if condition.arms and arm.name not in condition.arms:
                continue
            split = condition.changes.get("split", study.protocol["split"])
            for seed in range(seeds):
                generator = np.random.default_rng([number, len(condition.name), seed])
                parts = {
                    part: _predictions(part, split, size, len(classes), skills[number], generator)
                    for part, size in zip(("valid", "test"), sizes, strict=True)
                }
                trial = folder / f"{arm.name}@{condition.name}" / f"seed-{seed}"
                trial.mkdir(parents=True)
                write_predictions(trial, parts)
                epochs = int(generator.integers(6, 12))
                best_epoch = _write_history(trial, epochs, skills[number], generator)
                safetensors.numpy.save_file({"bias": np.zeros(len(classes))}, trial / "best.safetensors")
                write_json(trial / "trial.json", {"arm": arm.name, "condition": condition.name, "seed": seed})
                data = {
                    "study": study.name,
                    "arm": arm.name,
                    "condition": condition.name,
                    "seed": seed,
                    "corpus": corpus,
                    "profile": profile,
                    "protocol": {"threshold": 0.5},
                    "weights": {"kind": weights},
                    "split": {"name": split, "seed": 0, "sizes": {"train": 400, "valid": sizes[0], "test": sizes[1]}},
                    "classes": list(classes),
                    "parameters": {"trainable": arm.parameters, "total": 10**8},
                    "best_epoch": best_epoch,
                    "epochs": epochs,
                }
                write_record(trial, data)
    return find_records(folder)


def _predictions(
    part: str, split: str, clips: int, classes: int, skill: float, generator: np.random.Generator
) -> Predictions:
    """Labels that depend on part and split alone; probabilities that know them by `skill`."""
    truth = np.random.default_rng([len(part), len(split), clips])
    prevalence = truth.uniform(0.08, 0.4, classes)
    present = truth.random((clips, classes)) < prevalence
    mask = truth.random((clips, classes)) < 0.6
    labels = present & mask
    logits = generator.normal(-1.2, 1, (clips, classes)) + 8 * skill * (present - prevalence)
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    keys = np.array([f"{split}-{part}-{i:05d}" for i in range(clips)])
    return Predictions(keys, labels.astype(np.uint8), mask, probabilities)


def _write_history(folder: Path, epochs: int, skill: float, generator: np.random.Generator) -> int:
    """Curves that fall and rise again; returns the epoch of the lowest validation loss."""
    lines, losses = [], []
    for epoch in range(1, epochs + 1):
        fitted = 1 - np.exp(-epoch / 3)
        valid_loss = 0.6 - 0.4 * skill * fitted + 0.006 * max(0, epoch - 6) ** 2 + generator.normal(0, 0.004)
        losses.append(valid_loss)
        lines.append(
            f'{{"epoch": {epoch}, "train_loss": {0.62 - (0.1 + 0.6 * skill) * fitted:.6f}, '
            f'"valid_loss": {valid_loss:.6f}, '
            f'"f1_macro_unmasked": {0.1 + skill * fitted + generator.normal(0, 0.01):.6f}, '
            f'"f1_micro_unmasked": {0.12 + skill * fitted:.6f}, "jaccard_samples_unmasked": {skill * fitted:.6f}, '
            f'"learning_rate": [0.01], "seconds": 1.5}}'
        )
    write_text(folder / "history.jsonl", "\n".join(lines) + "\n")
    return int(np.argmin(losses)) + 1
