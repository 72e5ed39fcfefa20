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
    UniqueConstraint,
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

# state: 0 being submitted (invisible), 1 active, 2 paused. Tasks from index `size` on, groups or chunks from number
# `parts` on and points from number `points` on are being submitted: nobody but the submission sees them, and `staged`
# says that there may be some.
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
    Column("size", BigInteger, nullable=False),
    Column("parts", BigInteger, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("staged", SmallInteger, nullable=False),
)

# Kept in every writing transaction, so that status never scans.
counter = Table(
    "counter",
    metadata,
    Column("map_id", ForeignKey("map.id"), primary_key=True),
    Column("state", SmallInteger, primary_key=True),
    Column("n", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Each `submit` of a map: when, by whom, under which code, which indices it added. One that a task has made names the
# attempt: by_map_id, by_idx, by_number.
submission = Table(
    "submission",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("map_id", ForeignKey("map.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("code_id", ForeignKey("code.id"), nullable=False),
    Column("environment_id", ForeignKey("environment.id"), nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("by_map_id", Integer),
    Column("by_idx", BigInteger),
    Column("by_number", Integer),
)
Index("ix_submission_map_id_first", submission.c.map_id, submission.c.first)
Index("ix_submission_by_map_id_by_idx", submission.c.by_map_id, submission.c.by_idx)

# Results of older code that somebody holds to be valid under the code of then: those of attempts in `contexts`, of the
# tasks in ranges, or of all if `whole`. covers: [[kind, path, digest], ...], the files that had changed, as they were.
acceptance = Table(
    "acceptance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("map_id", ForeignKey("map.id"), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("code_id", ForeignKey("code.id"), nullable=False),
    Column("contexts", Text, nullable=False),
    Column("covers", Text, nullable=False),
    Column("whole", SmallInteger, nullable=False),
    Column("tasks", BigInteger, nullable=False),
)
acceptance_range = Table(
    "acceptance_range",
    metadata,
    Column("acceptance_id", ForeignKey("acceptance.id"), primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# One row per pair of maps, never per edge. A row restricted to index ranges holds for the tasks from `first` up to
# `last` and waits for the JSON ranges `upstream_tasks`; `missing` counts those of them that have not ended. NULL: all.
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
    Column("first", BigInteger),
    Column("last", BigInteger),
    Column("upstream_tasks", Text),
    Column("missing", BigInteger),
)

# The groups or chunks of upstream tasks that the tasks of a map read. members: JSON runs [first index, step, count];
# ident: the canonical text of what they have in common (a chunk: its number); size: how many they are; missing: how
# many of them are not yet as the dependency wants them. `task.upstream` is the number.
part = Table(
    "part",
    metadata,
    Column("map_id", ForeignKey("map.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("ident", Text, nullable=False),
    Column("members", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
)
Index("ix_part_map_id_ident", part.c.map_id, part.c.ident, unique=True)

# The own points of a map that builds on another one: crossed with every upstream task, group or chunk.
point = Table(
    "point",
    metadata,
    Column("map_id", ForeignKey("map.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("params", Text, nullable=False),
    sqlite_with_rowid=False,
)

# state as in core.states; upstream: the upstream index of `each`, else the number of the group or chunk; attempts:
# number of the last attempt begun; accepted: that of the accepted one, 0 for none, -2 for a reused result, -1 when what
# a running task reads has changed since it was claimed, so that its result will not count; fails: attempts that failed
# by its own fault.
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
    Column("job_id", Integer),
    Column("limits", Text),
    sqlite_with_rowid=False,
)

# One partial index per state that is looked for: `state in (1, 2)` would use none of them.
for _state, _name, _columns in (
    (1, "pending", (task.c.map_id, task.c.priority, task.c.idx)),
    (2, "running", (task.c.job_id, task.c.map_id, task.c.idx)),
    (4, "failed", (task.c.map_id, task.c.state, task.c.idx)),  # not the primary key's columns: SQLite would take that
):
    Index(
        f"ix_task_{_name}",
        *_columns,
        sqlite_where=text(f"state = {_state}"),
        postgresql_where=text(f"state = {_state}"),
    )
Index(
    "ix_task_upstream",
    task.c.map_id,
    task.c.upstream,
    sqlite_where=text("upstream is not null"),
    postgresql_where=text("upstream is not null"),
)

# One row per ended attempt, written once, and one of number -2 for a result that an attempt of another map made: with
# that one's circumstances, times and result; `reused` names it. outcome as in core.states; wall and cpu in
# microseconds, max_rss in KiB; rss_shared: the peak is that of several attempts of one warm child; log: place of
# captured output in the job's pack; trail: what it read, see core.records.Claimed.
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

# What was reused or merged was made by attempts of these maps; such a map may be gone since, or of another registry.
origin = Table(
    "origin",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("registry", Text, nullable=False),
    Column("map", Text, nullable=False),
    UniqueConstraint("registry", "map"),
)
# The attempt that made a reused result: always the one that was executed, whatever it was reused through.
reused = Table(
    "reused",
    metadata,
    Column("map_id", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("origin_id", Integer, nullable=False),
    Column("origin_idx", BigInteger, nullable=False),
    Column("origin_number", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_reused_origin_id_origin_idx", reused.c.origin_id, reused.c.origin_idx)
# Attempts that were made in another registry, by what they are called there.
brought = Table(
    "brought",
    metadata,
    Column("map_id", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("origin_id", Integer, nullable=False),
    Column("origin_idx", BigInteger, nullable=False),
    Column("origin_number", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_brought_origin_id_origin_idx", brought.c.origin_id, brought.c.origin_idx)

# Ended attempts added up, kept in every writing transaction like `counter`: how many results are stale or absent and
# what a map has cost so far, without a scan. accepted: those that are their task's result; noresult: accepted ones
# without one; wall in microseconds; first and last: hull of their times. taken: results that attempts of other maps
# made, reused: those of them that still are their task's result; they are among the accepted, and no attempts.
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
    Column("taken", BigInteger, nullable=False, server_default=text("0")),
    Column("reused", BigInteger, nullable=False, server_default=text("0")),
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

# The logs through which the registry has been changed: how far each has been folded in, the digest of the last entry
# folded in, and whether the registry may still be changed through it only.
log = Table(
    "log",
    metadata,
    Column("uuid", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("open", SmallInteger, nullable=False),
    Column("opened", BigInteger, nullable=False),
)

# Entries of logs that nobody could read any more and that were declared to be none.
hole = Table(
    "hole",
    metadata,
    Column("log_uuid", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
)
