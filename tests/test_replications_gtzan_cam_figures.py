"""The genre study's figures: what they show and how they print."""

import numpy as np
import pytest
from helpers import assert_readable, write_trials
from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.studies import study as studies
from harness.studies.study import Study
from replications.gtzan_cam import figures as drawing

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SKILLS = {"base": 0.3, "masked": 0.33, "cam": 0.27, "masked_loss": 0.3, "base_5x5": 0.3, "base_3x9": 0.5, "base_9x3": 0}
SEGMENTS = [f"{genre}.{track:05d}#{number}" for genre in GENRES for track in range(12) for number in range(10)]
LABELS = np.eye(10, dtype=np.uint8)[np.repeat(np.arange(10), 120)]
NAMES = ["scores", "leak", "training_curves", "confusion", "kernels", "orderings"]


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


@pytest.fixture(scope="module")
def figures(analysis: Analysis) -> dict[str, Figure]:
    return {name: figure for name, (figure, _) in drawing.figures(analysis).items()}


def accuracies(analysis: Analysis, arm: str, condition: str, part: str = "test") -> list[float]:
    return [r.data["metrics"][part]["accuracy"] for r in analysis.select(arm, condition)]


def test_every_figure_is_there(figures: dict[str, Figure]) -> None:
    assert list(figures) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_readable(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    assert_readable(figure)
    for legend in figure.legends:
        assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [t.get_window_extent() for t in labels if t.get_text() and t.get_visible()]
            for i, a in enumerate(boxes):
                assert not any(a.shrunk(0.98, 0.98).overlaps(b.shrunk(0.98, 0.98)) for b in boxes[i + 1 :])
    foot = " ".join(figure.get_supxlabel().split())
    assert "Corpus pocket-gtzan, profile pocket, weights random" in foot
    assert "Not a replication" in foot


def test_the_write_ups_values_are_marked_beside_ours(figures: dict[str, Figure], analysis: Analysis) -> None:
    expected = {
        "train": [0.7738, 0.8301, 0.5155], "valid": [0.6708, 0.6844, 0.6823], "test": [0.6823, 0.6990, 0.6812]
    }  # fmt: skip
    arms = ("base", "masked", "cam", "masked_loss", "base_5x5", "base_3x9", "base_9x3")
    for axes, (part, printed) in zip(figures["scores"].axes, expected.items(), strict=True):
        (marks,) = [line for line in axes.get_lines() if line.get_marker() == "|"]
        np.testing.assert_array_equal(marks.get_xdata()[:3], printed)
        assert np.isnan(marks.get_xdata()[3:]).all()
        dots = [line.get_xdata() for line in axes.get_lines() if line.get_marker() == "."]
        (means,) = [line for line in axes.get_lines() if line.get_marker() == "o"]
        np.testing.assert_allclose(means.get_xdata(), [np.mean(values) for values in dots])
        if part != "train":
            np.testing.assert_allclose(dots, [accuracies(analysis, arm, "paper", part) for arm in arms])


def test_the_leak_shows_every_protocol(figures: dict[str, Figure], analysis: Analysis) -> None:
    segments, tracks = figures["leak"].axes
    assert (segments.get_title(), tracks.get_title()) == ("segments", "tracks")
    for condition, marker in zip(("paper", "track", "filtered"), "osD", strict=True):
        (line,) = [line for line in segments.get_lines() if line.get_marker() == marker]
        arms = ("base", "masked", "cam", "masked_loss")
        np.testing.assert_allclose(line.get_xdata(), [np.mean(accuracies(analysis, arm, condition)) for arm in arms])


def test_seeds_are_joined_across_the_kernels(figures: dict[str, Figure], analysis: Analysis) -> None:
    (axes,) = figures["kernels"].axes
    *seeds, means = axes.get_lines()
    found = [accuracies(analysis, arm, "paper") for arm in ("base", "base_5x5", "base_3x9", "base_9x3")]
    np.testing.assert_allclose([line.get_ydata() for line in seeds], np.transpose(found))
    np.testing.assert_allclose(means.get_ydata(), np.mean(found, axis=1))


def test_confusions_are_those_of_the_three_nets_on_whole_tracks(analysis: Analysis) -> None:
    figure = drawing.confusions(analysis, "track")
    assert [axes.get_title() for axes in figure.axes] == ["baseCNN", "maskedCNN", "CAMCNN"]
    assert "Condition: by track" in " ".join(figure.get_supxlabel().split())
    for axes, arm in zip(figure.axes, ("base", "masked", "cam"), strict=True):
        parts = [r.predictions("test") for r in analysis.select(arm, "track")]
        labelled, named = (np.concatenate([p_.argmax(axis=1) for p_ in some]) for some in (
            [p.labels for p in parts], [p.probabilities for p in parts]
        ))  # fmt: skip
        wanted = {
            (i, j): f"{100 * np.mean(named[labelled == i] == j):.0f}"
            for i in range(10)
            for j in range(10)
            if ((labelled == i) & (named == j)).any()
        }
        shown = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}
        assert shown == wanted


def test_what_has_no_record_has_no_figure(study: Study, analysis: Analysis) -> None:
    some = [r for r in analysis.records if r.condition == "track" and r.arm == "cam"]
    assert list(drawing.figures(Analysis(study, some, replicates=50))) == ["confusion"]
    some = [r for r in analysis.records if r.condition == "paper" and r.arm == "base_5x5"]
    alone = drawing.figures(Analysis(study, some, replicates=50))
    assert list(alone) == ["scores", "training_curves"]
    assert_readable(alone["scores"][0])
