"""Run: here and now, until nothing is left that could run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from provrun.core.dispatcher import Dispatcher
from provrun.core.records import JobRecord
from provrun.core.states import State
from provrun.project.project import Project
from provrun.project.recorder import MapRecorder
from provrun.project.recovering import describe, recover
from provrun.run.agent import Agent
from provrun.run.interrupts import Interrupts
from provrun.run.job import Ownership
from provrun.run.keeper import Close, Keeper
from provrun.run.links import Local
from provrun.run.manager import Left, Manager
from provrun.run.progress import Progress

if TYPE_CHECKING:
    from provrun.core.records import MapRecord

FAILED = 3
STOPPED = 75
SIGNALLED = 128  # and the number of the signal


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
        return msgspec.structs.asdict(self) | {"seconds": round(self.seconds, 6)}


class Show:
    """Whom a run tells how far it is and what the user should know; this one says nothing."""

    def watch(self, progress: Progress) -> None:
        """Take note of the progress; called a few times a second."""

    def tell(self, text: str) -> None:
        """Tell the user something."""


def run(
    project: Project,
    names: Sequence[str] = (),
    *,
    slots: int | None = None,
    max_fails: MaxFails | None = None,
    nice: int = 0,
    show: Show | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunSummary:
    """Run the tasks of these maps and of all they build on (of all maps if none is named) in one process tree.

    ``slots`` tasks of one core run at once (default: as configured, else one per usable core). Raises `NotFound` for
    an unknown map, `Unavailable` or `StorageFailed` when the registry cannot be written.
    """
    show = show or Show()
    slots = slots or project.config.number("slots") or len(os.sched_getaffinity(0))
    uuid = new_uuid()
    if nice:
        os.nice(nice)

    def start() -> Agent:
        return Agent.start(
            slots=slots, project=project.root, job=uuid, rank=0, environ=os.environ if environ is None else environ
        )

    with Ownership(project.dir, uuid) as owner:
        # The spawner comes first: what it starts must hold nothing of the registry, and it starts meanwhile.
        local = Local(start(), start)
        try:
            record = JobRecord(
                uuid=uuid, kind="local", state="running", user=user_name(), node=os.uname().nodename, slots=slots,
                ranks=1, started=time.time_ns() // 1000, owner=owner.record,
            )
            return _Run(project, names, record, local, show, max_fails).run()
        finally:
            local.agent.close()


class _Run:
    """One run, from the first look at the registry to the summary."""

    def __init__(
        self,
        project: Project,
        names: Sequence[str],
        record: JobRecord,
        local: Local,
        show: Show,
        max_fails: MaxFails | None,
    ) -> None:
        self._project = project
        self._record = record
        self._local = local
        self._show = show
        for line in describe(recover(project)):
            show.tell(line)
        self._everything = project.registry.select_maps(())
        self._maps = project.registry.select_maps(names) if names else self._everything
        total = sum(map.total for map in self._maps)
        self._max_fails = max_fails.of(total) if max_fails else None
        self._progress = Progress(slots=record.slots * record.ranks, left=_left(self._maps))

    def run(self) -> RunSummary:
        if not any(map.counts[State.PENDING] for map in self._maps):
            return self._summary(None, "")
        registry = self._project.registry
        job = registry.open_job(self._record)
        keeper = Keeper(
            registry, job, self._maps, MapRecorder(self._project, self._maps, self._everything)
        )
        policies = {map.id: map.policy for map in self._maps}
        interrupts = Interrupts()
        try:
            manager = Manager(
                Dispatcher(policies, max_fails=self._max_fails), keeper, self._local, slots=self._record.slots,
                interrupts=interrupts, progress=self._progress, watch=self._show.watch, tell=self._show.tell,
            )
            keeper.start()
            reason = manager.run()
            keeper.order(Close("ended", reason))
            keeper.join()
        except Left:
            return self._summary(job, "left", interrupts.number)
        finally:
            interrupts.close()
        return self._summary(job, reason, interrupts.number)

    def _summary(self, job: int | None, reason: str, signal: int | None = None) -> RunSummary:
        progress = self._progress
        ended = progress.succeeded + progress.failed
        return RunSummary(
            succeeded=progress.succeeded, failed=progress.failed, lost=progress.lost, noresult=progress.noresult,
            seconds=progress.seconds, tasks_per_second=round(ended / progress.seconds, 3) if ended else 0.0, job=job,
            reason=reason, exit=self._exit(reason, signal),
        )

    def _exit(self, reason: str, signal: int | None) -> int:
        if signal is not None:
            return SIGNALLED + signal
        if reason:
            return STOPPED
        counts = self._project.registry.counts([map.id for map in self._maps])
        if any(count[State.FAILED] for count in counts.values()):
            return FAILED
        left = (count[state] for count in counts.values() for state in (State.WAITING, State.PENDING, State.RUNNING))
        return STOPPED if any(left) else 0


def _left(maps: Sequence[MapRecord]) -> int:
    return sum(map.counts[State.WAITING] + map.counts[State.PENDING] for map in maps)


def new_uuid() -> str:
    """Make a random UUID (version 4)."""
    digits = bytearray(os.urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def user_name() -> str:
    """Give the name of who runs this process."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        return str(os.getuid())


__all__ = ["MaxFails", "RunSummary", "Show", "run"]
