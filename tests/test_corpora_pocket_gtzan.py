"""The tree that `harness.corpora.pocket.gtzan` writes, and the corpus that is read from it."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from harness import corpora
from harness.corpora import download, gtzan, gtzan_pocket
from harness.corpora.gtzan_filtered import GENRES, PARTS
from harness.corpora.pocket import gtzan as renderer
from harness.corpora.pocket import studio
from harness.corpora.pocket.genres import MARKS, ROLES
from harness.corpora.pocket.gtzan_plan import DISTORTIONS, KINDS, LENGTHS, draw_clips, draw_parts
from harness.errors import RepriseError
from harness.storage import cache_home, sha256_of

SIZE = 25


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("pocket") / "twin"
    renderer.render(root, size=SIZE, jobs=2)
    return root


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """The faulty tracks of a corpus of 200 and those they refer to: by key, with what was planted."""
    folder = tmp_path_factory.mktemp("faulty")
    clips = {clip.key: clip for clip in draw_clips(200, 0)}
    planted = [clip for clip in clips.values() if clip.fault]
    wanted = {clip.key for clip in planted} | {clip.other for clip in planted if clip.other in clips}
    renderer._write_chunk((folder, 0, [clips[key] for key in sorted(wanted)]))
    audio = {key: soundfile.read(folder / f"genres/{key[:-6]}/{key}.wav", dtype="float32")[0] for key in wanted}
    return planted, audio


def read_wav(root, key):
    return soundfile.read(root / "genres" / key[:-6] / f"{key}.wav", dtype="float32")[0]


def test_files_have_the_published_form(tree):
    paths = sorted((tree / "genres").glob("*/*"))
    assert len(paths) == SIZE
    seen = Counter(path.parent.name for path in paths)
    assert seen == {genre: 3 if place < 5 else 2 for place, genre in enumerate(GENRES)}
    for path in paths:
        info = soundfile.info(path)
        assert (info.format, info.samplerate, info.channels, info.subtype) == ("WAV", 22050, 1, "PCM_16")
        assert LENGTHS[0] <= info.frames <= LENGTHS[1]
        assert gtzan.sounds_like_a_track(path)
        assert path.stem == f"{path.parent.name}.{int(path.stem[-5:]):05d}"


def test_tracks_are_loud_enough_never_silent_and_clip_only_where_planted(tree):
    planted = set(renderer.faults(tree)["key"])
    for path in (tree / "genres").glob("*/*.wav"):
        samples, _ = soundfile.read(path)
        level = np.sqrt(np.mean(samples**2))
        assert -33 < 20 * np.log10(level) < -8 or path.stem in planted
        frames = np.sqrt(np.mean(samples[: len(samples) // 2205 * 2205].reshape(-1, 2205) ** 2, axis=1))
        quiet = "".join("q" if frame < level * 10**-1.5 else "." for frame in frames)
        assert "q" * 20 not in quiet
        at_top = np.mean(np.abs(samples) > np.abs(samples).max() - 1e-4)
        assert at_top < 1e-4 or path.stem in planted


def test_no_two_tracks_are_alike_but_those_that_were_planted(tree):
    sums = [line[:32] for line in (tree / "checksums").read_text().splitlines()]
    assert len(sums) == SIZE
    repeated = renderer.faults(tree)["kind"].isin(["repetition", "conflict"]).sum()
    assert len(set(sums)) == SIZE - repeated


def test_the_reader_finds_artists_and_parts(tree, capsys):
    corpus = gtzan.read(tree, "pocket-gtzan")
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.classes == GENRES
    assert len(corpus.clips) == SIZE
    assert corpus.clips["artist"].notna().all()
    assert corpus.clips["group"].equals(corpus.clips["artist"])
    assert corpus.facts["parameters"] == {"size": SIZE, "seed": 0}
    assert corpus.facts["lists"] == "of the tree"
    assert corpus.facts["audio_checksums"] == sha256_of(tree / "checksums")
    assert corpus.facts["left_out"] == corpus.facts["noted"] == {}
    assert not capsys.readouterr().err
    split = corpus.split("published")
    assert set(split.leakage["shared_groups"].values()) == {0}
    assert sum(len(rows) for rows in split.rows.values()) == SIZE - len(renderer.faults(tree))


def test_stems_add_up_to_the_file(tree):
    planted = set(renderer.faults(tree)["key"])
    for key in ("blues.00001", "metal.00000", "classical.00000"):
        assert key not in planted
        playing = renderer.parts(tree, key)
        stems = {}
        for part in playing:
            stems[part], rate = renderer.stem(tree, key, part)
            assert rate == 22050
        noise = studio.noise(renderer.read_recording(tree, key))
        audio = read_wav(tree, key)
        assert stems[playing[0]].shape == audio.shape
        assert np.abs(audio - sum(stems.values()) - noise).max() < 2 / 32768


def test_the_marking_part_sounds_in_every_track(tree):
    told = json.loads((tree / "ground_truth" / "parts.json").read_text())
    assert len(told) == SIZE
    for key, row in told.items():
        part = renderer.marking_part(tree, key)
        assert part == MARKS[row["plays"]][0]
        assert part in renderer.parts(tree, key)
        assert row["parts"].keys() == set(ROLES)
    stem, _ = renderer.stem(tree, "disco.00001", renderer.marking_part(tree, "disco.00001"))
    frames = np.sqrt(np.mean(stem[: len(stem) // 22050 * 22050].reshape(-1, 22050) ** 2, axis=1))
    assert np.mean(frames > 0.1 * frames.max()) > 0.7


def test_ground_truth_that_is_not_there(tree, tmp_path):
    for ask in (renderer.faults, lambda root: renderer.stem(root, "blues.00000", "lead")):
        with pytest.raises(RepriseError, match=r"has no readable ground truth .*: delete the folder and render"):
            ask(tmp_path)
    with pytest.raises(RepriseError, match=r"has no track blues.00099: see ground_truth/parts.json"):
        renderer.marking_part(tree, "blues.00099")
    with pytest.raises(RepriseError, match=r"no drums in classical.00000: choose from .*chords"):
        renderer.stem(tree, "classical.00000", "drums")


@pytest.mark.parametrize("size", [20, 21, 30, 40, 60, 100, 200, 1000])
@pytest.mark.parametrize("seed", [0, 1])
def test_plans_of_any_size(size, seed):
    clips = draw_clips(size, seed)
    assert len({clip.key for clip in clips}) == len(clips) == size
    counts = Counter(clip.genre for clip in clips)
    assert max(counts.values()) - min(counts.values()) <= 1
    kinds = Counter(clip.fault for clip in clips if clip.fault)
    if size >= 100:
        assert set(kinds) == set(KINDS)
        assert sum(kinds.values()) == max(5, round(0.04 * size))
    by_key = {clip.key: clip for clip in clips}
    for clip in clips:
        if clip.fault in ("repetition", "conflict", "near_repetition"):
            assert not by_key[clip.other].fault
            assert clip.recording == by_key[clip.other].recording
            assert (clip.genre == by_key[clip.other].genre) == (clip.fault != "conflict")
        elif clip.fault == "mislabelling":
            assert clip.plays == clip.other != clip.genre
        else:
            assert clip.plays == clip.genre
    parts = draw_parts(clips, seed)
    assert set(parts) == {clip.key for clip in clips if not clip.fault}
    where = {}
    for clip in clips:
        if not clip.fault:
            where.setdefault(clip.artist, set()).add(parts[clip.key])
    assert all(len(some) == 1 for some in where.values())
    assert set(parts.values()) == set(PARTS)
    if size >= 30:
        for genre in GENRES:
            assert {parts[clip.key] for clip in clips if clip.genre == genre and not clip.fault} == set(PARTS)
    if size >= 200:
        shares = [list(parts.values()).count(part) / len(parts) for part in PARTS]
        assert shares == pytest.approx([0.48, 0.21, 0.31], abs=0.05)
        assert 3 <= size / len({clip.artist for clip in clips}) <= 5


def test_planted_faults_are_what_they_are_called(faulty):
    planted, audio = faulty
    assert len(planted) == 8
    assert {clip.fault for clip in planted} == set(KINDS)
    for clip in planted:
        heard = audio[clip.key]
        if clip.fault in ("repetition", "conflict"):
            assert np.array_equal(heard, audio[clip.other])
        elif clip.fault == "near_repetition":
            original = audio[clip.other]
            other = next(c for c in draw_clips(200, 0) if c.key == clip.other)
            shift = clip.first - other.first
            assert 3 * 22050 <= shift <= 6 * 22050
            length = min(len(original) - shift, len(heard))
            together = np.corrcoef(original[shift : shift + length], heard[:length])[0, 1]
            assert 0.95 < together < 0.9999
            assert not np.array_equal(original[shift : shift + length], heard[:length])
        elif clip.fault == "distortion" and clip.other == "clipping":
            assert np.mean(np.abs(heard) > np.abs(heard).max() - 1e-4) > 0.05
        elif clip.fault == "distortion":
            frames = np.abs(heard[: len(heard) // 1102 * 1102].reshape(-1, 1102))
            assert np.sum(np.median(frames, axis=1) > 0.4) >= 15  # noise of uniform amplitude, a twentieth of a second


def test_both_distortions_are_planted_in_turn():
    assert {clip.other for clip in draw_clips(200, 0) if clip.fault == "distortion"} == set(DISTORTIONS)


def test_the_lists_and_tables_of_the_tree(tree):
    with open(tree / "artists.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SIZE
    assert set(rows[0]) == {"key", "artist"}
    for part in PARTS:
        lines = (tree / f"{part}_filtered.txt").read_text().splitlines()
        assert lines == sorted(lines)
        assert all((tree / "genres" / line).is_file() for line in lines)
    manifest = json.loads((tree / "ground_truth" / "manifest.json").read_text())
    assert {"checksums", "artists.csv", "ground_truth/faults.csv", "train_filtered.txt"} <= manifest["sha256"].keys()
    for name, value in manifest["sha256"].items():
        assert sha256_of(tree / name) == value
    assert sum(manifest["tracks"].values()) == SIZE
    assert sum(manifest["faults"].values()) == len(renderer.faults(tree))
    assert "NOT GTZAN" in (tree / "acknowledgement.md").read_text()


def test_one_process_writes_the_same_bytes_as_two(tree, tmp_path):
    clips = draw_clips(SIZE, 0)[::-6]  # in another order, and other tracks together
    renderer._write_chunk((tmp_path, 0, clips))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 2 * len(clips) == 10
    for path in written:
        assert (tree / path.relative_to(tmp_path)).read_bytes() == path.read_bytes(), path.name


def test_a_twin_that_is_not_as_rendered(tree, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tree.rglob("*"):
        target = copy / path.relative_to(tree)
        target.mkdir(exist_ok=True) if path.is_dir() else target.hardlink_to(path)
    (copy / "genres/jazz/jazz.00000.wav").unlink()
    with pytest.raises(RepriseError, match=r"has 24 sound tracks of the 25 that were rendered: delete that folder and"):
        gtzan.read(copy, "pocket-gtzan")
    (copy / "genres/jazz/jazz.00000.wav").write_bytes(b"x")
    with pytest.raises(
        RepriseError, match=r"of the 25 that were rendered, first jazz/jazz.00000.wav: it is no audio but"
    ):
        gtzan.read(copy, "pocket-gtzan")


def test_the_twin_is_a_corpus_of_the_table(tree):
    name = f"pocket-gtzan-{SIZE}"
    assert gtzan_pocket.folder(size=SIZE).parent == cache_home() / "corpora"
    assert gtzan_pocket.folder(size=SIZE).name == f"pocket-gtzan-{SIZE}-seed-0-v{renderer.RENDERER_VERSION}"
    corpus = corpora.load(name, tree)
    assert corpus.name == name
    assert download.status(name, tree)["here"]
    whole = {"checked": SIZE, "by_form": 0, "missing": [], "changed": [], "unlisted": []}
    assert download.verify(name, tree, jobs=1) == whole
    with pytest.raises(RepriseError, match="holds 25 clips and not the 30 of pocket-gtzan-30: name another folder"):
        corpora.load("pocket-gtzan-30", tree)
    with pytest.raises(RepriseError, match="has 20 to 100,000 clips, not 19"):
        corpora.load("pocket-gtzan-19")
