"""REFs: the names by which users point at maps, tasks, attempts, code, environments, jobs and files."""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

from provrun.core.canonical import Value
from provrun.core.items import item_value, split_items
from provrun.core.nearest import nearest
from provrun.errors import UsageError

_MAP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_TASK = re.compile(rf"({_MAP.pattern})/([0-9]+)(?:#([0-9]+))?", re.ASCII)
_PARAMS = re.compile(rf"({_MAP.pattern})\[(.*)\]", re.ASCII | re.DOTALL)
_HEX = re.compile(r"[0-9a-f]{4,64}", re.ASCII)
_FORMS = "a REF is MAP, MAP/INDEX, MAP/INDEX#N, 'MAP[x=1,y=2]', code:HEX, env:HEX, job:ID, sha256:HEX or ./FILE"


class MapRef(msgspec.Struct, frozen=True):
    """A map: ``scan``."""

    name: str


class TaskRef(msgspec.Struct, frozen=True):
    """A task: ``scan/42``."""

    map: str
    index: int


class AttemptRef(msgspec.Struct, frozen=True):
    """An attempt: ``scan/42#2``; numbers count from 1."""

    map: str
    index: int
    number: int


class ParamsRef(msgspec.Struct, frozen=True):
    """The tasks of a map that have these values of parameters: ``scan[x=1,y=2]``."""

    map: str
    params: dict[str, Value]


class CodeRef(msgspec.Struct, frozen=True):
    """A code version by the first hex digits (at least four) of its digest, tree or commit: ``code:3f2a``."""

    hex: str


class EnvironmentRef(msgspec.Struct, frozen=True):
    """An environment by the first hex digits of its digest: ``env:91bc``."""

    hex: str


class JobRef(msgspec.Struct, frozen=True):
    """A job: ``job:7``."""

    id: str


class DigestRef(msgspec.Struct, frozen=True):
    """Content by the first hex digits of its sha256: ``sha256:9f86``."""

    hex: str


class FileRef(msgspec.Struct, frozen=True):
    """A file by its path: ``./out/7.npy``."""

    path: str


Ref: TypeAlias = "MapRef | TaskRef | AttemptRef | ParamsRef | CodeRef | EnvironmentRef | JobRef | DigestRef | FileRef"
_BY_HEX: dict[str, type[CodeRef | EnvironmentRef | DigestRef]] = {
    "code": CodeRef,
    "env": EnvironmentRef,
    "sha256": DigestRef,
}


def valid_map_name(name: str) -> bool:
    """Say whether ``name`` can name a map."""
    return _MAP.fullmatch(name) is not None


def parse_ref(text: str) -> Ref:
    """Return what ``text`` points at; a path is a FileRef when it has a slash and is no task."""
    if valid_map_name(text):
        return MapRef(text)
    if task := _TASK.fullmatch(text):
        return _task(text, *task.groups())
    if params := _PARAMS.fullmatch(text):
        return ParamsRef(params[1], _params(text, params[2]))
    kind, colon, rest = text.partition(":")
    if colon and kind in _BY_HEX:
        if not _HEX.fullmatch(rest.lower()):
            raise UsageError(f"{text!r} is no REF: after {kind}: come 4 to 64 hex digits", value=text, next=_FORMS)
        return _BY_HEX[kind](rest.lower())
    if colon and kind == "job" and rest:
        return JobRef(rest)
    if "/" in text and not text.endswith("/"):
        return FileRef(text)
    if rest and (slip := nearest(kind, [*_BY_HEX, "job"])):
        raise UsageError(f"{text!r} is no REF", value=text, next=f"did you mean {slip}:{rest}?")
    raise UsageError(f"{text!r} is no REF", value=text, next=f"for a file write ./{text}" if "." in text else _FORMS)


def _task(text: str, name: str, index: str, number: str | None) -> Ref:
    if len(index) > 18 or len(number or "") > 18:
        raise UsageError(f"{text!r} is no REF: the number is too large", value=text, next=_FORMS)
    if number is None:
        return TaskRef(name, int(index))
    if int(number) == 0:
        raise UsageError(f"{text!r} is no REF: attempts are counted from 1", value=text)
    return AttemptRef(name, int(index), int(number))


def _params(text: str, inside: str) -> dict[str, Value]:
    params: dict[str, Value] = {}
    for item in _assignments(inside):
        name, equals, value = item.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier() or name in params:
            wrong = f"{name} is given twice" if name in params else f"{item.strip()!r} is not name=value"
            raise UsageError(f"{text!r} is no REF: {wrong}", value=text, next=_FORMS)
        params[name] = item_value(value)
    return params


def _assignments(inside: str) -> list[str]:
    """Split ``x=1,y=[2,3]`` at the commas between assignments."""
    found: list[str] = []
    rest = inside
    while rest.strip():
        name, equals, after = rest.partition("=")
        if not equals or "," in name:
            head, _, rest = rest.partition(",")
            found.append(head)
            continue
        value = split_items(after)[0]
        found.append(f"{name}={value}")
        rest = after[len(value) + 1 :]
    return found
