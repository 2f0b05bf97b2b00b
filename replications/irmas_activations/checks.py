"""What the paper says in words of flutes and clarinets, decided by counting and measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from harness import corpora
from harness.corpora import irmas
from harness.metrics import uncertainty
from harness.metrics.seeds import Replicates, joint
from harness.report.contrasts import rests_on
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, decide, of_seeds, table_rows
from harness.studies.records import Record
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.answers import BY_CHANCE, FEWEST
from replications.irmas_activations.comparison import COMPARED, f1_at, odds_ratio

UNITS = "songs"
#: The table that takes the networks themselves to make.
LAYERS = "layers"
#: Within what factor two ratios of flutes to clarinets are similar; trials of medicines call that equivalent. It moves
#: an F1 of 0.57, at the flute's share of the test excerpts, by 0.03 to 0.04.
SIMILAR = 1.25
#: A difference in standard deviations that is small (Cohen 1988), and the area under the ROC curve that goes with it.
SMALL = 0.2
SMALL_AREA = float(norm.cdf(SMALL / 2**0.5))


def units(records: Sequence[Record]) -> dict[str, str]:
    """Which song each excerpt is of.

    Parameters
    ----------
    records
        Of trials on one corpus.

    Returns
    -------
    dict of str to str
        By key.
    """
    return scores.songs_of(corpora.load(records[0].data["corpus"]))


def similar_distributions(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether there are as many flutes for a clarinet in testing as in training, by the published counts.

    Parameters
    ----------
    study, records, results
        As for every check; the counts are those of IRMAS, whatever the trials were made on.

    Returns
    -------
    Finding
        By two one-sided tests at 95 %, which the 90 % interval of the ratio of odds (Woolf 1955) decides: it holds if
        that lies within a factor `SIMILAR` of 1, and does not hold if it lies outside. The interval takes excerpts as
        independent, though several are of one song, so that it is rather too narrow.
    """
    flutes, clarinets = ([part[name] for part in (irmas.TEST, irmas.TRAINING)] for name in COMPARED)
    odds = odds_ratio(flutes[0], clarinets[0], flutes[1], clarinets[1], level=0.9)
    if odds is None:
        return Finding("not judged: one of the two is missing in training or in testing", "")
    ratio, low, high = odds
    evidence = (
        f"flutes to clarinets {flutes[1]:,} : {clarinets[1]:,} in training, {flutes[0]:,} : {clarinets[0]:,} in "
        f"testing; ratio of the two {ratio:.2f} [{low:.2f}, {high:.2f}], similar within a factor of {SIMILAR:g}"
    )
    inside, outside = low > 1 / SIMILAR and high < SIMILAR, high < 1 / SIMILAR or low > SIMILAR
    return Finding(HOLDS if inside else FAILS if outside else UNDECIDED, evidence, ratio, low, high)


def beyond_frequency(study: Study, records: Sequence[Record], results: Path, *, replicates: int = 1000) -> Finding:
    """Whether flutes have a higher F1 than clarinets still, if these were as frequent.

    Parameters
    ----------
    study, records, results
        As for every check; thresholds as published.
    replicates
        Of the bootstrap.

    Returns
    -------
    Finding
        Of the difference, over seeds and songs together.
    """
    base = [r for r in records if r.condition == study.conditions[0].name]
    if not base or not set(COMPARED) <= set(base[0].data["classes"]):
        return Finding("not judged: no record of flutes and clarinets under the paper's condition", "")
    flute, clarinet = (list(base[0].data["classes"]).index(name) for name in COMPARED)
    songs, gains = units(base), []
    for record in sorted(base, key=lambda r: r.seed):
        p = record.predictions("test")
        counted = scores.weights(p.keys, songs, replicates).astype(float)
        predicted = p.probabilities >= record.data["protocol"]["threshold"]
        share = counted @ p.labels[:, flute] / counted.sum(axis=1)
        of_flute = f1_at(p.labels[:, flute], predicted[:, flute], counted)
        gains.append(of_flute - f1_at(p.labels[:, clarinet], predicted[:, clarinet], counted, share))
    values = np.array(gains)
    if np.isnan(values[:, 0]).any():
        return Finding("not judged: no test excerpt has one of the two", "")
    gain = Replicates(values[:, 0], values[:, 1:])
    low, high = uncertainty.interval(gain.score, joint(gain), bounds=(-1.0, 1.0))
    rested = rests_on(base)
    evidence = "F1 at the published threshold, flute minus clarinet at the flute's frequency"
    finding = decide(evidence, gain.score, low, high, rests_on=rested)
    return of_seeds(finding, gain.seeds)


def activation_bias_class(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether filters of more layers than chance allows tell flutes from clarinets.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Of the number of layers whose best filter, mean over seeds, is beyond what it does not exceed in 95 % of the
        permutations of the songs' labels; it holds if few permutations have as many such layers. It does not hold if no
        layer's best filter, even with what chance takes or gives, has the area of a small difference.
    """
    rows = table_rows(results, LAYERS)
    if rows is None:
        return Finding("not judged: no network was asked for its layers", "")
    if rows["class_p"].isna().any():
        return Finding(f"not judged: fewer than {FEWEST} songs have a flute and no clarinet, or the reverse", "")
    small = rows["best"] + rows["bar"] - 0.5 < SMALL_AREA
    return _of_layers(rows, "class", small, "the best filter tells the two apart")


def activation_bias_correct(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether more layers than chance allows answer differently to flutes that are recognised.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Of the number of layers whose mean activation differs more than in 95 % of the permutations in which songs
        exchange what is recognised of them; it holds if few permutations have as many such layers. Excerpts with a
        flute alone and the others are compared each among themselves. It does not hold if the 95 % intervals of all
        differences lie within a small one.
    """
    rows = table_rows(results, LAYERS)
    if rows is None or rows["flute_p"].isna().any():
        return Finding(
            f"not judged: fewer than {FEWEST} songs have comparable flutes that are recognised, or missed, or no "
            "network was asked",
            "",
        )
    small = (rows["flute_low"] > -SMALL) & (rows["flute_high"] < SMALL)
    return _of_layers(rows, "flute", small, "recognised and missed flutes differ")


def _of_layers(rows: pd.DataFrame, name: str, small: pd.Series, evidence: str) -> Finding:
    """Whether so many layers are beyond chance, by the permutations, which all layers share."""
    count, unable = int(rows[f"{name}_beyond"].sum()), int((~rows[f"{name}_able"].astype(bool)).sum())
    chance = float(rows[f"{name}_p"].iloc[0])
    could_not = f"; {unable} could not be, as chance tells so few songs apart without fault" if unable else ""
    finding = Finding(
        HOLDS if chance < BY_CHANCE else FAILS if small.all() else UNDECIDED,
        f"in {count} of {len(rows)} layers {evidence} more than in 95 % of the permutations of songs{could_not}; in "
        f"{int(small.sum())} by little at most; in as many by chance with p = {chance:.2g}",
        count,
        rests_on=(f"{LAYERS}.csv",),
    )
    return of_seeds(finding, int(rows[f"{name}_seeds"].min()))
