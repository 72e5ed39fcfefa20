"""What a person may change later. Each change is one transaction, whatever the number of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from provrun.core.canonical import encode
from provrun.core.records import Limits, Policy, Recipe
from provrun.core.states import ENDED, State
from provrun.errors import NotFound, Refused
from provrun.store import counting, flow, interning, lookups, readiness, rows, staging, tallies
from provrun.store.counting import Shifts
from provrun.store.database import Database, Row
from provrun.store.readiness import PAGE, Moves

Page = list[tuple[int, State]]
"""Tasks of one map by index, with the states they are in."""


def retry(
    db: Database, map: int, tasks: Iterable[int] | None, *, time: float | None, memory: float | None
) -> int:
    """Make failed and cancelled tasks pending again, with all their retries; multiply their limits."""

    def change(page: Page) -> None:
        _set(db, map, page, f"state={int(State.PENDING)}, fails=0")
        if time is not None or memory is not None:
            _stretch(db, map, page, time, memory)

    return _change(db, map, tasks, (State.FAILED, State.CANCELLED), State.PENDING, change)


def rerun(db: Database, map: int, tasks: Iterable[int] | None) -> int:
    """Make succeeded tasks pending again; their results are superseded and kept.

    What read these results stays as it is (and is stale); what was about to read them waits.
    """

    def change(page: Page) -> None:
        scope, values = db.among("t.idx", [index for index, _ in page])
        tallies.withdraw(db, f"t.map_id=? and {scope}", (map, *values))
        _set(db, map, page, f"state={int(State.PENDING)}, accepted=0, fails=0")

    return _change(db, map, tasks, (State.SUCCEEDED,), State.PENDING, change)


def cancel(db: Database, map: int, tasks: Iterable[int] | None) -> int:
    """Cancel tasks that have not ended; failed ones too where they are named. Running ones are taken from their job."""
    fitting = (State.WAITING, State.PENDING, State.RUNNING)

    def change(page: Page) -> None:
        _set(db, map, page, f"state={int(State.CANCELLED)}, accepted=0, job_id=null")

    return _change(
        db, map, tasks, fitting if tasks is None else (*fitting, State.FAILED), State.CANCELLED, change
    )


def set_priority(db: Database, map: int, tasks: Iterable[int] | None, priority: int) -> int:
    """Give tasks that have not succeeded another priority; None: all of them, and those to come."""
    changed = 0
    with db.writing():
        if tasks is None:
            db.run("update map set priority=? where id=?", (priority, map))
        for page in _pages(db, map, tasks, tuple(state for state in State if state is not State.SUCCEEDED)):
            scope, values = db.among("idx", [index for index, _ in page])
            changed += db.run(
                f"update task set priority=? where map_id=? and priority<>? and {scope}",
                (priority, map, priority, *values),
            )
    return changed


def pause(db: Database, map: int, paused: bool) -> None:
    """Let no task of a map be claimed, or let them again."""
    with db.writing():
        db.run("update map set state=? where id=? and state>0", (rows.PAUSED if paused else rows.ACTIVE, map))


def set_policy(db: Database, map: int, policy: Policy) -> None:
    """Change how the tasks of a map are run from now on."""
    with db.writing():
        db.run("update map set policy=? where id=?", (rows.text(policy), map))


def set_recipe(db: Database, map: int, recipe: Recipe, own: Sequence[str]) -> None:
    """Decide what a map applies, as long as none of its tasks has begun; refuse another recipe later."""
    with db.writing():
        name, _ = _named(db, map)
        kept = interning.recipe(db, recipe)
        same = db.fetch("select 1 from map where id=? and recipe_id=?", (map, kept))
        if not same and db.fetch("select 1 from task where map_id=? and (attempts>0 or accepted<>0) limit 1", (map,)):
            raise Refused(
                f"tasks of {name} have begun under another recipe", value=name, next="add the tasks to a new map"
            )
        db.run("update map set recipe_id=?, own=? where id=?", (kept, rows.text(tuple(own)), map))


def set_tags(db: Database, map: int, tags: Mapping[str, str]) -> None:
    """Replace the tags of a map."""
    with db.writing():
        db.run("update map set tags=? where id=?", (encode(dict(tags)), map))


def delete(db: Database, map: int) -> int:
    """Delete a map with its tasks, attempts and artifacts; refuse while other maps build on it or a job runs it."""
    with db.submitting():
        with db.writing():
            name, size = _named(db, map)
            below = sorted({edge.map for edge in flow.downstream(db, map)} - {map})
            if below:
                listed = ", ".join(_named(db, one)[0] for one in below)
                raise Refused(f"{listed} builds on {name}", value=name, next=f"provrun delete {listed} first")
            if counting.of(db, map)[State.RUNNING]:
                raise Refused(f"tasks of {name} are running", value=name, next=f"provrun cancel {name}")
            db.run("update map set state=0, size=0, parts=0, points=0 where id=?", (map,))
        staging.sweep(db)
    return size


def _named(db: Database, map: int) -> tuple[str, int]:
    found = db.one("select name, size from map where id=? and state>0", (map,))
    if found is None:
        raise NotFound(f"no map with the id {map}", value=map)
    return found[0], found[1]


def _change(
    db: Database, map: int, tasks: Iterable[int] | None, states: Sequence[State], after: State,
    change: Callable[[Page], None],
) -> int:
    """Move tasks in some states to another one, page by page, and what waits for them along; give their number."""
    changed = 0
    db.claimed.clear()
    with db.writing():
        for page in _pages(db, map, tasks, states):
            change(page)
            shifts = Shifts()
            moves = Moves()
            for index, before in page:
                counting.move(shifts, map, before, after)
                if before is State.SUCCEEDED:
                    moves.withdrawn.append(index)
                if before in ENDED and after not in ENDED:
                    moves.resumed.append(index)
                if before not in ENDED and after in ENDED:
                    moves.ended.append(index)
            counting.apply(db, shifts)
            if after is State.PENDING:
                readiness.block(db, map, db.among("idx", [index for index, _ in page]))
            readiness.moved(db, map, moves)
            changed += len(page)
    return changed


def _pages(db: Database, map: int, tasks: Iterable[int] | None, states: Sequence[State]) -> Iterator[Page]:
    """Give the visible tasks that are in some states; what one page is changed to is never met again."""
    size = lookups.size(db, map)
    if tasks is not None:
        named = sorted({index for index in tasks if 0 <= index < size})
        for start in range(0, len(named), PAGE):
            scope, values = db.among("idx", named[start : start + PAGE])
            found = db.fetch(f"select idx, state from task where map_id=? and {scope} order by idx", (map, *values))
            yield from _page(found, states)
        return
    counts = counting.of(db, map)
    for state in states:
        start = 0 if counts[state] else size
        while found := db.fetch(
            f"select idx, state from task where state={int(state)} and map_id=? and idx>=? and idx<?"
            f" order by idx limit {PAGE}",
            (map, start, size),
        ):
            yield from _page(found, states)
            start = found[-1][0] + 1


def _page(found: list[Row], states: Sequence[State]) -> Iterator[Page]:
    page = [(index, State(state)) for index, state in found if state in states]
    if page:
        yield page


def _set(db: Database, map: int, page: Page, columns: str) -> None:
    scope, values = db.among("idx", [index for index, _ in page])
    db.run(f"update task set {columns} where map_id=? and {scope}", (map, *values))


def _stretch(db: Database, map: int, page: Page, time: float | None, memory: float | None) -> None:
    """Multiply the limits of tasks, or those of their map where they have none."""
    policy = lookups.map_by_id(db, map).policy
    scope, values = db.among("idx", [index for index, _ in page])
    found = db.fetch(f"select idx, limits from task where map_id=? and {scope}", (map, *values))
    stretched = []
    for index, text in found:
        own = rows.limits(text) or Limits()
        seconds = own.time if own.time is not None else policy.task_time
        size = own.memory if own.memory is not None else policy.task_memory
        limits = Limits(
            None if seconds is None else seconds * (time or 1),
            None if size is None else int(size * (memory or 1)),
        )
        stretched.append((rows.text(limits), map, index))
    db.run_many("update task set limits=? where map_id=? and idx=?", stretched)
