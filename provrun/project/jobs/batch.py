"""A batch job: what the script of an allocation does from its beginning to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import msgspec

from provrun.core.states import State
from provrun.errors import ProvrunError
from provrun.launch.inside import is_cancelled, job_id, nodes
from provrun.project.jobs.chain import IDLE_HOPS, Chain, once
from provrun.project.jobs.fleets import Across, Alone, Fleet
from provrun.project.jobs.marks import ended_path, folder, mark_ended
from provrun.project.jobs.plans import BatchPlan, read_plan
from provrun.project.jobs.rounds import Supervisor
from provrun.project.managing import STOPPED
from provrun.project.project import Project
from provrun.project.recovering import describe, recover, take_back
from provrun.project.running import RunSummary, Setting, Show, new_uuid
from provrun.run.hosts import Host
from provrun.run.interrupts import WARNINGS, Interrupts, note
from provrun.run.launcher import find_all

_SWEPT = 100  # jobs that died before, of which something may be left on a host
_IDLE = f"nothing was recorded in {IDLE_HOPS} allocations in a row"
_CANCELLED = "its chain was cancelled"
_ADVICE = "provrun launch --resubmit chain submits all jobs at once"


def run_batch(path: Path, show: Show) -> RunSummary:
    """Do what the plan at ``path`` says, as the one process that the scheduler has started.

    Raises `NotFound` when the plan was withdrawn.
    """
    plan = read_plan(path)
    # What tasks find is what was there before any launcher; a step of theirs may share the cores of ours.
    environ = dict(os.environ)
    if plan.request.scheduler == "slurm":
        environ["SLURM_OVERLAP"] = "1"
    project = Project(Path(plan.project))
    batch = _Batch(project, plan, environ, show)
    try:
        return batch.run()
    except Exception as error:
        batch.failed(error)
        raise
    finally:
        batch.close()
        project.close()


class _Batch:
    """One allocation."""

    def __init__(self, project: Project, plan: BatchPlan, environ: dict[str, str], show: Show) -> None:
        self._interrupts = Interrupts(launched=True)
        for number in WARNINGS:
            signal.signal(number, note)
        self._project = project
        self._plan = plan
        self._environ = environ
        self._show = show
        self._id = job_id(plan.request.scheduler, os.environ)
        self._chain = Chain(project, plan, self._id)
        self._ends: float | None = None
        self._until: float | None = None
        self._judging: threading.Thread | None = None
        ended_path(project, plan.uuid).unlink(missing_ok=True)  # requeued, it begins once more

    def close(self) -> None:
        """Say that nothing of this allocation runs any more."""
        self._interrupts.close()
        mark_ended(self._project, self._plan.uuid)

    def run(self) -> RunSummary:
        """Run what is left, see to it that somebody goes on, and end."""
        began = time.time()
        self._ends = self._chain.ask()
        # Schedulers round up, and some do not say: what was asked for holds, too.
        asked = None if self._plan.request.time is None else began + self._plan.request.time
        until = self._until = min((end for end in (self._ends, asked) if end is not None), default=None)
        if self._chain.cancelled:
            return self._nothing(_CANCELLED)
        self._recover()
        if not self._pending():
            self._end_chain("nothing is left")
            self._on_finish()
            return self._nothing("", 0)
        if self._chain.idle(IDLE_HOPS):
            self._end_chain(_IDLE)
            return self._nothing(f"{_IDLE}, and the next one would do no better")
        alone = self._follow(until)
        setting = self._setting(until)
        self._project.close()  # the manager has it now
        with Supervisor(
            self._project, self._fleet(), nice=self._plan.nice, show=self._show, environ=self._environ,
            interrupts=self._interrupts, told_to_end=self._told_to_end,
        ) as supervisor:
            summary = supervisor.run(setting)
        return self._finish(summary, alone)

    def failed(self, error: Exception) -> None:
        """Write down that this allocation could not do its work, and end a chain that gets nowhere."""
        with suppress(ProvrunError):
            self._close_queued(str(error))
            if self._chain.idle(IDLE_HOPS):
                self._end_chain(_IDLE)

    # Before

    def _recover(self) -> None:
        """Take back what ended jobs have left, an earlier run of this same allocation among them."""
        for job in self._project.registry.running_jobs():
            if job.owner.get("allocation") == self._plan.uuid:
                self._tell(describe([(job, take_back(self._project, job))]))
        self._tell(describe(recover(self._project)))

    def _follow(self, until: float | None) -> str:
        """Hand in the successor; give what the scheduler says if it does not take it."""
        if self._plan.resubmit != "auto" or until is None or self._id is None:
            return ""
        try:
            id = self._chain.follow()
        except ProvrunError as error:
            return error.message
        if id is not None:
            self._show.tell(f"job {id} goes on when this one has ended")
        return ""

    def _setting(self, until: float | None) -> Setting:
        plan = self._plan
        queued = {job.uuid for job in self._project.registry.queued_jobs()}
        lost = [job.uuid for job in self._project.reads.jobs("lost")]
        owner: dict[str, object] = {
            "scheduler": plan.request.scheduler, "name": plan.request.name, "submitted": plan.submitted,
            "allocation": plan.uuid, "chain": plan.chain, "id": self._id,
        }
        return Setting(
            # The first manager takes over the row that waits for it; a requeued job's is taken.
            uuid=plan.uuid if plan.uuid in queued else new_uuid(), names=plan.names, slots=0,
            max_fails=plan.max_fails, until=until, ended=tuple(lost[-_SWEPT:]), owner=owner,
        )

    def _fleet(self) -> Fleet:
        request = self._plan.request
        hosts = nodes(request.scheduler, os.environ)
        if len(hosts) == 1:
            return Alone(request.slots)
        return Across(find_all(os.environ), [Host(name, request.slots) for name in hosts])

    # Meanwhile

    def _told_to_end(self) -> None:
        """Find out whether somebody cancels this job; in a thread, since the tasks are to be given back meanwhile."""
        if self._interrupts.number != signal.SIGTERM or self._id is None:
            return
        self._judging = threading.Thread(target=self._judge, args=(self._id,), name="provrun-judge", daemon=True)
        self._judging.start()

    def _judge(self, id: str) -> None:
        ends = self._ends if self._plan.request.scheduler == "slurm" else self._until
        if is_cancelled(self._chain.scheduler, id, ends):
            self._chain.cancel()

    # After

    def _finish(self, summary: RunSummary, alone: str) -> RunSummary:
        if summary.job is None:
            self._close_queued(summary.reason or "nothing was left")
        if self._interrupts.level:
            if self._judging is not None:
                self._judging.join()
            if self._chain.cancelled:
                self._end_chain(_CANCELLED)
            return summary
        pending = self._pending()
        if not pending or self._too_many(summary):
            self._end_chain("nothing is left" if not pending else summary.reason)
            self._on_finish()
        elif self._chain.idle(IDLE_HOPS):
            self._end_chain(_IDLE)
            summary = _with(summary, f"{_IDLE}, so none follows")
        elif alone:
            summary = _with(summary, f"none follows: {alone}; {_ADVICE}")
        return summary

    def _pending(self) -> int:
        """Count the tasks that could run."""
        maps = self._project.registry.select_maps(self._plan.names, submitted=True)
        return sum(map.counts[State.PENDING] for map in maps if not map.paused)

    def _too_many(self, summary: RunSummary) -> bool:
        if self._plan.max_fails is None:
            return False
        maps = self._project.registry.select_maps(self._plan.names, submitted=True)
        return summary.failed >= self._plan.max_fails.of(sum(map.total for map in maps))

    def _end_chain(self, reason: str) -> None:
        try:
            number = self._chain.end(reason)
        except ProvrunError as error:
            self._show.tell(f"what would follow ends by itself when it begins: {error.message}")
        else:
            if number:
                self._show.tell(f"{reason}: {number} {'job' if number == 1 else 'jobs'} that would follow cancelled")

    def _on_finish(self) -> None:
        """Run the command for the end when nothing runs nor could, once, whichever of several jobs is the last.

        What waits then waits for what has failed, or was cancelled or paused.
        """
        command = self._plan.on_finish
        maps = self._project.registry.select_maps(self._plan.names, submitted=True)
        if command is None or self._pending() or any(map.counts[State.RUNNING] for map in maps):
            return
        attempts = sum(tally.attempts for map in maps for tally in self._project.reads.tallies(map.id))
        what = msgspec.json.encode((command, self._plan.names, attempts))
        if once(folder(self._project) / f"{sha256(what).hexdigest()[:32]}.finished"):
            self._project.close()
            code = subprocess.run(
                ["sh", "-c", command], cwd=self._project.root, env=self._environ, check=False, stdin=subprocess.DEVNULL
            ).returncode
            self._show.tell(f"{command}: exit code {code}")

    def _nothing(self, reason: str, code: int = STOPPED) -> RunSummary:
        self._close_queued(reason or "nothing was left")
        return RunSummary(reason=reason, exit=code)

    def _close_queued(self, reason: str) -> None:
        registry = self._project.registry
        for job in registry.queued_jobs():
            if job.uuid == self._plan.uuid:
                registry.close_job(job.id, "ended", reason, time.time_ns() // 1000)

    def _tell(self, lines: list[str]) -> None:
        for line in lines:
            self._show.tell(line)


def _with(summary: RunSummary, reason: str) -> RunSummary:
    return msgspec.structs.replace(summary, reason="; ".join(filter(None, (summary.reason, reason))), exit=STOPPED)
