"""The confusion matrix: counts of all seeds, shares of the row, and what has a name in the figure."""

import numpy as np
import pytest
import sklearn.metrics
from helpers import assert_readable, draw, write_trials

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.report import plots
from harness.report.confusion_matrix import confusion_matrix, pooled_counts
from harness.studies import study as studies
from harness.studies.study import Study

CLASSES = ("violin", "cello", "double_bass", "flute", "oboe", "trumpet", "tuba")


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("single_notes")


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory, study: Study) -> Analysis:
    folder = tmp_path_factory.mktemp("runs")
    skills = {"setup_2": 0.35}
    records = write_trials(
        folder, study, arms=["setup_2"], conditions=["paper"], seeds=3, sizes=(20, 70), classes=CLASSES, skills=skills
    )
    return Analysis(study, records, replicates=100)


def test_counts_are_those_of_all_seeds(analysis: Analysis) -> None:
    p = [r.predictions("test") for r in analysis.records]
    truth, said = (np.concatenate([getattr(x, n).argmax(1) for x in p]) for n in ("labels", "probabilities"))
    expected = sklearn.metrics.confusion_matrix(truth, said, labels=range(7))
    np.testing.assert_array_equal(pooled_counts(analysis, analysis.records, "test"), expected)
    assert expected.sum() == 210


def test_every_cell_shows_share_and_count(analysis: Analysis) -> None:
    figure = confusion_matrix(analysis, "setup_2")
    assert_readable(figure)
    counts = pooled_counts(analysis, analysis.records, "test")
    texts = [text.get_text() for text in figure.axes[0].texts]
    i, j = np.unravel_index((counts * ~np.eye(7, dtype=bool)).argmax(), counts.shape)
    assert f"{100 * counts[i, j] / counts[i].sum():.1f}" in texts
    assert len(texts) == 2 * np.count_nonzero(counts)
    assert [int(text.replace(",", "")) for text in texts[1::2]] == counts[counts > 0].tolist()
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names[2] == f"double bass ({counts[2].sum()})"
    foot = " ".join(figure.get_supxlabel().split())
    assert "3 seeds" in foot


def test_texts_lie_in_their_cells(analysis: Analysis) -> None:
    figure = confusion_matrix(analysis, "setup_2")
    draw(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_one_function_for_any_task(analysis: Analysis) -> None:
    figure = plots.confusion(analysis, "setup_2")
    assert figure.axes[0].get_ylabel() == "instrument"
    assert_readable(plots.per_class_f1(analysis, arms=["setup_2"]))
    with pytest.raises(RepriseError, match="setup_1 has no record under 'paper'; run it first"):
        confusion_matrix(analysis, "setup_1")
