"""Limits: who takes more than allowed is ended, with all that belongs to it, and the reason is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.agents import Driver
from fixtures.parts import lacking
from fixtures.runs import Runs, until
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


def test_a_task_put_behind_another_leaves_that_one_its_own_limits(driver: Driver, workplace: Path) -> None:
    (workplace / "work.py").write_text("import time\ndef f(x):\n    if x == 5: time.sleep(1.5)\n    return x\n")
    map = driver.map(Recipe(kind="function", function="work.py:f"), policy=Policy(task_time=0.5))
    driver.start(map, [{"x": x} for x in range(100)], first=100)
    driver.wait(100)  # the child is known to be quick: more may wait behind a task
    driver.agent.send(Tasks([Start(map, 5, 2, '{"x":5}', None, Limits(time=10), None)]))
    driver.start(map, [{"x": x} for x in range(6, 100)], first=6)
    assert {result.outcome for result in driver.wait(95)} == {Outcome.SUCCEEDED}


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


def test_memory_of_a_daemon_counts_as_that_of_its_task(driver: Driver) -> None:
    grow = GROW.format(pause=0.02)
    script = f"(setsid {PYTHON} -c '{grow}' >/dev/null 2>&1 &); sleep 30"
    (result,) = driver.command("sh", "-c", script, policy=Policy(task_memory=200 << 20, task_time=25))
    assert result.outcome == Outcome.MEMORY
    assert (result.max_rss or 0) > 200 << 10


@pytest.mark.parametrize("kind", ["command", "function"])
def test_a_limit_is_met_by_grandchildren_of_either_kind_of_task(driver: Driver, workplace: Path, kind: str) -> None:
    grow = GROW.format(pause=0.02)
    (workplace / "grow.py").write_text(grow)
    words = ["sh", "-c", f"sh -c '{PYTHON} grow.py; :'; :"]
    (workplace / "work.py").write_text(f"import subprocess\ndef f(x): subprocess.run({words!r})\n")
    policy = Policy(task_memory=200 << 20, task_time=25)
    if kind == "command":
        (result,) = driver.command(*words, policy=policy)
    else:
        (result,) = driver.function("work.py:f", policy=policy)
    assert result.outcome == Outcome.MEMORY
    assert result.error is not None and result.error.endswith("its limit is 200 MiB")


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """Give a group of processes that may have 400 MB together."""
    if os.getuid() != 0:
        lacking("root, to make a cgroup")
    own = Path("/proc/self/cgroup").read_text().splitlines()
    old = next((line.split(":", 2)[2] for line in own if "memory" in line.split(":")[1].split(",")), None)
    new = next((line.split(":", 2)[2] for line in own if line.startswith("0::")), "/")
    above = Path(f"/sys/fs/cgroup/memory{old}") if old is not None else Path(f"/sys/fs/cgroup{new}")
    group, limit = above / f"provrun-test-{os.getpid()}", "memory.limit_in_bytes" if old is not None else "memory.max"
    try:
        if old is None and "memory" not in (above / "cgroup.subtree_control").read_text().split():
            (above / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
        (group / limit).write_text("400000000")
    except OSError as error:
        lacking(f"a memory cgroup that can be written: {error}")
    yield group
    until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
    group.rmdir()


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_from_others(runs: Runs, small_cgroup: Path) -> None:
    grow = "data = b''.join(bytes([1]) * 10_000_000 for _ in range(80))"
    (runs.root / "grow.py").write_text(f"def f(x):\n    {grow}\nif __name__ == '__main__': f(1)\n")
    runs.submit("command", [PYTHON, "grow.py"], 1)
    runs.submit("child", ["sh", "-c", f"{PYTHON} grow.py; exit $?"], 1)
    runs.submit("function", "grow.py:f", 1)
    runs.submit("killed", ["sh", "-c", "kill -9 $$"], 1)
    line = f"echo $$ > {small_cgroup}/cgroup.procs; exec {PYTHON} -m provrun run -j 1 --json"
    done = subprocess.run(["sh", "-c", line], cwd=runs.root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3, done.stdout + done.stderr
    found = {name: runs.attempts(name, 0)[0] for name in ("command", "child", "function", "killed")}
    memory = {name for name, attempt in found.items() if attempt.outcome is Outcome.MEMORY}
    assert memory == {"command", "child", "function"}
    assert {found[name].detail for name in found} == {signal.SIGKILL}
    assert found["killed"].outcome is Outcome.SIGNAL


def test_only_tasks_that_met_a_limit_move_to_a_larger_one(runs: Runs) -> None:
    (runs.root / "work.py").write_text(
        "import time\ndef f(x):\n"
        "    if x == 3: time.sleep(6.5)\n"
        "    if x == 5: data = bytearray(250_000_000); data[::4096] = bytes(len(data[::4096])); time.sleep(2)\n"
        "    if x == 7: raise ValueError\n"
        "    return x\n"
    )
    policy: dict[str, Any] = {
        "task_time": 5.0, "task_memory": 200 << 20, "retries": 2, "retry_time": 2.0, "retry_memory": 2.0
    }
    runs.submit("f", "work.py:f", 10, **policy)
    script = 'case {x} in 3) sleep 6.5;; 7) exit 1;; esac; echo {x}'
    runs.submit("c", ["sh", "-c", script], 10, **policy)
    assert runs.run().exit == 3
    assert runs.counts("f") == runs.counts("c") == {"succeeded": 9, "failed": 1}
    for name, beyond in (("f", {3, 5}), ("c", {3})):
        tasks = {task.index: task for task in runs.tasks(name)}
        assert {index for index, task in tasks.items() if task.limits is not None} == beyond
        assert {index: len(runs.attempts(name, index)) for index in tasks if tasks[index].attempts > 1} == {
            **dict.fromkeys(beyond, 2), 7: 3,
        }  # fmt: skip
    tasks = {task.index: task for task in runs.tasks("f")}
    assert (tasks[3].limits, tasks[5].limits) == (Limits(time=10.0), Limits(memory=400 << 20))
    assert [attempt.outcome for attempt in runs.attempts("f", 3)] == [Outcome.TIMEOUT, Outcome.SUCCEEDED]
    assert [attempt.outcome for attempt in runs.attempts("f", 5)] == [Outcome.MEMORY, Outcome.SUCCEEDED]
