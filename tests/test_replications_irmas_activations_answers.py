"""What filters answer to flutes and clarinets: areas, labels dealt anew, and a planted filter that tells the two."""

import dataclasses
import io

import numpy as np
import pytest
import sklearn.metrics as sk
from irmas_trials import STUDY, made_up_corpus, made_up_trials
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


def uneven(*, seed: int = 0, filters: int = 24, mixed: bool = False) -> a.Answers:
    """Answers that say nothing of the instruments: songs of one to six excerpts, which sound alike."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, 26)
    of = np.repeat(np.arange(26), sizes)
    flute = rng.permutation(np.arange(26) < 16)[of]
    if mixed:
        flute[of == sizes.argmax()] = np.arange(sizes.max()) < 2
    means = {
        stage: rng.normal(0, 1, (26, filters))[of] + rng.normal(0, 0.4, (len(of), filters))
        for stage in ("act1", "act2")
    }
    songs = np.array([f"Song {i:02d}" for i in of])
    keys = np.array([f"clip {i:03d}" for i in range(len(of))])
    return a.Answers(None, keys, songs, flute, rng.random(len(of)) < 0.5, rng.random(len(of)) < 0.4, means)


def test_labels_stay_on_songs_of_any_size():
    found = uneven()
    labels = a.dealt_anew(found.flute, found.songs, 100)
    np.testing.assert_array_equal(labels[0], found.flute)
    for song in np.unique(found.songs):
        of_song = labels[:, found.songs == song]
        assert (of_song == of_song[:, :1]).all()
    _, firsts = np.unique(found.songs, return_index=True)
    assert (labels[:, firsts].sum(axis=1) == 16).all()
    assert len(np.unique(labels, axis=0)) > 90
    np.testing.assert_array_equal(labels, a.dealt_anew(found.flute, found.songs, 100))
    assert (labels != a.dealt_anew(found.flute, found.songs, 100, seed=1)).any()


def test_a_song_of_both_labels_keeps_as_many():
    songs = np.array(list("aabbbcddd"))
    labels = np.array([1, 1, 0, 0, 1, 0, 1, 1, 0], bool)  # b and d have both, a and c one
    dealt = a.dealt_anew(labels, songs, 200)
    assert {tuple(row) for row in dealt[:, [0, 1, 5]].tolist()} == {(True, True, False), (False, False, True)}
    assert {(row[2:5].sum(), row[6:].sum()) for row in dealt} == {(1, 2), (2, 1)}
    assert len({tuple(row) for row in dealt[:, 2:5].tolist()}) == 6
    several = np.stack([labels, ~labels], axis=1)  # what two trials say of an excerpt goes together
    both = a.dealt_anew(several, songs, 50)
    np.testing.assert_array_equal(both[..., 0], ~both[..., 1])


def test_the_bar_is_exceeded_as_rarely_as_it_says():
    assert a.bar(np.arange(100.0)) == 95  # of a hundred cases four lie above
    assert a.bar(np.arange(3.0)) == 2
    false = 0
    for seed in range(120):
        frame = a.filters_of(uneven(seed=seed, mixed=seed % 2 == 0), permutations=100)
        false += frame[frame["beyond"]]["stage"].nunique()
    assert 2 <= false <= 22  # of 240; 11 are expected at about 5 %


def test_a_planted_filter_is_found_and_chance_is_not(record):
    planted = a.filters_of(made_up(record, planted=6.0), permutations=300)
    beyond = planted[planted["beyond"]]
    assert ("act3", 7) in zip(beyond["stage"], beyond["filter"], strict=True)
    top = a.top_filters(made_up(record, planted=6.0), permutations=50)
    assert len(top) == a.SHOWN
    assert tuple(top.loc[0, ["stage", "filter"]]) == ("act3", 7)
    assert ((top["auc"] - 0.5).abs() - top["bar"]).round(12).is_monotonic_decreasing
    # Of nine layers that say nothing hardly one has a filter beyond its bar, over several draws.
    false = 0
    for seed in range(10):
        frame = a.filters_of(made_up(record, seed=seed), permutations=200)
        false += frame[frame["beyond"]]["stage"].nunique()
    assert false <= 15  # of 90; 4.5 are expected


def test_many_filters_do_not_make_a_layer_the_best(record):
    found = made_up(record)
    rng = np.random.default_rng(0)
    found.means["act8"] = np.repeat(rng.normal(0, 1, (18, 2000)), 3, axis=0)  # has some far from 0.5 by chance
    found.means["act2"] = np.repeat(rng.normal(0, 1, (18, 1)), 3, axis=0) + 1.6 * found.flute[:, None]
    ranked = a.filters_of(found, permutations=200)
    highest = ranked.groupby("stage")["auc"].agg(lambda areas: (areas - 0.5).abs().max())
    assert highest["act8"] > highest["act2"]
    assert a.top_filters(found, permutations=200).loc[0, "stage"] == "act2"


def test_layers_that_tell_the_instruments_apart_are_counted_with_their_chance(record):
    several, rng = [made_up(record)] * 2, np.random.default_rng(3)
    for stage in a.LAYERS:
        several[0].means[stage] = np.repeat(rng.normal(0, 1, (18, 8)), 3, axis=0)
    several[0].means["act3"][:, 7] += 6.0 * several[0].flute
    bias = a.class_bias(several, permutations=400)
    assert (bias.found > bias.bars).tolist() == [stage == "act3" for stage in a.LAYERS]
    assert bias.chance == pytest.approx(1 - 0.95**9, abs=0.1)  # so often one of nine layers is
    for stage in a.LAYERS:
        several[0].means[stage] = several[0].means[stage] + 8.0 * several[0].flute[:, None]
    bias = a.class_bias(several, permutations=200)
    assert (bias.count, bias.chance) == (9, pytest.approx(1 / 201))
    assert bias.able.all()


def test_a_bar_without_room_above_it_is_told():
    values = np.array([[[0.5, 0.5, 0.4], [0.4, 0.1, 0.2]]])  # one trial, two layers, two permutations
    bias = a.Bias.of(values, most=0.5)
    assert bias.able.tolist() == [False, True]
    assert (bias.count, bias.chance, bias.trials) == (0, 1, 1)


def heard(record, *, gap: float = 0.0, alone: str = "") -> a.Answers:
    """Sixteen songs of two flutes, as many of clarinets; one flute of each of the first eight songs is missed."""
    rng = np.random.default_rng(1)
    of = np.repeat(np.arange(32), 2)
    flute, right = of < 16, ~((of < 8) & (np.arange(64) % 2 == 0))
    played = right.copy() if alone == "right" else np.arange(64) % 4 < 2
    means = {s: rng.normal(0, 1, (32, 3))[of] + rng.normal(0, 0.3, (64, 3)) for s in a.LAYERS}
    for stage in ("act4", "act5", "act6", "act7"):
        means[stage] += gap * right[:, None] * flute[:, None]
    keys, songs = np.array([f"clip {i:02d}" for i in range(64)]), np.array([f"Song {i:02d}" for i in of])
    return a.Answers(record, keys, songs, flute, right, played, means)


def test_recognised_and_missed_are_compared_song_by_song(record):
    quiet, biased = a.right_bias([heard(record)], True), a.right_bias([heard(record, gap=3.0)] * 2, True)
    assert quiet.chance > 0.05
    assert biased.chance < 0.02
    assert (biased.found > biased.bars)[3:7].all()
    # No clarinet is missed, and flutes are recognised just where they are alone: nothing can be said.
    assert a.right_bias([heard(record, gap=3.0)], False) is None
    assert a.right_bias([heard(record, gap=3.0, alone="right")], True) is None
    sides = ("flute, right",), ("flute, missed",)
    assert np.isnan(a.contrast([heard(record, gap=3.0, alone="right")], "act4", *sides, 20)).all()
    assert (a.contrast([heard(record, gap=3.0)], "act4", *sides, 20) > 0.5).all()


def test_groups_are_compared_among_those_alone_and_among_the_others():
    levels = np.array([5.0, 7.0, 1.0, 2.0, 3.0, 9.0])
    alone = np.array([1, 1, 0, 0, 0, 0], bool)
    first, second = np.array([[1, 0, 1, 1, 0, 0]]), np.array([[0, 1, 0, 0, 1, 1]])
    gap, weight = a.apart(levels, first, second, alone)
    assert weight[0] == pytest.approx(1 / 2 + 4 / 4)
    assert gap[0] == pytest.approx((0.5 * (5 - 7) + 1.0 * (1.5 - 6)) / 1.5)
    assert np.isnan(a.apart(levels, alone[None], ~alone[None], alone)[0][0])


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
    assert "flute, right 15 (5); flute, missed 15 (5); clarinet, right 12 (4); clarinet, missed 12 (4)" in table.caption
    levels = a.standardised(several[0], "act5")
    flute, alone = several[0].flute, several[0].alone  # a third of either is alone
    gaps = [levels[flute & s].mean() - levels[~flute & s].mean() for s in (alone, ~alone)]
    expected = gaps[0] / 3 + gaps[1] * 2 / 3
    assert a.contrast(several[:1], "act5", *layers.CONTRASTS["class"], 10)[0, 0] == pytest.approx(expected)


def test_few_songs_are_not_compared(record):
    found = made_up(record)
    right = found.flute.copy()  # no flute is missed, and all clarinets are but those of two songs
    right |= np.isin(found.songs, np.unique(found.songs[~found.flute])[:2])
    found = dataclasses.replace(found, right=right)
    assert np.isnan(a.contrast([found], "act1", *layers.CONTRASTS["flute"], 20)).all()
    assert np.isnan(a.contrast([found], "act1", *layers.CONTRASTS["clarinet"], 20)).all()
    assert not np.isnan(a.contrast([found], "act1", *layers.CONTRASTS["class"], 20)).any()
    tables = [layers.layer_table(STUDY, [found], replicates=50, permutations=20), layers.filter_table(STUDY, found)]
    for table in tables:
        console = Console(file=io.StringIO(), width=100)
        console.print(writing.to_terminal(table))
        assert "nan" not in console.file.getvalue() + writing.to_markdown(table) + writing.to_latex(table)


def test_the_best_filters_have_intervals_even_where_they_have_no_fault(record):
    found = made_up(record, planted=9.0)
    found.means["act4"][:, 3] -= 9.0 * found.flute
    table = layers.filter_table(STUDY, found, replicates=200, permutations=100)
    frame = table.frame.set_index("name_title")
    first = frame.loc[["conv3, 7", "conv4, 3"]]
    assert first["answers_more_to"].tolist() == ["flutes", "clarinets"]
    assert (first["area"] == 1).all()
    assert (first["beyond_chance"] == "yes").all()
    assert (first["difference_low"] < first["difference"]).all()
    assert (first["difference"] < first["difference_high"]).all()
    assert first.loc["conv3, 7", "difference_low"] > 1 > -1 > first.loc["conv4, 3", "difference_high"]
    assert (frame["area"] >= 0.5).all()
    assert (frame["area"] - frame["bar"]).round(9).is_monotonic_decreasing
    values = found.means["act4"][:, 3]
    expected = (values[found.flute].mean() - values[~found.flute].mean()) / values.std()
    assert frame.loc["conv4, 3", "difference"] == pytest.approx(expected)


def test_the_table_of_layers_tells_what_the_tests_find(record):
    several = [heard(record, gap=3.0), heard(record, gap=3.0)]
    table = layers.layer_table(STUDY, several, replicates=50, permutations=100)
    frame = table.frame.set_index("stage")
    bias = a.right_bias(several, True, permutations=100)
    assert frame["flute_beyond"].tolist() == (bias.found > bias.bars).tolist()
    assert set(frame["flute_p"]) == {bias.chance}
    assert set(frame["flute_seeds"]) == {2}
    assert frame["clarinet_p"].isna().all()
    np.testing.assert_allclose(frame["bar"] - 0.5, a.class_bias(several, permutations=100).bars)
    assert f"flutes right and missed in {bias.count} (p = {bias.chance:.2g})" in table.caption
    assert "clarinets right and missed not judged, too few songs" in table.caption
    assert "flute, right 24 (12); flute, missed 8 (4); clarinet, right 32 (16)" in table.caption


def test_a_layer_that_never_changes_has_no_bias(record):
    found = made_up(record)
    found.means["act2"][:] = 1.5
    assert (a.standardised(found, "act2") == 0).all()
    frame = a.filters_of(found, permutations=20)
    assert (frame.loc[frame["stage"] == "act2", "auc"] == 0.5).all()
