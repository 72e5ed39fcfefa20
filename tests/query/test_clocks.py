"""Clocks that are wrong: a node may be hours ahead or behind, in what it records and in the times of its files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fixtures.agents import Driver
from fixtures.lab import Fate, Lab, xs
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome, State

HOUR = 3_600_000_000


@pytest.mark.parametrize("ahead", [10 * HOUR, -10 * HOUR])
def test_a_clock_that_is_wrong_changes_no_state_and_no_order(lab: Lab, ahead: int) -> None:
    lab.submit("scan", xs(0, 1, 2), policy=Policy(retries=1))
    right = lab.at
    lab.at += ahead  # the first job's node: what it records lies in the future, or before the submission
    lab.run("scan", lambda params, number: Fate(outcome=Outcome.EXIT, detail=1, seconds=2.0), limit=3)
    lab.at = right
    lab.run("scan", lambda params, number: Fate(result={"y": params["x"]}, seconds=3.0))
    record = lab.registry.find_map("scan")
    assert record is not None and {state: n for state, n in record.counts.items() if n} == {State.SUCCEEDED: 3}
    rows = lab.rows("scan")
    assert [(row["attempt"], row["attempts"], row["seconds"], row["stale"]) for row in rows] == [(2, 2, 3.0, False)] * 3
    (first, second) = (attempt for attempt in lab.project.reads.attempts(record.id, 0))
    assert (first.number, second.number) == (1, 2)
    assert first.started is not None and second.started is not None
    assert (first.started > second.started) == (ahead > 0)


@pytest.mark.parametrize("year", [0, 4_102_444_800], ids=["1970", "2100"])
def test_files_of_another_time_are_neither_new_nor_missed_when_they_change(
    driver: Driver, workplace: Path, year: int
) -> None:
    script = workplace / "script.sh"
    script.write_text("echo 1\n")
    os.utime(script, (year, year))
    map = driver.map(Recipe(kind="command", words=("sh", "script.sh")))
    for index in range(2):
        driver.start(map, [{"x": index}], first=index)
        (result,) = driver.wait(1)
        assert driver.value(result) == 1
    (loaded,) = driver.loaded()
    script.write_text("echo 2\n")
    before = year - 60 if year else 1
    os.utime(script, (before, before))
    time.sleep(0.5)  # files are not looked at again at once
    driver.start(map, [{"x": 2}], first=2)
    (result,) = driver.wait(1)
    assert driver.value(result) == 2
    assert result.loaded_after != loaded.number
