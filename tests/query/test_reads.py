"""The statements behind questions: the same answers from both databases, and no scans where tasks are many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.study import Study, grid
from provrun.core.records import Dependency
from provrun.core.sieves import Holds, both
from provrun.core.states import State
from provrun.store.reads import Reads
from provrun.store.registry import Registry


@pytest.fixture(params=["sqlite", "postgresql"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Study]:
    url = f"sqlite:///{tmp_path / 'r.sqlite'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    registry = Registry.create(url)
    yield Study(registry)
    registry.close()


def test_both_databases_give_the_same_answers(study: Study) -> None:
    study.submit("scan", grid(x=6, y=2))
    study.submit("obs", [{"kind": "a"}], on=[Dependency(upstream="scan", kind="each")])
    study.submit("stat", [{"n": 1}], on=[Dependency(upstream="scan", kind="group", by=("x",))])
    job = study.job()
    study.fail(job, study.claim(job, "scan", limit=2))
    study.run(job, "scan")
    study.run(job, "obs", "stat")
    reads = Reads(study.registry.database)
    scan, obs, stat = (study.id(name) for name in ("scan", "obs", "stat"))
    shown = list(reads.stream(scan))
    assert [each.task.index for each in shown] == list(range(12))
    assert [each.attempt.outcome.word for each in shown[:3] if each.attempt] == ["exit", "exit", "succeeded"]
    assert [each.task.index for each in reads.stream(scan, state=State.FAILED)] == [0, 1]
    sieve = both([Holds("params", ('"x":3',)), Holds("params", ('"y":1', '"y":1.0'))])
    assert [each.task.index for each in reads.stream(scan, sieve=sieve)] == [7]
    assert [each.task.index for each in reads.picked(scan, [3, 5, 99])] == [3, 5]
    assert reads.reading(obs, 4, 10) == [4]
    assert reads.count_reading(stat, 2) == 1
    part = reads.part_with(stat, '{"x":2}')
    assert part is not None and (part.members, part.size, part.missing) == (((4, 1, 2),), 2, 0)
    assert reads.part(stat, part.number) == part
    tallies = reads.tallies(scan)
    assert [(tally.outcome.word, tally.attempts, tally.accepted) for tally in tallies] == [
        ("succeeded", 10, 10), ("exit", 2, 0)
    ]
    context = reads.context(tallies[0].context)
    assert (context.job, context.node) == (job, "n1")
    assert reads.last_environment() is not None
    assert len(reads.code(context.code).code.tree or "") == 40
    assert [record.dependency.kind for record in reads.downstreams(scan)] == ["each", "group"]
    assert reads.ahead(obs, 0, 0, 100) == 0
    assert reads.first_in(stat, State.WAITING, 5) == [0]
    assert reads.trails(obs, [(4, 4)]) == [f"[[{scan},4,1]]"]


def test_measured_looks_at_few_attempts_from_all_over_a_map(study: Study) -> None:
    study.submit("scan", grid(x=100))
    reads = Reads(study.registry.database)
    scan = study.id("scan")
    assert reads.measured(scan, 10) == []
    job = study.job()
    study.fail(job, study.claim(job, "scan", limit=5))
    assert reads.measured(scan, 10) == []
    study.succeed(job, study.claim(job, "scan", limit=75))
    assert reads.measured(scan, 10) == [(1000, 2048)] * 9
    assert len(reads.measured(scan, 1000)) == 75


def test_states_with_few_tasks_are_found_through_their_index(study: Study) -> None:
    study.submit("scan", grid(x=100))
    job = study.job()
    study.succeed(job, study.claim(job, "scan", limit=90))
    study.claim(job, "scan", limit=2)
    reads = Reads(study.registry.database)
    scan = study.id("scan")
    assert [each.task.index for each in reads.stream(scan, state=State.RUNNING)] == [90, 91]
    assert [each.task.index for each in reads.stream(scan, state=State.PENDING)] == list(range(92, 100))
    assert [each.task.index for each in reads.stream(scan, state=State.PENDING, start=95, stop=97)] == [95, 96]
    assert reads.holds(job, scan) and not reads.holds(job + 1, scan)


def test_pending_tasks_that_go_before_another_are_counted(study: Study) -> None:
    study.submit("first", grid(x=5))
    study.submit("scan", grid(x=5))
    study.submit("urgent", grid(x=3), priority=7)
    reads = Reads(study.registry.database)
    assert reads.ahead(study.id("scan"), 2, 0, 100) == 3 + 5 + 2
    assert reads.ahead(study.id("scan"), 2, 0, 4) == 4
    assert reads.ahead(study.id("urgent"), 0, 7, 100) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda reads, map: reads.shown(map, 5),
        lambda reads, map: reads.attempts(map, 5),
        lambda reads, map: reads.artifacts(map, 5, 1),
        lambda reads, map: reads.with_digest(b"\0" * 32, b"\0" * 32, 5),
        lambda reads, map: reads.tallies(map),
        lambda reads, map: reads.reading(map, 5, 5),
        lambda reads, map: reads.count_reading(map, 5),
        lambda reads, map: reads.part(map, 5),
        lambda reads, map: reads.holds(1, map),
        lambda reads, map: reads.context(1),
        lambda reads, map: reads.last_environment(),
        lambda reads, map: reads.states(map, [5]),
        lambda reads, map: reads.ahead(map, 5, 0, 10),
    ],
)
def test_no_question_about_one_task_scans_a_large_table(tmp_path: Path, call: object) -> None:
    """The plan of every statement is asked of SQLite itself."""
    registry = Registry.create(f"sqlite:///{tmp_path / 'r.sqlite'}")
    study = Study(registry)
    study.submit("scan", grid(x=9))
    job = study.job()
    study.run(job, "scan")
    heard: list[str] = []
    connection = registry.database._connection  # type: ignore[attr-defined]  # only SQLite knows its statements
    connection.set_trace_callback(heard.append)
    assert callable(call)
    call(Reads(registry.database), study.id("scan"))
    connection.set_trace_callback(None)
    plans = [row[3] for statement in heard for row in connection.execute(f"explain query plan {statement}")]
    assert plans
    large = ("task", "attempt", "artifact", " t", " a", "part")
    scans = [plan for plan in plans if plan.startswith("SCAN") and plan.endswith(large)]
    assert scans == []
    registry.close()
