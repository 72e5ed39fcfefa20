"""From a REF to what it points at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from provrun.core.answers import FoundArtifact, Interned, Shown
from provrun.core.canonical import Value, decode, encode
from provrun.core.records import AttemptRecord, JobRecord, MapRecord
from provrun.core.refs import (
    AttemptRef,
    CodeRef,
    DigestRef,
    EnvironmentRef,
    FileRef,
    JobRef,
    MapRef,
    ParamsRef,
    TaskRef,
    parse_ref,
)
from provrun.core.sieves import Holds, both
from provrun.core.terms import equal
from provrun.errors import NotFound, UsageError
from provrun.query.rows import short
from provrun.query.sieving import texts
from provrun.query.view import View

T = TypeVar("T")
MANY = 20  # so many candidates are named at most
UUID_DIGITS = 8  # fewer, if all are decimal, are a number


class MapSubject(msgspec.Struct, frozen=True):
    """A map."""

    map: MapRecord

    @property
    def ref(self) -> str:
        return self.map.name


class TaskSubject(msgspec.Struct, frozen=True):
    """A task with the attempt that stands for it."""

    map: MapRecord
    shown: Shown

    @property
    def ref(self) -> str:
        return f"{self.map.name}/{self.shown.task.index}"


class AttemptSubject(msgspec.Struct, frozen=True):
    """One attempt; None when it runs still."""

    map: MapRecord
    shown: Shown
    number: int
    attempt: AttemptRecord | None

    @property
    def ref(self) -> str:
        return f"{self.map.name}/{self.shown.task.index}#{self.number}"


class CodeSubject(msgspec.Struct, frozen=True):
    """A version of code, by its digest."""

    digest: str

    @property
    def ref(self) -> str:
        return f"code:{short(self.digest)}"


class EnvironmentSubject(msgspec.Struct, frozen=True):
    """An environment, by its digest."""

    digest: str

    @property
    def ref(self) -> str:
        return f"env:{short(self.digest)}"


class JobSubject(msgspec.Struct, frozen=True):
    """A job."""

    job: JobRecord

    @property
    def ref(self) -> str:
        return f"job:{self.job.id}"


class ContentSubject(msgspec.Struct, frozen=True):
    """Content known by its SHA-256: what made it, what read it, and the results that are it.

    ``path`` is the file that was asked for; ``contexts`` are circumstances that hold it as code or shared input.
    """

    digest: str
    path: str | None
    artifacts: tuple[FoundArtifact, ...]
    results: tuple[tuple[int, int, int], ...] = ()
    contexts: tuple[int, ...] = ()

    @property
    def ref(self) -> str:
        return self.path or f"sha256:{short(self.digest)}"


Subject: TypeAlias = (
    "MapSubject | TaskSubject | AttemptSubject | CodeSubject | EnvironmentSubject | JobSubject | ContentSubject"
)


def resolve(view: View, text: str) -> Subject:
    """Give what a REF points at; raise `NotFound`, with what is near where that can be said."""
    ref = parse_ref(text)
    match ref:
        case MapRef():
            return MapSubject(view.map(ref.name))
        case TaskRef() | AttemptRef() | ParamsRef():
            return _resolve_task(view, ref, text)
        case CodeRef():
            return CodeSubject(_by_hex(text, ref.hex, view.reads.codes(), "code"))
        case EnvironmentRef():
            return EnvironmentSubject(_by_hex(text, ref.hex, view.reads.environments(), "env"))
        case JobRef():
            return JobSubject(find_job(view.reads.jobs(), ref.id))
        case DigestRef():
            return _content(view, ref.hex, None, text)
        case FileRef():
            return _file(view, ref.path)


def tasks_with(view: View, map: MapRecord, params: dict[str, Value], limit: int) -> list[Shown]:
    """Give the first tasks with exactly these values of parameters; if there is none, with numbers equal by value."""
    exact = [[encode({name: value})[1:-1]] for name, value in params.items()]
    close = [texts(name, value) for name, value in params.items()]
    for known, agrees in ((exact, _same), (close, equal)):
        sieve = both([Holds("params", tuple(each)) if each else None for each in known])
        tasks = view.reads.stream(map.id, sieve=sieve)
        found = list(islice((shown for shown in tasks if _agrees(shown.task.params, params, agrees)), limit))
        if found:
            return found
    return []


def find_job(jobs: Sequence[JobRecord], id: str) -> JobRecord:
    """Give a job by its number or by the first digits of its uuid, a few at least: a wrong number is none."""
    wanted = id.replace("-", "").lower()
    exact = [job for job in jobs if str(job.id) == id]
    enough = len(wanted) >= (UUID_DIGITS if wanted.isdecimal() else 1)
    found = exact or [job for job in jobs if enough and job.uuid.replace("-", "").lower().startswith(wanted)]
    if not found:
        raise NotFound(f"no job {id}", value=id, next="provrun job list shows the jobs")
    return _only(f"job:{id}", found, [f"job:{job.id}" for job in found])


def _resolve_task(view: View, ref: TaskRef | AttemptRef | ParamsRef, text: str) -> TaskSubject | AttemptSubject:
    map = view.map(ref.map)
    if isinstance(ref, ParamsRef):
        found = tasks_with(view, map, ref.params, MANY + 1)
        if not found:
            raise NotFound(
                f"no task of {map.name} has these parameters", value=text, next=f"provrun tasks {map.name} shows them"
            )
        return TaskSubject(map, _only(text, found, [f"{map.name}/{shown.task.index}" for shown in found]))
    shown = view.reads.shown(map.id, ref.index)
    if shown is None:
        there = f"its tasks are {map.name}/0 to {map.name}/{map.total - 1}" if map.total else "it has no task"
        raise NotFound(f"map {map.name} has no task {ref.index}", value=text, next=there)
    if isinstance(ref, TaskRef):
        return TaskSubject(map, shown)
    attempts = {attempt.number: attempt for attempt in view.reads.attempts(map.id, ref.index)}
    if ref.number not in attempts and not 1 <= ref.number <= shown.task.attempts:
        numbers = ", ".join(f"{map.name}/{ref.index}#{number}" for number in attempts)
        raise NotFound(
            f"task {map.name}/{ref.index} has no attempt {ref.number}", value=text,
            next=f"there is {numbers}" if numbers else "it has not been tried yet",
        )
    return AttemptSubject(map, shown, ref.number, attempts.get(ref.number))


def _by_hex(text: str, hex: str, kept: Iterable[Interned], kind: str) -> str:
    kept = list(kept)
    found = [one for one in kept if one.digest.startswith(hex)]
    if not found and kind == "code":
        found = [one for one in kept if _named(one.body, hex)]
    if not found:
        raise NotFound(f"no {kind} {hex}", value=text, next=f"provrun {kind} shows what there is")
    return _only(text, found, [f"{kind}:{short(one.digest)}" for one in found]).digest


def _named(body: str, hex: str) -> bool:
    code = decode(body)
    return isinstance(code, dict) and any(str(code.get(key) or "").startswith(hex) for key in ("commit", "tree"))


def _content(view: View, hex: str, path: str | None, text: str) -> ContentSubject:
    first, last = bytes.fromhex(hex.ljust(64, "0")), bytes.fromhex(hex.ljust(64, "f"))
    artifacts = view.reads.with_digest(first, last, 1000)
    digests = sorted({found.artifact.digest.hex() for found in artifacts})
    if len(digests) > 1:
        _only(text, digests, [f"sha256:{short(digest)}" for digest in digests])
    contexts = view.reads.contexts_with(hex) if len(hex) == 64 else []
    if artifacts or contexts:
        return ContentSubject(digests[0] if digests else hex, path, tuple(artifacts), (), tuple(contexts))
    results = view.reads.with_result(first, last, 1000)
    if results:
        return ContentSubject(hex, path, (), tuple(results))
    if path is not None:
        raise _unknown_file(view, path, hex)
    raise NotFound("no file, result or input has this digest", value=text, next="provrun find CONDITIONS finds tasks")


def _file(view: View, path: str) -> ContentSubject:
    digest = view.digest(str(Path(path).absolute()))
    if digest is None:
        raise NotFound(f"there is no file {path}", value=path, next="sha256:HEX names content that is gone from disk")
    return _content(view, digest, path, path)


def _unknown_file(view: View, path: str, digest: str) -> NotFound:
    full = str(Path(path).absolute())
    for map in view.maps():
        written = view.reads.with_path(os.path.relpath(full, view.folder(map)), 1)
        if written:
            task = f"{view.map_by_id(written[0].map).name}/{written[0].index}"
            return NotFound(
                f"no attempt made or read the content that {path} has now", value=digest,
                next=f"{task} wrote this file with another content: provrun trace {task}",
            )
    return NotFound(f"no attempt made or read the content of {path}", value=digest, next="is it declared --output?")


def _agrees(text: str, params: dict[str, Value], agree: Callable[[Value, Value], bool]) -> bool:
    held = decode(text)
    return isinstance(held, dict) and all(name in held and agree(held[name], value) for name, value in params.items())


def _same(left: Value, right: Value) -> bool:
    """Tell whether two values are the same, 1 and 1.0 being two."""
    return encode(left) == encode(right)


def _only(text: str, found: Sequence[T], names: Sequence[str]) -> T:
    if len(found) > 1:
        listed = ", ".join(names[:MANY]) + (", ..." if len(names) > MANY else "")
        raise UsageError(f"{text} stands for several", value=list(names[:MANY]), next=f"which of {listed}?")
    return found[0]

