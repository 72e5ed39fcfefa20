"""Parameters from files: tables of named values, and lists of one value a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TypeAlias

from provrun.core.canonical import encode, read_json
from provrun.core.items import item_text
from provrun.core.problems import Problems
from provrun.core.space import Cell, Rows
from provrun.errors import MissingExtra, UsageError
from provrun.submit.rereading import Source

Row: TypeAlias = tuple[str, Mapping[str, str]]
"""Where a row stands in its file, and the canonical texts of its values by name."""
Reader: TypeAlias = Callable[[Source, Problems], Iterator[Row]]


class Listed:
    """The axis of a file with one value a line, blank lines left out; ``literal`` takes each line as text."""

    distinct = False

    def __init__(self, file: str | Path, literal: bool) -> None:
        self._source = Source(file)
        self._text = encode if literal else item_text
        self.size, self._first, self._last = 0, "", ""
        problems = Problems(self._source.name)
        for text in self._read(problems):
            self.size, self._first, self._last = self.size + 1, self._first or text, text
        problems.raise_any()
        if not self.size:
            raise UsageError(f"{self._source.name} has no values", value=self._source.name)

    def texts(self) -> Iterator[str]:
        return self._read(Problems(self._source.name))

    def text(self, index: int) -> str:
        position = range(self.size)[index]
        return self._first if position == 0 else self._last if position == self.size - 1 else self._all[position]

    @cached_property
    def _all(self) -> list[str]:
        return list(self.texts())

    def _read(self, problems: Problems) -> Iterator[str]:
        for number, line in self._source.lines(problems):
            if line.strip():
                with problems.at(f"{self._source.name} line {number}"):
                    yield self._text(line.rstrip("\r\n"))


def read_rows(file: str | Path) -> Rows:
    """Return the rows of a ``.jsonl``, ``.json``, ``.csv``, ``.tsv`` or ``.parquet`` file.

    The file is read once now, to report all its problems together (``InvalidInput``), and again at each pass.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in _READERS:
        raise UsageError(f"{file}: rows are read from {', '.join(_READERS)}", value=str(file))
    source, problems = Source(file), Problems(str(file))
    names: tuple[str, ...] = ()
    first: Cell = ()
    last: Cell = ()
    size = 0
    for place, row in _READERS[suffix](source, problems):
        names = names or tuple(row)
        if row.keys() != set(names):
            problems.add(f"{place}: names {_listed(row)}, the first row names {_listed(names)}")
            continue
        last = tuple(row[name] for name in names)
        size, first = size + 1, first or last
    problems.raise_any()
    if not size:
        raise UsageError(f"{source.name} has no rows", value=source.name)
    return Rows(names, size, partial(_cells, _READERS[suffix], source, names), ends=(first, last), distinct=False)


def _cells(reader: Reader, source: Source, names: tuple[str, ...]) -> Iterator[Cell]:
    problems = Problems(source.name)
    for _, row in reader(source, problems):
        yield tuple(row[name] for name in names)
    problems.raise_any()


def _separated(source: Source, problems: Problems, *, delimiter: str) -> Iterator[Row]:
    rows = csv.reader((line for _, line in source.lines(problems)), delimiter=delimiter, strict=True)
    names: list[str] = []
    texts: list[Callable[[str], str]] = []
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            problems.add(f"{source.name} line {rows.line_num}: {error}")
            continue
        if cells is None:
            return
        place = f"{source.name} line {rows.line_num}"
        if not names:
            names = [cell.strip().removesuffix(":text") for cell in cells]
            texts = [encode if cell.strip().endswith(":text") else item_text for cell in cells]
            if wrong := _misnamed(names):
                problems.add(f"{place}: {wrong}")
                return
        elif len(cells) == len(names):
            with problems.at(place):
                yield place, {name: text(cell) for name, text, cell in zip(names, texts, cells, strict=True)}
        elif cells:
            problems.add(f"{place}: {len(cells)} values for {len(names)} names")


def _json_lines(source: Source, problems: Problems) -> Iterator[Row]:
    lines = source.lines(problems)
    return _objects(((f"{source.name} line {number}", line) for number, line in lines if line.strip()), problems)


def _json_list(source: Source, problems: Problems) -> Iterator[Row]:
    return _objects(_elements(source, problems), problems)


def _elements(source: Source, problems: Problems) -> Iterator[tuple[str, str]]:
    """Yield each element of a JSON list as text, so that of a long list only its text is in memory."""
    with source.opened() as stream:
        content = stream.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "".join(line for _, line in source.lines(problems))
    del content
    scan, at, line = json.JSONDecoder().raw_decode, _after_space(text, 0), 1
    line += text.count("\n", 0, at)
    if text[at : at + 1] != "[":
        problems.add(f"{source.name} line {line}: is no JSON list of rows")
        return
    first = _after_space(text, at + 1)
    at = first if text[first : first + 1] == "]" else at
    while text[at : at + 1] != "]":
        begin = _after_space(text, at + 1)
        line += text.count("\n", at, begin)
        try:
            end = scan(text, begin)[1]
        except json.JSONDecodeError as error:
            problems.add(f"{source.name} line {error.lineno}: {error.msg}")
            return
        yield f"{source.name} line {line}", text[begin:end]
        at = _after_space(text, end)
        line += text.count("\n", begin, at)
        if text[at : at + 1] not in (",", "]"):
            problems.add(f"{source.name} line {line}: a comma or ] is missing")
            return


def _objects(texts: Iterator[tuple[str, str]], problems: Problems) -> Iterator[Row]:
    names: Collection[str] = ()
    for place, text in texts:
        with problems.at(place):
            row = read_json(text)
            if not isinstance(row, dict):
                raise UsageError("is no object of named values")
            if row.keys() != names:
                if wrong := _misnamed(list(row)):
                    raise UsageError(wrong)
                names = row.keys()
            yield place, {name: encode(value) for name, value in row.items()}


def _parquet(source: Source, problems: Problems) -> Iterator[Row]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingExtra("data", f"reading {source.name}") from None
    with source.opened() as stream:
        try:
            table = ParquetFile(stream)
        except ArrowInvalid as error:
            problems.add(f"{source.name}: {error}")
            return
        if wrong := _misnamed(table.schema_arrow.names):
            problems.add(f"{source.name}: {wrong}")
            return
        number = 0
        for batch in table.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                number += 1
                place = f"{source.name} row {number}"
                with problems.at(place):
                    yield place, {name: encode(value) for name, value in row.items()}


_READERS: dict[str, Reader] = {
    ".jsonl": _json_lines,
    ".json": _json_list,
    ".csv": partial(_separated, delimiter=","),
    ".tsv": partial(_separated, delimiter="\t"),
    ".parquet": _parquet,
}


def _misnamed(names: list[str]) -> str | None:
    for name in names:
        if not name.isidentifier():
            return f"{name!r} is no parameter name; use letters, digits and _"
        if names.count(name) > 1:
            return f"{name} is named twice"
    return None


def _listed(names: Mapping[str, str] | tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
