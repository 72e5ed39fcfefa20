"""The queues of qdo: ``from provrun import qdo`` runs the examples of qdo's documentation.

A queue is a map to which every `Queue.add` brings a task, even an equal one. Tasks are commands, or any JSON values
whose recipe, a command template or a function, arrives with `Queue.launch` or `Queue.do`. Where there is no batch
scheduler, queues run here, in the background.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from provrun.api import running
from provrun.api.inert import Inert
from provrun.core.canonical import encode
from provrun.core.records import Dependency, MapRecord, MapSpec, Recipe
from provrun.core.refs import valid_map_name
from provrun.core.states import State
from provrun.errors import ProvrunError, Refused, UsageError
from provrun.project.project import Project
from provrun.run import current

if TYPE_CHECKING:
    from provrun.api.maps import Map
    from provrun.api.results import MapRows

UNDECIDED = Recipe(kind="line")
"""The recipe of a queue until its first task tells, or `launch` and `do`: each task is a command."""

SERIAL = "occurrence"
"""The parameter that tells equal tasks apart."""


def create(name: str) -> Queue:
    """Make a queue; `Refused` if there is one of that name."""
    if current.importing:
        return cast("Queue", Inert(name, lambda: connect(name)))
    project = Project.find(create=True)
    if not valid_map_name(name):
        raise UsageError(
            f"{name!r} is no name of a queue", value=name, next="use letters, digits, _ and -, a letter or _ first"
        )
    if project.registry.find_map(name) is not None:
        raise Refused(f"there is a queue {name}", value=name, next=f"qdo.connect({name!r})")
    queue = Queue(project, name)
    queue._submit(UNDECIDED, (), [], 0, ())
    return queue


def connect(name: str) -> Queue:
    """Give the queue of that name; `NotFound` with the nearest name if there is none."""
    if current.importing:
        return cast("Queue", Inert(name, lambda: connect(name)))
    project = Project.find()
    return Queue(project, project.map(name).name)


def qlist() -> list[Queue]:
    """Give all queues."""
    project = Project.find()
    return [Queue(project, name) for name in project.registry.map_names()]


class Launched:
    """Batch jobs that a scheduler has; ``jobs`` says which."""

    def __init__(self, map: Map, jobs: list[dict[str, Any]]) -> None:
        self._map = map
        self.jobs = jobs

    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until no task of the queue is left; gives its status, raises ``TimeoutError``."""
        return self._map.wait(timeout)


class Queue:
    """A named queue of tasks."""

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self.name = name

    def add(self, task: object, priority: int = 0, requires: int | Iterable[int] | None = None) -> int:
        """Add one task, a command or any JSON value, and give its id.

        Larger ``priority`` goes first; the task waits until those whose ids ``requires`` names have ended.
        """
        return self.add_multiple([task], priority=priority, requires=requires)[0]

    def add_multiple(
        self, tasks: Iterable[object], priority: int = 0, requires: int | Iterable[int] | None = None
    ) -> Sequence[int]:
        """Add many tasks of one kind and give their ids."""
        waiting = iter(tasks)
        first = next(waiting, None)
        if first is None:
            return range(0)
        record = self._record()
        own = _names(first)
        recipe = record.recipe
        if record.total and set(record.own) != set(own):
            raise UsageError(
                f"{self.name} has tasks of {_listed(record.own)}, this one has {_listed(own)}", value=first,
                next="make another queue for it",
            )
        if not record.total:
            self._project.registry.set_recipe(record.id, recipe, own)
            if recipe == UNDECIDED and "line" not in own:
                self._project.registry.pause(record.id, True)
        ranges = _ranges([requires] if isinstance(requires, int) else sorted(requires or ()))
        after = (Dependency(upstream=self.name, kind="after", upstream_tasks=ranges),) if ranges else ()
        added = self._submit(recipe, own, _texts(first, waiting, own), priority, after)
        return range(added[0], added[0] + added[1])

    def launch(
        self, njobs: int = 1, pack: bool = False, script: str | None = None,
        func: Callable[..., object] | None = None, **options: Any,
    ) -> running.Running | Launched:
        """Hand ``njobs`` batch jobs with a worker each to the scheduler, or with ``pack`` one with ``njobs`` workers.

        Where there is no scheduler the tasks run here in the background, ``njobs`` at once (at most one per usable
        core). ``script`` is a template such as ``"analyze -a {a} -b {b}"``, ``func`` a function of the task: what a
        queue of JSON values does with them. More options are those of `Map.launch`: ``time``, ``queue``, ...
        """
        if current.importing:
            return cast("running.Running", Inert().run())
        from provrun.errors import Unavailable
        from provrun.launch.commands import detected

        self._decide(script, func)
        try:
            scheduler = options.pop("scheduler", None) or detected()
        except Unavailable:
            if options:
                raise
            slots = min(njobs, len(os.sched_getaffinity(0)))
            return running.start(self._project, [self.name], slots=slots, mpi=None, max_fails=None, detached=True)
        from provrun.api.maps import Map

        map = Map(self._project, self.name)
        shape = self._packed(njobs, str(scheduler)) if pack else {"nodes": 1, "slots": 1, "jobs": njobs}
        return Launched(map, map.launch(scheduler=str(scheduler), **shape, **options))

    def _packed(self, workers: int, scheduler: str) -> dict[str, int]:
        """Spread workers evenly over as few nodes as have cores for them."""
        from provrun.project.jobs.shaping import allowances

        nodes = -(-workers // allowances(self._project, scheduler, None).cores)
        return {"nodes": nodes, "slots": -(-workers // nodes), "jobs": 1}

    def do(self, func: Callable[..., object] | None = None, script: str | None = None) -> dict[str, Any]:
        """Run the tasks here, one at a time, and wait; ``func`` and ``script`` as in `launch`."""
        if current.importing:
            return cast("dict[str, Any]", Inert().run())
        self._decide(script, func)
        return running.start(
            self._project, [self.name], slots=1, mpi=None, max_fails=None, detached=False
        ).wait()

    def status(self) -> dict[str, Any]:
        """Give name, state, user and the numbers of tasks in qdo's states."""
        record = self._record()
        return {
            "name": self.name,
            "ntasks": {state.word.capitalize(): record.counts[state] for state in SHOWN if state in record.counts},
            "state": "Paused" if record.paused else "Active",
            "user": record.user,
        }

    def tasks(self, state: str | None = None) -> list[dict[str, Any]]:
        """Give the tasks as dicts with ``id``, ``task``, ``state``, ``result``, all or those in one state."""
        return [
            {
                "id": row["index"], "task": _task(cast("dict[str, object]", row["params"])),
                "state": str(row["state"]).capitalize(), "result": row["result"], "error": row["error"],
                "jobid": row["job"],
            }
            for row in self._rows(state)
        ]

    def retry(self) -> int:
        """Let failed tasks run again; give their number."""
        from provrun.project.changing import retry

        return retry(self._project, [self.name]).changed

    def rerun(self) -> int:
        """Let all tasks run again, old results stay visible; give their number."""
        from provrun.project.changing import rerun

        return rerun(self._project, [self.name], force=True).changed + self.retry()

    def recover(self) -> int:
        """Take back tasks that dead jobs have left running; give their number."""
        from provrun.project.recovering import recover

        return sum(tasks for _, tasks in recover(self._project))

    def pause(self) -> None:
        """Start no more tasks."""
        self._project.registry.pause(self._record().id, True)

    def resume(self) -> None:
        """Start tasks again."""
        self._project.registry.pause(self._record().id, False)

    def delete(self) -> None:
        """Delete the queue with all its tasks."""
        self._project.registry.delete(self._record().id)

    def __repr__(self) -> str:
        return f"<qdo.Queue {self.name} at {id(self):#x}>"

    def __str__(self) -> str:
        status = self.status()
        counts = "".join(f"\n{state:13}: {n}" for state, n in status["ntasks"].items())
        return f"{self.name} is {status['state']}{counts}"

    def _record(self) -> MapRecord:
        return self._project.map(self.name)

    def _rows(self, state: str | None) -> MapRows:
        from provrun.api.results import MapRows

        return MapRows(self._project, self.name, state, None)

    def _decide(self, script: str | None, func: Callable[..., object] | None) -> None:
        """Give the queue the recipe that came with `launch` or `do`."""
        record = self._record()
        recipe = self._recipe(record, script, func)
        if recipe is not None:
            self._project.registry.set_recipe(record.id, recipe, record.own)
        elif record.recipe == UNDECIDED and record.own and "line" not in record.own:
            raise UsageError(
                f"the tasks of {self.name} are no commands: what is to be done with them?", value=self.name,
                next='give script="command {a} {b}" or func=function',
            )
        if record.paused:
            self._project.registry.pause(record.id, False)

    def _recipe(
        self, record: MapRecord, script: str | None, func: Callable[..., object] | None
    ) -> Recipe | None:
        if script is not None and func is not None:
            raise UsageError("give script or func, not both", value=script)
        if script is not None:
            from provrun.core.problems import Problems
            from provrun.core.template import ALWAYS_KNOWN, Template

            words = tuple(shlex.split(script))
            problems = Problems("script")
            for one in Template.parse(words).check({*record.own, *ALWAYS_KNOWN}):
                problems.add(one)
            problems.raise_any()
            return Recipe(kind="command", words=words)
        if func is not None:
            from provrun.api.functions import reference

            place, bound = reference(func, self._project, Path.cwd(), self.name)
            return Recipe(kind="function", function=place, bound=bound)
        return None

    def _submit(
        self, recipe: Recipe, own: tuple[str, ...], texts: Iterable[str], priority: int,
        after: tuple[Dependency, ...],
    ) -> tuple[int, int]:
        """Store tasks and give the index of the first and their number."""
        from provrun.project.capturing import capture
        from provrun.project.submitter import submitter, user_name
        from provrun.submit.maps import relative

        project = self._project
        spec = MapSpec(
            name=self.name, recipe=recipe, workdir=relative(Path.cwd(), project.root), own=own, priority=priority,
            dependencies=after, user=user_name(),
        )
        at = time.time_ns() // 1000
        captured = capture(project, spec, at)
        added = project.registry.submit(
            spec, texts, distinct=True, code=captured.code_id, environment=captured.environment_id, at=at,
            by=submitter(project),
        )
        return added.first, added.added


SHOWN = (State.WAITING, State.PENDING, State.RUNNING, State.SUCCEEDED, State.FAILED, State.CANCELLED)


def _names(task: object) -> tuple[str, ...]:
    """Name the parameters of a task: those of a dict, else ``line`` for a command and ``task`` for other values."""
    if isinstance(task, dict):
        if SERIAL in task or not task or not all(isinstance(name, str) for name in task):
            raise UsageError(
                f"{task!r} cannot be a task", value=task, next=f"name its values by texts other than {SERIAL!r}"
            )
        return (*task, SERIAL)
    return ("line" if isinstance(task, str) else "task", SERIAL)


def _texts(first: object, others: Iterator[object], own: tuple[str, ...]) -> Iterator[str]:
    """Give the canonical texts of tasks, each with a serial number that no other task of any process has."""
    serial = time.time_ns()
    yield _text(first, serial)
    for task in others:
        if set(_names(task)) != set(own):
            raise ProvrunError(
                f"{task!r} is another kind of task than those before it", value=task, next="make another queue for it"
            )
        serial += 1
        yield _text(task, serial)


def _text(task: object, serial: int) -> str:
    params = task if isinstance(task, dict) else {_names(task)[0]: task}
    return encode({**params, SERIAL: serial})


def _task(params: dict[str, object]) -> object:
    """Give a task as it was added."""
    task = {name: value for name, value in params.items() if name != SERIAL}
    return next(iter(task.values())) if task.keys() in ({"line"}, {"task"}) else task


def _ranges(ids: list[int]) -> tuple[tuple[int, int], ...]:
    """Write ascending ids as ranges [first, last + 1)."""
    found: list[tuple[int, int]] = []
    for one in ids:
        if found and found[-1][1] == one:
            found[-1] = (found[-1][0], one + 1)
        else:
            found.append((one, one + 1))
    return tuple(found)


def _listed(own: Sequence[str]) -> str:
    return ", ".join(name for name in own if name != SERIAL) or "nothing"


__all__ = ["Queue", "connect", "create", "qlist"]
