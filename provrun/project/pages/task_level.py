"""Publishing at the level of tasks: the page, and every attempt after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from provrun.core.levels import levels
from provrun.errors import UsageError
from provrun.export import task_documents, task_level
from provrun.export.task_documents import DocumentPage
from provrun.export.task_level import StatementPage
from provrun.project.pages.committing import Changed
from provrun.project.pages.publishing import exemplar
from provrun.store.reads import Reads
from provrun.store.summaries import Summaries

if TYPE_CHECKING:
    from provrun.export.document import Built
    from provrun.export.exemplars import Exemplar
    from provrun.export.rdf import Triple
    from provrun.export.summary import Summary
    from provrun.export.task_documents import Documents
    from provrun.export.task_level import TaskPage
    from provrun.project.project import Project

FORMATS = (*task_level.FORMATS, *task_documents.FORMATS)
T = TypeVar("T")


def check_format(format: str) -> None:
    """Raise `UsageError` for a format in which tasks cannot follow a page."""
    if format not in FORMATS:
        raise UsageError(
            f"a {'drawing' if format == 'dot' else format} is of cohorts: nobody could look at one of every task",
            value=format,
            next="leave out --level, or draw one task: provrun trace MAP/INDEX --format dot",
        )


def stream(
    project: Project, format: str, summaries: Sequence[Summary], built: Built, folder: Path | None
) -> Iterator[str]:
    """Write a page and all attempts of its maps, task by task; temporary files, if any, go to ``folder``."""
    if format in task_documents.FORMATS:
        return task_documents.write(
            format, built.page.document, documents(project, summaries, built), folder=folder
        )
    return task_level.write(
        format, built.statements, built.page.namespaces, str(built.node.uri), statements(project, summaries, built)
    )


def statements(project: Project, summaries: Sequence[Summary], built: Built) -> Iterator[list[Triple]]:
    """Give what is said of each task, as triples."""
    return _all(project, summaries, built, StatementPage(built.page))


def documents(project: Project, summaries: Sequence[Summary], built: Built) -> Documents:
    """Give what is said of each task, as documents of `prov`."""
    return _all(project, summaries, built, DocumentPage(built.page))


def _all(project: Project, summaries: Sequence[Summary], built: Built, page: TaskPage[T]) -> Iterator[T]:
    return chain.from_iterable(_attempts(project, one, summaries, built, page) for one in summaries)


def _attempts(
    project: Project, summary: Summary, summaries: Sequence[Summary], built: Built, page: TaskPage[T]
) -> Iterator[T]:
    reads = Reads(project.registry.database)
    record = summary.map
    names = {one.map.id: one.map.name for one in summaries}
    circumstances = Summaries(project.registry.database).circumstances()
    level = levels(record.name, record.dependencies, record.total)

    def tasks() -> Iterator[Exemplar]:
        return (exemplar(reads, record, index, names) for index in range(record.total))

    try:
        yield from task_level.attempts_of(page, built.maps[record.name], circumstances, level, tasks())
    except KeyError:  # an attempt of a cohort that was not there when they were counted
        raise Changed(record.name) from None
