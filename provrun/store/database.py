"""One small connection over two drivers: sqlite3 and psycopg.

Statements are SQL text that both understand, with ``?`` for values: importing SQLAlchemy costs twenty starts of
Python, more than most commands may take, so it is kept for the schema and its migrations.
"""

from __future__ import annotations

import fcntl
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from provrun.errors import Contended, ProvrunError, StorageFailed, Unavailable

if TYPE_CHECKING:
    from provrun.store.host_lock import HostLock

Result = TypeVar("Result")
Row = tuple[Any, ...]

BUSY_TIMEOUT = 60.0  # seconds a writer waits for another one
CACHE_KIB = 8_000
BATCH = 5_000  # rows of one page of a long read
FEW = 200  # integers that stand in a statement's text: beyond, a temporary table is quicker


class LogIsOpen(Exception):
    """The registry may be changed through this log only."""

    def __init__(self, uuid: str) -> None:
        super().__init__(uuid)
        self.uuid = uuid


class LogIsClosed(Exception):
    """The log through which the registry was to be changed is closed."""


class Database(ABC):
    """A connection of one process to the registry's tables."""

    dialect: str

    def __init__(self) -> None:
        self.claimed: dict[tuple[int, int], int] = {}
        """How far the tasks of a (map, priority) have been claimed over this connection: see `claiming`."""
        self.written = 0
        """How many rows have been written: a call that leaves it as it was has changed nothing."""
        self.depth = 0
        """How many writing transactions are open, one in the other."""
        self.guarded = False
        """Whether writing asks first if a log is open, through which alone the registry may be changed then."""
        self.through: str | None = None
        """The log whose entries are being folded in over this connection."""

    @abstractmethod
    def fetch(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Run a statement and give all its rows."""

    @abstractmethod
    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Row]:
        """Run a query and give its rows one by one; nothing else may use the connection until they are read."""

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
    def insert_one(self, table: str, columns: Sequence[str], values: Sequence[object]) -> int:
        """Insert one row and give the ``id`` it got."""

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Tell whether there is a table of this name."""

    @abstractmethod
    def damage(self) -> list[str]:
        """Give what the database itself finds wrong with its files."""

    @abstractmethod
    def writing(self, *, claiming: bool = False) -> AbstractContextManager[None]:
        """Open a writing transaction: committed at the end of the block, rolled back on any error.

        Writers follow one another. Only those that take pending tasks (``claiming``) may do so side by side where
        the database can. A transaction within a transaction is undone alone, and committed with the outer one.
        Raises `LogIsOpen` if the registry may be changed through a log only.
        """

    @abstractmethod
    def reading(self) -> AbstractContextManager[None]:
        """Open a reading transaction: all reads of the block see one state of the registry."""

    @abstractmethod
    def aside(self) -> AbstractContextManager[None]:
        """Open a transaction that writes temporary tables only, and keeps nobody waiting."""

    @abstractmethod
    def among(self, column: str, indices: Sequence[int]) -> tuple[str, tuple[object, ...]]:
        """Give a condition that ``column`` is one of ascending integers, and its values; good until the next call."""

    @abstractmethod
    def submitting(self) -> AbstractContextManager[None]:
        """Hold the right to submit, which one process has at a time, over many transactions; lost with the process."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def again(self) -> None:
        """Connect anew, where a connection can get lost; `Unavailable` if nobody answers."""
        self.claimed.clear()

    def require_way(self) -> None:
        """Raise `LogIsOpen` unless the transaction that begins is made the way the registry is changed now."""
        if not self.guarded:
            return
        found = self.one("select uuid from log where open=1")
        if found is not None and found[0] != self.through:
            raise LogIsOpen(str(found[0]))
        if found is None and self.through is not None:
            raise LogIsClosed(self.through)

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """Give the only row of a query, or None."""
        rows = self.fetch(sql, values)
        return rows[0] if rows else None


class SqliteDatabase(Database):
    """A registry in one SQLite file on this host.

    ``journal_mode=TRUNCATE`` with full sync: before 3.51.3 WAL can corrupt with two writers, and in large batches it
    is no faster.
    """

    dialect = "sqlite"

    def __init__(
        self, path: Path, *, readonly: bool = False, create: bool = False, durable: bool = True,
        patience: float = BUSY_TIMEOUT, shared: bool | None = None,
    ) -> None:
        """Open a file; one that is not ``durable`` can be made anew, should the host break down.

        ``shared``: other hosts may write it; None: whether that is so is found out.
        """
        super().__init__()
        self._shared = shared if durable else False
        self._patience = patience
        self._lock: HostLock | None = None
        # Even a reader must be able to roll back what a writer left that died: `query_only` keeps it from the rest.
        mode = "rwc" if create else "rw"
        self._path = path
        self._readonly = readonly
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=patience, isolation_level=None,
                check_same_thread=False, cached_statements=256,
            )
            self._connection.execute(f"pragma cache_size=-{CACHE_KIB}")
            self._connection.execute(f"pragma temp.cache_size=-{4 * CACHE_KIB}")
            if readonly:
                self._connection.execute("pragma query_only=on")
            else:
                self._connection.execute("pragma journal_mode=truncate")
                self._connection.execute(f"pragma synchronous={'full' if durable else 'off'}")
                self._connection.execute("pragma foreign_keys=on")
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the registry: {error}", value=str(path)) from error

    def fetch(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise _said(error) from error

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Row]:
        try:
            yield from self._connection.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise _said(error) from error

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        try:
            changed = self._connection.execute(sql, values).rowcount
        except sqlite3.DatabaseError as error:
            raise _said(error) from error
        self.written += max(0, changed)
        return changed

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        try:
            changed = self._connection.executemany(sql, rows).rowcount
        except sqlite3.DatabaseError as error:
            raise _said(error) from error
        self.written += max(0, changed)
        return changed

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        self.run_many(_insertion(table, columns), rows)

    def insert_one(self, table: str, columns: Sequence[str], values: Sequence[object]) -> int:
        try:
            made = self._connection.execute(_insertion(table, columns), values).lastrowid
        except sqlite3.DatabaseError as error:
            raise _said(error) from error
        assert made is not None
        self.written += 1
        return made

    def has_table(self, name: str) -> bool:
        return bool(self.fetch("select 1 from sqlite_master where type='table' and name=?", (name,)))

    def damage(self) -> list[str]:
        found = [str(row[0]) for row in self.fetch("pragma integrity_check")]
        dangling = self.fetch("pragma foreign_key_check")
        return [*(line for line in found if line != "ok"), *(f"{row[0]} refers to no {row[2]}" for row in dangling)]

    @contextmanager
    def writing(self, *, claiming: bool = False) -> Iterator[None]:
        if self.depth:
            with self._within():
                yield
            return
        with self._among_hosts():
            self.run("begin immediate")
            self.depth = 1
            try:
                self.require_way()
                yield
                self.run("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise
            finally:
                self.depth = 0

    def _among_hosts(self) -> AbstractContextManager[None]:
        """Keep out writers of other hosts, if there can be any."""
        if self._shared is False:
            return nullcontext()
        if self._lock is None:
            from provrun.store.host_lock import HostLock, is_shared

            self._shared = is_shared(self._path) if self._shared is None else True
            if not self._shared:
                return nullcontext()
            self._lock = HostLock(self._path, self._patience)
        return self._lock.held()

    @contextmanager
    def _within(self) -> Iterator[None]:
        name = f"within{self.depth}"
        self.run(f"savepoint {name}")
        self.depth += 1
        try:
            yield
            self.run(f"release savepoint {name}")
        except BaseException:
            # After some errors SQLite has undone the whole transaction itself.
            if self._connection.in_transaction:
                self._connection.execute(f"rollback to savepoint {name}")
                self._connection.execute(f"release savepoint {name}")
            raise
        finally:
            self.depth -= 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        self.run("begin")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("rollback")

    @contextmanager
    def aside(self) -> Iterator[None]:
        if self.depth:
            yield
            return
        self.run("begin")
        try:
            yield
            self.run("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise

    def among(self, column: str, indices: Sequence[int]) -> tuple[str, tuple[object, ...]]:
        run = one_run(column, indices)
        if run is not None:
            return run
        if self._readonly or len(indices) <= FEW:
            return f"{column} in ({','.join(map(str, indices))})", ()
        with nullcontext() if self._connection.in_transaction else self.aside():
            self.run("create temp table if not exists listed(idx integer primary key)")
            self.run("delete from temp.listed")
            self.run_many("insert into temp.listed values(?)", ((index,) for index in indices))
        return f"{column} in (select idx from temp.listed)", ()

    @contextmanager
    def submitting(self) -> Iterator[None]:
        if self.depth:
            yield  # whoever writes keeps out everybody else
            return
        # A file beside the registry: closing any descriptor of the registry itself would drop SQLite's own locks.
        with self._path.with_name(f"{self._path.name}-submitting").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def copy(self, path: Path) -> None:
        """Copy all of it into a file, as of one moment."""
        try:
            with closing(sqlite3.connect(path)) as target:
                self._connection.backup(target)
        except sqlite3.DatabaseError as error:
            raise _said(error) from error

    def close(self) -> None:
        self._connection.close()


def undisturbed(call: Callable[[], Result]) -> Result:
    """Run a transaction, and again when the database has undone it in favour of another one."""
    for pause in (0.01, 0.05, 0.2, 1.0):
        try:
            return call()
        except Contended:
            time.sleep(pause * (0.5 + time.monotonic_ns() % 1000 / 1000))  # so that two do not meet again
    return call()


def one_run(column: str, indices: Sequence[int]) -> tuple[str, tuple[object, ...]] | None:
    """Give the condition for integers that follow one another without a gap; None for others."""
    if len(indices) == 0:
        return "1=0", ()
    if indices[-1] - indices[0] == len(indices) - 1:
        return f"{column}>=? and {column}<=?", (indices[0], indices[-1])
    return None


def _insertion(table: str, columns: Sequence[str]) -> str:
    return f"insert into {table}({','.join(columns)}) values({','.join('?' * len(columns))})"


def _said(error: sqlite3.DatabaseError) -> ProvrunError | sqlite3.DatabaseError:
    """Turn the driver's error into ours, each kind with its own exit code."""
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return StorageFailed(f"writing the registry failed: {error}", next="free some space and run again")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return Unavailable(f"the registry cannot be used now: {error}")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return Unavailable(f"the registry cannot be read: {error}", next="provrun db check, or restore a backup")
    return error


def connect(
    url: str, *, readonly: bool = False, create: bool = False, patience: float = BUSY_TIMEOUT
) -> Database:
    """Open the database at ``url``: ``sqlite:///PATH`` or ``postgresql://...``; ``create`` makes a missing file.

    A writer waits up to ``patience`` seconds for others where the database is a file.
    """
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        return SqliteDatabase(path, readonly=readonly, create=create, patience=patience)
    if url.startswith(("postgresql://", "postgres://")):
        from provrun.store.postgres import PostgresDatabase

        return PostgresDatabase(url, readonly=readonly)
    raise Unavailable("this kind of database is not known", value=url, next="use sqlite:///PATH or postgresql://...")


@contextmanager
def opened(url: str, *, readonly: bool = False) -> Iterator[Database]:
    """Open the database at ``url`` for one block."""
    with closing(connect(url, readonly=readonly)) as database:
        yield database
