"""The genre study's tables: the write-up's line beside ours, what the split leaks, and how much the kernel matters."""

import io
from pathlib import Path

import numpy as np
import pytest
from helpers import write_trials
from rich.console import Console

from harness.analysis.study import Analysis
from harness.report import writers
from harness.studies import study as studies
from harness.studies.clips import read_clips
from harness.studies.records import by_clip, find_records
from harness.studies.study import Study
from replications.gtzan_cam import tables as making

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SKILLS = {"base": 0.3, "masked": 0.33, "cam": 0.27, "masked_loss": 0.3, "base_5x5": 0.3, "base_3x9": 0.5, "base_9x3": 0}
SEGMENTS = [f"{genre}.{track:05d}#{number}" for genre in GENRES for track in range(12) for number in range(10)]
LABELS = np.eye(10, dtype=np.uint8)[np.repeat(np.arange(10), 120)]
KEPT = Path(__file__).parents[1] / "results" / "gtzan_cam" / "pocket-gtzan-pocket" / "records"


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("gtzan_cam")


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory, study: Study) -> Analysis:
    records = write_trials(
        tmp_path_factory.mktemp("runs"), study, conditions=["paper", "track", "filtered"], seeds=2, sizes=(100, 150),
        classes=GENRES, skills=SKILLS, corpus="pocket-gtzan", clips=(SEGMENTS, LABELS),
    )  # fmt: skip
    return Analysis(study, records, replicates=100)


def test_what_is_there_is_shown(study: Study, analysis: Analysis) -> None:
    def shown(**chosen: object) -> list[writers.Table]:
        some = [r for r in analysis.records if all(getattr(r, name) == value for name, value in chosen.items())]
        return making.tables(Analysis(study, some, replicates=50))

    assert [table.name for table in making.tables(analysis)] == ["results", "protocols", "kernels"]
    for chosen in ({"condition": "track"}, {"arm": "cam", "condition": "filtered"}):
        assert [table.name for table in shown(**chosen)] == ["results", "protocols"]
    assert shown(arm="base_3x9") == []
    alone = shown(condition="paper", seed=1)
    assert [table.name for table in alone] == ["results", "protocols", "kernels"]
    for table in alone:  # all of them can be printed and written
        console = Console(file=io.StringIO(), width=100)
        console.print(writers.to_terminal(table))
        assert "nan" not in console.file.getvalue() + writers.to_markdown(table) + writers.to_latex(table)


def test_the_write_ups_line_stands_beside_ours(analysis: Analysis) -> None:
    table = making.result_table(analysis)
    frame = table.frame.set_index(["arm", "part_of_line"])
    assert list(dict.fromkeys(table.frame["arm"])) == ["base", "masked", "cam", "masked_loss"]
    printed = frame["published"].unstack().loc[["base", "masked", "cam"], ["train", "valid", "test"]].to_numpy()
    np.testing.assert_array_equal(
        printed, [[0.7738, 0.6708, 0.6823], [0.8301, 0.6844, 0.6990], [0.5155, 0.6823, 0.6812]]
    )
    of_arm = analysis.select("cam", "track")
    row = frame.loc[("cam", "test")]
    values = [r.data["metrics"]["test"]["accuracy"] for r in of_arm]
    assert row["ours_track"].value == pytest.approx(np.mean(values))
    assert row["sd_track"] == pytest.approx(np.std(values, ddof=1))
    # Training accuracy: the mean over the epochs, not the last.
    means = [r.history()["train_accuracy"].mean() for r in of_arm]
    assert frame.loc[("cam", "train"), "ours_track"].value == pytest.approx(np.mean(means))
    assert np.isnan(frame.loc[("cam", "train"), "ours_track"].low)
    assert np.isnan(frame.loc[("masked_loss", "test"), "published"])
    letters = [analysis.letters(condition=name)["cam"] for name in ("paper", "track", "filtered")]
    assert row["tied"] == "/".join(letters)
    assert "Not a replication" in table.caption


def test_the_leak_is_the_difference_of_the_protocols(study: Study, analysis: Analysis) -> None:
    table = making.protocol_table(analysis)
    frame, line = table.frame.set_index(["arm", "unit"]), making.result_table(analysis).frame
    assert len(frame) == 8
    contrasts = analysis.contrasts.set_index(["above", "below", "metric"])
    for arm in ("base", "cam"):
        for unit in ("segments", "tracks"):
            row, expected = frame.loc[(arm, unit)], {}
            for condition in ("paper", "track", "filtered"):
                scores = []
                for record in analysis.select(arm, condition):
                    p = record.predictions("test")
                    p = p if unit == "segments" else by_clip(p)
                    scores.append((p.probabilities.argmax(1) == p.labels.argmax(1)).mean())
                expected[condition] = np.mean(scores)
                assert row[f"ours_{condition}"].value == pytest.approx(expected[condition])
            if unit == "segments":
                for other in ("track", "filtered"):
                    leak, wanted = row[f"leak_{other}"], contrasts.loc[(f"{arm}@{other}", arm, "accuracy")]
                    assert leak.value == pytest.approx(expected["paper"] - expected[other])
                    assert (leak.low, leak.high) == (-wanted["high_adjusted"], -wanted["low_adjusted"])
                    assert leak.doubtful == (wanted["decided"] == "")
        # One interval on the page for one score.
        of_line = line[(line["arm"] == arm) & (line["part_of_line"] == "test")].iloc[0]
        assert of_line["ours_paper"] == frame.loc[(arm, "segments"), "ours_paper"]
    assert "random segments 1." in table.caption  # segments of a track in the test part
    assert "Leak (random segments \u2212 by track)" in writers.to_markdown(table)
    some = [r for r in analysis.records if r.condition != "paper"]
    without = making.protocol_table(Analysis(study, some, replicates=50))
    assert not any(name.startswith("leak") for name in without.frame)
    assert "leak" not in without.title.lower()


def test_kernels_are_compared_with_the_first(analysis: Analysis) -> None:
    table = making.kernel_table(analysis)
    frame = table.frame.set_index("kernel")
    assert list(frame.index) == ["3 x 3", "5 x 5", "3 x 9", "9 x 3"]
    means = [
        np.mean([r.data["metrics"]["test"]["accuracy"] for r in analysis.select(arm)])
        for arm in ("base", "base_5x5", "base_3x9", "base_9x3")
    ]
    np.testing.assert_allclose([cell.value for cell in frame["ours"]], means)
    np.testing.assert_allclose([cell.value for cell in frame["gain"][1:]], np.subtract(means[1:], means[0]))
    assert f"The 4 shapes span {np.ptp(means):.3f} of accuracy" in table.caption
    assert list(frame["parameters"]) == [420_362, 584_714, 605_258, 605_258]
    # A difference to the first is doubtful exactly where the two share a letter.
    for tied, gain in zip(frame["tied"][1:], frame["gain"][1:], strict=True):
        assert gain.doubtful == bool(set(tied) & set(frame["tied"].iloc[0]))


def test_the_kept_trials_can_be_shown_without_what_was_not_measured(study: Study) -> None:
    analysis = Analysis(study, find_records(KEPT), read_clips(KEPT), replicates=50)
    assert [table.name for table in making.tables(analysis)][:4] == [
        "results", "protocols", "kernels", "results_released"
    ]  # fmt: skip
    released = making.released_table(analysis).frame.set_index(["arm", "part_of_line"])
    assert released.loc[("released_cam", "test"), "published"] == 0.6812
    assert released["ours_released"].map(lambda cell: 0 < cell.value < 1).all()
