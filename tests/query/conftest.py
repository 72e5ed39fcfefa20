"""The lab, a project filled by hand; and a study that really ran."""

from __future__ import annotations

import sys

import pytest

from fixtures.cli import Cli
from fixtures.lab import REDUCE, TOOL, lab, living_job
from fixtures.repositories import new_repository

__all__ = ["lab", "living_job", "ran"]


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, isolated_home: None) -> Cli:
    """Give a study that no test changes: five commands of which one failed, and a map that waits for it."""
    folder = new_repository(tmp_path_factory.mktemp("study"))
    (folder / "tool.py").write_text(TOOL)
    (folder / "reduce.py").write_text(REDUCE)
    cli = Cli(folder)
    assert cli("submit", "scan", "--param", "x=0:5", "--", sys.executable, "tool.py", "{x}").exit == 0
    assert cli("submit", "stat", "--all", "scan", "--function", "reduce.py:total").exit == 0
    assert cli("run", "-j", "2").exit == 3
    return cli
