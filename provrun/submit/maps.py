"""From what a user asks for to the record of a map: everything is checked, all problems are told at once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

from provrun.core.problems import Problems
from provrun.core.records import Dependency, MapRecord, MapSpec, Policy, Recipe, RecipeKind, ResultMode
from provrun.core.refs import valid_map_name
from provrun.core.space import Space
from provrun.core.template import ALWAYS_KNOWN, Template
from provrun.errors import Refused
from provrun.submit import flow, functions, outputs
from provrun.submit.flow import Flow
from provrun.submit.loadfile import LINE_PARAMETERS
from provrun.submit.policies import parse_policy
from provrun.submit.request import Request

RUNNING_ONLY = {"cores", "tmpdir", "launcher"}
"""Placeholders of commands that say nothing about where a file lies."""


class Maps(Protocol):
    """What this room asks of the registry."""

    def find_map(self, name: str) -> MapRecord | None: ...

    def map_names(self) -> list[str]: ...


@dataclass(frozen=True)
class Built:
    """A map that may be stored: its record, what flows into it, and the map of that name there is already."""

    spec: MapSpec
    flow: Flow
    existing: MapRecord | None


def build(request: Request, space: Space | None, maps: Maps | None, problems: Problems) -> Built:
    """Check a request against the maps there are and make the map's record.

    ``space`` holds the map's own parameters, None when what is wrong with them stands in ``problems`` already;
    ``maps`` is None where there is no registry yet. Raises `InvalidInput` with all problems; `Refused` when another map
    of that name exists, with the difference.
    """
    find: Callable[[str], MapRecord | None] = maps.find_map if maps is not None else lambda name: None
    known: Callable[[], Iterable[str]] = maps.map_names if maps is not None else tuple
    named = valid_map_name(request.name)
    if not named:
        problems.add(f"{request.name!r} is no name of a map: use letters, digits, _ and -, a letter or _ first")
    existing = find(request.name) if named else None
    dependencies, flows, wrong = flow.plan(request.name, request.building, find, known)
    problems.extend(wrong)
    own = LINE_PARAMETERS if request.lines else space.names if space is not None else ()
    checks = _Checks(request, own, flows, problems, complete=space is not None and not wrong)
    recipe = checks.recipe()
    policy, wrong = parse_policy(request.policy, existing.policy if existing is not None else Policy())
    problems.extend(wrong)
    if space is not None and checks.complete:
        problems.extend(outputs.clashes(request.outputs, space, flows))
    problems.raise_any()
    priority = request.priority
    if priority is None:
        priority = existing.priority if existing is not None else 0
    spec = MapSpec(
        name=request.name,
        recipe=recipe,
        policy=policy,
        workdir=relative(request.folder, request.root),
        own=own,
        tags={**(existing.tags if existing is not None else {}), **request.tags},
        priority=priority,
        dependencies=dependencies,
        user=request.user,
    )
    if existing is not None:
        require_same(existing, spec)
    return Built(spec, flows, existing)


def relative(folder: Path, root: Path) -> str:
    """Give a map's folder as it is stored: relative to the project's folder if beneath it, else absolute."""
    return str(folder.relative_to(root)) if folder.is_relative_to(root) else str(folder)


class _Checks:
    """The recipe of a request, with everything about it that can be wrong.

    ``own`` are the names of the map's own parameters; ``complete`` says that they and what flows in are known, so that
    an unknown name is the user's slip.
    """

    def __init__(
        self, request: Request, own: tuple[str, ...], flows: Flow, problems: Problems, *, complete: bool
    ) -> None:
        self.request = request
        self.own = own
        self.flows = flows
        self.problems = problems
        self.complete = complete

    def recipe(self) -> Recipe:
        """Make the recipe, noting every problem."""
        request = self.request
        kind = self._kind()
        self._names()
        if kind in {"command", "shell"}:
            with self.problems.at("the command"):
                self._fields(Template.parse(request.words, request.shell), "the command", self._known_to_commands())
        elif kind == "function":
            with self.problems.at("--function"):
                self._function(request.function or "")
        places = [("--input", path) for path in request.inputs]
        places += [(f"--output {name}", path) for name, path in request.outputs.items()]
        known = {*self.own, *self.flows.inherited, *ALWAYS_KNOWN} - RUNNING_ONLY
        for place, path in places:
            with self.problems.at(place):
                self._fields(Template.parse([path]), place, known)
        self.problems.extend(outputs.misplaced(request.outputs))
        modes: tuple[ResultMode, ...] = get_args(ResultMode)
        result = next((mode for mode in modes if mode == request.result), None)
        if result is None:
            self.problems.add(f"--result {request.result}: choose one of {', '.join(modes)}")
        if request.pack and not request.outputs:
            self.problems.add("--pack keeps outputs in the pack and there is none: add --output NAME=PATH")
        return Recipe(
            kind=kind or "command",
            words=request.words if kind in {"command", "shell"} else (),
            function=functions.normal_reference(request.function) if request.function is not None else None,
            bound=dict(request.bound),
            inputs=request.inputs,
            outputs=dict(request.outputs),
            result=result or "auto",
            pack=request.pack,
        )

    def _kind(self) -> RecipeKind | None:
        request = self.request
        if request.lines:
            return "line"
        if request.function is not None:
            if request.words:
                self.problems.add("give a command or --function, not both")
            if request.shell:
                self.problems.add("--shell runs a command; a function needs none")
            return "function"
        if not request.words:
            self.problems.add("nothing to apply: end with -- COMMAND ..., or give --function module:callable")
            return None
        return "shell" if request.shell else "command"

    def _names(self) -> None:
        """Note names that would mean two things."""
        command = self.request.function is None and not self.request.lines
        for name in self.own:
            if name in self.flows.inherited:
                self.problems.add(f"the parameter {name} comes from the map it builds on; give this one another name")
            if name in self.flows.maps:
                self.problems.add(f"the parameter {name} has the name of a map it builds on; give it another name")
            if command and name in ALWAYS_KNOWN:
                self.problems.add(f"{{{name}}} is always known in a command; give the parameter another name")
        if self.request.lines and self.request.building.each:
            self.problems.add("lines are taken as they are, so --each has nothing to fill in: use provrun submit")

    def _known_to_commands(self) -> set[str]:
        numbered = {f"input.{number}" for number in range(len(self.request.inputs))}
        numbered |= {f"output.{number}" for number in range(len(self.request.outputs))}
        named = {f"output.{name}" for name in self.request.outputs}
        return {*self.own, *self.flows.inherited, *ALWAYS_KNOWN, *numbered, *named}

    def _fields(self, template: Template, place: str, known: set[str]) -> None:
        """Note placeholders that nothing can fill."""
        if self.complete:
            misread = (flow.misread(name, self.flows) for name in template.names)
            found = [*template.check(known, self.flows.maps), *(problem for problem in misread if problem is not None)]
            self.problems.extend(f"{place}: {problem}" for problem in found)

    def _function(self, reference: str) -> None:
        signature = functions.check_reference(functions.normal_reference(reference), self.request.folder)
        if signature is not None and self.complete:
            flows = self.flows
            others = (*flows.inherited, *flows.maps, *(("rows",) if flows.reduces else ()))
            name = reference.rpartition(":")[2]
            self.problems.extend(
                functions.check_arguments(
                    signature, name, self.own, others, self.request.bound, open=bool(flows.maps)
                )
            )


def require_same(existing: MapRecord, spec: MapSpec) -> None:
    """Raise `Refused`, showing the difference, if the map of that name is another one than ``spec`` says."""
    was, now = existing.recipe, spec.recipe
    changed = [(name, getattr(was, name), getattr(now, name)) for name in Recipe.__struct_fields__]
    changed += [
        ("parameters", tuple(sorted(existing.own)), tuple(sorted(spec.own))),
        ("folder", existing.workdir, spec.workdir),
        ("builds on", _listed(existing.dependencies), _listed(spec.dependencies)),
    ]
    rows = [f"\n  {name}: {_shown(old)} -> {_shown(new)}" for name, old, new in changed if old != new]
    if rows:
        raise Refused(
            f"there is another map named {spec.name}:{''.join(rows)}", value=spec.name,
            next="choose another name; a map grows by the same recipe with further parameters",
        )


def _listed(dependencies: Iterable[Dependency]) -> str:
    """Write dependencies of whole maps; those between index ranges may come and go."""
    whole = [each for each in dependencies if each.tasks is None and not each.upstream_tasks]
    return ", ".join(
        f"{each.kind} {each.upstream}" + (f" by {','.join(each.by)}" if each.by else "")
        + (f" of {each.chunk}" if each.chunk else "") + (" (skip failed)" if each.on_failed == "skip" else "")
        for each in sorted(whole, key=lambda each: (each.upstream, each.kind))
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return shlex.join(map(str, value)) or "nothing"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "nothing"
    return str(value) if value not in (None, "") else "nothing"
