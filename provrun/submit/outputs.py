"""Declared outputs: beneath the working folder, and not the same file for two tasks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path

from provrun.core.space import Space
from provrun.core.template import Template
from provrun.errors import UsageError
from provrun.submit.flow import Flow

UNIQUE = {"index", "task", "params"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def misplaced(outputs: Mapping[str, str]) -> list[str]:
    """List outputs that have no proper name or lie outside the working folder."""
    problems = []
    for name, path in outputs.items():
        if not _NAME.fullmatch(name):
            problems.append(f"--output {name}={path}: {name!r} is no name: use letters, digits, _ and -")
        normal = Path(os.path.normpath(path))
        if normal.is_absolute() or normal.parts[:1] == ("..",):
            problems.append(f"--output {name}={path}: outputs lie beneath the working folder; give the path from there")
    return problems


def clashes(outputs: Mapping[str, str], space: Space, flow: Flow) -> list[str]:
    """List outputs whose path cannot differ between all tasks, by counting the values of what it names.

    Within one upstream task there are at most as many paths as the named parameters of the map's own have values.
    """
    values = {summary.name: summary.values for summary in space.summary()}
    upstream = max((record.total for record in flow.each.values()), default=1)
    problems = []
    for name, path in outputs.items():
        try:
            used = set(Template.parse([path]).names)
        except UsageError:
            continue  # told already
        if used & UNIQUE:
            continue
        paths = prod(count for parameter, count in values.items() if parameter in used)
        from_above = any(each in flow.inherited or "." in each for each in used)
        if paths < space.size or (upstream > 1 and not from_above):
            missing = [parameter for parameter, count in values.items() if count > 1 and parameter not in used]
            wanted = ", ".join(f"{{{each}}}" for each in missing or flow.inherited)
            hint = f"name {wanted} or {{index}} in it" if wanted else "name {index} in it"
            problems.append(f"--output {name}={path}: several tasks would write this file; {hint}")
    return problems
