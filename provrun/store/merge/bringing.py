"""Attempts of another registry's tasks become attempts of the tasks here, and remember what they are called there.

An attempt is known by its job and what it was called when it was made, so that nothing comes twice. A task that has a
result keeps it. One without gets the one that counts there, if that has read what the task would read here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from provrun.core.records import REUSED, Artifact, Ended, MapRecord
from provrun.core.states import ENDED, Outcome, State
from provrun.store import counting, flow, readiness, reading, recording, rows, tallies
from provrun.store.counting import Shifts
from provrun.store.database import Database, Row
from provrun.store.merge.copying import rest
from provrun.store.merge.ids import Ids
from provrun.store.merge.placed import Placed, in_other_names, trail
from provrun.store.merge.source import pages
from provrun.store.readiness import Moves

_TASK = "idx, state, attempts, accepted, fails, limits, upstream"
_MADE = (
    "select a.idx, a.number, j.uuid, o.registry, o.map, b.origin_idx, b.origin_number from attempt a"
    " join context x on x.id=a.context_id join job j on j.id=x.job_id"
    " left join brought b on b.map_id=a.map_id and b.idx=a.idx and b.number=a.number"
    " left join origin o on o.id=b.origin_id where a.map_id=?"
)

Made = tuple[str, str, str, int, int]
"""What an attempt is in the world: its job's uuid, and what it was called: registry, map, index, number."""


class Task(msgspec.Struct, frozen=True):
    """A task as it stands in one of the registries."""

    index: int
    state: State
    attempts: int
    accepted: int
    fails: int
    limits: str | None
    upstream: int | None

    @property
    def fresh(self) -> bool:
        """Tell whether nothing has happened to it."""
        return self.state in (State.WAITING, State.PENDING) and not self.attempts and not self.accepted


class Brought(NamedTuple):
    """How many attempts came, and how many tasks that were here before changed by it."""

    attempts: int
    tasks: int


class Bringing:
    """Brings the attempts of one map that had ``size`` tasks; ``exact`` if all is to be as it is there."""

    def __init__(
        self, db: Database, source: Database, ids: Ids, record: MapRecord, placed: Mapping[int, Placed], *,
        size: int, exact: bool,
    ) -> None:
        self._db = db
        self._source = source
        self._ids = ids
        self._record = record
        self._placed = placed
        self._here = placed[record.id]
        self._size = size
        self._exact = exact
        self._uuid = str(source.fetch("select uuid from registry")[0][0])
        self._own = str(db.fetch("select uuid from registry")[0][0])
        self._reads = any(edge.reads for edge in flow.upstream(db, self._here.map))

    def bring(self) -> Brought:
        """Bring all that is not here yet, and move the tasks on."""
        attempts = tasks = 0
        for page in pages(
            self._source, f"select {_TASK} from task where map_id=? and idx<? and idx>=? order by idx",
            (self._record.id, self._record.total),
        ):
            with self._db.writing():
                found = self._page([_task(row) for row in page])
                self._write(found)
            rest(self._db)
            attempts += sum(one.number != REUSED for one in found.ended)
            tasks += sum(before.index < self._size for before, _ in found.tasks)
        return Brought(attempts, tasks)

    def _page(self, theirs: Sequence[Task]) -> _Found:
        """Decide what some tasks get."""
        found = _Found()
        here = {task.index: self._here.index(task.index) for task in theirs}
        mine, known, taken = self._mine(sorted(here.values()))
        span = (theirs[0].index, theirs[-1].index)
        ended, names, origins = self._ended(*span), self._names(*span), self._origins(*span)
        now = self._now([mine[here[task.index]] for task in theirs if task.state is State.SUCCEEDED])
        for task in theirs:
            index = here[task.index]
            before = mine[index]
            number = before.attempts
            came: dict[int, Ended] = {}
            for one in ended.get(task.index, ()):
                if one.number == REUSED:
                    if index not in taken:
                        came[REUSED] = replace(one, index=index)
                        origin = origins[task.index]
                        found.origins.append((index, *origin))
                    continue
                made = names[one.index, one.number]
                there = known[index].get(made)
                if there is None:
                    there = number = one.number if before.fresh else number + 1
                    came[one.number] = replace(one, index=index, number=there)
                    if made[1:] != (self._own, self._here.name, index, there):
                        found.names.append((index, there, *made[1:]))
                if there != one.number:
                    self._here.numbers[one.index, one.number] = there
            after = self._after(task, before, number, came, now)
            for one in came.values():
                held = after.state is State.SUCCEEDED and after.accepted == one.number != before.accepted
                found.ended.append(replace(one, state=State.SUCCEEDED if held else State.PENDING))
            if after != before or came:
                found.tasks.append((before, after))
        return found

    def _after(
        self, task: Task, before: Task, number: int, came: Mapping[int, Ended], now: Mapping[int, str | None]
    ) -> Task:
        """Give what becomes of a task here, by what it is there and what came of it."""
        after = replace(before, attempts=number)
        if before.fresh:
            after = replace(after, attempts=task.attempts, fails=task.fails, limits=task.limits)
            # Who cancels speaks of one registry: what was to run in this one still is.
            if task.state is State.FAILED or (task.state is State.CANCELLED and before.index >= self._size):
                return replace(after, state=task.state)
        one = came.get(task.accepted)
        if task.state is not State.SUCCEEDED or before.state is State.SUCCEEDED or one is None:
            return after
        if not self._exact and self._reads and (
            before.state is State.WAITING or one.trail != now.get(before.index)
            or (one.trail is not None and in_other_names(one.trail, self._placed))
        ):
            return after
        return replace(after, state=State.SUCCEEDED, accepted=one.number, fails=task.fails)

    def _mine(
        self, indices: Sequence[int]
    ) -> tuple[dict[int, Task], defaultdict[int, dict[Made, int]], set[int]]:
        """Give tasks as they stand here, their attempts by what they are in the world, and which have been reused."""
        db, map = self._db, self._here.map
        scope, values = db.among("idx", indices)
        found = db.fetch(f"select {_TASK} from task where map_id=? and {scope}", (map, *values))
        tasks = {row[0]: _task(row) for row in found}
        known: defaultdict[int, dict[Made, int]] = defaultdict(dict)
        if self._exact:
            return tasks, known, set()
        scope, values = db.among("a.idx", indices)
        for index, number, *made in db.fetch(f"{_MADE} and {scope}", (map, *values)):
            known[index][_named(made, self._own, self._here.name, index, number)] = number
        scope, values = db.among("idx", indices)
        taken = db.fetch(f"select idx from reused where map_id=? and {scope}", (map, *values))
        return tasks, known, {row[0] for row in taken}

    def _names(self, first: int, last: int) -> dict[tuple[int, int], Made]:
        """Give what the attempts of some tasks there are in the world."""
        return {
            (index, number): _named(made, self._uuid, self._record.name, index, number)
            for index, number, *made in self._source.fetch(
                f"{_MADE} and a.idx>=? and a.idx<=?", (self._record.id, first, last)
            )
        }

    def _origins(self, first: int, last: int) -> dict[int, Row]:
        """Give which attempts made the reused results of some tasks there."""
        return {
            index: (registry, map, origin, number)
            for index, registry, map, origin, number in self._source.fetch(
                "select r.idx, o.registry, o.map, r.origin_idx, r.origin_number from reused r join origin o"
                " on o.id=r.origin_id where r.map_id=? and r.idx>=? and r.idx<=?",
                (self._record.id, first, last),
            )
        }

    def _ended(self, first: int, last: int) -> dict[int, list[Ended]]:
        """Give the attempts of some tasks there by number, in the ids of this registry."""
        values = (self._record.id, first, last)
        made: defaultdict[tuple[int, int], list[Artifact]] = defaultdict(list)
        for index, number, *artifact in self._source.fetch(
            f"select idx, number, {rows.ARTIFACT} from artifact where map_id=? and idx>=? and idx<=?", values
        ):
            made[index, number].append(rows.artifact(tuple(artifact)))
        found: dict[int, list[Ended]] = {}
        for row in self._source.fetch(
            f"select {rows.ATTEMPT} from attempt where map_id=? and idx>=? and idx<=? order by idx, number", values
        ):
            one = rows.attempt_record(row)
            found.setdefault(one.index, []).append(
                Ended(
                    map=self._here.map, index=one.index, number=one.number,
                    context=self._ids.of("context", one.context), outcome=one.outcome, state=State.PENDING,
                    started=one.started, wall=one.wall, cpu=one.cpu, max_rss=one.max_rss, rss_shared=one.rss_shared,
                    detail=one.detail, error=one.error, result=one.result, result_digest=one.result_digest, log=one.log,
                    trail=trail(one.trail, self._placed), artifacts=tuple(made.get((one.index, one.number), ())),
                )
            )
        return found

    def _now(self, tasks: Sequence[Task]) -> dict[int, str | None]:
        """Give what tasks without a result would read here."""
        if self._exact or not self._reads:
            return {}
        open = [task for task in tasks if task.state is not State.SUCCEEDED]
        flows = reading.flowing(self._db, self._here.map, [(task.index, task.upstream) for task in open])
        return {task.index: trail for task, (_, trail) in zip(open, flows, strict=True)}

    def _write(self, found: _Found) -> None:
        db, map = self._db, self._here.map
        recording.write(db, found.ended)
        if found.names:
            db.insert(
                "brought", ("map_id", "idx", "number", "origin_id", "origin_idx", "origin_number"),
                [
                    (map, index, number, self._ids.origin(registry, name), there, called)
                    for index, number, registry, name, there, called in found.names
                ],
            )
        if found.origins:
            db.insert(
                "reused", ("map_id", "idx", "origin_id", "origin_idx", "origin_number"),
                [
                    (map, index, self._ids.origin(registry, name), there, called)
                    for index, registry, name, there, called in found.origins
                ],
            )
        tallies.add(db, [one for one in found.ended if one.number != REUSED])
        self._count_reused([one for one in found.ended if one.number == REUSED])
        db.run_many(
            "update task set state=?, attempts=?, accepted=?, fails=?, limits=? where map_id=? and idx=?",
            [
                (int(task.state), task.attempts, task.accepted, task.fails, task.limits, map, task.index)
                for before, task in found.tasks if task != before
            ],
        )
        if not self._exact:  # whoever shows the map counts them, and nothing builds on it yet
            self._move(found.tasks)

    def _count_reused(self, reused: Sequence[Ended]) -> None:
        sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for one in reused:
            held = one.state is State.SUCCEEDED
            sums[one.context][0] += held
            sums[one.context][1] += held and one.result_digest is None
            sums[one.context][2] += not held
        for context, (kept, noresult, given_up) in sorted(sums.items()):
            if kept:
                tallies.add_reused(self._db, self._here.map, context, Outcome.SUCCEEDED, kept, noresult)
            if given_up:
                tallies.add_given_up(self._db, self._here.map, context, Outcome.SUCCEEDED, given_up)

    def _move(self, tasks: Sequence[tuple[Task, Task]]) -> None:
        """Count the tasks in their new states, and judge what waits for them."""
        shifts = Shifts()
        moves = Moves()
        for before, after in sorted(tasks, key=lambda moved: moved[0].index):
            if before.state is after.state:
                continue
            counting.move(shifts, self._here.map, before.state, after.state)
            if after.state is State.SUCCEEDED:
                moves.succeeded.append(after.index)
            if after.state in ENDED and before.state not in ENDED:
                moves.ended.append(after.index)
        counting.apply(self._db, shifts)
        readiness.moved(self._db, self._here.map, moves)


class _Found:
    """What was decided for some tasks."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self.names: list[tuple[int, int, str, str, int, int]] = []
        self.origins: list[tuple[int, str, str, int, int]] = []
        self.tasks: list[tuple[Task, Task]] = []


def _task(row: Row) -> Task:
    index, state, attempts, accepted, *rest = row
    return Task(index, State(state), attempts, accepted, *rest)


def _named(made: Sequence[object], registry: str, map: str, index: int, number: int) -> Made:
    """Give what an attempt is in the world: what it was called before, or what it is called where it is."""
    job, *origin = made
    return (job, *(origin if origin[0] is not None else (registry, map, index, number)))
