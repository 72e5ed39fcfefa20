"""The other registry: a SQLite file that is only read, as of one moment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from provrun.errors import NotFound, Refused, Unavailable
from provrun.store import integrity, migrations
from provrun.store.database import BATCH, Database, Row, SqliteDatabase

_LISTED = 5  # problems of a registry that are told


@contextmanager
def opened(path: Path, scratch: Path) -> Iterator[Database]:
    """Open a registry that is at rest and sound; one of an older schema is brought up to date on a copy in a folder.

    Raises `NotFound` if there is no such file, `Refused` if it cannot be merged.
    """
    copy = scratch / f"merge-{os.getpid()}.sqlite"
    try:
        current = _revision(path) == migrations.HEAD
        if not current:
            _upgraded(path, copy)
        with closing(SqliteDatabase(path if current else copy, readonly=True)) as db, db.reading():
            _require_rest(db, path)
            _require_sound(db, path)
            yield db
    finally:
        for left in (copy, copy.with_name(f"{copy.name}-journal")):
            with suppress(FileNotFoundError):
                left.unlink()


def pages(db: Database, sql: str, values: Sequence[object], start: int = 0) -> Iterator[list[Row]]:
    """Give the rows of a query in pages; its first column is an ascending key, its last ``?`` where to begin."""
    while page := db.fetch(f"{sql} limit {BATCH}", (*values, start)):
        yield page
        start = page[-1][0] + 1


def _revision(path: Path) -> str:
    if not path.is_file():
        raise NotFound(f"no file {path}", value=str(path), next="provrun db backup FILE makes one of a registry")
    try:
        with closing(SqliteDatabase(path, readonly=True)) as db:
            found = migrations.revision(db)
    except Unavailable as error:
        raise Refused(f"{path} is no registry: {error.message}", value=str(path)) from error
    if found is None:
        raise Refused(f"{path} is no registry", value=str(path), next="provrun db backup FILE makes one")
    if found not in migrations.REVISIONS:
        raise Refused(
            f"{path} has schema {found}, which this provrun does not know: a newer one made it", value=found,
            next="pip install --upgrade provrun",
        )
    return found


def _upgraded(path: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    with closing(SqliteDatabase(path, readonly=True)) as db:
        db.copy(copy)
    migrations.upgrade(f"sqlite:///{copy}")


def _require_rest(db: Database, path: Path) -> None:
    if db.one("select 1 from log where open=1") is not None:
        raise Refused(
            f"jobs change {path} through a log", value=str(path),
            next="let them end, then provrun db backup FILE there, and merge that",
        )
    found = db.one("select id, state from job where state in ('queued','running') order by id")
    if found is not None:
        raise Refused(
            f"in {path} job {found[0]} is {found[1]}", value=found[0],
            next="let it end there (or provrun recover, if it is gone), then make the file again",
        )


def _require_sound(db: Database, path: Path) -> None:
    problems = [*db.damage(), *integrity.found(db)]
    if problems:
        told = "".join(f"\n  {problem}" for problem in problems[:_LISTED])
        raise Refused(f"{path} is not sound:{told}", value=str(path), next="provrun db check there tells all of it")
