"""Work that would hold up the event loop, done in forked copies of the spawner: digests of large files, disk syncs.

Threads would be cheaper by a fraction of a millisecond, and every later fork would be of a process with threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from provrun.run.loop import Loop

_AT_ONCE = 4
_PAUSE = 0.1
_READ = 1 << 16

Work = Callable[[], bytes]
Then = Callable[[bytes | None], None]


class Asides:
    """Runs work aside, a few pieces at once; ``then`` gets what it gave, None if it failed."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._running = 0
        self._waiting: deque[tuple[Work, Then]] = deque()

    def run(self, work: Work, then: Then) -> None:
        """Do some work in a process of its own, and go on with its answer."""
        if self._running >= _AT_ONCE:
            self._waiting.append((work, then))
        else:
            self._start(work, then)

    def _start(self, work: Work, then: Then) -> None:
        try:
            answer, written = os.pipe2(os.O_CLOEXEC)
        except OSError:
            self._postpone(work, then)
            return
        try:
            pid = os.fork()
        except OSError:
            os.close(answer)
            os.close(written)
            self._postpone(work, then)
            return
        if pid == 0:
            _work(work, written)
        os.close(written)
        self._running += 1
        heard: list[bytes] = []

        def hear() -> None:
            heard.append(os.read(answer, _READ))
            if not heard[-1]:
                self._loop.unwatch(answer)

        def ended(pid: int) -> None:
            _, status = os.waitpid(pid, 0)
            self._loop.unwatch(answer)
            while data := os.read(answer, _READ):
                heard.append(data)
            os.close(answer)
            self._running -= 1
            if self._waiting:
                self._start(*self._waiting.popleft())
            then(b"".join(heard) if status == 0 else None)

        self._loop.watch(answer, hear)
        self._loop.on_exit(pid, ended)

    def _postpone(self, work: Work, then: Then) -> None:
        """Try again a little later: there is no room for one more process or descriptor just now."""
        self._loop.later(_PAUSE, lambda: self.run(work, then))


def _work(work: Work, written: int) -> NoReturn:
    status = 1
    try:
        data = memoryview(work())
        while data:
            data = data[os.write(written, data) :]
        status = 0
    finally:
        os._exit(status)
