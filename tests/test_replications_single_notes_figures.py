"""The single-notes study's figures: what they show and how they print, from records alone."""

import numpy as np
import pytest
from helpers import assert_readable, write_trials
from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study
from replications.single_notes import figures as drawing

ARMS = ["setup_1", "setup_2", "setup_3", "setup_4", "svm_mfcc", "logreg_logmel"]
NAMES = [
    "fig13_14_accuracy", "scores", "splits", "confusion_setup_4", "confusion_svm_mfcc", "confusion_logreg_logmel",
    "orderings",
]  # fmt: skip
CLASSES = ("violin", "cello", "double_bass", "flute", "oboe", "trumpet", "tuba")


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("single_notes")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    return write_trials(
        tmp_path_factory.mktemp("runs"), study, arms=ARMS, conditions=["paper", "by-pitch"], seeds=3, sizes=(40, 60),
        classes=CLASSES, skills=dict(zip(ARMS, (0.1, 0.2, 0.3, 0.4, 0.1, 0.2), strict=True)), corpus="tinysol",
    )  # fmt: skip


@pytest.fixture(scope="module")
def figures(study: Study, records: list[Record]) -> dict[str, Figure]:
    found = drawing.figures(Analysis(study, records, replicates=200))
    return {name: figure for name, (figure, _) in found.items()}


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
    assert "Corpus tinysol" in foot
    assert "Not a replication" in foot


def test_curves_are_means_over_the_seeds_with_their_range(figures: dict[str, Figure], records: list[Record]) -> None:
    for axes, score in zip(figures["fig13_14_accuracy"].axes, ("accuracy", "train_accuracy"), strict=True):
        lines = [line for line in axes.get_lines() if len(line.get_ydata())]
        assert len(lines) == 4
        histories = [r.history()[score] for r in records if (r.arm, r.condition) == ("setup_3", "paper")]
        shortest = min(map(len, histories))
        expected = np.mean([history[:shortest] for history in histories], axis=0)
        np.testing.assert_allclose(lines[2].get_ydata()[:shortest], expected)
        band = axes.collections[2].get_paths()[0].vertices
        first = band[band[:, 0] == 1][:, 1]
        assert (first.min(), first.max()) == pytest.approx((min(h[0] for h in histories), max(h[0] for h in histories)))


def test_what_has_no_record_has_no_figure(study: Study, records: list[Record]) -> None:
    def names(**of: str) -> list[str]:
        some = [r for r in records if all(getattr(r, key) == value for key, value in of.items())]
        return list(drawing.figures(Analysis(study, some, replicates=20)))

    assert names(arm="svm_mfcc", condition="paper") == ["scores", "confusion_svm_mfcc"]
    assert names(arm="setup_2") == ["fig13_14_accuracy", "scores", "splits", "confusion_setup_2"]
    assert names(arm="setup_2", condition="by-pitch") == []
