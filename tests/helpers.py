"""Finished trials written by hand: real folders, invented predictions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import safetensors.numpy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from harness.report.style import style
from harness.storage import write_json, write_text
from harness.studies.records import Predictions, Record, find_records, write_predictions, write_record
from harness.studies.study import Arm, Study

CLASSES = (
    "accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar", "mallet_percussion",
    "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone", "trumpet", "ukulele", "violin", "voice",
)  # fmt: skip


def write_trials(
    folder: Path,
    study: Study,
    *,
    arms: Sequence[str] | None = None,
    conditions: Sequence[str] = ("paper", "masked"),
    seeds: int = 1,
    sizes: tuple[int, int] = (45, 120),
    classes: Sequence[str] = CLASSES,
    skills: Sequence[float] | Mapping[str, float | np.ndarray] | None = None,
    corpus: str = "pocket-openmic",
    profile: str = "pocket",
    weights: str = "random",
    select: str | None = None,
    clips: tuple[Sequence[str], np.ndarray] | None = None,
) -> list[Record]:
    """Write a record for every arm, condition and seed, as a finished trial would leave it.

    Parameters
    ----------
    folder
        Where the trials' folders go.
    study
        Gives arms and conditions.
    arms
        Names; default: all.
    conditions
        Names; a condition that is for some arms only gets those.
    seeds
        How many.
    sizes
        Clips of the valid and the test part.
    classes
        Names.
    skills
        Per arm, and if need be per class, how far probabilities of present classes lie above the others; 0 is
        guessing.
    corpus, profile, weights
        As the record will say.
    select
        Score of the history whose highest value makes the best epoch; default: the lowest validation loss does.
    clips
        Of a study whose clips have one class: keys and labels of the corpus that parts are drawn from; default: five
        times as many as the test part has, invented.

    Returns
    -------
    list of Record
        Ordered by path.
    """
    if not isinstance(skills, Mapping):
        skills = np.linspace(0, 0.45, len(study.arms)) if skills is None else skills
        skills = dict(zip((arm.name for arm in study.arms), skills, strict=True))
    for number, arm in enumerate(study.arms):
        if arms is not None and arm.name not in arms:
            continue
        for condition in map(study.condition, conditions):
            if condition.arms and arm.name not in condition.arms:
                continue
            protocol = {**study.resolve(profile, condition.name, network=arm.network), "corpus": corpus}
            split = protocol["split"]
            for seed in range(seeds):
                generator = np.random.default_rng([number, len(condition.name), seed])
                if study.task == "multiclass":
                    pool = _pool(5 * sizes[1], len(classes)) if clips is None else clips
                    drawn = seed if protocol.get("split_per_seed") else 0
                    parts = _one_class_parts(pool, sizes, [len(split), drawn], skills[arm.name], generator)
                else:
                    parts = {
                        part: _predictions(part, split, size, len(classes), skills[arm.name], generator)
                        for part, size in zip(("valid", "test"), sizes, strict=True)
                    }
                trial = folder / f"{arm.name}@{condition.name}" / f"seed-{seed}"
                trial.mkdir(parents=True)
                write_predictions(trial, parts)
                files: tuple[str, ...] = ()
                best_epoch, epochs = None, 0
                if arm.parameters:  # a random forest, say, has none and no epochs
                    epochs = int(generator.integers(6, 12))
                    skill = float(np.mean(skills[arm.name]))
                    best_epoch = _write_history(trial, epochs, skill, generator, study.history, select)
                    safetensors.numpy.save_file({"bias": np.zeros(len(classes))}, trial / "best.safetensors")
                    files = ("history.jsonl", "best.safetensors")
                write_json(trial / "trial.json", {"arm": arm.name, "condition": condition.name, "seed": seed})
                data = {
                    "study": study.name,
                    "arm": arm.name,
                    "condition": condition.name,
                    "seed": seed,
                    "task": study.task,
                    "corpus": corpus,
                    "profile": profile,
                    "protocol": protocol,
                    "weights": {"kind": _kind(arm, weights)},
                    "split": {
                        "name": split,
                        "seed": 0,
                        "sizes": {"train": 400, "valid": sizes[0], "test": sizes[1]},
                        "leakage": {
                            "shared_groups": {"train-valid": 3, "train-test": 0, "valid-test": 0},
                            "clips_in_shared_groups": {"train-valid": 5, "train-test": 0, "valid-test": 0},
                        },
                    },
                    "classes": list(classes),
                    "parameters": {"trainable": arm.parameters, "total": 10**8},
                    "best_epoch": best_epoch,
                    "epochs": epochs,
                    "durations": {"train": 1.5 * epochs},
                    "environment": {"cpu": "some CPU", "gpu": None, "packages": {"torch": "2.15.0"}, "git": None},
                    "inputs": _inputs(arm, protocol),
                }
                write_record(trial, data, files)
    return find_records(folder)


def _kind(arm: Arm, weights: str) -> str:
    """Kind of an arm's weights: as the caller says, unless its inputs settle it."""
    return {"random": "random", "log_mel": "none"}.get(arm.options.get("representation"), weights)


def _inputs(arm: Arm, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial was trained on, where that is a representation."""
    name = arm.options.get("representation")
    if name is None:
        return {}
    computed = name == "codes" and protocol["codes"] == "computed"
    objective = "aed" if computed else name
    if name == "aed" and protocol["weights"]["vggish"] == "published":
        objective = None
    settings, pretraining = protocol["pretraining"].get(objective), None
    if settings:
        curve = np.exp(-np.arange(1, 10) / 4)
        valid = curve + 0.02 * np.maximum(0, np.arange(9) - 5)
        losses = enumerate(zip(curve.tolist(), valid.tolist(), strict=True), 1)
        pretraining = {
            "objective": objective,
            "corpus": settings["corpus"],
            "width": settings["width"],
            "best_epoch": int(valid.argmin()) + 1,
            "history": [{"epoch": epoch, "train_loss": a, "valid_loss": b} for epoch, (a, b) in losses],
            "seconds": 60.0,
        }
    return {"representation": {"name": name, "pretraining": pretraining}}


def draw(figure: Figure) -> None:
    """Lay a figure out, so that its parts have places."""
    with mpl.rc_context(style()):
        FigureCanvasAgg(figure).draw()


def drawn_texts(figure: Figure) -> list[Text]:
    """Every text that is drawn; the labels of ticks beyond an axis are not."""
    draw(figure)
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in beyond]


def assert_readable(figure: Figure) -> None:
    """Type of 7 pt and up, nothing cut off at the edges."""
    found = drawn_texts(figure)
    assert min(t.get_fontsize() for t in found) >= 7
    width, height = figure.canvas.get_width_height()
    for text in found:
        box = text.get_window_extent()
        assert -1 <= box.x0 <= box.x1 <= width + 1, text
        assert -1 <= box.y0 <= box.y1 <= height + 1, text


def _predictions(
    part: str, split: str, clips: int, classes: int, skill: float | np.ndarray, generator: np.random.Generator
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


def _pool(clips: int, classes: int) -> tuple[list[str], np.ndarray]:
    """Keys and labels of clips of one class each; every class is as frequent as any other."""
    return [f"note-{i:05d}" for i in range(clips)], np.eye(classes, dtype=np.uint8)[np.arange(clips) % classes]


def _one_class_parts(
    pool: tuple[Sequence[str], np.ndarray],
    sizes: tuple[int, int],
    split: Sequence[int],
    skill: float | np.ndarray,
    generator: np.random.Generator,
) -> dict[str, Predictions]:
    """Parts that depend on the split alone; probabilities that know their classes by `skill` and add up to 1."""
    keys, labels = np.asarray(pool[0]), pool[1]
    order = np.random.default_rng(split).permutation(len(keys))
    parts = {}
    for part, rows in (("valid", order[: sizes[0]]), ("test", order[sizes[0] : sum(sizes)])):
        rows = np.sort(rows)
        logits = generator.normal(0, 1, (len(rows), labels.shape[1])) + 8 * skill * labels[rows]
        odds = np.exp(logits)
        probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        parts[part] = Predictions(keys[rows], labels[rows], np.ones(logits.shape, bool), probabilities)
    return parts


def _write_history(
    folder: Path,
    epochs: int,
    skill: float,
    generator: np.random.Generator,
    scores: Sequence[str],
    select: str | None,
) -> int:
    """Losses that fall and rise again, scores that rise; returns the best epoch."""
    history = []
    for epoch in range(1, epochs + 1):
        fitted = 1 - np.exp(-epoch / 3)
        entry = {
            "epoch": epoch,
            "train_loss": 0.62 - (0.1 + 0.6 * skill) * fitted,
            "valid_loss": 0.6 - 0.4 * skill * fitted + 0.006 * max(0, epoch - 6) ** 2 + generator.normal(0, 0.004),
        }
        entry |= {name: float(np.clip(0.1 + skill * fitted + generator.normal(0, 0.01), 0, 1)) for name in scores}
        history.append({**entry, "learning_rate": [0.01], "seconds": 1.5})
    write_text(folder / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in history))
    values = [-entry["valid_loss"] if select is None else entry[select] for entry in history]
    return int(np.argmax(values)) + 1
