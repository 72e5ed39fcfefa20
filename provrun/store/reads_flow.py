"""Statements that read how maps build on one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from provrun.core.answers import DependencyRecord, Part
from provrun.core.states import State
from provrun.store import rows
from provrun.store.database import Database, Row

_DEPENDENCY = (
    f"select d.upstream_id, d.missing, {rows.DEPENDENCY} from dependency d join map u on u.id = d.upstream_id"
)
_PART = "number, ident, members, size, missing"
_runs = msgspec.json.Decoder(tuple[tuple[int, int, int], ...])


class FlowReads:
    """Reads dependencies: one row per pair of maps, and the groups and chunks of tasks that are read together."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def upstreams(self, map: int) -> list[DependencyRecord]:
        """Give what a map builds on."""
        return [_dependency(row) for row in self.db.fetch(f"{_DEPENDENCY} where d.map_id = ? order by d.id", (map,))]

    def downstreams(self, map: int) -> list[DependencyRecord]:
        """Give what builds on a map."""
        found = self.db.fetch(
            f"{_DEPENDENCY} join map m on m.id = d.map_id where d.upstream_id = ? and m.state > 0 order by d.id", (map,)
        )
        return [_dependency(row) for row in found]

    def part(self, map: int, number: int) -> Part | None:
        """Give the group or chunk that a task with this ``upstream`` number reads."""
        found = self.db.one(f"select {_PART} from part where map_id = ? and number = ?", (map, number))
        return _part(found) if found else None

    def part_with(self, map: int, ident: str) -> Part | None:
        """Give the group of a map whose members have this in common (canonical text)."""
        found = self.db.one(f"select {_PART} from part where map_id = ? and ident = ?", (map, ident))
        return _part(found) if found else None

    def reading(self, map: int, upstream: int, limit: int) -> list[int]:
        """Give the first tasks of a map that read an upstream task, group or chunk."""
        found = self.db.fetch(
            f"select idx from task where map_id = ? and upstream = ? order by idx limit {limit}", (map, upstream)
        )
        return [row[0] for row in found]

    def count_reading(self, map: int, upstream: int) -> int:
        """Count the tasks of a map that read an upstream task, group or chunk."""
        found = self.db.one("select count(*) from task where map_id = ? and upstream = ?", (map, upstream))
        return int(found[0]) if found else 0

    def trails(self, map: int, tasks: Sequence[tuple[int, int | None]]) -> list[str | None]:
        """Give what the trails of tasks (index, upstream) would be if they were claimed now."""
        from provrun.store import reading

        return [trail for _, trail in reading.flowing(self.db, map, tasks)]

    def states(self, map: int, indices: Iterable[int]) -> dict[int, State]:
        """Give the states of some tasks."""
        found: dict[int, State] = {}
        for index in indices:
            row = self.db.one("select state from task where map_id = ? and idx = ?", (map, index))
            if row is not None:
                found[index] = State(row[0])
        return found


def _dependency(row: Row) -> DependencyRecord:
    return DependencyRecord(upstream=row[0], missing=row[1], map=row[2], dependency=rows.dependency(row[2:]))


def _part(row: Row) -> Part:
    return Part(row[0], row[1], _runs.decode(row[2]), row[3], row[4])
