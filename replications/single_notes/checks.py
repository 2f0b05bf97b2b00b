"""What the thesis says in words, decided by measuring."""

import numpy as np
import pandas as pd

from harness.analysis.measured import of_seeds_alone
from harness.analysis.study import Analysis, Contrast, Side
from harness.studies.claims import FAILS, HOLDS, ONE_SEED, UNDECIDED, Finding, decide, of_seeds
from harness.studies.records import KEPT

SET_UPS = ("setup_1", "setup_2", "setup_3", "setup_4")
#: The epoch from which set-up 1 is said to stagnate (6.1).
FROM_EPOCH = 30
#: Our reading of "drastic" (6.2): more than lies between the best and the worst set-up's test accuracy.
DRASTIC = 0.06
RATES = ("high-rate", "low-rate")


def adaptable(analysis: Analysis, *, level: float) -> Finding:
    """Whether every set-up names more notes right than naming the most frequent instrument does.

    Returns
    -------
    Finding
        Of the set-up that is least above chance; the four share the level.
    """
    if missing := [name for name in SET_UPS if not analysis.select(name)]:
        return Finding(f"not judged: no record of {missing[0]}", "")
    records = [r for name in SET_UPS for r in analysis.select(name)]
    strict = 1 - (1 - level) / len(SET_UPS)
    alone = Analysis(analysis.study, records, analysis.clips, replicates=analysis.replicates, level=strict)
    rows = alone.estimate(records, metrics=["accuracy"])
    if (notes := rows["note"].max()) != "":
        return Finding(f"not judged: {notes}", "")
    low, value, high = (rows[name] - rows["chance"] for name in ("low", "mean", "high"))
    # One that is certainly below chance decides against it; else the one that is least certainly above.
    least = high.idxmin() if (high < 0).any() else low.idxmin()
    said = f"accuracy above chance, the least of the four, {rows['arm'][least]}"
    rested = tuple(f"{KEPT}/{name}" for name in SET_UPS)
    found = decide(said, value[least], low[least], high[least], rests_on=rested)
    return of_seeds(found, rows["seeds"].min())


def transfer_helps(analysis: Analysis, *, level: float) -> Finding:
    """Whether set-up 4 is better behind the published base than behind one that has never seen a picture.

    Returns
    -------
    Finding
        By the simultaneous interval of the page, at its own level.
    """
    found = _against_thesis(analysis, "random-weights")
    if isinstance(found, str):
        return Finding(f"not judged: {found}", "")
    value, low, high, seeds = found
    rested = (f"{KEPT}/setup_4", f"{KEPT}/setup_4@random-weights")
    return of_seeds(decide("accuracy, published minus random base", -value, -high, -low, rests_on=rested), seeds)


def stagnates(analysis: Analysis, *, level: float) -> Finding:
    """Whether the validation accuracy of set-up 4 still gains more than that of set-up 1 from epoch 30 on.

    Returns
    -------
    Finding
        Over seeds alone: how sure the clips make it is not in the histories.
    """
    late, early = ({r.seed: r.history() for r in analysis.select(name)} for name in ("setup_4", "setup_1"))
    gains = [
        _gain(late[seed]) - _gain(early[seed])
        for seed in late.keys() & early.keys()
        if min(len(late[seed]), len(early[seed])) > FROM_EPOCH
    ]
    if not gains:
        return Finding(f"not judged: no seed was trained beyond epoch {FROM_EPOCH}", "")
    said = f"gain from epoch {FROM_EPOCH} on, set-up 4 minus 1"
    if len(gains) == 1:
        return Finding(ONE_SEED, f"{said}: {gains[0]:+.3f}".replace("-", "\u2212"), gains[0])
    mean, low, high, _ = of_seeds_alone(gains, level=level, bounds=(-2.0, 2.0))
    return decide(said, mean, low, high, rests_on=(f"{KEPT}/setup_4", f"{KEPT}/setup_1"))


def rate_matters(analysis: Analysis, *, level: float) -> Finding:
    """Whether one of the other learning rates changes the accuracy of set-up 4 drastically.

    Returns
    -------
    Finding
        It holds if the interval of either change lies beyond the bound, on either side; it does not if both lie within.
        The intervals are simultaneous ones of the page, at its own level.
    """
    verdicts, said, seeds = [], [], []
    for condition in RATES:
        found = _against_thesis(analysis, condition)
        if isinstance(found, str):
            return Finding(f"not judged: {found}", "")
        value, low, high, count = found
        beyond, within = low > DRASTIC or high < -DRASTIC, low > -DRASTIC and high < DRASTIC
        verdicts.append(HOLDS if beyond else FAILS if within else UNDECIDED)
        title = analysis.study.condition(condition).title
        said.append(decide(f"accuracy, {title} minus as published", value, low, high).evidence)
        seeds.append(count)
    verdict = HOLDS if HOLDS in verdicts else FAILS if set(verdicts) == {FAILS} else UNDECIDED
    rested = (f"{KEPT}/setup_4", *(f"{KEPT}/setup_4@{condition}" for condition in RATES))
    return of_seeds(Finding(verdict, "; ".join(said), rests_on=rested), min(seeds))


def _gain(history: pd.DataFrame) -> float:
    """What the validation accuracy gains from that epoch to the last."""
    return float(history["accuracy"].iloc[-1] - history.set_index("epoch")["accuracy"][FROM_EPOCH])


def _against_thesis(analysis: Analysis, condition: str) -> tuple[float, float, float, int] | str:
    """Accuracy of set-up 4 under a condition minus the thesis', with its interval and seeds; or what is missing."""
    for name in (analysis.base, condition):
        if not analysis.select("setup_4", name):
            return f"no record of setup_4 under {analysis.study.condition(name).title!r}"
    found = analysis.found(Contrast(Side(("setup_4",), condition=condition), Side(("setup_4",)), "accuracy"))
    if found is None:
        return "the two share no seed"
    row, kind = found[1], "_adjusted" if np.isfinite(found[1]["low_adjusted"]) else ""  # of one seed there is no other
    return row["difference"], row[f"low{kind}"], row[f"high{kind}"], int(row["seeds"])
