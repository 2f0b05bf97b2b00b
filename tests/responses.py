"""A network's response to a clip, made up: two layers whose maps are known."""

import numpy as np

from harness.explain.animation import Layer, Response

CLASSES = ("cello", "mallet_percussion", "voice")


def response(*, seconds: float = 4.0, start: float = 0.0, filters: int = 6) -> Response:
    """A response of 25 columns a second; `sweeping` has a bright bar that goes up with time, `random` is noise."""
    columns = round((seconds - start) * 25)
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (filters, 8, columns), dtype=np.uint8)
    sweep = np.zeros((2, 16, columns), np.uint8)
    sweep[:, np.arange(columns) * 16 // columns, np.arange(columns)] = 255
    ones = np.ones(filters)
    layers = (
        Layer("random", (filters + 3, 8, 50), np.arange(filters) + 2, noise, 0 * ones, ones, ones[::-1].cumsum()),
        Layer("sweeping", (2, 16, 100), np.arange(2), sweep, np.zeros(2), np.full(2, 3.25), np.ones(2)),
    )
    half = np.arange(columns) >= columns // 2
    probabilities = np.stack([0.25 + 0.5 * half, 0.9 - 0.8 * half, np.full(columns, 0.1)], axis=1).astype(np.float32)
    spectrogram = generator.integers(0, 256, (32, columns), dtype=np.uint8)
    return Response(start, seconds, spectrogram, CLASSES, probabilities, 2, layers)
