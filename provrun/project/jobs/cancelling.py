"""Cancel jobs: those that wait in a queue, those that run, and whatever would follow them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from provrun.core.records import JobRecord
from provrun.errors import Unavailable
from provrun.project.jobs.launching import scheduler_of
from provrun.project.jobs.marks import mark_cancelled, plan_path
from provrun.project.jobs.over import Judge, Seen
from provrun.project.project import Project
from provrun.run.job import is_over
from provrun.run.processes import read_process


class Cancelled(NamedTuple):
    """What became of one job, in words; ``changed`` if it was to run and is not to any more."""

    job: JobRecord
    changed: bool
    words: str


def unfinished(project: Project) -> list[JobRecord]:
    """Give the jobs that have not been closed, first to last."""
    registry = project.registry
    return sorted([*registry.running_jobs(), *registry.queued_jobs()], key=lambda job: job.id)


def chosen(project: Project, ids: Sequence[str]) -> list[JobRecord]:
    """Give jobs by number or uuid, as ``7`` or ``job:7``; raise `NotFound` for one there is not."""
    from provrun.query.resolving import find_job

    jobs = project.reads.jobs()
    return [find_job(jobs, id.removeprefix("job:")) for id in ids]


def cancel(project: Project, jobs: Sequence[JobRecord]) -> list[Cancelled]:
    """Cancel jobs with all that follow them in their chains; running ones return their tasks and end by themselves.

    The chains are marked first, so that no successor is submitted meanwhile. Raises `Unavailable` when a scheduler
    does not answer, or for a job of another host.
    """
    live = {job.uuid: job for job in jobs if job.state in ("queued", "running")}
    done = [Cancelled(job, False, "it has ended already") for job in jobs if job.uuid not in live]
    chains = {str(job.owner["chain"]) for job in live.values() if "chain" in job.owner}
    for chain in chains:
        mark_cancelled(project, chain)
    live |= {job.uuid: job for job in unfinished(project) if job.owner.get("chain") in chains}
    # A run inside somebody's own allocation is not all of it, so it is asked itself where that can be done.
    runs = {uuid for uuid, job in live.items() if "chain" not in job.owner and is_over(job, project.dir) is False}
    # Only what is there under its own name: an id that a job had may be another one's by now.
    told = Judge(project, fresh=0.0).told([job for uuid, job in live.items() if uuid not in runs])
    asked: dict[str, set[str]] = {}
    for job in live.values():
        if job.uuid in told and _is_there(job, told[job.uuid]):
            asked.setdefault(str(job.owner["scheduler"]), set()).add(str(job.owner["id"]))
    for name, ids in asked.items():
        scheduler_of(project, name).cancel(sorted(ids))
    for job in sorted(live.values(), key=lambda job: job.id):
        if job.state == "queued":
            plan_path(project, job.uuid).unlink(missing_ok=True)
            project.registry.close_job(job.id, "ended", "cancelled before it began", time.time_ns() // 1000)
            done.append(Cancelled(job, True, "cancelled before it began"))
        elif "scheduler" in job.owner and job.uuid not in runs:
            done.append(Cancelled(job, True, "asked to end"))
        else:
            done.append(_end(project, job))
    return done


def _is_there(job: JobRecord, seen: Seen) -> bool:
    """Tell whether the scheduler has a job; raise `Unavailable` when it does not say."""
    if seen.failed is not None:
        raise Unavailable(
            f"job {job.id} is not cancelled at {job.owner['scheduler']}: {seen.failed}", value=job.id,
            next=f"no job will follow it; provrun job cancel {job.id} tries again",
        )
    return seen.stage is not None and not seen.stage.final


def _end(project: Project, job: JobRecord) -> Cancelled:
    """Ask the manager of a run on this host to end."""
    over = is_over(job, project.dir)
    if over is None:
        raise Unavailable(
            f"job {job.id} runs on {job.node} and has no scheduler", value=job.id,
            next=f"on {job.node}: provrun job cancel {job.id}",
        )
    if over:
        return Cancelled(job, False, "it is over already")
    pid = int(str(job.owner["pid"]))
    # A launcher that loses a rank is started again: who starts it is to know.
    supervisor = job.owner.get("supervisor")
    if isinstance(supervisor, int):
        process = read_process(supervisor)
        if process is not None and process.started == job.owner.get("supervisor_started"):
            pid = supervisor
    if "chain" not in job.owner:
        mark_cancelled(project, job.uuid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return Cancelled(job, True, "asked to end")
