"""Which clips each replicate of the bootstrap draws, for trials that may have been scored on different ones.

Where all seeds of an arm share one test part, clips are drawn from that, alike for all trials scored on it; another
arm's part, if it is another, has draws of its own. Where the split is drawn anew for each seed, one clip is in the
test parts of several trials: then clips are drawn from all that any trial was scored on, and a clip that is drawn
counts in every trial that has it.

Where clips were cut into segments (`harness.corpora.segments`) clips are drawn, each with all its segments: those of
one clip are not independent of each other. A study may say that more belongs together, such as excerpts of a song.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.metrics import uncertainty
from harness.metrics.multilabel import ratio
from harness.metrics.seeds import Replicates, joint
from harness.studies import claims
from harness.studies.records import Predictions, Record, scoring
from harness.studies.study import Study

#: Scores of resampled clips that are remembered at most: a table, its letters and its figure ask for the same.
REMEMBERED = 4096
_remembered: dict[tuple[bytes, str], np.ndarray] = {}


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
        places, units, seed = self._places(keys)
        in_order = np.array_equal(places, np.arange(units))
        for drawn in uncertainty.resample(units, self.replicates, seed):
            yield drawn if in_order else drawn[:, places]

    def fingerprint(self, keys: np.ndarray) -> bytes:
        """What tells the draws of a trial from others: equal ones have equal `weights`."""
        places, units, seed = self._places(keys)
        return np.array([self.replicates, units, seed, *places], np.int64).tobytes()

    def _places(self, keys: np.ndarray) -> tuple[np.ndarray, int, int]:
        """The unit that each row is of by number, how many units are drawn from, and the seed of the draws."""
        if self._pool is None:
            places, names = pd.factorize(self._units(keys))
            return places, len(names), self._seeds[tuple(keys.tolist())]
        return np.searchsorted(self._pool, self._units(keys)), len(self._pool), 0


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
        By metric; NaN where undefined. Not to be written to: who asks for the same again is given the same.
    """
    module, threshold = scoring(record.data), record.data["protocol"].get("threshold", 0.5)
    arrays = module.validate(predictions.labels, predictions.probabilities, predictions.mask)
    digest = hashlib.sha256(f"{module.__name__} {threshold} {[a.shape for a in arrays]}".encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    digest.update(draws.fingerprint(predictions.keys))
    asked = digest.digest()
    found = {name: _remembered[asked, name] for name in metrics if (asked, name) in _remembered}
    if missing := [name for name in metrics if name not in found]:
        parts = [
            module.weighted_scores(*arrays, weights, metrics=missing, threshold=threshold)[0]
            for weights in draws.weights(predictions.keys)
        ]
        if len(_remembered) + len(missing) > REMEMBERED:
            _remembered.clear()
        for name in missing:
            found[name] = _remembered[asked, name] = np.concatenate([part[name] for part in parts])
            found[name].flags.writeable = False
    return found


def compare_by_seed(
    scores: np.ndarray,
    reference: np.ndarray,
    clips: Sequence[Hashable],
    seeds: Sequence[int],
    *,
    replicates: int = 1000,
    level: float = 0.95,
) -> dict[str, Any]:
    """Means of what was measured on clips by several seeds, such as shares of maps, beside those of a reference.

    Parameters
    ----------
    scores, reference : np.ndarray [shape=(m,)]
        Pair by pair, between 0 and 1. A pair with NaN is left out.
    clips, seeds
        The clip and the seed that each pair is of. Clips are drawn with all their pairs, the same for all seeds.
    replicates, level
        Of the bootstrap over seeds and clips together (`harness.metrics.seeds`); with one seed over clips alone.

    Returns
    -------
    dict
        ``mean``, ``reference`` and ``difference`` of the two, means over the seeds; ``interval`` of the difference
        (low, high); ``of_seeds``, the seeds' differences; ``n`` pairs and ``clips`` used. All but the counts are None
        if nothing is left, and ``of_seeds`` is empty.
    """
    pairs = np.stack([np.asarray(scores, float), np.asarray(reference, float)])
    defined = ~np.isnan(pairs).any(axis=0)
    pairs, seeds = pairs[:, defined], np.asarray(seeds)[defined]
    rows, names = pd.factorize(np.asarray(clips)[defined])
    counts = {"n": len(rows), "clips": len(names)}
    if not len(rows):
        return dict.fromkeys(("mean", "reference", "difference", "interval")) | {"of_seeds": []} | counts
    of_each = [seeds == seed for seed in np.unique(seeds)]
    first, second = (np.mean([values[some].mean() for some in of_each]) for values in pairs)
    gains, drawn = pairs[0] - pairs[1], []
    for weights in uncertainty.resample(len(names), replicates, 0):
        sums, used = (
            np.stack([np.bincount(rows[some], of[some], len(names)) for some in of_each], axis=1)
            for of in (gains, np.ones(len(gains)))
        )
        drawn.append(ratio(weights @ sums, weights @ used, zero_division=np.nan))
    found = Replicates(np.array([gains[some].mean() for some in of_each]), np.concatenate(drawn).T)
    return {
        "mean": float(first),
        "reference": float(second),
        "difference": found.score,
        "interval": uncertainty.interval(found.score, joint(found), level, bounds=(-1.0, 1.0)),
        "of_seeds": found.scores.tolist(),
    } | counts


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
