"""A manager with more slots than this machine could fill: its agents are emulated, all else is real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EMULATION = Path(__file__).parents[1] / "fixtures" / "emulated_agents.py"


@pytest.mark.parametrize(("agents", "slots"), [(16, 16), (64, 4)])
def test_a_manager_keeps_hundreds_of_slots_busy_for_little_of_a_core(
    project_dir: Path, agents: int, slots: int
) -> None:
    done = subprocess.run(
        [sys.executable, EMULATION, project_dir, str(agents), str(slots), "0.5", "6"],
        capture_output=True, text=True, timeout=120, check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    # Processor time says more than a clock where other tests run beside this one.
    assert figures["cpu_per_task"] < 1e-3
    assert figures["p50"] < 0.1
