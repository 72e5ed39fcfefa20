"""Pack files: one append-only file per rank of a job holds captured output and large results, compressed.

A record is a header of 32 bytes and its content, so a pack can be read from start to end without the registry, and a
record that was torn by a crash is known by its checksum. A *place* is ``rank:offset:length``, header included.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from provrun.core.records import DROPPED
from provrun.errors import NotFound, StorageFailed, Unsound

if TYPE_CHECKING:
    from pathlib import Path

StrPath = str | os.PathLike[str]

_HEADER = struct.Struct(">4sBBHQQII")
_MAGIC = b"\x93PRV"  # no UTF-8 text holds it
_CHUNK = 1 << 20
_SMALL = 128  # below this size deflate makes things larger
_PROBE = 1 << 16
_STORED, _DEFLATED = 0, 1

LOG, BLOB, FILE = 1, 2, 3
"""Kinds of records: captured output, content of a result, content of an output file."""


class Record(NamedTuple):
    """A record found by reading a pack from its start."""

    place: str
    kind: int
    content: bytes


class Dropped(NotFound):
    """Content is in no pack any more."""

    def __init__(self) -> None:
        super().__init__(
            "it was dropped by provrun compact: only its digest is kept", next="provrun rerun makes it again"
        )


def pack_path(project: StrPath, job: str, rank: int) -> Path:
    """Give the path of a rank's pack file in a project's folder."""
    from pathlib import Path  # late: a spawner starts without it

    return Path(_pack(project, job, rank))


def _pack(project: StrPath, job: str, rank: int) -> str:
    return os.path.join(project, ".provrun", "packs", f"{job}-{rank}.pack")


class Reserved:
    """Room in a pack for content that is copied there by another process; until then no sound record is there."""

    def __init__(self, fd: int, kind: int, start: int, size: int, place: str) -> None:
        self._fd = fd
        self._kind = kind
        self._start = start
        self._size = size
        self.place = place

    def fill(self, path: str) -> bytes:
        """Copy a file of the promised size there, as it is, and make it durable; raise ``OSError`` if it cannot be."""
        at, check = self._start + _HEADER.size, 0
        end = at + self._size
        with open(path, "rb", buffering=0) as file:
            while data := file.read(min(_CHUNK, end - at)):  # and never into what follows
                check = zlib.crc32(data, check)
                while data:
                    written = os.pwrite(self._fd, data, at)
                    at, data = at + written, data[written:]
            if at != end or file.read(1):
                raise OSError(f"{path} has changed its size")
        os.fdatasync(self._fd)
        os.pwrite(self._fd, _head(self._kind, _STORED, self._size, self._size, check), self._start)
        os.fdatasync(self._fd)
        return b""


class PackWriter:
    """Appends records to one pack file, which is made when the first one comes."""

    def __init__(self, path: StrPath, rank: int) -> None:
        self.path = os.fspath(path)
        self.rank = rank
        self.unsynced = False
        self._fd = -1
        self._end = 0

    @classmethod
    def of(cls, project: StrPath, job: str, rank: int) -> PackWriter:
        """Make the writer of a rank's pack."""
        return cls(_pack(project, job, rank), rank)

    def append(self, kind: int, content: bytes | memoryview) -> str:
        """Append a record and give its place; it is safe from a crash only after `sync`. Raises `StorageFailed`."""
        codec, stored = _compress(content)
        head = _head(kind, codec, len(stored), len(content), zlib.crc32(stored))
        place = f"{self.rank}:{self._open()}:{len(head) + len(stored)}"
        self._write(head, stored)
        self.unsynced = True
        return place

    def reserve(self, kind: int, size: int) -> Reserved:
        """Keep room for content of so many bytes."""
        start, length = self._open(), _HEADER.size + size
        self._end += length
        return Reserved(self._fd, kind, start, size, f"{self.rank}:{start}:{length}")

    def fileno(self) -> int:
        """Give the descriptor of the open file, -1 when nothing was appended yet."""
        return self._fd

    def sync(self) -> None:
        """Make all appended records durable."""
        if self.unsynced:
            os.fdatasync(self._fd)
            self.unsynced = False

    def close(self) -> None:
        """Make all durable and close the file."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        if self._fd < 0:
            try:
                parent = os.path.dirname(self.path)
                os.makedirs(parent, exist_ok=True)
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
                folder = os.open(parent, os.O_RDONLY | os.O_CLOEXEC)
                os.fsync(folder)
                os.close(folder)
            except OSError as error:
                raise self._failed(error) from None
            self._end = os.fstat(self._fd).st_size
        return self._end

    def _write(self, *parts: bytes | memoryview) -> None:
        rest = [memoryview(part) for part in parts if part]
        end = self._end
        try:
            while rest:
                written = os.pwritev(self._fd, rest, end)
                end += written
                while rest and written >= len(rest[0]):
                    written -= len(rest.pop(0))
                if written:
                    rest[0] = rest[0][written:]
        except OSError as error:
            raise self._failed(error) from None
        self._end = end

    def _failed(self, error: OSError) -> StorageFailed:
        message = f"cannot write the pack {self.path}: {error.strerror}"
        return StorageFailed(message, value=self.path, next="free some space, then run again")


def read(path: StrPath, place: str) -> bytes:
    """Read the record at a place of a pack file; raise `Unsound` when it is not what was written there."""
    _, offset, length = (int(part) for part in place.split(":"))
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        raise StorageFailed(
            f"cannot read the pack {path}: {error.strerror}", value=str(path),
            next="if it came by a merge: provrun db merge FILE --packs DIR brings it" if gone else None,
        ) from None
    found = _parse(data, 0)
    if found is None or found.length != length:
        raise Unsound(f"the record at {place} of {path} is damaged", value=place)
    return found.content


def read_of(project: StrPath, job: str, place: str) -> bytes:
    """Read the record at a place of a job's packs; raise `Dropped` when it is there no more."""
    if place == DROPPED:
        raise Dropped
    return read(_pack(project, job, int(place.partition(":")[0])), place)


def blob_reader(project: StrPath, blobs: Mapping[str, tuple[str, str]]) -> Callable[[str], bytes]:
    """Give what reads blobs by digest (hex); ``blobs`` says for each the job's uuid and the place in its packs."""

    def content(digest: str) -> bytes:
        try:
            job, place = blobs[digest]
        except KeyError:
            raise Unsound(f"nothing says where the content {digest} lies", value=digest) from None
        data = read_of(project, job, place)
        if sha256(data).hexdigest() != digest:
            raise Unsound(f"the content at {place} of job {job} is not what was recorded", value=digest)
        return data

    return content


def records(path: StrPath, rank: int) -> Iterator[Record]:
    """Read all sound records of a pack from its start, passing over what a crash has torn."""
    if os.stat(path).st_size == 0:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        offset = data.find(_MAGIC)
        while offset >= 0:
            found = _parse(data, offset)
            if found is None:
                # Appending went on behind a torn record: the next header is where the magic stands again.
                offset = data.find(_MAGIC, offset + 1)
                continue
            yield Record(f"{rank}:{offset}:{found.length}", found.kind, found.content)
            offset = data.find(_MAGIC, offset + found.length)


class _Found(NamedTuple):
    kind: int
    content: bytes
    length: int


def _head(kind: int, codec: int, stored: int, raw: int, check: int) -> bytes:
    head = _HEADER.pack(_MAGIC, kind, codec, 0, stored, raw, check, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "big")


def _compress(content: bytes | memoryview) -> tuple[int, bytes | memoryview]:
    if len(content) < _SMALL:
        return _STORED, content
    if len(content) > 4 * _PROBE and len(zlib.compress(content[:_PROBE], 1)) > _PROBE * 0.9:
        return _STORED, content
    deflated = zlib.compress(content, 1)
    return (_DEFLATED, deflated) if len(deflated) < len(content) else (_STORED, content)


def _parse(data: bytes | mmap.mmap, offset: int) -> _Found | None:
    """Give the record at an offset; None if there is no sound one."""
    start = offset + _HEADER.size
    head = data[offset:start]
    if len(head) < _HEADER.size:
        return None
    magic, kind, codec, _, stored, raw, check, head_check = _HEADER.unpack(head)
    if magic != _MAGIC or zlib.crc32(head[:-4]) != head_check:
        return None
    body = data[start : start + stored]
    if len(body) != stored or zlib.crc32(body) != check:
        return None
    content = zlib.decompress(body) if codec == _DEFLATED else body
    return _Found(kind, content, _HEADER.size + stored) if len(content) == raw else None
