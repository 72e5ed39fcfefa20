"""What the registry answers beyond maps, tasks and attempts: records that are read, never written."""

from __future__ import annotations

import msgspec

from provrun.core.environment import Tool
from provrun.core.records import Artifact, AttemptRecord, Dependency, TaskRecord
from provrun.core.states import Outcome


class Uses(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe used when it ran: files with their SHA-256, programs from elsewhere, defaults of parameters."""

    files: dict[str, str] = {}
    tools: tuple[Tool, ...] = ()
    defaults: dict[str, object] = {}


class ContextRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances that many attempts share; digests in hex, ``inputs`` are (path, SHA-256, size)."""

    id: int
    job: int
    job_uuid: str
    rank: int
    node: str
    code: str
    code_after: str | None
    environment: str
    host: str
    uses: Uses | None
    inputs: tuple[tuple[str, str, int], ...]


class Tally(msgspec.Struct, frozen=True):
    """Ended attempts of one map, context and outcome, added up; ``wall``, ``first`` and ``last`` in microseconds.

    ``accepted`` of them are the result of their task, ``noresult`` of these brought none. ``taken`` results were made
    by attempts of other maps and are no attempts here; ``reused`` of them, among the accepted, are in use still.
    """

    map: int
    context: int
    outcome: Outcome
    attempts: int
    accepted: int
    noresult: int
    wall: int
    first: int | None
    last: int | None
    taken: int = 0
    reused: int = 0


class Shown(msgspec.Struct, frozen=True):
    """A task with the attempt that stands for it: the accepted one, else the ended one of highest number."""

    task: TaskRecord
    attempt: AttemptRecord | None
    artifacts: tuple[Artifact, ...] = ()


class FoundArtifact(msgspec.Struct, frozen=True):
    """An artifact and the attempt that read or made it."""

    map: int
    index: int
    number: int
    artifact: Artifact


class Interned(msgspec.Struct, frozen=True):
    """A record kept once, as JSON text; ``captured`` in microseconds where the time is kept."""

    id: int
    digest: str
    body: str
    captured: int | None = None


class SubmissionRecord(msgspec.Struct, frozen=True):
    """One `submit` of a map: the indices it added are ``first`` to ``first + added - 1``.

    ``by`` is the attempt that made it: map, index, number; None for a person.
    """

    at: int
    user: str
    code: str
    environment: str
    first: int
    added: int
    by: tuple[int, int, int] | None = None


class AcceptanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's word that results of older code hold under the code of then, ``code``.

    It is about the results of attempts in ``contexts``: of all of them if ``whole``, else of tasks in ranges that are
    kept apart. ``covers`` are the files that were others then: (kind, path, digest of then); it holds as long as no
    further file differs and each is as it was.
    """

    id: int
    map: int
    at: int
    user: str
    reason: str
    code: str
    contexts: tuple[int, ...]
    covers: tuple[tuple[str, str, str | None], ...]
    whole: bool
    tasks: int


class DependencyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One map building on another, by ids; ``missing`` counts what a row restricted to ranges still waits for."""

    map: int
    upstream: int
    dependency: Dependency
    missing: int | None


class Part(msgspec.Struct, frozen=True):
    """A group or chunk of upstream tasks: ``members`` are runs (first index, step, count) in the upstream map.

    ``ident`` is the canonical text of what they have in common, ``missing`` how many are not yet as they must be.
    """

    number: int
    ident: str
    members: tuple[tuple[int, int, int], ...]
    size: int
    missing: int
