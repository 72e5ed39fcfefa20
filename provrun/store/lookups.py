"""Maps and tasks as they stand. Long reads go page by page along the key: constant memory, and no writer waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import msgspec

from provrun.core.canonical import decode
from provrun.core.code import CapturedCode, Code, checkout_of
from provrun.core.messages import Pin, RunMap
from provrun.core.records import Dependency, MapRecord, TaskRecord
from provrun.core.states import State
from provrun.errors import NotFound
from provrun.store import rows
from provrun.store.database import BATCH, Database


def find_map(db: Database, name: str) -> MapRecord | None:
    """Give a map by its name."""
    found = _maps(db, "m.name=?", (name,))
    return found[0] if found else None


def map_id(db: Database, name: str) -> int:
    """Give the id of a map; `NotFound` if there is none."""
    found = db.one("select id from map where name=? and state>0", (name,))
    if found is None:
        raise NotFound(f"no map named {name}", value=name, next="provrun list shows the maps")
    return int(found[0])


def map_by_id(db: Database, map: int) -> MapRecord:
    """Give a map by its id; `NotFound` if there is none."""
    found = _maps(db, "m.id=?", (map,))
    if not found:
        raise NotFound(f"no map with the id {map}", value=map)
    return found[0]


def maps(db: Database) -> list[MapRecord]:
    """Give all maps, in the order in which they were first submitted."""
    return _maps(db, "1=1", ())


def map_names(db: Database) -> list[str]:
    """Give the names of all maps, in the order in which they were first submitted."""
    return [row[0] for row in db.fetch("select name from map where state>0 order by id")]


def _maps(db: Database, condition: str, values: Sequence[object]) -> list[MapRecord]:
    found = db.fetch(
        f"select {rows.MAP} from map m join recipe r on r.id=m.recipe_id where m.state>0 and {condition} order by m.id",
        values,
    )
    only = (found[0][0],) if len(found) == 1 else None
    dependencies = _dependencies(db, only)
    counted = counts(db, only)
    return [rows.map_record(row, tuple(dependencies.get(row[0], ())), counted[row[0]]) for row in found]


def _dependencies(db: Database, only: tuple[int] | None) -> dict[int, list[Dependency]]:
    made: dict[int, list[Dependency]] = {}
    condition = "" if only is None else "where d.map_id=?"
    for row in db.fetch(
        f"select {rows.DEPENDENCY} from dependency d join map u on u.id=d.upstream_id {condition} order by d.id",
        only or (),
    ):
        made.setdefault(row[0], []).append(rows.dependency(row))
    return made


def counts(db: Database, only: Sequence[int] | None = None) -> dict[int, dict[State, int]]:
    """Give the number of tasks in each state of some maps, or of all."""
    counted: dict[int, dict[State, int]] = defaultdict(lambda: dict.fromkeys(State, 0))
    if only is None:
        found = db.fetch("select map_id, state, n from counter")
    else:
        marks = ",".join("?" * len(only))
        found = db.fetch(f"select map_id, state, n from counter where map_id in ({marks})", only) if only else []
        for map in only:
            counted[map] = dict.fromkeys(State, 0)
    for map, state, n in found:
        counted[map][State(state)] = n
    return counted


def select_maps(db: Database, names: Sequence[str], *, submitted: bool = False) -> list[MapRecord]:
    """Give the maps of these names and all they build on (all maps if none is named), upstream first.

    With ``submitted`` also the maps to which tasks of these have submitted, and all those build on.
    """
    known = {record.name: record for record in maps(db)}
    chosen: dict[str, MapRecord] = {}

    def take(name: str, path: tuple[str, ...]) -> None:
        record = known.get(name)
        if record is None:
            raise NotFound(f"no map named {name}", value=name, next="provrun list shows the maps")
        for dependency in record.dependencies:
            if dependency.upstream not in path and dependency.upstream not in chosen:
                take(dependency.upstream, (*path, dependency.upstream))
        chosen.setdefault(name, record)

    for name in names or known:
        take(name, (name,))
    if submitted and names:
        by_id = {record.id: record.name for record in known.values()}
        looked: set[int] = set()
        while new := {record.id for record in chosen.values()} - looked:
            looked |= new
            for map in _submitted_by(db, new):
                if map in by_id and by_id[map] not in chosen:
                    take(by_id[map], (by_id[map],))
    return list(chosen.values())


def _submitted_by(db: Database, maps: Collection[int]) -> list[int]:
    """Give the maps to which tasks of some maps have submitted."""
    listed = ",".join(map(str, sorted(maps)))
    found = db.fetch(f"select distinct map_id from submission where by_map_id in ({listed}) order by map_id")
    return [row[0] for row in found]


def maps_stamp(db: Database) -> object:
    """Give a value that differs when a map has appeared, has grown or is to be run otherwise."""
    last = db.one("select max(id) from submission")
    return last, db.fetch("select id, policy, recipe_id, state, size from map where state>0 order by id")


def run_map(db: Database, map: int) -> RunMap:
    """Give what an agent must know to run tasks of a map."""
    record = map_by_id(db, map)
    each: list[str] = []
    above: MapRecord | None = record
    while above is not None:
        upstream = next((one.upstream for one in above.dependencies if one.kind == "each"), None)
        above = find_map(db, upstream) if upstream is not None else None
        if above is not None:
            each.append(above.name)
    reduces = tuple(one.upstream for one in record.dependencies if one.kind in {"group", "chunk", "all"})
    pin = pin_of(db, map) if record.policy.code == "pin" else None
    return RunMap(
        map=record.id, name=record.name, recipe=record.recipe, recipe_digest=record.recipe_digest,
        policy=record.policy, workdir=record.workdir, own=record.own, each=tuple(each), reduces=reduces,
        pin=pin,
    )


def submitted_code(db: Database, map: int) -> tuple[int, CapturedCode]:
    """Give the code that a map was submitted with last, and its id."""
    last = "(select max(id) from submission where map_id=m.id)"
    id, body, patch = db.fetch(
        "select c.id, c.body, c.patch from map m join code c"
        f" on c.id=coalesce((select code_id from submission where id={last}), m.code_id) where m.id=?",
        (map,),
    )[0]
    code = msgspec.convert(decode(body), Code)
    return id, CapturedCode(code, bytes(patch) if patch is not None else None)


def pin_of(db: Database, map: int) -> Pin:
    """Give where the code that a map was submitted with last is checked out, if its tasks run from there."""
    code, captured = submitted_code(db, map)
    return Pin(captured.code.root, checkout_of(captured.code), code)


def size(db: Database, map: int) -> int:
    """Give the number of tasks of a map that everyone may see: those with smaller indices."""
    found = db.one("select size from map where id=? and state>0", (map,))
    return int(found[0]) if found else 0


def task(db: Database, map: int, index: int) -> TaskRecord | None:
    """Give a task, or None."""
    found = db.one(f"select {rows.TASK} from task where map_id=? and idx=?", (map, index))
    return rows.task_record(found) if found and index < size(db, map) else None


def tasks(db: Database, map: int, state: State | None = None, start: int = 0) -> Iterator[TaskRecord]:
    """Stream the tasks of a map by index from ``start`` on, all or those in one state."""
    end = size(db, map)
    # The number of the state stands in the text: a partial index is used only for a constant.
    chosen = "" if state is None else f"and state={int(state)}"
    while True:
        page = db.fetch(
            f"select {rows.TASK} from task where map_id=? and idx>=? and idx<? {chosen} order by idx limit {BATCH}",
            (map, start, end),
        )
        yield from (rows.task_record(row) for row in page)
        if len(page) < BATCH:
            return
        start = page[-1][1] + 1
