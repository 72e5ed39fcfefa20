"""`tasks`, `results` and `find`: rows of tasks, as tables, JSON or files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provrun.cli.options import Face, MapName, command
from provrun.cli.output import encode
from provrun.core.states import State
from provrun.errors import UsageError

if TYPE_CHECKING:
    from provrun.query.rows import Row

STATES = [state.word for state in State]
FORMATS = ["table", "csv", "jsonl", "parquet", "hdf5"]
WIDEST = 60  # characters of a list or object in a table
HEAD = 1000  # rows whose keys make the columns of a table
where = click.option("--where", metavar="CONDITIONS", help="Only tasks for which this holds: 'x > 3 and stale'.")


@command("provrun tasks scan --state failed", "provrun tasks scan --where 'seconds > 60' --columns task,x,seconds")
@click.argument("name", metavar="MAP", type=MapName())
@click.option("--state", type=click.Choice(STATES), help="Only tasks in this state.")
@where
@click.option("--columns", metavar="NAME,...", help="What the table shows: parameters, keys of results, fields.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="At most so many.")
def tasks(
    face: Face, name: str, state: str | None, where: str | None, columns: str | None, limit: int | None
) -> None:
    """List the tasks of a map, in order of index."""
    from provrun.project import asking

    project = face.project()
    chosen = State[state.upper()] if state is not None else None
    own = project.map(name).own
    rows = asking.rows(project, name, where, state=chosen, limit=limit, **_reading(face))
    named = [each.strip() for each in columns.split(",")] if columns is not None else None
    print_rows(face, "tasks", rows, named or ["task", *own, "state", "stale", "attempts", "outcome", "seconds"])


@command("provrun results scan", "provrun results scan --where 'gap < 0.1' -o scan.parquet")
@click.argument("name", metavar="MAP", type=MapName())
@where
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: table, or what FILE's name says.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Written as a whole or not at all.",
)
def results(face: Face, name: str, where: str | None, form: str | None, output: Path | None) -> None:
    """Give the results of a map with the parameters that made them, one row per succeeded task."""
    from provrun.project import asking
    from provrun.query import tables

    project = face.project()
    project.map(name)
    if form is None and output is not None:
        form = tables.format_of(output)
    if output is not None and form == "table":
        raise UsageError("a table is for reading", value="table", next="give --format csv, jsonl, parquet or hdf5")
    if form in (None, "table"):
        rows = asking.results(project, name, where, **_reading(face))
        head = list(islice(rows, HEAD)) if not face.out.json and not face.out.quiet else []
        print_rows(face, "results", chain(head, rows), ["task", *_keys(head)])
        return
    assert form is not None
    if output is None:
        if form == "hdf5":
            raise UsageError("HDF5 goes into a file", value=form, next="add -o FILE.h5")
        asking.write_results(project, name, where, form, sys.stdout.buffer)
        return
    with tables.replacing(output) as out:
        count = asking.write_results(project, name, where, form, out)
    document = {"written": str(output), "format": form, "rows": count}
    face.out.answer(document, refs=[str(output)], text=f"wrote {count:,} rows to {output}")


@command("provrun find 'coupling > 0.9 and result.gap < 0.01'", "provrun find 'outcome == timeout' -q | provrun why -")
@click.argument("conditions", metavar="CONDITIONS...", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
def find(face: Face, conditions: tuple[str, ...], limit: int | None) -> None:
    """Find tasks of all maps; several conditions must hold together. Exits with 4 when there is none."""
    from provrun.project import asking

    text = conditions[0] if len(conditions) == 1 else " and ".join(f"({each})" for each in conditions)
    rows = islice(asking.find(face.project(), text, **_reading(face)), limit)
    print_rows(face, "tasks", rows, ["task", "params", "state", "stale", "outcome", "seconds", "result"])


def print_rows(face: Face, key: str, rows: Iterator[Row], columns: list[str]) -> None:
    """Print rows as they come: ``{key: [...]}`` with ``--json``, REFs with ``-q``, else a table of columns."""
    out = face.out
    plain = out.json or out.quiet
    head = list(islice(rows, 1 if plain else HEAD))  # an error that comes up to here is all that is printed
    if not plain:
        _known(columns, head)
    rows = chain(head, rows)
    if out.json:
        _print_json(key, rows)
    elif out.quiet:
        out.refs(str(row["task"]) for row in rows)
    else:
        out.table(([_cell(row, column) for column in columns] for row in rows), columns)


def _print_json(key: str, rows: Iterable[Row]) -> None:
    from provrun.query.rows import line

    sys.stdout.flush()
    write = sys.stdout.buffer.write
    write(f"{{{encode(key)}:[".encode())
    for number, row in enumerate(rows):
        write(b"," + line(row) if number else line(row))
    write(b"]}\n")
    sys.stdout.buffer.flush()


def _reading(face: Face) -> dict[str, Any]:
    """Say how values are read: for JSON they are passed on as they stand in the registry."""
    from provrun.query.rows import raw, value

    return {"read": raw if face.out.json else value}


def _keys(head: list[Row]) -> list[str]:
    """Name the columns of a table of results: parameters and keys, with a prefix where names clash."""
    from provrun.query.rows import FIELDS, keys

    params = list(dict.fromkeys(key for row in head for key in keys(row["params"]) or ()))
    results = list(dict.fromkeys(key for row in head for key in keys(row["result"]) or ()))
    plain = ["result"] if any(row["result"] is not None and keys(row["result"]) is None for row in head) else []
    taken = {*FIELDS} - {"params", "result"}
    return [
        *(f"param.{name}" if name in taken or name in results else name for name in params),
        *(f"result.{name}" if name in taken or name in params else name for name in results),
        *plain,
    ]


def _cell(row: Row, column: str) -> object:
    from provrun.core.canonical import encode as canonical
    from provrun.query.labels import readable

    found = _value(row, column)
    if not isinstance(found, dict | list):
        return found
    text = readable(canonical(found))
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def _value(row: Row, column: str) -> object:
    from provrun.query.rows import keys

    part, _, name = column.partition(".")
    if name and part in ("param", "result"):
        held = keys(row["params" if part == "param" else "result"]) or {}
        if name in held:
            return held[name]
    for held in (keys(row["params"]) or {}, keys(row["result"]) or {}):
        if column in held:
            return held[column]
    return row.get(column)


def _known(columns: list[str], head: list[Row]) -> None:
    """Raise `UsageError` for a column that none of these rows has."""
    from provrun.core.nearest import suggestion
    from provrun.query.rows import FIELDS, keys

    known = {*FIELDS, *(key for row in head for part in ("params", "result") for key in keys(row[part]) or ())}
    for column in columns:
        if head and column not in known and column.partition(".")[2] not in known:
            nearest = suggestion(column, known, "provrun show TASK tells all there is")
            raise UsageError(f"no column {column}", value=column, next=nearest)
