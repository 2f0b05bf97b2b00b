"""What filters answer to flutes and clarinets: areas, labels dealt anew, and a planted filter that tells the two."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from irmas_trials import FLUTE, analysed, made_up_corpus, made_up_trials

from harness import features
from harness.corpora.irmas import CLASSES
from replications.irmas_activations import filter_activations as fa
from replications.irmas_activations.networks import han
from replications.irmas_activations.windows import windows


def made_up(*, seed: int = 0, songs: int = 26, flutes: int = 16, mixed: bool = False) -> fa.FilterActivations:
    """Activations that say nothing of the instruments: songs of one to six excerpts, which sound alike."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, songs)
    of = np.repeat(np.arange(songs), sizes)
    flute = rng.permutation(np.arange(songs) < flutes)[of]
    if mixed:
        flute[of == sizes.argmax()] = np.arange(sizes.max()) < 2
    means = {s: rng.normal(0, 1, (songs, 12))[of] + rng.normal(0, 0.4, (len(of), 12)) for s in fa.LAYERS}
    names = np.array([f"Song {i:02d}" for i in of])
    right, alone = rng.random(len(of)) < 0.5, (rng.random(songs) < 0.4)[of]
    return fa.FilterActivations(None, names, flute, right, alone, means)


# Measured when a network is trained.


def test_mean_activations_are_those_of_the_windows():
    """Of excerpts of several lengths, by a network of the study on small pictures."""
    torch.manual_seed(0)
    network, front_end = han(11).eval(), features.front_end("han_segments", n_mels=16, time_pool=3)
    rng = np.random.default_rng(0)
    spectrograms = [rng.normal(0, 1, (16, length)).astype(np.float32) for length in (front_end.frames, 50)]
    found = fa.mean_activations(network, iter(spectrograms), 0.5, frames=front_end.frames)
    assert sum(values.shape[1] for values in found.values()) == 1984
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}
    for row, spectrogram in enumerate(spectrograms):
        maps = torch.from_numpy(windows(spectrogram, frames=front_end.frames))
        with torch.no_grad():
            for name, stage in network.named_children():
                maps = stage(maps)
                if name in fa.LAYERS:
                    mean = maps.flatten(2).mean(dim=2) if maps.ndim == 4 else maps
                    np.testing.assert_allclose(found[name][row], mean.mean(dim=0), rtol=1e-3, atol=1e-6)
    again = fa.mean_activations(network, spectrograms, 0.5, frames=front_end.frames)
    assert all((again[stage] == found[stage]).all() for stage in fa.LAYERS)


def test_what_was_measured_is_read_with_the_clips_songs(tmp_path):
    corpus = made_up_corpus()
    records = made_up_trials(tmp_path, corpus, answers=lambda labels, right: {"act2": 5.0 * labels[:, [FLUTE]]})
    analysis = analysed(records, corpus)
    found = fa.read(analysis)
    assert [f.record.seed for f in found] == [0, 1]  # of the first condition alone
    p, first = analysis.predictions(records[0], "test"), found[0]
    rows = fa.has_one(p.labels, CLASSES)
    np.testing.assert_array_equal(first.flute, p.labels[rows, FLUTE] == 1)
    songs = corpus.clips.set_index("key")["group"]
    assert first.songs.tolist() == songs.loc[p.keys[rows]].tolist()
    np.testing.assert_array_equal(first.alone, p.labels[rows].sum(axis=1) == 1)
    assert (first.means["act2"][first.flute].mean() - first.means["act2"][~first.flute].mean()) > 3
    assert sum(map(np.sum, first.groups().values())) == rows.sum()
    assert fa.read(analysed(made_up_trials(tmp_path / "old", corpus), corpus)) == []


# Filters.


def test_areas_are_scikit_learns():
    rng = np.random.default_rng(1)
    values, flute = rng.integers(0, 6, (40, 5)).astype(float), rng.random(40) < 0.4  # with ties
    expected = [sk.roc_auc_score(flute, column) for column in values.T]
    both = fa.auc(values, np.stack([flute, ~flute]))
    np.testing.assert_allclose(both, [expected, 1 - np.array(expected)])


def test_labels_stay_on_songs_of_any_size():
    found = made_up()
    labels = fa.dealt_anew(found.flute, found.songs, 100)
    np.testing.assert_array_equal(labels[0], found.flute)
    for song in np.unique(found.songs):
        of_song = labels[:, found.songs == song]
        assert (of_song == of_song[:, :1]).all()
    _, firsts = np.unique(found.songs, return_index=True)
    assert (labels[:, firsts].sum(axis=1) == 16).all()
    assert len(np.unique(labels, axis=0)) > 90
    np.testing.assert_array_equal(labels, fa.dealt_anew(found.flute, found.songs, 100))
    assert (labels != fa.dealt_anew(found.flute, found.songs, 100, seed=1)).any()


def test_a_song_of_both_labels_keeps_as_many():
    songs = np.array(list("aabbbcddd"))
    labels = np.array([1, 1, 0, 0, 1, 0, 1, 1, 0], bool)  # b and d have both, a and c one
    dealt = fa.dealt_anew(labels, songs, 200)
    assert {tuple(row) for row in dealt[:, [0, 1, 5]].tolist()} == {(True, True, False), (False, False, True)}
    assert {(row[2:5].sum(), row[6:].sum()) for row in dealt} == {(1, 2), (2, 1)}
    assert len({tuple(row) for row in dealt[:, 2:5].tolist()}) == 6


def test_a_network_that_tells_nothing_has_a_filter_beyond_chance_as_rarely_as_it_says():
    found = [fa.filters_of(made_up(seed=s, mixed=s % 2 == 0), level=0.9, permutations=99) for s in range(100)]
    assert 3 <= sum(frame["beyond"].any() for frame in found) <= 19  # 10 are expected; of nine layers each
    assert 3 <= sum(frame["p"].min() <= 0.1 for frame in found) <= 19


def test_a_planted_filter_is_the_best_and_beyond_chance():
    found = made_up()
    found.means["act3"][:, 7] -= 6.0 * found.flute
    frame = fa.filters_of(found, level=0.99)
    best = frame.iloc[0]
    assert (best["stage"], best["filter"], best["beyond"]) == ("act3", 7, True)
    assert best["p"] == pytest.approx(1 / (1 + fa.PERMUTATIONS))
    assert (best["auc"], best["area"]) == (0, 1)
    assert frame["beyond"].sum() == (frame["p"] <= 0.01).sum() == 1
    assert (frame["beyond"] == (frame["area"] > frame["bar"])).all()
    assert frame["z"].is_monotonic_decreasing
    assert len(frame) == 9 * 12


def test_many_filters_do_not_make_a_layer_the_best():
    found, rng = made_up(songs=18, flutes=10), np.random.default_rng(0)
    songs = np.unique(found.songs, return_inverse=True)[1]
    found.means["act8"] = rng.normal(0, 1, (18, 2000))[songs]  # has some far from 0.5 by chance
    found.means["act2"] = rng.normal(0, 1, (18, 1))[songs] + 1.8 * found.flute[:, None]
    ranked = fa.filters_of(found, permutations=200)
    highest = ranked.groupby("stage")["area"].max()
    assert highest["act8"] > highest["act2"]
    assert ranked.loc[0, "stage"] == "act2"


def test_layers_that_never_change_or_that_chance_tells_apart_have_no_filter_beyond_it():
    found = made_up(songs=4, flutes=2)
    found.means["act2"][:] = 1.5
    found.means["act3"] = np.random.default_rng(0).normal(0, 1, (4, 5000))[
        np.unique(found.songs, return_inverse=True)[1]
    ]
    frame = fa.filters_of(found, permutations=50).set_index("stage")
    assert (frame.loc["act2", "auc"] == 0.5).all()
    assert (frame.loc["act3", "bar"] == 1).all()  # some of so many filters tell four songs apart each time
    assert not frame.loc[["act2", "act3"], "beyond"].any()
    found = dataclasses.replace(found, means=dict.fromkeys(fa.LAYERS, found.means["act3"]))
    frame = fa.filters_of(found, permutations=50)
    assert (frame["bar"] == 1).all()
    assert (frame["p"] == 1).all()
    assert not frame["beyond"].any()


def test_filters_without_fault_have_intervals():
    found = made_up()
    found.means["act3"][:, 7] -= 9.0 * found.flute
    top = fa.filters_of(found, permutations=50).iloc[:3]
    rows = fa.filter_contrasts(found, top, level=0.95, replicates=200)
    values = found.means["act3"][:, 7]
    assert rows[0, 0] == pytest.approx((values[found.flute].mean() - values[~found.flute].mean()) / values.std())
    assert rows[0, 1] < rows[0, 0] < rows[0, 2] < -1


# Layers.


def test_groups_are_compared_among_those_alone_and_among_the_others():
    levels = np.array([5.0, 7.0, 1.0, 2.0, 3.0, 9.0])[:, None]
    alone = np.array([1, 1, 0, 0, 0, 0], bool)
    first, second = np.array([[1, 0, 1, 1, 0, 0]]), np.array([[0, 1, 0, 0, 1, 1]])
    gap, weight = fa.apart(levels, first, second, alone)
    assert weight[0, 0] == pytest.approx(1 / 2 + 4 / 4)
    assert gap[0, 0] == pytest.approx((0.5 * (5 - 7) + 1.0 * (1.5 - 6)) / 1.5)
    assert [x[0, 0] for x in fa.apart(levels, alone[None], ~alone[None], alone)] == [0, 0]  # nothing to compare


def test_a_planted_difference_between_right_and_missed_is_found():
    found = made_up(songs=40, flutes=30)
    found.means["act4"] += 1.5 * found.right[:, None]
    rows = fa.layers_of(found, "flute", level=0.99)
    assert rows["beyond"].tolist() == [stage == "act4" for stage in fa.LAYERS]
    assert rows["beyond"].tolist() == (rows["p"] <= 0.01).tolist()
    levels, gaps, weights = found.standardised("act4"), [], []
    for stratum in (found.alone, ~found.alone):
        right, missed = (levels[found.flute & stratum & side] for side in (found.right, ~found.right))
        gaps.append(right.mean() - missed.mean())
        weights.append(len(right) * len(missed) / (len(right) + len(missed)))
    assert rows.loc["act4", "difference"] == pytest.approx(np.average(gaps, weights=weights))
    between = fa.layers_of(found, "class", level=0.99)
    assert not between["beyond"].any()


def test_a_network_that_tells_nothing_has_a_layer_beyond_chance_as_rarely_as_it_says():
    found = [fa.layers_of(made_up(seed=s), "flute", level=0.9, permutations=99) for s in range(100)]
    assert 3 <= sum(rows["beyond"].any() for rows in found) <= 19  # 10 are expected


def test_one_that_plays_alone_is_recognised_more_often_and_that_is_no_bias():
    found = made_up(songs=40, flutes=30)
    rng = np.random.default_rng(0)
    right = np.where(found.alone, rng.random(len(found.alone)) < 0.8, rng.random(len(found.alone)) < 0.2)
    means = {stage: values + 4.0 * found.alone[:, None] for stage, values in found.means.items()}
    found = dataclasses.replace(found, right=right, means=means)
    levels, chosen = found.standardised("act1"), found.flute
    assert levels[chosen & right].mean() - levels[chosen & ~right].mean() > 0.8
    rows = fa.layers_of(found, "flute")
    assert not rows["beyond"].any()
    assert (rows["difference"].abs() < 0.4).all()


def test_few_songs_are_not_compared():
    found = made_up()
    some = np.unique(found.songs[found.flute])[: fa.FEWEST - 1]
    assert fa.layers_of(found, "flute", permutations=9) is not None
    few = dataclasses.replace(found, right=~(np.isin(found.songs, some) & found.flute))
    assert fa.layers_of(few, "flute") is None
    # Flutes are recognised just where they are alone: nothing can be said.
    assert fa.layers_of(dataclasses.replace(found, right=found.alone), "flute") is None
