"""What a trial leaves behind: per-clip predictions, scores, and all that made them.

A trial's folder holds ``record.json``, ``predictions.npz``, ``history.jsonl``, ``best.safetensors`` and what its study
measured with the network, as tables (``<name>.csv``) and arrays (``<name>.npz``). The record carries the SHA-256 of the
other files and of itself, so that a single changed byte shows. With the results of a study all but the weights are kept
(`harness.studies.kept`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.metrics import multiclass, multilabel
from harness.storage import atomic_path, fingerprint, json_text, sha256_of, write_json, write_text

PARTS = ("valid", "test")
#: Folder of a study's results under which trials are kept, without their weights.
KEPT = "records"
#: Of a record, and what there must be in one.
FORMAT = 1
NEEDED = (
    "study", "arm", "condition", "seed", "corpus", "profile", "protocol", "weights", "split", "classes", "environment",
    "inputs", "metrics", "files", "checksum",
)  # fmt: skip
#: How the name of a file of weights ends.
WEIGHTS = ".safetensors"
#: Files of a trial that was trained in epochs.
LEARNT = ("history.jsonl", "best.safetensors")
#: What a study may measure with a trained network: a table, or arrays by name.
Measured = pd.DataFrame | Mapping[str, np.ndarray]
#: What scores a record, by its task.
TASKS: dict[str, ModuleType] = {"multilabel": multilabel, "multiclass": multiclass}


@dataclass(frozen=True)
class Predictions:
    """What a trial said of each clip of one part of the split.

    Parameters
    ----------
    keys : ndarray (n,)
        The clips.
    labels : ndarray (n, c)
        0 or 1.
    mask : ndarray (n, c)
        Where a label was observed.
    probabilities : ndarray (n, c)
        In [0, 1].
    """

    keys: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Parameters
    ----------
    folder
        Where its files lie.
    data
        Contents of ``record.json``.
    """

    folder: Path
    data: Mapping[str, Any]

    @property
    def arm(self) -> str:
        """Name of the arm."""
        return self.data["arm"]

    @property
    def condition(self) -> str:
        """Name of the condition."""
        return self.data["condition"]

    @property
    def seed(self) -> int:
        """The trial's seed."""
        return self.data["seed"]

    def predictions(self, part: str) -> Predictions:
        """Predictions on ``"valid"`` or ``"test"``."""
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as file:
            return _part(file, part)

    def parts(self) -> dict[str, Predictions]:
        """Predictions on all parts, ``"valid"`` and ``"test"`` among them, by name."""
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as file:
            names = [name.removeprefix("keys_") for name in file.files if name.startswith("keys_")]
            return {name: _part(file, name) for name in names}

    def measured(self, name: str) -> pd.DataFrame | dict[str, np.ndarray] | None:
        """What the study measured with the network under that name, or None; whether it was changed says `verify`."""
        if f"{name}.csv" in self.data["files"]:
            return read_table(self.folder / f"{name}.csv", self.data["measured"][name])
        if f"{name}.npz" in self.data["files"] and name in self.data.get("measured", {}):
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                return dict(file)
        return None

    def history(self) -> pd.DataFrame:
        """One row per epoch, a score that was undefined as NaN; none for what is not trained in epochs."""
        path = self.folder / "history.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        rows = (json.loads(line) for line in text.splitlines())
        return pd.DataFrame([{name: np.nan if v is None else v for name, v in row.items()} for row in rows])


def _part(file: Mapping[str, np.ndarray], part: str) -> Predictions:
    return Predictions(*(file[f"{name}_{part}"] for name in ("keys", "labels", "mask", "probabilities")))


def by_clip(predictions: Predictions) -> Predictions:
    """Predictions on whole clips from those on their segments: the mean of the probabilities.

    Parameters
    ----------
    predictions
        On segments (`harness.corpora.segments`).

    Returns
    -------
    Predictions
        A row for each clip of which there is a segment, sorted by key.
    """
    keys, first, codes, counts = np.unique(
        clips_of(predictions.keys), return_index=True, return_inverse=True, return_counts=True
    )
    sums = np.zeros((len(keys), predictions.probabilities.shape[1]))
    np.add.at(sums, codes, predictions.probabilities)
    return Predictions(keys, predictions.labels[first], predictions.mask[first], sums / counts[:, None])


def write_predictions(folder: Path, parts: Mapping[str, Predictions]) -> None:
    """Write ``predictions.npz``.

    Parameters
    ----------
    folder
        The trial's.
    parts
        By name of the part.
    """
    arrays = {f"{name}_{part}": value for part, p in parts.items() for name, value in vars(p).items()}
    with atomic_path(folder / "predictions.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_measured(folder: Path, measured: Mapping[str, Measured]) -> tuple[list[str], dict[str, Any]]:
    """Write what a study measured with a trained network.

    Parameters
    ----------
    folder
        The trial's.
    measured
        By name: letters, digits, ``_`` and ``-``. Arrays hold numbers or text, no objects.

    Returns
    -------
    files : list of str
        Names of what was written.
    columns : dict
        By name the types of a table's columns, by which `Record.measured` reads them as they were; None for arrays.

    Raises
    ------
    ValueError
        A name cannot be a file's, or an array holds objects.
    """
    files, columns = [], {}
    for name, what in measured.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in ("predictions", "record", "trial", "history", "best"):
            raise ValueError(f"{name!r} cannot be the name of a measurement")
        table = isinstance(what, pd.DataFrame)
        file = f"{name}.{'csv' if table else 'npz'}"
        if table:
            columns[name] = write_table(folder / file, what)
        else:
            columns[name] = None
            arrays = {key: np.asarray(value) for key, value in what.items()}
            if objects := [key for key, value in arrays.items() if value.dtype.hasobject]:
                raise ValueError(f"the array {objects[0]!r} of {name} holds objects; give numbers or text")
            with atomic_path(folder / file) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
        files.append(file)
    return files, columns


def write_table(path: Path, frame: pd.DataFrame) -> dict[str, str]:
    """Write a table as CSV, floats in as many digits as bring back every bit.

    Parameters
    ----------
    path
        The file.
    frame
        Columns of numbers, truth values and text; its index is not written.

    Returns
    -------
    dict
        Types of the columns, for `read_table`.
    """
    types = {name: "str" if kind.kind in "OUT" else str(kind) for name, kind in _kinds(frame).items()}
    # A float32 in digits of its own would come back as another float64.
    wide = frame.astype({name: "float64" for name, kind in types.items() if kind.startswith("float")})
    write_text(path, wide.to_csv(index=False, lineterminator="\n"))
    return types


def _kinds(frame: pd.DataFrame) -> dict[str, np.dtype]:
    """NumPy types of the columns; objects stand for text."""
    return {name: kind if isinstance(kind, np.dtype) else np.dtype(object) for name, kind in frame.dtypes.items()}


def read_table(path: Path, types: Mapping[str, str]) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Parameters
    ----------
    path
        The file.
    types
        Of the columns, as `write_table` gave them; one that is not named has whole numbers, numbers, or else text.
    """
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame({name: _values(text[name].to_numpy(dtype=str), types.get(name)) for name in text})


def _values(text: np.ndarray, kind: str | None) -> np.ndarray:
    """What stands in a column, of that type or of the first that fits."""
    for attempt in (kind,) if kind else ("int64", "float64", "str"):
        try:
            if attempt == "str":
                return text
            if attempt == "bool":
                return text == "True"
            if attempt.startswith("float"):
                return np.where(text == "", "nan", text).astype("float64").astype(attempt)
            return text.astype(attempt)
        except ValueError:
            if kind:
                raise
    raise AssertionError("any text is text")


def write_record(folder: Path, data: Mapping[str, Any], files: Sequence[str] = LEARNT) -> Record:
    """Score the stored predictions and write ``record.json`` with the checksums of all files and of itself.

    Parameters
    ----------
    folder
        The trial's; the other files must be in place.
    data
        All but ``format``, ``metrics``, ``files`` and ``checksum``.
    files
        Names of the files the record vouches for, beside the predictions.

    Returns
    -------
    Record
        What was written.
    """
    record = Record(folder, data)
    data = {
        "format": FORMAT,
        **data,
        "metrics": scores(record),
        "files": {n: sha256_of(folder / n) for n in ("predictions.npz", *files)},
    }
    data["checksum"] = fingerprint(data, length=64)
    write_json(folder / "record.json", data)
    return Record(folder, data)


def scoring(data: Mapping[str, Any]) -> ModuleType:
    """The metrics that fit a record's task.

    Parameters
    ----------
    data
        Of a record.

    Returns
    -------
    module
        `harness.metrics.multilabel`, or `harness.metrics.multiclass` for ``"multiclass"``.
    """
    return TASKS[data.get("task", "multilabel")]


def scores(record: Record) -> dict[str, Any]:
    """Every metric on every part, from the stored predictions.

    Parameters
    ----------
    record
        Only its task, classes, threshold and predictions are used.

    Returns
    -------
    dict
        By part, what ``evaluate`` of the task's metrics gives.
    """
    classes, threshold = record.data["classes"], record.data["protocol"].get("threshold", 0.5)
    evaluate = scoring(record.data).evaluate
    result = {}
    for part in PARTS:
        p = record.predictions(part)
        result[part] = evaluate(p.labels, p.probabilities, p.mask, threshold=threshold, classes=classes)
    return result


def read_record(folder: Path) -> Record:
    """Read a trial's record.

    Parameters
    ----------
    folder
        The trial's.

    Returns
    -------
    Record
        Not verified; see `verify`.

    Raises
    ------
    RepriseError
        There is no readable record, it lacks something, or another version of the harness wrote it.
    """
    path = folder / "record.json"
    if not path.exists():
        raise RepriseError(f"{folder} holds no finished trial (no record.json); run it to its end first")
    data = read_json(path)
    if missing := [key for key in ("format", *NEEDED) if key not in data]:
        raise RepriseError(f"{path} is damaged (it lacks {missing[0]}); {_way_out(folder)}")
    if data["format"] != FORMAT:
        raise RepriseError(f"{path} has the format {data['format']!r}, and this version reads {FORMAT}; update Reprise")
    return Record(folder, data)


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a trial's JSON files.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Its contents.

    Raises
    ------
    RepriseError
        It is damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        return data
    except (ValueError, OSError) as error:
        raise RepriseError(f"{path} is damaged ({error}); {_way_out(path.parent)}") from error


def _way_out(folder: Path) -> str:
    """What to do about a trial that is damaged."""
    if is_kept(folder):
        return "restore it from git, or from where you have the results from"
    return "remove the trial's folder and run it again"


def find_records(folder: Path) -> list[Record]:
    """All finished trials below a folder.

    Parameters
    ----------
    folder
        For instance ``runs/<study>/<corpus>-<profile>``.

    Returns
    -------
    list of Record
        Ordered by path.
    """
    return [read_record(path.parent) for path in sorted(folder.rglob("record.json"))]


def is_kept(folder: Path) -> bool:
    """Whether a trial's folder lies under the results of its study: then its weights need not be there.

    Parameters
    ----------
    folder
        The trial's.

    Returns
    -------
    bool
    """
    return [parent.name for parent in folder.absolute().parents][1:2] == [KEPT]


def intact(folder: Path) -> Record:
    """Check a trial's files against its record.

    Parameters
    ----------
    folder
        The trial's; of one that `is_kept` weights may be absent.

    Returns
    -------
    Record
        The record, as it was written.

    Raises
    ------
    RepriseError
        A file is missing or differs by even one byte.
    """
    record = read_record(folder)
    data = dict(record.data)
    try:
        as_written = (folder / "record.json").read_bytes() == json_text(data).encode()  # a blank is a byte, too
        sound = data.pop("checksum", None) == fingerprint(data, length=64) and as_written
    except ValueError:  # a number out of range
        sound = False
    if not sound:
        raise RepriseError(f"{folder / 'record.json'} was changed after it was written; {_way_out(folder)}")
    for name, checksum in data["files"].items():
        path = folder / name
        if not path.exists() and name.endswith(WEIGHTS) and is_kept(folder):
            continue
        if not path.exists():
            raise RepriseError(f"{path} is missing; {_way_out(folder)}")
        if sha256_of(path) != checksum:
            raise RepriseError(f"{path} was changed after the record was written; {_way_out(folder)}")
    return record


def rescored(record: Record) -> list[tuple[str, str, Any, Any]]:
    """Metrics that do not come out of the stored predictions as recorded.

    Parameters
    ----------
    record
        Any.

    Returns
    -------
    list of (str, str, Any, Any)
        Part, metric, what is recorded, and what comes out (None where there is no such metric any more).
    """
    now = scores(record)
    return [
        (part, metric, value, now.get(part, {}).get(metric))
        for part, expected in record.data["metrics"].items()
        for metric, value in expected.items()
        if not _close(value, now.get(part, {}).get(metric))
    ]


def verify(folder: Path) -> Record:
    """Check a trial's files against its record and compute its metrics again.

    Parameters
    ----------
    folder
        The trial's; of one that `is_kept` weights may be absent.

    Returns
    -------
    Record
        The record, found sound.

    Raises
    ------
    RepriseError
        A file is missing or differs by even one byte, or a metric does not come out as recorded.
    """
    record = intact(folder)
    for part, metric, expected, value in rescored(record):
        raise RepriseError(
            f"{folder}: {metric} on {part} is recorded as {expected} but comes out as {value}: "
            "the record or the metrics have changed since; run the trial again"
        )
    return record


def _close(a: Any, b: Any) -> bool:
    """Equality of nested scores, numbers to 1e-9."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_close(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-9
    return a == b
