"""Limits: who takes more than allowed is ended, with all that belongs to it, and the reason is told."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from fixtures.agents import Driver
from provrun.core.messages import Kill, Start, Tasks
from provrun.core.records import Limits, Policy, Recipe
from provrun.core.states import Outcome

PYTHON = sys.executable
GROW = "import time\ndata = []\nwhile True:\n    data.append(bytearray(10_000_000)); time.sleep({pause})\n"


def test_a_command_that_takes_too_long_is_ended_with_its_children(driver: Driver, workplace: Path) -> None:
    script = "trap 'echo bye; exit 0' TERM; (trap '' TERM; sleep 300; touch late) & echo $!; wait"
    begun = time.monotonic()
    (result,) = driver.command("sh", "-c", script, policy=Policy(task_time=0.3))
    assert (result.outcome, result.error) == (Outcome.TIMEOUT, "ran longer than its limit of 0.3 s")
    assert 0.3 <= time.monotonic() - begun < 4
    assert 300_000 <= result.wall < 4_000_000
    child, bye = driver.log(result).out.head.split()
    assert bye == b"bye"
    assert gone(int(child))


def test_who_ignores_the_request_to_end_is_killed_after_a_grace(driver: Driver) -> None:
    (result,) = driver.command("sh", "-c", "trap '' TERM; while :; do sleep 1; done", policy=Policy(task_time=0.1))
    assert result.outcome == Outcome.TIMEOUT
    assert 5_000_000 <= result.wall < 9_000_000


def test_a_stopped_command_is_ended_too(driver: Driver) -> None:
    (result,) = driver.command("sh", "-c", "kill -STOP $$", policy=Policy(task_time=0.2))
    assert result.outcome == Outcome.TIMEOUT
    assert result.wall < 4_000_000


def test_a_task_s_own_limits_go_before_those_of_its_map(driver: Driver) -> None:
    map = driver.map(Recipe(kind="command", words=("sleep", "0.4")), policy=Policy(task_time=0.1))
    own, none = Limits(time=10), None
    driver.agent.send(Tasks([Start(map, 0, 2, "{}", None, own, None), Start(map, 1, 1, "{}", None, none, None)]))
    longer, short = driver.wait(2)
    assert (longer.outcome, short.outcome) == (Outcome.SUCCEEDED, Outcome.TIMEOUT)


def test_memory_of_all_processes_of_a_command_counts(driver: Driver) -> None:
    grow = GROW.format(pause=0.02)
    (result,) = driver.command("sh", "-c", f"{PYTHON} -c '{grow}' & wait", policy=Policy(task_memory=200 << 20))
    assert result.outcome == Outcome.MEMORY
    assert result.error is not None and result.error.endswith("its limit is 200 MiB")
    assert 200 << 10 <= (result.max_rss or 0) < 400 << 10


def test_memory_that_grows_faster_than_one_looks_meets_a_backstop(driver: Driver) -> None:
    grow = "data = bytearray(3_000_000_000)"
    (result,) = driver.command(PYTHON, "-c", grow, policy=Policy(task_memory=200 << 20))
    assert (result.outcome, result.error) == (Outcome.MEMORY, "MemoryError")


@pytest.mark.parametrize(
    ("body", "policy", "outcome"),
    [
        ("import time; time.sleep(60)", Policy(task_time=0.3), Outcome.TIMEOUT),
        (GROW.format(pause=0.02).replace("\n", "\n    "), Policy(task_memory=150 << 20), Outcome.MEMORY),
        ("data = bytearray(3_000_000_000)", Policy(task_memory=200 << 20), Outcome.MEMORY),
    ],
)
def test_limits_of_functions_cost_one_attempt(
    driver: Driver, workplace: Path, body: str, policy: Policy, outcome: Outcome
) -> None:
    text = f"def f(x):\n    if x == 3:\n        bad()\n    return x\ndef bad():\n    {body}\n"
    (workplace / "work.py").write_text(text)
    results = driver.function("work.py:f", [{"x": x} for x in range(8)], policy=policy)
    assert [result.outcome for result in results] == [outcome if x == 3 else Outcome.SUCCEEDED for x in range(8)]


def test_tasks_behind_one_that_takes_long_are_run_by_another_child(driver: Driver, workplace: Path) -> None:
    (workplace / "work.py").write_text(
        "import time\ndef f(x):\n    time.sleep(2 if x == 900 else 0)\n    return time.time()\n"
    )
    results = driver.function("work.py:f", [{"x": x} for x in range(1500)])
    ends = driver.values(results)
    assert sum(end > ends[900] for end in ends) < 20


def test_killed_attempts_are_cancelled_and_waiting_ones_given_back(driver: Driver, workplace: Path) -> None:
    (workplace / "work.py").write_text("import time\ndef f(x):\n    time.sleep(x)\n    return x\n")
    commands = driver.map(Recipe(kind="command", words=("sleep", "{x}")))
    functions = driver.map(Recipe(kind="function", function="work.py:f"))
    driver.start(commands, [{"x": 60}])
    driver.start(functions, [{"x": 60}])
    driver.start(commands, [{"x": 0.1}, {"x": 0.2}], first=1)
    driver.until(lambda: len(driver.loaded()) == 2)
    time.sleep(0.1)
    driver.agent.send(Kill([(commands, 0, 1), (functions, 0, 1), (commands, 2, 1)]))
    results = driver.wait(3)
    assert [(r.map, r.index, r.outcome) for r in results] == [
        (commands, 0, Outcome.CANCELLED),
        (commands, 1, Outcome.SUCCEEDED),
        (functions, 0, Outcome.CANCELLED),
    ]
    assert driver.returned() == {(commands, 2, 1): False}


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()
