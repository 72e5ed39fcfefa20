"""Maps that build on nothing: submitted, claimed, recorded."""

from __future__ import annotations

import msgspec
import pytest

from fixtures.study import AT, Study, ended, grid
from provrun.core.canonical import encode
from provrun.core.records import Artifact
from provrun.core.states import Outcome, State
from provrun.errors import Refused
from provrun.store.reads import Reads
from provrun.store.registry import Registry


def test_submitting_gives_every_point_an_index_in_order_of_arrival(study: Study) -> None:
    added = study.submit("scan", grid(x=2, y=3), distinct=True)
    assert (added.added, added.existing, added.total, added.first) == (6, 0, 6, 0)
    assert study.params("scan") == grid(x=2, y=3)
    assert study.states("scan") == "pppppp"


def test_submitting_again_adds_only_what_is_new(study: Study) -> None:
    study.submit("scan", grid(x=3))
    added = study.submit("scan", [{"x": 4}, {"x": 1}, {"x": 3}, {"x": 4}])
    assert (added.added, added.existing, added.total, added.first) == (2, 1, 5, 3)
    assert study.params("scan") == [{"x": 0}, {"x": 1}, {"x": 2}, {"x": 4}, {"x": 3}]


def test_values_of_different_types_are_different_points(study: Study) -> None:
    assert study.submit("scan", [{"x": 1}, {"x": 1.0}, {"x": True}, {"x": "1"}]).added == 4


def test_another_recipe_under_the_same_name_is_refused_with_the_difference(study: Study) -> None:
    study.submit("scan", grid(x=1))
    with pytest.raises(Refused, match=r"words: \('run',\) became \('walk',\)"):
        study.submit("scan", grid(x=2), word="walk")
    assert study.states("scan") == "p"


def test_tasks_are_claimed_by_priority_then_map_then_index(study: Study) -> None:
    study.submit("low", grid(x=3), priority=3)
    study.submit("high", grid(x=2), priority=5)
    study.submit("high", [{"x": 7}], priority=2)
    study.submit("last", grid(x=2), priority=-1)
    job = study.job()
    taken = study.claim(job, "last", "low", "high", limit=6)
    names = {study.id(name): name for name in ("low", "high", "last")}
    assert [(names[one.map], one.index) for one in taken] == [
        ("high", 0), ("high", 1), ("low", 0), ("low", 1), ("low", 2), ("high", 2),
    ]
    assert study.states("last") == "pp"


def test_a_claimed_task_is_claimed_once(study: Study) -> None:
    study.submit("scan", grid(x=5))
    job, other = study.job(), study.job()
    assert [one.index for one in study.claim(job, "scan", limit=3)] == [0, 1, 2]
    assert [one.index for one in study.claim(other, "scan")] == [3, 4]
    assert study.claim(job, "scan") == []


def test_recording_keeps_every_field_of_an_attempt(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=1))
    job = study.job()
    [one] = study.claim(job, "scan")
    made = Artifact("output", "plot", b"\1" * 32, 12, "plot.png", None)
    record = msgspec.structs.replace(ended(one, study.context(job)), artifacts=(made,))
    any_registry.record(job, [record])
    [attempt] = Reads(any_registry.database).attempts(one.map, 0)
    assert (attempt.number, attempt.outcome, attempt.started, attempt.wall) == (1, Outcome.SUCCEEDED, AT, 1000)
    assert attempt.result == encode({"of": {"x": 0}, "n": 1}) and attempt.result_digest == record.result_digest
    assert Reads(any_registry.database).artifacts(one.map, 0, 1) == [made]
    task = any_registry.task(one.map, 0)
    assert task is not None and (task.state, task.accepted, task.attempts) == (State.SUCCEEDED, 1, 1)


def test_a_failed_attempt_can_be_followed_by_another(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=1))
    job = study.job()
    assert study.fail(job, study.claim(job, "scan"), again=True) == 1
    [again] = study.claim(job, "scan")
    assert (again.number, again.fails) == (2, 1)
    study.succeed(job, [again])
    assert [one.outcome.word for one in Reads(any_registry.database).attempts(again.map, 0)] == ["exit", "succeeded"]


def test_a_released_task_keeps_its_attempt_number(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=2))
    job = study.job()
    taken = study.claim(job, "scan")
    any_registry.release(job, [(one.map, one.index, one.number) for one in taken])
    assert study.states("scan") == "pp"
    assert [one.number for one in study.claim(job, "scan")] == [1, 1]


def test_a_task_that_was_cancelled_before_it_was_released_leaves_no_gap(
    study: Study, any_registry: Registry
) -> None:
    study.submit("scan", grid(x=2))
    job = study.job()
    taken = study.claim(job, "scan")
    any_registry.cancel(study.id("scan"), [0, 1])
    study.fail(job, taken[:1])  # it ran, and is kept as superseded
    any_registry.release(job, [(one.map, one.index, one.number) for one in taken])
    assert study.states("scan") == "cc"
    tasks = [any_registry.task(study.id("scan"), index) for index in (0, 1)]
    assert [task and task.attempts for task in tasks] == [1, 0]


def test_tasks_of_an_abandoned_job_are_pending_again_after_a_lost_attempt(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=2))
    job = study.job()
    study.claim(job, "scan", limit=1)
    assert any_registry.abandon(job, AT) == 1
    assert study.states("scan") == "pp"
    [attempt] = Reads(any_registry.database).attempts(study.id("scan"), 0)
    assert (attempt.outcome, attempt.started) == (Outcome.LOST, None)
    assert any_registry.running_jobs() == []
    assert [one.number for one in study.claim(study.job(), "scan")] == [2, 1]


def test_a_late_result_is_kept_but_does_not_count(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=2))
    job = study.job()
    late = study.claim(job, "scan", limit=2)
    any_registry.abandon(job, AT)
    other = study.job()
    study.succeed(other, study.claim(other, "scan", limit=1))
    study.succeed(job, late)
    assert study.states("scan") == "sp"
    first = Reads(any_registry.database).attempts(study.id("scan"), 0)
    assert [(one.number, one.outcome.word) for one in first] == [(1, "succeeded"), (2, "succeeded")]
    task = any_registry.task(study.id("scan"), 0)
    assert task is not None and task.accepted == 2


def test_recording_the_same_attempt_twice_changes_nothing(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=1))
    job = study.job()
    taken = study.claim(job, "scan")
    study.succeed(job, taken)
    map = taken[0].map
    reads = Reads(any_registry.database)
    before = (reads.shown(map, 0), reads.attempts(map, 0), reads.maps())
    study.fail(job, taken)
    assert before == (reads.shown(map, 0), reads.attempts(map, 0), reads.maps())
