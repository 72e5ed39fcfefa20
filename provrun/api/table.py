"""Results as a table: iterates rows, becomes a frame of whatever library is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from provrun.core.canonical import encode
from provrun.errors import MissingExtra
from provrun.query.columns import Column, Columns, discover
from provrun.query.tables import arrow_batches, arrow_schema

if TYPE_CHECKING:
    from provrun.query.rows import Row

Rows = Iterable[dict[str, object]]
SHOWN = 10


class Table:
    """Rows of tasks and results, read again from their source at each use: nothing is held in memory.

    Iterating gives row dicts with ``params`` and ``result`` as Python values; frames have one column for each
    parameter and each key of the results (``param.x`` and ``result.x`` where names clash).
    """

    def __init__(self, rows: Rows, *, columns: Callable[[], list[Column]] | None = None) -> None:
        """``rows`` can be iterated again and again; ``columns`` finds their columns faster than reading them all."""
        self._rows = rows
        self._columns = columns

    def __iter__(self) -> Iterator[dict[str, object]]:
        return iter(self._rows)

    def __len__(self) -> int:
        length = getattr(self._rows, "__len__", None)
        return int(length()) if length is not None else sum(1 for _ in self._rows)

    def __getitem__(self, number: int) -> dict[str, object]:
        """Give one row by its place."""
        if number < 0:
            number += len(self)
        for place, row in enumerate(self):
            if place == number:
                return row
        raise IndexError(number)

    @property
    def columns(self) -> list[str]:
        """The names of the columns of a frame."""
        return [column.name for column in self._found()]

    def column(self, name: str) -> list[object]:
        """Give one column as a list; ``KeyError`` if there is none of that name."""
        column = next((one for one in self._found() if one.name == name), None)
        if column is None:
            raise KeyError(name)
        return [column.get(full(row)) for row in self]

    def arrow(self) -> Any:  # pyarrow is optional and has no types
        """Give a ``pyarrow.Table``; `MissingExtra` without pyarrow."""
        found = self._found()
        try:
            import pyarrow
        except ImportError as error:
            raise MissingExtra("data", "an Arrow table") from error
        batches = arrow_batches(found, (full(row) for row in self))
        return pyarrow.Table.from_batches(batches, schema=arrow_schema(found))

    def pandas(self) -> Any:  # as above
        """Give a pandas data frame; `MissingExtra` without pandas."""
        return self.arrow().to_pandas()

    def polars(self) -> Any:  # as above
        """Give a polars data frame; `MissingExtra` without polars."""
        try:
            import polars
        except ImportError as error:
            raise MissingExtra("data", "a polars frame (pip install polars)") from error
        return polars.from_arrow(self.arrow())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Speak the Arrow C stream interface, which DuckDB, polars and others read directly."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    def _found(self) -> list[Column]:
        if self._columns is not None:
            return self._columns()
        return discover((), ((encode(_plain(row["params"])), _text(row)) for row in self))

    def __repr__(self) -> str:
        lines = ["  ".join(cells) for cells in self._shown()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        head, *rest = ["".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in self._shown()]
        body = "".join(f"<tr>{row}</tr>" for row in rest)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _shown(self) -> list[list[str]]:
        """Give the heads and the first rows as texts of equal width."""
        wanted = [column for column in self._found() if column.part != "field" or column.name in ("task", "state")]
        cells = [[column.name for column in wanted]]
        more = 0
        for row in self:
            if len(cells) <= SHOWN:
                cells.append([_brief(column.get(full(row))) for column in wanted])
            else:
                more += 1
        widths = [max(len(line[place]) for line in cells) for place in range(len(wanted))]
        made = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in cells]
        return made if not more else [*made, [f"and {more} more rows"]]


def full(row: dict[str, object]) -> Row:
    """Give a row every field, so that its cells can be cut."""
    from provrun.query.rows import FIELDS

    return dict.fromkeys(FIELDS) | {name: _plain(value) if name == "result" else value for name, value in row.items()}


def _plain(value: object) -> Any:  # JSON values of any shape
    """Give a value as JSON has it: arrays become lists, what JSON has no word for its text."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "tolist"):
        listed = value.tolist()
        return _plain(listed) if not isinstance(listed, complex) else str(listed)
    return str(value)


def _text(row: dict[str, object]) -> str | None:
    result = row.get("result")
    return None if result is None else encode(_plain(result))


def _brief(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) \
        else encode(_plain(value))
    return text if len(text) <= 40 else text[:37] + "..."


__all__ = ["Columns", "Table", "full"]
