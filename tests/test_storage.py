"""Files are written whole or not at all, values have one name, and locks hold between processes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import storage
from harness.errors import RepriseError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_folders_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRISE_HOME", str(tmp_path / "home"))
    assert storage.cache_home() == tmp_path / "home"
    assert storage.data_root() == tmp_path / "home" / "data"
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    assert storage.data_root() == tmp_path / "data"
    monkeypatch.delenv("REPRISE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert storage.cache_home() == tmp_path / "xdg" / "reprise"


def test_a_written_file_is_whole_and_alone(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    storage.write_json(path, {"name": "Größe", "values": [1, 0.5]})
    assert path.read_text(encoding="utf-8") == '{\n  "name": "Größe",\n  "values": [\n    1,\n    0.5\n  ]\n}\n'
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_checksum_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.sha256_of(tmp_path / "abc") == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_without_a_number_is_refused_before_anything_is_written(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(tmp_path / "a.json", {"loss": value})
    assert not list(tmp_path.glob("*.json*"))


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, RepriseError])
def test_a_block_that_raises_leaves_nothing_and_the_old_file_as_it_was(tmp_path, error):
    path = tmp_path / "a.txt"
    storage.write_text(path, "old")

    def write_half() -> None:
        with storage.atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.glob("*a.txt*")) == [path]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from harness.errors import RepriseError
from harness.storage import write_text

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as on a disk with 1,000 bytes left, without being root
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except RepriseError as error:
    print(error)
"""


def test_a_full_disk_is_said_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.txt"
    storage.write_text(path, "old")
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {path}: ")
    assert done.stdout.endswith("free some space or choose another folder\n")
    assert path.read_text() == "old"
    assert list(tmp_path.glob("*a.txt*")) == [path]


@pytest.mark.parametrize("write", [lambda path: storage.write_text(path, "x"), storage.lock])
def test_a_folder_that_cannot_be_made_is_said(tmp_path, write):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RepriseError, match=r"cannot write .*file.*: .*choose another folder"):
        write(tmp_path / "file" / "folder" / "a.txt")


@given(st.dictionaries(st.text(), JSON, max_size=5), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert storage.fingerprint(dict(items)) == storage.fingerprint(value)


def test_a_fingerprint_tells_values_apart():
    values = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": [1]}, {"a": None}, {}, [], {"a": 1, "b": 1}]
    assert len({storage.fingerprint(value) for value in values}) == len(values)
    assert (
        storage.fingerprint({"a": 1}, length=64) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    )


HOLD = """
import sys, time
from harness.storage import lock

with lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_out_another_process_until_that_is_killed(tmp_path):
    path = tmp_path / "folder" / "store"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        guard = storage.lock(path)
        with pytest.raises(TimeoutError):
            guard.acquire(timeout=0.2)
        holder.kill()
        holder.wait()
        started = time.monotonic()
        with storage.lock(path):
            assert time.monotonic() - started < 10
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert Path(f"{path}.lock").parent == path.parent
