"""Python sessions in scratch projects: scripts run as processes, as users run them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Script = Callable[..., str]


@pytest.fixture
def script(project_dir: Path) -> Script:
    """Write a script to the project and run it; give what it printed."""

    def run(source: str, *, name: str = "study.py", fails: bool = False) -> str:
        (project_dir / name).write_text(source)
        done = subprocess.run(
            [sys.executable, name], cwd=project_dir, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else done.stdout

    return run
