"""Tasks that submit tasks, and maps that appear while a job runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fixtures.runs import Runs
from provrun.store.reads import Reads

LEVELS = """
import provrun as pr


def level(depth):
    if depth:
        pr.map(level, {"depth": [depth - 1]}, name="level")
    return depth
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def growing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Give a project of each kind."""
    if request.param == "postgresql":
        monkeypatch.setenv("PROVRUN_URL", str(request.getfixturevalue("postgres_url")))
    runs: Runs = request.getfixturevalue("runs")
    return runs


def write(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)


def test_a_function_task_submits_the_next_level_of_its_own_map(growing: Runs) -> None:
    write(growing.root, "levels.py", LEVELS)
    growing.submit("level", "levels.py:level", params=[{"depth": 5}])
    summary = growing.run("level")
    assert (summary.succeeded, summary.failed, summary.exit) == (6, 0, 0), growing.attempts("level", 0)
    registry = growing.registry()
    submissions = Reads(registry.database).submissions(1)
    registry.close()
    assert [one.by for one in submissions] == [None, *((1, n, 1) for n in range(5))]


def test_a_command_task_submits_a_map_that_is_run_by_the_same_job(growing: Runs) -> None:
    submit = f"{sys.executable} -m provrun submit leaf -q --param y={{x}},1{{x}} -- true"
    growing.submit("seed", ["bash", "-c", f"cd / && cd {growing.root} && {submit}"], 3)
    assert growing.run("seed", slots=2).succeeded == 3 + 6
    assert growing.counts("leaf") == {"succeeded": 6}
