"""How rows become records: the one place where columns are named by position."""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec

from provrun.core.canonical import decode, encode
from provrun.core.records import (
    REUSED,
    Artifact,
    AttemptRecord,
    Dependency,
    DependencyKind,
    JobRecord,
    Limits,
    MapRecord,
    OnFailed,
    Policy,
    Recipe,
    TaskRecord,
)
from provrun.core.states import Outcome, State
from provrun.store.database import Row

Kept = TypeVar("Kept", bound=msgspec.Struct)

MAP = (
    "m.id, m.name, r.body, r.digest, m.policy, m.workdir, m.own, m.tags, m.priority, m.user_name, m.created, m.state,"
    " m.code_id, m.environment_id"
)
TASK = "map_id, idx, params, state, priority, attempts, accepted, fails, upstream, job_id, limits"
ATTEMPT = (
    "map_id, idx, number, context_id, outcome, started, wall, cpu, max_rss, rss_shared, detail, error, result,"
    " result_digest, log, trail"
)
ARTIFACT = "role, name, digest, size, path, place"
JOB = "id, uuid, kind, state, user_name, node, slots, ranks, started, ended, reason, owner"
DEPENDENCY = "d.map_id, u.name, d.kind, d.by_names, d.chunk, d.on_failed, d.first, d.last, d.upstream_tasks"

_policies = msgspec.json.Decoder(Policy)
_limits = msgspec.json.Decoder(Limits)
_names = msgspec.json.Decoder(tuple[str, ...])
_ranges = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_owners = msgspec.json.Decoder(dict[str, object])


def owner(column: str) -> dict[str, object]:
    """Read the column ``job.owner``."""
    return _owners.decode(column)


def text(value: object) -> str:
    """Write a record, or anything msgspec knows, as JSON text for a column."""
    return msgspec.json.encode(value).decode()


def body(record: msgspec.Struct) -> str:
    """Write a record that may hold values of users as canonical text."""
    return encode(msgspec.to_builtins(record))


def recipe(canonical_text: str) -> Recipe:
    """Read a recipe's canonical text."""
    return msgspec.convert(decode(canonical_text), Recipe)


def limits(column: str | None) -> Limits | None:
    """Read the column ``task.limits``."""
    return None if column is None else _limits.decode(column)


def map_record(row: Row, dependencies: tuple[Dependency, ...], counts: dict[State, int]) -> MapRecord:
    """Make the record of a map from the columns ``MAP``."""
    return MapRecord(
        id=row[0], name=row[1], recipe=recipe(row[2]), recipe_digest=row[3], policy=_policies.decode(row[4]),
        workdir=row[5], own=_names.decode(row[6]), tags=cast("dict[str, str]", decode(row[7])), priority=row[8],
        dependencies=dependencies, user=row[9], created=row[10], paused=row[11] == PAUSED, code=row[12],
        environment=row[13], counts=counts,
    )


def dependency(row: Row) -> Dependency:
    """Make a dependency from the columns ``DEPENDENCY``."""
    return Dependency(
        upstream=row[1], kind=cast("DependencyKind", row[2]), by=_names.decode(row[3]), chunk=row[4],
        on_failed=cast("OnFailed", row[5]), tasks=None if row[6] is None else (row[6], row[7]),
        upstream_tasks=() if row[8] is None else _ranges.decode(row[8]),
    )


def task_record(row: Row) -> TaskRecord:
    """Make the record of a task from the columns ``TASK``."""
    return TaskRecord(
        map=row[0], index=row[1], params=row[2], state=State(row[3]), priority=row[4], attempts=row[5],
        accepted=row[6] if row[6] == REUSED else max(0, row[6]), fails=row[7], upstream=row[8], job=row[9],
        limits=limits(row[10]),
    )


def attempt_record(row: Row) -> AttemptRecord:
    """Make the record of an attempt from the columns ``ATTEMPT``."""
    return AttemptRecord(
        map=row[0], index=row[1], number=row[2], context=row[3], outcome=Outcome(row[4]), started=row[5],
        wall=row[6], cpu=row[7], max_rss=row[8], rss_shared=bool(row[9]), detail=row[10], error=row[11],
        result=row[12], result_digest=row[13], log=row[14], trail=row[15],
    )


def artifact(row: Row) -> Artifact:
    """Make the record of an artifact from the columns ``ARTIFACT``."""
    return Artifact(role=row[0], name=row[1], digest=row[2], size=row[3], path=row[4], place=row[5])


def job_record(row: Row) -> JobRecord:
    """Make the record of a job from the columns ``JOB``."""
    return JobRecord(
        id=row[0], uuid=row[1], kind=row[2], state=row[3], user=row[4], node=row[5], slots=row[6], ranks=row[7],
        started=row[8], ended=row[9], reason=row[10], owner=owner(row[11]),
    )


# The states of a map.
HIDDEN = 0
ACTIVE = 1
PAUSED = 2
