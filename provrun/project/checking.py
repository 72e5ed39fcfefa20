"""Whether a project's registry is sound."""

from __future__ import annotations

from provrun.project.project import Project


def check_database(project: Project) -> list[str]:
    """List what is wrong with the registry's schema, database and counters; nothing is changed."""
    from provrun.store import checking
    from provrun.store.database import connect

    database = connect(project.url, readonly=True)
    try:
        return checking.problems(database)
    finally:
        database.close()
