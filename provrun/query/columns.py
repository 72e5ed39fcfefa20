"""Rows as flat tables: one column for each parameter, each key of the results, and each other field of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NoReturn

import msgspec

from provrun.core.canonical import encode
from provrun.errors import ProvrunError
from provrun.query.rows import FIELDS, Row, keys, value

Kind = Literal["integer", "number", "truth", "text", "time", "json"]
"""What all values of a column are: ``number`` are doubles, ``json`` is the canonical text of whatever stands there."""

_KINDS: dict[str, Kind] = {
    "index": "integer", "stale": "truth", "attempt": "integer", "attempts": "integer", "exit": "integer",
    "signal": "integer", "outputs": "json", "started": "time", "ended": "time", "seconds": "number",
    "cpu_seconds": "number", "max_rss": "integer", "job": "integer", "defaults": "json",
}
_LONGEST = 2**63
_EXACT = 2**53


class Column(msgspec.Struct, frozen=True):
    """A column: its ``name``, and where in a row its values stand."""

    name: str
    part: Literal["params", "result", "field"]
    key: str | None
    kind: Kind

    def get(self, row: Row) -> object:
        """Give the value of a row, None where it has none."""
        if self.part == "field":
            return row[str(self.key)]
        held = row[self.part]
        named = keys(held)
        if self.key is None:
            return held if named is None else None
        return named.get(self.key) if named is not None else None


class Columns:
    """Finds out which columns some rows have, from parameters and results one after the other."""

    def __init__(self, params: Sequence[str] = ()) -> None:
        self._params: dict[str, set[Kind]] = {name: set() for name in params}
        self._result: dict[str | None, set[Kind]] = {}

    def add(self, params: str, result: str | None) -> None:
        """Take note of one row's parameters and result, as canonical texts."""
        for name, each in (keys(value(params)) or {}).items():
            self._params.setdefault(name, set()).add(_kind(each))
        if result is None:
            return
        found = value(result)
        named = keys(found)
        for key, each in {None: found}.items() if named is None else named.items():
            self._result.setdefault(key, set()).add(_kind(each))

    def made(self) -> list[Column]:
        """Give the columns: the task, its parameters, its result, the rest.

        A name that is asked for twice is written ``param.x`` and ``result.x``.
        """
        fields = [name for name in FIELDS if name not in ("params", "result")]
        shown = [key if key is not None else "result" for key in self._result]
        taken = [*fields, *self._params, *shown]
        params = [
            Column(_name("param", name, taken), "params", name, _only(kinds)) for name, kinds in self._params.items()
        ]
        result = [
            Column(_name("result", name, taken) if key is not None else "result", "result", key, _only(kinds))
            for (key, kinds), name in zip(self._result.items(), shown, strict=True)
        ]
        others = [Column(name, "field", name, _KINDS.get(name, "text")) for name in fields]
        return [others[0], *params, *result, *others[1:]]


class Cells:
    """Cuts rows into cells for fixed columns."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = list(columns)
        self._fields = [str(column.key) for column in columns if column.part == "field"]
        self._params = [str(column.key) for column in columns if column.part == "params"]
        self._result = [column.key for column in columns if column.part == "result"]
        self._known: dict[str, set[str | None]] = {"params": {*self._params}, "result": {*self._result}}
        parts = {"field": 0, "params": len(self._fields), "result": len(self._fields) + len(self._params)}
        self._order = []
        for column in columns:
            self._order.append(parts[column.part])
            parts[column.part] += 1
        self._converters = [
            (place, _CONVERTERS[column.kind])
            for place, column in enumerate(columns)
            if column.kind == "json" or (column.kind == "number" and column.part != "field")
        ]

    def of(self, row: Row) -> list[object]:
        """Give the cells of a row, each of the kind of its column; raise `ProvrunError` for a key without a column."""
        params, result = keys(row["params"]) or {}, row["result"]
        named = keys(result)
        if not params.keys() <= self._known["params"] or (named and not named.keys() <= self._known["result"]):
            self._refuse(row)
        if named is None:
            found = [result if key is None else None for key in self._result]
        else:
            found = [named.get(key) if key is not None else None for key in self._result]
        parts = [*map(row.get, self._fields), *map(params.get, self._params), *found]
        cells = [parts[place] for place in self._order]
        for place, convert in self._converters:
            if cells[place] is not None:
                cells[place] = convert(cells[place])
        return cells

    def _refuse(self, row: Row) -> NoReturn:
        unknown = next(
            key for part, known in self._known.items() for key in keys(row[part]) or () if key not in known
        )
        raise ProvrunError(
            f"{row['task']} came meanwhile with {unknown}, which no row had before", value=unknown,
            next="run the command again",
        )


def _name(kind: str, name: str, taken: Sequence[str]) -> str:
    return f"{kind}.{name}" if taken.count(name) > 1 else name


def _kind(found: object) -> Kind:
    if isinstance(found, bool):
        return "truth"
    if isinstance(found, int):
        return "integer" if -_LONGEST <= found < _LONGEST else "json"
    if isinstance(found, float):
        return "number"
    return "text" if isinstance(found, str) else "json"


def _only(kinds: set[Kind]) -> Kind:
    if kinds == {"integer", "number"}:
        return "number"
    return next(iter(kinds)) if len(kinds) == 1 else "json"


def _as_double(found: object) -> object:
    return float(found) if isinstance(found, int) and abs(found) <= _EXACT else found


def _as_json(found: object) -> str:
    return "{}" if found == {} else encode(found)


_CONVERTERS: dict[Kind, Callable[[object], object]] = {"number": _as_double, "json": _as_json}


def discover(params: Sequence[str], texts: Iterable[tuple[str, str | None]]) -> list[Column]:
    """Give the columns of rows with these parameters (named first, in this order) and results, as canonical texts."""
    columns = Columns(params)
    for each in texts:
        columns.add(*each)
    return columns.made()
