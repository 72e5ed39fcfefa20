"""Limits of time and memory: who exceeds them is ended, gently first."""

from __future__ import annotations

import errno
import os
import resource
import signal
from contextlib import suppress
from typing import Protocol

from provrun.run.loop import Loop, Timer
from provrun.run.processes import Process, kill_tree, mark_of, table, tree

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
SCARCE = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""Errors of a system that has none left of something, which it may have when another process has ended."""
_POLL = 0.1  # at 2 Hz a task allocated six times its limit before it was seen
_BACKSTOP = 1.5


class Limited(Protocol):
    """An attempt that the watch can look at: its first process, its name, and what to call when it takes too much."""

    pid: int
    memory: int | None

    @property
    def name(self) -> bytes: ...

    def exceeded_memory(self, kib: int) -> None: ...


class MemoryWatch:
    """Looks ten times a second at the processes of those who have a limit."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._watched: set[Limited] = set()
        self._timer: Timer | None = None

    def add(self, attempt: Limited) -> None:
        """Watch an attempt."""
        self._watched.add(attempt)
        if self._timer is None:
            self._timer = self._loop.later(_POLL, self._look)

    def discard(self, attempt: Limited) -> None:
        """Watch it no more."""
        self._watched.discard(attempt)

    def _look(self) -> None:
        self._timer = None
        if not self._watched:
            return
        processes = table()
        daemons = self._daemons(processes)
        for attempt in list(self._watched):
            found = {process.pid: process for process in tree(attempt.pid, processes)}
            for pid in daemons.get(attempt.name, ()):
                found.update((process.pid, process) for process in tree(pid, processes))
            used = sum(process.rss for process in found.values())
            if attempt.memory is not None and used * 1024 > attempt.memory:
                self._watched.discard(attempt)
                attempt.exceeded_memory(used)
        self._timer = self._loop.later(_POLL, self._look)

    def _daemons(self, processes: dict[int, Process]) -> dict[bytes, list[int]]:
        """Find orphans in sessions of their own by the attempt whose name is in their environment."""
        me, ours = os.getpid(), self._loop.child_pids
        found: dict[bytes, list[int]] = {}
        for process in processes.values():
            if process.parent == me and process.pid not in ours and (mark := mark_of(process.pid, "PROVRUN_ATTEMPT")):
                found.setdefault(mark, []).append(process.pid)
        return found


def limit_data(pid: int, memory: int) -> None:
    """Let allocations fail well beyond the limit, for what grows between two looks."""
    most = int(memory * _BACKSTOP)
    with suppress(ProcessLookupError, PermissionError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))


def end_gently(loop: Loop, pid: int, grace: float = GRACE) -> Timer:
    """Ask the process group of a session's leader to end, kill all of the session after the grace."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
        os.killpg(pid, signal.SIGCONT)  # a stopped process takes no other signal
    return loop.later(grace, lambda: kill_tree(pid))


class OomKills:
    """Counts the processes that the kernel has killed in this cgroup for want of memory."""

    def __init__(self) -> None:
        self._file = _oom_file()
        self._seen = self._read()

    def new(self) -> bool:
        """Tell whether there were any since the last question."""
        before, self._seen = self._seen, self._read()
        return self._seen > before

    def _read(self) -> int:
        try:
            lines = _read(self._file).splitlines() if self._file else []
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _oom_file() -> str | None:
    try:
        groups = _read("/proc/self/cgroup").splitlines()
    except OSError:
        return None
    for line in groups:
        _, kinds, place = line.split(":", 2)
        if kinds == "":
            candidates = [f"/sys/fs/cgroup{place}/memory.events", "/sys/fs/cgroup/memory.events"]
        elif "memory" in kinds.split(","):
            candidates = [f"/sys/fs/cgroup/memory{place}/memory.oom_control"]
        else:
            continue
        for path in candidates:
            if os.path.exists(path):
                return path
    return None


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
