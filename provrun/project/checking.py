"""Whether a project's registry is sound."""

from __future__ import annotations

from provrun.project.project import Project


def check_database(project: Project) -> list[str]:
    """List what is wrong with the registry's schema and content; nothing is changed."""
    from provrun.store import checking
    from provrun.store.registry import Registry

    registry = Registry.open(project.url, readonly=True)
    try:
        return checking.missing(registry.database) or registry.check()
    finally:
        registry.close()
