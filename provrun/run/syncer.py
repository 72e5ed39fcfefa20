"""Making the pack durable, in a process of its own: a sync takes milliseconds in which the event loop goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from provrun.run.loop import Loop

_DONE, _FAILED = b"!", b"-"
_DEATHS = 3  # processes that may die over one sync


class Syncer:
    """Syncs one file again and again; ``then`` is told whether it could. A process that was killed is replaced."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._fd = -1
        self._ask = -1
        self._answer = -1
        self._then: Callable[[bool], None] | None = None
        self._deaths = 0

    @property
    def busy(self) -> bool:
        """Tell whether a sync is under way."""
        return self._then is not None

    def sync(self, fd: int, then: Callable[[bool], None]) -> None:
        """Make all that was written to a file durable; one sync at a time, and always of the same file."""
        self._fd = fd
        self._then = then
        self._deaths = 0
        self._order()

    def _order(self) -> None:
        if self._ask < 0:
            self._start()
        with suppress(BrokenPipeError):  # it was killed: no answer will come, and that is heard
            os.write(self._ask, b"?")

    def _start(self) -> None:
        asked, self._ask = os.pipe2(os.O_CLOEXEC)
        self._answer, answer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(self._ask)
            _serve(self._fd, asked, answer)
        os.close(asked)
        os.close(answer)
        self._loop.watch(self._answer, self._hear)
        self._loop.on_exit(pid, _reap)

    def _hear(self) -> None:
        answer = os.read(self._answer, 1)
        if not answer:
            self._forget()
            self._deaths += 1
            if self.busy and self._deaths < _DEATHS:
                self._order()
            if self._ask >= 0 or not self.busy:
                return
        then, self._then = self._then, None
        if then:
            then(answer == _DONE)

    def _forget(self) -> None:
        self._loop.unwatch(self._answer)
        os.close(self._ask)
        os.close(self._answer)
        self._ask = self._answer = -1


def _reap(pid: int) -> None:
    os.waitpid(pid, 0)  # whoever waits for an answer hears that the pipe is closed


def _serve(fd: int, asked: int, answer: int) -> NoReturn:
    try:
        while os.read(asked, 1):
            try:
                os.fdatasync(fd)
            except OSError:
                os.write(answer, _FAILED)
            else:
                os.write(answer, _DONE)
    finally:
        os._exit(0)
