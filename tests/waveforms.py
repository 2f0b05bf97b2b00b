"""Waveforms on which front ends are tried."""

import numpy as np


def signals(rate, seconds=10.0):
    """Waveforms that are hard in different ways."""
    rng = np.random.default_rng(1)
    time = np.arange(round(rate * seconds)) / rate
    noise = rng.normal(0, 0.1, len(time))
    return {
        "noise": noise,
        "tone": 0.9 * np.sin(2 * np.pi * 440 * time),
        "quiet": 2e-4 * np.sin(2 * np.pi * 1000 * time),
        "sweep": 0.5 * np.sin(2 * np.pi * (50 + 200 * time) * time),
        "attack": np.where(time < 5, 0, noise),
        "click": np.eye(1, len(time), len(time) // 2)[0],
    }
