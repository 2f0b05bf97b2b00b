"""An arm's network: built for one or more seeds, and rebuilt from a record."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from harness.errors import RepriseError
from harness.models import trainable_parameters
from harness.studies import records
from harness.studies.context import context_of
from harness.studies.study import Arm, Study
from harness.studies.trial import Trial
from harness.training.loop import read_learned
from replications.attention_embeddings import controls
from replications.attention_embeddings.attention import attention
from replications.attention_embeddings.batched import load_state, state_of
from replications.attention_embeddings.representations import Representation, open_representation


def build(
    arm: Arm, protocol: Mapping[str, Any], seeds: Sequence[int], *, frames: int, frame_size: int, classes: int
) -> nn.Module:
    """Build an arm's network, one copy for each seed.

    Parameters
    ----------
    arm
        Which.
    protocol
        Resolved settings.
    seeds
        Of the copies' starting weights.
    frames, frame_size
        Of the representation.
    classes
        Number of outputs.

    Returns
    -------
    nn.Module
        Takes ``(seeds, n, frames, frame_size)``, gives probabilities ``(seeds, n, classes)``.

    Raises
    ------
    RepriseError
        Under the paper's settings it has not the number of parameters that ``study.toml`` states.
    """
    dropout = protocol["dropout"]
    if arm.network == "attention":
        network = attention(
            seeds,
            frame_size=frame_size,
            hidden=protocol["hidden"],
            classes=classes,
            dropout=dropout,
            norm=protocol["norm"],
        )
    elif arm.network == "fc":
        network = controls.fully_connected(
            seeds, frames=frames, frame_size=frame_size, classes=classes, dropout=dropout
        )
    elif arm.network == "fc_t":
        network = controls.fully_connected_per_frame(seeds, frame_size=frame_size, classes=classes, dropout=dropout)
    else:
        network = controls.recurrent(seeds, frame_size=frame_size, classes=classes, dropout=dropout)
    count = trainable_parameters(network) // len(seeds)
    as_stated = classes == 20 and protocol["norm"] == "batch" and protocol["hidden"] == 128
    as_stated &= (frames, frame_size) == (10, 128) or arm.options["representation"] == "log_mel"
    if as_stated and count != arm.parameters:
        raise RepriseError(
            f"{arm.name} has {count:,} learning parameters, not {arm.parameters:,}; correct its entry in study.toml"
        )
    return network


def restore(record: records.Record, study: Study) -> tuple[nn.Module, Representation]:
    """Rebuild a finished trial's network with its best weights, on the CPU, and open what it was trained on.

    Parameters
    ----------
    record
        Of a trial that has a network.
    study
        This study.

    Returns
    -------
    network : nn.Module
        One copy, in evaluation mode.
    inputs : Representation
        Of all clips of its corpus.
    """
    context = context_of(record, study)
    inputs = open_representation(context)
    network = _shaped(context.trial, inputs)
    load_state(network, 0, read_learned(record.folder / "best.safetensors"))
    return network.eval(), inputs


def one_seed(network: nn.Module, index: int, trial: Trial, inputs: Representation) -> nn.Module:
    """The network of one of the seeds that were trained side by side, by itself, on its device, in evaluation mode."""
    alone = _shaped(trial, inputs).to(next(network.parameters()).device)
    load_state(alone, 0, state_of(network, index))
    return alone.eval()


def _shaped(trial: Trial, inputs: Representation) -> nn.Module:
    """A trial's network for one seed, before it is trained."""
    frames, frame_size = inputs.array.shape[1:]
    classes = len(inputs.classes)
    return build(trial.arm, trial.protocol, [trial.seed], frames=frames, frame_size=frame_size, classes=classes)
