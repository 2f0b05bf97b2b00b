"""What layers and filters answer to flutes and clarinets, as tables (study 001, section 3)."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.report.writers import MINUS, Column, Table
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.answers import (
    FEWEST,
    LAYERS,
    PERMUTATIONS,
    Answers,
    contrast,
    filters_of,
    groups,
    sampled_auc,
    top_filters,
)

#: Differences of the table: names of groups on either side.
CONTRASTS = {
    "class": (("flute, right", "flute, missed"), ("clarinet, right", "clarinet, missed")),
    "flute": (("flute, right",), ("flute, missed",)),
    "clarinet": (("clarinet, right",), ("clarinet, missed",)),
}


def layer_table(
    study: Study, several: Sequence[Answers], *, replicates: int = 1000, permutations: int = PERMUTATIONS
) -> Table:
    """Each layer: flutes against clarinets, right against missed, and how many filters tell the two apart.

    Parameters
    ----------
    study
        Theirs.
    several
        Answers of trials of one condition.
    replicates
        Of the bootstrap over songs.
    permutations
        As in `filters_of`.

    Returns
    -------
    Table
        One row per layer.
    """
    ranked = [filters_of(found, permutations=permutations) for found in several]
    rows = []
    for stage, title in LAYERS.items():
        of_stage = [frame[frame["stage"] == stage] for frame in ranked]
        beyond = [int(((f["auc"] - 0.5).abs() > f["bar"]).sum()) for f in of_stage]
        best = [float((f["auc"] - 0.5).abs().max()) + 0.5 for f in of_stage]
        row = {
            "layer": title,
            "stage": stage,
            "section": "all",
            "metric": "activation",
            "filters": len(of_stage[0]),
            "beyond": float(np.mean(beyond)),
            "best": float(np.mean(best)),
            "bar": float(np.mean([f["bar"].iloc[0] + 0.5 for f in of_stage])),
        }
        row["beyond_title"] = f"{row['beyond']:.1f} of {row['filters']}"
        row["best_title"] = f"{row['best']:.2f} ({row['bar']:.2f})"
        for name, (first, second) in CONTRASTS.items():
            values = contrast(several, stage, first, second, replicates)
            found = scores.estimate(values, bounds=(-math.inf, math.inf))
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row)
    numbers = [c for c in rows[0] if c.startswith(tuple(CONTRASTS))]
    origin = scores.provenance(study, [found.record for found in several])
    counts = {name: np.mean([groups(found)[name].sum() for found in several]) for name in groups(several[0])}
    said = "; ".join(f"{name} {count:.3g}" for name, count in counts.items())
    return Table(
        name="layers",
        title="Is there an “activation bias” on instrument class or correctness? Mean activation of each layer",
        caption=f"{origin.sentence()} Of these the excerpts with a flute or a clarinet, and not both: {said} (mean "
        "over the seeds; right: the instrument is predicted, S2, the threshold chosen on validation mixtures). "
        "Differences of the layer's mean activation, in standard deviations over these excerpts, with 95% bootstrap "
        f"intervals over songs ({replicates:,} replicates); °: the interval holds zero; without trials that have fewer "
        f"than {FEWEST} songs on either side, and none where that leaves none of them. Filters that tell: those whose "
        "mean activation has an area under the ROC curve, flutes against clarinets, further from 0.5 than the layer's "
        f"best filter has it in 95% of {permutations:,} permutations of the songs' labels; mean over the seeds. Best: "
        "the area of the layer's best filter, in brackets what it stays below in 95% of the permutations. Behind the "
        "non-linearity of each layer.",
        notes="",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(numbers, float)),
        columns=(
            Column("layer", "Layer", "text"),
            Column("class", f"Flute {MINUS} clarinet", "difference"),
            Column("flute", f"Flute (right {MINUS} missed)", "difference"),
            Column("clarinet", f"Clarinet (right {MINUS} missed)", "difference"),
            Column("beyond_title", "Filters that tell", "text"),
            Column("best_title", "Best", "text"),
        ),
        group=("layer",),
        section="section",
        provenance=origin,
    )


def filter_table(
    study: Study, found: Answers, *, replicates: int = 1000, level: float = 0.95, permutations: int = PERMUTATIONS
) -> Table:
    """The filters of one trial that best tell flutes from clarinets.

    Parameters
    ----------
    study
        Its study.
    found
        Of the trial.
    replicates, level
        Of the bootstrap over songs.
    permutations
        As in `filters_of`.

    Returns
    -------
    Table
        `SHOWN` rows, the best first. Filters have numbers from 0, as in the player.
    """
    top = top_filters(found, permutations=permutations)
    of_song = dict(zip(found.keys.tolist(), found.songs.tolist(), strict=True))
    counted = scores.weights(found.keys.tolist(), of_song, replicates)
    rows = []
    for place, of_filter in enumerate(top.itertuples(), start=1):
        values = found.means[of_filter.stage][:, of_filter.filter]
        flutes = of_filter.auc > 0.5
        area = scores.estimate(sampled_auc(values, found.flute == flutes, counted), level=level)
        known = area.low is not None and area.value < 1  # the bootstrap of a perfect order knows of nothing else
        rows.append(
            {
                "place": str(place),
                "stage": of_filter.stage,
                "filter": of_filter.filter,
                "name_title": f"{LAYERS[of_filter.stage]}, {of_filter.filter}",
                "answers_more_to": "flutes" if flutes else "clarinets",
                "metric": "auc",
                "section": "all",
                "area": area.value,
                "area_low": area.low if known else math.nan,
                "area_high": area.high if known else math.nan,
                "area_title": f"{area.value:.3f}" + (f" [{area.low:.3f}, {area.high:.3f}]" if known else ""),
                "flute": float(values[found.flute].mean()),
                "clarinet": float(values[~found.flute].mean()),
                "beyond_chance": "yes" if abs(of_filter.auc - 0.5) > of_filter.bar else "no",
            }
        )
    origin = scores.provenance(study, [found.record])
    clips = f"{found.flute.sum()} flutes and {(~found.flute).sum()} clarinets of {len(set(found.songs.tolist()))} songs"
    return Table(
        name="filters",
        title="Filters that best tell flutes from clarinets",
        caption=f"{origin.sentence()} Seed {found.record.seed}; {clips}. Flutes, clarinets: the filter's mean "
        "activation. Area: under the ROC curve of that, for the instrument it answers more to, 0.5 for a filter that "
        f"tells nothing; in brackets its {level:.0%} basic bootstrap interval over songs ({replicates:,} replicates), "
        "of which there is none where the two are told apart without fault. The filters were picked on the very "
        "excerpts that they are measured on, so that the intervals flatter them; what counts is the last column: "
        "whether a filter is further from 0.5 than the best of its layer is in 95% of "
        f"{permutations:,} permutations of the songs' labels.",
        notes="",
        frame=pd.DataFrame(rows),
        columns=(
            Column("place", "", "text"),
            Column("name_title", "Layer, filter", "text"),
            Column("answers_more_to", "Answers more to", "text"),
            Column("flute", "Flutes", "score"),
            Column("clarinet", "Clarinets", "score"),
            Column("area_title", "Area", "text"),
            Column("beyond_chance", "Beyond chance", "text"),
        ),
        group=("place",),
        section="section",
        provenance=origin,
    )
