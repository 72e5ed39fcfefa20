"""Warnings: commands that can save where they are get SIGUSR1 when their time is nearly up."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Protocol

from provrun.run.loop import Loop, Timer
from provrun.run.processes import table, tree

SAVING = 10.0
"""Seconds that a task with a checkpoint has to save where it is when somebody wants the job to end at once."""
_LOOK = 0.5


class Warned(Protocol):
    """An attempt: its first process, and those that have got the signal."""

    pid: int
    warned: set[int] | None


class Warnings:
    """Sends SIGUSR1 once to each process of warned attempts that has a handler for it.

    Others would die of it: they are left to go on. Looks again, for who has only just started may have one soon.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._attempts: set[Warned] = set()
        self._timer: Timer | None = None

    def add(self, attempt: Warned) -> None:
        """Warn an attempt."""
        self._attempts.add(attempt)
        if self._timer is None:
            self._timer = self._loop.later(0, self._look)

    def discard(self, attempt: Warned) -> None:
        """Warn it no more."""
        self._attempts.discard(attempt)

    def _look(self) -> None:
        self._timer = None
        if not self._attempts:
            return
        processes = table()
        for attempt in self._attempts:
            told = attempt.warned if attempt.warned is not None else set()
            for process in tree(attempt.pid, processes):
                if process.pid not in told and _catches(process.pid):
                    told.add(process.pid)
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(process.pid, signal.SIGUSR1)
        self._timer = self._loop.later(_LOOK, self._look)


def _catches(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read()
    except OSError:
        return False
    caught = int(text.partition(b"SigCgt:")[2].split(None, 1)[0], 16)
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)
