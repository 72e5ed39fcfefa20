"""What a person asks of a running job by signals: first to drain, then to stop, then to leave at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from contextlib import suppress
from types import FrameType
from typing import Protocol

INTERRUPTED = "interrupted"
"""The reason of a job that was told to end."""

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""What sites let schedulers send before an end that is known anyway; by themselves these signals end a process."""

TOGETHER = 1.0  # seconds within which launchers deliver one signal more than once


def note(number: int, frame: FrameType | None) -> None:
    """Do nothing about a signal. What is ignored stays so in what is started, what is handled does not."""


class Person(Protocol):
    """Who may want a running job to end; ``level`` is 0 for no, 1 to drain, 2 to give back what runs, 3 to leave.

    ``number`` is the signal by which it was first said, ``why`` the reason in words; ``gone`` when nothing more can
    come.
    """

    level: int
    why: str
    number: int | None
    gone: bool

    def fileno(self) -> int: ...

    def read(self) -> int: ...

    def close(self) -> None: ...


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP while a job runs; `fileno` is readable when one has come.

    With ``launched`` (beneath an MPI launcher) identical signals within a second count once.
    """

    gone = False
    why = INTERRUPTED

    def __init__(self, *, launched: bool = False) -> None:
        self.level = 0
        self.number: int | None = None
        self._launched = launched
        self._last: dict[int, float] = {}
        self._came: deque[int] = deque()
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # Python gives signals to the main thread alone; a run in another one is ended by whoever started it.
        self._ours = threading.current_thread() is threading.main_thread()
        if not self._ours:
            return
        self._old_fd = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        # A signal that is ignored, as by nohup, stays ignored.
        self._old = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN
        }

    def fileno(self) -> int:
        """Give the descriptor to poll."""
        return self._reading

    def read(self) -> int:
        """Take in the signals that have come and give the level they ask for."""
        with suppress(BlockingIOError):
            os.read(self._reading, 512)
        while self._came:
            self.press(self._came.popleft())
        return self.level

    def press(self, number: int) -> None:
        """Count one signal."""
        now = time.monotonic()
        if self._launched and now - self._last.get(number, -TOGETHER) < TOGETHER:
            return
        self._last[number] = now
        self.number = self.number or number
        # Who sends SIGTERM or hangs up will not wait for long tasks.
        self.level = min(3, max(self.level + 1, 1 if number == signal.SIGINT else 2))

    def wish(self, why: str) -> None:
        """Ask for a drain without a signal."""
        self.why = why
        self._came.append(signal.SIGINT)
        os.write(self._writing, b"\0")

    def close(self) -> None:
        """Give signals back to whom they belonged."""
        if self._ours:
            for number, handler in self._old.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._old_fd)
        os.close(self._reading)
        os.close(self._writing)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append(number)
