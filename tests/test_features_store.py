"""The feature store: what it holds, and that kills, rivals and bad files do it no harm."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from harness.errors import RepriseError
from harness.features import decode, front_end, open_store
from harness.features.store import CHUNK

RATE = 22050


def tone(path, number, seconds=1.0):
    """A clip of its own: a decaying tone in a little noise."""
    rng = np.random.default_rng(number)
    time = np.arange(round(seconds * RATE)) / RATE
    samples = 0.5 * np.sin(2 * np.pi * rng.uniform(200, 3000) * time) * np.exp(-time) + rng.normal(0, 1e-3, len(time))
    sf.write(path, samples, RATE)
    return path


def make_corpus(folder, clips, *, seconds=1.0, files=None, name="tones"):
    """What a store needs of a corpus; `files` clips are written, the other keys share them."""
    (folder / "audio").mkdir(parents=True)
    paths = [
        tone(folder / "audio" / f"{i:04d}.{('wav', 'flac', 'ogg')[i % 3]}", i, seconds) for i in range(files or clips)
    ]
    table = [{"key": f"clip_{i:04d}", "path": str(paths[i % len(paths)])} for i in range(clips)]
    return SimpleNamespace(name=name, root=folder, seconds=seconds, clips=pd.DataFrame(table))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), CHUNK + 5)


@pytest.fixture
def breakable(tmp_path):
    return make_corpus(tmp_path / "breakable", 6)


@pytest.mark.parametrize("front", [front_end("mel"), front_end("vggish"), front_end("mel", time_pool=4)], ids=str)
def test_rows_are_the_front_ends_output(corpus, front):
    store = open_store(corpus, front, jobs=1)
    assert store.array.shape == (len(corpus.clips), *front.shape(1.0))
    assert store.array.dtype == np.float32
    assert isinstance(store.array, np.memmap)
    assert not store.array.flags.writeable
    assert store.ok.all()
    assert store.bad == {}
    for row in (0, CHUNK - 1, CHUNK, len(corpus.clips) - 1):
        waveform = decode(corpus.clips["path"][row], front.sample_rate, seconds=1.0)
        np.testing.assert_allclose(store.array[row], front.compute(waveform), rtol=0, atol=1e-5)


def test_manifest_says_what_the_store_was_made_from(corpus):
    front = front_end("mel")
    store = open_store(corpus, front, jobs=1)
    manifest = json.loads((store.folder / "manifest.json").read_text())
    assert manifest == store.manifest
    assert manifest["parameters"] == front.parameters
    assert manifest["array_sha256"] == hashlib.sha256((store.folder / "array.npy").read_bytes()).hexdigest()
    lines = [
        f"{key} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}\n"
        for key, path in zip(corpus.clips["key"], corpus.clips["path"], strict=True)
    ]
    assert manifest["content_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert manifest["clips"] == len(corpus.clips)
    assert manifest["clips_bad"] == manifest["clips_resumed"] == 0
    assert manifest["packages"]["numpy"] == np.__version__
    assert manifest["wall_seconds"] > 0
    assert sorted(path.name for path in store.folder.iterdir()) == ["array.npy", "manifest.json"]
    assert not list(store.folder.parent.glob("*.partial"))


def test_bytes_do_not_depend_on_the_number_of_processes(corpus, tmp_path, monkeypatch):
    checksums = set()
    for jobs in (1, 2):
        monkeypatch.setenv("REPRISE_HOME", str(tmp_path / f"home-{jobs}"))
        manifest = open_store(corpus, front_end("mel"), jobs=jobs).manifest
        checksums.add((manifest["array_sha256"], manifest["content_sha256"], manifest["signature"]))
    assert len(checksums) == 1


def test_second_opening_reads_no_audio(breakable, monkeypatch):
    first = open_store(breakable, front_end("mel"), jobs=1)
    built = (first.folder / "array.npy").stat().st_mtime_ns
    for path in breakable.clips["path"]:  # unreadable content, but the same size and time of change
        times = Path(path).stat()
        Path(path).write_bytes(b"x" * times.st_size)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = open_store(breakable, front_end("mel"), jobs=1)
    assert again.folder == first.folder
    assert (again.folder / "array.npy").stat().st_mtime_ns == built
    np.testing.assert_array_equal(again.array, first.array)


def test_whatever_determines_the_features_makes_another_store(breakable):
    folders = {open_store(breakable, front_end("mel"), jobs=1).folder}
    folders.add(open_store(breakable, front_end("mel", time_pool=2), jobs=1).folder)
    folders.add(open_store(breakable, front_end("vggish"), jobs=1).folder)
    os.utime(breakable.clips["path"][3], ns=(1, 1))
    folders.add(open_store(breakable, front_end("mel"), jobs=1).folder)
    tone(Path(breakable.clips["path"][3]), 3, seconds=1.05)
    os.utime(breakable.clips["path"][3], ns=(1, 1))
    folders.add(open_store(breakable, front_end("mel"), jobs=1).folder)
    renamed = SimpleNamespace(**{**vars(breakable), "clips": breakable.clips.assign(key=[*"abcdef"])})
    folders.add(open_store(renamed, front_end("mel"), jobs=1).folder)
    assert len(folders) == 6


def test_a_moved_corpus_keeps_its_store(breakable, tmp_path):
    first = open_store(breakable, front_end("mel"), jobs=1)
    shutil.move(breakable.root, tmp_path / "elsewhere")
    paths = breakable.clips["path"].str.replace(str(breakable.root), str(tmp_path / "elsewhere"), regex=False)
    moved = SimpleNamespace(
        **{**vars(breakable), "root": tmp_path / "elsewhere", "clips": breakable.clips.assign(path=paths)}
    )
    assert open_store(moved, front_end("mel"), jobs=1).folder == first.folder


def break_files(corpus):
    """One file of each kind of fault; returns the reason expected by key."""
    paths = [Path(path) for path in corpus.clips["path"]]
    assert [path.suffix for path in paths[:3]] == [".wav", ".flac", ".ogg"]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:8000])
    paths[2].write_bytes(paths[2].read_bytes()[:5000])
    sf.write(paths[3], np.full(RATE, 1e30), RATE, subtype="FLOAT")  # finite, but not its power in float32
    paths[4].write_text("<html>404</html>")
    return {
        "clip_0000": "is missing",
        "clip_0001": "is truncated or damaged: the decoder gives up midway",
        "clip_0002": "is truncated",
        "clip_0003": "has NaN or infinite features",
        "clip_0004": "is not audio",
    }


def test_bad_files_stop_the_run_with_a_list(breakable):
    expected = break_files(breakable)
    with pytest.raises(RepriseError) as caught:
        open_store(breakable, front_end("mel"), jobs=1)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("5 of 6 audio files of tones cannot be used; put sound copies in their place, or use ")
    assert "--skip-bad" in first
    assert len(lines) == 5
    for line, (key, reason) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"  {key} {reason}")
    report = Path(first.partition("full list: ")[2].removesuffix("):"))
    with open(report, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == list(expected)
    assert rows[0]["path"] == breakable.clips["path"][0]


def test_skip_bad_records_what_was_left_out(breakable):
    expected = break_files(breakable)
    store = open_store(breakable, front_end("mel"), jobs=1, skip_bad=True)
    assert store.ok.tolist() == [False] * 5 + [True]
    assert not store.array[:5].any()
    assert store.array[5].any()
    assert list(store.bad) == list(store.manifest["bad"]) == list(expected)
    assert store.manifest["clips_bad"] == 5
    # a later run that does not ask for it is told, without computing anything again
    written = (store.folder / "array.npy").stat().st_mtime_ns
    with pytest.raises(RepriseError, match=r"5 of 6 audio files .* or use --skip-bad"):
        open_store(breakable, front_end("mel"), jobs=1)
    assert (store.folder / "array.npy").stat().st_mtime_ns == written


def test_mending_the_files_is_noticed(breakable):
    Path(breakable.clips["path"][2]).unlink()
    with pytest.raises(RepriseError, match="clip_0002 is missing"):
        open_store(breakable, front_end("mel"), jobs=1)
    tone(Path(breakable.clips["path"][2]), 2)
    assert open_store(breakable, front_end("mel"), jobs=1).ok.all()


def test_a_long_list_is_cut_short(tmp_path):
    corpus = make_corpus(tmp_path / "c", 30)
    for path in corpus.clips["path"][:25]:
        Path(path).unlink()
    with pytest.raises(RepriseError) as caught:
        open_store(corpus, front_end("mel"), jobs=1)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 5 more"


def test_without_a_single_good_file_there_is_nothing_to_skip_to(breakable):
    shutil.rmtree(breakable.root / "audio")
    with pytest.raises(RepriseError, match="6 of 6 audio files of tones cannot be used") as caught:
        open_store(breakable, front_end("mel"), jobs=1, skip_bad=True)
    assert "--skip-bad" not in str(caught.value)


def test_wrong_length_is_a_bad_file(breakable):
    tone(Path(breakable.clips["path"][1]), 1, seconds=0.6)
    with pytest.raises(RepriseError, match=r"clip_0001 is 0\.6 s long, not 1\.0 s"):
        open_store(breakable, front_end("vggish"), jobs=1)


def test_clips_of_many_lengths(breakable):
    """Clips may be of any length where the corpus says so and the front end gives one shape for all."""
    breakable.seconds = None
    for number, seconds in enumerate((0.3, 2.5)):
        tone(Path(breakable.clips["path"][number]), number, seconds)
    front = front_end("vggish_patch", which="loudest")
    store = open_store(breakable, front, jobs=1)
    assert store.array.shape == (6, 1, 96, 64)
    assert store.manifest["seconds"] is None
    for row, path in enumerate(breakable.clips["path"]):
        np.testing.assert_array_equal(store.array[row], front.compute(decode(path, 16000)))
    with pytest.raises(RepriseError, match="front end vggish needs clips of one length"):
        open_store(breakable, front_end("vggish"), jobs=1)


def test_clips_too_short_for_the_front_end(breakable):
    with pytest.raises(RepriseError, match="too short for front end vggish with time_pool 2"):
        open_store(breakable, front_end("vggish", time_pool=2), jobs=1)


def test_a_disk_too_small_is_told_before_the_work(breakable):
    breakable.seconds = 1e12
    with pytest.raises(RepriseError, match=r"features need \d+\.\d GB under .*REPRISE_HOME to a folder on a larger"):
        open_store(breakable, front_end("mel"), jobs=1)


def test_a_cache_that_cannot_be_written(breakable):
    store = open_store(breakable, front_end("mel"), jobs=1)
    shutil.rmtree(store.folder)
    store.folder.with_name(store.folder.name + ".partial").write_text("a file in the way")
    with pytest.raises(RepriseError, match=r"cannot write features under .* set REPRISE_HOME to another folder"):
        open_store(breakable, front_end("mel"), jobs=1)


@pytest.mark.parametrize("fault", ["cut", "gone", "manifest"])
def test_a_damaged_store_is_refused(breakable, fault):
    folder = open_store(breakable, front_end("mel"), jobs=1).folder
    array = folder / "array.npy"
    if fault == "cut":
        array.write_bytes(array.read_bytes()[:-1])
    elif fault == "gone":
        array.unlink()
    else:
        (folder / "manifest.json").write_text("{")
    with pytest.raises(RepriseError, match="is damaged; delete that folder and run it again"):
        open_store(breakable, front_end("mel"), jobs=1)


def test_files_that_change_meanwhile_make_no_store(breakable):
    class Meddling(type(front_end("mel"))):
        def compute(self, waveform):
            Path(breakable.clips["path"][0]).touch()
            return super().compute(waveform)

    with pytest.raises(RepriseError, match="audio files of tones changed while features were computed"):
        open_store(breakable, Meddling(), jobs=1)
    assert open_store(breakable, front_end("mel"), jobs=1).ok.all()


BUILDER = textwrap.dedent(
    """
    import json, sys, time
    from pathlib import Path
    from types import SimpleNamespace
    import pandas as pd
    from harness.features import front_end, open_store

    def main():
        table, go = Path(sys.argv[1]), Path(sys.argv[2])
        clips = pd.read_csv(table)
        corpus = SimpleNamespace(name="tones", root=table.parent, seconds=10.0, clips=clips)
        go.with_suffix(".ready").touch()
        while not go.exists():
            time.sleep(0.001)
        store = open_store(corpus, front_end("vggish"), jobs=int(sys.argv[3]))
        print(json.dumps(store.manifest))

    if __name__ == "__main__":  # workers import this file
        main()
    """
)


def start_builder(folder, corpus, home, go, jobs):
    """A process of its own, and group of its own, that builds a store as soon as the file `go` is there."""
    script, table = folder / "builder.py", corpus.root / "clips.csv"
    script.write_text(BUILDER)
    corpus.clips.to_csv(table, index=False)
    repository = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, script, table, go, str(jobs)],
        env={**os.environ, "REPRISE_HOME": str(home), "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, what):
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.0005)


@pytest.fixture(scope="module")
def long_corpus(tmp_path_factory):
    """Enough work to be interrupted in: twelve chunks of ten-second clips."""
    return make_corpus(tmp_path_factory.mktemp("long"), 12 * CHUNK, seconds=10.0, files=7)


@pytest.fixture(scope="module")
def untroubled(long_corpus, tmp_path_factory):
    """Checksum of the store that nobody interrupts."""
    folder = tmp_path_factory.mktemp("untroubled")
    process = start_builder(folder, long_corpus, folder / "home", folder, 1)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)["array_sha256"]


def test_after_sigkill_only_the_rest_is_computed(long_corpus, untroubled, tmp_path):
    home = tmp_path / "home"

    def flags():
        return list(home.glob("features/tones/vggish-*.partial/done/*.json"))

    process = start_builder(tmp_path, long_corpus, home, tmp_path, 2)
    wait_for(lambda: len(flags()) >= 2 or process.poll() is not None, "no chunk was done")
    os.killpg(process.pid, signal.SIGKILL)  # with its workers, as a machine's memory watch or a batch system does
    process.communicate()
    done = len(flags())
    assert process.returncode == -signal.SIGKILL
    assert 2 <= done < 12
    assert not list(home.glob("features/tones/*/manifest.json"))

    process = start_builder(tmp_path, long_corpus, home, tmp_path, 1)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    manifest = json.loads(out)
    assert manifest["clips_resumed"] == done * CHUNK
    assert manifest["array_sha256"] == untroubled
    assert not list(home.glob("features/tones/*.partial"))


def test_two_processes_share_one_store(long_corpus, untroubled, tmp_path):
    home = tmp_path / "home"
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    rivals = [start_builder(folder, long_corpus, home, folder / "go", 1) for folder in (first, second)]
    wait_for(lambda: (first / "go.ready").exists() and (second / "go.ready").exists(), "a process did not start")
    for folder in (first, second):
        (folder / "go").touch()
    results = [process.communicate(timeout=120) for process in rivals]
    assert [process.returncode for process in rivals] == [0, 0], results
    manifests = [json.loads(out) for out, _ in results]
    assert manifests[0] == manifests[1]  # wall time included: it was built once
    assert manifests[0]["array_sha256"] == untroubled
    assert sum("another process is computing vggish features of tones; waiting" in err for _, err in results) == 1
