"""The spawner: it takes all that it started along, however it ends, and gives back what it was told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.agents import Driver
from provrun.core.messages import Recall, Returned, Stop
from provrun.core.records import Recipe
from provrun.core.states import Outcome
from provrun.run.agent import AgentLost, sweep

NASTY = (
    "trap '' TERM HUP INT; setsid sleep {x} & (env -i setsid sh -c 'trap \"\" TERM; sleep $0; :' {x} &) ; "
    "nohup sleep {x} >/dev/null 2>&1 & touch started-{index}; sleep {x}"
)


def start_nasty(driver: Driver, workplace: Path, marker: str) -> None:
    """Run a command and a function that leave processes of all kinds behind, each sleeping for a marked time."""
    (workplace / "work.py").write_text(
        "import os, subprocess, time\n"
        "def f(x):\n    if os.fork() == 0:\n        os.setsid(); time.sleep(1000)\n"
        f"    subprocess.Popen(['sleep', '{marker}'], start_new_session=True)\n"
        "    open('started-f', 'w').close()\n    time.sleep(1000)\n"
    )
    driver.start(driver.map(Recipe(kind="shell", words=(NASTY,))), [{"x": marker}])
    driver.start(driver.map(Recipe(kind="function", function="work.py:f")), [{"x": 1}])
    driver.until(lambda: (workplace / "started-0").exists() and (workplace / "started-f").exists())


def sleeping(marker: str) -> list[int]:
    """Find the processes that have the marker among their words."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(marker.encode() in word for word in words) and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def left_of(driver: Driver) -> list[int]:
    """Find the living processes that carry a driver's job."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if driver.job.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def eventually(happened: Callable[[], Any], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.usefixtures("no_strays")
def test_nothing_is_left_when_the_agent_closes(workplace: Path) -> None:
    driver, marker = Driver(workplace), "1234.5671"
    start_nasty(driver, workplace, marker)
    assert len(sleeping(marker)) >= 4
    driver.close()
    assert (sleeping(marker), left_of(driver)) == ([], [])
    assert not list(Path("/dev/shm").glob(f"*{driver.job}*")) + list(Path("/tmp").glob(f"*{driver.job}*"))


@pytest.mark.usefixtures("no_strays")
def test_nothing_is_left_when_the_agent_is_killed(workplace: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom provrun.run.agent import Agent\n"
        "from provrun.core.messages import RunMap, Start, Tasks\nfrom provrun.core.records import Policy, Recipe\n"
        "agent = Agent.start(slots=1, project=Path(sys.argv[1]), job='killed-agent', rank=0, environ=os.environ)\n"
        "recipe = Recipe(kind='shell', words=('touch started; setsid sleep 1234.5672 & sleep 1234.5672',))\n"
        "agent.send(RunMap(1, 'm', recipe, bytes(32), Policy(), '.', (), (), ()))\n"
        "agent.send(Tasks([Start(1, 0, 1, '{}', None, None, None)]))\n"
        "while True: agent.pump(); time.sleep(0.01)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(workplace)])
    try:
        assert eventually((workplace / "started").exists, 20)
        assert sleeping("1234.5672")
    finally:
        process.kill()
        process.wait()
    assert eventually(lambda: not sleeping("1234.5672"))


@pytest.mark.usefixtures("no_strays")
def test_after_a_spawner_was_killed_a_sweep_leaves_nothing(workplace: Path) -> None:
    driver, marker = Driver(workplace), "1234.5673"
    start_nasty(driver, workplace, marker)
    os.kill(driver.agent.pid, signal.SIGKILL)
    with pytest.raises(AgentLost, match="has died"):
        while True:
            driver.pump()
    assert sweep(driver.job) >= 4
    assert sleeping(marker)  # what has thrown its environment away is found by the agent, whose child it is now
    driver.close()
    assert (sleeping(marker), left_of(driver)) == ([], [])


def test_a_sweep_spares_other_jobs_and_its_own_family(driver: Driver, workplace: Path) -> None:
    driver.start(driver.map(Recipe(kind="shell", words=("touch up; sleep 1",))), [{}])
    driver.until((workplace / "up").exists)
    assert sweep("another-job") == 0
    (result,) = driver.wait(1)
    assert result.outcome == Outcome.SUCCEEDED


def test_a_recall_takes_the_first_asked_for_that_have_not_started_and_is_always_answered(
    driver: Driver, workplace: Path
) -> None:
    words = ("sh", "-c", "touch up-{x}; while [ ! -e gate ]; do sleep 0.02; done")
    commands = driver.map(Recipe(kind="command", words=words))
    driver.start(commands, [{"x": x} for x in range(6)])
    driver.until(lambda: all((workplace / f"up-{x}").exists() for x in range(2)))
    driver.agent.send(Recall([(commands, index, 1) for index in (1, 5, 4, 0, 3)], 2))
    driver.agent.send(Recall([(commands, index, 1) for index in (0, 1, 4, 5)], 2))
    answers = [Returned([(commands, 4, 1), (commands, 5, 1)], False, True), Returned([], False, True)]
    driver.until(lambda: [message for message in driver.messages if isinstance(message, Returned)] == answers)
    (workplace / "gate").touch()
    assert [result.index for result in driver.wait(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("now", [False, True])
def test_a_stop_gives_back_what_waits_and_at_once_what_runs(driver: Driver, workplace: Path, now: bool) -> None:
    (workplace / "work.py").write_text("import time\ndef f(x):\n    time.sleep(0.5)\n    return x\n")
    commands = driver.map(Recipe(kind="command", words=("sleep", "0.5")))
    functions = driver.map(Recipe(kind="function", function="work.py:f"))
    driver.start(commands, [{"x": 0}])
    driver.start(functions, [{"x": x} for x in range(5)])
    driver.start(commands, [{"x": x} for x in range(1, 4)], first=1)
    driver.until(lambda: len(driver.loaded()) == 2)
    time.sleep(0.1)
    driver.agent.send(Stop(now))
    driver.start(commands, [{"x": 9}], first=9)
    waiting = {(functions, x, 1): False for x in range(1, 5)} | {(commands, x, 1): False for x in (1, 2, 3, 9)}
    running = {(commands, 0, 1), (functions, 0, 1)}
    if now:
        driver.until(lambda: len(driver.returned()) == 10)
        assert driver.returned() == {**waiting, **dict.fromkeys(running, True)}
        assert driver.results == []
    else:
        results = driver.wait(2)
        assert driver.returned() == waiting
        assert {(r.map, r.index, r.number) for r in results} == running
        assert [r.outcome for r in results] == [Outcome.SUCCEEDED] * 2


def test_tasks_start_in_the_order_in_which_they_were_given(driver: Driver) -> None:
    first, second = (driver.map(Recipe(kind="command", words=("true",))) for _ in range(2))
    driver.start(first, [{"x": x} for x in range(20)])
    driver.start(second, [{"x": x} for x in range(20)])
    starts = [(result.started, result.map, result.index) for result in driver.wait(40)]
    assert [key for _, *key in sorted(starts)] == [[map, index] for map in (first, second) for index in range(20)]


def test_a_spawner_tells_its_slots_and_holds_no_descriptor_of_its_parent(driver: Driver) -> None:
    joined = driver.joined()
    assert (joined.slots, joined.node) == (2, os.uname().nodename)
    held = {fd.readlink() for fd in Path(f"/proc/{driver.agent.pid}/fd").iterdir()}
    ours = {fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.exists()}
    assert held & ours <= {Path("/dev/null"), Path("anon_inode:[eventpoll]")}
    assert os.getsid(driver.agent.pid) == driver.agent.pid


def test_ctrl_c_at_the_terminal_does_not_reach_tasks(driver: Driver) -> None:
    (result,) = driver.command("sh", "-c", "ps -o sid= -p $$; ps -o tty= -p $$")
    sid, tty = driver.log(result).out.head.split()
    assert int(sid) != os.getsid(0)
    assert tty == b"?"


def test_a_pack_that_cannot_be_written_ends_the_agent_with_the_reason(workplace: Path) -> None:
    (workplace / ".provrun").mkdir()
    (workplace / ".provrun" / "packs").write_text("in the way")
    driver = Driver(workplace)
    with pytest.raises(AgentLost, match="cannot write the pack"):
        driver.command("echo", "hello")
    driver.close()


def test_a_template_that_cannot_be_used_costs_its_tasks_only(driver: Driver) -> None:
    (bad,) = driver.run(Recipe(kind="shell", words=("echo '{x}'",)))
    assert bad.outcome == Outcome.LAUNCHER
    assert bad.error is not None and "inside single quotes" in bad.error
    assert driver.value(driver.command("echo", "1")[0]) == 1


def test_results_refer_to_what_is_in_the_pack_already(driver: Driver) -> None:
    for result in driver.command("echo", "hello {x}", params=[{"x": x} for x in range(200)]):
        assert driver.log(result).out.head == b"hello %d\n" % result.index


@pytest.mark.parametrize("count", [1, 7, 3000])
def test_many_short_functions_give_each_result_once(driver: Driver, workplace: Path, count: int) -> None:
    (workplace / "work.py").write_text("def f(x): return [x] * (x % 90)\n")
    results = driver.function("work.py:f", [{"x": x} for x in range(count)])
    assert driver.values(results) == [[x] * (x % 90) for x in range(count)]


def test_children_that_have_nothing_to_do_are_let_go(driver: Driver, workplace: Path) -> None:
    (workplace / "work.py").write_text("import os\ndef f(x): return os.getpid()\n")
    (pid,) = driver.values(driver.function("work.py:f"))
    assert Path(f"/proc/{pid}").exists()
    driver.until(lambda: not Path(f"/proc/{pid}").exists(), patience=10)
    (again,) = driver.values(driver.function("work.py:f"))
    assert again != pid
