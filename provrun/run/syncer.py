"""Making the pack durable, in a process of its own: a sync takes milliseconds in which the event loop goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

from provrun.run.loop import Loop


class Syncer:
    """Syncs one file again and again; ``then`` is told whether it could."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._ask = -1
        self._answer = -1
        self._then: Callable[[bool], None] | None = None

    @property
    def busy(self) -> bool:
        """Tell whether a sync is under way."""
        return self._then is not None

    def sync(self, fd: int, then: Callable[[bool], None]) -> None:
        """Make all that was written to a file durable; one sync at a time, and always of the same file."""
        self._then = then
        if self._ask < 0:
            self._start(fd)
        os.write(self._ask, b"?")

    def _start(self, fd: int) -> None:
        asked, self._ask = os.pipe2(os.O_CLOEXEC)
        self._answer, answer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(self._ask)
            _serve(fd, asked, answer)
        os.close(asked)
        os.close(answer)
        self._loop.watch(self._answer, self._hear)
        self._loop.on_exit(pid, _reap)

    def _hear(self) -> None:
        good = os.read(self._answer, 1) == b"!"
        if not good:
            self._loop.unwatch(self._answer)
        then, self._then = self._then, None
        if then:
            then(good)


def _reap(pid: int) -> None:
    os.waitpid(pid, 0)  # whoever waits for an answer hears that the pipe is closed


def _serve(fd: int, asked: int, answer: int) -> NoReturn:
    try:
        while os.read(asked, 1):
            os.fdatasync(fd)
            os.write(answer, b"!")
    finally:
        os._exit(0)
