"""The number of tasks in each state of each map, kept in the transaction that moves them, so that nobody counts."""

from __future__ import annotations

from collections import Counter

from provrun.core.states import State
from provrun.store.database import Database

Shifts = Counter[tuple[int, int]]
"""By how much the counters of (map, state) change."""


def move(shifts: Shifts, map: int, before: int, after: int, n: int = 1) -> None:
    """Note that ``n`` tasks of a map go from one state to another."""
    shifts[map, before] -= n
    shifts[map, after] += n


def apply(db: Database, shifts: Shifts) -> None:
    """Change the counters; always in the same order, so that writers side by side cannot block each other."""
    db.run_many(
        "insert into counter(map_id, state, n) values(?,?,?)"
        " on conflict(map_id, state) do update set n=counter.n+excluded.n",
        [(map, state, n) for (map, state), n in sorted(shifts.items()) if n],
    )


def of(db: Database, map: int) -> list[int]:
    """Give the counts of a map by the number of the state."""
    counts = [0] * len(State)
    for state, n in db.fetch("select state, n from counter where map_id=?", (map,)):
        counts[state] = n
    return counts
