"""Recover: take back what jobs that are over have left running."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from provrun.project.leftovers import remove, remove_old
from provrun.project.outboxes import fold_left, fold_one
from provrun.project.project import Project

if TYPE_CHECKING:
    from provrun.core.records import JobRecord


def recover(project: Project) -> list[tuple[JobRecord, int]]:
    """Close the jobs that are over; their running tasks are pending again. Give each with the number of its tasks.

    What such a job has left running on this host is ended first, so that no task runs twice at once.
    """
    registry = project.registry
    fold_left(project)
    registry.settle()
    running, queued = registry.running_jobs(), registry.queued_jobs()
    remove_old(project, {job.uuid for job in (*running, *queued)})
    if not running and not queued:
        return []
    from provrun.project.jobs.over import Judge

    verdicts = Judge(project).verdicts([*running, *queued])
    for job in queued:
        if (verdict := verdicts[job.uuid]).over:
            registry.close_job(job.id, "ended", f"it never began: {verdict.because}", time.time_ns() // 1000)
    return [(job, take_back(project, job)) for job in running if verdicts[job.uuid].over]


def take_back(project: Project, job: JobRecord) -> int:
    """Close a job that is over, after all it has left on this host; give the number of tasks that are pending again."""
    from provrun.run.agent import sweep

    sweep(job.uuid)
    # Before the registry: should this process be killed in between, the next one finds the job again and does the rest.
    remove(project, job)
    fold_one(project, job.uuid)
    return project.registry.abandon(job.id, time.time_ns() // 1000)


def describe(recovered: list[tuple[JobRecord, int]]) -> list[str]:
    """Say in words what was recovered."""
    return [
        f"job {job.id} was over without an end: {n} running {'task is' if n == 1 else 'tasks are'} pending again"
        for job, n in recovered
    ]
