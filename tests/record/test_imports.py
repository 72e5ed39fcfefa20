"""Importing the room is cheap: what is heavy is imported where it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["git", "recheck", "environment", "host", "files", "uses"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, provrun.record.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    heavy = {"git", "gitdb", "sqlalchemy", "prov", "mpi4py", "numpy", "importlib.metadata", "asyncio"}
    assert heavy.isdisjoint(done.stdout.split())


def test_looking_again_does_without_gitpython(git_repo: Path) -> None:
    program = (
        "import sys, pathlib; from provrun.core.code import Code; from provrun.record.recheck import is_unchanged\n"
        "print(is_unchanged(Code(kind='git', root='/'), pathlib.Path('.')), *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=git_repo, check=True, capture_output=True, text=True)
    first, *modules = done.stdout.split()
    assert first == "False"
    assert "git" not in modules
