"""Zip archives in several parts (``.z01``, ``.z02``, ..., ``.zip``), read as one without a program from outside.

A split archive is one archive cut into pieces. Only its directory knows of the cuts: it says of every member in which
part it begins and how far into that part (APPNOTE.TXT, the zip specification, 4.3 to 4.5 and 8). Here the parts are
put end to end in a file object, nothing is copied, and a directory with distances from the very beginning is put after
them; `zipfile` then reads the whole as it reads any archive. The rewritten directory is in the zip64 form, which knows
no limit of 4 GiB or 65,535 members.
"""

import bisect
import contextlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from harness.corpora.archives import BadArchive, progress

#: What a directory has for each member, and how it ends: plain, and in the zip64 form with its pointer.
_MEMBER = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_POINTER_64 = struct.Struct("<4sIQI")
_SMALL, _LARGE = 0xFFFF, 0xFFFFFFFF  # stand for "see the zip64 form"
_BLOCK = 1 << 20


class _Joined(io.RawIOBase):
    """Files end to end, to be read only."""

    def __init__(self, files: Sequence[io.IOBase]) -> None:
        super().__init__()
        self.files = list(files)
        self.starts = [0]
        for file in self.files:
            self.starts.append(self.starts[-1] + file.seek(0, io.SEEK_END))
        self.place = 0

    def append(self, file: io.IOBase) -> None:
        """Put one more file at the end."""
        self.files.append(file)
        self.starts.append(self.starts[-1] + file.seek(0, io.SEEK_END))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.starts[-1]}[whence]
        if base + offset < 0:
            raise ValueError("the place is before the beginning")
        self.place = base + offset
        return self.place

    def readinto(self, buffer) -> int:
        number = bisect.bisect_right(self.starts, self.place) - 1
        if number >= len(self.files):
            return 0
        file = self.files[number]
        file.seek(self.place - self.starts[number])
        count = file.readinto(memoryview(buffer)[: self.starts[number + 1] - self.place])
        self.place += count
        return count


@contextlib.contextmanager
def open_zip(last: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, split or whole.

    Parameters
    ----------
    last
        The part that ends in ``.zip``; the others lie beside it.

    Yields
    ------
    zipfile.ZipFile
        All its members, for reading.

    Raises
    ------
    BadArchive
        A part is missing, or this is no zip archive.
    OSError
        A part cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            files = [stack.enter_context(open(path, "rb")) for path in parts(last)]
            joined = _Joined(files)
            members = _directory(joined)
            joined.append(io.BytesIO(_whole_directory(members, joined.starts[-1])))
            archive = stack.enter_context(zipfile.ZipFile(io.BufferedReader(joined, _BLOCK)))
        except (zipfile.BadZipFile, struct.error, IndexError, ValueError) as error:
            raise BadArchive(last, error) from None
        yield archive


def parts(last: Path) -> list[Path]:
    """Find the parts of a zip archive.

    Parameters
    ----------
    last
        The part that ends in ``.zip``.

    Returns
    -------
    list of Path
        In order, `last` at the end; only `last` where the archive is not split.

    Raises
    ------
    BadArchive
        A part is missing, or `last` is not the end of a zip archive.
    """
    with open(last, "rb") as file:
        tail = _tail(file)
    if tail is None:
        raise BadArchive(last, "it has no end of a zip archive")
    count = _END.unpack_from(tail)[1]
    if count == _SMALL:
        raise BadArchive(last, "it has more than 65,534 parts")
    before = [last.with_suffix(f".z{number:02d}") for number in range(1, count + 1)]
    if missing := next((path.name for path in before if not path.is_file()), None):
        raise BadArchive(last, f"its part {missing} is missing")
    return [*before, last]


def extract(last: Path, folder: Path, advance: Callable[[int], None] = lambda done: None) -> None:
    """Unpack a zip archive, split or whole; every file is written whole or not at all, and none outside `folder`.

    Parameters
    ----------
    last
        The part that ends in ``.zip``.
    folder
        Where to; it exists.
    advance
        Called with the packed bytes done so far.

    Raises
    ------
    BadArchive
        A part is missing or broken, a member does not have its checksum, is encrypted, is a link or a device, or has a
        name that leads outside; the check of the names comes before anything is written.
    OSError
        The disk is full.
    """
    with open_zip(last) as archive:
        members = archive.infolist()
        for member in members:
            if why := _unsafe(member):
                raise BadArchive(last, f"{member.filename!r} in it {why}")
        done = 0
        for member in members:
            path = folder.joinpath(*PurePosixPath(member.filename).parts)
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not under a name of `tempfile`: nobody else writes here, and there are 50,000 of them.
            partial = path.with_name(f".{path.name}.part")
            try:
                with archive.open(member) as packed, open(partial, "wb") as file:
                    while block := packed.read(_BLOCK):
                        file.write(block)
                partial.replace(path)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
                raise BadArchive(last, f"{member.filename!r} in it cannot be unpacked ({error})") from None
            finally:
                partial.unlink(missing_ok=True)
            done += member.compress_size
            advance(done)


def unpack_zips(archives: Sequence[Path], folder: Path) -> None:
    """Unpack zip archives, split or whole, one after the other: the hook of a `harness.corpora.registry.Source`.

    Parameters
    ----------
    archives
        All parts of all archives, in one folder.
    folder
        Where to; it exists.

    Raises
    ------
    BadArchive
        See `extract`.
    OSError
        The disk is full.
    """
    whole = [path for path in archives if path.suffix == ".zip"]
    sizes = [sum(part.stat().st_size for part in parts(path)) for path in whole]
    with progress("Unpacking", sum(sizes), 0) as advance:
        before = 0
        for path, size in zip(whole, sizes, strict=True):
            extract(path, folder, lambda done, before=before: advance(before + done))
            before += size
            advance(before)


def _unsafe(member: zipfile.ZipInfo) -> str | None:
    name = member.filename
    windows = PureWindowsPath(name)  # knows both kinds of slash, drives and shares
    if windows.anchor or name.startswith("/") or ".." in windows.parts:
        return "would be written outside its folder"
    if "\\" in name or not windows.parts:
        return "has no portable name"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device and not a file"
    return "is encrypted" if member.flag_bits & 1 else None


def _tail(file: io.IOBase) -> bytes | None:
    """The end record of a zip archive with its comment, found from behind."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END.size - _SMALL))
    data = file.read()
    at = data.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(data) - at >= _END.size and at + _END.size + _END.unpack_from(data, at)[-1] <= len(data):
            return data[at:]
        at = data.rfind(b"PK\x05\x06", 0, at)
    return None


def _read(joined: _Joined, start: int, size: int) -> bytes:
    joined.seek(start)
    data = b""
    while len(data) < size and (block := joined.read(size - len(data))):
        data += block
    if len(data) < size:
        raise zipfile.BadZipFile("its directory is cut off")
    return data


def _directory(joined: _Joined) -> list[tuple[tuple, bytes]]:
    """Of every member: the fixed fields with the place of its data counted from the very beginning, and the rest.

    The rest is the name, the extra fields (zip64 brought up to date) and the comment.
    """
    tail = _tail(joined)
    at = joined.starts[-1] - len(tail)
    _, _, disk, _, count, size, offset, _ = _END.unpack_from(tail)
    # A directory in the zip64 form is pointed at from just before the end record.
    if at >= _POINTER_64.size:
        signature, part, place, _ = _POINTER_64.unpack(_read(joined, at - _POINTER_64.size, _POINTER_64.size))
        if signature == b"PK\x06\x07":
            record = _END_64.unpack(_read(joined, joined.starts[part] + place, _END_64.size))
            if record[0] != b"PK\x06\x06":
                raise zipfile.BadZipFile("its zip64 directory is not where it should be")
            disk, count, size, offset = record[5], record[7], record[8], record[9]
    data, members, place = _read(joined, joined.starts[disk] + offset, size), [], 0
    while place < len(data):
        fields = _MEMBER.unpack_from(data, place)
        if fields[0] != b"PK\x01\x02":
            raise zipfile.BadZipFile("its directory is damaged")
        name, extra, comment = fields[10:13]
        rest = data[place + _MEMBER.size : place + _MEMBER.size + name + extra + comment]
        members.append(_absolute(fields, rest, joined.starts))
        place += _MEMBER.size + name + extra + comment
    if len(members) != count:
        raise zipfile.BadZipFile(f"its directory has {len(members)} members and not {count}")
    return members


def _absolute(fields: tuple, rest: bytes, starts: list[int]) -> tuple[tuple, bytes]:
    values = list(fields)
    name, extra = rest[: values[10]], rest[values[10] : values[10] + values[11]]
    comment = rest[values[10] + values[11] :]
    packed, size, part, place = values[8], values[9], values[13], values[16]
    others = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind != 1:
            others += struct.pack("<HH", kind, length) + field
            continue
        wide = io.BytesIO(field)  # holds, in this order, only what did not fit in its place

        def take(value: int, limit: int, form: str, wide: io.BytesIO = wide) -> int:
            return struct.unpack(form, wide.read(struct.calcsize(form)))[0] if value == limit else value

        size, packed = take(size, _LARGE, "<Q"), take(packed, _LARGE, "<Q")
        place, part = take(place, _LARGE, "<Q"), take(part, _SMALL, "<I")
    if part >= len(starts) - 1:
        raise zipfile.BadZipFile("a member begins in a part that is not there")
    new = struct.pack("<HHQQQ", 1, 24, size, packed, starts[part] + place) + others
    values[8], values[9], values[11], values[13], values[16] = _LARGE, _LARGE, len(new), 0, _LARGE
    return tuple(values), name + new + comment


def _whole_directory(members: list[tuple[tuple, bytes]], start: int) -> bytes:
    """A directory that stands at `start` of an archive in one piece."""
    data = b"".join(_MEMBER.pack(*fields) + rest for fields, rest in members)
    count, size = len(members), len(data)
    end = _END_64.pack(b"PK\x06\x06", _END_64.size - 12, 45, 45, 0, 0, count, count, size, start)
    pointer = _POINTER_64.pack(b"PK\x06\x07", 0, start + size, 1)
    return data + end + pointer + _END.pack(b"PK\x05\x06", 0, 0, _SMALL, _SMALL, _LARGE, _LARGE, 0)
