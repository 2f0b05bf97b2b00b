"""The single-notes study's figures: what they show and how they print."""

from collections.abc import Iterator

import numpy as np
import pytest
from helpers import assert_readable, draw, write_trials
from matplotlib.figure import Figure
from orchestra_trees import make_tinysol_tree

from harness import features
from harness.corpora import Corpus, tinysol
from harness.features import FrontEnd
from harness.studies import study as studies
from harness.studies.records import Record
from harness.studies.study import Study
from replications.single_notes import figures as drawing

ARMS = ["setup_1", "setup_2", "setup_3", "setup_4", "svm_mfcc", "logreg_logmel"]
NAMES = [
    "fig12_log_mel", "fig13_validation_accuracy", "fig14_training_accuracy", "scores", "splits", "confusion_setup_4",
    "confusion_logreg_logmel", "orderings",
]  # fmt: skip


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("single_notes")


@pytest.fixture(scope="module")
def front_end(study: Study) -> FrontEnd:
    return features.front_end(**study.protocol["front_end"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("tinysol")
    make_tinysol_tree(root)
    return tinysol.read(root, "tinysol")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study, corpus: Corpus) -> list[Record]:
    return write_trials(
        tmp_path_factory.mktemp("runs"), study, arms=ARMS, conditions=["paper", "by-pitch"], seeds=3, sizes=(10, 16),
        classes=corpus.classes, skills=dict(zip(ARMS, (0.1, 0.2, 0.3, 0.4, 0.1, 0.2), strict=True)), corpus="tinysol",
        clips=(corpus.clips["key"].tolist(), corpus.labels),
    )  # fmt: skip


@pytest.fixture(scope="module")
def figures(study: Study, records: list[Record], corpus: Corpus) -> Iterator[dict[str, Figure]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing.corpora, "load", lambda name: corpus)
        yield {name: figure for name, (figure, _) in drawing.figures(study, records).items()}


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
    if name != "fig12_log_mel":
        assert "Not a replication" in foot


def test_pictures_are_those_of_the_network(figures: dict[str, Figure], corpus: Corpus, front_end: FrontEnd) -> None:
    panels = [axes for axes in figures["fig12_log_mel"].axes if axes.get_images()]
    assert [axes.get_title() for axes in panels] == [
        f"{name.replace('_', ' ')}, A#4, mf" for name in corpus.classes
    ]  # of A#4, C4, F#5 the middle one; of its takes the first by key
    clip = drawing.typical_note(corpus, 2)
    expected = front_end.compute(features.decode(clip["path"], front_end.sample_rate))
    image = panels[2].get_images()[0]
    np.testing.assert_array_equal(image.get_array(), expected[::-1])
    assert image.origin == "lower"
    assert image.get_extent()[:2] == pytest.approx([0, 1.024])


def test_a_tone_lies_where_the_axis_says(front_end: FrontEnd) -> None:
    tone = np.sin(2 * np.pi * 2000 * np.arange(12_000) / 12_000).astype(np.float32)
    figure = drawing.new_figure(2)
    axes = figure.subplots()
    picture = drawing.upright(front_end.compute(tone), front_end)
    drawing.show_picture(axes, picture, front_end)
    draw(figure)
    place = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))["2,000"]
    assert picture.mean(axis=1).argmax() == pytest.approx(place, abs=1.5)


def test_curves_are_means_over_the_seeds(figures: dict[str, Figure], records: list[Record]) -> None:
    for name, score in (("fig13_validation_accuracy", "accuracy"), ("fig14_training_accuracy", "train_accuracy")):
        lines = figures[name].axes[0].get_lines()
        assert len(lines) == 4
        of_arm = [r for r in records if (r.arm, r.condition) == ("setup_3", "paper")]
        shortest = min(len(r.history()) for r in of_arm)
        expected = np.mean([r.history()[score][:shortest] for r in of_arm], axis=0)
        np.testing.assert_allclose(lines[2].get_ydata()[:shortest], expected)
        panels = [axes for axes in figures[name].axes[1:] if axes.collections]
        assert len(panels) == 4
        low, high = (f([r.history()[score][0] for r in of_arm]) for f in (min, max))
        band = panels[2].collections[0].get_paths()[0].vertices
        assert {band[band[:, 0] == 1][:, 1].min(), band[band[:, 0] == 1][:, 1].max()} == {low, high}


def test_what_has_no_record_has_no_figure(
    study: Study, records: list[Record], corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing.corpora, "load", lambda name: corpus)
    reference = [r for r in records if (r.arm, r.condition) == ("svm_mfcc", "paper")]
    assert list(drawing.figures(study, reference)) == ["fig12_log_mel", "scores", "confusion_svm_mfcc", "orderings"]
    some = [r for r in records if r.arm == "setup_2"]
    found = drawing.figures(study, some)
    assert_readable(found["fig13_validation_accuracy"][0])
    assert list(drawing.figures(study, [r for r in some if r.condition == "by-pitch"])) == ["fig12_log_mel"]
