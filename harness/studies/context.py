"""What a trial works with: corpus, split, features and network, each opened when it is first asked for, and once."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness import corpora, features
from harness.corpora import Corpus, Split
from harness.corpora.segments import segmented
from harness.errors import RepriseError
from harness.features import FrontEnd, Store
from harness.models import freeze, weights
from harness.studies.records import Predictions, Record
from harness.studies.study import Study
from harness.studies.trial import Clock, Trial

if TYPE_CHECKING:
    from harness.studies.networks import ModelSpec


class Opened:
    """What one process has opened: the trials that it works on share it, and another process opens its own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._found: dict[tuple, Any] = {}

    def __reduce__(self) -> tuple:
        return Opened, ()

    def once(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What `make` gives, called for the first of those who ask by that key."""
        if key not in self._found:
            self._found[key] = make()
        return self._found[key]

    def corpus(self, name: str, segments: int | None = None, *, jobs: int | None = None) -> Corpus:
        """A corpus as `harness.corpora.load` gives it, or with every clip as so many segments."""
        whole = self.once(("corpus", name), lambda: corpora.load(name, jobs=jobs))
        return self.once(("corpus", name, segments), lambda: segmented(whole, segments)) if segments else whole

    def split(self, corpus: Corpus, name: str, seed: int = 0) -> Split:
        """A split of a corpus, which has segments or has not."""
        return self.once(("split", corpus.name, len(corpus.clips), name, seed), lambda: corpus.split(name, seed))

    def store(self, corpus: Corpus, front_end: FrontEnd, *, jobs: int | None = None, skip_bad: bool = False) -> Store:
        """Features of a corpus of whole clips; what is missing is computed."""
        key = ("store", corpus.name, front_end.name, str(front_end.parameters), skip_bad)
        return self.once(key, lambda: features.open_store(corpus, front_end, jobs=jobs, skip_bad=skip_bad))


class Context:
    """What a trial works with.

    Sent to another process, it is the trial alone, and opens all else there.

    Parameters
    ----------
    trial
        The unit of work.
    opened
        Shared with the contexts of other trials in this process.
    """

    def __init__(self, trial: Trial, opened: Opened | None = None) -> None:
        self.trial = trial
        self.opened = opened or Opened()

    def __reduce__(self) -> tuple:
        return Context, (self.trial, self.opened)

    @property
    def clock(self) -> Clock:
        """The process's clock."""
        return self.opened.clock

    def changed(self, **settings: Any) -> "Context":
        """The context of the same trial under other settings of its protocol."""
        trial = dataclasses.replace(self.trial, protocol={**self.trial.protocol, **settings})
        return Context(trial, self.opened)

    @cached_property
    def whole(self) -> Corpus:
        """The corpus, a row for each clip."""
        return self.opened.corpus(self.trial.corpus)

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus, a row for each segment where the protocol says ``segments``, else for each clip."""
        return self.opened.corpus(self.trial.corpus, self.trial.protocol.get("segments"))

    @cached_property
    def split(self) -> Split:
        """The split of the rows: one for all seeds, or where the protocol says ``split_per_seed`` one for each."""
        protocol = self.trial.protocol
        seed = self.trial.seed if protocol.get("split_per_seed") else 0
        return self.opened.split(self.corpus, protocol["split"], seed)

    @cached_property
    def outline(self) -> "ModelSpec":
        """What the study's ``build`` gives, its network on the meta device: layers and shapes without numbers."""
        with torch.device("meta"):
            return self.trial.study.code.build(self.trial.arm, self.corpus, self.trial.protocol)

    @property
    def front_end(self) -> FrontEnd:
        """What turns audio into the network's input."""
        return self.outline.front_end

    @cached_property
    def _built(self) -> tuple["ModelSpec", dict[str, Any]]:
        trial = self.trial
        torch.manual_seed(trial.network_seed)
        spec = trial.study.code.build(trial.arm, self.corpus, trial.protocol)
        description = weights.load(spec.network, trial.arm.network, self._source)
        freeze(spec.network, trial.arm.trainable)
        return spec, description

    @property
    def _source(self) -> str:
        """Where the protocol has the starting weights from."""
        trial, source = self.trial, self.trial.protocol["weights"]
        if not isinstance(source, Mapping):
            return source
        if trial.arm.network not in source:
            raise RepriseError(
                f"{trial.study.folder / 'study.toml'} names no weights for {trial.arm.network}; "
                "add them to [protocol.weights]"
            )
        return source[trial.arm.network]

    @property
    def spec(self) -> "ModelSpec":
        """What the study's ``build`` gives, its network on the CPU with its starting weights; training changes it."""
        return self._built[0]

    @property
    def weights(self) -> dict[str, Any]:
        """Where the network's starting weights came from."""
        return self._built[1]

    def check_weights(self) -> None:
        """Raise a `RepriseError` if the starting weights cannot be had, before hours are spent on features."""
        if self._source != "random":
            _ = self.weights
            self.release()

    def release(self) -> None:
        """Let go of the network, which takes memory; whoever asks again gets a new one, untrained."""
        vars(self).pop("_built", None)

    def features(self, front_end: FrontEnd, *, jobs: int | None = None) -> Store:
        """Features of the corpus, with a row for each of its rows; what is missing is computed.

        Parameters
        ----------
        front_end
            What computes them.
        jobs
            Number of processes; default: one per core.
        """
        store = self.opened.store(self.whole, front_end, jobs=jobs, skip_bad=self.trial.skip_bad)
        if count := self.trial.protocol.get("segments"):
            array = store.array.reshape(-1, *store.array.shape[2:])
            store = dataclasses.replace(store, array=array, ok=store.ok.repeat(count))
        return store

    @cached_property
    def store(self) -> Store:
        """Features of the corpus by the network's front end."""
        return self.features(self.front_end)

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Row numbers by part, without those whose audio cannot be used."""
        return self.usable(self.store.ok)

    def usable(self, ok: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Row numbers by part.

        Parameters
        ----------
        ok : ndarray (n,) of bool
            Which rows can be used; default: all.

        Raises
        ------
        RepriseError
            A part is empty.
        """
        rows = {part: n if ok is None else n[ok[n]] for part, n in self.split.rows.items()}
        for part, numbers in rows.items():
            if not len(numbers):
                raise RepriseError(
                    f"the {part} part of {self.split.name} on {self.corpus.name} is empty; use a larger corpus"
                )
        return rows

    def predictions(self, rows: np.ndarray, probabilities: np.ndarray) -> Predictions:
        """Predictions on some rows of the corpus, with their labels.

        Parameters
        ----------
        rows
            Row numbers.
        probabilities : ndarray (len(rows), c)
            Of the classes.
        """
        return predictions_of(self.corpus, rows, probabilities)


def predictions_of(corpus: Corpus, rows: np.ndarray, probabilities: np.ndarray) -> Predictions:
    """Predictions on some rows of a corpus, with their labels."""
    keys = corpus.clips["key"].to_numpy(dtype=str)
    return Predictions(keys[rows], corpus.labels[rows], corpus.mask[rows], probabilities)


def context_of(record: Record, study: Study, opened: Opened | None = None) -> Context:
    """The context of the trial that left a record, on the CPU, wherever it ran.

    Parameters
    ----------
    record
        Of the trial.
    study
        The study it belongs to.
    opened
        As for `Context`.
    """
    data = record.data
    trial = Trial(
        study=study,
        arm=study.arm(data["arm"]),
        condition=study.condition(data["condition"]),
        profile=data["profile"],
        seed=data["seed"],
        protocol=data["protocol"],
        folder=record.folder,
        skip_bad=bool(data["inputs"]["left_out"]),
    )
    return Context(trial, opened)
