"""Training a classifier on a frozen network: from activations stored once, beside running the network for every batch.

``pytest benchmarks/bench_frozen_prefix.py`` prints, for the two arms in which only the classifier learns, both times
per clip and epoch and their ratio, and the ratio of whole trainings of the paper's length, where the one pass that
stores the activations counts. Inputs are of the paper's size (128 x 431, 10 x 96 x 64), batches of 16, one thread.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harness.models import freeze, frozen, split_frozen
from harness.studies import study
from harness.studies.networks import frozen_stages
from harness.training import loop

#: Clips of an epoch of the plain loop, of which a third is only looked at; the stored one is so fast that it gets more.
PLAIN, STORED = 48, 4800


@pytest.mark.parametrize("arm", ["resnet_fc", "vggish_fc"])
def test_an_epoch_from_stored_activations(
    arm: str, tmp_path: Path, benchmark: Callable, capsys: pytest.CaptureFixture
) -> None:
    torch.set_num_threads(1)  # as trials run
    torch.manual_seed(0)
    openmic = study.load("openmic-transfer")
    chosen = openmic.arm(arm)
    protocol = openmic.resolve("paper", "paper", network=chosen.network)
    corpus = SimpleNamespace(classes=tuple(range(20)), seconds=10.0)
    spec = openmic.code.build(chosen, corpus, protocol)
    network = spec.network.to(memory_format=torch.channels_last)
    freeze(network, chosen.trainable)
    cut = split_frozen(network, chosen.trainable)[0][-1]
    generator = np.random.default_rng(0)
    pictures = generator.normal(-3, 1, (PLAIN, *spec.front_end.shape(10.0))).astype(np.float32)

    with torch.no_grad():
        network.eval()(torch.from_numpy(pictures[:16]))  # the first pass is slower than any other
    started = time.perf_counter()
    frozen.open_activations(
        network, {cut: tmp_path / "store"}, pictures, statistics_rows=None, device=torch.device("cpu"), manifest={}
    )
    once = (time.perf_counter() - started) / PLAIN
    activations, _ = frozen.read_activations(tmp_path / "store")
    after = frozen.after(network, cut)
    with torch.no_grad():
        whole = network.eval()(torch.from_numpy(pictures[:16]))
        torch.testing.assert_close(after(torch.from_numpy(np.array(activations[:16]))), whole, rtol=1e-4, atol=1e-4)

    folders = (tmp_path / str(number) for number in itertools.count())

    def epoch(forward: Callable, inputs: np.ndarray) -> None:
        """One epoch as a trial runs it: training, validation, checkpoint."""
        labels = generator.integers(0, 2, (len(inputs), 20)).astype(np.uint8)
        optimizer = spec.optimizer(network)
        folder = next(folders)
        folder.mkdir()
        loop.fit(
            network,
            forward,
            loop.Examples(inputs, labels, np.ones_like(labels, bool)),
            {"train": np.arange(len(inputs) * 2 // 3), "valid": np.arange(len(inputs) * 2 // 3, len(inputs))},
            loss=spec.loss,
            scores=None,
            optimizer=optimizer,
            scheduler=spec.scheduler(optimizer),
            epochs=1,
            patience=1,
            batch_size=protocol["batch_size"],
            seed=0,
            folder=folder,
            name=arm,
            frozen_statistics=frozen_stages(network),
        )

    started = time.perf_counter()
    epoch(network, pictures)
    plain = (time.perf_counter() - started) / PLAIN
    many = np.concatenate([activations] * (STORED // PLAIN))
    benchmark.pedantic(epoch, args=(after, many), rounds=5, warmup_rounds=1)
    stored = benchmark.stats.stats.median / STORED

    epochs = protocol["epochs"]
    seen = 0.85  # of all clips an epoch sees the training and the validation part; the store holds all of them
    whole_ratio = epochs * seen * plain / (once + epochs * seen * stored)
    benchmark.extra_info.update(plain_seconds_per_clip=plain, ratio=plain / stored, whole_ratio=whole_ratio)
    with capsys.disabled():
        print(
            f"\n{arm}, per clip and epoch: {stored * 1e3:.3f} ms from stored activations, {plain * 1e3:.0f} ms with "
            f"the network run for every batch: {plain / stored:,.0f} times as long; {epochs} epochs, with the one pass "
            f"of {once * 1e3:.0f} ms per clip: {whole_ratio:.1f} times as long"
        )
