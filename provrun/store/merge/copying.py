"""A map that is not here yet: its tasks get the indices that they have in the other registry."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import zip_longest

import msgspec

from provrun.core.records import MapRecord
from provrun.core.states import State
from provrun.store import counting, flow, readiness, rows
from provrun.store.counting import Shifts
from provrun.store.database import Database
from provrun.store.merge.ids import Ids
from provrun.store.merge.placed import Placed, ranges
from provrun.store.merge.source import pages
from provrun.store.staging import PAUSE

_SAME = ("policy", "workdir", "own", "tags", "priority", "user_name", "created")
_DEPENDENCY = ("kind", "by_names", "chunk", "on_failed", "first", "last", "upstream_tasks", "missing")


def fits(db: Database, source: Database, record: MapRecord, placed: Mapping[int, Placed]) -> bool:
    """Tell whether the tasks of a map can keep their indices and results: all it builds on is here as it is there."""
    for edge in flow.upstream(source, record.id):
        if edge.upstream == record.id:
            continue
        there = placed[edge.upstream]
        sizes = [one.fetch("select size from map where id=?", (id,)) for one, id in (
            (source, edge.upstream), (db, there.map)
        )]
        if there.indices is not None or sizes[0] != sizes[1]:
            return False
        if edge.reads and not (there.keeps_names and _give_the_same(db, there.map, source, edge.upstream)):
            return False
    return True


def _give_the_same(db: Database, here: int, source: Database, there: int) -> bool:
    """Tell whether those who read two maps, whose attempts have the same names, read the same and wait for no more."""
    sql = "select idx, accepted, state<3 from task where map_id=? and idx>=? order by idx"
    return all(
        mine == theirs
        for mine, theirs in zip_longest(pages(db, sql, (here,)), pages(source, sql, (there,)))
    )


def copy(
    db: Database, source: Database, ids: Ids, record: MapRecord, name: str, placed: Mapping[int, Placed]
) -> Placed:
    """Make a map with its dependencies, submissions and tasks, none of which has begun; nobody sees it until `show`.

    It is written in chunks, as a submission is, and what is left of one that died goes the same way.
    """
    with db.writing():
        made = _begin(db, source, ids, record, name, placed)
    for table, columns in (("part", "number,ident,members,size,missing"), ("point", "number,params")):
        for page in pages(
            source, f"select {columns} from {table} where map_id=? and number<(select {table}s from map where id=?)"
            " and number>=? order by number",
            (record.id, record.id),
        ):
            with db.writing():
                db.insert(table, ("map_id", *columns.split(",")), [(made, *row) for row in page])
    state = State.WAITING if flow.upstream(db, made) else State.PENDING
    for page in pages(
        source, "select idx, params, priority, upstream from task where map_id=? and idx<? and idx>=? order by idx",
        (record.id, record.total),
    ):
        with db.writing():
            db.insert(
                "task", ("map_id", "idx", "params", "priority", "upstream", "state"),
                [(made, *row, int(state)) for row in page],
            )
        rest(db)
    return Placed(made, name)


def _begin(
    db: Database, source: Database, ids: Ids, record: MapRecord, name: str, placed: Mapping[int, Placed]
) -> int:
    columns = ("recipe_id", "code_id", "environment_id", *_SAME)
    recipe, code, environment, *same = source.fetch(
        f"select {','.join(columns)} from map where id=?", (record.id,)
    )[0]
    made = db.insert_one(
        "map", ("name", "state", "size", "parts", "points", "staged", *columns),
        (name, rows.HIDDEN, 0, 0, 0, 1, ids.of("recipe", recipe), ids.of("code", code),
         ids.of("environment", environment), *same),
    )
    for upstream, *rest in source.fetch(
        f"select upstream_id,{','.join(_DEPENDENCY)} from dependency where map_id=? order by id", (record.id,)
    ):
        on = made if upstream == record.id else placed[upstream].map
        db.insert_one("dependency", ("map_id", "upstream_id", *_DEPENDENCY), (made, on, *rest))
    for at, user, code, environment, first, added in source.fetch(
        "select at, user_name, code_id, environment_id, first, added from submission where map_id=? order by id",
        (record.id,),
    ):
        db.insert_one(
            "submission", ("map_id", "at", "user_name", "code_id", "environment_id", "first", "added"),
            (made, at, user, ids.of("code", code), ids.of("environment", environment), first, added),
        )
    return made


def show(db: Database, source: Database, record: MapRecord, made: int) -> None:
    """Let everybody see a map that is whole."""
    state, *sizes = source.fetch("select state, size, parts, points from map where id=?", (record.id,))[0]
    db.run("update map set state=?, size=?, parts=?, points=?, staged=0 where id=?", (state, *sizes, made))
    found = db.fetch("select state, count(*) from task where map_id=? group by state", (made,))
    counting.apply(db, Shifts({(made, int(one)): int(n) for one, n in found}))


def rest(db: Database) -> None:
    """Let a job that runs write before the next chunk."""
    if not db.depth and db.one("select 1 from job where state='running' limit 1") is not None:
        time.sleep(PAUSE)


def settle(db: Database, map: int) -> None:
    """Judge what the tasks of a map wait for by what there is here: upstream tasks may have gone other ways."""
    for edge in flow.upstream(db, map):
        if edge.ranges is not None:
            missing = sum(
                db.fetch(
                    "select count(*) from task where map_id=? and idx>=? and idx<? and state<3",
                    (edge.upstream, *wanted),
                )[0][0]
                for wanted in edge.upstream_ranges()
            )
            db.run("update dependency set missing=? where id=?", (missing, edge.id))
        elif edge.kind in {"group", "chunk"}:
            _count(db, edge)
    if flow.upstream(db, map):
        readiness.promote(db, map, readiness.ALL)
        readiness.block(db, map, readiness.ALL)


def _count(db: Database, edge: flow.Edge) -> None:
    """Count again what the groups or chunks of a map wait for."""
    marks = flow.unsatisfied(db, edge)
    for page in pages(
        db, "select number, members, missing from part where map_id=? and number>=? order by number", (edge.map,)
    ):
        changed = []
        for number, text, missing in page:
            found = sum(
                sum(marks[first : first + step * count : step]) for first, step, count in flow.members_of(text)
            )
            if found != missing:
                changed.append((found, edge.map, number))
        db.run_many("update part set missing=? where map_id=? and number=?", changed)


def submitters(db: Database, source: Database, placed: Mapping[int, Placed]) -> None:
    """Say of submissions that attempts of tasks have made which ones these are here."""
    for map, at, by, index, number in source.fetch(
        "select map_id, at, by_map_id, by_idx, by_number from submission where by_map_id is not null order by id"
    ):
        if map in placed and by in placed:
            there = placed[by]
            db.run(
                "update submission set by_map_id=?, by_idx=?, by_number=? where map_id=? and at=?"
                " and by_map_id is null",
                (there.map, there.index(index), there.number(index, number), placed[map].map, at),
            )


def acceptances(db: Database, source: Database, ids: Ids, map: int, there: Placed) -> None:
    """Bring who holds which older results of a map to be valid, as far as that is not here."""
    for id, at, user, reason, code, contexts, covers, whole, tasks in source.fetch(
        "select id, at, user_name, reason, code_id, contexts, covers, whole, tasks from acceptance where map_id=?"
        " order by id",
        (map,),
    ):
        if db.one(
            "select 1 from acceptance where map_id=? and at=? and user_name=? and reason=?",
            (there.map, at, user, reason),
        ):
            continue
        about = sorted(ids.of("context", one) for one in msgspec.json.decode(contexts, type=list[int]))
        columns = ("map_id", "at", "user_name", "reason", "code_id", "contexts", "covers", "whole", "tasks")
        made = db.insert_one(
            "acceptance", columns,
            (there.map, at, user, reason, ids.of("code", code), msgspec.json.encode(about).decode(), covers, whole,
             tasks),
        )
        spans = source.fetch("select first, last from acceptance_range where acceptance_id=? order by first", (id,))
        if there.indices is not None:
            spans = ranges(there.index(one) for first, last in spans for one in range(first, last))
        db.insert("acceptance_range", ("acceptance_id", "first", "last"), [(made, *span) for span in spans])
