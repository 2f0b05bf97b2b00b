"""How long trials will take: floating-point operations counted without computing, at a rate measured now."""

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.models import frozen, split_frozen
from harness.models.chain import chain

#: What a whole network reaches of the rate of one convolution: its other layers move memory rather than compute
#: (measured with ResNet-50 and VGGish on two cores).
SHARE = 0.5
#: Training a layer costs its forward pass, and a backward pass of twice that.
BACKWARD = 2.0
#: Bytes that one Adam step reads and writes per parameter: weight, gradient and both moments, read and written.
ADAM_BYTES = 32


@dataclass(frozen=True)
class Rate:
    """What this machine does per second, on one thread.

    Parameters
    ----------
    flops
        Floating-point operations of a whole network.
    bytes
        Bytes moved by element-wise work.
    """

    flops: float
    bytes: float


def measure_rate(device: torch.device) -> Rate:
    """Time one convolution and one addition, in well under a second.

    Parameters
    ----------
    device
        Where the networks will run.

    Returns
    -------
    Rate
        For `training_seconds`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        convolution = nn.Conv2d(128, 128, 3, padding=1).to(device, memory_format=torch.channels_last)
        pictures = torch.randn(16, 128, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
        flops = 2 * 16 * 32 * 32 * 128 * 128 * 9
        vector = torch.ones(8_000_000, device=device)
        with torch.no_grad():
            return Rate(
                SHARE * flops / _seconds(lambda: convolution(pictures), device),
                3 * vector.nbytes / _seconds(lambda: vector.add(1.0), device),
            )
    finally:
        torch.set_num_threads(threads)


def _seconds(work, device: torch.device) -> float:
    """Shortest of a few runs."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)


def flops_per_clip(network: nn.Sequential, trainable: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, int]:
    """Floating-point operations of one clip's forward pass, before and after the first layer that learns.

    Parameters
    ----------
    network
        A chain; moved to the meta device, as only its shapes are used.
    trainable
        Names of the modules that learn.
    shape
        Of one clip's features.

    Returns
    -------
    frozen, learning : int
        Operations of the frozen prefix and of the rest.
    """
    prefix, _ = split_frozen(network, trainable)
    network = network.to("meta").eval()
    stages, values, counts = chain(network), torch.zeros(1, *shape, device="meta"), []
    for part in (stages[: len(prefix)], stages[len(prefix) :]):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            values = frozen.apply(part, values)
        counts.append(counter.get_total_flops())
    return counts[0], counts[1]


def training_seconds(
    flops: tuple[int, int],
    learning_parameters: int,
    *,
    train_clips: int,
    evaluation_clips: int,
    epochs: int,
    batch_size: int,
    stored_prefix: bool,
    rate: Rate,
) -> float:
    """Estimate the time a trial takes if it runs all its epochs.

    Parameters
    ----------
    flops
        From `flops_per_clip`.
    learning_parameters
        Number of parameters that learn.
    train_clips, evaluation_clips
        Clips per epoch that are trained on and only looked at.
    epochs, batch_size
        As in the protocol.
    stored_prefix
        Whether the frozen prefix comes from a store.
    rate
        Of this machine.

    Returns
    -------
    float
        Seconds, on one thread.
    """
    before, learning = flops
    passes = train_clips * (1 + BACKWARD) + evaluation_clips
    work = passes * learning + (0 if stored_prefix else (train_clips + evaluation_clips) * before)
    steps = -(-train_clips // batch_size)
    return epochs * (work / rate.flops + steps * learning_parameters * ADAM_BYTES / rate.bytes)
