"""From which score on an instrument is predicted: as published, chosen on validation mixtures, or an oracle's."""

import pandas as pd

from harness.analysis.study import Analysis
from harness.studies.records import Record
from replications.irmas_activations.windows import GRIDS, threshold_curve

#: Ways to come to a threshold.
CHOICES = {
    "fixed": "as published",
    "chosen": "chosen on validation mixtures",
    "oracle": "best on the test excerpts (oracle)",
}


def part_of(part: str, how: str) -> str:
    """What a trial calls its scores of ``"valid"``, mixtures, or ``"test"`` by the aggregation ``"s1"`` or ``"s2"``."""
    return part if how == "s2" else f"{part}_{how}"


def curve(analysis: Analysis, record: Record, part: str, how: str) -> pd.DataFrame:
    """Micro and macro F1 at the thresholds that public code has tried, as `windows.threshold_curve`."""
    p = analysis.predictions(record, part_of(part, how))
    return threshold_curve(p.labels, p.probabilities, GRIDS[how])


def threshold(analysis: Analysis, record: Record, how: str, choice: str, *, by: str = "f1_micro_unmasked") -> float:
    """A trial's threshold.

    Parameters
    ----------
    analysis
        Of the record.
    record
        The trial.
    how : {"s1", "s2"}
        Mean over the windows, or their sum divided by the largest class's.
    choice
        One of `CHOICES`.
    by : {"f1_micro_unmasked", "f1_macro_unmasked"}
        The score that is best there; of several thresholds the lowest.
    """
    if choice == "fixed":
        return float(record.data["protocol"]["threshold"])
    found = curve(analysis, record, "valid" if choice == "chosen" else "test", how)
    return float(found["threshold"].iloc[found[by.removesuffix("_unmasked")].to_numpy().argmax()])
