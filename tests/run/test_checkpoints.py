"""Checkpoints: tasks longer than a job go on where they stopped, and what ends by the warning has not failed."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.agents import Driver
from fixtures.runs import Runs, finished, until
from provrun.core.messages import Kill, Start, Stop, Tasks, Warn
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome
from provrun.project.changing import cancel, delete
from provrun.run import checkpoints

PYTHON = sys.executable
KEEP = Policy(checkpoint=True)

# Counts to ten in its checkpoint, a step in 0.1 s; SIGUSR1 lets it end after the step it is at.
COUNT = """\
import os, pathlib, signal, sys, time
place = pathlib.Path(os.environ["PROVRUN_CHECKPOINT"]) / "n"
stop = []
signal.signal(signal.SIGUSR1, lambda number, frame: stop.append(number))
n = int(place.read_text()) if place.exists() else 0
began = n
while n < 10:
    time.sleep(0.1)
    n += 1
    place.write_text(str(n))
    open("begun", "a").write("+")
    if stop:
        sys.exit(75)
print([began, n])
"""
FUNCTION = """\
import os, sys, time
import provrun as pr

def count(x):
    place = pr.checkpoint_dir() / "n"
    assert str(place.parent) == os.environ["PROVRUN_CHECKPOINT"]
    n = int(place.read_text()) if place.exists() else 0
    began = n
    while n < 10:
        time.sleep(0.1)
        n += 1
        place.write_text(str(n))
        open("begun", "a").write("+")
        if pr.warned():
            raise InterruptedError
    return [began, n]

def none(x):
    return [str(pr.checkpoint_dir()), pr.warned(), os.environ.get("PROVRUN_CHECKPOINT")]
"""


def kept(root: Path) -> list[str]:
    folder = root / ".provrun" / "checkpoints"
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


def recipe_of(kind: str, root: Path) -> Recipe:
    (root / "count.py").write_text(COUNT)
    (root / "work.py").write_text(FUNCTION)
    if kind == "function":
        return Recipe(kind="function", function="work.py:count")
    return Recipe(kind="command", words=(PYTHON, "count.py"))


def begun(root: Path, steps: int) -> Callable[[], bool]:
    return lambda: (root / "begun").exists() and len((root / "begun").read_text()) >= steps


@pytest.mark.parametrize("kind", ["command", "function"])
@pytest.mark.parametrize("ending", ["warn", "stop"])
def test_a_warned_attempt_is_given_back_and_the_next_one_goes_on(
    driver: Driver, workplace: Path, kind: str, ending: str
) -> None:
    map = driver.map(recipe_of(kind, workplace), policy=KEEP)
    driver.start(map, [{"x": 0}])
    driver.until(begun(workplace, 2))
    driver.agent.send(Warn(60.0) if ending == "warn" else Stop(True))
    driver.until(driver.returned)
    assert driver.returned() == {(map, 0, 1): True}
    assert driver.results == []
    (left,) = kept(workplace)
    assert left.endswith(".1")
    again = Driver(workplace)
    try:
        number = again.map(recipe_of(kind, workplace), policy=KEEP)
        again.agent.send(Tasks([Start(number, 0, 2, '{"x":0}', None, None, None)]))
        (result,) = again.wait(1)
        began, end = again.value(result)
        assert (began >= 2, end) == (True, 10)
        assert kept(workplace) == [left.removesuffix("1") + "2"]
    finally:
        again.close()


@pytest.mark.parametrize("kind", ["command", "function"])
def test_who_does_not_heed_the_warning_is_ended_and_given_back_in_time(
    driver: Driver, workplace: Path, kind: str
) -> None:
    (workplace / "work.py").write_text("import time\ndef f(x):\n    open('up', 'w').close()\n    time.sleep(60)\n")
    recipes = {
        "command": Recipe(kind="command", words=("sh", "-c", "trap 'echo no >> heard' USR1; touch up; sleep 60; :")),
        "function": Recipe(kind="function", function="work.py:f"),
    }
    map = driver.map(recipes[kind], policy=KEEP)
    driver.start(map, [{"x": 0}])
    driver.until((workplace / "up").exists)
    began = time.monotonic()
    driver.agent.send(Warn(4.0))
    driver.until(driver.returned)
    assert time.monotonic() - began < 8  # the seconds and the grace, at the very worst
    assert (driver.returned(), driver.results) == ({(map, 0, 1): True}, [])


def test_a_process_without_a_handler_does_not_die_of_the_warning(driver: Driver, workplace: Path) -> None:
    (plain,) = (driver.map(Recipe(kind="command", words=("sh", "-c", "touch up; sleep 1; echo 7")), policy=KEEP),)
    driver.start(plain, [{"x": 0}])
    driver.until((workplace / "up").exists)
    driver.agent.send(Warn(60.0))
    (result,) = driver.wait(1)
    assert driver.value(result) == 7


def test_tasks_without_a_checkpoint_are_not_warned_and_may_fail(driver: Driver, workplace: Path) -> None:
    script = "trap 'echo heard; exit 9' USR1; touch up; sleep 1 & wait; exit 3"
    driver.start(driver.map(Recipe(kind="command", words=("sh", "-c", script))), [{"x": 0}])
    driver.until((workplace / "up").exists)
    driver.agent.send(Warn(60.0))
    (result,) = driver.wait(1)
    assert (result.outcome, result.detail) == (Outcome.EXIT, 3)


def test_a_task_that_starts_after_the_warning_is_warned_too(driver: Driver, workplace: Path) -> None:
    for kind in ("command", "function"):
        driver.start(driver.map(Recipe(kind="command", words=("true",))), [{"x": 0}])
        driver.start(driver.map(recipe_of(kind, workplace), policy=KEEP), [{"x": 0}], first=8)
        driver.until(begun(workplace, 1))
        (workplace / "begun").unlink()
        driver.agent.send(Warn(60.0))
        driver.start(driver.map(recipe_of(kind, workplace), policy=KEEP, name="other"), [{"x": 0}], first=9)
    driver.until(lambda: len(driver.returned()) == 4)
    assert {index for _, index, _ in driver.returned()} == {8, 9}


def test_a_cancelled_attempt_is_cancelled_although_it_was_warned(driver: Driver, workplace: Path) -> None:
    map = driver.map(Recipe(kind="command", words=("sh", "-c", "touch up; sleep 60")), policy=KEEP)
    driver.start(map, [{"x": 0}])
    driver.until((workplace / "up").exists)
    driver.agent.send(Warn(60.0))
    driver.agent.send(Kill([(map, 0, 1)]))
    (result,) = driver.wait(1)
    assert result.outcome == Outcome.CANCELLED


def test_functions_know_of_no_checkpoint_where_there_is_none(driver: Driver, workplace: Path) -> None:
    recipe_of("function", workplace)
    kept_one = driver.run(Recipe(kind="function", function="work.py:none"), policy=KEEP)
    plain = driver.run(Recipe(kind="function", function="work.py:none"))
    assert driver.value(kept_one[0])[0] == driver.value(kept_one[0])[2] != "None"
    assert driver.value(plain[0]) == ["None", False, None]


def test_the_folder_of_the_last_attempt_becomes_that_of_the_next_and_no_other(tmp_path: Path) -> None:
    project = str(tmp_path)
    first = checkpoints.take(project, "scan", 4, b"k" * 32, 1)
    Path(first, "state").write_text("1")
    assert checkpoints.take(project, "scan", 4, b"k" * 32, 1) == first
    third = checkpoints.take(project, "scan", 4, b"k" * 32, 3)
    assert Path(third, "state").read_text() == "1"
    assert not Path(first).exists()  # a lost attempt that lives on writes nowhere
    for name, index, key in (("scan", 5, b"k"), ("scan", 4, b"l"), ("scan2", 4, b"k")):
        assert not any(Path(checkpoints.take(project, name, index, key * 32, 1)).iterdir())
    checkpoints.remove(project, lambda name, index, number: (name, index) != ("scan", 4) or number > 3)
    assert [entry.split(".")[:2] for entry in kept(tmp_path)] == [["scan", "5"], ["scan2", "4"]]


@pytest.mark.parametrize("kind", ["command", "function"])
def test_a_task_longer_than_its_jobs_ends_over_several_of_them(runs: Runs, kind: str) -> None:
    recipe = recipe_of(kind, runs.root)
    runs.submit("t", recipe.function or recipe.words, 1, checkpoint=True)
    for _ in range(2):
        (runs.root / "begun").unlink(missing_ok=True)
        process = runs.start("-j", "1")
        until(begun(runs.root, 2), "two steps were made")
        process.send_signal(signal.SIGTERM)
        code, _, _ = finished(process)
        assert code == 128 + signal.SIGTERM
        assert runs.counts("t") == {"pending": 1}
        assert len(kept(runs.root)) == 1
    assert runs.run().succeeded == 1
    outcomes = [attempt.outcome for attempt in runs.attempts("t", 0)]
    assert outcomes == [Outcome.CANCELLED, Outcome.CANCELLED, Outcome.SUCCEEDED]
    result = runs.attempts("t", 0)[-1].result
    assert result is not None and result.startswith("[") and int(result[1:].split(",")[0]) >= 4
    assert kept(runs.root) == []


def test_a_checkpoint_outlives_failures_and_goes_when_its_task_is_cancelled(runs: Runs) -> None:
    script = 'test -e "$PROVRUN_CHECKPOINT/a" && echo found; touch "$PROVRUN_CHECKPOINT/a"; exit 1'
    runs.submit("t", ["sh", "-c", script], 2, checkpoint=True, retries=1)
    runs.submit("other", ["sh", "-c", script], 1, checkpoint=True)
    assert runs.run().failed == 3
    assert [name.split(".")[:2] for name in kept(runs.root)] == [["other", "0"], ["t", "0"], ["t", "1"]]
    assert runs.attempts("t", 0)[1].log is not None  # it found what the first one left
    project = runs.project()
    cancel(project, ["t/0"])
    assert [name.split(".")[:2] for name in kept(runs.root)] == [["other", "0"], ["t", "1"]]
    delete(project, "t", force=True)
    project.close()
    assert [name.split(".")[:2] for name in kept(runs.root)] == [["other", "0"]]


def test_a_task_longer_than_the_time_of_its_jobs_ends_over_several_of_them(runs: Runs) -> None:
    (runs.root / "count.py").write_text(COUNT.replace("n < 10", "n < 45"))
    runs.submit("t", [PYTHON, "count.py"], 1, checkpoint=True)
    runs.submit("short", ["true"], 3)
    jobs = 0
    while runs.counts("t") != {"succeeded": 1}:
        jobs += 1
        assert jobs < 10
        code, document, said = finished(runs.start("-j", "2", "--time", "5s"))
        assert code in (0, 75), said
        assert (document["failed"], document["lost"]) == (0, 0)
    assert jobs > 1
    assert len(runs.attempts("t", 0)) == jobs
    assert {attempt.outcome for attempt in runs.attempts("t", 0)} == {Outcome.CANCELLED, Outcome.SUCCEEDED}
    assert kept(runs.root) == []
