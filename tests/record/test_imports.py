"""Importing the room is cheap: what is heavy is imported where it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["git", "environment", "host", "files"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, provrun.record.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    heavy = {"git", "gitdb", "sqlalchemy", "prov", "mpi4py", "numpy", "importlib.metadata", "asyncio"}
    assert heavy.isdisjoint(done.stdout.split())
