"""What the files of jobs that ended badly leave in a project: locks, plans with a person's environment, rows."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from provrun.run.job import JOBS, held

if TYPE_CHECKING:
    from provrun.core.records import JobRecord
    from provrun.project.project import Project

_OLD = 3600.0  # seconds after which a file of a job that nobody knows is of one that never came to be known


def remove(project: Project, job: JobRecord) -> None:
    """Remove the files of a job that is over."""
    from shutil import rmtree

    from provrun.project.flowing import rows_folder
    from provrun.run.job import forget

    forget(job, project.dir)
    for path in (project.dir / "tmp").glob(f"{job.uuid}.*"):
        _unlink(path)
    rmtree(rows_folder(project, job.uuid), ignore_errors=True)


def remove_old(project: Project, living: Collection[str]) -> None:
    """Remove the files of jobs that were killed when all was done but this, or before they were entered.

    ``living`` are the uuids of those that run.
    """
    jobs, tmp = project.dir / JOBS, project.dir / "tmp"
    found = [path for pattern in ("*.plan", "*.hosts", "*-rows") for path in tmp.glob(pattern)]
    found += [path for path in jobs.glob("*.lock") if not held(path)]
    left = {path: path.stem.removesuffix("-rows") for path in found}
    left = {path: uuid for path, uuid in left.items() if uuid not in living}
    if not left:
        return
    from shutil import rmtree

    ended = {job.uuid for job in project.reads.jobs() if job.ended is not None}
    for path, uuid in left.items():
        if path.suffix == ".plan" and uuid not in ended:
            _sweep(path, uuid)
        with suppress(FileNotFoundError):
            if uuid in ended or path.stat().st_mtime < time.time() - _OLD:
                rmtree(path, ignore_errors=True) if path.is_dir() else _unlink(path)


def _sweep(plan: Path, uuid: str) -> None:
    """End what is left on this host of ranks that began for somebody who was killed before they had."""
    import msgspec

    from provrun.project.jobs.ranks import RankPlan
    from provrun.run.agent import sweep
    from provrun.run.processes import LAUNCHED
    from provrun.run.processes import sweep as sweep_processes

    with suppress(OSError, msgspec.MsgspecError):
        supervisor = msgspec.json.decode(plan.read_bytes(), type=RankPlan).supervisor
        if supervisor is not None and supervisor.is_gone:
            sweep_processes(uuid, LAUNCHED)
            sweep(uuid)


def _unlink(path: Path) -> None:
    with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
        path.unlink()
