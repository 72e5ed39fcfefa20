"""Find a function in source code without running any of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import BYTECODE_SUFFIXES, SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.machinery import SourcelessFileLoader as BytecodeLoader
from pathlib import Path

from provrun.core.nearest import suggestion
from provrun.errors import UsageError

MAIN_GUARD = "__name__ == '__main__'"
Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Signature:
    """What a function takes by name; ``open`` when it takes any name."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    open: bool

    @property
    def names(self) -> tuple[str, ...]:
        """All names it lists."""
        return (*self.required, *self.optional)


class Unfit(UsageError):
    """The function cannot be a recipe; the message says why and what to write."""


def find_module(module: str, folder: Path) -> Path | None:
    """Give the source file of a module as another process would import it in ``folder``; None if it has none.

    Nothing is imported, parent packages neither. Raises `Unfit` when there is no such module.
    """
    path: Sequence[str] | None = None
    name = ""
    spec: ModuleSpec | None = None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = _spec(name, path, folder)
        if spec is None:
            raise Unfit(f"no module named {name} can be found from {folder}")
        path = spec.submodule_search_locations if spec.submodule_search_locations is not None else []
    if spec is None or spec.origin is None or not spec.origin.endswith(tuple(SOURCE_SUFFIXES)):
        return None
    return Path(spec.origin)


def _spec(name: str, path: Sequence[str] | None, folder: Path) -> ModuleSpec | None:
    if path is None:
        loaders = (SourceFileLoader, SOURCE_SUFFIXES), (BytecodeLoader, BYTECODE_SUFFIXES)
        here = FileFinder(str(folder), *loaders).find_spec(name)
        if here is not None and here.origin is not None:
            return here
        path = _installed()
    for finder in sys.meta_path:
        found = finder.find_spec(name, path)
        if found is not None:
            return found
    return None


def _installed() -> list[str]:
    """Give Python's path without what only this process has: the folder of its script, or where it was started."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    own = {"", str(Path(script).absolute().parent)} if script is not None else {""}
    return [place for place in sys.path if place not in own]


def read_signature(file: Path, name: str) -> Signature | None:
    """Give what the function ``name`` of a source file takes, None where only running the file could tell.

    Raises `Unfit` when there is no such function, or it cannot be a recipe.
    """
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        raise Unfit(f"{file}:{error.lineno}: {error.msg}") from None
    except (OSError, ValueError) as error:
        raise Unfit(f"{file} cannot be read: {error}") from None
    found = None
    for statement in _importable(tree.body):
        if name in _bound(statement):
            found = statement  # the last binding is the one an import sees
    if found is None:
        _missing(tree, file, name)
        return None
    if isinstance(found, ast.AsyncFunctionDef):
        raise Unfit(f"{name} is a coroutine function; write def {name} and run what it awaits inside")
    if isinstance(found, ast.FunctionDef):
        return None if found.decorator_list else _signature(found.args, name)
    if isinstance(found, ast.Assign) and isinstance(found.value, ast.Lambda):
        arguments = ast.unparse(found.value.args)
        raise Unfit(f"{name} is a lambda; write\n    def {name}({arguments}):\n        return "
                    f"{ast.unparse(found.value.body)}")
    return None


def _missing(tree: ast.Module, file: Path, name: str) -> None:
    """Raise `Unfit` for a name a module does not bind, unless it may bind it in a way that cannot be read off."""
    for statement in _importable(tree.body):
        if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
            return
        if isinstance(statement, ast.FunctionDef) and statement.name == "__getattr__":
            return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(_is_def(child, name) for child in node.body):
            raise Unfit(f"{name} is a method of {node.name}; write a def {name}(...) at the top level of {file.name}")
        if isinstance(node, Definition) and any(_is_def(child, name) for child in node.body):
            raise Unfit(f"{name} is defined inside {node.name}; move the def to the top level of {file.name}")
    known = [each.name for each in _importable(tree.body) if isinstance(each, ast.FunctionDef)]
    raise Unfit(f"no function {name} in {file}; {suggestion(name, known, 'it has ' + (', '.join(known) or 'none'))}")


def _is_def(node: ast.AST, name: str) -> bool:
    return isinstance(node, Definition) and node.name == name


def _importable(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Give the statements that bind names when a module is imported, inside ``if`` and ``try`` too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and ast.unparse(statement.test) != MAIN_GUARD:
            yield from _importable(statement.body)
            yield from _importable(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _importable([*statement.body, *statement.orelse, *statement.finalbody])
            for handler in statement.handlers:
                yield from _importable(handler.body)
        elif isinstance(statement, ast.With):
            yield from _importable(statement.body)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Give the names a statement binds itself."""
    if isinstance(statement, Definition | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            yield (alias.asname or alias.name).split(".")[0]
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    yield node.id


def _signature(arguments: ast.arguments, name: str) -> Signature:
    if arguments.posonlyargs:
        only = ", ".join(argument.arg for argument in arguments.posonlyargs)
        raise Unfit(f"{name} takes {only} by position only; parameters are given by name: remove the / in its def")
    positional = [argument.arg for argument in arguments.args]
    given = len(positional) - len(arguments.defaults)
    keyword = list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    return Signature(
        required=(*positional[:given], *(argument.arg for argument, default in keyword if default is None)),
        optional=(*positional[given:], *(argument.arg for argument, default in keyword if default is not None)),
        open=arguments.kwarg is not None,
    )
