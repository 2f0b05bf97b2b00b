"""How often the regression guard raises a false alarm, and what it sees: ``python benchmarks/simulations/guard.py``.

Everything starts from the predictions that are kept with the results. Trainings are drawn anew around them, in logits,
once for the kept trials and once for those that ran again, so that nothing is broken by construction:

- *another seed*: where the seeds of an arm share their clips, the mean of their logits and a random combination of
  their deviations, half of it the same for all clips of a class and half each clip's own, which has the covariance of
  the kept seeds; where each seed has clips of its own, a random shift,
  a random mixing and a random noise of the classes, about as large as where they share them.
- *rounding*: each logit moves by 2 % of a unit, independently.
- *a small step*: each network moves as a whole, by 5 % of the way to another seed of another arm.

Faults are then planted in the trials that ran again. The table is written to ``guard.md`` beside this file.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.analysis import guard, score_drop
from harness.analysis.score_drop import AGREEMENT, ARM, CELL, CLASS, LEVEL, STUDY, Drop, Kept, Place
from harness.studies import study as studies
from harness.studies.records import Predictions, Record

ROOT = Path(__file__).parents[2]
Networks = Mapping[Place, Predictions]
#: Of networks whose seeds share no clips, in standard deviations of their logits: shift, mixing and noise of classes.
SHIFT, MIXING, NOISE = 0.15, 0.18, 0.25
#: What part of a network's deviation goes through all clips of a class; the rest is each clip's.
WHOLE = 0.5
LEVELS = (STUDY, CLASS, ARM, CELL)


def kept_networks(results: Path = ROOT / "results") -> Iterator[tuple[str, list[Record], dict[Place, Predictions]]]:
    """Name of each study, its kept records on the pocket corpus, and their predictions on the test part."""
    for name in studies.names():
        for records in guard.baselines(studies.load(name), results).values():
            yield name, records, {(r.folder.parent.name, r.seed): r.predictions("test") for r in records}


def logits(p: Predictions) -> np.ndarray:
    """Of probabilities, none infinite."""
    bounded = np.clip(p.probabilities.astype(float), 1e-6, 1 - 1e-6)
    return np.log(bounded / (1 - bounded))


def with_logits(p: Predictions, values: np.ndarray) -> Predictions:
    """The same clips with other predictions."""
    return replace(p, probabilities=1 / (1 + np.exp(-values)))


def deviations(networks: Networks) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of arms whose three seeds or more share their clips: mean logits, and deviations scaled to their covariance."""
    found = {}
    for arm in dict.fromkeys(arm for arm, _ in networks):
        seeds = [p for (name, _), p in networks.items() if name == arm]
        if len(seeds) > 2 and all(np.array_equal(p.keys, seeds[0].keys) for p in seeds):
            values = np.array([logits(p) for p in seeds])
            mean = values.mean(axis=0)
            found[arm] = mean, (values - mean) / np.sqrt(len(values) - 1)
    return found


def moved(p: Predictions, generator: np.random.Generator) -> np.ndarray:
    """How another training might move the logits, where no other seed tells."""
    values = logits(p)
    classes, spread, centred = values.shape[1], values.std(), values - values.mean(axis=0)
    mixing = generator.normal(0, MIXING / np.sqrt(classes), (classes, classes))
    return (
        spread * (SHIFT * generator.normal(size=classes) + NOISE * generator.normal(size=values.shape))
        + centred @ mixing
    )


def another_seed(networks: Networks, generator: np.random.Generator) -> dict[Place, Predictions]:
    """Every network trained anew with another seed."""
    known, result = deviations(networks), {}
    for place, p in networks.items():
        if place[0] in known:
            mean, apart = known[place[0]]
            seeds, clips, classes = apart.shape
            whole, own = generator.normal(size=(seeds, 1, classes)), generator.normal(size=(seeds, clips, 1))
            weights = np.sqrt(WHOLE) * whole + np.sqrt(1 - WHOLE) * own
            result[place] = with_logits(p, mean + (weights * apart).sum(axis=0))
        else:
            result[place] = with_logits(p, logits(p) + moved(p, generator))
    return result


def rounding(networks: Networks, generator: np.random.Generator, size: float = 0.02) -> dict[Place, Predictions]:
    """Every logit moved a little by itself."""
    return {
        place: with_logits(p, logits(p) + size * generator.normal(size=p.probabilities.shape))
        for place, p in networks.items()
    }


def small_step(networks: Networks, generator: np.random.Generator, size: float = 0.05) -> dict[Place, Predictions]:
    """Every network moved a little as a whole; not by its own arm's deviations, which lead to and from better ones."""
    known, result = deviations(networks), {}
    for place, p in networks.items():
        others = [a for arm, (_, a) in known.items() if arm != place[0] and a.shape[1:] == p.probabilities.shape]
        if place[0] in known and others:
            apart = others[generator.integers(len(others))]
            step = np.tensordot(generator.normal(size=len(apart)), apart, 1)
        else:
            step = moved(p, generator)
        result[place] = with_logits(p, logits(p) + size * step)
    return result


WORLDS: dict[str, Callable] = {"another seed": another_seed, "rounding": rounding, "a small step": small_step}


# Faults: predictions, a random generator and a share of clips -> predictions.


def mixed_up(p: Predictions, generator: np.random.Generator, share: float = 1.0, columns=slice(None)) -> Predictions:
    """A share of the clips is given each other's predictions, of some classes or of all."""
    values = p.probabilities.copy()
    rows = np.flatnonzero(generator.random(len(values)) < share)
    values[rows[:, None], np.arange(values.shape[1])[columns]] = values[generator.permutation(rows)][:, columns]
    return replace(p, probabilities=values)


def halves(p: Predictions, generator: np.random.Generator) -> Predictions:
    """Every probability is 0.5."""
    return replace(p, probabilities=np.full_like(p.probabilities, 0.5))


def swapped(p: Predictions, generator: np.random.Generator) -> Predictions:
    """The first two classes are swapped."""
    return replace(p, probabilities=p.probabilities[:, [1, 0, *range(2, p.probabilities.shape[1])]])


def shifted(p: Predictions, generator: np.random.Generator) -> Predictions:
    """Every clip is given the predictions of the one before."""
    return replace(p, probabilities=np.roll(p.probabilities, 1, axis=0))


def one_class(p: Predictions, generator: np.random.Generator) -> Predictions:
    """The first class is dealt out anew among the clips."""
    return mixed_up(p, generator, columns=slice(1))


FAULTS: dict[str, Callable] = {
    "one class permuted in all arms": one_class,
    "every clip given another's": mixed_up,
    "all probabilities 0.5": halves,
    "two classes swapped": swapped,
    "shifted by one clip": shifted,
}


def judged(kept: Kept, now: Networks, *, studies: int = 1) -> list[Drop]:
    """The tests of one study, as if so many were run."""
    tests = kept.tests(now)
    return score_drop.judge([tests, *[tests[:1]] * (studies - 1)])[0]


def alarm(tests: Sequence[Drop], level: str = "") -> bool:
    """Whether anything fell or rose."""
    return any(min(d.fall, d.rise) < 1 - LEVEL for d in tests if d.level == (level or d.level))


def clips_alone(kept: Kept) -> Kept:
    """The test on clips that knows nothing of seeds: a candidate that was turned down."""
    other = Kept(kept.predictions)
    other._spreads = {
        score: replace(s, factors={k: 0 * f for k, f in s.factors.items()}, levels={})
        for score, s in other._spreads.items()
        if score != AGREEMENT
    }
    return other


def false_alarms(networks: Networks, runs: int, seed: int = 0) -> dict[str, float]:
    """Rates in clean runs, of the guard and of what it might have been."""
    generator, found = np.random.default_rng(seed), {}
    for world, draw in WORLDS.items():
        for _ in range(runs):
            kept, now = Kept(draw(networks, generator)), draw(networks, generator)
            found.setdefault(world, []).append(alarm(judged(kept, now)))
            if world == "another seed":
                first = {place: p for place, p in now.items() if not place[1]}
                found.setdefault("one seed again", []).append(alarm(judged(kept, first)))
                found.setdefault("clips alone", []).append(alarm(judged(clips_alone(kept), now)))
    return {name: float(np.mean(values)) for name, values in found.items()}


def least(tests: Sequence[Drop], level: str) -> list[float]:
    """The least share of mixed-up clips that is seen, of each place on a level."""
    places = dict.fromkeys((d.arm, d.name) for d in tests if d.level == level)
    return [min(d.seen for d in tests if (d.level, d.arm, d.name) == (level, *place)) for place in places]


def power(networks: Networks, runs: int, seed: int = 1) -> dict[str, float]:
    """How often what is called seen is seen: of the study, of a class in all arms, of an arm."""
    generator, found = np.random.default_rng(seed), {}
    for _ in range(runs):
        kept, now = Kept(another_seed(networks, generator)), another_seed(networks, generator)
        clean = judged(kept, now)
        for level in (STUDY, CLASS, ARM):
            able = [d for d in clean if d.level == level and d.seen < 0.9]
            if not able:
                continue
            arm, name = [(d.arm, d.name) for d in able][generator.integers(len(able))]
            share = min(d.seen for d in able if (d.arm, d.name) == (arm, name))
            columns = slice(None) if name < 0 else slice(name, name + 1)
            wrong = {k: mixed_up(p, generator, share, columns) if k[0] == (arm or k[0]) else p for k, p in now.items()}
            tests = judged(kept, wrong)
            fell = any(d.fall < 1 - LEVEL for d in tests if (d.level, d.arm, d.name) == (level, arm, name))
            found.setdefault(level, []).append(fell)
    return {level: float(np.mean(values)) for level, values in found.items()}


def faults_seen(networks: Networks, runs: int, seed: int = 2) -> dict[str, float]:
    """How often each fault is seen in trials that are as far from the kept ones as another seed, of five studies."""
    generator, found = np.random.default_rng(seed), {}
    for _ in range(runs):
        kept, now = Kept(another_seed(networks, generator)), another_seed(networks, generator)
        for name, fault in FAULTS.items():
            wrong = {place: fault(p, generator) for place, p in now.items()}
            tests = judged(kept, wrong, studies=5)
            found.setdefault(name, []).append(any(d.fall < 1 - LEVEL for d in tests))
    return {name: float(np.mean(values)) for name, values in found.items()}


def spread(shares: Sequence[float], points: float | None = None) -> str:
    """Lowest, median and highest, "never" where not even all clips would be seen."""
    low, middle, high = np.quantile(np.minimum(shares, 9), [0, 0.5, 1], method="nearest")
    said = [f"{v:.0%}" if v < 1 else "never" for v in dict.fromkeys((low, middle, high))]
    return " / ".join(said) + (f" ({middle * points:.3f})" if points and middle < 1 else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30, help="simulated runs of each study in each world")
    runs = parser.parse_args().runs
    start, rates, sight, faults, powers = time.process_time(), [], [], [], []
    for name, records, networks in kept_networks():
        study, kept = studies.load(name), Kept(networks)
        of_study = false_alarms(networks, runs)
        rates.append((name, len(networks), of_study))
        generator = np.random.default_rng(3)
        rooms = [
            abs(guard._score(r, study.metric, "test") - guard._without_skill(r, study.metric, "test")) for r in records
        ]
        near = judged(kept, rounding(networks, generator), studies=5)
        far = judged(Kept(another_seed(networks, generator)), another_seed(networks, generator), studies=5)
        for world, tests in (("another seed", far), ("rounding", near)):
            points = float(np.mean(rooms))
            cells = [spread(least(tests, level), points if level in (STUDY, ARM) else None) for level in LEVELS]
            sight.append([name, study.metric, world, *cells])
        powers.append((name, power(networks, max(4, runs // 3))))
        faults.append((name, faults_seen(networks, max(3, runs // 6))))
        print(name, of_study, powers[-1][1], faults[-1][1], f"{time.process_time() - start:.0f} s", flush=True)
    worlds = list(rates[0][2])
    means = [f"{np.mean([of[w] for _, _, of in rates]):.3f}" for w in worlds]
    text = f"""# What the regression guard sees

Made by `python benchmarks/simulations/guard.py` from the predictions that are kept with the results;
its first lines say how re-runs are drawn, and `harness/analysis/score_drop.py` what is tested.

## False alarms in clean runs

Share of {runs} simulated runs of each study in which anything at all was called fallen or better; {1 - LEVEL:.0%} is
stated. "One seed again": seed 0 of every arm only, as far as another seed. "Clips alone" is a paired test on clips that
knows nothing of seeds, which a re-run as far as another seed deceives; it is not used.

{
        table(
            ["study", "trials", *worlds],
            [[n, str(t), *(f"{of[w]:.2f}" for w in worlds)] for n, t, of in rates] + [["all", "", *means]],
        )
    }
## What is seen

Share of clips that, had they been given each other's predictions, would raise the alarm with 80 % in a run of all five
studies: lowest / median / highest over the classes, arms, or classes of arms; in brackets the points of the main score
that the median costs. "Never": not even all of them.

{
        table(
            [
                "study",
                "main score",
                "re-run as far as",
                "all arms",
                "a class in all arms",
                "an arm",
                "a class of an arm",
            ],
            sight,
        )
    }
Of what is called seen with 80 %, at random places, in re-runs as far as another seed, this was seen:

{
        table(
            ["study", STUDY, CLASS, ARM],
            [[n, *(f"{of[w]:.2f}" if w in of else "-" for w in (STUDY, CLASS, ARM))] for n, of in powers],
        )
    }
## Planted faults

In all arms, in re-runs as far as another seed, in a run of all five studies: how often each is seen.

{table(["study", *FAULTS], [[n, *(f"{of[f]:.2f}" for f in FAULTS)] for n, of in faults])}"""
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
