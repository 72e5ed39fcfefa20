"""Statements behind an export: streams of whole histories, and figures the database can add up or sort itself."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import cast

import msgspec

from provrun.core.canonical import decode
from provrun.core.environment import Tool
from provrun.core.history import Circumstances, History, Reused, Tried, Use, shown_of
from provrun.core.records import REUSED, Origin
from provrun.core.states import Outcome, State
from provrun.store import lookups
from provrun.store.database import Database, Row

PAGE = 500
_STATES = tuple(State)
_OUTCOMES = tuple(Outcome)

_TASKS = """
select t.idx, t.params, t.state, t.accepted, t.upstream, a.number, a.context_id, a.outcome, a.started, a.wall,
  a.detail, a.result_digest, a.trail, a.cpu, a.max_rss
from task t left join attempt a on a.map_id = t.map_id and a.idx = t.idx and (a.number > 0 or a.number = t.accepted)
where t.map_id = ? and t.idx >= ? and t.idx < ? order by t.idx, a.number
"""
_CIRCUMSTANCES = """
select x.id, x.job_id, c.digest, after.digest, e.digest, h.digest, i.body, u.body
from context x join code c on c.id = x.code_id left join code after on after.id = x.code_after_id
  join environment e on e.id = x.environment_id join host h on h.id = x.host_id
  left join inputs i on i.id = x.inputs_id left join uses u on u.id = x.uses_id
"""


class _Programs(msgspec.Struct):
    """What is read of the record of what recipes use: it may name a thousand files."""

    tools: tuple[Tool, ...] = ()


class Summaries:
    """Reads what a published page is made from."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def histories(self, map: int) -> Iterator[History]:
        """Stream the tasks of a map by index, each with its ended attempts by number."""
        size = lookups.size(self.db, map)
        for start in range(0, size, PAGE):
            stop = min(start + PAGE, size)
            yield from histories_of(tasks_of(self.db, map, start, stop), origins_of(self.db, map, start, stop))

    def circumstances(self) -> dict[int, Circumstances]:
        """Give what attempts shared, by the id of their context."""
        return {
            id: Circumstances(
                job=job, code=bytes(code).hex(), code_after=bytes(after).hex() if after is not None else None,
                environment=bytes(environment).hex(), host=bytes(host).hex(),
                inputs=tuple(sha for _, sha, _ in _files(inputs)),
                tools=() if uses is None else msgspec.json.decode(uses, type=_Programs).tools,
            )
            for id, job, code, after, environment, host, inputs, uses in self.db.fetch(_CIRCUMSTANCES)
        }

    def sizes_of_inputs(self) -> dict[str, int]:
        """Give the sizes of all shared inputs by their SHA-256."""
        return {sha: size for (body,) in self.db.fetch("select body from inputs") for _, sha, size in _files(body)}

    def use(
        self, map: int, contexts: Mapping[Outcome, Collection[int]],
        counts: Callable[[int, int, Outcome], bool] | None = None,
    ) -> Use:
        """Add up and rank the use of the ended attempts of a map with some outcomes, each under its contexts.

        ``counts`` tells by index, context and outcome which of these count, if not all do: then each is looked at.
        """
        pairs = " or ".join(
            f"outcome = {outcome:d} and context_id in ({','.join('?' * len(some))})"
            for outcome, some in contexts.items()
        )
        where = f"from attempt where map_id = ? and number > 0 and ({pairs})"
        values = (map, *(context for some in contexts.values() for context in some))
        if counts is not None:
            return self._use_of(where, values, counts)
        timed, wall, longest, cpu, rss = self.db.fetch(
            f"select count(wall), coalesce(sum(wall), 0), max(wall), coalesce(sum(cpu), 0), max(max_rss) {where}",
            values,
        )[0]

        def ranked(percent: int) -> int | None:
            if not timed:
                return None
            skipped = -(-timed * percent // 100) - 1
            timed_only = f"{where} and wall is not null order by wall limit 1 offset {skipped}"
            return int(self.db.fetch(f"select wall {timed_only}", values)[0][0])

        return Use(
            wall_sum=int(wall), wall_median=ranked(50), wall_p95=ranked(95), wall_max=longest, cpu_sum=int(cpu),
            max_rss=rss,
        )

    def _use_of(
        self, where: str, values: Sequence[object], counts: Callable[[int, int, Outcome], bool]
    ) -> Use:
        walls = array("q")
        cpu, rss = 0, None
        rows = self.db.stream(f"select idx, context_id, outcome, wall, cpu, max_rss {where} order by wall", values)
        for index, context, outcome, wall, busy, most in rows:
            if counts(index, context, _OUTCOMES[outcome]):
                if wall is not None:
                    walls.append(wall)
                cpu += busy or 0
                rss = most if rss is None or (most is not None and most > rss) else rss

        def ranked(percent: int) -> int | None:
            return walls[-(-len(walls) * percent // 100) - 1] if walls else None

        return Use(
            wall_sum=sum(walls), wall_median=ranked(50), wall_p95=ranked(95), wall_max=ranked(100), cpu_sum=cpu,
            max_rss=rss,
        )

    def own_inputs(self, map: int) -> tuple[int, int]:
        """Count the distinct contents of inputs that vary by task, and their bytes."""
        row = self.db.fetch(
            "select count(*), coalesce(sum(size), 0) from (select distinct digest, size from artifact"
            " where map_id = ? and role = 'input' and number > 0) d",
            (map,),
        )[0]
        return int(row[0]), int(row[1])


def brought(db: Database, map: int) -> list[tuple[str, str, int]]:
    """Count the attempts that were made in maps of other registries, by the uuid of the registry and the map."""
    return [
        (registry, name, int(n))
        for registry, name, n in db.fetch(
            "select o.registry, o.map, count(*) from brought b join origin o on o.id = b.origin_id where b.map_id = ?"
            " group by o.registry, o.map order by o.registry, o.map",
            (map,),
        )
    ]


def tasks_of(db: Database, map: int, start: int, stop: int) -> list[Row]:
    """Give the tasks of a range with their ended attempts, a row for each attempt."""
    return db.fetch(_TASKS, (map, start, stop))


def histories_of(page: Sequence[Row], origins: Mapping[int, Origin]) -> Iterator[History]:
    """Make histories of the rows of `tasks_of`."""
    place, count = 0, len(page)
    while place < count:
        index, params, state, accepted, upstream, number = page[place][:6]
        attempts = [] if number is None else [_tried(page[place])]
        place += 1
        while place < count and page[place][0] == index:
            attempts.append(_tried(page[place]))
            place += 1
        if accepted == REUSED:
            (made,) = attempts
            yield History(index, params, _STATES[state], accepted, upstream, [], None, Reused(made, origins[index]))
        else:
            shown = shown_of(attempts, accepted)
            yield History(index, params, _STATES[state], accepted, upstream, attempts, shown)


def _tried(row: Row) -> Tried:
    return Tried(row[5], row[6], _OUTCOMES[row[7]], *row[8:])


def origins_of(db: Database, map: int, start: int, stop: int) -> dict[int, Origin]:
    """Give for the tasks of a range whose results were reused which attempts made them."""
    found = db.fetch(
        "select r.idx, o.registry, o.map, r.origin_idx, r.origin_number from reused r join origin o"
        " on o.id = r.origin_id where r.map_id = ? and r.idx >= ? and r.idx < ?",
        (map, start, stop),
    )
    return {index: Origin(*origin) for index, *origin in found}


def _files(body: str | None) -> list[tuple[str, str, int]]:
    """Read shared inputs: (path, SHA-256, size)."""
    return cast("list[tuple[str, str, int]]", decode(body)) if body is not None else []
