"""The tree that `harness.corpora.pocket.irmas` writes, the plan it follows, and the corpus that is read from it."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness import corpora
from harness.corpora import irmas as reader
from harness.corpora import irmas_pocket
from harness.corpora.irmas import CLASSES
from harness.corpora.pocket import irmas as renderer
from harness.corpora.pocket import irmas_song, synth
from harness.corpora.pocket.irmas_plan import (
    CLIP_TENTHS,
    FOLDERS,
    GAP_TENTHS,
    GENRES,
    MIXTURE_TENTHS,
    PARTS,
    PATCHES,
    draw_songs,
    shares,
)
from harness.corpora.pocket.soundfont import HIGHEST, LOWEST, load
from harness.errors import RepriseError
from harness.storage import cache_home, sha256_of

SIZE = renderer.SMALLEST


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("pocket") / "twin"
    renderer.render(root, size=SIZE, jobs=1)
    return root


@pytest.fixture(scope="module")
def corpus(tree):
    return reader.read(tree, f"pocket-irmas-{SIZE}")


@pytest.fixture(scope="module")
def plan():
    return draw_songs(600, 0)


@pytest.fixture(scope="module")
def song(plan):
    """A short one with backing and rhythm, composed: the song, its score, its parts as played, and when."""
    chosen = next(s for s in plan if s.backing and len(s.rhythm) == 3 and len(s.excerpts) == 2)
    return chosen, *irmas_song.compose(chosen, np.random.default_rng(3))


def sums(root):
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(root.rglob("*")) if path.is_file()}


def labels_of(plan, part):
    return Counter(code for s in plan if s.partition == part for e in s.excerpts for code in e.labels)


def test_the_same_bytes_with_any_number_of_processes(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(renderer, "CHUNK", 4)
    renderer.render(tmp_path / "again", size=SIZE, jobs=2)
    assert sums(tmp_path / "again") == sums(tree)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_another_seed_is_another_corpus():
    first, second = draw_songs(SIZE, 0), draw_songs(SIZE, 1)
    assert first == draw_songs(SIZE, 0)
    assert {s.excerpts[0].path for s in first}.isdisjoint(s.excerpts[0].path for s in second)
    shortest = min(first, key=lambda s: s.tenths)
    ours, theirs = (irmas_song.render_song(seed, shortest)[0] for seed in (0, 1))
    assert ours != theirs


@pytest.mark.parametrize("size", [66, 67, 100, 600, 2000])
def test_a_plan_of_any_size(size):
    songs = draw_songs(size, 5)
    excerpts = [(s, e) for s in songs for e in s.excerpts]
    assert len(excerpts) == size
    assert len({e.key for _, e in excerpts}) == size
    assert [s.number for s in songs] == list(range(len(songs)))
    of_part = Counter(s.partition for s, _ in excerpts)
    assert of_part["test"] == round(size * 4 / 15)
    of_class = Counter(s.leads for s in songs if s.partition == "train")
    assert of_class.keys() == {(code,) for code in CLASSES}
    assert min(of_class.values()) >= 2  # else a split by song could not have both parts
    assert len(labels_of(songs, "test")) >= (len(CLASSES) if size >= 100 else 9)
    assert {e.path.rpartition("/")[0] for s, e in excerpts if s.partition == "test"} == set(FOLDERS)


def test_classes_are_as_frequent_as_in_the_published_corpus(plan):
    train, test = labels_of(plan, "train"), labels_of(plan, "test")
    for code in CLASSES:
        assert train[code] == pytest.approx(440 * reader.TRAINING[code] / 6705, abs=1)
    assert test["cla"] == min(test.values())
    assert test["flu"] >= 1.5 * test["cla"]
    assert {code for code, _ in test.most_common(4)} == {"voi", "pia", "gel", "gac"}
    numbers = Counter(len(e.labels) for s in plan if s.partition == "test" for e in s.excerpts)
    for number, count in reader.LABELS_PER_MIXTURE.items():
        assert numbers[number] == pytest.approx(160 * count / reader.MIXTURES, abs=1)
    assert {len(e.labels) for s in draw_songs(2000, 0) for e in s.excerpts} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("seed", range(4))
def test_every_class_is_alone_as_often_as_with_others(seed):
    excerpts = [(s, e) for s in draw_songs(600, seed) if s.partition == "test" for e in s.excerpts]
    alone, all_of = Counter(), Counter(code for _, e in excerpts for code in e.labels)
    alone.update(e.labels[0] for _, e in excerpts if len(e.labels) == 1)
    share = sum(alone.values()) / sum(all_of.values())
    for code in CLASSES:
        assert alone[code] == pytest.approx(share * all_of[code], abs=2)
        assert alone[code] >= 2
    # What is said of flutes and clarinets rests on several songs of either.
    for code, other in (("flu", "cla"), ("cla", "flu")):
        assert len({s.number for s, e in excerpts if code in e.labels and other not in e.labels}) >= 6


def test_excerpts_of_a_song_do_not_touch(plan):
    for s in plan:
        for first, second in itertools.pairwise(s.excerpts):
            gap = second.start - first.start - first.length
            assert GAP_TENTHS[0] <= gap <= GAP_TENTHS[1]
        for e in s.excerpts:
            assert set(e.labels) <= set(s.leads)
            assert list(e.labels) == sorted(e.labels)
            if s.partition == "train":
                assert e.length == CLIP_TENTHS
            else:
                assert MIXTURE_TENTHS[0] <= e.length <= MIXTURE_TENTHS[1]
        assert not set(s.backing) & set(s.leads)
        assert not set(s.leads) & set(GENRES[s.genre].strange)


def test_both_styles_of_names(plan):
    names = [e.key for s in plan if s.partition == "train" for e in s.excerpts]
    with_drums = [name for name in names if "[dru]" in name or "[nod]" in name]
    assert 0.35 < len(with_drums) / len(names) < 0.65
    assert all(name[:3].isdigit() and name[3:5] == "__" for name in with_drums)
    assert all(name.startswith("[") for name in set(names) - set(with_drums))
    for s in plan:
        for e in s.excerpts:
            assert ("[dru]" in e.key) <= ("drums" in s.rhythm)
            assert ("[nod]" in e.key) <= ("drums" not in s.rhythm)


def test_shares_add_up():
    assert shares([1, 1, 1], 10) == [4, 3, 3]
    assert shares([3, 1], 4) == [3, 1]


def test_the_guitars_are_told_apart_by_their_programs():
    programs = {code: {patch.program for patch in PATCHES[code]} for code in CLASSES}
    assert programs["gac"] == {24, 25}
    assert programs["gel"] == {26, 27, 29, 30}
    assert all(not some & others for some, others in itertools.combinations(programs.values(), 2))
    for patches in PATCHES.values():
        for patch in patches:
            assert (patch.bank, patch.program) in load().presets
            assert LOWEST <= patch.low < patch.high <= HIGHEST


def test_the_reader_of_the_published_layout_reads_it(tree, corpus, capsys):
    assert reader.read(tree, "pocket-irmas").checksum == corpus.checksum
    assert capsys.readouterr().err == ""
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.facts["left_out"] == corpus.facts["noted"] == {}
    assert (corpus.facts["training_clips"], corpus.facts["test_mixtures"]) == (48, 18)
    assert corpus.facts["parameters"] == {"size": SIZE, "seed": 0}
    assert corpus.facts["audio_checksums"] == sha256_of(tree / "checksums")
    songs = draw_songs(SIZE, 0)
    truth = {e.key: e.labels for s in songs for e in s.excerpts}
    for key, row in zip(corpus.clips["key"], corpus.labels, strict=True):
        assert tuple(code for code, has in zip(CLASSES, row, strict=True) if has) == truth[key]
    assert corpus.clips["group"].nunique() == len(songs)
    split = corpus.split("official", 2)
    assert set(split.leakage["shared_groups"].values()) == {0}
    text = next((tree / FOLDERS[0]).glob("*.txt"))
    assert text.read_bytes().endswith(b"\t\n")


def test_every_clip_is_sound_of_its_length_without_clipping(corpus):
    for path, seconds in zip(corpus.clips["path"], corpus.clips["seconds"], strict=True):
        file = soundfile.info(path)
        assert (file.samplerate, file.channels, file.subtype) == (44100, 2, "PCM_16")
        audio, _ = soundfile.read(path)
        assert len(audio) == round(44100 * seconds)
        assert np.abs(audio).max() <= 0.86
        mono = audio.mean(axis=1)
        assert -34 < 20 * np.log10(np.sqrt((mono**2).mean())) < -10
        assert (synth.frame_levels(mono) > 1e-3).mean() > 0.75
        assert not np.array_equal(audio[:, 0], audio[:, 1])


def test_stems_and_noise_add_up_to_the_clip(tree, corpus):
    for partition in ("train", "test"):
        clip = corpus.clips[corpus.clips["partition"] == partition].iloc[3]
        audio, _ = soundfile.read(clip["path"], dtype="float32")
        stems = {part: renderer.stem(tree, clip["key"], part)[0] for part in renderer.parts(tree, clip["key"])}
        assert all(stem.dtype == np.float32 and stem.shape == (len(audio),) for stem in stems.values())
        rest = audio.mean(axis=1) - sum(stems.values())
        # Noise is left, and the rest of what other parts played before: far below the music.
        assert rest.std() < 0.01 * audio.std()
        again, rate = renderer.stem(tree, clip["key"], next(iter(stems)))
        np.testing.assert_array_equal(again, stems[next(iter(stems))])
        assert rate == 44100


def test_the_instrument_of_a_training_clip_is_louder_than_what_accompanies_it(tree, corpus):
    compared = 0
    for key in corpus.clips["key"][corpus.clips["partition"] == "train"].iloc[::3]:
        parts = renderer.parts(tree, key)
        lead = CLASSES[corpus.labels[corpus.clips.index[corpus.clips["key"] == key].item()].argmax()]
        levels = {part: renderer.stem(tree, key, part)[0].std() for part in parts if part in CLASSES}
        for part in levels.keys() - {lead}:
            assert levels[lead] > 10 ** (2 / 20) * levels[part]
            compared += 1
    assert compared > 5


def test_activity_is_where_the_stem_sounds(tree, corpus):
    active, seconds = renderer.activity(tree)
    assert seconds == 0.1
    assert list(active) == corpus.clips["key"].tolist()
    for clip, labels in zip(corpus.clips.itertuples(), corpus.labels, strict=True):
        frames = active[clip.key]
        assert frames.shape == (len(PARTS), round(10 * clip.seconds))
        assert frames[: len(CLASSES)][labels == 1].mean(axis=1).min() >= irmas_song.LEAST_ACTIVE
        silent = [number for number, part in enumerate(PARTS) if part not in renderer.parts(tree, clip.key)]
        assert not frames[silent].any()
    key = corpus.clips["key"].iloc[-1]
    for part in renderer.parts(tree, key):
        here = active[key][PARTS.index(part)]
        levels = synth.frame_levels(renderer.stem(tree, key, part)[0])
        assert here.any()
        if not here.all():
            assert np.median(levels[here]) > np.median(levels[~here])


def test_the_mix_is_the_sum_of_the_placed_parts(song):
    _, score, dries, _ = song
    placed = sum(synth.place(dry, part, score.room) for dry, part in zip(dries, score.parts, strict=True))
    mix = irmas_song.mix_parts(score, dries)
    assert np.abs(mix - placed).max() < 1e-5 * np.abs(placed).max()


def test_a_song_whose_labels_are_not_what_is_heard_is_composed_anew(song):
    plan, score, dries, active = song
    lead, *others = score.parts
    assert lead.instrument == plan.leads[0]
    good = replace(score, parts=(lead, *(replace(p, gain=0.05 * lead.gain) for p in others)))
    assert irmas_song.is_as_labelled(plan, good, dries, active)
    backing = PARTS.index(plan.backing[0])
    loud = replace(
        score,
        parts=tuple(replace(p, gain=p.gain * (100 if p.instrument == PARTS[backing] else 1)) for p in score.parts),
    )
    assert not irmas_song.is_as_labelled(plan, loud, dries, active)
    silent = active.copy()
    silent[PARTS.index(plan.leads[0]), plan.excerpts[1].start :] = False
    assert not irmas_song.is_as_labelled(plan, good, dries, silent)
    two = replace(
        plan,
        leads=(lead.instrument, others[0].instrument),
        backing=(),
        excerpts=tuple(replace(e, labels=(lead.instrument, others[0].instrument)) for e in plan.excerpts),
    )
    faint = replace(score, parts=(lead, replace(others[0], gain=1e-3 * others[0].gain), *others[1:]))
    assert not irmas_song.is_as_labelled(two, faint, dries, np.ones_like(active))


def test_what_does_not_play_has_no_stem(tree, corpus, tmp_path):
    key = corpus.clips["key"].iloc[0]
    absent = next(part for part in PARTS if part not in renderer.parts(tree, key))
    with pytest.raises(RepriseError, match=f"no {absent} plays in .*: choose from "):
        renderer.stem(tree, key, absent)
    with pytest.raises(RepriseError, match=r"has no clip nothing-1: see its ground_truth/clips\.csv"):
        renderer.parts(tree, "nothing-1")
    for call in (lambda: renderer.activity(tmp_path), lambda: renderer.stem(tmp_path, key, "pia")):
        with pytest.raises(RepriseError, match=r"has no readable ground truth .*: delete the folder and render"):
            call()


def test_what_is_there_is_left_as_it_is(tree, tmp_path):
    before = sums(tree)
    renderer.render(tree, size=SIZE, jobs=1)
    assert sums(tree) == before
    with pytest.raises(RepriseError, match="is not empty"):
        renderer.render(tree, size=SIZE, seed=1, jobs=1)
    with pytest.raises(RepriseError, match="has 66 to 100,000 clips, not 65"):
        renderer.render(tmp_path / "small", size=65)
    with pytest.raises(RepriseError, match="the seed of a pocket corpus is a whole number from 0 on, not -1"):
        renderer.render(tmp_path / "seed", seed=-1)
    assert not any(tmp_path.iterdir())


def test_it_is_a_corpus_of_the_table(tree, corpus):
    assert corpora.load(f"pocket-irmas-{SIZE}", tree).checksum == corpus.checksum
    with pytest.raises(RepriseError, match="holds 66 clips and not the 70 of pocket-irmas-70"):
        corpora.load("pocket-irmas-70", tree)
    assert irmas_pocket.folder() == cache_home() / "corpora" / f"pocket-irmas-600-seed-0-v{renderer.RENDERER_VERSION}"
    assert not irmas_pocket.CORPORA[0].missing(tree)
    listed = irmas_pocket.CORPORA[0].checksums(tree)
    assert listed.keys() == {path.relative_to(tree).as_posix() for path in tree.rglob("*.wav")}


def test_the_tables_say_what_was_planned(tree):
    table = pd.read_csv(tree / "ground_truth" / "clips.csv").set_index("key")
    songs = draw_songs(SIZE, 0)
    assert len(list((tree / "ground_truth" / "scores").iterdir())) == len(songs)
    for s in songs:
        for e in s.excerpts:
            found = table.loc[e.key]
            assert found[["song", "start_tenths", "tenths", "song_tenths"]].tolist() == [
                s.number,
                e.start,
                e.length,
                s.tenths,
            ]
            assert found["parts"].split() == [p for p in PARTS if p in (*e.labels, *s.backing, *s.rhythm)]
            assert (tree / found["path"]).is_file()
