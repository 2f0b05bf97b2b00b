"""Which clips each replicate of the bootstrap draws, for trials that may have been scored on different ones.

Where all seeds of an arm share one test part, clips are drawn from that, alike for all trials scored on it; another
arm's part, if it is another, has draws of its own. Where the split is drawn anew for each seed, one clip is in the
test parts of several trials: then clips are drawn from all that any trial was scored on, and a clip that is drawn
counts in every trial that has it.

Where clips were cut into segments (`harness.corpora.segments`) clips are drawn, each with all its segments: those of
one clip are not independent of each other. A study may say that more belongs together, such as excerpts of a song.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.metrics import uncertainty
from harness.studies import claims
from harness.studies.records import Predictions, Record, scoring
from harness.studies.study import Study


class Draws:
    """The draws of a bootstrap, the same whenever they are asked for.

    Parameters
    ----------
    sides : sequence of sequences of np.ndarray [shape=(n,)]
        For each arm, keys of the clips, or segments, that each of its trials was scored on.
    replicates
        Number of replicates.
    units : callable
        What is drawn whole: for keys, shape (n,), the names of what each belongs to, shape (n,).
    """

    def __init__(
        self,
        sides: Sequence[Sequence[np.ndarray]],
        replicates: int,
        units: Callable[[np.ndarray], np.ndarray] = clips_of,
    ) -> None:
        self.replicates = replicates
        self._units = units
        self._seeds: dict[tuple[str, ...], int] = {}
        self._pool: np.ndarray | None = None
        if any(len({tuple(keys.tolist()) for keys in side}) > 1 for side in sides):
            self._pool = np.unique(units(np.concatenate([keys for side in sides for keys in side])))
        else:
            for keys in chain(*sides):
                self._seeds.setdefault(tuple(keys.tolist()), len(self._seeds))

    def weights(self, keys: np.ndarray) -> Iterator[np.ndarray]:
        """How often each replicate draws each clip, or segment, of a trial.

        Parameters
        ----------
        keys : np.ndarray [shape=(n,)]
            One of the lists that the draws were made for.

        Yields
        ------
        np.ndarray [shape=(some, n), dtype=int64]
            Some replicates at a time, always the same.
        """
        if self._pool is None:
            codes, clips = pd.factorize(self._units(keys))
            for drawn in uncertainty.resample(len(clips), self.replicates, self._seeds[tuple(keys.tolist())]):
                yield drawn if len(clips) == len(keys) else drawn[:, codes]
            return
        places = np.searchsorted(self._pool, self._units(keys))
        for drawn in uncertainty.resample(len(self._pool), self.replicates, seed=0):
            yield drawn[:, places]


def distribution(
    record: Record, predictions: Predictions, metrics: Sequence[str], draws: Draws
) -> dict[str, np.ndarray]:
    """Scores of a trial's resampled clips.

    Parameters
    ----------
    record
        Gives the task and the threshold.
    predictions
        Its own.
    metrics
        Names out of the ``METRICS`` of the task.
    draws
        Made for these clips.

    Returns
    -------
    dict of str to np.ndarray [shape=(replicates,)]
        By metric; NaN where undefined.
    """
    module, threshold = scoring(record.data), record.data["protocol"].get("threshold", 0.5)
    arrays = module.validate(predictions.labels, predictions.probabilities, predictions.mask)
    parts = [
        module.weighted_scores(*arrays, weights, metrics=metrics, threshold=threshold)[0]
        for weights in draws.weights(predictions.keys)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in metrics}


def units_of(study: Study, records: Sequence[Record]) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """What replicates draw whole, because its clips are not independent of each other.

    Parameters
    ----------
    study
        Its ``checks.py`` may say (`harness.studies.claims.checks`).
    records
        Of trials on one corpus.

    Returns
    -------
    unit : str
        Its name in the plural; ``"clips"`` where the study has none, or the published corpus that knows them is not
        here.
    units : callable
        From keys (n,) to the names of what each belongs to, (n,); segments at least to their clip.
    """
    module = claims.checks(study)
    if not records or not hasattr(module, "units"):
        return getattr(module, "UNITS", "clips"), clips_of
    try:
        of_key: Mapping[str, str] = module.units(records)
    except RepriseError:
        return "clips", clips_of
    return module.UNITS, lambda keys: np.array([of_key.get(key, key) for key in keys.tolist()], dtype=str)
