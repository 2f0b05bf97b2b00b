"""The fit loop, its losses and its checkpoints; knows nothing of corpora, arms or studies."""

from harness.training.loop import Fit, fit, predict
from harness.training.losses import masked_bce

__all__ = ["Fit", "fit", "masked_bce", "predict"]
