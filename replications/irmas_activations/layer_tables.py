"""What layers and filters answer to flutes and clarinets, as tables (study 001, section 3)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.analysis.study import Analysis
from harness.report.tables import about, origin
from harness.report.writers import MINUS, Column, Number, Table
from replications.irmas_activations.filter_activations import (
    FEWEST,
    LAYERS,
    PERMUTATIONS,
    SHOWN,
    FilterActivations,
    filter_contrasts,
    filters_of,
    layers_of,
)


def layer_table(analysis: Analysis, several: Sequence[FilterActivations]) -> Table:
    """Each layer: flutes against clarinets, right against missed, and how many filters tell the two apart.

    What is beyond chance is so by the rule of the verdicts.
    """
    level = analysis.check_level
    ranked = pd.concat(
        [filters_of(found, level=level).assign(seed=found.record.seed) for found in several], ignore_index=True
    )
    of_layer = ranked.groupby(["stage", "seed"]).agg(
        filters=("filter", "size"), beyond=("beyond", "sum"), best=("area", "max"), bar=("bar", "first")
    )
    frame = of_layer.groupby("stage").mean().loc[list(LAYERS)].reset_index()
    frame["layer"] = frame["stage"].map(LAYERS)
    frame["tell"] = [f"{row.beyond:.1f} of {row.filters:.0f}" for row in frame.itertuples()]
    frame["areas"] = [f"{row.best:.2f} ({row.bar:.2f})" for row in frame.itertuples()]
    for name in several[0].sides():
        tested = [rows for f in several if (rows := layers_of(f, name, level=level)) is not None]
        if not tested:
            frame[name] = np.nan
            continue
        gaps = np.mean([rows["difference"] for rows in tested], axis=0)
        beyond = np.sum([rows["beyond"] for rows in tested], axis=0)
        frame[name] = [Number(g, doubtful=n < len(tested)) for g, n in zip(gaps, beyond, strict=True)]
        frame[f"{name}_networks"] = [f"{n} of {len(tested)}" for n in beyond]
    records = [found.record for found in several]
    said = "; ".join(_counted(name, several) for name in several[0].groups())
    smallest = ", ".join(f"{p:.2g}" for p in ranked.groupby("seed")["p"].min())
    return Table(
        name="layers",
        title="Is there an “activation bias” on instrument class or correctness? Mean activation of each layer",
        caption=f"{origin(analysis, records)} Of these the excerpts with a flute or a clarinet, and not both: {said} "
        "(mean over the seeds, in brackets with no other label; right: the instrument is predicted, S2, the threshold "
        "chosen on validation mixtures). Differences of the layer's mean activation, in standard deviations over these "
        "excerpts, of excerpts with one label and of the others each by themselves, mean over the networks; °: not in "
        f"every network beyond what all of its layers are in {level:.2%} of {PERMUTATIONS:,} permutations, in which "
        f"songs exchange what is compared; none where fewer than {FEWEST} songs are on either side. In how many "
        "networks it is beyond that stands in the CSV file. Filters that tell: those whose mean activation has "
        "an area under the ROC curve, for the instrument that they answer more to, beyond a bar that no filter of the "
        f"network exceeds in {level:.2%} of {PERMUTATIONS:,} permutations of the songs' labels; mean over the seeds. "
        "Best: the area of the layer's best filter, and in brackets the bar. The smallest p of a filter, by seed and "
        f"for all filters of the network together: {smallest}; it speaks of that network alone. Behind the "
        "non-linearity of each layer.",
        frame=frame,
        columns=(
            Column("layer", "Layer", "text"),
            Column("class", f"Flute {MINUS} clarinet", "difference"),
            Column("flute", f"Flute (right {MINUS} missed)", "difference"),
            Column("clarinet", f"Clarinet (right {MINUS} missed)", "difference"),
            Column("tell", "Filters that tell", "text"),
            Column("areas", "Best", "text"),
        ),
        group=("layer",),
        about=about(analysis, records),
    )


def _counted(name: str, several: Sequence[FilterActivations]) -> str:
    """How many excerpts a group has, and how many of them have no other label, mean over trials."""
    of_group = [found.groups()[name] for found in several]
    alone = np.mean([(found.alone & chosen).sum() for found, chosen in zip(several, of_group, strict=True)])
    return f"{name} {np.mean([chosen.sum() for chosen in of_group]):.3g} ({alone:.3g})"


def filter_table(analysis: Analysis, found: FilterActivations) -> Table:
    """The filters of one trial that best tell flutes from clarinets; they have numbers from 0, as in the player."""
    level = analysis.check_level
    frame = filters_of(found, level=level).iloc[:SHOWN].copy()
    rows = filter_contrasts(found, frame, level=analysis.level, replicates=analysis.replicates)
    frame["difference"] = [Number(*row, doubtful=not (row[1] > 0 or row[2] < 0)) for row in rows]
    values = [found.means[f.stage][:, f.filter] for f in frame.itertuples()]
    frame["flute"], frame["clarinet"] = ([v[side].mean() for v in values] for side in (found.flute, ~found.flute))
    frame["place"] = [str(place) for place in range(1, len(frame) + 1)]
    frame["name"] = frame["stage"].map(LAYERS) + ", " + frame["filter"].astype(str)
    frame["answers_more_to"] = np.where(frame["auc"] > 0.5, "flutes", "clarinets")
    frame["beyond_chance"] = np.where(frame["beyond"], "yes", "no")
    clips = f"{found.flute.sum()} flutes and {(~found.flute).sum()} clarinets of {len(set(found.songs.tolist()))} songs"
    return Table(
        name="filters",
        title="Filters that best tell flutes from clarinets",
        caption=f"{origin(analysis, [found.record])} Seed {found.record.seed}; {clips}. Flutes, clarinets: the "
        "filter's mean activation, and their difference in standard deviations over these excerpts with its "
        f"{analysis.level:.0%} interval over {analysis.unit}. Area: under the ROC curve of that, for the instrument it "
        "answers more to, 0.5 for a filter that tells nothing. Bar: the area that a filter of the layer must exceed "
        f"to be beyond all filters of the network in {level:.2%} of {PERMUTATIONS:,} permutations of the songs' "
        "labels; a network of many filters has some that tell by chance. In the order of how far the area lies above "
        "what chance gives the best filter of the layer. The filters were picked on the very excerpts that they are "
        "measured on, so that the intervals flatter them; what counts is whether the area exceeds the bar.",
        frame=frame,
        columns=(
            Column("place", "", "text"),
            Column("name", "Layer, filter", "text"),
            Column("answers_more_to", "Answers more to", "text"),
            Column("flute", "Flutes", "score"),
            Column("clarinet", "Clarinets", "score"),
            Column("difference", f"Flutes {MINUS} clarinets, SD", "difference"),
            Column("area", "Area", "score"),
            Column("bar", "Bar", "score"),
            Column("beyond_chance", "Beyond chance", "text"),
        ),
        group=("place",),
        about=about(analysis, [found.record]),
    )
