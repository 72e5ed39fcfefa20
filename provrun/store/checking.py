"""Whether a registry is sound: its schema, the database's own checks, and counters that agree with what they count."""

from __future__ import annotations

import re

from provrun.core.states import State
from provrun.store import ddl, migrations
from provrun.store.database import Database

_MADE = re.compile(r"create (?:unlogged )?(?:table|(?:unique )?index) (\w+)", re.IGNORECASE)
_PRESENT = {
    "sqlite": "select name from sqlite_master where type in ('table', 'index')",
    "postgresql": "select relname from pg_class where relkind in ('r', 'i')"
    " and relnamespace=current_schema()::regnamespace",
}


def problems(db: Database) -> list[str]:
    """List everything that is wrong with a registry, each as one sentence; of a wrong schema nothing more is asked."""
    revision = migrations.revision(db)
    if revision != migrations.head():
        return [f"the schema is {revision or 'none'}, this provrun wants {migrations.head()}: provrun db upgrade"]
    present = {str(name) for (name,) in db.fetch(_PRESENT[db.dialect])}
    made = [match[1] for statement in ddl.statements(db.dialect) if (match := _MADE.match(statement))]
    missing = [f"{name} is missing from the schema" for name in made if name not in present]
    return missing or [*_integrity(db), *_counters(db)]


def _integrity(db: Database) -> list[str]:
    if db.dialect != "sqlite":
        return []  # PostgreSQL keeps its own
    found = [str(text) for (text,) in db.fetch("pragma integrity_check") if text != "ok"]
    broken = db.fetch("pragma foreign_key_check")
    return [*found, *(f"row {row} of {table} points at a missing row of {other}" for table, row, other, _ in broken)]


def _counters(db: Database) -> list[str]:
    names = {map: (name, size) for map, name, size in db.fetch("select id, name, size from map")}
    kept = {(map, state): n for map, state, n in db.fetch("select map_id, state, n from counter where n<>0")}
    there: dict[tuple[int, int], int] = {
        (map, state): n
        for map, state, n in db.fetch(
            "select t.map_id, t.state, count(*) from task t join map m on m.id=t.map_id and t.idx<m.size"
            " group by t.map_id, t.state"
        )
    }
    found = []
    for map, state in sorted(there.keys() | kept.keys()):
        real, counted = there.get((map, state), 0), kept.get((map, state), 0)
        if real != counted:
            found.append(f"{names[map][0]}: {real} tasks are {State(state).word}, counted are {counted}")
    for map, (name, size) in names.items():
        tasks = sum(n for (each, _), n in there.items() if each == map)
        if tasks != size:
            found.append(f"{name}: {tasks} tasks are there, {size} should be")
    return found
