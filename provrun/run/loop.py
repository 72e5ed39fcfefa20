"""The event loop of a spawner: descriptors, ended children and timers, in one thread."""

from __future__ import annotations

import heapq
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

Callback = Callable[[], None]


class Timer:
    """Something that will happen; `cancel` prevents it."""

    __slots__ = ("at", "call")

    def __init__(self, at: float, call: Callback) -> None:
        self.at = at
        self.call: Callback | None = call

    def cancel(self) -> None:
        """Prevent it."""
        self.call = None


class Loop:
    """Waits for events and calls those who asked for them.

    SIGCHLD and a pipe tell of ended children: pidfds would need Linux 5.3, and clusters run older ones.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callback] = {}
        self._exits: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        self.watch(self._wake, self._reap)

    def watch(self, fd: int, call: Callback) -> None:
        """Call when a descriptor can be read."""
        self._watched[fd] = call
        self._epoll.register(fd, select.EPOLLIN)

    def watch_writing(self, fd: int, also: bool) -> None:
        """Call for a watched descriptor when it can be written, too."""
        if fd in self._watched:
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT if also else select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor; call this before closing it."""
        if self._watched.pop(fd, None):
            self._epoll.unregister(fd)

    def on_exit(self, pid: int, call: Callable[[int], None]) -> None:
        """Call with the pid when a child has ended; the callee must wait for it."""
        self._exits[pid] = call

    def later(self, seconds: float, call: Callback) -> Timer:
        """Call once after so many seconds."""
        timer = Timer(time.monotonic() + seconds, call)
        heapq.heappush(self._timers, (timer.at, next(self._order), timer))
        return timer

    @property
    def child_pids(self) -> set[int]:
        """The children somebody waits for."""
        return set(self._exits)

    def turn(self) -> None:
        """Wait for what comes next and handle it."""
        for fd, _ in self._epoll.poll(self._patience()):
            call = self._watched.get(fd)  # an earlier one of this turn may have unwatched it
            if call:
                call()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            call = heapq.heappop(self._timers)[2].call
            if call:
                call()

    def _patience(self) -> float:
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        with suppress(ChildProcessError):
            # The callee waits itself: until then the pid, which is also that of a session, cannot be given to another.
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                call = self._exits.pop(ended.si_pid, None)
                if call:
                    call(ended.si_pid)
                else:
                    os.waitpid(ended.si_pid, 0)


def _ignore(number: int, frame: object) -> None:
    """Do nothing: the pipe has been written to."""
