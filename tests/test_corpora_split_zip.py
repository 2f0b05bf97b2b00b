import hashlib
import io
import shutil
import stat
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.corpora import split_zip
from harness.corpora.archives import BadArchive

MEMBER = struct.Struct("<4sHHHHHHIIIHHHHHII")
END = struct.Struct("<4sHHHHIIH")


def contents(seed: int = 0, files: int = 9) -> dict[str, bytes]:
    """Files that hardly pack, one that packs well, one empty."""
    rng = np.random.default_rng(seed)
    made = {f"audio/{number}.wav": rng.bytes(int(rng.integers(3000, 50_000))) for number in range(files)}
    return made | {"audio/long.wav": bytes(80_000), "audio/empty.wav": b"", "Grüße.txt": b"hello"}


def zipped(files: dict[str, bytes], **how) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def split(data: bytes, folder: Path, size: int, *, zip64: bool = False) -> Path:
    """Cut an archive into parts of about `size` bytes by the specification, and name them as `zip -s` does.

    A part begins with nothing but where the last one ended; the first has the mark of a split archive. A member's
    header is never cut, its data may be.
    """
    whole = zipfile.ZipFile(io.BytesIO(data))
    headers = sorted((info.header_offset, info.header_offset + 30 + len(info.orig_filename.encode()) + 0) for info in
                     whole.infolist())  # fmt: skip
    directory = whole.start_dir
    body, cuts = b"PK\x07\x08" + data[:directory], [0]
    for at in range(size, len(body), size):
        inside = next((begin + 4 for begin, end in headers if begin + 4 < at < end + 4), at)
        if inside > cuts[-1]:
            cuts.append(inside)
    last = len(cuts) - 1
    entries, place, count = b"", directory, 0
    while data[place : place + 4] == b"PK\x01\x02":
        fields = list(MEMBER.unpack_from(data, place))
        length = sum(fields[10:13])
        rest = data[place + 46 : place + 46 + length]
        absolute = fields[16] + 4
        part = max(number for number, cut in enumerate(cuts) if cut <= absolute)
        fields[13], fields[16] = part, absolute - cuts[part]
        if zip64:
            extra = struct.pack("<HHQQQI", 1, 28, fields[9], fields[8], fields[16], part)
            name, old = rest[: fields[10]], rest[fields[10] :]
            rest = name + extra + old
            fields[8] = fields[9] = fields[16] = 0xFFFFFFFF
            fields[11] += len(extra)
            fields[13] = 0xFFFF
        entries += MEMBER.pack(*fields) + rest
        place += 46 + length
        count += 1
    offset = len(body) - cuts[-1]
    if zip64:
        record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, last, last, count, count, len(entries), offset)
        pointer = struct.pack("<4sIQI", b"PK\x06\x07", last, offset + len(entries), last + 1)
        end = record + pointer + END.pack(b"PK\x05\x06", last, 0xFFFF, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 2)
    else:
        end = END.pack(b"PK\x05\x06", last, last, count, count, len(entries), offset, 2)
    pieces = [body[a:b] for a, b in zip(cuts, [*cuts[1:], len(body)], strict=True)]
    pieces[-1] += entries + end + b"ok"  # a comment of two bytes
    folder.mkdir(exist_ok=True)
    for number, piece in enumerate(pieces[:-1], 1):
        (folder / f"set.z{number:02d}").write_bytes(piece)
    (folder / "set.zip").write_bytes(pieces[-1])
    return folder / "set.zip"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("size", [4_000, 37_000, 70_001, 10**7])
def test_parts_made_by_hand_give_their_files_back(tmp_path, size, zip64):
    files = contents()
    last = split(zipped(files), tmp_path / "parts", size, zip64=zip64)
    count = len(list(last.parent.iterdir()))
    assert (count > 1) == (size < 10**7)
    assert split_zip.parts(last)[-1] == last
    assert len(split_zip.parts(last)) == count
    (tmp_path / "out").mkdir()
    done = []
    split_zip.extract(last, tmp_path / "out", done.append)
    assert tree(tmp_path / "out") == files
    assert done == sorted(done)
    assert 0 < done[-1] <= sum(path.stat().st_size for path in last.parent.iterdir())


@pytest.mark.skipif(shutil.which("zip") is None, reason="the program zip is not on this machine")
@pytest.mark.parametrize("stored", [False, True])
def test_parts_made_by_the_program_zip_give_their_files_back(tmp_path, stored):
    files = contents(1, files=14)
    del files["Grüße.txt"]  # what the program makes of such a name depends on the locale
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    command = ["zip", "-q", "-r", "-s", "64k", *(["-0"] if stored else []), "../set.zip", "."]
    subprocess.run(command, cwd=tmp_path / "in", check=True)
    assert len(list(tmp_path.glob("set.z*"))) > 3
    (tmp_path / "out").mkdir()
    split_zip.unpack_zips(sorted(tmp_path.glob("set.z*")), tmp_path / "out")
    assert tree(tmp_path / "out") == files


def test_an_archive_in_one_piece_is_read_too_and_as_zipfile_reads_it(tmp_path):
    files = contents(2)
    (tmp_path / "one.zip").write_bytes(zipped(files))
    with split_zip.open_zip(tmp_path / "one.zip") as ours, zipfile.ZipFile(tmp_path / "one.zip") as theirs:
        assert ours.namelist() == theirs.namelist()
        for name in files:
            assert ours.read(name) == theirs.read(name)
            assert ours.getinfo(name).CRC == theirs.getinfo(name).CRC
            assert ours.getinfo(name).header_offset == theirs.getinfo(name).header_offset


def test_several_archives_side_by_side(tmp_path):
    first, second = {"a/1.wav": b"one" * 900}, {"b/2.wav": b"two"}
    split(zipped(first), tmp_path / "parts", 20)
    (tmp_path / "parts" / "other.zip").write_bytes(zipped(second))
    (tmp_path / "out").mkdir()
    split_zip.unpack_zips(sorted((tmp_path / "parts").iterdir()), tmp_path / "out")
    assert tree(tmp_path / "out") == first | second


@pytest.mark.parametrize("fault", ["no part", "no end", "directory", "data", "cut", "part number", "count", "text"])
def test_faults_are_told_and_leave_no_half_file(tmp_path, fault):
    last = split(zipped(contents()), tmp_path / "parts", 37_000)
    data = bytearray(last.read_bytes())
    second = last.with_suffix(".z02")
    match fault:
        case "no part":
            second.unlink()
        case "no end":
            data = data[:-30]
        case "directory":
            data[data.rfind(b"PK\x01\x02")] ^= 1
        case "data":
            changed = bytearray(second.read_bytes())
            changed[len(changed) // 2] ^= 0x55
            second.write_bytes(changed)
        case "cut":
            second.write_bytes(second.read_bytes()[:-1000])
        case "part number":
            struct.pack_into("<H", data, data.rfind(b"PK\x01\x02") + 34, 99)
        case "count":
            struct.pack_into("<H", data, data.rfind(b"PK\x05\x06") + 10, 3)
        case "text":
            data = bytearray(b"<html>not found</html>")
    last.write_bytes(data)
    (tmp_path / "out").mkdir()
    expected = {
        "no part": r"its part set\.z02 is missing", "no end": "no end of a zip", "directory": "damaged",
        "data": "cannot be unpacked", "cut": "cannot be unpacked",
        "part number": "part that is not there", "count": "12 members and not 3", "text": "no end of a zip",
    }[fault]  # fmt: skip
    with pytest.raises(BadArchive, match=expected) as caught:
        split_zip.extract(last, tmp_path / "out")
    assert caught.value.path == last
    found, whole = tree(tmp_path / "out"), contents()
    assert found.items() <= whole.items()
    assert len(found) < len(whole)


def member(name: str, *, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.create_system = 3
    return info


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (member("../outside.wav"), "outside its folder"),
        (member("audio/../../outside.wav"), "outside its folder"),
        (member("/tmp/outside.wav"), "outside its folder"),
        (member("C:/outside.wav"), "outside its folder"),
        (member("..\\outside.wav"), "outside its folder"),
        (member("audio\\1.wav"), "no portable name"),
        (member("link", mode=stat.S_IFLNK | 0o777), "is a link"),
        (member("pipe", mode=stat.S_IFIFO | 0o644), "is a link or a device"),
    ],
)
def test_no_member_leaves_the_folder(tmp_path, info, why):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("first.wav", b"harmless")
        archive.writestr(info, b"/etc/passwd")
    (tmp_path / "set.zip").write_bytes(buffer.getvalue())
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive, match=why):
        split_zip.extract(tmp_path / "set.zip", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "set.zip"]


def test_an_encrypted_member_is_refused(tmp_path):
    data = bytearray(zipped({"a.wav": b"secret"}))
    data[data.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(BadArchive, match="is encrypted"):
        split_zip.extract(tmp_path / "set.zip", tmp_path)


def test_places_beyond_4_gib_survive(tmp_path):
    # A sparse first part of 5 GiB: nothing of it is read, but all places lie behind it.
    files = contents(3, files=2)
    last = split(zipped(files), tmp_path / "parts", 10**7)
    gap, data = 5 * 2**30, last.read_bytes()
    at = data.rfind(b"PK\x05\x06")
    fields = list(END.unpack_from(data, at))
    fields[1] = fields[2] = 1
    body = bytearray(data[:at] + END.pack(*fields) + data[at + END.size :])
    place = fields[6]
    while body[place : place + 4] == b"PK\x01\x02":
        struct.pack_into("<H", body, place + 34, 1)
        place += 46 + sum(struct.unpack_from("<HHH", body, place + 28))
    last.write_bytes(body)
    with open(last.with_suffix(".z01"), "wb") as sparse:
        sparse.truncate(gap)
    with split_zip.open_zip(last) as archive:
        assert min(info.header_offset for info in archive.infolist()) > gap
        sums = {name: hashlib.sha256(archive.read(name)).digest() for name in archive.namelist()}
    assert sums == {name: hashlib.sha256(data).digest() for name, data in files.items()}
