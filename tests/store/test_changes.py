"""What a person changes later: limits, priorities, cancelling, pausing, deleting; and what a job holds meanwhile."""

from __future__ import annotations

import pytest

from fixtures.study import AT, Study, grid
from provrun.core.records import Dependency, Limits, Policy
from provrun.core.states import State
from provrun.errors import NotFound, Refused
from provrun.store.reads import Reads
from provrun.store.registry import Registry


def test_retrying_gives_all_retries_back_and_multiplies_the_limits(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=2))
    map = study.id("scan")
    any_registry.set_policy(map, Policy(task_time=10.0, task_memory=1000))
    job = study.job()
    study.fail(job, study.claim(job, "scan"))
    assert any_registry.retry(map, [1], time=2, memory=None) == 1
    assert any_registry.retry(map, None, time=3, memory=1.5) == 1
    first, second = study.claim(job, "scan")
    assert (first.limits, first.fails) == (Limits(30.0, 1500), 0)
    assert (second.limits, second.number) == (Limits(20.0, 1000), 2)


def test_limits_are_multiplied_again_at_every_retry(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=1))
    map = study.id("scan")
    any_registry.set_policy(map, Policy(task_time=1.0))
    job = study.job()
    for seconds in (2.0, 4.0):
        study.fail(job, study.claim(job, "scan"))
        any_registry.retry(map, None, time=2, memory=2)
        task = any_registry.task(map, 0)
        assert task is not None and task.limits == Limits(seconds, None)


def test_cancelling_takes_running_tasks_from_their_job(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=3))
    map, job = study.id("scan"), study.job()
    first, second = study.claim(job, "scan", limit=2)
    assert any_registry.cancel(map, [0, 2]) == 2
    assert any_registry.held(job) == [(map, 1, 1)]
    study.succeed(job, [first, second])
    assert study.states("scan") == "csc"
    # The attempt that ended all the same stays visible.
    assert [one.outcome.word for one in Reads(any_registry.database).attempts(map, 0)] == ["succeeded"]


def test_cancelling_a_whole_map_leaves_what_has_ended(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=4))
    job = study.job()
    good, bad = study.claim(job, "scan", limit=2)
    study.succeed(job, [good])
    study.fail(job, [bad])
    assert any_registry.cancel(study.id("scan"), None) == 2
    assert study.states("scan") == "sfcc"
    assert any_registry.cancel(study.id("scan"), [0, 1]) == 1
    assert study.states("scan") == "sccc"


def test_rerunning_keeps_the_old_result_as_superseded(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=2))
    map, job = study.id("scan"), study.job()
    study.run(job, "scan")
    assert any_registry.rerun(map, [1, 7]) == 1
    study.run(job, "scan")
    task = any_registry.task(map, 1)
    assert task is not None and (task.attempts, task.accepted) == (2, 2)
    assert [one.number for one in Reads(any_registry.database).attempts(map, 1)] == [1, 2]


def test_nothing_of_a_paused_map_is_claimed(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=2))
    map, job = study.id("scan"), study.job()
    any_registry.pause(map, True)
    assert study.claim(job, "scan") == []
    found = any_registry.find_map("scan")
    assert found is not None and found.paused
    any_registry.pause(map, False)
    assert len(study.claim(job, "scan")) == 2


def test_a_changed_priority_changes_what_is_claimed_next(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=4))
    assert any_registry.set_priority(study.id("scan"), [2, 3], 5) == 2
    job = study.job()
    assert [one.index for one in study.claim(job, "scan", limit=3)] == [2, 3, 0]


def test_a_priority_of_a_whole_map_holds_for_tasks_to_come(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=2))
    any_registry.set_priority(study.id("scan"), None, 7)
    study.submit("scan", grid(x=3))
    assert [task.priority for task in any_registry.tasks(study.id("scan"))] == [7, 7, 7]


def test_a_deleted_map_is_gone_and_its_name_is_free(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=3))
    job = study.job()
    study.run(job, "scan")
    assert any_registry.delete(study.id("scan")) == 3
    assert any_registry.find_map("scan") is None
    for table in ("task", "attempt", "counter", "tally", "submission"):
        assert any_registry.database.fetch(f"select count(*) from {table}") == [(0,)]
    study.ids.clear()
    assert study.submit("scan", grid(x=1), word="another").added == 1


def test_accepted_results_are_counted_by_context_and_by_task(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=6))
    map, job = study.id("scan"), study.job()
    study.fail(job, study.claim(job, "scan", limit=1))
    study.run(job, "scan")
    context, reads = study.context(job), Reads(any_registry.database)

    def accept(tasks: list[int] | None, context: int = context) -> int:
        return any_registry.accept(
            map, tasks, contexts=[context], covers=[("code", "a.py", "d" * 64), ("tool", "/bin/x", None)],
            code=study.code, user="ada", reason="comments", at=AT,
        )

    assert accept([0, 1, 2, 5, 9]) == 3  # the first has failed, the last is none of it
    assert accept([0]) == 0
    assert accept(None, context + 1) == 0
    (kept,) = reads.acceptances()
    assert (kept.map, kept.user, kept.reason, kept.contexts, kept.whole, kept.tasks) == (
        map, "ada", "comments", (context,), False, 3
    )
    assert kept.covers == (("code", "a.py", "d" * 64), ("tool", "/bin/x", None))
    assert [reads.accepts(kept.id, index) for index in range(6)] == [False, True, True, False, False, True]
    assert reads.count_accepted(map, context, [kept.id]) == 3
    any_registry.rerun(map, [1])
    assert reads.count_accepted(map, context, [kept.id]) == 2
    assert accept(None) == 4
    assert reads.acceptances()[1].whole
    any_registry.retry(map, None, time=None, memory=None)
    study.run(job, "scan")
    any_registry.close_job(job, "ended", "", AT)
    any_registry.delete(map)
    for table in ("acceptance", "acceptance_range"):
        assert any_registry.database.fetch(f"select count(*) from {table}") == [(0,)]


def test_a_map_that_others_build_on_or_that_runs_is_not_deleted(study: Study, any_registry: Registry) -> None:
    study.submit("a", grid(x=1))
    study.submit("b", [{}], on=[Dependency(upstream="a", kind="each")])
    with pytest.raises(Refused, match="b builds on a"):
        any_registry.delete(study.id("a"))
    job = study.job()
    study.run(job, "a")
    study.claim(job, "b")
    with pytest.raises(Refused, match="tasks of b are running"):
        any_registry.delete(study.id("b"))
    any_registry.abandon(job, AT)
    any_registry.delete(study.id("b"))
    any_registry.delete(study.id("a"))
    assert any_registry.map_names() == []


def test_maps_are_selected_with_all_they_build_on_upstream_first(study: Study, any_registry: Registry) -> None:
    study.submit("a", grid(x=1))
    study.submit("other", grid(x=1))
    study.submit("b", [{}], on=[Dependency(upstream="a", kind="each")])
    study.submit("c", [{}], on=[Dependency(upstream="b", kind="all"), Dependency(upstream="a", kind="after")])
    assert [map.name for map in any_registry.select_maps(["c"])] == ["a", "b", "c"]
    assert [map.name for map in any_registry.select_maps([])] == ["a", "other", "b", "c"]
    with pytest.raises(NotFound, match="ghost"):
        any_registry.select_maps(["ghost"])
    run = any_registry.run_map(study.id("c"))
    assert (run.each, run.reduces) == ((), ("b",))
    assert any_registry.run_map(study.id("b")).each == ("a",)


def test_counts_tell_every_state(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=5))
    map, job = study.id("scan"), study.job()
    study.succeed(job, study.claim(job, "scan", limit=1))
    study.fail(job, study.claim(job, "scan", limit=1))
    study.claim(job, "scan", limit=1)
    any_registry.cancel(map, [3])
    [found] = any_registry.maps()
    assert found.counts == {
        State.WAITING: 0, State.PENDING: 1, State.RUNNING: 1, State.SUCCEEDED: 1, State.FAILED: 1, State.CANCELLED: 1,
    }
