"""The genre study's checks, on planted trials and measurements that they must accept, refuse, or leave undecided."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import write_trials

from harness.analysis.study import Analysis
from harness.explain.stability import deviation, find_peaks
from harness.studies import study as studies
from harness.studies.records import Measured, Record, write_measured, write_predictions
from harness.studies.study import Study
from replications.gtzan_cam import checks, class_stems, peak_stability
from replications.gtzan_cam.interpretability import interpretability_table
from replications.gtzan_cam.trials import level_of_one

STUDY = studies.load("gtzan_cam")
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
KEYS = [f"{GENRES[track % 10]}.{track:05d}#{number}" for track in range(200) for number in range(5)]
CLIPS = (KEYS, np.eye(10, dtype=np.uint8)[np.arange(1000) // 5 % 10])
LEVEL, SEEDS = 0.95, 3


# Kernels.


def kernels(folder: Path, skills: Mapping[str, float], size: int = 600) -> list[Record]:
    return write_trials(
        folder, STUDY, arms=list(skills), conditions=["paper"], seeds=4, sizes=(size // 2, size), classes=GENRES,
        skills=skills, corpus="pocket-gtzan", clips=CLIPS,
    )  # fmt: skip


def size_matters(records: list[Record], study: Study = STUDY) -> str:
    return checks.sensitive_to_filter_size(Analysis(study, records, replicates=300), level=LEVEL).verdict


@pytest.mark.parametrize(
    ("skills", "size", "verdict"),
    [
        ((0.5, 0.5, 0.1), 600, "holds"),
        ((0.1, 0.5, 0.5), 600, "holds"),  # whichever shape it is
        ((0.7, 0.7, 0.7), 600, "does not hold"),
        ((0.3, 0.3, 0.3), 60, "undecided"),  # alike, and not known well enough
        ((0.0, 0.0, 0.0), 600, "not applicable: no shape is above chance"),
    ],
)
def test_filter_size_matters_if_any_two_shapes_differ(
    tmp_path: Path, skills: tuple[float, ...], size: int, verdict: str
) -> None:
    records = kernels(tmp_path, dict(zip(("base", "base_5x5", "base_9x3"), skills, strict=True)), size)
    assert size_matters(records) == verdict
    assert size_matters([r for r in records if r.arm == "base"]).startswith("not judged: fewer than two shapes")
    if "applicable" not in verdict:
        assert size_matters([r for r in records if r.seed == 0]) == "undecided: one seed"


def test_a_tie_on_the_validation_part_decides_nothing(tmp_path: Path) -> None:
    """Shapes that tie there and differ on the test part: which of them comes first in study.toml is no matter."""
    records = kernels(tmp_path, {"base": 0.5, "base_5x5": 0.5, "base_9x3": 0.1})
    valid = {r.seed: r.predictions("valid") for r in records if r.arm == "base"}
    for record in records:
        write_predictions(record.folder, {**record.parts(), "valid": valid[record.seed]})
    turned = replace(STUDY, arms=tuple(reversed(STUDY.arms)))
    assert size_matters(records) == size_matters(records, turned) == "holds"


# What was measured of the nets.


def asked(folder: Path, measured: Callable[[str, int], dict[str, Measured]], seeds: int = SEEDS) -> Analysis:
    """Trials by track, with what is given by arm and seed as if it had been measured."""
    arms = ["base", "masked", "masked_loss", "cam"]
    found = write_trials(
        folder, STUDY, arms=arms, conditions=["track"], seeds=seeds, sizes=(20, 40), classes=GENRES,
        skills=dict.fromkeys((a.name for a in STUDY.arms), 0.3), corpus="pocket-gtzan", clips=CLIPS,
    )  # fmt: skip
    records = []
    for r in found:
        files, columns = write_measured(r.folder, measured(r.arm, r.seed))
        listed = {**r.data["files"], **dict.fromkeys(files, "")}
        records.append(Record(r.folder, {**r.data, "files": listed, "measured": columns}))
    return Analysis(STUDY, records, replicates=300)


def shares(even: float, untrained: float, tracks: int = 20) -> Callable[[str, int], dict[str, Measured]]:
    """Maps whose shares lie so much above those of an even map, and of the net before training."""

    def of(arm: str, seed: int) -> dict[str, Measured]:
        noise = np.random.default_rng([seed, len(arm)]).normal(0, 0.03, (3, 2 * tracks))
        key = [f"country.{track:05d}#{number}" for track in range(tracks) for number in range(2)]
        share, flat, random = noise + np.array([0.4, 0.4 - even, 0.4 - untrained])[:, None]
        columns = dict(zip(class_stems.COLUMNS, (key, "country", "drums", share, flat, random), strict=True))
        return {"shares": pd.DataFrame(columns)}

    return of


@pytest.mark.parametrize(
    ("even", "untrained", "verdict"),
    [
        (0.1, 0.1, "holds"),
        (0.1, 0.0, "undecided"),
        (0.1, -0.1, "does not hold"),
        (-0.1, 0.1, "does not hold"),
        (0.0, 0.0, "undecided"),
    ],
)
def test_maps_point_at_parts_if_they_beat_all_that_knows_nothing(
    tmp_path: Path, even: float, untrained: float, verdict: str
) -> None:
    analysis = asked(tmp_path, shares(even, untrained))
    for check in (checks.cam_points, checks.country_drums):
        judged = check(analysis, level=LEVEL)
        assert judged.verdict == verdict
        assert "against an even map" in judged.evidence
        assert "against random weights" in judged.evidence
    assert judged.rests_on == ("records/base@track", "records/masked@track")


def test_few_tracks_and_one_seed_settle_nothing(tmp_path: Path) -> None:
    few = asked(tmp_path / "few", shares(0.1, 0.1, tracks=4))
    judged = checks.country_drums(few, level=LEVEL)
    assert judged.verdict == "not judged: 4 tracks"
    assert "nan" not in judged.evidence
    one = asked(tmp_path / "one", shares(0.1, 0.1), seeds=1)
    assert checks.cam_points(one, level=LEVEL).verdict == "undecided: one seed"
    without = asked(tmp_path / "none", lambda arm, seed: {})
    for check in (checks.cam_points, checks.country_drums, checks.masks_steady):
        assert check(without, level=LEVEL).verdict.startswith("not judged: the nets were not asked")
    assert interpretability_table(without) is None


def test_one_of_several_intervals_decides_by_a_share_of_the_level(tmp_path: Path) -> None:
    """Four intervals at 95 % would decide something in up to a fifth of all pages on which nothing is true."""
    found = []
    for number, below in enumerate(np.linspace(0.0, 0.012, 7)):
        analysis = asked(tmp_path / str(number), shares(0.1, -below))
        lows = [class_stems.share_gain(analysis, "track", arm, "untrained", LEVEL) for arm in ("base", "masked")]
        p, verdict = min(gain.p for gain in lows), checks.country_drums(analysis, level=LEVEL).verdict
        assert verdict == ("does not hold" if p < 1 - level_of_one(LEVEL) else "undecided")
        found.append((p < 1 - LEVEL, verdict))
    assert (True, "undecided") in found  # one by one it would have been decided
    assert ("does not hold" in dict(found).values()) or found[-1][1] == "does not hold"


def peaks(frequency: float, time: float) -> Callable[[str, int], dict[str, Measured]]:
    """Peaks of base nets anywhere; those of nets with masks drawn to one place, by shares of the way."""

    def of(arm: str, seed: int) -> dict[str, Measured]:
        generator = np.random.default_rng([seed, len(arm)])
        height, width, many = 16, 10, (100, 24)
        rows, columns = generator.integers(height, size=many), generator.integers(width, size=many)
        if arm != "base":
            rows, columns = (np.rint(n / 2 + (a - n / 2) * (1 - share)).clip(0, n - 1).astype(int)
                             for a, n, share in ((rows, height, frequency), (columns, width, time)))  # fmt: skip
        cells = np.where(generator.random(many) < 0.8, rows * width + columns, -1).astype(np.int16)
        keys = np.array([f"rock.{track:05d}#{number}" for track in range(25) for number in range(4)])
        return {"peaks": {"keys": keys, "shape": np.array([height, width]), "trained": cells, "untrained": cells}}

    return of


@pytest.mark.parametrize(
    ("frequency", "time", "verdict"),
    [(0.4, 0.4, "holds"), (0.4, -0.4, "holds"), (0.0, 0.4, "undecided"), (-0.4, 0.4, "does not hold")],
)
def test_masks_are_steady_if_their_peaks_keep_to_a_frequency(
    tmp_path: Path, frequency: float, time: float, verdict: str
) -> None:
    analysis = asked(tmp_path, peaks(frequency, time))
    judged = checks.masks_steady(analysis, level=LEVEL)
    assert judged.verdict == verdict
    assert "in time (live filters 24 / 24)" in judged.evidence  # told, and decides nothing
    gain = peak_stability.peak_gain(analysis, "track", "masked", "base", "frequency", level_of_one(LEVEL))
    assert (judged.value, judged.low, judged.high) == (-gain.difference, -gain.high, -gain.low)
    frame = interpretability_table(analysis).frame
    row = frame[(frame["measure"] == "peak_frequency") & (frame["arm"] == "masked")].iloc[0]
    # The table has the interval of the verdict, at the level that the page gives each check.
    own = peak_stability.peak_gain(analysis, "track", "masked", "base", "frequency", level_of_one(analysis.check_level))
    assert row["difference"][:3] == (own.difference, own.low, own.high)


def test_deviations_of_stored_peaks_are_those_of_the_maps(tmp_path: Path) -> None:
    maps = np.maximum(np.random.default_rng(0).normal(-1.5, 1, (100, 24, 6, 5)), 0)
    whole = find_peaks(maps)
    flat = maps.reshape(100, 24, 30)
    cells = np.where(flat.max(axis=2) > 0, flat.argmax(axis=2), -1).astype(np.int16)
    keys = np.array([f"rock.{track:05d}#{number}" for track in range(25) for number in range(4)])
    none = np.zeros_like(cells)
    stored = {"keys": keys, "shape": np.array([6, 5]), "trained": cells, "untrained": none}
    analysis = asked(tmp_path, lambda arm, seed: {"peaks": stored} if arm == "base" else {}, seeds=2)
    for axis in peak_stability.AXES:
        gain = peak_stability.peak_gain(analysis, "track", "base", "untrained", axis, LEVEL)
        assert gain.value == pytest.approx(deviation(getattr(whole, axis), whole.active)[0])
        assert (gain.reference, gain.live, gain.units) == (0, (whole.live, 24), 25)
        assert peak_stability.peak_gain(analysis, "track", "masked", "base", axis, LEVEL) is None


def test_tables_doubt_what_checks_leave_undecided(tmp_path: Path) -> None:
    def both(arm: str, seed: int) -> dict[str, Measured]:
        live = np.where(np.arange(8) < 6, 9, 1)
        value = 0.2 + 0.1 * (arm == "masked_loss") + 0.01 * seed * (arm == "masked_loss")
        information = pd.DataFrame({"filter": range(1, 9), "active": live, "information": np.where(live > 1, value, 9)})
        of_masks = {"information": information} if arm.startswith("masked") else {}
        of_filters = peaks(0.4, 0.0)(arm, seed) if arm != "cam" else {}
        return shares(0.1, 0.0)(arm, seed) | of_filters | of_masks

    frame = interpretability_table(asked(tmp_path, both)).frame.set_index(["measure", "arm", "against"])["difference"]
    doubtful = {key: number.doubtful for key, number in frame.items()}
    assert doubtful["share_cam", "cam", "even"] is doubtful["share_deconvolved", "base", "even"] is False
    assert doubtful["share_cam", "cam", "untrained"] is doubtful["share_deconvolved", "base", "untrained"] is True
    assert doubtful["peak_frequency", "masked", "base"] is False
    assert doubtful["peak_frequency", "masked_loss", "masked"] is doubtful["peak_time", "masked", "base"] is True
    with_loss = frame["information", "masked_loss", "masked"]
    assert with_loss.value == pytest.approx(0.11)  # of live filters alone
    assert with_loss.low < 0.11 < with_loss.high
