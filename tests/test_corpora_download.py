import contextlib
import dataclasses
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from corpora_trees import make_tree
from nsynth_trees import PARTS, make_nsynth_tree

from harness import corpora
from harness.corpora import download, nsynth, openmic
from harness.corpora.archives import Archive, BadArchive
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
        self.held: threading.Event | None = None  # after half of an answer, wait for this
        self.asked: list[str | None] = []

    @contextlib.contextmanager
    def running(self, name: str = "archive.tgz"):
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
            yield f"http://127.0.0.1:{http.server_port}/{name}"
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
        if self.held is not None:
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            self.held.wait(60)
            return
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


def pack(folder: Path, *extra: tarfile.TarInfo, name: str = "openmic-2018") -> bytes:
    """An archive of `folder` as it is published, and what else is to be in it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(folder, arcname=name)
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
            known = {"md5": hashlib.md5(data).hexdigest()} | {
                field: changes.pop(field) for field in ("md5", "bytes") if field in changes
            }
            changes = {
                "archives": (Archive(stack.enter_context(server.running()), **known),),
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
    (tmp_path / "data" / "openmic-2018.downloads").mkdir(parents=True)
    (tmp_path / "data" / "openmic-2018.downloads" / "archive.tgz.part").write_bytes(data[:5000])
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
        "by_form": 0,
        "changed": [second.relative_to(tree).as_posix()],
        "unlisted": [(second.parent / "999999_0.ogg").relative_to(tree).as_posix()],
    }


def test_verify_a_whole_corpus(tree):
    whole = {"checked": 12, "by_form": 0, "missing": [], "changed": [], "unlisted": []}
    assert download.verify("openmic-2018", tree, jobs=1) == whole


def test_verify_what_is_not_here():
    with pytest.raises(RepriseError, match="run `reprise data fetch openmic-2018`"):
        download.verify("openmic-2018")


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Let nsynth come as three small archives from three local servers; give the servers by the part's name."""
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(nsynth, "COUNTS", PARTS)
    make_nsynth_tree(tmp_path / "published")
    published = nsynth.CORPORA[0]
    servers, archives = {}, []
    with contextlib.ExitStack() as stack:
        for part in PARTS:
            data = pack(tmp_path / "published" / f"nsynth-{part}", name=f"nsynth-{part}")
            servers[part] = Server(data)
            url = stack.enter_context(servers[part].running(f"{part}.tar.gz"))
            archives.append(Archive(url, len(data), hashlib.md5(data).hexdigest()))
        monkeypatch.setattr(nsynth, "CORPORA", (published,))
        change_source(monkeypatch, archives=tuple(archives), download_bytes=10**6, unpacked_bytes=10**6)
        yield servers


def change_source(monkeypatch, **changes) -> None:
    entry = nsynth.CORPORA[0]
    source = dataclasses.replace(entry.source, **changes)
    monkeypatch.setattr(nsynth, "CORPORA", (dataclasses.replace(entry, source=source),))


def repack(servers, monkeypatch, part: str, data: bytes, **known) -> None:
    """Let a part's server send something else, published as such."""
    servers[part].data = data
    archives = [
        dataclasses.replace(archive, **{"bytes": len(data), "md5": hashlib.md5(data).hexdigest()} | known)
        if archive.name.startswith(part)
        else archive
        for archive in nsynth.CORPORA[0].source.archives
    ]
    change_source(monkeypatch, archives=tuple(archives))


def test_several_archives_make_one_corpus(parts, tmp_path, capsys):
    folder = download.fetch("nsynth")
    assert folder == tmp_path / "data" / "nsynth"
    assert leftovers(folder.parent) == ["nsynth"]
    assert leftovers(folder) == ["downloads.json", "nsynth-test", "nsynth-train", "nsynth-valid"]
    assert corpora.load("nsynth").checksum == nsynth.read(tmp_path / "published", "nsynth").checksum
    received = json.loads((folder / "downloads.json").read_text())
    for part, server in parts.items():
        told = received[f"{part}.tar.gz"]
        assert told["sha256"] == hashlib.sha256(server.data).hexdigest()
        assert told["md5"] == hashlib.md5(server.data).hexdigest()
        assert told["bytes"] == len(server.data)
        assert told["url"].endswith(f"/{part}.tar.gz")
    said = capsys.readouterr().out
    assert all(hashlib.md5(server.data).hexdigest() in said for server in parts.values())
    download.fetch("nsynth")
    assert [len(server.asked) for server in parts.values()] == [1, 1, 1]


def test_a_finished_archive_is_not_asked_for_again(parts, tmp_path):
    parts["valid"].code = 503
    with pytest.raises(RepriseError, match=r"valid\.tar\.gz answered 503"):
        download.fetch("nsynth")
    assert not (tmp_path / "data" / "nsynth").exists()
    assert download.status("nsynth")["downloaded_bytes"] >= len(parts["train"].data)
    parts["valid"].code = 200
    download.fetch("nsynth")
    assert [len(server.asked) for server in parts.values()] == [1, 2, 1]
    assert leftovers(tmp_path / "data") == ["nsynth"]


def test_a_run_that_is_killed_between_two_archives_goes_on_there(parts, tmp_path):
    parts["valid"].held = threading.Event()
    archives = [dataclasses.astuple(archive) for archive in nsynth.CORPORA[0].source.archives]
    code = (
        "import dataclasses, sys\n"
        "from harness.corpora import download, nsynth\n"
        "from harness.corpora.archives import Archive\n"
        "entry = nsynth.CORPORA[0]\n"
        f"archives = tuple(Archive(*one) for one in {archives})\n"
        "source = dataclasses.replace(entry.source, archives=archives, download_bytes=1, unpacked_bytes=1)\n"
        "nsynth.CORPORA = (dataclasses.replace(entry, source=source),)\n"
        "download.fetch('nsynth')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    downloads = tmp_path / "data" / "nsynth.downloads"
    part = downloads / "valid.tar.gz.part"
    deadline = time.monotonic() + 200
    while not (part.is_file() and part.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    parts["valid"].held.set()
    parts["valid"].held = None
    begun = part.stat().st_size
    assert sorted(path.name for path in downloads.iterdir()) == ["downloads.json", "train.tar.gz", "valid.tar.gz.part"]
    download.fetch("nsynth")
    assert parts["train"].asked == [None]
    assert parts["valid"].asked == [None, f"bytes={begun}-"]
    assert parts["test"].asked == [None]
    assert leftovers(tmp_path / "data") == ["nsynth"]


@pytest.mark.parametrize(
    ("known", "message"),
    [({"md5": "0" * 32}, r"its MD5 is not 0{32}"), ({"bytes": 77}, r"it has [\d,]+ bytes and not 77")],
)
def test_wrong_bytes_cost_only_the_archive_they_are_in(parts, monkeypatch, tmp_path, known, message):
    sound = nsynth.CORPORA
    repack(parts, monkeypatch, "valid", parts["valid"].data, **known)
    with pytest.raises(RepriseError, match=rf"valid.tar.gz sent is not the published archive \({message}\) and was de"):
        download.fetch("nsynth")
    assert sorted(path.name for path in (tmp_path / "data" / "nsynth.downloads").iterdir()) == [
        "downloads.json",
        "train.tar.gz",
    ]
    monkeypatch.setattr(nsynth, "CORPORA", sound)
    download.fetch("nsynth")
    assert [len(server.asked) for server in parts.values()] == [1, 2, 1]


@pytest.mark.parametrize("damage", ["elsewhere", "cut", "spoilt", "wrong sum", "no link's end", "no tar"])
def test_an_archive_that_cannot_be_unpacked_safely_is_refused(parts, monkeypatch, tmp_path, damage):
    folder, data = tmp_path / "published" / "nsynth-valid", parts["valid"].data
    member = tarfile.TarInfo("../../escaped")
    if damage == "no link's end":
        member = tarfile.TarInfo("nsynth-valid/audio/link")
        member.type, member.linkname = tarfile.LNKTYPE, "nsynth-valid/audio/gone"
    data = {
        "cut": data[: len(data) // 2],
        "spoilt": data[: len(data) // 2] + bytes(1000) + data[len(data) // 2 + 1000 :],
        "wrong sum": data[:-8] + bytes(4) + data[-4:],  # of gzip
        "no tar": b"<html>",
    }.get(damage, pack(folder, member, name="nsynth-valid"))
    repack(parts, monkeypatch, "valid", data)
    with pytest.raises(RepriseError, match=r"valid.tar.gz is no archive that is safe to unpack \(.*\) and was deleted"):
        download.fetch("nsynth")
    assert sorted(path.name for path in (tmp_path / "data" / "nsynth.downloads").glob("*.gz")) == [
        "test.tar.gz",
        "train.tar.gz",
    ]
    assert leftovers(tmp_path / "data") == ["nsynth.downloads"]
    assert not list(tmp_path.rglob("escaped"))
    repack(parts, monkeypatch, "valid", pack(folder, name="nsynth-valid"))
    download.fetch("nsynth")
    assert [len(server.asked) for server in parts.values()] == [1, 2, 1]


@pytest.mark.parametrize("fault", ["a note less", "a file less", "a part less"])
def test_archives_that_are_whole_and_yet_not_the_corpus(parts, monkeypatch, tmp_path, fault):
    folder = tmp_path / "published" / "nsynth-valid"
    message = {
        "a note less": "nsynth-valid has 3 notes and not 4",
        "a file less": "nsynth-valid/audio lacks 1 files that nsynth-valid/examples.json names, first ",
        "a part less": "lacks nsynth-valid/examples.json, nsynth-valid/audio/",
    }[fault]
    name = "nsynth-valid"
    if fault == "a note less":
        notes = json.loads((folder / "examples.json").read_text())
        notes.popitem()
        (folder / "examples.json").write_text(json.dumps(notes))
    elif fault == "a file less":
        next((folder / "audio").iterdir()).unlink()
    else:
        name = "nsynth-other"
    repack(parts, monkeypatch, "valid", pack(folder, name=name))
    with pytest.raises(RepriseError, match=message):
        download.fetch("nsynth")
    assert leftovers(tmp_path / "data") == []


def test_a_corpus_may_bring_its_own_way_of_unpacking(parts, monkeypatch, tmp_path):
    given = []

    def unpack(archives, folder):
        given.append([path.name for path in archives])
        assert len({path.parent for path in archives}) == 1
        if len(given) == 1:
            raise BadArchive(archives[1], "it is green")
        make_nsynth_tree(folder)

    change_source(monkeypatch, unpack=unpack)
    with pytest.raises(
        RepriseError, match=r"valid.tar.gz is no archive that is safe to unpack \(it is green\) and was"
    ):
        download.fetch("nsynth")
    assert len(corpora.load("nsynth", download.fetch("nsynth")).clips) == 14
    assert given == [["train.tar.gz", "valid.tar.gz", "test.tar.gz"]] * 2
    assert [len(server.asked) for server in parts.values()] == [1, 2, 1]


def test_a_full_disk_while_unpacking_costs_no_archive(parts, monkeypatch, tmp_path):
    unpack = nsynth.CORPORA[0].source.unpack

    def full(archives, folder):
        Path("/dev/full").write_bytes(b"x")

    change_source(monkeypatch, unpack=full)
    with pytest.raises(
        RepriseError, match=r"cannot unpack .*\(No space left on device\): free some space and run the sa"
    ):
        download.fetch("nsynth")
    assert leftovers(tmp_path / "data") == ["nsynth.downloads"]
    change_source(monkeypatch, unpack=unpack)
    download.fetch("nsynth")
    assert [len(server.asked) for server in parts.values()] == [1, 1, 1]


def test_what_nobody_may_pass_on_says_how_to_get_it(tmp_path, monkeypatch):
    entry = dataclasses.replace(nsynth.CORPORA[0], source=None, obtain="ask its makers for it")
    monkeypatch.setattr(nsynth, "CORPORA", (entry,))
    with pytest.raises(RepriseError, match="nsynth cannot be downloaded as a whole: ask its makers for it"):
        download.fetch("nsynth")
    with pytest.raises(RepriseError, match=r"nsynth is not in .*: ask its makers for it"):
        download.verify("nsynth")
    found = download.status("nsynth")
    assert (found["how"], found["about"], found["here"]) == (None, "ask its makers for it", False)
