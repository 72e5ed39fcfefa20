"""What can be done to a registry, as records: what an entry of the log holds, and every replica does in turn.

Each is a call of `Registry` with its arguments. To add one, write its class, name it in `Every`, and let `Replica` have
the method. What it does must depend on nothing but its arguments and what the registry holds: no clock, no chance.
Fields may be added at the end, with a default; those that are there keep their meaning.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

from provrun.core.canonical import decode, encode
from provrun.core.code import CapturedCode
from provrun.core.environment import Environment, Host
from provrun.core.records import (
    Added,
    Claimed,
    Context,
    Ended,
    JobRecord,
    MapSpec,
    Match,
    Policy,
    Recipe,
    Submitter,
    TakenOver,
)
from provrun.store import rows
from provrun.store.registry import Registry

Result = TypeVar("Result")
Tasks = tuple[int, ...] | None
CHUNK = 1 << 20  # bytes of texts that are unpacked at a time


class Operation(msgspec.Struct, Generic[Result], frozen=True, array_like=True):
    """One call; `on` makes it and gives what it returns."""

    def on(self, registry: Registry) -> Result:
        raise NotImplementedError


class InternCode(Operation[int], frozen=True, tag="intern_code"):
    captured: CapturedCode
    at: int

    def on(self, registry: Registry) -> int:
        return registry.intern_code(self.captured, self.at)


class InternEnvironment(Operation[int], frozen=True, tag="intern_environment"):
    environment: Environment
    at: int

    def on(self, registry: Registry) -> int:
        return registry.intern_environment(self.environment, self.at)


class InternHost(Operation[int], frozen=True, tag="intern_host"):
    host: Host

    def on(self, registry: Registry) -> int:
        return registry.intern_host(self.host)


class InternUses(Operation[int], frozen=True, tag="intern_uses"):
    uses: str
    """Canonical text: among them are values of users, which msgpack does not know all."""

    def on(self, registry: Registry) -> int:
        used = decode(self.uses)
        assert isinstance(used, dict)
        return registry.intern_uses(used)


class InternInputs(Operation[int], frozen=True, tag="intern_inputs"):
    inputs: tuple[tuple[str, str, int], ...]

    def on(self, registry: Registry) -> int:
        return registry.intern_inputs(self.inputs)


class InternContext(Operation[int], frozen=True, tag="intern_context"):
    context: Context

    def on(self, registry: Registry) -> int:
        return registry.intern_context(self.context)


class InternContexts(Operation[list[int]], frozen=True, tag="intern_contexts"):
    contexts: tuple[Context, ...]

    def on(self, registry: Registry) -> list[int]:
        return registry.intern_contexts(self.contexts)


class Submit(Operation[Added], frozen=True, tag="submit"):
    """``spec`` without its recipe, which is ``recipe`` in canonical text; ``texts`` as `packed`."""

    spec: MapSpec
    recipe: str
    texts: bytes
    distinct: bool
    code: int
    environment: int
    at: int
    by: Submitter | None = None

    def on(self, registry: Registry) -> Added:
        spec = msgspec.structs.replace(self.spec, recipe=rows.recipe(self.recipe))
        return registry.submit(
            spec, unpacked(self.texts), distinct=self.distinct, code=self.code, environment=self.environment,
            at=self.at, by=self.by,
        )


class QueueJob(Operation[int], frozen=True, tag="queue_job"):
    job: JobRecord

    def on(self, registry: Registry) -> int:
        return registry.queue_job(self.job)


class OpenJob(Operation[int], frozen=True, tag="open_job"):
    job: JobRecord

    def on(self, registry: Registry) -> int:
        return registry.open_job(self.job)


class CloseJob(Operation[None], frozen=True, tag="close_job"):
    job: int
    state: str
    reason: str
    at: int

    def on(self, registry: Registry) -> None:
        registry.close_job(self.job, self.state, self.reason, self.at)


class Abandon(Operation[int], frozen=True, tag="abandon"):
    job: int
    at: int

    def on(self, registry: Registry) -> int:
        return registry.abandon(self.job, self.at)


class Claim(Operation[list[Claimed]], frozen=True, tag="claim"):
    job: int
    maps: tuple[int, ...]
    limit: int
    above: int | None = None
    avoid: tuple[tuple[int, int], ...] = ()

    def on(self, registry: Registry) -> list[Claimed]:
        return registry.claim(self.job, self.maps, self.limit, self.above, self.avoid)


class Record(Operation[int], frozen=True, tag="record"):
    job: int
    ended: tuple[Ended, ...]

    def on(self, registry: Registry) -> int:
        return registry.record(self.job, self.ended)


class Release(Operation[None], frozen=True, tag="release"):
    job: int
    tasks: tuple[tuple[int, int, int], ...]

    def on(self, registry: Registry) -> None:
        registry.release(self.job, self.tasks)


class TakeOver(Operation[TakenOver], frozen=True, tag="take_over"):
    map: int
    job: int | None
    matches: tuple[Match, ...]

    def on(self, registry: Registry) -> TakenOver:
        return registry.take_over(self.map, self.job, self.matches)


class Retry(Operation[int], frozen=True, tag="retry"):
    map: int
    tasks: Tasks
    time: float | None
    memory: float | None

    def on(self, registry: Registry) -> int:
        return registry.retry(self.map, self.tasks, time=self.time, memory=self.memory)


class Rerun(Operation[int], frozen=True, tag="rerun"):
    map: int
    tasks: Tasks

    def on(self, registry: Registry) -> int:
        return registry.rerun(self.map, self.tasks)


class Accept(Operation[int], frozen=True, tag="accept"):
    map: int
    tasks: Tasks
    contexts: tuple[int, ...]
    covers: tuple[tuple[str, str, str | None], ...]
    code: int
    user: str
    reason: str
    at: int

    def on(self, registry: Registry) -> int:
        return registry.accept(
            self.map, self.tasks, contexts=self.contexts, covers=self.covers, code=self.code, user=self.user,
            reason=self.reason, at=self.at,
        )


class Cancel(Operation[int], frozen=True, tag="cancel"):
    map: int
    tasks: Tasks

    def on(self, registry: Registry) -> int:
        return registry.cancel(self.map, self.tasks)


class Pause(Operation[None], frozen=True, tag="pause"):
    map: int
    paused: bool

    def on(self, registry: Registry) -> None:
        registry.pause(self.map, self.paused)


class SetPolicy(Operation[None], frozen=True, tag="set_policy"):
    map: int
    policy: Policy

    def on(self, registry: Registry) -> None:
        registry.set_policy(self.map, self.policy)


class SetRecipe(Operation[None], frozen=True, tag="set_recipe"):
    map: int
    recipe: str
    own: tuple[str, ...]

    def on(self, registry: Registry) -> None:
        registry.set_recipe(self.map, rows.recipe(self.recipe), self.own)


class SetTags(Operation[None], frozen=True, tag="set_tags"):
    map: int
    tags: dict[str, str]

    def on(self, registry: Registry) -> None:
        registry.set_tags(self.map, self.tags)


class SetPriority(Operation[int], frozen=True, tag="set_priority"):
    map: int
    tasks: Tasks
    priority: int

    def on(self, registry: Registry) -> int:
        return registry.set_priority(self.map, self.tasks, self.priority)


class Delete(Operation[int], frozen=True, tag="delete"):
    map: int

    def on(self, registry: Registry) -> int:
        return registry.delete(self.map)


class CloseLog(Operation[None], frozen=True, tag="close_log"):
    """Nothing comes after it: from here on the registry is changed directly again.

    Not while a job queues or runs: one may have come since somebody looked, and its place in the order decides.
    """

    def on(self, registry: Registry) -> None:
        registry.database.run(
            "update log set open=0 where open=1 and not exists (select 1 from job where state in ('queued', 'running'))"
        )


Every = (
    InternCode | InternEnvironment | InternHost | InternUses | InternInputs | InternContext | InternContexts | Submit
    | QueueJob | OpenJob | CloseJob | Abandon | Claim | Record | Release | TakeOver | Retry | Rerun | Accept | Cancel
    | Pause | SetPolicy | SetRecipe | SetTags | SetPriority | Delete | CloseLog
)

_decoder = msgspec.msgpack.Decoder(tuple[Every, ...])
_encoder = msgspec.msgpack.Encoder()


def written(operations: Iterable[Operation[Any]]) -> bytes:
    """Write operations as the body of an entry."""
    return _encoder.encode(tuple(operations))


def read(body: bytes) -> tuple[Operation[Any], ...]:
    """Read the body of an entry; `msgspec.DecodeError` if this program does not know what is in it."""
    return _decoder.decode(body)


def apply(registry: Registry, operation: Operation[Result]) -> Result:
    """Do an operation on a registry, where it has the same effect as on every other that has come the same way."""
    # What this connection remembers of claims is its own affair.
    registry.database.claimed.clear()
    return operation.on(registry)


def recipe_text(recipe: Recipe) -> str:
    """Write a recipe as text that keeps values of users as they are."""
    return rows.body(recipe)


def uses_text(uses: dict[str, object]) -> str:
    """Write what a recipe used as text that keeps values of users as they are."""
    return encode(uses)


def without_recipe(spec: MapSpec) -> MapSpec:
    """Leave out the recipe, which is written apart."""
    return msgspec.structs.replace(spec, recipe=Recipe(kind="line"))


def packed(texts: Iterable[str]) -> bytes:
    """Pack parameters, which are canonical JSON and so have no line breaks: ten million must not stand in memory."""
    pack = zlib.compressobj(1)
    out = [piece for text in texts if (piece := pack.compress(text.encode() + b"\n"))]
    return b"".join((*out, pack.flush()))


def unpacked(pack: bytes) -> Iterator[str]:
    """Give what was packed, one by one."""
    unpack = zlib.decompressobj()
    rest = pack
    line = b""
    while rest:
        lines = (line + unpack.decompress(rest, CHUNK)).split(b"\n")
        rest = unpack.unconsumed_tail
        line = lines.pop()
        for one in lines:
            yield one.decode()
