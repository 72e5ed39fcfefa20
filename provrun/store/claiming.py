"""Taking pending tasks for a job: larger priority first, then in the order of maps asked for, then smaller index."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import groupby
from math import inf
from operator import itemgetter
from typing import NamedTuple

from provrun.core.records import Claimed
from provrun.core.states import Outcome, State
from provrun.errors import JobOver
from provrun.store import counting, readiness, reading, rows
from provrun.store.counting import Shifts
from provrun.store.database import Database, Row

LONGEST_FIRST = 10_000
"""Pending tasks of a map up to which those that took longest in an earlier attempt are taken first: before the end of
a job it does not matter, and it costs a look at all of them."""


class Run(NamedTuple):
    """The visible tasks of one map that have one priority, without those to be avoided."""

    map: int
    priority: int
    size: int
    avoid: Sequence[int] = ()

    @property
    def scope(self) -> tuple[str, tuple[int, ...]]:
        """Give the condition for its pending tasks, and the values."""
        condition = "state=1 and map_id=? and priority=? and idx<?"
        if self.avoid:
            condition += f" and idx not in ({','.join(map(str, self.avoid))})"
        return condition, (self.map, self.priority, self.size)


class Past(NamedTuple):
    """What earlier attempts of a task say of the next one; see `records.Claimed`."""

    took: float | None = None
    outlived: float | None = None
    losses: int = 0


def claim(
    db: Database, job: int, maps: Sequence[int], limit: int, above: int | None = None,
    avoid: Sequence[tuple[int, int]] = (),
) -> list[Claimed]:
    """Take up to ``limit`` pending tasks of these maps; `JobOver` if the job has been closed, by whomever.

    ``above``: only of larger priority. ``avoid`` are maps and indices of tasks that are left.
    """
    with db.writing(claiming=True):
        state = db.one("select state from job where id=?", (job,))
        if state is None or state[0] != "running":
            raise JobOver(f"job {job} is over: {state[0] if state else 'there is none'}", value=job)
        taken = _take(db, job, maps, limit, above, avoid)
        shifts = Shifts()
        for run, found in taken:
            counting.move(shifts, run.map, State.PENDING, State.RUNNING, len(found))
        counting.apply(db, shifts)
    # Read after the commit, to keep nobody waiting: whoever takes a result back now marks these running tasks.
    claimed: list[Claimed] = []
    for run, found in taken:
        past = _past(db, run.map, [row[0] for row in found if row[1] > 1])
        if past:
            found.sort(key=lambda row: _urgency(past.get(row[0], _NOTHING), row[0]))
        flowing = reading.flowing(db, run.map, [(row[0], row[4]) for row in found])
        for row, (reads, trail) in zip(found, flowing, strict=True):
            took, outlived, losses = past.get(row[0], _NOTHING)
            claimed.append(
                Claimed(
                    run.map, row[0], row[1], row[2], row[3], row[4], rows.limits(row[5]), reads, trail, run.priority,
                    took, outlived, losses,
                )
            )
    return claimed


def _take(
    db: Database, job: int, maps: Sequence[int], limit: int, above: int | None, avoid: Sequence[tuple[int, int]]
) -> list[tuple[Run, list[Row]]]:
    """Take tasks, map by map and priority by priority; rows hold the number of the attempt that begins."""
    sizes: dict[int, int] = dict(db.fetch("select id, size from map where state=1"))
    # The best (priority, map) that is left comes first; each map is there once, with its next priority.
    queue = []
    for place, map in enumerate(maps):
        priority = _next_priority(db, map, None) if map in sizes else None
        if priority is not None:
            queue.append((-priority, place, map))
    heapify(queue)
    taken: list[tuple[Run, list[Row]]] = []
    while queue and limit > 0:
        negative, place, map = heappop(queue)
        if above is not None and -negative <= above:
            break
        run = Run(map, -negative, sizes[map], sorted(index for other, index in avoid if other == map))
        found = _take_run(db, job, run, limit)
        if found:
            taken.append((run, found))
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
    """Take tasks of one map and priority: in the order of their indices, or those that took longest before first."""
    repeated = _repeated(db, run.map)
    if db.dialect == "sqlite":
        return _take_longest_sqlite(db, job, run, limit) if repeated else _take_sqlite(db, job, run, limit)
    if repeated:
        db.claimed.pop((run.map, run.priority), None)
        return _take_postgres(db, job, run, 0, limit, _LONGEST)
    # The index holds on to the rows claimed before, so go on behind them. What was given back there is found by another
    # pass from the start.
    first = db.claimed.pop((run.map, run.priority), 0)
    found = _take_postgres(db, job, run, first, limit)
    if first and len(found) < limit:
        found += _take_postgres(db, job, run, 0, limit - len(found))
    elif len(found) == limit:
        db.claimed[run.map, run.priority] = found[-1][0] + 1
    return sorted(found)


def _repeated(db: Database, map: int) -> bool:
    """Tell whether few enough tasks of a map are pending, some of which may have run before."""
    states: dict[int, int] = dict(db.fetch("select state, n from counter where map_id=?", (map,)))
    if states.get(State.PENDING, 0) > LONGEST_FIRST:
        return False
    ended = db.fetch("select sum(attempts+taken) from tally where map_id=?", (map,))[0][0] or 0
    return bool(ended > states.get(State.SUCCEEDED, 0) + states.get(State.FAILED, 0))


# Of which nothing is known may take longest.
_LONGEST = (
    " left join attempt a on a.map_id=task.map_id and a.idx=task.idx and a.number=task.attempts"
    f" and a.outcome in ({int(Outcome.SUCCEEDED)},{int(Outcome.CANCELLED)})",
    "case when a.wall is null then 0 else 1 end, a.wall desc, task.idx",
)


def _take_longest_sqlite(db: Database, job: int, run: Run, limit: int) -> list[Row]:
    join, order = _LONGEST
    condition, values = run.scope
    condition = condition.replace("map_id", "task.map_id").replace("idx", "task.idx")
    found = db.fetch(
        "select task.idx, attempts+1, params, fails, upstream, limits from task indexed by ix_task_pending"
        f"{join} where {condition} order by {order} limit ?",
        (*values, limit),
    )
    if found:
        scope, listed = db.among("idx", sorted(row[0] for row in found))
        db.run(
            f"update task set state=2, job_id=?, attempts=attempts+1 where map_id=? and {scope}",
            (job, run.map, *listed),
        )
    return found


def _take_sqlite(db: Database, job: int, run: Run, limit: int) -> list[Row]:
    # Left to itself SQLite reads along the primary key, past all tasks that have been run.
    condition, values = run.scope
    found = db.fetch(
        "select idx, attempts+1, params, fails, upstream, limits from task indexed by ix_task_pending"
        f" where {condition} order by idx limit ?",
        (*values, limit),
    )
    if found:
        # What was found is all that is pending between the first and the last: one range, not a list. One upper bound:
        # of two SQLite may search by the other one, and look at all that is pending behind.
        first, last = found[0][0], found[-1][0] + 1
        condition, values = run._replace(size=last).scope
        db.run(
            "update task indexed by ix_task_pending set state=2, job_id=?, attempts=attempts+1"
            f" where {condition} and idx>=?",
            (job, *values, first),
        )
    return found


def _take_postgres(
    db: Database, job: int, run: Run, first: int, limit: int, ordered: tuple[str, str] = ("", "task.idx")
) -> list[Row]:
    join, order = ordered
    condition, values = run.scope
    condition = condition.replace("map_id", "task.map_id").replace("idx", "task.idx")
    return sorted(
        db.fetch(
            f"with taken as materialized (select task.map_id, task.idx from task{join} where {condition}"
            f" and task.idx>=? order by {order} limit ? for update of task skip locked) update task t set state=2,"
            " job_id=?, attempts=attempts+1 from taken where t.map_id=taken.map_id and t.idx=taken.idx"
            " returning t.idx, t.attempts, t.params, t.fails, t.upstream, t.limits",
            (*values, first, limit, job),
        )
    )


_NOTHING = Past()


def _past(db: Database, map: int, indices: list[int]) -> dict[int, Past]:
    """Read what earlier attempts of tasks say."""
    if not indices:
        return {}
    scope, values = db.among("idx", sorted(indices))
    past: dict[int, Past] = {}
    for index, outcome, started, wall, detail in db.fetch(
        f"select idx, outcome, started, wall, detail from attempt where map_id=? and {scope} order by idx, number",
        (map, *values),
    ):
        before = past.get(index, _NOTHING)
        if outcome == Outcome.SUCCEEDED:
            past[index] = Past(None if wall is None else wall / 1e6)
        elif outcome == Outcome.CANCELLED and started is None and wall is not None:
            # Its job stopped it at the end of the allocation, and knows only how long ago it had handed it over.
            past[index] = before._replace(outlived=max(before.outlived or 0.0, wall / 1e6))
        elif outcome == Outcome.LOST and detail is not None:
            past[index] = before._replace(losses=before.losses + 1)
    return past


def _urgency(past: Past, index: int) -> tuple[float, int]:
    """Order tasks by what they are expected to take, longest first."""
    known = [seconds for seconds in (past.took, past.outlived) if seconds is not None]
    return -max(known, default=inf), index


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
            if not given:
                # Cancelled since: nobody holds it, but the number that was not used must leave no gap.
                db.run(
                    "update task set attempts=attempts-1 where map_id=? and idx=? and state<>2 and attempts=? and not"
                    " exists (select 1 from attempt a where a.map_id=task.map_id and a.idx=task.idx and a.number=?)",
                    (map, index, number, number),
                )
        counting.apply(db, shifts)
        for map, some in groupby(sorted(tasks), itemgetter(0)):
            # What they wait for may have been taken back since they were claimed.
            readiness.block(db, map, db.among("idx", [index for _, index, _ in some]))
