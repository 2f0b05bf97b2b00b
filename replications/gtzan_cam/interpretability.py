"""Interpretability measured: the write-up shows pictures and sounds, and trusts eye and ear."""

from collections.abc import Sequence

import pandas as pd

from harness.report import estimates
from harness.report.writers import Column, Table
from harness.studies.study import Study
from harness.studies.trial import load_corpus
from replications.gtzan_cam.marking_parts import TRACKS, share_rows, share_scores
from replications.gtzan_cam.nets import Net
from replications.gtzan_cam.steadiness import RANDOM, SEGMENTS, stability_rows

#: Deviation of a filter that peaks anywhere with equal probability, on large maps.
ANYWHERE = 12**-0.5


def interpretability_table(study: Study, nets: Sequence[Net], *, jobs: int | None = None) -> Table | None:
    """All that is measured, each against what it has to beat.

    Parameters
    ----------
    study
        Theirs.
    nets
        Of one condition, restored.
    jobs
        Processes for rendering stems.

    Returns
    -------
    Table or None
        None where there is nothing to compare.
    """
    rows = stability_rows(nets)
    corpus = load_corpus(nets[0].trial)
    if corpus.ground_truth is not None:
        rows += share_rows(share_scores(nets, corpus, jobs=jobs), {net.record.arm: net.title for net in nets})
    if not rows:
        return None
    origin = estimates.provenance(study, [net.record for net in nets], "test")
    numbers = ["value", "reference", "difference", "difference_low", "difference_high"]
    caption = [
        origin.sentence(),
        f"Steadiness: standard deviation of where a filter of the third layer peaks, as a share of the map, over the "
        f"test segments in which it is active (at most {SEGMENTS}), mean over the filters; low is steady, and "
        f"{ANYWHERE:.2f} is a filter without a place of its own.",
    ]
    if corpus.ground_truth is not None:
        caption.append(
            "Shares: of a map's energy on the bins in which the part is heard, by its stem; “an even map” has the "
            f"share of these bins, “{RANDOM}” is the same net untrained. Sound tracks of the test parts, {TRACKS} at "
            "most; segments without the part and empty maps do not count."
        )
    caption.append(
        "Difference with its 95% bootstrap interval over tracks (1,000 replicates), mean over the seeds, each of which "
        "stands behind it. °: the interval holds zero."
    )
    return Table(
        name="interpretability",
        title="Interpretability, measured",
        caption=" ".join(caption),
        notes=f"Condition: {study.condition(nets[0].record.condition).title}.",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("measure_title", "Measure", "text"),
            Column("net_title", "Net", "text"),
            Column("value", "Value", "score"),
            Column("against", "Against", "text"),
            Column("reference", "Its value", "score"),
            Column("difference", "Difference", "difference"),
            Column("seeds_title", "Seeds", "text"),
        ),
        group=("measure", "arm"),
        section="measure",
        provenance=origin,
    )
