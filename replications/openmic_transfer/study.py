"""What must be code in the unfreezing study: how an arm is built, and what only this paper draws."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from harness import features
from harness.analysis.study import Analysis
from harness.corpora import Corpus
from harness.errors import RepriseError
from harness.models import chain, freeze, resnet50, trainable_parameters, vggish
from harness.report import standard
from harness.report.standard import figures
from harness.report.writers import Table
from harness.studies.networks import ModelSpec, expected, prepare, train
from harness.studies.study import Arm
from harness.training import masked_bce
from replications.openmic_transfer import maps
from replications.openmic_transfer.explanations import explain_best as explain
from replications.openmic_transfer.maps import measure

__all__ = ["build", "expected", "explain", "figures", "measure", "prepare", "tables", "train"]


def build(arm: Arm, corpus: Corpus, protocol: Mapping[str, Any]) -> ModelSpec:
    """Build one arm of the study (paper, IV.D and IV.E).

    Parameters
    ----------
    arm
        Which layers of which network learn.
    corpus
        For its classes and the length of its clips.
    protocol
        Resolved settings.

    Returns
    -------
    ModelSpec
        Network, front end, loss, optimiser and schedule.

    Raises
    ------
    RepriseError
        Under the paper's front end the arm has not the number of learning parameters that its table states.
    """
    front_end = features.front_end(**protocol["front_ends"][arm.network])
    shape = front_end.shape(corpus.seconds)
    classes = len(corpus.classes)
    network = resnet50(classes) if arm.network == "resnet50" else vggish(classes, patches=shape[0])
    freeze(network, arm.trainable)
    as_published = classes == 20 and (arm.network == "resnet50" or shape[0] == 10)
    if as_published and trainable_parameters(network) != arm.parameters:
        raise RepriseError(
            f"{arm.name} has {trainable_parameters(network):,} learning parameters, not {arm.parameters:,}; "
            "correct its entry in study.toml"
        )
    return ModelSpec(
        network=network,
        front_end=front_end,
        optimizer=partial(_adam, protocol=protocol),
        scheduler=partial(
            torch.optim.lr_scheduler.StepLR,
            step_size=protocol["learning_rate_step"],
            gamma=protocol["learning_rate_gamma"],
        ),
        loss=partial(masked_bce, missing=protocol["missing"]),
    )


def _adam(network: nn.Sequential, *, protocol: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Adam with one learning rate for the classifier and one for every other layer that learns (IV.E.3)."""
    name, classifier = chain(network)[-1]
    body = [p for key, p in network.named_parameters() if p.requires_grad and not key.startswith(f"{name}.")]
    groups = [{"params": list(classifier.parameters()), "lr": protocol["learning_rate_classifier"]}]
    if body:
        groups.append({"params": body, "lr": protocol["learning_rate_body"]})
    return torch.optim.Adam(groups, weight_decay=protocol["weight_decay"], fused=True)


def tables(analysis: Analysis) -> list[Table]:
    """What every study shows, and how far the maps point at their instruments, where that was measured."""
    shown = maps.table(analysis)
    return [*standard.tables(analysis), *([shown] if shown else [])]
