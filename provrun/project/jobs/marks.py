"""Files beside the registry that say how allocations stand, on the file system that all hosts share.

A mark is there or not, whoever can reach the registry: so a cancelled chain ends wherever its next job runs.
"""

from __future__ import annotations

from pathlib import Path

from provrun.project.project import Project

FOLDER = "launch"


def folder(project: Project) -> Path:
    """Give the folder of plans, scripts, captured output and marks of batch jobs, made if need be."""
    path = project.dir / FOLDER
    path.mkdir(exist_ok=True)  # others of a group may launch as well; plans are their owners' alone
    return path


def plan_path(project: Project, uuid: str) -> Path:
    """Give where the plan of an allocation lies."""
    return project.dir / FOLDER / f"{uuid}.plan"


def script_path(project: Project, uuid: str) -> Path:
    """Give where the batch script of an allocation lies."""
    return project.dir / FOLDER / f"{uuid}.sh"


def output_path(project: Project, uuid: str) -> Path:
    """Give where the output of an allocation's script goes."""
    return project.dir / FOLDER / f"{uuid}.out"


def cancelled_path(project: Project, chain: str) -> Path:
    """Give the mark that a chain was cancelled: where it is, no successor is submitted and none begins."""
    return project.dir / FOLDER / f"{chain}.cancelled"


def ended_path(project: Project, uuid: str) -> Path:
    """Give the mark that the script of an allocation has ended, and with it every job row of the allocation."""
    return project.dir / FOLDER / f"{uuid}.ended"


def mark_ended(project: Project, uuid: str) -> None:
    """Say that nothing of an allocation runs any more."""
    folder(project)
    ended_path(project, uuid).touch()


def mark_cancelled(project: Project, chain: str) -> None:
    """Let a chain end: no successor is submitted any more, and one that is there exits at once."""
    folder(project)
    cancelled_path(project, chain).touch()


def is_cancelled(project: Project, chain: str) -> bool:
    """Tell whether a chain was cancelled."""
    return cancelled_path(project, chain).exists()


def take_cancelled(project: Project, uuid: str) -> bool:
    """Tell whether a run that is in no chain was cancelled, and remove the mark: nothing follows such a run."""
    try:
        cancelled_path(project, uuid).unlink()
    except FileNotFoundError:
        return False
    return True
