"""Which tasks a claim takes, and what it tells of their earlier attempts."""

from __future__ import annotations

import msgspec

from fixtures.study import Study, ended, grid
from provrun.core.records import Claimed
from provrun.core.states import Outcome, State
from provrun.store.registry import Registry


def take(registry: Registry, study: Study, job: int, limit: int, **how: object) -> list[Claimed]:
    return registry.claim(job, [study.id("scan")], limit, **how)  # type: ignore[arg-type]


def indices(claimed: list[Claimed]) -> list[int]:
    return [one.index for one in claimed]


def test_tasks_say_which_priority_they_have(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=1), priority=4)
    assert [one.priority for one in take(any_registry, study, study.job(), 1)] == [4]


def test_only_tasks_above_a_priority_are_taken(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=3))
    study.submit("scan", grid(x=5), priority=1)
    study.submit("scan", grid(x=6), priority=2)
    job = study.job()
    assert indices(take(any_registry, study, job, 9, above=0)) == [5, 3, 4]
    assert take(any_registry, study, job, 9, above=0) == []


def test_tasks_that_are_left_are_not_taken_and_those_behind_them_are(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=8))
    job = study.job()
    left = tuple((study.id("scan"), index) for index in (0, 2, 3))
    assert indices(take(any_registry, study, job, 3, avoid=left)) == [1, 4, 5]
    assert study.states("scan") == "prpprrpp"
    assert indices(take(any_registry, study, job, 9)) == [0, 2, 3, 6, 7]


def test_tasks_that_took_longest_come_first_when_few_are_left(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=5))
    job = study.job()
    context = study.context(job)
    walls = [300, 100, 500, 200, 400]
    claimed = take(any_registry, study, job, 5)
    assert {one.took for one in claimed} == {None}
    records = [msgspec.structs.replace(ended(one, context), wall=walls[one.index]) for one in claimed]
    any_registry.record(job, records)
    any_registry.rerun(study.id("scan"), None)
    study.submit("scan", [{"x": 9}])
    first = take(any_registry, study, job, 3)
    assert indices(first) == [5, 2, 4]  # what is not known may take longest
    assert [one.took for one in first] == [None, 500e-6, 400e-6]
    assert indices(take(any_registry, study, job, 9)) == [0, 3, 1]


def test_an_attempt_stopped_by_its_allocation_says_how_long_it_ran(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=1))
    job = study.job()
    for wall in (7_000_000, 5_000_000):
        (one,) = take(any_registry, study, job, 1)
        record = ended(one, study.context(job), Outcome.CANCELLED, State.PENDING)
        any_registry.record(job, [msgspec.structs.replace(record, started=None, wall=wall, fails=0)])
    (one,) = take(any_registry, study, job, 1)
    assert (one.outlived, one.took, one.losses) == (7.0, None, 0)
    study.succeed(job, [one])
    any_registry.rerun(study.id("scan"), None)
    (one,) = take(any_registry, study, job, 1)
    assert (one.outlived, one.took) == (None, 1e-3)


def test_losses_among_few_are_counted_until_a_success(study: Study, any_registry: Registry) -> None:
    study.submit("scan", grid(x=1))
    job = study.job()
    for detail in (3, None, 1):
        (one,) = take(any_registry, study, job, 1)
        record = ended(one, study.context(job), Outcome.LOST, State.PENDING)
        any_registry.record(job, [msgspec.structs.replace(record, started=None, wall=None, detail=detail, fails=0)])
    (one,) = take(any_registry, study, job, 1)
    assert one.losses == 2
    study.succeed(job, [one])
    any_registry.rerun(study.id("scan"), None)
    assert [one.losses for one in take(any_registry, study, job, 1)] == [0]
