"""Entries of the log as bytes: what stands in a file, and how it is told that all of it is there.

An entry: magic, kind, position, the digest of the entry before, who wrote it, the body, and the SHA-256 of all that.
This digest names the entry, so that no two histories can be taken for one. A **hole** stands where an entry is that
nobody can read any more: its body is the digest by which the next one knew that entry.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from hashlib import sha256
from typing import IO

import msgspec

MAGIC = b"provrun\x01"
PLAIN = 0
HOLE = 1
ZERO = bytes(32)
_HEADER = struct.Struct(">8sBQ32sHQ")  # magic, kind, position, previous, lengths of writer and body
_DIGEST = 32
SMALLEST = _HEADER.size + _DIGEST


class Damaged(Exception):
    """These bytes are no entry, or not the one that should stand here."""


class Entry(msgspec.Struct, frozen=True):
    """An entry; ``digest`` is what the next one calls it, ``data`` the bytes that stand in its file."""

    position: int
    previous: bytes
    writer: str
    body: bytes
    digest: bytes
    hole: bool
    data: bytes


def make(position: int, previous: bytes, writer: str, body: bytes) -> Entry:
    """Make an entry."""
    data = _sealed(PLAIN, position, previous, writer, zlib.compress(body, 1))
    return Entry(position, previous, writer, body, data[-_DIGEST:], False, data)


def make_hole(position: int, previous: bytes, writer: str, digest: bytes | None) -> Entry:
    """Make what stands for an entry that is lost; ``digest`` is what the next one calls it, None if there is none."""
    data = _sealed(HOLE, position, previous, writer, digest or b"")
    return Entry(position, previous, writer, b"", digest or data[-_DIGEST:], True, data)


def _sealed(kind: int, position: int, previous: bytes, writer: str, body: bytes) -> bytes:
    name = writer.encode()
    whole = b"".join((_HEADER.pack(MAGIC, kind, position, previous, len(name), len(body)), name, body))
    return whole + sha256(whole).digest()


def read(data: bytes, position: int) -> Entry:
    """Read the entry that should stand at a position; raise `Damaged` with the reason if it does not."""
    if len(data) < SMALLEST:
        raise Damaged(f"{len(data)} bytes are no entry")
    magic, kind, at, previous, name_length, body_length = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise Damaged("it does not begin as an entry does")
    if len(data) != SMALLEST + name_length + body_length:
        raise Damaged(f"it has {len(data)} bytes and should have {SMALLEST + name_length + body_length}")
    digest = data[-_DIGEST:]
    if sha256(memoryview(data)[:-_DIGEST]).digest() != digest:
        raise Damaged("its digest is not that of its bytes")
    if at != position:
        raise Damaged(f"it is the entry {at}")
    body_at = _HEADER.size + name_length
    writer = data[_HEADER.size : body_at].decode()
    body = data[body_at : body_at + body_length]
    if kind == HOLE:
        return Entry(position, previous, writer, b"", body or digest, True, data)
    return Entry(position, previous, writer, zlib.decompress(body), digest, False, data)


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Give the bytes of the entries that stand one after the other in a file, as long as it is known where each ends.

    The last piece is what remains; nothing is said of whether any of them is sound.
    """
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size or header[: len(MAGIC)] != MAGIC:
            yield header + file.read()
            return
        *_, name_length, body_length = _HEADER.unpack(header)
        rest = name_length + body_length + _DIGEST
        if rest > MOST:
            yield header
            return
        yield header + file.read(rest)


MOST = 1 << 36  # bytes of an entry, beyond which its length cannot be true
