"""Rows as flat tables: one column for each parameter, each key of the results, and each other field of a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

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
        if self.key is None:
            return held if keys(held) is None else None
        named = keys(held)
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
        self._params = {column.key for column in columns if column.part == "params"}
        self._result = {column.key for column in columns if column.part == "result"}

    def of(self, row: Row) -> list[object]:
        """Give the cells of a row, each of the kind of its column; raise `ProvrunError` for a key without a column."""
        for part, known in (("params", self._params), ("result", self._result)):
            unknown = [key for key in keys(row[part]) or () if key not in known]
            if unknown:
                raise ProvrunError(
                    f"{row['task']} came meanwhile with {unknown[0]}, which no row had before", value=unknown[0],
                    next="run the command again",
                )
        return [_fitted(column.get(row), column.kind) for column in self.columns]


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


def _fitted(found: object, kind: Kind) -> object:
    if found is None:
        return None
    if kind == "json":
        return encode(found)
    if kind == "number" and isinstance(found, int) and abs(found) <= _EXACT:
        return float(found)
    return found


def written(cell: object) -> str:
    """Write a cell for CSV: nothing for None, text as it is, true and false, the shortest digits of a double."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return repr(cell) if math.isfinite(cell) else {math.inf: "inf", -math.inf: "-inf"}.get(cell, "nan")
    return str(cell)


def discover(params: Sequence[str], texts: Iterable[tuple[str, str | None]]) -> list[Column]:
    """Give the columns of rows with these parameters (named first, in this order) and results, as canonical texts."""
    columns = Columns(params)
    for each in texts:
        columns.add(*each)
    return columns.made()
