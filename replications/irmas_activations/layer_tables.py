"""What layers and filters answer to flutes and clarinets, as tables (study 001, section 3)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.report.estimates import interval_in_words
from harness.report.writers import MINUS, Column, Table
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.answers import (
    FEWEST,
    LAYERS,
    PERMUTATIONS,
    Answers,
    Bias,
    class_bias,
    contrast,
    filter_contrast,
    filters_of,
    groups,
    right_bias,
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
        Of the bootstrap over seeds and songs together.
    permutations
        As in `filters_of`.

    Returns
    -------
    Table
        One row per layer.
    """
    ranked = [filters_of(found, permutations=permutations) for found in several]
    tests = {
        "class": class_bias(several, permutations=permutations),
        "flute": right_bias(several, True, permutations=permutations),
        "clarinet": right_bias(several, False, permutations=permutations),
    }
    rows = []
    for number, (stage, title) in enumerate(LAYERS.items()):
        of_stage = [frame[frame["stage"] == stage] for frame in ranked]
        best = float(np.mean([(f["auc"] - 0.5).abs().max() for f in of_stage]))
        row = {
            "layer": title,
            "stage": stage,
            "section": "all",
            "metric": "activation",
            "filters": len(of_stage[0]),
            "beyond": float(np.mean([f["beyond"].sum() for f in of_stage])),
            "best": best + 0.5,
            "bar": math.nan if tests["class"] is None else tests["class"].bars[number] + 0.5,
        }
        row["beyond_title"] = f"{row['beyond']:.1f} of {row['filters']}"
        row["best_title"] = f"{row['best']:.2f}" + ("" if tests["class"] is None else f" ({row['bar']:.2f})")
        for name, (first, second) in CONTRASTS.items():
            values = contrast(several, stage, first, second, replicates)
            found = scores.estimate(values, bounds=(-math.inf, math.inf))
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            row |= _tested(name, tests[name], number)
        rows.append(row)
    numbers = [c for name in CONTRASTS for c in (name, f"{name}_low", f"{name}_high", f"{name}_p")]
    origin = scores.provenance(study, [found.record for found in several])
    said = "; ".join(_counted(name, several) for name in groups(several[0]))
    return Table(
        name="layers",
        title="Is there an “activation bias” on instrument class or correctness? Mean activation of each layer",
        caption=f"{origin.sentence()} Of these the excerpts with a flute or a clarinet, and not both: {said} (mean "
        "over the seeds, in brackets with no other label; right: the instrument is predicted, S2, the threshold chosen "
        "on validation mixtures). "
        "Differences of the layer's mean activation, in standard deviations over these excerpts, of excerpts with one "
        "label and of the others each by themselves, mean over "
        f"the seeds with the {interval_in_words([found.record for found in several], 'songs', replicates)}; °: the "
        f"interval holds zero; without trials that have fewer than {FEWEST} songs on either side, and none where that "
        "leaves none of them. Filters that tell: those whose mean activation has an area under the ROC curve, flutes "
        "against clarinets, further from 0.5 than the layer's best filter has it in 95% of "
        f"{permutations:,} permutations of the songs' labels; mean over the seeds. Best: the area of the layer's best "
        "filter, flutes against clarinets or the reverse, in brackets what it does not exceed in 95% of the "
        f"permutations, the same for all seeds. {_said(tests)} Behind the non-linearity of each layer.",
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


def _tested(name: str, bias: Bias | None, layer: int) -> dict[str, float | int | bool | None]:
    """What a test says of one layer, and of all of them together."""
    if bias is None:
        return {f"{name}_beyond": None, f"{name}_able": None, f"{name}_p": math.nan, f"{name}_seeds": 0}
    return {
        f"{name}_beyond": bool(bias.found[layer] > bias.bars[layer]),
        f"{name}_able": bool(bias.able[layer]),
        f"{name}_p": bias.chance,
        f"{name}_seeds": bias.trials,
    }


def _counted(name: str, several: Sequence[Answers]) -> str:
    """How many excerpts a group has, and how many of them have no other label, mean over trials."""
    of_group = [groups(found)[name] for found in several]
    alone = np.mean([(found.alone & chosen).sum() for found, chosen in zip(several, of_group, strict=True)])
    return f"{name} {np.mean([chosen.sum() for chosen in of_group]):.3g} ({alone:.3g})"


def _said(tests: Mapping[str, Bias | None]) -> str:
    """How many layers each test finds, in a sentence."""
    titles = {
        "class": "flute and clarinet",
        "flute": "flutes right and missed",
        "clarinet": "clarinets right and missed",
    }
    said = [
        f"{title} " + ("not judged, too few songs" if (b := tests[name]) is None else _found(b))
        for name, title in titles.items()
    ]
    return f"Layers beyond 95% of the permutations, and how often chance gives as many: {', '.join(said)}."


def _found(bias: Bias) -> str:
    """How many layers a test finds."""
    unable = int((~bias.able).sum())
    could_not = f"; {unable} could not be, as chance tells so few songs apart without fault" if unable else ""
    return f"in {bias.count} (p = {bias.chance:.2g}{could_not})"


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
        `SHOWN` rows in the order of `top_filters`. Filters have numbers from 0, as in the player.
    """
    rows = []
    for place, of_filter in enumerate(top_filters(found, permutations=permutations).itertuples(), start=1):
        values = found.means[of_filter.stage][:, of_filter.filter]
        flutes = of_filter.auc > 0.5
        drawn = filter_contrast(found, of_filter.stage, of_filter.filter, replicates)
        gap = scores.estimate(drawn, level=level, bounds=(-math.inf, math.inf))
        rows.append(
            {
                "place": str(place),
                "stage": of_filter.stage,
                "filter": of_filter.filter,
                "name_title": f"{LAYERS[of_filter.stage]}, {of_filter.filter}",
                "answers_more_to": "flutes" if flutes else "clarinets",
                "metric": "auc",
                "section": "all",
                "area": max(of_filter.auc, 1 - of_filter.auc),
                "bar": 0.5 + of_filter.bar,
                "flute": float(values[found.flute].mean()),
                "clarinet": float(values[~found.flute].mean()),
                **scores.ends("difference", gap),
                "beyond_chance": "yes" if of_filter.beyond else "no",
            }
        )
    origin = scores.provenance(study, [found.record])
    clips = f"{found.flute.sum()} flutes and {(~found.flute).sum()} clarinets of {len(set(found.songs.tolist()))} songs"
    return Table(
        name="filters",
        title="Filters that best tell flutes from clarinets",
        caption=f"{origin.sentence()} Seed {found.record.seed}; {clips}. Flutes, clarinets: the filter's mean "
        "activation, and their difference in standard deviations over these excerpts with its "
        f"{level:.0%} basic bootstrap interval over songs ({replicates:,} replicates). Area: under the ROC curve of "
        "that, for the instrument it answers more to, 0.5 for a filter that tells nothing. Bar: the area that the best "
        f"filter of the layer does not exceed in 95% of {permutations:,} permutations of the songs' labels; a layer of "
        "many filters has some that tell by chance. In the order of how far the area lies above the bar. The filters "
        "were picked on the very excerpts that they are measured on, so that the intervals flatter them; what counts "
        "is the last column, whether the area exceeds the bar.",
        notes="",
        frame=pd.DataFrame(rows).astype(dict.fromkeys(("difference", "difference_low", "difference_high"), float)),
        columns=(
            Column("place", "", "text"),
            Column("name_title", "Layer, filter", "text"),
            Column("answers_more_to", "Answers more to", "text"),
            Column("flute", "Flutes", "score"),
            Column("clarinet", "Clarinets", "score"),
            Column("difference", f"Flutes {MINUS} clarinets, SD", "difference"),
            Column("area", "Area", "score"),
            Column("bar", "Bar", "score"),
            Column("beyond_chance", "Beyond chance", "text"),
        ),
        group=("place",),
        section="section",
        provenance=origin,
    )
