"""Runs that are killed again and again, without warning, until their work is done."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.witness import Witness

PROVRUN = [sys.executable, "-m", "provrun"]
LONGEST = 1200  # seconds until a run that makes no progress is a failure


def provrun(command: str, *arguments: str) -> Any:
    done = subprocess.run([*PROVRUN, command, "--json", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def counts() -> dict[str, int]:
    (entry,) = provrun("status", "scan")["maps"]
    numbers: dict[str, int] = entry["ntasks"]
    return numbers


def killed_until_done(chance: random.Random) -> int:
    """Start runs and kill each after a while, until one comes to its end; give the number of kills."""
    kills, deadline = 0, time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        run = subprocess.Popen(
            [*PROVRUN, "run", "scan", "--slots", "4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            assert run.wait(chance.uniform(0.3, 3.0)) == 0
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            kills += 1
        else:
            return kills
    pytest.fail(f"not done after {LONGEST} s and {kills} kills: {counts()}")


@pytest.mark.soak
@pytest.mark.usefixtures("no_strays")
@pytest.mark.parametrize("seed", range(5))
def test_every_task_is_recorded_once_however_often_its_run_is_killed(
    seed: int, project_dir: Path, witness: Witness
) -> None:
    tasks = 4000
    provrun("submit", "scan", "--param", f"x=0:{tasks}", "--shell", "--", 'echo {x} | tee -a "$WITNESS"')
    kills = killed_until_done(random.Random(seed))

    assert kills > 0
    assert counts() == {"waiting": 0, "pending": 0, "running": 0, "succeeded": tasks, "failed": 0, "cancelled": 0}
    rows = provrun("results", "scan")["results"]
    assert [row["result"] for row in rows] == list(range(tasks))
    seen = witness.counts()
    assert set(seen) == {str(x) for x in range(tasks)}
    # A kill costs what ended in the fraction of a second since the last record, and those tasks run again.
    assert sum(seen.values()) - tasks <= 100 * kills
    provrun("verify")
