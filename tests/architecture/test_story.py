"""The page on architecture tells of the program as it is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_on_architecture_names_each_module_of_project_once() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    table = page.partition("## The room that wires the others")[2]
    room, named = ROOT / "provrun" / "project", []
    for line in table.splitlines():
        if line.startswith("| "):
            part = re.match(r"\| `(\w+)`:", line)  # a package inside
            names = re.findall(r"`(\w+)`", line)[1 if part else 0 :]
            named += [room / part[1] / name if part else room / name for name in names]
    modules = [path.with_suffix("") for path in room.rglob("*.py") if path.stem != "__init__"]
    assert sorted(named) == sorted(modules), "one row of the table each"
