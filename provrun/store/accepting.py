"""Results of older code that somebody holds to be valid under the present one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from provrun.core.canonical import encode
from provrun.core.states import State
from provrun.store import lookups
from provrun.store.database import Database
from provrun.store.readiness import PAGE

Cover = tuple[str, str, str | None]
"""A file that is another one now: its kind, its path, its digest (None: it is gone)."""


def accept(
    db: Database, map: int, tasks: Iterable[int] | None, *, contexts: Sequence[int], covers: Sequence[Cover], code: int,
    user: str, reason: str, at: int,
) -> int:
    """Keep that the results of attempts in some contexts (of these tasks, or of all) hold; give their number."""
    with db.writing():
        if tasks is None:
            held = _counted(db, map, contexts)
            ranges: list[tuple[int, int]] = []
        else:
            chosen = list(_chosen(db, map, tasks, contexts))
            held = len(chosen)
            ranges = list(_ranges(chosen))
        if not held:
            return 0
        columns = {
            "map_id": map, "at": at, "user_name": user, "reason": reason, "code_id": code,
            "contexts": encode(sorted(contexts)), "covers": encode([list(one) for one in covers]),
            "whole": int(tasks is None), "tasks": held,
        }
        id = db.insert_one("acceptance", tuple(columns), tuple(columns.values()))
        db.insert(
            "acceptance_range", ("acceptance_id", "first", "last"), [(id, first, last) for first, last in ranges]
        )
    return held


def _counted(db: Database, map: int, contexts: Sequence[int]) -> int:
    scope, values = db.among("context_id", contexts)
    found = db.one(f"select sum(accepted) from tally where map_id=? and {scope}", (map, *values))
    return int(found[0]) if found is not None and found[0] is not None else 0


def _chosen(db: Database, map: int, tasks: Iterable[int], contexts: Sequence[int]) -> Iterator[int]:
    size = lookups.size(db, map)
    wanted = set(contexts)
    named = sorted({index for index in tasks if 0 <= index < size})
    for start in range(0, len(named), PAGE):
        scope, values = db.among("t.idx", named[start : start + PAGE])
        yield from (
            index for index, context in db.fetch(
                "select t.idx, a.context_id from task t join attempt a on a.map_id=t.map_id and a.idx=t.idx"
                f" and a.number=t.accepted where t.map_id=? and t.state={int(State.SUCCEEDED)} and {scope}"
                " order by t.idx",
                (map, *values),
            )
            if context in wanted
        )


def _ranges(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = -1
    for index in indices:
        if index != last:
            if last > first:
                yield first, last
            first = index
        last = index + 1
    if last > first:
        yield first, last
