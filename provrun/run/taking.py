"""Taking tasks for a job: those whose results have been made already are not started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from provrun.core.events import Claim
from provrun.core.records import Claimed, Match, TakenOver
from provrun.ports import Claims

Reusable = Callable[[Sequence[Claimed]], Mapping[int, Sequence[Match]]]
"""Gives by map what can be taken over for tasks that were claimed."""


def take(
    registry: Claims, job: int, wanted: Claim, have: list[Claimed], reusable: Reusable,
    taken_over: Callable[[TakenOver], None],
) -> None:
    """Add to ``have`` until there is as much as is wanted, or no more; tell of what needed no execution.

    ``have`` keeps what was claimed should the database go away meanwhile.
    """
    while (missing := wanted.limit - len(have)) > 0:
        claimed = registry.claim(job, wanted.maps, missing, wanted.above, wanted.avoid)
        have += claimed
        reused = False
        for map, matches in reusable(claimed).items():
            taken = registry.take_over(map, job, matches)
            gone = set(taken.tasks)
            have[:] = [task for task in have if task.map != map or task.index not in gone]
            if gone:
                reused = True
                taken_over(taken)
        if not reused:
            return


def with_rows(task: Claimed, rows: Mapping[str, str]) -> Claimed:
    """Add the files with the rows that a task reads, by the names of the maps they are of."""
    files = msgspec.json.encode(rows).decode()
    reads = f'{{"rows":{files}}}' if task.reads is None else f'{task.reads[:-1]},"rows":{files}}}'
    return msgspec.structs.replace(task, reads=reads)
