"""A map that is here already: it gets the tasks that it lacks, and it is found which tasks are the same.

The same are tasks of equal parameters that stem from the same upstream task, group or chunk. What is lacking is
submitted as a person would, so that whatever builds on the map grows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from provrun.core.records import MapRecord, MapSpec, Policy
from provrun.errors import Refused
from provrun.store import flow, lookups, rows, submitting
from provrun.store.database import Database, Row
from provrun.store.flow import Edge
from provrun.store.merge.ids import Ids
from provrun.store.merge.placed import Placed
from provrun.store.merge.source import pages


def spec_of(record: MapRecord, name: str, names: Mapping[str, str], mine: MapRecord | None) -> MapSpec:
    """Say of another registry's map what a submission would; policy and priority stay as they are here."""
    return MapSpec(
        name=name, recipe=record.recipe, workdir=record.workdir, own=record.own, user=record.user,
        policy=record.policy if mine is None else Policy(), priority=record.priority if mine is None else 0,
        tags={**record.tags, **(mine.tags if mine is not None else {})},
        dependencies=tuple(
            msgspec.structs.replace(one, upstream=names[one.upstream])
            for one in record.dependencies if not one.upstream_tasks
        ),
    )


def require_same(mine: MapRecord, spec: MapSpec, there: str) -> None:
    """Raise `Refused` with the difference unless two maps are one."""
    try:
        submitting.require_same(mine, spec)
    except Refused as error:
        raise Refused(
            error.message, value=there, next=f"provrun db merge FILE --as {there}=NEW, or --prefix PREFIX"
        ) from error


class Uniting:
    """One map of another registry whose tasks become tasks of a map that is here, or of a new one."""

    def __init__(
        self, db: Database, source: Database, ids: Ids, record: MapRecord, spec: MapSpec, placed: Mapping[int, Placed]
    ) -> None:
        self._db = db
        self._source = source
        self._ids = ids
        self._record = record
        self._spec = spec
        self._placed = placed
        self._mine = lookups.find_map(db, spec.name)
        self._driver = next((edge for edge in flow.upstream(source, record.id) if edge.drives), None)

    def unite(self) -> Placed:
        """Submit what is lacking and give where the tasks are."""
        if self._driver is None:
            self._list(lambda number: number)
            for terms, texts in self._lacking():
                self._submit(texts, terms)
        else:
            points = self._points()
            if points or self._mine is None:
                _, _, *terms = self._submissions()[0]
                self._submit(iter(points), terms)
        self._keep_policy()
        map = lookups.map_id(self._db, self._spec.name)
        if self._driver is not None:
            self._list(self._numbers(self._driver, map))
        found = self._matched(map)
        same = all(index == there for index, there in enumerate(found))
        placed = Placed(map, self._spec.name, None if same else found)
        self._wait(placed)
        return placed

    def _keep_policy(self) -> None:
        """Let the map be as it is here, or as it is there if it is new."""
        if self._mine is None:
            state = rows.PAUSED if self._record.paused else rows.ACTIVE
            self._db.run(
                "update map set created=?, state=? where name=?", (self._record.created, state, self._spec.name)
            )
        else:
            self._db.run(
                "update map set code_id=?, environment_id=? where id=?",
                (self._mine.code, self._mine.environment, self._mine.id),
            )

    def _submit(self, texts: Iterator[str], terms: Sequence[Any]) -> None:
        at, user, code, environment = terms
        submitting.submit(
            self._db, msgspec.structs.replace(self._spec, user=user), texts, distinct=True,
            code=self._ids.of("code", code), environment=self._ids.of("environment", environment), at=at,
        )

    def _submissions(self) -> list[Row]:
        """Give the submissions there: first index, how many, when, by whom, code, environment."""
        return self._source.fetch(
            "select first, added, at, user_name, code_id, environment_id from submission where map_id=? order by id",
            (self._record.id,),
        )

    def _points(self) -> list[str]:
        """Give the own points that are lacking here; all of them if the map is."""
        sql = "select p.params from point p join map m on m.id=p.map_id where m.id=? and p.number<m.points"
        there = [text for (text,) in self._source.fetch(f"{sql} order by p.number", (self._record.id,))]
        if self._mine is None:
            return there
        here = {text for (text,) in self._db.fetch(sql, (self._mine.id,))}
        return [text for text in there if text not in here]

    def _numbers(self, driver: Edge, map: int) -> Callable[[int], int]:
        """Give what the upstream tasks, groups or chunks there are called here."""
        if driver.kind == "each":
            return self._placed[driver.upstream].index
        if driver.kind == "chunk":
            return lambda number: number
        sql = "select ident, number from part where map_id=?"
        here: dict[str, int] = dict(self._db.fetch(sql, (map,)))
        there = self._source.fetch(sql, (self._record.id,))
        return {number: here[ident] for ident, number in there if ident in here}.__getitem__

    def _list(self, numbers: Callable[[int], int]) -> None:
        """List the tasks there in a temporary table, with the numbers here of what they stem from."""
        db = self._db
        db.run("drop table if exists theirs")
        db.run("create temp table theirs(idx bigint primary key, params text not null, upstream bigint)")
        for page in pages(
            self._source, "select idx, params, upstream from task where map_id=? and idx<? and idx>=? order by idx",
            (self._record.id, self._record.total),
        ):
            db.insert(
                "theirs", ("idx", "params", "upstream"),
                [(index, text, None if upstream is None else numbers(upstream)) for index, text, upstream in page],
            )
        db.run("create index theirs_params on theirs(params)")
        if db.dialect == "postgresql":
            db.run("analyze theirs")

    def _lacking(self) -> Iterator[tuple[Sequence[Any], Iterator[str]]]:
        """Give for each submission there the parameters that are lacking here."""
        db = self._db
        db.run("drop table if exists lacking")
        db.run("create temp table lacking as select idx, params from theirs")
        if self._mine is not None:
            # One pass along what the map has: a cross join keeps SQLite to this order.
            db.run(
                "delete from lacking where idx in (select w.idx from task t cross join theirs w where w.params=t.params"
                " and t.map_id=? and t.idx<?)",
                (self._mine.id, self._mine.total),
            )
        new = self._mine is None
        for first, added, *terms in self._submissions():
            found = self._texts(first, first + added)
            one = next(found, None)
            if one is not None or new:
                yield terms, chain(() if one is None else (one,), found)
                new = False

    def _texts(self, first: int, last: int) -> Iterator[str]:
        for page in pages(
            self._db, "select idx, params from lacking where idx<? and idx>=? order by idx", (last,), first
        ):
            yield from (text for _, text in page)

    def _matched(self, map: int) -> array[int]:
        """Give for each task there its index here."""
        found = array("q", bytes(8 * self._record.total))
        matched = 0
        for there, here in self._db.stream(
            "select w.idx, t.idx from task t cross join theirs w where w.params=t.params"
            " and coalesce(w.upstream,-1)=coalesce(t.upstream,-1) and t.map_id=? and t.idx<?",
            (map, lookups.size(self._db, map)),
        ):
            found[there] = here
            matched += 1
        assert matched == len(found), f"{matched} of {len(found)} tasks of {self._spec.name} were found again"
        return found

    def _wait(self, here: Placed) -> None:
        """Let tasks wait for those that they wait for there by their indices."""
        for edge in flow.upstream(self._source, self._record.id):
            if edge.ranges is None:
                continue
            upstream = here if edge.upstream == self._record.id else self._placed[edge.upstream]
            if here.indices is not None or upstream.indices is not None:
                raise Refused(
                    f"tasks of {self._record.name} wait for others by index, and these are other ones here",
                    value=self._record.name, next=f"--as {self._record.name}=NEW",
                )
            key = (here.map, upstream.map, edge.first, edge.last, edge.ranges)
            if self._db.one(
                "select 1 from dependency where map_id=? and upstream_id=? and first=? and last=? and upstream_tasks=?",
                key,
            ) is None:
                self._db.insert_one(
                    "dependency",
                    ("map_id", "upstream_id", "first", "last", "upstream_tasks", "kind", "by_names", "chunk",
                     "on_failed", "missing"),
                    (*key, edge.kind, "[]", 0, edge.on_failed, 0),
                )
