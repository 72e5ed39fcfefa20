"""The tasks of a map that builds on another: own points crossed with upstream tasks, groups or chunks.

Appending to a map grows what builds on it, in the same submission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from provrun.core.states import State
from provrun.store import flow, params
from provrun.store.database import Database, Row
from provrun.store.flow import Edge
from provrun.store.params import Members
from provrun.store.staging import CHUNK, NewTask, Stage

Unit = tuple[int, str, int]
"""What one task per own point is made for: number of the upstream task, group or chunk, its parameters, its state."""


def units(db: Database, edge: Edge, first: int, last: int) -> Iterator[Unit]:
    """Give the upstream tasks, groups or chunks from number ``first`` up to ``last``."""
    columns = "idx, params, state from task where map_id=? and idx" if edge.kind == "each" else (
        "number, ident, 0 from part where map_id=? and number"
    )
    order = "idx" if edge.kind == "each" else "number"
    source = edge.upstream if edge.kind == "each" else edge.map
    while first < last:
        page = db.fetch(f"select {columns}>=? and {order}<? order by {order} limit {CHUNK}", (source, first, last))
        if not page:
            return
        yield from ((row[0], row[1], row[2]) for row in page)
        first = page[-1][0] + 1


def crossed(found: Iterable[Unit], points: Callable[[], Iterable[Members]], ready: bool) -> Iterator[NewTask]:
    """Make one task per unit and own point; ``ready`` says that nothing but the unit is waited for."""
    for number, text, state in found:
        inherited = params.members(text)
        pending = ready and state == State.SUCCEEDED
        for own in points():
            merged = params.merged(inherited, own) if own else text
            yield merged, number, int(State.PENDING if pending else State.WAITING)


def points(db: Database, map: int, first: int, last: int) -> Callable[[], Iterable[Members]]:
    """Give own points from number ``first`` up to ``last``, as often as asked; few of them stay in memory."""
    if last - first <= CHUNK:
        few = list(_stream_points(db, map, first, last))
        return lambda: few
    return lambda: _stream_points(db, map, first, last)


def _stream_points(db: Database, map: int, first: int, last: int) -> Iterator[Members]:
    while first < last:
        page = db.fetch(
            f"select number, params from point where map_id=? and number>=? and number<? order by number limit {CHUNK}",
            (map, first, last),
        )
        if not page:
            return
        yield from (params.members(row[1]) for row in page)
        first = page[-1][0] + 1


class Cutting:
    """Cuts upstream tasks from index ``first`` up to ``last`` into groups or chunks of a map.

    New groups and chunks are staged; those that were there and get new members stand in ``grown``, a temporary table.
    """

    def __init__(self, stage: Stage, edge: Edge, first: int, last: int) -> None:
        self._stage = stage
        self._db = stage.db
        self._edge = edge
        self._first = first
        self._last = last

    def cut(self) -> None:
        """Stage the new groups or chunks."""
        db = self._db
        with db.aside():
            db.run("create temp table if not exists grown(map_id bigint, number bigint, members text, added bigint)")
            db.run("delete from grown where map_id=?", (self._edge.map,))
        if self._edge.kind == "chunk":
            self._cut_chunks()
        else:
            self._join()
            self._grow_groups()
            self._stage.parts(self._edge.map, self._new_groups())

    def _cut_chunks(self) -> None:
        length, first = self._edge.chunk, self._first
        begun = first % length
        if begun and first < self._last:
            number = first // length
            end = min(self._last, (number + 1) * length)
            members = flow.members_text([(number * length, 1, end - number * length)])
            self._grown([(number, members, end - first)])
            first = end
        starts = range(first, self._last, length)
        self._stage.parts(
            self._edge.map,
            (
                (f'{{"chunk":{start // length}}}', flow.members_text([(start, 1, n)]), n)
                for start in starts
                for n in (min(length, self._last - start),)
            ),
        )

    def _join(self) -> None:
        """List for each upstream task what its group has in common."""
        db, edge = self._db, self._edge
        with db.aside():
            db.run("drop table if exists joining")
            db.run("create temp table joining(ident text not null, idx bigint not null)")
        start = self._first
        while start < self._last:
            page = db.fetch(
                f"select idx, params from task where map_id=? and idx>=? and idx<? order by idx limit {CHUNK}",
                (edge.upstream, start, self._last),
            )
            with db.aside():
                db.insert("joining", ("ident", "idx"), [(params.chosen(text, edge.by), idx) for idx, text in page])
            start = page[-1][0] + 1
        with db.aside():
            db.run("create index joining_ident on joining(ident, idx)")
            db.run("drop table if exists groups_found")
            db.run(
                "create temp table groups_found as select j.ident as ident, min(j.idx) as first,"
                " min(p.number) as number from joining j left join part p on p.map_id=? and p.ident=j.ident"
                " group by j.ident",
                (edge.map,),
            )
            db.run("create index groups_first on groups_found(first)")

    def _grow_groups(self) -> None:
        for number, ident, members in self._pages(
            "select g.first, p.number, p.ident, p.members from groups_found g join part p on p.map_id=? and"
            " p.number=g.number where g.first>? order by g.first", (self._edge.map,),
        ):
            before = flow.members_of(members)
            runs = flow.gathered(self._joined(ident), before)
            self._grown([(number, flow.members_text(runs), flow.length(runs) - flow.length(before))])

    def _new_groups(self) -> Iterator[tuple[str, str, int]]:
        for (ident,) in self._pages(
            "select first, ident from groups_found where number is null and first>? order by first", ()
        ):
            runs = flow.gathered(self._joined(ident))
            yield ident, flow.members_text(runs), flow.length(runs)

    def _pages(self, sql: str, values: tuple[object, ...]) -> Iterator[Row]:
        last = -1
        while page := self._db.fetch(f"{sql} limit {CHUNK}", (*values, last)):
            yield from (row[1:] for row in page)
            last = page[-1][0]

    def _joined(self, ident: str) -> Iterator[int]:
        last = -1
        while page := self._db.fetch(
            f"select idx from joining where ident=? and idx>? order by idx limit {CHUNK}", (ident, last)
        ):
            yield from (row[0] for row in page)
            last = page[-1][0]

    def _grown(self, found: Iterable[tuple[int, str, int]]) -> None:
        with self._db.aside():
            self._db.insert(
                "grown", ("map_id", "number", "members", "added"), [(self._edge.map, *one) for one in found]
            )


def count_missing(db: Database, edge: Edge, first: int, size: int) -> None:
    """Count what new groups and chunks, from number ``first`` on, wait for: upstream tasks may have ended."""
    if edge.kind == "chunk":
        mine = "t.idx>=part.number*? and t.idx<(part.number+1)*? and t.idx<?"
        values: tuple[object, ...] = (edge.chunk, edge.chunk, size)
        source = "task t"
    else:
        mine, values = "j.ident=part.ident", ()
        source = "joining j join task t on t.idx=j.idx"
    db.run(
        f"update part set missing=(select count(*) from {source} where {mine} and t.map_id=?"
        f" and not t.{edge.satisfied_sql}) where map_id=? and number>=?",
        (*values, edge.upstream, edge.map, first),
    )
