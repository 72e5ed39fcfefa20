"""Rounds: start the ranks of a job, follow it, and start again on what is left when a rank or a host has died.

The exit codes of launchers are never trusted: a round has ended well only if its rank 0 said so on the line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from provrun.core.dispatcher import WALLTIME
from provrun.core.states import Outcome
from provrun.errors import ProvrunError, Unavailable
from provrun.project.jobs.fleets import Across, Fleet, Here
from provrun.project.jobs.follower import Follower
from provrun.project.jobs.ranks import LEAVING, RankPlan, Supervising
from provrun.project.managing import SIGNALLED, STOPPED
from provrun.project.project import Project
from provrun.project.recovering import take_back
from provrun.project.running import LEFT, MaxFails, RunSummary, Setting, Show, Silent, new_uuid
from provrun.run.agent import sweep
from provrun.run.control import Done, Listener
from provrun.run.hosts import Host, first_here, read_hosts
from provrun.run.interrupts import INTERRUPTED, Interrupts
from provrun.run.launcher import find
from provrun.run.processes import LAUNCHED, read_process
from provrun.run.processes import sweep as sweep_processes
from provrun.run.progress import Progress

IDLE_ROUNDS = 2
"""So many rounds in a row without anything recorded are the end."""
_PATIENCE = 20.0  # seconds a launcher may take to end when its ranks have
_GRACE = 2.0  # and when they have died, before it is asked to, and again before it is killed


def run_mpi(
    project: Project,
    names: Sequence[str] = (),
    *,
    ranks: int | None = None,
    hosts: Path | None = None,
    slots: int | None = None,
    max_fails: MaxFails | None = None,
    nice: int = 0,
    until: float | None = None,
    show: Show | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunSummary:
    """Run as `running.run` does, with an agent of ``slots`` on each of so many MPI ranks, or on each host of a list."""
    slots = slots or project.config.number("slots") or None
    fleet: Fleet
    if hosts is not None:
        listed = first_here(read_hosts(hosts))
        fleet = Across([find()], [Host(host.name, host.slots or slots) for host in listed])
    else:
        fleet = Here(find(), ranks or 1, slots)
    own = read_process(os.getpid())
    owner: dict[str, object] = {"supervisor": os.getpid(), "supervisor_started": own.started if own else None}
    setting = Setting(uuid=new_uuid(), names=tuple(names), slots=0, max_fails=max_fails, until=until, owner=owner)
    with Supervisor(project, fleet, nice=nice, show=show, environ=environ) as supervisor:
        return supervisor.run(setting)


class Round(NamedTuple):
    """How a round ended: what rank 0 said last, whether it ever came, the launcher's exit code."""

    done: Done | None
    begun: bool
    code: int
    shown: Progress
    seconds: float

    @property
    def summary(self) -> RunSummary | None:
        """What rank 0 says of all of it."""
        if self.done is None or self.done.summary is None:
            return None
        return msgspec.json.decode(self.done.summary, type=RunSummary)


class Died(NamedTuple):
    """What a round that died had done; ``recorded`` counts the attempts that ended and are on record."""

    summary: RunSummary
    recorded: int


class Supervisor:
    """Runs a job in rounds, each an incarnation of its manager with a job row of its own."""

    def __init__(
        self, project: Project, fleet: Fleet, *, nice: int = 0, show: Show | None = None,
        environ: Mapping[str, str] | None = None, interrupts: Interrupts | None = None,
        told_to_end: Callable[[], None] | None = None,
    ) -> None:
        self._project = project
        self._fleet = fleet
        self._told_to_end = told_to_end
        self._nice = nice
        self._show = show or Silent()
        self._environ = dict(os.environ if environ is None else environ)
        self._own = interrupts is None
        self.interrupts = interrupts or Interrupts()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._own:
            self.interrupts.close()

    def run(self, setting: Setting) -> RunSummary:
        """Run rounds until one ends well, somebody wants an end, or nothing comes of them any more."""
        total = RunSummary()
        idle = 0
        while True:
            round = self._round(setting, total)
            if round.summary is not None and round.summary.reason != INTERRUPTED:
                return added(total, round.summary)
            died = self._bury(setting, round)
            if round.done is not None and round.done.error is not None and not self.interrupts.read():
                raise _raised(round.done.error)
            total = added(total, died.summary)
            if self.interrupts.read():
                number = self.interrupts.number or signal.SIGINT
                reason = LEFT if self.interrupts.level == LEAVING else INTERRUPTED
                return msgspec.structs.replace(total, reason=reason, exit=SIGNALLED + number)
            if not round.begun and self._fleet.other_launcher():
                continue
            if not round.begun and total.job is None:
                raise Unavailable(
                    f"the MPI launcher ended with exit code {round.code} before the run began", value=round.code
                )
            if setting.until is not None and time.time() >= setting.until:
                return msgspec.structs.replace(total, reason=WALLTIME, exit=STOPPED)
            idle = 0 if died.recorded else idle + 1
            if idle == IDLE_ROUNDS:
                reason = f"a rank died, {idle} times in a row before anything was recorded"
                return msgspec.structs.replace(total, reason=reason, exit=STOPPED)
            self._fleet.died()
            lost = died.summary.lost
            self._show.tell(f"a rank died; tasks in flight that are lost and will run again: {lost}; starting again")
            setting = _again(setting, died.summary)

    def _round(self, setting: Setting, before: RunSummary) -> Round:
        folder = self._project.dir / "tmp"
        folder.mkdir(exist_ok=True)
        path = folder / f"{setting.uuid}.plan"
        began = time.monotonic()
        listener = Listener()
        try:
            start = self._fleet.start(setting.uuid, folder, sys.executable, "-P", "-m", "provrun.cli.rank", str(path))
            RankPlan(
                project=str(self._project.root), setting=setting, slots=start.slots, nice=self._nice, mpi=start.mpi,
                environ=self._environ, line=listener.address, supervisor=Supervising.here(),
            ).write(path)
            # A session of its own: Ctrl-C at the terminal reaches this process alone, which knows what is meant.
            launched = subprocess.Popen(
                start.command, env=start.environ, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
            )
            follower = Follower(
                launched, listener, self.interrupts, _After(self._show, before), self._fleet.responds, self._told_to_end
            )
            try:
                done = follower.follow()
            finally:
                _end(launched, _GRACE if follower.broken else _PATIENCE)
        finally:
            listener.close()
            path.unlink(missing_ok=True)
            path.with_suffix(".hosts").unlink(missing_ok=True)
        return Round(done, listener.called, launched.returncode, follower.shown, time.monotonic() - began)

    def _bury(self, setting: Setting, round: Round) -> Died:
        """Take back what a round that died had in flight, after all that is left of it on this host has ended."""
        # The ranks first: a manager that saw its tasks die would put it down to them.
        sweep_processes(setting.uuid, LAUNCHED)
        sweep(setting.uuid)
        if round.summary is not None:
            # Its launcher has told it to end, and it had the time to give everything back.
            return Died(round.summary, round.summary.succeeded + round.summary.failed)
        project = self._project
        try:
            own = next((job for job in project.registry.running_jobs() if job.uuid == setting.uuid), None)
            if own is not None:
                take_back(project, own)
            return _account(project, setting.uuid, round)
        finally:
            project.close()


def _account(project: Project, uuid: str, round: Round) -> Died:
    """Tell what a job that is over has on record."""
    reads = project.reads
    own = next((job for job in reads.jobs() if job.uuid == uuid), None)
    if own is None:
        return Died(RunSummary(seconds=round.seconds), 0)
    attempts = dict.fromkeys(Outcome, 0)
    accepted = noresult = 0
    for map in reads.maps():
        tallies = reads.tallies(map.id)
        contexts = reads.contexts({tally.context for tally in tallies})
        some = any(tally.accepted > tally.noresult for tally in tallies)
        for tally in tallies:
            if contexts[tally.context].job == own.id:
                attempts[tally.outcome] += tally.attempts
                accepted += tally.accepted - tally.reused
                noresult += tally.noresult if some else 0
    lost = attempts.pop(Outcome.LOST)
    attempts.pop(Outcome.CANCELLED)
    summary = RunSummary(
        succeeded=accepted, failed=round.shown.failed, lost=lost, noresult=noresult, seconds=round.seconds, job=own.id
    )
    return Died(summary, sum(attempts.values()))


def added(before: RunSummary, after: RunSummary) -> RunSummary:
    """Add up what two rounds did; how it ended is what the later one says."""
    seconds = before.seconds + after.seconds
    ended = before.succeeded + before.failed + after.succeeded + after.failed
    return msgspec.structs.replace(
        after, succeeded=before.succeeded + after.succeeded, failed=before.failed + after.failed,
        lost=before.lost + after.lost, reused=before.reused + after.reused, noresult=before.noresult + after.noresult,
        seconds=round(seconds, 6), tasks_per_second=round(ended / seconds, 3) if ended and seconds else 0.0,
        job=before.job if after.job is None else after.job,
    )


class _After:
    """Shows what a round does on top of what was done before."""

    def __init__(self, show: Show, before: RunSummary) -> None:
        self._show = show
        self._before = before

    def watch(self, progress: Progress) -> None:
        before = self._before
        self._show.watch(msgspec.structs.replace(
            progress, succeeded=progress.succeeded + before.succeeded, failed=progress.failed + before.failed,
            lost=progress.lost + before.lost, noresult=progress.noresult + before.noresult,
            seconds=progress.seconds + before.seconds,
        ))

    def tell(self, text: str) -> None:
        self._show.tell(text)


def _again(setting: Setting, died: RunSummary) -> Setting:
    """Give the setting of the round after one that died."""
    most = setting.max_fails
    if most is not None and not most.percent:
        most = MaxFails(max(1, most.number - died.failed))
    return msgspec.structs.replace(setting, uuid=new_uuid(), max_fails=most, ended=(*setting.ended, setting.uuid))


def _raised(said: tuple[str, int, str, str | None, str | None]) -> ProvrunError:
    kind, status, message, value, following = said
    error = ProvrunError(message, value=value, next=following)
    error.code, error.exit = kind, status
    return error


def _end(launched: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for the end of a launcher, ask for it, and enforce it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(subprocess.TimeoutExpired):
            launched.wait(patience)
        if launched.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(launched.pid, number)
            patience = _GRACE
    launched.wait()
