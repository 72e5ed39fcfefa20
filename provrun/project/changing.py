"""What a person changes later: retry, rerun, cancel, pause, resume, delete, policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from provrun.core.problems import Problems
from provrun.core.records import MapRecord
from provrun.core.refs import MapRef, ParamsRef, TaskRef, parse_ref
from provrun.core.states import State
from provrun.errors import NotFound, Refused, UsageError
from provrun.project.checkpoints import tidy
from provrun.project.logs import requested
from provrun.project.outboxes import fold_left
from provrun.project.pinning import pin
from provrun.project.project import Project
from provrun.submit.policies import describe_changes, parse_factor, parse_policy

Tasks = list[int] | None
Target = tuple[MapRecord, Tasks]


@dataclass(frozen=True)
class Changed:
    """How many tasks were changed, of which maps, and the command to go on with."""

    changed: int
    maps: tuple[str, ...]
    next: str
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        """Give the JSON document of a change."""
        return {"changed": self.changed, "maps": list(self.maps), "next": self.next}


def targets(project: Project, refs: Sequence[str], where: str | None) -> Iterator[Target]:
    """Give the maps that REFs name, all maps if there is none, with the tasks meant: None for all of a map.

    Several tasks of one map come together. Raises `NotFound` for an unknown map or task.
    """
    fold_left(project)  # what is changed must be what tasks gave, not what was known before
    if not refs:
        refs = [record.name for record in project.registry.maps()]
    chosen: dict[str, Tasks] = {}
    for text in refs:
        ref = parse_ref(text)
        if isinstance(ref, MapRef):
            chosen[ref.name] = None
        elif isinstance(ref, TaskRef | ParamsRef):
            found = _indices(project, ref)
            before = chosen.get(ref.map, [])
            chosen[ref.map] = None if before is None else [*before, *found]
        else:
            raise UsageError(f"{text} is neither a map nor a task", value=text, next="give MAP or MAP/INDEX")
    for name, tasks in chosen.items():
        record = project.map(name)
        yield record, tasks if where is None else _fitting(project, record, where, tasks)


def _fitting(project: Project, record: MapRecord, where: str, tasks: Tasks) -> list[int]:
    from provrun.project.asking import matching

    meant = None if tasks is None else set(tasks)
    return [index for index in matching(project, record, where) if meant is None or index in meant]


def _indices(project: Project, ref: TaskRef | ParamsRef) -> list[int]:
    from provrun.project.asking import with_params

    record = project.map(ref.map)
    if isinstance(ref, ParamsRef):
        return with_params(project, record, ref.params)
    if ref.index >= record.total:
        there = f"its tasks are {record.name}/0 to {record.name}/{record.total - 1}" if record.total else "it has none"
        raise NotFound(f"map {record.name} has no task {ref.index}", value=f"{ref.map}/{ref.index}", next=there)
    return [ref.index]


def _counted(
    project: Project, found: Sequence[Target], change: Callable[[MapRecord, Tasks], int], following: str
) -> Changed:
    """Change tasks and say how many were changed, naming the maps of which there were any."""
    counts = {record.name: change(record, tasks) for record, tasks in found}
    notes = requested(project) if any(counts.values()) else []
    changed = tuple(name for name, count in counts.items() if count) or tuple(counts)
    return Changed(sum(counts.values()), changed, following.format(maps=" ".join(changed)), tuple(notes))


def retry(
    project: Project, refs: Sequence[str] = (), where: str | None = None, *, task_time: str | float | None = None,
    task_memory: str | float | None = None,
) -> Changed:
    """Make failed and cancelled tasks pending again; ``x2`` multiplies their limits."""
    problems = Problems("retry")
    factors: dict[str, float | None] = {"time": None, "memory": None}
    for name, option in (("time", task_time), ("memory", task_memory)):
        if option is not None:
            with problems.at(f"--task-{name}"):
                factors[name] = parse_factor(option)
    problems.raise_any()
    registry = project.registry
    return _counted(
        project, list(targets(project, refs, where)),
        lambda record, tasks: registry.retry(record.id, tasks, time=factors["time"], memory=factors["memory"]),
        "provrun run {maps}",
    )


def rerun(
    project: Project, refs: Sequence[str], where: str | None = None, *, stale: bool = False, down: bool = False,
    force: bool = False,
) -> Changed:
    """Make succeeded tasks pending again, those alone that are stale if asked for; refuse without ``force``.

    With ``down`` everything that read their results runs again too.
    """
    if stale:
        where = f"({where}) and stale == true" if where is not None else "stale == true"
    found = list(targets(project, refs, where))
    if down:
        from provrun.project.downstream import with_readers

        found = with_readers(project, found)
    if not force:
        done = sum(
            record.counts.get(State.SUCCEEDED, 0) if tasks is None else len(tasks) for record, tasks in found
        )
        raise Refused(
            f"rerun makes up to {done} results superseded; they stay visible", value=list(refs),
            next="add --force to do it",
        )
    registry = project.registry
    return _counted(project, found, lambda record, tasks: registry.rerun(record.id, tasks), "provrun run {maps}")


def accept(project: Project, refs: Sequence[str], where: str | None = None, *, because: str) -> Changed:
    """Keep that stale results hold under the code that lies here now; give how many.

    Of code alone: what is stale by an input, the software or another map's result stays so.
    """
    if not because.strip():
        raise UsageError("--because says nothing", value=because, next="say why the change makes no difference")
    from provrun.project.accepting import accept_results

    stale = "stale == true" if where is None else f"({where}) and stale == true"
    found = list(targets(project, refs, None))
    notes: list[str] = []
    changed = _counted(
        project, found,
        lambda record, tasks: accept_results(
            project, record, because.strip(), notes,
            None if tasks is None and where is None else _fitting(project, record, stale, tasks),
        ),
        "provrun status {maps}",
    )
    return replace(changed, notes=(*changed.notes, *notes))


def cancel(project: Project, refs: Sequence[str], where: str | None = None) -> Changed:
    """Cancel tasks that have not ended."""
    registry = project.registry
    found = list(targets(project, refs, where))
    changed = _counted(project, found, lambda record, tasks: registry.cancel(record.id, tasks), "provrun retry {maps}")
    tidy(project)
    return changed


def pause(project: Project, names: Sequence[str], *, paused: bool) -> Changed:
    """Start no more tasks of maps, or start them again; counts the tasks that wait for it."""
    found = [project.map(name) for name in names]
    for record in found:
        project.registry.pause(record.id, paused)
    held = sum(
        record.counts.get(State.PENDING, 0) + record.counts.get(State.WAITING, 0)
        for record in found
        if record.paused != paused
    )
    word = "resume" if paused else "run"
    return Changed(held, tuple(names), f"provrun {word} {' '.join(names)}", tuple(requested(project)))


def delete(project: Project, name: str, *, force: bool = False) -> Changed:
    """Delete a map with its tasks and attempts; refuse without ``force``, or while other maps build on it."""
    record = project.map(name)
    if not force:
        raise Refused(
            f"delete removes {record.total} tasks of {name} and all their results for good", value=name,
            next="add --force to do it",
        )
    deleted = project.registry.delete(record.id)
    tidy(project)
    return Changed(deleted, (name,), "provrun list")


def set_policy(
    project: Project, name: str, where: str | None, policy: Mapping[str, object], priority: int | None
) -> Changed:
    """Change how the tasks of a map are run from now on; ``where`` narrows priority and limits to some tasks."""
    record = project.map(name)
    problems = Problems(f"set {name}")
    now, wrong = parse_policy(policy, record.policy)
    problems.extend(wrong)
    if not policy and priority is None:
        problems.add("nothing to set: give --priority, --task-time or another policy option")
    if where is not None and policy:
        problems.add("--where chooses tasks, and only --priority is a task's own; the rest holds for the whole map")
    problems.raise_any()
    registry = project.registry
    if now.code == "pin" and record.policy.code != "pin":
        pin(project, record, registry.submitted_code(record.id)[1])
    notes = describe_changes(record.policy, now)
    changed = 0
    if notes:
        registry.set_policy(record.id, now)
        changed = record.total
    if priority is not None:
        _, tasks = next(targets(project, [name], where))
        changed = max(changed, registry.set_priority(record.id, tasks, priority))
        notes.append(f"priority: {priority}")
    notes += requested(project)
    return Changed(changed, (name,), f"provrun run {name}", tuple(notes))
