"""The line between `provrun run --mpi` and its rank 0: wishes go down, progress and the end come up.

Signals do not pass through launchers reliably (some deliver them twice, some kill the ranks), so the person's wishes
travel as messages, and the end of the line tells rank 0 that nobody listens any more.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from provrun.errors import Unavailable
from provrun.run.channel import Channel, Closed
from provrun.run.interrupts import INTERRUPTED
from provrun.run.progress import Progress

STOP = 2  # the level to act on when nobody listens any more


class Wish(msgspec.Struct, frozen=True, tag="wish"):
    """What the person asks for; see `interrupts.Interrupts`."""

    level: int
    number: int


class Shown(msgspec.Struct, frozen=True, tag="shown"):
    progress: Progress


class Said(msgspec.Struct, frozen=True, tag="said"):
    text: str


class Silent(msgspec.Struct, frozen=True, tag="silent"):
    """A rank has not been heard of for a while."""

    rank: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The end: a summary as JSON, or an error as (code, exit, message, value, next)."""

    summary: str | None
    error: tuple[str, int, str, str | None, str | None] | None = None


Upward = Shown | Said | Silent | Done
_upward = msgspec.msgpack.Decoder(Upward)
_wish = msgspec.msgpack.Decoder(Wish)


class Listener:
    """The end of who called; the address is a path that only this user can reach."""

    def __init__(self) -> None:
        # Not in the project: a path on a socket may have 108 bytes, and shared file systems have no sockets.
        self._folder = tempfile.mkdtemp(prefix="provrun-")
        self.address = f"{self._folder}/line"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.address)
        self._socket.listen(1)
        self._socket.setblocking(False)
        self._channel: Channel | None = None
        self._wish: Wish | None = None

    @property
    def called(self) -> bool:
        """Tell whether rank 0 has ever called."""
        return self._channel is not None

    def fileno(self) -> int:
        """Give the descriptor to poll."""
        return self._channel.fileno() if self._channel else self._socket.fileno()

    def wish(self, level: int, number: int) -> None:
        """Pass a person's wish on, now or when rank 0 calls."""
        self._wish = Wish(level, number)
        self._pass_on()

    def hear(self) -> list[Upward]:
        """Give what has come; raises `Closed` when rank 0 is gone."""
        if self._channel is None:
            try:
                accepted, _ = self._socket.accept()
            except BlockingIOError:
                return []
            self._channel = Channel(accepted)
            self._pass_on()
        return [_upward.decode(data) for data in self._channel.receive()]

    def _pass_on(self) -> None:
        if self._channel is not None and self._wish is not None:
            self._channel.send(msgspec.msgpack.encode(self._wish))
            with suppress(Closed):  # `hear` finds out
                self._channel.flush()

    def close(self) -> None:
        """Close the line and remove its address."""
        if self._channel is not None:
            self._channel.close()
        self._socket.close()
        Path(self.address).unlink(missing_ok=True)
        os.rmdir(self._folder)


class Line:
    """The end of rank 0: stands for the person's signals, and shows progress.

    Its own SIGTERM means that its launcher ends the ranks: another one has died, or the scheduler wants it so.
    """

    def __init__(self, address: str) -> None:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.connect(address)
        except OSError as error:
            raise Unavailable(f"who started this run is gone: {error.strerror}", value=address) from None
        self._channel = Channel(line)
        self.level = 0
        self.number: int | None = None
        self.why = INTERRUPTED
        self.gone = False
        self.terminated = False
        signal.signal(signal.SIGTERM, self._terminate)

    def fileno(self) -> int:
        """Give the descriptor to poll."""
        return self._channel.fileno()

    def read(self) -> int:
        """Give the level that is asked for."""
        try:
            for data in self._channel.receive():
                wish = _wish.decode(data)
                self.level, self.number = wish.level, wish.number
        except Closed:
            self.gone = True
            self.level = max(self.level, STOP)
        if self.terminated:
            self.level = max(self.level, STOP)
        return self.level

    def _terminate(self, number: int, frame: object) -> None:
        self.terminated = True

    def watch(self, progress: Progress) -> None:
        """Show progress."""
        self._say(Shown(progress))

    def tell(self, text: str) -> None:
        """Tell the person something."""
        self._say(Said(text))

    def suspect(self, rank: int) -> None:
        """Let somebody look whether a rank's host is still there."""
        self._say(Silent(rank))

    def done(self, end: Done) -> None:
        """Say how it ended."""
        self._channel.send(msgspec.msgpack.encode(end))
        with suppress(Closed):
            self._channel.flush_all()

    def close(self) -> None:
        """Close the line."""
        self._channel.close()

    def _say(self, message: Upward) -> None:
        self._channel.send(msgspec.msgpack.encode(message))
        with suppress(Closed):
            self._channel.flush()
