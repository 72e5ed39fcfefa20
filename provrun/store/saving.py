"""A copy of a registry that stands by itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from provrun.store import plan
from provrun.store.database import Database


def save(database: Database, path: Path) -> tuple[int, int]:
    """Copy a registry into a new SQLite file, as of one moment; give the number of its maps and tasks."""
    plan.make(database, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # Whoever restores it has no log to follow: what has been folded in is what there is.
        copy.execute("update log set open=0")
        (found,) = copy.execute("select count(*), coalesce(sum(size), 0) from map where state>0").fetchall()
    return int(found[0]), int(found[1])
