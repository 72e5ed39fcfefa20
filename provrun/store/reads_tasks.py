"""Statements that read tasks, attempts and artifacts: in pages, so that memory is constant and no writer waits long."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from provrun.core.answers import FoundArtifact, Shown
from provrun.core.records import REUSED, Artifact, AttemptRecord, Origin
from provrun.core.sieves import NONE, Sieve, apart, bounds, is_of_params, needs_attempt, state_of
from provrun.core.states import Outcome, State
from provrun.store import lookups, rows
from provrun.store.database import Database, Row
from provrun.store.sieving import condition

FIRST_PAGE = 200
LARGEST_PAGE = 5_000
PAGE_BYTES = 4_000_000
STRETCH = 200_000  # tasks that one statement looks at
MOST_PICKED = 900  # values one statement of an old SQLite takes
RARE = 20  # a state is rare when fewer than one task in so many is in it


def _columns(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))


# A running task has begun one attempt more than have ended.
_BOTH = f"select {_columns('t', rows.TASK)}, {_columns('a', rows.ATTEMPT)} from"
_ITS_SHOWN = f"""a.number = case when t.accepted not in (0, -1) then t.accepted
  when t.state = {State.RUNNING:d} then t.attempts - 1 else t.attempts end"""
_SHOWN = f"""
{_BOTH} task t left join attempt a on a.map_id = t.map_id and a.idx = t.idx and {_ITS_SHOWN} where t.map_id = ?"""
# SQLite looks at attempts first: their sieve needs no task.
_ATTEMPTED = f"""
{_BOTH} attempt a cross join task t where t.map_id = a.map_id and t.idx = a.idx and {_ITS_SHOWN} and a.map_id = ?"""
_MEASURED = "select idx, outcome, wall, max_rss, rss_shared from attempt"
_NUMBER = len(rows.TASK.split(","))
_PARAMS, _ERROR, _RESULT = 2, _NUMBER + 11, _NUMBER + 12
_SIZE = "(select size from map where id = ?)"
_FOUND = f"map_id, idx, number, {rows.ARTIFACT}"


class TaskReads:
    """Reads tasks with the attempts that stand for them, and what these read and made."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.stretch = STRETCH

    def shown(self, map: int, index: int) -> Shown | None:
        """Give a task with its shown attempt and that one's artifacts."""
        found = self.db.fetch(f"{_SHOWN} and t.idx = ? and t.idx < {_SIZE}", (map, index, map))
        return self._with_artifacts(map, found)[0] if found else None

    def stream(
        self, map: int, *, state: State | None = None, start: int = 0, stop: int | None = None,
        sieve: Sieve | None = None, artifacts: bool = True,
    ) -> Iterator[Shown]:
        """Give tasks with their shown attempts by index, from ``start`` up to ``stop``.

        ``sieve`` leaves out what does not pass it. Without ``artifacts`` these are left out.
        """
        size = lookups.size(self.db, map)
        stop = size if stop is None else min(stop, size)
        streams = [
            self._stream(map, state, start, stop, part, artifacts) for part in apart(sieve) if part != NONE
        ]
        last = None
        for shown in heapq.merge(*streams, key=lambda shown: shown.task.index) if len(streams) > 1 else chain(*streams):
            if shown.task.index != last:
                last = shown.task.index
                yield shown

    def _stream(
        self, map: int, state: State | None, start: int, stop: int, sieve: Sieve | None, artifacts: bool
    ) -> Iterator[Shown]:
        least, most = bounds(sieve)
        start, stop = max(start, least), int(min(stop, most + 1))
        passing, values = condition(sieve, self.db.dialect) if sieve is not None else ("", [])
        where = f" and {passing}" if passing else ""
        only = state_of(sieve) if state is None else None
        state = State(only) if only is not None else state
        if state is not None:
            indices = self._rare(map, state)
            if indices is not None:
                chosen = [index for index in indices if start <= index < stop]
                yield from self._picked(map, chosen, f"{where} and t.state + 0 = {state:d}", values, artifacts)
                return
            # Only the partial index of failed tasks is in order of index.
            where += f" and t.state = {state:d}" if state is State.FAILED else f" and t.state + 0 = {state:d}"
        led, by, stretch = _SHOWN, "t", stop
        if sieve is not None and state is not State.FAILED:
            stretch = self.stretch
            if needs_attempt(sieve) and not is_of_params(sieve):
                led, by = _ATTEMPTED, "a"
        page = FIRST_PAGE
        while start < stop:
            end = min(start + stretch, stop)
            found = self.db.fetch(
                f"{led} and {by}.idx >= ? and {by}.idx < ?{where} order by {by}.idx limit {page}",
                (map, start, end, *values),
            )
            yield from self._with_artifacts(map, found) if artifacts else (_shown(row) for row in found)
            start = end if len(found) < page else found[-1][1] + 1
            page = _next_page(page, found)

    def picked(self, map: int, indices: Iterable[int], *, artifacts: bool = True) -> Iterator[Shown]:
        """Give the tasks of these ascending indices with their shown attempts; missing ones are left out."""
        yield from self._picked(map, indices, "", [], artifacts)

    def _picked(
        self, map: int, indices: Iterable[int], where: str, values: Sequence[object], artifacts: bool
    ) -> Iterator[Shown]:
        remaining = iter(indices)
        page = FIRST_PAGE
        while chosen := list(islice(remaining, page)):
            marks = ",".join("?" * len(chosen))
            found = self.db.fetch(f"{_SHOWN} and t.idx in ({marks}){where} order by t.idx", (map, *chosen, *values))
            yield from self._with_artifacts(map, found) if artifacts else (_shown(row) for row in found)
            page = min(_next_page(page, found), MOST_PICKED)

    def attempts(self, map: int, index: int) -> list[AttemptRecord]:
        """Give the ended attempts of a task by number."""
        found = self.db.fetch(
            f"select {rows.ATTEMPT} from attempt where map_id = ? and idx = ? order by number", (map, index)
        )
        return [rows.attempt_record(row) for row in found]

    def measured(self, map: int, limit: int) -> list[tuple[int, int | None]]:
        """Give what about ``limit`` attempts that succeeded took, from all over a map: wall (us) and max RSS (KiB).

        The RSS is None where it is not the attempt's own. Looks at few attempts, however many there are.
        """
        ends = [
            self.db.one(f"select idx from attempt where map_id = ? order by idx {order} limit 1", (map,))
            for order in ("asc", "desc")
        ]
        if ends[0] is None or ends[1] is None:
            return []
        first, last = int(ends[0][0]), int(ends[1][0])
        found: list[Row] = []
        if last - first < limit:
            found = self.db.fetch(f"{_MEASURED} where map_id = ? order by idx, number limit {2 * limit}", (map,))
        else:
            for place in range(limit):
                start = first + place * (last - first) // (limit - 1) if limit > 1 else first
                if not found or start > found[-1][0]:
                    found += self.db.fetch(
                        f"{_MEASURED} where map_id = ? and idx >= ? order by idx, number limit 1", (map, start)
                    )
        return [
            (wall, None if shared else rss) for _, outcome, wall, rss, shared in found
            if outcome == Outcome.SUCCEEDED and wall is not None
        ]

    def artifacts(self, map: int, index: int, number: int) -> list[Artifact]:
        """Give what an attempt read and made."""
        found = self.db.fetch(
            f"select {rows.ARTIFACT} from artifact where map_id = ? and idx = ? and number = ? order by role, name",
            (map, index, number),
        )
        return [rows.artifact(row) for row in found]

    def origins(self, map: int, indices: Iterable[int]) -> dict[int, Origin]:
        """Give for tasks whose result was reused at some time which attempts made it."""
        found: dict[int, Origin] = {}
        remaining = iter(indices)
        while chosen := list(islice(remaining, MOST_PICKED)):
            marks = ",".join("?" * len(chosen))
            for index, *origin in self.db.fetch(
                "select r.idx, o.registry, o.map, r.origin_idx, r.origin_number from reused r join origin o"
                f" on o.id = r.origin_id where r.map_id = ? and r.idx in ({marks})",
                (map, *chosen),
            ):
                found[index] = Origin(*origin)
        return found

    def brought(self, map: int, index: int) -> dict[int, Origin]:
        """Give for the attempts of a task that were made in another registry what they are called there."""
        found = self.db.fetch(
            "select b.number, o.registry, o.map, b.origin_idx, b.origin_number from brought b join origin o"
            " on o.id = b.origin_id where b.map_id = ? and b.idx = ?",
            (map, index),
        )
        return {number: Origin(*origin) for number, *origin in found}

    def bearers(self, origin: Origin) -> list[tuple[int, int, int]]:
        """Give the attempts (map, index, number) that came from another registry and are called so there."""
        found = self.db.fetch(
            "select b.map_id, b.idx, b.number from origin o join brought b on b.origin_id = o.id"
            " where o.registry = ? and o.map = ? and b.origin_idx = ? and b.origin_number = ?"
            " order by b.map_id, b.idx, b.number",
            origin,
        )
        return [(map, index, number) for map, index, number in found]

    def reusing(self, map: str, index: int, limit: int) -> list[tuple[int, int]]:
        """Give the first tasks (map, index) whose result was made by an attempt of a task of a map of this registry."""
        found = self.db.fetch(
            "select r.map_id, r.idx from origin o join registry g on g.uuid = o.registry join reused r"
            " on r.origin_id = o.id join task t on t.map_id = r.map_id and t.idx = r.idx where o.map = ?"
            f" and r.origin_idx = ? and t.accepted = {REUSED} order by r.map_id, r.idx limit {limit}",
            (map, index),
        )
        return [(row[0], row[1]) for row in found]

    def with_digest(self, first: bytes, last: bytes, limit: int) -> list[FoundArtifact]:
        """Give artifacts whose digest lies between two (both included), by digest."""
        found = self.db.fetch(
            f"select {_FOUND} from artifact where digest >= ? and digest <= ?"
            f" order by digest, map_id, idx, number limit {limit}",
            (first, last),
        )
        return [_found(row) for row in found]

    def with_path(self, path: str, limit: int) -> list[FoundArtifact]:
        """Give output artifacts that were written to a path, the latest tasks first; reads every artifact."""
        found = self.db.fetch(
            f"select {_FOUND} from artifact where path = ? and role = 'output'"
            f" order by map_id desc, idx desc, number desc limit {limit}",
            (path,),
        )
        return [_found(row) for row in found]

    def with_result(self, first: bytes, last: bytes, limit: int) -> list[tuple[int, int, int]]:
        """Give (map, index, number) of attempts whose result digest lies between two; reads every attempt."""
        found = self.db.fetch(
            "select map_id, idx, number from attempt where result_digest >= ? and result_digest <= ?"
            f" order by map_id, idx, number limit {limit}",
            (first, last),
        )
        return [(map, index, number) for map, index, number in found]

    def first_in(self, map: int, state: State, limit: int) -> list[int]:
        """Give the first few tasks of a map in a state."""
        found = self.db.fetch(
            f"select idx from task where map_id = ? and state = {state:d} and idx < {_SIZE} order by idx limit {limit}",
            (map, map),
        )
        return [row[0] for row in found]

    def ahead(self, map: int, index: int, priority: int, limit: int) -> int:
        """Count the pending tasks of all maps that are not paused which go before a task, up to ``limit``."""
        pending = f"select 1 from map m join task t on t.map_id = m.id where m.state = {rows.ACTIVE} and t.state = 1"
        count = 0
        for where, values in (
            ("t.priority > ?", (priority,)),
            ("m.id < ? and t.priority = ?", (map, priority)),
            ("m.id = ? and t.priority = ? and t.idx < ?", (map, priority, index)),
        ):
            found = self.db.one(f"select count(*) from ({pending} and {where} limit {limit}) p", values)
            count += int(found[0]) if found else 0
        return min(count, limit)

    def holds(self, job: int, map: int) -> bool:
        """Tell whether a job holds running tasks of a map."""
        found = self.db.one("select 1 from task where state = 2 and job_id = ? and map_id = ? limit 1", (job, map))
        return found is not None

    def _rare(self, map: int, state: State) -> list[int] | None:
        """Give all tasks in a state that has an index and few tasks, sorted; else None."""
        if state not in (State.PENDING, State.RUNNING):
            return None
        counted = self.db.fetch("select state, n from counter where map_id = ?", (map,))
        counts: dict[int, int] = dict(counted)
        if counts.get(int(state), 0) * RARE > sum(counts.values()):
            return None
        found = self.db.fetch(f"select idx from task where map_id = ? and state = {state:d}", (map,))
        return sorted(row[0] for row in found)

    def _with_artifacts(self, map: int, found: list[Row]) -> list[Shown]:
        shown = [_shown(row) for row in found]
        if not shown:
            return shown
        kept = self.db.fetch(
            f"select {_FOUND} from artifact where map_id = ? and idx >= ? and idx <= ? order by role, name",
            (map, shown[0].task.index, shown[-1].task.index),
        )
        if not kept:
            return shown
        by_attempt: dict[tuple[int, int], list[Artifact]] = {}
        for row in kept:
            by_attempt.setdefault((row[1], row[2]), []).append(rows.artifact(row[3:]))
        return [
            Shown(each.task, each.attempt, tuple(by_attempt.get((each.attempt.index, each.attempt.number), ())))
            if each.attempt is not None else each
            for each in shown
        ]


def _next_page(page: int, found: list[Row]) -> int:
    """Size the next page so that it holds a few megabytes: inline results may be large."""
    size = sum(len(row[_PARAMS]) + len(row[_ERROR] or "") + len(row[_RESULT] or "") + 200 for row in found)
    return max(16, min(4 * page, page * PAGE_BYTES // max(size, 1), LARGEST_PAGE))


def _shown(row: Row) -> Shown:
    ended = row[_NUMBER:]
    return Shown(rows.task_record(row), rows.attempt_record(ended) if ended[0] is not None else None)


def _found(row: Row) -> FoundArtifact:
    return FoundArtifact(row[0], row[1], row[2], rows.artifact(row[3:]))
