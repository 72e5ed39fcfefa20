"""Which checkpoints of a project are kept: those of tasks that may run again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from provrun.core.states import State
from provrun.project.project import Project
from provrun.run import checkpoints

_DONE = (State.SUCCEEDED, State.CANCELLED)


def forget(project: Project, tasks: Mapping[tuple[str, int], int]) -> None:
    """Remove the checkpoints of tasks that have ended for good: by map name and index, the number of the attempt.

    What a later attempt has is its own: one that was given up as lost may report its end late.
    """
    checkpoints.remove(str(project.root), lambda name, index, number: number > tasks.get((name, index), -1))


def tidy(project: Project) -> None:
    """Remove the checkpoints of all tasks that will not go on, or that are there no more."""
    if checkpoints.kept(str(project.root)):
        checkpoints.remove(str(project.root), partial(_may_go_on, project))


def _may_go_on(project: Project, name: str, index: int, number: int) -> bool:
    from provrun.store.reads import Reads  # late: few projects have any

    record = project.registry.find_map(name)
    if record is None or index >= record.total:
        return False
    return Reads(project.registry.database).states(record.id, [index]).get(index) not in _DONE
