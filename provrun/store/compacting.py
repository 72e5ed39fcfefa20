"""Statements that say what packs hold for the registry, and that move or drop it there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from provrun.core.records import DROPPED
from provrun.core.states import Outcome
from provrun.errors import Refused
from provrun.store.database import Database

_OF_JOB = "a.context_id in (select id from context where job_id=?)"
_OUTPUTS = f"""
select a.map_id, a.idx, a.number, '', '', a.log, a.outcome, t.accepted, a.started from attempt a
  join task t on t.map_id=a.map_id and t.idx=a.idx where a.log is not null and {_OF_JOB}"""
_CONTENTS = f"""
select f.map_id, f.idx, f.number, f.role, f.name, f.place, a.outcome, t.accepted, a.started from artifact f
  join attempt a on a.map_id=f.map_id and a.idx=f.idx and a.number=f.number
  join task t on t.map_id=a.map_id and t.idx=a.idx where f.place is not null and {_OF_JOB}"""


class Held(NamedTuple):
    """A record in a pack and what it belongs to: captured output (``role`` is empty), or content of an attempt."""

    map: int
    task: int
    number: int
    role: str
    name: str
    place: str
    outcome: Outcome
    superseded: bool
    started: int | None


class Move(NamedTuple):
    """Where a record lies from now on; `DROPPED` if nowhere."""

    held: Held
    place: str


def held(db: Database, job: int) -> Iterator[Held]:
    """Give all that the packs of a job hold for the registry."""
    for sql in (_OUTPUTS, _CONTENTS):
        for map, index, number, role, name, place, outcome, accepted, started in db.fetch(sql, (job,)):
            if place != DROPPED:
                # Another result is accepted: one of this task, or one that it reuses.
                superseded = outcome == Outcome.SUCCEEDED and accepted not in (0, -1, number)
                yield Held(map, index, number, role, name, place, Outcome(outcome), superseded, started)


def require_rest(db: Database) -> None:
    """Raise `Refused` while a job runs or waits: what it uses must stay where it is."""
    found = db.one("select id, state from job where state in ('queued','running') order by id")
    if found is not None:
        raise Refused(
            f"job {found[0]} is {found[1]}", value=found[0],
            next="wait until it has ended, or provrun recover if it is gone",
        )


def move(db: Database, moves: Iterable[Move]) -> None:
    """Say where records lie from now on, unless a job has come meanwhile."""
    listed = list(moves)
    with db.writing():
        require_rest(db)
        db.run_many(
            "update attempt set log=? where map_id=? and idx=? and number=? and log=?",
            [(m.place, m.held.map, m.held.task, m.held.number, m.held.place) for m in listed if not m.held.role],
        )
        db.run_many(
            "update artifact set place=? where map_id=? and idx=? and number=? and role=? and name=? and place=?",
            [
                (m.place, m.held.map, m.held.task, m.held.number, m.held.role, m.held.name, m.held.place)
                for m in listed if m.held.role
            ],
        )


def jobs(db: Database) -> list[tuple[int, str]]:
    """Give number and uuid of all jobs."""
    return [(int(id), str(uuid)) for id, uuid in db.fetch("select id, uuid from job order by id")]
