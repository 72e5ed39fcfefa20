"""Statements that read who submitted what: persons, and attempts of tasks."""

from __future__ import annotations

from provrun.core.answers import SubmissionRecord
from provrun.store.database import Database, Row

_SUBMISSIONS = (
    "select s.at, s.user_name, c.digest, e.digest, s.first, s.added, s.by_map_id, s.by_idx, s.by_number, s.map_id"
    " from submission s join code c on c.id = s.code_id join environment e on e.id = s.environment_id where"
)


class SubmissionReads:
    """Reads submissions: those of a map, the one that brought a task, those that tasks have made."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def submissions(self, map: int) -> list[SubmissionRecord]:
        """Give the submissions of a map, first to last."""
        found = self.db.fetch(f"{_SUBMISSIONS} s.map_id = ? order by s.id", (map,))
        return [_submission(row) for row in found]

    def submission_of(self, map: int, index: int) -> SubmissionRecord | None:
        """Give the submission that brought a task."""
        condition = "s.map_id = ? and s.first <= ? order by s.first desc, s.added desc limit 1"
        found = self.db.one(f"{_SUBMISSIONS} {condition}", (map, index))
        return _submission(found) if found is not None else None

    def submitted_by(self, map: int, index: int, number: int | None = None) -> list[tuple[int, SubmissionRecord]]:
        """Give what a task, or one of its attempts, has submitted: the map and the submission, first to last."""
        only, values = ("", ()) if number is None else (" and s.by_number = ?", (number,))
        condition = f"s.by_map_id = ? and s.by_idx = ?{only} order by s.id"
        found = self.db.fetch(f"{_SUBMISSIONS} {condition}", (map, index, *values))
        return [(row[9], _submission(row)) for row in found]

    def submitters(self, map: int) -> list[tuple[int, int]]:
        """Give the maps whose tasks have submitted tasks of a map, and how many."""
        return self._sums("by_map_id", "map_id", map)

    def submitted_maps(self, map: int) -> list[tuple[int, int]]:
        """Give the maps of which tasks of a map have submitted tasks, and how many."""
        return self._sums("map_id", "by_map_id", map)

    def _sums(self, other: str, column: str, map: int) -> list[tuple[int, int]]:
        found = self.db.fetch(
            f"select {other}, sum(added) from submission where {column} = ? and by_map_id is not null"
            f" group by {other} order by {other}",
            (map,),
        )
        return [(row[0], int(row[1])) for row in found]


def _submission(row: Row) -> SubmissionRecord:
    at, user, code, environment, first, added, map, index, number, _ = row
    by = None if map is None else (map, index, number)
    return SubmissionRecord(at, user, bytes(code).hex(), bytes(environment).hex(), first, added, by)
