"""Files of commands: one shell command a line, as qdo, ParaFly and launcher have them.

A task is a line and its occurrence, counted from 1, so that a line that stands twice is two tasks, and a longer file
adds only what is new. Blank lines and lines that begin with ``#`` are skipped; braces are literal.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

from provrun.core.canonical import encode
from provrun.core.problems import Problems
from provrun.core.space import Cell, Rows
from provrun.submit.rereading import Source

LINE_PARAMETERS = ("line", "occurrence")
_BITS = 27


def read_lines(file: str | Path) -> Rows:
    """Return the space of the commands in ``file`` (``-`` is standard input), parameters ``line`` and ``occurrence``.

    The file is read once now, to report all its problems together (``InvalidInput``), and again at each pass.
    """
    source = Source(file)
    problems = Problems(source.name)
    # A set of all lines would take 100 bytes a line; a bit for each finds the few that may stand twice.
    seen, suspects = bytearray(1 << _BITS - 3), set()
    size, first, last = 0, "", ""
    for line in _commands(source, problems):
        mark = hash(line)
        byte, bit = mark >> 3 & (1 << _BITS - 3) - 1, 1 << (mark & 7)
        if seen[byte] & bit:
            suspects.add(mark)
        seen[byte] |= bit
        size, first, last = size + 1, first or line, line
    problems.raise_any()
    before = sum(line == last for line in _commands(source, problems)) if hash(last) in suspects else 1
    ends = ((encode(first), "1"), (encode(last), str(before)))
    return Rows(LINE_PARAMETERS, size, partial(_cells, source, suspects), ends=ends[: min(size, 2)], distinct=True)


def _cells(source: Source, suspects: set[int]) -> Iterator[Cell]:
    problems = Problems(source.name)
    counts: dict[bytes, int] = {}
    for line in _commands(source, problems):
        occurrence = 1
        if hash(line) in suspects:
            key = sha256(line.encode()).digest()[:16]
            occurrence = counts[key] = counts.get(key, 0) + 1
        yield encode(line), str(occurrence)
    problems.raise_any()


def _commands(source: Source, problems: Problems) -> Iterator[str]:
    for number, line in source.lines(problems):
        command = line.rstrip("\r\n")
        if "\0" in command:
            problems.add(f"{source.name} line {number}: holds the NUL character, which no command can")
        elif command.strip() and not command.lstrip().startswith("#"):
            yield command
