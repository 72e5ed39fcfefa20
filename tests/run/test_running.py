"""Whole runs on this host: real commands, a real registry, one process tree."""

from __future__ import annotations

import sys

import pytest

from fixtures.runs import Runs, finished, until
from fixtures.witness import Witness
from provrun.core.records import Dependency
from provrun.core.states import Outcome, State
from provrun.errors import NotFound
from provrun.project.running import MaxFails
from provrun.store.reads import Reads


def test_every_task_runs_once_and_is_recorded_with_what_it_was(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}") + "; echo {x}"], 30)
    summary = runs.run("scan")
    assert (summary.succeeded, summary.failed, summary.exit) == (30, 0, 0)
    assert summary.tasks_per_second > 0
    assert witness.counts() == {str(x): 1 for x in range(30)}
    assert runs.counts("scan") == {"succeeded": 30}
    (attempt,) = runs.attempts("scan", 7)
    assert (attempt.outcome, attempt.result) == (Outcome.SUCCEEDED, "7")
    assert attempt.started
    assert attempt.wall is not None
    registry = runs.registry()
    reads = Reads(registry.database)
    context = reads.context(attempt.context)
    job = reads.jobs()[0]
    code = reads.code(context.code)
    registry.close()
    assert (context.job, context.rank) == (job.id, 0)
    assert (job.state, job.kind, job.slots, job.ranks) == ("ended", "local", 2, 1)
    assert code.code.commit is not None


def test_running_again_when_all_is_done_does_nothing(runs: Runs, witness: Witness) -> None:
    runs.submit("scan", ["sh", "-c", witness.shell("{x}")], 3)
    runs.run()
    summary = runs.run()
    assert (summary.job, summary.succeeded, summary.exit) == (None, 0, 0)
    assert len(witness.lines()) == 3


def test_an_unknown_map_is_not_found_and_leaves_nothing_behind(runs: Runs) -> None:
    runs.submit("scan", ["true"], 1)
    with pytest.raises(NotFound):
        runs.run("scam")
    assert list((runs.root / ".provrun" / "jobs").iterdir()) == []


def test_only_the_maps_named_and_what_they_build_on_run(runs: Runs) -> None:
    runs.submit("a", ["true"], 2)
    runs.submit("b", ["true"], on=[Dependency(upstream="a", kind="each")], params=[{}])
    runs.submit("other", ["true"], 2)
    assert runs.run("b").succeeded == 4
    assert runs.counts("other") == {"pending": 2}


def test_a_failing_task_is_tried_again_as_often_as_its_map_says(runs: Runs, witness: Witness) -> None:
    runs.submit("bad", ["sh", "-c", witness.shell("{x}") + "; exit 7"], 2, retries=2)
    summary = runs.run()
    assert (summary.failed, summary.exit) == (2, 3)
    assert witness.counts() == {"0": 3, "1": 3}
    attempts = runs.attempts("bad", 0)
    assert [(attempt.number, attempt.outcome, attempt.detail) for attempt in attempts] == [
        (number, Outcome.EXIT, 7) for number in (1, 2, 3)
    ]
    (task, _) = runs.tasks("bad")
    assert (task.state, task.fails, task.attempts) == (State.FAILED, 3, 3)


def test_a_timeout_is_tried_again_with_more_time(runs: Runs) -> None:
    runs.submit("slow", ["sleep", "0.5"], 1, task_time=0.2, retries=2, retry_time=10.0)
    assert runs.run().succeeded == 1
    assert [attempt.outcome for attempt in runs.attempts("slow", 0)] == [Outcome.TIMEOUT, Outcome.SUCCEEDED]


def test_larger_priority_runs_first(runs: Runs, witness: Witness) -> None:
    runs.submit("late", ["sh", "-c", witness.shell("late")], 3)
    runs.submit("early", ["sh", "-c", witness.shell("early")], 3, priority=5)
    runs.run(slots=1)
    assert witness.lines() == ["early"] * 3 + ["late"] * 3


def test_what_builds_on_a_map_runs_when_it_is_there(runs: Runs, witness: Witness) -> None:
    runs.submit("a", ["sh", "-c", witness.shell("a")], 4)
    runs.submit("b", ["sh", "-c", witness.shell("b")], on=[Dependency(upstream="a", kind="all")], params=[{}])
    assert runs.run().succeeded == 5
    assert witness.lines() == ["a"] * 4 + ["b"]


def test_a_reduce_reads_the_rows_of_the_map_it_builds_on(runs: Runs) -> None:
    runs.submit("a", ["sh", "-c", "echo $(({x} * 2))"], 5)
    script = "import json,sys; print(sum(json.loads(line)['result'] for line in open(sys.argv[1])))"
    runs.submit("sum", ["python3", "-c", script, "{a.rows}"], on=[Dependency(upstream="a", kind="all")], params=[{}])
    assert runs.run().succeeded == 6
    (attempt,) = runs.attempts("sum", 0)
    assert attempt.result == "20"
    assert list((runs.root / ".provrun" / "tmp").glob("*-rows")) == []


def test_the_result_of_a_task_flows_into_the_one_that_builds_on_it(runs: Runs) -> None:
    runs.submit("a", ["sh", "-c", "echo $(({x} + 10))"], 3)
    runs.submit("b", ["sh", "-c", "echo $(({a.result} * {y}))"], on=[Dependency(upstream="a", kind="each")],
                params=[{"y": 2}, {"y": 3}])  # fmt: skip
    assert runs.run().succeeded == 9
    assert sorted(int(str(runs.attempts("b", index)[0].result)) for index in range(6)) == [20, 22, 24, 30, 33, 36]


def test_what_waits_for_a_failed_task_is_left_and_the_run_says_so(runs: Runs) -> None:
    runs.submit("a", ["sh", "-c", "exit {x}"], 2)
    runs.submit("b", ["true"], on=[Dependency(upstream="a", kind="all")], params=[{}])
    summary = runs.run()
    assert (summary.succeeded, summary.failed, summary.exit) == (1, 1, 3)
    assert runs.counts("b") == {"waiting": 1}


def test_only_blocked_tasks_left_is_stopped_early(runs: Runs) -> None:
    runs.submit("a", ["true"], 1)
    runs.submit("b", ["true"], on=[Dependency(upstream="a", kind="all")], params=[{}])
    registry = runs.registry()
    registry.cancel(1, None)
    registry.close()
    summary = runs.run()
    assert (summary.exit, summary.reason) == (75, "1 task is waiting for others")


def test_enough_failures_stop_the_run(runs: Runs) -> None:
    runs.submit("bad", ["false"], 500)
    summary = runs.run(slots=1, max_fails=MaxFails(3))
    assert summary.exit == 75
    assert summary.reason
    assert 3 <= summary.failed < 400
    assert runs.counts("bad")["pending"] == 500 - summary.failed


def test_a_share_of_failures_is_one_of_all_tasks() -> None:
    assert MaxFails(5, percent=True).of(1000) == 50
    assert MaxFails(5, percent=True).of(3) == 1
    assert MaxFails(7).of(1000) == 7


def test_a_task_wider_than_the_slots_is_left_and_the_run_stops_early(runs: Runs) -> None:
    runs.submit("wide", ["true"], 2, cores=3)
    runs.submit("narrow", ["true"], 2)
    summary = runs.run(slots=2)
    assert (summary.succeeded, summary.exit) == (2, 75)
    assert "2 slots" in summary.reason
    assert runs.counts("wide") == {"pending": 2}


def test_code_that_changed_since_submission_is_said_and_recorded(runs: Runs) -> None:
    runs.submit("scan", [sys.executable, "analysis.py"], 1)
    (runs.root / "analysis.py").write_text("changed = True\n")
    runs.run()
    assert [text for text in runs.heard.told if "other code" in text and "(analysis.py)" in text]
    registry = runs.registry()
    reads = Reads(registry.database)
    (attempt,) = reads.attempts(1, 0)
    ran, submitted = reads.context(attempt.context).code, reads.digest_of("code", reads.maps()[0].code)
    registry.close()
    assert ran != submitted


def test_a_change_of_what_a_map_does_not_use_is_recorded_and_not_said(runs: Runs) -> None:
    runs.submit("scan", ["true"], 1)
    (runs.root / "analysis.py").write_text("changed = True\n")
    runs.run()
    assert runs.heard.told == []


def test_nothing_is_said_when_the_code_is_that_of_the_submission(runs: Runs) -> None:
    runs.submit("scan", ["true"], 1)
    runs.run()
    assert runs.heard.told == []


def test_code_edited_while_it_runs_is_the_code_of_what_ran_after(runs: Runs) -> None:
    module = runs.root / "slow.py"
    wait = "import time, pathlib\ndef f(x):\n    time.sleep(0.05)\n    pathlib.Path(f'began-{x}').touch()\n"
    module.write_text(f"{wait}    return 1\n")
    runs.submit("scan", "slow.py:f", 60)
    process = runs.start("-j", "1")
    until((runs.root / "began-5").exists, "some tasks ended")
    module.write_text(f"{wait}    return 2\n")
    code, _, _ = finished(process)
    assert code == 0
    registry = runs.registry()
    reads = Reads(registry.database)
    attempts = [reads.attempts(1, index)[0] for index in range(60)]
    codes = {attempt.result: reads.context(attempt.context).code for attempt in attempts}
    registry.close()
    assert {attempt.result for attempt in attempts} == {"1", "2"}
    assert codes["1"] != codes["2"]


def test_progress_is_shown_while_tasks_run(runs: Runs) -> None:
    runs.submit("scan", ["sleep", "0.3"], 4)
    runs.run(slots=2)
    assert any(shown.succeeded for shown in runs.heard.watched)


def test_cancelling_a_running_task_ends_it(runs: Runs, witness: Witness) -> None:
    runs.submit("long", ["sh", "-c", witness.shell("{x}") + "; exec sleep 60"], 1)
    process = runs.start()
    until(witness.lines, "the task began")
    registry = runs.registry()
    registry.cancel(1, None)
    registry.close()
    code, document, _ = finished(process)
    assert (code, document["succeeded"]) == (0, 0)
    assert runs.counts("long") == {"cancelled": 1}
