"""Sending back to waiting what has read something that has grown, and what has read that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provrun.core.states import State
from provrun.store import counting, flow, readiness, tallies
from provrun.store.counting import Shifts
from provrun.store.database import Database
from provrun.store.flow import Edge
from provrun.store.readiness import ALL, PAGE, Moves, Scope


def reopen(db: Database, map: int, indices: Sequence[int] | None) -> None:
    """Reopen tasks of a map (None: all) whose upstream is incomplete now; results are superseded and kept."""
    for page in _ended(db, map, indices):
        _send_back(db, map, page)
        ended = [index for index, _ in page]
        succeeded = [index for index, state in page if state == State.SUCCEEDED]
        readiness.moved(db, map, Moves(withdrawn=succeeded, resumed=ended))
        for edge in flow.downstream(db, map):
            if edge.reads:
                reopen(db, edge.map, _readers(db, edge, ended))
    scope: Scope = ALL if indices is None else db.among("idx", indices)
    readiness.block(db, map, scope)
    readiness.mark(db, map, scope)


def _ended(db: Database, map: int, indices: Sequence[int] | None) -> Iterator[list[tuple[int, int]]]:
    if not sum(counting.of(db, map)[State.SUCCEEDED :]):
        return
    start = 0
    if indices is None:
        while page := db.fetch(
            "select idx, state from task where map_id=? and idx>=? and idx<(select size from map where id=?)"
            f" and state>=3 order by idx limit {PAGE}",
            (map, start, map),
        ):
            yield [(row[0], row[1]) for row in page]
            start = page[-1][0] + 1
        return
    for start in range(0, len(indices), PAGE):
        scope, values = db.among("idx", indices[start : start + PAGE])
        page = db.fetch(
            f"select idx, state from task where map_id=? and {scope} and state>=3 order by idx", (map, *values)
        )
        if page:
            yield [(row[0], row[1]) for row in page]


def _send_back(db: Database, map: int, page: list[tuple[int, int]]) -> None:
    indices = [index for index, _ in page]
    scope, values = db.among("t.idx", indices)
    tallies.withdraw(db, f"t.map_id=? and {scope}", (map, *values))
    scope, values = db.among("idx", indices)
    db.run(f"update task set state=0, accepted=0, fails=0 where map_id=? and {scope}", (map, *values))
    shifts = Shifts()
    for _, state in page:
        counting.move(shifts, map, state, State.WAITING)
    counting.apply(db, shifts)


def _readers(db: Database, edge: Edge, indices: Sequence[int]) -> list[int] | None:
    """Give the tasks that read some upstream tasks; None for all of them."""
    if edge.kind == "each":
        return reading(db, edge, indices)
    if edge.drives:
        return reading(db, edge, sorted(set(flow.part_numbers(db, edge, indices))))
    return None


def reading(db: Database, edge: Edge, numbers: Sequence[int]) -> list[int]:
    """Give the tasks that stem from upstream tasks, groups or chunks of these numbers."""
    scope, values = db.among("upstream", numbers)
    found = db.fetch(
        f"select idx from task where map_id=? and {scope} and +idx<? order by idx", (edge.map, *values, edge.size)
    )
    return [row[0] for row in found]
