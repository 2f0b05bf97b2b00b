"""What a deep network should be better than: two classifiers of the library scikit-learn on a second's log-mel.

They get what the networks get, the same second of the same notes at the same resolution, before it becomes a picture:
a support vector machine on the statistics of its mel-frequency cepstral coefficients, and a logistic regression on its
mean over time. Their settings are the usual ones and not tuned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.fft import dct
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from harness.corpora import Corpus
from harness.errors import RepriseError
from harness.features import NotePicture, Store
from harness.studies import records
from harness.studies.context import Context, predictions_of
from harness.studies.trial import Trained
from replications.single_notes import heads


@dataclass(frozen=True, kw_only=True)
class NoteLogMel(NotePicture):
    """Log-mel spectrogram of a note's first second, as `NotePicture` has it before it makes a picture of it."""

    name: ClassVar[str] = "note_log_mel"

    def shape(self, seconds: float | None) -> tuple[int, int]:
        """Shape of the output: (n_mels, frames), (128, 12) by default."""
        return self.n_mels, self._frames

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """Spectrogram of a note.

        Parameters
        ----------
        waveform : np.ndarray, shape (n,)
            At `sample_rate`.

        Returns
        -------
        np.ndarray, shape (n_mels, frames), float32
            Natural logarithms, lowest band first.
        """
        return np.ascontiguousarray(self.log_mel(waveform), np.float32)


def mfcc_statistics(log_mel: np.ndarray, *, coefficients: int) -> np.ndarray:
    """Mean and standard deviation over time of mel-frequency cepstral coefficients.

    Parameters
    ----------
    log_mel : ndarray (n, bands, frames)
        Logarithms.
    coefficients
        How many, the level included.

    Returns
    -------
    ndarray (n, 2 * coefficients)
        Means first.
    """
    cepstra = dct(np.asarray(log_mel, np.float64), axis=1, norm="ortho")[:, :coefficients]
    return np.concatenate([cepstra.mean(axis=2), cepstra.std(axis=2)], axis=1)


def time_average(log_mel: np.ndarray) -> np.ndarray:
    """Mean over time of every band.

    Parameters
    ----------
    log_mel : ndarray (n, bands, frames)
        Logarithms.

    Returns
    -------
    ndarray (n, bands)
        In float64.
    """
    return np.asarray(log_mel, np.float64).mean(axis=2)


def describe(network: str, log_mel: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """What a reference is given of each note.

    Parameters
    ----------
    network
        ``"svm"`` or ``"logistic_regression"``.
    log_mel : ndarray (n, bands, frames)
        Logarithms.
    options
        The arm's.

    Returns
    -------
    ndarray (n, d)
        One row per note.
    """
    if network == "svm":
        return mfcc_statistics(log_mel, coefficients=options["coefficients"])
    return time_average(log_mel)


def make_classifier(network: str, truth: np.ndarray, options: Mapping[str, Any], *, seed: int) -> Pipeline:
    """A reference, not fitted yet.

    Parameters
    ----------
    network
        ``"svm"`` or ``"logistic_regression"``.
    truth : ndarray (n,)
        Classes of the notes it will be fitted on.
    options
        The arm's: ``C``.
    seed
        Of the folds that the support vector machine's probabilities are calibrated on (sigmoids, as Platt has them).

    Returns
    -------
    Pipeline
        Scales every dimension by mean and standard deviation first.

    Raises
    ------
    RepriseError
        A class has a single note.
    """
    classifier: ClassifierMixin
    if network == "svm":
        folds = min(5, np.unique(truth, return_counts=True)[1].min())
        if folds < 2:
            raise RepriseError("a class has a single note to train on; use a larger corpus")
        classifier = CalibratedClassifierCV(
            SVC(C=options["C"]), cv=StratifiedKFold(int(folds), shuffle=True, random_state=seed), ensemble=False
        )
    else:
        classifier = LogisticRegression(C=options["C"], max_iter=2000)
    return make_pipeline(StandardScaler(), classifier)


def open_log_mel(context: Context, corpus: Corpus, *, jobs: int | None = None) -> Store:
    """Log-mel spectrograms ``(n, bands, frames)`` of a trial's corpus or another, by the trial's settings."""
    trial = context.trial
    return context.opened.store(corpus, front_end(trial.protocol), jobs=jobs, skip_bad=trial.skip_bad)


def front_end(protocol: Mapping[str, Any]) -> NoteLogMel:
    """The front end of the references.

    Parameters
    ----------
    protocol
        Resolved settings.

    Returns
    -------
    NoteLogMel
        With the pictures' own settings.
    """
    return NoteLogMel(**{key: value for key, value in protocol["front_end"].items() if key != "name"})


def train(context: Context) -> Trained:
    """Fit a reference on the training part; no weights are kept, as fitting takes a second."""
    trial, corpus, other = context.trial, context.corpus, heads.test_corpus(context)
    store = open_log_mel(context, corpus)
    rows = context.usable(store.ok)
    network, options = trial.arm.network, trial.arm.options
    described = describe(network, store.array, options)
    context.clock.lap("prepare")
    truth, learn = corpus.labels.argmax(axis=1), rows["train"]
    classifier = make_classifier(network, truth[learn], options, seed=trial.seed).fit(described[learn], truth[learn])
    context.clock.lap("train")

    def probabilities(values: np.ndarray) -> np.ndarray:
        found = np.zeros((len(values), len(corpus.classes)))
        found[:, classifier.classes_] = classifier.predict_proba(values)
        return found.astype(np.float32)

    def predict() -> dict[str, records.Predictions]:
        found = {part: context.predictions(rows[part], probabilities(described[rows[part]])) for part in records.PARTS}
        if other is not None:
            theirs = open_log_mel(context, other)
            usable = np.flatnonzero(theirs.ok)
            values = describe(network, theirs.array[usable], options)
            found["test"] = predictions_of(other, usable, probabilities(values))
        return found

    return Trained(
        predict=predict,
        model=lambda: classifier,
        rows=rows,
        inputs={"features": dict(store.manifest), "left_out": dict(store.bad)},
        details={"settings": dict(options)},
        split=heads.without_test(context.split) if other is not None else None,
    )


#: Seconds that one reference takes on one thread, at most (measured at 1,301 notes).
SECONDS: Mapping[str, float] = {"svm": 2.0, "logistic_regression": 2.0}
