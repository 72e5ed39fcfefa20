"""Captured output: byte-exact up to a limit, then its head and its tail."""

from __future__ import annotations

import fcntl
import os
from collections import deque

import msgspec

HEAD = TAIL = 1 << 20
"""Bytes kept from the beginning and from the end of each stream."""
_PUNCH_HOLE = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE


class Stream(msgspec.Struct, frozen=True, array_like=True):
    """What one stream printed: ``head``, then ``cut`` bytes that were not kept, then ``tail``."""

    head: bytes = b""
    cut: int = 0
    tail: bytes = b""

    @property
    def size(self) -> int:
        """Count all bytes, those that were cut too."""
        return len(self.head) + self.cut + len(self.tail)

    def trimmed(self) -> Stream:
        """Give as much of it as a log keeps, where more was kept for a result."""
        if len(self.head) <= HEAD:
            return self
        rest = self.head[HEAD:]
        tail = (rest[-TAIL:] + self.tail)[-TAIL:]
        return Stream(self.head[:HEAD], self.size - HEAD - len(tail), tail)

    def text(self) -> bytes:
        """Give all that was kept, with a line that says how much is missing where something is."""
        if not self.cut:
            return self.head + self.tail
        return self.head + b"\n[provrun: %d bytes cut]\n" % self.cut + self.tail


_EMPTY = Stream()


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
        if not self._seen:
            return _EMPTY
        tail = b"".join(self._tail)[-TAIL:]
        return Stream(bytes(self._head), self._seen - len(self._head) - len(tail), tail)


class Tape:
    """A file in memory that a function child has for stdout or stderr; nothing is read while a task runs."""

    __slots__ = ("_fd", "_slot")

    def __init__(self, fd: int, slot: int) -> None:
        self._fd = fd
        self._slot = slot

    @property
    def moved(self) -> bool:
        """Tell whether something was printed."""
        try:
            return os.lseek(self._slot, 0, os.SEEK_END) != 0
        except OSError:  # a task closed it
            os.dup2(self._fd, self._slot)
            return os.fstat(self._fd).st_size != 0

    def rewind(self) -> Stream:
        """Give what was printed and make the file empty."""
        stream = read_tape(self._fd)
        os.ftruncate(self._fd, 0)
        return stream


def make_tape(name: str) -> int:
    """Make the file of a tape and give its descriptor."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    # Appending: a program that opens /dev/stderr by name and truncates it must not leave a hole behind.
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def read_tape(fd: int) -> Stream:
    """Give what a tape holds."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, min(size, HEAD), 0)
    tail = os.pread(fd, TAIL, max(len(head), size - TAIL)) if size > len(head) else b""
    return Stream(head, size - len(head) - len(tail), tail)


def thin_tape(fd: int) -> None:
    """Free the memory of what will be cut from a long tape."""
    size = os.fstat(fd).st_size
    if size > 4 * (HEAD + TAIL):
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate(fd, _PUNCH_HOLE, ctypes.c_int64(HEAD), ctypes.c_int64(size - TAIL - HEAD))
