"""What commands print: data on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

Document = Mapping[str, object]


def encode(value: object) -> str:
    """Give JSON text; NaN and infinities must stand as ``{"$float": ...}`` already."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def as_json(value: object) -> object:
    """Give a value of provrun as plain JSON has it: NaN and infinities as ``{"$float": ...}``."""
    from provrun.core.canonical import encode as canonical

    return json.loads(canonical(value))


class Output:
    """Prints the answer of one command in the form that was asked for: text, ``--json`` or ``-q``."""

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet

    def answer(self, document: Document, *, refs: Iterable[str] = (), text: str | None = None) -> None:
        """Print the document with ``--json``, the references with ``-q``, else the text."""
        if self.json:
            print(encode(document))
        elif self.quiet:
            self.refs(refs)
        elif text:
            print(text)

    def refs(self, refs: Iterable[str]) -> None:
        """Print references, one per line."""
        for ref in refs:
            print(ref)

    def rows(
        self, key: str, rows: Iterable[Document], *, ref: str, columns: Sequence[str], headings: Sequence[str] = ()
    ) -> int:
        """Print rows as they come, so that ten million need no memory, and give their number.

        ``--json`` gives ``{key: [...]}``, ``-q`` the values of ``ref``, else a table of ``columns``.
        """
        count = 0
        if self.json:
            print(f"{{{encode(key)}:[", end="")
            for row in rows:
                print("," if count else "", encode(row), sep="", end="")
                count += 1
            print("]}")
        elif self.quiet:
            for row in rows:
                count += 1
                print(row[ref])
        else:
            count = self.table(([row.get(column) for column in columns] for row in rows), headings or columns)
        return count

    def table(self, rows: Iterable[Sequence[object]], headings: Sequence[str]) -> int:
        """Print rows in columns as wide as the first hundred need, and give their number."""
        waiting: list[list[str]] = []
        widths: list[int] = []
        count = 0
        for row in rows:
            count += 1
            waiting.append([cell(value) for value in row])
            if count == 100:
                widths = _flush(waiting, widths, headings)
        _flush(waiting, widths, headings)
        return count

    def say(self, text: str) -> None:
        """Tell the user something on stderr; silent with ``-q``."""
        if not self.quiet:
            print(visible(text), file=sys.stderr)

    def warn(self, text: str) -> None:
        """Tell the user on stderr what he must know even with ``-q``."""
        print(f"{styled('warning:', '33', sys.stderr)} {visible(text)}", file=sys.stderr)


def _flush(waiting: list[list[str]], widths: list[int], headings: Sequence[str]) -> list[int]:
    if not widths:
        heads = [heading.upper() for heading in headings]
        widths = [max(map(len, column)) for column in zip(heads, *waiting, strict=True)]
        print(_line(heads, widths))
    for cells in waiting:
        print(_line(cells, widths))
    waiting.clear()
    return widths


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()


def cell(value: object) -> str:
    """Give a value as a person reads it in a table: nothing for None, text as it is, else JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\n", "\\n").replace("\t", "\\t")
    if isinstance(value, float):
        return f"{value:.6g}"
    return encode(value)


def visible(text: str) -> str:
    """Show control characters, which could change what a terminal shows: text may be a stranger's, as on a page."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text
    )


def colourful(stream: TextIO) -> bool:
    """Tell whether colour and animation are welcome: on a terminal, unless ``NO_COLOR`` is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, code: str, stream: TextIO) -> str:
    """Wrap text in an ANSI style where the stream welcomes it."""
    return f"\x1b[{code}m{text}\x1b[0m" if colourful(stream) else text
