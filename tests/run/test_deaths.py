"""Whatever is killed, whenever: the registry is sound, what was not recorded runs again, and nobody has to look."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fixtures.invariants import Invariants
from fixtures.kills import children_of, family_of, launcher_of, manager_of, others_of, ranks_of, spawner_of
from fixtures.launchers import Launcher
from fixtures.runs import Runs, finished, until
from fixtures.witness import Witness
from provrun.core.states import Outcome

GATED = "; while [ ! -e gate ]; do sleep 0.02; done"
TASKS = 6
MOST = 4  # what two slots may have in flight: two tasks that run, and two that wait behind them
Run = subprocess.Popen[str]


def submit(runs: Runs, witness: Witness, rest: str = GATED) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + rest], TASKS)


def start(runs: Runs, witness: Witness, mpi: bool) -> Run:
    """Start a run of tasks that wait at a gate; two of them are running."""
    submit(runs, witness)
    process = runs.start("--mpi", "2", "-j", "1") if mpi else runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    return process


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # the task that slept has ended
            os.kill(pid, signal.SIGKILL)


def to_the_end(runs: Runs) -> None:
    """Let the next run do what is left."""
    (runs.root / "gate").touch()
    code, _, said = finished(runs.start("-j", "2"), timeout=60)
    assert code == 0, said


def an_agent(runs: Runs, process: Run) -> list[int]:
    return others_of(runs)


def the_manager(runs: Runs, process: Run) -> list[int]:
    return [manager_of(runs)]


def the_launcher(runs: Runs, process: Run) -> list[int]:
    return [launcher_of(process.pid)]


def all_ranks(runs: Runs, process: Run) -> list[int]:
    return ranks_of(runs)


@pytest.mark.parametrize("whom", [an_agent, the_manager, the_launcher, all_ranks])
def test_a_dead_part_of_an_mpi_run_costs_a_new_start_and_no_more_than_what_was_in_flight(
    runs: Runs, witness: Witness, mpi: Launcher, invariants: Invariants, whom: Callable[[Runs, Run], list[int]]
) -> None:
    process = start(runs, witness, mpi=True)
    kill(*whom(runs, process))
    until(lambda: len(witness.lines()) == 4, "two tasks began again")
    (runs.root / "gate").touch()
    code, document, said = finished(process, timeout=60)
    assert (code, document["succeeded"]) == (0, TASKS), said
    assert document["lost"] <= MOST
    assert "a rank died" in said
    for index in range(2):
        # A launcher may leave the manager the time to give back what it has.
        first, second = (attempt.outcome for attempt in runs.attempts("t", index))
        assert first in (Outcome.LOST, Outcome.CANCELLED)
        assert second is Outcome.SUCCEEDED
    invariants()


def test_what_was_recorded_before_a_death_counts_and_does_not_run_again(
    runs: Runs, witness: Witness, invariants: Invariants, mpi_launchers: dict[str, Launcher],
) -> None:
    submit(runs, witness, "; [ {x} -lt 3 ] ||" + GATED.removeprefix(";"))
    process = runs.start("--mpi", "2", "-j", "1")
    until(lambda: runs.counts("t").get("succeeded") == 3, "three tasks are on record")
    until(lambda: len(witness.lines()) >= 4, "another one began")
    kill(manager_of(runs))
    until(lambda: witness.counts()["3"] == 2, "it began again")
    (runs.root / "gate").touch()
    code, document, said = finished(process, timeout=60)
    assert (code, document["succeeded"]) == (0, TASKS), said
    assert [len(runs.attempts("t", index)) for index in range(4)] == [1, 1, 1, 2]
    invariants()


def test_two_deaths_in_a_row_without_anything_recorded_end_the_run_with_a_reason(
    runs: Runs, witness: Witness, mpi: Launcher, invariants: Invariants
) -> None:
    process = start(runs, witness, mpi=True)
    kill(manager_of(runs))
    until(lambda: len(witness.lines()) == 4, "two tasks began again")
    kill(manager_of(runs))
    code, document, _ = finished(process, timeout=60)
    assert (code, document["succeeded"]) == (75, 0)
    assert "2 times in a row" in document["reason"]
    assert runs.counts("t") == {"pending": TASKS}
    to_the_end(runs)
    invariants()


def test_a_killed_run_over_mpi_gives_its_tasks_back(
    runs: Runs, witness: Witness, mpi: Launcher, invariants: Invariants
) -> None:
    process = start(runs, witness, mpi=True)
    kill(process.pid)
    process.communicate()
    until(lambda: runs.counts("t") == {"pending": TASKS}, "the ranks ended by themselves")
    to_the_end(runs)
    invariants()


@pytest.mark.parametrize("mpi_too", [False, True])
def test_a_whole_family_killed_at_once_loses_only_what_was_in_flight(
    runs: Runs, witness: Witness, invariants: Invariants, mpi_launchers: dict[str, Launcher], mpi_too: bool
) -> None:
    process = start(runs, witness, mpi=mpi_too)
    kill(*family_of(process.pid))
    process.communicate()
    to_the_end(runs)
    assert sum(witness.counts().values()) == TASKS + 2
    invariants()


def test_a_killed_spawner_costs_what_it_had_in_flight(runs: Runs, witness: Witness, invariants: Invariants) -> None:
    process = start(runs, witness, mpi=False)
    kill(spawner_of(process.pid))
    until(lambda: len(witness.lines()) == 4, "two tasks began again")
    (runs.root / "gate").touch()
    code, document, _ = finished(process)
    assert (code, document["succeeded"], document["lost"]) == (0, TASKS, 2)
    invariants()


def test_a_killed_task_costs_an_attempt(runs: Runs, witness: Witness, invariants: Invariants) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; [ -e again ] || (touch again; kill -9 $$)"], 1, retries=1)
    code, document, _ = finished(runs.start())
    assert (code, document["succeeded"]) == (0, 1)
    assert [attempt.outcome for attempt in runs.attempts("t", 0)] == [Outcome.SIGNAL, Outcome.SUCCEEDED]


def test_a_killed_function_child_costs_the_attempt_it_ran(
    runs: Runs, witness: Witness, invariants: Invariants
) -> None:
    source = """
import os


def f(x):
    with open(os.environ["WITNESS"], "a") as file:
        file.write(f"{x}\\n")
    if x == 3:
        os.kill(os.getpid(), 9)
    return x
"""
    (runs.root / "deadly.py").write_text(source)
    runs.submit("t", "deadly.py:f", TASKS)
    code, document, _ = finished(runs.start("-j", "2"))
    assert (code, document["succeeded"], document["failed"]) == (3, TASKS - 1, 1)
    invariants()


def test_a_run_killed_twice_in_a_row_and_once_more_while_it_takes_back_what_it_lost(
    runs: Runs, witness: Witness, invariants: Invariants
) -> None:
    process = start(runs, witness, mpi=False)
    kill(process.pid)
    process.communicate()
    # Once as soon as anything of the next one is on record, and some before it can be.
    for pause in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, None):
        again = runs.start("-j", "2")
        if pause is None:
            until(lambda: runs.counts("t").get("running"), "tasks were claimed again")
        else:
            time.sleep(pause)
        kill(again.pid)
        again.communicate()
    to_the_end(runs)
    invariants()


def test_recover_killed_at_any_moment_leaves_what_the_next_one_recovers(
    runs: Runs, witness: Witness, invariants: Invariants
) -> None:
    process = start(runs, witness, mpi=False)
    kill(process.pid)
    process.communicate()
    for pause in (0.15, 0.25, 0.35, 0.45):
        recovering = subprocess.Popen([sys.executable, "-m", "provrun", "recover", "-q"], cwd=runs.root)
        time.sleep(pause)
        recovering.kill()
        recovering.wait()
    to_the_end(runs)
    assert [len(runs.attempts("t", index)) for index in range(2)] == [2, 2]
    invariants()


def test_a_run_without_a_launcher_has_nothing_that_survives_its_manager(
    runs: Runs, witness: Witness, invariants: Invariants
) -> None:
    process = start(runs, witness, mpi=False)
    spawner = spawner_of(process.pid)
    tasks = children_of(spawner)
    kill(process.pid)
    process.communicate()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (spawner, *tasks)), "all of it ended")
    to_the_end(runs)
    invariants()
