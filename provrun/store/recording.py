"""Recording ended attempts: written once, and their tasks moved on in the same transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from provrun.core.records import Ended
from provrun.core.states import Outcome, State
from provrun.store import counting, readiness, rows, tallies
from provrun.store.counting import Shifts
from provrun.store.database import Database
from provrun.store.readiness import Moves

ATTEMPT_COLUMNS = tuple(rows.ATTEMPT.split(", "))
ARTIFACT_COLUMNS = ("map_id", "idx", "number", "role", "name", "digest", "size", "path", "place")


def record(db: Database, job: int, ended: Sequence[Ended]) -> int:
    """Record ended attempts, move their tasks on, and make ready what waited for them.

    Returns how many tasks became pending by it.
    """
    ended = sorted(ended, key=attrgetter("map", "index", "number"))
    with db.writing():
        counted, outdated, late = _judge(db, job, ended)
        write(db, (*counted, *outdated))
        late = [one for one in late if _keep_late(db, one)]
        states = Counter(map(attrgetter("map", "state"), counted))
        states.update((one.map, State.WAITING) for one in outdated)
        shifts = Shifts()
        for (map_id, state), n in states.items():
            counting.move(shifts, map_id, State.RUNNING, state, n)
        counting.apply(db, shifts)
        tallies.add(db, counted, (*outdated, *late))
        pending = sum(n for (_, state), n in states.items() if state is State.PENDING)
        if pending:
            db.claimed.clear()
        return pending + _move_on(db, counted, outdated)


def _judge(db: Database, job: int, ended: list[Ended]) -> tuple[list[Ended], list[Ended], list[Ended]]:
    """Move the tasks on whose attempts count.

    Gives these, those whose task waits anew because what it read has changed, and those whose task was not held.
    """
    db.run("savepoint moving")
    if _move(db, job, ended) == len(ended):
        db.run("release savepoint moving")
        return ended, [], []
    # Rare: somebody took tasks away meanwhile. Look at each one.
    db.run("rollback to savepoint moving")
    judged: tuple[list[Ended], list[Ended], list[Ended]] = ([], [], [])
    for one in ended:
        found = db.one(
            "select accepted from task where map_id=? and idx=? and state=2 and job_id=? and attempts=?",
            (one.map, one.index, job, one.number),
        )
        judged[2 if found is None else 1 if found[0] else 0].append(one)
    _move(db, job, judged[0])
    db.run_many(
        "update task set state=0, accepted=0, job_id=null where map_id=? and idx=?",
        [(one.map, one.index) for one in judged[1]],
    )
    return judged


def _move(db: Database, job: int, ended: Iterable[Ended]) -> int:
    return db.run_many(
        "update task set state=?, accepted=?, fails=?, limits=?, job_id=null"
        " where map_id=? and idx>=? and idx<=? and state=2 and job_id=? and attempts=? and accepted=0",
        [
            (
                int(one.state), one.number if one.state is State.SUCCEEDED else 0, one.fails,
                None if one.limits is None else rows.text(one.limits), one.map, one.index, last, job, one.number,
            )
            for one, last in _runs(ended)
        ],
    )


def _runs(ended: Iterable[Ended]) -> Iterator[tuple[Ended, int]]:
    """Give each first of tasks without a gap that went the same way, with the last index: one statement moves them."""
    first: Ended | None = None
    way: tuple[object, ...] = ()
    last = 0
    for one in ended:
        its = (one.map, one.number, one.state, one.fails, one.limits)
        if first is not None and one.index == last + 1 and its == way:
            last += 1
            continue
        if first is not None:
            yield first, last
        first, way, last = one, its, one.index
    if first is not None:
        yield first, last


def _move_on(db: Database, counted: list[Ended], outdated: list[Ended]) -> int:
    """Judge what waited for these tasks, and the tasks that are to run again; give how many became pending."""
    promoted = 0
    for map_id, some in groupby(counted, attrgetter("map")):
        moves = Moves()
        again = []
        for one in some:
            if one.state is State.SUCCEEDED:
                moves.succeeded.append(one.index)
            if one.state >= State.SUCCEEDED:
                moves.ended.append(one.index)
            else:
                again.append(one.index)
        promoted += readiness.moved(db, map_id, moves)
        if again:
            # What they wait for may have been taken back while they ran.
            promoted -= readiness.block(db, map_id, db.among("idx", again))
    for map_id, some in groupby(outdated, attrgetter("map")):
        promoted += readiness.promote(db, map_id, db.among("idx", [one.index for one in some]))
    return promoted


def _keep_late(db: Database, one: Ended) -> bool:
    """Keep an attempt that nobody waits for any more: visible, and superseded. Tell whether it was new.

    One that was held for lost is known now. A number that another job is using stays free for it.
    """
    in_use = db.one(
        "select 1 from task where map_id=? and idx=? and (attempts<? or attempts=? and state=2)",
        (one.map, one.index, one.number, one.number),
    )
    if in_use:
        return False
    tallies.forget(db, one.map, one.index, one.number, Outcome.LOST)
    db.run(
        f"delete from attempt where map_id=? and idx=? and number=? and outcome={int(Outcome.LOST)}",
        (one.map, one.index, one.number),
    )
    kept = db.run(
        f"insert into attempt({','.join(ATTEMPT_COLUMNS)}) values({','.join('?' * len(ATTEMPT_COLUMNS))})"
        " on conflict(map_id, idx, number) do nothing",
        _attempt(one),
    )
    if kept:
        db.insert("artifact", ARTIFACT_COLUMNS, _artifacts([one]))
    return bool(kept)


def write(db: Database, ended: Sequence[Ended]) -> None:
    """Write attempts with their artifacts, whatever becomes of their tasks."""
    # Without the columns that are NULL in all of them: binding a value costs what storing it does.
    values = list(zip(*map(_attempt, ended), strict=True))
    used = [n for n, column in enumerate(values) if column.count(None) < len(column)]
    if used:
        db.insert("attempt", [ATTEMPT_COLUMNS[n] for n in used], zip(*[values[n] for n in used], strict=True))
    db.insert("artifact", ARTIFACT_COLUMNS, _artifacts(ended))


def _attempt(one: Ended) -> tuple[object, ...]:
    return (
        one.map, one.index, one.number, one.context, int(one.outcome), one.started, one.wall, one.cpu, one.max_rss,
        int(one.rss_shared), one.detail, one.error, one.result, one.result_digest, one.log, one.trail,
    )


def _artifacts(ended: Iterable[Ended]) -> list[tuple[object, ...]]:
    return [
        (one.map, one.index, one.number, made.role, made.name, made.digest, made.size, made.path, made.place)
        for one in ended
        for made in one.artifacts
    ]
