"""Statements that read which results of older code somebody holds to be valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from provrun.core.answers import AcceptanceRecord
from provrun.core.canonical import decode
from provrun.core.states import State
from provrun.store.database import Database, Row

_ACCEPTANCES = (
    "select x.id, x.map_id, x.at, x.user_name, x.reason, c.digest, x.contexts, x.covers, x.whole, x.tasks"
    " from acceptance x join code c on c.id = x.code_id"
)


class AcceptanceReads:
    """Reads acceptances, and which tasks they are about."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def acceptances(self) -> list[AcceptanceRecord]:
        """Give the acceptances of all maps, first to last."""
        return [_acceptance(row) for row in self.db.fetch(f"{_ACCEPTANCES} order by x.id")]

    def accepts(self, acceptance: int, index: int) -> bool:
        """Tell whether a task lies in the ranges of an acceptance."""
        found = self.db.one(
            "select last from acceptance_range where acceptance_id = ? and first <= ? order by first desc limit 1",
            (acceptance, index),
        )
        return found is not None and index < found[0]

    def count_accepted(self, map: int, context: int, acceptances: Sequence[int]) -> int:
        """Count the tasks in the ranges of acceptances whose result is of an attempt in a context."""
        if not acceptances:
            return 0
        scope, values = self.db.among("r.acceptance_id", acceptances)
        found = self.db.one(
            "select count(distinct t.idx) from acceptance_range r join task t on t.map_id = ? and t.idx >= r.first"
            " and t.idx < r.last join attempt a on a.map_id = t.map_id and a.idx = t.idx and a.number = t.accepted"
            f" where {scope} and t.state = {int(State.SUCCEEDED)} and a.context_id = ?",
            (map, *values, context),
        )
        return int(found[0]) if found is not None else 0


def _acceptance(row: Row) -> AcceptanceRecord:
    id, map, at, user, reason, code, contexts, covers, whole, tasks = row
    return AcceptanceRecord(
        id=id, map=map, at=at, user=user, reason=reason, code=bytes(code).hex(),
        contexts=tuple(cast("list[int]", decode(contexts))),
        covers=tuple((kind, path, digest) for kind, path, digest in cast("list[list[str]]", decode(covers))),
        whole=bool(whole), tasks=tasks,
    )
