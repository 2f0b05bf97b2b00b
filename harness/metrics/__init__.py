"""Scores of predictions: numpy in, numbers out. `METRICS` is the table of them all."""

from harness.metrics import multiclass, multilabel  # noqa: F401 - they fill the table
from harness.metrics.inputs import validate
from harness.metrics.table import METRICS, Metric, metrics_of, register, weighted
from harness.metrics.tally import Tally

__all__ = ["METRICS", "Metric", "Tally", "metrics_of", "register", "validate", "weighted"]
