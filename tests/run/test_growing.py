"""Tasks that submit tasks, and maps that appear while a job runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from fixtures.cli import Cli
from fixtures.launchers import Launcher
from fixtures.runs import Runs, finished, processes_of, until
from fixtures.witness import Witness
from provrun.core.answers import SubmissionRecord
from provrun.store.reads import Reads

PROVRUN = f"{sys.executable} -m provrun"

LEVELS = """
import provrun as pr


def level(depth):
    if depth:
        pr.map(level, depth=[depth - 1])
    return depth
"""

FAN = """
import provrun as pr


def seed(x):
    return len(pr.map(leaf, {"y": range(1000)}))


def leaf(y):
    return y
"""

SCRIPT = """
import provrun as pr


def start(x):
    # The handle below is inert while provrun imports this script, and real in a task.
    return [len(scan), pr.submit("note", "true", n=[x, x + 10]).name]


scan = pr.map(start, x=[1, 2])
"""

COMMAND_LEVELS = """
import sys

import provrun as pr

depth = int(sys.argv[1])
if depth:
    pr.submit("level", [sys.executable, "level.py", "{depth}"], depth=[depth - 1])
"""

QUEUE = """
from provrun import qdo


def step(n):
    if n:
        queue.add({"n": n - 1})
    return n


queue = qdo.create("steps")
queue.add({"n": 3})
print(queue.do(func=step)["succeeded"])
"""


def through_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROVRUN_LOG", "always")
    monkeypatch.setenv("PROVRUN_SCRATCH", str(tmp_path))


@pytest.fixture(params=["sqlite", "postgresql", "log"])
def growing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    """Give a project of each kind: "log" is one whose registry is changed through the log."""
    if request.param == "log":
        through_the_log(monkeypatch, tmp_path)
    if request.param == "postgresql":
        monkeypatch.setenv("PROVRUN_URL", str(request.getfixturevalue("postgres_url")))
    runs: Runs = request.getfixturevalue("runs")
    return runs


def submissions(runs: Runs, name: str) -> list[SubmissionRecord]:
    registry = runs.registry()
    found = Reads(registry.database).submissions(runs._id(registry, name))
    registry.close()
    return found


def shell(*lines: str) -> Sequence[str]:
    return ["bash", "-ec", "\n".join(lines)]


# What tasks submit


def test_a_function_task_submits_the_next_level_of_its_own_map(growing: Runs) -> None:
    (growing.root / "levels.py").write_text(LEVELS)
    growing.submit("level", "levels.py:level", params=[{"depth": 5}])
    summary = growing.run("level")
    assert (summary.succeeded, summary.failed, summary.exit) == (6, 0, 0), growing.attempts("level", 0)
    assert [one.by for one in submissions(growing, "level")] == [None, *((1, n, 1) for n in range(5))]


def test_a_command_task_submits_the_next_level_of_its_own_map(growing: Runs) -> None:
    (growing.root / "level.py").write_text(COMMAND_LEVELS)
    growing.submit("level", [sys.executable, "level.py", "{depth}"], params=[{"depth": 5}])
    assert growing.run("level").succeeded == 6
    assert [one.by for one in submissions(growing, "level")] == [None, *((1, n, 1) for n in range(5))]


def test_a_command_task_submits_a_map_that_is_run_by_the_same_job(growing: Runs) -> None:
    growing.submit("seed", shell(f"{PROVRUN} submit leaf -q --param y={{x}},1{{x}} -- true"), 3)
    assert growing.run("seed").succeeded == 3 + 6
    assert growing.counts("leaf") == {"succeeded": 6}
    assert sorted(one.by or () for one in submissions(growing, "leaf")) == [(1, n, 1) for n in range(3)]


def test_tasks_on_other_hosts_submit_through_the_log(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    through_the_log(monkeypatch, tmp_path)
    # Under another name this host is another one: it must not open the registry, and has a replica of its own.
    elsewhere = f"PROVRUN_HOST=node{{x}} {PROVRUN}"
    runs.submit("seed", shell(f"{elsewhere} submit leaf -q --param y={{x}},1{{x}} -- true"), 3)
    assert runs.run("seed").succeeded == 3 + 6
    assert runs.counts("leaf") == {"succeeded": 6}
    assert sorted(one.by or () for one in submissions(runs, "leaf")) == [(1, n, 1) for n in range(3)]
    assert {path.name.partition("@")[2] for path in tmp_path.glob("provrun-*/*@*")} == {"node0", "node1", "node2"}


def test_a_task_finds_its_project_from_any_folder(runs: Runs, tmp_path: Path) -> None:
    runs.submit("seed", shell(f"cd {tmp_path}", f"{PROVRUN} submit leaf -q --param y=1,2 -- true"))
    assert runs.run().succeeded == 3
    assert not (tmp_path / ".provrun").exists()


def test_a_task_fans_out_to_a_thousand_tasks_of_another_map(growing: Runs) -> None:
    (growing.root / "fan.py").write_text(FAN)
    growing.submit("seed", "fan.py:seed")
    summary = growing.run("seed")
    assert (summary.succeeded, summary.exit) == (1001, 0), growing.attempts("seed", 0)
    assert growing.counts("leaf") == {"succeeded": 1000}


def test_tasks_of_two_slots_submit_to_the_same_map_at_once(growing: Runs) -> None:
    submit = f"{PROVRUN} submit leaf -q --param y=0:50 --param z={{x}},both -- true"
    growing.submit("seed", shell(submit), 4)
    assert growing.run("seed", slots=4).exit == 0
    # Each brings its own fifty; the fifty that are common to all are there once.
    assert growing.counts("leaf") == {"succeeded": 250}
    assert sum(one.added for one in submissions(growing, "leaf")) == 250


def test_a_map_handle_of_a_script_is_real_in_its_tasks(runs: Runs) -> None:
    (runs.root / "script.py").write_text(SCRIPT)
    runs.submit("start", "script.py:start", params=[{"x": 1}, {"x": 2}])
    assert runs.run("start").succeeded == 2 + 4, runs.attempts("start", 0)
    assert {runs.attempts("start", n)[0].result for n in range(2)} == {'[2,"note"]'}


def test_tasks_of_ranks_submit_tasks(runs: Runs, mpi: Launcher) -> None:
    runs.submit("seed", shell(f"{PROVRUN} submit leaf -q --param y={{x}},1{{x}} -- sleep 0.05"), 6)
    code, document, said = finished(runs.start("seed", "--mpi", "2", "-j", "1"), 90)
    errors = [one.error for index in range(6) for one in runs.attempts("seed", index) if one.error]
    assert (code, document["succeeded"], errors) == (0, 18, []), said
    assert runs.counts("leaf") == {"succeeded": 12}


def test_a_task_of_a_queue_adds_to_the_queue(runs: Runs) -> None:
    (runs.root / "steps.py").write_text(QUEUE)
    ran = subprocess.run(
        [sys.executable, "steps.py"], cwd=runs.root, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "4\n", ran.stderr
    assert [one.by for one in submissions(runs, "steps")][2:] == [(1, n, 1) for n in range(3)]


def test_a_job_ends_with_a_reason_when_what_its_tasks_submit_fits_nowhere(runs: Runs) -> None:
    runs.submit("seed", shell(f"{PROVRUN} submit wide -q --cores 64 --param y=1,2 -- true"))
    summary = runs.run("seed", slots=2)
    assert (summary.succeeded, summary.exit) == (1, 75)
    assert "cores" in summary.reason, summary.reason
    assert runs.counts("wide") == {"pending": 2}


# What is known of it


def test_who_submitted_is_shown_explained_and_traced(runs: Runs) -> None:
    runs.submit("seed", shell(f"{PROVRUN} submit leaf -q --param y={{x}},1{{x}} -- true"), 1)
    assert runs.run().exit == 0
    cli = Cli(runs.root)
    leaf = cli("show", "leaf/1", "--json").json
    assert leaf["submitted_by"] == "seed/0#1"
    assert [one["by"] for one in cli("show", "leaf", "--json").json["submissions"]] == ["seed/0#1"]
    for ref in ("seed/0", "seed/0#1"):
        (one,) = cli("show", ref, "--json").json["submitted"]
        assert (one["map"], one["first"], one["added"], one["attempt"]) == ("leaf", 0, 2, 1)
    assert "it was submitted by seed/0#1" in cli("why", "leaf/1").out
    assert "submitted by" not in cli("why", "seed/0").out
    edges = {(e["from"], e["relation"], e["to"]) for e in cli("trace", "leaf/1", "--json").json["edges"]}
    assert ("leaf/1#1", "was submitted by", "seed/0#1") in edges
    edges = {(e["from"], e["relation"], e["to"]) for e in cli("trace", "seed/0", "--down", "--json").json["edges"]}
    assert {("seed/0", "submitted", "leaf/0"), ("seed/0", "submitted", "leaf/1")} <= edges
    edges = {(e["from"], e["relation"], e["to"]) for e in cli("trace", "leaf", "--json").json["edges"]}
    assert ("leaf", "got 2 tasks from tasks of", "seed") in edges
    edges = {(e["from"], e["relation"], e["to"]) for e in cli("trace", "seed", "--down", "--json").json["edges"]}
    assert ("seed", "submitted 2 tasks of", "leaf") in edges


def test_the_variables_of_another_project_name_nobody(runs: Runs) -> None:
    runs.submit("seed", ["true"])
    assert runs.run().exit == 0
    strange = {"PROVRUN_ATTEMPT": "seed/0#1", "PROVRUN_JOB": "0" * 36 + "/0", "PROVRUN_PROJECT": str(runs.root)}
    assert Cli(runs.root)("submit", "leaf", "--", "true", **strange).exit == 0
    assert [one.by for one in submissions(runs, "leaf")] == [None]


# All or nothing


@pytest.mark.parametrize("growing", ["sqlite", "postgresql"], indirect=True)
def test_a_submitter_that_is_killed_has_submitted_all_or_nothing(growing: Runs, witness: Witness) -> None:
    # 60,000 tasks are three transactions; the task is killed while they are written, and tried again.
    submit = f"{PROVRUN} submit torn -q --param y=0:60000 --priority -1 -- true"
    growing.submit("seed", shell(witness.shell("$PROVRUN_ATTEMPT"), f"exec {submit}"), retries=1)
    process = growing.start("seed", "-j", "1")
    until(lambda: _staged(growing) > 0, "something was staged")
    for pid in processes_of("submit torn"):
        with suppress(FileNotFoundError, ProcessLookupError):  # of another test, and gone
            mine = Path(f"/proc/{pid}/cwd").resolve() == growing.root.resolve()
            if mine and "bash" not in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
    until(lambda: len(witness.lines()) == 2, "the task was tried again")
    # The second attempt may have to wait for locks of the first, a minute at most.
    until(lambda: growing.counts("seed") == {"succeeded": 1}, "the second attempt ended", patience=90)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    finished(process, 60)
    (submission,) = submissions(growing, "torn")
    assert (submission.added, submission.by) == (60000, (1, 0, 2))
    registry = growing.registry()
    assert registry.check() == []
    registry.close()


def _staged(runs: Runs) -> int:
    registry = runs.registry()
    found = registry.database.fetch("select count(*) from task t join map m on m.id=t.map_id where m.state=0")
    registry.close()
    return int(found[0][0])


def test_what_an_attempt_submitted_stays_when_it_fails(runs: Runs) -> None:
    runs.submit("seed", shell(f"{PROVRUN} submit leaf -q --param y=1,2 -- true", "exit 1"), retries=1)
    summary = runs.run("seed")
    assert (summary.succeeded, summary.failed, summary.exit) == (2, 1, 3)
    assert [(one.added, one.by) for one in submissions(runs, "leaf")] == [(2, (1, 0, 1))]


# What a running job takes in


def test_a_job_takes_in_maps_that_somebody_submits_while_it_runs(growing: Runs, witness: Witness) -> None:
    growing.submit("long", shell(witness.shell("began"), f"until [ -e {growing.root}/stop ]; do sleep 0.05; done"))
    process = growing.start("-j", "2")
    until(lambda: witness.lines() == ["began"], "it runs")
    growing.submit("later", ["true"], 5)
    until(lambda: growing.counts("later") == {"succeeded": 5}, "the new map was run")
    (growing.root / "stop").touch()
    code, document, _ = finished(process)
    assert (code, document["succeeded"]) == (0, 6)


def test_a_job_of_named_maps_leaves_other_maps_alone(runs: Runs, witness: Witness) -> None:
    runs.submit("long", shell(witness.shell("began"), f"until [ -e {runs.root}/stop ]; do sleep 0.05; done"))
    process = runs.start("long", "-j", "2")
    until(lambda: witness.lines() == ["began"], "it runs")
    runs.submit("later", ["true"], 5)
    time.sleep(3)  # longer than a job takes to look
    (runs.root / "stop").touch()
    assert finished(process)[0] == 0
    assert runs.counts("later") == {"pending": 5}


def test_a_job_runs_the_end_of_what_its_maps_had_submitted_before(runs: Runs) -> None:
    runs.submit("seed", shell(f"{PROVRUN} submit leaf -q --param y=1,2 -- false"))
    assert runs.run("seed").exit == 3
    Cli(runs.root)("retry", "leaf")
    assert runs.counts("leaf") == {"pending": 2}
    assert runs.run("seed").failed == 2


def test_a_policy_that_changes_while_a_job_runs_holds_for_what_begins_then(growing: Runs, witness: Witness) -> None:
    wait = f"until [ -e {growing.root}/{{x}} ]; do sleep 0.05; done"
    growing.submit("scan", shell(witness.shell("$PROVRUN_TASK $PROVRUN_CORES"), wait), 3)
    process = growing.start("-j", "2")
    until(lambda: len(witness.lines()) == 2, "two run")
    assert Cli(growing.root)("set", "scan", "--cores", "2", "--task-time", "500ms").exit == 0
    time.sleep(3)
    (growing.root / "0").touch()
    (growing.root / "1").touch()
    code, document, _ = finished(process)
    # The last one ran with two cores, and no longer than the new limit.
    assert witness.lines()[2] == "scan/2 2"
    assert (code, document["succeeded"], document["failed"]) == (3, 2, 1)
    assert [one.outcome.word for one in growing.attempts("scan", 2)] == ["timeout"]


def test_a_function_runs_with_the_policy_it_was_changed_to(runs: Runs) -> None:
    (runs.root / "waiting.py").write_text(
        "import os, time\n\n\ndef wait(x):\n    open(f'began{x}', 'w').close()\n"
        "    while not os.path.exists(str(x)):\n        time.sleep(0.05)\n    return int(os.environ['PROVRUN_CORES'])\n"
    )
    runs.submit("wait", "waiting.py:wait", 3)
    process = runs.start("-j", "2")
    until(lambda: (runs.root / "began0").exists() and (runs.root / "began1").exists(), "two run")
    assert Cli(runs.root)("set", "wait", "--cores", "2").exit == 0
    time.sleep(3)
    for x in range(3):
        (runs.root / str(x)).touch()
    assert finished(process)[0] == 0
    assert [runs.attempts("wait", x)[0].result for x in range(3)] == ["1", "1", "2"]
