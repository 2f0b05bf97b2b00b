"""What must be code in the study of genres: how an arm is built, and what only this study draws."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from harness import features
from harness.corpora import Corpus
from harness.corpora.segments import clips_of
from harness.errors import RepriseError
from harness.models import count_parameters
from harness.studies.context import Context
from harness.studies.networks import ModelSpec, expected, prepare, train
from harness.studies.study import Arm
from harness.training.losses import cross_entropy
from replications.gtzan_cam import networks
from replications.gtzan_cam.explanations import explain
from replications.gtzan_cam.figures import figures
from replications.gtzan_cam.interpretability import measure
from replications.gtzan_cam.interpretable_loss import InterpretableLoss
from replications.gtzan_cam.tables import tables

__all__ = ["build", "clips", "expected", "explain", "figures", "measure", "prepare", "tables", "train"]

#: Bands and frames of a segment, by our reading and by the authors' code, for which the arms' parameters are counted.
SHAPES = ((128, 130), (128, 128))
NETWORKS = {
    "base": networks.base,
    "masked": networks.masked,
    "cam": networks.cam,
    "released_base": networks.released_base,
    "released_cam": networks.released_cam,
}


def build(arm: Arm, corpus: Corpus, protocol: Mapping[str, Any]) -> ModelSpec:
    """Build one arm of the study (study 002, Methodology and Results).

    Parameters
    ----------
    arm
        Which network, with what kernels.
    corpus
        For its classes.
    protocol
        Resolved settings.

    Returns
    -------
    ModelSpec
        Network, front end, loss and optimiser; the last epoch's weights are kept.

    Raises
    ------
    RepriseError
        The front end does not give as many segments as the protocol says, or under the paper's front end the arm has
        not the number of parameters that its entry states.
    """
    front_end = features.front_end(**protocol["released_front_end" if protocol["as_released"] else "front_end"])
    segments, *shape = front_end.shape(None)
    if segments != protocol["segments"]:
        raise RepriseError(
            f"the front end cuts {segments} segments and the protocol counts {protocol['segments']}; make them equal"
        )
    make = NETWORKS[arm.network]
    kernel = {"kernel": tuple(arm.options["kernel"])} if "kernel" in arm.options else {}
    template = {"template": protocol["steepness"]} if "masked" in arm.name else {}
    network = make(len(corpus.classes), tuple(shape), **kernel, **template)
    if tuple(shape) in SHAPES and len(corpus.classes) == 10 and count_parameters(network) != arm.parameters:
        raise RepriseError(
            f"{arm.name} has {count_parameters(network):,} parameters, not {arm.parameters:,}; "
            "correct its entry in study.toml"
        )
    return ModelSpec(
        network=network,
        front_end=front_end,
        optimizer=partial(_adam, learning_rate=arm.options.get("learning_rate", protocol["learning_rate"])),
        scheduler=None,
        loss=InterpretableLoss(network) if arm.options.get("interpretable") else cross_entropy,
        activation=partial(torch.softmax, dim=-1),
        keep="last",
        score_training=True,
    )


def clips(contexts: Sequence[Context]) -> pd.DataFrame:
    """What is drawn whole: the track, of which a segment is a part."""
    keys = np.array(sorted({key for c in contexts for corpus in (c.whole, c.corpus) for key in corpus.clips["key"]}))
    return pd.DataFrame({"key": keys, "group": clips_of(keys)})


def _adam(network: nn.Sequential, *, learning_rate: float) -> torch.optim.Optimizer:
    """Adam as Keras sets it."""
    return torch.optim.Adam(network.parameters(), lr=learning_rate, eps=1e-7, fused=True)
