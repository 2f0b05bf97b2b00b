"""An epoch of the attention model at the paper's scale, beside the loop that a user would write.

``pytest benchmarks/bench_attention.py`` prints both times and their ratio: 12,678 training clips of 10 x 128 numbers in
batches of 128, 2,237 validation clips, 20 classes of which a tenth of the labels are observed, one thread. Then the
same with two processes side by side, as trials run on two cores, per epoch and seed. The plain loop is a Dataset, a
DataLoader, a network of PyTorch's convolutions, its loss on the observed entries, and scikit-learn's F1.
"""

import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from harness.parallel import workers
from replications.attention_embeddings import side_by_side
from replications.attention_embeddings.attention import attention

TRAIN, VALID, FRAMES, SIZE, CLASSES = 12_678, 2_237, 10, 128, 20
BATCH, DROPOUT = 128, 0.6
ADAM = {"lr": 5e-4, "weight_decay": 1e-5}
#: Epochs that a process runs side by side with another; the first is not counted.
EPOCHS = {"ours": 8, "plain": 4}


@cache
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    inputs = generator.random((TRAIN + VALID, FRAMES, SIZE), dtype=np.float32)
    labels = generator.integers(0, 2, (len(inputs), CLASSES)).astype(np.uint8)
    return inputs, labels, generator.random(labels.shape) < 0.1


def ours(epochs: int) -> list[float]:
    """Seconds of every epoch, as a trial runs it: training, validation, score, and a checkpoint every few seconds."""
    inputs, labels, mask = data()
    network = attention([0], frame_size=SIZE, classes=CLASSES, dropout=DROPOUT)
    ends = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        side_by_side.fit(
            network,
            inputs,
            labels,
            mask,
            {"train": np.arange(TRAIN), "valid": np.arange(TRAIN, TRAIN + VALID)},
            seeds=[0],
            optimizer=torch.optim.Adam(network.parameters(), **ADAM, fused=True),
            epochs=epochs,
            batch_size=BATCH,
            folders=[Path(folder)],
            names=["benchmark"],
            on_epoch=lambda index, entry: ends.append(time.perf_counter()),
        )
    return np.diff(ends).tolist()


class Clips(Dataset):
    """One clip after another."""

    def __init__(self) -> None:
        self.inputs, self.labels, self.mask = data()

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        labels = torch.tensor(self.labels[row], dtype=torch.float32)
        return torch.from_numpy(self.inputs[row]), labels, torch.from_numpy(self.mask[row])


class Plain(nn.Module):
    """The model as the paper draws it and AttentionMIC normalises it."""

    def __init__(self) -> None:
        super().__init__()
        block = [nn.Conv2d(SIZE, SIZE, 1, bias=False), nn.BatchNorm2d(SIZE), nn.ReLU(), nn.Dropout(DROPOUT)]
        for _ in range(2):
            block += [nn.Conv2d(SIZE, SIZE, 1, bias=False), nn.BatchNorm2d(SIZE), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.layers = nn.Sequential(nn.BatchNorm2d(SIZE), *block)
        self.attention, self.activity = nn.Conv2d(SIZE, CLASSES, 1), nn.Conv2d(SIZE, CLASSES, 1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (n, T, size) -> probabilities (n, classes)."""
        pictures = frames.transpose(1, 2).unsqueeze(3)
        hidden = self.layers(pictures) + pictures
        weights = torch.sigmoid(self.attention(hidden)).clamp(1e-7, 1 - 1e-7)
        weights = weights / weights.sum(2, keepdim=True)
        return nn.functional.hardtanh((weights * torch.sigmoid(self.activity(hidden))).sum(2).squeeze(2), 0, 1)


def plain(epochs: int) -> list[float]:
    """Seconds of every epoch of the loop a user would write: training, validation, score."""
    clips, network, loss = Clips(), Plain(), nn.BCELoss()
    optimizer = torch.optim.Adam(network.parameters(), **ADAM)
    train = DataLoader(Subset(clips, range(TRAIN)), BATCH, shuffle=True)
    valid = DataLoader(Subset(clips, range(TRAIN, TRAIN + VALID)), BATCH)
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        network.train()
        for inputs, labels, mask in train:
            optimizer.zero_grad()
            loss(network(inputs)[mask], labels[mask]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            probabilities = torch.cat([network(inputs) for inputs, _, _ in valid]).numpy() >= 0.5
        labels, mask = clips.labels[TRAIN:], clips.mask[TRAIN:]
        for c in range(CLASSES):
            f1_score(labels[mask[:, c], c], probabilities[mask[:, c], c], average="macro", zero_division=0)
        seconds.append(time.perf_counter() - started)
    return seconds


def run(kind: str) -> list[float]:
    """Seconds of the epochs that count."""
    return {"ours": ours, "plain": plain}[kind](EPOCHS[kind])[1:]


def at_the_same_time(kind: str, processes: int) -> float:
    """Seconds per epoch and seed, all told, of processes that run at the same time, as trials do."""
    with workers(processes) as pool:
        times = list(pool.map(run, [kind] * processes))
    return float(np.median(np.concatenate(times))) / processes


@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch(processes: int, benchmark: Callable, capsys: pytest.CaptureFixture) -> None:
    slow = at_the_same_time("plain", processes)
    fast = benchmark.pedantic(at_the_same_time, args=("ours", processes), rounds=1)
    benchmark.extra_info.update(seconds_per_epoch_and_seed=fast, plain_seconds=slow, ratio=slow / fast)
    with capsys.disabled():
        print(
            f"\nattention, {processes} process(es) of one thread, per epoch and seed: {fast:.3f} s; "
            f"plain loop {slow:.2f} s: {slow / fast:.1f} times as long"
        )
