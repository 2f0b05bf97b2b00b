"""Trials of the study of predominant instruments, made up, whose scores are known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.numpy

from harness.corpora import Corpus
from harness.corpora.irmas import CLASSES
from harness.studies import study as studies
from harness.studies.records import Predictions, Record, write_predictions, write_record
from replications.irmas_activations.answers import LAYERS, Answers

STUDY = studies.load("irmas-activations")
#: Songs of the test part, and excerpts of each.
SONGS, EXCERPTS = 40, 3
#: Excerpts of which answers are made up.
FLUTES, CLARINETS = 30, 24


def made_up_corpus(name: str = "pocket-irmas-66", *, seed: int = 0) -> Corpus:
    """Training clips of each class, and excerpts whose labels are their song's; the clarinet is the rarest."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for number, code in enumerate(CLASSES):
        for take in range(4):
            rows.append((f"[{code}]{take // 2:04d}__{take}", f"[{code}]{take // 2:04d}", "train"))
            labels.append(np.arange(11) == number)
    for song in range(SONGS):
        present = rng.random(11) < 0.15
        present[CLASSES.index("flu")], present[CLASSES.index("cla")] = song % 4 == 0, song % 10 == 1
        present[song % 11] |= not present.any()
        for excerpt in range(EXCERPTS):
            rows.append((f"Song {song:02d}-{excerpt}", f"Song {song:02d}", "test"))
            labels.append(present)
    clips = pd.DataFrame(rows, columns=["key", "group", "partition"])
    clips = clips.assign(path="", title=clips["key"], artist=None)
    labels = np.array(labels, np.uint8)
    return Corpus(
        name=name, root=Path(), classes=CLASSES, seconds=None, clips=clips, labels=labels,
        mask=np.ones(labels.shape, bool), facts={}, pocket=name.startswith("pocket"), ground_truth=None,
    )  # fmt: skip


def made_up_trials(
    folder: Path,
    corpus: Corpus,
    *,
    conditions: tuple[str, ...] = ("paper", "bce"),
    seeds: int = 2,
    skill: dict[str, float] | float = 0.3,
) -> list[Record]:
    """Write a record for every condition and seed; by `skill`, for each class if need be, scores know the labels."""
    skills = np.array([skill.get(c, 0.3) if isinstance(skill, dict) else skill for c in CLASSES])
    test = corpus.clips["partition"] == "test"
    found = []
    for number, condition in enumerate(conditions):
        for seed in range(seeds):
            rng = np.random.default_rng([number, seed])
            mixtures = (rng.random((60, 11)) < 0.18).astype(np.uint8)
            mixtures[np.arange(60), np.arange(60) % 11] = 1
            parts = {}
            for part, keys, labels in (
                ("valid", np.array([f"mixture-{i:04d}" for i in range(60)]), mixtures),
                ("test", corpus.clips["key"][test].to_numpy(dtype=str), corpus.labels[test]),
            ):
                s1 = np.clip(0.15 + skills * (labels - 0.3) + rng.normal(0, 0.08, labels.shape), 0, 1)
                s2 = s1 / s1.max(axis=1, keepdims=True)
                mask = np.ones(labels.shape, bool)
                parts[part] = Predictions(keys, labels, mask, s2.astype(np.float32))
                parts[f"{part}_s1"] = Predictions(keys, labels, mask, s1.astype(np.float32))
            trial = folder / f"han@{condition}" / f"seed-{seed}"
            trial.mkdir(parents=True)
            write_predictions(trial, parts)
            history = [
                {"epoch": e, "train_loss": 2.4 / e, "valid_loss": 2.5 / min(e, 4), "lrap_unmasked": 0.2 + 0.1 * e}
                for e in range(1, 6)
            ]
            (trial / "history.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in history))
            safetensors.numpy.save_file({"bias": np.zeros(11)}, trial / "best.safetensors")
            data = {
                "study": STUDY.name, "arm": "han", "condition": condition, "seed": seed, "task": "multilabel",
                "corpus": corpus.name, "profile": "pocket", "weights": {"kind": "random"},
                "protocol": {**STUDY.resolve("pocket", condition), "corpus": corpus.name},
                "split": {
                    "name": "official", "seed": seed, "sizes": {"train": 100, "valid": 60, "test": int(test.sum())},
                    "leakage": {"shared_groups": {"train-valid": 0}},
                },
                "classes": list(CLASSES), "parameters": {"trainable": 1, "total": 1}, "best_epoch": 4, "epochs": 5,
                "durations": {"train": 1.0}, "environment": {}, "inputs": {}, "frozen_prefix": None,
            }  # fmt: skip
            found.append(write_record(trial, data))
    return found


def made_up_answers(record: Record, *, planted: float = 0.0, bias: float = 0.0, seed: int = 0) -> Answers:
    """Answers that say nothing, but for one filter of ``act3`` and for a bias of ``act5``; three excerpts a song."""
    rng = np.random.default_rng(seed)
    flute = np.arange(FLUTES + CLARINETS) < FLUTES
    songs = np.array([f"Song {i // 3:02d}" for i in range(len(flute))])
    by_song = np.repeat(rng.normal(0, 1, (len(flute) // 3, 20)), 3, axis=0)  # excerpts of a song sound alike
    means = {stage: by_song + rng.normal(0, 0.3, by_song.shape) for stage in LAYERS}
    means["act3"][:, 7] += planted * flute
    means["act5"] += bias * flute[:, None]
    # Songs must not be in the order of the labels.
    names = {song: f"Song {i:02d}" for i, song in enumerate(rng.permutation(np.unique(songs)))}
    songs = np.array([names[song] for song in songs])
    order = np.argsort(songs, kind="stable")
    return Answers(
        record, np.array([f"clip {i:02d}" for i in range(len(flute))])[order], songs[order], flute[order],
        (np.arange(len(flute)) % 2 == 0)[order], (np.arange(len(flute)) % 3 == 0)[order],
        {stage: values[order] for stage, values in means.items()},
    )  # fmt: skip
