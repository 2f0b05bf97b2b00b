"""What the thesis says in words, decided by measuring."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness import corpora
from harness.metrics import multiclass, uncertainty
from harness.metrics.seeds import Replicates, joint
from harness.report import estimates
from harness.report.contrasts import Scores, Side, rests_on
from harness.studies.claims import FAILS, HOLDS, UNDECIDED, Finding, decide, of_seeds
from harness.studies.records import Record
from harness.studies.study import Study

UNITS = "pitches of an instrument"
SET_UPS = ("setup_1", "setup_2", "setup_3", "setup_4")
#: The epoch from which set-up 1 is said to stagnate (6.1).
FROM_EPOCH = 30
#: Our reading of "drastic" (6.2): what lies between the set-ups' test accuracies.
DRASTIC = 0.05
RATES = ("high-rate", "low-rate")


def units(records: Sequence[Record]) -> dict[str, str]:
    """Which instrument and pitch each note is of, as takes of one are not independent of each other.

    Parameters
    ----------
    records
        Of trials; those tested on another corpus have its notes, too.

    Returns
    -------
    dict of str to str
        By key; a note of unknown pitch is left out.
    """
    names = dict.fromkeys(r.data["corpus"] for r in records)
    names |= dict.fromkeys(r.data["protocol"]["test_corpus"] for r in records if r.data["protocol"].get("test_corpus"))
    found: dict[str, str] = {}
    for clips in (corpora.load(name).clips for name in names):
        known = clips[clips["group"].notna()]
        found |= dict(zip(known["key"], known["group"], strict=True))
    return found


def adaptable(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether every set-up names more notes right than naming the most frequent instrument does.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Of the set-up that is least above chance.
    """
    scores, base, found, seeds = Scores(study, records), study.conditions[0].name, [], []
    for name in SET_UPS:
        c = scores.contrast(Side((name,)), None, "accuracy")
        if c.replicates is None:
            return Finding(f"not judged: {c.missing}", "")
        of_arm = [r.predictions("test") for r in estimates.select(records, name, base)]
        chance = float(np.mean([multiclass.chance(p.labels)["accuracy"] for p in of_arm]))
        low, high = c.interval()
        found.append((low - chance, c.replicates.score - chance, high - chance, name))
        seeds.append(c.replicates.seeds)
    # One that is certainly below chance decides against it; else the one that is least certainly above.
    low, value, high, name = min(found, key=lambda of_arm: of_arm[2] if of_arm[2] < 0 else of_arm[0])
    rested = rests_on(r for name in SET_UPS for r in estimates.select(records, name, base))
    said = f"accuracy above chance, the least of the four, {name}"
    return of_seeds(decide(said, value, low, high, rests_on=rested), min(seeds))


def transfer_helps(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether set-up 4 is better behind the published base than behind one that has never seen a picture.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Only where there are trials of both.
    """
    base = estimates.select(records, "setup_4", study.conditions[0].name)
    if not base or any(r.data["weights"]["kind"] == "random" for r in base):
        return Finding("not judged: no trial of set-up 4 here starts from published weights", "")
    found = Scores(study, records).contrast(
        Side(("setup_4",)), Side(("setup_4",), condition="random-weights"), "accuracy"
    )
    if found.replicates is None:
        return Finding(f"not judged: {found.missing}", "")
    rested = rests_on(found.records)
    score, seeds = found.replicates.score, found.replicates.seeds
    said = "accuracy, published minus random base"
    return of_seeds(decide(said, score, *found.interval(), rests_on=rested), seeds)


def stagnates(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether the validation accuracy of set-up 4 still gains more than that of set-up 1 from epoch 30 on.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        Over seeds alone: how sure the clips make it is not in the histories.
    """
    base = study.conditions[0].name
    gains = []
    for name in ("setup_4", "setup_1"):
        histories = {r.seed: r.history() for r in estimates.select(records, name, base)}
        gains.append(
            {
                seed: h["accuracy"].iloc[-1] - h.loc[h["epoch"] == FROM_EPOCH, "accuracy"].iloc[0]
                for seed, h in histories.items()
                if len(h) and h["epoch"].max() > FROM_EPOCH
            }
        )
    shared = sorted(set(gains[0]) & set(gains[1]))
    if len(shared) < 2:
        return Finding(f"not judged: fewer than two seeds were trained beyond epoch {FROM_EPOCH}", "")
    more = np.array([gains[0][seed] - gains[1][seed] for seed in shared])
    of_seeds = Replicates(more, np.repeat(more[:, None], 1000, axis=1))
    low, high = uncertainty.interval(of_seeds.score, joint(of_seeds), bounds=(-2.0, 2.0))
    rested = rests_on(r for name in ("setup_4", "setup_1") for r in estimates.select(records, name, base))
    return decide(f"gain from epoch {FROM_EPOCH} on, set-up 4 minus 1", of_seeds.score, low, high, rests_on=rested)


def rate_matters(study: Study, records: Sequence[Record], results: Path) -> Finding:
    """Whether one of the other learning rates changes the accuracy of set-up 4 drastically.

    Parameters
    ----------
    study, records, results
        As for every check.

    Returns
    -------
    Finding
        It holds if the interval of either change lies beyond the bound, on either side; it does not if both lie within.
    """
    scores, verdicts, said, rested, seeds = Scores(study, records), [], [], [], []
    for condition in RATES:
        c = scores.contrast(Side(("setup_4",), condition=condition), Side(("setup_4",)), "accuracy")
        if c.replicates is None:
            return Finding(f"not judged: {c.missing}", "")
        rested += c.records
        seeds.append(c.replicates.seeds)
        low, high = c.interval()
        inside = low > -DRASTIC and high < DRASTIC
        verdicts.append(HOLDS if low > DRASTIC or high < -DRASTIC else FAILS if inside else UNDECIDED)
        said.append(
            decide(f"accuracy, {study.condition(condition).title} minus as published", c.replicates.score, low, high)
        )
    verdict = HOLDS if HOLDS in verdicts else FAILS if set(verdicts) == {FAILS} else UNDECIDED
    finding = Finding(verdict, "; ".join(f.evidence for f in said), rests_on=rests_on(rested))
    return of_seeds(finding, min(seeds))
