"""How a function is called: each of its parameters gets what bears its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from provrun.core.canonical import NotAValue, decode, encode
from provrun.core.messages import RunMap, Start
from provrun.errors import ProvrunError
from provrun.run.binding import Reads, Upstream, read_reads, read_value
from provrun.run.packs import blob_reader
from provrun.run.rows import Rows
from provrun.run.values import restore

Function = Callable[..., object]
_NAMED = frozenset(
    {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
)


class MissingArgument(ProvrunError):
    """A function asks for something that nothing gives."""


class Call:
    """A function of a map, ready to be called for its tasks."""

    def __init__(self, run: RunMap, function: Function, project: str, workdir: str) -> None:
        self.function = function
        self._run = run
        self._project = project
        self._workdir = workdir
        self._bound = dict(run.recipe.bound)
        self._names: dict[str, bool] = {}
        """The names it takes, each with whether it must be given."""
        self._positional: list[str] = []
        self._open = False
        self._read_signature()

    def arguments(self, start: Start) -> tuple[list[object], dict[str, object]]:
        """Give positional and named arguments for a task; raise `MissingArgument`."""
        params = cast("dict[str, object]", read_value(start.params))
        if start.reads is None and not self._bound and not self._positional and params.keys() == self._names.keys():
            return [], params
        given = self._gather(params, start)
        return [given.pop(name) for name in self._positional if name in given], given

    def _gather(self, params: dict[str, object], start: Start) -> dict[str, object]:
        given = {name: value for name, value in params.items() if name in self._names or self._open}
        for name, value in self._bound.items():
            given.setdefault(name, value)
        if start.reads is not None:
            self._read(read_reads(start.reads), given)
        missing = [name for name, required in self._names.items() if required and name not in given]
        if missing and not given and len(self._names) == 1 and start.reads is None:
            return {missing[0]: _whole(params)}
        if missing:
            known = ", ".join(sorted(params)) or "none"
            raise MissingArgument(
                f"{self._run.recipe.function} needs {', '.join(missing)}, which nothing gives (parameters: {known})"
            )
        return given

    def _read(self, reads: Reads, given: dict[str, object]) -> None:
        """Add what upstream tasks have made; the nearest of two of one name wins, parameters win over both."""
        for map in (*self._run.each, *(name for name in reads.each if name not in self._run.each)):
            upstream = reads.each.get(map)
            if upstream is not None:
                self._read_task(map, upstream, given)
        if reads.rows:
            rows = {map: Rows(path, self._project, self._workdir) for map, path in reads.rows.items()}
            for name in self._names:
                if name not in given:
                    self._read_rows(name, rows, given)

    def _read_task(self, map: str, upstream: Upstream, given: dict[str, object]) -> None:
        result = restore(upstream.result, blob_reader(self._project, upstream.blobs), self._workdir)
        if map in self._names:
            given.setdefault(map, result)
        if isinstance(result, Mapping):
            for name, value in result.items():
                if name in self._names:
                    given.setdefault(name, value)

    def _read_rows(self, name: str, rows: dict[str, Rows], given: dict[str, object]) -> None:
        if name == "rows":
            given[name] = next(iter(rows.values()))
        elif name in rows:
            given[name] = rows[name]
        else:
            for each in rows.values():
                if each.has(name):
                    given[name] = each.column(name)
                    return

    def _read_signature(self) -> None:
        for name, parameter in self._parameters().items():
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                self._positional.append(name)
            if parameter.kind in _NAMED:
                self._names[name] = parameter.default is inspect.Parameter.empty
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                self._open = True

    def defaults(self, start: Start) -> dict[str, object]:
        """Give the parameters that are left to defaults, as values or else as Python writes them.

        All tasks of a map leave the same ones, so any of them serves as example.
        """
        given = {*cast("dict[str, object]", read_value(start.params)), *self._bound}
        for map, upstream in read_reads(start.reads).each.items():
            given.add(map)
            if isinstance(upstream.result, Mapping):
                given |= upstream.result.keys()
        found: dict[str, object] = {}
        for name, parameter in self._parameters().items():
            if name not in given and parameter.default is not inspect.Parameter.empty:
                found[name] = _portable(parameter.default)
        return found

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        try:
            return inspect.signature(self.function).parameters
        except (ValueError, TypeError):  # a builtin that tells nothing about itself
            self._open = True
            return {}


def _whole(params: dict[str, object]) -> object:
    """Give what a function takes whose only parameter bears no name of theirs: the task of a queue, as it was added."""
    task = {name: value for name, value in params.items() if name != "occurrence"}
    return next(iter(task.values())) if task.keys() in ({"task"}, {"line"}) else task


def _portable(value: object) -> object:
    try:
        value = decode(encode(value))
        msgspec.msgpack.encode(value)
    except (NotAValue, OverflowError):
        return repr(value)
    return value
