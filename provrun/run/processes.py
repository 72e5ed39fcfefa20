"""What the process table says: descendants, sessions, leftovers of a job; and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

JOB_VARIABLE = "PROVRUN_JOB"
"""In the environment of every process of a job, as ``uuid/rank``: so leftovers are found when all else is gone."""

_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37


class Process(NamedTuple):
    """One line of the process table; ``started`` in clock ticks since boot, ``rss`` in KiB."""

    pid: int
    state: str
    parent: int
    session: int
    started: int
    rss: int


def become_subreaper(yes: bool = True) -> bool:
    """Let orphans among the descendants become children of this process; tell whether that was so before."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    before = ctypes.c_int(0)
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)
    return bool(before.value)


def read_process(pid: int) -> Process | None:
    """Read one process; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read()
    except OSError:
        return None
    # The command name may hold spaces and parentheses: fields count from the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    numbers = [int(field) for field in fields[1:22]]
    return Process(pid, fields[0].decode(), numbers[0], numbers[2], numbers[18], numbers[20] * _PAGE_KIB)


def is_there(pid: int, started: int) -> bool:
    """Tell whether a process that was started then still lives."""
    process = read_process(pid)
    return process is not None and process.state != "Z" and process.started == started


_PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024


def table() -> dict[int, Process]:
    """Read all processes that can be seen."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := read_process(int(name))):
            found[process.pid] = process
    return found


def descendants(root: int, processes: dict[int, Process]) -> Iterator[Process]:
    """Give all living processes that descend from ``root``, itself excluded."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    pending = [root]
    while pending:
        for process in children.get(pending.pop(), ()):
            pending.append(process.pid)
            if process.state != "Z":
                yield process


def tree(root: int, processes: dict[int, Process]) -> list[Process]:
    """Give the living processes of a task: its first process, what descends from it, and the rest of its session."""
    found = {process.pid: process for process in descendants(root, processes)}
    for process in processes.values():
        if root in (process.pid, process.session) and process.state != "Z":
            found[process.pid] = process
    return list(found.values())


def kill(pids: Iterable[int], number: int = signal.SIGKILL) -> int:
    """Send a signal to processes; give the number of those that were there."""
    sent = 0
    for pid in pids:
        try:
            os.kill(pid, number)
            sent += 1
        except (ProcessLookupError, PermissionError):
            continue
    return sent


def kill_tree(root: int) -> None:
    """Kill a task's processes until none is left: what it forks meanwhile is found in the next round."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(root, signal.SIGKILL)  # at one stroke, in which nobody can fork
    for _ in range(100):
        if not kill(process.pid for process in tree(root, table())):
            return


def kill_descendants(but: Iterable[int] = ()) -> None:
    """Kill everything that descends from this process until nothing is left, and reap it."""
    spared = set(but)
    for _ in range(1000):
        found = [process.pid for process in descendants(os.getpid(), table()) if process.pid not in spared]
        if not kill(found):
            return
        _reap()
        time.sleep(0.001)


def command_of(pid: int) -> bytes:
    """Give the words of a process's command as the kernel keeps them; none if they cannot be seen."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def mark_of(pid: int, name: str) -> bytes | None:
    """Give the value that a variable had when a process was executed, if that can be seen."""
    start = f"{name}=".encode()
    return next((mark[len(start) :] for mark in _environment(pid) if mark.startswith(start)), None)


def proxies(launcher: int) -> int:
    """Count the living processes through which Hydra, MPICH's launcher, starts ranks."""
    named = (pid for pid in children(launcher) if _name(pid).startswith(b"hydra_pmi_proxy"))
    return sum((process := read_process(pid)) is not None and process.state != "Z" for pid in named)


def _name(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def children(pid: int | None = None) -> list[int]:
    """List the direct children of a process, of this one if none is named."""
    me = os.getpid() if pid is None else pid
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb", buffering=0) as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:  # a kernel built without it, or no such process
        return [process.pid for process in table().values() if process.parent == me]


LAUNCHED = ""
"""In the place of a rank in the mark: a launcher, and the ranks it has started themselves."""


def carrying(job: str, rank: int | str | None = None) -> list[int]:
    """List the processes that carry the job (and rank) in their environment, but this one and its ancestors."""
    wanted = f"{JOB_VARIABLE}={job}/{'' if rank is None else rank}".encode()
    processes = table()
    spared = set()
    pid = os.getpid()
    while pid in processes:
        spared.add(pid)
        pid = processes[pid].parent
    return [
        process.pid
        for process in processes.values()
        if process.pid not in spared and process.state != "Z" and _carries(process.pid, wanted, rank is None)
    ]


def sweep(job: str, rank: int | str | None = None) -> int:
    """Kill all that is left of a job, or of one of its ranks, on this host; give the number of processes killed.

    A process that threw its environment away is found as long as it descends from one that did not.
    """
    killed = 0
    for _ in range(1000):
        marked = carrying(job, rank)
        if not marked:
            return killed
        processes = table()
        unmarked = {process.pid for pid in marked for process in descendants(pid, processes)}
        killed += kill({*marked, *unmarked})
        for pid in {*marked, *unmarked}:
            _reap(pid)
        time.sleep(0.001)
    return killed


def jobs_here(jobs: Collection[str]) -> set[str]:
    """Give those of these jobs that have left processes on this host, by one look at the process table."""
    found = set()
    name = f"{JOB_VARIABLE}=".encode()
    for pid in table():
        for mark in _environment(pid):
            if mark.startswith(name):
                found.add(mark[len(name) :].partition(b"/")[0].decode(errors="replace"))
    return found.intersection(jobs)


def _carries(pid: int, wanted: bytes, any_rank: bool) -> bool:
    marks = _environment(pid)
    return wanted in marks or (any_rank and any(mark.startswith(wanted) for mark in marks))


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _reap(pid: int = -1) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0]:
            pass
