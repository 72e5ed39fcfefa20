"""Ranks: take part in a job over MPI, started by `rounds` or by somebody else's launcher."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from provrun.errors import ProvrunError, Unavailable
from provrun.project.managing import manage
from provrun.project.project import Project
from provrun.project.running import MaxFails, RunSummary, Setting, Show, Silent, new_uuid, starter
from provrun.run.agent import sweep
from provrun.run.control import Done, Line
from provrun.run.interrupts import WARNINGS, Interrupts, Person, note
from provrun.run.job import boot_id
from provrun.run.launcher import bound, launched_rank, local_size, without_launcher
from provrun.run.links import Local, Remote
from provrun.run.mpi import World
from provrun.run.orphans import MANAGER, leave_unless_begun, leave_with_launcher
from provrun.run.processes import is_there, jobs_here, read_process
from provrun.run.relay import relay

LEAVING = 3
"""The level at which nothing is waited for."""

_OF_A_HOST = ("SLURMD_NODENAME", "SLURM_NODEID", "SLURM_TOPOLOGY_ADDR")
_MOMENT = 0.3  # seconds by which signals to processes of one job may be apart


class Supervising(msgspec.Struct, frozen=True):
    """The process that looks after a round: its host by this boot of it, its number and start."""

    boot: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> Supervising:
        """Name this process."""
        own = read_process(os.getpid())
        return cls(boot_id(), os.getpid(), own.started if own is not None else 0)

    @property
    def is_gone(self) -> bool:
        """Tell whether it is known to be dead, which only its own host can know."""
        return self.boot == boot_id() and not is_there(self.pid, self.started)


class RankPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ranks are told through a file: a command line is public, an environment holds secrets.

    ``slots`` has a number for each rank, None for as many as it has cores; ``mpi`` is false for one process that is a
    job of its own.
    """

    project: str
    setting: Setting
    slots: tuple[int | None, ...]
    nice: int
    mpi: bool
    environ: dict[str, str]
    line: str
    supervisor: Supervising | None = None

    def write(self, path: Path) -> None:
        """Write the file, which only this user can read."""
        path.parent.mkdir(exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))


def take_part(path: Path) -> None:
    """Be one of the ranks of a plan."""
    plan = msgspec.json.decode(path.read_bytes(), type=RankPlan)
    # Who started the ranks decides what a signal means, and says so on rank 0's line; launchers pass on what they like.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in WARNINGS:
        signal.signal(number, note)
    project = Project(Path(plan.project))
    if plan.nice:
        os.nice(plan.nice)
    # What a job that died has left here would run beside its own repetition.
    for uuid in jobs_here(plan.setting.ended) if plan.setting.ended else ():
        sweep(uuid)
    if not plan.mpi:
        path.unlink(missing_ok=True)
        setting = _setting(plan, 0)
        _lead(project, setting, Local(starter(project, setting, 0, _environ(plan))), None, Line(plan.line))
        return
    rank = launched_rank(os.environ)
    # Before MPI: what it opens must not be inherited.
    local = Local(starter(project, _setting(plan, rank), rank, _environ(plan))) if rank is not None else None
    begun = threading.Event()
    if plan.supervisor is not None and plan.supervisor.boot == boot_id():
        leave_unless_begun(plan.supervisor.pid, plan.supervisor.started, begun)
    world = World(len(plan.slots))
    begun.set()
    setting = _setting(plan, world.rank)
    local = local or Local(starter(project, setting, world.rank, _environ(plan)))
    with world.together():
        if world.rank == 0:
            path.unlink(missing_ok=True)  # all have read it; who wrote it may be gone
            _lead(project, setting, local, world, Line(plan.line))
        else:
            _follow_manager(setting, local, world)


def _environ(plan: RankPlan) -> dict[str, str]:
    """Give what tasks find as environment: that of before the launcher, but for what names this host."""
    own = {name: os.environ[name] for name in _OF_A_HOST if name in os.environ and name in plan.environ}
    return {**plan.environ, **own}


def _setting(plan: RankPlan, rank: int) -> Setting:
    return msgspec.structs.replace(plan.setting, slots=plan.slots[rank] or _slots())


def run_launched(
    project: Project,
    names: Sequence[str],
    *,
    ranks: int,
    slots: int | None = None,
    max_fails: MaxFails | None = None,
    nice: int = 0,
    until: float | None = None,
    show: Show | None = None,
) -> RunSummary | None:
    """Run as one of ``ranks`` that somebody else's launcher has started; only rank 0 gives the summary."""
    if nice:
        os.nice(nice)
    world = World(ranks)
    setting = Setting(
        uuid=world.share(new_uuid().encode() if world.rank == 0 else None).decode(), names=tuple(names),
        slots=slots or project.config.number("slots") or _slots(), max_fails=max_fails, until=until,
    )
    local = Local(starter(project, setting, world.rank, without_launcher(os.environ)))
    if world.rank != 0:
        with world.together():
            _follow_manager(setting, local, world)
        return None
    try:
        return _manage(project, setting, local, world, Interrupts(launched=True), show or Silent())
    finally:
        project.close()
        world.close()


def _lead(project: Project, setting: Setting, local: Local, world: World | None, line: Line) -> None:
    """Be rank 0 and report on the line."""
    try:
        done = Done(msgspec.json.encode(_manage(project, setting, local, world, line, line)).decode())
    except ProvrunError as error:
        # Whoever ends the ranks ends what they have started, too, and that may fail in any way: it is no error of ours.
        time.sleep(_MOMENT)
        if line.terminated:
            line.close()
            return
        value = None if error.value is None else str(error.value)
        done = Done(None, (error.code, error.exit, error.message, value, error.next))
    finally:
        project.close()
    line.done(done)
    line.close()


def _manage(
    project: Project, setting: Setting, local: Local, world: World | None, person: Person, show: Show
) -> RunSummary:
    remote = Remote(world) if world is not None else None
    if remote is not None:
        leave_with_launcher(MANAGER)
    try:
        if (wrong := bound(setting.slots)) is not None:
            raise Unavailable(f"rank 0 is {wrong}", value=setting.slots)
        summary = manage(project, setting, local, person, show, remote, world.library if world else None)
    finally:
        # Whatever happened, the other ranks must not wait for ever.
        if remote is not None:
            remote.end()
        local.agent.close()
    if person.level == LEAVING and world is not None:
        world.abort()
    return summary


def _follow_manager(setting: Setting, local: Local, world: World) -> None:
    """Be another rank than 0."""
    try:
        relay(world, local, _host(world), bound(setting.slots))
    finally:
        local.agent.close()


def _slots() -> int:
    """Give this rank's share of the cores it may use."""
    return max(1, len(os.sched_getaffinity(0)) // local_size(os.environ))


def _host(world: World) -> str:
    from provrun.record.host import capture_host

    return msgspec.json.encode(capture_host(world.library)).decode()
