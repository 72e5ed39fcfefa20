"""Frames over a non-blocking Unix stream socket: four bytes of length, big-endian, then the message."""

from __future__ import annotations

import os
from collections import deque
from typing import Protocol

_CHUNK = 1 << 18
_MANY = 64  # buffers handed to one sendmsg
_JOINED = 1 << 14  # frames below this size are joined into one buffer: a copy is cheaper than an iovec entry


class Closed(Exception):
    """The other side has closed its end."""


class Socket(Protocol):
    """A connected stream socket, or what stands for its descriptor: `socket` takes long to import for a spawner."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Channel:
    """One end of a connection: messages are queued by `send` and written when the socket takes them."""

    def __init__(self, sock: Socket) -> None:
        os.set_blocking(sock.fileno(), False)
        self._sock = sock
        self._in = bytearray()
        self._out: deque[bytes | memoryview] = deque()

    def fileno(self) -> int:
        """Give the descriptor to poll."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Tell whether something waits to be written."""
        return bool(self._out)

    def send(self, message: bytes) -> None:
        """Queue one message."""
        size = len(message).to_bytes(4, "big")
        if len(message) < _JOINED:
            self._out.append(size + message)
        else:
            self._out.append(size)
            self._out.append(message)

    def flush(self) -> None:
        """Write what the socket takes now; raise `Closed` when nobody reads any more."""
        out = self._out
        while out:
            try:
                written = os.writev(self.fileno(), list(out) if len(out) <= _MANY else [out[i] for i in range(_MANY)])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                raise Closed from None
            while out and written >= len(out[0]):
                written -= len(out.popleft())
            if written:
                out[0] = memoryview(out[0])[written:]

    def flush_all(self) -> None:
        """Write all that is queued, however long that takes; raise `Closed` when nobody reads any more."""
        os.set_blocking(self.fileno(), True)
        try:
            self.flush()
        finally:
            os.set_blocking(self.fileno(), False)

    def receive(self) -> list[bytes]:
        """Read what is there and give the whole messages in it; raise `Closed` at the end of the stream.

        Messages that arrived before the end are given first.
        """
        buffer = self._in
        while True:
            try:
                data = os.read(self.fileno(), _CHUNK)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if not data:
                if len(buffer) >= 4 and len(buffer) >= 4 + int.from_bytes(buffer[:4], "big"):
                    break
                raise Closed
            buffer += data
            if len(data) < _CHUNK:
                break
        messages: list[bytes] = []
        start, end = 0, len(buffer)
        while end - start >= 4:
            size = int.from_bytes(buffer[start : start + 4], "big")
            if end - start - 4 < size:
                break
            start += 4
            messages.append(bytes(buffer[start : start + size]))
            start += size
        if start:
            del buffer[:start]
        return messages

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
