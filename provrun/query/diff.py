"""What differs between two tasks, attempts, maps, versions of code or environments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from provrun.core.answers import ContextRecord
from provrun.core.canonical import decode, encode
from provrun.core.code import CapturedCode
from provrun.core.environment import Environment
from provrun.core.records import REUSED, AttemptRecord, MapRecord, TaskRecord
from provrun.errors import UsageError
from provrun.query.labels import readable
from provrun.query.resolving import (
    AttemptSubject,
    CodeSubject,
    EnvironmentSubject,
    MapSubject,
    Subject,
    TaskSubject,
)
from provrun.query.rows import short
from provrun.query.view import View


class Difference(msgspec.Struct, frozen=True):
    """One thing that differs: where (``parameters.x``, ``code.commit``, ...), and its value on each side."""

    what: str
    left: object
    right: object


class Comparison(msgspec.Struct, frozen=True):
    """What differs between two things; ``patch`` are the patches of two versions of code, each against its commit."""

    left: str
    right: str
    differences: tuple[Difference, ...]
    patches: tuple[str | None, str | None] = (None, None)

    def document(self) -> dict[str, object]:
        """Give the comparison for JSON."""
        return {
            "left": self.left,
            "right": self.right,
            "equal": not self.differences,
            "differences": [
                {"what": each.what, "left": each.left, "right": each.right} for each in self.differences
            ],
            "patches": {"left": self.patches[0], "right": self.patches[1]},
        }


class _Side(msgspec.Struct, frozen=True):
    """What can be compared of one side; sections that are None are not known."""

    sections: dict[str, dict[str, object]]
    code: str | None = None


def diff(view: View, left: Subject, right: Subject) -> Comparison:
    """Compare two things of one kind; a task and an attempt may be compared, and stand for each other."""
    sides = _side(view, left), _side(view, right)
    if sides[0].sections.keys() != sides[1].sections.keys():
        raise UsageError(
            f"{left.ref} and {right.ref} are of different kinds", value=[left.ref, right.ref],
            next="compare two tasks or attempts, two maps, two code: or two env:",
        )
    differences = tuple(
        difference
        for section in sides[0].sections
        for difference in _compared(section, sides[0].sections[section], sides[1].sections[section])
    )
    patches: tuple[str | None, str | None] = (None, None)
    codes = sides[0].code, sides[1].code
    if codes[0] != codes[1]:
        patches = _patch(view, codes[0]), _patch(view, codes[1])
    return Comparison(left.ref, right.ref, differences, patches)


def environments(then: Environment, now: Environment) -> list[str]:
    """Say in words what differs between two environments, one line each."""
    return [
        f"{each.what} {'absent' if each.left is None else each.left}"
        f" -> {'absent' if each.right is None else each.right}"
        for each in _compared("", _environment(then), _environment(now))
    ]


def _side(view: View, subject: Subject) -> _Side:
    match subject:
        case TaskSubject(map=map, shown=shown):
            return _of_attempt(view, map, shown.task, shown.attempt)
        case AttemptSubject(map=map, shown=shown, attempt=attempt):
            return _of_attempt(view, map, shown.task, attempt)
        case MapSubject(map=map):
            return _of_map(view, map)
        case CodeSubject(digest=digest):
            return _Side({"code": _code(view.reads.code(digest))}, digest)
        case EnvironmentSubject(digest=digest):
            return _Side({"environment": _environment(view.reads.environment(digest))})
        case _:
            raise UsageError(
                f"{subject.ref} cannot be compared", value=subject.ref,
                next="compare two tasks or attempts, two maps, two code: or two env:",
            )


def _of_attempt(view: View, map: MapRecord, task: TaskRecord, attempt: AttemptRecord | None) -> _Side:
    params = decode(task.params)
    sections: dict[str, dict[str, object]] = {
        "recipe": _recipe(map),
        "parameters": msgspec.json.decode(task.params) if isinstance(params, dict) else {},
        "code": {}, "uses": {}, "environment": {}, "host": {}, "inputs": {},
        "limits": _limits(map, task),
        "reads": {}, "result": {}, "outputs": {},
    }
    if attempt is None:
        return _Side(sections)
    context = view.contexts[attempt.context]
    artifacts = view.reads.artifacts(attempt.map, attempt.index, attempt.number)
    sections["code"] = _code(view.reads.code(context.code))
    sections["uses"] = _uses(context)
    sections["environment"] = _environment(view.reads.environment(context.environment))
    sections["host"] = {"node": context.node, **msgspec.to_builtins(view.reads.host(context.host))}
    shared = [(path, digest) for path, digest, _ in context.inputs]
    own = [(read.path or read.name, read.digest.hex()) for read in artifacts if read.role == "input"]
    sections["inputs"] = dict([*shared, *own])
    sections["reads"] = {
        _read_name(view, entry): entry[2] if entry[2] != REUSED else "reused"
        for entry in (msgspec.json.decode(attempt.trail) if attempt.trail else ())
    }
    sections["result"] = {
        "outcome": attempt.outcome.word,
        "error": attempt.error,
        "value": msgspec.json.decode(attempt.result) if attempt.result is not None else None,
    }
    sections["outputs"] = {made.name: made.digest.hex() for made in artifacts if made.role == "output"}
    return _Side(sections, context.code)


def _of_map(view: View, map: MapRecord) -> _Side:
    code, environment = view.reads.digest_of("code", map.code), view.reads.digest_of("environment", map.environment)
    return _Side(
        {
            "recipe": _recipe(map),
            "policy": msgspec.to_builtins(map.policy),
            "map": {"parameters": list(map.own), "priority": map.priority, "tags": map.tags, "folder": map.workdir},
            "builds on": {
                each.upstream: msgspec.to_builtins(each) for each in map.dependencies
            },
            "tasks": {state.word: n for state, n in map.counts.items()},
            "code": _code(view.reads.code(code)),
            "environment": _environment(view.reads.environment(environment)),
        },
        code,
    )


def _recipe(map: MapRecord) -> dict[str, object]:
    recipe: dict[str, object] = msgspec.to_builtins(map.recipe)
    return recipe


def _code(captured: CapturedCode) -> dict[str, object]:
    code = captured.code
    return {
        "commit": code.commit, "tree": code.tree, "dirty": code.dirty, "remote": code.remote, "branch": code.branch,
        "files": code.files_digest, "patch": code.patch_digest,
        **{f"submodule {module.path}": f"{module.commit} {module.tree}" for module in code.submodules},
    }


def _environment(environment: Environment) -> dict[str, object]:
    packages = {
        f"package {one.name}": " ".join(filter(None, (one.version, one.direct_url))) for one in environment.packages
    }
    variables = {f"variable {name}": value for name, value in environment.variables.items()}
    return {
        "python": environment.python, "implementation": environment.implementation,
        "container": environment.container, **packages, **variables,
    }


def _limits(map: MapRecord, task: TaskRecord) -> dict[str, object]:
    policy, own = map.policy, task.limits
    return {
        "cores": policy.cores,
        "time": own.time if own is not None and own.time is not None else policy.task_time,
        "memory": own.memory if own is not None and own.memory is not None else policy.task_memory,
    }


def _uses(context: ContextRecord) -> dict[str, object]:
    uses = context.uses
    if uses is None:
        return {}
    tools = {f"program {tool.path}": " ".join(filter(None, (tool.sha256[:12], tool.version))) for tool in uses.tools}
    return {**uses.files, **tools, **{f"default {name}": value for name, value in uses.defaults.items()}}


def _read_name(view: View, entry: list[object]) -> str:
    name = view.map_by_id(entry[0]).name if isinstance(entry[0], int) else str(entry[0])
    return f"{name}, {entry[1]} tasks" if isinstance(entry[2], str) else f"{name}/{entry[1]}"


def _compared(section: str, left: Mapping[str, object], right: Mapping[str, object]) -> Iterable[Difference]:
    prefix = f"{section}." if section else ""
    for name in (*left, *(name for name in right if name not in left)):
        mine, other = left.get(name), right.get(name)
        # By canonical text: 1, 1.0 and true are three values.
        if encode(mine) != encode(other):
            yield Difference(f"{prefix}{name}", mine, other)


def _patch(view: View, code: str | None) -> str | None:
    if code is None:
        return None
    patch = view.reads.code(code).patch
    return patch.decode(errors="replace") if patch is not None else None


def difference_line(difference: Difference) -> str:
    """Write a difference for a person."""
    return f"{difference.what}: {_shown(difference.left)} | {_shown(difference.right)}"


def _shown(value: object) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else readable(msgspec.json.encode(value).decode())
    return short(text) if len(text) in (40, 64) and not set(text) - set("0123456789abcdef") else text
