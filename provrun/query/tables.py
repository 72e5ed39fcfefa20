"""Rows written as CSV, JSON lines, Parquet or HDF5: row by row or in batches, so that ten million need no memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from provrun.errors import MissingExtra, ProvrunError, UsageError
from provrun.query.columns import Cells, Column, Kind
from provrun.query.rows import Row, line

if TYPE_CHECKING:
    import pyarrow

FORMATS = ("table", "csv", "jsonl", "parquet", "hdf5")
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".pq": "parquet", ".h5": "hdf5", ".hdf5": "hdf5"}
_TRUTHS: dict[object, str | None] = {True: "true", False: "false", None: None}
_FILL: dict[Kind, object] = {"number": float("nan"), "integer": -(2**63), "truth": -1}
BATCH = 10_000  # rows that are in memory at once


def format_of(path: Path) -> str:
    """Tell the format of a file from its name; raise `UsageError` if it says nothing."""
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            f"the name {path.name} does not say which format is wanted", value=str(path),
            next=f"give --format, or a name that ends in {', '.join(SUFFIXES)}",
        )
    return found


def write_jsonl(out: IO[bytes], rows: Iterable[Row]) -> int:
    """Write one JSON object per line; the values of the rows were read by `rows.raw`. Gives the number of rows."""
    count = 0
    for row in rows:
        out.write(line(row) + b"\n")
        count += 1
    return count


def write_csv(out: IO[bytes], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write CSV as RFC 4180 has it, with a heading; gives the number of rows."""
    import csv
    import io

    cells = Cells(columns)
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
    try:
        writer = csv.writer(text)
        writer.writerow([column.name for column in columns])
        count = 0
        truths = [place for place, column in enumerate(columns) if column.kind == "truth"]
        for row in rows:
            written = cells.of(row)
            for place in truths:
                written[place] = _TRUTHS[written[place]]
            writer.writerow(written)
            count += 1
    finally:
        text.detach()
    return count


def write_parquet(out: IO[bytes], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write Parquet; gives the number of rows. Raises `MissingExtra` without pyarrow."""
    pyarrow = _imported("pyarrow", "Parquet")
    parquet = _imported("pyarrow.parquet", "Parquet")
    count = 0
    with parquet.ParquetWriter(pyarrow.PythonFile(out, mode="w"), arrow_schema(columns)) as writer:
        for batch in arrow_batches(columns, rows):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def write_hdf5(out: IO[bytes], columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Write HDF5, one dataset per column in the group ``/results``; gives the number of rows.

    HDF5 knows no missing values: NaN stands for those of doubles, the smallest integer for those of integers, "" for
    those of text, and -1 for those of truth values, which are small integers. Raises `MissingExtra` without h5py.
    """
    h5py = _imported("h5py", "HDF5")
    numpy = _imported("numpy", "HDF5")
    with h5py.File(out, "w") as file:
        group = file.create_group("results")
        types = {
            "number": numpy.float64, "integer": numpy.int64, "truth": numpy.int8, "text": h5py.string_dtype(),
            "time": h5py.string_dtype(), "json": h5py.string_dtype(),
        }
        sets = [
            group.create_dataset(
                column.name.replace("/", "|"), shape=(0,), maxshape=(None,), chunks=(BATCH,), dtype=types[column.kind]
            )
            for column in columns
        ]
        count = 0
        for batch in _batches(columns, rows):
            n = len(batch[0])
            for dataset, column, cells in zip(sets, columns, batch, strict=True):
                dataset.resize((count + n,))
                fill = _FILL.get(column.kind, "")
                dataset[count:] = [fill if cell is None else cell for cell in cells]
            count += n
        group.attrs["columns"] = [column.name for column in columns]
    return count


def arrow_schema(columns: Sequence[Column]) -> pyarrow.Schema:
    """Give the Arrow schema of columns; values that are no scalars of one kind are JSON text."""
    arrow = _imported("pyarrow", "Arrow")
    types = {
        "integer": arrow.int64(), "number": arrow.float64(), "truth": arrow.bool_(), "text": arrow.string(),
        "time": arrow.timestamp("us", tz="UTC"), "json": arrow.string(),
    }
    return arrow.schema([arrow.field(column.name, types[column.kind]) for column in columns])


def arrow_batches(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[pyarrow.RecordBatch]:
    """Give rows as Arrow record batches of a fixed size."""
    from datetime import datetime

    arrow = _imported("pyarrow", "Arrow")
    schema = arrow_schema(columns)
    for batch in _batches(columns, rows):
        arrays = []
        for column, values, field in zip(columns, batch, schema, strict=True):
            if column.kind == "time":
                moments = [datetime.fromisoformat(str(each)) if each is not None else None for each in values]
                arrays.append(arrow.array(moments, type=field.type))
            else:
                arrays.append(arrow.array(values, type=field.type))
        yield arrow.record_batch(arrays, schema=schema)


def _batches(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[list[tuple[object, ...]]]:
    """Give rows as columns of cells, some thousand at a time."""
    cells = Cells(columns)
    waiting = iter(rows)
    while several := [cells.of(row) for row in islice(waiting, BATCH)]:
        yield list(zip(*several, strict=True))


def _imported(module: str, what: str) -> Any:  # optional packages that may have no types
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra("data", what) from error


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its place when it is complete; after an error all is as before."""
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ProvrunError(f"cannot write {path}: {error.strerror}", value=str(path)) from error
    try:
        with os.fdopen(handle, "w+b") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(draft).chmod(0o666 & ~mask)
        Path(draft).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
        raise


Writer = Callable[[IO[bytes], Sequence[Column], Iterable[Row]], int]
WRITERS: dict[str, Writer] = {"csv": write_csv, "parquet": write_parquet, "hdf5": write_hdf5}
