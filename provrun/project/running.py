"""Run: here and now, until nothing is left that could run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from provrun.errors import Unavailable
from provrun.project.project import Project
from provrun.run.agent import Agent
from provrun.run.interrupts import Interrupts
from provrun.run.links import Local
from provrun.run.progress import Progress

LEFT = "left"
"""The reason of a run that was left at once."""


class MaxFails(msgspec.Struct, frozen=True):
    """After how many failed tasks a run stops: a number, or percent of all tasks of its maps."""

    number: float
    percent: bool = False

    def of(self, total: int) -> int:
        """Give the number of failed tasks that is too many among ``total``."""
        return max(1, math.ceil(self.number * total / 100)) if self.percent else int(self.number)


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did; ``reason`` says why it ended while tasks were left, ``exit`` is the exit code of the command."""

    succeeded: int = 0
    failed: int = 0
    lost: int = 0
    reused: int = 0
    noresult: int = 0
    seconds: float = 0.0
    tasks_per_second: float = 0.0
    job: int | None = None
    reason: str = ""
    exit: int = 0

    def document(self) -> dict[str, object]:
        """Give the JSON document that `run` answers with."""
        return msgspec.structs.asdict(self)


class Show(Protocol):
    """Whom a run tells how far it is, a few times a second, and what the user should know."""

    def watch(self, progress: Progress) -> None: ...

    def tell(self, text: str) -> None: ...


class Silent:
    """Shows nothing."""

    def watch(self, progress: Progress) -> None:
        """Show nothing."""

    def tell(self, text: str) -> None:
        """Say nothing."""


class _Enough:
    """Asks a run to end when so many tasks have ended."""

    def __init__(self, show: Show, enough: int, interrupts: Interrupts) -> None:
        self.tell = show.tell
        self._show = show
        self._left = enough
        self._interrupts = interrupts

    def watch(self, progress: Progress) -> None:
        """Count."""
        self._show.watch(progress)
        if progress.ended >= self._left and not self._interrupts.level:
            self._interrupts.wish(f"{progress.ended} tasks have ended, which are enough")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How to run: maps by name, slots per rank, when to stop.

    ``until`` is when the allocation ends, in seconds of Unix time. ``ended`` are the uuids of jobs that died: what is
    left of them on a host is ended before anything starts there. ``owner`` is what the registry keeps about the
    allocation besides who manages it.
    """

    uuid: str
    names: tuple[str, ...]
    slots: int
    max_fails: MaxFails | None = None
    until: float | None = None
    ended: tuple[str, ...] = ()
    owner: dict[str, object] = {}


def run(
    project: Project,
    names: Sequence[str] = (),
    *,
    slots: int | None = None,
    max_fails: MaxFails | None = None,
    nice: int = 0,
    until: float | None = None,
    enough: int | None = None,
    show: Show | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunSummary:
    """Run the tasks of these maps and of all they build on (of all maps if none is named) in one process tree.

    ``slots`` tasks of one core run at once (default: as configured, else one per usable core); at ``until``, in
    seconds of Unix time, it ends, and when ``enough`` tasks have ended it starts no more. Raises `NotFound` for an
    unknown map, `Unavailable` or `StorageFailed` when the registry cannot be written.
    """
    if nice:
        os.nice(nice)
    slots = slots or project.config.number("slots") or len(os.sched_getaffinity(0))
    setting = Setting(uuid=new_uuid(), names=tuple(names), slots=slots, max_fails=max_fails, until=until)
    # The spawner comes first: what it starts must hold nothing of the registry, and it starts meanwhile.
    local = Local(starter(project, setting, 0, os.environ if environ is None else environ))
    interrupts = Interrupts()
    try:
        from provrun.project.managing import manage  # meanwhile: it imports much

        show = show or Silent()
        if enough is not None:
            show = _Enough(show, enough, interrupts)
        summary = manage(project, setting, local, interrupts, show)
    finally:
        local.agent.close()
        interrupts.close()
    if summary.reason == LEFT and summary.job is not None:
        # Nothing of it runs any more. With the database away the next one will find that out.
        with suppress(Unavailable):
            project.registry.abandon(summary.job, time.time_ns() // 1000)
    return summary


def starter(project: Project, setting: Setting, rank: int, environ: Mapping[str, str]) -> Callable[[], Agent]:
    """Give what starts the agent of a rank."""
    return lambda: Agent.start(
        slots=setting.slots, project=project.root, job=setting.uuid, rank=rank, environ=environ
    )


def new_uuid() -> str:
    """Make a random UUID (version 4)."""
    digits = bytearray(os.urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
