"""The tree that `harness.corpora.pocket.nsynth` writes, and the corpus that is read from it."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness import corpora
from harness.corpora import download, nsynth, nsynth_pocket
from harness.corpora.pocket import notes
from harness.corpora.pocket import nsynth as renderer
from harness.errors import RepriseError
from harness.storage import cache_home, sha256_of

SIZE = 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("pocket") / "twin"
    renderer.render(root, size=SIZE, jobs=1)
    return root


def sums(root):
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_bytes_with_any_number_of_processes(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(renderer, "CHUNK", 7)
    renderer.render(tmp_path / "again", size=SIZE, jobs=2)
    assert sums(tmp_path / "again") == sums(tree)


def test_another_seed_is_another_corpus(tree, tmp_path):
    renderer.render(tmp_path / "other", size=40, seed=1, jobs=1)
    ours, others = ({path.read_bytes() for path in root.glob("*/audio/*")} for root in (tree, tmp_path / "other"))
    assert len(ours) == SIZE
    assert len(others) == 40
    assert not ours & others


def test_the_reader_of_the_published_layout_reads_it(tree):
    corpus = nsynth.read(tree, "pocket-nsynth")
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.facts["notes"] == {"train": 45, "valid": 9, "test": 6}
    assert corpus.facts["parameters"] == {"size": SIZE, "seed": 0}
    table = pd.read_csv(tree / "ground_truth" / "notes.csv", keep_default_na=False)
    assert table["key"].tolist() == corpus.clips["key"].tolist()
    words = [set(text.split()) for text in table["qualities"]]
    assert words == [{nsynth.QUALITIES[i] for i in np.flatnonzero(row)} for row in corpus.labels]
    assert corpus.split("published").leakage["shared_groups"] == {"train-valid": 0, "train-test": 0, "valid-test": 0}


def test_the_tables_have_the_published_fields_in_the_published_form(tree):
    identities = set()
    for part in ("train", "valid", "test"):
        examples = json.loads((tree / f"nsynth-{part}" / "examples.json").read_text())
        assert list(examples) == sorted(examples)
        for key, note in examples.items():
            assert set(note) == {
                *("note", "note_str", "instrument", "instrument_str", "pitch", "velocity", "sample_rate"),
                *("qualities", "qualities_str", "instrument_family", "instrument_family_str"),
                *("instrument_source", "instrument_source_str"),
            }
            family, source = note["instrument_family_str"], note["instrument_source_str"]
            assert nsynth.FAMILIES[note["instrument_family"]] == family
            assert nsynth.SOURCES[note["instrument_source"]] == source
            assert note["instrument_str"].startswith(f"{family}_{source}_")
            assert key == f"{note['instrument_str']}-{note['pitch']:03d}-{note['velocity']:03d}"
            assert note["velocity"] in (25, 50, 75, 100, 127)
            assert 21 <= note["pitch"] <= 96
            identities.add((note["instrument"], note["instrument_str"]))
    assert len(dict(identities)) == len(identities) == len({name for _, name in identities}) == 9 + 2 + 2


def test_every_note_is_four_seconds_of_sound_as_loud_as_its_velocity(tree):
    for path in tree.glob("*/audio/*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (16000, 1, 64000, "PCM_16")
        assert nsynth.sounds_like_a_note(path)
        samples = soundfile.read(path, dtype="int16")[0].astype(int)
        assert np.abs(samples).max() == round(32767 * 10 ** (-3 / 20) * int(path.stem[-3:]) / 127)
        assert 20 * np.log10(np.sqrt((samples[:16000] ** 2).mean()) / 32768) > -45


def test_what_was_measured_is_found_again_in_the_files(tree):
    table = pd.read_csv(tree / "ground_truth" / "notes.csv").set_index("key")
    for path in list(tree.glob("*/audio/*.wav"))[::4]:
        samples, _ = soundfile.read(path, dtype="int16")
        for name, value in notes.measure(samples, int(path.stem[-7:-4])).items():
            assert table.loc[path.stem, name] == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_the_manifest_says_which_rule_made_each_quality(tree):
    manifest = json.loads((tree / "ground_truth" / "manifest.json").read_text())
    assert manifest["rules"].keys() == set(nsynth.QUALITIES)
    assert all(rule.startswith(("measured: ", "applied: ")) for rule in manifest["rules"].values())
    assert manifest["renderer_version"] == renderer.RENDERER_VERSION
    for name, value in manifest["sha256"].items():
        assert sha256_of(tree / name) == value
    assert {"checksums", "ground_truth/notes.csv", "nsynth-train/examples.json"} <= manifest["sha256"].keys()
    corpus = nsynth.read(tree, "pocket-nsynth")
    for part, shares in manifest["prevalence"].items():
        rows = corpus.labels[(corpus.clips["partition"] == part).to_numpy()]
        assert list(shares.values()) == pytest.approx(rows.mean(axis=0).tolist())
    assert "NOT NSynth" in (tree / "acknowledgement.md").read_text()


def test_every_quality_is_common_enough_in_each_part_and_some_notes_have_none():
    """At the default size; of the training part a sixth is played here, the manifest tells of the whole."""
    plan = renderer.draw_notes(1200, 0)
    assert len({note.key for note in plan}) == 1200
    for part, step, count in (("train", 6, 900), ("valid", 1, 180), ("test", 1, 120)):
        some = [note for note in plan if note.part == part]
        assert len(some) == count
        has = np.array(
            [
                notes.qualities(n.design, notes.measure(notes.play(n.design, n.pitch, n.velocity), n.pitch))
                for n in some[::step]
            ]
        )
        assert has.mean(axis=0).min() >= 0.04
        assert has.mean(axis=0).max() <= 0.6
        assert (has.sum(axis=1) == 0).mean() >= 0.05


@pytest.mark.parametrize("size", [40, 41, 99, 1200])
def test_no_instrument_plays_in_two_parts_and_no_program_of_train_in_another(size):
    plan = renderer.draw_notes(size, 7)
    assert len(plan) == size
    parts = {part: [note for note in plan if note.part == part] for part in ("train", "valid", "test")}
    assert all(parts.values())
    names = {part: {note.instrument_name for note in some} for part, some in parts.items()}
    assert not names["train"] & (names["valid"] | names["test"])
    assert not names["valid"] & names["test"]
    programs = {part: {note.design.program for note in some} for part, some in parts.items()}
    assert not programs["train"] & (programs["valid"] | programs["test"])
    for note in plan:
        assert 21 <= note.pitch <= note.pitch + max(note.design.chord, default=0) <= 96
        low, high = renderer.CATALOGUE[note.family].keys
        assert low <= note.pitch <= high
    if size == 1200:
        assert all({note.family for note in some} == set(nsynth.FAMILIES) for some in parts.values())
        assert {note.source for note in plan} == set(nsynth.SOURCES)


def test_a_pocket_corpus_is_rendered_once_and_read_like_any_other(capsys):
    with ThreadPoolExecutor(2) as pool:
        corpus, same = pool.map(lambda name: corpora.load(name, jobs=1), ["pocket-nsynth-40"] * 2)
    assert capsys.readouterr().err.count("rendering 40 notes") == 1
    assert corpus.checksum == same.checksum
    assert corpus.name == "pocket-nsynth-40"
    assert corpus.root == cache_home() / "corpora" / f"pocket-nsynth-40-seed-0-v{renderer.RENDERER_VERSION}"
    whole = {"checked": 40, "by_form": 0, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("pocket-nsynth-40", jobs=1) == whole
    status = download.status("pocket-nsynth-40")
    assert status["here"]
    assert status["audio_files"] == 40
    assert nsynth_pocket.folder(size=40, seed=1) != corpus.root
    with pytest.raises(RepriseError, match=r"holds 40 clips and not the 50 of pocket-nsynth-50: name another folder"):
        corpora.load("pocket-nsynth-50", corpus.root)
    with pytest.raises(RepriseError, match="has 40 to 100,000 clips, not 39"):
        corpora.load("pocket-nsynth-39")
    next(corpus.root.glob("nsynth-train/audio/*")).unlink()
    with pytest.raises(RepriseError, match=r"lacks 1 files .*: delete that folder and it will be rendered again"):
        corpora.load("pocket-nsynth-40")


def test_a_killed_rendering_leaves_nothing_under_its_name_and_can_be_done_again(tmp_path):
    root = tmp_path / "twin"
    code = f"from harness.corpora.pocket import nsynth; nsynth.render({str(root)!r}, size=400, jobs=1)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob(".twin.*.part/nsynth-train/audio/*.wav")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not root.exists()
    renderer.render(root, size=40, jobs=1)
    assert len(list(root.glob("*/audio/*.wav"))) == 40
    assert not list(tmp_path.glob(".twin.*.part"))
