"""Statements behind a commitment: every task with all that its record says, in pages and constant memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from provrun.core.canonical import decode, encode
from provrun.core.history import History
from provrun.core.leaves import Ran, Read, read_of
from provrun.core.records import REUSED, MapRecord, Origin
from provrun.core.states import Outcome, State
from provrun.store import lookups
from provrun.store.database import BATCH, Database, Row
from provrun.store.summaries import histories_of, origins_of, tasks_of

PAGE = 10_000

_CONTEXTS = """
select x.id, c.digest, e.digest, i.body, u.body
from context x join code c on c.id = x.code_id join environment e on e.id = x.environment_id
  left join inputs i on i.id = x.inputs_id left join uses u on u.id = x.uses_id
"""
_ARTIFACTS = """
select idx, number, role, name, digest, size from artifact
where map_id = ? and idx >= ? and idx < ? and role in ('input', 'output')
"""
_ANY_ARTIFACT = "select 1 from artifact where map_id = ? and role in ('input', 'output')"
_STATES = tuple(state.word for state in State)
_OUTCOMES = tuple(Outcome)
_NO_OUTPUTS: dict[str, tuple[str, int]] = {}

Made = dict[tuple[int, int], tuple[list[tuple[str, str]], dict[str, tuple[str, int]]]]


class Leaf(NamedTuple):
    """A task with its shown attempt and all others; ``context`` is that of the shown one, ``params`` canonical text."""

    task: int
    params: str
    state: str
    context: int | None
    shown: Ran | None
    others: Sequence[Ran]


class _Around(NamedTuple):
    code: str
    environment: str
    shared: str
    defaults: str


class Leaves:
    """Reads what the records of tasks are made from."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._names: dict[int, str] = dict(db.fetch("select id, name from map"))
        self._around: dict[int, _Around] = {}
        for id, code, environment, inputs, uses in db.fetch(_CONTEXTS):
            defaults = _defaults(uses)
            shared = encode([sha for _, sha, _ in decode(inputs)]) if inputs is not None else "[]"  # type: ignore[misc, union-attr]
            self._around[id] = _Around(f'"{bytes(code).hex()}"', f'"{bytes(environment).hex()}"', shared, defaults)

    def defaults(self, context: int | None) -> str:
        """Give the parameters that attempts left to their defaults, as canonical text."""
        return "null" if context is None else self._around[context].defaults

    def stream(
        self, record: MapRecord, count: Callable[[Iterable[History]], object] | None = None
    ) -> Iterator[Leaf]:
        """Give the tasks of a map by index; ``count`` is told of them, many at a time, before they are given."""
        size = lookups.size(self.db, record.id)
        made = self.db.one(f"{_ANY_ARTIFACT} limit 1", (record.id,))
        flows = any(one.kind != "after" for one in record.dependencies)
        own = frozenset(record.own)
        for start in range(0, size, PAGE):
            stop = min(start + PAGE, size)
            page = tasks_of(self.db, record.id, start, stop)
            artifacts = self._artifacts(record.id, start, stop) if made else {}
            reads = self._reads(page) if flows else {}
            origins = origins_of(self.db, record.id, start, stop)
            if count is not None:
                count(histories_of(page, origins))
            for row in self._leaves(page, artifacts, reads, origins):
                yield row._replace(params=_only(row.params, own)) if flows else row

    def _leaves(
        self, page: Sequence[Row], artifacts: Made, reads: dict[tuple[int, int], list[Read]],
        origins: Mapping[int, Origin],
    ) -> Iterator[Leaf]:
        around = self._around
        place, count = 0, len(page)
        while place < count:
            first = page[place]
            index, params, state, accepted, _, number = first[:6]
            after = place + 1
            while after < count and page[after][0] == index:
                after += 1
            if number is None:
                yield Leaf(index, params, _STATES[state], None, None, ())
                place = after
                continue
            tested: list[Ran] = []
            shown = after - place - 1
            for row in page[place:after] if after > place + 1 else (first,):
                number, context, outcome, started, wall, detail, result, trail, cpu, rss = row[5:]
                if number == accepted:
                    shown = len(tested)
                code, environment, shared, _ = around[context]
                own, outputs = artifacts.get((index, number), ((), {})) if artifacts else ((), _NO_OUTPUTS)
                tested.append(Ran(
                    number, code, environment, shared, _OUTCOMES[outcome], detail, started, wall, cpu,
                    None if rss is None else rss * 1024, None if result is None else bytes(result).hex(),
                    [sha for _, sha in sorted(own)] if own else (), outputs,
                    reads.get((index, number), ()) if trail is not None else (),
                    origins[index] if number == REUSED else None,
                ))
            one = tested.pop(shown)
            yield Leaf(index, params, _STATES[state], page[place + shown][6], one, tested)
            place = after

    def _artifacts(self, map: int, start: int, stop: int) -> Made:
        found: Made = {}
        for index, number, role, name, digest, size in self.db.fetch(_ARTIFACTS, (map, start, stop)):
            own, outputs = found.setdefault((index, number), ([], {}))
            if role == "input":
                own.append((name, bytes(digest).hex()))
            else:
                outputs[name] = (bytes(digest).hex(), size)
        return found

    def _reads(self, page: Sequence[Row]) -> dict[tuple[int, int], list[Read]]:
        """Say what the attempts of a page read, with the digests of the results they read."""
        trails = [(row[0], row[5], json.loads(row[12])) for row in page if row[12] is not None]
        wanted: dict[int, set[int]] = {}
        for _, _, trail in trails:
            for map, index, number in trail:
                if isinstance(number, int):
                    wanted.setdefault(map, set()).add(index)
        results = {map: self._results(map, sorted(indices)) for map, indices in wanted.items()}
        found: dict[tuple[int, int], list[Read]] = {}
        for index, attempt, trail in trails:
            listed: dict[int, list[tuple[int, int | None, str | None]]] = {}
            told: list[Read] = []
            for map, first, second in trail:
                if isinstance(second, str):
                    told.append(Read(self._names[map], first, second, None))
                else:
                    number = None if second == REUSED else second
                    listed.setdefault(map, []).append((first, number, results[map].get((first, second))))
            told += [read_of(self._names[map], some) for map, some in listed.items()]
            found[index, attempt] = sorted(told, key=lambda read: read.map)
        return found

    def _results(self, map: int, indices: Sequence[int]) -> dict[tuple[int, int], str | None]:
        columns = "select idx, number, result_digest from attempt where map_id = ?"
        if indices[-1] - indices[0] < 4 * len(indices):
            rows: Iterable[Row] = self.db.fetch(f"{columns} and idx >= ? and idx <= ?", (map, indices[0], indices[-1]))
        else:
            rows = []
            for start in range(0, len(indices), BATCH):
                scope, values = self.db.among("idx", list(indices[start : start + BATCH]))
                rows += self.db.fetch(f"{columns} and {scope}", (map, *values))
        return {(index, number): None if sha is None else bytes(sha).hex() for index, number, sha in rows}


def _defaults(uses: str | None) -> str:
    if uses is None:
        return "null"
    kept = decode(uses)
    found = kept.get("defaults") if isinstance(kept, dict) else None
    return encode(found) if found else "null"


def _only(params: str, own: frozenset[str]) -> str:
    """Keep the parameters that are the map's own."""
    values = decode(params)
    assert isinstance(values, dict), params
    return encode({name: value for name, value in values.items() if name in own})
