"""The sums over ended attempts that every writing transaction keeps, so that `status` never scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from provrun.core.records import REUSED, Ended
from provrun.core.states import Outcome, State
from provrun.store.database import Database

_ADD = """
insert into tally(map_id, context_id, outcome, attempts, accepted, noresult, wall, first, last, taken, reused)
values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (map_id, context_id, outcome) do update set
  attempts = tally.attempts + excluded.attempts, accepted = tally.accepted + excluded.accepted,
  taken = tally.taken + excluded.taken, reused = tally.reused + excluded.reused,
  noresult = tally.noresult + excluded.noresult, wall = tally.wall + excluded.wall,
  first = case when excluded.first < tally.first or tally.first is null then excluded.first else tally.first end,
  last = case when excluded.last > tally.last or tally.last is null then excluded.last else tally.last end
"""

_WITHDRAW = """
update tally set accepted = accepted - ?, noresult = noresult - ?, reused = reused - ?
where map_id = ? and context_id = ? and outcome = ?
"""

_ACCEPTED = """
select t.map_id, a.context_id, count(*), sum(case when a.result_digest is null then 1 else 0 end),
  sum(case when t.accepted = {reused} then 1 else 0 end)
from task t join attempt a on a.map_id = t.map_id and a.idx = t.idx and a.number = t.accepted
where t.accepted not in (0, -1) and {where} group by t.map_id, a.context_id
"""


class _Sum:
    """The sums over attempts of one map, context and outcome."""

    __slots__ = ("accepted", "attempts", "first", "last", "noresult", "wall")

    def __init__(self) -> None:
        self.attempts = self.accepted = self.noresult = self.wall = 0
        self.first: int | None = None
        self.last: int | None = None

    def add(self, attempt: Ended, accepted: bool) -> None:
        self.attempts += 1
        if accepted:
            self.accepted += 1
            if attempt.result_digest is None:
                self.noresult += 1
        started = attempt.started
        if started:  # 0 where it is not known
            wall = attempt.wall or 0
            self.wall += wall
            if self.first is None or started < self.first:
                self.first = started
            if self.last is None or started + wall > self.last:
                self.last = started + wall

    def values(self) -> tuple[int | None, ...]:
        return self.attempts, self.accepted, self.noresult, self.wall, self.first, self.last, 0, 0


def add(database: Database, ended: Iterable[Ended], superseded: Iterable[Ended] = ()) -> None:
    """Add ended attempts, in their own transaction; ``superseded`` ones came too late to be a task's result."""
    sums: dict[tuple[int, int, Outcome], _Sum] = {}
    for held, attempts in ((True, ended), (False, superseded)):
        for attempt in attempts:
            key = (attempt.map, attempt.context, attempt.outcome)
            total = sums.get(key)
            if total is None:
                total = sums[key] = _Sum()
            total.add(attempt, held and attempt.state is State.SUCCEEDED)
    if sums:
        database.run_many(_ADD, [(*key, *total.values()) for key, total in sorted(sums.items(), key=lambda s: s[0])])


def add_unmeasured(database: Database, map: int, context: int, outcome: Outcome, n: int) -> None:
    """Add attempts of which nothing is known but how they ended."""
    database.run(_ADD, (map, context, int(outcome), n, 0, 0, 0, None, None, 0, 0))


def add_reused(database: Database, map: int, context: int, outcome: Outcome, n: int, noresult: int) -> None:
    """Add tasks whose results attempts of other maps made, ``noresult`` of them none; they took this map no time."""
    database.run(_ADD, (map, context, int(outcome), 0, n, noresult, 0, None, None, n, n))


def add_given_up(database: Database, map: int, context: int, outcome: Outcome, n: int) -> None:
    """Add results that attempts of other maps made and that are not their task's result any more."""
    database.run(_ADD, (map, context, int(outcome), 0, 0, 0, 0, None, None, n, 0))


def forget(database: Database, map: int, index: int, number: int, outcome: Outcome) -> None:
    """Take an attempt that was counted with this outcome out of the sums, before another record takes its place."""
    database.run(
        "update tally set attempts = attempts - 1 where map_id = ? and outcome = ? and context_id = ("
        "select context_id from attempt where map_id = ? and idx = ? and number = ? and outcome = ?)",
        (map, int(outcome), map, index, number, int(outcome)),
    )


def withdraw(database: Database, where: str, values: Sequence[object]) -> None:
    """Take accepted results of tasks (``where`` speaks of ``t``) out of the sums, before they lose their acceptance."""
    rows = database.fetch(_ACCEPTED.format(where=where, reused=REUSED), values)
    if rows:
        database.run_many(
            _WITHDRAW,
            [
                (n, noresult, reused, map_, context, int(Outcome.SUCCEEDED))
                for map_, context, n, noresult, reused in rows
            ],
        )
