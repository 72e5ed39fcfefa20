"""Which tasks may run: in bulk, in the transaction that moves the tasks they wait for.

A task is ready when everything it waits for is as its dependencies want it; a waiting task that is ready is pending.
A running one whose upstream is taken back is marked, so that its result does not count. Ended ones stay as they are:
they are reopened only when what they read has grown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import msgspec

from provrun.core.states import State
from provrun.store import counting, flow
from provrun.store.counting import Shifts
from provrun.store.database import Database
from provrun.store.flow import Edge

Scope = tuple[str, tuple[object, ...]]
"""A condition on tasks of a map, and its values."""

ALL: Scope = ("1=1", ())
PAGE = 20_000


class Moves(msgspec.Struct):
    """Tasks of one map that changed in a way others wait for, by ascending index."""

    succeeded: list[int] = []
    withdrawn: list[int] = []
    """Succeeded before and not any more."""
    ended: list[int] = []
    """Succeeded, failed or cancelled, and not before."""
    resumed: list[int] = []
    """Ended before and not any more."""


def moved(db: Database, map: int, moves: Moves) -> int:
    """Make ready what waited for these moves and block what they take something from; give how many became pending.

    The counters of the map itself have been changed already.
    """
    promoted = 0
    for edge in flow.downstream(db, map):
        if edge.kind == "each":
            promoted += _promote_among(db, edge, moves.succeeded)
            if moves.withdrawn:
                _take_back(db, edge, db.among("upstream", moves.withdrawn))
        elif edge.drives:
            promoted += _move_parts(db, edge, moves)
        elif edge.gate:
            promoted += _move_gate(db, edge, moves)
        else:
            promoted += _move_ranges(db, edge, moves)
    return promoted


def _promote_among(db: Database, edge: Edge, indices: Sequence[int]) -> int:
    return promote(db, edge.map, db.among("upstream", indices)) if indices else 0


def _gains(edge: Edge, moves: Moves) -> tuple[list[int], list[int]]:
    """Give the upstream tasks that now are as the dependency wants them, and those that are so no longer."""
    whole = len(edge.satisfied) > 1
    return (moves.ended, moves.resumed) if whole else (moves.succeeded, moves.withdrawn)


def _move_parts(db: Database, edge: Edge, moves: Moves) -> int:
    gained, lost = _gains(edge, moves)
    missing = Counter(flow.part_numbers(db, edge, lost)) if lost else Counter()
    missing.subtract(flow.part_numbers(db, edge, gained) if gained else ())
    numbers = sorted(number for number, n in missing.items() if n)
    db.run_many(
        "update part set missing=missing+? where map_id=? and number=?",
        [(missing[number], edge.map, number) for number in numbers],
    )
    if lost:
        _take_back(db, edge, db.among("upstream", sorted(set(flow.part_numbers(db, edge, lost)))))
    fewer = [number for number in numbers if missing[number] < 0]
    scope, values = db.among("number", fewer)
    complete = db.fetch(
        f"select number from part where map_id=? and missing=0 and {scope} order by number", (edge.map, *values)
    )
    return _promote_among(db, edge, [row[0] for row in complete])


def _move_gate(db: Database, edge: Edge, moves: Moves) -> int:
    gained, lost = _gains(edge, moves)
    if lost:
        _take_back(db, edge, ALL)
    if gained and flow.is_open(db, edge):
        return promote(db, edge.map, ALL)
    return 0


def _move_ranges(db: Database, edge: Edge, moves: Moves) -> int:
    missing = 0
    for first, last in edge.upstream_ranges():
        missing += _within(moves.resumed, first, last) - _within(moves.ended, first, last)
    if not missing:
        return 0
    db.run("update dependency set missing=missing+? where id=?", (missing, edge.id))
    scope: Scope = ("idx>=? and idx<?", (edge.first, edge.last))
    if missing > 0:
        block(db, edge.map, scope)
        return 0
    return promote(db, edge.map, scope)


def _within(indices: Sequence[int], first: int, last: int) -> int:
    return bisect_left(indices, last) - bisect_left(indices, first)


def _take_back(db: Database, edge: Edge, scope: Scope) -> None:
    """Block the tasks in scope that have not begun, and mark those that are running and read what changed."""
    block(db, edge.map, scope)
    if edge.reads:
        mark(db, edge.map, scope)


def promote(db: Database, map: int, scope: Scope) -> int:
    """Make pending what waits, lies in scope and is ready."""
    ready, values = condition(db, map)
    return _turn(db, map, (State.WAITING, State.PENDING), (f"{scope[0]} and {ready}", (*scope[1], *values)))


def block(db: Database, map: int, scope: Scope) -> int:
    """Make waiting what is pending, lies in scope and is not ready."""
    ready, values = condition(db, map)
    return _turn(db, map, (State.PENDING, State.WAITING), (f"{scope[0]} and not ({ready})", (*scope[1], *values)))


def mark(db: Database, map: int, scope: Scope) -> None:
    """Mark running tasks in scope: what they read has changed, their result will not count."""
    db.run(
        "update task set accepted=-1 where state=2 and job_id in (select id from job where state='running')"
        f" and map_id=? and +idx<(select size from map where id=?) and {scope[0]}",
        (map, map, *scope[1]),
    )


def _turn(db: Database, map: int, states: tuple[State, State], scope: Scope) -> int:
    before, after = states
    # The number of the state stands in the text: a partial index is used only for a constant. The plus keeps the
    # primary key from being used for what is true of nearly every task.
    n = db.run(
        f"update task set state={int(after)} where state={int(before)} and map_id=?"
        f" and +idx<(select size from map where id=?) and {scope[0]}",
        (map, map, *scope[1]),
    )
    if n:
        db.claimed.clear()
        shifts = Shifts()
        counting.move(shifts, map, before, after, n)
        counting.apply(db, shifts)
    return n


def condition(db: Database, map: int) -> Scope:
    """Give the condition under which a task of the map is ready."""
    terms: list[str] = []
    values: list[object] = []
    ranged = False
    for edge in flow.upstream(db, map):
        if edge.kind == "each":
            terms.append("exists (select 1 from task u where u.map_id=? and u.idx=task.upstream and u.state=3)")
            values.append(edge.upstream)
        elif edge.drives:
            terms.append("exists (select 1 from part p where p.map_id=? and p.number=task.upstream and p.missing=0)")
            values.append(map)
        elif edge.gate and not flow.is_open(db, edge):
            return "1=0", ()
        ranged = ranged or edge.ranges is not None
    if ranged:
        terms.append(
            "not exists (select 1 from dependency d where d.map_id=? and d.missing>0"
            " and d.first<=task.idx and d.last>task.idx)"
        )
        values.append(map)
    return " and ".join(terms) or "1=1", tuple(values)
