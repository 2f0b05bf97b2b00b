"""The genre study's tables: the write-up's line beside ours, what the split leaks, and how much the kernel matters."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import write_trials
from rich.console import Console
from scipy import stats

from harness.metrics import multiclass, uncertainty
from harness.report import estimates
from harness.report import tables as writing
from harness.report.contrasts import Scores, Side
from harness.studies import study as studies
from harness.studies.records import Record, by_clip, find_records
from harness.studies.study import Study
from replications.gtzan_cam import kernels, trials
from replications.gtzan_cam import tables as making

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SKILLS = {"base": 0.3, "masked": 0.33, "cam": 0.27, "masked_loss": 0.3, "base_5x5": 0.3, "base_3x9": 0.5, "base_9x3": 0}
SEGMENTS = [f"{genre}.{track:05d}#{number}" for genre in GENRES for track in range(12) for number in range(10)]
LABELS = np.eye(10, dtype=np.uint8)[np.repeat(np.arange(10), 120)]


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("gtzan_cam")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    return write_trials(
        tmp_path_factory.mktemp("runs"), study, conditions=["paper", "track", "filtered"], seeds=2, sizes=(100, 150),
        classes=GENRES, skills=SKILLS, corpus="pocket-gtzan", clips=(SEGMENTS, LABELS),
    )  # fmt: skip


def test_what_is_there_is_shown(study: Study, records: list[Record]) -> None:
    def names(some: list[Record]) -> list[str]:
        return [table.name for table in making.tables(study, some)]

    assert names(records) == ["results", "protocols", "kernels"]
    assert names([r for r in records if r.condition == "track"]) == ["results", "protocols"]
    assert names([r for r in records if r.arm == "cam" and r.condition == "filtered"]) == ["results", "protocols"]
    assert names([r for r in records if r.arm == "base_3x9"]) == []
    alone = making.tables(study, [r for r in records if r.condition == "paper" and r.seed == 1])
    assert [table.name for table in alone] == ["results", "protocols", "kernels"]
    for table in alone:  # all of them can be printed and written
        console = Console(file=io.StringIO(), width=100)
        console.print(writing.to_terminal(table))
        assert "nan" not in console.file.getvalue()
        assert "nan" not in writing.to_markdown(table) + writing.to_latex(table)


def test_the_write_ups_line_stands_beside_ours(study: Study, records: list[Record]) -> None:
    table = making.result_table(study, records, replicates=100)
    frame = table.frame.set_index(["arm", "part_of_line"])
    assert list(dict.fromkeys(table.frame["arm"])) == ["base", "masked", "cam", "masked_loss"]
    printed = frame["published"].unstack().loc[["base", "masked", "cam"], ["train", "valid", "test"]].to_numpy()
    np.testing.assert_array_equal(
        printed, [[0.7738, 0.6708, 0.6823], [0.8301, 0.6844, 0.6990], [0.5155, 0.6823, 0.6812]]
    )
    # What the write-up prints of validation and test are whole numbers of 960ths.
    for value in printed[:, 1:].ravel():
        assert abs(value - round(960 * value) / 960) <= 0.5e-4 + 1e-9
    of_arm = estimates.select(records, "cam", "track")
    row = frame.loc[("cam", "test")]
    values = [r.data["metrics"]["test"]["accuracy"] for r in of_arm]
    assert row["ours_track"] == pytest.approx(np.mean(values))
    assert row["sd_track"] == pytest.approx(np.std(values, ddof=1))
    assert row["ours_track_low"] < row["ours_track"] < row["ours_track_high"]
    # Training accuracy: the mean over the epochs, not the last.
    means = [r.history()["train_accuracy"].mean() for r in of_arm]
    assert frame.loc[("cam", "train"), "ours_track"] == pytest.approx(np.mean(means))
    assert np.isnan(frame.loc[("cam", "train"), "ours_track_low"])
    assert np.isnan(frame.loc[("masked_loss", "test"), "published"])
    assert "Not a replication" in table.caption
    assert "interval over seeds and tracks together (100 replicates)" in table.caption


def test_intervals_are_over_tracks(study: Study, records: list[Record]) -> None:
    """Segments of a track are drawn together, which a bootstrap over segments would not do."""
    (record,) = [r for r in records if (r.arm, r.condition, r.seed) == ("base", "filtered", 0)]
    table = making.result_table(study, [record], replicates=200)
    row = table.frame.set_index("part_of_line").loc["test"]
    p = record.predictions("test")
    tracks = np.array([key.partition("#")[0] for key in p.keys])
    low, high = uncertainty.bootstrap(
        p.labels, p.probabilities, metrics=["accuracy"], replicates=200, scoring=multiclass, groups=tracks
    )["accuracy"]
    # The two number the tracks in another order, so that they draw others; the intervals agree but for that.
    assert row["ours_filtered_low"] == pytest.approx(low, abs=0.03)
    assert row["ours_filtered_high"] == pytest.approx(high, abs=0.03)


def test_tables_and_verdicts_give_one_interval(study: Study) -> None:
    """Of the kept trials: cells of tables against what claims of the same nets are judged by."""
    kept = Path(__file__).parents[1] / "results" / "gtzan_cam" / "pocket-gtzan-pocket" / "records"
    found = [r for name in ("base", "base@track", "masked", "masked@track") for r in find_records(kept / name)]
    assert len({r.seed for r in found}) > 1
    scores = Scores(study, found, replicates=300)
    cells = making.protocol_table(study, found, replicates=300).frame.set_index(["arm", "unit"])
    for arm in ("base", "masked"):
        paper, track = Side((arm,)), Side((arm,), condition="track")
        for name, sides in (
            ("ours_paper", (paper, None)),
            ("ours_track", (track, None)),
            ("leak_track", (paper, track)),
        ):
            row, expected = cells.loc[(arm, "segments")], scores.contrast(*sides, "accuracy")
            ours = [row[f"{name}{end}"] for end in ("", "_low", "_high")]
            assert ours == pytest.approx([expected.replicates.score, *expected.interval()], abs=1e-12)
    # Seeds vary much more than tracks do: an interval over tracks alone would claim to know what a split leaks.
    assert cells.loc[("base", "segments"), "leak_track_low"] < 0


def test_the_leak_is_the_difference_of_the_protocols(study: Study, records: list[Record]) -> None:
    table = making.protocol_table(study, records, replicates=100)
    frame = table.frame.set_index(["arm", "unit"])
    assert len(frame) == 8
    for arm in ("base", "cam"):
        for unit in ("segments", "tracks"):
            row, expected = frame.loc[(arm, unit)], {}
            for condition in ("paper", "track", "filtered"):
                scores = []
                for record in estimates.select(records, arm, condition):
                    p = record.predictions("test")
                    p = p if unit == "segments" else by_clip(p)
                    scores.append((p.probabilities.argmax(1) == p.labels.argmax(1)).mean())
                expected[condition] = np.mean(scores)
                assert row[f"ours_{condition}"] == pytest.approx(expected[condition])
            assert row["leak_track"] == pytest.approx(expected["paper"] - expected["track"])
            assert row["leak_filtered"] == pytest.approx(expected["paper"] - expected["filtered"])
            assert row["leak_track_low"] < row["leak_track"] < row["leak_track_high"]
    assert "random segments 1." in table.caption  # segments of a track in the test part
    assert "Leak (random segments \u2212 by track)" in writing.to_markdown(table)
    without = making.protocol_table(study, [r for r in records if r.condition != "paper"], replicates=50)
    assert not any(name.startswith("leak") for name in without.frame)
    assert "leak" not in without.title.lower()


def test_tracks_are_scored_by_the_mean_of_their_segments(records: list[Record]) -> None:
    (whole,) = trials.of_tracks(records[:1])
    p = whole.predictions("test")
    assert not any("#" in key for key in p.keys)
    segments = records[0].predictions("test")
    own = segments.probabilities[[key.startswith(f"{p.keys[3]}#") for key in segments.keys]]
    np.testing.assert_allclose(p.probabilities[3], own.mean(axis=0), rtol=1e-6)


def test_shapes_are_held_against_seeds() -> None:
    """Against scipy's analysis of variance, for which two-way is one-way once the seeds' means are taken away."""
    generator = np.random.default_rng(3)
    scores = generator.normal(0.6, 0.02, (4, 5)) + np.array([0, 0.05, 0.01, 0])[:, None]
    scores += generator.normal(0, 0.1, 5)  # seeds with easy and with hard splits
    found = kernels.sensitivity(scores)
    centred = scores - scores.mean(axis=0)
    one_way = stats.f_oneway(*centred)
    # One-way counts 16 degrees of freedom within; the seeds' means took 4 of them.
    assert found.f == pytest.approx(one_way.statistic * 12 / 16)
    assert found.p == pytest.approx(stats.f.sf(found.f, 3, 12))
    assert found.span == pytest.approx(np.ptp(scores.mean(axis=1)))
    assert found.of_seeds == pytest.approx(np.sqrt(np.mean([row.var(ddof=1) for row in scores])))
    assert found.p < 0.05
    assert "is told apart from chance" in kernels.in_words(found, choices=4, seeds=5)
    alike = kernels.sensitivity(generator.normal(0.6, 0.02, (4, 5)))
    assert alike.p > 0.05
    assert "cannot be told from chance" in kernels.in_words(alike, choices=4, seeds=5)
    assert kernels.sensitivity(np.array([[0.5], [0.7]])).p is None
    same = kernels.sensitivity(np.array([[0.5, 0.6], [0.5, 0.6]]))
    assert same.p == 1
    assert "With one seed nobody can say" in kernels.in_words(kernels.sensitivity(scores[:, :1]), choices=4, seeds=1)


def test_kernels_are_compared_with_the_first(study: Study, records: list[Record], tmp_path: Path) -> None:
    table = kernels.kernel_table(study, records, replicates=100)
    frame = table.frame.set_index("kernel")
    assert list(frame.index) == ["3 x 3", "5 x 5", "3 x 9", "9 x 3"]
    means = [
        np.mean([r.data["metrics"]["test"]["accuracy"] for r in estimates.select(records, arm, "paper")])
        for arm in ("base", "base_5x5", "base_3x9", "base_9x3")
    ]
    np.testing.assert_allclose(frame["ours"], means)
    np.testing.assert_allclose(frame["gain"][1:], np.subtract(means[1:], means[0]))
    assert f"The 4 shapes span {np.ptp(means):.3f} of accuracy" in table.caption
    assert "is told apart from chance" in table.caption  # one of them guesses
    writing.write(table, tmp_path)
    assert list(pd.read_csv(tmp_path / "kernels.csv")["parameters"]) == [420_362, 584_714, 605_258, 605_258]
