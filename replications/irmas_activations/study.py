"""What must be code in the study of predominant instruments: how the network is built, and what it is tested on."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from harness import features
from harness.corpora import Corpus
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.features.han import HanSegments
from harness.models import count_parameters
from harness.studies import networks
from harness.studies.context import Context
from harness.studies.networks import ModelSpec, expected, prepare
from harness.studies.records import Measured, Predictions
from harness.studies.study import Arm
from harness.training.losses import masked_bce, normalised_cross_entropy
from replications.irmas_activations import filter_activations
from replications.irmas_activations.explanations import explain, pieces
from replications.irmas_activations.figures import figures
from replications.irmas_activations.mixtures import draw_mixtures, labels_of, mix
from replications.irmas_activations.networks import han
from replications.irmas_activations.tables import tables
from replications.irmas_activations.windows import aggregate, window_outputs

__all__ = ["build", "expected", "explain", "figures", "measure", "pieces", "prepare", "tables", "train"]

LOSSES = {
    "cross_entropy": normalised_cross_entropy,
    "binary_cross_entropy": partial(masked_bce, missing="negative"),
}


def build(arm: Arm, corpus: Corpus, protocol: Mapping[str, Any]) -> ModelSpec:
    """Build Han et al.'s network (study 001, section 2).

    Parameters
    ----------
    arm
        The one there is.
    corpus
        For its classes.
    protocol
        Resolved settings.

    Returns
    -------
    ModelSpec
        Network, front end, loss and optimiser; the weights of the lowest validation loss are kept.

    Raises
    ------
    RepriseError
        The front end does not give as many segments as the protocol says, or the network has not the number of
        parameters that its entry states.
    """
    front_end = features.front_end(**protocol["front_end"])
    if (given := front_end.shape(None)[0]) != protocol["segments"]:
        raise RepriseError(
            f"the front end cuts {given} segments and the protocol counts {protocol['segments']}; make them equal"
        )
    if protocol["loss"] not in LOSSES:
        raise RepriseError(f"there is no loss {protocol['loss']!r}; choose {' or '.join(LOSSES)}")
    network = han(len(corpus.classes))
    if len(corpus.classes) == 11 and count_parameters(network) != arm.parameters:
        raise RepriseError(
            f"{arm.name} has {count_parameters(network):,} parameters, not {arm.parameters:,}; "
            "correct its entry in study.toml"
        )
    return ModelSpec(
        network=network,
        front_end=front_end,
        optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=protocol["learning_rate"], fused=True),
        scheduler=None,
        loss=LOSSES[protocol["loss"]],
    )


def predict_mixtures(context: Context, probabilities: Callable[[np.ndarray], np.ndarray]) -> dict[str, Predictions]:
    """Predictions on mixtures of validation clips and on the test mixtures, by both of Han's aggregations.

    Parameters
    ----------
    context
        With the trained network.
    probabilities
        Not used: the network is tested on windows that overlap, not on the segments that it was trained on.

    Returns
    -------
    dict of str to Predictions
        ``"valid"`` and ``"test"``: outputs summed over the windows and divided by the largest class's (S2);
        ``"valid_s1"`` and ``"test_s1"``: their means over the windows.
    """
    corpus, trial = context.whole, context.trial
    keys = corpus.clips["key"].to_numpy(dtype=str)
    front_end = context.front_end
    rows = {part: _rows(context, part) for part in ("valid", "test")}
    drawn = draw_mixtures(
        corpus.labels, corpus.clips["group"], rows["valid"], trial.protocol["mixtures"], seed=trial.seed
    )
    labels = {"valid": labels_of(corpus.labels, drawn), "test": corpus.labels[rows["test"]]}
    named = {"valid": np.array([f"mixture-{number:04d}" for number in range(len(drawn))]), "test": keys[rows["test"]]}
    predictions = {}
    for part, clips in (("valid", drawn), ("test", [np.array([row]) for row in rows["test"]])):
        outputs, counts = window_outputs(
            context.spec.network,
            _spectrograms(corpus, clips, front_end),
            trial.protocol["hop"],
            frames=front_end.frames,
        )
        for how, name in (("s2", part), ("s1", f"{part}_s1")):
            scores = aggregate(outputs, counts, how).astype(np.float32)
            predictions[name] = Predictions(named[part], labels[part], np.ones(labels[part].shape, bool), scores)
    return predictions


#: Trains the network on segments of training clips, and tests it on windows of mixtures.
train = partial(networks.train, predict=predict_mixtures)


def measure(context: Context, model: torch.nn.Sequential) -> dict[str, Measured]:
    """What filters answer to flutes and clarinets of the test part, under the first condition (`filter_activations`).

    Parameters
    ----------
    context
        Of the trial.
    model
        Trained.
    """
    corpus, trial, front_end = context.whole, context.trial, context.front_end
    rows = _rows(context, "test")
    if trial.condition.name == trial.study.conditions[0].name and set(filter_activations.COMPARED) <= set(
        corpus.classes
    ):
        rows = rows[filter_activations.has_one(corpus.labels[rows], corpus.classes)]
        spectrograms = _spectrograms(corpus, rows[:, None], front_end)
        means = filter_activations.mean_activations(model, spectrograms, trial.protocol["hop"], frames=front_end.frames)
        return {filter_activations.NAME: {"keys": corpus.clips["key"].to_numpy(dtype=str)[rows], **means}}
    return {}


def _rows(context: Context, part: str) -> np.ndarray:
    """Rows of a part's whole clips."""
    keys, of_segments = (c.clips["key"].to_numpy(dtype=str) for c in (context.whole, context.corpus))
    return np.flatnonzero(np.isin(keys, clips_of(of_segments[context.rows[part]])))


def _spectrograms(corpus: Corpus, clips: Iterable[np.ndarray], front_end: HanSegments) -> Iterator[np.ndarray]:
    """Whole spectrograms of mixtures of clips, one at a time, as nobody wants all of them at once."""
    paths = corpus.clips["path"]
    for rows in clips:
        waveforms = [features.decode(paths[row], front_end.sample_rate) for row in rows]
        yield front_end.log_mel(mix(waveforms) if len(waveforms) > 1 else waveforms[0])
