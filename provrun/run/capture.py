"""Captured output: byte-exact up to a limit, then its head and its tail."""

from __future__ import annotations

from collections import deque

import msgspec

HEAD = TAIL = 1 << 20
"""Bytes kept from the beginning and from the end of each stream."""


class Stream(msgspec.Struct, frozen=True, array_like=True):
    """What one stream printed: ``head``, then ``cut`` bytes that were not kept, then ``tail``."""

    head: bytes = b""
    cut: int = 0
    tail: bytes = b""

    def text(self) -> bytes:
        """Give all that was kept, with a line that says how much is missing where something is."""
        if not self.cut:
            return self.head + self.tail
        return self.head + b"\n[provrun: %d bytes cut]\n" % self.cut + self.tail


class Log(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt printed."""

    out: Stream = Stream()
    err: Stream = Stream()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Log)


def encode_log(log: Log) -> bytes:
    """Encode a log as the content of a pack record."""
    return _encoder.encode(log)


def decode_log(content: bytes) -> Log:
    """Decode the content of a pack record that holds a log."""
    return _decoder.decode(content)


class Capture:
    """Collects one stream in bounded memory."""

    __slots__ = ("_head", "_limit", "_seen", "_tail", "_tail_size")

    def __init__(self, limit: int = HEAD) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._seen = 0

    def feed(self, data: bytes) -> None:
        """Take what was printed next."""
        self._seen += len(data)
        room = self._limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= TAIL:
                self._tail_size -= len(self._tail.popleft())

    @property
    def empty(self) -> bool:
        """Tell whether nothing was printed."""
        return not self._seen

    def stream(self) -> Stream:
        """Give what was kept."""
        tail = b"".join(self._tail)[-TAIL:]
        return Stream(bytes(self._head), self._seen - len(self._head) - len(tail), tail)
