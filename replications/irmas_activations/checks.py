"""What the paper says in words of flutes and clarinets, decided by counting and measuring."""

import numpy as np

from harness.analysis.measured import decided
from harness.analysis.study import Analysis
from harness.corpora import irmas
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, decide, of_seeds
from harness.studies.records import KEPT
from replications.irmas_activations import filter_activations
from replications.irmas_activations.comparison import COMPARED, f1_of_both, odds_ratio
from replications.irmas_activations.filter_activations import FEWEST, LAYERS, filters_of, layers_of

#: Within what factor two ratios of flutes to clarinets are similar; trials of medicines call that equivalent. It moves
#: an F1 of 0.57, at the flute's share of the test excerpts, by 0.03 to 0.04.
SIMILAR = 1.25
NOT_MEASURED = Finding("not judged: of no trial the activations of filters were measured", "")


def similar_distributions(analysis: Analysis, *, level: float) -> Finding:
    """Whether there are as many flutes for a clarinet in testing as in training, by the published counts of IRMAS.

    Two one-sided tests, each at the level, decide on the ratio of odds (Woolf 1955): it holds if the interval lies
    within a factor `SIMILAR` of 1, and does not hold if it lies outside. The interval takes excerpts as independent,
    though several are of one song, so that it is rather too narrow.
    """
    flutes, clarinets = ([part[name] for part in (irmas.TEST, irmas.TRAINING)] for name in COMPARED)
    odds = odds_ratio(flutes[0], clarinets[0], flutes[1], clarinets[1], level=2 * level - 1)
    if odds is None:
        return Finding("not judged: one of the two is missing in training or in testing", "")
    ratio, low, high = odds
    evidence = (
        f"in IRMAS as published, flutes to clarinets {flutes[1]:,} : {clarinets[1]:,} in training, {flutes[0]:,} : "
        f"{clarinets[0]:,} in testing; ratio of the two {ratio:.2f} [{low:.2f}, {high:.2f}], similar within a factor "
        f"of {SIMILAR:g}"
    )
    inside, outside = low > 1 / SIMILAR and high < SIMILAR, high < 1 / SIMILAR or low > SIMILAR
    return Finding(HOLDS if inside else FAILS if outside else UNDECIDED, evidence, ratio, low, high)


def beyond_frequency(analysis: Analysis, *, level: float) -> Finding:
    """Whether flutes have a higher F1 than clarinets still, if these were as frequent; thresholds as published."""
    if not (records := analysis.select(analysis.study.arms[0].name)) or not set(COMPARED) <= set(analysis.classes):
        return Finding("not judged: no record of flutes and clarinets under the paper's condition", "")
    if not analysis.above_chance(records[0].arm, metric="f1_macro_unmasked"):
        return Finding("not applicable: the network is not above chance", "")
    found = f1_of_both(analysis, records).over(lambda f1: f1[..., [0]] - f1[..., [2]])
    low, high, _ = decided(found, level=level)
    if np.isnan(low):
        return Finding("not judged: no test excerpt has one of the two, or they are of too few songs", "")
    finding = decide(
        "F1 at the published threshold, flute minus clarinet at the flute's frequency",
        float(found.plain.mean()),
        low,
        high,
        rests_on=(f"{KEPT}/{records[0].folder.parent.name}",),
    )
    return of_seeds(finding, len(records))


def activation_bias_class(analysis: Analysis, *, level: float) -> Finding:
    """Whether each of the networks has a filter that tells flutes from clarinets better than chance allows.

    Labels are dealt anew to the songs: a p value is of one network and all of its filters, and the largest of them
    decides. That no filter tells the two apart is nothing that so few songs could show.
    """
    several = filter_activations.read(analysis)
    if not several:
        return NOT_MEASURED
    best = [next(filters_of(found, level=level).itertuples()) for found in several]
    p = max(float(f.p) for f in best)
    sides = [len(np.unique(several[0].songs[side])) for side in (several[0].flute, ~several[0].flute)]
    evidence = (
        f"songs with flutes {sides[0]}, with clarinets {sides[1]}; the best filters of the {len(best)} networks: "
        + ", ".join(f"{LAYERS[f.stage]}, {f.filter} (area {f.area:.2f}, p = {f.p:.2g})" for f in best)
        + "; p by permutations of songs, of that network alone and for all of its filters together"
    )
    finding = Finding(HOLDS if p <= 1 - level else UNDECIDED, evidence, p, rests_on=_rests_on(several))
    return of_seeds(finding, len(several))


def activation_bias_correct(analysis: Analysis, *, level: float) -> Finding:
    """Whether the mean activation of a layer differs in each network between flutes recognised and flutes missed.

    Excerpts with a flute alone and the others are compared each among themselves, and songs exchange what is recognised
    of them: a p value is of one network and all of its layers, and the largest of those of a layer decides. That no
    layer differs is nothing that so few songs could show.
    """
    several = filter_activations.read(analysis)
    if not several:
        return NOT_MEASURED
    tested = [rows for found in several if (rows := layers_of(found, "flute", level=level)) is not None]
    if not tested:
        return Finding(
            f"not judged: fewer than {FEWEST} songs have comparable flutes that are recognised, or missed", ""
        )
    p = np.max([rows["p"] for rows in tested], axis=0)
    gaps = np.mean([rows["difference"] for rows in tested], axis=0)
    best = int(p.argmin())
    evidence = (
        f"flutes recognised minus missed in {len(tested)} networks: layers that differ in each of them: "
        f"{', '.join(np.array(list(LAYERS.values()))[p <= 1 - level]) or 'none'}; the clearest, "
        f"{list(LAYERS.values())[best]}, by {gaps[best]:+.2f} standard deviations, p = {p[best]:.2g} at most, by "
        "permutations of songs, of one network alone and for all of its layers together"
    ).replace("-", "\u2212")
    verdict = HOLDS if p[best] <= 1 - level else UNDECIDED
    return of_seeds(Finding(verdict, evidence, float(p[best]), rests_on=_rests_on(several)), len(tested))


def _rests_on(several: list[filter_activations.FilterActivations]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{KEPT}/{found.record.folder.parent.name}" for found in several))
