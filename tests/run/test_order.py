"""The order in which a real run takes tasks, and what it does when its allocation ends."""

from __future__ import annotations

import heapq
import os
import subprocess
import sys
import time
from pathlib import Path

from fixtures.runs import Runs, finished, until
from provrun.core.states import Outcome, State
from provrun.project.running import RunSummary, run

NAP = "import sys, time, pathlib; pathlib.Path(sys.argv[1]).touch(); time.sleep(float(sys.argv[2]))"


def nap(mark: str, seconds: object) -> list[str]:
    return [sys.executable, "-c", NAP, mark, str(seconds)]


def allocated(runs: Runs, name: str, seconds: float, slots: int = 1) -> RunSummary:
    """Run in an allocation that ends in so many seconds."""
    project = runs.project()
    try:
        return run(project, (name,), slots=slots, until=time.time() + seconds, show=runs.heard, environ=os.environ)
    finally:
        project.close()


def starts(runs: Runs, name: str, number: int) -> list[int]:
    """Give the indices of tasks in the order in which their attempts of this number started."""
    begun = {index: runs.attempts(name, index)[number - 1].started or 0 for index in range(len(runs.tasks(name)))}
    return sorted(begun, key=begun.__getitem__)


def test_tasks_that_ran_before_go_longest_first(runs: Runs) -> None:
    seconds = [0.05, 0.4, 0.2, 0.6, 0.1]
    runs.submit("scan", nap("mark-{x}", "{s}"), params=[{"x": x, "s": s} for x, s in enumerate(seconds)])
    runs.run("scan", slots=1)
    assert starts(runs, "scan", 1) == [0, 1, 2, 3, 4]
    registry = runs.registry()
    registry.rerun(1, None)
    registry.close()
    runs.run("scan", slots=1)
    longest = sorted(range(5), key=lambda x: -seconds[x])
    # The shortest differ by less than a busy machine may take to start them.
    assert starts(runs, "scan", 2)[:3] == longest[:3]


def test_ten_tasks_a_slot_take_hardly_longer_than_a_manager_without_any_cost_would_need(
    runs: Runs, project_dir: Path
) -> None:
    (project_dir / "nap.py").write_text("import time\n\n\ndef nap(x):\n    time.sleep(0.2 + x / 2000)\n")
    runs.submit("scan", "nap.py:nap", 80)
    runs.run("scan", slots=8)
    spans = [(ended.started or 0, ended.wall or 0) for x in range(80) for ended in runs.attempts("scan", x)]
    free = [0] * 8
    for _, wall in spans:  # as they really were: on a busy machine a sleep takes longer
        heapq.heapreplace(free, free[0] + wall)
    took = max(started + wall for started, wall in spans) - min(started for started, _ in spans)
    assert max(free) / took > 0.6, "slots waited for the manager"


def test_tasks_of_higher_priority_overtake_those_that_a_job_has_claimed(runs: Runs, project_dir: Path) -> None:
    runs.submit("slow", nap("slow-{x}", 4), 4)
    process = runs.start("-j", "1")
    until((project_dir / "slow-0").exists, "the first task")
    submit = ["submit", "urgent", "--priority", "9", "--param", "x=0:1", "--", *nap("urgent-{x}", 0)]
    subprocess.run([sys.executable, "-m", "provrun", *submit], cwd=project_dir, check=True, capture_output=True)
    until((project_dir / "urgent-0").exists, "the urgent task")
    assert not (project_dir / "slow-2").exists()
    process.terminate()
    finished(process)


def test_what_runs_at_the_end_of_an_allocation_goes_back_without_a_failure(runs: Runs) -> None:
    runs.submit("scan", nap("mark-{x}", 60), 3)
    began = time.monotonic()
    summary = allocated(runs, "scan", 6.0)
    assert time.monotonic() - began < 6.0, "what it had to record was left to the end of the allocation"
    assert (summary.exit, summary.failed, summary.reason.partition(";")[0]) == (75, 0, "walltime")
    assert runs.counts("scan") == {"pending": 3}
    (attempt,) = runs.attempts("scan", 0)
    assert (attempt.outcome, attempt.error) == (Outcome.CANCELLED, "its allocation ended while it ran")
    assert [task.fails for task in runs.tasks("scan")] == [0, 0, 0]


def test_a_task_longer_than_its_allocations_is_left_and_named(runs: Runs) -> None:
    runs.submit("scan", nap("mark-{x}", 60), 1)
    allocated(runs, "scan", 6.0)
    summary = allocated(runs, "scan", 6.0)
    assert summary.exit == 75
    assert summary.reason.startswith("walltime; scan/0 is too long: an earlier attempt ran ")
    assert len(runs.attempts("scan", 0)) == 1


def test_nothing_starts_that_cannot_end_in_time(runs: Runs) -> None:
    runs.submit("scan", nap("mark-{x}", 2), 20)
    summary = allocated(runs, "scan", 9.0, slots=2)
    assert summary.reason.startswith("walltime")
    assert summary.succeeded > 0
    assert summary.succeeded + runs.counts("scan")["pending"] == 20
    # Those that started have ended: none was stopped half-way.
    assert sum(task.attempts for task in runs.tasks("scan")) == summary.succeeded
    assert all(task.state in (State.SUCCEEDED, State.PENDING) for task in runs.tasks("scan"))


def test_a_task_that_kills_its_spawner_again_and_again_fails_and_the_others_succeed(runs: Runs) -> None:
    killer = (
        "import os, signal, sys, time\n"
        "if sys.argv[1] == '3': os.kill(os.getppid(), signal.SIGKILL)\n"
        "time.sleep(0.2)\n"
    )
    runs.submit("scan", [sys.executable, "-c", killer, "{x}"], 8)
    summary = runs.run("scan", slots=4)
    assert (summary.succeeded, summary.failed, summary.exit) == (7, 1, 3)
    attempts = runs.attempts("scan", 3)
    assert [attempt.outcome for attempt in attempts] == [Outcome.LOST] * 3 + [Outcome.SIGNAL]
    assert (attempts[-1].error or "").startswith("each time it ran its agent died, 4 times")
