"""One small connection over two drivers: sqlite3 and psycopg.

Statements are SQL text that both understand, with ``?`` for values: importing SQLAlchemy costs twenty starts of
Python, more than most commands may take, so it is kept for the schema and its migrations.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from provrun.errors import MissingExtra, StorageFailed, Unavailable

Row = tuple[Any, ...]

BUSY_TIMEOUT = 60.0  # seconds a writer waits for another one
CACHE_KIB = 32_000


class Database(ABC):
    """A connection of one process to the registry's tables."""

    dialect: str

    @abstractmethod
    def fetch(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Run a statement and give all its rows."""

    @abstractmethod
    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Row]:
        """Run a query and give its rows one by one."""

    @abstractmethod
    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement and give the number of rows it changed."""

    @abstractmethod
    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Run a statement once for each row of values and give the number of rows changed in all."""

    @abstractmethod
    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Insert many rows the fastest way the database has."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """Open a writing transaction: committed at the end of the block, rolled back on any error."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


class SqliteDatabase(Database):
    """A registry in one SQLite file on this host.

    ``journal_mode=TRUNCATE`` with full sync: before 3.51.3 WAL can corrupt with two writers, and in large batches it
    is no faster.
    """

    dialect = "sqlite"

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        mode = "ro" if readonly else "rw"
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT, isolation_level=None,
                check_same_thread=False,
            )
            self._connection.execute(f"pragma cache_size=-{CACHE_KIB}")
            if not readonly:
                self._connection.execute("pragma journal_mode=truncate")
                self._connection.execute("pragma synchronous=full")
                self._connection.execute("pragma foreign_keys=on")
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the registry: {error}", value=str(path)) from error

    def fetch(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        with _translated():
            return self._connection.execute(sql, values).fetchall()

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Row]:
        with _translated():
            yield from self._connection.execute(sql, values)

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        with _translated():
            return self._connection.execute(sql, values).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        with _translated():
            return self._connection.executemany(sql, rows).rowcount

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        marks = ",".join("?" * len(columns))
        self.run_many(f"insert into {table}({','.join(columns)}) values({marks})", rows)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with _translated():
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors into ours, each with its own exit code."""
    try:
        yield
    except sqlite3.OperationalError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise StorageFailed(f"writing the registry failed: {error}", next="free some space and run again") from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise Unavailable(f"the registry cannot be used now: {error}") from error
        raise


class PostgresDatabase(Database):
    """A registry in a PostgreSQL database, reached through psycopg 3."""

    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra("postgres", "a PostgreSQL registry") from error
        self._errors = psycopg.OperationalError
        try:
            self._connection = psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as error:
            raise Unavailable(f"the database does not answer: {error}".strip()) from error

    def fetch(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(_marks(sql), values)
            return cursor.fetchall() if cursor.description else []

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Row]:
        # A server-side cursor: the rows of ten million tasks never stand in memory. It needs a transaction.
        with self._translated(), self._connection.transaction(), self._connection.cursor("provrun_stream") as cursor:
            cursor.itersize = 5000
            cursor.execute(_marks(sql), values)
            yield from cursor

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        with self._translated(), self._connection.cursor() as cursor:
            return cursor.execute(_marks(sql), values).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.executemany(_marks(sql), list(rows))
            return cursor.rowcount

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        with (
            self._translated(),
            self._connection.cursor() as cursor,
            cursor.copy(f"copy {table}({','.join(columns)}) from stdin") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._translated(), self._connection.transaction():
            yield

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise Unavailable(f"the database does not answer: {error}".strip()) from error


def _marks(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def connect(url: str, *, readonly: bool = False) -> Database:
    """Open the registry at ``url``: ``sqlite:///PATH`` or ``postgresql://...``."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")), readonly=readonly)
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(url)
    raise Unavailable("this kind of database is not known", value=url, next="use sqlite:///PATH or postgresql://...")
