"""Records kept once each, however many attempts share them: found by digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provrun.core.canonical import digest_text, encode
from provrun.core.code import CapturedCode
from provrun.core.environment import Environment, Host
from provrun.core.records import Context, Recipe
from provrun.store.database import Database
from provrun.store.rows import body, text


def recipe(db: Database, kept: Recipe) -> int:
    """Keep a recipe and give its id."""
    return keep(db, "recipe", recipe_digest(kept), {"body": body(kept)})


def recipe_digest(kept: Recipe) -> bytes:
    """Give the digest by which a recipe is known."""
    return digest_text("recipe", body(kept))


def code(db: Database, captured: CapturedCode, at: int) -> int:
    """Keep a version of code, with its patch, as first captured at a time; give its id."""
    columns = {"body": body(captured.code), "captured": at, "patch": captured.patch}
    return keep(db, "code", bytes.fromhex(captured.code.digest), columns)


def environment(db: Database, captured: Environment, at: int) -> int:
    """Keep an environment, as first captured at a time; give its id."""
    return keep(db, "environment", bytes.fromhex(captured.digest), {"body": body(captured), "captured": at})


def host(db: Database, captured: Host) -> int:
    """Keep a kind of machine and give its id."""
    return keep(db, "host", bytes.fromhex(captured.digest), {"body": body(captured)})


def uses(db: Database, used: Mapping[str, object]) -> int:
    """Keep what a recipe used when it ran and give its id."""
    written = encode(dict(used))
    return keep(db, "uses", digest_text("uses", written), {"body": written})


def inputs(db: Database, shared: Sequence[tuple[str, str, int]]) -> int:
    """Keep the inputs (path, sha256, size) that all tasks of a map share and give their id."""
    written = encode([list(one) for one in sorted(shared)])
    return keep(db, "inputs", digest_text("inputs", written), {"body": written})


def context(db: Database, kept: Context) -> int:
    """Keep the circumstances of attempts and give their id."""
    columns = {
        "job_id": kept.job, "rank": kept.rank, "node": kept.node, "code_id": kept.code,
        "code_after_id": kept.code_after, "environment_id": kept.environment, "host_id": kept.host,
        "uses_id": kept.uses, "inputs_id": kept.inputs,
    }
    return keep(db, "context", digest_text("context", text(list(columns.values()))), columns)


def keep(db: Database, table: str, digest: bytes, columns: Mapping[str, object]) -> int:
    """Keep a row under a digest, unless one is kept, and give its id."""
    wanted = f"select id from {table} where digest=?"
    found = db.one(wanted, (digest,))
    if found is not None:
        return int(found[0])
    with db.writing():
        found = db.one(wanted, (digest,))  # somebody else may have been quicker
        if found is None:
            return db.insert_one(table, ("digest", *columns), (digest, *columns.values()))
    return int(found[0])
