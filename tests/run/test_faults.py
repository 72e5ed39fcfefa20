"""What happens when things are killed: tasks, the spawner, the manager; and when two managers run at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.processes import MARK
from fixtures.runs import Runs, finished, processes_of, until
from fixtures.victims import look
from fixtures.witness import Witness
from provrun.core.states import Outcome
from provrun.project.recovering import recover

SPAWNER = "provrun.run.spawner"


def spawner_of(process: subprocess.Popen[str]) -> int:
    """Give the pid of a run's spawner."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (found,) = [int(pid) for pid in children if int(pid) in processes_of(SPAWNER)]
    return found


def test_a_killed_task_costs_one_attempt(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("$$") + "; exec sleep 60"], 1)
    process = runs.start()
    until(witness.lines, "the task began")
    os.kill(int(witness.lines()[0]), signal.SIGKILL)
    code, document, _ = finished(process)
    assert (code, document["failed"]) == (3, 1)
    (attempt,) = runs.attempts("t", 0)
    assert (attempt.outcome, attempt.detail) == (Outcome.SIGNAL, signal.SIGKILL)


def test_a_killed_spawner_loses_what_was_in_flight_and_the_run_goes_on(runs: Runs, witness: Witness) -> None:
    gate = runs.root / "gate"
    line = witness.shell("{x}")
    runs.submit("t", ["sh", "-c", f"{line}; while [ ! -e {gate} ]; do sleep 0.02; done"], 6, retries=0)
    process = runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    os.kill(spawner_of(process), signal.SIGKILL)
    until(lambda: len(witness.lines()) >= 4, "tasks began again")
    gate.touch()
    code, document, said = finished(process)
    assert (code, document["succeeded"]) == (0, 6)
    assert document["lost"] >= 2
    assert "has died" in said
    assert runs.counts("t") == {"succeeded": 6}
    assert sum(witness.counts().values()) == 8
    outcomes = [[attempt.outcome for attempt in runs.attempts("t", index)] for index in range(2)]
    assert outcomes == [[Outcome.LOST, Outcome.SUCCEEDED]] * 2


def test_a_killed_syncer_is_replaced_and_nothing_is_lost(runs: Runs, witness: Witness) -> None:
    gate = runs.root / "gate"
    line = witness.shell("{x}")
    runs.submit("t", ["sh", "-c", f"{line}; while [ {{x}} -gt 3 -a ! -e {gate} ]; do sleep 0.02; done; echo {{x}}"], 9)
    process = runs.start("-j", "2")
    until(lambda: len(witness.lines()) == 6, "what the first tasks printed was synced")
    syncers = [one.pid for one in look(MARK, os.environ[MARK], {process.pid}) if one.kind == "syncer"]
    assert len(syncers) == 1
    os.kill(syncers[0], signal.SIGKILL)
    gate.touch()
    code, document, said = finished(process)
    assert (code, document["succeeded"], document["lost"]) == (0, 9, 0)
    assert "died" not in said
    assert set(witness.counts().values()) == {1}


def test_a_spawner_that_dies_again_and_again_ends_the_run_with_a_reason(runs: Runs) -> None:
    # The task kills whoever started it.
    runs.submit("t", ["sh", "-c", "kill -9 $PPID; sleep 60"], 3)
    code, document, _ = finished(runs.start("-j", "1"))
    assert code == 75
    assert "died" in document["reason"]
    assert runs.counts("t") == {"pending": 3}


@pytest.mark.parametrize("begun", ["running", "started"])
def test_after_a_killed_manager_the_next_run_takes_back_what_it_had(runs: Runs, witness: Witness, begun: str) -> None:
    gate = runs.root / "gate"
    line = witness.shell("{x}")
    runs.submit("t", ["sh", "-c", f"{line}; while [ ! -e {gate} ]; do sleep 0.02; done"], 5)
    process = runs.start("-j", "2")
    if begun == "running":
        until(lambda: len(witness.lines()) == 2, "two tasks began")
    else:
        until(lambda: runs.counts("t").get("running"), "tasks were claimed")
    process.kill()
    process.communicate()
    gate.touch()
    summary = runs.run()
    assert summary.succeeded == 5
    assert runs.counts("t") == {"succeeded": 5}
    assert any("pending again" in text for text in runs.heard.told)
    # What the dead manager had running ended with it and ran once more: each beginning is an attempt on record.
    attempts = [len(runs.attempts("t", index)) for index in range(5)]
    begun_ones = [witness.counts()[str(index)] for index in range(5)]
    assert all(1 <= seen <= recorded <= 2 for seen, recorded in zip(begun_ones, attempts, strict=True))


def test_recover_takes_back_nothing_from_a_run_that_lives(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 1)
    process = runs.start()
    until(witness.lines, "the task began")
    project = runs.project()
    assert recover(project) == []
    project.close()
    assert runs.counts("t") == {"running": 1}
    process.kill()
    process.communicate()
    project = runs.project()
    ((job, n),) = recover(project)
    project.close()
    assert (job.state, n) == ("running", 1)
    assert runs.counts("t") == {"pending": 1}


def test_two_managers_share_a_map_and_nothing_runs_twice(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}")], 400)
    ends = [finished(process) for process in [runs.start("-j", "1"), runs.start("-j", "1")]]
    assert witness.counts() == {str(x): 1 for x in range(400)}
    assert sum(document["succeeded"] for _, document, _ in ends) == 400
    assert runs.counts("t") == {"succeeded": 400}


def test_a_task_that_fails_when_its_manager_is_gone_is_not_lost_twice(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; sleep 0.3; exit 1"], 1)
    process = runs.start()
    until(witness.lines, "the task began")
    process.kill()
    process.communicate()
    assert runs.run().failed == 1
    assert [attempt.outcome for attempt in runs.attempts("t", 0)] == [Outcome.LOST, Outcome.EXIT]


def test_an_exit_of_the_launching_terminal_ends_everything(runs: Runs, witness: Witness) -> None:
    runs.submit("t", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 2)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and children inherit that
    try:
        process = runs.start("-j", "2")
    finally:
        signal.signal(signal.SIGHUP, before)
    until(lambda: len(witness.lines()) == 2, "two tasks began")
    process.send_signal(signal.SIGHUP)
    code, _, _ = finished(process)
    assert code == 128 + signal.SIGHUP
    assert runs.counts("t") == {"pending": 2}


def test_a_full_disk_ends_the_run_with_its_own_exit_code_and_loses_nothing(runs: Runs) -> None:
    # Large results make the registry grow past the largest file this process may write.
    runs.submit("t", ["sh", "-c", "echo [$(seq -s, 1 6000)]"], 60)
    registry = runs.root / ".provrun" / "registry.sqlite"
    limit = registry.stat().st_size // 1024 + 300
    words = ["bash", "-c", f"ulimit -f {limit}; exec {sys.executable} -m provrun run --json -j 2"]
    done = subprocess.run(words, cwd=runs.root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 74, done.stdout + done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "io"
    summary = runs.run()
    assert summary.exit == 0
    assert runs.counts("t") == {"succeeded": 60}


def test_a_killed_function_child_costs_the_attempt_it_was_running_and_no_other(runs: Runs) -> None:
    lines = ["import os, signal", "def f(x):", "    if x == 5:", "        os.kill(os.getpid(), signal.SIGKILL)"]
    (runs.root / "deadly.py").write_text("\n".join([*lines, "    return x", ""]))
    runs.submit("t", "deadly.py:f", 40)
    summary = runs.run()
    assert (summary.succeeded, summary.failed, summary.lost, summary.exit) == (39, 1, 0, 3)
    (attempt,) = runs.attempts("t", 5)
    assert (attempt.outcome, attempt.detail) == (Outcome.SIGNAL, signal.SIGKILL)
    assert all(len(runs.attempts("t", index)) == 1 for index in (4, 6, 39))
