"""The figures of the study of predominant instruments; scores in them are those of the tables."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from irmas_trials import analysed, made_up_corpus, made_up_trials
from matplotlib.figure import Figure

from harness.analysis.study import Analysis
from harness.report import style
from replications.irmas_activations import figures as drawing
from replications.irmas_activations import filter_activations
from replications.irmas_activations import tables as making

CORPUS = made_up_corpus(clarinets=4)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    folder = tmp_path_factory.mktemp("runs")
    made = made_up_trials(
        folder, CORPUS, skill={"flu": 0.15}, answers=lambda labels, right: {"act3": 6.0 * labels[:, [2]]}
    )
    return analysed(made, CORPUS, 60)


def text_of(figure: Figure) -> str:
    """All that is written in a figure, on one line."""
    return " ".join(" ".join(text.get_text() for text in figure.findobj(mpl.text.Text)).split())


def test_every_figure_can_be_drawn_of_any_conditions(analysis, tmp_path):
    of_bce = drawing.figures(analysed(analysis.select("han", "bce")[:1], CORPUS, 20))
    assert list(of_bce) == ["fig1_instruments", "thresholds", "false_alarms", "training_curves"]
    found = drawing.figures(analysis)
    assert list(found) == [*of_bce, "false_alarms_bce", "training_curves_bce", "flute_clarinet"]
    for name, (figure, text) in found.items():
        assert text
        assert "Not a replication" in text_of(figure)
        assert "nan" not in text_of(figure)
        if name in of_bce:
            assert "binary" in text_of(of_bce[name][0])
    for name in ("one", "again"):
        style.save(found["flute_clarinet"][0], tmp_path / name)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "one.png").read_bytes()


def test_bars_and_lines_are_the_tables_f1_and_intervals(analysis):
    axes = drawing.instruments(analysis).axes[0]
    frame = making.class_table(analysis).frame
    numbers = [*frame["ours_paper"], *frame["ours_bce"]]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [number.value for number in numbers])
    lines = axes.collections[1:-2:2]  # above their white borders, and without those of chance
    ends = [[path.vertices[:, 0] for path in line.get_paths()] for line in lines]
    expected = [[[n.low, n.high] for n in frame[name]] for name in ("ours_paper", "ours_bce")]
    np.testing.assert_allclose(ends, expected)
    assert {t.get_text() for t in axes.get_yticklabels() if t.get_weight() == "bold"} == {
        f"flute (flu): {frame.loc[2, 'excerpts']}", f"clarinet (cla): {frame.loc[1, 'excerpts']}",
    }  # fmt: skip


def test_markers_of_thresholds_are_the_tables_scores(analysis):
    figure = drawing.thresholds(analysis)
    assert {"chosen on mixtures", "oracle", "chance"} <= {text.get_text() for text in figure.legends[0].get_texts()}
    frame = making.fig1_table(analysis).frame
    micro = frame[frame["metric"] == "f1_micro_unmasked"].set_index(["aggregation", "choice"])
    for axes, how in zip(figure.axes, ("S1", "S2"), strict=True):
        points = [line for line in axes.lines if len(line.get_xdata()) == 1]
        assert len(points) == 8  # two conditions, two seeds, two ways
        hollow = [p for p in points if p.get_markerfacecolor() == "none"]
        joined = {tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 0.6}
        assert joined == {(a.get_xdata()[0], b.get_xdata()[0]) for a, b in pairwise(points) if b in hollow}
        full = [p for p in points if p not in hollow]
        for shown, choice in ((full, "chosen"), (hollow, "oracle")):
            for start, condition in ((0, "paper"), (2, "bce")):
                mean = np.mean([p.get_ydata()[0] for p in shown[start : start + 2]])
                assert mean == pytest.approx(micro.loc[(how, choice), f"ours_{condition}"].value)
        (chance,) = (line for line in axes.lines if line.get_linestyle() == ":")
        assert set(chance.get_ydata()) == {micro["chance"].iloc[0]}


def test_the_panel_shows_the_best_filters(analysis):
    several = filter_activations.read(analysis)
    figure = drawing.flute_and_clarinet(analysis, several)
    top = filter_activations.filters_of(several[0], level=analysis.check_level)
    titles = [axes.get_title() for axes in figure.axes[1:]]
    assert len(titles) == drawing.FILTERS
    assert titles[0] == f"conv3, {top['filter'][0]}*\narea {top['area'][0]:.2f}"
    shown = sum(len(line.get_xdata()) for line in figure.axes[1].lines if line.get_linestyle() == "None")
    assert shown == len(several[0].songs)
    count = sum(found.groups()["flute, right"].sum() for found in several)
    assert f"flute, right ({count})" in text_of(figure)
