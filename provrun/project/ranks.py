"""Run over MPI: start the launcher and follow it, or take part as one of its ranks."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from provrun.errors import ProvrunError, Unavailable
from provrun.project.managing import STOPPED, manage
from provrun.project.project import Project
from provrun.project.recovering import describe, recover
from provrun.project.running import LEFT, MaxFails, RunSummary, Setting, Show, Silent, new_uuid, starter
from provrun.run.channel import Closed
from provrun.run.control import Done, Line, Listener, Said, Shown
from provrun.run.interrupts import Interrupts, Person
from provrun.run.launcher import bound, find, launched_rank, local_size, without_launcher
from provrun.run.links import Local, Remote
from provrun.run.mpi import World
from provrun.run.relay import relay

_PATIENCE = 20.0  # seconds a launcher may take to end when its ranks have
_LEAVING = 3  # the level at which nothing is waited for


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `run --mpi` tells its ranks through a file: a command line is public, an environment holds secrets."""

    project: str
    setting: Setting
    slots: int | None
    nice: int
    ranks: int
    environ: dict[str, str]
    line: str


def run_mpi(
    project: Project,
    names: Sequence[str] = (),
    *,
    ranks: int,
    slots: int | None = None,
    max_fails: MaxFails | None = None,
    nice: int = 0,
    show: Show | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunSummary:
    """Run as `running.run` does, with an agent of ``slots`` on each of so many MPI ranks."""
    show = show or Silent()
    launcher = find()
    setting = Setting(uuid=new_uuid(), names=tuple(names), slots=0, max_fails=max_fails)
    listener = Listener()
    interrupts = Interrupts()
    plan = Plan(
        project=str(project.root), setting=setting, slots=slots or project.config.number("slots") or None, nice=nice,
        ranks=ranks, environ=dict(os.environ if environ is None else environ), line=listener.address,
    )
    path = _write(project, plan)
    try:
        # A session of its own: Ctrl-C at the terminal reaches this process alone, which knows what is meant.
        launched = subprocess.Popen(
            launcher.command(ranks, sys.executable, "-P", "-m", "provrun.cli.rank", str(path)),
            env=launcher.environ(os.environ), stdin=subprocess.DEVNULL, stdout=2, start_new_session=True,
        )
        try:
            done = _follow(launched, listener, interrupts, show)
        finally:
            _end(launched)
    finally:
        interrupts.close()
        listener.close()
        path.unlink(missing_ok=True)
    return _outcome(project, done, launched.returncode, setting, show)


def _write(project: Project, plan: Plan) -> Path:
    folder = project.dir / "tmp"
    folder.mkdir(exist_ok=True)
    path = folder / f"{plan.setting.uuid}.plan"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(plan))
    return path


def _follow(launched: subprocess.Popen[bytes], listener: Listener, interrupts: Interrupts, show: Show) -> Done | None:
    """Pass wishes down and progress up until rank 0 has said how it ended, or nothing is left of it."""
    level = 0
    while True:
        select.select([listener.fileno(), interrupts.fileno()], [], [], 0.1)
        ended = launched.poll() is not None
        if interrupts.read() != level:
            level = interrupts.level
            with suppress(Closed):
                listener.wish(level, interrupts.number or signal.SIGINT)
            if level == _LEAVING:
                return Done(None)
        try:
            for heard in listener.hear():
                match heard:
                    case Shown():
                        show.watch(heard.progress)
                    case Said():
                        show.tell(heard.text)
                    case Done():
                        return heard
        except Closed:
            return None
        if ended:
            return None


def _end(launched: subprocess.Popen[bytes]) -> None:
    try:
        launched.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(launched.pid, signal.SIGKILL)
        launched.wait()


def _outcome(project: Project, done: Done | None, code: int, setting: Setting, show: Show) -> RunSummary:
    if done is not None and done.summary is not None:
        return msgspec.json.decode(done.summary, type=RunSummary)
    if done is not None and done.error is not None:
        kind, status, message, value, following = done.error
        error = ProvrunError(message, value=value, next=following)
        error.code, error.exit = kind, status
        raise error
    # The job ended without a word: what it had in flight is lost, and the registry should say so at once.
    recovered = recover(project)
    for line in describe(recovered):
        show.tell(line)
    own = next(((job, n) for job, n in recovered if job.uuid == setting.uuid), None)
    if done is not None:
        return RunSummary(job=own[0].id if own else None, reason=LEFT, exit=128 + signal.SIGINT)
    if own is None:
        raise Unavailable(f"the MPI launcher ended with exit code {code} before the run began", value=code)
    job, lost = own
    return RunSummary(lost=lost, job=job.id, reason=f"a rank died; the launcher ended with {code}", exit=STOPPED)


def take_part(path: Path) -> None:
    """Be one of the ranks that `run_mpi` started."""
    plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    setting = msgspec.structs.replace(plan.setting, slots=plan.slots or _slots())
    project = Project(Path(plan.project))
    rank = launched_rank(os.environ)
    if plan.nice:
        os.nice(plan.nice)
    # Before MPI: what it opens must not be inherited.
    local = Local(starter(project, setting, rank, plan.environ)) if rank is not None else None
    world = World(plan.ranks)
    local = local or Local(starter(project, setting, world.rank, plan.environ))
    if world.rank == 0:
        _lead(project, setting, local, world, Line(plan.line))
        path.unlink(missing_ok=True)
    else:
        _follow_manager(setting, local, world)
    world.close()


def run_launched(
    project: Project,
    names: Sequence[str],
    *,
    ranks: int,
    slots: int | None = None,
    max_fails: MaxFails | None = None,
    nice: int = 0,
    show: Show | None = None,
) -> RunSummary | None:
    """Run as one of ``ranks`` that somebody else's launcher has started; only rank 0 gives the summary."""
    if nice:
        os.nice(nice)
    world = World(ranks)
    setting = Setting(
        uuid=world.share(new_uuid().encode() if world.rank == 0 else None).decode(), names=tuple(names),
        slots=slots or project.config.number("slots") or _slots(), max_fails=max_fails,
    )
    local = Local(starter(project, setting, world.rank, without_launcher(os.environ)))
    if world.rank != 0:
        _follow_manager(setting, local, world)
        world.close()
        return None
    try:
        return _manage(project, setting, local, world, Interrupts(launched=True), show or Silent())
    finally:
        project.close()
        world.close()


def _lead(project: Project, setting: Setting, local: Local, world: World, line: Line) -> None:
    """Be rank 0 and report on the line."""
    try:
        done = Done(msgspec.json.encode(_manage(project, setting, local, world, line, line)).decode())
    except ProvrunError as error:
        value = None if error.value is None else str(error.value)
        done = Done(None, (error.code, error.exit, error.message, value, error.next))
    finally:
        project.close()
    line.done(done)
    line.close()


def _manage(
    project: Project, setting: Setting, local: Local, world: World, person: Person, show: Show
) -> RunSummary:
    remote = Remote(world)
    try:
        if (wrong := bound(setting.slots)) is not None:
            raise Unavailable(f"rank 0 is {wrong}", value=setting.slots)
        summary = manage(project, setting, local, person, show, remote, world.library)
    finally:
        # Whatever happened, the other ranks must not wait for ever.
        remote.end()
        local.agent.close()
    if person.level == _LEAVING:
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


