"""The attention study's figures: what they show, how they print, and which claims are judged."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import CLASSES, assert_readable, draw, drawn_texts, write_trials
from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.studies import claims
from harness.studies import study as studies
from harness.studies.records import Predictions, Record, write_predictions
from harness.studies.study import Study
from replications.attention_embeddings import figures as drawing

METRIC = "f1_macro2_masked"
NAMES = ["fig2_representations", "fig3_objectives", "controls", "orderings", "pretraining_curves", "learning_curves"]
SEEDS = 3


@pytest.fixture(scope="module")
def study() -> Study:
    return studies.load("attention_embeddings")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, study: Study) -> list[Record]:
    folder = tmp_path_factory.mktemp("runs")
    return write_trials(folder, study, conditions=["paper"], seeds=SEEDS, select=study.metric, sizes=(30, 60))


@pytest.fixture(scope="module")
def figures(study: Study, records: list[Record]) -> dict[str, Figure]:
    return {name: figure for name, (figure, _) in drawing.figures(analysed(study, records)).items()}


def analysed(study: Study, records: list[Record]) -> Analysis:
    return Analysis(study, records, replicates=100)


def scores(records: list[Record], arm: str) -> np.ndarray:
    found = [r.data["metrics"]["test"]["per_class"] for r in records if r.arm == arm]
    return np.array([[of_class[name][METRIC] for name in CLASSES] for of_class in found])


def test_every_figure_is_there(figures: dict[str, Figure]) -> None:
    assert list(figures) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_readable(figures: dict[str, Figure], name: str) -> None:
    figure = figures[name]
    assert_readable(figure)
    legends = figure.legends or [axes.get_legend() for axes in figure.axes]
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    foot = " ".join(figure.get_supxlabel().split())
    assert "pocket" in foot
    if name != "pretraining_curves":
        assert "3 seeds" in foot
        assert "Not a replication" in foot


@pytest.mark.parametrize("name", NAMES[:3])
def test_numbers_over_the_boxes_do_not_touch(figures: dict[str, Figure], name: str) -> None:
    draw(figures[name])
    boxes = [t.get_window_extent() for axes in figures[name].axes if axes.get_label() == "boxes" for t in axes.texts]
    assert len(boxes) >= 4
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        ("fig2_representations", drawing.POST_PROCESSING),
        ("fig3_objectives", drawing.OBJECTIVES),
        ("controls", drawing.CONTROLS),
    ],
)
def test_bars_and_boxes_are_the_scores(
    figures: dict[str, Figure], study: Study, records: list[Record], name: str, arms: tuple[str, ...]
) -> None:
    panels = {axes.get_label(): axes for axes in figures[name].axes}
    for panel, columns in (("first", slice(10)), ("second", slice(10, 20))):
        bars = [c for c in panels[panel].containers if hasattr(c, "datavalues")]
        whiskers = [c for c in panels[panel].containers if not hasattr(c, "datavalues")]
        for arm, bar, whisker in zip(arms, bars, whiskers, strict=True):
            expected = scores(records, arm)[:, columns]
            np.testing.assert_allclose(bar.datavalues, expected.mean(axis=0))
            reach = np.array(whisker.lines[2][0].get_segments())[:, :, 1]
            np.testing.assert_allclose(reach, np.stack([expected.min(axis=0), expected.max(axis=0)], axis=1))
        labels = [t.get_text() for t in panels[panel].get_xticklabels()]
        assert labels == [c.replace("_", " ") for c in CLASSES[columns]]
        assert panels[panel].get_ylim() == (0, 1)
    means = [t.get_text() for t in panels["boxes"].texts]
    assert means == [f"{scores(records, arm).mean():.3f}"[1:] for arm in arms]
    medians = [line.get_ydata()[0] for line in panels["boxes"].lines if line.get_path_effects()]
    np.testing.assert_allclose(medians, [np.median(scores(records, arm)) for arm in arms])
    hatches = [patch.get_hatch() for patch in figures[name].legends[0].get_patches()]
    assert len(set(hatches)) == len(arms)
    chance = [line for line in panels["boxes"].lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in chance] == [0.5]


def test_one_seed_has_no_whiskers_and_missing_arms_are_named(study: Study, records: list[Record]) -> None:
    some = [r for r in records if r.seed == 0 and r.arm not in ("vggish_norm", "log_mel")]
    figure = drawing.instruments(analysed(study, some), drawing.POST_PROCESSING)
    assert all(hasattr(c, "datavalues") for c in figure.axes[0].containers)
    foot = " ".join(figure.get_supxlabel().split())
    assert "No record of VGGish norm., Log-Mel." in foot
    assert "Left: one seed." in foot


def test_an_instrument_without_labels_leaves_a_gap(study: Study, tmp_path: Path) -> None:
    found = write_trials(tmp_path, study, arms=drawing.OBJECTIVES, conditions=["paper"], sizes=(30, 60))
    for r in found:
        parts = r.parts()
        asked = parts["test"].mask & (np.array(CLASSES) != "banjo")
        test = parts["test"]
        parts["test"] = Predictions(test.keys, test.labels & asked, asked, test.probabilities)
        write_predictions(r.folder, parts)
    figure = drawing.instruments(analysed(study, found), drawing.OBJECTIVES)
    draw(figure)
    bars = next(c for c in figure.axes[0].containers if hasattr(c, "datavalues"))
    assert np.flatnonzero(np.isnan(bars.datavalues)).tolist() == [CLASSES.index("banjo")]
    assert not any("nan" in t.get_text() for t in drawn_texts(figure))


def test_pretraining_curves_are_the_histories(figures: dict[str, Figure], records: list[Record]) -> None:
    panels = figures["pretraining_curves"].axes
    assert [axes.get_title().split("\n")[0] for axes in panels] == list(drawing.PRETRAININGS.values())
    trained = drawing.pretrainings(records)
    assert list(trained) == list(drawing.PRETRAININGS)
    assert trained["align"]["corpus"] == "pocket-fsd50k"
    for axes, objective in zip(panels, trained, strict=True):
        history = pd.DataFrame(trained[objective]["history"])
        train, valid, best = axes.lines
        np.testing.assert_array_equal(train.get_ydata(), history["train_loss"])
        np.testing.assert_array_equal(valid.get_ydata(), history["valid_loss"])
        assert best.get_xdata() == [trained[objective]["best_epoch"]]
        assert best.get_ydata() == [history["valid_loss"].min()]


def test_learning_curves_are_means_over_seeds(figures: dict[str, Figure], records: list[Record]) -> None:
    axes = figures["learning_curves"].axes[2]
    of_arm = [r for r in records if r.arm == "vggish_pp"]
    line, kept = axes.lines[:2]
    histories = pd.concat([r.history().set_index("epoch")[METRIC] for r in of_arm], axis=1)
    np.testing.assert_allclose(line.get_ydata(), histories.mean(axis=1))
    assert list(kept.get_xdata()) == [r.data["best_epoch"] for r in of_arm]
    assert list(kept.get_ydata()) == [r.history()[METRIC].max() for r in of_arm]
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(histories.min(axis=1).min())
    titles = [t.get_text() for t in axes.get_legend().get_texts()]
    assert titles == ["VGGish PP", "Fully connected", "FC per frame", "BiGRU", "chance"]  # a forest has no epochs


def test_what_has_no_record_has_no_figure(study: Study, records: list[Record]) -> None:
    untrained = [r for r in records if r.arm in ("log_mel", "vggish_random")]
    assert set(drawing.figures(analysed(study, untrained))) == {"fig2_representations", "orderings", "learning_curves"}
    forest = [r for r in records if r.arm == "rf"]  # its codes are those of a network trained for sound events
    assert set(drawing.figures(analysed(study, forest))) == {"controls", "pretraining_curves"}


def test_tables_show_conditions_only_where_there_are_several(
    study: Study, records: list[Record], tmp_path: Path
) -> None:
    assert [t.name for t in drawing.tables(analysed(study, records))] == ["arms_test"]
    more = write_trials(
        tmp_path, study, arms=["vggish_pp"], conditions=["group-norm"], seeds=SEEDS, sizes=(30, 60), select=METRIC
    )
    made = drawing.tables(analysed(study, [*records, *more]))[-1]
    assert made.name == "conditions_test"
    assert set(made.frame["arm"]) == {"vggish_pp"}


def test_every_remark_of_the_paper_is_a_claim(study: Study) -> None:
    """Paper, 6.1 and 6.2: the order of the representations, and instruments by name."""
    stated = claims.orders(study)
    overall = {(*c.above, *c.below) for c in stated if not c.classes}
    chain = [("vggish_pp", "align"), ("vggish_norm", "align"), ("log_mel", "vggish_random")]
    chain += [("align", arm) for arm in ("textual", "den_add", "den_mul")]
    chain += [(arm, "log_mel") for arm in ("textual", "den_add", "den_mul")]
    assert overall > set(chain)
    by_arm: dict[str, list[str]] = {}
    for c in stated:
        if c.classes:
            assert set(c.classes) <= set(CLASSES)
            by_arm.setdefault(*c.above, []).extend(c.classes)
    assert by_arm == {
        "vggish_norm": ["banjo", "clarinet", "drums", "mandolin", "trombone", "voice"],
        "log_mel": ["cymbals", "ukulele", "violin", "voice"],
        "textual": ["mallet_percussion", "mandolin", "organ", "ukulele", "voice"],
        "den_mul": ["piano", "ukulele", "violin"],
        "den_add": ["cymbals", "drums"],
    }
    assert all(re.match(r"(thesis of )?[16]", c.where) for c in stated)


def test_a_contradiction_is_two_claims(study: Study) -> None:
    pairs = [(*c.above, *c.below, c.relation) for c in claims.orders(study) if not c.classes]
    assert ("log_mel", "vggish_random", "above") in pairs
    assert ("vggish_random", "log_mel", "at least") in pairs
