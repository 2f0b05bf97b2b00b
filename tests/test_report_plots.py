"""Figures: what they show, how they print, and that their bytes do not change."""

import dataclasses
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import CLASSES, assert_readable, draw, write_trials
from matplotlib.figure import Figure
from PIL import Image

from harness.analysis.study import Analysis
from harness.errors import RepriseError
from harness.report import plots, style
from harness.studies import study as studies
from harness.studies.records import Predictions, Record
from harness.studies.study import Study


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("openmic_transfer")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    return write_trials(tmp_path_factory.mktemp("runs"), study, seeds=2, sizes=(30, 60))


#: Counts as a run writes them: present, absent and never asked, class by class.
COUNTS = np.random.default_rng(0).multinomial(50, [0.2, 0.3, 0.5], size=20)


@pytest.fixture(scope="module")
def analysis(study: Study, records: list[Record]) -> Analysis:
    names = ("present", "absent", "never_asked")
    labels = {
        name: dict(zip(names, map(int, counts), strict=True)) for name, counts in zip(CLASSES, COUNTS, strict=True)
    }
    corpus = {"clips": 50, "labels": labels}
    told = [dataclasses.replace(r, data={**r.data, "inputs": {"corpus": corpus}}) for r in records]
    return Analysis(study, told, replicates=100)


@pytest.fixture(scope="module")
def figures(analysis: Analysis) -> dict[str, Figure]:
    return {
        "label_counts": plots.label_counts(analysis),
        "training_curves": plots.training_curves(analysis),
        "per_class_f1": plots.per_class_f1(analysis),
        "confusion": plots.confusion(analysis, "vggish_full"),
        "scores": plots.scores(analysis),
    }


NAMES = ["label_counts", "training_curves", "per_class_f1", "confusion", "scores"]


@pytest.mark.parametrize("name", NAMES)
def test_type_is_large_enough_and_nothing_is_cut_off(figures: dict[str, Figure], name: str) -> None:
    assert_readable(figures[name])


@pytest.mark.parametrize("name", NAMES)
def test_names_of_classes_and_arms_do_not_overlap(figures: dict[str, Figure], name: str) -> None:
    draw(figures[name])
    for axes in figures[name].axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [t.get_window_extent() for t in labels if t.get_text() and t.get_visible()]
            for i, a in enumerate(boxes):
                assert not any(a.shrunk(0.98, 0.98).overlaps(b.shrunk(0.98, 0.98)) for b in boxes[i + 1 :])


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_foot_says_what_the_numbers_stand_on(figures: dict[str, Figure], name: str) -> None:
    foot = " ".join(figures[name].get_supxlabel().split())
    for part in ("Corpus pocket-openmic", "profile pocket", "weights random", "2 seeds", "Not a replication"):
        assert part in foot


def test_label_counts_are_counted(figures: dict[str, Figure]) -> None:
    counts, share = figures["label_counts"].axes
    present, absent = counts.containers
    np.testing.assert_array_equal(present.datavalues, COUNTS[:, 0])
    np.testing.assert_array_equal(absent.datavalues, COUNTS[:, 1])
    np.testing.assert_allclose(share.containers[0].datavalues, 2 * (50 - COUNTS[:, 2]))
    assert "mallet percussion" in [t.get_text() for t in counts.get_yticklabels()]


def test_records_that_do_not_count_labels_have_no_such_figure(study: Study, records: list[Record]) -> None:
    assert plots.label_counts(Analysis(study, records, replicates=100)) is None


def test_curves_are_the_histories(figures: dict[str, Figure], records: list[Record]) -> None:
    grid = np.array(figures["training_curves"].axes).reshape(3, 2)
    record = next(r for r in records if (r.arm, r.condition, r.seed) == ("vggish_fc", "paper", 0))
    history = record.history()
    line, marker = grid[1, 1].lines[:2]
    np.testing.assert_array_equal(line.get_xdata(), history["epoch"])
    np.testing.assert_allclose(line.get_ydata(), history["valid_loss"])
    assert list(marker.get_xdata()) == [record.data["best_epoch"]]
    assert list(marker.get_ydata()) == [history["valid_loss"].min()]
    legends = [[t.get_text() for t in axes.get_legend().get_texts()] for axes in grid[0]]
    assert [len(legend) for legend in legends] == [3 + 1, 4 + 1]


def test_bars_are_means_over_seeds_of_the_best_arms(figures: dict[str, Figure], records: list[Record]) -> None:
    axes = figures["per_class_f1"].axes[0]
    assert len(axes.containers) == 2
    for bars, arm in zip(axes.containers, ("resnet_full", "vggish_full"), strict=True):
        found = [r for r in records if (r.arm, r.condition) == (arm, "paper")]
        per_class = [r.data["metrics"]["test"]["per_class"] for r in found]
        expected = np.mean([[scores[c]["f1_unmasked"] for c in CLASSES] for scores in per_class], axis=0)
        np.testing.assert_allclose(bars.datavalues, expected)
    support = records[0].data["metrics"]["test"]["per_class"]["accordion"]["support"]
    assert axes.get_yticklabels()[0].get_text() == f"accordion ({support})"
    clips = 60
    chance = axes.collections[-1].get_segments()[0][0][0]
    assert chance == pytest.approx(2 * support / (support + clips))


def test_false_alarms_by_hand(tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    record = write_trials(tmp_path, study, conditions=("paper",), classes=("a", "b", "c"), sizes=(3, 4))[0]
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 1]])
    probabilities = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.1], [0.7, 0.9, 0.9], [0.9, 0.1, 0.2]])
    mask = np.ones((4, 3), bool)
    mask[3, 2] = False  # nobody was asked: counts as absent
    p = Predictions(np.array(list("abcd")), labels, mask, probabilities)
    analysis = Analysis(study, [record], replicates=100)
    monkeypatch.setattr(analysis, "predictions", lambda record, part: p)
    expected = [[2 / 3, 1 / 2, 0 / 3], [1 / 1, 1, 1 / 2], [np.nan, np.nan, np.nan]]
    np.testing.assert_allclose(plots.false_alarms(analysis, [record]), expected)
    np.testing.assert_allclose(plots.false_alarms(analysis, [record, record]), expected)


def test_confusion_shows_the_rates(figures: dict[str, Figure], analysis: Analysis) -> None:
    axes = figures["confusion"].axes[0]
    rates = 100 * plots.false_alarms(analysis, analysis.select("vggish_full"))
    shown = axes.collections[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shown.reshape(rates.shape), rates)
    assert len(axes.patches) == len(CLASSES)
    assert [t.get_text() for t in axes.get_yticklabels()][9] == "mallet percussion"


def test_scores_show_ours_chance_and_the_papers(
    figures: dict[str, Figure], study: Study, records: list[Record]
) -> None:
    panels = figures["scores"].axes
    assert [axes.get_title() for axes in panels] == ["Macro F1", "Micro F1", "Jaccard"]
    dots = [line for line in panels[1].lines if line.get_marker() == "o"]
    found = [r for r in records if (r.arm, r.condition) == ("resnet_fc", "paper")]
    mean = np.mean([r.data["metrics"]["test"]["f1_micro_unmasked"] for r in found])
    assert dots[0].get_xdata()[0] == pytest.approx(mean)
    assert sum(len(line.get_xdata()) for line in dots) == len(study.arms)
    paper = next(line for line in panels[1].lines if line.get_marker() == "|")
    np.testing.assert_array_equal(paper.get_xdata(), [0.2913, 0.4242, 0.5461, 0.5673, 0.6118, 0.6384, 0.6407])
    chance = next(line for line in panels[1].lines if line.get_linestyle() == ":")
    assert 0 < chance.get_xdata()[0] < 0.5


def test_colours_are_told_apart_in_grey() -> None:
    for count in (2, 4):
        grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in style.palette(count)]
        assert (np.diff(grey) > 0.09).all()


def test_files_are_the_same_twice_with_embedded_fonts(figures: dict[str, Figure], tmp_path: Path) -> None:
    for name in ("a", "b"):
        style.save(figures["scores"], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf == (tmp_path / "b.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    plain = pdf + b"".join(
        zlib.decompressobj().decompress(stream) for stream in re.findall(rb"stream\r?\n(x.*?)endstream", pdf, re.DOTALL)
    )
    assert b"/FontFile2" in plain
    assert b"/Type3" not in plain
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == round(style.WIDTH * 150)


def test_another_main_score_and_what_has_no_epochs(tmp_path: Path) -> None:
    study = studies.load("attention_embeddings")
    found = write_trials(
        tmp_path, study, arms=["vggish_pp", "fc", "rf"], conditions=["paper"], sizes=(20, 20), select=study.metric
    )
    figure = plots.training_curves(Analysis(study, found, replicates=100), selected="the highest validation score")
    grid = np.array(figure.axes).reshape(3, 2)  # no column for the random forest
    assert [axes.get_legend().get_title().get_text() for axes in grid[0]] == ["attention", "fc"]
    assert grid[2, 0].get_ylabel() == "validation F1 (2-class)"
    curve, marker = grid[2, 0].lines[:2]
    record = next(r for r in found if r.arm == "vggish_pp")
    np.testing.assert_array_equal(curve.get_ydata(), record.history()["f1_macro2_masked"])
    assert list(marker.get_ydata()) == [max(curve.get_ydata())]
    assert "the epoch of the highest validation score" in " ".join(figure.get_supxlabel().split())
    assert grid[2, 0].lines[-1].get_ydata()[0] == 0.5  # guessing beats every constant answer


def test_nothing_to_draw_is_an_error(study: Study, records: list[Record], analysis: Analysis) -> None:
    masked = Analysis(study, [r for r in records if (r.condition, r.arm) == ("masked", "resnet_fc")], replicates=100)
    with pytest.raises(RepriseError, match="vggish_fc has no record under 'masked'"):
        plots.confusion(masked, "vggish_fc", condition="masked")
    with pytest.raises(RepriseError, match="no condition"):
        plots.per_class_f1(analysis, condition="nothing")
