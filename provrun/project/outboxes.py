"""Outboxes: kept while the database of a job is away, folded in by whoever comes next if it did not come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provrun.project.project import LOG, Project

if TYPE_CHECKING:
    from provrun.core.records import JobRecord
    from provrun.store.away import Patient


def waiting(project: Project, job: str) -> Patient | None:
    """Give the registry as a manager uses it whose database may go away; None where it lies in a file."""
    if project.registry.database.dialect == "sqlite":
        return None
    from provrun.store.away import Patient

    return Patient(project.registry, project.dir / LOG, job)


def fold_left(project: Project) -> None:
    """Record what jobs that are over have left in their outboxes; before any of them is taken back."""
    folder = project.dir / LOG
    if not folder.is_dir():
        return
    from provrun.store import outbox

    uuids = list(outbox.left(folder))
    if not uuids:
        return
    from provrun.store.reads import Reads

    registry = project.registry
    jobs = {job.uuid: job for job in Reads(registry.database).jobs()}
    for uuid in uuids:
        if uuid in jobs and _is_over(project, jobs[uuid]):
            fold_one(project, uuid)


def fold_one(project: Project, job: str) -> None:
    """Record what a job that is over has left in its outbox, if it has left one."""
    from provrun.store import outbox

    folder = project.dir / LOG
    if outbox.folder_of(folder, job).exists():
        outbox.fold(project.registry, folder, job)
        outbox.remove(folder, job)


def _is_over(project: Project, job: JobRecord) -> bool:
    if job.state not in ("queued", "running"):
        return True
    from provrun.project.jobs.over import Judge

    return Judge(project).over(job)
