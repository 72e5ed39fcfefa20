"""Submitting: a map is created or extended in chunks that nobody sees until the last is in; all or nothing.

New tasks stand beyond the map's ``size``, where only the submission looks. The last transaction moves ``size``,
counters and everything that builds on the map at once. What a submission that died left is removed by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provrun.core.canonical import encode
from provrun.core.records import Added, Dependency, MapRecord, MapSpec, Submitter
from provrun.core.states import State
from provrun.errors import Refused
from provrun.store import expanding, flow, interning, lookups, rows
from provrun.store.database import Database
from provrun.store.flow import Edge
from provrun.store.publishing import Terms, publish
from provrun.store.staging import CHUNK, NewTask, Stage, chunks, sweep


def submit(
    db: Database, spec: MapSpec, texts: Iterable[str], *, distinct: bool, code: int, environment: int, at: int,
    by: Submitter | None = None,
) -> Added:
    """Create the map or extend it by the tasks it lacks."""
    with db.submitting():
        sweep(db)
        record = lookups.find_map(db, spec.name)
        if record is not None:
            require_same(record, spec)
        terms = Terms(spec.user, code, environment, at, _attempt(db, by))
        try:
            return _Submission(db, spec, record, terms).submit(texts, distinct)
        except BaseException:
            sweep(db)
            raise


class _Submission:
    """One submission of one map."""

    def __init__(self, db: Database, spec: MapSpec, record: MapRecord | None, terms: Terms) -> None:
        self._db = db
        self._spec = spec
        self._record = record
        self._terms = terms
        self._map = record.id if record is not None else self._create()
        self._stage = Stage(db)
        self._first = self._stage.open(self._map).first

    def submit(self, texts: Iterable[str], distinct: bool) -> Added:
        whole = [one for one in flow.upstream(self._db, self._map) if one.ranges is None]
        driver = next((edge for edge in whole if edge.drives), None)
        existing = 0
        if self._record is not None or not distinct:
            texts, existing = self._fresh(texts, distinct, plain=driver is None)
        ready = all(flow.is_open(self._db, edge) for edge in whole if edge.gate)
        if driver is None:
            ready = ready and not any(one.upstream_tasks for one in self._spec.dependencies)
            state = State.PENDING if ready else State.WAITING
            added = self._stage.plain(self._map, texts, state, self._priority)
        else:
            added = self._expand(driver, texts, ready)
        self._grow(self._map)
        grown = publish(self._stage, self._spec, self._map, self._terms)
        return Added(
            map=self._map, added=added, existing=existing, total=self._first + added, first=self._first, grown=grown
        )

    @property
    def _priority(self) -> int:
        return self._spec.priority or (self._record.priority if self._record is not None else 0)

    def _create(self) -> int:
        spec, terms, db = self._spec, self._terms, self._db
        with db.writing():
            recipe = interning.recipe(db, spec.recipe)
            columns = {
                "name": spec.name, "recipe_id": recipe, "policy": rows.text(spec.policy), "workdir": spec.workdir,
                "own": rows.text(spec.own), "tags": encode(spec.tags), "priority": spec.priority,
                "state": rows.HIDDEN, "user_name": spec.user, "created": terms.at, "code_id": terms.code,
                "environment_id": terms.environment, "size": 0, "parts": 0, "points": 0, "staged": 1,
            }
            map = db.insert_one("map", tuple(columns), tuple(columns.values()))
            for one in spec.dependencies:
                if one.upstream_tasks:
                    continue
                db.insert_one(
                    "dependency", ("map_id", "upstream_id", "kind", "by_names", "chunk", "on_failed"),
                    (map, lookups.map_id(db, one.upstream), one.kind, rows.text(one.by), one.chunk, one.on_failed),
                )
        return map

    def _fresh(self, texts: Iterable[str], distinct: bool, *, plain: bool) -> tuple[Iterator[str], int]:
        """Leave out texts that the map has or that came before; give the rest in order, and how many it had."""
        db = self._db
        with db.aside():
            db.run("drop table if exists incoming")
            db.run("create temp table incoming(n bigint primary key, params text not null)")
        for n, chunk in enumerate(chunks(texts)):
            with db.aside():
                db.insert("incoming", ("n", "params"), enumerate(chunk, n * CHUNK))
        table, number = ("task", "idx") if plain else ("point", "number")
        size = self._first if plain else self._stage.open(self._map).points
        with db.aside():
            db.run("create index incoming_params on incoming(params)")
            if not distinct:
                db.run("delete from incoming where n not in (select min(n) from incoming group by params)")
            # One pass along what the map has, looking each up among what came: a cross join keeps SQLite to this order.
            existing = db.run(
                f"delete from incoming where n in (select i.n from {table} h cross join incoming i"
                f" where i.params=h.params and h.map_id=? and h.{number}<?)",
                (self._map, size),
            )
        return self._incoming(), existing

    def _incoming(self) -> Iterator[str]:
        last = -1
        while page := self._db.fetch(
            f"select n, params from incoming where n>? order by n limit {CHUNK}", (last,)
        ):
            yield from (row[1] for row in page)
            last = page[-1][0]

    def _expand(self, driver: Edge, texts: Iterable[str], ready: bool) -> int:
        """Cross new own points with all there is upstream; a new map is cut into its groups or chunks first."""
        staged = self._stage.open(self._map)
        known = staged.points
        self._stage.points(self._map, texts)
        size = lookups.size(self._db, driver.upstream)
        if self._record is None and driver.kind != "each":
            expanding.Cutting(self._stage, driver, 0, size).cut()
        last = size if driver.kind == "each" else staged.parts
        points = expanding.points(self._db, self._map, known, staged.points)
        made = expanding.crossed(expanding.units(self._db, driver, 0, last), points, ready)
        return self._stage.tasks(self._map, made, self._priority)

    def _grow(self, upstream: int) -> None:
        """Grow what is made from the tasks of a map by its new tasks."""
        new = self._stage.maps[upstream]
        if not new.added:
            return
        for edge in flow.downstream(self._db, upstream):
            if edge.drives:
                made = self._growth(edge, new.first, new.first + new.added)
                self._stage.tasks(edge.map, made, self._priority_of(edge))
                self._grow(edge.map)

    def _growth(self, edge: Edge, first: int, last: int) -> Iterator[NewTask]:
        staged = self._stage.open(edge.map)
        if edge.kind != "each":
            known = staged.parts
            expanding.Cutting(self._stage, edge, first, last).cut()
            first, last = known, staged.parts
        points = expanding.points(self._db, edge.map, 0, staged.points)
        return expanding.crossed(expanding.units(self._db, edge, first, last), points, False)

    def _priority_of(self, edge: Edge) -> int:
        return int(self._db.fetch("select priority from map where id=?", (edge.map,))[0][0])


def _attempt(db: Database, by: Submitter | None) -> tuple[int, int, int] | None:
    """Give (map, index, number) of the attempt that submits, if this registry knows of it.

    What says so is an environment variable, which may stem from another project.
    """
    found = by and db.one(
        "select t.map_id from task t join map m on m.id=t.map_id where m.name=? and m.state>0 and t.idx=?"
        " and t.idx<m.size and t.attempts>=? and exists (select 1 from job where uuid=?)",
        (by.map, by.index, by.number, by.job),
    )
    return (int(found[0]), by.index, by.number) if by and found else None


def require_same(record: MapRecord, spec: MapSpec) -> None:
    """Raise `Refused` with the difference if the map has another recipe or builds on other maps."""
    differences = []
    if record.recipe_digest != interning.recipe_digest(spec.recipe):
        differences += [
            f"{name}: {was!r} became {now!r}"
            for name in spec.recipe.__struct_fields__
            if (was := getattr(record.recipe, name)) != (now := getattr(spec.recipe, name))
        ]
    had, has = whole(record.dependencies), whole(spec.dependencies)
    if had != has:
        differences.append(f"builds on {_listed(had)} became builds on {_listed(has)}")
    if differences:
        shown = "".join(f"\n  {one}" for one in differences)
        raise Refused(
            f"the map {spec.name} exists and is another one:{shown}", value=spec.name,
            next="choose another name, or provrun delete it first",
        )


def whole(dependencies: Iterable[Dependency]) -> set[Dependency]:
    """Leave out dependencies between index ranges: each submission may bring its own."""
    return {one for one in dependencies if not one.upstream_tasks}


def _listed(dependencies: set[Dependency]) -> str:
    return ", ".join(sorted(f"{one.kind} {one.upstream}" for one in dependencies)) or "nothing"
