"""What a reduce reads: the rows of another map, streamed from a JSON-lines file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import cast

from provrun.run.binding import read_value
from provrun.run.packs import blob_reader
from provrun.run.values import restore


class Rows:
    """The rows of a map, one dict each, with results as the functions returned them; iterates as often as wanted.

    A row has ``task``, ``index``, ``params``, ``result`` and what else the file says of a task.
    """

    def __init__(self, path: str, project: str, workdir: str) -> None:
        self._path = path
        self._project = project
        self._workdir = workdir

    def __iter__(self) -> Iterator[dict[str, object]]:
        """Stream the rows in the order of their indices."""
        with open(self._path, encoding="utf-8") as lines:
            for line in lines:
                row = cast("dict[str, object]", read_value(line))
                if '"$blob"' in line:
                    blobs = cast("Mapping[str, tuple[str, str]]", row.pop("blobs", {}))
                    row["result"] = restore(row.get("result"), blob_reader(self._project, blobs), self._workdir)
                yield row

    def __len__(self) -> int:
        """Count the rows."""
        with open(self._path, "rb") as lines:
            return sum(1 for _ in lines)

    def column(self, name: str) -> list[object]:
        """Give one value per row: a parameter, a key of the results, or ``result`` itself.

        Raises ``KeyError`` when a row has none of that name.
        """
        return [_value(row, name) for row in self]

    def has(self, name: str) -> bool:
        """Tell whether there is such a column, judged by the first row."""
        for row in self:
            try:
                _value(row, name)
            except KeyError:
                return False
            return True
        return name != "result"

    def table(self) -> object:
        """Give the rows as the table users know from results: it becomes a frame of pandas, polars or Arrow."""
        # By name: the Python API stands above this room.
        table = cast("Callable[[Rows], object]", import_module("provrun.api.table").Table)
        return table(self)


def _value(row: Mapping[str, object], name: str) -> object:
    params = cast("Mapping[str, object]", row.get("params") or {})
    if name in params:
        return params[name]
    result = row.get("result")
    if isinstance(result, Mapping) and name in result:
        return cast("Mapping[str, object]", result)[name]
    if name == "result":
        return result
    raise KeyError(name)
