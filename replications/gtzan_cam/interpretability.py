"""Interpretability measured: the write-up shows pictures and sounds, and trusts eye and ear."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from harness.corpora.segments import clips_of
from harness.explain import activations
from harness.explain.stability import chance
from harness.report import estimates
from harness.report.resampling import units_of
from harness.report.writers import Column, Table
from harness.studies.study import Study
from harness.studies.trial import load_corpus
from replications.gtzan_cam.interpretable_loss import relative_information
from replications.gtzan_cam.marking_parts import LEAST_TRACKS, TRACKS, share_rows, share_scores
from replications.gtzan_cam.nets import Net
from replications.gtzan_cam.steadiness import RANDOM, SEGMENTS, STAGE, segments_to_test, stability_rows

#: The measure of what the masks' loss is to raise, and the arms that differ in it alone: with it, and without.
INFORMATION = "information"
WITH_LOSS, WITHOUT_LOSS = "masked_loss", "masked"


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
    rows = stability_rows(nets) + information_rows(nets)
    corpus = load_corpus(nets[0].trial)
    if corpus.ground_truth is not None:
        rows += share_rows(share_scores(nets, corpus, jobs=jobs), {net.record.arm: net.title for net in nets})
    if not rows:
        return None
    records = [net.record for net in nets]
    unit, _ = units_of(study, records)
    origin = estimates.provenance(study, records, "test")
    numbers = ["value", "reference", "difference", "difference_low", "difference_high"]
    caption = [
        origin.sentence(),
        f"Of the third layer's maps, on at most {SEGMENTS} test segments of a seed. Peak's deviation: standard "
        "deviation of where a filter peaks, as a share of the map, over the segments in which it is active, mean over "
        f"the live filters, which are active twice; low is steady, and {chance(64):.2f} is a filter without a place of "
        "its own.",
    ]
    if any(row["measure"] == INFORMATION for row in rows):
        caption.append(
            "Information: what the maps of a live filter share with the masks' templates, in nats, each filter's maps "
            "divided by their mean, for louder maps share more; it is what the masks' loss is to raise. It depends on "
            "how many maps there are, so that nothing is resampled and there is no interval."
        )
    if corpus.ground_truth is not None:
        caption.append(
            "Shares: of a map's energy on the bins in which the part is heard, by its stem; “an even map” has the "
            f"share of these bins, “{RANDOM}” is the net before it was trained. Sound tracks of the test and the "
            f"validation part, by which nothing is chosen, {TRACKS} at most of each seed; segments without the part "
            "and empty maps do not count."
        )
    few = f"; fewer than {LEAST_TRACKS} tracks have none" if corpus.ground_truth is not None else ""
    caption.append(
        "Values: mean over the seeds, of each over all its maps or filters. Difference: with the "
        f"{estimates.interval_in_words(records, unit)}{few}; behind it each seed. Tracks: different ones of all seeds. "
        "Filters: live ones of the net and of what it is held against, mean over the seeds. °: the interval holds zero."
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
            Column("tracks", "Tracks", "text"),
            Column("filters", "Filters", "text"),
        ),
        group=("measure", "arm"),
        section="measure",
        provenance=origin,
    )


def information_rows(nets: Sequence[Net]) -> list[dict[str, Any]]:
    """Information that maps share with the masks' templates: with the masks' loss, and without it.

    Parameters
    ----------
    nets
        Of one condition.

    Returns
    -------
    list of dict
        A row as `stability_rows` gives them, without an interval; none where no seed has both nets.
    """
    by_arm = {arm: {n.record.seed: n for n in nets if n.record.arm == arm} for arm in (WITH_LOSS, WITHOUT_LOSS)}
    seeds = sorted(set.intersection(*map(set, by_arm.values())))
    if not seeds:
        return []
    values, live, tracks = [], [], set()
    for seed in seeds:
        keys, pictures = segments_to_test(by_arm[WITH_LOSS][seed])
        tracks |= set(clips_of(keys))
        of_nets = [_information(by_arm[arm][seed], pictures) for arm in (WITH_LOSS, WITHOUT_LOSS)]
        values.append([value for value, _ in of_nets])
        live.append([count for _, count in of_nets])
    gains = [ours - theirs for ours, theirs in values]
    ours, theirs = np.mean(values, axis=0)
    titles = [by_arm[arm][seeds[0]].title for arm in (WITH_LOSS, WITHOUT_LOSS)]
    return [
        {
            "measure": INFORMATION,
            "measure_title": "information shared with the templates",
            "arm": WITH_LOSS,
            "net_title": titles[0],
            "against": titles[1],
            "value": ours,
            "reference": theirs,
            "difference": ours - theirs,
            "difference_low": None,
            "difference_high": None,
            "of_seeds": " ".join(f"{gain:+.4f}" for gain in gains),
            "seeds_title": ", ".join(f"{gain:+.3f}" for gain in gains).replace("-", "\u2212"),
            "seeds": len(seeds),
            "tracks": len(tracks),
            "filters": " / ".join(f"{count:.0f}" for count in np.mean(live, axis=0)),
        }
    ]


def _information(net: Net, pictures: np.ndarray) -> tuple[float, int]:
    """Mean over the live filters of a net with masks, and how many these are."""
    maps = torch.from_numpy(activations(net.network, pictures, [STAGE])[STAGE])
    live = (maps.amax(dim=(2, 3)) > 0).sum(dim=0) > 1
    found = relative_information(maps[:, live], net.network.mask3.steepness)
    return float(found.mean()), int(live.sum())
