import contextlib
import dataclasses
import hashlib
import io
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from corpora_trees import make_tree

from harness import corpora
from harness.corpora import download, openmic
from harness.errors import RepriseError


class Server:
    """A file on a real HTTP server, with the faults of real ones."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ranges = True
        self.breaks: list[int] = []  # after how many bytes the next answers break off
        self.states_length = True
        self.shift = 0  # a range is answered from this many bytes later on
        self.code = 200
        self.asked: list[str | None] = []

    @contextlib.contextmanager
    def running(self):
        """Serve at the address that is given."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/archive.tgz"
        finally:
            http.shutdown()
            thread.join()
            http.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        start, code = 0, self.code
        if wanted and self.ranges and code == 200:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) + self.shift
            code = 206 if start < len(self.data) else 416
        request.send_response(code)
        body = self.data[start:] if code in (200, 206) else b""
        if code == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        if code == 416:
            request.send_header("Content-Range", f"bytes */{len(self.data)}")
        if self.states_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)


@pytest.fixture(autouse=True)
def _straight_to_the_server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)


@pytest.fixture
def server() -> Server:
    return Server(np.random.default_rng(0).bytes(3_000_000))


def test_a_whole_download(server, tmp_path):
    with server.running() as url:
        download.download(url, tmp_path / "new" / "archive")
    assert (tmp_path / "new" / "archive").read_bytes() == server.data
    assert server.asked == [None]


@pytest.mark.parametrize("states_length", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path, states_length):
    path = tmp_path / "archive"
    path.write_bytes(server.data[:1_000_000])
    server.states_length = states_length
    with server.running() as url:
        download.download(url, path)
    assert path.read_bytes() == server.data
    assert server.asked == ["bytes=1000000-"]


def test_a_server_that_breaks_off_is_asked_for_the_rest(server, tmp_path):
    server.breaks = [1_200_000, 900_000]
    with server.running() as url:
        download.download(url, tmp_path / "archive")
    assert (tmp_path / "archive").read_bytes() == server.data
    assert server.asked[0] is None
    first, second = (int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) for wanted in server.asked[1:])
    assert 0 < first <= 1_200_000 < second <= 2_100_000


def test_a_server_that_sends_nothing_more_is_given_up_and_the_beginning_stays(server, tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(server.data[:1_000_000])
    server.breaks = [0] * 5
    with (
        server.running() as url,
        pytest.raises(RepriseError, match=r"failed after 1.0 MB \(the connection broke\): .* it goes on from there"),
    ):
        download.download(url, path)
    assert path.read_bytes() == server.data[:1_000_000]
    assert len(server.asked) == 1


def test_a_server_without_ranges_sends_the_whole_again(server, tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(server.data[:1_000_000])
    server.ranges = False
    with server.running() as url:
        download.download(url, path)
    assert path.read_bytes() == server.data


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(server, tmp_path):
    server.ranges = False
    server.breaks = [2_000_000] * 5
    with server.running() as url, pytest.raises(RepriseError, match="the connection broke"):
        download.download(url, tmp_path / "archive")
    assert len(server.asked) == 2


def test_a_range_from_elsewhere_is_not_appended(server, tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(server.data[:1_000_000])
    server.shift = 10
    with server.running() as url:
        download.download(url, path)
    assert path.read_bytes() == server.data
    assert server.asked == ["bytes=1000000-", None]


@pytest.mark.parametrize("surplus", [b"", b"and more"])
def test_a_file_that_is_there_to_the_end(server, tmp_path, surplus):
    path = tmp_path / "archive"
    path.write_bytes(server.data + surplus)
    with server.running() as url:
        download.download(url, path)
    assert path.read_bytes() == server.data
    assert len(server.asked) == (2 if surplus else 1)


def test_a_server_that_refuses(server, tmp_path):
    server.code = 503
    with (
        server.running() as url,
        pytest.raises(RepriseError, match="answered 503 Service Unavailable: try again later"),
    ):
        download.download(url, tmp_path / "archive")


def test_no_network(server, tmp_path):
    with server.running() as url:
        pass  # nobody listens there any more
    with pytest.raises(RepriseError, match=r"failed \(no connection\): check the network") as caught:
        download.download(url, tmp_path / "archive")
    assert "\n" not in str(caught.value)


def test_a_full_disk(server):
    with server.running() as url, pytest.raises(RepriseError, match="cannot write /dev/full: free some space"):
        download.download(url, Path("/dev/full"))


def pack(folder: Path, *extra: tarfile.TarInfo) -> bytes:
    """An archive of `folder` as it is published, and what else is to be in it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(folder, arcname="openmic-2018")
        for member in extra:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return file.getvalue()


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Let openmic-2018 come from a local server and its data live in a folder of the test."""
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    published = openmic.CORPORA[0]

    with contextlib.ExitStack() as stack:

        def start(data: bytes, **changes) -> Server:
            server = Server(data)
            changes = {
                "url": stack.enter_context(server.running()),
                "md5": hashlib.md5(data).hexdigest(),
                "download_bytes": len(data),
                "unpacked_bytes": 2 * len(data),
            } | changes
            source = dataclasses.replace(published.source, **changes)
            monkeypatch.setattr(openmic, "CORPORA", (dataclasses.replace(published, source=source),))
            return server

        yield start


@pytest.fixture
def tree(tmp_path) -> Path:
    return make_tree(tmp_path / "published" / "openmic-2018").root


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_fetch_brings_a_corpus_that_loads(publish, tree, tmp_path, capsys):
    data = pack(tree)
    publish(data)
    assert not download.status("openmic-2018")["here"]
    folder = download.fetch("openmic-2018")
    assert folder == tmp_path / "data" / "openmic-2018"
    assert leftovers(folder.parent) == ["openmic-2018"]
    loaded = corpora.load("openmic-2018")
    assert loaded.checksum == openmic.read(tree, "openmic-2018").checksum
    said = capsys.readouterr().out
    for word in ("CC BY 4.0", hashlib.md5(data).hexdigest(), str(folder), "10.5281/zenodo.1432913", "MB to download"):
        assert word in said
    assert download.status("openmic-2018")["here"]


def test_fetch_does_nothing_twice(publish, tree, capsys):
    server = publish(pack(tree))
    assert download.fetch("openmic-2018") == download.fetch("openmic-2018")
    assert len(server.asked) == 1
    assert "is already in" in capsys.readouterr().out


def test_fetch_again_after_a_break_goes_on(publish, tree, tmp_path):
    data = pack(tree)
    server = publish(data)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "openmic-2018.download").write_bytes(data[:5000])
    assert download.status("openmic-2018")["downloaded_bytes"] == 5000
    download.fetch("openmic-2018")
    assert server.asked == ["bytes=5000-"]
    assert download.status("openmic-2018")["downloaded_bytes"] == 0


def test_wrong_bytes_are_deleted_and_never_unpacked(publish, tree, tmp_path):
    publish(pack(tree), md5="0" * 32)
    with pytest.raises(RepriseError, match=r"is not the published archive \(its MD5 is not 0{32}\) and was deleted"):
        download.fetch("openmic-2018")
    assert leftovers(tmp_path / "data") == []


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/reprise-escaped", "openmic-2018/../../../escaped"])
def test_an_archive_that_writes_elsewhere_is_refused(publish, tree, tmp_path, name):
    member = tarfile.TarInfo(name)
    member.size = 1
    publish(pack(tree, member))
    if name.startswith("/"):
        # tarfile's filter makes an absolute path a relative one
        download.fetch("openmic-2018")
        assert not Path(name).exists()
        return
    with pytest.raises(RepriseError, match=r"no archive that is safe to unpack .* outside the destination"):
        download.fetch("openmic-2018")
    assert leftovers(tmp_path / "data") == []
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_with_a_link_out_of_it_is_refused(publish, tree, tmp_path):
    member = tarfile.TarInfo("openmic-2018/audio/link")
    member.type, member.linkname = tarfile.SYMTYPE, "../../../../etc/passwd"
    publish(pack(tree, member))
    with pytest.raises(RepriseError, match="no archive that is safe to unpack"):
        download.fetch("openmic-2018")
    assert leftovers(tmp_path / "data") == []


def test_what_is_no_archive(publish, tmp_path):
    publish(b"<html>Please log in</html>")
    with pytest.raises(RepriseError, match="no archive that is safe to unpack"):
        download.fetch("openmic-2018")
    assert leftovers(tmp_path / "data") == []


def test_an_archive_of_something_else(publish, tree, tmp_path):
    (tree / "class-map.json").unlink()
    publish(pack(tree))
    with pytest.raises(RepriseError, match=r"lacks class-map\.json"):
        download.fetch("openmic-2018")
    assert leftovers(tmp_path / "data") == []


def test_too_little_room_is_told_before_anything_is_asked(publish, tree):
    server = publish(pack(tree), unpacked_bytes=10**18)
    with pytest.raises(RepriseError, match=r"1000000000.0 GB are needed under .* GB are free: make room"):
        download.fetch("openmic-2018")
    assert server.asked == []


def test_a_folder_with_other_things_is_left_alone(publish, tree, tmp_path):
    server = publish(pack(tree))
    (tmp_path / "data" / "openmic-2018").mkdir(parents=True)
    (tmp_path / "data" / "openmic-2018" / "notes.txt").write_text("mine")
    with pytest.raises(RepriseError, match=r"is not empty and lacks class-map.json, .*: move it away"):
        download.fetch("openmic-2018")
    assert server.asked == []
    assert (tmp_path / "data" / "openmic-2018" / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(publish, tree, tmp_path):
    publish(pack(tree))
    (tmp_path / "elsewhere").mkdir()
    assert download.fetch("openmic-2018", tmp_path / "elsewhere") == tmp_path / "elsewhere"
    assert len(corpora.load("openmic-2018", tmp_path / "elsewhere").clips) == 12


def test_leftovers_of_a_killed_run_are_cleared(publish, tree, tmp_path):
    publish(pack(tree))
    (tmp_path / "data" / ".openmic-2018.abc.part" / "openmic-2018").mkdir(parents=True)
    download.fetch("openmic-2018")
    assert leftovers(tmp_path / "data") == ["openmic-2018"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RepriseError, match=r"cannot write in .*file \(.*\): set REPRISE_DATA"):
        download.fetch("openmic-2018", tmp_path / "file" / "openmic-2018")


def test_fetch_of_what_is_rendered():
    with pytest.raises(
        RepriseError, match="pocket-openmic is not downloaded but rendered: run `reprise data make pocket"
    ):
        download.fetch("pocket-openmic")


def test_status_names_what_is_missing_and_the_way(tree):
    (tree / "openmic-2018.npz").unlink()
    found = download.status("openmic-2018", tree)
    assert not found["here"]
    assert found["missing"] == ["openmic-2018.npz"]
    assert found["audio_files"] == 12
    assert found["how"] == "reprise data fetch openmic-2018"
    assert "2.6 GB" in found["about"]
    assert download.status("pocket-openmic", tree)["how"] == "reprise data make pocket-openmic"


@pytest.mark.parametrize("jobs", [1, 2])
def test_verify_finds_each_kind_of_damage(tree, jobs, monkeypatch):
    monkeypatch.setattr(download, "FILES_PER_TASK", 5)
    first, second, *_ = sorted(tree.glob("audio/*/*.ogg"))
    first.unlink()
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(data)
    (second.parent / "999999_0.ogg").write_bytes(b"new")
    assert download.verify("openmic-2018", tree, jobs=jobs) == {
        "checked": 12,
        "missing": [first.relative_to(tree).as_posix()],
        "changed": [second.relative_to(tree).as_posix()],
        "unlisted": [(second.parent / "999999_0.ogg").relative_to(tree).as_posix()],
    }


def test_verify_a_whole_corpus(tree):
    whole = {"checked": 12, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("openmic-2018", tree, jobs=1) == whole


def test_verify_what_is_not_here():
    with pytest.raises(RepriseError, match="run `reprise data fetch openmic-2018`"):
        download.verify("openmic-2018")
