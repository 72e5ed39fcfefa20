"""Which tasks read what some other tasks made, however far down."""

from __future__ import annotations

from collections.abc import Iterable

from provrun.core.canonical import decode, encode
from provrun.core.records import Dependency, MapRecord
from provrun.project.project import Project

Tasks = list[int] | None
"""Indices of tasks of a map; None for all of them."""


def with_readers(project: Project, chosen: Iterable[tuple[MapRecord, Tasks]]) -> list[tuple[MapRecord, Tasks]]:
    """Give tasks and all that read their results, upstream first."""
    found = {record.name: (record, tasks) for record, tasks in chosen}
    for record in sorted(project.registry.maps(), key=lambda record: record.id):  # a map is older than its readers
        for dependency in record.dependencies:
            if dependency.kind != "after" and dependency.upstream in found:
                upstream, changed = found[dependency.upstream]
                reading = _readers(project, record, dependency, upstream, changed)
                before = found.get(record.name, (record, []))[1]
                whole = before is None or reading is None
                found[record.name] = record, None if whole else sorted({*(before or ()), *(reading or ())})
    return [found[name] for name in sorted(found, key=lambda name: found[name][0].id)]


def _readers(
    project: Project, record: MapRecord, dependency: Dependency, upstream: MapRecord, changed: Tasks
) -> Tasks:
    """Give the tasks of a map that read some tasks of one it builds on directly."""
    if changed is None or dependency.kind == "all":
        return None if changed is None or changed else []
    wanted = set(changed)
    tasks = project.registry.tasks(record.id)
    if dependency.kind == "each":
        return [task.index for task in tasks if task.upstream in wanted]
    by = ("chunk",) if dependency.kind == "chunk" else dependency.by
    if dependency.kind == "chunk":
        parts = {encode([index // dependency.chunk]) for index in wanted}
    else:
        above = project.registry.tasks(upstream.id)
        parts = {_values(task.params, by) for task in above if task.index in wanted}
    return [task.index for task in tasks if _values(task.params, by) in parts]


def _values(params: str, names: tuple[str, ...]) -> str:
    held = decode(params)
    assert isinstance(held, dict)
    return encode([held[name] for name in names])
