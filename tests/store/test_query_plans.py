"""No statement that moves tasks reads a whole table: taken from what is really sent while a study runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from fixtures.study import AT, Study, grid
from provrun.core.records import Dependency
from provrun.store.database import SqliteDatabase
from provrun.store.postgres import PostgresDatabase
from provrun.store.registry import Registry


@pytest.fixture
def large(any_registry: Registry) -> Study:
    """A study of some size, half done, with maps that build on each other in every way."""
    study = Study(any_registry)
    study.submit("a", grid(x=60, g=50))
    study.submit("b", [{}], on=[Dependency(upstream="a", kind="each")])
    study.submit("mean", [{}], on=[Dependency(upstream="b", kind="group", by=("g",))])
    study.submit("all", [{}], on=[Dependency(upstream="a", kind="all")])
    job = study.job()
    study.succeed(job, study.claim(job, "a", limit=1500))
    study.succeed(job, study.claim(job, "b", limit=700))
    return study


@contextmanager
def plans(registry: Registry) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """Collect the plan of every statement that touches tasks or attempts, as the database made it."""
    database = registry.database
    if isinstance(database, SqliteDatabase):
        sent: list[str] = []
        database._connection.set_trace_callback(sent.append)

        def explained() -> list[tuple[str, str]]:
            database._connection.set_trace_callback(None)
            moving = [sql for sql in dict.fromkeys(sent) if re.match("(select|update|delete|with)", sql)]
            return [
                (sql, "; ".join(str(row[3]) for row in database.fetch(f"explain query plan {sql}"))) for sql in moving
            ]

        yield explained
        return
    assert isinstance(database, PostgresDatabase)
    notices: list[str] = []
    for name in ("task", "attempt", "part"):
        database.run(f"analyze {name}")
    # A few thousand rows are read whole for good reason; what counts is that it is never the only way.
    database.run("set enable_seqscan=off")
    database.run("load 'auto_explain'")
    database.run("set auto_explain.log_min_duration=0")
    database.run("set client_min_messages=log")
    database._connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    yield lambda: [(text.partition("\n")[0], text) for text in notices if text.startswith("duration")]
    database.run("set auto_explain.log_min_duration=-1")


def scanned(found: list[tuple[str, str]]) -> list[str]:
    """Give the statements that read all of a large table."""
    whole = re.compile(r"SCAN (task|attempt|artifact|[taur])\b|Seq Scan on (task|attempt|artifact)\b")
    return [f"{sql}\n   {plan}" for sql, plan in found if whole.search(plan)]


def test_claiming_and_recording_never_scan(large: Study) -> None:
    job = large.job()
    with plans(large.registry) as explained:
        for name in ("a", "b", "mean", "all"):
            claimed = large.claim(job, name, limit=100)
            large.succeed(job, claimed[:90])
            large.fail(job, claimed[90:])
        found = explained()
    assert len(found) > 20
    assert scanned(found) == []


def test_pending_tasks_are_found_by_their_partial_index(large: Study) -> None:
    job = large.job()
    with plans(large.registry) as explained:
        large.claim(job, "a", limit=10)
        found = [plan for sql, plan in explained() if "state=1 and map_id" in sql + plan]
    assert found and all("ix_task_pending" in plan for plan in found)
    assert not any("TEMP B-TREE" in plan or "Sort " in plan for plan in found)


def test_what_waits_for_recorded_tasks_is_found_by_index(large: Study) -> None:
    job = large.job()
    claimed = large.claim(job, "a", limit=100)
    with plans(large.registry) as explained:
        large.succeed(job, claimed)
        found = explained()
    assert any("ix_task_upstream" in plan for _, plan in found)


def test_losing_a_job_or_asking_what_it_holds_never_scans(large: Study) -> None:
    job = large.job()
    large.claim(job, "a", limit=20)
    with plans(large.registry) as explained:
        large.registry.held(job)
        large.registry.abandon(job, AT)
        found = explained()
    assert any("ix_task_running" in plan for _, plan in found)
    assert scanned(found) == []


def test_taking_back_a_few_results_never_scans(large: Study) -> None:
    job = large.job()
    large.claim(job, "b", limit=50)
    with plans(large.registry) as explained:
        large.registry.rerun(large.id("a"), [3, 5, 900, 1200])
        found = explained()
    assert scanned(found) == []


def test_failed_tasks_are_found_by_their_partial_index(large: Study) -> None:
    job = large.job()
    large.fail(job, large.claim(job, "a", limit=20))
    with plans(large.registry) as explained:
        large.registry.retry(large.id("a"), None, time=None, memory=None)
        found = explained()
    assert any("ix_task_failed" in plan for _, plan in found)
    assert scanned(found) == []


@pytest.mark.parametrize("step", ["claim", "record"])
def test_what_a_step_costs_does_not_grow_with_the_map(tmp_path: Path, step: str) -> None:
    costs = []
    for size in (1_000, 30_000):
        study = Study(Registry.create(f"sqlite:///{tmp_path}/{size}.sqlite"))
        study.submit("scan", grid(x=size))
        job = study.job()
        study.succeed(job, study.claim(job, "scan", limit=100))
        database = study.registry.database
        assert isinstance(database, SqliteDatabase)
        steps = count()
        if step == "claim":
            database._connection.set_progress_handler(lambda: next(steps) and 0, 10)  # noqa: B023 - used at once
            study.claim(job, "scan", limit=100)
        else:
            claimed = study.claim(job, "scan", limit=100)
            database._connection.set_progress_handler(lambda: next(steps) and 0, 10)  # noqa: B023
            study.succeed(job, claimed)
        database._connection.set_progress_handler(None, 0)
        costs.append(next(steps))
        study.registry.close()
    assert costs[0] > 100
    assert costs[1] < 1.2 * costs[0], costs
