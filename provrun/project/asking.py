"""Ask: what there is, what came of it, where it came from, and why."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import islice
from typing import IO, TYPE_CHECKING

from provrun.core.states import State
from provrun.errors import NotFound, StorageFailed
from provrun.project.project import Project
from provrun.query.rows import Row, moment, value
from provrun.query.view import Captured, View

if TYPE_CHECKING:
    from provrun.core.allocation import Stage, Verdict
    from provrun.core.answers import Shown
    from provrun.core.canonical import Value
    from provrun.core.conditions import Condition
    from provrun.core.messages import Pin
    from provrun.core.records import JobRecord, MapRecord
    from provrun.project.jobs.over import Judge, Seen
    from provrun.query.columns import Column
    from provrun.record.files import StatCache

Document = dict[str, object]
EVERY = 2**62
FRESH = 30.0
"""Seconds that an answer of a scheduler holds: who watches a map must not use up what may be asked."""


class _Digests:
    """Gives the digests of files as they lie now; those of large ones are remembered from one command to the next."""

    def __init__(self, project: Project) -> None:
        self._file = project.dir / "tmp" / "used"
        self._known: StatCache | None = None

    def __call__(self, path: str) -> str | None:
        from provrun.record.files import StatCache, digest_file

        if self._known is None:
            self._known = StatCache(self._file)
        try:
            digest, _ = digest_file(path, self._known)
        except OSError:
            return None
        with suppress(StorageFailed):  # somebody else's project, which may only be read: it is digested again then
            self._known.save()
        return digest


class _Verdicts:
    """Judges jobs when asked about one: those of this host by themselves, the others all at once."""

    def __init__(self, project: Project, fresh: float) -> None:
        self._project = project
        self._fresh = fresh
        self._judge: Judge | None = None
        self._told: dict[str, Seen] | None = None

    def __call__(self, job: JobRecord) -> Verdict:
        from provrun.core.allocation import Verdict
        from provrun.run.job import is_over

        known = None if job.state == "queued" else is_over(job, self._project.dir)
        if known is not None:
            return Verdict(known, "its manager is gone" if known else "its manager lives on this host")
        if self._judge is None:
            self._judge = self._made()
            self._judge.verdicts(self._unfinished)
        return self._judge.verdicts([job])[job.uuid]

    def stage(self, job: JobRecord) -> Stage | None:
        if "scheduler" not in job.owner:
            return None
        if self._told is None:
            self._told = self._made().told(self._unfinished)
        seen = self._told.get(job.uuid)
        return None if seen is None else seen.stage

    @cached_property
    def _unfinished(self) -> list[JobRecord]:
        reads = self._project.reads
        return [*reads.jobs("running"), *reads.jobs("queued")]

    def _made(self) -> Judge:
        from provrun.project.jobs.over import Judge

        # A question must not wait long for a scheduler that hangs.
        return Judge(self._project, fresh=self._fresh, patience=5.0)


def view(project: Project, *, check: bool = False, fresh: float = FRESH) -> View:
    """Give the registry of a project and what lies around it; ``check`` compares with the software of this moment.

    What a scheduler has said of jobs up to ``fresh`` seconds ago holds.
    """

    def pack(uuid: str, place: str) -> bytes:
        from provrun.run import packs

        return packs.read_of(project.root, uuid, place)

    def log(content: bytes) -> Captured:
        from provrun.run.capture import decode_log

        kept = decode_log(content)
        return Captured(kept.out.text(), kept.err.text())

    def folder(map: MapRecord) -> str:
        return os.path.normpath(project.root.absolute() / map.workdir)

    pins: dict[int, Pin] = {}

    def code(map: MapRecord, path: str) -> str:
        lies = os.path.join(project.root.absolute(), path)  # noqa: PTH118 - names of programs are absolute
        if map.policy.code != "pin":
            return lies
        if map.id not in pins:
            pins[map.id] = project.reads.pin(map.id)
        pin = pins[map.id]
        there = project.root.absolute() / pin.checkout / os.path.relpath(lies, pin.root)
        return str(there) if there.is_file() else lies

    from provrun.run.node import node_name

    environment = None
    if check:
        from provrun.record.environment import capture_environment

        environment = capture_environment()
    return View(
        project.reads, code=code, folder=folder, digest=_Digests(project), pack=pack, log=log,
        judge=_Verdicts(project, fresh), node=node_name(), now=time.time_ns() // 1000, environment=environment,
    )


def status(project: Project, names: Sequence[str] = (), *, check: bool = False) -> list[Document]:
    """Say how maps stand (all if none is named), first submitted first.

    ``check`` looks at every result, with the software of this moment; else stale results are counted by what many
    share, and the software is that captured last.
    """
    from provrun.query.status import status as of_map

    seen = view(project, check=check)
    maps = [seen.map(name) for name in names] or seen.maps()
    running = seen.running_jobs()
    tallies = seen.reads.tallies(maps[0].id if len(maps) == 1 else None)
    seen.contexts.load({tally.context for tally in tallies})
    documents = []
    for map in maps:
        mine = [tally for tally in tallies if tally.map == map.id]
        worked = {seen.contexts[tally.context].job for tally in mine}
        jobs = [job for job in running if job.id in worked or seen.reads.holds(job.id, map.id)]
        document = of_map(map, mine, seen.contexts, seen.staleness(map), jobs=jobs, now=seen.now)
        if check:
            rows = seen.rows(map).rows(seen.reads.stream(map.id, state=State.SUCCEEDED))
            document["stale"] = sum(1 for row in rows if row["stale"])
        document["software_captured"] = moment(seen.environment_captured)
        documents.append(document)
    return documents


def rows(
    project: Project, name: str, where: str | None = None, *, state: State | None = None, limit: int | None = None,
    read: Callable[[str], object] = value,
) -> Iterator[Row]:
    """Give the rows of a map's tasks by index; ``read`` as in `query.rows.Rows`."""
    from provrun.query.selecting import select

    seen = view(project)
    map = seen.map(name)
    chosen = select(seen, map, _condition(where), state=state)
    return seen.rows(map, read).rows(islice(chosen, limit))


def results(
    project: Project, name: str, where: str | None = None, *, read: Callable[[str], object] = value
) -> Iterator[Row]:
    """Give the rows of a map's tasks that have an accepted result."""
    return rows(project, name, where, state=State.SUCCEEDED, read=read)


def columns(project: Project, name: str, where: str | None = None) -> list[Column]:
    """Give the columns that the results of a map have as a flat table; looks at each result."""
    from provrun.query.columns import discover
    from provrun.query.selecting import select

    seen = view(project)
    map = seen.map(name)
    chosen = select(seen, map, _condition(where), state=State.SUCCEEDED, artifacts=False)
    return discover(map.own, ((shown.task.params, seen.result_text(shown)) for shown in chosen))


def find(project: Project, conditions: str, *, read: Callable[[str], object] = value) -> Iterator[Row]:
    """Give the rows of all tasks of all maps for which conditions hold; raise `NotFound` when there is none."""
    from provrun.query.selecting import Unnamed, select

    seen = view(project)
    condition = _condition(conditions)
    unknown: list[Unnamed] = []
    found = False
    maps = seen.maps()
    for map in maps:
        try:
            for row in seen.rows(map, read).rows(select(seen, map, condition)):
                found = True
                yield row
        except Unnamed as error:  # this map has nothing of such a name; another one may
            unknown.append(error)
    if not found:
        if len(unknown) == len(maps) and unknown:
            raise NotFound(unknown[0].message, value=conditions, next=unknown[0].next)
        raise NotFound("no task fits", value=conditions, next="provrun list shows the maps")


def matching(project: Project, map: MapRecord, where: str) -> Iterator[int]:
    """Give the indices of a map's tasks for which conditions hold."""
    from provrun.query.selecting import select

    return (shown.task.index for shown in select(view(project), map, _condition(where)))


def with_params(project: Project, map: MapRecord, params: Mapping[str, Value]) -> list[int]:
    """Give the indices of a map's tasks that have these values of parameters; raise `NotFound` when there is none."""
    from provrun.query.resolving import tasks_with

    found = [shown.task.index for shown in tasks_with(view(project), map, dict(params), EVERY)]
    if not found:
        raise NotFound(
            f"no task of {map.name} has these parameters", value=dict(params),
            next=f"provrun tasks {map.name} shows them",
        )
    return found


def selected(
    project: Project, name: str, where: str | None, *, state: State | None = None
) -> Iterator[Shown]:
    """Give the tasks of a map in a state for which conditions hold, with the attempts that stand for them."""
    from provrun.query.selecting import select

    seen = view(project)
    return select(seen, seen.map(name), _condition(where), state=state)


def _condition(where: str | None) -> Condition | None:
    if where is None:
        return None
    from provrun.core.conditions import parse

    return parse(where)


def write_results(project: Project, name: str, where: str | None, form: str, out: IO[bytes]) -> int:
    """Write the results of a map as ``csv``, ``jsonl``, ``parquet`` or ``hdf5``; gives the number of rows."""
    from provrun.query.rows import raw
    from provrun.query.tables import WRITERS, write_jsonl

    if form == "jsonl":
        return write_jsonl(out, results(project, name, where, read=raw))
    return WRITERS[form](out, columns(project, name, where), results(project, name, where))


def trace_text(project: Project, ref: str, *, down: bool = False) -> str:
    """Tell as a tree what something came from, to the source, or what came of it."""
    from provrun.query.resolving import resolve
    from provrun.query.trace import trace

    seen = view(project)
    return "\n".join(trace(seen, resolve(seen, ref), down=down).tree())


def why_text(project: Project, ref: str) -> str:
    """Say why something is as it is, with the next command."""
    from provrun.query.resolving import resolve
    from provrun.query.why import why

    seen = view(project)
    return why(seen, resolve(seen, ref)).text()
