"""How maps build on one another: dependency rows as they are needed to move tasks on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from provrun.core.records import DependencyKind, OnFailed, satisfying
from provrun.core.states import State
from provrun.store import counting, params
from provrun.store.database import Database, Row

Run = tuple[int, int, int]
"""Indices that follow one another: first, step, count."""

MOST_ASKED = 500  # texts in one statement

_runs = msgspec.json.Decoder(list[Run])
_ranges = msgspec.json.Decoder(list[tuple[int, int]])
_names = msgspec.json.Decoder(tuple[str, ...])


class Edge(msgspec.Struct, frozen=True):
    """One dependency; ``size`` and ``parts`` are those of the map that builds on ``upstream``."""

    id: int
    map: int
    upstream: int
    kind: DependencyKind
    by: tuple[str, ...]
    chunk: int
    on_failed: OnFailed
    first: int | None
    last: int | None
    ranges: str | None
    size: int
    parts: int

    @property
    def drives(self) -> bool:
        """Tell whether the tasks of the map stem from those of ``upstream``."""
        return self.kind in {"each", "group", "chunk"}

    @property
    def gate(self) -> bool:
        """Tell whether all tasks of the map wait for all of ``upstream``."""
        return not self.drives and self.ranges is None

    @property
    def reads(self) -> bool:
        """Tell whether results flow, or only the order matters."""
        return self.kind != "after"

    @property
    def satisfied(self) -> tuple[State, ...]:
        """The states in which an upstream task is as this dependency wants it."""
        return satisfying(self.kind, self.on_failed)

    @property
    def satisfied_sql(self) -> str:
        """The same as a condition on the column ``state``."""
        return f"state>={int(State.SUCCEEDED)}" if len(self.satisfied) > 1 else f"state={int(State.SUCCEEDED)}"

    def upstream_ranges(self) -> list[tuple[int, int]]:
        """Give the index ranges of ``upstream`` that are waited for."""
        return [] if self.ranges is None else _ranges.decode(self.ranges)


_EDGE = (
    "select d.id, d.map_id, d.upstream_id, d.kind, d.by_names, d.chunk, d.on_failed, d.first, d.last,"
    " d.upstream_tasks, m.size, m.parts from dependency d join map m on m.id=d.map_id where"
)


def downstream(db: Database, map: int) -> list[Edge]:
    """Give the dependencies of the maps that build on a map."""
    return [_edge(row) for row in db.fetch(f"{_EDGE} d.upstream_id=? and m.state>0 order by d.id", (map,))]


def upstream(db: Database, map: int) -> list[Edge]:
    """Give the dependencies of a map, be it visible or not."""
    return [_edge(row) for row in db.fetch(f"{_EDGE} d.map_id=? order by d.id", (map,))]


def _edge(row: Row) -> Edge:
    return Edge(row[0], row[1], row[2], row[3], _names.decode(row[4]), *row[5:])


def is_open(db: Database, edge: Edge) -> bool:
    """Tell whether all of ``upstream`` is as a gate wants it."""
    counts = counting.of(db, edge.upstream)
    return 0 < sum(counts) == sum(counts[state] for state in edge.satisfied)


def unsatisfied(db: Database, edge: Edge) -> bytearray:
    """Give for each upstream task 1 if it is not as the dependency wants it, else 0."""
    marks = bytearray(db.fetch("select size from map where id=?", (edge.upstream,))[0][0])
    for (index,) in db.stream(
        f"select idx from task where map_id=? and not {edge.satisfied_sql} and +idx<?", (edge.upstream, len(marks))
    ):
        marks[index] = 1
    return marks


def part_numbers(db: Database, edge: Edge, indices: Sequence[int]) -> Iterator[int]:
    """Give for each of some upstream tasks the number of the group or chunk it belongs to."""
    if edge.kind == "chunk":
        yield from (index // edge.chunk for index in indices)
        return
    scope, values = db.among("idx", indices)
    texts = db.fetch(f"select params from task where map_id=? and {scope}", (edge.upstream, *values))
    idents = [params.chosen(text, edge.by) for (text,) in texts]
    wanted = sorted(set(idents))
    known: dict[str, int] = {}
    for start in range(0, len(wanted), MOST_ASKED):
        some = wanted[start : start + MOST_ASKED]
        marks = ",".join("?" * len(some))
        found = db.fetch(f"select ident, number from part where map_id=? and ident in ({marks})", (edge.map, *some))
        known.update((ident, number) for ident, number in found)
    yield from (known[ident] for ident in idents)


def part_members(db: Database, map: int, number: int) -> list[Run]:
    """Give the upstream indices that a group or chunk reads."""
    found = db.fetch("select members from part where map_id=? and number=?", (map, number))
    return _runs.decode(found[0][0])


def members_text(runs: Iterable[Run]) -> str:
    """Write upstream indices for the column ``part.members``."""
    return "[" + ",".join([f"[{first},{step},{count}]" for first, step, count in runs]) + "]"


def members_of(text: str) -> list[Run]:
    """Read the column ``part.members``."""
    return _runs.decode(text)


def spread(runs: Iterable[Run]) -> Iterator[int]:
    """Give the indices of runs one by one."""
    for first, step, count in runs:
        yield from range(first, first + step * count, step)


def length(runs: Iterable[Run]) -> int:
    """Count the indices of runs."""
    return sum(count for _, _, count in runs)


def gathered(indices: Iterable[int], runs: Sequence[Run] = ()) -> list[Run]:
    """Add ascending indices to runs."""
    out = list(runs)
    if out:
        first, step, count = out.pop()
    else:
        first, step, count = 0, 1, 0
    for index in indices:
        if count == 0:
            first, step, count = index, 1, 1
        elif count == 1 or index == first + step * count:
            step = index - first if count == 1 else step
            count += 1
        else:
            out.append((first, step, count))
            first, step, count = index, 1, 1
    if count:
        out.append((first, step, count))
    return out
