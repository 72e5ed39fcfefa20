"""A registry in PostgreSQL, reached through psycopg 3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from provrun.errors import MissingExtra, StorageFailed, Unavailable
from provrun.store.database import BATCH, Database, Row, one_run

# Keys of the advisory locks: "provrun" writers, and the one that submits.
WRITERS = 0x70726F76
SUBMITTERS = 0x70726F77


class PostgresDatabase(Database):
    """A connection to a PostgreSQL database; every statement outside of a transaction commits by itself."""

    dialect = "postgresql"

    def __init__(self, url: str, *, readonly: bool = False) -> None:
        super().__init__()
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra("postgres", "a PostgreSQL registry") from error
        self._full = psycopg.errors.DiskFull
        self._errors = (psycopg.OperationalError, psycopg.InterfaceError)
        try:
            self._connection = psycopg.connect(url, autocommit=True)
            self._connection.read_only = readonly
        except psycopg.OperationalError as error:
            raise Unavailable(f"the database does not answer: {error}".strip()) from error

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
            raise StorageFailed(f"writing the registry failed: {error}".strip()) from error
        except self._errors as error:
            raise Unavailable(f"the database does not answer: {error}".strip()) from error


def _marks(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
