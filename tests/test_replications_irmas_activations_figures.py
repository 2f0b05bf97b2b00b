"""The figures of the study of predominant instruments; scores in them are those of the tables."""

from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
import sklearn.metrics as sk
from irmas_trials import STUDY, made_up_answers, made_up_corpus, made_up_trials
from matplotlib.figure import Figure

from harness.corpora import Corpus
from harness.report import style
from harness.report.confusion_matrix import pooled_counts
from harness.studies.records import Record
from replications.irmas_activations import figures as drawing
from replications.irmas_activations import scores
from replications.irmas_activations import tables as making
from replications.irmas_activations.answers import top_filters


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return made_up_corpus()


@pytest.fixture(scope="module")
def records(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return made_up_trials(tmp_path_factory.mktemp("runs"), corpus)


@pytest.fixture(autouse=True)
def _loaded(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing.corpora, "load", lambda name: corpus)


def text_of(figure: Figure) -> str:
    """All that is written in a figure, on one line."""
    return " ".join(" ".join(text.get_text() for text in figure.findobj(mpl.text.Text)).split())


NAMES = ["fig1_instruments", "thresholds", "confusion", "false_alarms", "learning_curves", "flute_clarinet"]


def test_every_figure_can_be_drawn_of_any_conditions(records, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(drawing, "answers", made_up_answers)
    of_bce = drawing.figures(STUDY, [r for r in records if r.condition == "bce" and r.seed == 0])
    assert list(of_bce) == NAMES
    found = drawing.figures(STUDY, records)
    assert list(found) == NAMES
    for name, (figure, text) in found.items():
        assert text
        assert "Not a replication" in text_of(figure)
        if name != "learning_curves":
            assert "binary" in text_of(of_bce[name][0]) + of_bce[name][1]
    for name in ("one", "again"):
        style.save(found["flute_clarinet"][0], tmp_path / name)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "one.png").read_bytes()
    monkeypatch.setattr(drawing, "answers", lambda record: None)
    assert list(drawing.figures(STUDY, records)) == NAMES[:-1]


def test_bars_and_lines_are_the_tables_f1_and_intervals(records, corpus) -> None:
    songs = scores.songs_of(corpus)
    axes = drawing.instruments(STUDY, records, songs, replicates=60).axes[0]
    frame = making.class_table(STUDY, records, songs, replicates=60).frame
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, [*frame["ours_paper"], *frame["ours_bce"]])
    ends = [line.get_xdata() for line in axes.lines[1::2]]
    np.testing.assert_allclose(ends[:11], frame[["ours_paper_low", "ours_paper_high"]])
    assert {t.get_text() for t in axes.get_yticklabels() if t.get_weight() == "bold"} == {
        f"flute (flu): {frame.loc[2, 'excerpts']}", f"clarinet (cla): {frame.loc[1, 'excerpts']}",
    }  # fmt: skip


def test_markers_of_thresholds_are_the_tables_scores(records, corpus) -> None:
    figure = drawing.thresholds(STUDY, records)
    assert {"chosen on mixtures", "oracle"} <= {text.get_text() for text in figure.legends[0].get_texts()}
    frame = making.fig1_table(STUDY, records, scores.songs_of(corpus), replicates=10).frame
    micro = frame[frame["metric"] == "f1_micro_unmasked"].set_index(["aggregation", "choice"])
    for axes, how in zip(figure.axes, ("S1", "S2"), strict=True):
        points = [line for line in axes.lines if len(line.get_xdata()) == 1]
        assert len(points) == 8  # two conditions, two seeds, two ways
        hollow = [p for p in points if p.get_markerfacecolor() == "none"]
        assert min(p.get_markersize() for p in hollow) > max(p.get_markersize() for p in points if p not in hollow)
        joined = {tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 0.6}
        assert joined == {(a.get_xdata()[0], b.get_xdata()[0]) for a, b in pairwise(points) if b in hollow}
        full = [p for p in points if p not in hollow]
        for shown, choice in ((full, "chosen"), (hollow, "oracle")):
            for start, condition in ((0, "paper"), (2, "bce")):
                mean = np.mean([p.get_ydata()[0] for p in shown[start : start + 2]])
                assert mean == pytest.approx(micro.loc[(how, choice), f"ours_{condition}"])


def test_the_confusion_is_of_excerpts_with_one_label(records) -> None:
    one = drawing.predominant(records[0])
    p, stored = one.predictions("test"), records[0].predictions("test_s1")
    rows = stored.labels.sum(axis=1) == 1
    np.testing.assert_array_equal(p.keys, stored.keys[rows])
    assert (p.labels.sum(axis=1) == 1).all()
    np.testing.assert_allclose(p.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(p.probabilities.argmax(axis=1), stored.probabilities[rows].argmax(axis=1))
    assert one.data["split"]["sizes"]["test"] == rows.sum()
    counts = pooled_counts([one], "test")
    expected = sk.confusion_matrix(p.labels.argmax(axis=1), p.probabilities.argmax(axis=1), labels=range(11))
    np.testing.assert_array_equal(counts, expected)


def test_an_excerpt_that_every_output_is_silent_on_is_still_counted(corpus, tmp_path, monkeypatch) -> None:
    (record,) = made_up_trials(tmp_path, corpus, conditions=("paper",), seeds=1)
    silent = replace(p := record.predictions("test_s1"), probabilities=np.zeros_like(p.probabilities))
    monkeypatch.setattr(drawing.scores, "predictions", lambda record, part, how: silent)
    p = drawing.Predominant(record.folder, record.data).predictions("test")
    np.testing.assert_allclose(p.probabilities, 1 / 11)


def test_without_an_excerpt_of_one_label_there_is_no_confusion(corpus, tmp_path, monkeypatch) -> None:
    labels = corpus.labels.copy()
    test = (corpus.clips["partition"] == "test").to_numpy()
    labels[np.ix_(test, [0, 1, 2])] = 1
    crowded = replace(corpus, labels=labels)
    monkeypatch.setattr(drawing.corpora, "load", lambda name: crowded)
    monkeypatch.setattr(drawing, "answers", lambda record: None)
    records = made_up_trials(tmp_path, crowded, conditions=("paper",), seeds=1)
    assert "confusion" not in drawing.figures(STUDY, records)


def test_the_panel_shows_the_best_filters(records) -> None:
    several = [made_up_answers(record, planted=6.0) for record in records[:2]]
    figure = drawing.flute_and_clarinet(STUDY, several)
    top = top_filters(several[0])
    titles = [axes.get_title() for axes in figure.axes[1:]]
    assert len(titles) == drawing.FILTERS
    assert titles[0].startswith("conv3, 7*\narea")
    assert titles[0].endswith(f"{max(top.loc[0, 'auc'], 1 - top.loc[0, 'auc']):.2f}")
    assert all(float(title.split()[-1]) >= 0.5 for title in titles)
    shown = sum(len(line.get_xdata()) for line in figure.axes[1].lines if line.get_linestyle() == "None")
    assert shown == len(several[0].keys)
    assert "flute, right (30)" in text_of(figure)  # fifteen in each of two seeds


def test_curves_are_of_segments(records) -> None:
    text = text_of(drawing.learning_curves(STUDY, records))
    assert "Of segments of the clips set aside for validation" in text
    assert "seed 1" in text
