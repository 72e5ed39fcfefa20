"""The sums over ended attempts that every writing transaction keeps, so that `status` never scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from provrun.core.records import Ended
from provrun.core.states import Outcome, State
from provrun.store.database import Database

_ADD = """
insert into tally(map_id, context_id, outcome, attempts, accepted, noresult, wall, first, last)
values(?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (map_id, context_id, outcome) do update set
  attempts = tally.attempts + excluded.attempts, accepted = tally.accepted + excluded.accepted,
  noresult = tally.noresult + excluded.noresult, wall = tally.wall + excluded.wall,
  first = case when excluded.first < tally.first or tally.first is null then excluded.first else tally.first end,
  last = case when excluded.last > tally.last or tally.last is null then excluded.last else tally.last end
"""

_WITHDRAW = """
update tally set accepted = accepted - ?, noresult = noresult - ? where map_id = ? and context_id = ? and outcome = ?
"""

_ACCEPTED = """
select t.map_id, a.context_id, count(*), sum(case when a.result_digest is null then 1 else 0 end)
from task t join attempt a on a.map_id = t.map_id and a.idx = t.idx and a.number = t.accepted
where t.accepted > 0 and {where} group by t.map_id, a.context_id
"""


def add(database: Database, ended: Iterable[Ended], superseded: Iterable[Ended] = ()) -> None:
    """Add ended attempts; ``superseded`` ones came too late to be anybody's result. To be called in their transaction."""
    sums: dict[tuple[int, int, int], list[int | None]] = {}
    for held, attempts in ((True, ended), (False, superseded)):
        for attempt in attempts:
            key = (attempt.map, attempt.context, int(attempt.outcome))
            sums[key] = _summed(sums.get(key), attempt, held)
    if sums:
        database.run_many(_ADD, [(*key, *values) for key, values in sorted(sums.items())])


def withdraw(database: Database, where: str, values: Sequence[object]) -> None:
    """Take accepted results of tasks (``where`` speaks of ``t``) out of the sums, before they lose their acceptance."""
    rows = database.fetch(_ACCEPTED.format(where=where), values)
    if rows:
        database.run_many(
            _WITHDRAW, [(n, noresult, map_, context, int(Outcome.SUCCEEDED)) for map_, context, n, noresult in rows]
        )


def _summed(sums: list[int | None] | None, attempt: Ended, held: bool) -> list[int | None]:
    attempts, accepted, noresult, wall, first, last = sums or [0, 0, 0, 0, None, None]
    is_result = held and attempt.state is State.SUCCEEDED and attempt.outcome is Outcome.SUCCEEDED
    started, took = attempt.started, attempt.wall or 0
    if started is not None:
        first = started if first is None else min(first, started)
        last = started + took if last is None else max(last, started + took)
    return [
        (attempts or 0) + 1,
        (accepted or 0) + is_result,
        (noresult or 0) + (is_result and attempt.result_digest is None),
        (wall or 0) + took,
        first,
        last,
    ]
