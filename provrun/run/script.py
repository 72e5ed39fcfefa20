"""Importing a script for its functions: up to where it would run its maps, and then only what it defines."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

from provrun.run import current

_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def execute(module: ModuleType, path: str) -> None:
    """Run a script in a module's namespace.

    At the first call that would run maps it is left, so that what a script does with its results, such as writing a
    plot, is done only by the process of its user. Of what follows there, functions, classes and imports count.
    """
    source = Path(path).read_bytes()
    try:
        current.stoppable = True
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except current.Enough as enough:
        last = _line(enough, path)
    else:
        return
    finally:
        current.stoppable = False
    tree = ast.parse(source, path)
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    rest = [node for node in tree.body if node.lineno > last and isinstance(node, _DEFINING)]
    exec(compile(ast.Module([*future, *rest], []), path, "exec", dont_inherit=True), module.__dict__)


def _line(enough: current.Enough, path: str) -> int:
    """Find the line of the script at which it was left."""
    trace = enough.__traceback__
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path and trace.tb_frame.f_code.co_name == "<module>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
