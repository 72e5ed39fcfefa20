"""Nasty tasks: whatever a task does, it costs itself at most; `docs/explanation/faults.md` lists the guarantees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.agents import Driver
from fixtures.mounts import Mounts, provrun
from fixtures.runs import Runs, processes_of, until
from provrun.core.records import Policy, Recipe
from provrun.core.states import Outcome

PYTHON = sys.executable
GONE = 6.0  # seconds in which what an ended task has left behind is gone


def gone(marker: str) -> bool:
    """Wait until no process has the marker among its words."""
    end = time.monotonic() + GONE
    while processes_of(marker):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def module(driver: Driver, text: str) -> None:
    (driver.project / "work.py").write_text(text)


# What tasks leave behind

BOMB = """\
import os, sys, time
for _ in range(7):
    if os.fork() == 0 and len(sys.argv) > 2:
        os.setsid()
open("up", "a").write("+")
time.sleep(1000)
"""
FLEEING = """\
import os, sys, time
for hop in range(4000):  # each hop is a new process in a new session whose parent is gone
    if os.fork():
        os._exit(0)
    os.setsid()
open("escaped", "w").close()
"""
DAEMON = """\
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        os.chdir("/")
        os.execve("/bin/sleep", ["sleep", sys.argv[1]], {})
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("sessions", ["one session", "sessions of their own"])
def test_all_of_a_fork_bomb_is_gone_with_its_task(driver: Driver, workplace: Path, sessions: str) -> None:
    marker = f"bomb-{os.getpid()}-{len(sessions)}"
    (workplace / "bomb.py").write_text(BOMB)
    words = (PYTHON, "bomb.py", marker, *(["own"] if "own" in sessions else []))
    driver.start(driver.map(Recipe(kind="command", words=words), policy=Policy(task_time=3)), [{"x": 0}])
    driver.until(lambda: (workplace / "up").exists() and len((workplace / "up").read_text()) == 128)
    assert len(processes_of(marker)) >= 128
    (result,) = driver.wait(1)
    assert result.outcome == Outcome.TIMEOUT
    assert gone(marker)
    assert driver.value(driver.command("echo", "1")[0]) == 1


def test_who_flees_from_one_fork_to_the_next_is_caught(driver: Driver, workplace: Path) -> None:
    (workplace / "flee.py").write_text(FLEEING)
    marker = f"fleeing-{os.getpid()}"
    driver.command(PYTHON, "flee.py", marker)
    assert gone(marker)
    assert driver.value(driver.command("echo", "1")[0]) == 1


def test_a_daemon_that_nothing_ties_to_its_task_is_gone_after_it(driver: Driver, workplace: Path) -> None:
    (workplace / "daemon.py").write_text(DAEMON)
    (result,) = driver.command(PYTHON, "daemon.py", "1234.7701")
    assert result.outcome == Outcome.SUCCEEDED
    assert gone("1234.7701")


def test_a_daemon_of_a_function_is_gone_after_it(driver: Driver, workplace: Path) -> None:
    (workplace / "daemon.py").write_text(DAEMON)
    run = f"subprocess.run([{PYTHON!r}, 'daemon.py', '1234.7702'], check=True)"
    module(driver, f"import subprocess\ndef f(x):\n    {run}\n    return x\n")
    assert driver.values(driver.function("work.py:f")) == [0]
    assert gone("1234.7702")


@pytest.mark.parametrize("session", ["", "setsid "])
def test_an_orphan_that_serves_a_running_task_is_left_alone(driver: Driver, session: str) -> None:
    # The server's parent is gone at once, as with every daemon that puts itself into the background.
    serve = f"({session}sh -c 'sleep 1.5; echo served > answer' &)"
    script = f"{serve}; while [ ! -s answer ]; do sleep 0.1; done; cat answer"
    (result,) = driver.command("sh", "-c", script, policy=Policy(task_time=15), recipe={"result": "stdout-text"})
    assert driver.value(result) == "served"


def test_an_orphan_that_serves_a_running_function_is_left_alone(driver: Driver) -> None:
    serve = "(setsid sh -c 'sleep 1.5; echo served > answer' &)"
    module(driver, (
        "import pathlib, subprocess, time\ndef f(x):\n"
        f"    subprocess.run(['sh', '-c', {serve!r}], check=True)\n    end = time.time() + 10\n"
        "    while not pathlib.Path('answer').exists() and time.time() < end: time.sleep(0.1)\n"
        "    time.sleep(0.1)\n    return pathlib.Path('answer').read_text().strip()\n"
    ))  # fmt: skip
    assert driver.values(driver.function("work.py:f")) == ["served"]


def test_who_ignores_the_request_to_end_is_killed_with_its_children(driver: Driver) -> None:
    script = "trap '' TERM; (trap '' TERM; sleep 1234.7703; :) & trap '' TERM; sleep 1234.7703; sleep 1234.7703"
    (result,) = driver.command("sh", "-c", script, policy=Policy(task_time=0.2))
    assert result.outcome == Outcome.TIMEOUT
    assert gone("1234.7703")


def test_a_pipe_that_is_held_open_does_not_hold_up_the_end_of_its_task(driver: Driver) -> None:
    begun = time.monotonic()
    (result,) = driver.command("sh", "-c", "setsid sleep 1234.7704 & echo 5")
    assert driver.value(result) == 5
    assert time.monotonic() - begun < 10
    assert gone("1234.7704")


def test_zombies_are_buried(driver: Driver, workplace: Path) -> None:
    make = "import os\nfor _ in range(300):\n    if os.fork() == 0: os._exit(0)\n"
    (workplace / "zombies.py").write_text(make)
    driver.command(PYTHON, "zombies.py")
    pid = driver.agent.pid

    def dead() -> int:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(b") Z " in Path(f"/proc/{child}/stat").read_bytes() for child in children)

    driver.until(lambda: dead() == 0)


# Surroundings


def test_tasks_whose_folder_was_removed_say_so_and_run_when_it_is_there_again(driver: Driver, workplace: Path) -> None:
    place = workplace / "place"
    place.mkdir()
    text = "import os, pathlib\ndef f(x):\n    pathlib.Path('made').touch()\n    return os.getcwd()\n"
    (workplace / "place" / "work.py").write_text(text)
    commands = driver.map(Recipe(kind="command", words=("sh", "-c", "{x}")), workdir="place")
    functions = driver.map(Recipe(kind="function", function="work.py:f"), workdir="place")
    for map in (commands, functions):
        driver.start(map, [{"x": "touch made"}])
    assert {result.outcome for result in driver.wait(2)} == {Outcome.SUCCEEDED}
    driver.start(commands, [{"x": 'rm -r "$PWD"'}], first=1)
    driver.wait(1)
    for map in (commands, functions):
        driver.start(map, [{"x": "true"}], first=2)
    missing = driver.wait(2)
    assert [result.outcome for result in missing] == [Outcome.LAUNCHER] * 2
    assert {result.error for result in missing} == {f"cannot enter the folder {place}: No such file or directory"}
    place.mkdir()
    (place / "work.py").write_text(text)
    for map in (commands, functions):
        driver.start(map, [{"x": "touch again"}], first=3)
    assert [result.outcome for result in driver.wait(2)] == [Outcome.SUCCEEDED] * 2
    assert (place / "again").exists() and (place / "made").exists()


def test_a_function_map_in_a_folder_that_is_not_there_fails_and_nothing_spins(driver: Driver) -> None:
    (result,) = driver.function("work.py:f", workdir="nowhere")
    assert result.outcome == Outcome.LAUNCHER
    assert result.error is not None and result.error.startswith("cannot enter the folder")


def test_parameters_of_a_hundred_thousand_characters_arrive(driver: Driver) -> None:
    x = "é" + "x" * 99_997 + "\n'"
    module(driver, "import hashlib\ndef f(x): return [len(x), hashlib.sha256(x.encode()).hexdigest()]\n")
    script = "import json,sys; from work import f; print(json.dumps(f(sys.argv[1])))"
    (command,) = driver.values(driver.command(PYTHON, "-c", script, "{x}", params=[{"x": x}]))
    (shell,) = driver.values(driver.run(Recipe(kind="shell", words=(f"{PYTHON} -c '{script}' {{x}}",)), [{"x": x}]))
    (function,) = driver.values(driver.function("work.py:f", [{"x": x}]))
    assert command == shell == function == [100_000, command[1]]


@pytest.mark.usefixtures("no_strays")
def test_a_run_with_few_descriptors_waits_for_them_and_ends_well(runs: Runs) -> None:
    (runs.root / "work.py").write_text("import time\ndef f(x):\n    time.sleep(0.05)\n    return x\n")
    runs.submit("t", ["sh", "-c", "sleep 0.05; echo {x}"], 80)
    runs.submit("f", "work.py:f", 80)
    line = f"ulimit -n 64; exec {PYTHON} -m provrun run -j 40 --json"
    done = subprocess.run(["bash", "-c", line], cwd=runs.root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (runs.counts("t"), runs.counts("f")) == ({"succeeded": 80}, {"succeeded": 80})


def test_a_function_finds_limits_umask_and_signals_as_the_first_one_did(driver: Driver) -> None:
    module(driver, (
        "import os, resource, signal\n"
        "def f(x):\n"
        "    mask = os.umask(0o077)\n"
        "    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])\n"
        "    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (20, most))\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))\n"
        "    import time; time.sleep(0.01)\n"
        "    return [mask, len(blocked), str(handler), files]\n"
    ))  # fmt: skip
    values = driver.values(driver.function("work.py:f", [{"x": x} for x in range(6)]))
    assert all(value == values[0] for value in values)
    assert values[0][1] == 0


# Signals and deaths


def test_every_exit_code_is_told(driver: Driver) -> None:
    codes = [{"x": x} for x in range(256)]
    module(driver, "import os\ndef f(x): os._exit(x)\n")
    commands = driver.command("sh", "-c", "exit {x}", params=codes)
    functions = driver.function("work.py:f", codes)
    assert [result.detail for result in commands] == [result.detail for result in functions] == list(range(256))
    assert [result.outcome for result in commands] == [Outcome.SUCCEEDED] + [Outcome.EXIT] * 255
    assert {result.outcome for result in functions} == {Outcome.EXIT}


DEADLY = [
    number for number in sorted(signal.valid_signals())
    if number not in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP,
                      signal.SIGTTIN, signal.SIGTTOU)
]  # fmt: skip


@pytest.mark.parametrize("kind", ["command", "function"])
def test_every_signal_is_told(driver: Driver, workplace: Path, kind: str) -> None:
    text = (
        "import os, resource, signal, sys\n"
        "def f(x):\n"
        "    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "    if x not in (9, 19): signal.signal(x, signal.SIG_DFL)\n"
        "    os.kill(os.getpid(), x)\n"
        "if __name__ == '__main__': f(int(sys.argv[1]))\n"
    )
    (workplace / "work.py").write_text(text)
    params = [{"x": int(number)} for number in DEADLY]
    if kind == "command":
        results = driver.command(PYTHON, "work.py", "{x}", params=params)
    else:
        driver.start(driver.map(Recipe(kind="function", function="work.py:f")), params)
        results = driver.wait(len(params), patience=60)
    assert [(result.outcome, result.detail) for result in results] == [(Outcome.SIGNAL, n) for n in DEADLY]


@pytest.mark.parametrize("kind", ["command", "function"])
def test_a_task_that_stops_itself_meets_its_time_limit(driver: Driver, kind: str) -> None:
    if kind == "command":
        (result,) = driver.command("sh", "-c", "kill -STOP 0; sleep 60", policy=Policy(task_time=0.3))
    else:
        module(driver, "import os, signal\ndef f(x): os.kill(0, signal.SIGSTOP)\n")
        (result,) = driver.function("work.py:f", policy=Policy(task_time=0.3))
    assert result.outcome == Outcome.TIMEOUT


@pytest.mark.parametrize("kind", ["command", "function"])
def test_a_task_that_kills_its_whole_group_kills_itself_alone(driver: Driver, kind: str) -> None:
    other = driver.map(Recipe(kind="command", words=("sh", "-c", "sleep 0.5; echo 1")))
    driver.start(other, [{"x": 0}])
    if kind == "command":
        map = driver.map(Recipe(kind="command", words=("sh", "-c", "sleep 60 & kill -9 0")))
    else:
        module(driver, "import os\ndef f(x): os.kill(0, 9)\n")
        map = driver.map(Recipe(kind="function", function="work.py:f"))
    driver.start(map, [{"x": 0}])
    results = {result.map: result for result in driver.wait(2)}
    assert driver.value(results[other]) == 1
    assert (results[map].outcome, results[map].detail) == (Outcome.SIGNAL, signal.SIGKILL)


def test_a_function_that_kills_its_parent_costs_no_other_task(driver: Driver) -> None:
    # The parent of a function is the process that has imported its module; the children live on without it.
    module(driver, (
        "import os, time\ndef f(x):\n    if x == 3: os.kill(os.getppid(), 9)\n"
        "    time.sleep(0.2)\n    if x == 5: os._exit(9)\n    return x\n"
    ))  # fmt: skip
    results = driver.function("work.py:f", [{"x": x} for x in range(9)])
    assert [result.outcome for result in results if result.index != 5] == [Outcome.SUCCEEDED] * 8
    assert (results[5].outcome, results[5].detail) == (Outcome.EXIT, 9)


def test_a_command_that_kills_its_parent_loses_what_ran_and_nothing_else(runs: Runs) -> None:
    # Its parent is the spawner: what it had in flight is lost and runs again. The second time the command behaves.
    runs.submit("t", ["sh", "-c", "if [ {x} = 2 ] && [ ! -e once ]; then touch once; kill -9 $PPID; fi; echo {x}"], 6)
    summary = runs.run()
    assert (summary.succeeded, summary.exit) == (6, 0)
    assert summary.lost >= 1
    assert runs.attempts("t", 2)[0].outcome is Outcome.LOST
    assert any("has died" in text for text in runs.heard.told)


def test_a_task_that_kills_all_it_can_fails_in_the_end_and_others_succeed(runs: Runs, mounts: Mounts) -> None:
    # In a process namespace of its own, where the run is what cannot be killed.
    runs.submit("t", ["sh", "-c", "if [ {x} = 0 ]; then kill -9 -1; fi; echo {x}"], 4)
    done = mounts.run(provrun("run", "-j", "1", "--json"), "mount -t proc proc /proc", options=["--pid", "--fork"])
    assert done.returncode == 3, done.stdout + done.stderr
    assert runs.counts("t") == {"succeeded": 3, "failed": 1}
    *lost, last = runs.attempts("t", 0)
    assert {attempt.outcome for attempt in lost} == {Outcome.LOST}
    assert last.error is not None and last.error.endswith("it is not tried again")


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail when the name of a test's own process is still there after it."""
    yield
    until(lambda: not processes_of("1234.77"), f"{request.node.name} left nothing")
