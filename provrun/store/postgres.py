"""A registry in PostgreSQL, reached through psycopg 3."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from provrun.errors import Contended, DatabaseAway, MissingExtra, StorageFailed, Unavailable
from provrun.store.database import BATCH, Database, Row, one_run

if TYPE_CHECKING:
    import psycopg

# Keys of the advisory locks: "provrun" writers, and the one that submits.
WRITERS = 0x70726F76
SUBMITTERS = 0x70726F77

# A server that is cut off says nothing: find that out within half a minute, not within hours.
PATIENCE: dict[str, object] = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class PostgresDatabase(Database):
    """A connection to a PostgreSQL database; every statement outside of a transaction commits by itself."""

    dialect = "postgresql"

    def __init__(self, url: str, *, readonly: bool = False) -> None:
        super().__init__()
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra("postgres", "a PostgreSQL registry") from error
        self._full = (psycopg.errors.DiskFull, psycopg.errors.IoError)
        self._contended = psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure
        self._errors = (psycopg.OperationalError, psycopg.InterfaceError)
        self._url = url
        self._readonly = readonly
        self._connection = self._connect()

    def _connect(self, **more: int) -> psycopg.Connection[tuple[Any, ...]]:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        try:
            patience = {name: value for name, value in PATIENCE.items() if f"PG{name.upper()}" not in os.environ}
            given = {**patience, **conninfo_to_dict(self._url), **more}
            connection = psycopg.connect(autocommit=True, **given)  # type: ignore[arg-type]  # options by name
            connection.read_only = self._readonly
        except psycopg.ProgrammingError as error:
            raise Unavailable(f"this is no address of a database: {error}".strip(), value=self._url) from error
        except psycopg.OperationalError as error:
            raise DatabaseAway(
                f"the database does not answer: {error}".strip(), next="start it, or see provrun config for its address"
            ) from error
        return connection

    def again(self) -> None:
        super().again()
        self._connection.close()
        self._connection = self._connect(connect_timeout=3)

    def fetch(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(_marks(sql), values)
            return cursor.fetchall() if cursor.description else []

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Row]:
        # A server-side cursor: the rows of ten million tasks never stand in memory. It needs a transaction.
        with self._translated(), self._connection.transaction(), self._connection.cursor("provrun_stream") as cursor:
            cursor.itersize = BATCH
            cursor.execute(_marks(sql), values)
            yield from cursor

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        with self._translated(), self._connection.cursor() as cursor:
            changed = cursor.execute(_marks(sql), values).rowcount
        self.written += max(0, changed)
        return changed

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.executemany(_marks(sql), list(rows))
            changed = max(0, cursor.rowcount)
        self.written += changed
        return changed

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        with (
            self._translated(),
            self._connection.cursor() as cursor,
            cursor.copy(f"copy {table}({','.join(columns)}) from stdin") as copy,
        ):
            for row in rows:
                copy.write_row(row)
                self.written += 1

    def insert_one(self, table: str, columns: Sequence[str], values: Sequence[object]) -> int:
        # Ids go on without a gap, as SQLite's do and a sequence's do not: whoever does the same in another database
        # must get the same ids. Writers follow one another, so nobody else takes this one.
        marks = ",".join("?" * len(columns))
        rows = self.fetch(
            f"insert into {table}(id,{','.join(columns)}) values((select coalesce(max(id),0)+1 from {table}),{marks})"
            " returning id",
            values,
        )
        self.written += 1
        return int(rows[0][0])

    def has_table(self, name: str) -> bool:
        return self.fetch("select to_regclass(?)", (name,)) != [(None,)]

    def damage(self) -> list[str]:
        return []  # PostgreSQL sees to its own files

    @contextmanager
    def writing(self, *, claiming: bool = False) -> Iterator[None]:
        # Readiness and counters are judged from what others have committed, so writers follow one another, as they do
        # in SQLite; claims only take rows that nobody else has locked, and share the lock.
        if self.depth:
            with self._translated(), self._connection.transaction(), self._deeper():
                yield
            return
        lock = "pg_advisory_xact_lock_shared" if claiming else "pg_advisory_xact_lock"
        with self._translated(), self._connection.transaction(), self._deeper():
            self._connection.execute(f"select {lock}({WRITERS})")
            self.require_way()
            yield

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._translated(), self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read read only")
            yield

    @contextmanager
    def aside(self) -> Iterator[None]:
        if self.depth:
            yield
            return
        with self._translated(), self._connection.transaction():
            yield

    def among(self, column: str, indices: Sequence[int]) -> tuple[str, tuple[object, ...]]:
        return one_run(column, indices) or (f"{column} = any(?)", (list(indices),))

    @contextmanager
    def submitting(self) -> Iterator[None]:
        if self.depth:
            yield  # whoever writes keeps out everybody else
            return
        self.fetch(f"select pg_advisory_lock({SUBMITTERS})")
        try:
            yield
        finally:
            # With the connection gone the lock is gone too.
            if not self._connection.closed:
                self.fetch(f"select pg_advisory_unlock({SUBMITTERS})")

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._full as error:
            raise StorageFailed(
                f"writing the registry failed: {error}".strip(), next="free some space and run again"
            ) from error
        except self._contended as error:
            raise Contended(f"the database undid a transaction: {error}".strip()) from error
        except self._errors as error:
            raise DatabaseAway(f"the database does not answer: {error}".strip()) from error


def _marks(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
