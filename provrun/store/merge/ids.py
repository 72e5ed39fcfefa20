"""What the records of another registry are called here: interned ones by their digest, jobs by their uuid."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from provrun.core.canonical import decode
from provrun.core.code import Code
from provrun.core.records import Context
from provrun.store import interning
from provrun.store.database import Database
from provrun.store.rows import body

_COLUMNS = {
    "recipe": ("body",), "code": ("body", "captured", "patch"), "environment": ("body", "captured"),
    "host": ("body",), "uses": ("body",), "inputs": ("body",),
}
_JOB = (
    "uuid", "kind", "state", "user_name", "node", "slots", "ranks", "started", "ended", "reason", "owner"
)


class Ids:
    """Ids in ``db`` for those in ``source``; what is not there yet is entered, in the transaction that is open."""

    def __init__(self, db: Database, source: Database) -> None:
        self._db = db
        self._source = source
        self._known: dict[tuple[str, int], int] = {}
        self.jobs: set[str] = set()
        """The uuids of the jobs that were asked for."""

    def of(self, table: str, id: int) -> int:
        """Give the id of an interned record, a job or a context."""
        known = self._known.get((table, id))
        if known is None:
            make = {"job": self._job, "context": self._context}.get(table)
            known = self._known[table, id] = make(id) if make is not None else self._interned(table, id)
        return known

    def maybe(self, table: str, id: int | None) -> int | None:
        """Give the id of a record, if there is one."""
        return None if id is None else self.of(table, id)

    def origin(self, registry: str, map: str) -> int:
        """Give the id of a map of a registry that made attempts which are here."""
        found = self._db.one("select id from origin where registry=? and map=?", (registry, map))
        return int(found[0]) if found else self._db.insert_one("origin", ("registry", "map"), (registry, map))

    def _interned(self, table: str, id: int) -> int:
        columns = _COLUMNS[table]
        digest, *values = self._source.fetch(f"select digest,{','.join(columns)} from {table} where id=?", (id,))[0]
        kept = interning.keep(self._db, table, digest, dict(zip(columns, values, strict=True)))
        if "captured" in columns:
            captured = values[columns.index("captured")]
            self._db.run(f"update {table} set captured=? where id=? and captured>?", (captured, kept, captured))
        if table == "code":
            self._learn_remote(kept, values[0])
        return kept

    def _learn_remote(self, code: int, theirs: str) -> None:
        """Keep where a version of code can be had, if only the other registry knows: its digest does not say."""
        mine = self._db.fetch("select body from code where id=?", (code,))[0][0]
        had, has = (msgspec.convert(decode(text), Code) for text in (mine, theirs))
        if had.remote is None and has.remote is not None:
            self._db.run("update code set body=? where id=?", (body(replace(had, remote=has.remote)), code))

    def _job(self, id: int) -> int:
        row = self._source.fetch(f"select {','.join(_JOB)} from job where id=?", (id,))[0]
        self.jobs.add(row[0])
        found = self._db.one("select id from job where uuid=?", (row[0],))
        return int(found[0]) if found else self._db.insert_one("job", _JOB, row)

    def _context(self, id: int) -> int:
        job, rank, node, code, after, environment, host, uses, inputs = self._source.fetch(
            "select job_id, rank, node, code_id, code_after_id, environment_id, host_id, uses_id, inputs_id"
            " from context where id=?",
            (id,),
        )[0]
        return interning.context(
            self._db,
            Context(
                job=self.of("job", job), rank=rank, node=node, code=self.of("code", code),
                code_after=self.maybe("code", after), environment=self.of("environment", environment),
                host=self.of("host", host), uses=self.maybe("uses", uses), inputs=self.maybe("inputs", inputs),
            ),
        )
