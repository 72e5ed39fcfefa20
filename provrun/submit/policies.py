"""Policy as a user writes it: durations, sizes and factors become numbers, every problem is listed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from provrun.core.nearest import suggestion
from provrun.core.records import Policy, RecipeKind
from provrun.core.units import format_duration, format_size, parse_duration, parse_size
from provrun.errors import UsageError

_FACTOR = re.compile(r"x?(\d+(?:\.\d+)?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_factor(factor: str | float) -> float:
    """Return the number of ``x2`` or ``x1.5``, at least 1."""
    match = _FACTOR.fullmatch(factor) if isinstance(factor, str) else None
    number = float(match[1]) if match else factor
    if isinstance(number, bool) or not isinstance(number, int | float) or not number >= 1:
        raise UsageError(f"{factor!r} is no factor", value=factor, next="write a factor of at least 1 as x2 or x1.5")
    return float(number)


def parse_policy(given: Mapping[str, object], before: Policy) -> tuple[Policy, list[str]]:
    """Give ``before`` with what was given in its place, and the problems found; names are the fields of `Policy`."""
    fields: dict[str, object] = {}
    problems = []
    for name, value in given.items():
        reader = _READERS.get(name)
        if reader is None:
            problems.append(f"no such option: {name}; {suggestion(name, _READERS, 'see provrun submit --help')}")
            continue
        try:
            fields[name] = None if value is None else reader(value)
        except UsageError as error:
            problems.append(f"--{name.replace('_', '-')}: {error.message}; {error.next}")
    policy: Policy = msgspec.structs.replace(before, **fields)
    if policy.retry_time is not None and policy.task_time is None:
        problems.append("--retry-time multiplies a time limit and there is none: add --task-time")
    if policy.retry_memory is not None and policy.task_memory is None:
        problems.append("--retry-memory multiplies a memory limit and there is none: add --task-memory")
    if policy.task_nodes > 1 and policy.ranks and policy.ranks < policy.task_nodes:
        problems.append(f"--ranks {policy.ranks}: fewer ranks than the {policy.task_nodes} nodes of a task")
    return policy, problems


def unheeded(policy: Policy, kind: RecipeKind) -> list[str]:
    """Say which parts of a policy do less for such a recipe than one may think."""
    if kind != "function":
        return []
    given = {"--ranks": policy.ranks > 1, "--task-nodes": policy.task_nodes > 1}
    return [
        f"{option} reserves room, but a function is one process: what it starts has to use it"
        for option, yes in given.items()
        if yes
    ]


def describe_changes(before: Policy, now: Policy) -> list[str]:
    """List the fields in which two policies differ, in words."""
    return [
        f"{name.replace('_', '-')}: {_shown(name, getattr(before, name))} -> {_shown(name, getattr(now, name))}"
        for name in Policy.__struct_fields__
        if getattr(before, name) != getattr(now, name)
    ]


def _shown(name: str, value: Any) -> str:
    if value is None or value == ():
        return "none"
    if name == "task_time":
        return format_duration(value)
    if name == "task_memory":
        return format_size(value)
    if isinstance(value, tuple):
        return " ".join(value)
    return f"x{value:g}" if name in {"retry_time", "retry_memory"} else str(value)


def _count(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise UsageError(f"{value!r} is too small or no whole number", next=f"give {least} or more")
        return number

    return read


def _positive(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def positive(value: Any) -> Any:
        number = read(value)
        if number <= 0:
            raise UsageError(f"{value!r} leaves nothing", next="give more than zero")
        return number

    return positive


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{value!r} is neither true nor false", next="give one of them")
    return value


def _isolate(value: Any) -> bool:
    if value not in ("task", True, False):
        raise UsageError(f"{value!r} cannot be isolated", next="only task can")
    return value is not False


def _words(value: Any) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else (value,)
    for word in words:
        if not isinstance(word, str) or not word:
            raise UsageError(f"{word!r} is no text", next="give text or a list of it")
    return tuple(dict.fromkeys(words))


def _variables(value: Any) -> tuple[str, ...]:
    names = _words(value)
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a variable", next="give NAME; its value is taken when tasks run")
    return names


def _code(value: Any) -> str:
    if value not in ("record", "pin", "clean"):
        raise UsageError(f"{value!r} is no way to treat code", next="record (default), pin or clean")
    return str(value)


_READERS: dict[str, Callable[[Any], object]] = {
    "cores": _count(1),
    "ranks": _count(0),
    "task_nodes": _count(0),
    "gpus": _count(0),
    "task_time": _positive(parse_duration),
    "task_memory": _positive(parse_size),
    "retries": _count(0),
    "retry_time": parse_factor,
    "retry_memory": parse_factor,
    "checkpoint": _flag,
    "isolate": _isolate,
    "pass_env": _variables,
    "code": _code,
    "uses": _words,
    "reuse": _flag,
}
