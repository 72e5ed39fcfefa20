"""The log of a project: opened for jobs that cannot or must not share the registry's database, closed after them."""

from __future__ import annotations

from provrun.core.nearest import suggestion
from provrun.errors import InvalidInput
from provrun.project.project import Project

ALWAYS, AUTO, NEVER = "always", "auto", "never"


def open_log(project: Project) -> bool:
    """Open the log of a project if jobs need one, before the first of them is queued; tell whether one is open.

    To be called by whatever hands jobs to a scheduler (``launch``), on the login node, before it enters them. Under
    the setting ``log = auto`` a log is opened when the registry is a SQLite file, which one host alone may write;
    under ``always`` for every database, under ``never`` for none. Opening again is nothing. From then on every change
    from every host goes through the log; the last job that ends closes it.
    """
    wanted = _setting(project)
    if wanted == ALWAYS or (wanted == AUTO and project.url.startswith("sqlite:")):
        registry = project.registry
        if registry.position is None:
            project.logs.open(registry)
    return project.registry.position is not None


def open_for_run(project: Project) -> None:
    """Open the log before a run here and now, if every run is to go through it."""
    if _setting(project) == ALWAYS:
        open_log(project)


def _setting(project: Project) -> str:
    wanted = project.config.text("log")
    if wanted not in (ALWAYS, AUTO, NEVER):
        known = suggestion(wanted, [ALWAYS, AUTO, NEVER], "auto, always or never")
        raise InvalidInput("the setting log", [f"{wanted!r} is none of auto, always, never"], next=known)
    return wanted


def heal(project: Project, *, thorough: bool = False) -> list[str]:
    """Let the log go on where nobody can read it any more, and say what was done.

    An entry that is damaged or gone, and that no living job mends, becomes a hole: what it did has not happened.
    A ``thorough`` one also looks at what the registry has folded in already, which others may still have to read.
    """
    registry = project.registry
    if registry.position is None or project.logs.elsewhere() is not None:
        return []
    said = [
        f"entry {position} of the log was lost: what it did has not happened, tasks of it run again"
        for position in registry.heal()
    ]
    if thorough and project.logs.renew_plan(registry):
        said.append("replicas start from a new plan: the log before it can no longer be read")
    return said


def check(project: Project) -> list[str]:
    """Give the problems found in the log that is open, in words."""
    return project.logs.check()


def requested(project: Project) -> list[str]:
    """Say which running jobs have not yet seen what was changed last."""
    registry = project.registry
    position = registry.position
    if position is None:
        return []
    return [
        f"requested: job {job.id} on {job.node} sees it within seconds"
        for job in registry.running_jobs()
        if not registry.acknowledged(job.uuid, position)
    ]
