"""Functions as recipes: those of modules and scripts by their place, those of a notebook by their source."""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

from provrun.core.canonical import encode
from provrun.errors import UsageError
from provrun.run import current
from provrun.submit.functions import reference_of

if TYPE_CHECKING:
    from provrun.project.project import Project

FOLDER = "functions"
"""Where sources of notebook functions lie, beneath ``.provrun``."""


def reference(
    function: Callable[..., object], project: Project, folder: Path, map: str
) -> tuple[str, dict[str, object]]:
    """Name a function so that a task of a map started in ``folder`` finds it; give what a partial binds, too.

    The source of a function that was defined in a notebook is stored in the project, with the imports, functions and
    JSON constants it names, under the map's name: an edited cell is the same recipe with new code. Raises `UsageError`
    for what another process could not find.
    """
    inner = function
    while isinstance(inner, partial):
        inner = inner.func
    if not isinstance(inner, FunctionType) or not _at_a_prompt(inner) or not inner.__qualname__.isidentifier():
        return reference_of(function, folder, current.scripts)
    source = _Source()
    source.add(inner)
    text = source.text()
    stored = project.dir / FOLDER / f"{map}.py"
    stored.parent.mkdir(exist_ok=True)
    # Every version stays, under the digest that attempts record of the files they used.
    _write(stored.parent / f"{hashlib.sha256(text.encode()).hexdigest()}.py", text)
    _write(stored, text)
    place = stored.relative_to(folder) if stored.is_relative_to(folder) else stored
    return f"{place}:{inner.__name__}", _bound(function) if isinstance(function, partial) else {}


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        draft = path.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)


def _at_a_prompt(function: FunctionType) -> bool:
    """Tell whether a function was defined in a notebook or at a prompt: its module is no file."""
    module = sys.modules.get(function.__module__)
    return function.__module__ == "__main__" and getattr(module, "__file__", None) is None


def _bound(function: partial[object]) -> dict[str, object]:
    if function.args:
        raise UsageError(
            "this partial binds values by position", value=repr(function),
            next="bind them by name: partial(f, name=value)",
        )
    return dict(function.keywords)


class _Source:
    """A module made of one function and all that it names."""

    def __init__(self) -> None:
        self._imports: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._functions: dict[str, str] = {}

    def add(self, function: FunctionType) -> None:
        """Add a function and, again and again, what it names."""
        if function.__name__ in self._functions:
            return
        text = _source_of(function)
        self._functions[function.__name__] = text
        if function.__closure__:
            raise UsageError(
                f"{function.__name__} sees variables of the function around it", value=function.__name__,
                next=f"write def {function.__name__}(...) in a cell of its own, with those variables as parameters",
            )
        for name in _names(text):
            if name in function.__globals__ and not hasattr(builtins, name):
                self._add_global(function, name, function.__globals__[name])

    def _add_global(self, function: FunctionType, name: str, value: object) -> None:
        if isinstance(value, ModuleType):
            self._imports[name] = f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
            return
        if isinstance(value, FunctionType) and _at_a_prompt(value):
            if value.__name__ != name:
                raise self._refused(function, name, f"is another name of the function {value.__name__}")
            self.add(value)
            return
        module = getattr(value, "__module__", None)
        origin = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if module not in (None, "__main__") and isinstance(origin, str) and origin.isidentifier() and callable(value):
            self._imports[name] = f"from {module} import {origin}" + (f" as {name}" if origin != name else "")
            return
        try:
            encode(value)
        except (TypeError, ValueError, UsageError):
            raise self._refused(function, name, f"is a {type(value).__name__}, no JSON value") from None
        self._constants[name] = f"{name} = {value!r}"

    def _refused(self, function: FunctionType, name: str, why: str) -> UsageError:
        return UsageError(
            f"{function.__name__} uses the global {name}, which {why}", value=name,
            next=f"make {name} inside {function.__name__}, or give it as a parameter",
        )

    def text(self) -> str:
        """Give the module's source: imports, constants, functions, each sorted, so that equal ones are one file."""
        constants = " ".join(self._constants.values())
        parts = ["from math import inf, nan"] if "inf" in constants or "nan" in constants else []
        parts += sorted(self._imports.values())
        parts += [self._constants[name] for name in sorted(self._constants)]
        parts += ["\n\n" + self._functions[name].strip() for name in sorted(self._functions)]
        return "\n".join(parts).strip() + "\n"


def _source_of(function: FunctionType) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise UsageError(
            f"the source of {function.__name__} is not known: it was defined at a plain prompt",
            value=function.__name__, next="write it to a file, or use a notebook",
        ) from None


def _names(text: str) -> Iterator[str]:
    """Give every name that a source reads."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            yield node.id
