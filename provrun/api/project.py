"""A project in Python: submit, map, reduce, and the maps there are."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from provrun.api import options as opts
from provrun.api.inert import Inert
from provrun.api.maps import Map
from provrun.api.parameters import only_parameter, only_placeholder, space_of
from provrun.errors import UsageError
from provrun.project.project import Project as Opened
from provrun.run import current

if TYPE_CHECKING:
    from provrun.core.space import Space
    from provrun.submit.request import Request


class Project:
    """The project in a folder, or the nearest one upward from here; touched only when it is used."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._opened: Opened | None = None

    def submit(
        self, name: str, template: str | Sequence[str], params: object = None, **keywords: object
    ) -> Map:
        """Apply a command to many parameter sets: a map of one task per set.

        ``template`` is split into words as a shell would, or given as a list of words; ``{x}`` stands for parameter x.
        Keywords that are no options are parameters: lists, ranges and arrays are swept, all else is one value.
        Submitting again adds only tasks that are new. Raises `InvalidInput` with all problems, and `Refused`
        when another command has the name.
        """
        if current.importing:
            return self._inert(name)
        options, given = opts.split(keywords)
        shell = bool(options.pop("shell", False))
        if shell:
            words: tuple[str, ...] = (template,) if isinstance(template, str) else tuple(template)
        else:
            words = tuple(shlex.split(template) if isinstance(template, str) else (str(word) for word in template))
        space = space_of(params, given, lambda: only_placeholder(words, shell, given))
        return self._submit(name, space, options, words=words, shell=shell)

    def map(
        self, function: Callable[..., object], params: object = None, *, name: str | None = None, **keywords: object
    ) -> Map:
        """Apply a Python function to many parameter sets; ``name`` defaults to the function's.

        The function is found again by module and name, that of a script by its file; nothing is pickled.
        """
        if current.importing:
            return self._inert(name or str(getattr(function, "__name__", "")))
        options, given = opts.split(keywords)
        target = getattr(function, "func", function)
        opts.refuse_ambiguous(target, options, "map")
        space = space_of(params, given, lambda: only_parameter(target, given))
        return self._function(function, name or str(getattr(target, "__name__", "")), space, options)

    def reduce(
        self, function: Callable[..., object], *, over: Map | str, by: str | Sequence[str] = (),
        name: str | None = None, params: object = None, **keywords: object,
    ) -> Map:
        """Apply a function to all tasks of a map at once, or to each group of tasks with equal parameters ``by``.

        The function gets what it names: ``rows``, a parameter of ``by``, or a key of the results as a list.
        """
        if current.importing:
            return self._inert(name or str(getattr(function, "__name__", "")))
        options, given = opts.split(keywords)
        target = getattr(function, "func", function)
        opts.refuse_ambiguous(target, options, "reduce")
        if by:
            options |= {"group": over, "by": by}
        else:
            options["group" if options.get("chunk") else "all"] = over
        space = space_of(params, given, lambda: only_parameter(target, {"rows", *given}))
        return self._function(function, name or str(getattr(target, "__name__", "")), space, options)

    def get(self, name: str) -> Map:
        """Give a map by name; `NotFound` with the nearest name if there is none."""
        return Map(self._open(), self._open().map(name).name)

    def maps(self) -> list[Map]:
        """Give all maps, in the order in which they were first submitted."""
        project = self._open()
        return [Map(project, name) for name in project.registry.map_names()]

    def _inert(self, name: str) -> Map:
        return cast("Map", Inert(name, lambda: self.get(name)))

    def _function(
        self, function: Callable[..., object], name: str, space: Space, options: dict[str, object]
    ) -> Map:
        from provrun.api.functions import reference

        project = self._open(create=True)
        place, bound = reference(function, project, Path.cwd(), name)
        return self._submit(name, space, options, function=place, bound=bound)

    def _submit(self, name: str, space: Space, options: dict[str, object], **recipe: object) -> Map:
        from provrun.project.submitting import submit

        project = self._open(create=True)
        submit(project, self._request(project, name, options, recipe), space)
        return Map(project, name)

    def _request(
        self, project: Opened, name: str, options: dict[str, object], recipe: dict[str, object]
    ) -> Request:
        from provrun.project.submitter import user_name
        from provrun.submit.request import Request

        inputs, outputs, result = opts.data(options)
        priority = options.get("priority")
        if priority is not None and not isinstance(priority, int):
            raise UsageError(f"priority={priority!r} should be an integer", value=priority)
        return Request(
            name=name, folder=Path.cwd(), root=project.root, building=opts.building(options), inputs=inputs,
            outputs=outputs, result=result, pack=bool(options.get("pack")), policy=opts.policy(options),
            priority=priority, tags=opts.tags(options), user=user_name(), **recipe,  # type: ignore[arg-type]  # fields by name
        )

    def _open(self, *, create: bool = False) -> Opened:
        if self._opened is None:
            self._opened = Opened.find(self._folder, create=create)
        return self._opened


def submit(name: str, template: str | Sequence[str], params: object = None, **keywords: object) -> Map:
    """Apply a command to many parameter sets, in the project here; see `Project.submit`."""
    return Project().submit(name, template, params, **keywords)


def map(
    function: Callable[..., object], params: object = None, *, name: str | None = None, **keywords: object
) -> Map:
    """Apply a Python function to many parameter sets, in the project here; see `Project.map`."""
    return Project().map(function, params, name=name, **keywords)


def reduce(
    function: Callable[..., object], *, over: Map | str, by: str | Sequence[str] = (), name: str | None = None,
    params: object = None, **keywords: object,
) -> Map:
    """Apply a function to all tasks of a map, or to groups of them, in the project here; see `Project.reduce`."""
    return Project().reduce(function, over=over, by=by, name=name, params=params, **keywords)


def get(name: str) -> Map:
    """Give a map of the project here by name; see `Project.get`."""
    return Project().get(name)


def maps() -> list[Map]:
    """Give all maps of the project here; see `Project.maps`."""
    return Project().maps()
