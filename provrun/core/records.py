"""What provrun keeps, as frozen records: these leave the store, never rows."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from provrun.core.states import ENDED, Outcome, State

RecipeKind = Literal["command", "shell", "line", "function"]
ResultMode = Literal["auto", "stdout-json", "stdout-text", "file", "none"]
DependencyKind = Literal["each", "group", "chunk", "all", "after"]
OnFailed = Literal["wait", "skip"]
CodePolicy = Literal["record", "pin", "clean"]
REUSED = -2
"""The number under which a result stands that an attempt of another map made; no attempt of its task has it."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a map applies: a command template, a shell line, lines of a file, or a Python function.

    ``words`` is the template of a command or shell recipe, ``function`` is ``module:callable`` or
    ``path.py:callable`` (path relative to the map's folder), ``bound`` the JSON values of a ``functools.partial``.
    """

    kind: RecipeKind
    words: tuple[str, ...] = ()
    function: str | None = None
    bound: dict[str, object] = {}
    inputs: tuple[str, ...] = ()
    outputs: dict[str, str] = {}
    result: ResultMode = "auto"
    pack: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the tasks of a map are run; no part of their identity, may change later.

    Times in seconds, memory in bytes.
    """

    cores: int = 1
    ranks: int = 0
    task_nodes: int = 0
    gpus: int = 0
    task_time: float | None = None
    task_memory: int | None = None
    retries: int = 0
    retry_time: float | None = None
    retry_memory: float | None = None
    checkpoint: bool = False
    isolate: bool = False
    pass_env: tuple[str, ...] = ()
    code: CodePolicy = "record"
    uses: tuple[str, ...] = ()
    reuse: bool = False

    @property
    def width(self) -> int:
        """Count the cores that a task takes on a node: at least one for each of its ranks there."""
        return max(1, self.cores, -(-self.ranks // max(1, self.task_nodes)))


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """Limits of one task that differ from its map's: seconds and bytes."""

    time: float | None = None
    memory: int | None = None


def satisfying(kind: DependencyKind, on_failed: OnFailed) -> tuple[State, ...]:
    """Give the states in which an upstream task is as a dependency of this kind wants it."""
    return ENDED if kind == "after" or (on_failed == "skip" and kind != "each") else (State.SUCCEEDED,)


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One map building on another: one record per pair of maps, whatever their sizes.

    ``by`` are the parameters that make the groups of ``group``, ``chunk`` the tasks per task of ``chunk``.
    ``tasks`` (first, last + 1) and ``upstream_tasks`` restrict ``after`` to index ranges, as qdo's ``requires`` needs.
    """

    upstream: str
    kind: DependencyKind
    by: tuple[str, ...] = ()
    chunk: int = 0
    on_failed: OnFailed = "wait"
    tasks: tuple[int, int] | None = None
    upstream_tasks: tuple[tuple[int, int], ...] = ()


class MapSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `submit` says of a map; ``own`` names the parameters that are the map's own, in order."""

    name: str
    recipe: Recipe
    policy: Policy = Policy()
    workdir: str
    own: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    priority: int = 0
    dependencies: tuple[Dependency, ...] = ()
    user: str = ""


class MapRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A map as it stands in the registry; ``counts`` has one entry for each state."""

    id: int
    name: str
    recipe: Recipe
    recipe_digest: bytes
    policy: Policy
    workdir: str
    own: tuple[str, ...]
    tags: dict[str, str]
    priority: int
    dependencies: tuple[Dependency, ...]
    user: str
    created: int
    paused: bool
    code: int
    environment: int
    counts: dict[State, int]

    @property
    def total(self) -> int:
        """Count the tasks of the map."""
        return sum(self.counts.values())


class Submitter(msgspec.Struct, frozen=True):
    """The attempt of a task that submits something: the uuid of its job, the name of its map, index, number."""

    job: str
    map: str
    index: int
    number: int


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission did: ``first`` is the index of the first new task, ``grown`` the maps that grew with it."""

    map: int
    added: int
    existing: int
    total: int
    first: int
    reused: int = 0
    stale: int = 0
    grown: dict[str, int] = {}


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it stands; ``params`` is canonical JSON text with inherited parameters merged in.

    ``attempts`` is the number of the last attempt begun, ``accepted`` the number of the accepted one (0: none,
    `REUSED`: the result was made by an attempt of another map),
    ``upstream`` the index of the upstream task (``each``) or the number of the group or chunk.
    """

    map: int
    index: int
    params: str
    state: State
    priority: int
    attempts: int
    accepted: int
    fails: int
    upstream: int | None
    job: int | None
    limits: Limits | None


class Claimed(msgspec.Struct, frozen=True, array_like=True):
    """A task that a job has taken and must end or give back; ``number`` is the attempt it will be.

    ``reads`` is what flows in (see `messages.Start`); ``trail`` is the record of it that the attempt keeps: JSON,
    ``[[map, index, attempt], ...]`` of at most 16 upstream attempts, beyond that ``[[map, count, digest hex]]``.
    Of its earlier attempts: ``took`` seconds when it succeeded last; since then, ``outlived`` seconds without ending
    when its allocation ended, and ``losses`` times it was among few tasks that an agent had when it died.
    """

    map: int
    index: int
    number: int
    params: str
    fails: int
    upstream: int | None
    limits: Limits | None
    reads: str | None
    trail: str | None
    priority: int = 0
    took: float | None = None
    outlived: float | None = None
    losses: int = 0


class Origins(NamedTuple):
    """A map whose results may be taken over: those of attempts under these circumstances (ids of contexts)."""

    map: int
    contexts: tuple[int, ...]


class Sought(NamedTuple):
    """A task for which a result is sought: parameters, upstream number, and the trail of what it would read."""

    task: int
    params: str
    upstream: int | None
    trail: str | None


class Match(NamedTuple):
    """A task, and the accepted result of a task of another map that can be its result: map, index, number."""

    task: int
    map: int
    origin: int
    number: int


class TakenOver(NamedTuple):
    """The tasks that have got results of others, and how many tasks became pending by it."""

    tasks: tuple[int, ...]
    promoted: int


class Origin(NamedTuple):
    """The attempt that made a reused result: uuid of its registry, map, index, number."""

    registry: str
    map: str
    task: int
    attempt: int


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What many attempts share and the store keeps once: ids of the interned records they ran under.

    ``code_after`` is set when the code changed while the attempt ran.
    """

    job: int
    rank: int
    node: str
    code: int
    environment: int
    host: int
    uses: int | None = None
    inputs: int | None = None
    code_after: int | None = None


DROPPED = "dropped"
"""The place of what is in no pack any more: only what it was called and its digest are kept."""


class Artifact(msgspec.Struct, frozen=True, array_like=True):
    """Content that an attempt read or made: a file beneath the work folder, or a blob in the job's pack.

    ``role`` is ``input``, ``output``, ``result``; ``path`` is relative to the map's folder; ``place`` is
    the pack location ``rank:offset:length``, `DROPPED`, or None.
    """

    role: str
    name: str
    digest: bytes
    size: int
    path: str | None = None
    place: str | None = None


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """One ended attempt, ready to be recorded; the dispatcher has decided ``state``, the task's next one.

    ``started`` microseconds since the epoch (UTC), ``wall`` and ``cpu`` microseconds, ``max_rss`` KiB;
    ``detail`` exit code or signal number; ``result`` canonical JSON text; ``trail`` see `Claimed`.
    """

    map: int
    index: int
    number: int
    context: int
    outcome: Outcome
    state: State
    started: int | None
    wall: int | None
    cpu: int | None = None
    max_rss: int | None = None
    rss_shared: bool = False
    detail: int | None = None
    error: str | None = None
    result: str | None = None
    result_digest: bytes | None = None
    log: str | None = None
    trail: str | None = None
    fails: int = 0
    limits: Limits | None = None
    artifacts: tuple[Artifact, ...] = ()


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One ended attempt as it stands in the registry."""

    map: int
    index: int
    number: int
    context: int
    outcome: Outcome
    started: int | None
    wall: int | None
    cpu: int | None
    max_rss: int | None
    rss_shared: bool
    detail: int | None
    error: str | None
    result: str | None
    result_digest: bytes | None
    log: str | None
    trail: str | None


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One allocation: a laptop run or a batch job.

    ``state`` is ``queued``, ``running``, ``ended`` or ``lost``; ``owner`` says how to tell that it is over: for a run
    on a host {"lock": path, "host", "boot": boot id, "pid": pid, "pid_started": clock ticks}, for a batch job also
    {"scheduler", "cluster", "id", "name", "submitted": microseconds, "allocation": uuid, "chain": uuid}.
    """

    id: int = 0
    uuid: str
    kind: Literal["local", "mpi", "batch"]
    state: str
    user: str
    node: str
    slots: int
    ranks: int
    started: int
    ended: int | None = None
    reason: str | None = None
    owner: dict[str, object] = {}
