"""Submitting: a map is created or extended in chunks that nobody sees until the last is in; all or nothing.

New tasks stand beyond the map's ``size``, where only the submission looks. The last transaction moves ``size``,
counters and everything that builds on the map at once. What a submission that died left is removed by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

from provrun.core.canonical import encode
from provrun.core.records import Added, Dependency, MapRecord, MapSpec
from provrun.core.states import State
from provrun.errors import Refused
from provrun.store import counting, interning, lookups, rows
from provrun.store.counting import Shifts
from provrun.store.database import Database

CHUNK = 20_000  # rows of one transaction: 50 ms, and far less than SQLite's cache, so that readers are not shut out
PAUSE = 0.02  # seconds between transactions while a job is running, so that its manager gets its turn

TASK_COLUMNS = ("map_id", "idx", "params", "state", "priority", "upstream")


def submit(
    db: Database, spec: MapSpec, texts: Iterable[str], *, distinct: bool, code: int, environment: int, at: int
) -> Added:
    """Create the map or extend it by the tasks it lacks."""
    with db.submitting():
        sweep(db)
        record = lookups.find_map(db, spec.name)
        if record is not None:
            _require_same(record, spec)
        try:
            return _Submission(db, spec, record, code=code, environment=environment, at=at).submit(texts, distinct)
        except BaseException:
            sweep(db)
            raise


class _Submission:
    """One submission of one map."""

    def __init__(
        self, db: Database, spec: MapSpec, record: MapRecord | None, *, code: int, environment: int, at: int
    ) -> None:
        self._db = db
        self._spec = spec
        self._record = record
        self._code = code
        self._environment = environment
        self._at = at
        self._pause = PAUSE if db.fetch("select 1 from job where state='running'") else 0.0
        self._first = record.total if record is not None else 0
        self._map = record.id if record is not None else self._create()

    def submit(self, texts: Iterable[str], distinct: bool) -> Added:
        existing = 0
        if self._record is not None or not distinct:
            texts, existing = self._fresh(texts)
        added = self._stage(texts)
        self._publish(added)
        return Added(
            map=self._map, added=added, existing=existing, total=self._first + added, first=self._first
        )

    def _create(self) -> int:
        spec, db = self._spec, self._db
        with db.writing():
            recipe = interning.recipe(db, spec.recipe)
            columns = {
                "name": spec.name, "recipe_id": recipe, "policy": rows.text(spec.policy), "workdir": spec.workdir,
                "own": rows.text(spec.own), "tags": encode(spec.tags), "priority": spec.priority,
                "state": rows.HIDDEN, "user_name": spec.user, "created": self._at, "code_id": self._code,
                "environment_id": self._environment, "size": 0, "parts": 0, "staged": 1,
            }
            return db.insert_one("map", tuple(columns), tuple(columns.values()))

    def _fresh(self, texts: Iterable[str]) -> tuple[Iterator[str], int]:
        """Leave out texts that the map has or that came before; give the rest in order, and how many it had."""
        db = self._db
        db.run("drop table if exists incoming")
        db.run("create temp table incoming(n bigint primary key, params text not null)")
        db.insert("incoming", ("n", "params"), enumerate(texts))
        db.run("create index incoming_params on incoming(params)")
        db.run("delete from incoming where n not in (select min(n) from incoming group by params)")
        existing = db.run(
            "delete from incoming where params in (select params from task where map_id=? and idx<?)",
            (self._map, self._first),
        )
        return self._incoming(), existing

    def _incoming(self) -> Iterator[str]:
        last = -1
        while page := self._db.fetch(
            f"select n, params from incoming where n>? order by n limit {CHUNK}", (last,)
        ):
            yield from (row[1] for row in page)
            last = page[-1][0]

    def _stage(self, texts: Iterable[str]) -> int:
        """Write tasks beyond the map's size, chunk by chunk; give their number."""
        map, priority, index = self._map, self._spec.priority, self._first
        texts = iter(texts)
        while chunk := list(islice(texts, CHUNK)):
            with self._db.writing():
                if index == self._first:
                    self._db.run("update map set staged=1 where id=?", (map,))
                self._db.insert(
                    "task", TASK_COLUMNS,
                    [(map, index + n, params, int(State.PENDING), priority, None) for n, params in enumerate(chunk)],
                )
            index += len(chunk)
            time.sleep(self._pause)
        return index - self._first

    def _publish(self, added: int) -> None:
        db = self._db
        with db.writing():
            shifts = Shifts({(self._map, int(State.PENDING)): added})
            counting.apply(db, shifts)
            db.run(
                "update map set size=size+?, staged=0, state=case state when 0 then 1 else state end, code_id=?,"
                " environment_id=? where id=?",
                (added, self._code, self._environment, self._map),
            )
            db.insert_one(
                "submission", ("map_id", "at", "user_name", "code_id", "environment_id", "first", "added"),
                (self._map, self._at, self._spec.user, self._code, self._environment, self._first, added),
            )


def sweep(db: Database) -> None:
    """Remove what a submission that died has left; only by the one that holds the right to submit."""
    for map, size, state in db.fetch("select id, size, state from map where staged=1 or state=0"):
        while db.fetch("select 1 from task where map_id=? and idx>=? limit 1", (map, size)):
            with db.writing():
                db.run(
                    "delete from task where map_id=? and idx in"
                    f" (select idx from task where map_id=? and idx>=? order by idx limit {CHUNK})",
                    (map, map, size),
                )
        with db.writing():
            db.run("update map set staged=0 where id=?", (map,))
            if state == rows.HIDDEN:
                for table in ("dependency", "point", "part", "counter", "submission"):
                    db.run(f"delete from {table} where map_id=?", (map,))
                db.run("delete from map where id=?", (map,))


def _require_same(record: MapRecord, spec: MapSpec) -> None:
    """Raise `Refused` with the difference if the map has another recipe or builds on other maps."""
    differences = []
    if record.recipe_digest != interning.recipe_digest(spec.recipe):
        differences += [
            f"{name}: {was!r} became {now!r}"
            for name in spec.recipe.__struct_fields__
            if (was := getattr(record.recipe, name)) != (now := getattr(spec.recipe, name))
        ]
    had, has = _whole(record.dependencies), _whole(spec.dependencies)
    if had != has:
        differences.append(f"builds on {_listed(had)} became builds on {_listed(has)}")
    if differences:
        shown = "".join(f"\n  {one}" for one in differences)
        raise Refused(
            f"the map {spec.name} exists and is another one:{shown}", value=spec.name,
            next="choose another name, or provrun delete it first",
        )


def _whole(dependencies: Iterable[Dependency]) -> set[Dependency]:
    """Leave out dependencies between index ranges: each submission may bring its own."""
    return {one for one in dependencies if not one.upstream_tasks and one.tasks is None}


def _listed(dependencies: set[Dependency]) -> str:
    return ", ".join(sorted(f"{one.kind} {one.upstream}" for one in dependencies)) or "nothing"
