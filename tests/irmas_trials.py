"""Trials of the study of predominant instruments, made up, whose scores are known."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.numpy

from harness.analysis.study import Analysis
from harness.corpora import Corpus
from harness.corpora.irmas import CLASSES
from harness.studies import study as studies
from harness.studies.records import Predictions, Record, write_measured, write_predictions, write_record
from replications.irmas_activations.filter_activations import LAYERS, NAME, has_one

STUDY = studies.load("irmas-activations")
FLUTE, CLARINET = (CLASSES.index(name) for name in ("flu", "cla"))
#: Songs of the test part, and excerpts of each.
SONGS, EXCERPTS = 40, 3
#: From labels of excerpts (n, c) and whether each is recognised to what is added to mean activations, by stage.
Planted = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]


def made_up_corpus(name: str = "pocket-irmas-66", *, seed: int = 0, clarinets: int = 10) -> Corpus:
    """Training clips of each class, and excerpts whose labels are their song's; one of `clarinets` songs has those."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for number, code in enumerate(CLASSES):
        for take in range(4):
            rows.append((f"[{code}]{take // 2:04d}__{take}", f"[{code}]{take // 2:04d}", "train"))
            labels.append(np.arange(11) == number)
    for song in range(SONGS):
        present = rng.random(11) < 0.15
        present[FLUTE], present[CLARINET] = song % 4 == 0, song % clarinets == 1
        present[song % 11] |= not present.any()
        for excerpt in range(EXCERPTS):
            rows.append((f"Song {song:02d}-{excerpt}", f"Song {song:02d}", "test"))
            labels.append(present)
    clips = pd.DataFrame(rows, columns=["key", "group", "partition"])
    clips = clips.assign(path="", title=clips["key"], artist=None)
    labels = np.array(labels, np.uint8)
    counts = {
        part: dict(zip(CLASSES, map(int, labels[clips["partition"] == of].sum(axis=0)), strict=True))
        for part, of in (("training", "train"), ("test", "test"))
    }
    return Corpus(
        name=name, root=Path(), classes=CLASSES, seconds=None, clips=clips, labels=labels,
        mask=np.ones(labels.shape, bool), facts=counts, pocket=name.startswith("pocket"), ground_truth=None,
    )  # fmt: skip


def made_up_trials(
    folder: Path,
    corpus: Corpus,
    *,
    conditions: tuple[str, ...] = ("paper", "bce"),
    seeds: int = 2,
    skill: dict[str, float] | float = 0.3,
    answers: Planted | None = None,
) -> list[Record]:
    """Write a record for every condition and seed.

    By `skill`, for each class if need be, scores know the labels. With `answers` filters were measured of the first
    condition: five a layer that tell nothing, and what is planted.
    """
    skills = np.array([skill.get(c, 0.3) if isinstance(skill, dict) else skill for c in CLASSES])
    test = (corpus.clips["partition"] == "test").to_numpy()
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
            trial = folder / ("han" if condition == "paper" else f"han@{condition}") / f"seed-{seed}"
            trial.mkdir(parents=True)
            write_predictions(trial, parts)
            measured = {}
            if answers is not None and condition == "paper":
                measured[NAME] = made_up_answers(corpus, parts["test"], answers, seed)
            files, columns = write_measured(trial, measured)
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
                "durations": {"train": 1.0}, "environment": {}, "measured": columns, "frozen_prefix": None,
                "inputs": {"corpus": dict(corpus.facts), "left_out": {}},
            }  # fmt: skip
            found.append(write_record(trial, data, files=("history.jsonl", "best.safetensors", *files)))
    return found


def made_up_answers(corpus: Corpus, test: Predictions, planted: Planted, seed: int) -> dict[str, np.ndarray]:
    """Mean activations of a trial: excerpts of a song sound alike, and songs have nothing to do with labels."""
    rng = np.random.default_rng([seed, 7])
    rows = has_one(test.labels, CLASSES)
    _, songs = np.unique(corpus.clips.set_index("key")["group"].loc[test.keys[rows]], return_inverse=True)
    number = np.where(test.labels[rows, FLUTE] == 1, FLUTE, CLARINET)
    right = test.probabilities[rows][np.arange(rows.sum()), number] >= 0.5
    more = planted(test.labels[rows], right)
    means = {
        stage: rng.normal(0, 1, (songs.max() + 1, 5))[songs] + rng.normal(0, 0.4, (rows.sum(), 5)) for stage in LAYERS
    }
    sums = {stage: (values + more.get(stage, 0)).astype(np.float32) for stage, values in means.items()}
    return {"keys": test.keys[rows], **sums}


def analysed(records: list[Record], corpus: Corpus, replicates: int = 200) -> Analysis:
    """With the songs of the corpus."""
    return Analysis(STUDY, records, corpus.clips[["key", "group"]], replicates=replicates)
