"""Runs on several hosts that share no database: what one does the others see, and nothing is done twice.

A process that says it is on another host (``PROVRUN_HOST``) has a replica of its own and never opens the registry.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fixtures.replicas import close_and_be_killed
from fixtures.runs import Runs, finished, until
from fixtures.witness import Witness
from provrun.core.records import Dependency
from provrun.errors import Unavailable
from provrun.project.logs import open_log
from provrun.project.project import Project


@pytest.fixture(autouse=True)
def log(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a log at home, as `launch` does."""
    monkeypatch.setenv("PROVRUN_LOG", "always")
    monkeypatch.setenv("PROVRUN_SCRATCH", str(tmp_path / "scratch"))
    project = runs.project()
    assert open_log(project)
    project.close()


def provrun(runs: Runs, host: str, verb: str, *words: str) -> dict[str, Any]:
    """Run a command as on a host and give its document."""
    done = subprocess.run(
        [sys.executable, "-m", "provrun", verb, "--json", *words], cwd=runs.root, capture_output=True, text=True,
        env={**os.environ, "PROVRUN_HOST": host}, check=False, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def work(witness: Witness, seconds: float) -> list[str]:
    return ["sh", "-c", f"sleep {seconds}; {witness.shell('$PROVRUN_TASK')}; echo {{x}}"]


def counts(runs: Runs, name: str, host: str = "") -> dict[str, int]:
    [found] = provrun(runs, host, "status", name)["maps"]
    return {state: n for state, n in found["ntasks"].items() if n}


def log_folder(runs: Runs) -> Path:
    return runs.root / ".provrun" / "log"


def test_three_jobs_share_a_map_and_its_reduce(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", work(witness, 0.4), 36)
    runs.submit("total", ["sh", "-c", f"{witness.shell('total')}; wc -l < {{scan.rows}}"], params=[{}],
                on=[Dependency(upstream="scan", kind="all")])
    started = [runs.start("-j", "2", PROVRUN_HOST=host) for host in ("", "b", "c")]
    until(witness.lines, "the first task")
    ended = [finished(one, 90) for one in started]
    assert {code for code, _, _ in ended} <= {0, 75}
    assert sum(document["succeeded"] for _, document, _ in ended) == 37
    assert sum(document["succeeded"] > 0 for _, document, _ in ended) > 1
    assert witness.counts() == Counter([*(f"scan/{n}" for n in range(36)), "total"])
    assert (runs.counts("scan"), runs.counts("total")) == ({"succeeded": 36}, {"succeeded": 1})
    # The last job that ended at home, or the first question there, has closed the log.
    assert provrun(runs, "", "status")["maps"][1]["state"] == "succeeded"
    assert [path.name for path in log_folder(runs).iterdir()] == ["opening"]
    assert provrun(runs, "", "verify")["ok"]


def test_a_reduce_becomes_ready_in_another_job_with_nobody_at_home(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", work(witness, 3.0), 4)
    runs.submit("total", ["sh", "-c", "wc -l < {scan.rows}"], params=[{}],
                on=[Dependency(upstream="scan", kind="all")])
    runs.submit("busy", ["sleep", "0.5"], 14)
    first = runs.start("scan", "-j", "4", PROVRUN_HOST="b")
    until(lambda: counts(runs, "scan").get("running") == 4, "all of scan claimed")
    second = runs.start("total", "busy", "-j", "1", PROVRUN_HOST="c")
    (code, document, _), (other, others, _) = finished(first, 60), finished(second, 60)
    assert (code, document["succeeded"]) == (0, 4)
    assert (other, others["succeeded"]) == (0, 15)
    assert runs.counts("total") == {"succeeded": 1}


def test_changes_from_elsewhere_reach_a_running_job(runs: Runs, witness: Witness) -> None:
    # The job waits at one task until all changes have been asked for.
    words = work(witness, 0.5)
    words[-1] += "; if [ {x} = 8 ]; then until [ -e gate ]; do sleep 0.1; done; fi"
    runs.submit("scan", words, 12)
    runs.submit("other", work(witness, 0.1), 3)
    provrun(runs, "d", "pause", "other")
    job = runs.start("-j", "1", PROVRUN_HOST="b")
    until(witness.lines, "the first task")
    changed = provrun(runs, "c", "cancel", "scan/11")
    assert changed["changed"] == 1
    provrun(runs, "", "cancel", "scan/10")
    provrun(runs, "", "set", "scan", "--where", "x == 9", "--priority", "5")
    provrun(runs, "c", "submit", "late", "--param", "x=0:2", "--", *work(witness, 0.1))
    provrun(runs, "d", "resume", "other")
    (runs.root / "gate").touch()
    seen = counts(runs, "scan", "e")
    assert seen["cancelled"] == 2 and seen["succeeded"] >= 1
    code, _, _ = finished(job, 60)
    assert code in (0, 75)
    assert runs.counts("scan") == {"succeeded": 10, "cancelled": 2}
    assert runs.counts("other") == {"succeeded": 3}
    assert runs.counts("late") == {"succeeded": 2}
    assert set(witness.counts().values()) == {1} and len(witness.counts()) == 15


def test_a_retry_from_elsewhere_is_run_by_a_job_that_goes_on(runs: Runs, tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    runs.submit("scan", ["sh", "-c", f"test -e {flag}"], 2)
    runs.submit("busy", ["sleep", "0.4"], 16)
    job = runs.start("-j", "1", PROVRUN_HOST="b")
    until(lambda: counts(runs, "scan").get("failed") == 2, "both have failed")
    flag.touch()
    assert provrun(runs, "c", "retry", "scan")["changed"] == 2
    code, _, _ = finished(job, 60)
    assert code == 0
    assert runs.counts("scan") == {"succeeded": 2}
    assert [len(runs.attempts("scan", n)) for n in (0, 1)] == [2, 2]


def test_results_are_seen_from_every_host_within_seconds(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", work(witness, 0.3), 10)
    job = runs.start("-j", "1", PROVRUN_HOST="b")
    for host in ("", "c"):
        before = len(witness.lines())
        until(lambda n=before: len(witness.lines()) > n, "another task")
        done = len(witness.lines())
        began = time.monotonic()
        until(lambda h=host, n=done: counts(runs, "scan", h).get("succeeded", 0) >= n, "its result is seen")
        assert time.monotonic() - began < 10
    assert finished(job, 60)[0] == 0


def test_other_hosts_never_touch_the_registry(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", work(witness, 0.05), 6)
    file = runs.root / ".provrun" / "registry.sqlite"
    before = file.read_bytes(), file.stat().st_mtime_ns
    assert finished(runs.start("-j", "2", PROVRUN_HOST="b"), 60)[0] == 0
    provrun(runs, "c", "submit", "more", "--param", "x=0:2", "--", "echo", "{x}")
    provrun(runs, "c", "cancel", "more/1")
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert (runs.counts("scan"), runs.counts("more")) == ({"succeeded": 6}, {"pending": 1, "cancelled": 1})
    assert file.read_bytes() != before[0]


def test_a_change_is_called_requested_until_jobs_have_seen_it(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", work(witness, 0.5), 12)
    job = runs.start("-j", "1", PROVRUN_HOST="b")
    until(witness.lines, "the first task")
    said = subprocess.run(
        [sys.executable, "-m", "provrun", "cancel", "scan/11"], cwd=runs.root, capture_output=True, text=True,
        check=True,
    ).stdout
    assert "1 task cancelled (scan)" in said and "requested: job 1 on" in said
    project = Project.find(runs.root)
    registry = project.registry
    [one] = registry.running_jobs()
    position = registry.position
    assert position is not None
    until(lambda: registry.acknowledged(one.uuid, position), "the job has seen it")
    project.close()
    assert finished(job, 60)[0] in (0, 75)


def test_a_job_that_was_stopped_and_taken_over_is_superseded_when_it_wakes(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", work(witness, 0.3), 8)
    job = runs.start("-j", "2", PROVRUN_HOST="b")
    until(witness.lines, "the first task")
    job.send_signal(signal.SIGSTOP)
    project = Project.find(runs.root)
    [one] = project.registry.running_jobs()
    assert project.registry.abandon(one.id, time.time_ns() // 1000) > 0
    project.close()
    code, document, _ = finished(runs.start("-j", "4", PROVRUN_HOST="c"), 60)
    assert code == 0 and document["succeeded"] > 0
    job.send_signal(signal.SIGCONT)
    assert job.wait(30) != 0
    job.communicate()
    assert runs.counts("scan") == {"succeeded": 8}
    for index in range(8):
        outcomes = [attempt.outcome.name for attempt in runs.attempts("scan", index)]
        assert outcomes.count("SUCCEEDED") >= 1
    tasks = runs.tasks("scan")
    assert all(task.accepted == task.attempts for task in tasks)
    assert provrun(runs, "", "verify")["ok"]


def test_a_task_on_another_host_submits(runs: Runs) -> None:
    line = f"{sys.executable} -m provrun submit grown --param y=0:3 -- echo '{{y}}'"
    runs.submit("seed", ["sh", "-c", line.replace("{", "{{").replace("}", "}}")], params=[{}])
    code, _, told = finished(runs.start("-j", "1", PROVRUN_HOST="b"), 60)
    assert code == 0, told
    assert runs.counts("grown") == {"succeeded": 3}
    found = provrun(runs, "", "show", "grown/0")
    assert "seed/0" in json.dumps(found)


def test_a_killed_job_elsewhere_is_recovered_and_its_tasks_run_again(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", work(witness, 0.3), 10)
    for host in ("b", "c"):
        job = runs.start("-j", "2", PROVRUN_HOST=host)
        before = len(witness.lines())
        until(lambda n=before: len(witness.lines()) > n + 1, "some tasks")
        job.kill()
        job.communicate()
    code, _, _ = finished(runs.start("-j", "2", PROVRUN_HOST="b"), 60)
    assert code == 0
    assert runs.counts("scan") == {"succeeded": 10}
    for index in range(10):
        outcomes = [attempt.outcome.name for attempt in runs.attempts("scan", index)]
        assert outcomes.count("SUCCEEDED") == 1 and set(outcomes) <= {"SUCCEEDED", "LOST"}
    files = sum(1 for path in log_folder(runs).glob("*/*"))
    assert files < 100


def test_a_log_whose_end_is_known_here_only_is_closed_and_the_run_goes_on(
    runs: Runs, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.submit("scan", work(witness, 0), 4)
    [uuid] = [path.name for path in log_folder(runs).iterdir() if path.is_dir()]
    provrun(runs, "b", "status")  # which leaves a replica there
    home = runs.project()
    home.registry.fold()
    close_and_be_killed(home.registry, log_folder(runs) / uuid)
    home.close()
    monkeypatch.setenv("PROVRUN_HOST", "b")
    away = runs.project()
    with pytest.raises(Unavailable):
        away.registry.fold()  # so the replica is at the end, and nothing but this tells the registry
    assert away.registry.position is None and not (log_folder(runs) / uuid).exists()
    away.close()
    monkeypatch.delenv("PROVRUN_HOST")
    assert provrun(runs, "b", "run")["succeeded"] == 4
    assert counts(runs, "scan") == {"succeeded": 4}
    assert sorted(witness.lines()) == [f"scan/{x}" for x in range(4)]


def test_a_log_that_a_host_opened_which_is_gone_is_closed_by_another_one(runs: Runs, witness: Witness) -> None:
    project = runs.project()
    project.registry.finish()
    project.close()
    runs.submit("scan", work(witness, 0.1), 3)
    code, _, _ = finished(runs.start("-j", "1", PROVRUN_HOST="gone"), 60)
    assert code == 0
    # It closed the log itself, being the last one. One that was killed does not.
    runs.submit("more", work(witness, 2.0), 3)
    job = runs.start("-j", "1", PROVRUN_HOST="gone")
    until(lambda: len(witness.lines()) > 3, "a task of the second map")
    job.kill()
    job.communicate()
    assert sum(counts(runs, "more", "b").values()) == 3
    assert provrun(runs, "b", "recover")["changed"] > 0
    assert counts(runs, "more", "b").get("running", 0) == 0
    assert [path.name for path in log_folder(runs).iterdir()] == ["opening"]
    code, _, _ = finished(runs.start("-j", "3", PROVRUN_LOG="never"), 60)
    assert code == 0 and runs.counts("more") == {"succeeded": 3}
