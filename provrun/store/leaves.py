"""Statements behind a commitment: every task with all that its record says, in pages and constant memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from provrun.core.canonical import decode, encode
from provrun.core.history import History
from provrun.core.leaves import Around, Flow, Read, flow_of, read_of
from provrun.core.records import REUSED, MapRecord
from provrun.store import lookups
from provrun.store.database import BATCH, Database, Row
from provrun.store.summaries import PAGE, histories_of, origins_of, tasks_of

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

Made = tuple[dict[str, str], dict[str, tuple[str, int]]]
_NOTHING_MADE: Made = {}, {}


class Page(NamedTuple):
    """Some tasks of a map in the order of their indices, and what flowed, by task and number of attempt."""

    histories: Sequence[History]
    flows: Mapping[tuple[int, int], Flow]


class Leaves:
    """Reads what the records of tasks are made from."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._names: dict[int, str] = dict(db.fetch("select id, name from map"))
        self.around: dict[int, Around] = {}
        """What attempts shared, by the id of their context."""
        for id, code, environment, inputs, uses in db.fetch(_CONTEXTS):
            listed = cast("list[tuple[str, str, int]]", decode(inputs)) if inputs is not None else []
            shared = encode([sha for _, sha, _ in listed])
            self.around[id] = Around(
                f'"{bytes(code).hex()}"', f'"{bytes(environment).hex()}"', shared, _defaults(uses)
            )

    def pages(self, record: MapRecord) -> Iterator[Page]:
        """Stream the tasks of a map, many at a time."""
        size = lookups.size(self.db, record.id)
        made = self.db.one(f"{_ANY_ARTIFACT} limit 1", (record.id,)) is not None
        reading = any(one.kind != "after" for one in record.dependencies)
        for start in range(0, size, PAGE):
            stop = min(start + PAGE, size)
            rows = tasks_of(self.db, record.id, start, stop)
            artifacts = self._artifacts(record.id, start, stop) if made else {}
            reads = self._reads(rows) if reading else {}
            flows = {
                key: flow_of(*artifacts.get(key, _NOTHING_MADE), reads.get(key, ()))
                for key in artifacts.keys() | reads.keys()
            }
            yield Page(list(histories_of(rows, origins_of(self.db, record.id, start, stop))), flows)

    def _artifacts(self, map: int, start: int, stop: int) -> dict[tuple[int, int], Made]:
        """Give the digests of inputs that vary by task, and digests and sizes of outputs, by their names."""
        found: dict[tuple[int, int], Made] = {}
        for index, number, role, name, digest, size in self.db.fetch(_ARTIFACTS, (map, start, stop)):
            own, outputs = found.setdefault((index, number), ({}, {}))
            if role == "input":
                own[name] = bytes(digest).hex()
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
