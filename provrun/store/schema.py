"""The schema of the registry, for SQLite and PostgreSQL alike.

What is many is small: a task is its index, parameters, state and little else; what many attempts share (job, code,
environment, host, inputs) is interned in ``context``. Times are microseconds since the epoch in UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _interned(name: str, *columns: Column[object]) -> Table:
    """Define a table of records kept once each: found by digest, body as canonical JSON."""
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("digest", LargeBinary, nullable=False, unique=True),
        Column("body", Text, nullable=False),
        *columns,
    )


# One row: the registry's own uuid, so that published names are unique in the world.
registry = Table(
    "registry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

recipe = _interned("recipe")
code = _interned("code", Column("captured", BigInteger, nullable=False), Column("patch", LargeBinary))
environment = _interned("environment", Column("captured", BigInteger, nullable=False))
host = _interned("host")
# What a recipe used when it ran: digests of modules, scripts, tools; parameters left to defaults.
uses = _interned("uses")
# Inputs shared by all tasks of a map: [[path, sha256, size], ...].
inputs = _interned("inputs")

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("ranks", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("reason", Text),
    Column("owner", Text, nullable=False),
)

# Interned by digest("context", record): the circumstances of attempts.
context = Table(
    "context",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("job_id", ForeignKey("job.id"), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("node", Text, nullable=False),
    Column("code_id", ForeignKey("code.id"), nullable=False),
    Column("code_after_id", ForeignKey("code.id")),
    Column("environment_id", ForeignKey("environment.id"), nullable=False),
    Column("host_id", ForeignKey("host.id"), nullable=False),
    Column("uses_id", ForeignKey("uses.id")),
    Column("inputs_id", ForeignKey("inputs.id")),
)

# state: 0 being submitted (invisible), 1 active, 2 paused.
map_ = Table(
    "map",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("recipe_id", ForeignKey("recipe.id"), nullable=False),
    Column("policy", Text, nullable=False),
    Column("workdir", Text, nullable=False),
    Column("own", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("code_id", ForeignKey("code.id"), nullable=False),
    Column("environment_id", ForeignKey("environment.id"), nullable=False),
)

# Kept in every writing transaction, so that status never scans.
counter = Table(
    "counter",
    metadata,
    Column("map_id", ForeignKey("map.id"), primary_key=True),
    Column("state", SmallInteger, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

# Each `submit` of a map: when, by whom, under which code, which indices it added.
submission = Table(
    "submission",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("map_id", ForeignKey("map.id"), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("code_id", ForeignKey("code.id"), nullable=False),
    Column("environment_id", ForeignKey("environment.id"), nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False),
)

# One row per pair of maps, never per edge. Ranges are JSON, NULL for all.
dependency = Table(
    "dependency",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("map_id", ForeignKey("map.id"), nullable=False, index=True),
    Column("upstream_id", ForeignKey("map.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("by_names", Text, nullable=False),
    Column("chunk", Integer, nullable=False),
    Column("on_failed", Text, nullable=False),
    Column("tasks", Text),
    Column("upstream_tasks", Text),
)

# The own points of a map that builds on another one: crossed with every upstream task, group or chunk.
point = Table(
    "point",
    metadata,
    Column("map_id", ForeignKey("map.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("params", Text, nullable=False),
)

# state as in core.states; upstream: the upstream index of `each`, else the number of the group or chunk;
# missing: how many upstream tasks a group, chunk or range still waits for; attempts: number of the last attempt begun.
task = Table(
    "task",
    metadata,
    Column("map_id", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("params", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("accepted", Integer, nullable=False, server_default=text("0")),
    Column("fails", Integer, nullable=False, server_default=text("0")),
    Column("upstream", BigInteger),
    Column("missing", BigInteger),
    Column("job_id", Integer),
    Column("limits", Text),
    sqlite_with_rowid=False,
)

# One partial index per state that is looked for: `state in (1, 2)` would use none of them.
for _state, _name, _columns in (
    (0, "waiting", (task.c.map_id, task.c.upstream)),
    (1, "pending", (task.c.map_id, task.c.priority.desc(), task.c.idx)),
    (2, "running", (task.c.job_id, task.c.map_id, task.c.idx)),
    (4, "failed", (task.c.map_id, task.c.idx)),
):
    Index(
        f"ix_task_{_name}",
        *_columns,
        sqlite_where=text(f"state = {_state}"),
        postgresql_where=text(f"state = {_state}"),
    )

# One row per ended attempt, written once. outcome as in core.states; wall and cpu in microseconds, max_rss in KiB;
# rss_shared: the peak is that of several attempts of one warm child; log: place of captured output in the job's pack;
# trail: what it read, see core.records.Claimed.
attempt = Table(
    "attempt",
    metadata,
    Column("map_id", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("context_id", Integer, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("started", BigInteger),
    Column("wall", BigInteger),
    Column("cpu", BigInteger),
    Column("max_rss", BigInteger),
    Column("rss_shared", SmallInteger),
    Column("detail", Integer),
    Column("error", Text),
    Column("result", Text),
    Column("result_digest", LargeBinary),
    Column("log", Text),
    Column("trail", Text),
    sqlite_with_rowid=False,
)

# Ended attempts added up, kept in every writing transaction like `counter`: how many results are stale or absent and
# what a map has cost so far, without a scan. accepted: those that are their task's result; noresult: accepted ones
# without one; wall in microseconds; first and last: hull of their times.
tally = Table(
    "tally",
    metadata,
    Column("map_id", Integer, primary_key=True, autoincrement=False),
    Column("context_id", Integer, primary_key=True, autoincrement=False),
    Column("outcome", SmallInteger, primary_key=True, autoincrement=False),
    Column("attempts", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("noresult", BigInteger, nullable=False),
    Column("wall", BigInteger, nullable=False),
    Column("first", BigInteger),
    Column("last", BigInteger),
    sqlite_with_rowid=False,
)

# Content an attempt read or made: O(declared inputs and outputs). role: input, output, result.
artifact = Table(
    "artifact",
    metadata,
    Column("map_id", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("role", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("path", Text),
    Column("place", Text),
    sqlite_with_rowid=False,
)
