"""Trained nets of the study, rebuilt from their records, and what they are given."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from harness import features
from harness.features import FrontEnd
from harness.studies import networks
from harness.studies.context import Context
from harness.studies.records import Record
from harness.studies.study import Study
from harness.studies.trial import Trial
from replications.gtzan_cam.trials import result_arms


@dataclass(frozen=True)
class Net:
    """A trained net.

    Parameters
    ----------
    record, trial
        Of its trial.
    network
        With its weights, in evaluation mode.
    title
        Of its arm.
    """

    record: Record
    trial: Trial
    network: nn.Sequential
    title: str

    @property
    def front_end(self) -> FrontEnd:
        """What made its inputs: ``mel_segments``."""
        return features.front_end(**self.record.data["protocol"]["front_end"])

    @property
    def averages(self) -> bool:
        """Whether it ends in global average pooling, so that it has class activation maps."""
        return hasattr(self.network, "gap")


def restore_nets(study: Study, records: Sequence[Record]) -> list[Net]:
    """Rebuild the nets of the write-up, and the one with the masks' loss.

    Parameters
    ----------
    study
        Theirs.
    records
        Of one condition.

    Returns
    -------
    list of Net
        In the order of the arms, then of the seeds; base nets with other kernels are not among them.
    """
    found = []
    for arm in result_arms(study, records):
        for record in sorted((r for r in records if r.arm == arm.name), key=lambda r: r.seed):
            blueprint, trial = networks.restore(record, study)
            found.append(Net(record, trial, blueprint.network, arm.title))
    return found


def untrained(net: Net) -> nn.Sequential:
    """The net as it was before it was trained: built as the study builds it, from the trial's seed.

    Parameters
    ----------
    net
        Any.

    Returns
    -------
    nn.Sequential
        In evaluation mode.
    """
    with torch.random.fork_rng():
        return Context(net.trial).spec.network.eval()


def pictures_of(net: Net, keys: Sequence[str]) -> np.ndarray:
    """Spectrograms of some segments.

    Parameters
    ----------
    net
        Gives corpus and front end.
    keys
        Of segments.

    Returns
    -------
    np.ndarray [shape=(n, bands, frames), dtype=float32]
        From 0 to 1, in the order of the keys.
    """
    context = Context(net.trial)
    row_of = {key: row for row, key in enumerate(context.corpus.clips["key"])}
    store = context.features(net.front_end)
    return np.array(store.array[[row_of[key] for key in keys]], np.float32)
