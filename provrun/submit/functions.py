"""Python functions as recipes: name them so that another process finds them, check that they fit."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FunctionType, MappingProxyType

from provrun.core.canonical import encode
from provrun.core.nearest import suggestion
from provrun.errors import UsageError
from provrun.submit.source import Signature, Unfit, find_module, read_signature

NO_SCRIPTS: Mapping[str, str] = MappingProxyType({})


def normal_reference(text: str) -> str:
    """Give ``module:callable`` or ``file.py:callable`` in the one form under which it is stored."""
    place, _, name = text.rpartition(":")
    return f"{os.path.normpath(place)}:{name}" if _is_file(place) else text


def check_reference(text: str, folder: Path) -> Signature | None:
    """Find the function a reference names, running nothing; give what it takes, None where only running could tell.

    Raises `Unfit` when there is no such function or it cannot be a recipe.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise Unfit(f"{text} names no function; write module:callable or file.py:callable")
    if "." in name:
        owner, method = name.rsplit(".", 1)
        raise Unfit(f"{name} is a method of {owner}; write a def {method}(...) at the top level of its module")
    if name == "<lambda>" or not name.isidentifier():
        raise Unfit(f"{name} is no name of a function; write a def and name it")
    if not _is_file(place):
        if not all(part.isidentifier() for part in place.split(".")):
            raise Unfit(f"{place} is no name of a module; write module:callable or file.py:callable")
        found = find_module(place, folder)
        return None if found is None else read_signature(found, name)
    file = folder / place
    if not file.is_file():
        nearby = sorted(each.name for each in file.parent.glob("*.py")) if file.parent.is_dir() else []
        raise Unfit(f"no file {place} in {folder}; {suggestion(file.name, nearby, 'give its path from here')}")
    return read_signature(file, name)


def reference_of(
    function: Callable[..., object], folder: Path, scripts: Mapping[str, str] = NO_SCRIPTS
) -> tuple[str, dict[str, object]]:
    """Name a Python function so that another process started in ``folder`` finds it; give what a partial binds, too.

    Functions are found by module and name, those of a script, or of a module that only this script's folder
    makes importable, by their file. ``scripts`` are modules of this process that stand for a script, with its path.
    Lambdas, closures and bound methods are refused with the ``def`` to write.
    """
    import functools

    bound: dict[str, object] = {}
    while isinstance(function, functools.partial):
        if function.args:
            raise UsageError(
                f"{function!r} binds values by position", value=repr(function),
                next="bind them by name: functools.partial(f, name=value)",
            )
        bound = {**function.keywords, **bound}
        function = function.func
    for name, value in bound.items():
        try:
            encode(value)
        except (TypeError, ValueError, UsageError) as error:
            raise UsageError(f"the partial's {name} is no JSON value: {error}", value=name) from None
    return _name_of(function, folder, scripts), bound


def _name_of(function: Callable[..., object], folder: Path, scripts: Mapping[str, str]) -> str:
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    if inspect.ismethod(function):
        owner = type(function.__self__).__name__
        raise _to_write(f"{name} is bound to an object of {owner}", f"def {function.__name__}(...):")
    if name is None or not callable(function) or isinstance(function, type):
        raise UsageError(f"{function!r} is no function", value=repr(function), next="write a def")
    if name.endswith("<lambda>"):
        code = function.__code__ if isinstance(function, FunctionType) else None
        arguments = ", ".join(code.co_varnames[: code.co_argcount]) if code is not None else "..."
        raise _to_write("a lambda has no name by which another process finds it", f"def name({arguments}): return ...")
    if "<locals>" in name:
        plain = name.rsplit(".", 1)[-1]
        raise _to_write(
            f"{plain} is defined inside another function and sees its variables",
            f"def {plain}(...): at the top level, with those variables as parameters",
        )
    if "." in name:
        raise _to_write(f"{name} belongs to a class", f"def {name.rsplit('.', 1)[-1]}(...): at the top level")
    module = getattr(function, "__module__", None) or ""
    if module in scripts:
        return f"{scripts[module]}:{name}"
    file = getattr(sys.modules.get(module), "__file__", None)
    if module != "__main__":
        try:
            found = find_module(module, folder)
        except Unfit:
            found = None
        if file is None or (found is not None and found.samefile(file)):
            return f"{module}:{name}"
    if file is None:
        raise UsageError(
            f"{name} was defined at a prompt, where no other process finds it", value=name, next="write it to a file"
        )
    return f"{os.path.relpath(file, folder)}:{name}"


def _to_write(problem: str, definition: str) -> UsageError:
    return UsageError(problem, value=problem, next=f"write {definition}")


def check_arguments(
    signature: Signature, name: str, own: Iterable[str], others: Iterable[str], bound: Iterable[str], *, open: bool
) -> list[str]:
    """List what does not fit between a function and the names it will be given.

    ``own`` are the map's own parameters, which it must take; ``others`` it may take (parameters and maps it builds
    on); ``open`` says that results may give further names.
    """
    problems = []
    for given in own:
        if given not in signature.names and not signature.open:
            listed = f"it takes {', '.join(signature.names) or 'nothing'}"
            problems.append(f"{name} takes no {given}: {suggestion(given, signature.names, listed)}")
    if not signature.open:
        unknown = [given for given in bound if given not in signature.names]
        problems += [f"{name} takes no {given}, which its partial binds" for given in unknown]
    known = {*own, *others, *bound}
    if not open:
        missing = [needed for needed in signature.required if needed not in known]
        problems += [f"{name} needs {needed}: add --param {needed}=..." for needed in missing]
    return problems


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place
