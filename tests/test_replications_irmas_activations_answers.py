"""What filters answer to flutes and clarinets: areas, labels dealt anew, and a planted filter that tells the two."""

import io

import numpy as np
import pytest
import sklearn.metrics as sk
from irmas_trials import FLUTES, STUDY, made_up_corpus, made_up_trials
from irmas_trials import made_up_answers as made_up
from rich.console import Console

from harness.report import tables as writing
from replications.irmas_activations import answers as a
from replications.irmas_activations import layer_tables as layers


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory):
    return made_up_trials(tmp_path_factory.mktemp("runs"), made_up_corpus(), conditions=("paper",), seeds=1)[0]


def test_areas_are_scikit_learns():
    rng = np.random.default_rng(1)
    values, flute = rng.integers(0, 6, (40, 5)).astype(float), rng.random(40) < 0.4  # with ties
    expected = [sk.roc_auc_score(flute, column) for column in values.T]
    np.testing.assert_allclose(a.auc(values, flute), expected)
    both = a.auc(values, np.stack([flute, ~flute]))
    np.testing.assert_allclose(both, [expected, 1 - np.array(expected)])
    counted = rng.integers(0, 3, (4, 40))
    drawn = [sk.roc_auc_score(flute, values[:, 2], sample_weight=w) for w in counted]
    np.testing.assert_allclose(a.sampled_auc(values[:, 2], flute, counted), drawn)
    assert np.isnan(a.sampled_auc(values[:, 2], flute, flute[None].astype(int))).all()


def test_labels_are_dealt_by_song(record):
    found = made_up(record)
    labels = a.dealt_anew(found.flute, found.songs, 100)
    assert (labels.sum(axis=1) == FLUTES).all()
    of_song = labels.reshape(100, -1, 3)  # songs of three excerpts, all of one label
    assert (of_song == of_song[:, :, :1]).all()
    assert len(np.unique(labels, axis=0)) > 90
    np.testing.assert_array_equal(labels, a.dealt_anew(found.flute, found.songs, 100))
    assert (labels != a.dealt_anew(found.flute, found.songs, 100, seed=1)).any()


def test_a_planted_filter_is_found_and_chance_is_not(record):
    planted = a.filters_of(made_up(record, planted=6.0), permutations=300)
    beyond = planted[(planted["auc"] - 0.5).abs() > planted["bar"]]
    assert ("act3", 7) in zip(beyond["stage"], beyond["filter"], strict=True)
    top = a.top_filters(made_up(record, planted=6.0), permutations=50)
    assert len(top) == a.SHOWN
    assert tuple(top.loc[0, ["stage", "filter"]]) == ("act3", 7)
    distance = (top["auc"] - 0.5).abs()
    assert distance.is_monotonic_decreasing
    # Of nine layers that say nothing hardly one has a filter beyond its bar, over several draws.
    false = 0
    for seed in range(10):
        frame = a.filters_of(made_up(record, seed=seed), permutations=200)
        false += frame[(frame["auc"] - 0.5).abs() > frame["bar"]]["stage"].nunique()
    assert false <= 15  # of 90; 4.5 are expected


def test_a_planted_bias_is_found(record):
    several = [made_up(record, bias=4.0, seed=seed) for seed in (0, 1)]
    table = layers.layer_table(STUDY, several, replicates=200, permutations=50)
    frame = table.frame.set_index("stage")
    assert list(frame["layer"]) == [*(f"conv{i}" for i in range(1, 9)), "fc1"]
    assert frame.loc["act5", "class_low"] > 0.8
    assert frame.loc["act5", "class"] < 2.1  # at most, where the two are apart, in standard deviations of both
    assert frame.loc["act5", "beyond"] > 5
    quiet = frame.drop("act5")
    assert (quiet["class"].abs() < 1).all()
    assert "flute, right 15; flute, missed 15; clarinet, right 12; clarinet, missed 12" in table.caption
    levels = a.standardised(several[0], "act5")
    expected = levels[several[0].flute].mean() - levels[~several[0].flute].mean()
    assert a.contrast(several[:1], "act5", *layers.CONTRASTS["class"], 10)[0] == pytest.approx(expected)


def test_few_songs_are_not_compared(record):
    found = made_up(record)
    right = found.flute.copy()  # no flute is missed, and all clarinets are but those of two songs
    right |= np.isin(found.songs, np.unique(found.songs[~found.flute])[:2])
    found = a.Answers(found.record, found.keys, found.songs, found.flute, right, found.means)
    assert np.isnan(a.contrast([found], "act1", *layers.CONTRASTS["flute"], 20)).all()
    assert np.isnan(a.contrast([found], "act1", *layers.CONTRASTS["clarinet"], 20)).all()
    assert not np.isnan(a.contrast([found], "act1", *layers.CONTRASTS["class"], 20)).any()
    tables = [layers.layer_table(STUDY, [found], replicates=50, permutations=20), layers.filter_table(STUDY, found)]
    for table in tables:
        console = Console(file=io.StringIO(), width=100)
        console.print(writing.to_terminal(table))
        assert "nan" not in console.file.getvalue() + writing.to_markdown(table) + writing.to_latex(table)


def test_the_best_filters_have_intervals_but_where_they_have_no_fault(record):
    found = made_up(record, planted=9.0)
    frame = layers.filter_table(STUDY, found, replicates=200, permutations=100).frame
    assert frame.loc[0, ["stage", "filter", "answers_more_to", "beyond_chance"]].tolist() == [
        "act3",
        7,
        "flutes",
        "yes",
    ]
    assert (frame["area"] >= 0.5).all()
    for row in frame.itertuples():
        if row.area == 1:
            assert row.area_title == "1.000"
            assert np.isnan(row.area_low)
        else:
            assert row.area_low <= row.area <= row.area_high
            assert row.area_title.startswith(f"{row.area:.3f} [")
        assert (row.flute > row.clarinet) == (row.answers_more_to == "flutes") or row.area < 0.7


def test_a_layer_that_never_changes_has_no_bias(record):
    found = made_up(record)
    found.means["act2"][:] = 1.5
    assert (a.standardised(found, "act2") == 0).all()
    frame = a.filters_of(found, permutations=20)
    assert (frame.loc[frame["stage"] == "act2", "auc"] == 0.5).all()
