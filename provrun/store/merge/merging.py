"""Merging: the maps of another registry, upstream first.

One that is new is written where nobody looks and then shown; one that is here is changed in one transaction. What is
only to be tried out is one transaction that is undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from provrun.core.records import MapRecord
from provrun.core.states import State
from provrun.errors import Refused
from provrun.store import flow, lookups
from provrun.store.database import Database
from provrun.store.merge import copying, uniting
from provrun.store.merge.bringing import Bringing
from provrun.store.merge.ids import Ids
from provrun.store.merge.placed import Placed
from provrun.store.merge.source import pages
from provrun.store.staging import sweep

MOST_BESIDE_JOBS = 100_000
"""Tasks that are united or tried out, in one transaction, while jobs wait to write: a quarter of what they bear."""



class Merged(NamedTuple):
    """What became of one map: its name there and here, if it is new here, tasks and attempts that came.

    ``changed`` counts the tasks that are new, and those that got attempts or went on by it.
    """

    there: str
    here: str
    new: bool
    tasks: int
    attempts: int
    changed: int


def require_fit(db: Database, source: Database, names: Mapping[str, str]) -> None:
    """Raise `Refused` with all that keeps the maps of ``source`` from being merged."""
    _Merging(db, source, names).require_fit()


class _Undone(Exception):
    """What was tried is to leave nothing."""


def merge(db: Database, source: Database, names: Mapping[str, str], *, dry: bool = False) -> list[Merged]:
    """Merge all maps of ``source``; ``names`` says what some are called here, ``dry`` leaves all as it was.

    Whoever is killed amid it leaves whole maps, and merging again brings the rest. Raises `Refused`, before anything
    is written, if a map of a name is another one here, or has running tasks.
    """
    with db.submitting():
        sweep(db)
        merging = _Merging(db, source, names)
        merging.require_fit()
        if not dry:
            merging.merge()
            return merging.done
        with suppress(_Undone):
            merging.try_out()
    return merging.done


class _Merging:
    def __init__(self, db: Database, source: Database, names: Mapping[str, str]) -> None:
        self._db = db
        self._source = source
        self._ids = Ids(db, source)
        self._order = _ordered(source)
        self._names = {record.name: names.get(record.name, record.name) for record in self._order}
        self._placed: dict[int, Placed] = {}
        self._sizes = {record.name: record.total for record in lookups.maps(db)}
        self.done: list[Merged] = []

    def require_fit(self) -> None:
        """Raise `Refused` with all that keeps the maps from being merged."""
        found: list[Refused] = []
        for record in self._order:
            try:
                self._require_fit(record)
            except Refused as error:
                found.append(error)
        if found:
            raise Refused(
                "\n".join(error.message for error in found), value=[error.value for error in found],
                next=found[0].next,
            )

    def _require_fit(self, record: MapRecord) -> None:
        name = self._names[record.name]
        mine = lookups.find_map(self._db, name)
        way = f"provrun db merge FILE --as {record.name}=NEW, or --prefix PREFIX"
        if [*self._names.values()].count(name) > 1:
            raise Refused(f"two maps would be called {name}", value=name, next="give each another name by --as")
        waits_for = {edge.upstream for edge in flow.upstream(self._source, record.id) if edge.ranges is not None}
        if waits_for and not all(self._keeps_indices(map) for map in (record.id, *waits_for)):
            raise Refused(
                f"tasks of {record.name} wait for others by index, and these are other ones here", value=record.name,
                next=way,
            )
        if mine is None:
            return
        uniting.require_same(mine, uniting.spec_of(record, name, self._names, mine), record.name)
        _require_rest(self._db, record, mine)
        if mine.policy.code == "pin":
            codes = [
                lookups.submitted_code(db, map)[1].code.digest
                for db, map in ((self._db, mine.id), (self._source, record.id))
            ]
            if codes[0] != codes[1]:
                raise Refused(
                    f"{name} is pinned to other code here", value=record.name, next=way,
                )

    def _keeps_indices(self, map: int) -> bool:
        """Tell whether the first tasks of a map there are those of the map here, if there is one."""
        record = lookups.map_by_id(self._source, map)
        mine = lookups.find_map(self._db, self._names[record.name])
        if mine is None:
            return True
        sql = "select idx, params, upstream from task where map_id=? and idx<? and idx>=? order by idx"
        both = min(mine.total, record.total)
        ours, theirs = pages(self._db, sql, (mine.id, both)), pages(self._source, sql, (map, both))
        return all(one == other for one, other in zip(ours, theirs, strict=True))

    def merge(self) -> None:
        """Merge the maps, upstream first."""
        for record in self._order:
            mine = lookups.find_map(self._db, self._names[record.name])
            if mine is None and copying.fits(self._db, self._source, record, self._placed):
                self._copy(record)
            else:
                with self._db.writing():
                    self._unite(record, mine)
        with self._db.writing():
            copying.submitters(self._db, self._source, self._placed)

    def try_out(self) -> None:
        """Merge all, and undo it by raising `_Undone`."""
        _require_patience(self._db, sum(record.total for record in self._order), "tasks are tried out")
        with self._db.writing():
            self.merge()
            raise _Undone

    def _copy(self, record: MapRecord) -> None:
        """Bring a map whose tasks keep their indices."""
        db, source, ids, name = self._db, self._source, self._ids, self._names[record.name]
        there = self._placed[record.id] = copying.copy(db, source, ids, record, name, self._placed)
        brought = Bringing(db, source, ids, record, self._placed, size=0, exact=True).bring()
        with db.writing():
            copying.show(db, source, record, there.map)
            copying.settle(db, there.map)
            copying.acceptances(db, source, ids, record.id, there)
        self.done.append(Merged(record.name, name, True, record.total, brought.attempts, record.total))

    def _unite(self, record: MapRecord, mine: MapRecord | None) -> None:
        """Bring a map whose tasks are, or become, those of a map that is here."""
        db, source, ids, name = self._db, self._source, self._ids, self._names[record.name]
        # A run may have begun meanwhile.
        _require_rest(db, record, None if mine is None else lookups.map_by_id(db, mine.id))
        spec = uniting.spec_of(record, name, self._names, mine)
        there = self._placed[record.id] = uniting.Uniting(db, source, ids, record, spec, self._placed).unite()
        size = self._sizes.get(name, 0)
        brought = Bringing(db, source, ids, record, self._placed, size=size, exact=False).bring()
        copying.settle(db, there.map)
        copying.acceptances(db, source, ids, record.id, there)
        tasks = lookups.size(db, there.map) - size
        self.done.append(Merged(record.name, name, mine is None, tasks, brought.attempts, tasks + brought.tasks))


def _require_rest(db: Database, record: MapRecord, mine: MapRecord | None) -> None:
    """Raise `Refused` if uniting a map with the one that is here would disturb runs."""
    if mine is not None and mine.counts[State.RUNNING]:
        raise Refused(f"tasks of {mine.name} are running here", value=mine.name, next="wait until they have ended")
    _require_patience(db, record.total, f"tasks of {record.name} are united")


def _require_patience(db: Database, tasks: int, what: str) -> None:
    if tasks > MOST_BESIDE_JOBS and db.one("select 1 from job where state='running' limit 1") is not None:
        raise Refused(
            f"jobs run here, and would give up before {tasks:,} {what}", value=tasks,
            next="wait until they have ended, or provrun job cancel --all",
        )


def _ordered(source: Database) -> list[MapRecord]:
    """Give the maps of a registry, each behind all that it builds on or waits for."""
    records = {record.name: record for record in lookups.maps(source)}
    chosen: dict[str, MapRecord] = {}

    def take(name: str, path: tuple[str, ...]) -> None:
        for one in records[name].dependencies:
            if one.upstream in path and one.upstream != name:
                raise Refused(f"{name} and {one.upstream} wait for each other by index", value=name)
            if one.upstream not in (*path, *chosen):
                take(one.upstream, (*path, one.upstream))
        chosen.setdefault(name, records[name])

    for name in records:
        take(name, (name,))
    return list(chosen.values())
