"""Statements that read what attempts share: circumstances, code, environments, jobs, and the sums over attempts."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import msgspec

from provrun.core.answers import ContextRecord, Interned, Tally, Uses
from provrun.core.canonical import decode
from provrun.core.code import CapturedCode, Code
from provrun.core.environment import Environment, Host
from provrun.core.records import JobRecord
from provrun.core.states import Outcome
from provrun.store import rows
from provrun.store.database import Database, Row

_CONTEXT = """
select x.id, x.job_id, j.uuid, x.rank, x.node, c.digest, after.digest, e.digest, h.digest, u.body, i.body
from context x join job j on j.id = x.job_id join code c on c.id = x.code_id left join code after
  on after.id = x.code_after_id join environment e on e.id = x.environment_id join host h on h.id = x.host_id
  left join uses u on u.id = x.uses_id left join inputs i on i.id = x.inputs_id
"""
_TALLY = (
    "select map_id, context_id, outcome, attempts, accepted, noresult, wall, first, last, taken, reused from tally"
)


class ContextReads:
    """Reads the few records that many attempts share."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def context(self, id: int) -> ContextRecord:
        """Give the circumstances of attempts."""
        return self.contexts([id])[id]

    def contexts(self, ids: Collection[int]) -> dict[int, ContextRecord]:
        """Give circumstances by id."""
        if not ids:
            return {}
        # One by one few are quicker than all; many are not worth a statement of their own length.
        if len(ids) <= 16:
            found = [row for id in ids for row in self.db.fetch(f"{_CONTEXT} where x.id = ?", (id,))]
        else:
            found = [row for row in self.db.fetch(_CONTEXT) if row[0] in ids]
        kept: dict[str, Uses] = {}
        return {row[0]: _context(row, kept) for row in found}

    def tallies(self, map: int | None = None) -> list[Tally]:
        """Give the sums over ended attempts of a map, or of all."""
        found = (
            self.db.fetch(f"{_TALLY} order by map_id, context_id, outcome") if map is None
            else self.db.fetch(f"{_TALLY} where map_id = ? order by context_id, outcome", (map,))
        )
        return [Tally(row[0], row[1], Outcome(row[2]), *row[3:]) for row in found]

    def last_environment(self) -> tuple[str, int] | None:
        """Give the digest of the environment that was captured last, by a submission or by a job, and when."""
        found = self.db.fetch(
            "select s.at, e.digest from submission s join environment e on e.id = s.environment_id"
            " where s.id = (select max(id) from submission)"
            " union all select j.started, e.digest from context x join job j on j.id = x.job_id"
            " join environment e on e.id = x.environment_id where x.id = (select max(id) from context)"
        )
        if not found:
            return None
        at, digest = max(found)
        return bytes(digest).hex(), at

    def environment(self, digest: str) -> Environment:
        """Give an environment by its whole digest."""
        return self._kept("environment", digest, Environment)

    def code(self, digest: str) -> CapturedCode:
        """Give a version of code, with its patch, by its whole digest."""
        found = self.db.one("select patch from code where digest = ?", (bytes.fromhex(digest),))
        patch = bytes(found[0]) if found is not None and found[0] is not None else None
        return CapturedCode(self._kept("code", digest, Code), patch)

    def host(self, digest: str) -> Host:
        """Give a kind of machine by its whole digest."""
        return self._kept("host", digest, Host)

    def codes(self) -> list[Interned]:
        """Give all versions of code in the order in which they were first captured."""
        return self._all("code")

    def environments(self) -> list[Interned]:
        """Give all environments in the order in which they were first captured."""
        return self._all("environment")

    def digest_of(self, table: str, id: int) -> str:
        """Give the digest of a code, environment or recipe by its id."""
        found = self.db.one(f"select digest from {table} where id = ?", (id,))
        assert found is not None, f"no {table} {id}"
        return bytes(found[0]).hex()

    def map_name(self, id: int) -> str:
        """Give the name of a map by its id."""
        found = self.db.one("select name from map where id = ?", (id,))
        assert found is not None, f"no map {id}"
        return str(found[0])

    def jobs(self, state: str | None = None) -> list[JobRecord]:
        """Give all jobs, or those in a state, first to last."""
        where, values = ("", ()) if state is None else ("where state = ?", (state,))
        found = self.db.fetch(f"select {rows.JOB} from job {where} order by id", values)
        return [rows.job_record(row) for row in found]

    def contexts_with(self, text: str) -> list[int]:
        """Give the circumstances whose used files or shared inputs hold a text (a path or SHA-256)."""
        position = "instr" if self.db.dialect == "sqlite" else "strpos"
        found = self.db.fetch(
            "select x.id from context x left join uses u on u.id = x.uses_id left join inputs i on i.id = x.inputs_id"
            f" where {position}(u.body, ?) > 0 or {position}(i.body, ?) > 0 order by x.id",
            (text, text),
        )
        return [row[0] for row in found]

    def _all(self, table: str) -> list[Interned]:
        found = self.db.fetch(f"select id, digest, body, captured from {table} order by captured, id")
        return [Interned(id, bytes(digest).hex(), body, captured) for id, digest, body, captured in found]

    def _kept(self, table: str, digest: str, kind: type[rows.Kept]) -> rows.Kept:
        found = self.db.one(f"select body from {table} where digest = ?", (bytes.fromhex(digest),))
        assert found is not None, f"no {table} {digest}"
        return msgspec.convert(decode(found[0]), kind)


def _context(row: Row, kept: dict[str, Uses]) -> ContextRecord:
    id, job, uuid, rank, node, code, after, environment, host, uses, inputs = row
    if uses is not None and uses not in kept:
        kept[uses] = msgspec.convert(decode(uses), Uses)
    return ContextRecord(
        id=id, job=job, job_uuid=uuid, rank=rank, node=node, code=bytes(code).hex(),
        code_after=bytes(after).hex() if after is not None else None, environment=bytes(environment).hex(),
        host=bytes(host).hex(), uses=kept[uses] if uses is not None else None,
        inputs=tuple((path, digest, size) for path, digest, size in cast("list[tuple[str, str, int]]", decode(inputs)))
        if inputs is not None else (),
    )
