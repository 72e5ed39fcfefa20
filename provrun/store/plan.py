"""The plan of a log: a registry as it stood at some position, in one SQLite file that every replica starts from."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from provrun.store import ddl
from provrun.store.database import Database, Row, SqliteDatabase

CHUNK = 1 << 22


def make(database: Database, path: Path) -> None:
    """Copy a registry into a new file, as of one moment."""
    path.unlink(missing_ok=True)
    if isinstance(database, SqliteDatabase):
        database.copy(path)
    else:
        _copy(database, path)


def _copy(database: Database, path: Path) -> None:
    """Copy table by table: another database has the same tables, whatever it keeps them in."""
    # Nobody uses the file before it is whole, so it may be written as fast as can be.
    with closing(sqlite3.connect(path, isolation_level=None)) as target, database.reading():
        target.execute("pragma synchronous=off")
        target.execute("pragma journal_mode=off")
        target.execute("begin")
        for table, columns in _made(target).items():
            target.execute(f"delete from {table}")
            listed = ",".join(columns)
            rows = database.stream(f"select {listed} from {table}")
            target.executemany(f"insert into {table}({listed}) values({','.join('?' * len(columns))})", rows)
        target.execute("commit")


def _made(empty: sqlite3.Connection) -> dict[str, list[str]]:
    """Make an empty registry and give its tables with their columns."""
    for statement in ddl.statements("sqlite"):
        empty.execute(statement)
    names = [row[0] for row in empty.execute("select name from sqlite_master where type='table' order by name")]
    return {name: [row[1] for row in empty.execute(f"pragma table_info({name})")] for name in names}


def digest(path: Path) -> str:
    """Give the SHA-256 of a file in hex."""
    hashed = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


def position(path: Path, uuid: str) -> int:
    """Give the position of a log at which a plan stands."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as database:
        return int(database.execute("select position from log where uuid=?", (uuid,)).fetchone()[0])


def fetch(source: Path, target: Path) -> str:
    """Copy a plan to this host's own disk and give the digest of what was copied."""
    hashed = sha256()
    with source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(CHUNK):
            hashed.update(chunk)
            write.write(chunk)
    return hashed.hexdigest()


def dump(database: Database) -> dict[str, list[Row]]:
    """Give all rows of all tables, sorted: equal for replicas at the same position, whatever database they are in."""
    with closing(sqlite3.connect(":memory:")) as empty:
        tables = _made(empty)
    with database.reading():
        return {
            name: sorted(map(_plain, database.stream(f"select {','.join(columns)} from {name}")), key=repr)
            for name, columns in tables.items()
        }


def _plain(row: Row) -> Row:
    return tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
