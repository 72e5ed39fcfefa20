"""Whether the schema of a registry is whole: every table and index that a new one would have."""

from __future__ import annotations

import re

from provrun.store import ddl
from provrun.store.database import Database

_MADE = re.compile(r"create (?:table|(?:unique )?index) (\w+)", re.IGNORECASE)
_PRESENT = {
    "sqlite": "select name from sqlite_master where type in ('table', 'index')",
    "postgresql": "select relname from pg_class where relkind in ('r', 'i')"
    " and relnamespace=current_schema()::regnamespace",
}


def missing(db: Database) -> list[str]:
    """List the tables and indexes that a registry lacks, each as one sentence."""
    present = {str(name) for (name,) in db.fetch(_PRESENT[db.dialect])}
    made = [match[1] for statement in ddl.statements(db.dialect) if (match := _MADE.match(statement))]
    return [f"{name} is missing from the schema" for name in made if name not in present]
