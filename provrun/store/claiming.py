"""Taking pending tasks for a job: larger priority first, then earlier map, then smaller index."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from provrun.core.records import Claimed
from provrun.core.states import State
from provrun.errors import JobOver
from provrun.store import counting, readiness, reading, rows
from provrun.store.counting import Shifts
from provrun.store.database import Database, Row


class Run(NamedTuple):
    """The visible tasks of one map that have one priority."""

    map: int
    priority: int
    size: int


def claim(db: Database, job: int, maps: Sequence[int], limit: int) -> list[Claimed]:
    """Take up to ``limit`` pending tasks of these maps; `JobOver` if the job has been closed, by whomever."""
    with db.writing(claiming=True):
        state = db.one("select state from job where id=?", (job,))
        if state is None or state[0] != "running":
            raise JobOver(f"job {job} is over: {state[0] if state else 'there is none'}", value=job)
        taken = _take(db, job, maps, limit)
        shifts = Shifts()
        for map, found in taken:
            counting.move(shifts, map, State.PENDING, State.RUNNING, len(found))
        counting.apply(db, shifts)
    # Read after the commit, to keep nobody waiting: whoever takes a result back now marks these running tasks.
    claimed = []
    for map, found in taken:
        flowing = reading.flowing(db, map, [(row[0], row[4]) for row in found])
        claimed += [
            Claimed(map, row[0], row[1], row[2], row[3], row[4], rows.limits(row[5]), *flows)
            for row, flows in zip(found, flowing, strict=False)
        ]
    return claimed


def _take(db: Database, job: int, maps: Sequence[int], limit: int) -> list[tuple[int, list[Row]]]:
    """Take tasks, map by map and priority by priority; rows hold the number of the attempt that begins."""
    sizes: dict[int, int] = dict(db.fetch("select id, size from map where state=1"))
    # The best (priority, map) that is left comes first; each map is there once, with its next priority.
    queue = []
    for place, map in enumerate(maps):
        priority = _next_priority(db, map, None) if map in sizes else None
        if priority is not None:
            queue.append((-priority, place, map))
    heapify(queue)
    taken: list[tuple[int, list[Row]]] = []
    while queue and limit > 0:
        negative, place, map = heappop(queue)
        found = _take_run(db, job, Run(map, -negative, sizes[map]), limit)
        if found:
            taken.append((map, found))
            limit -= len(found)
        if limit > 0:
            priority = _next_priority(db, map, -negative)
            if priority is not None:
                heappush(queue, (-priority, place, map))
    return taken


def _next_priority(db: Database, map: int, below: int | None) -> int | None:
    condition, values = ("", (map,)) if below is None else ("and priority<?", (map, below))
    found = db.fetch(
        f"select priority from task where state=1 and map_id=? {condition} order by priority desc limit 1", values
    )
    return int(found[0][0]) if found else None


def _take_run(db: Database, job: int, run: Run, limit: int) -> list[Row]:
    """Take tasks of one map and priority, in the order of their indices."""
    if db.dialect == "sqlite":
        return _take_sqlite(db, job, run, limit)
    # The index holds on to the rows claimed before, so go on behind them. What was given back there is found by another
    # pass from the start.
    first = db.claimed.pop((run.map, run.priority), 0)
    found = _take_postgres(db, job, run, first, limit)
    if first and len(found) < limit:
        found += _take_postgres(db, job, run, 0, limit - len(found))
    elif len(found) == limit:
        db.claimed[run.map, run.priority] = found[-1][0] + 1
    return sorted(found)


def _take_sqlite(db: Database, job: int, run: Run, limit: int) -> list[Row]:
    # Left to itself SQLite reads along the primary key, past all tasks that have been run.
    found = db.fetch(
        "select idx, attempts+1, params, fails, upstream, limits from task indexed by ix_task_pending"
        " where state=1 and map_id=? and priority=? and idx<? order by idx limit ?",
        (*run, limit),
    )
    if found:
        # What was found is all that is pending between the first and the last: one range, not a list.
        db.run(
            "update task indexed by ix_task_pending set state=2, job_id=?, attempts=attempts+1"
            " where state=1 and map_id=? and priority=? and idx>=? and idx<=?",
            (job, run.map, run.priority, found[0][0], found[-1][0]),
        )
    return found


def _take_postgres(db: Database, job: int, run: Run, first: int, limit: int) -> list[Row]:
    return sorted(
        db.fetch(
            "with taken as materialized (select map_id, idx from task where state=1 and map_id=? and priority=?"
            " and idx<? and idx>=? order by idx limit ? for update skip locked) update task t set state=2, job_id=?,"
            " attempts=attempts+1 from taken where t.map_id=taken.map_id and t.idx=taken.idx"
            " returning t.idx, t.attempts, t.params, t.fails, t.upstream, t.limits",
            (*run, first, limit, job),
        )
    )


def release(db: Database, job: int, tasks: Sequence[tuple[int, int, int]]) -> None:
    """Give back claimed tasks that never started; their attempt numbers are not used up."""
    db.claimed.clear()
    with db.writing():
        shifts = Shifts()
        for map, index, number in sorted(tasks):
            given = db.run(
                "update task set state=1, job_id=null, attempts=attempts-1, accepted=0"
                " where map_id=? and idx=? and state=2 and job_id=? and attempts=?",
                (map, index, job, number),
            )
            counting.move(shifts, map, State.RUNNING, State.PENDING, given)
        counting.apply(db, shifts)
        for map, some in groupby(sorted(tasks), itemgetter(0)):
            # What they wait for may have been taken back since they were claimed.
            readiness.block(db, map, db.among("idx", [index for _, index, _ in some]))
