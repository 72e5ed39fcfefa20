"""The last transaction of a submission: what was staged becomes visible, and what builds on it follows."""

from __future__ import annotations

from typing import NamedTuple, cast

import msgspec

from provrun.core.canonical import decode, encode
from provrun.core.records import MapSpec
from provrun.core.states import State
from provrun.errors import InvalidInput
from provrun.store import counting, expanding, flow, lookups, readiness, reopening, rows
from provrun.store.database import Database
from provrun.store.flow import Edge
from provrun.store.readiness import ALL, Scope
from provrun.store.staging import Stage, Staged


class Terms(NamedTuple):
    """By whom, under which code and environment and when something is submitted; ``by`` is the attempt, if one does."""

    user: str
    code: int
    environment: int
    at: int
    by: tuple[int, int, int] | None = None


def publish(stage: Stage, spec: MapSpec, map: int, terms: Terms) -> dict[str, int]:
    """Make visible what was staged for a map and for those that grow with it; give how much the latter grew."""
    db = stage.db
    grown = {one: staged.added for one, staged in stage.maps.items() if staged.added}
    with db.writing():
        _adopt(db, spec, map, terms)
        for one, staged in stage.maps.items():
            _show(db, one, staged, terms)
        counting.apply(db, stage.shifts)
        staged = stage.maps[map]
        if staged.added:
            _require_ranges(db, spec, map, staged)
            _settle(stage, map)
        for one in grown:
            _follow(db, one)
        names: dict[int, str] = dict(db.fetch("select id, name from map"))
    return {names[one]: added for one, added in grown.items() if one != map}


def _adopt(db: Database, spec: MapSpec, map: int, terms: Terms) -> None:
    """Take over what this submission says of the map: its code, and options that were given."""
    policy, tags, own = db.fetch("select policy, tags, own from map where id=?", (map,))[0]
    db.run(
        "update map set code_id=?, environment_id=?, policy=?, tags=?, own=? where id=?",
        (
            terms.code, terms.environment,
            rows.text(msgspec.json.decode(policy) | msgspec.to_builtins(spec.policy)),
            encode(cast("dict[str, str]", decode(tags)) | spec.tags),
            rows.text(list(dict.fromkeys((*msgspec.json.decode(own), *spec.own)))),
            map,
        ),
    )


def _show(db: Database, map: int, staged: Staged, terms: Terms) -> None:
    created = db.run("update map set state=1 where id=? and state=0", (map,))
    db.run(
        "update map set size=?, parts=?, points=?, staged=0 where id=?",
        (staged.first + staged.added, staged.parts, staged.points, map),
    )
    if staged.added or created:
        db.run(
            "insert into submission(id, map_id, at, user_name, code_id, environment_id, first, added, by_map_id,"
            " by_idx, by_number) select (select coalesce(max(id),0)+1 from submission), id, ?, ?, code_id,"
            " environment_id, ?, ?, ?, ?, ? from map where id=?",
            (terms.at, terms.user, staged.first, staged.added, *(terms.by or (None, None, None)), map),
        )


def _require_ranges(db: Database, spec: MapSpec, map: int, staged: Staged) -> None:
    """Let the new tasks, or those that are named, wait for index ranges."""
    problems = []
    for one in spec.dependencies:
        if not one.upstream_tasks:
            continue
        upstream = map if one.upstream == spec.name else lookups.map_id(db, one.upstream)
        size = lookups.size(db, upstream)
        problems += [
            f"{one.upstream}/{first} to {one.upstream}/{last - 1}: {one.upstream} has {size} tasks"
            for first, last in one.upstream_tasks
            if not 0 <= first < last <= size
        ]
        first, last = one.tasks or (staged.first, staged.first + staged.added)
        missing = sum(
            db.fetch(
                "select count(*) from task where map_id=? and idx>=? and idx<? and state<3", (upstream, *wanted)
            )[0][0]
            for wanted in one.upstream_tasks
        )
        db.insert_one(
            "dependency",
            ("map_id", "upstream_id", "kind", "by_names", "chunk", "on_failed", "first", "last", "upstream_tasks",
             "missing"),
            (map, upstream, "after", "[]", 0, one.on_failed, first, last, rows.text(one.upstream_tasks), missing),
        )
    if problems:
        raise InvalidInput("tasks to wait for", problems)


def _settle(stage: Stage, map: int) -> None:
    """Judge the new tasks of the submitted map again: upstream tasks have gone on while they were staged."""
    db, staged = stage.db, stage.maps[map]
    edges = flow.upstream(db, map)
    if not edges:
        return
    driver = next((edge for edge in edges if edge.drives), None)
    whole = False
    if driver is not None:
        counts = counting.of(db, driver.upstream)
        ended = sum(counts[state] for state in driver.satisfied)
        whole = ended == sum(counts)
        if driver.kind != "each" and ended:
            _count_missing(stage, driver, whole)
    scope: Scope = ("idx>=?", (staged.first,))
    if stage.shifts[map, State.WAITING]:
        readiness.promote(db, map, scope)
    if stage.shifts[map, State.PENDING] and not (whole and len(edges) == 1):
        readiness.block(db, map, scope)


def _count_missing(stage: Stage, driver: Edge, whole: bool) -> None:
    """Count what the groups or chunks of a new map wait for."""
    first = stage.first_parts[driver.map]
    if whole:
        stage.db.run("update part set missing=0 where map_id=? and number>=?", (driver.map, first))
    else:
        expanding.count_missing(stage.db, driver, first, lookups.size(stage.db, driver.upstream))


def _follow(db: Database, map: int) -> None:
    """Reopen what has read the tasks of a map, now that it has more of them."""
    for edge in flow.downstream(db, map):
        if edge.kind == "all":
            reopening.reopen(db, edge.map, None)
        elif edge.gate:
            readiness.block(db, edge.map, ALL)
        elif edge.drives and edge.kind != "each":
            found = db.fetch("select members, added, added, number from grown where map_id=?", (edge.map,))
            db.run_many(
                "update part set members=?, size=size+?, missing=missing+? where map_id=? and number=?",
                [(members, size, missing, edge.map, number) for members, size, missing, number in found],
            )
            reopening.reopen(db, edge.map, reopening.reading(db, edge, sorted(row[3] for row in found)))
