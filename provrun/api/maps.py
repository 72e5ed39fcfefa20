"""A map as an object: run it, ask it, publish it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from provrun.api import running
from provrun.api.inert import Inert
from provrun.api.results import table
from provrun.api.table import Table
from provrun.core.states import State
from provrun.errors import ProvrunError, Refused, UsageError
from provrun.run import current

if TYPE_CHECKING:
    from provrun.core.records import MapRecord
    from provrun.project.project import Project

UNFINISHED = (State.WAITING, State.PENDING, State.RUNNING)
POLL = 0.5  # seconds between two looks at the registry


class Map:
    """One map of a project; every call reads the registry anew, so it shows what jobs have done meanwhile."""

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self.name = name

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.status()["ntasks"].items() if n)
        return f"<provrun map {self.name}: {counts or 'no tasks'}>"

    def __len__(self) -> int:
        """Count the tasks."""
        return self._record().total

    # Running

    def run(
        self, slots: int | None = None, *, wait: bool = True, mpi: int | None = None, max_fails: int | str | None = None
    ) -> dict[str, Any] | Inert | running.Running:
        """Run this map and all it builds on, here and now, in processes of their own.

        Waits and gives what `provrun run --json` answers; with ``wait=False`` gives at once a handle with ``wait()``.
        Failed tasks raise nothing: `status` counts them, `result` raises.
        """
        if current.importing:
            return cast("Inert", Inert().run())
        job = running.start(self._project, [self.name], slots=slots, mpi=mpi, max_fails=max_fails, detached=not wait)
        return job.wait() if wait else job

    def launch(
        self, nodes: int | None = None, time: str | float | None = None, *, slots: int | None = None,
        jobs: int | None = None, scheduler: str | None = None, **more: Any,
    ) -> list[dict[str, Any]]:
        """Hand jobs to a scheduler that run this map and all it builds on; `provrun launch` has the same options.

        ``time`` as ``"2h"`` or in seconds; more: ``queue, account, exclude, options`` (a dict), ``setup, resubmit,
        links, on_finish, max_fails, area, pilot, nice``. Gives what `provrun launch --json` says of each job, none if
        no task is left to do; `wait` waits for the map, whichever jobs run it. Raises `Unavailable` without a
        scheduler.
        """
        if current.importing:
            return cast("list[dict[str, Any]]", Inert().launch())
        from provrun.project.jobs.launching import launch
        from provrun.project.jobs.wanted import wanted

        return launch(
            self._project,
            wanted(names=[self.name], nodes=nodes, time=time, slots=slots, jobs=jobs, scheduler=scheduler, **more),
        ).rows()

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until no task of the map is waiting, pending or running any more; ``timeout`` in seconds.

        Gives the status. Raises ``TimeoutError``.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while left := sum(self._record().counts[state] for state in UNFINISHED):
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"{self.name}: {left} tasks are left after {timeout} s")
            time.sleep(POLL)
        return self.status()

    # Changing

    def retry(self, where: str | None = None, *, task_time: str | None = None, task_memory: str | None = None) -> int:
        """Let failed and cancelled tasks run again, ``"x2"`` with doubled limits; give their number."""
        from provrun.project.changing import retry

        return retry(self._project, [self.name], where=where, task_time=task_time, task_memory=task_memory).changed

    def rerun(self, where: str | None = None, *, stale: bool = False, force: bool = False) -> int:
        """Let succeeded tasks run again; old results stay visible. Needs ``force=True``; gives the number of tasks."""
        from provrun.project.changing import rerun

        if not force:
            raise Refused(
                f"rerun replaces results of {self.name}", value=self.name, next=f"{self.name}.rerun(force=True)"
            )
        return rerun(self._project, [self.name], where=where, stale=stale, force=True).changed

    def accept(self, because: str, where: str | None = None) -> int:
        """Declare that stale results of older code hold under the present one, and why; gives the number of tasks."""
        from provrun.project.changing import accept

        return accept(self._project, [self.name], where=where, because=because).changed

    def recover(self) -> int:
        """Take back tasks that dead jobs have left running; every run does so by itself. Gives their number."""
        from provrun.project.recovering import recover

        return sum(tasks for _, tasks in recover(self._project))

    def cancel(self, where: str | None = None) -> int:
        """Cancel tasks that have not ended; give their number."""
        from provrun.project.changing import cancel

        return cancel(self._project, [self.name], where=where).changed

    def delete(self, *, force: bool = False) -> None:
        """Delete the map with its results; needs ``force=True``, and is refused while other maps build on it."""
        from provrun.project.changing import delete

        delete(self._project, self.name, force=force)

    # Asking

    def status(self) -> dict[str, Any]:
        """Give what `provrun status --json` says of the map: state, ``ntasks`` by state, stale, rate, eta."""
        from provrun.project.asking import status

        return cast("dict[str, Any]", status(self._project, [self.name])[0])

    def tasks(self, state: str | None = None, where: str | None = None) -> Table:
        """Give the tasks, all or those in a state or for which a condition holds."""
        return table(self._project, self.name, state=state, where=where)

    def results(self, where: str | None = None) -> Table:
        """Give the tasks that have an accepted result, by index."""
        return table(self._project, self.name, state="succeeded", where=where)

    def result(self) -> Any:  # whatever the function returned
        """Give the result of a map of exactly one task, as the function returned it."""
        total = len(self)
        if total != 1:
            raise UsageError(f"{self.name} has {total} tasks, not one", value=total, next=f"{self.name}.results()")
        row = next(iter(self.tasks()), None)
        if row is None or row["state"] != "succeeded":
            state = "gone" if row is None else row["state"]
            raise ProvrunError(
                f"{self.name} has no result: its task is {state}", value=state, next=f"provrun why {self.name}/0"
            )
        return row["result"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate the rows of all tasks."""
        return iter(cast("Iterator[dict[str, Any]]", self.tasks()))

    def trace(self, index: int | None = None) -> str:
        """Tell as a tree what a task came from, to the source; without an index the whole map."""
        from provrun.project.asking import trace_text

        return trace_text(self._project, self.name if index is None else f"{self.name}/{index}")

    def why(self, index: int) -> str:
        """Say why a task is as it is, with the next command."""
        from provrun.project.asking import why_text

        return why_text(self._project, f"{self.name}/{index}")

    # Publishing

    def export(
        self, path: str | Path, *, format: str | None = None, leaves: str | Path | None = None, salt: bool = False
    ) -> Path:
        """Write a page of W3C PROV about this map and all it builds on; the format follows the file's name.

        ``leaves`` gets the records of all tasks, to which the page commits; with ``salt`` nobody can guess them.
        ``format="crate"`` writes a folder, an RO-Crate, which has them anyway.
        """
        from provrun.api.publishing import format_of
        from provrun.project.pages.publishing import export

        target = Path(path)
        if format == "crate":
            from provrun.project.pages.crating import export_crate

            export_crate(self._project, [self.name], path=target, salt=salt)
            return target
        export(
            self._project, [self.name], format=format or format_of(target), path=target,
            leaves=None if leaves is None else Path(leaves), salt=salt,
        )
        return target

    def live_plot(self, x: str, y: str = "result", *, color: str | None = None, every: float = 2.0) -> Any:
        """Plot results in a notebook while jobs bring them; see `provrun.api.live`."""
        from provrun.api.live import live_plot

        return live_plot(self, x=x, y=y, color=color, every=every)

    def _record(self) -> MapRecord:
        return self._project.map(self.name)
