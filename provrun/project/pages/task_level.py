"""Publishing at the level of tasks: the page, and every attempt after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from provrun.core.levels import levels
from provrun.errors import UsageError
from provrun.export import task_level
from provrun.project.pages.committing import Changed
from provrun.project.pages.publishing import exemplar
from provrun.store.reads import Reads
from provrun.store.summaries import Summaries

if TYPE_CHECKING:
    from provrun.export.document import Built
    from provrun.export.exemplars import Exemplar
    from provrun.export.rdf import Triple
    from provrun.export.summary import Summary
    from provrun.project.project import Project


def stream(project: Project, format: str, summaries: Sequence[Summary], built: Built) -> Iterator[str]:
    """Write a page and all attempts of its maps, task by task; `UsageError` for a format that cannot be streamed."""
    if format not in task_level.FORMATS:
        raise UsageError(
            f"every task as {format} would have to be in memory at once", value=format,
            next=f"--level task with --format {' or '.join(task_level.FORMATS)}",
        )
    tasks = chain.from_iterable(_statements(project, one, summaries, built) for one in summaries)
    return task_level.write(format, built.statements, built.page.namespaces, str(built.node.uri), tasks)


def _statements(
    project: Project, summary: Summary, summaries: Sequence[Summary], built: Built
) -> Iterator[list[Triple]]:
    reads = Reads(project.registry.database)
    record = summary.map
    names = {one.map.id: one.map.name for one in summaries}
    circumstances = Summaries(project.registry.database).circumstances()
    level = levels(record.name, record.dependencies, record.total)

    def tasks() -> Iterator[Exemplar]:
        return (exemplar(reads, record, index, names) for index in range(record.total))

    try:
        yield from task_level.attempts_of(built.maps[record.name], circumstances, level, tasks())
    except KeyError:  # an attempt of a cohort that was not there when they were counted
        raise Changed(record.name) from None
