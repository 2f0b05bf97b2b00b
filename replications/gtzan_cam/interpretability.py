"""Interpretability measured: the write-up shows pictures and sounds, and trusts eye and ear."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from harness.analysis.measured import Gain, of_seeds_alone
from harness.analysis.study import Analysis
from harness.explain import activations
from harness.explain.stability import chance
from harness.report.tables import about, origin
from harness.report.writers import MINUS, UNDEFINED, Column, Number, Table
from harness.studies.context import Context
from harness.studies.records import Measured
from replications.gtzan_cam.class_stems import COUNTRY, DRUMS, REFERENCES, TRACKS, measure_shares, share_gain
from replications.gtzan_cam.interpretable_loss import relative_information
from replications.gtzan_cam.peak_stability import AGAINST, AXES, STAGE, UNTRAINED, measure_peaks, peak_gain
from replications.gtzan_cam.trials import explained_condition, level_of_one, nets

#: Test segments of a trial at whose peaks is looked.
SEGMENTS = 240
#: The arms that differ in the masks' loss alone: with it, and without.
WITH_LOSS, WITHOUT_LOSS = "masked_loss", "masked"


def measure(context: Context, model: nn.Sequential) -> dict[str, Measured]:
    """Ask a trained net what tables and verdicts say of its filters and maps.

    Parameters
    ----------
    context
        Of its trial.
    model
        The net, in evaluation mode.

    Returns
    -------
    dict
        Nothing but of the arms and conditions that ``[measured]`` in ``study.toml`` names. ``peaks``, of a net without
        class activation maps: see `harness.analysis`; ``information``, of one with masks: by ``filter`` what its maps
        share with the templates, in nats, and in how many segments it is ``active``; ``shares``, on a pocket corpus:
        see `measure_shares`.
    """
    trial, asked = context.trial, context.trial.study.measured
    if trial.arm.name not in asked["arms"] or trial.condition.name not in asked["conditions"]:
        return {}
    before = untrained(context).to(next(model.parameters()).device)
    found: dict[str, Measured] = {}
    if not hasattr(model, "gap"):
        rows = context.rows["test"]
        rows = rows[:: -(-len(rows) // SEGMENTS)]
        keys, pictures = context.corpus.clips["key"].to_numpy(dtype=str)[rows], np.array(context.store.array[rows])
        found["peaks"] = measure_peaks(model, before, keys, pictures)
        if hasattr(model, "mask3"):
            found["information"] = measure_information(model, pictures)
    if context.whole.ground_truth is not None and len(shares := measure_shares(context, model, before)):
        found["shares"] = shares
    return found


def untrained(context: Context) -> nn.Sequential:
    """The net as it was before it was trained: built as the study builds it, from the trial's seed."""
    with torch.random.fork_rng():
        return Context(context.trial, context.opened).spec.network.eval()


def measure_information(model: nn.Sequential, pictures: np.ndarray) -> pd.DataFrame:
    """What each filter's maps share with the masks' templates, in nats, once they are divided by their mean."""
    maps = torch.from_numpy(activations(model, pictures, [STAGE])[STAGE])
    active = (maps.amax(dim=(2, 3)) > 0).sum(dim=0)
    found = relative_information(maps, model.mask3.steepness)
    return pd.DataFrame(
        {"filter": np.arange(1, len(active) + 1), "active": active.numpy(), "information": found.numpy().round(9)}
    )


def interpretability_table(analysis: Analysis) -> Table | None:
    """All that was measured of the nets, each against what it has to beat; None where nothing was."""
    condition, rows = explained_condition(analysis), []
    level = level_of_one(analysis.check_level)
    arms = {arm.name: arm.title for arm in nets(analysis, condition)}
    titles = {UNTRAINED: REFERENCES[UNTRAINED], **REFERENCES, **arms}
    for arm in arms:
        for axis in AXES:
            for against in AGAINST.get(arm, ()):
                gain = peak_gain(analysis, condition, arm, against, axis, level)
                rows += _row(f"peak_{axis}", f"peak's deviation in {axis}", arm, against, gain)
    rows += _row("information", "information shared with the templates", WITH_LOSS, WITHOUT_LOSS,
                 information_gain(analysis, condition, level))  # fmt: skip
    for arm in arms:
        cams = arm not in AGAINST
        words = "CAM on the marking part" if cams else f"{COUNTRY}, layer 2 on the {DRUMS}"
        for reference in REFERENCES:
            gain = share_gain(analysis, condition, arm, reference, level)
            rows += _row("share_cam" if cams else "share_deconvolved", words, arm, reference, gain)
    if not rows:
        return None
    order = {measure: number for number, measure in enumerate(dict.fromkeys(row["measure"] for row in rows))}
    frame = pd.DataFrame(sorted(rows, key=lambda row: order[row["measure"]]))
    frame["net"], frame["held_against"] = frame["arm"].map(titles), frame["against"].map(titles)
    records = [r for r in analysis.records if r.condition == condition and r.arm in set(frame["arm"])]
    caption = [
        origin(analysis, records),
        f"Of the third layer's maps, on at most {SEGMENTS} test segments of a seed. Peak's deviation: standard "
        "deviation of where a filter peaks, as a share of the map, over the segments in which it is active, mean over "
        f"the live filters, which are active twice; low is steady, and {chance(64):.2f} is a filter without a place of "
        "its own.",
    ]
    if "information" in order:
        caption.append(
            "Information: what the maps of a live filter share with the masks' templates, in nats, each filter's maps "
            "divided by their mean, for louder maps share more; it is what the masks' loss is to raise. It depends on "
            "how many maps there are, so that its interval is over seeds alone."
        )
    if any(measure.startswith("share") for measure in order):
        caption.append(
            "Shares: of a map's energy on the bins in which the part is heard, by its stem; “an even map” has the "
            "share of these bins, “random weights” is the net before it was trained. Sound tracks of the test and the "
            f"validation part, by which nothing is chosen, {TRACKS} at most of each seed; segments without the part "
            "and empty maps do not count."
        )
    caption.append(
        f"Values: mean over the seeds. Difference: with the {level:.1%} interval over seeds and {analysis.unit}, by "
        f"which the claims are judged; behind it each seed. {analysis.unit.capitalize()}: different ones of all seeds. "
        "Filters: live ones of the net and of what it is held against, mean over the seeds. °: nothing is decided."
    )
    return Table(
        name="interpretability",
        title="Interpretability, measured",
        frame=frame,
        columns=(
            Column("title", "Measure", "text"),
            Column("net", "Net", "text"),
            Column("value", "Value", "score"),
            Column("held_against", "Against", "text"),
            Column("reference", "Its value", "score"),
            Column("difference", "Difference", "difference"),
            Column("of_seeds", "Seeds", "text"),
            Column("units", analysis.unit.capitalize(), "text"),
            Column("filters", "Filters", "text"),
        ),
        group=("measure", "arm"),
        section="measure",
        caption=" ".join(caption),
        notes=f"Condition: {analysis.study.condition(condition).title}.",
        about=about(analysis, records),
    )


def information_gain(analysis: Analysis, condition: str, level: float) -> Gain | None:
    """Information that maps share with the masks' templates: with the masks' loss minus without; None where unknown."""
    frame = analysis.measured("information")
    if frame.empty:
        return None
    live = frame[(frame["condition"] == condition) & (frame["active"] > 1)]
    means = (
        live.groupby(["seed", "arm"])["information"].mean().unstack("arm").reindex(columns=[WITH_LOSS, WITHOUT_LOSS])
    )
    means = means.dropna()
    if means.empty:
        return None
    gains = (means[WITH_LOSS] - means[WITHOUT_LOSS]).tolist()
    mean, low, high, p = of_seeds_alone(gains, level=level, bounds=(-np.inf, np.inf))
    return Gain(*means.mean().tolist(), mean, low, high, p, tuple(gains), len(live), 0)


def _row(measure: str, title: str, arm: str, against: str, gain: Gain | None) -> list[dict[str, Any]]:
    """A row of the table, or none where nothing was measured."""
    if gain is None:
        return []
    decided = gain.low > 0 or gain.high < 0
    note = "" if gain.low == gain.low else "one seed" if not gain.units else f"{gain.units} tracks are too few"
    if gain.seeds == 1:
        decided = False
    live = getattr(gain, "live", None)
    return [
        {
            "measure": measure,
            "title": title,
            "arm": arm,
            "against": against,
            "value": gain.value,
            "reference": gain.reference,
            "difference": Number(gain.difference, gain.low, gain.high, note, not decided),
            "of_seeds": ", ".join(f"{g:+.3f}" for g in gain.of_seeds).replace("-", MINUS),
            "seeds": gain.seeds,
            "units": str(gain.units or UNDEFINED),
            "filters": " / ".join(f"{count:.0f}" for count in live) if live else UNDEFINED,
        }
    ]
