"""Writing new tasks where only the submission looks, in chunks, and taking back what one that died has left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count, islice, repeat
from typing import TypeVar

import msgspec

from provrun.core.states import State
from provrun.store import rows
from provrun.store.counting import Shifts
from provrun.store.database import Database

CHUNK = 20_000  # rows of one transaction: 50 ms, and far less than SQLite's cache, so that readers are not shut out
PAUSE = 0.02  # seconds between transactions while a job is running, so that its manager gets its turn

Item = TypeVar("Item")
NewTask = tuple[str, int | None, int]
"""Parameters, upstream number and state of a task to be."""


class Staged(msgspec.Struct):
    """What is staged of one map: ``added`` tasks from ``first`` on; how many parts and points there will be."""

    first: int
    added: int
    parts: int
    points: int


class Stage:
    """The hidden side of the registry, used by the one that holds the right to submit."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.maps: dict[int, Staged] = {}
        self.shifts = Shifts()
        self.first_parts: dict[int, int] = {}
        self._pause = PAUSE if db.fetch("select 1 from job where state='running' limit 1") else 0.0

    def open(self, map: int) -> Staged:
        """Begin to stage a map, if that has not been done."""
        staged = self.maps.get(map)
        if staged is None:
            with self.db.writing():
                self.db.run("update map set staged=1 where id=?", (map,))
            size, parts, points = self.db.fetch("select size, parts, points from map where id=?", (map,))[0]
            staged = self.maps[map] = Staged(size, 0, parts, points)
            self.first_parts[map] = parts
        return staged

    def plain(self, map: int, texts: Iterable[str], state: State, priority: int) -> int:
        """Write tasks that stem from no others, all in one state; give their number."""
        before = self.open(map).added
        for chunk in chunks(texts):
            same = (repeat(int(state)), repeat(priority))
            self._write(map, ("params", "state", "priority"), (chunk, *same), len(chunk))
            self.shifts[map, state] += len(chunk)
        return self.maps[map].added - before

    def tasks(self, map: int, made: Iterable[NewTask], priority: int) -> int:
        """Write tasks; give their number."""
        before = self.open(map).added
        for chunk in chunks(made):
            params, upstream, states = zip(*chunk, strict=True)
            columns = ("params", "upstream", "state", "priority")
            self._write(map, columns, (params, upstream, states, repeat(priority)), len(chunk))
            for state, n in Counter(states).items():
                self.shifts[map, state] += n
        return self.maps[map].added - before

    def _write(self, map: int, columns: tuple[str, ...], values: tuple[Iterable[object], ...], n: int) -> None:
        staged = self.maps[map]
        index = count(staged.first + staged.added)
        with self.db.writing():
            # Made by zip, since a loop of ours over each row would cost a quarter of what storing it does.
            self.db.insert("task", ("map_id", "idx", *columns), zip(repeat(map), index, *values, strict=False))
        staged.added += n
        self._rest(n)

    def points(self, map: int, texts: Iterable[str]) -> int:
        """Write own points of a map that builds on another one; give their number."""
        staged = self.open(map)
        before = staged.points
        for chunk in chunks(texts):
            with self.db.writing():
                self.db.insert(
                    "point", ("map_id", "number", "params"),
                    [(map, staged.points + n, text) for n, text in enumerate(chunk)],
                )
            staged.points += len(chunk)
            self._rest(len(chunk))
        return staged.points - before

    def parts(self, map: int, made: Iterable[tuple[str, str, int]]) -> None:
        """Write groups or chunks of upstream tasks, none of which has ended: what they share, members, their number."""
        staged = self.open(map)
        for chunk in chunks(made):
            with self.db.writing():
                self.db.insert(
                    "part", ("map_id", "number", "ident", "members", "size", "missing"),
                    [
                        (map, staged.parts + n, ident, members, size, size)
                        for n, (ident, members, size) in enumerate(chunk)
                    ],
                )
            staged.parts += len(chunk)
            self._rest(len(chunk))

    def _rest(self, n: int) -> None:
        """Let a running job's manager write before the next chunk."""
        if n == CHUNK and not self.db.depth:
            time.sleep(self._pause)


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Cut a stream into lists that make one transaction each."""
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def sweep(db: Database) -> None:
    """Remove what a submission that died has left; only by the one that holds the right to submit."""
    for map, size, parts, points, state in db.fetch(
        "select id, size, parts, points, state from map where staged=1 or state=0"
    ):
        for table, key, first in (("task", "idx", size), ("part", "number", parts), ("point", "number", points)):
            _remove(db, table, key, map, first)
        if state == rows.HIDDEN:
            for table in ("attempt", "artifact", "reused", "brought"):
                _remove(db, table, "idx", map, 0)
        with db.writing():
            db.run("update map set staged=0 where id=?", (map,))
            if state == rows.HIDDEN:
                mine = "(select id from acceptance where map_id=?)"
                db.run(f"delete from acceptance_range where acceptance_id in {mine}", (map,))
                for table in ("dependency", "counter", "submission", "tally", "acceptance"):
                    db.run(f"delete from {table} where map_id=?", (map,))
                db.run("update submission set by_map_id=null, by_idx=null, by_number=null where by_map_id=?", (map,))
                db.run("delete from map where id=?", (map,))


def _remove(db: Database, table: str, key: str, map: int, first: int) -> None:
    """Delete the rows of a map from one number on, in chunks of keys."""
    while True:
        found = db.one(
            f"select max({key}), count(*) from"
            f" (select {key} from {table} where map_id=? and {key}>=? order by {key} limit {CHUNK}) k",
            (map, first),
        )
        if found is None or not found[1]:
            return
        with db.writing():
            db.run(f"delete from {table} where map_id=? and {key}>=? and {key}<=?", (map, first, found[0]))
