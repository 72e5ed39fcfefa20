"""PostgreSQL goes away while a job runs: no task fails, nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from fixtures.cli import Cli
from fixtures.mounts import Mounts, provrun, tmpfs
from fixtures.postgres import Server
from fixtures.runs import Runs, finished, until
from fixtures.witness import Witness
from provrun.core.records import Dependency
from provrun.store.reads import Reads

AWAY = 6.0  # seconds; with LONG_TESTS two minutes
_numbers = count(1)


@pytest.fixture
def away() -> float:
    return 120.0 if os.environ.get("LONG_TESTS") else AWAY


@pytest.fixture
def server(stoppable_postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Give a running server and let new projects have their registry there."""
    stoppable_postgres.stop()
    stoppable_postgres.start()
    monkeypatch.setenv("PROVRUN_URL", stoppable_postgres.make(f"away_{next(_numbers)}"))
    yield stoppable_postgres
    stoppable_postgres.stop()
    stoppable_postgres.start()


@pytest.fixture
def study(server: Server, runs: Runs) -> Runs:
    """Give a project in that server; at the end everything is sound."""
    return runs


def sleepers(study: Runs, witness: Witness, n: int, seconds: float) -> None:
    line = f"{witness.shell('$PROVRUN_ATTEMPT')}; sleep {seconds}; echo {{x}}"
    study.submit("scan", ["bash", "-c", line], n)


def outboxes(study: Runs) -> list[Path]:
    return sorted((study.root / ".provrun" / "log").glob("outbox-*"))


def agree(study: Runs, witness: Witness, n: int) -> None:
    """Compare what ran with what is recorded: each task once, each attempt once."""
    registry = study.registry()
    map = registry.find_map("scan")
    assert map is not None
    reads = Reads(registry.database)
    attempts = [attempt for index in range(n) for attempt in reads.attempts(map.id, index)]
    accepted = [task.accepted for task in registry.tasks(map.id)]
    problems = registry.check()
    registry.close()
    assert problems == []
    ran = Counter(witness.lines())
    recorded = Counter(f"scan/{one.index}#{one.number}" for one in attempts if one.outcome.word == "succeeded")
    assert recorded == ran
    assert set(recorded.values()) == {1}
    assert len(accepted) == n
    assert all(accepted)


def started(study: Runs, witness: Witness, *words: str, at_least: int = 2) -> subprocess.Popen[str]:
    process = study.start("-j", "2", *words)
    until(lambda: len(witness.lines()) >= at_least, "tasks run")
    return process


def test_a_server_that_is_stopped_and_started_costs_only_time(
    study: Runs, server: Server, witness: Witness, away: float
) -> None:
    sleepers(study, witness, 40, 0.3)
    process = started(study, witness)
    server.stop()
    until(lambda: outboxes(study), "results are kept")
    before = len(witness.lines())
    time.sleep(away)
    ran = len(witness.lines())
    server.start()
    code, document, said = finished(process, 60)
    assert (code, document["succeeded"], document["failed"], document["lost"]) == (0, 40, 0, 0), said
    # What had been claimed went on, and nothing more could begin.
    assert 2 <= before <= ran < 40
    assert said.count("the database is away") == 1, said
    assert said.count("the database is back") == 1, said
    agree(study, witness, 40)
    assert outboxes(study) == []


def test_a_crash_of_the_server_is_no_different(study: Runs, server: Server, witness: Witness) -> None:
    sleepers(study, witness, 20, 0.2)
    process = started(study, witness)
    server.stop(signal.SIGQUIT)
    time.sleep(2)
    server.start()
    code, document, said = finished(process, 60)
    assert (code, document["succeeded"], document["lost"]) == (0, 20, 0), said
    agree(study, witness, 20)


def test_it_is_the_same_where_every_change_goes_through_the_log(
    study: Runs, server: Server, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVRUN_LOG", "always")
    sleepers(study, witness, 30, 0.2)
    process = started(study, witness)
    server.stop()
    until(lambda: outboxes(study), "results are kept")
    time.sleep(2)
    server.start()
    code, document, said = finished(process, 60)
    assert (code, document["succeeded"], document["lost"]) == (0, 30, 0), said
    agree(study, witness, 30)
    assert outboxes(study) == []


@pytest.mark.usefixtures("mpi")
def test_ranks_work_on_while_the_database_is_away(study: Runs, server: Server, witness: Witness) -> None:
    sleepers(study, witness, 24, 0.3)
    process = study.start("--mpi", "2", "-j", "1")
    until(lambda: len(witness.lines()) >= 2, "tasks run")
    server.stop()
    until(lambda: outboxes(study), "results are kept")
    time.sleep(2)
    server.start()
    code, document, said = finished(process, 90)
    assert (code, document["succeeded"], document["lost"]) == (0, 24, 0), said
    agree(study, witness, 24)


def test_connections_that_are_cut_again_and_again_are_made_anew(study: Runs, server: Server, witness: Witness) -> None:
    sleepers(study, witness, 60, 0.05)
    process = started(study, witness)
    while process.poll() is None:
        server.cut()
        time.sleep(0.15)
    code, document, said = finished(process, 60)
    assert (code, document["succeeded"], document["failed"]) == (0, 60, 0), said
    agree(study, witness, 60)


def test_results_of_a_map_that_was_not_captured_yet_are_kept_too(
    study: Runs, server: Server, witness: Witness
) -> None:
    # The first result of each map comes while the database is away, so nothing of its circumstances has an id.
    sleepers(study, witness, 2, 1.0)
    process = started(study, witness)
    server.stop()
    until(lambda: outboxes(study), "results are kept")
    time.sleep(1)
    server.start()
    code, document, said = finished(process, 60)
    assert (code, document["succeeded"]) == (0, 2), said
    agree(study, witness, 2)


def test_what_waits_for_kept_results_runs_when_the_database_is_back(
    study: Runs, server: Server, witness: Witness
) -> None:
    sleepers(study, witness, 4, 0.3)
    study.submit("after", ["true"], 1, on=[Dependency(upstream="scan", kind="after")])
    process = started(study, witness)
    server.stop()
    until(lambda: len(witness.lines()) == 4, "all run")
    time.sleep(1)
    server.start()
    code, document, said = finished(process, 60)
    assert (code, document["succeeded"]) == (0, 5), said


def test_a_manager_that_is_killed_meanwhile_leaves_what_its_tasks_gave(
    study: Runs, server: Server, witness: Witness
) -> None:
    sleepers(study, witness, 8, 0.5)
    process = started(study, witness)
    server.stop()
    until(lambda: _entries(study) >= 2, "results are kept")
    process.kill()
    process.communicate()
    server.start()
    ran = len(witness.lines())
    again = Cli(study.root)("run", "--json")
    assert again.exit == 0, again.err
    assert outboxes(study) == []
    registry = study.registry()
    reads = Reads(registry.database)
    attempts = [one for index in range(8) for one in reads.attempts(1, index)]
    assert registry.check() == []
    registry.close()
    succeeded = Counter(one.index for one in attempts if one.outcome.word == "succeeded")
    assert succeeded == dict.fromkeys(range(8), 1)
    # What was kept did not run again: at most the two that were running when the manager died did.
    lost = sum(one.outcome.word == "lost" for one in attempts)
    assert len(witness.lines()) <= 8 + 2
    assert again.json["succeeded"] < 8
    assert ran < 8 + lost


def _entries(study: Runs) -> int:
    return sum(1 for folder in outboxes(study) for path in folder.iterdir() if path.name.isdigit()) - 1


def test_an_outbox_is_folded_by_recover_and_only_once(study: Runs, server: Server, witness: Witness) -> None:
    sleepers(study, witness, 4, 0.3)
    process = started(study, witness)
    server.stop()
    until(lambda: _entries(study) >= 2, "results are kept")
    process.kill()
    process.communicate()
    (folder,) = outboxes(study)
    copy = study.root / "copy"
    shutil.copytree(folder, copy)
    server.start()
    cli = Cli(study.root)
    assert cli("recover").exit == 0
    once = cli("tasks", "scan", "--json").out
    shutil.copytree(copy, folder)  # as if nobody had come to removing it
    assert cli("recover").exit == 0
    assert json.loads(cli("tasks", "scan", "--json").out) == json.loads(once)
    assert outboxes(study) == []
    assert cli("run").exit == 0


def test_a_job_that_is_stopped_while_the_database_is_away_ends(study: Runs, server: Server, witness: Witness) -> None:
    sleepers(study, witness, 30, 0.4)
    process = started(study, witness)
    server.stop()
    until(lambda: outboxes(study), "results are kept")
    process.send_signal(signal.SIGINT)
    code, _, said = finished(process, 30)
    assert code == 130, said
    assert "the next provrun run or recover records it" in said
    server.start()
    assert Cli(study.root)("run").exit == 0
    agree(study, witness, 30)
    assert outboxes(study) == []


def test_without_its_database_nothing_starts(study: Runs, server: Server, witness: Witness) -> None:
    sleepers(study, witness, 2, 0.0)
    server.stop()
    cli = Cli(study.root)
    for words in (["run"], ["status"], ["submit", "other", "--", "true"], ["recover"]):
        done = cli(words[0], "--json", *words[1:])
        assert (done.exit, done.error["code"]) == (69, "unavailable"), words
        assert "the database does not answer" in done.error["message"]
        assert done.error["next"]
    assert witness.lines() == []
    server.start()


def test_a_task_that_submits_waits_for_the_database(study: Runs, server: Server, witness: Witness) -> None:
    line = (
        f"{witness.shell('$PROVRUN_ATTEMPT')}; until [ -e {study.root}/gone ]; do sleep 0.05; done;"
        f" {sys.executable} -m provrun submit leaf -q --param y=0:5 -- true"
    )
    study.submit("seed", ["bash", "-ec", line])
    process = started(study, witness, at_least=1)
    server.stop()
    (study.root / "gone").touch()
    time.sleep(3)
    server.start()
    code, document, said = finished(process, 60)
    assert (code, document["succeeded"], document["failed"]) == (0, 6, 0), said


def test_a_full_disk_meanwhile_ends_the_job_and_keeps_what_was_kept(
    study: Runs, server: Server, witness: Witness, mounts: Mounts
) -> None:
    sleepers(study, witness, 80, 0.1)
    log, kept = study.root / ".provrun" / "log", study.root.parent / "kept"
    log.mkdir(exist_ok=True)
    words = shlex.join(provrun("run", "-j", "2", "--json"))
    script = f"set -e; {tmpfs(log, '24k')}; code=0; {words} || code=$?; cp -a {log} {kept}; exit $code"
    process = subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", script], cwd=mounts.root, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    until(lambda: len(witness.lines()) >= 10, "tasks run, and many are claimed")
    server.stop()
    code, document, said = finished(process, 60)
    assert (code, document["error"]["code"]) == (74, "io"), said
    assert "cannot be kept" in document["error"]["message"]
    # What was kept moves to where it belongs.
    shutil.copytree(kept, log, dirs_exist_ok=True)
    entries = _entries(study)
    assert entries >= 1
    server.start()
    again = Cli(study.root)("run", "--json")
    assert (again.exit, study.counts("scan")) == (0, {"succeeded": 80}), again.err
    assert outboxes(study) == []
    outcomes = Counter(one.outcome.word for index in range(80) for one in study.attempts("scan", index))
    assert outcomes["succeeded"] == 80
    assert set(outcomes) <= {"succeeded", "lost", "cancelled"}
    assert again.json["succeeded"] <= 80 - entries


@pytest.mark.parametrize("seed", range(int(os.environ.get("AWAY_SEEDS", "2"))))
def test_whatever_happens_to_database_and_managers_every_task_succeeds_once(
    study: Runs, server: Server, witness: Witness, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    choose = random.Random(seed)
    if seed % 2:
        monkeypatch.setenv("PROVRUN_LOG", "always")
    sleepers(study, witness, 60, 0.1)
    study.submit("sum", ["true"], 1, on=[Dependency(upstream="scan", kind="all")])
    up = True
    for _ in range(4):
        process = study.start("-j", "2")
        for _ in range(choose.randint(1, 4)):
            time.sleep(choose.uniform(0.1, 1.5))
            what = choose.choice(["cut", "down", "up", "crash"])
            if what == "cut" and up:
                server.cut()
            elif what == "up" and not up:
                server.start()
                up = True
            elif what in ("down", "crash") and up:
                server.stop(signal.SIGINT if what == "down" else signal.SIGQUIT)
                up = False
        if not up and choose.random() < 0.5:
            server.start()
            up = True
        time.sleep(choose.uniform(0.0, 1.0))
        if choose.random() < 0.5:
            process.kill()
        for _ in range(choose.randint(1, 3)):
            process.send_signal(signal.SIGINT)
            time.sleep(choose.uniform(1.0, 1.5))  # sooner they count as one
        process.communicate(timeout=60)
    if not up:
        server.start()
    done = Cli(study.root)("run", "--json")
    assert (done.exit, study.counts("scan"), study.counts("sum")) == (0, {"succeeded": 60}, {"succeeded": 1}), done
    assert outboxes(study) == []
    registry = study.registry()
    reads = Reads(registry.database)
    began = Counter(line.partition("#")[0] for line in witness.lines())
    for task in registry.tasks(study._id(registry, "scan")):
        attempts = reads.attempts(task.map, task.index)
        assert [one.number for one in attempts] == list(range(1, task.attempts + 1))
        ended_well = [one.number for one in attempts if one.outcome.word == "succeeded"]
        assert task.accepted in ended_well
        again = sum(one.outcome.word in ("lost", "cancelled") or one.number != task.accepted for one in attempts)
        assert began[f"scan/{task.index}"] <= 1 + again, (task, attempts)
    assert registry.check() == []
    registry.close()
