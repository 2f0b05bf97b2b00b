"""What all twins share, tried on one whose clips are two lines of text."""

import json
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.corpora import pocket_twin
from harness.errors import RepriseError

PARAMETERS = {"size": 2, "seed": 0}


def write(folder):
    pocket_twin.write_bytes(folder, {"audio/a.wav": b"one", "audio/b c.wav": b"two"})
    pocket_twin.write_checksums(folder, {"audio/b c.wav": "1" * 32, "audio/a.wav": "0" * 32})
    pocket_twin.write_manifest(folder, version=3, parameters=PARAMETERS, suffixes=(".csv",), rules={"loud": "always"})


def make(root, writer=write, parameters=PARAMETERS, version=3):
    pocket_twin.make_tree(root, writer, parameters=parameters, version=version)


def test_a_tree_is_written_and_read_back(tmp_path):
    make(tmp_path / "twin")
    assert pocket_twin.read_checksums(tmp_path / "twin") == {"audio/a.wav": "0" * 32, "audio/b c.wav": "1" * 32}
    facts = pocket_twin.rendering(tmp_path / "twin")
    assert facts.pop("audio_checksums") == pocket_twin.sha256_of(tmp_path / "twin" / "checksums")
    assert facts == {"parameters": PARAMETERS, "renderer_version": 3}
    manifest = json.loads((tmp_path / "twin" / pocket_twin.MANIFEST).read_text())
    assert manifest["rules"] == {"loud": "always"}
    assert set(manifest["sha256"]) == {"checksums"}
    assert {"python", "numpy", "scipy", "soxr", "libsndfile"} == set(manifest["versions"])
    assert pocket_twin.rendering(tmp_path) == {}


def test_of_two_that_want_the_same_tree_one_writes(tmp_path):
    written = []

    def slowly(folder):
        written.append(folder)
        write(folder)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: make(tmp_path / "twin", slowly), range(4)))
    assert len(written) == 1


@pytest.mark.parametrize("changes", [{"parameters": {"size": 3, "seed": 0}}, {"version": 4}])
def test_another_tree_is_not_overwritten(tmp_path, changes):
    make(tmp_path / "twin")
    with pytest.raises(RepriseError, match="is not empty: delete it, or choose another folder"):
        make(tmp_path / "twin", **changes)
    assert (tmp_path / "twin" / "audio" / "a.wav").read_bytes() == b"one"


@pytest.mark.parametrize("error", [RepriseError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_is_left_of_what_failed(tmp_path, error):
    def fail(folder):
        write(folder)
        raise error

    (tmp_path / ".twin.old.part").mkdir()  # of a run that was killed
    with pytest.raises(RepriseError if isinstance(error, OSError) else type(error)) as caught:
        make(tmp_path / "twin", fail)
    if isinstance(error, OSError):
        assert "No space left on device; free some space or choose another folder" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    make(tmp_path / "twin")


def test_a_full_disk_is_said_so(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RepriseError, match=r"cannot write .*; free some space or choose another folder"):
            pocket_twin.write_bytes(tmp_path, {"large": bytes(2000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


#: A script that renders, and whose worker imports it again, as a user writes it who forgets what spawned workers do.
UNGUARDED = """
import multiprocessing, sys
from harness.corpora import pocket_twin

def write(folder):
    worker = multiprocessing.get_context("spawn").Process(target=print)
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)

pocket_twin.make_tree(sys.argv[1], write, parameters={}, version=1)
"""


def test_a_script_whose_workers_would_render_again_ends_and_says_why(tmp_path):
    script, root = tmp_path / "script.py", tmp_path / "twin"
    script.write_text(UNGUARDED)
    ended = subprocess.run([sys.executable, script, root], timeout=100, capture_output=True, text=True)
    assert ended.returncode == 1
    assert 'must do so under `if __name__ == "__main__":`' in ended.stderr
    assert not root.exists()


def test_a_renderer_of_a_size_and_a_seed(tmp_path):
    told = []

    def renders(folder, parameters, jobs):
        told.append((parameters, jobs))
        pocket_twin.write_manifest(folder, version=3, parameters=parameters, suffixes=())

    renderer = pocket_twin.Renderer("toys", version=3, default_size=20, smallest=10, write=renders)
    assert renderer.folder_name() == "pocket-toys-20-seed-0-v3"
    assert renderer.folder_name(11, seed=4) == "pocket-toys-11-seed-4-v3"
    for _ in range(2):  # the second finds it there
        renderer.render(tmp_path / "default", jobs=1)
    renderer.render(tmp_path / "other", size=10, seed=4)
    assert told == [({"size": 20, "seed": 0}, 1), ({"size": 10, "seed": 4}, None)]
    assert pocket_twin.rendering(tmp_path / "other") == {"parameters": {"size": 10, "seed": 4}, "renderer_version": 3}
    for size in (9, 0):
        with pytest.raises(RepriseError, match=f"has 10 to 100,000 clips, not {size}"):
            renderer.render(tmp_path / "small", size=size)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("text", [None, "", "no list\n", "0" * 32 + " audio/a.wav\n"])
def test_a_list_of_checksums_that_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / "checksums").write_text(text)
    with pytest.raises(RepriseError, match="does not list the audio files: delete the folder"):
        pocket_twin.read_checksums(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_manifest_that_cannot_be_read(tmp_path, text):
    make(tmp_path / "twin")
    (tmp_path / "twin" / pocket_twin.MANIFEST).write_text(text)
    with pytest.raises(RepriseError, match="does not say how the corpus was rendered: delete the folder"):
        pocket_twin.rendering(tmp_path / "twin")
    with pytest.raises(RepriseError, match="is not empty"):
        make(tmp_path / "twin")


@pytest.mark.parametrize(
    ("size", "seed", "message"),
    [(9, 0, "has 10 to 100,000 clips, not 9"), (10**6, 0, "not 1000000"), (10, -1, "from 0 on, not -1")],
)
def test_parameters_out_of_range(size, seed, message):
    with pytest.raises(RepriseError, match=message):
        pocket_twin.check_parameters(size, seed, smallest=10)
