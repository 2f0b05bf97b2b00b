"""The tree that `harness.corpora.pocket.orchestra` writes, and the corpus that is read from it."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import soundfile

from harness import corpora
from harness.corpora import download, notes_pocket, tinysol
from harness.corpora.orchestra import CLASSES, midi_key
from harness.corpora.pocket import orchestra as renderer
from harness.corpora.pocket.players import LEVELS, VOICES, draw_players, play
from harness.errors import RepriseError
from harness.features import decode, front_end
from harness.storage import cache_home, sha256_of

SIZE = 140
#: Thesis, Table 1.
TABLE = {"violin": 200, "cello": 200, "double_bass": 185, "flute": 156, "oboe": 170, "trumpet": 210, "tuba": 180}
RANGES = {
    "violin": (55, 104),
    "cello": (36, 85),
    "double_bass": (28, 64),
    "flute": (60, 98),
    "oboe": (58, 91),
    "trumpet": (54, 80),
    "tuba": (29, 65),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("pocket") / "twin"
    renderer.render(root, size=SIZE, jobs=1)
    return root


@pytest.fixture(scope="module")
def plan():
    return renderer.draw_notes(1301, 0)


def sums(root):
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in sorted(root.rglob("*")) if path.is_file()}


def truth(tree):
    return pd.read_csv(tree / "ground_truth" / "notes.csv").set_index("path")


def test_the_same_bytes_with_any_number_of_processes(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(renderer, "CHUNK", 7)
    renderer.render(tmp_path / "again", size=SIZE, jobs=2)
    assert sums(tmp_path / "again") == sums(tree)


def test_another_seed_is_another_corpus(tree, tmp_path):
    renderer.render(tmp_path / "other", size=70, seed=1, jobs=1)
    ours, others = ({path.read_bytes() for path in root.rglob("*.wav")} for root in (tree, tmp_path / "other"))
    assert len(ours) == SIZE
    assert len(others) == 70
    assert not ours & others


def test_the_plan_is_the_thesis_table(plan):
    assert Counter(note.instrument for note in plan) == TABLE
    for instrument, (low, high) in RANGES.items():
        some = [note for note in plan if note.instrument == instrument]
        assert (min(n.pitch for n in some), max(n.pitch for n in some)) == (low, high)
        cells = Counter((n.pitch, n.dynamic) for n in some)
        grid = (high - low + 1) * len(VOICES[instrument].dynamics)
        assert len(cells) == min(grid, TABLE[instrument])  # every pitch at every dynamic, as far as the notes go
        assert max(cells.values()) - min(cells.values()) <= 1
    assert {n.dynamic for n in plan if n.instrument == "flute"} == {"p", "mf"}
    assert {n.dynamic for n in plan if n.instrument == "double_bass"} == set(LEVELS)
    assert len({note.path for note in plan}) == 1301


def test_folds_are_balanced_over_instruments_pitches_and_dynamics(plan):
    sizes = Counter(note.fold for note in plan)
    assert set(sizes) == set(range(5))
    assert max(sizes.values()) - min(sizes.values()) <= 2
    for instrument in CLASSES:
        some = [note for note in plan if note.instrument == instrument]
        of_fold = Counter(note.fold for note in some)
        assert max(of_fold.values()) - min(of_fold.values()) <= 1
        for fold in range(5):
            here = [note for note in some if note.fold == fold]
            assert abs(np.mean([n.pitch for n in here]) - np.mean([n.pitch for n in some])) < 2
        for dynamic in VOICES[instrument].dynamics:
            of_both = Counter(note.fold for note in some if note.dynamic == dynamic)
            assert max(of_both.values()) - min(of_both.values()) <= 2


def test_programs_are_several_where_general_midi_has_them(plan):
    players = draw_players(0)
    programs = {i: {players[i][n.take.player].program for n in plan if n.instrument == i} for i in CLASSES}
    assert programs == {instrument: set(VOICES[instrument].programs) for instrument in CLASSES}
    assert sorted(map(len, programs.values())) == [1, 1, 1, 2, 2, 3, 4]
    for note in plan:
        low, high = VOICES[note.instrument].programs[players[note.instrument][note.take.player].program]
        assert low <= note.pitch - note.steps <= high


def test_length_and_onset_tell_nothing_of_the_class(plan):
    for name in ("held", "lead", "seconds", "attack"):
        values = {i: np.array([getattr(n.take, name) for n in plan if n.instrument == i]) for i in CLASSES}
        everything = np.concatenate(list(values.values()))
        for some in values.values():
            assert abs(some.mean() - everything.mean()) < 4 * everything.std() / np.sqrt(len(some))


def test_retuned_notes_are_flagged_and_copies_are_of_their_neighbours(plan):
    place = {(n.instrument, n.pitch, n.dynamic, n.instance): n for n in plan}
    copies = [note for note in plan if note.steps]
    tuned = [note for note in plan if note.change.startswith("T")]
    assert 55 <= len(copies) <= 70
    assert 240 <= len(tuned) <= 280
    for note in copies:
        source = place[note.instrument, note.pitch - note.steps, note.dynamic, note.instance]
        assert source.change == "N"
        assert source.take == note.take
        assert note.path.endswith("-R100u.wav" if note.steps > 0 else "-R100d.wav")
    assert all(note.take.detune == 0 for note in tuned)
    natural = [note.take for note in plan if note.change == "N"]
    assert 4 < np.std([take.detune for take in natural]) < 10
    assert len({take.seed for take in natural}) == len(natural)


def test_a_copy_is_its_source_a_semitone_off(tmp_path, plan):
    copy = next(note for note in plan if note.steps > 0 and note.take.held > 0.8 and note.pitch > 60)
    source = next(n for n in plan if n.take == copy.take and not n.steps)
    renderer._write_chunk((tmp_path, 0, [copy, source]))
    pair = [soundfile.read(tmp_path / note.path)[0] for note in (copy, source)]
    ratio = 2 ** (1 / 12)
    assert len(pair[1]) / len(pair[0]) == pytest.approx(ratio, rel=1e-4)
    peaks = [np.abs(np.fft.rfft(sound)).argmax() * 44100 / len(sound) for sound in pair]
    assert peaks[0] / peaks[1] == pytest.approx(ratio, rel=2e-3)


def test_the_reader_of_the_published_layout_reads_it(tree):
    corpus = tinysol.read(tree, "pocket-notes")
    assert corpus.pocket
    assert corpus.ground_truth == tree / "ground_truth"
    assert corpus.facts["parameters"] == {"size": SIZE, "seed": 0}
    assert corpus.facts["notes"] == json.loads((tree / "ground_truth" / "manifest.json").read_text())["notes"]
    assert sum(corpus.facts["folds"]) == SIZE
    assert corpus.facts["left_out"] == {}
    assert set(corpus.clips["artist"]) == {""}
    table = truth(tree)
    paths = [path.removeprefix(f"{tree}/") for path in corpus.clips["path"]]
    assert sorted(paths) == sorted(table.index)
    semitones = table["semitones"].loc[paths].to_numpy()
    assert corpus.facts["semitone_copies"] == np.count_nonzero(semitones)
    assert (corpus.clips["retuned"].to_numpy() >= (semitones != 0)).all()


def test_the_table_has_the_published_columns_in_the_published_form(tree):
    with open(tree / tinysol.METADATA, newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames) == tinysol.COLUMNS
        rows = list(reader)
    assert len(rows) == SIZE
    for row in rows:
        short, technique, pitch, dynamic, instance, change = row["Path"].rpartition("/")[2][:-4].split("-")
        assert row["Path"].startswith(f"{row['Family']}/")
        assert (short, technique) == (row["Instrument (abbr.)"], row["Technique (abbr.)"])
        assert (pitch, dynamic) == (row["Pitch"], row["Dynamics"])
        assert midi_key(pitch) == int(row["Pitch ID"])
        assert tinysol.DYNAMICS[int(row["Dynamics ID"])] == dynamic
        assert instance == ("N" if row["Instance ID"] == "0" else f"alt{row['Instance ID']}")
        assert row["Needed digital retuning"] == ("FALSE" if change == "N" else "TRUE")
        assert row["String ID (if applicable)"] == ""
    assert any("#" in row["Path"] for row in rows)


def test_every_file_is_one_to_three_seconds_of_a_note_after_some_silence(tree):
    table = truth(tree)
    for path in sorted(tree.rglob("*.wav")):
        info = soundfile.info(path)
        assert (info.format, info.samplerate, info.channels, info.subtype) == ("WAV", 44100, 1, "PCM_16")
        assert 1.0 <= info.duration < 3.0
        assert tinysol.sounds_like_a_note(path)
        note = table.loc[path.relative_to(tree).as_posix()]
        assert note["seconds"] == pytest.approx(info.duration, abs=1e-3)
        samples, _ = soundfile.read(path)
        level = 20 * np.log10(np.abs(samples).max())
        assert level == pytest.approx(note["level"], abs=1.0)
        lead = round(note["lead"] * 44100 * 0.9)
        assert 20 * np.log10(np.sqrt(np.square(samples[:lead]).mean())) < level - 30


def test_louder_dynamics_are_louder_and_brighter(tree, plan):
    players = draw_players(0)["cello"]
    takes = [note.take for note in plan if note.instrument == "cello"][:6]
    means = []
    for dynamic in ("pp", "mf", "ff"):
        spectra = [np.abs(np.fft.rfft(play("cello", players[0], take, 50, dynamic), 1 << 17)) ** 2 for take in takes]
        hertz = np.fft.rfftfreq(1 << 17, 1 / 44100)
        means.append(np.mean([(hertz * power).sum() / power.sum() for power in spectra]))
    assert means == sorted(means)
    table = truth(tree)
    dynamics = table.index.str.split("-").str[3]
    levels = table["level"].groupby(dynamics).mean()
    assert levels[list(LEVELS)].is_monotonic_increasing


@pytest.mark.parametrize("pitch", ["G3", "C7", "G#7"])
def test_a_note_sounds_its_pitch(plan, pitch):
    """The sampler's own keys end at C7, the violin's range at G#7."""
    key = midi_key(pitch)
    note = next(n for n in plan if n.instrument == "violin" and n.pitch == key and n.take.held > 0.4 and not n.steps)
    player = draw_players(0)["violin"][note.take.player]
    sound = play("violin", player, note.take, key, note.dynamic)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 18))
    hertz = np.fft.rfftfreq(1 << 18, 1 / 44100)
    loudest = hertz[spectrum.argmax()]
    cents = 1200 * np.log2(loudest / (440 * 2 ** ((key - 69) / 12)))
    harmonic = 1200 * np.log2(np.arange(1, 8))
    assert np.abs(harmonic - cents).min() < 40


def test_takes_of_one_pitch_and_dynamic_differ(plan):
    """As far as notes of neighbouring pitches do, and pictures of different classes differ more."""
    flutes = [note for note in plan if note.instrument == "flute" and not note.steps]
    pairs = {}
    for note in flutes:
        pairs.setdefault((note.pitch, note.dynamic), []).append(note)
    players = draw_players(0)["flute"]
    front = front_end("note_picture", sample_rate=44100)
    checked = 0
    for (pitch, dynamic), notes in list(pairs.items())[:12]:
        if len(notes) == 2:
            one, two = (front.compute(play("flute", players[n.take.player], n.take, pitch, dynamic)) for n in notes)
            assert np.abs(one - two).mean() > 0.02
            checked += 1
    assert checked >= 5


def test_the_manifest_tells_what_was_made(tree):
    manifest = json.loads((tree / "ground_truth" / "manifest.json").read_text())
    for name, value in manifest["sha256"].items():
        assert sha256_of(tree / name) == value
    assert {"checksums", "ground_truth/notes.csv", tinysol.METADATA} <= manifest["sha256"].keys()
    assert manifest["renderer_version"] == renderer.RENDERER_VERSION
    assert sum(manifest["folds"]) == sum(manifest["notes"].values()) == SIZE
    assert manifest["players"].keys() == set(CLASSES)
    assert "NOT TinySOL" in (tree / "acknowledgement.md").read_text()


@pytest.mark.parametrize("size", [70, 71, 100, 140, 1301, 3000])
def test_corpora_of_any_size_keep_the_proportions(size):
    plan = renderer.draw_notes(size, 3)
    assert len({note.path for note in plan}) == len(plan) == size
    counts = Counter(note.instrument for note in plan)
    for instrument, count in TABLE.items():
        assert abs(counts[instrument] - size * count / 1301) < 1
        assert {note.fold for note in plan if note.instrument == instrument} == set(range(5))


def test_a_pocket_corpus_is_rendered_once_and_read_like_any_other(capsys):
    with ThreadPoolExecutor(2) as pool:
        corpus, same = pool.map(lambda name: corpora.load(name, jobs=1), ["pocket-notes-70"] * 2)
    assert capsys.readouterr().err.count("rendering 70 notes") == 1
    assert corpus.checksum == same.checksum
    assert corpus.name == "pocket-notes-70"
    assert corpus.root == cache_home() / "corpora" / f"pocket-notes-70-seed-0-v{renderer.RENDERER_VERSION}"
    whole = {"checked": 70, "by_form": 0, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("pocket-notes-70", jobs=1) == whole
    status = download.status("pocket-notes-70")
    assert status["here"]
    assert status["audio_files"] == 70
    assert notes_pocket.folder(size=70, seed=1) != corpus.root
    with pytest.raises(RepriseError, match=r"holds 70 clips and not the 80 of pocket-notes-80: name another folder"):
        corpora.load("pocket-notes-80", corpus.root)
    with pytest.raises(RepriseError, match="has 70 to 100,000 clips, not 69"):
        corpora.load("pocket-notes-69")
    for name in ("folds", "stratified-80-20", "by-pitch"):
        for seed in range(5):
            rows = corpus.split(name, seed).rows
            assert all((corpus.labels[chosen].sum(axis=0) > 0).all() for chosen in rows.values())
    waveform = decode(corpus.clips["path"].iloc[0], 12000)
    assert front_end("note_picture").compute(waveform).shape == (150, 150)
    next(corpus.root.rglob("*.wav")).unlink()
    with pytest.raises(RepriseError, match=r"1 audio files .* missing, .*: delete that folder and it will be rendered"):
        corpora.load("pocket-notes-70")


def test_a_killed_rendering_leaves_nothing_under_its_name_and_can_be_done_again(tmp_path):
    root = tmp_path / "twin"
    code = f"from harness.corpora.pocket import orchestra; orchestra.render({str(root)!r}, size=1301, jobs=1)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob(".twin.*.part/*/*/ordinario/*.wav")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not root.exists()
    renderer.render(root, size=70, jobs=1)
    assert len(list(root.rglob("*.wav"))) == 70
    assert not list(tmp_path.glob(".twin.*.part"))
