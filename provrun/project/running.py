"""Run: here and now, until nothing is left that could run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from provrun.core.dispatcher import Dispatcher
from provrun.core.records import JobRecord
from provrun.core.states import State
from provrun.project.flowing import RowFiles
from provrun.project.project import Project
from provrun.project.recorder import MapRecorder
from provrun.project.recovering import describe, recover
from provrun.run.agent import Agent
from provrun.run.interrupts import Interrupts, Person
from provrun.run.job import Ownership
from provrun.run.keeper import Close, Keeper
from provrun.run.links import Local, Remote
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


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How to run: maps by name, slots per rank, when to stop."""

    uuid: str
    names: tuple[str, ...]
    slots: int
    max_fails: MaxFails | None = None


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
    if nice:
        os.nice(nice)
    slots = slots or project.config.number("slots") or len(os.sched_getaffinity(0))
    setting = Setting(uuid=new_uuid(), names=tuple(names), slots=slots, max_fails=max_fails)
    # The spawner comes first: what it starts must hold nothing of the registry, and it starts meanwhile.
    local = Local(starter(project, setting, 0, os.environ if environ is None else environ))
    interrupts = Interrupts()
    try:
        return manage(project, setting, local, interrupts, show or Silent())
    finally:
        local.agent.close()
        interrupts.close()


def starter(project: Project, setting: Setting, rank: int, environ: Mapping[str, str]) -> Callable[[], Agent]:
    """Give what starts the agent of a rank."""
    return lambda: Agent.start(
        slots=setting.slots, project=project.root, job=setting.uuid, rank=rank, environ=environ
    )


def manage(
    project: Project,
    setting: Setting,
    local: Local,
    person: Person,
    show: Show,
    remote: Remote | None = None,
    library: str | None = None,
) -> RunSummary:
    """Be the manager of a job whose agents are there; ``library`` is the MPI library that joins them."""
    with Ownership(project.dir, setting.uuid) as owner:
        for line in describe(recover(project)):
            show.tell(line)
        registry = project.registry
        everything = registry.select_maps(())
        maps = registry.select_maps(setting.names) if setting.names else everything
        progress = Progress(left=_left(maps))
        if not any(map.counts[State.PENDING] for map in maps):
            return RunSummary(exit=_exit(project, maps))
        ranks = remote.ranks if remote else 1
        job = registry.open_job(
            JobRecord(
                uuid=setting.uuid, kind="mpi" if remote else "local", state="running", user=user_name(),
                node=os.uname().nodename, slots=setting.slots, ranks=ranks, started=time.time_ns() // 1000,
                owner=owner.record,
            )
        )
        rows = RowFiles(project, setting.uuid)
        keeper = Keeper(registry, job, maps, MapRecorder(project, maps, everything, library), rows)
        most = setting.max_fails.of(sum(map.total for map in maps)) if setting.max_fails else None
        dispatcher = Dispatcher({map.id: map.policy for map in maps}, max_fails=most)
        manager = Manager(
            dispatcher, keeper, local, slots=setting.slots, remote=remote, person=person, progress=progress,
            watch=show.watch, tell=show.tell,
        )
        keeper.start()
        try:
            reason = manager.run()
            keeper.order(Close("ended", reason))
            keeper.join()
        except Left:
            reason = "left"
        finally:
            rows.remove()
        number = person.number
        code = SIGNALLED + number if number else STOPPED if reason else _exit(project, maps)
        return _summary(progress, job, reason, code)


def _summary(progress: Progress, job: int, reason: str, code: int) -> RunSummary:
    ended = progress.succeeded + progress.failed
    return RunSummary(
        succeeded=progress.succeeded, failed=progress.failed, lost=progress.lost, noresult=progress.noresult,
        seconds=round(progress.seconds, 6), tasks_per_second=round(ended / progress.seconds, 3) if ended else 0.0,
        job=job, reason=reason, exit=code,
    )


def _exit(project: Project, maps: Sequence[MapRecord]) -> int:
    """Give the exit code that the states of all tasks call for when nothing is left that could run."""
    counts = project.registry.counts([map.id for map in maps])
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
