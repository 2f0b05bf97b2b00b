"""What the paper says in words of flutes and clarinets, decided by counting and measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binom

from harness import corpora
from harness.corpora import irmas
from harness.metrics import uncertainty
from harness.metrics.seeds import Replicates, joint
from harness.report.contrasts import rests_on
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, decide, table_rows
from harness.studies.records import Record
from harness.studies.study import Study
from replications.irmas_activations import scores
from replications.irmas_activations.comparison import COMPARED, f1_at, odds_ratio

UNITS = "songs"
#: Share of layers that chance is allowed, and how improbable more of them must be.
BY_CHANCE = 0.05
#: The table that takes the networks themselves to make.
LAYERS = "layers"


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
        It does not hold if the interval of the ratio of odds (Woolf 1955) leaves out 1; that it holds cannot be
        shown so.
    """
    flutes, clarinets = ([part[name] for part in (irmas.TEST, irmas.TRAINING)] for name in COMPARED)
    ratio, low, high = odds_ratio(flutes[0], clarinets[0], flutes[1], clarinets[1])
    evidence = (
        f"flutes to clarinets {flutes[1]:,} : {clarinets[1]:,} in training, {flutes[0]:,} : {clarinets[0]:,} in "
        f"testing; ratio of the two {ratio:.2f} [{low:.2f}, {high:.2f}]"
    )
    return Finding(UNDECIDED if low <= 1 <= high else FAILS, evidence, ratio, low, high)


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
    return decide("F1, flute minus clarinet at the flute's frequency", gain.score, low, high, rests_on=rests_on(base))


def activation_bias_class(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether filters of more layers than chance allows tell flutes from clarinets.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Of the number of layers whose best filter is beyond what it stays below in 95 % of permutations.
    """
    rows = table_rows(results, LAYERS)
    if rows is None:
        return Finding("not judged: no network was asked for its layers", "")
    return _of_layers(rows["best"] > rows["bar"], "the best filter tells flutes from clarinets")


def activation_bias_correct(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether more layers than chance allows answer differently to flutes that are recognised.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Of the number of layers whose 95 % interval of the difference leaves out 0.
    """
    rows = table_rows(results, LAYERS)
    if rows is None or rows["flute_low"].isna().any():
        return Finding("not judged: too few flutes are recognised, or missed, or no network was asked", "")
    return _of_layers((rows["flute_low"] > 0) | (rows["flute_high"] < 0), "recognised and missed flutes differ")


def _of_layers(beyond: pd.Series, evidence: str) -> Finding:
    """Whether so many layers are beyond chance; they are not independent, so that the probability is rough."""
    count, layers = int(beyond.sum()), len(beyond)
    chance = float(binom.sf(count - 1, layers, BY_CHANCE))
    verdict = HOLDS if chance < BY_CHANCE else UNDECIDED
    return Finding(
        verdict,
        f"in {count} of {layers} layers {evidence}; by chance as many with p = {chance:.2g}",
        count,
        rests_on=(f"{LAYERS}.csv",),
    )
